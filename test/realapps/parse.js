// A Parse Server on PostgreSQL: DATABASE, PORT.
const express = require('express');
const { ParseServer } = require('parse-server');

(async () => {
	const server = new ParseServer({
		databaseURI: process.env.DATABASE,
		appId: 'app',
		masterKey: 'master',
		masterKeyIps: ['127.0.0.1', '::1'],
		serverURL: `http://127.0.0.1:${process.env.PORT}/parse`,
		allowClientClassCreation: true,
		silent: true,
		logsFolder: null,
		// three calls in five seconds, of one class
		rateLimit: [{ requestPath: '/classes/Limited', requestTimeWindow: 5000, requestCount: 3, includeMasterKey: true, includeInternalRequests: true }],
	});
	const app = express();

	await server.start();
	app.use('/parse', server.app);
	app.listen(process.env.PORT, '127.0.0.1');
})();
