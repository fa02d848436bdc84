# A dump carries models: the graph is as it was once the copy is adopted, and views are what they were.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $roles = 'CREATE ROLE analyst LOGIN; GRANT ALL ON SCHEMA public TO analyst';
my $node  = activate_node('models', conf => 'activate.enabled = off');
my $dump  = PostgreSQL::Test::Utils::tempdir() . '/models.sql';
my $graph = 'SELECT * FROM activate_graph()';

$node->safe_psql('postgres', "$roles; SET ROLE analyst;
	CREATE TABLE raw (id int PRIMARY KEY, v text); INSERT INTO raw VALUES (1, 'a');
	SELECT activate_sync('load', 'raw', 'loaded');
	SELECT activate_sync('shown', 'SELECT id, v FROM loaded', 'shown', map => '{\"number\": \"id\", \"upper\": \"upper(v)\"}', options => '{\"materialized\": \"view\"}');
	SELECT activate_sync('mart', 'shown', 'mart', key => 'number');
	SELECT activate_run('load'); SELECT activate_run('mart')");
my $before = $node->safe_psql('postgres', $graph);
is($before, "load|public.raw|public.loaded|{}|0\nshown|public.loaded|public.shown|{load}|1\nmart|public.shown|public.mart|{shown}|2", 'the graph');
ok(run_log([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ]), 'dumped');

my $copy = activate_node('copy', extension => 0, conf => 'activate.enabled = off');
# numbers that mean other things here
$copy->safe_psql('postgres', "$roles; " . join '', map { "CREATE TABLE before$_ (); " } 1 .. 50);
ok(run_log([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $copy->connstr('postgres') ]), 'restored');
is($copy->safe_psql('postgres', "$graph WHERE source IS NOT NULL AND sync = 'load'"), (split /\n/, $before)[0], 'in the copy sources that are relations are known');
$copy->safe_psql('postgres', 'SELECT activate_adopt()');
is($copy->safe_psql('postgres', "SELECT string_agg(name || ' ' || coalesce(pause_reason, 'goes on'), ', ' ORDER BY id) FROM activate.sync"),
	'load goes on, shown goes on, mart goes on', 'each was declared anew');
is($copy->safe_psql('postgres', $graph), $before, 'the graph is the same');
is($copy->safe_psql('postgres', "SELECT pg_get_userbyid(relowner), (SELECT string_agg(number || s.upper, ' ') FROM shown s) FROM pg_class WHERE relname = 'shown'"),
	'analyst|1A', "the view is the owner's, and what it was");

# the script that rebuilds every declaration finds the view, and it stays
my $script = $node->safe_psql('postgres', 'SELECT string_agg(line, E\'\n\') FROM activate_export() line');
$copy->safe_psql('postgres', "SELECT activate_drop(name) FROM activate.sync");
$copy->safe_psql('postgres', $script);
is($copy->safe_psql('postgres', $graph), $before, 'the script declares it all');
my ($code, $out, $err) = $copy->psql('postgres', "SELECT activate_drop('shown'); CREATE OR REPLACE VIEW shown AS SELECT 'mine' AS upper, id AS number FROM loaded; $script");
like($err, qr/view "shown" is there already, and is not what sync "shown" would make of it/, 'a view that somebody has made of something else is not lost');

$_->stop('fast') for $node, $copy;
done_testing();
