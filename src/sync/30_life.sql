CREATE FUNCTION activate._drop(sync bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate.run r WHERE r.sync = _drop.sync;
	DELETE FROM activate._receipt r WHERE r.sync = _drop.sync;
	DELETE FROM activate._tally t WHERE t.sync = _drop.sync;
	DELETE FROM activate._tick t WHERE t.sync = _drop.sync;
	DELETE FROM activate._drift_remote d WHERE d.sync = _drop.sync;
	DELETE FROM activate.drift d WHERE d.sync = _drop.sync;
	DELETE FROM activate._watch w WHERE w.sync = _drop.sync;
	DELETE FROM activate._gate g WHERE g.sync = _drop.sync;
	DELETE FROM activate.sync s WHERE s.id = _drop.sync;
END;
COMMENT ON FUNCTION activate._drop(bigint) IS 'private: removes a declaration and its history';
REVOKE ALL ON FUNCTION activate._drop(bigint) FROM PUBLIC;

CREATE FUNCTION activate._discard(sync bigint, ids bigint[]) RETURNS bigint
LANGUAGE sql
SET enable_nestloop = off
SET jit = off
BEGIN ATOMIC
	-- One pass over the outbox.  "= ANY (ids)" would go through all ids for each row, a
	-- nested loop, tempting while there are no statistics, through all rows for each id.
	DELETE FROM activate._retry r USING unnest(ids) u(id) WHERE r.sync = _discard.sync AND r.id = u.id;
	WITH found AS MATERIALIZED (
		SELECT array_agg(i.xid) AS xids, array_agg(i.id) AS ids
		  FROM activate._intent i JOIN unnest(ids) u(id) ON u.id = i.id WHERE i.sync = _discard.sync)
	SELECT count(*) FROM found f CROSS JOIN LATERAL activate._outbox_take(_discard.sync, f.xids, f.ids) t;
END;
COMMENT ON FUNCTION activate._discard(bigint, bigint[]) IS 'private: throws these intents away; how many';
REVOKE ALL ON FUNCTION activate._discard(bigint, bigint[]) FROM PUBLIC;

-- Rows without a key cannot be asked for by key: the next run looks at them.
CREATE FUNCTION activate._unreject(sync bigint, ids bigint[]) RETURNS TABLE (key jsonb, op "char", body jsonb)
LANGUAGE sql
BEGIN ATOMIC
	WITH gone AS (
		DELETE FROM activate.rejection r
		 WHERE r.sync = _unreject.sync AND r.id = ANY (ids) AND r.code IS DISTINCT FROM 'null_key'
			AND NOT (r.key = '{}' AND r.body IS NULL)
		RETURNING r.*),
	kept AS (SELECT g.*, s.mode = 'append' OR s.implicit OR g.key = '{}' AS as_it_was FROM gone g JOIN activate.sync s ON s.id = g.sync)
	SELECT k.key,
		CASE WHEN NOT k.as_it_was THEN 'c' WHEN k.op = 'upsert' THEN 's' ELSE left(k.op, 1) END::"char",
		CASE WHEN k.as_it_was THEN k.body END
	  FROM kept k
	 ORDER BY k.id;
END;
COMMENT ON FUNCTION activate._unreject(bigint, bigint[]) IS 'private: takes dead letters away, to be sent again';
REVOKE ALL ON FUNCTION activate._unreject(bigint, bigint[]) FROM PUBLIC;

-- What the target was sent from a moment on: rows as they are now, and what was deleted there.  Of
-- the latter _sent knows nothing any more: it perhaps holds them again.  Where an undo has restored something
-- (undone), that is what the target was sent last, and not the row as it is.
CREATE FUNCTION activate._replay(sync bigint, since timestamptz)
RETURNS TABLE (key jsonb, op "char", body jsonb, hash bigint, undone boolean)
LANGUAGE sql
SET enable_nestloop = off
SET jit = off
BEGIN ATOMIC
	WITH undone AS MATERIALIZED (
		SELECT DISTINCT r.key FROM activate.rejection r WHERE r.sync = _replay.sync AND r.code = 'undone'),
	deleted AS (
		SELECT DISTINCT r.key
		  FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync AND s.mode IN ('mirror', 'replace')
		 WHERE r.sync = _replay.sync AND r.sent_at >= since AND r.op = 'delete' AND r.outcome IN ('delivered', 'warned')),
	held AS (
		INSERT INTO activate._sent (sync, digest, key, seq, sent_at)
		SELECT _replay.sync, activate._key_digest(d.key), d.key, 0, clock_timestamp() FROM deleted d
		ON CONFLICT DO NOTHING RETURNING key)
	SELECT t.key, CASE WHEN u.key IS NULL THEN 'c' WHEN s.mode = 'update' THEN 'u' WHEN s.mode = 'insert' THEN 'i' ELSE 's' END::"char",
		CASE WHEN u.key IS NOT NULL THEN t.image END, t.hash, u.key IS NOT NULL
	  FROM activate._sent t JOIN activate.sync s ON s.id = t.sync LEFT JOIN undone u ON u.key = t.key
	 WHERE t.sync = _replay.sync AND t.sent_at >= since AND (u.key IS NULL OR t.image IS NOT NULL)
	UNION ALL
	SELECT h.key, 'd', NULL, NULL, u.key IS NOT NULL FROM held h LEFT JOIN undone u ON u.key = h.key;
END;
COMMENT ON FUNCTION activate._replay(bigint, timestamptz) IS 'private: keys whose messages went out since then, to be sent again';
REVOKE ALL ON FUNCTION activate._replay(bigint, timestamptz) FROM PUBLIC;

CREATE FUNCTION activate._adopt() RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	DELETE FROM activate._horizon WHERE activate._installation() = 'copy';
	SELECT activate._new_life(true) WHERE activate._installation() = 'copy';
	-- of the bytes of the encoding that the original had
	UPDATE activate._sent t SET digest = activate._key_digest(t.key)
	 WHERE activate._installation() = 'copy' AND t.digest <> activate._key_digest(t.key);
	UPDATE activate._kept k SET digest = activate._key_digest(k.key)
	 WHERE activate._installation() = 'copy' AND k.digest <> activate._key_digest(k.key);
	-- numbers of another cluster, until each is declared anew
	UPDATE activate.sync s SET reads = '{}' WHERE activate._installation() = 'copy' AND NOT s.implicit;
	UPDATE activate._identity i
	   SET system = c.system_identifier, database = d.oid, name = current_setting('activate.identity'), origin = activate._origin()
	  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d
	 WHERE d.datname = current_database();
	UPDATE activate.sync s SET origin = activate._origin();
END;
COMMENT ON FUNCTION activate._adopt() IS 'private: this installation is the one that may send';
REVOKE ALL ON FUNCTION activate._adopt() FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_pause(name text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_pause';
COMMENT ON FUNCTION @extschema@.activate_pause(text) IS
	'pauses a sync, or a target by the name target:name: nothing is sent, capture goes on';

CREATE FUNCTION @extschema@.activate_resume(name text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_resume';
COMMENT ON FUNCTION @extschema@.activate_resume(text) IS 'lets a paused sync, or target:name, go on';

CREATE FUNCTION @extschema@.activate_drop(name text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_drop';
COMMENT ON FUNCTION @extschema@.activate_drop(text) IS 'removes a sync: capture, declaration, history and what is pending';

CREATE FUNCTION @extschema@.activate_retry(name text, filter text DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_retry';
COMMENT ON FUNCTION @extschema@.activate_retry(text, text) IS
	'rejected rows back into the outbox, those that match a condition over activate.rejection; how many';

CREATE FUNCTION @extschema@.activate_replay(name text, since timestamptz) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_replay';
COMMENT ON FUNCTION @extschema@.activate_replay(text, timestamptz) IS
	'sends again what was sent from that moment on, rows as they are now and deletes, to a target that has lost it; how many';

CREATE FUNCTION @extschema@.activate_discard(name text, filter text DEFAULT NULL) RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_discard';
COMMENT ON FUNCTION @extschema@.activate_discard(text, text) IS
	'throws pending intents away, those that match a condition over activate.outbox; how many';

CREATE FUNCTION @extschema@.activate_adopt() RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_adopt';
COMMENT ON FUNCTION @extschema@.activate_adopt() IS
	'superuser: this copy of the database is the real one; its syncs are declared anew from their text and go on';
