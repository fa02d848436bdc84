'use strict';

/* Objects by id, lists by starting_after, an Idempotency-Key that is seen again answers as it did. */
let last = 0;
const seen = new Map();

function once(req, make)
{
	const key = req.get('idempotency-key');

	if (!seen.has(key))
		seen.set(key, make());
	return seen.get(key);
}

const create = (prefix) => (store, req) => once(req, () => {
	const id = req.body.id || `${prefix}_${++last}`;

	store.set(id, { object: prefix, created: 1700000000, ...req.body, id });
	return [200, store.get(id)];
});

const missing = (id) => [404, { error: { type: 'invalid_request_error', code: 'resource_missing', message: `No such object: '${id}'` } }];

const update = (name) => (store, req) => {
	const id = req.params[name];

	if (!store.has(id))
		return missing(id);
	store.set(id, { ...store.get(id), ...req.body });
	return [200, store.get(id)];
};

const remove = (name) => (store, req) => {
	const id = req.params[name];

	return store.delete(id) ? [200, { id, deleted: true }] : missing(id);
};

const list = (prefix) => (store, req) => {
	const all = [...store.values()].filter((o) => o.object === prefix);
	const from = req.query.starting_after ? all.findIndex((o) => o.id === req.query.starting_after) + 1 : 0;
	const data = all.slice(from, from + 2);

	return [200, { object: 'list', data, has_more: from + 2 < all.length, url: '/v1' }];
};

module.exports = {
	document: 'stripe.json',
	coerce: true,
	paths: ['/v1/customers', '/v1/customers/{customer}', '/v1/customers/search', '/v1/products', '/v1/products/{id}', '/v1/prices', '/v1/prices/{price}'],
	refusal: (status, errors) => [status, { error: { type: 'invalid_request_error', message: errors.map((e) => `${e.path} ${e.message}`).join('; ') } }],
	routes: {
		'GET /v1/customers/search': (store, req) => {
			const [, wanted] = req.query.query.match(/^metadata\['external_id'\]:'(.*)'$/);

			return [200, { object: 'search_result', data: [...store.values()].filter((o) => o.object === 'cus' && o.metadata.external_id === wanted), has_more: false }];
		},
		'GET /v1/products/{id}': (store, req) => store.has(req.params.id) ? [200, store.get(req.params.id)] : missing(req.params.id),
		'POST /v1/customers': create('cus'),
		'POST /v1/customers/{customer}': update('customer'),
		'DELETE /v1/customers/{customer}': remove('customer'),
		'GET /v1/customers': list('cus'),
		'POST /v1/products': create('prod'),
		'POST /v1/products/{id}': update('id'),
		'DELETE /v1/products/{id}': remove('id'),
		'GET /v1/products': list('prod'),
		'POST /v1/prices': create('price'),
		'GET /v1/prices': list('price'),
	},
};
