# Rows are rendered as their sync's owner, read only, in bounded time; and declarations change under way.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('render', conf => "activate.render_timeout = '300ms'\nactivate.deliverers = 2");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub target
{
	my ($name, $options) = @_;
	my $url = $crm->url("/hook/$name");

	$options //= '';
	return sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"$options}')");
}

sub rejections
{
	my ($name) = @_;

	return sql("SELECT string_agg((r.key ->> 'id') || ' ' || r.code, ', ' ORDER BY r.id) FROM activate.rejection r
		JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");
}

sub paused
{
	my ($name) = @_;

	return $node->poll_query_until('postgres', "SELECT paused AND pause_reason <> '' FROM activate.sync WHERE name = '$name'");
}

target('a');
target('b');
sql("CREATE ROLE clerk; GRANT CREATE ON SCHEMA public TO clerk; GRANT USAGE ON SCHEMA a, b TO clerk;
	GRANT USAGE ON FOREIGN SERVER a, b TO clerk; GRANT ALL ON a.change, b.change TO clerk;
	CREATE TABLE item AS SELECT i::bigint AS id, 'x' AS v FROM generate_series(1, 30) i; ALTER TABLE item ADD PRIMARY KEY (id);
	CREATE TABLE trace (what text); GRANT ALL ON trace TO clerk;
	ALTER TABLE item OWNER TO clerk");

# an endless row hurts only itself
sql("SET ROLE clerk; CREATE FUNCTION slow(i bigint) RETURNS text LANGUAGE plpgsql AS
	'BEGIN WHILE i = 17 LOOP NULL; END LOOP; RETURN i; END';
	SELECT activate_sync('slow', 'item', 'a.change', map => '{\"id\": \"id\", \"s\": \"slow(id)\"}', capture => 'trigger');
	UPDATE item SET v = 'y'");
ok(delivered($node, 'slow'), 'a row that takes for ever');
is(rejections('slow'), '17 57014', 'is rejected after activate.render_timeout');
is(scalar keys %{ $crm->hook_state('a')->{syncs}{slow} }, 29, 'the others are sent');
sql("SELECT activate_drop('slow')");

# rendering cannot write
sql("SET ROLE clerk; CREATE FUNCTION writes(i bigint) RETURNS text LANGUAGE plpgsql AS
	'BEGIN IF i = 3 THEN INSERT INTO trace VALUES (current_user); END IF; RETURN current_user; END';
	SELECT activate_sync('writes', 'item', 'a.change', map => '{\"id\": \"id\", \"s\": \"writes(id)\"}', capture => 'trigger');
	UPDATE item SET v = 'z' WHERE id < 6");
ok(delivered($node, 'writes'), 'a row that writes');
is(rejections('writes'), '3 25006', 'is rejected');
is(sql('SELECT count(*) FROM trace'), 0, 'nothing was written');
is($crm->hook_state('a')->{syncs}{writes}{'{"id":1}'}{row}{s}, 'clerk', 'the others are rendered as the owner');
sql("SELECT activate_drop('writes')");

# an error of a class that may pass is the row's, if without it all is well
sql("SET ROLE clerk; CREATE TABLE raised (code text); CREATE FUNCTION raises(i bigint) RETURNS text LANGUAGE plpgsql STABLE AS
	\$\$ DECLARE c text; BEGIN FOR c IN SELECT code FROM raised WHERE i = 3 OR code LIKE 'HV%' AND i < 0 LOOP RAISE EXCEPTION 'no' USING ERRCODE = c; END LOOP; RETURN i; END \$\$;
	SELECT activate_sync('raises', 'item', 'a.change', map => '{\"id\": \"id\", \"s\": \"raises(id)\"}', capture => 'trigger')");
for my $code (qw(55000 58030 HV000))
{
	sql("TRUNCATE raised; INSERT INTO raised VALUES ('$code'); DELETE FROM activate.rejection; UPDATE item SET v = '$code' WHERE id < 9");
	ok(delivered($node, 'raises'), "$code: settled");
	is(rejections('raises'), "3 $code", "$code: the row is rejected, and no other");
}
sql("TRUNCATE raised; INSERT INTO raised VALUES ('55000'); DELETE FROM activate.rejection; UPDATE item SET v = 'alone' WHERE id = 3");
ok(delivered($node, 'raises'), 'alone, too');
is(rejections('raises'), '3 55000', 'it is rejected');

# a source that is away fails for all, and is no fault of a row
sql("SET ROLE clerk; CREATE OR REPLACE FUNCTION raises(i bigint) RETURNS text LANGUAGE plpgsql STABLE AS
	\$\$ BEGIN IF EXISTS (SELECT FROM raised) THEN RAISE EXCEPTION 'away' USING ERRCODE = 'HV000'; END IF; RETURN i; END \$\$");
sql('UPDATE item SET v = $$away$$ WHERE id < 9');
ok($node->poll_query_until('postgres', "SELECT count(*) = 8 FROM activate.outbox"), 'pending');
$node->wait_for_log(qr/waits: could not render rows of sync "raises": away/);
is(pending($node, 'raises') . ' ' . rejections('raises'), '8 3 55000', 'an unreachable source: the sync waits, nothing is rejected');
sql('TRUNCATE raised');
ok(delivered($node, 'raises'), 'it is back');
is(rejections('raises'), '', 'all was sent');
sql("SELECT activate_drop('raises')");

# row security of the source holds for its owner's sync
sql("CREATE TABLE secured AS SELECT i::bigint AS id, i % 2 = 0 AS mine FROM generate_series(1, 10) i;
	ALTER TABLE secured ADD PRIMARY KEY (id); ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
	CREATE POLICY mine ON secured TO clerk USING (mine); GRANT SELECT ON secured TO clerk;
	SET ROLE clerk; SELECT activate_sync('secured', 'secured', 'b.change'); RESET ROLE;
	INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key)
	SELECT s.id, 1, 'c', now(), jsonb_build_object('id', i) FROM activate.sync s, generate_series(1, 10) i WHERE s.name = 'secured'");
ok(delivered($node, 'secured'), 'intents of rows that the owner may not see');
is(scalar keys %{ $crm->hook_state('b')->{syncs}{secured} }, 5, 'send nothing');

# a right that is taken away pauses, and only that sync
sql("SET ROLE clerk; SELECT activate_sync('item', 'item', 'a.change', capture => 'trigger')");
sql("REVOKE SELECT ON secured FROM clerk; INSERT INTO activate._outbox (sync, nonce, op, enqueued_at, key)
	SELECT s.id, 1, 'c', now(), '{\"id\": 2}' FROM activate.sync s WHERE s.name = 'secured'");
ok(paused('secured'), 'a right was revoked: paused');
like(sql("SELECT pause_reason FROM activate.sync WHERE name = 'secured'"), qr/permission denied/, 'with the reason');
sql("UPDATE item SET v = 'w'");
ok(delivered($node, 'item'), 'the other sync of the owner goes on');
sql("GRANT SELECT ON secured TO clerk; SELECT activate_resume('secured')");
ok(delivered($node, 'secured'), 'granted and resumed: delivered');

# names of keys and columns that need quotes; keys of several columns and types
sql("CREATE TABLE odd (\"Tenant Id\" uuid, day date, \"n\"\"o\" numeric, v jsonb, PRIMARY KEY (\"Tenant Id\", day, \"n\"\"o\"));
	SELECT activate_sync('odd', 'odd', 'b.change', capture => 'trigger');
	INSERT INTO odd SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid, '2026-01-31', i + 0.50, '{\"a\": [1, 1e3]}' FROM generate_series(1, 5) i");
ok(delivered($node, 'odd'), 'keys of several columns');
same_rows($node, $crm->hook_rows('odd', 'b'), 'TABLE odd', 'arrive as they are');
sql("UPDATE odd SET v = '[1e30, 0.10]' WHERE \"n\"\"o\" = 1.5");
ok(delivered($node, 'odd'), 'numbers');
like($crm->log('/hook/b')->[-1]{body}, qr/"v": \[1000000000000000000000000000000, 0\.10\]/, 'stay numbers at any length');

# a source that somebody has locked is nobody else's affair, and no fault of its rows
sql("SELECT activate_sync('beside', 'odd', 'a.change', capture => 'trigger'); SELECT activate_pause('target:a'); UPDATE item SET v = 'u' WHERE id = 1");
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE item');
sql("SELECT activate_resume('target:a')");
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'item'::regclass"), 'rendering finds a lock');
sql("UPDATE odd SET v = '[]'");
ok(delivered($node, 'beside'), 'a source is locked: the other sync goes on');
$session->query_safe('COMMIT');
$session->quit;
ok(delivered($node, 'item'), 'unlocked: delivered');
is(rejections('item'), '', 'nothing is rejected');

# ... nor are intents that somebody keeps locked when their outcome is to be written
$crm->control({ fault => 'slow', path => '/hook/a', ms => 3000 });
sql("UPDATE item SET v = 'kept' WHERE id = 1");
ok($node->poll_query_until('postgres', "SELECT sum(in_flight) > 0 FROM activate.stat_target WHERE name = 'a'"), 'under way');
$session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT activate_discard('item')");
ok($node->poll_query_until('postgres', "SELECT sum(in_flight) = 0 FROM activate.stat_target WHERE name = 'a'"), 'answered');
$crm->heal;
for my $n (1 .. 3)
{
	sql("UPDATE odd SET v = '[$n]'");
	ok(delivered($node, 'beside'), "a transaction left open after activate_discard: the other sync goes on, $n");
}
is(pending($node, 'item'), 1, 'the one waits');
$session->query_safe('ROLLBACK');
$session->quit;
ok(delivered($node, 'item'), 'until it ends');
sql("SELECT activate_drop('beside')");

# dropped, discarded and redeclared under way
$crm->control({ fault => 'status', path => '/hook/a', status => 503 });
sql("UPDATE item SET v = 'gone'");
ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM activate._retry'), 'attempts are made');
cmp_ok(sql("SELECT activate_discard('item', 'true')"), '>', 0, 'discarded');
is(pending($node, 'item'), 0, 'nothing is pending');
$crm->heal;
sql("UPDATE item SET v = 'last' WHERE id = 1");
ok(delivered($node, 'item'), 'the next change');
is($crm->hook_state('a')->{syncs}{item}{'{"id":1}'}{row}{v}, 'last', 'is sent');
is($crm->hook_state('a')->{syncs}{item}{'{"id":2}'}{row}{v}, 'w', 'what was discarded is not');

# ... an event in flight that fails, too, is not sent again, least of all to another target
sql("SELECT activate_target('old', 'webhook', '{\"url\": \"" . $crm->url('/hook/old') . "\"}'), activate_target('new', 'webhook', '{\"url\": \"" . $crm->url('/hook/new') . "\"}');
	CREATE TABLE moving (id int PRIMARY KEY, v text); SELECT activate_sync('moving', 'moving', 'old.change', mode => 'append', capture => 'trigger')");
$crm->control({ fault => 'reset', path => '/hook/old', ms => 3000 });
sql("INSERT INTO moving VALUES (1, 'to the old one')");
ok($node->poll_query_until('postgres', "SELECT sum(in_flight) = 1 FROM activate.stat_target WHERE name = 'old'"), 'an event is in flight');
sql("SELECT activate_sync('moving', 'moving', 'new.change', mode => 'append', capture => 'trigger')");
ok($node->poll_query_until('postgres', "SELECT sum(in_flight) = 0 FROM activate.stat_target WHERE name = 'old'"), 'and has come back when its sync has moved');
sql("INSERT INTO moving VALUES (2, 'to the new one')");
ok(delivered($node, 'moving'), 'the next event');
is(join(' ', map { /"v": ?"([^"]*)"/ } map { $_->{body} } @{ $crm->log('/hook/new') }), 'to the new one', 'is all that the new target gets');
$crm->heal;

# ... and what the old one may hold is not deleted at the new one
sql("CREATE TABLE doubted (id int PRIMARY KEY); SELECT activate_sync('doubted', 'doubted', 'old.change', mode => 'mirror', capture => 'trigger', options => '{\"backfill\": false}')");
$crm->control({ fault => 'status', path => '/hook/old', status => 500 });
sql('INSERT INTO doubted VALUES (1)');
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate._retry r JOIN activate.sync s ON s.id = r.sync WHERE s.name = 'doubted'"), 'an attempt has failed');
sql("SELECT activate_sync('doubted', 'doubted', 'new.change', mode => 'mirror', capture => 'trigger', options => '{\"backfill\": false}')");
$crm->heal;
sql('DELETE FROM doubted; INSERT INTO doubted VALUES (2)');
ok(delivered($node, 'doubted'), 'moved');
is(scalar(grep { $_->{body} =~ /"op": ?"delete"/ } @{ $crm->log('/hook/new') }), 0, 'nothing is deleted there');

$crm->control({ fault => 'slow', path => '/hook/a', ms => 300 });
sql("UPDATE item SET v = 'dropped'");
sql("SELECT activate_drop('item')");
ok($node->poll_query_until('postgres', "SELECT sum(in_flight) = 0 FROM activate.stat_target"), 'in flight finishes');
is(sql('SELECT count(*) FROM activate.sent WHERE sync NOT IN (SELECT id FROM activate.sync)'), 0, 'and leaves nothing of what was dropped');
$crm->heal;

# the image is kept, or not
sql("CREATE TABLE private AS SELECT 1 AS id, 'secret' AS v; ALTER TABLE private ADD PRIMARY KEY (id);
	SELECT activate_sync('private', 'private', 'b.change', options => '{\"image\": false}'); SELECT activate_run('private')");
ok(delivered($node, 'private'), 'without images');
is(sql("SELECT count(*) FILTER (WHERE t.image IS NULL) || ' ' || count(t.hash) FROM activate.sent t JOIN activate.sync s ON s.id = t.sync
	WHERE s.name = 'private'"), '1 1', 'only the hash is kept');

$node->stop('fast');
done_testing();
