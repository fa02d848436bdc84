-- Several intents in one row of activate._outbox: what is in it, and what becomes of it when some go.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
SELECT activate_target('pkhook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
CREATE TABLE pk (id int PRIMARY KEY, t text) WITH (autovacuum_enabled = off);	-- which would make sessions learn anew what to capture
BEGIN;
SELECT activate_sync('pk', 'pk', 'pkhook.change', capture => 'trigger') > 0 AS declared;
SELECT activate_sync('pk too', 'pk', 'pkhook.change', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('pk');
SELECT activate_pause('pk too');
COMMIT;
SELECT id AS sync FROM activate.sync WHERE name = 'pk' \gset
SELECT id AS too FROM activate.sync WHERE name = 'pk too' \gset
-- a line per row of the table: keys, and ids from the first
CREATE VIEW packs AS
SELECT o.sync = (SELECT id FROM activate.sync WHERE name = 'pk') AS first_sync, o.xid, o.nonce, o.id, coalesce(cardinality(o.keys), 1) AS n,
	(SELECT string_agg(i.key ->> 'id', ' ' ORDER BY i.id) FROM activate._intent i
	  WHERE i.sync = o.sync AND i.xid = o.xid AND i.id BETWEEN o.id AND o.id + coalesce((SELECT max(s) FROM unnest(o.steps) s), 0)) AS keys
  FROM activate._outbox o;
-- an intent is in the row with the greatest id that is not beyond its own
CREATE VIEW astray AS
SELECT i.key FROM activate._intent i
 CROSS JOIN LATERAL (SELECT o.id, o.steps FROM activate._outbox o WHERE o.sync = i.sync AND o.xid = i.xid AND o.id <= i.id ORDER BY o.id DESC LIMIT 1) r
 WHERE NOT (r.id = i.id OR i.id - r.id = ANY (r.steps));
CREATE FUNCTION take(VARIADIC numbers int[]) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (
		SELECT array_agg(i.xid) AS xids, array_agg(i.id) AS ids FROM activate._intent i JOIN activate.sync s ON s.id = i.sync AND s.name = 'pk'
		 WHERE (i.key ->> 'id')::int = ANY (numbers)) f,
		activate.sync s, activate._outbox_take(s.id, f.xids, f.ids) t WHERE s.name = 'pk'
$$;

-- what is appended while a trigger's session learns what to capture is written at once
INSERT INTO pk VALUES (0, 'a');
DELETE FROM activate._outbox WHERE sync IN (:sync, :too);

-- two syncs, one after the other in each row change: each has its own row, each intent its own id
INSERT INTO pk SELECT g, 'a' FROM generate_series(1, 5) g;
SELECT first_sync, n, keys FROM packs ORDER BY 1 DESC, id;
SELECT count(DISTINCT id) AS ids, count(*) FROM activate.outbox WHERE sync IN (:sync, :too);
SELECT key, op, attempts, writer = current_user AS mine FROM activate.outbox WHERE sync = :sync ORDER BY id;
SELECT pending, name FROM activate.stat_sync WHERE name LIKE 'pk%' ORDER BY name;
SELECT c.key FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 2) c ORDER BY c.id;	-- a row is read as a whole
SELECT count(*) FROM activate._claim(:sync, NULL, pg_current_snapshot(), (SELECT xid FROM packs WHERE first_sync),
	(SELECT max(id) FROM activate.outbox WHERE sync = :sync), 2);
DELETE FROM activate._outbox WHERE sync = :too;

-- some go: the others stay as they were, and no row reaches over a gap
SELECT xid AS before_xid, nonce AS before_nonce FROM packs \gset
CREATE TABLE pk_were AS SELECT id, key FROM activate.outbox WHERE sync = :sync;
SELECT take(3);
SELECT n, keys, xid = :'before_xid' AS same_xid, nonce = :before_nonce AS same_nonce FROM packs ORDER BY id;
SELECT count(*) FROM activate.outbox o JOIN pk_were w USING (id, key);
TABLE astray;
SELECT take(3, 1, 99);
SELECT n, keys FROM packs ORDER BY id;
SELECT take(2, 4, 5);
SELECT count(*) FROM packs;

-- what goes one by one is not written as a whole each time
INSERT INTO pk SELECT g, 'a' FROM generate_series(1001, 1032) g;
DELETE FROM activate._outbox WHERE sync = :too;
SELECT n FROM packs;
BEGIN;
SELECT sum(n_tup_ins) AS before FROM pg_stat_xact_user_tables WHERE relid = 'activate._outbox'::regclass \gset
SELECT sum(take(g)) FROM generate_series(1001, 1032) g;
SELECT sum(n_tup_ins) - :before <= 32 AS few_writes FROM pg_stat_xact_user_tables WHERE relid = 'activate._outbox'::regclass;
COMMIT;
SELECT count(*) FROM packs;

-- subtransactions: ids of a row never lie on both sides of those of another
BEGIN;
UPDATE pk SET t = 'b' WHERE id IN (1, 2);
SAVEPOINT one;
UPDATE pk SET t = 'b' WHERE id IN (3, 4);
SELECT count(*) > 0 AS looked FROM activate.outbox;
RELEASE one;
UPDATE pk SET t = 'b' WHERE id IN (5, 1001);
SAVEPOINT two;
UPDATE pk SET t = 'b' WHERE id IN (1002, 1003);
ROLLBACK TO two;
UPDATE pk SET t = 'b' WHERE id IN (1004, 1005);
COMMIT;
DELETE FROM activate._outbox WHERE sync = :too;
SELECT string_agg(keys, ', ' ORDER BY id) FROM packs;
TABLE astray;
DELETE FROM activate._outbox WHERE sync = :sync;

-- put off, and put off again when others of the row have gone
UPDATE pk SET t = 'c' WHERE id <= 5;
DELETE FROM activate._outbox WHERE sync = :too;
CREATE FUNCTION put_off(number int, attempts int) RETURNS void LANGUAGE sql AS $$
	SELECT activate._outbox_delay(array_agg(i.sync), array_agg(i.xid), array_agg(i.id), ARRAY[attempts], ARRAY[now() + interval '1 day'], ARRAY['busy'])
	  FROM activate._intent i JOIN activate.sync s ON s.id = i.sync AND s.name = 'pk' WHERE (i.key ->> 'id')::int = number
$$;
SELECT put_off(4, 2);
SELECT take(1, 2);
SELECT put_off(5, 7);
SELECT activate._outbox_note(i.sync, i.xid, i.id, 5, 6, '00000000-0000-0000-0000-000000000007') FROM activate._intent i WHERE i.key = '{"id": 3}';
SELECT key, attempts, last_error FROM activate.outbox ORDER BY id;
SELECT seq, nonce, message FROM activate._retry WHERE message IS NOT NULL;
SELECT activate._outbox_delay(ARRAY[sync], ARRAY[xid], ARRAY[id + 1000], ARRAY[1], ARRAY[now()], ARRAY['not there']) FROM activate._outbox;
SELECT count(*) FROM activate._retry;
-- what housekeeping removes is what has no intent
INSERT INTO activate._retry (sync, id, attempts, due_at) VALUES (:sync, 1, 1, now());
SELECT activate._housekeep();
SELECT count(*) FROM activate._retry;
-- discarded by a condition
SELECT activate_discard('pk', $$key = '{"id": 4}'$$);
SELECT key FROM activate.outbox ORDER BY id;
-- a dump carried them into another cluster
SELECT sync = :sync AS mine, rows FROM activate._outbox_restamp();
SELECT n, keys, xid = :'before_xid' AS same_xid FROM packs ORDER BY id;
SELECT key, attempts FROM activate.outbox ORDER BY id;
SELECT activate_discard('pk');

-- more than are removed at once
INSERT INTO pk SELECT g, 'a' FROM generate_series(10001, 70000) g;
SELECT activate_discard('pk', $$(key ->> 'id')::int <> 12345$$), activate_discard('pk too');
SELECT n, keys FROM packs;
SELECT activate_discard('pk');

-- a run's intents keep what it saw; what is the same is not enqueued again
TRUNCATE pk;
INSERT INTO pk SELECT g, 'a' FROM generate_series(1, 3) g;
SELECT activate_discard('pk'), activate_discard('pk too');
SET client_min_messages = error;
SELECT activate_run('pk') > 0 AS ran;
RESET client_min_messages;
SELECT n, keys FROM packs ORDER BY id;
SELECT count(planned), count(DISTINCT planned), bool_and(run IS NOT NULL) FROM activate._intent;
SET client_min_messages = error;
SELECT activate_run('pk') > 0 AS ran;
SELECT n, keys FROM packs ORDER BY id;

SELECT activate_drop('pk'), activate_drop('pk too');
DROP TABLE pk, pk_were;
DROP FUNCTION take, put_off;
DROP VIEW packs, astray;
DROP SERVER pkhook CASCADE;
DROP SCHEMA pkhook;
