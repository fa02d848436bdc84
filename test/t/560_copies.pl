# Copies wake up paused: guarantee 10.  A dump restored elsewhere, a physical clone with another name.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('real', allows_streaming => 1);
my $dump = $node->basedir . '/dump';
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub requests { return scalar @{ $crm->log("/hook/$_[0]") }; }

# All there is to declare: a connector of one's own, API and table targets, by trigger and by diff, by a role that cannot
# log in; a row that was refused, rows that wait, a sync and a target that are paused.
sql("CREATE ROLE owner NOLOGIN; CREATE SCHEMA crm_data AUTHORIZATION owner; GRANT CREATE ON DATABASE postgres TO owner;
	SELECT activate_connector('{\"name\": \"mine\", \"base_url\": \"$url\", \"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\",
		\"columns\": {\"id\": \"bigint\", \"v\": \"text\"}, \"write\": {\"upsert\": {}, \"delete\": {}}}}}');
	SELECT activate_target('api', 'mine', '{\"mapping_for\": \"public\"}', '{\"bearer\": \"token\"}');
	SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook/real\", \"mapping_for\": \"public\"}');
	GRANT USAGE ON FOREIGN SERVER api, hook TO owner; GRANT USAGE ON SCHEMA api, hook TO owner; GRANT INSERT ON api.things, hook.change TO owner;
	SET ROLE owner; SET search_path = crm_data, public;
	CREATE TABLE thing (id bigint PRIMARY KEY, v text); INSERT INTO thing SELECT i, 'v' || i FROM generate_series(1, 20) i;
	CREATE FUNCTION shout(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper(\$1)';
	SELECT activate_sync('things', 'thing', 'api.things', map => '{\"id\": \"id\", \"v\": \"shout(v)\"}', capture => 'trigger', mode => 'mirror');
	SELECT activate_sync('hooked', 'SELECT id, v FROM thing WHERE id > 10', 'hook.change', key => 'id', options => '{\"batch\": 5}');
	SELECT activate_sync('copied', 'thing', 'copy_of_thing', mode => 'mirror', schedule => '\@every 1s');
	SELECT activate_sync('still', 'thing', 'hook.change');
	SELECT activate_pause('still'); SELECT activate_run('things'); SELECT activate_run('hooked')");
ok(delivered($node, $_), "$_: delivered") for qw(things hooked);
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'copied' AND status = 'succeeded'"), 'copied runs');
$crm->control({ reject => { field => 'v', equals => 'BAD', status => 422, error => 'bad' } });
sql("UPDATE crm_data.thing SET v = 'bad' WHERE id = 1");
ok(delivered($node, 'things'), 'one row is refused');
sql("SELECT activate_pause('target:api'); UPDATE crm_data.thing SET v = 'waiting' WHERE id = 2");
is(pending($node, 'things'), 1, 'one waits');

my $declared = "SELECT string_agg(concat_ws('|', id, name, source, target, key, map, mode, capture, schedule, owner, options, search_path, key_columns, columns, column_types, kind), E'\\n' ORDER BY id)
	FROM activate.sync WHERE NOT implicit";
my $state = "SELECT (SELECT count(*) FROM activate.sent) || ' ' || (SELECT count(*) FROM activate.outbox) || ' ' || (SELECT string_agg(key || code, '') FROM activate.rejection)";
my ($syncs, $known) = (sql($declared), sql($state));

subtest 'a dump' => sub {
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
	my $before = requests('real');
	my $other  = activate_node('other', extension => 0);
	my $copy   = sub { return $other->safe_psql('postgres', $_[0]); };

	$copy->('CREATE ROLE owner NOLOGIN');
	$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('postgres'), $dump ], 'pg_restore');
	is($copy->($declared), $syncs, 'every declaration is there');
	is($copy->($state), $known, 'and what was sent, waits, and was refused');
	is($copy->("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'crm_data.thing'::regclass"), 2, 'with its triggers');

	# it captures, and sends nothing
	$copy->("UPDATE crm_data.thing SET v = 'in the copy' WHERE id = 3");
	is(pending($other, 'things'), 2, 'capture goes on');
	ok($other->poll_query_until('postgres', "SELECT query = 'a copy: waiting for activate_adopt()' FROM pg_stat_activity WHERE backend_type = 'activate worker'"), 'the worker waits');
	my ($code, $out, $err) = $other->psql('postgres', "SELECT activate_run('hooked')");
	like($err, qr/ERROR:.*copy.*HINT:.*activate_adopt/s, 'a run is refused');
	($code, $out, $err) = $other->psql('postgres', "SELECT activate_wait('things')");
	is($out, 'f', 'nobody waits for ever');
	like($err, qr{NOTICE:.*a copy.*activate_adopt}, 'and is told why');
	is($copy->("SELECT DISTINCT state FROM activate.stat_sync WHERE name IN ('things', 'hooked')"), 'copy: waits for activate_adopt()', 'stat_sync tells');
	like(slurp_file($other->logfile), qr/activate_adopt/, 'so does the log');
	is(requests('real'), $before, 'nothing was sent');
	is($copy->("SELECT count(*) FROM activate.run"), 0, 'nothing ran');

	# a timeout while a source is locked is about the statement
	my $holder = $other->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE crm_data.thing IN ROW EXCLUSIVE MODE');
	($code, $out, $err) = $other->psql('postgres', "SET lock_timeout = '1s'; SELECT activate_adopt()");
	like($err, qr/ERROR:.*lock timeout/, 'adopting can be given up');
	is($copy->("SELECT string_agg(name, ' ') FROM activate.sync WHERE paused"), 'still', 'and pauses nothing');
	$holder->quit;

	$copy->('SELECT activate_adopt()');
	is($copy->($declared), $syncs, 'adopted: the declarations are the same');
	is($copy->("SELECT string_agg(name, ' ') FROM activate.sync WHERE paused"), 'still', 'what was paused is');
	is($copy->("SELECT state FROM activate.stat_target WHERE name = 'api'"), 'paused', 'the target, too');
	ok($other->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE status = 'succeeded'"), 'the schedule goes on');
	$copy->("SELECT activate_resume('target:api')");
	ok(delivered($other, 'things'), 'what waited is sent');
	same_rows($other, $crm->objects('things'), "SELECT id, CASE id WHEN 1 THEN 'V1' ELSE upper(v) END AS v FROM crm_data.thing", 'with the changes of the copy');
	is($copy->("SELECT activate_run('hooked') > 0"), 't', 'a run');
	ok(delivered($other, 'hooked'), 'delivered');
	is(requests('real'), $before, 'sends nothing that the target has');
	is($copy->("SELECT activate_retry('things')"), 1, 'the refused row can be retried');
	$copy->("UPDATE crm_data.thing SET v = 'good' WHERE id = 1; INSERT INTO crm_data.thing VALUES (21, 'new')");
	ok(delivered($other, 'things'), 'life goes on');
	same_rows($other, $crm->objects('things'), 'SELECT id, upper(v) AS v FROM crm_data.thing', 'the API mirrors the copy');
	is($copy->("SELECT max(id) > 4 AND count(*) = 1 FROM activate.sync WHERE name = 'more'") . $copy->("SELECT activate_sync('more', 'SELECT 1 AS id', 'hook.change', key => 'id') > 4"), 'ft', 'the ids go on');
	$other->stop('fast');
};

subtest 'activate.identity tells a clone from a failover' => sub {
	sql("SELECT activate_resume('target:api')");
	ok(delivered($node, 'things'), 'nothing waits');
	$node->append_conf('postgresql.conf', "activate.identity = 'prod'");
	$node->reload;
	sql('SELECT activate_adopt()') if sql("SELECT activate._installation()") ne 'real';
	$node->backup('clone');

	my $failover = PostgreSQL::Test::Cluster->new('failover');
	$failover->init_from_backup($node, 'clone');
	my $staging = PostgreSQL::Test::Cluster->new('staging');
	$staging->init_from_backup($node, 'clone');
	$staging->append_conf('postgresql.conf', "activate.identity = 'staging'");
	$node->stop('fast');

	my $before = requests('real');
	$staging->start;
	$staging->safe_psql('postgres', "INSERT INTO crm_data.thing VALUES (50, 'staging')");
	ok($staging->poll_query_until('postgres', "SELECT query = 'a copy: waiting for activate_adopt()' FROM pg_stat_activity WHERE backend_type = 'activate worker'"), 'another name: it waits');
	my ($code, $out, $err) = $staging->psql('postgres', "SELECT activate_run('hooked')");
	like($err, qr/ERROR:.*copy/, 'and refuses');
	$staging->stop('fast');

	$failover->start;
	$failover->safe_psql('postgres', "INSERT INTO crm_data.thing VALUES (51, 'failover')");
	ok(delivered($failover, 'things'), 'the same name: it goes on');
	like($crm->objects('things'), qr/FAILOVER/, 'and sends');
	unlike($crm->objects('things'), qr/STAGING/, 'which the clone never did');
	$failover->stop('fast');
};

done_testing();
