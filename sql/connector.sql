-- Connectors: definitions, options, secrets, requests and answers.  Nothing is sent here.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA connector_test;
SET search_path = connector_test, public;

SELECT name, shipped FROM activate.connector WHERE NOT definition ? 'objects' OR name = 'webhook' ORDER BY name;

-- what is shown of an answer: one line per row
CREATE FUNCTION answer(tab regclass, rows jsonb, status integer, body text DEFAULT '', headers text DEFAULT '')
RETURNS TABLE (call text, wait text, class text, code text, reason text, remote_id text) LANGUAGE sql AS $$
	SELECT a->>'class', nullif(a->>'retry_after_ms', '-1'), r->>'class', r->>'code', r->>'reason', r->>'remote_id'
	  FROM activate._connector_answer(tab, rows, status, convert_to(body, 'UTF8'), headers) a,
		jsonb_array_elements(a->'rows') WITH ORDINALITY AS e(r, i) ORDER BY i
$$;
-- n rows of an operation
CREATE FUNCTION n_rows(n integer, op text DEFAULT 'upsert') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('op', op, 'id', 'id-' || i, 'seq', i, 'sync', 's',
		'key', jsonb_build_object('id', i), 'target_key', jsonb_build_object('id', i),
		'row', CASE WHEN op <> 'delete' THEN jsonb_build_object('id', i, 'email', 'a' || i || '@x.test') END))
	  FROM generate_series(1, n) i
$$;

--
-- The webhook
--
CREATE SERVER hook FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://hook.test/in?v=1');
CREATE FOREIGN TABLE change ("row" jsonb) SERVER hook;
SELECT activate._connector_request('change', '[{"op": "upsert", "id": "0b", "seq": 7, "sync": "crm \"x\"", "key": {"id": 7},
	"row": {"id": 7, "big": 123456789012345678901234567890.50, "none": null, "text": "é\n\"", "deep": {"a": [1, 2.0]}}}]') ->> 'body';
SELECT activate._connector_request('change', '[{"op": "delete", "id": "0b", "seq": 8, "sync": "s", "key": {"id": 7}, "row": null}]');
SELECT activate._connector_request('change', '[{"op": "insert", "id": "0b", "seq": 8, "sync": "s", "key": {}, "row": {"a": 1}}]') ->> 'url';

ALTER SERVER hook OPTIONS (ADD batch '10', ADD method 'PATCH');
SELECT activate._connector_request('change', n_rows(1));
SELECT activate._connector_request('change', n_rows(1) || n_rows(1, 'delete')) ->> 'body';
ALTER SERVER hook OPTIONS (ADD format 'row');
SELECT activate._connector_request('change', n_rows(2));
SELECT activate._connector_request('change', n_rows(1, 'delete'));
ALTER SERVER hook OPTIONS (DROP batch);
SELECT activate._connector_request('change', n_rows(1)) ->> 'body';
ALTER SERVER hook OPTIONS (SET format 'change', ADD batch '10');

-- answers by status
SELECT s, a.call, a.class, a.reason FROM unnest(ARRAY[200, 201, 204, 301, 307, 400, 401, 403, 404, 407, 408, 409, 410, 413,
	422, 425, 429, 500, 502, 503, 599]) s, answer('change', n_rows(1), s) a;
