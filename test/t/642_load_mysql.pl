# A real MariaDB through mysql_fdw: a backfill by chunks that is killed, late commits, ties on the watermark, NULLs,
# what says that it is gone and what is gone without a word.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::MariaDB;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => ActivateTest::MariaDB::missing() if ActivateTest::MariaDB::missing();

my $rows  = 30_000;
my $maria = ActivateTest::MariaDB->new;
my $node  = activate_node('mysql', conf => "activate.runners = 1\nactivate.chunk_rows = 1000");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# seven rows share each second; the last few have no cursor
$maria->sql(qq{CREATE DATABASE shop;
	CREATE TABLE shop.item (id bigint PRIMARY KEY, name varchar(80), amount decimal(12,2), note text, changed datetime, gone tinyint, KEY (changed));
	INSERT INTO shop.item SELECT seq, CONCAT('Ware № ', seq), seq / 7, IF(seq % 5 = 0, NULL, REPEAT('x', seq % 90)), '2026-01-01' + INTERVAL seq DIV 7 SECOND, 0 FROM shop.seq_1_to_$rows;
	INSERT INTO shop.item SELECT 100000 + seq, 'no cursor', NULL, NULL, NULL, NULL FROM shop.seq_1_to_3;
	CREATE USER activate\@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON shop.* TO activate\@'%';});

my ($code, $out, $error) = $node->psql('postgres', qq{CREATE EXTENSION mysql_fdw; CREATE SERVER maria FOREIGN DATA WRAPPER mysql_fdw OPTIONS (host '127.0.0.1', port '$maria->{port}');
	CREATE USER MAPPING FOR CURRENT_USER SERVER maria OPTIONS (username 'activate', password 'pw'); CREATE SCHEMA maria; IMPORT FOREIGN SCHEMA shop FROM SERVER maria INTO maria;
	SELECT count(*) FROM maria.item}, on_error_stop => 1);
plan skip_all => "mysql_fdw does not work here: $error" if $error =~ /libmysqlclient|could not (?:load|access)/;
is($error, '', 'mysql_fdw reads');

# By MariaDB's own client and by PostgreSQL's: rows, and sums over each column.
sub maria_sums
{
	my ($where) = @_;
	(my $sums = $maria->sql("SELECT COUNT(*), SUM(id), COALESCE(SUM(amount), 0), SUM(CHAR_LENGTH(name)), SUM(COALESCE(LENGTH(note), -1)) FROM shop.item WHERE $where")) =~ s/\t/|/g;
	return $sums;
}

sub our_sums { return sql("SELECT count(*), sum(id), coalesce(sum(amount), 0), sum(length(name)), sum(coalesce(octet_length(note), -1)) FROM item"); }

# Row by row.
sub difference
{
	my ($where) = @_;
	my $theirs = "SELECT id, name, amount, note FROM maria.item WHERE $where";
	return sql("SELECT count(*) FROM ((SELECT id, name, amount, note FROM item EXCEPT ALL $theirs) UNION ALL ($theirs EXCEPT ALL SELECT id, name, amount, note FROM item)) x");
}

sub run { return sql("SELECT activate_run('item')"); }

sql(q{SELECT activate_sync('item', 'maria.item', 'item', key => 'id', map => '{"id": "id", "name": "name", "amount": "amount", "note": "note"}', mode => 'mirror', capture => 'cursor',
	options => '{"cursor": "changed", "lag": "10 seconds", "deleted": "gone = 1", "sweep": "1 hour", "max_delete_percent": 50}')});

# The backfill, by a runner that is killed on the way.
sql("ALTER DATABASE postgres SET activate.schedule = 'item: \@every 1s'");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_run WHERE name = 'item' AND rows_written >= 3000"), 'a backfill by chunks');
my $pid = sql("SELECT pid FROM activate.stat_run WHERE name = 'item'");
kill_hard($pid) if $pid;
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE status = 'succeeded'"), 'kill -9 of the runner: it goes on');
sql("ALTER DATABASE postgres RESET activate.schedule");
ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM activate.run WHERE status = 'running')"), 'and comes to its end');
is(sql("SELECT count(*) FROM activate.run WHERE status = 'failed'"), 1, 'one run was cut off');
cmp_ok(sql("SELECT rows_inserted FROM activate.run WHERE status = 'failed' ORDER BY id LIMIT 1"), '>=', 3000, 'with its chunks');
is(sql("SELECT sum(rows_inserted) FROM activate.run"), $rows, 'no row was loaded twice');
is(difference('changed IS NOT NULL'), 0, 'the result equals the source, row by row');
is(our_sums(), maria_sums('changed IS NOT NULL'), 'as MariaDB itself says');

# Ties on the watermark, and a commit that comes late.
my $late = $maria->session;
$maria->tell($late, "BEGIN; INSERT INTO shop.item VALUES (50001, 'late', 1.5, NULL, '2026-01-02 00:00:00', 0)");
$maria->sql("INSERT INTO shop.item VALUES (50002, 'first of a tie', 2, '', '2026-01-02 00:00:05', 0)");
run();
$maria->sql("INSERT INTO shop.item VALUES (50003, 'second of it', NULL, 'ä€', '2026-01-02 00:00:05', NULL)");
run();
is(sql("SELECT string_agg(id::text, ' ' ORDER BY id) FROM item WHERE id BETWEEN 50000 AND 60000"), '50002 50003', 'who shares the watermark is not skipped');
$maria->tell($late, 'COMMIT');
$maria->finish($late);
run();
is(sql("SELECT name, note IS NULL FROM item WHERE id = 50001"), 'late|t', 'who commits late, within the lag, is not either');
is(sql("SELECT note FROM item WHERE id = 50003"), 'ä€', 'whatever the bytes');

# Changes, NULLs, rows that say they are gone.
$maria->sql("UPDATE shop.item SET note = NULL, amount = NULL, changed = '2026-01-03' WHERE id BETWEEN 100 AND 140; UPDATE shop.item SET note = '', name = NULL, changed = '2026-01-03' WHERE id = 141;
	UPDATE shop.item SET gone = 1, changed = '2026-01-03' WHERE id BETWEEN 200 AND 230; UPDATE shop.item SET gone = NULL, changed = '2026-01-03' WHERE id = 300");
run();
is(difference('changed IS NOT NULL AND NOT coalesce(gone = 1, false)'), 0, 'changes, NULLs, and what says that it is gone');

# Gone without a word: not before the hour is over.
$maria->sql('DELETE FROM shop.item WHERE id % 10 = 3');
run();
cmp_ok(difference('changed IS NOT NULL AND NOT coalesce(gone = 1, false)'), '>', 1000, 'a cursor does not see it');
$node->append_conf('postgresql.conf', 'activate.clock_offset = 7200');
$node->reload;
ok($node->poll_query_until('postgres', "SELECT current_setting('activate.clock_offset') = '2h'"), 'two hours later');
run();
is(difference('changed IS NOT NULL AND NOT coalesce(gone = 1, false)'), 0, 'a sweep does');
is(our_sums(), maria_sums('changed IS NOT NULL AND NOT COALESCE(gone = 1, FALSE)'), 'as MariaDB itself says, again');
is(sql("SELECT rows_read, rows_deleted > 2900 FROM activate.run ORDER BY id DESC LIMIT 1") =~ /^(\d+)\|t$/ ? $1 < 200 : 'no', 1, 'reading the keys, not the rows');

done_testing();
