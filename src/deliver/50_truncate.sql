-- A TRUNCATE of a captured table (truncate.c): one intent with op "t" and key
-- {} becomes held deletes.

-- API: Private.  The row lock keeps activate_run(full => true), which removes
-- the intent, from doing so between two looks.  "upto" is NULL with the last keys.
CREATE FUNCTION activate._truncate_step(sync bigint, before bigint, after uuid, busy jsonb[], perhaps bigint, batch integer,
	OUT marker bigint, OUT keys jsonb[], OUT upto uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
	SELECT t.id INTO marker FROM activate._outbox t
	 WHERE t.sync = _truncate_step.sync AND t.key = '{}' AND t.op = 't' ORDER BY t.id LIMIT 1 FOR KEY SHARE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF marker <> before THEN
		after := NULL;
	END IF;
	-- no digest is all zeros
	SELECT array_agg(t.key), (array_agg(t.digest))[batch] INTO keys, upto
	  FROM (SELECT s.key, s.digest FROM activate._sent s
			 WHERE s.sync = _truncate_step.sync AND s.digest > coalesce(after, '00000000-0000-0000-0000-000000000000')
			 ORDER BY s.digest LIMIT batch) t;
	keys := coalesce(keys, '{}');
	IF after IS NULL THEN
		keys := keys || busy || ARRAY(
			SELECT o.key FROM activate._intent o LEFT JOIN activate._retry r ON r.id = o.id
			 WHERE o.sync = _truncate_step.sync AND NOT o.held AND o.op <> 't' AND (o.id <= perhaps OR r.id IS NOT NULL));
	END IF;
END
$$;
COMMENT ON FUNCTION activate._truncate_step(bigint, bigint, uuid, jsonb[], bigint, integer) IS
	'private: the oldest TRUNCATE of a sync, and the next keys that its target may hold';
REVOKE ALL ON FUNCTION activate._truncate_step(bigint, bigint, uuid, jsonb[], bigint, integer) FROM PUBLIC;

-- API: Private.  They have the number of the transaction that truncated: who waits for what it saw sees them.
CREATE FUNCTION activate._truncate_hold(sync bigint, marker bigint, gone jsonb[], finished boolean) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
	m activate._outbox;
	total bigint := 0;
BEGIN
	SELECT t.* INTO STRICT m FROM activate._outbox t
	 WHERE t.sync = _truncate_hold.sync AND t.key = '{}' AND t.op = 't' AND t.id = marker;
	INSERT INTO activate._outbox (sync, xid, nonce, op, held, writer, enqueued_at, key)
	SELECT m.sync, m.xid, ('x' || translate(right(gen_random_uuid()::text, 17), '-', ''))::bit(64)::bigint,
		'd', true, m.writer, m.enqueued_at, g.key
	  FROM (SELECT DISTINCT u.key FROM unnest(gone) u(key)) g
	 WHERE NOT EXISTS (SELECT FROM activate._outbox t WHERE t.sync = m.sync AND t.key = g.key AND t.held OFFSET 0);
	IF finished THEN
		SELECT count(*) INTO total FROM activate._outbox t WHERE t.sync = m.sync AND t.xid = m.xid AND t.held;
		DELETE FROM activate._outbox t WHERE t.sync = m.sync AND t.xid = m.xid AND t.id = m.id;
	END IF;
	RETURN total;
END
$$;
COMMENT ON FUNCTION activate._truncate_hold(bigint, bigint, jsonb[], boolean) IS
	'private: holds deletes of these keys for a TRUNCATE; when it is finished, how many it has';
REVOKE ALL ON FUNCTION activate._truncate_hold(bigint, bigint, jsonb[], boolean) FROM PUBLIC;
