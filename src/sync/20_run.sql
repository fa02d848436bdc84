CREATE FUNCTION activate._run_record(
	run			bigint,
	status		text,
	read		bigint,
	inserted	bigint,
	updated		bigint,
	deleted		bigint,
	rejected	bigint,
	error		text
) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate.run r
	   SET status = _run_record.status, finished_at = CASE WHEN _run_record.status <> 'running' THEN clock_timestamp() END, rows_read = read, rows_inserted = inserted,
		rows_updated = updated, rows_deleted = deleted, rows_rejected = rejected, error = _run_record.error
	 WHERE r.id = run;
END;
COMMENT ON FUNCTION activate._run_record(bigint, text, bigint, bigint, bigint, bigint, bigint, text) IS
	'private: the outcome of a run, or of its chunks so far';
REVOKE ALL ON FUNCTION activate._run_record(bigint, text, bigint, bigint, bigint, bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION activate._run_start(sync bigint) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_run_start';
COMMENT ON FUNCTION activate._run_start(bigint) IS
	'private: for runners, a new run that is "running"; NULL: the sync is paused, gone or running already';
REVOKE ALL ON FUNCTION activate._run_start(bigint) FROM PUBLIC;

CREATE FUNCTION activate._run_execute(run bigint, queued boolean DEFAULT false) RETURNS boolean
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_run_execute';
COMMENT ON FUNCTION activate._run_execute(bigint, boolean) IS
	'private: for runners, does the work of a started run or a chunk of it (true: there is more); queued: only what a trigger has queued for a table';
REVOKE ALL ON FUNCTION activate._run_execute(bigint, boolean) FROM PUBLIC;

CREATE FUNCTION activate._run_failed(run bigint, error text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate.run r
	   SET status = 'failed', finished_at = clock_timestamp(), error = _run_failed.error
	 WHERE r.id = run AND r.status = 'running';
END;
COMMENT ON FUNCTION activate._run_failed(bigint, text) IS 'private: for runners, a started run that could not be finished';
REVOKE ALL ON FUNCTION activate._run_failed(bigint, text) FROM PUBLIC;

-- The snapshot comes from the caller: all of it is one look.
-- Asked again and again while somebody waits, so it stops at the first row;
-- what is held is counted only when nothing else is pending.
CREATE FUNCTION activate._pending(sync bigint, seen text, OUT waiting boolean, OUT held bigint, OUT snapshot text)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT w.waiting,
		CASE WHEN w.waiting THEN 0 ELSE (
			SELECT count(*) FROM activate._outbox o
			 WHERE o.sync = _pending.sync AND o.held
			   AND (seen IS NULL OR pg_visible_in_snapshot(o.xid, seen::pg_snapshot))) END,
		pg_current_snapshot()::text
	  FROM (SELECT EXISTS (
			SELECT FROM activate._outbox o
			 WHERE o.sync = _pending.sync AND NOT o.held
			   AND (seen IS NULL OR pg_visible_in_snapshot(o.xid, seen::pg_snapshot)))) w(waiting);
END;
COMMENT ON FUNCTION activate._pending(bigint, text) IS
	'private: is any intent of a sync that a snapshot saw (NULL: that there is now) still waiting; if none is, how many are held';
REVOKE ALL ON FUNCTION activate._pending(bigint, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_run(name text, "full" boolean DEFAULT false) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_run';
COMMENT ON FUNCTION @extschema@.activate_run(text, boolean) IS
	'runs a sync now, in this transaction: enqueues what changed (web API) or loads it (tables); the run''s id';

CREATE FUNCTION @extschema@.activate_wait(name text, timeout interval DEFAULT '1 minute') RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_wait';
COMMENT ON FUNCTION @extschema@.activate_wait(text, interval) IS
	'waits until what is committed by now is delivered or rejected; false at the timeout, or at once if nothing is being sent';

CREATE FUNCTION @extschema@.activate_explain(name text) RETURNS SETOF text
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_explain';
COMMENT ON FUNCTION @extschema@.activate_explain(text) IS 'what a run of the sync would do: changes, batches, calls, bytes, quota, time';
