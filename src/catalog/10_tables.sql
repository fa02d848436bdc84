-- Where this data directory comes from: its timeline, and the base backup that
-- it was last started from.  It changes when the database is promoted or
-- restored; NULL on a standby.
CREATE FUNCTION activate._origin() RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE WHEN NOT pg_is_in_recovery() THEN concat_ws(' ',
		('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint,
		substring(pg_read_file('backup_label.old', 0, 8192, true) FROM 'START WAL LOCATION: (\S+)')) END;
END;
COMMENT ON FUNCTION activate._origin() IS 'private: timeline and base backup of this data directory';
REVOKE ALL ON FUNCTION activate._origin() FROM PUBLIC;

-- The tables behind DESIGN section 2.  What people read is either the table
-- itself or a view of the public name over a packed table "_name".  Row
-- security lets owners see their own, members of a role those of the role.

CREATE SEQUENCE activate.sync_id_seq;
CREATE TABLE activate.sync
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.sync_id_seq'),
	name			text NOT NULL UNIQUE,
	source			text,
	target			text NOT NULL,
	key				text,
	map				jsonb,
	mode			text NOT NULL CHECK (mode IN ('upsert', 'insert', 'update', 'mirror', 'append', 'replace')),
	capture			text NOT NULL CHECK (capture IN ('diff', 'trigger', 'cursor', 'full')),
	schedule		text,
	paused			boolean NOT NULL DEFAULT false,
	owner			name NOT NULL,
	options			jsonb NOT NULL DEFAULT '{}',
	-- compiled at declaration, see src/catalog/sync.h
	pause_reason	text,
	implicit		boolean NOT NULL DEFAULT false,
	kind			text NOT NULL CHECK (kind IN ('api', 'local', 'foreign')),
	source_rel		regclass,
	target_rel		regclass,
	search_path		text NOT NULL,
	key_columns		text[] NOT NULL DEFAULT '{}',
	key_types		text[] NOT NULL DEFAULT '{}',
	target_key		text[] NOT NULL DEFAULT '{}',
	columns			text[] NOT NULL DEFAULT '{}',
	column_types	text[] NOT NULL DEFAULT '{}',
	cursor_type		text,
	query_tree		text,
	tree_major		integer,		-- of the PostgreSQL that wrote it: another one cannot read it
	reads			oid[] NOT NULL DEFAULT '{}',	-- the relations that the query names
	-- counts changes of target or key: what is learnt of the former ones is not kept
	epoch			integer NOT NULL DEFAULT 0,
	declared_at		timestamptz NOT NULL DEFAULT now(),
	-- when its target was last known to be no newer than this database
	origin			text DEFAULT activate._origin()
);
ALTER SEQUENCE activate.sync_id_seq OWNED BY activate.sync.id;
COMMENT ON TABLE activate.sync IS 'declared syncs; written by activate_sync() and its relatives only';

CREATE FUNCTION activate._may_see(owner name) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r
					WHERE r.rolname = owner AND pg_catalog.pg_has_role(r.oid, 'USAGE'))
		OR pg_catalog.pg_has_role('activate_admin', 'USAGE');
END;
COMMENT ON FUNCTION activate._may_see(name) IS 'private: may the current role see what that role owns';

CREATE SEQUENCE activate.run_id_seq;
CREATE TABLE activate.run
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.run_id_seq'),
	sync			bigint NOT NULL,
	status			text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'held')),
	started_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	finished_at		timestamptz,
	rows_read		bigint NOT NULL DEFAULT 0,
	rows_inserted	bigint NOT NULL DEFAULT 0,
	rows_updated	bigint NOT NULL DEFAULT 0,
	rows_deleted	bigint NOT NULL DEFAULT 0,
	rows_rejected	bigint NOT NULL DEFAULT 0,
	error			text,
	pid				integer,
	queued			boolean NOT NULL DEFAULT false	-- applied what a trigger had queued: no start of a schedule
);
ALTER SEQUENCE activate.run_id_seq OWNED BY activate.run.id;
CREATE INDEX run_sync_idx ON activate.run (sync, id);
-- for "after a" and for leftovers of dead runners, however long the history is
CREATE INDEX run_succeeded_idx ON activate.run (sync, finished_at) WHERE status = 'succeeded';
CREATE INDEX run_started_idx ON activate.run (sync, id) WHERE NOT queued;
CREATE INDEX run_running_idx ON activate.run (id) WHERE status = 'running';
COMMENT ON TABLE activate.run IS 'history of runs, kept for activate.run_retention';

