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

-- API: Private.
CREATE FUNCTION activate._deliver_known(sync bigint, keys jsonb[], OUT ord integer, OUT sent boolean, OUT hash bigint,
	OUT seq bigint, OUT remote_id text, OUT refused boolean, OUT refused_hash bigint, OUT refused_op text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	-- most syncs have no rejections, and a probe for each key is not free
	IF EXISTS (SELECT FROM activate.rejection j WHERE j.sync = _deliver_known.sync) THEN
		RETURN QUERY
		SELECT k.ord::integer, s.seq IS NOT NULL, s.hash, s.seq, s.remote_id, r.op IS NOT NULL, r.hash, r.op
		  FROM unnest(keys) WITH ORDINALITY AS k(key, ord)
		  LEFT JOIN LATERAL (SELECT * FROM activate._sent t
			 WHERE t.sync = _deliver_known.sync AND t.key = k.key OFFSET 0) s ON true
		  LEFT JOIN LATERAL (SELECT * FROM activate.rejection j
			 WHERE j.sync = _deliver_known.sync AND j.key = k.key ORDER BY j.id DESC LIMIT 1) r ON true
		 WHERE s.seq IS NOT NULL OR r.op IS NOT NULL;
	ELSE
		RETURN QUERY
		SELECT k.ord::integer, true, s.hash, s.seq, s.remote_id, false, NULL::bigint, NULL::text
		  FROM unnest(keys) WITH ORDINALITY AS k(key, ord)
		 CROSS JOIN LATERAL (SELECT * FROM activate._sent t
			 WHERE t.sync = _deliver_known.sync AND t.key = k.key OFFSET 0) s;
	END IF;
END
$$;
COMMENT ON FUNCTION activate._deliver_known(bigint, jsonb[]) IS
	'private: of these keys, by position, what the target holds and what it refused last';
REVOKE ALL ON FUNCTION activate._deliver_known(bigint, jsonb[]) FROM PUBLIC;

-- API: Private.  A sync that was dropped meanwhile leaves nothing behind; to one
-- that has another target or key now (epoch) nothing was sent yet.
CREATE FUNCTION activate._settle_sent(syncs bigint[], keys jsonb[], hashes bigint[], seqs bigint[], times timestamptz[],
	remote_ids text[], images jsonb[], epochs integer[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	INSERT INTO activate._sent AS s (sync, key, hash, seq, sent_at, remote_id, image)
	SELECT u.sync, u.key, u.hash, u.seq, u.sent_at, u.remote_id, u.image
	  FROM unnest(syncs, keys, hashes, seqs, times, remote_ids, images, epochs)
		AS u(sync, key, hash, seq, sent_at, remote_id, image, epoch)
	 WHERE EXISTS (SELECT FROM activate.sync y WHERE y.id = u.sync AND y.epoch = u.epoch)
	-- without a hash it was no whole row, but columns written to a foreign table
	ON CONFLICT (sync, key) DO UPDATE
	   SET hash = excluded.hash, seq = excluded.seq, sent_at = excluded.sent_at,
		image = CASE WHEN excluded.hash IS NULL THEN coalesce(s.image || excluded.image, excluded.image) ELSE excluded.image END,
		remote_id = coalesce(excluded.remote_id, s.remote_id);
END
$$;
COMMENT ON FUNCTION activate._settle_sent(bigint[], jsonb[], bigint[], bigint[], timestamptz[], text[], jsonb[], integer[]) IS
	'private: the target holds these rows now';
REVOKE ALL ON FUNCTION activate._settle_sent(bigint[], jsonb[], bigint[], bigint[], timestamptz[], text[], jsonb[], integer[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._settle_gone(syncs bigint[], keys jsonb[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	DELETE FROM activate._sent WHERE ctid = ANY (ARRAY(
		SELECT s.ctid FROM unnest(syncs, keys) AS u(sync, key)
		 CROSS JOIN LATERAL (SELECT t.ctid FROM activate._sent t WHERE t.sync = u.sync AND t.key = u.key OFFSET 0) s));
END
$$;
COMMENT ON FUNCTION activate._settle_gone(bigint[], jsonb[]) IS 'private: the target holds these keys no more';
REVOKE ALL ON FUNCTION activate._settle_gone(bigint[], jsonb[]) FROM PUBLIC;

-- API: Private.  Attempts that may have been carried out, and then a rejection:
-- whatever the row is next, it is not what the target is known to hold.  Where
-- deletes are sent, what it was never known to hold is perhaps to be deleted.
CREATE FUNCTION activate._settle_doubted(syncs bigint[], keys jsonb[], seqs bigint[], times timestamptz[], epochs integer[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	UPDATE activate._sent SET hash = NULL WHERE ctid = ANY (ARRAY(
		SELECT s.ctid FROM unnest(syncs, keys) AS u(sync, key)
		 CROSS JOIN LATERAL (SELECT t.ctid FROM activate._sent t WHERE t.sync = u.sync AND t.key = u.key OFFSET 0) s));
	INSERT INTO activate._sent (sync, key, seq, sent_at)
	SELECT u.sync, u.key, u.seq, u.sent_at
	  FROM unnest(syncs, keys, seqs, times, epochs) AS u(sync, key, seq, sent_at, epoch)
	 WHERE EXISTS (SELECT FROM activate.sync y WHERE y.id = u.sync AND y.epoch = u.epoch AND y.mode IN ('mirror', 'replace'))
	ON CONFLICT (sync, key) DO NOTHING;
END
$$;
COMMENT ON FUNCTION activate._settle_doubted(bigint[], jsonb[], bigint[], timestamptz[], integer[]) IS 'private: what the target holds of these keys is not known';
REVOKE ALL ON FUNCTION activate._settle_doubted(bigint[], jsonb[], bigint[], timestamptz[], integer[]) FROM PUBLIC;

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

-- API: Private.  Counts what is forgotten with the receipts.
CREATE FUNCTION activate._settle_tally(sync bigint, outcome text, n integer, calls integer) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
	INSERT INTO activate._tally AS t (sync, delivered, retried, requests)
	SELECT y.id, CASE WHEN outcome IN ('delivered', 'warned') THEN n ELSE 0 END, CASE WHEN outcome = 'retried' THEN n ELSE 0 END, calls
	  FROM activate.sync y WHERE y.id = _settle_tally.sync
	ON CONFLICT ON CONSTRAINT _tally_pkey DO UPDATE
	   SET delivered = t.delivered + excluded.delivered, retried = t.retried + excluded.retried,
		requests = t.requests + excluded.requests;
END
$$;
COMMENT ON FUNCTION activate._settle_tally(bigint, text, integer, integer) IS
	'private: so many messages of a sync had this outcome, by so many requests';
REVOKE ALL ON FUNCTION activate._settle_tally(bigint, text, integer, integer) FROM PUBLIC;

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
