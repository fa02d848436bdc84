-- What is expected of relations: declared, checked, and what passes when it is not so.
CREATE SCHEMA quality_test;
SET search_path = quality_test, public;
CREATE TABLE tenant (id int PRIMARY KEY);
INSERT INTO tenant VALUES (1), (2);
CREATE TABLE person (id int PRIMARY KEY, tenant int, email text, status text, age int, seen timestamptz DEFAULT now());
INSERT INTO person VALUES (1, 1, 'ann@x', 'open', 30), (2, 2, NULL, 'open', 40), (3, 7, 'cy', 'shut', 130), (4, NULL, NULL, NULL, NULL);
CREATE VIEW adult AS SELECT id, email FROM person WHERE age > 17;

-- words with arguments, bare words with options, conditions
SELECT activate_expect('person', 'has email', 'not_null(email)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'ids', 'unique(id)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'emails', ' UNIQUE (email, tenant)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'statuses', 'accepted_values(status, ''open'', ''closed'')', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'tenants', 'relationships(tenant, tenant, id)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'ages', 'range(age, 0, 120)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'mails', 'matches(email, ''@'')', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'fresh', 'fresh_within(seen, ''1 day'')', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'rows', 'row_count_between(5, 1000)', 'warn') > 0 AS ok;
SELECT activate_expect('person', 'old enough', 'age > 17 AND (SELECT count(*) FROM tenant) = 2', 'warn') > 0 AS ok;
SELECT expectation, state, rows, failed, sample, message FROM activate_check('person');
-- the same, by options
SELECT activate_expect('person', 'has email', 'not_null', 'warn', '{"columns": ["email"]}') > 0 AS ok;
SELECT activate_expect('person', 'ids', 'unique', 'warn', '{"column": "id"}') > 0 AS ok;
SELECT activate_expect('person', 'emails', 'unique', 'warn', '{"columns": ["email", "tenant"]}') > 0 AS ok;
SELECT activate_expect('person', 'statuses', 'accepted_values', 'warn', '{"column": "status", "values": ["open", "closed"]}') > 0 AS ok;
SELECT activate_expect('person', 'tenants', 'relationships', 'warn', '{"column": "tenant", "to": "quality_test.tenant", "field": "id"}') > 0 AS ok;
SELECT activate_expect('person', 'ages', 'range', 'warn', '{"column": "age", "max": 120}') > 0 AS ok;
SELECT activate_expect('person', 'mails', 'matches', 'warn', '{"column": "email", "pattern": "@"}') > 0 AS ok;
SELECT activate_expect('person', 'fresh', 'fresh_within', 'warn', '{"column": "seen", "interval": "1 day"}') > 0 AS ok;
SELECT activate_expect('person', 'rows', 'row_count_between', 'warn', '{"min": 5}') > 0 AS ok;
SELECT expectation, state, rows, failed, message FROM activate_check('person');
SELECT expectation, state, failed, sample FROM activate_check('person', 'tenants');
-- values that occur more than once
INSERT INTO person SELECT 10 + i, 1, 'dup@x', 'open', 20, now() - interval '2 days' FROM generate_series(1, 3) i;
SELECT state, failed, sample, message FROM activate_check('person', 'emails');
DELETE FROM person WHERE id > 10;

-- what is refused
\set VERBOSITY default
SELECT activate_expect('nobody', 'a', 'not_null(id)');
SELECT activate_expect('SELECT 1', 'a', 'not_null(id)');
SELECT activate_expect('person', '', 'not_null(id)');
SELECT activate_expect('person', 'a', 'not_null(nothing)');
SELECT activate_expect('person', 'a', 'not_null(id)', 'stop');
SELECT activate_expect('person', 'a', 'unique(id)', 'quarantine');
SELECT activate_expect('person', 'a', 'row_count_between(1, 2)', 'quarantine');
SELECT activate_expect('person', 'a', 'range(age)');
SELECT activate_expect('person', 'a', 'range(age, NULL, NULL)');
SELECT activate_expect('person', 'a', 'fresh_within(seen, ''a while'')');
SELECT activate_expect('person', 'a', 'row_count_between(1, age)');
SELECT activate_expect('person', 'a', 'accepted_values(age, ''open'')');
SELECT activate_expect('person', 'a', 'age');
SELECT activate_expect('person', 'a', 'count(*) > 1');
SELECT activate_expect('person', 'a', 'age > 1; DROP TABLE person');
SELECT activate_expect('person', 'a', 'age > 1', 'hold', '{"column": "age"}');
SELECT activate_expect('person', 'a', 'range', 'hold', '{"column": "age", "least": 1}');
SELECT activate_expect('person', 'a', 'matches', 'hold', '{"column": "email"}');
SELECT activate_expect('person', 'a', 'relationships(tenant, nowhere, id)');
SELECT activate_expect_drop('person', 'a');
SELECT * FROM activate_check('tenant');
SELECT * FROM activate_check('person', 'a');

-- an expectation that raises an error is none that is met; the others are checked all the same
SELECT activate_expect('person', 'quotient', '100 / (age - 30) > 0', 'warn') > 0 AS ok;
SELECT expectation, state, rows, failed, message FROM activate_check('person') WHERE expectation IN ('ids', 'quotient');
-- declared again: another history; dropped: none
SELECT activate_expect('person', 'ids', 'unique(id)', 'hold') > 0 AS ok;
SELECT name, on_fail, state FROM activate.expectation WHERE name IN ('ids', 'has email') ORDER BY name;
SELECT activate_expect_drop('person', name) FROM activate.expectation ORDER BY name;
SELECT count(*) AS checks FROM activate."check";

-- quarantine: bad rows are rejected, good rows pass, what is mended passes at the next run
SELECT activate_expect('person', 'mails', 'matches(email, ''@'')', 'quarantine') > 0 AS ok,
	activate_expect('person', 'grown', 'age < 100', 'quarantine') > 0 AS ok;
SELECT activate_sync('people', 'person', 'people', mode => 'mirror') > 0 AS declared;
SELECT activate_run('people') > 0 AS ran;
SELECT id, email FROM people ORDER BY id;
CREATE FUNCTION rejected(name text) RETURNS TABLE (key jsonb, code text, reason text) LANGUAGE sql AS
	'SELECT r.key, r.code, r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = rejected.name ORDER BY r.key, r.reason';
CREATE FUNCTION last_run(name text) RETURNS TABLE (status text, read bigint, inserted bigint, updated bigint, deleted bigint, rejected bigint, error text) LANGUAGE sql AS
	'SELECT r.status, r.rows_read, r.rows_inserted, r.rows_updated, r.rows_deleted, r.rows_rejected, r.error FROM activate.run r JOIN activate.sync s ON s.id = r.sync
	  WHERE s.name = last_run.name ORDER BY r.id DESC LIMIT 1';
SELECT * FROM rejected('people');
SELECT * FROM last_run('people');
-- a row that becomes bad stays as it was in a mirror
UPDATE person SET email = 'ann' WHERE id = 1;
UPDATE person SET email = 'cy@x', age = 13 WHERE id = 3;
SELECT activate_run('people') > 0 AS ran;
SELECT id, email FROM people ORDER BY id;
SELECT * FROM rejected('people');
SELECT name, state, rows, failed, sample FROM activate.expectation ORDER BY name;
UPDATE person SET email = 'ann@x' WHERE id = 1;
SELECT activate_run('people') > 0 AS ran;
SELECT * FROM rejected('people');
SELECT * FROM last_run('people');

-- hold: nothing passes until it is mended (in one transaction: a runner would make up for what was held)
BEGIN;
SELECT activate_expect('person', 'ids', 'row_count_between(1, 4)') > 0 AS ok;
INSERT INTO person (id, email, age) VALUES (5, 'ed@x', 20);
SELECT activate_run('people') > 0 AS ran;
SELECT * FROM last_run('people');
SELECT name, state FROM activate.stat_sync WHERE name = 'people';
SELECT count(*) FROM people;
-- full is a yes to deletes, not to this
SELECT activate_run('people', true) > 0 AS ran;
SELECT count(*) FROM people;
-- by hand; warn lets pass; so does who drops it
SELECT activate_expect('person', 'ids', 'row_count_between(1, 5)') > 0 AS ok;
SELECT name, state FROM activate.stat_sync WHERE name = 'people';
SELECT state FROM activate_check('person', 'ids');
SELECT name, state FROM activate.stat_sync WHERE name = 'people';
SELECT activate_expect('person', 'ids', 'row_count_between(1, 4)', 'warn') > 0 AS ok;
SELECT activate_run('people') > 0 AS ran;
SELECT * FROM last_run('people');
COMMIT;
SELECT name, state, message FROM activate.expectation WHERE name = 'ids';
SELECT activate_expect_drop('person', 'ids');

-- a view or a query: no row of it is one of the relation, so quarantine holds
UPDATE person SET age = 130 WHERE id = 2;
SELECT activate_sync('grown ups', 'adult', 'grown_up', key => 'id') > 0 AS declared;
BEGIN;
SELECT activate_run('grown ups') > 0 AS ran;
SELECT * FROM last_run('grown ups');
UPDATE person SET age = 30 WHERE id = 2;
SELECT state FROM activate_check('person', 'grown');
SELECT name, state FROM activate.stat_sync WHERE name = 'grown ups';
SELECT activate_run('grown ups') > 0 AS ran;
SELECT * FROM last_run('grown ups');
COMMIT;

-- what is expected of the target: of each row that comes, and of the result
CREATE TABLE strict (id int PRIMARY KEY, years int, note text DEFAULT 'x');
SELECT activate_sync('strict', 'person', 'strict', map => '{"id": "id", "years": "age * 2"}') > 0 AS declared;
SELECT activate_expect('strict', 'years', 'years < 70', 'quarantine') > 0 AS ok;
UPDATE person SET age = 40 WHERE id = 2;
SELECT activate_run('strict') > 0 AS ran;
SELECT id, years FROM strict ORDER BY id;
SELECT * FROM rejected('strict');
SELECT activate_expect('strict', 'years', 'years < 70', 'hold') > 0 AS ok;
SELECT activate_run('strict') > 0 AS ran;
SELECT * FROM last_run('strict');
SELECT name, state FROM activate.stat_sync WHERE name = 'strict';
UPDATE person SET age = 20 WHERE id = 2;
SELECT activate_expect('strict', 'few', 'row_count_between(0, 4)') > 0 AS ok;
SELECT activate_run('strict') > 0 AS ran;
SELECT * FROM last_run('strict');
SELECT count(*) FROM strict;
SELECT activate_expect('strict', 'few', 'row_count_between(0, 5)') > 0 AS ok;
SELECT activate_run('strict') > 0 AS ran;
SELECT * FROM last_run('strict');
SELECT name, state, rows FROM activate.expectation WHERE relation = 'strict'::regclass ORDER BY name;

-- without a key, by cursor, and as events
CREATE TABLE entry (id int, at int, n int);
INSERT INTO entry VALUES (1, 1, 1), (1, 2, -1), (2, 3, -2), (2, 4, 2);
SELECT activate_expect('entry', 'positive', 'n > 0', 'quarantine') > 0 AS ok;
SELECT activate_sync('entries', 'entry', 'entries', mode => 'append') > 0 AS declared;
SELECT activate_sync('keyless', 'entry', 'keyless', mode => 'replace') > 0 AS declared;
SELECT activate_sync('newest', 'entry', 'newest', key => 'at', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT activate_run('entries') > 0, activate_run('keyless') > 0, activate_run('newest') > 0;
SELECT (SELECT array_agg(at ORDER BY at) FROM entries) AS entries, (SELECT array_agg(at ORDER BY at) FROM keyless) AS keyless,
	(SELECT array_agg(at ORDER BY at) FROM newest) AS newest;
SELECT n.name, r.* FROM (VALUES ('entries'), ('keyless'), ('newest')) n(name), rejected(n.name) r ORDER BY n.name, r.key;
UPDATE entry SET n = -n, at = at + 10 WHERE n < 0;
SELECT activate_run('entries') > 0, activate_run('keyless') > 0, activate_run('newest') > 0;
SELECT (SELECT array_agg(at ORDER BY at) FROM entries) AS entries, (SELECT array_agg(at ORDER BY at) FROM keyless) AS keyless,
	(SELECT array_agg(at ORDER BY at) FROM newest) AS newest;
SELECT n.name, count(r.*) FROM (VALUES ('entries'), ('keyless'), ('newest')) n(name) LEFT JOIN rejected(n.name) r ON true GROUP BY 1 ORDER BY 1;

-- into a web API: what is bad is not enqueued
SELECT activate_target('quality_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
UPDATE person SET email = 'cy' WHERE id = 3;
SELECT activate_sync('to hook', 'person', 'quality_hook.change', mode => 'mirror') > 0 AS declared;
SELECT activate_run('to hook') > 0 AS ran;
SELECT o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'to hook' ORDER BY 1;
SELECT * FROM rejected('to hook');
SELECT body::jsonb -> 'key' AS key FROM activate_preview('to hook', 10) ORDER BY 1;
SELECT * FROM last_run('to hook');
UPDATE person SET email = 'cy@x' WHERE id = 3;
SELECT activate_run('to hook') > 0 AS ran;
SELECT o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'to hook' ORDER BY 1;
SELECT * FROM rejected('to hook');

-- renames are followed; what was dropped holds
ALTER TABLE person RENAME COLUMN age TO years;
ALTER TABLE person RENAME TO human;
SELECT activate_run('people') > 0 AS ran;
SELECT * FROM last_run('people');
SELECT activate_expect('human', 'tenants', 'tenant < 10') > 0 AS ok;
ALTER TABLE human DROP COLUMN tenant CASCADE;
SELECT state, message FROM activate_check('human', 'tenants');
SELECT activate_expect_drop('human', 'tenants');

-- the script that rebuilds it
SELECT line FROM activate_export() line WHERE line ~ 'activate_expect' ORDER BY line;

-- whose expectations count for whose syncs: those of who may have code run as the owner anyway
SET client_min_messages = warning;
CREATE ROLE quality_ann;
CREATE ROLE quality_bob;
GRANT USAGE ON SCHEMA quality_test TO quality_ann, quality_bob;
GRANT SELECT ON tenant TO quality_ann, quality_bob;
CREATE TABLE copy_of_ann (id int PRIMARY KEY);
ALTER TABLE copy_of_ann OWNER TO quality_ann;
SET ROLE quality_ann;
SELECT activate_sync('anns', 'tenant', 'copy_of_ann') > 0 AS declared;
RESET ROLE;
SET ROLE quality_bob;
SELECT activate_expect('tenant', 'bobs', 'id > 1') > 0 AS ok;
SELECT state, failed FROM activate_check('tenant');
RESET ROLE;
SET ROLE quality_ann;
SELECT count(*) AS seen FROM activate.expectation;
SELECT activate_expect('tenant', 'bobs', 'true');
SELECT activate_expect_drop('tenant', 'bobs');
SELECT state FROM activate_check('tenant');
SELECT activate_run('anns') > 0 AS ran;
SELECT count(*) FROM copy_of_ann;
RESET ROLE;
-- of who owns the relation they count for all
SELECT activate_expect('tenant', 'owners', 'id > 1') > 0 AS ok;
SELECT activate_run('anns') > 0 AS ran;
SELECT status, error FROM last_run('anns');

-- but their code is not run as others: quarantine, which would, lets nothing pass
CREATE FUNCTION as_ann() RETURNS boolean LANGUAGE sql AS $$SELECT current_user = 'quality_ann'$$;
CREATE TABLE of_ann (id int PRIMARY KEY, n int);
INSERT INTO of_ann VALUES (1, 1), (2, -2);
ALTER TABLE of_ann OWNER TO quality_ann;
SET ROLE quality_ann;
SELECT activate_expect('of_ann', 'anns', 'as_ann()', 'quarantine') > 0 AS ok, activate_expect('of_ann', 'sign', 'n > 0', 'quarantine') > 0 AS ok;
RESET ROLE;
SELECT activate_sync('from ann', 'of_ann', 'from_ann') > 0 AS declared;
SELECT activate_run('from ann') > 0 AS ran;
SELECT * FROM rejected('from ann');
SET ROLE quality_ann;
SELECT activate_expect('of_ann', 'anns', 'as_ann() AND n > 0', 'quarantine') > 0 AS ok;
RESET ROLE;
SELECT activate_run('from ann') > 0 AS ran;
SELECT status, error FROM last_run('from ann');

-- what cannot be judged any more lets nothing pass that a trigger has captured
CREATE TABLE part (id int PRIMARY KEY, n int, m int);
SELECT activate_sync('parts', 'part', 'parts', map => '{"id": "id", "n": "n"}', capture => 'trigger') > 0 AS declared;
SELECT activate_run('parts') > 0 AS ran;
SELECT activate_expect('part', 'm', 'm > 0', 'quarantine') > 0 AS ok;
ALTER TABLE part DROP COLUMN m;
INSERT INTO part VALUES (1, 1);
SELECT activate._run_execute(activate._run_start(s.id), true) FROM activate.sync s WHERE s.name = 'parts';
SELECT count(*) FROM parts;
SELECT s.name, s.state, e.state, e.message FROM activate.stat_sync s, activate.expectation e WHERE s.name = 'parts' AND e.relation = 'part'::regclass;
SELECT activate_drop(name) FROM activate.sync WHERE name IN ('from ann', 'parts', 'people', 'grown ups', 'strict', 'entries', 'keyless', 'newest', 'to hook', 'anns') ORDER BY name;
SELECT activate_expect_drop(relation::text, name) FROM activate.expectation ORDER BY name;
DROP SCHEMA quality_test, quality_hook CASCADE;
DROP SERVER quality_hook CASCADE;
DROP ROLE quality_ann, quality_bob;
