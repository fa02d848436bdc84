# A full copy of a relation of another PostgreSQL, into an empty table with a primary key.
use strict;
use warnings;

use Bench;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);

my $columns = 'id bigint, account integer, name text, email text, country char(2), balance numeric(12,2),
	score double precision, active boolean, born date, created timestamptz, token uuid, detail jsonb';
my $values = q{i, i % 1000, 'customer ' || i, 'customer' || i || '@example.com', 'SE', i * 0.01, i / 7.0, i % 2 = 0, date '2000-01-01' + (i % 9000)::integer,
	timestamptz '2026-01-01' + i * interval '1 second', md5(i::text)::uuid, jsonb_build_object('n', i, 'of', 'something')};

# What psql takes out of one database and puts into the other.
sub pipe_of
{
	my ($from, $to) = @_;
	my $start = time;

	system_or_bail('sh', '-c', "psql -XqAt -d $from -c 'COPY big TO STDOUT (FORMAT binary)' | psql -Xq -v ON_ERROR_STOP=1 -d $to -c 'COPY piped FROM STDIN (FORMAT binary)'");
	return { wall => time - $start };
}

figure extract => sub {
	my ($s) = @_;
	my $n = size(200_000, 2_000_000);
	my $source = database('extract_source');

	$source->run("CREATE TABLE big ($columns); INSERT INTO big SELECT $values FROM generate_series(1, $n) i; ALTER TABLE big ADD PRIMARY KEY (id); VACUUM ANALYZE big");
	$s->run("CREATE EXTENSION postgres_fdw; CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw
			OPTIONS (host '" . node()->host . "', port '" . node()->port . "', dbname 'extract_source', fetch_size '10000');
		CREATE USER MAPPING FOR CURRENT_USER SERVER other; CREATE FOREIGN TABLE big ($columns) SERVER other;
		CREATE TABLE loaded ($columns, PRIMARY KEY (id)); CREATE TABLE inserted (LIKE loaded INCLUDING ALL); CREATE TABLE piped (LIKE loaded INCLUDING ALL);
		SELECT activate_sync('big', 'big', 'loaded', key => 'id')");
	my $empty = sub { $s->run("TRUNCATE $_[0]; CHECKPOINT") };
	my $got = alternate(
		ours => sub { $empty->('loaded'); measure($s, "SELECT activate_run('big')") },
		insert => sub { $empty->('inserted'); measure($s, 'INSERT INTO inserted SELECT * FROM big') },
		pipe => sub { $empty->('piped'); pipe_of('extract_source', $s->{database}) });

	for my $table (qw(inserted piped))
	{
		$s->run("SELECT count(*) FROM loaded JOIN $table t USING (id) WHERE loaded *= t") == $n or die "the copies differ\n";
	}
	row('full copy of ' . number($n) . ' rows × 12 columns from another PostgreSQL', unit => 's', against => 'INSERT … SELECT through postgres_fdw, fetch_size 10,000',
		ours => column($got->{ours}, 'wall'), base => column($got->{insert}, 'wall'),
		reach => '≤ 0.45', ok => sub { $_[2] <= 0.45 });
	row('the same', unit => 's', against => 'a pipe of two psql, COPY binary',
		ours => column($got->{ours}, 'wall'), base => column($got->{pipe}, 'wall'),
		reach => '≤ 1.0', ok => sub { $_[2] <= 1.0 });
	row('WAL of it per row', unit => 'bytes', against => 'INSERT … SELECT', ours => per($got->{ours}, 'wal', $n), base => per($got->{insert}, 'wal', $n));
};

1;
