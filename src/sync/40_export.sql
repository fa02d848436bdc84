CREATE FUNCTION activate._options_clause(options text[]) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT coalesce(' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')', '')
	  FROM pg_catalog.pg_options_to_table(options) o;
END;
COMMENT ON FUNCTION activate._options_clause(text[]) IS 'private: options of a foreign object as DDL has them';

-- The targets of a caller: servers, schemas and foreign tables, never mappings.
CREATE FUNCTION activate._export_targets() RETURNS TABLE (server name, part integer, line text)
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH mine AS (
		SELECT s.oid, s.srvname, s.srvoptions, w.fdwname
		  FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
		 WHERE w.fdwname IN ('activate', 'activate_file') AND pg_catalog.pg_has_role(s.srvowner, 'USAGE')),
	tables AS (
		SELECT m.srvname, n.nspname, c.oid, c.relname, t.ftoptions
		  FROM mine m JOIN pg_catalog.pg_foreign_table t ON t.ftserver = m.oid
		  JOIN pg_catalog.pg_class c ON c.oid = t.ftrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
	SELECT m.srvname, 1, format('CREATE SERVER %I FOREIGN DATA WRAPPER %I%s;', m.srvname, m.fdwname,
			activate._options_clause(m.srvoptions))
	  FROM mine m
	UNION ALL
	-- a line break in the name would end the comment
	SELECT m.srvname, 2, format(CASE WHEN 'connector=receive' = ANY (m.srvoptions)
			THEN '-- its secret is not part of this script: SELECT activate_target(%L, ''receive'', secret => ...)'
			ELSE '-- its secret is not part of this script: CREATE USER MAPPING FOR ... SERVER %I' END,
			regexp_replace(m.srvname, '[\r\n]', '?', 'g'))
	  FROM mine m
	UNION ALL
	SELECT DISTINCT t.srvname, 3, format('CREATE SCHEMA IF NOT EXISTS %I;', t.nspname) FROM tables t WHERE t.nspname <> 'public'
	UNION ALL
	-- its table and its schema
	SELECT m.srvname, 4, format('SELECT %I.activate_target(%L, ''receive'');',
			(SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'activate'),
			m.srvname)
	  FROM mine m WHERE 'connector=receive' = ANY (m.srvoptions)
	UNION ALL
	SELECT t.srvname, 4, format('CREATE FOREIGN TABLE %I.%I (%s) SERVER %I%s;', t.nspname, t.relname,
			(SELECT string_agg(format('%I %s%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
					activate._options_clause(a.attfdwoptions)), ', ' ORDER BY a.attnum)
			   FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
			t.srvname, activate._options_clause(t.ftoptions))
	  FROM tables t;
END;
COMMENT ON FUNCTION activate._export_targets() IS 'private: DDL of the web APIs whose servers the caller owns';

-- Runs as the caller, who sees what row security shows.
CREATE FUNCTION @extschema@.activate_export() RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH extension AS (
		SELECT n.nspname AS schema FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
		 WHERE e.extname = 'activate'),
	script(section, name, part, line) AS (
		SELECT 1, c.name, 1, format('SELECT %I.activate_connector(%L);', x.schema, c.definition)
		  FROM extension x, activate.connector c WHERE NOT c.shipped
		UNION ALL
		SELECT 2, t.server::text, t.part, t.line FROM activate._export_targets() t
		UNION ALL
		SELECT 3, lpad(s.id::text, 20, '0'), p.part, p.line
		  FROM extension x, activate.sync s, LATERAL (VALUES
			(1, format('SET ROLE %I;', s.owner)),
			(2, format('SET search_path = %s;', s.search_path)),
			(3, format('SELECT %I.activate_sync(%L, %L, %L, key => %L, map => %L, mode => %L, capture => %L, schedule => %L, options => %L);',
				x.schema, s.name, s.source, s.target, s.key, s.map, s.mode, s.capture, s.schedule, s.options)),
			(4, CASE WHEN s.paused AND s.pause_reason IS NULL THEN format('SELECT %I.activate_pause(%L);', x.schema, s.name) END),
			(5, 'RESET search_path;'),
			(6, 'RESET ROLE;')) AS p(part, line)
		 WHERE NOT s.implicit
		UNION ALL
		SELECT 4, lpad(e.id::text, 20, '0'), p.part, p.line
		  FROM extension x, activate._expectation e JOIN pg_catalog.pg_class c ON c.oid = e.relation
		  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, LATERAL (VALUES
			(1, format('SET ROLE %I;', e.owner)),
			(2, format('SET search_path = %s;', e.search_path)),
			(3, format('SELECT %I.activate_expect(%L, %L, %L, on_fail => %L, options => %L);', x.schema,
				format('%I.%I', n.nspname, c.relname), e.name, e.expectation, e.on_fail, e.options)),
			(4, 'RESET search_path;'),
			(5, 'RESET ROLE;')) AS p(part, line))
	SELECT script.line FROM script WHERE script.line IS NOT NULL
	 ORDER BY script.section, script.name COLLATE "C", script.part, script.line COLLATE "C";
END;
COMMENT ON FUNCTION @extschema@.activate_export() IS 'the SQL script that rebuilds every declaration the caller may see; without secrets';
