-- Definitions are files: definitions/*.json, which the Makefile puts behind
-- everything else.

CREATE FUNCTION activate._connector_store(name text, definition jsonb) RETURNS boolean
LANGUAGE sql
BEGIN ATOMIC
	WITH stored AS (
		INSERT INTO activate.connector AS c (name, definition)
		VALUES (_connector_store.name, _connector_store.definition)
		ON CONFLICT (name) DO UPDATE SET definition = excluded.definition WHERE NOT c.shipped
		RETURNING true)
	SELECT EXISTS (SELECT FROM stored);
END;
COMMENT ON FUNCTION activate._connector_store(text, jsonb) IS
	'private: keeps a definition that was checked; false if the name is one of the shipped';
REVOKE ALL ON FUNCTION activate._connector_store(text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.activate_connector(definition jsonb) RETURNS text
LANGUAGE c STRICT
AS 'MODULE_PATHNAME', 'activate_connector';
COMMENT ON FUNCTION @extschema@.activate_connector(jsonb) IS
	'adds or replaces a connector definition; returns its name';

CREATE FUNCTION activate._connector_request(foreign_table regclass, rows jsonb,
	call_key text DEFAULT '00000000-0000-0000-0000-000000000000') RETURNS jsonb
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'connector_sql_request';
COMMENT ON FUNCTION activate._connector_request(regclass, jsonb, text) IS
	'private: the request that a definition makes of rows [{"op", "key", "target_key", "row", "remote_id", ...}]; nothing is sent';
REVOKE ALL ON FUNCTION activate._connector_request(regclass, jsonb, text) FROM PUBLIC;

CREATE FUNCTION activate._connector_answer(foreign_table regclass, rows jsonb, status integer,
	body bytea DEFAULT '', headers text DEFAULT '') RETURNS jsonb
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'connector_sql_answer';
COMMENT ON FUNCTION activate._connector_answer(regclass, jsonb, integer, bytea, text) IS
	'private: what a definition makes of an answer to these rows (status 0: none came): the class of the call and of each row';
REVOKE ALL ON FUNCTION activate._connector_answer(regclass, jsonb, integer, bytea, text) FROM PUBLIC;