SELECT s, a.call, a.class, a.reason FROM unnest(ARRAY[400, 413, 422, 409, 500]) s, answer('change', n_rows(2), s, '{"error": "why"}') a;
-- a delete that hits 404 is gone, but not for a webhook
SELECT * FROM answer('change', n_rows(1, 'delete'), 404);
-- Retry-After
SELECT * FROM answer('change', n_rows(1), 429, '', E'Retry-After: 120\r\n');
SELECT * FROM answer('change', n_rows(1), 503, '', E'x: y\r\nretry-after:  3 \r\n');
SELECT * FROM answer('change', n_rows(1), 503, '', E'Retry-After: soon\r\n');
SELECT * FROM answer('change', n_rows(1), 429, '', E'Retry-After: 99999999999999999999\r\n');
SELECT call, wait FROM answer('change', n_rows(1), 429, '', E'Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n');
SELECT call, wait::bigint BETWEEN 3590000 AND 3600000 AS about_an_hour
  FROM answer('change', n_rows(1), 429, '', 'Retry-After: ' || to_char(now() AT TIME ZONE 'GMT' + '1 hour', 'Dy, DD Mon YYYY HH24:MI:SS') || E' GMT\r\n');
-- results per row
SELECT * FROM answer('change', n_rows(3), 200, '{"results": [{"status": 200}, {"status": 422, "error": "bad email"}, {"status": 429}]}');
-- a credential that is refused for every row is the target's affair; where another row gets by, the row's
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 401, "error": "token abc"}, {"status": 200}]}');
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 403}, {"status": 422, "error": "bad"}]}');
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 401, "error": "token abc"}, {"status": 407}]}');
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 403}, {"status": 500}]}');
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 500}, {"status": 503}]}');
SELECT * FROM answer('change', n_rows(2), 200, '{"results": [{"status": 400}, {"status": 413}]}');
-- ... of another length or shape
SELECT body, call, class, reason FROM unnest(ARRAY['{"results": []}', '{"results": [{"status": 200}]}',
	'{"results": {"status": 200}}', '{"results": [1, 2]}', '{"results": [{"status": 200}, {"status": "200"}]}',
	'{"results": [{"status": 200}, {"status": 7}]}', '{"results": [{"status": 200}, {"status": 1e99}]}', '{"results": 5}',
	'{"results": [{"status": 200}, {}]}', '{"results": [{"status": 200', '{"results": [{"status": 200}, {"status": 200}]} x']) WITH ORDINALITY AS b(body, i),
	LATERAL (SELECT * FROM answer('change', n_rows(2), 200, body) LIMIT 1) a ORDER BY i;
-- ... or not there
SELECT body, call, class FROM unnest(ARRAY['', 'OK', '<html></html>', '{}', '{"results": null}', '[]', 'null', '17', '"x"']) WITH ORDINALITY AS b(body, i),
	LATERAL (SELECT * FROM answer('change', n_rows(2), 200, body) LIMIT 1) a ORDER BY i;
-- what a stranger says is kept short and clean
SELECT length(reason), left(reason, 3) FROM answer('change', n_rows(1), 422, json_build_object('error', repeat('é', 5000))::text);
SELECT reason FROM answer('change', n_rows(1), 422, '{"error": "é ‰ 😀 \\é \u00e9", "n": 123456789012345678901234567890}');
-- no JSON: what is escaped is none that may be
SELECT reason FROM answer('change', n_rows(1), 422, '{"error": "\é"}');
SELECT reason FROM answer('change', n_rows(1), 422, '{"error": "a\u0007b\nc\u0085d"}');
SELECT reason FROM answer('change', n_rows(1), 422, '{"error": {"message": "deep"}}');
SELECT reason FROM answer('change', n_rows(1), 422, '{"error": {"code": 5}, "message": "top"}');
SELECT reason FROM answer('change', n_rows(1), 422, '{"errors": [{"message": "first"}, {"message": "second"}]}');
SELECT reason FROM answer('change', n_rows(1), 422, '<html>long page</html>');
-- garbage never raises
SELECT a->>'class', a->'rows'->0->>'reason' FROM unnest(ARRAY['\xff', '\x7b22726573756c7473223a00', '\x00', '\x5b', '\x7b22ff223a317d',
	decode(repeat('5b', 100000), 'hex')]::bytea[]) b, activate._connector_answer('change', n_rows(1), 200, b) a;

