-- Settings: who may set them, what they accept, and what a refusal says (SEMANTICS 14).
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
LOAD 'activate';

-- All are superuser's, so that ALTER DATABASE and ALTER ROLE work; but the name of the installation comes from a file, and shared memory with the start of the server.
SELECT name, context, vartype, unit, boot_val FROM pg_settings WHERE name LIKE 'activate.%' ORDER BY name COLLATE "C";
SET activate.identity = 'x';
CREATE ROLE regress_settings;
SET ROLE regress_settings;
SET activate.enabled = off;
SET activate.allowed_hosts = '10.0.0.1';
SET activate.max_attempts = 5;
RESET ROLE;
SELECT current_database() AS db \gset
ALTER DATABASE :"db" SET activate.max_attempts = 7;
ALTER ROLE regress_settings SET activate.max_attempts = 8;
ALTER DATABASE :"db" RESET activate.max_attempts;
DROP ROLE regress_settings;

-- Numbers have bounds.
SET activate.connections = 0;
SET activate.stalled_connections = 1001;
SET activate.max_attempts = 0;
SET activate.retry_backoff = 'soon';
-- in other words from PostgreSQL 17 on
\set VERBOSITY sqlstate
SET activate.http_timeout = '0';
SET activate.render_timeout = '-1s';
SET activate.retry_backoff_max = '25h';

-- activate.allowed_hosts: host, *.suffix, CIDR, each with an optional :port.
\set VERBOSITY default
SET activate.allowed_hosts = 'example.com, *.example.org:8443 , 10.0.0.0/8, 192.168.1.1:80, [2001:db8::/32], [2001:db8::/32]:443';
SET activate.allowed_hosts = '[2001:db8::]/32';
SET activate.allowed_hosts = 'example.com,, b';
SET activate.allowed_hosts = 'https://example.com';
SET activate.allowed_hosts = 'example.com:port';
SET activate.allowed_hosts = 'example.com:0';
SET activate.allowed_hosts = 'example.com:70000';
SET activate.allowed_hosts = '*';
SET activate.allowed_hosts = '*.';
SET activate.allowed_hosts = 'a.*.com';
SET activate.allowed_hosts = 'bücher.example';
SET activate.allowed_hosts = '10.0.0.0/33';
SET activate.allowed_hosts = '10.0.0/8';
SET activate.allowed_hosts = '2130706433';
SET activate.allowed_hosts = '0x7f000001';
SET activate.allowed_hosts = '127.1';
SET activate.allowed_hosts = '::1/129';
SET activate.allowed_hosts = '[::1';
SET activate.allowed_hosts = '[example.com]:80';
SET activate.allowed_hosts = 'user@example.com';
SET activate.allowed_hosts = 'a..b';

-- What a list means: for each URL, may it be contacted?
CREATE FUNCTION may(list text, url text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	PERFORM set_config('activate.allowed_hosts', list, true);
	PERFORM activate_target('settings_test', 'webhook', jsonb_build_object('url', url));
	RAISE EXCEPTION USING ERRCODE = 'ZZ000';
EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	RETURN 'yes';
WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
	RETURN regexp_replace(said, '^host ".*" may not be contacted: ', 'no, ');
END
$$;
SELECT list, url, may(list, url) FROM (VALUES
	('', 'https://example.com/'), ('', 'http://example.com/'), ('', 'https://localhost/'), ('', 'https://x.localhost/'), ('', 'https://10.0.0.1/'), ('', 'https://[::1]/'), ('', 'https://8.8.8.8/'), ('', 'http://8.8.8.8/'),
	('example.com', 'https://example.com/'), ('example.com', 'http://example.com/'), ('example.com', 'https://EXAMPLE.com:8443/x'), ('example.com', 'https://www.example.com/'), ('example.com', 'https://other.org/'),
	('example.com:8443', 'https://example.com:8443/'), ('example.com:8443', 'https://example.com/'), ('example.com:443', 'https://example.com/'),
	('*.example.com', 'https://www.example.com/'), ('*.example.com', 'http://a.b.example.com/'), ('*.example.com', 'https://example.com/'), ('*.example.com', 'https://badexample.com/'), ('*.example.com:80', 'http://www.example.com/'),
	('10.0.0.0/8', 'http://10.1.2.3/'), ('10.0.0.0/8', 'https://11.0.0.1/'), ('10.0.0.0/8:8080', 'http://10.1.2.3:8080/'), ('10.0.0.0/8:8080', 'http://10.1.2.3/'), ('10.0.0.0/8', 'https://example.com/'),
	('127.0.0.1', 'http://127.0.0.1:5000/'), ('127.0.0.1', 'http://127.0.0.2/'), ('localhost', 'http://localhost/'), ('::1', 'http://[::1]/'), ('[fd00::/8]:81', 'http://[fd00::1]:81/'), ('[fd00::/8]:81', 'http://[fd00::1]/')) t(list, url);
DROP FUNCTION may;
