# SEMANTICS 12 and guarantee 9, attacked: mallory may log in, own things in a schema of hers and declare
# syncs into a target that she was granted.  Whatever code of hers runs, runs as her.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('hostile', conf => "activate.render_timeout = '300ms'");

# as superuser, and as mallory in a session of her own
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub hers { return $node->safe_psql('postgres', "SET search_path = lair, public; $_[0]", extra_params => [ '-U', 'mallory' ]); }

# What an error of hers, or of a role, says.
sub fails
{
	my ($script, $pattern, $name, $role) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET search_path = lair, public; $script", extra_params => [ '-U', $role // 'mallory' ]);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like($err, $pattern, $name);
}

sub rejections
{
	my ($sync) = @_;
	return sql("SELECT string_agg((r.key ->> 'id') || ' ' || r.code, ', ' ORDER BY (r.key ->> 'id')::int)
		FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

sub sent
{
	my ($sync) = @_;
	return join(' ', sort map { $_->{key}{id} } values %{ $crm->hook_state('o')->{syncs}{$sync} // {} });
}

sub powers { return sql("SELECT rolsuper::text || (SELECT count(*) FROM loot) FROM pg_roles WHERE rolname = 'mallory'"); }

my $url = $crm->url('/hook/o');

# trust for everybody: mallory has a connection of her own
sql("CREATE ROLE mallory LOGIN; CREATE ROLE victim LOGIN; CREATE ROLE sleeper NOLOGIN;
	CREATE TABLE loot (who text, how text); GRANT ALL ON loot TO PUBLIC;
	CREATE TABLE crown (jewel text); INSERT INTO crown VALUES ('HUSHjewelHUSH');
	SELECT activate_target('o', 'webhook', '{\"url\": \"$url\", \"mapping_for\": \"public\"}', '{\"bearer\": \"t\"}');
	GRANT USAGE ON SCHEMA o TO mallory, victim, sleeper; GRANT USAGE ON FOREIGN SERVER o TO mallory, victim, sleeper;
	GRANT INSERT ON o.change TO mallory, victim, sleeper;
	CREATE SCHEMA lair AUTHORIZATION mallory; CREATE SCHEMA home AUTHORIZATION victim; CREATE SCHEMA cave AUTHORIZATION sleeper;");

# She notes who she is whenever she is more than herself, and tries to stay it.
my $grab = "IF current_user <> 'mallory' THEN INSERT INTO public.loot VALUES (current_user, TG); END IF;
	BEGIN ALTER ROLE mallory SUPERUSER; INSERT INTO public.loot VALUES (current_user, TG); EXCEPTION WHEN OTHERS THEN END;";
sub grab { my ($how) = @_; return $grab =~ s/TG/'$how'/gr; }

subtest 'code that runs while a statement is only read' => sub {
	# the check of a domain runs when a literal of an array of it is parsed
	hers("CREATE FUNCTION sly(v int) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN " . grab('parse') . " RETURN true; END \$\$;
		CREATE DOMAIN trap AS int CHECK (sly(VALUE));
		CREATE TABLE bait (id int PRIMARY KEY, v text); GRANT INSERT ON bait TO PUBLIC;
		SELECT activate_sync('events', 'bait', 'o.change', map => '{\"id\": \"id\", \"v\": \"(''{1}''::trap[])[1]\"}', mode => 'append', capture => 'trigger');
		SELECT activate_sync('rows', 'bait', 'o.change', map => '{\"id\": \"id\", \"v\": \"(''{2}''::trap[])[1]\"}', capture => 'trigger');
		SELECT activate_sync('copy', 'SELECT id, (''{3}''::trap[])[1] AS v FROM lair.bait', 'lair.copied', key => 'id');
		DELETE FROM public.loot; INSERT INTO bait VALUES (1, 'a')");
	sql("INSERT INTO lair.bait VALUES (2, 'b'); SELECT activate_preview('events'); SELECT activate_run(n), activate_explain(n) FROM unnest('{events,rows,copy}'::text[]) n");
	ok(delivered($node), 'delivered');
	is(sent('events'), '1 2', 'events');
	is(sent('rows'), '1 2', 'rows');
	is(powers(), 'false0', 'as her alone');
};

subtest 'a trigger of hers with the function of captures' => sub {
	hers("CREATE TRIGGER by_hand AFTER INSERT OR UPDATE OR DELETE ON bait FOR EACH STATEMENT EXECUTE FUNCTION activate._capture('1')");
	fails("INSERT INTO bait VALUES (3, 'c')", qr/ERROR:  39P01/, 'for each statement');
};

subtest 'a loop that catches its cancellation' => sub {
	hers("CREATE FUNCTION stubborn(i int) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
		WHILE i = 2 LOOP BEGIN LOOP END LOOP; EXCEPTION WHEN query_canceled THEN END; END LOOP; RETURN i; END \$\$;
		CREATE TABLE pool (id int PRIMARY KEY, v int);
		SELECT activate_sync('stubborn', 'pool', 'o.change', map => '{\"v\": \"stubborn(id)\"}', key => 'id', capture => 'trigger');
		INSERT INTO pool SELECT i, i FROM generate_series(1, 5) i");
	ok(delivered($node, 'stubborn'), 'delivered');
	is(rejections('stubborn'), '2 57014', 'is rejected like any other');
	is(sent('stubborn'), '1 3 4 5', 'alone');
};


subtest 'what a function of hers leaves behind' => sub {
	hers("CREATE FUNCTION sticky(i int) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN
			PERFORM pg_advisory_lock(42, i), set_config('search_path', 'lair', false), set_config('work_mem', '65kB', false), set_config('session_replication_role', 'origin', false);
			RETURN i; EXCEPTION WHEN insufficient_privilege THEN
			BEGIN PERFORM set_config('work_mem', '66kB', false); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN PERFORM pg_advisory_lock(42, i), set_config('work_mem', '67kB', false), set_config('search_path', 'lair', false); END;
			RETURN i; END \$\$;
		CREATE TABLE glue (id int PRIMARY KEY, v int); SELECT activate_sync('sticky', 'glue', 'o.change', map => '{\"v\": \"sticky(v)\"}', key => 'id', capture => 'trigger');
		INSERT INTO glue SELECT i, i FROM generate_series(1, 3) i");
	ok(delivered($node, 'sticky'), 'delivered');
	is(sent('sticky'), '1 2 3', 'sent');
	is(sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'no lock stays with the deliverer');
	is(sql("SET work_mem = '1MB'; SELECT count(*) FROM (SELECT activate_run('sticky', true), activate_preview('sticky')) x; SELECT activate_explain('sticky') LIMIT 0;
		SHOW work_mem; SHOW search_path; SELECT current_user"), "3\n1MB\n\"\$user\", public\npostgres", 'no setting stays with a superuser who runs it');
	hers("CREATE OR REPLACE FUNCTION sticky(i int) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN PERFORM set_config('work_mem', '65kB', false); RAISE EXCEPTION 'no'; END \$\$");
	is(sql("SET work_mem = '1MB'; DO \$\$ BEGIN PERFORM activate_run('sticky', true); EXCEPTION WHEN OTHERS THEN END \$\$; SHOW work_mem; SELECT current_user"), "1MB\npostgres", 'nor after an error that was caught');
};

subtest 'triggers, casts, operators and names in the way of a superuser' => sub {
	# a deferred trigger of the target; a row's cast to json
	hers("DELETE FROM public.loot;
		CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN " . grab('deferred trigger') . " RETURN NULL; END \$\$;
		CREATE TABLE later (id int PRIMARY KEY, v text); CREATE CONSTRAINT TRIGGER later AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spring();
		SELECT activate_sync('later', 'bait', 'later', key => 'id');
		CREATE TYPE pair AS (a int, b int); CREATE FUNCTION tell(pair) RETURNS json LANGUAGE plpgsql AS \$\$ BEGIN " . grab('cast') . " RETURN to_json(\$1.a); END \$\$;
		CREATE CAST (pair AS json) WITH FUNCTION tell(pair);
		CREATE TABLE pairs (id pair PRIMARY KEY); SELECT activate_sync('pairs', 'pairs', 'o.change', capture => 'trigger')");
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_run('later')");
	like($err, qr/ERROR: .*deferred trigger|^$/, 'a deferred trigger fires as her or not at all');
	sql("INSERT INTO lair.pairs VALUES (ROW(1, 2)), (ROW(3, 4)); SELECT activate_run('pairs')");
	sql("CREATE ROLE warden LOGIN; GRANT activate_admin TO warden; SET ROLE warden; SELECT activate_run('rows', true), activate_run('pairs', true), activate_explain('copy')");
	ok(delivered($node, 'pairs'), 'delivered');
	is(powers(), 'false0', 'as her alone');

	# hers are better matches than PostgreSQL's own, and come first
	hers("CREATE FUNCTION same(jsonb, jsonb) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN " . grab('operator') . " RETURN true; END \$\$;
		CREATE OPERATOR = (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = same);
		CREATE FUNCTION same(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN " . grab('operator') . " RETURN true; END \$\$;
		CREATE OPERATOR = (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = same);
		CREATE FUNCTION to_jsonb(record) RETURNS jsonb LANGUAGE plpgsql AS \$\$ BEGIN " . grab('function') . " RETURN '{}'; END \$\$;
		CREATE FUNCTION has_server_privilege(oid, text) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN " . grab('function') . " RETURN true; END \$\$;
		CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN " . grab('function') . " RETURN ''; END \$\$;
		CREATE FUNCTION format(text, text) RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN " . grab('function') . " RETURN ''; END \$\$;
		GRANT USAGE ON SCHEMA lair TO PUBLIC");
	$node->safe_psql('postgres', "SET search_path = home; CREATE TABLE truth (id int PRIMARY KEY, v text); INSERT INTO truth VALUES (1, 'right'), (2, 'right');
		SELECT public.activate_sync('truth', 'truth', 'o.change', mode => 'mirror'); SELECT public.activate_sync('truth 2', 'truth', 'truths')", extra_params => [ '-U', 'victim' ]);
	sql("SET search_path = lair, pg_catalog, public; CREATE TEMP TABLE truth AS SELECT 1 AS id, 'wrong' AS v; CREATE TEMP TABLE _outbox (); CREATE TEMP TABLE sync (id bigint);
		SELECT activate_run(n), activate_explain(n) FROM unnest('{truth,truth 2}'::text[]) n; SELECT activate_preview('truth');
		SELECT activate_retry('truth', 'true'), activate_discard('later', 'true'); TABLE activate.stat_sync; TABLE activate.stat_target; TABLE activate.stat_run; TABLE activate.outbox;
		SELECT activate_export(), activate_pause('truth'), activate_resume('truth'); SELECT activate_sync('of root', 'home.truth', 'o.change'); SELECT activate_drop('of root');
		CREATE TABLE public.brief (id int PRIMARY KEY); DROP TABLE public.brief");
	ok(delivered($node, 'truth'), 'delivered');
	is($crm->hook_state('o')->{syncs}{truth}{'{"id":1}'}{row}{v}, 'right', 'the row of the declaration');
	is(powers(), 'false0', 'nothing of hers ran');
};

subtest 'what a declaration is made of' => sub {
	my $declare = sub { my ($what) = @_; my %say = (source => 'bait', map => '{"id": "id"}', options => '{}', %$what);
		return "SELECT activate_sync('bad', " . sql_literal($say{source}) . ", 'o.change', key => 'id', map => " . sql_literal($say{map}) . ', options => ' . sql_literal($say{options}) . ')' };
	for my $text ('true) UNION SELECT jewel FROM public.crown --', 'true; DROP TABLE bait', 'true /*', 'true) OR (true', "true\n; SELECT 1", '', 'id = ', '*', 'id AS x', 'true FROM public.crown', 'true ORDER BY 1', 'true LIMIT 1', 'DELETE FROM bait')
	{
		my $json = $text =~ s/\n/\\n/gr;
		fails($declare->({ options => "{\"where\": \"$json\"}" }), qr/ERROR:  (42601|42883|42804|42703|0A000|22023)/, "where: $json");
		fails($declare->({ map => "{\"id\": \"$json\"}" }), qr/ERROR:  (42601|42883|42804|42703|0A000|22023)/, "map: $json");
	}
	for my $source ('SELECT 1 AS id; DROP TABLE bait', 'WITH x AS (DELETE FROM bait RETURNING id) SELECT id FROM x', 'SELECT id INTO stolen FROM bait', 'SELECT id FROM bait FOR UPDATE', 'DELETE FROM bait RETURNING id',
		'bait; DROP TABLE bait', 'bait) x; --', 'pg_temp.nothing', 'SELECT id FROM nothing')
	{
		fails($declare->({ source => $source }), qr/ERROR:  (42601|42P01|0A000|42602|3F000)/, "source: $source");
	}
	fails($declare->({ options => '{"where": "EXISTS (SELECT FROM public.crown)"}' }), qr/ERROR:  42501/, 'a table that she may not read, in where');
	fails($declare->({ map => '{"id": "(SELECT jewel FROM public.crown)"}' }), qr/ERROR:  42501/, 'in map');
	fails($declare->({ source => 'SELECT 1 AS id, jewel FROM public.crown' }), qr/ERROR:  42501/, 'in source');
	fails($declare->({ source => 'TABLE pg_user_mapping' }), qr/ERROR:  (42501|42703)/, 'a catalog');
	fails($declare->({ map => '{"id": "generate_series(1, 3)"}' }), qr/ERROR:  0A000/, 'a set in map');
	fails($declare->({ map => '{"id": "id", "r": "random()"}' }), qr/WARNING: .*volatile/, 'a volatile function is worth a warning');
	fails("SELECT activate_drop('bad')", qr/^$/, 'which was all');
	is(sql("SELECT count(*) FROM activate.sync WHERE name = 'bad'"), 0, 'nothing else was declared');

	# a trigger of hers on a table of hers, in the name of another's sync
	my $id = sql("SELECT id FROM activate.sync WHERE name = 'truth'");
	hers("CREATE TABLE forged (id int PRIMARY KEY, v text); CREATE TRIGGER forged AFTER INSERT OR UPDATE OR DELETE ON forged FOR EACH ROW EXECUTE FUNCTION activate._capture('$id');
		CREATE TRIGGER forged_too AFTER TRUNCATE ON forged EXECUTE FUNCTION activate._capture('$id'); INSERT INTO forged VALUES (1, 'x'), (77, 'x'); DELETE FROM forged; TRUNCATE forged");
	is(pending($node, 'truth'), 0, 'a forged trigger enqueues nothing');
	is(sql("SELECT paused FROM activate.sync WHERE id = $id"), 'f', 'nor does it pause the sync');
	for my $argument ("'x'", "''", "'9223372036854775808'", "'1', '2'", '')
	{
		hers("CREATE OR REPLACE TRIGGER forged AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION activate._capture($argument)");
		fails('INSERT INTO forged VALUES (5)', qr/ERROR:  (22P02|22003|39P01)/, "with the argument $argument");
	}
};

subtest 'what is for others' => sub {
	fails("SELECT activate_$_", qr/ERROR:  42501/, $_ =~ s/\(.*//r)
	  for ("run('truth')", "explain('truth')", "preview('truth')", "pause('truth')", "resume('truth')", "drop('truth')", "retry('truth')", "discard('truth')", "wait('truth')", "pause('target:o')", "resume('target:o')",
		"adopt()", "connector('{\"name\": \"x\"}')", "target('mine', 'webhook', '{\"url\": \"http://127.0.0.1/\"}')", "target('o', 'webhook', secret => '{\"bearer\": \"x\"}')",
		"sync('truth', 'bait', 'o.change')");
	fails("CREATE SERVER mine FOREIGN DATA WRAPPER activate OPTIONS (connector 'rest')", qr/ERROR:  42501/, 'the wrapper');
	sql("SELECT activate_target('closed', 'webhook', '{\"url\": \"$url\"}', '{\"bearer\": \"hush\"}'); GRANT USAGE ON SCHEMA closed TO mallory; GRANT USAGE ON FOREIGN SERVER closed TO victim; GRANT INSERT ON closed.change TO victim");
	fails("SELECT activate_sync('bad', 'bait', 'closed.change')", qr/ERROR:  42501/, "another's foreign table");
	fails("CREATE FOREIGN TABLE mine (row jsonb) SERVER closed", qr/ERROR:  42501/, 'a table of her own on it');
	fails("CREATE USER MAPPING FOR mallory SERVER closed OPTIONS (secret '{\"bearer\": \"x\"}')", qr/ERROR:  42501/, 'a mapping');
	fails("CREATE USER MAPPING FOR mallory SERVER o OPTIONS (secret '{\"bearer\": {\"file\": \"/etc/passwd\"}}')", qr/ERROR:  42501/, 'a mapping to a file, where she may have one');
	hers("CREATE FOREIGN TABLE mine (row jsonb) SERVER o; INSERT INTO mine VALUES ('{\"a\": 1}')");
	fails("INSERT INTO o.change VALUES ('{}'); SET ROLE victim", qr/ERROR:  42501/, 'another role');
	is(sql("SELECT owner FROM activate.sync WHERE name = 'lair.mine'"), 'mallory', 'what she writes to a table of hers goes out as she');
	is(hers("SELECT count(*) FROM (SELECT activate_export() AS line) x WHERE line ~ 'CREATE SERVER|truth|victim'"), 0, 'her export holds nothing of others');
	is(hers("SELECT count(*) FROM activate._export_targets()"), 0, 'nor does what it is made of');
	is(hers("SELECT activate._schedule_of('truth') IS NULL AND NOT activate._may_see('victim') AND NOT activate._may_watch('victim') AND activate._may_see('mallory')"), 't', 'private functions tell her nothing of others');
	fails("SELECT activate._capture()", qr/ERROR:  (0A000|39P01)/, 'a trigger function called by hand');
	is(hers("SELECT activate._count_row() AND activate._row_hash(ROW()) IS NOT NULL AND activate._row_hash(NULL) IS NULL AND activate._differs(1, 2)"), 't', 'functions for runs outside of one');
	fails("SELECT activate._fdw_validator('{a}', 0)", qr/ERROR:  /, 'the validator called by hand');
	fails("SELECT activate.$_", qr/ERROR:  42501/, "private: $_") for ("_drop(1)", "_run_failed(1, 'x')", "_store('{}')", "_housekeep()", "_record_installation()", "_names_of('victim')", "_target_is_paused(1)", "_implicit_sync(0, 'x', '{}')", "_on_drop()", "_fdw_handler()");
	fails($_, qr/ERROR:  42501/, $_) for ('DELETE FROM activate.sync', 'UPDATE activate.sync SET owner = current_user', 'INSERT INTO activate._outbox DEFAULT VALUES', 'DELETE FROM activate.rejection', 'UPDATE activate._sent SET image = NULL', 'TABLE activate._identity',
		'TABLE activate._paused_target', "SELECT nextval('activate.outbox_id_seq')", 'CREATE TABLE activate.mine ()', 'TABLE pg_user_mapping');
};

subtest 'rows of others, by a function that tells what it sees' => sub {
	my $leak = "CREATE OR REPLACE FUNCTION leak(anyelement) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS \$\$ BEGIN RAISE NOTICE 'sees %', \$1; RETURN true; END \$\$;";
	sql("DELETE FROM home.truth; UPDATE activate.rejection SET reason = reason; SELECT activate_pause('truth');
		INSERT INTO activate.rejection (sync, key, op, reason) SELECT id, '{\"id\": 9}', 'upsert', 'HUSHrejectedHUSH' FROM activate.sync WHERE name = 'truth';
		INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key, body) SELECT id, 1, 'u', now(), '{\"id\": 9}', '{\"v\": \"HUSHbodyHUSH\"}' FROM activate.sync WHERE name = 'truth'");
	hers($leak);
	for my $relation (qw(sync run outbox sent rejection receipt _outbox _sent _retry _seen _watermark _tick stat_sync stat_run stat_target))
	{
		my ($code, $out, $err) = $node->psql('postgres', "SELECT * FROM activate.$relation t WHERE lair.leak(t::text) AND lair.leak(1)", extra_params => [ '-U', 'mallory' ]);
		is($code, 0, "$relation: read");
		unlike("$out $err", qr/HUSH|truth|right|home/, "$relation: nothing of others");
	}
	fails("SELECT activate_discard('rows', 'leak(activate.outbox::text)'), activate_retry('rows', 'leak(activate.rejection::text)')", qr/^(?!.*(HUSH|truth)).*$/s, 'nor by a filter');
	fails("SELECT activate_discard('rows', '$_')", qr/ERROR:  (42501|42601)/, "filter $_") for ("EXISTS (SELECT FROM public.crown)", 'true) OR (true', 'true; DELETE FROM bait', '*');
	is(pending($node, 'truth'), 1, 'what is not hers stays');

	# a view that hides rows, before her function in where and map
	sql("CREATE TABLE public.rooms (id int PRIMARY KEY, guest text); INSERT INTO public.rooms VALUES (1, 'mallory'), (2, 'HUSHguestHUSH');
		CREATE VIEW public.my_room WITH (security_barrier) AS SELECT * FROM public.rooms WHERE guest = current_user; GRANT SELECT ON public.my_room TO mallory;
		CREATE TABLE public.diary (id int PRIMARY KEY, who text); INSERT INTO public.diary VALUES (1, 'mallory'), (2, 'HUSHdiaryHUSH');
		ALTER TABLE public.diary ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON public.diary USING (who = current_user); GRANT SELECT ON public.diary TO mallory");
	for my $source ('my_room', 'diary')
	{
		my $column = $source eq 'diary' ? 'who' : 'guest';
		hers("SELECT activate_sync('$source', 'public.$source', 'o.change', key => 'id', options => '{\"where\": \"leak($column)\"}')");
		my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_explain('$source'); SELECT activate_preview('$source'); SELECT activate_run('$source'); SELECT activate_preview('$source')");
		like($out, qr/Rows read: 1/, "$source: explain counts hers");
		like($err, qr/sees mallory/, "$source: her function has seen hers");
		unlike("$out $err", qr/HUSH/, "$source: and no other, run by a superuser");
		ok(delivered($node, $source), 'delivered');
		is(sent($source), '1', "$source: sent");
	}
	unlike(slurp_file($node->logfile), qr/HUSHguest|HUSHdiary/, 'nor did the deliverer show it others');
};

subtest 'a run that does not end' => sub {
	hers("CREATE FUNCTION forever(i int) RETURNS int LANGUAGE plpgsql AS 'BEGIN LOOP END LOOP; END';
		SELECT activate_sync('forever', 'pool', 'o.change', key => 'id', map => '{\"v\": \"forever(id)\"}', schedule => '\@every 1s')");
	my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '100ms'; SELECT activate_run('forever')");
	like($err, qr/ERROR: .*(statement timeout|canceling)/, 'by hand: statement_timeout ends it');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_run WHERE name = 'forever'"), 'by a runner');
	is(sql("SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'activate runner'"), 'mallory', 'connected as its owner');
	# so that no other follows, for which the drop would wait
	hers("SELECT activate_pause('forever')");
	sql("SELECT pg_cancel_backend(pid) FROM activate.stat_run WHERE name = 'forever'");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'forever' AND r.status = 'failed' AND r.error ~ 'cancel'"), 'can be cancelled');
	hers("SELECT activate_drop('forever')");
};

subtest 'an owner that cannot log in' => sub {
	sql("SET ROLE sleeper; SET search_path = cave; CREATE TABLE dream (id int PRIMARY KEY, v text); INSERT INTO dream VALUES (1, 'a');
		CREATE TABLE slept (id int PRIMARY KEY, v text);
		CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF current_user <> 'sleeper' THEN INSERT INTO public.loot VALUES (current_user, 'sleeper'); END IF; RETURN NULL; END \$\$;
		CREATE CONSTRAINT TRIGGER wake AFTER INSERT ON slept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wake();
		SELECT public.activate_sync('dream', 'dream', 'slept', schedule => '\@every 1s')");
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'dream' AND r.status IN ('succeeded', 'failed')"), 'runs by schedule');
	is(sql('SELECT count(*) FROM loot'), 0, 'nothing of its code ran as another');
	sql("SELECT activate_drop('dream')");
};

is(powers(), 'false0', 'after all that mallory is who she was');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and the server has never crashed');
$node->stop('fast');
done_testing();
