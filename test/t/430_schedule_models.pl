# Models run after what they read, in the order of the graph, and nothing waits for ever.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('models', conf => "activate.runners = 3\nactivate.timezone = 'UTC'");
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]); }

# more: schedule, capture, options; a sleep (seconds) in its source
sub declare
{
	my ($name, $source, %more) = @_;
	my $target = $more{target} // "public.$name";
	my $wait   = $more{sleep} ? ", pg_sleep($more{sleep})::text AS slept" : '';
	my $given  = join '', map { exists $more{$_} ? ", $_ => " . sql_literal($more{$_}) : () } ('schedule', 'capture', 'options');

	sql('SELECT activate_sync(' . sql_literal($name) . ', ' . sql_literal($source =~ /^select/i ? $source : "SELECT id$wait FROM $source")
		. ', ' . sql_literal($target) . ", key => 'id' $given)");
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

# What was due by now has been started.
sub ticks
{
	my $n = runs('witness') + 1;
	return runs_become('witness', "> $n", 'the scheduler is at work');
}

# Did the last run of the one begin after the last run of the other had ended?
sub followed
{
	my ($later, $earlier) = @_;
	return is(sql("SELECT (SELECT max(r.started_at) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$later')
		>= (SELECT max(r.finished_at) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$earlier')"), 't', "$later after $earlier");
}

sub clock { my ($seconds) = @_; sql("ALTER DATABASE $db SET activate.clock_offset = $seconds"); }

sql("CREATE TABLE raw (id int PRIMARY KEY); INSERT INTO raw VALUES (1); CREATE TABLE other (id int PRIMARY KEY)");
sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"http://127.0.0.1:1/\"}')");
declare('witness', 'SELECT 1 AS id', schedule => '@every 1s');

# by themselves: after a run by hand, down the graph, through a view; not what goes to a web API
declare('load', 'raw');
declare('stage', 'load');
sql('CREATE VIEW public.between AS SELECT * FROM stage');
declare('shown', 'between', options => '{"materialized": "view"}');
declare('mart', 'shown');
sql("SELECT activate_sync('crm', 'mart', 'hook.change')");
ticks();
is(runs($_), 0, "$_: nothing has come yet") for ('load', 'stage', 'shown', 'mart', 'crm');
is(sql("SELECT string_agg(sync || ' ' || level, ' ' ORDER BY level, sync) FROM activate_graph() WHERE sync <> 'witness'"),
	'load 0 stage 1 shown 2 mart 3 crm 4', 'the graph has them in order');
sql("SELECT activate_run('load')");
runs_become('mart', '= 1', 'a run by hand starts the models that read what it wrote', "status = 'succeeded'");
is(sql('SELECT count(*) FROM mart'), 1, 'the row is there');
is(runs('stage'), 1, 'each once');
followed('mart', 'stage');
ticks();
is(runs('mart'), 1, 'and not again');
is(runs('crm') + runs('shown'), 0, 'neither the sync into a web API nor the view was started');
is(sql("SELECT activate._schedule_of('mart')"), 'after "stage" (what it reads)', 'one can see why it runs');

# the timetable and a schedule of its own have the last word
sql("ALTER DATABASE $db SET activate.schedule = 'stage: off'");
ticks();
sql("SELECT activate_run('load')");
ticks();
is(runs('stage'), 1, 'off is off');
sql("ALTER DATABASE $db RESET activate.schedule");
runs_become('stage', '= 2', 'taken back: it runs after what has come meanwhile', "status = 'succeeded'");
runs_become('mart', '= 2', 'and what reads it', "status = 'succeeded'");
sql("SELECT activate_drop(n) FROM unnest(ARRAY['crm', 'mart', 'shown', 'stage', 'load']) n; DROP VIEW shown, between; DROP TABLE load, stage, mart");

# syncs that are due together run in the order of the graph, models between them included
my %at = (schedule => '0 3 * * *');
declare('one', 'raw', %at, sleep => 0.3);
declare('two', 'raw', %at, sleep => 1);
declare('joined', 'SELECT o.id FROM one o JOIN two t USING (id)');
declare('above', 'SELECT id, pg_sleep(0.3)::text AS slept FROM joined');
declare('report', 'above', %at);
declare('apart', 'SELECT 1 AS id', %at);
my $until = sql("SELECT ceil(extract(epoch FROM activate._next_tick('0 3 * * *', now()) - now()))::int");
clock($until + 1);
runs_become('report', '= 1', 'the last of them has run', "status = 'succeeded'");
is(runs($_), 1, "$_: once") for ('one', 'two', 'joined', 'above', 'report', 'apart');
followed('joined', 'one');
followed('joined', 'two');
followed('above', 'joined');
followed('report', 'above');
is(sql('SELECT count(*) FROM report'), 1, 'what came in the first has come to the last');

# one of two fails: the model waits until it is mended, what has a schedule runs
sql('CREATE TABLE broken (id int PRIMARY KEY, x text); INSERT INTO broken VALUES (1, 1)');
declare('two', 'SELECT id, x::int::text AS slept FROM broken', %at);
sql("UPDATE broken SET x = 'no number'");
my $models = runs('joined');
clock($until + 86401);
runs_become('report', '= 2', 'a schedule is kept though something upstream has failed', "status = 'succeeded'");
is(runs('two', "status = 'failed'"), 1, 'it has');
ticks();
is(runs('joined'), $models, 'a model without one waits');
sql("UPDATE broken SET x = '2'; SELECT activate_run('two')");
runs_become('joined', "= $models + 1", 'until what failed is mended', "status = 'succeeded'");
sql("SELECT activate_drop(n) FROM unnest(ARRAY['report', 'above', 'joined', 'one', 'two', 'apart']) n");

# something upstream that is always due keeps nobody from running
sql("DROP TABLE one, two");
declare('one', 'SELECT 1 AS id, pg_sleep(1.3)::text AS slept', schedule => '@every 1s');
declare('two', 'SELECT id FROM one', schedule => '@every 1s');
declare('three', 'two');
runs_become('two', '> 2', 'who waits for something that is always due runs all the same', "status = 'succeeded'");
runs_become('three', '> 2', 'and so does a model', "status = 'succeeded'");
sql("SELECT activate_drop(n) FROM unnest(ARRAY['one', 'two', 'three']) n");

# a circle that a view has closed since: nobody waits for the other
sql("DROP TABLE one, two, three; CREATE VIEW back AS SELECT id FROM raw");
declare('one', 'back', schedule => '@every 1s');
declare('two', 'one', schedule => '@every 1s');
sql("CREATE OR REPLACE VIEW back AS SELECT id FROM two");
is(sql("SELECT count(*) FROM activate_graph() WHERE sync IN ('one', 'two') AND depends_on <> '{}'"), 2, 'the graph says so');
sql("SELECT activate_resume('one')");
my ($one, $two) = (runs('one'), runs('two'));
runs_become('one', "> $one + 1", 'one of them runs');
runs_become('two', "> $two + 1", 'the other, too');
my ($code, $out, $err) = $node->psql($db, "SELECT activate_sync('one', 'back', 'public.one', key => 'id')");
like($err, qr/model "one" would depend on itself: one \S+ two \S+ one/, 'to declare it so is refused');
sql("SELECT activate_drop(n) FROM unnest(ARRAY['one', 'two']) n");

# captured by trigger a model runs by itself, and is not started twice
sql("DROP VIEW back; DROP TABLE one, two");
declare('one', 'raw');
sql("SELECT activate_sync('two', 'one', 'public.two', capture => 'trigger')");
sql("SELECT activate_run('two'); SELECT activate_run('one')");
ok($node->poll_query_until($db, 'SELECT count(*) = 1 FROM two'), 'a model by trigger has the row');
ticks();
is(runs('two', 'NOT queued'), 1, 'without another run');

$node->stop('fast');
done_testing();
