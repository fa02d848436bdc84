-- API: Public.
CREATE FUNCTION @extschema@.activate_preview(
	name text,
	rows integer DEFAULT 5,
	OUT method text,
	OUT url text,
	OUT headers jsonb,
	OUT body text,
	OUT row_count integer)
RETURNS SETOF record
LANGUAGE c STRICT VOLATILE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.activate_preview(text, integer) IS
	'the HTTP requests that a sync to an API would send next, secrets redacted; sends nothing';
