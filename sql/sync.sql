-- The verbs: declaring again, pausing, dropping, who may, and what outlives a source.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA sync_test;
GRANT ALL ON SCHEMA sync_test TO PUBLIC;
SET search_path = sync_test, public;
SET activate.enabled = off;
CREATE ROLE sync_owner;
CREATE ROLE sync_member IN ROLE sync_owner;
CREATE ROLE sync_stranger;

CREATE TABLE contact (id int PRIMARY KEY, email text, secret text);
INSERT INTO contact SELECT i, 'u' || i || '@example.org', 's' FROM generate_series(1, 6) i;
GRANT SELECT (id, email) ON contact TO sync_owner;
SELECT activate_target('sync_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
GRANT USAGE ON SCHEMA sync_hook TO sync_owner;
GRANT USAGE ON FOREIGN SERVER sync_hook TO sync_owner;
GRANT INSERT ON sync_hook.change TO sync_owner;

-- to an API: a run enqueues, in this transaction
SELECT activate_sync('sync api', 'contact', 'sync_hook.change') > 0 AS declared;
BEGIN;
SELECT activate_run('sync api') > 0 AS run;
SELECT activate_wait('sync api');
ROLLBACK;
SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'sync api';
SELECT activate_run('sync api') > 0 AS run;
SELECT activate_wait('sync api');
SELECT activate_explain('sync api');
SELECT name, state, pending FROM activate.stat_sync WHERE name = 'sync api';

-- discard: the filter is one condition, run as the caller
SELECT activate_discard('sync api', 'o.key = 1');
SELECT activate_discard('sync api', 'true) OR (true');
SELECT activate_discard('sync api', '(key->>''id'')::int < 3 -- two');
SELECT activate_discard('sync api');

-- declaring again keeps the id; another key forgets what was sent and what is pending
SELECT id AS before FROM activate.sync WHERE name = 'sync api' \gset
SELECT activate_run('sync api') > 0 AS run;
SELECT activate_sync('sync api', 'contact', 'sync_hook.change', map => '{"mail": "lower(email)"}') = :before AS same;
SELECT count(*) FROM activate.outbox WHERE sync = :before;
SELECT activate_sync('sync api', 'contact', 'sync_hook.change', key => 'email') = :before AS same;
SELECT count(*) FROM activate.outbox WHERE sync = :before;
SELECT key, key_columns, key_types, target_key, columns FROM activate.sync WHERE id = :before;

-- pause and resume; a pause that was asked for outlives a new declaration
SELECT activate_pause('sync api');
SELECT activate_sync('sync api', 'contact', 'sync_hook.change') = :before AS same;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync api';
SELECT activate_resume('sync api');
SELECT activate_pause('target:sync_hook');
SELECT name, state, reason FROM activate.stat_target WHERE name = 'sync_hook';
SELECT activate_resume('target:sync_hook');

-- retry: dead letters go back, but for those that have no key
INSERT INTO activate.rejection (sync, key, op, code, reason) VALUES
	(:before, '{"id": 1}', 'upsert', '422', 'not a mail address'), (:before, '{"id": 2}', 'upsert', '400', 'no'),
	(:before, '{"id": null}', 'upsert', 'null_key', 'the key is NULL');
SELECT activate_retry('sync api', 'code = ''422''');
SELECT activate_retry('sync api');
SELECT key, code FROM activate.rejection WHERE sync = :before;
SELECT key, op FROM activate.outbox WHERE sync = :before ORDER BY id;
SELECT activate_drop('sync api');
SELECT count(*) FROM activate.rejection WHERE sync = :before;

-- rights: as the caller, of the caller; members share, others see nothing
SET ROLE sync_owner;
SELECT activate_sync('sync mine', 'contact', 'sync_hook.change') > 0 AS declared;
SELECT activate_sync('sync mine', 'SELECT id, email FROM contact', 'sync_hook.change', key => 'id') > 0 AS declared;
SELECT activate_sync('sync table', 'SELECT id, email FROM contact', 'mine', key => 'id') > 0 AS declared;
SELECT activate_run('sync table') > 0 AS run;
SET ROLE sync_member;
SELECT name, owner FROM activate.sync WHERE name LIKE 'sync %' ORDER BY name;
SELECT activate_run('sync mine') > 0 AS run;
SELECT writer IS NOT NULL AS written, count(*) FROM activate.outbox GROUP BY 1;
-- a filter sees what the caller sees
SELECT activate_discard('sync mine', '(SELECT count(secret) FROM contact) > 0');
SELECT activate_retry('sync mine', '(SELECT count(secret) FROM contact) > 0');
SELECT activate_discard('sync mine', '(SELECT count(email) FROM contact) < 0');
SET ROLE sync_stranger;
SELECT name FROM activate.sync WHERE name LIKE 'sync %';
SELECT name FROM activate.stat_sync WHERE name LIKE 'sync %';
SELECT count(*) FROM activate.outbox;
SELECT activate_run('sync mine');
SELECT activate_drop('sync mine');
SELECT activate_sync('sync mine', 'SELECT 1 AS id', 'sync_hook.change', key => 'id');
SELECT activate_pause('target:sync_hook');
SELECT activate_run('sync min');
SELECT activate_adopt();
-- in other words from PostgreSQL 16 on
\set VERBOSITY sqlstate
GRANT pg_monitor TO sync_stranger;
\set VERBOSITY default
RESET ROLE;
GRANT pg_monitor TO sync_stranger;
SET ROLE sync_stranger;
SELECT name, state FROM activate.stat_sync WHERE name LIKE 'sync %' ORDER BY name;
SELECT count(*) FROM activate.outbox;
RESET ROLE;

-- a run by a superuser is the owner's run: its rights, its search_path
SELECT activate_run('sync table') > 0 AS run;
CREATE FUNCTION sync_test.who() RETURNS text LANGUAGE sql AS 'SELECT current_user::text';
SET ROLE sync_owner;
SELECT activate_sync('sync who', 'SELECT 1 AS id, who() AS who', 'who_ran', key => 'id', mode => 'replace') > 0 AS declared;
RESET ROLE;
SET search_path = public;
SELECT activate_run('sync who') > 0 AS run;
SET search_path = sync_test, public;
SELECT who FROM who_ran;
REVOKE SELECT (email) ON contact FROM sync_owner;
SELECT activate_run('sync table');
GRANT SELECT (id, email) ON contact TO sync_owner;

-- what a runner does: a right that was taken away pauses that sync
SELECT activate._run_start(id) AS run FROM activate.sync WHERE name = 'sync table' \gset
SELECT status FROM activate.run WHERE id = :run;
REVOKE SELECT (email) ON contact FROM sync_owner;
SET client_min_messages = error;
SELECT activate._run_execute(:run);
RESET client_min_messages;
SELECT status, error FROM activate.run WHERE id = :run;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync table';
SELECT activate._run_start(id) AS run FROM activate.sync WHERE name = 'sync table';
GRANT SELECT (id, email) ON contact TO sync_owner;

-- renames are followed, drops pause
SELECT activate_sync('sync rename', 'contact', 'sync_hook.change', map => '{"email": "email"}', options => '{"where": "id > 0"}') > 0 AS declared;
ALTER TABLE contact RENAME TO person;
ALTER TABLE person RENAME email TO mail;
SELECT activate_run('sync rename') > 0 AS run;
ALTER TABLE person DROP COLUMN secret;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync rename';
ALTER TABLE person DROP COLUMN mail;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync rename';
SELECT activate_run('sync rename');
CREATE TABLE short_lived (id int PRIMARY KEY);
SELECT activate_sync('sync target', 'SELECT 1 AS id', 'short_lived', key => 'id') > 0 AS declared;
DROP TABLE short_lived;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync target';
CREATE FUNCTION sync_test.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
SELECT activate_sync('sync function', 'SELECT 1 AS id', 'doubled', key => 'id', map => '{"id": "id", "two": "twice(id)"}') > 0 AS declared;
DROP FUNCTION twice(int);
SELECT name, state FROM activate.stat_sync WHERE name = 'sync function';
DROP TABLE doubled;
SELECT activate_sync('sync function', 'SELECT 1 AS id', 'doubled', key => 'id') > 0 AS declared;
SELECT name, state FROM activate.stat_sync WHERE name = 'sync function';

-- a script that rebuilds it all
SELECT * FROM activate_export() WHERE activate_export LIKE '%sync_hook%' OR activate_export LIKE '%sync function%';

SELECT activate_drop(name) FROM activate.sync WHERE name LIKE 'sync %' ORDER BY id;
RESET activate.enabled;
SET client_min_messages = warning;
DROP SERVER sync_hook CASCADE;
DROP SCHEMA sync_hook, sync_test CASCADE;
DROP OWNED BY sync_owner, sync_member, sync_stranger;
DROP ROLE sync_owner, sync_member, sync_stranger;
