CREATE FUNCTION activate._shared_runs(
	OUT run				bigint,
	OUT sync			bigint,
	OUT pid				integer,
	OUT started_at		timestamptz,
	OUT phase			text,
	OUT rows_read		bigint,
	OUT rows_written	bigint,
	OUT rows_expected	bigint,
	OUT bytes_read		bigint
) RETURNS SETOF record
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_shared_runs';
COMMENT ON FUNCTION activate._shared_runs() IS
	'private: running runs of this database that the current user may watch, from shared memory';

CREATE FUNCTION activate._shared_targets(
	OUT server			oid,
	OUT role			oid,
	OUT state			text,
	OUT since			timestamptz,
	OUT next_probe		timestamptz,
	OUT in_flight		integer,
	OUT requests		bigint,
	OUT failures		bigint,
	OUT quota			bigint,
	OUT reason			text
) RETURNS SETOF record
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_shared_targets';
COMMENT ON FUNCTION activate._shared_targets() IS
	'private: targets of this database that the current user may watch, as their deliverers see them, from shared memory';

-- The views read with the rights of the extension and show to each what is
-- theirs: figures and states, never rows.  So pg_monitor may see all of it.
CREATE FUNCTION activate._may_watch(owner name) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT activate._may_see(owner) OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
END;
COMMENT ON FUNCTION activate._may_watch(name) IS 'private: may the current role see figures of what that role owns';

CREATE VIEW activate.stat_run WITH (security_barrier = true) AS
SELECT r.run, r.sync, s.name, r.phase, r.pid, r.started_at, r.rows_read, r.rows_written, r.rows_expected, r.bytes_read,
	-- who reads a hundredth more than was expected is not done; after reading there is writing
	CASE WHEN r.rows_expected > 0 THEN least(99, r.rows_read * 100 / r.rows_expected)::integer END AS percent,
	CASE WHEN r.rows_read > 0 AND r.rows_expected > 0 THEN
		clock_timestamp() + greatest(r.rows_expected - r.rows_read, 0)::float8 / r.rows_read * (clock_timestamp() - r.started_at) END AS eta
  FROM activate._shared_runs() r JOIN activate.sync s ON s.id = r.sync;
COMMENT ON VIEW activate.stat_run IS
	'runs that are going on: where each stands at this moment; percent and eta are of the rows that a load is expected to read';

CREATE VIEW activate.stat_target WITH (security_barrier = true) AS
SELECT s.srvname AS name,
	CASE WHEN t.role = 0 THEN 'public' ELSE (SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.oid = t.role) END AS role,
	CASE WHEN p.server IS NOT NULL THEN 'paused' ELSE coalesce(t.state, 'up') END AS state,
	coalesce(p.paused_at, t.since) AS since,
	CASE WHEN p.server IS NULL THEN t.next_probe END AS next_probe,
	coalesce(t.in_flight, 0) AS in_flight,
	coalesce(t.requests, 0) AS requests,
	coalesce(t.failures, 0) AS failures,
	t.quota,
	-- a target's words may quote what it was sent: not for who only watches
	CASE WHEN p.server IS NOT NULL THEN format('paused by %s', p.paused_by) WHEN mine.may_use THEN t.reason END AS reason
  FROM pg_catalog.pg_foreign_server s
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'activate'
  LEFT JOIN activate._shared_targets() t ON t.server = s.oid
  LEFT JOIN activate._paused_target p ON p.server = s.srvname
 CROSS JOIN LATERAL (
	SELECT pg_catalog.has_server_privilege(s.oid, 'USAGE') OR pg_catalog.pg_has_role('activate_admin', 'USAGE') AS may_use) mine
 WHERE mine.may_use OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW activate.stat_target IS
	'web APIs: up, down (no answer), auth (refused the secret), config (asks for a change of how it is set up), throttled or paused; requests and failures since the deliverer '
	'started; quota: calls that are left, as the last answer that told it said';

