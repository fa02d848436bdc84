/*
 * declare.c
 *	  Declarations as the deliverer holds them: which syncs are ours, and each
 *	  compiled with its connector and secret until something changes.
 *
 * Something changes: the database's generation (our own verbs announce it), a
 * server, foreign table, user mapping or role (plain DDL, GRANT and REVOKE), the
 * configuration.  Then
 * the list is read again and each sync is loaded anew when it has work; what
 * is in memory of it and not under way is forgotten and read again, because a
 * discard or a redeclaration may have removed it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/guc.h"
#include "core/identity.h"
#include "core/own.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "foreign/foreign.h"
#include "quality/quality.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

static bool access_changed = false;
static bool catalog_changed = false;

static void refresh_work(void *arg);
static void list_sync(int64 id, Oid server, bool paused);
static void drop_unlisted(void);
static void load_work(void *arg);
static void auth_work(void *arg);

/* Of a mapping, a server or a foreign table: a target that refuses may be mended by it. */
static void
catalog_callback(Datum arg, int cache, uint32 hash)
{
	catalog_changed = true;
	if (cache != AUTHOID)
		access_changed = true;
}

/* pg_class changes all the time; what is granted on our targets seldom does. */
static void
relation_callback(Datum arg, int cache, uint32 hash)
{
	dlist_iter	iter;

	if (hash == 0)
		catalog_changed = true;
	dlist_foreach(iter, &engine->all_syncs)
	{
		DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);

		if (sync->declaration && sync->declaration->target_hash == hash)
			catalog_changed = true;
	}
}

void
deliver_declare_init(void)
{
	CacheRegisterSyscacheCallback(USERMAPPINGOID, catalog_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, catalog_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNTABLEREL, catalog_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(RELOID, relation_callback, (Datum) 0);
}

/*
 * Has anything changed that the declarations in memory do not know yet?  Asked
 * again after a claim: a right that was revoked before an intent was committed
 * must be missed before that intent is sent.
 */
bool
deliver_declare_outdated(void)
{
	AcceptInvalidationMessages();
	return engine->stale || catalog_changed ||
		pg_atomic_read_u64(&engine->database->generation) != engine->generation;
}

/* Reads the list again if anything has changed. */
void
deliver_declare_refresh(void)
{
	uint64		generation = pg_atomic_read_u64(&engine->database->generation);
	DeliverError error;
	dlist_iter	iter;

	if (!deliver_declare_outdated() || engine->next_refresh > clock_now())
		return;

	/* before reading: what changes meanwhile is seen the next time */
	engine->generation = generation;
	engine->stale = false;
	catalog_changed = false;
	if (!deliver_transaction(refresh_work, NULL, &error))
	{
		/* DROP EXTENSION may have been on its way */
		ereport(LOG,
				(errcode(error.sqlstate),
				 errmsg("activate: could not read the declared syncs: %s", error.message)));
		engine->stale = true;
		engine->next_refresh = clock_now() + USECS_PER_SEC;
		return;
	}
	if (engine->gone)
		return;
	drop_unlisted();
	deliver_targets_prune();
	if (access_changed)
		dlist_foreach(iter, &engine->targets)
			deliver_target_probe_now(dlist_container(DeliverTarget, node, iter.cur));
	access_changed = false;
}

static void
note_enabled(const char *installation)
{
	bool		original = strcmp(installation, "original") == 0;
	bool		copy = strcmp(installation, "copy") == 0;

	if (copy && !engine->is_copy)
		ereport(LOG,
				(errmsg("activate: nothing is sent, this database is a copy of the one that declared its syncs"),
				 errhint("activate_adopt() makes it the one that sends.")));
	engine->is_copy = copy;
	engine->enabled = original && activate_enabled;
}

static void
refresh_work(void *arg)
{
	IdentityScope scope;
	dlist_iter	iter;

	if (!OidIsValid(identity_extension()))
	{
		engine->gone = true;
		return;
	}
	dlist_foreach(iter, &engine->all_syncs)
		dlist_container(DeliverSync, all_node, iter.cur)->listed = false;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute("SELECT activate._installation()", true, 1);
	note_enabled(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_execute("SELECT id, server, paused FROM activate._deliver_syncs()", true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int64		id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		Datum		server = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);

		list_sync(id, isnull ? InvalidOid : DatumGetObjectId(server),
				  DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull)));
	}
	SPI_finish();
	identity_leave(&scope);
}

