# ActivateTest::Chaos::Injector: what may go wrong, one thing at a time, at random.
package ActivateTest::Chaos::Injector;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos::Standby;
use PostgreSQL::Test::Utils;
use Time::HiRes ();

# node, service; syncs: their names; reborn: the one that is dropped and declared again; declare: how
sub new
{
	my ($class, %is) = @_;

	return bless { %is, done => {}, started => Time::HiRes::time() }, $class;
}

sub pick { return $_[ int rand @_ ]; }

# Text of the result; undef if the server was in no state to answer.
sub sql
{
	my ($self, $sql) = @_;
	local $ENV{PGOPTIONS} = '-c statement_timeout=20s -c client_min_messages=error';
	my ($status, $out, $err) = eval { $self->{node}->psql('postgres', $sql) };

	return $out if defined $status && $status == 0;
	push @{ $self->{errors} }, "$sql: $err"
	  if defined $err && $err !~ /server closed|terminating connection|connection to server|starting up|shutting down|crash|recovery|statement timeout|could not (?:extend file|write blocks?)|^\s*$/;
	return;
}

sub say_so
{
	my ($self, $what) = @_;

	$self->{done}{$what}++;
	return Test::More::note(sprintf '%.3f %6.2f %s', Time::HiRes::time(), Time::HiRes::time() - $self->{started}, $what);
}

# A process by what pg_stat_activity says of it.
sub process
{
	my ($self, $kind) = @_;
	my $where = $kind eq 'writer' ? "application_name LIKE 'chaos writer%'" : "backend_type LIKE 'activate $kind%'";
	my $pids  = $self->sql("SELECT pid FROM pg_stat_activity WHERE $where ORDER BY pid") // '';

	return pick(split /\n/, $pids);
}

sub await
{
	my ($self) = @_;

	return $self->{node}->poll_query_until('postgres', 'SELECT true') || die "the server did not come back\n";
}

# The postmaster's children end by themselves, which takes a moment; until then it does not start.
sub start
{
	my ($self) = @_;

	for (1 .. 120)
	{
		undef $self->{node}{_pid};
		return $self->await if $self->{node}->start(fail_ok => 1);
		Time::HiRes::sleep(0.5);
	}
	die "the server did not start\n";
}

sub kill_process
{
	my ($self) = @_;
	my $kind = pick(qw(deliver deliver runner launcher worker writer));
	my $pid  = $self->process($kind) or return;

	$self->say_so("kill -9 of a $kind");
	kill_hard($pid);
	return $self->await;
}

sub kill_postmaster
{
	my ($self) = @_;

	$self->say_so('kill -9 of the postmaster');
	$self->{node}->kill9;
	return $self->start;
}

sub restart
{
	my ($self) = @_;
	my $mode = pick(qw(immediate immediate fast));

	$self->say_so("restart -m $mode");
	$self->{node}->stop($mode);
	return $self->start;
}

sub stop_and_continue
{
	my ($self) = @_;
	my $kind = pick(qw(deliver deliver deliver worker));
	my $pid  = $self->process($kind) or return;

	$self->say_so("SIGSTOP of a $kind");
	kill 'STOP', $pid;
	Time::HiRes::sleep(0.1 + rand 1.5);
	if (rand() < 0.2)
	{
		push @{ $self->{forgotten} }, [ (Time::HiRes::time()) x 2 ];
		$self->say_so("kill -9 of a $kind that stands still");
		kill_hard($pid);
		return $self->await;
	}
	return kill 'CONT', $pid;
}

sub terminate
{
	my ($self) = @_;
	my $kind = pick(qw(deliver deliver runner launcher worker writer));
	my $pid  = $self->process($kind) or return;

	$self->say_so("pg_terminate_backend of a $kind");
	return $self->sql("SELECT pg_terminate_backend($pid)");
}

# Only psql dies: the server goes on with what it was told.
sub kill_client
{
	my ($self) = @_;
	my $file = pick(glob "$self->{directory}/psql.*") // return;
	my ($pid)  = slurp_file($file) =~ /^(\d+)$/ or return;

	# it may be gone, and its number another's
	my $stat = eval { slurp_file("/proc/$pid/stat") } // '';
	return unless grep { $stat =~ /\) \S $_ / } @{ $self->{writers} };
	$self->say_so('kill -9 of a psql');
	return kill 'KILL', $pid;
}

sub drop_sync
{
	my ($self) = @_;

	$self->say_so('activate_drop, activate_sync');
	$self->sql("SELECT activate_drop('$self->{reborn}')");
	return $self->{declare}->($self->{reborn});
}

