# ActivateTest::Service: the HTTP service of test/service, started for one test.
#
#	my $crm = ActivateTest::Service->new;
#	$crm->control({ fault => 'status', status => 503, count => 2 });
#	$crm->objects('contacts');       # JSON text of the array of all of them
package ActivateTest::Service;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP ();

my $json = JSON::PP->new->canonical->allow_nonref;

sub new
{
	my ($class, %options) = @_;
	my $self = bless { http => HTTP::Tiny->new(timeout => 30) }, $class;

	# It ends with us, whatever happens to us.
	$self->{pid} = open($self->{out}, '-|', $ENV{ACTIVATE_SERVICE}, '-l', $options{log} // 10000)
	  or die "could not start $ENV{ACTIVATE_SERVICE}: $!";
	chomp($self->{port} = readline($self->{out}) // die 'the service did not start');
	return $self;
}

sub url { my ($self, $path) = @_; return "http://127.0.0.1:$self->{port}" . ($path // ''); }

sub pid { return $_[0]->{pid}; }

# One call; dies unless 2xx; the body as text.
sub call
{
	my ($self, $method, $path, $body) = @_;
	my %options = defined $body
	  ? (content => ref $body ? $json->encode($body) : $body, headers => { 'content-type' => 'application/json' })
	  : ();
	my $answer = $self->{http}->request($method, $self->url($path), \%options);

	die "$method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return $answer->{content};
}

sub control { my ($self, $what) = @_; return $self->call('POST', '/_control', $what); }
sub heal    { my ($self) = @_; return $self->control({ fault => 'none' }); }
sub reset   { my ($self) = @_; return $self->call('POST', '/_reset'); }
sub stats   { my ($self) = @_; return $json->decode($self->call('GET', '/_stats')); }

sub log
{
	my ($self, $prefix) = @_;

	return $json->decode($self->call('GET', '/_log' . (defined $prefix ? "?path=$prefix" : '')));
}

# How many requests with that path, or below it, have come: when there are as many as
# are expected, or have not been for long.  One on its way is no surprise, one too many is.
sub calls
{
	my ($self, $path, $expected) = @_;
	my $n;

	for (1 .. 1000)
	{
		$n = grep { $_->{path} =~ m{^\Q$path\E(?:/|$)} } @{ $self->log($path) };
		last if $n >= $expected;
		select(undef, undef, undef, 0.01);
	}
	return $n;
}

# All objects of a collection: JSON text of an array, numbers as they were sent.
sub objects
{
	my ($self, $name) = @_;

	$self->call('GET', "/_objects/$name?limit=0") =~ /^\{"data":(.*),"paging":\{[^}]*\}\}$/s
	  or die 'unexpected answer of the service';
	return $1;
}

sub hook_state
{
	my ($self, $name) = @_;

	return $json->decode($self->call('GET', '/_hook-state' . (defined $name ? "/$name" : '')));
}

# Jobs, the oldest first: id, state, uploads, polls, rows.
sub jobs { my ($self) = @_; return [ reverse @{ $json->decode($self->call('GET', '/_jobs')) } ]; }

# The rows that a webhook's receiver holds of a sync: JSON text of an array.
sub hook_rows
{
	my ($self, $sync, $name) = @_;
	my $keys = $self->hook_state($name)->{syncs}{$sync} // {};

	return $json->encode([ map { $_->{row} } grep { defined $_->{row} } values %$keys ]);
}

# Connects are refused from here on until up().
sub down { my ($self) = @_; return $self->control({ fault => 'down' }); }

# It listens again when this returns: the signal alone would race with the next request.
sub up
{
	my ($self) = @_;

	kill 'USR1', $self->{pid};
	for (1 .. 1000)
	{
		return 1 if $self->{http}->get($self->url('/_stats'))->{success};
		select(undef, undef, undef, 0.01);
	}
	die "the service did not come back\n";
}

sub stop
{
	my ($self) = @_;

	return unless $self->{pid};
	kill 'TERM', $self->{pid};
	close $self->{out};
	$self->{pid} = 0;
}

sub DESTROY
{
	my ($self) = @_;

	local ($?, $!, $@);
	$self->stop;
}

1;
