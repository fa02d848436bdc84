-- OpenAPI documents as connectors: what is made of them, what they do not tell, and what they may do to us.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA openapi_test;
CREATE TABLE openapi_test.document (name text PRIMARY KEY, document jsonb);
INSERT INTO openapi_test.document VALUES ('crm', '{
  "openapi": "3.0.3",
  "info": {"title": "A CRM of nobody", "version": "1.2"},
  "servers": [{"url": "/relative"}, {"url": "https://{region}.crm.example/", "variables": {"region": {"default": "eu"}}}],
  "paths": {
    "/v1/contacts": {
      "parameters": [{"name": "X-Version", "in": "header", "required": true, "schema": {"type": "string", "default": "2026-01"}}],
      "get": {
        "parameters": [{"$ref": "#/components/parameters/after"}, {"name": "page_size", "in": "query", "schema": {"type": "integer", "maximum": 200}}],
        "responses": {"200": {"content": {"application/json; charset=utf-8": {"schema": {"type": "object", "properties": {
          "contacts": {"type": "array", "items": {"$ref": "#/components/schemas/contact"}},
          "paging": {"type": "object", "properties": {"next": {"type": "object", "properties": {"cursor": {"type": "string"}}}}}}}}}}}},
      "post": {"requestBody": {"content": {"application/json": {"schema": {"type": "object", "properties": {"contact": {"$ref": "#/components/schemas/contact"}}}}}},
        "responses": {"201": {"content": {"application/json": {"schema": {"type": "object", "properties": {"contact": {"$ref": "#/components/schemas/contact"}}}}}}}}
    },
    "/v1/contacts/{contact_id}": {
      "patch": {"requestBody": {"$ref": "#/components/requestBodies/change"}},
      "delete": {"responses": {"204": {}}}
    },
    "/v1/contacts/{contact_id}/notes": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/note"}}}}}}},
      "post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/note"}}}}}},
    "/v1/contacts/search": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/contact"}}}}}},
    "/v1/events": {"post": {"operationId": "upsertEvents", "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["events", "kind"], "properties": {
        "kind": {"type": "string", "enum": ["import"]}, "dry": {"type": "boolean"},
        "events": {"type": "array", "maxItems": 500, "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "format": "int64"}, "at": {"type": "integer", "format": "unix-time"}}}}}}}}}}},
    "/v1/logs": {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "object", "properties": {"line": {"type": "string"}}}}}}}}},
    "/v1/profiles/{id}": {"put": {"requestBody": {"content": {"application/vnd.api+json": {"schema": {"type": "object", "properties": {"data": {"type": "object", "properties": {
        "type": {"type": "string", "enum": ["profile"]}, "id": {"type": "string"}, "attributes": {"type": "object", "properties": {"email": {"type": "string"}}}}}}}}}}}},
    "/v1/charges": {"post": {"parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}, {"name": "mode", "in": "query", "required": true, "schema": {"type": "string"}}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object", "required": ["amount"], "properties": {
        "amount": {"type": "integer"}, "card": {"anyOf": [{"type": "object", "properties": {"number": {"type": "string"}}}, {"type": "string", "enum": [""]}]}, "tags": {"type": "array", "items": {"type": "string"}}}}}}},
        "responses": {"200": {"content": {"application/json": {"schema": {"properties": {"ok": {"type": "boolean"}, "error": {"type": "string"}, "id": {"type": "string"}}}}}}}}},
    "/v1/files": {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}}}}}},
    "/v1/blobs": {"put": {"requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}}}}
  },
  "components": {
    "parameters": {"after": {"name": "after", "in": "query", "schema": {"type": "string"}}},
    "requestBodies": {"change": {"content": {"application/json": {"schema": {"type": "object", "properties": {"contact": {"type": "object", "properties": {"email": {"type": "string", "maxLength": 20}, "status": {"type": "string"}}}}}}}}},
    "schemas": {
      "base": {"type": "object", "required": ["email"], "properties": {"id": {"type": "string", "readOnly": true}, "email": {"type": "string", "maxLength": 20}}},
      "contact": {"allOf": [{"$ref": "#/components/schemas/base"}, {"type": "object", "properties": {
        "plan": {"type": "string", "enum": ["free", "paid", null], "nullable": true},
        "born": {"type": "string", "format": "date"}, "seen": {"type": "string", "format": "date-time"},
        "score": {"type": "number"}, "visits": {"type": "integer", "format": "int32"}, "vip": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}}, "address": {"type": "object"},
        "parent": {"$ref": "#/components/schemas/contact"}, "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}]},
      "note": {"type": "object", "properties": {"id": {"type": "string", "readOnly": true}, "text": {"type": "string"}}}},
    "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
      "oauth": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "https://login.crm.example/token", "scopes": {}}}}}
  }}');