sub drop_target
{
	my ($self) = @_;

	$self->say_so('DROP SERVER, activate_target');
	$self->sql("SELECT activate_drop('$self->{reborn}'); DROP SERVER $self->{reborn} CASCADE");
	return $self->{declare}->($self->{reborn});
}

# The same again: whatever is queued is read anew.
sub redeclare
{
	my ($self) = @_;
	my $name = pick(@{ $self->{syncs} });

	$self->say_so("activate_sync of $name again");
	return $self->{declare}->($name);
}

sub discard
{
	my ($self) = @_;

	$self->say_so('activate_discard');
	return $self->sql("SELECT activate_discard('$self->{reborn}')");
}

# Plans are made anew.
sub alter_source
{
	my ($self) = @_;

	$self->say_so('ALTER TABLE');
	return $self->sql('ALTER TABLE chaos ADD COLUMN more int; ALTER TABLE chaos DROP COLUMN more');
}

sub pause
{
	my ($self) = @_;
	my $name = pick('', 'target:') . pick(@{ $self->{syncs} });

	$self->say_so('pause and resume');
	$self->sql("SELECT activate_pause('$name')");
	Time::HiRes::sleep(rand 1);
	return $self->sql("SELECT activate_resume('$name')");
}

sub settings
{
	my ($self) = @_;
	my ($name, @values) = @{ pick(
		[ 'activate.connections', 1, 4, 32 ], [ 'activate.stalled_connections', 1, 1000 ],
		[ 'activate.http_timeout', "'300ms'", "'700ms'", "'2s'" ], [ 'activate.deliverers', 1, 2, 3 ],
		[ 'activate.runners', 1, 2 ], [ 'activate.enabled', 'off', 'on', 'on' ],
		[ 'activate.retry_backoff', "'1ms'", "'20ms'" ], [ 'activate.schedule', "'mirror_diff: off'", "''" ]) };
	my $value = pick(@values);

	$self->say_so("reload with another $name");
	# two statements: it cannot run in a transaction
	$self->sql("ALTER SYSTEM SET $name = $value");
	return $self->sql('SELECT pg_reload_conf()');
}

sub run
{
	my ($self) = @_;
	my $name = pick(@{ $self->{syncs} });
	my $full = rand() < 0.15 && $name !~ /append/ ? 'true' : 'false';

	$self->say_so(($full eq 'true' ? 'a run in full of ' : 'a run of ') . $name);
	$self->{full}{$name} = 1 if $full eq 'true';
	return $self->sql("SELECT activate_run('$name', full => $full)");
}

# What was sent lately is sent again.
sub replay
{
	my ($self) = @_;
	my $name = pick(grep { !/append/ } @{ $self->{syncs} });

	$self->say_so("activate_replay of $name");
	$self->{full}{$name} = 1;
	return $self->sql("SELECT activate_replay('$name', now() - interval '3 seconds')");
}

# Somebody locks the source, and takes his time.
sub lock_source
{
	my ($self) = @_;

	$self->say_so('LOCK TABLE');
	return $self->sql('BEGIN; LOCK TABLE chaos; SELECT pg_sleep(' . rand(1) . '); COMMIT');
}

# A name that DNS does not know, a service that does not speak TLS, or one whose certificate has expired.
sub wrong_url
{
	my ($self) = @_;
	my $name = pick(@{ $self->{syncs} });
	my $url  = pick("http://nowhere.invalid/hook/$name", $self->{service}->url("/hook/$name") =~ s/^http/https/r,
		$self->{expired} ? $self->{expired}->url("/hook/$name") : ());
	my $options = $self->{expired} && $url =~ /^https:\/\/localhost/ ? ", \"ca_file\": \"$self->{authority}\"" : '';

	$self->say_so("the target $name is at $url");
	$self->sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}')");
	Time::HiRes::sleep(rand 1);
	return $self->{retarget}->($name);
}

# No byte is left where our tables are, or somebody may not write files of more than a megabyte.
sub disk_full
{
	my ($self) = @_;
	my $disk = $self->{node}{disk} // return $self->file_limit;

	$self->say_so('the disk is full');
	$disk->fill;
	for (0 .. int rand 3)
	{
		my $what = pick(qw(answer run terminate pause));

		Time::HiRes::sleep(rand 1);
		$self->$what;
	}
	$self->say_so('there is room again');
	return $disk->empty;
}

