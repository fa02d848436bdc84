# activate_undo(): the target is what it was before the run, nothing newer is lost, and what was taken back
# is not sent again by itself.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::Session;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('undo', conf => "activate.http_timeout = '1s'");
my $json = JSON::PP->new->canonical;

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $columns = { id => 'bigint', v => 'text', w => 'text' };
my %operations = (
	upsert => { method => 'PUT',    path => '/{id}' },
	insert => { method => 'POST',   path => '' },
	update => { method => 'PATCH',  path => '/{id}' },
	delete => { method => 'DELETE', path => '/{id}' });

# An object of the service, and a sync of a table of the same name into it; undeletable: it takes no deletes.
sub declare
{
	my ($name, $mode, %more) = @_;
	my %write = map {
		my %operation = %{ $operations{$_} };
		$_ => { %operation, path => "/objects/$name$operation{path}" }
	} grep { $_ ne 'delete' || !$more{undeletable} } keys %operations;
	my $options = $json->encode({
		base_url => $crm->url,
		objects  => { $name => { path => "/objects/$name", key => 'id', columns => $columns, write => \%write } } });

	sql("SELECT activate_target('t_$name', 'rest', '$options');
		CREATE TABLE $name (id bigint PRIMARY KEY, v text, w text);
		SELECT activate_sync('$name', '$name', 't_$name.$name', mode => '$mode', capture => '" . ($more{capture} // 'diff') . "'"
		. ($more{options} ? ", options => '$more{options}'" : '') . ')');
}

# What the service holds, whatever the order.
sub held
{
	my ($name) = @_;
	return join ', ', sort map { $json->encode($_) } @{ $json->decode($crm->objects($name)) };
}

sub run
{
	my ($name, $full) = @_;
	my $run = sql("SELECT activate_run('$name'" . ($full ? ', full => true' : '') . ')');

	delivered($node, $name);
	return $run;
}

# What it enqueued, and the notices.
sub undo
{
	my ($name, $run, $more) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_undo('$name', $run" . ($more ? ", $more" : '') . ')');

	delivered($node, $name);
	return wantarray ? ($out, $err) : $out;
}

# What activate.sent says of it.
sub known
{
	return sql("SELECT string_agg(concat_ws(' ', t.key, t.hash, t.image, t.run), ', ' ORDER BY t.key)
		FROM activate.sent t JOIN activate.sync s ON s.id = t.sync WHERE s.name = '$_[0]'");
}

sub requests { return scalar @{ $crm->log("/objects/$_[0]") }; }

sub undone { return sql("SELECT string_agg(r.op || ' ' || (r.key ->> 'id') || ' ' || r.reason, ', ' ORDER BY (r.key ->> 'id')::int)
	FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]' AND r.code = 'undone'"); }

# --- the whole cycle, in each mode that replaces something -------------
for my $mode (qw(upsert mirror replace update))
{
	my $deletes = $mode eq 'mirror' || $mode eq 'replace';

	declare($mode, $mode, options => '{"min_deletes": 100}');
	$crm->call('POST', "/objects/$mode", { id => $_, v => 'theirs', w => 'theirs' }) for $mode eq 'update' ? 1 .. 9 : ();
	sql("INSERT INTO $mode SELECT i, 'a', 'x' || i FROM generate_series(1, 6) i");
	run($mode);
	my $before = held($mode);
	my $hashes = known($mode);

	# three change, one goes, one is new
	sql("UPDATE $mode SET v = 'bad' WHERE id <= 3; DELETE FROM $mode WHERE id = 4; INSERT INTO $mode VALUES (9, 'new', NULL)");
	my $run = run($mode);
	my $after = held($mode);
	isnt($after, $before, "$mode: the run changed the target");

	my $put = $mode eq 'update' ? 'PATCH' : 'PUT';
	is(sql("BEGIN; SELECT activate_undo('$mode', $run);
			SELECT string_agg(concat_ws(' ', method, regexp_replace(url, '^.*/', ''), body::jsonb - 'id'), ', ' ORDER BY url)
			  FROM activate_preview('$mode', 100); ROLLBACK"),
		($deletes ? 5 : 3) . "\n" . join(', ', (map { "$put $_ {\"v\": \"a\", \"w\": \"x$_\"}" } 1 .. ($deletes ? 4 : 3)), $deletes ? 'DELETE 9' : ()),
		"$mode: the preview shows the requests");
	is(held($mode), $after, "$mode: and sends nothing");

	my ($count, $notices) = undo($mode, $run, $mode eq 'upsert' ? 'deletes => true' : undef);
	is($count, $deletes ? 5 : $mode eq 'upsert' ? 4 : 3, "$mode: so many keys are restored");
	if ($mode eq 'update')
	{
		like($notices, qr/1 keys of sync "update" are left: run $run was the first to send them/, "$mode: what was theirs is not deleted");
		isnt(held($mode), $before, "$mode: 9 keeps what was sent");
	}
	else
	{
		is(held($mode), $before, "$mode: the target is what it was");
		is(known($mode),
			$hashes, "$mode: and activate.sent knows it");
	}

	# the source still has what was taken back
	my $requests = requests($mode);
	my $restored = held($mode);
	my $next = run($mode);
	is(held($mode), $restored, "$mode: the next run changes nothing");
	is(requests($mode), $requests + ($mode eq 'replace' ? 2 : 0), "$mode: and sends " . ($mode eq 'replace' ? 'the rows that were not undone' : 'nothing'));
	my $known = known($mode);
	sql("SELECT activate_replay('$mode', '-infinity')");
	delivered($node, $mode);
	is(held($mode), $restored, "$mode: a replay sends what was restored");
	is(known($mode), $known, "$mode: and changes nothing of what is known");
	is(scalar(my @kept = split /, /, undone($mode)), $mode eq 'update' ? 3 : $deletes ? 5 : 4, "$mode: nor of what is held back");
	sql("UPDATE $mode SET v = 'good' WHERE id = 1");
	run($mode);
	like(held($mode), qr/"id":1,"v":"good"/, "$mode: a changed row goes out");
	is(() = held($mode) =~ /bad/g, 0, "$mode: and only that");
	sql("SELECT activate_retry('$mode', \$\$ code = 'undone' AND key = '{\"id\": 2}' \$\$)");
	delivered($node, $mode);
	is(() = held($mode) =~ /bad/g, 1, "$mode: activate_retry sends it again");
	run($mode, 1);
	is(() = held($mode) =~ /bad/g, 2, "$mode: full sends all");
	is(undone($mode), '', "$mode: nothing is undone any more");
	unlike(held($mode), qr/"id":4/, "$mode: the deleted row goes again") if $deletes;
	like(held($mode), qr/"id":9/, "$mode: the new one is there");
}

# --- the source is put right: nothing is to be sent --------------------
declare('fixed', 'upsert');
sql("INSERT INTO fixed VALUES (1, 'a')");
run('fixed');
sql("UPDATE fixed SET v = 'bad'");
undo('fixed', run('fixed'));
my $requests = requests('fixed');
sql("UPDATE fixed SET v = 'a'");
run('fixed');
is(requests('fixed'), $requests, 'a source that was put right has nothing to send');
is(undone('fixed'), '', 'and is not held back any more');

# --- one by one, and back over several runs ----------------------------
declare('chain', 'mirror', options => '{"min_deletes": 100}');
sql("INSERT INTO chain SELECT i, 'one', NULL FROM generate_series(1, 12) i");
my $first = run('chain');
my %states = ($first => held('chain'));
sql("UPDATE chain SET v = 'two' WHERE id = 1; DELETE FROM chain WHERE id = 2");
my $second = run('chain');
$states{$second} = held('chain');
sql("UPDATE chain SET v = 'three' WHERE id IN (1, 3); INSERT INTO chain VALUES (2, 'three', NULL)");
my $third = run('chain');
my ($count, $notices) = undo('chain', $second);
is($count, 0, 'an older run under a newer one: nothing is restored');
like($notices, qr/2 keys of sync "chain" are left: something has changed them since run $second\nHINT:  If it was a later run, undo that first/, 'and that is told');
is(undo('chain', $third), 3, 'the newer one first');
is(held('chain'), $states{$second}, 'then it is as after the older one');
is(undo('chain', $second), 2, 'then the older one');
is(held('chain'), $states{$first}, 'then it is as after the first');
($count, $notices) = undo('chain', $second);
is($count, 0, 'a second time there is nothing to restore');
like($notices, qr/there is nothing of run $second of sync "chain" to undo/, 'and that is told');
$requests = requests('chain');
run('chain');
is(requests('chain'), $requests, 'what two undos took back stays so');
is(undo('chain', $first, 'deletes => false'), 0, 'no deletes if one does not want them');
is(undo('chain', $first), 12, 'the first run, too');
is(held('chain'), '', 'nothing is left of it');
is(known('chain'), '', 'in activate.sent, too');
is(sql('SELECT count(*) FROM activate._undo u JOIN activate.sync s ON s.id = u.sync WHERE s.name = \'chain\''), 0, 'what is used up is not kept');

# --- new records of an application that may have had them --------------
declare('theirs', 'upsert');
sql("INSERT INTO theirs VALUES (1, 'a', NULL)");
my $run = run('theirs');
($count, $notices) = undo('theirs', $run);
is($count, 0, 'an upsert is not deleted');
like($notices, qr/1 keys of sync "theirs" are left: run $run was the first to send them\nHINT:  .*deletes => true/, 'but that is told');
is(undone('theirs'), '', 'nothing is held back');
is(undo('theirs', $run, 'deletes => true'), 1, 'unless one says so');
is(held('theirs'), '', 'then it is');
declare('nodelete', 'upsert', undeletable => 1);
sql("INSERT INTO nodelete VALUES (1, 'a', NULL)");
($count, $notices) = undo('nodelete', run('nodelete'), 'deletes => true');
like($notices, qr/1 keys of sync "nodelete" are left/, 'a target that takes no deletes keeps it');
declare('inserted', 'insert');
sql("INSERT INTO inserted VALUES (1, 'a', NULL)");
run('inserted');
sql("INSERT INTO inserted VALUES (2, 'a', NULL)");
is(undo('inserted', run('inserted')), 1, 'what was inserted is deleted');
is(held('inserted'), '{"id":1,"v":"a","w":null}', 'and no other');

# --- what was refused -------------------------------------------------
declare('part', 'upsert');
sql("INSERT INTO part SELECT i, 'a', NULL FROM generate_series(1, 3) i");
run('part');
my $before = held('part');
$crm->control({ reject => { field => 'v', equals => 'refused', status => 422, error => 'no' } });
sql("UPDATE part SET v = CASE id WHEN 2 THEN 'refused' ELSE 'bad' END");
$run = run('part');
is(undo('part', $run), 2, 'a run that was refused in part: the rest is restored');
is(held('part'), $before, 'to what it was');
is(sql("SELECT string_agg(concat_ws(' ', r.key ->> 'id', r.code, r.op), ', ' ORDER BY r.code, r.key) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'part'"),
	'2 422 upsert, 1 undone upsert, 3 undone upsert', 'the refusal stays what it was');

# an undo that is refused, and tried again
declare('stubborn', 'upsert');
sql("INSERT INTO stubborn SELECT i, 'a', 'former' FROM generate_series(1, 2) i");
run('stubborn');
$before = held('stubborn');
sql("UPDATE stubborn SET w = 'bad'");
$run = run('stubborn');
my $bad = held('stubborn');
$crm->control({ reject => { field => 'w', equals => 'former', status => 422, error => 'no way back' } });
is(undo('stubborn', $run), 2, 'the target refuses the way back');
is(held('stubborn'), $bad, 'so it is as the run left it');
is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'stubborn' AND r.code = '422'"), 2, 'with the reason');
$crm->control({ reject => undef });
is(undo('stubborn', $run), 2, 'and once more');
is(held('stubborn'), $before, 'now it is what it was');
is(undone('stubborn'), "upsert 1 run $run was undone, upsert 2 run $run was undone", 'and what was taken back stays so');
is(sql("SELECT count(*) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'stubborn'"), 2, 'nothing else is refused');

# --- what waits, is under way, or may have arrived ---------------------
declare('waits', 'mirror', options => '{"min_deletes": 100}');
sql("INSERT INTO waits SELECT i, 'a', NULL FROM generate_series(1, 6) i");
run('waits');
$before = held('waits');
sql("UPDATE waits SET v = 'bad' WHERE id <= 3; DELETE FROM waits WHERE id = 4; INSERT INTO waits VALUES (7, 'bad', NULL); SELECT activate_pause('waits')");
$run = sql("SELECT activate_run('waits')");
$requests = requests('waits');
(my $code, $count, $notices) = $node->psql('postgres', "BEGIN; SELECT activate_undo('waits', $run); SELECT count(*) FROM activate_preview('waits', 100); COMMIT");
is($count, "0\n0", 'what waits is taken back: nothing to restore, nothing to be sent');
like($notices, qr/5 messages of run $run of sync "waits" that wait are taken back/, 'and that is told');
sql("SELECT activate_resume('waits')");
ok(delivered($node, 'waits'), 'nothing is pending');
is(requests('waits'), $requests, 'nothing was sent');
run('waits');
is(requests('waits'), $requests, 'nor is it by the next run');
is(undone('waits'), join(', ', (map { "upsert $_ run $run was undone" } 1 .. 3), "delete 4 run $run was undone", "upsert 7 run $run was undone"),
	'as rejections tell');
run('waits', 1);
is(requests('waits'), $requests + 7, 'full sends all of it');

declare('flying', 'upsert');
sql("INSERT INTO flying SELECT i, 'a', NULL FROM generate_series(1, 6) i");
run('flying');
$before = held('flying');
$crm->control({ fault => 'reset', path => '/objects/flying/2' });
$crm->control({ fault => 'hang', path => '/objects/flying/3' });
$crm->control({ fault => 'status', path => '/objects/flying/4' });
sql("SELECT activate_pause('flying'); UPDATE flying SET v = 'bad'; SELECT activate_run('flying')");
$run = sql('SELECT max(id) FROM activate.run');
# outcomes are not written while somebody keeps this
my $session = ActivateTest::Session->new($node->connstr('postgres'));
$session->run("BEGIN; SELECT FROM activate._outbox WHERE key = '{\"id\": 1}' OR '{\"id\": 1}' = ANY (keys) FOR UPDATE");
sql("SELECT activate_resume('flying')");
my $found = 0;
for (1 .. 3000)
{
	$found = () = held('flying') =~ /bad/g;
	last if $found == 4;
	Time::HiRes::usleep(100_000);
}
is($found, 4, 'four have arrived, of which we do not know yet');
is(sql("SELECT activate_undo('flying', $run)"), 0, 'nothing is known to be undone');
$session->run('COMMIT');
$session->close;
$crm->heal;
ok(delivered($node, 'flying'), 'all is sent');
is(held('flying'), $before, 'what was under way is undone when it has arrived, and what perhaps has');
run('flying');
is(held('flying'), $before, 'and not sent again');

# --- changes that come later ------------------------------------------
declare('later', 'upsert', capture => 'trigger');
sql("INSERT INTO later SELECT i, 'a', NULL FROM generate_series(1, 4) i");
ok(delivered($node, 'later'), 'four rows');
# declared again, its triggers are made again
sql("ALTER TABLE later DISABLE TRIGGER ALL; UPDATE later SET v = 'bad'; SELECT activate_sync('later', 'later', 't_later.later', capture => 'trigger')");
$run = run('later');
like(held('later'), qr/"id":4,"v":"bad"/, 'a run has found what no trigger saw');
$session = ActivateTest::Session->new($node->connstr('postgres'));
sql("UPDATE later SET v = 'newer' WHERE id = 1");
ok(delivered($node, 'later'), 'one row is newer');
$session->run("BEGIN; UPDATE later SET v = 'newest' WHERE id = 2");
sql("SELECT activate_pause('later')");
is(sql("SELECT activate_undo('later', $run)"), 3, 'the others can be undone, for all that is known');
$session->run('COMMIT');
$session->close;
sql("SELECT activate_resume('later')");
ok(delivered($node, 'later'), 'undone');
is(held('later'), '{"id":1,"v":"newer","w":null}, {"id":2,"v":"newest","w":null}, {"id":3,"v":"a","w":null}, {"id":4,"v":"a","w":null}',
	'but not what has changed since, even if it was not known yet');
sql("UPDATE later SET w = NULL WHERE id = 3");
ok(delivered($node, 'later'), 'a row is touched');
like(held('later'), qr/"id":3,"v":"a"/, 'which sends nothing that was taken back');
sql("UPDATE later SET w = 'x' WHERE id = 3");
ok(delivered($node, 'later'), 'a row is changed');
like(held('later'), qr/"id":3,"v":"bad","w":"x"/, 'which sends it');

# the same, when the undo has been tried before the change is known
sql("UPDATE later SET v = 'a', w = NULL");
ok(delivered($node, 'later'), 'all as it was');
sql("SELECT activate_pause('later'); UPDATE later SET v = 'bad' WHERE id = 2; SELECT activate_discard('later'), activate_resume('later')");
$run = run('later');
$session = ActivateTest::Session->new($node->connstr('postgres'));
$session->run("BEGIN; UPDATE later SET v = 'newest' WHERE id = 2");
$crm->control({ fault => 'status', path => '/objects/later/2', status => 503 });
is(sql("SELECT activate_undo('later', $run)"), 1, 'one key');
ok($node->poll_query_until('postgres', "SELECT max(attempts) > 0 FROM activate.outbox WHERE undo"), 'that is tried');
$session->run('COMMIT');
$session->close;
ok($node->poll_query_until('postgres', "SELECT count(*) = 2 FROM activate.outbox WHERE key = '{\"id\": 2}'"), 'then the change is there');
$crm->heal;
ok(delivered($node, 'later'), 'sent');
like(held('later'), qr/"id":2,"v":"newest"/, 'the later change stays');
is(sql("SELECT r.outcome FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'later' AND r.key = '{\"id\": 2}' ORDER BY r.id DESC LIMIT 1"),
	'superseded', 'and the undo is told to be superseded');

# --- kill -9 -----------------------------------------------------------
my $rows = 600;
declare('crash', 'mirror', options => '{"max_delete_percent": 100}');
sql("INSERT INTO crash SELECT i, 'a', NULL FROM generate_series(1, $rows) i");
run('crash');
$before = held('crash');
sql("UPDATE crash SET v = 'bad' WHERE id % 3 > 0; DELETE FROM crash WHERE id % 3 = 0 AND id > 3; INSERT INTO crash SELECT i, 'bad' FROM generate_series($rows + 1, $rows + 200) i");
$crm->control({ fault => 'slow', path => '/objects/crash', ms => 20 });
$run = sql("SELECT activate_run('crash')");
sub killed
{
	my ($pid) = worker_pids($node, 'deliver');

	kill_hard($pid);
	return $node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type LIKE 'activate deliver%' AND pid <> $pid");
}
sub changed { return "SELECT count(*) > $_[0] FROM activate._undo u WHERE u.run = $run"; }
ok($node->poll_query_until('postgres', changed(100)), 'a run is under way');
sql("SELECT activate_undo('crash', $run)");
ok(killed(), 'undone, and the deliverer killed, in the middle of it');
my $left = sql("SELECT count(*) FROM activate._undo u WHERE u.run = $run");
ok($node->poll_query_until('postgres', "SELECT count(*) < greatest($left, 1) FROM activate._undo u WHERE u.run = $run"), 'the undo is under way');
ok(killed(), 'and it is killed again');
$crm->heal;
ok(delivered($node, 'crash'), 'delivered in the end');
undo('crash', $run);
is(held('crash'), $before, 'the target is what it was');
is(sql("SELECT count(*) FROM activate._undo u WHERE u.run = $run"), 0, 'all of it was undone');

# --- kept as long as the run -------------------------------------------
sql("UPDATE chain SET v = 'four'");
$run = run('chain');
run('chain', 1);
sql("UPDATE chain SET v = 'five'");
$run = run('chain');
run('chain');
sql("UPDATE activate.run SET finished_at = now() - interval '40 days' WHERE id <= $run");
is(sql("SELECT count(*) FROM activate._undo WHERE run = $run"), 12, 'twelve images');
ok($node->poll_query_until('postgres', "SELECT activate._housekeep(5) IS NULL OR NOT EXISTS (SELECT FROM activate.run WHERE id = $run)"), 'a run is forgotten');
is(sql("SELECT count(*) FROM activate._undo WHERE run = $run"), 0, 'and they with it');
($code, $count, $notices) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT activate_undo('chain', $run)");
like($notices, qr/ERROR:  42704: sync "chain" has no run $run\nDETAIL:  Runs are remembered for activate.run_retention/, 'then it cannot be undone');

done_testing();
