# What goes over the wire: the message, its identity, what is not sent, the order of a key.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('wire');
my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub target
{
	my ($name, $options, $secret) = @_;
	my $url = $crm->url("/hook/$name");

	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}'"
		. (defined $secret ? ", '$secret'" : '') . ')');
}

sub outcomes
{
	my ($sync) = @_;

	return sql("SELECT r.outcome || ' ' || count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = '$sync' GROUP BY r.outcome ORDER BY r.outcome");
}

# SEMANTICS 5, to the byte
target('one', '');
sql("CREATE TABLE thing (id bigint PRIMARY KEY, name text, price numeric, at timestamptz);
	INSERT INTO thing VALUES (7, 'say \"hé\"', 12.50, '2026-01-02 03:04:05+02');
	SELECT activate_sync('thing', 'thing', 'one.change', capture => 'trigger');
	SELECT activate_run('thing')");
ok(delivered($node, 'thing'), 'a run is delivered');
my ($request) = @{ $crm->log('/hook/one') };
like($request->{body},
	qr/^\{"id": "$uuid", "seq": \d+, "sync": "thing", "op": "upsert", "key": \{"id": 7\}, "row": \{"at": "2026-01-02T01:04:05\+00:00", "id": 7, "name": "say \\"hé\\"", "price": 12.50\}\}$/,
	'the body of a change');
my ($id) = $request->{body} =~ /"id": "($uuid)"/;
is($request->{headers}{'idempotency-key'}, $id, 'the idempotency key is the id of the message');
is($request->{headers}{'content-type'}, 'application/json', 'its content type');
ok(!exists $request->{headers}{'transfer-encoding'} && !exists $request->{headers}{expect}, 'no chunks, no Expect');
is(sql("SELECT idempotency_key FROM activate.receipt WHERE outcome = 'delivered'"), $id, 'the receipt has it, too');
is(sql("SELECT key::text || ' ' || (image ->> 'price') FROM activate.sent"), '{"id": 7} 12.50', 'sent has key and image');

# what is equal is not sent; what came and went is not sent
sql("UPDATE thing SET name = name");
sql("BEGIN; INSERT INTO thing VALUES (8, 'short'); DELETE FROM thing WHERE id = 8; COMMIT");
ok(delivered($node, 'thing'), 'nothing is left');
is(outcomes('thing'), "delivered 1\nskipped 1\nsuperseded 1", 'an equal row is skipped, one that came and went superseded');
is(scalar @{ $crm->log('/hook/one') }, 1, 'and nothing was sent for them');

# many changes of a key, one message
sql("SELECT activate_pause('thing')");
sql("UPDATE thing SET price = price + 1") for 1 .. 5;
is(pending($node, 'thing'), 5, 'paused: capture goes on');
sql("SELECT activate_resume('thing')");
ok(delivered($node, 'thing'), 'resumed');
is(outcomes('thing'), "delivered 2\nskipped 1\nsuperseded 1", 'five changes are one message');
is($crm->hook_state('one')->{syncs}{thing}{'{"id":7}'}{row}{price}, 17.5, 'of the last content');

# calls of many rows
target('many', ', "batch": 100');
sql("CREATE TABLE many AS SELECT i AS id, 'row ' || i AS name FROM generate_series(1, 250) i;
	ALTER TABLE many ADD PRIMARY KEY (id);
	SELECT activate_sync('many', 'many', 'many.change', mode => 'mirror'); SELECT activate_run('many')");
ok(delivered($node, 'many'), 'batches');
same_rows($node, $crm->hook_rows('many', 'many'), 'TABLE many', 'all rows arrived');
my @calls = @{ $crm->log('/hook/many') };
is_deeply([ sort { $b <=> $a } map { scalar @{ JSON::PP::decode_json($_->{body})->{changes} } } @calls ], [ 100, 100, 50 ],
	'calls are full as long as there is more');
my ($first) = $calls[0]{body} =~ /"id": "($uuid)"/;
isnt($calls[0]{headers}{'idempotency-key'}, $first, 'the key of a call is not that of a message');

# deletes of a mirror, in one call with the others
sql("DELETE FROM many WHERE id <= 3; UPDATE many SET name = 'new' WHERE id = 4; SELECT activate_run('many')");
ok(delivered($node, 'many'), 'deletes');
same_rows($node, $crm->hook_rows('many', 'many'), 'TABLE many', 'the mirror is equal');
@calls = @{ $crm->log('/hook/many') };
is(scalar @calls, 4, 'a call mixes operations');
like($calls[3]{body}, qr/"op": "delete", "key": \{"id": 1\}, "row": null\}/, 'the row of a delete is null');
is(sql("SELECT count(*) FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = 'many'"), 247,
	'what was deleted is not sent any more');

# events are never coalesced, keys or not
target('log', '');
sql("CREATE TABLE event (what text); SELECT activate_sync('event', 'event', 'log.change', mode => 'append');
	INSERT INTO event SELECT 'same' FROM generate_series(1, 20); SELECT activate_run('event')");
ok(delivered($node, 'event'), 'events');
is($crm->hook_state('log')->{syncs}{event}{'{}'}{count}, 20, 'equal events are all sent');

# preview: nothing is sent, no secret is shown
target('secret', '', '{"bearer": "s3cr3t-token", "query": {"api_key": "s3cr3t-key"}}');
sql("SELECT activate_sync('secret', 'thing', 'secret.change')");
my $preview = sql("SELECT method, url, headers, body, row_count FROM activate_preview('secret')");
like($preview, qr{^POST\|http://127.0.0.1:\d+/hook/secret\?api_key=\*\*\*\|}, 'preview: method and URL');
like($preview, qr/"Authorization": "\*\*\*"/, 'preview: a header that holds a secret');
like($preview, qr/"op": "upsert", "key": \{"id": 7\}.*\|1$/, 'preview: body and number of rows');
unlike($preview, qr/s3cr3t/, 'preview: no secret');
is(pending($node, 'secret') . scalar(@{ $crm->log('/hook/secret') }), '00', 'preview: nothing enqueued, nothing sent');
sql("SELECT activate_run('secret')");
ok(delivered($node, 'secret'), 'with the secret');
my ($sent) = @{ $crm->log('/hook/secret') };
like($sent->{headers}{authorization}, qr/^sha256:/, 'the request carried the token');
my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_preview('secret', 0)");
like($err, qr/cannot preview 0 rows/, 'preview: rows out of range');

# order per key while many sessions write the same rows
target('order', ', "batch": 7');
sql("CREATE TABLE busy AS SELECT i AS id, 0 AS n FROM generate_series(1, 10) i; ALTER TABLE busy ADD PRIMARY KEY (id);
	SELECT activate_sync('busy', 'busy', 'order.change', capture => 'trigger')");
$crm->control({ fault => 'slow', path => '/hook/order', ms => 3 });
$node->pgbench('--no-vacuum --client=6 --transactions=100', 0, [qr/processed: 600/], [qr/^$/], 'concurrent updates',
	{ '300_busy' => '\set id random(1, 10)
		UPDATE busy SET n = n + 1 WHERE id = :id;' });
ok(delivered($node, 'busy'), 'all delivered');
$crm->heal;
same_rows($node, $crm->hook_rows('busy', 'order'), 'SELECT * FROM busy WHERE n > 0', 'the last version of each key');
my $states = $crm->hook_state('order')->{syncs}{busy};
is(scalar(grep { $_->{regressions} } values %$states), 0, 'no message overtook an older one of its key');

# a rename of source and column is followed
sql("ALTER TABLE busy RENAME TO busier; ALTER TABLE busier RENAME COLUMN n TO times; UPDATE busier SET times = 1000 WHERE id = 1");
ok(delivered($node, 'busy'), 'after a rename');
is($crm->hook_state('order')->{syncs}{busy}{'{"id":1}'}{row}{n}, 1000, 'the new value under the declared name');

# one row that cannot be rendered hurts only itself
sql("CREATE FUNCTION halve(i bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 100 / i';
	CREATE TABLE divisor AS SELECT i::bigint AS id FROM generate_series(0, 40) i; ALTER TABLE divisor ADD PRIMARY KEY (id);
	SELECT activate_sync('divisor', 'divisor', 'many.change', map => '{\"id\": \"id\", \"part\": \"halve(id)\"}', capture => 'trigger');
	UPDATE divisor SET id = id");
ok(delivered($node, 'divisor'), 'rendering');
is(sql("SELECT key::text || ' ' || code || ' ' || reason FROM activate.rejection"), '{"id": 0} 22012 division by zero',
	'the bad row is rejected with its SQLSTATE');
is(scalar keys %{ $crm->hook_state('many')->{syncs}{divisor} }, 40, 'the others are sent');

# a source that is gone pauses its sync with the reason
sql("UPDATE busier SET times = 0; DROP TABLE divisor; INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key)
	SELECT id, 1, 'c', now(), '{\"id\": 5}' FROM activate.sync WHERE name = 'divisor'");
ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason IS NOT NULL FROM activate.sync WHERE name = 'divisor'"),
	'a sync without its source pauses');
is(pending($node, 'divisor'), 1, 'what is pending stays');
ok(delivered($node, 'busy'), 'the others go on');

$node->stop('fast');
done_testing();
