-- activate_undo(): who may, what cannot be undone, and what it enqueues.  What was delivered is written by hand
-- here; test/t/380_deliver_undo.pl does it with a target.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA undo_test;
SET search_path = undo_test, public;
SET activate.enabled = off;
CREATE ROLE undo_stranger;
CREATE TABLE contact (id int PRIMARY KEY, email text);
INSERT INTO contact SELECT i, 'u' || i FROM generate_series(1, 6) i;
CREATE TABLE copied (id int PRIMARY KEY, email text);
SELECT activate_target('undo_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
SELECT activate_pause('target:undo_hook');
-- run numbers are shown below
SELECT setval('activate.run_id_seq', greatest(900000, last_value)) > 0 AS set FROM activate.run_id_seq;

-- options
SELECT activate_sync('undo', 'contact', 'undo_hook.change', options => '{"undo": 1}');
SELECT activate_sync('undo', 'contact', 'undo_hook.change', options => '{"undo": true, "image": false}');
SELECT activate_sync('undo', 'contact', 'undo_hook.change', mode => 'append', options => '{"undo": true}');
SELECT activate_sync('undo', 'contact', 'undo_hook.change', mode => 'mirror') > 0 AS declared;
SELECT id AS sync FROM activate.sync WHERE name = 'undo' \gset
SELECT activate_sync('undo other', 'contact', 'undo_hook.change') > 0 AS declared;
SELECT activate_sync('undo table', 'contact', 'copied') > 0 AS declared;
SELECT activate_sync('undo append', 'contact', 'undo_hook.change', mode => 'append') > 0 AS declared;
SELECT activate_sync('undo hashes', 'contact', 'undo_hook.change', options => '{"image": false}') > 0 AS declared;
SELECT activate_sync('undo nothing', 'contact', 'undo_hook.change', options => '{"undo": false}') > 0 AS declared;

-- what cannot be undone
SELECT activate_undo(NULL, 1);
SELECT activate_undo('undo', NULL);
SELECT activate_undo('undoo', 1);
SELECT activate_undo('undo', 1);
SELECT activate_undo('undo table', activate_run('undo table'));
SELECT activate_undo('undo append', 1);
SELECT activate_undo('undo hashes', 1);
SELECT activate_undo('undo nothing', 1);
SET ROLE undo_stranger;
SELECT activate_undo('undo', 1);
RESET ROLE;
INSERT INTO undo_hook.change (row) VALUES ('{}');
SELECT activate_undo('undo_hook.change', 1);
SELECT activate_discard('undo_hook.change');

-- a run whose messages wait: they are taken back
SELECT activate_run('undo') AS run \gset
SELECT activate_undo('undo other', :run);
SELECT activate_undo('undo', :run + 1);
BEGIN;
UPDATE activate.run SET status = 'running' WHERE id = :run;
SELECT activate_undo('undo', :run);
ROLLBACK;
BEGIN;
SELECT activate_undo('undo', :run);
SELECT op, key, body, undo, count(*) OVER () FROM activate.outbox WHERE sync = :sync AND undo ORDER BY key LIMIT 2;
SELECT key, op, code, reason, hash = activate._row_hash((SELECT c FROM contact c WHERE c.id = (r.key ->> 'id')::int)) AS same
  FROM activate.rejection r WHERE sync = :sync ORDER BY key LIMIT 2;
-- nothing of the run would go out
SELECT count(*) FROM activate_preview('undo', 100);
-- and it is not planned again, unless somebody says so
SELECT line FROM activate_explain('undo') line WHERE line LIKE '%Changes%';
SELECT activate_run('undo', full => true) AS again \gset
SELECT rows_inserted FROM activate.run WHERE id = :again;
ROLLBACK;

-- as if it were delivered: 1 and 2 were the first, 3 was replaced, 4 deleted, 5 replaced by what is not known, 6 has changed since
SELECT activate_discard('undo');
INSERT INTO activate._sent (sync, digest, hash, seq, sent_at, run, key, image)
SELECT :sync, activate._key_digest(k.key), i, i, now(), CASE WHEN i < 6 THEN :run END, k.key, jsonb_build_object('id', i, 'email', 'sent')
  FROM generate_series(1, 6) i, jsonb_build_object('id', i) k(key) WHERE i <> 4;
INSERT INTO activate._undo (sync, run, digest, hash, deleted, key, image)
SELECT :sync, :run, activate._key_digest(k.key), -i, i = 4, k.key, CASE WHEN i <> 5 THEN jsonb_build_object('id', i, 'email', 'held before') END
  FROM generate_series(3, 6) i, jsonb_build_object('id', i) k(key);
CREATE VIEW enqueued AS SELECT o.op, o.key, o.body, o.undo, o.run FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'undo';
BEGIN;
SELECT activate_undo('undo', :run);
SELECT * FROM enqueued ORDER BY key;
SELECT key, op, code, reason, hash FROM activate.rejection WHERE sync = :sync ORDER BY key;
SELECT method, body::jsonb ->> 'op' AS op, body::jsonb -> 'key' AS key, body::jsonb -> 'row' AS row FROM activate_preview('undo', 100) ORDER BY 3;
-- a second time nothing is added
SELECT activate_undo('undo', :run);
SELECT count(*) FROM enqueued;
-- what a dump carries stays what it is
SELECT rows FROM activate._outbox_restamp() WHERE sync = :sync;
SELECT * FROM enqueued ORDER BY key LIMIT 1;
-- a run counts nothing of it as sent: what the source holds now is not what was taken back, so it goes out as usual
SELECT activate_run('undo') AS next \gset
SELECT rows_inserted, rows_updated, rows_deleted FROM activate.run WHERE id = :next;
ROLLBACK;
-- nothing new is deleted if one does not want it
BEGIN;
SELECT activate_undo('undo', :run, deletes => false);
SELECT op, key FROM enqueued ORDER BY key;
ROLLBACK;
-- where we only upsert, one has to say so; where the mode was another the image is upserted
BEGIN;
SELECT activate_sync('undo', 'contact', 'undo_hook.change') = :sync AS same;
SELECT activate_undo('undo', :run);
SELECT op, key FROM enqueued ORDER BY key;
ROLLBACK;
BEGIN;
SELECT activate_sync('undo', 'contact', 'undo_hook.change', mode => 'update') = :sync AS same;
SELECT activate_undo('undo', :run, deletes => true);
SELECT op, key FROM enqueued ORDER BY key;
ROLLBACK;
-- what something is about to change is left
BEGIN;
SELECT activate_sync('undo', 'contact', 'undo_hook.change', mode => 'mirror', capture => 'trigger') = :sync AS same;
UPDATE contact SET email = 'changed' WHERE id IN (1, 3, 4);
SELECT activate_undo('undo', :run);
SELECT op, key FROM enqueued ORDER BY key;
ROLLBACK;
-- held deletes of a run are discarded
BEGIN;
DELETE FROM contact;
DELETE FROM activate.rejection;
SELECT activate_run('undo') AS held \gset
SELECT activate_undo('undo', :held);
SELECT count(*) FROM enqueued;
ROLLBACK;
-- a savepoint takes all of it back
BEGIN;
SAVEPOINT s;
SELECT activate_undo('undo', :run);
ROLLBACK TO s;
SELECT (SELECT count(*) FROM enqueued), (SELECT count(*) FROM activate.rejection WHERE sync = :sync);
ROLLBACK;

-- replay can be previewed, too
BEGIN;
SELECT activate_replay('undo', '-infinity');
SELECT method, body::jsonb ->> 'op' AS op, body::jsonb -> 'row' AS row FROM activate_preview('undo', 100) ORDER BY 3;
ROLLBACK;

-- another target: nothing is known of this one
SELECT activate_target('undo_hook2', 'webhook', '{"url": "http://127.0.0.1:1/"}');
SELECT activate_sync('undo', 'contact', 'undo_hook2.change') = :sync AS same;
SELECT count(*) FROM activate._undo;
SELECT activate_undo('undo', :run);

SET client_min_messages = warning;
SELECT activate_drop(name) FROM activate.sync WHERE name LIKE 'undo%';
DROP SERVER undo_hook CASCADE;
DROP SERVER undo_hook2 CASCADE;
DROP SCHEMA undo_test, undo_hook, undo_hook2 CASCADE;
DROP ROLE undo_stranger;
