# Request Tracker 5 on SQLite: slow, and with manners of its own.
use strict;
use warnings;

use ActivateTest;
use ActivateTest::App;
use MIME::Base64;
use PostgreSQL::Test::Utils;
use Test::More;

my $server = '/usr/share/request-tracker5/libexec/rt-server';
my $app = ActivateTest::App->new('rt');
plan skip_all => "rt: there is no $server (Debian: request-tracker5 rt5-standalone rt5-db-sqlite)" unless -e $server;

# everything in its folder, nothing sent by mail
my $folder = $app->folder;
my %env = (RT_SITE_CONFIG => "$folder/RT_SiteConfig.pm", RT_SITE_CONFIG_DIR => "$folder/RT_SiteConfig.d");
mkdir "$folder/$_" for qw(RT_SiteConfig.d data session var);
unlink "$folder/var/rt5", $env{RT_SITE_CONFIG};
append_to_file($env{RT_SITE_CONFIG}, <<"CONFIG");
Set(\$rtname, 'example.com');
Set(\$Organization, 'example.com');
Set(\$DatabaseType, 'SQLite');
Set(\$DatabaseName, '$folder/var/rt5');
Set(\$WebDomain, '127.0.0.1');
Set(\$WebPort, $app->{port});
Set(\$WebPath, '');
Set(\$MasonDataDir, '$folder/data');
Set(\$MasonSessionDir, '$folder/session');
Set(\$LogToSyslog, undef);
Set(\$LogToSTDERR, 'warning');
Set(\$MailCommand, 'testfile');
1;
CONFIG
plan skip_all => $app->problem
	unless $app->shell("RT_SITE_CONFIG=$env{RT_SITE_CONFIG} RT_SITE_CONFIG_DIR=$env{RT_SITE_CONFIG_DIR} "
	. "/usr/sbin/rt-setup-database-5 --action init --skip-create --dba '' --prompt-for-dba-password=0", 'rt-setup-database-5');
$app->{prefix} = '/REST/2.0';
$app->{headers} = { authorization => 'Basic ' . encode_base64('root:password', '') };
plan skip_all => $app->problem
	unless $app->start(command => ['perl', $server, '--server', 'Standalone', '--host', '127.0.0.1', '--port', $app->{port}], ready => '/rt', env => \%env);

my $node = activate_node('warehouse', conf => "activate.max_attempts = 3\nactivate.http_timeout = '30s'");

sub sql { return $node->safe_psql('postgres', $_[0]); }

# The users that this test has made, as rows.
sub users
{
	my $items = $app->get('/users?query=%5B%5D&per_page=100&fields=Name,EmailAddress,RealName')->{items};

	return $app->text([map { +{ login => $_->{Name}, email => $_->{EmailAddress}, name => $_->{RealName} } } grep { $_->{Name} =~ /^u\d/ } @$items]);
}

sub rejected
{
	my ($sync) = @_;

	return sql("SELECT string_agg(coalesce(r.code, '-') || ' ' || r.reason, '; ' ORDER BY r.id) FROM activate.rejection r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$sync'");
}

my $url = $app->url;
sql(qq[SELECT activate_target('rt', 'rt', '{"base_url": "$url"}', '{"basic": "root:password"}');
	CREATE TABLE person (login text PRIMARY KEY, email text, name text);
	INSERT INTO person SELECT 'u' || i, 'u' || i || '\@example.com', 'Zoë ' || i FROM generate_series(1, 12) i;
	SELECT activate_sync('people', 'person', 'rt.users', key => 'login', mode => 'mirror', capture => 'trigger',
		map => '{"Name": "login", "EmailAddress": "email", "RealName": "name"}')]);

