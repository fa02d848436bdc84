# HTTP/2: where it is offered, many calls over one connection; what is known of each when a stream, or all of them, end.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::H2;
use ActivateTest::Proxy;
use ActivateTest::Tls;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => ActivateTest::Tls::missing() if ActivateTest::Tls::missing();

my $dir  = PostgreSQL::Test::Utils::tempdir();
my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('http2', conf => "activate.http_timeout = '10s'");
my $ca   = ActivateTest::Tls::Authority->new($dir, 'ours');
my @cert = $ca->issue('localhost');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub front
{
	my (@options) = @_;

	return ActivateTest::Tls->new(directory => $dir, backend => $crm->{port}, certificate => \@cert, options => \@options);
}

# A webhook that speaks HTTP/2 if it can, of the table and the sync NAME.
sub declare
{
	my ($name, $url, %options) = @_;
	my $all = JSON::PP->new->canonical->encode({ url => $url, ca_file => $ca->file, http_version => '2', %options });

	return sql("SELECT activate_target('$name', 'webhook', '$all');
		CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
}

sub outcomes
{
	my ($sync) = @_;

	return sql("SELECT string_agg(DISTINCT r.outcome, ' ' ORDER BY r.outcome) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

sub of_path { my ($front, $path) = @_; return grep { $_->{path} eq $path } $front->requests; }

my $front = front();

subtest 'where it is offered' => sub {
	declare('offered', $front->url('/hook/offered'));
	$crm->control({ fault => 'slow', path => '/hook/offered', ms => 50 });
	sql("INSERT INTO offered SELECT i, 'a' FROM generate_series(1, 400) i");
	ok(delivered($node, 'offered'), 'delivered');
	my @requests = of_path($front, '/hook/offered');
	is(scalar @requests, 400, 'each once');
	is(ActivateTest::Tls::distinct('alpn', @requests), 'h2', 'by HTTP/2');
	is(scalar split(/ /, ActivateTest::Tls::distinct('port', @requests)), 1, 'all over one connection');
	$crm->heal;
	same_rows($node, $crm->hook_rows('offered', 'offered'), 'TABLE offered', 'and all is there');

	declare('large', $front->url('/hook/large'), batch => 500);
	sql("INSERT INTO large SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 5000) i");
	ok(delivered($node, 'large'), 'large bodies');
	same_rows($node, $crm->hook_rows('large', 'large'), 'TABLE large', 'arrive whole');

	sql("SELECT activate_target('api', 'rest', '" . JSON::PP::encode_json({ base_url => $front->url, ca_file => $ca->file, http_version => '2',
		objects => { things => { path => '/objects/things', key => 'id', columns => { id => 'bigint' }, read => { page => { style => 'cursor', param => 'cursor', next => 'paging.next', size => 100 } } } } }) . "')");
	$crm->call('POST', '/objects/things/batch/upsert', { inputs => [ map { { id => $_ } } 1 .. 1000 ] });
	is(sql('SELECT count(*), count(DISTINCT id) FROM api.things'), '1000|1000', 'reading');
	@requests = grep { $_->{path} =~ m{^/objects/things} } $front->requests;
	cmp_ok(scalar @requests, '>=', 10, 'page by page');
	is(ActivateTest::Tls::distinct('alpn', @requests), 'h2', 'by HTTP/2, too');
};

subtest 'where it is not' => sub {
	my $old = front('--npn-list=http/1.1');

	declare('old', $old->url('/hook/old'));
	sql("INSERT INTO old SELECT i, 'a' FROM generate_series(1, 50) i");
	ok(delivered($node, 'old'), 'a server that does not offer it');
	is(ActivateTest::Tls::distinct('alpn', of_path($old, '/hook/old')), 'http/1.1', 'by HTTP/1.1');

	declare('clear', $crm->url('/hook/clear'));
	sql("INSERT INTO clear SELECT i, 'a' FROM generate_series(1, 50) i");
	ok(delivered($node, 'clear'), 'without TLS');

	declare('unasked', $front->url('/hook/unasked'), http_version => '1.1');
	sql("INSERT INTO unasked SELECT i, 'a' FROM generate_series(1, 50) i; INSERT INTO offered SELECT i, 'b' FROM generate_series(401, 450) i");
	ok(delivered($node, $_), 'a target that does not ask, beside one that does') for qw(unasked offered);
	is(ActivateTest::Tls::distinct('alpn', of_path($front, '/hook/unasked')), 'http/1.1', 'by HTTP/1.1');

	my $proxy = ActivateTest::Proxy->new("$dir/proxy");
	declare('tunnel', $front->url('/hook/tunnel'), proxy => $proxy->url);
	sql("INSERT INTO tunnel SELECT i, 'a' FROM generate_series(1, 50) i");
	ok(delivered($node, 'tunnel'), 'through a proxy');
	is(ActivateTest::Tls::distinct('alpn', of_path($front, '/hook/tunnel')), 'h2', 'by HTTP/2');
};

subtest 'a stream that is late' => sub {
	declare('late', $front->url('/hook/late'));
	sql("ALTER SYSTEM SET activate.http_timeout = '3s'; SELECT pg_reload_conf()");
	ok($node->poll_query_until('postgres', "SELECT current_setting('activate.http_timeout') = '3s'"), 'a short timeout');
	$crm->control({ fault => 'hang', path => '/hook/late', every => 2, count => 5 });
	sql("INSERT INTO late SELECT i, 'a' FROM generate_series(1, 10) i");
	ok(delivered($node, 'late'), 'some streams time out');
	is(outcomes('late'), 'ambiguous delivered', 'what became of those is not known');
	is(sql("SELECT count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'late' AND r.outcome = 'ambiguous'"), 5, 'the others do not mind');
	is(scalar split(/ /, ActivateTest::Tls::distinct('port', of_path($front, '/hook/late'))), 1, 'nor does the connection');
	sql("ALTER SYSTEM RESET activate.http_timeout; SELECT pg_reload_conf()");
};

subtest 'the server is killed' => sub {
	declare('killed', $front->url('/hook/killed'));
	$crm->control({ fault => 'slow', path => '/hook/killed', ms => 1000 });
	sql("INSERT INTO killed SELECT i, 'a' FROM generate_series(1, 300) i");
	ok($node->poll_query_until('postgres', "SELECT in_flight >= 32 FROM activate.stat_target WHERE name = 'killed'"), 'many streams are under way');
	$front->stop('KILL');
	ok($node->poll_query_until('postgres', "SELECT state = 'down' FROM activate.stat_target WHERE name = 'killed'"), 'kill -9: down');
	like(outcomes('killed'), qr/ambiguous/, 'what was under way is ambiguous');
	$crm->heal;
	$front->start;
	ok(delivered($node, 'killed'), 'when it is back, all is delivered');
	same_rows($node, $crm->hook_rows('killed', 'killed'), 'TABLE killed', 'nothing is lost');
	is(sql("SELECT count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'killed' AND r.outcome = 'delivered'"), 300, 'each is delivered once');
	my %ids = %{ $crm->hook_state('killed')->{ids} };
	is(scalar keys %ids, 300, 'repeats carry the same id');
	is(sql("SELECT count(*) FROM activate.rejection"), 0, 'nothing is rejected');
};

subtest 'what the server did not process' => sub {
	my $refuse = ActivateTest::H2->new("$dir/refuse", @cert, 'refuse', 'answer');
	declare('refuse', $refuse->url('/hook'));
	sql("INSERT INTO refuse VALUES (1, 'a')");
	ok(delivered($node, 'refuse'), 'a stream that was refused');
	is(join(', ', ActivateTest::H2::seen("$dir/refuse")), '1 refuse, 2 answer', 'went once more, over another connection');
	is(outcomes('refuse'), 'delivered', 'as if nothing had been');

	my $goaway = ActivateTest::H2->new("$dir/goaway", @cert, 'hold', 'goaway', 'answer');
	declare('goaway', $goaway->url('/hook'));
	sql("INSERT INTO goaway VALUES (1, 'a'), (2, 'a')");
	ok(delivered($node, 'goaway'), 'a server that goes away');
	like(join(', ', ActivateTest::H2::seen("$dir/goaway")), qr/^1 hold, 1 goaway(, 2 answer){1,2}$/, 'what it did not process goes over another connection');
	like(outcomes('goaway'), qr/^(ambiguous )?delivered$/, 'at worst its first outcome is not known: not every libcurl tells');

	my $h2 = ActivateTest::H2->new("$dir/always", @cert, 'refuse');

	declare('always', $h2->url('/hook'));
	sql("INSERT INTO always VALUES (1, 'a')");
	ok($node->poll_query_until('postgres', "SELECT state = 'down' FROM activate.stat_target WHERE name = 'always'"), 'always refused: down');
	is(sql("SELECT max(o.attempts) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'always'"), 0, 'no attempt is used up');

	my $reset = ActivateTest::H2->new("$dir/reset", @cert, 'reset', 'answer');
	declare('reset', $reset->url('/hook'));
	sql("INSERT INTO reset VALUES (1, 'a')");
	ok(delivered($node, 'reset'), 'reset for another reason');
	is(outcomes('reset'), 'ambiguous delivered', 'is ambiguous');
};

$node->stop('fast');
done_testing();