-- Insert and delete only.  The key's order serves the claim: see outbox.h.  Intents of one
-- transaction and sync that tell a key and nothing else share a row: "keys" instead of "key".
-- activate._intent has a row for each.
CREATE SEQUENCE activate.outbox_id_seq;
CREATE TABLE activate._outbox
(
	sync			bigint NOT NULL,
	xid				xid8 NOT NULL DEFAULT pg_current_xact_id(),
	id				bigint NOT NULL DEFAULT nextval('activate.outbox_id_seq'),
	nonce			bigint NOT NULL,
	op				"char" NOT NULL CHECK (op IN ('c', 'i', 'u', 's', 'd', 't')),
	forced			boolean NOT NULL DEFAULT false,
	held			boolean NOT NULL DEFAULT false,
	run				bigint,
	writer			text,
	enqueued_at		timestamptz NOT NULL,
	key				jsonb,
	body			jsonb,
	planned			bigint,			-- what the run that enqueued it saw: hash of row and cursor; NULL: no run
	-- activate_undo(): takes back what "run" has done with the key, sent its row (s) or deleted it (d);
	-- r: activate_replay() of what an undo has restored.  Then "planned" is the hash of the body.
	undo			"char" CHECK (undo IN ('s', 'd', 'r')),
	keys			jsonb[],		-- of intents with the ids "id + steps[i]" and planned = plans[i]
	steps			smallint[],
	plans			bigint[],
	PRIMARY KEY (sync, xid, id),
	CHECK ((key IS NULL) = (keys IS NOT NULL))
);
ALTER SEQUENCE activate.outbox_id_seq OWNED BY activate._outbox.id;
-- held deletes, by key, and what a TRUNCATE left (key {}): small, and asked for deletes of a mirror
CREATE INDEX outbox_held_idx ON activate._outbox (sync, key) WHERE held OR op = 't';
COMMENT ON TABLE activate._outbox IS 'private: intents not yet delivered, behind activate.outbox';

CREATE TABLE activate._retry
(
	sync			bigint NOT NULL,
	id				bigint PRIMARY KEY,
	attempts		integer NOT NULL,
	due_at			timestamptz NOT NULL,
	last_error		text,
	-- of the last message that went, or may have gone, under numbers that the intent does not tell
	seq				bigint,
	nonce			bigint,
	message			uuid
);
COMMENT ON TABLE activate._retry IS 'private: intents that were tried and wait, behind activate.outbox';

-- Ids up to which a deliverer may have sent: read after a crash only.
CREATE TABLE activate._horizon
(
	slot			integer PRIMARY KEY,
	id				bigint NOT NULL
);
COMMENT ON TABLE activate._horizon IS 'private: after a crash intents up to this id are perhaps sent';

-- Written by C, see src/deliver/sent.c.  A key is found by its digest: comparing
-- two of jsonb costs more than all else that finding a row does.
CREATE TABLE activate._sent
(
	sync			bigint NOT NULL,
	digest			uuid NOT NULL,	-- activate._key_digest(key)
	hash			bigint,
	seq				bigint NOT NULL,
	sent_at			timestamptz NOT NULL,
	run				bigint,			-- whose message it was that the target holds; NULL: of none, or nothing is kept of it
	key				jsonb NOT NULL,
	remote_id		text,
	image			jsonb,
	PRIMARY KEY (sync, digest)
) WITH (fillfactor = 50);	-- a row is updated each time it is sent, in its page (HOT), also if all are at once
COMMENT ON TABLE activate._sent IS 'private: what targets hold as far as we know, behind activate.sent';

