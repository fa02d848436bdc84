-- DML on foreign tables of web APIs: what stands in the outbox afterwards.
\getenv url ACTIVATE_SERVICE_URL
SELECT set_config('test.url', :'url', false) AS url \gset test_
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
\pset null '(null)'

SELECT activate_target('dml', 'rest', jsonb_build_object('base_url', :'url', 'objects', '{
	"contacts": {"path": "/objects/contacts", "key": "id", "read": {"records": "data"},
		"columns": {"id": "bigint", "email": "text", "city": {"type": "text", "path": "address.city"}, "score": "numeric",
			"made": {"type": "date", "readonly": true}},
		"write": {"insert": {}, "update": {}, "delete": {}}},
	"blind": {"path": "/objects/blind", "key": "id", "read": false,
		"columns": {"id": "bigint", "email": "text", "score": "numeric"}, "write": {"insert": {}, "update": {}, "delete": {}}},
	"pairs": {"path": "/objects/pairs", "key": "a, b", "read": false,
		"columns": {"a": "int", "b": "varchar(10)", "v": "int"}, "write": {"upsert": {}, "update": {}, "delete": {}}},
	"upserts": {"path": "/objects/upserts", "key": "id", "columns": {"id": "int", "v": "int"}, "write": {"upsert": {}}},
	"nokey": {"path": "/objects/nokey", "columns": {"id": "int"}, "write": {"insert": {}}},
	"fixed": {"path": "/objects/fixed", "columns": {"id": "int"}}}'::jsonb));
SELECT activate_target('dml_hook', 'webhook', jsonb_build_object('url', :'url' || '/hook'));
SELECT activate_pause('target:dml'), activate_pause('target:dml_hook');
\! for i in 1 2 3 4; do "$ACTIVATE_SERVICE" call POST /objects/contacts "{\"id\": $i, \"email\": \"p$i@example.com\", \"score\": $i.5, \"address\": {\"city\": \"Rome\"}}" >/dev/null; done

-- What was written since the last look.
CREATE VIEW written AS
SELECT s.name, o.op, o.key, o.body FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
 WHERE s.implicit AND o.id > current_setting('test.seen')::bigint ORDER BY o.id;
SELECT set_config('test.seen', '0', false) AS seen \gset test_
CREATE FUNCTION seen() RETURNS void LANGUAGE sql AS
	$$ SELECT set_config('test.seen', coalesce(max(id), 0)::text, false) FROM activate.outbox $$;

-- each UPDATE and DELETE as an intent: the key, and what was assigned
UPDATE dml.contacts SET email = upper(email), score = NULL WHERE score > 3;
DELETE FROM dml.contacts WHERE email LIKE 'p1%';
TABLE written;
SELECT seen() \gset

-- where the key is fixed nothing is read: the service shows no request
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 500}' >/dev/null
UPDATE dml.contacts SET email = 'direct@example.com', city = NULL WHERE id = 2;
DELETE FROM dml.contacts WHERE 3 = id;
UPDATE dml.blind SET email = 'by ' || id, score = id * 2 WHERE id = 7 AND id < 10;
UPDATE dml.blind SET email = 'no such' WHERE id = 7 AND id > 10;
UPDATE dml.blind SET email = 'null' WHERE id = NULL::bigint;
UPDATE dml.blind SET email = 'nothing' WHERE false;
DELETE FROM dml.blind WHERE id IN (9, 8, 8, NULL);
DELETE FROM dml.blind WHERE id = ANY ('{}');
UPDATE dml.pairs SET v = 1 WHERE b = 'x' AND a = 1;
UPDATE dml.pairs SET v = 2 WHERE b = ANY ('{y,x}'::text[]) AND a = 1;
UPDATE dml.blind SET score = (SELECT count(*) FROM generate_series(1, blind.id) g) WHERE id = 4;
UPDATE dml.blind SET score = (SELECT 5) WHERE id = (SELECT 6);
TABLE written;
SELECT seen() \gset

-- equal is not the same: characters as the column pads them, an interval not by key
CREATE FOREIGN TABLE dml.padded (code char(5), v int) SERVER dml OPTIONS (path '/objects/padded', key 'code', read 'false', write '{"insert": {}, "update": {}, "delete": {}}');
CREATE FOREIGN TABLE dml.spans (span interval, v int) SERVER dml OPTIONS (path '/objects/spans', key 'span', read 'false', write '{"insert": {}, "update": {}, "delete": {}}');
INSERT INTO dml.padded VALUES ('ab', 1);
UPDATE dml.padded SET v = 2 WHERE code = 'ab';
DELETE FROM dml.padded WHERE code IN ('ab', 'abcdef');
DELETE FROM dml.spans WHERE span = '24:00';
TABLE written;
DROP FOREIGN TABLE dml.padded, dml.spans;
SELECT seen() \gset

