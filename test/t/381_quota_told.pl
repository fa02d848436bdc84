# What an API says of its budgets, in the dialects that there are: calls that are left, and requests to wait.
use strict;
use warnings;

use ActivateTest;
use POSIX        ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('told', conf => "activate.retry_backoff = '1min'\nactivate.retry_backoff_max = '1min'\nactivate.http_timeout = '2s'");
my $now  = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub http_date { return POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime $_[0]); }

sub passes
{
	$now += $_[0];
	return sql("ALTER SYSTEM SET activate.clock_offset = $now; SELECT pg_reload_conf()");
}

sub declare
{
	my ($name, $options) = @_;
	my $url = $crm->url("/hook/$name");

	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}');
		CREATE TABLE $name (id bigint PRIMARY KEY, v text); SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
}

sub rests
{
	my ($name, $condition) = @_;

	return $node->poll_query_until('postgres', "SELECT in_flight = 0 AND $condition FROM activate.stat_target WHERE name = '$name'");
}

# name, options, headers of one answer, calls that may follow it
my @said = (
	[ 'fields', '', { 'RateLimit-Remaining' => 3, 'RateLimit-Limit' => 100, 'RateLimit-Reset' => 600 } ],
	[ 'draft_old', '', { 'RateLimit' => 'limit=100, remaining=3, reset=600' } ],
	[ 'draft_new', '', { 'RateLimit' => '"minute";r=50;t=60, "hour";r=3;t=600' } ],
	[ 'seconds', '', { 'X-RateLimit-Remaining' => 3, 'X-RateLimit-Reset' => '600.5' } ],
	[ 'epoch', '', { 'X-RateLimit-Remaining' => 3, 'X-RateLimit-Reset' => time + 600 } ],
	[ 'epoch_ms', '', { 'X-Rate-Limit-Remaining' => 3, 'X-Rate-Limit-Reset' => 1000 * (time + 600) } ],
	[ 'date', '', { 'X-RateLimit-Remaining' => 3, 'X-RateLimit-Reset' => http_date(time + 600) } ],
	[ 'named', ', "quota": [{"remaining": "X-Left", "reset": "X-Again"}]', { 'X-Left' => 3, 'X-Again' => 600 } ],
	[ 'holds', ', "quota": [{"remaining": "X-Left", "per": "10 min"}]', { 'X-Left' => 3 } ],
	[ 'bucket', ', "quota": [{"used": "X-Calls", "per": "10 min"}]', { 'X-Calls' => '37/40' } ],
	[ 'usage', ', "quota": [{"used": "X-Info", "per": "10 min"}]', { 'X-Info' => 'api-usage=97/100' } ],
	[ 'counted', ', "quota": [{"used": "X-Used", "limit": "X-Max", "per": "10 min"}]', { 'X-Used' => 97, 'X-Max' => 100 } ],
	[ 'tighter', ', "rate": [{"calls": 8, "per": "10 min"}]', { 'RateLimit-Remaining' => 3, 'RateLimit-Reset' => 60 } ],
);

subtest 'what is left is not exceeded, whoever else uses the account' => sub {
	for my $case (@said)
	{
		my ($name, $options, $headers) = @$case;

		declare($name, $options);
		$crm->control({ fault => 'status', path => "/hook/$name", status => 200, body => '{}', headers => $headers, count => 1 });
		sql("INSERT INTO $name VALUES (0)");
		ok(delivered($node, $name), "$name: delivered");
		sql("INSERT INTO $name SELECT i FROM generate_series(1, 9) i");
		ok(rests($name, 'quota = 0'), "$name: nothing is left");
		is($crm->calls("/hook/$name", 4), 4, "$name: as many as were");
		is(sql("SELECT state FROM activate.stat_target WHERE name = '$name'"), 'up', "$name: is no trouble");
	}
	passes(61);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'tighter'"), 'what was told holds for its time only');
	ok(rests('tighter', 'quota = 0'), 'then it is the declared rate again');
	is($crm->calls('/hook/tighter', 8), 8, 'that counts');
	is(pending($node, $_->[0]), 6, "$_->[0]: not yet") for grep { $_->[0] ne 'tighter' } @said;
	passes(600);
	ok(delivered($node, $_->[0]), "$_->[0]: renewed") for @said;
};

subtest 'what cannot be' => sub {
	my @nonsense = (
		[ 'words', { 'X-RateLimit-Remaining' => 'many', 'X-RateLimit-Reset' => 600 } ],
		[ 'past', { 'X-RateLimit-Remaining' => 0, 'X-RateLimit-Reset' => 1000000000 } ],
		[ 'huge', { 'RateLimit-Remaining' => '99999999999999999999', 'RateLimit-Reset' => 600 } ],
		[ 'minus', { 'RateLimit-Remaining' => '-1', 'RateLimit-Reset' => 600 } ],
		[ 'draft', { 'RateLimit' => ';;,,=r,"";r=;t=;r' } ]);

	for my $case (@nonsense)
	{
		my ($name, $headers) = @$case;

		declare($name, '');
		$crm->control({ fault => 'status', path => "/hook/$name", status => 200, body => '{}', headers => $headers, count => 1 });
		sql("INSERT INTO $name VALUES (0)");
		ok(delivered($node, $name), "$name: delivered");
		sql("INSERT INTO $name SELECT i FROM generate_series(1, 9) i");
		ok(delivered($node, $name), "$name: is as if it had not been said");
	}
};

