-- What the worker of a database asks of the catalog: see src/schedule/plan.c.

CREATE FUNCTION activate._worker_state(OUT declared boolean, OUT deliver boolean, OUT installation text)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM activate.sync) OR EXISTS (SELECT FROM activate._outbox),
		EXISTS (SELECT FROM activate.sync s
			 WHERE s.kind = 'api' AND (NOT s.paused OR EXISTS (SELECT FROM activate._outbox o WHERE o.sync = s.id))),
		activate._installation();
END;
COMMENT ON FUNCTION activate._worker_state() IS
	'private: is there anything to work for, anything to deliver, and may this installation do it';
REVOKE ALL ON FUNCTION activate._worker_state() FROM PUBLIC;

-- Before anything is sent.
CREATE FUNCTION activate._note_origin() RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, activate, pg_temp
AS $$
DECLARE
	before text := (SELECT i.origin FROM activate._identity i);
	back boolean := activate._set_back(before);
BEGIN
	IF before <> activate._origin() THEN
		PERFORM activate._new_life(back);
		UPDATE activate._identity SET origin = activate._origin();
	END IF;
	RETURN back;
END
$$;
COMMENT ON FUNCTION activate._note_origin() IS
	'private: notices a promotion or a restored backup; has the database been set back to an earlier moment by it';
REVOKE ALL ON FUNCTION activate._note_origin() FROM PUBLIC;

