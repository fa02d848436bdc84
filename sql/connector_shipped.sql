-- The connectors that are shipped: each is declared, its tables are shown, and what one row of each operation becomes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
SET TimeZone = 'UTC';
CREATE SCHEMA shipped_test;
SET search_path = shipped_test, public;

-- a value of a type, that looks like one of the column
CREATE FUNCTION example(name text, type text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE
		WHEN type IN ('jsonb', 'json') THEN '{"a": 1}'
		WHEN type = 'boolean' THEN 'true'
		WHEN type IN ('integer', 'bigint', 'smallint') THEN '7'
		WHEN type IN ('numeric', 'double precision', 'real') THEN '1.5'
		WHEN type = 'date' THEN '"2026-01-31"'
		WHEN type = 'timestamp with time zone' THEN '"2026-01-31T12:00:00+00:00"'
		WHEN type LIKE '%[]' THEN '["x", "y"]'
		WHEN type = 'uuid' THEN '"00000000-0000-0000-0000-000000000007"'
		WHEN name ~ 'email' THEN '"Ada@x.test"'
		WHEN name ~ 'phone' THEN '"+39 06 123"'
		ELSE '"x"'
	END::jsonb
$$;

CREATE FUNCTION shipped_tables(connector text) RETURNS TABLE (object text, key text, columns text) LANGUAGE plpgsql AS $$
DECLARE
	definition jsonb := (SELECT c.definition FROM activate.connector c WHERE c.name = connector);
BEGIN
	EXECUTE format('CREATE SCHEMA %I', connector);
	EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER activate OPTIONS (connector %L)', connector, connector);
	IF definition ? 'parameters' THEN
		EXECUTE format('ALTER SERVER %I OPTIONS (parameters %L)', connector,
			(SELECT jsonb_object_agg(p.key, coalesce(p.value ->> 'default', 'my_' || p.key)) FROM jsonb_each(definition -> 'parameters') p));
	END IF;
	EXECUTE format('IMPORT FOREIGN SCHEMA x FROM SERVER %I INTO %I', connector, connector);
	RETURN QUERY SELECT r.relname::text, definition #>> ARRAY['objects', r.relname, 'key'],
			string_agg(a.attname || CASE format_type(a.atttypid, a.atttypmod) WHEN 'text' THEN ''
				ELSE ' ' || replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') END
				|| CASE WHEN definition #> ARRAY['objects', r.relname, 'columns', a.attname, 'readonly'] = 'true' THEN ' (read)' ELSE '' END,
				', ' ORDER BY a.attnum)
		FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE r.relnamespace = connector::regnamespace GROUP BY r.relname ORDER BY r.relname;
END
$$;

-- one row per operation, but for those of many rows; what is not written is left out of the row
CREATE FUNCTION shipped_requests(connector text) RETURNS TABLE (operation text, request text, body text) LANGUAGE plpgsql AS $$
DECLARE
	definition jsonb := (SELECT c.definition FROM activate.connector c WHERE c.name = connector);
	o record;
	r jsonb;
BEGIN
	FOR o IN SELECT c.oid::regclass AS tab, c.relname AS object, op,
			jsonb_object_agg(a.attname, example(a.attname, format_type(a.atttypid, a.atttypmod)))
				FILTER (WHERE d.def -> 'readonly' IS DISTINCT FROM 'true') AS whole,
			jsonb_object_agg(a.attname, example(a.attname, format_type(a.atttypid, a.atttypmod)))
				FILTER (WHERE a.attname IN (SELECT trim(k) FROM regexp_split_to_table(definition #>> ARRAY['objects', c.relname, 'key'], '[][", ]+') k)) AS key
		FROM pg_class c
		CROSS JOIN LATERAL jsonb_object_keys(definition #> ARRAY['objects', c.relname, 'write']) AS op
		JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		CROSS JOIN LATERAL (SELECT definition #> ARRAY['objects', c.relname, 'columns', a.attname]) AS d (def)
		WHERE c.relnamespace = connector::regnamespace AND op NOT LIKE 'bulk%'
		GROUP BY 1, 2, 3 ORDER BY 2, array_position('{insert,update,upsert,delete}', op)
	LOOP
		operation := o.object || ' ' || o.op;
		BEGIN
			r := activate._connector_request(o.tab, jsonb_build_array(jsonb_build_object('op', o.op, 'id', 'the-id', 'seq', 1, 'sync', 's',
				'key', o.key, 'target_key', o.key, 'remote_id', 'the-remote-id', 'row', CASE WHEN o.op <> 'delete' THEN o.whole END)));
			request := concat_ws(' ', r ->> 'method', r ->> 'url',
				(SELECT string_agg(h.key || ': ' || h.value, '; ' ORDER BY h.key) FROM jsonb_each_text(r -> 'headers') h
				  WHERE lower(h.key) NOT IN ('accept', 'idempotency-key', 'content-type') OR h.key = 'Content-Type' AND h.value <> 'application/json'));
			body := r ->> 'body';
		EXCEPTION WHEN OTHERS THEN
			request := SQLSTATE || ': ' || SQLERRM;
			body := NULL;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;

-- of each condition that goes along what is asked for, and what stands between quotes there
CREATE FUNCTION shipped_asks(connector text) RETURNS TABLE (condition text, request text) LANGUAGE plpgsql AS $$
DECLARE
	definition jsonb := (SELECT c.definition FROM activate.connector c WHERE c.name = connector);
	values_of jsonb := '{"boolean": ["true", "false"], "bigint": ["7", "8"], "integer": ["7", "8"], "timestamp with time zone": ["2026-01-31 12:00:00Z"]}';
	o record;
	line text;
BEGIN
	FOR o IN SELECT r.relname AS object, f.key AS name, p.op, coalesce(values_of -> format_type(a.atttypid, -1), '["x", "y z"]') AS v
		FROM pg_class r, jsonb_each(definition #> ARRAY['objects', r.relname, 'read', 'filter']) f,
			LATERAL (SELECT op FROM unnest('{eq,in,gt,ge,lt,le}'::text[]) op WHERE CASE WHEN jsonb_typeof(f.value) = 'string' THEN op = 'eq' ELSE f.value ? op END) p,
			pg_attribute a
		WHERE r.relnamespace = connector::regnamespace AND a.attrelid = r.oid AND a.attname = f.key ORDER BY r.relname, a.attnum, array_position('{eq,in,gt,ge,lt,le}', p.op)
	LOOP
		IF o.op = 'in' THEN
			condition := format('%I IN (%L, %L)', o.name, o.v ->> 0, o.v ->> 1);
		ELSE
			condition := format('%I %s %L', o.name, '{"eq": "=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}'::jsonb ->> o.op, o.v ->> 0);
		END IF;
		FOR line IN EXECUTE format('EXPLAIN (COSTS off) SELECT * FROM %I.%I WHERE %s', connector, o.object, condition) LOOP
			request := coalesce(substring(line FROM 'Request: (.*)'), request);
		END LOOP;
		condition := o.object || ': ' || condition;
		RETURN NEXT;
		request := NULL;
	END LOOP;
END
$$;

\pset format unaligned
\pset tuples_only on
SELECT format('SELECT object, key, columns FROM shipped_tables(%L)', name) AS tables, format('SELECT * FROM shipped_requests(%L)', name) AS requests
  FROM activate.connector WHERE shipped AND definition ? 'objects' AND name <> 'webhook' ORDER BY name \gexec
SELECT format('SELECT * FROM shipped_asks(%L)', name) AS asks
  FROM activate.connector WHERE shipped AND jsonb_path_exists(definition, '$.objects.*.read.filter') ORDER BY name \gexec
-- what would end the quotes is not asked for
EXPLAIN (COSTS off) SELECT name FROM klaviyo.lists WHERE name = 'the "best"';
EXPLAIN (COSTS off) SELECT name FROM klaviyo.lists WHERE name IN ('a', 'b\c');
EXPLAIN (COSTS off) SELECT name FROM klaviyo.lists WHERE name IN ('a', 'it''s');
\pset tuples_only off
\pset format aligned

SELECT format('DROP SERVER %I CASCADE; DROP SCHEMA %I CASCADE;', name, name)
  FROM activate.connector WHERE shipped AND definition ? 'objects' AND name <> 'webhook' ORDER BY name \gexec
DROP SCHEMA shipped_test CASCADE;
