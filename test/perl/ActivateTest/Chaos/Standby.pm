# ActivateTest::Chaos::Standby: a physical standby that knows of every commit before its writer does, and takes over.
package ActivateTest::Chaos::Standby;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::SmallDisk;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

my $number = 0;

# primary: the server that it follows.  Where that has a small disk, it gets one of its own.
sub new
{
	my ($class, $primary) = @_;
	my $name = 'standby' . ++$number;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $self = bless { primary => $primary, node => $node, name => $name }, $class;
	my @mapping;

	if ($primary->{disk})
	{
		$node->{disk}       = ActivateTest::SmallDisk->new($primary->{disk}{megabytes});
		$node->{tablespace} = $node->{disk}->folder('tables');
		@mapping            = "--tablespace-mapping=$primary->{tablespace}=$node->{tablespace}";
	}
	run_log([ 'pg_basebackup', '-D', $node->data_dir, '-d', $primary->connstr('postgres'), '-c', 'fast', '--no-sync', @mapping ]) or return;
	$node->append_conf('postgresql.conf', join "\n", 'port = ' . $node->port, "unix_socket_directories = '" . $node->host . "'", "synchronous_standby_names = ''",
		"primary_conninfo = '" . $primary->connstr . " application_name=$name'", "wal_retrieve_retry_interval = '100ms'");
	$node->set_standby_mode;
	$node->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$name'");
	$primary->reload;
	return $self;
}

# Has it all that was committed, by whomever, until now?
sub has_everything
{
	my ($self) = @_;
	my $lsn = $self->{primary}->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');

	return $self->{primary}->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = '$self->{name}' AND state = 'streaming' AND sync_state = 'sync' AND flush_lsn >= '$lsn'");
}

# Every process of the primary dies at once, as its machine would.
sub primary_dies
{
	my ($self) = @_;
	my $postmaster = $self->{primary}{_pid};

	kill 'STOP', $postmaster;
	my @all = map { (eval { slurp_file($_) } // '') =~ /^(\d+) .*\) \S $postmaster /s ? $1 : () } glob '/proc/[0-9]*/stat';
	$self->{primary}->kill9;
	kill 'KILL', @all;
	for my $pid ($postmaster, @all)
	{
		Time::HiRes::usleep(1_000) while kill 0, $pid;
	}
	return;
}

# The server that goes on.
sub take_over
{
	my ($self) = @_;

	$self->primary_dies;
	$self->{node}->promote;
	$self->{node}->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the standby was not promoted\n";
	return $self->{node};
}

1;
