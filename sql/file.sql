-- Files as relations: grammar, errors, what is loaded once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\set dir `d=$(mktemp -d /tmp/activate_file.XXXXXX) && chmod 755 $d && echo $d`
\setenv dir :dir
SELECT set_config('test.dir', :'dir', false) AS dir \gset test_
\pset null '(null)'

-- What went wrong, with the place taken out.
CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	message := replace(message, current_setting('test.dir'), 'DIR');
	detail := replace(detail, current_setting('test.dir'), 'DIR');
END
$$;

\! cd "$dir" && printf 'id,name,born\n1,Ann,1990-01-02\n2,"Bo ""B"", or\nso",\n' >people-1.csv
\! cd "$dir" && printf 'born,extra,name,id\n2000-12-31,x,"",3\r\n' | sed 's/id$/id\r/' >people-2.csv && gzip -k people-2.csv && rm people-2.csv
\! cd "$dir" && : >people-3.csv && printf 'not for us' >other.txt && printf 'hidden' >.people-4.csv
SELECT activate_target('drop', 'file', jsonb_build_object('path', :'dir', 'objects', '{
	"people": {"files": "people-*.csv*", "header": true,
		"columns": {"id": "bigint", "name": "text", "born": "date", "_file": "text", "_line": "bigint"}}}'::jsonb));
SELECT id, name, born, replace(_file, :'dir', 'DIR') AS file, _line FROM "drop".people;
SELECT count(*) FROM "drop".people;
SELECT s.srvoptions IS NOT NULL AS server, t.ftoptions FROM pg_foreign_table t JOIN pg_foreign_server s ON s.oid = t.ftserver WHERE s.srvname = 'drop';
-- it is read only
SELECT * FROM failure($$INSERT INTO "drop".people VALUES (1)$$);

-- without a header in the order of the columns; TSV, COPY's text, another encoding, a mark of UTF-8
\! cd "$dir" && printf '1\ta\n2\t"b\tb"\n' >t.tsv && printf '1|a\\tb\n2|\\N\n' >t.text && printf 'id;v\n1;J\374rgen\n' >latin.csv && printf '\357\273\277id,v\n1,x\n' >bom.csv
SELECT activate_target('drop', 'file', '{"objects": {
	"tsv": {"files": "*.tsv", "format": "tsv", "columns": [{"id": "int"}, {"v": "text"}]},
	"text": {"files": "*.text", "format": "text", "delimiter": "|", "columns": [{"id": "int"}, {"v": "text"}]},
	"latin": {"files": "latin.csv", "encoding": "LATIN1", "delimiter": ";", "header": true, "columns": {"nr": {"type": "int", "path": "id"}, "v": "text"}},
	"bom": {"files": "bom.csv", "header": true, "columns": {"id": "int", "v": "text"}}}}');
SELECT * FROM "drop".tsv;
SELECT id, replace(v, E'\t', '<tab>') AS v FROM "drop".text;
SELECT * FROM "drop".latin;
SELECT * FROM "drop".bom;

-- two at once, and one again and again
BEGIN;
DECLARE one CURSOR FOR SELECT * FROM "drop".tsv;
DECLARE other CURSOR FOR SELECT id FROM "drop".text;
FETCH one;
FETCH other;
FETCH one;
FETCH other;
FETCH one;
COMMIT;
SELECT array_agg(x.n) FROM generate_series(10, 30, 10) g, LATERAL (SELECT t.id + g AS n FROM "drop".tsv t OFFSET 0) x;

-- JSON: an array, an object a line, objects over lines
\! cd "$dir" && printf '[{"id": 1, "a": {"b": "x"}, "tags": ["p", "q,r"]},\n {"id": 12345678901234567890, "a": null}\n]\n' >r.json && printf '{"id": 1, "a": {"b": "}\\"{"}}\n\n{"id": 2}\r\n{"id": 3, "tags": []}' >r.ndjson && printf '{\n "id": 7\n}\n{"id": 8}' >s.json && printf ' [ ]' >e.json
SELECT activate_target('drop', 'file', '{"objects": {
	"json": {"files": "[ers].json", "format": "json", "columns": {"id": "numeric", "b": {"type": "text", "path": "a.b"}, "tags": "text[]", "_line": "int"}},
	"ndjson": {"files": "*.ndjson", "format": "ndjson", "columns": {"id": "int", "a": "jsonb", "tags": "text[]", "_line": "int"}}}}');
