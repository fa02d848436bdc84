-- What an API is asked for: conditions, LIMIT, children of other objects; and ANALYZE.
\getenv url ACTIVATE_SERVICE_URL
SELECT set_config('test.url', :'url', false) AS url \gset test_
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
SET TimeZone = 'America/New_York';
SET DateStyle = 'SQL, DMY';

-- Of a plan what is asked for, and what stays here; which side of "=" a parameter is on is PostgreSQL's affair.
CREATE FUNCTION asked(statement text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || statement LOOP
		IF line ~ 'Request:|Sent:|Local:|Scan on|Nested|Join' THEN
			RETURN NEXT regexp_replace(trim(replace(line, current_setting('test.url'), 'URL')), '\((\S+) = (\$\d)\)', '(\2 = \1)');
		END IF;
	END LOOP;
END
$$;
CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

\! for i in 1 2 3 4 5 6 7 8 9; do s=open; [ $((i % 3)) = 0 ] && s="closed,late"; "$ACTIVATE_SERVICE" call POST /objects/deals "{\"id\": $i, \"status\": \"$s\", \"amount\": $i.50, \"hot\": $([ $i -gt 6 ] && echo true || echo false), \"day\": \"2026-01-0$i\", \"at\": \"2026-01-0${i}T12:00:00.500Z\", \"sec\": $((1767268800 + i))}" >/dev/null; done
SELECT activate_target('api', 'rest', jsonb_build_object('base_url', :'url', 'objects', (SELECT jsonb_object_agg(name, jsonb_build_object(
		'path', '/objects/deals', 'key', 'id',
		'columns', '{"id": "bigint", "status": "text", "amount": "numeric", "hot": "boolean", "day": "date", "at": "timestamptz", "sec": {"type": "timestamptz", "date": "unix"}}'::jsonb,
		'read', '{"records": "data", "page": {"style": "page", "size": 4}}'::jsonb || read))
	FROM (VALUES
		-- honours what it is asked for; knows nothing of it; declares nothing
		('knows', '{"filter": {"id": {"eq": "eq.id", "in": {"param": "in.id", "most": 2}}, "status": {"eq": "eq.status", "in": "in.status"}, "hot": "eq.hot",
			"amount": {"gt": "gt.amount", "le": {"param": "le.amount", "value": "{value}"}}, "day": {"eq": "eq.day", "ge": "ge.day", "lt": "lt.day"},
			"at": {"ge": "ge.at", "le": "le.at"}, "sec": {"ge": "ge.sec", "le": "le.sec"}}, "limit": {"param": "per_page", "most": 100}}'::jsonb),
		('ignores', '{"filter": {"id": {"eq": "id", "in": {"param": "ids", "most": 2}}, "status": {"eq": "state", "in": "states"}, "hot": "hot",
			"amount": {"gt": "more", "le": "most"}, "day": {"eq": "day", "ge": "from", "lt": "to"}, "at": {"ge": "since", "le": "until"}, "sec": {"ge": "a", "le": "b"}}, "limit": "max"}'),
		('one', '{"filter": {"id": "eq.id"}, "page": {"style": "cursor", "param": "cursor", "next": "paging.next", "size": 50}}'),
		('repeats', '{"filter": {"id": {"in": {"param": "any.id", "repeat": true}}}, "page": {"style": "none"}}'),
		('nothing', '{}')) v (name, read))));

