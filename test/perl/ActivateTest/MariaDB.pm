# ActivateTest::MariaDB: a MariaDB server of its own, gone with the object.
#
#	my $shop = ActivateTest::MariaDB->new;         # undef where it is not installed
#	$shop->run('CREATE TABLE ...');                # in the database "shop"
#	$shop->fdw_options                             # for CREATE SERVER; the user is "etl", password "etl"
package ActivateTest::MariaDB;

use strict;
use warnings;

use File::Temp;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

sub program
{
	my ($name) = @_;
	my ($path) = grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/bin';

	return $path;
}

sub new
{
	my ($class) = @_;
	my %program = map { $_ => program($_) } qw(mariadbd mariadb mariadb-install-db);

	return undef if grep { !defined } values %program;

	# The path of a socket has 107 bytes.
	my $self = bless { dir => File::Temp->newdir('mariaXXXX', TMPDIR => 1), port => PostgreSQL::Test::Cluster::get_free_port(), %program }, $class;
	my @options = ('--no-defaults', "--datadir=$self->{dir}/data");
	my $socket = "--socket=$self->{dir}/s";

	$self->{client} = [ $self->{mariadb}, '--no-defaults', $socket, '--user=root', '--batch', '--skip-column-names' ];
	run_log([ $self->{'mariadb-install-db'}, @options, '--auth-root-authentication-method=normal', '--skip-test-db' ])
	  or die "mariadb-install-db failed\n";
	$self->{server} = IPC::Run::start(
		[ $self->{mariadbd}, @options, $socket, "--port=$self->{port}", '--bind-address=127.0.0.1', "--pid-file=$self->{dir}/pid",
			'--innodb-flush-log-at-trx-commit=0', '--character-set-server=utf8mb4' ],
		'<', \undef, '>&', "$PostgreSQL::Test::Utils::log_path/mariadb.log");
	$self->wait_for_server;
	$self->{database} = 'shop';
	$self->run(q{CREATE USER etl@'127.0.0.1' IDENTIFIED BY 'etl'; GRANT ALL ON shop.* TO etl@'127.0.0.1'});
	return $self;
}

sub wait_for_server
{
	my ($self) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;
	my ($out, $err);

	until (IPC::Run::run([ @{ $self->{client} }, '-e', 'CREATE DATABASE IF NOT EXISTS shop' ], '<', \undef, '>', \$out, '2>', \$err))
	{
		die "MariaDB does not start: $err\n" if time > $limit || !$self->{server}->pumpable;
		Time::HiRes::usleep(50_000);
	}
	return;
}

# What the statements print: columns separated by tabs.
sub run
{
	my ($self, $sql) = @_;
	my ($out, $err);

	IPC::Run::run([ @{ $self->{client} }, $self->{database} ], '<', \$sql, '>', \$out, '2>', \$err) or die "MariaDB: $err\n";
	chomp $out;
	return $out;
}

# A session that stays open, in a transaction of its own: ->(statement) executes, ->() commits.
sub session
{
	my ($self) = @_;
	my ($in, $out) = ('', '');
	my $session = IPC::Run::start([ @{ $self->{client} }, '--unbuffered', $self->{database} ], '<', \$in, '>', \$out, '2>&1');
	my $ask = sub {
		my ($sql) = @_;

		$out = '';
		$in .= "$sql; SELECT 'done';\n";
		$session->pump until $out =~ /^done$/m;
		return;
	};

	$ask->('BEGIN');
	return sub {
		my ($sql) = @_;

		return $ask->($sql) if defined $sql;
		$ask->('COMMIT');
		return $session->finish;
	};
}

sub fdw_options { my ($self) = @_; return "host '127.0.0.1', port '$self->{port}'"; }

sub DESTROY
{
	my ($self) = @_;

	local ($?, $@);
	return unless $self->{server};
	$self->{server}->signal('TERM');
	$self->{server}->finish;
	return;
}

1;
