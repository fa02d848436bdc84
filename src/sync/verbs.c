/*
 * verbs.c
 *	  What the verbs share.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/guc.h"
#include "core/own.h"
#include "core/shared.h"
#include "outbox/outbox.h"
#include "quality/quality.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

char *
verb_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" may not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

Sync *
verb_sync(FunctionCallInfo fcinfo)
{
	return sync_require(verb_text(fcinfo, 0, "name"), CurrentMemoryContext);
}

/* Who waited may find another declaration of that name, or none. */
Sync *
verb_sync_locked(FunctionCallInfo fcinfo)
{
	Sync	   *sync = verb_sync(fcinfo);
	int64		locked;

	do
	{
		locked = sync->id;
		(void) sync_lock(locked, true);
		sync = verb_sync(fcinfo);
	} while (sync->id != locked);
	return sync;
}

/* A row lock, not the one of runs: nothing but a drop waits for it. */
Sync *
verb_sync_kept(FunctionCallInfo fcinfo)
{
	Sync	   *sync = verb_sync(fcinfo);
	int64		kept;

	do
	{
		kept = sync->id;
		(void) verb_count("SELECT id FROM activate.sync WHERE id = $1 FOR KEY SHARE", kept, NULL);
		sync = verb_sync(fcinfo);
	} while (sync->id != kept);
	return sync;
}

void
sync_changed(void)
{
	CacheInvalidateRelcacheByRelid(get_relname_relid("sync", get_namespace_oid("activate", false)));
	shared_announce_at_commit();
}

int64
sync_forget(int64 id)
{
	outbox_flush();
	outbox_forget_keys();
	return verb_count("SELECT activate._forget($1)", id, NULL);
}

int64
verb_count(const char *query, int64 id, const char *text)
{
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum(id), (Datum) 0};

	if (text)
		values[1] = CStringGetTextDatum(text);
	return own_int64(query, text ? 2 : 1, types, values);
}

bool
sync_is_copy(void)
{
	return verb_count("SELECT (activate._installation() = 'copy')::int::bigint WHERE $1 = 0", 0, NULL) != 0;
}

void
sync_refuse_copy(void)
{
	if (sync_is_copy())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this database is a copy of the one that declared its syncs"),
				 errhint("If it is the real one now, a superuser says so by activate_adopt().")));
}

char *
sync_undelivered_reason(const Sync *sync)
{
	char	   *held;

	if (shared_memory() == NULL)
		return pstrdup("the library \"activate\" is not in shared_preload_libraries");
	if (!activate_enabled)
		return pstrdup("activate.enabled is off");
	if (sync_is_copy())
		return pstrdup("this database is a copy and waits for activate_adopt()");
	if (sync->paused)
		return sync->pause_reason ? psprintf("the sync is paused: %s", sync->pause_reason) :
			pstrdup("the sync is paused");
	if ((held = quality_held(sync->id)) != NULL)
		return psprintf("it is held by %s", held);
	if (verb_count("SELECT activate._target_is_paused($1::oid)::int::bigint", sync->server, NULL) != 0)
		return pstrdup("its target is paused");
	return NULL;
}
