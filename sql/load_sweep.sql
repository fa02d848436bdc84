-- Deletes by cursor: rows that say they are gone (options.deleted), keys compared now and then (options.sweep).
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\pset null '(null)'
CREATE SCHEMA sweep_test;
SET search_path = sweep_test, public;

CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;
CREATE FUNCTION run(name text, "hour" numeric DEFAULT 0, "full" boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	done bigint;
BEGIN
	PERFORM set_config('activate.clock_offset', ("hour" * 3600)::int::text, false);
	done := activate_run(name, "full");
	PERFORM set_config('activate.clock_offset', '0', false);
	RETURN (SELECT format('%s: read %s, inserted %s, updated %s, deleted %s, rejected %s', status, rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected)
		FROM activate.run r WHERE r.id = done);
END
$$;

-- rows that say they are gone
CREATE TABLE customer (id int PRIMARY KEY, name text, rev int, deleted_at date);
INSERT INTO customer SELECT i, 'c' || i, i FROM generate_series(1, 20) i;
UPDATE customer SET deleted_at = '2026-01-01' WHERE id = 20;
SELECT activate_sync('c', 'customer', 'c_copy', map => '{"id": "id", "name": "name"}', mode => 'mirror', capture => 'cursor',
	options => '{"cursor": "rev", "deleted": "deleted_at IS NOT NULL", "where": "id <> 19"}') > 0 AS declared;
SELECT run('c');
SELECT count(*), max(id) FROM c_copy;
SELECT run('c') AS again;
UPDATE customer SET deleted_at = '2026-02-01', rev = 30 WHERE id = 1;
UPDATE customer SET name = 'new', rev = 31 WHERE id = 2;
DELETE FROM customer WHERE id = 3;
SELECT run('c');
SELECT id, name FROM c_copy WHERE id < 5 ORDER BY id;
-- it was a slip
UPDATE customer SET deleted_at = NULL, rev = 32 WHERE id = 1;
SELECT run('c');
SELECT count(*) FROM c_copy;
-- more than the limit: held, and not forgotten by a watermark that went on
UPDATE customer SET deleted_at = '2026-03-01', rev = 40 WHERE id BETWEEN 5 AND 16;
INSERT INTO customer VALUES (50, 'came', 41);
SELECT run('c') AS held;
SELECT count(*), count(*) FILTER (WHERE id = 50) AS came FROM c_copy;
SELECT run('c') AS held_again;
SELECT run('c', "full" => true) AS let;
SELECT count(*), min(id) FROM c_copy;
SELECT run('c') AS nothing;
-- a tombstone beside a row of the same key: the row counts; without one it is gone
CREATE TABLE log (id int, v text, at int, op text);
INSERT INTO log VALUES (1, 'a', 1, 'put'), (2, 'b', 2, 'put'), (3, 'c', 3, 'put');
SELECT activate_sync('log', 'log', 'l_copy', key => 'id', map => '{"id": "id", "v": "v"}', mode => 'mirror', capture => 'cursor',
	options => '{"cursor": "at", "deleted": "op = ''delete''", "min_deletes": 5}') > 0 AS declared;
SELECT run('log');
INSERT INTO log VALUES (1, NULL, 4, 'delete'), (2, NULL, 5, 'delete'), (2, 'b2', 6, 'put'), (NULL, NULL, 7, 'delete'), (9, NULL, 8, 'delete');
SELECT run('log');
SELECT * FROM l_copy ORDER BY id;

-- by any other capture they are as rows that are not there
SELECT activate_sync('diff', 'customer', 'd_copy', map => '{"id": "id"}', mode => 'mirror', options => '{"deleted": "deleted_at IS NOT NULL", "max_delete_percent": 100}') > 0 AS declared,
	activate_sync('kept', 'customer', 'k_copy', map => '{"id": "id"}', capture => 'cursor', options => '{"cursor": "rev", "deleted": "deleted_at IS NOT NULL"}') > 0 AS kept;
SELECT run('diff'), run('kept');
UPDATE customer SET deleted_at = '2026-04-01', rev = 60 WHERE id = 2;
SELECT run('diff') AS mirror, run('kept') AS upsert;
SELECT (SELECT count(*) FROM d_copy WHERE id = 2) AS mirror, (SELECT count(*) FROM k_copy WHERE id = 2) AS upsert;

-- keys compared now and then
CREATE TABLE item (id int PRIMARY KEY, v text, rev int);
INSERT INTO item SELECT i, 'v' || i, i FROM generate_series(1, 20) i;
INSERT INTO item VALUES (21, 'no cursor', NULL);
CREATE TABLE i_copy (id int PRIMARY KEY, v text);
INSERT INTO i_copy VALUES (21, 'theirs'), (99, 'gone before');
SELECT activate_sync('i', 'item', 'i_copy', map => '{"id": "id", "v": "v"}', mode => 'mirror', capture => 'cursor', options => '{"cursor": "rev", "sweep": "1 day"}') > 0 AS declared;
SELECT run('i') AS first;
SELECT id, v FROM i_copy WHERE id > 19 ORDER BY id;
DELETE FROM item WHERE id IN (1, 2);
INSERT INTO item VALUES (30, 'v30', 30), (31, 'late', 3);
SELECT run('i', 1) AS not_yet;
SELECT run('i', 23) AS not_yet;
SELECT run('i', 25) AS swept;
SELECT count(*), count(*) FILTER (WHERE id IN (1, 2)) AS gone FROM i_copy;
-- from then on for another day; full looks at once
DELETE FROM item WHERE id = 3;
SELECT run('i', 26) AS not_yet;
SELECT run('i', 27, true) AS "full";
DELETE FROM item WHERE id < 18;
SELECT run('i', 52) AS held;
SELECT count(*) FROM i_copy;
SELECT run('i', 53) AS held_still;
SELECT run('i', 54, true) AS let;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM i_copy;
-- by the hour of a day, both options, and versions
SELECT activate_sync('h', 'customer', 'h_copy', map => '{"id": "id"}', mode => 'mirror', capture => 'cursor',
	options => '{"cursor": "rev", "sweep": "0 3 * * *", "deleted": "deleted_at IS NOT NULL", "history": true, "max_delete_percent": 90}') > 0 AS declared;
SELECT run('h');
UPDATE customer SET deleted_at = now(), rev = 70 WHERE id = 17;
DELETE FROM customer WHERE id = 18;
SELECT run('h') AS deleted;
SELECT run('h', 24) AS swept;
SELECT id, valid_to IS NULL AS open FROM h_copy WHERE id IN (4, 17, 18) ORDER BY id;
SELECT swept_at > now() + interval '23 hours' AS swept_at FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = 'h';

-- what a trigger has queued before the declaration by cursor
CREATE TABLE queued (id int PRIMARY KEY, v text, rev int, deleted_at date);
INSERT INTO queued SELECT i, 'v', i FROM generate_series(1, 40) i;
CREATE FUNCTION declare(capture text, options jsonb) RETURNS boolean LANGUAGE sql AS
	$$SELECT activate_sync('q', 'queued', 'q_copy', key => 'id', map => '{"id": "id", "v": "v"}', mode => 'mirror', capture => capture, options => options) > 0$$;
SELECT declare('cursor', '{"cursor": "rev", "deleted": "deleted_at IS NOT NULL"}');
SELECT run('q');
SELECT declare('trigger', '{"deleted": "deleted_at IS NOT NULL"}'), activate_pause('q');
UPDATE queued SET deleted_at = '2026-05-01' WHERE id = 3;
DELETE FROM queued WHERE id = 4;
UPDATE queued SET v = 'new' WHERE id = 5;
SELECT declare('cursor', '{"cursor": "rev", "deleted": "deleted_at IS NOT NULL"}');
SELECT run('q');
SELECT count(*), count(*) FILTER (WHERE id IN (3, 4)) AS gone, count(*) FILTER (WHERE v = 'new') AS changed FROM q_copy;
DROP FUNCTION declare(text, jsonb);
-- an interval of many words is no cron expression
SELECT activate._sweep_is_cron('1 day 2 hours 30 minutes'), activate._sweep_is_cron('0 3 * * mon');

-- what is refused
SELECT o, f.code, f.message, f.hint FROM unnest(ARRAY['{"cursor": "rev"}', '{"cursor": "rev", "sweep": "often"}', '{"cursor": "rev", "sweep": "-1 day"}', '{"cursor": "rev", "sweep": "0 25 * * *"}', '{"cursor": "rev", "sweep": "@reboot"}',
	'{"cursor": "rev", "sweep": 5}', '{"cursor": "rev", "deleted": "nothing"}', '{"cursor": "rev", "deleted": "id"}', '{"cursor": "rev", "deleted": ""}']) o,
	failure(format($$SELECT activate_sync('x', 'item', 'x', mode => 'mirror', capture => 'cursor', options => %L)$$, o)) f \gx
SELECT f.* FROM failure($$SELECT activate_sync('x', 'item', 'x', mode => 'replace', capture => 'cursor', options => '{"cursor": "rev", "sweep": "1 day"}')$$) f \gx
SELECT f.* FROM failure($$SELECT activate_sync('x', 'item', 'x', mode => 'mirror', options => '{"sweep": "1 day"}')$$) f \gx
SELECT activate_target('sweep_hook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
SELECT f.* FROM failure($$SELECT activate_sync('x', 'item', 'sweep_hook.change', mode => 'mirror', capture => 'cursor', options => '{"cursor": "rev", "sweep": "1 day"}')$$) f \gx

SET client_min_messages = error;
SELECT count(activate_drop(name)) FROM activate.sync WHERE name IN ('c', 'log', 'diff', 'kept', 'i', 'h', 'q');
DROP SERVER sweep_hook CASCADE;
DROP SCHEMA sweep_test, sweep_hook CASCADE;
