# Requests that the shipped definitions make, judged by validators made from the vendors' own OpenAPI documents:
# each is accepted, and a broken one refused.  See test/contract.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Contract;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my ($contract, $problem) = ActivateTest::Contract->new;
plan skip_all => $problem unless $contract;

my $node = activate_node('contract', conf => "activate.http_timeout = '60s'\nactivate.max_attempts = 3");
my $json = JSON::PP->new->canonical->allow_nonref;
my %covered;

sub sql { return $node->safe_psql('postgres', "SET TimeZone = 'UTC'; $_[0]"); }

sub text { return sql_literal(ref $_[0] ? $json->encode($_[0]) : $_[0]); }

sub settled
{
	my ($sync) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(delivered($node, $sync), "$sync: nothing is pending");
}

sub reasons
{
	return sql("SELECT coalesce(string_agg(r.reason, '; ' ORDER BY r.id), '') FROM activate.rejection r
		JOIN activate.sync s ON s.id = r.sync WHERE s.name = " . text($_[0]));
}

# What the validators saw since the last look, as {"POST /path" => how often}; nothing may have been refused.
sub accepted
{
	my ($vendor, $name) = @_;
	my @seen    = grep { $_->{vendor} eq $vendor } $contract->log;
	my @refused = map { "$_->{method} $_->{url} $_->{status}: " . join(', ', @{ $_->{refused} }) . ' ' . $json->encode($_->{body}) }
	  grep { $_->{refused} } @seen;
	my %calls;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join("\n", @refused), '', "$name: the document allows every request");
	$calls{"$_->{method} $_->{route}"}++ foreach grep { $_->{route} } @seen;
	return \%calls;
}

