# Every answer there is, byte by byte, from a receiver that says what it is told to say: SEMANTICS 5 and 9. And the bytes of
# the requests that it got.
use strict;
use warnings;

use ActivateTest;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

# By name: [status line, headers, body, how often before it says 200 (0: always)].
my %answers = (
	map({ ("s$_" => [ "$_ X", '', '', 1 ]) } qw(408 425 500 502 503 504 429)),
	map({ ("s$_" => [ "$_ X", '', "{\"error\": \"$_ for you\"}", 0 ]) } qw(400 404 405 409 410 413 418 422 451)),
	map({ ("s$_" => [ "$_ X", "Location: http://127.0.0.1:PORT/elsewhere\r\n", '', 0 ]) } qw(300 301 302 303 304 307 308)),
	map({ ("s$_" => [ "$_ X", '', '', 0 ]) } qw(201 202 204 206)),
	text       => [ '200 OK', '', 'thank you', 0 ],
	other_json => [ '200 OK', '', '{"result": "fine", "data": []}', 0 ],
	array      => [ '200 OK', '', '[{"status": 500}]', 0 ],
	one_ok     => [ '200 OK', '', '{"results": [{"status": 204}]}', 0 ],
	one_404    => [ '200 OK', '', '{"results": [{"status": 404, "error": "no such thing"}]}', 0 ],
	one_302    => [ '200 OK', '', '{"results": [{"status": 302}]}', 0 ],
	one_503    => [ '200 OK', '', '{"results": [{"status": 503, "error": "busy"}]}', 1 ],
	one_408    => [ '207 Multi', '', '{"results": [{"status": 408}]}', 1 ],
	one_429    => [ '200 OK', '', '{"results": [{"status": 429}]}', 1 ],
	none       => [ '200 OK', '', '{"results": []}', 0 ],
	two        => [ '200 OK', '', '{"results": [{"status": 200}, {"status": 200}]}', 0 ],
	word       => [ '200 OK', '', '{"results": "fine"}', 0 ],
	number     => [ '200 OK', '', '{"results": [200]}', 0 ],
	no_status  => [ '200 OK', '', '{"results": [{}]}', 0 ],
	broken     => [ '200 OK', '', '{"results": [{"status": 2', 0 ],
	later      => [ '503 X', "Retry-After: 1\r\n", '', 1 ],
	later_500  => [ '500 X', "Retry-After: 3600\r\n", '', 0 ],
	past       => [ '429 X', "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", '', 2 ],
	zero       => [ '429 X', "Retry-After: 0\r\n", '', 2 ],
	negative   => [ '429 X', "Retry-After: -5\r\n", '', 2 ],
	garbage    => [ '429 X', "Retry-After: soon\r\n", '', 2 ],
	empty      => [ '429 X', "Retry-After:\r\n", '', 2 ],
	huge       => [ '429 X', "Retry-After: 99999999999999999999\r\n", '', 1 ]);

my $requests = PostgreSQL::Test::Utils::tempdir() . '/requests';

