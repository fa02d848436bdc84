# Nothing is lost and nothing sent without need when processes die.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('crash');
my $rows = 3000;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# May be in the middle of a crash restart.
sub wait_for_server { return $node->poll_query_until('postgres', 'SELECT true'); }

my $url = $crm->url('/hook/crash');
sql("SELECT activate_target('crash', 'webhook', '{\"url\": \"$url\"}');
	CREATE TABLE crash AS SELECT i AS id, 0 AS v FROM generate_series(1, $rows) i; ALTER TABLE crash ADD PRIMARY KEY (id);
	SELECT activate_sync('crash', 'crash', 'crash.change', capture => 'trigger')");

# kill -9 of the deliverer in mid-delivery, several times
$crm->control({ fault => 'slow', path => '/hook/crash', ms => 20 });
sql("SELECT activate_run('crash')");
my $before = 0;
for my $n (1 .. 3)
{
	ok($node->poll_query_until('postgres', "SELECT count(*) > $before + 200 FROM activate.sent"), "kill $n: under way");
	$before = sql('SELECT count(*) FROM activate.sent');
	my ($pid) = worker_pids($node, 'deliver');
	kill_hard($pid);
	ok($node->poll_query_until('postgres',
		"SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type LIKE 'activate deliver%' AND pid <> $pid"), "kill $n: it is back");
}
$crm->heal;
ok(delivered($node, 'crash'), 'delivered in the end');
same_rows($node, $crm->hook_rows('crash', 'crash'), 'TABLE crash', 'nothing is lost');
is($crm->stats->{seq_regressions}, 0, 'no older message after a newer one');

# whatever was sent twice had the same id, and is marked
my $times = $crm->hook_state('crash')->{ids};
my @twice = grep { $times->{$_} > 1 } keys %$times;
is(scalar keys %$times, $rows, 'one id for each row, repeated or not');
cmp_ok(scalar @twice, '<=', 3 * 200, 'little more is repeated than was in flight');
if (@twice)
{
	my $list = join ',', map { "'$_'" } @twice;
	is(sql("SELECT count(*) FROM unnest(ARRAY[$list]) AS t(id) WHERE NOT EXISTS (SELECT FROM activate.receipt r
		WHERE r.idempotency_key = t.id AND r.outcome = 'ambiguous')"), 0, 'what is repeated is marked as ambiguous');
}

# terminated in order, with nothing in flight: nothing is ambiguous
is(sql("SELECT count(*) FROM activate._horizon"), 1, 'the horizon is written while there may be something to forget');
my $ambiguous = sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'");
$node->restart;
sql("UPDATE crash SET v = 1 WHERE id <= 10");
ok(delivered($node, 'crash'), 'after a restart in order');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"), $ambiguous, 'nothing is ambiguous');

# restarted in order with intents waiting that were never sent
sql("SELECT activate_pause('crash'); UPDATE crash SET v = 2 WHERE id <= 100");
$node->restart;
sql("SELECT activate_resume('crash')");
ok(delivered($node, 'crash'), 'what waited is delivered');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"), $ambiguous, 'and none of it is ambiguous');

# pg_terminate_backend in mid-delivery
$crm->control({ fault => 'slow', path => '/hook/crash', ms => 20 });
sql("UPDATE crash SET v = 3");
ok($node->poll_query_until('postgres', 'SELECT count(*) BETWEEN 1 AND 2800 FROM activate._intent'), 'under way');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'activate deliver%'");
$crm->heal;
ok(delivered($node, 'crash'), 'terminated and started again');

# what was settled gets to the disk by the worker, or where that does not come to it by the deliverer; nobody else is there to do it
my @others = split /\n/, sql("SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'background writer', 'checkpointer')");
my ($worker) = worker_pids($node, 'worker');
for my $stopped (0, $worker)
{
	kill 'STOP', @others, $stopped || ();
	sql("INSERT INTO crash VALUES ($rows + 1 + $stopped, 0)");
	ok(delivered($node, 'crash'), 'delivered');
	my $upto = sql('SELECT pg_current_wal_insert_lsn()');
	ok($node->poll_query_until('postgres', "SELECT pg_current_wal_flush_lsn() >= '$upto'"), $stopped ? 'flushed without the worker' : 'flushed by the worker');
	kill 'CONT', @others, $stopped || ();
}

# an immediate stop of the whole server
$crm->control({ fault => 'slow', path => '/hook/crash', ms => 20 });
sql("UPDATE crash SET v = 4");
ok($node->poll_query_until('postgres', 'SELECT count(*) BETWEEN 1 AND 2800 FROM activate._intent'), 'under way');
$node->stop('immediate');
$crm->heal;
$node->start;
wait_for_server();
ok(delivered($node, 'crash'), 'after a crash of the server');
same_rows($node, $crm->hook_rows('crash', 'crash'), 'TABLE crash', 'the last version of every row');
is($crm->stats->{seq_regressions}, 0, 'no older message after a newer one');

$node->stop('fast');
done_testing();
