-- Runs into tables: by difference with the table itself.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA load_test;
SET search_path = load_test, public;
SET timezone = 'UTC';

-- A run in one line: status, read, inserted, updated, deleted, rejected.
CREATE FUNCTION run(sync text, everything boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r activate.run;
BEGIN
	r.id := public.activate_run(sync, everything);
	SELECT * INTO r FROM activate.run u WHERE u.id = r.id;
	RETURN format('%s: %s read, %s inserted, %s updated, %s deleted, %s rejected', r.status, r.rows_read,
		r.rows_inserted, r.rows_updated, r.rows_deleted, r.rows_rejected);
END $$;

CREATE TABLE customer (id int PRIMARY KEY, email text, code char(4), amount numeric(10, 2), data jsonb, extra json);
INSERT INTO customer SELECT i, 'u' || i, 'a', i * 1.5, jsonb_build_object('i', i), '{"a": 1}' FROM generate_series(1, 20) i;

-- upsert: a missing table is created with the key; what is gone stays
SELECT activate_sync('load upsert', 'customer', 'copy') > 0 AS declared;
\d copy
SELECT run('load upsert');
SELECT run('load upsert');
UPDATE customer SET email = 'new' WHERE id = 3;
UPDATE customer SET amount = NULL WHERE id = 4;
UPDATE customer SET extra = '{"a":1}' WHERE id = 5;
DELETE FROM customer WHERE id = 6;
INSERT INTO customer VALUES (21, 'u21');
SELECT run('load upsert');
SELECT count(*) FILTER (WHERE c.id IS NULL) AS gone, count(*) FILTER (WHERE c IS NOT NULL AND to_jsonb(c) <> to_jsonb(t)) AS different
  FROM copy t LEFT JOIN customer c USING (id);

-- mirror: deletes, but not too many at once
SELECT activate_sync('load mirror', 'customer', 'copy', mode => 'mirror') > 0 AS declared;
SELECT run('load mirror');
DELETE FROM customer WHERE id > 8;
INSERT INTO customer VALUES (30, 'passes');
SELECT run('load mirror');
SELECT count(*) AS kept, count(*) FILTER (WHERE id = 30) AS passed FROM copy;
SELECT run('load mirror', true);
SELECT id FROM copy ORDER BY id;
DELETE FROM customer;
SELECT run('load mirror');
SELECT activate_sync('load mirror', 'customer', 'copy', mode => 'mirror', options => '{"min_deletes": 0, "max_delete_percent": 50}') > 0 AS declared;
INSERT INTO customer VALUES (1, 'one'), (2, 'two'), (3, 'three');
SELECT run('load mirror');
INSERT INTO customer VALUES (4, 'four');
SELECT run('load mirror');

-- replace: the difference, without a limit; triggers downstream see rows, not a truncation
SELECT activate_sync('load replace', 'SELECT id, email FROM customer WHERE id > 3', 'copy', key => 'id', mode => 'replace') > 0 AS declared;
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', TG_OP, coalesce(OLD.id, NEW.id); RETURN NULL; END $$;
CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON copy FOR EACH ROW EXECUTE FUNCTION seen();
SELECT run('load replace');
DROP TRIGGER seen ON copy;

-- insert and update
TRUNCATE customer, copy;
INSERT INTO customer VALUES (1, 'one'), (2, 'two');
INSERT INTO copy VALUES (2, 'other'), (3, 'third');
SELECT activate_sync('load insert', 'customer', 'copy', mode => 'insert') > 0 AS declared;
SELECT run('load insert');
SELECT id, email FROM copy ORDER BY id;
SELECT activate_sync('load update', 'customer', 'copy', mode => 'update') > 0 AS declared;
INSERT INTO customer VALUES (4, 'four');
SELECT run('load update');
SELECT id, email FROM copy ORDER BY id;

-- a model without a key: rows are told apart by their content and how often it comes
CREATE TABLE event (at timestamptz, what text);
INSERT INTO event VALUES ('2026-01-01', 'a'), ('2026-01-01', 'a'), ('2026-01-02', NULL);
SELECT activate_sync('load bag', 'event', 'bag', mode => 'replace') > 0 AS declared;
SELECT run('load bag');
INSERT INTO event VALUES ('2026-01-01', 'a'), ('2026-01-03', '');
DELETE FROM event WHERE at = '2026-01-02';
SELECT run('load bag');
TABLE bag ORDER BY at, what;
SELECT run('load bag');

-- append: an event is never taken back
SELECT activate_sync('load append', 'customer', 'history', mode => 'append') > 0 AS declared;
SELECT run('load append');
UPDATE customer SET email = 'changed' WHERE id = 1;
DELETE FROM customer WHERE id = 2;
SELECT run('load append');
SELECT id, email FROM history ORDER BY id, email;

-- keys that are NULL or not unique: those rows only; a key that is not one at all: the run fails
CREATE TABLE messy (id text, v int);
INSERT INTO messy VALUES ('1', 1), ('2', 2), ('2', 3), (NULL, 4), ('02', 5);
CREATE TABLE clean (id int PRIMARY KEY, v int);
SELECT activate_sync('load messy', 'messy', 'clean', key => 'id', map => '{"id": "id", "v": "v"}') > 0 AS declared;
ALTER TABLE messy ALTER id TYPE int USING id::int;
SELECT activate_run('load messy');
SELECT activate_sync('load messy', 'messy', 'clean', key => 'id') > 0 AS declared;
INSERT INTO clean VALUES (2, 0);
SELECT run('load messy');
SELECT r.key, op, code, reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'load messy' ORDER BY r.key::text;
TABLE clean ORDER BY id;
-- what the source has too often is not gone: mirror keeps it
SELECT activate_sync('load messy', 'messy', 'clean', key => 'id', mode => 'mirror') > 0 AS declared;
SELECT run('load messy');
DELETE FROM messy WHERE v IN (3, 4, 5);
SELECT run('load messy');
SELECT count(*) AS rejections FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'load messy';
UPDATE messy SET id = NULL;
SELECT activate_run('load messy');

-- cursor: reads on from the watermark, skips no ties, stalls on none
CREATE TABLE change (id int, at timestamptz, v text);
INSERT INTO change SELECT i, '2026-01-01'::timestamptz + i / 3 * interval '1 minute', 'v' FROM generate_series(1, 8) i;
SELECT activate_sync('load cursor', 'change', 'latest', key => 'id', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT run('load cursor');
SELECT run('load cursor');
INSERT INTO change VALUES (9, '2026-01-01 00:02', 'tie'), (10, '2026-01-01 00:01', 'too late');
SELECT run('load cursor');
SELECT activate_sync('load cursor', 'change', 'latest', key => 'id', capture => 'cursor', options => '{"cursor": "at", "lag": "1 minute"}') > 0 AS declared;
SELECT run('load cursor');
SELECT run('load cursor', true);
SELECT id, v FROM latest WHERE id > 8 ORDER BY id;
-- append by cursor: rows within the lag are read again and not taken again
SELECT activate_sync('load stream', 'change', 'stream', mode => 'append', capture => 'cursor', options => '{"cursor": "at", "lag": "1 minute"}') > 0 AS declared;
SELECT run('load stream');
SELECT run('load stream');
INSERT INTO change VALUES (9, '2026-01-01 00:02', 'tie'), (11, '2026-01-01 00:01', 'late'), (12, '2026-01-01 00:05', 'new');
SELECT run('load stream');
SELECT run('load stream');
SELECT count(*) FROM stream;
SELECT w.value FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = 'load stream';

-- few rows beside many are looked up by the index of the target's key: the same rows, whatever is wrong with them
CREATE TABLE many (a int, b text, v text, PRIMARY KEY (a, b)) WITH (autovacuum_enabled = off);
INSERT INTO many SELECT i, 'b' || i % 7, 'v' FROM generate_series(1, 20000) i;
CREATE TABLE few (a int, b text, v text) WITH (autovacuum_enabled = off);
INSERT INTO few SELECT a, b, CASE WHEN a % 2 = 0 THEN 'new' ELSE v END FROM many WHERE a % 1000 < 4;
INSERT INTO few VALUES (0, 'b', 'inserted'), (1, NULL, 'no key'), (2, 'b2', 'twice'), (3, 'b3', NULL);
UPDATE few SET v = 'once more' WHERE a = 3 AND v = 'v';
ANALYZE many; ANALYZE few;
SELECT activate_sync('load few', 'few', 'many', key => 'a,b') > 0 AS declared;
SELECT run('load few');
SELECT run('load few');
SELECT v, count(*) FROM many GROUP BY v ORDER BY v;
SELECT r.key, r.code FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'load few' ORDER BY r.key, r.code;
SELECT activate._load_sql(id, 'SELECT a AS k1, b AS k2, a AS v1, b AS v2, v AS v3 FROM few', false, false, false, NULL, NULL, false, few) ~ 'DISTINCT ON \(v1, v2\)' AS in_order
  FROM activate.sync, unnest('{t,f}'::bool[]) few WHERE name = 'load few';

-- into a foreign table: another database that is, for once, this one
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
DO $$ BEGIN EXECUTE format('CREATE SERVER load_server FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()); END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER load_server;
CREATE TABLE remote_copy (id int PRIMARY KEY, email text, code char(4));
CREATE FOREIGN TABLE remote (id int, email text, code char(4)) SERVER load_server OPTIONS (schema_name 'load_test', table_name 'remote_copy');
TRUNCATE customer;
INSERT INTO customer SELECT i, 'u' || i, 'a' FROM generate_series(1, 5) i;
SELECT activate_sync('load foreign', 'customer', 'remote', key => 'id', mode => 'mirror') > 0 AS declared;
SELECT kind FROM activate.sync WHERE name = 'load foreign';
SELECT run('load foreign');
UPDATE customer SET email = 'new' WHERE id = 1;
DELETE FROM customer WHERE id = 2;
INSERT INTO customer VALUES (6, 'u6');
SELECT run('load foreign');
SELECT run('load foreign');
SELECT * FROM remote_copy ORDER BY id;
-- and from one
SELECT activate_sync('load extract', 'remote', 'extracted', key => 'id') > 0 AS declared;
SELECT run('load extract');
SELECT count(*) FROM extracted;
ALTER TABLE remote_copy RENAME email TO mail;
SELECT activate_run('load extract');

SELECT activate_drop(name) FROM activate.sync WHERE name LIKE 'load %' ORDER BY id;
SET client_min_messages = warning;
DROP SERVER load_server CASCADE;
DROP SCHEMA load_test CASCADE;
