# What a DBA and a monitor see: states of targets and syncs, quota, progress, and who sees what.  SEMANTICS 20.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('views', conf => "activate.http_timeout = '60s'");
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub as
{
	my ($role, $query) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE $role; $query");
	return $code == 0 ? $out : "error: $err";
}

sub becomes
{
	my ($state, $name) = @_;
	return ok($node->poll_query_until('postgres', "SELECT state = '$state' AND since IS NOT NULL FROM activate.stat_target WHERE name = 'hook'"), $name);
}

sql("CREATE ROLE owner LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE admin LOGIN IN ROLE activate_admin; CREATE ROLE stranger LOGIN;
	GRANT ALL ON SCHEMA public TO owner, admin; GRANT CREATE ON DATABASE postgres TO admin;
	SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook\", \"mapping_for\": \"public\"}', '{\"bearer\": \"s3cr3t\"}');
	GRANT USAGE ON FOREIGN SERVER hook TO owner; GRANT USAGE ON SCHEMA hook TO owner; GRANT INSERT ON hook.change TO owner;
	SET ROLE owner; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger')");

subtest 'the states of a target' => sub {
	is(sql("SELECT state, in_flight, quota IS NULL FROM activate.stat_target"), 'up|0|t', 'before anything is known');
	$crm->control({ fault => 'status', path => '/hook', status => 200, body => '{}', headers => { 'X-RateLimit-Remaining' => '4711' }, count => 1 });
	sql("INSERT INTO t VALUES (1, 'row content')");
	ok(delivered($node, 't'), 'delivered');
	ok($node->poll_query_until('postgres', 'SELECT quota = 4711 FROM activate.stat_target'), 'the quota is what the last answer said');

	$crm->control({ fault => 'status', path => '/hook', status => 503, body => '{"error": "cannot take row content"}' });
	sql("INSERT INTO t SELECT i, 'row content' FROM generate_series(2, 9) i");
	becomes('down', 'down');
	is(sql("SELECT next_probe IS NOT NULL FROM activate.stat_target"), 't', 'with the next probe');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 't'"), 'target down', 'as its syncs know');
	like(as('owner', 'SELECT reason FROM activate.stat_target'), qr/^HTTP 503$/, 'who may use it sees the status, not what it said');
	is(as('monitor', 'SELECT state, coalesce(reason, \'hidden\') FROM activate.stat_target'), 'down|hidden', 'a monitor does not');

	$crm->heal;
	$crm->control({ fault => 'status', path => '/hook', status => 429, retry_after => '3600' });
	becomes('throttled', 'throttled');
	is(sql("SELECT next_probe > now() + interval '50 minutes' FROM activate.stat_target"), 't', 'as long as told');
	$crm->heal;
	$crm->control({ fault => 'status', path => '/hook', status => 401 });
	sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook\", \"mapping_for\": \"public\"}', '{\"bearer\": \"other\"}')");
	$node->restart;
	becomes('auth', 'auth');
	sql("SELECT activate_pause('target:hook')");
	becomes('paused', 'paused lies over it');
	like(sql('SELECT reason FROM activate.stat_target'), qr/^paused by /, 'by whom');
	is(as('owner', "SELECT activate_resume('target:hook')"), as('owner', "SELECT activate_resume('target:hook')"), 'asked');
	like(as('owner', "SELECT activate_resume('target:hook')"), qr/must be owner of foreign server/, 'who only uses it may not resume it');
	$crm->heal;
	is(as('admin', "SELECT activate_resume('target:hook')"), '', 'an administrator may');
	sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook\", \"mapping_for\": \"public\"}', '{\"bearer\": \"s3cr3t\"}')");
	ok(delivered($node, 't'), 'up again');
	becomes('up', 'and known to be');
};

