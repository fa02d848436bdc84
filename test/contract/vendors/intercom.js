'use strict';

let last = 0;
const none = (what) => [404, { type: 'error.list', errors: [{ code: 'not_found', message: `${what} Not Found` }] }];
const list = (store, kind) => [...store.values()].filter((r) => r.type === kind);

module.exports = {
	document: 'intercom.json',
	paths: ['/contacts', '/contacts/{contact_id}', '/contacts/find_by_external_id/{external_id}', '/contacts/search', '/companies', '/companies/{company_id}', '/events'],
	/* its text says how a list of contacts is paged, its parameters do not */
	queries: { '/contacts': ['per_page', 'starting_after'] },
	refusal: (status, errors) => [status, {
		type: 'error.list', request_id: 'r',
		errors: errors.map((e) => ({ code: status === 401 ? 'unauthorized' : 'parameter_invalid', message: `${e.path} ${e.message}` })),
	}],
	routes: {
		'POST /contacts': (store, req) => {
			const id = `contact-${++last}`;

			if (list(store, 'contact').some((c) => c.external_id === req.body.external_id))
				return [409, { type: 'error.list', errors: [{ code: 'conflict', message: 'A contact matching those details already exists' }] }];
			store.set(id, { role: 'user', ...req.body, type: 'contact', id });
			return [200, store.get(id)];
		},
		'PUT /contacts/{contact_id}': (store, req) => {
			const id = req.params.contact_id;

			if (!store.has(id))
				return none('User');
			store.set(id, { ...store.get(id), ...req.body });
			return [200, store.get(id)];
		},
		'DELETE /contacts/{contact_id}': (store, req) => store.delete(req.params.contact_id) ? [200, { type: 'contact', deleted: true }] : none('User'),
		'GET /contacts/find_by_external_id/{external_id}': (store, req) => {
			const found = list(store, 'contact').find((c) => c.external_id === req.params.external_id);

			return found ? [200, found] : none('User');
		},
		'POST /contacts/search': (store, req) => {
			const { field, value } = req.body.query;
			const data = list(store, 'contact').filter((c) => c[field] === value);

			return [200, { type: 'list', data, total_count: data.length, pages: { type: 'pages', page: 1, per_page: 50, total_pages: 1 } }];
		},
		'GET /contacts': (store, req) => {
			const all = list(store, 'contact'), from = Number(req.query.starting_after || 0), to = from + 2;

			return [200, { type: 'list', data: all.slice(from, to), total_count: all.length,
				pages: { type: 'pages', page: 1, per_page: 2, ...(to < all.length ? { next: { per_page: 2, starting_after: String(to) } } : {}) } }];
		},
		'POST /companies': (store, req) => {
			const id = 'ic-' + req.body.company_id;

			store.set(id, { ...store.get(id), ...req.body, type: 'company', id });
			return [200, store.get(id)];
		},
		'DELETE /companies/{company_id}': (store, req) => {
			const id = req.params.company_id;

			return store.delete(id) ? [200, { id, object: 'company', deleted: true }]
				: none('Company');
		},
		'GET /companies': (store, req) => {
			const wanted = req.query.company_id;

			if (wanted !== undefined)
				return store.has('ic-' + wanted) ? [200, store.get('ic-' + wanted)] : none('Company');
			const page = Number(req.query.page), size = Number(req.query.per_page);
			const all = list(store, 'company');

			return [200, { type: 'list', data: all.slice((page - 1) * size, page * size), total_count: all.length,
				pages: { type: 'pages', page, per_page: size, total_pages: Math.ceil(all.length / size) } }];
		},
		'POST /events': () => [202],
	},
};
