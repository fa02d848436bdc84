# Bodies other than arrays of JSON, end to end: forms, multipart, CSV, NDJSON, rows as arrays, and bodies that are cut at "max_bytes".
use strict;
use warnings;

use ActivateTest;
use Digest::MD5 ();
use Digest::SHA ();
use Encode ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('formats', conf => "activate.max_attempts = 3\nactivate.retry_backoff = '5ms'");
my $url  = $crm->url;
# of bytes: what psql prints, and what came over the wire
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# What a database of hostile values holds, as Perl sees it.
sql(q{CREATE TABLE source (id bigint PRIMARY KEY, email text, note text, born date, at timestamptz, tags text[], extra jsonb);
	INSERT INTO source SELECT i, ' User.' || i || '@Gmail.com ', CASE i % 5 WHEN 0 THEN E'line\r\nbreak, "quoted"' WHEN 1 THEN 'é ~ & = + %41' WHEN 2 THEN '' WHEN 3 THEN NULL
			ELSE E'--activate\r\nContent-Disposition: form-data; name="x"\r\n\r\n' END,
		date '2000-02-29' + i::int, timestamptz '2024-02-29 12:00:00+00' + i * interval '1 hour', ARRAY['a', 'b;' || i], jsonb_build_object('n', i, 'deep', jsonb_build_array(1.50, NULL))
	  FROM generate_series(1, 40) i});

my $columns = '{"id": "bigint", "email": {"transform": ["trim", "lower"]}, "note": {}, "born": {"type": "date", "date": "DD.MM.YYYY"},
	"at": {"type": "timestamptz", "date": "unix_ms"}, "tags": "text[]", "extra": {"type": "jsonb", "path": "meta.extra"},
	"hash": {"from": "email", "transform": ["trim", "lower", "gmail", "md5"]}}';

