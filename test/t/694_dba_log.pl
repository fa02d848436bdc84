# The log: a line per change of state, never per row.  SEMANTICS 13.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('log');
my $from = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The lines that our processes have written since the last look, but for starts and ends of processes.
sub lines
{
	my $log = substr(slurp_file($node->logfile), $from);

	$from += length $log;
	return grep { !/terminating background worker|exited with exit code/ }
	  map { s/^\S+ \S+ \S+ \[\d+\] //r } grep { /(LOG|WARNING|ERROR):  activate/ } split /\n/, $log;
}

sub fill { sql("UPDATE t SET v = '$_[0]'"); }

# The next so many notifications.
my $listener = $node->background_psql('postgres');
my $heard    = $listener->query_safe('LISTEN activate');
sub told
{
	my ($n) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	my @told;

	do
	{
		$heard .= $listener->query_safe('SELECT 1');
		push @told, $1 while $heard =~ s/notification "activate" with payload "([^\n]*)" received//;
	} until (@told >= $n || time > $until);
	return @told;
}

sub target_is
{
	my ($state) = @_;
	return ok($node->poll_query_until('postgres', "SELECT state = '$state' FROM activate.stat_target WHERE name = 'hook'"), "the target is $state");
}

sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, '0' FROM generate_series(1, 300) i;
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger', mode => 'mirror'); SELECT activate_run('t')");
ok(delivered($node, 't'), '300 rows are delivered');
is_deeply([ lines() ], [], 'without a line');

$crm->control({ fault => 'status', path => '/hook', status => 422 });
fill('refused');
ok(delivered($node, 't'), '300 rows are refused');
is(sql('SELECT count(*) FROM activate.rejection'), 300, 'and stand in rejection');
is_deeply([ lines() ], [], 'without a line');

$crm->heal;
$crm->control({ fault => 'status', path => '/hook', status => 503 });
fill('down');
target_is('down');
ok($node->poll_query_until('postgres', 'SELECT failures > 8 FROM activate.stat_target'), 'probes fail');
$crm->heal;
ok(delivered($node, 't'), 'delivered');
my @lines = lines();
is(scalar(grep { /is down/ } @lines), 1, 'down: one line');
is(scalar(grep { /is up again/ } @lines), 1, 'up: one line');
is(scalar @lines, 2, 'and no other');
is_deeply([ told(2) ], [ '{"target": "hook", "state": "down"}', '{"target": "hook", "state": "up"}' ], 'who listens is told the same');

$crm->control({ fault => 'status', path => '/hook', status => 401 });
fill('auth');
target_is('auth');
$crm->heal;
sql("SELECT activate_target('hook', 'webhook', '{}', '{\"bearer\": \"new\"}')");
ok(delivered($node, 't'), 'delivered');
is_deeply([ map { /is unauthorized|is up again/ ? 'ok' : $_ } lines() ], [ 'ok', 'ok' ], 'a refused secret: two lines');

sql("SELECT activate_pause('target:hook')");
fill('paused');
sql("SELECT activate_resume('target:hook')");
ok(delivered($node, 't'), 'delivered');
cmp_ok(scalar(lines()), '<=', 2, 'a pause: at most two lines');

# a source that has lost what no sync can be without
sql('ALTER TABLE t DROP COLUMN id CASCADE');
ok($node->poll_query_until('postgres', "SELECT paused FROM activate.sync WHERE name = 't'"), 'the key is gone: the sync is paused');
is(scalar(grep { /sync "t" is paused/ } split /\n/, substr(slurp_file($node->logfile), $from)), 1, 'one line');

$listener->quit;
$node->stop('fast');
done_testing();
