-- Models: the graph of syncs, circles, and models that are views.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA model_test;
CREATE SCHEMA "Model mart";
GRANT ALL ON SCHEMA model_test, "Model mart" TO PUBLIC;
SET search_path = model_test, public;
SET activate.enabled = off;
CREATE ROLE model_owner;
CREATE ROLE model_stranger;

CREATE TABLE raw_order (id int PRIMARY KEY, customer int, amount numeric);
CREATE TABLE raw_customer (id int PRIMARY KEY, email text, secret text);
INSERT INTO raw_customer SELECT i, 'u' || i || '@example.org', 's' FROM generate_series(1, 3) i;
INSERT INTO raw_order SELECT i, i % 3 + 1, i * 10 FROM generate_series(1, 9) i;
SELECT activate_target('model_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');

-- the graph: through views and subqueries, a line per sync and relation
SELECT activate_sync('orders', 'raw_order', 'stage_order') > 0 AS declared;
SELECT activate_sync('customers', 'raw_customer', 'stage_customer') > 0 AS declared;
CREATE VIEW paid AS SELECT customer, sum(amount) AS paid FROM stage_order GROUP BY customer;
CREATE VIEW good AS SELECT * FROM paid WHERE paid > 0;
SELECT activate_sync('value', 'SELECT c.id, c.email, (SELECT g.paid FROM good g WHERE g.customer = c.id) AS paid FROM stage_customer c',
	'"Model mart".customer', key => 'id') > 0 AS declared;
SELECT activate_sync('crm', '"Model mart".customer', 'model_hook.change') > 0 AS declared;
SELECT activate_sync('constant', 'SELECT 1 AS id', 'one', key => 'id') > 0 AS declared;
SELECT * FROM activate_graph();
SELECT activate_graph_dot();

-- names are followed, and what a replaced view reads
ALTER TABLE stage_order RENAME TO "stage ""order""";
CREATE OR REPLACE VIEW good AS SELECT p.* FROM paid p, raw_customer c WHERE c.id = p.customer;
SELECT source, depends_on, level FROM activate_graph() WHERE sync = 'value';
SELECT line FROM regexp_split_to_table(activate_graph_dot(), '\n') line WHERE line ~ 'order';
ALTER TABLE "stage ""order""" RENAME TO stage_order;

-- partitions: who writes one writes the whole, and the other way round
CREATE TABLE part (tenant int, id int, PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
SELECT activate_sync('into part', 'SELECT 1 AS tenant, id FROM raw_order', 'part_1', key => 'tenant, id') > 0 AS declared;
SELECT activate_sync('into all', 'SELECT customer AS tenant, id FROM raw_order WHERE customer < 3', 'part', key => 'tenant, id') > 0 AS declared;
SELECT activate_sync('of all', 'part', 'of_all') > 0 AS declared;
SELECT activate_sync('of other', 'part_2', 'of_other') > 0 AS declared;
SELECT sync, source, depends_on, level FROM activate_graph() WHERE sync LIKE 'of %';

-- circles
SELECT activate_sync('back', '"Model mart".customer', 'raw_customer', map => '{"id": "id", "email": "lower(email)"}');
SELECT activate_sync('detour', '"Model mart".customer', 'detour') > 0 AS declared;
SELECT activate_sync('back', 'SELECT id, email FROM detour', 'stage_customer', key => 'id');
SELECT activate_sync('customers', 'SELECT r.* FROM raw_customer r JOIN detour USING (id)', 'stage_customer', key => 'id');
SELECT activate_sync('view back', 'SELECT customer AS id, 10 AS amount FROM good', 'raw_order', key => 'id', map => '{"id": "id", "amount": "amount"}');
-- to read what one writes is no circle, nor is the way through a web API
SELECT activate_sync('new only', 'SELECT id, email FROM raw_customer r WHERE NOT EXISTS (SELECT FROM new_only n WHERE n.id = r.id)', 'new_only', key => 'id');
CREATE TABLE new_only (id int PRIMARY KEY, email text);
SELECT activate_sync('new only', 'SELECT id, email FROM raw_customer r WHERE NOT EXISTS (SELECT FROM new_only n WHERE n.id = r.id)', 'new_only', key => 'id',
	mode => 'append') > 0 AS declared;
SELECT activate_run('new only') > 0 AS run;
SELECT activate_target('model_crm', 'rest', '{"base_url": "http://127.0.0.1:1", "objects": {"contacts": {"path": "/contacts", "key": "id",
	"columns": {"id": "bigint", "email": "text"}, "read": {"records": "data"}, "write": {"upsert": {"method": "PUT", "path": "/contacts/{id}"}}}}}');
SELECT activate_sync('there', 'raw_customer', 'model_crm.contacts', map => '{"id": "id", "email": "email"}') > 0 AS declared;
SELECT activate_sync('and back', 'model_crm.contacts', 'raw_customer', map => '{"id": "id::int", "email": "email"}', key => 'id') > 0 AS declared;
SELECT activate_drop('and back');
SELECT activate_sync('and back', 'model_crm.contacts', 'raw_customer') > 0 AS declared;
SELECT * FROM activate_graph() WHERE sync IN ('there', 'and back');
SELECT activate_drop('and back');

-- what the scheduler makes of it: what runs by itself after what it reads, and nothing that needs a schedule
SELECT activate._note_upstream();
SELECT s.name, array_agg(u.name ORDER BY u.name) AS upstream, activate._schedule_of(s.name)
  FROM activate._upstream e JOIN activate.sync s ON s.id = e.sync JOIN activate.sync u ON u.id = e.upstream GROUP BY 1 ORDER BY 1;

