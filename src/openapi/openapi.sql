CREATE FUNCTION @extschema@.activate_openapi(document jsonb, name text, options jsonb DEFAULT '{}') RETURNS text
LANGUAGE c STRICT
AS 'MODULE_PATHNAME', 'activate_openapi';
COMMENT ON FUNCTION @extschema@.activate_openapi(jsonb, text, jsonb) IS
	'makes a connector definition from an OpenAPI document, or replaces it; returns its name';

CREATE FUNCTION activate._openapi_definition(connector text) RETURNS jsonb
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'openapi_sql_definition';
COMMENT ON FUNCTION activate._openapi_definition(text) IS 'private: the definition of a connector; an error with the names of all if there is none';

CREATE FUNCTION activate._openapi_offer(server text) RETURNS jsonb
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'openapi_sql_offer';
COMMENT ON FUNCTION activate._openapi_offer(text) IS
	'private: the tables that IMPORT FOREIGN SCHEMA makes of a server, {"object": {"column": "type"}}; needs USAGE on it';

-- Members of jsonb are estimated at a hundred each, so that the plans look dear enough to be compiled: without jit.
-- What a definition says of objects, as facts that can be compared one by one.
CREATE FUNCTION activate._openapi_facts(definition jsonb, OUT object text, OUT col text, OUT fact text, OUT value text) RETURNS SETOF record
LANGUAGE sql IMMUTABLE ROWS 1000
SET jit = off
BEGIN ATOMIC
	WITH o AS (SELECT e.key, e.value FROM jsonb_each(definition -> 'objects') e WHERE jsonb_typeof(e.value) = 'object'),
	c AS (
		SELECT o.key AS object, e.key, CASE jsonb_typeof(e.value) WHEN 'object' THEN e.value ELSE jsonb_build_object('type', e.value) END AS value
		  FROM o, jsonb_each(o.value -> 'columns') e)
	SELECT o.key, NULL::text, 'object', '' FROM o
	UNION ALL SELECT c.object, c.key, 'column', '' FROM c
	UNION ALL SELECT c.object, c.key, m.key, m.value #>> '{}' FROM c, jsonb_each(c.value) m
	UNION ALL SELECT o.key, NULL, 'key', o.value ->> 'key' FROM o WHERE o.value ? 'key'
	UNION ALL SELECT o.key, NULL, 'read', coalesce(o.value #>> '{read,path}', o.value ->> 'path') FROM o WHERE jsonb_typeof(o.value -> 'read') = 'object'
	UNION ALL SELECT o.key, NULL, 'write.' || w.key, concat_ws(' ', w.value ->> 'method', w.value ->> 'path') FROM o, jsonb_each(o.value -> 'write') w;
END;
COMMENT ON FUNCTION activate._openapi_facts(jsonb) IS 'private: what a definition says of objects, columns and operations';
REVOKE ALL ON FUNCTION activate._openapi_facts(jsonb) FROM PUBLIC;

CREATE FUNCTION activate._openapi_drift(was jsonb, is_now jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET jit = off
BEGIN ATOMIC
	WITH d AS (
		SELECT coalesce(b.object, n.object) AS object, coalesce(b.col, n.col) AS col, coalesce(b.fact, n.fact) AS fact,
			b.fact IS NULL AS added, n.fact IS NULL AS gone, b.value AS was, n.value AS is_now
		  FROM activate._openapi_facts(was) b
		  FULL JOIN activate._openapi_facts(is_now) n ON n.object = b.object AND coalesce(n.col, '') = coalesce(b.col, '') AND n.fact = b.fact
		 WHERE b.value IS DISTINCT FROM n.value OR b.fact IS NULL OR n.fact IS NULL
	), told AS (
		SELECT d.object, d.col, d.was, d.is_now,
			d.fact || CASE WHEN d.fact NOT IN ('object', 'column') THEN '' WHEN d.added THEN ' added' ELSE ' gone' END AS change
		  FROM d
		 WHERE d.fact = 'object'
			OR (NOT EXISTS (SELECT FROM d o WHERE o.object = d.object AND o.fact = 'object')
				AND (d.fact = 'column' OR d.col IS NULL OR NOT EXISTS (SELECT FROM d c WHERE c.object = d.object AND c.col = d.col AND c.fact = 'column')))
		 ORDER BY d.object, d.col NULLS FIRST, d.fact LIMIT 10000
	)
	SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('object', t.object, 'column', t.col, 'change', t.change,
			'before', nullif(t.was, ''), 'now', nullif(t.is_now, '')))), '[]')
	  FROM told t;