-- Written by C, see src/deliver/undo.c: what a target held before a message of a
-- run changed it.  A key that the run was the first to send has no row here: that is
-- what _sent.run without one means.  Goes with the row of the run.
CREATE TABLE activate._undo
(
	sync			bigint NOT NULL,
	run				bigint NOT NULL,
	digest			uuid NOT NULL,	-- activate._key_digest(key)
	hash			bigint,
	before			bigint,			-- _sent.run
	deleted			boolean NOT NULL,	-- the run did: _sent has no such key since
	key				jsonb NOT NULL,
	image			jsonb,
	PRIMARY KEY (sync, run, digest)
);
COMMENT ON TABLE activate._undo IS 'private: what targets held before runs, for activate_undo()';

-- What an application has changed and we do not overwrite (options.conflict, src/compare/conflict.c): written by runs,
-- read for each message of such a sync (src/deliver/kept.c).
CREATE TABLE activate._kept
(
	sync			bigint NOT NULL,
	digest			uuid NOT NULL,	-- activate._key_digest(key)
	key				jsonb NOT NULL,
	columns			jsonb NOT NULL,	-- with the application's values
	PRIMARY KEY (sync, digest)
);
COMMENT ON TABLE activate._kept IS 'private: columns that applications have changed, with their values, which are sent instead of ours';

-- What a target has accepted and not yet carried out, with all that is needed to
-- settle its messages (src/deliver/job.c): rows of it are insert, a few small updates, delete.
-- Of the arrays those up to "covered" have an element per message, the others per intent.
CREATE SEQUENCE activate.job_id_seq;
CREATE TABLE activate._job
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.job_id_seq'),
	sync			bigint NOT NULL,
	epoch			integer NOT NULL,	-- of the sync: a job for another target or key is nobody's
	op				"char" NOT NULL,
	bulk			boolean NOT NULL,	-- the operation is the one that "choose" names
	handle			text NOT NULL,		-- what the API calls it
	step			integer NOT NULL,	-- the request that goes next, or has perhaps gone
	state			text,				-- as the API told it last
	submitted_at	timestamptz NOT NULL,
	deadline		timestamptz NOT NULL,
	keys			jsonb[] NOT NULL,
	ids				uuid[] NOT NULL,
	seqs			bigint[] NOT NULL,
	nonces			bigint[] NOT NULL,
	hashes			bigint[] NOT NULL,
	bodies			jsonb[] NOT NULL,
	attempts		integer[] NOT NULL,
	doubts			boolean[] NOT NULL,
	covered			integer[] NOT NULL,	-- how many intents each message stands for
	xids			xid8[] NOT NULL,
	intents			bigint[] NOT NULL,
	intent_nonces	bigint[] NOT NULL,
	runs			bigint[] NOT NULL,
	undos			integer[] NOT NULL
);
ALTER SEQUENCE activate.job_id_seq OWNED BY activate._job.id;
CREATE INDEX job_sync_idx ON activate._job (sync);
COMMENT ON TABLE activate._job IS 'private: jobs that targets have accepted and not yet carried out, with the messages in them';

CREATE SEQUENCE activate.rejection_id_seq;
CREATE TABLE activate.rejection
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.rejection_id_seq'),
	sync			bigint NOT NULL,
	key				jsonb NOT NULL,
	op				text NOT NULL,
	body			jsonb,
	code			text,
	reason			text NOT NULL,
	attempts		integer NOT NULL DEFAULT 0,
	rejected_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	hash			bigint
);
ALTER SEQUENCE activate.rejection_id_seq OWNED BY activate.rejection.id;
CREATE INDEX rejection_sync_key_idx ON activate.rejection (sync, key);
COMMENT ON TABLE activate.rejection IS 'dead letters: rows that the target, a gate or the rendering refused for good';

