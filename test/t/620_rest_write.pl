# What DML on a foreign table becomes at the service: operations, merging, order, refusals, repeats.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('write', conf => "activate.http_timeout = '2s'\nactivate.retry_backoff = '100ms'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub settled
{
	my ($name, $test) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(delivered($node, "crm.$name"), $test);
}

# Everything that happened at /objects/NAME: method, last part of the path, body.
sub requests
{
	my ($name) = @_;

	return join(
		"\n",
		map {
			my $id = $_->{path} =~ s{^/objects/$name/?}{}r;
			join(' ', $_->{method}, grep { length } $id, $_->{body} // '')
		} @{ $crm->log("/objects/$name") });
}

sub receipts
{
	my ($name) = @_;

	return sql("SELECT string_agg(r.op || ' ' || r.outcome, ', ' ORDER BY r.id)
		FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'crm.$name'");
}

sub object
{
	my ($path) = @_;

	return JSON::PP->new->canonical->encode(JSON::PP::decode_json($crm->call('GET', "/_objects/$path")));
}

# One statement at a time is committed while the target is paused, so that all of it is pending together.
sub together
{
	my ($name, @statements) = @_;

	sql("SELECT activate_pause('target:crm')");
	sql($_) foreach @statements;
	sql("SELECT activate_resume('target:crm')");
	return settled($name, 'delivered: ' . join('; ', map { s/^((INSERT|UPDATE|DELETE)).*/$1/sr } @statements));
}

# An object of the CRM with these operations.
sub object_of
{
	my ($name, $write, $more) = @_;
	my $url = $crm->url('');

	$more //= '';
	sql("SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"$name\": {
		\"path\": \"/objects/$name\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"email\": \"text\", \"city\": \"text\"},
		\"read\": {\"records\": \"data\"}, $more \"write\": $write}}}')");
	return;
}

my $all = '{"insert": {}, "update": {}, "delete": {}}';

# each command is the operation that the definition gives
object_of('plain', $all);
sql("INSERT INTO crm.plain (id, email, city) VALUES (1, 'a', 'Rome'), (2, 'b', 'Rome')");
settled('plain', 'INSERT');
sql("UPDATE crm.plain SET email = upper(email), city = NULL WHERE city = 'Rome' AND id = 1");
settled('plain', 'UPDATE of what was read');
sql("DELETE FROM crm.plain WHERE email = 'b'");
settled('plain', 'DELETE of what was read');
is(requests('plain'), 'POST {"id": 1, "city": "Rome", "email": "a"}
POST {"id": 2, "city": "Rome", "email": "b"}
GET
PATCH 1 {"city": null, "email": "A"}
GET
DELETE 2', 'POST, PATCH with what was assigned, DELETE') or diag requests('plain');
is(object('plain/1'), '{"city":null,"email":"A","id":1}', 'a NULL that was assigned arrives as null');
is(receipts('plain'), 'insert delivered, insert delivered, update delivered, delete delivered', 'receipts');
is(sql("SELECT image FROM activate.sent WHERE key = '{\"id\": 1}'"), '{"id": 1, "city": null, "email": "A"}',
	'the image of what was sent has the columns of all');

# ... without a request to read where the key is fixed
object_of('direct', '{"insert": {}, "update": {"method": "PUT"}, "delete": {"method": "POST", "path": "/objects/direct/batch/delete", "batch": 10}}', '"answer": {},');
sql("INSERT INTO crm.direct (id, email, city) VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'c', 'z')");
settled('direct', 'three rows');
sql("UPDATE crm.direct SET email = 'z' WHERE id = 1");
settled('direct', 'UPDATE by key');
sql("DELETE FROM crm.direct WHERE id = ANY ('{2,3}')");
settled('direct', 'DELETE by keys');
like(requests('direct'), qr/PUT 1 \{"email": "z"\}\nPOST batch\/delete \[\{"id": 2\}, \{"id": 3\}\]$/,
	'as the definition says, methods, paths and batch');
unlike(requests('direct'), qr/GET/, 'nothing was read');

# a batch of updates names each row by its key
object_of('batched', '{"insert": {}, "update": {"path": "/objects/batched/batch/upsert", "batch": 10, "envelope": "inputs"}, "delete": {}}');
together('batched', "UPDATE crm.batched SET email = 'a' WHERE id = 1", "UPDATE crm.batched SET city = 'b' WHERE id = 2");
is(requests('batched'), 'POST batch/upsert {"inputs": [{"id": 1, "email": "a"}, {"id": 2, "city": "b"}]}', 'a batch of updates');

# what is pending together of one key is merged, column by column
object_of('merge', $all);
together('merge', "INSERT INTO crm.merge (id, email) VALUES (1, 'a')", "UPDATE crm.merge SET email = 'b' WHERE id = 1",
	"UPDATE crm.merge SET city = 'Rome' WHERE id = 1");
is(requests('merge'), 'POST {"id": 1, "city": "Rome", "email": "b"}', 'insert and updates are one insert');
together('merge', "UPDATE crm.merge SET email = 'c' WHERE id = 1", "UPDATE crm.merge SET city = 'Oslo' WHERE id = 1",
	"UPDATE crm.merge SET email = NULL WHERE id = 1");
like(requests('merge'), qr/\nPATCH 1 \{"city": "Oslo", "email": null\}$/, 'updates are one update');
together('merge', "UPDATE crm.merge SET email = 'd' WHERE id = 1", 'DELETE FROM crm.merge WHERE id = 1', 'DELETE FROM crm.merge WHERE id = 1');
like(requests('merge'), qr/"email": null\}\nDELETE 1$/, 'an update and deletes are one delete');
my $before = requests('merge');
together('merge', "INSERT INTO crm.merge (id) VALUES (2)", "UPDATE crm.merge SET email = 'x' WHERE id = 2", 'DELETE FROM crm.merge WHERE id = 2');
is(requests('merge'), $before, 'an insert that was deleted before it was sent is not sent');
is(receipts('merge'), 'insert delivered, update delivered, delete delivered, delete superseded', 'but has its receipt');
together('merge', "INSERT INTO crm.merge (id, email) VALUES (3, 'old')");
together('merge', 'DELETE FROM crm.merge WHERE id = 3', "INSERT INTO crm.merge (id, city) VALUES (3, 'new')",
	"UPDATE crm.merge SET email = 'new' WHERE id = 3");
like(requests('merge'), qr/\nDELETE 3\nPOST \{"id": 3, "city": "new", "email": "new"\}$/, 'a delete goes before the insert after it');
together('merge', "INSERT INTO crm.merge (id, email) VALUES (4, 'first')", "INSERT INTO crm.merge (id, email) VALUES (4, 'second')");
is(object('merge/4'), '{"email":"first","id":4}', 'of two inserts the first counts');
is(sql("SELECT code || ' ' || body FROM activate.rejection WHERE key = '{\"id\": 4}'"), '409 {"id": 4, "email": "second"}',
	'and the second is refused by the API');
together('merge', "INSERT INTO crm.merge (email) VALUES ('no key')", "INSERT INTO crm.merge (email) VALUES ('no key')");
like(requests('merge'), qr/(\nPOST \{"email": "no key"\}){2}$/, 'rows without key are messages of their own');

# upserts add up, and a delete after them is sent: the row may be there
object_of('up', '{"upsert": {}, "update": {}, "delete": {}}');
together('up', "INSERT INTO crm.up (id, email) VALUES (1, 'a')", "INSERT INTO crm.up (id, city) VALUES (1, 'Rome')",
	"UPDATE crm.up SET email = 'b' WHERE id = 1");
is(requests('up'), 'PUT 1 {"id": 1, "city": "Rome", "email": "b"}', 'upserts and an update are one upsert');
together('up', "INSERT INTO crm.up (id, email) VALUES (1, 'c')", 'DELETE FROM crm.up WHERE id = 1');
like(requests('up'), qr/\}\nDELETE 1$/, 'an upsert and a delete are a delete');
together('up', "UPDATE crm.up SET city = 'x' WHERE id = 2", "INSERT INTO crm.up (id, city) VALUES (2, 'y')");
like(requests('up'), qr/\nPATCH 2 .*\nPUT 2 \{"id": 2, "city": "y"\}$/, 'an update is not merged with what comes after it');

# what is in flight is not merged with: the second waits, and goes on its own
object_of('flight', $all);
sql("INSERT INTO crm.flight (id) VALUES (1)");
settled('flight', 'a row');
$crm->control({ fault => 'slow', path => '/objects/flight', ms => 4000, count => 1 });
sql("UPDATE crm.flight SET email = 'first' WHERE id = 1");
ok($node->poll_query_until('postgres', "SELECT in_flight = 1 FROM activate.stat_target WHERE name = 'crm'"), 'one is in flight');
sql("UPDATE crm.flight SET email = 'second' WHERE id = 1; UPDATE crm.flight SET city = 'third' WHERE id = 1");
settled('flight', 'all three');
like(requests('flight'), qr/\nPATCH 1 \{"email": "first"\}\nPATCH 1 \{"city": "third", "email": "second"\}$/,
	'what comes meanwhile is merged among itself');

# what was tried stays as it was, with its id, until its outcome is known
object_of('tried', $all);
$crm->control({ fault => 'half', path => '/objects/tried', count => 1 });
sql("SELECT activate_pause('target:crm')");
sql("INSERT INTO crm.tried (id, email) VALUES (1, 'a')");
sql("UPDATE crm.tried SET city = 'Rome' WHERE id = 1");
sql("ALTER SYSTEM SET activate.retry_backoff = '3s'; SELECT pg_reload_conf()");
sql("SELECT activate_resume('target:crm')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
	WHERE s.name = 'crm.tried' AND outcome = 'ambiguous'"), 'an insert whose answer broke off');
sql("UPDATE crm.tried SET email = 'b' WHERE id = 1");
settled('tried', 'and an update since');
my @log = @{ $crm->log('/objects/tried') };
is_deeply([ map { "$_->{method} $_->{body}" } @log ],
	[ ('POST {"id": 1, "city": "Rome", "email": "a"}') x 2, 'PATCH {"email": "b"}' ], 'the insert is repeated as it was');
is($log[0]{headers}{'idempotency-key'}, $log[1]{headers}{'idempotency-key'}, 'with its id');
isnt($log[1]{headers}{'idempotency-key'}, $log[2]{headers}{'idempotency-key'}, 'the update has another');
sql("ALTER SYSTEM RESET activate.retry_backoff; SELECT pg_reload_conf()");

# a refusal is final; what comes after is not merged with it, and takes it away where it covers it
object_of('refused', $all);
$crm->control({ reject => { field => 'email', equals => 'bad', status => 422, error => 'email is bad' } });
sql("INSERT INTO crm.refused (id, email) VALUES (1, 'good')");
sql("UPDATE crm.refused SET email = 'bad' WHERE id = 1");
settled('refused', 'an update that is refused');
sql("UPDATE crm.refused SET city = 'Rome' WHERE id = 1");
settled('refused', 'and one of another column');
is(object('refused/1'), '{"city":"Rome","email":"good","id":1}', 'is not merged with it');
my $rejections = "SELECT string_agg(op || ' ' || body, ', ') FROM activate.rejection j JOIN activate.sync s ON s.id = j.sync WHERE s.name = 'crm.refused'";
is(sql($rejections), 'update {"email": "bad"}', 'the refused one stands');
is(sql("SELECT activate_retry('crm.refused')"), 1, 'activate_retry');
settled('refused', 'tried again');
is(sql($rejections), 'update {"email": "bad"}', 'and refused again');
like(requests('refused'), qr/\nPATCH 1 \{"email": "bad"\}$/, 'as it was written');
sql("UPDATE crm.refused SET email = 'better' WHERE id = 1");
settled('refused', 'a better one');
is(sql($rejections), '', 'takes the rejection away');
sql("UPDATE crm.refused SET email = 'bad' WHERE id = 1");
settled('refused', 'refused once more');
sql("SELECT activate_pause('target:crm')");
sql("CREATE ROLE operator IN ROLE activate_admin; SET ROLE operator; SELECT activate_retry('crm.refused')");
is(sql("SELECT op || ' ' || body || ' ' || writer FROM activate.outbox"), 'update {"email": "bad"} operator',
	'a retry is written by the role that asks for it');
is(sql("SELECT activate_discard('crm.refused')"), 1, 'and can be discarded');
sql("SELECT activate_resume('target:crm')");
$crm->control({ reject => undef });
sql("UPDATE crm.refused SET email = 'x' WHERE id = 99");
settled('refused', 'an update of what is not there');
is(sql("SELECT op || ' ' || code FROM activate.rejection WHERE key = '{\"id\": 99}'"), 'update 404', 'is refused by the API');
sql('DELETE FROM crm.refused WHERE id = 99');
settled('refused', 'a delete of what is not there');
is(sql("SELECT count(*) FROM activate.rejection WHERE key = '{\"id\": 99}'"), 0, 'is as good as done');

# after a crash an insert that was perhaps sent is not sent with later columns in it
object_of('crash', $all);
$crm->control({ fault => 'hang', path => '/objects/crash', count => 1, applied => JSON::PP::true });
sql("INSERT INTO crm.crash (id, email) VALUES (1, 'a')");
ok($node->poll_query_until('postgres', "SELECT in_flight = 1 FROM activate.stat_target WHERE name = 'crm'"), 'an insert in flight');
$node->stop('immediate');
$node->start;
sql("UPDATE crm.crash SET city = 'Rome' WHERE id = 1");
settled('crash', 'after a crash');
is(object('crash/1'), '{"city":"Rome","email":"a","id":1}', 'all has arrived');
@log = @{ $crm->log('/objects/crash') };
is($log[0]{headers}{'idempotency-key'}, $log[1]{headers}{'idempotency-key'}, 'the repeat after a crash has the same id');
like(requests('crash'), qr/^(POST \{"id": 1, "email": "a"\}\n){2}PATCH 1 \{"city": "Rome"\}$/, 'and the update came after it');

# many sessions, one row: order per key, every column as written last
object_of('busy', $all);
sql("INSERT INTO crm.busy (id, email) VALUES (1, 'a'), (2, 'a'), (3, 'a')");
$crm->control({ fault => 'slow', path => '/objects/busy', ms => 3 });
$node->pgbench('--no-vacuum --client=4 --transactions=60', 0, [qr/processed: 240/], [qr/^$/], 'concurrent DML',
	{ '620_busy' => '\set id random(1, 3)
		\set n random(1, 1000)
		UPDATE crm.busy SET email = :n WHERE id = :id;
		UPDATE crm.busy SET city = :n WHERE id = :id;' });
$crm->control({ fault => 'none' });
sql("UPDATE crm.busy SET email = 'last ' || id, city = 'last' WHERE id IN (1, 2, 3)");
settled('busy', 'all of it');
is(object("busy/$_"), "{\"city\":\"last\",\"email\":\"last $_\",\"id\":$_}", "the last word on row $_") foreach 1 .. 3;
is(sql("SELECT count(*) FROM activate.rejection j JOIN activate.sync s ON s.id = j.sync WHERE s.name = 'crm.busy'"), 0, 'nothing refused');
is(sql("SELECT state || ' ' || pending FROM activate.stat_sync WHERE name = 'crm.busy'"), 'ok 0', 'stat_sync tells of an implicit sync');

$node->stop('fast');
done_testing();
