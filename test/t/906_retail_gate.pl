# Real input behind a gate: of the customers that the invoice lines make as they find them, some have returned more than
# they bought.  Until that is mended, the CRM gets nobody.
#
# file -> (file_fdw) -> raw.line -> analytics.customer -> analytics.contact (a view) -> CRM
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $csv = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
plan skip_all => "no real data: $csv is not there" unless -r $csv;

my $crm   = ActivateTest::Service->new;
my $node  = activate_node('retail');
my $url   = $crm->url;
my $file  = $node->data_dir . '/retail.csv';
my @lines = split /\n/, slurp_file($csv);
my $good  = 'HAVING sum(quantity * unit_price) > 0';

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub state_of { return sql("SELECT state FROM activate.stat_sync WHERE name = '$_[0]'"); }
sub last_run { return sql("SELECT r.status || coalesce(': ' || r.error, '') FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' ORDER BY r.id DESC LIMIT 1"); }

sub deliver_file
{
	open my $out, '>', "$file.new" or die "could not write $file.new: $!";
	print $out map { "$_\n" } $lines[0], @_;
	close $out;
	rename "$file.new", $file or die "could not rename $file.new: $!";
	return;
}

sub model
{
	sql("SELECT activate_sync('model', 'SELECT customer_id::numeric::bigint AS id, max(country) AS country, sum(quantity * unit_price) AS monetary FROM raw.line
		WHERE customer_id IS NOT NULL GROUP BY 1 $_[0]', 'analytics.customer', key => 'id', mode => 'mirror')");
	return;
}

sub arrived
{
	my ($what) = @_;

	ok(delivered($node, 'crm'), "$what: all is delivered");
	same_rows($node, $crm->objects('customers'), 'SELECT id, country, monetary FROM analytics.customer', "$what: the CRM equals the model");
	same_rows($node, $crm->objects('customers'), "SELECT customer_id::numeric::bigint AS id, max(country) AS country, sum(quantity * unit_price) AS monetary
		FROM retail.line WHERE customer_id IS NOT NULL GROUP BY 1 $good", "$what: and the file");
	is(state_of('crm'), 'ok', "$what: nothing holds it");
	return;
}

deliver_file(@lines[ 1 .. 6000 ]);
sql("CREATE EXTENSION file_fdw; CREATE SCHEMA retail; CREATE SCHEMA raw; CREATE SCHEMA analytics; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
	CREATE FOREIGN TABLE retail.line (invoice_no text, stock_code text, description text, quantity integer, invoice_date timestamp,
		unit_price numeric, customer_id text, country text) SERVER files OPTIONS (filename '$file', format 'csv', header 'true');
	SELECT activate_sync('lines', 'SELECT row_number() OVER () AS line, l.* FROM retail.line l', 'raw.line', key => 'line', mode => 'mirror');
	SELECT activate_run('lines')");
model('');
sql("SELECT activate_run('model');
	CREATE VIEW analytics.contact AS TABLE analytics.customer;
	SELECT activate_expect('analytics.contact', 'worth', 'monetary > 0');
	SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"customers\": {
		\"path\": \"/objects/customers\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"country\": \"text\", \"monetary\": \"numeric\"},
		\"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/customers/{id}\"},
			\"delete\": {\"method\": \"DELETE\", \"path\": \"/objects/customers/{id}\"}}}}}');
	SELECT activate_sync('crm', 'analytics.contact', 'crm.customers', key => 'id', mode => 'mirror');
	SELECT activate_run('crm')");

# as the file has them
my ($all, $bad) = split /\|/, sql('SELECT count(*), count(*) FILTER (WHERE monetary <= 0) FROM analytics.customer');
cmp_ok($bad, '>', 0, "$bad of $all customers of the file are worth nothing");
is(last_run('crm'), "held: expectation \"worth\" of analytics.contact: $bad of $all rows fail monetary > 0", 'they hold the run, which says so');
like(state_of('crm'), qr/^held: expectation "worth"/, 'and stat_sync does');
is($crm->stats->{requests}, 0, 'the CRM was sent nothing');
is(sql("SELECT jsonb_array_length(sample) > 0 AND NOT EXISTS (SELECT FROM jsonb_array_elements(sample) s JOIN analytics.customer c ON c.id = (s->>'id')::bigint WHERE c.monetary > 0)
	FROM activate.expectation"), 't', 'the check names some of them');

# mended where they are made: nobody runs the CRM's sync
model($good);
sql("SELECT activate_run('model')");
ok($node->poll_query_until('postgres', "SELECT (SELECT count(*) FROM activate.sent) = $all - $bad"), 'mended in the model, it goes on by itself');
arrived('mended');
is($crm->stats->{requests}, $all - $bad, 'one request for each of the others');

# a line that cannot be: stopped where it would come in
sql("SELECT activate_expect('raw.line', 'priced', 'unit_price < 100000')");
(my $broken = $lines[7001]) =~ s/,[\d.]+(,[\d.]*,[^,]*)$/,1e9$1/ or die "unexpected line: $lines[7001]";
my $runs = "SELECT activate_run('lines'); SELECT activate_run('model'); SELECT activate_run('crm')";
my $before = $crm->stats->{requests};
deliver_file(@lines[ 1 .. 7000 ], $broken);
sql($runs);
is(last_run('lines'), 'held: a row fails expectation "priced" of raw.line: unit_price < 100000', 'a price that cannot be lets no line in');
is(sql('SELECT count(*) FROM raw.line') . ' ' . ($crm->stats->{requests} - $before), '6000 0', 'lines and CRM stay as they were');
deliver_file(@lines[ 1 .. 7001 ]);
sql($runs);
arrived('the file delivered again');

$node->stop('fast');
done_testing();
