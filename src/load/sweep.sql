-- Deletes that a cursor does not see (options.sweep): now and then a run also
-- compares the keys of the source with those of the target.

CREATE FUNCTION activate._sweep_is_cron(sweep text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT
RETURN left(sweep, 1) = '@' OR (cardinality(regexp_split_to_array(btrim(sweep), '\s+')) >= 5
	-- an interval of many words: '1 day 2 hours 30 minutes'
	AND (regexp_split_to_array(btrim(sweep), '\s+'))[2] !~ '^[[:alpha:]]');
COMMENT ON FUNCTION activate._sweep_is_cron(text) IS 'private: is it a cron expression; else an interval';
REVOKE ALL ON FUNCTION activate._sweep_is_cron(text) FROM PUBLIC;

CREATE FUNCTION activate._sweep_due(sync bigint, sweep text, everything boolean) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT sweep IS NOT NULL AND (everything OR NOT EXISTS (
		SELECT FROM activate._watermark w
		 WHERE w.sync = _sweep_due.sync AND w.swept_at IS NOT NULL
		   AND CASE WHEN activate._sweep_is_cron(sweep) THEN activate._next_tick(sweep, w.swept_at) ELSE w.swept_at + sweep::interval END
			> clock_timestamp() + coalesce(current_setting('activate.clock_offset', true), '0')::interval));
END;
COMMENT ON FUNCTION activate._sweep_due(bigint, text, boolean) IS 'private: does the next run look for what is gone';
REVOKE ALL ON FUNCTION activate._sweep_due(bigint, text, boolean) FROM PUBLIC;

-- The keys that are there, whatever their cursor says; those just read are not
-- gone, whichever of the two readings of another server saw them.
CREATE FUNCTION activate._sweep_present(sync activate.sync, query text, alive text) RETURNS text
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT format('present AS MATERIALIZED (SELECT %1$s FROM (%2$s) q WHERE true%3$s UNION ALL SELECT %1$s FROM raw q WHERE true%3$s)',
			string_agg('q.v' || p, ', ' ORDER BY i), query, alive)
	  FROM unnest((sync).target_key) WITH ORDINALITY u(k, i), array_position((sync).columns, k) p;
END;
COMMENT ON FUNCTION activate._sweep_present(activate.sync, text, text) IS 'private: the part of a load that reads all keys of a source';
REVOKE ALL ON FUNCTION activate._sweep_present(activate.sync, text, text) FROM PUBLIC;

CREATE FUNCTION activate._load_swept(sync bigint, at timestamptz) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._watermark AS w (sync, swept_at) VALUES (_load_swept.sync, at)
	ON CONFLICT (sync) DO UPDATE SET swept_at = excluded.swept_at;
END;
COMMENT ON FUNCTION activate._load_swept(bigint, timestamptz) IS 'private: what was gone by then is deleted';
REVOKE ALL ON FUNCTION activate._load_swept(bigint, timestamptz) FROM PUBLIC;
