-- Files as foreign tables, and the ledger of what syncs have loaded.

CREATE FUNCTION activate._file_handler() RETURNS fdw_handler
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_file_handler';
COMMENT ON FUNCTION activate._file_handler() IS 'private: handler of the foreign data wrapper activate_file';
REVOKE ALL ON FUNCTION activate._file_handler() FROM PUBLIC;

CREATE FUNCTION activate._file_validator(text[], oid) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_file_validator';
COMMENT ON FUNCTION activate._file_validator(text[], oid) IS 'private: option validator of the foreign data wrapper activate_file';

CREATE FOREIGN DATA WRAPPER activate_file
	HANDLER activate._file_handler
	VALIDATOR activate._file_validator;
COMMENT ON FOREIGN DATA WRAPPER activate_file IS 'files as foreign tables: of the server, of web servers and object stores; read only';
GRANT USAGE ON FOREIGN DATA WRAPPER activate_file TO activate_admin;

-- Called by activate_target() as its caller.
CREATE FUNCTION activate._file_tables(target text, objects jsonb) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_file_tables';
COMMENT ON FUNCTION activate._file_tables(text, jsonb) IS 'private: the schema and the foreign tables of a target of files';

CREATE FUNCTION activate._file_check(relation regclass) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'activate_file_check';
COMMENT ON FUNCTION activate._file_check(regclass) IS 'private: refuses a table of files whose options do not go together, or whose host may not be contacted';

CREATE TABLE activate.file
(
	sync			bigint NOT NULL,
	name			text NOT NULL,
	size			bigint NOT NULL,		-- -1: the other side did not say
	version			text NOT NULL,			-- time of change or ETag; '': the other side did not say
	rows			bigint NOT NULL,
	loaded_at		timestamptz NOT NULL,
	run				bigint NOT NULL,
	note			text,
	PRIMARY KEY (sync, name)
);
COMMENT ON TABLE activate.file IS 'files that syncs have loaded; each row was written by the transaction that loaded the file';
COMMENT ON COLUMN activate.file.note IS 'changed since; not loaded again: size and version are those of the changed file (mode append)';
ALTER TABLE activate.file ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activate.file FOR SELECT USING (sync IN (SELECT s.id FROM activate.sync s));
GRANT SELECT ON activate.file TO PUBLIC;
ALTER TABLE activate.file SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE TRIGGER own_rows_only BEFORE INSERT ON activate.file FOR EACH ROW EXECUTE FUNCTION activate._own_rows_only();
CREATE TRIGGER own_rows_put_back AFTER UPDATE OR DELETE ON activate.file FOR EACH ROW EXECUTE FUNCTION activate._own_rows_only();
ALTER TABLE activate.file ENABLE REPLICA TRIGGER own_rows_only, ENABLE REPLICA TRIGGER own_rows_put_back;
DO $$
BEGIN
	PERFORM pg_extension_config_dump('activate.file', '');
END
$$;

-- Modes that add what they read.  mirror and replace need all that is there, a
-- cursor decides itself, and an API asks for a row again when it is sent.
CREATE FUNCTION activate._file_ledger(sync bigint) RETURNS boolean
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT EXISTS (
		SELECT FROM activate.sync s
		  JOIN pg_catalog.pg_foreign_table t ON t.ftrelid = s.source_rel
		  JOIN pg_catalog.pg_foreign_server v ON v.oid = t.ftserver
		  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = v.srvfdw AND w.fdwname = 'activate_file'
		 WHERE s.id = _file_ledger.sync AND s.capture IN ('diff', 'full')
		   AND (s.mode = 'append' OR (s.kind <> 'api' AND s.mode IN ('upsert', 'insert', 'update'))));
END;
COMMENT ON FUNCTION activate._file_ledger(bigint) IS 'private: does a run of the sync take only files that activate.file does not have';
REVOKE ALL ON FUNCTION activate._file_ledger(bigint) FROM PUBLIC;

CREATE FUNCTION activate._file_news(sync bigint, names text[], sizes bigint[], versions text[], everything boolean) RETURNS bigint[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT array_agg(CASE WHEN f.name IS NULL THEN u.position ELSE -u.position END ORDER BY u.position)
	  FROM unnest(names, sizes, versions) WITH ORDINALITY u(name, size, version, position)
	  LEFT JOIN activate.file f ON f.sync = _file_news.sync AND f.name = u.name
	 WHERE everything OR f.name IS NULL OR u.version = '' OR f.size <> u.size OR f.version <> u.version;
END;
COMMENT ON FUNCTION activate._file_news(bigint, text[], bigint[], text[], boolean) IS
	'private: positions of the files that are to be loaded; negative: another version is loaded';
REVOKE ALL ON FUNCTION activate._file_news(bigint, text[], bigint[], text[], boolean) FROM PUBLIC;

-- rows NULL or -1: nothing was loaded, but the file is known now.
CREATE FUNCTION activate._file_loaded(sync bigint, name text, size bigint, version text, rows bigint, run bigint, note text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO activate.file AS f (sync, name, size, version, rows, loaded_at, run, note)
	VALUES (_file_loaded.sync, _file_loaded.name, _file_loaded.size, _file_loaded.version, _file_loaded.rows, clock_timestamp(),
		_file_loaded.run, _file_loaded.note)
	ON CONFLICT ON CONSTRAINT file_pkey DO UPDATE SET size = excluded.size, version = excluded.version, note = excluded.note,
		rows = CASE WHEN excluded.rows < 0 THEN f.rows ELSE excluded.rows END,
		loaded_at = CASE WHEN excluded.rows < 0 THEN f.loaded_at ELSE excluded.loaded_at END,
		run = CASE WHEN excluded.rows < 0 THEN f.run ELSE excluded.run END;
END;
COMMENT ON FUNCTION activate._file_loaded(bigint, text, bigint, text, bigint, bigint, text) IS 'private: a line of the ledger';
REVOKE ALL ON FUNCTION activate._file_loaded(bigint, text, bigint, text, bigint, bigint, text) FROM PUBLIC;
