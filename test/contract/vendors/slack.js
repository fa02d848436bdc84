'use strict';

/* Every answer is 200; what is wrong stands in "error". */
let last = 0;
const no = (error, more) => [200, { ok: false, error, ...more }];

module.exports = {
	document: 'slack_web_swagger2.json',
	coerce: true,
	base: '/api',
	paths: ['/chat.postMessage', '/chat.update', '/chat.delete', '/users.list', '/conversations.list'],
	refusal: (status, errors) => status === 401 ? no('not_authed')
		: no('invalid_arguments', { response_metadata: { messages: errors.map((e) => `[ERROR] ${e.path} ${e.message}`) } }),
	routes: {
		'POST /chat.postMessage': (store, req) => {
			const ts = `1700000000.${String(++last).padStart(6, '0')}`;

			if (req.body.channel === 'C404')
				return no('channel_not_found');
			store.set(ts, req.body);
			return [200, { ok: true, channel: req.body.channel, ts, message: req.body }];
		},
		'POST /chat.update': (store, req) => store.has(req.body.ts) ? [200, { ok: true, ts: req.body.ts }] : no('message_not_found'),
		'POST /chat.delete': (store, req) => store.delete(Number(req.body.ts).toFixed(6)) ? [200, { ok: true, ts: req.body.ts }] : no('message_not_found'),
		'GET /users.list': (store, req) => {
			const user = (n) => ({ id: `U${n}`, team_id: 'T1', name: `user${n}`, deleted: false, profile: { email: `u${n}@x.test` }, updated: 1700000000 });

			return req.query.cursor ? [200, { ok: true, members: [user(3)], response_metadata: { next_cursor: '' } }]
				: [200, { ok: true, members: [user(1), user(2)], response_metadata: { next_cursor: 'dXNlcjpV' } }];
		},
		'GET /conversations.list': () => [200, { ok: true, channels: [{ id: 'C1', name: 'general', is_archived: false, topic: { value: 'all' }, created: 1700000000 }],
			response_metadata: { next_cursor: '' } }],
	},
};
