# ActivateTest::Chaos::Undo: runs that are undone while everything goes wrong, and what the receiver should hold then.
#
# A table and a sync of its own, in rounds: when all is delivered, a run changes, adds and deletes keys; it is undone,
# and before or after that another run changes some of them again.  Each step is a transaction of its own, with other
# injections in between.  Then a key that was changed again is what that made of it, and each other what it was before.
package ActivateTest::Chaos::Undo;

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes ();

my $keys = 12;

# injector, service
sub new
{
	my ($class, %is) = @_;
	my $self = bless { %is, steps => [], round => 0, transaction => 0, undone => 0, wrong => [], expected => {}, source => {} }, $class;
	my $url = $is{service}->url('/hook/taken');

	$self->sql("CREATE TABLE taken (id int PRIMARY KEY, v text);
		SELECT activate_target('taken', 'webhook', '{\"url\": \"$url\", \"batch\": 3}');
		SELECT activate_sync('taken', 'taken', 'taken.change', mode => 'mirror', options => '{\"min_deletes\": 1000000}')") // die "taken was not declared\n";
	return $self;
}

sub sql { my ($self, $sql) = @_; return $self->{injector}->sql($sql); }

sub ask
{
	my ($self, $sql) = @_;

	for (1 .. 3000)
	{
		my $answer = $self->sql($sql);
		return $answer if defined $answer;
		Time::HiRes::sleep(0.05);
	}
	die "no answer: $sql\n";
}

# Were the statements committed?  After a failure the table ledger knows, once nobody works on it any more.
sub does
{
	my ($self, $sql) = @_;
	my $number = ++$self->{transaction};
	local $ENV{PGAPPNAME} = 'chaos undo';

	return 1 if defined $self->sql("BEGIN; $sql; INSERT INTO ledger VALUES (0, $number); COMMIT");
	Time::HiRes::sleep(0.02) while $self->ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'chaos undo' AND pid <> pg_backend_pid()");
	return $self->ask("SELECT count(*) FROM ledger WHERE writer = 0 AND transaction = $number");
}

sub is_delivered
{
	my ($self) = @_;

	return ($self->sql("SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'taken'") // 1) == 0;
}

# One step of a round, or the next round if that is possible.
sub step
{
	my ($self) = @_;
	my $step = shift @{ $self->{steps} };

	return $self->$step if $step;
	return $self->is_delivered && $self->compare && $self->change;
}

# What is not as it should be.  Where a message was refused for good, what there is is what there should be.
sub compare
{
	my ($self) = @_;
	my $held    = $self->{service}->hook_state('taken')->{syncs}{taken} // {};
	my %held    = map { $_->{row} ? ($_->{key}{id} => $_->{row}{v}) : () } values %$held;
	my $since   = $self->{since} // '-infinity';
	my %refused = map { $_ => 1 } split /\n/, $self->sql("SELECT DISTINCT r.key ->> 'id' FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = 'taken' AND r.outcome = 'rejected' AND r.code IS DISTINCT FROM 'undone' AND r.sent_at >= '$since'") // return 0;

	for my $id (grep { !$refused{$_} } 1 .. $keys)
	{
		my ($is, $should) = map { $_->{$id} // 'nothing' } \%held, $self->{expected};
		push @{ $self->{wrong} }, "round $self->{round}, key $id: $is instead of $should" if $is ne $should;
	}
	$self->{expected} = \%held;
	return 1;
}

# Some keys go, some come, all others are changed.
sub change
{
	my ($self) = @_;
	my $round  = ++$self->{round};
	my %source = %{ $self->{source} };
	my (@gone, @new);

	for my $id (1 .. $keys)
	{
		push @{ $source{$id} ? \@gone : \@new }, $id if rand() < ($source{$id} ? 0.15 : 0.5);
	}
	delete @source{@gone};
	$source{$_} = "run $round" for @new, keys %source;
	$self->{since} = $self->ask('SELECT clock_timestamp()');
	return unless $self->does(join ';', "DELETE FROM taken WHERE id IN (" . join(', ', 0, @gone) . ')', "UPDATE taken SET v = 'run $round'",
		map({ "INSERT INTO taken VALUES ($_, 'run $round')" } @new), "SELECT activate_run('taken')");
	$self->{injector}->say_so('a run that will be undone');
	$self->{run}      = $self->ask("SELECT max(r.id) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'taken'");
	$self->{source}   = \%source;
	$self->{before}   = $self->{expected};
	$self->{later}    = {};
	$self->{steps}    = [ [ 'undo' ], [ 'later', 'undo' ], [ 'undo', 'later' ], ['later'] ]->[ int rand 4 ];
	# what a delete took back before is not deleted again: the receiver holds it still
	$self->{expected} = { %source, map { $_ => $self->{before}{$_} } grep { !$source{$_} && defined $self->{before}{$_} && $self->{kept}{$_} } 1 .. $keys };
	delete @{ $self->{kept} }{ keys %source };
	return 1;
}

sub undo
{
	my ($self) = @_;

	return unless $self->does("SELECT activate_undo('taken', $self->{run})");
	$self->{injector}->say_so('activate_undo');
	$self->{undone}++;
	for my $id (grep { !$self->{later}{$_} } 1 .. $keys)
	{
		my $before = $self->{before}{$id};

		$self->{kept}{$id} = 1 if defined $before && !$self->{source}{$id};
		defined $before ? $self->{expected}{$id} = $before : delete $self->{expected}{$id};
	}
	return 1;
}

sub later
{
	my ($self) = @_;
	my @changed = grep { $self->{source}{$_} && rand() < 0.4 } 1 .. $keys;
	my $v = "later $self->{round}";

	return unless $self->does("UPDATE taken SET v = '$v' WHERE id IN (" . join(', ', 0, @changed) . "); SELECT activate_run('taken')");
	$self->{injector}->say_so('a later run');
	$self->{source} = { %{ $self->{source} }, map { $_ => $v } @changed };
	$self->{later}{$_} = 1 for @changed;
	$self->{expected}{$_} = $v for @changed;
	return 1;
}

1;
