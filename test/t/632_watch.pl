# Incremental models (options.watch): one changed order is one row of the model, one call of the CRM.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('watch', conf => 'max_prepared_transactions = 2');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub applied
{
	my ($name) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
		WHERE s.name = '$name' AND NOT o.held") || diag(sql("SELECT r.status, r.error FROM activate.run r ORDER BY r.id DESC LIMIT 3"));
}

sub same
{
	my ($left, $right, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("SELECT * FROM ((SELECT 'left', l::text FROM $left l EXCEPT ALL SELECT 'left', r::text FROM $right r)
		UNION ALL (SELECT 'right', r::text FROM $right r EXCEPT ALL SELECT 'right', l::text FROM $left l)) d LIMIT 5"), '', $name);
}

sql("CREATE TABLE customer (id int PRIMARY KEY, email text);
	CREATE TABLE orders (id serial PRIMARY KEY, customer_id int, amount numeric(10,2));
	CREATE INDEX ON orders (customer_id);
	INSERT INTO customer SELECT i, 'c' || i || '\@example.org' FROM generate_series(1, 2000) i;
	INSERT INTO orders (customer_id, amount) SELECT 1 + i % 2000, i FROM generate_series(1, 10000) i;
	CREATE VIEW value AS SELECT c.id, c.email, count(o.id)::int AS orders, coalesce(sum(o.amount), 0) AS amount
		FROM customer c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id;
	ANALYZE");

subtest 'from an order to the CRM' => sub {
	my $url = $crm->url('/hook/value');

	sql("SELECT activate_target('crm', 'webhook', '{\"url\": \"$url\", \"batch\": 100}')");
	sql("SELECT activate_sync('value', 'value', 'mart', key => 'id', mode => 'replace', options => '{\"watch\": {\"customer\": \"id\", \"orders\": \"customer_id\"}}')");
	sql("SELECT activate_run('value')");
	sql("SELECT activate_sync('crm', 'mart', 'crm.change', mode => 'mirror', capture => 'trigger', options => '{\"backfill\": false}')");
	sql("SELECT activate_run('crm')");
	ok(delivered($node, 'crm'), 'what is there is known');
	my $before = scalar @{ $crm->log('/hook/value') };

	sql("UPDATE orders SET amount = amount + 1000 WHERE id = 7");
	ok($node->poll_query_until('postgres', "SELECT amount = (SELECT v.amount FROM value v WHERE v.id = m.id) FROM mart m WHERE id = 8"), 'the model has it');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'crm' AND r.outcome = 'delivered' AND r.key = '{\"id\": 8}'"),
		'the CRM, too');
	my @log = @{ $crm->log('/hook/value') };
	is(@log - $before, 1, 'by one call');
	my $change = JSON::PP::decode_json($log[-1]{body});
	is_deeply([ map { [ $_->{op}, $_->{key}{id}, $_->{row}{orders}, $_->{row}{amount} + 0 ] } @{ $change->{changes} } ],
		[ [ 'upsert', 8, 5, sql("SELECT amount FROM value WHERE id = 8") + 0 ] ], 'of one row');
	is(sql("SELECT rows_read || ' ' || rows_updated FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'value' ORDER BY r.id DESC LIMIT 1"), '1 1',
		'the model was evaluated for that customer only');

	sql("DELETE FROM customer WHERE id = 9");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.receipt r WHERE r.op = 'delete' AND r.outcome = 'delivered' AND r.key = '{\"id\": 9}'"), 'who is gone is gone there');
};

subtest 'by whatever way rows change' => sub {
	my $copy = $node->data_dir . '/orders.csv';

	append_to_file($copy, join '', map { "$_,1.5\n" } 11 .. 20);
	sql("COPY orders (customer_id, amount) FROM '$copy' (FORMAT csv)");
	ok(applied('value'), 'COPY');
	same('value', 'mart', 'COPY: as a whole run would have it');
	sql("BEGIN; UPDATE orders SET customer_id = customer_id + 1 WHERE customer_id IN (100, 200); PREPARE TRANSACTION 'two'");
	sql("COMMIT PREPARED 'two'");
	ok(applied('value'), 'two-phase commit');
	same('value', 'mart', 'two-phase commit: the customers of before and after');
	sql("BEGIN; SAVEPOINT s; DELETE FROM orders WHERE customer_id = 300; ROLLBACK TO s; DELETE FROM orders WHERE customer_id = 301; COMMIT");
	ok(applied('value'), 'savepoints');
	same('value', 'mart', 'savepoints: what stayed');
	sql("UPDATE orders SET amount = amount + 1 WHERE customer_id <= 1500");
	ok(applied('value'), 'many at once');
	same('value', 'mart', 'many at once: all of them');
	sql("TRUNCATE orders");
	ok(applied('value'), 'TRUNCATE');
	same('value', 'mart', 'TRUNCATE: everything was evaluated');
};

$node->stop;
done_testing();
