# Partial failures in the four shapes of answers, and the search for the bad row of a refused call.
use strict;
use warnings;

use ActivateTest;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('batch', conf => "activate.max_attempts = 12\nactivate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'");
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A server that breaks down (500) at every request whose body contains a text.
sub fragile
{
	my ($text) = @_;
	my $listen = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
	my $pid = fork // die $!;

	return ($listen->sockport, $pid) if $pid;
	# not what newer majors do: to die, and end the server of the test on the way
	$SIG{TERM} = 'DEFAULT';
	while (my $peer = $listen->accept)
	{
		my ($length, $body) = (0, '');

		while (defined(my $line = <$peer>))
		{
			$length = $1 if $line =~ /^content-length: *(\d+)/i;
			last if $line =~ /^\r?$/;
		}
		read $peer, $body, $length;
		my $status = index($body, $text) < 0 ? '200 OK' : '500 Broken';
		print $peer "HTTP/1.1 $status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
		close $peer;
	}
	POSIX::_exit(0);
}

my %answers = (
	status => '{"shape": "status", "error": "error"}',
	array  => '{"shape": "array", "status": "status", "error": "error", "id": "id"}',
	errors => '{"shape": "errors", "path": "errors", "index": "index", "error": "message"}',
	keyed  => '{"shape": "keyed", "path": "results", "key": "key", "column": "id", "ok": "ok", "error": "error"}');

# rows 13 and 77 of 100 are refused
for my $shape (sort keys %answers)
{
	my $name = "${shape}_rows";

	sql("SELECT activate_target('$name', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"$name\": {
			\"path\": \"/objects/$name\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\", \"reject\": \"boolean\"},
			\"write\": {\"upsert\": {\"path\": \"/objects/$name/batch/upsert?shape=$shape\", \"batch\": 100, \"envelope\": \"inputs\"},
				\"delete\": {\"path\": \"/objects/$name/batch/delete?shape=$shape\", \"batch\": 100, \"envelope\": \"inputs\", \"body\": \"row\"}},
			\"answer\": $answers{$shape}}}}');
		CREATE TABLE $name AS SELECT i::bigint AS id, 'row ' || i AS name, i IN (13, 77) AS reject FROM generate_series(1, 100) i;
		ALTER TABLE $name ADD PRIMARY KEY (id);
		SELECT activate_sync('$name', '$name', '$name.$name', mode => 'mirror');
		SELECT activate_run('$name')");
	ok(delivered($node, $name), "$shape: done");
	same_rows($node, $crm->objects($name), "SELECT * FROM $name WHERE NOT reject", "$shape: the good rows are there");
	is(sql("SELECT string_agg(r.key ->> 'id', ' ' ORDER BY r.key) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$name'"), '13 77', "$shape: the bad ones are rejected");
	is(sql("SELECT count(*) FROM activate.sent r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'"), 98,
		"$shape: what is known to be there");

	my @sizes = map { scalar @{ JSON::PP::decode_json($_->{body})->{inputs} } } @{ $crm->log("/objects/$name") };
	is($sizes[0], 100, "$shape: one call of all");
	if ($shape eq 'status')
	{
		cmp_ok(scalar @sizes, '<=', 30, "$shape: refused as a whole, bisected");
	}
	else
	{
		is(scalar @sizes, 1, "$shape: nothing sent twice");
	}

	# mended, and some deleted
	sql("UPDATE $name SET reject = false; DELETE FROM $name WHERE id BETWEEN 20 AND 24; SELECT activate_run('$name')");
	ok(delivered($node, $name), "$shape: mended");
	same_rows($node, $crm->objects($name), "TABLE $name", "$shape: equal");
	is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'"), 0,
		"$shape: no rejection is left");
}
like(sql("SELECT string_agg(DISTINCT outcome, ' ') FROM activate.receipt"), qr/^delivered rejected$/, 'no other outcomes');

