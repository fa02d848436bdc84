/*
 * launcher.c
 *	  One process per cluster that sees to it that every database which wants
 *	  one has a worker.
 *
 * It is connected to no database, so that it stands in nobody's way.  At the
 * start every database that can be connected to is looked at by a worker, one
 * after another, so that a cluster with a thousand of them is not flooded: a
 * worker that finds no extension, or nothing declared, ends at once.  Later
 * only those are looked at that are new or "wanted" (shared.h).
 *
 * "wanted" is the whole protocol: it is set by whoever changes something, and
 * by a worker that stays; a worker that leaves of its own accord clears it.  So
 * a database that is wanted but has no worker lost it, or never had one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "core/shared.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "schedule/hook.h"
#include "schedule/schedule.h"
#include "schedule/spawn.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A worker that lived for less is not started again at once. */
#define LAUNCHER_SHORT_LIFE_MS	10000
#define LAUNCHER_FIRST_DELAY_MS	250
#define LAUNCHER_MIN_DELAY_MS	1000
#define LAUNCHER_MAX_DELAY_MS	60000

/* When there is no slot: out of step with what ticks every second. */
#define LAUNCHER_SHORTAGE_MS	230

/* How long one look at a database may keep the others waiting. */
#define LAUNCHER_LOOK_MS		5000

typedef struct LauncherDatabase
{
	Oid			dboid;
	bool		exists;			/* in the scan of pg_database under way */
	bool		unseen;			/* no worker has looked at it yet */
	BackgroundWorkerHandle *handle; /* NULL: no worker */
	TimestampTz started;
	TimestampTz not_before;
	int			failures;
} LauncherDatabase;

extern PGDLLEXPORT void schedule_launcher_main(Datum main_arg);

static MemoryContext scan_context = NULL;
static List *databases = NIL;	/* of LauncherDatabase, in TopMemoryContext */

static void launcher_scan(void);
static void launcher_note(Oid dboid);
static void launcher_forget_dropped(void);
static void launcher_reap(LauncherDatabase *entry, TimestampTz now);
static long launcher_start_next(TimestampTz now);
static bool launcher_looking(LauncherDatabase *entry, TimestampTz now);
static bool launcher_needed(LauncherDatabase *entry);

void
schedule_init(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished; /* a primary only */
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "activate", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "schedule_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_type, SPAWN_LAUNCHER, BGW_MAXLEN);
	strlcpy(worker.bgw_name, SPAWN_LAUNCHER, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);

	hook_init();
}

