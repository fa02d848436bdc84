# ActivateTest::Chaos::Writer: a process that changes rows of its own keys at random, and a model of what it committed.
#
# Every transaction notes itself in the table ledger.  So where a crash cut off the answer to a COMMIT, the writer
# looks there afterwards and knows.
package ActivateTest::Chaos::Writer;

use strict;
use warnings;

use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils ();
use POSIX ();
use Time::HiRes ();

# number: its keys are number * 1000 and on; bulk: it changes hundreds at once; directory: <directory>/database says where the server is now, <directory>/stop ends it, <directory>/psql.<number> names its client, <directory>/model.<number> is what it did.
sub start
{
	my ($class, %is) = @_;
	my $parent = $$;
	my $pid = fork() // die "could not fork: $!";

	return $pid if $pid;
	my $self = bless {
		%is, parent => $parent, name => "chaos writer $is{number}", rows => {}, rev => 0, transaction => 0,
		committed => {}, events => [], scripts => [], errors => [], unknown => 0 }, $class;
	$SIG{PIPE} = 'IGNORE';
	$SIG{TERM} = sub { POSIX::_exit(1) };
	$ENV{PGAPPNAME} = $self->{name};
	$ENV{PGOPTIONS} = '-c client_min_messages=error';
	srand $is{seed};
	eval {
		until (-e "$is{directory}/stop")
		{
			POSIX::_exit(1) if getppid() != $self->{parent};
			$self->transaction;
			Time::HiRes::sleep(rand 2 * $is{pause});
		}
		1;
	} or push @{ $self->{errors} }, "it died: $@";
	$self->write_model;
	POSIX::_exit(0);
}

sub pick { return $_[ int rand @_ ]; }

sub write_model
{
	my ($self) = @_;

	open my $file, '>', "$self->{directory}/model.$self->{number}" or die $!;
	print $file JSON::PP->new->canonical->encode({ map { $_ => $self->{$_} } qw(rows committed events scripts errors unknown transaction) });
	return CORE::close($file);
}

# A session, however long the server takes to come back.
sub session
{
	my ($self) = @_;

	for (1 .. 3000)
	{
		last if $self->{session};
		POSIX::_exit(1) if getppid() != $self->{parent};
		$self->{session} = eval { ActivateTest::Session->new(PostgreSQL::Test::Utils::slurp_file("$self->{directory}/database")) } and do {
			open my $file, '>', "$self->{directory}/psql.$self->{number}" or die $!;
			print $file $self->{session}{psql};
			CORE::close($file);
		};
		Time::HiRes::sleep(0.05) unless $self->{session};
		1 while waitpid(-1, POSIX::WNOHANG()) > 0;
	}
	return $self->{session} // die "no connection: $@";
}

# Did it work?  An error ends the session; only the loss of the connection, and a full disk, are expected.
sub does
{
	my ($self, @statements) = @_;

	for my $sql (@statements)
	{
		next if eval { $self->{last} = $self->session->run($sql); 1 };
		my $error = $@;
		push @{ $self->{errors} }, $error
		  unless $error =~ /^psql:  ?in:|server closed|terminating connection|connection to server|no connection|is starting up|shutting down|crash|recovery|could not (?:extend file|write blocks?)/;
		eval { $self->{session}->close } if $self->{session};
		undef $self->{session};
		return 0;
	}
	return 1;
}

sub ask
{
	my ($self, $sql) = @_;

	1 until $self->does($sql);
	return $self->{last};
}

# After a failure: has this transaction been committed?  Nobody works on it any more once its server process is gone.
sub was_committed
{
	my ($self, $gid, $end) = @_;

	$self->{unknown}++;
	Time::HiRes::sleep(0.02)
	  while $self->ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$self->{name}' AND pid <> pg_backend_pid()");
	$self->does("$end PREPARED '$gid'")
	  while $self->ask("SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$gid'");
	return $self->ask("SELECT count(*) FROM ledger WHERE writer = $self->{number} AND transaction = $self->{transaction}");
}

# The rows %$state get a statement's new content; it is an event of each.
sub set
{
	my ($self, $try, $v, @ids) = @_;

	$self->{rev}++;
	my $rev = $self->{number} * 10_000_000 + $self->{rev};
	for my $id (@ids)
	{
		$try->{rows}{$id} = [ $v, $rev ];
		push @{ $try->{events} }, [ $id, $rev ];
	}
	return $rev;
}

# A change, as a statement that can follow WITH.
sub change
{
	my ($self, $try) = @_;

	return $self->{bulk} ? $self->change_many($try) : $self->change_one($try);
}

