-- What answers mean: rules, classes, lists of values, counts.  Nothing is sent here.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA answer_test;
SET search_path = answer_test, public;

CREATE SERVER api FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', base_url 'https://api.test');
CREATE FUNCTION n_rows(n integer, op text DEFAULT 'upsert') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(jsonb_build_object('op', op, 'id', 'id-' || i, 'key', jsonb_build_object('id', i), 'target_key', jsonb_build_object('id', i),
		'row', CASE WHEN op <> 'delete' THEN jsonb_build_object('id', i, 'email', 'a' || i || '@x.test') END))
	  FROM generate_series(1, n) i
$$;
-- a table whose answers are read so; 1000 rows in a call unless told otherwise
CREATE FUNCTION reads(name text, answer jsonb, batch integer DEFAULT 1000, idempotent boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE FOREIGN TABLE answer_test.%I (id bigint, email text) SERVER api OPTIONS (path ''/x'', key ''id'', answer %L, write %L)', name, answer::text,
		jsonb_build_object('upsert', jsonb_build_object('batch', batch, 'idempotent', idempotent, 'path', '/x'), 'delete', jsonb_build_object('path', '/x'))::text);
END $$;
-- in one line, with two long reasons cut: class of the call, wait; then class, code, reason, remote id of each row
CREATE FUNCTION judged(tab regclass, n integer, status integer, body text DEFAULT '', headers text DEFAULT '', op text DEFAULT 'upsert')
RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', a->>'class', nullif(a->>'retry_after_ms', '-1')) || ' | ' ||
		replace(replace(string_agg(concat_ws(' ', r->>'class', nullif(r->>'code', '200'), '(' || (r->>'reason') || ')', 'is ' || (r->>'remote_id')), ', ' ORDER BY i),
			'the answer has another length or shape than what was sent', '...shape...'), 'the answer is not the JSON that was expected', '...JSON...')
	  FROM activate._connector_answer(tab, n_rows(n, op), status, convert_to(body, 'UTF8'), headers) a,
		jsonb_array_elements(a->'rows') WITH ORDINALITY AS e(r, i) GROUP BY a
$$;

--
-- Each class, of a call of two rows and of one
--
SELECT reads('classes', jsonb_build_object('rules', (SELECT jsonb_agg(jsonb_build_object('path', 'code', 'is', c, 'class', c))
	FROM unnest('{ok,warning,invalid_row,invalid_batch,auth,throttled,transient,locked,config,silent}'::text[]) c)));
SELECT c AS class, judged('classes', 2, 200, json_build_object('code', c, 'message', 'why')::text)
  FROM unnest('{ok,warning,invalid_row,invalid_batch,auth,throttled,transient,locked,config,silent}'::text[]) c;
SELECT c AS class, judged('classes', 1, 500, json_build_object('code', c)::text)
  FROM unnest('{ok,warning,invalid_row,invalid_batch,auth,throttled,transient,locked,config,silent}'::text[]) c;
SELECT judged('classes', 1, 500, '{"code": "other"}'), judged('classes', 1, 200, '{}'), judged('classes', 1, 200, ''), judged('classes', 1, 404, '', '', 'delete');

--
-- Conditions
--
SELECT reads('conditions', '{"error": "text", "rules": [
	{"status": [409, "3xx"], "class": "ok"},
	{"status": "5xx", "path": "retry", "is": [true, 1], "class": "transient", "wait": "30s"},
	{"path": "errors.*.code", "is": [601, "602"], "class": "auth"},
	{"path": "errors.*.code", "min": 700, "max": 799.5, "class": "config", "reason": "set up the list first"},
	{"path": "message", "contains": ["LOCK", "busy"], "class": "locked"},
	{"path": "deep.*.*.list.*", "is": "x", "class": "silent"},
	{"path": "results", "exists": false, "and": [{"path": "empty", "is": "no"}], "class": "silent"},
	{"path": "state", "not": ["done", "new"], "class": "transient"},
	{"path": "", "contains": "<error>", "class": "invalid_row"},
	{"path": "", "is": "OK", "class": "ok"},
	{"header": "X-Error", "exists": true, "class": "config"},
	{"header": "X-Wait", "is": "yes", "class": "throttled", "wait": "1min"},
	{"path": "slow", "exists": true, "class": "throttled", "wait_at": "slow", "wait": "2s"}]}');