-- Messages of a sync with the same outcome share a row, 100 at most: by that the
-- sequence counts, so that each has an id.  A pack that fits its page stays there.
CREATE SEQUENCE activate.receipt_id_seq INCREMENT 100;
CREATE TABLE activate._receipt
(
	id				bigint PRIMARY KEY DEFAULT nextval('activate.receipt_id_seq'),	-- of the first
	sync			bigint NOT NULL,
	n				integer NOT NULL CHECK (n BETWEEN 1 AND 100),
	calls			integer NOT NULL,	-- requests whose first outcome is here
	newest			timestamptz NOT NULL,
	op				text NOT NULL,
	outcome			text NOT NULL CHECK (outcome IN ('delivered', 'warned', 'rejected', 'retried', 'ambiguous', 'superseded', 'skipped')),
	code			text,
	keys			jsonb[] NOT NULL,
	ids				uuid[] NOT NULL,
	times			timestamptz[] NOT NULL,
	latencies		bigint[] NOT NULL,	-- microseconds; NULL: no request was made
	reason			text				-- of what was accepted with a warning
) WITH (toast_tuple_target = 8160);
ALTER SEQUENCE activate.receipt_id_seq OWNED BY activate._receipt.id;
CREATE INDEX receipt_sync_idx ON activate._receipt (sync, newest);
-- for housekeeping, which forgets the oldest of all
CREATE INDEX receipt_newest_idx ON activate._receipt USING brin (newest) WITH (autosummarize = on);
COMMENT ON TABLE activate._receipt IS 'private: delivery log, packed, behind activate.receipt';

-- Counted as receipts are written, because those are too many to be counted at
-- each look, and are forgotten.
CREATE TABLE activate._tally
(
	sync			bigint PRIMARY KEY,
	delivered		bigint NOT NULL,
	retried			bigint NOT NULL,
	requests		bigint NOT NULL,
	-- no message of a key that is not in _sent goes under a number up to this
	least_seq		bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);	-- each row is updated by each settling, in its page (HOT)
COMMENT ON TABLE activate._tally IS 'private: per sync, how many messages were delivered and retried, by how many requests; and a number that was given to one of which nothing else tells';

