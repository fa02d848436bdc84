# Vendors' own OpenAPI documents as connectors: what is made of them compiles, and sends what the vendors document.  The
# documents are in ../shared/specs, of others, and only read here.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = ($ENV{ACTIVATE_SHARED} // '../shared') . '/specs';
my %file   = map { $_ => $_ } qw(stripe intercom klaviyo asana);
@file{qw(sendgrid slack)} = qw(sendgrid_mc_contacts slack_web_swagger2);
plan skip_all => "no documents of vendors: $folder/stripe.json is not there" unless -r "$folder/stripe.json";

my $node = activate_node('vendors');
sub sql { $node->safe_psql('postgres', $_[0]) }

# By COPY: the longest is no argument of a program.
sql('CREATE TABLE document (name text PRIMARY KEY, document jsonb)');
sub import_document
{
	my ($name) = @_;
	my $text = slurp_file("$folder/$file{$name}.json");

	# no text of JSON holds these as they are
	$text =~ s/[\r\n\t]/ /g;
	$text =~ s/\\/\\\\/g;
	open my $copy, '>', "${PostgreSQL::Test::Utils::tmp_check}/$name.copy" or die;
	print $copy "$name\t$text\n";
	close $copy;
	sql("\\copy document FROM '${PostgreSQL::Test::Utils::tmp_check}/$name.copy'");
	return sql("SELECT activate_openapi(document, 'v_$name') FROM document WHERE name = '$name'");
}

# table, rows, and the request as the vendor documents it
my %sends = (
	stripe => ['customers', '[{"op": "insert", "row": {"email": "ada@example.com", "address": {"city": "London"}}}]',
		'POST https://api.stripe.com/v1/customers application/x-www-form-urlencoded', 'email=ada%40example.com&address%5Bcity%5D=London'],
	intercom => ['contacts', '[{"op": "update", "target_key": {"id": "c1"}, "row": {"email": "ada@example.com"}}]',
		'PUT https://api.intercom.io/contacts/c1 application/json', '{"email": "ada@example.com"}'],
	klaviyo => ['profiles', '[{"op": "insert", "row": {"email": "ada@example.com"}}]',
		'POST https://a.klaviyo.com/api/profiles application/vnd.api+json', '{"data": {"type": "profile", "attributes": {"email": "ada@example.com"}}}'],
	asana => ['tags', '[{"op": "insert", "row": {"name": "late"}}]',
		'POST https://app.asana.com/api/1.0/tags application/json', '{"data": {"name": "late"}}'],
	sendgrid => ['marketing_contacts', '[{"op": "upsert", "row": {"email": "ada@example.com"}}, {"op": "upsert", "row": {"email": "bob@example.com"}}]',
		'PUT https://api.sendgrid.com/v3/marketing/contacts application/json', '{"contacts": [{"email": "ada@example.com"}, {"email": "bob@example.com"}]}'],
	slack => ['chat_post_message', '[{"op": "insert", "row": {"channel": "C1", "text": "hello"}}]',
		'POST https://slack.com/api/chat.postMessage application/x-www-form-urlencoded', 'text=hello&channel=C1']);

for my $vendor (sort keys %file)
{
	is(import_document($vendor), "v_$vendor", "$vendor: imported");
	sql("CREATE SERVER $vendor FOREIGN DATA WRAPPER activate OPTIONS (connector 'v_$vendor');
		CREATE SCHEMA $vendor; IMPORT FOREIGN SCHEMA x FROM SERVER $vendor INTO $vendor");

	my ($table, $rows, $head, $body) = @{ $sends{$vendor} };
	my $tables = sql("SELECT count(*) FROM pg_class WHERE relnamespace = '$vendor'::regnamespace");

	cmp_ok($tables, '>=', $vendor eq 'sendgrid' ? 2 : 40, "$vendor: $tables tables");
	is(sql("SELECT count(*) FROM activate_drift_of('$vendor')"), 0, "$vendor: which are those of the definition");
	# to say what a request would be, a table is compiled: each once, by the first operation that it has
	is(sql("SELECT count(*) FROM pg_class c, LATERAL (SELECT activate._connector_answer(c.oid, '[{\"op\": \"upsert\", \"row\": {}}]', 0)) x WHERE c.oid IN
			(SELECT oid FROM pg_class WHERE relnamespace = '$vendor'::regnamespace ORDER BY relname LIMIT 40)"), $tables < 40 ? $tables : 40,
		"$vendor: every table compiles");
	is(sql("SELECT concat_ws(' ', r ->> 'method', r ->> 'url', r ->> 'type') || E'\\n' || (r ->> 'body')
			FROM activate._connector_request('$vendor.$table', '$rows') r"), "$head\n$body", "$vendor: what it sends");
	cmp_ok(sql("SELECT count(*) FROM activate_connector_gaps('v_$vendor')"), '>=', 3, "$vendor: what is not told is listed");
}

# What the largest of them costs is given back.
sub memory { return sql(q{SELECT activate_openapi(document, 'v_again') FROM document, generate_series(1, } . $_[0] . q{) WHERE name = 'stripe';
	SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name !~ 'Cache|relation|index info|Catalog'}) =~ /(\d+)$/ ? $1 : die }
my $few = memory(2);
cmp_ok(memory(12), '<', $few + 4 * 1024 * 1024, 'ten imports more take no more memory');
done_testing();
