-- The one statement of a run into a table (SEMANTICS 11): reads the source
-- once, compares it with the target itself, and changes what differs.  All its
-- parts see the same snapshot, but a unique constraint sees what they did so
-- far: "ins" asks for "upd", and that for "del", so that each is done before
-- the next begins.
--
-- "queued": not the whole source, but what a trigger has queued, which is
-- parameter $1, a jsonb array: keys, or in append mode the rows themselves.
-- $2.. are the keys' columns once more, with their types, where "narrow" asks.
--
-- It is put together by the extension and executed as the sync's owner.  Its
-- rows: first "counts", then what C has to write on the owner's behalf:
-- "null_key" and "duplicate_key" (rejections), "held" (deletes over the limit),
-- what an expectation says of a row (rejections), "mended" (none any more),
-- "back" (deletes held before, of rows that are there again) and "seen" (marks
-- of events).
-- Columns: what, key, mark, read, inserted, updated, deleted, held.

CREATE FUNCTION activate._columns_list(prefix text, names text[], types text[]) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	-- character(n): kept padded, compared without its padding
	SELECT string_agg(format(CASE WHEN types[i] LIKE 'character(%' OR types[i] = 'character' THEN '%s%s::text' ELSE '%s%s' END,
			prefix, CASE WHEN prefix = 't.' THEN quote_ident(names[i]) ELSE i::text END), ', ' ORDER BY i)
	  FROM generate_subscripts(names, 1) i;
END;
COMMENT ON FUNCTION activate._columns_list(text, text[], text[]) IS
	'private: t."a", t."b" or q.v1, q.v2 in a form in which the target''s and the source''s values compare';
