# The budget of an account: declared rates, whoever uses it.  Hours pass by the clock of activate, so what is
# counted does not depend on how fast this machine is.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('rate', conf => "activate.deliverers = 2\nactivate.http_timeout = '60s'");
my $now  = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A webhook with a rate, and a table and a sync for it.
sub declare
{
	my ($target, $options, @syncs) = @_;
	my $url = $crm->url("/hook/$target");

	sql("SELECT activate_target('$target', 'webhook', '{\"url\": \"$url\"$options}')");
	sql("CREATE TABLE $_ (id bigint PRIMARY KEY, v text); SELECT activate_sync('$_', '$_', '$target.change', capture => 'trigger')") for @syncs;
	return;
}

# Nothing is under way, and the deliverer says that it has nothing left.
sub used_up
{
	my ($target) = @_;

	return $node->poll_query_until('postgres', "SELECT quota = 0 AND in_flight = 0 FROM activate.stat_target WHERE name = '$target'");
}

# An hour, and the part of it by which a window is counted.
sub hour_passes
{
	$now += 3600 + 226;
	return sql("ALTER SYSTEM SET activate.clock_offset = $now; SELECT pg_reload_conf()");
}

subtest 'one budget for all syncs of a target, whichever deliverer has it' => sub {
	declare('one', ', "rate": [{"calls": 10, "per": "1 hour"}]', qw(a b c));
	declare('two', ', "rate": [{"calls": 3, "per": "1 hour"}, {"calls": 5, "per": "1 day"}]', 'd');
	declare('three', '', 'e');
	sql(join ';', 'BEGIN', (map { "INSERT INTO $_ SELECT i FROM generate_series(1, 9) i" } qw(a b c d e)), 'COMMIT');
	ok(delivered($node, 'e'), 'without a rate nothing waits');
	ok(used_up($_), "$_: all is used") for qw(one two);
	is($crm->calls('/hook/one', 10), 10, 'ten calls of three syncs, no more');
	is(pending($node, 'a') + pending($node, 'b') + pending($node, 'c'), 17, 'the others wait');
	cmp_ok(pending($node, $_), '<', 9, "$_ had its turn") for qw(a b c);
	is($crm->calls('/hook/two', 3), 3, 'another target has a rate of its own');
	is(sql("SELECT state FROM activate.stat_target WHERE name = 'one'"), 'up', 'it is no trouble of the target');
	is(sql("SELECT sum(attempts) FROM activate.outbox"), 0, 'and no attempt');

	hour_passes();
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 7 + 4 FROM activate.outbox'), 'an hour later as many again');
	ok(used_up('one'), 'all is used again');
	is($crm->calls('/hook/one', 20), 20, 'and no more');
	is($crm->calls('/hook/two', 5), 5, 'of two windows the tighter one counts');

	hour_passes();
	ok(delivered($node, $_), "$_: the rest") for qw(a b c);
	is($crm->calls('/hook/one', 27), 27, 'each row once');
	is(pending($node, 'd'), 4, 'a day is longer');
	$now += 86400;
	hour_passes();
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.outbox"), 'a day later');
};

subtest 'a rate that is declared anew' => sub {
	declare('anew', ', "rate": [{"calls": 4, "per": "1 hour"}]', 'f');
	sql('INSERT INTO f SELECT i FROM generate_series(1, 9) i');
	ok(used_up('anew'), 'all is used');
	sql("ALTER SERVER anew OPTIONS (SET rate '[{\"calls\": 6, \"per\": \"1 hour\"}]')");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'f'"), 'what was used counts');
	ok(used_up('anew'), 'all is used again');
	is($crm->calls('/hook/anew', 6), 6, 'no more');
	sql('ALTER SERVER anew OPTIONS (DROP rate)');
	ok(delivered($node, 'f'), 'without a rate nothing waits');
};

# a definition of its own with a rate and costs; readers are backends of any kind
my $definition = JSON::PP->new->canonical->encode({
	name => 'costly', rate => [ { calls => 20, per => '1 hour' } ],
	objects => { contacts => {
		path => '/objects/contacts', key => 'id', columns => { id => 'bigint', v => 'text' },
		read => { records => 'data', cost => 3, page => { style => 'cursor', next => 'paging.next', size => 2 }, query => { style => 'cursor' } },
		write => { upsert => { cost => 5 } } } } });
sql("SELECT activate_connector('$definition'); SELECT activate_target('crm', 'costly', '{\"base_url\": \"" . $crm->url . "\"}');
	CREATE TABLE g (id bigint PRIMARY KEY, v text); SELECT activate_sync('g', 'g', 'crm.contacts', capture => 'trigger')");

subtest 'costs, and backends that read' => sub {
	my $session = ActivateTest::Session->new($node->connstr('postgres'));

	sql("INSERT INTO g VALUES (1, 'a'), (2, 'b')");
	ok(delivered($node, 'g'), 'two calls of five');
	is($session->run('SELECT count(*) FROM crm.contacts'), 2, 'a page of three, and one that says that there is no more') or diag explain $crm->log('/objects');
	my $left = sql("SELECT quota FROM activate.stat_target WHERE name = 'crm'");
	is($left, 20 - 10 - 3 * grep({ $_->{method} eq 'GET' } @{ $crm->log('/objects') }), 'what is left is what neither has used');
	sql("INSERT INTO g VALUES (3, 'c')");
	ok(delivered($node, 'g'), 'another one');
	is(sql("SELECT quota FROM activate.stat_target WHERE name = 'crm'"), $left - 5, 'is counted');
	my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT count(*) FROM crm.contacts");
	like($err, qr/canceling statement due to statement timeout/, 'a reader waits, no longer than its statement may');
	sql("INSERT INTO g VALUES (4, 'd')");
	hour_passes();
	ok(delivered($node, 'g'), 'an hour later it goes on');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.contacts'), 4, 'for readers, too');
};

subtest 'a reader that waits goes on by itself' => sub {
	sql("ALTER SERVER crm OPTIONS (ADD rate '[{\"calls\": 4, \"per\": \"2s\"}]')");
	my $before = @{ $crm->log('/objects') };
	is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.contacts'), 4, 'all pages come');
	my @pages = splice @{ $crm->log('/objects') }, $before;
	cmp_ok(scalar @pages, '>', 1, 'there are several');
	cmp_ok($pages[1]->{at_us} - $pages[0]->{at_us}, '>', 1_500_000, 'the second had to wait');
};

subtest 'without anything shared a session keeps the rate by itself' => sub {
	sql("ALTER SERVER crm OPTIONS (SET rate '[{\"calls\": 7, \"per\": \"1 hour\"}]')");
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
	$node->restart;
	my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT count(*) FROM crm.contacts; SELECT count(*) FROM crm.contacts");
	like("$out $err", qr/^4? .*canceling statement due to statement timeout/s, 'it waits');
};
$node->stop('fast');

done_testing();
