# What a long queue, an old snapshot and a long life do to the outbox and its deliverer.
use strict;
use warnings;

use Bench;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

# Rows per second of a paused sync, batches of 100, between its 50th and 450th
# request after it is resumed; paused again after that.
sub drain_rate
{
	my ($s) = @_;
	my (%at, $requests);

	service->reset;
	$s->run("SELECT activate_resume('item')");
	for my $mark (50, 450)
	{
		until_true(sub { ($requests = service->stats->{requests}) >= $mark }, "$mark requests", 2000);
		$at{$mark} = [ time, $requests ];
	}
	$s->run("SELECT activate_pause('item')");
	until_true(sub { $s->run('SELECT sum(in_flight) FROM activate.stat_target') == 0 }, 'the last answers');
	return ($at{450}[1] - $at{50}[1]) * 100 / ($at{450}[0] - $at{50}[0]);
}

# Median milliseconds until a change of another sync is received.
sub claim_latency
{
	my ($s) = @_;

	return median(@{ trickle($s, 'probe', '/sink/probe', 60, 'quick') });
}

sub paused_items
{
	my ($s, $rows) = @_;

	items($s, rows => $rows, batch => 100, unsent => 1);
	$s->run("CREATE TABLE probe (id bigserial PRIMARY KEY, n integer);
		SELECT activate_target('probe', 'webhook', '{\"url\": \"" . service->url('/sink/probe') . "\"}');
		SELECT activate_sync('probe', 'probe', 'probe.change', capture => 'trigger');
		SELECT activate_pause('item')");
	trickle($s, 'probe', '/sink/probe', 10);
	return;
}

figure pending => sub {
	my ($many) = @_;
	my $rows = size(1_000_000, 10_000_000);
	my $few = database('few');
	my $reader = ActivateTest::Session->new($many->{database});
	my $writer = ActivateTest::Session->new($many->{database});
	my $rate = sub { { rate => drain_rate($_[0]), latency => claim_latency($_[0]) } };
	# an empty outbox cannot be drained: it gets what one measurement needs
	my $empty = sub { my $latency = claim_latency($few); $few->run('UPDATE item SET changed = changed + 1'); { rate => drain_rate($few), latency => $latency } };
	my @kinds = ([ rate => 'drain rate, rows/s in batches of 100', '', sub { $_[2] >= 1 / 1.2 }, '≥ 1/1.2' ],
		[ latency => 'INSERT sent to received, another sync, p50', 'ms', sub { $_[2] <= 1.2 }, '≤ 1.2' ]);

	paused_items($few, 60_000);
	paused_items($many, $rows);
	$many->run('UPDATE item SET changed = changed + 1');
	my $got = alternate(many => sub { $rate->($many) }, empty => $empty);
	for (@kinds)
	{
		my ($kind, $name, $unit, $ok, $reach) = @$_;
		row("$name: " . number($rows) . ' rows pending', unit => $unit, against => 'empty outbox', reach => $reach, ok => $ok,
			ours => column($got->{many}, $kind), base => column($got->{empty}, $kind));
	}

	$reader->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM probe');
	$writer->run('BEGIN; UPDATE item SET changed = changed + 1 WHERE id = 1; INSERT INTO probe (n) VALUES (0)');
	$got = alternate(beside => sub { $rate->($many) }, empty => $empty);
	for (@kinds)
	{
		my ($kind, $name, $unit, $ok, $reach) = @$_;
		row("$name: the same, beside a reading and a writing transaction that stay open", unit => $unit, against => 'empty outbox',
			reach => $reach, ok => $ok, ours => column($got->{beside}, $kind), base => column($got->{empty}, $kind));
	}
	$_->close for $reader, $writer;
};

# The outbox alone, as a deliverer uses it: claim 500, commit, remove 500,
# commit.  Beside it the usual queue with a status column.
my $ours = q{
	DO $$
	DECLARE
		item bigint := (SELECT id FROM activate.sync WHERE name = 'item');
		pass pg_snapshot := pg_current_snapshot();
		xids xid8[];
		ids bigint[];
	BEGIN
		LOOP
			SELECT array_agg(xid), array_agg(id) INTO xids, ids
			  FROM activate._claim(item, NULL, pass, coalesce(xids[cardinality(xids)], '0'), coalesce(ids[cardinality(ids)], 0), 500);
			EXIT WHEN ids IS NULL;
			COMMIT;
			PERFORM activate._outbox_remove(array_fill(item, ARRAY[cardinality(ids)]), xids, ids);
			COMMIT;
		END LOOP;
	END $$};
my $usual = q{
	DO $$
	DECLARE
		claimed bigint[];
	BEGIN
		LOOP
			WITH c AS (SELECT id FROM queue WHERE status = 'new' ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED),
				u AS (UPDATE queue q SET status = 'taken' FROM c WHERE q.id = c.id RETURNING q.id)
			SELECT array_agg(id) INTO claimed FROM u;
			EXIT WHEN claimed IS NULL;
			COMMIT;
			DELETE FROM queue WHERE id = ANY (claimed);
			COMMIT;
		END LOOP;
	END $$};

figure outbox => sub {
	my ($s) = @_;
	my $n = 50_000;

	set_autovacuum('off');
	items($s, rows => $n, batch => 100, unsent => 1);
	$s->run("SET synchronous_commit = off; SELECT activate_pause('item');
		CREATE TABLE queue (id bigserial PRIMARY KEY, status text NOT NULL DEFAULT 'new', payload jsonb);
		CREATE INDEX ON queue (id) WHERE status = 'new'");
	my $got = alternate(
		ours => sub { $s->run('UPDATE item SET changed = changed + 1'); return measure($s, $ours) },
		usual => sub {
			$s->run("INSERT INTO queue (payload) SELECT jsonb_build_object('id', id) FROM item");
			return measure($s, $usual);
		});

	row('CPU of the outbox per drained message, batches of 500', unit => 'µs', against => 'queue with a status column',
		ours => per($got->{ours}, 'cpu', $n), base => per($got->{usual}, 'cpu', $n),
		reach => '≤ 6 µs', ok => sub { $_[0] <= 6 });
	row('WAL of the outbox per drained message, batches of 500', unit => 'bytes', against => 'queue with a status column',
		ours => per($got->{ours}, 'wal', $n), base => per($got->{usual}, 'wal', $n),
		reach => '≤ 20 bytes', ok => sub { $_[0] <= 20 });
};

# Its own pages: those of the server's shared buffers, which it has touched, belong to all.
sub resident
{
	my ($s) = @_;
	my ($kb) = slurp_file('/proc/' . deliverer($s) . '/status') =~ /^RssAnon:\s*(\d+)/m;

	return $kb / 1024;
}

figure memory => sub {
	my ($s) = @_;
	my ($each, $all) = (20_000, size(200_000, 2_000_000));

	items($s, rows => $each, batch => 100);
	my $before = resident($s);
	for my $done (2 .. $all / $each)
	{
		change_all($s);
	}
	row('resident memory of the deliverer after ' . number($all) . ' messages', unit => 'MB', against => 'after 20,000',
		ours => [ resident($s) ], base => [$before], reach => '≤ 1.1', ok => sub { $_[2] <= 1.1 });
};

1;
