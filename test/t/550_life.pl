# Life and death of declarations: SEMANTICS 16, with workers and a receiver.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('life');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub both
{
	my ($code, $out, $err) = $node->psql('postgres', $_[0]);
	return ($out, $err);
}

sub target
{
	my ($name) = @_;
	my $url = $crm->url("/hook/$name");

	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}')");
}

sub requests { return scalar @{ $crm->log("/hook/$_[0]") }; }

target($_) for qw(a b);

subtest 'declared again' => sub {
	sql("CREATE TABLE t (v text, id int PRIMARY KEY, code text UNIQUE NOT NULL); INSERT INTO t SELECT 'v', i, 'c' || i FROM generate_series(1, 5) i");
	my $id = sql("SELECT activate_sync('t', 't', 'a.change', capture => 'trigger', mode => 'mirror')");
	sql("SELECT activate_run('t')");
	ok(delivered($node, 't'), 'delivered');

	is(sql("SELECT activate_sync('t', 't', 'a.change', capture => 'trigger', mode => 'mirror', options => '{\"batch\": 1}')"), $id, 'the id is kept');
	is(sql("SELECT count(*) FROM activate.sent WHERE sync = $id"), 5, 'so is what was sent');
	is(sql("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 't'::regclass"), 2, 'the triggers are there once');
	sql("UPDATE t SET v = 'w' WHERE id = 1; SELECT activate_run('t')");
	ok(delivered($node, 't'), 'delivered');
	is(requests('a'), 6, 'nothing else was sent');

	sql("SELECT activate_sync('t', 't', 'a.change', capture => 'trigger', mode => 'mirror', map => '{\"id\": \"id\", \"v\": \"CASE WHEN id < 3 THEN upper(v) ELSE v END\", \"code\": \"code\"}');
		SELECT activate_run('t')");
	ok(delivered($node, 't'), 'another map');
	is(requests('a'), 8, 'the next run sends what differs by it');

	sql("SELECT activate_pause('t'); UPDATE t SET v = 'x'");
	is(pending($node, 't'), 5, 'pending');
	my ($out, $err) = both("SELECT activate_sync('t', 't', 'a.change', key => 'code', capture => 'trigger', mode => 'mirror')");
	is($out, $id, 'another key keeps the id, too');
	like($err, qr/NOTICE:.*5 pending/, 'says that pending intents were discarded');
	is(sql("SELECT (SELECT count(*) FROM activate.sent WHERE sync = $id) || ' ' || (SELECT count(*) FROM activate.outbox WHERE sync = $id)"), '0 0', 'and forgets what was sent');
	is(sql("SELECT paused FROM activate.sync WHERE id = $id"), 't', 'a pause outlives it');
	sql("UPDATE t SET v = 'y' WHERE id = 1; SELECT activate_resume('t')");
	ok(delivered($node, 't'), 'delivered');
	is(sql("SELECT key FROM activate.sent WHERE sync = $id"), '{"code": "c1"}', 'by the new key');

	($out, $err) = both("SELECT activate_sync('t', 't', 'b.change', key => 'code', mode => 'mirror')");
	is(sql("SELECT count(*) FROM activate.sent WHERE sync = $id"), 0, 'another target: sent is cleared');
	is(sql("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 't'::regclass"), 0, 'diff needs no trigger');
	sql("SELECT activate_run('t')");
	ok(delivered($node, 't'), 'delivered');
	same_rows($node, $crm->hook_rows('t', 'b'), 'TABLE t', 'all of it to the new one');
};

subtest 'paused' => sub {
	my ($out, $err) = both("SELECT activate_pause('t'); UPDATE t SET v = 'z'; SELECT activate_run('t') > 0");
	like($out, qr/t$/, 'a run by hand enqueues');
	like($err, qr/NOTICE:.*paused/, 'with a notice');
	is(pending($node, 't'), 5, 'there they are');
	my $before = requests('b');
	# another sync of that target is sent: so its deliverer had its turn
	sql("CREATE TABLE other (id int PRIMARY KEY); SELECT activate_sync('other', 'other', 'b.change', capture => 'trigger'); INSERT INTO other VALUES (1)");
	ok(delivered($node, 'other'), 'another sync of the target is sent');
	is(requests('b'), $before + 1, 'nothing of the paused one');
	sql("SELECT activate_sync('t', 't', 'b.change', key => 'code', mode => 'mirror', schedule => '\@every 1s'); SELECT activate_sync('tick', 't', 'ticked', key => 'id', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'tick' AND status = 'succeeded'"), 'others are scheduled');
	is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 't' AND r.started_at > s.declared_at"), 0, 'it is not');
	sql("SELECT activate_drop('tick')");
	($out, $err) = both("SELECT activate_drop('t')");
	like($err, qr/NOTICE:.*5 pending/, 'dropped: a notice counts what was pending');
	is(sql("SELECT string_agg(n::text, ' ') FROM (SELECT count(*) FROM activate.outbox o WHERE o.sync NOT IN (SELECT id FROM activate.sync) UNION ALL
		SELECT count(*) FROM activate._sent x WHERE x.sync NOT IN (SELECT id FROM activate.sync) UNION ALL SELECT count(*) FROM activate.run x WHERE x.sync NOT IN (SELECT id FROM activate.sync) UNION ALL
		SELECT count(*) FROM activate.receipt x WHERE x.sync NOT IN (SELECT id FROM activate.sync)) x(n)"), '0 0 0 0', 'nothing of it is left');
};

subtest 'source and target dropped' => sub {
	my $id = sql("SELECT activate_sync('s', 't', 'b.change', capture => 'trigger')");
	sql("SELECT activate_pause('target:b'); UPDATE t SET v = 'later' WHERE id < 3; DROP TABLE t");
	like(sql("SELECT paused || ' ' || pause_reason FROM activate.sync WHERE id = $id"), qr/^true .*dropped/, 'no source: paused with the reason');
	is(pending($node, 's'), 2, 'pending stays');
	my ($out, $err) = both("SELECT activate_run('s')");
	like($err, qr/ERROR:.*dropped.*HINT/s, 'a run says so');
	sql("SELECT activate_resume('target:b'); CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'back'), (2, 'back')");
	is(sql("SELECT activate_sync('s', 't', 'b.change', capture => 'trigger')"), $id, 'declared again');
	is(sql("SELECT paused FROM activate.sync WHERE id = $id"), 'f', 'it goes on by itself');
	ok(delivered($node, 's'), 'what was pending is sent');
	is($crm->hook_state('b')->{syncs}{s}{'{"id":1}'}{row}{v}, 'back', 'as it is now');

	sql("CREATE VIEW v AS SELECT * FROM t; SELECT activate_sync('view', 'v', 'b.change', key => 'id'); DROP VIEW v");
	like(sql("SELECT pause_reason FROM activate.sync WHERE name = 'view'"), qr/dropped/, 'a view');
	sql("BEGIN; DROP TABLE t; ROLLBACK");
	is(sql("SELECT paused FROM activate.sync WHERE id = $id"), 'f', 'a drop that is rolled back pauses nothing');
	sql("SELECT activate_pause('s'); UPDATE t SET v = 'last'; SELECT activate_resume('s')");
	ok(delivered($node, 's'), 'delivered');

	sql("SELECT activate_pause('target:b'); UPDATE t SET v = 'never'; DROP SERVER b CASCADE");
	like(sql("SELECT pause_reason FROM activate.sync WHERE id = $id"), qr/dropped/, 'no target: paused with the reason');
	is(pending($node, 's'), 2, 'pending stays');
	sql("UPDATE t SET v = 'still'");
	is(sql('SELECT count(*) FROM t'), 2, 'the table is as usable as ever');
	sql("DROP SCHEMA b CASCADE");
	target('b');
	($out, $err) = both("SELECT activate_sync('s', 't', 'b.change', capture => 'trigger')");
	is($out, $id, 'declared again');
	is(sql("SELECT state FROM activate.stat_target WHERE name = 'b'"), 'paused', 'a pause of a target goes by its name');
	sql("SELECT activate_resume('target:b')");
};

subtest 'the extension is dropped' => sub {
	my ($out, $err) = both('DROP EXTENSION activate');
	like($err, qr/ERROR:  cannot drop extension activate/, 'refused while there are targets');
	is(sql("SELECT count(*) > 0 FROM activate.sync"), 't', 'all is there');
	sql("SELECT activate_run('s')");
	ok(delivered($node, 's'), 'and works');

	sql("BEGIN; DROP EXTENSION activate CASCADE; ROLLBACK; UPDATE t SET v = 'rolled back'");
	ok(delivered($node, 's'), 'a drop that is rolled back harms nothing');

	# while it works
	my $writer = $node->background_psql('postgres');
	$writer->query_safe("INSERT INTO t SELECT i FROM generate_series(1000, 4000) i");
	sql('DROP EXTENSION activate CASCADE');
	is(sql("SELECT (SELECT count(*) FROM pg_foreign_server) || ' ' || (SELECT count(*) FROM pg_user_mappings) || ' ' || (SELECT count(*) FROM pg_foreign_table) || ' ' ||
		(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) || ' ' || (SELECT count(*) FROM pg_event_trigger) || ' ' || (SELECT count(*) FROM pg_proc WHERE probin LIKE '%activate%') || ' ' ||
		(SELECT count(*) FROM pg_namespace WHERE nspname = 'activate') || ' ' || (SELECT count(*) FROM pg_replication_slots)"), '0 0 0 0 0 0 0 0', 'nothing is left');
	is(sql('SELECT count(*) FROM t'), 3003, 'but the tables');
	$writer->query_safe("UPDATE t SET v = 'free'");
	$writer->quit;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'activate%' AND datname IS NOT NULL"), 'no worker is left');
	sql('CREATE SCHEMA elsewhere; CREATE EXTENSION activate SCHEMA elsewhere; DROP SCHEMA a, b CASCADE');
	my $url = $crm->url('/hook/again');
	sql("SELECT elsewhere.activate_target('again', 'webhook', '{\"url\": \"$url\"}'); SELECT elsewhere.activate_sync('again', 'SELECT 1 AS id', 'again.change', key => 'id');
		SELECT elsewhere.activate_run('again')");
	ok(delivered($node, 'again'), 'in another schema it works, too');
};

$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
done_testing();
