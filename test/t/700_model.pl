# Random operations against a model of SEMANTICS 1 that is a few lines long: whatever happens to rows, transactions,
# declarations, targets and the server, in the end each target holds what its mode says.
# The operations are those of MODEL_SEED, the same each time unless another is given; their timing never is.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use Test::More;

my $seed = $ENV{MODEL_SEED} // 1;
my $operations = 300;
srand $seed;
note "MODEL_SEED=$seed";
END { diag "MODEL_SEED=$seed" unless Test::More->builder->is_passing }

my $crm  = ActivateTest::Service->new(log => 1_000_000);
my $node = activate_node('model',
	conf => "activate.max_attempts = 1000\nactivate.http_timeout = '700ms'\nactivate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'");
my $session;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# One session for all of it, so that three hundred operations take seconds.
sub does
{
	unless ($session)
	{
		$session = $node->background_psql('postgres');
		$session->query_safe('SET client_min_messages = error');
	}
	return $session->query_safe($_[0]);
}

sub pick { return $_[ int rand @_ ]; }

# Deletes of all but everything are allowed; two rows are never touched, so that there is never "everything".
my %options = (
	mirror => '"min_deletes": 1000000', replace => '"min_deletes": 1000000');
my @syncs = map { my ($mode, $capture) = split / /; { name => "${mode}_$capture", mode => $mode, capture => $capture, map => 0 } }
	('upsert trigger', 'upsert diff', 'upsert full', 'upsert cursor', 'insert trigger', 'insert diff', 'update trigger', 'update diff',
	'mirror trigger', 'mirror diff', 'mirror full', 'append trigger', 'append diff', 'append cursor', 'replace trigger', 'replace diff');
my @maps = ('v', 'upper(v)');

# The model: rows as committed; every value a key ever had; events, per map, in order.
my %rows;
my (%history, @events);
my $rev = 0;

sub mapped { my ($map, $v) = @_; return $map ? uc $v : $v; }

sub declare
{
	my ($sync) = @_;
	my @options = ($options{ $sync->{mode} } // (), $sync->{capture} eq 'cursor' ? '"cursor": "rev"' : ());

	return "SELECT activate_sync('$sync->{name}', 'model', '$sync->{name}.change', mode => '$sync->{mode}', capture => '$sync->{capture}',
		map => '{\"id\": \"id\", \"v\": \"$maps[ $sync->{map} ]\", \"rev\": \"rev\"}', options => '{" . join(', ', @options) . "}')";
}

sql('CREATE TABLE model (id int PRIMARY KEY, v text, rev bigint)');
for my $sync (@syncs)
{
	my $batch = $sync->{mode} eq 'append' ? 1 : pick(1, 3, 50);

	sql("DO \$\$ BEGIN PERFORM activate_target('$sync->{name}', 'webhook', '{\"url\": \"" . $crm->url("/hook/$sync->{name}") . "\", \"batch\": $batch}'); END \$\$;"
		. declare($sync));
}

# A change of the rows %$state: its statement, and what it does to them. Events are pushed to @$events.
sub change
{
	my ($state, $events) = @_;
	my @there = sort { $a <=> $b } grep { $_ < 100 } keys %$state;
	my @free  = grep { !exists $state->{$_} } 1 .. 12;
	my $what  = pick(qw(insert insert update update update rekey delete all same));
	my $v     = pick('bad', map { "v$_" } 1 .. 4);
	my $set   = sub {
		my ($id) = @_;

		$rev++;
		$state->{$id} = [ $v, $rev ];
		push @$events, [ $id, $v, $rev ];
	};

	$what = 'insert' unless @there;
	if ($what eq 'insert' && @free)
	{
		my $id = pick(@free);
		$set->($id);
		return "INSERT INTO model VALUES ($id, '$v', $rev)";
	}
	if ($what eq 'delete')
	{
		my $id = pick(@there);
		delete $state->{$id};
		return "DELETE FROM model WHERE id = $id";
	}
	if ($what eq 'rekey' && @free)
	{
		my ($id, $new) = (pick(@there), pick(@free));
		delete $state->{$id};
		$set->($new);
		return "UPDATE model SET id = $new, v = '$v', rev = $rev WHERE id = $id";
	}
	if ($what eq 'all')
	{
		# one statement, each row with a number of its own
		my $values = join ', ', map { $set->($_); "($_, $rev)" } @there;
		return "UPDATE model m SET v = '$v', rev = n.rev FROM (VALUES $values) n(id, rev) WHERE m.id = n.id";
	}
	if ($what eq 'same')
	{
		my $id = pick(@there);
		push @$events, [ $id, @{ $state->{$id} } ];
		return "UPDATE model SET v = v WHERE id = $id";
	}
	my $id = pick(@there);
	$set->($id);
	return "UPDATE model SET v = '$v', rev = $rev WHERE id = $id";
}

