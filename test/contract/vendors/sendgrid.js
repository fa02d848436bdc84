'use strict';

let last = 0;
const jobs = new Map();

module.exports = {
	document: 'sendgrid_mc_contacts.json',
	paths: ['/v3/marketing/contacts', '/v3/marketing/contacts/search', '/v3/marketing/contacts/imports/{id}'],
	open: ['custom_fields'],
	refusal: (status, errors) => [status, { errors: errors.map((e) => ({ field: e.path, message: e.message })) }],
	routes: {
		'POST /v3/marketing/contacts/search': (store, req) => {
			const [, email] = req.body.query.match(/^email = '(.*)'$/);
			const found = store.has(email) ? [store.get(email)] : [];

			return [200, { result: found, contact_count: found.length }];
		},
		'DELETE /v3/marketing/contacts': (store, req) => {
			for (const id of req.query.ids.split(','))
				store.delete(id.replace(/^sg-/, ''));
			return [202, { job_id: `job-${++last}` }];
		},
		'PUT /v3/marketing/contacts': (store, req) => {
			for (const contact of req.body.contacts)
				store.set(contact.email, { id: 'sg-' + contact.email, ...contact });
			jobs.set(`job-${++last}`, { asked: 0, contacts: req.body.contacts });
			return [202, { job_id: `job-${last}` }];
		},
		/* pending when it is asked for first */
		'GET /v3/marketing/contacts/imports/{id}': (store, req) => {
			const job = jobs.get(req.params.id);
			const failed = job.contacts.filter((c) => c.email.endsWith('@bad.test')).length;
			const status = !job.asked++ ? 'pending' : !failed ? 'completed' : failed < job.contacts.length ? 'errored' : 'failed';

			return [200, { id: req.params.id, status, job_type: 'upsert_contacts', started_at: '2026-01-31T12:00:00Z',
				results: { requested_count: job.contacts.length, errored_count: failed, errors_url: 'https://x.test/errors' } }];
		},
	},
};
