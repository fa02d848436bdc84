# Real input, whose source changes in mid-stream: invoice lines in the shop's database become customers in a CRM, while
# columns there get other names and types, come and go.
#
# shop.line -> (postgres_fdw) -> raw.line -> analytics.customer -> CRM
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $csv = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
plan skip_all => "no real data: $csv is not there" unless -r $csv;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('retail');
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub shop { return $node->safe_psql('shop', $_[0]); }
sub runs { return sql("SELECT activate_run('lines'); SELECT activate_run('model')"); }
sub drifts { return sql("SELECT s.name || ': ' || concat_ws(' ', d.kind, d.\"column\", d.became, d.state) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE d.id > $_[0] ORDER BY d.id"); }

sql('CREATE DATABASE shop');
shop("CREATE TABLE line (\"InvoiceNo\" text, \"StockCode\" text, \"Description\" text, \"Quantity\" integer, \"InvoiceDate\" timestamp,
		\"UnitPrice\" numeric, \"CustomerID\" text, \"Country\" text);
	COPY line FROM PROGRAM 'head -n 6001 $csv' (FORMAT csv, HEADER true);
	ALTER TABLE line ADD COLUMN id serial PRIMARY KEY");
sql("CREATE EXTENSION postgres_fdw;
	CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $node->host . "', port '" . $node->port . "', dbname 'shop');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop; CREATE SCHEMA shop; CREATE SCHEMA raw; CREATE SCHEMA analytics;
	IMPORT FOREIGN SCHEMA public FROM SERVER shop INTO shop;
	SELECT activate_sync('lines', 'shop.line', 'raw.line', key => 'id', mode => 'mirror', options => '{\"on_drift\": \"evolve\"}');
	SELECT activate_run('lines');
	SELECT activate_sync('model', 'SELECT \"CustomerID\"::numeric::bigint AS id, max(\"Country\") AS country, sum(\"Quantity\" * \"UnitPrice\") AS monetary
		FROM raw.line WHERE \"CustomerID\" <> '''' GROUP BY 1', 'analytics.customer', key => 'id', mode => 'mirror', options => '{\"on_drift\": \"evolve\"}');
	SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"customers\": {
		\"path\": \"/objects/customers\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"country\": \"text\", \"monetary\": \"numeric\", \"tier\": \"text\"},
		\"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/customers/{id}\"},
			\"delete\": {\"method\": \"DELETE\", \"path\": \"/objects/customers/{id}\"}}}}}');
	SELECT activate_run('model');
	SELECT activate_sync('crm', 'analytics.customer', 'crm.customers', mode => 'mirror', capture => 'trigger', options => '{\"on_drift\": \"evolve\"}');
	SELECT activate_run('crm')");

# All has arrived, and is what the lines of the shop say, under whatever names they have there now.
sub arrived
{
	my ($what, $customer, $price, $columns, $extra) = @_;
	my $rows = shop("SELECT jsonb_agg(q) FROM (SELECT \"$customer\"::numeric::bigint AS id, max(\"Country\") AS country,
		sum(\"Quantity\" * \"$price\"::numeric) AS monetary FROM line WHERE \"$customer\" <> '' GROUP BY 1) q");

	ok(delivered($node, 'crm'), "$what: all is delivered");
	same_rows($node, $rows, 'SELECT id, country, monetary FROM analytics.customer', "$what: the model is that of the shop");
	same_rows($node, $crm->objects('customers'), "SELECT $columns FROM analytics.customer", "$what: the CRM equals the model") if $columns;
	is(sql('SELECT count(*) FROM activate.rejection'), 0, "$what: nothing was rejected");
	return;
}

arrived('backfill', 'CustomerID', 'UnitPrice', 'id, country, monetary');
my $requests = $crm->stats->{requests};

# in the shop: two names; here: two more
shop('ALTER TABLE line RENAME "CustomerID" TO customer_id; ALTER TABLE line RENAME "UnitPrice" TO price');
runs();
is(drifts(0), "lines: rename CustomerID customer_id healed\nlines: rename UnitPrice price healed", 'names in the shop are followed');
arrived('names in the shop', 'customer_id', 'price', 'id, country, monetary');
my $seen = sql('SELECT max(id) FROM activate.drift');
sql('ALTER TABLE raw.line RENAME "CustomerID" TO customer; ALTER TABLE raw.line RENAME TO invoice_line; ALTER TABLE analytics.customer RENAME country TO land');
is(drifts($seen), "model: rename CustomerID customer healed\nmodel: relation line raw.invoice_line healed\ncrm: rename country land healed", 'names here as well, at once');
shop("UPDATE line SET \"Quantity\" = \"Quantity\" + 1 WHERE id % 50 = 0");
sql('ALTER TABLE analytics.customer RENAME land TO country');
runs();
arrived('names everywhere', 'customer_id', 'price', 'id, country, monetary');

# another type in mid-stream, a column that comes, one that goes and is not needed
$seen = sql('SELECT max(id) FROM activate.drift');
shop("ALTER TABLE line ALTER \"Quantity\" TYPE bigint; ALTER TABLE line DROP COLUMN \"Description\"; ALTER TABLE line ADD COLUMN channel text DEFAULT 'web';
	UPDATE line SET \"Quantity\" = 3000000000 WHERE id = 1");
runs();
arrived('types and columns', 'customer_id', 'price', 'id, country, monetary');
is(sql("SELECT count(*) FILTER (WHERE \"Description\" IS NOT NULL) > 5000, count(channel) FROM raw.invoice_line"), 't|6000', 'what the shop dropped is kept here, what it added is here');
like(drifts($seen), qr/^lines: drop Description healed$/m, 'it is written down');

# what the CRM knows as well comes to it by itself
sql("ALTER TABLE analytics.customer ADD COLUMN tier text DEFAULT 'new'; UPDATE analytics.customer SET tier = 'gold'");
ok(delivered($node, 'crm'), 'a column that the CRM has');
same_rows($node, $crm->objects('customers'), 'SELECT id, country, monetary, tier FROM analytics.customer', 'is sent from now on');
sql("ALTER TABLE analytics.customer DROP COLUMN tier; UPDATE analytics.customer SET monetary = monetary + 1");
ok(delivered($node, 'crm'), 'and when it is dropped');
is(scalar(grep { $_->{body} =~ /"tier": ?null/ } @{ $crm->log('/objects/customers/') }), 0, 'it is left out, not sent as NULL');

# another type on the way to the CRM: what does not fit is rejected alone
sql("ALTER TABLE analytics.customer ALTER monetary TYPE text USING monetary::text");
sql("UPDATE analytics.customer SET monetary = CASE WHEN id % 2 = 0 THEN '1.5' ELSE monetary END; UPDATE analytics.customer SET monetary = 'unknown'
	WHERE id = (SELECT max(id) FROM analytics.customer)");
ok(delivered($node, 'crm'), 'of another type');
is(sql("SELECT code, count(*) FROM activate.rejection GROUP BY code"), 'former_type|1', 'what does not fit is rejected, and alone');
is(sql("SELECT count(*) FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = 'crm' AND (t.image->>'monetary')::numeric = 1.5") > 0 ? 'yes' : 'no', 'yes', 'the rest passes');

# one that is needed: that sync stops and says why, the others go on
shop('ALTER TABLE line DROP COLUMN customer_id');
my ($code, $out, $error) = $node->psql('postgres', "SELECT activate_run('lines')");
is($code, 0, 'the lines go on without it');
sql('ALTER TABLE raw.invoice_line DROP COLUMN customer');
like(sql("SELECT pause_reason FROM activate.sync WHERE name = 'model'"), qr/column "customer" of raw.invoice_line was dropped, and the source of the sync needs/,
	'the model needs it: it stops, naming it');
is(sql("SELECT string_agg(name, ',' ORDER BY name) FROM activate.sync WHERE NOT paused"), 'crm,lines', 'the others do not');

$node->stop('fast');
done_testing();