SELECT activate_openapi(document, 'openapi_crm') FROM openapi_test.document WHERE name = 'crm';
SELECT definition - 'objects' - 'gaps' AS whole FROM activate.connector WHERE name = 'openapi_crm';
SELECT o.key AS object, o.value - 'columns' AS what FROM activate.connector c, jsonb_each(c.definition -> 'objects') o WHERE c.name = 'openapi_crm' ORDER BY 1;
SELECT o.key AS object, x.key AS col, x.value FROM activate.connector c, jsonb_each(c.definition -> 'objects') o, jsonb_each(o.value -> 'columns') x
 WHERE c.name = 'openapi_crm' ORDER BY 1, 2;
SELECT * FROM activate_connector_gaps('openapi_crm');

-- typed tables, by IMPORT FOREIGN SCHEMA
CREATE SERVER openapi_crm FOREIGN DATA WRAPPER activate OPTIONS (connector 'openapi_crm');
CREATE SCHEMA openapi_crm;
IMPORT FOREIGN SCHEMA x LIMIT TO (contacts, contacts_notes) FROM SERVER openapi_crm INTO openapi_crm;
IMPORT FOREIGN SCHEMA x EXCEPT (contacts, contacts_notes, logs) FROM SERVER openapi_crm INTO openapi_crm;
SELECT c.relname, string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) AS columns
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relnamespace = 'openapi_crm'::regnamespace GROUP BY 1 ORDER BY 1;

-- the requests that rows make
CREATE FUNCTION openapi_test.sends(foreign_table regclass, rows jsonb) RETURNS text LANGUAGE sql
AS $$SELECT concat_ws(' ', r ->> 'method', r ->> 'url', r ->> 'type', r ->> 'body') FROM activate._connector_request($1, $2) r$$;
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "insert", "row": {"email": "ada@example.com", "plan": null, "visits": null, "parent": {"email": "b"}}}]');
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "update", "target_key": {"id": "c1"}, "row": {"id": "c1", "email": "ada@example.com", "vip": true}}]');
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "delete", "target_key": {"id": "c1"}}]');
SELECT openapi_test.sends('openapi_crm.contacts_notes', '[{"op": "insert", "row": {"contact_id": "c1", "text": "hello"}}]');
SELECT openapi_test.sends('openapi_crm.events', '[{"op": "upsert", "row": {"id": 1, "at": "2026-01-01T00:00:00Z"}}, {"op": "upsert", "row": {"id": 2, "at": null}}]');
SELECT openapi_test.sends('openapi_crm.profiles', '[{"op": "upsert", "row": {"id": "p1", "email": "ada@example.com"}}]');
SELECT openapi_test.sends('openapi_crm.charges', '[{"op": "insert", "row": {"mode": "test", "amount": 5, "card": {"number": "4242"}, "tags": ["a", "b"]}}]');
-- what is known to be refused is not sent
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "insert", "row": {"vip": true}}]');
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "insert", "row": {"email": null}}]');
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "insert", "row": {"email": "much.too.long@example.com"}}]');
SELECT openapi_test.sends('openapi_crm.contacts', '[{"op": "insert", "row": {"email": "ä.ö.ü.ß.é@example.ex", "plan": "gold"}}]');
-- an answer in which 2xx is a failure; the id that the API gave
SELECT activate._connector_answer('openapi_crm.charges', '[{"op": "insert", "row": {"amount": 5}}]', 200, '{"ok": false, "error": "no funds"}');
SELECT activate._connector_answer('openapi_crm.contacts', '[{"op": "insert", "row": {"email": "a"}}]', 201, '{"contact": {"id": "c9"}}');

-- what the user fills in is kept by the options; chosen objects, with names of their own
SELECT activate_openapi(document, 'openapi_some', '{"base_url": "https://crm.example", "objects": {"people": "/v1/contacts", "log": "/v1/logs"},
	"definition": {"rate": [{"calls": 10, "per": "1s"}], "objects": {"log": {"key": "line", "write": {"insert": {"batch": 50, "answer": {"shape": "errors", "path": "errors", "index": "row"}}}}}}}')
  FROM openapi_test.document WHERE name = 'crm';
