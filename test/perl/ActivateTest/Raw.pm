# ActivateTest::Raw: a server whose answers are made of bytes, for what no decent service would say.
#
#	my $raw = ActivateTest::Raw->new(sub { my ($socket, $head, $body) = @_; print $socket "HTTP/1.1 200 OK\r\n..." });
#	$raw->url('/path')
#
# A process per connection, one request each; it is closed when the answer returns.
package ActivateTest::Raw;

use strict;
use warnings;

use IO::Socket::INET;
use POSIX ();

sub new
{
	my ($class, $answer) = @_;
	my $listen = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1', ReuseAddr => 1)
	  or die "could not listen: $!";
	my $self = bless { port => $listen->sockport, parent => $$ }, $class;

	$self->{pid} = fork() // die "could not fork: $!";
	serve($listen, $answer) if $self->{pid} == 0;
	close $listen;
	return $self;
}

sub url { my ($self, $path) = @_; return "http://127.0.0.1:$self->{port}" . ($path // ''); }

# An answer with a body, whole and well formed.
sub reply
{
	my ($socket, $status, $body, @headers) = @_;

	print $socket join("\r\n", "HTTP/1.1 $status", @headers, 'Content-Length: ' . length $body, 'Connection: close', '', $body);
	return;
}

# Never returns, and none of the test's own ends (nodes, DESTROY) happens here.
sub serve
{
	my ($listen, $answer) = @_;

	$SIG{CHLD} = 'IGNORE';
	$SIG{PIPE} = 'IGNORE';
	$SIG{TERM} = 'DEFAULT';
	for (;;)
	{
		my $socket = $listen->accept or next;

		next if fork();
		$socket->autoflush(1);
		eval { converse($socket, $answer) };
		POSIX::_exit(0);
	}
}

sub converse
{
	my ($socket, $answer) = @_;
	my $head = '';

	while ($head !~ /\r\n\r\n/)
	{
		sysread($socket, $head, 65536, length $head) or return;
	}
	$head =~ s/\r\n\r\n(.*)//s;
	my $body = $1;
	my ($length) = $head =~ /^content-length: *(\d+)/mi;
	while (length $body < ($length // 0))
	{
		sysread($socket, $body, 65536, length $body) or return;
	}
	$answer->($socket, $head, $body);
	return;
}

sub DESTROY
{
	my ($self) = @_;

	local ($?, $!, $@);
	if ($self->{pid} && $$ == $self->{parent})
	{
		kill 'TERM', $self->{pid};
		waitpid($self->{pid}, 0);
	}
}

1;
