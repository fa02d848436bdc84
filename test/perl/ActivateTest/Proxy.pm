# ActivateTest::Proxy: a small HTTP proxy, one request or tunnel per connection, that notes what it was asked for.
#
#	my $proxy = ActivateTest::Proxy->new($log, user => 'me:secret', status => '503 busy');     # the last two: or nothing
#	$proxy->url; ActivateTest::Proxy::asked($log)    # "CONNECT localhost:443", "POST http://localhost:1/hook", "refused", ...
package ActivateTest::Proxy;

use strict;
use warnings;

use ActivateTest::Raw;
use IO::Select;
use IO::Socket::INET;
use MIME::Base64 ();
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $log, %options) = @_;

	return ActivateTest::Raw->new(
		sub {
			my ($socket, $head, $body) = @_;
			my ($method, $what) = $head =~ /^(\S+) (\S+)/;
			my ($given) = $head =~ /^proxy-authorization: basic (\S+)/mi;
			my $user = defined $given ? MIME::Base64::decode_base64($given) : '';
			my $secret = $head =~ /^authorization:/mi ? ' with the secret' : '';

			append_to_file($log, "$method $what$secret\n");
			return ActivateTest::Raw::reply($socket, $options{status}, '') if $options{status};
			return ActivateTest::Raw::reply($socket, '407 who are you', '', 'Proxy-Authenticate: Basic realm="proxy"')
			  if defined $options{user} && $user ne $options{user};
			return tunnel($socket, $what, $body) if $method eq 'CONNECT';
			return forward($socket, $what, $head, $body);
		});
}

sub asked { my ($log) = @_; return -e $log ? split /\n/, slurp_file($log) : (); }

sub upstream
{
	my ($where) = @_;

	return IO::Socket::INET->new(PeerAddr => $where, Timeout => 5);
}

sub tunnel
{
	my ($socket, $where, $begun) = @_;
	my $peer = upstream($where) or return ActivateTest::Raw::reply($socket, '502 not there', '');

	print $socket "HTTP/1.1 200 go on\r\n\r\n";
	$peer->syswrite($begun) if length $begun;
	return relay($socket, $peer);
}

# A request line with a whole URL, to the server that it names.
sub forward
{
	my ($socket, $url, $head, $body) = @_;
	my ($where, $path) = $url =~ m{^http://([^/]+)(/.*)$} or return ActivateTest::Raw::reply($socket, '400 what', '');
	my $peer = upstream($where) or return ActivateTest::Raw::reply($socket, '502 not there', '');

	$head =~ s/^(\S+) \S+/$1 $path/;
	$head =~ s/\r\n(?:proxy-\S+|connection): [^\r]*//gi;
	$peer->syswrite("$head\r\nConnection: close\r\n\r\n$body");
	return relay($socket, $peer);
}

sub relay
{
	my ($one, $other) = @_;
	my $select = IO::Select->new($one, $other);

	for (;;)
	{
		for my $from ($select->can_read)
		{
			my $to = $from == $one ? $other : $one;

			return unless sysread($from, my $data, 65536);
			while (length $data)
			{
				my $n = syswrite($to, $data) or return;
				substr($data, 0, $n) = '';
			}
		}
	}
}

1;