/* A sync is ours by its server; one whose target is gone belongs to deliverer 0, which pauses it. */
static void
list_sync(int64 id, Oid server, bool paused)
{
	DeliverSync *sync;
	bool		found;

	if (server % engine->deliverers != engine->slot)
		return;
	sync = hash_search(engine->syncs, &id, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) sync + sizeof(int64), 0, sizeof(DeliverSync) - sizeof(int64));
		deliver_queue_create(sync);
		dlist_push_tail(&engine->all_syncs, &sync->all_node);
	}
	sync->server = server;
	sync->held_back = paused;
	if (sync->target)
		deliver_target_pause(sync->target, paused);
	sync->listed = true;
	sync->stale = true;
	sync->broken = false;
	sync->more = sync->news = true;
	sync->rest_until = 0;
}

static void
sync_detach(DeliverSync *sync)
{
	if (sync->target)
		dlist_delete(&sync->node);
	sync->target = NULL;
	if (sync->declaration)
		deliver_declare_release(sync->declaration);
	sync->declaration = NULL;
}

/* Dropped, or moved to another deliverer's server. */
static void
drop_unlisted(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->all_syncs)
	{
		DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);

		if (sync->listed)
			continue;
		deliver_queue_forget(sync);
		sync->broken = true;
		if (sync->nbusy > 0)
			continue;			/* again when what is in flight has come back */
		sync_detach(sync);
		outbox_cursor_reset(&sync->cursor);
		outbox_cursor_reset(&sync->ahead);
		MemoryContextDelete(sync->context);
		dlist_delete(&sync->all_node);
		hash_search(engine->syncs, &sync->id, HASH_REMOVE, NULL);
	}
}

void
deliver_declare_release(DeliverDeclaration *declaration)
{
	if (--declaration->references > 0)
		return;
	deliver_render_forget(&declaration->plan);
	MemoryContextDelete(declaration->context);
}

/* Loads what has changed; false: there is nothing to do for this sync now. */
bool
deliver_declare_load(DeliverSync *sync)
{
	DeliverError error;

	if (!sync->stale)
		return !sync->broken && sync->declaration != NULL;
	deliver_queue_forget(sync);
	sync_detach(sync);
	if (deliver_transaction(load_work, sync, &error) && deliver_jobs_resume(sync, &error))
	{
		if (sync->declaration && sync->declaration->sync->epoch != sync->epoch)
		{
			sync->epoch = sync->declaration->sync->epoch;
			deliver_queue_forget(sync);
		}
		sync->stale = false;
		sync->run = 0;
		sync->loaded_at = clock_now();
		return !sync->broken;
	}
	sync_detach(sync);
	if (deliver_error_is_transient(error.sqlstate))
		deliver_sync_rest(sync, &error);
	else
		deliver_sync_break(sync, error.message);
	return false;
}

/* What the declaration asked of its owner must hold for as long as it sends. */
static void
check_rights(const Sync *sync)
{
	if (compat_server_aclcheck(sync->server, sync->owner, ACL_USAGE) == ACLCHECK_OK &&
		pg_class_aclcheck(sync->target_rel, sync->owner, ACL_INSERT) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("its owner \"%s\" may no longer write to \"%s\"", sync->owner_name, sync->target)));
}

static int64
least_seq(int64 sync)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(sync)};

	return own_int64("SELECT coalesce(max(t.least_seq), 0) FROM activate._tally t WHERE t.sync = $1", 1, types, values);
}

