# Each class of answers, and the shapes "lists" and "counts", from a call to receipts, rejections and the state of the
# target.  The API here applies rows as it says, so that what it holds in the end can be compared: nothing is lost, and
# nothing is applied twice that it had said it applied.
use strict;
use warnings;

use ActivateTest;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my ($log, $broken) = ("$dir/calls", "$dir/broken");

# What each path says to a call of these rows (each with id, v), how often it was called before, and which it applies.
my %says = (
	warned  => sub { my ($n, @rows) = @_; return ({ message => 'success', note => 'unknown field "x"' }, @rows) },
	locked  => sub { my ($n, @rows) = @_; return @rows > 2 ? { error => 'UNABLE_TO_LOCK_ROW' } : ({ ok => 1 }, @rows) },
	config  => sub { my ($n, @rows) = @_; return -e $broken ? { code => 'INVALID_MODULE', message => "no module for $rows[0]{v}" } : ({}, @rows) },
	auth    => sub { my ($n, @rows) = @_; return -e $broken ? { code => 601, message => 'token s3cret' } : ({}, @rows) },
	later   => sub { my ($n, @rows) = @_; return $n == 0 ? { code => 606 } : ({}, @rows) },
	silent  => sub { return { results => [] } },
	quoted  => sub { return { done => 0, error => 'nothing goes with top-s3cret' } },
	lists   => sub { my ($n, @rows) = @_; return ({ failed => { emails => [ map { "$_->{id}\@x.test" } bad(@rows) ] }, failCount => scalar bad(@rows) }, good(@rows)) },
	unnamed => sub { my ($n, @rows) = @_; return ({ failed => { emails => [ map { uc "$_->{id}\@x.test" } bad(@rows) ] } }, good(@rows)) },
	counts  => sub { my ($n, @rows) = @_; return ({ failed => scalar bad(@rows) }, good(@rows)) },
	once    => sub { my ($n, @rows) = @_; return ({ failed => scalar bad(@rows) }, good(@rows)) });

sub bad  { return grep { $_->{v} eq 'bad' } @_ }
sub good { return grep { $_->{v} ne 'bad' } @_ }

sub api
{
	my $listen = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', ReuseAddr => 1) or die $!;
	my $pid = fork // die $!;
	my %calls;

	return ($listen->sockport, $pid) if $pid;
	# not what newer majors do: to die, and end the server of the test on the way
	$SIG{TERM} = 'DEFAULT';
	while (my $peer = $listen->accept)
	{
		my ($length, $body, $path) = (0, '', '');

		while (defined(my $line = <$peer>))
		{
			$path   = $1 if $line =~ m{^POST /(\w+)};
			$length = $1 if $line =~ /^content-length: *(\d+)/i;
			last if $line =~ /^\r?$/;
		}
		while (length $body < $length)
		{
			read($peer, $body, $length - length $body, length $body) or last;
		}
		my @rows = @{ JSON::PP::decode_json($body) };
		my ($answer, @applied) = $says{$path}->($calls{$path}++, @rows);
		open my $file, '>>', $log or die $!;
		print $file "$path " . @rows . ' ' . join(',', map { $_->{id} } @applied) . "\n";
		close $file;
		my $text = JSON::PP::encode_json($answer);
		print $peer "HTTP/1.1 200 OK\r\nContent-Length: " . length($text) . "\r\nConnection: close\r\n\r\n$text";
		close $peer;
	}
	POSIX::_exit(0);
}