-- the plan says what is asked for
SELECT asked('SELECT * FROM api.knows WHERE id = 3');
SELECT asked('SELECT * FROM api.knows WHERE 3::int = id AND status <> ''x''');
SELECT asked('SELECT * FROM api.knows WHERE id IN (5, 3, 5, NULL)');
SELECT asked('SELECT * FROM api.knows WHERE id IN (5, 3, 1)');
SELECT asked('SELECT * FROM api.knows WHERE status = ''a b&c'' AND hot AND amount > 1.50 AND amount < 100');
SELECT asked('SELECT * FROM api.knows WHERE NOT hot AND day BETWEEN ''02/01/2026'' AND ''03/01/2026''');
SELECT asked('SELECT * FROM api.knows WHERE at > ''02/01/2026 07:00:00.25'' AND at <= ''03/01/2026 07:00''');
SELECT asked('SELECT * FROM api.knows WHERE sec >= ''01/01/2026 07:00:01.25'' AND sec < ''01/01/2026 07:00:03.25''');
SELECT asked('SELECT * FROM api.nothing WHERE id = 3');
PREPARE by_status AS SELECT count(*) FROM api.knows WHERE status = $1 AND id < $2;
SET plan_cache_mode = force_generic_plan;
SELECT asked('EXECUTE by_status(''open'', 5)');
EXECUTE by_status('open', 5);
RESET plan_cache_mode;
-- what is not known before the rows are, or has another meaning here, stays here
SELECT asked('SELECT * FROM api.knows WHERE id = random()::int AND status > ''a'' AND status LIKE ''b%'' AND (id = 1 OR hot)');
SELECT asked('SELECT * FROM api.knows WHERE id = amount AND amount >= 3 AND at = ''01/01/2026'' AND status = ''''');
SELECT asked('SELECT * FROM api.knows WHERE status IN (''open'', ''closed,late'')');

-- what an API may have in a finer form than it is read in
SELECT activate_target('api', 'rest', '{"objects": {"measured": {"path": "/objects/deals",
	"columns": {"ratio": "float8", "small": "float4", "sec": {"type": "timestamptz", "date": "unix"}, "born": {"type": "timestamptz", "date": "date"}},
	"read": {"records": "data", "filter": {"ratio": {"ge": "ratio"}, "small": {"ge": "small"}, "sec": {"le": "until", "lt": "before"}, "born": {"le": "born"}}}}}}');
SELECT asked('SELECT * FROM api.measured WHERE ratio >= 0.1 AND small >= 0.1 AND sec <= ''01/01/2026 07:00:03'' AND born <= ''2026-01-02 00:00 UTC''');
SELECT asked('SELECT * FROM api.measured WHERE sec < ''01/01/2026 07:00:03''');

-- whatever the API makes of it, the rows are the same
CREATE FUNCTION same(condition text, OUT rows bigint, OUT knows boolean, OUT ignores boolean)
LANGUAGE plpgsql AS $$
DECLARE
	right_one text;
	query text := 'SELECT coalesce(string_agg(d::text, E''\n'' ORDER BY id), '''') FROM api.%s d WHERE ' || condition;
	got text;
BEGIN
	EXECUTE format(query, 'nothing') INTO right_one;
	EXECUTE format('SELECT count(*) FROM api.nothing d WHERE %s', condition) INTO rows;
	EXECUTE format(query, 'knows') INTO got;
	knows := got = right_one;
	EXECUTE format(query, 'ignores') INTO got;
	ignores := got = right_one;
END
$$;
SELECT c AS condition, s.* FROM unnest(ARRAY['id = 3', 'id = 3.0', 'id IN (1, 2, 3, 3, 9, 77)', 'id IN (1, 2) AND status IN (''open'', ''x'', ''y'')', 'id = ANY (ARRAY[]::bigint[])', 'id = NULL',
	'status = ''open''', 'status = ''''', 'status IN (''open'', ''closed,late'')', 'hot', 'NOT hot', 'hot IS NOT TRUE', 'amount > 3.50', 'amount >= 3.5', 'amount <= 4.500', 'amount < 4.50',
	'amount > ''NaN''', 'day = ''03/01/2026''', 'day >= ''03/01/2026'' AND day < ''05/01/2026''', 'day < ''infinity''', 'day <= ''05/01/2026''', 'at >= ''03/01/2026 07:00:00.5''', 'at > ''03/01/2026 07:00:00.5''',
	'at <= ''03/01/2026 07:00:00.5''', 'at < ''03/01/2026 07:00:00.5''', 'sec >= ''01/01/2026 07:00:03.25''', 'sec <= ''01/01/2026 07:00:03.25''', 'sec < ''01/01/2026 07:00:03''', 'at > ''-infinity''',
	'id = (SELECT 4)', 'id IN (SELECT g FROM generate_series(2, 4) g)', 'id = length(status)', 'id = 2 AND id = 3', 'id > 2 AND status = ''open'' AND amount > 2 AND hot']) c, same(c) s;

