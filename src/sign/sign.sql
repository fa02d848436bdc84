-- What is signed and how, for tests and for who compares with an API's own words.

CREATE FUNCTION activate._sign_hmac(data bytea, key text, algorithm text DEFAULT 'sha256', encoding text DEFAULT 'hex',
	key_encoding text DEFAULT 'text') RETURNS text
LANGUAGE c STABLE STRICT
AS 'MODULE_PATHNAME', 'sign_sql_hmac';
COMMENT ON FUNCTION activate._sign_hmac(bytea, text, text, text, text) IS
	'private: the keyed digest of data, as hex or base64';
REVOKE ALL ON FUNCTION activate._sign_hmac(bytea, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION activate._sign_aws(method text, url text, headers jsonb, body text, access_key text, secret_key text,
	session_token text, region text, service text, at timestamptz) RETURNS jsonb
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'sign_sql_aws';
COMMENT ON FUNCTION activate._sign_aws(text, text, jsonb, text, text, text, text, text, text, timestamptz) IS
	'private: the headers of a request that is signed by AWS Signature Version 4 at that time; nothing is sent';
REVOKE ALL ON FUNCTION activate._sign_aws(text, text, jsonb, text, text, text, text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION activate._sign_jwt(claims text, private_key text, key_id text DEFAULT NULL) RETURNS text
LANGUAGE c STABLE
AS 'MODULE_PATHNAME', 'sign_sql_jwt';
COMMENT ON FUNCTION activate._sign_jwt(text, text, text) IS
	'private: a JSON Web Token with these claims, signed by RS256';
REVOKE ALL ON FUNCTION activate._sign_jwt(text, text, text) FROM PUBLIC;
