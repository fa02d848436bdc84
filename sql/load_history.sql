-- options.history: runs into tables that keep versions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\pset null '(null)'
CREATE SCHEMA history_test;
SET search_path = history_test, public;

CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;
-- days instead of moments: each run is as many days from now as the clock is set on
CREATE FUNCTION day(at timestamptz) RETURNS text LANGUAGE sql RETURN 'day ' || round(extract(epoch FROM at - now()) / 86400);
CREATE FUNCTION run(name text, "day" integer, "full" boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	done bigint;
BEGIN
	PERFORM set_config('activate.clock_offset', ("day" * 86400)::text, false);
	done := activate_run(name, "full");
	PERFORM set_config('activate.clock_offset', '0', false);
	RETURN (SELECT format('%s: read %s, inserted %s, updated %s, deleted %s, rejected %s', status, rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected)
		FROM activate.run r WHERE r.id = done);
END
$$;

CREATE TABLE product (id int PRIMARY KEY, name text, price numeric);
INSERT INTO product VALUES (1, 'tea', 4), (2, 'milk', 1), (3, NULL, 3.0);
SELECT activate_sync('p', 'product', 'product_history', mode => 'mirror', options => '{"history": true, "max_delete_percent": 40, "min_deletes": 0}') > 0 AS declared;
\d product_history
SELECT run('p', 1);
SELECT run('p', 2) AS again;
UPDATE product SET price = 5 WHERE id = 1;
UPDATE product SET price = 3.00 WHERE id = 3;
INSERT INTO product VALUES (4, 'salt', 2);
SELECT run('p', 3);
DELETE FROM product WHERE id = 2;
UPDATE product SET name = 'sugar' WHERE id = 3;
SELECT run('p', 4);
SELECT run('p', 5) AS again;
-- it comes again, as it was
INSERT INTO product VALUES (2, 'milk', 1);
SELECT run('p', 6);
SELECT id, name, price, day(valid_from), day(valid_to) FROM product_history ORDER BY id, valid_from;
-- as of a day
SELECT id, name, price FROM product_history WHERE valid_from <= now() + interval '3.5 days' AND (valid_to > now() + interval '3.5 days' OR valid_to IS NULL) ORDER BY id;

-- the mirror limit counts what is there now, not what was
DELETE FROM product WHERE id IN (1, 2);
SELECT run('p', 7) AS held;
SELECT count(*) FROM product_history WHERE valid_to IS NULL;
SELECT run('p', 8, true) AS let;
SELECT id, day(valid_to) FROM product_history WHERE id IN (1, 2) ORDER BY id, valid_from;
-- a clock that goes back, and two runs of a moment: versions do not overlap
UPDATE product SET price = price + 1;
SELECT run('p', 1);
UPDATE product SET price = price + 1;
INSERT INTO product VALUES (1, 'tea', 9);
SELECT run('p', 1);
SELECT count(*) FROM product_history a JOIN product_history b ON a.id = b.id AND a.valid_from < b.valid_from AND coalesce(a.valid_to, 'infinity') > b.valid_from;
SELECT count(*) FROM product_history WHERE valid_to <= valid_from;
SELECT h.id, h.price = p.price AS same FROM product_history h LEFT JOIN product p USING (id) WHERE valid_to IS NULL ORDER BY 1;
-- useless keys are left alone
SELECT activate_sync('d', 'SELECT * FROM (VALUES (1, ''a''), (1, ''b''), (NULL, ''c''), (2, ''d'')) v(id, v)', 'd_history', key => 'id', mode => 'replace', options => '{"history": true}') > 0 AS declared;
SELECT run('d', 1);
SELECT run('d', 2);
SELECT id, v FROM d_history;
SELECT code, r.key FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync AND s.name = 'd' ORDER BY 1, 2;

-- upsert keeps what is gone; two columns of key; only keys
CREATE TABLE pair (a int, b text, v json, PRIMARY KEY (a, b));
INSERT INTO pair VALUES (1, 'x', '{}'), (1, 'y', '1');
SELECT activate_sync('pair', 'pair', 'pair_history', options => '{"history": true}') > 0 AS declared, activate_sync('keys', 'SELECT a, b FROM pair', 'keys_history', key => 'a, b', mode => 'mirror', options => '{"history": true, "min_deletes": 5}') > 0 AS keys;
SELECT run('pair', 1), run('keys', 1);
DELETE FROM pair WHERE b = 'x';
UPDATE pair SET v = '1.0';
SELECT run('pair', 2), run('keys', 2);
SELECT a, b, v, day(valid_from), day(valid_to) FROM pair_history ORDER BY a, b, valid_from;
SELECT a, b, day(valid_from), day(valid_to) FROM keys_history ORDER BY a, b, valid_from;

-- by cursor: what changed is a version, whatever is read again is none
CREATE TABLE item (id int PRIMARY KEY, v text, rev int);
INSERT INTO item SELECT i, 'v' || i, i / 2 FROM generate_series(1, 5) i;
SELECT activate_sync('item', 'item', 'item_history', capture => 'cursor', options => '{"cursor": "rev", "history": true}') > 0 AS declared;
SELECT run('item', 1);
UPDATE item SET v = 'new', rev = 3 WHERE id = 2;
INSERT INTO item VALUES (6, 'v6', 2);
SELECT run('item', 2);
SELECT run('item', 3) AS again;
SELECT id, v, rev, day(valid_from), day(valid_to) FROM item_history WHERE id IN (2, 5, 6) ORDER BY id, valid_from;

-- a table that is there already
CREATE TABLE there (id int PRIMARY KEY, name text, price numeric, note text DEFAULT 'ours');
SELECT * FROM failure($$SELECT activate_sync('t', 'product', 'there', options => '{"history": true}')$$) \gx
ALTER TABLE there ADD valid_from timestamptz NOT NULL DEFAULT now(), ADD valid_to timestamptz;
SELECT message, hint FROM failure($$SELECT activate_sync('t', 'product', 'there', options => '{"history": true}')$$);
ALTER TABLE there DROP CONSTRAINT there_pkey, ADD PRIMARY KEY (id, valid_from);
SELECT hint FROM failure($$SELECT activate_sync('t', 'product', 'there', options => '{"history": true}')$$);
CREATE UNIQUE INDEX ON there (id) WHERE valid_to IS NULL;
ALTER TABLE there ALTER valid_to TYPE date;
SELECT hint FROM failure($$SELECT activate_sync('t', 'product', 'there', options => '{"history": true}')$$);
ALTER TABLE there ALTER valid_to TYPE timestamptz;
SELECT activate_sync('t', 'product', 'there', options => '{"history": true}') > 0 AS declared;
SELECT key_columns, columns FROM activate.sync WHERE name = 't';
SELECT run('t', 1), run('t', 2);
SELECT count(*), count(*) FILTER (WHERE note = 'ours' AND valid_to IS NULL) AS ours FROM there;

-- what is refused
SELECT o, f.code, f.message, f.hint FROM unnest(ARRAY['insert', 'update', 'append']) o,
	failure(format($$SELECT activate_sync('x', 'product', 'x', mode => %L, options => '{"history": true}')$$, o)) f;
SELECT * FROM failure($$SELECT activate_sync('x', 'SELECT 1 AS a', 'x', mode => 'replace', options => '{"history": true}')$$) \gx
SELECT * FROM failure($$SELECT activate_sync('x', 'SELECT 1 AS id, now() AS valid_from', 'x', key => 'id', options => '{"history": true}')$$) \gx
SELECT * FROM failure($$SELECT activate_sync('x', 'product', 'product_history', map => '{"id": "id", "valid_to": "now()"}', options => '{"history": true}')$$) \gx
SELECT * FROM failure($$SELECT activate_sync('x', 'product', 'x', options => '{"history": "yes please"}')$$) \gx
SELECT activate_target('history_hook', 'webhook', '{"url": "http://127.0.0.1:9/"}');
SELECT * FROM failure($$SELECT activate_sync('x', 'product', 'history_hook.change', options => '{"history": true}')$$) \gx

SET client_min_messages = error;
SELECT count(activate_drop(name)) FROM activate.sync WHERE name IN ('p', 'd', 'pair', 'keys', 'item', 't');
DROP SERVER history_hook CASCADE;
DROP SCHEMA history_test, history_hook CASCADE;
