-- Every mode into local and foreign tables: by difference, exactly, and nothing else is touched.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
RESET client_min_messages;
CREATE SCHEMA "Load Diff";
SET search_path = "Load Diff", public;
SET timezone = 'UTC';
DO $$ BEGIN EXECUTE format('CREATE SERVER load_diff FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %L, port %L, dbname %L)',
	split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()); END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER load_diff;

CREATE TABLE "The Source" ("Key" int, "sub ""key""" text, "A" text, num numeric, at timestamptz, day date, span interval, tags text[], "doc" jsonb, raw bytea, code char(4), f float8, r int4range,
	PRIMARY KEY ("Key", "sub ""key"""));
-- 1 is missing in the target, 2 differs, 3 is the same
INSERT INTO "The Source" VALUES
	(1, 'a', NULL, 'NaN', 'infinity', '-infinity', '1 mon -3 days', '{NULL,"",x,"{}"}', '{"a": [1.00, null], "é": "\u00fc"}', '\x00ff', 'ab', 'NaN', '[1,5)'),
	(2, '', 'it''s', 1.50, '2026-03-29 01:30:00.123456+00', '0044-03-15 BC', '0', '{{1,2},{3,4}}', 'null', '', '', '-Infinity', 'empty'),
	(3, 'ü "q" \', '', 12345678901234567890123456789.000001, '-infinity', 'infinity', NULL, '{}', '[]', NULL, NULL, 1e-320, NULL);
INSERT INTO "The Source" SELECT i, 'bulk', 'x' || i, i / 7.0, now(), NULL, NULL, ARRAY[i::text], NULL, NULL, 'c', i / 3.0, NULL FROM generate_series(10, 30) i;

-- the targets have more than the sync fills
CREATE TABLE seen (target text, op text, key text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO "Load Diff".seen VALUES (TG_TABLE_NAME, TG_OP, coalesce(NEW."Key", OLD."Key")::text); RETURN NULL; END $$;
CREATE FUNCTION truncated() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a target was truncated'; END $$;
CREATE TABLE cases AS SELECT kind, mode, format('%s %s', kind, mode) AS name, format('t %s %s', kind, mode) AS tab,
	CASE WHEN kind = 'foreign' THEN format('f %s', mode) ELSE format('t %s %s', kind, mode) END AS target
  FROM unnest('{local,foreign}'::text[]) WITH ORDINALITY k(kind, a), unnest('{upsert,insert,update,mirror,replace,append}'::text[]) WITH ORDINALITY m(mode, b) ORDER BY a, b;
-- A statement per case, <tab> and so on replaced; what it returns, if anything.
CREATE FUNCTION each(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c cases;
	line text;
BEGIN
	FOR c IN SELECT * FROM cases LOOP
		FOR line IN EXECUTE replace(replace(replace(replace(statement, '<tab>', quote_ident(c.tab)), '<target>', quote_ident(c.target)),
				'<mode>', quote_literal(c.mode)), '<name>', quote_literal(c.name)) LOOP
			IF line IS NOT NULL THEN RETURN NEXT c.name || ': ' || line; END IF;
		END LOOP;
	END LOOP;
END $$;
CREATE FUNCTION make(statement text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE statement; RETURN NULL; END $$;
SELECT each($$SELECT make('CREATE TABLE <tab> (LIKE "The Source", serial bigint GENERATED ALWAYS AS IDENTITY,
	twice numeric GENERATED ALWAYS AS (num * 2) STORED, made text DEFAULT ''default'')')$$);
SELECT each($$SELECT make('ALTER TABLE <tab> ADD PRIMARY KEY ("Key", "sub ""key""")') WHERE <mode> <> 'append'$$);
SELECT each($$SELECT make(format('CREATE FOREIGN TABLE <target> ("Key" int, "sub ""key""" text, "A" text, num numeric, at timestamptz, day date, span interval,
	tags text[], doc jsonb, raw bytea, code char(4), f float8, r int4range) SERVER load_diff OPTIONS (schema_name ''Load Diff'', table_name %L)',
	trim('"' FROM '<tab>'))) WHERE '<tab>' <> '<target>'$$);
SELECT each($$INSERT INTO <tab> ("Key", "sub ""key""", "A", num, at, day, span, tags, doc, raw, code, f, r, made)
	SELECT s.*, 'kept' FROM "The Source" s WHERE "Key" > 1 RETURNING NULL$$);
SELECT each($$INSERT INTO <tab> ("Key", "sub ""key""", made) VALUES (99, 'gone', 'kept') RETURNING NULL$$);
SELECT each($$UPDATE <tab> SET num = 1.5, "A" = 'other' WHERE "Key" = 2 RETURNING NULL$$);
SELECT each($$SELECT make('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON <tab> FOR EACH ROW EXECUTE FUNCTION note()')$$);
SELECT each($$SELECT make('CREATE TRIGGER truncated BEFORE TRUNCATE ON <tab> EXECUTE FUNCTION truncated()')$$);
CREATE VIEW downstream AS SELECT "Key", made FROM "t local replace";
SET client_min_messages = error;
CREATE PUBLICATION load_diff FOR TABLE "t local replace";
SET client_min_messages = warning;
CREATE TABLE before (tab text, key int, version xid, node oid);
SELECT each($$INSERT INTO before SELECT '<tab>', t."Key", t.xmin, pg_relation_filenode('<tab>') FROM <tab> t RETURNING NULL$$);
\set ECHO none
-- each in a transaction of its own: the other server's session sees what is committed
SELECT format('DO $d$ BEGIN PERFORM activate_sync(%L, %L, %L, key => CASE WHEN mode <> ''append'' THEN %L END, mode => mode) FROM cases WHERE name = %1$L; END $d$', name, '"The Source"', quote_ident(target), '"Key", "sub ""key"""') FROM cases \gexec
SELECT format('DO $d$ BEGIN PERFORM activate_run(%L); END $d$', name) FROM cases \gexec
\set ECHO all

-- what each run says, and what triggers saw: the rows that changed and no others
SELECT s.name, r.status, rows_read, rows_inserted, rows_updated, rows_deleted, n.seen
  FROM activate.run r JOIN activate.sync s ON s.id = r.sync JOIN cases c USING (name)
 CROSS JOIN LATERAL (SELECT string_agg(op || ' ' || key, ', ' ORDER BY op, key) AS seen FROM seen WHERE target = c.tab) n ORDER BY r.id;
-- every row that a run wrote is what the source has, to the byte: nothing is told here
SELECT each($$SELECT t."Key" || ' differs' FROM "The Source" s JOIN <tab> t USING ("Key", "sub ""key""")
	WHERE s.*::text <> (SELECT x FROM (SELECT t."Key", t."sub ""key""", t."A", t.num, t.at, t.day, t.span, t.tags, t.doc, t.raw, t.code, t.f, t.r) x)::text
		AND NOT (<mode> IN ('insert', 'append') AND t.made = 'kept')$$);
-- columns that are not the sync's: defaults, identity, generated
SELECT each($$SELECT format('%s rows, %s of them from before, serial %s, twice %s', count(*), count(*) FILTER (WHERE made = 'kept'),
	count(DISTINCT serial) = count(*), bool_and(twice IS NOT DISTINCT FROM num * 2)) FROM <tab>$$);
-- rows that do not differ were not written, no table has another file: nothing is told here
SELECT each($$SELECT b.key || ' was written' FROM before b JOIN <tab> t ON b.key = t."Key" AND t.made = 'kept'
	WHERE b.tab = '<tab>' AND b.key > 2 AND b.version <> t.xmin$$);
SELECT DISTINCT tab FROM before b WHERE node <> pg_relation_filenode(tab::regclass);
SELECT count(*) AS unchanged_before FROM before WHERE key > 2;
-- what hangs on a replaced table lives on
SELECT count(*), min("Key"), max("Key") FROM downstream;
SELECT tablename FROM pg_publication_tables WHERE pubname = 'load_diff';
-- a second run of each finds nothing
\set ECHO none
SELECT format('DO $d$ BEGIN PERFORM activate_run(%L); END $d$', name) FROM cases \gexec
\set ECHO all
SELECT s.name FROM activate.sync s JOIN cases c USING (name) CROSS JOIN LATERAL (SELECT * FROM activate.run r WHERE r.sync = s.id ORDER BY r.id DESC LIMIT 1) r
 WHERE r.rows_inserted + r.rows_updated + r.rows_deleted <> 0 OR r.status <> 'succeeded';

-- a created target: the key is the primary key, the owner the sync's
CREATE ROLE load_diff_owner;
GRANT USAGE, CREATE ON SCHEMA "Load Diff" TO load_diff_owner;
GRANT SELECT ON "The Source" TO load_diff_owner;
SET ROLE load_diff_owner;
SELECT activate_sync('diff created', '"The Source"', '"Made Here"', key => '"Key", "sub ""key"""') > 0 AS declared;
SELECT activate_sync('diff query', 'SELECT "Key" AS "K K", num FROM "The Source"', '"Made Query"', key => '"K K"', mode => 'replace') > 0 AS declared;
SELECT activate_run('diff created') > 0 AS run;
RESET ROLE;
SELECT c.relname, r.rolname, pg_get_constraintdef(p.oid) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner JOIN pg_constraint p ON p.conrelid = c.oid
 WHERE c.relname LIKE 'Made%' AND p.contype = 'p' ORDER BY 1;
SELECT count(*) AS different FROM "The Source" s FULL JOIN "Made Here" m USING ("Key", "sub ""key""") WHERE s.*::text IS DISTINCT FROM m.*::text;

-- a unique constraint that the load violates: a clear error, nothing half done, and the run of a runner failed
CREATE TABLE strict (id int PRIMARY KEY, email text UNIQUE);
INSERT INTO strict VALUES (1, 'a'), (2, 'b');
CREATE TABLE people (id int PRIMARY KEY, email text);
INSERT INTO people VALUES (1, 'changed'), (2, 'b'), (3, 'b');
SELECT activate_sync('diff strict', 'people', 'strict', mode => 'mirror') > 0 AS declared;
SELECT activate_run('diff strict');
TABLE strict ORDER BY id;
SELECT count(*) AS runs FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'diff strict';
-- values that trade places: one statement, in any order
CREATE TABLE trade (id int PRIMARY KEY, email text UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
INSERT INTO trade VALUES (1, 'a'), (2, 'b');
UPDATE people SET email = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'a' ELSE 'c' END;
SELECT activate_sync('diff trade', 'people', 'trade') > 0 AS declared;
SELECT activate_run('diff trade') > 0 AS run;
TABLE trade ORDER BY id;

-- DELETE, UPDATE, INSERT, in this order: a unique value goes from one row to another, whatever the way
SELECT kind, CASE kind WHEN 'local' THEN 'pass on' ELSE 'far pass on' END AS target INTO passes FROM unnest('{local,foreign}'::text[]) kind;
CREATE TABLE "pass on" (id int PRIMARY KEY, email text UNIQUE);
CREATE TABLE "far pass" (LIKE "pass on" INCLUDING ALL);
CREATE FOREIGN TABLE "far pass on" (id int, email text) SERVER load_diff OPTIONS (schema_name 'Load Diff', table_name 'far pass');
INSERT INTO "pass on" VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
INSERT INTO "far pass" TABLE "pass on";
CREATE TABLE passing (id int PRIMARY KEY, email text);
INSERT INTO passing VALUES (2, 'a'), (3, 'new'), (4, 'd'), (5, 'b'), (6, 'c');
SELECT activate_sync('diff pass ' || kind, 'passing', quote_ident(target), key => 'id', mode => 'mirror', options => '{"min_deletes": 100}') > 0 AS declared FROM passes;
\set ECHO none
SELECT format('DO $d$ BEGIN PERFORM activate_run(%L); END $d$', 'diff pass ' || kind) FROM passes \gexec
\set ECHO all
SELECT (SELECT string_agg(id || email, ' ' ORDER BY id) FROM "pass on") AS local, (SELECT string_agg(id || email, ' ' ORDER BY id) FROM "far pass") AS "foreign";
CREATE TABLE "pass bag" (v text, n int UNIQUE);
INSERT INTO "pass bag" VALUES ('old', 1), ('same', 2);
CREATE TABLE bagging (v text, n int);
INSERT INTO bagging VALUES ('new', 1), ('same', 2);
SELECT activate_sync('diff pass bag', 'bagging', '"pass bag"', mode => 'replace') > 0 AS declared;
SELECT activate_run('diff pass bag') > 0 AS run;
TABLE "pass bag" ORDER BY n;

-- replace without a key: the difference of two bags
CREATE TABLE bag (v text, n numeric, extra int DEFAULT 7);
INSERT INTO bag VALUES ('same', 1.0, 1), ('same', 1.0, 2), ('gone', NULL, 3), (NULL, 'NaN', 4);
CREATE TABLE bag_source (v text, n numeric);
INSERT INTO bag_source VALUES ('same', 1.0), (NULL, 'NaN'), ('new', 1.00), ('new', 1.00);
SELECT activate_sync('diff bag', 'bag_source', 'bag', mode => 'replace') > 0 AS declared;
SELECT activate_run('diff bag') > 0 AS run;
SELECT v, n, extra IN (1, 2) AS one_of_two, extra FROM bag WHERE v IS DISTINCT FROM 'same' UNION ALL SELECT v, n, extra IN (1, 2), NULL FROM bag WHERE v = 'same' ORDER BY 1, 2, 4;
SELECT rows_inserted, rows_deleted FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'diff bag';

-- more columns than a function has arguments; values that are equal, but not to the bit
\set ECHO none
SELECT format('CREATE TABLE broad (id int PRIMARY KEY, %s)', string_agg(format('c%s numeric', i), ', ' ORDER BY i)) FROM generate_series(1, 120) i \gexec
\set ECHO all
INSERT INTO broad (id, c1, c60, c120) SELECT i, 0, 0, 0 FROM generate_series(1, 4) i;
CREATE TABLE broad_source AS TABLE broad;
UPDATE broad_source SET c1 = 1 WHERE id = 2;
UPDATE broad_source SET c120 = 0.0 WHERE id = 3;
UPDATE broad_source SET c60 = NULL, c61 = 5 WHERE id = 4;
INSERT INTO broad_source VALUES (5);
SELECT activate_sync('diff broad', 'broad_source', 'broad') > 0 AS declared, activate_run('diff broad') > 0 AS run;
SELECT id, c1, c60, c61, c120 FROM broad ORDER BY id;
SELECT rows_read, rows_inserted, rows_updated FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'diff broad';
SELECT activate._differs(1, 1, NULL::text, NULL::text) AS same, activate._differs('a'::text, NULL::text) AS is_null, activate._differs(repeat('x', 100000), repeat('x', 100000)) AS long;
SELECT activate._differs(1);
SELECT activate._differs(1, 1::bigint);
SELECT activate._differs(VARIADIC ARRAY[1, 2]);

-- keys that come twice are found while they are read, or by SQL where that cannot be known: no room to note them, a type without a hash
SET work_mem = '64kB';
SET hash_mem_multiplier = 1;
CREATE TABLE many_keys AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 5000) i;
INSERT INTO many_keys VALUES (4999, 'again'), (NULL, 'none');
CREATE TABLE many_kept (id int PRIMARY KEY, v text);
INSERT INTO many_kept VALUES (0, 'there');
SELECT activate_sync('diff many', 'many_keys', 'many_kept', key => 'id') > 0 AS declared, activate_run('diff many') > 0 AS run;
SELECT count(*) FROM many_kept;
SELECT r.key, r.code, r.attempts FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'diff many' ORDER BY r.code;
RESET work_mem;
RESET hash_mem_multiplier;
CREATE TABLE priced (price money, name text COLLATE "C", v int);
INSERT INTO priced VALUES (1, 'a', 1), (1, 'a', 2), (1, 'b', 3), (2, 'a', 4);
CREATE TABLE priced_kept (price money, name text, v int, PRIMARY KEY (price, name));
INSERT INTO priced_kept VALUES (2, 'a', 0);
SELECT activate_sync('diff priced', 'priced', 'priced_kept', key => 'price, name') > 0 AS declared, activate_run('diff priced') > 0 AS run;
SELECT name, v FROM priced_kept ORDER BY v;
SELECT r.key ->> 'name' AS name, r.code FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'diff priced';
-- outside of a run they note nothing, and nothing is known
SELECT activate._take_key(1), activate._take_key(NULL::int), activate._keys_repeat(0);

SELECT count(activate_drop(name)) FROM activate.sync WHERE name LIKE 'diff %' OR name IN (SELECT name FROM cases);
DROP PUBLICATION load_diff;
DROP SERVER load_diff CASCADE;
DROP SCHEMA "Load Diff" CASCADE;
DROP ROLE load_diff_owner;