subtest 'figures' => sub {
	my $before = sql("SELECT delivered FROM activate.stat_sync WHERE name = 't'");
	sql("DELETE FROM activate._receipt");
	is(sql("SELECT delivered, retried > 0, requests > 0 FROM activate.stat_sync WHERE name = 't'"), "$before|t|t", 'counts outlive the receipts');
	sql("UPDATE t SET v = 'x'");
	ok(delivered($node, 't'), 'delivered');
	is(sql("SELECT delivered FROM activate.stat_sync WHERE name = 't'"), $before + 9, 'and go on');
	is(sql("SELECT p50_ms > 0 AND p99_ms >= p50_ms FROM activate.stat_sync WHERE name = 't'"), 't', 'percentiles are of what there is');
	my $plan = sql('EXPLAIN SELECT * FROM activate.stat_sync');
	unlike($plan, qr/Seq Scan on _receipt/, 'receipts are never gone through');
	like($plan, qr/Limit.*receipt_sync_idx/s, 'but the newest by the index');
};

subtest 'progress of a run' => sub {
	sql("CREATE TABLE slow (id int PRIMARY KEY, v text)");
	sql("SELECT activate_sync('slow', 'SELECT i AS id, CASE WHEN i = 70000 THEN pg_sleep(60)::text ELSE ''x'' END AS v FROM generate_series(1, 100000) i', 'slow', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_run WHERE name = 'slow' AND rows_read BETWEEN 1000 AND 70000"),
		'rows are counted while it runs');
	is(as('stranger', 'SELECT count(*) FROM activate.stat_run'), 0, 'not for everybody');
	is(as('monitor', 'SELECT count(*) FROM activate.stat_run'), 1, 'a monitor sees it');
	sql("SELECT activate_pause('slow')");
	sql("SELECT pg_terminate_backend(pid) FROM activate.stat_run");
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM activate.stat_run'), 'and is no more');
	sql("SELECT activate_drop('slow')");
};

subtest 'who sees what' => sub {
	sql("UPDATE activate.sync SET paused = true, pause_reason = 'invalid input: row content' WHERE name = 't'");
	is(as('monitor', 'SELECT name, state FROM activate.stat_sync'), 't|paused', 'a monitor sees states, not what rows hold');
	is(as('owner', 'SELECT state FROM activate.stat_sync'), 'paused: invalid input: row content', 'the owner sees the reason');
	is(as('admin', 'SELECT state FROM activate.stat_sync'), 'paused: invalid input: row content', 'so does an administrator');
	is(as('stranger', 'SELECT (SELECT count(*) FROM activate.stat_sync) + (SELECT count(*) FROM activate.stat_target)'), 0, 'a stranger sees nothing');
	for my $table (qw(sync outbox sent rejection receipt run))
	{
		is(as('monitor', "SELECT count(*) FROM activate.$table"), 0, "rows of $table are not a monitor's");
	}
	for my $view (qw(stat_sync stat_target stat_run))
	{
		unlike(as('monitor', "SELECT * FROM activate.$view"), qr/row content|s3cr3t/, "$view tells a monitor neither rows nor secrets");
	}
	is(as('admin', "SELECT activate_resume('t')"), '', "everyone's syncs are an administrator's");
	is(as('admin', "SELECT activate_connector('{\"name\": \"own\", \"base_url\": \"$url\", \"objects\": {\"things\": {\"path\": \"/x\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\"}, \"write\": {\"upsert\": {}}}}}')"),
		'own', 'connectors, too');
	is(as('admin', "SELECT activate_target('theirs', 'own')"), 'theirs', 'and targets');
	like(as('stranger', "SELECT activate_target('no', 'own')"), qr/^error/, 'not a stranger\'s');
	is(sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'activate_admin'"), 'f', 'activate_admin cannot log in');
	sql("ALTER DATABASE postgres SET activate.schedule = 'ghost: \@daily'");
	is(as('monitor', "SELECT name, state FROM activate.stat_sync WHERE name = 'ghost'"), 'ghost|unknown sync in activate.schedule', 'a name that no sync has');
};

$node->stop('fast');
done_testing();