sub committed
{
	my ($state, $events) = @_;

	%rows = %$state;
	for my $event (@$events)
	{
		$history{ $event->[0] }{ $event->[1] } = 1;
		# what the trigger of append renders, it renders now
		push @events, [ @$event[ 0, 2 ], mapped((grep { $_->{name} eq 'append_trigger' } @syncs)[0]{map}, $event->[1]) ];
	}
	return;
}

# A transaction: changes, savepoints and ways back, and an end.
sub transaction
{
	my ($state, @new, @savepoints) = ({%rows});
	my @script = ('BEGIN');

	for (1 .. 2 + int rand 6)
	{
		my $what = rand;

		if ($what < 0.2)
		{
			push @savepoints, [ {%$state}, scalar @new ];
			push @script, 'SAVEPOINT s' . @savepoints;
		}
		elsif ($what < 0.35 && @savepoints)
		{
			# back to any of them: it stays, the later ones go
			my $n = 1 + int rand @savepoints;
			push @script, "ROLLBACK TO s$n";
			$#savepoints = $n - 1;
			$state = { %{ $savepoints[-1][0] } };
			$#new = $savepoints[-1][1] - 1;
		}
		elsif ($what < 0.4 && @savepoints)
		{
			push @script, 'RELEASE s' . @savepoints;
			pop @savepoints;
		}
		else
		{
			push @script, change($state, \@new);
		}
	}
	my $end = pick('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK', "PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'", "PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'");
	does("$_;") for @script, split(/; /, $end);
	committed($state, \@new) if $end =~ /COMMIT/;
	return;
}

sub restart
{
	my ($how) = @_;

	$session->quit if $session && $how ne 'immediate';
	undef $session;
	$node->stop($how);
	$node->start;
	return $node->poll_query_until('postgres', 'SELECT true');
}

sub operation
{
	my $sync = pick(@syncs);
	my $what = rand;

	if ($what < 0.45)
	{
		my ($state, @new) = ({%rows});
		does(change($state, \@new) . ';');
		committed($state, \@new);
	}
	elsif ($what < 0.65) { transaction(); }
	elsif ($what < 0.80)
	{
		my $full = rand() < 0.25;
		does("SELECT activate_run('$sync->{name}', full => " . ($full ? 'true' : 'false') . ');');
		$sync->{remapped} = 0;
		push @events, map { [ $_, $rows{$_}[1], mapped($sync->{map}, $rows{$_}[0]) ] } keys %rows if $full && $sync->{name} eq 'append_trigger';
	}
	elsif ($what < 0.84) { does("SELECT activate_pause('" . pick('', 'target:') . "$sync->{name}');"); }
	elsif ($what < 0.88) { does("SELECT activate_resume('$sync->{name}'); SELECT activate_resume('target:$sync->{name}');"); }
	elsif ($what < 0.92)
	{
		$sync->{map}      = 1 - $sync->{map};
		$sync->{remapped} = $sync->{mode} ne 'append';
		does(declare($sync) . ';');
	}
	elsif ($what < 0.97)
	{
		my $fault = pick(qw(status status reset half close hang garbage));
		$crm->control({ fault => $fault, path => pick('/hook', "/hook/$sync->{name}"), count => 1 + int rand 4, $fault eq 'status' ? (status => pick(503, 500, 429, 408)) : () });
	}
	else { $crm->heal; }
	return;
}

