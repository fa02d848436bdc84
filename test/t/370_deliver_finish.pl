# An end in order leaves nothing in doubt but what was in flight without an answer.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('finish', conf => "activate.connections = 8\nactivate.retry_backoff = '20ms'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub declare
{
	my ($name, $rows, $more) = @_;
	my $url = $crm->url("/hook/$name");

	sql("DO \$\$ BEGIN PERFORM activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); END \$\$;
		CREATE TABLE $name AS SELECT i AS id, 0 AS v FROM generate_series(1, $rows) i; ALTER TABLE $name ADD PRIMARY KEY (id)");
	my $id = sql("SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger'" . ($more // '') . ')');
	sql("SELECT activate_run('$name')");
	return $id;
}

sub ambiguous { return sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"); }

sub under_way
{
	my ($id, $left) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) BETWEEN 1 AND $left FROM activate._intent WHERE sync = $id");
}

# answers that come in time
my $id = declare('steady', 2000);
ok(delivered($node, 'steady'), 'filled');
$crm->control({ fault => 'slow', path => '/hook/steady', ms => 50 });
for my $how ('pg_terminate_backend', 'a restart', 'another number of deliverers', 'a refused DROP EXTENSION')
{
	sql('UPDATE steady SET v = v + 1');
	ok(under_way($id, 1900), "$how: under way");
	if ($how eq 'pg_terminate_backend')
	{
		sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'activate deliver%'");
	}
	elsif ($how eq 'a restart')
	{
		$node->restart;
	}
	elsif ($how eq 'another number of deliverers')
	{
		sql("ALTER SYSTEM SET activate.deliverers = 2; SELECT pg_reload_conf()");
	}
	else
	{
		my ($status, $out, $err) = $node->psql('postgres', 'DROP EXTENSION activate');
		like($err, qr/cannot drop extension/, "$how: it is refused");
	}
	$crm->heal;
	ok(delivered($node, 'steady'), "$how: it goes on");
	is(ambiguous(), 0, "$how: nothing is ambiguous");
	is($crm->stats->{duplicates}, 0, "$how: nothing is sent twice");
	$crm->control({ fault => 'slow', path => '/hook/steady', ms => 50 });
}
$crm->heal;

# answers that never come: only what is in flight is in doubt
$id = declare('hang', 30);
ok(delivered($node, 'hang'), 'filled');
sql("ALTER SYSTEM SET activate.http_timeout = '10min'; SELECT pg_reload_conf()");
$crm->control({ fault => 'hang', path => '/hook/hang' });
sql('UPDATE hang SET v = 1 WHERE id <= 5');
ok($node->poll_query_until('postgres', "SELECT in_flight = 5 FROM activate.stat_target WHERE name = 'hang'"), 'five requests hang');
sql("SELECT activate_pause('target:hang')");
sql('UPDATE hang SET v = 2 WHERE id > 20');
stops_fast($node, 'a fast shutdown does not wait for them');
$crm->heal;
$node->start;
is(sql('SELECT count(*) FROM activate._horizon'), 0, 'the horizon is taken back');
is(sql("SELECT count(*) || ' ' || count(*) FILTER (WHERE (key ->> 'id')::int <= 5) FROM activate.receipt WHERE outcome = 'ambiguous'"), '5 5', 'five are ambiguous');
sql("SELECT activate_resume('target:hang')");
ok(delivered($node, 'hang'), 'and are sent again');
is(ambiguous(), 5, 'nothing else is ambiguous');
same_rows($node, $crm->hook_rows('hang', 'hang'), 'TABLE hang', 'everything has arrived');

# a refusal that is known is no doubt
sql("ALTER SYSTEM SET activate.retry_backoff = '3s'; SELECT pg_reload_conf()");
$crm->control({ fault => 'status', path => '/hook/hang', status => 500, count => 1 });
sql('UPDATE hang SET v = 3 WHERE id = 1');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.receipt WHERE outcome = 'retried'"), 'refused for now');
$node->restart;
ok(delivered($node, 'hang'), 'later taken');
is(ambiguous(), 5, 'which is not ambiguous');

# ... but the target may hold what it answered with 500, also when it was down by then
declare('doubt', 0, q(, mode => 'mirror'));
$crm->control({ fault => 'status', path => '/hook/doubt', status => 500 });
sql('INSERT INTO doubt SELECT i, 1 FROM generate_series(1, 8) i');
ok($node->poll_query_until('postgres', "SELECT requests >= 8 AND state = 'down' FROM activate.stat_target WHERE name = 'doubt'"), 'eight rows failed, and their target is down');
sql("SELECT activate_pause('target:doubt'); DELETE FROM doubt");
$node->restart;
$crm->heal;
sql("SELECT activate_resume('target:doubt')");
ok(delivered($node, 'doubt'), 'they are gone when it is back');
is(scalar(grep { $_->{body} =~ /"op": ?"delete"/ } @{ $crm->log('/hook/doubt') }), 8, 'and all are deleted');

# in the middle of a statement that takes long
sql("ALTER SYSTEM SET activate.render_timeout = '1h'; SELECT pg_reload_conf(); CREATE TABLE asleep (seconds int)");
sql('CREATE FUNCTION slowly(v int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM pg_sleep(a.seconds) FROM asleep a; RETURN v; END $$');
declare('slow', 1, q(, map => '{"row": "jsonb_build_object(''v'', slowly(v))"}', options => '{"backfill": false}'));
sql('INSERT INTO asleep VALUES (3000); UPDATE slow SET v = 1');
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type LIKE 'activate deliver%' AND wait_event = 'PgSleep'"), 'a row is being rendered');
sql("SELECT activate_pause('slow')");
stops_fast($node, 'a fast shutdown does not wait for it');
$node->start;
sql("DELETE FROM asleep; ALTER SYSTEM RESET ALL; SELECT pg_reload_conf(), activate_resume('slow')");
ok(delivered($node, 'slow'), 'it is rendered again');

# what activate_wait() has waited for is seen in the statistics
my $stale = 0;
for my $i (1 .. 20)
{
	sql("UPDATE steady SET v = -$i WHERE id <= 3");
	$stale++ if sql("SELECT activate_wait('steady'); SELECT in_flight FROM activate.stat_target WHERE name = 'steady'") ne "t\n0";
}
is($stale, 0, 'stat_target is up to date when activate_wait returns');

# headers that are not sent are not shown
is(sql("SELECT count(*) FROM activate_preview('steady', 1) p, jsonb_each_text(p.headers) h WHERE h.value = ''"), 0, 'a preview shows no empty header');

# the end of everything
$crm->control({ fault => 'slow', path => '/hook/steady', ms => 20 });
sql('UPDATE steady SET v = 100');
ok(under_way(sql("SELECT id FROM activate.sync WHERE name = 'steady'"), 1900), 'under way');
sql('SET client_min_messages = error; DROP EXTENSION activate CASCADE');
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'activate%' AND datname IS NOT NULL"), 'no worker is left');

$node->stop('fast');
done_testing();
