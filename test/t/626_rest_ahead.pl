# Pages that are asked for ahead: how many at once, in order, none twice, none that nobody needs,
# and what is under way is given up with the scan.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Service;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('ahead', conf => "activate.http_timeout = '60s'");

@ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);

# A foreign table of 1000 records, a hundred a page, unless told otherwise.
sub declare
{
	my ($name, %read) = @_;
	my $query = delete $read{query} // {};
	my $rate = delete $read{rate};
	my $target = delete $read{target} // 'api';
	my %options = (
		base_url => $crm->url,
		objects => { $name => { path => '/bulk', columns => { id => 'bigint', email => 'text' }, read => {
					records => 'data', query => { records => 1000, %$query }, page => { size_param => 'limit', size => 100, %read } } } });

	$options{rate} = $rate if $rate;
	$options{concurrent} = delete $options{objects}{$name}{read}{page}{concurrent} if $read{concurrent};
	$node->safe_psql('postgres', "SELECT activate_target('$target', 'rest', " . sql_literal(JSON::PP->new->encode(\%options)) . ')');
	return;
}

# What a query gives, and the requests it took; answers come after so many ms.
sub reads
{
	my ($sql, $ms, @faults) = @_;

	$crm->heal;
	$crm->reset;
	$crm->control($_) for @faults, $ms ? { fault => 'slow', ms => $ms, path => '/bulk' } : ();
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	return { out => $out, err => $err, code => $code, stats => $crm->stats, log => $crm->log('/bulk') };
}

# The service has seen that nobody waits for an answer any more.
sub given_up
{
	my ($test) = @_;

	for (1 .. 500)
	{
		return pass($test) if $crm->stats->{held} == 0;
		select(undef, undef, undef, 0.01);
	}
	return fail($test);
}

my $whole = 'SELECT count(*), min(id), max(id), count(DISTINCT id), bool_and(id = n) FROM (SELECT id, row_number() OVER () AS n FROM api.%s) t';
my $all   = '1000|1|1000|1000|t';

declare('page',   style => 'page');
declare('offset', style => 'offset');
declare('cursor', style => 'cursor', next => 'paging.next');
declare('one',    style => 'page', in_flight => 1);
declare('three',  style => 'offset', in_flight => 3);
declare('less',   style => 'offset', query => { most => 30 });
declare('flag',   style => 'page', next => 'paging.next');

my %at_once = (page => 8, offset => 8, cursor => 1, one => 1, three => 3, less => 8, flag => 8);
for my $table (sort keys %at_once)
{
	my $got = reads(sprintf($whole, $table), 20);

	is($got->{out}, $all, "$table: every record once, in order");
	cmp_ok($got->{stats}{held_most}, '<=', $at_once{$table}, "$table: no more at once");
	my %asked;
	$asked{ $_->{query} }++ for @{ $got->{log} };
	is((grep { $_ > 1 } values %asked), 0, "$table: no page is asked for twice");
	my $needed = $table eq 'less' ? 35 : $table =~ /cursor|flag/ ? 10 : 11;
	my $n = @{ $got->{log} };
	ok($n >= $needed && $n <= $needed + $at_once{$table} + ($table eq 'less' ? 8 : 0), "$table: $needed pages, $n requests");
	given_up("$table: those beyond the end are given up");
}

# Only as many as are read, and some more once it is clear that one page does not do.
for my $table (qw(page offset cursor))
{
	my $got = reads("SELECT count(*) FROM (SELECT id FROM api.$table LIMIT 100) t", 0);

	is(scalar @{ $got->{log} }, 1, "$table: a LIMIT within a page takes that page");
	$got = reads("SELECT count(*) FROM (SELECT id FROM api.$table LIMIT 150) t", 0);
	cmp_ok(scalar @{ $got->{log} }, '<=', 3, "$table: a LIMIT in the second page takes at most one page more");
	is($got->{out}, '150', "$table: and gives its rows");
}
my $got = reads('SELECT max(id) FROM (SELECT id FROM api.page LIMIT 450) t', 0, { fault => 'hang', path => '/bulk', query => 'page=6' });
is($got->{out}, '450', 'a page that nobody needs may never come');
given_up('it is given up with the scan');

