-- The one statement of a run into a table (SEMANTICS 11): reads the source
-- once, compares it with the target itself, and changes what differs.  All its
-- parts see the same snapshot, so their order does not matter.
--
-- It is put together by the extension and executed as the sync's owner.  Its
-- rows: first "counts", then what C has to write on the owner's behalf:
-- "null_key" and "duplicate_key" (rejections) and "seen" (marks of events).
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

-- Rows with a key: UPDATE what differs, INSERT what is missing, DELETE what is gone.
CREATE FUNCTION activate._load_keyed(sync activate.sync, query text, everything boolean, since text, newest text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	target text := activate._relation_name(sync.target_rel);
	vkey text;			-- v2, v3: the key as the target has it
	null_key text;		-- q.v2 IS NULL OR ...
	t_is_g text;		-- t."id" = g.v2 AND ...
	t_is_r text;
	sets text;
	differs text := format('ROW(%s)::record OPERATOR(pg_catalog.*<>) ROW(%s)::record',
		activate._columns_list('t.', sync.columns, sync.column_types),
		activate._columns_list('g.v', sync.columns, sync.column_types));
	conflict text := '';
	deletes boolean := sync.mode IN ('mirror', 'replace');
	parts text[];
BEGIN
	SELECT string_agg('v' || p, ', ' ORDER BY i), string_agg(format('q.v%s IS NULL', p), ' OR ' ORDER BY i),
		string_agg(format('t.%I = g.v%s', k, p), ' AND ' ORDER BY i), string_agg(format('t.%I = r.v%s', k, p), ' AND ' ORDER BY i)
	  INTO vkey, null_key, t_is_g, t_is_r
	  FROM unnest(sync.target_key) WITH ORDINALITY u(k, i), array_position(sync.columns, k) p;
	SELECT string_agg(format('%I = g.v%s', c, i), ', ' ORDER BY i) INTO sets
	  FROM unnest(sync.columns) WITH ORDINALITY u(c, i) WHERE c <> ALL (sync.target_key);

	parts := ARRAY[
		format('raw AS MATERIALIZED (SELECT q.*, count(*) OVER (PARTITION BY %s) AS copies, %s AS null_key FROM (%s) q WHERE %s)',
			regexp_replace(vkey, 'v', 'q.v', 'g'), null_key, query,
			concat_ws(' AND ', since, 'activate._count_row()')),
		'good AS (SELECT * FROM raw WHERE copies = 1 AND NOT null_key)',
		CASE WHEN deletes THEN
			-- a table of ours was set back with us, one elsewhere was not
			format('verdict AS MATERIALIZED (SELECT NOT %L AND gone > 0 AND (%L OR gone = total OR (gone >= %s AND gone * 100 > %s * total)) AS held
				FROM (SELECT count(*) AS total, count(*) FILTER (WHERE r.here IS NULL) AS gone
					FROM %s t LEFT JOIN (SELECT DISTINCT %s, true AS here FROM raw) r ON %s) n)',
				everything OR sync.mode = 'replace', sync.kind = 'foreign' AND activate._set_back(sync.origin),
				coalesce((sync.options->>'min_deletes')::int, 10),
				coalesce((sync.options->>'max_delete_percent')::int, 20), target, vkey, t_is_r)
		ELSE 'verdict AS (SELECT false AS held)' END];

	-- the verdict first: it counts what is there before anything changes
	IF sync.mode <> 'insert' AND sets IS NOT NULL THEN
		parts := parts || format('upd AS (UPDATE %s AS t SET %s FROM good g WHERE (SELECT held IS NOT NULL FROM verdict) AND %s AND %s RETURNING 1)',
			target, sets, t_is_g, differs);
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
		parts := parts || format('ins AS (INSERT INTO %s AS t (%s)%s SELECT %s FROM good g WHERE (SELECT held IS NOT NULL FROM verdict)
				AND NOT EXISTS (SELECT FROM %s t WHERE %s)%s RETURNING 1)',
			target, (SELECT string_agg(quote_ident(c), ', ') FROM unnest(sync.columns) c),
			CASE WHEN sync.kind = 'local' THEN ' OVERRIDING SYSTEM VALUE' END,
			(SELECT string_agg('g.v' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.columns, 1) i), target, t_is_g, conflict);
	ELSE
		parts := parts || 'ins AS (SELECT WHERE false)'::text;
	END IF;
	parts := parts || CASE WHEN deletes
		THEN format('del AS (DELETE FROM %s AS t WHERE (SELECT NOT held FROM verdict) AND NOT EXISTS (SELECT FROM raw r WHERE %s) RETURNING 1)',
			target, t_is_r)
		ELSE 'del AS (SELECT WHERE false)' END;

	RETURN format('WITH %s SELECT ''counts'', NULL::jsonb, %s::text, (SELECT count(*) FROM raw), (SELECT count(*) FROM ins),
			(SELECT count(*) FROM upd), (SELECT count(*) FROM del), (SELECT held FROM verdict)
		UNION ALL SELECT CASE WHEN q.null_key THEN ''null_key'' ELSE ''duplicate_key'' END, to_jsonb(k.*), NULL, 0, 0, 0, 0, false
		  FROM raw q, LATERAL (SELECT %s) k WHERE q.null_key OR q.copies > 1',
		array_to_string(parts, ', '), newest,
		activate._select_list('k', sync.key_columns));
