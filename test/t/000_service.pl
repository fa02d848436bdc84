# The HTTP service of the tests keeps what README.md beside it promises: what
# every other test relies on.
use strict;
use warnings;

use ActivateTest;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $http = HTTP::Tiny->new(timeout => 2);

sub status_of
{
	my ($method, $path, $body) = @_;

	return $http->request($method, $crm->url($path), { content => $body // '' })->{status};
}

# what goes over one connection, as is
sub raw
{
	my ($bytes) = @_;
	my $socket = IO::Socket::INET->new("127.0.0.1:$crm->{port}") or die "could not connect: $!";

	print $socket $bytes;
	local $/;
	return readline($socket) // '';
}

is(status_of('POST', '/objects/a', '{"id": 1, "x": 1.50}'), 201, 'create');
is(status_of('POST', '/objects/a', '{"id": 1}'), 409, 'create twice');
is(status_of('PUT', '/objects/a/2', '{"x": 2}'), 201, 'upsert of a new one');
is(status_of('PUT', '/objects/a/2', '{"x": 3}'), 200, 'upsert of a known one');
is(status_of('PATCH', '/objects/a/3', '{"x": 3}'), 404, 'update of a missing one');
is($crm->objects('a'), '[{"id":1,"x":1.50},{"x":3,"id":2}]', 'numbers are kept as sent');
is(status_of('DELETE', '/objects/a/2'), 204, 'delete');
is(status_of('DELETE', '/objects/a/2'), 404, 'delete twice');

my $pipelined = raw("PUT /objects/p/1 HTTP/1.1\r\nContent-Length: 7\r\n\r\n{\"x\":1}"
	  . "GET /objects/p/1 HTTP/1.1\r\n\r\nGET /objects/p/2 HTTP/1.1\r\nConnection: close\r\n\r\n");
is_deeply([ $pipelined =~ /HTTP\/1.1 (\d+)/g ], [ 201, 200, 404 ], 'pipelined requests are answered in order');
like(raw("POST /objects/p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), qr/^HTTP\/1.1 411 /, 'no chunked bodies');

$crm->call('POST', '/objects/l/batch/upsert', { inputs => [ map { { id => $_ } } 1 .. 5 ] });
is($crm->call('GET', '/objects/l?limit=2&style=cursor&cursor=2'),
	'{"data":[{"id":3},{"id":4}],"paging":{"total":5,"next":"4"}}', 'page by cursor');
is($crm->call('GET', '/objects/l?limit=2&style=page&page=3'), '{"data":[{"id":5}],"paging":{"total":5,"page":3}}', 'page by number');
like($http->get($crm->url('/objects/l?limit=2&style=link'))->{headers}{link}, qr/<http.*page=2>; rel="next"/, 'page by Link header');
like($crm->call('POST', '/objects/l/batch/upsert?shape=errors', { inputs => [ { id => 6 }, { x => 1 } ] }),
	qr/"errors":\[\{"index":1,/, 'a batch names its bad rows');

my $change = { id => 'u1', seq => 2, sync => 's', op => 'upsert', key => { id => 1 }, row => { id => 1 } };
$crm->call('POST', '/hook', $change) for 1 .. 2;
$crm->call('POST', '/hook', { changes => [ { %$change, id => 'u0', seq => 1, row => { id => 0 } } ] });
is($crm->hook_rows('s'), '[{"id":1}]', 'a webhook receiver drops what is older');
is_deeply([ @{ $crm->stats }{qw(duplicates seq_regressions)} ], [ 1, 1 ], 'and counts it');

$crm->control({ fault => 'status', status => 503, after => 1, count => 1, path => '/objects', retry_after => '7' });
is_deeply([ map { status_of('GET', '/objects/a/1') } 1 .. 3 ], [ 200, 503, 200 ], 'a fault hits when it is told to');
for my $fault (qw(close hang half reset))
{
	$crm->control({ fault => $fault, count => 1 });
	is(status_of('POST', '/objects/a', '{}'), 599, "fault $fault");    # a GET would be repeated by HTTP::Tiny
}
$crm->control({ reject => { field => 'x', equals => 'bad' } });
is(status_of('PUT', '/objects/a/9', '{"x": "bad"}'), 422, 'a field is refused');
$crm->control({ require_bearer => 'secret' });
is(status_of('GET', '/objects/a/1'), 401, 'a token is asked for');
unlike($crm->call('GET', '/_log'), qr/Bearer|"secret"/, 'the log shows no secret');

$crm->down;
is(status_of('GET', '/objects/a/1'), 599, 'down');
$crm->up;
$crm->{http}->request('GET', $crm->url('/_stats'))->{success} or select(undef, undef, undef, 0.01)
  for 1 .. 200;
is(status_of('GET', '/objects/a/1'), 401, 'up again');

done_testing();
