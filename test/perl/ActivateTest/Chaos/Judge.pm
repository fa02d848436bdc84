# ActivateTest::Chaos::Judge: what the service was told against what the writers committed.
package ActivateTest::Chaos::Judge;

use strict;
use warnings;

use ActivateTest;
use ActivateTest::Chaos::Leaks;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

sub new
{
	my ($class, $chaos) = @_;
	my $self = bless { chaos => $chaos, node => $chaos->{node}, service => $chaos->{service}, shown => 0 }, $class;

	$self->read_models;
	return $self;
}

# The models of all writers are one: their keys are their own.
sub read_models
{
	my ($self) = @_;

	$self->{rows}      = { 1 => [ 'stays', 1 ], 2 => [ 'stays', 2 ] };
	$self->{committed} = { 1 => { 1 => 'stays' }, 2 => { 2 => 'stays' } };
	@$self{qw(events scripts errors unknown transactions)} = ({}, [], [], 0, 0);
	for my $file (sort glob "$self->{chaos}{directory}/model.*")
	{
		my $model = JSON::PP::decode_json(slurp_file($file));

		%{ $self->{$_} } = (%{ $self->{$_} }, %{ $model->{$_} }) for qw(rows committed);
		$self->{events}{"@$_"}++ for @{ $model->{events} };
		push @{ $self->{$_} }, @{ $model->{$_} } for qw(scripts errors);
		$self->{unknown} += $model->{unknown};
		$self->{transactions} += $model->{transaction};
	}
	return;
}

# What the service was asked, in the order of its asking: a list of changes with the status of their request.
sub read_log
{
	my ($self, $name) = @_;
	my @told;
	my $text = $self->{service}->call('GET', "/_log?path=/hook/$name");

	while ($text =~ /"at_us":\s*(\d+).*?"path":\s*"([^"]*)".*?"body":\s*"((?:[^"\\]++|\\.)*+)",\s*"status":\s*(\d+)/gs)
	{
		my ($at, $path, $body, $status) = ($1, $2, $3, $4);

		next if $path ne "/hook/$name";
		$body =~ s/\\(.)/$1/g;
		my $changes = () = $body =~ /"seq": /g;
		while ($body =~ /\{"id": "([^"]*)", "seq": (\d+), "sync": "[^"]*", "op": "(\w+)", "key": \{(?:"id": (\d+))?\}, "row": (null|\{([^}]*)\})\}/g)
		{
			my %change = (id => $1, seq => $2, op => $3, key => $4, row => $5, at => $at, status => $status);

			for my $row ($change{row})
			{
				($change{rev}) = $row =~ /"rev": (\d+)/;
				($change{v})   = $row =~ /"v": "(\w+)"/;
				($change{key}) = $row =~ /"id": (\d+)/ unless defined $change{key};
			}
			push @told, \%change;
			$changes--;
		}
		die "not understood: $body\n" if $changes;
	}
	return \@told;
}

sub sql { my ($self, $sql) = @_; return $self->{node}->safe_psql('postgres', $sql); }

# The ids of a sync's messages that have such a receipt.
sub ids_with
{
	my ($self, $name, $condition) = @_;

	return map { $_ => 1 } split /\n/, $self->sql("SELECT DISTINCT r.idempotency_key FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND $condition");
}

