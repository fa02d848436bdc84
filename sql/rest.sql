-- Reading web APIs, and writing to them by INSERT and COPY.
\getenv url ACTIVATE_SERVICE_URL
SELECT set_config('test.url', :'url', false) AS url \gset test_
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null

-- What went wrong, with the place of the test service taken out.
CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	message := regexp_replace(replace(message, current_setting('test.url'), 'URL'), 'port \d+', 'port N');
	detail := replace(detail, current_setting('test.url'), 'URL');
	hint := replace(hint, current_setting('test.url'), 'URL');
END
$$;
CREATE FUNCTION plan(statement text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS off) ' || statement LOOP
		RETURN NEXT replace(line, current_setting('test.url'), 'URL');
	END LOOP;
END
$$;
\pset null '(null)'

-- seven people, seen through every way of paging
\! for i in 1 2 3 4 5 6 7; do "$ACTIVATE_SERVICE" call POST /objects/people "{\"id\": $i, \"email\": \"p$i@example.com\", \"properties\": {\"name.first\": \"P$i\", \"score\": $i.50}, \"tags\": [\"a\", \"b,$i\", null], \"born\": \"199$i-01-01\"}" >/dev/null; done
SELECT activate_target('api', 'rest', jsonb_build_object('base_url', :'url', 'objects',
	(SELECT jsonb_object_agg('people_' || style, jsonb_build_object('path', '/objects/people', 'key', 'id',
		'columns', '{"id": "bigint", "email": "text", "born": "date", "tags": "text[]", "properties": "jsonb",
			"first": {"type": "text", "path": "properties.\"name.first\"", "readonly": true},
			"score": {"type": "numeric(6,2)", "path": "properties.score", "readonly": true},
			"missing": {"type": "int", "path": "properties.nothing.here", "readonly": true}}'::jsonb,
		'read', jsonb_build_object('records', 'data', 'query', jsonb_build_object('style', style),
			'page', page || '{"size_param": "limit", "size": 3}')))
	  FROM (VALUES
		('cursor', '{"style": "cursor", "param": "cursor", "next": "paging.next"}'::jsonb),
		('page', '{"style": "page", "param": "page"}'),
		('offset', '{"style": "offset", "param": "offset"}'),
		('next_url', '{"style": "next_url", "next": "paging.next"}'),
		('link', '{"style": "link"}')) p (style, page))
	|| '{"all": {"path": "/objects/people", "columns": {"id": "int"},
			"read": {"query": {"limit": 0}, "records": "data"}}}'));
SELECT * FROM api.people_cursor;
SELECT array_agg(id) FROM api.people_page;
SELECT array_agg(id) FROM api.people_offset;
SELECT array_agg(id) FROM api.people_next_url;
SELECT array_agg(id) FROM api.people_link;
SELECT array_agg(id) FROM api.all;
SELECT activate_target('api', 'rest', '{"objects": {"defaults": {"path": "/objects/people", "columns": {"id": "int"}}}}');
SELECT array_agg(id) FROM api.defaults;
SELECT id, tags[2], properties ->> 'score' AS score FROM api.people_cursor WHERE id % 2 = 0 ORDER BY id DESC;
SELECT count(*) FROM api.people_cursor a JOIN api.people_link b USING (id);

-- lazily: so many pages as the query pulls, again for a second look
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 500, "path": "/objects/people", "after": 2}' >/dev/null
SELECT id FROM api.people_cursor LIMIT 6;
SELECT * FROM failure('SELECT count(*) FROM api.people_cursor') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM api.people_cursor;
FETCH 4 FROM c;
MOVE BACKWARD ALL IN c;
FETCH 2 FROM c;
COMMIT;
SELECT o, (SELECT max(id) FROM api.people_link WHERE id < o) FROM generate_series(3, 5) o;

-- the plan says what will be asked
SELECT * FROM plan('SELECT id, email FROM api.people_cursor WHERE id > 2');
SELECT * FROM plan('SELECT id FROM api.people_offset');
SELECT * FROM plan('SELECT id FROM api.people_link');
SELECT * FROM plan('SELECT id FROM api.all');
SELECT activate_target('api', 'rest', '{"objects": {"many": {"path": "/objects/people", "read": {"page": {"style": "page", "in_flight": 33}}}}}');

