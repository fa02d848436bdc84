# options.conflict on the ways by which rows go: jobs, files, and DML beside the sync.
use strict;
use warnings;

use ActivateTest;
use File::Path qw(make_path);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('ways', conf => "activate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'");
my $json = JSON::PP->new->canonical->allow_nonref;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A target of one object and what its rows are written by.
sub target
{
	my ($name, %write) = @_;

	sql("SELECT activate_target('$name', 'rest', " . sql_literal($json->encode({ base_url => $crm->url,
		objects => { $name => { path => "/objects/$name", key => 'id', columns => { id => 'bigint', a => 'text', b => 'text' }, read => { records => 'data' }, write => \%write } } })) . ")");
	return;
}
sub held { my ($name) = @_; return join ' ', map { "$_->{id}$_->{a}$_->{b}" } sort { $a->{id} <=> $b->{id} } @{ JSON::PP::decode_json($crm->objects($name)) }; }
sub patch { my ($name, $id, %row) = @_; return $crm->call('PATCH', "/objects/$name/$id", $json->encode(\%row)); }
sub images { return sql("SELECT string_agg(concat(t.key ->> 'id', image ->> 'a', image ->> 'b'), ' ' ORDER BY t.key ->> 'id') FROM activate.sent t JOIN activate.sync s ON s.id = sync WHERE s.name = '$_[0]'"); }

# The application changes what is its; then both columns of the source.
sub run_delivered
{
	my ($name, $test) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("SELECT activate_run('$name')");
	return ok(delivered($node, $name), "$name: $test");
}

# --- by a job -----------------------------------------------------------------
my %job = (
	method => 'POST', path => '/jobs', batch => 100,
	job    => {
		id    => 'id',
		steps => [ { method => 'PUT', path => '/jobs/{job_id}/batches', body => 'rows' }, { method => 'PATCH', path => '/jobs/{job_id}', body => { state => 'UploadComplete' } } ],
		poll  => { path => '/jobs/{job_id}', state => 'state', error => 'error', done => ['JobComplete'], failed => ['Failed'], every => '1s', timeout => '1h' },
		results => [ { path => '/jobs/{job_id}/ok', answer => { shape => 'keyed', key => 'id', column => 'id', ok => 'ok', id => 'id' } } ] });
my $of = sub { my ($operation) = @_; return { %job, body => 'row', job => { %{ $job{job} }, body => { object => 'jobs', operation => $operation } } } };

target('jobs', upsert => $of->('upsert'), delete => $of->('delete'));
sql("CREATE TABLE jobs AS SELECT i::bigint AS id, 'a' AS a, 'b' AS b FROM generate_series(1, 4) i;
	SELECT activate_sync('jobs', 'jobs', 'jobs.jobs', key => 'id', mode => 'mirror', options => '{\"conflict\": {\"a\": \"application\"}, \"max_delete_percent\": 100}')");
run_delivered('jobs', 'a job has sent them');
is(held('jobs'), '1ab 2ab 3ab 4ab', 'jobs: all are there');
patch('jobs', 1, a => 'X');
patch('jobs', 2, a => 'X');
patch('jobs', 3, a => 'X');
sql("UPDATE jobs SET a = 'o', b = 'n' WHERE id < 3; DELETE FROM jobs WHERE id IN (3, 4)");
run_delivered('jobs', 'and changes');
is(held('jobs'), '1Xn 2Xn 3Xb', "jobs: what is the application's stays, and is not deleted");
is(images('jobs'), '1an 2an 3ab', 'jobs: what we wrote stays what we are known to have written');
is(sql("SELECT string_agg(r.op || ' ' || (r.key ->> 'id') || ' ' || r.code, ', ') FROM activate.rejection r"), 'delete 3 conflict', 'jobs: a delete that heeds it is refused');
# what changes while the job is under way is found by the next run, not before
$crm->control({ jobs => { hold => 1 } });
sql("UPDATE jobs SET b = 'm' WHERE id = 1; SELECT activate_run('jobs')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM activate._job'), 'jobs: one is under way');
patch('jobs', 2, b => 'Y');
sql("SELECT activate_run('jobs')");
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'jobs'), 'jobs: it ends');
is(held('jobs'), '1Xm 2XY 3Xb', 'jobs: a run beside it reads, and sends nothing twice');

# --- from files, which are one source as long as nothing is appended ---------------
my $in = $node->basedir . '/in';
make_path($in);
sub put
{
	my ($name, @lines) = @_;

	unlink "$in/$name.csv";
	append_to_file("$in/$name.csv", join '', map { "$_\n" } @lines);
	return;
}

target('files', upsert => { path => '/objects/files/{id}' }, insert => { path => '/objects/files' });
sql("SELECT activate_target('spool', 'file', '{\"path\": \"$in\", \"objects\": {\"k\": {\"files\": \"*.csv\", \"columns\": [{\"id\": \"bigint\"}, {\"a\": \"text\"}, {\"b\": \"text\"}]}}}')");
put('1', '1,a,b', '2,a,b');
sql("SELECT activate_sync('files', 'spool.k', 'files.files', key => 'id', options => '{\"conflict\": {\"a\": \"application\"}}')");
run_delivered('files', 'the first file is sent');
is(held('files'), '1ab 2ab', 'files: both are there');
patch('files', 1, a => 'X');
put('1', '1,o,n', '2,a,n');
put('2', '3,a,b');
run_delivered('files', 'what files say now is sent');
is(held('files'), '1Xn 2an 3ab', "files: what is the application's stays");
unlike(($node->psql('postgres', "SELECT activate_sync('each', 'spool.k', 'files.files', key => 'id', mode => 'append', options => '{\"conflict\": {\"a\": \"application\"}}')"))[2],
	qr/^$/, 'files: what is appended one by one cannot have a conflict');

# --- DML on the same foreign table, which is no sync ------------------------------------
target('dml', upsert => { path => '/objects/dml/{id}' }, update => { path => '/objects/dml/{id}' });
sql("CREATE TABLE dml AS SELECT i::bigint AS id, 'a' AS a, 'b' AS b FROM generate_series(1, 3) i;
	SELECT activate_sync('dml', 'dml', 'dml.dml', key => 'id', options => '{\"conflict\": {\"a\": \"application\"}}')");
run_delivered('dml', 'sent');
patch('dml', 1, a => 'X');
sql("UPDATE dml.dml SET a = 'D' WHERE id = 1; UPDATE dml.dml SET a = 'D' WHERE id = 2");
ok(delivered($node, 'dml.dml'), 'dml: it is sent');
is(held('dml'), '1Db 2Db 3ab', 'dml: writes what it says');
sql("UPDATE dml SET a = 'o', b = 'n'");
run_delivered('dml', 'a run after it');
is(held('dml'), '1Dn 2Dn 3on', "dml: is, to the sync, a change in the application");

$node->stop;
done_testing();
