-- activate_target(): a web API declared in one call, and every way to get it wrong.
\getenv url ACTIVATE_SERVICE_URL
SELECT set_config('test.url', :'url', false) AS url \gset test_
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;

-- What went wrong, with the place of the test service taken out.
CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	message := replace(message, current_setting('test.url'), 'URL');
	detail := replace(detail, current_setting('test.url'), 'URL');
	hint := replace(hint, current_setting('test.url'), 'URL');
END
$$;
\pset null '(null)'

-- the webhook: one call, one table
SELECT activate_target('hook', 'webhook', jsonb_build_object('url', :'url' || '/hook'));
SELECT srvname, replace(srvoptions::text, :'url', 'URL') AS options FROM pg_foreign_server WHERE srvname = 'hook';
SELECT usename = current_user AS mine, umoptions FROM pg_user_mappings WHERE srvname = 'hook';
\d hook.change

-- an API in place: key columns come first, types may have modifiers
SELECT activate_target('crm', 'rest', jsonb_build_object('base_url', :'url', 'objects', '{
	"contacts": {"path": "/objects/contacts", "key": "id",
		"columns": {"email": "text", "id": "bigint", "amount": "numeric(10,2)",
			"first": {"type": "varchar(20)", "path": "properties.first"}, "tags": "text[]"},
		"read": {"page": {"style": "cursor", "param": "cursor", "next": "paging.next"}, "records": "data"},
		"write": {"upsert": {"method": "PUT", "path": "/objects/contacts/{id}"}}}}'::jsonb), '{"bearer": "s3cret"}');
\d crm.contacts

-- names are identifiers, whatever is in them
SELECT activate_target('Odd "name''', 'webhook', jsonb_build_object('url', :'url' || '/hook'));
SELECT c.oid::regclass FROM pg_class c JOIN pg_foreign_table t ON t.ftrelid = c.oid
	JOIN pg_foreign_server s ON s.oid = t.ftserver WHERE srvname LIKE 'Odd%';
DROP SCHEMA "Odd ""name'" CASCADE;
DROP USER MAPPING FOR CURRENT_USER SERVER "Odd ""name'";
DROP SERVER "Odd ""name'";

-- again: options that are given replace, null removes, objects and columns are added, the secret stays
SELECT activate_target('crm', 'rest', '{"headers": {"X-Tenant": "7"}, "objects": {
	"contacts": {"path": "/objects/contacts", "key": "id",
		"columns": {"email": "text", "id": "bigint", "amount": "numeric(12,2)", "phone": "text"}},
	"deals": {"path": "/objects/deals", "key": "id", "columns": {"id": "bigint", "title": "text"}}}}');
\d crm.*
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'crm';
SELECT activate_target('crm', 'rest', '{"headers": null}', '{"header": {"X-Api-Key": "other"}}');
SELECT replace(srvoptions::text, :'url', 'URL') LIKE '%headers%' AS has_headers FROM pg_foreign_server WHERE srvname = 'crm';
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'crm';

-- what a DBA changed by hand stays unless its object is described anew
ALTER FOREIGN TABLE crm.deals ADD COLUMN amount numeric;
SELECT activate_target('crm', 'rest', secret => '{"bearer": "s3cret"}');
SELECT attname FROM pg_attribute WHERE attrelid = 'crm.deals'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
BEGIN;
ALTER FOREIGN TABLE crm.deals DROP COLUMN title;
DROP FOREIGN TABLE crm.contacts;
SELECT activate_target('crm', 'rest', secret => '{"bearer": "s3cret"}');
SELECT relname, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'crm'::regnamespace AND attnum > 0 AND NOT attisdropped ORDER BY 1, attnum;
ROLLBACK;
SELECT activate_target('crm', 'rest', '{"objects": {"deals": {"path": "/objects/deals", "key": "id", "columns": {"id": "bigint"}}}}');
SELECT attname FROM pg_attribute WHERE attrelid = 'crm.deals'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;

-- a mapping for everybody, or for a role
SELECT activate_target('crm', 'rest', '{"mapping_for": "public"}', '{"basic": "u:p"}');
SELECT usename = current_user AS mine, umoptions FROM pg_user_mappings WHERE srvname = 'crm' ORDER BY 1;
SELECT * FROM failure($$SELECT activate_target('crm', 'rest', '{"mapping_for": "nobody_at_all"}')$$) \gx

-- a column in use stays
CREATE TABLE people (id bigint PRIMARY KEY, email text);
INSERT INTO activate.sync (name, source, target, mode, capture, owner, kind, source_rel, target_rel, search_path, columns)
	VALUES ('people to crm', 'people', 'crm.contacts', 'upsert', 'diff', current_user, 'api', 'people', 'crm.contacts', '', '{id,email}');
SELECT * FROM failure($$SELECT activate_target('crm', 'rest', '{"objects": {"contacts": {"path": "/objects/contacts", "key": "id",
	"columns": {"id": "bigint", "phone": "text"}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('crm', 'rest', '{"objects": {"contacts": {"path": "/objects/contacts", "key": "id",
	"columns": {"id": "bigint", "email": "jsonb", "phone": "text"}}}}')$$) \gx
SELECT activate_target('crm', 'rest', '{"objects": {"contacts": {"path": "/objects/contacts", "key": "id",
	"columns": {"id": "bigint", "email": "text"}}}}');
\d crm.contacts
DELETE FROM activate.sync WHERE name = 'people to crm';

