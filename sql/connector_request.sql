-- What requests look like: formats, constants, values, parameters.  Nothing is sent here.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA request_test;
SET search_path = request_test, public;

-- method, URL, content type and body of the request that rows make, or why there is none
CREATE FUNCTION sent(tab regclass, op text, VARIADIC rows jsonb[]) RETURNS TABLE (request text) LANGUAGE plpgsql AS $$
DECLARE
	r jsonb; hint text;
BEGIN
	SELECT activate._connector_request(tab, jsonb_agg(jsonb_build_object('op', op, 'id', 'id-' || i, 'row',
		CASE WHEN op <> 'delete' THEN e END, 'target_key', CASE WHEN e ? 'id' THEN jsonb_build_object('id', e->'id') END) ORDER BY i))
	  INTO r FROM unnest(rows) WITH ORDINALITY AS u(e, i);
	RETURN QUERY SELECT x FROM unnest(ARRAY[(r->>'method') || ' ' || (r->>'url'), r->>'type', r->>'body']) x WHERE x IS NOT NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN QUERY SELECT SQLSTATE || ': ' || SQLERRM UNION ALL SELECT hint WHERE hint <> '';
END $$;
-- the same of a definition: how its object "o" of columns id, email, note is sent
CREATE FUNCTION defined(object text, op text, VARIADIC rows jsonb[]) RETURNS TABLE (request text) LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM activate_connector(jsonb_build_object('name', 'shapes', 'base_url', 'https://api.test', 'objects',
		jsonb_build_object('o', '{"path": "/o", "key": "id", "columns": {"id": "bigint", "email": "text", "note": "text"}}'::jsonb || object::jsonb)));
	RETURN QUERY SELECT * FROM sent('o', op, VARIADIC rows);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN QUERY SELECT SQLSTATE || ': ' || SQLERRM UNION ALL SELECT hint WHERE hint <> '';
END $$;
SELECT activate_connector('{"name": "shapes", "base_url": "https://api.test", "objects": {"o": {"path": "/o"}}}');
CREATE SERVER shapes FOREIGN DATA WRAPPER activate OPTIONS (connector 'shapes');
CREATE FOREIGN TABLE o (id bigint, email text, note text) SERVER shapes;

--
-- Parameters
--
SELECT activate_connector('{"name": "lists", "version": "3.0", "documentation": "https://docs.test/api?v=3#lists",
	"base_url": "https://{$dc}.lists.test/3.0", "headers": {"X-Account": "acct {$account}"},
	"parameters": {"dc": {"description": "the data center"}, "account": {"default": 17}, "list_id": {"description": "which list"},
		"mode": {"default": "soft"}},
	"objects": {"members": {"path": "/lists/{$list_id}/members", "key": "id", "columns": {"id": "text", "email": "text"},
		"write": {"upsert": {"query": {"mode": "{$mode}", "by": "{email}", "n": 5}, "fixed": {"list": "{$list_id}", "as.is": "{{$mode} {email}"}}}}}}');
CREATE SERVER lists FOREIGN DATA WRAPPER activate OPTIONS (connector 'lists');
CREATE FOREIGN TABLE members (id text, email text) SERVER lists;
SELECT * FROM sent('members', 'upsert', '{"id": "1"}');
ALTER SERVER lists OPTIONS (ADD parameters '{"dc": "us-1"}');
SELECT * FROM sent('members', 'upsert', '{"id": "1"}');
ALTER SERVER lists OPTIONS (SET parameters '{"dc": "us-1", "list_id": "l/0"}');
SELECT * FROM sent('members', 'upsert', '{"id": "1", "email": "a&b=c d"}');
-- a table's values hold for the table, never for where its server is
ALTER FOREIGN TABLE members OPTIONS (ADD parameters '{"list_id": 7, "mode": true, "dc": "evil.test/"}');
SELECT * FROM sent('members', 'upsert', '{"id": "1", "email": "e"}');
SELECT * FROM sent('members', 'upsert', '{"id": "1"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"lisst_id": 7}');
SELECT * FROM sent('members', 'upsert', '{"id": "1", "email": "e"}');
-- what they may be
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"list_id": "{id}"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"list_id": ["a"]}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"list_id": "a\r\nb"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"api_key": "a"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"a b": "a"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '[]');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"list_id": "../x y"}');
SELECT * FROM sent('members', 'upsert', '{"id": "1", "email": "e"}');
ALTER FOREIGN TABLE members OPTIONS (SET parameters '{"list_id": ".."}');
SELECT * FROM sent('members', 'upsert', '{"id": "1", "email": "e"}');
-- undeclared, malformed
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "parameters": {"a": {}}, "objects": {"o": {"path": "/{$b}"}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://{$b}.test", "objects": {"o": {"path": "/"}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "objects": {"o": {"path": "/a{$}"}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "parameters": {"a-b": {}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "parameters": {"a": {"defualt": 1}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "parameters": {"token": {}}}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "documentation": "see the manual"}');
SELECT activate_connector('{"name": "lists2", "base_url": "https://x.test", "version": 3}');
-- in place, where nothing declares them; a parameter as the whole base_url is checked when it has a value
CREATE SERVER place FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://api.test/{$v}', parameters '{"v": "v2"}',
	objects '{"o": {"path": "/{$v}/o", "key": "id", "columns": {"id": "text"}, "write": {"upsert": {}}}}');
