-- Bad input gets a clear error: what was wrong, and what would be right.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA errors_test;
SET search_path = errors_test, public;

CREATE TABLE person (id int PRIMARY KEY, name text, born date, tags json);
CREATE TABLE loose (name text, born date);
CREATE VIEW people AS SELECT * FROM person;
CREATE TABLE goal (id int PRIMARY KEY, label varchar(10), day date NOT NULL DEFAULT now(), twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE INDEX person_name ON person (name);
SELECT activate_target('errors_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
SELECT activate_target('errors_row', 'webhook', '{"url": "http://127.0.0.1:1/", "format": "row"}');

-- relations
SELECT activate_sync('e', 'persn', 'goal');
SELECT activate_sync('e', 'nowhere.person', 'goal');
SELECT activate_sync('e', 'person_name', 'goal');
SELECT activate_sync('e', 'a.b.c.d', 'goal');
SELECT activate_sync('e', 'person', 'people');
SELECT activate_sync('e', 'person', 'errors_hook.chnage');
SELECT activate_sync('e', 'person', 'nowhere.goal');
SELECT activate_sync('e', 'person', 'person');
SELECT activate_sync('e', NULL, 'goal');
SELECT activate_sync('', 'person', 'goal');
SELECT activate_sync('target:e', 'person', 'goal');

-- queries
SELECT activate_sync('e', 'SELECT * FRM person', 'goal');
SELECT activate_sync('e', 'SELECT 1; DROP TABLE person', 'goal');
SELECT activate_sync('e', 'WITH gone AS (DELETE FROM person RETURNING *) SELECT * FROM gone', 'goal');
SELECT activate_sync('e', 'SELECT * INTO stolen FROM person', 'goal');
SELECT activate_sync('e', 'SELECT * FROM person FOR UPDATE', 'goal');
SELECT activate_sync('e', 'SELECT $1 AS id', 'goal');
SELECT activate_sync('e', 'SELECT nme FROM person', 'goal');
CREATE TEMP TABLE passing (id int PRIMARY KEY);
SELECT activate_sync('e', 'SELECT id FROM passing', 'goal');
SELECT activate_sync('e', 'person', 'passing');

-- columns, types, map
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "lable": "name"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "twice": "id"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "day": "name"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "nme"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "lower(name"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "name, born"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "max(name)"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "unnest(ARRAY[name])"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "day": "''not a date''"}');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": 42}');
SELECT activate_sync('e', 'person', 'goal', map => '[]');
SELECT activate_sync('e', 'SELECT name FROM person', 'goal');
SELECT activate_sync('e', 'person', 'goal', map => '{"id": "id", "label": "random()"}') > 0 AS declared;
SELECT activate_drop('e');

-- keys
SELECT activate_sync('e', 'person', 'goal', key => 'ident');
SELECT activate_sync('e', 'person', 'goal', key => 'id,,');
SELECT activate_sync('e', 'person', 'goal', key => 'id, id');
SELECT activate_sync('e', 'person', 'goal', key => 'name');
SELECT activate_sync('e', 'person', 'errors_hook.change', key => 'tags');
SELECT activate_sync('e', 'loose', 'errors_hook.change');
SELECT activate_sync('e', 'loose', 'errors_hook.change', mode => 'mirror');

-- mode, capture, schedule, options
SELECT activate_sync('e', 'person', 'goal', mode => 'merge');
SELECT activate_sync('e', 'person', 'errors_row.change', mode => 'mirror');
SELECT activate_sync('e', 'person', 'goal', capture => 'guess');
SELECT activate_sync('e', 'person', 'goal', capture => 'wal');
SELECT activate_sync('e', 'people', 'errors_hook.change', key => 'id', capture => 'trigger');
SELECT activate_sync('e', 'SELECT 1 AS id', 'errors_hook.change', key => 'id', capture => 'trigger');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "updated"}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "tags"}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "id", "lag": "1 hour"}');
SELECT activate_sync('e', 'person', 'goal', mode => 'mirror', capture => 'cursor', options => '{"cursor": "born"}');
SELECT activate_sync('e', 'person', 'goal', schedule => 'every monday');
SELECT activate_sync('e', 'person', 'goal', options => '{"btach": 5}');
SELECT activate_sync('e', 'person', 'goal', options => '{"batch": 0}');
SELECT activate_sync('e', 'person', 'goal', options => '{"batch": 1e30}');
SELECT activate_sync('e', 'person', 'goal', options => '{"max_delete_percent": 120}');
SELECT activate_sync('e', 'person', 'goal', options => '{"backfill": "maybe"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"after": "later"}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "born", "lag": "soon"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"where": "nme = 1"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"where": "id"}');
SELECT activate_sync('e', 'person', 'goal', options => '5');
SELECT activate_sync('e', 'person', 'goal', options => '{"batch": "many"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"batch": 1.5}');
SELECT activate_sync('e', 'person', 'goal', options => '{"batch": null}');
SELECT activate_sync('e', 'person', 'goal', options => '{"min_deletes": -1}');
SELECT activate_sync('e', 'person', 'goal', options => '{"max_delete_percent": {"is": 5}}');
SELECT activate_sync('e', 'person', 'goal', options => '{"image": "no"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"where": ["id"]}');
SELECT activate_sync('e', 'person', 'goal', options => '{"where": ""}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": 1}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "born", "lag": 5}');
SELECT activate_sync('e', 'person', 'goal', capture => 'cursor', options => '{"cursor": "born", "lag": "-1 hour"}');
SELECT activate_sync('e', 'person', 'goal', options => '{"lag": "1 hour"}');

-- nothing was half-declared
SELECT count(*) FROM activate.sync WHERE name IN ('e', '', 'target:e');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'person'::regclass;
SELECT to_regclass('stolen') AS stolen;

-- privileges
CREATE ROLE errors_role;
GRANT ALL ON SCHEMA errors_test, errors_hook TO errors_role;
SET ROLE errors_role;
SELECT activate_sync('e', 'person', 'goal');
RESET ROLE;
GRANT SELECT ON person TO errors_role;
SET ROLE errors_role;
SELECT activate_sync('e', 'person', 'goal', mode => 'mirror');
SELECT activate_sync('e', 'person', 'errors_hook.change');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER errors_hook TO errors_role;
SET ROLE errors_role;
SELECT activate_sync('e', 'person', 'errors_hook.change');
RESET ROLE;
GRANT INSERT ON errors_hook.change TO errors_role;
SET ROLE errors_role;
SELECT activate_sync('e', 'person', 'errors_hook.change', capture => 'trigger');
RESET ROLE;

-- verbs on what is not there
SELECT activate_run('nobody');
SELECT activate_wait(NULL);
SELECT activate_pause('target:nobody');
SELECT activate_explain('nobody');
SELECT activate_retry('nobody', 'true');
SELECT activate_run(NULL);

SET client_min_messages = warning;
DROP SERVER errors_hook, errors_row CASCADE;
DROP SCHEMA errors_test, errors_hook, errors_row CASCADE;
DROP OWNED BY errors_role;
DROP ROLE errors_role;
