# What an application holds, compared while messages are under way; and options.conflict against a model of it.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('compare', conf => "activate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'");
my $json = JSON::PP->new->canonical->allow_nonref;
my $seed = $ENV{SEED} // time;

srand $seed;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub declare
{
	my ($name, %sync) = @_;
	my $options = $json->encode({
		base_url => $crm->url,
		objects  => { $name => { path => "/objects/$name", key => 'id', columns => { id => 'bigint', a => 'text', b => 'text' }, read => { records => 'data', page => { style => 'cursor', param => 'cursor', next => 'paging.next', size_param => 'limit', size => $sync{size} } },
			write => { upsert => { path => "/objects/$name/{id}" }, delete => { path => "/objects/$name/{id}" } } } } });

	sql("SELECT activate_target('$name', 'rest', " . sql_literal($options) . ");
		CREATE TABLE $name (id int PRIMARY KEY, a text, b text);
		SELECT activate_sync('$name', '$name', '$name.$name', mode => 'mirror', capture => '$sync{capture}', options => '$sync{options}')");
	return;
}
sub held { my ($name) = @_; return { map { $_->{id} => $_ } @{ JSON::PP::decode_json($crm->objects($name)) } }; }
sub patch { my ($name, $id, %row) = @_; return $crm->call('PATCH', "/objects/$name/$id", $json->encode(\%row)); }
sub differs { my ($name) = @_; return sql("SELECT kind || ' ' || (key ->> 'id') || coalesce(' ' || column_name, '') FROM activate_compare('$name')"); }

# While the first page is under way, $sql runs in a session of its own and its messages are delivered.
sub meanwhile
{
	my ($name, $statement, $sql) = @_;
	my ($out, $err) = ('', '');

	$crm->control({ fault => 'slow', method => 'GET', path => "/objects/$name", ms => 1500, count => 1 });
	my $session = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $statement ], \undef, \$out, \$err);
	for (1 .. 3000)
	{
		last if $crm->stats->{held} > 0;
		select undef, undef, undef, 0.01;
	}
	sql($sql);
	ok(delivered($node, $name), "$name: delivered meanwhile");
	$session->finish;
	$crm->heal;
	is($err, '', "$name: no error");
	chomp $out;
	return $out;
}

declare('race', capture => 'trigger', options => '{}', size => 100);
sql("INSERT INTO race SELECT i, 'a', 'b' FROM generate_series(1, 30) i");
ok(delivered($node, 'race'), 'race: sent');
is(differs('race'), '', 'race: the application holds what was sent');
is(meanwhile('race', "SELECT kind, key, column_name FROM activate_compare('race')",
		"UPDATE race SET a = 'changed' WHERE id < 5; DELETE FROM race WHERE id = 6; INSERT INTO race VALUES (31, 'a', 'b')"),
	'', 'race: what was delivered while it was read is no change of the application');
is(differs('race'), '', 'race: nor is it afterwards');

# A trigger's messages heed what the last run has found.
declare('heeds', capture => 'trigger', size => 100, options => '{"conflict": {"a": "application"}}');
sql("INSERT INTO heeds SELECT i, 'a', 'b' FROM generate_series(1, 5) i");
ok(delivered($node, 'heeds'), 'heeds: sent');
patch('heeds', 1, a => 'theirs');
patch('heeds', 2, a => 'theirs');
sql("SELECT activate_run('heeds')");
sql("UPDATE heeds SET b = 'changed' WHERE id = 1; UPDATE heeds SET a = 'ours' WHERE id = 2");
ok(delivered($node, 'heeds'), 'heeds: changes are sent');
is_deeply([ @{ held('heeds') }{ 1, 2 } ], [ { id => 1, a => 'theirs', b => 'changed' }, { id => 2, a => 'theirs', b => 'b' } ],
	'heeds: messages of a trigger carry what the application has changed');
is(sql("SELECT string_agg(image ->> 'a', ' ' ORDER BY t.key) FROM activate.sent t JOIN activate.sync s ON s.id = sync WHERE s.name = 'heeds'"),
	'a a a a a', 'heeds: what we wrote stays what we are known to have written');
