# Database DDL with running workers: they make way, stay out, and come back.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm = ActivateTest::Service->new;
my $node = activate_node('ddl', extension => 0);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub busy
{
	my ($db, $name) = @_;
	return ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE backend_type = 'activate worker') = 1
		AND count(*) FILTER (WHERE backend_type = 'activate runner') >= 1
		AND count(*) FILTER (WHERE backend_type = 'activate deliverer') = 1 FROM pg_stat_activity WHERE datname = '$db'"), $name);
}

# A statement that must succeed.
sub done
{
	my ($statement, $name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $statement);
	return is($code, 0, $name) || diag($err);
}

sql('CREATE DATABASE shop');
$node->safe_psql('shop', "
	CREATE EXTENSION activate;
	CREATE TABLE t (id int PRIMARY KEY, s text);
	SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	SELECT activate_sync('out', 't', 'hook.change');
	SELECT activate_sync('long', 'SELECT 1 AS id, pg_sleep(3000)::text AS s', 't', schedule => '\@every 1s');");
busy('shop', 'worker, runner and deliverer are at work');

done('CREATE DATABASE copy TEMPLATE shop', 'CREATE DATABASE ... TEMPLATE');
busy('shop', 'they are back');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'copy' AND backend_type = 'activate worker'"),
	'the copy has a worker');
is($node->safe_psql('copy', 'SELECT activate._installation()'), 'copy', 'which knows that it serves a copy');
ok($node->poll_query_until('postgres', "SELECT query = 'a copy: waiting for activate_adopt()' FROM pg_stat_activity
	WHERE datname = 'copy' AND backend_type = 'activate worker'"), 'and waits');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy' AND backend_type ~ 'runner|deliverer'"), 0, 'nothing runs in the copy, nothing is sent');
like(slurp_file($node->logfile), qr/neither runs nor sends anything in database "copy".*?activate_adopt/s, 'the log says what to do');
$node->safe_psql('copy', 'SELECT activate_adopt()');
busy('copy', 'adopted: all is at work');

done('ALTER DATABASE copy RENAME TO branch', 'RENAME');
busy('branch', 'they are back');
done('ALTER DATABASE branch SET TABLESPACE pg_default', 'SET TABLESPACE');
busy('branch', 'they are back');
done('DROP DATABASE branch', 'DROP DATABASE');
busy('shop', 'the other database was not touched');

# who may not, disturbs nobody
sql('CREATE ROLE nobody LOGIN');
my $pids = join ' ', sort(worker_pids($node, 'deliverer'), worker_pids($node, 'worker'));
for my $statement ('DROP DATABASE shop', 'ALTER DATABASE shop RENAME TO x', 'CREATE DATABASE y TEMPLATE shop')
{
	my ($code, $out, $err) = $node->psql('postgres', "SET ROLE nobody; $statement");
	like($err, qr/must be owner|permission denied/, "refused: $statement");
}
is(join(' ', sort(worker_pids($node, 'deliverer'), worker_pids($node, 'worker'))), $pids, 'the workers have not even noticed');

# a command that fails lets them in again
my $session = $node->background_psql('shop');
my ($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE shop');
like($err, qr/is being accessed by other users/, 'DROP DATABASE fails for a session of somebody else');
busy('shop', 'they are back');
$session->quit;

# a template with the extension, and databases by the dozen
sql('CREATE DATABASE d' . $_) for 1 .. 12;
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname ~ '^d[0-9]' AND backend_type ~ '^activate'"),
	'databases without the extension keep no worker');
$node->safe_psql('template1', "CREATE EXTENSION activate; CREATE TABLE t (id int PRIMARY KEY, s text);
	SELECT activate_sync('tick', 'SELECT 1 AS id, 2::text AS s', 't', schedule => '\@every 1s')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'template1' AND backend_type = 'activate worker'"),
	'a template that has declarations is served');
done('CREATE DATABASE child', 'CREATE DATABASE from it');
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname IN ('template1', 'child') AND backend_type = 'activate worker'"),
	'both have a worker then');

# prepared transactions
$node->safe_psql('d1', 'CREATE EXTENSION activate; CREATE TABLE t (id int PRIMARY KEY, s text)');
$node->safe_psql('d1', "BEGIN; SELECT activate_sync('tick', 'SELECT 1 AS id, 2::text AS s', 't', schedule => '\@every 1s'); PREPARE TRANSACTION 'p'");
$node->safe_psql('d1', "COMMIT PREPARED 'p'");
ok($node->poll_query_until('d1', "SELECT count(*) > 0 FROM activate.run WHERE status = 'succeeded'"), 'a declaration by COMMIT PREPARED is noticed');

$node->stop('fast');
done_testing();
