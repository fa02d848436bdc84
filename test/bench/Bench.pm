# Bench: what the figures are made with.  A figure is a name and a function:
#
#	figure requests => sub {
#		my ($s) = @_;                       # a session in a database of its own
#		my $body = items($s, rows => 20_000);
#		my $got = alternate(
#			ours => sub { change_all($s) },          # each returns what it measured
#			loop => sub { loop($body, 20_000) });
#		row('requests/s', ours => rates($got->{ours}, 20_000), base => rates($got->{loop}, 20_000),
#			reach => '>= 0.6', ok => sub { $_[2] >= 0.6 });
#	};
#
# Seconds for time, microseconds for CPU.  CPU is that of one process, read
# while it waits; never the wall clock's.
package Bench;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use Exporter 'import';
use IO::Handle;
use IPC::Run ();
use List::Util qw(first);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(figure row alternate rates per size median quantile column number
  service node database deliverer cpu per measure items change_all loop trickle say_progress set_autovacuum until_true);

use constant CONNECTIONS => 32;    # activate.connections, and the loop's

our @figures;                      # [name, function], in the order of the table
our @rows;                         # of the table

my $rounds = $ENV{ROUNDS} || 5;
my ($node, $service, $figure, @sessions, $screen);

# The screen, before PostgreSQL::Test::Utils takes both streams for its log.
BEGIN
{
	open($screen, '>&', \*STDERR) or die "no screen: $!";
	$screen->autoflush(1);
}

sub say_progress { print $screen "$figure: @_\n"; return; }

sub figure { my ($name, $code) = @_; push @figures, [ $name, $code ]; return; }

# The usual size of something, or, with FULL=1, that of the contract.
sub size { my ($usual, $full) = @_; return $ENV{FULL} ? $full : $usual; }

sub node    { return $node; }
sub service { return $service; }

sub start
{
	$service = ActivateTest::Service->new;
	# as a server is set up for use; nothing of it is left when we are done
	$node = activate_node('bench', extension => 0, conf => <<~"CONF");
		fsync = on
		wal_level = replica
		shared_buffers = 512MB
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		activate.http_timeout = '30s'
		activate.retry_backoff = '1s'
		activate.retry_backoff_max = '5min'
		CONF
	@ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	$ENV{PGOPTIONS} = '-c client_min_messages=warning';
	return;
}

# Runs one figure; its error, or ''.
sub run_figure
{
	my ($name, $code) = @{ $_[0] };

	$figure = $name;
	$service->reset;
	eval { $code->(database($name)); 1 } and undef $@;
	my $error = $@ // '';
	my @databases = map { $_->{database} } @sessions;
	eval { $service->heal; $_->close for @sessions; 1 };
	@sessions = ();
	eval { $node->start unless $node->{_pid}; 1 };
	$node->psql('postgres', "DROP DATABASE IF EXISTS \"$_\" WITH (FORCE)") for @databases;
	set_autovacuum('on');
	return $error;
}

# A session in a new database with the extension, gone with the figure.
sub database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE \"$name\"");
	push @sessions, ActivateTest::Session->new($name);
	$sessions[-1]->run('CREATE EXTENSION activate');
	return $sessions[-1];
}

