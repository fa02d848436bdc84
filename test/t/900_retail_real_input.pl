# Real input: 30,000 messy invoice lines of a retailer become a customer model
# and arrive in a CRM; a day's worth of changes and a refund follow.  The CRM
# ends equal to the model, row by row; and so it does when a worker is killed
# every now and then.
#
# file -> (file_fdw) -> raw.line -> analytics.customer -> CRM and webhook
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my $csv = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
plan skip_all => "no real data: $csv is not there" unless -r $csv;

# The last whole day of the file is what comes later.
my $last_day = '2011-12-08';
my ($header, @lines) = split /\n/, slurp_file($csv);
my (@before, @on_last_day);
for my $line (@lines)
{
	$line =~ /,(\d{4}-\d\d-\d\d) \d\d:\d\d:\d\d,-?[\d.]+,[\d.]*,[^,]*$/ or die "unexpected line: $line";
	push @before,      $line if $1 lt $last_day;
	push @on_last_day, $line if $1 eq $last_day;
}
cmp_ok(scalar @before, '>', 29_000, 'most lines are older than the last whole day');
cmp_ok(scalar @on_last_day, '>', 200, 'and that day has some');

# The model; %s: where the lines are.
my $model = <<'SQL';
	SELECT customer_id::numeric::bigint AS id,
		   max(country) AS country,
		   (SELECT max(invoice_date)::date FROM %1$s) - max(invoice_date)::date AS recency,
		   count(DISTINCT invoice_no) FILTER (WHERE invoice_no NOT LIKE 'C%%') AS frequency,
		   sum(quantity * unit_price) AS monetary
	  FROM %1$s
	 WHERE customer_id IS NOT NULL
	 GROUP BY 1
	HAVING sum(quantity * unit_price) > 0
SQL
my $columns = 'id, country, recency, frequency, monetary';

# A file is replaced as a whole, as whoever delivers it should.
sub deliver_file
{
	my ($file, @content) = @_;

	open my $out, '>', "$file.new" or die "could not write $file.new: $!";
	print $out map { "$_\n" } @content;
	close $out;
	rename "$file.new", $file or die "could not rename $file.new: $!";
	return;
}

