'use strict';

for (const name of ['asana', 'intercom', 'klaviyo', 'sendgrid', 'slack', 'stripe'])
	exports[name] = require(`./${name}.js`);
