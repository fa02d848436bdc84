# A mirror by cursor of another server's table, by chunks of a runner: what says that it is gone, what is gone
# without a word, what comes late, what has no cursor; and a chunk that is held.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SWEEP_SEED} // int(rand(1 << 30));
my $node = activate_node('sweep', conf => "activate.runners = 2\nactivate.chunk_rows = 50");
srand($seed);
note("seed $seed");

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $port = $node->port;
my $host = $node->host;
sql(qq{CREATE DATABASE shop});
$node->safe_psql('shop', q{CREATE TABLE item (id int PRIMARY KEY, v text, at timestamptz, gone boolean);
	CREATE INDEX ON item (at);
	INSERT INTO item SELECT i, 'v' || i, timestamptz '2026-01-01' + i / 7 * interval '1 min', false FROM generate_series(1, 400) i;
	INSERT INTO item SELECT i, 'no cursor', NULL, NULL FROM generate_series(401, 405) i});
sql(qq{CREATE EXTENSION postgres_fdw; CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'shop');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop; CREATE SCHEMA shop; IMPORT FOREIGN SCHEMA public FROM SERVER shop INTO shop;
	SELECT activate_sync('item', 'shop.item', 'item', map => '{"id": "id", "v": "v"}', key => 'id', mode => 'mirror', capture => 'cursor',
		options => '{"cursor": "at", "lag": "5 minutes", "deleted": "gone", "sweep": "1 hour", "max_delete_percent": 60}')});

# By a runner; the status of the run.
sub run_of
{
	my $before = sql("SELECT coalesce(max(id), 0) FROM activate.run");

	sql("ALTER DATABASE postgres SET activate.schedule = 'item: \@every 1s'");
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM activate.run WHERE id > $before AND status <> 'running')"), 'a run by a runner');
	sql("ALTER DATABASE postgres RESET activate.schedule");
	ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM activate.run WHERE status = 'running')"), 'and no other');
	return sql("SELECT status FROM activate.run WHERE id > $before AND status <> 'running' ORDER BY id LIMIT 1");
}

sub difference
{
	my ($which) = @_;

	return sql("SELECT count(*) FROM ((SELECT id, v FROM item EXCEPT SELECT id, v FROM shop.item WHERE gone IS NOT TRUE AND $which)
		UNION ALL (SELECT id, v FROM shop.item WHERE gone IS NOT TRUE AND $which EXCEPT SELECT id, v FROM item)) x");
}

is(run_of(), 'succeeded', 'the first run');
is(difference('at IS NOT NULL'), 0, 'brings what has a cursor');
my $minute = 100;
for my $round (1 .. 4)
{
	$minute += 10;
	my @statements;
	for (1 .. 40)
	{
		my $id = 1 + int(rand(420));
		my $at = "timestamptz '2026-01-01' + interval '$minute min'";
		my $kind = int(rand(5));

		push @statements, $kind == 0 ? "UPDATE item SET gone = true, at = $at WHERE id = $id" :
			$kind == 1 ? "UPDATE item SET gone = NULL, v = 'back', at = $at WHERE id = $id" :
			$kind == 2 ? "INSERT INTO item VALUES ($id, 'late', $at - interval '4 min', false) ON CONFLICT (id) DO UPDATE SET v = 'again', at = excluded.at + interval '4 min'" :
			"UPDATE item SET v = 'v' || $round || 'x' || id, at = $at WHERE id = $id";
	}
	$node->safe_psql('shop', join('; ', @statements));
	is(run_of(), 'succeeded', "round $round");
	is(difference('at IS NOT NULL'), 0, "round $round: what says that it is gone is gone");
}

$node->safe_psql('shop', 'DELETE FROM item WHERE id % 9 = 0');
is(run_of(), 'succeeded', 'rows vanish');
cmp_ok(difference('at IS NOT NULL'), '>', 0, 'a cursor does not see it');
$node->append_conf('postgresql.conf', 'activate.clock_offset = 7200');
$node->reload;
is(run_of(), 'succeeded', 'an hour later');
is(difference('at IS NOT NULL'), 0, 'they are swept');
$node->safe_psql('shop', "INSERT INTO item VALUES (1000, 'x', NULL, false)");
sql("INSERT INTO item (id, v) VALUES (1000, 'ours')");
$node->append_conf('postgresql.conf', 'activate.clock_offset = 14400');
$node->reload;
is(run_of(), 'succeeded', 'another hour');
is(sql('SELECT v FROM item WHERE id = 1000'), 'ours', 'a row without a cursor is there, as far as anybody knows');
$node->safe_psql('shop', 'DELETE FROM item WHERE id = 1000');

# A chunk that is held ends its run: what comes behind waits for the yes, and nothing is forgotten.
my $all = sql('SELECT count(*) FROM item');
$node->safe_psql('shop', "UPDATE item SET gone = true, at = timestamptz '2026-02-01' + id * interval '1 min' WHERE at IS NOT NULL;
	INSERT INTO item SELECT i, 'new', timestamptz '2026-03-01' + i * interval '1 min', false FROM generate_series(2000, 2100) i");
sql("UPDATE activate.sync SET options = options || '{\"max_delete_percent\": 5, \"min_deletes\": 1}' WHERE name = 'item'");
is(run_of(), 'held', 'too many');
is(sql('SELECT count(*) FROM item WHERE id < 2000'), $all, 'nothing is deleted');
is(run_of(), 'held', 'and again');
sql("SELECT activate_run('item', true)");
is(difference('at IS NOT NULL'), 0, 'the yes');
is(run_of(), 'succeeded', 'and on');
is(sql("SELECT count(*) FROM activate.run WHERE status = 'failed'"), 0, 'no run failed');
done_testing();
