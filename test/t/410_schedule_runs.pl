# When and as whom syncs run: ticks, missed ticks, chains, settings, owners, failures.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('runs', conf => "activate.timezone = 'Europe/Berlin'");
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]); }

# A sync that writes down who ran it.
sub declare
{
	my ($name, $schedule, %more) = @_;
	my $source  = $more{source}  // 'SELECT 1 AS id, session_user::text AS who';
	my $options = $more{options} // '{}';
	my $role    = $more{role} ? "SET ROLE $more{role};" : '';

	sql("$role SELECT activate_sync('$name', '$source', 'public.t_$name', key => 'id',
		schedule => " . sql_literal($schedule) . ", options => '$options')");
}

sub runs
{
	my ($name, $where) = @_;
	return sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND " . ($where // 'true'));
}

sub runs_become
{
	my ($name, $condition, $test, $where) = @_;
	return ok($node->poll_query_until($db, "SELECT count(*) $condition FROM activate.run r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$name' AND " . ($where // 'true')), $test);
}

# Two ticks of a sync that is due each second: what was due by now has been started.
sub ticks
{
	my $n = runs('witness') + 1;
	return runs_become('witness', "> $n", 'the scheduler is at work');
}

# Moves the clock of all workers; true once the worker has seen it.
sub clock
{
	my ($seconds) = @_;
	sql("ALTER DATABASE $db SET activate.clock_offset = $seconds");
}

sql('GRANT CREATE ON SCHEMA public TO PUBLIC');

# one failing sync does not stop the others; chains
declare('good', '@every 1s');
declare('bad', '@every 1s', source => 'SELECT 1 / (random() * 0)::int AS id');
declare('next', 'after good');
declare('last', 'after next, "good"');
declare('never', 'after next, nobody');
runs_become('bad', '> 1', 'a failing sync is recorded, again and again', "status = 'failed' AND error = 'division by zero'");
runs_become('good', '> 2', 'others go on', "status = 'succeeded'");
runs_become('last', '> 1', 'a chain runs', "status = 'succeeded'");
is(runs('never'), 0, 'what waits for an unknown sync does not run');
is(sql("SELECT state FROM activate.stat_sync WHERE name = 'never'"), 'schedule waits for unknown sync "nobody"', 'and one can see why');
is(sql("SELECT bool_and(EXISTS (SELECT FROM activate.run d WHERE d.sync = g.id AND d.status = 'succeeded'
		AND d.finished_at BETWEEN r.before AND r.started_at))
	FROM activate.sync g, (SELECT started_at, lag(started_at, 1, '-infinity') OVER (ORDER BY r.id) AS before FROM activate.run r
		JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'next') r WHERE g.name = 'good'"), 't', 'each start of a chain has a new success before it');

# after a run by hand
sql("SELECT activate_pause(n) FROM unnest(ARRAY['good', 'bad', 'last', 'never']) n");
sql("SELECT activate_sync('byhand', 'SELECT 1 AS id', 'public.t_byhand', key => 'id')");
declare('followed', 'after byhand');
is(runs('followed'), 0, 'nothing yet');
sql("SELECT activate_run('byhand')");
runs_become('followed', '= 1', 'a run by hand starts what waits for it', "status = 'succeeded'");

# pause
declare('witness', '@every 1s');
my $paused = runs('good');
ticks();
is(runs('good'), $paused, 'a paused sync does not run');
sql("SELECT activate_resume('good')");
runs_become('good', "> $paused", 'a resumed one does');

# no overlap, and runners side by side
declare("slow$_", '@every 1s', source => "SELECT 1 AS id, pg_sleep(1.6)::text AS s") for 1 .. 2;
ok($node->poll_query_until($db, "SELECT count(*) = 2 FROM pg_stat_activity WHERE query ~ 'running sync \"slow'"), 'two runners at once');
runs_become('slow1', '> 2', 'a slow sync runs');
is(sql("SELECT count(*) FROM (SELECT started_at < lag(coalesce(finished_at, 'infinity')) OVER (PARTITION BY sync ORDER BY id) AS o FROM activate.run) r WHERE o"),
	0, 'no run overlaps another of its sync');
is(sql("SELECT max(n) FROM (SELECT count(*) AS n FROM activate.run a JOIN activate.run b
	ON b.started_at >= a.started_at AND b.started_at < coalesce(a.finished_at, now()) GROUP BY a.id) x, activate.run") > 0, 1, 'history is there');
sql("SELECT activate_drop(n) FROM unnest(ARRAY['slow1', 'slow2']) n");

# cron in a zone; ALTER DATABASE SET is seen; missed ticks run once
declare('cron', '0 3 * * *');
my $until = sql("SELECT ceil(extract(epoch FROM activate._next_tick('0 3 * * *', now()) - now()))::int");
is(runs('cron'), 0, 'not before its time');
clock($until - 3600);
ticks();
is(runs('cron'), 0, 'an hour before: not yet');
clock($until + 1);
runs_become('cron', '= 1', 'at its time, by the clock of activate', 'r.finished_at IS NOT NULL');
# a tick that comes while its runner has not gone yet is skipped
ticks();
clock($until + 86400 * 10);
runs_become('cron', '= 2', 'ten days later: once for all that was missed', 'r.finished_at IS NOT NULL');
$node->stop('fast');
$node->start;
ticks();
is(runs('cron'), 2, 'a restart alone starts nothing');
$node->stop('fast');
$node->append_conf('postgresql.conf', 'activate.clock_offset = ' . ($until + 86400 * 100));
$node->start;
sql("ALTER DATABASE $db RESET activate.clock_offset");
runs_become('cron', '= 3', 'what was missed while the server was down: once');
ticks();
is(runs('cron'), 3, 'only once');

# @reboot
declare('boot', '@reboot');
ticks();
is(runs('boot'), 0, '@reboot waits for a start of the server');
$node->restart;
runs_become('boot', '= 1', '@reboot runs once per start');
my ($pid) = worker_pids($node, 'worker');
sql("SELECT pg_terminate_backend($pid)");
$node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate worker' AND pid <> $pid");
ticks();
is(runs('boot'), 1, 'not again when the worker is started anew');

# the DBA's timetable
my ($code, $out, $err) = $node->psql($db, "ALTER DATABASE $db SET activate.schedule = 'cron: \@every 1s; good: off; \"no such\": \@daily'");
like($err, qr/WARNING:  activate.schedule names the sync "no such"/, 'an unknown name is a warning');
my $cron = runs('cron');
runs_become('cron', "> $cron + 1", 'the timetable overrules the declaration');
my $good = runs('good');
ticks();
is(runs('good'), $good, 'and stops by "off"');
sql("ALTER DATABASE $db RESET activate.schedule");
runs_become('good', "> $good", 'taken back: the declaration holds again');
sql("ALTER DATABASE $db SET activate.enabled = off");
ok($node->poll_query_until($db, "SELECT max(started_at) < clock_timestamp() - interval '2 seconds' FROM activate.run"),
	'activate.enabled = off stops all, even what is due each second');
$good = runs('good');
sql("ALTER DATABASE $db SET activate.enabled = on");
runs_become('good', "> $good", 'and on starts it again');

# owners
sql("CREATE ROLE loginer LOGIN; CREATE ROLE nologiner NOLOGIN; CREATE ROLE leaver LOGIN; CREATE ROLE barred LOGIN;
	REVOKE CONNECT ON DATABASE $db FROM PUBLIC; GRANT CONNECT ON DATABASE $db TO loginer, leaver");
for my $role ('loginer', 'nologiner', 'leaver', 'barred')
{
	declare($role, '@every 1s', role => $role, source => 'SELECT 1 AS id, current_user::text AS who, session_user::text AS session');
	runs_become($role, '> 0', "$role: runs", "status = 'succeeded'");
}
is(sql("SELECT who, session FROM t_$_"), "$_|$_", "$_: connected as its owner") for ('loginer', 'leaver');
is(sql("SELECT who FROM t_$_"), $_, "$_: as its owner, who may not connect") for ('nologiner', 'barred');
# not in the middle of a run, which would fail of the rights that go first
sql("SELECT activate_pause('leaver')");
ok($node->poll_query_until($db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'activate runner' AND query ~ 'leaver'"), 'leaver: at rest');
sql("REASSIGN OWNED BY leaver TO CURRENT_USER; DROP OWNED BY leaver; DROP ROLE leaver; SELECT activate_resume('leaver')");
ok($node->poll_query_until($db, "SELECT paused AND pause_reason ~ 'role .leaver., was dropped' FROM activate.sync WHERE name = 'leaver'"), 'a dropped owner pauses its sync');
cmp_ok(runs('leaver', "status = 'failed' AND error ~ 'could not start|dropped'"), '>', 0, 'what it could not run is recorded');
$good = runs('good');
runs_become('good', "> $good", 'the others go on');
my $n = runs('loginer', "status = 'succeeded'");
runs_become('loginer', "> $n", 'of other owners, too', "status = 'succeeded'");

$node->stop('fast');
done_testing();
