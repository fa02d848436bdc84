# Jobs: accepted by the target first, carried out later; under a handle that survives whoever dies.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('job', conf => "activate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'\nactivate.max_attempts = 6");
my $url  = $crm->url;

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true { return $node->poll_query_until('postgres', $_[0]); }

# create, upload, close, poll, failures and successes as lists: as Salesforce's Bulk API does it
my %steps = (
	method => 'POST', path => '/jobs', batch => 100,
	job    => {
		id    => 'id',
		steps => [
			{ method => 'PUT',   path => '/jobs/{job_id}/batches', body => 'rows' },
			{ method => 'PATCH', path => '/jobs/{job_id}',         body => { state => 'UploadComplete' } }
		],
		poll => { path => '/jobs/{job_id}', state => 'state', error => 'error', done => ['JobComplete'], failed => ['Failed'], every => '1s', timeout => '1h' },
		results => [
			{ path => '/jobs/{job_id}/failed?format=csv', format => 'csv', class => 'invalid_row',
				answer => { shape => 'keyed', key => 'id', column => 'id', error => 'sf__Error' } },
			{ path => '/jobs/{job_id}/ok', answer => { shape => 'keyed', key => 'id', column => 'id', ok => 'ok', id => 'id' } }
		]
	});

# A target with one object and a sync of it; changes: members of the operation and of its job.
sub declare
{
	my ($name, $mode, $operation, $job) = @_;
	my %upsert = (%steps, %{ $operation // {} });

	$upsert{job} = { %{ $steps{job} }, body => { object => $name, operation => 'upsert' }, %{ $job // {} } };
	my %delete = (%upsert, job => { %{ $upsert{job} }, body => { object => $name, operation => 'delete' } }, body => 'row');
	my $options = JSON::PP->new->canonical->encode({
		base_url => $url,
		objects  => { $name => { path => '/objects', key => 'id', columns => { id => 'bigint', v => 'bigint', reject => 'boolean', skip => 'boolean' },
			write => { upsert => \%upsert, delete => \%delete } } } });

	sql("SELECT activate_target('$name', 'rest', " . sql_literal($options) . ");
		CREATE TABLE $name (id bigint PRIMARY KEY, v bigint, reject boolean, skip boolean);
		SELECT activate_sync('$name', '$name', '$name.$name', capture => 'trigger', mode => '$mode',
			map => '{\"id\": \"id\", \"v\": \"v\", \"reject\": \"nullif(reject, false)\", \"skip\": \"nullif(skip, false)\"}')");
	return;
}

sub jobs_of { my ($name) = @_; return grep { ($_->{rows} // [])->[0] } @{ $crm->jobs }; }
sub receipts
{
	my ($name) = @_;
	return sql("SELECT string_agg(n || ' ' || outcome, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*) n
		FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' GROUP BY 1) t");
}
sub same { my ($name, $test) = @_; return same_rows($node, $crm->objects($name), "SELECT id, v FROM $name WHERE reject IS NOT TRUE", $test) }
sub strip { my ($json) = @_; $json =~ s/,"(?:reject|skip)":null//g; return $json; }

# --- one job ----------------------------------------------------------------
declare('plain', 'mirror');
$crm->control({ jobs => { polls => 3 } });
sql("INSERT INTO plain SELECT i, i, i IN (13, 77) FROM generate_series(1, 100) i");
ok(delivered($node, 'plain'), 'plain: done');
same_rows($node, strip($crm->objects('plain')), "SELECT id, v FROM plain WHERE NOT reject", 'plain: the good rows are there');
is(receipts('plain'), '98 delivered, 2 rejected', 'plain: an outcome for each row');
is(sql("SELECT string_agg(key ->> 'id', ' ' ORDER BY key) || ': ' || min(reason) FROM activate.rejection"), '13 77: the row asks to be rejected',
	'plain: refused rows are told by the list of failures, a CSV');
is(sql("SELECT count(*) FILTER (WHERE remote_id = key ->> 'id') FROM activate.sent"), 98, 'plain: ids of the API are kept');
is(sql('SELECT count(*) FROM activate._job'), 0, 'plain: the job is forgotten');
is(scalar @{ $crm->jobs }, 1, 'plain: one job');
is($crm->jobs->[0]{uploads}, 1, 'plain: uploaded once');


# uploaded as CSV; the lists of failures by a rule for each element
declare('sheet', 'upsert', { format => 'csv' }, { results => [
	{ path => '/jobs/{job_id}/failed?format=csv', format => 'csv',
		answer => { shape => 'lists', lists => [ { path => '', key => 'id', column => 'id', class => 'invalid_row', error => 'sf__Error' } ], unmentioned => 'ok' } } ], unmentioned => 'ok' });
sql("INSERT INTO sheet SELECT i, i, i = 2 FROM generate_series(1, 3) i");
ok(delivered($node, 'sheet'), 'sheet: done');
is(receipts('sheet'), '2 delivered, 1 rejected', 'sheet: an outcome for each row');
is(join(',', map { $_->{v} } @{ JSON::PP::decode_json($crm->objects('sheet')) }), '1,3', 'sheet: uploaded as CSV');
like($crm->log('/jobs/j2/batches')->[0]{headers}{'content-type'}, qr{text/csv}, 'sheet: and said so');

# a result in pages, which are all read
my %paged = (results => [ { path => '/jobs/{job_id}/failed?page=0', next => 'next', class => 'invalid_row', answer => { shape => 'keyed', path => 'data', key => 'id', column => 'id', error => 'error' } } ]);
declare('paged', 'upsert', {}, \%paged);
sql("INSERT INTO paged SELECT i, i, i > 2 FROM generate_series(1, 5) i");
ok(delivered($node, 'paged'), 'paged: done');
is(receipts('paged'), '2 delivered, 3 rejected', 'paged: every page of the failures is read');
$crm->control({ jobs => { foreign => 'localhost:1' } });
sql("UPDATE paged SET v = 0");
ok(delivered($node, 'paged'), 'paged elsewhere: done');
like(receipts('paged'), qr/ambiguous/, 'paged elsewhere: a page of another host is not asked for');
$crm->control({ jobs => { foreign => undef } });

# --- killed in each phase -----------------------------------------------------
sub arrived
{
	my ($method, $path) = @_;

	for (1 .. 3000)
	{
		return 1 if grep { $_->{method} eq $method && $_->{path} =~ $path } @{ $crm->log('/jobs') };
		select(undef, undef, undef, 0.01);
	}
	return 0;
}

my @phases = (
	[ 'submit', 'POST',  qr{^/jobs$} ],
	[ 'upload', 'PUT',   qr{/batches$} ],
	[ 'close',  'PATCH', qr{^/jobs/j\d+$} ],
	[ 'poll',   'GET',   qr{^/jobs/j\d+$} ],
	[ 'result', 'GET',   qr{/failed$} ]);
for my $how ('deliverer', 'server')
{
	for my $phase (@phases)
	{
		my ($name, $method, $path) = @$phase;
		my $sync = "${how}_$name";

		$crm->reset;
		declare($sync, 'mirror');
		my $prefix = $name eq 'submit' ? '/jobs' : '/jobs/j1' . ($name eq 'upload' ? '/batches' : $name eq 'result' ? '/failed' : '');
		$crm->control({ fault => 'slow', method => $method, path => $prefix, ms => 60000, count => 1 });
		sql("INSERT INTO $sync SELECT i, i, i = 5 FROM generate_series(1, 20) i");
		ok(arrived($method, $path), "$sync: its request is under way");
		if ($how eq 'deliverer')
		{
			my ($pid) = worker_pids($node, 'deliver');
			kill_hard($pid);
		}
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		$crm->heal;
		until_true('SELECT true');
		ok(delivered($node, $sync), "$sync: done");
		same_rows($node, strip($crm->objects($sync)), "SELECT id, v FROM $sync WHERE NOT reject", "$sync: the rows are there");
		my @jobs = grep { $_->{rows} } @{ $crm->jobs };
		is(scalar @jobs, 1, "$sync: rows were uploaded to one job");
		is(sql("SELECT count(*) FROM activate._job"), 0, "$sync: no job is left");
		is(receipts($sync), $name eq 'submit' ? '20 ambiguous, 19 delivered, 1 rejected' : '19 delivered, 1 rejected', "$sync: outcomes");
	}
}

# stopped in order in the midst of it: nothing is ambiguous, and the job goes on
$crm->reset;
declare('restarted', 'mirror');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO restarted SELECT i, i FROM generate_series(1, 20) i');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'restarted: it is polled');
is(sql("SELECT in_flight || ' ' || pending FROM activate.stat_sync WHERE name = 'restarted'") =~ /^[12] 20$/ ? 1 : 0, 1,
	'restarted: a job is in flight, its rows are pending');
is(sql("SET client_min_messages = error; SELECT activate_wait('restarted', '100ms')"), 'f', 'restarted: who waits, waits for the job');
$node->restart;
sql('UPDATE restarted SET v = 100 WHERE id <= 3; DELETE FROM restarted WHERE id = 4');
ok(until_true("SELECT count(*) = 24 FROM activate.outbox"), 'restarted: later changes wait');
$crm->control({ jobs => { hold => 0 } });
is(sql("SELECT activate_wait('restarted', '1 minute')"), 't', 'restarted: done');
same_rows($node, strip($crm->objects('restarted')), 'SELECT id, v FROM restarted', 'restarted: the last version of each row');
is(receipts('restarted'), '24 delivered', 'restarted: nothing is ambiguous');
my @in_order = map { $_->{rows}[0]{v} // 'delete' } grep { $_->{rows} && $_->{rows}[0]{id} <= 4 } @{ $crm->jobs };
is("$in_order[0]", '1', 'restarted: later changes of a key went later');
is(scalar @{ $crm->jobs }, 3, 'restarted: nothing was sent twice');

# --- jobs that come to nothing ---------------------------------------------------
# failed: nothing was applied, an attempt each, in halves from the second time on
$crm->reset;
declare('failing', 'upsert');
$crm->control({ jobs => { fail => 1 } });
sql('INSERT INTO failing SELECT i, i FROM generate_series(1, 4) i');
ok(until_true("SELECT count(*) >= 1 FROM activate._retry WHERE attempts >= 2 AND last_error = 'the job broke'"), 'failing: tried again, with the reason');
$crm->control({ jobs => { fail => 0 } });
ok(delivered($node, 'failing'), 'failing: done once it is well');
same_rows($node, strip($crm->objects('failing')), 'SELECT id, v FROM failing', 'failing: the rows are there');
$crm->control({ jobs => { fail => 1 } });
sql("UPDATE failing SET v = 0");
ok(delivered($node, 'failing'), 'failing: given up');
is(sql("SELECT count(*) || ' ' || min(reason) || ' ' || max(attempts) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'failing'"),
	'4 the job broke 6', 'failing: for ever is rejected after max_attempts');

# lost: the target does not know it any more
$crm->reset;
declare('lost', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO lost SELECT i, i FROM generate_series(1, 4) i');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'lost: it is polled');
$crm->control({ jobs => { lose => 1, hold => 0 } });
ok(delivered($node, 'lost'), 'lost: done by another job');
is(receipts('lost'), '4 ambiguous, 4 delivered', 'lost: what became of the first is not known');
is(sql("SELECT count(DISTINCT idempotency_key) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE name = 'lost'"), 4,
	'lost: the same messages');

# never done: its time is up
$crm->reset;
declare('endless', 'upsert', {}, { poll => { %{ $steps{job}{poll} }, timeout => '1s' } });
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO endless VALUES (1, 1)');
ok(until_true("SELECT count(*) > 0 FROM activate._retry WHERE last_error = 'the job was not done in time'"), 'endless: given up');
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'endless'), 'endless: done by another job');
like(receipts('endless'), qr/^\d+ ambiguous, 1 delivered$/, 'endless: what became of the first is not known');

# a row of which no result tells
$crm->reset;
$crm->control({ jobs => { skip => 'skip' } });
declare('silent', 'upsert');
sql('INSERT INTO silent SELECT i, i, false, i = 2 FROM generate_series(1, 3) i');
ok(delivered($node, 'silent'), 'silent: done');
is(receipts('silent'), '5 ambiguous, 2 delivered, 1 rejected', 'silent: never counted as delivered');

# --- what happens meanwhile --------------------------------------------------------
# paused: what was accepted is followed up, nothing new is sent
$crm->reset;
declare('paused', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO paused VALUES (1, 1)');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'paused: it is polled');
sql("SELECT activate_pause('paused'); INSERT INTO paused VALUES (2, 2)");
$crm->control({ jobs => { hold => 0 } });
ok(until_true("SELECT count(*) = 1 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE name = 'paused'"), 'paused: the job ends');
is(scalar @{ $crm->jobs }, 1, 'paused: no other begins');
sql("SELECT activate_resume('paused')");
ok(delivered($node, 'paused'), 'paused: until it is resumed');

# disabled: not even asked for
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO paused VALUES (3, 3)');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'disabled: it is polled');
$node->append_conf('postgresql.conf', 'activate.enabled = off');
$node->reload;
ok(until_true("SELECT count(*) = 0 FROM activate.stat_sync WHERE state <> 'disabled'"), 'disabled');
$crm->control({ jobs => { hold => 0 } });
$node->append_conf('postgresql.conf', 'activate.enabled = on');
$node->reload;
ok(delivered($node, 'paused'), 'disabled: and goes on afterwards');
is(scalar @{ $crm->jobs }, 3, 'disabled: with the same job');

# dropped: nothing is left, and the deliverer works for others
$crm->reset;
declare('dropped', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO dropped SELECT i, i FROM generate_series(1, 10) i');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'dropped: it is polled');
sql("SET client_min_messages = error; SELECT activate_drop('dropped')");
is(sql('SELECT count(*) FROM activate._job'), 0, 'dropped: no job is left');
sql("SET client_min_messages = error; DROP SERVER dropped CASCADE");
sql('UPDATE paused SET v = 9');
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'paused'), 'dropped: others are served');
is(sql("SELECT count(*) FROM activate.stat_target WHERE name = 'dropped'"), 0, 'dropped: the target is forgotten');

# declared anew with another key in mid-job: what was pending is not settled by the old job
$crm->reset;
declare('redeclared', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO redeclared SELECT i, i FROM generate_series(1, 10) i');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'redeclared: it is polled');
sql("SET client_min_messages = error; SELECT activate_sync('redeclared', 'redeclared', 'redeclared.redeclared', key => 'v', capture => 'trigger', map => '{\"id\": \"v\", \"v\": \"v\"}')");
$crm->control({ jobs => { hold => 0 } });
sql("SELECT activate_run('redeclared')");
ok(delivered($node, 'redeclared'), 'redeclared: done');
is(sql("SELECT count(*) FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE name = 'redeclared' AND t.key ? 'v'"), 10,
	'redeclared: what is known is of the new key');
ok(until_true("SELECT count(*) = 0 FROM activate._job"), 'redeclared: no job is left');

# a target that an operator pauses: the job is asked for, nothing is sent
$crm->reset;
declare('operator', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO operator VALUES (1, 1)');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'operator: it is polled');
sql("SELECT activate_pause('target:operator')");
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'operator'), 'operator: a paused target is asked for its jobs');
sql("SELECT activate_resume('target:operator')");

# no more than two at once, and what changes meanwhile is collected
$crm->control({ jobs => { hold => 1 } });
sql("INSERT INTO operator SELECT i, 0 FROM generate_series(2, 4) i");
ok(until_true("SELECT count(*) = 1 FROM activate._job"), 'many: one');
sql("INSERT INTO operator SELECT i, 0 FROM generate_series(5, 7) i");
ok(until_true("SELECT count(*) = 2 FROM activate._job"), 'many: two');
sql("INSERT INTO operator VALUES ($_, 0)") for 8 .. 20;
is(sql('SELECT count(*) FROM activate._job'), 2, 'many: not more');
is(sql("SELECT string_agg(rows || ' ' || (handle IS NOT NULL) || ' ' || (deadline > now()), ', ') FROM activate.stat_job WHERE name = 'operator'"),
	'3 true true, 3 true true', 'many: stat_job shows them');
sql('CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE stranger');
is(sql('SET ROLE watcher; SELECT count(*) || count(handle)::text FROM activate.stat_job'), '20', 'many: without handles to who only watches');
is(sql('SET ROLE stranger; SELECT count(*) FROM activate.stat_job'), '0', 'many: not to strangers');
is(sql('SET ROLE stranger; SELECT count(*) FROM activate._job'), '0', 'many: nor what is in them');
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'operator'), 'many: done');
is(scalar @{ $crm->jobs }, 4, 'many: what came meanwhile is one job');
same_rows($node, strip($crm->objects('operator')), 'SELECT id, v FROM operator', 'many: all rows are there');

# a step that must not be repeated, and whose answer is lost
$crm->reset;
declare('once', 'upsert', {}, { steps => [ { %{ $steps{job}{steps}[0] }, idempotent => JSON::PP::false }, $steps{job}{steps}[1] ] });
$crm->control({ fault => 'reset', method => 'PUT', path => '/jobs', count => 1 });
sql('INSERT INTO once VALUES (1, 1), (2, 2)');
ok(delivered($node, 'once'), 'once: done');
is(receipts('once'), '2 ambiguous, 2 delivered', 'once: what became of it is not known');
is(join(' ', map { $_->{uploads} } @{ $crm->jobs }), '1 1', 'once: another job, and no second upload');
$crm->control({ fault => 'reset', method => 'PATCH', path => '/jobs', count => 1 });
sql('UPDATE once SET v = 3');
ok(delivered($node, 'once'), 'repeated: done');
is(receipts('once'), '2 ambiguous, 4 delivered', 'repeated: a step that may be is');

# refused: by the target, for all of its rows
$crm->control({ fault => 'status', method => 'PUT', path => '/jobs', status => 422, body => '{"error": "no such field"}' });
sql('UPDATE once SET v = 4');
ok(delivered($node, 'once'), 'refused: done');
is(sql("SELECT count(*) || ' ' || min(reason) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'once'"), '2 no such field',
	'refused: rejected one by one');
$crm->heal;

# refused in the body of a 200: the first request, and a step
declare('polite', 'upsert', { answer => { error => 'problem' } });
for my $request ([ 'POST', '/jobs' ], [ 'PATCH', '/jobs' ])
{
	my ($method, $path) = @$request;

	$crm->control({ fault => 'status', method => $method, path => $path, status => 200, body => '{"id": "none", "problem": "not today"}', count => 1 });
	sql("TRUNCATE polite; SELECT activate_discard('polite'); INSERT INTO polite VALUES (1, 1), (2, 2)");
	ok(delivered($node, 'polite'), "polite $method: done");
	is(sql("SELECT count(*) || ' ' || min(reason) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE name = 'polite'"), '2 not today',
		"polite $method: it is the request that was refused");
	sql("DELETE FROM polite");
	ok(delivered($node, 'polite'), "polite $method: forgotten");
}
is(scalar(grep { $_->{path} =~ m{^/jobs/none} } @{ $crm->log('/jobs') }), 0, 'polite: no job of the first is asked for');
$crm->heal;

# the target is down, throttles, refuses the secret while a job is under way: no attempt is used up
$crm->reset;
declare('weather', 'upsert');
$crm->control({ jobs => { hold => 1 } });
sql('INSERT INTO weather VALUES (1, 1)');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'weather: it is polled');
$crm->down;
ok(until_true("SELECT state = 'down' FROM activate.stat_target WHERE name = 'weather'"), 'weather: down');
$crm->up;
ok(until_true("SELECT state = 'up' FROM activate.stat_target WHERE name = 'weather'"), 'weather: a poll is its probe');
$crm->control({ fault => 'status', path => '/jobs', status => 429, retry_after => '1', count => 1 });
ok(until_true("SELECT state = 'throttled' FROM activate.stat_target WHERE name = 'weather'"), 'weather: throttled');
$crm->control({ jobs => { hold => 0 } });
ok(delivered($node, 'weather'), 'weather: done');
is(receipts('weather'), '1 delivered', 'weather: no attempt, nothing ambiguous');
is(scalar @{ $crm->jobs }, 1, 'weather: one job');

# nor while it answers nothing but 5xx, however often a request of the job is repeated meanwhile
$crm->reset;
declare('storm', 'upsert');
my $closed = grep { $_->{method} eq 'PATCH' } @{ $crm->log('/jobs') };
$crm->control({ fault => 'status', method => 'PATCH', path => '/jobs', status => 503 });
sql('INSERT INTO storm VALUES (1, 1), (2, 2)');
for (1 .. 6000)
{
	last if $closed + 12 <= grep { $_->{method} eq 'PATCH' } @{ $crm->log('/jobs') };
	select(undef, undef, undef, 0.01);
}
ok($closed + 12 <= (grep { $_->{method} eq 'PATCH' } @{ $crm->log('/jobs') }), 'storm: a step is repeated');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'storm'"), 'down', 'storm: the target is down');
$crm->heal;
ok(delivered($node, 'storm'), 'storm: done');
like(receipts('storm'), qr/^2 delivered$/, 'storm: no attempt, nothing ambiguous');
is(scalar @{ $crm->jobs }, 1, 'storm: one job');

# killed when some rows are settled, and the job is still there: they are not sent again
$crm->reset;
$crm->control({ jobs => { skip => 'skip', hold => 1 } });
declare('halfway', 'upsert');
sql('INSERT INTO halfway SELECT i, i, false, i = 2 FROM generate_series(1, 3) i');
ok(until_true("SELECT count(*) = 1 FROM activate._job WHERE state = 'UploadComplete'"), 'halfway: it is polled');
my $keeper = $node->background_psql('postgres');
$keeper->query_safe('BEGIN; SELECT id FROM activate._job FOR UPDATE');
$crm->control({ jobs => { hold => 0 } });
ok(until_true("SELECT count(*) = 2 FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE name = 'halfway' AND outcome = 'delivered'"),
	'halfway: two rows are settled');
is(sql('SELECT count(*) FROM activate._job'), 1, 'halfway: the job is there still');
$crm->control({ jobs => { skip => undef } });
my ($victim) = worker_pids($node, 'deliver');
kill_hard($victim);
eval { $keeper->quit };
until_true('SELECT true');
ok(delivered($node, 'halfway'), 'halfway: done');
like(receipts('halfway'), qr/^[12] ambiguous, 3 delivered$/, 'halfway: each row is delivered once');
is(join(' | ', map { join ',', map { $_->{id} } @{ $_->{rows} } } @{ $crm->jobs }), '1,2,3 | 2', 'halfway: only the other is sent again');

# the preview shows what makes and fills a job
$crm->reset;
declare('shown', 'upsert');
sql("SELECT activate_pause('shown'); INSERT INTO shown VALUES (1, 1), (2, 2)");
is(sql("SELECT string_agg(method || ' ' || regexp_replace(url, '^.*/jobs', '/jobs') || ' ' || row_count, ', ') FROM activate_preview('shown')"),
	'POST /jobs 0, PUT /jobs/job_id/batches 2, PATCH /jobs/job_id 0', 'preview: the requests that make and fill a job');

like(sql("SELECT string_agg(l, E'\\n') FROM activate_explain('shown') l"), qr/Calls: 0/, 'explain: nothing new');
sql("SELECT activate_discard('shown')");
like(sql("SELECT string_agg(l, E'\\n') FROM activate_explain('shown') l"), qr/Calls: 6/, 'explain: a job is create, upload, close, a poll and two results');

# --- by volume ------------------------------------------------------------------------
$crm->reset;
my $by_volume = JSON::PP->new->canonical->encode({
	base_url => $url,
	objects  => { volume => { path => '/objects/volume', key => 'id', columns => { id => 'bigint', v => 'bigint' },
		answer => { shape => 'array', status => 'status', error => 'error' },
		write  => {
			upsert => { path => '/objects/volume/batch/upsert?shape=array', batch => 10, envelope => 'inputs', choose => { rows => 50, operation => 'bulk_upsert' } },
			bulk_upsert => { path => '/jobs?object=volume', batch => 1000, envelope => 'inputs', job => { id => 'id',
				poll => { path => '/jobs/{job_id}', state => 'state', done => ['JobComplete'], every => '1s' },
				results => [ { answer => { shape => 'array', path => 'rows', ok => 'ok', error => 'error' } } ] } } } } } });
sql("SELECT activate_target('volume', 'rest', " . sql_literal($by_volume) . ");
	CREATE TABLE volume (id bigint PRIMARY KEY, v bigint); SELECT activate_sync('volume', 'volume', 'volume.volume', capture => 'trigger');
	INSERT INTO volume SELECT i, 0 FROM generate_series(1, 30) i");
ok(delivered($node, 'volume'), 'choose: few are delivered');
is($crm->calls('/objects/volume/batch', 3) . ' ' . @{ $crm->jobs }, '3 0', 'choose: few rows go by calls');
sql('BEGIN; INSERT INTO volume SELECT i, 0 FROM generate_series(31, 730) i; UPDATE volume SET v = 1; COMMIT');
ok(delivered($node, 'volume'), 'choose: many are delivered');
is($crm->calls('/objects/volume/batch', 3) . ' ' . @{ $crm->jobs }, '3 1', 'choose: many go by one job');
same_rows($node, $crm->objects('volume'), 'TABLE volume', 'choose: all rows are there');
is(receipts('volume'), '760 delivered', 'choose: the answer to the poll tells of each row');

$node->stop('fast');
done_testing();