SELECT status, body, judged('conditions', 1, status, body) FROM (VALUES
	(409, '{"errors": [{"code": 601}]}'), (302, ''), (404, ''),
	(500, '{"retry": true}'), (503, '{"retry": 1}'), (500, '{"retry": "1"}'), (500, '{"retry": false}'), (400, '{"retry": true}'),
	(200, '{"errors": [{"code": 5}, {"code": 601}]}'), (200, '{"errors": [{"code": "602"}]}'), (200, '{"errors": {"a": {"code": 602}}}'),
	(200, '{"errors": [{"code": 6020}]}'), (200, '{"errors": [{"code": null}, {}, 601, [601]]}'),
	(200, '{"errors": [{"code": 700}]}'), (200, '{"errors": [{"code": "799.50"}]}'), (200, '{"errors": [{"code": 800}]}'), (200, '{"errors": [{"code": "7e2"}]}'),
	(200, '{"errors": [{"code": "7_0"}]}'), (200, '{"errors": [{"code": "nan"}, {"code": ""}]}'),
	(400, '{"message": "row is locked", "text": "later"}'), (400, '{"message": {"LOCK": 1}}'),
	(200, '{"deep": [{"a": {"list": ["y", "x"]}}]}'), (200, '{"deep": {"a": [{"list": {"k": "x"}}]}}'), (200, '{"deep": {"a": {"list": ["x"]}}}'),
	(200, '{"empty": "no"}'), (200, '{"results": [], "empty": "no"}'), (200, '{"results": [1], "empty": "no"}'), (200, '{"results": false, "empty": "no"}'),
	(200, '{"state": "failed"}'), (200, '{"state": "done"}'), (200, '{"state": null}'), (200, '{"state": [ "failed" ]}'),
	(200, '<Response><Error>bad</Error></Response>'), (200, '{"a": "<error>"}'), (500, ' OK '), (500, 'OK!')) v(status, body);
SELECT judged('conditions', 1, 200, '', E'x-error: quota\r\n') AS header, judged('conditions', 1, 200, '', E'X-Error:\r\n') AS empty,
	judged('conditions', 1, 200, '', E'X-Wait: yes\r\n') AS wait, judged('conditions', 1, 200, '', E'X-Wait: yes\r\nRetry-After: 7\r\n') AS told;
SELECT judged('conditions', 1, 200, json_build_object('slow', s)::text) FROM unnest('{1.5,1,90000,-1,1e9,x}'::text[]) s;
-- the last is no more than its text: what holds a NUL equals nothing
SELECT judged('classes', 1, 200, '{"code": "ok\u0000"}'), judged('classes', 1, 200, '{"code": "auth\u0000x"}'), judged('classes', 1, 200, '{"code": ["auth"]}');

--
-- Success, codes; the definition's default, the object's, the operation's
--
SELECT reads('success', '{"success": {"path": "success", "is": true, "and": [{"path": "result", "exists": true}]}, "error": "errors.0.message",
	"code": "errors.*.code", "codes": {"601": "auth", "606": "throttled", "1003": "invalid_batch"}}');
SELECT body, judged('success', 2, 200, body) FROM unnest(ARRAY['{"success": true, "result": [1]}', '{"success": true, "result": []}', '{"success": "true", "result": [1]}',
	'{"success": false, "errors": [{"code": "999", "message": "odd"}]}', '{"success": false, "errors": [{"code": 601, "message": "token abc"}]}',
	'{"success": false, "errors": [{"code": "1003"}, {"code": "606"}]}', '', 'fine', '[]', '{"success": true']) body;
SELECT judged('success', 1, 500, '{"errors": [{"code": "606"}]}'), judged('success', 1, 500, '{"success": false}');
SELECT reads('optional', '{"optional": true, "success": {"path": "message", "is": "success"}}');
SELECT judged('optional', 1, 201, ''), judged('optional', 1, 201, 'x'), judged('optional', 1, 201, '{"message": "success"}'), judged('optional', 1, 201, '{}');

SELECT activate_connector('{"name": "layers", "base_url": "https://layers.test",
	"answer": {"code": "code", "codes": {"1": "auth", "2": "throttled", "3": "locked"}, "error": "why", "rules": [{"path": "code", "is": 9, "class": "config"}]},
	"objects": {"o": {"path": "/o", "key": "id", "columns": {"id": "bigint"},
		"answer": {"codes": {"2": "transient"}, "rules": [{"path": "code", "is": 9, "class": "silent"}, {"path": "code", "is": 8, "class": "silent"}]},
		"write": {"upsert": {}, "insert": {"answer": {"error": "what", "codes": {"3": null, "1": "invalid_row"}, "rules": [{"path": "code", "is": [8], "class": "ok"}]}}}}}}');
