/*
 * document.js: a vendor's OpenAPI document, as the validator can use it.
 *
 * What stands in the document stays; only what keeps the validator from
 * starting is taken out, and what a document leaves open by habit (members of a
 * body that it does not name) is closed, so that a misspelled member is refused.
 */
'use strict';

const METHODS = ['get', 'put', 'post', 'delete', 'patch'];

const isObject = (x) => x !== null && typeof x === 'object';

function walk(node, visit)
{
	if (!isObject(node))
		return;
	if (!Array.isArray(node))
		visit(node);
	for (const key of Object.keys(node))
		walk(node[key], visit);
}

/* Swagger 2.0 to OpenAPI 3: what the documents that we have use of it. */
function upgraded(old)
{
	const paths = {};

	for (const [path, methods] of Object.entries(old.paths))
	{
		paths[path] = {};
		for (const method of METHODS.filter((m) => methods[m]))
		{
			const operation = methods[method];
			const form = { type: 'object', properties: {}, required: [] };
			const now = { parameters: [], responses: { 200: { description: 'OK' } }, security: [{ bearer: [] }] };

			for (const { name, in: where, required, type, items, description } of operation.parameters || [])
			{
				const schema = { type, ...(items ? { items } : {}) };

				/* the token goes as Bearer since 2016, which 2.0 cannot say */
				if (name === 'token')
					continue;
				if (where === 'formData')
				{
					form.properties[name] = schema;
					if (required)
						form.required.push(name);
				}
				else
					now.parameters.push({ name, in: where, required: !!required, description, schema });
			}
			if (!form.required.length)
				delete form.required;
			if (method !== 'get' && method !== 'delete')
				now.requestBody = {
					required: true,
					content: Object.fromEntries(operation.consumes.map((t) => [t, { schema: structuredClone(form) }])),
				};
			paths[path][method] = now;
		}
	}
	return {
		openapi: '3.0.3', info: old.info, paths,
		components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
	};
}

/* The paths of this list, and every component that they need. */
function subset(whole, paths)
{
	const part = { openapi: whole.openapi, info: { title: whole.info.title, version: String(whole.info.version) },
		paths: {}, components: {}, security: whole.security };
	const queue = [];
	const take = (ref) => {
		const [, , kind, ...rest] = ref.split('/').map((s) => s.replace(/~1/g, '/').replace(/~0/g, '~'));
		const name = rest.join('/');
		const found = ((whole.components || {})[kind] || {})[name];

		part.components[kind] = part.components[kind] || {};
		if (part.components[kind][name] !== undefined || found === undefined)
			return;
		part.components[kind][name] = found;
		queue.push(found);
	};

	for (const path of paths)
	{
		if (!whole.paths[path])
			throw new Error(`the document has no path ${path}`);
		part.paths[path] = whole.paths[path];
		queue.push(whole.paths[path]);
	}
	while (queue.length)
		walk(queue.pop(), (node) => {
			if (typeof node.$ref === 'string' && node.$ref.startsWith('#/components/'))
				take(node.$ref);
		});
	if ((whole.components || {}).securitySchemes)
		part.components.securitySchemes = whole.components.securitySchemes;
	return part;
}

/* Answers are ours: a schema of theirs would only cost time. */
function withoutAnswers(whole)
{
	for (const methods of Object.values(whole.paths))
		for (const method of METHODS.filter((m) => methods[m]))
			methods[method] = { ...methods[method], responses: { default: { description: 'any' } } };
	if (whole.components)
		delete whole.components.responses;
	return whole;
}

/* The validator takes page[size] for a member of an object "page": such names go without brackets, in document and request alike. */
const plain = (name) => name.replace(/\[/g, '-').replace(/\]/g, '');

function unbracketed(doc)
{
	walk(doc, (node) => {
		if (node.in === 'query' && typeof node.name === 'string' && node.name.includes('['))
		{
			node.name = plain(node.name);
			doc.brackets = true;
		}
	});
	return doc;
}

/* What ajv refuses to compile, though it means nothing. */
function normalised(doc)
{
	walk(doc, (node) => {
		if (node.nullable !== undefined && node.type === undefined)
			delete node.nullable;
		if (node.example === null)
			delete node.example;
		if (node.examples && Object.values(node.examples).some((e) => e && e.value === null))
			delete node.examples;
		/* of numbers: seconds since 1970, whatever the document calls it */
		if (node.type === 'integer' && typeof node.format === 'string' && node.format.startsWith('date'))
			delete node.format;
		if (typeof node.$ref === 'string' && node.$ref.startsWith('#/components/'))
		{
			const [, , kind, name] = node.$ref.split('/');

			if (!((doc.components[kind] || {})[name]))
				delete node.$ref;
		}
	});
	return doc;
}

/* Objects of a body take the members that the document names, and no others; "open": those of which it names an example only. */
function closed(doc, open)
{
	const seen = new Set();
	const close = (node, shared) => {
		if (!isObject(node) || seen.has(node))
			return;
		if (Array.isArray(node))
		{
			node.forEach((n) => close(n, shared));
			return;
		}
		if (typeof node.$ref === 'string')
		{
			const [, , kind, name] = node.$ref.split('/');

			close((doc.components[kind] || {})[name], shared);
			return;
		}
		seen.add(node);
		/* parts of allOf see each other's members */
		if (node.properties && Object.keys(node.properties).length && node.additionalProperties === undefined && !shared && !node.allOf)
			node.additionalProperties = false;
		for (const [key, value] of Object.entries(node))
		{
			if (key === 'properties')
				Object.entries(value).filter(([name]) => !open.includes(name)).forEach(([, n]) => close(n, false));
			else if (key === 'items' || key === 'additionalProperties' || key === 'oneOf' || key === 'anyOf')
				close(value, shared);
			else if (key === 'allOf')
				close(value, true);
		}
	};

	for (const methods of Object.values(doc.paths))
		for (const method of METHODS.filter((m) => methods[m] && methods[m].requestBody))
		{
			let body = methods[method].requestBody;

			if (body.$ref)
				body = doc.components.requestBodies[body.$ref.split('/').pop()];
			for (const { schema } of Object.values(body.content))
				close(schema, false);
		}
	return doc;
}

/* What the text of a document says and its list of parameters does not. */
function completed(doc, queries)
{
	for (const [path, names] of Object.entries(queries))
		doc.paths[path].get.parameters = [
			...(doc.paths[path].get.parameters || []),
			...names.map((name) => ({ name, in: 'query', schema: { type: 'string' } })),
		];
	return doc;
}

module.exports = (raw, { paths, open = [], queries = {} }) => {
	const whole = raw.swagger === '2.0' ? upgraded(raw) : raw;
	const part = withoutAnswers(subset(whole, paths));

	/* once more: the components that only answers needed are gone */
	return unbracketed(completed(closed(normalised(structuredClone(subset(part, paths))), open), queries));
};

module.exports.plain = plain;
