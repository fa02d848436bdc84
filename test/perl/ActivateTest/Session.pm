# ActivateTest::Session: a psql that stays, so that its server process can be measured
# and its transactions stay open as long as one likes.
package ActivateTest::Session;

use strict;
use warnings;

use IPC::Open3;

sub new
{
	my ($class, $database) = @_;
	my $self = bless { database => $database }, $class;

	return $self->open;
}

sub open
{
	my ($self) = @_;

	# errors come where the results come
	$self->{psql} = open3($self->{in}, $self->{out}, undef,
		'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $self->{database}, '-f', '-');
	$self->{in}->autoflush(1);
	$self->{pid} = $self->run('SELECT pg_backend_pid()');
	return $self;
}

# Statements or psql's commands; what they print.
sub run
{
	my ($self, $sql) = @_;
	my ($mark, $result) = ("\x01done", '');

	print { $self->{in} } "$sql\n;\n\\echo $mark\n";
	while (defined(my $line = readline $self->{out}))
	{
		if ($line eq "$mark\n")
		{
			chomp $result;
			return $result;
		}
		$result .= $line;
	}
	die "psql: $result in: $sql\n";
}

sub close
{
	my ($self) = @_;

	return unless $self->{psql};
	CORE::close($self->{in});
	CORE::close($self->{out});
	waitpid($self->{psql}, 0);
	$self->{psql} = 0;
	return;
}

1;