# Everything goes on, and all there is to do is done.
sub settle
{
	$crm->heal;
	does(join ' ', map { "SELECT activate_resume('$_->{name}'); SELECT activate_resume('target:$_->{name}');" } @syncs);
	return delivered($node);
}

# The last row that the receiver took of each key; undef: deleted.
sub received
{
	my ($sync) = @_;
	my $keys = $crm->hook_state($sync->{name})->{syncs}{ $sync->{name} } // {};

	return { map { $keys->{$_}{key}{id} => $keys->{$_}{row} } keys %$keys };
}

# The events that the receiver took of an append sync, repeats left out: [id, rev, v], in the order of their numbers.
# What it refused once it never took: a fault before that was no taking either, and a retry is a message of its own.
sub events
{
	my ($sync) = @_;
	my (%by_id, %refused);

	for my $request (@{ $crm->log("/hook/$sync->{name}") })
	{
		my $change = JSON::PP::decode_json($request->{body});
		$by_id{ $change->{id} } = $change;
		$refused{ $change->{id} } = 1 if $request->{status} == 422;
	}
	delete @by_id{ keys %refused };
	return map { [ @{ $_->{row} }{qw(id rev v)} ] } sort { $a->{seq} <=> $b->{seq} } values %by_id;
}

sub text { return join ', ', map { defined $_->[0] ? join ':', @$_ : () } @_; }

$crm->control({ reject => { field => 'v', equals => 'bad', status => 422, error => 'bad' } });
{
	my ($state, @new) = ({});
	for my $id (100, 101)
	{
		$rev++;
		$state->{$id} = [ 'stays', $rev ];
		push @new, [ $id, 'stays', $rev ];
		does("INSERT INTO model VALUES ($id, 'stays', $rev);");
	}
	committed($state, \@new);
	does(join ' ', map { "SELECT activate_run('$_->{name}');" } @syncs);
}
for my $i (1 .. $operations)
{
	operation();
	restart($i == 200 ? 'immediate' : 'fast') if $i % 100 == 0 && $i < $operations;
}
ok(settle(), 'settled');
is(sql("SELECT string_agg(id || ':' || v || ':' || rev, ', ' ORDER BY id) FROM model"),
	text(map { [ $_, @{ $rows{$_} } ] } sort { $a <=> $b } keys %rows), 'the model knows the table') or BAIL_OUT('the model is wrong');

# by trigger nothing is left for a run to find, but what another map makes of it
for my $sync (grep { $_->{capture} eq 'trigger' && $_->{mode} ne 'replace' && !$_->{remapped} } @syncs)
{
	is(sql("BEGIN; SELECT activate_run('$sync->{name}') AS run \\gset\nSELECT rows_inserted + rows_updated + rows_deleted FROM activate.run WHERE id = :run; ROLLBACK"), 0,
		"$sync->{name}: the triggers saw everything");
}
does(join ' ', map { "SELECT activate_run('$_->{name}');" } @syncs);
ok(settle(), 'a last run of each');

# a rejection is about a row as it is; a cursor does not see what is gone
for my $sync (grep { $_->{mode} ne 'append' } @syncs)
{
	my %refused = map { $_ => 1 } split /\n/, sql("SELECT r.key ->> 'id' FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync->{name}'");
	my @bad = grep { mapped($sync->{map}, $rows{$_}[0]) eq 'bad' } sort { $a <=> $b } keys %rows;

	is(join(' ', grep { exists $rows{$_} ? mapped($sync->{map}, $rows{$_}[0]) ne 'bad' : $sync->{capture} ne 'cursor' } sort keys %refused), '', "$sync->{name}: no rejection is out of date");
	is(join(' ', grep { !$refused{$_} } @bad), '', "$sync->{name}: what is refused stands there") unless $sync->{mode} eq 'insert';
}
$crm->control({ reject => undef });
does(join ' ', map { "SELECT activate_retry('$_->{name}');" } @syncs);
ok(settle(), 'retried');
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'success removes the rejections');

