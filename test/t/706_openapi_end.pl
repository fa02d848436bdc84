# From an API's own document to rows in the application and back: nothing is declared by hand.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Service;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('openapi', conf => 'activate.retry_backoff = 100ms');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub json { return { content => { 'application/json' => { schema => $_[0] } } }; }

my $person = { '$ref' => '#/components/schemas/person' };
my %document = (
	openapi => '3.0.3', info => { title => 'People', version => '1' }, servers => [ { url => $crm->url } ],
	paths => {
		'/objects/people' => {
			get => { parameters => [ { name => 'cursor', in => 'query', schema => { type => 'string' } }, { name => 'limit', in => 'query', schema => { type => 'integer', maximum => 2 } } ],
				responses => { 200 => json({ type => 'object', properties => { data => { type => 'array', items => $person },
					paging => { type => 'object', properties => { next => { type => 'string' } } } } }) } },
			post => { requestBody => json($person), responses => { 201 => json($person) } } },
		'/objects/people/{id}' => {
			parameters => [ { name => 'id', in => 'path', required => JSON::PP::true, schema => { type => 'integer', format => 'int64' } } ],
			patch => { requestBody => json($person), responses => { 200 => json($person) } },
			put => { operationId => 'createOrReplacePerson', requestBody => json($person), responses => { 200 => json($person) } },
			delete => { responses => { 204 => { description => 'gone' } } } } },
	components => { schemas => { person => { type => 'object', required => ['name'], properties => {
		id => { type => 'integer', format => 'int64' }, name => { type => 'string', maxLength => 20 }, kind => { type => 'string', enum => [ 'lead', 'customer' ] } } } } });

is(sql("SELECT activate_openapi('" . JSON::PP->new->canonical->encode(\%document) . "', 'people', '{\"objects\": {\"people\": \"/objects/people\"}}')"), 'people', 'the document is a connector');
sql("SELECT activate_target('crm', 'people', '{}', '{\"bearer\": \"any\"}')");
is(sql("SELECT string_agg(attname || ' ' || atttypid::regtype, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'crm.people'::regclass AND attnum > 0"),
	'id bigint, kind text, name text', 'the target has its table');

sql("CREATE TABLE people (id bigint PRIMARY KEY, name text, kind text);
	SELECT activate_sync('people', 'people', 'crm.people', mode => 'mirror', capture => 'trigger');
	INSERT INTO people SELECT g, 'p' || g, 'lead' FROM generate_series(1, 5) g");
ok(delivered($node, 'people'), 'rows go out');
my $there = "SELECT string_agg(id || name || kind, ' ' ORDER BY id) FROM crm.people";
is(sql($there), '1p1lead 2p2lead 3p3lead 4p4lead 5p5lead', 'they are there, page after page');

sql("UPDATE people SET kind = 'customer' WHERE id = 2; DELETE FROM people WHERE id = 3");
ok(delivered($node, 'people'), 'changes go out');
is(sql($there), '1p1lead 2p2customer 4p4lead 5p5lead', 'and are there');

my $requests = @{ $crm->log('/objects/people') };
sql("INSERT INTO people VALUES (6, 'p6', 'friend'), (7, repeat('x', 21), 'lead'), (8, NULL, 'lead')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 3 FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'people'"), 'what the document says it refuses is rejected');
is(scalar @{ $crm->log('/objects/people') }, $requests, 'and costs no call');
done_testing();