END
$$;
COMMENT ON FUNCTION activate._load_keyed(activate.sync, text, boolean, text, text) IS 'private: the statement of a load by key';
REVOKE ALL ON FUNCTION activate._load_keyed(activate.sync, text, boolean, text, text) FROM PUBLIC;

-- Rows without a key are told apart by their whole content and how often it occurs.
CREATE FUNCTION activate._load_keyless(sync activate.sync, query text, everything boolean, since text, newest text) RETURNS text
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
	missing text;
	parts text[];
BEGIN
	IF cursor AND sync.mode = 'append' THEN
		-- an event is a key at a time, or a content at a time
		identity := CASE WHEN sync.key_columns = '{}' THEN format('(%s || q.c::text)', image)
			ELSE format('ROW(%s, q.c)::text', (SELECT string_agg('q.k' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.key_columns, 1) i)) END;
		identity := format('encode(sha256(convert_to(%s, ''UTF8'')), ''base64'')', identity);
		missing := format('NOT EXISTS (SELECT FROM activate._seen e WHERE e.sync = %s AND e.mark = g.image || g.copy)', sync.id);
	END IF;
	IF sync.mode = 'append' AND (everything OR sync.capture = 'full') THEN
		missing := 'true';
	ELSIF missing IS NULL THEN
		missing := 'g.copy > coalesce((SELECT h.copies FROM here h WHERE h.image = g.image), 0)';
	END IF;

	parts := ARRAY[
		format('raw AS MATERIALIZED (SELECT q.*, row_number() OVER (PARTITION BY q.image) AS copy
				FROM (SELECT q.*, %s AS image FROM (%s) q WHERE %s) q)', identity, query,
			concat_ws(' AND ', since, 'activate._count_row()')),
		format('here AS MATERIALIZED (SELECT %s AS image, count(*) AS copies FROM %s t GROUP BY 1)', kept, target),
		format('ins AS (INSERT INTO %s (%s)%s SELECT %s FROM raw g WHERE %s RETURNING 1)', target,
			(SELECT string_agg(quote_ident(c), ', ') FROM unnest(sync.columns) c),
			CASE WHEN sync.kind = 'local' THEN ' OVERRIDING SYSTEM VALUE' END,
			(SELECT string_agg('g.v' || i, ', ' ORDER BY i) FROM generate_subscripts(sync.columns, 1) i), missing)];
	IF replace THEN
		parts := parts || format('del AS (DELETE FROM %s AS t USING (SELECT u.tableoid, u.ctid, u.image, row_number() OVER (PARTITION BY u.image) AS copy
				FROM (SELECT t.tableoid, t.ctid, %s AS image FROM %s t) u) d
				LEFT JOIN raw r ON r.image = d.image AND r.copy = d.copy
				WHERE t.tableoid = d.tableoid AND t.ctid = d.ctid AND r.copy IS NULL RETURNING 1)', target, kept, target);
	ELSE
		parts := parts || 'del AS (SELECT WHERE false)'::text;
	END IF;

	RETURN format('WITH %s SELECT ''counts'', NULL::jsonb, %s::text, (SELECT count(*) FROM raw), (SELECT count(*) FROM ins),
			0::bigint, (SELECT count(*) FROM del), false', array_to_string(parts, ', '), newest)
		|| CASE WHEN cursor AND sync.mode = 'append'
			THEN ' UNION ALL SELECT ''seen'', NULL, image || copy, 0, 0, 0, 0, false FROM raw WHERE c IS NOT NULL' ELSE '' END;
END
$$;
COMMENT ON FUNCTION activate._load_keyless(activate.sync, text, boolean, text, text) IS 'private: the statement of a load of rows without a key';
REVOKE ALL ON FUNCTION activate._load_keyless(activate.sync, text, boolean, text, text) FROM PUBLIC;

CREATE FUNCTION activate._load_sql(sync bigint, query text, everything boolean) RETURNS text
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
	IF declared.capture = 'cursor' THEN
		SELECT format('%L::%s', w.value, declared.cursor_type) INTO watermark
		  FROM activate._watermark w WHERE w.sync = declared.id AND w.value IS NOT NULL AND NOT everything;
		since := activate._since_sql(watermark, declared.options->>'lag', 'q.c', '>=');
	END IF;
	newest := activate._newest_sql(declared.cursor_type, watermark);
	IF declared.mode = 'append' OR declared.key_columns = '{}' THEN
		RETURN activate._load_keyless(declared, query, everything, since, newest);
	END IF;
	RETURN activate._load_keyed(declared, query, everything, since, newest);
END
$$;
COMMENT ON FUNCTION activate._load_sql(bigint, text, boolean) IS 'private: the statement of a run into a table';
REVOKE ALL ON FUNCTION activate._load_sql(bigint, text, boolean) FROM PUBLIC;

CREATE FUNCTION activate._load_marked(sync bigint, mark text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._plan_watermark(_load_marked.sync, mark);
	DELETE FROM activate._seen e WHERE e.sync = _load_marked.sync;
END;
COMMENT ON FUNCTION activate._load_marked(bigint, text) IS 'private: how far a cursor has read; the marks follow';
REVOKE ALL ON FUNCTION activate._load_marked(bigint, text) FROM PUBLIC;
