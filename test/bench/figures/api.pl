# Reading a web API: pages of 100 records × 14 columns, which hold a few members more, into a table.
use strict;
use warnings;

use Bench;
use HTTP::Tiny;
use JSON::PP ();

my @columns = ('id bigint', 'email text', 'first_name text', 'last_name text', 'company text', 'plan text', 'seats integer', 'revenue numeric',
	'score double precision', 'active boolean', 'born date', 'created_at timestamptz', 'updated_at timestamptz', 'phone text');
my $columns = join ', ', @columns;
my $names = join ', ', map { (split ' ')[0] } @columns;

# Foreign tables api.NAME, each with what its read.page says.
sub declare_api
{
	my ($s, $records, %pages) = @_;
	my %objects = map {
		$_ => {
			path => '/bulk',
			columns => { map { split ' ', $_, 2 } @columns },
			read => { records => 'data', query => { records => $records }, page => { size_param => 'limit', size => 100, %{ $pages{$_} } } } }
	} keys %pages;

	$s->run("SELECT activate_target('api', 'rest', \$definition\$" . JSON::PP->new->encode({ base_url => service()->url, objects => \%objects }) . "\$definition\$)");
	return;
}

figure api_pages => sub {
	my ($s) = @_;
	my $n = size(50_000, 200_000);

	declare_api($s, $n, bulk => { style => 'page' });
	$s->run("CREATE TABLE page (number integer, body text); ALTER TABLE page ALTER body SET STORAGE EXTERNAL;
		CREATE TABLE ours ($columns); CREATE TABLE theirs ($columns)");
	for my $page (1 .. $n / 100)
	{
		my $body = HTTP::Tiny->new->get(service()->url("/bulk?records=$n&limit=100&page=$page"))->{content};
		$s->run("INSERT INTO page VALUES ($page, \$body\$$body\$body\$)");
	}
	my $into = sub { my ($table, $sql) = @_; $s->run("TRUNCATE $table; CHECKPOINT"); return measure($s, "INSERT INTO $table $sql") };
	my $got = alternate(
		ours => sub { $into->('ours', "SELECT $names FROM api.bulk") },
		theirs => sub { $into->('theirs', "SELECT r.* FROM page, jsonb_to_recordset(body::jsonb -> 'data') AS r ($columns)") });

	$s->run("SELECT count(*) FROM ours a JOIN theirs b USING (id) WHERE a *= b") == $n or die "the rows differ\n";
	row('CPU per record of ' . number($n) . ' × 14 columns from an API into a table, 100 a page', unit => 'µs', against => 'pages in a table, jsonb_to_recordset',
		ours => per($got->{ours}, 'cpu', $n), base => per($got->{theirs}, 'cpu', $n), reach => '≤ 0.45', ok => sub { $_[2] <= 0.45 });
	row('the same, on the clock', unit => 'ms', against => 'the same',
		ours => [ map { $_ * 1000 } @{ column($got->{ours}, 'wall') } ], base => [ map { $_ * 1000 } @{ column($got->{theirs}, 'wall') } ],
		reach => '≤ 0.45', ok => sub { $_[2] <= 0.45 });
};

figure api_latency => sub {
	my ($s) = @_;
	my $n = size(8_000, 40_000);

	declare_api($s, $n, bulk => { style => 'page' }, one => { style => 'page', in_flight => 1 });
	service()->control({ fault => 'slow', ms => 50, path => '/bulk' });
	my $got = alternate(map { my $table = $_; ($table => sub { measure($s, "SELECT count(id) FROM api.$table") }) } qw(bulk one));

	row('rows/s from an API that answers after 50 ms, 8 pages of 100 in flight', against => 'one in flight',
		ours => rates($got->{bulk}, $n), base => rates($got->{one}, $n), reach => '≥ 4', ok => sub { $_[2] >= 4 });
};

figure api_cursor => sub {
	my ($s) = @_;
	my $n = size(50_000, 200_000);
	my %cursor = (style => 'cursor', next => 'paging.next', size => 1000);

	declare_api($s, $n, ahead => \%cursor, one => { %cursor, in_flight => 1 });
	$s->run("CREATE TABLE target ($columns)");
	service()->control({ fault => 'slow', ms => 5, path => '/bulk' });
	my $got = alternate(map { my $table = $_; ($table => sub { $s->run('TRUNCATE target; CHECKPOINT'); measure($s, "INSERT INTO target SELECT $names FROM api.$table") }) } qw(ahead one));

	row('rows/s into a table by cursor, 1,000 a page, from an API that answers after 5 ms', against => 'without asking for the next page ahead',
		ours => rates($got->{ahead}, $n), base => rates($got->{one}, $n));
};

1;
