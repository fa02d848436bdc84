# A database that is not in UTF-8: what answers say of its rows is found all the same.
use strict;
use warnings;

use ActivateTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $crm  = ActivateTest::Service->new;
my $node = activate_node('latin', conf => "activate.retry_backoff = '5ms'\nactivate.retry_backoff_max = '50ms'\nactivate.max_attempts = 3");
my $url  = $crm->url;

$node->safe_psql('postgres', "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
sub sql { return $node->safe_psql('latin', $_[0]); }
sql('CREATE EXTENSION activate');

# The key is chr(233), a letter that is one byte here and two there.
sub declare
{
	my ($name, $write) = @_;
	my $options = JSON::PP->new->canonical->encode({
		base_url => $url,
		objects  => { $name => { path => "/objects/$name", key => 'id', columns => { id => 'text', v => 'bigint' }, write => $write } } });

	sql("SELECT activate_target('$name', 'rest', " . sql_literal($options) . ");
		CREATE TABLE $name (id text PRIMARY KEY, v bigint);
		SELECT activate_sync('$name', '$name', '$name.$name', capture => 'trigger');
		INSERT INTO $name VALUES (chr(233) || '1', 1), ('e2', 2)");
	return;
}
sub outcomes
{
	my ($name) = @_;
	return sql("SELECT string_agg(op || ' ' || outcome, ', ' ORDER BY outcome) FROM activate.receipt r JOIN activate.sync s ON s.id = r.sync WHERE s.name = '$name'");
}

declare('keyed', { upsert => { path => '/objects/keyed/batch/upsert', query => { shape => 'keyed' }, batch => 100, envelope => 'inputs',
	answer => { shape => 'keyed', path => 'results', key => 'key', ok => 'ok' } } });
ok(delivered($node, 'keyed', 'latin'), 'keyed: done');
is(outcomes('keyed'), 'upsert delivered, upsert delivered', 'keyed: the echoed key is the row\'s');

$crm->call('POST', '/objects/found', '{"id": "7", "mail": "\u00e91", "v": 0}');
declare('found', { insert => {}, update => { path => '/objects/found/{remote_id}' },
	upsert => { lookup => { path => '/objects/found/search', query => { field => 'mail', value => '{id}' }, records => 'data', id => 'id', match => 'mail', column => 'id' } } });
ok(delivered($node, 'found', 'latin'), 'lookup: done');
is(outcomes('found'), 'upsert delivered, upsert delivered', 'lookup: both');
like($crm->objects('found'), qr/"mail":"[^"]*1","v":1/, 'lookup: what is there is found, and updated');

declare('jobs', { upsert => { path => '/jobs?object=jobs', batch => 100, envelope => 'inputs', job => { id => 'id',
	poll => { path => '/jobs/{job_id}', state => 'state', done => ['JobComplete'], failed => ['Failed'], every => '1s' },
	results => [{ path => '/jobs/{job_id}/ok', answer => { shape => 'keyed', key => 'id', ok => 'ok' } }] } } });
ok(delivered($node, 'jobs', 'latin'), 'job: done');
is(outcomes('jobs'), 'upsert delivered, upsert delivered', 'job: results name the rows');
is(sql("SELECT count(*) FROM activate.rejection"), 0, 'nothing is rejected');

$node->stop;
done_testing();
