-- What the shipped definitions make of answers that their vendors' documentation shows.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA shipped_answer;
SET search_path = shipped_answer, public;

CREATE FUNCTION declare_shipped(connector text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	definition jsonb := (SELECT c.definition FROM activate.connector c WHERE c.name = connector);
BEGIN
	EXECUTE format('CREATE SCHEMA %I', connector);
	EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER activate OPTIONS (connector %L)', connector, connector);
	IF definition ? 'parameters' THEN
		EXECUTE format('ALTER SERVER %I OPTIONS (parameters %L)', connector, (SELECT jsonb_object_agg(p.key, 'x') FROM jsonb_each(definition -> 'parameters') p));
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

SELECT declare_shipped('hubspot');
SELECT judged('hubspot.contacts', 'upsert', 2, 200, '{"status": "COMPLETE", "results": [{"id": "201", "new": true, "objectWriteTraceId": "id-2"}, {"id": "101", "new": false, "objectWriteTraceId": "id-1"}]}');
SELECT judged('hubspot.contacts', 'upsert', 2, 207, '{"status": "COMPLETE", "results": [{"id": "101", "objectWriteTraceId": "id-1"}], "numErrors": 1, "errors": [{"status": "error",
	"category": "VALIDATION_ERROR", "message": "Property values were not valid", "context": {"objectWriteTraceId": ["id-2"]}}]}');
SELECT judged('hubspot.contacts', 'upsert', 2, 207, '{"status": "COMPLETE", "results": [{"id": "101", "objectWriteTraceId": "id-1"}], "numErrors": 1, "errors": []}');
SELECT judged('hubspot.contacts', 'upsert', 2, 200, '{"status": "COMPLETE", "results": [], "errors": []}');
SELECT judged('hubspot.contacts', 'upsert', 2, 400, '{"status": "error", "message": "Invalid input JSON on line 3", "category": "VALIDATION_ERROR"}');
SELECT judged('hubspot.contacts', 'upsert', 2, 409, '{"status": "error", "message": "Contact already exists. Existing ID: 1", "category": "CONFLICT"}');
SELECT judged('hubspot.contacts', 'upsert', 2, 429, '{"status": "error", "message": "You have reached your daily limit.", "errorType": "RATE_LIMIT", "policyName": "DAILY"}');
SELECT judged('hubspot.contacts', 'delete', 1, 204, '');

SELECT declare_shipped('intercom');
SELECT judged('intercom.companies', 'upsert', 1, 200, '{"type": "company", "id": "531ee472", "company_id": "1"}');
SELECT judged('intercom.companies', 'upsert', 1, 400, '{"type": "error.list", "errors": [{"code": "bad_request", "message": "bad test parameter"}]}');
SELECT judged('intercom.companies', 'upsert', 1, 401, '{"type": "error.list", "errors": [{"code": "unauthorized", "message": "Access Token Invalid"}]}');
SELECT judged('intercom.companies', 'upsert', 1, 403, '{"type": "error.list", "errors": [{"code": "api_plan_restricted", "message": "Active subscription needed."}]}');
SELECT judged('intercom.companies', 'upsert', 1, 429, '{"type": "error.list", "errors": [{"code": "rate_limit_exceeded", "message": "The rate limit for the App has been exceeded"}]}');
SELECT judged('intercom.companies', 'delete', 1, 404, '{"type": "error.list", "errors": [{"code": "company_not_found", "message": "Company Not Found"}]}');

SELECT declare_shipped('klaviyo');
SELECT judged('klaviyo.profiles', 'upsert', 1, 201, '{"data": {"type": "profile", "id": "01GDDKASAP8TKDDA2GRZDSVP4H"}}');
SELECT judged('klaviyo.profiles', 'upsert', 1, 400, '{"errors": [{"id": "e", "status": 400, "code": "invalid", "title": "Invalid input.", "detail": "Invalid email address", "source": {"pointer": "/data/attributes/email"}}]}');
SELECT judged('klaviyo.profiles', 'upsert', 1, 429, '{"errors": [{"status": 429, "code": "throttled", "detail": "Request was throttled. Expected available in 2 seconds."}]}', 'Retry-After: 2');
SELECT judged('klaviyo.events', 'insert', 1, 202, '');

