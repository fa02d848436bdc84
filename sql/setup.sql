-- The extension is created, described, and closed to those it is not for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS activate;
RESET client_min_messages;

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS object
  FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'activate' AND d.deptype = 'e';

-- Every object says what it is (but for the row types of relations, members of their own since 17).
SELECT object FROM member m WHERE obj_description(objid, classid::regclass::name) IS NULL
   AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_type e ON e.typarray = t.oid
	WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid AND 0 <> coalesce(e.typrelid, t.typrelid)) ORDER BY 1;

-- The verbs: anybody may call them, they check for themselves.
SELECT p.oid::regprocedure AS verb, has_function_privilege('public', p.oid, 'EXECUTE') AS public
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
 WHERE p.pronamespace <> 'activate'::regnamespace ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Private functions that PUBLIC may execute: what policies, views and the
-- statements of runs, executed as the owners of syncs, are made of.
SELECT p.oid::regprocedure AS function
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
 WHERE p.pronamespace = 'activate'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
 ORDER BY p.oid::regprocedure::text COLLATE "C";

-- With the rights of another: each has its reason in docs/security.md.
SELECT p.oid::regprocedure AS function
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
 WHERE p.prosecdef ORDER BY 1;

-- Functions look up names in schemas that nobody can write to, or were bound when they were created.
SELECT p.oid::regprocedure AS function
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
  JOIN pg_language l ON l.oid = p.prolang
 WHERE l.lanname <> 'c' AND p.prosqlbody IS NULL
   AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search\_path=pg_catalog%') ORDER BY 1;

-- What anybody may do with our relations: read, and row security decides what.
SELECT c.oid::regclass AS relation, c.relkind, c.relrowsecurity AS row_security, x.privilege_type
  FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid,
	aclexplode(c.relacl) x
 WHERE x.grantee = 0 ORDER BY c.oid::regclass::text COLLATE "C", 4;

-- Tables that change all the time are vacuumed often: all but these.
SELECT c.oid::regclass AS relation FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
 WHERE c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM unnest(c.reloptions) o WHERE o LIKE 'autovacuum_vacuum_scale_factor=%')
 ORDER BY c.oid::regclass::text COLLATE "C";

-- What a dump carries.
SELECT c::regclass AS relation FROM pg_extension e, unnest(e.extconfig) c WHERE e.extname = 'activate' ORDER BY c::regclass::text COLLATE "C";

-- DROP EXTENSION leaves nothing behind, local tables apart.
CREATE SCHEMA setup_test;
SET search_path = setup_test, public;
CREATE TABLE source (id int PRIMARY KEY, email text);
SELECT activate_target('setup_hook', 'webhook', '{"url": "http://127.0.0.1:1/"}');
SELECT activate_sync('setup hook', 'source', 'setup_hook.change', capture => 'trigger') > 0 AS declared;
SELECT activate_sync('setup table', 'source', 'target') > 0 AS declared;
-- what is made at run time is no member of the extension
SELECT object FROM member WHERE object ~ 'setup|source|target' AND object !~ 'activate[._]';
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF parted DEFAULT;
SELECT activate_sync('setup parted', 'parted', 'setup_hook.change', capture => 'trigger') > 0 AS declared;
\set VERBOSITY terse
DROP EXTENSION activate;
\set VERBOSITY default
SET client_min_messages = warning;
DROP EXTENSION activate CASCADE;
RESET client_min_messages;
SELECT count(*) AS servers FROM pg_foreign_server WHERE srvname = 'setup_hook';
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid IN ('source'::regclass, 'parted'::regclass, 'leaf'::regclass);
SELECT count(*) AS event_triggers FROM pg_event_trigger WHERE evtname LIKE 'activate%';
SELECT to_regnamespace('activate') AS schema, to_regclass('target') AS target;
INSERT INTO source VALUES (1, 'still a table');
INSERT INTO parted VALUES (1);
TRUNCATE leaf;
CREATE EXTENSION activate SCHEMA public;
SELECT count(*) AS syncs FROM activate.sync;
SET client_min_messages = warning;
DROP SCHEMA setup_test CASCADE;
DROP SCHEMA IF EXISTS setup_hook CASCADE;
