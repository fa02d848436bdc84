-- Guarantee 8 for captured transactions (held.c): what one transaction's
-- changes would delete at a mirror, and the deletes that wait for a yes.
-- "Captured" is an intent without run, body and force.

-- API: Private.  For options.max_delete_percent and min_deletes.  Of what was
-- sent no more is counted than decides.
CREATE FUNCTION activate._over_delete_limit(sync bigint, deletes bigint, few integer, percent integer) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
	enough bigint := greatest(deletes, deletes * 100 / greatest(percent, 1)) + 1;
	sent bigint;
BEGIN
	IF deletes = 0 THEN
		RETURN false;
	END IF;
	SELECT count(*) INTO sent
	  FROM (SELECT FROM activate._sent t WHERE t.sync = _over_delete_limit.sync LIMIT enough) s;
	RETURN deletes >= sent OR (deletes >= few AND deletes * 100 > sent * percent);
END
$$;
COMMENT ON FUNCTION activate._over_delete_limit(bigint, bigint, integer, integer) IS
	'private: are so many deletes at once too many for this mirror';
REVOKE ALL ON FUNCTION activate._over_delete_limit(bigint, bigint, integer, integer) FROM PUBLIC;

-- API: Private.  Transactions that are new since the snapshot "judged" and have
-- so many captured intents that they could be over the limit.  Each is looked
-- at once, by a few index probes, as _claim finds them.
CREATE FUNCTION activate._captured_large(sync bigint, judged pg_snapshot, few integer, OUT snapshot text, OUT xids xid8[],
	OUT truncated boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
	late xid8[] := ARRAY(SELECT pg_snapshot_xip(judged));
	beyond xid8 := coalesce(pg_snapshot_xmax(judged), '0');
	least_large bigint;
BEGIN
	snapshot := pg_current_snapshot()::text;
	truncated := EXISTS (SELECT FROM activate._outbox t WHERE t.sync = _captured_large.sync AND t.key = '{}' AND t.op = 't');
	-- all that was sent, or min_deletes of it
	SELECT greatest(count(*), 1) INTO least_large
	  FROM (SELECT FROM activate._sent t WHERE t.sync = _captured_large.sync LIMIT greatest(few, 1)) s;
	xids := ARRAY(
		WITH RECURSIVE x(xid) AS (
			SELECT (SELECT t.xid FROM activate._outbox t WHERE t.sync = _captured_large.sync AND t.xid >= beyond
					 ORDER BY t.xid LIMIT 1)
			UNION ALL
			SELECT (SELECT t.xid FROM activate._outbox t WHERE t.sync = _captured_large.sync AND t.xid > x.xid
					 ORDER BY t.xid LIMIT 1)
			  FROM x WHERE x.xid IS NOT NULL)
		SELECT c.xid FROM (SELECT x.xid FROM x WHERE x.xid IS NOT NULL UNION ALL SELECT l.xid FROM unnest(late) l(xid)) c
		 CROSS JOIN LATERAL (
			SELECT sum(i.n) AS n FROM (
				SELECT coalesce(cardinality(t.keys), 1) AS n FROM activate._outbox t
				 WHERE t.sync = _captured_large.sync AND t.xid = c.xid
					AND NOT t.held AND NOT t.forced AND t.run IS NULL AND t.body IS NULL
				 LIMIT least_large) i OFFSET 0) m
		 WHERE m.n >= least_large);
END
$$;
COMMENT ON FUNCTION activate._captured_large(bigint, pg_snapshot, integer) IS
	'private: new transactions whose captured changes could be over the limit of a mirror; is there a TRUNCATE';
REVOKE ALL ON FUNCTION activate._captured_large(bigint, pg_snapshot, integer) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._captured_keys(sync bigint, xid xid8, few integer, percent integer) RETURNS jsonb[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
	keys jsonb[];
BEGIN
	SELECT array_agg(DISTINCT o.key) INTO keys
	  FROM activate._intent o
	 CROSS JOIN LATERAL (SELECT FROM activate._sent t WHERE t.sync = o.sync AND t.digest = activate._key_digest(o.key) OFFSET 0) s
	 WHERE o.sync = _captured_keys.sync AND o.xid = _captured_keys.xid
		AND NOT o.held AND NOT o.forced AND o.run IS NULL AND o.body IS NULL;
	IF activate._over_delete_limit(sync, coalesce(cardinality(keys), 0), few, percent) THEN
		RETURN keys;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION activate._captured_keys(bigint, xid8, integer, integer) IS
	'private: keys of a captured transaction that the target holds; NULL: were all of them deletes, it would be within the limit';
REVOKE ALL ON FUNCTION activate._captured_keys(bigint, xid8, integer, integer) FROM PUBLIC;

-- API: Private.  Built around Q (docs/internals.md) like _render_sql.
CREATE FUNCTION activate._captured_deletes_sql(query text, key_columns text[], key_types text[],
	conditions text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('SELECT coalesce(pg_catalog.array_agg(u.key), ''{}'') FROM pg_catalog.unnest($1) u(key) '
		'CROSS JOIN LATERAL ROWS FROM (pg_catalog.jsonb_to_record(u.key) AS (%s)) AS k(%s) '
		'WHERE NOT EXISTS (SELECT FROM (%s) q WHERE %s)',
		string_agg(format('%I %s', key_columns[i], key_types[i]), ', ' ORDER BY i),
		string_agg('k' || i, ', ' ORDER BY i),
		query,
		string_agg(conditions[i], ' AND ' ORDER BY i))
	  FROM generate_subscripts(key_types, 1) i;
END;
COMMENT ON FUNCTION activate._captured_deletes_sql(text, text[], text[], text[]) IS
	'private: the statement that tells which of the keys $1 are not in the source any more';
REVOKE ALL ON FUNCTION activate._captured_deletes_sql(text, text[], text[], text[]) FROM PUBLIC;

-- API: Private.  The transaction's number is kept: who waits for what it saw sees it still.
CREATE FUNCTION activate._captured_hold(sync bigint, xids xid8[], ids bigint[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
	INSERT INTO activate._outbox (sync, xid, id, nonce, op, forced, held, run, writer, enqueued_at, key, body)
	SELECT g.sync, g.xid, g.id, g.nonce, g.op, g.forced, true, g.run, g.writer, g.enqueued_at, g.key, g.body
	  FROM activate._outbox_take(_captured_hold.sync, xids, ids) g;
END
$$;
COMMENT ON FUNCTION activate._captured_hold(bigint, xid8[], bigint[]) IS
	'private: these intents wait for activate_run(full => true) or activate_discard()';
REVOKE ALL ON FUNCTION activate._captured_hold(bigint, xid8[], bigint[]) FROM PUBLIC;

-- API: Private.  A row is deleted by who touched it last: what a later transaction
-- (of a higher number; of another it may be missed) has touched since was
-- there again, and is judged as that one's.
CREATE FUNCTION activate._captured_judge(sync bigint, xid xid8, keys jsonb[], few integer, percent integer) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	own jsonb[];
	ids bigint[];
BEGIN
	IF NOT activate._over_delete_limit(sync, cardinality(keys), few, percent) THEN
		RETURN 0;
	END IF;
	own := ARRAY(
		SELECT k.key FROM unnest(keys) k(key)
		 WHERE NOT EXISTS (SELECT FROM activate._intent n
			 WHERE n.sync = _captured_judge.sync AND n.xid > _captured_judge.xid AND NOT n.held AND n.key = k.key));
	IF NOT activate._over_delete_limit(sync, cardinality(own), few, percent) THEN
		RETURN 0;
	END IF;
	ids := ARRAY(
		SELECT o.id FROM activate._intent o
		 WHERE o.sync = _captured_judge.sync AND o.xid = _captured_judge.xid
			AND NOT o.held AND NOT o.forced AND o.run IS NULL AND o.body IS NULL
			AND o.key IN (SELECT k.key FROM unnest(own) k(key)));
	PERFORM activate._captured_hold(sync, array_fill(xid, ARRAY[cardinality(ids)]), ids);
	RETURN cardinality(own);
END
$$;
COMMENT ON FUNCTION activate._captured_judge(bigint, xid8, jsonb[], integer, integer) IS
	'private: holds the deletes of a captured transaction if they are over the limit; how many';
REVOKE ALL ON FUNCTION activate._captured_judge(bigint, xid8, jsonb[], integer, integer) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._captured_held(sync bigint, keys jsonb[]) RETURNS SETOF integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	RETURN QUERY
	SELECT k.ord::integer FROM unnest(keys) WITH ORDINALITY AS k(key, ord)
	 WHERE EXISTS (SELECT FROM activate._outbox t WHERE t.sync = _captured_held.sync AND t.key = k.key AND t.held OFFSET 0);
END
$$;
COMMENT ON FUNCTION activate._captured_held(bigint, jsonb[]) IS 'private: positions of keys with a delete that is held';
REVOKE ALL ON FUNCTION activate._captured_held(bigint, jsonb[]) FROM PUBLIC;
