# Whose secret: SEMANTICS 15.  The mapping of the sync's owner, else the public one; never another's.
use strict;
use warnings;

use ActivateTest;
use Digest::SHA 'sha256_hex';
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('mappings');
my $url  = $crm->url('/hook/m');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub as { my ($role, $sql) = @_; return $node->safe_psql('postgres', "SET search_path = $role, public; $sql", extra_params => [ '-U', $role ]); }

# Who sent the last request?  By the secret that it carried.
sub sender
{
	my $sent = $crm->log('/hook/m')->[-1]{headers}{authorization} // '';
	my %who = map { 'sha256:' . sha256_hex("Bearer of $_") => $_ } qw(ann bob public postgres);
	return $sent eq '' ? 'nobody' : $who{$sent};
}

sub change
{
	my ($role) = @_;
	as($role, 'INSERT INTO item SELECT coalesce(max(id), 0) + 1 FROM item');
	return ok(delivered($node, "of $role"), "$role: delivered");
}

sql("SELECT activate_target('m', 'webhook', '{\"url\": \"$url\"}', '{\"bearer\": \"of postgres\"}')");
for my $role (qw(ann bob))
{
	sql("CREATE ROLE $role LOGIN; CREATE SCHEMA $role AUTHORIZATION $role; GRANT USAGE ON SCHEMA m TO $role; GRANT USAGE ON FOREIGN SERVER m TO $role; GRANT INSERT ON m.change TO $role");
	as($role, "CREATE TABLE item (id int PRIMARY KEY); SELECT activate_sync('of $role', 'item', 'm.change', capture => 'trigger')");
}
is(sql("SELECT usename FROM pg_user_mappings WHERE srvname = 'm'"), 'postgres', 'activate_target gives the secret to the caller');
change('ann');
is(sender(), 'nobody', "without a mapping no secret is sent, not another's");
sql("SELECT activate_target('m', 'webhook', '{\"mapping_for\": \"ann\"}', '{\"bearer\": \"of ann\"}'); SELECT activate_target('m', 'webhook', '{\"mapping_for\": \"public\"}', '{\"bearer\": \"of public\"}')");
is(sql("SELECT string_agg(usename, ' ' ORDER BY usename) FROM pg_user_mappings WHERE srvname = 'm'"), 'ann postgres public', 'mapping_for: to a role, to public');
change('ann');
is(sender(), 'ann', 'her own');
change('bob');
is(sender(), 'public', 'the public one for who has none');
sql("UPDATE ann.item SET id = -id; SELECT activate_run('of ann', true)");
ok(delivered($node, 'of ann'), 'run and written by a superuser');
is(sender(), 'ann', "the owner's, whoever runs it");
as('bob', "CREATE USER MAPPING FOR bob SERVER m OPTIONS (secret '{\"bearer\": \"of bob\"}')");
change('bob');
is(sender(), 'bob', 'a mapping that a role made for itself');
is(as('ann', "SELECT count(*) FROM pg_user_mappings WHERE srvname = 'm' AND umoptions IS NOT NULL"), 1, 'others do not see it');
sql('DROP USER MAPPING FOR bob SERVER m');
change('bob');
is(sender(), 'public', 'when it is dropped, the public one again');
sql('DROP USER MAPPING FOR PUBLIC SERVER m');
$crm->control({ require_bearer => 'of ann' });
as('bob', 'INSERT INTO item VALUES (100)');
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM activate.stat_target WHERE state = 'auth' AND role = 'public'"), 'none is left: the API refuses, the target says so');
is(pending($node, 'of bob'), 1, 'and the row waits');
change('ann');
is(sender(), 'ann', 'while the others go on');

# where a secret would be seen
for my $options ('{"headers": {"Authorization": "HUSHxHUSH"}}', '{"headers": {"Cookie": "HUSHxHUSH"}}', '{"headers": {"X-Api-Key": "HUSHxHUSH"}}', '{"url": "https://u:HUSHxHUSH@example.com/"}')
{
	my ($code, $out, $err) = $node->psql('postgres', "SELECT activate_target('m', 'webhook', '$options')");
	like($err, qr/ERROR:.*HINT:.*secret/s, 'refused with the hint "secret": ' . $options =~ s/HUSH.*//r);
	unlike($err, qr/HUSH/, 'without repeating it');
}
like(slurp_file('README.md'), qr/so prefer a file: `'\{"bearer": \{"file":/, 'the README advises a file');

$node->stop('fast');
done_testing();
