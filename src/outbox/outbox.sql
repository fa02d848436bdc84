-- What a deliverer does to activate._outbox.  Reading and removing is C
-- (read.c and remove.c, by primary key), which three of these functions show; of the others plpgsql
-- keeps the plans: sequential scans and hash joins are switched off, because a plan made
-- while the table is small would be kept when it has grown, and every row that
-- is wanted here is found by the primary key.

-- API: Private.  Rows of a sync that were invisible to the snapshot "done" and
-- are visible to "pass".  Transactions that ran at the time of "done" are few
-- and probed one by one, the rest lies beyond its xmax: what was read before is
-- not touched, so a pass without news costs the same whatever the backlog.
CREATE FUNCTION activate._claim(sync bigint, done pg_snapshot, pass pg_snapshot, after_xid xid8, after_id bigint,
	batch integer, OUT xid xid8, OUT id bigint, OUT nonce bigint, OUT op "char", OUT forced boolean, OUT key jsonb,
	OUT body jsonb, OUT run bigint, OUT attempts integer, OUT due_at timestamptz)
RETURNS SETOF record
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'activate_claim';
COMMENT ON FUNCTION activate._claim(bigint, pg_snapshot, pg_snapshot, xid8, bigint, integer) IS
	'private: intents of a sync that a pass over the outbox sees for the first time';
REVOKE ALL ON FUNCTION activate._claim(bigint, pg_snapshot, pg_snapshot, xid8, bigint, integer) FROM PUBLIC;

-- API: Private.  One index probe per sync, not a scan of what is pending.
CREATE FUNCTION activate._outbox_syncs() RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	WITH RECURSIVE s(id) AS (
		SELECT (SELECT min(o.sync) FROM activate._outbox o)
		UNION ALL
		SELECT (SELECT min(o.sync) FROM activate._outbox o WHERE o.sync > s.id) FROM s WHERE s.id IS NOT NULL)
	SELECT s.id FROM s WHERE s.id IS NOT NULL;
END;
COMMENT ON FUNCTION activate._outbox_syncs() IS 'private: syncs that have intents';
REVOKE ALL ON FUNCTION activate._outbox_syncs() FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._outbox_remove(syncs bigint[], xids xid8[], ids bigint[]) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_outbox_remove';
COMMENT ON FUNCTION activate._outbox_remove(bigint[], xid8[], bigint[]) IS 'private: these intents are settled for good';
REVOKE ALL ON FUNCTION activate._outbox_remove(bigint[], xid8[], bigint[]) FROM PUBLIC;

-- API: Private.  Attempts are kept: they hang on ids, which who takes them may keep.
CREATE FUNCTION activate._outbox_take(sync bigint, xids xid8[], ids bigint[]) RETURNS SETOF activate._outbox
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_outbox_take';
COMMENT ON FUNCTION activate._outbox_take(bigint, xid8[], bigint[]) IS 'private: removes these intents; each as a row of its own';
REVOKE ALL ON FUNCTION activate._outbox_take(bigint, xid8[], bigint[]) FROM PUBLIC;