sub file_limit
{
	my ($self) = @_;
	my $kind = pick(qw(deliver deliver writer worker));
	my $pid  = $self->process($kind) or return;

	$self->say_so("a limit on the size of files of a $kind");
	run_log([ 'prlimit', "--pid=$pid", '--fsize=1048576:' ]);
	Time::HiRes::sleep(rand 2);
	return run_log([ 'prlimit', "--pid=$pid", '--fsize=unlimited:' ]);
}

# From now on each commit waits for a standby.
sub standby
{
	my ($self) = @_;

	return if $self->{standby};
	$self->say_so('a standby');
	$self->await;
	return $self->{standby} = ActivateTest::Chaos::Standby->new($self->{node});
}

# What was visible is there; what a crash or a signal made visible before it was, too.
sub failover
{
	my ($self) = @_;
	my $standby = $self->{standby} or return $self->standby;

	$self->await;
	$standby->has_everything or die "the standby has not caught up\n";
	Time::HiRes::sleep(rand 0.5);
	$self->say_so('the primary dies, its standby is promoted');
	undef $self->{standby};
	return $self->{chaos}->serve($standby->take_over);
}

my @faults = (
	map({ ({ fault => 'status', status => $_ }) } 408, 409, 413, 425, 429, 500, 503),
	{ fault => 'status', status => 429, retry_after => '1' },
	{ fault => 'status', status => 429, retry_after_date => 1 },
	{ fault => 'status', status => 500, applied => \1 },
	{ fault => 'status', status => 502, body => '<html><h1>Bad Gateway</h1></html>', content_type => 'text/html' },
	{ fault => 'status', status => 502, body => '<html><h1>Bad Gateway</h1></html>', content_type => 'text/html', applied => \1 },
	map({ ({ fault => $_ }) } qw(empty200 garbage redirect half drip reset close hang)),
	{ fault => 'close', applied => \1 }, { fault => 'hang', applied => \1 },
	{ fault => 'slow', ms => 100 }, { fault => 'slow', ms => 900 }, { fault => 'bigbody', bytes => 100_000 },
	{ results => 'short' }, { results => 'wrong' }, { max_batch => 2 }, { batch_refusal => 'all' }, { fault => 'down', ms => 300 });

# Those that a single rule of the service can give.
sub answers { return grep { $_->{fault} && $_->{fault} ne 'down' } @faults; }

sub answer
{
	my ($self) = @_;
	my $fault = pick(@faults);
	my $path  = pick('/hook', map { "/hook/$_" } @{ $self->{syncs} });
	my $what  = join ' ', map { my $value = $fault->{$_}; $_ . '=' . (ref $value ? $$value : $value) } sort keys %$fault;

	$self->say_so("service: $what at $path");
	return $self->service({ %$fault, path => $path, count => 1 + int rand 30, every => 1 + int rand 3 })
	  if $fault->{fault} && $fault->{fault} ne 'down';
	$self->service($fault);
	Time::HiRes::sleep(rand 1);
	return $fault->{fault} ? $self->{service}->up : $self->service({ map { $_ => undef } keys %$fault });
}

sub service
{
	my ($self, $control) = @_;

	return $self->{service}->control($control);
}

my %weight = (
	answer => 16, kill_process => 4, kill_postmaster => 1, restart => 1, stop_and_continue => 2, terminate => 3, kill_client => 1,
	drop_sync => 1, drop_target => 1, pause => 2, settings => 3, run => 4, lock_source => 1, wrong_url => 1, redeclare => 2, discard => 1, alter_source => 1,
	disk_full => 2, file_limit => 1, standby => 1, failover => 1, replay => 1);
my @actions = map { ($_) x $weight{$_} } sort keys %weight;

# What makes no deliverer forget what it has tried.
my %quiet = map { $_ => 1 } qw(answer run stop_and_continue kill_client file_limit standby replay);

sub inject
{
	my ($self, $action) = @_;
	$action //= pick(@actions);
	my $began  = Time::HiRes::time();

	$self->$action;
	return $quiet{$action} || push @{ $self->{forgotten} }, [ $began, Time::HiRes::time() ];
}

# As if nothing had been.
sub heal
{
	my ($self) = @_;

	push @{ $self->{forgotten} }, [ (Time::HiRes::time()) x 2 ];
	$self->service({ fault => 'none' });
	$self->service({ $_ => undef }) for qw(results max_batch batch_refusal);
	$self->sql('ALTER SYSTEM RESET ALL');
	$self->sql('SELECT pg_reload_conf()');
	$self->{retarget}->($_) for @{ $self->{syncs} };
	$self->{declare}->($self->{reborn});
	$self->sql("SELECT activate_resume('$_'); SELECT activate_resume('target:$_')") for @{ $self->{syncs} };
	return;
}

1;
