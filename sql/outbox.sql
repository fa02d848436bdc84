-- The outbox: what a transaction appends, what a deliverer finds, and at what cost.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
SELECT activate_target('obhook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
CREATE TABLE ob (id int PRIMARY KEY, t text);
-- paused: capture goes on, nothing is sent
BEGIN;
SELECT activate_sync('ob', 'ob', 'obhook.change', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('ob');
COMMIT;
SELECT id AS sync FROM activate.sync WHERE name = 'ob' \gset
CREATE VIEW pending AS SELECT o.key ->> 'id' AS key, o.op, o.id, o.xid
  FROM activate._intent o WHERE o.sync = :sync;

-- a key is one message of its transaction, and the transaction can look at it at once
BEGIN;
INSERT INTO ob SELECT g, 'a' FROM generate_series(1, 3) g;
UPDATE ob SET t = 'b' WHERE id < 3;
UPDATE ob SET t = 'c' WHERE id = 1;
DELETE FROM ob WHERE id = 3;
SELECT key, op FROM pending ORDER BY id;
ROLLBACK;
SELECT count(*) FROM pending;

-- subtransactions: what is rolled back was never there, and can be there again
BEGIN;
INSERT INTO ob VALUES (1, 'a');
SAVEPOINT one;
INSERT INTO ob VALUES (2, 'a');
SAVEPOINT two;
INSERT INTO ob VALUES (3, 'a');
UPDATE ob SET t = 'b' WHERE id = 1;
RELEASE two;
ROLLBACK TO one;
INSERT INTO ob VALUES (3, 'b');
RELEASE one;
UPDATE ob SET t = 'c';
COMMIT;
SELECT key FROM pending ORDER BY id;
DELETE FROM activate._outbox WHERE sync = :sync;

-- rows of a statement that is not done yet belong to it, not to a subtransaction of its trigger
CREATE FUNCTION ob_nested() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		UPDATE ob SET t = 'nested' WHERE id = NEW.id + 100;
		IF NEW.id % 2 = 0 THEN
			RAISE EXCEPTION 'no';
		END IF;
	EXCEPTION WHEN raise_exception THEN NULL;
	END;
	RETURN NULL;
END
$$;
CREATE TRIGGER zz_nested AFTER INSERT ON ob FOR EACH ROW EXECUTE FUNCTION ob_nested();
INSERT INTO ob VALUES (111, 'x'), (112, 'x');
DELETE FROM activate._outbox WHERE sync = :sync;
INSERT INTO ob VALUES (11, 'x'), (12, 'x');
SELECT key FROM pending ORDER BY id;
SELECT id, t FROM ob WHERE id > 100 ORDER BY id;
DELETE FROM activate._outbox WHERE sync = :sync;
DROP TRIGGER zz_nested ON ob;

-- what a deferred trigger changes while the transaction commits
CREATE FUNCTION ob_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE ob SET t = 'late' WHERE id = 1;
	RETURN NULL;
END
$$;
CREATE TABLE ob_other (id int);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON ob_other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ob_late();
BEGIN;
INSERT INTO ob_other VALUES (1);
SELECT count(*) FROM pending;
COMMIT;
SELECT key FROM pending;
DELETE FROM activate._outbox WHERE sync = :sync;
-- or is prepared
BEGIN;
INSERT INTO ob_other VALUES (2);
PREPARE TRANSACTION 'ob late';
COMMIT PREPARED 'ob late';
SELECT key FROM pending;
DELETE FROM activate._outbox WHERE sync = :sync;

-- COPY, and more rows than are buffered; each batch has its own ids, growing
COPY ob FROM STDIN;
1001	a
1002	b
\.
SELECT key FROM pending ORDER BY id;
INSERT INTO ob SELECT g, 'bulk' FROM generate_series(2001, 5500) g;
SELECT count(*), count(DISTINCT key), bool_and(id_grows) FROM
	(SELECT key, key::int > coalesce(lag(key::int) OVER (ORDER BY id), 0) AS id_grows FROM pending WHERE key::int > 2000) x;
SELECT count(DISTINCT nonce) = count(*) AS nonces_differ FROM activate._outbox;
DELETE FROM activate._outbox WHERE sync = :sync;

-- PREPARE TRANSACTION keeps them, COMMIT PREPARED shows them
BEGIN;
UPDATE ob SET t = 'prepared' WHERE id = 1;
PREPARE TRANSACTION 'ob';
SELECT count(*) FROM pending;
COMMIT PREPARED 'ob';
SELECT key FROM pending;
DELETE FROM activate._outbox WHERE sync = :sync;

-- not in a read-only transaction
BEGIN READ ONLY;
SELECT activate_run('ob');
ROLLBACK;

-- Claims.  A pass reads what the pass before could not see, and no more: rows
-- of transactions that were running then, and of those that began later.
CREATE FUNCTION pass(done text, pass text, OUT keys text) LANGUAGE sql AS $$
	SELECT string_agg(c.key ->> 'id', ' ' ORDER BY c.xid, c.id)
	  FROM activate._claim((SELECT id FROM activate.sync WHERE name = 'ob'), done::pg_snapshot, pass::pg_snapshot, '0', 0, 1000) c
$$;
INSERT INTO activate._outbox (sync, xid, nonce, op, enqueued_at, key)
SELECT :sync, x::text::xid8, 0, 'c', now(), jsonb_build_object('id', x) FROM unnest(ARRAY[100, 102, 104, 106, 108]) x;
SELECT pass(NULL, '103:103:');				-- all that began before 103 was done
SELECT pass(NULL, '105:110:106,108');		-- 106 and 108 were running
SELECT pass('105:110:106,108', '111:111:');	-- now they are done
SELECT pass('105:110:106,108', '107:111:108');
SELECT pass('111:111:', '112:112:');
UPDATE activate._outbox SET held = true WHERE sync = :sync AND xid = '104';
SELECT pass(NULL, '111:111:');
-- limited: the next claim of a pass goes on behind the last row
SELECT c.xid, c.key FROM activate._claim(:sync, NULL, '111:111:', '0', 0, 2) c;
SELECT c.xid, c.key FROM activate._claim(:sync, NULL, '111:111:', '102', (SELECT id FROM activate._outbox WHERE xid = '102'), 2) c;
DELETE FROM activate._outbox WHERE sync = :sync;

-- A pass costs what is new, not what is pending: nothing is read where nothing is new.
INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key)
SELECT :sync, 0, 'c', now(), jsonb_build_object('id', g) FROM generate_series(1, 20000) g;
CREATE TEMP VIEW touched AS SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) AS n FROM pg_stat_xact_user_tables WHERE schemaname = 'activate' AND relname = '_outbox';
BEGIN;
SELECT pg_current_snapshot() AS done \gset
SELECT n AS before FROM touched \gset
SELECT count(*) FROM activate._claim(:sync, :'done', pg_current_snapshot(), '0', 0, 1000);
SELECT n - :before AS rows_read FROM touched;
COMMIT;
INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key) VALUES (:sync, 0, 'c', now(), '{"id": "new"}');
BEGIN;
SELECT n AS before FROM touched \gset
SELECT key FROM activate._claim(:sync, :'done', pg_current_snapshot(), '0', 0, 1000);
SELECT n - :before AS rows_read FROM touched;
SELECT n AS before FROM touched \gset
SELECT count(*) FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 50);
SELECT n - :before AS rows_read FROM touched;
-- settling costs what is settled
SELECT n AS before FROM touched \gset
SELECT activate._outbox_delay(ARRAY[sync], ARRAY[xid], ARRAY[id], ARRAY[3], ARRAY['2100-01-01'::timestamptz], ARRAY['busy'])
  FROM (SELECT * FROM activate._outbox WHERE key = '{"id": 7}' OFFSET 0) o;
