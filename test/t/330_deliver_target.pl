# A target in trouble: what it costs its own rows (nothing), and others (nothing).
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm    = ActivateTest::Service->new;
my $other  = ActivateTest::Service->new;
my $node   = activate_node('target', conf => "activate.connections = 8");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub declare
{
	my ($name, $service, $secret) = @_;
	my $url = $service->url("/hook/$name");

	$secret = defined $secret ? ", '$secret'" : '';
	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}'$secret);
		CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger');");
}

# The state of a target, as its deliverer last told.
sub reaches
{
	my ($name, $state) = @_;

	return $node->poll_query_until('postgres', "SELECT state = '$state' FROM activate.stat_target WHERE name = '$name'");
}

sub attempts
{
	my ($name) = @_;

	return sql("SELECT coalesce(max(o.attempts), 0) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$name'");
}

sub receipts
{
	my ($name) = @_;

	return sql("SELECT string_agg(DISTINCT r.outcome, ' ' ORDER BY r.outcome)
		FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");
}

declare('down', $crm);
declare('fine', $other);

# connection refused
$crm->down;
sql("INSERT INTO down SELECT i, 'a' FROM generate_series(1, 50) i");
ok(reaches('down', 'down'), 'connection refused: the target is down');
sql("INSERT INTO fine SELECT i, 'a' FROM generate_series(1, 50) i");
ok(delivered($node, 'fine'), 'another target does not mind');
is(attempts('down'), 0, 'no attempt is used up');
is(pending($node, 'down'), 50, 'everything waits');
$crm->up;
ok(delivered($node, 'down'), 'it recovers by itself');
ok(reaches('down', 'up'), 'and is up');
is(receipts('down'), 'delivered', 'as if nothing had been');
same_rows($node, $crm->hook_rows('down', 'down'), 'TABLE down', 'all is there');

# paused while it is down, there is nothing to do
sub cpu_ticks
{
	my $ticks = 0;

	for my $pid (worker_pids($node, 'deliver'))
	{
		my @fields = split ' ', (slurp_file("/proc/$pid/stat") =~ s/^.*\)//sr);
		$ticks += $fields[11] + $fields[12];
	}
	return $ticks;
}

SKIP:
{
	skip 'no /proc here', 1 unless -r "/proc/$$/stat";
	$crm->down;
	sql("UPDATE down SET v = 'unseen'");
	ok(reaches('down', 'down'), 'down once more');
	sql("SELECT activate_pause('target:down')");
	ok(reaches('down', 'paused'), 'and paused');
	my $ticks = cpu_ticks();
	ok($node->poll_query_until('postgres', sql("SELECT format('SELECT clock_timestamp() > %L', clock_timestamp() + interval '5 s')")), 'longer than a probe waits');
	cmp_ok(cpu_ticks() - $ticks, '<', 100, 'the deliverer sleeps');
	$crm->up;
	sql("SELECT activate_resume('target:down')");
	ok(delivered($node, 'down'), 'resumed');
}

# neither TLS nor DNS lets anything through: the same
sql("ALTER SYSTEM SET activate.allowed_hosts = '127.0.0.1, localhost, nowhere.invalid'; SELECT pg_reload_conf()");
my $tls = $crm->url('/hook/tls') =~ s/^http/https/r;
for my $case ([ 'tls', $tls ], [ 'dns', 'http://nowhere.invalid/hook' ])
{
	my ($name, $url) = @$case;

	ok($node->poll_query_until('postgres', "SELECT current_setting('activate.allowed_hosts') ~ 'invalid'"), 'the host may be asked for');
	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); SELECT activate_sync('$name', 'fine', '$name.change'); SELECT activate_run('$name')");
	ok(reaches($name, 'down'), "$name: the target is down");
	ok($node->poll_query_until('postgres', "SELECT failures > 2 FROM activate.stat_target WHERE name = '$name'"), "$name: it is probed");
	is(attempts($name), 0, "$name: no attempt is used up");
	is(receipts($name), '', "$name: and no receipt written");
	sql("SELECT activate_drop('$name')");
}