CREATE SERVER layers FOREIGN DATA WRAPPER activate OPTIONS (connector 'layers');
CREATE FOREIGN TABLE o (id bigint) SERVER layers;
SELECT code, judged('o', 1, 400, format('{"code": %s, "why": "y", "what": "w"}', code)) AS upsert,
	judged('o', 1, 400, format('{"code": %s, "why": "y", "what": "w"}', code), '', 'insert') AS insert FROM unnest('{1,2,3,8,9}'::integer[]) code;
-- options of the server and of the table overrule, member by member
ALTER SERVER layers OPTIONS (ADD answer '{"codes": {"3": "config"}}');
ALTER FOREIGN TABLE o OPTIONS (ADD answer '{"rules": null, "codes": {"2": "auth"}}');
SELECT code, judged('o', 1, 400, format('{"code": %s}', code)) FROM unnest('{1,2,3,8,9}'::integer[]) code;

--
-- Rules for elements
--
SELECT reads('ruled', '{"shape": "array", "path": "result", "id": "id", "row_rules": [
	{"path": "reasons.*.code", "is": ["1004"], "class": "invalid_row"}, {"path": "reasons.*.code", "is": "1015", "class": "warning"},
	{"path": "status", "is": "busy", "class": "locked", "wait": "9s"}, {"path": "status", "is": "limit", "class": "throttled"},
	{"path": "status", "is": "denied", "class": "auth"}, {"path": "status", "is": "setup", "class": "config"}, {"path": "status", "is": "rolled back", "class": "invalid_batch"},
	{"path": "status", "is": "nothing", "class": "silent"}], "row_success": {"path": "status", "is": ["created", "updated"]}, "error": "reasons.0.message"}');
SELECT judged('ruled', 2, 200, '{"result": [{"status": "created", "id": 7}, {"status": "skipped", "reasons": [{"code": 1004, "message": "not found"}]}]}');
SELECT judged('ruled', 2, 200, '{"result": [{"status": "skipped", "id": 7, "reasons": [{"code": "1015"}]}, {"status": "odd"}]}');
SELECT judged('ruled', 2, 200, '{"result": [{"status": "busy"}, {"status": "busy"}]}'), judged('ruled', 2, 200, '{"result": [{"status": "limit"}, {"status": "updated"}]}');
SELECT s, judged('ruled', 2, 200, format('{"result": [{"status": "%s"}, {"status": "%1$s"}]}', s)) AS all_rows,
	judged('ruled', 2, 200, format('{"result": [{"status": "%s"}, {"status": "updated"}]}', s)) AS one_of_two FROM unnest('{denied,setup,rolled back,nothing}'::text[]) s;
-- of several waits the longest
SELECT judged('ruled', 2, 200, '{"result": [{"status": "busy"}, {"status": "limit"}]}');
-- a row that is throttled by its status waits as the API says it, whatever found that the call itself was taken
SELECT reads('row_status', '{"shape": "array", "path": "rows", "status": "s", "rules": [{"status": 202, "class": "ok"}]}');
ALTER SERVER api OPTIONS (ADD throttle '{"wait": "30s"}');
SELECT status, judged('row_status', 2, status, '{"rows": [{"s": 200}, {"s": 429}]}') AS wait, judged('row_status', 2, status, '{"rows": [{"s": 200}, {"s": 429}]}', E'Retry-After: 7\r\n') AS told,
	judged('row_status', 2, status, '{"rows": [{"s": 200}, {"s": 503}]}') AS later, judged('row_status', 2, status, '{"rows": [{"s": 200}, {"s": 503}]}', E'Retry-After: 7\r\n') AS later_told
  FROM unnest('{202,207}'::integer[]) status;
ALTER SERVER api OPTIONS (DROP throttle);
-- what is gone is deleted, and nothing else
SELECT s, judged('row_status', 1, 200, format('{"rows": [{"s": %s}]}', s)) AS upsert, judged('row_status', 1, 200, format('{"rows": [{"s": %s}]}', s), '', 'delete') AS delete
  FROM unnest('{404,410,409}'::integer[]) s;
