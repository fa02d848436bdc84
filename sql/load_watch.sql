-- Incremental models: keys that a change of what is watched makes due (options.watch).
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\pset null '(null)'
CREATE SCHEMA watch_test;
SET search_path = watch_test, public;

CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;
-- a change, and what it queued applied in the same transaction, as a runner does it after commit
CREATE FUNCTION change(sync text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	run bigint;
	done activate.run;
	keys text;
BEGIN
	EXECUTE statement;
	SELECT string_agg(CASE WHEN o.op = 'truncate' THEN 'all' ELSE o.key::text END, ' ' ORDER BY o.key) INTO keys
	  FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync AND s.name = change.sync;
	run := activate._run_start((SELECT id FROM activate.sync s WHERE s.name = change.sync));
	PERFORM activate._run_execute(run, true);
	SELECT * INTO done FROM activate.run r WHERE r.id = run;
	RETURN format('%s -> %s: read %s, inserted %s, updated %s, deleted %s%s', coalesce(keys, 'nothing'), done.status, done.rows_read, done.rows_inserted,
		done.rows_updated, done.rows_deleted, ' ' || done.error);
END
$$;

CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id int, amount numeric, note text);
CREATE INDEX ON orders (customer_id);
INSERT INTO customer SELECT i, 'c' || i FROM generate_series(1, 200) i;
INSERT INTO orders (customer_id, amount) SELECT 1 + i % 100, i FROM generate_series(1, 1000) i;
ANALYZE customer, orders;
CREATE VIEW totals AS SELECT c.id, c.name, count(o.id) AS n, sum(o.amount) AS amount
	FROM customer c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id;

-- a model of two tables; capture "trigger" goes without saying
SELECT activate_sync('totals', 'totals', 'mart', key => 'id', mode => 'replace',
	options => '{"watch": {"customer": "id", "orders": "customer_id"}}') > 0 AS declared;
SELECT capture, options FROM activate.sync WHERE name = 'totals';
SELECT tgrelid::regclass, regexp_replace(tgname, '[0-9]+', 'N') AS trigger, tgenabled FROM pg_trigger
 WHERE tgrelid IN ('customer'::regclass, 'orders'::regclass) AND tgfoid = 'activate._capture'::regproc ORDER BY 1, 2;
SELECT activate_run('totals') > 0 AS ran;
SELECT count(*), sum(n), sum(amount) FROM mart;
-- only the row that is due is evaluated
SELECT change('totals', 'UPDATE orders SET amount = amount + 1 WHERE id = 7');
SELECT * FROM mart WHERE id = 8;
-- a key that changes makes two due; NULL is no key
SELECT change('totals', 'UPDATE orders SET customer_id = 150 WHERE id = 7');
SELECT change('totals', 'INSERT INTO orders (customer_id, amount) VALUES (NULL, 5)');
SELECT change('totals', 'UPDATE orders SET customer_id = NULL WHERE id = 7');
SELECT change('totals', 'UPDATE orders SET customer_id = 9 WHERE id = 7');
SELECT change('totals', 'DELETE FROM orders WHERE customer_id BETWEEN 1 AND 3');
SELECT change('totals', $$INSERT INTO customer VALUES (300, 'new')$$);
SELECT change('totals', 'DELETE FROM customer WHERE id = 4');
SELECT change('totals', 'UPDATE customer SET id = 301 WHERE id = 300');
SELECT change('totals', $$UPDATE orders SET note = 'nothing of the model' WHERE id = 10$$);
-- all of it
SELECT change('totals', 'TRUNCATE orders');
SELECT count(*), sum(n), count(amount) FROM mart;
SELECT count(*) FROM ((TABLE totals EXCEPT TABLE mart) UNION ALL (TABLE mart EXCEPT TABLE totals)) d;

-- renamed columns are followed
ALTER TABLE orders RENAME customer_id TO buyer;
ALTER TABLE orders RENAME TO purchase;
SELECT change('totals', 'INSERT INTO purchase (buyer, amount) VALUES (5, 50)');
ALTER TABLE purchase RENAME TO orders;
ALTER TABLE orders RENAME buyer TO customer_id;
-- declared without it, its triggers are gone
SELECT activate_sync('totals', 'totals', 'mart', key => 'id', mode => 'replace', options => '{"watch": {"customer": "id"}}') > 0 AS again;
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgfoid = 'activate._capture'::regproc AND tgrelid IN ('customer'::regclass, 'orders'::regclass) GROUP BY 1;
SELECT activate_sync('totals', 'totals', 'mart', key => 'id', mode => 'replace') > 0 AS not_at_all;
SELECT count(*) FROM pg_trigger WHERE tgfoid = 'activate._capture'::regproc AND tgrelid IN ('customer'::regclass, 'orders'::regclass);
SELECT count(*) FROM activate._watch;
SELECT activate_drop('totals');

