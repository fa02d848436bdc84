-- Operations that are accepted first and carried out later: what can be declared (docs/connectors.md).
SET client_min_messages = warning;

CREATE FUNCTION declare_job(operation text, more text DEFAULT '{}') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	PERFORM activate_target('jobs', 'rest', jsonb_build_object('base_url', 'https://api.example.com', 'objects', jsonb_build_object(
		'contacts', jsonb_build_object('path', '/contacts', 'key', 'id', 'columns', '{"id": "bigint", "email": "text"}'::jsonb,
			'write', jsonb_build_object('upsert', operation::jsonb) || more::jsonb))));
	PERFORM activate._connector_request('jobs.contacts', '[{"op": "upsert", "row": {"id": 1, "email": "a@x"}}]');
	RETURN 'declared';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', message, nullif(hint, ''));
END
$$;

-- rows with the first request, or with a step
SELECT declare_job('{"batch": 100, "job": {"id": "data.id", "poll": {"path": "/jobs/{job_id}", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 100, "path": "/jobs", "job": {"id_header": "Location", "body": {"object": "Contact"},
	"steps": [{"method": "PUT", "path": "/jobs/{job_id}/batches", "body": "rows"}, {"path": "/jobs/{job_id}/run", "idempotent": true}],
	"poll": {"path": "/jobs/{job_id}", "state": "state", "error": "message", "done": ["done"], "failed": ["broken"], "every": "10s", "timeout": "2 hours"},
	"results": [{"path": "/jobs/{job_id}/failed", "format": "csv", "class": "invalid_row", "answer": {"shape": "keyed", "key": "id", "error": "error"}},
		{"answer": {"shape": "errors", "path": "errors", "index": "position"}}],
	"unmentioned": "ok", "concurrent": 4}}');
-- what cannot be
SELECT declare_job('{"batch": 100, "job": {}}');
SELECT declare_job('{"batch": 100, "job": {"id": "id"}}');
SELECT declare_job('{"batch": 100, "job": {"id": "id", "poll": {"path": "/jobs/{job_id}"}}}');
SELECT declare_job('{"job": {"id": "id", "poll": {"path": "/jobs/{job_id}", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "poll": {"path": "/jobs/{email}", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "body": {}, "poll": {"path": "/jobs/{job_id}", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "steps": [{"path": "/x", "body": "rows"}], "poll": {"path": "/jobs", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "steps": [{"path": "/x", "body": "row"}], "poll": {"path": "/jobs", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "body": "rows", "poll": {"path": "/jobs", "state": "state", "done": ["done"]}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "poll": {"path": "/jobs", "state": "state", "done": "done"}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "poll": {"path": "/jobs", "state": "state", "done": ["done"], "every": "now"}}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "poll": {"path": "/jobs", "state": "state", "done": ["done"]}, "results": [{"answer": {"shape": "errors"}}]}}');
SELECT declare_job('{"batch": 2, "job": {"id": "id", "polls": {}}}');

-- by volume
SELECT declare_job('{"batch": 2, "choose": {"rows": 500, "operation": "bulk_upsert"}}',
	'{"bulk_upsert": {"batch": 1000, "job": {"id": "id", "poll": {"path": "/jobs/{job_id}", "state": "state", "done": ["done"]}}}}');
SELECT declare_job('{"batch": 2, "choose": {"rows": 500, "operation": "bulk_upsert"}}');
SELECT declare_job('{"batch": 2, "choose": {"rows": 500, "operation": "upsert"}}');
SELECT declare_job('{"batch": 2, "choose": {"operation": "bulk_upsert"}}');

-- search before write
SELECT declare_job('{"lookup": {"path": "/contacts/search", "query": {"email": "{email}"}, "records": "data", "id": "id"}}',
	'{"insert": {}, "update": {"path": "/contacts/{remote_id}"}}');
SELECT activate._connector_request('jobs.contacts', '[{"op": "upsert", "row": {"id": 1, "email": "a@x"}}]');
SELECT activate._connector_request('jobs.contacts', '[{"op": "upsert", "row": {"id": 1, "email": "a@x"}, "remote_id": "r1"}]');
SELECT declare_job('{"lookup": {"path": "/contacts/search", "body": {"query": "email = ''{email}''", "deep": [{"n": 1, "id": "{id}"}]}, "records": "data", "id": "id",
	"match": "email", "column": "email", "many": "reject", "conflict": [409, 422], "cost": 2}}', '{"insert": {}, "update": {"path": "/contacts/{remote_id}"}}');
SELECT activate._connector_request('jobs.contacts', '[{"op": "upsert", "row": {"id": 1, "email": "a@x"}}]');
SELECT activate._connector_request('jobs.contacts', $$[{"op": "upsert", "row": {"id": 1, "email": "a' OR '1"}}]$$);
-- what cannot be searched for so
SELECT declare_job('{"lookup": {"path": "/contacts/search", "id": "id"}}', '{"insert": {}}');
SELECT declare_job('{"lookup": {"path": "/contacts/search"}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"path": "/contacts/{mail}", "id": "id"}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"body": {"q": "{mail}"}, "id": "id"}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"id": "id", "match": "email"}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"id": "id", "many": "first"}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"id": "id", "conflict": 409}}', '{"insert": {}, "update": {}}');
SELECT declare_job('{"lookup": {"id": "id"}}', '{"insert": {"lookup": {"id": "id"}}, "update": {}}');
SELECT declare_job('{"lookup": {"id": "id"}}', '{"insert": {}, "update": {"batch": 2}}');
DROP FUNCTION declare_job;
DROP SERVER jobs CASCADE;
DROP SCHEMA jobs;