CREATE FUNCTION activate._login(owner name, OUT role oid, OUT login boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(r.oid, 0), coalesce(r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT'), false)
	  FROM (SELECT) one LEFT JOIN pg_catalog.pg_roles r ON r.rolname = owner;
END;
COMMENT ON FUNCTION activate._login(name) IS 'private: the role (0: gone), and may a runner connect as it';
REVOKE ALL ON FUNCTION activate._login(name) FROM PUBLIC;

-- Syncs to tables that have a trigger; and those that had one, and keys since.
-- And who is held by an expectation, so that somebody looks whether it is still.
CREATE FUNCTION activate._queues() RETURNS TABLE (sync bigint, owner oid, login boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.id, l.role, l.login FROM activate.sync s, activate._login(s.owner) l
	 WHERE NOT s.paused
	   AND ((s.kind <> 'api' AND (s.capture = 'trigger' OR EXISTS (SELECT FROM activate._outbox o WHERE o.sync = s.id AND NOT o.held)))
			OR EXISTS (SELECT FROM activate._gate g WHERE g.sync = s.id));
END;
COMMENT ON FUNCTION activate._queues() IS 'private: syncs to tables whose changed keys are queued and applied by runners';
REVOKE ALL ON FUNCTION activate._queues() FROM PUBLIC;

-- A minute later, or when another sync has written what it reads since; at once
-- where it is open again and a run is to be made up for.
CREATE FUNCTION activate._gate_due(sync bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (
		SELECT FROM activate._gate g
		 WHERE g.sync = _gate_due.sync
		   AND (g.reason IS NULL OR g.looked_at < clock_timestamp() - interval '1 minute'
				OR EXISTS (SELECT FROM activate.sync w JOIN activate.run r ON r.sync = w.id
							WHERE w.target_rel::oid = ANY (g.relations) AND r.status = 'succeeded' AND r.finished_at > g.looked_at)));
END;
COMMENT ON FUNCTION activate._gate_due(bigint) IS 'private: is it time to look whether an expectation holds that sync still';
REVOKE ALL ON FUNCTION activate._gate_due(bigint) FROM PUBLIC;

-- Deletes that are held may be many, and are older than what comes: "since" is
-- the "until" of a look that found nothing.  What was written by a transaction
-- before that was seen then.
CREATE FUNCTION activate._queued(syncs bigint[], since xid8[]) RETURNS TABLE (sync bigint, queued boolean, until xid8)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT u.sync, CASE WHEN g.sync IS NULL THEN
			EXISTS (SELECT FROM activate._outbox o WHERE o.sync = u.sync AND o.xid >= u.since AND NOT o.held OFFSET 0)
		ELSE activate._gate_due(g.sync) END,
		CASE WHEN g.sync IS NULL THEN pg_snapshot_xmin(pg_current_snapshot()) ELSE u.since END
	  FROM unnest(syncs, _queued.since) u(sync, since) LEFT JOIN activate._gate g ON g.sync = u.sync;
END;
COMMENT ON FUNCTION activate._queued(bigint[], xid8[]) IS 'private: for which of these syncs are keys queued';
REVOKE ALL ON FUNCTION activate._queued(bigint[], xid8[]) FROM PUBLIC;

-- _tick has a row for each sync that is scheduled at this moment.  It is made
-- anew when the sync gets another schedule, another zone, or is resumed: ticks
-- from before that are not missed ones.  A time in the future means that the
-- clock was set back.
CREATE FUNCTION activate._plan(setting text, zone text, moment timestamptz)
RETURNS TABLE (sync bigint, name text, owner oid, login boolean, schedule text, last timestamptz, model boolean)
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	WITH plan AS (
		SELECT s.id, coalesce(t.schedule, s.schedule, activate._model_schedule(s.id)) AS schedule
		  FROM activate.sync s LEFT JOIN activate._timetable(setting) t ON t.name = s.name
		 WHERE NOT s.paused AND NOT s.implicit AND lower(coalesce(t.schedule, s.schedule, activate._model_schedule(s.id))) <> 'off'
	), gone AS (
		DELETE FROM activate._tick t WHERE NOT EXISTS (SELECT FROM plan p WHERE p.id = t.sync)
	)
	INSERT INTO activate._tick AS t (sync, last, basis)
	SELECT p.id, moment, format('%s in %s', p.schedule, zone) FROM plan p
	 WHERE NOT EXISTS (SELECT FROM activate._tick o
						WHERE o.sync = p.id AND o.last <= moment AND o.basis = format('%s in %s', p.schedule, zone))
	ON CONFLICT (sync) DO UPDATE SET last = excluded.last, basis = excluded.basis;

	-- what has lost its schedule since the statement before is none
	SELECT s.id, s.name, l.role, l.login, p.schedule, k.last, coalesce(t.schedule, s.schedule) IS NULL
	  FROM activate._tick k JOIN activate.sync s ON s.id = k.sync
	  LEFT JOIN activate._timetable(setting) t ON t.name = s.name
	 CROSS JOIN activate._login(s.owner) l
	 CROSS JOIN LATERAL (SELECT coalesce(t.schedule, s.schedule, activate._model_schedule(s.id)) AS schedule) p
	 WHERE p.schedule IS NOT NULL
	 ORDER BY s.id;
END;
COMMENT ON FUNCTION activate._plan(text, text, timestamptz) IS
	'private: the scheduled syncs and their last ticks; records the moment as last tick of those that are new';
REVOKE ALL ON FUNCTION activate._plan(text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION activate._tick_taken(sync bigint, moment timestamptz) RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	UPDATE activate._tick SET last = moment WHERE _tick.sync = _tick_taken.sync;
END;
COMMENT ON FUNCTION activate._tick_taken(bigint, timestamptz) IS
	'private: the tick at that moment has been answered, whatever comes of it';
REVOKE ALL ON FUNCTION activate._tick_taken(bigint, timestamptz) FROM PUBLIC;

-- Each of those named after "after" has had a succeeded run finished since the
-- last start of this one (since its declaration, if there was none).  To apply
-- what was queued for it is no such start.  A model without a schedule may start
-- when one of those that write what it reads has had such a run, unless
-- another of them has failed, or is held: then it waits for that one to be mended.
CREATE FUNCTION activate._after_ready(setting text) RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT me.id
	  FROM (SELECT s.id, coalesce(t.schedule, s.schedule) AS schedule, s.options->>'after' AS after,
				coalesce((SELECT r.started_at FROM activate.run r WHERE r.sync = s.id AND NOT r.queued ORDER BY r.id DESC LIMIT 1),
					s.declared_at) AS since
			  FROM activate._tick k JOIN activate.sync s ON s.id = k.sync
			  LEFT JOIN activate._timetable(setting) t ON t.name = s.name) me,
		activate._after_names(me.schedule) n LEFT JOIN activate.sync d ON d.name = n
	 GROUP BY me.id
	HAVING bool_and(d.id IS NOT NULL
			AND EXISTS (SELECT FROM activate.run r
						 WHERE r.sync = d.id AND r.status = 'succeeded' AND r.finished_at > me.since)
			AND (me.after IS DISTINCT FROM 'delivered'
				 OR NOT EXISTS (SELECT FROM activate._outbox o WHERE o.sync = d.id)))
	UNION ALL
	SELECT me.id
	  FROM (SELECT s.id, coalesce((SELECT r.started_at FROM activate.run r WHERE r.sync = s.id AND NOT r.queued ORDER BY r.id DESC LIMIT 1),
				s.declared_at) AS since
			  FROM activate._tick k JOIN activate.sync s ON s.id = k.sync
			  LEFT JOIN activate._timetable(setting) t ON t.name = s.name
			 WHERE coalesce(t.schedule, s.schedule) IS NULL) me
	 CROSS JOIN LATERAL (
		SELECT bool_or(EXISTS (SELECT FROM activate.run r
				 WHERE r.sync = d.id AND r.status = 'succeeded' AND r.finished_at > me.since)) AS news,
			bool_or(NOT d.paused AND (SELECT r.status FROM activate.run r WHERE r.sync = d.id AND r.status <> 'running'
				 ORDER BY r.id DESC LIMIT 1) IN ('failed', 'held')) AS broken
		  FROM activate._upstream u JOIN activate.sync d ON d.id = u.upstream
		 WHERE u.sync = me.id AND u.starts) up
	 WHERE up.news AND up.broken IS NOT TRUE;
END;
COMMENT ON FUNCTION activate._after_ready(text) IS 'private: the syncs that run after others, and may start now';
REVOKE ALL ON FUNCTION activate._after_ready(text) FROM PUBLIC;

-- A chain is looked at again only if it has been started: a run by hand may
-- hold the sync, and its row is not to be seen yet.
CREATE FUNCTION activate._runner_result(sync bigint, tick timestamptz, spawned timestamptz,
	OUT taken boolean, OUT started boolean, OUT failed boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT NOT EXISTS (SELECT FROM activate._tick t WHERE t.sync = _runner_result.sync AND t.last < tick),
		coalesce(r.started_at >= spawned, false), coalesce(r.status = 'failed', false)
	  FROM (SELECT) one LEFT JOIN LATERAL (
		SELECT u.started_at, u.status FROM activate.run u WHERE u.sync = _runner_result.sync ORDER BY u.id DESC LIMIT 1) r ON true;
END;
COMMENT ON FUNCTION activate._runner_result(bigint, timestamptz, timestamptz) IS
	'private: did a runner come as far as to answer its tick, has a run begun since it was spawned, has the last one failed';
REVOKE ALL ON FUNCTION activate._runner_result(bigint, timestamptz, timestamptz) FROM PUBLIC;

-- A process number comes again, so the process must have been there when the
-- run began.
CREATE FUNCTION activate._runs_left_behind() RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT r.id FROM activate.run r
	 WHERE r.status = 'running'
	   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
						WHERE a.pid = r.pid AND a.backend_start <= r.started_at)
	 ORDER BY r.id;
END;
COMMENT ON FUNCTION activate._runs_left_behind() IS 'private: runs that are "running" though their process is gone';
REVOKE ALL ON FUNCTION activate._runs_left_behind() FROM PUBLIC;
