# How a target is reached: whose certificates count, what proves who we are, through which proxy; what is packed.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Proxy;
use ActivateTest::Raw;
use ActivateTest::Tls;
use Compress::Zlib ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => ActivateTest::Tls::missing() if ActivateTest::Tls::missing();

my $dir  = PostgreSQL::Test::Utils::tempdir();
my $crm  = ActivateTest::Service->new;
my $node = activate_node('tls', conf => "log_min_messages = debug1\nlog_min_error_statement = panic\nactivate.http_timeout = '10s'");

my $ours    = ActivateTest::Tls::Authority->new($dir, 'ours');
my $other   = ActivateTest::Tls::Authority->new($dir, 'other');
my $clients = ActivateTest::Tls::Authority->new($dir, 'clients');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub json { return JSON::PP->new->canonical->encode($_[0]); }

# An API that can be written (table NAME, sync NAME) and read (NAME.things) at this URL.
sub declare
{
	my ($name, $url, $options, $secret) = @_;
	my $objects = { things => { path => "/objects/$name", key => 'id', columns => { id => 'bigint', v => 'text' }, write => { upsert => {} } } };
	my $all = sql_literal(json({ base_url => $url, objects => $objects, %$options }));

	$secret = defined $secret ? sql_literal(json($secret)) : 'NULL';
	return sql("SELECT activate_target('$name', 'rest', $all, $secret);
		CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT activate_sync('$name', '$name', '$name.things', capture => 'trigger')");
}

sub reaches
{
	my ($name, $state, $reason) = @_;

	return $node->poll_query_until('postgres',
		"SELECT state = '$state' AND coalesce(reason, '') ~ '" . ($reason // '') . "' FROM activate.stat_target WHERE name = '$name'");
}

# What a look into the foreign table says when it fails.
sub read_error
{
	my ($name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(*) FROM $name.things");

	return $err;
}

# The target is down for this reason, without a request and without an attempt; reading says the same.
sub refused
{
	my ($name, $reason) = @_;

	sql("INSERT INTO $name SELECT i, 'a' FROM generate_series(1, 5) i");
	ok(reaches($name, 'down', $reason), "$name: down, with the reason") or diag sql("SELECT state, reason FROM activate.stat_target WHERE name = '$name'");
	ok($node->poll_query_until('postgres', "SELECT failures > 2 FROM activate.stat_target WHERE name = '$name'"), "$name: it is probed");
	is(scalar @{ $crm->log("/objects/$name") }, 0, "$name: nothing was sent");
	is(sql("SELECT max(o.attempts) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$name'"), 0, "$name: no attempt is used up");
	is(sql("SELECT count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'"), 0, "$name: there is no receipt");
	like(read_error($name), qr/ERROR:  AC001: .*$reason/, "$name: reading says so");
	return;
}

# It works, both ways.
sub accepted
{
	my ($name, $how) = @_;

	ok(delivered($node, $name), "$name: delivered $how") or diag sql("SELECT * FROM activate.stat_target WHERE name = '$name'");
	is(sql("SELECT count(*) FROM $name.things"), sql("SELECT count(*) FROM $name"), "$name: read $how");
	return;
}

sub front
{
	my ($certificate, @options) = @_;

	return ActivateTest::Tls->new(directory => $dir, backend => $crm->{port}, certificate => $certificate, options => \@options);
}

my $front = front([ $ours->issue('localhost') ]);

subtest 'whose certificates count' => sub {
	declare('stranger', $front->url, {});
	refused('stranger', 'certificate');
	sql("SELECT activate_target('stranger', 'rest', '{\"ca_file\": \"" . $ours->file . "\"}')");
	accepted('stranger', 'with the authority in ca_file');

	declare('mistaken', $front->url, { ca_file => $other->file });
	refused('mistaken', 'certificate');
	sql("ALTER SERVER mistaken OPTIONS (SET ca_file '" . $ours->file . "')");
	accepted('mistaken', 'after ALTER SERVER');

	my $expired = front([ $ours->issue('localhost', -1) ]);
	declare('expired', $expired->url, { ca_file => $ours->file });
	refused('expired', 'certificate has expired');

	my $named = front([ $ours->issue('elsewhere.test') ]);
	declare('misnamed', $named->url, { ca_file => $ours->file });
	refused('misnamed', 'no alternative certificate subject name matches');

	declare('lost', $front->url, { ca_file => "$dir/nowhere.pem" });
	refused('lost', 'certificate|trust anchors');
	append_to_file("$dir/nowhere.pem", slurp_file($ours->file));
	accepted('lost', 'when the file is there');

	# other certificates, other connections
	$_->stop for $expired, $named;
	sql("UPDATE $_ SET v = 'b'; INSERT INTO $_ VALUES (6, 'b')") for qw(stranger mistaken lost);
	ok(delivered($node, $_), "$_: more") for qw(stranger mistaken lost);
	my %ports;
	for my $request (grep { $_->{path} =~ m{^/objects/(?:stranger|lost)/} } $front->requests)
	{
		$ports{ $request->{port} }{ $request->{path} =~ m{^/objects/(\w+)/} ? $1 : '' } = 1;
	}
	is(scalar(grep { keys %$_ > 1 } values %ports), 0, 'connections are not shared with another ca_file');
};

subtest 'who we are' => sub {
	my $asks = front([ $ours->issue('localhost') ], '--verify-client', '--verify-client-cacert=' . $clients->file);
	my @alice = $clients->issue('alice');
	my @bob   = $clients->issue('bob');
	my %file  = (ca_file => $ours->file);

	my $of_files = sub { my ($cert, $key) = @_; return { client_cert => { file => $cert }, client_key => { file => $key } }; };
	my $subjects = sub { my ($name) = @_; return ActivateTest::Tls::distinct('subject', grep { $_->{path} =~ m{^/objects/$name/} } $asks->requests); };

	declare('nobody', $asks->url, \%file);
	refused('nobody', 'certificate (?:is )?required');
	declare('alice', $asks->url, \%file, $of_files->(@alice));
	declare('bob', $asks->url, \%file, { client_cert => slurp_file($bob[0]), client_key => slurp_file($bob[1]) });
	sql("INSERT INTO $_ SELECT i, 'a' FROM generate_series(1, 20) i") for qw(alice bob);
	accepted($_, 'with a client certificate') for qw(alice bob);
	is($subjects->($_), "CN=$_", "$_: that of the mapping, on every connection") for qw(alice bob);

	# the same certificate with another key is nobody, also where a connection stands
	declare('eve', $asks->url, \%file, { client_cert => { file => $alice[0] }, client_key => { file => $bob[1] } });
	refused('eve', 'client certificate|key values mismatch|private key|bad argument');

	# rotated while requests are under way: those finish as whom they began
	$crm->control({ fault => 'slow', path => '/objects/alice', ms => 3000 });
	sql("UPDATE alice SET v = 'before'");
	ok($node->poll_query_until('postgres', "SELECT in_flight > 0 FROM activate.stat_target WHERE name = 'alice'"), 'under way');
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER alice OPTIONS (SET secret " . sql_literal(json($of_files->(@bob))) . "); UPDATE alice SET v = 'after'");
	$crm->heal;
	ok(delivered($node, 'alice'), 'rotated in mid-flight');
	is(sql("SELECT count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'alice' AND r.outcome <> 'delivered'"), 0, 'nothing was cut off');
	is($subjects->('alice'), 'CN=alice CN=bob', 'first the one, then the other');
	my @requests = grep { $_->{path} =~ m{^/objects/alice/} } $asks->requests;
	is($requests[-1]{subject}, 'CN=bob', 'the last as it is now');
	same_rows($node, $crm->objects('alice'), 'TABLE alice', 'all is there');

	# a file that is gone is the target's trouble
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER bob OPTIONS (SET secret " . sql_literal(json($of_files->("$dir/gone.pem", $bob[1]))) . "); UPDATE bob SET v = 'b'");
	ok(reaches('bob', 'auth', 'could not open file'), 'the reason names the file');
	append_to_file("$dir/gone.pem", slurp_file($bob[0]));
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER bob OPTIONS (SET secret " . sql_literal(json($of_files->("$dir/gone.pem", $bob[1]))) . ")");
	accepted('bob', 'when it is there');

	# who may name a file; nothing of a key is seen anywhere
	my ($code, $out, $err) = $node->psql('postgres', "CREATE ROLE eve LOGIN IN ROLE activate_admin; GRANT CREATE ON DATABASE postgres TO eve; SET ROLE eve;
		SELECT activate_target('peek', 'rest', '{\"base_url\": \"https://localhost\", \"ca_file\": \"/etc/passwd\"}')");
	like($err, qr/ERROR:  permission denied to name a file/, 'ca_file needs the right to read it');
	my ($line) = slurp_file($bob[1]) =~ /PRIVATE KEY-----\n(\S+)/;
	unlike(sql('SELECT jsonb_agg(t)::text FROM activate.stat_target t') . sql('SELECT * FROM activate_export()') . sql("SELECT activate_preview('bob')") . slurp_file($node->logfile),
		qr/\Q$line\E/, 'no key in state, export, preview or log');
};

subtest 'through a proxy' => sub {
	my $log   = "$dir/proxy";
	my $proxy = ActivateTest::Proxy->new($log);
	my %file  = (ca_file => $ours->file);

	declare('tunnel', $front->url, { %file, proxy => $proxy->url }, { bearer => 'HUSHtokenHUSH' });
	sql("INSERT INTO tunnel SELECT i, 'a' FROM generate_series(1, 5) i");
	accepted('tunnel', 'through a tunnel');
	my @asked = ActivateTest::Proxy::asked($log);
	cmp_ok(scalar @asked, '>', 1, 'the proxy was asked');
	is(scalar(grep { $_ ne "CONNECT localhost:$front->{port}" } @asked), 0, 'for a tunnel by name, and told no secret');

	# libcurl takes these two for the same, so it is we who tell them apart
	declare('tunnel2', $front->url, { %file, proxy => $proxy->url . '/' });
	sql("INSERT INTO tunnel2 VALUES (1, 'a')");
	ok(delivered($node, 'tunnel2'), 'a second target with that proxy and host');
	is(scalar ActivateTest::Proxy::asked($log), @asked + 1, 'has a tunnel of its own');
	sql("UPDATE $_ SET v = 'b'") for qw(tunnel2 tunnel);
	ok(delivered($node, $_), 'both go on') for qw(tunnel tunnel2);

	declare('plain', $crm->url, { proxy => $proxy->url });
	sql("INSERT INTO plain SELECT i, 'a' FROM generate_series(1, 5) i");
	accepted('plain', 'by a proxy that forwards');
	is(scalar(grep { $_ =~ m{^PUT http://127.0.0.1:$crm->{port}/objects/plain/\d$} } ActivateTest::Proxy::asked($log)), 5, 'with the whole URL');

	# credentials of the proxy, and not those of another target
	my $strict = ActivateTest::Proxy->new("$dir/strict", user => 'me:HUSHproxyHUSH');
	declare('known', $front->url, { %file, proxy => $strict->url }, { proxy => 'me:HUSHproxyHUSH' });
	sql("INSERT INTO known SELECT i, 'a' FROM generate_series(1, 5) i");
	accepted('known', 'with credentials');
	declare('unknown', $front->url, { %file, proxy => $strict->url });
	refused('unknown', 'status 407');
	declare('guess', $front->url, { %file, proxy => $strict->url }, { proxy => 'me:wrong' });
	refused('guess', 'status 407');
	sql("UPDATE known SET v = 'b'");
	accepted('known', 'once more');

	# its failures are outages
	my $busy = ActivateTest::Proxy->new("$dir/busy", status => '503 busy');
	declare('busy', $front->url, { %file, proxy => $busy->url });
	refused('busy', 'status 503');
	my $gone = $busy->url;
	undef $busy;
	declare('gone', $front->url, { %file, proxy => $gone });
	refused('gone', 'through proxy 127.0.0.1');
	sql("ALTER SERVER gone OPTIONS (DROP proxy)");
	accepted('gone', 'directly');

	# who may be asked for, and who asked
	my $refusal = sub {
		my ($options) = @_;
		my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT activate_target('no', 'rest', '" . json({ objects => {}, %$options }) . "')");

		return $err;
	};
	like($refusal->({ base_url => 'https://localhost', proxy => 'http://10.0.0.1:3128' }), qr/AC002: proxy "10.0.0.1" may not be contacted/, 'the proxy must be allowed');
	like($refusal->({ base_url => 'https://example.com', proxy => $proxy->url }), qr/AC002: host "example.com" may not be contacted: a proxy looks up/, 'and the host, by name');
	sql("ALTER SYSTEM SET activate.allowed_hosts = '127.0.0.1/32, *.example.com'; SELECT pg_reload_conf()");
	ok($node->poll_query_until('postgres', "SELECT current_setting('activate.allowed_hosts') ~ 'example'"), 'another list');
	like($refusal->({ base_url => 'https://www.example.com', proxy => $proxy->url }), qr/AC002: host "www.example.com" .*a proxy looks up/, 'a suffix will not do');
	my $before = scalar ActivateTest::Proxy::asked($log);
	sql("UPDATE tunnel SET v = 'c'");
	ok(reaches('tunnel', 'down', 'a proxy looks up'), 'a host that was taken off the list');
	like(read_error('tunnel'), qr/AC002: .*a proxy looks up/, 'reading');
	is(scalar ActivateTest::Proxy::asked($log), $before, 'the proxy is not even asked');
	sql("ALTER SYSTEM RESET activate.allowed_hosts; SELECT pg_reload_conf()");
	accepted('tunnel', 'back on the list');

	unlike(sql('SELECT jsonb_agg(t)::text FROM activate.stat_target t') . slurp_file($node->logfile), qr/HUSH/, 'no secret in states or log');
};

subtest 'packed' => sub {
	my $bodies = "$dir/bodies";
	my $raw    = ActivateTest::Raw->new(
		sub {
			my ($socket, $head, $body) = @_;

			if ($head =~ /^GET/)
			{
				my $answer = $head =~ /^accept-encoding: gzip/mi ? Compress::Zlib::memGzip('[{"id": 1, "v": "packed"}]') : '[]';
				return ActivateTest::Raw::reply($socket, '200 OK', $answer, 'Content-Type: application/json', 'Content-Encoding: gzip');
			}
			my $packed = $head =~ /^content-encoding: gzip/mi;
			my $text = $packed ? Compress::Zlib::memGunzip($body) : $body;

			append_to_file($bodies, ($packed ? 'gzip ' : 'plain ') . length($body) . " $text\n");
			return ActivateTest::Raw::reply($socket, '200 OK', '{}', 'Content-Type: application/json');
		});
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_target('packed', 'webhook', '{\"url\": \"" . $raw->url . "\", \"compress\": \"gzip\", \"batch\": 100}')");

	plan skip_all => 'built without zlib' if $err =~ /not supported by this build/;
	sql("CREATE TABLE packed (id int PRIMARY KEY, v text); SELECT activate_sync('packed', 'packed', 'packed.change', capture => 'trigger');
		INSERT INTO packed SELECT i, 'the same again, umlaut ü' FROM generate_series(1, 100) i");
	like(sql("SELECT headers::text || body FROM activate_preview('packed')"), qr/"Content-Encoding": "gzip".*\{"changes": \[.*the same again/s, 'preview: the header, and the body as it is');
	ok(delivered($node, 'packed'), 'gzip');
	my ($line) = split /\n/, slurp_file($bodies);
	my ($how, $length, $text) = split / /, $line, 3;
	is($how, 'gzip', 'a body comes packed');
	is(scalar @{ JSON::PP::decode_json($text)->{changes} }, 100, 'and is what it was');
	cmp_ok($length * 5, '<', length $text, 'in a fifth of the bytes');
	sql("SELECT activate_target('little', 'webhook', '{\"url\": \"" . $raw->url . "\", \"compress\": \"gzip\", \"format\": \"row\"}');
		SELECT activate_sync('little', 'SELECT 1 AS id', 'little.change', key => 'id'); SELECT activate_run('little')");
	ok(delivered($node, 'little'), 'a few bytes');
	is((split /\n/, slurp_file($bodies))[-1], 'plain 9 {"id": 1}', 'are sent as they are');

	declare('unpack', $raw->url, {});
	is(sql('SELECT v FROM unpack.things'), 'packed', 'an answer is asked for and read in gzip');
};

$node->stop('fast');
done_testing();