-- types: what does not fit is an error with its place, unless nobody looks at it
\! "$ACTIVATE_SERVICE" call POST /objects/odd '{"id": 1, "n": 1, "b": true, "t": "x", "j": {"a": [1, 2]}, "m": [[1, 2], [3, 4]], "big": 123456789012345678901234567890.123}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /objects/odd '{"id": 2, "n": "12923.0", "b": "maybe", "t": 12.50, "j": "s", "m": [1, "x"], "big": 1e400, "long": "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}' >/dev/null
CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 1);
SELECT activate_target('api', 'rest', '{"objects": {"odd": {"path": "/objects/odd", "columns": {"id": "int", "n": "int", "b": "boolean",
	"t": "text", "j": "json", "m": "int[]", "big": "numeric", "long": "date", "d": {"type": "positive", "path": "id", "readonly": true},
	"nn": {"type": "positive", "path": "none", "readonly": true}, "jt": {"type": "text", "path": "j", "readonly": true}, "jb": {"type": "jsonb", "path": "j", "readonly": true}, "ja": {"type": "jsonb[]", "path": "m", "readonly": true}},
	"read": {"records": "data"}}}}');
SELECT id, t, j, jt, jb, ja, length(big::text) FROM api.odd;
SELECT n, m, b FROM api.odd LIMIT 1;
SELECT n FROM api.odd;
SELECT b FROM api.odd;
SELECT m FROM api.odd;
SELECT long FROM api.odd;
SELECT d FROM api.odd;
SELECT nn FROM api.odd;
SELECT count(*) FROM api.odd;

-- secrets: bearer, header, basic, query; none of them is told
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_bearer": "tok"}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
SELECT activate_target('api', 'rest', secret => '{"bearer": "tik"}');
SELECT * FROM failure('SELECT id FROM api.all') \gx
SELECT activate_target('api', 'rest', secret => '{"bearer": "tok"}');
SELECT count(*) FROM api.all;
-- whose: the reader's own, through a view its owner's
CREATE ROLE regress_reader NOLOGIN;
CREATE VIEW api.ids AS SELECT id FROM api.all;
GRANT USAGE ON SCHEMA api TO regress_reader;
GRANT SELECT ON api.all, api.ids TO regress_reader;
SET ROLE regress_reader;
SELECT * FROM failure('SELECT id FROM api.all') \gx
SELECT count(*) FROM api.ids;
RESET ROLE;
DROP OWNED BY regress_reader;
DROP ROLE regress_reader;
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_bearer": null, "require_header": {"x-api-key": "k"}}' >/dev/null
SELECT activate_target('api', 'rest', secret => '{"header": {"X-Api-Key": "k"}}');
SELECT count(*) FROM api.people_link;
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_header": {"authorization": "Basic dTpw"}}' >/dev/null
SELECT activate_target('api', 'rest', secret => '{"basic": "u:p"}');
SELECT count(*) FROM api.people_page;
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_header": null, "require_query": {"key": "s3cret"}}' >/dev/null
SELECT activate_target('api', 'rest', secret => '{"query": {"key": "s3cret"}}');
SELECT count(*) FROM api.people_next_url;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 418}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.people_page') \gx
SELECT * FROM plan('SELECT id FROM api.people_page');
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_query": null}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null

-- an answer that is no page of JSON is never "no rows"
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "garbage", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "empty200", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "text/html", "body": "<html>", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body_hex": "7b2264617461223a205b22fffe225d7d", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/vnd.api+json; charset=utf-8", "body": "{\"rows\": []}", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": {}}", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": \"\\u0000\"}", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "bigbody", "bytes": 20000000, "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "redirect", "location": "https://elsewhere.example.com/x?token=t", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 404, "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "half", "count": 1}' >/dev/null
SELECT code, hint FROM failure('SELECT id FROM api.all');
-- (libcurl asks once more for every connection at rest that was closed)
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "close"}' >/dev/null
SELECT code, hint FROM failure('SELECT id FROM api.all');
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null

-- nothing to tell is told by null and by 204
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": null}", "count": 1}' >/dev/null
SELECT count(*) FROM api.all;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 204, "count": 1}' >/dev/null
SELECT count(*) FROM api.all;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body_hex": "efbbbf7b2264617461223a205b7b226964223a20377d5d7d", "count": 1}' >/dev/null
SELECT id AS after_a_byte_order_mark FROM api.all;

