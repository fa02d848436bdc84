# What a dump carries, for whom, in which form, and what activate_adopt() makes of it: SEMANTICS 17.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('dumped');
my $dir  = $node->basedir;
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The rows of our tables in a plain dump, by table.
sub carried
{
	my ($file) = @_;
	my $text = slurp_file($file);
	my %rows;

	$rows{$1} = join "\n", sort split /\n/, $2 while $text =~ /^COPY (activate\.\w+) \([^)]*\) FROM stdin;\n(.*?)^\\\.$/msg;
	return \%rows;
}

sub dump_as
{
	my ($role, $file, @options) = @_;

	return run_log([ 'pg_dump', '-f', "$dir/$file", @options, '-d', $node->connstr('postgres') . " user=$role" ]);
}

sql("CREATE ROLE dba LOGIN; ALTER DATABASE postgres OWNER TO dba; CREATE ROLE backup LOGIN BYPASSRLS IN ROLE pg_read_all_data;
	CREATE ROLE analyst LOGIN; GRANT ALL ON SCHEMA public TO analyst;
	SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook/dump\", \"mapping_for\": \"public\"}');
	GRANT USAGE ON FOREIGN SERVER hook TO analyst; GRANT USAGE ON SCHEMA hook TO analyst; GRANT INSERT ON hook.change TO analyst;
	SET ROLE analyst;
	CREATE TABLE thing (id int PRIMARY KEY, v text); INSERT INTO thing SELECT i, 'v' || i FROM generate_series(1, 5) i;
	CREATE TABLE event (id int, v text);
	SELECT activate_sync('things', 'thing', 'hook.change', capture => 'trigger', mode => 'mirror');
	SELECT activate_sync('events', 'event', 'hook.change', capture => 'trigger', mode => 'append');
	SELECT activate_sync('mine', 'SELECT 1 AS id', 'hook.change', key => 'id');
	SELECT activate_run('things');
	SELECT activate_expect('thing', 'worded', 'matches(v, ''^[vwm]'')', 'quarantine'), activate_expect('thing', 'ids', 'unique', options => '{\"columns\": [\"id\"]}')");
ok(delivered($node, 'things'), 'delivered');
sql("SELECT activate_pause('things'); UPDATE thing SET v = 'waits' WHERE id = 1");

subtest 'who may dump' => sub {
	ok(dump_as('postgres', 'all.sql'), 'a superuser');
	my $all = carried("$dir/all.sql");
	is(join(' ', sort keys %$all), 'activate._expectation activate._gate activate._identity activate._kept activate._outbox activate._paused_target activate._retry activate._seen activate._sent '
		. 'activate._tick activate._watch activate._watermark activate.connector activate.drift activate.file activate.rejection activate.sync', 'carries what is not history');
	is(scalar(split /\n/, $all->{'activate._sent'}), 5, 'the rows of everybody');

	my ($out, $err) = run_command([ 'pg_dump', '-f', "$dir/half.sql", '-d', $node->connstr('postgres') . ' user=dba' ]);
	like($err, qr/row-level security|permission denied/, 'the owner of the database is told that rows are hidden');
	ok(!dump_as('dba', 'half.sql'), 'and gets no dump that lacks them');

	ok(dump_as('backup', 'backup.sql', '--no-owner'), 'BYPASSRLS and pg_read_all_data');
	is_deeply(carried("$dir/backup.sql"), $all, 'carry the same rows');
};

# The original sends what waits while copies of it are made: they must not.
sql("SELECT activate_resume('things')");
ok(delivered($node, 'things'), 'the original has gone on');
my $before = scalar @{ $crm->log('/hook/dump') };
my $seq    = sql("SELECT max(seq) FROM activate.sent");

sub restored
{
	my ($name, @files) = @_;
	my $copy = activate_node($name, extension => 0);

	$copy->safe_psql('postgres', 'CREATE ROLE dba LOGIN; CREATE ROLE backup LOGIN; CREATE ROLE analyst LOGIN');
	$copy->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/$_", '-d', $copy->connstr('postgres') ], "$name: $_") for @files;
	return $copy;
}

my $state = "SELECT (SELECT count(*) FROM activate.sent) || ' ' || (SELECT count(*) FROM activate.outbox) || ' ' || (SELECT string_agg(name || owner, ' ' ORDER BY id) FROM activate.sync)
	|| ' ' || (SELECT count(*) FROM pg_trigger WHERE tgname ~ '^activate' AND tgenabled = 'A')";

subtest 'schema and data apart' => sub {
	ok(dump_as('postgres', 'schema.sql', '--schema-only'), 'the schema');
	ok(dump_as('postgres', 'data.sql', '--data-only'), 'the data');
	my $copy = restored('apart', 'schema.sql');
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM activate.sync'), 0, 'a schema alone declares nothing');
	$copy->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/data.sql", '-d', $copy->connstr('postgres') ], 'the data later');
	is($copy->safe_psql('postgres', 'SELECT count(*) FROM thing') . ' ' . $copy->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY id) FROM activate.sync"),
		'5 things events mine', 'is all there');
	is($copy->safe_psql('postgres', 'SELECT activate._installation()'), 'copy', 'and a copy');
	$copy->stop('fast');
};

