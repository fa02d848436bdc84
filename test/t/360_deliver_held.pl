# Guarantee 8 for captured changes: what one transaction would delete too much of waits for a yes.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('held');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A mirror of a hundred rows, or as many as are asked for, delivered.
sub mirror
{
	my ($name, $options, $rows, $capture) = @_;
	my $url = $crm->url("/hook/$name");

	sql("DO \$\$ BEGIN PERFORM activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); END \$\$;
		CREATE TABLE \"$name\" AS SELECT i AS id, 'a'::text AS v FROM generate_series(1, " . ($rows // 100) . ") i; ALTER TABLE \"$name\" ADD PRIMARY KEY (id)");
	my $id = sql("SELECT activate_sync('$name', '\"$name\"', '\"$name\".change', mode => 'mirror', capture => '" . ($capture // 'trigger') . "'"
		. (defined $options ? ", options => '$options'" : '') . ')');
	sql("SELECT activate_run('$name')");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate._outbox WHERE sync = $id") or die;
	return $id;
}

# Everything that is not held has been dealt with, and so many are held.
sub holds
{
	my ($id, $n) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) FILTER (WHERE held) IN ($n) AND count(*) FILTER (WHERE NOT held) = 0 FROM activate.outbox WHERE sync = $id");
}

sub deletes { return scalar grep { $_->{body} =~ /"op": ?"delete"/ } @{ $crm->log("/hook/$_[0]") }; }

sub log_lines
{
	my ($pattern) = @_;

	return scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /$pattern/g);
}

subtest 'too much at once' => sub {
	my $id = mirror('much');

	sql("BEGIN; UPDATE much SET v = 'b' WHERE id > 90; DELETE FROM much WHERE id <= 37; INSERT INTO much VALUES (200, 'new'); COMMIT");
	ok(holds($id, 37), 'the deletes are held, the other keys of the transaction pass') or diag sql('TABLE activate.outbox');
	is(deletes('much'), 0, 'nothing was deleted');
	is(sql("SELECT string_agg(DISTINCT op || coalesce(run::text, ''), ' ') FROM activate.outbox WHERE sync = $id"), 'change', 'as they were captured');
	is(sql("SELECT state || ' ' || pending FROM activate.stat_sync WHERE name = 'much'"), 'held 37', 'stat_sync tells');
	is(log_lines('sync "much" holds 37 deletes'), 1, 'one line in the log');
	my ($status, $out, $err) = $node->psql('postgres', "SELECT activate_wait('much')");
	is($out, 'f', 'activate_wait does not wait');
	like($err, qr/37 deletes are held/, 'and says why');

	sql("UPDATE much SET v = 'c' WHERE id = 50; DELETE FROM much WHERE id = 51");
	ok(holds($id, 37), 'later transactions pass');
	is(deletes('much'), 1, 'with their deletes');

	sql("INSERT INTO much VALUES (1, 'again'); DELETE FROM much WHERE id = 1");
	ok(holds($id, '38, 39'), 'a key that is held is not deleted by another transaction');
	$node->restart;
	sql("UPDATE much SET v = 'd' WHERE id = 52");
	ok($node->poll_query_until('postgres', "SELECT bool_and(held) FROM activate.outbox WHERE sync = $id"), 'nor after a restart');
	is(deletes('much'), 1, 'nothing was deleted');

	sql("SELECT activate_run('much', full => true)");
	ok(delivered($node, 'much'), 'the yes');
	is(deletes('much'), 38, 'and they are deleted, once each');
	same_rows($node, $crm->hook_rows('much', 'much'), 'TABLE much', 'the receiver mirrors');
};

subtest 'within the limits' => sub {
	my $id = mirror('few', '{"min_deletes": 25}');

	sql('DELETE FROM few WHERE id <= 24');
	ok(delivered($node, 'few'), 'below min_deletes');
	is(deletes('few'), 24, 'all of them');

	mirror('fifteen');
	sql('DELETE FROM fifteen WHERE id <= 15');
	ok(delivered($node, 'fifteen'), '15 of 100');
	is(deletes('fifteen'), 15, 'all of them');

	mirror('slowly');
	sql(join '', map { "DELETE FROM slowly WHERE id = $_;" } 1 .. 60);
	ok(delivered($node, 'slowly'), 'one by one, many');
	is(deletes('slowly'), 60, 'all of them');

	mirror('half', '{"max_delete_percent": 50}');
	sql('DELETE FROM half WHERE id <= 50');
	ok(delivered($node, 'half'), 'as much as the options allow');
	is(deletes('half'), 50, 'all of them');
};

subtest 'everything' => sub {
	my $id = mirror('all_of_it', '{"max_delete_percent": 100, "min_deletes": 1000}');

	sql('TRUNCATE all_of_it');
	ok(holds($id, 100), 'TRUNCATE is held, whatever the options');
	is(sql("SELECT activate_discard('all_of_it', 'held')"), 100, 'discarded');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 'all_of_it'"), 'ok', 'and forgotten');
	sql("INSERT INTO all_of_it VALUES (1, 'b')");
	ok(delivered($node, 'all_of_it'), 'it goes on');
	is(deletes('all_of_it'), 0, 'nothing was deleted');
};

subtest 'a reload' => sub {
	mirror('reload');
	my $requests = @{ $crm->log('/hook/reload') };

	sql("BEGIN; DELETE FROM reload; INSERT INTO reload SELECT i, 'a' FROM generate_series(1, 100) i; COMMIT");
	ok(delivered($node, 'reload'), 'deleted and inserted again');
	sql("BEGIN; TRUNCATE reload; INSERT INTO reload SELECT i, 'a' FROM generate_series(1, 100) i; COMMIT");
	ok(delivered($node, 'reload'), 'truncated and inserted again');
	is(scalar @{ $crm->log('/hook/reload') }, $requests, 'nothing is sent');
};

# The rows of the large transaction had been touched by small ones that are still on their way.
subtest 'behind others' => sub {
	my $id = mirror('behind');

	sql("SELECT activate_pause('behind')");
	sql(join '', map { "UPDATE behind SET v = 'b' WHERE id = $_;" } 1 .. 60);
	sql('DELETE FROM behind WHERE id <= 40');
	sql("SELECT activate_resume('behind')");
	ok(holds($id, 80), 'all that would delete these rows is held') or diag sql("SELECT count(*), held FROM activate.outbox WHERE sync = $id GROUP BY 2");
	is(deletes('behind'), 0, 'nothing was deleted');
	is(log_lines('sync "behind" holds'), 1, 'one line in the log');
	sql("SELECT activate_run('behind', full => true)");
	ok(delivered($node, 'behind'), 'the yes');
	same_rows($node, $crm->hook_rows('behind', 'behind'), 'TABLE behind', 'the receiver mirrors');
};

# A row is deleted by who touched it last.
subtest 'before others' => sub {
	my $id = mirror('before');

	sql("SELECT activate_pause('before')");
	sql("UPDATE before SET v = 'b' WHERE id <= 60");
	sql(join '', map { "DELETE FROM before WHERE id = $_;" } 1 .. 40);
	sql("SELECT activate_resume('before')");
	ok(delivered($node, 'before'), 'small deletes after a large update of the same rows are not held');
	is(deletes('before'), 40, 'they are sent');

	sql("SELECT activate_pause('before')");
	sql('DELETE FROM before WHERE id BETWEEN 41 AND 80');
	sql("INSERT INTO before VALUES (41, 'again'); DELETE FROM before WHERE id = 41");
	sql("SELECT activate_resume('before')");
	ok(holds($id, 39), 'a large one is held, but for a row that came and went again since') or diag sql("SELECT held, count(*) FROM activate.outbox WHERE sync = $id GROUP BY 1");
	is(deletes('before'), 41, 'which is deleted');
	sql("SELECT activate_run('before', full => true)");
	ok(delivered($node, 'before'), 'the yes');
	same_rows($node, $crm->hook_rows('before', 'before'), 'TABLE before', 'the receiver mirrors');
};

# rows, deleted in one transaction, options, held: at each side of each limit
subtest 'the limits' => sub {
	my @limits = (
		[ 100, 20, '{}', 0, 'exactly the percentage passes' ],
		[ 100, 21, '{}', 21, 'one more is held' ],
		[ 20, 9, '{}', 0, 'below min_deletes much passes' ],
		[ 20, 10, '{}', 10, 'min_deletes of them are held' ],
		[ 5, 4, '{}', 0, 'all but one of few pass' ],
		[ 5, 5, '{}', 5, 'everything is held, however few' ],
		[ 10, 1, '{"max_delete_percent": 0, "min_deletes": 0}', 1, 'not one, if the options say so' ]);

	for my $capture ('trigger', 'diff')
	{
		for my $i (0 .. $#limits)
		{
			my ($rows, $deleted, $options, $held, $what) = @{ $limits[$i] };
			my $name = "${capture}_$i";
			my $id   = mirror($name, $options, $rows, $capture);

			sql("DELETE FROM $name WHERE id <= $deleted" . ($capture eq 'diff' ? "; SELECT activate_run('$name')" : ''));
			ok(holds($id, $held), "$capture: $what") or diag sql("SELECT held, count(*) FROM activate.outbox WHERE sync = $id GROUP BY 1");
			is(deletes($name), $held ? 0 : $deleted, "$capture: and is sent or not");
		}
	}
};

# Each is within the limit: what many of them delete is not held, but for the last row, which is everything.
subtest 'everything, row by row' => sub {
	my $id = mirror('rows', '{}', 12);

	for my $row (1 .. 11)
	{
		sql("DELETE FROM rows WHERE id = $row");
		delivered($node, 'rows');
	}
	is(deletes('rows'), 11, 'all but the last pass');
	sql('DELETE FROM rows');
	ok(holds($id, 1), 'the last is everything that is left');
};

subtest 'while it is held' => sub {
	my $id = mirror('while');

	sql('DELETE FROM "while" WHERE id <= 50');
	ok(holds($id, 50), 'held');
	sql(q{INSERT INTO "while" VALUES (1, 'back')});
	ok(holds($id, '50, 51'), 'a row that comes back');
	is($crm->hook_state('while')->{syncs}{while}{'{"id":1}'}{row}{v}, 'back', 'is sent');
	sql(q{SELECT activate_sync('while', '"while"', '"while".change', mode => 'mirror', capture => 'trigger', options => '{"max_delete_percent": 90}')});
	sql(q{INSERT INTO "while" VALUES (300, 'new')});
	ok(holds($id, '50, 51'), 'a redeclaration changes nothing in what is held');
	my ($status, $out, $err) = $node->psql('postgres', q{DELETE FROM "while" WHERE id = 99; SELECT activate_run('while')});
	like($err, qr/deletes of sync "while" are held/, 'a run warns');
	ok(holds($id, '50, 51'), 'and holds nothing twice');
	is(deletes('while'), 1, 'others pass');
	is(sql(q{SELECT status FROM activate.run r WHERE r.sync = } . $id . ' ORDER BY id DESC LIMIT 1'), 'held', 'its status is held');
	cmp_ok(sql(q{SELECT activate_discard('while', $$held AND (key->>'id')::int <= 40$$)}), '>=', 40, 'some are discarded');
	ok(holds($id, 10), 'the others stay');
	sql(q{SELECT activate_run('while', full => true)});
	ok(delivered($node, 'while'), 'the yes');
	is(sql(qq{SELECT count(*) FROM activate.sent WHERE sync = $id AND (key->>'id')::int BETWEEN 41 AND 50}), 0, 'deletes what was held');
};

# More intents than are in memory at once, and a source whose key has no index.
subtest 'large' => sub {
	my $id = mirror('large');

	sql("ALTER TABLE large DROP CONSTRAINT large_pkey; INSERT INTO large SELECT i, 'a' FROM generate_series(101, 20000) i");
	ok(delivered($node, 'large'), 'filled');
	sql("BEGIN; DELETE FROM large WHERE id > 10000; UPDATE large SET v = 'b'; COMMIT");
	ok(holds($id, 10000), 'half is held, the other half passes');
	is(deletes('large'), 0, 'nothing was deleted');
	same_rows($node, $crm->hook_rows('large', 'large'), "TABLE large UNION ALL SELECT i, 'a' FROM generate_series(10001, 20000) i", 'the rest is up to date');
};

$node->stop('fast');
done_testing();