sub change_one
{
	my ($self, $try) = @_;
	my @there = sort { $a <=> $b } keys %{ $try->{rows} };
	my @free  = grep { !exists $try->{rows}{$_} } map { $self->{number} * 1000 + $_ } 1 .. 10;
	my $what  = !@there ? 'insert' : pick(qw(insert insert update update update update delete rekey same));
	my $v     = $try->{doomed} ? 'never' : pick('bad', map { "v$_" } 1 .. 3);
	my $id    = @there ? pick(@there) : 0;

	if ($what eq 'insert' && @free)
	{
		my $new = pick(@free);
		my $rev = $self->set($try, $v, $new);
		return "INSERT INTO chaos (id, v, rev) VALUES ($new, '$v', $rev)";
	}
	if ($what eq 'delete')
	{
		delete $try->{rows}{$id};
		return "DELETE FROM chaos WHERE id = $id";
	}
	if ($what eq 'rekey' && @free)
	{
		my $new = pick(@free);
		delete $try->{rows}{$id};
		my $rev = $self->set($try, $v, $new);
		return "UPDATE chaos SET id = $new, v = '$v', rev = $rev, changed_at = clock_timestamp() WHERE id = $id";
	}
	if ($what eq 'same')
	{
		push @{ $try->{events} }, [ $id, $try->{rows}{$id}[1] ];
		return "UPDATE chaos SET v = v WHERE id = $id";
	}
	my $rev = $self->set($try, $v, $id);
	return "UPDATE chaos SET v = '$v', rev = $rev, changed_at = clock_timestamp() WHERE id = $id";
}

sub change_many
{
	my ($self, $try) = @_;
	my $from  = $self->{number} * 1000 + int rand 300;
	my $to    = $from + 1 + int rand 100;
	my @there = grep { exists $try->{rows}{$_} } $from .. $to;
	my $what  = pick(qw(insert update update delete));

	if ($what eq 'insert')
	{
		my $rev = $self->set($try, 'many', grep { !exists $try->{rows}{$_} } $from .. $to);
		return "INSERT INTO chaos (id, v, rev) SELECT i, 'many', $rev FROM generate_series($from, $to) i ON CONFLICT DO NOTHING";
	}
	if ($what eq 'delete')
	{
		delete @{ $try->{rows} }{@there};
		return "DELETE FROM chaos WHERE id BETWEEN $from AND $to";
	}
	my $rev = $self->set($try, 'more', @there);
	return "UPDATE chaos SET v = 'more', rev = $rev, changed_at = clock_timestamp() WHERE id BETWEEN $from AND $to";
}

sub copy_of
{
	my ($try) = @_;

	return { %$try, rows => { %{ $try->{rows} } }, events => [ @{ $try->{events} } ] };
}

sub transaction
{
	my ($self) = @_;

	$self->{transaction}++;
	my $gid  = "chaos_$self->{number}_$self->{transaction}";
	my $note = "INSERT INTO ledger VALUES ($self->{number}, $self->{transaction})";
	my $end  = pick('', '', 'COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK', 'COMMIT PREPARED', 'ROLLBACK PREPARED');
	my $try  = { rows => { %{ $self->{rows} } }, events => [], doomed => scalar($end =~ /ROLLBACK/) };
	my @script;

	if ($end eq '')
	{
		@script = ("WITH note AS ($note) " . $self->change($try));
	}
	else
	{
		($try, @script) = $self->script($try, $note);
		push @script, $end =~ /PREPARED/ ? ("PREPARE TRANSACTION '$gid'", "$end '$gid'") : ($end);
	}
	my ($verb) = $end =~ /^(\w+)/;
	my $began     = Time::HiRes::time();
	my $unknown   = $self->{unknown};
	my $committed = $self->does(@script) ? ($verb // '') ne 'ROLLBACK' : $self->was_committed($gid, $verb // 'COMMIT');
	push @{ $self->{scripts} }, join "\n      ",
	  sprintf('%.3f to %.3f%s: %s', $began, Time::HiRes::time(), $self->{unknown} > $unknown ? ', cut off' : '', $committed ? 'committed' : 'not committed'), @script;
	return unless $committed;

	my %touched = map { $_->[0] => 1 } @{ $try->{events} };
	for my $id (grep { exists $try->{rows}{$_} } keys %touched)
	{
		$self->{committed}{$id}{ $try->{rows}{$id}[1] } = $try->{rows}{$id}[0];
	}
	$self->{rows} = $try->{rows};
	push @{ $self->{events} }, @{ $try->{events} };
	return;
}

# Changes, savepoints and ways back: what is left of it, and the statements.
sub script
{
	my ($self, $try, $note) = @_;
	my (@savepoints, @script);

	@script = ('BEGIN', $note);
	for (1 .. 2 + int rand($self->{bulk} ? 2 : 5))
	{
		my $what = rand;

		if ($what < 0.2)
		{
			push @savepoints, copy_of($try);
			push @script, 'SAVEPOINT s' . @savepoints;
		}
		elsif ($what < 0.35 && @savepoints)
		{
			my $n = 1 + int rand @savepoints;
			$#savepoints = $n - 1;
			$try = copy_of($savepoints[-1]);
			push @script, "ROLLBACK TO s$n";
		}
		elsif ($what < 0.4 && @savepoints)
		{
			push @script, 'RELEASE s' . @savepoints;
			pop @savepoints;
		}
		else
		{
			push @script, $self->change($try);
		}
	}
	return ($try, @script);
}

1;
