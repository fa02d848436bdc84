# CREATE DATABASE ... TEMPLATE sends nothing and loses nothing; RENAME makes no copy: SEMANTICS 17.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('template', extension => 0);

sub rows { return scalar @{ $crm->log('/hook') }; }

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', "
	CREATE EXTENSION activate;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger');
	SELECT activate_pause('target:hook');
	INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) i;");
$node->safe_psql('postgres', 'CREATE DATABASE branch TEMPLATE shop');
is(pending($node, 't', 'branch'), 10, 'a copy has what was pending');
$node->safe_psql('branch', "SELECT activate_resume('target:hook'); UPDATE t SET v = 'branch'");
ok($node->poll_query_until('postgres', "SELECT query = 'a copy: waiting for activate_adopt()' FROM pg_stat_activity
	WHERE datname = 'branch' AND backend_type = 'activate worker'"), 'its worker waits');
is($node->safe_psql('branch', "SELECT state FROM activate.stat_sync WHERE name = 't'"), 'copy: waits for activate_adopt()', 'stat_sync says so');
is(rows(), 0, 'it sends nothing');

$node->safe_psql('shop', "SELECT activate_resume('target:hook')");
ok(delivered($node, 't', 'shop'), 'the original sends all');
is(rows(), 10, 'once');
is(pending($node, 't', 'branch'), 20, 'what the copy has captured stands there');

$node->safe_psql('postgres', 'ALTER DATABASE shop RENAME TO store');
is($node->safe_psql('store', 'SELECT activate._installation()'), 'original', 'a database of another name is the same');
$node->safe_psql('store', "UPDATE t SET v = 'renamed' WHERE id = 1");
ok(delivered($node, 't', 'store'), 'and goes on');
is(rows(), 11, 'with what is new');

$node->safe_psql('branch', 'SELECT activate_adopt()');
ok(delivered($node, 't', 'branch'), 'the copy sends once it is adopted');
is(rows(), 21, 'each key once');
is($node->safe_psql('branch', "SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"), 10, 'the original may have sent them before');

$node->stop('fast');
done_testing();
