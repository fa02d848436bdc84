-- activate_receive(): whose an event is, that it is kept once, and what it is refused for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
-- RFC 2104, for digests of the server's own
CREATE FUNCTION hmac(data bytea, key bytea, algorithm text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	block int := CASE algorithm WHEN 'sha512' THEN 128 ELSE 64 END;
	inner_key bytea := key || decode(repeat('00', block - length(key)), 'hex');
	outer_key bytea := inner_key;
BEGIN
	FOR i IN 0 .. block - 1 LOOP
		inner_key := set_byte(inner_key, i, get_byte(inner_key, i) # 54);
		outer_key := set_byte(outer_key, i, get_byte(outer_key, i) # 92);
	END LOOP;
	RETURN CASE algorithm WHEN 'sha512' THEN sha512(outer_key || sha512(inner_key || data)) ELSE sha256(outer_key || sha256(inner_key || data)) END;
END
$$;
\pset null '(null)'

CREATE FUNCTION failure(statement text, OUT code text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	message := regexp_replace(message, 'signed [0-9]+ seconds', 'signed N seconds');
END
$$;
CREATE FUNCTION unix_now(shift integer DEFAULT 0) RETURNS text LANGUAGE sql
RETURN (extract(epoch FROM statement_timestamp())::bigint + shift)::text;

-- without a signature: whoever may use the target
SELECT activate_target('plain', 'receive');
\d plain.event
SELECT activate_receive('plain', '{"id": "e1", "n": 1}'), activate_receive('plain', '{"n": 1, "id": "e1"}'), activate_receive('plain', '{"id": "e2"}');
SELECT id = encode(sha256('{"n": 1, "id": "e1"}'), 'hex') AS digest, payload, headers, received_at <= clock_timestamp() AS at FROM plain.event ORDER BY received_at;
-- ... by an id in the body: numbers, too
SELECT activate_target('plain', 'receive', '{"id": "$.data.id"}');
SELECT activate_receive('plain', '{"data": {"id": 7, "v": 1}}'), activate_receive('plain', '{"data": {"id": 7, "v": 2}}'), activate_receive('plain', '{"data": {"id": "7.0"}}');
SELECT id, payload FROM plain.event WHERE length(id) < 10 ORDER BY id;
SELECT * FROM failure($$SELECT activate_receive('plain', '{"data": {}}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('plain', '{"data": {"id": null}}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('plain', jsonb_build_object('data', jsonb_build_object('id', repeat('x', 501))))$$) \gx
SELECT * FROM failure($$SELECT activate_receive('plain')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('plain', '{"data": {"id": 1}}', '[]')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('plainly', '{}')$$) \gx
-- what was not taken is not there
BEGIN; SELECT activate_receive('plain', '{"data": {"id": "gone"}}'); ROLLBACK;
SELECT count(*) FROM plain.event;

-- the vendors' own example: GitHub's documentation
SELECT activate_target('github', 'receive', '{"signature": {"style": "github"}, "format": "text"}', '{"hmac": "It''s a Secret to Everybody"}');
SELECT activate_receive('github', headers => '{"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "X-GitHub-Delivery": "d1"}', body => 'Hello, World!');
-- Slack's
SELECT activate_target('slack', 'receive', '{"signature": {"style": "slack"}, "id_header": "X-Test-Id", "format": "text"}', '{"hmac": "8f742231b10e8888abcd99yyyzzz85a5"}');
SELECT set_config('activate.clock_offset', (1531420618 - extract(epoch FROM clock_timestamp())::bigint)::text, false) < '0' AS then;
SELECT activate_receive('slack', headers => '{"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "X-Test-Id": 1}',
	body => 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c');
-- Standard Webhooks'
SELECT activate_target('standard', 'receive', '{"signature": {"style": "standard"}}', '{"hmac": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}');
SELECT set_config('activate.clock_offset', (1614265330 - extract(epoch FROM clock_timestamp())::bigint)::text, false) < '0' AS then;
SELECT activate_receive('standard', headers => '{"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": "v2,x v1,bm9ldHUjKzFob2VudXRob2VodWUzMjRvdWVvdW9ldQo= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}',
	body => '{"test": 2432232314}');
RESET activate.clock_offset;
SELECT 'github' AS target, id, payload, headers FROM github.event
	UNION ALL SELECT 'slack', id, to_jsonb(left(payload #>> '{}', 30)), headers FROM slack.event
	UNION ALL SELECT 'standard', id, payload, headers FROM standard.event;

-- Stripe's form, what is refused, and why
SELECT activate_target('stripe_events', 'receive', '{"signature": {"style": "stripe"}}', '{"hmac": "whsec_test"}');
CREATE FUNCTION stripe(body text, shift integer DEFAULT 0, secret text DEFAULT 'whsec_test', extra text DEFAULT '') RETURNS jsonb LANGUAGE sql
RETURN jsonb_build_object('Stripe-Signature', format('t=%s,%sv1=%s,v0=abc', unix_now(shift), extra,
	encode(hmac(convert_to(format('%s.%s', unix_now(shift), body), 'UTF8'), convert_to(secret, 'UTF8'), 'sha256'), 'hex')), 'Content-Type', 'application/json', 'Authorization', 'Bearer keep-me-out', 'X-Api-Key', 'k');
SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_1",  "type": "a"}'), body => '{"id": "evt_1",  "type": "a"}');
SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_1",  "type": "a"}', -60), body => '{"id": "evt_1",  "type": "a"}');
-- in bytes; what the gateway made of the body does not count
SELECT activate_receive('stripe_events', '{"id": "evt_9"}', stripe('{"id": "evt_2", "name": "Zoë"}'), convert_to('{"id": "evt_2", "name": "Zoë"}', 'UTF8'));
-- one of several signatures will do
SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_3"}', extra => 'v1=' || repeat('00', 32) || ', v1=zz,'), body => '{"id": "evt_3"}');
SELECT id, payload, headers FROM stripe_events.event ORDER BY id;
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_4"}', secret => 'whsec_other'), body => '{"id": "evt_4"}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_4"}'), body => '{"id":"evt_4"}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_4"}', -400), body => '{"id": "evt_4"}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_4"}', 400), body => '{"id": "evt_4"}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', '{"id": "evt_4"}', stripe('{"id": "evt_4"}'))$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', '{"id": "evt_4"}')$$) \gx
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => '{"x": "y"}', body => '{"id": "evt_4"}')$$) \gx
SELECT left(h, 30) AS headers, f.code, f.message FROM unnest(ARRAY['', 't=,v1=', 't=1', 't=-5,v1=00', 't=99999999999999999999,v1=00', 'v1=00', 't=x,v1=00', repeat('v1=,', 1000)]) h,
	failure(format($$SELECT activate_receive('stripe_events', headers => %L, body => '{"id": "evt_4"}')$$, jsonb_build_object('stripe-signature', h))) f;
SELECT * FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": '), body => '{"id": ')$$) \gx
SELECT count(*) FROM stripe_events.event;

-- the secret changes: both hold for a while, then the new one
SELECT activate_target('stripe_events', 'receive', secret => '{"hmac": ["whsec_new", "whsec_test"]}');
SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_5"}'), body => '{"id": "evt_5"}'),
	activate_receive('stripe_events', headers => stripe('{"id": "evt_6"}', secret => 'whsec_new'), body => '{"id": "evt_6"}');
SELECT activate_target('stripe_events', 'receive', secret => '{"hmac": "whsec_new"}');
SELECT code FROM failure($$SELECT activate_receive('stripe_events', headers => stripe('{"id": "evt_7"}'), body => '{"id": "evt_7"}')$$);

-- a way of one's own; a token; what is kept of the headers
SELECT activate_target('own', 'receive', '{"signature": {"header": "X-Sig", "timestamp": "X-Time", "signed": "{id}|{timestamp}|{body}", "algorithm": "sha512", "encoding": "base64", "key": "hex", "tolerance": "1 hour"},
	"id_header": "X-Id", "headers": ["X-Kind"]}', '{"hmac": "00ff"}');
SELECT activate_receive('own', headers => jsonb_build_object('X-ID', 'a', 'x-kind', ARRAY['k'], 'X-Time', unix_now(-3000) || '000', 'x-sig',
	translate(encode(hmac(convert_to(format('a|%s000|[1]', unix_now(-3000)), 'UTF8'), '\x00ff'::bytea, 'sha512'), 'base64'), E'\n', '')), body => '[1]');
SELECT message FROM failure($$SELECT activate_receive('own', headers => jsonb_build_object('X-Time', unix_now(), 'x-sig', 'AA=='), body => '[1]')$$);
SELECT id, payload, headers FROM own.event;
SELECT activate_target('gitlab', 'receive', '{"signature": {"style": "token", "header": "X-Gitlab-Token"}}', '{"hmac": "open sesame"}');
SELECT activate_receive('gitlab', '{}', '{"x-gitlab-token": "open sesame", "x-gitlab-event": "Push"}');
SELECT * FROM failure($$SELECT activate_receive('gitlab', '{"a": 1}', '{"x-gitlab-token": "open sesam"}')$$) \gx
SELECT headers FROM gitlab.event;

-- who may: USAGE on the target, and no right to the table
CREATE ROLE receive_gateway;
CREATE ROLE receive_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER activate TO receive_owner;
GRANT CREATE ON DATABASE :"DBNAME" TO receive_owner;
SET ROLE receive_owner;
SELECT activate_target('theirs', 'receive', '{"signature": {"style": "token", "header": "X-T"}, "id": "id"}', '{"hmac": "theirs"}');
CREATE FUNCTION theirs.whoami() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.payload := new.payload || jsonb_build_object('by', current_user); RETURN new; END $$;
CREATE TRIGGER who BEFORE INSERT ON theirs.event FOR EACH ROW EXECUTE FUNCTION theirs.whoami();
SET ROLE receive_gateway;
SELECT * FROM failure($$SELECT activate_receive('theirs', '{"id": 1}', '{"X-T": "theirs"}')$$) \gx
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER theirs TO receive_gateway;
SET ROLE receive_gateway;
SELECT activate_receive('theirs', '{"id": 1}', '{"X-T": "theirs"}');
-- a secret of one's own verifies nothing
CREATE USER MAPPING FOR receive_gateway SERVER theirs OPTIONS (secret '{"hmac": "mine"}');
SELECT code FROM failure($$SELECT activate_receive('theirs', '{"id": 2}', '{"X-T": "mine"}')$$);
RESET ROLE;
SELECT id, payload FROM theirs.event;
SELECT * FROM failure($$SELECT activate_target('theirs', 'receive', '{"mapping_for": "receive_gateway"}', '{"hmac": "x"}')$$) \gx

-- paused: the sender tries again later; gone
SELECT activate_pause('target:theirs');
SELECT * FROM failure($$SELECT activate_receive('theirs', '{"id": 3}', '{"X-T": "theirs"}')$$) \gx
SELECT activate_resume('target:theirs');
BEGIN;
DROP TABLE theirs.event;
SELECT * FROM failure($$SELECT activate_receive('theirs', '{"id": 3}', '{"X-T": "theirs"}')$$) \gx
SELECT activate_target('theirs', 'receive');
SELECT activate_receive('theirs', '{"id": 3}', '{"X-T": "theirs"}'), (SELECT tableowner FROM pg_tables WHERE schemaname = 'theirs') AS owner;
ROLLBACK;

-- retention; an asynchronous commit is not good enough
SELECT activate_target('plain', 'receive', '{"retention": "30 days"}');
INSERT INTO plain.event VALUES ('old', now() - interval '31 days', '{}'), ('young', now() - interval '29 days', '{}');
SELECT activate._receive_expire(1), activate._receive_expire(1), count(*) FILTER (WHERE id = 'old') AS old, count(*) FILTER (WHERE id = 'young') AS young FROM plain.event;
SELECT id FROM plain.event WHERE length(id) < 10 ORDER BY id COLLATE "C";
BEGIN;
SET LOCAL synchronous_commit = off;
SELECT activate_receive('plain', '{"data": {"id": "durable"}}');
SHOW synchronous_commit;
ROLLBACK;
SHOW synchronous_commit;

-- syncs read the table, triggers capture it
CREATE SCHEMA receive_test;
SELECT activate_sync('received', $$plain.event$$, 'receive_test.fact', key => 'id', map => '{"id": "id", "v": "(payload #>> ''{data,v}'')::int"}', mode => 'insert', capture => 'trigger') > 0 AS declared;
BEGIN;
SELECT activate_receive('plain', '{"data": {"id": "sync", "v": 5}}');
SELECT op, o.key FROM activate.outbox o JOIN activate.sync s ON s.id = sync WHERE name = 'received';
COMMIT;
SELECT activate_run('received') > 0 AS ran;
SELECT * FROM receive_test.fact WHERE id = 'sync';
SELECT line FROM activate_export() line WHERE line ~ '(plain|own)' AND line !~ 'activate_sync';

-- what a declaration is refused for
SELECT o AS options, f.code, f.message, f.hint FROM unnest(ARRAY[
	'{"signature": {"style": "paypal"}}', '{"signature": {"stile": "github"}}', '{"signature": {}}', '{"signature": "github"}', '{"signature": {"header": "X-S", "signed": "{timestamp}"}}',
	'{"signature": {"header": "X-S", "signed": "{body}{row}"}}', '{"signature": {"header": "X-S", "signed": "{timestamp}.{body}"}}', '{"signature": {"header": "X-S", "signed": "{id}.{body}"}}',
	'{"signature": {"header": "X-S", "tolerance": "1 minute"}}', '{"signature": {"style": "stripe", "tolerance": "soon"}}', '{"signature": {"header": "X-S", "algorithm": "md5"}}',
	'{"id": ""}', '{"id": "a", "id_header": "b"}', '{"format": "xml"}', '{"format": "text", "id": "id"}', '{"headers": {"a": 1}}', '{"headers": ["a b"]}', '{"headers": ["Authorization"]}',
	'{"retention": "-1 day"}', '{"retention": "long"}', '{"url": "https://x"}']) o,
	failure(format('SELECT activate_target(%L, %L, %L)', 'bad', 'receive', o)) f \gx
SELECT * FROM failure($$SELECT activate_target('bad', 'receive', '{}', '{"hmac": []}')$$) \gx
SELECT * FROM failure($$SELECT activate_target('bad', 'receive', '{}', '{"hmac": 5}')$$) \gx
CREATE SCHEMA bad CREATE TABLE event (id text, payload json);
SELECT * FROM failure($$SELECT activate_target('bad', 'receive')$$) \gx
ALTER TABLE bad.event ADD received_at timestamptz, ADD headers jsonb, ALTER payload TYPE jsonb;
SELECT message FROM failure($$SELECT activate_target('bad', 'receive')$$);
CREATE UNIQUE INDEX ON bad.event (id);
SELECT activate_target('bad', 'receive');

-- nothing secret where others look
SELECT count(*) FROM activate.connector WHERE definition::text ~ 'whsec_(new|test)';
SELECT count(*) FROM activate_export() line WHERE line ~ 'whsec_(new|test)|sesame';

SET client_min_messages = error;
SELECT activate_drop('received');
DROP SERVER plain CASCADE; DROP SERVER github CASCADE; DROP SERVER slack CASCADE; DROP SERVER standard CASCADE; DROP SERVER stripe_events CASCADE;
DROP SERVER own CASCADE; DROP SERVER gitlab CASCADE; DROP SERVER theirs CASCADE; DROP SERVER bad CASCADE;
DROP SCHEMA plain, github, slack, standard, stripe_events, own, gitlab, theirs, bad, receive_test CASCADE;
REVOKE CREATE ON DATABASE :"DBNAME" FROM receive_owner;
REVOKE USAGE ON FOREIGN DATA WRAPPER activate FROM receive_owner;
DROP ROLE receive_gateway, receive_owner;
DROP FUNCTION failure, unix_now, stripe;
DROP FUNCTION hmac(bytea, bytea, text);