-- API: Private.  Only for those that are still there: one may have been discarded meanwhile.
CREATE FUNCTION activate._outbox_delay(syncs bigint[], xids xid8[], ids bigint[], attempts integer[], due timestamptz[],
	errors text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
	INSERT INTO activate._retry (sync, id, attempts, due_at, last_error)
	SELECT u.sync, u.id, u.attempts, u.due, u.error
	  FROM unnest(syncs, xids, ids, attempts, due, errors) AS u(sync, xid, id, attempts, due, error)
	 CROSS JOIN LATERAL (SELECT t.id, t.steps FROM activate._outbox t
		 WHERE t.sync = u.sync AND t.xid = u.xid AND t.id <= u.id ORDER BY t.id DESC LIMIT 1) o
	 WHERE u.id = o.id OR u.id - o.id = ANY (o.steps)
	ON CONFLICT (id) DO UPDATE
	   SET attempts = excluded.attempts, due_at = excluded.due_at, last_error = excluded.last_error;
END
$$;
COMMENT ON FUNCTION activate._outbox_delay(bigint[], xid8[], bigint[], integer[], timestamptz[], text[]) IS
	'private: these intents wait until they are due';
REVOKE ALL ON FUNCTION activate._outbox_delay(bigint[], xid8[], bigint[], integer[], timestamptz[], text[]) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._outbox_note(sync bigint, xid xid8, id bigint, seq bigint, nonce bigint, message uuid) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._retry (sync, id, attempts, due_at, seq, nonce, message)
	SELECT o.sync, o.id, 0, clock_timestamp(), _outbox_note.seq, _outbox_note.nonce, _outbox_note.message
	  FROM (SELECT t.sync, _outbox_note.id, t.id AS first, t.steps FROM activate._outbox t
			 WHERE t.sync = _outbox_note.sync AND t.xid = _outbox_note.xid AND t.id <= _outbox_note.id ORDER BY t.id DESC LIMIT 1) o
	 WHERE o.id = o.first OR o.id - o.first = ANY (o.steps)
	ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, nonce = excluded.nonce, message = excluded.message;
END;
COMMENT ON FUNCTION activate._outbox_note(bigint, xid8, bigint, bigint, bigint, uuid) IS
	'private: under which numbers a message of this intent goes, for who comes after a crash';
REVOKE ALL ON FUNCTION activate._outbox_note(bigint, xid8, bigint, bigint, bigint, uuid) FROM PUBLIC;

-- API: Private.  A new transaction number is what makes a deliverer see them.
CREATE FUNCTION activate._outbox_release(sync bigint, run bigint DEFAULT NULL) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	-- first: a deliverer that is at it adds no held ones after this
	DELETE FROM activate._outbox o WHERE o.sync = _outbox_release.sync AND o.key = '{}' AND o.op = 't';
	WITH gone AS (
		DELETE FROM activate._outbox o WHERE o.sync = _outbox_release.sync AND o.held RETURNING o.*
	), back AS (
		INSERT INTO activate._outbox (sync, nonce, op, forced, run, writer, enqueued_at, key, body, planned)
		SELECT g.sync, g.nonce, g.op, g.forced, _outbox_release.run, g.writer, g.enqueued_at, g.key, g.body, g.planned FROM gone g ORDER BY g.id
		RETURNING true
	)
	SELECT count(*) FROM back;
END;
COMMENT ON FUNCTION activate._outbox_release(bigint, bigint) IS 'private: held intents of a sync become ordinary ones; how many';
REVOKE ALL ON FUNCTION activate._outbox_release(bigint, bigint) FROM PUBLIC;

-- API: Private.  Ids are kept: attempts hang on them, and they order a key's intents.
-- One by one: of what were several transactions, ranges of ids may overlap.
CREATE FUNCTION activate._outbox_restamp(OUT sync bigint, OUT rows bigint) RETURNS SETOF record
LANGUAGE sql
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM activate._outbox RETURNING *
	), back AS (
		INSERT INTO activate._outbox (sync, id, nonce, op, forced, held, run, writer, enqueued_at, key, body, planned, undo)
		SELECT g.sync, g.id + coalesce(u.step, 0), g.nonce, g.op, g.forced, g.held, g.run, g.writer, g.enqueued_at, u.key, g.body,
			coalesce(u.planned, g.planned), g.undo
		  FROM gone g CROSS JOIN LATERAL unnest(coalesce(g.keys, ARRAY[g.key]), g.steps, g.plans) AS u(key, step, planned)
		RETURNING sync
	)
	SELECT b.sync, count(*) FROM back b GROUP BY b.sync;
END;
COMMENT ON FUNCTION activate._outbox_restamp() IS 'private: what a dump carried becomes intents of this transaction, per sync';
REVOKE ALL ON FUNCTION activate._outbox_restamp() FROM PUBLIC;
