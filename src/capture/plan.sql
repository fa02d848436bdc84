-- The statements that plan a run, built around Q (docs/internals.md), and the
-- writing of what they found out.  They are read as the sync's owner and
-- written as the extension's, a batch at a time.

-- API: Private.  The rows of a source: key (bad: with a NULL), hash, cursor, row.
-- x.* and k.*, because a column may be called x or k.  "which": those that fulfil it (NULL: all).  judged: b, why it is kept
-- back, from the query's flaw.
CREATE FUNCTION activate._rows_sql(query text, keys text[], columns text[], has_cursor boolean, which text, judged boolean DEFAULT false) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('SELECT %s AS key, %s AS bad, activate._row_hash(x.*) AS hash, %s AS c, (x.*)::record AS r, %s AS b FROM (%s) q'
		' CROSS JOIN LATERAL (SELECT %s) x%s%s',
		CASE WHEN keys = '{}' THEN '''{}''::pg_catalog.jsonb' ELSE 'pg_catalog.to_jsonb(k.*)' END,
		coalesce((SELECT string_agg(format('q.k%s IS NULL', i), ' OR ' ORDER BY i) FROM generate_subscripts(keys, 1) i), 'false'),
		CASE WHEN has_cursor THEN 'q.c' ELSE 'NULL::pg_catalog.text' END,
		CASE WHEN judged THEN 'q.flaw' ELSE 'NULL::pg_catalog.text' END,
		query, activate._select_list('v', columns),
		CASE WHEN keys <> '{}' THEN format(' CROSS JOIN LATERAL (SELECT %s) k', activate._select_list('k', keys)) END,
		CASE WHEN which <> '' THEN ' WHERE ' || which END);
END;
COMMENT ON FUNCTION activate._rows_sql(text, text[], text[], boolean, text, boolean) IS 'private: the statement that reads a source with key and hash';
REVOKE ALL ON FUNCTION activate._rows_sql(text, text[], text[], boolean, text, boolean) FROM PUBLIC;

-- API: Private.  What the cursor column must fulfil to be read (again).
CREATE FUNCTION activate._since_sql(watermark text, lag text, col text, op text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN watermark IS NULL THEN col || ' IS NOT NULL'
		WHEN lag IS NULL THEN format('%s %s %s', col, op, watermark)
		ELSE format('%s %s %s - %L::pg_catalog.interval', col, op, watermark, lag) END;
END;
COMMENT ON FUNCTION activate._since_sql(text, text, text, text) IS 'private: condition on a cursor column';
REVOKE ALL ON FUNCTION activate._since_sql(text, text, text, text) FROM PUBLIC;

-- API: Private.  The newest cursor value read, or the old watermark.
CREATE FUNCTION activate._newest_sql(type text, watermark text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN type IS NULL THEN '(SELECT NULL::pg_catalog.text)' ELSE format(
		'(SELECT w.c FROM (SELECT raw.c FROM raw%s) w ORDER BY w.c DESC LIMIT 1)', ' UNION ALL SELECT ' || watermark) END;
END;
COMMENT ON FUNCTION activate._newest_sql(text, text) IS 'private: expression for the new watermark';
REVOKE ALL ON FUNCTION activate._newest_sql(text, text) FROM PUBLIC;

-- API: Private.  Compares keys.  actions: r totals (n: rows read, hash: deletes,
-- mark: watermark), s sent (n, hash: deletes that are held already), n new, u differs, d gone, x NULL key, y
-- duplicate key, b a row that is kept back for a flaw (mark: why), f a rejection that means nothing any more: the row is gone, or is what the target holds
-- (whole: what is not in source is gone).  "known" gathers all that we know of a key first, so that there
-- is one FULL JOIN, which is never a nested loop however wrong the estimates.  chunk: source is a part of what the
-- run reads.  So that what is known is not sorted whole for each, only its keys are looked at (plan.c forbids nested
-- loops there).
-- What is pending counts as sent, but its message may be under way with what the row was before: only if the
-- newest intent of the key was planned for the row as we see it, or comes from a trigger (told), which writes
-- one for each change, nothing is to be done.  What was taken back (activate_undo) stays so even where every row is
-- sent each time, unless somebody asked for that (full => true).
CREATE FUNCTION activate._diff_sql(sync bigint, source text, type text, watermark text,
	everything boolean, updates boolean, deletes boolean, told boolean, chunk boolean, asked boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	-- %8: whole; %9: a row as it is now; %11: keys of a chunk; %12: asked
	SELECT format($sql$
WITH raw AS %1$s (%2$s),
src AS MATERIALIZED (
	SELECT raw.key, bool_or(raw.bad) AS bad, count(*) AS n, min(raw.hash) AS hash, min(raw.c::text) AS c, min(raw.b) AS b
	  FROM raw GROUP BY raw.key),
known AS (
	SELECT u.key, bool_or(u.kind = 's') AS sent, max(u.hash) FILTER (WHERE u.kind = 's') AS hash,
		bool_or(u.kind = 'p') AS pending, bool_or(u.kind IN ('p', 'q')) AS any_pending, bool_or(u.kind = 'h') AS held,
		bool_or(u.kind = 'd') AS no_delete, bool_or(u.kind IN ('d', 'r', 'w')) AND NOT bool_or(u.kind IN ('p', 'q')) AS rejected,
		array_agg(u.hash) FILTER (WHERE u.kind IN ('r', 'w')) AS refused, array_agg(u.hash) FILTER (WHERE u.kind = 'w') AS undone,
		bool_or(u.kind = 'k') AS kept_back,
		max(u.hash) FILTER (WHERE u.kind = 'l') AS planned
	  FROM (SELECT s.key, 's' AS kind, s.hash FROM activate._sent s WHERE s.sync = %3$s%11$s
			UNION ALL
			SELECT o.key, CASE WHEN o.held THEN 'h' WHEN o.undo IS NOT NULL THEN 'q' WHEN o.forced OR NOT %4$L::boolean THEN 'p' ELSE 'q' END, NULL
			  FROM activate._intent o WHERE o.sync = %3$s%11$s
			UNION ALL
			(SELECT DISTINCT ON (o.key) o.key, 'l', o.planned FROM activate._intent o
			  WHERE o.sync = %3$s AND NOT o.held AND o.undo IS NULL AND (o.forced OR NOT %4$L::boolean)%11$s ORDER BY o.key, o.id DESC)
			UNION ALL
			SELECT j.key, CASE WHEN j.code IN ('null_key', 'duplicate_key', 'expectation', 'former_type') THEN 'k'
				WHEN j.op = 'delete' THEN 'd' WHEN j.code = 'undone' THEN 'w' ELSE 'r' END, j.hash FROM activate.rejection j WHERE j.sync = %3$s%11$s) u
	 GROUP BY u.key),
compared AS (
	SELECT CASE WHEN src.bad THEN 'x' WHEN src.n > 1 THEN 'y' WHEN src.b IS NOT NULL THEN 'b'
			WHEN known.pending AND (src.key IS NULL OR coalesce(known.planned = %9$s, %10$L::boolean)) THEN NULL
			WHEN src.key IS NULL AND %6$L::boolean AND known.sent THEN
				CASE WHEN known.any_pending OR (known.no_delete AND NOT %12$L::boolean) THEN NULL WHEN known.held THEN 'h' ELSE 'd' END
			WHEN src.key IS NULL THEN CASE WHEN known.rejected AND %8$L::boolean THEN 'f' END
			WHEN NOT %12$L::boolean AND src.hash = ANY (known.undone) THEN NULL
			WHEN %4$L::boolean THEN CASE WHEN known.sent THEN 'u' ELSE 'n' END
			WHEN known.pending THEN CASE WHEN NOT known.sent THEN 'n' WHEN %5$L::boolean THEN 'u' END
			WHEN src.hash = ANY (known.refused) THEN NULL
			WHEN known.sent THEN
				CASE WHEN %5$L::boolean AND src.hash IS DISTINCT FROM known.hash THEN 'u' WHEN known.rejected OR known.kept_back THEN 'f' END
			ELSE 'n' END AS action,
		coalesce(src.key, known.key) AS key, src.hash, coalesce(src.n, 1) AS n, %9$s AS planned, src.b
	  FROM src FULL JOIN known ON known.key = src.key),
diff AS MATERIALIZED (SELECT * FROM compared c WHERE c.action IS NOT NULL)
SELECT 'r' AS action, NULL::jsonb AS key, (SELECT count(*) FROM diff WHERE diff.action = 'd') AS hash,
	(SELECT coalesce(sum(src.n), 0) FROM src)::bigint AS n, NULL::jsonb AS body, %7$s::text AS mark, NULL::text AS value,
	NULL::bigint AS planned
UNION ALL
SELECT 's', NULL, (SELECT count(*) FROM diff WHERE diff.action = 'h'), (SELECT count(*) FROM activate._sent s WHERE s.sync = %3$s), NULL, NULL, NULL, NULL
UNION ALL
SELECT diff.action, diff.key, diff.hash, diff.n, NULL, diff.b, NULL, diff.planned FROM diff WHERE diff.action <> 'h'$sql$,
		CASE WHEN type IS NULL THEN 'NOT MATERIALIZED' ELSE 'MATERIALIZED' END, source, _diff_sql.sync,
		everything, updates, deletes, activate._newest_sql(type, watermark), type IS NULL AND NOT chunk,
		-- a row that changed and changed back has another cursor, and is read once
		CASE WHEN type IS NULL THEN 'src.hash' ELSE 'hashtextextended(src.c, src.hash)' END, told,
		CASE WHEN chunk THEN ' AND key IN (SELECT src.key FROM src)' END, asked);
END;
COMMENT ON FUNCTION activate._diff_sql(bigint, text, text, text, boolean, boolean, boolean, boolean, boolean, boolean) IS
	'private: the statement that compares a source with what was sent';
REVOKE ALL ON FUNCTION activate._diff_sql(bigint, text, text, text, boolean, boolean, boolean, boolean, boolean, boolean) FROM PUBLIC;

-- API: Private.  Rows that are sent once, told apart by marks in
-- activate._seen: the key, or where there is none the hash, and the cursor's
-- value.  Without a key equal rows have a mark each, with anything behind #: as
-- many as there are marks were taken.  actions: r, x, y, b as above, e a new row
-- (mark: NULL if it has one), f a row that was kept back and is not any more, p a mark that the cursor has left behind.
CREATE FUNCTION activate._append_sql(sync bigint, source text, keyed boolean, type text, watermark text, lag text,
	everything boolean, chunk boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format($sql$
WITH raw AS MATERIALIZED (%1$s),
marked AS (
	SELECT raw.key, raw.bad, raw.r, raw.c, raw.b, %2$s AS n, %3$s || CASE WHEN raw.c IS NULL THEN '' ELSE '@' || raw.c::text END AS stem,
		%4$s AS copy
	  FROM raw),
taken AS (SELECT %9$s AS stem, count(*) AS n FROM activate._seen g WHERE g.sync = %6$s%11$s GROUP BY 1),
newest AS MATERIALIZED (SELECT %5$s AS c)
SELECT 'r' AS action, NULL::jsonb AS key, NULL::bigint AS hash, (SELECT count(*) FROM raw) AS n, NULL::jsonb AS body,
	(SELECT newest.c::text FROM newest) AS mark, NULL::text AS value
UNION ALL
SELECT CASE WHEN m.bad THEN 'x' WHEN m.n > 1 THEN 'y' WHEN m.b IS NOT NULL THEN 'b' ELSE 'e' END, m.key, NULL, 1,
	CASE WHEN m.bad OR m.n > 1 THEN NULL ELSE to_jsonb(m.r) END,
	CASE WHEN m.b IS NOT NULL AND NOT m.bad AND m.n = 1 THEN m.b WHEN m.copy > coalesce(t.n, 0) THEN m.stem || %10$s END, coalesce(m.c::text, '')
  FROM marked m LEFT JOIN taken t ON t.stem = m.stem
 WHERE m.copy > coalesce(t.n, 0) OR m.bad OR m.n > 1 OR %7$L::boolean
UNION ALL
SELECT 'f', m.key, NULL, 1, NULL, NULL, NULL FROM marked m
 WHERE %12$L::boolean AND NOT m.bad AND m.n = 1 AND m.b IS NULL AND EXISTS (SELECT FROM activate.rejection j
	WHERE j.sync = %6$s AND j.key = m.key AND j.code IN ('null_key', 'duplicate_key', 'expectation', 'former_type'))
UNION ALL
SELECT 'p', NULL, NULL, 1, NULL, g.mark, NULL FROM activate._seen g, newest WHERE g.sync = %6$s AND %8$s$sql$,
		source,
		CASE WHEN keyed THEN 'count(*) OVER (PARTITION BY raw.key)' ELSE '1' END,
		CASE WHEN keyed THEN 'activate._key_mark(raw.key)' ELSE 'raw.hash::text' END,
		CASE WHEN keyed THEN '1' ELSE 'row_number() OVER (PARTITION BY raw.hash, raw.c)' END,
		activate._newest_sql(type, watermark), _append_sql.sync, everything,
		CASE WHEN type IS NULL THEN 'false'
			ELSE activate._since_sql('newest.c', lag, format('nullif(g.value, '''')::%s', type), '<') END,
		CASE WHEN keyed THEN 'g.mark' ELSE 'regexp_replace(g.mark, ''#[^#]*$'', '''')' END,
		CASE WHEN keyed THEN '''''' ELSE '''#'' || m.copy' END,
		CASE WHEN chunk AND keyed THEN ' AND g.mark IN (SELECT m.stem FROM marked m)' END, keyed AND type IS NOT NULL);