sub declare
{
	my ($node, $crm, $file, %schedule) = @_;
	my $url = $crm->url;
	my %when = map { $_ => $schedule{$_} ? "'$schedule{$_}'" : 'NULL' } qw(lines model);

	$node->safe_psql(
		'postgres', "
		CREATE EXTENSION file_fdw;
		CREATE SCHEMA retail;
		CREATE SCHEMA raw;
		CREATE SCHEMA analytics;
		CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
		CREATE FOREIGN TABLE retail.line (invoice_no text, stock_code text, description text, quantity integer,
			invoice_date timestamp, unit_price numeric, customer_id text, country text)
			SERVER files OPTIONS (filename '$file', format 'csv', header 'true');
		SELECT activate_sync('lines', 'SELECT row_number() OVER () AS line, l.* FROM retail.line l', 'raw.line',
			key => 'line', mode => 'mirror', schedule => $when{lines});
		SELECT activate_run('lines');
		SELECT activate_sync('model', \$\$" . sprintf($model, 'raw.line') . "\$\$, 'analytics.customer',
			key => 'id', mode => 'mirror', schedule => $when{model});
		SELECT activate_target('crm', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"customers\": {
			\"path\": \"/objects/customers\", \"key\": \"id\",
			\"columns\": {\"id\": \"bigint\", \"country\": \"text\", \"recency\": \"integer\",
				\"frequency\": \"bigint\", \"monetary\": \"numeric\"},
			\"read\": {\"records\": \"data\", \"page\": {\"style\": \"cursor\", \"param\": \"cursor\", \"next\": \"paging.next\"}},
			\"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/customers/{id}\"},
				\"delete\": {\"method\": \"DELETE\", \"path\": \"/objects/customers/{id}\"}}}}}');
		SELECT activate_target('hook', 'webhook', '{\"url\": \"$url/hook\", \"batch\": 100}');
		SELECT activate_run('model');
		SELECT activate_sync('crm', 'analytics.customer', 'crm.customers', mode => 'mirror', capture => 'trigger');
		SELECT activate_sync('hook', 'analytics.customer', 'hook.change', mode => 'mirror', capture => 'trigger');
		SELECT activate_run('crm'), activate_run('hook')");
	return;
}

# Everything has arrived, and is what the file says.
sub check_state
{
	my ($node, $crm, $what) = @_;
	my $expected = sprintf($model, 'retail.line');

	ok( $node->poll_query_until(
			'postgres', "
			WITH want AS ($expected), got AS (SELECT $columns FROM analytics.customer)
			SELECT NOT EXISTS (TABLE want EXCEPT ALL TABLE got) AND NOT EXISTS (TABLE got EXCEPT ALL TABLE want)
				AND NOT EXISTS (SELECT FROM activate.outbox)"),
		"$what: the model is that of the file, and nothing is pending");
	same_rows($node, $crm->objects('customers'), "SELECT $columns FROM analytics.customer", "$what: the CRM equals the model");
	same_rows($node, $crm->hook_rows('hook'), "SELECT $columns FROM analytics.customer", "$what: so does the webhook's receiver");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM activate.rejection'), 0, "$what: nothing was rejected");
	return;
}

# A refund that leaves its customer nothing: the one with the lowest value.
sub refund
{
	my ($node) = @_;
	my ($id, $value) = split /\|/,
	  $node->safe_psql('postgres', 'SELECT id, monetary FROM analytics.customer ORDER BY monetary, id LIMIT 1');

	return ($id, "C999999,M,Manual,-1,$last_day 18:00:00,$value,$id.0,United Kingdom");
}

# By hand: file, run, look; three times.
{
	my $crm  = ActivateTest::Service->new;
	my $node = activate_node('retail');
	my $file = $node->data_dir . '/retail.csv';
	my $runs = "SELECT activate_run('lines'); SELECT activate_run('model')";

	deliver_file($file, $header, @before);
	declare($node, $crm, $file);
	check_state($node, $crm, 'backfill');
	my $customers = $node->safe_psql('postgres', 'SELECT count(*) FROM analytics.customer');
	is($crm->stats->{requests}, $customers + scalar @{ $crm->log('/hook') }, 'one request per customer, and the batches');

	deliver_file($file, $header, @before, @on_last_day);
	$node->safe_psql('postgres', $runs);
	check_state($node, $crm, 'a day later');

	$node->safe_psql('postgres', $runs);
	is(pending($node), 0, 'nothing new, nothing to send');

	my ($id, $line) = refund($node);
	deliver_file($file, $header, @before, @on_last_day, $line);
	$node->safe_psql('postgres', $runs);
	check_state($node, $crm, 'refund');
	is(scalar(grep { $_->{method} eq 'DELETE' } @{ $crm->log("/objects/customers/$id") }), 1, "customer $id was deleted, once");
	is_deeply([ @{ $crm->stats }{qw(duplicates seq_regressions key_repeats)} ], [ 0, 0, 0 ], 'nothing was sent twice');
	$node->stop('fast');
}

# By schedule, with a CRM that takes its time, and workers that are killed.  The
# server restarts itself after each: asking it may fail for a moment.
my %killed;

sub kills
{
	my $n = 0;
	$n += $_ for values %killed;
	return $n;
}

# Of the kinds that run, the one killed least, or the one asked for.
sub kill_worker
{
	my ($node, $kind) = @_;
	my ($code, $out) = $node->psql('postgres',
		"SELECT pid, backend_type FROM pg_stat_activity WHERE backend_type LIKE 'activate%' AND pid <> pg_backend_pid() ORDER BY random()");
	my @workers = map { [ split /\|/ ] } split /\n/, $code == 0 ? $out : '';
	@workers = grep { $_->[1] eq $kind } @workers if $kind;
	my ($victim) = sort { ($killed{ $a->[1] } // 0) <=> ($killed{ $b->[1] } // 0) } @workers;

	return unless $victim && kill_hard($victim->[0]);
	return $killed{ $victim->[1] }++;
}

sub kill_at_random
{
	my ($node, $times) = @_;
	my $end   = kills() + $times;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while (kills() < $end)
	{
		die 'no worker comes back' if time > $limit;
		Time::HiRes::usleep(int rand 500_000);
		kill_worker($node);
	}
	return;
}

# In the middle of a wave: when some of its requests have arrived.
sub kill_while_sending
{
	my ($node, $crm, $arrived) = @_;
	my $limit = time + $PostgreSQL::Test::Utils::timeout_default;

	while ($crm->stats->{requests} < $arrived + 300)
	{
		die 'nothing is sent' if time > $limit;
		Time::HiRes::usleep(5_000);
	}
	return kill_worker($node, 'activate deliverer');
}

{
	my $crm  = ActivateTest::Service->new;
	my $node = activate_node('killed');
	my $file = $node->data_dir . '/retail.csv';
	my $seed = time;
	my $arrived;

	srand $seed;
	note "seed of the random moments: $seed";
	$crm->control({ fault => 'slow', ms => 30 });
	deliver_file($file, $header, @before);
	declare($node, $crm, $file, lines => '@every 1s', model => 'after lines');
	kill_while_sending($node, $crm, 0);
	kill_at_random($node, 5);
	check_state($node, $crm, 'backfill, killed');

	$arrived = $crm->stats->{requests};
	deliver_file($file, $header, @before, @on_last_day);
	kill_while_sending($node, $crm, $arrived);
	kill_at_random($node, 5);
	check_state($node, $crm, 'a day later, killed');

	my ($id, $line) = refund($node);
	deliver_file($file, $header, @before, @on_last_day, $line);
	kill_at_random($node, 4);
	check_state($node, $crm, 'refund, killed');

	note join ', ', map { "$_: $killed{$_}" } sort keys %killed;
	is(join(', ', sort keys %killed), 'activate deliverer, activate launcher, activate runner, activate worker',
		'workers of every kind were killed');
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM activate.receipt WHERE outcome = 'ambiguous'"), '>', 0,
		'some in the middle of sending, which the receipts say');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run WHERE status = 'failed'"),
		'the run of a killed runner is recorded as failed');
	is($crm->stats->{seq_regressions}, 0, 'nothing arrived in the wrong order');
	$node->stop('fast');
}

done_testing();
