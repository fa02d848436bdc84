# What is old goes, a batch at a time, without traffic; rejections stay.  SEMANTICS 20.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('old');

sub sql { return $node->safe_psql('postgres', $_[0]); }

is(sql("SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'activate'::regnamespace AND relkind = 'r'
	AND relname = ANY ('{_outbox,_retry,_sent,_tally,_seen,rejection,_receipt,run}') AND (reloptions IS NULL OR NOT reloptions::text ~ 'autovacuum_vacuum_scale_factor=0.02')"),
	'', 'tables that change all the time are vacuumed sooner than others');

sql("SELECT activate_target('hook', 'webhook', '{\"url\": \"" . $crm->url('/hook') . "\"}');
	CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger'); SELECT activate_run('t')");
$crm->control({ reject => { field => 'v', equals => 'bad', status => 422, error => 'bad' } });
sql("INSERT INTO t VALUES (1, 'bad')");
ok(delivered($node, 't'), 'one row is refused');
sql("UPDATE activate.rejection SET rejected_at = now() - interval '1 year';
	INSERT INTO activate._receipt (sync, n, calls, newest, op, outcome, keys, ids, times, latencies)
	SELECT 1, 1, 1, t.at, 'upsert', 'delivered', ARRAY[t.key], ARRAY[gen_random_uuid()], ARRAY[t.at], '{1}'
	  FROM (SELECT '{}'::jsonb AS key, now() - interval '8 days' AS at FROM generate_series(1, 25000)
			UNION ALL SELECT '{\"new\": 1}', now() - interval '6 days' FROM generate_series(1, 10)) t;
	INSERT INTO activate.run (sync, status, started_at, finished_at) SELECT 1, 'failed', now() - interval '40 days', now() - interval '40 days' FROM generate_series(1, 5);
	INSERT INTO activate._retry (sync, id, attempts, due_at) SELECT 1, -i, 1, now() FROM generate_series(1, 3) i");

is(sql('BEGIN; SELECT activate._housekeep(1000); SELECT count(*) FROM activate.receipt WHERE sent_at < now() - interval \'7 days\'; ROLLBACK'),
	"t\n24000", 'a statement removes a batch and says that there is more');

# nobody writes anything: the clock alone
sql("ALTER DATABASE postgres SET activate.clock_offset = 120");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.receipt WHERE sent_at < now() - interval '7 days'"), 'the worker goes on until all is gone');
is(sql(q(SELECT count(*) FROM activate.receipt WHERE key = '{"new": 1}')), 10, 'what is younger stays');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM activate._retry'), 'delays of intents that are gone go');
is(sql("SELECT bool_and(id = (SELECT max(id) FROM activate.run)) FROM activate.run WHERE finished_at < now() - interval '30 days'"), 't', 'old runs go, the last of a sync stays');
is(sql('SELECT count(*) FROM activate.rejection'), 1, 'a rejection stays, however old');
ok($node->poll_query_until('postgres', "SELECT query ~ '^0 scheduled' FROM pg_stat_activity WHERE backend_type = 'activate worker'"), 'and the worker says what it does next');

# how an operator gets rid of it
is(sql("BEGIN; SELECT activate_retry('t', \$\$rejected_at < now() - interval '90 days'\$\$); SELECT activate_discard('t'); COMMIT"), "1\n1", 'by retry and discard in one transaction');
is(sql('SELECT (SELECT count(*) FROM activate.rejection) + (SELECT count(*) FROM activate.outbox)'), 0, 'it is gone');

$node->stop('fast');
done_testing();
