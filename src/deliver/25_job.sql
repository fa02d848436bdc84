-- Jobs: what a target has accepted and not yet carried out (job.c).

-- API: Private.
CREATE FUNCTION activate._job_store(sync bigint, epoch integer, op "char", bulk boolean, handle text, step integer,
	submitted_at timestamptz, deadline timestamptz, keys jsonb[], ids uuid[], seqs bigint[], nonces bigint[], hashes bigint[],
	bodies jsonb[], attempts integer[], doubts boolean[], covered integer[], xids xid8[], intents bigint[],
	intent_nonces bigint[], runs bigint[], undos integer[]) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._job (sync, epoch, op, bulk, handle, step, submitted_at, deadline, keys, ids, seqs, nonces, hashes, bodies,
		attempts, doubts, covered, xids, intents, intent_nonces, runs, undos)
	VALUES (_job_store.sync, _job_store.epoch, _job_store.op, _job_store.bulk, _job_store.handle, _job_store.step,
		_job_store.submitted_at, _job_store.deadline, _job_store.keys, _job_store.ids, _job_store.seqs, _job_store.nonces,
		_job_store.hashes, _job_store.bodies, _job_store.attempts, _job_store.doubts, _job_store.covered, _job_store.xids,
		_job_store.intents, _job_store.intent_nonces, _job_store.runs, _job_store.undos)
	RETURNING id;
END;
COMMENT ON FUNCTION activate._job_store(bigint, integer, "char", boolean, text, integer, timestamptz, timestamptz, jsonb[], uuid[],
	bigint[], bigint[], bigint[], jsonb[], integer[], boolean[], integer[], xid8[], bigint[], bigint[], bigint[], integer[]) IS
	'private: a target has accepted a job of these messages; its number';
REVOKE ALL ON FUNCTION activate._job_store(bigint, integer, "char", boolean, text, integer, timestamptz, timestamptz, jsonb[], uuid[],
	bigint[], bigint[], bigint[], jsonb[], integer[], boolean[], integer[], xid8[], bigint[], bigint[], bigint[], integer[]) FROM PUBLIC;

-- API: Private.  One that is gone was dropped with its sync.
CREATE FUNCTION activate._job_note(id bigint, step integer, state text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate._job j SET step = _job_note.step, state = _job_note.state WHERE j.id = _job_note.id;
END;
COMMENT ON FUNCTION activate._job_note(bigint, integer, text) IS 'private: which request of a job goes next, and what was last heard of it';
REVOKE ALL ON FUNCTION activate._job_note(bigint, integer, text) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._job_forget(id bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._job j WHERE j.id = _job_forget.id;
END;
COMMENT ON FUNCTION activate._job_forget(bigint) IS 'private: what became of the messages of a job is known';
REVOKE ALL ON FUNCTION activate._job_forget(bigint) FROM PUBLIC;

-- API: Private.  Those for another target or key are nobody's any more.  "there": which
-- of the intents are not settled or discarded since.
CREATE FUNCTION activate._job_read(sync bigint, epoch integer, OUT id bigint, OUT op "char", OUT bulk boolean, OUT handle text,
	OUT step integer, OUT state text, OUT submitted_at timestamptz, OUT deadline timestamptz, OUT keys jsonb[], OUT ids uuid[],
	OUT seqs bigint[], OUT nonces bigint[], OUT hashes bigint[], OUT bodies jsonb[], OUT attempts integer[], OUT doubts boolean[],
	OUT covered integer[], OUT xids xid8[], OUT intents bigint[], OUT intent_nonces bigint[], OUT runs bigint[], OUT undos integer[],
	OUT there boolean[])
RETURNS SETOF record
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
	DELETE FROM activate._job j WHERE j.sync = _job_read.sync AND j.epoch <> _job_read.epoch;
	RETURN QUERY
	SELECT j.id, j.op, j.bulk, j.handle, j.step, j.state, j.submitted_at, j.deadline, j.keys, j.ids, j.seqs, j.nonces, j.hashes,
		j.bodies, j.attempts, j.doubts, j.covered, j.xids, j.intents, j.intent_nonces, j.runs, j.undos,
		ARRAY(SELECT coalesce(u.id = o.id OR u.id - o.id = ANY (o.steps), false)
				FROM unnest(j.xids, j.intents) WITH ORDINALITY AS u(xid, id, ord)
				LEFT JOIN LATERAL (SELECT t.id, t.steps FROM activate._outbox t
					 WHERE t.sync = j.sync AND t.xid = u.xid AND t.id <= u.id ORDER BY t.id DESC LIMIT 1) o ON true
			   ORDER BY u.ord)
	  FROM activate._job j WHERE j.sync = _job_read.sync ORDER BY j.id;
END
$$;
COMMENT ON FUNCTION activate._job_read(bigint, integer) IS 'private: jobs of a sync that are under way, and which of their intents are still there';
REVOKE ALL ON FUNCTION activate._job_read(bigint, integer) FROM PUBLIC;
