-- Web APIs as foreign tables.

CREATE FUNCTION activate._fdw_handler() RETURNS fdw_handler
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_fdw_handler';
COMMENT ON FUNCTION activate._fdw_handler() IS 'private: handler of the foreign data wrapper activate';
REVOKE ALL ON FUNCTION activate._fdw_handler() FROM PUBLIC;

CREATE FUNCTION activate._fdw_validator(text[], oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_fdw_validator';
COMMENT ON FUNCTION activate._fdw_validator(text[], oid) IS 'private: option validator of the foreign data wrapper activate';

CREATE FOREIGN DATA WRAPPER activate
	HANDLER activate._fdw_handler
	VALIDATOR activate._fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER activate IS 'web APIs as foreign tables: read page by page, written through the outbox';
GRANT USAGE ON FOREIGN DATA WRAPPER activate TO activate_admin;

-- The sync behind DML on a foreign table of ours.  It is found by the table; a
-- rename, another owner and another key are followed at the next use.
CREATE FUNCTION activate._implicit_sync(relation regclass, owner name, key text[],
	OUT id bigint, OUT changed boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, activate, pg_temp AS $$
#variable_conflict use_column
DECLARE
	called text := (SELECT format('%s.%s', n.nspname, c.relname)
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation);
	present activate.sync;
BEGIN
	changed := false;
	-- locked: who drops it waits until what is written here can be discarded, too
	SELECT s.* INTO present FROM activate.sync s WHERE s.implicit AND s.target_rel = relation FOR KEY SHARE;
	id := present.id;
	IF present.name = called AND present.owner = _implicit_sync.owner AND present.key_columns = _implicit_sync.key THEN
		RETURN;
	END IF;
	changed := true;
	IF EXISTS (SELECT FROM activate.sync s WHERE s.name = called AND NOT s.implicit) THEN
		RAISE EXCEPTION 'cannot write to foreign table "%": its implicit sync needs the name of another sync', called
			USING ERRCODE = 'duplicate_object',
				HINT = format('Drop the sync with activate_drop(%L) and declare it under another name.', called);
	END IF;

	-- A table that was renamed since holds the name no more.  What is pending of
	-- one that was dropped goes on here, but another role's is not ours to see.
	UPDATE activate.sync s SET name = format('%s (sync %s)', s.name, s.id)
	 WHERE s.implicit AND s.name = called AND s.target_rel <> relation
	   AND (present.id IS NOT NULL OR s.owner <> _implicit_sync.owner
			OR EXISTS (SELECT FROM pg_class c WHERE c.oid = s.target_rel));
	IF id IS NULL THEN
		INSERT INTO activate.sync (name, target, mode, capture, owner, implicit, kind, target_rel, search_path)
		VALUES (called, called, 'append', 'full', _implicit_sync.owner, true, 'api', relation, 'pg_catalog')
		ON CONFLICT (name) DO UPDATE SET target_rel = excluded.target_rel
		RETURNING sync.id INTO id;
	END IF;

	-- what a former key said of the API's rows is not what this one says
	DELETE FROM activate._sent s USING activate.sync y
	 WHERE s.sync = _implicit_sync.id AND y.id = s.sync AND y.key_columns <> _implicit_sync.key;
	UPDATE activate.sync s
	   SET name = called, target = called, owner = _implicit_sync.owner,
		key = nullif((SELECT string_agg(quote_ident(k), ', ') FROM unnest(_implicit_sync.key) k), ''),
		key_columns = _implicit_sync.key, target_key = _implicit_sync.key, columns = c.names, column_types = c.types,
		key_types = ARRAY(SELECT format_type(a.atttypid, a.atttypmod)
			  FROM unnest(_implicit_sync.key) WITH ORDINALITY k(name, ord)
			  JOIN pg_attribute a ON a.attrelid = relation AND a.attname = k.name ORDER BY k.ord),
		epoch = s.epoch + (s.key_columns <> _implicit_sync.key)::integer,
		paused = s.paused AND s.pause_reason IS NULL, pause_reason = NULL
	  FROM (SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names,
				array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS types
			  FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped) c
	 WHERE s.id = _implicit_sync.id;
	PERFORM activate._record_installation();
END
$$;
COMMENT ON FUNCTION activate._implicit_sync(regclass, name, text[]) IS
	'private: the sync of DML on a foreign table, made at first use';
REVOKE ALL ON FUNCTION activate._implicit_sync(regclass, name, text[]) FROM PUBLIC;

CREATE FUNCTION activate._names_foreign_table(called text) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM pg_catalog.pg_foreign_table f
					 JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
					 JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'activate'
					 JOIN pg_catalog.pg_class c ON c.oid = f.ftrelid
					 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
					WHERE format('%s.%s', n.nspname, c.relname) = called);
END;
COMMENT ON FUNCTION activate._names_foreign_table(text) IS
	'private: would a sync of this name take that of a foreign table''s implicit sync';
REVOKE ALL ON FUNCTION activate._names_foreign_table(text) FROM PUBLIC;

-- Syncs that would break without a column.  A query is searched for any use of
-- the table: rather one refusal too many than a sync that pauses.
CREATE FUNCTION activate._column_users(relation regclass, attname name) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(format('"%s"', s.name), ', ' ORDER BY s.name)
	  FROM activate.sync s
	 WHERE NOT s.implicit
	   AND (s.target_rel = relation AND attname = ANY (s.columns || s.target_key)
			OR s.source_rel = relation
			OR s.query_tree LIKE format('%%:relid %s %%', relation::oid));
END;
COMMENT ON FUNCTION activate._column_users(regclass, name) IS
	'private: names of the syncs that use a column of a foreign table; NULL: none';
REVOKE ALL ON FUNCTION activate._column_users(regclass, name) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_target(
	name		text,
	connector	text,
	options		jsonb DEFAULT '{}',
	secret		jsonb DEFAULT NULL) RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'activate_target';
COMMENT ON FUNCTION @extschema@.activate_target(text, text, jsonb, jsonb) IS
	'declare a web API: server, user mapping, schema and foreign tables; again: update its options and secret, add objects';
