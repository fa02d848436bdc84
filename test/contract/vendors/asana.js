'use strict';

/* No connector of ours: the test is the user who defines one. */
let last = 0;
const missing = [404, { errors: [{ message: 'task: Unknown object', help: 'For more information on API status codes' }] }];

module.exports = {
	document: 'asana.json',
	base: '/api/1.0',
	paths: ['/tasks', '/tasks/{task_gid}'],
	refusal: (status, errors) => [status, { errors: errors.map((e) => ({ message: `${e.path} ${e.message}` })) }],
	routes: {
		'POST /tasks': (store, req) => {
			const gid = String(++last);

			store.set(gid, { resource_type: 'task', ...req.body.data, gid });
			return [201, { data: store.get(gid) }];
		},
		'PUT /tasks/{task_gid}': (store, req) => {
			const gid = req.params.task_gid;

			if (!store.has(gid))
				return missing;
			store.set(gid, { ...store.get(gid), ...req.body.data });
			return [200, { data: store.get(gid) }];
		},
		'DELETE /tasks/{task_gid}': (store, req) => store.delete(req.params.task_gid) ? [200, { data: {} }] : missing,
		'GET /tasks': (store, req) => {
			const all = [...store.values()], from = Number(req.query.offset || 0), to = from + 1;

			return [200, { data: all.slice(from, to), next_page: to < all.length ? { offset: String(to), path: '/tasks', uri: 'https://app.asana.com' } : null }];
		},
	},
};