-- what is refused, all or nothing
SELECT * FROM failure($$SELECT activate_target('', 'webhook', '{"url": "https://example.com"}')$$) \gx
SELECT * FROM failure(format('SELECT activate_target(%L, ''webhook'')', repeat('x', 64))) \gx
SELECT * FROM failure($$SELECT activate_target(NULL, 'webhook')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'hubspott')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '[]')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"uri": "https://example.com"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com", "connector": "rest"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "ftp://example.com"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://u:p@example.com"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "http://10.0.0.1/"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://169.254.169.254/latest"}')$$) \gx
-- names that are none, and old forms of addresses, which not everyone reads as libcurl does: newer ones write them as they read them
SELECT url, f.message LIKE 'URL is not valid: %' OR (f.message IS NULL AND url LIKE '%0x7f%') AS refused_or_rewritten
  FROM unnest(ARRAY['https://0x7f.1./', 'https://127.0.0.1../', 'https://example.com../', 'https://0x7f000001.', 'https://a%7fb.com/', 'https://a%2f.com/'])
	WITH ORDINALITY u(url, i), failure(format('SELECT activate_target(%L, %L, %L)', 'x' || i, 'webhook', jsonb_build_object('url', url))) f;
SET client_min_messages = error;
DROP SERVER IF EXISTS x1 CASCADE;
DROP SERVER IF EXISTS x4 CASCADE;
DROP SCHEMA IF EXISTS x1, x4;
RESET client_min_messages;
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com", "headers": {"Authorization": "Bearer t"}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com", "batch": 0}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com", "method": "GET"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com"}', '{"token": "t"}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'webhook', '{"url": "https://example.com"}', '"t"')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'rest', '{"base_url": "https://example.com", "objects": {"a": {"path": "/a", "columns": {"id": "bigunt"}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'rest', '{"base_url": "https://example.com", "objects": {"a": {"path": "/a", "columns": {"id": "bigint); DROP TABLE people; --"}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'rest', '{"base_url": "https://example.com", "objects": {"a": {"path": "/a", "colums": {}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'rest', '{"base_url": "https://example.com", "objects": {"a": {"path": "/a", "columns": {"id": "bigint"}, "read": {"page": {"style": "pages"}}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('x', 'rest', '{"objects": {"a": {"path": "/a", "columns": {"id": "bigint"}}}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('crm', 'webhook', '{"url": "https://example.com"}')$$) \gx
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER other FOREIGN DATA WRAPPER other;
SELECT * FROM failure($$SELECT activate_target('other', 'webhook', '{"url": "https://example.com"}')$$) \gx
DROP FOREIGN DATA WRAPPER other CASCADE;
CREATE SCHEMA taken CREATE TABLE change (x int);
SELECT * FROM failure($$SELECT activate_target('taken', 'webhook', jsonb_build_object('url', current_setting('test.url')))$$) \gx
DROP SCHEMA taken CASCADE;
BEGIN;
SELECT activate_target('x', 'rest', '{"base_url": "https://example.com"}');
ROLLBACK;
BEGIN READ ONLY;
SELECT activate_target('x', 'webhook', '{"url": "https://example.com"}');
ROLLBACK;
SELECT count(*) AS left_behind FROM pg_foreign_server WHERE srvname IN ('x', 'taken');
SELECT to_regclass('people') AS still_there;

-- by hand
CREATE SERVER byhand FOREIGN DATA WRAPPER activate;
CREATE SERVER byhand FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_uri 'x');
CREATE SERVER byhand FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://example.com',
	objects '{"things": {"path": "/things", "columns": {"id": "bigint", "data": "jsonb"}}, "others": {"path": "/others", "columns": {"id": "int"}}}');
CREATE SCHEMA byhand;
IMPORT FOREIGN SCHEMA api LIMIT TO (things) FROM SERVER byhand INTO byhand;
\d byhand.*
ALTER FOREIGN TABLE byhand.things OPTIONS (ADD colour 'red');
ALTER FOREIGN TABLE byhand.things ALTER COLUMN id OPTIONS (ADD pfad 'x');
CREATE USER MAPPING FOR PUBLIC SERVER byhand OPTIONS (password 'x');
CREATE USER MAPPING FOR PUBLIC SERVER byhand OPTIONS (secret 'x');
DROP SCHEMA byhand CASCADE;
DROP SERVER byhand;

-- privileges: the wrapper is for activate_admin, files for those who may read them
CREATE ROLE regress_target NOLOGIN;
SELECT current_database() AS db \gset
GRANT CREATE ON DATABASE :"db" TO regress_target;
GRANT EXECUTE ON FUNCTION failure TO regress_target;
SET ROLE regress_target;
SELECT * FROM failure($$SELECT activate_target('mine', 'webhook', jsonb_build_object('url', current_setting('test.url')))$$) \gx
RESET ROLE;
GRANT activate_admin TO regress_target;
SET ROLE regress_target;
SELECT activate_target('mine', 'webhook', jsonb_build_object('url', current_setting('test.url')));
SELECT * FROM failure($$SELECT activate_target('mine', 'webhook', secret => '{"bearer": {"file": "/etc/hostname"}}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('crm', 'rest', '{"headers": {"X-A": "b"}}')$$) \gx
RESET ROLE;
SELECT activate_target('mine', 'webhook', '{"mapping_for": "regress_target"}', '{"bearer": {"file": "/etc/hostname"}}');
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 'mine';
DROP SCHEMA mine CASCADE;
DROP OWNED BY regress_target CASCADE;
DROP ROLE regress_target;

-- leave nothing
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA hook, crm CASCADE;
DROP SERVER hook, crm CASCADE;
DROP TABLE people;
DROP FUNCTION failure;
