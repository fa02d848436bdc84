# The extension comes and goes, with and without preload.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm = ActivateTest::Service->new;

# What a first user does, in a database; the sync is called "first".
my $declare = "
	CREATE TABLE person (id bigint PRIMARY KEY, name text);
	INSERT INTO person SELECT i, 'person ' || i FROM generate_series(1, 10) i;
	SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	SELECT activate_sync('first', 'person', 'hook.change');";

# Nothing of ours but what the script does not own: the role.
my $leftovers = "
	SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'activate'
	UNION ALL SELECT count(*) FROM pg_foreign_data_wrapper WHERE fdwname = 'activate'
	UNION ALL SELECT count(*) FROM pg_proc WHERE proname LIKE 'activate\\_%'
	UNION ALL SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal
	UNION ALL SELECT count(*) FROM pg_event_trigger";

my $node = activate_node('preloaded');
$node->safe_psql('postgres', $declare);
$node->safe_psql('postgres', "SELECT activate_run('first')");
ok($node->safe_psql('postgres', "SELECT activate_wait('first')") eq 't', 'delivered');
same_rows($node, $crm->hook_rows('first'), 'SELECT * FROM person', 'what was sent is what is there');

is($node->safe_psql('postgres', "BEGIN; INSERT INTO person VALUES (11, 'x');
	SELECT activate_run('first') > 0; SELECT count(*) FROM activate.outbox; ROLLBACK; SELECT count(*) FROM activate.outbox"),
	"t\n1\n0", 'a transaction rolled back is a dry run');

my ($code, $out, $err) = $node->psql('postgres', 'DROP EXTENSION activate');
isnt($code, 0, 'DROP EXTENSION is refused while there are targets');
$node->safe_psql('postgres', 'DROP EXTENSION activate CASCADE');
is($node->safe_psql('postgres', $leftovers), "0\n0\n0\n0\n0", 'DROP EXTENSION CASCADE leaves nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM person'), 10, 'but the tables of the user');
ok($node->poll_query_until('postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'activate%' AND datname = 'postgres'"),
	'the workers of the database are gone');
$node->safe_psql('postgres', 'DROP TABLE person; CREATE EXTENSION activate;' . $declare);
$node->safe_psql('postgres', "SELECT activate_run('first')");
ok(delivered($node, 'first'), 'and it can come again');
$node->stop('fast');

my $bare = activate_node('bare', preload => 0);
($code, $out, $err) = $bare->psql('postgres', "$declare SELECT activate_run('first') > 0");
is($code, 0, 'without preload a run works in the session');
like($err, qr/NOTICE:.*preload/, 'and says that nothing will be delivered');
is(pending($bare, 'first'), 10, 'it waits in the outbox');
($code, $out, $err) = $bare->psql('postgres', "SELECT activate_wait('first', '1 minute')");
is($out, 'f', 'waiting for it ends at once');
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'activate'");
$bare->restart;
ok(delivered($bare, 'first'), 'once preloaded, all is delivered');
$bare->stop('fast');

done_testing();
