# Random conditions: an API that knows what it is asked for, one that does not, and a copy of the rows give the same.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Service;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('ask');
my $seed = $ENV{ASK_SEED} || 1;

srand $seed;
note "ASK_SEED=$seed";
@ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);

sub one_of { return $_[ rand @_ ]; }

# ---- rows; some members are null or missing ----

my @words = ('open', 'closed', 'a b', 'x,y', "it's", "%&=+", 'Open', '0', 'true');
for my $id (1 .. 40)
{
	my %row = (id => $id, status => one_of(@words), amount => int(rand 40) / 4, ratio => int(rand 40) / 10, hot => one_of(JSON::PP::true, JSON::PP::false),
		day => sprintf('2026-%02d-%02d', 1 + rand 3, 1 + rand 28), at => sprintf('2026-01-%02dT%02d:00:%02dZ', 1 + rand 5, rand 24, rand 60), sec => 1767225600 + int(rand 600000) / 2);
	for my $name (grep { $_ ne 'id' && rand() < 0.1 } keys %row) { rand() < 0.5 ? delete $row{$name} : ($row{$name} = undef) }
	$crm->call('POST', '/objects/things', \%row);
}

my %columns = (id => 'bigint', status => 'text', amount => 'numeric', ratio => 'double precision', hot => 'boolean', day => 'date', at => 'timestamptz', sec => { type => 'timestamptz', date => 'unix' });
sub filters
{
	my ($name) = @_;
	my %all = map { my $c = $_; $c => { map { $_ => $name->($_, $c) } $c eq 'hot' ? 'eq' : $c =~ /^(at|sec|ratio)$/ ? qw(ge gt le lt) : $c eq 'status' ? qw(eq in) : qw(eq in ge gt le lt) } } keys %columns;

	$all{id}{in} = { param => $name->('any', 'id'), repeat => JSON::PP::true, most => 3 };
	delete $all{amount}{$_} for qw(eq gt lt);
	return \%all;
}
my %objects = (
	knows   => { filter => filters(sub { "$_[0].$_[1]" }), limit => 'per_page', page => { style => 'page', size => 7, first => 1 } },
	ignores => { filter => filters(sub { "$_[0]_$_[1]" }), limit => 'most', page => { style => 'offset', size => 9 } },
	plain   => { page => { style => 'cursor', param => 'cursor', next => 'paging.next' } });
my %options = (base_url => $crm->url, objects => { map { $_ => { path => '/objects/things', columns => \%columns, read => { records => 'data', %{ $objects{$_} } } } } keys %objects });