-- a model that is a view
SELECT activate_sync('top', 'SELECT id, email, paid FROM "Model mart".customer WHERE paid > 100', '"Model mart".top',
	map => '{"number": "id", "mail": "lower(email)", "kind": "''top''", "paid": "paid"}', options => '{"materialized": "view", "where": "id > 1"}') > 0 AS declared;
SELECT replace(pg_get_viewdef('"Model mart".top'), 'source.', '') AS definition;
SELECT pg_get_userbyid(relowner) = current_user AS mine FROM pg_class WHERE oid = '"Model mart".top'::regclass;
SELECT activate_run('customers') > 0 AND activate_run('orders') > 0 AND activate_run('value') > 0 AS run;
SELECT * FROM "Model mart".top ORDER BY 1;
-- it has nothing to run
SELECT activate_run('top') > 0 AS run;
SELECT status, rows_read, rows_inserted FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'top';
SELECT activate_explain('top');
-- what reads it depends on it, and is started by what is behind it
SELECT activate_sync('top copy', '"Model mart".top', 'top_copy', key => 'number') > 0 AS declared;
SELECT * FROM activate_graph() WHERE sync LIKE 'top%';
SELECT activate._note_upstream();
SELECT activate._schedule_of('top'), activate._schedule_of('top copy');
-- declared again: replaced; columns can be added, as PostgreSQL has it
ALTER VIEW "Model mart".top SET (security_barrier);
SELECT activate_sync('top', 'SELECT id, email, paid FROM "Model mart".customer', '"Model mart".top',
	map => '{"number": "id", "mail": "lower(email)", "kind": "''all''", "paid": "paid", "second": "id * 2"}', options => '{"materialized": "view"}') > 0 AS declared;
SELECT reloptions FROM pg_class WHERE oid = '"Model mart".top'::regclass;
SELECT * FROM "Model mart".top ORDER BY number;
SELECT activate_sync('top', 'SELECT id, email FROM "Model mart".customer', '"Model mart".top', options => '{"materialized": "view"}');
-- dropped with the sync it is not, and with it the sync is paused
SELECT activate_sync('short', 'raw_order', 'short', options => '{"materialized": "view"}') > 0 AS declared;
SELECT activate_drop('short');
SELECT count(*) FROM short;
SELECT activate_sync('short', 'SELECT id FROM raw_order', 'short', options => '{"materialized": "view"}');
SELECT activate_sync('short', 'raw_order', 'short', options => '{"materialized": "view"}') > 0 AS declared;
DROP VIEW short;
SELECT paused, pause_reason FROM activate.sync WHERE name = 'short';
SELECT activate_sync('short', 'SELECT id FROM raw_order', 'short', options => '{"materialized": "view"}') > 0 AS declared;
-- refused
SELECT activate_sync('no', 'raw_order', 'stage_order', options => '{"materialized": "view"}');
SELECT activate_sync('no', 'raw_order', 'model_hook.change', options => '{"materialized": "view"}');
SELECT activate_sync('no', 'raw_order', 'model_hook.change', options => '{"materialized": "table"}');
SELECT activate_sync('no', 'raw_order', 'no', options => '{"materialized": "views"}');
SELECT activate_sync('no', 'raw_order', 'no', schedule => '@hourly', options => '{"materialized": "view"}');
SELECT activate_sync('no', 'raw_order', 'no', capture => 'trigger', options => '{"materialized": "view"}');
SELECT activate_sync('no', 'raw_order', 'no', mode => 'append', options => '{"materialized": "view"}');
SELECT activate_sync('no', 'raw_order', 'no', options => '{"materialized": "view", "history": true}');
SELECT activate_sync('no', 'raw_order', 'no', options => '{"materialized": "incremental"}');
SELECT activate_sync('short', 'SELECT id FROM short', 'short', options => '{"materialized": "view"}');
SELECT activate_sync('short', 'raw_order', 'short');
-- a table is the default
SELECT activate_sync('plain', 'raw_order', 'plain', options => '{"materialized": "table"}') > 0 AS declared;

-- rights: the owner's, as views have it; each sees the graph of what is theirs
GRANT SELECT (id, email) ON raw_customer TO model_owner;
SET ROLE model_owner;
SELECT activate_sync('their', 'SELECT id, email FROM raw_customer', 'their', options => '{"materialized": "view"}') > 0 AS declared;
SELECT activate_sync('their', 'SELECT id, secret FROM raw_customer', 'their', options => '{"materialized": "view"}');
SELECT activate_sync('theirs', 'SELECT t.id FROM their t', 'theirs', key => 'id') > 0 AS declared;
SELECT * FROM activate_graph();
RESET ROLE;
SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'their'::regclass;
SET ROLE model_stranger;
SELECT * FROM activate_graph();
SELECT activate_graph_dot();
RESET ROLE;

-- the script has what declares it
SELECT line FROM activate_export() line WHERE line LIKE '%materialized%view%' AND line LIKE '%their%';

SELECT activate_drop(name) FROM activate.sync WHERE NOT implicit ORDER BY id;
SET client_min_messages = warning;
DROP SERVER model_hook CASCADE;
DROP SERVER model_crm CASCADE;
DROP SCHEMA model_test, "Model mart", model_hook, model_crm CASCADE;
DROP OWNED BY model_owner;
DROP ROLE model_owner, model_stranger;