CREATE FOREIGN TABLE placed (id text) SERVER place OPTIONS (object 'o');
SELECT * FROM sent('placed', 'upsert', '{"id": "1"}');
SELECT activate_connector('{"name": "anywhere", "base_url": "{$url}", "parameters": {"url": {}}, "objects": {"o": {"path": "/o", "key": "id", "columns": {"id": "text"}, "write": {"upsert": {}}}}}');
CREATE SERVER anywhere FOREIGN DATA WRAPPER activate OPTIONS (connector 'anywhere', parameters '{"url": "ftp://x"}');
CREATE FOREIGN TABLE anyone (id text) SERVER anywhere OPTIONS (object 'o');
SELECT * FROM sent('anyone', 'upsert', '{"id": "1"}');
ALTER SERVER anywhere OPTIONS (SET parameters '{"url": "https://own.test/api"}');
SELECT * FROM sent('anyone', 'upsert', '{"id": "1"}');

--
-- Constants, envelopes, row_at
--
SELECT * FROM defined('{"write": {"insert": {"fixed": {"meta.source": "dwh", "flags": [1, true]}, "content_type": "application/vnd.api+json"}}}', 'insert',
	'{"id": 1, "email": "a"}');
SELECT * FROM defined('{"row_at": "attributes", "columns": {"id": {"type": "bigint", "path": "$.id"}, "email": "text", "note": {"path": "deep.note"}},
	"write": {"update": {"envelope": "data", "fixed_row": {"type": "profile"}, "fixed": {"dry": false}}}}', 'update', '{"id": 1, "email": "a", "note": null}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 10, "path": "/b", "envelope": "in.rows", "fixed": {"in.mode": "x", "update": true}, "fixed_row": {"kind": "c"}}}}',
	'upsert', '{"id": 1, "email": "a"}', '{"id": 2, "email": "b"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 10, "path": "/b", "row_at": "f", "trace": "trace_id"}}}', 'upsert', '{"id": 1, "email": "a"}', '{"id": 2}');
SELECT * FROM defined('{"write": {"delete": {"batch": 10, "path": "/b", "envelope": "ids", "fixed_row": {"gone": true}}}}', 'delete', '{"id": 1}', '{"id": 2}');
-- columns that one operation leaves out; they may stand in its path
SELECT * FROM defined('{"write": {"update": {"method": "POST", "omit": "id"}}}', 'update', '{"id": 1, "email": "a"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 5, "path": "/b", "omit": ["note", "email"]}}}', 'upsert', '{"id": 1, "email": "a", "note": "n"}');
SELECT * FROM defined('{"write": {"insert": {"omit": "emial"}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"omit": [1]}}}', 'insert', '{"id": 1}');
-- what cannot be
SELECT * FROM defined('{"write": {"upsert": {"batch": 10, "fixed": {"a": 1}}}}', 'upsert', '{"id": 1}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 10, "envelope": "a", "fixed": {"a": 1}}}}', 'upsert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"fixed": {"email": 1}}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"fixed_row": {"email.x": 1}}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"fixed": {"a..b": 1}}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"fixed": {"auth.api_key": "x"}}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"fixed": [1]}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"content_type": "json"}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"content_type": "a/b\r\nX: y"}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 2, "path": "/b", "query": {"q": "{email}"}}}}', 'upsert', '{"id": 1}');
SELECT * FROM defined('{"write": {"delete": {"query": {"q": "{email}"}}}}', 'delete', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"query": {"q": "{emial}"}}}}', 'insert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"query": {"api_key": "x"}}}}', 'insert', '{"id": 1}');
-- what a value can do to a query
SELECT * FROM defined('{"write": {"insert": {"path": "/o?a=1", "query": {"q": "x {email}", "b": true}}}}', 'insert', E'{"id": 1, "email": "a&b=c#d\\r\\n%é"}');
SELECT * FROM defined('{"write": {"insert": {"query": {"q": "{email}"}}}}', 'insert', '{"id": 1, "email": null}');

