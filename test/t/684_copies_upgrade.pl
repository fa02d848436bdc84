# What pg_upgrade to another major leaves: another system identifier, and query trees that this server cannot read.
# The real thing needs two majors; here the row says that another one wrote the tree.  SEMANTICS 17.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('upgraded');

sub sql { return $node->safe_psql('postgres', $_[0]); }

is(sql("SELECT string_agg(c.relname || '.' || a.attname, ' ') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'activate'::regnamespace AND c.relkind IN ('r', 'i') AND a.attnum > 0
	  AND format_type(a.atttypid, NULL) ~ '^reg' AND format_type(a.atttypid, NULL) NOT IN ('regclass', 'regtype')"), '', 'no column has a type that pg_upgrade refuses');

sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE e (id int, v text);
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger', mode => 'mirror');
	SELECT activate_sync('e', 'e', 'hook.change', capture => 'trigger', mode => 'append');
	SELECT activate_sync('c', 't', 'copy_of_t');
	INSERT INTO t SELECT i, 'old' FROM generate_series(1, 5) i; INSERT INTO e VALUES (1, 'old')");
ok(delivered($node), 'delivered');
my $requests = scalar @{ $crm->log('/hook') };

# a tree that cannot be read: whoever tries fails
sql("UPDATE activate._identity SET system = system + 1;
	UPDATE activate.sync SET tree_major = tree_major - 1, query_tree = '{QUERY :of another major}' WHERE NOT implicit");
$node->restart;
ok($node->poll_query_until('postgres', "SELECT query = 'a copy: waiting for activate_adopt()' FROM pg_stat_activity WHERE backend_type = 'activate worker'"), 'the worker waits');
like(slurp_file($node->logfile), qr/upgraded by pg_upgrade/, 'the log line names pg_upgrade');
sql("UPDATE t SET v = 'new'; DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (6, 'new'); TRUNCATE e");
is(sql("SELECT string_agg(DISTINCT key->>'id', ' ') FROM activate.outbox"), '1 2 3 4 5 6', 'capture goes on by the names of the key');
sql("INSERT INTO e VALUES (2, 'lost')");
like(sql("SELECT pause_reason FROM activate.sync WHERE name = 'e'"), qr/restored or upgraded and waits for activate_adopt/, 'events cannot be rendered: paused with the reason');
sql('CREATE TABLE other (); DROP TABLE other');
is(sql("SELECT count(*) FROM activate.sync WHERE paused"), 1, 'a DROP of something else pauses nothing');
my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_preview('t')");
like($err, qr/declared under PostgreSQL \d+ and waits for activate_adopt/, 'a query of another major is refused with the reason');
is(scalar @{ $crm->log('/hook') }, $requests, 'nothing was sent');

sql('SELECT activate_adopt()');
is(sql("SELECT count(*) FROM activate.sync WHERE paused OR (NOT implicit AND tree_major <> current_setting('server_version_num')::int / 10000)"), 0,
	'adopted: all is analysed anew, nothing is paused');
ok(delivered($node), 'what was captured is delivered');
same_rows($node, $crm->hook_rows('t'), 'SELECT * FROM t', 'the target mirrors the table');
sql("INSERT INTO e VALUES (3, 'new')");
ok(delivered($node), 'events go on');
is(sql("SELECT activate_run('c') > 0"), 't', 'so do runs');
$node->stop('fast');
done_testing();
