-- Whose syncs an expectation counts for: those of roles that its owner has the
-- rights of; all, if it has those of the relation's owner, who decides anyway
-- what others read there.
CREATE FUNCTION activate._expects_for(owner name, relation oid, sync_owner name) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (
		SELECT FROM pg_catalog.pg_roles r, pg_catalog.pg_class c
		 WHERE r.rolname = _expects_for.owner AND c.oid = relation
		   AND (pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')
				OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = sync_owner AND pg_catalog.pg_has_role(r.oid, o.oid, 'USAGE'))));
END;
COMMENT ON FUNCTION activate._expects_for(name, oid, name) IS 'private: does what that role expects of a relation count for a sync of the other';
REVOKE ALL ON FUNCTION activate._expects_for(name, oid, name) FROM PUBLIC;

-- For people.
CREATE FUNCTION activate._expects(expectation text, options jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT concat_ws(' ', expectation, nullif(options, '{}'));
END;
COMMENT ON FUNCTION activate._expects(text, jsonb) IS 'private: an expectation as people read it';
REVOKE ALL ON FUNCTION activate._expects(text, jsonb) FROM PUBLIC;

-- sync NULL: whoever reads it.  direct: rows of the relation are rows of the
-- sync, so each can be told from the others.
CREATE FUNCTION activate._expected(sync bigint, relations oid[]) RETURNS TABLE (
	id bigint, relation oid, name text, expectation text, on_fail text, owner name, kind text, bounds jsonb, search_path text,
	tree text, tree_major integer, direct boolean, was text)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT e.id, e.relation::oid, e.name, activate._expects(e.expectation, e.options), e.on_fail, e.owner, e.kind, e.bounds, e.search_path, e.tree, e.tree_major,
		coalesce(s.source_rel = e.relation, false),
		(SELECT k.state FROM activate."check" k WHERE k.expectation = e.id ORDER BY k.id DESC LIMIT 1)
	  FROM activate._expectation e LEFT JOIN activate.sync s ON s.id = _expected.sync
	 WHERE e.relation::oid = ANY (relations)
	   AND (_expected.sync IS NULL OR activate._expects_for(e.owner, e.relation, s.owner))
	 ORDER BY e.relation, e.owner, e.search_path, e.id;
END;
COMMENT ON FUNCTION activate._expected(bigint, oid[]) IS 'private: what is expected of relations, as far as it counts for a sync';
REVOKE ALL ON FUNCTION activate._expected(bigint, oid[]) FROM PUBLIC;

-- One pass for all that one role expects of a relation.  query: its rows as
-- e<i>, the condition of the i-th expectation, or e<i>_<j>, its columns.
CREATE FUNCTION activate._check_sql(query text, kinds text[], widths integer[], bounds jsonb[]) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('SELECT count(*), ARRAY[%s]::bigint[], ARRAY[%s]::text[] FROM (%s) e',
		string_agg(CASE kinds[i]
			WHEN 'row' THEN format('count(*) FILTER (WHERE NOT e.e%s_1)', i)
			WHEN 'unique' THEN format('count(*) FILTER (WHERE %s) - count(DISTINCT (%s)) FILTER (WHERE %1$s)', c.complete, c.list)
			WHEN 'fresh' THEN format('CASE WHEN max(e.e%s_1) >= now() - %L::interval THEN 0 ELSE 1 END', i, bounds[i] ->> 'interval')
			ELSE format('CASE WHEN count(*) BETWEEN %s AND %s THEN 0 ELSE 1 END', coalesce(bounds[i] ->> 'min', '0'),
				coalesce(bounds[i] ->> 'max', '9223372036854775807')) END, ', ' ORDER BY i),
		string_agg(CASE WHEN kinds[i] = 'fresh' THEN format('max(e.e%s_1)', i) ELSE 'NULL' END, ', ' ORDER BY i),
		query)
	  FROM generate_subscripts(kinds, 1) i, LATERAL (
		SELECT string_agg(format('e.e%s_%s', i, j), ', ' ORDER BY j) AS list, string_agg(format('e.e%s_%s IS NOT NULL', i, j), ' AND ' ORDER BY j) AS complete
		  FROM generate_series(1, widths[i]) j) c;
END;
COMMENT ON FUNCTION activate._check_sql(text, text[], integer[], jsonb[]) IS 'private: the statement that checks expectations of a relation, all in one pass';
REVOKE ALL ON FUNCTION activate._check_sql(text, text[], integer[], jsonb[]) FROM PUBLIC;

-- Which rows: by their key (k1..), or by the values that occur more than once.
CREATE FUNCTION activate._sample_sql(query text, kind text, width integer, names text[]) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN kind = 'row' THEN
		format('SELECT jsonb_agg(to_jsonb(s.*)) FROM (SELECT %s FROM (%s) q WHERE NOT q.e1_1 LIMIT 5) s', activate._select_list('k', names), query)
	ELSE
		format('SELECT jsonb_agg(to_jsonb(s.*)) FROM (SELECT %s FROM (%s) q WHERE %s GROUP BY %s HAVING count(*) > 1 LIMIT 5) s',
			activate._select_list('e1_', names), query, c.complete, c.list) END
	  FROM (SELECT string_agg('q.e1_' || j, ', ') AS list, string_agg(format('q.e1_%s IS NOT NULL', j), ' AND ') AS complete
			  FROM generate_series(1, width) j) c;
END;
COMMENT ON FUNCTION activate._sample_sql(text, text, integer, text[]) IS 'private: the statement that finds some rows that fail an expectation';
REVOKE ALL ON FUNCTION activate._sample_sql(text, text, integer, text[]) FROM PUBLIC;

-- error: it could not be checked, why.  note: the newest value of "fresh".
CREATE FUNCTION activate._check_record(expectation bigint, run bigint, rows bigint, failed bigint, sample jsonb, note text, error text,
	OUT state text, OUT message text)
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate."check" (expectation, run, state, rows, failed, sample, message)
	SELECT e.id, _check_record.run, CASE WHEN error IS NOT NULL THEN 'error' WHEN _check_record.failed > 0 THEN 'failed' ELSE 'ok' END,
		_check_record.rows, _check_record.failed, _check_record.sample,
		CASE WHEN error IS NOT NULL THEN 'could not be checked: ' || error
			WHEN _check_record.failed = 0 THEN NULL
			WHEN e.kind = 'row' THEN format('%s of %s rows fail %s', coalesce(_check_record.failed::text, 'some'), coalesce(_check_record.rows::text, 'its'), activate._expects(e.expectation, e.options))
			WHEN e.kind = 'unique' THEN format('%s of %s rows repeat others: %s', _check_record.failed, _check_record.rows, activate._expects(e.expectation, e.options))
			WHEN e.kind = 'fresh' THEN format('the newest is %s: %s', coalesce(note, 'missing'), activate._expects(e.expectation, e.options))
			ELSE format('there are %s rows: %s', _check_record.rows, activate._expects(e.expectation, e.options)) END
	  FROM activate._expectation e WHERE e.id = _check_record.expectation
	RETURNING state, message;
END;
COMMENT ON FUNCTION activate._check_record(bigint, bigint, bigint, bigint, jsonb, text, text) IS 'private: what a check has found, into the history';
REVOKE ALL ON FUNCTION activate._check_record(bigint, bigint, bigint, bigint, jsonb, text, text) FROM PUBLIC;

-- What holds a sync that reads these relations; NULL: nothing.  Where a row of
-- the relation is none of the sync, or may not be judged as the sync's owner
-- (may_run() in gate.c), quarantine cannot keep it back alone.
-- result: of what a run is about to leave in a table, where no more is asked than whether it may.
CREATE FUNCTION activate._gate_reason(sync bigint, relations oid[], result boolean DEFAULT false) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('expectation "%s" of %s: %s', e.name, e.relation, c.message)
	  FROM activate.sync s, activate._expectation e CROSS JOIN LATERAL (
		SELECT k.state, k.message FROM activate."check" k WHERE k.expectation = e.id ORDER BY k.id DESC LIMIT 1) c
	 WHERE s.id = _gate_reason.sync AND e.relation::oid = ANY (relations) AND c.state <> 'ok'
	   AND (e.on_fail = 'hold' OR (e.on_fail = 'quarantine' AND NOT result AND (c.state = 'error' OR s.source_rel IS DISTINCT FROM e.relation
			OR NOT (e.harmless OR EXISTS (SELECT FROM pg_catalog.pg_roles r, pg_catalog.pg_roles o WHERE r.rolname = e.owner AND o.rolname = s.owner
				AND pg_catalog.pg_has_role(r.oid, o.oid, 'USAGE'))))))
	   AND activate._expects_for(e.owner, e.relation, s.owner)
	 ORDER BY e.id LIMIT 1;
END;
COMMENT ON FUNCTION activate._gate_reason(bigint, oid[], boolean) IS 'private: which expectation holds a sync that reads these relations, as last checked';
REVOKE ALL ON FUNCTION activate._gate_reason(bigint, oid[], boolean) FROM PUBLIC;

-- Was its last run held by an expectation, so that it has done nothing?
CREATE FUNCTION activate._run_was_held(sync bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce((SELECT r.status = 'held' AND r.error IS NOT NULL FROM activate.run r
		WHERE r.sync = _run_was_held.sync AND NOT r.queued ORDER BY r.id DESC LIMIT 1), false);
END;
COMMENT ON FUNCTION activate._run_was_held(bigint) IS 'private: is the last run of that sync one that an expectation held';
REVOKE ALL ON FUNCTION activate._run_was_held(bigint) FROM PUBLIC;

-- Has it been opened or closed by that?  Whoever opens it, a runner makes up
-- for the run that was held.
CREATE FUNCTION activate._gate_set(sync bigint, relations oid[], reason text) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	was boolean := EXISTS (SELECT FROM activate._gate g WHERE g.sync = _gate_set.sync AND g.reason IS NOT NULL);
BEGIN
	IF reason IS NULL AND activate._run_was_held(_gate_set.sync) THEN
		UPDATE activate._gate g SET reason = NULL WHERE g.sync = _gate_set.sync AND g.reason IS NOT NULL;
	ELSIF reason IS NULL THEN
		DELETE FROM activate._gate g WHERE g.sync = _gate_set.sync;
	ELSE
		INSERT INTO activate._gate AS g (sync, relations, reason) VALUES (_gate_set.sync, _gate_set.relations, _gate_set.reason)
		ON CONFLICT ON CONSTRAINT _gate_pkey DO UPDATE SET relations = excluded.relations, reason = excluded.reason, looked_at = excluded.looked_at;
	END IF;
	RETURN was <> (reason IS NOT NULL);
END
$$;
COMMENT ON FUNCTION activate._gate_set(bigint, oid[], text) IS 'private: an expectation holds a sync, or (NULL) none does; is that new';
REVOKE ALL ON FUNCTION activate._gate_set(bigint, oid[], text) FROM PUBLIC;

-- A batch of what is older than runs are kept; the last check of each stays: it is its state.
CREATE FUNCTION activate._quality_expire(batch integer) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._expectation e WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = e.relation);
	WITH gone AS (
		DELETE FROM activate."check" WHERE ctid = ANY (ARRAY(
			SELECT k.ctid FROM activate."check" k
			 WHERE NOT EXISTS (SELECT FROM activate._expectation e WHERE e.id = k.expectation)
				OR (k.checked_at < clock_timestamp() - current_setting('activate.run_retention')::interval
					AND EXISTS (SELECT FROM activate."check" n WHERE n.expectation = k.expectation AND n.id > k.id)) LIMIT batch))
		RETURNING 1)
	SELECT count(*) = batch FROM gone;
END;
COMMENT ON FUNCTION activate._quality_expire(integer) IS 'private: removes a batch of checks that are older than activate.run_retention; are there perhaps more';
REVOKE ALL ON FUNCTION activate._quality_expire(integer) FROM PUBLIC;

-- Executed as owners of syncs, so PUBLIC may; it only ever raises an error.
CREATE FUNCTION activate._hold_row(expectation bigint, reason text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'activate_hold_row';
COMMENT ON FUNCTION activate._hold_row(bigint, text) IS 'private: a row that an expectation with on_fail "hold" lets not pass, nor any other';
