# Declaring, running, holding, waiting: SEMANTICS 2, 8 and 10, with a receiver at the other end.
use strict;
use warnings;

use ActivateTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('runs');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Output, errors and notices of a script.
sub both
{
	my ($code, $out, $err) = $node->psql('postgres', $_[0]);
	return ($out, $err);
}

# A sync with its own webhook; arguments of activate_sync beyond the target.
sub declare
{
	my ($name, $source, $arguments) = @_;
	my $url = $crm->url("/hook/$name");

	return sql("DO \$\$ BEGIN PERFORM activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); END \$\$;
		SELECT activate_sync('$name', \$\$$source\$\$, '$name.change', $arguments)");
}

sub requests { return scalar @{ $crm->log("/hook/$_[0]") }; }

subtest 'declaring reads and enqueues nothing' => sub {
	sql('CREATE TABLE careful (id int PRIMARY KEY, v int); INSERT INTO careful VALUES (1, 0);
		CREATE VIEW trap AS SELECT id, 1 / v AS v FROM careful');
	my $id = declare('trap', 'trap', "key => 'id'");
	is(pending($node, 'trap'), 0, 'nothing pending');
	is(sql("SELECT count(*) FROM activate.sent WHERE sync = $id"), 0, 'nothing known');

	my ($out, $err) = both('\set VERBOSITY verbose
		SELECT activate_run($$trap$$)');
	like($err, qr/ERROR:  22012: division by zero/, 'a run by hand raises the error');
	is(sql("SELECT count(*) FROM activate.run WHERE sync = $id"), 0, 'and records nothing');
};

subtest 'a run by the scheduler that fails' => sub {
	sql("SELECT activate_sync('trap', 'trap', 'trap.change', key => 'id', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE status = 'failed' AND error = 'division by zero'"),
		'is recorded with its error');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 'trap'") =~ s/running/failed/r, 'failed', 'stat_sync tells');
	sql('UPDATE careful SET v = 1');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE status = 'succeeded'"), 'the next one goes through');
	ok(delivered($node, 'trap'), 'delivered');
	is(requests('trap'), 1, 'and the row arrives once');
	sql("SELECT activate_drop('trap')");
};

subtest 'a run is part of its transaction' => sub {
	sql('CREATE TABLE dry (id int PRIMARY KEY, v text); INSERT INTO dry SELECT i FROM generate_series(1, 5) i');
	my $id = declare('dry', 'dry', "capture => 'trigger'");
	is(sql("BEGIN; SELECT activate_run('dry') > 0; SELECT count(*) FROM activate.outbox WHERE sync = $id AND op = 'change'; ROLLBACK"),
		"t\n5", 'what it would send can be seen');
	is(sql("BEGIN; SAVEPOINT a; SELECT activate_run('dry') > 0; ROLLBACK TO a; SELECT count(*) FROM activate.outbox WHERE sync = $id; COMMIT"),
		"t\n0", 'a savepoint takes it back, too');
	is(sql("SELECT count(*) FROM activate.run WHERE sync = $id"), 0, 'no run is left');

	# what is sent afterwards is all that is ever sent
	sql("BEGIN; SELECT activate_run('dry'); SELECT activate_run('dry'); COMMIT; SELECT activate_run('dry')");
	ok(delivered($node, 'dry'), 'delivered');
	is(requests('dry'), 5, 'three runs: each row is sent once');
	is(sql("SELECT string_agg(rows_read || ' ' || rows_inserted || ' ' || rows_updated, ', ' ORDER BY id) FROM activate.run WHERE sync = $id"),
		'5 5 0, 5 0 0, 5 0 0', 'counts are those of the plan');
};

subtest 'a second caller waits for the run of the first' => sub {
	sql('UPDATE dry SET v = $$x$$ WHERE id = 1');
	ok(delivered($node, 'dry'), 'delivered');
	sql("ALTER TABLE dry DISABLE TRIGGER USER; UPDATE dry SET v = 'hidden' WHERE id = 2");
	my $first  = $node->background_psql('postgres');
	my $second = $node->background_psql('postgres');
	$first->query_safe("BEGIN; SELECT activate_run('dry')");
	$second->query_until(qr/started/, "\\echo started\nSELECT activate_run('dry');\n");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query ~ '^SELECT activate_run' AND wait_event_type = 'Lock'"),
		'it waits');
	$first->query_safe('COMMIT');
	$second->query_safe('SELECT 1');
	ok(delivered($node, 'dry'), 'delivered');
	is(requests('dry'), 7, 'what the first has found is not sent by the second');
	$_->quit for ($first, $second);
	sql('ALTER TABLE dry ENABLE TRIGGER USER');
};

subtest 'backfill = false' => sub {
	sql('CREATE TABLE known (id int PRIMARY KEY, v text); INSERT INTO known SELECT i, $$a$$ FROM generate_series(1, 20) i');
	my $id = declare('known', 'known', "mode => 'mirror', options => '{\"backfill\": false}'");
	sql("SELECT activate_run('known')");
	is(pending($node, 'known') . ' ' . sql("SELECT count(*) FROM activate.sent WHERE sync = $id"), '0 20', 'present rows are known');
	sql("UPDATE known SET v = 'b' WHERE id = 1; DELETE FROM known WHERE id = 2; INSERT INTO known VALUES (21, 'a'); SELECT activate_run('known')");
	ok(delivered($node, 'known'), 'delivered');
	is(join(' ', sort map { /"op": "(\w+)".*"key": \{"id": (\d+)\}/ ? "$1:$2" : $_ } map { $_->{body} } @{ $crm->log('/hook/known') }),
		'delete:2 upsert:1 upsert:21', 'only what has changed since is sent');
	sql("SELECT activate_run('known', full => true)");
	ok(delivered($node, 'known'), 'delivered');
	is(requests('known'), 3 + 20, 'full sends every row, known or not');
};

# A run that counts a row as sent, in a transaction that stays open, while a change of that row is delivered.
subtest 'backfill = false, beside a delivery of the same key' => sub {
	my ($in, $out, $err) = ('', '', '');
	my $timer = IPC::Run::timeout(180);
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err, $timer);

	sql('CREATE TABLE met (id int PRIMARY KEY, v text); INSERT INTO met VALUES (1, $$a$$), (2, $$a$$)');
	my $id = declare('met', 'met', "capture => 'trigger', options => '{\"backfill\": false}'");
	$in .= "BEGIN;\nSELECT activate_run('met');\n\\echo noted\n";
	$run->pump until $out =~ /noted/;
	sql("UPDATE met SET v = 'b' WHERE id = 1");
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE NOT l.granted AND a.backend_type = 'activate deliverer')"), 'the deliverer has met the row of the run');
	$in .= "COMMIT;\n\\q\n";
	$run->finish;
	ok(delivered($node, 'met'), 'delivered, and settled');
	is(sql("SELECT string_agg(key ->> 'id' || ' ' || coalesce(image ->> 'v', '-'), ', ' ORDER BY key) FROM activate.sent WHERE sync = $id"),
		'1 b, 2 -', 'what was delivered is what is known');
	is(sql("SELECT paused FROM activate.sync WHERE id = $id") . ' ' . requests('met'), 'f 1', 'once, and the sync goes on');
};

