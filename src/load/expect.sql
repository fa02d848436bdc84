-- The rows that a run reads, of a run by chunks all that are left: to be planned, not executed.
CREATE FUNCTION activate._expect_sql(sync bigint, query text, everything boolean) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('SELECT FROM (%s) q', query) || CASE WHEN s.capture = 'cursor' THEN ' WHERE ' || activate._since_sql(
			CASE WHEN NOT everything AND w.value IS NOT NULL THEN format('%L::%s', w.value, s.cursor_type) END, s.options->>'lag', 'q.c', '>=') ELSE '' END
	  FROM activate.sync s LEFT JOIN activate._watermark w ON w.sync = s.id AND w.value IS NOT NULL
	 WHERE s.id = _expect_sql.sync;
END;
COMMENT ON FUNCTION activate._expect_sql(bigint, text, boolean) IS 'private: a statement of which the planner says how many rows a run reads';
REVOKE ALL ON FUNCTION activate._expect_sql(bigint, text, boolean) FROM PUBLIC;
