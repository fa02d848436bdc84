# Events that were taken are there after a crash, syncs apply them, and old ones go.
use strict;
use warnings;

use ActivateTest;
use Digest::SHA qw(hmac_sha256_hex);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('receive', conf => "synchronous_commit = off\nwal_writer_delay = 10s\nactivate.runners = 2");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{CREATE ROLE gateway LOGIN;
	SELECT activate_target('shop_events', 'receive', '{"signature": {"style": "stripe"}, "retention": "90 days"}', '{"hmac": "whsec_of_the_shop"}');
	GRANT USAGE ON FOREIGN SERVER shop_events TO gateway});

# As a gateway would: what came, and nothing else.
sub push_event
{
	my ($body, %options) = @_;
	my $now  = $options{now} // time;
	my $sign = hmac_sha256_hex("$now.$body", $options{secret} // 'whsec_of_the_shop');
	my ($code, $out, $error) = $node->psql('postgres',
		"SELECT activate_receive('shop_events', headers => '{\"Stripe-Signature\": \"t=$now,v1=$sign\"}', body => \$body\$$body\$body\$)",
		extra_params => ['-U', 'gateway'], on_error_stop => 1);

	return $code == 0 ? $out : $error;
}

is(push_event('{"id": "evt_1", "amount": 5}'), 't', 'an event is taken');
$node->stop('immediate');
$node->start;
is(sql('SELECT id FROM shop_events.event'), 'evt_1', 'it is there after a crash, though commits are asynchronous');
is(push_event('{"id": "evt_1", "amount": 5}'), 'f', 'the sender tries again: it is known');
like(push_event('{"id": "evt_2"}', secret => 'guessed'), qr/ERROR: .*its signature is not by the secret/, 'another secret');
like(push_event('{"id": "evt_2"}', now => time - 3600), qr/ERROR: .*was signed 36\d\d seconds ago/, 'an old one is not played again');
is(sql('SELECT count(*) FROM shop_events.event'), 1, 'nothing of them is stored');
like(($node->psql('postgres', 'SELECT * FROM shop_events.event', extra_params => ['-U', 'gateway']))[2], qr/permission denied/, 'the gateway cannot read');
like(($node->psql('postgres', "INSERT INTO shop_events.event (id, payload) VALUES ('x', '{}')", extra_params => ['-U', 'gateway']))[2],
	qr/permission denied/, 'nor write past the signature');

# By trigger into a table: the commit wakes the worker.
sql(q{SELECT activate_sync('payments', 'shop_events.event', 'payment', key => 'id', map => '{"id": "id", "amount": "(payload->>''amount'')::int"}',
	mode => 'insert', capture => 'trigger')});
push_event(qq({"id": "evt_$_", "amount": $_})) for (10 .. 12);
ok($node->poll_query_until('postgres', "SELECT string_agg(id, ' ' ORDER BY id) = 'evt_10 evt_11 evt_12' FROM payment"), 'events arrive where a sync takes them');
sql("SELECT activate_run('payments')");
is(sql("SELECT string_agg(amount::text, ' ' ORDER BY amount) FROM payment"), '5 10 11 12', 'a run takes what was there before');

# Housekeeping, with the clock a hundred days on; a trigger of the table's owner does not stop the rest of it.
sql(q{ALTER SYSTEM SET activate.clock_offset = 8640000; SELECT pg_reload_conf()});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM shop_events.event'), 'old events go');
is(sql('SELECT count(*) FROM payment'), 4, 'what was made of them stays');

unlike(slurp_file($node->logfile), qr/whsec_of_the_shop/, 'the secret is not in the log');

done_testing();
