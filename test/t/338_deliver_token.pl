# Access tokens by OAuth 2.0: got once for all, renewed, refused, kept.
use strict;
use warnings;

use ActivateTest;
use Digest::SHA qw(sha256_hex);
use IPC::Open2 ();
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('token', conf => "log_min_messages = debug1\nlog_min_error_statement = panic\nlog_statement = none\nactivate.retry_backoff = 100ms\nactivate.retry_backoff_max = 300ms\nactivate.max_attempts = 2\nactivate.http_timeout = 3s\nmax_worker_processes = 24");
my $base = $crm->url;
my $auth = "\"auth\": {\"form\": \"oauth2\", \"grant\": \"refresh_token\", \"token_url\": \"$base/token\"}";

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub tokens { return JSON::PP::decode_json($crm->call('GET', '/_tokens')); }
sub control { return $crm->control({ tokens => {@_} }); }
sub secret { return "{\"oauth2\": {\"client_id\": \"me\", \"client_secret\": \"HUSHclientHUSH\", \"refresh_token\": " . ($_[0] =~ /^\{/ ? $_[0] : "\"$_[0]\"") . '}}'; }
sub state_is { my ($state, $name, $like) = @_; return $node->poll_query_until('postgres', "SELECT state = '$state' AND coalesce(reason, '') ~ '" . ($like // '') . "' FROM activate.stat_target WHERE name = '$name'"); }
my $id = 0;
sub insert { my ($table) = @_; $id++; sql("INSERT INTO $table VALUES ($id, 'v$id')"); return; }
sub form { my ($request) = @_; return { map { my ($n, $v) = split /=/, $_, 2; $v =~ s/%(..)/chr hex $1/ge; ($n => $v) } split /&/, $request->{body} }; }

sub target
{
	my ($name, $options, $secret) = @_;

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$base/hook/$name\", $options}', '$secret');
		CREATE TABLE IF NOT EXISTS $name (id int PRIMARY KEY, v text); SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
}

# got when it is needed, in one request
control(lifetime => 3600, refresh => 'HUSHfirstHUSH');
target('hook', $auth, secret('HUSHfirstHUSH'));
is(tokens()->{issued}, 0, 'nothing is asked for before it is needed');
insert('hook') for 1 .. 5;
ok(delivered($node, 'hook'), 'delivered with a token');
is(tokens()->{issued}, 1, 'which was got once');
my ($request) = @{ $crm->log('/token') };
is_deeply(form($request), { grant_type => 'refresh_token', refresh_token => 'HUSHfirstHUSH', client_id => 'me', client_secret => 'HUSHclientHUSH' }, 'the token endpoint is told what it wants');
($request) = @{ $crm->log('/hook/hook') };
is($request->{headers}{authorization}, 'sha256:' . sha256_hex('Bearer HUSHaccess1HUSH'), 'the API is told the token');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome <> 'delivered'"), '0', 'no attempt was used up for it');

# the same token for sessions
$crm->call('GET', '/_stats');
sql("SELECT activate_target('api', 'rest', '{\"base_url\": \"$base\", $auth, \"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"name\": \"text\"}, \"read\": {\"records\": \"data\"}}}}', '" . secret('HUSHfirstHUSH') . "')");
is(sql('SELECT count(*) FROM api.things'), '0', 'a session reads with a token');
is(tokens()->{issued}, 2, 'of its own account');
is(sql('SELECT count(*) FROM api.things'), '0', 'another session reads');
is(tokens()->{issued}, 2, 'with the same');

# many at once: revoked, and got once
control(revoke => JSON::PP::true);
my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 6;
$_->query_until(qr//, "SELECT 'n=' || count(*) FROM api.things;\n") for @sessions;
$_->quit for @sessions;
is(tokens()->{issued}, 3, 'a 401 that many meet is one refresh');

# expiry: the next is got before it ends
control(lifetime => 2);
control(revoke => JSON::PP::true);
my $until = time + 5;
while (time < $until) { insert('hook'); delivered($node, 'hook'); }
ok(delivered($node), 'tokens end, and rows arrive');
cmp_ok(tokens()->{issued}, '>=', 5, 'others were got');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome NOT IN ('delivered')"), '0', 'before they ended: no attempt, no refusal of a row');
control(lifetime => 3600);

# a 401 in the middle refreshes once and repeats the rows
insert('hook'); delivered($node, 'hook');
sql("SELECT activate_run('hook', full => true)"); delivered($node, 'hook');
my $before = tokens()->{issued};
control(revoke => JSON::PP::true);
insert('hook') for 1 .. 20;
ok(delivered($node, 'hook'), 'revoked in the middle: delivered');
is(tokens()->{issued}, $before + 1, 'one refresh');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome NOT IN ('delivered')") . sql('SELECT count(*) FROM activate.rejection'), '00', 'no attempt was used up');

# a second 401 pauses the target; what the API says of it is not told
$crm->control({ fault => 'status', path => '/hook/hook', status => 401, body => '{"error": "bad token HUSHaccessHUSH"}' });
insert('hook');
ok(state_is('auth', 'hook', '401'), 'a second 401 pauses the target');
is(tokens()->{issued}, $before + 2, 'after one more token');
$crm->heal;
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER hook OPTIONS (SET secret '" . secret('HUSHfirstHUSH') . "')");
ok(delivered($node, 'hook'), 'ALTER USER MAPPING resumes it');

# invalid_grant pauses at once
control(revoke => JSON::PP::true, refuse => 'invalid_grant');
insert('hook');
ok(state_is('auth', 'hook', 'HTTP 400, invalid_grant'), 'invalid_grant pauses the target, with the reason');
my ($code, $out, $err) = $node->psql('postgres', 'SELECT * FROM api.things');
like($err, qr/could not get an access token for server "api": the token endpoint answered HTTP 400, invalid_grant\nHINT:  Renew the secret/, 'a session is told');
control(refuse => '');
sql("SELECT activate_target('hook', 'webhook', secret => '" . secret('HUSHfirstHUSH') . "')");
ok(delivered($node, 'hook'), 'activate_target resumes it');

# the token endpoint is down, slow, busy, or talks nonsense: no attempt is used up
for my $fault ({ fault => 'status', status => 500 }, { fault => 'garbage' }, { fault => 'empty200' }, { fault => 'close' }, { fault => 'hang', count => 1 }, { fault => 'half' },
	{ fault => 'status', status => 200, body => '{"token": "x"}' }, { fault => 'status', status => 200, body => '{"access_token": "a\nb"}' })
{
	my $name = $fault->{fault} . ($fault->{body} // '');
	$crm->control({ %$fault, path => '/token', method => 'POST' });
	control(revoke => JSON::PP::true);
	insert('hook');
	ok(state_is('down', 'hook', 'token'), "$name: the target is down, with the reason");
	$crm->heal;
	ok(delivered($node, 'hook'), "$name: then delivered");
}
$crm->control({ fault => 'status', path => '/token', status => 429, retry_after => '2', count => 1 });
control(revoke => JSON::PP::true);
insert('hook');
ok(state_is('throttled', 'hook', '429'), '429 of it waits');
ok(delivered($node, 'hook'), 'as long as it says');
is(sql("SELECT count(*) FROM activate.receipt WHERE outcome NOT IN ('delivered')") . sql('SELECT count(*) FROM activate.rejection'), '00', 'no attempt was used up by any of it');
# ... and other targets go on meanwhile
sql("SELECT activate_target('other', 'webhook', '{\"url\": \"$base/token/sink\"}'); CREATE TABLE other (id int PRIMARY KEY, v text); SELECT activate_sync('other', 'other', 'other.change', capture => 'trigger')");
$crm->control({ fault => 'hang', path => '/token', method => 'POST', count => 1 });
control(revoke => JSON::PP::true);
insert('hook');
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.outbox");
insert('other');
ok($node->poll_query_until('postgres', "SELECT r.n + o.n > 0 FROM (SELECT count(*) AS n FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'other') r, (SELECT count(*) AS n FROM activate.rejection j) o"), 'the others do not wait for it');
$crm->heal;
sql("SELECT activate_pause('other'), activate_discard('other')");
ok(delivered($node, 'hook'), 'delivered');

# whose sync is dropped while it is got: the next one gets another
$crm->control({ fault => 'slow', path => '/token/gone', ms => 2500, count => 1 });
target('gone', $auth =~ s{/token}{/token/gone}r, secret('HUSHfirstHUSH'));
insert('gone');
for (1 .. 3000) { last if @{ $crm->log('/token/gone') }; select(undef, undef, undef, 0.01); }
sql("SET client_min_messages = error; SELECT activate_drop('gone')");
insert('hook');
ok(delivered($node, 'hook'), 'dropped: the deliverer has seen it');
target('gone', $auth =~ s{/token}{/token/gone}r, secret('HUSHfirstHUSH'));
insert('gone');
ok(delivered($node, 'gone'), 'dropped and declared anew: delivered with a token');
sql("SET client_min_messages = error; SELECT activate_drop('gone')");

# a cancelled session does not wait, and leaves the worker to its work
control(revoke => JSON::PP::true);
$crm->control({ fault => 'slow', path => '/token', ms => 1500 });
($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT * FROM api.things");
like($err, qr/canceling statement due to statement timeout/, 'waiting can be cancelled');
$crm->heal;
is(sql('SELECT count(*) FROM api.things'), '0', 'the next reads');

# rotation: kept in the mapping before it is used
control(rotate => JSON::PP::true, revoke => JSON::PP::true);
my %kept;
for my $name ('hook', 'api')
{
	control(refresh => "HUSHfirst${name}HUSH");
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (SET secret '" . secret("HUSHfirst${name}HUSH") . "')");
	if ($name eq 'hook') { insert('hook'); ok(delivered($node, 'hook'), 'hook: delivered'); }
	else { is(sql('SELECT count(*) FROM api.things'), '0', 'api: read'); }
	like(sql("SELECT umoptions::text FROM pg_user_mappings WHERE srvname = '$name'"), qr/\Q${\ tokens()->{refresh}}\E/, "$name: the refresh token that counts is in the mapping");
	control(revoke => JSON::PP::true);
	if ($name eq 'hook') { insert('hook'); ok(delivered($node, 'hook'), 'hook: used the next time'); }
	else { is(sql('SELECT count(*) FROM api.things'), '0', 'api: used the next time'); }
	$kept{$name} = tokens()->{refresh};
}
like(sql("SELECT umoptions::text FROM pg_user_mappings WHERE srvname = 'api'"), qr/\Q$kept{api}\E/, 'and the next is kept as well');
# ... through kill -9 of everything
control(refresh => 'HUSHcrashHUSH', revoke => JSON::PP::true);
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER hook OPTIONS (SET secret '" . secret('HUSHcrashHUSH') . "')");
insert('hook');
ok(delivered($node, 'hook'), 'delivered with the rotated one');
kill_hard((worker_pids($node, 'deliver'))[0]);
$node->poll_query_until('postgres', 'SELECT true');
insert('hook');
ok(delivered($node, 'hook'), 'after kill -9 the refresh token that was kept is the one that counts');
$node->stop('immediate');
$node->start;
insert('hook');
ok(delivered($node, 'hook'), 'and after a crash of the server');
# ... and a lock on the mapping only delays it
control(revoke => JSON::PP::true);
my $session = $node->background_psql('postgres');
$session->query_until(qr//, "BEGIN; ALTER USER MAPPING FOR CURRENT_USER SERVER hook OPTIONS (SET secret '{\"oauth2\": {\"client_id\": \"me\", \"refresh_token\": \"HUSHneverHUSH\"}}');\n");
insert('hook');
ok($node->poll_query_until('postgres', sprintf("SELECT pg_read_file('%s') ~ 'waits for its new refresh token to be written'", $node->logfile)), 'it waits for the lock');
$session->query_until(qr//, "ROLLBACK;\n");
$session->quit;
ok(delivered($node, 'hook'), 'delivered when the lock is gone');
like(sql("SELECT umoptions::text FROM pg_user_mappings WHERE srvname = 'hook'"), qr/\Q${\ tokens()->{refresh}}\E/, 'and kept');
# ... in a file it cannot be: told
my $file = PostgreSQL::Test::Utils::tempdir() . '/refresh';
append_to_file($file, "HUSHfileHUSH\n");
control(refresh => 'HUSHfileHUSH', revoke => JSON::PP::true);
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER hook OPTIONS (SET secret '" . secret("{\"file\": \"$file\"}") . "')");
insert('hook');
ok(delivered($node, 'hook'), 'with a refresh token from a file');
ok(state_is('up', 'hook', 'stands in a file'), 'that it was replaced is told');
control(revoke => JSON::PP::true);
insert('hook');
ok(delivered($node, 'hook'), 'the new one is used as long as the server runs');
is(slurp_file($file), "HUSHfileHUSH\n", 'nothing is written to the file');

# client credentials, by Basic; parameters, scope and audience; another header
control(rotate => JSON::PP::false, lifetime => 3600);
$crm->control({ fault => 'status', path => '/hook/client', status => 200, body => '{}' });
target('client', "\"auth\": {\"form\": \"oauth2\", \"grant\": \"client_credentials\", \"token_url\": \"$base/token/client\", \"client\": \"basic\", \"scope\": \"a b\", \"audience\": \"https://api.test/\", \"parameters\": {\"resource\": \"x&y\"}}",
	'{"oauth2": {"client_id": "me", "client_secret": "HUSHclientHUSH"}}');
insert('client');
ok(delivered($node, 'client'), 'client credentials: delivered');
($request) = @{ $crm->log('/token/client') };
is_deeply(form($request), { grant_type => 'client_credentials', scope => 'a b', audience => 'https://api.test/', resource => 'x&y' }, 'what is asked');
is($request->{headers}{authorization}, 'sha256:' . sha256_hex('Basic ' . MIME::Base64::encode_base64('me:HUSHclientHUSH', '')), 'and who asks');

# a signed token, verified by openssl
SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	skip 'no openssl', 4 if system("openssl genrsa -out $dir/key.pem 2048 2>/dev/null && openssl rsa -in $dir/key.pem -pubout -out $dir/public.pem 2>/dev/null") != 0;
	my $pem = slurp_file("$dir/key.pem");
	$pem =~ s/\n/\\n/g;
	my ($failed, undef, $said) = $node->psql('postgres', "SELECT activate._sign_jwt('{}', E'$pem')");
	skip 'built without OpenSSL', 4 if $said =~ /not supported by this build/;
	target('jwt', "\"auth\": {\"form\": \"oauth2\", \"grant\": \"jwt\", \"token_url\": \"$base/token/jwt\", \"scope\": \"https://scope.test\"}",
		"{\"jwt\": {\"issuer\": \"svc\@example.com\", \"subject\": \"user\@example.com\", \"key_id\": \"k1\", \"private_key\": \"$pem\"}}");
	insert('jwt');
	ok(delivered($node, 'jwt'), 'signed token: delivered');
	($request) = @{ $crm->log('/token/jwt') };
	my $form = form($request);
	is($form->{grant_type}, 'urn:ietf:params:oauth:grant-type:jwt-bearer', 'by the grant of RFC 7523');
	my ($head, $claims, $signature) = split /\./, $form->{assertion};
	append_to_file("$dir/signed", "$head.$claims");
	open(my $out, '>:raw', "$dir/signature") or die;
	print $out MIME::Base64::decode_base64(($signature =~ tr{-_}{+/}r) . '==');
	close $out;
	like(`openssl dgst -sha256 -verify $dir/public.pem -signature $dir/signature $dir/signed`, qr/^Verified OK/, 'openssl verifies the signature');
	my $claim = JSON::PP::decode_json(MIME::Base64::decode_base64(($claims =~ tr{-_}{+/}r) . '=='));
	is(join(' ', @$claim{qw(iss sub aud scope)}, $claim->{exp} - $claim->{iat} <= 180 ? 'short' : 'long', JSON::PP::decode_json(MIME::Base64::decode_base64(($head =~ tr{-_}{+/}r) . '=='))->{kid}),
		"svc\@example.com user\@example.com $base/token/jwt https://scope.test short k1", 'the claims');
}

# nothing of it is anywhere but in the mappings
my %tables = map { /^(.*?)\|(.*)$/s ? ($1 => $2) : () } split /\x01/, sql("SELECT string_agg(c.oid::regclass || '|' || query_to_xml('SELECT * FROM ' || c.oid::regclass, false, true, '')::text, E'\\x01')
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'activate' AND c.relkind IN ('r', 'v')");
is(join(' ', grep { $tables{$_} =~ /HUSH/ } sort keys %tables), '', 'no relation of ours holds a token');
unlike(sql("SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE pid <> pg_backend_pid()"), qr/HUSH/, 'nor pg_stat_activity');
sql("SELECT activate_pause('target:hook')");
insert('hook');
my $shown = sql("SELECT activate_preview('hook')::text") . sql('SELECT string_agg(line, chr(10)) FROM activate_export() line') . sql("SELECT string_agg(line, chr(10)) FROM activate_explain('hook') line");
like($shown, qr/\*\*\*/, 'a preview shows that there is one');
unlike($shown, qr/HUSH/, 'and none');
unlike(slurp_file($node->logfile), qr/HUSH/, 'nor does the log');
done_testing();
