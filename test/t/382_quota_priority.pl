# A backfill, a run, a change: who goes first when calls are few.  Judged by the order in which the service got them.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('priority', conf => "activate.http_timeout = '60s'\nactivate.connections = 1");
my $now  = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The keys of the calls, in order.
sub keys_of
{
	my ($path) = @_;

	return map { JSON::PP::decode_json($_->{body})->{key}{id} } @{ $crm->log($path) };
}

# What is left is what no call of that class may use.
sub rests
{
	my ($target, $left) = @_;

	return $node->poll_query_until('postgres', "SELECT quota = $left AND in_flight = 0 FROM activate.stat_target WHERE name = '$target'");
}

sub hour_passes
{
	$now += 3600 + 226;
	return sql("ALTER SYSTEM SET activate.clock_offset = $now; SELECT pg_reload_conf()");
}

sub declare
{
	my ($name, $calls, $rows) = @_;
	my $url = $crm->url("/hook/$name");

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\", \"rate\": [{\"calls\": $calls, \"per\": \"1 hour\"}]}');
		CREATE TABLE $name (id bigint PRIMARY KEY, v text); INSERT INTO $name SELECT i, 'a' FROM generate_series(1, $rows) i;
		SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
	return;
}

sub pending_is { return $node->poll_query_until('postgres', "SELECT count(*) = $_[1] FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$_[0]'"); }