--
-- Forms
--
SELECT * FROM defined('{"columns": {"id": "bigint", "email": "text", "note": {"path": "metadata.note"}},
	"write": {"insert": {"format": "form", "fixed": {"expand": ["a", {"b": null}], "none": {}}}}}', 'insert', '{"id": 1, "email": "ada+x@y.test", "note": null}');
SELECT * FROM defined('{"write": {"insert": {"format": "form"}}}', 'insert', '{"id": 1.50, "email": {"first": "A", "list": [1, [true, false]], "a]&b=": "x"}, "note": "é ~*-._\"\r\n=&"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 5, "path": "/b", "format": "form", "envelope": "rows", "fixed": {"mode": "all"}}}}', 'upsert', '{"id": 1}', '{"id": 2, "email": ""}');
SELECT * FROM defined('{"write": {"update": {"format": "form", "envelope": "user", "row_at": "data"}}}', 'update', '{"id": 1, "email": "e"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 5, "path": "/b", "format": "form"}}}', 'upsert', '{"id": 1}');
SELECT * FROM defined('{"write": {"insert": {"format": "xml"}}}', 'insert', '{"id": 1}');

--
-- Rows as arrays
--
SELECT * FROM defined('{"columns": {"id": "bigint", "email": {"path": "EMAIL"}, "note": {"path": "a.b"}}, "write": {"upsert": {"batch": 9, "path": "/b", "rows": "arrays", "envelope": "payload.data", "columns_at": "payload.schema", "fixed": {"session.last": true}}}}',
	'upsert', '{"id": 1, "email": "a"}', '{"id": 2, "email": null}', '{"id": 3}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "rows": "arrays", "envelope": "z.data", "columns_at": "a.schema", "fixed": {"z.x": 1}, "fixed_row": {"k": [1]}, "trace": "t.id"}}}', 'upsert', '{"id": 1, "note": {"b": 1}}');
-- the list of columns is behind the rows where constants make it so
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "rows": "arrays", "envelope": "z.data", "columns_at": "zz.schema", "fixed": {"z.x": 1, "a": 2}}}}', 'upsert', '{"id": 1}');
-- where there is no list, all columns are there, in the order of the table
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "rows": "arrays", "envelope": "values"}, "insert": {"rows": "arrays", "fixed": {"a": 1}, "envelope": "r"}}}', 'upsert', '{"email": "a"}', '{"note": 1.50, "id": 1}');
SELECT * FROM sent('o', 'insert', '{"id": 5}');

--
-- CSV and NDJSON
--
SELECT * FROM defined('{"columns": {"id": "bigint", "email": {"path": "Contact.Email"}, "note": {"path": "\"A,\\\"B\"", "null": "empty", "empty": "#N/A"}},
	"write": {"upsert": {"batch": 9, "path": "/b", "format": "csv", "fixed_row": {"Kind": "a;b"}, "trace": "Ref"}}}', 'upsert',
	'{"id": 1, "email": "plain", "note": "a,b"}', '{"id": 2, "email": "q\"uote\r\nline", "note": ""}', '{"id": null, "email": " x", "note": null}', '{"id": 4, "email": {"a": [1, "b"]}}', '{"id": true, "email": "é"}');
