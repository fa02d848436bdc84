# What a run costs that looks for what has changed: a comparison with what was
# sent to an API, and rows merged into a table.  CPU of the one process: parallel
# workers are off on both sides.
use strict;
use warnings;

use Bench;

# 10 columns, about 140 bytes.
my $row = "i AS id, 'customer ' || i AS name, 'customer.' || i || '\@example.org' AS mail, md5(i::text) AS token, (ARRAY['DE', 'FR', 'NO'])[i % 3 + 1] AS country,
	(i % 100000) / 100.0 AS spent, i % 50 AS orders, timestamptz '2026-01-01 UTC' + i * interval '1 s' AS seen, i / 3.0::float8 AS score, i % 7 = 0 AS vip";

# A table of n rows and a copy of it, all sent to an API; then one in a hundred is changed.
sub changed_rows
{
	my ($s, $name, $n) = @_;

	$s->run("CREATE TABLE $name AS SELECT $row FROM generate_series(1::bigint, $n) i; ALTER TABLE $name ADD PRIMARY KEY (id);
		CREATE TABLE ${name}_copy AS SELECT * FROM $name;
		SELECT activate_sync('$name', '$name', 'sink.change')");
	$s->run("SELECT activate_run('$name')");
	$s->run("SELECT activate_wait('$name', '60 minutes')") eq 't' or die "not everything was delivered\n";
	$s->run("SELECT count(*) FROM activate.sent WHERE sync = (SELECT id FROM activate.sync WHERE name = '$name')") == $n or die "not everything was sent\n";
	$s->run("UPDATE $name SET orders = orders + 1 WHERE id % 100 = 0");
	$s->run("VACUUM (FULL, ANALYZE) $name; VACUUM ANALYZE ${name}_copy; VACUUM ANALYZE activate._sent; CHECKPOINT");
	return;
}

sub compare
{
	my ($s, $name, $n) = @_;

	$s->run('BEGIN');
	my $result = measure($s, "SELECT activate_run('$name')");
	$s->run("SELECT count(*) FILTER (WHERE rows_updated = $n / 100 AND rows_read = $n AND rows_inserted + rows_deleted = 0) FROM (SELECT * FROM activate.run ORDER BY id DESC LIMIT 1) r") == 1
	  or die "the run found something else\n";
	$s->run('ROLLBACK');
	return $result;
}

figure comparison => sub {
	my ($s) = @_;
	my $n = size(200_000, 1_000_000);
	my %n = (one => $n, five => 5 * $n);
	my %in = (one => $s, five => database('comparison_five'));

	for my $name (qw(one five))
	{
		$in{$name}->run("SET max_parallel_workers_per_gather = 0; SET work_mem = '1GB'; SET maintenance_work_mem = '1GB';
			SELECT activate_target('sink', 'webhook', '{\"url\": \"" . service()->url('/sink') . "\", \"batch\": 1000}')");
		changed_rows($in{$name}, $name, $n{$name});
	}
	my $got = alternate(
		map({ my $name = $_; ("count_$name" => sub { measure($in{$name}, "SELECT count(*) FROM $name") }, "ours_$name" => sub { compare($in{$name}, $name, $n{$name}) }) } qw(one five)),
		except => sub { measure($s, 'SELECT count(*) FROM ((TABLE one EXCEPT TABLE one_copy) UNION ALL (TABLE one_copy EXCEPT TABLE one)) d') });

	my %ms = map { $_ => per($got->{$_}, 'cpu', 1000) } keys %$got;
	row('comparison of ' . number($n) . ' rows × 10 columns with what was sent, 1 % changed', unit => 'ms of CPU', against => 'count(*)',
		ours => $ms{ours_one}, base => $ms{count_one}, reach => '≤ 4', ok => sub { $_[2] <= 4 });
	row('the same', unit => 'ms of CPU', against => 'EXCEPT both ways with a copy',
		ours => $ms{ours_one}, base => $ms{except}, reach => '≤ 0.12', ok => sub { $_[2] <= 0.12 });
	row('comparison of ' . number(5 * $n) . ' rows', unit => 'ms of CPU', against => 'count(*)',
		ours => $ms{ours_five}, base => $ms{count_five}, reach => '≤ 7', ok => sub { $_[2] <= 7 });
	row('the same', unit => 'ms of CPU', against => 'ours of a fifth',
		ours => $ms{ours_five}, base => $ms{ours_one}, reach => '≤ 5.5', ok => sub { $_[2] <= 5.5 });
};

# Merges what it is given, and takes it back.
sub merged
{
	my ($s, $table, $sql) = @_;

	$s->run("VACUUM $table; CHECKPOINT; BEGIN");
	my $result = measure($s, $sql);
	$s->run("SELECT count(*) FROM $table t JOIN staged USING (id) WHERE t *<> staged") == 0 or die "not all of it was merged\n";
	$s->run('ROLLBACK');
	return $result;
}

# A tenth of a table comes again by key; one in ten of these rows is another than the one that is there.
figure merge => sub {
	my ($s) = @_;
	my $n = size(500_000, 2_000_000);

	set_autovacuum('off');
	$s->run("SET max_parallel_workers_per_gather = 0; SET work_mem = '256MB';
		CREATE TABLE plain AS SELECT $row FROM generate_series(1::bigint, $n) i; ALTER TABLE plain ADD PRIMARY KEY (id);
		SELECT activate_sync('copy', 'plain', 'ours'); SELECT activate_run('copy');
		CREATE TABLE staged AS SELECT * FROM ours WHERE id % 10 = 3; UPDATE staged SET orders = orders + 1 WHERE id % 100 = 3;
		VACUUM ANALYZE ours; VACUUM ANALYZE plain; VACUUM FULL ANALYZE staged; SELECT activate_sync('merge', 'staged', 'ours', key => 'id')");
	my $columns = $s->run("SELECT string_agg(format('%I = excluded.%1\$I', attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'plain'::regclass AND attnum > 1");
	my $got = alternate(
		ours => sub { merged($s, 'ours', "SELECT activate_run('merge')") },
		plain => sub { merged($s, 'plain', "INSERT INTO plain TABLE staged ON CONFLICT (id) DO UPDATE SET $columns") });

	row(number($n / 10) . ' rows merged by key into ' . number($n) . ', 10 % of them different', unit => 'ms of CPU', against => 'INSERT … ON CONFLICT DO UPDATE',
		ours => per($got->{ours}, 'cpu', 1000), base => per($got->{plain}, 'cpu', 1000), reach => '≤ 0.6', ok => sub { $_[2] <= 0.6 });
	row('WAL of it', unit => 'MB', against => 'INSERT … ON CONFLICT DO UPDATE',
		ours => per($got->{ours}, 'wal', 1e6), base => per($got->{plain}, 'wal', 1e6), reach => '≤ 0.4', ok => sub { $_[2] <= 0.4 });
};

1;
