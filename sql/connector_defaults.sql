-- Objects that users make: "defaults" of a definition, and the shipped connectors that have them.  Nothing is sent.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
SET TimeZone = 'UTC';
CREATE SCHEMA defaults_test;
SET search_path = defaults_test, public;
\pset format unaligned
\pset tuples_only on

-- method, URL, body of each operation for a row; a delete knows its key and the remote id
CREATE FUNCTION requests(tab regclass, "row" jsonb, key jsonb, ops text[] DEFAULT '{insert,update,upsert,delete}')
RETURNS TABLE (op text, request text, body text) LANGUAGE plpgsql AS $$
DECLARE
	r jsonb;
BEGIN
	FOREACH op IN ARRAY ops LOOP
		BEGIN
			r := activate._connector_request(tab, jsonb_build_array(jsonb_build_object('op', op, 'id', 'the-id', 'seq', 1, 'sync', 's',
				'key', key, 'target_key', key, 'remote_id', 'the-remote-id', 'row', CASE WHEN op <> 'delete' THEN "row" END)));
			request := concat_ws(' ', r ->> 'method', r ->> 'url');
			body := r ->> 'body';
		EXCEPTION WHEN OTHERS THEN
			request := SQLSTATE || ': ' || SQLERRM;
			body := NULL;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;

--
-- What the member does
--
SELECT activate_connector('{"name": "made", "base_url": "https://made.test",
	"defaults": {"path": "/o/{$object}", "key": "id", "columns": {"id": {"type": "bigint", "path": "meta.id"}, "seen": {"type": "date", "readonly": true}},
		"write": {"upsert": {"path": "/o/{$object}/{id}", "fixed": {"type": "{$object}"}}, "delete": {}}},
	"objects": {"Person": {"columns": {"name": "text"}}, "Odd": {"path": "/odd", "key": "name", "columns": {"name": "text", "id": "text"}, "write": {"delete": null}}}}');
SELECT activate_target('made', 'made', '{"objects": {"Order": {"columns": {"total": "numeric"}}}}');
SELECT c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relnamespace = 'made'::regnamespace GROUP BY 1 ORDER BY 1;
SELECT * FROM requests('made."Person"', '{"id": 7, "name": "Ada"}', '{"id": 7}');
SELECT * FROM requests('made."Order"', '{"id": 7, "total": 1.50}', '{"id": 7}', '{upsert}');
SELECT * FROM requests('made."Odd"', '{"id": "x", "name": "n"}', '{"name": "n"}', '{upsert,delete}');
-- of a table whose object is not listed: by its name, or by the option
CREATE FOREIGN TABLE made.other (id bigint, x text) SERVER made;
CREATE FOREIGN TABLE made.another (id bigint, x text) SERVER made OPTIONS (object 'Some_Thing__c');
SELECT * FROM requests('made.other', '{"id": 7, "x": null}', '{"id": 7}', '{upsert,delete}');
SELECT * FROM requests('made.another', '{"id": 7, "x": "y"}', '{"id": 7}', '{upsert}');
-- too little for an object that is not listed
SELECT activate_connector('{"name": "made_less", "base_url": "https://made.test", "defaults": {"key": "id"}, "objects": {"a": {"path": "/a", "columns": {"id": "int"}}}}');
SELECT activate_target('made_less', 'made_less');
CREATE FOREIGN TABLE made_less.b (id int) SERVER made_less;
SELECT activate._connector_request('made_less.b', '[{"op": "insert", "row": {"id": 1}}]');
-- what is wrong is said where it stands
SELECT activate_connector('{"name": "made_bad", "defaults": {"pth": "/o"}}');
SELECT activate_connector('{"name": "made_bad", "defaults": {"path": "/o/{$thing}"}, "objects": {"a": {}}}');
SELECT activate_connector('{"name": "made_bad", "base_url": "https://x.test/{$object}"}');
SELECT activate_connector('{"name": "made_bad", "defaults": {"path": "/o"}, "answer": {"rules": [{"status": 400}]}}');
SELECT activate_connector('{"name": "made_bad", "defaults": {"path": "/o"}, "throttle": {"codes": {"606": "20s"}}}');

--
-- parse
--
SELECT activate_target('parse', 'parse', '{"base_url": "https://app.test/parse", "headers": {"X-Parse-Application-Id": "app"},
	"objects": {"Contact": {"columns": {"number": "integer", "email": "text"}}}}', '{"header": {"X-Parse-Master-Key": "hidden"}}');
SELECT * FROM requests('parse."Contact"', '{"number": 7, "email": "ada@x.test"}', '{"objectId": "Ab12"}');
SELECT a -> 'rows' -> 0 FROM activate._connector_answer('parse."Contact"', '[{"op": "insert", "row": {"number": 7}}]', 201, '{"objectId": "Ab12", "createdAt": "2026-01-31T12:00:00.000Z"}') a;
SELECT a -> 'rows' -> 0 FROM activate._connector_answer('parse."Contact"', '[{"op": "insert", "row": {"number": 7}}]', 400, '{"code": 137, "error": "A duplicate value for a field with unique values was provided"}') a;
SELECT a -> 'rows' -> 0 FROM activate._connector_answer('parse."Contact"', '[{"op": "insert", "row": {"number": 7}}]', 500, '{"code": 1, "message": "Internal server error."}') a;
SELECT a ->> 'retry_after_ms', a -> 'rows' -> 0 FROM activate._connector_answer('parse."Contact"', '[{"op": "insert", "row": {"number": 7}}]', 400, '{"code": 100, "error": "Too many requests."}') a;

