/*
 * plan.c
 *	  What is to be run in this database, and when.
 *
 * The plan is read anew whenever a declaration or a setting changed; between
 * that nothing is asked of the catalog but whether an "after" has come true.
 * A tick is answered once: activate._tick remembers the last one answered, the
 * runner writes it in the transaction that records the run.  So ticks missed
 * while the server was down are one tick that is due now.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/guc.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "schedule/settings.h"
#include "schedule/spawn.h"
#include "schedule/tick.h"
#include "schedule/worker.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* The present plan and the context it lives in. */
static WorkPlan *current = NULL;
static MemoryContext current_context = NULL;

typedef struct PlanReading
{
	MemoryContext context;
	WorkPlan	   *plan;
} PlanReading;

static void plan_read(void *arg);
static PlannedSync *plan_read_sync(HeapTuple tuple, TupleDesc desc);
static void plan_carry_over(PlannedSync *sync);
static void plan_read_chained(void *arg);
static void plan_make_due(PlannedSync *sync, TimestampTz now);
static bool plan_ticked(PlannedSync *sync, TimestampTz now, TimestampTz *tick);

bool
plan_load(void)
{
	PlanReading reading;

	reading.context = AllocSetContextCreate(TopMemoryContext, "activate plan", ALLOCSET_DEFAULT_SIZES);
	reading.plan = MemoryContextAllocZero(reading.context, sizeof(WorkPlan));
	if (!spawn_transaction(plan_read, &reading))
	{
		MemoryContextDelete(reading.context);
		return false;
	}
	if (current_context != NULL)
		MemoryContextDelete(current_context);
	current = reading.plan;
	current_context = reading.context;
	return true;
}

const WorkPlan *
plan_current(void)
{
	return current;
}

static Datum
plan_value(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected NULL in column %d of the plan", column);
	return value;
}