SELECT declare_shipped('stripe');
SELECT judged('stripe.prices', 'insert', 1, 200, '{"id": "price_1", "object": "price"}');
SELECT judged('stripe.prices', 'insert', 1, 400, '{"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such product: ''p1''"}}', 'Stripe-Should-Retry: false');
SELECT judged('stripe.prices', 'insert', 1, 409, '{"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": "There is currently another in-progress request"}}');
SELECT judged('stripe.prices', 'insert', 1, 429, '{"error": {"type": "invalid_request_error", "code": "lock_timeout", "message": "This object cannot be accessed right now"}}');
SELECT judged('stripe.prices', 'insert', 1, 429, '{"error": {"code": "rate_limit", "message": "Too many requests"}}');
SELECT judged('stripe.prices', 'insert', 1, 402, '{"error": {"type": "card_error", "message": "declined"}}', 'Stripe-Should-Retry: true');

SELECT declare_shipped('slack');
SELECT judged('slack.messages', 'insert', 1, 200, '{"ok": true, "channel": "C1", "ts": "1503435956.000247"}');
SELECT judged('slack.messages', 'insert', 1, 200, '{"ok": false, "error": "' || e || '"}')
  FROM unnest('{channel_not_found,ratelimited,invalid_auth,missing_scope,internal_error,no_text}'::text[]) e;
SELECT judged('slack.messages', 'insert', 1, 429, '', 'Retry-After: 30'), judged('slack.messages', 'delete', 1, 200, '{"ok": false, "error": "message_not_found"}');

SELECT declare_shipped('customerio');
SELECT judged('customerio.people', 'upsert', 2, 200, '{}');
SELECT judged('customerio.people', 'upsert', 2, 207, '{"errors": [{"batch_index": 1, "reason": "invalid", "field": "identifiers", "message": "identifiers.id must be a string"}]}');
SELECT judged('customerio.people', 'upsert', 2, 400, '{"errors": [{"reason": "invalid", "message": "malformed JSON"}]}');

SELECT declare_shipped('mailchimp');
SELECT judged('mailchimp.members', 'upsert', 2, 200, '{"new_members": [{"id": "' || md5('a1@x.test') || '", "email_address": "a1@x.test"}], "updated_members": [], "errors": [{"email_address": "a2@x.test",
	"error": "a2@x.test looks fake or invalid, please enter a real email address.", "error_code": "ERROR_GENERIC"}], "total_created": 1, "total_updated": 0, "error_count": 1}');
SELECT judged('mailchimp.members', 'upsert', 2, 200, '{"new_members": [], "updated_members": [{"id": "' || md5('a1@x.test') || '", "email_address": "A1@X.test"}, {"id": "' || md5('a2@x.test') || '", "email_address": "a2@x.test"}], "errors": [], "error_count": 0}');
SELECT judged('mailchimp.members', 'upsert', 2, 400, '{"title": "Invalid Resource", "status": 400, "detail": "The resource submitted could not be validated."}');
SELECT judged('mailchimp.members', 'delete', 1, 204, ''), judged('mailchimp.members', 'delete', 1, 405, '{"title": "Method Not Allowed", "detail": "This list member cannot be removed."}');

SELECT declare_shipped('zendesk');
SELECT judged('zendesk.users', 'upsert', 1, 201, '{"user": {"id": 35436, "name": "Roger Wilco"}}');
SELECT judged('zendesk.users', 'upsert', 1, 422, '{"error": "RecordInvalid", "description": "Record validation errors", "details": {"email": [{"description": "Email: a is not properly formatted"}]}}');
SELECT judged('zendesk.users', 'upsert', 1, 409, '{"error": "DatabaseConflict", "description": "Database collision"}'), judged('zendesk.users', 'upsert', 1, 429, '', 'Retry-After: 93');

SELECT declare_shipped('segment');
SELECT judged('segment.track', 'insert', 2, 200, '{"success": true}');
SELECT judged('segment.track', 'insert', 2, 400, '{"success": false, "message": "malformed JSON"}');

SELECT declare_shipped('sendgrid');
SELECT judged('sendgrid.contacts', 'delete', 1, 202, '{"job_id": "c1"}'), judged('sendgrid.contacts', 'delete', 1, 403, '{"errors": [{"message": "access forbidden"}]}');

\pset format aligned
\pset tuples_only off
SET client_min_messages = warning;
SELECT string_agg(format('DROP SERVER %I CASCADE; DROP SCHEMA %I CASCADE;', srvname, srvname), ' ' ORDER BY srvname)
  FROM pg_foreign_server WHERE srvname IN ('hubspot', 'intercom', 'klaviyo', 'stripe', 'slack', 'customerio', 'mailchimp', 'zendesk', 'segment', 'sendgrid') \gexec
DROP SCHEMA shipped_answer CASCADE;