# nor does one delete what the application has changed
sql('DELETE FROM heeds WHERE id IN (1, 4)');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.rejection r JOIN activate.sync s ON s.id = sync WHERE s.name = 'heeds' AND r.code = 'conflict' AND r.op = 'delete'"),
	'heeds: the delete of a record that the application has changed is refused');
ok(delivered($node, 'heeds'), 'heeds: the other is sent');
is(join(' ', sort keys %{ held('heeds') }), '1 2 3 5', 'heeds: nothing else is deleted');
sql("SELECT activate_run('heeds')");
ok(delivered($node, 'heeds'), 'heeds: a run');
is(join(' ', sort keys %{ held('heeds') }), '1 2 3 5', 'heeds: says the same');
patch('heeds', 1, a => 'a');
sql("SELECT activate_run('heeds')");
ok(delivered($node, 'heeds'), 'heeds: a run after the change was taken back');
is(join(' ', sort keys %{ held('heeds') }), '2 3 5', 'heeds: deletes it');
# a run whose reading is overtaken by a message leaves that key alone
meanwhile('heeds', "SELECT activate_run('heeds') > 0", "UPDATE heeds SET b = 'meanwhile' WHERE id = 3");
is($json->encode(held('heeds')->{3}), '{"a":"a","b":"meanwhile","id":3}', 'heeds: a message that overtakes a run is what is held');
is(sql("SELECT activate_run('heeds') > 0; SELECT count(*) FROM activate.outbox"), "t\n0", 'heeds: the next run finds nothing to send');

# In a database restored from a dump it is known as well.
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/dump', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $node->basedir . '/dump' ], 'restored');
is($node->safe_psql('restored', 'SELECT count(*) FROM activate._kept'), sql('SELECT count(*) FROM activate._kept'), 'a dump carries what is kept');

# Both sides change at random; what is sent, what the application holds and what is listed is what a model of the three sides says.
my $name = 'model';
my $rounds = $ENV{ROUNDS} // 15;
my (%warehouse, %application, %sent, %reached);
my @values = (undef, '', 'x', 'y', 'z');

