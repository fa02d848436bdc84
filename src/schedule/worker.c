/*
 * worker.c
 *	  The worker of a database: reads the plan, starts runners at their ticks,
 *	  keeps deliverers, does the housekeeping.
 *
 * It stays as long as something is declared.  Between two rounds it holds no
 * transaction, snapshot or lock, so no DDL ever waits for it.  It sleeps until
 * the next tick, a wake (a commit that changed a declaration, the end of a
 * runner, reload), or the second is over: once a second it looks whether the
 * extension is still there and whether ALTER DATABASE ... SET changed
 * something, a handful of index probes.  Where a sync waits for others
 * ("after"), that look includes them, because runs by hand wake nobody.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "core/clock.h"
#include "core/guc.h"
#include "core/identity.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "schedule/schedule.h"
#include "schedule/settings.h"
#include "schedule/spawn.h"
#include "schedule/worker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define WORKER_LOOK_MS			1000
#define WORKER_HOUSEKEEP_MS		60000
#define WORKER_STARVE_MS		2000

/* Set by the Makefile from the control file: what extversion must be. */
#ifndef ACTIVATE_VERSION
#error "ACTIVATE_VERSION is not defined"
#endif

/* Why a worker does not serve its database. */
typedef enum WorkerFit
{
	WORKER_FITS,
	WORKER_NO_EXTENSION,
	WORKER_OTHER_VERSION		/* of the SQL objects */
} WorkerFit;

extern PGDLLEXPORT void schedule_worker_main(Datum main_arg);

static SharedDatabase *slot = NULL;
static uint64 seen_generation = 0;
static char *database_name = NULL;
static TimestampTz next_housekeeping;	/* by clock_now() */
static char said[160] = "";		/* in pg_stat_activity */

static void worker_enter(Oid dboid);
static void worker_note_origin(void *arg);
static void worker_leave(const char *why);
static void worker_exit(int code, Datum arg);
static WorkerFit worker_fit(void);
static bool worker_note_unfit(void);
static char *worker_sql_version(void);
static void worker_take_changes(bool look);
static void worker_round(bool look);
static void worker_make_room(bool served);
static void worker_housekeep(void);
static void worker_remove_old(void *arg);
static void worker_say_state(void);
static void worker_sleep(TimestampTz next_look);

void
schedule_worker_main(Datum main_arg)
{
	MemoryContext context;
	TimestampTz next_look = 0;

	spawn_begin(DatumGetObjectId(main_arg), InvalidOid, SPAWN_WORKER);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	/* compiling one of our small queries would take longer than a second's work */
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	worker_enter(DatumGetObjectId(main_arg));

	next_housekeeping = TimestampTzPlusMilliseconds(clock_now(), WORKER_HOUSEKEEP_MS);
	context = AllocSetContextCreate(TopMemoryContext, "activate worker round", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		bool		look = now >= next_look;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
		if (look)
			next_look = TimestampTzPlusMilliseconds(now, WORKER_LOOK_MS);
		worker_take_changes(look);
		worker_round(look);
		if (clock_now() >= next_housekeeping && !plan_current()->copy)
			worker_housekeep();
		worker_say_state();
		worker_sleep(next_look);
	}
}

/* Takes the database's slot; does not return if there is nothing to serve, or no place. */
static void
worker_enter(Oid dboid)
{
	SharedMemory *shared = shared_memory();
	WorkerFit	fit;
	bool		taken = false;

	StartTransactionCommand();
	database_name = MemoryContextStrdup(TopMemoryContext, get_database_name(dboid));
	CommitTransactionCommand();

	/* changes from here on are noticed */
	slot = shared_database(dboid, false);
	seen_generation = slot ? pg_atomic_read_u64(&slot->generation) : 0;
	fit = worker_fit();
	if (fit != WORKER_FITS)
		worker_leave(NULL);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = shared_database(dboid, true);
	if (slot != NULL && slot->blocked == 0 && slot->worker.pid == 0)
	{
		shared_set_process(&slot->worker);
		slot->wanted = true;
		slot->unfit = 0;
		seen_generation = pg_atomic_read_u64(&slot->generation);
		taken = true;
	}
	LWLockRelease(shared->lock);
	if (slot == NULL)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("activate cannot serve database \"%s\": %d databases use it already",
						database_name, SHARED_DATABASES)));
	if (!taken)
		proc_exit(0);

	before_shmem_exit(worker_exit, (Datum) 0);
	(void) schedule_follow_settings();
	if (!plan_load())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not read the declarations of database \"%s\"", database_name)));
	if (!plan_current()->declared)
		worker_leave(NULL);
	runners_adopt();
	if (!plan_current()->copy)
	{
		runners_fail_leftovers();
		if (!spawn_transaction(worker_note_origin, NULL))
			proc_exit(1);
	}
	shared_wake_launcher();
}

