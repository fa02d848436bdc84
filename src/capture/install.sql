-- The triggers of syncs with capture "trigger": what has to be done that they
-- are where they belong.  install.c executes these commands.

-- API: Private.  The source, and what is watched; tables only.
CREATE FUNCTION activate._capture_relations(sync bigint) RETURNS SETOF regclass
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT c.oid::regclass
	  FROM (SELECT s.source_rel FROM activate.sync s WHERE s.id = _capture_relations.sync
			 UNION SELECT w.relation FROM activate._watch w WHERE w.sync = _capture_relations.sync) r(oid)
	  JOIN pg_class c ON c.oid = r.oid
	 WHERE c.relkind IN ('r', 'p');
END;
COMMENT ON FUNCTION activate._capture_relations(bigint) IS 'private: tables whose triggers tell a sync by trigger what has changed';
REVOKE ALL ON FUNCTION activate._capture_relations(bigint) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._capture_install_sql(sync bigint) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT c.command
	  FROM activate._capture_relations(_capture_install_sql.sync) r(name)
	 CROSS JOIN LATERAL (VALUES
		(1, format('CREATE TRIGGER activate_%s AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION activate._capture(%L)',
			_capture_install_sql.sync, r.name, _capture_install_sql.sync)),
		(2, format('ALTER TABLE %s ENABLE ALWAYS TRIGGER activate_%s', r.name, _capture_install_sql.sync))) c(step, command)
	 ORDER BY r.name::oid, c.step;
END;
COMMENT ON FUNCTION activate._capture_install_sql(bigint) IS 'private: commands that make the row triggers of a sync';
REVOKE ALL ON FUNCTION activate._capture_install_sql(bigint) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._capture_remove_sql(sync bigint) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
	  FROM activate._capture_relations(_capture_remove_sql.sync) r(name)
	 CROSS JOIN LATERAL (SELECT r.name UNION SELECT p.relid FROM pg_partition_tree(r.name) p) m(name)
	  JOIN pg_trigger t ON t.tgrelid = m.name
	 WHERE t.tgparentid = 0
		AND t.tgname IN (format('activate_%s', _capture_remove_sql.sync), format('activate_%s_truncate', _capture_remove_sql.sync));
END;
COMMENT ON FUNCTION activate._capture_remove_sql(bigint) IS 'private: commands that take the triggers of a sync away';
REVOKE ALL ON FUNCTION activate._capture_remove_sql(bigint) FROM PUBLIC;

-- API: Private.  What of a table, or of those that it is a partition of, is watched; a NULL among the names: the column is gone.
CREATE FUNCTION activate._watched(sync bigint, relations oid[]) RETURNS TABLE (names text[], by_key boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT (SELECT array_agg(CASE WHEN w.relation = w.oid THEN a.attname::text ELSE u.name END ORDER BY u.ord)
			  FROM unnest(w.columns, w.attributes) WITH ORDINALITY u(name, attnum, ord)
			  LEFT JOIN pg_attribute a ON a.attrelid = w.relation AND a.attnum = u.attnum AND NOT a.attisdropped),
		w.by_key
	  FROM activate._watch w
	 WHERE w.sync = _watched.sync AND w.relation::oid = ANY (relations)
	 ORDER BY w.relation::oid, w.columns;
END;
COMMENT ON FUNCTION activate._watched(bigint, oid[]) IS 'private: columns that say the key of a sync which watches one of these tables, as they are called today';
REVOKE ALL ON FUNCTION activate._watched(bigint, oid[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._watch_by_key(sync bigint, by_key boolean) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	WITH changed AS (
		UPDATE activate._watch w SET by_key = _watch_by_key.by_key
		 WHERE w.sync = _watch_by_key.sync AND w.by_key <> _watch_by_key.by_key RETURNING 1)
	SELECT count(*) FROM changed;
END;
COMMENT ON FUNCTION activate._watch_by_key(bigint, boolean) IS 'private: what the triggers of what is watched shall queue, keys or everything; how many did otherwise';
REVOKE ALL ON FUNCTION activate._watch_by_key(bigint, boolean) FROM PUBLIC;

-- API: Private.  Row triggers of a partitioned table are cloned by PostgreSQL, those of
-- statements are not: each leaf at or below the table has one of its own for each
-- sync whose source, or watched table, it is part of, and no other.
CREATE FUNCTION activate._capture_truncate_sql(top regclass) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH leaf AS (
		SELECT c.oid, c.oid::regclass AS name
		  FROM (SELECT top UNION SELECT p.relid FROM pg_partition_tree(top) p) t(oid) JOIN pg_class c ON c.oid = t.oid
		 WHERE c.relkind = 'r'),
	wanted AS (
		SELECT leaf.oid, leaf.name, s.id, format('activate_%s_truncate', s.id) AS trigger
		  FROM leaf
		 CROSS JOIN LATERAL (SELECT leaf.name UNION SELECT a.relid FROM pg_partition_ancestors(leaf.name) a(relid)) up(oid)
		  JOIN activate.sync s ON s.capture = 'trigger'
			AND (s.source_rel = up.oid OR EXISTS (SELECT FROM activate._watch w WHERE w.sync = s.id AND w.relation = up.oid))),
	present AS (
		SELECT leaf.oid, leaf.name, t.tgname::text AS trigger
		  FROM leaf JOIN pg_trigger t ON t.tgrelid = leaf.oid
		 WHERE t.tgfoid = 'activate._capture()'::regprocedure AND t.tgname ~ '^activate_[0-9]+_truncate$')
	SELECT format('DROP TRIGGER %I ON %s', p.trigger, p.name)
	  FROM present p WHERE NOT EXISTS (SELECT FROM wanted w WHERE w.oid = p.oid AND w.trigger = p.trigger)
	UNION ALL
	SELECT c.command
	  FROM wanted w
	 CROSS JOIN LATERAL (VALUES
		(1, format('CREATE TRIGGER %I AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION activate._capture(%L)', w.trigger, w.name, w.id)),
		(2, format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', w.name, w.trigger))) c(step, command)
	 WHERE NOT EXISTS (SELECT FROM present p WHERE p.oid = w.oid AND p.trigger = w.trigger);
END;
COMMENT ON FUNCTION activate._capture_truncate_sql(regclass) IS
	'private: commands that give a table and its partitions the triggers for TRUNCATE that they should have';
REVOKE ALL ON FUNCTION activate._capture_truncate_sql(regclass) FROM PUBLIC;

CREATE FUNCTION activate._capture_follow() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_capture_follow';
COMMENT ON FUNCTION activate._capture_follow() IS 'private: gives and takes triggers when a partition comes or goes';
REVOKE ALL ON FUNCTION activate._capture_follow() FROM PUBLIC;

CREATE EVENT TRIGGER activate_on_partition ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA')
	EXECUTE FUNCTION activate._capture_follow();
ALTER EVENT TRIGGER activate_on_partition ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER activate_on_partition IS 'activate: captured partitioned tables keep their triggers when partitions come and go';
