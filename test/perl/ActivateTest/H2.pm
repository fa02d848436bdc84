# ActivateTest::H2: a server of HTTP/2 that does what it is told with each request, frame by frame; TLS by openssl s_server.
#
#	my $h2 = ActivateTest::H2->new($log, $certificate, $key, qw(refuse answer));    # the last one for all that follow
#	$h2->url('/path'); ActivateTest::H2::seen($log)        # "1 refuse", "2 answer", ...: connection, what was done
#
# answer: 200 and no body.  hold, then goaway: of these two requests the stream that began first is answered after GOAWAY, the other not processed.
# refuse: RST_STREAM with REFUSED_STREAM.  reset: RST_STREAM with INTERNAL_ERROR.  One connection at a time.
package ActivateTest::H2;

use strict;
use warnings;

use IO::Socket::INET;
use IPC::Open2;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

my $preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
my %error = (refuse => 7, reset => 2);

sub new
{
	my ($class, $log, $certificate, $key, @deeds) = @_;
	my $self = bless { port => PostgreSQL::Test::Cluster::get_free_port(), parent => $$ }, $class;

	$self->{pid} = fork() // die "could not fork: $!";
	if ($self->{pid} == 0)
	{
		POSIX::setpgid(0, 0);
		eval { serve($self->{port}, $log, $certificate, $key, @deeds) };
		append_to_file($log, "died: $@") if $@;
		POSIX::_exit(0);
	}
	return $self;
}

sub url { my ($self, $path) = @_; return "https://localhost:$self->{port}" . ($path // ''); }

sub seen { my ($log) = @_; return -e $log ? split /\n/, slurp_file($log) : (); }

sub frame
{
	my ($type, $flags, $stream, $payload) = @_;

	return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload;
}

# Until it is killed.
sub serve
{
	my ($port, $log, $certificate, $key, @deeds) = @_;
	my $connection = 0;
	my $held = 0;
	my $data = '';

	$SIG{TERM} = 'DEFAULT';
	my $pid = open2(my $from, my $to, 'openssl', 's_server', '-quiet', '-alpn', 'h2', '-accept', "127.0.0.1:$port", '-cert', $certificate, '-key', $key);
	binmode $_ for $from, $to;
	$to->autoflush(1);
	while (sysread($from, $data, 65536, length $data))
	{
		for (;;)
		{
			if ($data =~ s/^\Q$preface\E//)
			{
				$connection++;
				print $to frame(4, 0, 0, '');
			}
			last if length $data < 9 || substr($preface, 0, length $data) eq $data;
			my $length = unpack('N', "\0" . substr($data, 0, 3));
			last if length $data < 9 + $length;
			my ($type, $flags, $stream) = unpack('CCN', substr($data, 3, 6));
			substr($data, 0, 9 + $length) = '';
			print $to frame(4, 1, 0, '') if $type == 4 && !($flags & 1);
			print $to frame(6, 1, 0, "\0" x 8) if $type == 6 && !($flags & 1);
			next if $type > 1 || !($flags & 1);    # the end of a request, of its headers or its body

			my $deed = @deeds > 1 ? shift @deeds : $deeds[0];
			append_to_file($log, "$connection $deed\n");
			$held = $stream if $deed eq 'hold';
			print $to frame(1, 5, $stream, "\x88") if $deed eq 'answer';
			print $to frame(3, 0, $stream, pack('N', $error{$deed})) if $error{$deed};
			next if $deed ne 'goaway';
			my $first = $held < $stream ? $held : $stream;
			print $to frame(7, 0, 0, pack('NN', $first, 0)), frame(1, 5, $first, "\x88");
		}
	}
	return;
}

sub DESTROY
{
	my ($self) = @_;

	local ($?, $!, $@);
	if ($self->{pid} && $$ == $self->{parent})
	{
		kill '-TERM', $self->{pid};
		waitpid($self->{pid}, 0);
	}
}

1;