static void
worker_note_origin(void *arg)
{
	bool		isnull;

	if (SPI_execute("SELECT activate._note_origin()", false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look where the database comes from");
	if (DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		ereport(LOG,
				(errmsg("activate: database \"%s\" was set back to an earlier moment", database_name),
				 errdetail("Targets may be newer: deletes of mirrors are held."),
				 errhint("activate_run(..., full => true) lets those of a sync go; "
						 "activate_adopt() says that no target is newer.")));
}

/*
 * Leaves for good, unless something changed since it was last looked at: then
 * it is the launcher's turn to start another worker, which looks again.
 */
static void
worker_leave(const char *why)
{
	SharedMemory *shared = shared_memory();

	if (why != NULL)
		ereport(LOG, (errmsg("activate leaves database \"%s\": %s", database_name, why)));
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = shared_database(MyDatabaseId, false);
	if (slot != NULL && slot->blocked == 0 && pg_atomic_read_u64(&slot->generation) == seen_generation)
		slot->wanted = false;
	LWLockRelease(shared->lock);
	proc_exit(0);
}

/* However it ends: who sends was told its place by us, and goes with us. */
static void
worker_exit(int code, Datum arg)
{
	deliverers_stop();
	shared_wake_launcher();
}

static WorkerFit
worker_fit(void)
{
	char	   *version;
	WorkerFit	fit = WORKER_FITS;

	StartTransactionCommand();
	version = worker_sql_version();
	if (version == NULL)
		fit = WORKER_NO_EXTENSION;
	else if (strcmp(version, ACTIVATE_VERSION) != 0)
	{
		fit = WORKER_OTHER_VERSION;
		if (worker_note_unfit())
			ereport(LOG,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("activate does not work in database \"%s\": the library is version %s, the extension version %s",
							database_name, ACTIVATE_VERSION, version),
					 errhint("Run ALTER EXTENSION activate UPDATE, "
							 "or restart the server to load the library that was installed.")));
	}
	CommitTransactionCommand();
	return fit;
}

/* No worker is started again before something changes; true the first time, which is worth a line. */
static bool
worker_note_unfit(void)
{
	SharedMemory *shared = shared_memory();
	bool		first = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot = shared_database(MyDatabaseId, true);
	if (slot != NULL)
	{
		first = slot->unfit == 0;
		slot->unfit = Max(seen_generation, 1);
	}
	LWLockRelease(shared->lock);
	return first;
}

/* extversion, NULL: not created here. */
static char *
worker_sql_version(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname,
				BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("activate"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

/* Declarations, settings, the extension itself: whatever may have changed meanwhile. */
static void
worker_take_changes(bool look)
{
	uint64		generation = pg_atomic_read_u64(&slot->generation);
	bool		reload = generation != seen_generation;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		reload = true;
	}
	if (look)
	{
		switch (schedule_follow_settings())
		{
			case SCHEDULE_SETTINGS_SAME:
				break;
			case SCHEDULE_SETTINGS_CHANGED:
				reload = true;
				break;
			case SCHEDULE_SETTINGS_RESET:
				proc_exit(0);	/* still wanted: the launcher starts another at once */
		}
	}
	if (!look && !reload)
		return;

	seen_generation = generation;
	switch (worker_fit())
	{
		case WORKER_FITS:
			break;
		case WORKER_NO_EXTENSION:
			worker_leave("the extension was dropped");
			break;
		case WORKER_OTHER_VERSION:
			worker_leave(NULL);
			break;
	}
	if (!reload)
		return;
	if (!plan_load())
		proc_exit(1);			/* the launcher tries again, not too soon */
	if (!plan_current()->declared)
		worker_leave("nothing is declared any more");
}

static void
worker_round(bool look)
{
	static bool said_copy = false;
	bool		ended = runners_reap();
	bool		queued = outbox_take_queued();
	const WorkPlan *plan = plan_current();	/* the reaping may have loaded another */

	if (plan->copy && !said_copy)
		ereport(LOG,
				(errmsg("activate neither runs nor sends anything in database \"%s\": it is a copy", database_name),
				 errdetail("It was restored from a dump, made from a template, upgraded by pg_upgrade, or activate.identity differs."),
				 errhint("If it is the real one now, run SELECT activate_adopt() in it.")));
	said_copy = plan->copy;

	if (activate_enabled && !plan->copy)
	{
		plan_find_due(clock_now());
		if ((ended || look) && plan_has_chain())
			plan_find_chained();
		queue_find_due(ended || look || queued);
		worker_make_room(runners_start_due());
	}
	deliverers_keep(slot, activate_enabled && !plan->copy && plan->deliver ? schedule_deliverers : 0);
}

/*
 * Where workers alone fill all slots, none of them could ever run anything.
 * So who has waited in vain for a while goes, and comes back (it is still
 * wanted) when the others have had their turn.  Who has run something since
 * it came goes sooner than who has not.
 */
static void
worker_make_room(bool served)
{
	static TimestampTz starving_since = 0;
	static bool had_turn = false;
	TimestampTz now = GetCurrentTimestamp();

	had_turn = had_turn || runners_active() > 0;
	if (served || runners_active() > 0 || deliverers_any())
		starving_since = 0;
	else if (starving_since == 0)
		starving_since = now;
	else if (TimestampDifferenceExceeds(starving_since, now,
										had_turn ? WORKER_STARVE_MS : 3 * WORKER_STARVE_MS))
		proc_exit(0);
}

/* A batch; while there is more, ticks have their turn in between. */
static void
worker_housekeep(void)
{
	bool		more = false;

	(void) spawn_transaction(worker_remove_old, &more);
	if (more)
		return;
	runners_fail_leftovers();
	/* a view that was replaced, a table attached: what syncs read may have changed without a declaration */
	(void) plan_load();
	next_housekeeping = TimestampTzPlusMilliseconds(clock_now(), WORKER_HOUSEKEEP_MS);
}

static void
worker_remove_old(void *arg)
{
	bool	   *more = arg;
	bool		isnull;

	spawn_report(true, "housekeeping");
	said[0] = '\0';
	if (SPI_execute("SELECT activate._housekeep()", false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not do the housekeeping");
	*more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* One line for pg_stat_activity, written only when it changes. */
static void
worker_say_state(void)
{
	char		now[160];
	const WorkPlan *plan = plan_current();
	TimestampTz next = plan_next_tick();

	if (plan->copy)
		strlcpy(now, "a copy: waiting for activate_adopt()", sizeof(now));
	else if (!activate_enabled)
		strlcpy(now, "waiting: activate.enabled is off", sizeof(now));
	else
		snprintf(now, sizeof(now), "%d scheduled, %d running, next tick %s",
				 list_length(plan->syncs), runners_active(),
				 next != 0 ? timestamptz_to_str(next) : "none");
	if (strcmp(now, said) == 0)
		return;
	strlcpy(said, now, sizeof(said));
	spawn_report(false, said);
}

static void
worker_sleep(TimestampTz next_look)
{
	TimestampTz tick = plan_next_tick();
	long		timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_look);

	if (tick != 0)
		timeout = Min(timeout, TimestampDifferenceMilliseconds(clock_now(), tick));
	if (!plan_current()->copy)
		timeout = Min(timeout, TimestampDifferenceMilliseconds(clock_now(), next_housekeeping));
	/* a tick that waits for a runner is not waited for in a loop */
	if (plan_first_due() != NULL)
		timeout = Max(timeout, 100);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Max(timeout, 0), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	/* a deliverer does not wait for the disk */
	shared_flush(slot);
}