# A sync into an object: its rows, then what changes; what was called; what a SELECT finds then.
sub sync
{
	my ($vendor, $object, %case) = @_;
	my $sync    = "$vendor.$object." . join('.', @{ $case{covers} });
	my @columns = sort keys %{ $case{rows}[0] };
	my $columns = join(', ', @columns);
	my $key     = $case{key} ? "key => '$case{key}'," : '';

	$covered{"$vendor.$object.$_"} = 1 foreach @{ $case{covers} };
	sql("CREATE TABLE src AS SELECT $columns FROM $vendor.$object WITH NO DATA;
		INSERT INTO src SELECT $columns FROM jsonb_populate_recordset(NULL::src, " . text($case{rows}) . ");
		SELECT activate_sync('$sync', 'src', '$vendor.$object', $key mode => '$case{mode}');
		SELECT activate_run('$sync')");
	settled($sync);
	foreach my $change (@{ $case{then} })
	{
		sql("$change; SELECT activate_run('$sync')");
		settled($sync);
	}
	is(reasons($sync), $case{reasons} // '', "$sync: rejected is what the API refuses");
	is_deeply(accepted($vendor, $sync), $case{calls}, "$sync: calls");
	sql("SELECT activate_drop('$sync'); DROP TABLE src");
	return;
}

# Statements on a foreign table, one after the other: what was called.
sub dml
{
	my ($vendor, $object, %case) = @_;

	$covered{"$vendor.$object.$_"} = 1 foreach @{ $case{covers} };
	foreach my $statement (@{ $case{statements} })
	{
		sql($statement);
		settled("$vendor.$object");
	}
	is(reasons("$vendor.$object"), '', "$vendor.$object: nothing is rejected");
	is_deeply(accepted($vendor, "$vendor.$object"), $case{calls}, "$vendor.$object: calls");
	return;
}

# Rows into a foreign table made by hand over an object, with columns that the definition does not have so.
sub broken
{
	my ($vendor, $object, $columns, $values, $like) = @_;
	my $table = "broken_${vendor}_$object";

	sql("CREATE FOREIGN TABLE $table ($columns) SERVER $vendor OPTIONS (object '$object');
		INSERT INTO $table VALUES ($values)");
	settled("public.$table");
	like(reasons("public.$table"), $like, "$vendor.$object: what the document does not allow is refused");
	$contract->log;
	sql("SELECT activate_drop('public.$table'); DROP FOREIGN TABLE $table");
	return;
}

sub reads
{
	my ($vendor, $object, $columns, $expected, $call) = @_;

	$covered{"$vendor.$object.read"} = 1;
	is(sql("SELECT $columns FROM $vendor.$object ORDER BY 1"), $expected, "$vendor.$object: read");
	is_deeply([ sort keys %{ accepted($vendor, "$vendor.$object read") } ], [$call], "$vendor.$object: called for a read");
	return;
}

# What goes along with a read: the document allows it, and what the API makes of it (ours: nothing) changes no row.
sub asks
{
	my ($vendor, $object, $where, $rows, @parameters) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql("SELECT count(*) FROM (SELECT FROM $vendor.$object $where) x"), $rows, "$vendor.$object: $where");
	my @seen    = $contract->log;
	my @refused = map { "$_->{url}: " . join(', ', @{ $_->{refused} }) } grep { $_->{refused} } @seen;

	is(join("\n", @refused), '', "$vendor.$object: the document allows what is asked for");
	# a page that an earlier statement asked for ahead, and did not need, may come among them
	my @urls = map { $_->{url} =~ s/%([0-9A-F]{2})/chr hex $1/ger } @seen;
	my ($asked) = grep { my $url = $_; !grep { $url !~ /[?&]\Q$_\E(&|$)/ } @parameters } @urls;
	ok(defined $asked, "$vendor.$object: asked for " . join(', ', @parameters)) or diag(join "\n", @urls);
	return;
}

sub target
{
	my ($vendor, $secret, $options, $base) = @_;

	sql("SELECT activate_target('$vendor', '$vendor', " . text({ base_url => $contract->url($vendor) . ($base // ''), %{ $options // {} } }) . ', '
		  . text($secret) . ')');
	return;
}

#
# Intercom
#
target('intercom', { bearer => 'token' });
# one is there already, of which the first sync knows nothing: it is looked for, and updated
sql("INSERT INTO intercom.contacts (external_id, email) VALUES ('u2', 'a2\@x.test')");
settled('intercom.contacts');
sync(
	'intercom', 'contacts',
	mode   => 'mirror',
	covers => [ 'insert', 'update', 'upsert', 'delete' ],
	rows   => [
		map { { external_id => "u$_", email => "a$_\@x.test", name => 'Ada', phone => undef, role => 'user', owner_id => 7, signed_up_at => '2023-11-14T22:13:20Z',
			unsubscribed_from_emails => JSON::PP::false, custom_attributes => { plan => 'pro' } } } 1 .. 3
	],
	then  => [ "UPDATE src SET name = 'Renamed' WHERE external_id = 'u1'; DELETE FROM src WHERE external_id = 'u3'" ],
	calls => {
		'GET /contacts/find_by_external_id/{external_id}' => 3,
		'POST /contacts' => 3,
		'PUT /contacts/{contact_id}' => 2,
		'DELETE /contacts/{contact_id}' => 1
	});
reads('intercom', 'contacts', 'external_id, name, signed_up_at, custom_attributes', join("\n", map { "u$_|" . ('', 'Renamed', 'Ada')[$_] . '|2023-11-14 22:13:20+00|{"plan": "pro"}' } 1 .. 2),
	'GET /contacts');
# the page of the connector says how the address is the key
my ($by_email) = slurp_file('docs/connectors/intercom.md') =~ /By email instead: `(.*?)`/s;
sql('CREATE SERVER by_email FOREIGN DATA WRAPPER activate OPTIONS (connector \'intercom\', base_url '
	  . text($contract->url('intercom')) . ', objects ' . text($json->encode($json->decode($by_email)->{objects})) . ");
	CREATE USER MAPPING FOR PUBLIC SERVER by_email OPTIONS (secret '{\"bearer\": \"token\"}');
	CREATE SCHEMA by_email; IMPORT FOREIGN SCHEMA x LIMIT TO (contacts) FROM SERVER by_email INTO by_email;
	CREATE TABLE person AS SELECT * FROM (VALUES ('a1\@x.test', 'By email'), ('new\@x.test', 'Created')) p (email, name);
	SELECT activate_sync('by_email', 'person', 'by_email.contacts', key => 'email');
	SELECT activate_run('by_email')");
settled('by_email');
is_deeply(accepted('intercom', 'by email'), { 'POST /contacts/search' => 2, 'PUT /contacts/{contact_id}' => 1, 'POST /contacts' => 1 }, 'intercom.contacts: looked for by address');
broken('intercom', 'contacts', 'external_id text, owner_id text', "'u9', 'nobody'", qr{/body/owner_id must be integer});
sync(
	'intercom', 'companies',
	mode   => 'mirror',
	covers => [ 'upsert', 'delete' ],
	rows   => [
		map { { company_id => "c$_", name => "Company $_", plan => 'pro', size => $_, website => 'https://x.test', industry => 'Glass',
			monthly_spend => 10 * $_, remote_created_at => '2023-11-14T22:13:20Z', custom_attributes => { tier => 'gold' } } } 1 .. 12
	],
	then  => [ "UPDATE src SET name = 'Renamed' WHERE company_id = 'c1'; DELETE FROM src WHERE company_id = 'c2'" ],
	calls => { 'POST /companies' => 13, 'DELETE /companies/{company_id}' => 1 });
reads('intercom', 'companies', 'count(*), count(id), max(name), min(custom_attributes::text)',
	'11|11|Renamed|{"tier": "gold"}', 'GET /companies');
asks('intercom', 'contacts', 'LIMIT 1', 1, 'per_page=1');
asks('intercom', 'companies', 'LIMIT 2', 2, 'per_page=2');
broken('intercom', 'companies', 'company_id text, size text', "'c9', 'many'", qr{/body/size must be integer});
broken('intercom', 'companies', 'company_id text, nam text', "'c9', 'x'", qr{/body/nam must NOT have additional properties});
sync(
	'intercom', 'events',
	mode   => 'append',
	covers => ['insert'],
	rows   => [ { event_name => 'bought', created_at => '2023-11-14T22:13:20Z', user_id => 'u1', metadata => { sku => 'a' } } ],
	calls  => { 'POST /events' => 1 });
broken('intercom', 'events', 'event_name text, created_at timestamptz', "'bought', now()", qr{must have required property});

#
# SendGrid
#
target('sendgrid', { bearer => 'key' });
sync(
	'sendgrid', 'contacts',
	mode   => 'mirror',
	covers => [ 'upsert', 'delete' ],
	rows   => [ map { { email => "a$_\@x.test", first_name => 'Ada', city => 'Rome', custom_fields => { w1_T => 'x' } } } 1 .. 3 ],
	then   => ["DELETE FROM src WHERE email = 'a1\@x.test'"],
	calls  => {
		'PUT /v3/marketing/contacts' => 1,
		'GET /v3/marketing/contacts/imports/{id}' => 2,
		'POST /v3/marketing/contacts/search' => 1,
		'DELETE /v3/marketing/contacts' => 1
	});
# a job says how many of its rows failed, and not which
sync(
	'sendgrid', 'contacts',
	mode    => 'upsert',
	covers  => ['upsert'],
	rows    => [ map { { email => $_ } } 'b1@x.test', 'b2@bad.test', 'b3@x.test', 'b4@x.test' ],
	reasons => 'the answer says that it failed',
	calls   => { 'PUT /v3/marketing/contacts' => 5, 'GET /v3/marketing/contacts/imports/{id}' => 10 });
broken('sendgrid', 'contacts', 'email text, first_name int', "'b\@x.test', 7", qr{must be string});

#
# Klaviyo
#
target('klaviyo', { header => { Authorization => 'Klaviyo-API-Key pk_x' } });
sync(
	'klaviyo', 'profiles',
	mode   => 'upsert',
	covers => ['upsert'],
	rows   => [
		map { { email => "a$_\@x.test", phone_number => '+39061234567', external_id => "e$_", first_name => 'Ada', last_name => undef, city => 'Rome', country => 'Italy',
			properties => { tier => 'gold' } } } 1 .. 5
	],
	then  => [ "UPDATE src SET city = NULL WHERE external_id = 'e1'" ],
	calls => { 'POST /api/profile-import' => 6 });
reads('klaviyo', 'profiles', 'email, id, city, properties', join("\n", 'a1@x.test|P-a1@x.test||{"tier": "gold"}',
		map { "a$_\@x.test|P-a$_\@x.test|Rome|{\"tier\": \"gold\"}" } 2 .. 5), 'GET /api/profiles');
asks('klaviyo', 'profiles', "WHERE email = 'a2\@x.test'", 1, 'filter=equals(email,"a2@x.test")', 'page[size]=100');
asks('klaviyo', 'profiles', "WHERE external_id IN ('e1', 'e3', 'none')", 2, 'filter=any(external_id,["e1","e3","none"])');
asks('klaviyo', 'profiles', "WHERE created > '2026-01-31 11:59:59.5Z'", 5, 'filter=greater-than(created,2026-01-31T11:59:59.500Z)');
asks('klaviyo', 'profiles', 'LIMIT 2', 2, 'page[size]=2');
broken('klaviyo', 'profiles', 'email text, first_name int', "'b\@x.test', 7", qr{must be string});
broken('klaviyo', 'profiles', 'email text, frist_name text', "'b\@x.test', 'x'", qr{must NOT have additional properties});
# as many as are worth a job, of which some are refused in its results: more than a page tells
sync(
	'klaviyo', 'profiles',
	mode    => 'upsert',
	covers  => ['bulk_upsert'],
	rows    => [ map { { email => "b$_\@" . ($_ <= 101 ? 'bad.test' : 'x.test'), city => 'Rome' } } 1 .. 500 ],
	reasons => join('; ', ('Invalid email address') x 101),
	calls   => {
		'POST /api/profile-bulk-import-jobs' => 1,
		'GET /api/profile-bulk-import-jobs/{job_id}' => 3,
		'GET /api/profile-bulk-import-jobs/{id}/import-errors' => 2
	});
sync(
	'klaviyo', 'events',
	mode   => 'append',
	covers => ['insert'],
	rows   => [ { metric => 'Ordered', email => 'a1@x.test', properties => { sku => 'a' }, time => '2026-01-31T12:00:00Z', value => 9.5, value_currency => 'EUR' } ],
	calls  => { 'POST /api/events' => 1 });
broken('klaviyo', 'events', 'email text', "'b\@x.test'", qr{must have required property});
reads('klaviyo', 'lists', 'id, name', 'L1|News', 'GET /api/lists');
asks('klaviyo', 'lists', "WHERE name = 'News' AND created > '2026-01-01'", 1, 'filter=equals(name,"News")');

#
# Stripe
#
target('stripe', { bearer => 'sk_test_x' });
sync(
	'stripe', 'customers',
	mode   => 'mirror',
	covers => [ 'insert', 'update', 'upsert', 'delete' ],
	rows   => [
		map { { external_id => "c$_", email => "a$_\@x.test", name => 'Ada & Co', phone => '+3906', city => 'Rome', country => 'IT', preferred_locales => [ 'it', 'en' ], tax_exempt => 'none' } }
		  1 .. 3
	],
	then  => [ "UPDATE src SET name = 'Ada & Sons', phone = NULL WHERE external_id = 'c1'; DELETE FROM src WHERE external_id = 'c3'" ],
	calls => { 'GET /v1/customers/search' => 3, 'POST /v1/customers' => 3, 'POST /v1/customers/{customer}' => 1, 'DELETE /v1/customers/{customer}' => 1 });
reads('stripe', 'customers', 'external_id, name, phone, city, preferred_locales', "c1|Ada & Sons||Rome|{it,en}\nc2|Ada & Co|+3906|Rome|{it,en}", 'GET /v1/customers');
asks('stripe', 'customers', "WHERE email = 'a2\@x.test' AND created >= '2023-11-14 22:13:20Z' AND created < '2023-11-14 22:13:21Z'", 1,
	'email=a2@x.test', 'created[gte]=1700000000', 'created[lt]=1700000001', 'limit=100');
asks('stripe', 'customers', "WHERE created > '2030-01-01Z'", 0, 'created[gt]=1893456000');
asks('stripe', 'customers', 'LIMIT 1', 1, 'limit=1');
broken('stripe', 'customers', "external_id text, seq text OPTIONS (path 'next_invoice_sequence')", "'c9', 'many'", qr{/body/next_invoice_sequence must be integer});
broken('stripe', 'customers', "external_id text, nmae text OPTIONS (path 'nmae')", "'c9', 'x'", qr{must NOT have additional properties});
dml(
	'stripe', 'products',
	covers     => [ 'insert', 'update', 'delete' ],
	statements => [
		"INSERT INTO stripe.products (id, name, active, images) VALUES ('basic', 'Basic', true, '{https://x.test/1.png}'), ('gone', 'Gone', false, NULL)",
		"UPDATE stripe.products SET name = 'Basic 2' WHERE id = 'basic'",
		"DELETE FROM stripe.products WHERE id = 'gone'"
	],
	calls => { 'POST /v1/products' => 2, 'POST /v1/products/{id}' => 1, 'DELETE /v1/products/{id}' => 1 });
sync(
	'stripe', 'products',
	mode   => 'upsert',
	covers => ['upsert'],
	rows   => [ map { { id => $_, name => 'Basic 3', images => ['https://x.test/1.png'] } } 'basic', 'new' ],
	calls  => { 'GET /v1/products/{id}' => 2, 'POST /v1/products' => 1, 'POST /v1/products/{id}' => 1 });
reads('stripe', 'products', 'id, name, active, images', "basic|Basic 3|t|{https://x.test/1.png}\nnew|Basic 3||{https://x.test/1.png}", 'GET /v1/products');
asks('stripe', 'products', "WHERE active AND created <= '2023-11-14 22:13:20Z'", 1, 'active=true', 'created[lte]=1700000001');
sync(
	'stripe', 'prices',
	mode   => 'insert',
	covers => ['insert'],
	rows   => [ { lookup_key => 'basic', product => 'p1', currency => 'eur', unit_amount => 900, interval => 'month', interval_count => 1, active => JSON::PP::true } ],
	calls  => { 'POST /v1/prices' => 1 });
reads('stripe', 'prices', 'lookup_key, unit_amount, interval', 'basic|900|month', 'GET /v1/prices');
asks('stripe', 'prices', "WHERE lookup_key IN ('basic', 'none') AND active AND currency = 'eur' AND product = 'p1'", 1, 'lookup_keys[]=basic&lookup_keys[]=none', 'active=true', 'currency=eur', 'product=p1');
asks('stripe', 'prices', "WHERE interval = 'month'", 1, 'recurring[interval]=month');
broken('stripe', 'prices', 'lookup_key text, currency text, "interval" text', "'k', 'eur', 'decade'", qr{must be equal to one of the allowed values});

#
# Slack: what is wrong is said by a 200
#
target('slack', { bearer => 'xoxb-x' }, undef, '/api');
sync(
	'slack', 'messages',
	mode   => 'append',
	key    => 'channel',
	covers => ['insert'],
	rows   => [ { channel => 'C1', text => 'Hello & <b>', blocks => [ { type => 'section', text => { type => 'mrkdwn', text => '*x*' } } ], unfurl_links => JSON::PP::false } ],
	calls  => { 'POST /chat.postMessage' => 1 });
dml(
	'slack', 'messages',
	covers     => [ 'update', 'delete' ],
	statements => [
		"UPDATE slack.messages SET text = 'Hello again' WHERE channel = 'C1' AND ts = '1700000000.000001'",
		"DELETE FROM slack.messages WHERE channel = 'C1' AND ts = '1700000000.000001'"
	],
	calls => { 'POST /chat.update' => 1, 'POST /chat.delete' => 1 });
broken('slack', 'messages', "channel text, ts text, txt text", "'C1', NULL, 'x'", qr{invalid_arguments});
reads('slack', 'users', 'id, email, updated', join("\n", map { "U$_|u$_\@x.test|2023-11-14 22:13:20+00" } 1 .. 3), 'GET /users.list');
reads('slack', 'channels', 'id, name, topic', 'C1|general|all', 'GET /conversations.list');

#
# Asana: a connector that a user defines, from the vendor's documentation
#
sql(q{SELECT activate_connector('{
	"name": "asana", "base_url": "https://app.asana.com/api/1.0", "rate": [{"calls": 150, "per": "1 minute"}],
	"parameters": {"project": {"description": "the gid of the project"}},
	"objects": {"tasks": {
		"path": "/tasks", "key": "gid", "null": "omit",
		"columns": {"gid": {"readonly": true}, "name": "text", "notes": "text", "due_on": "date", "completed": "boolean", "projects": "text[]"},
		"read": {"query": {"project": "{$project}", "opt_fields": "name,notes,due_on,completed"}, "records": "data",
			"page": {"style": "cursor", "param": "offset", "next": "next_page.offset", "size": 50}},
		"write": {
			"insert": {"envelope": "data", "answer": {"id": "data.gid"}},
			"update": {"method": "PUT", "envelope": "data", "omit": "projects"},
			"delete": {}},
		"answer": {"error": "errors.0.message"}}}}')});
target('asana', { bearer => 'pat' }, { parameters => { project => '17' } }, '/api/1.0');
sync(
	'asana', 'tasks',
	mode   => 'append',
	covers => ['insert'],
	rows   => [ map { { name => "Call $_", due_on => '2026-02-01', completed => JSON::PP::false, projects => ['17'] } } 1 .. 2 ],
	calls  => { 'POST /tasks' => 2 });
reads('asana', 'tasks', 'name, due_on, completed', "Call 1|2026-02-01|f\nCall 2|2026-02-01|f", 'GET /tasks');
dml(
	'asana', 'tasks',
	covers     => [ 'update', 'delete' ],
	statements => [ "UPDATE asana.tasks SET completed = true WHERE gid = '1'", "DELETE FROM asana.tasks WHERE gid = '2'" ],
	calls      => { 'PUT /tasks/{task_gid}' => 1, 'DELETE /tasks/{task_gid}' => 1 });
reads('asana', 'tasks', 'gid, completed', '1|t', 'GET /tasks');
broken('asana', 'tasks', 'gid text, completed text', "NULL, 'nearly'", qr{/body/data/completed must be boolean});

#
# Every operation of a definition whose vendor's document is here has been tried.
#
is(sql("SELECT string_agg(c.name || '.' || o.key || '.' || w, ', ' ORDER BY c.name, o.key, w)
	FROM activate.connector c, jsonb_each(c.definition -> 'objects') o,
		LATERAL (SELECT jsonb_object_keys(o.value -> 'write') UNION ALL SELECT 'read' WHERE o.value -> 'read' IS DISTINCT FROM 'false') AS w (w)
	WHERE c.name IN ('asana', 'intercom', 'klaviyo', 'sendgrid', 'slack', 'stripe')
	  AND c.name || '.' || o.key || '.' || w <> ALL (" . text('{' . join(',', sort keys %covered) . '}') . "::text[])"),
	'', 'every operation is covered');

$node->stop;
$contract->stop;
done_testing();
