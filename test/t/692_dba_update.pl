# ALTER EXTENSION UPDATE under running workers: library and SQL of different versions.  SEMANTICS 13 and 20.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('update');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub told { return scalar(() = slurp_file($node->logfile) =~ /activate does not work in database "postgres"/g); }

sub workers
{
	my ($count, $name) = @_;
	return ok($node->poll_query_until('postgres', "SELECT count(*) = $count FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type ~ '^activate'"), $name);
}

# a version of the SQL objects that no library knows
my $now = sql("SELECT extversion FROM pg_extension WHERE extname = 'activate'");
chomp(my $share = `$ENV{PG_CONFIG} --sharedir`);
my @scripts = ("$share/extension/activate--$now--9.9.sql", "$share/extension/activate--9.9--$now.sql");
append_to_file($_, "SELECT 1;\n") for @scripts;
END { unlink @scripts; }

sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger'); INSERT INTO t VALUES (1, 'a')");
ok(delivered($node, 't'), 'it works');
workers(2, 'worker and deliverer');

sql("ALTER EXTENSION activate UPDATE TO '9.9'");
workers(0, 'they leave');
is(told(), 1, 'with one line');
like(slurp_file($node->logfile), qr/the library is version \Q$now\E, the extension version 9\.9.*HINT:.*ALTER EXTENSION activate UPDATE/s, 'that says what to do');

# capture goes on, and its wakes bring no worker back, nor another line
sql("UPDATE t SET v = '$_'") for 1 .. 20;
is(pending($node, 't'), 20, 'changes are captured');
sql('CREATE DATABASE witness');
$node->safe_psql('witness', 'CREATE EXTENSION activate; CREATE TABLE w (id int)');
$node->safe_psql('witness', "SELECT activate_sync('w', 'SELECT 1 AS id', 'w', key => 'id')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'witness' AND backend_type = 'activate worker'"),
	'another database is served');
workers(0, 'this one is not');
sql("SELECT activate_pause('t'); SELECT activate_resume('t')");
$node->safe_psql('witness', "SELECT activate_drop('w')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'witness' AND backend_type = 'activate worker'"),
	'the launcher has seen to all that changed');
workers(0, 'still not');
is(told(), 1, 'and there is one line still');

sql("ALTER EXTENSION activate UPDATE TO '$now'");
ok(delivered($node, 't'), 'after ALTER EXTENSION UPDATE all is delivered');
workers(2, 'by worker and deliverer');

# rolled back: nobody need leave
sql("BEGIN; ALTER EXTENSION activate UPDATE TO '9.9'; ROLLBACK; UPDATE t SET v = 'rolled back'");
ok(delivered($node, 't'), 'an update that is rolled back changes nothing');

sql("ALTER EXTENSION activate UPDATE TO '9.9'");
workers(0, 'a second time');
is(told(), 2, 'is a line of its own');
$node->restart;
sql("UPDATE t SET v = 'after the restart'");
ok($node->poll_query_until('postgres', "SELECT pg_read_file('postmaster.pid') <> ''") && $node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate launcher' AND query = 'waiting for databases to serve'"), 'restarted');
sql("ALTER EXTENSION activate UPDATE TO '$now'");
ok(delivered($node, 't'), 'nothing was lost');
cmp_ok(told(), '<=', 3, 'a line per start of the server');

$node->stop('fast');
done_testing();
