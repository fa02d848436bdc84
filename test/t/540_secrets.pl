# Secrets: SEMANTICS 15.  They are in the user mapping (or in a file that it names) and nowhere else.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('secrets', conf => "log_min_messages = debug1\nlog_min_error_statement = panic\nactivate.max_attempts = 2");
my %secret = map { $_ => "HUSH${_}HUSH" } qw(bearer header query basic file wrong);

# not in the statement log, which is PostgreSQL's: statements that hold a secret are not shown here
sub sql { return $node->safe_psql('postgres', $_[0]); }

sub target
{
	my ($name, $secret, $path) = @_;
	my $url = $crm->url($path // "/hook/$name");

	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}', '$secret');
		CREATE TABLE IF NOT EXISTS $name (id int PRIMARY KEY, v text); SELECT activate_sync('$name', '$name', '$name.change', capture => 'trigger')");
}

# Which secrets does this text show?
sub shown
{
	my ($text) = @_;
	my %found = map { $_ => 1 } $text =~ /HUSH(\w+?)HUSH/g;
	return join(' ', sort keys %found);
}

target('bearer', "{\"bearer\": \"$secret{bearer}\"}");
target('header', "{\"header\": {\"X-Api-Key\": \"$secret{header}\"}}");
target('query',  "{\"query\": {\"key\": \"$secret{query}\"}}");
target('basic',  "{\"basic\": \"user:$secret{basic}\"}");

# they are sent
sql("INSERT INTO $_ VALUES (1, 'a')") for qw(bearer header query basic);
ok(delivered($node), 'delivered');
for my $name (qw(bearer header query basic))
{
	my ($request) = @{ $crm->log("/hook/$name") };
	my $value = $name eq 'query' ? $request->{query} : $request->{headers}{ $name eq 'header' ? 'x-api-key' : 'authorization' };
	ok($value, "$name: the request carries it");
}
is($crm->log('/hook/query')->[0]{query}, "key=$secret{query}", 'in the query as it is');

# ... also when all goes wrong, and the API quotes them
$crm->control({ fault => 'status', path => "/hook/$_", status => 401, body => "{\"error\": \"bad token $secret{$_}\"}" }) for qw(bearer header query basic);
sql("INSERT INTO $_ VALUES (2, 'a')") for qw(bearer header query basic);
ok($node->poll_query_until('postgres', "SELECT count(*) = 4 FROM activate.stat_target WHERE state = 'auth'"), 'refused');
is(shown(sql('SELECT jsonb_agg(t)::text FROM activate.stat_target t')), '', 'stat_target does not say what the API said of credentials');
$crm->heal;
sql("SELECT activate_target('$_', 'webhook', secret => '{\"bearer\": \"$secret{wrong}\"}')") for qw(bearer header query basic);
ok(delivered($node), 'another secret is tried at once');

# no connection, and a target that hangs up
sql("SELECT activate_target('query', 'webhook', secret => '{\"query\": {\"key\": \"$secret{query}\"}}')");
$crm->control({ fault => 'close', path => '/hook/query' });
sql("INSERT INTO query VALUES (3, 'a')");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.receipt WHERE outcome = 'ambiguous'"), 'it hangs up');
$crm->down;
sql("INSERT INTO header VALUES (3, 'a')");
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_target WHERE state = 'down'"), 'no connection');
is(shown(sql("SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE backend_type LIKE 'activate%'")), '', 'pg_stat_activity');
my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_preview('query'); SELECT activate_explain('query'); SELECT * FROM activate_export(); SELECT activate_run('query')");
is(shown("$out $err"), '', 'preview, explain and export');
like($out, qr/\*\*\*/, 'preview shows that there is one');
$crm->up;
$crm->heal;
ok(delivered($node), 'delivered');

