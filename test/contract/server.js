/*
 * server.js MODULES SPECS LOG: one server per vendor on a port of its own, which
 * judges requests by the vendor's OpenAPI document and answers in the vendor's
 * manner (vendors.js).  Prints "VENDOR PORT" lines, then "ready"; ends with its
 * standard input.  Each request becomes a line of LOG.
 */
'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');
const { createRequire } = require('module');
const document = require('./document.js');
const vendors = require('./vendors');

const [modules, specs, log] = process.argv.slice(2);
const fetched = createRequire(path.join(modules, 'node_modules', 'none.js'));
const express = fetched('express');
const OpenApiValidator = fetched('express-openapi-validator');

function note(vendor, base, req, status, refused)
{
	const line = {
		vendor, status, refused, method: req.method, url: req.asked || req.originalUrl, body: req.body,
		type: req.get('content-type'), route: req.openapi && req.openapi.openApiRoute.slice(base.length),
	};

	fs.appendFileSync(log, JSON.stringify(line) + '\n');
}

function serve(name, vendor)
{
	const app = express();
	const store = new Map();
	const part = document(JSON.parse(fs.readFileSync(path.join(specs, vendor.document))), vendor);
	const base = vendor.base || '';

	app.set('query parser', 'simple');
	if (part.brackets)
		app.use((req, res, next) => {
			const [where, query] = req.url.split('?');

			if (query)
			{
				req.asked = req.originalUrl;
				const renamed = query.replace(/%5B/gi, '[').replace(/%5D/gi, ']');

				req.url = req.originalUrl = `${where}?${document.plain(renamed)}`;
				req.query = Object.fromEntries(new URLSearchParams(document.plain(renamed)));
			}
			next();
		});
	part.servers = [{ url: base || '/' }];
	app.use(express.json({ type: ['json', 'application/*+json'], limit: '8mb', strict: false }));
	app.use(express.urlencoded({ extended: true, limit: '8mb', arrayLimit: 1000 }));
	app.use(OpenApiValidator.middleware({
		apiSpec: part, validateApiSpec: false, validateResponses: false, validateFormats: true,
		validateRequests: { allErrors: true, coerceTypes: !!vendor.coerce },
		formats: vendor.formats || {},
	}));
	app.use((req, res) => {
		req.params = req.openapi.pathParams;
		const route = `${req.method} ${req.openapi.openApiRoute.slice(base.length)}`;
		const answer = vendor.routes[route];
		const [status, body, headers] = answer ? answer(store, req) : [501, { missing: route }];

		note(name, base, req, status, null);
		res.status(status).set(headers || {});
		if (body === undefined)
			res.end();
		else
			res.json(body);
	});
	app.use((err, req, res, next) => {
		const status = err.status || 500;
		const errors = err.errors || [{ path: '', message: String(err.message) }];

		note(name, base, req, status, errors.map((e) => `${e.path} ${e.message}`));
		const [shown, body] = vendor.refusal(status, errors);
		res.status(shown).json(body);
	});
	return new Promise((resolve) => {
		const server = http.createServer(app).listen(0, '127.0.0.1', () => {
			console.log(`${name} ${server.address().port}`);
			resolve();
		});
	});
}

(async () => {
	for (const [name, vendor] of Object.entries(vendors))
		await serve(name, vendor);
	console.log('ready');
	process.stdin.resume().on('end', () => process.exit(0));
})();
