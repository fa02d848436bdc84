/*
 * hook.c
 *	  Keeps our workers out of the way of DDL on databases and the extension.
 *
 * PostgreSQL counts background workers as connections, so DROP DATABASE,
 * CREATE DATABASE ... TEMPLATE, RENAME and SET TABLESPACE would fail while we
 * serve the database.  Before such a command, if its user may run it at all,
 * the database is blocked (the launcher starts nothing there), its workers are
 * told to go, and the end of the transaction lets them in again: only then are
 * the effects of the command visible to them.  A transaction ends by callback
 * whatever happens, FATAL included, so a block is never left behind.
 *
 * DROP EXTENSION does the same: otherwise it would wait for a running run.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/shared.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "schedule/hook.h"
#include "schedule/spawn.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* How long workers may take to go; they do so within milliseconds. */
#define HOOK_WAIT_MS	10000
#define HOOK_MAX_PIDS	128

/* What is to be done after a statement; the statement itself may be gone by then. */
typedef enum HookAfter
{
	AFTER_NOTHING,
	AFTER_EXTENSION,			/* created or altered */
	AFTER_COMMIT_PREPARED,
	AFTER_DATABASE				/* the set of databases has changed */
} HookAfter;

static ProcessUtility_hook_type previous_hook = NULL;

/* What this transaction has to undo or tell at its end. */
static List *blocked_databases = NIL;	/* of Oid, in TopMemoryContext */
static bool wake_launcher = false;

static void hook_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
						 ProcessUtilityContext context, ParamListInfo params,
						 QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion);
static void hook_before(Node *statement);
static HookAfter hook_what_after(Node *statement);
static void hook_after(HookAfter after);
static void hook_xact(XactEvent event, void *arg);
static Oid	database_in_the_way(Node *statement);
static bool drops_extension(Node *statement);
static void hook_block(Oid dboid);
static void hook_send_away(Oid dboid);

void
hook_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = hook_utility;
}

static void
hook_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
			 ProcessUtilityContext context, ParamListInfo params,
			 QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_hook ? previous_hook : standard_ProcessUtility;
	HookAfter	after = AFTER_NOTHING;

	if (shared_memory() != NULL)
	{
		hook_before(pstmt->utilityStmt);
		after = hook_what_after(pstmt->utilityStmt);
	}
	next(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	hook_after(after);
}

static void
hook_before(Node *statement)
{
	Oid			dboid = InvalidOid;

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
		case T_RenameStmt:
			dboid = database_in_the_way(statement);
			break;
		case T_DropStmt:
			if (drops_extension(statement))
				dboid = MyDatabaseId;
			break;
		default:
			break;
	}
	if (OidIsValid(dboid))
	{
		hook_block(dboid);
		hook_send_away(dboid);
	}
}

static bool
is_ours(const char *extension)
{
	return extension != NULL && strcmp(extension, "activate") == 0;
}

static void
register_callback(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(hook_xact, NULL);
	registered = true;
}

static HookAfter
hook_what_after(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateExtensionStmt:
			return is_ours(((CreateExtensionStmt *) statement)->extname) ? AFTER_EXTENSION : AFTER_NOTHING;
		case T_AlterExtensionStmt:
			return is_ours(((AlterExtensionStmt *) statement)->extname) ? AFTER_EXTENSION : AFTER_NOTHING;
		case T_TransactionStmt:
			return ((TransactionStmt *) statement)->kind == TRANS_STMT_COMMIT_PREPARED ?
				AFTER_COMMIT_PREPARED : AFTER_NOTHING;
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			return AFTER_DATABASE;
		default:
			return AFTER_NOTHING;
	}
}

static void
hook_after(HookAfter after)
{
	switch (after)
	{
		case AFTER_NOTHING:
			break;
		case AFTER_COMMIT_PREPARED:
			/* no callback of ours runs at the end of the prepared transaction itself */
			if (!OidIsValid(identity_extension()))
				break;
			/* FALLTHROUGH */
		case AFTER_EXTENSION:
			shared_announce_at_commit();
			break;
		case AFTER_DATABASE:
			register_callback();
			wake_launcher = true;
			break;
	}
}

