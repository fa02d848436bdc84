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

$node->stop('fast');
done_testing();