# 413: halves at once, without attempts
sql("SELECT activate_target('large', 'webhook', '{\"url\": \"$url/hook/large\", \"batch\": 100}');
	CREATE TABLE large AS SELECT i AS id FROM generate_series(1, 200) i; ALTER TABLE large ADD PRIMARY KEY (id);
	SELECT activate_sync('large', 'large', 'large.change')");
$crm->control({ max_batch => 30 });
sql("SELECT activate_run('large')");
ok(delivered($node, 'large'), '413: delivered in smaller calls');
same_rows($node, $crm->hook_rows('large', 'large'), 'TABLE large', '413: all of them');
is(sql("SELECT string_agg(DISTINCT r.outcome, ' ') FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'large'"),
	'delivered', '413: no attempt');
$crm->control({ max_batch => undef });

# 5xx because of one row: bisected where a repeat is safe, the others get through
my ($port, $server) = fragile('"row 7"');
sql("SELECT activate_target('fragile', 'rest', '{\"base_url\": \"http://127.0.0.1:$port\", \"objects\": {\"rows\": {
		\"path\": \"/rows\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\"},
		\"write\": {\"upsert\": {\"batch\": 40}}}}}');
	CREATE TABLE poison AS SELECT i::bigint AS id, 'row ' || i AS name FROM generate_series(1, 40) i;
	ALTER TABLE poison ADD PRIMARY KEY (id);
	SELECT activate_sync('poison', 'poison', 'fragile.rows'); SELECT activate_run('poison')");
ok(delivered($node, 'poison'), '5xx: done');
is(sql("SELECT string_agg(r.key::text || ' ' || r.code || ' ' || r.attempts, ', ') FROM activate.rejection r"), '{"id": 7} 500 12',
	'5xx: only the bad row is rejected, after all its attempts');
is(sql("SELECT count(*) FROM activate.sent r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'poison'"), 39,
	'5xx: the others are delivered');
kill 'TERM', $server;

# ... also if there is one in every call, so that the target seems to be down
($port, $server) = fragile('poison');
sql("SELECT activate_target('worse', 'rest', '{\"base_url\": \"http://127.0.0.1:$port\", \"objects\": {\"rows\": {
		\"path\": \"/rows\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\"},
		\"write\": {\"upsert\": {\"batch\": 40}}}}}');
	CREATE TABLE worse AS SELECT i::bigint AS id, CASE WHEN i % 4 = 0 THEN 'poison' ELSE 'row' END AS name FROM generate_series(1, 40) i;
	ALTER TABLE worse ADD PRIMARY KEY (id);
	SELECT activate_sync('worse', 'worse', 'worse.rows'); SELECT activate_run('worse')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 30 FROM activate.sent r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'worse'"),
	'5xx: bad rows everywhere, the good ones get through');
kill 'TERM', $server;

# where a repeat may do harm, a batch that failed is not taken apart
sql("SELECT activate_target('once', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"once\": {
		\"path\": \"/objects/once\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\"},
		\"write\": {\"insert\": {\"path\": \"/objects/once/batch/upsert?shape=status\", \"batch\": 40, \"envelope\": \"inputs\"}}}}}');
	CREATE TABLE once AS SELECT i::bigint AS id FROM generate_series(1, 10) i; SELECT activate_sync('once', 'once', 'once.once', key => 'id', mode => 'insert')");
$crm->control({ fault => 'status', path => '/objects/once', status => 500 });
sql("SELECT activate_run('once')");
ok($node->poll_query_until('postgres', "SELECT failures >= 3 FROM activate.stat_target WHERE name = 'once'"), '5xx: inserts');
# each row waits for itself: let all be due
sql("SELECT activate_pause('target:once')");
ok($node->poll_query_until('postgres', "SELECT max(due_at) < now() FROM activate.outbox"), '5xx: all due');
$crm->heal;
sql("SELECT activate_resume('target:once')");
ok(delivered($node, 'once'), '5xx: in the end');
is(scalar @{ JSON::PP::decode_json($crm->log('/objects/once')->[-1]{body})->{inputs} }, 10, '5xx: inserts that may have been carried out stay together');

$node->stop('fast');
done_testing();
