# A MariaDB server of a test's own: in its temporary directory, on a port of its own, stopped when the test ends.
#
#	plan skip_all => ActivateTest::MariaDB::missing() if ActivateTest::MariaDB::missing();
#	my $maria = ActivateTest::MariaDB->new;
#	$maria->sql('CREATE TABLE shop.item ...');
package ActivateTest::MariaDB;

use strict;
use warnings;

use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

my @started;

# Debian puts the server where users do not look.
sub program
{
	my ($name) = @_;

	for my $directory (split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin')
	{
		return "$directory/$name" if -x "$directory/$name";
	}
	return undef;
}

# What keeps a test from running; nothing: it can.
sub missing
{
	for my $name (qw(mariadbd mariadb-install-db mariadb))
	{
		return "there is no $name (Debian: mariadb-server)" unless program($name);
	}
	chomp(my $share = `$ENV{PG_CONFIG} --sharedir`);
	return 'there is no mysql_fdw (Debian: postgresql-15-mysql-fdw)' unless -e "$share/extension/mysql_fdw.control";
	return undef;
}

sub new
{
	my ($class) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $self = bless {port => PostgreSQL::Test::Cluster::get_free_port(), socket => "$directory/s", directory => $directory}, $class;
	my @common = ('--no-defaults', "--datadir=$directory/data");

	my ($out, $err) = ('', '');
	IPC::Run::run([program('mariadb-install-db'), @common, '--auth-root-authentication-method=normal', '--skip-test-db'], '<', \undef, '>', \$out, '2>', \$err)
		or die "mariadb-install-db: $out$err";
	$self->{pid} = fork() // die "fork: $!";
	if ($self->{pid} == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$directory/log");
		open(STDERR, '>&', \*STDOUT);
		no warnings 'exec';
		exec(program('mariadbd'), @common, "--socket=$self->{socket}", "--port=$self->{port}", '--bind-address=127.0.0.1', "--pid-file=$directory/pid",
			'--skip-name-resolve', '--skip-log-bin', '--innodb-buffer-pool-size=64M', '--innodb-flush-log-at-trx-commit=0', '--character-set-server=utf8mb4');
		POSIX::_exit(1);
	}
	push @started, $self->{pid};
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if eval { $self->sql('SELECT 1'); 1 };
		die 'mariadbd did not start: ' . slurp_file("$directory/log") if waitpid($self->{pid}, POSIX::WNOHANG()) != 0;
		Time::HiRes::usleep(100_000);
	}
	return $self;
}

sub command
{
	my ($self) = @_;

	return (program('mariadb'), '--no-defaults', '--batch', '--skip-column-names', '--default-character-set=utf8mb4', "--socket=$self->{socket}", '-u', 'root');
}

sub sql
{
	my ($self, $sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([$self->command], '<', \$sql, '>', \$out, '2>', \$err) or die "mariadb: $err";
	chomp $out;
	return $out;
}

# A session that stays open, told line by line; finish() it.
sub session
{
	my ($self) = @_;
	my $session = {in => '', out => ''};

	$session->{run} = IPC::Run::start([$self->command, '--unbuffered'], '<', \$session->{in}, '>', \$session->{out}, '2>&1');
	return $session;
}

# Waits for its answer.
sub tell
{
	my ($self, $session, $sql) = @_;

	$session->{out} = '';
	$session->{in} .= "$sql; SELECT 'it is done';\n";
	$session->{run}->pump until $session->{out} =~ /it is done/ || !$session->{run}->pumpable;
	die $session->{out} unless $session->{out} =~ /it is done/;
}

sub finish
{
	my ($self, $session) = @_;

	$session->{run}->finish;
}

# Also of a test that dies.
END
{
	local $?;

	for my $pid (@started)
	{
		kill 'TERM', $pid;
		waitpid($pid, 0);
	}
}

1;