# what the API says of a row is kept, what it says of credentials is not; so much for every table
my %tables = map { /^(.*?)\|(.*)$/s ? ($1 => $2) : () } split /\x01/, sql("SELECT string_agg(c.oid::regclass || '|' || query_to_xml('SELECT * FROM ' || c.oid::regclass, false, true, '')::text, E'\\x01')
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'activate' AND c.relkind IN ('r', 'v')");
cmp_ok(scalar keys %tables, '>', 10, 'all relations of ours');
is(shown($tables{$_}), '', "$_ holds none") for sort keys %tables;
is(shown(sql("SELECT string_agg(srvoptions::text, ' ') FROM pg_foreign_server") . sql("SELECT string_agg(ftoptions::text, ' ') FROM pg_foreign_table")), '', 'no option of server or table does');
is(shown(sql("SELECT string_agg(umoptions::text, ' ') FROM pg_user_mapping")), 'query wrong', 'the mappings do');

# other roles
sql("CREATE ROLE eve LOGIN; GRANT USAGE ON FOREIGN SERVER query TO eve; GRANT USAGE ON SCHEMA query TO eve; GRANT ALL ON ALL TABLES IN SCHEMA query TO eve");
is(shown($node->safe_psql('postgres', "SET ROLE eve; SELECT string_agg(concat(umoptions), ' ') FROM pg_user_mappings")), '', 'others do not see the mappings');
($code, $out, $err) = $node->psql('postgres', "SET ROLE eve; SELECT activate_sync('of eve', 'SELECT 1 AS id', 'query.change', key => 'id'); SELECT activate_run('of eve')");
my $requests = scalar @{ $crm->log('/hook/query') };
$node->poll_query_until('postgres', "SELECT count(*) = 0 OR bool_or(s.paused OR o.last_error IS NOT NULL) FROM activate.sync s JOIN activate.outbox o ON o.sync = s.id WHERE s.name = 'of eve'");
is(shown(join(' ', map { $_->{query} } splice(@{ $crm->log('/hook/query') }, $requests))), '', "another's mapping is not used for a role without one");

# a file: read when it is needed
my $file = $node->basedir . '/token';
append_to_file($file, "$secret{file}\n");
target('file', "{\"bearer\": {\"file\": \"$file\"}}");
sql("INSERT INTO file VALUES (1, 'a')");
ok(delivered($node, 'file'), 'from a file');
my $first = $crm->log('/hook/file')->[0]{headers}{authorization};
unlink $file;
append_to_file($file, "$secret{wrong}\n");
sql("INSERT INTO file VALUES (2, 'a')");
ok(delivered($node, 'file'), 'from the file as it is now') or diag sql('SELECT * FROM activate.stat_target');
is(shown(sql("SELECT umoptions::text FROM pg_user_mappings WHERE srvname = 'file'")), '', 'the mapping names it only');
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
is(shown(slurp_file($dump) =~ s/^CREATE USER MAPPING.*?;$//gmsr), '', 'a dump has them in its mappings only');
($code, $out, $err) = $node->psql('postgres', "GRANT activate_admin TO eve; GRANT CREATE ON DATABASE postgres TO eve; SET ROLE eve; SELECT activate_target('peek', 'webhook', '{\"url\": \"" . $crm->url . "\"}', '{\"bearer\": {\"file\": \"/etc/passwd\"}}')");
like($err, qr/ERROR:.*(permission|pg_read_server_files)/, 'a file needs the right to read it');

# refused where they would be seen
for my $bad ('{"url": "https://user:HUSHurlHUSH@example.com/"}', '{"url": "https://example.com/?api_key=HUSHurlHUSH"}', '{"url": "https://example.com/", "headers": {"X-Token": "HUSHurlHUSH"}}')
{
	($code, $out, $err) = $node->psql('postgres', "SELECT activate_target('bad', 'webhook', '$bad')");
	like($err, qr/ERROR:.*HINT:.*secret/s, 'refused with the hint "secret"');
	is(shown($err), '', 'without repeating it');
}

$node->stop('fast');
is(shown(slurp_file($node->logfile)), '', 'the log of all this shows none');
done_testing();
