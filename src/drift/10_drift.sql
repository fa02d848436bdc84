CREATE SEQUENCE activate.drift_id_seq;
CREATE TABLE activate.drift
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.drift_id_seq'),
	sync			bigint NOT NULL,
	kind			text NOT NULL CHECK (kind IN ('rename', 'relation', 'drop', 'add', 'type')),
	relation		text NOT NULL,
	"column"		text NOT NULL,	-- its name, or that of the relation, at declaration
	was				text,			-- type at declaration
	became			text,			-- name or type that it has now
	what			text NOT NULL,
	proposal		jsonb NOT NULL DEFAULT '{}',
	confidence		real NOT NULL DEFAULT 1,
	remote			boolean NOT NULL DEFAULT false,	-- on the server of a foreign table
	state			text NOT NULL CHECK (state IN ('proposed', 'healed', 'reverted', 'frozen', 'discarded', 'gone', 'superseded')),
	reason			text,			-- why it is not healed
	at				timestamptz NOT NULL DEFAULT clock_timestamp(),
	decided_at		timestamptz,
	healed_with		bigint,			-- texts are right together or not at all
	before			jsonb			-- the declaration that activate_heal_revert() restores
);
ALTER SEQUENCE activate.drift_id_seq OWNED BY activate.drift.id;
CREATE INDEX drift_sync_idx ON activate.drift (sync);
COMMENT ON SEQUENCE activate.drift_id_seq IS 'ids of differences between sources and declarations';
COMMENT ON TABLE activate.drift IS 'what sources have become since their syncs were declared, and what was done about it';
ALTER TABLE activate.drift ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activate.drift FOR SELECT USING (sync IN (SELECT s.id FROM activate.sync s));
GRANT SELECT ON activate.drift TO PUBLIC;
ALTER TABLE activate.drift SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- API: Private.  options.newest names a column of the source, and one of the target, which keeps its name.
CREATE FUNCTION activate._drift_newest(options jsonb, warehouse text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN warehouse IS NULL THEN '{}' ELSE jsonb_build_object('newest', jsonb_build_object(
		'warehouse', warehouse, 'application', coalesce(options #>> '{newest,application}', options ->> 'newest'))) END;
END;
COMMENT ON FUNCTION activate._drift_newest(jsonb, text) IS 'private: options.newest after the source''s column was renamed';
REVOKE ALL ON FUNCTION activate._drift_newest(jsonb, text) FROM PUBLIC;

-- The fields of activate.sync that an edit changes; without "tree" those that people write.
CREATE FUNCTION activate._drift_changes(sync bigint, source text, key text, map_names text[], map_texts text[],
	option_names text[], option_values text[], tree text, columns text[], column_types text[], key_types text[]) RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT jsonb_strip_nulls(jsonb_build_object(
			'source', nullif(_drift_changes.source, s.source),
			'key', nullif(_drift_changes.key, s.key),
			'map', CASE WHEN map_names <> '{}' THEN nullif(jsonb_object(map_names, map_texts), s.map) END,
			'options', CASE WHEN option_names <> '{}' THEN nullif(s.options || jsonb_object(option_names, option_values)
				|| activate._drift_newest(s.options, option_values[array_position(option_names, 'newest')]), s.options) END))
		|| CASE WHEN tree IS NULL THEN '{}' ELSE jsonb_build_object('query_tree', tree, 'columns', _drift_changes.columns,
			'column_types', _drift_changes.column_types, 'key_types', _drift_changes.key_types) END
	  FROM activate.sync s WHERE s.id = _drift_changes.sync;
END;
COMMENT ON FUNCTION activate._drift_changes(bigint, text, text, text[], text[], text[], text[], text, text[], text[], text[]) IS
	'private: fields of a declaration that become others';
REVOKE ALL ON FUNCTION activate._drift_changes(bigint, text, text, text[], text[], text[], text[], text, text[], text[], text[]) FROM PUBLIC;

-- A pause that was due to what the source was like ends, whoever has found that; others do not.
CREATE FUNCTION activate._drift_apply(sync bigint, changes jsonb) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	-- rows that a cursor has passed have more to tell, or fit now
	UPDATE activate._watermark w SET value = NULL
	  FROM activate.sync s
	 WHERE s.id = _drift_apply.sync AND w.sync = s.id AND s.mode <> 'append' AND s.key_columns <> '{}'
	   AND (jsonb_array_length(changes -> 'columns') > cardinality(s.columns)
			OR EXISTS (SELECT FROM activate.rejection r WHERE r.sync = s.id AND r.code = 'former_type'));
	UPDATE activate.sync s
	   SET (source, key, map, options, query_tree, columns, column_types, key_types) = (
			SELECT d.source, d.key, d.map, d.options, d.query_tree, d.columns, d.column_types, d.key_types
			  FROM jsonb_populate_record(s, changes) d),
		declared_at = clock_timestamp(), paused = s.paused AND NOT p.ends, pause_reason = CASE WHEN NOT p.ends THEN s.pause_reason END
	  FROM (SELECT coalesce(y.pause_reason ~ '^(on_drift is "freeze": |(key )?column "|relation ")', false) AS ends
			  FROM activate.sync y WHERE y.id = _drift_apply.sync) p
	 WHERE s.id = _drift_apply.sync;
END;
COMMENT ON FUNCTION activate._drift_apply(bigint, jsonb) IS 'private: changes these fields of a declaration';
REVOKE ALL ON FUNCTION activate._drift_apply(bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION activate._drift_before(sync bigint) RETURNS jsonb
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT to_jsonb(d) FROM (SELECT s.source, s.key, s.map, s.options, s.query_tree, s.columns, s.column_types, s.key_types
		FROM activate.sync s WHERE s.id = _drift_before.sync) d;
END;
COMMENT ON FUNCTION activate._drift_before(bigint) IS 'private: the fields of a declaration that drift may change';
REVOKE ALL ON FUNCTION activate._drift_before(bigint) FROM PUBLIC;

-- Its id; NULL: somebody has taken that back, and shall not have it again.
CREATE FUNCTION activate._drift_note(sync bigint, kind text, relation text, "column" text, was text, became text, what text,
	proposal jsonb, confidence real, state text, reason text, remote boolean) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	-- before: of what another server has renamed, too, because the column is left out until that is healed
	WITH refused AS (
		SELECT FROM activate.drift d
		 WHERE d.sync = _drift_note.sync AND d.kind = _drift_note.kind AND d.relation = _drift_note.relation
		   AND d."column" = _drift_note."column" AND d.became IS NOT DISTINCT FROM _drift_note.became AND d.state = 'reverted'),
	again AS (
		UPDATE activate.drift d SET became = _drift_note.became, what = _drift_note.what, proposal = _drift_note.proposal,
			confidence = _drift_note.confidence, state = _drift_note.state, reason = _drift_note.reason,
			decided_at = CASE WHEN _drift_note.state = 'healed' THEN clock_timestamp() END,
			before = CASE WHEN _drift_note.state = 'healed' OR _drift_note.remote THEN activate._drift_before(_drift_note.sync) END
		 WHERE d.sync = _drift_note.sync AND d.kind = _drift_note.kind AND d.relation = _drift_note.relation
		   AND d."column" = _drift_note."column" AND d.state IN ('proposed', 'frozen', 'discarded')
		   AND NOT EXISTS (SELECT FROM refused)
		RETURNING d.id),
	new AS (
		INSERT INTO activate.drift (sync, kind, relation, "column", was, became, what, proposal, confidence, remote, state, reason, decided_at, before)
		SELECT _drift_note.sync, _drift_note.kind, _drift_note.relation, _drift_note."column", _drift_note.was, _drift_note.became, _drift_note.what,
			_drift_note.proposal, _drift_note.confidence, _drift_note.remote, _drift_note.state, _drift_note.reason,
			CASE WHEN _drift_note.state = 'healed' THEN clock_timestamp() END,
			CASE WHEN _drift_note.state = 'healed' OR _drift_note.remote THEN activate._drift_before(_drift_note.sync) END
		 WHERE NOT EXISTS (SELECT FROM again) AND NOT EXISTS (SELECT FROM refused)
		RETURNING id)
	SELECT id FROM again UNION ALL SELECT id FROM new;
END;
COMMENT ON FUNCTION activate._drift_note(bigint, text, text, text, text, text, text, jsonb, real, text, text, boolean) IS
	'private: writes a difference down, once';
REVOKE ALL ON FUNCTION activate._drift_note(bigint, text, text, text, text, text, text, jsonb, real, text, text, boolean) FROM PUBLIC;

-- What is open and was not found again is gone; a sync that was frozen for it goes on.
CREATE FUNCTION activate._drift_settle(sync bigint, found bigint[]) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
	WITH gone AS (
		UPDATE activate.drift d SET state = 'gone', decided_at = clock_timestamp()
		 WHERE d.sync = _drift_settle.sync AND d.state IN ('proposed', 'frozen', 'discarded') AND d.id <> ALL (found)
		   AND (d.kind <> 'type' OR d.state = 'frozen') AND NOT d.remote
		RETURNING d.reason)
	UPDATE activate.sync s SET paused = false, pause_reason = NULL
	 WHERE s.id = _drift_settle.sync AND s.paused AND s.pause_reason IN (SELECT g.reason FROM gone g)
	RETURNING true;
END;
COMMENT ON FUNCTION activate._drift_settle(bigint, bigint[]) IS 'private: closes what is not different any more; did a frozen sync go on';
REVOKE ALL ON FUNCTION activate._drift_settle(bigint, bigint[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_healed(drift bigint, reason text) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate.drift d SET state = CASE WHEN _drift_healed.reason IS NULL THEN 'healed' ELSE d.state END, reason = _drift_healed.reason,
		decided_at = clock_timestamp(), healed_with = drift,
		before = CASE WHEN _drift_healed.reason IS NULL AND NOT d.remote THEN activate._drift_before(d.sync) ELSE d.before END
	  FROM activate.drift h
	 WHERE h.id = drift AND (d.id = drift OR (d.sync = h.sync AND d.state IN ('proposed', 'frozen')
		AND h.kind IN ('rename', 'relation') AND d.kind IN ('rename', 'relation') AND NOT h.remote AND NOT d.remote))
	RETURNING d.id;
END;
COMMENT ON FUNCTION activate._drift_healed(bigint, text) IS 'private: it is healed, and with a name all other names; or why it is not';
REVOKE ALL ON FUNCTION activate._drift_healed(bigint, text) FROM PUBLIC;

-- A declaration by somebody: what was open is, and what was healed cannot be taken back.
CREATE FUNCTION activate._drift_declared(sync bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate.drift d SET state = CASE WHEN d.state = 'healed' THEN d.state ELSE 'superseded' END, before = NULL,
		decided_at = coalesce(d.decided_at, clock_timestamp())
	 WHERE d.sync = _drift_declared.sync AND (d.state IN ('proposed', 'frozen', 'discarded', 'reverted') OR d.before IS NOT NULL);
END;
COMMENT ON FUNCTION activate._drift_declared(bigint) IS 'private: forgets what was proposed for a former declaration';
REVOKE ALL ON FUNCTION activate._drift_declared(bigint) FROM PUBLIC;

-- Why a healed difference cannot be taken back; NULL: it can.
CREATE FUNCTION activate._drift_obstacle(drift bigint) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN d.state <> 'healed' THEN 'it is ' || d.state
		WHEN d.before IS NULL THEN 'the sync was declared again since'
		WHEN later.id IS NOT NULL THEN format('drift %s of the sync was healed after it', later.id) END
	  FROM activate.drift d LEFT JOIN LATERAL (
			SELECT o.id FROM activate.drift o
			 WHERE o.sync = d.sync AND o.id <> d.id AND o.state = 'healed' AND o.decided_at > d.decided_at
			   AND o.healed_with IS DISTINCT FROM d.healed_with ORDER BY o.decided_at DESC LIMIT 1) later ON true
	 WHERE d.id = drift;
END;
COMMENT ON FUNCTION activate._drift_obstacle(bigint) IS 'private: why a healed difference cannot be taken back';
REVOKE ALL ON FUNCTION activate._drift_obstacle(bigint) FROM PUBLIC;

CREATE FUNCTION activate._drift_revert(drift bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT activate._drift_apply(d.sync, d.before) FROM activate.drift d WHERE d.id = drift;
	UPDATE activate.drift d SET state = 'reverted', decided_at = clock_timestamp(), before = NULL
	  FROM activate.drift h
	 WHERE h.id = drift AND d.sync = h.sync AND (d.id = h.id OR (d.state = 'healed' AND d.healed_with = h.healed_with));
END;
COMMENT ON FUNCTION activate._drift_revert(bigint) IS 'private: restores the declaration as it was before';
REVOKE ALL ON FUNCTION activate._drift_revert(bigint) FROM PUBLIC;

-- Columns of the target table that are filled by just that column of the source, and not of its type.
CREATE FUNCTION activate._drift_target_sql(drift bigint, type text) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT format('ALTER TABLE %s %s', activate._relation_name(s.target_rel),
			-- an explicit cast to a length cuts what an assignment refuses
			string_agg(format(CASE WHEN split_part(format_type(a.atttypid, NULL), '(', 1) = split_part(type, '(', 1)
				THEN 'ALTER COLUMN %I TYPE %s' ELSE 'ALTER COLUMN %I TYPE %s USING %1$I::%2$s' END, a.attname, type), ', '))
	  FROM activate.drift d JOIN activate.sync s ON s.id = d.sync
	  JOIN pg_catalog.pg_attribute a ON a.attrelid = s.target_rel AND NOT a.attisdropped
	 WHERE d.id = drift AND a.attname::text = ANY (s.columns) AND format_type(a.atttypid, a.atttypmod) <> type
	   AND CASE WHEN s.map IS NULL THEN a.attname = d."column" ELSE s.map ->> a.attname::text IN (d."column", quote_ident(d."column")) END
	 GROUP BY s.target_rel;
END;
COMMENT ON FUNCTION activate._drift_target_sql(bigint, text) IS 'private: a command that gives columns of a target the type of their source';
REVOKE ALL ON FUNCTION activate._drift_target_sql(bigint, text) FROM PUBLIC;

-- The declaration is analysed anew, by which all columns have the type of their source: types are healed together.
CREATE FUNCTION activate._drift_types(drift bigint) RETURNS bigint[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT array_agg(d.id ORDER BY d.id) FROM activate.drift h JOIN activate.drift d ON d.sync = h.sync
	 WHERE h.id = drift AND (d.id = h.id OR (d.kind = 'type' AND NOT d.remote AND d.state IN ('proposed', 'frozen')));
END;
COMMENT ON FUNCTION activate._drift_types(bigint) IS 'private: a type, and the others of the sync that are open';
REVOKE ALL ON FUNCTION activate._drift_types(bigint) FROM PUBLIC;

CREATE FUNCTION activate._drift_types_healed(drifts bigint[]) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	UPDATE activate.drift d SET state = 'healed', reason = NULL, decided_at = clock_timestamp(), healed_with = drifts[1], before = activate._drift_before(d.sync)
	 WHERE d.id = ANY (drifts);
END;
COMMENT ON FUNCTION activate._drift_types_healed(bigint[]) IS 'private: these types are healed, together';
REVOKE ALL ON FUNCTION activate._drift_types_healed(bigint[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_widen_sql(drifts bigint[]) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(activate._drift_target_sql(d.id, d.became), '; ' ORDER BY d.id) FROM activate.drift d WHERE d.id = ANY (drifts);
END;
COMMENT ON FUNCTION activate._drift_widen_sql(bigint[]) IS 'private: commands by which the target takes the types that the source has now';
REVOKE ALL ON FUNCTION activate._drift_widen_sql(bigint[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_narrow_sql(drift bigint) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT string_agg(activate._drift_target_sql(d.id, d.was), '; ' ORDER BY d.id)
	  FROM activate.drift h JOIN activate.drift d ON d.sync = h.sync AND d.kind = 'type' AND d.state = 'healed'
	 WHERE h.id = drift AND (d.id = h.id OR d.healed_with = h.healed_with);
END;
COMMENT ON FUNCTION activate._drift_narrow_sql(bigint) IS 'private: commands by which the target has its former types again';
REVOKE ALL ON FUNCTION activate._drift_narrow_sql(bigint) FROM PUBLIC;

-- Syncs whose kept query names a relation that this command changed or dropped a column of.
CREATE FUNCTION activate._drift_concerned(relations oid[]) RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.id FROM activate.sync s
	 WHERE relations <> '{}' AND NOT s.implicit AND activate._installation() <> 'copy'
	   AND s.query_tree ~ format(':relid (%s) ', array_to_string(relations, '|'))
	 ORDER BY s.id;
END;
COMMENT ON FUNCTION activate._drift_concerned(oid[]) IS 'private: syncs that read one of these relations';
REVOKE ALL ON FUNCTION activate._drift_concerned(oid[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_filling(relations oid[]) RETURNS SETOF bigint
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT s.id FROM activate.sync s
	 WHERE s.target_rel::oid = ANY (relations) AND s.kind <> 'api' AND NOT s.implicit AND activate._installation() <> 'copy' ORDER BY s.id;
END;
COMMENT ON FUNCTION activate._drift_filling(oid[]) IS 'private: syncs that write one of these tables';
REVOKE ALL ON FUNCTION activate._drift_filling(oid[]) FROM PUBLIC;

-- The text of a target follows its table, as that of a source does; a name without a schema is left alone as long as it is its name.
CREATE FUNCTION activate._drift_retarget(relations oid[]) RETURNS bigint
LANGUAGE sql
BEGIN ATOMIC
	WITH moved AS (
		UPDATE activate.sync s SET target = format('%I.%I', n.nspname, c.relname)
		  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		 WHERE s.target_rel::oid = ANY (relations) AND c.oid = s.target_rel AND NOT s.implicit AND activate._installation() <> 'copy'
		   AND NOT (ARRAY[n.nspname, c.relname]::text[] @> parse_ident(s.target) AND (parse_ident(s.target))[cardinality(parse_ident(s.target))] = c.relname)
		RETURNING 1)
	SELECT count(*) FROM moved;
END;
COMMENT ON FUNCTION activate._drift_retarget(oid[]) IS 'private: declarations name their targets as they are called now; how many did not';
REVOKE ALL ON FUNCTION activate._drift_retarget(oid[]) FROM PUBLIC;

CREATE FUNCTION activate._drift_altered() RETURNS oid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(array_agg(DISTINCT c.objid), '{}') FROM pg_catalog.pg_event_trigger_ddl_commands() c
	 WHERE c.classid = 'pg_class'::regclass AND c.schema_name <> 'pg_temp';
END;
COMMENT ON FUNCTION activate._drift_altered() IS 'private: relations that this command changed; in an event trigger only';
REVOKE ALL ON FUNCTION activate._drift_altered() FROM PUBLIC;

CREATE FUNCTION activate._drift_dropped() RETURNS oid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(array_agg(DISTINCT d.objid), '{}') FROM pg_catalog.pg_event_trigger_dropped_objects() d
	 WHERE d.object_type IN ('table column', 'foreign table column', 'view column') AND NOT d.is_temporary;
END;
COMMENT ON FUNCTION activate._drift_dropped() IS 'private: relations that this command drops a column of; in an event trigger only';
REVOKE ALL ON FUNCTION activate._drift_dropped() FROM PUBLIC;

CREATE FUNCTION activate._drift_follow() RETURNS event_trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_drift_follow';
COMMENT ON FUNCTION activate._drift_follow() IS 'private: looks at the syncs that read what a command changes';
REVOKE ALL ON FUNCTION activate._drift_follow() FROM PUBLIC;

-- Of one event they fire in the order of their names: this one before what pauses syncs (activate_on_drop).
CREATE EVENT TRIGGER activate_drift_drop ON sql_drop EXECUTE FUNCTION activate._drift_follow();
COMMENT ON EVENT TRIGGER activate_drift_drop IS 'activate: syncs leave out a column that is dropped';
CREATE EVENT TRIGGER activate_drift_alter ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'CREATE VIEW')
	EXECUTE FUNCTION activate._drift_follow();
COMMENT ON EVENT TRIGGER activate_drift_alter IS 'activate: syncs see at once how the relations they read change';

CREATE FUNCTION @extschema@.activate_heal(id bigint) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_heal';
COMMENT ON FUNCTION @extschema@.activate_heal(bigint) IS 'changes a declaration as activate.drift proposes';

CREATE FUNCTION @extschema@.activate_heal_revert(id bigint) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_heal_revert';
COMMENT ON FUNCTION @extschema@.activate_heal_revert(bigint) IS 'restores the declaration as it was before it was healed';

SELECT pg_extension_config_dump('activate.drift', '');
SELECT pg_extension_config_dump('activate.drift_id_seq', '');