END;
COMMENT ON FUNCTION activate._append_sql(bigint, text, boolean, text, text, text, boolean, boolean) IS
	'private: the statement that finds rows of a source that were not taken yet';
REVOKE ALL ON FUNCTION activate._append_sql(bigint, text, boolean, text, text, text, boolean, boolean) FROM PUBLIC;

-- API: Private.  everything: full => true; complete: deletes can be seen; marks: told apart by _seen; chunk: see
-- activate._chunk_condition().
CREATE FUNCTION activate._plan_sql(sync bigint, query text, everything boolean, marks boolean, updates boolean,
	deletes boolean, since_start boolean, chunk text DEFAULT NULL, judged boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	s activate.sync;
	watermark text;
	lag text;
	source text;
BEGIN
	SELECT y.* INTO STRICT s FROM activate.sync y WHERE y.id = _plan_sql.sync;
	IF s.capture <> 'cursor' THEN
		s.cursor_type := NULL;
	ELSIF NOT since_start THEN
		SELECT format('%L::%s', w.value, s.cursor_type) INTO watermark FROM activate._watermark w
		 WHERE w.sync = s.id AND w.value IS NOT NULL;
	END IF;
	lag := s.options ->> 'lag';
	source := activate._rows_sql(query, s.key_columns, s.columns, s.cursor_type IS NOT NULL,
		concat_ws(' AND ', CASE WHEN s.cursor_type IS NOT NULL THEN activate._since_sql(watermark, lag, 'q.c', '>=') END, chunk), judged);
	IF marks THEN
		RETURN activate._append_sql(s.id, source, s.key_columns <> '{}', s.cursor_type, watermark, lag, everything, chunk IS NOT NULL);
	END IF;
	RETURN activate._diff_sql(s.id, source, s.cursor_type, watermark, everything, updates,
		deletes AND s.cursor_type IS NULL AND chunk IS NULL, s.capture = 'trigger', chunk IS NOT NULL, since_start);
END
$$;
COMMENT ON FUNCTION activate._plan_sql(bigint, text, boolean, boolean, boolean, boolean, boolean, text, boolean) IS
	'private: the statement that plans a run of a sync to an API';
REVOKE ALL ON FUNCTION activate._plan_sql(bigint, text, boolean, boolean, boolean, boolean, boolean, text, boolean) FROM PUBLIC;

-- API: Private.  A comparison of the whole source replaces what earlier ones found.
CREATE FUNCTION activate._plan_begin(sync bigint, OUT first boolean)
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate.rejection r
	 USING activate.sync s
	 WHERE s.id = _plan_begin.sync AND s.capture <> 'cursor' AND NOT activate._file_ledger(s.id) AND r.sync = s.id AND r.code IN ('null_key', 'duplicate_key', 'expectation', 'former_type');
	DELETE FROM activate._backfill b WHERE b.sync = _plan_begin.sync;
	WITH begun AS (
		INSERT INTO activate._watermark (sync) VALUES (_plan_begin.sync) ON CONFLICT DO NOTHING RETURNING true)
	SELECT EXISTS (SELECT FROM begun);
END;
COMMENT ON FUNCTION activate._plan_begin(bigint) IS
	'private: a run is planned; is it the first since the sync has this target and key';
REVOKE ALL ON FUNCTION activate._plan_begin(bigint) FROM PUBLIC;

-- API: Private.  One rejection per row of the source.  A code that is none is a flaw of the row.
CREATE FUNCTION activate._plan_reject(sync bigint, keys jsonb[], codes text[], counts bigint[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate.rejection r USING activate.sync s, unnest(keys) k(key)
	 WHERE s.id = _plan_reject.sync AND (s.capture = 'cursor' OR activate._file_ledger(s.id))
		AND r.sync = s.id AND r.key = k.key AND r.code IN ('null_key', 'duplicate_key', 'expectation', 'former_type');
	INSERT INTO activate.rejection (sync, key, op, code, reason)
	SELECT s.id, u.key, activate._mode_op(s.mode), CASE WHEN u.code IN ('null_key', 'duplicate_key') THEN u.code ELSE activate._flaw_code(u.code) END,
		CASE u.code WHEN 'null_key' THEN 'a column of the key is NULL'
			WHEN 'duplicate_key' THEN 'more than one row of the source has this key' ELSE u.code END
	  FROM activate.sync s, unnest(keys, codes, counts) AS u(key, code, n), generate_series(1, u.n)
	 WHERE s.id = _plan_reject.sync;
END;
COMMENT ON FUNCTION activate._plan_reject(bigint, jsonb[], text[], bigint[]) IS
	'private: rows of a source that have no usable key';
REVOKE ALL ON FUNCTION activate._plan_reject(bigint, jsonb[], text[], bigint[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._plan_forgive(sync bigint, keys jsonb[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	-- of events others that were refused stay so
	DELETE FROM activate.rejection r USING activate.sync s, unnest(keys) AS u(key)
	 WHERE s.id = _plan_forgive.sync AND r.sync = s.id AND r.key = u.key
	   AND (s.mode <> 'append' OR r.code IN ('null_key', 'duplicate_key', 'expectation', 'former_type'));
END;
COMMENT ON FUNCTION activate._plan_forgive(bigint, jsonb[]) IS 'private: rejections that mean nothing any more';
REVOKE ALL ON FUNCTION activate._plan_forgive(bigint, jsonb[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._plan_known(sync bigint, keys jsonb[], hashes bigint[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._sent (sync, digest, hash, seq, sent_at, key)
	SELECT _plan_known.sync, activate._key_digest(u.key), u.hash, 0, clock_timestamp(), u.key FROM unnest(keys, hashes) AS u(key, hash)
	ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION activate._plan_known(bigint, jsonb[], bigint[]) IS
	'private: options.backfill = false: these rows count as sent';
REVOKE ALL ON FUNCTION activate._plan_known(bigint, jsonb[], bigint[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._plan_marks(sync bigint, marks text[], vals text[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._seen (sync, mark, value)
	SELECT _plan_marks.sync, u.mark, u.value FROM unnest(marks, vals) AS u(mark, value)
	ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION activate._plan_marks(bigint, text[], text[]) IS 'private: rows of an append sync that are taken';
REVOKE ALL ON FUNCTION activate._plan_marks(bigint, text[], text[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._plan_prune(sync bigint, marks text[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._seen g USING unnest(marks) AS u(mark) WHERE g.sync = _plan_prune.sync AND g.mark = u.mark;
END;
COMMENT ON FUNCTION activate._plan_prune(bigint, text[]) IS 'private: marks that the cursor has left behind';
REVOKE ALL ON FUNCTION activate._plan_prune(bigint, text[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._plan_watermark(sync bigint, value text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._watermark AS w (sync, value) VALUES (_plan_watermark.sync, _plan_watermark.value)
	ON CONFLICT (sync) DO UPDATE SET value = excluded.value;
END;
COMMENT ON FUNCTION activate._plan_watermark(bigint, text) IS 'private: how far capture "cursor" has read';
REVOKE ALL ON FUNCTION activate._plan_watermark(bigint, text) FROM PUBLIC;
