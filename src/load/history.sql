-- Runs that keep versions (options.history): parts of the statement of load.sql.
--
-- The row of a key that holds now has valid_to NULL; what differs is closed and
-- written anew with one moment, what is gone is closed.  The moment is that of
-- the run; a key that has a later one already (a clock that went back, two runs
-- within a microsecond) goes on from there, so that versions never overlap.

CREATE FUNCTION activate._keeps_history(sync activate.sync) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT coalesce(((sync).options->>'history')::boolean, false) AND (sync).kind = 'local';
END;
COMMENT ON FUNCTION activate._keeps_history(activate.sync) IS 'private: does a sync to a table keep versions';
REVOKE ALL ON FUNCTION activate._keeps_history(activate.sync) FROM PUBLIC;

CREATE FUNCTION activate._history_moment() RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('timestamptz ''%s+00''', to_char((clock_timestamp()
			+ coalesce(current_setting('activate.clock_offset', true), '0')::interval) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US'));
END;
COMMENT ON FUNCTION activate._history_moment() IS 'private: the moment of a run as a literal';
REVOKE ALL ON FUNCTION activate._history_moment() FROM PUBLIC;

CREATE FUNCTION activate._history_close(target text, moment text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('UPDATE %s AS t SET valid_to = greatest(%s, t.valid_from + interval ''1 microsecond'')', target, moment);
END;
COMMENT ON FUNCTION activate._history_close(text, text) IS 'private: the beginning of a statement that closes versions';
REVOKE ALL ON FUNCTION activate._history_close(text, text) FROM PUBLIC;

-- Where "upd" has closed one.
CREATE FUNCTION activate._history_again(sync activate.sync, target text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('again AS (INSERT INTO %s AS t (%s, valid_from) OVERRIDING SYSTEM VALUE SELECT %s, u.valid_to FROM upd u RETURNING 1)', target,
			string_agg(quote_ident((sync).columns[i]), ', ' ORDER BY i), string_agg('u.v' || i, ', ' ORDER BY i))
	  FROM generate_subscripts((sync).columns, 1) i;
END;
COMMENT ON FUNCTION activate._history_again(activate.sync, text) IS 'private: the part of a load that writes what differs anew';
REVOKE ALL ON FUNCTION activate._history_again(activate.sync, text) FROM PUBLIC;

-- Of a key that comes, perhaps not for the first time.
CREATE FUNCTION activate._history_begin(target text, t_is_x text, moment text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format(', greatest(%s, (SELECT max(t.valid_to) FROM %s t WHERE %s))', moment, target, t_is_x);
END;
COMMENT ON FUNCTION activate._history_begin(text, text, text) IS 'private: valid_from of a row that is not there';
REVOKE ALL ON FUNCTION activate._history_begin(text, text, text) FROM PUBLIC;

-- Can versions be kept in this table?  What is to be done, or NULL.
CREATE FUNCTION activate._history_wrong(relation regclass, key text[]) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH columns AS (
		SELECT string_agg(format('ADD %I timestamptz', n.name) || CASE WHEN n.name = 'valid_from' THEN ' NOT NULL DEFAULT now()' ELSE '' END, ', ') AS missing
		  FROM unnest(ARRAY['valid_from', 'valid_to']) n(name)
		 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attname = n.name AND NOT a.attisdropped)),
	wrong AS (
		SELECT string_agg(format('column %I must be a timestamptz%s', a.attname, CASE WHEN a.attname = 'valid_to' THEN ' that may be NULL' ELSE '' END), ', ') AS columns
		  FROM pg_catalog.pg_attribute a
		 WHERE a.attrelid = relation AND a.attname IN ('valid_from', 'valid_to') AND NOT a.attisdropped
		   AND (a.atttypid <> 'timestamptz'::regtype OR a.attgenerated <> '' OR (a.attname = 'valid_to' AND a.attnotnull))),
	indexes AS (
		SELECT i.indexrelid, i.indpred IS NOT NULL AS partial, pg_catalog.pg_get_expr(i.indpred, i.indrelid) = '(valid_to IS NULL)' AS open,
			array_agg(a.attname::text) <@ key AS within, array_agg(a.attname::text) @> key AS of
		  FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		 WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL
		 GROUP BY i.indexrelid, i.indpred, i.indrelid)
	SELECT CASE
		WHEN c.missing IS NOT NULL THEN format('ALTER TABLE %s %s', relation, c.missing)
		WHEN w.columns IS NOT NULL THEN w.columns
		WHEN EXISTS (SELECT FROM indexes i WHERE i.within AND NOT i.partial) THEN
			(SELECT format('the unique index %s allows one row per key only: drop it', i.indexrelid::regclass) FROM indexes i WHERE i.within AND NOT i.partial LIMIT 1)
		WHEN NOT EXISTS (SELECT FROM indexes i WHERE i.within AND i.of AND i.open) THEN
			format('CREATE UNIQUE INDEX ON %s (%s) WHERE valid_to IS NULL', relation, (SELECT string_agg(quote_ident(k), ', ') FROM unnest(key) k)) END
	  FROM columns c, wrong w;
END;
COMMENT ON FUNCTION activate._history_wrong(regclass, text[]) IS 'private: what must be done before versions can be kept in a table; NULL: nothing';
REVOKE ALL ON FUNCTION activate._history_wrong(regclass, text[]) FROM PUBLIC;
