-- Pieces of SQL that several rooms build their statements from.

CREATE FUNCTION activate._select_list(prefix text, names text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT string_agg(format('q.%s%s AS %I', prefix, i, names[i]), ', ' ORDER BY i)
	  FROM generate_subscripts(names, 1) i;
END;
COMMENT ON FUNCTION activate._select_list(text, text[]) IS
	'private: columns prefix1..n of a sync''s query q under their real names, e.g. q.v1 AS "email", q.v2 AS "name"';

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
	INSERT INTO activate._identity (system, database, name)
	SELECT c.system_identifier, d.oid, current_setting('activate.identity')
	  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d
	 WHERE d.datname = current_database()
	ON CONFLICT (one) DO NOTHING;
END;
COMMENT ON FUNCTION activate._record_installation() IS
	'private: what the first declaration does: from now on a copy of this database knows that it is one';
REVOKE ALL ON FUNCTION activate._record_installation() FROM PUBLIC;

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
