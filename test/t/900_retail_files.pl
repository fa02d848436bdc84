# Real input in pieces: the invoice lines of a retailer come as gzip files, of which one is cut off at first.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $csv = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
plan skip_all => "no real data: $csv is not there" unless -r $csv;

my ($header, @lines) = split /\n/, slurp_file($csv);
my $node   = activate_node('retail_files');
my $folder = $node->basedir . '/in';
mkdir $folder or die "could not make $folder: $!";

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Pieces are made beside and moved, as whoever delivers them should; cut: without their end.
sub deliver
{
	my ($number, $cut, @part) = @_;
	my $file = "$folder/.piece-$number";

	append_to_file("$file.csv", join "\n", $header, @part, '');
	system_or_bail('gzip', "$file.csv");
	truncate "$file.csv.gz", (-s "$file.csv.gz") / 2 if $cut;
	rename "$file.csv.gz", "$folder/piece-$number.csv.gz" or die "could not move piece $number: $!";
	return;
}

my @names = split /,/, $header;
my $columns = join ', ', map { "\"$_\": \"text\"" } @names;
my $size = int(@lines / 5) + 1;
my @pieces = map { [ splice @lines, 0, $size ] } 1 .. 5;
deliver($_, $_ == 4, @{ $pieces[ $_ - 1 ] }) for 1 .. 5;

sql("SELECT activate_target('shop', 'file', '{\"path\": \"$folder\", \"objects\": {\"line\": {\"files\": \"piece-*.csv.gz\", \"header\": true, \"columns\": {$columns}}}}')");
sql("CREATE TABLE line (" . join(', ', map { "\"$_\" text" } @names) . '); CREATE TABLE whole (LIKE line)');
sql("COPY whole FROM '$csv' (FORMAT csv, HEADER)");
sql("SELECT activate_sync('lines', 'shop.line', 'line', mode => 'append', schedule => '\@every 1s')");
ok($node->poll_query_until('postgres', q(SELECT count(*) > 1 FROM activate.run WHERE error ~ 'piece-4.csv.gz", line \d+: its gzip data ends in the middle')), 'a piece that is cut off is told');
is(sql('SELECT count(*) FROM line'), 3 * $size, 'the pieces before it stay');
unlink "$folder/piece-4.csv.gz";
unlink "$folder/.piece-4.csv.gz";
deliver(4, 0, @{ $pieces[3] });
ok($node->poll_query_until('postgres', 'SELECT (SELECT count(*) FROM line) >= (SELECT count(*) FROM whole)'), 'delivered again, it is loaded');
is(sql('SELECT count(*) FROM (TABLE line EXCEPT ALL TABLE whole) d') . sql('SELECT count(*) FROM (TABLE whole EXCEPT ALL TABLE line) d'), '00', 'all lines are there, each once');
is(sql('SELECT sum(rows) = (SELECT count(*) FROM whole), count(*) FROM activate.file'), 't|5', 'as the ledger says');

$node->stop;
done_testing();
