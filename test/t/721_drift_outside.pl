# Sources that are no databases drift: headers of files, keys of JSON records and of an API's answers.  The next run finds what
# has become of them in the first records of the newest file, or on the first page; activate.drift says it, options.on_drift what is done.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('outside');
my $spool = PostgreSQL::Test::Utils::tempdir_short();
my $rows = 300;
my $clock = 1_700_000_000;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub refused { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }
sub drifts { return sql("SELECT concat_ws(' ', d.kind, d.\"column\", d.became, d.state) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = '$_[0]' ORDER BY d.id"); }
sub heal { return sql("SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = '$_[0]' AND d.kind = '$_[1]' AND d.state IN ('proposed', 'discarded')"); }
sub run { return sql("SELECT activate_run('$_[0]')"); }

# Each is newer than the one before.
sub file
{
	my ($name, $text) = @_;

	open(my $out, '>:utf8', "$spool/$name.new") or die "$spool/$name: $!";
	print $out $text;
	close $out;
	utime(++$clock, $clock, "$spool/$name.new");
	rename "$spool/$name.new", "$spool/$name" or die "$spool/$name: $!";
	return;
}

# "header", and a code that makes the fields of row i.
sub csv
{
	my ($name, $header, $row, $first, $last) = @_;

	file($name, join('', "$header\n", map { join(',', $row->($_)) . "\n" } ($first // 1) .. ($last // $rows)));
	return;
}

sub ndjson
{
	my ($name, $record, $first, $last) = @_;

	file($name, join('', map { my %r = $record->($_); my @pairs = map { "\"$_\": $r{$_}" } sort keys %r; '{' . join(', ', @pairs) . "}\n" } ($first // 1) .. ($last // $rows)));
	return;
}

sub of_csv
{
	my ($name, $options, %more) = @_;

	csv("$name-1.csv", 'id,email,qty,note', sub { my $i = shift; return ($i, "u$i\@example.com", $i % 97, "n$i") });
	sql("SELECT activate_target('$name', 'file', '{\"path\": \"$spool\", \"objects\": {\"rows\": {\"files\": \"$name-*.csv\", \"header\": true,
			\"columns\": {\"id\": \"bigint\", \"email\": \"text\", \"qty\": \"integer\", \"note\": \"text\"}}}}');
		SELECT activate_sync('$name', '$name.rows', 't.$name', key => 'id', mode => '" . ($more{mode} // 'mirror') . "', options => '$options'); SELECT activate_run('$name')");
	return;
}

sql('CREATE SCHEMA t');

subtest 'the header of a file, proposed' => sub {
	of_csv('asks', '{"on_drift": "propose"}');
	is(sql('SELECT count(*) FROM t.asks'), $rows, 'as it was');
	csv('asks-1.csv', 'id,e_mail,qty,note', sub { my $i = shift; return ($i, "u$i\@example.com" . ($i == 1 ? '!' : ''), $i == 1 ? 0 : $i % 97, "n$i") });
	run('asks');
	is(drifts('asks'), 'rename email e_mail proposed', 'a rename is proposed');
	cmp_ok(sql('SELECT min(confidence) FROM activate.drift'), '<', 1, 'with a confidence');
	is(sql('SELECT email, qty FROM t.asks WHERE id = 1'), 'u1@example.com|0', 'until then the column is left out, and all else goes on');
	heal('asks', 'rename');
	run('asks');
	is(sql('SELECT email FROM t.asks WHERE id = 1'), 'u1@example.com!', 'healed, it is there again');
	csv('asks-1.csv', 'city,id,e_mail,qty,note', sub { my $i = shift; return ('Kiel', $i, "u$i\@example.com", $i % 97, "n$i") });
	run('asks');
	is(drifts('asks'), "rename email e_mail healed\nadd city text proposed", 'a column that comes is proposed');
	heal('asks', 'add');
	run('asks');
	is(sql('SELECT city, email FROM t.asks WHERE id = 1'), 'Kiel|u1@example.com', 'and is there when it is healed');
	csv('asks-1.csv', 'city,id,e_mail,qty', sub { my $i = shift; return ('Kiel', $i, "v$i\@example.com", $i % 97) });
	run('asks');
	is(sql("SELECT count(*) FROM t.asks WHERE note = 'n' || id AND email = 'v' || id || '\@example.com'"), $rows, 'a column that goes is left out: what the target has stays');
	csv('asks-1.csv', 'city,number,e_mail,qty', sub { my $i = shift; return ('Kiel', $i, "v$i\@example.com", $i % 97) });
	like(refused("SELECT activate_run('asks')"), qr/column "id" of asks.rows was renamed to "number", and the key/, 'a key cannot be left out: it stops, naming it');
	csv('asks-1.csv', 'city,e_mail,qty', sub { my $i = shift; return ('Kiel', "v$i\@example.com", $i % 97) });
	like(refused("SELECT activate_run('asks')"), qr/column "id" of asks.rows was dropped, and the key/, 'gone for good as well');
};

subtest 'the header of a file, followed' => sub {
	of_csv('follows', '{"on_drift": "evolve"}');
	csv('follows-1.csv', 'number,e_mail,qty,city,points', sub { my $i = shift; return ($i, $i == 1 ? 'new' : "u$i\@example.com", $i == 1 ? 5_000_000_000 : $i % 97, 'Kiel', $i * 2) });
	run('follows');
	is(sql('SELECT id, email, qty, note, city, points FROM t.follows WHERE id = 1'), '1|new|5000000000|n1|Kiel|2', 'all at once');
	is(sql("SELECT string_agg(DISTINCT d.kind || ' ' || d.state, ', ') FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'follows'"),
		'add healed, drop healed, rename healed, type healed', 'and it is written down');
	is(sql("SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't.follows'::regclass AND attname IN ('qty', 'points') ORDER BY 1"),
		"points bigint\nqty bigint", 'types are the narrowest that fit');
	run('follows');
	is(sql("SELECT rows_updated FROM activate.run ORDER BY id DESC LIMIT 1"), '0', 'the next run finds nothing to do');
	of_csv('turns', '{"on_drift": "evolve"}');
	csv('turns-1.csv', 'id,e_mail,qty,note', sub { my $i = shift; return ($i, "u$i\@example.com", $i % 97, "n$i") });
	run('turns');
	sql("SELECT activate_heal_revert(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'turns'");
	is(drifts('turns'), 'rename email e_mail reverted', 'it can be taken back');
	csv('turns-1.csv', 'id,email,qty,note', sub { my $i = shift; return ($i, "v$i\@example.com", $i % 97, "n$i") });
	run('turns');
	is(sql("SELECT count(*) FROM t.turns WHERE email ~ '^v'"), $rows, 'and the former name is looked for again');
};

subtest 'the header of a file, frozen and discarded' => sub {
	of_csv('stops', '{"on_drift": "freeze"}');
	csv('stops-1.csv', 'id,e_mail,qty,note', sub { my $i = shift; return ($i, "u$i\@example.com", $i % 97, "n$i") });
	like(refused("SELECT activate_run('stops')"), qr/on_drift is "freeze": column "email" of stops.rows was renamed to "e_mail"/, 'it stops, naming the difference');
	csv('stops-1.csv', 'note,id,email,qty', sub { my $i = shift; return ("n$i", $i, "w$i\@example.com", $i % 97) });
	run('stops');
	is(sql("SELECT count(*) FROM t.stops WHERE email ~ '^w'"), $rows, 'and goes on when that is taken back; another order is no difference');

	of_csv('ignores', '{"on_drift": "discard"}');
	csv('ignores-1.csv', 'id,email,qty,note,city', sub { my $i = shift; return ($i, "u$i\@example.com", $i % 97, "n$i", 'Kiel') });
	run('ignores');
	is(drifts('ignores'), 'add city text discarded', 'what is new is ignored');
	heal('ignores', 'add');
	run('ignores');
	is(sql('SELECT DISTINCT city FROM t.ignores'), 'Kiel', 'and can be had later');
};

subtest 'without on_drift' => sub {
	of_csv('plain', '{}');
	csv('plain-1.csv', 'id,e_mail,qty,note', sub { my $i = shift; return ($i, "u$i", 1, "n$i") });
	like(refused("SELECT activate_run('plain')"), qr/line 1: the header has no column "email"/, 'a header that is not known is an error');
	is(sql('SELECT count(*), sum(qty) FROM plain.rows'), "$rows|$rows", 'of who asks for the column');
};

subtest 'a single value that does not fit' => sub {
	of_csv('stray', '{"on_drift": "evolve"}');
	csv('stray-1.csv', 'id,email,qty,note', sub { my $i = shift; return ($i, "u$i", $i == 7 ? 'many' : 1, "n$i") });
	like(refused("SELECT activate_run('stray')"), qr/line 8, column "qty": invalid input syntax for type integer: "many"/, 'is no other type: file and line are named');
	csv('stray-1.csv', 'id,email,qty,note', sub { my $i = shift; return ($i, "u$i", $i % 3 ? 'many' : 1, "n$i") });
	run('stray');
	is(drifts('stray'), 'type qty text healed', 'many are');
};

# One file after the other, each once: old and new ones lie side by side.
subtest 'files of different layouts' => sub {
	of_csv('feed', '{"on_drift": "evolve"}', mode => 'upsert');
	csv('feed-2.csv', 'id,email,qty,note', sub { my $i = shift; return ($i, "u$i\@example.com", $i % 97, "n$i") }, $rows + 1, 2 * $rows);
	csv('feed-3.csv', 'qty,id,mail,note,city', sub { my $i = shift; return ($i % 97, $i, "u$i\@example.com", "n$i", 'Kiel') }, 2 * $rows + 1, 3 * $rows);
	run('feed');
	is(drifts('feed'), "rename email mail healed\nadd city text healed", 'other rows: what is unique is known by what it looks like');
	is(sql("SELECT count(*), count(email), count(note), count(city) FROM t.feed"), join('|', 3 * $rows, 3 * $rows, 3 * $rows, $rows), 'a file of the old layout beside one of the new: both are read');
	is(sql("SELECT count(*), count(email), count(city) FROM feed.rows"), join('|', 3 * $rows, 3 * $rows, $rows), 'and all of them by a SELECT');
	is(sql("SELECT count(*) FROM activate.file f JOIN activate.sync s ON s.id = f.sync WHERE s.name = 'feed'"), 3, 'each once');
	csv('feed-4.csv', 'id,mail,note,city', sub { my $i = shift; return ($i, "u$i\@example.com", "n$i", 'Kiel') }, 3 * $rows + 1, 3 * $rows + 5);
	run('feed');
	is(sql("SELECT count(*), count(qty) FROM t.feed"), join('|', 3 * $rows + 5, 3 * $rows), 'a column that goes');
	$node->safe_psql('postgres', "SELECT activate_sync('mine', 'feed.rows', 't.mine', key => 'id', mode => 'mirror', map => '{\"id\": \"id\", \"email\": \"email\"}')");
	run('mine');
	is(sql('SELECT count(email) FROM t.mine'), 3 * $rows + 5, 'and who does not ask for it reads them all');
};

subtest 'keys of JSON records' => sub {
	ndjson('log-1.ndjson', sub { my $i = shift; return (id => $i, email => "\"u$i\@example.com\"", address => "{\"city\": \"Kiel$i\", \"zip\": \"$i\"}", ($i == 5 ? (rare => 1) : ()), qty => $i % 97) });
	sql("SELECT activate_target('log', 'file', '{\"path\": \"$spool\", \"objects\": {\"rows\": {\"files\": \"log-*.ndjson\", \"format\": \"ndjson\",
			\"columns\": {\"id\": \"bigint\", \"email\": \"text\", \"city\": {\"type\": \"text\", \"path\": \"address.city\"}, \"rare\": \"integer\", \"qty\": \"integer\"}}}}');
		SELECT activate_sync('log', 'log.rows', 't.log', key => 'id', mode => 'mirror', options => '{\"on_drift\": \"evolve\"}'); SELECT activate_run('log')");
	ndjson('log-1.ndjson', sub { my $i = shift; return (id => $i, email => "\"u$i\@example.com\"", address => "{\"city\": \"Kiel$i\"}", qty => $i % 97) });
	run('log');
	is(drifts('log'), '', 'what a record has now and then is not gone when these have it not');
	is(sql('SELECT count(rare) FROM t.log'), 0, 'it is NULL');
	ndjson('log-1.ndjson', sub { my $i = shift; return (id => $i, mail => "\"u$i\@example.com\"", address => "{\"town\": \"Kiel$i\"}", vip => $i % 2 ? 'true' : 'false', tags => '["a"]') });
	run('log');
	is(join("\n", sort split /\n/, drifts('log')), join("\n", sort 'rename email mail healed', 'rename address.city address.town healed', 'drop qty healed', 'add vip boolean healed', 'add tags jsonb healed'),
		'names, places within, types');
	is(sql('SELECT email, city, qty, vip, tags FROM t.log WHERE id = 1'), 'u1@example.com|Kiel1|1|t|["a"]', 'and it goes on');
	ndjson('log-2.ndjson', sub { my $i = shift; return (id => $i, email => "\"u$i\@example.com\"", address => "{\"city\": \"Kiel$i\"}") }, $rows + 1, $rows + 5);
	utime(1, 1, "$spool/log-2.ndjson");
	run('log');
	is(sql("SELECT email, city FROM t.log WHERE id = $rows + 2"), 'u' . ($rows + 2) . '@example.com|Kiel' . ($rows + 2), 'an older file still has its names');
};

# What the API answers from now on: members of each record by a code.
my $crm = ActivateTest::Service->new;

sub answers
{
	my ($record) = @_;

	$crm->call('POST', '/_reset');
	$crm->call('POST', '/objects/contacts/batch/upsert', '{"inputs": [' . join(',', map { '{' . join(', ', $record->($_)) . '}' } 1 .. $rows) . ']}');
	return;
}

sub of_api
{
	my ($name, $policy) = @_;

	answers(sub { my $i = shift; return ("\"id\": $i", "\"props\": {\"email\": \"u$i\@example.com\", \"city\": \"Kiel\"}", "\"qty\": " . $i % 97, "\"note\": \"n$i\"") });
	sql("SELECT activate_target('$name', 'rest', '{\"base_url\": \"" . $crm->url . "\", \"objects\": {\"contacts\": {\"path\": \"/objects/contacts\", \"key\": \"id\",
			\"columns\": {\"id\": \"bigint\", \"email\": {\"type\": \"text\", \"path\": \"props.email\"}, \"qty\": \"integer\", \"note\": \"text\"},
			\"read\": {\"records\": \"data\", \"page\": {\"style\": \"cursor\", \"param\": \"cursor\", \"next\": \"paging.next\"}}}}}');
		SELECT activate_sync('$name', '$name.contacts', 't.$name', key => 'id', mode => 'mirror', options => '{\"on_drift\": \"$policy\"}'); SELECT activate_run('$name')");
	return;
}

subtest 'members of an API\'s answers' => sub {
	of_api('apiasks', 'propose');
	is(sql('SELECT count(email) FROM t.apiasks'), $rows, 'as it was');
	answers(sub { my $i = shift; return ("\"id\": $i", "\"props\": {\"mail\": \"u$i\@example.com" . ($i == 1 ? '!' : '') . '", "city": "Kiel"}', '"qty": 0', "\"note\": \"n$i\"") });
	run('apiasks');
	is(join("\n", grep { /email/ } split /\n/, drifts('apiasks')), 'rename props.email props.mail proposed', 'a field with another name is proposed');
	is(sql('SELECT email, qty FROM t.apiasks WHERE id = 1'), 'u1@example.com|0', 'and left out meanwhile, not NULL');
	heal('apiasks', 'rename');
	run('apiasks');
	is(sql('SELECT email FROM t.apiasks WHERE id = 1'), 'u1@example.com!', 'healed, it comes again');

	of_api('apifollows', 'evolve');
	answers(sub { my $i = shift; return ("\"id\": $i", "\"props\": {\"mail\": \"u$i\@example.com\", \"city\": \"Kiel\"}", '"qty": ' . ($i == 1 ? 5_000_000_000 : $i % 97), "\"vip\": " . ($i % 2 ? 'true' : 'false')) });
	run('apifollows');
	is(sql('SELECT email, qty, note, vip FROM t.apifollows WHERE id = 1'), 'u1@example.com|5000000000|n1|t', 'fields that have another name or type, come and go: followed');

	of_api('apistops', 'freeze');
	answers(sub { my $i = shift; return ("\"id\": $i", "\"props\": {\"email\": \"u$i\@example.com\", \"city\": \"Kiel\"}", '"qty": 1') });
	like(refused("SELECT activate_run('apistops')"), qr/on_drift is "freeze": column "note" of apistops.contacts was dropped/, 'a field that is gone: it stops, naming it');
};

$node->stop('fast');
done_testing();
