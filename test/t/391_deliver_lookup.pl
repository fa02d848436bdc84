# Search before write, where an API has no upsert: found is updated, not found inserted, several rejected.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('lookup', conf => "activate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'\nactivate.max_attempts = 6");
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The API gives ids of its own; ours is the e-mail address.
sub declare
{
	my ($name, %lookup) = @_;
	my %search = (path => "/objects/$name/search", query => { field => 'email', value => '{email}' }, records => 'data', id => 'id', %lookup);
	my $options = JSON::PP->new->canonical->encode({
		base_url => $url,
		objects  => { $name => { path => "/objects/$name", key => 'email', columns => { email => 'text', v => 'bigint' }, answer => { id => 'id' },
			write => {
				insert => {}, update => { path => "/objects/$name/{remote_id}" },
				upsert => { lookup => \%search },
				delete => { path => "/objects/$name/{remote_id}", lookup => \%search } } } } });

	sql("SELECT activate_target('$name', 'rest', " . sql_literal($options) . ");
		CREATE TABLE $name (email text PRIMARY KEY, v bigint);
		SELECT activate_sync('$name', '$name', '$name.$name', capture => 'trigger', mode => 'mirror')");
	return;
}
sub requests { my ($name) = @_; return join ' ', map { "$_->{method} " . ($_->{path} =~ s{^/objects/$name/?}{}r) } @{ $crm->log("/objects/$name") }; }
sub held { my ($name) = @_; return [ map { { email => $_->{email}, v => $_->{v} } } @{ JSON::PP::decode_json($crm->objects($name)) } ]; }
sub same
{
	my ($name, $test) = @_;
	return same_rows($node, JSON::PP->new->encode(held($name)), "TABLE $name", $test);
}

declare('people');
$crm->call('POST', '/objects/people', '{"email": "there.x", "v": 0}');
$crm->control({ unique => { people => 'email' } });
my $before = @{ $crm->log('/objects/people') };
sql("INSERT INTO people VALUES ('there.x', 1)");
ok(delivered($node, 'people'), 'found: done');
is(requests('people'), 'POST  GET search PATCH 1', 'found: it is updated by its id');
sql("INSERT INTO people VALUES ('new.x', 2)");
ok(delivered($node, 'people'), 'not found: done');
is(requests('people'), 'POST  GET search PATCH 1 GET search POST ', 'not found: it is inserted');
same('people', 'what is there');
is(sql("SELECT string_agg(remote_id, ' ' ORDER BY remote_id) FROM activate.sent"), '1 2', 'ids are kept');
sql("UPDATE people SET v = v + 10");
ok(delivered($node, 'people'), 'known: done');
unlike(requests('people') =~ s/^POST  GET search PATCH 1 GET search POST //r, qr/search/, 'known: nothing is searched for');
is(sql("SELECT string_agg(DISTINCT op, ' ') FROM activate.receipt"), 'upsert', 'receipts tell what was asked for');

# what we know is not so any more
$crm->call('DELETE', '/objects/people/1');
sql("UPDATE people SET v = 21 WHERE email = 'there.x'");
ok(delivered($node, 'people'), 'gone: done');
like(requests('people'), qr/PATCH 1 GET search POST $/, 'gone meanwhile: looked for again, and inserted');
same('people', 'gone meanwhile: it is there again');
my @sent = @{ $crm->log('/objects/people') }[ -3, -1 ];
is("$sent[0]{method} $sent[1]{method} $sent[1]{headers}{'idempotency-key'}", "PATCH POST $sent[0]{headers}{'idempotency-key'}-new", 'gone meanwhile: the insert is another request, by its key');
is(sql("SELECT remote_id FROM activate.sent WHERE key ->> 'email' = 'there.x'"), '3', 'gone meanwhile: the new id is kept');

# what looking again costs is counted, also where "concurrent" lets nothing else go
declare('counted');
sql(q{ALTER SERVER counted OPTIONS (ADD concurrent '1', ADD rate '[{"calls": 100, "per": "1 day"}]')});
$crm->call('POST', '/objects/counted', '{"email": "a.x", "v": 0}');
sql("INSERT INTO counted VALUES ('a.x', 1)");
ok(delivered($node, 'counted'), 'counted: done');
$crm->call('DELETE', '/objects/counted/1');
my $left = sql("SELECT quota FROM activate.stat_target WHERE name = 'counted'");
sql("UPDATE counted SET v = 2");
ok(delivered($node, 'counted'), 'counted: done again');
is(requests('counted'), 'POST  GET search PATCH 1 DELETE 1 PATCH 1 GET search POST ', 'counted: it was looked for again');
is(sql("SELECT quota FROM activate.stat_target WHERE name = 'counted'"), $left - 4, 'counted: as two more calls');

# created by somebody else between search and insert
$crm->control({ fault => 'slow', path => '/objects/people/search', ms => 1500, count => 1 });
sql("INSERT INTO people VALUES ('race.x', 5)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.outbox"), 'race: under way');
$crm->calls('/objects/people/search', 4);
$crm->call('POST', '/objects/people', '{"email": "race.x", "v": 0}');
ok(delivered($node, 'people'), 'race: done');
same('people', 'race: refused as a duplicate, looked for again, and updated');
like(requests('people'), qr/GET search POST  POST  GET search PATCH 4$/, 'race: once');

# refused as a duplicate for ever: once more, not for ever
$crm->control({ fault => 'status', path => '/objects/people', method => 'POST', status => 409, body => '{"error": "duplicate"}', count => 10 });
sql("INSERT INTO people VALUES ('never.x', 5)");
ok(delivered($node, 'people'), 'conflict: done');
is(sql("SELECT code || ' ' || reason FROM activate.rejection"), '409 duplicate', 'conflict: rejected with what the API said');
$crm->heal;
sql("DELETE FROM people WHERE email = 'never.x'");

# deletes: by the id, known or found; none is as good as deleted
sql("DELETE FROM people WHERE email = 'new.x'");
ok(delivered($node, 'people'), 'delete: done');
like(requests('people'), qr/DELETE 2$/, 'delete: by the id that is known');
same('people', 'delete: it is gone');
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'delete: what was rejected and is gone is forgotten');

