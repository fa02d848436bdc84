-- What more of the shipped definitions make of answers as their vendors document them, or applications give them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA judged;
SET search_path = judged, public;

CREATE FUNCTION declare_shipped(connector text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	definition jsonb := (SELECT c.definition FROM activate.connector c WHERE c.name = connector);
BEGIN
	EXECUTE format('CREATE SCHEMA %I', connector);
	EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER activate OPTIONS (connector %L)', connector, connector);
	IF definition ? 'parameters' THEN
		EXECUTE format('ALTER SERVER %I OPTIONS (parameters %L)', connector, (SELECT jsonb_object_agg(p.key, coalesce(p.value ->> 'default', 'x')) FROM jsonb_each(definition -> 'parameters') p));
	END IF;
	EXECUTE format('IMPORT FOREIGN SCHEMA x FROM SERVER %I INTO %I', connector, connector);
END
$$;
-- class of the call and its wait; then class, reason and remote id of each of n rows, whose messages are id-1, id-2 and keys a1@x.test, a2@x.test
CREATE FUNCTION judged(tab regclass, op text, n integer, status integer, body text, headers text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', status, a->>'class', nullif(a->>'retry_after_ms', '-1')) || ': ' ||
		string_agg(concat_ws(' ', r->>'class', '(' || (r->>'reason') || ')', 'is ' || (r->>'remote_id')), ', ' ORDER BY i)
	  FROM activate._connector_answer(tab, (SELECT jsonb_agg(jsonb_build_object('op', op, 'id', 'id-' || i, 'key', key, 'target_key', key,
			'row', CASE WHEN op <> 'delete' THEN key END)) FROM generate_series(1, n) i,
			LATERAL (SELECT jsonb_build_object('email', 'a' || i || '@x.test', 'email_address', 'a' || i || '@x.test', 'id', i) AS key) k),
		status, convert_to(body, 'UTF8'), headers) a,
		jsonb_array_elements(a->'rows') WITH ORDINALITY AS e(r, i) GROUP BY a
$$;
\pset format unaligned
\pset tuples_only on

SELECT declare_shipped('braze');
SELECT judged('braze.users', 'upsert', 2, 201, '{"message": "success", "attributes_processed": 2}');
SELECT judged('braze.events', 'insert', 2, 201, '{"message": "success", "events_processed": 1, "errors": [{"type": "''name'' is required", "input_array": "events", "index": 1}]}');
SELECT judged('braze.users', 'upsert', 2, 201, '{"message": "the payload could not be read", "errors": ["minor"]}');
SELECT judged('braze.users', 'upsert', 1, 201, '{"message": "the payload could not be read", "errors": ["minor"]}');
SELECT judged('braze.users', 'upsert', 2, 400, '{"message": "Valid data must be provided", "errors": [{"type": "''external_id'' is required", "input_array": "attributes", "index": 0}]}');
SELECT judged('braze.users', 'upsert', 1, 401, '{"message": "Invalid API Key"}');
SELECT judged('braze.users', 'delete', 1, 201, '{"message": "success", "deleted": 1}');

SELECT declare_shipped('iterable');
SELECT judged('iterable.users', 'upsert', 3, 200, '{"successCount": 3, "failCount": 0, "invalidEmails": [], "failedUpdates": {"invalidEmails": [], "notFoundEmails": []}}');
SELECT judged('iterable.users', 'upsert', 3, 200, '{"successCount": 2, "failCount": 1, "invalidEmails": ["a2@x.test"], "failedUpdates": {"invalidEmails": ["a2@x.test"], "conflictEmails": []}}');
SELECT judged('iterable.users', 'upsert', 3, 200, '{"successCount": 2, "failCount": 1, "failedUpdates": {"forgottenEmails": ["a3@x.test"]}}');
-- one failed, and it is not said which: split
SELECT judged('iterable.users', 'upsert', 2, 200, '{"successCount": 1, "failCount": 1, "failedUpdates": {}}');
SELECT judged('iterable.users', 'upsert', 2, 400, '{"msg": "Invalid JSON body", "code": "BadJsonBody", "params": {"obj.users[1].email": "String value expected"}}');
SELECT judged('iterable.users', 'delete', 1, 200, '{"msg": "Deleted", "code": "Success", "params": null}');
SELECT judged('iterable.users', 'delete', 1, 401, '{"msg": "Disabled API key", "code": "BadApiKey", "params": null}');
SELECT judged('iterable.users', 'upsert', 1, 429, '{"msg": "slow down", "code": "RateLimitExceeded", "params": null}');

SELECT declare_shipped('marketo');
SELECT judged('marketo.leads', 'upsert', 3, 200, '{"requestId": "1", "success": true, "result": [{"id": 318581, "status": "updated"}, {"id": 318592, "status": "created"}, {"status": "skipped", "reasons": [{"code": "1005", "message": "Lead already exists"}]}]}');
SELECT judged('marketo.leads', 'upsert', 2, 200, format('{"requestId": "1", "success": false, "errors": [{"code": "%s", "message": "why"}]}', code))
  FROM unnest('{601, 602, 603, 606, 607, 608, 610, 611, 612, 615, 1003, 1077}'::int[]) code;
SELECT judged('marketo.leads', 'upsert', 1, 200, '{"requestId": "1", "success": false, "errors": [{"code": "1003", "message": "Action updateOnly is invalid"}]}');
SELECT judged('marketo.leads', 'upsert', 2, 413, '');

SELECT declare_shipped('pipedrive');
SELECT judged('pipedrive.persons', 'insert', 1, 201, '{"success": true, "data": {"id": 7, "name": "Ada"}}');
SELECT judged('pipedrive.persons', 'insert', 1, 400, '{"success": false, "error": "Name must be given.", "error_info": "…"}');
SELECT judged('pipedrive.persons', 'insert', 1, 200, '{"success": false, "error": "nothing done"}');

SELECT declare_shipped('meta_audiences');
SELECT judged('meta_audiences.members', 'upsert', 2, 200, '{"audience_id": "1", "session_id": "2", "num_received": 2, "num_invalid_entries": 0, "invalid_entry_samples": {}}');
SELECT judged('meta_audiences.members', 'upsert', 2, 200, '{"audience_id": "1", "session_id": "2", "num_received": 2, "num_invalid_entries": 1}');
SELECT judged('meta_audiences.members', 'upsert', 1, 200, '{"audience_id": "1", "session_id": "2", "num_received": 1, "num_invalid_entries": 1}');
SELECT judged('meta_audiences.members', 'upsert', 2, 400, format('{"error": {"message": "why", "code": %s, "error_subcode": %s}}', code, sub))
  FROM (VALUES (17, 0), (190, 463), (200, 0), (100, 1713230), (100, 0), (2, 0)) e (code, sub);

SELECT declare_shipped('google_ads_customer_match');
SELECT judged('google_ads_customer_match.emails', 'upsert', 2, 200, '{"requestId": "r1"}');
SELECT judged('google_ads_customer_match.emails', 'delete', 2, 200, '{}');
SELECT judged('google_ads_customer_match.emails', 'upsert', 2, status, format('{"error": {"code": %s, "message": "why", "status": "%s"}}', status, word))
  FROM (VALUES (400, 'INVALID_ARGUMENT'), (401, 'UNAUTHENTICATED'), (403, 'PERMISSION_DENIED'), (409, 'ABORTED'), (429, 'RESOURCE_EXHAUSTED'), (503, 'UNAVAILABLE')) e (status, word);

SELECT declare_shipped('rt');
SELECT judged('rt.users', 'insert', 1, 201, '{"type": "user", "_url": "https://x/REST/2.0/user/ada", "id": "ada"}');
SELECT judged('rt.users', 'insert', 1, 400, '{"message": "Email address in use"}');
SELECT judged('rt.tickets', 'insert', 1, 403, '{"message": "No permission to create tickets in the queue ''Nowhere''"}');
SELECT judged('rt.tickets', 'insert', 1, 403, '{"message": "Forbidden"}');
SELECT judged('rt.tickets', 'update', 1, 200, '["Ticket 1: Subject changed from ''a'' to ''b''"]');
SELECT judged('rt.tickets', 'update', 1, 200, '["Ticket 1: Subject changed from ''a'' to ''b''", "Ticket 1: Status ''nonsense'' isn''t a valid status for this ticket."]');

-- a record that is gone says nothing of the target
SELECT declare_shipped('salesforce');
ALTER SERVER salesforce OPTIONS (SET parameters '{"domain": "x", "external_id": "email"}');
CREATE FOREIGN TABLE salesforce."Contact" (email text) SERVER salesforce;
SELECT judged('salesforce."Contact"', op, 1, 404, '[{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]') FROM unnest(ARRAY['update', 'delete', 'upsert']) op;
SELECT declare_shipped('notion');
CREATE FOREIGN TABLE notion.pages (key text) SERVER notion;
SELECT judged('notion.pages', op, 1, 400, '{"object": "error", "code": "validation_error", "message": "Can''t edit block that is archived. You must unarchive the block before editing."}') FROM unnest(ARRAY['update', 'delete']) op;

\pset tuples_only off
\pset format aligned
SET client_min_messages = warning;
DROP SERVER braze, iterable, marketo, pipedrive, meta_audiences, google_ads_customer_match, rt, salesforce, notion CASCADE;
DROP SCHEMA judged, braze, iterable, marketo, pipedrive, meta_audiences, google_ads_customer_match, rt, salesforce, notion CASCADE;