--
-- rest: operations, paths, envelopes
--
CREATE SERVER crm FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://crm.test/v1/',
	headers '{"X-Tenant": "{tenant}", "Content-Type": "application/vnd.api+json"}', objects '{
	"contacts": {"path": "/contacts", "key": "id",
		"columns": {"id": {"type": "bigint", "readonly": true}, "email": {"path": "properties.email"}, "phone": {"path": "phones.1.number"},
			"tenant": "text", "dotted": {"path": "\"a.b\".c"}},
		"read": {"records": "data.items", "page": {"style": "cursor", "next": "paging.next.after", "param": "after", "size": 50}},
		"write": {"insert": {}, "update": {}, "upsert": {"path": "/contacts/{tenant}/{id}?by={email}"}, "delete": {}},
		"answer": {"id": "data.id", "error": "fault.text"}}}');
CREATE FOREIGN TABLE contacts (id bigint, email text, phone text, tenant text, dotted text) SERVER crm;
SELECT activate._connector_request('contacts', jsonb_build_array(jsonb_build_object('op', op, 'target_key', '{"id": 5}'::jsonb, 'row',
	'{"id": 5, "email": "a/b?c#d &e@é.test", "phone": null, "tenant": "x y", "dotted": 1.10}'::jsonb)))
  FROM unnest(ARRAY['insert', 'update', 'upsert']) op;
SELECT activate._connector_request('contacts', '[{"op": "delete", "target_key": {"id": 5, "tenant": "t"}}]');
-- what a value cannot do to a path
SELECT activate._connector_request('contacts', '[{"op": "upsert", "row": {"id": "..", "tenant": "t", "email": "e"}}]');
SELECT activate._connector_request('contacts', '[{"op": "upsert", "row": {"id": "", "tenant": "t", "email": "e"}}]');
SELECT activate._connector_request('contacts', '[{"op": "upsert", "row": {"id": null, "tenant": "t", "email": "e"}}]');
SELECT activate._connector_request('contacts', '[{"op": "upsert", "row": {"id": "../x%2f", "tenant": "t", "email": ""}}]') ->> 'url';
SELECT activate._connector_request('contacts', E'[{"op": "upsert", "row": {"id": 1, "tenant": "t\\r\\nX: y", "email": "e"}}]');
SELECT activate._connector_request('contacts', '[{"op": "delete", "key": {"id": 5}}]');

-- one row: remote id, error path, gone
SELECT * FROM answer('contacts', n_rows(1, 'insert'), 201, '{"data": {"id": 991}}');
SELECT * FROM answer('contacts', n_rows(1, 'insert'), 201, 'created');
SELECT * FROM answer('contacts', n_rows(1, 'insert'), 409, '{"fault": {"text": "duplicate"}}');
SELECT * FROM answer('contacts', n_rows(1, 'delete'), 404);
SELECT * FROM answer('contacts', n_rows(1, 'delete'), 410);
SELECT * FROM answer('contacts', n_rows(1, 'update'), 404);

-- batches and the shapes of their answers
CREATE SERVER bulk FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://bulk.test');
CREATE FOREIGN TABLE by_order (id bigint OPTIONS (path 'Id'), email text) SERVER bulk OPTIONS (path '/o', key 'id',
	write '{"upsert": {"batch": 100, "path": "/o/batch", "envelope": "inputs.rows", "answer": {"shape": "array", "path": "out", "ok": "success", "error": "message", "id": "ref"}},
		"delete": {"batch": 10}}');
CREATE FOREIGN TABLE by_errors (id bigint, email text) SERVER bulk OPTIONS (path '/e', key 'id',
	write '{"upsert": {"batch": 100}}', answer '{"shape": "errors", "path": "errors", "index": "at", "error": "why", "status": "code"}');
CREATE FOREIGN TABLE by_key (id bigint, email text) SERVER bulk OPTIONS (path '/k', key 'id',
	write '{"upsert": {"batch": 100}}', answer '{"shape": "keyed", "path": "", "key": "email", "column": "email", "status": "status"}');