my ($port, $server) = api();
END { kill 'TERM', $server if $server }
my $node = activate_node('classes', conf => "activate.max_attempts = 12\nactivate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '20ms'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A target, a table and a sync of that name; 10 rows, of which the third and the eighth are bad.
sub begin
{
	my ($name, $answer, %options) = @_;
	my $operation = $options{operation} // 'upsert';
	my $batch = $options{batch} // 100;
	my $idempotent = $options{idempotent} // 'true';
	my $secret = $options{secret} ? "'$options{secret}'" : 'NULL';

	sql(qq{SELECT activate_target('$name', 'rest', '{"base_url": "http://127.0.0.1:$port", "answer": $answer, "objects": {"o": {"path": "/$name", "key": "id",
			"columns": {"id": "bigint", "v": "text", "email": "text"}, "read": false, "write": {"$operation": {"batch": $batch, "path": "/$name", "idempotent": $idempotent}}}}}', $secret);
		CREATE TABLE $name (id bigint PRIMARY KEY, v text, email text);
		SELECT activate_sync('$name', '$name', '$name.o', mode => '$operation', capture => 'trigger');
		INSERT INTO $name SELECT i, CASE WHEN i IN (3, 8) THEN 'bad' ELSE 'v' || i END, i || '\@x.test' FROM generate_series(1, 10) i});
}

