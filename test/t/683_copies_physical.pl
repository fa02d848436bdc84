# Physical copies: a standby promoted in mid-delivery, a restore to an earlier moment.  SEMANTICS 17 and 20.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('primary', has_archiving => 1, allows_streaming => 1, conf => "activate.connections = 4");
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub declare
{
	my ($name, $more) = @_;

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url/hook/$name\"}');
		CREATE TABLE $name (id int PRIMARY KEY, v text);
		SELECT activate_sync('$name', '$name', '$name.change', mode => 'mirror', capture => '$more', options => '{\"min_deletes\": 50}')");
}

declare('m', 'trigger');
declare('d', 'diff');
sql('INSERT INTO m SELECT i, 0 FROM generate_series(1, 40) i');
ok(delivered($node, 'm'), 'delivered');

subtest 'promotion in mid-delivery' => sub {
	my $standby = PostgreSQL::Test::Cluster->new('standby');

	$node->backup('standby');
	$standby->init_from_backup($node, 'standby', has_streaming => 1);
	$standby->start;
	$crm->control({ fault => 'slow', path => '/hook/m', ms => 600000 });
	sql('UPDATE m SET v = 1 WHERE id <= 10');
	ok($node->poll_query_until('postgres', "SELECT in_flight = 10 FROM activate.stat_target WHERE name = 'm'"), 'all are in flight');
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^activate'"), 0, 'nothing runs on a standby');
	is($standby->safe_psql('postgres', "SELECT name, state FROM activate.stat_sync WHERE name = 'm'"), 'm|ok', 'where the views can be read');
	$node->stop('immediate');
	$crm->heal;
	$standby->promote;
	ok(delivered($standby, 'm'), 'the promoted standby delivers');
	same_rows($standby, $crm->hook_rows('m', 'm'), 'SELECT * FROM m', 'nothing is lost');
	is($standby->safe_psql('postgres', "SELECT count(DISTINCT key) FROM activate.receipt WHERE outcome = 'ambiguous'"), 10, 'what was perhaps sent is ambiguous');
	my %times;
	$times{ $_->{headers}{'idempotency-key'} // $_->{headers}{'Idempotency-Key'} }++ for grep { $_->{body} =~ /"v": ?"1"/ } @{ $crm->log('/hook/m') };
	is(scalar(keys %times), 10, 'and came again with the same id');

	# a promotion is no restore
	$standby->safe_psql('postgres', 'DELETE FROM m WHERE id = 40');
	ok(delivered($standby, 'm'), 'deletes go on');
	same_rows($standby, $crm->hook_rows('m', 'm'), 'SELECT * FROM m', 'and are sent');
	unlike(slurp_file($standby->logfile), qr/set back to an earlier moment/, 'the log is silent');
	$standby->stop('fast');
	$node->start;
};

# What was perhaps sent, and under which numbers, must not be news to the standby that goes on; deliverers wait for no other commit.
subtest 'a synchronous standby' => sub {
	my $standby = PostgreSQL::Test::Cluster->new('synchronous');

	ok(delivered($node, 'm'), 'nothing is pending');
	$node->backup('synchronous');
	$standby->init_from_backup($node, 'synchronous', has_streaming => 1);
	$standby->start;
	sql("ALTER SYSTEM SET synchronous_standby_names = 'synchronous'");
	$node->reload;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), 'it follows');
	# who begins anew has not told yet how far he may send
	my ($deliverer) = worker_pids($node, 'deliver');
	sql("SELECT pg_terminate_backend($deliverer)");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 AND min(pid) <> $deliverer FROM pg_stat_activity WHERE backend_type = 'activate deliverer'"), 'another deliverer');
	my $receiver = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
	my $waits    = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate deliverer' AND wait_event = 'SyncRep'";
	kill 'STOP', $receiver;
	sql("SET synchronous_commit = local; UPDATE m SET v = 'told' WHERE id = 1");
	ok($node->poll_query_until('postgres', $waits), 'it waits for the standby');
	is(scalar(grep { $_->{body} =~ /"told"/ } @{ $crm->log('/hook/m') }), 0, 'before it sends');
	($deliverer) = worker_pids($node, 'deliver');
	sql("SELECT pg_terminate_backend($deliverer)");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $deliverer"), 'and can be ended meanwhile');
	ok($node->poll_query_until('postgres', $waits), 'the next one waits, too');
	kill 'CONT', $receiver;
	ok(delivered($node, 'm'), 'then all is delivered');
	is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM activate._horizon'), 't', 'and the standby knows that it perhaps was');
	sql('ALTER SYSTEM RESET synchronous_standby_names');
	$node->reload;
	$standby->stop('fast');
};

