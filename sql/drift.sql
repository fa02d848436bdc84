-- What sources become after their syncs were declared, and what syncs make of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA drift_test;
GRANT ALL ON SCHEMA drift_test TO PUBLIC;
SET search_path = drift_test, public;
SET activate.enabled = off;
ALTER SEQUENCE activate.drift_id_seq RESTART 1001;
SELECT activate_target('drift_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
CREATE VIEW drifts AS SELECT s.name, d.kind, d.relation, d."column", d.was, d.became, d.proposal, d.state, d.reason
  FROM activate.drift d JOIN activate.sync s ON s.id = d.sync ORDER BY d.id;
CREATE VIEW declared AS SELECT name, source, key, map, options - 'on_drift' AS options, columns, paused, pause_reason FROM activate.sync ORDER BY name;

-- the option
CREATE TABLE contact (id int PRIMARY KEY, email text, name text, born date);
INSERT INTO contact SELECT i, 'u' || i, 'n' || i, '2000-01-01' FROM generate_series(1, 5) i;
SELECT activate_sync('wrong', 'contact', 'drift_hook.change', options => '{"on_drift": "adapt"}');

-- a rename is proposed; the sync goes on under the names that the target knows
SELECT activate_sync('same', 'contact', 'drift_hook.change', mode => 'mirror') > 0 AS declared;
SELECT activate_sync('mapped', 'contact', 'mapped', key => 'id', map => '{"id": "id", "mail": "lower(email)", "tag": "name || ''-'' || id"}',
	options => '{"where": "email IS NOT NULL"}') > 0 AS declared;
SELECT activate_run('mapped') > 0 AS run;
ALTER TABLE contact RENAME email TO e_mail;
TABLE drifts;
SELECT activate_run('mapped') > 0 AS run;
SELECT count(*), count(mail) FROM mapped;
SELECT (activate_preview('same', 1)).body::jsonb -> 'row' AS row;
SELECT activate_heal(id) FROM activate.drift ORDER BY id;
TABLE declared;
SELECT activate_run('mapped') > 0 AS run;
SELECT rows_inserted, rows_updated, rows_deleted FROM activate.run ORDER BY id DESC LIMIT 1;
-- the texts are right: what is declared from them is the same
SELECT activate_sync(name, source, target, key, map, mode, capture, schedule, options) > 0 AS declared FROM activate.sync WHERE name = 'mapped';
SELECT activate_run('mapped') > 0 AS run;
SELECT rows_inserted, rows_updated, rows_deleted FROM activate.run ORDER BY id DESC LIMIT 1;
-- taken back, and proposed to nobody again
SELECT activate_heal_revert(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'same';
SELECT map FROM activate.sync WHERE name = 'same';
SELECT activate_run('same') > 0 AS run;
SELECT name, state FROM drifts;
SELECT activate_heal_revert(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'same';
-- renamed back: there is no difference
ALTER TABLE contact RENAME e_mail TO email;
SELECT activate_sync('same', 'contact', 'drift_hook.change', mode => 'mirror') > 0 AS declared;
ALTER TABLE contact RENAME name TO full_name;
ALTER TABLE contact RENAME full_name TO name;
SELECT name, kind, "column", became, state FROM drifts;
SELECT activate_drop('mapped');
SELECT activate_drop('same');
DROP TABLE mapped;

-- evolve: followed at once, in source, map, key and options; relations, too
SELECT activate_sync('evolving', 'contact', 'evolved', key => 'id', options => '{"on_drift": "evolve", "where": "born > ''1990-01-01''"}') > 0 AS declared;
SELECT activate_sync('query', 'SELECT c.*, upper(name) AS shout FROM contact c', 'queried', key => 'id', options => '{"on_drift": "evolve"}') > 0 AS declared;
SELECT activate_run('evolving') > 0 AND activate_run('query') > 0 AS run;
ALTER TABLE contact RENAME born TO birthday;
ALTER TABLE contact RENAME id TO ident;
ALTER TABLE contact RENAME TO person;
SELECT name, kind, relation, "column", became, state FROM drifts;
SELECT * FROM declared;
SELECT activate_run('evolving') > 0 AND activate_run('query') > 0 AS run;
-- so are the columns that a sync fills
ALTER TABLE evolved RENAME name TO called;
ALTER TABLE evolved RENAME id TO number;
ALTER TABLE evolved RENAME TO became;
SELECT target, map, columns, key_columns, target_key FROM activate.sync WHERE name = 'evolving';
SELECT activate_run('evolving') > 0 AS run;
SELECT rows_inserted, rows_updated FROM activate.run ORDER BY id DESC LIMIT 1;
ALTER TABLE became RENAME TO evolved;
ALTER TABLE evolved RENAME number TO id;
-- new columns: of SELECT *, too; the target gets them
ALTER TABLE person ADD COLUMN city text DEFAULT 'Hamburg', ADD COLUMN points int;
SELECT activate_run('evolving') > 0 AND activate_run('query') > 0 AS run;
SELECT * FROM evolved WHERE id = 1;
SELECT * FROM queried WHERE id = 1;
SELECT name, kind, "column", became, state FROM drifts WHERE kind = 'add';
-- dropped columns are left out: what the target has stays, and is never NULL for it
ALTER TABLE person DROP COLUMN city, DROP COLUMN points;
UPDATE person SET email = 'changed';
SELECT activate_run('evolving') > 0 AND activate_run('query') > 0 AS run;
SELECT * FROM evolved WHERE id = 1;
SELECT * FROM queried WHERE id = 1;
SELECT name, kind, "column", state FROM drifts WHERE kind = 'drop';
-- what the key or a condition needs cannot be left out
ALTER TABLE person DROP COLUMN birthday;
SELECT activate_run('evolving');
SELECT name, paused, pause_reason FROM declared;
SELECT name, kind, "column", state, reason FROM drifts WHERE state = 'frozen';
SELECT activate_heal(id) FROM activate.drift WHERE state = 'frozen';
SELECT activate_drop('evolving');
SELECT activate_drop('query');
DROP TABLE person, evolved, queried;

-- freeze: whatever it is; it goes on when the source is what it was, or it is healed
CREATE TABLE item (id int PRIMARY KEY, price int, label text);
INSERT INTO item VALUES (1, 10, 'a'), (2, 20, 'b');
SELECT activate_sync('frozen', 'item', 'frozen_item', options => '{"on_drift": "freeze"}') > 0 AS declared;
SELECT activate_run('frozen') > 0 AS run;
ALTER TABLE item RENAME label TO title;
SELECT name, paused, pause_reason FROM declared;
SELECT activate_run('frozen');
ALTER TABLE item RENAME title TO label;
SELECT name, paused, pause_reason FROM declared;
SELECT activate_run('frozen') > 0 AS run;
ALTER TABLE item ADD COLUMN stock int;
SELECT activate_run('frozen');
SELECT activate_heal(id) FROM activate.drift WHERE state = 'frozen';
SELECT activate_run('frozen') > 0 AS run;
SELECT * FROM frozen_item;
SELECT name, kind, "column", became, state FROM drifts;
SELECT activate_drop('frozen');

-- discard: what is new is ignored, and can be had later
SELECT activate_sync('discard', 'item', 'discard_item', options => '{"on_drift": "discard"}') > 0 AS declared;
ALTER TABLE item ADD COLUMN weight int;
SELECT activate_run('discard') > 0 AS run;
SELECT name, kind, "column", became, state FROM drifts;
SELECT columns FROM declared;
SELECT activate_drop('discard');

-- another type: the sync goes on with values of the former one; healed, the target takes the new one
SELECT activate_sync('typed', 'item', 'typed_item') > 0 AS declared;
SELECT activate_run('typed') > 0 AS run;
ALTER TABLE item ALTER COLUMN price TYPE bigint;
SELECT activate_run('typed') > 0 AS run;
SELECT kind, "column", was, became, state FROM drifts;
SELECT activate_heal(id) FROM activate.drift WHERE kind = 'type';
UPDATE item SET price = 5000000000 WHERE id = 2;
SELECT activate_run('typed') > 0 AS run;
SELECT id, price, pg_typeof(price) FROM typed_item ORDER BY id;
SELECT activate_heal_revert(id) FROM activate.drift WHERE kind = 'type';
UPDATE item SET price = 50 WHERE id = 2;
SELECT activate_run('typed') > 0 AS run;
SELECT activate_heal_revert(id) FROM activate.drift WHERE kind = 'type';
SELECT id, price, pg_typeof(price) FROM typed_item ORDER BY id;
SELECT activate_run('typed') > 0 AS run;
-- a key that reads the same stays the key
ALTER TABLE item ALTER COLUMN id TYPE bigint;
SELECT activate_run('typed') > 0 AS run;
SELECT rows_inserted, rows_updated FROM activate.run ORDER BY id DESC LIMIT 1;
SELECT activate_drop('typed');

-- captured by trigger, sent on: without the dropped column, not with NULL
SELECT activate_sync('sent', 'item', 'drift_hook.change', capture => 'trigger') > 0 AS declared;
ALTER TABLE item DROP COLUMN stock;
ALTER TABLE item RENAME label TO title;
UPDATE item SET title = 'z' WHERE id = 1;
SELECT body::jsonb -> 'key' AS key, body::jsonb -> 'row' AS row FROM activate_preview('sent', 1);

-- of the relations of a query one is read twice, another is renamed; the type is called as who altered the table calls it
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE TABLE pair (id int PRIMARY KEY, feels text);
CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO pair VALUES (1, 'well');
INSERT INTO other VALUES (1);
SELECT activate_sync('paired', 'SELECT a.id, b.feels FROM pair a JOIN pair b USING (id) JOIN other USING (id)', 'paired_item', key => 'id') > 0 AS declared;
SELECT activate_run('paired') > 0 AS run;
ALTER TABLE other RENAME TO another;
ALTER TABLE pair ALTER feels TYPE mood USING feels::mood;
SELECT kind, relation, "column", was, became, state FROM drifts WHERE name = 'paired';
ALTER TABLE another RENAME TO other;
SET search_path = public;
SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'paired' AND d.kind = 'type';
SET search_path = drift_test, public;
SELECT id, feels, pg_typeof(feels) FROM paired_item;
-- kept by another PostgreSQL, it cannot be changed: nobody's command fails at that
ALTER TABLE pair ALTER feels TYPE text;
UPDATE activate.sync SET tree_major = 9 WHERE name = 'paired';
ALTER TABLE paired_item RENAME feels TO mood;
ALTER TABLE other RENAME TO another;
SELECT activate_heal(max(d.id)) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'paired' AND d.state = 'proposed';
SELECT columns FROM activate.sync WHERE name = 'paired';
SELECT activate_drop('paired');

-- a text that was written again while values were cast to their former type is written without the cast when that is healed
CREATE TABLE ware (id int PRIMARY KEY, label text, price int);
INSERT INTO ware VALUES (1, 'a', 10);
SELECT activate_sync('wares', 'SELECT id, label, price, price::text AS shown FROM ware', 'ware_item', key => 'id', options => '{"on_drift": "evolve"}') > 0 AS declared;
SELECT activate_run('wares') > 0 AS run;
ALTER TABLE ware ALTER price TYPE bigint;
ALTER TABLE ware RENAME label TO title;
SELECT source FROM activate.sync WHERE name = 'wares';
UPDATE ware SET price = 5000000000;
SELECT activate_run('wares') > 0 AS run;
SELECT * FROM ware_item;
SELECT source FROM activate.sync WHERE name = 'wares';
SELECT activate_drop('wares');

-- so are casts in its conditions, and in what it reads
SELECT activate_sync('wares', 'SELECT w.id, w.title FROM ware w JOIN (SELECT id FROM ware WHERE price < 10000000000) o ON o.id = w.id WHERE w.price > 5', 'ware_title', key => 'id', options => '{"on_drift": "evolve"}') > 0 AS declared;
ALTER TABLE ware ALTER price TYPE numeric;
ALTER TABLE ware RENAME title TO label;
SELECT source FROM activate.sync WHERE name = 'wares';
SELECT activate_run('wares') > 0 AS run;
SELECT source FROM activate.sync WHERE name = 'wares';
-- a pause that is not due to the source does not end by what becomes of that
UPDATE activate.sync SET paused = true, pause_reason = 'permission denied for table ware' WHERE name = 'wares';
ALTER TABLE ware RENAME label TO name;
SELECT source, paused, pause_reason FROM activate.sync WHERE name = 'wares';
SELECT activate_drop('wares');
-- a column of a target that is renamed by the table that it is a partition of
CREATE TABLE parted (id int, name text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted (PRIMARY KEY (id)) DEFAULT;
SELECT activate_sync('parted', 'ware', 'parted_1', key => 'id', map => '{"id": "id", "name": "name"}') > 0 AS declared;
ALTER TABLE parted RENAME name TO called;
SELECT columns, map FROM activate.sync WHERE name = 'parted';
SELECT activate_run('parted') > 0 AS run;
TABLE parted;
SELECT activate_drop('parted');

-- what does not fit the former type is kept back, and all else passes: a mirror deletes nothing for it
CREATE TABLE line (id int PRIMARY KEY, qty int, sold date, note text, at bigint);
INSERT INTO line SELECT i, i * 10, date '2024-01-01' + i, 'n' || i, i FROM generate_series(1, 6) i;
SELECT activate_pause('target:drift_hook');
CREATE VIEW kept_back AS SELECT s.name, r.key, r.op, r.code, r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync ORDER BY s.name, r.key;
CREATE VIEW last_runs AS SELECT DISTINCT ON (s.name) s.name, r.status, r.rows_read AS read, r.rows_inserted AS ins, r.rows_updated AS upd, r.rows_deleted AS del, r.rows_rejected AS rej
  FROM activate.run r JOIN activate.sync s ON s.id = r.sync ORDER BY s.name, r.id DESC;
SELECT activate_sync('fit_mirror', 'line', 'fit_mirror', key => 'id', mode => 'mirror') > 0 AS declared;
SELECT activate_sync('fit_where', 'line', 'fit_where', key => 'id', mode => 'mirror', map => '{"id": "id", "twice": "qty * 2"}', options => '{"where": "qty > 20 AND note LIKE ''n%''"}') > 0 AS declared;
SELECT activate_sync('fit_query', 'SELECT l.id, s.qty, l.sold, s.note FROM line l, (SELECT id, qty, note FROM line WHERE qty < 1000) s(id) WHERE l.id = s.id', 'fit_query', key => 'id', mode => 'mirror') > 0 AS declared;
SELECT activate_sync('fit_cursor', 'line', 'fit_cursor', key => 'id', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT activate_sync('fit_cursor_append', 'line', 'fit_cursor_append', key => 'id', mode => 'append', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT activate_sync('fit_append', 'line', 'fit_append', key => 'id', mode => 'append', capture => 'full') > 0 AS declared;
SELECT activate_sync('fit_api', 'line', 'drift_hook.change', mode => 'mirror') > 0 AS declared;
SELECT activate_sync('fit_api_cursor', 'line', 'drift_hook.change', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT activate_sync('fit_api_append', 'line', 'drift_hook.change', mode => 'append', capture => 'cursor', options => '{"cursor": "at"}') > 0 AS declared;
SELECT activate_sync('fit_sum', 'SELECT sold, sum(qty) AS qty FROM line GROUP BY sold', 'fit_sum', key => 'sold') > 0 AS declared;
SELECT activate_sync('joined', 'SELECT l.id, s.qty FROM line l JOIN (SELECT id, qty FROM line WHERE qty < 1000) s USING (id)', 'joined', key => 'id') > 0 AS declared;
SELECT count(activate_run(name)) FROM (SELECT name FROM activate.sync WHERE name LIKE 'fit%' OR name = 'joined' ORDER BY name) s;
ALTER TABLE line ALTER qty TYPE text, ALTER sold TYPE text;
UPDATE line SET qty = 'many', at = 11 WHERE id = 3;
UPDATE line SET sold = 'never', at = 12 WHERE id = 4;
UPDATE line SET qty = '51', at = 13 WHERE id = 5;
INSERT INTO line VALUES (7, '70', '2024-01-08', 'n7', 14), (8, '8e', '2024-13-40', 'n8', 15);
SELECT count(activate_run(name)) FROM (SELECT name FROM activate.sync WHERE name LIKE 'fit%' AND name <> 'fit_sum' ORDER BY name) s;
TABLE last_runs;
TABLE kept_back;
SELECT * FROM fit_mirror ORDER BY id;
SELECT * FROM fit_where ORDER BY id;
SELECT * FROM fit_query ORDER BY id;
SELECT * FROM fit_cursor ORDER BY id;
SELECT s.name, o.key, o.op FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name LIKE 'fit_api%' AND (o.key ->> 'id')::int > 2 ORDER BY s.name, o.id;
-- where a value is not one row's, the run fails as ever
SELECT activate_run('fit_sum');
SELECT activate_run('joined');
-- it is found again, once
SELECT count(activate_run(name)) FROM (SELECT name FROM activate.sync WHERE name LIKE 'fit%' AND name <> 'fit_sum' ORDER BY name) s;
SELECT name, count(*) FROM kept_back GROUP BY name ORDER BY name;
-- mended, it passes
UPDATE line SET qty = '33', at = 21 WHERE id = 3;
UPDATE line SET sold = '2024-04-04', at = 22 WHERE id = 4;
DELETE FROM line WHERE id = 8;
SELECT count(activate_run(name)) FROM (SELECT name FROM activate.sync WHERE name LIKE 'fit%' ORDER BY name) s;
TABLE last_runs;
TABLE kept_back;
SELECT * FROM fit_mirror ORDER BY id;
-- the column has its former type again, or the declaration the new one: a cursor, too, comes back for what it has passed
UPDATE line SET qty = 'many', at = 31 WHERE id = 3;
UPDATE line SET sold = 'never', at = 32 WHERE id = 4;
SELECT count(activate_run(name)) FROM activate.sync WHERE name IN ('fit_mirror', 'fit_cursor');
SELECT name, key, code FROM kept_back WHERE name IN ('fit_mirror', 'fit_cursor');
ALTER TABLE line ALTER qty TYPE int USING CASE qty WHEN 'many' THEN 1000 ELSE qty::int END;
SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name IN ('fit_mirror', 'fit_cursor') AND d."column" = 'sold';
SELECT count(activate_run(name)) FROM activate.sync WHERE name IN ('fit_mirror', 'fit_cursor');
SELECT name, key, code FROM kept_back WHERE name IN ('fit_mirror', 'fit_cursor');
SELECT * FROM fit_mirror WHERE id IN (3, 4) ORDER BY id;
SELECT * FROM fit_cursor WHERE id IN (3, 4) ORDER BY id;
SET client_min_messages = warning;
SELECT count(activate_drop(name)) FROM activate.sync WHERE name LIKE 'fit%' OR name = 'joined';
RESET client_min_messages;
-- lengths are no more cut than numbers, and types of which nothing is known but their casts are tried; nested, and what is NULL
CREATE TYPE drift_mood AS ENUM ('good', 'bad');
CREATE TABLE odd (id int PRIMARY KEY, short varchar(3), cash numeric(5, 2), mood drift_mood, tags int[], big bigint, flag boolean, doc jsonb);
INSERT INTO odd VALUES (1, 'abc', 999.99, 'good', '{1,2}', 5000000000, true, '{"a": 1}');
INSERT INTO odd VALUES (2);
SELECT activate_sync('odd', 'SELECT id, short, cash, mood, tags, big, flag, doc FROM odd', 'odd_copy', key => 'id', mode => 'mirror') > 0 AS declared;
SELECT activate_run('odd') > 0 AS run;
ALTER TABLE odd ALTER short TYPE varchar(10), ALTER cash TYPE numeric(8, 2), ALTER mood TYPE text, ALTER tags TYPE text[], ALTER big TYPE numeric, ALTER flag TYPE text, ALTER doc TYPE text;
SELECT activate_run('odd') > 0 AS run;
ALTER TABLE odd ALTER cash TYPE text, ALTER big TYPE text;
SELECT activate_run('odd') > 0 AS run;
TABLE last_runs;
INSERT INTO odd SELECT i, 'abc', '1', 'bad', '{3}', '4', 'no', '[]' FROM generate_series(3, 13) i;
UPDATE odd SET short = 'abcd' WHERE id = 3;
UPDATE odd SET cash = '1000' WHERE id = 4;
UPDATE odd SET mood = 'ugly' WHERE id = 5;
UPDATE odd SET tags = '{3,x}' WHERE id = 6;
UPDATE odd SET big = '9223372036854775808' WHERE id = 7;
UPDATE odd SET flag = 'maybe' WHERE id = 8;
UPDATE odd SET doc = '{' WHERE id = 9;
UPDATE odd SET cash = '999.994', big = ' 12 ', flag = 'on', short = 'abc  ' WHERE id = 10;
UPDATE odd SET cash = '999.995' WHERE id = 11;
UPDATE odd SET cash = '-.5', big = '-9223372036854775808' WHERE id = 12;
UPDATE odd SET cash = '', big = '' WHERE id = 13;
SELECT activate_run('odd') > 0 AS run;
SELECT key ->> 'id' AS id, reason FROM kept_back ORDER BY (key ->> 'id')::int;
SELECT * FROM odd_copy ORDER BY id;
-- types are healed together, and taken back together
SELECT activate_heal(min(d.id)) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'odd' AND d.state = 'proposed';
SELECT "column", became, state FROM drifts WHERE name = 'odd';
SELECT activate_run('odd') > 0 AS run;
TABLE last_runs;
TABLE kept_back;
SELECT * FROM odd_copy WHERE id IN (3, 7, 13) ORDER BY id;
SELECT activate_heal_revert(min(d.id)) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'odd';
DELETE FROM odd WHERE id BETWEEN 3 AND 9 OR id IN (11, 13);
SELECT activate_run('odd') > 0 AS run;
SELECT activate_heal_revert(max(d.id)) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'odd';
SELECT string_agg(DISTINCT state, ', ') FROM drifts WHERE name = 'odd';
SELECT pg_typeof(short), pg_typeof(cash), pg_typeof(mood), pg_typeof(tags), pg_typeof(big), pg_typeof(flag), pg_typeof(doc) FROM odd_copy LIMIT 1;
SELECT activate_run('odd') > 0 AS run;
TABLE last_runs;
SELECT activate_drop('odd');
-- followed together, too
CREATE TABLE both_types (id int PRIMARY KEY, a int, b int);
INSERT INTO both_types VALUES (1, 1, 1);
SELECT activate_sync('both_types', 'both_types', 'both_copy', key => 'id', options => '{"on_drift": "evolve"}') > 0 AS declared;
SELECT activate_run('both_types') > 0 AS run;
ALTER TABLE both_types ALTER a TYPE text, ALTER b TYPE text;
UPDATE both_types SET a = 'one', b = 'two';
SELECT activate_run('both_types') > 0 AS run;
TABLE both_copy;
SELECT "column", became, state, reason FROM drifts WHERE name = 'both_types';
SELECT activate_drop('both_types');
-- whose values they are does not matter to who may not cast them
SELECT activate._former('5'::text, NULL::int, -1), activate._former_or_null('x'::text, NULL::int, -1), activate._former_misfit('x'::text, NULL::int, -1, 'it does not fit');
SELECT activate._former('x'::text, NULL::int, -1);
SELECT activate._former('x', NULL::int, -1);

-- rights: whose sync it is
CREATE ROLE drift_stranger;
SET ROLE drift_stranger;
SELECT count(*) FROM activate.drift;
RESET ROLE;
SELECT id AS mine FROM activate.drift d WHERE state = 'proposed' LIMIT 1 \gset
SET ROLE drift_stranger;
SELECT activate_heal(:mine);
RESET ROLE;
SELECT activate_heal(0);
SELECT activate_drop('sent');
SELECT count(*) FROM activate.drift;
SET client_min_messages = warning;
DROP SERVER drift_hook CASCADE;
DROP SCHEMA drift_test, drift_hook CASCADE;
DROP ROLE drift_stranger;
