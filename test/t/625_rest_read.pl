# Pages as a query reads them against the same text as jsonb: random documents, values of every
# kind in every form, and documents that are broken somewhere.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Service;
use ActivateTest::Session;
use Encode ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('read');
my $seed = $ENV{READ_SEED} || 1;

srand $seed;
note "READ_SEED=$seed";
@ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);

sub one_of { return $_[ rand @_ ]; }
sub some   { my ($most, $code) = @_; return map { $code->() } 1 .. rand($most + 1); }

# ---- JSON text; strings are of characters, encoded at the end ----

sub blank { return rand() < 0.1 ? one_of(' ', "\n", "\t ", "\r\n") : ''; }

sub string
{
	return '"' . join('', some(5, sub {
		one_of('a', 'Zz 09', ' ', "\x{e9}", "\x{4e2d}", "\x{1f600}", '\n', '\t', '\"', '\\\\', '\/', '\b\f\r', '\u0041', '\u00e9', '\u4e2d',
			'\ud83d\ude00', '{', ']', ',', ':', '"' x 0, "\x7f", 'x' x 40) })) . '"';
}

sub number
{
	return one_of(0, 7, -1, '-0', '-0.0', '0.10', '12.500', '1e2', '1E+2', '-2.5e-3', '10.0e0', '1e-7', '123456789012345678901234567890.12345', '0e5', '1e30', '-0e1',
		int(rand(1e9)), sprintf('%.5f', rand(1000) - 500), '1' . '0' x 1010);
}

sub value
{
	my ($depth) = @_;

	return one_of('null', 'true', 'false', number(), string()) if $depth == 0 || rand() < 0.5;
	return '[' . blank() . join(',', some(3, sub { blank() . value($depth - 1) . blank() })) . ']' if rand() < 0.5;
	return object(some(3, sub { [ one_of('a', 'b', 'a.b', '0', "\x{e9}", ''), value($depth - 1) ] }));
}

sub name
{
	my ($name) = @_;

	# the same name by an escape
	$name =~ s/^(\w)/sprintf '\\u%04x', ord $1/e if rand() < 0.1;
	return "\"$name\"";
}

sub object { return '{' . join(',', map { blank() . name($_->[0]) . blank() . ':' . blank() . $_->[1] . blank() } @_) . blank() . '}'; }

# ---- columns: type, where it is not the member of that name: path, what it may hold, what jsonb makes of it (r: the record) ----