-- a list is cut, and no row comes twice; it is not asked for where all is cheaper
CREATE TABLE ids AS SELECT g::bigint AS id FROM generate_series(1, 40) g;
SELECT array_agg(id ORDER BY id) FROM api.one WHERE id IN (4, 2, 2, 11);
\! "$ACTIVATE_SERVICE" call GET "/_log?path=/objects/deals&last=3" | grep -o '"query": *"[^"]*"'
SELECT array_agg(id ORDER BY id) FROM api.repeats WHERE id IN (4, 2, 2, 11);
SELECT asked('SELECT * FROM api.repeats WHERE id IN (4, 2, 2, 11)');
SELECT array_agg(id ORDER BY id) FROM api.ignores WHERE id = ANY (ARRAY(SELECT id FROM ids));
SELECT array_agg(id ORDER BY id) FROM api.one WHERE id = ANY (ARRAY(SELECT id FROM ids));
\! "$ACTIVATE_SERVICE" call GET "/_log?path=/objects/deals&last=1" | grep -o '"query": *"[^"]*"'

-- LIMIT: only where nothing comes after it
SELECT asked('SELECT * FROM api.knows LIMIT 2');
SELECT asked('SELECT * FROM api.ignores OFFSET 1 LIMIT 2');
SELECT asked('SELECT * FROM api.ignores LIMIT 5');
SELECT asked('SELECT * FROM api.knows WHERE id > 2 LIMIT 2');
SELECT asked('SELECT * FROM api.knows WHERE id = 2 LIMIT 2');
SELECT asked('SELECT * FROM api.knows ORDER BY amount LIMIT 2');
SELECT asked('SELECT DISTINCT status FROM api.knows LIMIT 2');
SELECT asked('SELECT count(*) FROM api.knows LIMIT 1');
SELECT asked('SELECT generate_series(1, 2) FROM api.knows LIMIT 2');
SELECT asked('SELECT * FROM api.knows a, api.nothing b LIMIT 2');
SELECT asked('SELECT * FROM api.knows LIMIT (SELECT 2)');
SELECT asked('SELECT * FROM (SELECT * FROM api.knows LIMIT 3) k WHERE id > 1');
SELECT asked('(SELECT id FROM api.knows UNION ALL SELECT id FROM api.nothing) LIMIT 3');
SELECT asked('SELECT * FROM api.knows LIMIT 2 FOR UPDATE');
SELECT array_agg(id) FROM (SELECT id FROM api.knows LIMIT 6) k;
SELECT array_agg(id) FROM (SELECT id FROM api.ignores OFFSET 3 LIMIT 3) k;
SELECT array_agg(id) FROM (SELECT id FROM api.knows ORDER BY id DESC LIMIT 2) k;

-- children of other objects: the path names what a condition or a join has to fix
\! for c in 1 2 3; do "$ACTIVATE_SERVICE" call POST /objects/customers "{\"id\": $c, \"name\": \"C$c\"}" >/dev/null; for i in 1 2 3; do [ $c = 3 ] || "$ACTIVATE_SERVICE" call POST /objects/orders-$c "{\"id\": $c$i, \"total\": $i}" >/dev/null; done; done
SELECT activate_target('api', 'rest', '{"objects": {
	"customers": {"path": "/objects/customers", "key": "id", "columns": {"id": "bigint", "name": "text"}, "read": {"records": "data"}},
	"orders": {"path": "/objects/orders-{customer_id}", "key": ["customer_id", "id"], "columns": {"customer_id": "bigint", "id": "bigint", "total": "numeric"},
		"read": {"records": "data", "page": {"style": "cursor", "param": "cursor", "next": "paging.next", "size": 2}}},
	"told": {"path": "/objects/deals", "columns": {"id": "bigint", "status": "text"}, "read": {"records": "data", "filter": {"status": {"eq": "eq.status", "required": true}}}},
	"accounts": {"path": "/objects/deals", "columns": {"account": "bigint", "id": "bigint", "status": "text"}, "read": {"records": "data",
		"filter": {"account": {"in": {"param": "account", "repeat": true}, "required": true}, "status": {"in": "in.status"}}}}}}');