-- parameters, in custom and generic plans
PREPARE by_key(bigint, text) AS UPDATE dml.blind SET email = $2 WHERE id = $1;
PREPARE by_keys(bigint[]) AS DELETE FROM dml.blind WHERE id = ANY ($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE by_key(1, 'generic');
EXECUTE by_key(2, NULL);
EXECUTE by_key(NULL, 'nobody');
EXECUTE by_keys('{3,1,3}');
RESET plan_cache_mode;
EXECUTE by_key(3, 'custom');
EXECUTE by_key(NULL, 'nobody');
DO $$ BEGIN FOR i IN 1..2 LOOP UPDATE dml.blind SET score = i WHERE id = 10 + i; END LOOP; END $$;
TABLE written;
SELECT seen() \gset

-- RETURNING returns what was given; of a row that was read, all of it
UPDATE dml.blind SET email = 'r' WHERE id IN (2, 1) RETURNING *, tableoid::regclass;
DELETE FROM dml.blind WHERE id = 3 RETURNING id, email;
WITH w AS (UPDATE dml.blind SET score = random() * 0 WHERE id = 5 RETURNING id, score) SELECT * FROM w;
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "none"}' >/dev/null
UPDATE dml.contacts SET score = score + 1 WHERE id > 2 RETURNING *;
DELETE FROM dml.contacts WHERE id > 2 RETURNING *;
DELETE FROM dml.contacts WHERE id > 3 RETURNING id;
INSERT INTO dml.contacts (email) VALUES ('new') RETURNING *;
SELECT seen() \gset

-- a SELECT does not see what is pending
SELECT id, email, score FROM dml.contacts;

-- joins and subqueries read
CREATE TEMP TABLE news (id int, email text);
INSERT INTO news VALUES (1, 'one'), (4, 'four'), (5, 'five');
UPDATE dml.contacts c SET email = n.email FROM news n WHERE n.id = c.id;
DELETE FROM dml.contacts c USING news n WHERE n.id = c.id AND n.id = 4;
UPDATE dml.contacts SET (email, city) = (SELECT n.email, 'Oslo' FROM news n WHERE n.id = contacts.id) WHERE id = 4;
TABLE written;
SELECT seen() \gset

