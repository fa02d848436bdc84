# SEMANTICS 15, swept: every form of secret, against an API that quotes what it was sent wherever it can, and
# every way a call can fail; then everything that the server keeps or says is searched.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Raw;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

# What the API got of the secret: it says so in its status line, in headers and in its body.
my %ways = (
	ok           => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', '{}', "X-Echo: $echo") },
	unauthorized => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, "401 $echo", "{\"error\": \"bad token $echo\"}", "WWW-Authenticate: $echo") },
	forbidden    => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '403 No', "{\"message\": \"$echo\"}") },
	refused      => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, "422 $echo", "{\"message\": \"not with $echo, thrice $echo$echo\"}") },
	failing      => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '500 Oh', "{\"error\": {\"message\": \"$echo\"}}") },
	throttled    => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, "429 $echo", "{\"detail\": \"$echo\"}", 'Retry-After: 100') },
	results      => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"results\": [{\"status\": 409, \"error\": \"$echo\"}]}") },
	strange      => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"results\": \"$echo\"}") },
	malformed    => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"$echo\": $echo") },
	page         => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "<html>$echo", "Content-Type: text/$echo") },
	redirect     => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '307 Away', '', "Location: http://127.0.0.1/$echo?t=$echo") },
	next_page    => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"data\": [], \"next\": \"http://example.org/$echo?t=$echo\"}") },
	cursor       => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"data\": [], \"next\": \"$echo\"}") },
	encoded      => sub { my ($socket, $echo) = @_; my $query = $echo =~ s/([^\w .:%-])/sprintf '%%%02X', ord $1/ger; ActivateTest::Raw::reply($socket, '422 No', "{\"error\": \"$query\"}") },
	value        => sub { my ($socket, $echo) = @_; ActivateTest::Raw::reply($socket, '200 OK', "{\"data\": [{\"id\": \"$echo\"}]}") },
	cut_off      => sub { my ($socket, $echo) = @_; print $socket "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Echo: $echo\r\n\r\n$echo" },
	no_http      => sub { my ($socket, $echo) = @_; print $socket "$echo $echo $echo\r\n\r\n$echo" },
	bad_header   => sub { my ($socket, $echo) = @_; print $socket "HTTP/1.1 200 OK\r\n$echo\0$echo\r\n: $echo\r\n\r\n" });