-- a receiver of webhooks that says so means itself
CREATE SERVER hook FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://hook.test/x');
CREATE FOREIGN TABLE hook ("row" jsonb) SERVER hook;
SELECT judged('hook', 1, 200, '{"results": [{"status": 404}]}', '', 'delete');
-- a list of one written as its element; not one of two, not nothing, not the document
SELECT judged('ruled', 1, 200, '{"result": {"status": "updated"}}'), judged('ruled', 2, 200, '{"result": {"status": "updated"}}'), judged('ruled', 1, 200, '{"result": {}}');
SELECT reads('row_codes', '{"shape": "keyed", "path": "data.*.items", "key": "email", "column": "email", "row_code": "code", "codes": {"OK": "ok", "LATER": "transient", "BAD": "invalid_row"}}');
SELECT judged('row_codes', 3, 200, '{"data": [{"items": [{"email": "a2@x.test", "code": "LATER"}]}, {"items": [{"email": "a1@x.test", "code": "OK"}, {"email": "a3@x.test", "code": "BAD", "message": "m"}]}]}');
-- what is said of a row first stays said
SELECT judged('row_codes', 1, 200, '{"data": [{"items": [{"email": "a1@x.test", "code": "BAD", "message": "m"}, {"email": "a1@x.test", "code": "OK"}]}]}');

--
-- Positions: numbers, texts, members' names, from 1; nested lists of failures
--
SELECT reads('positions', '{"shape": "errors", "path": "failure.details.*.errors", "index": "at", "error": "message"}'),
	reads('from_one', '{"shape": "errors", "path": "lines", "index": "message", "first": 1, "error": "message"}'),
	reads('by_name', '{"shape": "errors", "path": "errors", "index": "$name", "error": "*"}');
SELECT judged('positions', 3, 200, '{"failure": {"details": [{"errors": [{"at": 2, "message": "c"}]}, {"errors": [{"at": "0", "message": "a"}]}]}}');
SELECT at, judged('positions', 3, 200, jsonb_build_object('failure', jsonb_build_object('details', jsonb_build_array(jsonb_build_object('errors', jsonb_build_array(
	jsonb_build_object('at', at))))))::text) FROM unnest(ARRAY['"rows[1].email"', '"/data/1/x"', '"$.data.1"', '"item #1"', '"rows[x]"', '"3"', '-1', '1.0', 'true', 'null', '"1 "', '""', '[1]', '"99999999999999999999"']::jsonb[]) at;
SELECT judged('from_one', 2, 200, '{"lines": [{"message": "bad id, item #2"}]}'), judged('from_one', 2, 200, '{"lines": [{"message": "bad id, item #0"}]}');
SELECT judged('by_name', 2, 200, '{"errors": {"1": {"2008": "no contact"}}}'), judged('by_name', 2, 200, '{"errors": {}}'), judged('by_name', 2, 200, '{"errors": {"x": 1}}');

--
-- Lists of values
--
SELECT reads('lists', '{"shape": "lists", "lists": [{"path": "failed.emails", "column": "email"}, {"path": "failed.ids", "column": "id", "class": "transient"},
	{"path": "notes", "key": "who", "column": "email", "class": "warning", "error": "text"}, {"path": "created", "key": "trace", "column": "$id", "class": "ok", "id": "ref"}],
	"counts": {"failed": "failCount"}}');
SELECT body, judged('lists', 3, 200, body) FROM unnest(ARRAY[
	'{"failed": {"emails": [], "ids": []}}', '{"failed": {"emails": ["a2@x.test"]}}', '{"failed": {"emails": ["a2@x.test"], "ids": [3, "1"]}}',
	'{"failed": {"emails": "a2@x.test"}}', '{"notes": [{"who": "a1@x.test", "text": "odd"}]}', '{"notes": {"who": ["a1@x.test", "a3@x.test"]}}',
	'{"created": [{"trace": "id-2", "ref": "r2"}, {"trace": ["id-1"], "ref": 1}]}', '{"created": [{"trace": "id-2", "ref": "r2"}], "failed": {"ids": [2]}}',
	-- a failure of nobody, of a value of another type, more failures than are named
	'{"failed": {"emails": ["else@x.test"]}}', '{"failed": {"emails": [null, {}, []]}}', '{"failCount": 1}', '{"failCount": 1, "failed": {"ids": [1]}}', '{"failCount": 2, "failed": {"ids": [1]}}',
	'{"failCount": "3"}', '{"failCount": -1}', '{"failCount": 0}', '{"failCount": 99999999999}', '{}', '', 'x', '[]', '{"failed": {"emails": ["a2@x.test"]}']) body;
