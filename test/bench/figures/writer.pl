# What capture costs who writes: three tables that differ in their trigger only.
use strict;
use warnings;

use Bench;

my $rows_updated = 10_000;
my $inserts = 5_000;
my @tables = qw(none ours usual);

# 12 mixed columns, a primary key and one more index.
my $columns = 'id bigint PRIMARY KEY, account integer, name text, email text, country char(2), balance numeric(12,2),
	score double precision, active boolean, born date, created timestamptz, tags text[], detail jsonb';
my $values = q{i, i % 1000, 'customer ' || i, 'customer' || i || '@example.com', 'SE', i * 0.01, i / 7.0, i % 2 = 0, date '2000-01-01' + (i % 9000)::integer,
	timestamptz '2026-01-01' + i * interval '1 second', ARRAY['a', 'b' || i % 10], jsonb_build_object('n', i)};

sub wide_tables
{
	my ($s, $rows, $file) = @_;

	$s->run("CREATE TABLE $_ ($columns); CREATE INDEX ON $_ (account)") for @tables;
	$s->run("SET synchronous_commit = off;
		COPY (SELECT $values FROM generate_series(1, $rows) i) TO '$file';
		COPY (SELECT $values FROM generate_series(1, 2 * $rows_updated) i) TO '$file.small';
		SELECT activate_target('sink', 'webhook', '{\"url\": \"" . service->url('/sink') . "\"}');
		SELECT activate_sync('ours', 'ours', 'sink.change', capture => 'trigger'); SELECT activate_pause('ours');
		CREATE TABLE queue (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), relation text, op text, payload jsonb);
		CREATE FUNCTION enqueue() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO queue (relation, op, payload) VALUES (TG_TABLE_NAME, TG_OP, to_jsonb(NEW)); RETURN NULL; END';
		CREATE TRIGGER enqueue AFTER INSERT OR UPDATE ON usual FOR EACH ROW EXECUTE FUNCTION enqueue()");
	$s->run("PREPARE one_$_ AS INSERT INTO $_ SELECT $values FROM (SELECT \$1::bigint AS i) i") for @tables;
	return;
}

# One round: the tables in turns, for each kind of statement so often that they meet the same weather.  CPU and
# WAL per row, by table and kind; of a kind the median.
sub write_once
{
	my ($s, $rows, $file) = @_;
	my %statements = (
		copy   => [ $rows, 1, '', sub { "COPY $_[0] FROM '$file'" } ],
		insert => [ $inserts, 5, '', sub {
				my $first = $rows + $_[1] * $inserts;
				"SELECT format('EXECUTE one_$_[0](%s)', i) FROM generate_series($first + 1, $first + $inserts) i \\gexec"; } ],
		# each of a table that is new: every UPDATE of the same one finds it and its indexes in a worse state
		update => [ $rows_updated, 5, "COPY %s FROM '$file.small'", sub { "UPDATE $_[0] SET balance = balance + 1 WHERE id <= $rows_updated" } ]);
	my %result;

	$s->run("TRUNCATE none, ours, usual, queue; SELECT activate_discard('ours')");
	for my $kind (qw(copy insert update))
	{
		my ($n, $times, $before, $statement) = @{ $statements{$kind} };
		my %costs;

		for my $time (0 .. $times - 1)
		{
			for my $table ($time % 2 ? @tables : reverse @tables)
			{
				$s->run("TRUNCATE $table; " . sprintf $before, $table) if $before;
				push @{ $costs{$table} }, measure($s, $statement->($table, $time));
			}
		}
		for my $table (@tables)
		{
			$result{"$table $kind"} = median(map { $_->{cpu} / $n } @{ $costs{$table} });
			$result{"$table $kind WAL"} = median(map { $_->{wal} / $n } @{ $costs{$table} });
		}
	}
	return \%result;
}

sub added
{
	my ($got, $table, $kind) = @_;

	return [ map { $_->{"$table $kind"} - $_->{"none $kind"} } @$got ];
}

figure writer => sub {
	my ($s) = @_;
	my $rows = size(200_000, 1_000_000);
	my $file = "$ENV{TMPDIR}/rows.copy";
	my %names = (update => 'UPDATE of 10,000 rows', insert => 'single-row INSERT', copy => 'COPY of ' . number($rows) . ' rows');
	my %limits = (update => 1.25, insert => 1.35, copy => 1.35);

	set_autovacuum('off');
	wide_tables($s, $rows, $file);
	my $got = alternate(writer => sub { write_once($s, $rows, $file) })->{writer};
	for my $kind (qw(update insert copy))
	{
		row("CPU of the writing transaction per row: $names{$kind}", unit => 'µs', against => 'no trigger',
			ours => column($got, "ours $kind"), base => column($got, "none $kind"),
			reach => "≤ $limits{$kind}", ok => sub { $_[2] <= $limits{$kind} });
		row("CPU added per row: $names{$kind}", unit => 'µs', against => 'plpgsql row trigger into a queue table',
			ours => added($got, 'ours', $kind), base => added($got, 'usual', $kind),
			reach => '≤ 0.5', ok => sub { $_[2] <= 0.5 });
	}
	row('WAL added per captured row of a bulk UPDATE', unit => 'bytes', against => 'plpgsql row trigger into a queue table',
		ours => added($got, 'ours', 'update WAL'), base => added($got, 'usual', 'update WAL'),
		reach => '≤ 90 bytes', ok => sub { $_[0] <= 90 });
};

1;