-- a key of several columns, in its order, in a partitioned table; two keys in one row
CREATE TABLE transfer (payer text, payee text, tenant int, amount int) PARTITION BY LIST (tenant);
CREATE TABLE transfer_1 PARTITION OF transfer FOR VALUES IN (1);
CREATE TABLE transfer_2 (amount int, tenant int, payee text, payer text);
ALTER TABLE transfer ATTACH PARTITION transfer_2 FOR VALUES IN (2);
CREATE VIEW balance AS SELECT tenant, account, sum(amount) AS amount
	FROM (SELECT tenant, payer AS account, -amount AS amount FROM transfer UNION ALL SELECT tenant, payee, amount FROM transfer) t GROUP BY tenant, account;
SELECT activate_sync('balance', 'balance', 'book', key => 'tenant, account', mode => 'mirror',
	options => '{"watch": {"transfer": ["tenant, payer", "tenant, payee"]}}') > 0 AS declared;
SELECT change('balance', $$INSERT INTO transfer VALUES ('a', 'b', 1, 10), ('a', 'c', 2, 20)$$);
SELECT change('balance', $$INSERT INTO transfer_2 VALUES (5, 2, 'd', 'a')$$);
SELECT change('balance', $$UPDATE transfer SET tenant = 2 WHERE payee = 'b'$$);
SELECT * FROM book ORDER BY 1, 2;
SELECT change('balance', 'TRUNCATE transfer_2') AS held;
SELECT activate_run('balance', full => true) > 0 AS let;
TABLE book;
SELECT activate_drop('balance');

-- the source is a table: its own changes count as well
SELECT activate_sync('named', 'customer', 'named', map => '{"id": "id", "name": "name || coalesce((SELECT max(o.amount)::text FROM orders o WHERE o.customer_id = customer.id), ''-'')"}',
	options => '{"watch": {"orders": "customer_id"}}') > 0 AS declared;
SELECT change('named', $$UPDATE customer SET name = 'five' WHERE id = 5$$);
SELECT change('named', 'INSERT INTO orders (customer_id, amount) VALUES (5, 77)');
TABLE named;
-- a column that is gone pauses the sync; the statement goes on
ALTER TABLE orders DROP COLUMN customer_id CASCADE;
INSERT INTO orders (amount) VALUES (1);
SELECT paused, pause_reason LIKE '%"orders"%' AS told FROM activate.sync WHERE name = 'named';
SELECT activate_drop('named');

-- Is a change of one key's rows a change of that key only?  If not, each application compares everything.
CREATE TABLE account (id int PRIMARY KEY, region int, name text);
CREATE TABLE entry (account_id int, region int, amount int, parent int);
CREATE TABLE region (id int PRIMARY KEY, name text);
CREATE VIEW entries AS SELECT account_id AS account, sum(amount) AS amount FROM entry GROUP BY account_id;
CREATE FUNCTION by_key(source text) RETURNS boolean LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	whole boolean;
BEGIN
	TRUNCATE entry, account;
	INSERT INTO account SELECT i, i % 2, 'a' || i FROM generate_series(1, 4) i;
	INSERT INTO entry SELECT i, i % 2, i, 1 FROM generate_series(1, 4) i;
	PERFORM activate_sync('q', source, 'q_target', key => 'id', mode => 'replace', options => '{"watch": {"entry": "account_id"}}');
	PERFORM activate_run('q');
	whole := change('q', 'INSERT INTO entry VALUES (1, 1, 1, 1)') !~ ': read [01],';
	PERFORM activate_drop('q');
	DROP TABLE q_target;
	RETURN NOT whole;
