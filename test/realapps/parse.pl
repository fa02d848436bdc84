# Parse Server on PostgreSQL: what the warehouse writes, its own REST API must find.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::App;
use PostgreSQL::Test::Utils;
use Test::More;

# 9.10.0 asks for a file of express' router that its 2.3.0 has changed: then every /batch is a 500
my $app = ActivateTest::App->new('parse');
plan skip_all => $app->problem unless $app->npm(['parse-server@9.10.0', 'router@2.2.0']);

# its database is in a server of its own: the warehouse crashes in this test
my $store = PostgreSQL::Test::Cluster->new('store');
$store->init;
$store->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nfsync = off");
$store->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust");
$store->start;
$store->safe_psql('postgres', 'CREATE DATABASE parse');

$app->{prefix} = '/parse';
$app->{headers} = { 'X-Parse-Application-Id' => 'app', 'X-Parse-Master-Key' => 'master' };
copy_js('parse.js');
plan skip_all => $app->problem
	unless $app->start(command => ['node', 'parse.js'], ready => '/health',
	env => { DATABASE => 'postgres://postgres@127.0.0.1:' . $store->port . '/parse', PORT => $app->{port} });

sub copy_js
{
	my ($file) = @_;

	PostgreSQL::Test::Utils::append_to_file($app->folder . "/$file", slurp_file("test/realapps/$file"))
		unless -e $app->folder . "/$file";
	return;
}

my $node = activate_node('warehouse', conf => "activate.max_attempts = 3\nactivate.http_timeout = '60s'");

sub sql   { return $node->safe_psql('postgres', $_[0]); }
sub store { return $store->safe_psql('parse', $_[0]); }

# All objects of a class, as rows of what the warehouse holds.  Parse wants no field "id".
sub objects
{
	my ($class, @columns) = @_;
	my $results = $app->get("/classes/$class?limit=10000&order=objectId")->{results};

	return $app->text([map { my $object = $_; +{ id => $object->{number}, map { $_ => $object->{$_} } @columns } } @$results]);
}

sub found
{
	my ($class, $where) = @_;

	return $app->get("/classes/$class?where=" . $where =~ s/([^A-Za-z0-9_])/sprintf '%%%02X', ord $1/ger)->{results};
}