subtest 'backfill = false, after the key has changed' => sub {
	sql('CREATE TABLE renewed (id int PRIMARY KEY, code text UNIQUE NOT NULL); INSERT INTO renewed SELECT i, $$c$$ || i FROM generate_series(1, 5) i');
	my $id = declare('renewed', 'renewed', "options => '{\"backfill\": false}'");
	sql("SELECT activate_run('renewed')");
	my $again = sub { return sql("SELECT activate_sync('renewed', 'renewed', 'renewed.change', options => '{\"backfill\": false}', $_[0])"); };

	$again->("map => '{\"c\": \"upper(code)\"}'");
	sql("SELECT activate_run('renewed')");
	ok(delivered($node, 'renewed'), 'delivered');
	is(requests('renewed'), 5, 'another map: the next run sends what differs');
	$again->("key => 'code'");
	is(sql("BEGIN; SELECT activate_run('renewed') > 0; ROLLBACK; SELECT count(*) FROM activate.sent WHERE sync = $id"), "t\n0", 'a run that is rolled back is none');
	is(sql("SELECT activate_run('renewed') > 0; SELECT count(*) FROM activate.outbox WHERE sync = $id; SELECT count(*) FROM activate.sent WHERE sync = $id"), "t\n0\n5",
		'another key: the present rows are known again');
	sql("UPDATE renewed SET id = 10 WHERE id = 1; INSERT INTO renewed VALUES (6, 'c6'); SELECT activate_run('renewed')");
	ok(delivered($node, 'renewed'), 'delivered');
	is(requests('renewed'), 7, 'and only what changes since is sent');
};

