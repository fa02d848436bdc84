# What is sent: every mode in every situation (SEMANTICS 1), by trigger and by diff, at the receiver,
# in the receipts and in activate.sent.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('modes');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Situations; each begins where the one before ended.  Paused: capture goes on, it is sent together.
my @situations = (
	[ 'not in sent',          "INSERT INTO %s VALUES (1, 'a'), (2, 'a'), (3, 'a')" ],
	[ 'differs',              "UPDATE %s SET v = 'b' WHERE id = 1" ],
	[ 'equal',                "UPDATE %s SET v = v WHERE id = 1" ],
	[ 'gone, in sent',        "DELETE FROM %s WHERE id = 2" ],
	[ 'gone, not in sent',    "INSERT INTO %1\$s VALUES (4, 'a'); DELETE FROM %1\$s WHERE id = 4" ],
	[ 'back as it was',       "INSERT INTO %s VALUES (2, 'a')" ],
	[ 'three changes of one', "UPDATE %1\$s SET v = 'c' WHERE id = 3; UPDATE %1\$s SET v = 'd' WHERE id = 3; UPDATE %1\$s SET v = 'e' WHERE id = 3" ]);

# Per situation what arrives, what receipts say beside "delivered", and the keys in sent.
my %expected = (
	'upsert trigger' => [
		[ 'upsert 1 a, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b', '', '1 2 3' ],
		[ '', 'skipped 1', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ '', 'superseded 4', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ 'upsert 3 e', '', '1 2 3' ] ],
	'upsert diff' => [
		[ 'upsert 1 a, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ 'upsert 3 e', '', '1 2 3' ] ],
	'insert trigger' => [
		[ 'insert 1 a, insert 2 a, insert 3 a', '', '1 2 3' ],
		[ '', 'skipped 1', '1 2 3' ],
		[ '', 'skipped 1', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ '', 'superseded 4', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ '', 'skipped 3', '1 2 3' ] ],
	'insert diff' => [
		[ 'insert 1 a, insert 2 a, insert 3 a', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ] ],
	'update trigger' => [
		[ 'update 1 a, update 2 a, update 3 a', '', '1 2 3' ],
		[ 'update 1 b', '', '1 2 3' ],
		[ '', 'skipped 1', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ '', 'superseded 4', '1 2 3' ],
		[ '', 'skipped 2', '1 2 3' ],
		[ 'update 3 e', '', '1 2 3' ] ],
	'update diff' => [
		[ 'update 1 a, update 2 a, update 3 a', '', '1 2 3' ],
		[ 'update 1 b', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ 'update 3 e', '', '1 2 3' ] ],
	'mirror trigger' => [
		[ 'upsert 1 a, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b', '', '1 2 3' ],
		[ '', 'skipped 1', '1 2 3' ],
		[ 'delete 2', '', '1 3' ],
		[ '', 'superseded 4', '1 3' ],
		[ 'upsert 2 a', '', '1 2 3' ],
		[ 'upsert 3 e', '', '1 2 3' ] ],
	'mirror diff' => [
		[ 'upsert 1 a, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ 'delete 2', '', '1 3' ],
		[ '', '', '1 3' ],
		[ 'upsert 2 a', '', '1 2 3' ],
		[ 'upsert 3 e', '', '1 2 3' ] ],
	'append trigger' => [
		[ 'insert 1 a, insert 2 a, insert 3 a', '', '1 2 3' ],
		[ 'insert 1 b', '', '1 2 3' ],
		[ 'insert 1 b', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ 'insert 4 a', '', '1 2 3 4' ],
		[ 'insert 2 a', '', '1 2 3 4' ],
		[ 'insert 3 c, insert 3 d, insert 3 e', '', '1 2 3 4' ] ],
	# what is new is told by the key
	'append diff' => [
		[ 'insert 1 a, insert 2 a, insert 3 a', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ],
		[ '', '', '1 2 3' ] ],
	'replace diff' => [
		[ 'upsert 1 a, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'delete 2, upsert 1 b, upsert 3 a', '', '1 3' ],
		[ 'upsert 1 b, upsert 3 a', '', '1 3' ],
		[ 'upsert 1 b, upsert 2 a, upsert 3 a', '', '1 2 3' ],
		[ 'upsert 1 b, upsert 2 a, upsert 3 e', '', '1 2 3' ] ]);

my %seen = (requests => {}, receipt => 0);

# What has arrived since the last time: "op id v, ..." in this order.
sub arrived
{
	my ($name) = @_;
	my @log = @{ $crm->log("/hook/$name") };
	my @new = splice(@log, $seen{requests}{$name} // 0);

	$seen{requests}{$name} += @new;
	return join(', ', sort map {
		my $change = JSON::PP::decode_json($_->{body});
		join(' ', $change->{op}, $change->{key}{id}, $change->{row} ? $change->{row}{v} : ());
	} @new);
}

# Deliveries as receipts tell them since the last time, other receipts, and the keys in sent.
sub recorded
{
	my ($sync) = @_;
	my ($last, @recorded) = split /\|/, sql("
		SELECT coalesce(max(r.id), $seen{receipt}),
			string_agg(op || ' ' || (key ->> 'id'), ', ' ORDER BY op, key ->> 'id', r.id) FILTER (WHERE outcome = 'delivered'),
			string_agg(outcome || ' ' || (key ->> 'id'), ', ' ORDER BY outcome, key ->> 'id') FILTER (WHERE outcome <> 'delivered'),
			(SELECT string_agg(key ->> 'id', ' ' ORDER BY key) FROM activate.sent WHERE sync = $sync)
		  FROM activate.receipt r WHERE r.sync = $sync AND r.id > $seen{receipt}"), 4;

	$seen{receipt} = $last;
	return @recorded;
}

for my $case (sort keys %expected)
{
	my ($mode, $capture) = split / /, $case;
	my $name = "${mode}_$capture";
	my $url  = $crm->url("/hook/$name");

	my $id   = sql("CREATE TABLE $name (id int PRIMARY KEY, v text);
		DO \$\$ BEGIN PERFORM activate_target('$name', 'webhook', '{\"url\": \"$url\"}'); END \$\$;
		SELECT activate_sync('$name', '$name', '$name.change', mode => '$mode', capture => '$capture')");

	for my $i (0 .. $#situations)
	{
		my ($situation, $change) = @{ $situations[$i] };
		my ($ops, $others, $sent) = @{ $expected{$case}[$i] };
		my $run = $capture eq 'diff' ? "SELECT activate_run('$name');" : '';

		# the statements one by one, each in its transaction
		sql("SELECT activate_pause('$name');" . sprintf($change, $name) . ";$run SELECT activate_resume('$name')");
		delivered($node, $name) or die "$case, $situation: not delivered";

		my @recorded = recorded($id);
		is(arrived($name), $ops, "$case, $situation: arrives");
		is("$recorded[0]; $recorded[1]", join(', ', map { s/ [a-z]$//r } split(/, /, $ops)) . "; $others", "$case, $situation: receipts");
		is($recorded[2], $sent, "$case, $situation: sent");
	}
}
is(sql('SELECT count(*) FROM activate.rejection'), 0, 'nothing was rejected');

$node->stop('fast');
done_testing();
