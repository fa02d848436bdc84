-- Pieces of SQL that several rooms build their statements from.

CREATE FUNCTION activate._select_list(prefix text, names text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT string_agg(format('q.%s%s AS %I', prefix, i, names[i]), ', ' ORDER BY i)
	  FROM generate_subscripts(names, 1) i;
END;
COMMENT ON FUNCTION activate._select_list(text, text[]) IS
	'private: columns prefix1..n of a sync''s query q under their real names, e.g. q.v1 AS "email", q.v2 AS "name"';

CREATE FUNCTION activate._key_digest(key jsonb) RETURNS uuid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'activate_key_digest';
COMMENT ON FUNCTION activate._key_digest(jsonb) IS 'private: 128 bits that stand for a key in activate._sent';
REVOKE ALL ON FUNCTION activate._key_digest(jsonb) FROM PUBLIC;

-- Original: may send.  Copy: a dump restored elsewhere, a template copy, or
-- another installation by name.  None: nothing was declared yet.
-- SECURITY DEFINER because views call it as whoever looks; it tells one word.
-- The setting is unknown in a session that has not loaded the library yet.
CREATE FUNCTION activate._installation() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
	SELECT coalesce((
		SELECT CASE WHEN i.system = c.system_identifier AND i.database = d.oid
				AND coalesce(current_setting('activate.identity', true), '') IN ('', i.name)
			THEN 'original' ELSE 'copy' END
		  FROM activate._identity i, pg_catalog.pg_control_system() c, pg_catalog.pg_database d
		 WHERE d.datname = current_database()), 'none');
END;
COMMENT ON FUNCTION activate._installation() IS
	'private: original, copy (does not send until activate_adopt()) or none (nothing declared)';

CREATE FUNCTION activate._record_installation() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._identity (system, database, name, origin)
	SELECT c.system_identifier, d.oid, current_setting('activate.identity'), activate._origin()
	  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d
	 WHERE d.datname = current_database()
	ON CONFLICT (one) DO NOTHING;
END;
COMMENT ON FUNCTION activate._record_installation() IS
	'private: what the first declaration does: from now on a copy of this database knows that it is one';
REVOKE ALL ON FUNCTION activate._record_installation() FROM PUBLIC;

-- A promotion goes on where the primary ended; a recovery with a target, or a
-- base backup started as it is (no new timeline), goes back.  The reason of
-- each switch is in the history file of the timeline.
CREATE FUNCTION activate._set_back(since text) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE
		WHEN since IS NULL OR n.origin IS NULL OR n.origin = since THEN false
		WHEN split_part(n.origin, ' ', 1) = split_part(since, ' ', 1) OR h.history IS NULL THEN true
		ELSE EXISTS (
			SELECT FROM regexp_matches(h.history, '^\s*(\d+)\t\S+\t(.*)$', 'gn') m
			 WHERE m[1]::bigint >= split_part(since, ' ', 1)::bigint AND m[2] <> 'no recovery target specified') END
	  FROM activate._origin() n(origin),
		pg_read_file(format('pg_wal/%s.history', lpad(upper(to_hex(split_part(n.origin, ' ', 1)::bigint)), 8, '0')),
			0, 1000000, true) h(history);
END;
COMMENT ON FUNCTION activate._set_back(text) IS
	'private: has the database been set back to an earlier moment since that was its origin, so that targets may be newer';
REVOKE ALL ON FUNCTION activate._set_back(text) FROM PUBLIC;

-- What is pending is of another life of this database, which may have gone on
-- (slot 8 is no deliverer's, so all of them read it): perhaps sent, and under
-- higher numbers than ours would be now.
CREATE FUNCTION activate._new_life(perhaps_sent boolean) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._horizon AS h (slot, id) SELECT 8, q.last_value FROM activate.outbox_id_seq q WHERE perhaps_sent
	ON CONFLICT (slot) DO UPDATE SET id = excluded.id;
	SELECT setval('activate.outbox_id_seq', q.last_value + 1000000000) FROM activate.outbox_id_seq q;
END;
COMMENT ON FUNCTION activate._new_life(boolean) IS
	'private: numbers of intents go on far above those that another life of this database may have given';
REVOKE ALL ON FUNCTION activate._new_life(boolean) FROM PUBLIC;

CREATE FUNCTION activate._names_of(role name) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.name FROM activate.sync s
	 WHERE pg_catalog.pg_has_role(role, 'activate_admin', 'USAGE')
		OR EXISTS (SELECT FROM pg_catalog.pg_roles r
					WHERE r.rolname = s.owner AND pg_catalog.pg_has_role(role, r.oid, 'USAGE'))
	 ORDER BY s.name;
END;
COMMENT ON FUNCTION activate._names_of(name) IS 'private: names of the syncs that a role may use, for hints';
REVOKE ALL ON FUNCTION activate._names_of(name) FROM PUBLIC;

CREATE FUNCTION activate._target_is_paused(server oid) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM activate._paused_target p
					 JOIN pg_catalog.pg_foreign_server s ON s.srvname = p.server
					WHERE s.oid = _target_is_paused.server);
END;
COMMENT ON FUNCTION activate._target_is_paused(oid) IS 'private: has an operator paused this target (foreign server)';
REVOKE ALL ON FUNCTION activate._target_is_paused(oid) FROM PUBLIC;

-- Executed as owners of syncs, so PUBLIC may; it does nothing outside a run.
CREATE FUNCTION activate._count_row() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'activate_count_row';
COMMENT ON FUNCTION activate._count_row() IS 'private: true; counts a row of the source for activate.stat_run';