SELECT key, attempts, due_at > now() AS waits, last_error FROM activate.outbox WHERE attempts > 0;
SELECT c.key, c.attempts FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 8) c WHERE c.attempts > 0;
SELECT array_agg(sync) AS syncs, array_agg(xid) AS xids, array_agg(id) AS ids
  FROM (SELECT * FROM activate._outbox WHERE (key ->> 'id') IN ('7', '8', '9')) o \gset
SELECT n AS before FROM touched \gset
SELECT activate._outbox_remove(:'syncs', :'xids', :'ids');
SELECT n - :before AS rows_read FROM touched;
SELECT count(*) FROM activate._retry WHERE sync = :sync;
COMMIT;
SELECT count(*) FROM pending;
SELECT :sync IN (SELECT activate._outbox_syncs()) AS listed;

-- held: not claimed until released, which is a transaction of its own
DELETE FROM activate._outbox WHERE sync = :sync;
INSERT INTO activate._outbox (sync, xid, nonce, op, held, enqueued_at, key) VALUES (:sync, '5', 7, 'd', true, now(), '{"id": 1}');
SELECT count(*) FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 8);
SELECT activate._outbox_release(:sync);
SELECT c.key, c.op, c.nonce, c.xid > '5' AS new_transaction FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 8) c;
-- what a dump carried may have a transaction number of the future
UPDATE activate._outbox SET xid = '9000000000' WHERE sync = :sync;
SELECT count(*) FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 8);
SELECT rows FROM activate._outbox_restamp();
SELECT count(*) FROM activate._claim(:sync, NULL, pg_current_snapshot(), '0', 0, 8);

-- private: an ordinary role reads its own and writes nothing
CREATE ROLE regress_ob;
SET ROLE regress_ob;
SELECT count(*) FROM activate.outbox;
INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key) VALUES (1, 0, 'c', now(), '{}');
SELECT activate._outbox_release(1);
RESET ROLE;

-- an application that asks for the number of the row that it inserted is not told one of ours
CREATE TABLE ob_serial (id serial, code text UNIQUE);
GRANT INSERT ON ob_serial TO regress_ob;
GRANT USAGE ON SEQUENCE ob_serial_id_seq TO regress_ob;
BEGIN;
SELECT activate_sync('ob_serial', 'ob_serial', 'obhook.change', capture => 'trigger', key => 'code') > 0 AS declared;
SELECT activate_pause('ob_serial');
COMMIT;
SET ROLE regress_ob;
INSERT INTO ob_serial (code) VALUES ('a');
SELECT lastval();
INSERT INTO ob_serial (code) VALUES (NULL);
SELECT lastval();
RESET ROLE;
SELECT o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'ob_serial';
SELECT r.key, r.code FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'ob_serial';

DROP VIEW pending;
DROP TABLE ob, ob_other, ob_serial CASCADE;
DROP FUNCTION pass, ob_nested, ob_late;
SELECT activate_drop('ob');
SELECT activate_drop('ob_serial');
DROP SERVER obhook CASCADE;
DROP SCHEMA obhook;
DROP ROLE regress_ob;
