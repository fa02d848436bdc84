# A publication FOR ALL TABLES, whose subscriber has the extension and syncs of its own: SEMANTICS 17.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $conf = 'wal_level = logical';
my $here = activate_node('publisher', conf => $conf, allows_streaming => 1);
my $there = activate_node('subscriber', conf => $conf);

sub rows { return scalar @{ $crm->log("/hook/$_[0]") }; }

sub declare
{
	my ($node, $name) = @_;
	my $url = $crm->url("/hook/$name");

	$node->safe_psql('postgres', "
		CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE e (id int PRIMARY KEY, v text);
		SELECT activate_target('hook', 'webhook', '{\"url\": \"$url\"}');
		SELECT activate_sync('$name', 't', 'hook.change', capture => 'trigger', mode => 'mirror');
		SELECT activate_sync('$name events', 'e', 'hook.change', capture => 'trigger', mode => 'append', map => '{\"row\": \"to_jsonb(1 / id)\"}');
		SELECT activate_pause('$name')");
}

declare($here, 'here');
declare($there, 'there');
is($here->safe_psql('postgres', "SELECT string_agg(c.relname, ' ') FROM pg_class c WHERE c.relnamespace = 'activate'::regnamespace AND c.relkind = 'r'
	AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident OR i.indrelid = c.oid AND i.indisprimary AND c.relreplident = 'd')"),
	'', 'every table has a replica identity');

# intents under the same numbers on both sides
$here->safe_psql('postgres', "INSERT INTO t VALUES (1, 'here'); SELECT activate_pause('target:hook')");
$there->safe_psql('postgres', "INSERT INTO t VALUES (100, 'there')");
my $own = "SELECT string_agg(s::text, E'\\n' ORDER BY id) FROM activate.sync s";
my $mine = $there->safe_psql('postgres', $own);
my $identity = $there->safe_psql('postgres', 'TABLE activate._identity');

$here->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
$there->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '" . $here->connstr . " dbname=postgres' PUBLICATION everything");
$there->wait_for_subscription_sync($here, 'everything');
is($there->safe_psql('postgres', $own), $mine, 'the declarations are its own');
is($there->safe_psql('postgres', 'TABLE activate._identity'), $identity, 'so is its identity');
is($there->safe_psql('postgres', 'SELECT count(*) FROM t'), 2, 'the rows have come');
is($there->safe_psql('postgres', "SELECT string_agg(key::text, ' ' ORDER BY id) FROM activate.outbox"), '{"id": 100} {"id": 1}',
	'and are captured as changes of its own');

# life goes on at the publisher: inserts, updates and deletes of every table of ours
$here->safe_psql('postgres', "SELECT activate_resume('target:hook'); SELECT activate_resume('here'); UPDATE t SET v = 'again'; INSERT INTO t VALUES (2, 'two')");
ok(delivered($here, 'here'), 'the publisher delivers');
is($here->safe_psql('postgres', "SELECT activate_run('here') > 0"), 't', 'and runs');
$here->safe_psql('postgres', "SELECT activate_drop('here events'); UPDATE activate.sync SET options = '{\"batch\": 7}'");
$here->wait_for_catchup('everything');
is($there->safe_psql('postgres', $own), $mine, 'nothing of it arrives: declarations');
is($there->safe_psql('postgres', "SELECT (SELECT count(*) FROM activate.sent) || ' ' || (SELECT count(*) FROM activate.run) || ' ' || (SELECT count(*) FROM activate.receipt)"),
	'0 0 0', 'what was sent, runs, receipts');
is(rows('there'), 0, 'nothing was sent by the subscriber, which is paused');

# what its own triggers write while rows arrive, is its own
$here->safe_psql('postgres', "INSERT INTO e VALUES (0, 'cannot be rendered')");
$here->wait_for_catchup('everything');
is($there->safe_psql('postgres', 'SELECT code FROM activate.rejection'), '22012', 'a row that cannot be rendered is rejected at the subscriber');

$there->safe_psql('postgres', "SELECT activate_resume('there')");
ok(delivered($there, 'there'), 'resumed, it sends');
same_rows($there, $crm->hook_rows('there', 'there'), 'SELECT * FROM t', 'what it has');
is($there->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_subscription_stats WHERE apply_error_count + sync_error_count > 0'), 0, 'the subscription has met no error');

# a restore that says it is a replica is no subscription
is($there->safe_psql('postgres', "SET session_replication_role = replica; INSERT INTO activate._tally VALUES (-1, 0, 0, 0); SELECT count(*) FROM activate._tally WHERE sync = -1"),
	1, 'a session with session_replication_role = replica writes');

$there->safe_psql('postgres', 'DROP SUBSCRIPTION everything');
$_->stop('fast') for $there, $here;
done_testing();