SELECT * FROM defined('{"write": {"insert": {"format": "csv", "content_type": "text/csv; charset=UTF-8"}}}', 'insert', '{"id": 1, "email": "=1+1"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "format": "ndjson", "fixed_row": {"op": "index"}}}}', 'upsert', '{"id": 1, "email": "a\nb"}', '{"id": 2}');
SELECT * FROM defined('{"write": {"insert": {"format": "ndjson", "rows": "arrays"}}}', 'insert', '{"id": 1}');

--
-- multipart
--
SELECT * FROM defined('{"write": {"insert": {"format": "multipart", "fixed": {"options.notify": false}}}}', 'insert', '{"id": 1, "email": {"a": ["x", null]}, "note": "line\r\n--activate\r\n\"é"}');
SELECT * FROM defined('{"columns": {"id": "bigint", "email": {"path": "\"a\\\"b\""}}, "write": {"insert": {"format": "multipart", "envelope": "data"}}}', 'insert', '{"id": 1, "email": "e"}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "format": "multipart", "part": {"filename": "leads \"1\"\r\n.csv"}, "fixed": {"format": "csv", "lookupField": "email"}}}}', 'upsert', '{"id": 1, "email": "a,b"}', '{"id": 2}');
SELECT * FROM defined('{"write": {"upsert": {"batch": 9, "path": "/b", "format": "multipart", "part": {"name": "rows", "format": "json"}, "envelope": "in"}}}', 'upsert', '{"id": 1}', '{"id": 2}');
-- the boundary does not occur in what is sent, be it known
SELECT (r->>'type') LIKE '%boundary=' || b1 AS first, (x->>'type') LIKE '%boundary=' || b1 AS taken, position(b1 in x->>'body') > 0 AS there,
	(length(x->>'body') - length(replace(x->>'body', b2, ''))) / length(b2) AS others
  FROM (SELECT 'activate-' || md5('00000000-0000-0000-0000-000000000000 0') AS b1, 'activate-' || md5('00000000-0000-0000-0000-000000000000 1') AS b2) b,
	activate._connector_request('o', '[{"op": "upsert", "row": {"id": 1}}]') r,
	activate._connector_request('o', jsonb_build_array(jsonb_build_object('op', 'upsert', 'row', jsonb_build_object('id', 1, 'note', E'\r\n--' || b1 || '--')))) x;
-- what cannot be
SELECT d, r.request FROM unnest(ARRAY['{"rows": "arrays", "format": "form"}', '{"rows": "arrays", "columns_at": "c"}', '{"envelope": "e", "columns_at": "c"}', '{"rows": "arrays", "envelope": "e", "columns_at": "e"}',
	'{"format": "csv", "envelope": "e"}', '{"format": "csv", "fixed": {"a": 1}}', '{"format": "ndjson", "fixed": {"a": 1}}', '{"format": "multipart"}', '{"part": {"name": "f"}}',
	'{"format": "multipart", "part": {"name": ""}}', '{"format": "multipart", "part": {"format": "form"}}', '{"format": "multipart", "part": {"envelope": "e"}}',
	'{"format": "multipart", "part": {"format": "csv"}, "envelope": "e"}']) WITH ORDINALITY AS u(d, i),
	defined('{"write": {"upsert": ' || ('{"batch": 9, "path": "/b"}'::jsonb || d::jsonb)::text || '}}', 'upsert', '{"id": 1}') r ORDER BY i, r.request;

-- a body is not longer than "max_bytes" (a batch is cut where calls are formed)
SELECT d, r.request FROM unnest(ARRAY['0', '-1', '1.5', '"1MB"', '1000000001', '1']) WITH ORDINALITY AS u(d, i),
	defined('{"write": {"insert": {"max_bytes": ' || d || '}}}', 'insert', '{"id": 1}') r ORDER BY i, r.request;

--
-- Values
--
-- body and path of one row of one column "v", declared so
CREATE FUNCTION valued("column" text, v jsonb, op text DEFAULT 'insert') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM activate_connector(jsonb_build_object('name', 'values', 'base_url', 'https://api.test', 'objects', jsonb_build_object('v',
		jsonb_build_object('path', '/v', 'columns', jsonb_build_object('v', "column"::jsonb), 'write', '{"insert": {}}'::jsonb))));
	RETURN activate._connector_request('v', jsonb_build_array(jsonb_build_object('op', op, 'row', jsonb_build_object('v', v)))) ->> 'body';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT activate_connector('{"name": "values", "base_url": "https://api.test", "objects": {"v": {"path": "/v"}}}');