# 5xx to everything
$crm->control({ fault => 'status', path => '/hook/down', status => 502 });
sql("UPDATE down SET v = 'b'");
ok(reaches('down', 'down'), '5xx to everything: the target is down');
my $attempts = attempts('down');
my $failures = sql("SELECT failures FROM activate.stat_target WHERE name = 'down'");
ok($node->poll_query_until('postgres', "SELECT failures >= $failures + 2 AND next_probe IS NOT NULL
	FROM activate.stat_target WHERE name = 'down'"), 'it is probed');
cmp_ok($attempts, '<=', 1, 'attempts rest');
sql("UPDATE fine SET v = 'b'");
ok(delivered($node, 'fine'), 'another target does not mind');
cmp_ok(attempts('down'), '<=', 1, 'attempts still rest');
$crm->heal;
ok(delivered($node, 'down'), 'it recovers');
same_rows($node, $crm->hook_rows('down', 'down'), 'TABLE down', 'all is there');
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'nothing was rejected');

# one key that always fails does not bring the target down
$crm->control({ fault => 'status', path => '/hook/down', status => 500, count => 8 });
sql("UPDATE down SET v = 'c' WHERE id = 1");
ok($node->poll_query_until('postgres', "SELECT max(attempts) >= 6 FROM activate.outbox"), 'a single bad row uses up its attempts');
$crm->heal;
ok(delivered($node, 'down'), 'until it gets through');

# 401: the target is paused, and probed when its mapping changes
declare('locked', $crm, '{"bearer": "wrong"}');
$crm->control({ require_bearer => 'right' });
sql("INSERT INTO locked SELECT i, 'a' FROM generate_series(1, 20) i");
ok(reaches('locked', 'auth'), '401: state auth');
is(attempts('locked'), 0, 'no attempt');
cmp_ok(scalar @{ $crm->log('/hook/locked') }, '<=', 8, 'at most what was in flight has been sent');
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER locked OPTIONS (SET secret '{\"bearer\": \"right\"}')");
ok(delivered($node, 'locked'), 'a new secret is tried at once');
is(receipts('locked'), 'delivered', 'and no row has noticed');
$crm->control({ require_bearer => undef });

# a target that never answers holds 64 connections, not all: others keep their rate
sql("ALTER SYSTEM SET activate.http_timeout = '20s'; SELECT pg_reload_conf()");
$crm->control({ fault => 'hang', path => '/hook/down' });
sql("INSERT INTO down SELECT i, 'z' FROM generate_series(1001, 2000) i");
ok($node->poll_query_until('postgres', "SELECT in_flight > 8 FROM activate.stat_target WHERE name = 'down'"),
	'calls that hang leave activate.connections');
sql("INSERT INTO fine SELECT i, 'z' FROM generate_series(1001, 3000) i");
ok(delivered($node, 'fine'), 'another target is served meanwhile');
cmp_ok(sql("SELECT in_flight FROM activate.stat_target WHERE name = 'down'"), '<=', 72, 'a target stalls 64 calls at most');

# ... and no more than activate.stalled_connections of all that hang
sql("ALTER SYSTEM SET activate.stalled_connections = 3; SELECT pg_reload_conf()");
$crm->heal;
$node->restart;
ok(delivered($node, 'down'), 'a target that answers earns connections');
$crm->control({ fault => 'hang', path => '/hook/down' });
sql("INSERT INTO down SELECT i, 'z' FROM generate_series(2001, 2100) i");
ok($node->poll_query_until('postgres', "SELECT in_flight = 11 FROM activate.stat_target WHERE name = 'down'"), 'three that stalled, and activate.connections');
sql("ALTER SYSTEM SET activate.stalled_connections = 0; SELECT pg_reload_conf()");
cmp_ok(sql("SELECT in_flight FROM activate.stat_target WHERE name = 'down'"), '<=', 11, 'with none of them, no more');
sql("ALTER SYSTEM RESET activate.stalled_connections; SELECT pg_reload_conf()");
sql("INSERT INTO fine SELECT i, 'y' FROM generate_series(3001, 3100) i");
ok(delivered($node, 'fine'), 'with more of them another target is served again');

# ... one after the other: what never answered has two each
sql("ALTER SYSTEM SET activate.stalled_connections = 24; ALTER SYSTEM SET activate.http_timeout = '10min'; SELECT pg_reload_conf(); SELECT activate_pause('down')");
$crm->heal;
declare("silent$_", $crm) for 1 .. 8;
$crm->control({ fault => 'hang', path => '/hook/silent' });
$node->restart;
for my $i (1 .. 8)
{
	sql("INSERT INTO silent$i SELECT i, 'z' FROM generate_series(1, 20) i");
	$node->poll_query_until('postgres', "SELECT in_flight >= 2 FROM activate.stat_target WHERE name = 'silent$i'") or last;
}
is(sql("SELECT min(in_flight), max(in_flight) FROM activate.stat_target WHERE name LIKE 'silent%'"), '2|2', 'eight targets hang, with two calls each');
sql("INSERT INTO fine SELECT i, 'x' FROM generate_series(4001, 4500) i");
ok(delivered($node, 'fine'), 'the ninth does not');

# ... all at once, after they have earned more: each has its share, and there is room for one more
$crm->heal;
$node->restart;
ok(delivered($node, "silent$_"), "silent$_ answers") for 1 .. 8;
$crm->control({ fault => 'hang', path => '/hook/silent' });
sql(join ';', 'BEGIN', (map { "INSERT INTO silent$_ SELECT i, 'z' FROM generate_series(21, 40) i" } 1 .. 8), 'COMMIT');
ok($node->poll_query_until('postgres', "SELECT min(in_flight) >= 2 FROM activate.stat_target WHERE name LIKE 'silent%'"), 'all hang');
sql("INSERT INTO fine SELECT i, 'x' FROM generate_series(4501, 5000) i");
ok(delivered($node, 'fine'), 'one that does not is served');
is(sql("SELECT max(in_flight) < 8 FROM activate.stat_target WHERE name LIKE 'silent%'"), 't', 'none of them has more than a share');
sql("ALTER SYSTEM RESET activate.stalled_connections; ALTER SYSTEM RESET activate.http_timeout; SELECT pg_reload_conf()");
sql("SELECT activate_drop('silent$_')") for 1 .. 8;
$crm->heal;
$node->restart;

# paused by an operator
sql("SELECT activate_pause('target:fine'); UPDATE fine SET v = 'p' WHERE id = 1");
ok(reaches('fine', 'paused'), 'a paused target');
is(pending($node, 'fine'), 1, 'sends nothing');
sql("SELECT activate_resume('target:fine')");
ok(delivered($node, 'fine'), 'until it is resumed');

# ... which does not cut off what is under way
$other->control({ fault => 'slow', path => '/hook/fine', ms => 4000 });
sql("UPDATE fine SET v = 'under way' WHERE id = 1");
ok($node->poll_query_until('postgres', "SELECT in_flight = 1 FROM activate.stat_target WHERE name = 'fine'"), 'a request is under way');
sql("SELECT activate_pause('target:fine'), activate_pause('fine'); UPDATE fine SET v = 'later' WHERE id = 2");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'fine'"), 'what is in flight finishes');
is($other->hook_state('fine')->{syncs}{fine}{'{"id":1}'}{row}{v}, 'under way', 'and counts');
$other->heal;
sql("SELECT activate_resume('target:fine'), activate_resume('fine')");
ok(delivered($node, 'fine'), 'the rest follows');
$node->stop('fast');

done_testing();
