-- By the worker of the database, once a minute and then until nothing is left:
-- a batch at a time, so that no statement is long, however much has come
-- together.  Events go by the retention of their target.  Rejections are not removed by age: docs/decisions.md says why.
CREATE FUNCTION activate._housekeep(batch integer DEFAULT 10000) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
	WITH receipts AS (
		DELETE FROM activate._receipt WHERE ctid = ANY (ARRAY(
			SELECT r.ctid FROM activate._receipt r
			 WHERE r.newest < clock_timestamp() - current_setting('activate.receipt_retention')::interval LIMIT batch))
		RETURNING 1),
	-- the last run of each sync stays, however old: it is its state
	old AS (
		SELECT r.ctid, r.sync, r.id FROM activate.run r
		 WHERE r.finished_at < clock_timestamp() - current_setting('activate.run_retention')::interval
		   AND EXISTS (SELECT FROM activate.run n WHERE n.sync = r.sync AND n.id > r.id)),
	-- what its undoing needs goes before the run
	undos AS (
		DELETE FROM activate._undo WHERE ctid = ANY (ARRAY(
			SELECT u.ctid FROM old o CROSS JOIN LATERAL (
				SELECT t.ctid FROM activate._undo t WHERE t.sync = o.sync AND t.run = o.id LIMIT batch) u LIMIT batch))
		RETURNING 1),
	runs AS (
		DELETE FROM activate.run WHERE ctid = ANY (ARRAY(
			SELECT o.ctid FROM old o
			 WHERE NOT EXISTS (SELECT FROM activate._undo u WHERE u.sync = o.sync AND u.run = o.id) LIMIT batch))
		RETURNING 1),
	-- delays of intents that are gone
	delays AS (
		DELETE FROM activate._retry WHERE ctid = ANY (ARRAY(
			SELECT r.ctid FROM activate._retry r
			 WHERE NOT EXISTS (SELECT FROM activate._intent o WHERE o.sync = r.sync AND o.id = r.id) LIMIT batch))
		RETURNING 1)
	SELECT batch IN ((SELECT count(*) FROM receipts), (SELECT count(*) FROM undos), (SELECT count(*) FROM runs), (SELECT count(*) FROM delays))
		OR activate._receive_expire(batch) OR activate._quality_expire(batch);
END;
COMMENT ON FUNCTION activate._housekeep(integer) IS
	'private: removes a batch of receipts, runs and events that are older than their retention; are there perhaps more';
REVOKE ALL ON FUNCTION activate._housekeep(integer) FROM PUBLIC;

-- Syncs that mention, in their kept query or as their target, something that
-- this command dropped.  A number may mean another thing there: that is looked
-- into by who calls this.
CREATE FUNCTION activate._drop_victims() RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.id
	  FROM activate.sync s,
		(SELECT array_agg(d.objid) AS oids, string_agg(d.objid::text, '|') AS numbers
		   FROM pg_catalog.pg_event_trigger_dropped_objects() d
		  WHERE NOT d.is_temporary
			AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass)) gone
	 WHERE NOT s.paused AND activate._installation() <> 'copy'
	   AND (s.target_rel::oid = ANY (gone.oids) OR s.query_tree ~ format(' (%s) ', gone.numbers));
END;
COMMENT ON FUNCTION activate._drop_victims() IS 'private: syncs that what is being dropped may matter to; in an event trigger only';
REVOKE ALL ON FUNCTION activate._drop_victims() FROM PUBLIC;

CREATE FUNCTION activate._on_drop() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_on_drop';
COMMENT ON FUNCTION activate._on_drop() IS 'private: pauses syncs whose source or target is dropped';
REVOKE ALL ON FUNCTION activate._on_drop() FROM PUBLIC;

CREATE EVENT TRIGGER activate_on_drop ON sql_drop EXECUTE FUNCTION activate._on_drop();
COMMENT ON EVENT TRIGGER activate_on_drop IS 'activate: a dropped source or target pauses the sync with the reason';