subtest 'a restore to an earlier moment' => sub {
	ok(delivered($node, 'm'), 'nothing is pending');
	sql('INSERT INTO d SELECT i, 0 FROM generate_series(1, 40) i');
	sql("SELECT activate_run('d')");
	ok(delivered($node, 'd'), 'delivered');
	$node->backup('past');
	sql("SELECT activate_pause('m'); DELETE FROM m WHERE id <= 3; DELETE FROM d WHERE id <= 2; UPDATE m SET v = 'pending' WHERE id = 20");
	sql("SELECT pg_create_restore_point('then')");

	# another life: the deleted rows come back, and are sent
	sql("SELECT activate_resume('m'); INSERT INTO m SELECT i, 'later' FROM generate_series(1, 3) i; UPDATE m SET v = 'later' WHERE id = 20");
	ok(delivered($node, 'm'), 'the lost life goes on');
	my $seq = sql("SELECT max(seq) FROM activate.sent");
	sql("SELECT pg_switch_wal()");
	$node->stop('fast');

	my $restored = PostgreSQL::Test::Cluster->new('restored');
	$restored->init_from_backup($node, 'past', has_restoring => 1, standby => 0);
	$restored->append_conf('postgresql.conf', "recovery_target_name = 'then'\nrecovery_target_timeline = 'current'\nrecovery_target_action = 'promote'");
	$restored->start;
	$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	my $then = sub { return $restored->safe_psql('postgres', $_[0]); };

	ok($restored->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate worker' AND query ~ 'next tick'"), 'it works');
	like(slurp_file($restored->logfile), qr/set back to an earlier moment.*Targets may be newer.*full => true/s, 'the log tells');
	$then->("SELECT activate_resume('m')");
	ok($restored->poll_query_until('postgres', "SELECT count(*) = 3 AND bool_and(held) FROM activate.outbox"), 'captured deletes are held, the rest is sent');
	cmp_ok($then->("SELECT seq FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = 'm' AND s.key = '{\"id\": 20}'"), '>', $seq,
		'under numbers above those of the lost life');
	is($then->("SELECT state FROM activate.stat_sync WHERE name = 'm'"), 'held', 'stat_sync tells');

	my ($code, $out, $err) = $restored->psql('postgres', "SELECT activate_run('d')");
	like($err, qr/WARNING:.*deletes of sync "d" are held/, 'a run holds its deletes, however few');
	is($then->("SELECT status, rows_deleted FROM activate.run ORDER BY id DESC LIMIT 1"), 'held|2', 'both');
	same_rows($restored, $crm->hook_rows('d', 'd'), "SELECT i AS id, '0' AS v FROM generate_series(1, 40) i", 'nothing is deleted at the target');

	$then->("SELECT activate_run('d', full => true)");
	ok(delivered($restored, 'd'), 'full => true lets them go');
	is($then->("SELECT count(*) FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = 'd'"), 38, 'they are gone');
	same_rows($restored, $crm->hook_rows('d', 'd'), 'SELECT * FROM d', 'at the target, too');
	$then->("DELETE FROM d WHERE id = 3; SELECT activate_run('d')");
	ok(delivered($restored, 'd'), 'that sync is free again');
	$then->("DELETE FROM m WHERE id = 4");
	ok($restored->poll_query_until('postgres', "SELECT count(*) = 4 AND bool_and(held) FROM activate.outbox"), 'the other is not');
	$restored->restart;
	is($then->('SELECT activate._set_back(origin) FROM activate.sync ORDER BY id LIMIT 1'), 't', 'a restart changes nothing');

	($code, $out, $err) = $restored->psql('postgres', 'SELECT activate_adopt()');
	like($err, qr/no copy.*stay held/s, 'activate_adopt() ends it');
	$then->("DELETE FROM m WHERE id = 5");
	ok($restored->poll_query_until('postgres', "SELECT count(*) = 4 AND bool_and(held) FROM activate.outbox"), 'new deletes are sent');
	$then->("SELECT activate_discard('m', 'held')");
	ok(delivered($restored, 'm'), 'the held ones can be dropped');
	$restored->stop('fast');
};

subtest 'a base backup that was started as it is' => sub {
	my $started = PostgreSQL::Test::Cluster->new('started');

	$started->init_from_backup($node, 'past');
	$started->start;
	ok($started->poll_query_until('postgres', "SELECT activate._set_back(origin) FROM activate.sync WHERE name = 'd'"), 'is an earlier moment, too');
	$started->safe_psql('postgres', 'DELETE FROM m WHERE id = 6');
	ok($started->poll_query_until('postgres', 'SELECT count(*) = 1 AND bool_and(held) FROM activate.outbox'), 'deletes are held');
	$started->stop('fast');
};

done_testing();
