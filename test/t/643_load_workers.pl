# Several processes load one large table at once (src/load/worker.c): whatever becomes of them, the table is what the run says.
# Rows of the map wait at a gate, a sequence, which is seen by whatever snapshot.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $node = activate_node('workers', conf => "activate.chunk_rows = 10\nactivate.load_workers = 3\nmax_worker_processes = 16");
my $n    = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub waits_for { return ok($node->poll_query_until('postgres', $_[0]), $_[1]); }

# Who of the application comes to these rows waits there, until the gate is open.
sub close_gate
{
	my ($application, $from, $to) = @_;

	sql("UPDATE gate_at SET application = '$application', ids = int4range($from, $to, '[]'); SELECT setval('gate_open', 1)");
}

sub open_gate { sql("SELECT setval('gate_open', 2)"); }

sub at_gate
{
	my ($application, $count) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = $count FROM pg_stat_activity WHERE backend_type = '$application' AND wait_event = 'PgSleep'");
}

sub no_workers
{
	return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'activate load worker'");
}

# A table of 100 rows and its copy, which is empty: 1 to 11 is the runner's, 12 to 22 and 23 to 33 are those of the load workers, and so on.
sub declare
{
	my (%options) = @_;
	my $name = 't' . ++$n;

	sql("CREATE TABLE s$name (id int PRIMARY KEY, v text); INSERT INTO s$name SELECT i, 'v' || i FROM generate_series(1, 100) i;
		CREATE TABLE $name (id int PRIMARY KEY, v text" . ($options{columns} // '') . ')');
	sql(($options{as} // '') . "SELECT activate_sync('$name', 's$name', '$name', map => '{\"id\": \"id\", \"v\": \"gate(id, v)\"}', schedule => '\@every 1s')");
	return $name;
}

sub succeeded
{
	my ($name) = @_;

	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND r.status = 'succeeded'"), 'the run succeeds');
	is(sql("SELECT count(*) FROM (SELECT id, v FROM s$name) s FULL JOIN (SELECT id, v FROM $name) t USING (id, v) WHERE s.* IS NULL OR t.* IS NULL"), 0, 'and all is there');
	sql("SELECT activate_pause('$name')");
	ok(no_workers(), 'no load worker is left');
	return;
}

sub runs
{
	my ($name) = @_;

	return sql("SELECT string_agg(format('%s %s %s', status, rows_inserted, rows_updated), ', ' ORDER BY r.id) FROM activate.run r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$name' AND rows_read > 0 AND rows_inserted > 0");
}

sql("CREATE TABLE gate_at (application text, ids int4range); INSERT INTO gate_at VALUES ('', 'empty'); CREATE SEQUENCE gate_open; CREATE TABLE side (n int);
	CREATE FUNCTION gate(n int, v text) RETURNS text STABLE LANGUAGE plpgsql AS \$\$
	BEGIN
		IF EXISTS (SELECT FROM gate_at WHERE application = current_setting('application_name') AND n <@ ids) THEN
			WHILE (SELECT last_value FROM gate_open) = 1 LOOP
				PERFORM pg_sleep(0.02);
			END LOOP;
		END IF;
		RETURN v;
	END \$\$;
	GRANT SELECT ON gate_at, gate_open TO PUBLIC");

subtest 'three at once' => sub {
	close_gate('activate load worker', 1, 100);
	my $name = declare();
	ok(at_gate('activate load worker', 2), 'two load workers');
	waits_for("SELECT count(*) = 1 FROM activate.stat_run WHERE name = '$name' AND rows_written = 11", 'the runner has written its chunk');
	is(sql("SELECT count(*) FROM $name"), 0, 'nothing is committed before all of them have written');
	open_gate();
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'the run counts all rows, each once');
};

subtest 'progress' => sub {
	close_gate('activate runner', 5, 5);
	my $name = declare();
	ok(at_gate('activate runner', 1), 'the runner is in its chunk');
	waits_for("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'activate load worker' AND wait_event = 'Extension'", 'the load workers are ready');
	open_gate();
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'all is counted');
};

subtest 'a load worker is terminated' => sub {
	close_gate('activate load worker', 25, 25);
	my $name = declare();
	ok(at_gate('activate load worker', 1), 'one is in the middle of its chunk');
	close_gate('nobody', 1, 1);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'activate load worker' AND wait_event = 'PgSleep'");
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'the runner has done it');
	open_gate();
};

subtest 'a load worker meets an error' => sub {
	sql("CREATE FUNCTION fail_beside(n int, v text) RETURNS text STABLE LANGUAGE plpgsql AS \$\$
		BEGIN
			IF current_setting('application_name') = 'activate load worker' AND n = 15 THEN RAISE 'not here'; END IF;
			RETURN v;
		END \$\$");
	my $name = 't' . ++$n;

	sql("CREATE TABLE s$name AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 100) i; ALTER TABLE s$name ADD PRIMARY KEY (id);
		CREATE TABLE $name (id int PRIMARY KEY, v text);
		SELECT activate_sync('$name', 's$name', '$name', map => '{\"id\": \"id\", \"v\": \"fail_beside(id, v)\"}', schedule => '\@every 1s')");
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'the runner has done its chunk');
};

subtest 'a row that breaks a constraint' => sub {
	my $name = declare(columns => " CHECK (v <> 'v15')");

	waits_for("SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND r.status = 'failed' AND r.error ~ 'violates check constraint'", 'the run fails and says why');
	is(sql("SELECT count(*) FROM $name"), 0, 'nothing is there: what was loaded beside it is taken back');
	sql("UPDATE s$name SET v = 'mended' WHERE id = 15");
	succeeded($name);
};

subtest 'the runner ends' => sub {
	for my $how ('pg_terminate_backend', 'pg_cancel_backend')
	{
		close_gate('activate load worker', 12, 12);
		my $name = declare();
		ok(at_gate('activate load worker', 1), 'a load worker is in its chunk');
		waits_for("SELECT count(*) = 1 FROM activate.stat_run WHERE name = '$name' AND rows_written >= 11", 'and the runner waits for it');
		sql("SELECT activate_pause('$name')") if $how eq 'pg_terminate_backend';
		# of this run: one that was only cancelled is soon begun again
		my $run = sql("SELECT run FROM activate.stat_run WHERE name = '$name'");
		sql("SELECT $how(pid) FROM activate.stat_run WHERE name = '$name'");
		waits_for("SELECT count(*) = 0 FROM activate.stat_run WHERE run = $run", "$how: it is gone");
		ok(no_workers(), 'and so are the load workers, though one was in the middle of a row') if $how eq 'pg_terminate_backend';
		open_gate();
		ok(no_workers(), 'none is left');
		is(sql("SELECT count(*) FROM $name WHERE id > 11"), 0, 'without a row') if $how eq 'pg_terminate_backend';
		sql("SELECT activate_resume('$name')") if $how eq 'pg_terminate_backend';
		succeeded($name);
	}
};

subtest 'a crash' => sub {
	for my $who ('runner', 'load worker')
	{
		close_gate('activate load worker', 12, 12);
		my $name = declare();
		ok(at_gate('activate load worker', 1), 'a load worker is in its chunk');
		kill_hard(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'activate $who' LIMIT 1"));
		ok($node->poll_query_until('postgres', 'SELECT true'), "the $who is killed, the server is back");
		open_gate();
		succeeded($name);
		is(sql("SELECT count(*) FROM activate._backfill"), 0, 'it is complete');
	}
};

# The runner waits for somebody who waits for a load worker, who waits for the runner.
subtest 'no deadlock that nobody would find' => sub {
	sql("CREATE FUNCTION look_aside(n int, v text) RETURNS text STABLE LANGUAGE plpgsql AS \$\$
		BEGIN
			v := gate(n, v);
			IF n > 5 THEN PERFORM FROM side; END IF;
			RETURN v;
		END \$\$");
	my $name = 't' . ++$n;

	close_gate('activate runner', 5, 5);
	sql("CREATE TABLE s$name AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 100) i; ALTER TABLE s$name ADD PRIMARY KEY (id);
		CREATE TABLE $name (id int PRIMARY KEY, v text);
		SELECT activate_sync('$name', 's$name', '$name', map => '{\"id\": \"id\", \"v\": \"look_aside(id, v)\"}', schedule => '\@every 1s')");
	ok(at_gate('activate runner', 1), 'the runner is in its chunk');
	waits_for("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'activate load worker' AND wait_event = 'Extension'", 'the load workers are ready');
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query_until(qr/asked/, "\\echo asked\nBEGIN; LOCK TABLE side; COMMIT;\n");
	waits_for("SELECT count(*) = 1 FROM pg_locks WHERE relation = 'side'::regclass AND NOT granted", 'somebody waits for them');
	open_gate();
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'all is counted once');
	$session->quit;
};

subtest 'where it must not be' => sub {
	close_gate('activate load worker', 1, 100);
	succeeded(declare(columns => ' UNIQUE'));
	open_gate();
};

subtest 'more than there are slots for' => sub {
	sql("ALTER SYSTEM SET activate.load_workers = 16; SELECT pg_reload_conf()");
	my $name = declare();
	succeeded($name);
	is(runs($name), 'succeeded 100 0', 'all is counted once');
	sql("ALTER SYSTEM RESET activate.load_workers; SELECT pg_reload_conf()");
};

subtest 'an owner that may not log in' => sub {
	sql("CREATE ROLE team NOLOGIN; GRANT SELECT ON gate_at, gate_open TO team; GRANT CREATE ON SCHEMA public TO team");
	my $name = 't' . ++$n;

	sql("SET SESSION AUTHORIZATION team; CREATE TABLE s$name AS SELECT i AS id FROM generate_series(1, 100) i; ALTER TABLE s$name ADD PRIMARY KEY (id);
		CREATE TABLE $name (id int PRIMARY KEY, v text);
		SELECT activate_sync('$name', 's$name', '$name', map => '{\"id\": \"id\", \"v\": \"current_user\"}', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND r.status = 'succeeded'"), 'the run succeeds');
	is(sql("SELECT count(*), min(v), max(v) FROM $name"), '100|team|team', 'as the owner');
};

$node->stop('fast');
done_testing();
