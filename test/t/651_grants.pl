# What the catalogs say of the extension, against docs/security.md: nothing is open that is not listed there.
use strict;
use warnings;

use ActivateTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = activate_node('grants');
my $page = slurp_file('docs/security.md');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub lines { return split /\n/, sql($_[0]); }

sql("CREATE ROLE nobody LOGIN;
	CREATE VIEW member AS SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	 WHERE e.extname = 'activate' AND d.deptype = 'e'");

# functions
for my $name (lines("SELECT p.proname FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE p.prosecdef"))
{
	like($page, qr/SECURITY DEFINER[^\n]*`activate\.$name\(\)`/, "$name: with the rights of the extension, and its reason is given");
}
for my $name (lines("SELECT DISTINCT p.proname FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	WHERE p.pronamespace = 'activate'::regnamespace AND has_function_privilege('nobody', p.oid, 'EXECUTE') ORDER BY 1"))
{
	like($page, qr/`$name`/, "$name: private, anybody may call it, and why is said");
}

# relations
is(join(' ', lines("SELECT c.oid::regclass FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
	WHERE c.relkind = 'r' AND NOT c.relrowsecurity AND has_table_privilege('nobody', c.oid, 'SELECT') ORDER BY 1")), 'activate.connector', 'tables without row security that anybody may read');
is(sql("SELECT count(*) FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid WHERE c.relkind IN ('r', 'v', 'S')
	AND (has_table_privilege('nobody', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') OR has_any_column_privilege('nobody', c.oid, 'INSERT, UPDATE, REFERENCES')
		OR CASE c.relkind WHEN 'S' THEN has_sequence_privilege('nobody', c.oid, 'USAGE, UPDATE, SELECT') END)"), 0, 'nothing that anybody may write, and no sequence');
is(sql("SELECT count(*) FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid WHERE c.relkind = 'v'
	AND NOT coalesce(c.reloptions && '{security_invoker=true,security_barrier=true}', false)"), 0, 'every view runs as who looks, or is a barrier');
is(sql("SELECT count(*) FROM pg_policy p WHERE p.polrelid::regclass::text LIKE 'activate.%' AND p.polcmd <> 'r'"), 0, 'policies are for reading only');

# the rest
is(sql("SELECT has_schema_privilege('nobody', 'activate', 'CREATE') OR has_foreign_data_wrapper_privilege('nobody', 'activate', 'USAGE')"), 'f', 'schema and wrapper');
is(sql("SELECT count(*) FROM pg_roles r WHERE r.rolname LIKE 'activate%' AND (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolbypassrls OR r.rolreplication OR r.rolcreatedb)"), 0, 'the role activate_admin has no attribute');
is(sql("SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid IN (m.member, m.roleid) WHERE r.rolname LIKE 'activate%'"), 0, 'and is nobody and nobody is it');
is(sql("SELECT string_agg(name, ' ') FROM pg_settings WHERE name LIKE 'activate.%' AND context NOT IN ('superuser', 'sighup', 'postmaster')"), '', 'no setting is for everybody');

is(sql("SELECT boot_val || unit FROM pg_settings WHERE name = 'activate.render_timeout'"), '5000ms', 'activate.render_timeout as it comes');

# called by anybody, with nothing: an error or an answer, never a crash
for my $call (lines("SELECT format('%s(%s)', p.oid::regproc, (SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY u(t, i)))
	FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE has_function_privilege('nobody', p.oid, 'EXECUTE')"))
{
	my ($code, $out, $err) = $node->psql('postgres', "SELECT $call", extra_params => [ '-U', 'nobody' ]);
	unlike($err, qr/server closed the connection|XX000/, $call =~ s/NULL:://gr);
}

$node->stop('fast');
done_testing();