my $raw = ActivateTest::Raw->new(
	sub {
		my ($socket, $head, $body) = @_;
		my @echoes = ($head =~ /^(?:Authorization|X-Api-Key): (.*?)\r?$/mg, $head =~ /^\w+ \S*?[?&]sig=(\S*)/);
		my ($way) = $head =~ m{^\w+ /(\w+)};

		s/%([0-9A-F]{2})/chr hex $1/ge, push @echoes, $_ for map { my $copy = $_; $copy } grep { /%/ } @echoes;
		push @echoes, map { my $plain = decode_base64($_); $plain, (split /:/, $plain)[1] } map { /^Basic (.*)/ ? $1 : () } @echoes;
		push @echoes, map { (split / /)[1] // () } @echoes;
		$ways{$way}->($socket, join(' ', @echoes));
	});

my $node = activate_node('sweep', conf => "shared_preload_libraries = 'activate, pg_stat_statements'
	pg_stat_statements.track = all
	log_min_messages = debug5
	log_min_error_statement = panic
	activate.max_attempts = 2
	activate.retry_backoff_max = '100ms'");
my $file   = $node->basedir . '/token';
my %secret = (
	bearer => 'HUSH+bearer/HUSH=',
	basic  => 'user:HUSH+basic/HUSH',
	header => 'HUSHheaderHUSH',
	query  => 'HUSH/query+HUSH',
	file   => 'HUSHfileHUSH');
my %given = (
	bearer => "{\"bearer\": \"$secret{bearer}\"}",
	basic  => "{\"basic\": \"$secret{basic}\"}",
	header => "{\"header\": {\"X-Api-Key\": \"$secret{header}\"}}",
	query  => "{\"query\": {\"sig\": \"$secret{query}\"}}",
	file   => "{\"bearer\": {\"file\": \"$file\"}}");
my @needles = ('HUSH', substr(encode_base64($secret{basic}, ''), 0, 20));

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Where in a text is a secret, if at all?
sub shown
{
	my ($text) = @_;
	my ($needle) = grep { index($text, $_) >= 0 } @needles;

	return defined $needle ? substr($text, index($text, $needle) - (index($text, $needle) < 60 ? index($text, $needle) : 60), 120) : '';
}

append_to_file($file, $secret{file});
sql('CREATE EXTENSION pg_stat_statements; CREATE TABLE item (id int PRIMARY KEY)');

# TLS where there is none, and nobody at all, beside what the API does
my %urls = (%{ { map { $_ => $raw->url("/$_") } keys %ways } }, no_tls => "https://127.0.0.1:$raw->{port}/ok", nobody => 'http://127.0.0.1:1/ok');
my $script = '';
for my $form (sort keys %given)
{
	for my $way (sort keys %urls)
	{
		my $page = $way eq 'cursor' ? '"style": "cursor", "param": "cursor"' : '"style": "next_url"';

		$script .= "SELECT activate_target('${form}_$way', 'webhook', '{\"url\": \"$urls{$way}\"}', '$given{$form}');
			SELECT activate_target('read_${form}_$way', 'rest', '{\"base_url\": \"$urls{$way}\", \"objects\": {\"things\": {\"path\": \"/\", \"key\": \"id\",
				\"columns\": {\"id\": \"bigint\"}, \"read\": {\"page\": {$page, \"next\": \"next\"}}}}}', '$given{$form}');
			SELECT activate_sync('${form} $way', 'item', '${form}_$way.change', capture => 'trigger');\n";
	}
}
sql($script);
sql('INSERT INTO item VALUES (1)');

# each has an end, or its target has one
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.sync s JOIN activate.outbox o ON o.sync = s.id
	WHERE NOT EXISTS (SELECT FROM activate.stat_target t WHERE t.state <> 'up' AND s.target LIKE '%' || t.name || '.change')"), 'all calls went wrong, or well')
  or diag sql("SELECT s.name, o.last_error, t.state FROM activate.sync s JOIN activate.outbox o ON o.sync = s.id LEFT JOIN activate.stat_target t ON s.target = t.name || '.change'");
is(sql("SELECT string_agg(DISTINCT split_part(name, ' ', 2), ' ' ORDER BY split_part(name, ' ', 2)) FROM activate.sync s JOIN activate.receipt r ON r.sync = s.id WHERE r.outcome = 'rejected'"),
	'bad_header cut_off encoded failing malformed no_http redirect refused results strange', 'rejected');
is(sql("SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM activate.stat_target"), 'auth down throttled up', 'states of targets');
like(sql("SELECT reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'bearer refused'"),
	qr/^not with Bearer \*\*\* \*\*\*, thrice/, 'what the API says is kept, but for the secret');

# the same by reading
my ($answers, $wrong) = ('', 0);
for my $form (sort keys %given)
{
	for my $way (sort keys %urls)
	{
		my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET statement_timeout = '20s'; SELECT * FROM read_${form}_$way.things");
		$answers .= "$out\n$err\n";
		$wrong++ if $err =~ /ERROR:  AC00/;
	}
}
cmp_ok($wrong, '>', 60, 'reads that fail');
is(shown($answers), '', 'no error of a read shows a secret');

# everything that has something to say
my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose
	SELECT p.* FROM activate.sync s, activate_preview(s.name) p; SELECT activate_explain(name) FROM activate.sync; SELECT activate_export();
	EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM read_query_ok.things; EXPLAIN VERBOSE INSERT INTO bearer_ok.change VALUES ('{}')");
is(shown("$out $err"), '', 'preview, explain, export, EXPLAIN');
for my $bad ('{"bearer": ["HUSHbadHUSH"]}', '{"bearer": "HUSHbad\tHUSH"}', '{"basic": "HUSHbadHUSH"}', '{"token": "HUSHbadHUSH"}', '{"header": {"bad name": "HUSHbadHUSH"}}',
	'{"header": {"Host": "HUSHbadHUSH"}}', '"HUSHbadHUSH"', '{"bearer": "HUSHbadHUSH", "basic": "a:HUSHbadHUSH"}', '{"bearer": {"file": "HUSHbadHUSH"}}')
{
	($code, $out, $err) = $node->psql('postgres', "SELECT activate_target('bad', 'webhook', '{\"url\": \"http://127.0.0.1/\"}', '$bad')");
	like($err, qr/ERROR:  invalid secret/, "refused: " . $bad =~ s/HUSH\w*//gr);
	is(shown($err), '', 'without repeating it');
}

# whatever can be read, by the one who may read everything; views of the mapping are the mapping, and so are the
# statistics of it that autovacuum gathers
sql("SET allow_system_table_mods = on; DELETE FROM pg_statistic WHERE starelid = 'pg_user_mapping'::regclass; ALTER TABLE pg_user_mapping SET (autovacuum_enabled = off)");
my $relations = sql("SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'v', 'm', 'p') AND n.nspname IN ('pg_catalog', 'information_schema', 'activate', 'public')
	AND c.relname NOT IN ('pg_user_mapping', 'pg_user_mappings', '_pg_user_mappings', 'user_mapping_options')");
my @relations = split / /, $relations;
cmp_ok(scalar @relations, '>', 150, 'relations');
my $dump = sql(join(' ', map { "\\echo \x01$_\nSELECT t::text FROM $_ t;" } grep { !/pg_stat_statements_reset/ } @relations));
my @found = map { /^(\S+)\n(.*)/s && shown($2) ? "$1: " . shown($2) : () } split /\x01/, $dump;
is(join("\n", @found), '', 'no relation holds one');
like($dump, qr/activate_target\(\$1/, 'pg_stat_statements has seen the statements that gave them');
is(sql("SELECT count(*) FROM pg_user_mapping WHERE array_to_string(umoptions, ' ') LIKE '%HUSH%'"), 2 * 4 * keys(%urls), 'but the mappings, but for files');

$node->stop('fast');
my $log = slurp_file($node->logfile);
cmp_ok(length $log, '>', 100_000, 'the log has much to tell');
is(shown($log), '', 'and no secret');
done_testing();
