# Who runs it: SEMANTICS 12 and guarantee 9.  A sync sees what its owner sees and may do what its owner may.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('owner', conf => "activate.render_timeout = '300ms'");

# psql decides for itself: a script may change roles
sub sql { return $node->safe_psql('postgres', $_[0]); }

sub fails
{
	my ($script, $pattern, $name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$script");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like($err, $pattern, $name);
}

sub rejections
{
	my ($sync) = @_;
	return sql("SELECT string_agg((r.key ->> 'id') || ' ' || r.code || ' ' || r.reason, ', ' ORDER BY (r.key ->> 'id')::int)
		FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

sub sent
{
	my ($sync, $name) = @_;
	return join(' ', sort map { $_->{key}{id} } values %{ $crm->hook_state($name // 'o')->{syncs}{$sync} // {} });
}

my $url = $crm->url('/hook/o');

sql("CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE team NOLOGIN;
	SELECT activate_target('o', 'webhook', '{\"url\": \"$url\", \"mapping_for\": \"public\"}');
	GRANT USAGE ON SCHEMA o TO ann, bob, team; GRANT USAGE ON FOREIGN SERVER o TO ann, bob, team; GRANT INSERT ON o.change TO ann, bob, team;
	CREATE SCHEMA work; GRANT ALL ON SCHEMA work TO ann, bob, team");

subtest 'row-level security of the source' => sub {
	sql("CREATE TABLE tenants (id int PRIMARY KEY, tenant name, v text, secret text);
		INSERT INTO tenants SELECT i, CASE WHEN i % 2 = 0 THEN 'ann' ELSE 'bob' END, 'a', 'hush' FROM generate_series(1, 10) i;
		ALTER TABLE tenants ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON tenants USING (tenant = current_user);
		GRANT SELECT, TRIGGER ON tenants TO ann; GRANT SELECT (id, tenant, v) ON tenants TO bob");
	sql("SET ROLE ann; SELECT activate_sync('of ann', 'tenants', 'o.change', mode => 'mirror', capture => 'trigger', options => '{\"min_deletes\": 100}')");

	# by a superuser, who sees all rows himself
	sql("SELECT activate_run('of ann')");
	ok(delivered($node, 'of ann'), 'run by a superuser');
	is(sent('of ann'), '10 2 4 6 8', 'rows of the owner only');

	sql("UPDATE tenants SET v = 'b' WHERE id IN (1, 2)");
	ok(delivered($node, 'of ann'), 'captured by trigger');
	is(sent('of ann'), '10 2 4 6 8', 'a row that the owner does not see is not sent');
	sql("UPDATE tenants SET tenant = 'bob' WHERE id = 4");
	ok(delivered($node, 'of ann'), 'a row leaves the view of the owner');
	is($crm->hook_state('o')->{syncs}{'of ann'}{'{"id":4}'}{op}, 'delete', 'for the owner it is gone');
};

subtest 'column privileges' => sub {
	fails("SET ROLE bob; SELECT activate_sync('all of bob', 'tenants', 'o.change')", qr/ERROR:  42501: permission denied/, 'a column without privilege');
	is(sql("SELECT count(*) FROM activate.sync WHERE name = 'all of bob'"), 0, 'nothing is declared');
	sql("SET ROLE bob; SELECT activate_sync('of bob', 'SELECT id, v FROM tenants', 'o.change', key => 'id')");
	sql("SET ROLE bob; SELECT activate_run('of bob')");
	ok(delivered($node, 'of bob'), 'by the columns he may read');
	is(sent('of bob'), '1 3 4 5 7 9', 'his rows');

	# a right that is taken away pauses that sync and no other
	sql("UPDATE tenants SET v = 'c' WHERE id IN (1, 2); SELECT activate_pause('target:o'); SET ROLE bob; SELECT activate_run('of bob')");
	sql("REVOKE SELECT ON tenants FROM bob; REVOKE SELECT (id, tenant, v) ON tenants FROM bob; SELECT activate_resume('target:o')");
	ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason ~ 'permission denied' FROM activate.sync WHERE name = 'of bob'"), 'pauses the sync with the reason');
	ok(delivered($node, 'of ann'), 'the others go on');
	is(pending($node, 'of bob'), 1, 'what is pending stays');
	like(sql("SELECT state FROM activate.stat_sync WHERE name = 'of bob'"), qr/^paused: .*permission denied/, 'stat_sync tells');
	fails("SET ROLE bob; SELECT activate_run('of bob')", qr/ERROR:  42501: permission denied/, 'a run by hand raises it');
	sql("GRANT SELECT (id, tenant, v) ON tenants TO bob; SELECT activate_resume('of bob')");
	ok(delivered($node, 'of bob'), 'granted and resumed');
	is($crm->hook_state('o')->{syncs}{'of bob'}{'{"id":1}'}{row}{v}, 'c', 'it has arrived');
	is(rejections('of bob'), '', 'no row is to blame');

	# ... also one on the target, of which rendering knows nothing
	for my $right ('USAGE ON FOREIGN SERVER o', 'INSERT ON o.change')
	{
		sql("UPDATE tenants SET v = v || 'd' WHERE id = 1; SELECT activate_pause('target:o'); SET ROLE bob; SELECT activate_run('of bob')");
		sql("REVOKE $right FROM bob; SELECT activate_resume('target:o')");
		ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason ~ 'may no longer write' FROM activate.sync WHERE name = 'of bob'"), "$right revoked: paused");
		is(pending($node, 'of bob'), 1, 'and nothing sent');
		fails("SET ROLE bob; SELECT activate_sync('other of bob', 'SELECT 1 AS id', 'o.change', key => 'id')", qr/ERROR:  42501: permission denied for .*HINT: /s, 'nor declared anew');
		sql("GRANT $right TO bob; SELECT activate_resume('of bob')");
		ok(delivered($node, 'of bob'), 'granted and resumed');
	}
};

# A function of the owner, run while rows are rendered: $body may do what it likes with v.
sub with_function
{
	my ($name, $body, $volatile) = @_;

	$volatile //= 'STABLE';
	sql("SET ROLE ann; SET search_path = work, public;
		CREATE TABLE $name (id int PRIMARY KEY, v int);
		CREATE FUNCTION f_$name(v int) RETURNS text LANGUAGE plpgsql $volatile AS \$\$ BEGIN $body RETURN 'v' || v; END \$\$;
		SELECT activate_sync('$name', '$name', 'o.change', map => '{\"v\": \"f_$name(v)\"}', key => 'id', capture => 'trigger');");
	return;
}

subtest 'a row that cannot be rendered' => sub {
	with_function('raises', "IF v = 3 THEN RAISE EXCEPTION 'three is bad' USING ERRCODE = 'AB123'; END IF;");
	sql("INSERT INTO work.raises SELECT i, i FROM generate_series(1, 9) i");
	ok(delivered($node, 'raises'), 'delivered');
	is(rejections('raises'), '3 AB123 three is bad', 'is rejected with its SQLSTATE');
	is(sent('raises'), '1 2 4 5 6 7 8 9', 'and alone');
	sql('UPDATE work.raises SET v = 4 WHERE id = 3');
	ok(delivered($node, 'raises'), 'mended');
	is(rejections('raises'), '', 'success removes the rejection');

	with_function('endless', 'WHILE v = 3 LOOP END LOOP;');
	sql("INSERT INTO work.endless SELECT i, i FROM generate_series(1, 5) i; UPDATE work.raises SET v = 7 WHERE id = 7");
	ok(delivered($node, 'endless'), 'a function that does not end');
	like(rejections('endless'), qr/^3 57014 [^,]*$/, 'is stopped by activate.render_timeout');
	is(sent('endless'), '1 2 4 5', 'the others are sent');
	ok(delivered($node, 'raises'), 'so are other syncs');
};

subtest 'rendering is read only and restricted' => sub {
	sql('CREATE TABLE work.loot (what text); GRANT ALL ON work.loot TO PUBLIC; GRANT team TO ann');
	my %tries = (
		writes    => [ "INSERT INTO work.loot VALUES ('x');",                              qr/25006/ ],
		shadows   => [ 'CREATE TEMP TABLE t (x int);',                                     qr/25006|42501/ ],
		escapes   => [ "PERFORM set_config('role', 'none', false);",                       qr/42501/ ],
		elsewhere => [ "PERFORM set_config('transaction_read_only', 'off', false);",       qr/25001|42501|25006/ ]);
	for my $try (sort keys %tries)
	{
		my ($body, $code) = @{ $tries{$try} };
		with_function($try, "IF v = 1 THEN $body END IF;", 'VOLATILE');
		sql("INSERT INTO work.$try VALUES (1, 1), (2, 2)");
		ok(delivered($node, $try), "$try: delivered");
		like(rejections($try), qr/^1 $code /, "$try: refused");
		is(sent($try), '2', "$try: and nothing else");
	}
	is(sql('SELECT count(*) FROM work.loot'), 0, 'nothing was written');

	# who it is, as the function sees it
	with_function('asks', "IF v = 1 THEN RAISE EXCEPTION '% % %', current_user, current_setting('transaction_read_only'), current_setting('search_path'); END IF;");
	sql('INSERT INTO work.asks VALUES (1, 1)');
	ok(delivered($node, 'asks'), 'delivered');
	is(rejections('asks'), '1 P0001 ann on pg_catalog, work, public, pg_temp', 'the owner, read only, by the search_path of the declaration');
};

subtest 'a run by a superuser is restricted' => sub {
	for my $body ("CREATE TEMP TABLE t (x int);", "PERFORM set_config('role', 'none', false);", "PERFORM set_config('session_authorization', 'postgres', false);")
	{
		sql("SET ROLE ann; CREATE OR REPLACE FUNCTION work.evil() RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN $body RETURN 1; END \$\$;
			CREATE OR REPLACE VIEW work.trap AS SELECT 1 AS id, work.evil() AS v; SELECT activate_sync('trap', 'work.trap', 'o.change', key => 'id')");
		fails("SELECT activate_run('trap')", qr/ERROR:  42501: cannot .*(security-restricted operation|security-definer function)/, $body);
		fails("SELECT * FROM activate_preview('trap')", qr/ERROR:  (42501|25006): /, "preview: $body");
		fails("SELECT activate_explain('trap')", qr/ERROR:  42501: cannot .*(security-restricted operation|security-definer function)/, "explain: $body");
	}
	sql("SET ROLE ann; CREATE OR REPLACE FUNCTION work.evil() RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN SET CONSTRAINTS ALL DEFERRED;
		RAISE NOTICE 'it is %', current_user; RETURN 1; END \$\$");
	fails("SELECT activate_run('trap')", qr/NOTICE:  00000: it is ann/, 'as the owner');
	is(sql("SELECT current_user"), 'postgres', 'and back');

	# what a session puts into the way of a declaration does not reach it
	sql("SET search_path = work, public; SET ROLE ann; CREATE TABLE seen AS SELECT 1 AS id, 'right' AS v; SELECT activate_sync('path', 'seen', 'o.change', key => 'id')");
	sql("CREATE SCHEMA wrong; CREATE TABLE wrong.seen AS SELECT 1 AS id, 'wrong' AS v; CREATE FUNCTION wrong.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS 'SELECT jsonb ''{}''';
		SET search_path = wrong, pg_catalog; SELECT public.activate_run('path')");
	ok(delivered($node, 'path'), 'another search_path');
	is($crm->hook_state('o')->{syncs}{path}{'{"id":1}'}{row}{v}, 'right', 'the source of the declaration');
};

subtest 'a run as a login owner, an owner that cannot log in, an owner that is gone' => sub {
	sql("SET ROLE team; SET search_path = work; CREATE TABLE of_team (id int PRIMARY KEY, v text); INSERT INTO of_team VALUES (1, 'a');
		SELECT public.activate_sync('of team', 'of_team', 'o.change', capture => 'trigger'); SELECT public.activate_run('of team')");
	ok(delivered($node, 'of team'), 'NOLOGIN: sent');
	is(sent('of team'), '1', 'as any other');
	fails("SET ROLE bob; SELECT activate_run('of team')", qr/ERROR:  42501|ERROR:  42704|does not exist|permission/, 'not for others');
	is(sql("SET ROLE ann; SELECT activate_run('of team') > 0"), 't', 'but for members');
	is(sql("SET ROLE bob; SELECT count(*) FROM activate.sync WHERE name = 'of team'; SELECT count(*) FROM activate.receipt r WHERE r.sync NOT IN (SELECT id FROM activate.sync)"), "0\n0",
		'others see nothing of it');

	sql("BEGIN; ALTER TABLE work.of_team OWNER TO postgres; REVOKE ALL ON SCHEMA work, o FROM team; REVOKE ALL ON FOREIGN SERVER o FROM team; REVOKE ALL ON o.change FROM team; DROP ROLE team; COMMIT");
	sql("INSERT INTO work.of_team VALUES (2, 'b'); UPDATE work.raises SET v = 70 WHERE id = 7");
	ok($node->poll_query_until('postgres', "SELECT paused AND pause_reason ~ 'owner, role .team., does not exist' FROM activate.sync WHERE name = 'of team'"), 'owner dropped: paused with the reason');
	is(pending($node, 'of team'), 1, 'what is pending stays');
	ok(delivered($node, 'raises'), 'the others go on');
};

$node->stop('fast');
done_testing();