sub rejections
{
	return sql("SELECT string_agg(id || ' ' || code || ' ' || reason, '; ' ORDER BY id) FROM (SELECT (r.key->>'id')::int AS id, r.code, r.reason
		FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' ORDER BY 1 LIMIT 10) r");
}

# the class that a person made before, with a field that must be unique and one that the database bounds
$app->get('/schemas/Contact', 'POST', { className => 'Contact', fields => {
	number => { type => 'Number' }, email => { type => 'String' }, score => { type => 'Number' }, city => { type => 'String' } } });
store('CREATE UNIQUE INDEX ON "Contact" (email); ALTER TABLE "Contact" ADD CHECK (score < 1000000)');

my $url = $app->url;
my $number = '"id": {"type": "integer", "path": "number"}';
my $columns = $number . ', "email": "text", "city": "text", "score": "jsonb"';
sql(qq[SELECT activate_target('app', 'parse', '{"base_url": "$url", "headers": {"X-Parse-Application-Id": "app"},
		"objects": {"Contact": {"columns": {$columns}}, "Limited": {"columns": {$number}}}}', '{"header": {"X-Parse-Master-Key": "master"}}');
	CREATE TABLE contact (id int PRIMARY KEY, email text, city text, score jsonb);
	INSERT INTO contact SELECT i, 'a' || i || '\@example.com', CASE WHEN i % 3 > 0 THEN 'Zürich' END, to_jsonb(i / 2.0) FROM generate_series(1, 250) i;
	SELECT activate_sync('contacts', 'contact', 'app."Contact"', key => 'id', mode => 'insert', capture => 'trigger')]);

#
# Rows arrive, and are read again
#
sql("SELECT activate_run('contacts')");
ok(delivered($node, 'contacts'), 'the backfill is delivered');
same_rows($node, objects('Contact', qw(email city score)), 'TABLE contact', 'Parse holds what the warehouse holds')
	or BAIL_OUT(rejections('contacts'));
is(sql('SELECT count(*) FROM (TABLE contact EXCEPT SELECT id, email, city, score FROM app."Contact") d'), 0, 'the foreign table says the same, by pages');
sql("INSERT INTO contact VALUES (300, 'ada\@example.com', 'Paris', '3.5')");
ok(delivered($node, 'contacts'), 'a row that is inserted goes by itself');
is(scalar @{ found('Contact', '{"email":"ada@example.com"}') }, 1, 'and Parse finds it');
is(sql(q[SELECT remote_id FROM activate.sent WHERE key = '{"id": 300}']), found('Contact', '{"number":300}')->[0]{objectId},
	'its objectId is known');

#
# Updates and deletes, by the foreign table
#
my $id = found('Contact', '{"number":300}')->[0]{objectId};
sql(qq[UPDATE app."Contact" SET city = 'Lyon', score = NULL WHERE "objectId" = '$id'; UPDATE app."Contact" SET city = 'Bern' WHERE email = 'a7\@example.com']);
ok(delivered($node, 'app.Contact'), 'updates by key and by reading are delivered');
is($app->get("/classes/Contact/$id")->{city}, 'Lyon', 'the first is there');
is($app->get("/classes/Contact/$id")->{score}, undef, 'with its null');
is($app->get("/classes/Contact/$id")->{email}, 'ada@example.com', 'and what was not assigned is as it was');
is(found('Contact', '{"number":7}')->[0]{city}, 'Bern', 'so is the second');
sql(qq[DELETE FROM app."Contact" WHERE "objectId" = '$id']);
ok(delivered($node, 'app.Contact'), 'a delete is delivered');
is(($app->call('GET', "/classes/Contact/$id"))[0], 404, 'and the object is gone');
sql(qq[DELETE FROM app."Contact" WHERE "objectId" = 'nowhere'; UPDATE app."Contact" SET city = 'x' WHERE "objectId" = 'nobody']);
ok(delivered($node, 'app.Contact'), 'of what is not there');
is(sql("SELECT string_agg(r.key->>'objectId' || ' ' || r.reason, ';') FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'app.Contact'"),
	'nobody ' . sql("SELECT r.reason FROM activate.rejection r WHERE r.key->>'objectId' = 'nobody'"), 'the delete is done, the update refused');

#
# What Parse refuses: each row for itself
#
sql(q[INSERT INTO contact VALUES (401, 'a1@example.com', 'twice', '1'), (402, 'x402@example.com', 'wrong type', '"high"'), (403, 'x403@example.com', 'fine', '1'),
	(404, 'x404@example.com', 'out of bounds', '5000000'), (405, 'x405@example.com', 'fine', '2')]);
ok(delivered($node, 'contacts'), 'five rows, three of them bad');
is(rejections('contacts'), '401 400 A duplicate value for a field with unique values was provided;'
	. ' 402 400 schema mismatch for Contact.score; expected Number but got String; 404 500 Internal server error.',
	'a unique violation, a wrong type, and what Parse calls its own error, each with its reason');
is(sql("SELECT attempts FROM activate.rejection WHERE key->>'id' = '404'"), 3, 'the last after all attempts');
is(scalar @{ found('Contact', '{"city":"fine"}') }, 2, 'the good ones are there');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'app'"), 'up', 'and the target is up');

#
# 429.  Parse says in its headers what is left, so a deliverer that is alone never gets one; somebody else uses the budget up.
#
sql(q[CREATE TABLE limited (id int PRIMARY KEY); INSERT INTO limited SELECT generate_series(1, 10);
	SELECT activate_sync('limited', 'limited', 'app."Limited"', key => 'id', mode => 'insert', capture => 'trigger')]);
my $others = 0;
$others++ while $others < 10 && ($app->call('POST', '/classes/Limited', { number => 0 }))[0] == 201;
sql("SELECT activate_run('limited')");
ok($node->poll_query_until('postgres', "SELECT state = 'throttled' FROM activate.stat_target WHERE name = 'app'"), 'the first call is throttled');
ok(delivered($node, 'limited'), 'all are delivered in time');
is(sql("SELECT count(*) FILTER (WHERE outcome = 'delivered'), count(*) FILTER (WHERE outcome <> 'delivered' AND code <> '429')
	FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'limited'"), '10|0', 'and nothing but a 429 has come between');
same_rows($node, objects('Limited'), "TABLE limited UNION ALL SELECT 0 FROM generate_series(1, $others)", 'each once');

#
# A key of ours: objects are looked for, so that what is repeated is found.  kill -9 in the middle
#
sql(q[CREATE TABLE person (ref text PRIMARY KEY, city text); INSERT INTO person SELECT 'p' || i, 'city ' || i FROM generate_series(1, 300) i;
	CREATE FOREIGN TABLE app.person (ref text, city text) SERVER app OPTIONS (object 'Person', parameters '{"identified_by": "ref"}');
	SELECT activate_sync('people', 'person', 'app.person', key => 'ref', mode => 'mirror', capture => 'trigger'); SELECT activate_run('people')]);
for my $n (1 .. 2)
{
	my $least = 80 * $n;

	ok($node->poll_query_until('postgres', "SELECT count(*) > $least FROM activate.sent WHERE key->>'ref' LIKE 'p%'"), "kill $n: under way");
	kill_hard((worker_pids($node, 'deliver'))[0]);
	$node->poll_query_until('postgres', 'SELECT true');
}
ok(delivered($node, 'people'), 'delivered in the end');
is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'people'"), 0, 'nothing is refused');
sub people { return $app->text([map { +{ ref => $_->{ref}, city => $_->{city} } } @{ $app->get('/classes/Person?limit=10000')->{results} }]); }
same_rows($node, people(), 'TABLE person', 'Parse holds what the warehouse says, each row once');
sql(q[UPDATE person SET city = 'moved' WHERE ref IN ('p1', 'p2'); DELETE FROM person WHERE ref = 'p3'; INSERT INTO person VALUES ('p"quoted', 'x')]);
ok(delivered($node, 'people'), 'updates, a delete, and a key that cannot stand in a search');
like(sql("SELECT string_agg(r.key->>'ref' || ' ' || r.reason, '; ') FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'people'"), qr/^p"quoted /, 'which is refused');
same_rows($node, people(), q[SELECT * FROM person WHERE ref <> 'p"quoted'], 'the others are done');
same_rows($node, objects('Contact', qw(email city score)),
	"SELECT * FROM contact WHERE id NOT IN (300, 401, 402, 404) AND id <> 7 UNION ALL SELECT id, email, 'Bern', score FROM contact WHERE id = 7",
	'of contacts, too');

$node->stop('fast');
$app->stop;
$store->stop('fast');
done_testing();
