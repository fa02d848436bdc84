CREATE FUNCTION activate._objects_of_schema(schema oid) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(quote_ident(c.relname), ', ' ORDER BY c.relname)
	  FROM pg_catalog.pg_class c
	  JOIN pg_catalog.pg_foreign_table t ON t.ftrelid = c.oid
	  JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
	  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
	 WHERE c.relnamespace = schema AND w.fdwname = 'activate';
END;
COMMENT ON FUNCTION activate._objects_of_schema(oid) IS 'private: foreign tables of web APIs in a schema, for hints; NULL: none';
REVOKE ALL ON FUNCTION activate._objects_of_schema(oid) FROM PUBLIC;

-- Redeclaring keeps the id, and a pause that an operator asked for; one that
-- was due to what was wrong with the old declaration ends.  "id" is that of the
-- declaration that is replaced: whoever else took the name meanwhile keeps it.
CREATE FUNCTION activate._store(declaration jsonb) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._record_installation();

	INSERT INTO activate.sync AS s (name, source, target, key, map, mode, capture, schedule, owner, options, kind,
		source_rel, target_rel, search_path, key_columns, key_types, target_key, columns, column_types, cursor_type, query_tree,
		tree_major, reads, epoch)
	SELECT d.name, d.source, d.target, d.key, d.map, d.mode, d.capture, d.schedule, d.owner, d.options, d.kind,
		d.source_rel, d.target_rel, d.search_path, d.key_columns, d.key_types, d.target_key, d.columns, d.column_types,
		d.cursor_type, d.query_tree, d.tree_major, d.reads, d.epoch
	  FROM jsonb_populate_record(NULL::activate.sync, declaration) d
	ON CONFLICT (name) DO UPDATE SET
		source = EXCLUDED.source, target = EXCLUDED.target, key = EXCLUDED.key, map = EXCLUDED.map,
		mode = EXCLUDED.mode, capture = EXCLUDED.capture, schedule = EXCLUDED.schedule, owner = EXCLUDED.owner,
		options = EXCLUDED.options, kind = EXCLUDED.kind, source_rel = EXCLUDED.source_rel,
		target_rel = EXCLUDED.target_rel, search_path = EXCLUDED.search_path, key_columns = EXCLUDED.key_columns,
		key_types = EXCLUDED.key_types, target_key = EXCLUDED.target_key, columns = EXCLUDED.columns,
		column_types = EXCLUDED.column_types, cursor_type = EXCLUDED.cursor_type, query_tree = EXCLUDED.query_tree,
		tree_major = EXCLUDED.tree_major, reads = EXCLUDED.reads,
		paused = s.paused AND s.pause_reason IS NULL, pause_reason = NULL, declared_at = now(),
		epoch = EXCLUDED.epoch
		WHERE s.id = (declaration ->> 'id')::bigint
	RETURNING s.id;
END;
COMMENT ON FUNCTION activate._store(jsonb) IS 'private: writes a checked declaration; its id, NULL: another transaction has taken the name';
REVOKE ALL ON FUNCTION activate._store(jsonb) FROM PUBLIC;

CREATE FUNCTION activate._store_watch(sync bigint, relation regclass, columns text[], attributes smallint[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._watch (sync, relation, columns, attributes, oid) VALUES ($1, $2, $3, $4, $2);
END;
COMMENT ON FUNCTION activate._store_watch(bigint, regclass, text[], smallint[]) IS 'private: a sync watches a table';
REVOKE ALL ON FUNCTION activate._store_watch(bigint, regclass, text[], smallint[]) FROM PUBLIC;

CREATE FUNCTION activate._forget(sync bigint) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._sent s WHERE s.sync = _forget.sync;
	DELETE FROM activate._undo u WHERE u.sync = _forget.sync;
	DELETE FROM activate._kept k WHERE k.sync = _forget.sync;
	DELETE FROM activate._watermark w WHERE w.sync = _forget.sync;
	DELETE FROM activate._backfill b WHERE b.sync = _forget.sync;
	DELETE FROM activate._seen e WHERE e.sync = _forget.sync;
	DELETE FROM activate.file f WHERE f.sync = _forget.sync;
	DELETE FROM activate._retry r WHERE r.sync = _forget.sync;
	DELETE FROM activate._job j WHERE j.sync = _forget.sync;
	DELETE FROM activate.rejection r WHERE r.sync = _forget.sync;
	WITH gone AS (DELETE FROM activate._outbox o WHERE o.sync = _forget.sync RETURNING coalesce(cardinality(o.keys), 1) AS n)
	SELECT coalesce(sum(gone.n), 0)::bigint FROM gone;
END;
COMMENT ON FUNCTION activate._forget(bigint) IS 'private: removes what is known of a sync''s target and what is pending; how many were pending';
REVOKE ALL ON FUNCTION activate._forget(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_sync(
	name		text,
	source		text,
	target		text,
	key			text DEFAULT NULL,
	map			jsonb DEFAULT NULL,
	mode		text DEFAULT 'upsert',
	capture		text DEFAULT 'diff',
	schedule	text DEFAULT NULL,
	options		jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_sync';
COMMENT ON FUNCTION @extschema@.activate_sync(text, text, text, text, jsonb, text, text, text, jsonb) IS
	'declares (or declares again) a sync from a relation or query to a table or web API; its id';

-- API: Private.  What CREATE OR REPLACE VIEW would take away.
CREATE FUNCTION activate._view_options(view oid) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format(' WITH (%s)', string_agg(format('%I = %L', o.option_name, o.option_value), ', '))
	  FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.pg_options_to_table(c.reloptions) o
	 WHERE c.oid = view HAVING count(*) > 0;
END;
COMMENT ON FUNCTION activate._view_options(oid) IS 'private: the options of a view, as CREATE VIEW takes them';
REVOKE ALL ON FUNCTION activate._view_options(oid) FROM PUBLIC;
