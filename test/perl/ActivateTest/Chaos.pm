# ActivateTest::Chaos: writers and an injector of faults against a model of what was committed.
#
#	my $chaos = ActivateTest::Chaos->new(seed => 7);
#	$chaos->run(60);          # seconds of chaos
#	$chaos->judge;            # heals everything; each claim is a test
#
# What happens is chosen by the seed; when processes come to it is not.
package ActivateTest::Chaos;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos::Injector;
use ActivateTest::Chaos::Judge;
use ActivateTest::Chaos::Undo;
use ActivateTest::Chaos::Writer;
use ActivateTest::SmallDisk;
use ActivateTest::Tls;
use Test::More;
use Time::HiRes ();

# Events go one by one and in batches; contents of flip come again, those of the others never do.
my %syncs = (
	upsert        => { batch => 1 },
	mirror        => { batch => 10, mode => 'mirror' },
	flip          => { batch => 3, mode => 'mirror', map => '{"id": "id", "v": "v"}' },
	append        => { batch => 1, mode => 'append' },
	append_many   => { batch => 20, mode => 'append' },
	mirror_diff   => { batch => 50, mode => 'mirror', capture => 'diff', schedule => '@every 1s' },
	upsert_cursor => { batch => 5, capture => 'cursor', schedule => '@every 2s' },
	reborn        => { batch => 2 });
my $writers = 4;

sub new
{
	my ($class, %is) = @_;
	my $self = bless { seed => $is{seed}, syncs => \%syncs }, $class;

	srand $self->{seed};
	$self->{directory} = PostgreSQL::Test::Utils::tempdir();
	$self->{service}   = ActivateTest::Service->new(log => 10_000_000);
	$self->serve($self->node(join "\n",
		'activate.max_attempts = 1000', "activate.http_timeout = '700ms'", "activate.retry_backoff = '5ms'", "activate.retry_backoff_max = '100ms'",
		"activate.allowed_hosts = '127.0.0.1, localhost, *.invalid'", 'max_connections = 50', 'wal_keep_size = 500MB'));
	$self->{service}->control({ reject => { field => 'v', equals => 'bad', status => 422, error => 'bad' } });
	$self->{injector} = ActivateTest::Chaos::Injector->new(
		chaos => $self, node => $self->{node}, service => $self->{service}, syncs => [ sort keys %syncs ], reborn => 'reborn', directory => $self->{directory},
		declare  => sub { $self->retarget(@_) && $self->declare(@_) },
		retarget => sub { $self->retarget(@_) });
	$self->{injector}{$_->[0]} = $_->[1] for $self->expired;
	$self->sql('CREATE TABLE chaos (id int PRIMARY KEY, v text, rev bigint, changed_at timestamptz NOT NULL DEFAULT clock_timestamp());
		CREATE TABLE ledger (writer int, transaction int, PRIMARY KEY (writer, transaction))');
	$self->sql("INSERT INTO chaos VALUES (1, 'stays', 1), (2, 'stays', 2)");
	for my $name (sort keys %syncs)
	{
		$self->retarget($name) && $self->declare($name) && defined $self->sql("SELECT activate_run('$name')") or die "$name was not declared\n";
	}
	$self->{injector}{undo} = ActivateTest::Chaos::Undo->new(injector => $self->{injector}, service => $self->{service});
	delivered($self->{node}) or die 'nothing is delivered';
	return $self;
}

# A server whose tables are on a small disk, where one can be mounted.
sub node
{
	my ($self, $conf) = @_;
	my $disk = ActivateTest::SmallDisk->new(96);
	my $node = activate_node('chaos', extension => 0, allows_streaming => 1, extra => ['--wal-segsize=1'], conf => $conf);

	note 'no full disk: ' . ActivateTest::SmallDisk::missing() unless $disk;
	if ($disk)
	{
		$node->{disk}       = $disk;
		$node->{tablespace} = $disk->folder('tables');
		$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$node->{tablespace}'");
		$node->safe_psql('postgres', 'ALTER DATABASE postgres SET default_tablespace = small');
	}
	$node->safe_psql('postgres', 'CREATE EXTENSION activate');
	return $node;
}

# From now on that server is the one, for all.
sub serve
{
	my ($self, $node) = @_;

	push @{ $self->{nodes} }, $node;
	$self->{node} = $node;
	$self->{injector}{node} = $node if $self->{injector};
	open my $file, '>', "$self->{directory}/database.new" or die $!;
	print $file $node->connstr('postgres');
	close $file;
	rename "$self->{directory}/database.new", "$self->{directory}/database" or die $!;
	return;
}

# The service behind a certificate that has expired, where there is what it takes.
sub expired
{
	my ($self) = @_;

	return if ActivateTest::Tls::missing();
	chmod 0755, $self->{directory};
	my $authority = ActivateTest::Tls::Authority->new($self->{directory}, 'chaos');
	my $front     = ActivateTest::Tls->new(directory => $self->{directory}, backend => $self->{service}{port},
		certificate => [ $authority->issue('localhost', -1) ]);

	return [ expired => $front ], [ authority => $authority->file ];
}

sub sql { my ($self, $sql) = @_; return $self->{injector}->sql($sql); }

sub retarget
{
	my ($self, $name) = @_;
	my $url = $self->{service}->url("/hook/$name");

	return defined $self->sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\", \"batch\": $syncs{$name}{batch}}')");
}

# The limit of a mirror is not what this is about.
sub declare
{
	my ($self, $name) = @_;
	my %sync    = (mode => 'upsert', capture => 'trigger', map => '{"id": "id", "v": "v", "rev": "rev"}', %{ $syncs{$name} });
	my @options = ($sync{mode} eq 'mirror' ? '"min_deletes": 1000000' : (), $sync{capture} eq 'cursor' ? '"cursor": "changed_at", "lag": "10 minutes"' : ());

	return defined $self->sql("SELECT activate_sync('$name', 'chaos', '$name.change', key => 'id', mode => '$sync{mode}', capture => '$sync{capture}', map => '$sync{map}',
		schedule => " . ($sync{schedule} ? "'$sync{schedule}'" : 'NULL') . ", options => '{" . join(', ', @options) . "}')");
}

sub run
{
	my ($self, $seconds) = @_;
	my $end = Time::HiRes::time() + $seconds;
	my @pids;

	for my $n (1 .. $writers, 'bulk')
	{
		my $number = $n eq 'bulk' ? $writers + 1 : $n;
		push @pids, ActivateTest::Chaos::Writer->start(
			number => $number, seed => $self->{seed} * 100 + $number, bulk => $n eq 'bulk', pause => $n eq 'bulk' ? 0.3 : 0.05,
			directory => $self->{directory});
	}
	$self->{injector}{writers} = \@pids;
	# one failover at least
	my @planned = ([ $end - 0.7 * $seconds, 'standby' ], [ $end - 0.3 * $seconds, 'failover' ]);
	while (Time::HiRes::time() < $end)
	{
		Time::HiRes::sleep(rand 0.8);
		$self->{injector}{undo}->step;
		$self->{injector}->inject(@planned && Time::HiRes::time() > $planned[0][0] ? (shift @planned)->[1] : ());
	}
	open my $stop, '>', "$self->{directory}/stop" or die $!;
	close $stop;
	waitpid $_, 0 for @pids;
	return;
}

# Everything goes on, and all there is to do is done.
sub settle
{
	my ($self) = @_;

	$self->{injector}->heal;
	return delivered($self->{node});
}

sub judge
{
	my ($self) = @_;

	return ActivateTest::Chaos::Judge->new($self)->judge;
}

1;
