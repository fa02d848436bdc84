# ActivateTest::Tls: TLS and HTTP/2 in front of the HTTP service, by nghttpx; certificates by openssl.
#
#	plan skip_all => ActivateTest::Tls::missing() if ActivateTest::Tls::missing();
#	my $ca    = ActivateTest::Tls::Authority->new($directory, 'one');
#	my $front = ActivateTest::Tls->new(directory => $directory, backend => $crm->{port}, certificate => [ $ca->issue('localhost') ]);
#	$front->url('/path'); $front->requests     # [ { alpn, port, subject, path } ... ], port: of the client
package ActivateTest::Tls;

use strict;
use warnings;

use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

my $fronts = 0;

# Why there can be none here; undef if all is there.
sub missing
{
	for my $tool (qw(openssl nghttpx))
	{
		return "$tool is not installed" unless grep { -x "$_/$tool" } split(/:/, $ENV{PATH}), '/usr/sbin';
	}
	return undef;
}

# options: further ones of nghttpx; port: that of one that was stopped
sub new
{
	my ($class, %options) = @_;
	my $name = 'front' . ++$fronts;
	my $self = bless { %options, port => $options{port} // PostgreSQL::Test::Cluster::get_free_port() }, $class;

	$self->{host} //= 'localhost';
	$self->{log}       = "$options{directory}/$name.access";
	$self->{error_log} = "$options{directory}/$name.error";
	$self->start;
	return $self;
}

sub start
{
	my ($self) = @_;
	my ($certificate, $key) = @{ $self->{certificate} };
	my @command = ('nghttpx', '--conf=/dev/null', '--single-process', '--no-ocsp', '--workers=1', "--frontend=127.0.0.1,$self->{port}",
		"--backend=127.0.0.1,$self->{backend}", "--accesslog-file=$self->{log}", "--errorlog-file=$self->{error_log}",
		'--accesslog-format=$alpn $remote_port [$tls_client_subject_name] $path', @{ $self->{options} // [] }, $key, $certificate);

	$self->{pid} = fork() // die "could not fork: $!";
	if ($self->{pid} == 0)
	{
		local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
		open(STDOUT, '>>', $self->{error_log});
		open(STDERR, '>&', \*STDOUT);
		exec @command or POSIX::_exit(1);
	}
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port});
		die "nghttpx did not start: " . slurp_file($self->{error_log}) if waitpid($self->{pid}, 1) != 0;
		Time::HiRes::usleep(10_000);
	}
	die "nghttpx does not listen\n";
}

sub url { my ($self, $path) = @_; return "https://$self->{host}:$self->{port}" . ($path // ''); }

# What it has answered so far.
sub requests
{
	my ($self) = @_;
	my @requests;

	for my $line (split /\n/, -e $self->{log} ? slurp_file($self->{log}) : '')
	{
		push @requests, { alpn => $1, port => $2, subject => $3, path => $4 } if $line =~ /^(\S+) (\d+) \[(.*?)\] (\S+)$/;
	}
	return @requests;
}

# How many different things a field of these requests holds.
sub distinct
{
	my ($field, @requests) = @_;
	my %seen = map { $_->{$field} => 1 } @requests;

	return join ' ', sort keys %seen;
}

sub stop
{
	my ($self, $signal) = @_;

	return unless $self->{pid};
	kill $signal // 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;

	local ($?, $!, $@);
	$self->stop;
	return;
}

# --- who issues certificates ---------------------------------------------------

package ActivateTest::Tls::Authority;

use strict;
use warnings;

use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $directory, $name) = @_;
	my $self = bless { directory => $directory, name => $name, issued => 0 }, $class;

	openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', "/CN=authority $name",
		'-keyout', "$directory/$name.key", '-out', $self->file);
	return $self;
}

sub file { my ($self) = @_; return "$self->{directory}/$self->{name}.pem"; }

# Files of a certificate and its key, for a name; days: how long it holds, -1 for one that has expired.
sub issue
{
	my ($self, $name, $days) = @_;
	my $base = "$self->{directory}/$self->{name}" . ++$self->{issued};

	append_to_file("$base.ext", $name =~ /^[\d.]+$/ ? "subjectAltName = IP:$name\n" : "subjectAltName = DNS:$name\n");
	openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', "/CN=$name", '-keyout', "$base.key", '-out', "$base.csr");
	openssl('x509', '-req', '-in', "$base.csr", '-CA', $self->file, '-CAkey', "$self->{directory}/$self->{name}.key", '-set_serial', $self->{issued},
		how_long($days // 30), '-extfile', "$base.ext", '-out', "$base.pem");
	return ("$base.pem", "$base.key");
}

# From OpenSSL 3.4 on what has expired is said by its dates; 3.5 takes no negative number of days any more.
sub how_long
{
	my ($days) = @_;
	my ($major, $minor) = qx(openssl version) =~ /(\d+)\.(\d+)/;

	return $days < 0 && ($major > 3 || ($major == 3 && $minor >= 4)) ?
	  ('-not_before', '20200101000000Z', '-not_after', '20200102000000Z') : ('-days', $days);
}

sub openssl
{
	my (@arguments) = @_;
	my $log = "$PostgreSQL::Test::Utils::tmp_check/openssl.log";

	system("openssl @{[ map { quotemeta } @arguments ]} >>$log 2>&1") == 0 or die "openssl @arguments failed, see $log";
	return;
}

1;