CREATE FOREIGN TABLE by_ok (id bigint, email text) SERVER bulk OPTIONS (path '/s', key 'id',
	write '{"upsert": {"method": "POST", "path": "/s"}}', answer '{"ok": "ok", "error": "error"}');
SELECT activate._connector_request('by_order', n_rows(2));
SELECT activate._connector_request('by_order', n_rows(2, 'delete'));
SELECT activate._connector_request('by_errors', n_rows(2)) ->> 'body';
SELECT * FROM answer('by_order', n_rows(2), 200, '{"out": [{"success": true, "ref": "r1"}, {"success": false, "message": "no"}]}');
SELECT * FROM answer('by_order', n_rows(2), 200, '{"out": [{"success": true}, {"success": 1}]}');
SELECT * FROM answer('by_order', n_rows(2), 200, '{}');
SELECT * FROM answer('by_order', n_rows(2), 200, '');
SELECT * FROM answer('by_order', n_rows(2), 207, '{"out": [{"success": true}]}');
SELECT * FROM answer('by_errors', n_rows(3), 207, '{"errors": [{"at": 1, "why": "bad", "code": 422}]}');
SELECT * FROM answer('by_errors', n_rows(2), 200, '{"errors": [{"at": 1, "why": "later", "code": 503}]}');
SELECT * FROM answer('by_errors', n_rows(2), 200, '{"errors": []}');
SELECT * FROM answer('by_errors', n_rows(2), 200, '');
SELECT * FROM answer('by_errors', n_rows(2), 200, '{"errors": [{"at": 2, "why": "whose?"}]}');
SELECT * FROM answer('by_key', n_rows(3), 200, '[{"email": "a3@x.test", "status": 200}, {"email": "a1@x.test", "status": 409}, {"email": "z", "status": 200}]');
-- ... among as many others as there may be
SELECT * FROM answer('by_key', n_rows(1), 200, (SELECT jsonb_agg(jsonb_build_object('email', 'a' || i || '@x.test', 'status', 200))::text FROM generate_series(40, 1, -1) i));
SELECT * FROM answer('by_key', n_rows(1), 200, '{"email": "a1@x.test", "status": 200}');
SELECT * FROM answer('by_ok', n_rows(1), 200, '{"ok": false, "error": "channel_not_found"}');
SELECT * FROM answer('by_ok', n_rows(1), 200, '{"ok": true}');
SELECT * FROM answer('by_ok', n_rows(1), 200, 'fine');
SELECT activate._connector_request('by_ok', n_rows(1, 'insert'));

--
-- activate_connector
--
SELECT activate_connector('{"name": "small", "description": "a CRM", "base_url": "https://small.test", "objects": {"people":
	{"path": "/people", "key": ["id"], "columns": {"id": "bigint", "name": {"type": "text", "path": "attributes.name"}}, "write": {"upsert": {}}}}}');
SELECT name, shipped FROM activate.connector WHERE name = 'small';
CREATE SERVER small FOREIGN DATA WRAPPER activate OPTIONS (connector 'small', objects '{"people": {"columns": {"name": {"path": "n"}}, "write": {"insert": {}, "upsert": null}}}');
CREATE FOREIGN TABLE people (id bigint, name text) SERVER small;
SELECT activate._connector_request('people', '[{"op": "insert", "row": {"id": 1, "name": "x"}}]');
SELECT activate._connector_request('people', '[{"op": "upsert", "row": {"id": 1, "name": "x"}}]');
SELECT activate_connector('{"name": "rest"}');
SELECT activate_connector('{}');
SELECT activate_connector('{"name": "Bad Name"}');
CREATE ROLE regress_connector_user;
SET ROLE regress_connector_user;
SELECT activate_connector('{"name": "mine"}');
RESET ROLE;

