# Captured changes of a table go into another table: queued by the trigger, applied by a runner (SEMANTICS 11).
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('queue', conf => 'max_prepared_transactions = 2');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Nothing of the sync is queued, but for what is held.
sub applied
{
	my ($name) = @_;

	return $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync
		WHERE s.name = '$name' AND NOT o.held");
}

# The rows of two relations, compared column by column with their text.
sub same_tables
{
	my ($left, $right, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql("SELECT * FROM ((SELECT 'left', l::text FROM $left l EXCEPT ALL SELECT 'left', r::text FROM $right r)
		UNION ALL (SELECT 'right', r::text FROM $right r EXCEPT ALL SELECT 'right', l::text FROM $left l)) d LIMIT 5"), '', $name);
}

sub runs { return sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$_[0]'"); }

sql('CREATE EXTENSION postgres_fdw');
sql("CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '" . $node->host . "', port '" . $node->port . "', dbname 'postgres');
	CREATE USER MAPPING FOR CURRENT_USER SERVER here");

my $columns = 'tenant text, id int, v text, n numeric, at timestamptz, tags text[], doc jsonb';
my $changes = "INSERT INTO %1 SELECT 'a', i, 'new', i / 3.0, 'infinity', ARRAY['x', NULL], '{\"a\": [1, null]}' FROM generate_series(1, 50) i;
	BEGIN; UPDATE %1 SET v = 'changed', n = 'NaN' WHERE id <= 10; DELETE FROM %1 WHERE id BETWEEN 11 AND 15; COMMIT;
	UPDATE %1 SET tenant = 'b' WHERE id = 20; DELETE FROM %1 WHERE id = 21; INSERT INTO %1 VALUES ('a', 21, 'again');
	BEGIN; SAVEPOINT s; DELETE FROM %1 WHERE id = 30; ROLLBACK TO s; COMMIT;";

for my $kind ('local', 'foreign')
{
	subtest "modes, $kind" => sub {
		for my $mode (qw(upsert insert update mirror append replace))
		{
			my $name   = "${mode}_$kind";
			my $key    = $mode eq 'append' ? '' : ', PRIMARY KEY (tenant, id)';
			my $target = "t_$name";

			sql("CREATE TABLE s_$name ($columns, PRIMARY KEY (tenant, id)); CREATE TABLE t_$name ($columns$key)");
			if ($kind eq 'foreign')
			{
				sql("CREATE FOREIGN TABLE f_$name ($columns) SERVER here OPTIONS (table_name 't_$name')");
				$target = "f_$name";
			}
			sql("SELECT activate_sync('$name', 's_$name', '$target', key => 'tenant, id', mode => '$mode', capture => 'trigger',
				options => '{\"max_delete_percent\": 50}')");
			if ($mode eq 'update')
			{
				sql("SELECT activate_pause('$name'); INSERT INTO t_$name SELECT 'a', i, 'old' FROM generate_series(1, 25) i; SELECT activate_resume('$name')");
			}
			(my $script = $changes) =~ s/%1/s_$name/g;
			sql($script);
			ok(applied($name), "$mode: applied");
			is(sql("SELECT count(*) FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name' AND r.status <> 'succeeded'"), '0', "$mode: by runs that succeeded");
			if ($mode eq 'append')
			{
				is(sql("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'changed' AND n = 'NaN') || ' ' || count(DISTINCT (tenant, id)) FROM t_$name"),
					'62 10 51', "$mode: every change once, deletes are none");
				same_tables("(SELECT * FROM s_$name WHERE v <> 'again')", "(SELECT DISTINCT ON (tenant, id) * FROM t_$name WHERE v <> 'again'
					AND (tenant, id) IN (SELECT tenant, id FROM s_$name) AND id <> 21 ORDER BY tenant, id, v)", "$mode: with its content");
			}
			elsif ($mode eq 'mirror' || $mode eq 'replace')
			{
				same_tables("s_$name", "t_$name", "$mode: row by row the same");
			}
			elsif ($mode eq 'upsert')
			{
				same_tables("s_$name", "(SELECT t.* FROM t_$name t JOIN s_$name s USING (tenant, id))", "$mode: row by row the same");
				cmp_ok(sql("SELECT count(*) FROM t_$name t LEFT JOIN s_$name s USING (tenant, id) WHERE s.id IS NULL"), '<=', 6, "$mode: what is gone is kept");
			}
			elsif ($mode eq 'update')
			{
				same_tables("(SELECT s.* FROM s_$name s WHERE id <= 25 AND tenant = 'a')", "(SELECT t.* FROM t_$name t JOIN s_$name s USING (tenant, id))", "$mode: row by row the same");
				is(sql("SELECT count(*) FROM t_$name"), 25, "$mode: nothing was inserted");
			}
		}
	};
}


# A mirror and its source of ten rows.
sub pair
{
	my ($name, %options) = @_;
	my $mode = $options{mode} // 'mirror';
	my $more = $options{options} // '{}';

	sql("CREATE TABLE s_$name (id int PRIMARY KEY, v text); CREATE TABLE t_$name (id int, v text);" . ($mode eq 'append' ? '' : "ALTER TABLE t_$name ADD PRIMARY KEY (id);") . "
		INSERT INTO s_$name SELECT i, 'a' FROM generate_series(1, 10) i");
	sql("SELECT activate_sync('$name', 's_$name', 't_$name', mode => '$mode', capture => 'trigger', options => '$more'); SELECT activate_run('$name')");
}

sub queued { return sql("SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = '$_[0]'"); }

sub runner_waits { return $node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'activate runner' AND wait_event_type = 'Lock'"); }

subtest 'many commits, few runs' => sub {
	pair('many');
	is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'activate deliverer'"), 0, 'nobody delivers where there is nothing to deliver');
	is(sql("SELECT format('%s %s', tgenabled, count(*)) FROM pg_trigger WHERE tgrelid = 's_many'::regclass GROUP BY tgenabled"), 'A 2', 'the source has the triggers');

	my $lock = $node->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK TABLE t_many IN ACCESS EXCLUSIVE MODE');
	sql("UPDATE s_many SET v = 'b' WHERE id = 1");
	ok(runner_waits(), 'a runner is at it');
	sql(join '', map { "INSERT INTO s_many VALUES ($_, 'c');" } 11 .. 100);
	is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'activate runner'"), 1, 'no other one beside it');
	$lock->query_safe('COMMIT');
	$lock->quit;
	ok(applied('many'), 'applied');
	same_tables('s_many', 't_many', 'row by row the same');
	is(runs('many'), 3, 'one run for what came meanwhile');
	is(sql("SELECT string_agg(rows_read || ' ' || rows_inserted || ' ' || rows_updated || ' ' || rows_deleted, ', ' ORDER BY r.id) FROM activate.run r JOIN activate.sync s ON s.id = r.sync
		WHERE s.name = 'many'"), '10 10 0 0, 1 0 1 0, 90 90 0 0', 'which reads the rows of its keys only');

	my $before = sql('SELECT max(xmin::text::bigint) FROM t_many');
	sql("BEGIN; UPDATE s_many SET v = 'z' WHERE id < 50; UPDATE s_many SET v = CASE WHEN id = 1 THEN 'b' WHEN id <= 10 THEN 'a' ELSE 'c' END WHERE id < 50; COMMIT");
	ok(applied('many'), 'changed and changed back');
	is(sql('SELECT max(xmin::text::bigint) FROM t_many'), $before, 'a row that does not differ is not written');
};

subtest 'what fails is tried again' => sub {
	pair('fails');
	sql("ALTER TABLE t_fails ADD CONSTRAINT no_x CHECK (v <> 'x')");
	sql("UPDATE s_fails SET v = 'b' WHERE id = 1; UPDATE s_fails SET v = 'x' WHERE id = 2; UPDATE s_fails SET v = 'c' WHERE id = 3;");
	ok($node->poll_query_until('postgres', "SELECT count(*) >= 2 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'fails' AND r.status = 'failed'"), 'more than once');
	like(sql("SELECT error FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'fails' ORDER BY r.id DESC LIMIT 1"), qr/violates check constraint "no_x"/, 'the run has the error');
	is(sql("SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'fails' AND o.key = '{\"id\": 2}'"), 1, 'the key stays queued');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 'fails'"), 'failed', 'stat_sync tells');
	is(sql("SELECT v FROM t_fails WHERE id = 2"), 'a', 'nothing is half-done');
	sql('ALTER TABLE t_fails DROP CONSTRAINT no_x');
	ok(applied('fails'), 'mended, it goes through by itself');
	same_tables('s_fails', 't_fails', 'row by row the same');
	is(sql("SELECT state FROM activate.stat_sync WHERE name = 'fails'"), 'ok', 'stat_sync tells');
};

subtest 'pause, discard, redeclare, drop' => sub {
	pair('life');
	sql("SELECT activate_pause('life'); UPDATE s_life SET v = 'b' WHERE id = 1");
	my ($status, $out, $err) = $node->psql('postgres', "SELECT activate_wait('life')");
	is($out, 'f', 'nothing to wait for while it is paused');
	like($err, qr/the sync is paused/, 'and why');
	$node->restart;
	is(queued('life'), 1, 'paused: the key waits, over a restart');
	is(sql("SELECT op || ' ' || key || ' ' || coalesce(body::text, '-') || ' ' || pending FROM activate.outbox o JOIN activate.stat_sync s ON s.name = 'life'"), 'change {"id": 1} - 1', 'as a key');
	sql("SELECT activate_resume('life')");
	is(sql("SELECT activate_wait('life')"), 't', 'resumed, it is applied');
	same_tables('s_life', 't_life', 'row by row the same');

	sql("SELECT activate_pause('life'); UPDATE s_life SET v = 'c' WHERE id <= 2");
	is(sql("SELECT activate_discard('life', \$\$key = '{\"id\": 1}'\$\$)"), 1, 'one is discarded');
	sql("SELECT activate_resume('life')");
	ok(applied('life'), 'the other');
	is(sql("SELECT string_agg(v, ' ' ORDER BY id) FROM t_life WHERE id <= 2"), 'b c', 'is applied');

	($status, $out, $err) = $node->psql('postgres', "BEGIN; UPDATE s_life SET v = 'd'; SELECT activate_wait('life');");
	like($err, qr/cannot wait for sync "life" in the transaction that enqueued/, 'no waiting for what is not committed');

	sql("SELECT activate_pause('life'); UPDATE s_life SET v = 'e' WHERE id = 5; SELECT activate_sync('life', 's_life', 't_life', mode => 'mirror'); SELECT activate_resume('life')");
	ok(applied('life'), 'a declaration without triggers takes what was queued');
	is(sql('SELECT v FROM t_life WHERE id = 5'), 'e', 'and applies it');
	is(sql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 's_life'::regclass"), 0, 'the triggers are gone');

	sql("SELECT activate_sync('life', 's_life', 't_life', mode => 'mirror', capture => 'trigger'); SELECT activate_pause('life'); UPDATE s_life SET v = 'f'");
	sql('CREATE TABLE t_life2 (LIKE t_life INCLUDING ALL)');
	($status, $out, $err) = $node->psql('postgres', "SELECT activate_sync('life', 's_life', 't_life2', mode => 'mirror', capture => 'trigger')");
	like($err, qr/10 pending intents were discarded/, 'another target: what was queued is discarded');
	sql("UPDATE s_life SET v = 'g' WHERE id = 1");
	($status, $out, $err) = $node->psql('postgres', "SELECT activate_drop('life')");
	like($err, qr/1 pending intents of sync "life" were discarded/, 'dropped with what is queued');
	is(sql("SELECT count(*) FROM pg_trigger WHERE tgrelid = 's_life'::regclass"), 0, 'and the triggers');
};

subtest 'a run of everything' => sub {
	pair('whole');
	sql("SELECT activate_pause('whole'); ALTER TABLE s_whole DISABLE TRIGGER USER; UPDATE s_whole SET v = 'unseen' WHERE id = 9; ALTER TABLE s_whole ENABLE TRIGGER USER");
	my $open = $node->background_psql('postgres');
	$open->query_safe("BEGIN; UPDATE s_whole SET v = 'late' WHERE id = 1");
	sql("UPDATE s_whole SET v = 'seen' WHERE id = 2");
	sql("SELECT activate_run('whole')");
	is(sql('SELECT string_agg(v, \' \' ORDER BY id) FROM t_whole WHERE id IN (1, 2, 9)'), 'a seen unseen', 'compares all there is, what the triggers missed as well');
	is(queued('whole'), 0, 'and takes what was queued');
	$open->query_safe('COMMIT');
	$open->quit;
	is(queued('whole'), 1, 'but not what is committed later');
	sql("SELECT activate_resume('whole')");
	ok(applied('whole'), 'that is applied');
	same_tables('s_whole', 't_whole', 'row by row the same');

	sql("BEGIN; UPDATE s_whole SET v = 'own' WHERE id = 3; SELECT activate_run('whole'); UPDATE s_whole SET v = 'own again' WHERE id = 3; COMMIT");
	ok(applied('whole'), 'a change after the run, in its transaction');
	is(sql('SELECT v FROM t_whole WHERE id = 3'), 'own again', 'is not forgotten');
	sql("BEGIN; UPDATE s_whole SET v = 'dry' WHERE id = 4; SELECT activate_run('whole'); ROLLBACK; SELECT activate_explain('whole')");
	is(sql('SELECT v FROM t_whole WHERE id = 4'), 'a', 'rolled back, it was a dry run');

	pair('events', mode => 'append');
	sql("SELECT activate_pause('events'); UPDATE s_events SET v = 'b' WHERE id = 1; UPDATE s_events SET v = 'c' WHERE id = 1");
	sql("INSERT INTO s_events VALUES (11, 'a'); SELECT activate_run('events'); SELECT activate_run('events')");
	is(sql("SELECT string_agg(v, ' ' ORDER BY v) || ' ' || (SELECT count(*) FROM t_events) FROM t_events WHERE id IN (1, 11)"), 'a a b c 13', 'events are taken, each once');
	$open = $node->background_psql('postgres');
	$open->query_safe("BEGIN; INSERT INTO s_events VALUES (12, 'open')");
	sql("SELECT activate_run('events')");
	$open->query_safe('COMMIT');
	$open->quit;
	sql("SELECT activate_run('events'); SELECT activate_resume('events')");
	ok(applied('events'), 'and one that was under way');
	is(sql('SELECT count(*) FROM t_events WHERE id = 12'), 1, 'too');
	sql("CREATE TABLE parts (n bigint); CREATE FUNCTION part() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO parts SELECT count(*) FROM new; RETURN NULL; END';
		CREATE TRIGGER part AFTER INSERT ON t_events REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION part();
		SELECT activate_pause('events'); ALTER TABLE activate._outbox ALTER body SET STORAGE EXTERNAL");
	sql("INSERT INTO s_events SELECT i, (SELECT string_agg(md5(i || ' ' || j), '') FROM generate_series(1, 300000) j) FROM generate_series(101, 103) i; SELECT activate_run('events'); SELECT activate_resume('events')");
	is(sql("SELECT string_agg(n::text, ' ' ORDER BY ctid) FILTER (WHERE n > 0) FROM parts") . ' ' . sql('SELECT count(*) FROM t_events t JOIN s_events USING (id, v) WHERE id > 100'), '2 1 3', 'large events are taken in parts');
};

subtest 'TRUNCATE' => sub {
	pair('emptied', mode => 'replace');
	sql('TRUNCATE s_emptied');
	ok(applied('emptied'), 'replace: compares everything');
	is(sql('SELECT count(*) FROM t_emptied'), 0, 'and empties the target');
	pair('kept');
	sql("BEGIN; TRUNCATE s_kept; INSERT INTO s_kept VALUES (1, 'b'), (11, 'new'); COMMIT");
	ok(applied('kept'), 'mirror: the inserts pass');
	is(sql("SELECT count(*) FILTER (WHERE held) || ' ' || string_agg(DISTINCT op, ' ') FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'kept'"), '9 delete', 'the deletes are held') or diag sql('TABLE activate.outbox');
	is(sql("SELECT string_agg(v, ' ' ORDER BY id) FROM t_kept"), 'b a a a a a a a a a new', 'nothing is deleted');
	pair('loose', mode => 'upsert');
	sql('TRUNCATE s_loose');
	is(queued('loose'), 0, 'upsert: nothing to do');
};

subtest 'owners' => sub {
	sql("CREATE ROLE plain LOGIN; CREATE ROLE silent NOLOGIN; GRANT CREATE ON SCHEMA public TO plain, silent");
	for my $role ('plain', 'silent')
	{
		$node->safe_psql('postgres', "SET ROLE $role; CREATE TABLE s_$role (id int PRIMARY KEY, v text); CREATE TABLE t_$role (id int PRIMARY KEY, v text, by text DEFAULT current_user);
			SELECT activate_sync('$role', 's_$role', 't_$role', mode => 'mirror', capture => 'trigger'); INSERT INTO s_$role VALUES (1, 'a'), (2, 'b')");
		ok(applied($role), "$role: applied");
		is(sql("SELECT string_agg(by, ' ') FROM t_$role"), "$role $role", "$role: by the owner");
	}
	sql("ALTER TABLE t_plain OWNER TO postgres; UPDATE s_plain SET v = 'c'");
	ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason ~ 'permission denied' FROM activate.sync WHERE name = 'plain'"), 'a right is gone: paused with the reason');
	is(queued('plain'), 2, 'the keys stay');
	sql("ALTER TABLE s_silent OWNER TO postgres; ALTER TABLE t_silent OWNER TO postgres; DROP OWNED BY silent; DROP ROLE silent; UPDATE s_silent SET v = 'c' WHERE id = 1");
	ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason ~ 'silent' FROM activate.sync WHERE name = 'silent'"), 'the owner is gone: paused with the reason');
	my ($status, $out, $err) = $node->psql('postgres', "SET ROLE plain; SELECT activate_sync('no', 's_silent', 't_plain', mode => 'mirror', capture => 'trigger')");
	like($err, qr/permission denied to put a trigger on "s_silent"/, 'who may not put a trigger on the source may not declare it');
	sql("UPDATE s_fails SET v = 'after'");
	ok(applied('fails'), 'the others go on');
};

subtest 'keys' => sub {
	sql("CREATE TABLE s_keys (id int, v text); CREATE TABLE t_keys (id int PRIMARY KEY, v text);
		SELECT activate_sync('keys', 's_keys', 't_keys', key => 'id', mode => 'mirror', capture => 'trigger');
		INSERT INTO s_keys VALUES (1, 'a'), (2, 'x'), (2, 'y'), (NULL, 'z')");
	ok(applied('keys'), 'NULL and duplicate keys do not hold up the others');
	is(sql("SELECT string_agg(id || v, ' ' ORDER BY id) FROM t_keys"), '1a', 'which pass');
	is(sql("SELECT string_agg(code || ' ' || r.key, ', ' ORDER BY code, r.id) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'keys'"),
		'duplicate_key {"id": 2}, duplicate_key {"id": 2}, null_key {"id": null}', 'they are rejected');
	sql("DELETE FROM s_keys WHERE v = 'y'");
	ok(applied('keys'), 'one of two is gone');
	is(sql("SELECT string_agg(id || v, ' ' ORDER BY id) FROM t_keys"), '1a 2x', 'the other passes');
	is(sql("SELECT string_agg(code, ' ') FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'keys'"), 'null_key', 'its rejection is gone');
	sql("UPDATE s_keys SET id = 3 WHERE id = 1");
	ok(applied('keys'), 'a key that changes');
	is(sql("SELECT string_agg(id || v, ' ' ORDER BY id) FROM t_keys"), '2x 3a', 'moves the row');
};

subtest 'from table to table to table' => sub {
	sql("CREATE TABLE c1 (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE c1a PARTITION OF c1 FOR VALUES FROM (0) TO (100); CREATE TABLE c1b PARTITION OF c1 DEFAULT;
		SELECT activate_sync('c2', 'c1', 'c2', mode => 'mirror', capture => 'trigger'); SELECT activate_sync('c3', 'c2', 'c3', mode => 'mirror', capture => 'trigger',
			map => '{\"id\": \"id\", \"V W\": \"upper(v)\"}', options => '{\"where\": \"v <> ''hidden''\"}')");
	sql("INSERT INTO c1 SELECT i, 'v' || i FROM generate_series(90, 110) i");
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 21 FROM c3'), 'a change goes all the way');
	sql("UPDATE c1 SET v = 'hidden' WHERE id = 95; DELETE FROM c1 WHERE id = 110; UPDATE c1 SET id = 50 WHERE id = 105");
	ok($node->poll_query_until('postgres', "SELECT string_agg(id::text, ' ' ORDER BY id) = '50 90 91 92 93 94 96 97 98 99 100 101 102 103 104 106 107 108 109' FROM c3"), 'and what a condition hides is gone') or diag sql('TABLE c3');
	is(sql("SELECT \"V W\" FROM c3 WHERE id = 50"), 'V105', 'as the map says');
};

subtest 'COMMIT PREPARED' => sub {
	pair('prepared');
	sql("BEGIN; UPDATE s_prepared SET v = 'b' WHERE id = 1; PREPARE TRANSACTION 'p'");
	sql("UPDATE s_prepared SET v = 'c' WHERE id = 2");
	ok($node->poll_query_until('postgres', "SELECT v = 'c' FROM t_prepared WHERE id = 2"), 'a prepared transaction delays no other');
	sql("COMMIT PREPARED 'p'");
	ok($node->poll_query_until('postgres', "SELECT v = 'b' FROM t_prepared WHERE id = 1"), 'and is found when it is committed');
};

subtest 'without preload' => sub {
	pair('alone');
	sql("SELECT activate_pause('alone')");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->restart;
	sql("SELECT activate_resume('alone'); UPDATE s_alone SET v = 'b' WHERE id = 1; DELETE FROM s_alone WHERE id = 2; INSERT INTO s_alone VALUES (11, 'c')");
	is(queued('alone'), 3, 'keys are queued');
	my ($status, $out, $err) = $node->psql('postgres', "SELECT activate_wait('alone')");
	like($err, qr/not in shared_preload_libraries/, 'and nobody applies them');
	sql("SELECT activate_run('alone')");
	is(queued('alone'), 0, 'a run by hand does');
	same_tables('s_alone', 't_alone', 'row by row the same');
};

$node->stop('fast');
done_testing();
