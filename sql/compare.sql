-- activate_compare(): what an application holds that we did not write there.
\getenv url ACTIVATE_SERVICE_URL
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
\pset null '(null)'
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA compare_test;
SET search_path = compare_test, public;

SELECT activate_target('cmp', 'rest', jsonb_build_object('base_url', :'url', 'objects', '{
	"people": {"path": "/objects/people", "key": "id", "read": {"records": "data"},
		"columns": {"id": "bigint", "email": "text", "city": {"type": "text", "path": "address.city"}, "score": "numeric(8,2)",
			"born": "date", "seen": "timestamptz", "tags": "text[]", "phone": {"type": "text", "transform": ["e164"]},
			"extra": "jsonb", "made": {"type": "text", "readonly": true}, "modified": {"type": "timestamptz", "readonly": true}},
		"write": {"upsert": {"method": "PUT", "path": "/objects/people/{id}"}, "delete": {"path": "/objects/people/{id}"}}},
	"cards": {"path": "/objects/cards", "key": "id", "read": {"records": "data"}, "answer": {"id": "id"},
		"columns": {"id": {"type": "text", "readonly": true}, "ref": "text", "name": {"type": "text", "null": "omit"}},
		"write": {"insert": {"path": "/objects/cards"}, "upsert": {"method": "PATCH", "path": "/objects/cards/{remote_id}"}}},
	"blind": {"path": "/objects/blind", "key": "id", "read": false, "columns": {"id": "bigint", "email": "text"}, "write": {"insert": {}}}}'::jsonb));
CREATE TABLE person (id int PRIMARY KEY, email text, city text, score numeric, born date, seen timestamptz, tags text[], phone text, extra jsonb);
INSERT INTO person
SELECT i, 'p' || i || '@x', 'Rome', i + 0.5, '2026-01-31', '2026-01-31 12:00:00.123456+00', ARRAY['a', 'b'], '+49 30 ' || i + 1000000, '{"a": 1.0, "b": null}'
  FROM generate_series(1, 8) i;
CREATE TABLE copied (id int PRIMARY KEY, email text);
CREATE FUNCTION differs(called text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', c.kind, c.key, c.column_name, coalesce(c.sent::text, '-'), coalesce(c.warehouse::text, '-'), coalesce(c.application::text, '-'))
	  FROM activate_compare(called) c $$;

-- what cannot be compared
SELECT activate_sync('cmp table', 'person', 'copied', map => '{"id": "id", "email": "email"}') > 0 AS declared;
SELECT activate_sync('cmp blind', 'SELECT id, email FROM person', 'cmp.blind', mode => 'insert') > 0 AS declared;
SELECT activate_sync('cmp append', 'SELECT id, email FROM person', 'cmp.blind', mode => 'append') > 0 AS declared;
SELECT * FROM activate_compare(NULL);
SELECT * FROM activate_compare('cmp nothing');
SELECT * FROM activate_compare('cmp table');
SELECT * FROM activate_compare('cmp blind');
SELECT * FROM activate_compare('cmp append');

SELECT activate_sync('cmp', 'person', 'cmp.people') > 0 AS declared;
-- nothing was sent, nothing is there
SELECT differs('cmp');
SELECT activate_run('cmp') > 0 AS run;
SELECT activate_wait('cmp');
-- as it was sent
SELECT differs('cmp');
-- the application changes one column, another, writes values in other forms, loses one, makes others
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/1 '{"email": "new@x"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/2 '{"address": {"city": "Oslo"}, "score": 7}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/3 '{"score": 3.500, "seen": "2026-01-31T13:00:00.123+01:00", "extra": {"a": 1}, "made": "today", "phone": "00493012"}' >/dev/null
\! "$ACTIVATE_SERVICE" call DELETE /objects/people/4 >/dev/null
\! "$ACTIVATE_SERVICE" call PUT /objects/people/100 '{"email": "stranger@x"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/6 '{"email": "both@x", "address": {"city": "Bern"}}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/7 '{"email": "same@x"}' >/dev/null
UPDATE person SET email = 'ours@x' WHERE id = 6;
UPDATE person SET email = 'same@x' WHERE id = 7;
UPDATE person SET email = 'waits@x' WHERE id = 8;
SELECT differs('cmp');
-- a row that is gone here is still what we wrote there
BEGIN;
DELETE FROM person WHERE id IN (1, 5);
SELECT differs('cmp') AS differs LIMIT 1;
ROLLBACK;

-- found by the column that the key is mapped to: records without one are nobody's, two of one are told
SELECT activate_sync('cmp cards', 'SELECT id AS no, email FROM person WHERE id < 5', 'cmp.cards', 'no', '{"ref": "no", "name": "email"}', 'insert') > 0 AS declared;
SELECT activate_run('cmp cards') > 0 AS run;
SELECT activate_wait('cmp cards');
SELECT differs('cmp cards');
\! "$ACTIVATE_SERVICE" call POST /objects/cards '{"name": "without"}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /objects/cards '{"name": "twin", "ref": "2"}' >/dev/null
\! "$ACTIVATE_SERVICE" call POST /objects/cards '{"name": "other", "ref": "77"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/cards/3 '{"name": "changed"}' >/dev/null
SELECT differs('cmp cards');
-- ... or by the id that the API gave
SELECT activate_sync('cmp ids', 'SELECT id AS no, email FROM person WHERE id < 5', 'cmp.cards', 'no', '{"name": "email"}', 'insert') > 0 AS declared;
SELECT activate_run('cmp ids') > 0 AS run;
SELECT activate_wait('cmp ids');
\! "$ACTIVATE_SERVICE" call PATCH /objects/cards/9 '{"name": "changed by id"}' >/dev/null
SELECT differs('cmp ids');

-- hashes without images: of a row that is what it was when it was sent that is enough
SELECT activate_sync('cmp hashes', 'SELECT id, email, city FROM person', 'cmp.people', options => '{"image": false}') > 0 AS declared;
SELECT activate_run('cmp hashes') > 0 AS run;
SELECT activate_wait('cmp hashes');
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/1 '{"email": "new@x"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/2 '{"email": "new@x"}' >/dev/null
UPDATE person SET city = 'Kiel' WHERE id = 2;
SELECT differs('cmp hashes');

-- rights are the owner's, who is asked for is not
CREATE ROLE compare_owner;
CREATE ROLE compare_stranger;
GRANT USAGE ON SCHEMA compare_test, cmp TO compare_owner;
GRANT SELECT ON person TO compare_owner;
GRANT INSERT ON cmp.people TO compare_owner;
GRANT USAGE ON FOREIGN SERVER cmp TO compare_owner;
CREATE USER MAPPING FOR compare_owner SERVER cmp;
SET ROLE compare_owner;
SELECT activate_sync('cmp owned', 'SELECT id, email FROM compare_test.person', 'cmp.people') > 0 AS declared;
SELECT * FROM activate_compare('cmp owned');
SET ROLE compare_stranger;
SELECT * FROM activate_compare('cmp owned');
RESET ROLE;
SELECT * FROM activate_compare('cmp owned');
GRANT SELECT ON cmp.people TO compare_owner;
SELECT count(*) FROM activate_compare('cmp owned');
SELECT activate_drop('cmp owned');

-- an API that does not answer is no empty one
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 500}' >/dev/null
\set VERBOSITY terse
SELECT * FROM activate_compare('cmp');
\set VERBOSITY default
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null

SET client_min_messages = warning;
SELECT activate_drop(name) FROM activate.sync WHERE name LIKE 'cmp%' ORDER BY name;
DROP SERVER cmp CASCADE;
DROP SCHEMA cmp CASCADE;
DROP SCHEMA compare_test CASCADE;
DROP ROLE compare_owner, compare_stranger;