# A cursor that stays open, read again, and closed.
$got = reads("BEGIN; DECLARE c CURSOR FOR SELECT id FROM api.page; MOVE 250 IN c; CLOSE c;
	DECLARE d SCROLL CURSOR FOR SELECT id FROM api.page; MOVE 350 IN d; MOVE BACKWARD ALL IN d; FETCH 2 FROM d;
	SELECT 'still', count(*) FROM api.page; COMMIT", 0, { fault => 'hang', path => '/bulk', query => 'page=5', count => 1 });
is($got->{out}, "1\n2\nstill|1000", 'a cursor that is closed gives up what was under way; rescans and others go on');
given_up('nothing of it is left');
# Offsets cannot be guessed where pages are of any length: that is noticed soon.
declare('uneven', style => 'offset', query => { uneven => 1 });
$got = reads(sprintf($whole, 'uneven'), 10);
is($got->{out}, $all, 'uneven pages: every record once, in order');
cmp_ok(scalar @{ $got->{log} }, '<=', 12 + 2 * 7, 'uneven pages: it does not go on guessing');

is(reads("SELECT string_agg(x::text, ' ') FROM generate_series(1, 3) x WHERE (SELECT count(*) FROM api.page WHERE id > x * 300) > 0", 0)->{out},
	'1 2 3', 'rescans');

# What goes wrong does so in its turn.
$got = reads("DO \$\$DECLARE r record; n int := 0; BEGIN
	FOR r IN SELECT id FROM api.page LOOP n := n + 1; END LOOP;
	EXCEPTION WHEN OTHERS THEN RAISE NOTICE '% after %', SQLSTATE, n; END\$\$", 10, { fault => 'status', status => 500, path => '/bulk', query => 'page=5' });
like($got->{err}, qr/AC004 after 400/, 'a page that fails is an error when it is its turn');
given_up('the pages after it are given up');
is(reads(sprintf($whole, 'page'), 0)->{out}, $all, 'the session after it reads as before');
$got = reads(sprintf($whole, 'page'), 10, { fault => 'status', status => 429, retry_after => '1', path => '/bulk', after => 4, count => 3 });
is($got->{out}, $all, 'pages that are throttled come later, in their place');
$got = reads(sprintf($whole, 'page'), 10, { fault => 'half', path => '/bulk', query => 'page=6', count => 1 });
is($got->{out}, $all, 'a page that was lost before it was needed is asked for again');
$got = reads(sprintf($whole, 'one'), 0, { fault => 'half', path => '/bulk', query => 'page=6', count => 1 });
like($got->{err}, qr/could not read foreign table "api.one"/, 'one that was needed is an error');

# As many at once as there may be, and all of them given up with the statement.
for my $table (sort keys %at_once)
{
	$crm->heal;
	$crm->reset;
	my $step = $table eq 'less' ? 30 : 100;
	$crm->control({ fault => 'hang', path => '/bulk', query => $_ })
	  for $table eq 'cursor' ? 'cursor=c100' : map { $table =~ /offset|three|less/ ? 'offset=' . $_ * $step : "page=" . ($_ + 1) } 3 .. 11;
	my $s = ActivateTest::Session->new('postgres');
	print { $s->{in} } "SELECT count(*) FROM api.$table;\n";
	for (1 .. 2000)
	{
		last if $crm->stats->{held} == $at_once{$table};
		select(undef, undef, undef, 0.01);
	}
	is($crm->stats->{held}, $at_once{$table}, "$table: as many at once as there may be");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($s->{pid})");
	given_up("$table: a statement that is cancelled gives up all of it");
	$s->close;
}

# Budgets: what is not needed yet leaves a part to others, so that 12 pages of 20 need no waiting.
declare('rated', style => 'page', target => 'rated', rate => [ { calls => 20, per => '1 hour' } ]);
$got = reads(sprintf($whole, 'rated') =~ s/api/rated/r, 10);
is($got->{out}, $all, 'within a budget');
cmp_ok(scalar @{ $got->{log} }, '<=', 16, 'a part of it is left');
declare('few', style => 'page', target => 'few', concurrent => 2);
cmp_ok(reads(sprintf($whole, 'few') =~ s/api/few/r, 20)->{stats}{held_most}, '<=', 2, 'no more at once than the account may');

# However many pages, no more memory than for a few, but for the hashes of what was seen.
for my $table (qw(long_page long_cursor))
{
	declare($table, query => { records => 20_000 }, size => 10, $table =~ /page/ ? (style => 'page') : (style => 'cursor', next => 'paging.next'));
	my $bytes = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
	$got = reads("BEGIN; DECLARE c CURSOR FOR SELECT * FROM api.$table; MOVE 1000 IN c; $bytes; MOVE 18000 IN c; $bytes; COMMIT", 0);
	my ($before, $after) = split /\n/, $got->{out};
	cmp_ok($after - $before, '<', 400_000, "$table: 1,800 pages more take no more memory ($before, $after)");
}

like(reads('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM api.cursor', 0)->{out},
	qr/Pages: 10\n\s*Requests: 10\n\s*Bytes: \d{6}$/m, 'EXPLAIN tells pages, requests and bytes');

done_testing();
