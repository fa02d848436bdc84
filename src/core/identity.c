/*
 * identity.c
 *	  Acting as somebody else: see identity.h.
 *
 * Invariant: every identity_enter_*() opens exactly one GUC level and
 * remembers the user it found; the leave functions undo both, in that order,
 * as fmgr_security_definer() does.  Whatever an ERROR leaves behind is undone
 * by the abort of the (sub)transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/trigger.h"
#include "core/identity.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* SEMANTICS 4: what makes to_jsonb() of a row the same in every session. */
static const char *const rendering_settings[][2] = {
	{"TimeZone", "UTC"},
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},		/* of money */
	{"lc_numeric", "C"},		/* these two: of to_char() in a map */
	{"lc_time", "C"},
};

static bool identity_read_extension(Form_pg_extension row);
static void identity_open(IdentityScope *scope);

void
identity_enter_owner(IdentityScope *scope, Oid owner, const char *search_path)
{
	/*
	 * PostgreSQL refuses to queue deferred triggers within a restricted
	 * operation, and what the caller has queued must not fire as the owner:
	 * so nothing is left deferred from here on.
	 */
	identity_fire_deferred();

	identity_enter_rendering(scope);
	SetUserIdAndSecContext(owner,
						   scope->sec_context |
						   SECURITY_RESTRICTED_OPERATION |
						   SECURITY_LOCAL_USERID_CHANGE);
	if (search_path != NULL)
		identity_set_local("search_path", search_path);
}

void
identity_leave_owner(IdentityScope *scope)
{
	identity_fire_deferred();
	identity_leave(scope);
}

void
identity_enter_extension(IdentityScope *scope)
{
	Oid			owner = identity_extension_owner();

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"activate\" does not exist in this database"),
				 errhint("Run CREATE EXTENSION activate.")));

	identity_open(scope);
	SetUserIdAndSecContext(owner,
						   scope->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	identity_set_local("search_path", "pg_catalog, activate, pg_temp");

	/* The owner of our tables sees all rows; an error is better than half of them. */
	identity_set_local("row_security", "off");
}

void
identity_enter_rendering(IdentityScope *scope)
{
	identity_open(scope);
	for (int i = 0; i < lengthof(rendering_settings); i++)
		identity_set_local(rendering_settings[i][0], rendering_settings[i][1]);
}

void
identity_leave(IdentityScope *scope)
{
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->userid, scope->sec_context);
}

Oid
identity_extension(void)
{
	FormData_pg_extension row;

	return identity_read_extension(&row) ? row.oid : InvalidOid;
}

Oid
identity_extension_owner(void)
{
	FormData_pg_extension row;

	return identity_read_extension(&row) ? row.extowner : InvalidOid;
}

char *
identity_extension_schema(void)
{
	FormData_pg_extension row;

	return identity_read_extension(&row) ? get_namespace_name(row.extnamespace) : NULL;
}

void
identity_set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value,
							 superuser() ? PGC_SUSET : PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * There is no syscache for pg_extension, and nothing tells a cache of ours
 * that the extension was dropped or created anew: so it is read each time.
 */
static bool
identity_read_extension(Form_pg_extension row)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname,
				BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("activate"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		memcpy(row, GETSTRUCT(tuple), offsetof(FormData_pg_extension, extrelocatable));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
identity_open(IdentityScope *scope)
{
	GetUserIdAndSecContext(&scope->userid, &scope->sec_context);
	scope->guc_level = NewGUCNestLevel();
}

void
identity_fire_deferred(void)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);

	stmt->constraints = NIL;
	stmt->deferred = false;
	AfterTriggerSetState(stmt);
	pfree(stmt);
}