END;
COMMENT ON FUNCTION activate._openapi_drift(jsonb, jsonb) IS 'private: where two definitions differ, as the member "drift" of a definition has it';
REVOKE ALL ON FUNCTION activate._openapi_drift(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION activate._openapi_drift_of(connector text, definition jsonb) RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT jsonb_build_object('drift', CASE WHEN d.drift = '[]' THEN c.definition -> 'drift' ELSE d.drift END)
	  FROM activate.connector c, LATERAL (SELECT activate._openapi_drift(c.definition, _openapi_drift_of.definition) AS drift) d
	 WHERE c.name = connector AND NOT c.shipped;
END;
COMMENT ON FUNCTION activate._openapi_drift_of(text, jsonb) IS 'private: how a definition differs from that of the same name, as a patch of its member "drift"';
REVOKE ALL ON FUNCTION activate._openapi_drift_of(text, jsonb) FROM PUBLIC;

-- What is not filled in: as the import noted it, and what any definition may lack.
CREATE FUNCTION @extschema@.activate_connector_gaps(name text, OUT object text, OUT member text, OUT gap text, OUT example text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT ROWS 100
SET jit = off
BEGIN ATOMIC
	WITH d AS MATERIALIZED (SELECT activate._openapi_definition(name) AS def),
	o AS (SELECT e.key, e.value AS object FROM d, jsonb_each(d.def -> 'objects') e WHERE jsonb_typeof(e.value) = 'object'),
	w AS (SELECT o.key, o.object, e.key AS op, e.value FROM o, jsonb_each(o.object -> 'write') e WHERE jsonb_typeof(e.value) = 'object'),
	noted AS (
		SELECT string_to_array(g.value ->> 'at', '.') AS at, g.value
		  FROM d, jsonb_array_elements(d.def -> 'gaps') g
		 WHERE d.def #> string_to_array(g.value ->> 'at', '.') IS NULL OR d.def #>> string_to_array(g.value ->> 'at', '.') = g.value ->> 'assumed'
			OR d.def #> string_to_array(g.value ->> 'at', '.') = 'false'
	), found (object, member, gap, example) AS (
		SELECT CASE WHEN n.at[1] = 'objects' THEN n.at[2] END,
			nullif(array_to_string(CASE WHEN n.at[1] = 'objects' THEN n.at[3:] ELSE n.at END, '.'), ''), n.value ->> 'gap', n.value ->> 'example'
		  FROM noted n
		UNION ALL SELECT NULL, 'rate', 'how many calls an account may make, and in what time', '{"rate": [{"calls": 100, "per": "10s"}]}'
		  FROM d WHERE d.def -> 'rate' IS NULL AND EXISTS (SELECT FROM o)
		UNION ALL SELECT NULL, 'answer', 'how a failure looks that is answered by 2xx: now every 2xx is a success', '{"answer": {"success": {"path": "ok", "is": true}}}'
		  FROM d WHERE d.def -> 'answer' IS NULL AND EXISTS (SELECT FROM w WHERE w.value -> 'answer' -> 'ok' IS NULL)
		UNION ALL SELECT o.key, 'read.page', 'how the next page is asked for: now one page is all', '{"read": {"page": {"style": "cursor", "param": "after", "next": "next"}}}'
		  FROM o WHERE jsonb_typeof(o.object -> 'read') = 'object' AND o.object -> 'read' -> 'page' IS NULL
		UNION ALL SELECT o.key, 'key', 'what identifies a row', '{"key": "id"}' FROM o WHERE o.object ? 'write' AND o.object -> 'key' IS NULL
		UNION ALL SELECT w.key, 'write.' || w.op || '.answer', 'which rows of a call failed: now all share the outcome of the call', '{"answer": {"shape": "array", "path": "results", "status": "status"}}'
		  FROM w, d WHERE (w.value ->> 'batch')::numeric > 1 AND w.value -> 'job' IS NULL
			AND coalesce(w.value #> '{answer,shape}', w.object #> '{answer,shape}', d.def #> '{answer,shape}') IS NULL
		UNION ALL SELECT o.key, 'write.upsert', 'how a row is found that may be there already: now only the modes insert and update go',
			'{"write": {"upsert": {"lookup": {"path": "/search", "query": {"id": "{id}"}, "records": "data", "id": "id"}}}}'
		  FROM o WHERE o.object #> '{write,insert}' IS NOT NULL AND o.object #> '{write,update}' IS NOT NULL AND o.object #> '{write,upsert}' IS NULL
	)
	SELECT f.object, f.member, f.gap, f.example FROM found f ORDER BY f.object NULLS FIRST, f.member, f.gap;
END;
COMMENT ON FUNCTION @extschema@.activate_connector_gaps(text) IS
	'what a connector definition does not say and its API''s own document did not tell, each with an example';

CREATE FUNCTION @extschema@.activate_drift_of(server text, OUT object text, OUT relation regclass, OUT column_name text, OUT change text, OUT before text, OUT now text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT ROWS 100
SET jit = off
BEGIN ATOMIC
	WITH offer AS MATERIALIZED (SELECT activate._openapi_offer(server) AS offer),
	o AS (SELECT e.key AS object, e.value AS columns FROM offer, jsonb_each(offer.offer -> 'objects') e),
	s AS (SELECT f.oid FROM pg_catalog.pg_foreign_server f WHERE f.srvname = server::name),
	t AS (
		SELECT f.ftrelid, coalesce(x.object, c.relname::text) AS object, x.described
		  FROM s JOIN pg_catalog.pg_foreign_table f ON f.ftserver = s.oid JOIN pg_catalog.pg_class c ON c.oid = f.ftrelid,
			LATERAL (SELECT max(p.option_value) FILTER (WHERE p.option_name = 'object') AS object,
				bool_or(p.option_name IN ('path', 'columns')) IS TRUE AS described FROM pg_options_to_table(f.ftoptions) p) x
	), a AS (
		SELECT t.ftrelid, t.object, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type
		  FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.ftrelid AND a.attnum > 0 AND NOT a.attisdropped
		 WHERE NOT t.described AND NOT EXISTS (SELECT FROM pg_options_to_table(a.attfdwoptions) p WHERE p.option_name = 'path')
	), found (object, relation, column_name, change, before, now) AS (
		SELECT o.object, NULL::regclass, NULL::text, 'object added', NULL::text, NULL::text FROM o WHERE NOT EXISTS (SELECT FROM t WHERE t.object = o.object)
		UNION ALL SELECT t.object, t.ftrelid::regclass, NULL, 'object gone', NULL, NULL FROM t WHERE NOT t.described AND NOT EXISTS (SELECT FROM o WHERE o.object = t.object)
		UNION ALL SELECT o.object, t.ftrelid::regclass, e.key, 'column added', NULL, e.value
		  FROM t JOIN o ON o.object = t.object AND NOT t.described, jsonb_each_text(o.columns) e
		 WHERE NOT EXISTS (SELECT FROM a WHERE a.ftrelid = t.ftrelid AND a.name = e.key)
		UNION ALL SELECT a.object, a.ftrelid::regclass, a.name, CASE WHEN o.columns ? a.name THEN 'type' ELSE 'column gone' END, a.type, o.columns ->> a.name
		  FROM a JOIN o ON o.object = a.object WHERE o.columns ->> a.name IS DISTINCT FROM a.type
		UNION ALL SELECT g.value ->> 'object', t.ftrelid::regclass, g.value ->> 'column', g.value ->> 'change', g.value ->> 'before', g.value ->> 'now'
		  FROM offer CROSS JOIN LATERAL jsonb_array_elements(offer.offer -> 'drift') g JOIN t ON t.object = g.value ->> 'object'
		 WHERE g.value ->> 'change' NOT IN ('object added', 'object gone', 'column added', 'column gone', 'type')
	)
	SELECT f.object, f.relation, f.column_name, f.change, f.before, f.now FROM found f ORDER BY f.object, f.relation::oid, f.column_name NULLS FIRST, f.change;
END;
COMMENT ON FUNCTION @extschema@.activate_drift_of(text) IS
	'how the foreign tables of a server differ from what its connector says now, and what the last import changed that they do not show';
