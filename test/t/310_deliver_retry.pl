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

# events are each their own: one that was refused is not made good by the next of its key
sql("SELECT activate_target('event', 'webhook', '{\"url\": \"" . $crm->url('/hook/event') . "\"}');
	CREATE TABLE event (id bigint PRIMARY KEY, v text);
	SELECT activate_sync('event', 'event', 'event.change', capture => 'trigger', mode => 'append');
	INSERT INTO event VALUES (1, 'bad')");
ok(delivered($node, 'event'), 'an event is refused');
sql("UPDATE event SET v = 'good'");
ok(delivered($node, 'event'), 'the next of its key is not');
is(sql("SELECT body ->> 'v' FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'event'"), 'bad',
	'the refused event stands');
sql("DELETE FROM activate.rejection r USING activate.sync s WHERE s.id = r.sync AND s.name = 'event'");

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
