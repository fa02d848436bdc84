# Gates where nobody runs anything: what triggers capture is judged as it is sent, what is held is let go once it is mended.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('quality');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub true { return $node->poll_query_until('postgres', "SELECT $_[0]"); }
sub state_of { return sql("SELECT state FROM activate.stat_sync WHERE name = '$_[0]'"); }
sub sent { return join ' ', map { $_->{body} =~ /"row": ?(?:null|\{"id": ?(\d+), ?"email": ?"([^"]*)")/ ? "$1 $2" : 'gone' } @{ $crm->log("/hook/$_[0]") }; }

sub to_hook
{
	my ($name, %options) = @_;
	my $url = $crm->url("/hook/$name");

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}');
		SELECT activate_sync('$name', '" . ($options{source} // $name) . "', '$name.change', mode => 'mirror', capture => '" . ($options{capture} // 'trigger') . "');
		SELECT activate_run('$name')");
	ok(delivered($node, $name), "$name: what is there is delivered");
	return;
}

subtest 'a bad row that a trigger captures is rejected as it is sent' => sub {
	sql("CREATE TABLE single (id int PRIMARY KEY, email text); INSERT INTO single VALUES (1, 'a\@x'); SELECT activate_expect('single', 'mail', 'matches(email, ''\@'')', 'quarantine')");
	to_hook('single');
	sql("INSERT INTO single VALUES (2, 'b'), (3, 'c\@x'); UPDATE single SET email = 'none' WHERE id = 1");
	ok(delivered($node, 'single'), 'nothing waits');
	is(sql("SELECT string_agg(key::text || ' ' || code || ' ' || reason, '; ' ORDER BY key) FROM activate.rejection"),
		join('; ', map { "{\"id\": $_} expectation expectation \"mail\" of public.single: matches(email, '\@')" } 1, 2), 'they are rejected, with the reason');
	is(sent('single'), '1 a@x 3 c@x', 'the good one has passed, and the one that became bad is not deleted');
	sql("UPDATE single SET email = 'b\@x' WHERE id = 2");
	ok(delivered($node, 'single'), 'mended');
	is(sent('single'), '1 a@x 3 c@x 2 b@x', 'it is sent');
	is(sql('SELECT string_agg(key::text, \' \') FROM activate.rejection'), '{"id": 1}', 'and its rejection is gone');
	sql("SELECT activate_expect_drop('single', 'mail'); SELECT activate_run('single')");
	ok(delivered($node, 'single'), 'without the expectation');
	is(sent('single'), '1 a@x 3 c@x 2 b@x 1 none', 'all of them are good');
	is(sql('SELECT count(*) FROM activate.rejection'), 0, 'none is rejected');
};

subtest 'a bad row that lets nothing pass' => sub {
	sql("CREATE TABLE strict (id int PRIMARY KEY, email text); INSERT INTO strict VALUES (1, 'a\@x'); SELECT activate_expect('strict', 'mail', 'matches(email, ''\@'')')");
	to_hook('strict');
	sql("INSERT INTO strict VALUES (2, 'b'), (3, 'c\@x')");
	ok(true("state LIKE 'held: expectation \"mail\" of public.strict: %' FROM activate.stat_sync WHERE name = 'strict'"), 'the sync is held') or diag state_of('strict');
	is(sent('strict'), '1 a@x', 'nothing has passed');
	sql("INSERT INTO strict VALUES (4, 'd\@x')");
	is(pending($node, 'strict'), 3, 'what changes meanwhile is captured');
	my ($status, $out, $err) = $node->psql('postgres', "SELECT activate_wait('strict')");
	is($out, 'f', 'activate_wait does not wait');
	like($err, qr/it is held by expectation "mail"/, 'and says why');
	sql("UPDATE strict SET email = 'b\@x' WHERE id = 2");
	is(sql("SELECT state FROM activate_check('strict')"), 'ok', 'checked by hand');
	ok(delivered($node, 'strict'), 'all is let go');
	is(join(' ', sort split / (?=\d )/, sent('strict')), '1 a@x 2 b@x 3 c@x 4 d@x', 'and arrives');
	is(state_of('strict'), 'ok', 'stat_sync tells');
};

subtest 'of what is read as a whole' => sub {
	sql("CREATE TABLE raw (id int PRIMARY KEY, email text); INSERT INTO raw VALUES (1, 'a\@x');
		SELECT activate_sync('tidy', 'SELECT id, lower(email) AS email FROM raw', 'clean', key => 'id', mode => 'mirror'); SELECT activate_run('tidy');
		SELECT activate_expect('clean', 'enough', 'row_count_between(1, 3)', 'warn')");
	to_hook('clean');
	# the table has got too many rows: what was captured waits
	sql("SELECT activate_expect('clean', 'enough', 'row_count_between(1, 2)', 'warn'); INSERT INTO raw VALUES (2, 'B\@x'), (3, 'c\@x')");
	sql("BEGIN; SELECT activate_run('tidy'); SELECT activate_expect('clean', 'enough', 'row_count_between(1, 2)'); SELECT activate_check('clean'); COMMIT");
	like(state_of('clean'), qr/^held/, 'held');
	is(sent('clean'), '1 a@x', 'nothing has passed');
	is(pending($node, 'clean'), 2, 'it waits');
	# a runner looks when a sync has written the table again
	sql("DELETE FROM clean WHERE id = 3; DELETE FROM raw WHERE id = 3");
	$node->safe_psql('postgres', "SELECT activate_run('tidy')");
	ok(delivered($node, 'clean'), 'what is mended is let go');
	like(sent('clean'), qr/^1 a\@x 2 b\@x/, 'and arrives');
};

subtest 'a run that was held is made up for, whoever opens the gate' => sub {
	for my $how ('check', 'run')
	{
		my ($name, $url) = ("early_$how", $crm->url("/hook/early_$how"));

		sql("CREATE TABLE $name (id int PRIMARY KEY, email text); INSERT INTO $name VALUES (1, 'a\@x'), (2, 'b');
			CREATE TABLE from_$name AS SELECT id, email || '\@x' AS email FROM $name WHERE id = 2;
			SELECT activate_sync('into_$name', 'SELECT id, email FROM from_$name', '$name', key => 'id');
			SELECT activate_expect('$name', 'mail', 'matches(email, ''\@'')');
			SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}');
			SELECT activate_sync('$name', '$name', '$name.change', mode => 'mirror', capture => 'trigger');
			SELECT activate_run('$name')");
		like(state_of($name), qr/^held/, "$how: its first run is held");
		is(sent($name), '', "$how: nothing has passed");
		sql($how eq 'run' ? "SELECT activate_run('into_$name')" : "UPDATE $name SET email = 'b\@x' WHERE id = 2; SELECT activate_check('$name')");
		ok(true("count(*) = 2 FROM activate.sent x JOIN activate.sync s ON s.id = x.sync WHERE s.name = '$name'"), "$how: all that it would have sent is sent");
		ok(true("count(*) = 0 FROM activate._gate g JOIN activate.sync s ON s.id = g.sync WHERE s.name = '$name'"), "$how: and nothing is left to be made up for");
	}
};

subtest 'by schedule' => sub {
	sql("CREATE TABLE source (id int PRIMARY KEY, n int); INSERT INTO source SELECT i, i FROM generate_series(1, 10) i;
		SELECT activate_expect('source', 'positive', 'n > 0'); UPDATE source SET n = -1 WHERE id = 3;
		SELECT activate_sync('copy', 'source', 'copied', schedule => '\@every 1s')");
	ok(true("count(*) >= 2 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'copy' AND r.status = 'held' AND r.error LIKE 'expectation \"positive\" of public.source: 1 of 10 rows fail%'"), 'each run looks, and says why it has done nothing');
	is(sql('SELECT count(*) FROM copied'), 0, 'nothing has passed');
	is(sql("SELECT sample FROM activate.expectation WHERE name = 'positive'"), '[{"id": 3}]', 'the history names the row');
	is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /expectation "positive" of public.source is failed/g), 1, 'one line in the log');
	sql('UPDATE source SET n = 3 WHERE id = 3');
	ok(true('count(*) = 10 FROM copied'), 'mended, all passes');
	ok(true("state IN ('ok', 'running') FROM activate.stat_sync WHERE name = 'copy'"), 'stat_sync tells');
	sql("SELECT activate_drop('copy')");
};

$node->stop('fast');
done_testing();
