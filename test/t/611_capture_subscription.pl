# Rows that a subscription applies are captured like others (SEMANTICS 6): also into partitions, key changes
# and TRUNCATE; and the publisher needs to know nothing of it.
use strict;
use warnings;

use ActivateTest;
use Test::More;

my $crm        = ActivateTest::Service->new;
my $publisher  = activate_node('publisher', allows_streaming => 'logical', extension => 0);
my $subscriber = activate_node('subscriber', conf => "max_logical_replication_workers = 8\n");
my $tables     = 'CREATE TABLE plain (id int PRIMARY KEY, v text);
	CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);';

sub source { return $publisher->safe_psql('postgres', $_[0]); }
sub sql    { return $subscriber->safe_psql('postgres', $_[0]); }

# The receiver mirrors both tables.
sub arrives
{
	my ($what) = @_;

	$publisher->wait_for_catchup('sub');
	ok(delivered($subscriber), "$what: delivered");
	same_rows($subscriber, $crm->hook_rows($_, $_), "TABLE $_", "$what: $_") for qw(plain parted);
}

source($tables . 'CREATE PUBLICATION pub FOR TABLE plain, parted');
sql($tables);
for my $name (qw(plain parted))
{
	my $url = $crm->url("/hook/$name");

	sql("SELECT activate_target('$name', 'webhook', '{\"url\": \"$url\"}')");
	sql("SELECT activate_sync('$name', '$name', '$name.change', mode => 'mirror', capture => 'trigger', options => '{\"min_deletes\": 100}')");
}
source("INSERT INTO plain SELECT i, 'copied' FROM generate_series(1, 20) i; INSERT INTO parted SELECT i, 'copied' FROM generate_series(1, 20) i");
sql("CREATE SUBSCRIPTION sub CONNECTION '" . $publisher->connstr . " dbname=postgres application_name=sub' PUBLICATION pub");
$subscriber->wait_for_subscription_sync($publisher, 'sub');
arrives('the first copy');
is(sql("SELECT count(*) FROM activate.run"), 0, 'by the triggers, not by a run');

source("BEGIN; INSERT INTO plain VALUES (21, 'new'); UPDATE plain SET v = 'changed' WHERE id = 1; DELETE FROM plain WHERE id = 2; COMMIT");
source("INSERT INTO parted VALUES (21, 'new'); UPDATE parted SET v = 'changed' WHERE id = 1; DELETE FROM parted WHERE id = 2");
arrives('changes');
source("UPDATE plain SET id = 300 WHERE id = 3; UPDATE parted SET id = 33 WHERE id = 3");
arrives('key changes');

# a partition that the subscriber adds while it applies
sql('CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (1000)');
source("CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (1000)");
source("INSERT INTO parted VALUES (150, 'second'); UPDATE parted SET id = 151 WHERE id = 4");
$publisher->wait_for_catchup('sub');
sql('ALTER SUBSCRIPTION sub REFRESH PUBLICATION');
$subscriber->wait_for_subscription_sync($publisher, 'sub');
arrives('a new partition, and a row that moves to it');

source('TRUNCATE plain');
$publisher->wait_for_catchup('sub');
ok($subscriber->poll_query_until('postgres', "SELECT count(*) = 20 AND bool_and(o.held) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync WHERE s.name = 'plain'"),
	'TRUNCATE: its deletes are held');
source("INSERT INTO plain VALUES (5, 'again')");
$publisher->wait_for_catchup('sub');
sql("SELECT activate_run('plain', full => true)");
arrives('the yes');

# the triggers are what does it
sql('ALTER TABLE plain DISABLE TRIGGER ALL');
source("INSERT INTO plain VALUES (6, 'unseen')");
$publisher->wait_for_catchup('sub');
is(pending($subscriber, 'plain'), 0, 'without them nothing is captured');

$subscriber->stop('fast');
$publisher->stop('fast');
done_testing();