subtest 'adopted' => sub {
	my $copy = restored('adopted', 'all.sql');
	is($copy->safe_psql('postgres', $state), '5 1 thingsanalyst eventsanalyst mineanalyst 4', 'owners by name, triggers as they were');

	# an event cannot be rendered before it is known what the query means here
	$copy->safe_psql('postgres', "INSERT INTO event VALUES (1, 'in the copy')");
	like($copy->safe_psql('postgres', "SELECT pause_reason FROM activate.sync WHERE name = 'events'"), qr/waits for activate_adopt/, 'events wait');
	$copy->safe_psql('postgres', 'CREATE TABLE dropped (); DROP TABLE dropped');

	my ($code, $out, $err) = $copy->psql('postgres', 'SET ROLE dba; SELECT activate_adopt()');
	like($err, qr/permission denied to adopt.*HINT:.*superuser/s, 'only a superuser adopts');
	($code, $out, $err) = $copy->psql('postgres', 'BEGIN; SELECT activate_adopt(); ROLLBACK');
	is($copy->safe_psql('postgres', 'SELECT activate._installation()'), 'copy', 'in a transaction as anything else');
	is(scalar @{ $crm->log('/hook/dump') }, $before, 'so far nothing was sent');

	# as in a database of another encoding, where a key has other bytes
	my $digests = "SELECT count(*) || ' of ' || count(*) FILTER (WHERE digest = activate._key_digest(key)) FROM activate._sent";
	is($copy->safe_psql('postgres', $digests), '5 of 5', 'keys are found by what the dump brought');
	$copy->safe_psql('postgres', 'UPDATE activate._sent SET digest = gen_random_uuid()');
	is($copy->safe_psql('postgres', $digests), '5 of 0', 'unless they are written otherwise');

	($code, $out, $err) = $copy->psql('postgres', 'SELECT activate_adopt()');
	is($copy->safe_psql('postgres', $digests), '5 of 5', 'which adopting makes good');
	like($err, qr/NOTICE:.*the one that sends from now on: 3 syncs, 1 pending/, 'it says what it did');
	is($copy->safe_psql('postgres', "SELECT string_agg(name || paused, ' ' ORDER BY id) FROM activate.sync WHERE NOT implicit"),
		'thingstrue eventsfalse minefalse', 'what the copy paused goes on, what an operator paused does not');
	($code, $out, $err) = $copy->psql('postgres', 'SELECT activate_adopt()');
	like($err, qr/NOTICE:.*this database is no copy/, 'once is enough');

	# by what it means here: the table has another oid here
	is($copy->safe_psql('postgres', "BEGIN; INSERT INTO thing VALUES (9, 'bad');
		SELECT string_agg(concat_ws(' ', expectation, on_fail, state, failed), ', ') FROM activate_check('public.thing'); ROLLBACK"),
		'ids hold ok 0, worded quarantine failed 1', 'what is expected is known, and checked');
	my $expects = q{SELECT string_agg(line, E'\n') FROM activate_export() line WHERE line ~ 'activate_expect'};
	is($copy->safe_psql('postgres', $expects), sql($expects), 'and exported as in the original');
	my $script = $copy->safe_psql('postgres', $expects);
	$copy->safe_psql('postgres', "SELECT activate_expect_drop('public.thing', name) FROM activate.expectation");
	$copy->safe_psql('postgres', $script);
	is($copy->safe_psql('postgres', $expects), $script, 'the script that is exported declares the same again');

	# the original may have sent it meanwhile, and has
	$copy->safe_psql('postgres', "SELECT activate_resume('things')");
	ok(delivered($copy, 'things'), 'what waited is sent');
	is($copy->safe_psql('postgres', "SELECT string_agg(outcome, ' ' ORDER BY id) FROM activate.receipt"), 'ambiguous delivered', 'perhaps for the second time');
	cmp_ok($copy->safe_psql('postgres', "SELECT min(seq) FROM activate.sent WHERE key = '{\"id\": 1}'"), '>', $seq,
		'under a number above those that the original gave: a receiver that drops old ones takes it');
	my @ids = map { $_->{headers}{'idempotency-key'} // $_->{headers}{'Idempotency-Key'} } grep { $_->{body} =~ /"waits"/ } @{ $crm->log('/hook/dump') };
	is(scalar @ids, 2, 'it came twice');
	is($ids[0], $ids[1], 'with the same id');

	# ids go on where the original's ended, those of runs as well: activate.sent names them
	cmp_ok($copy->safe_psql('postgres', "BEGIN; SELECT activate_run('things'); ROLLBACK"), '>', sql('SELECT max(run) FROM activate.sent'), 'no run has the number of one before');
	$copy->safe_psql('postgres', "INSERT INTO event VALUES (2, 'new')");
	ok(delivered($copy, 'events'), 'events are captured again');
	is($copy->safe_psql('postgres', "SELECT activate_sync('more', 'SELECT 1 AS id', 'hook.change', key => 'id') > (SELECT max(id) FROM activate.sync WHERE name <> 'more')"),
		't', 'ids go on');
	$copy->stop('fast');
};

$node->stop('fast');
done_testing();
