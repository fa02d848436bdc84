# Files by runners, from web servers and object stores: each once and whole, whatever happens meanwhile.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Bucket;
use File::Path qw(make_path);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('files', conf => 'activate.runners = 2');
my $in   = $node->basedir . '/in';
make_path($in);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub put
{
	my ($name, $content) = @_;

	open my $out, '>:raw', "$name.new" or die "could not write $name: $!";
	print $out $content;
	close $out;
	rename "$name.new", $name or die "could not rename $name: $!";
	return;
}

sub error_of
{
	my ($query) = @_;
	my ($status, undef, $error) = $node->psql('postgres', $query);

	return $status == 0 ? 'none' : $error;
}

# The files of a sync's ledger, with their rows.
sub ledger
{
	my ($sync) = @_;

	return sql("SELECT string_agg(regexp_replace(f.name, '^.*/', '') || ' ' || f.rows, ', ' ORDER BY f.name)
		FROM activate.file f JOIN activate.sync s ON s.id = f.sync WHERE s.name = '$sync'");
}

sub runs
{
	my ($sync) = @_;

	return sql("SELECT string_agg(format('%s %s', status, rows_read), ', ' ORDER BY r.id) FILTER (WHERE status <> 'succeeded' OR rows_read > 0)
		FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

# A run by hand: rows read and inserted.
sub run
{
	my ($sync) = @_;
	my $id = sql("SELECT activate_run('$sync')");

	return sql("SELECT rows_read || ' ' || rows_inserted FROM activate.run WHERE id = $id");
}

# A file each transaction: kill -9 in the middle of the seventh.
for my $i (1 .. 10)
{
	put(sprintf('%s/k-%02d.csv', $in, $i), join '', map { ($i * 100 + $_) . ",v$i\n" } 1 .. 20);
}
sql("CREATE TABLE events (id bigint, v text);
	CREATE FUNCTION gate(id bigint, v text) RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN
		IF id = 710 THEN PERFORM pg_advisory_xact_lock_shared(660); END IF; RETURN v; END \$\$;
	SELECT activate_target('spool', 'file', '{\"path\": \"$in\", \"objects\": {\"k\": {\"files\": \"k-*.csv\", \"columns\": [{\"id\": \"bigint\"}, {\"v\": \"text\"}]}}}')");
my $gate = $node->background_psql('postgres', on_error_stop => 0);
$gate->query('SELECT pg_advisory_lock(660)');
sql("SELECT activate_sync('events', 'spool.k', 'events', mode => 'append', map => '{\"id\": \"id\", \"v\": \"gate(id, v)\"}', schedule => '\@every 1s')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM activate.stat_run r JOIN pg_stat_activity a ON a.pid = r.pid
	WHERE r.name = 'events' AND a.wait_event = 'advisory'"), 'a runner stands in the seventh file');
is(sql('SELECT count(*) FROM events'), 120, 'six files are there');
is(ledger('events'), join(', ', map { sprintf 'k-%02d.csv 20', $_ } 1 .. 6), 'and in the ledger');
my $pid = sql("SELECT pid FROM activate.stat_run WHERE name = 'events'");
ok(kill_hard($pid), 'the runner is killed');
eval { $gate->quit };
ok($node->poll_query_until('postgres', 'SELECT count(*) = 200 FROM events'), 'what was left is loaded by another');
ok($node->poll_query_until('postgres', "SELECT count(*) >= 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync
	WHERE s.name = 'events' AND r.status = 'succeeded' AND r.rows_read = 80"), 'it began with the seventh');
is(sql('SELECT count(*) = count(DISTINCT id) FROM events'), 't', 'no row twice');
is(ledger('events'), join(', ', map { sprintf 'k-%02d.csv 20', $_ } 1 .. 10), 'the ledger has all');

# A bad file: what is before it stays, and is not loaded again when it is mended.
put("$in/k-11.csv", "1101,v\n");
put("$in/k-12.csv", "1201,v\n1202\n");
put("$in/k-13.csv", "1301,v\n");
ok($node->poll_query_until('postgres', "SELECT count(*) > 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync
	WHERE s.name = 'events' AND r.status = 'failed' AND r.error LIKE '%k-12.csv\", line 2: it has 1 fields, not 2'"), 'a bad file is told, by file and line');
is(sql('SELECT count(*) FROM events WHERE id > 1100'), 1, 'the file before it is loaded, once; nothing of it');
put("$in/k-12.csv", "1201,v\n1202,v\n");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 204 FROM events'), 'mended, it is loaded, and what comes after');
is(sql('SELECT count(*) = count(DISTINCT id) FROM events'), 't', 'still no row twice');
sql("SELECT activate_drop('events')");

# Files that nobody looks at are not the next ones again and again.
sql("CREATE TABLE never (id bigint PRIMARY KEY, v text); SELECT activate_sync('never', 'spool.k', 'never', key => 'id',
	options => '{\"where\": \"current_date < date ''2000-01-01''\"}', schedule => '\@every 1s')");
ok($node->poll_query_until('postgres', "SELECT count(*) > 1 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'never' AND r.status = 'succeeded'"),
	'a run ends though it has read none of them');
sql("SELECT activate_drop('never')");

# Packed by zstd, where this build can unpack that.
SKIP:
{
	my $packed = "$in/z-1.csv.zst";

	skip 'there is no program zstd', 3 if system('zstd --version >/dev/null 2>&1') != 0;
	sql("SELECT activate_target('spool', 'file', '{\"objects\": {\"z\": {\"files\": \"z-*\", \"columns\": {\"id\": \"bigint\"}}}}')");
	put("$in/z-1.csv", join '', map { "$_\n" } 1 .. 300_000);
	system_or_bail('zstd', '-q', '--rm', "$in/z-1.csv");
	my $error = error_of('SELECT FROM spool.z');
	skip 'built without libzstd', 3 if $error =~ /it is packed by zstd, which this build cannot unpack/;
	is(sql('SELECT count(*), sum(id) FROM spool.z'), '300000|45000150000', 'zstd: all of it');
	system_or_bail('sh', '-c', "cat $packed $packed >$in/two && mv $in/two $packed");
	is(sql('SELECT count(*) FROM spool.z'), 600_000, 'two frames');
	truncate $packed, (-s $packed) - 10;
	like(error_of('SELECT count(*) FROM spool.z'), qr{z-1.csv.zst", line \d+: its zstd data ends in the middle}, 'one that is cut off');
}

# An object store.
my $folder = $node->basedir . '/store';
my $log    = $node->basedir . '/asked';
make_path("$folder/b/in/2026", "$folder/bbb/in/2026", "$folder/files");
my $store = ActivateTest::Bucket->new($folder, $log, access_key => 'AKEXAMPLE', secret_key => 'wJalr/secret+key', page => 2);
my $url = $store->url;
put("$folder/bbb/in/2026/a b+ü.csv", "id,v\n1,a\n");
put("$folder/bbb/in/2026/c.csv", "id,v\n2,c\n");
put("$folder/bbb/in/2026/d.csv", "id,v\n3,d\n");
put("$folder/bbb/in/2026/e.txt", 'nothing of ours');
put("$folder/bbb/in/f.csv", 'not so deep');
sub s3
{
	my ($secret, $objects) = @_;

	return "SELECT activate_target('store', 'file', '{\"url\": \"s3://bbb/in\", \"endpoint\": \"$url\", \"objects\": {$objects}}', '{\"s3\": $secret}')";
}
my $right   = '{"access_key": "AKEXAMPLE", "secret_key": "wJalr/secret+key"}';
my $columns = '"header": true, "columns": {"id": "bigint", "v": "text", "_file": "text"}';
sql(s3($right, "\"o\": {\"files\": \"*/*.csv\", $columns}, \"cut\": {\"files\": \"*.cut\", $columns}, \"busy\": {\"files\": \"*.busy\", $columns}"));
is(sql("SELECT string_agg(id || v, ' ' ORDER BY id), min(_file) FROM store.o"), '1a 2c 3d|s3://bbb/in/2026/a b+ü.csv', 'objects are read, by signed requests');
is((grep { /^list prefix=in\/( token=\d)?$/ } ActivateTest::Bucket::asked($log)), 3, 'they were listed page by page');
is((grep { /refused/ } ActivateTest::Bucket::asked($log)), 0, 'no signature was refused');
sql("CREATE TABLE o (id bigint PRIMARY KEY, v text); SELECT activate_sync('o', 'store.o', 'o', key => 'id')");
sql("SELECT activate_run('o')");
is(ledger('o'), 'a b+ü.csv 1, c.csv 1, d.csv 1', 'and loaded');
unlink $log;
put("$folder/bbb/in/2026/d.csv", "id,v\n3,D\n");
sql("SELECT activate_run('o')");
is(sql("SELECT string_agg(id || v, ' ' ORDER BY id) FROM o"), '1a 2c 3D', 'an object that changed is read again');
is(join(' ', grep { /^get/ } ActivateTest::Bucket::asked($log)), 'get bbb/in/2026/d.csv', 'and no other');
put("$folder/bbb/in/x.cut", "id,v\n" . join('', map { "$_," . 'v' x 90 . "\n" } 1 .. 100_000));
like(error_of('SELECT count(*) FROM store.cut'), qr{could not read file "s3://bbb/in/x\.cut", line \d+: connection to 127\.0\.0\.1 port \d+ was lost}, 'an object that breaks off is no end of it');
put("$folder/bbb/in/x.busy", "id,v\n7,x\n");
is(sql('SELECT id FROM store.busy'), 7, 'a store that is busy is asked again');
unlink "$folder/bbb/in/x.busy.was";
sql(s3('{"access_key": "AKEXAMPLE", "secret_key": "another+secret"}', ''));
my $refused = error_of('SELECT * FROM store.o');
like($refused, qr{status 403.*SignatureDoesNotMatch.*The secret of the user mapping is not accepted}s, 'a wrong key is told as the store tells it');
unlike($refused, qr/another|AKEX/, 'and not shown');
like(error_of("ALTER SERVER store OPTIONS (SET endpoint 'https://10.1.2.3'); SELECT * FROM store.o"), qr/host "10.1.2.3" may not be contacted/, 'allowed_hosts counts here, too');

# A web server: one file, known again by its ETag; a stream, however long.
put("$folder/files/big.csv", join '', map { "$_," . 'x' x 90 . "\n" } 1 .. 200_000);
sql("SELECT activate_target('web', 'file', '{\"url\": \"$url/files\", \"objects\": {\"big\": {\"files\": \"big.csv\", \"columns\": [{\"id\": \"bigint\"}, {\"v\": \"text\"}]},
	\"none\": {\"files\": \"none.csv\", \"columns\": {\"id\": \"bigint\"}}}}')");
is(sql('SELECT count(*), sum(id) FROM web.big'), '200000|20000100000', 'a file of 19 MB, more than an answer of an API may have');
is(sql('SELECT count(*) FROM web.big a JOIN web.big b USING (id)'), 200000, 'and twice at once');
is(sql('SELECT count(*) FROM (SELECT FROM web.big LIMIT 3) q; SELECT count(*) FROM web.big'), "3\n200000", 'one that is not read to its end hinders nobody');
sql("CREATE TABLE big (id bigint PRIMARY KEY, v text); SELECT activate_sync('big', 'web.big', 'big', key => 'id', mode => 'insert'); SELECT activate_run('big')");
unlink $log;
is(run('big'), '0 0', 'it is not loaded twice');
put("$folder/files/big.csv", "300000,y\n");
is(run('big'), '1 1', 'another content is another file');
like(error_of('SELECT * FROM web.none'), qr{could not read file "\Q$url\E/files/none.csv": the server answered with status 404}, 'what is not there is told');
is(sql("SELECT count(*) FROM pg_stat_progress_copy"), 0, 'nothing is left behind');

$node->stop;
done_testing();