REVOKE ALL ON FUNCTION activate._columns_list(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION activate._relation_name(relation regclass) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('%I.%I', n.nspname, c.relname)
	  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = relation;
END;
COMMENT ON FUNCTION activate._relation_name(regclass) IS 'private: the name with its schema, always';
REVOKE ALL ON FUNCTION activate._relation_name(regclass) FROM PUBLIC;

-- Executed as owners of syncs, so PUBLIC may; it looks at nothing but its arguments.
CREATE FUNCTION activate._differs(VARIADIC "any") RETURNS boolean
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'activate_differs';
COMMENT ON FUNCTION activate._differs("any") IS
	'private: is one of the first, third ... of these values not to the bit the one that follows it';

-- Executed as owners of syncs, too: see load/repeats.h.
CREATE FUNCTION activate._take_key(VARIADIC "any") RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'activate_take_key';
COMMENT ON FUNCTION activate._take_key("any") IS 'private: true; notes the key of a row that a run reads';

CREATE FUNCTION activate._keys_repeat(rows_read bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'activate_keys_repeat';
COMMENT ON FUNCTION activate._keys_repeat(bigint) IS
	'private: was one of the keys that the run has noted NULL, or did it come twice, or might have';

-- Functions take a hundred arguments at most.
CREATE FUNCTION activate._load_differs(sync activate.sync) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('(%s)', string_agg(c.call, ' OR ' ORDER BY c.call))
	  FROM (SELECT format('activate._differs(%s)', string_agg(concat_ws(', ',
				activate._columns_list('t.', sync.columns[i:i], sync.column_types[i:i]),
				regexp_replace(activate._columns_list('g.v', sync.columns[i:i], sync.column_types[i:i]), '^g\.v1', 'g.v' || i)), ', ' ORDER BY i)) AS call
			  FROM generate_subscripts(sync.columns, 1) i GROUP BY (i - 1) / 50) c;
END;
COMMENT ON FUNCTION activate._load_differs(activate.sync) IS 'private: a condition on a row t of the target and g of the source';
REVOKE ALL ON FUNCTION activate._load_differs(activate.sync) FROM PUBLIC;

-- A unique index of exactly these columns lets INSERT meet a concurrent one.
CREATE FUNCTION activate._has_unique(relation regclass, key text[]) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (
		SELECT FROM pg_catalog.pg_index i
		 WHERE i.indrelid = relation AND i.indisunique AND i.indimmediate AND i.indisvalid
		   AND i.indpred IS NULL AND i.indexprs IS NULL
		   AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
				  FROM pg_catalog.pg_attribute a
				 WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
			 = (SELECT array_agg(k ORDER BY k COLLATE "C") FROM unnest(key) k));
END;
COMMENT ON FUNCTION activate._has_unique(regclass, text[]) IS 'private: is there a unique index on just these columns';
REVOKE ALL ON FUNCTION activate._has_unique(regclass, text[]) FROM PUBLIC;

-- Keys as JSON, from k1..n of the sync's query to the target's columns v..., too.
CREATE FUNCTION activate._load_keys(sync activate.sync, object text, source text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('SELECT k.*, %s FROM %s CROSS JOIN LATERAL ROWS FROM (jsonb_to_record(%s) AS (%s)) AS k(%s)',
			string_agg(format('k.k%s::%s AS v%s', i, (sync).column_types[p], p), ', ' ORDER BY i), source, object,
			string_agg(format('%I %s', (sync).key_columns[i], (sync).key_types[i]), ', ' ORDER BY i),
			string_agg('k' || i, ', ' ORDER BY i))
	  FROM generate_subscripts((sync).key_columns, 1) i, array_position((sync).columns, (sync).target_key[i]) p;
END;
COMMENT ON FUNCTION activate._load_keys(activate.sync, text, text) IS
	'private: a query that gives the keys in a jsonb expression over a relation as columns, k1.. typed as the source''s, v.. as the target''s';
REVOKE ALL ON FUNCTION activate._load_keys(activate.sync, text, text) FROM PUBLIC;

-- Rows as JSON, under the names of a sync's query.
CREATE FUNCTION activate._load_rows(sync activate.sync, object text, source text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('SELECT q.* FROM %s CROSS JOIN LATERAL ROWS FROM (jsonb_to_record(%s) AS (%s)) WITH ORDINALITY AS q(%s, one)', source, object,
			string_agg(format('%I %s', (sync).columns[i], (sync).column_types[i]), ', ' ORDER BY i),
			string_agg('v' || i, ', ' ORDER BY i))
	  FROM generate_subscripts((sync).columns, 1) i;
END;
COMMENT ON FUNCTION activate._load_rows(activate.sync, text, text) IS
	'private: a query that gives the rows in a jsonb expression over a relation as columns v1..';
REVOKE ALL ON FUNCTION activate._load_rows(activate.sync, text, text) FROM PUBLIC;

-- Deletes over the limit of a mirror (SEMANTICS 10).  "lost" are the target's
-- rows that are to go; of its rows no more are counted than decide.
CREATE FUNCTION activate._load_verdict(sync activate.sync, target text, unlimited boolean) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN unlimited THEN 'verdict AS MATERIALIZED (SELECT false AS held)'
		ELSE format('verdict AS MATERIALIZED (SELECT n.gone > 0 AND (n.gone >= m.total OR (n.gone >= %s AND n.gone * 100 > %s * m.total)) AS held
			FROM (SELECT count(*) AS gone FROM lost) n, LATERAL (SELECT count(*) AS total
				FROM (SELECT FROM %s t LIMIT greatest(n.gone, n.gone * 100 / greatest(%s, 1)) + 1) t) m)',
			coalesce(((sync).options->>'min_deletes')::int, 10), o.percent, target, o.percent) END
	  FROM (SELECT coalesce(((sync).options->>'max_delete_percent')::int, 20) AS percent) o;
END;
COMMENT ON FUNCTION activate._load_verdict(activate.sync, text, boolean) IS 'private: the part of a load that says whether its deletes are too many';
REVOKE ALL ON FUNCTION activate._load_verdict(activate.sync, text, boolean) FROM PUBLIC;

-- Rows with a key: UPDATE what differs, INSERT what is missing, DELETE what is gone.
CREATE FUNCTION activate._load_keyed(sync activate.sync, query text, everything boolean, queued boolean, since text, newest text, narrow text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	target text := activate._relation_name(sync.target_rel);
	vkey text;			-- v2, v3: the key as the target has it
	null_key text;		-- q.v2 IS NULL OR ...
	t_is_x text;		-- t."id" = x.v2 AND ...
	near text := '';	-- AND t."id" = ANY (...): what another server can look up
	gone text;			-- of a row t of the target: it is to be deleted
	sets text;
	differs text := activate._load_differs(sync);
	conflict text := '';
	deletes boolean := sync.mode IN ('mirror', 'replace');
	unlimited boolean := everything OR sync.mode <> 'mirror';
	-- versions: what differs is closed and written anew, what is gone is closed (history.sql)
	history boolean := activate._keeps_history(sync);
	moment text := activate._history_moment();
	-- deletes that wait for a yes, where there is a queue for them to wait in
	holds boolean := sync.capture = 'trigger' AND NOT unlimited;
	-- a mirror by cursor: rows that say they are gone, and now and then the keys of all that are there (sweep.sql)
	marked boolean := sync.capture = 'cursor' AND sync.mode = 'mirror' AND sync.options ? 'deleted';
	sweeps boolean := sync.capture = 'cursor' AND sync.options ? 'sweep:now';
	alive text := CASE WHEN marked THEN ' AND NOT q.d' ELSE '' END;
	-- nothing goes: the target is looked at once, for what differs and what is missing
	once boolean := NOT deletes AND NOT history;
	-- against so many of the target that these are looked up, in the order of its index
	few boolean := sync.options ? 'few:now' AND activate._has_unique(sync.target_rel, sync.target_key);
	-- rows that an expectation keeps back
	judged boolean := sync.options ? 'judged:now';
	fine text := CASE WHEN judged THEN ' AND q.flaw IS NULL' ELSE '' END;
	twice text;			-- of a row q: there is another one with its key
	odd text := 'true';	-- there are such rows, or some without a key
	parts text[] := '{}';
BEGIN
	SELECT string_agg('v' || p, ', ' ORDER BY i), string_agg(format('q.v%s IS NULL', p), ' OR ' ORDER BY i),
		string_agg(format('t.%I = x.v%s', k, p), ' AND ' ORDER BY i),
		CASE WHEN queued AND sync.kind = 'foreign'
			THEN string_agg(format(' AND t.%I = ANY (ARRAY(SELECT k.v%s FROM keys k))', k, p), '' ORDER BY i) ELSE '' END
	  INTO vkey, null_key, t_is_x, near
	  FROM unnest(sync.target_key) WITH ORDINALITY u(k, i), array_position(sync.columns, k) p;
	SELECT string_agg(format('%I = g.v%s', c, i), ', ' ORDER BY i) INTO sets
	  FROM unnest(sync.columns) WITH ORDINALITY u(c, i) WHERE c <> ALL (sync.target_key);
	IF history THEN
		near := near || ' AND t.valid_to IS NULL';
	END IF;

	IF queued THEN
		parts := parts || format('keys AS MATERIALIZED (%s)', activate._load_keys(sync, 'u.key', 'unnest($1) u(key)'));
		-- "narrow" of one column says it all
		query := format('SELECT q.* FROM (%s) q WHERE %s', query, concat_ws(' AND ', narrow,
			(SELECT format('EXISTS (SELECT FROM keys k WHERE %s)', string_agg(format('q.k%s = k.k%s', i, i), ' AND '))
			   FROM generate_subscripts(sync.key_columns, 1) i HAVING narrow IS NULL OR count(*) > 1)));
	END IF;
	IF once THEN
		odd := '(SELECT total.odd FROM total)';
		twice := format('%s AND EXISTS (SELECT FROM twice x WHERE %s)', odd,
			(SELECT string_agg(format('q.v%s = x.v%s', p, p), ' AND ') FROM unnest(sync.target_key) k, array_position(sync.columns, k) p));
		parts := parts || ARRAY[
			format('raw AS MATERIALIZED (SELECT q.*, %s AS null_key FROM (%s) q WHERE %s)', null_key, query,
				concat_ws(' AND ', since, 'activate._count_row()', format('activate._take_key(%s)', regexp_replace(vkey, 'v', 'q.v', 'g')))),
			'total AS MATERIALIZED (SELECT n.n, activate._keys_repeat(n.n) AS odd FROM (SELECT count(*) AS n FROM raw) n)',
			format('twice AS MATERIALIZED (SELECT %s FROM raw q WHERE %s AND NOT q.null_key GROUP BY %1$s HAVING count(*) > 1)', vkey, odd),
			format('good AS MATERIALIZED (SELECT g.*, t.%I IS NOT NULL AS there
					FROM (SELECT %s* FROM raw q WHERE NOT q.null_key AND NOT (%s)%s) g LEFT JOIN %s t ON %s%s
					WHERE t.%1$I IS NULL OR %8$s)',
				sync.target_key[1], CASE WHEN few THEN format('DISTINCT ON (%s) ', vkey) END, twice, fine, target, replace(t_is_x, 'x.', 'g.'), near, differs)];
	ELSE
		twice := 'q.copies > 1';
		parts := parts || ARRAY[
			format('raw AS MATERIALIZED (SELECT q.*, count(*)%s OVER (PARTITION BY %s) AS copies, %s AS null_key FROM (%s) q WHERE %s)',
				CASE WHEN marked THEN ' FILTER (WHERE NOT q.d)' ELSE '' END, regexp_replace(vkey, 'v', 'q.v', 'g'), null_key, query,
				concat_ws(' AND ', since, 'activate._count_row()')),
			format('good AS (SELECT * FROM raw q WHERE copies = 1 AND NOT null_key%s%s)', alive, fine)];
	END IF;
	IF deletes THEN
		IF sweeps THEN
			parts := parts || activate._sweep_present(sync, query, alive);
		END IF;
		-- what is still queued of a declaration by trigger is looked up by its keys, whatever the capture is now
		gone := format(CASE WHEN queued AND sync.capture = 'cursor' THEN 'NOT EXISTS (SELECT FROM raw x WHERE %s' || CASE WHEN marked THEN ' AND NOT x.d)' ELSE ')' END
				WHEN sweeps THEN 'NOT EXISTS (SELECT FROM present x WHERE %s)'
				WHEN marked THEN 'EXISTS (SELECT FROM raw x WHERE %s AND x.d AND x.copies = 0)'
				WHEN sync.capture = 'cursor' THEN 'false' ELSE 'NOT EXISTS (SELECT FROM raw x WHERE %s)' END, t_is_x) || near
			|| CASE WHEN queued THEN format(' AND EXISTS (SELECT FROM keys x WHERE %s)', t_is_x) ELSE '' END
			|| CASE WHEN holds THEN format(' AND NOT EXISTS (SELECT FROM held x WHERE %s)', t_is_x) ELSE '' END;
		IF holds THEN
			parts := parts || format('held AS MATERIALIZED (%s WHERE o.sync = %s AND o.held)',
				activate._load_keys(sync, 'o.key', 'activate._outbox o'), sync.id);
		END IF;
		parts := parts || format('lost AS MATERIALIZED (SELECT %s FROM %s t WHERE %s)',
			(SELECT string_agg(format('t.%I AS v%s', k, p), ', ') FROM unnest(sync.target_key) k, array_position(sync.columns, k) p),
			target, gone);
	END IF;
	parts := parts || activate._load_verdict(sync, CASE WHEN history THEN format('(SELECT FROM %s t WHERE t.valid_to IS NULL)', target) ELSE target END,
		unlimited);

	-- the verdict first: it counts what is there before anything changes
	parts := parts || CASE WHEN deletes
		THEN format('del AS (%s WHERE (SELECT NOT held FROM verdict) AND %s RETURNING 1)', CASE WHEN history
			THEN activate._history_close(target, moment) ELSE format('DELETE FROM %s AS t', target) END, gone)
		ELSE 'del AS (SELECT WHERE false)' END;
	IF sync.mode <> 'insert' AND sets IS NOT NULL THEN
		parts := parts || format('upd AS (%s FROM good g WHERE (SELECT held IS NOT NULL FROM verdict)
				AND (SELECT count(*) >= 0 FROM del)%s AND %s AND %s%s RETURNING %s)', CASE WHEN history
			THEN activate._history_close(target, moment) ELSE format('UPDATE %s AS t SET %s', target, sets) END,
			CASE WHEN once THEN ' AND g.there' ELSE '' END, replace(t_is_x, 'x.', 'g.'), differs, near, CASE WHEN history THEN 'g.*, t.valid_to' ELSE '1' END);
		IF history THEN
			parts := parts || activate._history_again(sync, target);
		END IF;
	ELSE
		parts := parts || 'upd AS (SELECT WHERE false)'::text;
	END IF;
	IF sync.mode <> 'update' THEN
		IF sync.kind = 'local' AND activate._has_unique(sync.target_rel, sync.target_key) THEN
			conflict := format(' ON CONFLICT (%s) DO ', (SELECT string_agg(quote_ident(k), ', ') FROM unnest(sync.target_key) k))
				|| CASE WHEN sync.mode = 'insert' OR sets IS NULL THEN 'NOTHING'
				ELSE format('UPDATE SET %s', (SELECT string_agg(format('%I = excluded.%I', c, c), ', ')
					FROM unnest(sync.columns) c WHERE c <> ALL (sync.target_key))) END;
		END IF;
		parts := parts || format('ins AS (INSERT INTO %s AS t (%s)%s SELECT %s FROM good x WHERE (SELECT held IS NOT NULL FROM verdict)
				AND (SELECT count(*) >= 0 FROM upd) AND NOT %s%s RETURNING 1)',
			target, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(sync.columns) c) || CASE WHEN history THEN ', valid_from' ELSE '' END,
			CASE WHEN sync.kind = 'local' THEN ' OVERRIDING SYSTEM VALUE' END,
			(SELECT string_agg('x.v' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.columns, 1) i)
				|| CASE WHEN history THEN activate._history_begin(target, t_is_x, moment) ELSE '' END,
			CASE WHEN once THEN 'x.there' ELSE format('EXISTS (SELECT FROM %s t WHERE %s%s)', target, t_is_x, near) END, conflict);
	ELSE
		parts := parts || 'ins AS (SELECT WHERE false)'::text;
	END IF;

	RETURN format('WITH %s SELECT ''counts'', NULL::jsonb, %s::text, (SELECT %s), (SELECT count(*) FROM ins),
			(SELECT count(*) FROM upd), (SELECT count(*) FROM del), (SELECT held FROM verdict)%s
		UNION ALL SELECT CASE %s, to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM raw q, LATERAL (SELECT %s) k WHERE %s AND (q.null_key OR %s)%s',
		-- what is held must be read again
		array_to_string(parts, ', '), CASE WHEN sync.capture = 'cursor' AND deletes
			THEN format('(SELECT CASE WHEN NOT v.held THEN %s END FROM verdict v)', newest) ELSE newest END,
		CASE WHEN once THEN 'total.n FROM total' ELSE 'count(*) FROM raw' END,
		-- a run that leaves held deletes behind is held, too
		CASE WHEN holds AND NOT queued THEN format(' OR EXISTS (SELECT FROM held t WHERE NOT EXISTS (SELECT FROM raw x WHERE %s))',
			(SELECT string_agg(format('t.v%s = x.v%s', p, p), ' AND ') FROM unnest(sync.target_key) k, array_position(sync.columns, k) p)) END,
		-- a key that does not fit is none in the target
		CASE WHEN judged THEN format('WHEN q.null_key THEN CASE WHEN q.flaw LIKE ''column %%'' THEN q.flaw ELSE ''null_key'' END WHEN %s THEN ''duplicate_key'' ELSE q.flaw END', twice)
			ELSE 'WHEN q.null_key THEN ''null_key'' ELSE ''duplicate_key'' END' END,
		activate._select_list('k', sync.key_columns), CASE WHEN judged THEN 'true' ELSE odd END,
		CASE WHEN judged THEN twice || ' OR q.flaw IS NOT NULL' ELSE twice END, alive)
		|| CASE WHEN sync.options ? 'mended:now' THEN format(' UNION ALL SELECT ''mended'', to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM raw q, LATERAL (SELECT %s) k WHERE EXISTS (SELECT FROM activate.rejection r WHERE r.sync = %s AND r.code IN (''expectation'', ''former_type'') AND r.key = to_jsonb(k.*))%s',
			activate._select_list('k', sync.key_columns), sync.id, fine) ELSE '' END
		|| CASE WHEN sweeps THEN ' UNION ALL SELECT ''swept'', NULL, NULL, 0, 0, 0, 0, false FROM verdict v WHERE NOT v.held' ELSE '' END
		|| CASE WHEN holds THEN format(' UNION ALL SELECT ''held'', to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM lost q, LATERAL (SELECT %s) k WHERE (SELECT held FROM verdict) AND NOT (%s)
		UNION ALL SELECT ''back'', to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM held q, LATERAL (SELECT %s) k WHERE EXISTS (SELECT FROM raw x WHERE %s)',
			(SELECT string_agg(format('q.v%s::%s AS %I', p, sync.key_types[i], sync.key_columns[i]), ', ' ORDER BY i)
			   FROM unnest(sync.target_key) WITH ORDINALITY u(k, i), array_position(sync.columns, k) p), null_key,
			activate._select_list('k', sync.key_columns),
			(SELECT string_agg(format('q.v%s = x.v%s', p, p), ' AND ') FROM unnest(sync.target_key) k, array_position(sync.columns, k) p)) ELSE '' END;