CREATE SERVER "values" FOREIGN DATA WRAPPER activate OPTIONS (connector 'values');
CREATE FOREIGN TABLE v (v text) SERVER "values";
-- as
SELECT c, v, valued(format('{"as": "%s"}', c), v::jsonb) FROM unnest(ARRAY['string', 'number', 'boolean', 'array', 'json']) c,
	unnest(ARRAY['null', '""', '"x"', '" 1.50 "', '"NaN"', '"1e3"', '1.50', '1', 'true', '"off"', '[]', '["a", 1]', '{"a": 1}', '"{\"a\": [1]}"', '"[1"', '"\"s\""']) WITH ORDINALITY AS u(v, i) ORDER BY c, i;
SELECT valued('{"as": "array", "wrap": true}', '"a"'), valued('{"wrap": true}', '[1]'), valued('{"wrap": true}', 'null'), valued('{"as": "string"}', '12345678901234567890.123456789012345678900');
SELECT valued('{"wrap": {"__type": "Date", "iso": "$"}, "date": "iso"}', '"2024-01-01T00:00:00"'), valued('{"wrap": {"a": [1, {"b": "$"}], "c": "$ "}}', '{"x": [1]}'), valued('{"wrap": {"a": "$"}, "null": "empty"}', 'null'), valued('{"wrap": {"a": "$"}}', 'null');
-- positions that nothing fills are null, or closed
SELECT * FROM defined('{"null": "omit", "columns": {"id": {"path": "ids.0.a"}, "email": {"path": "ids.1.b"}, "note": {"path": "ids.3.c"}}, "write": {"insert": {}, "update": {"path": "/o", "gaps": "close", "format": "form"},
	"upsert": {"path": "/o", "gaps": "close"}}}', 'insert', '{"id": null, "email": "e", "note": "n"}');
SELECT * FROM sent('o', 'update', '{"email": "e", "note": "n"}');
SELECT * FROM sent('o', 'upsert', '{"id": null, "email": "e", "note": "n"}');
-- null
SELECT n, valued(n, 'null'), valued(n, '""') FROM unnest(ARRAY['{}', '{"null": "send"}', '{"null": "omit"}', '{"null": "empty"}', '{"null": "empty", "as": "number"}',
	'{"null": "empty", "as": "array"}', '{"null": "empty", "wrap": true}']) n;
SELECT * FROM defined('{"null": "omit", "columns": {"id": "bigint", "email": "text", "note": {"null": "empty"}}, "write": {"insert": {}}}', 'insert', '{"id": 1, "email": null, "note": null}');
-- date
SELECT d, v, valued(format('{"date": "%s"}', d), v::jsonb) FROM unnest(ARRAY['iso', 'date', 'unix', 'unix_ms', 'DD.MM.YYYY HH24:MI']) WITH ORDINALITY AS f(d, i),
	unnest(ARRAY['null', '"2024-02-29T23:30:00.5+00:00"', '"2024-02-29 23:30:00.123456-05:30"', '"1969-12-31T23:59:59.999"', '"2024-03-01"', '1709249400']) WITH ORDINALITY AS u(v, j) ORDER BY i, j;
SELECT v, valued('{"date": "unix"}', to_jsonb(v)) FROM unnest(ARRAY['infinity', '0044-03-15 BC', '2024-02-30', '2024-13-01', '2024-01-01T25:00', 'yesterday', '', '2024-01-01T00:00:00+', '2024-01-01T00:00:00Zx',
	'10000-01-01T00:00:00', '300000-01-01', '2024-01-01T24:00:00']) v;
