-- What an application holds beside what we sent it and what the source says.

-- API: Private.  Reads a target: "place" is what its records are found by (NULL: it has none), "identity" its
-- key, "content" what is compared, "changed_at" when it says that it was changed.
CREATE FUNCTION activate._application_sql(target oid, place text[], identity text[], columns text[], by_key boolean, newest text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('SELECT CASE WHEN %s THEN to_jsonb(p.*) END AS place, to_jsonb(i.*) AS identity, to_jsonb(c.*) AS content, %s::timestamptz AS changed_at FROM %I.%I a '
		'CROSS JOIN LATERAL (SELECT %s) p CROSS JOIN LATERAL (SELECT %s) i CROSS JOIN LATERAL (SELECT %s) c',
		(SELECT string_agg(format('a.%I IS NOT NULL', u.name), ' AND ') FROM unnest(place) u(name)),
		coalesce('a.' || quote_ident(newest), 'NULL'), n.nspname, c.relname,
		(SELECT string_agg(format(CASE WHEN by_key THEN 'a.%I' ELSE 'a.%I::text AS id' END, u.name), ', ') FROM unnest(place) u(name)),
		coalesce((SELECT string_agg(format('a.%I', u.name), ', ') FROM unnest(identity) u(name)), ''),
		coalesce((SELECT string_agg(format('a.%I', u.name), ', ') FROM unnest(columns) u(name)), ''))
	  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = target;
END;
COMMENT ON FUNCTION activate._application_sql(oid, text[], text[], text[], boolean, text) IS 'private: the statement that reads all that a target holds';
REVOKE ALL ON FUNCTION activate._application_sql(oid, text[], text[], text[], boolean, text) FROM PUBLIC;

-- API: Private.  These four run as the owner of a sync.  NULL, an empty text, an empty list and an empty object: APIs answer one for the other.
CREATE FUNCTION activate._is_nothing(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value IS NULL OR value IN ('null', '""', '[]', '{}');
COMMENT ON FUNCTION activate._is_nothing(jsonb) IS 'private: is that no value, however it is written';

-- API: Private.  The same moment, if the application keeps milliseconds or whole seconds only.
CREATE FUNCTION activate._same_moment(theirs timestamptz, ours timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN theirs = ours THEN true WHEN NOT isfinite(theirs) OR NOT isfinite(ours) THEN false
	ELSE abs(extract(epoch FROM theirs) - extract(epoch FROM ours)) <
		CASE WHEN extract(epoch FROM theirs) = trunc(extract(epoch FROM theirs)) THEN 1 ELSE 0.001 END END;
COMMENT ON FUNCTION activate._same_moment(timestamptz, timestamptz) IS 'private: is that what an application makes of a time that we sent';

-- API: Private.  Is what an application holds the value that we sent, or would send?  Both are rendered from the
-- target's type, so numbers are numbers and dates are dates.  silent: our NULL is not sent, or as something else.
CREATE FUNCTION activate._same_value(theirs jsonb, ours jsonb, type text, silent boolean) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN theirs = ours THEN true
	WHEN activate._is_nothing(ours) THEN silent OR activate._is_nothing(theirs)
	WHEN activate._is_nothing(theirs) THEN false
	WHEN starts_with(type, 'timestamp') THEN activate._same_moment((theirs #>> '{}')::timestamptz, (ours #>> '{}')::timestamptz)
	WHEN jsonb_typeof(theirs) = 'object' THEN jsonb_strip_nulls(theirs) = jsonb_strip_nulls(ours)
	ELSE false END;
COMMENT ON FUNCTION activate._same_value(jsonb, jsonb, text, boolean) IS 'private: does an application hold what we sent';

-- API: Private.  What finds a record: the columns of the target that the key is mapped to, with their types.
CREATE FUNCTION activate._place_sql(key_columns text[], key_types text[], target_key text[], columns text[], column_types text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('(SELECT to_jsonb(z.*) FROM (SELECT %s) z)',
		string_agg(format('(k.key ->> %L)::%s::%s AS %I', key_columns[i], key_types[i],
			column_types[array_position(columns, target_key[i])], target_key[i]), ', ' ORDER BY i))
	  FROM generate_subscripts(key_columns, 1) i;
END;
COMMENT ON FUNCTION activate._place_sql(text[], text[], text[], text[], text[]) IS 'private: expression for what finds the record of a key';
REVOKE ALL ON FUNCTION activate._place_sql(text[], text[], text[], text[], text[]) FROM PUBLIC;

-- API: Private.  The beginning of a statement over "_application", which was read since that moment.  joined: of each
-- key and each record "sent" (hash, image, ...), the source's row "warehouse" and the "application"; "base" is what we
-- wrote last: the image or, where none is kept, the row if it is still what was sent.  "settled": what was
-- sent last was sent before reading began.  A key that is not one row of the source has no row there.
CREATE FUNCTION activate._joined_sql(sync bigint, query text, by_key boolean, since timestamptz) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, activate, pg_temp
BEGIN ATOMIC
	SELECT format($sql$
WITH src AS MATERIALIZED (
	SELECT raw.key, (array_agg(to_jsonb(raw.r)))[1] AS content, min(raw.hash) AS hash, min(raw.c::timestamptz) AS changed_at
	  FROM (%1$s) raw WHERE NOT raw.bad GROUP BY raw.key HAVING count(*) = 1),
sent AS MATERIALIZED (
	SELECT t.key, t.hash, t.image, t.remote_id, t.seq, t.sent_at, t.sent_at < %2$L::timestamptz AS settled FROM activate._sent t WHERE t.sync = %3$s),
known AS (
	SELECT coalesce(t.key, src.key) AS key, t.key IS NOT NULL AS sent, t.hash AS sent_hash, t.image, t.remote_id, t.seq, t.sent_at,
		coalesce(t.settled, true) AS settled, src.content AS warehouse, src.hash, src.changed_at,
		coalesce(t.image, CASE WHEN t.hash = src.hash THEN src.content END) AS base
	  FROM sent t FULL JOIN src ON src.key = t.key),
gone AS MATERIALIZED (
	SELECT DISTINCT r.key FROM activate.receipt r
	 WHERE r.sync = %3$s AND r.op = 'delete' AND r.outcome IN ('delivered', 'warned') AND r.sent_at >= %2$L::timestamptz),
pending AS MATERIALIZED (SELECT DISTINCT o.key FROM activate._intent o WHERE o.sync = %3$s AND NOT o.held),
placed AS (
	SELECT k.*, %4$s AS place, w.key IS NOT NULL AS pending FROM known k LEFT JOIN pending w ON w.key = k.key),
app AS MATERIALIZED (
	SELECT a.*, CASE WHEN a.place IS NULL THEN 1 ELSE row_number() OVER (PARTITION BY a.place ORDER BY a.identity) END AS n FROM _application a),
found AS (SELECT * FROM app WHERE app.n = 1),
joined AS MATERIALIZED (
	SELECT k.*, a.place AS their_place, a.identity, a.content AS application, a.changed_at AS their_change FROM placed k FULL JOIN found a ON a.place = k.place)$sql$,
		activate._rows_sql(query, s.key_columns, s.columns, s.options ? 'newest', NULL), since, s.id,
		CASE WHEN by_key THEN activate._place_sql(s.key_columns, s.key_types, s.target_key, s.columns, s.column_types)
			ELSE 'CASE WHEN k.remote_id IS NOT NULL THEN jsonb_build_object(''id'', k.remote_id) END' END)
	  FROM activate.sync s WHERE s.id = _joined_sql.sync;
END;
COMMENT ON FUNCTION activate._joined_sql(bigint, text, boolean, timestamptz) IS
	'private: beginning of a statement that compares a source, what was sent and what the application holds';
REVOKE ALL ON FUNCTION activate._joined_sql(bigint, text, boolean, timestamptz) FROM PUBLIC;

-- API: Private.  activate_compare().  What is under way of a key explains that its record is not there yet, or not
-- any more; what has been sent since reading began explains everything.  No image, and another row since: what was
-- written is not known, only that both differ.
CREATE FUNCTION activate._compare_sql(sync bigint, query text, by_key boolean, since timestamptz) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT activate._joined_sql(sync, query, by_key, since) || format($sql$,
cells AS (
	SELECT j.key, c.name, j.base -> c.name AS sent, j.warehouse -> c.name AS warehouse, j.application -> c.name AS application,
		c.type, c.silent, j.base IS NOT NULL AS based, j.warehouse IS NOT NULL AS there
	  FROM joined j CROSS JOIN LATERAL unnest($1, $2, $3) c(name, type, silent)
	 WHERE j.sent AND j.settled AND j.sent_hash IS NOT NULL AND j.application IS NOT NULL
		AND CASE WHEN j.base IS NULL THEN j.warehouse -> c.name ELSE j.base -> c.name END IS DISTINCT FROM j.application -> c.name
		AND (j.base IS NULL OR j.base ? c.name)),
listed AS (
	SELECT CASE WHEN NOT l.based THEN 'differs' WHEN l.there AND NOT activate._same_value(l.warehouse, l.sent, l.type, l.silent)
			THEN 'conflict' ELSE 'changed' END AS kind, l.key, l.name, l.sent, l.warehouse, l.application
	  FROM cells l
	 WHERE (NOT l.based OR NOT activate._same_value(l.application, l.sent, l.type, l.silent))
		AND (NOT l.there OR NOT activate._same_value(l.application, l.warehouse, l.type, l.silent))
		AND (l.based OR l.there)
	UNION ALL
	SELECT 'missing', j.key, NULL, j.base, j.warehouse, NULL FROM joined j
	 WHERE j.sent AND j.settled AND NOT j.pending AND j.application IS NULL AND j.place IS NOT NULL
	UNION ALL
	SELECT 'foreign', coalesce(j.key, t.key), NULL, NULL, j.warehouse, j.application
	  FROM joined j CROSS JOIN LATERAL activate._their_key(j.their_place, j.identity, %1$L::text[], %2$L::text[]) t(key)
	 WHERE j.application IS NOT NULL AND NOT coalesce(j.sent OR j.pending, false)
		AND NOT EXISTS (SELECT FROM gone g WHERE g.key = coalesce(j.key, t.key))
	UNION ALL
	SELECT 'duplicate', coalesce(j.key, t.key), NULL, NULL, NULL, a.content
	  FROM app a LEFT JOIN joined j ON j.their_place = a.place CROSS JOIN LATERAL activate._their_key(a.place, a.identity, %1$L::text[], %2$L::text[]) t(key)
	 WHERE a.n > 1 AND a.identity IS DISTINCT FROM j.identity)
SELECT l.kind, l.key, l.name, l.sent, l.warehouse, l.application FROM listed l ORDER BY l.key, l.name, l.kind, l.application$sql$,
		CASE WHEN by_key THEN s.key_columns END, CASE WHEN by_key THEN s.target_key END)
	  FROM activate.sync s WHERE s.id = _compare_sql.sync;
END;
COMMENT ON FUNCTION activate._compare_sql(bigint, text, boolean, timestamptz) IS 'private: the statement of activate_compare()';
REVOKE ALL ON FUNCTION activate._compare_sql(bigint, text, boolean, timestamptz) FROM PUBLIC;

-- API: Private.  Of a record that is found by its key the key under the source's names, else what identifies it.
CREATE FUNCTION activate._their_key(place jsonb, identity jsonb, ours text[], theirs text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce((SELECT jsonb_object_agg(u.ours, place -> u.theirs) FROM unnest(ours, theirs) u(ours, theirs) WHERE place IS NOT NULL), identity);
COMMENT ON FUNCTION activate._their_key(jsonb, jsonb, text[], text[]) IS 'private: the key of a record of an application';

CREATE FUNCTION @extschema@.activate_compare(name text)
RETURNS TABLE (kind text, key jsonb, column_name text, sent jsonb, warehouse jsonb, application jsonb)
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_compare';
COMMENT ON FUNCTION @extschema@.activate_compare(text) IS
	'reads what the web API of a sync holds: what was changed there since we wrote it, what is missing, what is not ours';
