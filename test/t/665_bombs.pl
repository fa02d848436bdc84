# Answers meant to hurt whoever reads them: without end, without measure, without sense.  Each costs its own call.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Raw;
use Compress::Zlib ();
use PostgreSQL::Test::Utils;
use Test::More;

my $json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

# until the other side has had enough
sub flood
{
	my ($socket, $first, $again) = @_;

	print $socket $first;
	$again x= int(65536 / length $again) if length $again < 65536;
	1 while print $socket $again;
	return;
}

sub whole { my ($socket, $body) = @_; return ActivateTest::Raw::reply($socket, '200 OK', $body, 'Content-Type: application/json'); }

# 60 kB that would be 60 MB, and less than that twice packed; who wrote did not ask for it, to those it is no JSON
my $gzip = Compress::Zlib::memGzip('{"results": [{"status": 422}]}' . ' ' x 60_000_000);
my %ways = (
	huge_body       => sub { flood($_[0], "${json}Content-Length: 1073741824\r\n\r\n{\"data\": \"", 'x') },
	no_length       => sub { flood($_[0], "$json\r\n[", '[1],') },
	chunks          => sub { flood($_[0], "${json}Transfer-Encoding: chunked\r\n\r\n", "8\r\n{\"a\":1},\r\n") },
	chunk_extension => sub { flood($_[0], "${json}Transfer-Encoding: chunked\r\n\r\n1;", 'x') },
	trailers        => sub { flood($_[0], "${json}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "X-Trailer: x\r\n") },
	one_header      => sub { flood($_[0], "${json}X-Long: ", 'x') },
	many_headers    => sub { flood($_[0], $json, "X-Many: x\r\n") },
	interim         => sub { flood($_[0], '', "HTTP/1.1 100 Continue\r\n\r\n") },
	megabyte_header => sub { my ($s) = @_; print $s "${json}X-Long: " . ('x' x 1_000_000) . "\r\nContent-Length: 2\r\n\r\n{}" },
	status_line     => sub { flood($_[0], 'HTTP/1.1 200 ', 'x') },
	gzip_twice      => sub { ActivateTest::Raw::reply($_[0], '200 OK', Compress::Zlib::memGzip($gzip), 'Content-Type: application/json', 'Content-Encoding: gzip, gzip') },
	gzip_broken     => sub { ActivateTest::Raw::reply($_[0], '200 OK', substr($gzip, 0, 30) . 'x' x 30_000, 'Content-Type: application/json', 'Content-Encoding: gzip') },
	gzip            => sub { ActivateTest::Raw::reply($_[0], '200 OK', $gzip, 'Content-Type: application/json', 'Content-Encoding: gzip') },
	drip            => sub { my ($s) = @_; print $s "${json}Content-Length: 1000\r\n\r\n"; select(undef, undef, undef, 0.1) while print $s ' ' },
	depth           => sub { whole($_[0], '{"results": ' . ('[' x 1_000_000) . (']' x 1_000_000) . '}') },
	objects         => sub { whole($_[0], '{"data":' x 200_000) },
	number          => sub { whole($_[0], '{"data": [' . ('9' x 2_000_000) . '], "results": [{"status": ' . ('9' x 2_000_000) . '}]}') },
	exponent        => sub { whole($_[0], '{"data": [{"id": 1e999999999}], "results": [{"status": 1e999999999}]}') },
	string          => sub { whole($_[0], '{"data": 1, "results": [{"status": "' . ('s' x 10_000_000) . '"}]}') },
	members         => sub { whole($_[0], '{' . join(',', map { "\"m$_\": $_" } 1 .. 200_000) . ', "results": 0}') },
	not_utf8        => sub { whole($_[0], "{\"data\": [{\"id\": \"\xff\xfe\xc0\x80\"}], \"results\": [{\"status\": 422, \"error\": \"\xff\xc0\x80\xed\xa0\x80\"}]}") },
	nul             => sub { whole($_[0], "{\"data\": [{\"id\": \"\\u0000\"}], \"results\": [{\"status\": 422, \"error\": \"a\\u0000b\0c\"}]}") },
	surrogates      => sub { whole($_[0], "{\"data\": [{\"id\": \"\\ud800\"}], \"results\": [{\"status\": 422, \"error\": \"\\udfff\\ud800\"}]}") },
	two_lengths     => sub { my ($s) = @_; print $s "${json}Content-Length: 2\r\nContent-Length: 200000\r\n\r\n{}" },
	negative_length => sub { my ($s) = @_; print $s "${json}Content-Length: -1\r\n\r\n{}" },
	big_length      => sub { my ($s) = @_; print $s "${json}Content-Length: 99999999999999999999999\r\n\r\n{}" });

my $raw  = ActivateTest::Raw->new(sub { my ($socket, $head) = @_; my ($way) = $head =~ m{^\w+ /(\w+)}; $ways{$way}->($socket) });
my $crm  = ActivateTest::Service->new;
my $node = activate_node('bombs', conf => "activate.max_attempts = 2\nactivate.http_timeout = '2s'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE TABLE item (id int PRIMARY KEY)');
for my $way (sort keys %ways)
{
	sql("SELECT activate_target('$way', 'webhook', '{\"url\": \"" . $raw->url("/$way") . "\"}'); SELECT activate_sync('$way', 'item', '$way.change', capture => 'trigger');
		SELECT activate_target('read_$way', 'rest', '{\"base_url\": \"" . $raw->url("/$way") . "\", \"objects\": {\"things\": {\"path\": \"/\", \"columns\": {\"id\": \"text\"}, \"read\": {\"records\": \"data\"}}}}')");
}
sql("SELECT activate_target('well', 'webhook', '{\"url\": \"" . $crm->url('/hook/well') . "\"}'); SELECT activate_sync('well', 'item', 'well.change', capture => 'trigger')");
sql('INSERT INTO item VALUES (1)');
ok(delivered($node, 'well'), 'who answers well is served meanwhile');
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.outbox o WHERE NOT EXISTS (SELECT FROM activate.rejection r WHERE r.sync = o.sync)"), 'each other ends')
  or diag sql("SELECT s.name, o.last_error, o.attempts FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync");
is(sql("SELECT string_agg(s.name, ' ' ORDER BY s.name) FROM activate.sync s JOIN activate.receipt r ON r.sync = s.id WHERE r.outcome = 'delivered' AND s.name <> 'well'"), 'big_length gzip gzip_broken gzip_twice', 'only what is 2xx and says nothing of rows is taken for a success')
  or diag sql("SELECT s.name, r.outcome, r.code FROM activate.sync s JOIN activate.receipt r ON r.sync = s.id");
is(sql("SELECT count(*) FROM activate.rejection WHERE length(reason) > 600 OR reason ~ '[[:cntrl:]]'"), '0', 'reasons are short and plain');

my ($pid) = worker_pids($node, 'deliver');
my ($peak) = slurp_file("/proc/$pid/status") =~ /VmHWM:\s*(\d+)/;
cmp_ok($peak, '<', 800_000, 'the deliverer never held what it was sent (kB)');
is(sql("SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE backend_type = 'activate deliverer'"), 1, 'and lives');

for my $way (sort keys %ways)
{
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT length(string_agg(id, ' ')) FROM read_$way.things");
	like($err, qr/ERROR:  (AC001|AC003|AC005|54001): [^\n]{1,400}\n/, "$way: read");
	cmp_ok(length $err, '<', 2000, 'a short error');
	like($err, qr/is larger than 16777216 bytes/, 'what it unpacks to is cut off') if $way =~ /^gzip(_twice)?$/;
	like($err, qr/could not be unpacked/, 'what cannot be unpacked is lost') if $way eq 'gzip_broken';
}
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|out of memory/, 'nothing broke');

$node->stop('fast');
done_testing();