# A list of keys that are wrong is empty; else what is known of the first.
sub none
{
	my ($self, $name, $claim, @wrong) = @_;

	is(join(', ', @wrong[ 0 .. (@wrong < 20 ? $#wrong : 19) ]), '', "$name: $claim") and return 1;
	my %keys = map { /^(\d+)/ ? ($1 => 1) : () } @wrong;
	my %revs = map { /\b(\d{8})\b/ ? ($1 => 1) : () } @wrong[ 0 .. (@wrong < 4 ? $#wrong : 3) ];
	for my $rev (sort keys %revs)
	{
		diag "    $_" for grep { /\b$rev\b/ } @{ $self->{scripts} };
	}
	$self->show($name, $_) for (sort { $a <=> $b } keys %keys)[ 0 .. (keys %keys < 3 ? keys(%keys) - 1 : 2) ];
	return 0;
}

sub show
{
	my ($self, $name, $key) = @_;

	return if $self->{shown}++ > 8;
	my $where = "JOIN activate.sync s ON s.id = t.sync WHERE s.name = '$name' AND t.key ->> 'id' = '$key'";
	my @tables = map { "$_: " . join "\n    ", '', split /\n/, $self->sql("SELECT t.* FROM activate.$_ t $where ORDER BY " . ($_ eq 'sent' ? '1' : 't.id')) } qw(outbox sent rejection receipt);

	diag join "\n", "$name, key $key:",
	  '  committed: ' . join(', ', map { "$_ $self->{committed}{$key}{$_}" } sort { $a <=> $b } keys %{ $self->{committed}{$key} // {} }),
	  '  now: ' . join(' ', @{ $self->{rows}{$key} // ['deleted'] }),
	  '  told:', map({ my $c = $_; "    $c->{at} $c->{status} $c->{id} $c->{seq} $c->{op} $c->{row}" } grep { ($_->{key} // '') eq $key } @{ $self->{told}{$name} // [] }),
	  map { "  $_" } @tables;
	return;
}

# The last content that a good receiver holds of each key.
sub held
{
	my ($self, $name) = @_;
	my $keys = $self->{service}->hook_state($name)->{syncs}{$name} // {};

	return { map { $keys->{$_}{key}{id} => $keys->{$_}{row} } keys %$keys };
}

# Keys of which it holds something else than what was committed last.
sub different
{
	my ($self, $name) = @_;
	my $sync = $self->{chaos}{syncs}{$name};
	my $held = $self->held($name);
	my $rows = $self->{rows};
	my @wrong;

	for my $id (sort { $a <=> $b } keys %{ { %$rows, %$held } })
	{
		my ($v, $rev) = @{ $rows->{$id} // [] };
		my $row = $held->{$id};

		next if !$rows->{$id} && (!$row || ($sync->{mode} // '') ne 'mirror');
		next if $row && $rows->{$id} && $row->{v} eq $v && ($row->{rev} // $rev) == $rev;
		push @wrong, $id;
	}
	return @wrong;
}

sub judge
{
	my ($self) = @_;
	my $chaos = $self->{chaos};
	my @names = sort keys %{ $chaos->{syncs} };
	my @state = grep { ($chaos->{syncs}{$_}{mode} // '') ne 'append' } @names;

	is(join("\n", @{ $self->{errors} }), '', 'the writers met no error but lost connections');
	is(join("\n", @{ $chaos->{injector}{errors} // [] }), '', 'and the injector none');
	is(join('', join('', map { slurp_file($_->logfile) } @{ $chaos->{nodes} }) =~ /^.*activate: sync .* is paused.*\n/mg), '', 'and no sync was paused by itself');
	ok($chaos->settle, 'settled') or return $self->stuck;
	$self->undone;
	is($self->sql('SELECT coalesce(string_agg(concat_ws(\':\', id, v, rev), \' \' ORDER BY id), \'\') FROM chaos'),
		join(' ', map { join ':', $_, @{ $self->{rows}{$_} } } sort { $a <=> $b } keys %{ $self->{rows} }), 'the model knows the table');
	$self->{told}{$_} = $self->read_log($_) for @names;
	$self->triggers_saw_everything;
	$self->sql("SELECT activate_run('$_')") for @names;
	ok($chaos->settle, 'a last run of each') or return $self->stuck;
	for my $name (@state)
	{
		my %refused = map { $_ => 1 } split /\n/, $self->sql("SELECT DISTINCT r.key ->> 'id' FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");
		$self->none($name, 'each key is there as it is, or stands in rejection', grep { !$refused{$_} } $self->different($name));
	}
	$self->{service}->control({ reject => undef });
	$self->sql("SELECT activate_retry('$_')") for @names;
	ok($chaos->settle, 'retried') or return $self->stuck;
	is($self->sql('SELECT count(*) FROM activate.rejection'), 0, 'success removes the rejections');
	$self->{told}{$_} = $self->read_log($_) for @names;
	$self->none($_, 'each key is there as it is', $self->different($_)) for @state;
	$self->nothing_undone($_) for @names;
	$self->ids($_) for @names;
	$self->order($_) for @names;
	$self->events($_) for grep { ($chaos->{syncs}{$_}{mode} // '') eq 'append' } @names;
	$self->nothing_left;
	$self->say_how_much;
	ActivateTest::Chaos::Leaks->new($chaos)->judge;
	return;
}

# What was undone is what it was before, what came later is there, and a run brings nothing back.
sub undone
{
	my ($self) = @_;
	my $undo = $self->{chaos}{injector}{undo};

	$undo->compare or push @{ $undo->{wrong} }, 'no answer';
	$self->sql("SELECT activate_run('taken')");
	delivered($self->{node}, 'taken') or push @{ $undo->{wrong} }, 'not delivered';
	$undo->compare or push @{ $undo->{wrong} }, 'no answer';
	is(join("\n", @{ $undo->{wrong} }), '', "$undo->{round} runs, $undo->{undone} of which were undone: each key is what came later, or what it was before");
	$self->sql("SELECT activate_drop('taken')");
	return;
}

sub stuck
{
	my ($self) = @_;

	diag $self->sql('SELECT * FROM activate.stat_target; SELECT * FROM activate.stat_sync; SELECT * FROM activate.outbox ORDER BY id LIMIT 30');
	return;
}

# What a run by trigger would still enqueue: nothing, unless declared anew.
sub triggers_saw_everything
{
	my ($self) = @_;

	for my $name (qw(upsert mirror flip))
	{
		my $left = $self->sql("BEGIN; SELECT activate_run('$name') AS run \\gset\nSELECT string_agg(o.key ->> 'id', ', ') FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$name'; ROLLBACK");
		$self->none($name, 'the triggers saw everything', split /, /, $left);
	}
	return;
}

# Only what was committed was ever seen.
sub nothing_undone
{
	my ($self, $name) = @_;
	my $append = ($self->{chaos}{syncs}{$name}{mode} // '') eq 'append';
	my @wrong;

	for my $change (@{ $self->{told}{$name} })
	{
		next if $change->{row} eq 'null';
		my ($key, $rev, $v) = @$change{qw(key rev v)};
		my $known = $append ? $self->{events}{"$key $rev"} || $key < 10
		  : defined $rev ? defined $self->{committed}{$key}{$rev} && $self->{committed}{$key}{$rev} eq $v
		  : scalar grep { $_ eq $v } values %{ $self->{committed}{$key} // {} };
		push @wrong, "$key $change->{row}" unless $known;
	}
	return $self->none($name, 'nothing was told that was not committed', @wrong);
}

# The same id, the same content; the same content, the same id, if it is not known whether the first was taken.
# (What was refused is no repeat.)
sub ids
{
	my ($self, $name) = @_;
	my %unknown = $self->ids_with($name, "r.outcome = 'ambiguous'");
	my (%content, %last, @other, @more, @older);

	for my $change (@{ $self->{told}{$name} })
	{
		my $content = join ' ', map { $_ // '' } @$change{qw(key op row)};
		my $before  = $last{$content};

		push @other, "$change->{key} $change->{id}" if ($content{ $change->{id} } //= $content) ne $content;
		if ($before && defined $change->{rev} && $before->{id} ne $change->{id} && $unknown{ $before->{id} })
		{
			push @more, "$content: $before->{id}, $change->{id}" unless $self->was_forgotten($before, $change);
			push @older, "$content: $before->{id} $before->{seq}, $change->{id} $change->{seq}" if $change->{seq} < $before->{seq};
		}
		$last{$content} = $change;
	}
	$self->none($name, 'one id is one message', @other);
	# contents of flip come again, a run in full sends everything again, and equal events are two
	return if $name =~ /flip|reborn|append/ || $self->{chaos}{injector}{full}{$name};
	$self->none($name, 'the same content was told under the same id', @more);
	$self->none($name, 'nor under another with a lower seq', @older);
	return;
}

# Did who sent the first message forget it before he sent the second one?
sub was_forgotten
{
	my ($self, $first, $second) = @_;

	return scalar grep { $_->[0] * 1e6 < $second->{at} && $_->[1] * 1e6 + 2e6 > $first->{at} } @{ $self->{chaos}{injector}{forgotten} };
}

# An older message after a newer one: only if nobody knew what became of it.
sub order
{
	my ($self, $name) = @_;
	my (%newest, @late);

	return if $name eq 'reborn';
	my %unknown = $self->ids_with($name, "r.outcome = 'ambiguous'");
	for my $change (@{ $self->{told}{$name} })
	{
		my $key = $change->{key} // '';

		push @late, "$key $change->{id} seq $change->{seq} after $newest{$key}{seq}"
		  if $newest{$key} && $change->{seq} < $newest{$key}{seq} && !$unknown{ $change->{id} };
		$newest{$key} = $change if $change->{seq} > ($newest{$key} ? $newest{$key}{seq} : 0);
	}
	return $self->none($name, 'no message came after a newer one of its key, unless its outcome was unknown', @late);
}

# Each committed change is one event.  What was refused for good was none; activate_retry makes another message of it.
sub events
{
	my ($self, $name) = @_;
	my %refused = $self->ids_with($name, "r.outcome = 'rejected'");
	my $accepted = $self->{service}->hook_state($name)->{ids};
	my (%taken, @wrong);

	for my $change (@{ $self->{told}{$name} })
	{
		$taken{"$change->{key} $change->{rev}"}{ $change->{id} } = 1 if $accepted->{ $change->{id} };
	}
	for my $event (sort keys %{ { %taken, %{ $self->{events} } } })
	{
		next if $event =~ /^[12] /;
		my $count = grep { !$refused{$_} } keys %{ $taken{$event} // {} };
		my $want  = $self->{events}{$event} // 0;
		push @wrong, "$event: $count instead of $want" if $count != $want;
	}
	return $self->none($name, 'each committed change is one event', @wrong);
}

sub say_how_much
{
	my ($self) = @_;
	my $done  = 0;
	my $told  = 0;
	my $stats = $self->{service}->stats;

	$done += $_ for values %{ $self->{chaos}{injector}{done} };
	$told += @$_ for values %{ $self->{told} };
	return note "$self->{transactions} transactions, $self->{unknown} of which lost their connection; $done injections; "
	  . "$told messages in $stats->{requests} requests, $stats->{faults} of which were spoilt, $stats->{duplicates} messages taken again";
}

sub nothing_left
{
	my ($self) = @_;

	is($self->sql('SELECT count(*) FROM activate.outbox'), 0, 'nothing is pending');
	is($self->sql('SELECT coalesce(sum(in_flight), 0) FROM activate.stat_target'), 0, 'nothing is in flight');
	my $now = $self->sql('SELECT clock_timestamp()');
	ok($self->{node}->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.run WHERE status = 'running' AND started_at <= '$now'"), 'no run is left');
	return;
}

1;