static void
load_work(void *arg)
{
	DeliverSync *sync = arg;
	MemoryContext context = AllocSetContextCreate(CurTransactionContext, "activate declaration",
												  ALLOCSET_SMALL_SIZES);
	DeliverDeclaration *declaration = MemoryContextAllocZero(context, sizeof(DeliverDeclaration));
	Sync	   *loaded = sync_load(sync->id, context);

	/* what it would send, an expectation holds: as if it were paused, until the next look finds nothing */
	if (loaded == NULL || loaded->paused || quality_held(sync->id) != NULL)
	{
		sync->broken = true;
		return;
	}
	if (!OidIsValid(loaded->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("its owner, role \"%s\", does not exist", loaded->owner_name)));
	if (!OidIsValid(loaded->server))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("its target \"%s\" does not exist", loaded->target)));
	check_rights(loaded);
	declaration->context = context;
	declaration->references = 1;
	declaration->target_hash = GetSysCacheHashValue1(RELOID, ObjectIdGetDatum(loaded->target_rel));
	declaration->sync = loaded;
	declaration->connector = connector_load(loaded->target_rel, context);
	declaration->image = sync_option_bool(loaded, "image", true);
	declaration->batch = sync_option_int(loaded, "batch", 0);
	declaration->has_class = sync_option_text(loaded, "priority") != NULL;
	if (declaration->has_class)
		declaration->class = quota_class_named(sync_option_text(loaded, "priority"));
	declaration->set_back = loaded->mode == SYNC_MIRROR && sync_set_back(loaded);
	declaration->plan.context = context;
	MemoryContextSetParent(context, engine->context);
	sync->declaration = declaration;
	sync->least_seq = least_seq(sync->id);
	auth_work(sync);
}

static void
auth_read(void *arg)
{
	DeliverDeclaration *declaration = arg;

	declaration->auth = connector_auth(declaration->sync->server, declaration->sync->owner,
									   declaration->context);
}

/* A secret that cannot be read (its file is gone) is the target's trouble: it is looked for again. */
static void
auth_work(void *arg)
{
	DeliverSync *sync = arg;
	DeliverDeclaration *declaration = sync->declaration;
	DeliverError error;
	bool		readable = deliver_subtransaction(auth_read, declaration, &error);
	Oid			user = readable ? declaration->auth->userid : declaration->sync->owner;
	Oid			server = declaration->sync->server;

	sync->target = deliver_target_get(server, user, GetForeignServer(server)->servername);
	dlist_push_tail(&sync->target->syncs, &sync->node);
	deliver_budget_look_again(sync->target);
	deliver_target_pause(sync->target, sync->held_back);
	if (!readable)
	{
		declaration->auth = NULL;
		deliver_target_refused(sync->target, TARGET_AUTH, error.message);
	}
}

/* After an error that will pass, everything in memory stays; later again. */
void
deliver_sync_rest(DeliverSync *sync, const DeliverError *error)
{
	if (sync->rests == 0 && !deliver_asked_to_stop())
		ereport(LOG,
				(errcode(error->sqlstate),
				 errmsg("activate: sync " INT64_FORMAT " waits: %s", sync->id, error->message)));
	sync->rests++;
	sync->rest_until = clock_now() + deliver_backoff_us(sync->rests, false);
}

typedef struct PauseWork
{
	int64		id;
	const char *reason;
	const Sync *tried;			/* NULL: the declaration could not be read */
	bool		outdated;
} PauseWork;

static void
pause_work(void *arg)
{
	PauseWork  *work = arg;
	Sync	   *now = work->tried && work->tried->query_tree ? sync_load(work->id, CurrentMemoryContext) : NULL;

	/* while a column changed its type, say: it is the former declaration that cannot be rendered */
	work->outdated = now && now->query_tree && strcmp(now->query_tree, work->tried->query_tree) != 0;
	if (!work->outdated)
		sync_pause(work->id, work->reason);
}

/* It cannot work until somebody changes something: paused, with the reason. */
void
deliver_sync_break(DeliverSync *sync, const char *reason)
{
	PauseWork	work = {sync->id, reason, sync->declaration ? sync->declaration->sync : NULL, false};
	DeliverError error;

	deliver_queue_forget(sync);
	if (deliver_transaction(pause_work, &work, &error))
	{
		sync->broken = true;
		engine->stale |= work.outdated;
	}
	else
		deliver_sync_rest(sync, &error);
}

static void
hold_work(void *arg)
{
	PauseWork  *work = arg;
	Sync	   *sync = sync_load(work->id, CurrentMemoryContext);

	if (sync)
		quality_tripped(sync, 0, work->reason);
}

/* A row was met that lets nothing pass.  Nothing of it has been sent. */
void
deliver_sync_hold(DeliverSync *sync, const char *reason)
{
	PauseWork	work = {.id = sync->id, .reason = reason};
	DeliverError error;

	sync->declaration->plan.held = false;
	deliver_queue_forget(sync);
	if (deliver_transaction(hold_work, &work, &error))
		sync->broken = true;
	else
		deliver_sync_rest(sync, &error);
}