-- a slow answer ends with the time allowed, or with the statement's
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "hang", "count": 2}' >/dev/null
SET activate.http_timeout = '200ms';
SELECT code, hint FROM failure('SELECT id FROM api.all');
RESET activate.http_timeout;
SET statement_timeout = '200ms';
SELECT id FROM api.all;
RESET statement_timeout;

-- throttled: waits as told, and says so when it is for too long
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 429, "retry_after": "1", "count": 1}' >/dev/null
SELECT clock_timestamp() AS began \gset
SELECT count(*) FROM api.all;
SELECT clock_timestamp() - :'began' >= '0.9s' AS waited;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 503, "retry_after_date": 1, "count": 1}' >/dev/null
SELECT count(*) FROM api.all;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 503, "retry_after": "3600", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.all') \gx
-- nobody asks before that time, unless an operator says so
SELECT regexp_replace(message, '\d+', 'N') AS message FROM failure('SELECT id FROM api.people_page');
SELECT activate_resume('target:' || srvname) FROM pg_foreign_server WHERE oid = (SELECT ftserver FROM pg_foreign_table WHERE ftrelid = 'api.all'::regclass);
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 503, "count": 1}' >/dev/null
SELECT code FROM failure('SELECT id FROM api.all');

-- an API that leads in a circle, or away
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": [{\"id\": 1}], \"paging\": {\"next\": \"same\"}}", "count": 3}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.people_cursor') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": [{\"id\": 1}]}", "count": 3}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.people_page') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": [{\"id\": 1}], \"paging\": {\"next\": \"https://evil.example.com/objects/people?key=k\"}}", "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.people_next_url') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": [{\"id\": 1}]}", "headers": {"Link": "</a>; rel=\"prev\", <//evil.example.com/b>; rel=\"next\""}, "count": 1}' >/dev/null
SELECT * FROM failure('SELECT id FROM api.people_link') \gx
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 200, "content_type": "application/json", "body": "{\"data\": [{\"id\": 1}]}", "headers": {"Link": "</a>; title=\"; rel=next\"; rel=prev, <//evil.example.com/b>; title=\", <c>\"; REL = \"last Next\""}, "count": 1}' >/dev/null
SELECT detail FROM failure('SELECT id FROM api.people_link');

-- a host that may not be contacted, and one that is not there
CREATE SERVER away FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'http://10.1.2.3');
CREATE FOREIGN TABLE away (id int) SERVER away OPTIONS (path '/x');
SELECT id FROM away;
ALTER SERVER away OPTIONS (SET base_url 'http://127.0.0.1:1');
SELECT code, hint FROM failure('SELECT id FROM away');
ALTER SERVER away OPTIONS (SET connector 'nothing_of_that_name');
SELECT id FROM away;
DROP SERVER away CASCADE;

