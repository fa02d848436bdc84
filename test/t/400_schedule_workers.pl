# Workers come and go: declarations, DROP EXTENSION, kills, shutdown, too few slots, promotion.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('workers', extension => 0);
my $db = 'postgres';

sub appears
{
	my ($where, $count, $name) = @_;
	return ok($node->poll_query_until($db,
		"SELECT count(*) = $count FROM pg_stat_activity WHERE backend_type = 'activate worker' AND $where"), $name);
}

ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate launcher'"),
	'the launcher is there');
$node->safe_psql($db, 'CREATE EXTENSION activate');
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, at text)');
appears('true', 0, 'a database with nothing declared keeps no worker');

my $declare = "SELECT activate_sync('%s', '%s', 't', schedule => '%s')";
$node->safe_psql($db, sprintf($declare, 'tick', 'SELECT 1 AS id, clock_timestamp()::text AS at', '@every 1s'));
appears("datname = '$db'", 1, 'the first declaration brings one');
ok($node->poll_query_until($db, "SELECT count(*) > 1 FROM activate.run WHERE status = 'succeeded'"), 'the sync runs by itself');
like($node->safe_psql($db, "SELECT query FROM pg_stat_activity WHERE backend_type = 'activate worker'"),
	qr/1 scheduled, \d running, next tick 20/, 'its state is readable in pg_stat_activity');
is($node->safe_psql($db, "SELECT backend_xmin IS NULL AND xact_start IS NULL FROM pg_stat_activity WHERE backend_type = 'activate worker'"),
	't', 'it holds no snapshot while it waits');

# killed, terminated, restarted
my ($pid) = worker_pids($node, 'worker');
$node->safe_psql($db, "SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate worker' AND pid <> $pid"),
	'a terminated worker comes back');
($pid) = worker_pids($node, 'launcher');
kill_hard($pid);
$node->poll_query_until($db, 'SELECT true');
ok($node->poll_query_until($db, "SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type IN ('activate worker', 'activate launcher') AND pid <> $pid"),
	'launcher and worker come back after a crash');

# the library and the SQL objects disagree
$node->safe_psql($db, "UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'activate'");
appears('true', 0, 'a worker leaves when the versions differ');
like(slurp_file($node->logfile), qr/activate does not work in database "postgres": the library is version/, 'and says so');
$node->safe_psql($db, "BEGIN; UPDATE pg_extension SET extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'activate')
	WHERE extname = 'activate'; ALTER EXTENSION activate UPDATE; COMMIT");
appears("datname = '$db'", 1, 'it is back after ALTER EXTENSION UPDATE');

# the extension leaves, while a run goes on
$node->safe_psql($db, sprintf($declare, 'long', 'SELECT 2 AS id, pg_sleep(3000)::text AS at', '@every 1s'));
ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'running sync \"long\"'"), 'a long run goes on');
$node->safe_psql($db, 'BEGIN; DROP EXTENSION activate; ROLLBACK');
appears("datname = '$db'", 1, 'DROP EXTENSION rolled back: the worker is back');
ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'running sync \"long\"'"), 'and so is the run');
is($node->safe_psql($db, "SELECT error FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'long' AND status = 'failed' LIMIT 1"),
	'the process that ran it is gone', 'the one that was stopped is recorded');
$node->safe_psql($db, 'DROP EXTENSION activate');
is($node->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^activate' AND datname IS NOT NULL"), 0,
	'no process is left in the database');

# fast shutdown in the middle of everything
$node->safe_psql($db, 'CREATE EXTENSION activate');
$node->safe_psql($db, sprintf($declare, 'long', 'SELECT 2 AS id, pg_sleep(3000)::text AS at', '@every 1s'));
ok($node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'running sync \"long\"'"), 'a long run goes on');
stops_fast($node, 'a fast shutdown does not wait for a run');
$node->start;
ok($node->poll_query_until($db, "SELECT count(*) > 0 FROM activate.run WHERE status = 'failed' AND error = 'the process that ran it is gone'"),
	'the run that was cut off is recorded as failed');
# dropping it waits for its run
$node->safe_psql($db, "SELECT activate_pause('long')");
ok($node->poll_query_until($db, "SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity WHERE backend_type = 'activate runner'"),
	'a long run can be ended');
$node->safe_psql($db, "SELECT activate_drop('long')");
appears('true', 0, 'without declarations the worker leaves');

# too few slots: logical replication's launcher, ours, two workers, and no room for a runner
$node->append_conf('postgresql.conf', "max_worker_processes = 4");
$node->restart;
$node->safe_psql($db, 'CREATE DATABASE other');
for my $name ($db, 'other')
{
	$node->safe_psql($name, 'CREATE EXTENSION IF NOT EXISTS activate; CREATE TABLE IF NOT EXISTS t (id int PRIMARY KEY, at text)');
	$node->safe_psql($name, sprintf($declare, $_, "SELECT $_ AS id, clock_timestamp()::text AS at", '@every 1s')) for 1 .. 3;
}
ok($node->poll_query_until($db, "SELECT count(DISTINCT sync) = 3 FROM activate.run WHERE status = 'succeeded'"), 'few slots: every sync has its turn');
ok($node->poll_query_until('other', "SELECT count(DISTINCT sync) = 3 FROM activate.run WHERE status = 'succeeded'"), 'of the other database, too');
my $log = slurp_file($node->logfile);
like($log, qr/no background worker slot is free.*?Consider increasing max_worker_processes/s, 'and the log says what to do');
is(scalar(() = $log =~ /no background worker slot is free/g), 1, 'once');
$node->append_conf('postgresql.conf', "max_worker_processes = 16");

# a standby does nothing until it is promoted
my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 4\nhot_standby = on");
$node->append_conf('pg_hba.conf', 'local replication all trust');
$node->restart;
$node->backup('base');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $node->connstr . "'");
$standby->set_standby_mode;
$standby->start;
is($standby->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^activate'"), 0, 'nothing runs on a standby');
$node->stop('fast');
$standby->promote;
ok($standby->poll_query_until($db, "SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'activate worker'"),
	'after the promotion the workers are there');
my $last = $standby->safe_psql($db, 'SELECT max(id) FROM activate.run');
ok($standby->poll_query_until($db, "SELECT count(*) > 0 FROM activate.run WHERE id > $last AND status = 'succeeded'"), 'and at work');
$standby->stop('fast');

done_testing();
