# Another server has committed what a run wrote, and we have not: the next run mends it, nothing is doubled.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node   = activate_node('here');
my $remote = PostgreSQL::Test::Cluster->new('there');
my @modes  = qw(upsert insert update mirror replace append);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub remote_rows { return $remote->safe_psql('postgres', "SELECT string_agg(id || v, ' ' ORDER BY id, v) FROM $_[0]"); }

sub last_run
{
	return sql("SELECT format('%s %s %s %s', r.status, rows_inserted, rows_updated, rows_deleted) FROM activate.run r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$_[0]' ORDER BY r.id DESC LIMIT 1");
}

$remote->init(allows_streaming => 1);
$remote->start;
sql('CREATE EXTENSION postgres_fdw');
sql("CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $remote->host . "', port '" . $remote->port . "', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER there; CREATE TABLE source (id int PRIMARY KEY, v text); INSERT INTO source VALUES (1, 'a'), (2, 'b'), (3, 'c')");

# Each target has a row to be changed, and one that is gone from the source.
sub target
{
	my ($name, $mode, $capture) = @_;
	my $key = $mode eq 'append' ? '' : ', PRIMARY KEY (id)';

	$remote->safe_psql('postgres', "CREATE TABLE $name (id int, v text$key); INSERT INTO $name VALUES (1, 'old'), (9, 'x')");
	sql("CREATE FOREIGN TABLE $name (id int, v text) SERVER there; SELECT activate_sync('$name', 'source', '$name', key => 'id', mode => '$mode', capture => '$capture')");
}

my %rows = (
	upsert  => '1a 2b 3c 9x',
	insert  => '1old 2b 3c 9x',
	update  => '1a 9x',
	mirror  => '1a 2b 3c',
	replace => '1a 2b 3c',
	append  => '1a 1old 2b 3c 9x');

# The commit fails after the other server's: a serialization failure is found last of all.
sub fail_to_commit
{
	my ($name) = @_;
	my $ours   = $node->background_psql('postgres', on_error_stop => 0);
	my $other  = $node->background_psql('postgres');

	$ours->query_safe("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM skew; SELECT activate_run('$name'); UPDATE skew SET v = v + 1 WHERE id = 1");
	$other->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT * FROM skew; UPDATE skew SET v = v + 1 WHERE id = 2; COMMIT');
	$ours->query('COMMIT');
	like($ours->{stderr}, qr/could not serialize access/, "$name: the commit fails");
	$ours->quit;
	$other->quit;
}

subtest 'an error' => sub {
	sql('CREATE TABLE skew (id int PRIMARY KEY, v int); INSERT INTO skew VALUES (1, 0), (2, 0)');
	for my $mode (@modes)
	{
		my $name = "e_$mode";

		target($name, $mode, 'diff');
		fail_to_commit($name);
		is(remote_rows($name), $rows{$mode}, "$name: the other server has it all the same");
		is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'"), 0, "$name: here is no run of it");
		sql("SELECT activate_run('$name')");
		is(last_run($name), 'succeeded 0 0 0', "$name: the next run finds nothing to do");
		is(remote_rows($name), $rows{$mode}, "$name: nothing is doubled");
	}
};

# The other server commits, and does not answer: it waits for a standby that is not there.
subtest 'a crash' => sub {
	target("c_$_", $_, 'diff') for @modes;
	target('q_mirror', 'mirror', 'trigger');
	target('q_append', 'append', 'trigger');
	sql("SELECT activate_run('q_mirror', full => true); SELECT activate_run('q_append')");
	$remote->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
	$remote->reload;
	$remote->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'");
	my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } @modes;
	$sessions[$_]->query_until(qr/started/, "\\echo started\nSELECT activate_run('c_$modes[$_]');\n") for 0 .. $#modes;
	sql("INSERT INTO source VALUES (4, 'd')");
	my $waiting = @modes + 2;
	ok($remote->poll_query_until('postgres', "SELECT count(*) = $waiting FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), 'the other server has written its commits');
	is(sql("SELECT count(*) FROM activate.run WHERE status = 'running'"), 2, 'runners are among those that wait for it');
	$node->stop('immediate');
	eval { $_->quit } for @sessions;

	$remote->safe_psql('postgres', q{SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names});
	$remote->reload;
	ok($remote->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"), 'they are committed there');
	$node->start;
	for my $mode (@modes)
	{
		(my $there = remote_rows("c_$mode")) =~ s/ 4d//;
		is($there, $rows{$mode}, "c_$mode: the other server has it");
		sql("SELECT activate_run('c_$mode')");
		like(last_run("c_$mode"), $mode eq 'update' ? qr/succeeded 0 0 0/ : qr/succeeded [01] 0 0/, "c_$mode: the next run finds no more than what came since");
		is(sql("SELECT string_agg(id || v, ' ' ORDER BY id, v) FROM c_$mode WHERE id <> 4"), $rows{$mode}, "c_$mode: nothing is doubled");
	}
	ok(delivered($node, 'q_mirror'), 'what was queued is applied again');
	is(remote_rows('q_mirror'), '1a 2b 3c 4d', 'and changes nothing');
	is(sql("SELECT string_agg(r.status, ' ' ORDER BY r.id) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'q_mirror'"), 'succeeded failed succeeded', 'the run that was cut off failed');
	ok(delivered($node, 'q_append'), 'queued events');
	is(remote_rows('q_append'), '1a 1old 2b 3c 4d 4d 9x', 'come once more: what append by trigger cannot promise');
};

$node->stop('fast');
$remote->stop('fast');
done_testing();