# name, options, status, body, headers, seconds
my $codes = ', "throttle": {"code": "policyName", "codes": {"TEN_SECONDLY": "10s", "DAILY": "1 day", "606": "20s"}, "wait": "30s"}';
my @later = (
	[ 'after', '', 429, '', { 'Retry-After' => 500 }, 500 ],
	[ 'after_date', '', 429, '', { 'Retry-After' => http_date(time + 661 + 500) }, 500 ],
	[ 'until', '', 429, '', { 'X-RateLimit-Remaining' => 0, 'X-RateLimit-Reset' => 500 }, 500 ],
	[ 'unavailable', '', 503, '', { 'Retry-After' => 500 }, 500 ],
	[ 'policy', $codes, 429, '{"policyName": "DAILY"}', {}, 86400 ],
	[ 'code', $codes, 200, '{"success": false, "policyName": 606}', {}, 20 ],
	[ 'forbidden', $codes, 403, '{"policyName": "TEN_SECONDLY"}', {}, 10 ],
	[ 'header_first', $codes, 429, '{"policyName": "DAILY"}', { 'Retry-After' => 500 }, 500 ],
	[ 'nothing', $codes, 429, '', {}, 30 ]);

subtest 'it asks to wait' => sub {
	for my $case (@later)
	{
		my ($name, $options, $status, $body, $headers, $seconds) = @$case;

		declare($name, $options);
		$crm->control({ fault => 'status', path => "/hook/$name", status => $status, body => $body, headers => $headers, count => 1 });
		sql("INSERT INTO $name VALUES (0)");
		ok(rests($name, "state = 'throttled'"), "$name: throttled");
		my $told = sql("SELECT extract(epoch FROM next_probe - now())::int - $now FROM activate.stat_target WHERE name = '$name'");
		cmp_ok(abs($told - $seconds), '<=', 9, "$name: for $seconds seconds ($told)") or diag sql("TABLE activate.stat_target");
		is(sql("SELECT quota FROM activate.stat_target WHERE name = '$name'"), 0, "$name: nothing is left");
		is(sql("SELECT sum(attempts) FROM activate.outbox"), 0, "$name: no attempt");
	}
	passes(501);
	for my $case (@later)
	{
		next if $case->[5] == 86400;
		ok(delivered($node, $case->[0]), "$case->[0]: delivered when it is over");
		is($crm->calls("/hook/$case->[0]", 2), 2, "$case->[0]: and not before");
	}
	is(pending($node, 'policy'), 1, 'a day is longer');
	passes(86400);
	ok(delivered($node, 'policy'), 'and passes');
	is(sql('SELECT count(*) FROM activate.rejection'), 0, 'nothing is rejected for it');
};

subtest 'calls at once' => sub {
	declare('narrow', ', "concurrent": 2');
	$crm->control({ fault => 'hang', path => '/hook/narrow' });
	sql('INSERT INTO narrow SELECT i FROM generate_series(1, 9) i');
	ok($node->poll_query_until('postgres', "SELECT in_flight = 2 FROM activate.stat_target WHERE name = 'narrow'"), 'two are in flight');
	is($crm->calls('/hook/narrow', 2), 2, 'no third');
	$crm->heal;
	ok($node->poll_query_until('postgres', "SELECT max(attempts) = 1 FROM activate.outbox"), 'they have no answer');
	passes(61);
	ok(delivered($node, 'narrow'), 'others take their place');
};

subtest 'one who was asked to wait asks for all' => sub {
	my $url = $crm->url;

	sql("SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"contacts\": {\"path\": \"/objects/contacts\", \"key\": \"id\",
			\"columns\": {\"id\": \"bigint\"}, \"read\": {\"records\": \"data\"}, \"write\": {\"upsert\": {}}}}}');
		CREATE TABLE c (id bigint PRIMARY KEY); SELECT activate_sync('c', 'c', 'crm.contacts', capture => 'trigger')");
	$crm->control({ fault => 'status', path => '/objects', status => 429, retry_after => '3000', count => 1 });
	sql('INSERT INTO c VALUES (1)');
	ok(rests('crm', "state = 'throttled'"), 'a write was refused');
	my ($code, $out, $err) = $node->psql('postgres', 'SELECT * FROM crm.contacts');
	like($err, qr/could not read foreign table "crm.contacts": the API has asked to wait for \d+ seconds.*All who use the account wait/s, 'a reader does not ask again');
	is($crm->calls('/objects', 1), 1, 'nor does anybody else');
	passes(3001);
	ok(delivered($node, 'c'), 'until it is over');
	is(sql("SET activate.clock_offset = $now; SELECT count(*) FROM crm.contacts"), 1, 'for readers, too');

	$crm->control({ fault => 'status', path => '/objects', status => 429, retry_after => '3000', count => 1 });
	($code, $out, $err) = $node->psql('postgres', 'SELECT * FROM crm.contacts');
	like($err, qr/the API answered with status 429/, 'a read was refused');
	sql('INSERT INTO c VALUES (2)');
	ok(rests('crm', 'quota = 0'), 'there is nothing left for who writes');
	is($crm->calls('/objects', 4), 4, 'who waits, too');
	passes(3001);
	ok(delivered($node, 'c'), 'until it is over, again');

	$crm->control({ fault => 'status', path => '/objects', status => 429, retry_after => '3000', count => 1 });
	sql('INSERT INTO c VALUES (3)');
	ok(rests('crm', "state = 'throttled'"), 'once more');
	sql("SELECT activate_resume('target:crm')");
	ok(delivered($node, 'c'), 'an operator need not wait');
};
$node->stop('fast');

done_testing();