SELECT valued('{"date": "iso"}', '[{"a": 1}]'), valued('{"date": "date"}', '["2024-01-01T01:00:00+02:00", null]');
SET timezone = 'Asia/Tokyo';
SELECT valued('{"date": "iso"}', '"2024-01-01T00:00:00"'), valued('{"date": "DD HH24"}', '"2024-01-01T00:00:00+00"');
RESET timezone;
-- transform; the digests are those of the functions of SQL
SELECT t, v, valued(format('{"transform": %s}', t), to_jsonb(v)) FROM unnest(ARRAY['["trim"]', '["lower"]', '["upper"]', '["digits"]', '["gmail"]', '["trim", "lower", "gmail", "md5"]', '["base64"]']) WITH ORDINALITY AS s(t, i),
	unnest(ARRAY[E' \tJo.Doe@Gmail.com\r\n', '', '  ', 'Ünï.Ø@x.test', '+49 (0)30/12']) WITH ORDINALITY AS u(v, j) ORDER BY i, j;
SELECT valued('{"transform": ["md5"]}', '"é"')::jsonb ->> 'v' = md5('é') AS md5,
	valued('{"transform": ["sha256"]}', '"é"')::jsonb ->> 'v' = encode(sha256(convert_to('é', 'UTF8')), 'hex') AS sha256,
	valued('{"transform": ["sha1"]}', '"abc"')::jsonb ->> 'v' = 'a9993e364706816aba3e25717850c26c9cd0d89d' AS sha1,
	valued('{"transform": ["sha256", "base64"]}', '"é"')::jsonb ->> 'v' = encode(sha256(convert_to('é', 'UTF8')), 'base64') AS base64,
	valued('{"transform": ["md5", "upper"]}', '"é"')::jsonb ->> 'v' = upper(md5('é')) AS upper,
	length(valued('{"transform": ["sha256"]}', to_jsonb(repeat('x', 5000000)))) AS long;
-- nothing is not hashed; arrays element by element; objects have no text
SELECT v, valued('{"transform": ["trim", "sha256"]}', v::jsonb), valued('{"transform": ["trim", "md5"], "null": "omit"}', v::jsonb) FROM unnest(ARRAY['null', '""', '"  "', '[" a ", null, ""]', '{"a": 1}', '[{"a": 1}]', '5', 'true']) v;
SELECT v, valued('{"transform": ["e164"]}', to_jsonb(v)), valued('{"transform": ["e164:49"]}', to_jsonb(v)) FROM unnest(ARRAY['+1 (555) 010-9999', '0049 30 123456', '030/123456', '30 123456', '', '+12', 'call me', '++4930123456',
	'+0123456789', '+1234567890123456', '12+3456789']) v;
-- computed columns: in the body, in paths, of deletes too; not in the foreign table
SELECT * FROM defined('{"key": "id", "columns": {"id": "text", "email": "text", "note": {"transform": ["upper"]}, "hash": {"from": "id", "transform": ["trim", "lower", "md5"], "readonly": true},
	"domain": {"from": "email", "path": "meta.mail", "as": "array"}}, "write": {"upsert": {"path": "/o/{hash}?n={note}", "query": {"h": "{hash}"}}, "delete": {"path": "/o/{hash}"}}}',
	'upsert', '{"id": " A@B.c", "email": "x", "note": "ü"}');
SELECT * FROM sent('o', 'delete', '{"id": "a@b.C "}');
SELECT * FROM sent('o', 'upsert', '{"id": "a@b.C ", "note": "n"}');
SELECT * FROM sent('o', 'upsert', '{"id": "  ", "note": "n"}');
IMPORT FOREIGN SCHEMA x FROM SERVER shapes INTO request_test;
DROP FOREIGN TABLE o;
IMPORT FOREIGN SCHEMA x FROM SERVER shapes INTO request_test;
SELECT attname FROM pg_attribute WHERE attrelid = 'o'::regclass AND attnum > 0;
-- answers name rows by what was sent of them: changed columns and computed ones
SELECT activate_connector('{"name": "echo", "base_url": "https://api.test", "objects": {"p": {"path": "/p", "key": "email", "columns": {"email": {"transform": ["trim", "lower"]}, "em": {"from": "email", "transform": ["trim", "lower", "md5"]}},
	"write": {"upsert": {"batch": 5, "path": "/p", "answer": {"shape": "keyed", "path": "r", "key": "email", "ok": "ok"}},
		"insert": {"batch": 5, "answer": {"shape": "lists", "lists": [{"path": "bad", "key": "", "column": "em", "class": "invalid_row"}], "unmentioned": "ok"}}}}}}');