-- what cannot be done without reading, where it cannot be read
UPDATE dml.blind SET email = 'all';
UPDATE dml.blind SET email = upper(email) WHERE id = 1;
UPDATE dml.blind SET email = 'x' WHERE id = 1 AND score = 1;
UPDATE dml.blind SET email = 'x' WHERE id = 1 OR id = 2;
UPDATE dml.blind SET email = 'x' WHERE id = 1.5;
UPDATE dml.blind SET email = n.email FROM news n WHERE blind.id = n.id;
DELETE FROM dml.pairs WHERE a = 1;
DELETE FROM dml.pairs WHERE a IN (1, 2) AND b IN ('x', 'y');
UPDATE dml.blind SET id = 2 WHERE id = 1;
-- what cannot be done at all
UPDATE dml.contacts SET id = id + 1 WHERE id = 1;
UPDATE dml.contacts SET made = '2020-01-01' WHERE id = 1;
UPDATE dml.upserts SET v = 1 WHERE id = 1;
DELETE FROM dml.upserts WHERE id = 1;
UPDATE dml.nokey SET id = 1 WHERE id = 1;
DELETE FROM dml.fixed;
INSERT INTO dml.fixed VALUES (1);
COPY dml.fixed FROM stdin;
1
\.
UPDATE dml_hook.change SET row = '{}';
DELETE FROM dml_hook.change;
INSERT INTO dml.contacts (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = 'x';
INSERT INTO dml.contacts (id) VALUES (1) ON CONFLICT DO NOTHING;
TRUNCATE dml.contacts;
TABLE written;
-- the key assigned as it is changes nothing
UPDATE dml.contacts SET id = id, email = 'same key' WHERE id = 1;
UPDATE dml.contacts SET id = id WHERE id = 1;
TABLE written;
SELECT seen() \gset

-- catalogs tell the truth of each object, and do not fail because of one
SELECT c.relname, pg_relation_is_updatable(c.oid, false) AS bits FROM pg_class c WHERE c.relnamespace IN ('dml'::regnamespace, 'dml_hook'::regnamespace)
	ORDER BY c.relname COLLATE "C";
SELECT table_name, is_insertable_into FROM information_schema.tables WHERE table_schema = 'dml' ORDER BY table_name COLLATE "C";
SELECT table_name, column_name, is_updatable FROM information_schema.columns WHERE table_schema = 'dml' AND column_name IN ('v', 'email') ORDER BY 1, 2;
BEGIN;	-- which its deliverer does not see
ALTER SERVER dml OPTIONS (SET connector 'nothing_of_that_name');
SELECT count(*) FROM information_schema.tables WHERE table_schema = 'dml';
ROLLBACK;

-- the plan says what will be done
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
EXPLAIN (COSTS off) UPDATE dml.blind SET email = 'x', score = 1 WHERE id = 1;
EXPLAIN (COSTS off) DELETE FROM dml.contacts WHERE email IS NULL;
EXPLAIN (COSTS off) INSERT INTO dml.pairs VALUES (1, 'x', 1);
SELECT * FROM plan('UPDATE dml.contacts SET score = score + 1 WHERE id = 1');
SELECT * FROM plan('DELETE FROM dml.pairs WHERE a = 1 AND b = ''x''');
SELECT * FROM plan('INSERT INTO dml.contacts (id) VALUES (1)');
EXPLAIN (COSTS off) EXECUTE by_key(1, 'x');
-- from PostgreSQL 18 on with decimals
CREATE FUNCTION analyzed(statement text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off) ' || statement LOOP
		RETURN NEXT replace(line, '.00 loops', ' loops');
	END LOOP;
END
$$;
SELECT analyzed('DELETE FROM dml.blind WHERE id IN (1, 2)');
DROP FUNCTION analyzed;
TABLE written;
SELECT seen() \gset

-- all in the transaction
BEGIN;
UPDATE dml.blind SET email = 'stays' WHERE id = 1;
SAVEPOINT s;
UPDATE dml.blind SET email = 'goes' WHERE id = 1;
DELETE FROM dml.contacts WHERE id = 2;
ROLLBACK TO s;
DELETE FROM dml.blind WHERE id = 2;
COMMIT;
BEGIN;
DELETE FROM dml.blind WHERE id = 3;
ROLLBACK;
DO $$ BEGIN
	UPDATE dml.blind SET score = 0 WHERE id = 1;
	RAISE 'undone';
EXCEPTION WHEN raise_exception THEN
	UPDATE dml.blind SET score = 1 WHERE id = 2;
END $$;
TABLE written;
SELECT seen() \gset

-- triggers see the row as it was read; what they change is sent, too
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% % % of %: %', tg_name, tg_when, tg_level, tg_op, coalesce(OLD.email, '-') || ' ' || coalesce(NEW.email, '-');
	IF tg_when = 'BEFORE' AND tg_op = 'UPDATE' THEN
		NEW.score := 99;
		IF NEW.email = 'other key' THEN NEW.id := 77; END IF;
		IF NEW.email = 'no' THEN RETURN NULL; END IF;
	END IF;
	RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER before_row BEFORE UPDATE OR DELETE ON dml.contacts FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER after_row AFTER UPDATE OR DELETE ON dml.contacts FOR EACH ROW EXECUTE FUNCTION tell();
UPDATE dml.contacts SET email = 'told' WHERE id = 1;
UPDATE dml.contacts SET email = 'no' WHERE id = 1;
UPDATE dml.contacts SET email = 'other key' WHERE id = 1;
DELETE FROM dml.contacts WHERE id = 2;
DROP TRIGGER before_row ON dml.contacts;
DROP TRIGGER after_row ON dml.contacts;
CREATE FUNCTION tell_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', tg_when, tg_op; RETURN NULL; END $$;
CREATE TRIGGER statement AFTER UPDATE ON dml.blind FOR EACH STATEMENT EXECUTE FUNCTION tell_statement();
UPDATE dml.blind SET email = 'by key' WHERE id = 1;
DROP TRIGGER statement ON dml.blind;
TABLE written;
SELECT seen() \gset

-- generated columns and views with a check
ALTER FOREIGN TABLE dml.contacts ADD COLUMN twice numeric GENERATED ALWAYS AS (score * 2) STORED;
UPDATE dml.contacts SET score = 5 WHERE id = 1;
UPDATE dml.contacts SET email = 'not concerned' WHERE id = 1;
ALTER FOREIGN TABLE dml.contacts DROP COLUMN twice;
CREATE VIEW few AS SELECT * FROM dml.contacts WHERE id < 3 WITH CHECK OPTION;
UPDATE few SET email = 'through a view' WHERE id = 1;
UPDATE few SET email = 'not in it' WHERE id = 3;
INSERT INTO few (id, email) VALUES (8, 'refused');
CREATE VIEW roman AS SELECT * FROM dml.contacts WHERE city = 'Rome' WITH CHECK OPTION;
UPDATE roman SET city = 'Oslo' WHERE id = 1;
CREATE VIEW plain AS SELECT id, email FROM dml.blind;
DELETE FROM plain WHERE id = 6;
UPDATE plain SET email = 'plain' WHERE id = 6;
TABLE written;
SELECT seen() \gset

-- as a partition: updated where it is, and rows may come, not go
CREATE TABLE parted (id bigint, email text, city text, score numeric, made date) PARTITION BY RANGE (id);
CREATE TABLE parted_local PARTITION OF parted FOR VALUES FROM (100) TO (200);
ALTER TABLE parted ATTACH PARTITION dml.contacts FOR VALUES FROM (1) TO (100);
INSERT INTO parted VALUES (101, 'local', 'Bern', 1), (102, 'local too', 'Bern', 2);
INSERT INTO parted VALUES (1, 'new', 'Bern', 1) ON CONFLICT DO NOTHING;
UPDATE parted SET email = 'both' WHERE id IN (1, 101);
DELETE FROM parted WHERE score < 2;
UPDATE parted SET id = 50 WHERE id = 102;
UPDATE parted_local SET id = 51 WHERE id = 102;
TABLE written;
SELECT * FROM parted_local;
ALTER TABLE parted DETACH PARTITION dml.contacts;
DROP TABLE parted;
SELECT seen() \gset

-- privileges are PostgreSQL's, each intent has its writer, the sync is the owner's
CREATE ROLE regress_dml NOLOGIN;
GRANT USAGE ON SCHEMA dml TO regress_dml;
GRANT SELECT (id), UPDATE (email) ON dml.blind TO regress_dml;
SET ROLE regress_dml;
UPDATE dml.blind SET email = 'granted' WHERE id = 1;
UPDATE dml.blind SET score = 1 WHERE id = 1;
DELETE FROM dml.blind WHERE id = 1;
UPDATE dml.contacts SET email = 'x' WHERE id = 1;
SELECT count(*) AS seen FROM activate.outbox;
RESET ROLE;
SELECT s.name, s.owner = current_user AS mine, o.writer, o.op FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
	WHERE s.implicit ORDER BY o.id DESC LIMIT 1;

-- the verbs
SELECT activate_run('dml.blind');
-- an error of activate_explain leaves no aborted block behind
SELECT activate_explain('dml.blind');
SELECT activate_sync('dml.blind', 'news', 'dml.contacts');
SELECT activate_discard('dml.blind', $$op = 'delete'$$) > 0 AS discarded;

-- preview: what merges is one request
SELECT activate_discard('dml.contacts') > 0 AS discarded;
INSERT INTO dml.contacts (id, email) VALUES (20, 'a');
UPDATE dml.contacts SET email = 'b', score = 1 WHERE id = 20;
UPDATE dml.contacts SET score = NULL WHERE id = 20;
INSERT INTO dml.contacts (id, email) VALUES (21, 'never');
DELETE FROM dml.contacts WHERE id = 21;
UPDATE dml.contacts SET email = 'x' WHERE id = 22;
UPDATE dml.contacts SET city = 'Bonn' WHERE id = 22;
DELETE FROM dml.contacts WHERE id = 23;
INSERT INTO dml.contacts (id, email) VALUES (23, 'again');
INSERT INTO dml.contacts (email) VALUES ('no key'), ('no key');
SELECT method, replace(url, :'url', 'URL') AS url, body FROM activate_preview('dml.contacts', 20);

-- a plan that is older than the definition does what that says
CREATE FUNCTION define(key text, operations text) RETURNS text LANGUAGE sql AS $$
	SELECT activate_connector(format('{"name": "changing", "objects": {"things": {"path": "/objects/things", "key": %s, "columns": {"id": "bigint", "email": "text"}, "write": %s}}}',
		to_json(key), operations)::jsonb) $$;
SELECT define('id', '{"insert": {}, "update": {}, "delete": {}}') \gset
SELECT activate_target('dml_changing', 'changing', jsonb_build_object('base_url', :'url'));
SELECT activate_pause('target:dml_changing');
SET plan_cache_mode = force_generic_plan;
PREPARE changing_insert AS INSERT INTO dml_changing.things (id) VALUES (1);
PREPARE changing_update AS UPDATE dml_changing.things SET email = 'x' WHERE email = 'y';
PREPARE changing_delete AS DELETE FROM dml_changing.things WHERE id = 1;
EXECUTE changing_insert;
EXECUTE changing_update;
EXECUTE changing_delete;
SELECT define('email', '{"insert": {}, "update": {}, "delete": {}}') \gset
EXECUTE changing_update;
EXECUTE changing_delete;
SELECT define('id', '{"upsert": {}}') \gset
EXECUTE changing_insert;
EXECUTE changing_update;
EXECUTE changing_delete;
SELECT define('id', '{}') \gset
EXECUTE changing_insert;
RESET plan_cache_mode;
SELECT op, key FROM written WHERE name = 'dml_changing.things';

-- another key, name or owner of the table is followed at the next use
SELECT activate_target('dml', 'rest', '{"objects": {"blind": {"path": "/objects/blind", "key": "email", "read": false,
	"columns": {"id": "bigint", "email": "text", "score": "numeric"}, "write": {"update": {}, "delete": {}}}}}');
