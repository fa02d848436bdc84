# The documented uninstall leaves no trace.  SEMANTICS 20.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('gone', extension => 0);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub everything
{
	my ($out, $err) = run_command([ 'pg_dumpall', '-d', $node->connstr('postgres') ]);

	is($err, '', 'pg_dumpall');
	$out =~ s/^\\(un)?restrict .*$//mg;
	return $out;
}

sql('CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i FROM generate_series(1, 10) i; CREATE ROLE analyst');
my $before = everything();

sql("CREATE EXTENSION activate; GRANT activate_admin TO analyst;
	SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}', '{\"bearer\": \"s\"}');
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger', mode => 'mirror');
	SELECT activate_sync('copied', 't', 'copy_of_t', schedule => '\@every 1s');
	SELECT activate_run('t'); SELECT activate_pause('target:hook'); INSERT INTO t VALUES (11); DELETE FROM t WHERE id = 11;
	ALTER DATABASE postgres SET activate.schedule = 'copied: \@daily'; ALTER DATABASE postgres SET activate.runners = 3; ALTER ROLE analyst SET activate.timezone = 'UTC'");
isnt(everything(), $before, 'there are traces');

# word for word what README.md says
my ($uninstall) = slurp_file('README.md') =~ /### Uninstall.*?```sql\n(.*?)```/s;
ok($uninstall, 'README.md tells how');
$uninstall =~ s/\bshop\b/postgres/g;
$uninstall =~ s/\bcrm\b/hook/g;
$uninstall =~ s/\bdba\b/analyst/g;
sql("SET client_min_messages = error; $uninstall");
sql("DROP TABLE copy_of_t");
is(everything(), $before, 'nothing is left, the local tables apart');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND backend_type ~ '^activate'"), 0, 'no process in the database');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->adjust_conf('postgresql.conf', "activate.$_", undef) for qw(allowed_hosts http_timeout retry_backoff retry_backoff_max);
$node->restart;
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^activate'"), 0, 'nor, without the library, in the cluster');
sql('UPDATE t SET v = 1');
is(sql('SELECT count(*) FROM pg_settings WHERE name ~ \'^activate\''), 0, 'no setting');
$node->stop('fast');
done_testing();