-- what a definition is refused for
CREATE FUNCTION refused(definition jsonb) RETURNS TABLE (error text, hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM activate_connector('{"name": "bad"}' || definition);
	error := 'accepted';
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS error = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	error := SQLSTATE || ': ' || error;
	RETURN NEXT;
END
$$;
\x on
SELECT r.* FROM unnest(ARRAY[
	'{"nonsense": 1}', '{"objects": []}', '{"objects": {"o": 1}}', '{"objects": {"o": {"colums": {}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": 1}}}}', '{"objects": {"o": {"path": "/o", "columns": {"a": {"typ": "text"}}}}}',
	'{"objects": {"o": {"path": "/o", "key": 1}}}', '{"objects": {"o": {"path": "/o", "key": "b", "columns": {"a": "text"}}}}',
	'{"objects": {"o": {"path": "/o", "key": "a,a", "columns": {"a": "text"}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": {"path": "x"}, "b": {"path": "x.y"}}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": {"path": "x..y"}}}}}',
	'{"objects": {"o": {"path": "https://elsewhere.test/o"}}}', '{"objects": {"o": {"path": "/o?api_key=hunter2"}}}',
	'{"objects": {"o": {"read": {"records": "data"}}}}', '{"objects": {"o": {"path": "/o", "read": true}}}',
	'{"objects": {"o": {"path": "/o", "read": {"page": {"style": "scroll"}}}}}', '{"objects": {"o": {"path": "/o", "read": {"page": {}}}}}',
	'{"objects": {"o": {"path": "/o", "read": {"page": {"style": "page", "size": 0}}}}}',
	'{"objects": {"o": {"path": "/o", "read": {"query": {"access_token": "hunter2"}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"merge": {}}}}}', '{"objects": {"o": {"path": "/o", "write": {"upsert": {"method": "GET"}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"upsert": {}}}}}', '{"objects": {"o": {"path": "/o", "write": {"upsert": {"batch": 1.5}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"upsert": {"batch": 99999}}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": "text"}, "write": {"upsert": {"path": "/o/{b}"}}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": "text"}, "write": {"upsert": {"path": "/o/{a"}}}}}',
	'{"objects": {"o": {"path": "/o", "columns": {"a": "text"}, "write": {"upsert": {"path": "/o/{a}", "batch": 2}}}}}',
	'{"objects": {"o": {"path": "/o", "key": "a", "columns": {"a": "text", "b": "text"}, "write": {"delete": {"path": "/o/{b}"}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"insert": {"envelope": "x..y"}}}}}', '{"objects": {"o": {"path": "/o", "write": {"insert": {"batch": 2, "body": "none"}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"insert": {"answer": {"shape": "errors"}}}}}}', '{"objects": {"o": {"path": "/o", "write": {"insert": {"answer": {"shape": "keyed"}}}}}}',
	'{"objects": {"o": {"path": "/o", "write": {"insert": {"answer": {"shape": "list"}}}}}}',
	'{"headers": {"Authorization": "hunter2"}}', '{"headers": {"X-Api-Key": "hunter2"}}', '{"headers": {"Idempotency-Key": "x"}}', '{"headers": {"a b": "x"}}',
	'{"headers": {"X": "a\nb"}}', '{"headers": {"X": 1}}',
	'{"base_url": "ftp://x"}', '{"base_url": "https://u:hunter2@x"}', '{"base_url": "https://x/?token=hunter2"}', '{"base_url": "https://x/?a=b"}', '{"base_url": "https://"}'
	]) WITH ORDINALITY AS d(def, i), refused(def::jsonb) r ORDER BY i;
\x off
SELECT activate_connector('{"name": "small", "headers": {"Cookie": "hunter2"}}');

--
-- Options
--
CREATE SERVER bad FOREIGN DATA WRAPPER activate;
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', bas_url 'x');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', url 'https://x');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://me:hunter2@x');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', objects '{"o": ');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', headers '{"X": hunter2');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', headers '{"X-Secret": "hunter2"}');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x/?api-key=hunter2');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', method 'GET');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', batch '0');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', format 'csv');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', base_url 'y');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', http_version '3');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', compress 'br');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', ca_file 'ca.pem');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', proxy 'socks5://proxy.test');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', proxy 'http://me:hunter2@proxy.test');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', proxy 'me:hunter2@proxy.test');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', proxy 'http://proxy.test/path');
CREATE SERVER reached FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', ca_file '/nowhere/ca.pem', proxy 'http://proxy.test:3128', http_version '2');
CREATE FOREIGN TABLE bad (a int) SERVER crm OPTIONS (objekt 'x');
CREATE FOREIGN TABLE bad (a int) SERVER crm OPTIONS (read '{"pages": 1}');
CREATE FOREIGN TABLE bad (a int) SERVER crm OPTIONS (write '[]');
CREATE FOREIGN TABLE bad (a int OPTIONS (path 'a..b')) SERVER crm;
CREATE FOREIGN TABLE bad (a int OPTIONS (readonly 'perhaps')) SERVER crm;
-- names are looked up when the table is used: a dump restores servers before definitions
CREATE SERVER later FOREIGN DATA WRAPPER activate OPTIONS (connector 'nowhere');
CREATE FOREIGN TABLE later (a int) SERVER later;
SELECT activate._connector_request('later', n_rows(1));
CREATE FOREIGN TABLE unknown_object (a int) SERVER crm;
SELECT activate._connector_request('unknown_object', n_rows(1));
CREATE SERVER baseless FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest');
CREATE FOREIGN TABLE baseless (a int) SERVER baseless OPTIONS (path '/x');
SELECT activate._connector_request('baseless', n_rows(1));