# Says what the row asks for, and keeps each request as it came.
sub receiver
{
	my $listen = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
	my $pid = fork // die $!;
	my %said;

	return ($listen->sockport, $pid) if $pid;
	# not what newer majors do: to die, and end the server of the test on the way
	$SIG{TERM} = 'DEFAULT';
	while (my $peer = $listen->accept)
	{
		my ($head, $length, $body) = ('', 0, '');

		while (defined(my $line = <$peer>))
		{
			$length = $1 if $line =~ /^content-length: *(\d+)/i;
			$head .= $line;
			last if $line =~ /^\r?$/;
		}
		while (length $body < $length)
		{
			read($peer, $body, $length - length $body, length $body) or last;
		}
		open my $file, '>>', $requests or die $!;
		print $file JSON::PP::encode_json([ $head, $body ]) . "\n";
		close $file;

		my ($name) = $body =~ /"say": "(\w+)"/;
		my ($status, $headers, $answer, $times) = @{ $answers{ $name // '' } // [ '200 OK', '', '{}', 0 ] };
		($status, $headers, $answer) = ('200 OK', '', '{}') if $times && ++$said{$name} > $times;
		my $port = $listen->sockport;
		$headers =~ s/PORT/$port/;
		print $peer "HTTP/1.1 $status\r\n$headers" . ($status =~ /^(204|304)/ ? '' : 'Content-Length: ' . length($answer) . "\r\n") . "Connection: close\r\n\r\n$answer";
		close $peer;
	}
	POSIX::_exit(0);
}

sub received { return map { JSON::PP::decode_json($_) } split /\n/, slurp_file($requests); }

my ($port, $server) = receiver();
my $node = activate_node('answers', conf => "activate.max_attempts = 3\nactivate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '20ms'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $id = sql("SELECT activate_target('say', 'webhook', '{\"url\": \"http://127.0.0.1:$port/say\"}');
	CREATE TABLE say (id int PRIMARY KEY, say text, filler text);
	SELECT activate_sync('say', 'say', 'say.change', capture => 'trigger')") =~ s/^say\n//r;
my $n = 0;

# Rows whose receiver says that, all at once. By name: receipts; and what stands in rejection: code, reason, attempts.
sub say
{
	my %ids  = map { $_ => ++$n } @_;
	my $told = {};

	sql('INSERT INTO say VALUES ' . join(', ', map { "($ids{$_}, '$_')" } @_));
	delivered($node, 'say') or die "@_: not settled";
	for my $line (split /\n/, sql("SELECT s.say, (SELECT string_agg(concat_ws(' ', r.outcome, r.code), ', ' ORDER BY r.id) FROM activate.receipt r WHERE r.sync = $id AND r.key ->> 'id' = s.id::text),
		(SELECT concat_ws(' ', j.code, j.reason, j.attempts) FROM activate.rejection j WHERE j.sync = $id AND j.key ->> 'id' = s.id::text) FROM say s WHERE s.id IN (" . join(', ', values %ids) . ')'))
	{
		my ($name, @rest) = split /\|/, $line, 3;
		$told->{$name} = join '; ', @rest;
	}
	return $told;
}

subtest 'classes of a status' => sub {
	my @rejected = qw(400 404 405 409 410 413 418 422 451);
	my @moved    = qw(300 301 302 303 304 307 308);
	my @accepted = qw(201 202 204 206);
	my $told     = say(map { "s$_" } @rejected, @moved, @accepted);

	is($told->{"s$_"}, "rejected $_; $_ $_ for you 1", "$_: rejected at once, with the reason of the answer") for @rejected;
	is($told->{"s$_"}, "rejected $_; $_ HTTP $_: redirects of writes are never followed 1", "$_: rejected") for @moved;
	is($told->{"s$_"}, "delivered $_; ", "$_: accepted") for @accepted;
	is(scalar(grep { $_->[0] =~ m{^\S+ /elsewhere} } received()), 0, 'no redirect was followed');

	# no more at once than leave the target up
	for my $codes ([qw(408 425 500 502)], [qw(503 504)])
	{
		$told = say(map { "s$_" } @$codes);
		is($told->{"s$_"}, "retried $_, delivered 200; ", "$_: an attempt, then again") for @$codes;
	}
	is(say('s429')->{s429}, 'delivered 200; ', '429: no attempt, no receipt');
};

subtest 'results' => sub {
	my %expected = (
		map({ ($_ => 'delivered 200; ') } qw(text other_json array)),
		one_ok  => 'delivered 204; ',
		one_404 => 'rejected 404; 404 no such thing 1',
		one_302 => 'rejected 302; 302 HTTP 302: redirects of writes are never followed 1',
		one_503 => 'retried 503, delivered 200; ',
		one_408 => 'retried 408, delivered 200; ',
		map({ ($_ => 'ambiguous 200, ambiguous 200, rejected 200; 200 the answer has another length or shape than what was sent 3') } qw(none two word number no_status)),
		broken => 'ambiguous 200, ambiguous 200, rejected 200; 200 the answer is not the JSON that was expected 3');
	my $told = say(sort keys %expected);

	is($told->{$_}, $expected{$_}, "2xx with a body: $_") for sort keys %expected;
	is(say('one_429')->{one_429}, 'delivered 200; ', '429 of a row: no attempt');
	is(sql("SELECT state FROM activate.stat_target WHERE name = 'say'"), 'up', 'a target that answers in a strange way is up');
};

subtest 'Retry-After' => sub {
	my @kinds = qw(past zero negative garbage empty);
	my $told = say('later', @kinds);

	is($told->{later}, 'delivered 200; ', '503 that says when is throttling: no attempt');
	is($told->{$_}, 'delivered 200; ', "429, $_: waits by itself, no attempt") for @kinds;

	# a row that is to wait, not the target
	$n++;
	sql("INSERT INTO say VALUES ($n, 'later_500')");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.outbox WHERE sync = $id AND attempts = 1 AND due_at > now() + interval '59 minutes'"),
		'500 that says when: an attempt, and the row waits as told');
	sql("SELECT activate_discard('say')");

	$n++;
	sql("INSERT INTO say VALUES ($n, 'huge')");
	ok($node->poll_query_until('postgres', "SELECT next_probe - now() BETWEEN interval '23 hours' AND interval '24 hours' AND state = 'throttled' FROM activate.stat_target WHERE name = 'say'"),
		'more than a day is taken for a mistake: a day');
	is(sql("SELECT attempts FROM activate.outbox WHERE sync = $id"), 0, 'no attempt');
	$node->restart;
	ok(delivered($node, 'say'), 'a restart asks anew');
};

# What any server's log would show.
subtest 'the bytes of a request' => sub {
	sql("INSERT INTO say VALUES (100, 'big', repeat('x', 300000)), (101, 'umlauts', repeat('ü', 100))");
	ok(delivered($node, 'say'), 'delivered');
	my @received = received();
	for my $request (@received)
	{
		my ($head, $body) = @$request;
		my %headers = map { /^([^:]+): *(.*?)\r$/ ? (lc $1 => $2) : () } split /\n/, $head;
		my ($id) = $body =~ /^\{"id": "([0-9a-f-]{36})"/;
		my $good = $head =~ m{^POST /say HTTP/1\.1\r\n} && ($headers{'content-length'} // '') eq length($body) && !exists $headers{'transfer-encoding'}
			&& !exists $headers{expect} && ($headers{'content-type'} // '') eq 'application/json' && ($headers{'idempotency-key'} // '') eq $id;
		next if $good;
		fail('a request: ' . substr($head, 0, 300));
	}
	my ($big) = grep { length $_->[1] > 300000 } @received;
	ok($big, 'a large one in one piece');
	my ($umlauts) = grep { $_->[1] =~ /umlauts/ } @received;
	like($umlauts->[0], qr/^Content-Length: @{[ length $umlauts->[1] ]}\r$/m, 'Content-Length counts bytes');
	cmp_ok(scalar @received, '>', 60, 'and so do all the others');
};

# 401, 403, 407: nothing is used up, whatever says so
subtest 'refused credentials' => sub {
	kill 'TERM', $server;
	waitpid $server, 0;
	unlink $requests;
	$answers{"a$_"} = [ "$_ X", '', '{"error": "token t0ps3cret is bad"}', 0 ] for qw(401 403 407);
	$answers{one_401} = [ '200 OK', '', '{"results": [{"status": 401, "error": "token t0ps3cret is bad"}]}', 0 ];
	for my $name (qw(a401 a403 a407 one_401))
	{
		($port, $server) = receiver();
		sql("SELECT activate_target('say', 'webhook', '{\"url\": \"http://127.0.0.1:$port/say\"}')");
		$n++;
		sql("INSERT INTO say VALUES ($n, '$name')");
		ok($node->poll_query_until('postgres', "SELECT state = 'auth' FROM activate.stat_target WHERE name = 'say'"), "$name: the target is paused as auth");
		is(sql("SELECT next_probe - now() > interval '50 seconds' FROM activate.stat_target WHERE name = 'say'"), 't', "$name: probed each minute");
		unlike(sql("SELECT reason FROM activate.stat_target WHERE name = 'say'"), qr/t0ps3cret/, "$name: what it says of credentials is not repeated");
		is(sql("SELECT attempts || ' ' || coalesce(last_error, '-') FROM activate.outbox WHERE sync = $id"), '0 -', "$name: no attempt");
		is(sql("SELECT count(*) FROM activate.receipt WHERE sync = $id AND key ->> 'id' = '$n'"), 0, "$name: no receipt");

		# the minute is over
		my $before = () = received();
		sql("ALTER SYSTEM SET activate.clock_offset = " . 61 * ($n % 1000) . '; SELECT pg_reload_conf()');
		ok($node->poll_query_until('postgres', "SELECT failures > 1 FROM activate.stat_target WHERE name = 'say'"), "$name: it is");
		cmp_ok(scalar(() = received()), '>', $before, "$name: by a call");
		sql("UPDATE say SET say = 'fine' WHERE id = $n; ALTER USER MAPPING FOR CURRENT_USER SERVER say OPTIONS (ADD secret '{\"bearer\": \"other\"}')");
		ok(delivered($node, 'say'), "$name: another mapping is tried at once");
		sql("ALTER USER MAPPING FOR CURRENT_USER SERVER say OPTIONS (DROP secret)");
		kill 'TERM', $server;
		waitpid $server, 0;
	}
};

$node->stop('fast');
done_testing();
