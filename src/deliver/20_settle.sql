-- What a deliverer reads and writes, hundreds of messages by one statement.
-- plpgsql keeps the plans from call to call; they are generic ones, because
-- what they touch is always found by an index, however many rows there are.
-- LATERAL with OFFSET 0 keeps it so: from the array to the table, never the
-- other way round, as a plan made while the table was empty might.

-- API: Private.
CREATE FUNCTION activate._deliver_syncs(OUT id bigint, OUT server oid, OUT paused boolean) RETURNS SETOF record
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.id, t.ftserver, activate._target_is_paused(t.ftserver)
	  FROM activate.sync s LEFT JOIN pg_catalog.pg_foreign_table t ON t.ftrelid = s.target_rel
	 WHERE s.kind = 'api';
END;
COMMENT ON FUNCTION activate._deliver_syncs() IS 'private: syncs to APIs, their servers (NULL: gone), and has an operator paused that';
REVOKE ALL ON FUNCTION activate._deliver_syncs() FROM PUBLIC;

-- API: Private.  The last rejection of each of these keys, if it has one.
CREATE FUNCTION activate._deliver_refused(sync bigint, keys jsonb[], OUT ord integer, OUT hash bigint, OUT op text,
	OUT undone boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	RETURN QUERY
	SELECT k.ord::integer, r.hash, r.op, r.code IS NOT DISTINCT FROM 'undone'
	  FROM unnest(keys) WITH ORDINALITY AS k(key, ord)
	 CROSS JOIN LATERAL (SELECT * FROM activate.rejection j
		 WHERE j.sync = _deliver_refused.sync AND j.key = k.key ORDER BY j.id DESC LIMIT 1) r;
END
$$;
COMMENT ON FUNCTION activate._deliver_refused(bigint, jsonb[]) IS
	'private: of these keys, by position, what the target refused last';
REVOKE ALL ON FUNCTION activate._deliver_refused(bigint, jsonb[]) FROM PUBLIC;

-- API: Private.  Of a message that was not the whole row (rows), only rejections
-- of which every column has been written since.
CREATE FUNCTION activate._settle_forgiven(syncs bigint[], keys jsonb[], rows jsonb[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	DELETE FROM activate.rejection WHERE ctid = ANY (ARRAY(
		SELECT r.ctid FROM unnest(syncs, keys, rows) AS u(sync, key, "row")
		 CROSS JOIN LATERAL (SELECT t.ctid, t.body FROM activate.rejection t WHERE t.sync = u.sync AND t.key = u.key OFFSET 0) r
		 WHERE u."row" IS NULL
			OR r.body IS NOT NULL AND u."row" ?& ARRAY(SELECT jsonb_object_keys(r.body))));
END
$$;
COMMENT ON FUNCTION activate._settle_forgiven(bigint[], jsonb[], jsonb[]) IS
	'private: earlier rejections of these keys have been overtaken';
REVOKE ALL ON FUNCTION activate._settle_forgiven(bigint[], jsonb[], jsonb[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._settle_rejected(syncs bigint[], keys jsonb[], ops text[], bodies jsonb[], codes text[],
	reasons text[], tries integer[], hashes bigint[], times timestamptz[], epochs integer[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	INSERT INTO activate.rejection (sync, key, op, body, code, reason, attempts, hash, rejected_at)
	SELECT u.sync, u.key, u.op, u.body, u.code, u.reason, u.attempts, u.hash, u.rejected_at
	  FROM unnest(syncs, keys, ops, bodies, codes, reasons, tries, hashes, times, epochs) WITH ORDINALITY
		AS u(sync, key, op, body, code, reason, attempts, hash, rejected_at, epoch, ord)
	 WHERE EXISTS (SELECT FROM activate.sync y WHERE y.id = u.sync AND y.epoch = u.epoch)
	 ORDER BY u.ord;
END
$$;
COMMENT ON FUNCTION activate._settle_rejected(bigint[], jsonb[], text[], jsonb[], text[], text[], integer[], bigint[], timestamptz[], integer[]) IS
	'private: the target, or rendering, refused these rows for good';
REVOKE ALL ON FUNCTION activate._settle_rejected(bigint[], jsonb[], text[], jsonb[], text[], text[], integer[], bigint[], timestamptz[], integer[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._horizon_set(slot integer, upto bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._horizon AS h (slot, id) VALUES (_horizon_set.slot, upto)
	ON CONFLICT (slot) DO UPDATE SET id = excluded.id;
END;
COMMENT ON FUNCTION activate._horizon_set(integer, bigint) IS 'private: intents up to this id may be sent from now on';
REVOKE ALL ON FUNCTION activate._horizon_set(integer, bigint) FROM PUBLIC;

-- API: Private.  Slots that are no more in use may have been ours.  The horizon
-- was written far ahead: what is enqueued from now on lies beyond what was sent.
CREATE FUNCTION activate._horizon_get(slot integer, deliverers integer) RETURNS bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT least(coalesce(max(h.id), 0), (SELECT q.last_value FROM activate.outbox_id_seq q)) FROM activate._horizon h
	 WHERE h.slot = _horizon_get.slot OR h.slot >= deliverers;
END;
COMMENT ON FUNCTION activate._horizon_get(integer, integer) IS 'private: intents up to this id were perhaps sent before a crash';
REVOKE ALL ON FUNCTION activate._horizon_get(integer, integer) FROM PUBLIC;

-- API: Private.  What was perhaps sent before a crash, and waits still, is not
-- forgotten.  It is among the oldest: a look at some thousand intents has to do.
CREATE FUNCTION activate._horizon_clear(slot integer, before bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	WITH o AS MATERIALIZED (SELECT q.id FROM activate._outbox q WHERE before > 0 LIMIT 20000),
	pending AS MATERIALIZED (
		SELECT coalesce(bool_or(o.id <= before), false) OR count(*) = 20000 AS some FROM o),
	kept AS (
		UPDATE activate._horizon h SET id = before FROM pending p WHERE h.slot = _horizon_clear.slot AND p.some)
	DELETE FROM activate._horizon h USING pending p WHERE h.slot = _horizon_clear.slot AND NOT p.some;
END;
COMMENT ON FUNCTION activate._horizon_clear(integer, bigint) IS 'private: nothing sent by this deliverer is without an outcome';
REVOKE ALL ON FUNCTION activate._horizon_clear(integer, bigint) FROM PUBLIC;