-- INSERT: into the outbox, with the transaction, as to_jsonb would say it
SELECT activate_target('hook', 'webhook', jsonb_build_object('url', :'url' || '/hook'));
SELECT activate_target('out', 'rest', jsonb_build_object('base_url', :'url', 'objects', '{
	"contacts": {"path": "/objects/contacts", "key": "id", "read": false,
		"columns": {"id": "bigint", "email": "text", "at": "timestamptz", "price": "float8"},
		"write": {"insert": {"method": "POST", "path": "/objects/contacts"}}},
	"pairs": {"path": "/objects/pairs", "key": "a, b", "columns": {"a": "int", "b": "text", "v": "int"},
		"write": {"upsert": {"method": "PUT", "path": "/objects/pairs/{a}-{b}"}}},
	"readonly": {"path": "/objects/people", "columns": {"id": "int"}}}'::jsonb));
ALTER SERVER out OPTIONS (SET base_url 'http://127.0.0.1:1');
ALTER SERVER hook OPTIONS (SET url 'http://127.0.0.1:1/hook');
BEGIN;
INSERT INTO out.contacts (id, email) VALUES (1, 'gone@example.com');
ROLLBACK;
SELECT count(*) AS none FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.implicit;
SET TimeZone = 'Asia/Kolkata';
SET DateStyle = 'SQL, DMY';
SET extra_float_digits = 0;
INSERT INTO out.contacts (id, email, at, price) VALUES (1, 'a@example.com', '2026-01-02 03:04:05+00', 0.1::float8 + 0.2)
	RETURNING id, email;
RESET TimeZone;
RESET DateStyle;
RESET extra_float_digits;
INSERT INTO out.contacts (id, email) SELECT i, NULL FROM generate_series(2, 3) i;
INSERT INTO out.contacts (email) VALUES ('the API gives the id');
INSERT INTO out.pairs VALUES (1, 'x', 10);
COPY out.pairs (a, b) FROM stdin;
2	y
3	z
\.
INSERT INTO hook.change VALUES ('{"any": "thing"}');
SELECT s.name, s.key, s.mode, s.capture, s.kind, s.implicit, s.owner = current_user AS mine, o.op, o.key, o.body, o.writer = current_user AS written
  FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.implicit ORDER BY o.id;

-- defaults and triggers are part of the row
ALTER FOREIGN TABLE out.pairs ALTER COLUMN v SET DEFAULT 42;
CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := upper(NEW.b); RETURN NEW; END $$;
CREATE TRIGGER louder BEFORE INSERT ON out.pairs FOR EACH ROW EXECUTE FUNCTION louder();
INSERT INTO out.pairs (a, b) VALUES (4, 'q') RETURNING *;
SELECT o.key, o.body FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'out.pairs' ORDER BY o.id DESC LIMIT 1;

-- as a partition
CREATE TABLE parted (v int, b text, a int) PARTITION BY LIST (a);
ALTER TABLE parted ATTACH PARTITION out.pairs FOR VALUES IN (9);
INSERT INTO parted (a, b) VALUES (9, 'routed');
SELECT o.key, o.body FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'out.pairs' ORDER BY o.id DESC LIMIT 1;
ALTER TABLE parted DETACH PARTITION out.pairs;
DROP TABLE parted;

-- a renamed table keeps its sync
ALTER FOREIGN TABLE out.pairs RENAME TO couples;
INSERT INTO out.couples (a, b) VALUES (5, 'r');
SELECT count(*), count(DISTINCT o.sync) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.target_rel = 'out.couples'::regclass;

-- what does not go
SELECT id FROM out.contacts;
EXPLAIN (VERBOSE) SELECT id FROM out.contacts;
SELECT * FROM hook.change;
INSERT INTO out.readonly VALUES (1);
COPY out.readonly FROM stdin;
1
\.
INSERT INTO hook.change VALUES ('[1]');
INSERT INTO hook.change VALUES (NULL);
INSERT INTO out.contacts (id) VALUES (1) ON CONFLICT DO NOTHING;

-- the role that wrote stands with each intent; the sync belongs to the first
CREATE ROLE regress_writer NOLOGIN;
GRANT USAGE ON SCHEMA hook TO regress_writer;
GRANT INSERT ON hook.change TO regress_writer;
SET ROLE regress_writer;
INSERT INTO hook.change VALUES ('{"by": "writer"}');
SELECT count(*) AS sees FROM activate.outbox;
RESET ROLE;
SELECT s.owner = current_user AS mine, o.writer FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
	WHERE s.name = 'hook.change' ORDER BY o.id DESC LIMIT 1;

-- a sync that was declared by that name stands in the way
INSERT INTO activate.sync (name, target, mode, capture, owner, kind, search_path)
	VALUES ('api.people_page', 'x', 'upsert', 'diff', current_user, 'local', '');
SELECT activate_target('api', 'rest', '{"objects": {"people_page": {"path": "/objects/people", "key": "id", "columns": {"id": "bigint"},
	"write": {"insert": {"method": "POST", "path": "/objects/people"}}}}}');
SELECT * FROM failure('INSERT INTO api.people_page (id) VALUES (8)') \gx

-- leave nothing
\set VERBOSITY terse
SET client_min_messages = warning;
DELETE FROM activate._outbox WHERE sync IN (SELECT id FROM activate.sync WHERE implicit OR name = 'api.people_page');
DELETE FROM activate.sync WHERE implicit OR name = 'api.people_page';
DROP SCHEMA api, hook, out CASCADE;
DROP SERVER api, hook, out CASCADE;
DROP OWNED BY regress_writer;
DROP ROLE regress_writer;
DROP DOMAIN positive;
DROP FUNCTION failure, plan, louder;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