subtest 'preview' => sub {
	sql('CREATE TABLE shown (id int, v text); INSERT INTO shown VALUES (NULL, $$no key$$), (1, $$a$$), (2, $$b$$), (3, $$c$$)');
	declare('shown', 'shown', "key => 'id', mode => 'mirror', options => '{\"min_deletes\": 100}'");
	my $preview = sub { return join ' ', map { /"op": "(\w+)", "key": \{"id": (\w+)\}/ ? "$1:$2" : $_ } split /\n/, sql("SELECT body FROM activate_preview('shown', $_[0])"); };
	is($preview->(2), 'upsert:1 upsert:2', 'nothing is pending: the first rows, as a full run would send them');
	is($preview->(10), 'upsert:1 upsert:2 upsert:3', 'those that have a key');
	is(pending($node, 'shown') . ' ' . requests('shown'), '0 0', 'nothing is enqueued, nothing sent');
	sql("SELECT activate_run('shown')");
	ok(delivered($node, 'shown'), 'delivered');
	is($preview->(10), 'upsert:1 upsert:2 upsert:3', 'a full run would send what was sent, too');

	# the messages that are pending, with their ids
	sql("SELECT activate_pause('shown'); UPDATE shown SET v = 'x' WHERE id = 2; DELETE FROM shown WHERE id = 3; SELECT activate_run('shown')");
	is($preview->(10), 'upsert:2 delete:3', 'what is pending');
	is($preview->(1), 'upsert:2', 'so many at most');
	my @bodies = split /\n/, sql("SELECT body FROM activate_preview('shown')");
	is(pending($node, 'shown'), 2, 'it stays pending');
	my $before = requests('shown');
	sql("SELECT activate_resume('shown')");
	ok(delivered($node, 'shown'), 'delivered');
	my @log = @{ $crm->log('/hook/shown') };
	is_deeply([ sort map { $_->{body} } splice(@log, $before) ], [ sort @bodies ], 'just what was previewed is sent');
};

