-- Signatures against published examples, and how a definition asks for them.  Nothing is sent here.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;
CREATE SCHEMA sign_test;
SET search_path = sign_test, public;

-- RFC 4231, test case 2; RFC 2202 for SHA-1; a key in other codes
SELECT activate._sign_hmac('what do ya want for nothing?', 'Jefe') = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843' AS sha256,
	activate._sign_hmac('what do ya want for nothing?', 'Jefe', 'sha512') = '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737' AS sha512,
	activate._sign_hmac('what do ya want for nothing?', 'Jefe', 'sha1') = 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79' AS sha1,
	activate._sign_hmac('what do ya want for nothing?', '4a656665', 'sha256', 'base64', 'hex') = encode(decode('5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843', 'hex'), 'base64') AS hex,
	activate._sign_hmac('what do ya want for nothing?', 'SmVmZQ==', 'sha256', 'hex', 'base64') = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843' AS base64;
SELECT activate._sign_hmac('x', 'xyz', 'sha256', 'hex', 'hex');
SELECT activate._sign_hmac('x', 'xyz', 'md5');

-- the test suite of AWS Signature Version 4
CREATE FUNCTION aws(method text, url text, headers jsonb DEFAULT '{}', body text DEFAULT NULL, token text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(activate._sign_aws(method, url, headers, body, 'AKIDEXAMPLE', 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', token, 'us-east-1', 'service',
		'2015-08-30 12:36:00+00') ->> 'Authorization', '^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ', '')
$$;
SELECT name, aws(method, url, headers, body) FROM (VALUES
	(1, 'get-vanilla', 'GET', 'https://example.amazonaws.com/', '{}'::jsonb, NULL),
	(2, 'post-vanilla', 'POST', 'https://example.amazonaws.com/', '{}', NULL),
	(3, 'get-vanilla-query-order-key-case', 'GET', 'https://example.amazonaws.com/?Param2=value2&Param1=value1', '{}', NULL),
	(4, 'get-utf8', 'GET', 'https://example.amazonaws.com/ሴ', '{}', NULL),
	(5, 'get-vanilla-utf8-query', 'GET', 'https://example.amazonaws.com/?%E1%88%B4=bar', '{}', NULL),
	(6, 'normalize-path/get-relative', 'GET', 'https://example.amazonaws.com/example/..', '{}', NULL),
	(7, 'normalize-path/get-slash-dot-slash', 'GET', 'https://example.amazonaws.com/./', '{}', NULL),
	(8, 'normalize-path/get-slashes', 'GET', 'https://example.amazonaws.com//example//', '{}', NULL),
	(9, 'post-x-www-form-urlencoded', 'POST', 'https://example.amazonaws.com/', '{"Content-Type": "application/x-www-form-urlencoded"}', 'Param1=value1')
	) v(i, name, method, url, headers, body) ORDER BY i;
SELECT aws('POST', 'https://example.amazonaws.com/', token => 'AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==') AS "post-sts-header-before";
-- Amazon S3's own: the digest of the body is a header, the path is signed as it is
SELECT url, right(activate._sign_aws('GET', url, NULL, NULL, 'AKIAIOSFODNN7EXAMPLE', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', NULL, 'us-east-1', 's3',
	'2013-05-24 00:00:00+00') ->> 'Authorization', 64) AS signature
  FROM (VALUES ('https://examplebucket.s3.amazonaws.com/?lifecycle'), ('https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J')) v(url);
-- what else is x-amz- is signed too
SELECT activate._sign_aws('POST', 'https://dynamodb.eu-central-1.amazonaws.com/', '{"X-Amz-Target": "DynamoDB_20120810.BatchWriteItem", "Accept": "*/*"}', '{}',
	'AK', 'SK', NULL, 'eu-central-1', 'dynamodb', '2026-01-01 00:00:00+00') ->> 'Authorization' ~ 'SignedHeaders=host;x-amz-date;x-amz-target' AS target;

-- declarations: what is missing, and what belongs elsewhere
CREATE FUNCTION failure(statement text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;
SELECT auth, (failure(format('CREATE SERVER wrong FOREIGN DATA WRAPPER activate OPTIONS (connector ''rest'', base_url ''https://api.test'', auth %L)', auth))).*
  FROM unnest(ARRAY['{}', '{"form": "magic"}', '{"form": "hmac"}', '{"form": "hmac", "header": "Host"}', '{"form": "hmac", "header": "X-Signature", "region": "x"}',
	'{"form": "hmac", "header": "X-Signature", "algorithm": "md5"}', '{"form": "hmac", "header": "X-Signature", "signed": "{id}.{body}"}', '{"form": "hmac", "header": "X-Signature", "signed": "{timestamp}"}',
	'{"form": "hmac", "header": "X-Signature", "signed": "{timestamp}.{body}"}', '{"form": "hmac", "header": "X-Signature", "timestamp": "X-Time"}',
	'{"form": "aws", "region": "x"}', '{"form": "aws", "service": "x"}', '[]', '7']) auth;
SELECT auth, (failure(format('CREATE SERVER wrong FOREIGN DATA WRAPPER activate OPTIONS (connector ''rest'', base_url ''https://api.test'', auth %L)', auth))).*
  FROM unnest(ARRAY['{"form": "oauth2"}', '{"form": "oauth2", "grant": "password"}', '{"form": "oauth2", "grant": "refresh_token"}', '{"form": "oauth2", "grant": "jwt", "token_url": "ftp://x"}',
	'{"form": "oauth2", "grant": "client_credentials", "token_url": "https://x.test/t", "client": "both"}', '{"form": "oauth2", "grant": "client_credentials", "token_url": "https://x.test/t", "service": "y"}',
	'{"form": "oauth2", "grant": "client_credentials", "token_url": "https://x.test/t", "parameters": {"client_secret": "hunter2"}}']) auth;
-- the definition of another may be changed in part
CREATE SERVER part FOREIGN DATA WRAPPER activate OPTIONS (connector 'not_yet_there', auth '{"region": "eu-west-1"}');
DROP SERVER part;
SELECT (failure(format('SELECT activate_connector(%L)', d))).* FROM unnest(ARRAY['{"name": "signed", "auth": {"form": "aws"}}', '{"name": "signed", "auth": {"form": "hmac", "header": "X-S", "prefix": "{body}"}}']) d;

-- a secret that does not fit is refused, whoever gives it
CREATE SERVER signed FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://api.test/in', auth '{"form": "hmac", "header": "X-Signature"}');
SELECT s, (failure(format('SELECT activate_target(''signed'', ''webhook'', secret => %L)', s))).*
  FROM unnest(ARRAY['{"bearer": "x"}', '{"sign": "key", "header": {"x-signature": "x"}}', '{"sign": {"key": "x"}}']) s;
SELECT (failure($$SELECT activate_target('plain', 'webhook', '{"url": "https://api.test/in"}', '{"sign": "key"}')$$)).*;
SELECT (failure($$SELECT activate_target('both', 'webhook', '{"url": "https://api.test/in", "auth": {"form": "aws", "service": "execute-api", "region": "eu-west-1"}}',
	'{"s3": {"access_key": "AK", "secret_key": "SK"}, "bearer": "x"}')$$)).*;
SELECT activate_target('signed', 'webhook', secret => '{"sign": "key"}');
-- tokens: what a grant cannot do without
CREATE SERVER token FOREIGN DATA WRAPPER activate OPTIONS (connector 'webhook', url 'https://api.test/in', auth '{"form": "oauth2", "grant": "refresh_token", "token_url": "https://api.test/token", "client": "basic"}');
SELECT s, (failure(format('SELECT activate_target(''token'', ''webhook'', secret => %L)', s))).message
  FROM unnest(ARRAY['{"bearer": "x"}', '{"oauth2": {"client_secret": "x"}}', '{"oauth2": {"client_id": "x"}}', '{"oauth2": {"client_id": "x", "refresh_token": "y"}}', '{"oauth2": {"client_id": "x", "code": "y"}}',
	'{"jwt": {"issuer": "x"}}', '{"oauth2": {"client_id": "x", "client_secret": "z", "refresh_token": "y"}, "jwt": {"issuer": "x", "private_key": {"file": "/x"}}}',
	'{"oauth2": {"client_id": "x", "client_secret": "z", "refresh_token": "y"}, "bearer": "b"}']) s;
SELECT activate_target('token', 'webhook', secret => '{"oauth2": {"client_id": "x", "client_secret": "z", "refresh_token": "y"}}');

SET client_min_messages = warning;
DROP SCHEMA sign_test, signed, token CASCADE;
DROP SERVER signed CASCADE;
DROP SERVER token CASCADE;
