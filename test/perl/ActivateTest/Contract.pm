# ActivateTest::Contract: servers that judge requests by vendors' own OpenAPI documents (test/contract).
#
#	my $contract = ActivateTest::Contract->new;    # undef and a reason where it cannot be
#	$contract->url('stripe');                      # http://127.0.0.1:PORT
#	$contract->log('stripe');                      # requests since the last look: {method, route, status, refused, body, ...}
package ActivateTest::Contract;

use strict;
use warnings;

use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;

my @packages = ('express@4.21.2', 'express-openapi-validator@5.6.2');

# What is fetched lies in a temporary folder, npm's own cache included.
sub install
{
	my ($dir) = @_;
	my $out = '';
	my $ran = eval {
		IPC::Run::run(
			[
				'npm', 'install', '--prefix', $dir, '--cache', "$dir/cache", '--no-save', '--no-package-lock', '--ignore-scripts',
				'--fetch-retries', '1', '--fetch-retry-mintimeout', '1000', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel', 'error', @packages
			],
			'<', \undef, '&>', \$out, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	};

	return undef if $ran;
	return 'npm cannot install express and express-openapi-validator: ' . (split /\n/, ($@ || $out || 'no answer'))[0];
}

sub new
{
	my ($class) = @_;
	my $specs = ($ENV{ACTIVATE_SHARED} // '') . '/specs';
	my $dir   = PostgreSQL::Test::Utils::tempdir('contract');
	my $self  = bless { dir => $dir, port => {}, seen => 0, out => '', err => '', in => '' }, $class;

	return (undef, "vendors' documents are not in ../shared/specs") unless -r "$specs/intercom.json";
	foreach my $program ('node', 'npm')
	{
		return (undef, "there is no $program (\"make contract\" installs it)")
		  unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
	}
	# for who changes this test: a folder in which they are already
	my $modules = $ENV{ACTIVATE_NODE_MODULES} // $dir;
	my $problem = $modules eq $dir ? install($dir) : undef;
	return (undef, $problem) if defined $problem;

	# ends with its standard input, so with this process, however that ends
	$self->{harness} = IPC::Run::start([ 'node', 'test/contract/server.js', $modules, $specs, "$dir/log" ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		IPC::Run::timeout(10 * $PostgreSQL::Test::Utils::timeout_default));
	while ($self->{out} !~ /^ready$/m && $self->{harness}->pumpable) { $self->{harness}->pump }
	die "the contract server did not start: $self->{err}\n" unless $self->{out} =~ /^ready$/m;
	$self->{port}{$1} = $2 while $self->{out} =~ /^(\w+) (\d+)$/mg;
	return ($self, undef);
}

sub url { return 'http://127.0.0.1:' . $_[0]{port}{ $_[1] }; }

sub log
{
	my ($self) = @_;
	my @lines = -e "$self->{dir}/log" ? split(/\n/, slurp_file("$self->{dir}/log")) : ();
	my @new   = @lines[ $self->{seen} .. $#lines ];

	$self->{seen} = @lines;
	return map { JSON::PP::decode_json($_) } @new;
}

sub stop
{
	my ($self) = @_;

	eval { $self->{harness}->finish } if $self->{harness};
	delete $self->{harness};
	return;
}

sub DESTROY { $_[0]->stop; return; }

1;