SELECT judged('lists', 1, 200, '{"failed": {"emails": ["else@x.test"]}}') AS of_one;
-- of a call that must not be repeated nobody knows
SELECT reads('once', '{"shape": "lists", "lists": [{"path": "failed", "column": "email"}]}', 1000, false);
SELECT judged('once', 2, 200, '{"failed": ["else@x.test"]}'), judged('once', 2, 200, '{"failed": ["a1@x.test", "else@x.test"]}');
SELECT reads('silent', '{"shape": "lists", "lists": [{"path": "done", "column": "id", "class": "ok"}], "unmentioned": "silent"}'),
	reads('ambiguous', '{"shape": "lists", "lists": [{"path": "done", "column": "id", "class": "ok"}], "unmentioned": "ambiguous"}'),
	reads('needed', '{"shape": "lists", "lists": [{"path": "done", "column": "id", "class": "ok"}], "optional": false}'),
	reads('keyed_ok', '{"shape": "keyed", "key": "id", "unmentioned": "ok", "row_success": {"path": "ok", "is": true}}');
SELECT judged('silent', 2, 200, '{"done": [2, 5]}'), judged('silent', 1, 200, '{}'), judged('ambiguous', 2, 200, '{"done": [2]}'), judged('needed', 1, 200, '{}'),
	judged('keyed_ok', 2, 200, '[{"id": 2, "ok": false}]');
SELECT reads('named', '{"shape": "lists", "lists": [{"path": "errors", "key": "$name", "column": "email", "error": "*"}, {"path": "at", "index": "i", "class": "config"}]}');
SELECT judged('named', 2, 200, '{"errors": {"a2@x.test": {"2008": "no contact"}}}'), judged('named', 2, 200, '{"errors": {"a2@x.test": "plain"}, "at": [{"i": 0}]}'),
	judged('named', 2, 200, '{"at": [{"i": 0}, {"i": 1}]}');
-- many rows of one value, a value named a hundred thousand times, a deep one
SELECT count(*), r->>'class' AS class FROM activate._connector_answer('lists', (SELECT jsonb_agg('{"op": "upsert", "row": {"id": 1, "email": "same@x.test"}}'::jsonb) FROM generate_series(1, 5000)), 200,
	convert_to('{"failed": {"emails": [' || repeat('"same@x.test",', 100000) || '"a"]}}', 'UTF8')) a, jsonb_array_elements(a->'rows') r GROUP BY 2;
SELECT judged('lists', 1, 200, '{"failed": {"emails": ' || repeat('[', 60) || repeat(']', 60) || '}}'), judged('lists', 1, 200, '{"failed": {"emails": ' || repeat('[', 70) || repeat(']', 70) || '}}');
SELECT reads('stars', '{"rules": [{"path": "*.*.*.*.*.*", "is": "x", "class": "config"}]}');
SELECT judged('stars', 1, 200, (SELECT jsonb_agg(i)::text FROM generate_series(1, 100000) i)), judged('stars', 1, 200, repeat('[', 6) || '"x"' || repeat(']', 6)), judged('stars', 1, 200, repeat('[', 7) || '"x"' || repeat(']', 7));

--
-- Counts
--
SELECT reads('failed', '{"shape": "counts", "counts": {"failed": "bad"}, "error": "why"}'), reads('accepted', '{"shape": "counts", "counts": {"accepted": "good"}, "optional": true}'),
	reads('both', '{"shape": "counts", "counts": {"accepted": "good", "failed": "bad"}}', 1000, false);
SELECT body, judged('failed', 3, 200, body) AS failed, judged('accepted', 3, 200, body) AS accepted, judged('both', 3, 200, body) AS once FROM unnest(ARRAY[
	'{"bad": 0, "good": 3}', '{"bad": 3, "good": 0, "why": "all"}', '{"bad": 1, "good": 2, "why": "one"}', '{"bad": 0, "good": 0}', '{"bad": "2", "good": "1"}', '{"bad": 7, "good": 7}',
	'{"bad": true, "good": [3]}', '{"bad": -1, "good": 1.5}', '{"bad": null}', '', '{}']) body;