CREATE TABLE activate.connector
(
	name			text PRIMARY KEY,
	definition		jsonb NOT NULL,
	shipped			boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE activate.connector IS 'connector definitions, shipped and user-made';

-- A row once a run was planned since the sync has its present target and key
-- (options.backfill asks); value: how far capture "cursor" has read; swept_at:
-- when it has last looked for what is gone (options.sweep).
CREATE TABLE activate._watermark
(
	sync			bigint PRIMARY KEY,
	value			text,
	swept_at		timestamptz
);
COMMENT ON TABLE activate._watermark IS 'private: syncs that have run, and how far capture "cursor" has read';

-- While a first run goes by chunks (src/sync/chunk.c): the key up to which its
-- rows are enqueued.  To lose it costs time only, so no dump carries it.
CREATE TABLE activate._backfill
(
	sync			bigint PRIMARY KEY,
	reached			text[] NOT NULL
);
COMMENT ON TABLE activate._backfill IS 'private: how far a first run has come that is not complete';

CREATE TABLE activate._seen
(
	sync			bigint NOT NULL,
	mark			text NOT NULL,
	value			text NOT NULL,
	PRIMARY KEY (sync, mark)
);
COMMENT ON TABLE activate._seen IS 'private: rows of append syncs already taken within the lag of the watermark';

-- Tables whose changes make keys of a sync due (options.watch): which columns say the key, in its order.
-- "oid" tells whether "attributes" mean anything: in a database restored from a dump it is another one.
CREATE TABLE activate._watch
(
	sync			bigint NOT NULL,
	relation		regclass NOT NULL,
	columns			text[] NOT NULL,	-- as they were called at declaration
	attributes		smallint[] NOT NULL,
	oid				oid NOT NULL,
	by_key			boolean NOT NULL DEFAULT true,	-- keys say what a change has changed: see src/capture/bykey.c
	PRIMARY KEY (sync, relation, columns)
);
COMMENT ON TABLE activate._watch IS 'private: tables that syncs watch, from options.watch';

-- One row, written by the first declaration: guarantee 10.
CREATE TABLE activate._identity
(
	one				boolean PRIMARY KEY DEFAULT true CHECK (one),
	system			bigint NOT NULL,
	database		oid NOT NULL,
	name			text NOT NULL,
	origin			text
);
COMMENT ON TABLE activate._identity IS 'private: the installation that may send; a copy of the database differs from it';

-- when each sync of a schedule was last started, for ticks missed while down
CREATE TABLE activate._tick
(
	sync			bigint PRIMARY KEY,
	last			timestamptz NOT NULL,
	basis			text			-- the schedule and zone that it was counted for
);
COMMENT ON TABLE activate._tick IS 'private: last tick of each scheduled sync';

-- Which syncs write what a sync reads, as the worker of the database has found when it last read its plan.
CREATE TABLE activate._upstream
(
	sync			bigint NOT NULL,
	upstream		bigint NOT NULL,
	starts			boolean NOT NULL,	-- the sync is a model: without a schedule it runs after those
	PRIMARY KEY (sync, upstream)
);
COMMENT ON TABLE activate._upstream IS 'private: which syncs run before which, for the worker';

-- Syncs that may not pass anything on, because of what they read (src/quality).
CREATE TABLE activate._gate
(
	sync			bigint PRIMARY KEY,
	relations		oid[] NOT NULL,	-- that it reads
	reason			text,			-- NULL: open again, and a run that was held is to be made up for
	since			timestamptz NOT NULL DEFAULT clock_timestamp(),
	looked_at		timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE activate._gate IS 'private: syncs that an expectation holds';

-- activate_pause('target:name'); by name, so that a restored copy keeps it
CREATE TABLE activate._paused_target
(
	server			name PRIMARY KEY,
	paused_at		timestamptz NOT NULL DEFAULT clock_timestamp(),
	paused_by		name NOT NULL
);
COMMENT ON TABLE activate._paused_target IS 'private: targets that an operator paused';

COMMENT ON SEQUENCE activate.sync_id_seq IS 'ids of syncs';
COMMENT ON SEQUENCE activate.run_id_seq IS 'ids of runs';
COMMENT ON SEQUENCE activate.outbox_id_seq IS 'ids of intents: they order the intents of a key';
COMMENT ON SEQUENCE activate.rejection_id_seq IS 'ids of dead letters';
COMMENT ON SEQUENCE activate.job_id_seq IS 'ids of jobs';
COMMENT ON SEQUENCE activate.receipt_id_seq IS 'ids of receipts';

ALTER TABLE activate.sync ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activate.sync FOR SELECT USING (activate._may_see(owner));

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['run', '_outbox', '_retry', '_sent', '_undo', '_kept', '_job', 'rejection', '_receipt', '_tally', '_watermark', '_seen', '_watch',
		'_tick', '_upstream', '_gate'] LOOP
		EXECUTE format('ALTER TABLE activate.%I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY own ON activate.%I FOR SELECT USING '
			'(sync IN (SELECT s.id FROM activate.sync s))', t);
		EXECUTE format('GRANT SELECT ON activate.%I TO PUBLIC', t);
		EXECUTE format('ALTER TABLE activate.%I SET (autovacuum_vacuum_scale_factor = 0.02, '
			'autovacuum_vacuum_threshold = 1000)', t);
	END LOOP;
END
$$;
GRANT SELECT ON activate.sync, activate.connector TO PUBLIC;

-- What pg_dump carries (SEMANTICS 17): not run, not receipt, not what belongs to runs; but their numbers, which
-- _sent has.  One command each: every call updates the same row of pg_extension.
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['sync', 'sync_id_seq', 'run_id_seq', '_outbox', 'outbox_id_seq', '_retry', '_sent', '_kept',
		'rejection', 'rejection_id_seq', '_watermark', '_seen', '_watch', '_identity', '_tick', '_gate', '_paused_target'] LOOP
		PERFORM pg_extension_config_dump(format('activate.%I', t)::regclass, '');
	END LOOP;
	PERFORM pg_extension_config_dump('activate.connector', 'WHERE NOT shipped');
END
$$;