static void
hook_xact(XactEvent event, void *arg)
{
	SharedMemory *shared = shared_memory();
	ListCell   *lc;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (blocked_databases == NIL && !wake_launcher)
		return;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	foreach(lc, blocked_databases)
	{
		SharedDatabase *slot = shared_database(lfirst_oid(lc), false);

		if (slot == NULL)
			continue;
		slot->blocked--;
		slot->wanted = true;
	}
	shared_wake_launcher();
	LWLockRelease(shared->lock);

	list_free(blocked_databases);
	blocked_databases = NIL;
	wake_launcher = false;
}

static bool
is_template(Oid dboid)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

/* The core's own have_createdb_privilege() is not exported by every minor release. */
static bool
may_create_databases(void)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = superuser() || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result;
}

/* May the current user do with this database what needs its owner (or is it a template)? */
static bool
may_disturb(Oid dboid, bool as_template)
{
	if (!OidIsValid(dboid))
		return false;
	if (compat_owns_database(dboid, GetUserId()))
		return true;
	return as_template && may_create_databases() && is_template(dboid);
}

/* The database that nobody may be connected to while statement runs, or InvalidOid. */
static Oid
database_in_the_way(Node *statement)
{
	const char *name = NULL;
	bool		as_template = false;
	ListCell   *lc;
	Oid			dboid;

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			as_template = true;
			name = "template1";
			foreach(lc, ((CreatedbStmt *) statement)->options)
			{
				DefElem    *option = lfirst(lc);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					name = defGetString(option);
			}
			break;
		case T_DropdbStmt:
			name = ((DropdbStmt *) statement)->dbname;
			break;
		case T_AlterDatabaseStmt:
			foreach(lc, ((AlterDatabaseStmt *) statement)->options)
				if (strcmp(((DefElem *) lfirst(lc))->defname, "tablespace") == 0)
					name = ((AlterDatabaseStmt *) statement)->dbname;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				name = ((RenameStmt *) statement)->subname;
			break;
		default:
			break;
	}
	if (name == NULL)
		return InvalidOid;
	dboid = get_database_oid(name, true);
	return may_disturb(dboid, as_template) ? dboid : InvalidOid;
}

static bool
drops_extension(Node *statement)
{
	DropStmt   *drop = (DropStmt *) statement;
	ListCell   *lc;

	if (drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach(lc, drop->objects)
		if (is_ours(strVal(lfirst(lc))))
			return has_privs_of_role(GetUserId(), identity_extension_owner());
	return false;
}

static void
hook_block(Oid dboid)
{
	SharedMemory *shared = shared_memory();
	SharedDatabase *slot;
	MemoryContext old;

	register_callback();
	old = MemoryContextSwitchTo(TopMemoryContext);
	blocked_databases = lappend_oid(blocked_databases, dboid);
	MemoryContextSwitchTo(old);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = shared_database(dboid, true);
	if (slot != NULL)
		slot->blocked++;
	LWLockRelease(shared->lock);

	if (slot == NULL)
		blocked_databases = list_delete_last(blocked_databases);
}

/*
 * A worker that is just being started is not seen here: it either finds the
 * block when it has connected, or waits for the lock on the database that the
 * command holds.
 */
static void
hook_send_away(Oid dboid)
{
	TimestampTz started = GetCurrentTimestamp();
	int			rounds = 0;
	pid_t		pids[HOOK_MAX_PIDS];
	int			n;

	while ((n = spawn_find(dboid, SPAWN_PREFIX, pids, HOOK_MAX_PIDS)) > 0)
	{
		/* those that came later are told, too */
		for (int i = 0; i < n && rounds % 20 == 0; i++)
			(void) kill(pids[i], SIGTERM);
		rounds++;
		if (TimestampDifferenceExceeds(started, GetCurrentTimestamp(), HOOK_WAIT_MS))
		{
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("background workers of activate have not left the database within %d s",
							HOOK_WAIT_MS / 1000),
					 errhint("Their process ids are in pg_stat_activity, with a backend_type that begins with \"%s\".",
							 SPAWN_PREFIX)));
			break;
		}
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