# A sync of all rows into /sink/NAME by an operation; what came: [{"type", "path", "body"}, ...], bodies as bytes.
sub sent
{
	my ($name, $operation, %more) = @_;
	my $object = $more{object} // qq{"key": "id", "columns": $columns};
	my $path = $json->encode("/sink/$name");

	sql("SELECT activate_target('$name', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"o\": {\"path\": $path, \"read\": false, $object, \"write\": {\"upsert\": $operation}}}}');
		SELECT activate_sync('$name', 'source', '$name.o', mode => 'upsert')");
	my $preview = sql("SELECT json_agg(json_build_object('type', headers ->> 'Content-Type', 'body', body)) FROM activate_preview('$name', 100)");
	sql("SELECT activate_run('$name')");
	ok(delivered($node, $name), "$name: done");
	my @calls = @{ $crm->log("/sink/$name") };
	my @bodies = map { { path => $_->{path}, body => $_->{body}, type => type($_) } } @calls;
	# ids are stand-ins in a preview, and boundaries are made of them
	is(scalar @bodies, scalar @{ $json->decode($preview) }, "$name: as many calls as the preview shows");
	is_deeply([ sort map { unbound($_->{body}) } @bodies ], [ sort map { unbound(Encode::encode('UTF-8', $_->{body})) } @{ $json->decode($preview) } ],
		"$name: their bodies, too") unless $more{ids};
	return @bodies;
}

sub unbound { return $_[0] =~ s/activate-[0-9a-f]{32}/BOUNDARY/gr; }

sub type
{
	my ($call) = @_;

	for my $name (keys %{ $call->{headers} })
	{
		return $call->{headers}{$name} if lc $name eq 'content-type';
	}
	return undef;
}

# What the database makes of its rows, in the order of id.
sub expected { return @{ $json->decode(sql($_[0])) }; }

my @rows = expected(q{SELECT json_agg(json_build_object('id', id::text, 'email', lower(trim(email)), 'note', note, 'born', to_char(born, 'DD.MM.YYYY'),
	'at', (extract(epoch FROM at) * 1000)::bigint::text, 'n', id::text, 'tag', tags[2],
	'hash', md5(replace(split_part(lower(trim(email)), '@', 1), '.', '') || '@gmail.com')) ORDER BY id) FROM source});

# --- forms

sub decoded { my ($text) = @_; $text =~ tr/+/ /; $text =~ s/%([0-9A-F]{2})/chr hex $1/ge; return Encode::decode('UTF-8', $text, Encode::FB_CROAK); }

my %seen;
for my $call (sent('form', '{"path": "/sink/form/{hash}", "query": {"who": "{email}"}, "method": "POST", "format": "form", "fixed": {"options.mode": "x y"}}'))
{
	my %field = map { my ($name, $value) = split /=/, $_, 2; (decoded($name) => decoded($value)) } split /&/, $call->{body};

	is($call->{type}, 'application/x-www-form-urlencoded', 'form: type') unless %seen;
	$seen{ $field{id} } = [ @field{qw(id email note born at hash)}, $field{'tags[1]'}, $field{'meta[extra][deep][0]'}, $field{'meta[extra][deep][1]'},
		$field{'options[mode]'}, $call->{path} ];
}
is_deeply(\%seen, { map { $_->{id} => [ @$_{qw(id email)}, $_->{note} // '', @$_{qw(born at hash tag)}, '1.50', '', 'x y', "/sink/form/$_->{hash}" ] } @rows },
	'form: every field of every row, nested and hostile ones, and the computed column in the path');

# --- CSV, by a reader of its own

sub csv
{
	my ($text) = @_;
	my @table = ([]);

	while ($text =~ /\G(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gc)
	{
		my ($quoted, $plain, $end) = ($1, $2, $3);
		my $cell = defined $quoted ? $quoted =~ s/""/"/gr : $plain eq '' ? undef : $plain;

		push @{ $table[-1] }, defined $cell ? Encode::decode('UTF-8', $cell, Encode::FB_CROAK) : undef;
		push @table, [] if $end ne ',';
	}
	die 'no CSV: ' . substr($text, pos($text) // 0, 50) if (pos($text) // 0) != length $text;
	pop @table;
	return @table;
}

my @table;
for my $call (sent('csv', '{"path": "/sink/csv", "batch": 15, "format": "csv", "fixed_row": {"Kind": "c"}}'))
{
	my ($names, @lines) = csv($call->{body});

	is($call->{type}, 'text/csv', 'csv: type') unless @table;
	push @table, map { my %row; @row{@$names} = @$_; \%row } @lines;
}
is_deeply([ map { [ @$_{qw(id email note born at hash Kind)}, $json->decode(Encode::encode('UTF-8', $_->{tags}))->[1] ] } sort { $a->{id} <=> $b->{id} } @table ],
	[ map { [ @$_{qw(id email note born at hash)}, 'c', $_->{tag} ] } @rows ], 'csv: every cell of every row, nulls apart from empty texts');

# --- NDJSON, with the ids of messages

my @lines;
for my $call (sent('ndjson', '{"path": "/sink/ndjson", "batch": 15, "format": "ndjson", "trace": "trace.id"}', ids => 1))
{
	push @lines, map { $json->decode($_) } split /\n/, $call->{body};
	is($call->{type}, 'application/x-ndjson', 'ndjson: type') if @lines == 15;
}
is_deeply([ map { [ "$_->{id}", @$_{qw(email note born hash)}, "$_->{at}", $_->{meta}{extra}{n} ] } sort { $a->{id} <=> $b->{id} } @lines ],
	[ map { [ @$_{qw(id email note born hash at n)} ] } @rows ], 'ndjson: every row');
my $ids = sql("SELECT string_agg(r.idempotency_key, ' ' ORDER BY r.idempotency_key) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'ndjson' AND r.outcome = 'delivered'");
is(join(' ', sort map { $_->{trace}{id} } @lines), $ids, 'ndjson: with the ids that receipts have');

# --- arrays

my @arrays;
for my $call (sent('arrays', '{"path": "/sink/arrays", "batch": 40, "rows": "arrays", "envelope": "payload.data", "columns_at": "payload.schema", "fixed": {"payload.hashed": true}}'))
{
	my $body = $json->decode($call->{body});

	push @arrays, map { my %row; @row{ @{ $body->{payload}{schema} } } = @$_; \%row } @{ $body->{payload}{data} };
}
is_deeply([ map { [ "$_->{id}", @$_{qw(email note hash)}, $_->{'meta.extra'}{n} ] } sort { $a->{id} <=> $b->{id} } @arrays ],
	[ map { [ @$_{qw(id email note hash n)} ] } @rows ], 'arrays: every row, by the list of columns');

# --- multipart

sub parts
{
	my ($call) = @_;
	my ($boundary) = $call->{type} =~ m{^multipart/form-data; boundary=(\S+)$} or die "type $call->{type}";
	my @parts = split /(?:^|\r\n)--\Q$boundary\E(?:--)?\r\n/, $call->{body};
	my %part;

	shift @parts;
	for (@parts)
	{
		my ($head, $content) = split /\r\n\r\n/, $_, 2;
		my ($name) = $head =~ /name="([^"]*)"/ or die "part $_";

		$part{$name} = { head => $head, text => Encode::decode('UTF-8', $content, Encode::FB_CROAK) };
	}
	return \%part;
}

%seen = ();
for my $call (sent('fields', '{"path": "/sink/fields", "method": "POST", "format": "multipart"}'))
{
	my $part = parts($call);

	$seen{ $part->{id}{text} } = [ map { $part->{$_}{text} } qw(id email note born at hash tags[1] meta[extra][n]) ];
}
is_deeply(\%seen, { map { $_->{id} => [ @$_{qw(id email)}, $_->{note} // '', @$_{qw(born at hash tag n)} ] } @rows }, 'multipart: every field of every row');

@table = ();
for my $call (sent('file', '{"path": "/sink/file", "batch": 15, "format": "multipart", "part": {"name": "upload", "filename": "leads.csv"}, "fixed": {"lookupField": "email"}}'))
{
	my $part = parts($call);
	my ($names, @file) = csv(Encode::encode('UTF-8', $part->{upload}{text}));

	is($part->{lookupField}{text}, 'email', 'multipart: a field beside the file') unless @table;
	like($part->{upload}{head}, qr{filename="leads.csv"\r\nContent-Type: text/csv$}, 'multipart: a file') unless @table;
	push @table, map { my %row; @row{@$names} = @$_; \%row } @file;
}
is_deeply([ map { [ @$_{qw(id email note)} ] } sort { $a->{id} <=> $b->{id} } @table ], [ map { [ @$_{qw(id email note)} ] } @rows ], 'multipart: every row of the file');

# --- bodies that are cut

sql(q{CREATE TABLE wide (id bigint PRIMARY KEY, body text);
	INSERT INTO wide SELECT i, repeat('x', CASE WHEN i = 777 THEN 9000 WHEN i % 100 = 0 THEN 5000 ELSE 20 + i % 50 END) FROM generate_series(1, 3000) i});
sql("SELECT activate_target('cut', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"o\": {\"path\": \"/sink/cut\", \"read\": false, \"key\": \"id\", \"columns\": {\"id\": \"bigint\", \"body\": \"text\"},
	\"write\": {\"upsert\": {\"path\": \"/sink/cut\", \"batch\": 1000, \"envelope\": \"rows\", \"max_bytes\": 8000}}}}}');
	SELECT activate_sync('cut', 'wide', 'cut.o', mode => 'upsert'); SELECT activate_run('cut')");
ok(delivered($node, 'cut'), 'cut: done');
my @calls = @{ $crm->log('/sink/cut') };
my %times;

$times{ $_->{id} }++ for map { @{ $json->decode($_->{body})->{rows} } } @calls;
is(scalar(grep { length $_->{body} > 8000 } @calls), 0, 'cut: no body is longer than allowed');
is_deeply(\%times, { map { $_ => 1 } grep { $_ != 777 } 1 .. 3000 }, 'cut: every row is sent once, but the one that is too long');
is(sql("SELECT r.key ->> 'id' || ': ' || r.reason FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'cut'"),
	'777: the row alone makes a body of 9035 bytes, more than "max_bytes" (8000)', 'cut: that one is rejected, with the reason');
my $bytes = 0;
$bytes += length $_->{body} for @calls;
cmp_ok(scalar @calls, '<', 3 * $bytes / 8000, 'cut: calls are filled');
sql('DELETE FROM wide WHERE id = 777; UPDATE wide SET body = body || \'y\'');
is(sql("SELECT bool_and(octet_length(body) <= 8000) AND sum(row_count) = 2999 FROM activate_preview('cut', 3000)"), 't', 'cut: the preview shows calls that are cut, too');

# --- what is written is read again

sql("SELECT activate_target('again', 'rest', '{\"base_url\": \"$url\", \"objects\": {\"events\": {\"path\": \"/objects/events\", \"key\": \"id\", \"row_at\": \"attributes\",
	\"columns\": {\"id\": {\"type\": \"bigint\", \"path\": \"\$.id\"}, \"at\": {\"type\": \"timestamptz\", \"date\": \"unix_ms\"}, \"day\": {\"type\": \"date\", \"date\": \"unix\", \"path\": \"when.day\"},
		\"local\": {\"type\": \"timestamp\", \"date\": \"unix\"}, \"who\": {\"wrap\": true}, \"due\": {\"type\": \"timestamptz\", \"date\": \"unix\", \"wrap\": {\"__type\": \"Date\", \"at\": [\"\$\"]}}, \"n\": {\"type\": \"numeric\", \"as\": \"string\"}, \"digest\": {\"from\": \"who\", \"transform\": [\"md5\"]}},
	\"write\": {\"upsert\": {\"fixed_row\": {\"type\": \"event\"}}}}}}');
	CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, day date, local timestamp, who text, n numeric, due timestamptz);
	INSERT INTO events VALUES (1, '2024-02-29 12:00:00.123+00', '2024-02-29', '2024-02-29 23:59:59', 'é \"x\"', 12345678901234567890.50, '2024-03-01 00:00:00+00'), (2, '1969-12-31 23:59:59.999+00', '1969-12-31', '1900-01-01', '', 0, '1970-01-01 00:00:00+00'),
		(3, NULL, NULL, NULL, NULL, NULL, NULL);
	SELECT activate_sync('again', 'events', 'again.events', mode => 'upsert'); SELECT activate_run('again')");
ok(delivered($node, 'again'), 'again: done');
is(sql('SET timezone = \'Asia/Tokyo\'; SELECT json_agg(e ORDER BY id) FROM (SELECT id, at, day, local, who, n, due FROM again.events) e'),
	sql('SET timezone = \'Asia/Tokyo\'; SELECT json_agg(e ORDER BY id) FROM events e'), 'again: what was written is read as it was');
like($crm->objects('events'), qr/"type":\s*"event"/, 'again: with its constant');
is($json->decode($crm->objects('events'))->[0]{attributes}{digest}, Digest::MD5::md5_hex(Encode::encode('UTF-8', "\x{e9} \"x\"")), 'again: and what is computed');
# what is no number of seconds is refused, not bent
$crm->call('PUT', '/objects/events/9', { id => 9, attributes => { at => 'noon' } });
my ($rc, $out, $err) = $node->psql('postgres', 'SELECT at FROM again.events');
like($err, qr/column "at" of foreign table "again.events" cannot take the value "noon" of row 4/, 'again: what is no time is an error');
$crm->call('PUT', '/objects/events/9', { id => 9, attributes => { at => '1.7e12', local => 1700000000.25, when => { day => '-1' } } });
is(sql("SELECT at AT TIME ZONE 'UTC', local, day FROM again.events WHERE id = 9"), '2023-11-14 22:13:20|2023-11-14 22:13:20.25|1969-12-31', 'again: numbers in every form');

# --- a database of another encoding: the same bytes, and the same digests

sql("CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
my %formats = (json => '"batch": 2', form => '"batch": 2, "envelope": "r", "format": "form"', csv => '"batch": 2, "format": "csv"',
	multipart => '"batch": 2, "format": "multipart", "part": {"filename": "\\u00e9.csv"}');
for my $db ('postgres', 'latin1')
{
	my $objects = join ', ', map { qq{"$_": {"path": "/sink/$db/$_", "read": false, "key": "id", "columns": {"id": "bigint", "name": {"path": "n\\u00e4me"},
		"digest": {"from": "name", "transform": ["trim", "sha256"]}}, "write": {"upsert": {"path": "/sink/$db/$_", "query": {"q": "\\u00fc"}, $formats{$_}}}}} } sort keys %formats;

	$node->safe_psql($db, "CREATE EXTENSION IF NOT EXISTS activate") if $db ne 'postgres';
	$node->safe_psql($db, "CREATE TABLE named (id bigint PRIMARY KEY, name text); INSERT INTO named VALUES (1, chr(233) || ' ' || chr(223)), (2, chr(255))");
	$node->safe_psql($db, "SELECT activate_target('t', 'rest', E'{\"base_url\": \"$url\", \"objects\": {$objects}}')");
	for (sort keys %formats)
	{
		$node->safe_psql($db, "SELECT activate_sync('s_$_', 'named', 't.$_', mode => 'upsert'); SELECT activate_run('s_$_')");
		ok(delivered($node, "s_$_", $db), "$db: $_: done");
	}
}
for (sort keys %formats)
{
	my ($here) = @{ $crm->log("/sink/postgres/$_") };
	my ($there) = @{ $crm->log("/sink/latin1/$_") };

	is(unbound($there->{body}), unbound($here->{body}), "latin1: the same in a database of another encoding") or diag($_);
	like($here->{body}, $_ eq 'form' ? qr/%C3%A9\+%C3%9F/ : qr/\xc3\xa9 \xc3\x9f/, "latin1: $_: UTF-8");
	like($here->{query}, qr/^q=%C3%BC$/, "latin1: $_: in the URL, too");
}
like($crm->log('/sink/latin1/json')->[0]{body}, qr/"digest": "@{[ Digest::SHA::sha256_hex("\xc3\xa9 \xc3\x9f") ]}"/, 'latin1: its digest');

$node->stop;
done_testing;
