# What a row's value, or a name, can do to a request: nothing but stand where it belongs.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('values');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub rejections
{
	my ($sync) = @_;
	return sql("SELECT string_agg((r.key ->> 'n') || ' ' || r.code, ', ' ORDER BY (r.key ->> 'n')::int) FROM activate.rejection r
		JOIN activate.sync s ON s.id = r.sync WHERE s.name = " . sql_literal($sync));
}

my $url = $crm->url;
sql("SELECT activate_target('api', 'rest', '{\"base_url\": \"$url\", \"headers\": {\"X-Note\": \"<{note}>\"}, \"objects\": {\"things\": {\"path\": \"/objects/things\", \"key\": \"id\",
	\"columns\": {\"id\": \"text\", \"note\": \"text\", \"q\": \"text\"}, \"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/things/{id}?q={q}&end\"}}}}}', '{\"bearer\": \"t\"}')");
sql("CREATE TABLE thing (n int PRIMARY KEY, id text, note text, q text);
	SELECT activate_sync('things', 'thing', 'api.things', map => '{\"id\": \"id\", \"note\": \"note\", \"q\": \"q\"}', key => 'n', capture => 'trigger')");

subtest 'in a path' => sub {
	my @values = ('plain', 'a/b', 'a/../../admin', 'a?x=1', 'a#b', 'a b', '%2e%2e', '%2F', 'a%00b', "a\r\nX-Evil: 1", "a\tb", "\x01", 'é😀', '+&=;', '..a', '...', '{id}', '{{', '//evil', '\\', '@evil', 'x' x 3000, '', '.', '..');
	my $n = 0;
	sql("INSERT INTO thing VALUES " . join(', ', map { '(' . $n++ . ', ' . sql_literal($_) . ", 'n', 'q')" } @values) . ", ($n, NULL, 'n', 'q')");
	ok(delivered($node, 'things'), 'delivered');
	my @log = @{ $crm->log };
	my @bare = grep { $_->{path} !~ m{^/objects/things/[A-Za-z0-9._~%-]+$} || $_->{query} ne 'q=q&end' || grep { /evil/ } keys %{ $_->{headers} } } @log;
	is(scalar @bare, 0, 'one segment each, nothing else') or diag explain \@bare;
	my %came = map { my $id = (split m{/}, $_->{path}, 4)[3]; $id =~ s/%([0-9A-F]{2})/chr hex $1/ge; $id => 1 } @log;
	is(join(' ', grep { !$came{$_} } @values[ 0 .. 21 ]), '', 'each value as it is');
	is(rejections('things'), '22 22023, 23 22023, 24 22023, 25 22023', 'empty, ".", ".." and NULL are refused');
};

subtest 'in a query and in a header' => sub {
	my @values = ('plain', 'a&b=1', 'a#b', 'a b', "a\r\nX-Evil: 1", "a\nb", "a\tb", 'é', '', '..', '/../x', "\x01", "\x7f", 'a;b', '"', 'y' x 5000);
	my ($n, $before) = (100, scalar @{ $crm->log });
	sql('INSERT INTO thing VALUES ' . join(', ', map { '(' . $n++ . ", 'q', 'n', " . sql_literal($_) . ')' } @values));
	ok(delivered($node, 'things'), 'delivered');
	my @log = splice(@{ $crm->log }, $before);
	is(join(' ', grep { $_->{query} !~ /^q=[A-Za-z0-9._~%-]*&end$/ || $_->{path} ne '/objects/things/q' } @log), '', 'one parameter each');
	is(scalar @log, scalar @values, 'each of them');
	$before += @log;

	sql('TRUNCATE activate.rejection');
	$n = 200;
	sql('INSERT INTO thing VALUES ' . join(', ', map { '(' . $n++ . ", 'h', " . sql_literal($_) . ", 'q')" } @values) . ", ($n, 'h', NULL, 'q')");
	ok(delivered($node, 'things'), 'delivered');
	@log = splice(@{ $crm->log }, $before);
	is(join(' ', grep { $_->{headers}{'x-note'} !~ /^<.*>$/ || grep { /evil/ } keys %{ $_->{headers} } } @log), '', 'one header each');
	is(rejections('things'), '204 22023, 205 22023, 211 22023, 212 22023, 216 22023', 'line breaks, control characters and NULL are refused');
};

subtest 'in a body' => sub {
	my $all = join '', map { chr } 1 .. 127;
	my $json = JSON::PP->new->allow_nonref;
	sql("SELECT activate_target('h', 'webhook', '{\"url\": \"" . $crm->url('/hook/h') . "\"}');
		CREATE TABLE texts (id text PRIMARY KEY, v text); SELECT activate_sync('texts', 'texts', 'h.change', capture => 'trigger');
		INSERT INTO texts VALUES (" . sql_literal($all) . ", " . sql_literal("\"}, \"op\": \"delete\", \"x\": {\"") . "), ('" . ('z' x 100_000) . "', repeat('\"\\', 50000))");
	ok(delivered($node, 'texts'), 'delivered');
	same_rows($node, $crm->hook_rows('texts', 'h'), 'TABLE texts', 'every character arrives as it is');
};

subtest 'names' => sub {
	my $at = 0;
	for my $name ("it's", 'a "quoted" one', 'back\\slash', "line\nbreak", '$1 %s %1$s', '; DROP TABLE thing; --', "\$\$", 'x' x 63, 'Ünïcödé 😀', '  ', 'select', '*/', "E'\\n'")
	{
		my $ident = '"' . $name =~ s/"/""/gr . '"';
		my $lit = sql_literal($name);
		my $table = 'names.' . $ident;
		my ($key, $value) = map { '"' . substr($name, 0, 50) =~ s/"/""/gr . "$_\"" } 'k', 'v';

		sql('CREATE SCHEMA IF NOT EXISTS names') unless $at;
		sql("CREATE TABLE $table ($key int PRIMARY KEY, $value text)");
		sql("SELECT activate_target($lit, 'webhook', jsonb_build_object('url', '" . $crm->url("/hook/n$at") . "'))");
		sql("SELECT activate_sync($lit, " . sql_literal($table) . ", " . sql_literal("$ident.change") . ", capture => 'trigger', options => jsonb_build_object('where', " . sql_literal("$value <> 'no'") . "))");
		sql("INSERT INTO $table VALUES (1, $lit), (2, 'no')");
		ok(delivered($node, $name), 'delivered: ' . $name =~ s/\s/ /gr);
		my $rows = $crm->hook_rows($name, "n$at");
		utf8::downgrade($rows);
		same_rows($node, $rows, "SELECT * FROM $table WHERE $key = 1", 'its row');
		sql("SELECT activate_run($lit), activate_explain($lit), activate_retry($lit), activate_discard($lit), activate_pause($lit), activate_resume($lit), activate_pause('target:' || $lit), activate_resume('target:' || $lit); SELECT activate_preview($lit)");
		# into a table that is made for it
		sql("SELECT activate_sync($lit || ' 2', " . sql_literal($table) . ", " . sql_literal('names."' . substr($name, 0, 50) =~ s/"/""/gr . '2"') . "); SELECT activate_run($lit || ' 2')");
		$at++;
	}
	# the script of all that is a script of all that
	my $script = sql("SELECT activate_export()");
	my $count = sql("SELECT count(*) FROM activate.sync WHERE name <> 'things' AND name <> 'texts'");
	my $servers = sql("SELECT count(*) FROM pg_foreign_server");
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->safe_psql('other', 'CREATE EXTENSION activate; CREATE SCHEMA names; CREATE TABLE thing (n int PRIMARY KEY, id text, note text, q text); CREATE TABLE texts (id text PRIMARY KEY, v text)');
	my $tables = sql("SELECT string_agg(format('CREATE TABLE %s (%s)', c.oid::regclass, (SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, -1), CASE a.attnum WHEN 1 THEN ' PRIMARY KEY' END), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)), '; ')
		FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'names'::regnamespace AND c.relname NOT LIKE '%2'");
	$node->safe_psql('other', $tables);
	$node->safe_psql('other', "ALTER DATABASE other SET client_min_messages = error");
	my ($code, $out, $err) = $node->psql('other', $script);
	is($err =~ s/^.*?(NOTICE|WARNING|HINT).*?\n//gmr, '', 'the exported script runs');
	is($node->safe_psql('other', 'SELECT count(*) FROM pg_foreign_server'), $servers, 'every target is there');
};

$node->stop('fast');
done_testing();
