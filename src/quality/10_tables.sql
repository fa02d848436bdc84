-- Expectations are declared; what a check of one finds is only ever added, so
-- that runs that check the same relation do not wait for each other.  Its
-- state is what the newest says.
CREATE SEQUENCE activate.expectation_id_seq;
CREATE TABLE activate._expectation
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.expectation_id_seq'),
	relation		regclass NOT NULL,
	name			text NOT NULL,
	expectation		text NOT NULL,
	on_fail			text NOT NULL CHECK (on_fail IN ('warn', 'quarantine', 'hold')),
	options			jsonb NOT NULL,
	owner			name NOT NULL,
	declared_at		timestamptz NOT NULL DEFAULT now(),
	-- compiled at declaration, see src/quality/expect.c
	kind			text NOT NULL CHECK (kind IN ('row', 'unique', 'fresh', 'count')),
	bounds			jsonb,			-- fresh: {"interval"}; count: {"min", "max"}
	search_path		text NOT NULL,
	tree			text NOT NULL,	-- SELECT condition, or columns, FROM relation
	tree_major		integer NOT NULL,
	harmless		boolean NOT NULL,	-- runs no code but PostgreSQL's own
	UNIQUE (relation, name)
);
ALTER SEQUENCE activate.expectation_id_seq OWNED BY activate._expectation.id;
COMMENT ON TABLE activate._expectation IS 'private: what is expected of relations, behind activate.expectation';
COMMENT ON SEQUENCE activate.expectation_id_seq IS 'ids of expectations';

CREATE SEQUENCE activate.check_id_seq;
CREATE TABLE activate."check"
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.check_id_seq'),
	expectation		bigint NOT NULL,
	run				bigint,			-- that asked; NULL: activate_check(), or a delivery
	checked_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	state			text NOT NULL CHECK (state IN ('ok', 'failed', 'error')),
	rows			bigint,
	failed			bigint,
	sample			jsonb,			-- keys of some of the rows that fail
	message			text
);
ALTER SEQUENCE activate.check_id_seq OWNED BY activate."check".id;
CREATE INDEX check_expectation_idx ON activate."check" (expectation, id);
COMMENT ON TABLE activate."check" IS 'what checks of expectations have found, kept for activate.run_retention';
COMMENT ON SEQUENCE activate.check_id_seq IS 'ids of checks';

CREATE VIEW activate.expectation WITH (security_invoker = true) AS
SELECT e.id, e.relation, e.name, e.expectation, e.on_fail, e.options, e.owner, c.state, c.rows, c.failed, c.sample, c.message, c.checked_at
  FROM activate._expectation e
  LEFT JOIN LATERAL (SELECT * FROM activate."check" k WHERE k.expectation = e.id ORDER BY k.id DESC LIMIT 1) c ON true;
COMMENT ON VIEW activate.expectation IS 'what is expected of relations (activate_expect), and what the last check of each has found';

ALTER TABLE activate._expectation ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activate._expectation FOR SELECT USING (activate._may_see(owner));
ALTER TABLE activate."check" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activate."check" FOR SELECT USING (expectation IN (SELECT e.id FROM activate._expectation e));
ALTER TABLE activate."check" SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
GRANT SELECT ON activate._expectation, activate."check", activate.expectation TO PUBLIC;

-- History is no more carried by dumps than that of runs.
SELECT pg_extension_config_dump('activate._expectation', '');
SELECT pg_extension_config_dump('activate.expectation_id_seq', '');