declare('known');
$crm->call('POST', '/objects/known', "{\"email\": \"$_\", \"v\": 0}") for 'a', 'b', 'c';
sql("SELECT activate_pause('known'); INSERT INTO known SELECT chr(96 + i), 0 FROM generate_series(1, 8) i; SELECT activate_discard('known');
	SELECT activate_sync('known', 'known', 'known.known', capture => 'trigger', mode => 'mirror', options => '{\"backfill\": false}');
	SELECT activate_resume('known'); SELECT activate_run('known'); DELETE FROM known WHERE email IN ('b', 'h')");
ok(delivered($node, 'known'), 'delete, id not known: done');
is(join(' ', map { $_->{email} } @{ held('known') }), 'a c', 'delete, id not known: it is found first');
is(sql("SELECT string_agg(outcome || ' ' || n, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*) n FROM activate.receipt r
	JOIN activate.sync s ON s.id = r.sync WHERE name = 'known' GROUP BY 1) t"), 'delivered 2', 'delete, id not known: what is not found is gone already');

# several: never guessed
declare('twins');
$crm->call('POST', '/objects/twins', '{"email": "a.x", "v": 0}') for 1 .. 2;
sql("INSERT INTO twins VALUES ('a.x', 1)");
ok(delivered($node, 'twins'), 'several: done');
is(sql("SELECT reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'twins'"), 'the lookup finds more than one record',
	'several: rejected');
is(scalar(grep { $_->{v} } @{ held('twins') }), 0, 'several: none is changed');

# a search that finds more than was asked for: only what matches is meant
declare('vague', path => '/objects/vague', query => { limit => 0 }, match => 'email', column => 'email');
$crm->call('POST', '/objects/vague', "{\"email\": \"$_\", \"v\": 0}") for 'a.x', 'b.x', 'c.x';
sql("INSERT INTO vague VALUES ('b.x', 1), ('d.x', 1)");
ok(delivered($node, 'vague'), 'vague: done');
is(join(' ', map { "$_->{email}=$_->{v}" } @{ held('vague') }), 'a.x=0 b.x=1 c.x=0 d.x=1', 'vague: one is updated, one inserted');

# searched for by a body; values between quotes do not end them
declare('body', query => {}, method => 'POST', body => { field => 'email', value => '{email}' });
declare('quoted', query => {}, method => 'POST', body => { field => 'email', value => "'{email}'" });
$crm->call('POST', '/objects/body', '{"email": "it\'s \"x\"", "v": 0}');
sql(q{INSERT INTO body VALUES ('it''s "x"', 1); INSERT INTO quoted VALUES ('x'' OR ''1''=''1', 1)});
ok(delivered($node, 'body'), 'body: done');
is(join(' ', map { "$_->{email}=$_->{v}" } @{ held('body') }), q{it's "x"=1}, 'body: found by its value, whatever it is');
ok(delivered($node, 'quoted'), 'quoted: done');
is(sql("SELECT reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'quoted'"),
	'the value of "email" cannot be searched for: it has a quote or a backslash', 'quoted: a value cannot end the quotes');
is(requests('quoted'), '', 'quoted: nothing was sent');

# they need not stand next to the value
declare('inside', query => {}, method => 'POST', body => { field => 'email', value => "email LIKE '%{email}%'" });
sql(q{INSERT INTO inside VALUES ('x'' OR ''1''=''1', 1)});
ok(delivered($node, 'inside'), 'inside quotes: done');
is(requests('inside'), '', 'inside quotes: nothing was sent');

# an answer that is no record does not say that there is none
declare('single', path => '/objects/single/{email}', query => {}, records => undef);
$crm->control({ fault => 'status', path => '/objects/single', method => 'GET', status => 200, body => $_, count => 2 }) for '<html>Sign in</html>', '{"error": "try later"}', '';
sql("INSERT INTO single VALUES ('a', 1)");
ok(delivered($node, 'single'), 'no record: done');
is(join(' ', map { $_->{method} } @{ $crm->log('/objects/single') }), 'GET GET GET GET GET GET', 'no record: nothing was inserted');
is(sql("SELECT reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'single'"), 'the answer to the lookup is not what was expected',
	'no record: rejected in the end');
$crm->heal;

# more than anybody would look through; an id that we could not say again
declare('crowd', path => '/objects/crowd', query => { limit => 0 }, match => 'email', column => 'email');
$crm->control({ fault => 'status', path => '/objects/crowd', method => 'GET', status => 200, count => 1,
	body => JSON::PP::encode_json({ data => [ map { { id => $_, email => "$_.x" } } 1 .. 1001 ] }) });
sql("INSERT INTO crowd VALUES ('1001.x', 1)");
ok(delivered($node, 'crowd'), 'crowd: done');
is(requests('crowd'), 'GET ', 'crowd: nothing was inserted');
declare('long');
$crm->control({ fault => 'status', path => '/objects/long/search', status => 200, count => 6, body => JSON::PP::encode_json({ data => [ { id => 'x' x 1001 } ] }) });
sql("INSERT INTO long VALUES ('a', 1)");
ok(delivered($node, 'long'), 'long id: done');
unlike(requests('long'), qr/P/, 'long id: nothing was written');
$crm->heal;

# what the definition says of any answer holds for those to a search
declare('ruled');
sql(q{ALTER SERVER ruled OPTIONS (ADD answer '{"code": "error", "codes": {"busy": "throttled"}}')});
$crm->control({ fault => 'status', path => '/objects/ruled/search', status => 200, count => 8, body => '{"error": "busy"}', headers => { 'Retry-After' => '0' } });
sql("INSERT INTO ruled VALUES ('a', 1)");
ok(delivered($node, 'ruled'), 'ruled: done');
is(sql("SELECT string_agg(outcome, ' ') FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE name = 'ruled'"), 'delivered', 'ruled: waited, no attempt');

# also that 404 does not mean that there is none
declare('wrong');
sql(q{ALTER SERVER wrong OPTIONS (ADD answer '{"code": "error", "codes": {"NO_SUCH_TABLE": "config"}}')});
$crm->control({ fault => 'status', path => '/objects/wrong/search', status => 404, count => 1, body => '{"error": "NO_SUCH_TABLE"}' });
sql("INSERT INTO wrong VALUES ('a', 1)");
ok($node->poll_query_until('postgres', "SELECT state = 'config' FROM activate.stat_target WHERE name = 'wrong'"), 'wrong: the target waits for somebody');
is(requests('wrong'), 'GET search', 'wrong: nothing was inserted');
sql("ALTER SERVER wrong OPTIONS (SET answer '{}')");
ok(delivered($node, 'wrong'), 'wrong: done when it was set right');

# the search fails: nothing was sent, nothing is ambiguous
$crm->control({ fault => 'status', path => '/objects/body/search', status => 503, count => 2 });
sql("INSERT INTO body VALUES ('later', 1)");
ok(delivered($node, 'body'), 'failing search: done later');
$crm->control({ fault => 'reset', path => '/objects/body/search', count => 1 });
sql("INSERT INTO body VALUES ('much later', 1)");
ok(delivered($node, 'body'), 'broken search: done later');
is(sql("SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE name = 'body'"),
	'delivered retried', 'failing search: retried, never ambiguous');

# an insert whose answer is lost is found the next time
$crm->control({ fault => 'reset', path => '/objects/body', method => 'POST', after => 1, count => 1 });
sql("INSERT INTO body VALUES ('lost', 7)");
ok(delivered($node, 'body'), 'lost answer: done');
is(scalar(grep { $_->{email} eq 'lost' } @{ held('body') }), 1, 'lost answer: the repeat finds what the first has made');

# killed in each request
for my $phase ([ 'search', 'GET' ], [ 'write', 'POST' ])
{
	my ($name, $method) = @$phase;

	declare("kill_$name");
	$crm->control({ unique => { "kill_$name" => 'email' } });
	$crm->control({ fault => 'slow', path => "/objects/kill_$name", method => $method, ms => 60000, count => 1 });
	sql("INSERT INTO kill_$name VALUES ('a', 1)");
	for (1 .. 3000)
	{
		last if grep { $_->{method} eq $method } @{ $crm->log("/objects/kill_$name") };
		select(undef, undef, undef, 0.01);
	}
	my ($pid) = worker_pids($node, 'deliver');
	kill_hard($pid);
	$crm->heal;
	$node->poll_query_until('postgres', 'SELECT true');
	sql("UPDATE kill_$name SET v = 2");
	ok(delivered($node, "kill_$name"), "kill_$name: done");
	same("kill_$name", "kill_$name: it is there once, as it is now");
}

# the preview shows the search where the id is not known, else the write
sql("SELECT activate_pause('body'); INSERT INTO body VALUES ('shown', 1); UPDATE body SET v = 9 WHERE email = 'later'");
is(sql("SELECT string_agg(method || ' ' || regexp_replace(url, '^.*/objects/body/?', ''), ', ' ORDER BY method) FROM activate_preview('body')"),
	'PATCH 2, POST search', 'preview: the next request');

$node->stop('fast');
done_testing();
