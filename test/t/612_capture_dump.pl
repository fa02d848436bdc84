# A database that was restored from a dump captures as the first one did: on every partition, those that come later too;
# nothing that is written before activate_adopt() is lost, in append mode either.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('dumped');
my $dump = $node->basedir . '/dump.sql';
my $url  = $crm->url('/hook/dump');

my $triggers = q{SELECT string_agg(format('%s %s %s', t.tgrelid::regclass, t.tgname, t.tgenabled), E'\n' ORDER BY t.tgrelid::regclass::text, t.tgname)
	FROM pg_trigger t WHERE t.tgname LIKE 'activate%'};
my $intents = q{SELECT string_agg(concat_ws(' ', s.name, o.op, o.key, o.body IS NULL), E'\n' ORDER BY o.id)
	FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync};

$node->safe_psql('postgres', "SELECT activate_target('dump', 'webhook', '{\"url\": \"$url\"}');
	CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
	CREATE TABLE parted_11 PARTITION OF parted_1 FOR VALUES FROM (0) TO (50);
	CREATE TABLE event (number int PRIMARY KEY, v text);
	CREATE TABLE line (v text);
	SELECT activate_sync('parted', 'parted', 'dump.change', mode => 'mirror', capture => 'trigger');
	SELECT activate_sync('event', 'event', 'dump.change', mode => 'append', capture => 'trigger', map => '{\"v\": \"upper(v)\"}');
	SELECT activate_sync('line', 'line', 'dump.change', mode => 'append', capture => 'trigger');
	INSERT INTO parted VALUES (1, 'a'); INSERT INTO event VALUES (1, 'a'); INSERT INTO line VALUES ('a')");
ok(delivered($node), 'delivered');
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');

my $other = activate_node('other', extension => 0);
sub sql { return $other->safe_psql('postgres', $_[0]); }
sql('CREATE TABLE first (id int)');	# so that nothing gets the number it had
$other->command_ok([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $other->connstr('postgres'), '-f', $dump ], 'restored');
is(sql($triggers), $node->safe_psql('postgres', $triggers), 'the same triggers, always enabled');
is(sql("SELECT count(*) FROM pg_event_trigger WHERE evtname = 'activate_on_partition' AND evtenabled = 'A'"), 1, 'and the event trigger');

sql('CREATE TABLE parted_12 PARTITION OF parted_1 FOR VALUES FROM (50) TO (100)');
is(sql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'parted_12'::regclass"), 2, 'a new partition has its own');
sql("INSERT INTO parted VALUES (60, 'b'); INSERT INTO event VALUES (2, 'b'); UPDATE event SET v = 'c' WHERE number = 2; INSERT INTO line VALUES ('b')");
sql('TRUNCATE parted_12');
is(sql($intents), qq(parted change {"id": 60} t
event change {"number": 2} t
event change {"number": 2} t
parted truncate {} t), 'captured, to be rendered later where that cannot be done now');
is(sql("SELECT string_agg(format('%s: %s', name, pause_reason), '; ') FROM activate.sync WHERE paused"),
	'line: its database was restored or upgraded and waits for activate_adopt()', 'what has no key is left to a run, and says so');

sql('SELECT activate_adopt()');
ok(delivered($other, 'event'), 'adopted: what could not be rendered is sent');
ok($other->poll_query_until('postgres', "SELECT string_agg(DISTINCT concat_ws(' ', o.key, o.held), ', ') = '{\"id\": 60} t' FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'parted'"),
	'and the TRUNCATE is worked off: what was perhaps sent by the first one is held');
sql("SELECT activate_run('event'); SELECT activate_run('line')");
ok(delivered($other, 'line'), 'a run finds what has no key');
is(join(' ', sort map { /"row": (\{.*\})\}$/s ? $1 : 'none' } map { $_->{body} } @{ $crm->log('/hook/dump') }),
	'{"v": "A"} {"v": "C"} {"v": "a", "id": 1} {"v": "a"} {"v": "b"}', 'each once, as it is now');

$other->stop('fast');
$node->stop('fast');
done_testing();
