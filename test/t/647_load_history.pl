# Versions against what there was: random changes, by every capture; the state at each moment is that of the source.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{HISTORY_SEED} // int(rand(1 << 30));
my $node = activate_node('history', conf => "activate.runners = 2\nactivate.chunk_rows = 40");
srand($seed);
note("seed $seed");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{CREATE TABLE source (id int PRIMARY KEY, v text, n numeric, rev bigint);
	CREATE SEQUENCE rev;
	INSERT INTO source SELECT i, 'v' || i, i / 3.0, nextval('rev') FROM generate_series(1, 150) i;
	CREATE INDEX ON source (rev);
	-- what there was, and from when on
	CREATE TABLE moment (of text, at timestamptz, id int, v text, n numeric);
	SELECT activate_sync('diff', 'source', 'by_diff', map => '{"id": "id", "v": "v", "n": "n"}', mode => 'mirror', options => '{"history": true, "max_delete_percent": 100}');
	SELECT activate_sync('trigger', 'source', 'by_trigger', map => '{"id": "id", "v": "v", "n": "n"}', mode => 'replace', capture => 'trigger', options => '{"history": true}');
	SELECT activate_sync('cursor', 'source', 'by_cursor', map => '{"id": "id", "v": "v", "n": "n"}', capture => 'cursor', options => '{"history": true, "cursor": "rev"}')});

# A run is told to a runner, so that chunks and queues are as they are.
sub run_of
{
	my ($name) = @_;
	my $before = sql("SELECT coalesce(max(r.id), 0) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");

	$node->safe_psql('postgres', "ALTER DATABASE postgres SET activate.schedule = '\"$name\": \@every 1s'");
	ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM activate.run r JOIN activate.sync s ON s.id = r.sync
			WHERE s.name = '$name' AND r.id > $before AND r.status = 'succeeded')"), "$name: a run by a runner");
	$node->safe_psql('postgres', "ALTER DATABASE postgres RESET activate.schedule");
}

sub change
{
	my @statements;

	for (1 .. 1 + int(rand(12)))
	{
		my $id = 1 + int(rand(170));
		my $kind = int(rand(6));

		push @statements, $kind == 0 ? "DELETE FROM source WHERE id = $id" :
			$kind == 1 ? "INSERT INTO source VALUES ($id, 'new', 1, nextval('rev')) ON CONFLICT (id) DO UPDATE SET v = 'again', rev = excluded.rev" :
			$kind == 2 ? "UPDATE source SET n = n + 0.0, rev = nextval('rev') WHERE id = $id" :
			$kind == 3 ? "UPDATE source SET v = NULL, rev = nextval('rev') WHERE id = $id" :
			"UPDATE source SET v = 'v' || nextval('rev'), rev = nextval('rev') WHERE id BETWEEN $id AND $id + 3";
	}
	sql(join('; ', @statements));
}

sub remember
{
	my ($name) = @_;

	# by trigger an application may come a moment later than what is seen
	sql("INSERT INTO moment SELECT '$name', statement_timestamp(), s.id, s.v, s.n FROM source s");
}

run_of('cursor');
cmp_ok(sql("SELECT count(DISTINCT valid_from) FROM by_cursor"), '>', 1, 'the first run came in chunks');
for my $round (1 .. 12)
{
	change() if $round > 1;
	sql("SELECT activate_run('diff')");
	remember('diff');
	sql("SELECT activate_run('cursor')");
	remember('cursor');
	ok($node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'trigger')"),
		"round $round: the queue is applied");
	sql("SELECT activate_run('trigger')") if $round == 1;
	remember('trigger');
	is(sql("SELECT count(*) FROM (SELECT id, v, n FROM by_trigger WHERE valid_to IS NULL EXCEPT SELECT id, v, n FROM source) x"), 0, "round $round: by trigger as it is") if $round > 1;
	# on a real clock each moment is another
	sql("SELECT activate_run('$_')") for qw(diff trigger cursor);
}

for my $name (qw(diff trigger cursor))
{
	is(sql("SELECT count(*) FROM (SELECT id FROM by_$name WHERE valid_to IS NULL GROUP BY id HAVING count(*) > 1) x"), 0, "$name: one current version per key");
	is(sql("SELECT count(*) FROM by_$name a JOIN by_$name b ON a.id = b.id AND a.valid_from < b.valid_from AND coalesce(a.valid_to, 'infinity') > b.valid_from"), 0, "$name: versions do not overlap");
	is(sql("SELECT count(*) FROM (SELECT v, n, valid_from, lag(v) OVER w AS pv, lag(n) OVER w AS pn, lag(valid_to) OVER w AS until
			FROM by_$name WINDOW w AS (PARTITION BY id ORDER BY valid_from)) x
			WHERE until = valid_from AND v IS NOT DISTINCT FROM pv AND n::text IS NOT DISTINCT FROM pn::text"), 0, "$name: no version that changes nothing");

	# what is gone from the source a cursor does not see, and upsert keeps it
	my $gone = $name eq 'cursor' ? "AND EXISTS (SELECT FROM moment x WHERE x.of = m.of AND x.at = m.at AND x.id = h.id)" : '';
	is(sql("SELECT count(DISTINCT m.at) FROM (SELECT DISTINCT of, at FROM moment WHERE of = '$name') m WHERE EXISTS (
			(SELECT h.id, h.v, h.n::text FROM by_$name h WHERE h.valid_from <= m.at AND (h.valid_to IS NULL OR h.valid_to > m.at) $gone
			 EXCEPT SELECT x.id, x.v, x.n::text FROM moment x WHERE x.of = m.of AND x.at = m.at)
			UNION ALL
			(SELECT x.id, x.v, x.n::text FROM moment x WHERE x.of = m.of AND x.at = m.at
			 EXCEPT SELECT h.id, h.v, h.n::text FROM by_$name h WHERE h.valid_from <= m.at AND (h.valid_to IS NULL OR h.valid_to > m.at)))"), 0, "$name: at each moment what there was");
}
cmp_ok(sql('SELECT count(*) FROM by_diff'), '>', 160, 'and there are versions at all');

my $log = $node->safe_psql('postgres', "SELECT count(*) FROM activate.run WHERE status = 'failed'");
is($log, 0, 'no run failed');
done_testing();