END
$$;
CREATE TABLE shape (n int, source text);
INSERT INTO shape VALUES
	(1, 'SELECT account_id AS id, sum(amount) AS n FROM entry GROUP BY account_id'),
	(2, 'SELECT account AS id, amount FROM entries'),
	(3, 'SELECT a.id, e.amount FROM account a LEFT JOIN entries e ON e.account = a.id'),
	(4, 'SELECT a.id, e.amount FROM account a LEFT JOIN (SELECT account_id, count(*) AS amount FROM entry GROUP BY 1) e ON e.account_id = a.id'),
	(5, 'SELECT id, (SELECT count(*) FROM entry e WHERE e.account_id = a.id) AS n FROM account a'),
	(6, 'SELECT a.id, l.n FROM account a LEFT JOIN LATERAL (SELECT amount AS n FROM entry e WHERE e.account_id = a.id ORDER BY amount LIMIT 1) l ON true'),
	(7, 'SELECT a.id FROM account a WHERE EXISTS (SELECT FROM entry e WHERE e.account_id = a.id)'),
	(8, 'SELECT a.id FROM account a WHERE a.id IN (SELECT account_id FROM entry)'),
	(9, 'SELECT id, count(*) AS n FROM (SELECT account_id AS id FROM entry UNION ALL SELECT id FROM account) u GROUP BY id'),
	(10, 'WITH e AS (SELECT account_id, max(amount) AS m FROM entry GROUP BY 1) SELECT a.id, e.m FROM account a JOIN e ON e.account_id = a.id'),
	(11, 'SELECT account_id AS id, max(r) AS n FROM (SELECT account_id, rank() OVER (PARTITION BY account_id ORDER BY amount) AS r FROM entry) e GROUP BY 1'),
	(12, 'SELECT DISTINCT ON (account_id) account_id AS id, amount FROM entry ORDER BY account_id, amount DESC'),
	(13, 'SELECT id, n FROM account JOIN (SELECT account_id AS id, count(*) AS n FROM entry GROUP BY 1) e USING (id)'),
	(14, 'SELECT a.id, count(e.amount) AS n FROM account a LEFT JOIN (region r JOIN entry e ON e.region = r.id) ON e.account_id = a.id GROUP BY a.id'),
	(20, 'SELECT a.id, (SELECT count(*) FROM entry) AS n FROM account a'),
	(21, 'SELECT account_id AS id, amount, rank() OVER (ORDER BY amount DESC) AS n FROM (SELECT account_id, sum(amount) AS amount FROM entry GROUP BY 1) e'),
	(22, 'SELECT account_id AS id, sum(amount) AS n FROM entry GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3'),
	(23, 'SELECT a.id, sum(e.amount) AS n FROM account a JOIN entry e ON e.region = a.region GROUP BY a.id'),
	(24, 'SELECT a.id, count(*) AS n FROM account a JOIN entry e ON e.account_id <= a.id GROUP BY a.id'),
	(25, 'SELECT a.id, count(*) AS n FROM account a JOIN entry e ON e.account_id = a.id OR e.parent = a.id GROUP BY a.id'),
	(26, 'SELECT account_id AS id, sum(amount) AS n FROM entry GROUP BY GROUPING SETS ((account_id), ()) HAVING account_id IS NOT NULL'),
	(27, 'SELECT a.id FROM account a WHERE a.id NOT IN (SELECT account_id + 1 FROM entry WHERE amount > 3)'),
	(28, 'SELECT a.id, count(*) AS n FROM account a JOIN entry e ON e.account_id = a.id JOIN entry p ON p.account_id = e.parent GROUP BY a.id'),
	(29, 'SELECT a.id, count(e.amount) AS n FROM account a JOIN account b ON b.region = a.region LEFT JOIN entry e ON a.id = b.id AND e.account_id = b.id GROUP BY a.id'),
	(30, 'SELECT a.id, count(e.amount) AS n, count(d.id) AS m FROM account a JOIN entry e ON e.region = a.region LEFT JOIN account d ON d.id = a.id AND d.id = e.account_id GROUP BY a.id'),
	(31, 'SELECT a.id, max(t.n) AS n FROM account a LEFT JOIN (SELECT region, account_id, count(*) OVER (PARTITION BY region) AS n FROM entry) t ON t.region = a.id AND t.account_id = a.id GROUP BY a.id'),
	(32, 'SELECT id, region AS n FROM account UNION ALL (SELECT id + 100, region FROM account) ORDER BY id LIMIT (SELECT count(*) FROM entry)');
SELECT by_key(source), source FROM shape ORDER BY n;
SELECT activate_sync('q', 'SELECT account_id AS id, amount, rank() OVER (ORDER BY amount DESC) AS n FROM entry', 'q_target', key => 'id',
	options => '{"watch": {"entry": "account_id"}}') > 0 AS told;
SELECT activate_drop('q');
DROP TABLE q_target;

-- generated: changes at random, several before each application; the model is as the query would be, whatever its shape
CREATE FUNCTION some_change() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE floor(random() * 12)::int
		WHEN 0 THEN format('INSERT INTO account VALUES (%s, %s, ''new'') ON CONFLICT DO NOTHING', a, r)
		WHEN 1 THEN format('DELETE FROM account WHERE id = %s', a)
		WHEN 2 THEN format('UPDATE account SET region = %s WHERE id = %s', r, a)
		WHEN 3 THEN format('UPDATE account SET id = id + 7 WHERE id = %s AND NOT EXISTS (SELECT FROM account b WHERE b.id = %1$s + 7)', a)
		WHEN 4 THEN format('UPDATE entry SET account_id = %s WHERE amount = %s', a, r)
		WHEN 5 THEN format('UPDATE entry SET amount = amount + 1 WHERE account_id = %s', a)
		WHEN 6 THEN format('DELETE FROM entry WHERE account_id = %s', a)
		WHEN 7 THEN format('UPDATE entry SET account_id = NULL WHERE account_id = %s AND amount < 4', a)
		WHEN 8 THEN CASE WHEN r = 0 THEN 'TRUNCATE entry' ELSE format('UPDATE entry SET parent = %s, region = %s WHERE account_id = %1$s', a, r) END
		ELSE format('INSERT INTO entry VALUES (%s, %s, %s, %s)', CASE WHEN r = 3 THEN 'NULL' ELSE a::text END, r, a, r) END
	  FROM (SELECT floor(random() * 10)::int AS a, floor(random() * 4)::int AS r) x
