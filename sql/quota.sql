-- Rates, quotas and priorities: what may be declared.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
SET activate.enabled = off;

-- what a definition is refused for
CREATE FUNCTION refused(definition jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	PERFORM activate_connector('{"name": "bad"}' || definition);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || SQLERRM || coalesce(nullif(E'\n' || hint, E'\n'), '');
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT d || E'\n' || refused(d::jsonb || '{"objects": {"o": {"path": "/o"}}}') FROM unnest(ARRAY[
	'{"rate": 5}', '{"rate": {"calls": 1, "per": "1s"}}', '{"rate": ["1/s"]}', '{"rate": [{"calls": 1}]}', '{"rate": [{"per": "1s"}]}',
	'{"rate": [{"calls": 0, "per": "1s"}]}', '{"rate": [{"calls": 1, "per": "0s"}]}', '{"rate": [{"calls": 1, "per": "10ms"}]}',
	'{"rate": [{"calls": 1, "per": "2 months"}]}', '{"rate": [{"calls": 1, "per": "1s", "burst": 2}]}',
	'{"rate": [{"calls": 1, "per": "60s"}, {"calls": 2, "per": "1 minute"}]}',
	'{"rate": [{"calls": 1, "per": "1s"}, {"calls": 1, "per": "2s"}, {"calls": 1, "per": "3s"}, {"calls": 1, "per": "4s"}, {"calls": 1, "per": "5s"}]}',
	'{"concurrent": 0}', '{"concurrent": "many"}',
	'{"quota": [{"limit": "X-Limit"}]}', '{"quota": [{"remaining": "X-Left", "used": "X-Used"}]}', '{"quota": [{"remaining": "X Left"}]}', '{"quota": [{"remaining": 1}]}',
	'{"throttle": {"code": "error.code"}}', '{"throttle": {"codes": {"606": "20s"}}}', '{"throttle": {"code": "error.code", "codes": {"606": 20}}}',
	'{"throttle": {"code": "error..code", "codes": {"606": "20s"}}}', '{"throttle": {"wait": "soon"}}',
	'{"rate": [], "quota": [], "throttle": {}}', '{"rate": [{"calls": 100, "per": "10s"}, {"calls": 250000, "per": "1 day"}], "concurrent": 4,
		"quota": [{"remaining": "X-Left", "limit": "X-Max", "reset": "X-Reset"}, {"used": "X-Calls", "per": "1 hour"}], "throttle": {"code": "policy", "codes": {"DAILY": "1 day"}, "wait": "30s"}}'
	]) d;
SELECT refused('{"objects": {"o": {"path": "/o", "key": "a", "columns": {"a": "text"}, "write": {"upsert": {"cost": 0}}}}}');
SELECT refused('{"objects": {"o": {"path": "/o", "read": {"cost": 1.5}}}}');
SELECT refused('{"objects": {"o": {"path": "/o", "key": "a", "columns": {"a": "text"}, "read": {"cost": 2}, "write": {"upsert": {"cost": 10}}}}}');

-- as options
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest', rate '100/10s');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', rate '[{"calls": "many", "per": "10s"}]');
CREATE SERVER bad FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://x', concurrent 'many');
SELECT activate_target('quota_hook', 'webhook', '{"url": "http://127.0.0.1:1/", "rate": [{"calls": 10, "per": "1 hour"}, {"calls": 100, "per": "1 day"}], "concurrent": 2}');
SELECT unnest(srvoptions) FROM pg_foreign_server WHERE srvname = 'quota_hook';
ALTER SERVER quota_hook OPTIONS (SET rate '[{"calls": 10}]');
CREATE TABLE quota_source (id int PRIMARY KEY, v text);

-- priority
SELECT activate_sync('quota', 'quota_source', 'quota_hook.change', options => '{"priority": "high"}');
SELECT activate_sync('quota', 'quota_source', 'quota_hook.change', options => '{"priority": 1}');
SELECT activate_sync('quota', 'quota_source', 'quota_hook.change', options => '{"priority": "backfill"}') > 0;

-- what it costs: the first run is a backfill, which may use eight of ten
SELECT activate_pause('target:quota_hook');
INSERT INTO quota_source SELECT i, 'v' FROM generate_series(1, 25) i;
SELECT activate_explain('quota');
SELECT activate_sync('quota', 'quota_source', 'quota_hook.change', options => '{"priority": "interactive"}') > 0;
SELECT activate_explain('quota');
ALTER SERVER quota_hook OPTIONS (SET rate '[{"calls": 1000, "per": "90s"}, {"calls": 100, "per": "2 days"}]', ADD batch '10');
SELECT activate_explain('quota');
-- what is pending goes by the same budget
SELECT activate_run('quota') > 0;
ALTER SERVER quota_hook OPTIONS (SET rate '[{"calls": 1, "per": "90s"}]');
SELECT activate_explain('quota');
SELECT activate_discard('quota');
ALTER SERVER quota_hook OPTIONS (DROP rate);
SELECT activate_explain('quota');
-- by operation, at their cost
SELECT activate_target('quota_crm', 'rest', '{"base_url": "http://127.0.0.1:1", "rate": [{"calls": 100, "per": "1 min"}], "objects": {"o": {"path": "/o", "key": "id",
	"columns": {"id": "int", "v": "text"}, "write": {"upsert": {"cost": 30}, "delete": {}}}}}');
SELECT activate_sync('quota_cost', 'quota_source', 'quota_crm.o', mode => 'mirror') > 0;
SELECT activate_explain('quota_cost');
-- none of it for a table
CREATE TABLE quota_table (LIKE quota_source INCLUDING ALL);
SELECT activate_sync('quota_local', 'quota_source', 'quota_table') > 0;
SELECT activate_explain('quota_local');

SET client_min_messages = warning;
SELECT activate_drop('quota'), activate_drop('quota_cost'), activate_drop('quota_local');
DROP TABLE quota_table;
DROP SCHEMA quota_crm CASCADE;
DROP SERVER quota_crm CASCADE;
DROP SCHEMA quota_hook CASCADE;
DROP SERVER quota_hook CASCADE;
DROP TABLE quota_source;
DROP FUNCTION refused;
DELETE FROM activate.connector WHERE name = 'bad';