# A row of "large" that has not been sent yet.
sub unsent
{
	my $but = join ',', 0, keys_of('/hook/large');

	return sql("SELECT id FROM large WHERE id NOT IN ($but) ORDER BY id OFFSET " . ($_[0] // 0) . ' LIMIT 1');
}

subtest 'a change is not behind a backfill' => sub {
	# more than a deliverer takes into memory
	declare('large', 20, 10000);
	sql("SELECT activate_run('large')");
	ok(rests('large', 4), 'a backfill uses four fifths of the calls');
	is($crm->calls('/hook/large', 16), 16, 'and no more');
	my $late = unsent();
	sql("UPDATE large SET v = 'b' WHERE id = $late");
	ok(rests('large', 3), 'a change has one of the others at once');
	is($crm->calls('/hook/large', 17), 17, 'only one');
	is((keys_of('/hook/large'))[-1], $late, 'it is one that was to be sent later');
	hour_passes();
	ok(rests('large', 4), 'the backfill goes on');
	sql("INSERT INTO large VALUES (10001, 'c')");
	ok(rests('large', 3), 'a row that it does not know');
	($late, my $gone) = (unsent(), unsent(1));
	sql("BEGIN; DELETE FROM large WHERE id = $gone; UPDATE large SET v = 'd' WHERE id = $late; COMMIT");
	ok(rests('large', 2), 'what has come and gone costs nothing, what was changed a call');
	is($crm->calls('/hook/large', 35), 35, 'in all');
	is_deeply([ (keys_of('/hook/large'))[-2, -1] ], [ 10001, $late ], 'in order');
	cmp_ok(pending($node, 'large'), '>', 9900, 'the backfill is not at its end');
	sql("ALTER SERVER large OPTIONS (DROP rate)");
	ok(delivered($node, 'large'), 'without a rate it comes to its end');
	my %times;
	$times{$_}++ for keys_of('/hook/large');
	is(scalar(keys %times), 10000, 'all rows have been sent, but the one that went');
	is_deeply([ grep { $times{$_} > 1 } keys %times ], [], 'none of them twice');
	same_rows($node, $crm->hook_rows('large', 'large'), 'TABLE large', 'as they are');
	is($crm->stats->{seq_regressions}, 0, 'and no key went backwards');
};

subtest 'a run is before a backfill, a change before both; a sync may say otherwise' => sub {
	my $url = $crm->url('/hook/shared');

	sql("SELECT activate_target('shared', 'webhook', '{\"url\": \"$url\", \"rate\": [{\"calls\": 20, \"per\": \"1 hour\"}]}')");
	for my $sync ([ 'backfill', '' ], [ 'run', '' ], [ 'change', '' ], [ 'slow', '"priority": "backfill"' ], [ 'fast', '"priority": "interactive"' ])
	{
		my ($name, $options) = @$sync;
		sql("CREATE TABLE $name (id bigint PRIMARY KEY, v text);
			SELECT activate_sync('$name', '$name', 'shared.change', capture => '" . ($name =~ /change|slow/ ? 'trigger' : 'diff') . "', options => '{$options}')");
	}
	# the first run of "run" is over, so the next is an ordinary one
	sql("SELECT activate_run('run')");
	sql("INSERT INTO backfill SELECT i FROM generate_series(1000, 1099) i; INSERT INTO run SELECT i FROM generate_series(2000, 2009) i");
	sql("SELECT activate_run('backfill')");
	ok(rests('shared', 4), 'a backfill');
	sql("SELECT activate_run('run')");
	ok(rests('shared', 1), 'a run uses all but one');
	sql("INSERT INTO slow VALUES (4000)");
	ok(pending_is('slow', 1), 'what is declared to be in no hurry');
	sql("INSERT INTO change SELECT i FROM generate_series(3000, 3002) i");
	ok(rests('shared', 0), 'a change uses the last');
	is($crm->calls('/hook/shared', 20), 20, 'all have come');
	is_deeply([ map { int($_ / 1000) } keys_of('/hook/shared') ], [ (1) x 16, (2) x 3, 3 ], 'so they came');

	sql("INSERT INTO fast VALUES (5000); SELECT activate_run('fast')");
	ok(pending_is('fast', 1), 'what is declared to be urgent waits only for calls');
	hour_passes();
	ok(rests('shared', 4), 'an hour later');
	is($crm->calls('/hook/shared', 36), 36, 'again');
	my @later = map { int($_ / 1000) } (keys_of('/hook/shared'))[20 .. 35];
	is_deeply([ sort @later[0 .. 2] ], [ 3, 3, 5 ], 'what is urgent is first, of all syncs');
	is_deeply([ @later[3 .. 9] ], [ (2) x 7 ], 'then the run');
	is_deeply([ sort @later[10 .. 15] ], [ (1) x 5, 4 ], 'then the rest, in turn');
	sql("SELECT activate_drop(n) FROM unnest('{backfill,run,change,slow,fast}'::text[]) n");
};

subtest 'full, and what is sent once more' => sub {
	declare('again', 20, 0);
	sql("ALTER SERVER again OPTIONS (DROP rate)");
	sql("INSERT INTO again SELECT i FROM generate_series(1, 100) i");
	ok(delivered($node, 'again'), 'all is known');
	sql("SELECT activate_run('again')");
	ok(delivered($node, 'again'), 'also to a run');
	sql("ALTER SERVER again OPTIONS (ADD rate '[{\"calls\": 20, \"per\": \"1 hour\"}]')");
	sql("SELECT activate_run('again', full => true)");
	ok(rests('again', 4), 'full is a backfill');
	sql("UPDATE again SET v = 'x' WHERE id = 100");
	ok(rests('again', 3), 'a change of a row of it');
	is($crm->calls('/hook/again', 117), 117, 'all have come');
	is((keys_of('/hook/again'))[-1], 100, 'goes before the others');
	hour_passes();
	ok(rests('again', 4), 'it goes on');
	sql("UPDATE again SET v = 'y' WHERE id = 99; SELECT activate_pause('again')");
	sql("SELECT activate_resume('again')");
	ok(rests('again', 3), 'also when all is read anew');
	sql("ALTER SERVER again OPTIONS (DROP rate)");
	ok(delivered($node, 'again'), 'to the end');
	same_rows($node, $crm->hook_rows('again', 'again'), 'TABLE again', 'all rows are as they are');
};

subtest 'a call that goes anyway takes along what waits' => sub {
	my $url = $crm->url('/hook/bulk');

	sql("SELECT activate_target('bulk', 'webhook', '{\"url\": \"$url\", \"batch\": 10, \"rate\": [{\"calls\": 5, \"per\": \"1 hour\"}]}');
		CREATE TABLE bulk (id bigint PRIMARY KEY, v text); INSERT INTO bulk SELECT i FROM generate_series(1, 100) i;
		SELECT activate_sync('bulk', 'bulk', 'bulk.change', capture => 'trigger'), activate_run('bulk')");
	ok(rests('bulk', 1), 'a backfill in batches');
	sql("UPDATE bulk SET v = 'x' WHERE id = 100");
	ok(rests('bulk', 0), 'a change');
	is($crm->calls('/hook/bulk', 5), 5, 'all have come');
	my @last = map { $_->{key}{id} } @{ JSON::PP::decode_json($crm->log('/hook/bulk')->[-1]{body})->{changes} };
	is(scalar @last, 10, 'its call is full');
	is($last[0], 100, 'it comes first');
};
subtest 'also where each operation has calls of its own' => sub {
	my $url = $crm->url;

	sql("SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"rate\": [{\"calls\": 5, \"per\": \"1 hour\"}], \"objects\": {\"contacts\": {\"key\": \"id\",
			\"columns\": {\"id\": \"bigint\", \"v\": \"text\"}, \"write\": {
				\"upsert\": {\"path\": \"/objects/contacts/batch/upsert\", \"batch\": 10}, \"delete\": {\"path\": \"/objects/contacts/batch/delete\", \"batch\": 10}}}}}');
		CREATE TABLE contacts (id bigint PRIMARY KEY, v text); INSERT INTO contacts SELECT i FROM generate_series(1, 3000) i;
		SELECT activate_sync('contacts', 'contacts', 'crm.contacts', mode => 'mirror', capture => 'trigger'), activate_run('contacts')");
	ok(rests('crm', 1), 'a backfill in batches');
	my $known = "SELECT (s.key ->> 'id')::bigint FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = 'contacts'";
	ok($node->poll_query_until('postgres', "SELECT count(*) = 40 FROM ($known) k"), 'is known to have arrived');
	sql("DELETE FROM contacts WHERE id = ($known LIMIT 1)");
	ok(rests('crm', 0), 'a delete');
	is($crm->calls('/objects/contacts', 5), 5, 'goes');
	is($crm->log('/objects/contacts')->[-1]{path}, '/objects/contacts/batch/delete', 'though its call is not full, and there is more of the other operation');
};
$node->stop('fast');

done_testing();
