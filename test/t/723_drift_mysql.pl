# A real MariaDB through mysql_fdw drifts: the wrapper says what it would import, as that of PostgreSQL does.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::MariaDB;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => ActivateTest::MariaDB::missing() if ActivateTest::MariaDB::missing();

my $maria = ActivateTest::MariaDB->new;
my $node  = activate_node('mysql');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub refused { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }
sub drifts { return sql("SELECT concat_ws(' ', d.kind, d.\"column\", d.became, d.state) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = '$_[0]' ORDER BY d.id"); }

my @syncs = qw(asks follows stops);
my $make  = join '', map { "CREATE TABLE shop.$_ (id int PRIMARY KEY, email varchar(80), qty int, note text); INSERT INTO shop.$_ SELECT seq, CONCAT('u', seq), seq, MD5(seq) FROM shop.seq_1_to_200;" } @syncs;
$maria->sql("CREATE DATABASE shop; $make CREATE USER activate\@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON shop.* TO activate\@'%';");

my ($code, $out, $error) = $node->psql('postgres', qq{CREATE EXTENSION mysql_fdw; CREATE SERVER maria FOREIGN DATA WRAPPER mysql_fdw OPTIONS (host '127.0.0.1', port '$maria->{port}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER maria OPTIONS (username 'activate', password 'pw'); CREATE SCHEMA maria; CREATE SCHEMA t; IMPORT FOREIGN SCHEMA shop FROM SERVER maria INTO maria;
	SELECT count(*) FROM maria.asks}, on_error_stop => 1);
plan skip_all => "mysql_fdw does not work here: $error" if $error =~ /libmysqlclient|could not (?:load|access)/;
is($error, '', 'mysql_fdw reads');

my %policy = (asks => 'propose', follows => 'evolve', stops => 'freeze');
sql("SELECT activate_sync('$_', 'maria.$_', 't.$_', key => 'id', options => '{\"on_drift\": \"$policy{$_}\"}'); SELECT activate_run('$_')") for @syncs;

subtest 'proposed' => sub {
	$maria->sql("ALTER TABLE shop.asks CHANGE email e_mail varchar(80); UPDATE shop.asks SET e_mail = CONCAT(e_mail, '!'), qty = 0 WHERE id = 1");
	sql("SELECT activate_run('asks')");
	is(drifts('asks'), 'rename email e_mail proposed', 'a rename is proposed');
	is(sql('SELECT email, qty FROM t.asks WHERE id = 1'), 'u1|0', 'until then the column is left out');
	sql("SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'asks'; SELECT activate_run('asks')");
	is(sql('SELECT email FROM t.asks WHERE id = 1'), 'u1!', 'healed, it is there again');
	$maria->sql('ALTER TABLE shop.asks CHANGE id number int');
	like(refused("SELECT activate_run('asks')"), qr/was renamed to "number", and the key/, 'a key cannot be left out');
};

subtest 'followed' => sub {
	$maria->sql("ALTER TABLE shop.follows CHANGE email e_mail varchar(80), CHANGE id number int, ADD COLUMN city varchar(20) DEFAULT 'Kiel', MODIFY qty bigint, DROP COLUMN note;
		UPDATE shop.follows SET qty = 5000000000, e_mail = 'new' WHERE number = 1");
	sql("SELECT activate_run('follows')");
	is(sql('SELECT id, email, qty, note IS NULL, city FROM t.follows WHERE id = 1'), '1|new|5000000000|f|Kiel', 'all at once');
	is(sql("SELECT string_agg(DISTINCT d.kind || ' ' || d.state, ', ') FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'follows'"),
		'add healed, drop healed, rename healed, type healed', 'and it is written down');
	sql("SELECT activate_run('follows')");
	is(sql("SELECT rows_updated FROM activate.run ORDER BY id DESC LIMIT 1"), '0', 'the next run finds nothing to do');
};

subtest 'frozen' => sub {
	$maria->sql('ALTER TABLE shop.stops CHANGE email e_mail varchar(80)');
	like(refused("SELECT activate_run('stops')"), qr/on_drift is "freeze": column "email" of maria.stops was renamed to "e_mail"/, 'it stops, naming the difference');
	$maria->sql('ALTER TABLE shop.stops CHANGE e_mail email varchar(80)');
	sql("SELECT activate_run('stops')");
	is(sql('SELECT count(*) FROM t.stops'), 200, 'and goes on when that is taken back');
};

$node->stop('fast');
done_testing();