# rows arrive, whatever the time that each takes
sql("SELECT activate_run('people')");
ok(delivered($node, 'people'), 'the backfill is delivered');
same_rows($node, users(), 'TABLE person', 'RT holds what the warehouse holds') or BAIL_OUT(rejected('people'));
is(sql(q[SELECT count(*) FROM (TABLE person EXCEPT SELECT "Name", "EmailAddress", "RealName" FROM rt.users) d]), 0, 'the foreign table says the same');
sql("INSERT INTO person VALUES ('u100', 'ada\@example.com', 'Ada'); UPDATE person SET name = 'Renamed' WHERE login = 'u3'");
ok(delivered($node, 'people'), 'an insert and an update');
is($app->get('/user/u100')->{RealName}, 'Ada', 'the new user is there');
is($app->get('/user/u3')->{RealName}, 'Renamed', 'and the other has its new name');

# who is there already is found, not made again
$app->get('/user', 'POST', { Name => 'u200', EmailAddress => 'before@example.com', RealName => 'Was here before' });
sql("INSERT INTO person VALUES ('u200', 'after\@example.com', 'Found')");
ok(delivered($node, 'people'), 'a user whom somebody else had made');
is($app->get('/user/u200')->{EmailAddress}, 'after@example.com', 'is updated');

# refused, each for itself
sql("INSERT INTO person VALUES ('u301', 'u1\@example.com', 'Same address'), ('u302', 'no address', 'Wrong'), ('u303', 'u303\@example.com', 'Fine')");
ok(delivered($node, 'people'), 'two bad rows and a good one');
is(rejected('people'), '400 Email address in use; 400 Invalid syntax for email address', 'a unique violation and a wrong value, with their reasons');
is(($app->call('GET', '/user/u303'))[0], 200, 'the good one is there');
sql("DELETE FROM person WHERE login IN ('u301', 'u302')");

# a delete: RT disables
sql("DELETE FROM person WHERE login = 'u5'");
ok(delivered($node, 'people'), 'a delete');
is($app->get('/user/u5')->{Disabled}, 1, 'the user is disabled');

# tickets: a 403 that means the row, a 200 that means a refusal
sql(q[INSERT INTO rt.tickets ("Queue", "Subject", "Requestor") VALUES ('General', 'Call Ada', 'ada@example.com'), ('Nowhere', 'Lost', 'ada@example.com')]);
ok(delivered($node, 'rt.tickets'), 'two tickets');
is(rejected('rt.tickets'), "403 No permission to create tickets in the queue 'Nowhere'", 'a queue that does not exist is told as 403: the row is refused');
is(sql("SELECT state FROM activate.stat_target WHERE name = 'rt'"), 'up', 'and the target is not paused');
my $ticket = $app->get('/tickets?query=id>0&fields=Subject')->{items}[0];
is($ticket->{Subject}, 'Call Ada', 'the other ticket is there');
sql(qq[UPDATE rt.tickets SET "Subject" = 'Call her back' WHERE id = $ticket->{id}]);
ok(delivered($node, 'rt.tickets'), 'an update of the ticket');
is($app->get("/ticket/$ticket->{id}")->{Subject}, 'Call her back', 'is there');
sql(qq[UPDATE rt.tickets SET "Status" = 'nonsense' WHERE id = $ticket->{id}]);
ok(delivered($node, 'rt.tickets'), 'an update that is refused with 200');
like(rejected('rt.tickets'), qr/isn't a valid/, 'is a refusal');

# kill -9 in the middle
sql(q[INSERT INTO person SELECT 'u' || i, 'u' || i || '@example.com', 'Killed ' || i FROM generate_series(1001, 1016) i]);
ok($node->poll_query_until('postgres', "SELECT count(*) > 3 FROM activate.sent WHERE key->>'login' ~ '^u10..'"), 'under way');
kill_hard((worker_pids($node, 'deliver'))[0]);
$node->poll_query_until('postgres', 'SELECT true');
ok(delivered($node, 'people'), 'delivered in the end');
same_rows($node, $app->text([grep { $_->{login} !~ /^u5$/ } @{ JSON::PP->new->utf8->decode(users()) }]), 'TABLE person', 'RT holds what the warehouse says, each once');

$node->stop('fast');
$app->stop;
done_testing();
