# A table that is rewritten while somebody waits to read it looks empty to snapshots of before
# (PostgreSQL: "Caveats" of MVCC): neither a deliverer nor a run may take its rows for gone.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('rewritten');
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
sql("CREATE TABLE told (id int PRIMARY KEY, v int); CREATE TABLE compared (id int PRIMARY KEY, v int);
	INSERT INTO told SELECT i, 0 FROM generate_series(1, 5) i; INSERT INTO compared TABLE told;
	SELECT activate_target('told', 'webhook', '{\"url\": \"$url/hook/told\"}'), activate_target('compared', 'webhook', '{\"url\": \"$url/hook/compared\"}');
	CREATE VIEW seen AS SELECT id, v FROM compared;
	SELECT activate_sync('told', 'told', 'told.change', mode => 'mirror', capture => 'trigger'), activate_sync('compared', 'seen', 'compared.change', key => 'id', mode => 'mirror'),
		activate_sync('loaded', 'seen', 'kept', key => 'id', mode => 'mirror');
	SELECT activate_run('told'), activate_run('compared'), activate_run('loaded')");
ok(delivered($node), 'all is sent');

# Rewrites the table, and commits when another process waits for it; begun with somebody in its way, if that is wanted.
sub rewriting
{
	my ($table, $waiting) = @_;
	my $sql = "SET statement_timeout = '${PostgreSQL::Test::Utils::timeout_default}s'; BEGIN; ALTER TABLE $table ADD COLUMN x float8 DEFAULT random();
		DO \$\$ BEGIN LOOP
			EXIT WHEN EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND l.relation = '$table'::regclass AND $waiting);
			PERFORM pg_stat_clear_snapshot(), pg_sleep(0.001);
		END LOOP; END \$\$; COMMIT";

	return IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-c', $sql ]);
}

my $writer = ActivateTest::Session->new('postgres');
$writer->run('BEGIN; UPDATE told SET v = 1');
my $alter = rewriting('told', "a.backend_type = 'activate deliverer'");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'told'::regclass") or die 'nobody waits';
$writer->run('COMMIT');
ok($alter->finish, 'a table is rewritten while the deliverer waits for it');
ok(delivered($node, 'told'), 'the changes are delivered');
is_deeply({ map { $_->{op} => 1 } map { JSON::PP::decode_json($_->{body}) } @{ $crm->log('/hook/told') } }, { upsert => 1 }, 'as changes');
is(join(' ', map { $_->{row}{v} } map { JSON::PP::decode_json($_->{body}) } (reverse @{ $crm->log('/hook/told') })[0 .. 4]), '1 1 1 1 1', 'of what the rows are now');

# into an API it is compared in memory or by a statement, into a table by another
for my $case ([ 'compared', 'in memory', '' ], [ 'compared', 'by a statement', 'SET activate.comparison = off;' ], [ 'loaded', 'with a table', '' ])
{
	my ($sync, $how, $set) = @$case;

	$alter = rewriting('compared', "a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'compared'::regclass") or die 'nobody holds it';
	sql("$set SELECT activate_run('$sync')");
	ok($alter->finish, "a table is rewritten while a run waits for it, which compares $how");
	is(sql('SELECT rows_read, rows_deleted FROM activate.run ORDER BY id DESC LIMIT 1'), '5|0', "$how: the run reads its rows, and deletes none");
	sql('ALTER TABLE compared DROP COLUMN x');
}

$writer->close;
$node->stop('fast');
done_testing();
