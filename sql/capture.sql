-- What changed in a source: by trigger, by difference, by cursor.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
SELECT activate_target('caphook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
-- Declares a sync that sends nothing, so that what is enqueued can be looked at.
CREATE FUNCTION declare(name text, source text, target text, VARIADIC args text[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	EXECUTE format('SELECT activate_sync(%L, %L, %L%s)', name, source, target,
		(SELECT string_agg(', ' || a, '') FROM unnest(args) a)) INTO id;
	PERFORM activate_pause(name);
	RETURN id;
END
$$;
-- What the sync of that name would send, and forgets it; delivered: as if the target had accepted it.
CREATE FUNCTION taken(sync_name text, delivered boolean DEFAULT true)
RETURNS TABLE (op text, key jsonb, body jsonb, flags text) LANGUAGE plpgsql AS $$
DECLARE
	s activate.sync;
	q text;
BEGIN
	SELECT y.* INTO s FROM activate.sync y WHERE y.name = sync_name;
	RETURN QUERY SELECT v.op, o.key, o.body, concat_ws(' ', CASE WHEN o.forced THEN 'forced' END, CASE WHEN o.held THEN 'held' END)
		FROM activate._intent o JOIN activate.outbox v USING (sync, id) WHERE o.sync = s.id ORDER BY o.id;
	IF delivered AND s.mode <> 'append' AND s.key_columns <> '{}' THEN
		DELETE FROM activate._sent t USING activate._intent o WHERE t.sync = s.id AND o.sync = s.id AND t.key = o.key AND NOT o.held;
		EXECUTE format('INSERT INTO activate._sent (sync, digest, key, hash, seq, sent_at) SELECT %s, activate._key_digest(to_jsonb(k)), to_jsonb(k), activate._row_hash(x), 1, now()'
			' FROM %s q, LATERAL (SELECT %s) k, LATERAL (SELECT %s) x WHERE to_jsonb(k) IN (SELECT o.key FROM activate._intent o WHERE o.sync = %1$s)',
			s.id, s.source, (SELECT string_agg('q.' || c, ', ') FROM unnest(s.key_columns) c),
			(SELECT string_agg('q.' || c, ', ') FROM unnest(s.columns) c));
	END IF;
	DELETE FROM activate._outbox o WHERE o.sync = s.id AND NOT o.held;
END
$$;
CREATE FUNCTION last_run(sync_name text, OUT run text) LANGUAGE sql AS $$
	SELECT format('%s: %s read, %s inserted, %s updated, %s deleted, %s rejected', r.status,
		r.rows_read, r.rows_inserted, r.rows_updated, r.rows_deleted, r.rows_rejected)
	  FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = sync_name ORDER BY r.id DESC LIMIT 1
$$;
CREATE FUNCTION run(sync_name text, "full" boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM activate_run(sync_name, "full");
	RETURN last_run(sync_name);
END
$$;

--
-- activate._row_hash(): the same in every session, different for every content
--
CREATE TYPE cap_mood AS ENUM ('glad', 'sad');
CREATE TYPE cap_pair AS (a int, b text);
CREATE DOMAIN cap_positive AS int CHECK (VALUE > 0);
CREATE TABLE cap_kinds (id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 real, f8 float8, n numeric, t text, c char(5), v varchar, by bytea,
	d date, tm time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, arr text[], rng tstzrange, net inet,
	mood cap_mood, moods cap_mood[], pair cap_pair, pos cap_positive, cls regclass, nm name);
INSERT INTO cap_kinds VALUES (1, true, -1, 9007199254740993, 1.5, -0.1, 1.500, 'täxt', 'ab', '', '\x00ff', '2026-02-28', '23:59:59.5',
	'2026-01-01 12:00', '2026-01-01 12:00+02', '1 mon 2 days 03:04:05', '00000000-0000-0000-0000-000000000001', '{"a": 1}', '{"b": [1, null]}', '{x,NULL,"y z"}',
	'[2026-01-01 00:00+00,)', '10.0.0.1/8', 'glad', '{sad,glad}', (1, 'two'), 7, 'pg_class', 'name');
-- activate._row_json(): what to_jsonb() makes of the row, whatever the types
SELECT activate._row_json(k)::text = to_jsonb(k)::text AS same_json FROM cap_kinds k;
SELECT count(*) AS rows, count(*) FILTER (WHERE activate._row_json(x)::text IS DISTINCT FROM to_jsonb(x)::text) AS different FROM (
	SELECT n, t, i, p, b, NULL::int AS nothing, j
	  FROM (VALUES (1.50, ''), (-0.0, 'a'), (1e30, repeat('ä', 3000)), ('NaN', E'"\\\n'), ('-Infinity', NULL), (NULL, 'z')) v(n, t),
		(VALUES ('-32768'::int2, '-9223372036854775808'::int8), (0, 0), (32767, 9223372036854775807)) w(i, b),
		(VALUES (7::cap_positive, '"scalar"'::jsonb), (NULL, '[1, {"a": null}]'), (1, 'null')) u(p, j)) x;
SELECT activate._row_json(x) AS doubled FROM (SELECT 1 AS a, 2 AS b, 3 AS a) x;
SELECT activate._row_hash(k) AS here FROM cap_kinds k \gset
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SET extra_float_digits = 0;
SELECT activate._row_hash(k) = :here AS same_elsewhere FROM cap_kinds k;
-- stored, so it must not change from version to version
SELECT activate._row_hash(k) FROM (SELECT id, b, i2, i8, f4, f8, n, t, c, v, by, d, tm, ts, tz, u, jb, arr, mood, pos, nm FROM cap_kinds) k;
SET TimeZone = 'America/New_York';
RESET DateStyle;
RESET extra_float_digits;
SELECT count(DISTINCT activate._row_hash(x)) AS all_differ FROM (
	SELECT NULL::text a, NULL::text b UNION ALL SELECT '', NULL UNION ALL SELECT NULL, '' UNION ALL SELECT '', ''
	UNION ALL SELECT 'ab', 'c' UNION ALL SELECT 'a', 'bc' UNION ALL SELECT 'c', 'ab') x;
SELECT activate._row_hash(x) = activate._row_hash(y) AS names_count FROM (SELECT 1 AS a) x, (SELECT 1 AS b) y;
SELECT activate._row_hash(x) = activate._row_hash(y) AS toasted_is_equal
  FROM (SELECT repeat('x', 100000) AS a) x, LATERAL (SELECT string_agg('x', '') AS a FROM generate_series(1, 100000)) y;

--
-- keys are what to_jsonb() makes of them under SEMANTICS 4, whatever the session's settings
--
CREATE FUNCTION cap_key(type text, value text, OUT captured jsonb, OUT rendered jsonb) LANGUAGE plpgsql AS $$
DECLARE
	number bigint;
BEGIN
	EXECUTE format('CREATE TABLE cap_key (k %s PRIMARY KEY, v int)', type);
	number := declare('cap_key', 'cap_key', 'caphook.change', 'capture => ''trigger''');
	EXECUTE format('INSERT INTO cap_key VALUES (%L)', value);
	SELECT o.key -> 'k' INTO captured FROM activate.outbox o WHERE o.sync = number;
	DELETE FROM activate._outbox o WHERE o.sync = number;
	PERFORM activate_run('cap_key', true);
	SELECT o.key -> 'k' INTO rendered FROM activate.outbox o WHERE o.sync = number;
	PERFORM activate_drop('cap_key');
	DROP TABLE cap_key;
END
$$;
SELECT type, value, k.captured, k.captured = k.rendered AND k.captured::text = k.rendered::text AS same FROM (VALUES
	('int2', '-7'), ('int4', '7'), ('int8', '9223372036854775807'), ('numeric', '12345678901234567890.10'), ('numeric', 'NaN'), ('numeric', '-Infinity'),
	('text', 'qu"ote\n'), ('varchar(10)', 'ä€'), ('char(4)', 'a'), ('boolean', 'true'), ('uuid', 'A0000000-0000-0000-0000-00000000000F'),
	('date', '2026-02-28'), ('timestamptz', '2026-01-01 12:00:00.5+02'), ('timestamp', '2026-01-01 12:00'), ('float8', '0.1'), ('bytea', '\xDEAD'),
	('interval', '1 day 02:00'), ('cap_mood', 'sad'), ('cap_positive', '5'), ('jsonb', '{"a": [1, 2]}'), ('text[]', '{a,b}'), ('cap_pair', '(1,x)')) t(type, value),
	cap_key(type, value) k;
RESET TimeZone;

--
-- trigger: every way a row changes
--
CREATE TABLE cap (a int, b text, v text, PRIMARY KEY (a, b));
SELECT declare('cap', 'cap', 'caphook.change', 'capture => ''trigger''', 'mode => ''mirror''') > 0;
INSERT INTO cap VALUES (1, 'x', 'v'), (2, 'x', 'v');
SELECT op, key, body FROM taken('cap');
UPDATE cap SET v = 'w' WHERE a = 1;
SELECT key FROM taken('cap');
UPDATE cap SET b = 'y' WHERE a = 1;					-- both keys
SELECT key FROM taken('cap');
UPDATE cap SET a = a + 1;							-- keys that change hands
SELECT key FROM taken('cap');
DELETE FROM cap WHERE a = 3;
SELECT key FROM taken('cap');
INSERT INTO cap VALUES (2, 'y', 'conflict') ON CONFLICT (a, b) DO UPDATE SET v = excluded.v;
INSERT INTO cap VALUES (2, 'y', 'conflict') ON CONFLICT DO NOTHING;
SELECT key FROM taken('cap');
MERGE INTO cap USING (VALUES (2, 'y'), (9, 'z')) m(a, b) ON cap.a = m.a AND cap.b = m.b
	WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (m.a, m.b, 'merged');
SELECT key FROM taken('cap');
WITH gone AS (DELETE FROM cap RETURNING *) INSERT INTO cap SELECT 10, b, v FROM gone;
SELECT key FROM taken('cap');
SET session_replication_role = replica;
UPDATE cap SET v = 'applied';
RESET session_replication_role;
SELECT key FROM taken('cap');
TRUNCATE cap;										-- what was sent is gone
SELECT op, key FROM taken('cap');
-- of the cascade of a foreign key
CREATE TABLE cap_parent (id int PRIMARY KEY);
CREATE TABLE cap_child (id int PRIMARY KEY, parent int REFERENCES cap_parent ON DELETE CASCADE ON UPDATE CASCADE);
SELECT declare('cap_child', 'cap_child', 'caphook.change', 'capture => ''trigger''') > 0;
INSERT INTO cap_parent VALUES (1), (2);
INSERT INTO cap_child VALUES (11, 1), (12, 2);
SELECT count(*) FROM taken('cap_child');
UPDATE cap_parent SET id = 5 WHERE id = 1;
DELETE FROM cap_parent WHERE id = 2;
SELECT key FROM taken('cap_child');
CREATE TABLE cap_orphan (parent int DEFAULT 0 REFERENCES cap_parent ON DELETE SET NULL ON UPDATE SET DEFAULT, id int PRIMARY KEY);
CREATE TABLE cap_twin (id int PRIMARY KEY REFERENCES cap_parent ON UPDATE CASCADE);
SELECT declare('cap_orphan', 'cap_orphan', 'caphook.change', 'capture => ''trigger''') > 0;
SELECT declare('cap_twin', 'cap_twin', 'caphook.change', 'capture => ''trigger''') > 0;
INSERT INTO cap_parent VALUES (0), (6), (7), (8);
INSERT INTO cap_orphan VALUES (6, 21), (7, 22);
INSERT INTO cap_twin VALUES (8);
SELECT count(*) FROM taken('cap_orphan') UNION ALL SELECT count(*) FROM taken('cap_twin');
DELETE FROM cap_parent WHERE id = 6;
UPDATE cap_parent SET id = id + 10 WHERE id IN (7, 8);
SELECT key FROM taken('cap_orphan');
SELECT key FROM taken('cap_twin');				-- the key itself
TABLE cap_orphan;
-- of a partitioned table, also by its leaf
CREATE TABLE cap_parted (junk int, id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE cap_leaf (v text, id int NOT NULL, junk int);
ALTER TABLE cap_parted ATTACH PARTITION cap_leaf FOR VALUES FROM (0) TO (100);
SELECT declare('cap_parted', 'cap_parted', 'caphook.change', 'capture => ''trigger''') > 0;
CREATE TABLE cap_leaf2 PARTITION OF cap_parted FOR VALUES FROM (100) TO (200);
INSERT INTO cap_parted VALUES (0, 1, 'a'), (0, 101, 'b');
UPDATE cap_leaf SET v = 'leaf';
UPDATE cap_parted SET id = 102 WHERE id = 1;		-- moves
SELECT key FROM taken('cap_parted');

-- a key column that is renamed keeps its name in messages; one that is gone pauses the sync, and nothing else breaks
CREATE TABLE cap_alter (id int PRIMARY KEY, v text);
SELECT declare('cap_alter', 'cap_alter', 'caphook.change', 'capture => ''trigger''') > 0;
INSERT INTO cap_alter VALUES (1);
ALTER TABLE cap_alter RENAME id TO number;
ALTER TABLE cap_alter ALTER number TYPE bigint;
INSERT INTO cap_alter VALUES (2);
SELECT count(*), count(*) FILTER (WHERE o.key ? 'id') AS by_old_name FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'cap_alter' AND o.op = 'change';
BEGIN;
SELECT activate_resume('cap_alter');
ALTER TABLE cap_alter DROP number;
INSERT INTO cap_alter VALUES ('saved');
INSERT INTO cap_alter VALUES ('saved');
COMMIT;
SELECT paused, pause_reason FROM activate.sync WHERE name = 'cap_alter';
SELECT * FROM cap_alter WHERE v = 'saved';
-- NULL keys
CREATE TABLE cap_null (id int, v text);
SELECT declare('cap_null', 'cap_null', 'caphook.change', 'capture => ''trigger''', 'key => ''id''') > 0;
INSERT INTO cap_null VALUES (NULL, 'a'), (NULL, 'b'), (1, 'c');
UPDATE cap_null SET v = 'd' WHERE id IS NULL;
UPDATE cap_null SET id = 2 WHERE v = 'c';
UPDATE cap_null SET id = NULL WHERE id = 2;
DELETE FROM cap_null WHERE v = 'd';
SELECT key FROM taken('cap_null');
SELECT r.key, r.op, r.code, r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'cap_null';

-- what cannot be captured by trigger
CREATE VIEW cap_view AS SELECT * FROM cap;
CREATE MATERIALIZED VIEW cap_matview AS SELECT * FROM cap;
\set SHOW_CONTEXT never
SELECT activate_sync('no', 'cap_view', 'caphook.change', key => 'a, b', capture => 'trigger');
\echo :LAST_ERROR_SQLSTATE
SELECT activate_sync('no', 'cap_matview', 'caphook.change', key => 'a, b', capture => 'trigger');
\echo :LAST_ERROR_SQLSTATE
SELECT activate_sync('no', 'SELECT * FROM cap', 'caphook.change', key => 'a, b', capture => 'trigger');
\echo :LAST_ERROR_SQLSTATE
SELECT activate_sync('no', 'caphook.change', 'caphook.change', capture => 'trigger', mode => 'append');
\echo :LAST_ERROR_SQLSTATE
CREATE ROLE regress_cap;
GRANT CREATE ON SCHEMA public TO regress_cap;
GRANT USAGE ON FOREIGN SERVER caphook TO regress_cap;
GRANT USAGE ON SCHEMA caphook TO regress_cap;
GRANT INSERT ON caphook.change TO regress_cap;
GRANT SELECT ON cap TO regress_cap;
SET ROLE regress_cap;
SELECT activate_sync('no', 'cap', 'caphook.change', capture => 'trigger');
\echo :LAST_ERROR_SQLSTATE
CREATE TRIGGER mine AFTER INSERT ON cap FOR EACH ROW EXECUTE FUNCTION activate._capture('1');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT activate._capture();
\echo :LAST_ERROR_SQLSTATE
CREATE TRIGGER wrong BEFORE INSERT ON cap FOR EACH ROW EXECUTE FUNCTION activate._capture('1');
INSERT INTO cap VALUES (1, 'x', 'v');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER wrong ON cap;
-- another mode, another capture: the triggers follow
SELECT activate_sync('cap', 'cap', 'caphook.change', capture => 'diff') > 0;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cap'::regclass;
SELECT activate_sync('cap', 'cap', 'caphook.change', capture => 'trigger') > 0;
SELECT regexp_replace(tgname, '[0-9]+', 'N') AS name, tgenabled AS always FROM pg_trigger WHERE tgrelid = 'cap'::regclass ORDER BY 1;

--
-- diff: one table of SEMANTICS 1 per mode
--
CREATE TABLE cap_src (id int PRIMARY KEY, v text);
CREATE TABLE cap_steps (n serial, mode text, step text, run text, sent text);
CREATE PROCEDURE cap_mode(mode text) LANGUAGE plpgsql AS $$
DECLARE
	steps text[] := ARRAY[
		'two rows', 'INSERT INTO cap_src VALUES (1, ''a''), (2, ''a'')', 'unchanged', 'SELECT',
		'differs', 'UPDATE cap_src SET v = ''b'' WHERE id = 1', 'one more', 'INSERT INTO cap_src VALUES (3, ''a'')',
		'gone', 'DELETE FROM cap_src WHERE id = 2', 'full', 'SELECT'];
BEGIN
	PERFORM declare('cap_mode', 'cap_src', 'caphook.change', format('mode => %L', mode), 'options => ''{"max_delete_percent": 50}''');
	FOR i IN 1..array_length(steps, 1) BY 2 LOOP
		EXECUTE steps[i + 1];
		INSERT INTO cap_steps (mode, step, run) SELECT cap_mode.mode, steps[i], run('cap_mode', steps[i] = 'full');
		COMMIT;
		-- another run finds everything pending
		PERFORM activate_run('cap_mode');
		COMMIT;
		UPDATE cap_steps s SET sent = (SELECT string_agg(concat_ws(' ', t.op, t.key ->> 'id', t.body ->> 'v', t.flags), ', ' ORDER BY t.key)
			FROM taken('cap_mode') t) WHERE s.mode = cap_mode.mode AND s.step = steps[i];
		COMMIT;
	END LOOP;
	PERFORM activate_drop('cap_mode');
	DELETE FROM cap_src;
END
$$;
CALL cap_mode('upsert');
CALL cap_mode('insert');
CALL cap_mode('update');
CALL cap_mode('mirror');
CALL cap_mode('append');
CALL cap_mode('replace');
SELECT mode, step, run, sent FROM cap_steps ORDER BY n;
DROP PROCEDURE cap_mode;
DROP TABLE cap_steps;

-- the deletes of a run are counted against what was sent: guarantee 8
SELECT declare('limited', 'cap_src', 'caphook.change', 'mode => ''mirror''') > 0;
INSERT INTO cap_src SELECT g, 'a' FROM generate_series(1, 100) g;
SELECT run('limited');
SELECT count(*) FROM taken('limited');
DELETE FROM cap_src WHERE id <= 20;
SELECT run('limited');							-- 20 of 100: allowed
SELECT count(*), min(flags) AS flags FROM taken('limited');
DELETE FROM cap_src WHERE id <= 37;
UPDATE cap_src SET v = 'b' WHERE id = 100;
SELECT run('limited');							-- 17 of 80: over
SELECT op, flags, count(*) FROM taken('limited') GROUP BY 1, 2 ORDER BY 1;
SELECT run('limited');							-- still
UPDATE cap_src SET v = 'c' WHERE id = 99;
SELECT run('limited', true);					-- the yes; nothing is repeated
SELECT op, flags, count(*) FROM taken('limited') GROUP BY 1, 2 ORDER BY 1;
DELETE FROM cap_src WHERE id <= 46;
SELECT run('limited');							-- 9 of 63: below 10 and below 20 %
SELECT op, flags, count(*) FROM taken('limited') GROUP BY 1, 2 ORDER BY 1;
DELETE FROM cap_src;
SELECT run('limited');							-- everything
SELECT op, flags, count(*) FROM taken('limited') GROUP BY 1, 2 ORDER BY 1;
DELETE FROM activate._outbox o USING activate.sync s WHERE s.id = o.sync AND s.name = 'limited';
INSERT INTO cap_src SELECT g, 'a' FROM generate_series(70, 98) g;
SELECT declare('limited', 'cap_src', 'caphook.change', 'mode => ''mirror''', 'options => ''{"max_delete_percent": 50}''') > 0;
SELECT run('limited');							-- 25 of 54
SELECT op, flags, count(*) FROM taken('limited') GROUP BY 1, 2 ORDER BY 1;
SELECT activate_drop('limited');
TRUNCATE cap_src;

-- keys that are NULL or not unique: the others pass, and no rejection is written twice
CREATE TABLE cap_bad (id int, v text);
INSERT INTO cap_bad VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd'), (NULL, 'e'), (3, 'f');
SELECT declare('bad', 'cap_bad', 'caphook.change', 'key => ''id''') > 0;
SELECT run('bad');
SELECT run('bad');
SELECT key FROM taken('bad', false) ORDER BY key;
SELECT r.key, r.op, r.code, r.reason, count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'bad' GROUP BY 1, 2, 3, 4 ORDER BY 1;
DELETE FROM cap_bad WHERE v IN ('c', 'd', 'e');
SELECT run('bad');
SELECT key FROM taken('bad');
SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'bad';
UPDATE cap_bad SET id = 7;
SELECT run('bad');
\echo :LAST_ERROR_SQLSTATE
-- a key that the target refused is tried again when its content changes, or by full
UPDATE cap_bad SET id = ascii(v), v = v || '!';
SELECT run('bad');
SELECT count(*) FROM taken('bad', false);
INSERT INTO activate.rejection (sync, key, op, code, reason, hash)
SELECT s.id, '{"id": 97}', 'upsert', '422', 'no', activate._row_hash(b) FROM activate.sync s, cap_bad b WHERE s.name = 'bad' AND b.id = 97;
SELECT run('bad');
SELECT key FROM taken('bad', false) ORDER BY key;
SELECT run('bad', true);
SELECT key, flags FROM taken('bad', false) ORDER BY key;
UPDATE cap_bad SET v = 'other' WHERE id = 97;
SELECT run('bad');
SELECT key FROM taken('bad', false) ORDER BY key;

-- options.backfill = false: what is there counts as known
INSERT INTO cap_src VALUES (1, 'a'), (2, 'a');
SELECT declare('quiet', 'cap_src', 'caphook.change', 'options => ''{"backfill": false}''') > 0;
SELECT run('quiet');
INSERT INTO cap_src VALUES (3, 'a');
UPDATE cap_src SET v = 'b' WHERE id = 2;
SELECT run('quiet');
SELECT key FROM taken('quiet') ORDER BY key;
SELECT declare('quiet2', 'cap_src', 'caphook.change', 'mode => ''append''', 'options => ''{"backfill": false}''') > 0;
SELECT run('quiet2');
INSERT INTO cap_src VALUES (4, 'a');
SELECT run('quiet2');
SELECT op, key, body FROM taken('quiet2');
TRUNCATE cap_src;

-- a trigger's first run is the backfill, later ones repair what it could not see
INSERT INTO cap_src VALUES (1, 'a'), (2, 'a');
SELECT declare('repair', 'cap_src', 'caphook.change', 'capture => ''trigger''') > 0;
INSERT INTO cap_src VALUES (3, 'a');
SELECT run('repair');
SELECT key FROM taken('repair') ORDER BY key;
ALTER TABLE cap_src DISABLE TRIGGER ALL;
UPDATE cap_src SET v = 'b' WHERE id = 1;
SELECT run('repair');
SELECT key FROM taken('repair');
-- capture full: everything, each run, but not twice while it is pending
SELECT declare('everything', 'cap_src', 'caphook.change', 'capture => ''full''') > 0;
SELECT run('everything');
SELECT run('everything');
SELECT key, flags FROM taken('everything') ORDER BY key;
SELECT run('everything');

-- append by trigger: the image at each change; a failing row is rejected, not the statement
CREATE TABLE cap_event (id int, v text, n int);
SELECT declare('event', 'cap_event', 'caphook.change', 'capture => ''trigger''', 'mode => ''append''',
	'map => ''{"v": "upper(v)", "share": "100 / n"}''', 'options => ''{"where": "v <> ''''secret''''"}''') > 0;
INSERT INTO cap_event VALUES (1, 'a', 4);
INSERT INTO cap_event VALUES (2, 'b', 0), (3, 'c', 5), (4, 'secret', 5);
BEGIN;
UPDATE cap_event SET v = 'd' WHERE id = 3;
UPDATE cap_event SET v = 'e' WHERE id = 3;
DELETE FROM cap_event WHERE id = 3;
COMMIT;
SELECT op, key, body FROM taken('event');
SELECT r.op, r.code, r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'event';
DELETE FROM cap_event WHERE id = 2;
SELECT run('event');							-- knows what was captured
-- a version that another trigger deletes or changes before ours sees it: never silently
CREATE FUNCTION cap_before_us() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.v = 'eaten' THEN DELETE FROM cap_event WHERE id = NEW.id;
	ELSIF NEW.v = 'first' THEN UPDATE cap_event SET v = 'changed' WHERE v = 'second'; END IF;
	RETURN NULL; END $$;
CREATE TRIGGER a_before_us AFTER INSERT ON cap_event FOR EACH ROW EXECUTE FUNCTION cap_before_us();
INSERT INTO cap_event VALUES (5, 'eaten', 1), (6, 'first', 1), (7, 'second', 1), (8, 'secret', 1);
SELECT op, key, body FROM taken('event');
SELECT r.op, r.code, r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'event' AND r.code = 'row_changed';
DROP TRIGGER a_before_us ON cap_event;
DROP FUNCTION cap_before_us;
-- a key that is longer than an index row
CREATE TABLE cap_long (id text, v int);
SELECT declare('long', 'cap_long', 'caphook.change', 'capture => ''trigger''', 'mode => ''append''', 'key => ''id''') > 0;
INSERT INTO cap_long SELECT string_agg(sha256(i::text::bytea)::text, ''), 1 FROM generate_series(1, 200) i;
SELECT length(key->>'id'), body->'v' AS v FROM taken('long');
SELECT run('long');								-- knows it
-- what was known of a table before it changed is not kept, even in one transaction
SELECT count(*) AS contexts FROM pg_backend_memory_contexts WHERE name = 'activate capture' \gset
DO $$ BEGIN
	FOR i IN 1..20 LOOP
		ALTER TABLE cap_long ALTER v SET STATISTICS 10;
		INSERT INTO cap_long VALUES (i::text, 2);
	END LOOP;
END $$;
SELECT count(*) - :contexts < 10 AS freed FROM pg_backend_memory_contexts WHERE name = 'activate capture';
-- the owner is gone: a cast of the key's type does not run as the writer
CREATE ROLE regress_cap_gone;
GRANT USAGE ON FOREIGN SERVER caphook TO regress_cap_gone;
GRANT USAGE ON SCHEMA caphook TO regress_cap_gone;
GRANT INSERT ON caphook.change TO regress_cap_gone;
CREATE TYPE cap_cast AS ENUM ('one', 'two');
CREATE FUNCTION cap_cast_json(cap_cast) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'cast by %', current_user; RETURN to_json('x'::text); END $$;
CREATE CAST (cap_cast AS json) WITH FUNCTION cap_cast_json(cap_cast);
CREATE TABLE cap_casts (id cap_cast PRIMARY KEY);
GRANT SELECT, TRIGGER ON cap_casts TO regress_cap_gone;
SET ROLE regress_cap_gone;
SELECT activate_sync('casts', 'cap_casts', 'caphook.change', capture => 'trigger') > 0;
SELECT activate_pause('casts');
RESET ROLE;
SET client_min_messages = notice;
INSERT INTO cap_casts VALUES ('one');
DROP OWNED BY regress_cap_gone;
DROP ROLE regress_cap_gone;
INSERT INTO cap_casts VALUES ('two');
SET client_min_messages = warning;
SELECT activate_drop('casts');
DROP TABLE cap_casts;
DROP TYPE cap_cast CASCADE;
-- a deferred constraint stays deferred while rows are rendered
CREATE TABLE cap_defer (id int PRIMARY KEY, up int REFERENCES cap_defer DEFERRABLE INITIALLY DEFERRED);
GRANT SELECT, TRIGGER ON cap_defer TO regress_cap;
SET ROLE regress_cap;
BEGIN;
SELECT activate_sync('defer', 'cap_defer', 'caphook.change', capture => 'trigger', mode => 'append') > 0;
SELECT activate_pause('defer');
COMMIT;
RESET ROLE;
BEGIN;
INSERT INTO cap_defer VALUES (1, 2);
INSERT INTO cap_defer VALUES (2, 1);
COMMIT;
SELECT key, body FROM taken('defer');

-- without a key, rows are told apart by content and count
CREATE TABLE cap_log (v text, at timestamptz);
INSERT INTO cap_log VALUES ('a', '2026-01-01 00:00+00'), ('a', '2026-01-01 00:00+00'), ('b', '2026-01-02 00:00+00');
SELECT declare('log', 'cap_log', 'caphook.change', 'mode => ''append''') > 0;
SELECT run('log');
SELECT run('log');
INSERT INTO cap_log VALUES ('a', '2026-01-01 00:00+00');
SELECT run('log');
SELECT op, key, body FROM taken('log') ORDER BY 3;

--
-- cursor: rows that share the watermark are neither skipped nor read for ever
--
SELECT declare('cur', 'cap_log', 'caphook.change', 'mode => ''append''', 'capture => ''cursor''', 'options => ''{"cursor": "at"}''') > 0;
SELECT run('cur');
SELECT run('cur');
INSERT INTO cap_log VALUES ('c', '2026-01-02 00:00+00'), ('late', '2026-01-01 12:00+00'), ('never', NULL), ('a', '2026-01-03 00:00+00');
SELECT run('cur');
SELECT body ->> 'v' AS v, body ->> 'at' AS at FROM taken('cur') ORDER BY 2, 1;
SELECT w.value, (SELECT count(*) FROM activate._seen g WHERE g.sync = s.id) AS marks FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = 'cur';
SELECT run('cur', true);
SELECT count(*) FROM taken('cur');
CREATE TABLE cap_doc (id int PRIMARY KEY, v text, rev bigint);
INSERT INTO cap_doc VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 2);
SELECT declare('doc', 'cap_doc', 'caphook.change', 'capture => ''cursor''', 'options => ''{"cursor": "rev"}''') > 0;
SELECT run('doc');
SELECT key FROM taken('doc') ORDER BY key;
SELECT run('doc');
UPDATE cap_doc SET v = 'z';						-- seen where the watermark is
DELETE FROM cap_doc WHERE id = 3;				-- never seen
INSERT INTO cap_doc VALUES (4, 'd', 2), (5, 'e', 9);
SELECT run('doc');
SELECT key FROM taken('doc') ORDER BY key;
SELECT value FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = 'doc';
-- another map: the next run sends what differs, also of what the cursor has passed; another cursor: it begins anew
SELECT declare('doc', 'cap_doc', 'caphook.change', 'capture => ''cursor''', 'options => ''{"cursor": "rev", "batch": 5}''') > 0;
SELECT run('doc');
SELECT declare('doc', 'cap_doc', 'caphook.change', 'capture => ''cursor''', 'options => ''{"cursor": "rev"}''', 'map => ''{"id": "id", "v": "upper(v)", "rev": "rev"}''') > 0;
SELECT run('doc');
SELECT key FROM taken('doc', false) ORDER BY key;
SELECT declare('doc', 'cap_doc', 'caphook.change', 'capture => ''cursor''', 'options => ''{"cursor": "v"}''') > 0;
SELECT run('doc');
SELECT value FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = 'doc';
-- lag: rows that arrive late
SELECT declare('lag', 'cap_log', 'caphook.change', 'mode => ''append''', 'capture => ''cursor''', 'options => ''{"cursor": "at", "lag": "12 hours"}''') > 0;
SELECT run('lag');
SELECT count(*) FROM taken('lag');
INSERT INTO cap_log VALUES ('in time', '2026-01-02 12:00+00'), ('too late', '2026-01-02 11:59+00');
SELECT run('lag');
SELECT body ->> 'v' AS v FROM taken('lag');
-- columns may have the names of our aliases
CREATE TABLE cap_names (x int, k int, q int, c text, key text, PRIMARY KEY (x, k));
INSERT INTO cap_names VALUES (1, 2, 3, 'c', 'key');
SELECT declare('names', 'cap_names', 'caphook.change', 'mode => ''mirror''') > 0;
SELECT run('names');
SELECT key FROM taken('names', false);
SELECT declare('names2', 'cap_names', 'caphook.change', 'mode => ''append''', 'capture => ''trigger''') > 0;
INSERT INTO cap_names VALUES (2, 2, 3, 'c', 'key');
SELECT run('names2');
SELECT key, body FROM taken('names2') ORDER BY key;

--
-- as an ordinary role: it sees its own bookkeeping, by joins that stand the size of it
--
SET ROLE regress_cap;
CREATE TABLE cap_mine AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 3000) g;
BEGIN;
SELECT activate_sync('mine', 'cap_mine', 'caphook.change', key => 'id', mode => 'mirror') > 0;
SELECT activate_pause('mine');
COMMIT;
SELECT run('mine');
SELECT run('mine');
RESET ROLE;
CREATE FUNCTION cap_joins(sync_name text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	s activate.sync;
	line text;
BEGIN
	SELECT y.* INTO s FROM activate.sync y WHERE y.name = sync_name;
	line := activate._plan_sql(s.id, 'SELECT id AS k1, id AS v1, v AS v2 FROM public.cap_mine', false, false, true, true, false);
	SET LOCAL ROLE regress_cap;
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || line LOOP
		IF line ~ '(Join|Nested Loop)' THEN
			RETURN NEXT regexp_replace(line, '^ *(->)? *', '');
		END IF;
	END LOOP;
	RESET ROLE;
END
$$;
SELECT cap_joins('mine');	-- and a loop over what is in a row of the outbox, twice
DROP TABLE cap_mine;
SELECT activate_run('mine');
\echo :LAST_ERROR_SQLSTATE

-- nothing is left behind
SELECT count(activate_drop(name)) AS dropped FROM activate.sync WHERE target = 'caphook.change';
SELECT count(*) FROM pg_trigger t WHERE t.tgname LIKE 'activate%' AND t.tgrelid::regclass::text LIKE 'cap%';
SELECT count(*) FROM (SELECT sync FROM activate._seen UNION ALL SELECT sync FROM activate._watermark UNION ALL SELECT sync FROM activate._outbox
	UNION ALL SELECT sync FROM activate._sent UNION ALL SELECT sync FROM activate.rejection) x WHERE sync NOT IN (SELECT id FROM activate.sync);
DROP TABLE cap, cap_alter, cap_bad, cap_child, cap_orphan, cap_twin, cap_parent, cap_parted, cap_defer, cap_doc, cap_event, cap_kinds, cap_log, cap_long, cap_names, cap_null, cap_src CASCADE;
DROP FUNCTION cap_joins, cap_key, declare, last_run, run, taken;
DROP TYPE cap_mood, cap_pair, cap_positive;
DROP SERVER caphook CASCADE;
DROP SCHEMA caphook;
DROP OWNED BY regress_cap;
DROP ROLE regress_cap;
