-- Events that others push: docs/receive.md.

CREATE FUNCTION activate._receive_ddl(target text, owner text) RETURNS text[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT array_remove(ARRAY[
		CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = target) THEN format('CREATE SCHEMA %I', target)
			|| CASE WHEN owner IS NULL THEN '' ELSE format(' AUTHORIZATION %I', owner) END END,
		format('CREATE TABLE %I.event (id text PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT clock_timestamp(), payload jsonb NOT NULL, headers jsonb)',
			target),
		format('CREATE INDEX event_received_at_idx ON %I.event (received_at)', target),
		format('COMMENT ON TABLE %I.event IS %L', target, 'activate: events that activate_receive() has taken, each once'),
		-- the caller's is it already
		CASE WHEN owner IS NOT NULL THEN format('ALTER TABLE %I.event OWNER TO %I', target, owner) END], NULL);
END;
COMMENT ON FUNCTION activate._receive_ddl(text, text) IS 'private: what makes the table of a target that receives';
REVOKE ALL ON FUNCTION activate._receive_ddl(text, text) FROM PUBLIC;

CREATE FUNCTION activate._receive_wrong(relation regclass) RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE
		WHEN c.relkind NOT IN ('r', 'p') THEN 'it is no table'
		WHEN w.names IS NOT NULL THEN format('column %s is not there, or of another type', w.names)
		WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_index i
						  WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
							AND i.indnkeyatts = 1 AND i.indkey[0] = (SELECT a.attnum FROM pg_catalog.pg_attribute a
																	  WHERE a.attrelid = c.oid AND a.attname = 'id'))
			THEN 'there is no unique index on id alone' END
	  FROM pg_catalog.pg_class c, LATERAL (
		SELECT string_agg(n.name, ', ' ORDER BY n.at) AS names
		  FROM (VALUES (1, 'id', 'text'::regtype), (2, 'received_at', 'timestamptz'), (3, 'payload', 'jsonb'), (4, 'headers', 'jsonb')) n(at, name, type)
		 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
							WHERE a.attrelid = c.oid AND a.attname = n.name AND a.atttypid = n.type AND NOT a.attisdropped)) w
	 WHERE c.oid = relation;
END;
COMMENT ON FUNCTION activate._receive_wrong(regclass) IS 'private: why events cannot be written to a table; NULL: they can';
REVOKE ALL ON FUNCTION activate._receive_wrong(regclass) FROM PUBLIC;

CREATE FUNCTION activate._receive_keeping() RETURNS oid[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT coalesce(array_agg(s.oid ORDER BY s.oid), '{}')
	  FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'activate'
	 WHERE 'connector=receive' = ANY (s.srvoptions) AND s.srvoptions::text LIKE '%retention=%';
END;
COMMENT ON FUNCTION activate._receive_keeping() IS 'private: targets whose events are removed some day';
REVOKE ALL ON FUNCTION activate._receive_keeping() FROM PUBLIC;

CREATE FUNCTION activate._receive_expire(batch integer) RETURNS boolean
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'activate_receive_expire';
COMMENT ON FUNCTION activate._receive_expire(integer) IS
	'private: removes a batch of the events of each target that are older than its retention; are there perhaps more';
REVOKE ALL ON FUNCTION activate._receive_expire(integer) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_receive(name text, payload jsonb DEFAULT NULL, headers jsonb DEFAULT NULL, body text DEFAULT NULL) RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_receive';
COMMENT ON FUNCTION @extschema@.activate_receive(text, jsonb, jsonb, text) IS
	'takes an event that was pushed to a target of the connector "receive": verified by headers and body as they came, kept once; false: it was known';

-- No default: so that literals mean the one above.
CREATE FUNCTION @extschema@.activate_receive(name text, payload jsonb, headers jsonb, body bytea) RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_receive_bytes';
COMMENT ON FUNCTION @extschema@.activate_receive(text, jsonb, jsonb, bytea) IS
	'the same for a body in bytes, of whatever encoding the database is';