-- by another key, that is looked for
CREATE FOREIGN TABLE parse.person (ref text, email text) SERVER parse OPTIONS (object 'Person', parameters '{"identified_by": "ref"}');
SELECT * FROM requests('parse.person', '{"ref": "p7", "email": "ada@x.test"}', '{"ref": "p7"}');

--
-- directus
--
SELECT activate_target('directus', 'directus', '{"base_url": "https://data.test", "objects": {"contacts": {"columns": {"id": "bigint", "email": "text", "score": "numeric"}}}}', '{"bearer": "hidden"}');
SELECT * FROM requests('directus.contacts', '{"id": 7, "email": "ada@x.test", "score": 1.5}', '{"id": 7}');

--
-- salesforce
--
SELECT activate_target('salesforce', 'salesforce', '{"parameters": {"domain": "acme", "external_id": "Ext__c"},
	"objects": {"Contact": {"columns": {"Ext__c": "text", "Email": "text", "Score__c": "numeric"}}}}', '{"oauth2": {"client_id": "me", "client_secret": "hidden", "refresh_token": "hidden"}}');
SELECT * FROM requests('salesforce."Contact"', '{"Ext__c": "7", "Email": "ada@x.test", "Score__c": null}', '{"Ext__c": "7"}');
SELECT r -> 'class', r -> 'reason', r -> 'remote_id' FROM activate._connector_answer('salesforce."Contact"', '[{"op": "upsert", "row": {"Ext__c": "7"}}, {"op": "upsert", "row": {"Ext__c": "8"}}, {"op": "upsert", "row": {"Ext__c": "9"}}]', 200,
	'[{"id": "003x", "success": true, "errors": [], "created": true}, {"success": false, "errors": [{"statusCode": "REQUIRED_FIELD_MISSING", "message": "Required fields are missing: [LastName]", "fields": ["LastName"]}]},
	  {"success": false, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access to this record", "fields": []}]}]') a, jsonb_array_elements(a -> 'rows') r;
SELECT status, a -> 'class', a -> 'retry_after_ms' FROM (VALUES (401, 'INVALID_SESSION_ID'), (500, 'INVALID_SESSION_ID'), (403, 'REQUEST_LIMIT_EXCEEDED'), (503, 'SERVER_UNAVAILABLE'), (400, 'JSON_PARSER_ERROR')) e (status, code),
	activate._connector_answer('salesforce."Contact"', '[{"op": "upsert", "row": {"Ext__c": "7"}}]', status, convert_to(format('[{"message": "why", "errorCode": "%s"}]', code), 'UTF8')) a;

--
-- google_sheets, airtable, notion
--
SELECT activate_target('google_sheets', 'google_sheets', '{"parameters": {"spreadsheet_id": "abc"}}');
CREATE FOREIGN TABLE google_sheets."Sheet1" (day date, orders integer, note text) SERVER google_sheets;
SELECT * FROM requests('google_sheets."Sheet1"', '{"day": "2026-01-31", "orders": 7, "note": null}', NULL, '{insert}');
SELECT activate_target('airtable', 'airtable', '{"parameters": {"base_id": "appX", "merge_on": "Email"}, "objects": {"Contacts": {"columns": {"Email": "text", "Score": "numeric"}}}}', '{"bearer": "hidden"}');
SELECT * FROM requests('airtable."Contacts"', '{"Email": "ada@x.test", "Score": 1.5}', '{"Email": "ada@x.test"}');
SELECT r -> 'class', r -> 'remote_id' FROM activate._connector_answer('airtable."Contacts"', '[{"op": "upsert", "row": {"Email": "a@x.test"}}, {"op": "upsert", "row": {"Email": "b@x.test"}}]', 200,
	'{"records": [{"id": "rec2", "fields": {"Email": "b@x.test"}}, {"id": "rec1", "fields": {"Email": "a@x.test"}}], "createdRecords": ["rec2"], "updatedRecords": ["rec1"]}') a, jsonb_array_elements(a -> 'rows') r;
SELECT activate_target('notion', 'notion', '{"parameters": {"database_id": "db1"}, "objects": {"people": {"columns": {"name": {"path": "Name.title.0.text.content"}, "email": {"path": "Email.email"},
	"score": {"type": "numeric", "path": "Score.number"}, "due": {"type": "date", "path": "Due.date.start"}}}}}', '{"bearer": "hidden"}');
SELECT * FROM requests('notion.people', '{"key": "7", "name": "Ada", "email": null, "score": 1.5, "due": "2026-01-31"}', '{"key": "7"}');

--
-- google_ads_customer_match: what an object has in common with others is in "defaults"
--
SELECT activate_target('google_ads', 'google_ads_customer_match', '{"parameters": {"customer_id": "123", "login_customer_id": "9", "list_id": "77"}}');
SELECT * FROM requests('google_ads.emails', '{"email": " A.Da@Gmail.com"}', '{"email": "a.da@gmail.com"}', '{upsert,delete}');
SELECT * FROM requests('google_ads.members', '{"email": "ada@x.test", "phone": null}', NULL, '{upsert}');
SELECT * FROM requests('google_ads.members', '{"email": null, "phone": "+39 06 123"}', NULL, '{upsert}');
SELECT * FROM requests('google_ads.phones', '{"phone": "+39 06 123"}', NULL, '{upsert}');
SELECT * FROM requests('google_ads.mobile_ids', '{"mobile_id": "abc"}', NULL, '{upsert}');

\pset tuples_only off
\pset format aligned
SET client_min_messages = warning;
DROP SERVER made, made_less, parse, directus, salesforce, google_sheets, airtable, notion, google_ads CASCADE;
DROP SCHEMA defaults_test, made, made_less, parse, directus, salesforce, google_sheets, airtable, notion, google_ads CASCADE;
DELETE FROM activate.connector WHERE name LIKE 'made%';