subtest 'a mirror is held' => sub {
	sql('CREATE TABLE much (id int PRIMARY KEY, v text); INSERT INTO much SELECT i, $$a$$ FROM generate_series(1, 100) i');
	my $id = declare('much', 'much', "mode => 'mirror'");
	sql("SELECT activate_run('much')");
	ok(delivered($node, 'much'), 'a hundred rows');

	sql("DELETE FROM much WHERE id <= 21; UPDATE much SET v = 'b' WHERE id = 50");
	my ($out, $err) = both("SELECT activate_run('much') AS run \\gset\nSELECT status FROM activate.run WHERE id = :run");
	is($out, 'held', 'it is no error: the id is returned');
	like($err, qr/WARNING:  deletes of sync "much" are held.*full => true/s, 'a warning says what to do');
	ok($node->poll_query_until('postgres', "SELECT bool_and(held) FROM activate.outbox WHERE sync = $id"), 'other keys pass');
	is(requests('much'), 101, 'and nothing else does');
	is(sql("SELECT count(*) || ' ' || count(DISTINCT key) FROM activate.outbox WHERE sync = $id AND held"), '21 21', 'the deletes stand in the outbox');
	is(sql("SELECT state || ' ' || pending FROM activate.stat_sync WHERE name = 'much'"), 'held 21', 'stat_sync tells');
	($out, $err) = both("SELECT activate_wait('much')");
	is($out, 'f', 'waiting for them ends at once');
	like($err, qr/NOTICE:.*21 deletes are held.*activate_discard/, 'and says why');

	# one came back, one more is gone
	is(sql("INSERT INTO much VALUES (1, 'a'); DELETE FROM much WHERE id = 60; SELECT activate_run('much') AS run \\gset\n
		SELECT status, rows_deleted FROM activate.run WHERE id = :run"), 'held|1', 'held deletes count as pending');
	ok($node->poll_query_until('postgres', "SELECT bool_and(held) AND count(*) = 21 FROM activate.outbox WHERE sync = $id"), 'another one passes');
	sql("SELECT activate_run('much', full => true)");
	ok(delivered($node, 'much'), 'the yes');
	is(sql("SELECT count(*) FILTER (WHERE op = 'delete' AND outcome = 'delivered') || ' ' || count(*) FILTER (WHERE op = 'upsert' AND outcome = 'delivered')
		FROM activate.receipt WHERE sync = $id"), '21 101', 'they are deleted, but not what is back; nothing unchanged is sent again');
	same_rows($node, $crm->hook_rows('much', 'much'), 'TABLE much', 'the receiver mirrors');

	sql("DELETE FROM much; SELECT activate_run('much')");
	is(sql("SELECT activate_discard('much')"), 79, 'everything: held, and discarded');
	sql("INSERT INTO much SELECT i, 'a' FROM generate_series(61, 100) i; INSERT INTO much SELECT i, 'a' FROM generate_series(22, 59) i");
	sql("UPDATE much SET v = 'b' WHERE id = 50; INSERT INTO much VALUES (1, 'a'); SELECT activate_run('much')");
	is(pending($node, 'much'), 0, 'the rows are back: nothing to do');

	sql("SELECT activate_sync('much', 'much', 'much.change', mode => 'mirror', options => '{\"max_delete_percent\": 50, \"min_deletes\": 0}');
		DELETE FROM much WHERE id <= 60; SELECT activate_run('much')");
	ok(delivered($node, 'much'), 'max_delete_percent allows more');
	sql("SELECT activate_sync('much', 'much', 'much.change', mode => 'mirror', options => '{\"max_delete_percent\": 0, \"min_deletes\": 3}');
		DELETE FROM much WHERE id <= 62; SELECT activate_run('much')");
	ok(delivered($node, 'much'), 'below min_deletes');
	sql("DELETE FROM much WHERE id <= 65; SELECT activate_run('much')");
	is(sql("SELECT count(*) FROM activate.outbox WHERE sync = $id AND held"), 3, 'from there on the percentage counts');
};

subtest 'full allows deletes over the limit' => sub {
	sql('CREATE TABLE wiped (id int PRIMARY KEY); INSERT INTO wiped SELECT generate_series(1, 30)');
	my $id = declare('wiped', 'wiped', "mode => 'mirror'");
	sql("SELECT activate_run('wiped')");
	ok(delivered($node, 'wiped'), 'thirty rows');
	is(sql("DELETE FROM wiped WHERE id > 1; SELECT activate_run('wiped', full => true) AS run \\gset\n
		SELECT status, rows_inserted + rows_updated, rows_deleted FROM activate.run WHERE id = :run"), 'succeeded|1|29', 'nothing is held, and every row is sent');
	ok(delivered($node, 'wiped'), 'delivered');
	same_rows($node, $crm->hook_rows('wiped', 'wiped'), 'TABLE wiped', 'the receiver mirrors');
};

subtest 'the scheduler skips a sync that runs' => sub {
	sql("CREATE TABLE ticks (id int PRIMARY KEY); SELECT activate_sync('tick', 'SELECT 1 AS id', 'ticks', key => 'id', mode => 'insert')");
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT activate_run('tick')");
	# not by a declaration, which would wait for the run
	sql("ALTER DATABASE postgres SET activate.schedule = 'tick: \@every 1s; tock: \@every 1s'; SELECT activate_sync('tock', 'SELECT 2 AS id', 'ticks', key => 'id', mode => 'insert')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 2 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'tock' AND status = 'succeeded'"), 'another one is run');
	is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'tick'"), 0, 'this one is not');
	is(sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted AND backend_type = 'activate runner'"), 0, 'and no runner waits for it');
	$session->query_safe('COMMIT');
	$session->quit;
	ok($node->poll_query_until('postgres', "SELECT count(*) > 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'tick' AND status = 'succeeded'"), 'at the next tick it is');
	sql("ALTER DATABASE postgres RESET activate.schedule; SELECT activate_drop('tick'), activate_drop('tock')");
};

subtest 'progress' => sub {
	sql('CREATE FUNCTION gate(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 2500 THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN i; END $$');
	sql("SELECT activate_sync('gated', 'SELECT gate(i) AS id FROM generate_series(1, 3000) i', 'gated', key => 'id')");
	my $gate = $node->background_psql('postgres');
	my $run  = $node->background_psql('postgres');
	$gate->query_safe('BEGIN; SELECT pg_advisory_xact_lock(1)');
	$run->query_until(qr/started/, "\\echo started\nSELECT activate_run('gated');\n");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.stat_run WHERE name = 'gated' AND rows_read BETWEEN 1 AND 2500 AND phase <> ''
		AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"), 'of a run that is not committed is seen by others');
	is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'gated'"), 0, 'its row is not');
	$gate->query_safe('COMMIT');
	$run->query_safe('SELECT 1');
	is(sql('SELECT count(*) FROM activate.stat_run'), 0, 'it is over');
	$_->quit for ($gate, $run);
};

subtest 'after = delivered' => sub {
	sql('CREATE TABLE first (id int PRIMARY KEY); INSERT INTO first VALUES (1)');
	declare('first', 'first', "mode => 'upsert'");
	sql("SELECT activate_sync('planned', 'SELECT 3 AS id', 'ticks', key => 'id', schedule => 'after first'); SELECT activate_sync('arrived', 'SELECT 4 AS id', 'ticks', key => 'id', schedule => 'after first', options => '{\"after\": \"delivered\"}');
		SELECT activate_pause('target:first'); SELECT activate_run('first')");
	my $runs = sub { return "SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' AND status = 'succeeded'"; };
	ok($node->poll_query_until('postgres', 'SELECT 1 = (' . $runs->('planned') . ')'), 'the run is over: what follows it runs');
	is(sql($runs->('arrived')), 0, 'but not what waits for its delivery');
	sql("SELECT activate_resume('target:first')");
	ok($node->poll_query_until('postgres', 'SELECT 1 = (' . $runs->('arrived') . ')'), 'delivered: now it does');
	is(sql($runs->('planned')), 1, 'each once');
	sql("SELECT activate_drop(n) FROM unnest(ARRAY['planned', 'arrived', 'first']) n");
};

subtest 'a mirror by trigger is held' => sub {
	sql('CREATE TABLE live (id int PRIMARY KEY, v text); INSERT INTO live SELECT i, $$a$$ FROM generate_series(1, 100) i');
	my $id = declare('live', 'live', "mode => 'mirror', capture => 'trigger'");
	sql("SELECT activate_run('live')");
	ok(delivered($node, 'live'), 'a hundred rows');
	sql('DELETE FROM live WHERE id <= 20');
	ok(delivered($node, 'live'), 'one transaction may delete 20 %');
	is(requests('live'), 120, 'all of them');
	sql('DELETE FROM live WHERE id <= 37');
	ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE held) = 17 FROM activate.outbox WHERE sync = $id"),
		'more is held') or diag sql("SELECT count(*), bool_or(held) FROM activate.outbox WHERE sync = $id");
	sql("UPDATE live SET v = 'b' WHERE id = 100; TRUNCATE live");
	ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE held) >= 80 FROM activate.outbox WHERE sync = $id"),
		'TRUNCATE always is') or diag sql("SELECT count(*), bool_or(held) FROM activate.outbox WHERE sync = $id");
	is(sql("SELECT count(*) FROM activate.receipt WHERE sync = $id AND op = 'delete' AND outcome = 'delivered'"), 20, 'none of it is sent');
	sql("SELECT activate_run('live', full => true)");
	ok(delivered($node, 'live'), 'the yes');
	same_rows($node, $crm->hook_rows('live', 'live'), 'TABLE live', 'the receiver mirrors');

	# older intents of the same keys do not delete in their place, and a reload in one transaction deletes nothing
	sql('INSERT INTO live SELECT i, $$a$$ FROM generate_series(1, 50) i');
	ok(delivered($node, 'live'), 'fifty rows');
	sql("SELECT activate_pause('live'); UPDATE live SET v = 'b'; DELETE FROM live WHERE id > 5; SELECT activate_resume('live')");
	ok($node->poll_query_until('postgres', "SELECT count(DISTINCT key) = 45 AND bool_and(held) FROM activate.outbox WHERE sync = $id"),
		'deletes after updates that wait') or diag sql("SELECT count(*), bool_and(held) FROM activate.outbox WHERE sync = $id");
	is(sql("SELECT count(*) FROM activate.sent WHERE sync = $id"), 50, 'none of them is sent');
	sql("SELECT activate_discard('live'); INSERT INTO live SELECT i, 'b' FROM generate_series(6, 50) i");
	ok(delivered($node, 'live'), 'the rows are back');
	sql("BEGIN; TRUNCATE live; INSERT INTO live SELECT i, 'c' FROM generate_series(1, 50) i; COMMIT");
	ok(delivered($node, 'live'), 'a reload in one transaction is not held') or diag sql("SELECT count(*), bool_and(held) FROM activate.outbox WHERE sync = $id");
	same_rows($node, $crm->hook_rows('live', 'live'), 'TABLE live', 'the receiver mirrors');
};

subtest 'rows that go between a run and their delivery' => sub {
	sql("CREATE TABLE fading AS SELECT i AS id, 'a' AS v FROM generate_series(1, 50) i");
	my $id = declare('fading', 'fading', "key => 'id', mode => 'mirror'");
	sql("SELECT activate_run('fading')");
	ok(delivered($node, 'fading'), 'backfill');
	my $before = requests('fading');
	sql("SELECT activate_pause('target:fading'); UPDATE fading SET v = 'b'; SELECT activate_run('fading'); TRUNCATE fading; SELECT activate_resume('target:fading')");
	ok(delivered($node, 'fading'), 'nothing is left');
	is(requests('fading'), $before, 'what no run planned to delete is not deleted');
	my ($out, $err) = both("SELECT activate_run('fading') > 0");
	is(sql("SELECT status FROM activate.run WHERE sync = $id ORDER BY id DESC LIMIT 1"), 'held', 'the next run plans it, and is held');
	is(requests('fading'), $before, 'still nothing');
};

subtest 'discarded and changed again in one transaction' => sub {
	sql('CREATE TABLE again (id int PRIMARY KEY, v int)');
	my $id = declare('again', 'again', "capture => 'trigger'");
	sql("BEGIN; INSERT INTO again VALUES (1, 1); SELECT activate_discard('again'); UPDATE again SET v = 2; COMMIT");
	ok(delivered($node, 'again'), 'delivered');
	is(sql("SELECT image->>'v' FROM activate.sent WHERE sync = $id"), 2, 'the later change counts');
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_sync('log', 'SELECT 1 AS x', 'again.change', mode => 'insert', capture => 'trigger')");
	isnt($code, 0, 'a trigger needs a table');
	sql('CREATE TABLE keyless (v int)');
	($code, $out, $err) = $node->psql('postgres', "SELECT activate_sync('log', 'keyless', 'again.change', mode => 'insert', capture => 'trigger')");
	like($err, qr/capture "trigger" in mode "insert" needs a key.*HINT:.*append/s, 'and, but for events, a key');
};

subtest 'options' => sub {
	sql("CREATE TABLE opt (id int PRIMARY KEY, v text, ok boolean); INSERT INTO opt SELECT i, 'a', i % 2 = 0 FROM generate_series(1, 10) i");
	my $url = $crm->url('/hook/opt');
	sql("SELECT activate_target('opt', 'webhook', '{\"url\": \"$url\", \"batch\": 100}')");
	my $id = sql("SELECT activate_sync('opt', 'opt', 'opt.change', mode => 'mirror', capture => 'trigger',
		options => '{\"where\": \"ok AND id <> 10\", \"batch\": 3, \"image\": false, \"min_deletes\": 100}')");
	sql("SELECT activate_run('opt')");
	ok(delivered($node, 'opt'), 'delivered');
	is(sql("SELECT string_agg(key ->> 'id', ' ' ORDER BY key) FROM activate.sent WHERE sync = $id"), '2 4 6 8', 'where: these rows only');
	is(requests('opt'), 2, 'batch: no more than so many in a call, whatever the target takes');
	is(sql("SELECT count(image) || ' ' || count(hash) FROM activate.sent WHERE sync = $id"), '0 4', 'image = false: hashes only');
	sql('UPDATE opt SET ok = NOT ok WHERE id IN (1, 2, 10)');
	ok(delivered($node, 'opt'), 'captured');
	is(sql("SELECT string_agg(key ->> 'id', ' ' ORDER BY key) FROM activate.sent WHERE sync = $id"), '1 4 6 8', 'where: what leaves it is gone');
	is(sql('SELECT string_agg(op || $$ $$ || (key ->> $$id$$), $$, $$ ORDER BY op, key) FROM activate.receipt WHERE sync = ' . $id . ' AND outcome = $$delivered$$ AND (key ->> $$id$$) IN ($$1$$, $$2$$, $$10$$)'),
		'delete 2, upsert 1, upsert 2', 'and nothing else moves') or diag sql("SELECT * FROM activate.receipt WHERE sync = $id");
};

subtest 'activate_wait' => sub {
	sql('CREATE TABLE w (id int PRIMARY KEY, v text)');
	my $id = declare('w', 'w', "capture => 'trigger'");
	is(sql("SELECT activate_wait('w')"), 't', 'nothing is pending');
	$crm->control({ reject => { field => 'v', equals => 'bad', status => 422, error => 'v is bad' } });
	is(sql("INSERT INTO w VALUES (1, 'bad'), (2, 'good'); SELECT activate_wait('w')"), 't', 'one row was rejected: done, too');
	is(sql("SELECT count(*) || ' ' || (SELECT rejected FROM activate.stat_sync WHERE name = 'w') FROM activate.rejection WHERE sync = $id"), '1 1', 'it was');

	my ($out, $err) = both("\\set VERBOSITY verbose\nBEGIN; INSERT INTO w VALUES (3); SELECT activate_wait('w');");
	like($err, qr/ERROR:  25001: cannot wait.*HINT:  Commit first/s, 'in the transaction that enqueues');
	is(sql("BEGIN; INSERT INTO w VALUES (3); ROLLBACK; SELECT activate_wait('w')"), 't', 'after it it may');
	is(sql("BEGIN; SAVEPOINT s; INSERT INTO w VALUES (3); ROLLBACK TO s; SELECT activate_wait('w'); COMMIT"), 't', 'what was taken back does not count');
	is(sql("BEGIN; INSERT INTO careful VALUES (100, 0); SELECT activate_wait('w'); COMMIT"), 't', 'nor what other tables are told');
	is(sql("SELECT activate_wait('w', NULL), activate_wait('w', '0'), activate_wait('w', '-1 hour')"), 't|t|t', 'nothing is pending: no timeout matters');

	# an open transaction counts for nothing
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; INSERT INTO w VALUES (4, 'late'); SELECT count(*) FROM activate.outbox");
	is(sql("SELECT activate_wait('w')"), 't', 'what is not committed is not waited for');
	$session->query_safe("COMMIT; SELECT activate_wait('w')");
	$session->quit;
	is($crm->hook_state('w')->{syncs}{w}{'{"id":4}'}{row}{v}, 'late', 'once committed it is');

	# an old snapshot does not make it blind
	$crm->control({ fault => 'slow', path => '/hook/w', ms => 1000, count => 1 });
	is(sql("INSERT INTO w VALUES (5); BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM activate.outbox WHERE sync = $id;
		SELECT activate_wait('w'); SELECT count(*) FROM activate.outbox WHERE sync = $id; COMMIT"), "1\nt\n1", 'in a REPEATABLE READ transaction');

	# nothing will change by waiting
	my %why = (
		'the sync is paused'           => [ "SELECT activate_pause('w')",        "SELECT activate_resume('w')" ],
		'its target is paused'         => [ "SELECT activate_pause('target:w')", "SELECT activate_resume('target:w')" ],
		# workers learn of a setting within a second: until then the pause keeps them from sending
		'activate.enabled is off' => [
			"SELECT activate_pause('w'); ALTER DATABASE postgres SET activate.enabled = off",
			"ALTER DATABASE postgres RESET activate.enabled; SELECT activate_resume('w')" ]);
	my $n = 10;
	for my $reason (sort keys %why)
	{
		my ($before, $after) = @{ $why{$reason} };
		sql($before);
		$n++;
		($out, $err) = both("INSERT INTO w VALUES ($n); SELECT activate_wait('w', '1 hour')");
		is($out, 'f', "$reason: false at once");
		like($err, qr/NOTICE:.*\Q$reason\E/, "$reason: a notice says so");
		($out, $err) = both("SELECT activate_run('w', full => true) > 0");
		like($err, qr/NOTICE:.*\Q$reason\E/, "$reason: so does a run, which enqueues");
		sql($after);
		ok(delivered($node, 'w'), "$reason: no longer");
	}

	$crm->control({ fault => 'hang', path => '/hook/w', count => 1 });
	is(sql("INSERT INTO w VALUES (30); SELECT activate_wait('w', '10 ms')"), 'f', 'false at the timeout');
	ok(delivered($node, 'w'), 'delivered in the end');
};

subtest 'a run while a message is under way' => sub {
	my $seq = 0;
	for my $case (['diff', ''], ['cursor', ', "cursor": "rev"'], ['full', ''])
	{
		my ($capture, $option) = @$case;
		my $name = "under_way_$capture";
		my $run  = sub { return sql("$_[0]; SELECT activate_run('$name'); SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
			WHERE s.name = '$name'") =~ s/.*\n//r; };

		sql("CREATE TABLE $name (id int PRIMARY KEY, v text, rev int)");
		declare($name, $name, "map => '{\"id\": \"id\", \"v\": \"v\"}', capture => '$capture', options => '{\"image\": true$option}'");
		sql("INSERT INTO $name VALUES (1, 'old', 1)");
		$crm->control({ fault => 'slow', path => "/hook/$name", ms => 8000, count => 1 });
		$run->('SELECT');
		ok($node->poll_query_until('postgres', "SELECT in_flight = 1 FROM activate.stat_target WHERE name = '$name'"), "$capture: under way");
		is($run->("UPDATE $name SET v = 'new', rev = 2"), 2, "$capture: what has changed since is enqueued");
		is($run->('SELECT'), 2, "$capture: once") unless $capture eq 'full';
		is($run->("UPDATE $name SET v = 'old', rev = 3"), 3, "$capture: and when it changed back") unless $capture eq 'full';
		is($run->("UPDATE $name SET v = 'last', rev = 4"), $capture eq 'full' ? 3 : 4, "$capture: and again");
		ok(delivered($node, $name), "$capture: all of it");
		is($crm->hook_state($name)->{syncs}{$name}{'{"id":1}'}{row}{v}, 'last', "$capture: the target has the row as it is");
	}
};

$node->stop('fast');
done_testing();
