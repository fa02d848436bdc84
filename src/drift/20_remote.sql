-- Foreign tables as their servers had them when a run looked last: names, types, prints of the values; where records were looked at, the share that has it.
CREATE TABLE activate._drift_remote
(
	sync			bigint NOT NULL,
	relation		oid NOT NULL,
	columns			jsonb NOT NULL,
	looked_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	PRIMARY KEY (sync, relation)
);
COMMENT ON TABLE activate._drift_remote IS 'private: foreign tables as runs saw them last';
ALTER TABLE activate._drift_remote SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- What kinds of characters a value has, and how many: of values that never come again that is what stays alike.
CREATE FUNCTION activate._drift_shape(value text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT length(value) || CASE WHEN value ~ '[[:lower:]]' THEN 'a' ELSE '' END || CASE WHEN value ~ '[[:upper:]]' THEN 'A' ELSE '' END
		|| CASE WHEN value ~ '[0-9]' THEN '9' ELSE '' END || left(regexp_replace(left(value, 200), '[[:alnum:]]+', '', 'g'), 20);
END;
COMMENT ON FUNCTION activate._drift_shape(text) IS 'private: what a value looks like';
REVOKE ALL ON FUNCTION activate._drift_shape(text) FROM PUBLIC;

-- Of a sample of values: how many, how long, which.  "least": the least hashes of all that occur,
-- which two samples have in common as they have values in common.
CREATE FUNCTION activate._drift_print(sample text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT jsonb_build_object('rows', cardinality(sample), 'nulls', count(*) FILTER (WHERE v IS NULL), 'distinct', count(DISTINCT v),
			'length', coalesce(avg(length(v)), 0)::real,
			'shapes', (SELECT coalesce(jsonb_agg(h ORDER BY h), '[]') FROM (
				SELECT DISTINCT hashtext(activate._drift_shape(w)) AS h FROM unnest(sample) w WHERE w IS NOT NULL ORDER BY h LIMIT 64) l),
			'least', (SELECT coalesce(jsonb_agg(h ORDER BY h), '[]') FROM (
				SELECT DISTINCT hashtextextended(w, 0) AS h FROM unnest(sample) w WHERE w IS NOT NULL ORDER BY h LIMIT 128) l))
	  FROM unnest(sample) v;
END;
COMMENT ON FUNCTION activate._drift_print(text[]) IS 'private: what tells a column from others by its values';
REVOKE ALL ON FUNCTION activate._drift_print(text[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_is_unique(print jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT print ? 'shapes' AND (print ->> 'distinct')::bigint >= 20
		AND (print ->> 'distinct')::double precision > 0.9 * ((print ->> 'rows')::bigint - (print ->> 'nulls')::bigint);
END;
COMMENT ON FUNCTION activate._drift_is_unique(jsonb) IS 'private: hardly a value of a column comes twice';
REVOKE ALL ON FUNCTION activate._drift_is_unique(jsonb) FROM PUBLIC;

-- NULL: one of them has no values.  others: the samples are of other rows, so what is unique in both is compared by its shape.
CREATE FUNCTION activate._drift_likeness(a jsonb, b jsonb, others boolean) RETURNS double precision
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN jsonb_array_length(a -> 'least') = 0 OR jsonb_array_length(b -> 'least') = 0 THEN NULL ELSE
			0.7 * (SELECT count(*) FROM (SELECT jsonb_array_elements(a -> f.field) INTERSECT SELECT jsonb_array_elements(b -> f.field)) s)::double precision
				/ least(jsonb_array_length(a -> f.field), jsonb_array_length(b -> f.field))
			+ 0.15 * (1 - abs((a ->> 'nulls')::double precision / (a ->> 'rows')::double precision - (b ->> 'nulls')::double precision / (b ->> 'rows')::double precision))
			+ 0.15 * least((a ->> 'length')::double precision, (b ->> 'length')::double precision) / greatest((a ->> 'length')::double precision, (b ->> 'length')::double precision, 1e-9) END
	  FROM (SELECT CASE WHEN others AND activate._drift_is_unique(a) AND activate._drift_is_unique(b) THEN 'shapes' ELSE 'least' END) f(field);
END;
COMMENT ON FUNCTION activate._drift_likeness(jsonb, jsonb, boolean) IS 'private: how like the values of two columns are, 0 to 1';
REVOKE ALL ON FUNCTION activate._drift_likeness(jsonb, jsonb, boolean) FROM PUBLIC;

-- Columns that are there then and now, unique, and have no value in common: these are other rows.
CREATE FUNCTION activate._drift_other_rows(a jsonb, b jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN activate._drift_is_unique(a) AND activate._drift_is_unique(b) THEN NOT EXISTS (
		SELECT jsonb_array_elements(a -> 'least') INTERSECT SELECT jsonb_array_elements(b -> 'least')) END;
END;
COMMENT ON FUNCTION activate._drift_other_rows(jsonb, jsonb) IS 'private: are two samples of a column of other rows; NULL: it does not tell';
REVOKE ALL ON FUNCTION activate._drift_other_rows(jsonb, jsonb) FROM PUBLIC;

-- A member's name as a step of a path.
CREATE FUNCTION activate._drift_step(name text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN name ~ '[."]|^[-0-9]*$|^\*$' THEN '"' || regexp_replace(name, '(["\\])', '\\\1', 'g') || '"' ELSE name END;
END;
COMMENT ON FUNCTION activate._drift_step(text) IS 'private: the path of a member';
REVOKE ALL ON FUNCTION activate._drift_step(text) FROM PUBLIC;

-- What values look like: the narrowest type of them all.  told: the kinds of JSON values say what a string is not.
CREATE FUNCTION activate._drift_looks(kinds text[], texts text[], told boolean) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN count(*) = 0 THEN 'text'
			WHEN kinds && '{object,array}' THEN 'jsonb'
			WHEN kinds = '{boolean}' OR (NOT told AND bool_and(t ~* '^(true|false)$')) THEN 'boolean'
			WHEN kinds = '{number}' OR (NOT told AND bool_and(t ~ '^-?(0|[1-9]\d{0,30})(\.\d{1,30})?$'))
				THEN CASE WHEN bool_and(t ~ '^-?(0|[1-9]\d{0,17})$') THEN 'bigint' ELSE 'numeric' END
			WHEN kinds <> '{string}' THEN 'text'
			WHEN bool_and(t ~ '^\d{4}-[01]\d-[0-3]\d$') THEN 'date'
			WHEN bool_and(t ~ '^\d{4}-[01]\d-[0-3]\d[ T][0-2]\d:[0-5]\d(:[0-5]\d(\.\d+)?)?$') THEN 'timestamp without time zone'
			WHEN bool_and(t ~ '^\d{4}-[01]\d-[0-3]\d[ T][0-2]\d:[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[-+]\d\d(:?\d\d)?)$') THEN 'timestamp with time zone'
			ELSE 'text' END
	  FROM unnest(texts) t WHERE t IS NOT NULL;
END;
COMMENT ON FUNCTION activate._drift_looks(text[], text[], boolean) IS 'private: the narrowest type that values look like';
REVOKE ALL ON FUNCTION activate._drift_looks(text[], text[], boolean) FROM PUBLIC;

CREATE FUNCTION activate._drift_is_inner(name text, ours text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT coalesce(bool_or(starts_with(o, name || '.')), false) FROM unnest(ours) o;
END;
COMMENT ON FUNCTION activate._drift_is_inner(text, text[]) IS 'private: is there a path that leads on from this one';
REVOKE ALL ON FUNCTION activate._drift_is_inner(text, text[]) FROM PUBLIC;

-- The columns of some records.  header: of a file that has one, so that there are no others, and all values are text;
-- NULL: JSON, where objects are looked into through which paths of ours lead.
CREATE FUNCTION activate._drift_met(records json, ours text[], header text[]) RETURNS TABLE (name text, looks text, share double precision, sample text[], records bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE record AS MATERIALIZED (
		SELECT u.r, u.n FROM json_array_elements(_drift_met.records) WITH ORDINALITY u(r, n)),
	met AS (
		SELECT CASE WHEN header IS NULL THEN activate._drift_step(e.key) ELSE e.key END AS name, e.value, r.n, ARRAY[e.place] AS place
		  FROM record r CROSS JOIN LATERAL json_each(CASE json_typeof(r.r) WHEN 'object' THEN r.r ELSE '{}' END) WITH ORDINALITY e(key, value, place)
		 WHERE header IS NOT NULL OR octet_length(e.key) < 256
		UNION ALL
		SELECT m.name || '.' || activate._drift_step(e.key), e.value, m.n, m.place || e.place
		  FROM met m CROSS JOIN LATERAL json_each(CASE WHEN json_typeof(m.value) = 'object' AND activate._drift_is_inner(m.name, ours)
			THEN m.value ELSE '{}' END) WITH ORDINALITY e(key, value, place)
		 WHERE header IS NULL AND octet_length(e.key) < 256),
	leaf AS (
		SELECT m.name, array_agg(DISTINCT json_typeof(m.value)) FILTER (WHERE json_typeof(m.value) <> 'null') AS kinds,
			array_agg(left(m.value #>> '{}', 1000) ORDER BY m.n) AS texts, count(DISTINCT m.n) AS n, min(ARRAY[m.n] || m.place) AS place
		  FROM met m WHERE header IS NOT NULL OR NOT activate._drift_is_inner(m.name, ours) GROUP BY m.name),
	counted AS (SELECT count(*) AS n FROM record),
	found AS (
		SELECT l.name, l.kinds, l.texts || array_fill(NULL::text, ARRAY[greatest(c.n - l.n, 0)::int]) AS texts, l.n::double precision / c.n AS share, l.place
		  FROM leaf l CROSS JOIN counted c
		UNION ALL
		SELECT h.name, '{}', NULL, 1, ARRAY[h.place] FROM unnest(header) WITH ORDINALITY h(name, place) CROSS JOIN counted c WHERE c.n = 0)
	SELECT f.name, activate._drift_looks(coalesce(f.kinds, '{}'), f.texts, header IS NULL), f.share, f.texts, c.n
	  FROM found f CROSS JOIN counted c ORDER BY f.place LIMIT 1600;
END;
COMMENT ON FUNCTION activate._drift_met(json, text[], text[]) IS 'private: the columns of some records, in the order in which they are met';
REVOKE ALL ON FUNCTION activate._drift_met(json, text[], text[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_remember(sync bigint, relation oid, columns jsonb) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._drift_remote (sync, relation, columns) VALUES (sync, relation, columns)
	ON CONFLICT ON CONSTRAINT _drift_remote_pkey DO UPDATE SET columns = excluded.columns, looked_at = clock_timestamp();
END;
COMMENT ON FUNCTION activate._drift_remember(bigint, oid, jsonb) IS 'private: keeps what a foreign table is like';
REVOKE ALL ON FUNCTION activate._drift_remember(bigint, oid, jsonb) FROM PUBLIC;

CREATE FUNCTION activate._drift_unprinted(sync bigint) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT count(*) FROM activate._drift_remote r
	 WHERE r.sync = _drift_unprinted.sync AND (r.looked_at < clock_timestamp() - interval '1 day' OR NOT jsonb_path_exists(r.columns, '$[*].print'));
END;
COMMENT ON FUNCTION activate._drift_unprinted(bigint) IS 'private: foreign tables of which there are no prints, or old ones';
REVOKE ALL ON FUNCTION activate._drift_unprinted(bigint) FROM PUBLIC;

CREATE FUNCTION activate._drift_recall(sync bigint, relation oid) RETURNS TABLE (name text, type text, print jsonb, stale boolean, share double precision)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT e ->> 'name', e ->> 'type', e -> 'print', r.looked_at < clock_timestamp() - interval '1 day' OR NOT jsonb_path_exists(r.columns, '$[*].print'),
			(e ->> 'share')::double precision
	  FROM activate._drift_remote r CROSS JOIN LATERAL jsonb_array_elements(r.columns) WITH ORDINALITY u(e, n)
	 WHERE r.sync = _drift_recall.sync AND r.relation = _drift_recall.relation ORDER BY u.n;
END;
COMMENT ON FUNCTION activate._drift_recall(bigint, oid) IS 'private: what a foreign table was like';
REVOKE ALL ON FUNCTION activate._drift_recall(bigint, oid) FROM PUBLIC;

-- What was left out until it was healed comes back, if nothing else was healed meanwhile; else it is to be mapped by hand.
CREATE FUNCTION activate._drift_restore(drift bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._drift_apply(d.sync, CASE WHEN NOT EXISTS (
			SELECT FROM activate.drift o WHERE o.sync = d.sync AND o.id <> d.id AND o.state = 'healed' AND o.decided_at > d.at)
			THEN coalesce(d.before, '{}') ELSE '{}' END)
	  FROM activate.drift d WHERE d.id = drift;
END;
COMMENT ON FUNCTION activate._drift_restore(bigint) IS 'private: the declaration as it was before a column was left out';
REVOKE ALL ON FUNCTION activate._drift_restore(bigint) FROM PUBLIC;

CREATE FUNCTION activate._drift_look_anew(drift bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._drift_remote r USING activate.drift d WHERE d.id = drift AND r.sync = d.sync;
END;
COMMENT ON FUNCTION activate._drift_look_anew(bigint) IS 'private: the next run takes foreign tables as it finds them';
REVOKE ALL ON FUNCTION activate._drift_look_anew(bigint) FROM PUBLIC;

-- Open proposals of types to which values can go without loss.
CREATE FUNCTION activate._drift_wider(sync bigint) RETURNS bigint[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT array_agg(d.id ORDER BY d.id) FROM activate.drift d
	 WHERE d.sync = _drift_wider.sync AND d.kind = 'type' AND d.state = 'proposed' AND d.reason IS NULL AND NOT d.remote
	   AND (d.became = 'text' OR (split_part(d.was, '(', 1) = split_part(d.became, '(', 1)
			AND (d.became !~ '\(' OR (d.became ~ '^character varying' AND substring(d.became FROM '\d+')::int > substring(d.was FROM '\d+')::int))) OR EXISTS (SELECT FROM pg_catalog.pg_cast c
			WHERE c.castsource = to_regtype(d.was) AND c.casttarget = to_regtype(d.became) AND c.castcontext = 'i'));
END;
COMMENT ON FUNCTION activate._drift_wider(bigint) IS 'private: types of a source that are wider than the target''s';
REVOKE ALL ON FUNCTION activate._drift_wider(bigint) FROM PUBLIC;