SELECT judged('failed', 1, 200, '{"bad": 1, "why": "it"}'), judged('failed', 1, 200, '{"bad": 0}'), judged('failed', 1, 400, '{"bad": 1, "why": "it"}');

-- accepted as if by a 2xx, whatever the status: then the rows are read
SELECT reads('partial', '{"shape": "errors", "path": "failed", "index": "i", "error": "e", "rules": [{"status": 400, "path": "failed", "exists": true, "class": "ok"}]}');
SELECT judged('partial', 3, 400, '{"failed": [{"i": 1, "e": "bad"}]}'), judged('partial', 3, 400, '{"failed": []}');

--
-- Refused declarations
--
CREATE FUNCTION refused(answer text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	PERFORM activate_connector(format('{"name": "bad", "objects": {"o": {"path": "/o", "key": "id", "columns": {"id": "bigint"}, "write": {"upsert": {}}, "answer": %s}}}', answer)::jsonb);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', SQLSTATE, SQLERRM, nullif(hint, ''));
END $$;
SELECT refused(a) FROM unnest(ARRAY['{"rules": {}}', '{"rules": [{"path": "a", "is": 1}]}', '{"rules": [{"path": "a", "is": 1, "class": "bad"}]}', '{"rules": [{"path": "a", "class": "ok"}]}',
	'{"rules": [{"is": 1, "class": "ok"}]}', '{"rules": [{"exists": true, "class": "ok"}]}', '{"rules": [{"path": "a.", "is": 1, "class": "ok"}]}', '{"rules": [{"path": "a", "is": [], "class": "ok"}]}',
	'{"rules": [{"path": "a", "is": null, "class": "ok"}]}', '{"rules": [{"path": "a", "is": [null], "class": "ok"}]}', '{"rules": [{"path": "a", "is": {"b": 1}, "class": "ok"}]}', '{"rules": [{"path": "a", "is": 1, "exists": false, "class": "ok"}]}',
	'{"rules": [{"path": "a", "header": "b", "is": 1, "class": "ok"}]}', '{"rules": [{"status": 99, "class": "ok"}]}', '{"rules": [{"status": "6xx", "class": "ok"}]}', '{"rules": [{"status": {}, "class": "ok"}]}',
	'{"rules": [{"status": 429, "class": "throttled", "wait": "soon"}]}', '{"rules": [{"status": 400, "class": "ok", "wait": "1s"}]}', '{"rules": [{"path": "a", "min": "1", "class": "ok"}]}', '{"rules": [{"and": [{"path": "a"}], "class": "ok"}]}',
	'{"rules": [{"and": [{"and": []}], "class": "ok"}]}', '{"row_rules": [{"header": "x", "exists": true, "class": "ok"}]}', '{"success": {"path": "a", "is": 1, "class": "ok"}}', '{"success": {"is": true}}', '{"success": true}',
	'{"codes": {"1": "auth"}}', '{"code": "a", "codes": {"1": "gone"}}', '{"code": "a", "codes": {"1": 5}}', '{"code": "a", "codes": ["1"]}',
	'{"shape": "lists"}', '{"shape": "lists", "lists": []}', '{"shape": "lists", "lists": [{"key": "x"}]}', '{"shape": "lists", "lists": [{"path": "x", "column": "no"}]}', '{"shape": "lists", "lists": [{"path": "x", "index": "i", "key": "k"}]}',
	'{"shape": "lists", "lists": [{"path": "x", "class": "bad"}]}', '{"shape": "keyed", "key": "k", "column": "no"}', '{"unmentioned": "rejected"}', '{"shape": "counts"}', '{"shape": "counts", "counts": {"failed": ""}}', '{"counts": {"done": "x"}}', '{"first": 2}',
	'{"rules": [{"class": "ok"}]}', '{"shape": "lists", "lists": [{"path": "x"}, {"path": "y", "column": "$id"}], "unmentioned": "silent"}']) a;
SELECT refused(format('{"rules": [%s]}', rtrim(repeat('{"class": "ok"},', 101), ','))), refused(format('{"shape": "lists", "lists": [%s]}', rtrim(repeat('{"path": "x"},', 51), ',')));

DROP SCHEMA answer_test CASCADE;
DROP SERVER api CASCADE;
DROP SERVER layers CASCADE;
DROP SERVER hook CASCADE;
DELETE FROM activate.connector WHERE name IN ('layers', 'bad');
