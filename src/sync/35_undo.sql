-- activate_undo(): see undo.c.

-- API: Private.  Per key that a run changed in the target, or is about to, what
-- is to be enqueued so that the target holds again what it held before; and that
-- what is taken back is not sent again by itself (SEMANTICS 9): a rejection of it.
-- actions: u enqueue; w enqueue, but no message of the run is known to have gone out, so that it may be
-- found that there is nothing to restore; c left, because something has changed the key since; n left, because the run was the first to
-- send it; x left, because what was there before is not known, or cannot be written.
-- "did": what the run's message has done, s sent a row, d deleted it.
CREATE FUNCTION activate._take_back(sync bigint, run bigint, restore "char", may_delete boolean)
RETURNS TABLE (action "char", key jsonb, op "char", body jsonb, hash bigint, did "char")
LANGUAGE sql
SET jit = off
SET enable_nestloop = off		-- tempting where there are no statistics yet, and each side has as many rows as the run
BEGIN ATOMIC
	WITH pending AS MATERIALIZED (
		SELECT DISTINCT ON (o.key) o.key, o.run IS NOT DISTINCT FROM _take_back.run AS ours, o.undo IS NOT NULL AS undo, o.op, o.planned
		  FROM activate._intent o WHERE o.sync = _take_back.sync AND NOT o.held AND o.op <> 't'
		 ORDER BY o.key, o.id DESC),
	-- whose last message was the run's; then what a message of the run has deleted, or something has changed since
	done AS (
		SELECT t.key, 's' AS did, t.hash AS withdrawn, u.digest IS NOT NULL AS known, u.image, u.hash
		  FROM activate._sent t
		  LEFT JOIN activate._undo u ON u.sync = t.sync AND u.run = t.run AND u.digest = t.digest
		 WHERE t.sync = _take_back.sync AND t.run = _take_back.run
		UNION ALL
		SELECT u.key, CASE WHEN u.deleted AND t.sync IS NULL THEN 'd' END, NULL, true, u.image, u.hash
		  FROM activate._undo u
		  LEFT JOIN activate._sent t ON t.sync = u.sync AND t.digest = u.digest
		 WHERE u.sync = _take_back.sync AND u.run = _take_back.run AND t.run IS DISTINCT FROM u.run),
	judged AS (
		SELECT CASE WHEN d.did IS NULL OR NOT coalesce(p.ours, true) THEN 'c' WHEN NOT d.known AND NOT may_delete THEN 'n'
				WHEN d.known AND (d.image IS NULL OR restore IS NULL) THEN 'x' ELSE 'u' END AS action,
			d.key, CASE WHEN d.known THEN restore ELSE 'd' END AS op, d.image, d.hash, d.did, d.withdrawn
		  FROM done d LEFT JOIN pending p ON p.key = d.key
		 WHERE NOT coalesce(p.ours AND p.undo, false)
		UNION ALL
		SELECT 'w', p.key,
			CASE WHEN t.sync IS NULL AND may_delete AND p.op <> 'd' THEN 'd' WHEN t.image IS NOT NULL AND restore IS NOT NULL THEN restore ELSE 'c' END,
			CASE WHEN restore IS NOT NULL THEN t.image END, t.hash, CASE WHEN p.op = 'd' THEN 'd' ELSE 's' END, p.planned
		  FROM pending p
		  LEFT JOIN activate._sent t ON t.sync = _take_back.sync AND t.digest = activate._key_digest(p.key)
		 WHERE p.ours AND NOT p.undo AND t.run IS DISTINCT FROM _take_back.run),
	plan AS MATERIALIZED (SELECT * FROM judged),
	-- of an undo that was refused, and is tried once more
	forgiven AS (
		DELETE FROM activate.rejection r USING plan p
		 WHERE p.action = 'u' AND r.sync = _take_back.sync AND r.key = p.key AND r.code IS DISTINCT FROM 'undone' AND r.hash = p.hash),
	-- of what was taken back before nothing was sent since: that is what the source may still hold
	rejected AS (
		INSERT INTO activate.rejection (sync, key, op, code, reason, hash)
		SELECT s.id, p.key, CASE WHEN p.did = 'd' THEN 'delete' ELSE activate._mode_op(s.mode) END, 'undone',
			format('run %s was undone', _take_back.run),
			CASE WHEN p.did = 's' AND (p.action = 'u' OR s.capture <> 'cursor') THEN p.withdrawn END
		  FROM plan p JOIN activate.sync s ON s.id = _take_back.sync
		 WHERE p.action IN ('u', 'w')
			AND NOT EXISTS (SELECT FROM activate.rejection r WHERE r.sync = s.id AND r.key = p.key AND r.code = 'undone'))
	SELECT p.action::"char", p.key, p.op::"char", p.image, p.hash, p.did::"char" FROM plan p;
END;
COMMENT ON FUNCTION activate._take_back(bigint, bigint, "char", boolean) IS
	'private: what to enqueue so that a target holds what it held before a run, and rejections of what is taken back';
REVOKE ALL ON FUNCTION activate._take_back(bigint, bigint, "char", boolean) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._undo_discard_held(sync bigint, run bigint) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM activate._outbox o WHERE o.sync = _undo_discard_held.sync AND o.held AND o.run = _undo_discard_held.run RETURNING 1)
	SELECT count(*) FROM gone;
END;
COMMENT ON FUNCTION activate._undo_discard_held(bigint, bigint) IS 'private: throws held deletes of a run away; how many';
REVOKE ALL ON FUNCTION activate._undo_discard_held(bigint, bigint) FROM PUBLIC;

-- API: Private.
CREATE FUNCTION activate._newest_runs(sync bigint) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(r.id::text, ', ' ORDER BY r.id DESC)
	  FROM (SELECT t.id FROM activate.run t WHERE t.sync = _newest_runs.sync ORDER BY t.id DESC LIMIT 5) r;
END;
COMMENT ON FUNCTION activate._newest_runs(bigint) IS 'private: some runs of a sync that are remembered, for hints; NULL: there is none';
REVOKE ALL ON FUNCTION activate._newest_runs(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_undo(name text, run bigint, deletes boolean DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_undo';
COMMENT ON FUNCTION @extschema@.activate_undo(text, bigint, boolean) IS
	'restores in a web API what it held before a run, unless something has changed it since; for how many keys';
