-- options.conflict: what a run overwrites of what the application has changed.
\getenv url ACTIVATE_SERVICE_URL
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null
\pset null '(null)'
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA conflict_test;
SET search_path = conflict_test, public;
SELECT activate_target('clash', 'rest', jsonb_build_object('base_url', :'url', 'objects', '{
	"people": {"path": "/objects/people", "key": "id", "read": {"records": "data"},
		"columns": {"id": "bigint", "email": "text", "city": "text", "note": "text", "phone": {"type": "text", "transform": ["e164"]},
			"modified": {"type": "timestamptz", "readonly": true}},
		"write": {"upsert": {"method": "PUT", "path": "/objects/people/{id}"}, "delete": {"path": "/objects/people/{id}"}}},
	"others": {"path": "/objects/others", "key": "id", "read": {"records": "data"},
		"columns": {"id": "bigint", "email": "text", "city": "text", "modified": {"type": "timestamptz", "readonly": true}},
		"write": {"upsert": {"path": "/objects/others/{id}"}, "insert": {}}},
	"quiet": {"path": "/objects/quiet", "key": "id", "read": {"records": "data"}, "columns": {"id": "bigint", "email": {"type": "text", "null": "omit"}},
		"write": {"upsert": {"method": "PATCH", "path": "/objects/quiet/{id}"}}},
	"blind": {"path": "/objects/blind", "key": "id", "read": false, "columns": {"id": "bigint", "email": "text"}, "write": {"upsert": {"path": "/objects/blind/{id}"}}}}'::jsonb));
CREATE TABLE person (id int PRIMARY KEY, email text, city text, note text, phone text, updated timestamptz NOT NULL DEFAULT '2026-01-01');
INSERT INTO person SELECT i, 'p' || i, 'Rome', 'n', '+49 30 ' || i + 1000000 FROM generate_series(1, 8) i;
CREATE TABLE copied (id int PRIMARY KEY, email text);
CREATE VIEW source AS SELECT id, email, city, note, phone FROM person;
-- what the application holds
CREATE VIEW held AS SELECT * FROM clash.people;
CREATE FUNCTION go(called text) RETURNS TABLE (sent bigint) LANGUAGE plpgsql AS $$
DECLARE
	r bigint := activate_run(called);
BEGIN
	RETURN QUERY SELECT t.rows_inserted + t.rows_updated + t.rows_deleted FROM activate.run t WHERE t.id = r;
END $$;
CREATE FUNCTION differs(called text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', c.kind, c.key, c.column_name, coalesce(c.sent::text, '-'), coalesce(c.warehouse::text, '-'), coalesce(c.application::text, '-'))
	  FROM activate_compare(called) c $$;

-- what cannot be declared
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": "mine"}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": "ignore"}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": {"email": "theirs"}}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": {"emial": "application"}}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": {"phone": "application"}}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": "newest"}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"newest": "modified"}');
SELECT activate_sync('clash', 'person', 'clash.people', options => '{"conflict": "newest", "newest": {"warehouse": "updated"}}');
SELECT activate_sync('clash', 'person', 'clash.people', options => '{"conflict": "newest", "newest": "updated"}');
SELECT activate_sync('clash', 'person', 'clash.people', options => '{"conflict": "newest", "newest": {"warehouse": "email", "application": "modified"}}');
SELECT activate_sync('clash', 'source', 'clash.people', options => '{"conflict": "application", "image": false}');
SELECT activate_sync('clash', 'person', 'clash.people', capture => 'cursor', options => '{"conflict": "application", "cursor": "updated"}');
SELECT activate_sync('clash', 'SELECT id, email FROM person', 'clash.others', mode => 'insert', options => '{"conflict": "application"}');
SELECT activate_sync('clash', 'SELECT id, email FROM person', 'clash.blind', options => '{"conflict": "application"}');
SELECT activate_sync('clash', 'SELECT id, email FROM person', 'copied', options => '{"conflict": "application"}');

