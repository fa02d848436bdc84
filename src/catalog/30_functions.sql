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
CREATE FUNCTION activate._installation() RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce((
		SELECT CASE WHEN i.system = c.system_identifier AND i.database = d.oid
				AND (i.name = current_setting('activate.identity') OR current_setting('activate.identity') = '')
			THEN 'original' ELSE 'copy' END
		  FROM activate._identity i, pg_catalog.pg_control_system() c, pg_catalog.pg_database d
		 WHERE d.datname = current_database()), 'none');
END;
COMMENT ON FUNCTION activate._installation() IS
	'private: original, copy (does not send until activate_adopt()) or none (nothing declared)';
REVOKE ALL ON FUNCTION activate._installation() FROM PUBLIC;
