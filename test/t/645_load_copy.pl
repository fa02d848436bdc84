# Runs into tables read another PostgreSQL by COPY: the same values as through postgres_fdw, and the same errors, rights and ends.
use strict;
use warnings;
use utf8;

use ActivateTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node   = activate_node('here');
my $remote = PostgreSQL::Test::Cluster->new('there');

sub sql { my ($sql) = @_; utf8::encode($sql); return $node->safe_psql('postgres', $sql); }
sub there { my ($sql, $database) = @_; utf8::encode($sql); return $remote->safe_psql($database // 'postgres', "SET client_encoding = UTF8; $sql"); }
sub fails { my ($sql) = @_; my ($result, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql"); return $error; }

# What the other server was asked for meanwhile.
sub asked
{
	my ($code) = @_;
	my $offset = -s $remote->logfile;

	$code->();
	# all that came before this is in the file
	there("SELECT 'until here'");
	$remote->wait_for_log(qr/until here/, $offset);
	my $log = slurp_file($remote->logfile, $offset);
	return join("\n", $log =~ /(?:statement: |execute [^:]*: |; )((?:COPY|SET TRANSACTION SNAPSHOT|FETCH)[^\n]*)/g);
}

# Runs a sync, which must read by COPY (or must not) and gives the rows that a query gives through postgres_fdw.
sub loads
{
	my ($name, $query, $test, %options) = @_;
	my $asked = asked(sub { sql(($options{before} // '') . "SELECT activate_run('$name')") });

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($asked, $options{not} ? qr/^FETCH/m : qr/^COPY \(.*FORMAT binary/m, "$test: " . ($options{not} ? 'through postgres_fdw' : 'by COPY'));
	unlike($asked, $options{not} ? qr/^COPY/m : qr/^FETCH/m, "$test: and nothing else");
	same($query, $name, $test);
	return $asked;
}

# Bit for bit.
sub same
{
	my ($query, $table, $test) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("DROP TABLE IF EXISTS expected; CREATE TABLE expected (LIKE $table); INSERT INTO expected $query");
	isnt(sql('SELECT count(*) FROM expected'), '0', "$test: there are rows");
	return is(sql("SELECT (SELECT count(*) FROM expected) - (SELECT count(*) FROM $table),
		(SELECT string_agg(whole::text, ' ') FROM expected AS whole WHERE record_send(whole) NOT IN (SELECT record_send(loaded) FROM $table AS loaded))"),
		'0|', "$test: the same rows");
}

sub server
{
	my ($name, $database) = @_;

	sql("CREATE SERVER $name FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $remote->host . "', port '" . $remote->port . "', dbname '$database', fetch_size '10000');
		CREATE USER MAPPING FOR CURRENT_USER SERVER $name");
	return;
}

$remote->init;
$remote->append_conf('postgresql.conf', "log_statement = all\nlog_min_messages = info");
$remote->start;
sql('CREATE EXTENSION postgres_fdw');
server('there', 'postgres');

# name, type, values besides NULL
my @columns = (
	[ b => 'boolean', 'true', 'false' ],
	[ i2 => 'smallint', -32768, 32767 ],
	[ i4 => 'integer', -2147483648, 2147483647 ],
	[ i8 => 'bigint', '-9223372036854775808', '9223372036854775807' ],
	[ f4 => 'real', 'NaN', '-Infinity', '1.1', '-0', '1e-38' ],
	[ f8 => 'double precision', 'NaN', 'Infinity', '0.1', '-0', '4.9e-324' ],
	[ n => 'numeric', 'NaN', 'Infinity', '-Infinity', '1.00', '-0.00000000000000000001', '9' x 140 ],
	[ n52 => 'numeric(5,2)', '123.45', '-0.01' ],
	[ t => 'text', '', 'ä€😀', "line\nbreak\t\\N", 'x' x 5000 ],
	[ vc => 'varchar(10)', 'zehn ÄÖÜ', '' ],
	[ vcx => 'varchar', 'without limit' ],
	[ bp => 'char(6)', 'a', 'abcdef' ],
	[ nm => 'name', 'a name' ],
	[ c => '"char"', 'x' ],
	[ by => 'bytea', '\x', '\x00ff10' ],
	[ d => 'date', 'infinity', '-infinity', '0044-03-15 BC', '5874897-12-31', '2024-02-29' ],
	[ tm => 'time', '24:00', '12:34:56.789012' ],
	[ tm2 => 'time(2)', '12:34:56.78' ],
	[ tz => 'timetz', '12:34:56.789+05:30' ],
	[ ts => 'timestamp', 'infinity', '-infinity', '4713-01-01 BC', '294276-12-31 23:59:59.999999' ],
	[ ts3 => 'timestamp(3)', '2024-02-29 12:00:00.123' ],
	[ tstz => 'timestamptz', 'infinity', '0001-01-01 BC UTC', '2024-07-01 12:00 America/New_York' ],
	[ iv => 'interval', '1 year -2 mons 3 days -04:05:06.789', '-178000000 years' ],
	[ ivd => 'interval day to second', '3 days 04:05' ],
	[ u => 'uuid', '00000000-0000-0000-0000-000000000001' ],
	[ j => 'json', '{"b": 1,  "a" : [1.0, "ä"]}' ],
	[ jb => 'jsonb', '{"b": 1, "a": [1.00, "\u00e4", null]}', '"x"' ],
	[ ip => 'inet', '192.168.1.5', '10.0.0.0/8', '::1/64' ],
	[ ci => 'cidr', '10.0.0.0/8' ],
	[ ma => 'macaddr', '08:00:2b:01:02:03' ],
	[ ma8 => 'macaddr8', '08:00:2b:01:02:03:04:05' ],
	[ bi => 'bit(5)', '10101' ],
	[ vb => 'bit varying(9)', '', '110' ],
	[ pt => 'point', '(1.1,-0)' ],
	[ ln => 'line', '{1,2,3}' ],
	[ ls => 'lseg', '[(1,2),(3,4)]' ],
	[ bx => 'box', '(3,4),(1,2)' ],
	[ pa => 'path', '[(1,2),(3,4)]', '((1,2),(3,4))' ],
	[ po => 'polygon', '((1,2),(3,4),(5,6))' ],
	[ ce => 'circle', '<(1,2),3>' ],
	[ o => 'oid', '4294967295' ],
	[ ir => 'int4range', '[1,5)', 'empty', '(,)' ],
	[ nr => 'numrange', '(1.10,2.20]' ],
	[ tr => 'tstzrange', '[2024-01-01 UTC,infinity)' ],
	[ mr => 'int4multirange', '{[1,3),[5,9)}', '{}' ],
	[ ai => 'integer[]', '{}', '{1,NULL,3}', '[0:1][2:3]={{1,2},{3,4}}' ],
	[ at => 'text[]', '{"a,b","ä\"","",NULL,null\\\\}' ],
	[ an => 'numeric(6,2)[]', '{1.5,NaN}' ],
	[ aj => 'jsonb[]', '{"{\"a\": 1}"}' ],
	[ atz => 'timestamptz[]', '{infinity,2024-07-01 UTC}' ],
	[ ar => 'daterange[]', '{"[2024-01-01,2024-02-01)",empty}' ],
	# those that come as text
	[ mo => 'money', '-12.34' ],
	[ xm => 'xml', '<a>ä</a>' ],
	[ tv => 'tsvector', "'a':1A 'b'" ],
	[ tq => 'tsquery', "'a' & !'b'" ],
	[ ls2 => 'pg_lsn', '16/B374D848' ],
	[ rc => 'regclass', 'pg_class' ],
	[ rt => 'regtype', 'integer' ],
	[ iv2 => 'int2vector', '1 2 3' ],
	[ ov => 'oidvector', '1 2' ],
	[ jp => 'jsonpath', '$.a[*]' ],
	[ en => 'mood', 'glücklich', 'sad' ],
	[ ae => 'mood[]', '{sad,NULL,glücklich}' ],
	[ dp => 'positive', 5 ],
	[ dv => 'short', 'äöü' ],
	[ ad => 'positive[]', '{1,2}' ],
	[ pr => 'pair', '(1,"a b")', '(,)' ],
	[ ap => 'pair[]', '{"(1,a)","(,)"}' ],
	[ rf => 'textrange', '[a,b)' ]);
my $types = q{CREATE TYPE mood AS ENUM ('sad', 'glücklich'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN short AS varchar(5);
	CREATE TYPE pair AS (a int, b text); CREATE TYPE textrange AS RANGE (subtype = text, collation = "C");};
my $list = join(', ', map { "$_->[0] $_->[1]" } @columns);
my $names = join(', ', map { $_->[0] } @columns);
my $most = 0;
for (@columns) { $most = @$_ - 2 if @$_ - 2 > $most; }

sub values_of
{
	my ($i) = @_;

	return '(' . join(', ', map { defined $_->[ $i + 2 ] ? sql_literal($_->[ $i + 2 ]) : 'NULL' } @columns) . ')';
}

subtest 'every type' => sub {
	there("$types CREATE TABLE every (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, twice bigint GENERATED ALWAYS AS (i4 * 2::bigint) STORED, $list);
		INSERT INTO every ($names) VALUES " . join(', ', map { values_of($_) } 0 .. $most) . '; CREATE VIEW every_view AS SELECT * FROM every ORDER BY id DESC');
	sql("$types CREATE FOREIGN TABLE every_there (id bigint, twice bigint, $list) SERVER there OPTIONS (table_name 'every')");
	sql("SELECT activate_sync('every', 'every_there', 'every', key => 'id')");
	loads('every', 'SELECT * FROM every_there', 'a table made by the sync');
	sql("CREATE TABLE every2 (LIKE every); SELECT activate_sync('every2', 'every_there', 'every2', key => 'id')");
	loads('every2', 'SELECT * FROM every_there', 'another client_encoding', before => 'SET client_encoding = LATIN1; ');
	is(asked(sub { sql("SET activate.copy = off; SELECT activate_run('every')") }) =~ /^COPY/m ? 1 : 0, 0, 'without');
	is(sql("SELECT rows_read, rows_updated FROM activate.run ORDER BY id DESC LIMIT 1"), ($most + 1) . '|0', 'the next run through postgres_fdw finds nothing to change');
};

subtest 'other types here than there' => sub {
	there("CREATE TABLE other (id int PRIMARY KEY, b boolean, f real, n numeric, bp char(4), ip inet, i int, e mood, long text, ts timestamptz, iv interval, dp positive);
		INSERT INTO other VALUES (1, true, 1.1, 1.005, 'a', '10.0.0.1', 5, 'sad', 'abcdef', '2024-07-01 12:00 UTC', '1 day', 3); INSERT INTO other (id) VALUES (2)");
	sql("CREATE FOREIGN TABLE other_there (id bigint, b text, f double precision, n numeric(6,2), bp text, ip text, i numeric, e text, long varchar(6), ts text, iv text, dp int) SERVER there OPTIONS (table_name 'other');
		SELECT activate_sync('other', 'other_there', 'other', key => 'id')");
	loads('other', 'SELECT * FROM other_there', 'converted as postgres_fdw does');
	sql('CREATE FOREIGN TABLE short_there (id int, long varchar(3)) SERVER there OPTIONS (table_name \'other\');
		CREATE DOMAIN filled AS int NOT NULL; CREATE FOREIGN TABLE filled_there (id int, i filled) SERVER there OPTIONS (table_name \'other\')');
	for (qw(short filled))
	{
		sql("CREATE TABLE ${_}_here (id int PRIMARY KEY, " . ($_ eq 'short' ? 'long text' : 'i int') . "); SELECT activate_sync('$_', '${_}_there', '${_}_here', key => 'id')");
		my ($ours, $theirs) = (fails("SELECT activate_run('$_')"), fails("SET activate.copy = off; SELECT activate_run('$_')"));
		my ($message) = $theirs =~ /ERROR:  (\w{5}: [^\n]*)/;
		like($ours, qr/ERROR:  \Q$message\E/, "$_: what a type refuses");
		like($ours, qr/column "(long|i)" as it comes from server "there"/, "$_: where it came from");
	}
};

subtest 'another encoding there' => sub {
	there("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
	there("CREATE TYPE mood AS ENUM ('sad', 'glücklich'); CREATE TABLE words (id int PRIMARY KEY, t text, v varchar(4), c char(4), n name, j jsonb, a text[], e mood);
		INSERT INTO words VALUES (1, 'äöü', 'éèêë', 'ß', 'ñ', '{\"ä\": \"ö\"}', '{ä,ö}', 'glücklich')", 'latin');
	server('latin', 'latin');
	sql("CREATE FOREIGN TABLE words_there (id int, t text, v varchar(4), c char(4), n name, j jsonb, a text[], e mood) SERVER latin OPTIONS (table_name 'words');
		SELECT activate_sync('words', 'words_there', 'words', key => 'id')");
	loads('words', 'SELECT * FROM words_there', 'LATIN1 there, UTF8 here');
	is(sql("SELECT t || v FROM words"), do { my $t = 'äöüéèêë'; utf8::encode($t); $t }, 'they are letters');
};

subtest 'queries' => sub {
	there('CREATE TABLE a (id int PRIMARY KEY, v text); INSERT INTO a SELECT i, repeat(\'a\', 100) || i FROM generate_series(1, 20000) i;
		CREATE TABLE b (id int PRIMARY KEY, a int, e mood); INSERT INTO b SELECT i, i % 1000, CASE i % 3 WHEN 0 THEN \'sad\'::mood END FROM generate_series(1, 5000) i');
	sql("CREATE FOREIGN TABLE a (id int, v text) SERVER there; CREATE FOREIGN TABLE b (id int, a int, e mood) SERVER there;
		CREATE TABLE here (id int PRIMARY KEY, w text); INSERT INTO here SELECT i, 'w' || i FROM generate_series(1, 100) i;
		CREATE FUNCTION kept(int) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN \$1 % 2 = 0; END'");
	my %queries = (
		joined => 'SELECT b.id, a.v, b.e FROM a JOIN b ON b.a = a.id',
		grouped => 'SELECT a AS id, count(*) AS n, max(id) AS last FROM b GROUP BY a',
		mixed => 'SELECT h.id, h.w, a.v FROM here h JOIN a ON a.id = h.id',
		filtered => 'SELECT id, v FROM a WHERE kept(id) AND id < 100',
		two => 'SELECT b.id, a.v FROM b JOIN a ON a.id = b.a WHERE kept(b.a + a.id)',
		sorted => 'SELECT DISTINCT ON (a) a AS id, e, id AS last FROM b ORDER BY a, id DESC',
		whole => 'SELECT id, a::text AS v FROM a',
		nothing => 'SELECT 1 AS id, count(*) AS n FROM (SELECT FROM a LIMIT 7) x',
		unions => 'SELECT id, v FROM a WHERE id < 10 UNION ALL SELECT -id, e::text FROM b WHERE id < 10');
	for (sort keys %queries)
	{
		sql("SELECT activate_sync('$_', '$queries{$_}', '$_', key => 'id')");
		my $asked = loads($_, $queries{$_}, $_);
		is(() = $asked =~ /^SET TRANSACTION SNAPSHOT/mg, 1, "$_: one snapshot") if /two|unions/;
	}
	sql("TRUNCATE joined; ALTER SERVER there OPTIONS (ADD use_remote_estimate 'true')");
	like(loads('joined', $queries{joined}, 'joined there'), qr/^COPY .*JOIN public\.b|^COPY .*public\.b.*JOIN/m, 'the join is made there');
	sql("ALTER SERVER there OPTIONS (DROP use_remote_estimate)");
	my $many = join(' UNION ALL ', map { "SELECT id + $_ * 100000 AS id FROM a WHERE id < 3" } 1 .. 9);
	sql("SELECT activate_sync('many', '$many', 'many', key => 'id')");
	loads('many', $many, 'too many at once', not => 1);

	sql("SELECT activate_sync('some', 'SELECT id, v FROM a WHERE kept(id) LIMIT 5', 'some_rows', key => 'id')");
	like(asked(sub { sql("SELECT activate_run('some')") }), qr/^COPY/m, 'LIMIT here: by COPY');
	is(sql('SELECT count(*), count(*) FILTER (WHERE v LIKE \'%a\' || id) FROM some_rows'), '5|5', 'so many rows');
	ok($remote->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'activate'"), 'no connection stays');

	sql("SELECT activate_sync('looked', 'SELECT h.id, (SELECT count(*) FROM b WHERE kept(b.id + h.id) AND b.id < 10) AS n FROM here h WHERE h.id < 5', 'looked', key => 'id')");
	loads('looked', 'SELECT h.id, (SELECT count(*) FROM b WHERE kept(b.id + h.id) AND b.id < 10) AS n FROM here h WHERE h.id < 5', 'read more than once', not => 1);
};

subtest 'in a transaction' => sub {
	sql("SELECT activate_sync('a2', 'a', 'a2', key => 'id')");
	loads('a2', 'SELECT * FROM a', 'in one that promised a snapshot', not => 1, before => 'SET default_transaction_isolation = \'repeatable read\'; ');
	sql('TRUNCATE a2');
	my $asked = asked(sub { sql("BEGIN; INSERT INTO a VALUES (0, 'new'); SELECT activate_run('a2'); COMMIT") });
	unlike($asked, qr/^COPY/m, 'what it has written there itself only postgres_fdw can see');
	is(sql('SELECT v FROM a2 WHERE id = 0'), 'new', 'it is seen');
	sql('TRUNCATE a2');
	$asked = asked(sub { sql("BEGIN; SAVEPOINT s; DELETE FROM a; ROLLBACK TO s; SELECT activate_run('a2'); COMMIT") });
	like($asked, qr/^COPY/m, 'what was taken back does not count');
	is(sql('SELECT count(*) FROM a2'), 20001, 'all of it');

	there('CREATE TABLE target (id int PRIMARY KEY, v text)');
	sql("CREATE FOREIGN TABLE target_there (id int, v text) SERVER there OPTIONS (table_name 'target');
		SELECT activate_sync('over', 'SELECT id, v FROM a WHERE id < 100', 'target_there', key => 'id')");
	unlike(asked(sub { sql("SELECT activate_run('over')") }), qr/^COPY/m, 'source and target on one server');
	is(there('SELECT count(*) FROM target'), 100, 'are loaded');
};

# A view there that stops at a row until nobody holds the lock.
there('CREATE FUNCTION gate(n int) RETURNS int VOLATILE LANGUAGE plpgsql AS $$ BEGIN
		IF n = 15000 THEN PERFORM pg_advisory_lock_shared(645); PERFORM pg_advisory_unlock_shared(645); END IF; RETURN n; END $$;
	CREATE VIEW gated AS SELECT gate(id) AS id, v FROM a; CREATE VIEW sorted AS SELECT * FROM gated ORDER BY v; CREATE VIEW broken AS SELECT id, v, 1 / (id - 15000) AS d FROM a');
sql("CREATE FOREIGN TABLE gated (id int, v text) SERVER there; CREATE FOREIGN TABLE sorted_there (id int, v text) SERVER there OPTIONS (table_name 'sorted'); CREATE FOREIGN TABLE broken (id int, v text, d int) SERVER there;
	SELECT activate_sync('gated', 'gated', 'gated_here', key => 'id'); SELECT activate_sync('sorted', 'sorted_there', 'sorted_here', key => 'id');
	SELECT activate_sync('broken', 'broken', 'broken_here', key => 'id')");

subtest 'an error in the middle' => sub {
	my $error = fails("SELECT activate_run('broken')");
	like($error, qr/ERROR:  22012: division by zero/, 'is told as it is');
	like($error, qr/remote SQL command: COPY \(SELECT id, v, d FROM public.broken\) TO STDOUT/, 'with what was asked');
	is(sql('SELECT count(*) FROM broken_here'), 0, 'nothing is loaded');
};

# A run in a session of its own, which waits in the middle of the stream, or before it begins.
sub stand_at_gate
{
	my ($name) = @_;
	my $gate = $remote->background_psql('postgres');
	my $run = $node->background_psql('postgres', on_error_stop => 0);

	$gate->query_safe('SELECT pg_advisory_lock(645)');
	$run->query_until(qr/started/, "\\echo started\nSELECT activate_run('$name');\n");
	ok($remote->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'activate' AND wait_event = 'advisory'"), "$name: at the gate");
	return ($gate, $run);
}

subtest 'the other end dies' => sub {
	my ($gate, $run) = stand_at_gate('gated');

	there("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'activate'");
	$run->query('SELECT 1');
	like($run->{stderr}, qr/ERROR: .*terminating connection due to administrator command/, 'the run fails');
	is(sql('SELECT count(*) FROM gated_here'), 0, 'nothing is half loaded');
	$gate->quit;
	$run->quit;
	sql("SELECT activate_run('gated')");
	is(sql('SELECT count(*) FROM gated_here'), 20001, 'the next run has all');
	sql('TRUNCATE gated_here');
};

for my $name (qw(gated sorted))
{
	subtest "it is cancelled: $name" => sub {
		my ($gate, $run) = stand_at_gate($name);

		ok($node->poll_query_until('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT activate_run%' AND state = 'active' AND pid <> pg_backend_pid()"), 'cancelled');
		$run->query('SELECT 1');
		like($run->{stderr}, qr/ERROR:  canceling statement due to user request/, 'the run ends');
		ok($remote->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'activate'"), 'so does the query there, though it waits');
		$gate->quit;
		$run->{stderr} = '';
		is($run->query_safe("SELECT count(activate_run('$name'))"), 1, 'the same session runs it again');
		is($run->query_safe("SELECT count(*) FROM ${name}_here"), 20001, 'to the end');
		$run->quit;
	};
}

subtest 'memory' => sub {
	there('CREATE VIEW wide AS SELECT id, repeat(v, 20) AS v FROM gated');
	sql("CREATE FOREIGN TABLE wide (id int, v text) SERVER there; SELECT activate_sync('wide', 'wide', 'wide_here', key => 'id')");
	my ($gate, $run) = stand_at_gate('wide');
	my $pid = sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT activate_run%' AND state = 'active' AND pid <> pg_backend_pid()");
	my ($kb) = slurp_file("/proc/$pid/status") =~ /RssAnon:\s*(\d+)/;

	cmp_ok($kb, '<', 20_000, '30 MB went through it');
	$gate->quit;
	$run->query_safe('SELECT 1');
	is(sql('SELECT count(*) FROM wide_here'), 20001, 'all of it');
	$run->quit;
};

subtest 'rights' => sub {
	there("CREATE ROLE reader LOGIN PASSWORD 'secret'; GRANT SELECT ON a TO reader");
	sql("CREATE ROLE loader LOGIN; GRANT USAGE ON FOREIGN SERVER there TO loader; CREATE SCHEMA loader AUTHORIZATION loader; GRANT SELECT ON a TO loader;
		SET SESSION AUTHORIZATION loader; SELECT activate_sync('mine', 'SELECT id, v FROM public.a WHERE id < 10', 'loader.mine', key => 'id')");
	my $run = "SET SESSION AUTHORIZATION loader; SELECT activate_run('mine')";
	like(fails($run), qr/ERROR:  42704: user mapping not found for (?:user )?"loader"/, 'no mapping');
	sql("CREATE USER MAPPING FOR loader SERVER there OPTIONS (user 'reader')");
	like(fails($run), qr/ERROR:  2F003: password (?:is |or GSSAPI delegated credentials )required/, 'no password');
	sql("ALTER USER MAPPING FOR loader SERVER there OPTIONS (ADD password 'secret')");
	like(fails($run), qr/ERROR:  2F003: password/, 'a password that nobody asks for');
	sql("ALTER USER MAPPING FOR loader SERVER there OPTIONS (ADD password_required 'false')");
	like(asked(sub { sql($run) }), qr/^COPY/m, 'a superuser has allowed it without');
	sql("ALTER USER MAPPING FOR loader SERVER there OPTIONS (DROP password_required)");
	my $hba = slurp_file($remote->data_dir . '/pg_hba.conf');
	unlink $remote->data_dir . '/pg_hba.conf';
	$remote->append_conf('pg_hba.conf', "local all reader scram-sha-256\n$hba");
	$remote->reload;
	like(asked(sub { sql("TRUNCATE loader.mine; $run") }), qr/^COPY/m, 'with the password');
	is(sql('SELECT count(*) FROM loader.mine'), 10, 'loaded');
	there('ALTER ROLE reader CONNECTION LIMIT 1');
	like(asked(sub { sql("TRUNCATE loader.mine; $run") }), qr/^COPY/m, 'one connection is all it takes');
	is(sql('SELECT count(*) FROM loader.mine'), 10, 'loaded as well');
};

$node->stop('fast');
$remote->stop('fast');
done_testing();
