# A row that does not get through: retries, waits as told, attempts, unknown outcomes, dead letters.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('retry', conf => "activate.max_attempts = 4\nactivate.http_timeout = '1s'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A sync of its own table into a webhook of its own.
sub declare
{
	my ($name, $options) = @_;
	my $url = $crm->url("/hook/$name");

	$options //= '';
	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}');
		CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger');");
}

sub receipts
{
	my ($name) = @_;
	my $list = sql("SELECT string_agg(r.outcome || coalesce(' ' || r.code, ''), ', ' ORDER BY r.id)
		FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");

	return $list;
}

sub ids
{
	my ($name) = @_;
	return map { JSON::PP::decode_json($_->{body})->{id} } @{ $crm->log("/hook/$name") };
}

# 5xx: attempts, with the same id
declare('busy');
$crm->control({ fault => 'status', path => '/hook/busy', status => 503, count => 2 });
sql("INSERT INTO busy VALUES (1, 'a')");
ok(delivered($node, 'busy'), 'after two failures');
is(receipts('busy'), 'retried 503, retried 503, delivered 200', 'receipts of the attempts');
my @ids = ids('busy');
is_deeply(\@ids, [ ($ids[0]) x 3 ], 'a repeat has the same id');
is(sql("SELECT count(*) FROM activate._retry"), 0, 'nothing of the attempts is left');

# 429 waits as told, in both forms, and uses no attempt
declare('slow');
$crm->control({ fault => 'status', path => '/hook/slow', status => 429, count => 1, retry_after => '2' });
sql("INSERT INTO slow VALUES (1, 'a')");
ok($node->poll_query_until('postgres', "SELECT state = 'throttled' FROM activate.stat_target WHERE name = 'slow'"),
	'the state of the target tells');
is(sql("SELECT sum(attempts) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'slow'"), 0,
	'no attempt');
ok(delivered($node, 'slow'), 'throttled for two seconds');
my @at = map { $_->{at_us} } @{ $crm->log('/hook/slow') };
cmp_ok($at[1] - $at[0], '>=', 1_990_000, 'not before it was told');
is(receipts('slow'), 'delivered 200', 'no receipt of it');

$crm->control({ fault => 'status', path => '/hook/slow', status => 429, count => 1, retry_after_date => 2 });
sql("INSERT INTO slow VALUES (2, 'a')");
ok(delivered($node, 'slow'), 'throttled until a date');
@at = map { $_->{at_us} } @{ $crm->log('/hook/slow') };
cmp_ok($at[3] - $at[2], '>=', 900_000, 'not before the date');

$crm->control({ fault => 'status', path => '/hook/slow', status => 429, count => 3 });
sql("INSERT INTO slow VALUES (3, 'a')");
ok(delivered($node, 'slow'), 'throttled without being told how long');
is(receipts('slow'), 'delivered 200, delivered 200, delivered 200', 'still no attempt');

# out of attempts
declare('never');
$crm->control({ fault => 'status', path => '/hook/never', status => 500, body => 'no <such> luck' });
sql("INSERT INTO never VALUES (1, 'a')");
ok(delivered($node, 'never'), 'given up');
is(sql("SELECT r.key::text || ' ' || r.op || ' ' || r.code || ' ' || r.attempts || ' ' || (r.body ->> 'v')
	FROM activate.rejection r"), '{"id": 1} upsert 500 4 a', 'the rejection tells');
is(receipts('never'), 'retried 500, retried 500, retried 500, rejected 500', 'every attempt has its receipt');
$crm->heal;
sql("UPDATE never SET v = v");
ok(delivered($node, 'never'), 'the same content again');
is(scalar @{ $crm->log('/hook/never') }, 4, 'is not tried again');
sql("SELECT activate_retry('never')");
ok(delivered($node, 'never'), 'activate_retry');
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'success removes the rejection');
is($crm->hook_state('never')->{syncs}{never}{'{"id":1}'}{row}{v}, 'a', 'it has arrived');

# refused for good
declare('bad');
$crm->control({ reject => { field => 'v', equals => 'bad', status => 422, error => 'v is bad' } });
sql("INSERT INTO bad VALUES (1, 'bad'), (2, 'good')");
ok(delivered($node, 'bad'), 'one is refused');
is(sql("SELECT key::text || ' ' || code || ' ' || reason || ' ' || attempts FROM activate.rejection"), '{"id": 1} 422 v is bad 1',
	'with the reason of the answer') or diag $crm->call('GET', '/_log?path=/hook/bad');
sql("UPDATE bad SET v = 'better' WHERE id = 1");
ok(delivered($node, 'bad'), 'its content changes');
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'then it is tried again');
same_rows($node, $crm->hook_rows('bad', 'bad'), 'TABLE bad', 'both are there');

# what is retried is the row as it is now, whether or not its change was captured
declare('retried');
sql("INSERT INTO retried VALUES (1, 'bad')");
ok(delivered($node, 'retried'), 'refused');
sql("ALTER TABLE retried DISABLE TRIGGER USER; UPDATE retried SET v = 'now'; ALTER TABLE retried ENABLE TRIGGER USER; SELECT activate_retry('retried')");
ok(delivered($node, 'retried'), 'retried');
is($crm->hook_state('retried')->{syncs}{retried}{'{"id":1}'}{row}{v}, 'now', 'the current row');

# a rejection goes when what it was about is no more: the row, or its content; and not before
sub rejected
{
	my ($name) = @_;

	return sql("SELECT coalesce(string_agg((r.key ->> 'id') || ' ' || (r.body ->> 'v'), ', ' ORDER BY r.key), 'none') FROM activate.rejection r
		JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");
}

for my $capture (qw(trigger diff))
{
	my $name = "moot_$capture";
	my $run  = $capture eq 'diff' ? "SELECT activate_run('$name')" : '';
	my $step = sub {
		my ($change, $expected, $test) = @_;

		sql("$change; $run");
		ok(delivered($node, $name), "$capture, $test: settled");
		return is(rejected($name), $expected, "$capture, $test");
	};

	declare($name);
	sql("SELECT activate_sync('$name', '$name', '$name.change', capture => '$capture')");
	$step->("INSERT INTO $name VALUES (1, 'bad'), (2, 'fine'), (3, 'bad'), (4, 'fine')", '1 bad, 3 bad', 'refused');
	$step->("UPDATE $name SET v = 'bad' WHERE id IN (2, 4)", '1 bad, 2 bad, 3 bad, 4 bad', 'a refused change');
	my $requests = @{ $crm->log("/hook/$name") };
	$step->("UPDATE $name SET v = v", '1 bad, 2 bad, 3 bad, 4 bad', 'touched');
	is(scalar @{ $crm->log("/hook/$name") }, $requests, "$capture: the same content is not tried again");
	$step->("DELETE FROM $name WHERE id = 1", '2 bad, 3 bad, 4 bad', 'the row is gone');
	$step->("UPDATE $name SET v = 'fine' WHERE id = 2", '3 bad, 4 bad', 'the content is again what was sent');
	is(scalar @{ $crm->log("/hook/$name") }, $requests, "$capture: nothing was sent for that");
	$step->("DELETE FROM $name WHERE id = 4", '3 bad', 'a row that was sent before is gone');
	$step->("UPDATE $name SET v = 'better' WHERE id = 3", 'none', 'the content changes');
}

# a delete that was refused is no more wanted
declare('undone');
sql("SELECT activate_sync('undone', 'undone', 'undone.change', mode => 'mirror', capture => 'trigger'); INSERT INTO undone SELECT i, 'a' FROM generate_series(1, 3) i");
ok(delivered($node, 'undone'), 'three rows');
$crm->control({ fault => 'status', path => '/hook/undone', status => 409 });
sql('DELETE FROM undone WHERE id = 1');
ok(delivered($node, 'undone'), 'a delete is refused');
is(sql("SELECT r.op || ' ' || r.code FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'undone'"), 'delete 409', 'and rejected');
sql("INSERT INTO undone VALUES (1, 'a')");
ok(delivered($node, 'undone'), 'the row comes back as it was');
is(rejected('undone'), 'none', 'which makes it moot');
$crm->heal;

# events are rejected each for itself
declare('events');
sql("SELECT activate_sync('events', 'events', 'events.change', mode => 'append', capture => 'trigger')");
sql("INSERT INTO events VALUES (1, 'bad')");
sql("UPDATE events SET v = 'good'");
ok(delivered($node, 'events'), 'an event is refused, the next one of its key is not');
is(rejected('events'), '1 bad', 'the rejection of the first stays');
$crm->control({ reject => undef });
is(sql("SELECT activate_retry('events')"), 1, 'and can be retried');
ok(delivered($node, 'events'), 'as it was');
like($crm->log('/hook/events')->[-1]{body}, qr/"v": "bad"/, 'with its content');

# an outage of many retries uses up no attempt
declare('outage');
$crm->control({ fault => 'status', path => '/hook/outage', status => 500 });
sql("INSERT INTO outage SELECT i, 'a' FROM generate_series(1, 10) i");
ok($node->poll_query_until('postgres', "SELECT failures > 20 FROM activate.stat_target WHERE name = 'outage'"), 'more failures than attempts are allowed');
cmp_ok(sql("SELECT max(o.attempts) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'outage'"), '<=', 3, 'attempts rest');
is(pending($node, 'outage'), 10, 'everything waits');
$crm->heal;
ok(delivered($node, 'outage'), 'over');
is(rejected('outage'), 'none', 'nothing was rejected');

# backoff: with full jitter, doubled from attempt to attempt, to at most the maximum
declare('patient', ', "batch": 50');
sql("ALTER SYSTEM SET activate.retry_backoff = '10min'; ALTER SYSTEM SET activate.retry_backoff_max = '15min'; SELECT pg_reload_conf()");
$crm->control({ reject => { field => 'v', equals => 'busy', status => 503, error => 'busy' } });
sql("INSERT INTO patient SELECT i, CASE WHEN i = 50 THEN 'fine' ELSE 'busy' END FROM generate_series(1, 50) i");
# a wait may happen to be so short that the next attempt has been made already
my $waits = "SELECT extract(epoch FROM o.due_at - r.sent_at) AS wait, o.attempts FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
	JOIN LATERAL (SELECT max(c.sent_at) AS sent_at FROM activate.receipt c WHERE c.sync = o.sync AND c.key = o.key) r ON true WHERE s.name = 'patient'";
ok($node->poll_query_until('postgres', "SELECT count(*) = 49 FROM activate.outbox WHERE attempts >= 1"), '49 rows failed once');
is(sql("SELECT max(wait) <= 601 AND max(wait) > 300 AND min(wait) < 300 FROM ($waits) w WHERE attempts = 1"), 't', 'they wait for anything up to activate.retry_backoff');
sql("ALTER SYSTEM SET activate.clock_offset = 700; SELECT pg_reload_conf()");
ok($node->poll_query_until('postgres', "SELECT count(*) = 49 FROM activate.outbox WHERE attempts >= 2"), '49 rows failed twice');
is(sql("SELECT max(wait) <= 901 AND max(wait) > 601 FROM ($waits) w WHERE attempts = 2"), 't', 'then for up to twice that, at most activate.retry_backoff_max');
sql("ALTER SYSTEM RESET ALL; SELECT pg_reload_conf(); SELECT activate_drop('patient')");
$crm->control({ reject => undef });

# unknown outcomes: the answer breaks off after the request was carried out
declare('half');
$crm->control({ fault => 'half', path => '/hook/half', count => 1 });
sql("INSERT INTO half VALUES (1, 'a')");
ok(delivered($node, 'half'), 'an answer that broke off');
like(receipts('half'), qr/^ambiguous( 200)?, delivered 200$/, 'is ambiguous');
is(sql("SELECT count(DISTINCT idempotency_key) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'half'"),
	1, 'and repeated with the same id');
@ids = ids('half');
is($crm->hook_state('half')->{ids}{ $ids[0] }, 2, 'by which the receiver knows it');

declare('hang');
$crm->control({ fault => 'hang', path => '/hook/hang', count => 1 });
sql("INSERT INTO hang VALUES (1, 'a')");
ok(delivered($node, 'hang'), 'an answer that never came');
is(receipts('hang'), 'ambiguous, delivered 200', 'is ambiguous');
@ids = ids('hang');
is($ids[0], $ids[1], 'the repeat carries the same id');

# ... and when the content has changed, the new one supersedes it
$crm->control({ fault => 'hang', path => '/hook/hang', count => 2 });
sql("INSERT INTO hang VALUES (2, 'old')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.receipt WHERE key = '{\"id\": 2}' AND outcome = 'ambiguous'"),
	'ambiguous');
sql("UPDATE hang SET v = 'new' WHERE id = 2");
ok(delivered($node, 'hang'), 'the new content is delivered');
# the second of the two hangs meets the old content or the new
like(receipts('hang'), qr/superseded, (ambiguous, )?delivered 200$/, 'the old message is superseded');
@ids = ids('hang');
isnt($ids[-1], $ids[2], 'new content, new id');

# ... also when it is an older one that has come back: the receiver may have got what was in between
declare('back');
sql("INSERT INTO back VALUES (1, 'a')");
ok(delivered($node, 'back'), 'a is there');
$crm->control({ fault => 'reset', path => '/hook/back', ms => 200 });
sql("UPDATE back SET v = 'b'");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
	WHERE s.name = 'back' AND outcome = 'ambiguous'"), 'b is ambiguous, and applied');
sql("UPDATE back SET v = 'a'");
$crm->control({ fault => 'none' });
ok(delivered($node, 'back'), 'a again');
is($crm->hook_state('back')->{syncs}{back}{'{"id":1}'}{row}{v}, 'a', 'what was sent last is not taken for what the target holds');

# ... even if it was given up in between
declare('gave_up');
sql("INSERT INTO gave_up VALUES (1, 'a')");
ok(delivered($node, 'gave_up'), 'a is there');
$crm->control({ fault => 'reset', path => '/hook/gave_up' });
sql("UPDATE gave_up SET v = 'b'");
ok(delivered($node, 'gave_up'), 'out of attempts');
is(rejected('gave_up'), '1 b', 'b is rejected, though it has arrived');
$crm->heal;
sql("UPDATE gave_up SET v = 'a'");
ok(delivered($node, 'gave_up'), 'a again');
is($crm->hook_state('gave_up')->{syncs}{gave_up}{'{"id":1}'}{row}{v}, 'a', 'is sent');
is(rejected('gave_up'), 'none', 'and nothing is rejected any more');

# ... and if the row then goes, the target is told
declare('perhaps');
sql("SELECT activate_sync('perhaps', 'perhaps', 'perhaps.change', mode => 'mirror', capture => 'trigger'); INSERT INTO perhaps SELECT i, 'a' FROM generate_series(2, 3) i");
ok(delivered($node, 'perhaps'), 'two rows');
$crm->control({ fault => 'reset', path => '/hook/perhaps' });
sql("INSERT INTO perhaps VALUES (1, 'a')");
ok(delivered($node, 'perhaps'), 'out of attempts');
$crm->heal;
is($crm->hook_state('perhaps')->{syncs}{perhaps}{'{"id":1}'}{row}{v}, 'a', 'a third is rejected, though it has arrived');
sql('DELETE FROM perhaps WHERE id = 1');
ok(delivered($node, 'perhaps'), 'it is deleted');
is($crm->hook_state('perhaps')->{syncs}{perhaps}{'{"id":1}'}{row}, undef, 'there, too');

# a target that was restored from a backup is sent again what it got since
declare('lost');
sql("SELECT activate_sync('lost', 'lost', 'lost.change', mode => 'mirror', capture => 'trigger'); INSERT INTO lost SELECT i, 'a' FROM generate_series(1, 4) i");
ok(delivered($node, 'lost'), 'four rows');
my $backup = sql('SELECT clock_timestamp()');
sql("INSERT INTO lost VALUES (5, 'a'); UPDATE lost SET v = 'b' WHERE id = 2; DELETE FROM lost WHERE id IN (1, 3)");
ok(delivered($node, 'lost'), 'three more changes, and one that does not last');
sql("INSERT INTO lost VALUES (3, 'c')");
ok(delivered($node, 'lost'), 'a deleted row is back');
my $before = @{ $crm->log('/hook/lost') };
is(sql("BEGIN; SELECT activate_replay('lost', '$backup'); SELECT string_agg(concat_ws(' ', op, key ->> 'id'), ', ' ORDER BY key ->> 'id') FROM activate.outbox; ROLLBACK"),
	"4\ndelete 1, change 2, change 3, change 5", 'activate_replay can be looked at');
is(sql("BEGIN; SELECT activate_replay('lost', '$backup'); SELECT string_agg(concat_ws(' ', b ->> 'op', b -> 'key' ->> 'id', b -> 'row' ->> 'v'), ', ' ORDER BY b -> 'key')
		FROM (SELECT body::jsonb FROM activate_preview('lost', 100)) p(b); ROLLBACK"),
	"4\ndelete 1, upsert 2 b, upsert 3 c, upsert 5 a", 'activate_replay can be previewed');
is(sql("SELECT activate_replay('lost', clock_timestamp())"), 0, 'nothing was sent since now');
is(sql("SELECT activate_replay('lost', '$backup')"), 4, 'four keys were sent since');
ok(delivered($node, 'lost'), 'again');
my @again = map { JSON::PP::decode_json($_->{body}) } @{ $crm->log('/hook/lost') };
is(join(', ', sort map { join ' ', $_->{key}{id}, $_->{op}, $_->{row} ? $_->{row}{v} : () } @again[ $before .. $#again ]),
	'1 delete, 2 upsert b, 3 upsert c, 5 upsert a', 'rows as they are, and the delete');
is(sql("SELECT count(*) FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = 'lost' AND t.key = '{\"id\": 1}'"), 0, 'which is then no more known');
my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT activate_replay('events', '$backup')");
like($err, qr/ERROR:  0A000: cannot replay sync "events"/, 'what is not kept cannot be replayed');

# a setting of the database is seen by the process that is there
declare('follow');
my ($deliverer) = worker_pids($node, 'deliver');
sql("ALTER DATABASE postgres SET activate.http_timeout = '50ms'");
$crm->control({ fault => 'hang', path => '/hook/follow', count => 2 });
sql("INSERT INTO follow VALUES (1, 'a')");
ok(delivered($node, 'follow'), 'after two timeouts');
$crm->control({ fault => 'hang', path => '/hook/follow', count => 1 });
sql("UPDATE follow SET v = 'b'");
ok(delivered($node, 'follow'), 'after one more');
is(sql("SELECT min(r.latency) < interval '500 ms' FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'follow' AND outcome = 'ambiguous'"), 't',
	'ALTER DATABASE ... SET is seen by the deliverer');
is((worker_pids($node, 'deliver'))[0], $deliverer, 'which is the same');
sql("ALTER DATABASE postgres RESET activate.http_timeout");

# an answer that is no JSON, of another length, or too strange
declare('odd', ', "batch": 10');
sql("ALTER SYSTEM SET activate.max_attempts = 2; SELECT pg_reload_conf()");
$crm->control({ results => 'short' });
sql("INSERT INTO odd SELECT i, 'a' FROM generate_series(1, 3) i");
ok(delivered($node, 'odd'), 'results of another length');
is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'odd'"), 3,
	'end as rejections');
like(receipts('odd'), qr/^(ambiguous \d+, ){3}(rejected \d+(, )?){3}$/, 'after having been ambiguous');
$crm->control({ results => 'auto' });
sql("SELECT activate_retry('odd')");
ok(delivered($node, 'odd'), 'and can be retried');
same_rows($node, $crm->hook_rows('odd', 'odd'), 'TABLE odd', 'all is there');

# redirects of writes are never followed
declare('moved');
$crm->control({ fault => 'redirect', path => '/hook/moved', status => 307, location => $crm->url('/hook/elsewhere') });
sql("INSERT INTO moved VALUES (1, 'a')");
ok(delivered($node, 'moved'), 'a redirect');
like(sql("SELECT reason FROM activate.rejection"), qr/redirect/, 'is rejected');
is(scalar @{ $crm->log('/hook/elsewhere') }, 0, 'and not followed');

$node->stop('fast');
done_testing();
