-- A run by chunks: see chunk.c.

CREATE FUNCTION activate._chunk_keys(sync activate.sync, reached text[], op text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('(%s) %s (%s)', string_agg('q.k' || i, ', ' ORDER BY i), op,
			string_agg(format('%L::%s', reached[i], (sync).key_types[i]), ', ' ORDER BY i))
	  FROM generate_subscripts((sync).key_columns, 1) i
	HAVING reached IS NOT NULL;
END;
COMMENT ON FUNCTION activate._chunk_keys(activate.sync, text[], text) IS 'private: a condition on the key of a sync''s query; NULL: without one';
REVOKE ALL ON FUNCTION activate._chunk_keys(activate.sync, text[], text) FROM PUBLIC;

-- Where the next chunk ends: at the row after so many.  No row: less than that
-- is left.  What options.lag has a run read again, each chunk reads again, so it
-- is no smaller than that.
-- behind: the key at which a chunk ends that is under way; NULL: what is done.
CREATE FUNCTION activate._chunk_sql(sync bigint, query text, size bigint, behind text[] DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	s activate.sync;
	watermark text;
	again text := '0';
BEGIN
	SELECT y.* INTO STRICT s FROM activate.sync y WHERE y.id = _chunk_sql.sync;
	IF s.capture <> 'cursor' THEN
		RETURN (
			SELECT format('SELECT ARRAY[%s] FROM (%s) q WHERE %s ORDER BY %s OFFSET %s LIMIT 1',
					string_agg(format('q.k%s::text', i), ', ' ORDER BY i), query,
					concat_ws(' AND ', string_agg(format('q.k%s IS NOT NULL', i), ' AND ' ORDER BY i), activate._chunk_keys(s,
						coalesce(behind, (SELECT b.reached FROM activate._backfill b WHERE b.sync = s.id)), '>')),
					string_agg('q.k' || i, ', ' ORDER BY i), size)
			  FROM generate_subscripts(s.key_columns, 1) i);
	END IF;
	SELECT format('%L::%s', w.value, s.cursor_type) INTO watermark
	  FROM activate._watermark w WHERE w.sync = s.id AND w.value IS NOT NULL;
	IF watermark IS NOT NULL AND s.options ? 'lag' THEN
		again := format('(SELECT count(*) FROM (%s) q WHERE q.c <= %s AND %s)', query, watermark,
			activate._since_sql(watermark, s.options->>'lag', 'q.c', '>='));
	END IF;
	RETURN format('SELECT ARRAY[q.c::text] FROM (%s) q WHERE %s ORDER BY q.c OFFSET greatest(%s, %s) LIMIT 1', query,
		activate._since_sql(watermark, NULL, 'q.c', '>'), size, again);
END
$$;
COMMENT ON FUNCTION activate._chunk_sql(bigint, text, bigint, text[]) IS
	'private: the statement that looks for the end of the next chunk of a run, as text, a value per column';
REVOKE ALL ON FUNCTION activate._chunk_sql(bigint, text, bigint, text[]) FROM PUBLIC;

CREATE FUNCTION activate._chunk_condition(sync bigint, reached text[], behind text[] DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN s.capture = 'cursor' THEN format('q.c <= %L::%s', _chunk_condition.reached[1], s.cursor_type)
		ELSE concat_ws(' AND ', activate._chunk_keys(s, coalesce(behind, b.reached), '>'), activate._chunk_keys(s, _chunk_condition.reached, '<=')) END
	  FROM activate.sync s LEFT JOIN activate._backfill b ON b.sync = s.id
	 WHERE s.id = _chunk_condition.sync;
END;
COMMENT ON FUNCTION activate._chunk_condition(bigint, text[], text[]) IS
	'private: which rows of a sync''s query are in a chunk that ends there (by cursor: beside what a run begins with)';
REVOKE ALL ON FUNCTION activate._chunk_condition(bigint, text[], text[]) FROM PUBLIC;

CREATE FUNCTION activate._chunk_done(sync bigint, reached text[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._backfill AS b (sync, reached) VALUES (_chunk_done.sync, _chunk_done.reached)
	ON CONFLICT (sync) DO UPDATE SET reached = excluded.reached;
END;
COMMENT ON FUNCTION activate._chunk_done(bigint, text[]) IS 'private: rows with keys up to that are enqueued';
REVOKE ALL ON FUNCTION activate._chunk_done(bigint, text[]) FROM PUBLIC;

-- A first run that is to send all that is there, and can be cut where it likes.
CREATE FUNCTION activate._chunk_backfill(sync bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.mode <> 'replace' AND s.capture IN ('diff', 'trigger') AND s.key_columns <> '{}'
		AND NOT EXISTS (SELECT FROM activate._watermark w WHERE w.sync = s.id)
		AND coalesce(activate._has_unique(s.source_rel, s.key_columns), false)
	  FROM activate.sync s WHERE s.id = _chunk_backfill.sync;
END;
COMMENT ON FUNCTION activate._chunk_backfill(bigint) IS 'private: is the next run of a sync to a web API the first, of a table by its unique key';
REVOKE ALL ON FUNCTION activate._chunk_backfill(bigint) FROM PUBLIC;
