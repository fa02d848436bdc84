# From commit to acknowledgement: how fast, at what cost, how soon.
use strict;
use warnings;

use Bench;
use IPC::Open2;

figure requests => sub {
	my ($s) = @_;
	my $n = 20_000;
	my $body = items($s, rows => $n);
	my $got = alternate(ours => sub { change_all($s) }, loop => sub { loop($body, $n) });

	row('requests/s: 20,000 single-row POSTs of one transaction, from commit until acknowledged', against => 'libcurl loop',
		ours => rates($got->{ours}, $n), base => rates($got->{loop}, $n),
		reach => '≥ 0.6', ok => sub { $_[2] >= 0.6 });
	row('CPU of the deliverer per single-row request', unit => 'µs', against => 'libcurl loop',
		ours => per($got->{ours}, 'cpu', $n), base => per($got->{loop}, 'cpu', $n),
		reach => '≤ 1.6', ok => sub { $_[2] <= 1.6 });
	row('WAL per single-row request, all of it', unit => 'bytes', ours => per($got->{ours}, 'wal', $n));
};

figure batches => sub {
	my ($s) = @_;
	my $n = size(100_000, 500_000);
	my $body = items($s, rows => $n, batch => 100);
	my $got = alternate(ours => sub { change_all($s) }, loop => sub { loop($body, $n / 100) });

	row('rows/s in batches of 100, ' . number($n) . ' rows', against => 'libcurl loop, batches pre-rendered',
		ours => rates($got->{ours}, $n), base => rates($got->{loop}, $n),
		reach => '≥ 60,000 where the loop does ≥ 400,000', ok => sub { $_[0] >= 60_000 || ($_[1] < 400_000 && $_[2] >= 0.15) });
	row('CPU of the deliverer per row in batches of 100', unit => 'µs', against => 'libcurl loop',
		ours => per($got->{ours}, 'cpu', $n), base => per($got->{loop}, 'cpu', $n));
	row('WAL per row in batches of 100, all of it', unit => 'bytes', ours => per($got->{ours}, 'wal', $n));
};

# A client written by hand, while the function runs: build/listen.
sub with_client
{
	my ($s, $path, $code) = @_;
	my ($port) = service->url =~ /:(\d+)$/;
	my $pid = open2(my $out, my $in, 'build/listen', "dbname=$s->{database}", $port, $path);

	readline($out) or die "the client did not start\n";
	my $result = $code->();
	close $in;
	waitpid($pid, 0);
	return $result;
}

# Ours beside two clients written by hand: one takes its changes from a queue, so
# that none is lost: who polls, that is to be reached.  One gets them with the
# notification and may lose some: what is left when there is nothing to look up.
figure latency => sub {
	my ($s) = @_;
	my %sides = (
		ours    => sub { trickle($s, 'ours', '/sink/ours', $_[0]) },
		queue   => sub { my $n = $_[0]; with_client($s, '/sink/queue', sub { trickle($s, 'by_queue', '/sink/queue', $n) }) },
		payload => sub { my $n = $_[0]; with_client($s, '/sink/payload', sub { trickle($s, 'by_payload', '/sink/payload', $n) }) });

	$s->run("CREATE TABLE $_ (id bigserial PRIMARY KEY, n integer)") for qw(ours by_queue by_payload);
	$s->run("SELECT activate_target('sink', 'webhook', '{\"url\": \"" . service->url('/sink/ours') . "\"}');
		SELECT activate_sync('ours', 'ours', 'sink.change', capture => 'trigger');
		CREATE TABLE queue (id bigserial PRIMARY KEY, payload jsonb);
		CREATE FUNCTION enqueue() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO queue (payload) VALUES (to_jsonb(NEW)); NOTIFY bench; RETURN NULL; END';
		CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN PERFORM pg_notify(''bench'', to_jsonb(NEW)::text); RETURN NULL; END';
		CREATE TRIGGER enqueue AFTER INSERT ON by_queue FOR EACH ROW EXECUTE FUNCTION enqueue();
		CREATE TRIGGER tell AFTER INSERT ON by_payload FOR EACH ROW EXECUTE FUNCTION tell()");
	$_->(20) for values %sides;

	my $each = size(200, 1000);
	my $got = alternate(map { my $side = $_; ($side => sub { $sides{$side}->($each) }) } qw(ours queue payload));
	my %all = map { $_ => [ map { @$_ } @{ $got->{$_} } ] } keys %$got;
	for my $q ([ 0.5, '≤ 1.0, under 2 ms', sub { $_[2] <= 1.0 && $_[0] < 2 } ], [ 0.99, '≤ 1.2', sub { $_[2] <= 1.2 } ])
	{
		for my $client ([ queue => 'LISTEN/NOTIFY client with a queue' ], [ payload => 'LISTEN/NOTIFY client without a queue' ])
		{
			my ($side, $name) = @$client;

			row("commit to received, 20 changes/s, " . @{ $all{ours} } . " changes: p" . 100 * $q->[0], unit => 'ms', against => $name,
				ours => [ quantile($q->[0], @{ $all{ours} }) ], base => [ quantile($q->[0], @{ $all{$side} }) ],
				$side eq 'queue' ? (reach => $q->[1], ok => $q->[2]) : ());
		}
	}
};

1;