SELECT o.key, definition ->> 'base_url' AS base_url FROM activate.connector c, jsonb_object_keys(c.definition -> 'objects') o(key) WHERE c.name = 'openapi_some';
SELECT object, member FROM activate_connector_gaps('openapi_some');

-- a second version: what changed, in the tables and beyond them
SELECT count(*) AS drift FROM activate_drift_of('openapi_crm') WHERE change <> 'object added';
UPDATE openapi_test.document SET document = document #- ARRAY['paths', '/v1/profiles/{id}'] #- '{components,schemas,contact,allOf,1,properties,vip}';
UPDATE openapi_test.document SET document = jsonb_set(document, '{components,schemas,contact,allOf,1,properties,plan,enum}', '["free", null]');
UPDATE openapi_test.document SET document = jsonb_set(document, '{components,schemas,contact,allOf,1,properties,visits}', '{"type": "number"}');
UPDATE openapi_test.document SET document = jsonb_set(jsonb_set(document, '{components,schemas,base,required}', '["email", "owner"]'),
	'{components,schemas,base,properties,owner}', '{"type": "string"}');
SELECT activate_openapi(document, 'openapi_crm') FROM openapi_test.document WHERE name = 'crm';
SELECT * FROM activate_drift_of('openapi_crm');
-- the same once more changes nothing, and what is told stays
SELECT activate_openapi(document, 'openapi_same') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'openapi_same') FROM openapi_test.document WHERE name = 'crm';
SELECT definition -> 'drift' AS drift FROM activate.connector WHERE name = 'openapi_same';
SELECT * FROM activate_drift_of('nobody');
SELECT * FROM activate_connector_gaps('nobody');

-- Swagger 2.0
SELECT activate_openapi('{"swagger": "2.0", "host": "api.example", "basePath": "/v2", "schemes": ["http", "https"], "consumes": ["application/json"],
  "securityDefinitions": {"o": {"type": "oauth2", "flow": "accessCode", "tokenUrl": "https://api.example/token", "authorizationUrl": "https://api.example/auth"}, "b": {"type": "basic"}},
  "definitions": {"pet": {"type": "object", "required": ["name"], "properties": {"id": {"type": "integer"}, "name": {"type": "string", "x-nullable": true}}}},
  "paths": {
    "/pets": {"get": {"parameters": [{"name": "page", "in": "query", "type": "integer", "default": 1}, {"name": "per_page", "in": "query", "type": "integer", "default": 50}],
        "responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/pet"}}}}},
      "post": {"parameters": [{"name": "pet", "in": "body", "schema": {"$ref": "#/definitions/pet"}}], "responses": {"200": {"schema": {"$ref": "#/definitions/pet"}}}}},
    "/chat.postMessage": {"post": {"consumes": ["application/x-www-form-urlencoded"], "parameters": [{"name": "token", "in": "header", "type": "string", "required": true},
      {"name": "channel", "in": "formData", "type": "string", "required": true}, {"name": "text", "in": "formData", "type": "string"}], "responses": {}}}}}', 'openapi_pets');
SELECT jsonb_pretty(definition - 'gaps') FROM activate.connector WHERE name = 'openapi_pets';
SELECT * FROM activate_connector_gaps('openapi_pets') WHERE member IN ('secret', 'auth');

-- OpenAPI 3.1: types in lists, constants
SELECT activate_openapi('{"openapi": "3.1.0", "servers": [{"url": "https://x.example"}], "paths": {"/things": {"post": {"requestBody": {"content": {"*/*": {"schema":
  {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"const": "x"}, "c": {"type": ["string", "integer"]}, "d": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "e": true}}}}}}}}}', 'openapi_things');
SELECT definition -> 'objects' -> 'things' -> 'columns' FROM activate.connector WHERE name = 'openapi_things';

-- Parameters that take several values, joined or repeated; what they are called like is offered, and not believed; lists of what elements may be
CREATE FUNCTION openapi_test.listed(parameters jsonb, swagger boolean DEFAULT false) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object(CASE WHEN swagger THEN 'swagger' ELSE 'openapi' END, CASE WHEN swagger THEN '2.0' ELSE '3.0.0' END, 'host', 'x.example', 'servers', '[{"url": "https://x.example"}]'::jsonb,
		'paths', jsonb_object_agg('/' || p.key, jsonb_build_object('get', jsonb_build_object('parameters', jsonb_build_array(p.value || '{"in": "query"}'), 'responses', jsonb_build_object('200',
			CASE WHEN swagger THEN s ELSE jsonb_build_object('content', jsonb_build_object('application/json', s)) END)))))
	  FROM jsonb_each(parameters) p, (SELECT '{"schema": {"type": "array", "items": {"properties": {"id": {"type": "integer"}, "status": {"type": "string"}}}}}'::jsonb) x (s)