CREATE SERVER echo FOREIGN DATA WRAPPER activate OPTIONS (connector 'echo');
CREATE FOREIGN TABLE p (email text) SERVER echo;
SELECT r ->> 'class' FROM activate._connector_answer('p', '[{"op": "upsert", "row": {"email": " A@x.test"}}, {"op": "upsert", "row": {"email": "B@x.test"}}]', 200,
	'{"r": [{"email": "b@x.test", "ok": false}, {"email": "a@x.test", "ok": true}]}') a, jsonb_array_elements(a -> 'rows') WITH ORDINALITY AS e(r, i) ORDER BY i;
SELECT r ->> 'class' FROM activate._connector_answer('p', '[{"op": "insert", "row": {"email": " A@x.test"}}, {"op": "insert", "row": {"email": "B@x.test"}}]', 200,
	convert_to(format('{"bad": [%s]}', to_json(md5('b@x.test'))), 'UTF8')) a, jsonb_array_elements(a -> 'rows') WITH ORDINALITY AS e(r, i) ORDER BY i;
-- what cannot be
SELECT * FROM defined('{"columns": {"id": "text", "x": {"from": "y"}}}', 'insert', '{}');
SELECT * FROM defined('{"columns": {"id": "text", "x": {"from": "id"}, "y": {"from": "x"}}}', 'insert', '{}');
SELECT * FROM defined('{"columns": {"id": "text", "x": {"from": "id"}}, "key": "x"}', 'insert', '{}');
SELECT * FROM defined('{"columns": {"id": "text", "email": "text", "x": {"from": "email"}}, "write": {"delete": {"path": "/{x}"}}}', 'delete', '{}');
SELECT * FROM defined('{"columns": {"id": "text", "x": {"from": "id", "path": "id"}}, "write": {"insert": {}}}', 'insert', '{}');
SELECT c, valued(c, '1') FROM unnest(ARRAY['{"as": "text"}', '{"null": "drop"}', '{"date": ""}', '{"date": 1}', '{"transform": "md5"}', '{"transform": ["md6"]}', '{"transform": ["e164:0"]}', '{"transform": [1]}',
	'{"wrap": "yes"}', '{"wrap": {"a": "x"}}', '{"wrap": []}', '{"from": ""}']) WITH ORDINALITY AS u(c, i) ORDER BY i;
-- a table that has the computed column
CREATE SERVER twice FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://own.test');
CREATE FOREIGN TABLE twice (id text, hash text) SERVER twice OPTIONS (path '/t', key 'id', columns '{"hash": {"from": "id", "transform": ["md5"]}}', write '{"insert": {}}');
SELECT * FROM sent('twice', 'insert', '{"id": "1"}');

-- the option "columns" of a table says what a definition's member would
CREATE SERVER own FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://own.test');
CREATE FOREIGN TABLE own_columns (id bigint, email text OPTIONS (path 'mail')) SERVER own OPTIONS (path '/c', key 'id',
	columns '{"id": {"path": "ref.id"}, "email": {"path": "ignored"}}', write '{"upsert": {}}');
SELECT * FROM sent('own_columns', 'upsert', '{"id": 1, "email": "e"}');
ALTER FOREIGN TABLE own_columns OPTIONS (SET columns '{"id": {"paht": "x"}}');

-- a path deeper than the stack
DO $$
BEGIN
	EXECUTE format('ALTER FOREIGN TABLE own_columns OPTIONS (SET columns %L)', '{"id": {"path": "' || repeat('a.', 1000000) || 'b"}}');
	PERFORM activate._connector_request('own_columns', '[{"op": "upsert", "row": {"id": 1}}]');
EXCEPTION WHEN statement_too_complex THEN
	RAISE NOTICE '%', SQLERRM;
END
$$;

SET client_min_messages = warning;
DROP SCHEMA request_test CASCADE;
DROP SERVER shapes, lists, place, anywhere, own, twice, echo, "values";
DELETE FROM activate.connector WHERE name IN ('shapes', 'lists', 'lists2', 'anywhere', 'values', 'echo');