for my $sync (grep { $_->{mode} ne 'append' } @syncs)
{
	my $got  = received($sync);
	my $want = sub { return [ $_[0], $rows{ $_[0] }[1], mapped($sync->{map}, $rows{ $_[0] }[0]) ]; };
	my $is   = sub { my ($id) = @_; return defined $got->{$id} ? [ @{ $got->{$id} }{qw(id rev v)} ] : [ $id, 'none', 'none' ]; };
	my @ids  = sort { $a <=> $b } keys %rows;

	if ($sync->{mode} eq 'insert')
	{
		is(text(map { [$_] } grep { !defined $got->{$_} || !$history{$_}{ lc $got->{$_}{v} } } @ids), '', "$sync->{name}: each row is there, as it once was");
	}
	else
	{
		is(text(map { $is->($_) } @ids), text(map { $want->($_) } @ids), "$sync->{name}: each row is there, as it is");
	}
	my @more = grep { defined $got->{$_} && !exists $rows{$_} } sort { $a <=> $b } keys %$got;
	@more = grep { !$history{$_}{ lc $got->{$_}{v} } } @more unless $sync->{mode} =~ /mirror|replace/;
	is(text(map { $is->($_) } @more), '', "$sync->{name}: and nothing else");
}

# every change is an event once, none that was rolled back is one
my ($append) = grep { $_->{name} eq 'append_trigger' } @syncs;
my %by_key;
push @{ $by_key{ $_->[0] }[0] }, [ @$_[ 1, 2 ] ] for events($append);
push @{ $by_key{ $_->[0] }[1] }, [ @$_[ 1, 2 ] ] for @events;
for my $id (sort { $a <=> $b } keys %by_key)
{
	# what was refused and retried comes late
	my ($got, $want) = map { my $list = $_; (grep { $_->[1] eq 'bad' } map { @{ $_ // [] } } @{ $by_key{$id} }) ? [ sort { "@$a" cmp "@$b" } @{ $list // [] } ] : $list // [] } @{ $by_key{$id} }[ 0, 1 ];
	is(text(@$got), text(@$want), "append_trigger: the events of key $id");
}
for my $sync (grep { $_->{name} =~ /^append_(diff|cursor)$/ } @syncs)
{
	my (%count, %last);

	for my $event (events($sync))
	{
		my ($id, $rev, $v) = @$event;
		$count{ $sync->{capture} eq 'diff' ? $id : "$id $rev" }++;
		$last{$id}{$rev} = 1;
	}
	is(join(', ', grep { !exists $last{$_} || ($sync->{capture} eq 'cursor' && !$last{$_}{ $rows{$_}[1] }) } sort { $a <=> $b } keys %rows), '', "$sync->{name}: every row there is has been told");
}
# a request whose outcome was unknown may have been on its way for long
my (%newest, %late);
for my $request (@{ $crm->log('/hook') })
{
	my $body = JSON::PP::decode_json($request->{body});

	for my $change (@{ $body->{changes} // [$body] })
	{
		my $newest = \$newest{"$change->{sync} " . JSON::PP->new->canonical->encode($change->{key})};
		$late{ $change->{id} } = 1 if $change->{seq} < ($$newest // 0);
		$$newest = $change->{seq} if $change->{seq} > ($$newest // 0);
	}
}
my %unknown = map { $_ => 1 } split /\n/, sql("SELECT DISTINCT idempotency_key FROM activate.receipt WHERE outcome = 'ambiguous'");
is(join(' ', grep { !$unknown{$_} } sort keys %late), '', 'no message came after a newer one of its key, unless its outcome was unknown');

$session->quit if $session;
$node->stop('fast');
done_testing();