$$;
SELECT activate_openapi(openapi_test.listed('{
	"usual": {"name": "id", "required": true, "schema": {"type": "array", "items": {"type": "integer"}, "maxItems": 20}},
	"commas": {"name": "ids", "required": true, "explode": false, "schema": {"type": "array", "items": {"type": "integer"}}},
	"pipes": {"name": "status", "required": true, "style": "pipeDelimited", "schema": {"type": "array", "items": {"type": "string"}}},
	"php": {"name": "id[]", "required": true, "style": "form", "explode": true, "schema": {"type": "array"}},
	"unknown": {"name": "tenant", "required": true, "schema": {"type": "array", "items": {"type": "string"}}},
	"one": {"name": "status", "required": true, "schema": {"type": "string"}},
	"optional": {"name": "status", "schema": {"type": "array"}},
	"neither": {"name": "statuses", "schema": {"type": "string"}}}'), 'openapi_lists');
SELECT o.key, o.value #> '{read,filter}' AS filter FROM activate.connector c, jsonb_each(c.definition -> 'objects') o WHERE c.name = 'openapi_lists' ORDER BY 1;
SELECT object, gap, example FROM activate_connector_gaps('openapi_lists') WHERE member = 'read.filter';
SELECT activate_openapi(openapi_test.listed('{
	"usual": {"name": "id", "required": true, "type": "array", "items": {"type": "integer"}},
	"multi": {"name": "id", "required": true, "type": "array", "items": {"type": "integer"}, "collectionFormat": "multi"},
	"optional": {"name": "id", "type": "array", "items": {"type": "integer"}, "collectionFormat": "ssv"}}', true), 'openapi_lists');
SELECT o.key, o.value #> '{read,filter}' AS filter FROM activate.connector c, jsonb_each(c.definition -> 'objects') o WHERE c.name = 'openapi_lists' ORDER BY 1;
SELECT object, example FROM activate_connector_gaps('openapi_lists') WHERE member = 'read.filter';
SELECT activate_openapi('{"openapi": "3.0.0", "servers": [{"url": "https://x.example"}], "paths": {"/tags": {"post": {"requestBody": {"content": {"application/json": {"schema": {"properties": {
	"colors": {"type": "array", "items": {"type": "string", "enum": ["red", "blue"]}}, "sizes": {"type": "array", "items": {"type": "integer", "enum": [1, 2]}},
	"any": {"type": "array", "items": {"enum": [true, "x"]}}, "open": {"type": "array", "items": {"type": "string"}}}}}}}}}}}', 'openapi_tags');
SELECT definition #> '{objects,tags,columns}' FROM activate.connector WHERE name = 'openapi_tags';

-- Names that are none of SQL's, or of ours; a path without a name
SELECT activate_openapi(jsonb_build_object('openapi', '3.0.0', 'paths', jsonb_build_object(
	'/{x}', '{"put": {"requestBody": {"content": {"application/json": {"schema": {"properties": {"a": {"type": "string"}}}}}}}}'::jsonb,
	'/' || repeat('long', 30), '{"post": {"requestBody": {"content": {"application/json": {"schema": {"properties": {"a": {"type": "string"}}}}}}}}'::jsonb,
	'/a b/{q"t}', '{"put": {"requestBody": {"content": {"application/json": {"schema": {"properties": {"a": {"type": "string"}}}}}}}}'::jsonb,
	'/odd', jsonb_build_object('post', jsonb_build_object('requestBody', jsonb_build_object('content', jsonb_build_object('application/json', jsonb_build_object('schema',
		jsonb_build_object('properties', jsonb_build_object('ctid', '{"type": "string"}'::jsonb, 'remote_id', '{"type": "string"}'::jsonb, 'a.b', '{"type": "string"}'::jsonb, 'a{b}', '{"type": "string"}'::jsonb,
		'$top', '{"type": "string"}'::jsonb, E'tab\there', '{"type": "string"}'::jsonb, '', '{"type": "string"}'::jsonb, repeat('x', 70), '{"type": "string"}'::jsonb, 'nameOf' || repeat('ThePerson', 7), '{"type": "string"}'::jsonb, 'nameOf' || repeat('ThePerson', 8), '{"type": "string"}'::jsonb, repeat('ü', 40), '{"type": "string"}'::jsonb, 'ümlaut', '{"type": "string"}'::jsonb,
		'7', '{"type": "string"}'::jsonb, 'quote"d', '{"type": "string"}'::jsonb))))))))), 'openapi_names');
