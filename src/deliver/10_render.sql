-- The statements that read a source for delivery, built around Q (docs/internals.md).

-- API: Private.  $1 is a jsonb array of keys.  Two ways to the same rows: joined,
-- the planner looks the keys up by an index or reads the source once for all of
-- them; one by one, the key's condition is pushed down to where the rows come
-- from, so that what is wrong or slow with other rows is not even looked at.
-- conditions: when q.k<i> is k.k<i>, see match.c.  judged: the query says why a row is kept back.
CREATE FUNCTION activate._render_sql(query text, key_columns text[], key_types text[], conditions text[], columns text[],
	one_by_one boolean, judged boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('SELECT k.ord::pg_catalog.int4, activate._row_json(x.*), activate._row_hash(x.*)' || CASE WHEN judged THEN ', q.flaw' ELSE '' END || ' FROM ROWS FROM (pg_catalog.jsonb_to_recordset($1) AS (%s)) WITH ORDINALITY AS k(%s, ord) '
		|| CASE WHEN one_by_one THEN 'CROSS JOIN LATERAL (SELECT * FROM (%s) q WHERE %s OFFSET 0) q '
			ELSE 'JOIN (%s) q ON %s ' END
		|| 'CROSS JOIN LATERAL (SELECT %s) x',
		string_agg(format('%I %s', key_columns[i], key_types[i]), ', ' ORDER BY i),
		string_agg('k' || i, ', ' ORDER BY i),
		query,
		string_agg(conditions[i], ' AND ' ORDER BY i),
		activate._select_list('v', columns))
	  FROM generate_subscripts(key_columns, 1) i;
END;
COMMENT ON FUNCTION activate._render_sql(text, text[], text[], text[], text[], boolean, boolean) IS
	'private: the statement that renders the keys $1 of a sync: position, row, hash';
REVOKE ALL ON FUNCTION activate._render_sql(text, text[], text[], text[], text[], boolean, boolean) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._preview_sql(query text, key_columns text[], columns text[], judged boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('SELECT pg_catalog.to_jsonb(y.*), pg_catalog.to_jsonb(x.*), activate._row_hash(x.*) FROM (%s) q '
		'CROSS JOIN LATERAL (SELECT %s) x CROSS JOIN LATERAL (SELECT %s) y WHERE %s LIMIT $1',
		query, activate._select_list('v', columns), coalesce(activate._select_list('k', key_columns), ''),
		coalesce((SELECT string_agg(format('NOT (q.k%s IS NULL)', i), ' AND ' ORDER BY i)
					FROM generate_subscripts(key_columns, 1) i), 'true') || CASE WHEN judged THEN ' AND q.flaw IS NULL' ELSE '' END);
END;
COMMENT ON FUNCTION activate._preview_sql(text, text[], text[], boolean) IS
	'private: the statement that reads the first $1 rows of a sync that have a key: key, row, hash';
REVOKE ALL ON FUNCTION activate._preview_sql(text, text[], text[], boolean) FROM PUBLIC;