EXECUTE by_key(1, 'x');
DELETE FROM dml.blind WHERE email = 'a@b';
SELECT name, key, key_columns, key_types, target_key, epoch FROM activate.sync WHERE name = 'dml.blind';
SELECT op, key FROM written WHERE key ? 'email';
ALTER FOREIGN TABLE dml.blind RENAME TO dark;
ALTER FOREIGN TABLE dml.contacts RENAME TO blind;
ALTER FOREIGN TABLE dml.dark RENAME TO contacts;
SELECT id AS contacts FROM activate.sync WHERE name = 'dml.contacts' \gset
UPDATE dml.blind SET score = 1 WHERE id = 1;
UPDATE dml.contacts SET score = 1 WHERE email = 'a@b';
SELECT name, target, target_rel::regclass, id = :contacts AS contacts FROM activate.sync WHERE target_rel IN ('dml.blind'::regclass, 'dml.contacts'::regclass) ORDER BY 1;
ALTER FOREIGN TABLE dml.contacts OWNER TO regress_dml;
GRANT USAGE ON FOREIGN SERVER dml TO regress_dml;
SET ROLE regress_dml;
UPDATE dml.contacts SET score = 1 WHERE email = 'a@b';
RESET ROLE;
SELECT name, owner FROM activate.sync WHERE name = 'dml.contacts';