sub receipts { return sql("SELECT string_agg(concat_ws(' ', outcome, n, reason), '; ' ORDER BY outcome) FROM (SELECT r.outcome, r.reason, count(*) AS n FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' GROUP BY 1, 2) c"); }
sub rejected { return sql("SELECT string_agg(j.key ->> 'id', ' ' ORDER BY (j.key ->> 'id')::int) || ': ' || min(j.reason) FROM activate.rejection j JOIN activate.sync s ON s.id = j.sync WHERE s.name = '$_[0]'"); }
sub calls { return map { [ split / / ] } grep { /^$_[0] / } split /\n/, slurp_file($log) }
# of each row, how often it was applied
sub applied
{
	my %times;

	$times{$_}++ for map { split /,/, $_->[2] // '' } calls($_[0]);
	return join ' ', map { "$_:$times{$_}" } sort { $a <=> $b } keys %times;
}
my $all  = join ' ', map { "$_:1" } 1 .. 10;
my $good = join ' ', map { "$_:1" } grep { $_ != 3 && $_ != 8 } 1 .. 10;

begin('warned', '{"rules": [{"path": "note", "exists": true, "class": "warning"}], "error": "note"}');
ok(delivered($node, 'warned'), 'with a warning');
is(receipts('warned'), 'warned 10 unknown field "x"', 'receipts say so, and why');
is(applied('warned'), $all, 'each row is there once');
is(sql("SELECT delivered FROM activate.stat_sync WHERE name = 'warned'"), 10, 'they count as delivered');
is(sql("SELECT count(*) FROM activate.sent x JOIN activate.sync s ON s.id = x.sync WHERE s.name = 'warned'"), 10, 'and as what the target holds');

begin('locked', '{"code": "error", "codes": {"UNABLE_TO_LOCK_ROW": "locked"}}');
ok(delivered($node, 'locked'), 'locked, until few enough come at once');
is(applied('locked'), $all, 'each row is there once');
like(receipts('locked'), qr/^delivered 10; retried \d+/, 'that took attempts');
# rows are due again at random moments: there may be fewer, but never more
my ($first, @later) = map { $_->[1] } calls('locked');
is("$first " . (grep { $_ > 5 } @later), '10 0', 'all, then a half at most');
is(scalar(grep { $_->[2] && $_->[1] > 2 } calls('locked')), 0, 'down to what passes');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'locked'"), 'up', 'the target is well');

append_to_file($broken, '');
begin('config', '{"code": "code", "codes": {"INVALID_MODULE": "config"}}');
ok($node->poll_query_until('postgres', "SELECT state = 'config' FROM activate.stat_target WHERE name = 'config'"), 'an answer that asks for somebody: the target waits');
is(sql("SELECT reason FROM activate.stat_target WHERE name = 'config'"), 'HTTP 200, INVALID_MODULE', 'with the reason, in the words of the definition only');
is(sql("SELECT state FROM activate.stat_sync WHERE name = 'config'"), 'target config: HTTP 200, INVALID_MODULE', 'as the sync says');
is(pending($node, 'config'), 10, 'nothing is lost');
is(sql("SELECT coalesce(max(attempts), 0) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'config'"), 0, 'no attempt is used up');
is(scalar(calls('config')), 1, 'and it is left alone');
begin('auth', '{"code": "code", "codes": {"601": "auth"}}');
ok($node->poll_query_until('postgres', "SELECT state = 'auth' FROM activate.stat_target WHERE name = 'auth'"), 'a token that expired, told by 200');
is(sql("SELECT reason FROM activate.stat_target WHERE name = 'auth'"), 'HTTP 200, 601', 'what the API says of credentials is not shown');
is(sql("SELECT coalesce(max(attempts), 0) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'auth'"), 0, 'no attempt');
unlink $broken;
sql(q{ALTER SERVER config OPTIONS (ADD rate '[{"calls": 1000, "per": "1s"}]'); ALTER USER MAPPING FOR CURRENT_USER SERVER auth OPTIONS (ADD secret '{"bearer": "new"}')});
ok(delivered($node, 'config'), 'once it is mended and something is changed, all goes');
is(applied('config'), $all, 'each row once');
ok(delivered($node, 'auth'), 'with another secret, too');
is(applied('auth'), $all, 'each row once');
is(sql("SELECT string_agg(state, ' ') FROM activate.stat_target WHERE name IN ('config', 'auth')"), 'up up', 'both are up');

begin('later', '{"rules": [{"path": "code", "is": 606, "class": "throttled", "wait": "1s"}]}');
ok(delivered($node, 'later'), 'throttled by a code');
is(receipts('later'), 'delivered 10', 'uses up no attempt');
is(scalar(calls('later')), 2, 'and is asked again once');

begin('silent', '{"rules": [{"path": "results", "exists": false, "class": "silent"}]}');
ok(delivered($node, 'silent'), 'accepted in word only');
like(rejected('silent'), qr/^1 2 3 4 5 6 7 8 9 10: the API accepted the call/, 'is not counted as delivered');
is(sql("SELECT count(*) FROM activate.sent x JOIN activate.sync s ON s.id = x.sync WHERE s.name = 'silent'"), 0, 'nor as held by the target');

begin('quoted', '{"success": {"path": "done", "is": 1}, "error": "error"}', secret => '{"bearer": "top-s3cret"}');
ok(delivered($node, 'quoted'), 'a refusal that quotes the secret');
like(rejected('quoted'), qr/^1 2 3 4 5 6 7 8 9 10: nothing goes with /, 'is kept as the reason');
unlike(rejected('quoted') . receipts('quoted') . slurp_file($node->logfile), qr/s3cret/, 'but for the secret');

begin('lists', '{"shape": "lists", "lists": [{"path": "failed.emails", "column": "email"}], "counts": {"failed": "failCount"}}');
ok(delivered($node, 'lists'), 'failures by value');
is(rejected('lists'), '3 8: the answer says: failed.emails', 'reject the rows that have it');
is(applied('lists'), $good, 'the others are there once');
is(scalar(calls('lists')), 1, 'by one call');

begin('unnamed', '{"shape": "lists", "lists": [{"path": "failed.emails", "column": "email"}]}');
ok(delivered($node, 'unnamed'), 'failures by a value that no row has');
is(rejected('unnamed'), '3 8: the answer says that it failed', 'halves find them');
is(sql("SELECT count(*) FROM activate.sent x JOIN activate.sync s ON s.id = x.sync WHERE s.name = 'unnamed'"), 8, 'and the others are accepted');

begin('counts', '{"shape": "counts", "counts": {"failed": "failed"}}');
ok(delivered($node, 'counts'), 'failures that are counted only');
is(rejected('counts'), '3 8: the answer says that it failed', 'halves find them');
is(sql("SELECT count(*) FROM activate.sent x JOIN activate.sync s ON s.id = x.sync WHERE s.name = 'counts'"), 8, 'and the others are accepted');

begin('once', '{"shape": "counts", "counts": {"failed": "failed"}}', operation => 'insert', idempotent => 'false');
ok(delivered($node, 'once'), 'where a repeat does harm');
is(receipts('once'), 'warned 10 accepted, unconfirmed: some rows of the call failed', 'they are accepted, and nobody knows');
is(applied('once'), $good, 'and none is there twice');

$node->stop('fast');
done_testing();