$$;
CREATE FUNCTION wrong_rounds(source text, rounds int) RETURNS int LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	different int;
	wrong int := 0;
BEGIN
	TRUNCATE entry, account;
	INSERT INTO account SELECT i, i % 4, 'a' || i FROM generate_series(1, 6) i;
	INSERT INTO entry SELECT i % 8, i % 4, i, i % 4 FROM generate_series(1, 20) i;
	-- a source of nothing but NULL keys is an error of the run
	PERFORM activate_sync('q', format('SELECT * FROM (%s) q WHERE id IS NOT NULL', source), 'q_target', key => 'id', mode => 'replace',
		options => '{"watch": {"entry": "account_id", "account": "id"}}');
	PERFORM activate_run('q');
	FOR round IN 1 .. rounds LOOP
		FOR i IN 1 .. 1 + floor(random() * 3)::int LOOP
			EXECUTE some_change();
		END LOOP;
		PERFORM change('q', some_change());
		EXECUTE format('SELECT count(*) FROM ((SELECT * FROM (%s) q WHERE id IS NOT NULL EXCEPT ALL TABLE q_target) UNION ALL (TABLE q_target EXCEPT ALL SELECT * FROM (%1$s) q)) d', source)
		  INTO different;
		wrong := wrong + (different > 0)::int;
	END LOOP;
	PERFORM activate_drop('q');
	DROP TABLE q_target;
	RETURN wrong;
END
$$;
SELECT setseed(0.7);
SELECT n, wrong_rounds(source, 8) FROM shape ORDER BY n;

-- what cannot be
CREATE TABLE line (id int, customer_id int, code text, big bigint, b text COLLATE "C");
CREATE VIEW v AS TABLE line;
CREATE TABLE existing (id int PRIMARY KEY, n bigint);
SELECT w.options, f.* FROM (VALUES ('{"watch": "line"}'), ('{"watch": {}}'), ('{"watch": {"line": 1}}'), ('{"watch": {"line": []}}'), ('{"watch": {"line": ["id", 1]}}'),
	('{"watch": {"nowhere": "id"}}'), ('{"watch": {"v": "id"}}'), ('{"watch": {"existing": "id"}}'), ('{"watch": {"line": "idd"}}'),
	('{"watch": {"line": "id, code"}}'), ('{"watch": {"line": "code"}}'), ('{"watch": {"line": "big"}}'), ('{"watch": {"line": ["id", "id"]}}'),
	('{"watch": {"transfer": "tenant", "transfer_1": "tenant"}}')) w(options),
	failure(format('SELECT activate_sync(''bad'', ''SELECT customer_id AS id, count(*) AS n FROM line GROUP BY 1'', ''existing'', key => ''id'', options => %L)', w.options)) f;
SELECT f.* FROM (VALUES ('cursor', 'upsert'), ('full', 'upsert'), ('diff', 'append')) c(capture, mode),
	failure(format('SELECT activate_sync(''bad'', ''line'', ''copy'', key => ''id'', capture => %L, mode => %L, options => ''{"watch": {"line": "id"}}'')', c.capture, c.mode)) f;
CREATE ROLE watch_test_user;
GRANT USAGE, CREATE ON SCHEMA watch_test TO watch_test_user;
GRANT SELECT ON line TO watch_test_user;
SET ROLE watch_test_user;
SELECT f.* FROM failure('SELECT activate_sync(''mine'', ''SELECT customer_id AS id, count(*) AS n FROM line GROUP BY 1'', ''mine'', key => ''id'', options => ''{"watch": {"line": "customer_id"}}'')') f;
RESET ROLE;
GRANT TRIGGER ON line TO watch_test_user;
SET ROLE watch_test_user;
SELECT activate_sync('mine', 'SELECT customer_id AS id, count(*) AS n FROM line GROUP BY 1', 'mine', key => 'id', options => '{"watch": {"line": "customer_id"}}') > 0 AS declared;
SELECT count(*) FROM activate._watch;
RESET ROLE;
SELECT change('mine', 'INSERT INTO line (customer_id) VALUES (1), (2), (1)');
TABLE mine;
SELECT activate_drop('mine');

SET client_min_messages = warning;
DROP SCHEMA watch_test CASCADE;
DROP ROLE watch_test_user;