my $any = sub { value(3) };
my $plain = "(r ->> '%s')::%s";
my @columns = (
	[ t => 'text', $any ],
	[ j => 'jsonb', $any, "NULLIF(r -> 'j', 'null')" ],
	[ js => 'json', $any, "NULLIF(r -> 'js', 'null')::text::json" ],
	[ v => 'varchar', $any ],
	[ v5 => 'varchar(5)', sub { one_of('"abc"', '"\u0041bcde"', 12345, 'null', '"abc    "', 'true') } ],
	[ c3 => 'char(3)', sub { one_of('"abc"', '"a"', 1, '""') } ],
	[ n => 'numeric', sub { one_of(number(), number(), '"1.50"', '"NaN"', '" 7 "', 'null') } ],
	[ n2 => 'numeric(12,2)', sub { one_of(1, '12.345', '-0.005', '1e3', '"9.999"') } ],
	[ i8 => 'bigint', sub { one_of(0, -1, '9223372036854775807', '-9223372036854775808', '999999999999999999', '"42"', '" 42 "', '"4\u0032"', '1e3', '10E+2', 'null', '-0', int rand 1e12) } ],
	[ i4 => 'integer', sub { one_of(0, '2147483647', '-2147483648', '"12"', '2E9', 'null', '-17') } ],
	[ i2 => 'smallint', sub { one_of(0, 32767, -32768, '"5"', '3e4') } ],
	[ f8 => 'double precision', sub {
			one_of('0.1', '1e300', '1e-300', '123456789012345678', '-0.0', '-0', '"NaN"', '"-Infinity"', '0.30000000000000004', '1.7976931348623157e308',
				3, '5e-324', '123456.789', '99999999999999.9', '-0.000000000001', '"1e5"', sprintf('%.*f', rand 12, rand(1e6) - 5e5), sprintf('%.17g', rand)) } ],
	[ f4 => 'real', sub { one_of('0.1', '1e30', '16777217', '-0.0', '3.4028235e38') } ],
	[ b => 'boolean', sub { one_of('true', 'false', '"yes"', '"0"', '"t"', 1, 'null', '" off "') } ],
	[ d => 'date', sub {
			one_of('"2024-02-29"', '"1999-12-31"', '"0001-01-01"', '"epoch"', '"2024-2-9"', '"20240229"', '"January 8, 1999"', '"infinity"', '"2024-02-29T10:00:00Z"',
				'"0044-03-15 BC"', '"2024-\u00302-29"', 'null', sprintf('"%04d-%02d-%02d"', 1 + rand 9999, 1 + rand 12, 1 + rand 28)) } ],
	[ z => 'timestamptz', sub {
			one_of('"2024-02-29T23:59:59Z"', '"2024-02-29 23:59:60Z"', '"2024-01-01T24:00:00Z"', '"2024-01-01T00:00:00.123456Z"', '"2024-01-01T00:00:00.1234567Z"', '"2024-01-01T00:00:00.5+05:30"',
				'"2024-01-01T00:00:00-0800"', '"2024-01-01T00:00:00+14"', '"2024-01-01T00:00:00+15:59"', '"2024-07-01T12:00:00"', '"2024-07-01 12:00:00 Europe/Stockholm"', '"2024-07-01T12:00:00z"',
				'"2024-07-01T12:00Z"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999-14:59"', '"-infinity"', '"2024-07-01T12:00:00 +02:00"', '"2024-07-01T12:00:00.Z"', 'null',
				sprintf('"%04d-%02d-%02dT%02d:%02d:%02d.%0*d%s"', 1 + rand 9999, 1 + rand 12, 1 + rand 28, rand 24, rand 60, rand 60, 1 + rand 6, 0, one_of('Z', '+01:00', '-11:30'))) } ],
	[ z0 => 'timestamptz(0)', sub { one_of('"2024-02-29T23:59:59.7Z"', '"2024-02-29T23:59:59Z"') } ],
	[ ts => 'timestamp', sub { one_of('"2024-02-29T23:59:59.25"', '"2024-02-29T23:59:59+01:00"') } ],
	[ u => 'uuid', sub { one_of('"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', '"A0EEBC999C0B4EF8BB6D6BB9BD380A11"') } ],
	[ ta => 'text[]', sub { one_of('["a", "b,c", null, "\"q\" \\\\"]', '[1, 2.50, true]', '[]', '"{x,y}"', 'null') },
		"CASE jsonb_typeof(r -> 'ta') WHEN 'array' THEN ARRAY(SELECT e FROM jsonb_array_elements_text(r -> 'ta') e) ELSE (r ->> 'ta')::text[] END" ],
	[ dom => 'small', sub { one_of(1, '"9"', 'null') } ],
	[ deep => 'text', undef, "r #>> '{o,a,0}'", 'o.a.0' ],
	[ last => 'text', undef, "r #>> '{o,a,-1,b}'", 'o.a.-1.b' ],
	[ far => 'text', undef, "r #>> '{o,a,-9}'", 'o.a.-9' ],
	[ part => 'text', undef, "r #>> '{o,a}'", 'o.a' ],
	[ dotted => 'text', undef, "r #>> '{o,a.b}'", 'o."a.b"' ],
	[ whole => 'jsonb', undef, "NULLIF(r, 'null')", '' ]);

sub record
{
	my @members = map { $_->[2] && rand() < 0.9 ? [ $_->[0], $_->[2]->() ] : () } @columns;

	return one_of('null', number(), string(), '[]', '[1]') if rand() < 0.02;
	push @members, [ o => one_of(value(4), object([ a => '[' . join(', ', some(12, sub { value(2) })) . ']' ], [ 'a.b' => value(1) ], [ a => '[' . join(',', some(12, sub { object([ b => value(1) ]) })) . ']' ])) ];
	push @members, [ one_of('unknown', 'x y', "\x{e9}"), value(3) ];
	# what comes again counts, whatever it was before
	unshift @members, map { [ $_->[0], value(2) ] } grep { rand() < 0.03 } @members;
	return object(@members);
}

# ---- the page, as the service will give it; as a literal of the database's encoding ----

sub serve
{
	my ($bytes) = @_;

	$crm->heal;
	$crm->control({ fault => 'status', status => 200, path => '/page', content_type => 'application/json', body_hex => unpack('H*', $bytes) });
	return;
}