-- One line per sync, and one for each name that activate.schedule knows alone.
-- Counts are since the declaration, percentiles of the newest receipts: a look
-- costs the same however many of those are kept.
CREATE VIEW activate.stat_sync WITH (security_barrier = true) AS
SELECT s.name,
	CASE
		WHEN s.paused THEN 'paused' || CASE WHEN activate._may_see(s.owner) THEN coalesce(': ' || s.pause_reason, '') ELSE '' END
		WHEN activate._installation() = 'copy' THEN 'copy: waits for activate_adopt()'
		WHEN NOT current_setting('activate.enabled')::boolean THEN 'disabled'
		WHEN p.server IS NOT NULL THEN 'target paused'
		WHEN gate.sync IS NOT NULL THEN 'held' || CASE WHEN activate._may_see(s.owner) THEN ': ' || gate.reason ELSE '' END
		WHEN t.state = 'config' AND activate._may_see(s.owner) THEN 'target config' || coalesce(': ' || t.reason, '')
		WHEN t.state <> 'up' THEN 'target ' || t.state
		WHEN run.status = 'running' THEN 'running'
		WHEN lost.names IS NOT NULL THEN 'schedule waits for unknown sync ' || lost.names
		-- what it read held it then, and does no more: it runs again
		WHEN run.status = 'held' AND run.error NOT LIKE 'expectation %' OR run.status = 'held' AND run.error IS NULL OR o.held > 0 THEN 'held' || CASE WHEN activate._may_see(s.owner) THEN coalesce(': ' || run.error, '') ELSE '' END
		WHEN run.status = 'failed' THEN 'failed'
		ELSE 'ok'
	END AS state,
	o.pending,
	coalesce(t.in_flight, 0) + (SELECT count(*) FROM activate._job b WHERE b.sync = s.id)::integer AS in_flight,
	coalesce(y.delivered, 0) AS delivered,
	(SELECT count(*) FROM activate.rejection j WHERE j.sync = s.id) AS rejected,
	coalesce(y.retried, 0) AS retried,
	coalesce(y.requests, 0) AS requests,
	run.started_at AS last_run,
	(SELECT u.finished_at FROM activate.run u WHERE u.sync = s.id AND u.status = 'succeeded'
	  ORDER BY u.finished_at DESC LIMIT 1) AS last_success,
	clock_timestamp() - o.oldest AS lag,
	l.p50_ms,
	l.p99_ms
  FROM activate.sync s
  LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = s.target_rel AND s.kind = 'api'
  LEFT JOIN pg_catalog.pg_foreign_server v ON v.oid = f.ftserver
  LEFT JOIN activate._paused_target p ON p.server = v.srvname
  LEFT JOIN (SELECT x.server, sum(x.in_flight)::integer AS in_flight, min(x.state) FILTER (WHERE x.state <> 'up') AS state,
				min(x.reason) FILTER (WHERE x.state = 'config') AS reason
			   FROM activate._shared_targets() x GROUP BY x.server) t ON t.server = v.oid
 CROSS JOIN LATERAL (
	SELECT coalesce(sum(coalesce(cardinality(b.keys), 1)), 0)::bigint AS pending, count(*) FILTER (WHERE b.held) AS held,
		min(b.enqueued_at) AS oldest
	  FROM activate._outbox b WHERE b.sync = s.id) o
  LEFT JOIN activate._tally y ON y.sync = s.id
  LEFT JOIN activate._gate gate ON gate.sync = s.id AND gate.reason IS NOT NULL
 CROSS JOIN LATERAL (
	SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY u.latency)::numeric / 1000, 1) AS p50_ms,
		round(percentile_cont(0.99) WITHIN GROUP (ORDER BY u.latency)::numeric / 1000, 1) AS p99_ms
	  FROM (SELECT e.latencies, e.outcome FROM activate._receipt e WHERE e.sync = s.id ORDER BY e.newest DESC LIMIT 100) c
	 CROSS JOIN LATERAL unnest(c.latencies) u(latency)
	 WHERE c.outcome IN ('delivered', 'warned')) l
  LEFT JOIN LATERAL (
	SELECT u.status, u.started_at, CASE WHEN u.status = 'held' THEN u.error END AS error FROM activate.run u WHERE u.sync = s.id ORDER BY u.id DESC LIMIT 1) run ON true
 CROSS JOIN LATERAL (
	SELECT string_agg(format('"%s"', n.name), ', ' ORDER BY n.name) AS names
	  FROM coalesce((SELECT y.schedule FROM activate._timetable(current_setting('activate.schedule')) y WHERE y.name = s.name),
			s.schedule) e(schedule),
		activate._after_names(e.schedule) n(name)
	 WHERE e.schedule IS NOT NULL AND NOT EXISTS (SELECT FROM activate.sync z WHERE z.name = n.name)) lost
 WHERE activate._may_watch(s.owner)
UNION ALL
SELECT y.name, 'unknown sync in activate.schedule', 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL
  FROM activate._timetable(current_setting('activate.schedule')) y
 WHERE NOT EXISTS (SELECT FROM activate.sync z WHERE z.name = y.name)
   AND (pg_catalog.pg_has_role('activate_admin', 'USAGE') OR pg_catalog.pg_has_role('pg_monitor', 'USAGE'));
COMMENT ON VIEW activate.stat_sync IS
	'one line per sync: state, what is pending, what was delivered, how long it takes; in_flight is that of its target, and its jobs';

-- What an API calls a job is for who owns the sync: it may be asked for there.
CREATE VIEW activate.stat_job WITH (security_barrier = true) AS
SELECT s.name, CASE WHEN activate._may_see(s.owner) THEN j.handle END AS handle, j.state, cardinality(j.covered) AS rows, j.submitted_at,
	j.deadline
  FROM activate._job j JOIN activate.sync s ON s.id = j.sync
 WHERE activate._may_watch(s.owner);
COMMENT ON VIEW activate.stat_job IS
	'jobs that APIs have accepted and not yet carried out: what the API calls each, the state that it told last, until when it is waited for';

GRANT SELECT ON activate.stat_run, activate.stat_target, activate.stat_sync, activate.stat_job TO PUBLIC;