SELECT * FROM "drop".json;
SELECT * FROM "drop".ndjson;

-- What is wrong with a file: file, line, column.
SELECT activate_target('bad', 'file', jsonb_build_object('path', :'dir', 'objects', '{
	"csv": {"files": "bad.csv", "columns": [{"id": "int"}, {"v": "varchar(3)"}]},
	"named": {"files": "bad.csv", "header": true, "columns": {"id": "int", "v": "text"}},
	"gz": {"files": "bad.gz", "columns": [{"id": "text"}]},
	"wide": {"files": "wide.gz", "columns": [{"id": "bigint"}, {"a": "text"}, {"b": "text"}, {"c": "numeric"}]},
	"json": {"files": "bad.json", "format": "json", "columns": {"id": "int"}},
	"ndjson": {"files": "bad.json", "format": "ndjson", "columns": {"id": "int"}}}'::jsonb));
\! cd "$dir" && printf '1,a\n2,"b\nb"\nx,c\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
-- what nobody asks for fails nobody
SELECT count(v) FROM bad.csv;
\! cd "$dir" && printf '1,abcd\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf '1,a\n2\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf '1,a\n2,b,c\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf '1,a\n2,"b\n3,c\n4,d\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
-- the quote that is open is not the first of its record
\! cd "$dir" && printf '1,a\n"2\n2","b\n3,c\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
-- UTF-8 and Latin 1 in one file
\! cd "$dir" && printf '1,\303\274\n2,\374\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf '\377\376i\000' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf 'id,w\n1,a\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.named');
\! cd "$dir" && printf 'id,v,id\n1,a,2\n' >bad.csv
SELECT * FROM failure('SELECT * FROM bad.named');
\! cd "$dir" && seq 1 20000 | gzip >whole.gz && head -c 20000 whole.gz >bad.gz
SELECT code, regexp_replace(message, 'line \d+', 'line N') AS message, hint FROM failure('SELECT * FROM bad.gz');
\! cd "$dir" && { head -c 20000 whole.gz; printf 'XXXXXXXXXXXXXXXX'; tail -c +20017 whole.gz; } >bad.gz
SELECT code, message ~ ', line \d+: ' AS placed FROM failure('SELECT * FROM bad.gz');
-- two members, as "cat" makes them
\! cd "$dir" && { seq 1 3 | gzip; seq 4 5 | gzip; } >bad.gz
SELECT array_agg(id) FROM bad.gz;
-- many blocks, and rows made between them
\! cd "$dir" && seq 1 60000 | awk '{ print $1 ",row " $1 ",a text that takes some room in memory while it is read," $1 * 7 }' | gzip >wide.gz
SELECT count(*), sum(id), max(length(a)), min(b), sum(c) FROM bad.wide;
\! cd "$dir" && printf '[{"id": 1},\n{"id": "x"}]' >bad.json
SELECT * FROM failure('SELECT * FROM bad.json');
\! cd "$dir" && printf '[{"id": 1},\n{"id": 2' >bad.json
SELECT * FROM failure('SELECT * FROM bad.json');
\! cd "$dir" && printf '[{"id": 1}\n' >bad.json
SELECT * FROM failure('SELECT * FROM bad.json');
\! cd "$dir" && printf '[{"id": 1} {"id": 2}]' >bad.json
SELECT * FROM failure('SELECT * FROM bad.json');
\! cd "$dir" && printf '{"id": 1}\n{"id": 2,}\n' >bad.json
SELECT * FROM failure('SELECT * FROM bad.ndjson');
\! cd "$dir" && printf '{"id": 1}\n{"id": 2, "v": "\374"}\n' >bad.json
SELECT * FROM failure('SELECT * FROM bad.ndjson');
\! cd "$dir" && printf '[1]' >bad.json
SELECT * FROM failure('SELECT * FROM bad.ndjson');

-- a NUL, and much behind it
\! cd "$dir" && { printf '{"a":"\000'; head -c 300000 /dev/zero | tr '\000' x; } >bad.json
SELECT code, regexp_replace(message, ' at byte.*', '') AS message FROM failure('SELECT * FROM bad.ndjson');
-- the mark that ends what COPY has written, which from PostgreSQL 18 on is data; more behind it
\! cd "$dir" && printf '1,a\n2,b\n\\.\n' >bad.csv
SELECT coalesce(message, 'read') IN ('read', 'could not read file "DIR/bad.csv", line 3: it has 1 fields, not 2') AS as_copy_does FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && printf '1,a\n\\.\n2,b\n' >bad.csv
SELECT code, replace(message, 'it has 1 fields, not 2', 'there is more behind the mark "\.", which ends the data for COPY') AS message FROM failure('SELECT * FROM bad.csv');
-- a cursor that has begun to read in a subtransaction that is taken back
\! cd "$dir" && seq -f '%g,v' 1 20000 >bad.csv
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM bad.csv;
SAVEPOINT s;
FETCH c;
ROLLBACK TO s;
MOVE FORWARD 19998 IN c;
FETCH c;
ROLLBACK;
-- a file that is written while it is read, or replaced since it was listed: no half, and no other
\! cd "$dir" && seq -f '%g,v' 1 20000 >bad.csv
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM bad.csv;
FETCH c;
\! cd "$dir" && echo 20001,v >>bad.csv
SELECT code, message FROM failure('MOVE ALL c');
ROLLBACK;
\! cd "$dir" && printf 'id,v\n1,a\n' >w-1.csv && printf 'id,v\n2,b\n' >w-2.csv && touch -d '1 hour ago' w-2.csv
SELECT activate_target('bad', 'file', '{"objects": {"w": {"files": "w-*.csv", "header": true, "columns": {"id": "int", "v": "text"}}}}');
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM bad.w;
FETCH c;
\! cd "$dir" && printf 'id,v\n3,b\n' >w-2.csv
SELECT code, message FROM failure('MOVE ALL c');
ROLLBACK;

-- Whoever asks: a relation of another kind.
SELECT code, regexp_replace(message, '\d+', 'N') AS message FROM failure($$SELECT activate._file_check('pg_class')$$);
-- What is no file; where one may look.
\! cd "$dir" && rm bad.csv && ln -s /etc/passwd bad.csv
SELECT code, message FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && rm bad.csv && mkfifo bad.csv
SELECT code, message FROM failure('SELECT * FROM bad.csv');
\! cd "$dir" && rm bad.csv
SELECT * FROM bad.csv;
\! cd "$dir" && : >"$(printf 'people-\374.csv')"
SELECT code, message FROM failure('SELECT * FROM "drop".people');
\! cd "$dir" && rm "$(printf 'people-\374.csv')"
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp/../etc", "objects": {}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "tmp", "objects": {}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "../x", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "x/y", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"objects": {}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "url": "https://example.com"}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "*", "columns": {"id": "int", "v": "text"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "*"}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "*", "format": "xml", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "*", "delimiter": "ab", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"path": "/tmp", "objects": {"a": {"files": "*", "format": "json", "quote": "x", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"url": "https://example.com", "objects": {"a": {"files": "*.csv", "columns": {"id": "int"}}}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"url": "s3://b", "objects": {}}')$$);
SELECT code, message, hint FROM failure($$SELECT activate_target('up', 'file', '{"url": "https://me:pw@example.com/x.csv", "objects": {}}')$$);
SELECT code, message FROM failure($$SELECT activate_target('up', 'file', '{"url": "https://10.0.0.1/x.csv", "objects": {"a": {"columns": {"id": "int"}}}}')$$);
SELECT code, message FROM failure($$SELECT activate_target('up', 'file', '{"url": "s3://bucket", "endpoint": "http://10.0.0.1", "objects": {"a": {"files": "*", "columns": {"id": "int"}}}}')$$);
SELECT code, message FROM failure($$SELECT activate_target('up', 'file', '{"url": "s3://bucket", "objects": {}}', '{"s3": {"access_key": "a"}}')$$);

-- A role without pg_read_server_files neither names a directory nor reads from one, but through a view of who may.
CREATE ROLE regress_file_reader;
GRANT activate_admin TO regress_file_reader;
GRANT CREATE ON DATABASE :DBNAME TO regress_file_reader;
GRANT USAGE ON SCHEMA "drop" TO regress_file_reader;
GRANT SELECT ON "drop".people TO regress_file_reader;
CREATE VIEW drop_people AS SELECT id FROM "drop".people;
GRANT SELECT ON drop_people TO regress_file_reader;
SET ROLE regress_file_reader;
SELECT code, message, hint FROM failure($$SELECT activate_target('mine', 'file', '{"path": "/tmp", "objects": {}}')$$);
SELECT code, message, hint FROM failure('SELECT * FROM "drop".people');
SELECT * FROM drop_people;
RESET ROLE;

-- Loaded once.
CREATE FUNCTION ledger(called text) RETURNS TABLE (file text, rows bigint, note text) LANGUAGE sql AS $$
	SELECT regexp_replace(f.name, '^.*/', ''), f.rows, f.note FROM activate.file f JOIN activate.sync s ON s.id = f.sync
	 WHERE s.name = called ORDER BY f.name $$;
CREATE FUNCTION run(called text, "full" boolean DEFAULT false) RETURNS TABLE (status text, read bigint, inserted bigint, updated bigint, rejected bigint)
LANGUAGE plpgsql AS $$
DECLARE
	started bigint := activate_run(called, "full");
BEGIN
	RETURN QUERY SELECT r.status, r.rows_read, r.rows_inserted, r.rows_updated, r.rows_rejected FROM activate.run r WHERE r.id = started;
END $$;
CREATE TABLE orders (id bigint PRIMARY KEY, v text);
CREATE TABLE events (id bigint, v text);
\! cd "$dir" && printf 'id,v\n1,a\n2,b\n' >o-1.csv && printf 'id,v\n2,B\n3,c\n' >o-2.csv
SELECT activate_target('drop', 'file', '{"objects": {"orders": {"files": "o-*.csv", "header": true, "columns": {"id": "bigint", "v": "text"}}}}');
SELECT activate_sync('orders', '"drop".orders', 'orders', key => 'id') IS NOT NULL AS declared;
SELECT activate_sync('events', '"drop".orders', 'events', mode => 'append') IS NOT NULL AS declared;
-- a key that comes again: the later file wins
SELECT * FROM run('orders');
SELECT * FROM orders ORDER BY id;
SELECT * FROM ledger('orders');
SELECT * FROM run('orders');
SELECT * FROM run('events');
-- an event that looks like one of before is one
\! cd "$dir" && printf 'id,v\n1,a\n' >o-3.csv
SELECT * FROM run('orders');
SELECT * FROM run('events');
SELECT id, count(*) FROM events GROUP BY id ORDER BY id;
-- a dry run leaves the file for the next
\! cd "$dir" && printf 'id,v\n4,d\n,e\n' >o-4.csv
BEGIN;
SELECT * FROM run('orders');
ROLLBACK;
SELECT count(*) FROM ledger('orders');
SELECT * FROM run('orders');
SELECT * FROM run('orders');
SELECT r.key, r.code FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'orders';
-- a bad file: nothing of it, and of a run by hand nothing at all
\! cd "$dir" && printf 'id,v\n5,e\n' >o-5.csv && printf 'id,v\n6,f\nx,g\n' >o-6.csv
SELECT code, message FROM failure($$SELECT activate_run('orders')$$);
SELECT count(*) FROM ledger('orders');
\! cd "$dir" && printf 'id,v\n6,f\n7,g\n' >o-6.csv
SELECT * FROM run('orders');
-- one that changed: written over by its key, of events left alone
SELECT * FROM run('events');
\! cd "$dir" && printf 'id,v\n6,F\n7,g\n8,h\n' >o-6.csv
SET client_min_messages = error;
SELECT * FROM run('orders');
SELECT * FROM run('events');
RESET client_min_messages;
SELECT * FROM ledger('orders');
SELECT * FROM ledger('events');
SELECT * FROM run('events');
-- no run of files within another
CREATE FUNCTION run_events() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM activate_run(''events''); RETURN NULL; END';
CREATE TRIGGER run_events AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION run_events();
\! cd "$dir" && printf 'id,v\n9,i\n' >o-7.csv
SELECT code, message, hint FROM failure($$SELECT activate_run('orders')$$);
DROP TRIGGER run_events ON orders;
DROP FUNCTION run_events();
\! cd "$dir" && rm o-7.csv
-- full: all of them
SELECT * FROM run('orders', true);
-- what is younger than "settle" is not there yet
SELECT activate_target('drop', 'file', '{"settle": "1h"}');
SELECT count(*) FROM "drop".orders;
\! cd "$dir" && touch -d '2 hours ago' o-1.csv
SELECT count(*) FROM "drop".orders;
SELECT activate_target('drop', 'file', '{"settle": null}');
-- mirror needs all there is, and so reads it
CREATE TABLE mirrored (v text PRIMARY KEY);
SELECT activate_sync('mirrored', 'SELECT DISTINCT v FROM "drop".orders', 'mirrored', key => 'v', mode => 'mirror') IS NOT NULL AS declared;
SELECT * FROM run('mirrored');
SELECT * FROM run('mirrored');
-- into a web API, as events
SELECT activate_target('hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
SELECT activate_pause('target:hook');
SELECT activate_sync('told', '"drop".orders', 'hook.change', mode => 'append') IS NOT NULL AS declared;
SET client_min_messages = warning;
SELECT * FROM run('told');
SELECT * FROM run('told');
SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'told';
-- what it would do
SELECT * FROM activate_explain('orders');
RESET client_min_messages;
-- a column that a sync uses stays
SELECT code, message, detail FROM failure($$SELECT activate_target('drop', 'file', '{"objects": {"orders": {"files": "o-*.csv", "header": true, "columns": {"id": "bigint"}}}}')$$);
SELECT line FROM activate_export() line WHERE line LIKE '%activate_file%' ORDER BY 1 \g |sed "s|$dir|DIR|g"
-- a target of a sync it is not
SELECT code, message FROM failure($$SELECT activate_sync('back', 'orders', '"drop".orders', key => 'id')$$);
SELECT code, message FROM failure($$SELECT activate_run('back')$$);
-- another map: what differs is loaded, so all is read again
SELECT activate_sync('orders', '"drop".orders', 'orders', key => 'id', map => '{"id": "id", "v": "upper(v)"}') IS NOT NULL AS declared;
SELECT * FROM run('orders');
-- another key: all is forgotten
SELECT activate_sync('orders', '"drop".orders', 'orders', key => 'v', map => '{"id": "id", "v": "v"}') IS NOT NULL AS declared;
SELECT count(*) FROM ledger('orders');

SET client_min_messages = warning;
SELECT activate_drop(name) FROM activate.sync WHERE NOT implicit;
SELECT count(*) FROM activate.file;
DROP VIEW drop_people;
DROP SERVER "drop" CASCADE;
DROP SERVER bad CASCADE;
DROP SERVER hook CASCADE;
DROP SCHEMA "drop", bad, hook;
DROP TABLE orders, events, mirrored;
DROP FUNCTION failure(text), ledger(text), run(text, boolean);
REVOKE ALL ON DATABASE :DBNAME FROM regress_file_reader;
DROP ROLE regress_file_reader;
\! rm -rf "$dir"
