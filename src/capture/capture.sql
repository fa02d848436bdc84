-- API: Private.  Ordinary roles need it: statements over a source run as the sync's owner.
CREATE FUNCTION activate._row_hash(record) RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'activate_row_hash';
COMMENT ON FUNCTION activate._row_hash(record) IS
	'private: 64-bit hash of a row''s column names and values, the same in every session';

-- API: Private.  Ordinary roles need it, as the one before.
CREATE FUNCTION activate._row_json(record) RETURNS jsonb
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'activate_row_json';
COMMENT ON FUNCTION activate._row_json(record) IS 'private: the same as to_jsonb(record), for many rows';

-- API: Private.  PUBLIC may execute it, because the owner of a partitioned source
-- makes new partitions, and with them copies of the trigger; on a table that is
-- no part of the sync's source it does nothing.
CREATE FUNCTION activate._capture() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'activate_capture';
COMMENT ON FUNCTION activate._capture() IS 'private: trigger of syncs with capture "trigger"; argument: id of the sync';

-- API: Private.
CREATE FUNCTION activate._mode_op(mode text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN mode IN ('append', 'insert') THEN 'insert' WHEN mode = 'update' THEN 'update' ELSE 'upsert' END;
END;
COMMENT ON FUNCTION activate._mode_op(text) IS 'private: what a mode does with a row that is there';
REVOKE ALL ON FUNCTION activate._mode_op(text) FROM PUBLIC;

-- API: Private.  once: not if that key stands there already for that reason.
CREATE FUNCTION activate._capture_reject(id bigint, sync bigint, key jsonb, code text, reason text, once boolean)
RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate.rejection (id, sync, key, op, code, reason)
	SELECT _capture_reject.id, s.id, _capture_reject.key, activate._mode_op(s.mode), _capture_reject.code, _capture_reject.reason
	  FROM activate.sync s
	 WHERE s.id = _capture_reject.sync AND NOT (once AND EXISTS (SELECT FROM activate.rejection r
		 WHERE r.sync = _capture_reject.sync AND r.key = _capture_reject.key AND r.code = _capture_reject.code));
END;
COMMENT ON FUNCTION activate._capture_reject(bigint, bigint, jsonb, text, text, boolean) IS
	'private: a captured row that cannot be sent';
REVOKE ALL ON FUNCTION activate._capture_reject(bigint, bigint, jsonb, text, text, boolean) FROM PUBLIC;

-- API: Private.  Ordinary roles need it, as activate._row_hash().  An index row has no room for a long one.
CREATE FUNCTION activate._key_mark(key jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT CASE WHEN octet_length(key::text) <= 1000 THEN key::text ELSE encode(sha256(convert_to(key::text, 'UTF8')), 'base64') END;
END;
COMMENT ON FUNCTION activate._key_mark(jsonb) IS 'private: the key of a row of an append sync as it stands in activate._seen';

-- API: Private.  So that a later run does not take the row for a new one; marks are those of _append_sql().
-- Without a key it is one that nobody else writes: writers of equal rows do not wait for each other.
CREATE FUNCTION activate._capture_mark(sync bigint, key jsonb, hash bigint) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate._seen (sync, mark, value)
	VALUES (_capture_mark.sync, CASE WHEN _capture_mark.key <> '{}' THEN activate._key_mark(_capture_mark.key)
		ELSE format('%s#%s', hash, gen_random_uuid()) END, '')
	ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION activate._capture_mark(bigint, jsonb, bigint) IS 'private: a row of an append sync was captured';
REVOKE ALL ON FUNCTION activate._capture_mark(bigint, jsonb, bigint) FROM PUBLIC;

-- API: Private.  $1 is the row's ctid: see event.c.
CREATE FUNCTION activate._event_sql(query text, columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT format('SELECT pg_catalog.to_jsonb(x.*), activate._row_hash(x.*) FROM (%s) q CROSS JOIN LATERAL (SELECT %s) x',
		query, activate._select_list('v', columns));
END;
COMMENT ON FUNCTION activate._event_sql(text, text[]) IS 'private: the statement that renders one captured row of an append sync';
REVOKE ALL ON FUNCTION activate._event_sql(text, text[]) FROM PUBLIC;
