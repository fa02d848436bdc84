# ActivateTest: a server with the extension, and what tests keep asking it.
#
#	use ActivateTest;
#	my $node = activate_node('main');              # started, extension created
#	my $crm = ActivateTest::Service->new;          # the HTTP service, started
#	ok(delivered($node, 'contacts'), '...');       # nothing of the sync is pending
#
# Tests wait by asking again until it is so, never by sleeping.
package ActivateTest;

use strict;
use warnings;

use ActivateTest::Service;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(activate_node delivered kill_hard pending same_rows sql_literal stops_fast worker_pids);

# A psql that finds the server in crash recovery may be gone before IPC::Run has
# written the query to it, and IPC::Run dies of that.  Nothing was executed: again.
for my $method (qw(psql poll_query_until))
{
	no strict 'refs';
	no warnings 'redefine';
	my $name     = "PostgreSQL::Test::Cluster::$method";
	my $original = \&{$name};

	*{$name} = sub {
		for (;;)
		{
			my @result = eval { wantarray ? $original->(@_) : scalar $original->(@_) };
			return wantarray ? @result : $result[0] unless $@;
			die $@ unless $@ =~ /Broken pipe/;
		}
	};
}

# Options: preload (1), extension (1), conf (further lines), and those of init.
sub activate_node
{
	my ($name, %options) = @_;
	my $preload   = delete $options{preload}   // 1;
	my $extension = delete $options{extension} // 1;
	my $conf      = delete $options{conf}      // '';
	my $node      = PostgreSQL::Test::Cluster->new($name);
	my $settings  = slurp_file('test/activate.conf');

	# without preload the prefix is not known when the server starts
	$settings =~ s/^(shared_preload_libraries).*/$1 = ''/m unless $preload;
	$node->init(%options);
	$node->append_conf('postgresql.conf', "$settings\n$conf");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION activate') if $extension;
	return $node;
}

sub sql_literal
{
	my ($text) = @_;

	$text =~ s/'/''/g;
	return $text =~ s/\\/\\\\/g ? "E'$text'" : "'$text'";
}

# How many intents of a sync wait; of all syncs without a name.
sub pending
{
	my ($node, $sync, $db) = @_;
	my $where = defined $sync ? 'WHERE s.name = ' . sql_literal($sync) : '';

	return $node->safe_psql($db // 'postgres',
		"SELECT count(*) FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync $where");
}

# True once nothing of a sync (of any, without a name) is pending.
sub delivered
{
	my ($node, $sync, $db) = @_;
	my $where = defined $sync ? 'WHERE s.name = ' . sql_literal($sync) : '';

	return $node->poll_query_until($db // 'postgres',
		"SELECT count(*) = 0 FROM activate.outbox o JOIN activate.sync s ON s.id = o.sync $where");
}

# Are these JSON rows (text of an array, in any order) exactly the rows of a
# query?  Compared by the server: 12.5 equals 12.50, a missing field is a difference.
sub same_rows
{
	my ($node, $json, $query, $name, $db) = @_;
	my $difference = $node->safe_psql(
		$db // 'postgres', "
		SET TimeZone = 'UTC';
		CREATE TEMP TABLE got AS SELECT value AS row FROM jsonb_array_elements(" . sql_literal($json) . "::jsonb);
		CREATE TEMP TABLE want AS SELECT to_jsonb(q.*) AS row FROM ($query) q;
		(SELECT 'missing ' || row::text FROM (TABLE want EXCEPT ALL TABLE got) d LIMIT 10)
		UNION ALL
		(SELECT 'unwanted ' || row::text FROM (TABLE got EXCEPT ALL TABLE want) d LIMIT 10)");

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($difference, '', $name);
}

# kill -9 of a process of the server.  Back when the postmaster has reaped it:
# from then on it accepts nobody until the crash restart is done.
sub kill_hard
{
	my ($pid) = @_;

	return 0 unless kill 'KILL', $pid;
	for (1 .. 1000 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 unless kill 0, $pid;
		Time::HiRes::usleep(1_000);
	}
	die "process $pid is still there\n";
}

# Stops the server.  pg_ctl waits a minute; what hangs, hangs for longer.
sub stops_fast
{
	my ($node, $name) = @_;

	return Test::More::ok($node->stop('fast', fail_ok => 1), $name);
}

# Process ids of our background workers, all or of a kind ('deliver', 'runner', ...).
sub worker_pids
{
	my ($node, $kind) = @_;
	my $like = 'activate%' . ($kind // '') . '%';

	return split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$like' AND pid <> pg_backend_pid() ORDER BY pid");
}

1;
