/*
 * life.c
 *	  Pause, resume, drop; and taking a copy of a database for the real one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "quality/quality.h"
#include "quota/quota.h"
#include "sync/verbs.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#define TARGET_PREFIX "target:"

static char *target_of_name(FunctionCallInfo fcinfo);
static void redeclare_all(int64 pending);
static void redeclare(Sync *sync);
static bool is_no_reason_to_pause(int sqlstate);

ACTIVATE_FUNCTION(activate_pause);
ACTIVATE_FUNCTION(activate_resume);
ACTIVATE_FUNCTION(activate_drop);
ACTIVATE_FUNCTION(activate_adopt);

Datum
activate_pause(PG_FUNCTION_ARGS)
{
	char	   *target = target_of_name(fcinfo);

	if (target)
		verb_count("INSERT INTO activate._paused_target (server, paused_by)"
				   " SELECT $2::name, session_user WHERE $1 = 0 ON CONFLICT DO NOTHING", 0, target);
	else
		verb_count("UPDATE activate.sync SET paused = true, pause_reason = NULL WHERE id = $1",
				   verb_sync(fcinfo)->id, NULL);
	sync_changed();
	PG_RETURN_VOID();
}

Datum
activate_resume(PG_FUNCTION_ARGS)
{
	char	   *target = target_of_name(fcinfo);

	if (target)
	{
		verb_count("DELETE FROM activate._paused_target WHERE server = $2::name AND $1 = 0", 0, target);
		quota_forget(get_foreign_server_oid(target, false));
	}
	else
		verb_count("UPDATE activate.sync SET paused = false, pause_reason = NULL WHERE id = $1",
				   verb_sync(fcinfo)->id, NULL);
	sync_changed();
	PG_RETURN_VOID();
}

Datum
activate_drop(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync_locked(fcinfo);
	int64		pending;

	capture_remove(sync);
	/* whoever keeps it (DML on a foreign table, a retry) first commits what is to be forgotten */
	(void) verb_count("SELECT id FROM activate.sync WHERE id = $1 FOR UPDATE", sync->id, NULL);
	pending = sync_forget(sync->id);
	verb_count("SELECT activate._drop($1)", sync->id, NULL);
	sync_changed();
	if (pending > 0)
		ereport(NOTICE,
				(errmsg("%lld pending intents of sync \"%s\" were discarded", (long long) pending, sync->name)));
	PG_RETURN_VOID();
}

/* "target:hook" names a target; NULL: it is the name of a sync.  The caller must own the target. */
static char *
target_of_name(FunctionCallInfo fcinfo)
{
	char	   *name = verb_text(fcinfo, 0, "name");
	ForeignServer *server;
	Oid			admin = get_role_oid("activate_admin", true);

	if (strncmp(name, TARGET_PREFIX, strlen(TARGET_PREFIX)) != 0)
		return NULL;
	name += strlen(TARGET_PREFIX);
	server = GetForeignServerByName(name, true);
	if (server == NULL || strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, "activate") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("target \"%s\" does not exist", name),
				 errhint("The relation activate.stat_target lists the targets.")));
	if (!has_privs_of_role(GetUserId(), server->owner) &&
		!(OidIsValid(admin) && has_privs_of_role(GetUserId(), admin)))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FOREIGN_SERVER, name);
	return name;
}

/*
 * After a dump and restore the oids in the kept queries mean nothing here,
 * and the transaction ids in the outbox belong to another cluster: each sync
 * is declared again from its text, by its owner; each intent gets our id.
 */
Datum
activate_adopt(PG_FUNCTION_ARGS)
{
	bool		copy = sync_is_copy();

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to adopt this copy of the database"),
				 errhint("Only a superuser may say that it is the real one.")));
	verb_count("SELECT activate._adopt() WHERE $1 = 0", 0, NULL);
	if (copy)
	{
		redeclare_all(outbox_restamp());
		quality_adopt();
	}
	else
		ereport(NOTICE,
				(errmsg("this database is no copy: its syncs go on as they are"),
				 errdetail("Deletes that were held because it was set back to an earlier moment stay held; new ones are not.")));
	sync_changed();
	PG_RETURN_VOID();
}

static void
redeclare_all(int64 pending)
{
	List	   *syncs = sync_load_found("SELECT id FROM activate.sync WHERE NOT implicit ORDER BY id");
	ListCell   *cell;

	foreach(cell, syncs)
		redeclare(lfirst(cell));
	ereport(NOTICE,
			(errmsg("this database is the one that sends from now on: %d syncs, %lld pending intents",
					list_length(syncs), (long long) pending)));
}

static void
redeclare_work(void *arg)
{
	Sync	   *sync = arg;
	IdentityScope scope;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	sync_enter_owner(sync, &scope);
	SPI_connect();
	SPI_execute_with_args(psprintf("SELECT %s.activate_sync(name, source, target, key, map, mode, capture, schedule, options)"
								   " FROM activate.sync WHERE id = $1",
								   quote_identifier(identity_extension_schema())),
						  1, &type, &id, NULL, false, 0);
	SPI_finish();
	sync_leave_owner(sync, &scope);
}

/* What cannot be declared any more is paused with the reason; the others go on. */
static void
redeclare(Sync *sync)
{
	ErrorData  *error = attempt(redeclare_work, sync);

	if (error == NULL)
		return;
	if (is_no_reason_to_pause(error->sqlerrcode))
		ReThrowError(error);
	sync_pause(sync->id, error->message);
	ereport(WARNING,
			(errmsg("sync \"%s\" is paused: %s", sync->name, error->message)));
}

/* A cancel, a lock, a deadlock, memory: adopted once more it may be declared. */
static bool
is_no_reason_to_pause(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
			return true;
		default:
			return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}
