# Database DDL and a shutdown while every request of a deliverer hangs and a run goes on.  SEMANTICS 13.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('hanging', extension => 0, conf => "activate.http_timeout = '10min'");

# As many requests as go to a target that has answered nothing yet, or to one that has.
sub hangs
{
	my ($db, $name, $requests) = @_;
	$requests //= 2;
	return ok($node->poll_query_until($db, "SELECT (SELECT sum(in_flight) = $requests FROM activate.stat_target)
		AND (SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = '$db' AND query = 'running sync \"long\"')"), $name);
}

sub done
{
	my ($statement) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $statement);
	return is("$code $err", '0 ', $statement);
}

$node->safe_psql('postgres', 'CREATE DATABASE shop');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^activate' AND datname IS NOT NULL"), 0, 'nothing is declared, nothing is kept');
$node->safe_psql('shop', "
	CREATE EXTENSION activate;
	CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE l (id int PRIMARY KEY, v text);
	SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger');
	SELECT activate_sync('long', 'SELECT 1 AS id, pg_sleep(3000)::text AS v', 'l', schedule => '\@every 1s');");
$crm->control({ fault => 'hang', path => '/hook' });
$node->safe_psql('shop', 'INSERT INTO t SELECT i FROM generate_series(1, 20) i');
hangs('shop', 'every request hangs, and a run goes on');

done('CREATE DATABASE copy TEMPLATE shop');
is($node->safe_psql('copy', 'SELECT activate._installation()'), 'copy', 'made while requests were on their way');
hangs('shop', 'they are back');
done('ALTER DATABASE shop RENAME TO store');
hangs('store', 'they are back');
done('ALTER DATABASE store SET TABLESPACE pg_default');
hangs('store', 'they are back');

stops_fast($node, 'a fast shutdown waits for none of them');
$node->start;
hangs('store', 'after it they are back');
$crm->heal;
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'activate deliverer' AND datname = 'store'");
ok(delivered($node, 't', 'store'), 'when the target answers again all is delivered');
same_rows($node, $crm->hook_rows('t'), 'SELECT * FROM t', 'nothing was lost', 'store');

$crm->control({ fault => 'hang', path => '/hook' });
$node->safe_psql('store', "UPDATE t SET v = 'again'");
hangs('store', 'hanging again', 20);
done('DROP DATABASE store');
done('DROP DATABASE copy');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type ~ '^activate' AND backend_type <> 'activate launcher'"),
	'nobody is left');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|have not left/, 'nothing crashed, everybody left in time');
done_testing();
