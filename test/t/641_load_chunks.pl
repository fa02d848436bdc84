# Runs of runners go by chunks (SEMANTICS 2): what is committed stays, whoever comes next goes on there.
# A gate in the map stops a runner at a row, so that it can be met between two chunks.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('chunks', conf => "activate.chunk_rows = 10\nactivate.load_workers = 1\nactivate.runners = 4");
my $url  = $crm->url('/hook');
my $session;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# 45 rows: 1 and 2, 3, 4 ... share a rev by three, so that a value lies across each end of a chunk.
sub source
{
	my ($name) = @_;

	sql("CREATE TABLE $name (id int PRIMARY KEY, v text, rev int); INSERT INTO $name SELECT i, 'v' || i, (i + 1) / 3 FROM generate_series(1, 45) i;
		CREATE INDEX ON $name (rev)");
}

# Runners stop at rows with these ids, as long as it is closed.
sub close_gate
{
	my ($from, $to) = @_;

	sql("UPDATE gate_at SET ids = int4range($from, " . ($to // 'NULL') . ", '[]')");
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query('SELECT pg_advisory_lock(641)');
}

sub open_gate { $session->query('SELECT pg_advisory_unlock_all()'); $session->quit; }

# Where all but the sync itself is of no interest.
sub declare
{
	my ($name, $source, $arguments) = @_;

	return sql("SELECT activate_sync('$name', \$\$$source\$\$, $arguments, map => '{\"id\": \"id\", \"v\": \"gate(id, v)\"}', schedule => '\@every 1s')");
}

sub hook
{
	my ($name) = @_;

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url/$name\", \"batch\": 100}'); SELECT activate_pause('target:$name')");
}

sub stopped
{
	my ($name) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.stat_run r JOIN pg_stat_activity a ON a.pid = r.pid
		WHERE r.name = '$name' AND a.wait_event = 'advisory'");
}

sub succeeded
{
	my ($name) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$name' AND r.status = 'succeeded'");
}

# The first runs of a sync: status, rows read, inserted, updated.
sub runs
{
	my ($name, $n) = @_;

	return sql("SELECT string_agg(format('%s %s %s %s', status, rows_read, rows_inserted, rows_updated), ', ' ORDER BY id)
		FROM (SELECT r.* FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' ORDER BY r.id LIMIT $n) r");
}

sub error_of_first
{
	return sql("SELECT r.error FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' ORDER BY r.id LIMIT 1");
}

# What the receiver was told, by key: a message once more would be counted.
sub told
{
	my ($name) = @_;
	my %told;

	for my $request (@{ $crm->log("/hook/$name") })
	{
		$told{$1}++ while $request->{body} =~ /"key": ?\{"id": ?(-?\d+)\}/g;
	}
	return join(' ', map { "$_:$told{$_}" } sort { $a <=> $b } keys %told);
}

sub once { return join(' ', map { "$_:1" } @_); }

sub same
{
	my ($source, $target, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("SELECT count(*) FROM (SELECT id, v FROM $source) s FULL JOIN (SELECT id, v FROM $target) t USING (id, v) WHERE s.* IS NULL OR t.* IS NULL"), 0, $name);
}

sql("CREATE TABLE gate_at (ids int4range); INSERT INTO gate_at VALUES ('empty');
	CREATE FUNCTION gate(n int, v text) RETURNS text STABLE LANGUAGE plpgsql AS \$\$
	BEGIN
		IF current_setting('application_name') = 'activate runner' AND n <@ (SELECT ids FROM gate_at) THEN
			PERFORM pg_advisory_xact_lock_shared(641);
		END IF;
		RETURN v;
	END \$\$; GRANT SELECT ON gate_at TO PUBLIC");

# The runner that stands at the gate dies, and with it the server's other processes.
sub kill_runner
{
	kill_hard(sql("SELECT pid FROM activate.stat_run WHERE name = '$_[0]'"));
	eval { $session->quit };
	return ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');
}

# rev: 1 has 0, 2 to 4 have 1, ... A chunk ends with the 11th row behind the last one and who shares its value: 13, 25, 37, all.
subtest 'into a table, by cursor: a runner dies' => sub {
	source('s1');
	sql('CREATE TABLE t1 (id int PRIMARY KEY, v text)');
	close_gate(30);
	declare('t1', 's1', "'t1', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	ok(stopped('t1'), 'a runner is in the middle');

	is(sql('SELECT count(*), max(id) FROM t1'), '25|25', 'others see the chunks before');
	is(sql('SELECT rows_read, rows_inserted, status, finished_at IS NULL FROM activate.run'), '28|25|running|t', 'so does the history: one row, 11 to 13 were read again');
	is(sql("SELECT rows_written, rows_read >= 28 FROM activate.stat_run WHERE name = 't1'"), '25|t', 'and the progress');
	sql("INSERT INTO s1 VALUES (100, 'late', 8); UPDATE s1 SET v = 'changed', rev = 50 WHERE id = 5; UPDATE s1 SET v = 'ahead' WHERE id = 40");
	kill_runner('t1');
	ok(succeeded('t1'), 'the next one comes');
	is(runs('t1', 2), 'failed 28 25 0, succeeded 28 21 1', 'what was committed counts for the one that was cut off, the rest for its successor, which begins at 23');
	is(error_of_first('t1'), 'the process that ran it is gone', 'the reason is told');
	same('s1', 't1', 'nothing is skipped: a row that came late with a value that was read, one that changed behind, one that changed ahead');
	sql("SELECT activate_pause('t1')");
};

subtest 'into a web API, by cursor: a runner dies' => sub {
	source('s2');
	hook('h2');
	close_gate(30);
	declare('h2', 's2', "'h2.change', key => 'id', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	ok(stopped('h2'), 'a runner is in the middle');
	is(pending($node, 'h2'), 25, 'the chunks before are enqueued');
	sql("INSERT INTO s2 VALUES (100, 'late', 8); UPDATE s2 SET v = 'ahead' WHERE id = 40");
	kill_runner('h2');
	ok(succeeded('h2'), 'the next one comes');
	is(runs('h2', 2), 'failed 28 25 0, succeeded 27 21 0', 'and goes on where it ended');
	sql("SELECT activate_resume('target:h2')");
	ok(delivered($node, 'h2'), 'delivered');
	is(told('h2'), once(1 .. 45, 100), 'nothing is skipped, nothing told twice');
	sql("SELECT activate_pause('h2')");
};

subtest 'events, by cursor, with a lag: a runner dies' => sub {
	for my $key ("key => 'id', ", '')
	{
		my $name = $key ? 'h3' : 'h4';

		source("s$name");
		hook($name);
		sql("INSERT INTO s$name SELECT -i, v, rev FROM s$name, generate_series(id, id) i WHERE id % 7 = 0");
		close_gate(30);
		declare($name, "s$name", "'$name.change', ${key}mode => 'append', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
		ok(stopped($name), "$name: a runner is in the middle");
		ok(pending($node, $name) > 20, 'chunks before it are enqueued');
		kill_runner($name);
		ok(succeeded($name), 'the next one comes');
		is(sql("SELECT count(*), count(DISTINCT body) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$name'"), '51|51', 'each event is enqueued once');
		sql("SELECT activate_pause('$name')");
	}

	sql("CREATE TABLE stamped (id int PRIMARY KEY, v text, at timestamptz);
		INSERT INTO stamped SELECT i, 'v', timestamptz '2026-01-01' + i * interval '1 minute' FROM generate_series(1, 60) i; CREATE INDEX ON stamped (at);
		CREATE TABLE events (id int, v text)");
	close_gate(45);
	declare('lagging', 'stamped', "'events', mode => 'append', key => 'id', capture => 'cursor', options => '{\"cursor\": \"at\", \"lag\": \"25 min\"}'");
	ok(stopped('lagging'), 'a table: a runner is in the middle');
	sql("INSERT INTO stamped SELECT 100, 'late', max(at) + interval '10 min 30 s' FROM stamped JOIN events USING (id)");
	open_gate();
	ok(succeeded('lagging'), 'it goes on');
	same('stamped', 'events', 'a lag holds from chunk to chunk');
	is(sql('SELECT count(*) FROM events'), 61, 'and repeats nothing');
	sql("SELECT activate_pause('lagging')");
};

subtest 'a first run, by comparison: a runner dies' => sub {
	for my $mode (qw(mirror upsert insert update append))
	{
		my $name = "b_$mode";

		source("s$name");
		hook($name);
		close_gate(30);
		declare($name, "s$name", "'$name.change', key => 'id', mode => '$mode'");
		ok(stopped($name), "$mode: a runner is in the middle");
		is(pending($node, $name), 22, 'the chunks before are enqueued');
		is(sql("SELECT b.reached FROM activate._backfill b JOIN activate.sync s ON s.id = b.sync WHERE s.name = '$name'"), '{22}', 'up to there');
		sql("UPDATE s$name SET v = 'behind' WHERE id = 5; INSERT INTO s$name VALUES (-1, 'new', 0); DELETE FROM s$name WHERE id = 40");
		sql("SELECT activate_pause('$name')");
		kill_runner($name);
		close_gate(1, 22);
		sql("SELECT activate_resume('$name')");
		ok(stopped($name), 'the next one comes');
		is(pending($node, $name), 44, 'and goes on where it ended, before it looks at all of it again');
		open_gate();
		ok(succeeded($name), 'it is done');
		sql("SELECT activate_pause('$name'); SELECT activate_resume('target:$name')");
		is(sql("SELECT count(*) FROM activate._backfill b JOIN activate.sync s ON s.id = b.sync WHERE s.name = '$name'"), 0, 'it is complete');
		like(runs($name, 2), $mode eq 'append' ? qr/^failed 22 22 0, succeeded 45 23 0$/ : qr/^failed 22 22 0, succeeded 45 24 0$/, 'what has changed behind is found, too');
		sql("SELECT activate_resume('$name')");
		ok(delivered($node, $name), 'delivered');
		is(told($name), once(-1, 1 .. 39, 41 .. 45), 'each row is told once');
		sql("SELECT activate_pause('$name')");
	}
};

subtest 'a first run into an empty table, by comparison: a runner dies' => sub {
	for my $mode (qw(mirror upsert insert))
	{
		my $name = "e_$mode";

		source("s$name");
		sql("CREATE TABLE $name (id int PRIMARY KEY, v text)");
		close_gate(30);
		declare($name, "s$name", "'$name', mode => '$mode'");
		ok(stopped($name), "$mode: a runner is in the middle");
		is(sql("SELECT count(*), max(id) FROM $name"), '22|22', 'others see the chunks before');
		is(sql("SELECT r.rows_written FROM activate.stat_run r WHERE r.name = '$name'"), 22, 'and the progress');
		sql("UPDATE s$name SET v = 'behind' WHERE id = 5; INSERT INTO s$name VALUES (-1, 'new', 0); DELETE FROM s$name WHERE id IN (7, 40)");
		sql("SELECT activate_pause('$name')");
		kill_runner($name);
		close_gate(1, 22);
		sql("SELECT activate_resume('$name')");
		ok(stopped($name), 'the next one comes');
		is(sql("SELECT count(*), max(id) FROM $name"), '44|45', 'and goes on where it ended, before it looks at all of it again');
		open_gate();
		ok(succeeded($name), 'it is done');
		is(runs($name, 2), 'failed 22 22 0, succeeded 66 23 ' . ($mode eq 'insert' ? 0 : 1),
			'what has changed behind is found, too');
		same("(TABLE s$name" . { mirror => '', upsert => q{ UNION ALL VALUES (7, 'v7', 0)}, insert => q{ UNION ALL VALUES (7, 'v7', 0)} }->{$mode} . ') s', $name, 'it is all there') if $mode ne 'insert';
		is(sql("SELECT v FROM $name WHERE id = 5"), $mode eq 'insert' ? 'v5' : 'behind', 'by the rules of its mode');
		is(sql("SELECT count(*) FROM activate._backfill b JOIN activate.sync s ON s.id = b.sync WHERE s.name = '$name'"), 0, 'it is complete');
		sql("SELECT activate_pause('$name')");
	}
};

# Of a table that has rows, or that somebody writes to meanwhile.
subtest 'a first run into a table that is not empty' => sub {
	source('s20');
	sql("CREATE TABLE t20 (id int PRIMARY KEY, v text); INSERT INTO t20 VALUES (33, 'mine'); CREATE TABLE t21 (id int PRIMARY KEY, v text)");
	close_gate(30);
	declare($_, 's20', "'$_'") for qw(t20 t21);
	ok(stopped('t20'), 'a runner is in the middle');
	is(sql('SELECT count(*) FROM t20'), 1, 'it compares: nothing is committed');
	ok(stopped('t21'), 'another, of an empty table');
	sql("INSERT INTO t21 VALUES (33, 'mine'), (100, 'mine')");
	open_gate();
	ok(succeeded($_), "$_: it goes on") for qw(t20 t21);
	is(runs('t20', 1), 'succeeded 45 44 1', 'in one transaction');
	is(runs('t21', 1), 'succeeded 67 44 1', 'what is in the way is compared, all at once');
	same('s20', 't20', 'it is all there');
	same("(TABLE s20 UNION ALL VALUES (100, 'mine', 0)) s", 't21', 'here as well');
	sql("SELECT activate_pause('$_')") for qw(t20 t21);
};

subtest 'a first run that is not cut' => sub {
	source('s5');
	sql('CREATE TABLE s6 AS TABLE s5');
	sql('INSERT INTO s6 VALUES (NULL, $$no key$$, 3)');
	for my $name (qw(whole5 whole6))
	{
		my $source = $name =~ s/whole/s/r;

		hook($name);
		close_gate(30);
		declare($name, $source, "'$name.change', key => 'id', options => '{\"backfill\": " . ($name eq 'whole5' ? 'false' : 'true') . "}'");
		ok(stopped($name), "$name: a runner is in the middle");
		is(pending($node, $name) . sql("SELECT count(*) FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = '$name'"), '00', 'nothing is committed');
		open_gate();
		ok(succeeded($name), 'it goes on');
		sql("SELECT activate_pause('$name')");
	}
	is(runs('whole5', 1), 'succeeded 45 0 0', 'backfill = false: one moment is what is known');
	is(runs('whole6', 1), 'succeeded 46 45 0', 'a key without a unique index: what is to be sorted is read once');
};

subtest 'a cursor without an index' => sub {
	sql("CREATE TABLE bare AS TABLE s5; CREATE TABLE t_bare (id int PRIMARY KEY, v text)");
	close_gate(30);
	declare('bare', 'bare', "'t_bare', key => 'id', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	ok(stopped('bare'), 'a runner is in the middle');
	is(sql('SELECT count(*) FROM t_bare'), 0, 'nothing is committed: the source would be read once for each chunk');
	open_gate();
	ok(succeeded('bare'), 'it goes on');
	is(runs('bare', 1), 'succeeded 45 45 0', 'in one transaction');
	sql("SELECT activate_pause('bare')");
};

subtest 'from another server' => sub {
	my $here = "host '" . $node->host . "', port '" . $node->port . "', dbname 'postgres'";

	sql("CREATE EXTENSION postgres_fdw; CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS ($here); CREATE USER MAPPING FOR CURRENT_USER SERVER loop;
		CREATE FOREIGN TABLE far (id int, v text, rev int) SERVER loop OPTIONS (table_name 's5'); CREATE TABLE t_far (id int PRIMARY KEY, v text);
		CREATE TABLE r_far (id int PRIMARY KEY, v text); CREATE FOREIGN TABLE f_far (id int, v text) SERVER loop OPTIONS (table_name 'r_far')");
	for my $target (qw(t_far f_far))
	{
		close_gate(30);
		declare($target, 'far', "'$target', key => 'id', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
		ok(stopped($target), "$target: a runner is in the middle");
		is(sql("SELECT count(*), max(id) FROM $target"), '25|25', 'what sorts there is read by chunks');
		open_gate();
		ok(succeeded($target), 'it goes on');
		is(runs($target, 1), 'succeeded 54 45 0', 'it is one run');
		same('far', $target, 'it is all there');
		sql("SELECT activate_pause('$target')");
	}
};

subtest 'paused between two chunks, and disabled' => sub {
	source('s7');
	for my $case ([ 'p7', "SELECT activate_pause('p7')", "SELECT activate_resume('p7')", 'the sync was paused' ],
		[ 'd7', 'ALTER DATABASE postgres SET activate.enabled = off', 'ALTER DATABASE postgres SET activate.enabled = on', 'activate.enabled was turned off' ])
	{
		my ($name, $stop, $go_on, $reason) = @$case;

		sql("CREATE TABLE $name (id int PRIMARY KEY, v text)");
		close_gate(20);
		declare($name, 's7', "'$name', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
		ok(stopped($name), "$name: a runner is in the middle");
		sql($stop);
		open_gate();
		ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND status = 'failed'"), 'the run ends');
		is(runs($name, 1) . ' ' . sql("SELECT max(id) FROM $name"), 'failed 28 25 0 25', 'after its chunk');
		is(error_of_first($name), "$reason while it ran; the next run does what is left", 'and says why');
		sql($go_on);
		ok(succeeded($name), 'the next one comes');
		is(runs($name, 2), 'failed 28 25 0, succeeded 26 20 0', 'with what is left');
		same('s7', $name, 'it is all there');
		sql("SELECT activate_pause('$name')");
	}
};

subtest 'declared again between two chunks' => sub {
	source('s8');
	sql('CREATE TABLE t8 (id int PRIMARY KEY, v text)');
	close_gate(20);
	declare('t8', 's8', "'t8', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	ok(stopped('t8'), 'a runner is in the middle');
	my $other = $node->background_psql('postgres');
	$other->query_until(qr/started/, "\\echo started\nSELECT activate_sync('t8', 's8', 't8', capture => 'cursor', map => '{\"id\": \"id\", \"v\": \"upper(v)\"}',
		options => '{\"cursor\": \"rev\"}', schedule => '\@every 1s');\n");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT activate_sync' AND wait_event_type = 'Lock'}), 'the declaration waits for the chunk');
	open_gate();
	$other->query_safe('SELECT 1');
	$other->quit;
	ok(succeeded('t8'), 'the next run comes');
	is(runs('t8', 2), 'failed 28 25 0, succeeded 54 20 25', 'the former one ended after its chunk, the next one begins anew, as the declaration says');
	is(error_of_first('t8'), 'the sync was declared again while it ran; the next run does what is left', 'and says why');
	same('(SELECT id, upper(v) AS v FROM s8) s8', 't8', 'it is all of the new one');
	sql("SELECT activate_pause('t8')");
};

subtest 'dropped between two chunks' => sub {
	sql('CREATE TABLE t9 (id int PRIMARY KEY, v text)');
	close_gate(20);
	declare('t9', 's8', "'t9', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	ok(stopped('t9'), 'a runner is in the middle');
	my $other = $node->background_psql('postgres');
	$other->query_until(qr/started/, "\\echo started\nSELECT activate_drop('t9');\n");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT activate_drop' AND wait_event_type = 'Lock'}), 'the drop waits for the chunk');
	open_gate();
	$other->query_safe('SELECT 1');
	$other->quit;
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'activate runner'}), 'the runner goes');
	is(sql('SELECT max(id) FROM t9') . sql('SELECT count(*) FROM activate.stat_run'), '250', 'after its chunk');
};

subtest 'a run by hand between two chunks' => sub {
	sql('CREATE TABLE t10 (id int PRIMARY KEY, v text)');
	close_gate(20);
	declare('t10', 's8', "'t10', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
	sql("SELECT activate_sync('then', 's8', 't10', mode => 'insert', schedule => 'after t10')");
	ok(stopped('t10'), 'a runner is in the middle');
	my $other = $node->background_psql('postgres');
	$other->query_until(qr/started/, "\\echo started\nSELECT activate_run('t10');\n");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT activate_run' AND wait_event_type = 'Lock'}), 'the second caller waits');
	is(sql('SELECT activate._run_start(id) IS NULL FROM activate.sync WHERE name = $$t10$$'), 't', 'the scheduler does not');
	is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'then'"), 0, 'who comes after it waits, too');
	open_gate();
	$other->query_safe('SELECT 1');
	$other->quit;
	ok(succeeded('t10'), 'both are done');
	ok(succeeded('then'), 'and who comes after it');
	same('s8', 't10', 'it is all there');
	is(sql("SELECT sum(rows_inserted) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name IN ('t10', 'then')"), 45, 'once');
	sql("SELECT activate_pause('t10')");
};

subtest 'what holds only once all is there' => sub {
	sql("CREATE TABLE s11 (id int PRIMARY KEY, v text, up int, rev int); INSERT INTO s11 SELECT i, 'v' || i, 46 - i, i FROM generate_series(1, 45) i; CREATE INDEX ON s11 (rev);
		CREATE TABLE t11 (id int PRIMARY KEY, v text UNIQUE, up int REFERENCES t11 DEFERRABLE INITIALLY DEFERRED); INSERT INTO t11 VALUES (45, 'v1')");
	sql("SELECT activate_sync('t11', 's11', 't11', capture => 'cursor', map => '{\"id\": \"id\", \"v\": \"v\", \"up\": \"up\"}', options => '{\"cursor\": \"rev\"}', schedule => '\@every 1s')");
	ok(succeeded('t11'), 'a unique value passes to a row of an earlier chunk, rows refer to rows of later ones');
	is(runs('t11', 1), 'succeeded 45 44 1', 'one transaction does it');
	same('s11', 't11', 'it is all there');
	sql("SELECT activate_pause('t11')");
};

subtest 'keys that are useless' => sub {
	for my $case ([ 'some', 20, 'succeeded 25' ], [ 'all', 45, 'failed 0' ])
	{
		my ($name, $bad, $want) = @$case;

		sql("CREATE TABLE s_$name (id int, v text, rev int); INSERT INTO s_$name SELECT CASE WHEN i > $bad THEN i END, 'v' || i, i FROM generate_series(1, 45) i;
			CREATE INDEX ON s_$name (rev); CREATE TABLE t_$name (id int PRIMARY KEY, v text)");
		declare($name, "s_$name", "'t_$name', key => 'id', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
		ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND status <> 'running'"), "$name: it ran");
		is(sql("SELECT status || ' ' || rows_inserted FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' ORDER BY r.id LIMIT 1"), $want, 'it is the whole run that must have a good one');
		sql("SELECT activate_pause('$name')");
	}
	like(error_of_first('all'), qr/^no row of the source of sync "all" has a usable key/, 'and says so');
};

subtest 'an owner who may not log in' => sub {
	sql("CREATE ROLE team NOLOGIN; CREATE SCHEMA team AUTHORIZATION team; SET ROLE team; CREATE TABLE team.s (id int PRIMARY KEY, v text, rev int);
		INSERT INTO team.s SELECT i, session_user, i FROM generate_series(1, 45) i; CREATE INDEX ON team.s (rev); CREATE TABLE team.t (id int PRIMARY KEY, v text)");
	close_gate(30);
	sql("SET ROLE team; SELECT activate_sync('of team', 'team.s', 'team.t', capture => 'cursor', map => '{\"id\": \"id\", \"v\": \"public.gate(id, current_user)\"}',
		options => '{\"cursor\": \"rev\"}', schedule => '\@every 1s')");
	ok(stopped('of team'), 'a runner is in the middle');
	is(sql('SELECT count(*), min(v), max(v) FROM team.t'), '22|team|team', 'chunks are committed, as the owner');
	sql('REVOKE SELECT ON team.s FROM team');
	open_gate();
	ok($node->poll_query_until('postgres', "SELECT paused FROM activate.sync WHERE name = 'of team'"), 'a right is gone');
	is(runs('of team', 1), 'failed 35 33 0', 'the counts are those of the chunks before');
};

$node->stop('fast');
done_testing();