--
-- Secrets
--
CREATE USER MAPPING FOR PUBLIC SERVER crm OPTIONS (secret '{"bearer": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"header": {"X-Api-Key": "a"}, "query": {"key": "b"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"basic": {"file": "/etc/secret"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"basic": {"file": "secret"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"bearer": "hunter2');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"bearer": hunter2}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '"hunter2"');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"token": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"bearer": ["hunter2"]}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"bearer": "hunter\n2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"basic": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"basic": "a:hunter2", "bearer": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"header": {"Host": "hunter2"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_cert": "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_key": {"file": "/etc/key.pem"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_cert": "hunter2", "client_key": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_cert": {"file": "/etc/cert.pem"}, "client_key": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_cert": {"file": "/etc/cert.pem"}, "client_key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"client_cert": {"file": "/etc/cert.pem"}, "client_key": {"file": "key.pem"}}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"proxy": "hunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET secret '{"bearer": "hunter2", "proxy": "me:hunter2", "client_cert": "-----BEGIN CERTIFICATE-----\nhunter2", "client_key": "-----BEGIN PRIVATE KEY-----\nhunter2"}');
ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (ADD pass 'hunter2');
GRANT USAGE ON FOREIGN SERVER crm TO regress_connector_user;
SET ROLE regress_connector_user;
CREATE USER MAPPING FOR CURRENT_USER SERVER crm OPTIONS (secret '{"bearer": {"file": "/etc/passwd"}}');
CREATE USER MAPPING FOR CURRENT_USER SERVER crm OPTIONS (secret '{"client_cert": {"file": "/etc/passwd"}, "client_key": {"file": "/etc/passwd"}}');
CREATE USER MAPPING FOR CURRENT_USER SERVER crm OPTIONS (secret '{"bearer": "mine"}');
SELECT activate._connector_request(0, '[]');
RESET ROLE;

SET client_min_messages = warning;
DROP SERVER hook, crm, bulk, small, later, baseless, reached CASCADE;
DROP SCHEMA connector_test CASCADE;
DELETE FROM activate.connector WHERE name = 'small';
DROP ROLE regress_connector_user;