my $s = ActivateTest::Session->new('postgres');
$s->run("SET client_encoding = 'UTF8'; CREATE EXTENSION IF NOT EXISTS activate; SELECT activate_target('api', 'rest', " . sql_literal(JSON::PP->new->ascii->encode(\%options)) . ');
	CREATE TABLE copy AS SELECT * FROM api.plain; CREATE TABLE v AS SELECT g::bigint AS id, (ARRAY[\'open\', \'x,y\', NULL])[g % 3 + 1] AS status FROM generate_series(5, 12) g; ANALYZE api.plain, api.knows, copy, v');
is($s->run('SELECT count(*) FROM copy'), 40, 'a copy of all');

# ---- conditions ----

sub literal
{
	my ($column) = @_;

	return one_of(1 .. 42) if $column eq 'id';
	return sql_literal(one_of(@words, '', 'none')) if $column eq 'status';
	return one_of(int(rand 40) / 4, '2.500', "'NaN'::numeric") if $column eq 'amount';
	return one_of(int(rand 40) / 10, "'Infinity'::float8") . '::float8' if $column eq 'ratio';
	return one_of(sprintf("'2026-%02d-%02d'::date", 1 + rand 3, 1 + rand 28), "'infinity'::date") if $column eq 'day';
	return one_of(sprintf("'2026-01-%02d %02d:00:%02d+00'::timestamptz", 1 + rand 5, rand 24, rand 60), "'-infinity'::timestamptz") if $column eq 'at';
	return sprintf("to_timestamp(%.1f)", 1767225600 + int(rand 6000000) / 20);
}

sub condition
{
	my $column = one_of(grep { $_ ne 'hot' } keys %columns);
	my $op = one_of('=', '=', '<', '<=', '>', '>=', '<>');

	return one_of('d.hot', 'NOT d.hot', 'd.hot = true', 'd.hot IS NULL', 'd.hot IS NOT TRUE') if rand() < 0.1;
	return "(d.$column IS NULL OR d.$column $op " . literal($column) . ')' if rand() < 0.1;
	return "d.$column = ANY (ARRAY[" . join(', ', map { rand() < 0.1 ? 'NULL::' . (ref $columns{$column} ? 'timestamptz' : $columns{$column}) : literal($column) } 1 .. 1 + rand 6) . '])' if rand() < 0.25;
	return "d.$column BETWEEN " . literal($column) . ' AND ' . literal($column) if rand() < 0.1;
	return "d.$column $op (SELECT " . literal($column) . ')' if rand() < 0.1;
	return rand() < 0.2 ? literal($column) . " $op d.$column" : "d.$column $op " . literal($column);
}

my @differ;
for my $round (1 .. 250)
{
	my $where = join ' AND ', map { condition() } 1 .. 1 + rand 3;
	my $query = one_of(
		("SELECT string_agg(d.id::text, ' ' ORDER BY d.id) FROM %s d WHERE $where") x 4,
		"SELECT string_agg(d.id::text, ' ' ORDER BY d.id) FROM %s d JOIN v ON v.id = d.id WHERE $where",
		"SELECT string_agg(d.id || ' ' || v.id, ',' ORDER BY d.id, v.id) FROM v LEFT JOIN %s d ON d.status = v.status AND $where",
		"SELECT string_agg(v.id || ' ' || (SELECT count(*) FROM %s d WHERE d.id > v.id AND $where), ',' ORDER BY v.id) FROM v",
		'SELECT count(*) FROM (SELECT FROM %s d OFFSET ' . int(rand 3) . ' LIMIT ' . int(rand 30) . ') one',
		"SELECT count(*) FROM (SELECT FROM %s d WHERE $where LIMIT " . (1 + int rand 5) . ') one',
		"SELECT string_agg(id::text, ' ') FROM (SELECT id FROM %s d WHERE $where ORDER BY id DESC LIMIT 3) one");
	my $settings = one_of('SET enable_hashjoin = off; SET enable_mergejoin = off', 'RESET enable_hashjoin; RESET enable_mergejoin', "SET TimeZone = 'Asia/Kolkata'", "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'", 'SET extra_float_digits = 0');
	my ($want, @got) = map { $s->run("$settings; " . sprintf($query, $_)) } 'copy', 'api.knows', 'api.ignores';

	for my $i (0, 1) { push @differ, ('knows', 'ignores')[$i] . " has $got[$i], not $want: $query" if $got[$i] ne $want }
}
is(join("\n", @differ), '', 'the same rows whatever the API makes of it') or diag "ASK_SEED=$seed";

# ---- partitions, whose children are asked one by one ----

$s->run("CREATE TABLE parts (id bigint, status text) PARTITION BY LIST (status);
	CREATE FOREIGN TABLE part_open PARTITION OF parts FOR VALUES IN ('open') SERVER api OPTIONS (object 'knows');
	CREATE TABLE part_rest PARTITION OF parts DEFAULT");
is($s->run("SELECT string_agg(p.id::text, ' ' ORDER BY p.id) FROM parts p JOIN v ON v.id = p.id WHERE p.status = 'open'"),
	$s->run("SELECT string_agg(p.id::text, ' ' ORDER BY p.id) FROM copy p JOIN v ON v.id = p.id WHERE p.status = 'open'"), 'a partition');

$s->close;
done_testing();
