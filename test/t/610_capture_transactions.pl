# Transactions of every kind, and a deliverer that is at work: each is sent when it is committed, by
# whomever, and none waits for another (SEMANTICS 6).
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('transactions');
my $url  = $crm->url('/hook/tx');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Has the row been delivered with that content?  Asks again for a while.
sub receives
{
	my ($id, $value) = @_;

	return $node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM activate.sent t JOIN tx ON t.key = jsonb_build_object('id', tx.id)
			WHERE tx.id = $id AND tx.v = '$value' AND t.image ->> 'v' = tx.v)");
}

sub held_by_receiver
{
	my %rows = map { $_->{id} => $_->{v} } @{ JSON::PP::decode_json($crm->hook_rows('tx', 'tx')) };

	return join ' ', map { "$_=$rows{$_}" } sort { $a <=> $b } keys %rows;
}

sql("SELECT activate_target('tx', 'webhook', '{\"url\": \"$url\"}');
	CREATE TABLE tx (id int PRIMARY KEY, v text);
	SELECT activate_sync('tx', 'tx', 'tx.change', capture => 'trigger')");

subtest 'transactions that stay open' => sub {
	my $writer = $node->background_psql('postgres');
	my $reader = $node->background_psql('postgres');
	my $old    = $node->background_psql('postgres');

	$old->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tx");
	$writer->query_safe("BEGIN; INSERT INTO tx VALUES (1, 'late'), (2, 'late')");
	$reader->query_safe("BEGIN; SELECT count(*) FROM tx; DECLARE c CURSOR FOR SELECT * FROM tx");
	sql("INSERT INTO tx VALUES (11, 'early')");
	ok(receives(11, 'early'), 'another message is not delayed by who writes or reads');
	$writer->query_safe("UPDATE tx SET v = 'later' WHERE id = 2");
	sql("INSERT INTO tx VALUES (12, 'early')");
	ok(receives(12, 'early'), 'nor the next');
	is(held_by_receiver(), '11=early 12=early', 'what is not committed is not sent');
	$old->query_safe("UPDATE tx SET v = 'by an old snapshot' WHERE false; INSERT INTO tx VALUES (13, 'old')");
	$writer->query_safe('COMMIT');
	ok(receives(2, 'later'), 'what commits late with low ids is sent');
	$old->query_safe('COMMIT');
	ok(receives(13, 'old'), 'the oldest as well');
	$reader->query_safe('ROLLBACK');
	$_->quit for $writer, $reader, $old;
	is(held_by_receiver(), '1=late 2=later 11=early 12=early 13=old', 'everything has arrived');
};

subtest 'aborted, in part and in whole' => sub {
	sql("BEGIN; INSERT INTO tx VALUES (21, 'no'); ROLLBACK");
	sql("BEGIN; INSERT INTO tx VALUES (22, 'yes'); SAVEPOINT s; INSERT INTO tx VALUES (23, 'no'); UPDATE tx SET v = 'no' WHERE id = 22; ROLLBACK TO s;
		SAVEPOINT s; SAVEPOINT t; INSERT INTO tx VALUES (24, 'yes'); RELEASE s; COMMIT");
	sql("DO \$\$ BEGIN
			INSERT INTO tx VALUES (25, 'yes');
			BEGIN INSERT INTO tx VALUES (26, 'no'); INSERT INTO tx VALUES (25, 'no'); EXCEPTION WHEN unique_violation THEN INSERT INTO tx VALUES (27, 'yes'); END;
		END \$\$");
	my ($status) = $node->psql('postgres', "INSERT INTO tx VALUES (28, 'no'), (28, 'no')");
	isnt($status, 0, 'a statement that fails');
	ok(delivered($node, 'tx'), 'delivered');
	is(sql("SELECT string_agg(key ->> 'id', ' ' ORDER BY (key ->> 'id')::int) FROM activate.receipt r WHERE (key ->> 'id')::int BETWEEN 20 AND 29"),
		'22 24 25 27', 'what was rolled back was never looked at, the others once');
};

subtest 'prepared transactions' => sub {
	sql("BEGIN; INSERT INTO tx VALUES (31, 'prepared'); UPDATE tx SET v = 'prepared' WHERE id = 1; PREPARE TRANSACTION 'yes'");
	sql("BEGIN; INSERT INTO tx VALUES (32, 'prepared'); PREPARE TRANSACTION 'no'");
	sql("INSERT INTO tx VALUES (33, 'not')");
	ok(receives(33, 'not'), 'another message is not delayed');
	unlike(held_by_receiver(), qr/prepared/, 'they are not sent');
	sql("ROLLBACK PREPARED 'no'");
	sql("COMMIT PREPARED 'yes'");
	ok(receives(31, 'prepared'), 'COMMIT PREPARED, of which nobody is told, is noticed');
	ok(receives(1, 'prepared'), 'all of it');

	sql("BEGIN; INSERT INTO tx VALUES (34, 'before the crash'); SAVEPOINT s; INSERT INTO tx VALUES (35, 'before the crash'); RELEASE s; PREPARE TRANSACTION 'crash'");
	sql("BEGIN; INSERT INTO tx VALUES (36, 'before the crash'); PREPARE TRANSACTION 'crash too'");
	$node->stop('immediate');
	$node->start;
	sql("INSERT INTO tx VALUES (37, 'after')");
	ok(receives(37, 'after'), 'after a crash, others pass');
	sql("ROLLBACK PREPARED 'crash too'");
	sql("COMMIT PREPARED 'crash'");
	ok(receives(35, 'before the crash'), 'and what was prepared before is sent');
	ok(delivered($node, 'tx'), 'all of it');
	is(sql("SELECT count(*) FROM activate.receipt WHERE key ->> 'id' IN ('32', '36')"), 0, 'what was rolled back was never looked at');
};

# A transaction that prepared appends nothing to the next one of its session.
subtest 'one session, one after the other' => sub {
	my $session = $node->background_psql('postgres');

	$session->query_safe("BEGIN; INSERT INTO tx VALUES (41, 'a'); PREPARE TRANSACTION 'a'");
	$session->query_safe("INSERT INTO tx VALUES (42, 'b')");
	ok(receives(42, 'b'), 'the next');
	is(sql("SELECT count(*) FROM activate.outbox"), 0, 'nothing else is there');
	$session->query_safe("COMMIT PREPARED 'a'");
	ok(receives(41, 'a'), 'the first');
	$session->quit;
	same_rows($node, $crm->hook_rows('tx', 'tx'), 'TABLE tx', 'the receiver has every row');
	is($crm->stats->{seq_regressions}, 0, 'none of them an older one after a newer one');
};

# Ids order the intents of a key, so none is given twice: not after a crash, whatever was logged ahead or before a checkpoint.
subtest 'ids after a crash' => sub {
	sql("CREATE TABLE ids (id int PRIMARY KEY); SELECT activate_sync('ids', 'ids', 'tx.change', capture => 'trigger'); SELECT activate_pause('ids')");
	my ($last, $n) = (0, 0);
	my @ways = (
		[ 'one', 1 ], [ 'more than is logged ahead', 40 ], [ 'what was logged ahead before a checkpoint', 1, 1 ],
		[ 'in bulk', 2500 ], [ 'and one behind it', 1 ], [ 'in bulk after a checkpoint', 1500, 1 ]);

	for my $way (@ways, $ways[0])
	{
		my ($name, $rows, $checkpoint) = @$way;

		if ($checkpoint)
		{
			sql('INSERT INTO ids VALUES (' . ++$n . ')');
			sql('CHECKPOINT');
		}
		sql("INSERT INTO ids SELECT generate_series($n + 1, $n + $rows)");
		$n += $rows;
		$node->stop('immediate');
		$node->start;
		my ($first, $greatest, $ids) = split /\|/, sql("SELECT min(id), max(id), count(*) FROM
			(SELECT i.id, (i.key ->> 'id')::int AS n FROM activate._intent i JOIN activate.sync s ON s.id = i.sync AND s.name = 'ids') i
			WHERE i.n > $n - $rows");
		is($ids, $rows, "$name: captured");
		cmp_ok($first, '>', $last, "$name: beyond those before");
		$last = $greatest;
	}
	is(sql("SELECT count(DISTINCT i.id) FROM activate._intent i"), $n, 'each its own');
	sql("SELECT activate_drop('ids')");
};

$node->stop('fast');
done_testing();
