# A run into an empty table compares nothing, and its outcome is that of a comparison.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('first', conf => "activate.runners = 4");
my $n = 0;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Was it loaded at once, and what is to be seen of a run: error, counts, rejections, watermark, table.
sub outcome
{
	my ($settings, $name, $target, $full, $but) = @_;
	my ($result, $out, $error) = $node->psql('postgres', "$settings; SELECT activate_run('$name'$full)");
	my $at_once = $error =~ /loaded without a comparison/ ? 1 : 0;

	$error = join(' ', $error =~ /(ERROR[^\n]*)/g);
	$error =~ s/_(ours|theirs)//g;
	return $at_once, join("\n", $error, sql("SELECT format('%s %s %s %s %s %s', status, rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected)
			FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' ORDER BY r.id DESC LIMIT 1"),
		sql("SELECT string_agg(format('%s %s', r.key, r.code), ', ' ORDER BY r.key::text) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'"),
		sql("SELECT string_agg(w.value, ',') FROM activate._watermark w JOIN activate.sync s ON s.id = w.sync WHERE s.name = '$name'"),
		$but ? sql("SELECT min(t), max(t), count(DISTINCT t) FROM $target, unnest(ARRAY[$but]) t; UPDATE $target SET ($but) = (1, 1)") : (),
		sql("SELECT count(*), (SELECT string_agg(whole::text, E'\\n' ORDER BY whole::text) FROM $target AS whole) FROM $target"));
}

# The same sync into two tables, with and without; first: how the first must go.
sub alike
{
	my ($test, $first, $source, $columns, $arguments, %options) = @_;
	my $case = 'case' . ++$n;
	my @outcomes;

	for my $way (qw(ours theirs))
	{
		my $target = "${case}_$way";

		sql("CREATE TABLE $target ($columns)") if $columns;
		(my $before = $options{before} // '') =~ s/TARGET/$target/g;
		sql($before) if $before;
		(my $as = $options{as} // '') =~ s/TARGET/$target/g;
		sql("$as; SELECT activate_sync('$target', \$\$$source\$\$, '$target', $arguments)");
		(my $after = $options{after} // '') =~ s/TARGET/$target/g;
		sql($after) if $after;
		my $off = $way eq 'ours' ? 'on' : 'off';
		my ($loaded, $outcome) = outcome("SET activate.first_load = $off; SET client_min_messages = debug1", $target, $target, $options{full} // '', $options{but});
		push @outcomes, $outcome;
		is($loaded, $way eq 'ours' ? $first : 0, "$test: " . ($way eq 'ours' ? ($first ? 'at once' : 'compared') : 'turned off'));
	}
	is($outcomes[0], $outcomes[1], "$test: the same outcome");
	return $outcomes[0];
}

sql("CREATE TABLE source (id int, v text, n numeric(10,2), at timestamptz, rev int);
	INSERT INTO source SELECT i, repeat('v', i % 300) || i, i / 7.0, timestamptz '2026-01-01' + i * interval '1 min', i % 50 FROM generate_series(1, 5000) i;
	CREATE TABLE doubled AS SELECT * FROM source UNION ALL SELECT 7, 'again', 0, NULL, 1; INSERT INTO doubled VALUES (NULL, 'no key'), (NULL, 'nor here');
	CREATE TABLE useless AS SELECT NULL::int AS id, 'x' AS v FROM generate_series(1, 3)");

my $made = 'id int PRIMARY KEY, v text, n numeric(10,2), at timestamptz, rev int';
like(alike('a table made by the sync', 1, 'SELECT * FROM source', undef, "key => 'id'"), qr/^succeeded 5000 5000 0 0 0$/m, 'all of it');
alike("mode $_", 1, 'SELECT * FROM source', $made, "key => 'id', mode => '$_'") for qw(insert mirror replace);
alike('mode update', 0, 'SELECT * FROM source', $made, "key => 'id', mode => 'update'");
alike('mode append', 0, 'SELECT * FROM source', $made, "key => 'id', mode => 'append'");
alike('without a key', 0, 'SELECT * FROM source', 'id int, v text, n numeric(10,2), at timestamptz, rev int', "mode => 'replace'");
alike('everything', 1, 'SELECT * FROM source', $made, "key => 'id'", full => ', full => true');
like(alike('NULL and double keys', 0, 'SELECT * FROM doubled', $made, "key => 'id'"), qr/^succeeded 5003 4999 0 0 4$/m, 'rejected');
like(alike('no usable key', 0, 'SELECT * FROM useless', 'id int PRIMARY KEY, v text', "key => 'id'"), qr/no row of the source/, 'refused');
alike('an empty source', 1, 'SELECT * FROM source WHERE false', $made, "key => 'id'");
alike('a key of two columns', 1, 'SELECT id % 100 AS a, id / 100 AS b, v FROM source', 'b int, v text, a int, UNIQUE (b, a)', "key => 'a, b'");
alike('another unique column', 0, "SELECT id, v || rev AS v FROM source WHERE id < 100 UNION ALL SELECT 1000, 'v11'", 'id int PRIMARY KEY, v text UNIQUE', "key => 'id'");
alike('a constraint that holds but for a row that is rejected', 0, "SELECT id, v FROM doubled", 'id int PRIMARY KEY, v text CHECK (v <> \'again\')', "key => 'id'");
like(alike('an identity column', 0, 'SELECT id, id AS ident FROM source', 'id int PRIMARY KEY, ident int GENERATED ALWAYS AS IDENTITY', "key => 'id'"), qr/can only be updated to DEFAULT/, 'as ever');
alike('columns of its own', 1, 'SELECT id, v FROM source',
	q{gone int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ident int GENERATED BY DEFAULT AS IDENTITY, own serial, v text COLLATE "C", twice int GENERATED ALWAYS AS (id * 2) STORED,
	state text DEFAULT 'new', nothing text, CHECK (own > 0)}, "key => 'id'", before => 'ALTER TABLE TARGET DROP gone', but => 'ident, own');
alike('lengths', 1, 'SELECT id, v, n, v AS w, id::bit(13)::varbit AS b FROM source WHERE id < 10', 'id int PRIMARY KEY, v varchar(20), n numeric(7,1), w char(30), b varbit(20)', "key => 'id'");
alike('too long', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v varchar(5)', "key => 'id'");
alike('too long, but rejected', 0, 'SELECT id, v FROM doubled WHERE id < 8', "id int PRIMARY KEY, v varchar(7)", "key => 'id'");
alike('indexes', 1, 'SELECT id, v FROM source', 'id int PRIMARY KEY, v text', "key => 'id'",
	before => 'CREATE INDEX ON TARGET (lower(v)) WHERE id % 2 = 0; CREATE INDEX ON TARGET USING hash (v)');
alike('long values', 1, q{SELECT id, (SELECT string_agg(md5(id || '-' || i), '') FROM generate_series(1, 300) i) AS v FROM source WHERE id < 100}, 'id int PRIMARY KEY, v text', "key => 'id'");
like(alike('by cursor', 1, 'SELECT * FROM source', $made, "key => 'id', capture => 'cursor', options => '{\"cursor\": \"at\"}'"), qr/^2026-01-04 11:20:00\+00$/m, 'the watermark');
alike('by cursor, NULL in it', 0, 'SELECT * FROM doubled', $made, "key => 'id', capture => 'cursor', options => '{\"cursor\": \"rev\"}'");
alike('by cursor, some without', 1, 'SELECT * FROM doubled WHERE id IS NOT NULL', $made, "key => 'id', capture => 'cursor', options => '{\"cursor\": \"at\"}'");
alike('volatile', 0, 'SELECT id, v, nextval(\'counter\') % 1 AS n FROM source', 'id int PRIMARY KEY, v text, n int', "key => 'id'", before => 'CREATE SEQUENCE IF NOT EXISTS counter');
alike('a trigger', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id'", before => q{CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN NEW.v := upper(NEW.v); RETURN NEW; END'; CREATE TRIGGER shout BEFORE INSERT ON TARGET FOR EACH ROW EXECUTE FUNCTION shout()});
alike('a reference', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text, other int DEFAULT 1', "key => 'id'",
	before => 'CREATE TABLE IF NOT EXISTS others (id int PRIMARY KEY); INSERT INTO others VALUES (1) ON CONFLICT DO NOTHING; ALTER TABLE TARGET ADD FOREIGN KEY (other) REFERENCES others');
alike('a rule', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id', mode => 'insert'",
	before => 'CREATE TABLE IF NOT EXISTS noted (n int); CREATE RULE note AS ON DELETE TO TARGET DO ALSO INSERT INTO noted VALUES (1)');
alike('row security', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id'",
	before => 'CREATE ROLE TARGET_owner; GRANT SELECT ON source TO TARGET_owner; ALTER TABLE TARGET OWNER TO TARGET_owner; ALTER TABLE TARGET ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	CREATE POLICY p ON TARGET USING (true)', as => 'SET SESSION AUTHORIZATION TARGET_owner');
alike('without a right', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id'",
	before => 'CREATE ROLE TARGET_owner; GRANT SELECT ON source TO TARGET_owner; GRANT SELECT, INSERT, UPDATE ON TARGET TO TARGET_owner', as => 'SET SESSION AUTHORIZATION TARGET_owner');
for (['upsert', 0, qr/cannot update table/], ['insert', 1, qr/^succeeded 9 9/m], ['mirror', 0, qr/cannot (?:update|delete from) table/])
{
	my ($mode, $first, $outcome) = @$_;

	like(alike("published, $mode", $first, 'SELECT id, v FROM source WHERE id < 10', 'id int UNIQUE, v text', "key => 'id', mode => '$mode'", before => 'CREATE PUBLICATION TARGET FOR TABLE TARGET'), $outcome, "published, $mode: as ever");
}
alike('partitions', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text) PARTITION BY HASH (id', "key => 'id'",
	before => 'CREATE TABLE TARGET_0 PARTITION OF TARGET FOR VALUES WITH (MODULUS 1, REMAINDER 0)');
alike('a column of another length since', 1, 'SELECT id, v::varchar(10) AS v FROM source WHERE id < 10', 'id int PRIMARY KEY, v varchar(10)', "key => 'id'", after => 'ALTER TABLE TARGET ALTER v TYPE varchar(20)');
alike('a column of another type since', 0, 'SELECT id, v, n FROM source WHERE id < 10', 'id int PRIMARY KEY, v text, n numeric', "key => 'id'", after => 'ALTER TABLE TARGET ALTER n TYPE float8');
alike('not empty', 0, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id'", before => "INSERT INTO TARGET VALUES (3, 'old')");
alike('emptied', 1, 'SELECT id, v FROM source WHERE id < 10', 'id int PRIMARY KEY, v text', "key => 'id'", before => "INSERT INTO TARGET VALUES (3, 'old'); DELETE FROM TARGET");
alike('it reads its target', 1, 'SELECT id, (SELECT count(*) FROM looked) AS n FROM source', 'id int PRIMARY KEY, n bigint', "key => 'id'",
	before => 'CREATE OR REPLACE VIEW looked AS SELECT * FROM TARGET');

# What capture by trigger has seen of the target is the same.
subtest 'captured' => sub {
	sql("CREATE TABLE middle (id int PRIMARY KEY, v text); SELECT activate_sync('to_middle', 'SELECT id, v FROM source WHERE id < 10', 'middle', key => 'id');
		SELECT activate_sync('from_middle', 'middle', 'last', capture => 'trigger'); SELECT activate_run('to_middle')");
	ok(delivered($node, 'from_middle'), 'who captures the target sees the rows');
	is(sql('SELECT count(*) FROM last'), 9, 'all of them');
};

# Another session has inserted a row, but not committed.
subtest 'somebody else inserts' => sub {
	sql("CREATE TABLE met (id int PRIMARY KEY, v text); SELECT activate_sync('met', 'SELECT id, v FROM source WHERE id < 2000', 'met', key => 'id')");
	my $other = $node->background_psql('postgres');
	my $ours = $node->background_psql('postgres');
	$other->query_safe("BEGIN; INSERT INTO met VALUES (1500, 'theirs')");
	$ours->query_until(qr/started/, "\\echo started\nSELECT activate_run('met');\n");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%activate_run%'"), 'we wait');
	$other->query_safe('COMMIT');
	$ours->query_safe('SELECT 1');
	is(sql("SELECT count(*), min(v) FILTER (WHERE id = 1500) = (SELECT v FROM source WHERE id = 1500) FROM met"), '1999|t', 'and meet it as a comparison does');
	$_->quit for $other, $ours;
};

$node->stop('fast');
done_testing();
