# Sources drift: generated renames, drops, additions, retypes and reorders of columns, local ones, those of another
# database and of files, over the tables of the real file and made ones.  What activate.drift says is compared with what was done.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('drifting');
my $csv  = ($ENV{ACTIVATE_SHARED} // '../shared') . '/data/online_retail.csv';
my $real = -r $csv;
my $seed = $ENV{DRIFT_SEED} // 20111209;
my $rounds = $ENV{DRIFT_ROUNDS} // 20;
my $spool = PostgreSQL::Test::Utils::tempdir_short();

srand $seed;
note "seed: $seed; tables of the real file: " . ($real ? 'yes' : "no, $csv is not there");

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub there { return $node->safe_psql('shop', $_[0]); }
sub pick { return $_[ int rand @_ ]; }

sql('CREATE DATABASE shop');
there('CREATE ROLE reader LOGIN; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader');
sql('CREATE EXTENSION postgres_fdw');
sql("CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $node->host . "', port '" . $node->port . "', dbname 'shop');
	CREATE USER MAPPING FOR CURRENT_USER SERVER shop; CREATE SCHEMA here; CREATE SCHEMA shop; CREATE SCHEMA t");

# column => [ type, expression over i, or '' for those of the file ]
my %tables = (
	person => {
		name    => [ 'text',        q{(ARRAY['Ada','Alan','Edgar','Grace','Jim'])[i % 5 + 1] || ' ' || md5(i::text)} ],
		email   => [ 'varchar(80)', q{md5('m' || i) || '@example.com'} ],
		age     => [ 'integer',     '18 + i % 60' ],
		born    => [ 'date',        q{date '1950-01-01' + i * 17 % 20000} ],
		balance => [ 'numeric',     '(i * 7919 % 100000) / 100.0' ],
		active  => [ 'boolean',     'i % 7 <> 0' ],
	},
	item => {
		sku     => [ 'text',     q{'SKU-' || (i * 31)} ],
		price   => [ 'numeric',  '(i * 37 % 5000) / 100.0' ],
		stock   => [ 'integer',  'i * 13 % 400' ],
		weight  => [ 'real',     'i * 1.5' ],
		colour  => [ 'text',     q{(ARRAY['red','green','blue'])[i % 3 + 1]} ],
		changed => [ 'timestamp', q{timestamp '2024-01-01' + i * interval '1 hour'} ],
	});
if ($real)
{
	$tables{retail} = {
		'InvoiceNo' => [ 'text', '' ], 'StockCode' => [ 'text', '' ], 'Description' => [ 'text', '' ], 'Quantity' => [ 'integer', '' ],
		'InvoiceDate' => [ 'timestamp', '' ], 'UnitPrice' => [ 'numeric', '' ], 'CustomerID' => [ 'text', '' ], 'Country' => [ 'text', '' ] };
	for my $db (qw(postgres shop))
	{
		$node->safe_psql($db, "CREATE TABLE lines (\"InvoiceNo\" text, \"StockCode\" text, \"Description\" text, \"Quantity\" integer, \"InvoiceDate\" timestamp,
			\"UnitPrice\" numeric, \"CustomerID\" text, \"Country\" text);
			COPY lines FROM PROGRAM 'head -n 2001 $csv' (FORMAT csv, HEADER true)");
	}
}

my %synonym = (name => 'full_name', email => 'mail_address', age => 'years', born => 'birthday', balance => 'saldo', active => 'enabled',
	sku => 'article', price => 'unit_price', stock => 'on_hand', weight => 'kg', colour => 'color', changed => 'modified_at',
	InvoiceNo => 'invoice_no', StockCode => 'sku', Description => 'title', Quantity => 'qty', InvoiceDate => 'invoiced_at',
	UnitPrice => 'price', CustomerID => 'client', Country => 'nation');
my %wider = ('integer' => [ 'bigint', 'text', 'numeric' ], 'varchar(80)' => [ 'text', 'varchar(200)' ], 'numeric' => [ 'double precision', 'text' ],
	'date' => [ 'timestamp' ], 'real' => [ 'double precision' ], 'text' => ['varchar(500)'], 'boolean' => ['text'], 'timestamp' => ['timestamptz']);
my @additions = ([ 'note', 'text', q{'n' || i} ], [ 'points', 'integer', 'i % 11' ], [ 'seen_at', 'timestamp', 'now()::timestamp' ],
	[ 'rating', 'numeric', 'i / 7.0' ], [ 'vip', 'boolean', 'i % 2 = 0' ], [ 'code', 'text', q{md5('c' || i)} ], [ 'region', 'text', q{(ARRAY['north','south'])[i % 2 + 1]} ]);

sub quoted { my ($name) = @_; return '"' . $name . '"'; }

# As PostgreSQL calls it.
sub typed { my ($type) = @_; $type =~ s/^varchar/character varying/; $type =~ s/^timestamptz$/timestamp with time zone/; $type =~ s/^timestamp$/timestamp without time zone/; return $type; }

sub renamed
{
	my ($name) = @_;
	my $snake = lc($name =~ s/([a-z])([A-Z])/$1_$2/gr);

	return pick($synonym{$name}, $synonym{$name}, "the_$snake", "${snake}_1", $snake eq $name ? uc $name : $snake);
}

# As it looks in a file.
sub looked { my ($type, $file) = @_; return $type eq 'integer' ? 'bigint' : $type eq 'boolean' && $file eq 'csv' ? 'text' : typed($type); }

# A table, as it is made; its columns in an order of its own.
sub make
{
	my ($name, $kind, $rows) = @_;
	my $columns = $tables{$kind};
	my @order   = sort { rand() <=> 0.5 } sort keys %$columns;
	my $made    = $columns->{ $order[0] }[1] ne '';

	return (\@order, $made
		? "CREATE TABLE $name AS SELECT i AS id, " . join(', ', map { "($columns->{$_}[1])::$columns->{$_}[0] AS " . quoted($_) } @order) . ' FROM generate_series(1, ' . ($rows // 500) . ') i'
		: "CREATE TABLE $name AS SELECT row_number() OVER ()::int AS id, " . join(', ', map { quoted($_) } @order) . ' FROM public.lines', "; ALTER TABLE $name ADD PRIMARY KEY (id)");
}

# Changes, and what must be said of them.
sub drift
{
	my ($name, $kind, $order, $far, $file) = @_;
	my $columns = $tables{$kind};
	my @left    = @$order;
	my %taken   = map { $_ => 1 } @left;
	my (@commands, @expected);

	for (1 .. 1 + int rand 4)
	{
		my $what = pick(qw(rename rename drop add type reorder));
		my $column;

		if ($what eq 'add')
		{
			my $new = pick(@additions);
			next if $taken{ $new->[0] }++;
			push @commands, "ALTER TABLE $name ADD COLUMN $new->[0] $new->[1]; UPDATE $name SET $new->[0] = (" . ($new->[2] =~ s/\bi\b/id/gr) . ')';
			push @expected, "add $new->[0] " . ($file ? looked($new->[1], $file) : typed($new->[1]));
			next;
		}
		if ($what eq 'reorder')
		{
			# a table that is made anew is another one here: only the other server's has but a name
			next unless $far;
			push @commands, "DO \$\$ BEGIN EXECUTE (SELECT format('CREATE TABLE new_one AS SELECT %s FROM $name', string_agg(quote_ident(attname), ', ' ORDER BY md5(attname)))
				FROM pg_attribute WHERE attrelid = '$name'::regclass AND attnum > 0 AND NOT attisdropped); END \$\$;
				DROP TABLE $name; ALTER TABLE new_one RENAME TO $name; ALTER TABLE $name ADD PRIMARY KEY (id)";
			next;
		}
		next if @left <= 3;
		$column = splice @left, int rand @left, 1;
		if ($what eq 'rename')
		{
			my $new = renamed($column);
			next if $taken{$new}++;
			push @commands, "ALTER TABLE $name RENAME " . quoted($column) . ' TO ' . quoted($new);
			push @expected, "rename $column $new";
		}
		elsif ($what eq 'drop')
		{
			push @commands, "ALTER TABLE $name DROP COLUMN " . quoted($column);
			push @expected, "drop $column ";
		}
		elsif ($file)
		{
			# what a file has is text: another type is other values
			next if $columns->{$column}[0] =~ /^(?:text|varchar)/;
			push @commands, "ALTER TABLE $name ALTER COLUMN " . quoted($column) . ' TYPE text USING \'v \' || ' . quoted($column);
			push @expected, "type $column text";
		}
		else
		{
			my $new = pick(@{ $wider{ $columns->{$column}[0] } });
			push @commands, "ALTER TABLE $name ALTER COLUMN " . quoted($column) . " TYPE $new";
			push @expected, "type $column " . typed($new);
		}
	}
	# life goes on meanwhile: values are a guess, no proof
	push @commands, "DELETE FROM $name WHERE id % 4 = 0; UPDATE $name SET id = id + 100000 WHERE id % 3 = 0" if $far;
	return (join('; ', @commands) || 'SELECT', @expected);
}

# What is done about it, of another database.
sub drifts { return sql("SELECT concat_ws(' ', d.kind, d.\"column\", d.became, d.state) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = '$_[0]' ORDER BY d.id"); }

sub far_sync
{
	my ($name, $policy) = @_;

	there("CREATE TABLE $name (id int PRIMARY KEY, email text, qty int, note text); INSERT INTO $name SELECT i, 'u' || i, i, md5(i::text) FROM generate_series(1, 200) i");
	sql("IMPORT FOREIGN SCHEMA public LIMIT TO ($name) FROM SERVER shop INTO shop;
		SELECT activate_sync('$name', 'shop.$name', 't.$name', key => 'id', options => '{\"on_drift\": \"$policy\"}'); SELECT activate_run('$name')");
	return;
}

sub refused { my ($code, $out, $error) = $node->psql('postgres', $_[0]); return $error; }

subtest 'another database, proposed' => sub {
	far_sync('asks', 'propose');
	there('ALTER TABLE asks RENAME email TO e_mail; UPDATE asks SET e_mail = e_mail || \'!\', qty = 0 WHERE id = 1');
	sql("SELECT activate_run('asks')");
	is(drifts('asks'), 'rename email e_mail proposed', 'a rename is proposed');
	is(sql('SELECT email, qty FROM t.asks WHERE id = 1'), 'u1|0', 'until then the column is left out, and all else goes on');
	cmp_ok(sql('SELECT min(confidence) FROM activate.drift'), '<', 1, 'with a confidence');
	sql("SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'asks'; SELECT activate_run('asks')");
	is(sql('SELECT email, qty FROM t.asks WHERE id = 1'), 'u1!|0', 'healed, it is there again');
	is(drifts('asks'), 'rename email e_mail healed', 'and stays so');
	there('ALTER TABLE asks ADD COLUMN city text DEFAULT \'Kiel\'');
	sql("SELECT activate_run('asks'); SELECT activate_heal(d.id) FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'asks' AND d.kind = 'add';
		SELECT activate_run('asks')");
	is(sql('SELECT city FROM t.asks WHERE id = 1'), 'Kiel', 'a new column, too');
	there('ALTER TABLE asks DROP COLUMN note; ALTER TABLE asks RENAME id TO number');
	like(refused("SELECT activate_run('asks')"), qr/was renamed to "number", and the key/, 'a key cannot be left out');
};

subtest 'another database, followed' => sub {
	far_sync('follows', 'evolve');
	there('ALTER TABLE follows RENAME email TO e_mail; ALTER TABLE follows RENAME id TO number; ALTER TABLE follows ADD COLUMN city text DEFAULT \'Kiel\';
		ALTER TABLE follows ALTER qty TYPE bigint; ALTER TABLE follows DROP COLUMN note; UPDATE follows SET qty = 5000000000, e_mail = \'new\' WHERE number = 1');
	sql("SELECT activate_run('follows')");
	is(sql('SELECT id, email, qty, note IS NULL, city FROM t.follows WHERE id = 1'), '1|new|5000000000|f|Kiel', 'all at once');
	is(sql("SELECT string_agg(DISTINCT d.kind || ' ' || d.state, ', ') FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE s.name = 'follows'"),
		'add healed, drop healed, rename healed, type healed', 'and it is written down');
	sql("SELECT activate_run('follows')");
	is(sql("SELECT rows_updated FROM activate.run ORDER BY id DESC LIMIT 1"), '0', 'the next run finds nothing to do');
};

subtest 'another database, frozen' => sub {
	far_sync('stops', 'freeze');
	there('ALTER TABLE stops RENAME email TO e_mail');
	like(refused("SELECT activate_run('stops')"), qr/on_drift is "freeze": column "email" of shop.stops was renamed to "e_mail"/, 'it stops, naming the difference');
	there('ALTER TABLE stops RENAME e_mail TO email');
	sql("SELECT activate_run('stops')");
	is(sql('SELECT count(*) FROM t.stops'), 200, 'and goes on when that is taken back');
};

# A file that a database writes; newer each time.
my $clock = 1_700_000_000;

sub written
{
	my ($name, $format, $part, $condition) = @_;
	my $file = "$spool/$name-$part";

	there($format eq 'csv' ? "COPY (SELECT * FROM $name WHERE $condition ORDER BY id) TO '$file' (FORMAT csv, HEADER true)"
		: "COPY (SELECT row_to_json(r) FROM $name r WHERE $condition ORDER BY id) TO '$file' (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')");
	utime(++$clock, $clock, $file);
	return;
}

my %score;

sub judge
{
	my ($where, $expected, $found) = @_;
	my %left = map { $_ => 1 } @$found;

	for my $what (@$expected)
	{
		my ($kind) = split / /, $what;
		my $right = delete $left{$what} ? 1 : 0;

		$score{$where}{$_}{ $right ? 'found' : 'missed' }++ for $kind, 'all';
	}
	for my $what (keys %left)
	{
		my ($kind) = split / /, $what;

		$score{$where}{$_}{wrong}++ for $kind, 'all';
	}
	return;
}

sub report
{
	my ($where, $kind) = @_;
	my $s = $score{$where}{$kind} // {};
	my ($found, $missed, $wrong) = map { $s->{$_} // 0 } qw(found missed wrong);
	my $recall    = $found + $missed ? $found / ($found + $missed) : 1;
	my $precision = $found + $wrong  ? $found / ($found + $wrong)  : 1;

	note sprintf '%-8s %-7s  recall %.3f  precision %.3f  (%d found, %d missed, %d wrong)', $where, $kind, $recall, $precision, $found, $missed, $wrong;
	return ($recall, $precision);
}

my $asked = 'SELECT d.kind || \' \' || d."column" || \' \' || coalesce(d.became, \'\') FROM activate.drift d JOIN activate.sync s ON s.id = d.sync
	WHERE s.name = \'%s\' AND d.state <> \'gone\' ORDER BY d.id';

for my $round (1 .. $rounds)
{
	my $kind = pick(sort keys %tables);

	# local: seen in the command
	my $name = "local_$round";
	my ($order, $make, $key) = make("here.$name", $kind);
	sql("$make$key; SELECT activate_sync('$name', 'here.$name', 't.$name'); SELECT activate_run('$name')");
	my ($commands, @expected) = drift("here.$name", $kind, $order, 0);
	sql($commands);
	my @found = split /\n/, sql(sprintf $asked, $name);
	judge('local', \@expected, \@found);
	my ($code, $out, $error) = $node->psql('postgres', "SELECT activate_run('$name')");
	is($code, 0, "round $round: the sync goes on ($error)") if $code != 0;
	is_deeply([ sort @found ], [ sort @expected ], "round $round: $name says what was done") if join("\n", sort @found) ne join("\n", sort @expected);

	# of another database: seen by the next run
	$name = "far_$round";
	($order, $make, $key) = make($name, $kind);
	there("$make$key");
	sql("IMPORT FOREIGN SCHEMA public LIMIT TO ($name) FROM SERVER shop INTO shop;
		SELECT activate_sync('$name', 'shop.$name', 't.$name', key => 'id', options => '{\"on_drift\": \"propose\"}'); SELECT activate_run('$name')");
	($commands, @expected) = drift($name, $kind, $order, 1);
	there($commands);
	($code, $out, $error) = $node->psql('postgres', "SELECT activate_run('$name')");
	is($code, 0, "round $round: the sync of another database goes on ($error)") if $code != 0;
	@found = split /\n/, sql(sprintf $asked, $name);
	judge('foreign', \@expected, \@found);
	note "foreign, round $round ($kind): done: " . join(', ', sort @expected) . '; said: ' . join(', ', sort @found) if join("\n", sort @found) ne join("\n", sort @expected);

	# of a file: the same rows again, some of them others; or those that came since
	for my $format (qw(csv ndjson))
	{
		my $later = $round % 2;

		$name = "${format}_$round";
		($order, $make, $key) = make($name, $kind, 1000);
		there("$make$key");
		written($name, $format, 1, 'id <= 500');
		sql("SELECT activate_target('$name', 'file', '{\"path\": \"$spool\", \"objects\": {\"rows\": {\"files\": \"$name-*\", \"format\": \"$format\", " . ($format eq 'csv' ? '"header": true, ' : '') .
			'"columns": {"id": "bigint", ' . join(', ', map { "\"$_\": \"$tables{$kind}{$_}[0]\"" } @$order) . "}}}}');
			SELECT activate_sync('$name', '$name.rows', 't.$name', key => 'id', options => '{\"on_drift\": \"evolve\"}'); SELECT activate_run('$name')");
		($commands, @expected) = drift($name, $kind, $order, 1, $format);
		there($commands);
		written($name, $format, $later ? 2 : 1, $later ? 'id BETWEEN 501 AND 1000' : 'id <= 500 OR id BETWEEN 100001 AND 100500');
		($code, $out, $error) = $node->psql('postgres', "SELECT activate_run('$name')");
		is($code, 0, "round $round: the sync of a file goes on ($error)") if $code != 0;
		@found = split /\n/, sql(sprintf $asked, $name);
		judge($format, \@expected, \@found);
		note "$format, round $round ($kind" . ($later ? ', later rows' : '') . '): done: ' . join(', ', sort @expected) . '; said: ' . join(', ', sort @found)
			if join("\n", sort @found) ne join("\n", sort @expected);
	}
}

for my $where (qw(local foreign csv ndjson))
{
	report($where, $_) for qw(rename drop add type);
}
my ($recall, $precision) = report('local', 'all');
is(sprintf('%.1f/%.1f', $recall, $precision), '1.0/1.0', 'local: recall and precision');
($recall, $precision) = report('local', 'rename');
is("$recall/$precision", '1/1', 'local renames: recall and precision');
($recall, $precision) = report('foreign', 'all');
cmp_ok($recall, '>=', 0.9, 'foreign: recall');
cmp_ok($precision, '>=', 0.9, 'foreign: precision');
for my $format (qw(csv ndjson))
{
	($recall, $precision) = report($format, 'all');
	cmp_ok($recall, '>=', 0.9, 'files: recall');
	cmp_ok($precision, '>=', 0.9, 'files: precision');
}

$node->stop('fast');
done_testing();
