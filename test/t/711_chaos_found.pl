# What make chaos found, each alone and without chance.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('found', conf => "activate.http_timeout = '30s'\nactivate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub asked { return map { JSON::PP::decode_json($_->{body}) } @{ $crm->log("/hook/$_[0]") }; }

sub wait_for
{
	my ($sync, $count) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if asked($sync) >= $count;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub declare
{
	my ($name) = @_;

	return sql("CREATE TABLE $name (id int PRIMARY KEY, v text); INSERT INTO $name VALUES (1, 'a');
		SELECT activate_target('$name', 'webhook', '{\"url\": \"" . $crm->url("/hook/$name") . "\"}');
		SELECT activate_sync('$name', '$name', '$name.change')");
}

# A content that came after an attempt of unknown outcome goes with a raised seq, and the receiver may have taken it when we
# crash: a receiver that goes by seq and id must take what comes next.
for my $case ([ 'older', 'c', \0 ], [ 'again', 'a', \1 ])
{
	my ($name, $last, $applied) = @$case;

	subtest "what comes after a crash is not dropped as older: $name" => sub {
		declare($name);
		$crm->control({ fault => 'garbage', applied => $applied, ms => 1000, path => "/hook/$name", count => 1 });
		$crm->control({ fault => 'hang', applied => \1, path => "/hook/$name", count => 1 });
		sql("SELECT activate_run('$name')");
		ok(wait_for($name, 1), 'the first content is under way, and will get an answer that cannot be read');
		sql("UPDATE $name SET v = 'b'");
		ok(wait_for($name, 2), 'the second one gets none, but the receiver took it');
		sql("UPDATE $name SET v = '$last'");
		kill_hard(worker_pids($node, 'deliver'));
		ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is back');
		ok(delivered($node, $name), 'delivered after the crash');
		note map { "$_->{seq} $_->{id} $_->{row}{v}\n" } asked($name);
		is(sql("SELECT t.image ->> 'v' FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = '$name'"), $last, 'we think that it holds the last content');

		is(JSON::PP::decode_json($crm->hook_rows($name, $name))->[0]{v}, $last, 'and it does');
	};
}

# The same without a crash: what was rendered to follow an attempt of unknown outcome waits for the only connection, the target
# goes down meanwhile, and it is rendered once more.
subtest 'what is rendered twice before it goes is not older than what went' => sub {
	sql('ALTER SYSTEM SET activate.connections = 1');
	sql('ALTER SYSTEM SET activate.stalled_connections = 0');
	$node->restart;
	declare('twice');
	sql("CREATE TABLE beside$_ AS SELECT $_ AS id, 'x' AS v; ALTER TABLE beside$_ ADD PRIMARY KEY (id); SELECT activate_sync('beside$_', 'beside$_', 'twice.change')") for 2 .. 6;
	$crm->control({ fault => 'garbage', applied => \1, ms => 1500, path => '/hook/twice', count => 1 });
	$crm->control({ fault => 'status', status => 503, ms => 200, path => '/hook/twice', count => 5 });
	sql("SELECT activate_run('twice')");
	ok(wait_for('twice', 1), 'the first content is under way, and will get an answer that cannot be read');
	sql(join ';', "UPDATE twice SET v = 'b'", map { "SELECT activate_run('beside$_')" } 2 .. 6);
	ok(delivered($node), 'five other calls fail, then all is delivered');
	like(slurp_file($node->logfile), qr/target "twice" is down/, 'the target was down');
	my @told = grep { $_->{sync} eq 'twice' } asked('twice');
	is(join(' ', map { $_->{row}{v} } @told), 'a b', 'the second content came last');
	cmp_ok($told[-1]{seq}, '>', $told[0]{seq}, 'and is no older than the first');
};

# A message under a raised number arrived without an answer and was refused when repeated; what comes next was enqueued before that
# number was drawn.
subtest 'what follows a refusal is not older than what was refused' => sub {
	sql('ALTER SYSTEM RESET ALL');
	$node->restart;
	$crm->heal;
	sql("CREATE TABLE refused (id int PRIMARY KEY, v text); INSERT INTO refused VALUES (1, 'a');
		SELECT activate_target('refused', 'webhook', '{\"url\": \"" . $crm->url('/hook/refused') . "\"}');
		SELECT activate_sync('refused', 'refused', 'refused.change', capture => 'trigger'); SELECT activate_run('refused')");
	ok(delivered($node, 'refused'), 'it is there');
	my ($run, $change) = map { ActivateTest::Session->new($node->connstr('postgres')) } 1 .. 2;
	$run->run("BEGIN; SELECT activate_run('refused', true)");
	sql("UPDATE refused SET v = 'b'");
	ok(wait_for('refused', 2), 'a change that came after the run goes before it');
	ok(delivered($node, 'refused'), 'is delivered');
	$change->run("BEGIN; UPDATE refused SET v = 'c'");
	$crm->control({ fault => 'half', path => '/hook/refused', count => 1 });
	$crm->control({ reject => { field => 'v', equals => 'b', status => 422, error => 'no' } });
	$run->run('COMMIT');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'refused'"), 'the message of the run is refused');
	$crm->control({ reject => undef });
	$change->run('COMMIT');
	ok(delivered($node, 'refused'), 'then the other change is delivered');
	my @told = asked('refused');
	is($told[-1]{row}{v}, 'c', 'it came last');
	cmp_ok($told[-1]{seq}, '>', $told[-2]{seq}, 'and is no older');
	is(JSON::PP::decode_json($crm->hook_rows('refused', 'refused'))->[0]{v}, 'c', 'so the receiver has taken it');
	$_->close for $run, $change;
};

# A delete leaves no row that tells its number: whoever enqueued before that was drawn, and commits after, is not older.
for my $crash (0, 1)
{
	subtest 'what follows a delete is not older than it' . ($crash ? ', after a crash' : '') => sub {
		my $name   = "gone$crash";
		my $run    = ActivateTest::Session->new($node->connstr('postgres'));
		my $unseen = "ALTER TABLE $name DISABLE TRIGGER ALL; DELETE FROM $name WHERE id = 1; ALTER TABLE $name ENABLE TRIGGER ALL";

		sql("CREATE TABLE $name (id int PRIMARY KEY, v text);
			SELECT activate_target('$name', 'webhook', '{\"url\": \"" . $crm->url("/hook/$name") . "\"}');
			SELECT activate_sync('$name', '$name', '$name.change', mode => 'mirror', capture => 'trigger');
			INSERT INTO $name SELECT i, 'a' FROM generate_series(1, 9) i");
		ok(delivered($node, $name), 'it is there');
		sql($unseen);
		$run->run("BEGIN; SELECT activate_run('$name')");
		sql("INSERT INTO $name VALUES (1, 'b')");
		ok(delivered($node, $name), 'a change that came after the run goes before it');
		sql($unseen);
		sql("BEGIN; INSERT INTO $name VALUES (1, 'c'); PREPARE TRANSACTION '$name'");
		$run->run('COMMIT');
		ok($node->poll_query_until('postgres', "SELECT count(*) = 8 FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = '$name'"), 'then the delete of the run is delivered');
		$run->close;
		if ($crash)
		{
			kill_hard(worker_pids($node, 'deliver'));
			ok($node->poll_query_until('postgres', 'SELECT true'), 'a crash');
		}
		sql("COMMIT PREPARED '$name'");
		ok(delivered($node, $name), 'what was enqueued before it is committed');
		same_rows($node, $crm->hook_rows($name, $name), "SELECT * FROM $name", 'and the receiver has taken it');
	};
}

$node->stop('fast');
done_testing();