static void
plan_read(void *arg)
{
	PlanReading *reading = arg;
	WorkPlan	   *plan = reading->plan;
	Oid			types[3] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[3];
	HeapTuple	state;
	MemoryContext old;

	if (SPI_execute("SELECT declared, deliver, installation = 'copy' FROM activate._worker_state()",
					true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the state of the installation");
	state = SPI_tuptable->vals[0];
	plan->declared = DatumGetBool(plan_value(state, SPI_tuptable->tupdesc, 1));
	plan->deliver = DatumGetBool(plan_value(state, SPI_tuptable->tupdesc, 2));
	plan->copy = DatumGetBool(plan_value(state, SPI_tuptable->tupdesc, 3));
	if (plan->copy || !plan->declared)
		return;

	old = MemoryContextSwitchTo(reading->context);
	plan->queues = queue_read(current);
	MemoryContextSwitchTo(old);

	if (SPI_execute("SELECT activate._note_upstream()", false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not write down the order of the syncs");

	values[0] = CStringGetTextDatum(schedule_timetable);
	values[1] = CStringGetTextDatum(pg_get_timezone_name(tick_default_zone()));
	values[2] = TimestampTzGetDatum(clock_now());
	if (SPI_execute_with_args("SELECT sync, name, owner, login, schedule, last, model FROM activate._plan($1, $2, $3)",
							  3, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the scheduled syncs");

	old = MemoryContextSwitchTo(reading->context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		PlannedSync *sync = plan_read_sync(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);

		if (sync != NULL)
			plan->syncs = lappend(plan->syncs, sync);
	}
	order_read(plan);
	MemoryContextSwitchTo(old);
}

/* NULL: a schedule that this version cannot read stops that sync only. */
static PlannedSync *
plan_read_sync(HeapTuple tuple, TupleDesc desc)
{
	PlannedSync *sync = palloc0(sizeof(PlannedSync));
	CronError	error;

	sync->id = DatumGetInt64(plan_value(tuple, desc, 1));
	sync->name = TextDatumGetCString(plan_value(tuple, desc, 2));
	sync->owner = DatumGetObjectId(plan_value(tuple, desc, 3));
	sync->login = DatumGetBool(plan_value(tuple, desc, 4));
	sync->schedule = TextDatumGetCString(plan_value(tuple, desc, 5));
	sync->last = DatumGetTimestampTz(plan_value(tuple, desc, 6));
	sync->model = DatumGetBool(plan_value(tuple, desc, 7));
	if (!cron_parse(sync->schedule, &sync->cron, &error))
	{
		ereport(LOG,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sync \"%s\" does not run: invalid schedule \"%s\"", sync->name, sync->schedule),
				 errdetail("%s", error.message)));
		return NULL;
	}
	plan_carry_over(sync);
	if (!tick_next(&sync->cron, sync->last, tick_default_zone(), &sync->next))
		sync->next = 0;
	return sync;
}

/* What the old plan knew and the catalog does not. */
static void
plan_carry_over(PlannedSync *sync)
{
	ListCell   *lc;

	foreach(lc, current ? current->syncs : NIL)
	{
		PlannedSync *old = lfirst(lc);

		if (old->id != sync->id || strcmp(old->schedule, sync->schedule) != 0)
			continue;
		/* unless the clock was set back */
		if (old->last > sync->last && old->last <= clock_now())
			sync->last = old->last;
		sync->due = old->due;
		sync->due_since = old->due_since;
		sync->not_before = old->not_before;
		sync->ended = old->ended;
	}
}

void
plan_find_due(TimestampTz now)
{
	ListCell   *lc;

	foreach(lc, current->syncs)
	{
		PlannedSync *sync = lfirst(lc);
		TimestampTz tick;

		if (sync->due || !plan_ticked(sync, now, &tick))
			continue;
		sync->last = tick;
		if (!tick_next(&sync->cron, tick, tick_default_zone(), &sync->next))
			sync->next = 0;
		/* a sync never overlaps itself: this tick is skipped, but not because of its queue */
		if (!runners_ticked(sync->id))
			plan_make_due(sync, now);
	}
}

bool
plan_has_chain(void)
{
	ListCell   *lc;

	foreach(lc, current->syncs)
		if (((PlannedSync *) lfirst(lc))->cron.kind == CRON_AFTER)
			return true;
	return false;
}

void
plan_find_chained(void)
{
	(void) spawn_transaction(plan_read_chained, NULL);
}

static void
plan_read_chained(void *arg)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(schedule_timetable)};
	TimestampTz now = clock_now();
	ListCell   *lc;

	if (SPI_execute_with_args("SELECT r FROM activate._after_ready($1) r",
							  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look at what syncs wait for");
	foreach(lc, current->syncs)
		((PlannedSync *) lfirst(lc))->ready = false;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		PlannedSync *sync = plan_find(DatumGetInt64(plan_value(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1)));

		if (sync != NULL)
			sync->ready = true;
		if (sync == NULL || sync->due || sync->not_before > GetCurrentTimestamp() ||
			runners_busy_with(sync->id))
			continue;
		sync->last = now;
		plan_make_due(sync, now);
	}
	/* what a model waits for may have failed since it became due */
	foreach(lc, current->syncs)
	{
		PlannedSync *sync = lfirst(lc);

		if (sync->model && !sync->ready)
			sync->due = false;
	}
}

PlannedSync *
plan_find(int64 id)
{
	ListCell   *lc;

	foreach(lc, current->syncs)
		if (((PlannedSync *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

/* Has a tick come?  tick: from when the next one counts. */
static bool
plan_ticked(PlannedSync *sync, TimestampTz now, TimestampTz *tick)
{
	*tick = now;
	if (sync->cron.kind == CRON_REBOOT)
		return sync->last < PgStartTime + activate_clock_offset * USECS_PER_SEC;
	if (sync->next == 0 || sync->next > now)
		return false;
	/* no drift, unless ticks were missed */
	if (sync->cron.kind == CRON_EVERY && now - sync->next < sync->cron.every * USECS_PER_SEC)
		*tick = sync->next;
	return true;
}

static void
plan_make_due(PlannedSync *sync, TimestampTz now)
{
	sync->due = true;
	sync->due_since = now;
}

/* First come, first served. */
PlannedSync *
plan_first_due(void)
{
	List	   *lists[] = {current->syncs, current->queues};
	PlannedSync *first = NULL;

	for (int i = 0; i < lengthof(lists); i++)
	{
		ListCell   *lc;

		foreach(lc, lists[i])
		{
			PlannedSync *sync = lfirst(lc);

			if (sync->due && (first == NULL || sync->due_since < first->due_since) &&
				!runners_busy_with(sync->id) && !order_waits(sync))
				first = sync;
		}
	}
	return first;
}

TimestampTz
plan_next_tick(void)
{
	TimestampTz next = 0;
	ListCell   *lc;

	foreach(lc, current->syncs)
	{
		PlannedSync *sync = lfirst(lc);

		if (sync->next != 0 && (next == 0 || sync->next < next))
			next = sync->next;
	}
	return next;
}