SELECT activate_target('openapi_names', 'openapi_names', '{"base_url": "https://names.example"}');
SELECT c.relname, string_agg(quote_ident(attname), ' ' ORDER BY attname COLLATE "C") FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relnamespace = 'openapi_names'::regnamespace GROUP BY 1 ORDER BY 1;
SELECT openapi_test.sends('openapi_names.odd', '[{"op": "insert", "row": {"ctid_": "1", "remote_id_": "2", "a.b": "3", "a_b_": "4", "top": "5", "tab_here": "6", "7": "7"}}]');

-- References in circles, to nowhere and elsewhere; members that are not what they should be; schemas without an end
SELECT activate_openapi('{"openapi": "3.0.0", "servers": [{"url": "https://x.example"}], "paths": {
  "/a": {"post": {"requestBody": {"content": {"application/json": {"example": null, "schema": {"$ref": "#/components/schemas/a"}}}}}},
  "/b": {"$ref": "#/paths/~1b"}, "/c": {"$ref": "#/paths/~1a"}, "/d": 5, "/e": null, "/f": {"get": [], "post": "x", "parameters": {"a": 1}},
  "/g": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "https://elsewhere.example/x.json#/y"}}}}}},
  "/h": {"post": {"requestBody": {"$ref": "#/components/nowhere"}, "parameters": [null, 5, {"in": 5, "name": []}, {"$ref": 7}]}},
  "/i": {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": 5, "properties": {"p": null, "q": {"enum": "x"}, "r": {"nullable": true}, "s": {"type": "string", "enum": [[1]]}}, "required": {"p": 1}, "allOf": 7}}}}}},
  "/j": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/a"}}}}}, "default": null}}},
  "nopath": {}, "/k": {"post": {"requestBody": {"content": {}}}}},
  "components": {"schemas": {"a": {"type": "object", "properties": {"a": {"$ref": "#/components/schemas/a"}, "list": {"type": "array", "items": {"$ref": "#/components/schemas/a"}}, "loop": {"$ref": "#/components/schemas/loop"},
     "gone": {"$ref": "#/components/schemas/gone"}, "far": {"$ref": "other.json"}, "bad": {"$ref": "#/components/%zz/~2"}, "text": {"type": "string"}}, "allOf": [{"$ref": "#/components/schemas/a"}]},
     "loop": {"$ref": "#/components/schemas/loop"}}}}', 'openapi_hostile');
SELECT o.key, o.value -> 'columns' AS columns FROM activate.connector c, jsonb_each(c.definition -> 'objects') o WHERE c.name = 'openapi_hostile' ORDER BY 1;
SELECT object, member, gap FROM activate_connector_gaps('openapi_hostile') WHERE member IS NULL OR member ~ 'write';
-- 2^60 schemas by reference, and 5000 in one another
SELECT activate_openapi(jsonb_build_object('openapi', '3.0.0', 'servers', '[{"url": "https://x.example"}]'::jsonb, 'paths', '{"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/s60"}}}}}}}'::jsonb,
	'components', jsonb_build_object('schemas', (SELECT jsonb_object_agg('s' || i, CASE WHEN i = 0 THEN '{"type": "object", "properties": {"x": {"type": "string"}}}'
		ELSE format('{"properties": {"p%1$s": {"allOf": [{"$ref": "#/components/schemas/s%2$s"}, {"$ref": "#/components/schemas/s%2$s"}]}}, "allOf": [{"$ref": "#/components/schemas/s%2$s"}, {"$ref": "#/components/schemas/s%2$s"}]}', i, i - 1) END::jsonb)
		FROM generate_series(0, 60) i))), 'openapi_wide');