-- a dropped table leaves its sync paused, with what is pending, to one of the same name and owner
UPDATE dml.pairs SET v = 5 WHERE a = 5 AND b = 'x';
DROP FOREIGN TABLE dml.pairs;
SELECT paused, pause_reason, (SELECT count(*) > 0 FROM activate.outbox o WHERE o.sync = s.id) AS pending FROM activate.sync s WHERE name = 'dml.pairs';
SELECT activate_sync('dml.pairs', 'news', 'dml.blind');
CREATE FOREIGN TABLE dml.pairs (a int, b text, v int) SERVER dml;
UPDATE dml.pairs SET v = 6 WHERE a = 5 AND b = 'x';
SELECT paused, pause_reason, (SELECT count(*) FROM activate.outbox o WHERE o.sync = s.id AND key @> '{"a": 5}') AS pending FROM activate.sync s WHERE name = 'dml.pairs';
-- ... but not to another role's
DROP FOREIGN TABLE dml.pairs;
GRANT CREATE ON SCHEMA dml TO regress_dml;
SET ROLE regress_dml;
CREATE FOREIGN TABLE dml.pairs (a int, b text, v int) SERVER dml;
UPDATE dml.pairs SET v = 7 WHERE a = 5 AND b = 'x';
SELECT name, owner, (SELECT count(*) FROM activate.outbox o WHERE o.sync = s.id) AS pending FROM activate.sync s ORDER BY id;
RESET ROLE;
SELECT regexp_replace(name, '\d+', 'N') AS name, owner <> 'regress_dml' AS mine, paused FROM activate.sync WHERE name LIKE 'dml.pairs%' ORDER BY id;
-- no sync can be declared under the name of such a table
SELECT activate_sync('dml.upserts', 'news', 'dml.blind', map => '{"id": "id", "email": "email"}');

-- leave nothing
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT count(activate_drop(name)) > 0 AS dropped FROM activate.sync WHERE implicit;
SELECT activate_resume('target:dml'), activate_resume('target:dml_hook'), activate_resume('target:dml_changing');
DROP VIEW few, roman, plain, written;
DROP SCHEMA dml, dml_hook, dml_changing CASCADE;
DROP SERVER dml, dml_hook, dml_changing CASCADE;
DELETE FROM activate.connector WHERE name = 'changing';
DROP OWNED BY regress_dml;
DROP ROLE regress_dml;
DROP FUNCTION seen, plan, define, tell, tell_statement;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
