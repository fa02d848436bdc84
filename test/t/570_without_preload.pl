# Not preloaded, every function works in its session; nothing is delivered, and one is told.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('bare', preload => 0);
my $url  = $crm->url;

# Each in a session of its own, which has not loaded the library before.
sub works
{
	my ($statement, $expected, $notice) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $statement);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($code, 0, $statement =~ s/\(.*//sr) or diag $err;
	like($out, $expected, 'its result') if defined $expected;
	like($err, $notice, 'its notice') if defined $notice;
	return;
}

my $notice = qr/NOTICE:.*shared_preload_libraries/;

works("SELECT activate_connector('{\"name\": \"mine\", \"objects\": {}}')", qr/^mine$/);
works("SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook\"}', '{\"bearer\": \"t\"}')", qr/^hook$/);
works("SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"contacts\": {\"path\": \"/objects/contacts\", \"key\": \"id\",
	\"columns\": {\"id\": \"bigint\", \"v\": \"text\"}, \"read\": {\"records\": \"data\"}, \"write\": {\"insert\": {}, \"upsert\": {}}}}}')", qr/^crm$/);
$crm->call('POST', '/objects/contacts', { id => 1, v => 'read' });
works('SELECT v FROM crm.contacts', qr/^read$/);
works('CREATE TABLE t (id int PRIMARY KEY, v text)');
works("SELECT activate_sync('t', 't', 'hook.change', capture => 'trigger', mode => 'mirror', schedule => '\@hourly')", qr/^\d+$/);
works("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
is(pending($node, 't'), 2, 'captured');
works("BEGIN; INSERT INTO t VALUES (3); SELECT count(*) FROM activate.outbox; ROLLBACK", qr/^3$/);
works("INSERT INTO crm.contacts VALUES (2, 'written')");
works("SELECT activate_run('t')", qr/^\d+$/);
works("SELECT activate_run('t', full => true)", qr/^\d+$/, $notice);
works("SELECT activate_wait('t')", qr/^f$/, $notice);
works("SELECT method, body FROM activate_preview('t')", qr/^POST\|\{"id".*"v": "a"/);
works("SELECT activate_explain('t')", qr/Nothing is delivered for now.*shared_preload_libraries/);
works("SELECT activate_pause('t')");
works("SELECT activate_resume('t')");
works("SELECT activate_pause('target:hook'), activate_resume('target:hook')");
works("SELECT activate_retry('t')", qr/^0$/);
works("SELECT activate_discard('t', \$\$key ->> 'id' = '2'\$\$)", qr/^\d+$/);
works("SELECT activate_export()", qr/activate_sync\('t'/);
works("SELECT activate_adopt()");
works("SELECT name, state FROM activate.stat_sync WHERE name = 't'", qr/^t\|/);
works("SELECT name, state FROM activate.stat_target ORDER BY name", qr/^crm\|\w+\nhook\|\w+$/);
works("SELECT count(*) FROM activate.stat_run", qr/^0$/);
works("SELECT activate_sync('load', 't', 'loaded', mode => 'mirror'); SELECT activate_run('load'); SELECT count(*) FROM loaded", qr/^2$/m);
works("SELECT activate_wait('load')", qr/^t$/);
works("SET activate.schedule = 't: 0 3 * * *'");
my ($code, $out, $err) = $node->psql('postgres', "LOAD 'activate'; SET activate.schedule = 't: sometimes'");
like($err, qr/ERROR:.*activate.schedule/, 'settings are checked');
is(scalar @{ $crm->log('/hook') }, 0, 'nothing was sent');
works("SELECT activate_drop('t')", undef, qr/NOTICE:.*pending/);
works('DROP EXTENSION activate CASCADE');
works('SELECT count(*) FROM t', qr/^2$/);

$node->stop('fast');
done_testing();
