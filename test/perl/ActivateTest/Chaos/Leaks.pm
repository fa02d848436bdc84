# ActivateTest::Chaos::Leaks: what a storm of bad answers leaves behind in the process that reads them.
package ActivateTest::Chaos::Leaks;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos::Injector;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

sub new
{
	my ($class, $chaos) = @_;

	return bless { chaos => $chaos, node => $chaos->{node}, service => $chaos->{service}, storms => 0 }, $class;
}

# Every answer there is, to changes of every row; then all is well again.
sub storm
{
	my ($self) = @_;

	$self->{storms}++;
	$self->{service}->control({ %$_, path => '/hook', count => 2 }) for ActivateTest::Chaos::Injector::answers();
	$self->{node}->safe_psql('postgres', "UPDATE chaos SET v = 'storm $self->{storms}', rev = -$self->{storms}, changed_at = clock_timestamp()");
	# until all of them were had
	for (1 .. 100)
	{
		last if !$self->{node}->safe_psql('postgres', 'SELECT count(*) FROM activate.outbox');
		Time::HiRes::sleep(0.1);
	}
	return $self->{chaos}->settle;
}

# Of the only deliverer: its process id, its sockets but those to the service, bytes in memory contexts.
sub holds
{
	my ($self) = @_;
	my ($pid)   = worker_pids($self->{node}, 'deliver');
	my $offset  = -s $self->{node}->logfile;
	my $sockets = grep { (readlink($_) // '') =~ /^socket:/ } glob "/proc/$pid/fd/*";
	my $open    = $self->{service}->stats->{open};

	$self->{node}->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
	for (1 .. 600)
	{
		return ($pid, $sockets - $open, $1) if slurp_file($self->{node}->logfile, $offset) =~ /Grand total: .*; (\d+) used/;
		Time::HiRes::sleep(0.1);
	}
	die "process $pid told nothing of its memory\n";
}

# A leak grows by each storm; a cache that one of them fills (of plans, of a relation) does not: so up to three are compared.
sub judge
{
	my ($self) = @_;

	ok($self->storm, 'a storm of answers');
	my ($before, $sockets, $bytes) = $self->holds;
	my ($after, $more_sockets, $more_bytes);
	for my $storm (1 .. 3)
	{
		ok($self->storm, 'and another');
		($after, $more_sockets, $more_bytes) = $self->holds;
		is($after, $before, 'read by the same deliverer');
		last if $more_sockets <= $sockets && $more_bytes < $bytes + 256 * 1024;
		note("after storm $storm: $more_sockets sockets ($sockets before), $more_bytes bytes ($bytes before)");
		($sockets, $bytes) = ($more_sockets, $more_bytes) if $storm < 3;
	}
	cmp_ok($more_sockets, '<=', $sockets, 'it has no more sockets than before, but those to the service');
	cmp_ok($more_bytes, '<', $bytes + 256 * 1024, "nor does it hold more memory ($bytes bytes before)");
	return;
}

1;
