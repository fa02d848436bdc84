-- Capture by trigger of partitioned tables: every leaf has its triggers, whoever makes it and however.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
SELECT activate_target('parthook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
CREATE ROLE regress_part;
GRANT CREATE ON SCHEMA public TO regress_part;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_part', current_database()) \gexec
CREATE VIEW part_triggers AS
SELECT t.tgrelid::regclass AS relation, string_agg(CASE WHEN t.tgtype & 32 > 0 THEN 'truncate' ELSE 'row' END
	|| CASE WHEN t.tgenabled = 'A' THEN '' ELSE ' not always' END, ', ' ORDER BY t.tgtype) AS triggers
  FROM pg_trigger t WHERE t.tgfoid = 'activate._capture()'::regprocedure GROUP BY 1;

-- the table's owner, who has no right to ours, makes and removes partitions
SET ROLE regress_part;
CREATE TABLE part (id int, r int, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2) PARTITION BY RANGE (id);
CREATE TABLE part21 PARTITION OF part2 FOR VALUES FROM (0) TO (100);
RESET ROLE;
SELECT activate_sync('part', 'part', 'parthook.change', mode => 'mirror', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('part');
SELECT id AS sync FROM activate.sync WHERE name = 'part' \gset
CREATE VIEW pending AS SELECT o.op, o.key ->> 'r' AS r, o.key ->> 'id' AS id FROM activate.outbox o WHERE o.sync = :sync ORDER BY o.id;
SELECT * FROM part_triggers ORDER BY relation::text COLLATE "C";

-- those that come later: made, attached with columns of another order and partitions of their own, in a new schema, in a session that applies
SET ROLE regress_part;
CREATE TABLE part22 PARTITION OF part2 FOR VALUES FROM (100) TO (200);
CREATE TABLE part3 (v text, junk int, r int NOT NULL, id int NOT NULL) PARTITION BY HASH (id);
ALTER TABLE part3 DROP junk;
CREATE TABLE part31 (v text, id int NOT NULL, r int NOT NULL);
ALTER TABLE part3 ATTACH PARTITION part31 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE part ATTACH PARTITION part3 FOR VALUES IN (3);
CREATE SCHEMA part_schema CREATE TABLE part4 PARTITION OF public.part FOR VALUES IN (4);
RESET ROLE;
SET session_replication_role = replica;
CREATE TABLE part5 PARTITION OF part FOR VALUES IN (5);
RESET session_replication_role;
CREATE TABLE part_default PARTITION OF part DEFAULT;
CREATE TABLE part_alone (LIKE part INCLUDING ALL);
SELECT * FROM part_triggers ORDER BY relation::text COLLATE "C";

-- rows of each: by the root, by the leaf, by COPY, by a session that applies; and one that moves
INSERT INTO part VALUES (1, 1, 'a'), (1, 2, 'a'), (101, 2, 'a'), (1, 3, 'a'), (1, 4, 'a'), (1, 5, 'a'), (1, 9, 'a');
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
UPDATE part1 SET v = 'leaf';
UPDATE part31 SET v = 'leaf';
DELETE FROM part_schema.part4;
COPY part22 FROM STDIN;
102	2	copied
\.
SET session_replication_role = replica;
UPDATE part5 SET v = 'applied';
RESET session_replication_role;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
UPDATE part SET r = 4 WHERE r = 5;
UPDATE part SET v = 'stays' WHERE r = 9;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
MERGE INTO part USING (VALUES (1, 2), (7, 1)) m(id, r) ON part.id = m.id AND part.r = m.r
	WHEN MATCHED THEN UPDATE SET v = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (m.id, m.r, 'merged');
INSERT INTO part VALUES (7, 1, 'x') ON CONFLICT (id, r) DO UPDATE SET v = excluded.v;
INSERT INTO part VALUES (7, 1, 'x'), (8, 1, 'x') ON CONFLICT DO NOTHING;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;

-- TRUNCATE: one marker, by the root or by a leaf, also in a session that applies; none if it is taken back
TRUNCATE part;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
TRUNCATE part31;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
SET session_replication_role = replica;
TRUNCATE part2;
RESET session_replication_role;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
BEGIN;
SAVEPOINT s;
TRUNCATE part;
ROLLBACK TO s;
INSERT INTO part VALUES (1, 1, 'b');
TRUNCATE part1, part31;
TRUNCATE part21;
INSERT INTO part VALUES (1, 1, 'c');
COMMIT;
TABLE pending;
DELETE FROM activate._outbox WHERE sync = :sync;
-- with a foreign key, of both sides
CREATE TABLE part_parent (id int PRIMARY KEY);
ALTER TABLE part ADD parent int REFERENCES part_parent;
SELECT activate_sync('part parent', 'part_parent', 'parthook.change', mode => 'replace', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('part parent');
TRUNCATE part_parent CASCADE;
SELECT s.name, o.op, o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync ORDER BY 1;
SELECT activate_drop('part parent');
DELETE FROM activate._outbox WHERE sync = :sync;
-- modes that delete nothing need no marker
SELECT activate_sync('part upsert', 'part', 'parthook.change', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('part upsert');
TRUNCATE part;
SELECT s.name, o.op, o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync ORDER BY 1;
SELECT activate_drop('part upsert');
DELETE FROM activate._outbox WHERE sync = :sync;

-- what is detached is captured no more, and keeps what is its own
SELECT activate_sync('part own', 'part1', 'parthook.change', key => 'id, r', mode => 'mirror', capture => 'trigger') > 0 AS declared;
SELECT activate_pause('part own');
DROP TABLE part_default;
SET ROLE regress_part;
ALTER TABLE part DETACH PARTITION part1;
ALTER TABLE part DETACH PARTITION part2;
ALTER TABLE part DETACH PARTITION part3 CONCURRENTLY;
RESET ROLE;
SELECT * FROM part_triggers ORDER BY relation::text COLLATE "C";
INSERT INTO part1 VALUES (3, 1, 'own');
INSERT INTO part2 VALUES (3, 2, 'none');
INSERT INTO part31 VALUES ('none', 3, 3);
TRUNCATE part1, part2;
SELECT s.name, o.op, o.key FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync ORDER BY 1, 2, 3;
-- and again
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES IN (2);
DROP TABLE part_schema.part4;
SELECT * FROM part_triggers ORDER BY relation::text COLLATE "C";

-- another source: nothing stays at the former; nor after the drop
SELECT activate_sync('part', 'part2', 'parthook.change', key => 'id, r', mode => 'mirror', capture => 'trigger') > 0 AS declared;
SELECT * FROM part_triggers ORDER BY relation::text COLLATE "C";
SELECT count(activate_drop(name)) AS dropped FROM activate.sync WHERE NOT implicit;
SELECT * FROM part_triggers;

-- only as an event trigger
SELECT activate._capture_follow();
\echo :LAST_ERROR_SQLSTATE
DROP VIEW part_triggers, pending;
DROP TABLE part, part1, part3, part_parent, part_alone;
DROP SERVER parthook CASCADE;
DROP SCHEMA parthook, part_schema;
DROP OWNED BY regress_part;
DROP ROLE regress_part;
