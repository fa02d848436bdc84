# TRUNCATE of a captured table: one intent, and what it would delete always waits for a yes (SEMANTICS 6, 10).
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use Test::More;

my $crm  = ActivateTest::Service->new(log => 100000);
my $node = activate_node('truncated');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub declare
{
	my ($name, $mode, $options) = @_;
	my $url = $crm->url("/hook/$name");

	sql("DO \$\$ BEGIN PERFORM activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); END \$\$");
	return sql("SELECT activate_sync('$name', '$name', '$name.change', mode => '" . ($mode // 'mirror') . "', capture => 'trigger'"
		. (defined $options ? ", options => '$options'" : '') . ')');
}

# A table of so many rows, delivered.
sub mirror
{
	my ($name, $rows, @how) = @_;

	sql("CREATE TABLE $name (id int PRIMARY KEY, v text); INSERT INTO $name SELECT i, 'a' FROM generate_series(1, $rows) i");
	my $id = declare($name, @how);
	sql("SELECT activate_run('$name')");
	delivered($node, $name) or die;
	return $id;
}

# Everything that is not held has been dealt with, and so many keys are held.
sub holds
{
	my ($id, $n) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(DISTINCT key) FILTER (WHERE held) = $n AND count(*) FILTER (WHERE NOT held) = 0 FROM activate.outbox WHERE sync = $id")
	  || diag(sql("SELECT op, held, count(*) FROM activate.outbox WHERE sync = $id GROUP BY 1, 2"));
}

sub held_keys { return sql("SELECT string_agg(DISTINCT key ->> 'id', ' ') FROM activate.outbox WHERE sync = $_[0] AND held"); }
sub intents   { return sql("SELECT string_agg(op || ' ' || key, ', ' ORDER BY id) FROM activate.outbox WHERE sync = $_[0]"); }
sub deletes   { return scalar grep { $_->{body} =~ /"op": ?"delete"/ } @{ $crm->log("/hook/$_[0]") }; }
sub requests  { return scalar @{ $crm->log("/hook/$_[0]") }; }

subtest 'one intent, held deletes, a yes' => sub {
	my $id = mirror('plain', 100, 'mirror', '{"max_delete_percent": 100, "min_deletes": 1000}');

	sql("SELECT activate_pause('plain')");
	sql('TRUNCATE plain');
	is(intents($id), 'truncate {}', 'one intent, whatever was sent');
	is(sql("SELECT count(*) FROM activate_preview('plain')"), 0, 'a preview shows nothing for it');
	sql("SELECT activate_resume('plain')");
	ok(holds($id, 100), 'becomes held deletes, whatever the options');
	is(sql("SELECT string_agg(DISTINCT op, ' ') FROM activate.outbox WHERE sync = $id"), 'delete', 'they are deletes');
	is(sql("SELECT state || ' ' || pending FROM activate.stat_sync WHERE name = 'plain'"), 'held 100', 'stat_sync tells');
	ok($node->log_contains('sync "plain" holds 100 deletes of a TRUNCATE'), 'one line in the log');
	is(sql("SELECT activate_wait('plain')"), 'f', 'activate_wait does not wait');

	$node->restart;
	sql("INSERT INTO plain VALUES (1, 'b'), (500, 'b')");
	ok($node->poll_query_until('postgres', "SELECT bool_and(held) FROM activate.outbox WHERE sync = $id"), 'other keys pass');
	is(deletes('plain'), 0, 'nothing was deleted');
	sql("SELECT activate_run('plain', full => true)");
	ok(delivered($node, 'plain'), 'the yes');
	is(deletes('plain'), 99, 'deleted, but for the key that has come back');
	same_rows($node, $crm->hook_rows('plain', 'plain'), 'TABLE plain', 'the receiver mirrors');
};

subtest 'order' => sub {
	my $id = mirror('ordered', 50);

	sql("BEGIN; UPDATE ordered SET v = 'b' WHERE id < 10; TRUNCATE ordered; INSERT INTO ordered SELECT i, 'a' FROM generate_series(1, 20) i; INSERT INTO ordered VALUES (21, 'c'); COMMIT");
	ok(holds($id, 29), 'what the same transaction inserted again is not deleted');
	sql("SELECT activate_discard('ordered', 'held')");

	sql("SELECT activate_pause('ordered')");
	sql("UPDATE ordered SET v = 'd' WHERE id = 5");
	sql('TRUNCATE ordered');
	sql("INSERT INTO ordered SELECT i, 'e' FROM generate_series(1, 40) i");
	sql('DELETE FROM ordered WHERE id = 40');
	sql("SELECT activate_resume('ordered')");
	ok(holds($id, 11), 'nor what a later one did');
	is(deletes('ordered'), 0, 'nothing was deleted');
	is(sql("SELECT activate_discard('ordered', 'held') >= 11"), 't', 'discarded');
	same_rows($node, $crm->hook_rows('ordered', 'ordered'), "TABLE ordered UNION ALL SELECT i, 'a' FROM generate_series(40, 50) i", 'what was inserted again is there');
};

# More than is in memory at once stands before it; all of these rows are gone when they are rendered.
subtest 'behind others' => sub {
	my $id = mirror('behind', 6000, 'mirror', '{"max_delete_percent": 100}');

	sql("SELECT activate_pause('behind')");
	sql("UPDATE behind SET v = 'b' WHERE id <= 3000");
	sql('DELETE FROM behind WHERE id = 6000');
	sql('TRUNCATE behind');
	sql("SELECT activate_resume('behind')");
	ok(holds($id, 6000), 'all that would delete is held');
	is(deletes('behind'), 0, 'nothing was deleted');
	sql("INSERT INTO behind SELECT i, 'a' FROM generate_series(1, 5800) i");
	sql("SELECT activate_run('behind', full => true)");
	ok(delivered($node, 'behind'), 'the yes');
	is(deletes('behind'), 200, 'deletes what has not come back');
};

# More than there are connections: some are under way, the others are rendered and wait for one.
subtest 'on its way' => sub {
	my $id = mirror('flying', 1);

	$crm->control({ fault => 'slow', path => '/hook/flying', ms => 3000 });
	sql("INSERT INTO flying SELECT i, 'x' FROM generate_series(2, 300) i");
	ok($node->poll_query_until('postgres', "SELECT in_flight > 0 FROM activate.stat_target WHERE name = 'flying'"), 'messages without an answer');
	sql('TRUNCATE flying');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 1 AND bool_or(op = 'truncate') IS NOT TRUE FROM activate.outbox WHERE sync = $id AND held"), 'their keys are held, too');
	$crm->heal;
	ok($node->poll_query_until('postgres', "SELECT count(*) FILTER (WHERE NOT held) = 0 FROM activate.outbox WHERE sync = $id"), 'they were answered');
	is(deletes('flying'), 0, 'nothing was deleted');
	cmp_ok(requests('flying'), '<', 300, 'what was not under way is not sent');
	sql("SELECT activate_run('flying', full => true)");
	ok(delivered($node, 'flying'), 'the yes');
	same_rows($node, $crm->hook_rows('flying', 'flying'), 'TABLE flying', 'nothing is left');
};

# The outcome of an attempt is unknown, and the process that made it is gone.
subtest 'perhaps sent' => sub {
	my $id = mirror('perhaps', 1);

	$crm->control({ fault => 'status', status => 503, path => '/hook/perhaps', applied => JSON::PP::true() });
	sql("INSERT INTO perhaps VALUES (7, 'x')");
	ok($node->poll_query_until('postgres', "SELECT attempts > 0 FROM activate.outbox WHERE sync = $id"), 'an attempt that failed only in our eyes');
	sql("SELECT activate_pause('perhaps')");
	sql('TRUNCATE perhaps');
	$node->stop('immediate');
	$node->start;
	$crm->heal;
	sql("SELECT activate_resume('perhaps')");
	ok(holds($id, 2), 'held as well');
	is(deletes('perhaps'), 0, 'nothing was deleted');
	sql("SELECT activate_run('perhaps', full => true)");
	ok(delivered($node, 'perhaps'), 'the yes');
	same_rows($node, $crm->hook_rows('perhaps', 'perhaps'), 'TABLE perhaps', 'nothing is left');
};

subtest 'the yes comes first' => sub {
	my $id = mirror('eager', 30);

	sql("SELECT activate_pause('eager')");
	sql('TRUNCATE eager');
	sql("BEGIN; TRUNCATE eager; SELECT activate_run('eager', full => true); COMMIT");
	is(sql("SELECT string_agg(DISTINCT op, ' ') || bool_or(held) FROM activate.outbox WHERE sync = $id"), 'deletefalse', 'the run has planned the deletes itself');
	sql("BEGIN; SELECT activate_run('eager', full => true); TRUNCATE eager; SELECT activate_run('eager', full => true); TRUNCATE eager; COMMIT");
	is(sql("SELECT activate_discard('eager', 'op = ''truncate''')"), 1, 'TRUNCATE after it is another one, which can be discarded');
	sql("SELECT activate_resume('eager')");
	ok(delivered($node, 'eager'), 'nothing is held after it');
	is(deletes('eager'), 30, 'all deleted');
};

subtest 'a partition' => sub {
	sql("CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
		CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1) TO (50);
		INSERT INTO parted SELECT i, 'a' FROM generate_series(1, 49) i");
	my $id = declare('parted');
	sql("CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (50) TO (100); INSERT INTO parted VALUES (50, 'a'); SELECT activate_run('parted')");
	ok(delivered($node, 'parted'), 'delivered');

	sql("SELECT activate_pause('parted')");
	sql('TRUNCATE parted_2');
	sql("SELECT activate_run('parted'); SELECT activate_resume('parted')");
	ok(holds($id, 1), 'one row in fifty is held, too, though a run has planned its delete');
	is(deletes('parted'), 0, 'nothing was deleted');
	is(held_keys($id), '50', 'that of the partition');
	sql("SELECT activate_discard('parted')");
	sql('TRUNCATE parted');
	ok(holds($id, 50), 'all of them by the root, and the one that was discarded');
};

subtest 'several tables, and by a foreign key' => sub {
	my $parent = mirror('parent', 3);
	sql('CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent); INSERT INTO child VALUES (11, 1), (12, 2)');
	my $child = declare('child', 'replace');
	my $other = mirror('other', 4);

	sql("SELECT activate_run('child')");
	ok(delivered($node, 'child'), 'delivered');
	sql('TRUNCATE parent, other CASCADE');
	ok(holds($parent, 3), 'the one');
	ok(holds($other, 4), 'the other');
	ok(holds($child, 2), 'and what refers to it, in mode replace');
	is(deletes('parent') + deletes('other') + deletes('child'), 0, 'nothing was deleted');
};

subtest 'modes that delete nothing' => sub {
	my $id = mirror('kept', 3, 'upsert');
	my $requests = requests('kept');

	sql('TRUNCATE kept');
	is(pending($node, 'kept'), 0, 'nothing is enqueued');
	sql("INSERT INTO kept VALUES (1, 'a'), (2, 'b')");
	ok(delivered($node, 'kept'), 'it goes on');
	is(requests('kept'), $requests + 1, 'what is as it was sent is not sent');

	# declared anew while it waits
	$id = mirror('former', 3);
	sql("SELECT activate_pause('former'); TRUNCATE former");
	sql("SELECT activate_sync('former', 'former', 'former.change', capture => 'trigger'); SELECT activate_resume('former')");
	ok(delivered($node, 'former'), 'it stands for nothing');
	is(deletes('former'), 0, 'nothing was deleted');
};

# Somebody holds the source: the sync rests, the others go on.
subtest 'a source that is locked' => sub {
	my $id = mirror('locked', 5);
	my $other = mirror('free', 1);
	my $session = $node->background_psql('postgres');

	sql("SELECT activate_pause('locked'); TRUNCATE locked");
	$session->query_safe('BEGIN; LOCK TABLE locked');
	sql("SELECT activate_resume('locked')");
	sql("UPDATE free SET v = 'b'");
	ok(delivered($node, 'free'), 'the others');
	is(intents($id), 'truncate {}', 'it waits');
	$session->query_safe('COMMIT');
	$session->quit;
	ok(holds($id, 5), 'until it can be looked at');
};

$node->stop('fast');
done_testing();
