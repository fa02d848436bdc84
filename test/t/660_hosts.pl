# Where requests may go (activate.allowed_hosts), for one who writes URLs to get where she may not: names and
# numbers of this machine and its neighbours in every spelling, names that lead somewhere else, redirects, pages.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('hosts');
my $port = $crm->{port};

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub allow
{
	my ($hosts) = @_;

	sql("ALTER SYSTEM SET activate.allowed_hosts = '$hosts'");
	$node->reload;
	return $node->poll_query_until('postgres', "SELECT current_setting('activate.allowed_hosts') = '$hosts'");
}

# An API of that base_url is declared, and read; what the first that refuses says.
sub refusal
{
	my ($url) = @_;
	my $script = "\\set VERBOSITY verbose
		SELECT activate_target('api', 'rest', \$\${\"base_url\": \"$url\", \"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\"}}}}\$\$);
		SELECT count(*) FROM api.things;
		DROP SERVER api CASCADE; DROP SCHEMA api CASCADE;\n";
	my ($code, $out, $err) = $node->psql('postgres', $script);

	sql('DROP SERVER IF EXISTS api CASCADE; DROP SCHEMA IF EXISTS api CASCADE') if $err =~ /ERROR/;
	return $err =~ /^.*?ERROR:  (\S+?): (.*)/m ? "$1 $2" : '';
}

subtest 'as it comes: any public host by https' => sub {
	allow('');
	for my $host (
		# loopback, private, link-local, reserved
		qw(127.0.0.1 127.255.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0 192.0.0.1 198.18.0.1 224.0.0.1 255.255.255.255),
		# ... as curl and inet_aton read numbers
		qw(127.1 2130706433 0x7f000001 0x7F.0.0.1 0177.0.0.1 017700000001 10.1 0xa9fea9fe 2852039166 0), '127.0.0.1.',
		# IPv6, and IPv4 in it
		qw([::1] [::] [fe80::1] [fc00::1] [fd12:3456::1] [ff02::1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:a9fe:a9fe] [::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1] [2002:7f00:1::] [2002:a00:1::1] [2001:db8::1] [::ffff:0:7f00:1]),
		# by name
		qw(localhost LOCALHOST LocalHost. localhost. x.localhost localhost:443))
	{
		like(refusal("https://$host/"), qr/^AC002 /, "host $host");
	}

	# what only the connection finds out: curl knows these names, and an international one is another in the end
	like(refusal("https://$_:$port"), qr/^AC00[12] .*(loopback|could not resolve)/, "$_, seen when connecting") for ("ｌｏｃａｌｈｏｓｔ");
	# what ends in a number is an address that we can read, or nothing; newer versions of libcurl read more of them, or refuse themselves
	like(refusal("https://$_:$port"), qr/^(?:22023 .*(?:neither a name nor an address|Bad hostname)|AC002 host "127\.0\.0\.1" .*loopback)/, "$_ is no host") for ("１２７.0.0.1", "①②⑦.0.0.1", '0x7f.1.', '127.0.0.1..', '1.2.3.4.5');

	like(refusal('http://example.com/'), qr/^AC002 .*plain http/, 'plain http');
	like(refusal("https://$_/"), qr/^(22023|AC002) /, "confused: $_")
	  for ('example.com@127.0.0.1', 'user:pw@example.com', '127.0.0.1#@example.com', '127.0.0.1?@example.com', 'example.com\\\\@127.0.0.1', 'example.com:80@127.0.0.1', ' 127.0.0.1', '127.0.0.1%20', '127.0.0.1\\t', '[::1%25lo]');
	like(refusal($_), qr/^22023 /, "scheme: $_") for ('file:///etc/passwd', 'gopher://127.0.0.1/', 'ftp://127.0.0.1/', 'dict://127.0.0.1/', '//127.0.0.1/', 'HTTP:127.0.0.1');
};

subtest 'a name that may be contacted, and an address that may not' => sub {
	allow('*.localhost');
	like(refusal("http://rebound.localhost:$port"), qr/^AC002 .*loopback/, 'the address is checked when connecting');
	like(refusal("http://localhost:$port"), qr/^AC002 .*not in activate.allowed_hosts/, 'the suffix is no name of its own');
	is(scalar @{ $crm->log }, 0, 'nothing has arrived');
	allow('*.localhost, 127.0.0.0/8');
	is(refusal("http://rebound.localhost:$port"), '', 'with the range as well: it is read');
	allow("127.0.0.1:$port");
	is(refusal("http://127.0.0.1:$port"), '', 'an address and its port');
	like(refusal("http://127.0.0.1:1"), qr/^AC002 /, 'another port');
	like(refusal("http://[::ffff:127.0.0.1]:1"), qr/^AC002 /, 'mapped, another port');
	allow("LocalHost.:$port");
	is(refusal("http://$_:$port"), '', "$_ is the name that was given") for qw(localhost LOCALHOST);
	unlike(refusal("http://localhost.:$port"), qr/AC002/, 'so it is with a dot at its end, if it resolves');
	like(refusal("http://127.0.0.1:$port"), qr/^AC002 /, 'its address was not');
};

subtest 'an entry that says something else than it seems' => sub {
	for my $entry (qw(0x7f000001 127.1 2130706433 10.0.0.0/33 1.2.3.4/ * *.*.com exa_mple..com http://example.com example.com/path [::1 user@example.com), 'a b')
	{
		my ($code, $out, $err) = $node->psql('postgres', "SET activate.allowed_hosts = '$entry'");
		like($err, qr/ERROR: .*allowed_hosts/, "$entry is refused");
	}
	my ($code, $out, $err) = $node->psql('postgres', "CREATE ROLE eve; SET ROLE eve; SET activate.allowed_hosts = '127.0.0.1'");
	like($err, qr/permission denied/, 'not for everybody to set');
};

subtest 'an API that sends us elsewhere' => sub {
	allow("127.0.0.1:$port");
	my $other = ActivateTest::Service->new;
	my $elsewhere = $other->url('/objects/things');
	sql("SELECT activate_target('api', 'rest', '{\"base_url\": \"" . $crm->url . "\", \"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\", \"columns\": {\"id\": \"bigint\"},
		\"read\": {\"records\": \"data\", \"page\": {\"style\": \"next_url\", \"next\": \"next\"}},
		\"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/things/{id}\"}}}}}', '{\"bearer\": \"t\"}');
		CREATE TABLE thing (id bigint PRIMARY KEY); SELECT activate_sync('things', 'thing', 'api.things', capture => 'trigger')");
	for my $where ($elsewhere, 'http://169.254.169.254/latest', "http://127.0.0.1:$port\@127.0.0.1:$other->{port}/", "//127.0.0.1:$other->{port}/", "https://127.0.0.1:$port/", "http://localhost:$port/")
	{
		$crm->control({ fault => 'status', status => 200, path => '/objects', body => "{\"data\": [], \"next\": \"$where\"}", count => 1 });
		my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(*) FROM api.things");
		like($err, qr/ERROR:  AC003: .*origin/, "next page at $where");
	}
	$crm->control({ fault => 'redirect', location => $elsewhere });
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(*) FROM api.things");
	like($err, qr/ERROR:  AC004: .*status 307.*Redirects are not followed/s, 'a read that is redirected');
	sql('INSERT INTO thing VALUES (1)');
	ok(delivered($node, 'things'), 'a write that is redirected');
	is(sql('SELECT code FROM activate.rejection'), '307', 'is rejected');
	is(scalar @{ $other->log }, 0, 'nobody was there');
};

subtest 'the list is obeyed while it changes' => sub {
	$crm->heal;
	sql('UPDATE thing SET id = 2');
	ok(delivered($node, 'things'), 'a connection is kept open');
	my $requests = scalar @{ $crm->log };
	allow('example.com');
	sql('INSERT INTO thing VALUES (3)');
	ok($node->poll_query_until('postgres', "SELECT state = 'down' AND reason ~ 'may not be contacted' FROM activate.stat_target"), 'the host was taken off the list');
	is(scalar @{ $crm->log }, $requests, 'nothing is sent any more');
	is(pending($node, 'things'), 1, 'it waits');
	allow("127.0.0.1:$port");
	ok(delivered($node, 'things'), 'until it is on the list again');
};

$node->stop('fast');
done_testing();
