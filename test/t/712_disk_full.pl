# The disk of our tables and of the source is full, and has room again: whoever writes is told, nothing that was committed is
# lost, nothing is repeated without need, and the log tells it once.
use ActivateTest::SmallDisk;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my $crm = ActivateTest::Service->new(log => 100_000);
my ($node, $from);

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The lines of our processes since the last look, but for starts and ends of processes.
sub lines
{
	my $log = substr(slurp_file($node->logfile), $from);

	$from += length $log;
	return grep { !/terminating background worker|exited with exit code/ }
	  map { s/^\S+ \S+ \S+ \[\d+\] //r } grep { /(LOG|WARNING|ERROR):  activate/ } split /\n/, $log;
}

# Is it in the log within reasonable time, so many times?
sub log_says
{
	my ($pattern, $name, $count) = @_;

	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my @found = substr(slurp_file($node->logfile), $from) =~ /$pattern/g;
		return pass($name) if @found >= ($count // 1);
		Time::HiRes::usleep(10_000);
	}
	diag substr(slurp_file($node->logfile), $from);
	return fail($name);
}

# While one cannot write, a deliverer tries again and again, and rests in between.
sub rests
{
	my ($pid) = @_;
	my $rollbacks = sql("SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'");

	ok($node->poll_query_until('postgres', "SELECT xact_rollback > $rollbacks + 3 FROM pg_stat_database WHERE datname = 'postgres'"), 'it is tried again');
	ok($node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid"), 'and it rests in between');
	is((worker_pids($node, 'deliver'))[0], $pid, 'the deliverer lives');
	is(scalar(grep { /wait to be written/ } lines()), 1, 'one line of the log tells');
	return;
}

# Messages that came to a receiver more than once.
sub repeated { return scalar grep { $_ > 1 } values %{ $crm->hook_state($_[0])->{ids} }; }

# Any server: writes beyond a megabyte fail, of some processes, for a while.  A quota of the file system is told as ungracefully.
subtest 'a limit on the size of files' => sub {
	plan skip_all => 'there is no prlimit' unless grep { -x "$_/prlimit" } split /:/, $ENV{PATH};
	$node = activate_node('limit', extra => ['--wal-segsize=1'], conf => 'autovacuum = off');
	$from = 0;
	sql("CREATE TABLE t (id int PRIMARY KEY, v text);
		SELECT activate_target('t', 'webhook', '{\"url\": \"" . $crm->url('/hook/limit') . "\", \"batch\": 100}');
		SELECT activate_sync('limit', 't', 't.change', capture => 'trigger')");
	# of a sync that there is not
	sql("INSERT INTO activate._sent (sync, digest, seq, sent_at, key) SELECT -1, gen_random_uuid(), 1, now(), '{}' FROM generate_series(1, 20000)");
	cmp_ok(sql("SELECT pg_relation_size('activate._sent')"), '>', 1024 * 1024, 'what was sent fills more than that');
	sql("INSERT INTO t SELECT i, 'before' FROM generate_series(1, 10) i");
	ok(delivered($node), 'delivered');
	my ($pid) = worker_pids($node, 'deliver');
	my $writer = ActivateTest::Session->new($node->connstr('postgres'));
	my $of_writer = $writer->run('SELECT pg_backend_pid()');
	lines();
	is(system('prlimit', "--pid=$_", '--fsize=1048576:'), 0, 'limited') for $pid, $of_writer;
	eval { $writer->run("INSERT INTO t SELECT i, repeat('never', 20) FROM generate_series(5001, 20000) i") };
	like($@, qr/could not extend file/, 'who writes is told');
	$writer->close;
	sql("INSERT INTO t SELECT i, 'after' FROM generate_series(3001, 4000) i");
	log_says(qr/wait to be written: could not extend file/, 'outcomes wait');
	rests($pid);
	is(system('prlimit', "--pid=$pid", '--fsize=unlimited:'), 0, 'no limit any more');
	ok(delivered($node), 'all is delivered');
	same_rows($node, $crm->hook_rows('limit', 'limit'), 'SELECT * FROM t', 'each row');
	is(repeated('limit'), 0, 'nothing came twice');
	is(sql('SELECT count(*) FROM activate.sync WHERE paused'), 0, 'nothing is paused');
	$node->stop('fast');
};

subtest 'the horizon cannot be written' => sub {
	$node->start;
	$from = -s $node->logfile;
	my $holder = ActivateTest::Session->new($node->connstr('postgres'));

	$holder->run('BEGIN; LOCK TABLE activate._horizon IN EXCLUSIVE MODE');
	sql("UPDATE t SET v = 'more' WHERE v = 'after'");
	log_says(qr/nothing is sent, the horizon cannot be written/, 'the log tells');
	my $rollbacks = sql("SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'");
	ok($node->poll_query_until('postgres', "SELECT xact_rollback > $rollbacks + 2 FROM pg_stat_database WHERE datname = 'postgres'"), 'it is tried again');
	is(scalar(grep { /horizon/ } lines()), 1, 'one line of the log tells');
	$holder->close;
	ok(delivered($node), 'then all is delivered');
	same_rows($node, $crm->hook_rows('limit', 'limit'), 'SELECT * FROM t', 'each row');
	$node->stop('fast');
};

# No room for a row of activate.run; the constraint says so without chance.
subtest 'runs that cannot be recorded' => sub {
	$node->start;
	$from = -s $node->logfile;
	sql("SELECT activate_sync('first', 't', 't.change', key => 'id', capture => 'diff');
		SELECT activate_sync('chained', 't', 't.change', key => 'id', capture => 'diff', schedule => 'after first')");
	sql("SELECT activate_pause('chained'); SELECT activate_run('first')");
	sql('ALTER TABLE activate.run ADD CONSTRAINT room CHECK (false) NOT VALID');
	sql("SELECT activate_resume('chained')");
	log_says(qr/"activate runner" .* exited with exit code 1/, 'the run of a chain cannot begin');
	log_says(qr/"activate runner" .* exited with exit code 1/, 'it comes again', 2);
	# by the log's own times, which are further apart on a machine that is slow, never nearer
	my @ends = map { $_->[0] * 3600 + $_->[1] * 60 + $_->[2] } map { [/ (\d+):(\d+):([\d.]+) /] }
	  grep { /"activate runner" .* exited with exit code 1/ } split /\n/, substr(slurp_file($node->logfile), $from);
	cmp_ok(($ends[1] - $ends[0]) % 86400, '>', 5, 'after a pause');
	sql('ALTER TABLE activate.run DROP CONSTRAINT room');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'chained' AND r.status = 'succeeded'"), 'then it does');
	$node->stop('fast');
};

my $disk = ActivateTest::SmallDisk->new(48);
if (!$disk)
{
	note 'no full disk: ' . ActivateTest::SmallDisk::missing();
	done_testing();
	exit;
}
$node = activate_node('disk', extension => 0, conf => "activate.connections = 4\nautovacuum = off");
$from = 0;
my $location = $disk->folder('tables');
sql("CREATE TABLESPACE small LOCATION '$location'");
sql('ALTER DATABASE postgres SET default_tablespace = small');
sql('CREATE EXTENSION activate');
for my $sync ([ 't', 'mirror', 1 ], [ 'many', 'upsert', 100 ], [ 'event', 'append', 10 ])
{
	my ($name, $mode, $batch) = @$sync;

	sql("CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY, v text);
		SELECT activate_target('$name', 'webhook', '{\"url\": \"" . $crm->url("/hook/$name") . "\", \"batch\": $batch}');
		SELECT activate_sync('$name', 't', '$name.change', key => 'id', capture => 'trigger', mode => '$mode', options => '"
		  . ($mode eq 'mirror' ? '{"min_deletes": 1000000}' : '{}') . "')");
}
sql("INSERT INTO t SELECT i, 'first' FROM generate_series(1, 10) i");
ok(delivered($node), 'delivered');
is(sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'activate'::regnamespace AND relkind = 'r' AND reltablespace = 0"), 0, 'all of our tables are on the small disk');
lines();

subtest 'who writes is told, and nothing of it is seen' => sub {
	my $writer = 0;
	my ($code, $out, $err);

	$disk->fill;
	for (1 .. 1000)
	{
		$writer++;
		my $low = 1000 * $writer;
		($code, $out, $err) = $node->psql('postgres', "INSERT INTO t SELECT i, repeat('never', 20) FROM generate_series($low, $low + 500) i", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		last if $code;
		sql("UPDATE t SET v = 'there' WHERE id >= $low");
	}
	like($err, qr/ERROR:  53100: could not extend file/, 'a statement fails');
	$disk->empty;
	ok(delivered($node), 'what was committed is delivered');
	same_rows($node, $crm->hook_rows('t', 't'), 'SELECT * FROM t', 'as it is');
	sql('DELETE FROM t WHERE id > 10');
	ok(delivered($node), 'and deleted');
};

subtest 'outcomes wait until they can be written' => sub {
	# what waits while the targets are down
	$crm->control({ fault => 'status', status => 503, path => '/hook' });
	sql("INSERT INTO t SELECT i, 'waits' FROM generate_series(101, 2100) i");
	ok($node->poll_query_until('postgres', "SELECT bool_and(state = 'down') FROM activate.stat_target"), 'the targets are down');
	# no page with room is left
	sql('VACUUM');
	lines();
	$disk->fill;
	$crm->heal;
	log_says(qr/wait to be written: could not extend file/, 'the log tells');
	my ($pid) = worker_pids($node, 'deliver');
	rests($pid);
	$disk->empty;
	ok(delivered($node), 'there is room again: all is delivered');
	same_rows($node, $crm->hook_rows('t', 't'), 'SELECT * FROM t', 'each row');
	same_rows($node, $crm->hook_rows('many', 'many'), "SELECT * FROM t UNION ALL SELECT * FROM jsonb_to_recordset('" . $crm->hook_rows('many', 'many') . "') AS x(id int, v text) WHERE id NOT IN (SELECT id FROM t)", 'of the other sync, too');
	is(sql('SELECT count(*) FROM activate.rejection'), 0, 'nothing is rejected');
	is(sql('SELECT count(*) FROM activate.sync WHERE paused'), 0, 'nothing is paused');
	is(repeated($_), 0, "$_: nothing came twice") for qw(t many event);
	is((worker_pids($node, 'deliver'))[0], $pid, 'by the same deliverer');
};

subtest 'a crash while outcomes wait' => sub {
	$crm->control({ fault => 'status', status => 503, path => '/hook' });
	sql("INSERT INTO t SELECT i, 'crash' FROM generate_series(10001, 12000) i");
	ok($node->poll_query_until('postgres', "SELECT bool_and(state = 'down') FROM activate.stat_target"), 'the targets are down');
	lines();
	$disk->fill;
	$crm->heal;
	log_says(qr/wait to be written: could not extend file/, 'the log tells');
	kill_hard(worker_pids($node, 'deliver'));
	$disk->empty;
	ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');
	ok(delivered($node), 'all is delivered');
	same_rows($node, $crm->hook_rows('t', 't'), 'SELECT * FROM t', 'each row');
	cmp_ok(sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"), '>', 0, 'what was perhaps sent is ambiguous');
};

subtest 'a shutdown and a start while the disk is full' => sub {
	$crm->control({ fault => 'status', status => 503, path => '/hook' });
	sql("INSERT INTO t SELECT i, 'stop' FROM generate_series(20001, 22000) i");
	ok($node->poll_query_until('postgres', "SELECT bool_and(state = 'down') FROM activate.stat_target"), 'the targets are down');
	lines();
	$disk->fill;
	$crm->heal;
	log_says(qr/wait to be written: could not extend file/, 'the log tells');
	stops_fast($node, 'it stops');
	$node->start;
	log_says(qr/could not extend file/, 'the next one has no room either');
	$disk->empty;
	ok(delivered($node), 'there is room again: all is delivered');
	same_rows($node, $crm->hook_rows('t', 't'), 'SELECT * FROM t', 'each row');
};

$node->stop('fast');
done_testing();
