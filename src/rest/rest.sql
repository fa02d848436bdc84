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

-- The sync behind DML on a foreign table of ours: found by the table, so that
-- a rename is followed; the name follows at the next use.
CREATE FUNCTION activate._implicit_sync(relation regclass, owner name, key text[],
	OUT id bigint, OUT created boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, activate, pg_temp AS $$
DECLARE
	called text;
BEGIN
	created := false;
	SELECT s.id INTO id FROM activate.sync s WHERE s.implicit AND s.target_rel = relation;
	IF FOUND THEN
		RETURN;
	END IF;

	SELECT format('%s.%s', n.nspname, c.relname) INTO called
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;

	-- The name may still be held by a table that was renamed since.
	UPDATE activate.sync s SET name = format('%s.%s', n.nspname, c.relname)
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE s.implicit AND s.name = called AND s.target_rel <> relation AND c.oid = s.target_rel;

	-- ... or by one that was dropped: what is pending of it goes on here, unless
	-- the new table is another role's, to whom it must not be told.
	DELETE FROM activate._outbox o USING activate.sync s
	 WHERE o.sync = s.id AND s.implicit AND s.name = called AND s.owner <> _implicit_sync.owner;
	INSERT INTO activate.sync AS s (name, target, key, mode, capture, owner, implicit, kind, target_rel,
		search_path, key_columns, key_types, target_key, columns, column_types)
	SELECT called, called, nullif(array_to_string(ARRAY(SELECT quote_ident(k) FROM unnest(key) k), ', '), ''),
		'append', 'full', owner, true, 'api', relation, 'pg_catalog',
		coalesce(array_agg(a.attname::text ORDER BY array_position(key, a.attname::text)) FILTER (WHERE a.attname = ANY (key)), '{}'),
		coalesce(array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY array_position(key, a.attname::text)) FILTER (WHERE a.attname = ANY (key)), '{}'),
		coalesce(array_agg(a.attname::text ORDER BY array_position(key, a.attname::text)) FILTER (WHERE a.attname = ANY (key)), '{}'),
		array_agg(a.attname::text ORDER BY a.attnum),
		array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
	  FROM pg_attribute a
	 WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
	ON CONFLICT (name) DO UPDATE SET target_rel = excluded.target_rel, owner = excluded.owner, key = excluded.key,
		key_columns = excluded.key_columns, key_types = excluded.key_types, target_key = excluded.target_key,
		columns = excluded.columns, column_types = excluded.column_types, epoch = s.epoch + 1,
		paused = s.paused AND s.pause_reason IS NULL, pause_reason = NULL
	 WHERE s.implicit
	RETURNING s.id INTO id;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'cannot insert into foreign table "%": its implicit sync needs the name of another sync', called
			USING ERRCODE = 'duplicate_object',
				HINT = format('Drop the sync with activate_drop(%L) and declare it under another name.', called);
	END IF;
	PERFORM activate._record_installation();
	created := true;
END
$$;
COMMENT ON FUNCTION activate._implicit_sync(regclass, name, text[]) IS
	'private: the sync of DML on a foreign table, made at first use';
REVOKE ALL ON FUNCTION activate._implicit_sync(regclass, name, text[]) FROM PUBLIC;

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
