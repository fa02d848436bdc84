-- ENABLE REPLICA, and nothing BEFORE UPDATE or DELETE (see replica.c): sessions of
-- users and workers do not pay for it, and a restore
-- under session_replication_role = replica is no subscription.
CREATE FUNCTION activate._own_rows_only() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'activate_own_rows_only';
COMMENT ON FUNCTION activate._own_rows_only() IS 'private: drops what a subscription would write into our tables';
REVOKE ALL ON FUNCTION activate._own_rows_only() FROM PUBLIC;

DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'activate'::regnamespace AND c.relkind = 'r' LOOP
		EXECUTE format('CREATE TRIGGER own_rows_only BEFORE INSERT ON %s '
			'FOR EACH ROW EXECUTE FUNCTION activate._own_rows_only()', t);
		EXECUTE format('CREATE TRIGGER own_rows_put_back AFTER UPDATE OR DELETE ON %s '
			'FOR EACH ROW EXECUTE FUNCTION activate._own_rows_only()', t);
		EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER own_rows_only, ENABLE REPLICA TRIGGER own_rows_put_back', t);
	END LOOP;
END
$$;