SELECT object, member, gap FROM activate_connector_gaps('openapi_wide') WHERE member ~ 'columns';
-- 20,000 members 1000 times; names of 100 kB; names that nobody tells from one another
SELECT activate_openapi(jsonb_build_object('openapi', '3.0.0', 'servers', '[{"url": "https://x.example"}]'::jsonb,
	'paths', '{"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/many"}}}}}},
		"/b": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/long"}}}}}},
		"/c": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/alike"}}}}}}}'::jsonb,
	'components', jsonb_build_object('schemas', jsonb_build_object(
		'some', jsonb_build_object('properties', (SELECT jsonb_object_agg('p' || i, '{"type": "string"}'::jsonb) FROM generate_series(1, 20000) i), 'required', (SELECT jsonb_agg('p' || i) FROM generate_series(1, 20000) i)),
		'many', jsonb_build_object('properties', '{"first": {"type": "string"}}'::jsonb, 'allOf', (SELECT jsonb_agg('{"$ref": "#/components/schemas/some"}'::jsonb) FROM generate_series(1, 1000))),
		'one', jsonb_build_object('properties', jsonb_build_object(repeat('x', 100000), '{"type": "string"}'::jsonb)),
		'long', jsonb_build_object('allOf', (SELECT jsonb_agg('{"$ref": "#/components/schemas/one"}'::jsonb) FROM generate_series(1, 2000))),
		'alike', jsonb_build_object('properties', (SELECT jsonb_object_agg(translate(lpad(to_hex(i), 3, '0'), '0123456789abcdef', E'{}\b\f\n\r\tv,\001\002\003\004\005\006\007'), '{"type": "string"}'::jsonb) FROM generate_series(1, 900) i))))), 'openapi_many');
SELECT object, member, gap FROM activate_connector_gaps('openapi_many') WHERE member ~ 'columns';
SELECT o.key, (SELECT count(*) FROM jsonb_object_keys(o.value -> 'columns')) AS columns FROM activate.connector c, jsonb_each(c.definition -> 'objects') o WHERE c.name = 'openapi_many' ORDER BY 1;
SELECT activate_openapi(jsonb_build_object('openapi', '3.0.0', 'paths', jsonb_build_object('/a', jsonb_build_object('post', jsonb_build_object('requestBody', jsonb_build_object('content', jsonb_build_object('application/json',
	jsonb_build_object('schema', (repeat('{"properties": {"x": ', 2000) || '{"type": "string"}' || repeat('}}', 2000))::jsonb))))))), 'openapi_deep');
SELECT definition #> '{objects,a,columns}' FROM activate.connector WHERE name = 'openapi_deep';

-- What is no document, or gives nothing, is told so
SELECT activate_openapi('[]', 'openapi_bad');
SELECT activate_openapi('5', 'openapi_bad');
SELECT activate_openapi('{"openapi": "4.0", "paths": {}}', 'openapi_bad');
SELECT activate_openapi('{"swagger": 1.2, "paths": {}}', 'openapi_bad');
SELECT activate_openapi('{"openapi": "3.0.0"}', 'openapi_bad');
SELECT activate_openapi('{"openapi": "3.0.0", "paths": {}}', 'openapi_bad');
SELECT activate_openapi('{"openapi": "3.0.0", "paths": {"/x": {"post": {"requestBody": {"content": {"text/xml": {}}}}}}}', 'openapi_bad');
SELECT activate_openapi(document, 'openapi_bad', '{"objects": ["/nothing"]}') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'openapi_bad', '{"object": ["/nothing"]}') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'openapi_bad', '[]') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'openapi_bad', '{"definition": {"rates": 5}}') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'Bad Name') FROM openapi_test.document WHERE name = 'crm';
SELECT activate_openapi(document, 'stripe') FROM openapi_test.document WHERE name = 'crm';

-- Who may: administrators define, everybody reads
CREATE ROLE openapi_test_nobody;
GRANT USAGE ON SCHEMA openapi_test TO openapi_test_nobody;
GRANT SELECT ON openapi_test.document TO openapi_test_nobody;
SET ROLE openapi_test_nobody;
SELECT activate_openapi(document, 'openapi_mine') FROM openapi_test.document WHERE name = 'crm';
SELECT count(*) > 0 AS told FROM activate_connector_gaps('openapi_crm');
SELECT count(*) FROM activate_drift_of('openapi_crm');
RESET ROLE;

-- a definition that was imported is part of the script that rebuilds all
SELECT count(*) FROM activate_export() e WHERE e ~ 'activate_connector' AND e ~ 'openapi_crm';

SET client_min_messages = warning;
DROP SERVER openapi_crm CASCADE;
DROP SCHEMA openapi_crm, openapi_test CASCADE;
DROP SCHEMA openapi_names CASCADE;
DROP SERVER openapi_names CASCADE;
DROP ROLE openapi_test_nobody;
DELETE FROM activate.connector WHERE name ~ '^openapi_';