SELECT * FROM api.orders WHERE customer_id = 2;
SELECT * FROM api.orders WHERE customer_id IN (2, 1, 9, 2) AND total >= 2 ORDER BY id;
SELECT asked('SELECT c.name, o.* FROM api.customers c JOIN api.orders o ON o.customer_id = c.id');
SELECT c.name, o.* FROM api.customers c LEFT JOIN api.orders o ON o.customer_id = c.id AND o.total > 1 ORDER BY c.id, o.id;
\! "$ACTIVATE_SERVICE" call GET "/_log?path=/objects/orders&last=5" | grep -o '"path": *"[^}]*"query": *"[^"]*"'
SELECT c.name, (SELECT sum(total) FROM api.orders o WHERE o.customer_id = c.id) FROM api.customers c ORDER BY 1;
SELECT name FROM api.customers c WHERE EXISTS (SELECT FROM api.orders o WHERE o.customer_id = c.id) ORDER BY 1;
SELECT count(*) FROM ids JOIN api.orders o ON o.customer_id = ids.id WHERE ids.id < 4;
SELECT count(*) FROM api.customers c, LATERAL (SELECT * FROM api.orders o WHERE o.customer_id = c.id LIMIT 1) x;
SELECT * FROM failure('SELECT * FROM api.orders') \gx
SELECT * FROM failure('SELECT * FROM api.orders o FULL JOIN api.customers c ON o.customer_id = c.id') \gx
SELECT * FROM failure('SELECT * FROM api.orders WHERE customer_id > 1') \gx
SELECT * FROM failure('SELECT * FROM api.told') \gx
SELECT asked('SELECT * FROM api.orders');
SELECT array_agg(id ORDER BY id) FROM api.told WHERE status = 'closed,late';
-- what records do not tell and the API has to be told is what it was told, if that was one value
SELECT * FROM api.accounts WHERE account = 7 AND id < 3;
SELECT * FROM api.accounts WHERE account IN (7, 8) AND id < 3;
SELECT count(*) FROM api.told t JOIN (VALUES ('open'), ('closed,late')) v (s) ON v.s = t.status;

-- ANALYZE: rows and values, read with the owner's mapping; not of what is read for a value at a time only
ANALYZE api.nothing, api.customers;
SELECT relname, reltuples FROM pg_class WHERE oid IN ('api.nothing'::regclass, 'api.customers'::regclass) ORDER BY 1;
SELECT attname, n_distinct, most_common_vals FROM pg_stats WHERE schemaname = 'api' AND tablename = 'nothing' AND attname IN ('id', 'status', 'hot') ORDER BY 1;
EXPLAIN SELECT * FROM api.nothing WHERE status = 'open';
ANALYZE api.orders;
CREATE ROLE regress_analyst;
GRANT ALL ON SCHEMA api TO regress_analyst;
ALTER FOREIGN TABLE api.nothing OWNER TO regress_analyst;
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_bearer": "tok"}' >/dev/null
SELECT * FROM failure('ANALYZE api.nothing') \gx
SELECT activate_target('api', 'rest', '{"mapping_for": "regress_analyst"}', '{"bearer": "tok"}');
ANALYZE api.nothing;
\! "$ACTIVATE_SERVICE" call POST /_control '{"require_bearer": null}' >/dev/null
REASSIGN OWNED BY regress_analyst TO CURRENT_USER;
DROP USER MAPPING FOR regress_analyst SERVER api;
DROP OWNED BY regress_analyst;
DROP ROLE regress_analyst;

-- UPDATE and DELETE read by the same conditions
SELECT activate_target('api', 'rest', '{"objects": {"owned": {"path": "/objects/deals", "key": "id", "columns": {"id": "bigint", "status": "text"}, "read": {"records": "data", "filter": {"status": "eq.status"}}, "write": {"delete": {}}}}}');
SELECT asked('DELETE FROM api.owned WHERE status = ''open''');
BEGIN;
WITH gone AS (DELETE FROM api.owned WHERE status = 'closed,late' RETURNING id) SELECT array_agg(id ORDER BY id) FROM gone;
ROLLBACK;

-- what is no filter is refused with what is valid
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"b": "b"}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {"equal": "b"}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {"eq": ""}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {"eq": {"param": "f", "value": "x"}}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {"eq": {"param": "f", "value": "{v}"}}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": {"ge": "f", "required": true}}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"filter": {"a": "api_key"}}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"path": "/x/{none}"}}}}')$q$) \gx
SELECT * FROM failure($q$SELECT activate_target('api', 'rest', '{"objects": {"bad": {"path": "/b", "columns": {"a": "int"}, "read": {"limit": {"most": 3}}}}}')$q$) \gx

SET client_min_messages = warning;
DROP SERVER api CASCADE;
DROP SCHEMA api CASCADE;
DROP TABLE ids;
DROP FUNCTION asked, failure, same;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
