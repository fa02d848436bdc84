# Requests that are signed: keyed digests of the body, AWS Signature Version 4.
use strict;
use warnings;

use ActivateTest;
use Digest::SHA qw(hmac_sha256_hex hmac_sha512_base64 sha256_hex);
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('auth');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub target
{
	my ($name, $auth, $secret) = @_;
	my $url = $crm->url("/hook/$name");

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\", \"auth\": $auth}', '$secret');
		CREATE TABLE $name (id int PRIMARY KEY, v text); SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
	sql("INSERT INTO $name VALUES (1, 'a')");
	delivered($node, $name) or die "$name is not delivered\n";
	my ($request) = @{ $crm->log("/hook/$name") };
	return $request;
}

# the bare body, and one with its time and line
my $request = target('plain', '{"form": "hmac", "header": "X-Hub-Signature-256", "prefix": "sha256="}', '{"sign": "HUSHsignHUSH"}');
is($request->{headers}{'x-hub-signature-256'}, 'sha256=' . hmac_sha256_hex($request->{body}, 'HUSHsignHUSH'), 'the body is signed');
$request = target('timed', '{"form": "hmac", "header": "X-Sig", "signed": "{method} {path}\n{timestamp}\n{body}", "timestamp": "X-Time", "algorithm": "sha512", "encoding": "base64", "key": "hex"}',
	'{"sign": "48555348"}');
my $time = $request->{headers}{'x-time'};
cmp_ok(abs($time - time), '<', 3600, 'the time is told');
my $expected = hmac_sha512_base64("POST /hook/timed\n$time\n$request->{body}", 'HUSH');
$expected .= '=' while length($expected) % 4;
is($request->{headers}{'x-sig'}, $expected, 'method, path and time are signed with it');
$request = target('pairs', '{"form": "hmac", "header": "X-Sig", "prefix": "t={timestamp},v1=", "signed": "{timestamp}.{body}"}', '{"sign": "HUSHsignHUSH"}');
my ($t, $v) = $request->{headers}{'x-sig'} =~ /^t=(\d+),v1=(\w+)$/;
is($v, hmac_sha256_hex("$t.$request->{body}", 'HUSHsignHUSH'), 'the time in the same header');

# every repeat is signed anew: the time is that of the sending
$crm->control({ fault => 'status', path => '/hook/timed', status => 503, count => 1 });
sql("INSERT INTO timed VALUES (2, 'b')");
ok(delivered($node, 'timed'), 'again after a failure');
($request) = reverse @{ $crm->log('/hook/timed') };
$expected = hmac_sha512_base64("POST /hook/timed\n$request->{headers}{'x-time'}\n$request->{body}", 'HUSH');
$expected .= '=' while length($expected) % 4;
is($request->{headers}{'x-sig'}, $expected, 'a repeat has a signature of its own');

# AWS: compared with what the published examples were compared with (sql/sign.sql); the service shows the digest of a secret header
$request = target('aws', '{"form": "aws", "service": "execute-api", "region": "eu-west-1"}', '{"s3": {"access_key": "AKHUSHidHUSH", "secret_key": "HUSHawsHUSH", "session_token": "HUSHsessionHUSH"}}');
my $stamp = $request->{headers}{'x-amz-date'};
like($stamp, qr/^\d{8}T\d{6}Z$/, 'the time of the signature');
my $authorization = sql("SELECT activate._sign_aws('POST', " . sql_literal($crm->url('/hook/aws')) . ", '{\"Content-Type\": \"application/json\"}', " . sql_literal($request->{body}) . ",
	'AKHUSHidHUSH', 'HUSHawsHUSH', 'HUSHsessionHUSH', 'eu-west-1', 'execute-api', ('$stamp')::timestamptz) ->> 'Authorization'");
is($request->{headers}{authorization}, 'sha256:' . sha256_hex($authorization), 'signed as AWS wants it');

# reads are signed, too
my $base = $crm->url;
$crm->call('POST', '/objects/things', '{"id": 1, "name": "a"}');
sql("SELECT activate_target('things', 'rest', '{\"base_url\": \"$base\", \"auth\": {\"form\": \"hmac\", \"header\": \"X-Sig\", \"signed\": \"{method} {path} {body}\"},
	\"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\"}, \"read\": {\"records\": \"data\", \"query\": {\"limit\": 5}}}}}',
	'{\"sign\": \"HUSHsignHUSH\"}')");
is(sql('SELECT name FROM things.things'), 'a', 'a table is read');
($request) = grep { $_->{method} eq 'GET' } @{ $crm->log('/objects/things') };
is($request->{headers}{'x-sig'}, hmac_sha256_hex("GET /objects/things?$request->{query} ", 'HUSHsignHUSH'), 'path and query are signed');

# nothing of it is shown
sql("SELECT activate_pause('target:plain'), activate_pause('target:aws')");
sql("INSERT INTO plain VALUES (3, 'c'); INSERT INTO aws VALUES (3, 'c')");
my $shown = sql("SELECT headers FROM activate_preview('plain')") . sql("SELECT headers FROM activate_preview('aws')");
like($shown, qr/"X-Hub-Signature-256": "\*\*\*"/, 'a preview shows that it would be signed');
like($shown, qr/"Authorization": "\*\*\*"/, '... or authorized');
unlike($shown . sql('SELECT string_agg(line, chr(10)) FROM activate_export() line') . sql('SELECT string_agg(query, chr(10)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()'),
	qr/HUSH/, 'and no key');
sql("SELECT activate_resume('target:plain'), activate_resume('target:aws')");

# a secret that does not fit any more, while a request that was signed is under way
ok(delivered($node), 'all is delivered');
$crm->control({ fault => 'slow', ms => 1500, path => '/hook/plain', count => 1 });
sql("INSERT INTO plain VALUES (5, 'e')");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'activate: delivering'") or die;
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER plain OPTIONS (SET secret '{\"bearer\": \"HUSHbearerHUSH\"}'); INSERT INTO plain VALUES (4, 'd')");
ok($node->poll_query_until('postgres', "SELECT state = 'auth' AND reason ~ 'needs the member \"sign\" of the secret' FROM activate.stat_target WHERE name = 'plain'"), 'a secret that does not fit pauses the target, with the reason');
ok($node->poll_query_until('postgres', "SELECT in_flight = 0 FROM activate.stat_target WHERE name = 'plain'"), 'what was sent before is answered');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'plain'"), 'auth', 'and says nothing of the secret of now');
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER plain OPTIONS (SET secret '{\"sign\": \"HUSHotherHUSH\"}')");
ok(delivered($node), 'one that fits is used at once');
($request) = reverse @{ $crm->log('/hook/plain') };
is($request->{headers}{'x-hub-signature-256'}, 'sha256=' . hmac_sha256_hex($request->{body}, 'HUSHotherHUSH'), 'and signs');
is(sql('SELECT count(*) FROM activate.rejection'), '0', 'nothing is lost');

done_testing();