END
$$;
COMMENT ON FUNCTION activate._load_keyed(activate.sync, text, boolean, boolean, text, text, text) IS 'private: the statement of a load by key';
REVOKE ALL ON FUNCTION activate._load_keyed(activate.sync, text, boolean, boolean, text, text, text) FROM PUBLIC;

-- Rows without a key are told apart by their whole content and how often it occurs.
CREATE FUNCTION activate._load_keyless(sync activate.sync, query text, everything boolean, queued boolean, since text, newest text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	target text := activate._relation_name(sync.target_rel);
	cursor boolean := sync.capture = 'cursor';
	replace boolean := sync.mode = 'replace';
	image text := format('ROW(%s)::text', activate._columns_list('q.v', sync.columns, sync.column_types));
	kept text := format('ROW(%s)::text', activate._columns_list('t.', sync.columns, sync.column_types));
	identity text := image;
	there text := format('SELECT %s AS image FROM %s t', kept, target);
	missing text;
	judged boolean := sync.options ? 'judged:now' AND NOT queued;
	parts text[];
BEGIN
	IF cursor AND sync.mode = 'append' THEN
		-- an event is a key at a time, or a content at a time
		identity := CASE WHEN sync.key_columns = '{}' THEN format('(%s || q.c::text)', image)
			ELSE format('ROW(%s, q.c)::text', (SELECT string_agg('q.k' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.key_columns, 1) i)) END;
		identity := format('encode(sha256(convert_to(%s, ''UTF8'')), ''base64'')', identity);
		missing := format('NOT EXISTS (SELECT FROM activate._seen e WHERE e.sync = %s AND e.mark = g.image || g.copy)', sync.id);
	END IF;
	IF queued THEN
		query := activate._load_rows(sync, 'u.body', 'unnest($1) WITH ORDINALITY u(body, ord)');
		query := replace(query, 'SELECT q.*', 'SELECT q.*, u.ord');
		missing := 'true ORDER BY g.ord';
	ELSIF sync.mode = 'append' AND (everything OR sync.capture = 'full') THEN
		missing := 'true';
	ELSIF missing IS NULL THEN
		missing := 'g.copy > coalesce((SELECT h.copies FROM here h WHERE h.image = g.image), 0)';
	END IF;

	-- an event that is still queued will be there
	IF sync.capture = 'trigger' THEN
		there := format('%s UNION ALL SELECT %s FROM (%s WHERE o.sync = %s AND o.body IS NOT NULL) q', there, image,
			activate._load_rows(sync, 'o.body', 'activate._outbox o'), sync.id);
	END IF;

	IF judged THEN
		parts := ARRAY[format('all_rows AS MATERIALIZED (SELECT q.* FROM (%s) q WHERE %s)', query, concat_ws(' AND ', since, 'activate._count_row()'))];
		query := 'SELECT q.* FROM all_rows q WHERE q.flaw IS NULL';
	END IF;
	parts := parts || ARRAY[
		CASE WHEN missing = 'true' AND NOT cursor
			-- each row is an event: there is nothing to tell apart
			THEN format('raw AS MATERIALIZED (SELECT q.* FROM (%s) q WHERE %s)', query, CASE WHEN judged THEN 'true' ELSE 'activate._count_row()' END)
			ELSE format('raw AS MATERIALIZED (SELECT q.*, row_number() OVER (PARTITION BY q.image) AS copy
				FROM (SELECT q.*, %s AS image FROM (%s) q WHERE %s) q)', identity, query,
				CASE WHEN judged THEN 'true' ELSE concat_ws(' AND ', since, 'activate._count_row()') END) END,
		format('here AS MATERIALIZED (SELECT t.image, count(*) AS copies FROM (%s) t GROUP BY 1)', there)];
	IF replace THEN
		parts := parts || format('del AS (DELETE FROM %s AS t USING (SELECT u.tableoid, u.ctid, u.image, row_number() OVER (PARTITION BY u.image) AS copy
				FROM (SELECT t.tableoid, t.ctid, %s AS image FROM %s t) u) d
				LEFT JOIN raw r ON r.image = d.image AND r.copy = d.copy
				WHERE t.tableoid = d.tableoid AND t.ctid = d.ctid AND r.copy IS NULL RETURNING 1)', target, kept, target);
	ELSE
		parts := parts || 'del AS (SELECT WHERE false)'::text;
	END IF;
	parts := parts || format('ins AS (INSERT INTO %s (%s)%s SELECT %s FROM raw g
				WHERE (SELECT count(*) >= 0 FROM del) AND %s RETURNING 1)', target,
			(SELECT string_agg(quote_ident(c), ', ') FROM unnest(sync.columns) c),
			CASE WHEN sync.kind = 'local' THEN ' OVERRIDING SYSTEM VALUE' END,
			(SELECT string_agg('g.v' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.columns, 1) i), missing);

	RETURN format('WITH %s SELECT ''counts'', NULL::jsonb, %s::text, (SELECT count(*) FROM %s), (SELECT count(*) FROM ins),
			0::bigint, (SELECT count(*) FROM del), false', array_to_string(parts, ', '), newest, CASE WHEN judged THEN 'all_rows' ELSE 'raw' END)
		|| CASE WHEN judged THEN format(' UNION ALL SELECT q.flaw, %s, NULL, 0, 0, 0, 0, false FROM all_rows q%s WHERE q.flaw IS NOT NULL',
			CASE WHEN sync.key_columns = '{}' THEN '''{}''::jsonb' ELSE 'to_jsonb(k.*)' END,
			CASE WHEN sync.key_columns <> '{}' THEN format(', LATERAL (SELECT %s) k', activate._select_list('k', sync.key_columns)) ELSE '' END) ELSE '' END
		|| CASE WHEN sync.options ? 'mended:now' AND sync.key_columns <> '{}' AND NOT queued THEN format(' UNION ALL SELECT ''mended'', to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM raw q, LATERAL (SELECT %s) k WHERE EXISTS (SELECT FROM activate.rejection r WHERE r.sync = %s AND r.code IN (''expectation'', ''former_type'') AND r.key = to_jsonb(k.*))',
			activate._select_list('k', sync.key_columns), sync.id) ELSE '' END
		|| CASE WHEN cursor AND sync.mode = 'append'
			THEN ' UNION ALL SELECT ''seen'', NULL, image || copy, 0, 0, 0, 0, false FROM raw WHERE c IS NOT NULL' ELSE '' END;
END
$$;
COMMENT ON FUNCTION activate._load_keyless(activate.sync, text, boolean, boolean, text, text) IS 'private: the statement of a load of rows without a key';
REVOKE ALL ON FUNCTION activate._load_keyless(activate.sync, text, boolean, boolean, text, text) FROM PUBLIC;

-- chunk: see activate._chunk_condition().  narrow: a condition on k1.. of the sync's query that
-- the queued keys fulfil, in constants, which reach what the query is made of (narrow.c).
CREATE FUNCTION activate._load_sql(sync bigint, query text, everything boolean, queued boolean, truncated boolean, chunk text, narrow text, judged boolean, few boolean)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	declared activate.sync;
	watermark text;
	since text;
	newest text;
BEGIN
	SELECT s.* INTO STRICT declared FROM activate.sync s WHERE s.id = _load_sql.sync;
	-- what a TRUNCATE of the source would delete is held, however little it is;
	-- and all where we were set back: a table of ours was with us, one elsewhere was not
	IF truncated OR (declared.mode = 'mirror' AND declared.kind = 'foreign' AND NOT everything AND activate._set_back(declared.origin)) THEN
		declared.options := declared.options || '{"min_deletes": 0, "max_delete_percent": 0}';
	END IF;
	IF declared.capture = 'cursor' AND NOT queued THEN
		SELECT format('%L::%s', w.value, declared.cursor_type) INTO watermark
		  FROM activate._watermark w WHERE w.sync = declared.id AND w.value IS NOT NULL AND NOT everything;
		since := concat_ws(' AND ', activate._since_sql(watermark, declared.options->>'lag', 'q.c', '>='), chunk);
		-- of a run by chunks the last one sweeps
		IF coalesce(chunk = 'true', true) AND activate._sweep_due(declared.id, declared.options->>'sweep', everything) THEN
			declared.options := declared.options || '{"sweep:now": true}';
		END IF;
	END IF;
	IF judged THEN
		declared.options := declared.options || '{"judged:now": true}';
	END IF;
	IF few THEN
		declared.options := declared.options || '{"few:now": true}';
	END IF;
	-- who reads all has forgotten what was wrong with it
	IF (declared.capture = 'cursor' OR activate._file_ledger(declared.id))
		AND EXISTS (SELECT FROM activate.rejection r WHERE r.sync = declared.id AND r.code IN ('expectation', 'former_type')) THEN
		declared.options := declared.options || '{"mended:now": true}';
	END IF;
	newest := activate._newest_sql(CASE WHEN NOT queued THEN declared.cursor_type END, watermark);
	IF declared.mode = 'append' OR declared.key_columns = '{}' THEN
		RETURN activate._load_keyless(declared, query, everything, queued, since, newest);
	END IF;
	RETURN activate._load_keyed(declared, query, everything, queued, since, newest, narrow);
END
$$;
COMMENT ON FUNCTION activate._load_sql(bigint, text, boolean, boolean, boolean, text, text, boolean, boolean) IS 'private: the statement of a run into a table';
REVOKE ALL ON FUNCTION activate._load_sql(bigint, text, boolean, boolean, boolean, text, text, boolean, boolean) FROM PUBLIC;

CREATE FUNCTION activate._load_back(sync bigint, keys jsonb[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._outbox o USING unnest(_load_back.keys) u(key)
	 WHERE o.sync = _load_back.sync AND o.key = u.key AND o.held;
END;
COMMENT ON FUNCTION activate._load_back(bigint, jsonb[]) IS 'private: deletes that were held, of rows that are there again';
REVOKE ALL ON FUNCTION activate._load_back(bigint, jsonb[]) FROM PUBLIC;

CREATE FUNCTION activate._load_marked(sync bigint, mark text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._plan_watermark(_load_marked.sync, mark);
	DELETE FROM activate._seen e WHERE e.sync = _load_marked.sync;
END;
COMMENT ON FUNCTION activate._load_marked(bigint, text) IS 'private: how far a cursor has read; the marks follow';
REVOKE ALL ON FUNCTION activate._load_marked(bigint, text) FROM PUBLIC;

-- What a trigger has queued for a sync to a table is taken away in the
-- transaction that applies it.  Who compares everything takes it all the same:
-- the statement that follows sees no less.  "entries": keys, or in append mode
-- rows, of which there may be "more": no more than one array has room for, 16 MB
-- as they are stored, which is compressed.  "whole": the keys do not say what
-- changed (TRUNCATE, then "truncated", leaves one without columns, and so does a
-- watched table of which keys say too little), or are so many that it is quicker
-- to look at everything.
CREATE FUNCTION activate._load_claim(sync bigint, everything boolean,
	OUT entries jsonb[], OUT whole boolean, OUT truncated boolean, OUT more boolean)
LANGUAGE sql
BEGIN ATOMIC
	WITH batch AS (
		SELECT max(b.id) FILTER (WHERE b.before < 16 * 1024 * 1024) AS last, sum(b.n) AS n,
			count(*) = 100000 OR bool_or(b.before >= 16 * 1024 * 1024) AS more
		  FROM activate.sync s, LATERAL (
			SELECT o.id, coalesce(cardinality(o.keys), 1) AS n, coalesce(sum(pg_column_size(o.body)) OVER (ORDER BY o.id ROWS UNBOUNDED PRECEDING) - pg_column_size(o.body), 0) AS before
			  FROM activate._outbox o WHERE o.sync = s.id AND NOT o.held
			 ORDER BY o.id LIMIT CASE WHEN s.mode = 'append' THEN 100000 END) b
		 WHERE s.id = _load_claim.sync
	), taken AS (
		DELETE FROM activate._outbox o USING batch b
		 WHERE o.sync = _load_claim.sync AND CASE WHEN o.held THEN everything ELSE o.id <= b.last END
		RETURNING o.id, o.op, coalesce(o.keys, ARRAY[o.key]) AS keys, o.body, o.held
	), gone AS (
		SELECT t.id, t.op, u.key, t.body, t.held FROM taken t CROSS JOIN LATERAL unnest(t.keys) u(key)
	), forgiven AS (
		DELETE FROM activate.rejection r USING gone g
		 WHERE r.sync = _load_claim.sync AND r.key = g.key AND r.code IN ('duplicate_key', 'expectation', 'former_type')
	)
	SELECT CASE WHEN s.mode = 'append'
			THEN array_agg(g.body ORDER BY g.id) FILTER (WHERE g.body IS NOT NULL)
			ELSE array_agg(DISTINCT g.key) FILTER (WHERE g.op <> 't' AND g.key <> '{}' AND b.n <= 1000000) END,
		coalesce(bool_or(CASE WHEN s.mode = 'append' THEN g.id IS NOT NULL AND g.body IS NULL
			ELSE g.op = 't' OR g.key = '{}' OR b.n > 1000000 END), false),
		coalesce(bool_or(s.mode <> 'append' AND g.op = 't'), false),
		s.mode = 'append' AND coalesce(b.more, false)
	  FROM activate.sync s CROSS JOIN batch b LEFT JOIN gone g ON NOT g.held
	 WHERE s.id = _load_claim.sync
	 GROUP BY s.mode, b.n, b.more;
END;
COMMENT ON FUNCTION activate._load_claim(bigint, boolean) IS
	'private: takes what is queued for a sync to a table; everything: also the deletes that are held';
REVOKE ALL ON FUNCTION activate._load_claim(bigint, boolean) FROM PUBLIC;
