-- The grammar of schedules, for declarations, views and tests.

CREATE FUNCTION activate._check_schedule(schedule text) RETURNS void
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'schedule_check';
COMMENT ON FUNCTION activate._check_schedule(text) IS
	'private: error 22023 with the grammar as hint unless the text is a schedule';

CREATE FUNCTION activate._next_tick(schedule text, after timestamptz, zone text DEFAULT NULL) RETURNS timestamptz
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'schedule_next_tick';
COMMENT ON FUNCTION activate._next_tick(text, timestamptz, text) IS
	'private: first tick of a schedule after a time, in a zone (default activate.timezone, else the server''s TimeZone); NULL for @reboot and "after"';

CREATE FUNCTION activate._timetable(setting text) RETURNS TABLE (name text, schedule text)
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'schedule_read_timetable';
COMMENT ON FUNCTION activate._timetable(text) IS 'private: the entries of a value of activate.schedule';

CREATE FUNCTION activate._after_names(schedule text) RETURNS SETOF text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 2
AS 'MODULE_PATHNAME', 'schedule_after_names';
COMMENT ON FUNCTION activate._after_names(text) IS 'private: the names in "after a, b"; none for other schedules';

-- A model that nothing else starts runs after what it reads was written: see activate._after_ready().
CREATE FUNCTION activate._model_schedule(sync bigint) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT 'after ' || string_agg('"' || replace(s.name, '"', '""') || '"', ', ' ORDER BY s.name COLLATE "C")
	  FROM activate._upstream u JOIN activate.sync s ON s.id = u.upstream
	 WHERE u.sync = _model_schedule.sync AND u.starts;
END;
COMMENT ON FUNCTION activate._model_schedule(bigint) IS 'private: after whom a model without a schedule runs; NULL: it does not start by itself';

CREATE FUNCTION activate._schedule_of(name text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(
		(SELECT t.schedule || ' (activate.schedule)'
		   FROM activate._timetable(current_setting('activate.schedule')) t WHERE t.name = _schedule_of.name),
		(SELECT coalesce(s.schedule, activate._model_schedule(s.id) || ' (what it reads)')
		   FROM activate.sync s WHERE s.name = _schedule_of.name));
END;
COMMENT ON FUNCTION activate._schedule_of(text) IS
	'private: the schedule that holds for a sync, followed by "(activate.schedule)" where that setting overrules the declaration, by "(what it reads)" where there is none and its source gives one; NULL: none';

CREATE FUNCTION activate._schedule_unknown(setting text) RETURNS SETOF text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT t.name FROM activate._timetable(setting) t
	 WHERE NOT EXISTS (SELECT FROM activate.sync s WHERE s.name = t.name)
	UNION
	SELECT n FROM activate._timetable(setting) t, activate._after_names(t.schedule) n
	 WHERE NOT EXISTS (SELECT FROM activate.sync s WHERE s.name = n)
	ORDER BY 1;
END;
COMMENT ON FUNCTION activate._schedule_unknown(text) IS
	'private: names in a value of activate.schedule that no sync has';

