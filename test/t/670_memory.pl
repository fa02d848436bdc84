# Two thousand hostile answers leave nothing behind in the process that reads them.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 10);
my $node = activate_node('memory', conf => 'activate.max_attempts = 1');

sub sql { return $node->safe_psql('postgres', $_[0]); }

my %answers = (
	broken  => { fault => 'garbage' },
	large   => { fault => 'bigbody', bytes => 300_000 },
	deep    => { fault => 'status', status => 422, body => '{"error": ' . ('[' x 50_000) },
	wordy   => { fault => 'status', status => 422, body => '{"message": "' . ('no ' x 50_000) . '"}' },
	strange => { fault => 'status', status => 200, body => '{"results": [' . join(', ', map { "{\"status\": $_}" } 1 .. 5000) . ']}' });
sql('CREATE TABLE item (id int PRIMARY KEY, v text)');
for my $answer (sort keys %answers)
{
	$crm->control({ %{ $answers{$answer} }, path => "/hook/$answer" });
	sql("SELECT activate_target('$answer', 'webhook', '{\"url\": \"" . $crm->url("/hook/$answer") . "\"}', '{\"bearer\": \"a secret\"}');
		SELECT activate_sync('$answer', 'item', '$answer.change', capture => 'trigger')");
}

sub rss
{
	my ($pid) = worker_pids($node, 'deliver');
	my ($kb) = slurp_file("/proc/$pid/status") =~ /VmRSS:\s*(\d+)/;
	return ($pid, $kb);
}

sub rejected
{
	my ($round) = @_;
	sql("INSERT INTO item SELECT i, repeat('x', 200) FROM generate_series(1, 400) i ON CONFLICT (id) DO UPDATE SET v = excluded.v || $round");
	ok(delivered($node), 'all answered');
	is(sql("SELECT count(*) FROM activate.receipt WHERE outcome = 'rejected'"), 2000 * $round, 'all rejected');
	return;
}

rejected(1);
my ($pid, $before) = rss();
rejected(2);
my ($same, $after) = rss();
is($same, $pid, 'the same deliverer');
cmp_ok($after - $before, '<', 8192, "memory after 2000 more ($before kB before)");

$node->stop('fast');
done_testing();
