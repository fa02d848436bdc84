-- The triggers of syncs with capture "trigger": what has to be done that they
-- are where they belong.  install.c executes these commands.

-- API: Private.
CREATE FUNCTION activate._capture_remove_sql(sync bigint, source regclass) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
	  FROM pg_trigger t
	 WHERE t.tgrelid IN (SELECT source UNION SELECT p.relid FROM pg_partition_tree(source) p)
		AND t.tgparentid = 0
		AND t.tgname IN (format('activate_%s', _capture_remove_sql.sync), format('activate_%s_truncate', _capture_remove_sql.sync));
END;
COMMENT ON FUNCTION activate._capture_remove_sql(bigint, regclass) IS 'private: commands that take the triggers of a sync away';
REVOKE ALL ON FUNCTION activate._capture_remove_sql(bigint, regclass) FROM PUBLIC;

-- API: Private.  Row triggers of a partitioned table are cloned by PostgreSQL, those of
-- statements are not: each leaf at or below the table has one of its own for each
-- sync whose source it is part of, and no other.
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
		  JOIN activate.sync s ON s.source_rel = up.oid AND s.capture = 'trigger'),
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
