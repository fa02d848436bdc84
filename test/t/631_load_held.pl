# The limit of a mirror that is a table: for what a runner applies, and for runs (SEMANTICS 10, 11).
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('load_held');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub of { return "activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$_[0]'"; }

# What was queued is applied, and so many deletes are held.
sub holds { return $node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE held) = $_[1] AND count(*) FILTER (WHERE NOT held) = 0 FROM " . of($_[0])); }

sub count { return sql("SELECT count(*) FROM t_$_[0]"); }

sub last_run { return sql("SELECT r.status || ' ' || r.rows_deleted FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' ORDER BY r.id DESC LIMIT 1"); }

sql('CREATE EXTENSION postgres_fdw');
sql("CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $node->host . "', port '" . $node->port . "', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER here");

# A mirror of so many rows; the target of a foreign one is f_<name>.
sub mirror
{
	my ($name, $rows, %options) = @_;
	my $capture = $options{capture} // 'trigger';
	my $more    = $options{options} // '{}';
	my $foreign = $options{foreign};

	sql("CREATE TABLE s_$name (id int PRIMARY KEY, v text); CREATE TABLE t_$name (id int PRIMARY KEY, v text); INSERT INTO s_$name SELECT i, 'a' FROM generate_series(1, $rows) i");
	sql("CREATE FOREIGN TABLE f_$name (id int, v text) SERVER here OPTIONS (table_name 't_$name')") if $foreign;
	sql("SELECT activate_sync('$name', 's_$name', '" . ($foreign ? 'f' : 't') . "_$name', key => 'id', mode => 'mirror', capture => '$capture', options => '$more');
		SELECT activate_run('$name')");
}

for my $foreign (0, 1)
{
	my $name = $foreign ? 'far' : 'near';

	subtest $foreign ? 'too much at once, foreign' : 'too much at once, local' => sub {
		mirror($name, 100, foreign => $foreign);
		sql("BEGIN; UPDATE s_$name SET v = 'b' WHERE id > 90; DELETE FROM s_$name WHERE id <= 37; INSERT INTO s_$name VALUES (200, 'new'); COMMIT");
		ok(holds($name, 37), 'the deletes are held') or diag sql('TABLE activate.outbox');
		is(sql("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'b') FROM t_$name"), '101 10', 'the other keys pass');
		is(last_run($name), 'held 0', 'the run is held');
		is(sql("SELECT DISTINCT op || ' ' || (r.status) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync JOIN activate.run r ON r.id = o.run WHERE s.name = '$name'"), 'delete held', 'they tell which run held them');
		is(sql("SELECT state || ' ' || pending FROM activate.stat_sync WHERE name = '$name'"), 'held 37', 'stat_sync tells');
		is(scalar(() = slurp_file($node->logfile) =~ /sync "$name" holds 37 deletes/g), 1, 'one line in the log');
		my ($status, $out, $err) = $node->psql('postgres', "SELECT activate_wait('$name')");
		like("$out $err", qr/^f .*37 deletes are held/, 'activate_wait does not wait, and says why');

		sql("DELETE FROM s_$name WHERE id = 51; UPDATE s_$name SET v = 'c' WHERE id = 52");
		ok(holds($name, 37), 'a later transaction is applied');
		is(sql("SELECT string_agg(id || v, ' ') FROM t_$name WHERE id IN (51, 52)"), '52c', 'with its delete');
		sql("INSERT INTO s_$name VALUES (1, 'again'); DELETE FROM s_$name WHERE id = 1");
		ok(holds($name, 37), 'a key that is held');
		is(sql("SELECT count(*) FROM t_$name WHERE id = 1"), 1, 'is not deleted by another transaction');
		$node->restart;
		sql("SELECT activate_sync('$name', 's_$name', '" . ($foreign ? 'f' : 't') . "_$name', key => 'id', mode => 'mirror', capture => 'trigger', options => '{\"max_delete_percent\": 30}')");
		ok(holds($name, 37), 'nor after a restart and a redeclaration');
		sql("INSERT INTO s_$name VALUES (2, 'back')");
		ok(holds($name, 36), 'what comes back is held no longer');
		is(sql("SELECT v FROM t_$name WHERE id = 2"), 'back', 'a row that comes back is written');
		sql("DELETE FROM s_$name WHERE id = 2");
		ok(holds($name, 36) && $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM t_$name WHERE id = 2"), 'and gone when it goes once more');

		sql("INSERT INTO s_$name SELECT i, 'more' FROM generate_series(1001, 2000) i");
		ok(holds($name, 36), 'ten times as many rows');
		($status, $out, $err) = $node->psql('postgres', "SELECT activate_run('$name')");
		like($err, qr/deletes of sync "$name" are held/, 'a run warns');
		is(last_run($name), 'held 0', 'and does not delete what is held');
		ok(holds($name, 36), 'which stays held');

		is(sql("SELECT activate_discard('$name', 'held AND (key->>''id'')::int <= 10')"), 9, 'some are discarded');
		is(sql("SELECT count(*) FROM t_$name WHERE id <= 10"), 9, 'and kept by the target');
		my $written = sql("SELECT max(xmin::text::bigint) FROM t_$name");
		sql("SELECT activate_run('$name', full => true)");
		ok(holds($name, 0), 'the yes');
		is(last_run($name), 'succeeded 36', 'deletes all that is gone');
		is(sql("SELECT max(xmin::text::bigint) FROM t_$name"), $written, 'and writes nothing that did not change');
		is(sql("SELECT count(*) FROM (TABLE s_$name EXCEPT ALL TABLE t_$name) d") . count($name), '0' . sql("SELECT count(*) FROM s_$name"), 'the target mirrors');
		is(sql("SELECT state FROM activate.stat_sync WHERE name = '$name'"), 'ok', 'stat_sync tells');
	};
}

# rows, deleted, options, held: at each side of each limit
my @limits = (
	[ 100, 20, '{}', 0, 'exactly the percentage passes' ],
	[ 100, 21, '{}', 1, 'one more is held' ],
	[ 20, 9, '{}', 0, 'below min_deletes much passes' ],
	[ 20, 10, '{}', 1, 'min_deletes of them are held' ],
	[ 5, 4, '{}', 0, 'all but one of few pass' ],
	[ 5, 5, '{}', 1, 'everything is held, however few' ],
	[ 100, 99, '{"max_delete_percent": 100}', 0, 'all but one, if the options say so' ],
	[ 100, 100, '{"max_delete_percent": 100, "min_deletes": 1000}', 1, 'everything is held, whatever the options' ],
	[ 10, 1, '{"max_delete_percent": 0, "min_deletes": 0}', 1, 'not one, if the options say so' ],
	[ 10, 2, '{"max_delete_percent": 20, "min_deletes": 0}', 0, 'the percentage alone, at it' ],
	[ 10, 3, '{"max_delete_percent": 20, "min_deletes": 3}', 1, 'and beyond it' ]);

for my $capture ('trigger', 'diff')
{
	subtest "the limits, $capture" => sub {
		for my $i (0 .. $#limits)
		{
			my ($rows, $deleted, $options, $held, $what) = @{ $limits[$i] };
			my $name = "${capture}_$i";

			mirror($name, $rows, capture => $capture, options => $options);
			sql("DELETE FROM s_$name WHERE id <= $deleted");
			if ($capture eq 'trigger') { holds($name, $held ? $deleted : 0) or diag sql('TABLE activate.outbox'); }
			else { $node->psql('postgres', "SELECT activate_run('$name')"); }
			is(last_run($name) . ' ' . count($name), $held ? "held 0 $rows" : "succeeded $deleted " . ($rows - $deleted), $what);
		}
	};
}

subtest 'a run by diff' => sub {
	mirror('diff', 100, capture => 'diff');
	sql("DELETE FROM s_diff WHERE id <= 50; UPDATE s_diff SET v = 'b' WHERE id = 100; SELECT activate_run('diff')");
	is(last_run('diff') . ' ' . count('diff'), 'held 0 100', 'held');
	is(sql("SELECT v FROM t_diff WHERE id = 100"), 'b', 'updates pass');
	sql("SELECT activate_run('diff')");
	is(last_run('diff') . ' ' . count('diff'), 'held 0 100', 'held again by the next one');
	sql("SELECT activate_run('diff', full => true)");
	is(last_run('diff') . ' ' . count('diff'), 'succeeded 50 50', 'until the yes');
};

subtest 'a run by trigger' => sub {
	mirror('both', 100);
	sql("ALTER TABLE s_both DISABLE TRIGGER USER; DELETE FROM s_both WHERE id <= 50; ALTER TABLE s_both ENABLE TRIGGER USER; SELECT activate_run('both')");
	ok(holds('both', 50), 'what a run holds stands in the outbox, too');
	sql("SELECT activate_run('both')");
	ok(holds('both', 50), 'once');
	is(sql("SELECT activate_discard('both', 'held')"), 50, 'discarded');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 'both'") . ' ' . count('both'), 'held 100', 'the target keeps them');
	sql("INSERT INTO s_both SELECT i, 'a' FROM generate_series(1, 45) i");
	ok(holds('both', 0), 'most come back');
	sql("SELECT activate_run('both')");
	is(last_run('both') . ' ' . count('both'), 'succeeded 5 95', 'a run finds the others again');
};

# Small transactions are one application if they are there at the same time.
subtest 'many small transactions' => sub {
	mirror('small', 100);
	sql("SELECT activate_pause('small')");
	sql(join '', map { "DELETE FROM s_small WHERE id = $_;" } 1 .. 30);
	sql("SELECT activate_resume('small')");
	ok(holds('small', 30), 'are held together');
	is(count('small'), 100, 'nothing was deleted');
};

$node->stop('fast');
done_testing();