# Off: where all WAL that is written meanwhile is counted as that of a statement.
sub set_autovacuum
{
	my ($value) = @_;

	$node->psql('postgres', "ALTER SYSTEM SET autovacuum = $value");
	$node->psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# --- rounds and rows ------------------------------------------------------

# alternate(name => function, ...): all of them each round, every other round in
# the opposite order.  What they returned, by name.
sub alternate
{
	my @sides = pairs_of(@_);
	my %got;

	for my $round (1 .. $rounds)
	{
		for my $side ($round % 2 ? @sides : reverse @sides)
		{
			my ($name, $code) = @$side;
			my $result = $code->();

			push @{ $got{$name} }, $result;
			say_progress("round $round of $rounds, $name: " . describe($result));
		}
	}
	return \%got;
}

sub pairs_of { my @list = @_; my @pairs; push @pairs, [ splice @list, 0, 2 ] while @list; return @pairs; }

sub describe
{
	my ($result) = @_;

	return ref $result eq 'HASH' ? join(', ', map { "$_ " . number($result->{$_}) } sort keys %$result)
	  : ref $result ? scalar(@$result) . ' values' : number($result);
}

sub median   { return quantile(0.5, @_); }
sub quantile { my ($q, @v) = @_; @v = sort { $a <=> $b } @v; return $v[ int($q * $#v + 0.5) ]; }

sub column { my ($results, $name) = @_; return [ map { $_->{$name} } @$results ]; }
sub per    { my ($results, $name, $n) = @_; return [ map { $_->{$name} / $n } @$results ]; }
sub rates  { my ($results, $n) = @_; return [ map { $n / $_->{wall} } @$results ]; }

# row(what, ours => [...], base => [...], against => 'the loop', unit => 'ms',
#     reach => 'text', ok => function of (ours, base, ratio)).  Medians; the ratio is
# the median of the rounds' ratios.
sub row
{
	my ($what, %row) = @_;
	my ($ours, $base) = @row{qw(ours base)};
	my $ratio = $base ? median(map { $ours->[$_] / ($base->[$_] || 1e-9) } 0 .. $#$ours) : undef;
	my @values = (median(@$ours), $base ? median(@$base) : undef, $ratio);
	my $unit = $row{unit} ? " $row{unit}" : '';

	push @rows,
	  [ $what, number($values[0]) . $unit, $base ? number($values[1]) . "$unit, $row{against}" : '–',
		defined $ratio ? sprintf('%.2f', $ratio) : '–', $row{reach} // '–',
		$row{ok} ? ($row{ok}->(@values) ? 'pass' : '**miss**') : '–' ];
	say_progress(join ' | ', @{ $rows[-1] });
	return;
}

sub number
{
	my ($n) = @_;
	my $text = sprintf(abs($n) >= 100 ? '%.0f' : abs($n) >= 10 ? '%.1f' : '%.2f', $n);

	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# --- processes ------------------------------------------------------------

# Microseconds that a process has been on a CPU; exact if it waits at the moment.
sub cpu
{
	my ($pid) = @_;

	return (split ' ', slurp_file("/proc/$pid/schedstat"))[0] / 1000 if -r "/proc/$pid/schedstat";
	# user and system time, in ticks of 10 ms; the name before may hold anything but a parenthesis
	my @fields = split ' ', (split /\) /, slurp_file("/proc/$pid/stat"))[1];
	return ($fields[11] + $fields[12]) * 10_000;
}

sub until_true
{
	my ($code, $what, $us) = @_;

	for (1 .. 600 * 1_000_000 / ($us // 10_000))
	{
		return 1 if $code->();
		usleep($us // 10_000);
	}
	die "waited in vain for $what\n";
}

sub deliverer
{
	my ($s) = @_;
	my $pid;

	until_true(sub {
			$pid = $s->run("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'activate deliverer'");
		}, 'a deliverer');
	return $pid;
}

# What a statement costs the server process that executes it.
sub measure
{
	my ($s, $sql) = @_;
	my $wal = $s->run("SELECT pg_current_wal_insert_lsn()");
	my ($cpu, $start) = (cpu($s->{pid}), time);

	$s->run($sql);
	my %result = (wall => time - $start, cpu => cpu($s->{pid}) - $cpu);
	$result{wal} = $s->run("SELECT pg_current_wal_insert_lsn() - '$wal'");
	return \%result;
}

# --- delivery -------------------------------------------------------------

# A table "item", a sync of it by trigger into the service's sink, and all of it
# delivered once.  Returns the body of a request, as it is sent.
sub items
{
	my ($s, %options) = @_;
	my $batch = $options{batch} // 1;

	$s->run("CREATE TABLE item AS SELECT i AS id, 'item ' || i AS name, i * 0.01 AS price, 0 AS changed
			FROM generate_series(1, $options{rows}) i;
		ALTER TABLE item ADD PRIMARY KEY (id); ANALYZE item;
		SELECT activate_target('sink', 'webhook', '{\"url\": \"" . $service->url('/sink') . "\", \"batch\": $batch}');
		SELECT activate_sync('item', 'item', 'sink.change', capture => 'trigger')");
	my $body = $s->run("SELECT body FROM activate_preview('item', $batch)");
	change_all($s) unless $options{unsent};
	return $body;
}

# Every row of "item" changed by one transaction: from its commit until all is acknowledged.
sub change_all
{
	my ($s) = @_;
	my $pid = deliverer($s);

	$s->run('BEGIN; UPDATE item SET changed = changed + 1');
	my $wal = $s->run('SELECT pg_current_wal_insert_lsn()');
	my ($cpu, $start) = (cpu($pid), time);
	$s->run('COMMIT');
	$s->run("SELECT activate_wait('item', '10 minutes')") eq 't' or die "not everything was delivered\n";
	my %result = (wall => time - $start, cpu => cpu($pid) - $cpu);
	$result{wal} = $s->run("SELECT pg_current_wal_insert_lsn() - '$wal'");
	$s->run('SELECT count(*) FROM activate.rejection') eq '0' or die "rows were refused\n";
	return \%result;
}

sub loop
{
	my ($body, $requests) = @_;
	my $out;

	IPC::Run::run([ 'build/loop', $service->url('/sink'), CONNECTIONS, $requests ], '<', \$body, '>', \$out)
	  or die "the loop failed\n";
	my ($wall, $cpu) = split ' ', $out;
	return { wall => $wall / 1e6, cpu => $cpu };
}

# So many INSERTs into a table, 20 a second by a client of their own: milliseconds
# until the service has each, since its commit as that client sees it; or, quick,
# since it was sent, committed without waiting for the disk.  Ids grow from commit
# to commit; others may have taken some between.
sub trickle
{
	my ($s, $table, $path, $n, $quick) = @_;
	my $log = "$ENV{TMPDIR}/trickle.$table";
	my (@since, %received);

	local $ENV{PGOPTIONS} = '-c synchronous_commit=off' if $quick;
	$service->reset;
	unlink glob "$log.*";
	append_to_file("$log.sql", "INSERT INTO $table (n) VALUES (1);\n");
	system_or_bail('pgbench', '-n', '-c1', '-R20', '-t', $n, '-M', 'prepared', '-f', "$log.sql",
		'--log', "--log-prefix=$log", $s->{database});
	until_true(sub { $service->stats->{requests} >= $n }, "$n requests");
	for (split /\n/, slurp_file(first { !/\.sql$/ } glob "$log.*"))
	{
		my @fields = split;
		push @since, $fields[4] * 1e6 + $fields[5] - ($quick ? $fields[2] : 0);
	}
	for (@{ $service->log($path) })
	{
		$received{$1} //= $_->{at_us} if $_->{body} =~ /"id": (\d+)/;
	}
	my @received = map { $received{$_} } sort { $a <=> $b } keys %received;
	die "$n changes were committed, " . @received . " received\n" unless @since == $n && @received == $n;
	return [ map { ($received[$_] - $since[$_]) / 1000 } 0 .. $n - 1 ];
}

1;
