# Keys, identity and the bytes of a webhook: SEMANTICS 3, 4 and 5.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('keys');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub target
{
	my ($name, $options) = @_;
	my $url = $crm->url("/hook/$name");

	$options //= '';
	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}')");
}

sub bodies { return map { $_->{body} } @{ $crm->log("/hook/$_[0]") }; }

sub keys_of
{
	my ($sync) = @_;
	return sql("SELECT string_agg(o.key::text, ' ' ORDER BY o.key::text) FROM activate.sent o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$sync'");
}

target('k');

subtest 'default keys' => sub {
	my $api = $crm->url;

	sql('CREATE TABLE pair (note text, tenant int, id int, PRIMARY KEY (tenant, id)); INSERT INTO pair VALUES ($$a$$, 1, 2), ($$b$$, 2, 1)');
	sql("SELECT activate_sync('pair', 'pair', 'k.change'); SELECT activate_run('pair')");
	ok(delivered($node, 'pair'), 'a composite primary key');
	is(keys_of('pair'), '{"id": 1, "tenant": 2} {"id": 2, "tenant": 1}', 'is the key');

	sql("SELECT activate_target('crm', 'rest', '{\"base_url\": \"$api\", \"objects\": {\"contacts\": {\"path\": \"/objects/contacts\", \"key\": \"id\",
		\"columns\": {\"id\": \"bigint\", \"email\": \"text\"}, \"write\": {\"upsert\": {\"method\": \"PUT\", \"path\": \"/objects/contacts/{id}\"}}}}}')");
	sql("CREATE TABLE person (person_id int PRIMARY KEY, crm_id bigint UNIQUE, mail text);
		INSERT INTO person VALUES (1, 1001, 'A\@x'), (2, 1002, 'B\@x');
		SELECT activate_sync('mapped', 'person', 'crm.contacts', map => '{\"id\": \"crm_id\", \"email\": \"lower(mail)\"}');
		SELECT activate_run('mapped')");
	ok(delivered($node, 'mapped'), 'a column mapped to the key of the target');
	is(keys_of('mapped'), '{"crm_id": 1001} {"crm_id": 1002}', 'is the key, under its own name');
	same_rows($node, $crm->objects('contacts'), 'SELECT crm_id AS id, lower(mail) AS email FROM person', 'the API has its names');

	sql("SELECT activate_sync('computed', 'person', 'crm.contacts', map => '{\"id\": \"crm_id + 1000\", \"email\": \"mail\"}');
		SELECT activate_run('computed')");
	ok(delivered($node, 'computed'), 'an expression is no column');
	is(keys_of('computed'), '{"person_id": 1} {"person_id": 2}', 'then it is the primary key');

	sql("SELECT activate_sync('named', 'SELECT crm_id, mail AS \"Odd, \"\"name\"\"\" FROM person', 'k.change', key => '\"Odd, \"\"name\"\"\"'); SELECT activate_run('named')");
	ok(delivered($node, 'named'), 'a query, and a key with an odd name');
	is(keys_of('named'), '{"Odd, \"name\"": "A@x"} {"Odd, \"name\"": "B@x"}', 'named as it is');

	sql("CREATE TABLE keyless (v text); INSERT INTO keyless VALUES ('x'), ('x')");
	for my $mode (qw(upsert update mirror))
	{
		my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_sync('keyless', 'keyless', 'k.change', mode => '$mode')");
		like($err, qr/ERROR:.*key.*HINT/s, "without a key, $mode is refused");
	}
	for my $mode (qw(append insert replace))
	{
		sql("SELECT activate_sync('keyless $mode', 'keyless', 'k.change', mode => '$mode'); SELECT activate_run('keyless $mode')");
		ok(delivered($node, "keyless $mode"), "$mode needs none");
		is(sql("SELECT string_agg(DISTINCT r.key::text, '') || ' ' || count(*) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
			WHERE s.name = 'keyless $mode' AND outcome = 'delivered'"), '{} 2', "$mode: both rows, with an empty key");
	}
};

subtest 'NULL and duplicate keys' => sub {
	sql("CREATE TABLE messy (id int, v text); INSERT INTO messy VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd'), (3, 'e')");
	sql("SELECT activate_sync('messy', 'messy', 'k.change', key => 'id', capture => 'trigger'); SELECT activate_run('messy')");
	ok(delivered($node, 'messy'), 'delivered');
	is(keys_of('messy'), '{"id": 1} {"id": 3}', 'the others pass');
	is(sql("SELECT string_agg(DISTINCT key::text || ' ' || code, ', ') FROM activate.rejection"),
		'{"id": 2} duplicate_key, {"id": null} null_key', 'these are rejected');
	sql("INSERT INTO messy VALUES (3, 'again'), (4, 'f'), (NULL, 'g')");
	ok(delivered($node, 'messy'), 'by trigger');
	is(keys_of('messy'), '{"id": 1} {"id": 3} {"id": 4}', 'the same');
	is(sql("SELECT string_agg(DISTINCT key::text || ' ' || code, ', ') FROM activate.rejection"),
		'{"id": 2} duplicate_key, {"id": 3} duplicate_key, {"id": null} null_key', 'these are rejected, too');
	sql("DELETE FROM messy WHERE v IN ('c', 'again', 'd', 'g'); SELECT activate_run('messy')");
	ok(delivered($node, 'messy'), 'mended');
	is(sql('SELECT count(*) FROM activate.rejection'), 0, 'success removes the rejections');
	sql("UPDATE messy SET id = NULL");
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_run('messy')");
	like($err, qr/ERROR:  no row of the source of sync "messy" has a usable key/, 'no row is usable: the run fails');
};

# Each type as a key: by trigger and by diff, in sessions that disagree on every setting, the key is what to_jsonb() gives
# under the settings of SEMANTICS 4; it is found again when it is rendered, and deleted.
subtest 'every type may be a key' => sub {
	target('anykey');
	sql(q{CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE duo AS (a int, "b ""c" text);
		CREATE DOMAIN positive AS numeric CHECK (VALUE > 0); CREATE DOMAIN label AS varchar(20)});
	# a server may be built without ICU
	my $icu = sql("SELECT count(*) FROM pg_collation WHERE collprovider = 'i'") > 0;
	sql(q{CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $icu;
	my @kinds = (
		[ 'int2', -7, 8 ], [ 'int4', 7, -8 ], [ 'int8', '9223372036854775807', 1 ], [ 'numeric', '1.50', '1e400' ],
		[ 'numeric', 'NaN', '123456789012345678901234567890123456789012345678901234567890.10' ], [ 'numeric', 'Infinity', '-Infinity' ],
		[ 'float8', '0.1', '1e300' ], [ 'float4', '0.1', 'NaN' ], [ 'boolean', 'true', 'false' ], [ 'uuid', 'A0000000-0000-0000-0000-00000000000F', '00000000-0000-0000-0000-000000000000' ],
		[ 'text', qq{it's "quoted" \\ {} é€😀\ttab}, '' ], [ 'varchar(30)', 'null', '{"a": 1}' ], [ 'char(4)', 'ab', 'abcd' ], [ 'name', 'Na"me', 'x' ], [ 'label', 'x', 'y' ],
		$icu ? [ 'text COLLATE nocase', 'A', 'b' ] : (), [ 'citext', 'A', 'b' ], [ 'bytea', '\\x00ff5c', '\\x' ], [ 'date', '2026-02-01', 'infinity' ], [ 'time', '23:59:59.5', '00:00' ],
		[ 'timestamptz', '2026-03-29 01:30:00.25+00', '0044-03-15 00:00+00 BC' ], [ 'timestamp', '2026-02-01 10:00', '-infinity' ], [ 'interval', '1 mon -2 days 03:04:05.5', '0' ],
		[ 'mood', 'sad', 'glad' ], [ 'duo', '(1,"x, y")', '(2,)' ], [ 'positive', '5.0', '6' ], [ 'text[]', '{a,NULL,"b c"}', '{}' ], [ 'jsonb', '{"b": [1, null], "a": 1.0}', '"x"' ],
		[ 'int4range', '[1,5)', 'empty' ], [ 'tstzrange', '[2026-01-01 00:00+00,)', '(,)' ], [ 'inet', '10.0.0.1/8', '::1' ], [ 'money', '12.50', '-1' ], [ 'bit(3)', '101', '010' ], [ 'oid', '4294967295', '1' ]);
	my $odd = "SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -5; SET bytea_output = 'escape'; SET lc_monetary = 'C.utf8';";
	my $other = "SET TimeZone = 'America/New_York'; SET DateStyle = 'German'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = 3;";
	my $literals = sub { my ($i, $n) = @_; return sql_literal($kinds[$i][$n]) . '::' . ($kinds[$i][0] =~ s/ COLLATE.*//r); };

	for my $i (0 .. $#kinds)
	{
		sql("CREATE TABLE anykey$i (k $kinds[$i][0] PRIMARY KEY, v int);" . join '',
			map { "SELECT activate_sync('anykey$i $_', 'anykey$i', 'anykey.change', capture => '$_', mode => 'mirror');" } qw(trigger diff));
	}
	sql($odd . join '', map { "INSERT INTO anykey$_ VALUES (" . $literals->($_, 1) . ', 1), (' . $literals->($_, 2) . ', 2);' } 0 .. $#kinds);
	sql($other . join '', map { "SELECT activate_run('anykey$_ diff');" } 0 .. $#kinds);
	ok(delivered($node), 'inserted');
	sql($other . join '', map { "UPDATE anykey$_ SET v = 3 WHERE v = 2; DELETE FROM anykey$_ WHERE v = 1;" } 0 .. $#kinds);
	sql($odd . join '', map { "SELECT activate_run('anykey$_ diff');" } 0 .. $#kinds);
	ok(delivered($node), 'updated and deleted');

	my $rendering = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C';";
	for my $i (0 .. $#kinds)
	{
		my $expected = sql($rendering . 'SELECT jsonb_build_object($$k$$, ' . $literals->($i, 2) . ')');
		my $counts = "SELECT string_agg(x.op || ' ' || x.n, ', ' ORDER BY x.op) FROM (SELECT r.op, count(*) AS n FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync
			WHERE s.name = 'anykey$i %s' AND r.outcome = 'delivered' GROUP BY r.op) x";
		is(keys_of("anykey$i $_"), $expected, "$kinds[$i][0], $_: the key") for qw(trigger diff);
		is(sql(sprintf($counts, $_)), 'delete 1, upsert 3', "$kinds[$i][0], $_: found again, and deleted") for qw(trigger diff);
	}
	for my $capture (qw(diff trigger))
	{
		sql($odd . join '', map { "SELECT activate_run('anykey$_ $capture');" } 0 .. $#kinds);
	}
	is(sql('SELECT count(*) FROM activate.outbox'), 0, 'a run finds nothing to do');
	is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name LIKE 'anykey%'"), 0, 'nothing was rejected');

	# equal to the source, but not the same
	for my $i (grep { $kinds[$_][0] =~ /nocase|citext/ } 0 .. $#kinds)
	{
		sql("UPDATE anykey$i SET k = upper(k::text)::" . ($kinds[$i][0] =~ s/ COLLATE.*//r) . " WHERE v = 3; INSERT INTO anykey$i VALUES ('z', 4); SELECT activate_run('anykey$i diff')");
		for my $capture (qw(trigger diff))
		{
			ok($node->poll_query_until('postgres', "SELECT bool_and(held) IS NOT FALSE FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'anykey$i $capture'"), 'settled');
			sql("SELECT activate_run('anykey$i $capture', full => true)");
			ok(delivered($node, "anykey$i $capture"), "$kinds[$i][0], $capture: another spelling");
			is(keys_of("anykey$i $capture"), '{"k": "B"} {"k": "z"}', 'is another key');
		}
	}
};

# One row of many types: what stands in the body does not depend on who runs or sends.
subtest 'rendering is the same everywhere' => sub {
	target('types');
	sql(q{CREATE TABLE kinds (at timestamptz, n numeric, b bytea, f float8, f4 real, d date, ts timestamp, iv interval, big numeric, i8 bigint,
			arr timestamptz[], js json, jb jsonb, t text, nothing text, rng tstzrange, money numeric(10,2), PRIMARY KEY (at, n, b));
		INSERT INTO kinds VALUES ('2026-03-29 01:30:00+00', 1.10, '\x00ff5c', 0.1::float8 + 0.2, 0.1, '2026-02-01', '2026-02-01 10:00', '1 mon -2 days 03:04:05.5',
			123456789012345678901234567890.123456789, 9007199254740993, '{2026-01-01 00:00+00}', '{"a":  1.10, "a": 2}', '{"z": 1.0}',
			E'quote " back \\\\ tab \t nl \n ü \u2028 \x01', NULL, '[2026-01-01 00:00+00,)', 1)});
	my $odd = "SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -5; SET bytea_output = 'escape';";

	sql("SELECT activate_sync('plain', 'kinds', 'types.change'); SELECT activate_run('plain')");
	ok(delivered($node, 'plain'), 'a plain session');
	my ($plain) = bodies('types');
	like($plain, qr/"key": \{"b": "\\\\x00ff5c", "n": 1.10, "at": "2026-03-29T01:30:00\+00:00"\}/, 'the key');
	like($plain, qr/"f": 0.30000000000000004\b/, 'a double, exactly');
	like($plain, qr/"big": 123456789012345678901234567890.123456789\b/, 'a number at any length');
	like($plain, qr/"i8": 9007199254740993\b/, 'a bigint beyond 2^53');
	like($plain, qr/"iv": "1 mon -2 days \+03:04:05.5"/, 'an interval');
	like($plain, qr/"nothing": null/, 'NULL is there');
	is(JSON::PP->new->utf8->decode($plain)->{row}{t}, "quote \" back \\ tab \t nl \n \x{fc} \x{2028} \x01", 'text');
	is($plain =~ /"row": (\{.*\})\}$/s ? $1 : '', sql("SET TimeZone = 'UTC'; SELECT to_jsonb(k) FROM kinds k"), 'it is to_jsonb');

	# declared, run and captured in odd sessions; the database is odd for the deliverer, too
	my $hash = sql("SELECT hash FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = 'plain'");
	sql(join ' ', map { "ALTER DATABASE postgres $_" } $odd =~ /SET [^;]*;/g);
	is(sql("SHOW TimeZone"), 'Asia/Kolkata', 'an odd database');
	sql("SELECT activate_run('plain')");
	is(pending($node, 'plain'), 0, 'the hash is the same');
	sql("SELECT activate_sync('plain', 'kinds', 'types.change', capture => 'trigger'); UPDATE kinds SET t = t");
	ok(delivered($node, 'plain'), 'captured');
	is(scalar(bodies('types')), 1, 'neither by trigger is it sent again');
	is(sql('SELECT string_agg(outcome, $$ $$ ORDER BY r.id) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = $$plain$$'), 'delivered skipped', 'skipped');
	sql("SELECT activate_run('plain', full => true)");
	ok(delivered($node, 'plain'), 'sent again');
	my @again = map { s/"id": "[0-9a-f-]{36}", "seq": \d+//r } bodies('types');
	is($again[1], $again[0], 'byte for byte the same');
	is(sql('SELECT count(*) || $$ $$ || min(hash) FROM activate.sent s JOIN activate.sync y ON y.id = s.sync WHERE y.name = $$plain$$'), "1 $hash", 'one key, one hash');

	# what to_char() in a map goes by, too
	sql("SELECT activate_sync('locales', 'SELECT 1 AS id', 'types.change', key => 'id', map => '{\"l\": \"concat_ws(chr(32), current_setting(''lc_monetary''), current_setting(''lc_numeric''), current_setting(''lc_time''))\"}')");
	sql("SET lc_monetary = 'C.utf8'; SET lc_time = 'C.utf8'; SET lc_numeric = 'C.utf8'; SELECT activate_run('locales')");
	ok(delivered($node, 'locales'), 'delivered');
	is($crm->hook_state('types')->{syncs}{locales}{'{"id":1}'}{row}{l}, 'C C C', 'locales are the same everywhere');
	is(sql("SELECT activate_run('locales') > 0; SELECT count(*) FROM activate.outbox"), "t\n0", 'also for a run');
	sql("ALTER DATABASE postgres RESET ALL");
};

subtest 'numbers stay numbers, at any length' => sub {
	target('numbers');
	my $long = '9' x 100 . '.' . '7' x 60;
	sql("CREATE TABLE numbers (id numeric PRIMARY KEY, n numeric, j jsonb, f float8, a numeric[]);
		INSERT INTO numbers VALUES ($long, '1e400', '{\"big\": 1e350, \"small\": 0.10}', 'Infinity', '{1e200, NaN}'), ('-Infinity', 'NaN', 'null', '-0', NULL);
		SELECT activate_sync('numbers', 'numbers', 'numbers.change', capture => 'trigger'); SELECT activate_run('numbers')");
	ok(delivered($node, 'numbers'), 'delivered');
	my ($first, $second) = sort { length $b <=> length $a } bodies('numbers');
	like($first, qr/"key": \{"id": \Q$long\E\}, "row": \{"a": \[10{200}, "NaN"\], "f": "Infinity", "j": \{"big": 10{350}, "small": 0.10\}, "n": 10{400}, "id": \Q$long\E\}\}$/, 'digit by digit');
	like($second, qr/"key": \{"id": "-Infinity"\}, "row": \{"a": null, "f": -?0, "j": null, "n": "NaN", "id": "-Infinity"\}\}$/, 'what JSON has no number for is text, as to_jsonb() has it');
	sql("UPDATE numbers SET n = 1");
	ok(delivered($node, 'numbers'), 'found again by such keys');
	is(scalar(bodies('numbers')), 4, 'both');
};

subtest 'webhook, to the byte' => sub {
	target('one');
	target('many', ', "batch": 3');
	target('bare', ', "format": "row", "batch": 2, "method": "PUT"');
	# names that statements of ours use, too
	sql("CREATE TABLE wire (id int PRIMARY KEY, v text, x text); INSERT INTO wire VALUES (1, 'a', NULL)");
	sql("SELECT activate_sync('wire', 'wire', 'one.change', mode => 'mirror', options => '{\"min_deletes\": 100}'); SELECT activate_run('wire')");
	ok(delivered($node, 'wire'), 'one');
	my ($id, $seq) = split /\|/, sql("SELECT r.idempotency_key, s.seq FROM activate.receipt r JOIN activate.sync y ON y.id = r.sync JOIN activate.sent s ON s.sync = y.id WHERE y.name = 'wire'");
	is((bodies('one'))[0], qq({"id": "$id", "seq": $seq, "sync": "wire", "op": "upsert", "key": {"id": 1}, "row": {"v": "a", "x": null, "id": 1}}), 'the whole body');

	sql("SELECT activate_sync('wire many', 'wire', 'many.change', mode => 'mirror', map => '{\"Name\": \"upper(v)\"}', key => 'id', options => '{\"min_deletes\": 100}');
		SELECT activate_run('wire many')");
	ok(delivered($node, 'wire many'), 'a batch of one');
	like((bodies('many'))[0], qr/^\{"changes": \[\{"id": "[0-9a-f-]{36}", "seq": \d+, "sync": "wire many", "op": "upsert", "key": \{"id": 1\}, "row": \{"Name": "A"\}\}\]\}$/,
		'is a batch; the row has the names of the map');
	sql("INSERT INTO wire VALUES (2, 'b'); SELECT activate_run('wire many')");
	ok(delivered($node, 'wire many'), 'another');
	sql("BEGIN; DELETE FROM wire WHERE id = 1; UPDATE wire SET v = 'c' WHERE id = 2; COMMIT;
		SELECT activate_run('wire many')");
	ok(delivered($node, 'wire many'), 'more');
	my ($request) = grep { $_->{body} =~ /"op": "delete"/ } @{ $crm->log('/hook/many') };
	like($request->{body}, qr/"op": "delete", "key": \{"id": 1\}, "row": null\}/, 'the row of a delete is null');
	is($request->{headers}{'content-length'}, length($request->{body}), 'Content-Length');

	sql("SELECT activate_sync('bare', 'SELECT id, v FROM wire', 'bare.change', key => 'id'); SELECT activate_run('bare')");
	ok(delivered($node, 'bare'), 'format row');
	is(join(' ', map { $_->{method} . ' ' . $_->{body} } @{ $crm->log('/hook/bare') }), 'PUT [{"v": "c", "id": 2}]', 'bare rows, by the method wanted');
};

subtest 'a call is of one sync' => sub {
	target('shared', ', "batch": 100');
	target('beside', ', "batch": 100');
	sql("CREATE TABLE part (id int PRIMARY KEY); SELECT activate_sync('part 1', 'part', 'shared.change', capture => 'trigger'); SELECT activate_sync('part 2', 'part', 'shared.change', capture => 'trigger', mode => 'append');
		SELECT activate_sync('part 3', 'part', 'beside.change', capture => 'trigger'); SELECT activate_pause('target:shared'), activate_pause('target:beside')");
	sql("INSERT INTO part SELECT generate_series(1, 10); SELECT activate_resume('target:shared'), activate_resume('target:beside')");
	ok(delivered($node, "part $_"), "part $_ delivered") for 1 .. 3;
	for my $hook (qw(shared beside))
	{
		my @mixed = grep { my %syncs = map { $_->{sync} => 1 } @{ JSON::PP::decode_json($_)->{changes} }; keys %syncs > 1 } bodies($hook);
		is(scalar @mixed, 0, "$hook: no call holds changes of two");
	}
	is(join(' ', sort keys %{ $crm->hook_state('shared')->{syncs} }), 'part 1 part 2', 'nor of two targets');
};

subtest 'columns named as statements of ours name things' => sub {
	target('names');
	sql('CREATE TABLE names (k int PRIMARY KEY, q text, x text, y text, v1 text, k1 text, ord int, "key" text, "row" text, "\'""%s $1" text);
		INSERT INTO names VALUES (1, $$q$$, $$x$$, $$y$$, $$v1$$, $$k1$$, 7, $$key$$, $$row$$, $$odd$$)');
	sql("SELECT activate_sync('names', 'names', 'names.change', capture => 'trigger'); SELECT count(*) FROM activate_preview('names'); SELECT activate_run('names')");
	ok(delivered($node, 'names'), 'sent');
	same_rows($node, $crm->hook_rows('names', 'names'), 'TABLE names', 'as they are');
	sql("UPDATE names SET x = 'other'");
	ok(delivered($node, 'names'), 'by trigger');
	same_rows($node, $crm->hook_rows('names', 'names'), 'TABLE names', 'as they are');
	sql("SELECT activate_sync('load names', 'names', 'copy_of_names', mode => 'mirror'); SELECT activate_run('load names'); DELETE FROM copy_of_names; SELECT activate_run('load names')");
	same_rows($node, sql('SELECT jsonb_agg(c) FROM copy_of_names c'), 'TABLE names', 'loaded, too');
};

subtest 'identity' => sub {
	target('id', ', "batch": 4');
	sql("CREATE TABLE ident (id int PRIMARY KEY, v text); SELECT activate_sync('ident', 'ident', 'id.change', capture => 'trigger', mode => 'mirror', options => '{\"min_deletes\": 100}')");
	$crm->control({ fault => 'status', path => '/hook/id', status => 503, count => 1 });
	sql("INSERT INTO ident SELECT i, 'a' FROM generate_series(1, 4) i");
	ok(delivered($node, 'ident'), 'after a failure');
	my @calls = @{ $crm->log('/hook/id') };
	ok((grep { $_->{body} eq $calls[0]{body} && $_->{headers}{'idempotency-key'} eq $calls[0]{headers}{'idempotency-key'} } @calls[ 1 .. $#calls ])
		|| !(grep { $_->{body} eq $calls[0]{body} } @calls[ 1 .. $#calls ]), 'a repeated call has the same key');
	my %first = map { $_->{key}{id} => $_ } @{ JSON::PP::decode_json($calls[0]{body})->{changes} };
	my %last  = map { $_->{key}{id} => $_ } map { @{ JSON::PP::decode_json($_->{body})->{changes} } } @calls;
	is_deeply({ map { $_ => $last{$_}{id} } keys %first }, { map { $_ => $first{$_}{id} } keys %first }, 'the same messages have the same ids');

	# the way of one key: there, changed, changed back, gone, there again
	for my $change ("UPDATE ident SET v = 'b' WHERE id = 1", "UPDATE ident SET v = 'a' WHERE id = 1", 'DELETE FROM ident WHERE id = 1', "INSERT INTO ident VALUES (1, 'a')")
	{
		sql($change);
		delivered($node, 'ident') or die;
	}
	my @changes = grep { $_->{key}{id} == 1 } map { @{ JSON::PP::decode_json($_->{body})->{changes} } } splice(@{ $crm->log('/hook/id') }, scalar @calls);
	is(join(' ', map { $_->{op} } @changes), 'upsert upsert delete upsert', 'four more messages');
	my %ids = map { $_->{id} => 1 } @changes, $last{1};
	is(scalar keys %ids, 5, 'every one with an id of its own');
	my @seq = map { $_->{seq} } $last{1}, @changes;
	is(join(' ', @seq), join(' ', sort { $a <=> $b } @seq), 'seq grows');
	is($crm->stats->{seq_regressions}, 0, 'the receiver has seen no regression');
};

$node->stop('fast');
done_testing();
