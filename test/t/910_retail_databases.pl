# Real input from where it is: the lines of a retailer's invoices, half of them in
# a second PostgreSQL, half in a MariaDB, come into the warehouse by cursor, with
# what happens to such databases: a runner that dies in the first load, changes,
# rows that share the watermark, rows that are committed late, rows that go.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::MariaDB;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $csv = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
plan skip_all => "no real data: $csv is not there" unless -r $csv;

plan skip_all => ActivateTest::MariaDB::missing() if ActivateTest::MariaDB::missing();

my $node  = activate_node('warehouse', conf => "activate.chunk_rows = 2000\nactivate.runners = 2");
my $maria = ActivateTest::MariaDB->new;

my $shop = PostgreSQL::Test::Cluster->new('shop');
$shop->init;
$shop->start;

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $columns = 'id bigint PRIMARY KEY, invoice_no varchar(10), stock_code varchar(20), description varchar(100), quantity integer,
	invoice_date timestamp, unit_price decimal(12, 3), customer_id varchar(10), country varchar(40)';

my $names = 'id, invoice_no, stock_code, description, quantity, invoice_date, unit_price, customer_id, country, changed';

# --- the sources -------------------------------------------------------

my %target = (maria => 'raw.maria', shop => 'raw.shop');

$shop->safe_psql('postgres', "CREATE TABLE line ($columns, changed timestamp(0)); CREATE INDEX ON line (changed)");
$maria->sql(q{CREATE DATABASE shop; CREATE USER etl@'%' IDENTIFIED BY 'etl'; GRANT ALL ON shop.* TO etl@'%'});
$maria->sql(($columns =~ s/timestamp/datetime/r) =~ s/^/CREATE TABLE shop.line (/r . ', changed datetime, KEY (changed))');
sql("
	CREATE EXTENSION file_fdw; CREATE EXTENSION mysql_fdw; CREATE EXTENSION postgres_fdw;
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE line (invoice_no text, stock_code text, description text, quantity integer, invoice_date timestamp, unit_price numeric,
		customer_id text, country text) SERVER files OPTIONS (filename '$csv', format 'csv', header 'true');
	CREATE TABLE all_lines AS SELECT row_number() OVER () AS id, l.*, invoice_date AS changed FROM line l;
	CREATE SERVER maria FOREIGN DATA WRAPPER mysql_fdw OPTIONS (host '127.0.0.1', port '$maria->{port}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER maria OPTIONS (username 'etl', password 'etl');
	CREATE SCHEMA maria; IMPORT FOREIGN SCHEMA shop FROM SERVER maria INTO maria;
	CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $shop->host . "', port '" . $shop->port . "', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop;
	CREATE SCHEMA shop; IMPORT FOREIGN SCHEMA public FROM SERVER shop INTO shop;
	CREATE SCHEMA raw;
	INSERT INTO maria.line SELECT * FROM all_lines WHERE id % 2 = 1;
	INSERT INTO shop.line SELECT * FROM all_lines WHERE id % 2 = 0");
cmp_ok(sql('SELECT count(*) FROM maria.line'), '>', 14_000, 'half of the lines are in MariaDB');
cmp_ok(sql('SELECT count(*) FROM shop.line'), '>', 14_000, 'half in another PostgreSQL');
cmp_ok(sql('SELECT count(DISTINCT changed) FROM all_lines') * 1.2, '<', sql('SELECT count(*) FROM all_lines'), 'many share their cursor with others');

# Nothing is left to read, and the target is what the source is.
sub same
{
	my ($name, $what) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', "
		WITH want AS (SELECT $names FROM $name.line), got AS (SELECT $names FROM $target{$name})
		SELECT NOT EXISTS (TABLE want EXCEPT ALL TABLE got) AND NOT EXISTS (TABLE got EXCEPT ALL TABLE want)"),
		"$name: $what");
}

# Both at once, each by the means of its server.
sub in_both
{
	my ($statement) = @_;

	$maria->sql("USE shop; $statement");
	$shop->safe_psql('postgres', $statement);
	return;
}

sub run_both { return sql("SELECT activate_run('maria'); SELECT activate_run('shop')"); }

# --- the first load, of which a runner dies ----------------------------

# A runner stops at a row in the middle, so that it can be met there.
sql("CREATE FUNCTION gate(changed timestamp, value text) RETURNS text STABLE LANGUAGE plpgsql AS \$\$
	BEGIN
		IF changed > '2011-10-01' AND current_setting('application_name') = 'activate runner' THEN
			PERFORM pg_advisory_xact_lock_shared(910);
		END IF;
		RETURN value;
	END \$\$");
for my $name (qw(maria shop))
{
	my $gate = $node->background_psql('postgres', on_error_stop => 0);
	my $map = sql("SELECT jsonb_object_agg(attname, CASE attname WHEN 'country' THEN 'gate(changed, country)' ELSE attname END)
		FROM pg_attribute WHERE attrelid = '$name.line'::regclass AND attnum > 0");

	$gate->query('SELECT pg_advisory_lock(910)');
	sql("SELECT activate_sync('$name', '$name.line', '$target{$name}', key => 'id', map => '$map', capture => 'cursor',
		options => '{\"cursor\": \"changed\", \"lag\": \"1 day\"}', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_run r JOIN pg_stat_activity a USING (pid)
		WHERE r.name = '$name' AND a.wait_event = 'advisory' AND r.rows_written > 0"), "$name: a runner is in the middle of the first load");
	kill_hard(sql("SELECT pid FROM activate.stat_run WHERE name = '$name'"));
	eval { $gate->quit };
	ok($node->poll_query_until('postgres', 'SELECT true'), 'it is killed');
	same($name, 'whoever comes next goes on, and ends with the source, row by row');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE sync = (SELECT id FROM activate.sync WHERE name = '$name') AND status = 'succeeded'"),
		'its run succeeds');
	is(sql("SELECT min(rows_inserted) > 0, sum(rows_inserted) = (SELECT count(*) FROM $target{$name}) FROM (SELECT * FROM activate.run
		WHERE sync = (SELECT id FROM activate.sync WHERE name = '$name') ORDER BY id LIMIT 2) r"), 't|t', "$name: both have written, nothing twice");
	sql("SELECT activate_sync('$name', '$name.line', '$target{$name}', key => 'id', capture => 'cursor',
		options => '{\"cursor\": \"changed\", \"lag\": \"1 day\"}')");
}
run_both();

# --- what happens to rows ----------------------------------------------

my $last = sql("SELECT max(changed) FROM all_lines");

in_both("UPDATE line SET quantity = quantity + 1, changed = '$last' WHERE invoice_no IN (SELECT * FROM (SELECT max(invoice_no) FROM line) m)");
run_both();
same($_, 'a change with the very value of the watermark') for qw(maria shop);

in_both("INSERT INTO line (id, invoice_no, changed) VALUES (900001, 'new', '$last'), (900002, 'new', '$last')");
run_both();
same($_, 'rows that come with it') for qw(maria shop);

# Committed late: with an hour that was read long ago.
my $open = $maria->session;
my $other = $shop->background_psql('postgres');
my $late = "INSERT INTO line (id, invoice_no, description, changed) VALUES (900003, 'late', 'caf\xc3\xa9 \xe2\x82\xac', '$last')";
$maria->tell($open, "USE shop; BEGIN; $late");
$other->query("BEGIN; $late");
in_both("INSERT INTO line (id, invoice_no, changed) VALUES (900004, 'on time', TIMESTAMP '$last' + INTERVAL '1' HOUR)");
run_both();
is(sql('SELECT count(*) FROM raw.maria WHERE id IN (900003, 900004)') . sql('SELECT count(*) FROM raw.shop WHERE id IN (900003, 900004)'),
	'11', 'what is not committed is not read');
$maria->tell($open, 'COMMIT');
$maria->finish($open);
$other->query('COMMIT');
$other->quit;
run_both();
same($_, 'a row that was committed late') for qw(maria shop);
is(sql("SELECT DISTINCT status FROM activate.run WHERE error IS NULL"), 'succeeded', 'all without an error');

# A cursor is NULL: not read; nothing else is disturbed.
in_both("INSERT INTO line (id, invoice_no) VALUES (900005, 'none')");
run_both();
is(sql('SELECT count(*) FROM raw.maria WHERE id = 900005') . sql('SELECT count(*) FROM raw.shop WHERE id = 900005'), '00', 'a row without a cursor is not read');
in_both('DELETE FROM line WHERE id = 900005');

# Rows that go are seen by who compares: now and then, within the limit of a mirror.
in_both('DELETE FROM line WHERE id % 97 = 0');
for my $name (qw(maria shop))
{
	sql("SELECT activate_sync('${name}_gone', '$name.line', '$target{$name}', key => 'id', mode => 'mirror'); SELECT activate_run('${name}_gone')");
	same($name, 'what went is gone');
}

done_testing();
