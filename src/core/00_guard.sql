-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION activate" to load this file. \quit

CREATE SCHEMA activate;
COMMENT ON SCHEMA activate IS 'bookkeeping of the extension activate: syncs, runs, outbox, receipts';
GRANT USAGE ON SCHEMA activate TO PUBLIC;

-- Roles are shared by all databases: another one may have made it already.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'activate_admin') THEN
		CREATE ROLE activate_admin NOLOGIN;
		COMMENT ON ROLE activate_admin IS 'activate: targets, connectors and everyone''s syncs';
	END IF;
END
$$;
