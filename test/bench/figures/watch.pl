# A model kept by what changes (options.watch): one changed order is one customer evaluated, whatever the size of the tables.
use strict;
use warnings;

use Bench;

my $changes = 50;

# n customers with three orders each, and the model of them.
sub model
{
	my ($s, $name, $n) = @_;

	$s->run("CREATE TABLE customer_$name (id bigint PRIMARY KEY, email text);
		CREATE TABLE orders_$name (id bigint PRIMARY KEY, customer_id bigint, amount numeric(12,2), note text);
		INSERT INTO customer_$name SELECT i, 'customer.' || i || '\@example.org' FROM generate_series(1, $n) i;
		INSERT INTO orders_$name SELECT i, 1 + i % $n, i % 1000, md5(i::text) FROM generate_series(1, 3 * $n) i;
		CREATE INDEX ON orders_$name (customer_id)");
	$s->run("VACUUM ANALYZE customer_$name");
	$s->run("VACUUM ANALYZE orders_$name");
	$s->run("SELECT activate_sync('$name', 'SELECT c.id, c.email, count(o.id) AS orders, sum(o.amount) AS amount
		FROM customer_$name c LEFT JOIN orders_$name o ON o.customer_id = c.id GROUP BY c.id', 'mart_$name', key => 'id', mode => 'replace',
		options => '{\"watch\": {\"customer_$name\": \"id\", \"orders_$name\": \"customer_id\"}}')");
	$s->run("SELECT activate_run('$name')");
	$s->run("VACUUM ANALYZE mart_$name");
	return;
}

# One order at a time, each applied as a runner would.
sub change
{
	my ($s, $name, $n) = @_;

	return measure($s, "DO \$\$ DECLARE id bigint := (SELECT s.id FROM activate.sync s WHERE s.name = '$name'); BEGIN FOR i IN 1 .. $changes LOOP
		UPDATE orders_$name o SET amount = amount + 1 WHERE o.id = 1 + i * ($n / $changes - 1); PERFORM activate._run_execute(activate._run_start(id), true); END LOOP; END \$\$");
}

figure watch_change => sub {
	my ($s) = @_;
	my %n = (small => 10_000, large => 1_000_000);

	# nobody but this session applies
	$s->run("DO \$\$ BEGIN EXECUTE format('ALTER DATABASE %I SET activate.enabled = off', current_database()); END \$\$");
	model($s, $_, $n{$_}) for qw(small large);
	my $got = alternate(map { my $name = $_; ($name => sub { change($s, $name, $n{$name}) }) } qw(large small));
	$s->run("SELECT count(*) FROM (SELECT c.id, c.email, count(o.id), sum(o.amount) FROM customer_large c LEFT JOIN orders_large o ON o.customer_id = c.id GROUP BY c.id
		EXCEPT TABLE mart_large) d") == 0 or die "the model is not what the query gives\n";
	row('one changed order in a model of ' . number($n{large}) . ' customers', unit => 'µs of CPU', against => number($n{small}) . ' customers',
		ours => per($got->{large}, 'cpu', $changes), base => per($got->{small}, 'cpu', $changes), reach => '≤ 3', ok => sub { $_[2] <= 3 });
	row('the same, on the clock', unit => 'ms', against => 'the same',
		ours => [ map { $_ * 1000 / $changes } @{ column($got->{large}, 'wall') } ], base => [ map { $_ * 1000 / $changes } @{ column($got->{small}, 'wall') } ]);
};

1;