sub start_session
{
	my ($database) = @_;
	my %options = (
		base_url => $crm->url,
		objects => {
			diff => { path => '/page', read => { records => 'x.data' },
				columns => { map { $_->[0] => { type => $_->[1], readonly => JSON::PP::true, defined $_->[4] ? (path => $_->[4]) : () } } @columns } },
			list => { path => '/page', columns => { a => 'text' }, read => { records => '' } } });
	my $s = ActivateTest::Session->new($database);

	$s->run("SET client_encoding = 'UTF8'; CREATE EXTENSION IF NOT EXISTS activate; CREATE DOMAIN public.small AS int CHECK (VALUE < 10);
		SET search_path = public; SELECT activate_target('api', 'rest', \$o\$" . Encode::encode_utf8(JSON::PP->new->encode(\%options)) . "\$o\$)");
	$s->run(q{CREATE FUNCTION verdict(hex text) RETURNS text LANGUAGE plpgsql AS $$
			BEGIN
				PERFORM convert_from(decode(hex, 'hex'), 'UTF8')::jsonb;
				RETURN 'good';
			EXCEPTION WHEN data_exception THEN RETURN 'bad'; END $$;
		CREATE FUNCTION ours(query text) RETURNS text LANGUAGE plpgsql AS $$
			BEGIN
				EXECUTE query;
				RETURN 'good';
			EXCEPTION WHEN OTHERS THEN RETURN CASE WHEN SQLERRM ~ 'not valid' THEN 'bad' WHEN SQLERRM ~ 'holds? no array|has no array' THEN 'good' ELSE SQLSTATE END; END $$});
	return $s;
}

sub compare
{
	my ($s, $test, $settings) = @_;
	my $names = join ', ', map { "\"$_->[0]\"" } @columns;
	my $theirs = join ', ', map { ($_->[3] // sprintf $plain, $_->[0], $_->[1]) . " AS \"$_->[0]\"" } @columns;
	my $page = '{"x": [], ' . blank() . '"x": {"data": [' . join(', ', map { record() } 1 .. 150) . ']}, "more": ' . value(3) . '}';
	my $bytes = Encode::encode_utf8($page);
	my $differ = join ', ', map { "count(*) FILTER (WHERE a.\"$_->[0]\"::text IS DISTINCT FROM b.\"$_->[0]\"::text) AS \"$_->[0]\"" } @columns;

	serve($bytes);
	my $hex = unpack 'H*', $bytes;
	my $got = $s->run("$settings; SELECT count(*) || ' ' || coalesce((SELECT string_agg(key || ': ' || value, ', ') FROM jsonb_each(to_jsonb(verdict)) WHERE value <> '0' AND key <> 'rows'), 'none differs')
		FROM (SELECT count(*) AS rows, $differ FROM (SELECT row_number() OVER () AS nr, $names FROM api.diff) a
			FULL JOIN (SELECT nr, $theirs FROM jsonb_array_elements(convert_from(decode('$hex', 'hex'), 'UTF8')::jsonb #> '{x,data}') WITH ORDINALITY e (r, nr)) b USING (nr)) verdict
		GROUP BY verdict");
	is($got, '1 none differs', $test) or diag "READ_SEED=$seed";
	return;
}

my $s = start_session('postgres');
compare($s, "random page $_", one_of("SET TimeZone = 'Asia/Kolkata'", "SET DateStyle = 'SQL, DMY'", "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'", "SET IntervalStyle = 'postgres'"))
  for 1 .. 25;

# ---- what a type does not take, it does not take here ----

# (a number that numeric does not take is no JSON to jsonb, wanted or not)
my @bad = ([ i4 => '1.5' ], [ i4 => '1e30' ], [ i4 => '"x"' ], [ i4 => 'true' ], [ i4 => '{}' ], [ i4 => 99999999999 ], [ i4 => '1.0' ], [ i8 => '9223372036854775808' ], [ i2 => 32768 ],
	[ d => '"2023-02-29"' ], [ d => '"2023-13-01"' ], [ d => '"0000-01-01"' ], [ d => 20240101 ], [ d => '"2023-01-00"' ], [ z => '"2023-02-29T00:00:00Z"' ], [ z => '"2023-01-01T25:00:00Z"' ], [ z => '"2023-01-01T00:60:00Z"' ],
	[ z => '"2023-01-01T00:00:00+99:00"' ], [ z => '"2023-01-01T00:00:00+01:"' ], [ z => '"2023-01-01T00:00:00+01:60"' ], [ b => '"maybe"' ], [ b => 2 ], [ f8 => '1e400' ], [ f8 => '1e-400' ], [ f8 => '"x"' ], [ f8 => 'true' ],
	[ v5 => '"abcdef"' ], [ u => '"x"' ], [ dom => 10 ], [ n => '"x"' ], [ n => '1e200000' ], [ t => '1e200000' ], [ none => '1e200000' ], [ none => '9' x 140_000 ], [ none => '0.' . '1' x 20_000 ], [ t => '1' . '0' x 1010 ], [ t => '1e1500' ], [ n2 => '99999999999' ], [ ta => '"x"' ]);
for my $bad (@bad)
{
	my ($column, $value) = @$bad;
	my ($of) = grep { $_->[0] eq $column } @columns, [ none => 'text' ];
	my $cast = $value =~ /200000|^9{99}|^0.1111/ ? 'bad' : $value =~ /abcdef/ ? 'AC005' : $s->run("SELECT CASE ours(\$q\$SELECT (jsonb_build_object('r', '$value'::jsonb) ->> 'r')::$of->[1]\$q\$) WHEN 'good' THEN 'good' ELSE 'AC005' END");

	serve("{\"x\": {\"data\": [{\"$column\": $value}]}}");
	$column = 't' if $column eq 'none';
	is($s->run("SELECT ours('SELECT \"$column\" FROM api.diff')"), $cast, "$bad->[0] of " . substr($value, 0, 40) . ": $cast");
}

# ---- broken texts are broken for both ----

my @differ;
for (1 .. 400)
{
	my $text = Encode::encode_utf8('[' . join(',', map { object([ a => value(3) ], [ b => value(4) ]) } 1 .. 1 + rand 3) . ']');

	for (1 .. 1 + rand 3)
	{
		my $at = rand length $text;
		my $with = one_of('', '', chr rand 256, one_of(split //, "{}[],:\"\\ue0-+.\n1truefalsn"), '\u0000', '\ud800', '\u12', "\x01", '01', '-', '1.', '1e', '"a":', ',,');
		substr($text, $at, one_of(0, 1, 1, 2, 5), $with);
	}
	serve($text);
	my $hex = unpack 'H*', $text;
	my ($ours, $theirs) = map { $s->run("SELECT $_") } "ours('SELECT a FROM api.list')", "verdict('$hex')";
	push @differ, "$ours, jsonb $theirs: $hex" if $ours ne $theirs;
}
is(join("\n", @differ), '', 'broken here, broken there') or diag "READ_SEED=$seed";

# ---- depth, and a list longer than what is found at once ----

serve('[' . '[' x 8190 . ']' x 8190 . ']');
is($s->run("SELECT count(*) FROM api.list"), 1, 'nested as deep as it goes');
serve('[' x 100_000);
is($s->run("SELECT ours('SELECT a FROM api.list')"), 'bad', 'nested deeper');
$crm->heal;
$crm->control({ fault => 'status', status => 200, path => '/page', content_type => 'application/json', body => '[' . join(',', map { "{\"a\": $_}" } 1 .. 50_000) . ']' });
is($s->run('SELECT count(*), count(DISTINCT a), min(a::int), max(a::int), sum(a::int) FROM api.list'), '50000|50000|1|50000|1250025000', 'a long list');
is($s->run('SELECT count(*) FROM api.list'), 50000, 'nothing of it wanted');

# ---- a database of another encoding ----

$node->safe_psql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
my $latin = start_session('latin');
serve(Encode::encode_utf8("[{\"a\": \"caf\x{e9} \\u00fc \\\"\"}, {\"a\": {\"\x{e9}\": \"\\u00e9\"}}, {\"b\": \"\x{4e2d}\"}]"));
is($latin->run("SELECT string_agg(a, '|') FROM api.list"), Encode::encode_utf8("caf\x{e9} \x{fc} \"|{\"\x{e9}\": \"\x{e9}\"}"), 'LATIN1');
serve(Encode::encode_utf8("[{\"a\": \"\x{4e2d}\"}]"));
like($latin->run("SELECT ours('SELECT a FROM api.list')"), qr/^(22P05|AC005)$/, 'what LATIN1 cannot hold is an error');

$_->close for $s, $latin;
done_testing();
