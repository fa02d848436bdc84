# Pages that have not changed do not come again: ETag and Last-Modified, by whom they are shared, and when nothing is asked.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Service;
use ActivateTest::Session;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('unchanged', conf => 'activate.page_cache = 256kB');
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Since the last time: how each request asked whether its page has changed, and what became of it.
my $seen = 0;
sub asked
{
	my @log = grep { $_->{method} eq 'GET' } @{ $crm->log('/') };
	my @new = @log[$seen .. $#log];

	$seen = @log;
	return join ' ', map { my $h = $_->{headers}; ($h->{'if-none-match'} ? 'etag' : $h->{'if-modified-since'} ? 'date' : 'plain') . ":$_->{status}" } @new;
}

sub versions { $crm->control({ versions => $_[0] }); return; }

sql("SELECT activate_target('api', 'rest', '{\"base_url\": \"$url\", \"objects\": {
	\"people\": {\"path\": \"/objects/people\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\"}, \"read\": {\"records\": \"data\",
		\"page\": {\"style\": \"cursor\", \"param\": \"cursor\", \"next\": \"paging.next\", \"size\": 2, \"in_flight\": 1}}},
	\"linked\": {\"path\": \"/objects/people\", \"columns\": {\"id\": \"bigint\"}, \"read\": {\"records\": \"data\", \"query\": {\"style\": \"link\"}, \"page\": {\"style\": \"link\", \"size_param\": \"limit\", \"size\": 2, \"in_flight\": 1}}},
	\"always\": {\"path\": \"/objects/people\", \"columns\": {\"id\": \"bigint\"}, \"read\": {\"records\": \"data\", \"conditional\": false}},
	\"plain\": {\"path\": \"/objects/people\", \"columns\": {\"id\": \"bigint\"}, \"read\": {\"records\": \"data\"}},
	\"bulk\": {\"path\": \"/bulk\", \"columns\": {\"id\": \"bigint\", \"email\": \"text\"}, \"read\": {\"records\": \"data\", \"query\": {\"records\": 1000},
		\"page\": {\"style\": \"page\", \"size_param\": \"limit\", \"size\": 20}}}}}', '{\"bearer\": \"one\"}')");
$crm->call('POST', '/objects/people', { id => $_, name => "p$_" }) for 1 .. 3;
my $all = "SELECT string_agg(id || name, ' ' ORDER BY id) FROM api.people";

# ---- an API that says nothing, and one that does ----

is(sql("$all; $all"), "1p1 2p2 3p3\n1p1 2p2 3p3", 'nothing is said');
is(asked(), 'plain:200 plain:200 plain:200 plain:200', 'nothing is asked');
for my $kind ('etag', 'weak')
{
	versions($kind);
	is(sql($all), '1p1 2p2 3p3', "$kind: first");
	is(asked(), 'plain:200 plain:200', "$kind: both pages come") if $kind eq 'etag';
	asked();
	is(sql($all), '1p1 2p2 3p3', "$kind: the same rows in another session");
	is(asked(), 'etag:304 etag:304', "$kind: no page comes again");
	like(sql("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT id FROM api.people"), qr/Pages: 2\n\s*Requests: 2\n\s*Bytes: 0\n\s*Unchanged Pages: 2/, "$kind: EXPLAIN says so");
	asked();
	$crm->call('PATCH', '/objects/people/3', { name => 'new' });
	is(sql($all), '1p1 2p2 3new', "$kind: a change is seen");
	is(asked(), 'etag:304 etag:200', "$kind: its page comes");
	$crm->call('PATCH', '/objects/people/3', { name => 'p3' });
}

# ---- runners, ANALYZE, the next page in a header ----

versions('etag');
sql("SELECT count(*) FROM api.people");
asked();
sql("CREATE TABLE people (id bigint PRIMARY KEY, name text); SELECT activate_sync('people', 'api.people', 'people', key => 'id'); SELECT activate_run('people')");
is(asked(), 'etag:304 etag:304', 'a run asks, too');
is(sql("SELECT string_agg(id || name, ' ' ORDER BY id) FROM people"), '1p1 2p2 3p3', 'and loads all');
sql("ANALYZE api.people");
is(asked(), 'etag:304 etag:304', 'and so does ANALYZE');
is(sql("SELECT count(*) FROM api.linked; SELECT count(*) FROM api.linked"), "3\n3", 'the next page of one that has not changed is known');
is(asked(), 'plain:200 plain:200 etag:304 etag:304', 'both pages are asked for');

# ---- whose ----

sql("SELECT activate_target('api', 'rest', secret => '{\"bearer\": \"two\"}')");
is(sql($all), '1p1 2p2 3p3', 'with another secret');
is(asked(), 'plain:200 plain:200', 'nobody knows what it was');
sql("SELECT activate_target('api', 'rest', secret => '{\"bearer\": \"one\"}')");
is(sql($all), '1p1 2p2 3p3', 'with the first');
is(asked(), 'etag:304 etag:304', 'it is known still');
# who asks is told by more than what is secret
for my $who ('{"header": {"X-One": "same"}}', '{"header": {"X-Two": "same"}}', '{"query": {"one": "same"}}', '{"query": {"two": "same"}}')
{
	sql("SELECT activate_target('api', 'rest', secret => '$who')");
	is(sql($all), '1p1 2p2 3p3', "as $who");
	is(asked(), 'plain:200 plain:200', 'nobody knows what it was');
}
sql("SELECT activate_target('api', 'rest', secret => '{\"bearer\": \"one\"}')");
asked();
is(sql("SELECT count(*) FROM api.always; SELECT count(*) FROM api.always"), "3\n3", '"conditional" is false');
is(asked(), 'plain:200 plain:200', 'so it is never asked');

# ---- times of change have whole seconds ----

versions(100);
is(sql("SELECT count(*) FROM api.plain; SELECT count(*) FROM api.plain"), "3\n3", 'by the time of its change');
is(asked(), 'plain:200 date:304', 'it is asked whether it changed since');
$crm->call('PATCH', '/objects/people/3', { name => 'later' });
is(sql("SELECT count(*) FROM api.people WHERE name = 'later'; SELECT count(*) FROM api.people WHERE name = 'later'"), "1\n1", 'changed a moment ago');
unlike(asked(), qr/date/, 'a time as young as this says nothing');

# ---- what is not kept ----

my %page = (fault => 'status', status => 200, path => '/objects/people', content_type => 'application/json');
my $plain = 'SELECT count(*) FROM api.plain WHERE id > 0';
versions(undef);
$crm->control({ %page, body => '{"data": [{"id": 1}]}', headers => { ETag => '"a"', 'Cache-Control' => 'private, no-store' } });
is(sql("$plain; $plain"), "1\n1", 'no-store');
unlike(asked(), qr/etag/, 'is not kept');
$crm->heal;
$crm->control({ %page, body => '{"data": [{"id": 1}', headers => { ETag => '"broken"' } });
isnt($node->psql('postgres', $plain), 0, 'a broken page');
asked();
isnt($node->psql('postgres', $plain), 0, 'once more');
unlike(asked(), qr/etag/, 'is not kept');
$crm->heal;
$crm->control({ fault => 'status', status => 304, path => '/objects/people' });
my ($code, undef, $err) = $node->psql('postgres', 'SELECT id FROM api.always');
like($err, qr/answered with status 304/, 'unasked, 304 is an error');
$crm->heal;
asked();

# ---- a cache that is too small for all ----

versions('etag');
my $bulk = 'SELECT count(*), count(DISTINCT id), min(email), max(email) FROM api.bulk';
my $whole = sql($bulk);
like($whole, qr/^1000\|1000\|/, 'more pages than are kept');
asked();
is(sql($bulk), $whole, 'again') for 1 .. 3;
unlike(asked(), qr/:(?!200|304|0)/, 'what is there is asked about, what is gone is not');
is(sql("$bulk WHERE id <= 100; SELECT count(*) FROM (SELECT FROM api.bulk LIMIT 20) one"), sql("SELECT 100, 100, min('customer' || g || '\@example.com'), max('customer' || g || '\@example.com') FROM generate_series(0, 99) g") . "\n20", 'some of it');

# ---- a token is as good as what it is got by ----

asked();
$crm->control({ tokens => { lifetime => 3600, rotate => \0 } });
for my $who ('["one", "a"]', '["two", "a"]', '["two", "b"]')
{
	sql("SELECT activate_target('api', 'rest', jsonb_build_object('auth', jsonb_build_object('form', 'oauth2', 'grant', 'client_credentials',
		'token_url', '$url/token/client', 'scope', '$who'::jsonb ->> 1)), jsonb_build_object('oauth2', jsonb_build_object('client_id', '$who'::jsonb ->> 0, 'client_secret', 'same')))");
	is(sql($all), '1p1 2p2 3later', "as client and with the scope $who");
	is(asked(), 'plain:200 plain:200', 'nobody knows what it was');
}
is(sql($all), '1p1 2p2 3later', 'the same client again');
is(asked(), 'etag:304 etag:304', 'its pages are known');

$node->append_conf('postgresql.conf', 'activate.page_cache = 0');
$node->restart;
asked();
is(sql("$plain; $plain"), "3\n3", 'without a cache');
is(asked(), 'plain:200 plain:200', 'nothing is asked');

done_testing();
