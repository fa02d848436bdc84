# What goes wrong elsewhere: the others keep their rate, and a shutdown waits for nobody.
use strict;
use warnings;

use Bench;
use Time::HiRes qw(time);

# Seconds from the commit of the session's open transaction until all but a share
# of the messages of some syncs are delivered, by their receipts.
sub others
{
	my ($s, $like, $n) = @_;
	my $from = $s->run('SELECT coalesce(max(id), 0) FROM activate.receipt');
	my $start = $s->run('SELECT extract(epoch FROM clock_timestamp())');
	my $ids = "SELECT id FROM activate.sync WHERE name LIKE '$like'";
	my $delivered = "FROM activate.receipt WHERE id > $from AND sync = ANY (ARRAY($ids)) AND outcome = 'delivered'";

	$s->run('COMMIT');
	until_true(sub { $s->run("SELECT count(*) $delivered") >= $n }, "$n deliveries", 200_000);
	return { wall => $s->run("SELECT extract(epoch FROM max(sent_at)) FROM (SELECT sent_at $delivered ORDER BY sent_at LIMIT $n) r") - $start };
}

# After a fault: connections that hang are cut, and everything arrives after all.
sub heal
{
	my ($s) = @_;

	service->control({ fault => 'none' });
	service->control({ fault => 'down', ms => 10 });
	service->up;
	until_true(sub { $s->run('SELECT NOT EXISTS (SELECT FROM activate.outbox)') eq 't' }, 'the rest to arrive', 100_000);
	return;
}

figure hanging => sub {
	my ($s) = @_;
	# 60 hang at once: a target may have 64 that do (SEMANTICS 18)
	my $n = 12_000;

	items($s, rows => $n);
	my $send = sub {
		my (@fault) = @_;

		service->control({ fault => 'slow', path => '/sink', ms => 5000, every => 200 }) if @fault;
		$s->run('BEGIN; UPDATE item SET changed = changed + 1');
		my $result = others($s, 'item', $n * 199 / 200);
		heal($s);
		return $result;
	};
	my $got = alternate(ours => sub { $send->('slow') }, without => sub { $send->() });

	row('requests/s of the others while one in 200 is answered after 5 s', against => 'all answered',
		ours => rates($got->{ours}, $n * 199 / 200), base => rates($got->{without}, $n * 199 / 200),
		reach => '≥ 0.95', ok => sub { $_[2] >= 0.95 });
};

figure targets => sub {
	my ($s) = @_;
	my ($good, $bad, $each) = (450, 50, 40);
	my @targets = ((map { "good$_" } 1 .. $good), map { "bad$_" } 1 .. $bad);

	$s->run("SELECT activate_target('$_', 'webhook', '{\"url\": \"" . service->url("/sink/$_") . "\"}')") for @targets;
	my $send = sub {
		my (@fault) = @_;

		service->control({ fault => 'hang', path => '/sink/bad' }) if @fault;
		$s->run(join ';', 'BEGIN', map { "INSERT INTO $_.change SELECT jsonb_build_object('n', i) FROM generate_series(1, $each) i" } @targets);
		my $result = others($s, 'good%', $good * $each);
		heal($s);
		return $result;
	};
	$send->();
	my $got = alternate(ours => sub { $send->('hang') }, without => sub { $send->() });

	row("requests/s to 450 targets while 50 others hang", against => 'none hangs',
		ours => rates($got->{ours}, $good * $each), base => rates($got->{without}, $good * $each),
		reach => '≥ 0.95', ok => sub { $_[2] >= 0.95 });
};

# No session of ours is connected while the server stops.
sub stop_seconds
{
	my ($s) = @_;

	$s->close;
	my $start = time;
	node->stop('fast');
	my $result = { wall => time - $start };
	node->start;
	$s->open;
	deliverer($s);
	return $result;
}

figure stop => sub {
	my ($s) = @_;

	items($s, rows => 1000);
	my $got = alternate(
		hanging => sub {
			change_all($s);		# which earns it as many requests
			service->control({ fault => 'hang', path => '/sink' });
			$s->run('UPDATE item SET changed = changed + 1');
			until_true(sub { $s->run('SELECT sum(in_flight) FROM activate.stat_target') >= Bench::CONNECTIONS }, 'requests that hang');
			my $result = stop_seconds($s);
			heal($s);
			return $result;
		},
		idle => sub { stop_seconds($s) });

	row('pg_ctl stop -m fast while every request hangs', unit => 's', against => 'idle',
		ours => column($got->{hanging}, 'wall'), base => column($got->{idle}, 'wall'),
		reach => 'under 2 s', ok => sub { $_[0] < 2 });
};

1;