void
schedule_launcher_main(Datum main_arg)
{
	spawn_begin(InvalidOid, InvalidOid, SPAWN_LAUNCHER);
	shared_set_process(&shared_memory()->launcher);
	scan_context = AllocSetContextCreate(TopMemoryContext, "activate launcher scan", ALLOCSET_DEFAULT_SIZES);
	spawn_report(false, "waiting for databases to serve");

	for (;;)
	{
		TimestampTz now;
		ListCell   *lc;
		long		timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		launcher_scan();
		launcher_forget_dropped();
		now = GetCurrentTimestamp();
		foreach(lc, databases)
			launcher_reap(lfirst(lc), now);
		timeout = launcher_start_next(now);

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

static void
launcher_scan(void)
{
	MemoryContext old;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	foreach(lc, databases)
		((LauncherDatabase *) lfirst(lc))->exists = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	old = MemoryContextSwitchTo(scan_context);
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* left behind by an interrupted DROP DATABASE */
		if (!form->datallowconn || form->datconnlimit == -2)
			continue;
		launcher_note(form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(scan_context);
}

static void
launcher_note(Oid dboid)
{
	ListCell   *lc;
	LauncherDatabase *entry;
	MemoryContext old;

	foreach(lc, databases)
	{
		entry = lfirst(lc);
		if (entry->dboid == dboid)
		{
			entry->exists = true;
			return;
		}
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	entry = palloc0(sizeof(LauncherDatabase));
	entry->dboid = dboid;
	entry->exists = true;
	entry->unseen = true;
	databases = lappend(databases, entry);
	MemoryContextSwitchTo(old);
}

/* Dropped, or closed to connections: forget it together with its slot, once nobody needs that any more. */
static void
launcher_forget_dropped(void)
{
	SharedMemory *shared = shared_memory();
	ListCell   *lc;

	foreach(lc, databases)
	{
		LauncherDatabase *entry = lfirst(lc);
		SharedDatabase *slot;
		bool		needed;

		if (entry->exists || (entry->handle != NULL && !spawn_stopped(entry->handle)))
			continue;
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		slot = shared_database(entry->dboid, false);
		needed = slot != NULL && (slot->blocked > 0 || slot->worker.pid != 0);
		if (slot != NULL && !needed)
			slot->dboid = InvalidOid;
		LWLockRelease(shared->lock);
		if (needed)
			continue;
		if (entry->handle != NULL)
			pfree(entry->handle);
		pfree(entry);
		databases = foreach_delete_current(databases, lc);
	}
}

static void
launcher_reap(LauncherDatabase *entry, TimestampTz now)
{
	SharedMemory *shared = shared_memory();
	SharedDatabase *slot;
	bool		asked;
	long		delay;

	if (entry->handle == NULL || !spawn_stopped(entry->handle))
		return;
	pfree(entry->handle);
	entry->handle = NULL;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = shared_database(entry->dboid, false);
	asked = slot == NULL || slot->blocked > 0 || !slot->wanted;
	/* nobody has to do with it: room for another database */
	if (slot != NULL && slot->blocked == 0 && !slot->wanted && slot->unfit == 0 && slot->worker.pid == 0)
		slot->dboid = InvalidOid;
	LWLockRelease(shared->lock);

	/*
	 * A worker that keeps dying must not keep the server busy.  To have been
	 * asked to leave by DDL, or to have found nothing to do, is no failure.
	 * The first delay is for those that made room for the runners of others.
	 */
	if (asked || TimestampDifferenceExceeds(entry->started, now, LAUNCHER_SHORT_LIFE_MS))
		entry->failures = 0;
	delay = entry->failures == 0 ? LAUNCHER_FIRST_DELAY_MS :
		Min(LAUNCHER_MIN_DELAY_MS << Min(entry->failures - 1, 6), LAUNCHER_MAX_DELAY_MS);
	entry->not_before = asked ? now : TimestampTzPlusMilliseconds(now, delay);
	if (!asked)
		entry->failures++;
}

/*
 * Starts the worker of the first database in the row that needs one, unless
 * another is still being looked at.  Who was served goes to the end of the row:
 * fair turns, also when slots are short.  Returns how long to wait, -1: until
 * woken.
 */
static long
launcher_start_next(TimestampTz now)
{
	long		timeout = -1;
	ListCell   *lc;

	foreach(lc, databases)
		if (launcher_looking(lfirst(lc), now))
			return 100;

	foreach(lc, databases)
	{
		LauncherDatabase *entry = lfirst(lc);
		char		name[BGW_MAXLEN];
		long		wait;

		if (entry->handle != NULL || !entry->exists || !launcher_needed(entry))
			continue;
		wait = TimestampDifferenceMilliseconds(now, entry->not_before);
		if (wait > 0)
		{
			timeout = timeout < 0 ? wait : Min(timeout, wait);
			continue;
		}

		databases = foreach_delete_current(databases, lc);
		databases = lappend(databases, entry);
		snprintf(name, sizeof(name), SPAWN_WORKER " for database %u", entry->dboid);
		entry->handle = spawn_worker("schedule_worker_main", SPAWN_WORKER, name, entry->dboid, NULL, 0);
		if (entry->handle == NULL)
			return LAUNCHER_SHORTAGE_MS;
		entry->started = now;
		entry->unseen = false;
		return 100;
	}
	return timeout;
}

/* Started, and neither at work nor gone yet. */
static bool
launcher_looking(LauncherDatabase *entry, TimestampTz now)
{
	SharedMemory *shared = shared_memory();
	SharedDatabase *slot;
	bool		serving;

	if (entry->handle == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	slot = shared_database(entry->dboid, false);
	serving = slot != NULL && slot->worker.pid != 0;
	LWLockRelease(shared->lock);
	return !serving && !TimestampDifferenceExceeds(entry->started, now, LAUNCHER_LOOK_MS);
}

static bool
launcher_needed(LauncherDatabase *entry)
{
	SharedMemory *shared = shared_memory();
	SharedDatabase *slot;
	bool		needed;

	LWLockAcquire(shared->lock, LW_SHARED);
	slot = shared_database(entry->dboid, false);
	needed = entry->unseen || (slot != NULL && slot->wanted);
	if (slot != NULL && (slot->blocked > 0 || slot->worker.pid != 0))
		needed = false;
	/* what is captured meanwhile wants a worker, which could do nothing */
	if (slot != NULL && slot->unfit != 0 && slot->unfit == pg_atomic_read_u64(&slot->generation))
		needed = false;
	LWLockRelease(shared->lock);
	return needed;
}
