# How far a load is: rows, percent and when it will be over, from what the planner or the run before knows; bytes of another server.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('progress', conf => "activate.runners = 2\nactivate.chunk_rows = 4000");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Half of it is read, then somebody waits for a lock of the database "postgres".
my $gate_sql = q{CREATE FUNCTION gate(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 5000 THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN i; END $$;
	CREATE TABLE big (id int PRIMARY KEY, v text, rev int); INSERT INTO big SELECT i, 'v' || i, i FROM generate_series(1, 10000) i; ANALYZE big};
sql($gate_sql);
sql('CREATE DATABASE shop');
$node->safe_psql('shop', "$gate_sql; CREATE VIEW gated AS SELECT gate(id) AS id, v, rev FROM big; CREATE TABLE small AS SELECT * FROM big");
my ($host, $port) = ($node->host, $node->port);
sql(qq{CREATE EXTENSION postgres_fdw; CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'shop');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop; CREATE SCHEMA shop; IMPORT FOREIGN SCHEMA public FROM SERVER shop INTO shop});

# Runs it, with a look in the middle; where: whose lock it is.
sub halfway
{
	my ($name, $where, $looks, $call) = @_;
	my $gate = $node->background_psql($where);
	my $run  = $node->background_psql('postgres');

	$gate->query_safe('BEGIN; SELECT pg_advisory_xact_lock(1)');
	$run->query_until(qr/started/, "\\echo started\n" . ($call // "SELECT activate_run('$name')") . ";\n");
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM activate.stat_run r WHERE name = '$name' AND rows_read >= 3000
		AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted))"), "$name: is in the middle");
	my $seen = sql("SELECT $looks FROM activate.stat_run WHERE name = '$name'");
	$gate->query_safe('COMMIT');
	$run->query_safe('SELECT 1');
	$_->quit for ($gate, $run);
	return $seen;
}

my $all = 'rows_expected, percent BETWEEN 30 AND 50, eta > clock_timestamp(), bytes_read';

sql(q{SELECT activate_sync('local', 'SELECT gate(id) AS id, v FROM big', 'local_copy', key => 'id')});
is(halfway('local', 'postgres', $all), '10000|t|t|', 'what ANALYZE has counted');
is(sql('SELECT count(*) FROM local_copy'), 10000, 'it is read');

# three times as many as the planner thinks
sql(q{CREATE FUNCTION three(i int) RETURNS SETOF int ROWS 1 LANGUAGE sql AS 'SELECT generate_series(i, i + 2)';
	SELECT activate_sync('wrong', 'SELECT gate(i) AS id FROM big, three(id * 3 - 2) i WHERE id <= 3333', 'wrong_copy', key => 'id')});
is(halfway('wrong', 'postgres', 'rows_expected < 4000, percent'), 't|99', 'never more than 99 before it is over');
is(halfway('wrong', 'postgres', 'rows_expected, percent BETWEEN 30 AND 50'), '9999|t', 'the next one knows by the last');

# another server: bytes; nobody knows how many, until it was analysed or the server may be asked
sql(q{SELECT activate_sync('remote', 'shop.gated', 'remote_copy', key => 'id')});
is(halfway('remote', 'shop', 'rows_expected, percent, eta, bytes_read > 50000'), '|||t', 'bytes, as they come');
sql(q{ALTER SERVER shop OPTIONS (ADD use_remote_estimate 'true'); SELECT activate_sync('asked', 'shop.gated', 'asked_copy', key => 'id')});
is(halfway('asked', 'shop', "$all > 50000"), '10000|t|t|t', 'what the server says');

# by cursor: what is left
sql(q{CREATE INDEX ON big (rev); SELECT activate_sync('cursor', 'SELECT gate(id) AS id, v, rev FROM big', 'cursor_copy', key => 'id', capture => 'cursor', options => '{"cursor": "rev"}')});
is(halfway('cursor', 'postgres', 'rows_expected, percent BETWEEN 30 AND 50'), '10000|t', 'all, the first time');
sql(q{INSERT INTO big SELECT i, 'v', i FROM generate_series(10001, 20000) i; ANALYZE big; CREATE OR REPLACE FUNCTION gate(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i = 15000 THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN i; END $$});
like(halfway('cursor', 'postgres', 'rows_expected'), qr/^(9[5-9]\d\d|10[0-4]\d\d)$/, 'then what is behind the watermark');
is(sql('SELECT count(*) FROM activate.stat_run'), 0, 'nothing is left of them');
done_testing();