-- by column; before it was ever sent a value that is there is the application's
\! "$ACTIVATE_SERVICE" call PUT /objects/people/1 '{"email": "first", "city": "first", "note": ""}' >/dev/null
SELECT activate_sync('clash', 'source', 'clash.people', mode => 'mirror', options => '{"conflict": {"email": "application", "note": "application", "*": "warehouse"}}') > 0 AS declared;
SELECT id AS sync FROM activate.sync WHERE name = 'clash' \gset
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id, email, city, note FROM held WHERE id < 3 ORDER BY id;
SELECT image FROM activate.sent WHERE sync = :sync AND key = '{"id": 1}';
SELECT go('clash') AS nothing;

-- the application changes what is its, and what is not
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/2 '{"email": "theirs", "city": "theirs"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/3 '{"email": "theirs"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/4 '{"city": "theirs"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/5 '{"email": "agreed", "note": "theirs"}' >/dev/null
-- what has not changed here is not sent
SELECT go('clash');
UPDATE person SET city = 'Kiel' WHERE id IN (2, 4);
UPDATE person SET email = 'ours' WHERE id = 3;
UPDATE person SET email = 'agreed' WHERE id = 5;
SELECT differs('clash');
-- of 3 there is nothing to send
SELECT activate_pause('clash');
SET client_min_messages = warning;
SELECT go('clash');
RESET client_min_messages;
SELECT body::jsonb - 'phone' AS body FROM activate_preview('clash') ORDER BY 1;
SELECT activate_resume('clash');
SELECT activate_wait('clash');
SELECT id, email, city, note FROM held WHERE id BETWEEN 2 AND 5 ORDER BY id;
SELECT key, image - 'phone' AS image FROM activate.sent WHERE sync = :sync AND (key ->> 'id')::int BETWEEN 2 AND 5 ORDER BY key;
SELECT go('clash') AS nothing;
-- it stays so, whatever else changes; full sends it, too
UPDATE person SET city = 'Bonn' WHERE id = 3;
SELECT activate_run('clash', full => true) > 0 AS run;
SELECT activate_wait('clash');
SELECT id, email, city, note FROM held WHERE id BETWEEN 2 AND 5 ORDER BY id;
-- the application takes it back: what was withheld is sent
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/3 '{"email": "p3"}' >/dev/null
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id, email, city, note FROM held WHERE id = 3;
SELECT count(*) FROM activate._kept WHERE sync = :sync;
-- what both came to hold is common ground: it is ours again
UPDATE person SET email = 'after' WHERE id = 5;
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id, email, note FROM held WHERE id = 5;

-- an undo restores what is ours
SELECT max(id) AS run FROM activate.run WHERE sync = :sync \gset
SELECT activate_pause('clash');
SET client_min_messages = warning;
SELECT activate_undo('clash', :run);
RESET client_min_messages;
SELECT body::jsonb - 'phone' AS body FROM activate_preview('clash');
SELECT activate_resume('clash');
SELECT activate_wait('clash');
SELECT id, email, note FROM held WHERE id = 5;
SELECT key, image - 'phone' AS image FROM activate.sent WHERE sync = :sync AND key = '{"id": 5}';
SELECT activate_retry('clash');
SELECT activate_wait('clash');

-- a record that the application has changed is not deleted
DELETE FROM person WHERE id IN (2, 4);
SELECT go('clash');
SELECT key, op, code, reason FROM activate.rejection WHERE sync = :sync;
SELECT activate_wait('clash');
SELECT id FROM held WHERE id IN (2, 4);
SELECT go('clash') AS nothing;
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/2 '{"email": "p2"}' >/dev/null
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id FROM held WHERE id IN (2, 4);
SELECT count(*) FROM activate.rejection WHERE sync = :sync;
-- another who wins: what was withheld goes out
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/6 '{"email": "theirs"}' >/dev/null
UPDATE person SET email = 'ours', city = 'Oslo' WHERE id = 6;
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id, email, city FROM held WHERE id = 6;
SELECT activate_sync('clash', 'source', 'clash.people', mode => 'mirror') = :sync AS same;
SELECT go('clash');
SELECT activate_wait('clash');
SELECT id, email, city FROM held WHERE id IN (5, 6) ORDER BY id;
-- a column that the application writes in its own way
\! "$ACTIVATE_SERVICE" call PATCH /objects/people/7 '{"email": "P7", "city": "theirs"}' >/dev/null
SELECT activate_sync('clash', 'source', 'clash.people', mode => 'mirror', options => '{"conflict": {"*": "application", "email": "ignore"}}') = :sync AS same;
SELECT differs('clash');

-- what was never written stays the application's, also where a NULL would not be sent
\! "$ACTIVATE_SERVICE" call PUT /objects/quiet/1 '{"email": "first"}' >/dev/null
SELECT activate_sync('quiet', 'SELECT id, email FROM person WHERE id < 3', 'clash.quiet', key => 'id', options => '{"conflict": {"email": "application"}}') > 0 AS declared;
SELECT go('quiet');
SELECT activate_wait('quiet');
SELECT go('quiet') AS nothing;
SELECT activate_wait('quiet');
SELECT id, email FROM clash.quiet ORDER BY id;

-- the newest side
SELECT activate_sync('newest', 'person', 'clash.others', map => '{"id": "id", "email": "email", "city": "city"}',
	options => '{"conflict": "newest", "newest": {"warehouse": "updated", "application": "modified"}, "on_drift": "evolve"}') > 0 AS declared;
SELECT go('newest');
SELECT activate_wait('newest');
\! "$ACTIVATE_SERVICE" call PATCH /objects/others/1 '{"email": "later", "modified": "2026-03-01T00:00:00Z"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/others/3 '{"email": "earlier", "modified": "2026-02-01T00:00:00Z"}' >/dev/null
\! "$ACTIVATE_SERVICE" call PATCH /objects/others/5 '{"email": "no time"}' >/dev/null
UPDATE person SET email = 'ours', updated = '2026-02-15' WHERE id IN (1, 3, 5);
SELECT go('newest');
SELECT activate_wait('newest');
SELECT id, email FROM clash.others WHERE id IN (1, 3, 5) ORDER BY id;
-- the row is touched later: it is ours again, also if it says nothing new
UPDATE person SET updated = clock_timestamp() WHERE id IN (1, 3);
SELECT go('newest');
SELECT activate_wait('newest');
SELECT id, email FROM clash.others WHERE id IN (1, 3) ORDER BY id;
SELECT go('newest') AS nothing;

-- a column that is renamed is followed
ALTER TABLE person RENAME updated TO touched;
SELECT go('newest') AS nothing;
SELECT options -> 'newest' AS newest FROM activate.sync WHERE name = 'newest';
ALTER TABLE person RENAME touched TO updated;

-- an application that does not answer: the run fails, nothing is sent
\! "$ACTIVATE_SERVICE" call POST /_control '{"fault": "status", "status": 500}' >/dev/null
\set VERBOSITY terse
UPDATE person SET city = 'Bern' WHERE id = 1;
SELECT go('newest');
\set VERBOSITY default
-- nor is it read where no policy leaves anything to it
SELECT activate_sync('quiet', 'SELECT id, email FROM person WHERE id < 3', 'clash.quiet', key => 'id', options => '{"conflict": {"email": "ignore", "*": "warehouse"}}') > 0 AS declared;
SELECT activate_run('quiet') > 0 AS run;
\! "$ACTIVATE_SERVICE" call POST /_reset >/dev/null

SET client_min_messages = warning;
SELECT activate_drop(name) FROM activate.sync WHERE name IN ('clash', 'newest', 'quiet') ORDER BY name;
SELECT count(*) FROM activate._kept;
DROP SERVER clash CASCADE;
DROP SCHEMA clash CASCADE;
DROP SCHEMA conflict_test CASCADE;
