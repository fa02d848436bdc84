-- Schedules: the grammar, next ticks (time zones, DST, leap years), the timetable setting.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE SCHEMA schedule_test;
SET search_path = schedule_test, public;

-- The first ticks after a time, as the clock on the wall shows them, with the offset.
CREATE FUNCTION ticks(schedule text, after timestamptz, zone text DEFAULT 'UTC', n integer DEFAULT 3) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	shown text[] := '{}';
	t timestamptz := after;
BEGIN
	PERFORM set_config('timezone', zone, true);
	FOR i IN 1 .. n LOOP
		t := activate._next_tick(schedule, t, zone);
		shown := shown || coalesce(to_char(t, 'Dy MM-DD HH24:MI:SS TZH'), 'never');
		EXIT WHEN t IS NULL;
	END LOOP;
	PERFORM set_config('timezone', 'UTC', true);
	RETURN array_to_string(shown, ' | ');
END
$$;

-- What is wrong with a schedule.
CREATE FUNCTION wrong(schedule text, OUT code text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM activate._check_schedule(schedule);
	code := 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL;
END
$$;

-- Fields: values, ranges, steps, lists, names, seconds.
\set after '''2025-01-01 00:00:00+00'''
SELECT s, ticks(s, :after) FROM unnest(ARRAY[
	'* * * * *', '*/15 * * * *', '5-59/15 * * * *', '50/4 * * * *', '0,30 9-17/4 * * *', '0 3 * * *',
	'0 0 1 */3 *', '0 12 * jan,JUL mon-fri', '0 0 * * Sunday', '0 0 * * 7', '0 0 * * fri-sun', '0 0 * * 1-7/3',
	'*/20 * * * * *', '30 0 0 1 1 *', '  0	3 * *   * ']) WITH ORDINALITY u(s, i) ORDER BY i;

-- Macros and intervals.
SELECT s, ticks(s, '2025-01-01 10:20:30.5+00') FROM unnest(ARRAY[
	'@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@Annually',
	'@every 1s', '@every 90 seconds', '@every 1h 30min', '@every 1d', '@every 00:05', '@every 00:00:10',
	'@every 2 Weeks', '@reboot', 'after a', 'after a, "b, c"']) WITH ORDINALITY u(s, i) ORDER BY i;

-- The last day of the month, the last weekday, leap years.
SELECT s, ticks(s, :after, n => 4) FROM unnest(ARRAY[
	'0 0 L * *', '0 0 1,L * *', '0 0 * * 5L', '0 0 * * friL,monL', '0 0 L 2 *']) WITH ORDINALITY u(s, i) ORDER BY i;
SELECT to_char(activate._next_tick('0 0 29 2 *', y::timestamptz, 'UTC'), 'YYYY-MM-DD') FROM unnest(ARRAY[
	'2023-01-01', '2024-02-29', '2096-03-01', '1999-12-31']) y;

-- Day of month or weekday, both restricted: either; one begins with "*": both.
SELECT s, ticks(s, :after, n => 4) FROM unnest(ARRAY[
	'0 0 13 * fri', '0 0 */2 * fri', '0 0 29 2 */7']) WITH ORDINALITY u(s, i) ORDER BY i;

-- A tick comes strictly after; parts of a second do not count; the epoch is no boundary.
SELECT activate._next_tick('0 3 * * *', '2025-01-01 03:00:00+00', 'UTC'),
	activate._next_tick('0 3 * * *', '2025-01-01 02:59:59.999999+00', 'UTC'),
	activate._next_tick('* * * * * *', '1969-12-31 23:59:59.5+00', 'UTC'),
	activate._next_tick('0 0 1 1 *', '1899-12-31 23:59:59+00', 'UTC');
SELECT activate._next_tick('0 3 * * *', 'infinity', 'UTC'), activate._next_tick('0 3 * * *', NULL, 'UTC'),
	activate._next_tick(NULL, now(), 'UTC'), activate._next_tick('@yearly', '294276-12-31 00:00+00', 'UTC'),
	activate._next_tick('@daily', '4713-01-02 00:00+00 BC', 'UTC');

-- Spring in Berlin: 02:00 to 03:00 of 2025-03-30 does not exist.
SELECT s, ticks(s, '2025-03-29 12:00+01', 'Europe/Berlin') FROM unnest(ARRAY[
	'30 2 * * *', '0,30 2 * * *', '0 3 * * *', '*/20 2 * * *', '15 30 2 * * *', '0 2,3 * * *']) WITH ORDINALITY u(s, i) ORDER BY i;
SELECT s, ticks(s, '2025-03-30 01:20+01', 'Europe/Berlin', 4) FROM unnest(ARRAY[
	'0 * * * *', '*/30 * * * *', '30 */2 * * *', '@every 1h', '0,30 1-4 * * *']) WITH ORDINALITY u(s, i) ORDER BY i;
-- Autumn in Berlin: 02:00 to 03:00 of 2025-10-26 comes twice.
SELECT s, ticks(s, '2025-10-26 00:45+02', 'Europe/Berlin', 5) FROM unnest(ARRAY[
	'30 2 * * *', '0 3 * * *', '0,30 1-3 * * *', '0 * * * *', '*/30 * * * *', '30 */2 * * *', '@every 1h']) WITH ORDINALITY u(s, i) ORDER BY i;
-- ... also when asked within the second of the two hours
SELECT s, ticks(s, '2025-10-26 02:15+01', 'Europe/Berlin') FROM unnest(ARRAY[
	'30 2 * * *', '*/20 2,3 * * *', '0 * * * *']) WITH ORDINALITY u(s, i) ORDER BY i;
-- New York: 2025-03-09 and 2025-11-02; Lord Howe moves by half an hour; Samoa left out a day.
SELECT s, ticks(s, '2025-03-08 12:00-05', 'America/New_York'), ticks(s, '2025-11-01 12:00-04', 'America/New_York')
  FROM unnest(ARRAY['15 2 * * *', '30 1 * * *', '0 0 * * *']) WITH ORDINALITY u(s, i) ORDER BY i;
SELECT ticks('15 2 * * *', '2025-10-04 12:00+10:30', 'Australia/Lord_Howe', 2),
	ticks('45 1 * * *', '2025-04-05 12:00+11', 'Australia/Lord_Howe', 2);
SELECT ticks('0 12 * * *', '2011-12-29 00:00-10', 'Pacific/Apia', 3);
-- A zone without changes, and one by its offset.
SELECT ticks('0 9 * * *', :after, 'Asia/Tokyo', 2), ticks('0 9 * * *', :after, 'EST5', 2);

-- Every day of ten years has its tick, once, in zones that change their clocks.
SELECT zone, count(*), count(DISTINCT (t AT TIME ZONE zone)::date) AS days
  FROM unnest(ARRAY['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe']) zone,
	LATERAL (WITH RECURSIVE r(t) AS (
		SELECT activate._next_tick('30 2 * * *', '2020-01-01 00:00+00', zone)
		UNION ALL SELECT activate._next_tick('30 2 * * *', t, zone) FROM r WHERE t < '2029-12-31 00:00+00')
	SELECT t FROM r) r
 GROUP BY zone ORDER BY zone;

-- Bad input, each with what is wrong.
SELECT s, w.* FROM unnest(ARRAY[
	'', '   ', 'whenever', '* * * *', '* * * * * * *', '60 * * * *', '-1 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *',
	'* * * 13 *', '* * * foo *', '* * * * 8', '* * * * funday', '60 * * * * *', '5-1 * * * *', '1-2-3 * * * *', '*/0 * * * *',
	'*/60 * * * *', '*/x * * * *', '1, * * * *', ',1 * * * *', '*5 * * * *', '1.5 * * * *', '99999999999 * * * *',
	'0 0 30 2 *', '0 0 31 4,6 *', '0 0 */31 * 5L', '0 0 * * L', '0 0 LL * *', 'L * * * *', '0 0 * * 9L',
	'@', '@fortnightly', '@daily 5', '@reboot now', '@every', '@every 0s', '@every 5', '@every 5 months', '@every -5s', '@every 1.5h',
	'@every 00:60', '@every 1:2:3:4', '@every 11 d x', '@every 999999999w', '@every 99999999999s',
	'after', 'after ,', 'after a,', 'after a b, , c', 'after a; b', 'after "a', 'after ""', 'after a"b"', 'after "a" b',
	E'\u00e9t\u00e9 * * * *', repeat('x', 100)]) WITH ORDINALITY u(s, i), wrong(s) w ORDER BY i;
SELECT w.* FROM unnest(ARRAY['after a b', 'AFTER "a ""quoted"" one",b', 'after"a"']) s, wrong(s) w;
SELECT activate._check_schedule('0 25 * * *');
SELECT activate._next_tick('0 3 * * *', now(), 'Mars/Olympus');

-- Names in "after".
SELECT n FROM activate._after_names(E'after  two words ,"a, ""b""; c",\u00fcber') n;

-- The timetable: who is overruled by what.
SELECT * FROM activate._timetable('a: 0 3 * * *; "b: c; d" : OFF ;; e f: after a, "b: c; d"; ');
SET activate.schedule = 'a: 0 3 * * *; "b:c": off';
SET activate.schedule = 'a: b after c; d: @daily';
SET activate.schedule = 'a 0 3 * * *';
SET activate.schedule = 'a:';
SET activate.schedule = ': @daily';
SET activate.schedule = 'a: @daily; b: @hourly; a: off';
SET activate.schedule = '"a: @daily';
SET activate.schedule = 'a: @daily, b: @daily';
SHOW activate.schedule;
SELECT n FROM activate._schedule_unknown('a: @daily; b: after c, d') n;

-- The sync's own schedule, and what overrules it.
BEGIN;
INSERT INTO activate.sync (name, source, target, mode, capture, schedule, owner, kind, search_path)
SELECT 'schedule test ' || i, 'VALUES (1)', 't', 'upsert', 'diff', s, current_user, 'local', 'public'
  FROM unnest(ARRAY['0 3 * * *', 'after "schedule test 1", nobody', NULL]) WITH ORDINALITY u(s, i);
SET activate.schedule = 'schedule test 1: @hourly; schedule test 3: off';
SELECT i, activate._schedule_of('schedule test ' || i) FROM generate_series(1, 4) i;
SELECT name, state FROM activate.stat_sync WHERE name LIKE 'schedule test %' ORDER BY name;
RESET activate.schedule;
SELECT i, activate._schedule_of('schedule test ' || i) FROM generate_series(1, 3) i;
ROLLBACK;

-- Zone and numbers.
SET activate.timezone = 'Europe/Berlin';
SELECT activate._next_tick('0 9 * * *', '2025-07-01 00:00+00'), activate._next_tick('0 9 * * *', '2025-01-01 00:00+00');
SET activate.timezone = 'Mars/Olympus';
RESET activate.timezone;
SET activate.runners = 0;
SET activate.deliverers = 9;
-- in other words from PostgreSQL 17 on
\set VERBOSITY sqlstate
SET activate.receipt_retention = '-1d';
\set VERBOSITY default
SELECT name, setting, unit, min_val, max_val, context FROM pg_settings
 WHERE name IN ('activate.schedule', 'activate.timezone', 'activate.runners', 'activate.deliverers',
	'activate.receipt_retention', 'activate.run_retention') ORDER BY name;
SHOW activate.receipt_retention;
SHOW activate.run_retention;

-- Chains: to apply what a trigger has queued is no start, so what came true before still counts.
BEGIN;
SELECT activate_sync('chain a', 'SELECT 1 AS id', 'chain_a', key => 'id') > 0,
	activate_sync('chain b', 'SELECT 1 AS id', 'chain_b', key => 'id', schedule => 'after "chain a"') > 0;
INSERT INTO activate._tick SELECT id, now(), '' FROM activate.sync WHERE name = 'chain b';
INSERT INTO activate.run (sync, status, started_at, finished_at)
	SELECT id, 'succeeded', clock_timestamp(), clock_timestamp() + interval '1 second' FROM activate.sync WHERE name = 'chain a';
SELECT count(*) FROM activate._after_ready('');
INSERT INTO activate.run (sync, status, started_at, queued)
	SELECT id, 'succeeded', clock_timestamp() + interval '2 seconds', true FROM activate.sync WHERE name = 'chain b';
SELECT count(*) FROM activate._after_ready('');
INSERT INTO activate.run (sync, status, started_at)
	SELECT id, 'succeeded', clock_timestamp() + interval '3 seconds' FROM activate.sync WHERE name = 'chain b';
SELECT count(*) FROM activate._after_ready('');
ROLLBACK;

-- Not for everybody.
CREATE ROLE schedule_nobody;
SET ROLE schedule_nobody;
SET activate.schedule = '';
SELECT activate._next_tick('@daily', '2025-01-01 00:00+00', 'UTC');
SELECT * FROM activate._plan('', 'UTC', now());
RESET ROLE;
DROP ROLE schedule_nobody;
SET client_min_messages = warning;
DROP SCHEMA schedule_test CASCADE;