sub any { return $values[ rand @values ]; }
sub chance { return rand() < $_[0]; }
sub same { my ($x, $y) = @_; return ($x // '') eq ($y // ''); }
sub strict { my ($x, $y) = @_; return $json->encode($x) eq $json->encode($y); }
sub literal { return defined $_[0] ? "'$_[0]'" : 'NULL'; }

sub mutate
{
	my @sql;

	for my $id (grep { chance(0.3) } 1 .. 40)
	{
		if (!$warehouse{$id}) { $warehouse{$id} = { a => any(), b => any() }; }
		elsif (chance(0.1)) { delete $warehouse{$id}; }
		else { $warehouse{$id}{ chance(0.5) ? 'a' : 'b' } = any(); }
		my $row = $warehouse{$id};
		push @sql, "DELETE FROM $name WHERE id = $id";
		push @sql, "INSERT INTO $name VALUES ($id, " . literal($row->{a}) . ', ' . literal($row->{b}) . ')' if $row;
	}
	sql(join ';', @sql) if @sql;
	for my $id (grep { chance(0.3) } 1 .. 44)
	{
		if ($application{$id} && chance(0.1))
		{
			delete $application{$id};
			$crm->call('DELETE', "/objects/$name/$id");
			next;
		}
		next if !$application{$id} && chance(0.7);
		my $record = $application{$id} // { a => any(), b => any() };
		$record->{ chance(0.5) ? 'a' : 'b' } = any();
		# takes its change back
		$record->{a} = $sent{$id}{base}{a} if $sent{$id} && chance(0.3);
		$application{$id} = $record;
		$crm->call('PUT', "/objects/$name/$id", $json->encode({ id => $id, %$record }));
	}
	return;
}

sub moved
{
	my ($id, $column) = @_;
	my $value = $application{$id}{$column};

	return $sent{$id} ? !same($value, $sent{$id}{base}{$column}) : !same($value, undef);
}

sub expected
{
	my @lines;

	for my $id (1 .. 44)
	{
		my ($ours, $theirs, $sent) = ($warehouse{$id}, $application{$id}, $sent{$id});

		push @lines, "missing $id" if $sent && !$theirs;
		push @lines, "foreign $id" if $theirs && !$sent;
		next unless $sent && $theirs;
		for my $column (qw(a b))
		{
			next if !exists $sent->{base}{$column} || !moved($id, $column);
			next if $ours && same($theirs->{$column}, $ours->{$column});
			push @lines, ($ours && !same($ours->{$column}, $sent->{base}{$column}) ? 'conflict' : 'changed') . " $id $column";
		}
	}
	return join ' ', sort @lines;
}

# Column a is the application's, b the warehouse's.
sub decide
{
	my ($id) = @_;
	my ($ours, $theirs, $sent) = ($warehouse{$id}, $application{$id}, $sent{$id});

	if (!$ours)
	{
		return if !$sent;
		return $reached{guarded}++ if $theirs && moved($id, 'a');
		delete $sent{$id};
		delete $application{$id};
		return;
	}
	my $kept = $theirs && moved($id, 'a') && !same($theirs->{a}, $ours->{a});
	my (%wanted, $unsent);

	$reached{kept}++ if $kept;

	for my $column ($theirs ? qw(a b) : ())
	{
		my $is_same = same($theirs->{$column}, $ours->{$column});
		my $new = $sent && (!exists $sent->{base}{$column} || !strict($sent->{base}{$column}, $ours->{$column}));

		if ($is_same) { $sent->{base}{$column} = $ours->{$column} if $new; }
		elsif ($column ne 'a' || !$kept)
		{
			$wanted{$column} = 1;
			$unsent ||= $new;
		}
	}
	if ($sent && strict($sent->{row}, $ours)) 
	{
		return unless $unsent;
		$reached{'sent late'}++;
	}
	elsif ($sent && $kept && !%wanted)
	{
		$sent->{row} = {%$ours};
		$reached{withheld}++;
		return;
	}
	$sent = $sent{$id} //= { base => {} };
	$sent->{row} = {%$ours};
	$sent->{base}{$_} = $ours->{$_} for $kept ? 'b' : qw(a b);
	$application{$id} = { a => $kept ? $theirs->{a} : $ours->{a}, b => $ours->{b} };
	return;
}

declare($name, capture => 'diff', size => 10, options => '{"conflict": {"a": "application", "*": "warehouse"}, "max_delete_percent": 100, "min_deletes": 1000}');
diag("seed $seed");
my ($listed, $applied, $quiet) = (0, 0, 0);
for my $round (1 .. $rounds)
{
	mutate();
	my $expected = expected();
	my $found = join ' ', sort split /\n/, differs($name);
	$found eq $expected ? $listed++ : diag("round $round: listed $found, expected $expected");

	sql("SELECT activate_run('$name')");
	decide($_) for 1 .. 44;
	delivered($node, $name) or die 'not delivered';
	my %held = map { $_->{id} => { a => $_->{a}, b => $_->{b} } } values %{ held($name) };
	my @wrong = grep { !strict($held{$_}, $application{$_}) } 1 .. 44;
	@wrong ? diag("round $round: " . join ', ', map { "$_ holds " . $json->encode($held{$_}) . ', expected ' . $json->encode($application{$_}) } @wrong) : $applied++;
	last if @wrong;
	$quiet++ if sql("SELECT activate_run('$name'); SELECT count(*) FROM activate.outbox") =~ /\n0$/;
}
is($listed, $rounds, 'model: what is listed is what the model says');
is($applied, $rounds, 'model: the application holds what the model says');
is($quiet, $rounds, 'model: a second run finds nothing to send');
note($json->encode(\%reached));
ok($reached{kept}, 'model: some of it is kept as the application has it');
is(sql("SELECT count(*) FROM activate.rejection WHERE code <> 'conflict'"), 0, 'model: nothing was refused');
done_testing();
