'use strict';

let last = 0;
const jobs = new Map();
const type = 'application/vnd.api+json';
const answer = (status, body) => [status, body, { 'Content-Type': type }];

module.exports = {
	document: 'klaviyo.json',
	paths: ['/api/profile-import', '/api/profile-bulk-import-jobs', '/api/profile-bulk-import-jobs/{job_id}', '/api/profile-bulk-import-jobs/{id}/import-errors', '/api/profiles', '/api/events', '/api/lists'],
	refusal: (status, errors) => answer(status, {
		errors: errors.map((e) => ({ id: 'e', status, code: 'invalid', title: 'Invalid input.', detail: e.message, source: { pointer: e.path } })),
	}),
	routes: {
		'POST /api/profile-import': (store, req) => {
			const { attributes } = req.body.data;
			const id = 'P-' + attributes.email;
			const known = store.has(id);

			store.set(id, { type: 'profile', id, attributes: { ...(store.get(id) || {}).attributes, ...attributes, created: '2026-01-31T12:00:00+00:00' } });
			return answer(known ? 200 : 201, { data: store.get(id) });
		},
		'GET /api/profiles': (store, req) => {
			const from = Number(req.query['page-cursor'] || 0);
			const size = 2;
			const all = [...store.values()].filter((p) => p.type === 'profile');
			const next = from + size < all.length ? `http://${req.get('host')}/api/profiles?page%5Bcursor%5D=${from + size}&page%5Bsize%5D=100` : null;

			return answer(200, { data: all.slice(from, from + size), links: { self: req.originalUrl, next, prev: null } });
		},
		'POST /api/profile-bulk-import-jobs': (store, req) => {
			const id = `job-${++last}`;

			jobs.set(id, { asked: 0, profiles: req.body.data.attributes.profiles.data });
			return answer(202, { data: { type: 'profile-bulk-import-job', id, attributes: { status: 'queued' } } });
		},
		'GET /api/profile-bulk-import-jobs/{job_id}': (store, req) => {
			const job = jobs.get(req.params.job_id);
			const status = ['queued', 'processing', 'complete'][Math.min(job.asked++, 2)];

			return answer(200, { data: { type: 'profile-bulk-import-job', id: req.params.job_id, attributes: { status, failed_count: 1 } } });
		},
		'GET /api/profile-bulk-import-jobs/{id}/import-errors': (store, req) => {
			const all = jobs.get(req.params.id).profiles.filter((p) => p.attributes.email.endsWith('@bad.test')).map((p) => ({
				type: 'import-error', id: 'i',
				attributes: { code: 'invalid', title: 'Invalid input.', detail: 'Invalid email address', source: { pointer: '/data/attributes/email' }, original_payload: p.attributes },
			}));
			const from = Number(req.query['page-cursor'] || 0), to = from + Number(req.query['page-size']);
			const next = `http://${req.get('host')}/api/profile-bulk-import-jobs/${req.params.id}/import-errors?page%5Bcursor%5D=${to}&page%5Bsize%5D=100`;

			return answer(200, { data: all.slice(from, to), links: { self: req.originalUrl, ...(to < all.length ? { next } : {}) } });
		},
		'POST /api/events': () => answer(202),
		'GET /api/lists': () => answer(200, {
			data: [{ type: 'list', id: 'L1', attributes: { name: 'News', created: '2026-01-31T12:00:00+00:00', updated: null, opt_in_process: 'single_opt_in' } }],
			links: { self: '/api/lists', next: null },
		}),
	},
};
