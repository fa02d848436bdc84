/*
 * queue.c
 *	  Syncs to tables whose changes are captured by trigger: keys are queued in
 *	  the outbox, and a runner applies them (SEMANTICS 11).
 *
 * Whoever commits such keys wakes the worker (outbox/wake.c).  A queue is a
 * sync that becomes due when keys are there and no runner has it: so one runner
 * takes what many commits have left, and none works beside another.  What
 * failed is tried again, later each time; the keys stay.  What could not begin,
 * because a run by hand has the sync, is tried again each second.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "outbox/outbox.h"
#include "schedule/spawn.h"
#include "schedule/worker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* Between two attempts: doubles from the one to the other. */
#define QUEUE_MIN_DELAY		USECS_PER_SEC
#define QUEUE_MAX_DELAY		(300 * USECS_PER_SEC)

static PlannedSync *queue_find(const WorkPlan *plan, int64 id);
static bool queue_waits(const PlannedSync *sync);
static void queue_look(void *arg);

List *
queue_read(const WorkPlan *old)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *queues = NIL;
	int64	   *ids;

	if (SPI_execute("SELECT sync, owner, login FROM activate._queues()", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the syncs with a queue");
	MemoryContextSwitchTo(context);
	ids = palloc(sizeof(int64) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		PlannedSync *sync = palloc0(sizeof(PlannedSync));
		HeapTuple	tuple = SPI_tuptable->vals[i];
		PlannedSync *before;
		bool		isnull;

		sync->id = ids[i] = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		sync->owner = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		sync->login = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
		sync->queue = true;
		before = queue_find(old, sync->id);
		if (before != NULL)
		{
			sync->due = before->due;
			sync->due_since = before->due_since;
			sync->not_before = before->not_before;
			sync->failures = before->failures;
			sync->ended = before->ended;
			sync->empty = before->empty;
		}
		queues = lappend(queues, sync);
	}
	outbox_serve_queues(ids, list_length(queues));
	return queues;
}

/* look: something may have been queued. */
void
queue_find_due(bool look)
{
	ListCell   *lc;

	if (!look)
		return;
	foreach(lc, plan_current()->queues)
	{
		if (!queue_waits(lfirst(lc)))
			continue;
		(void) spawn_transaction(queue_look, NULL);
		return;
	}
}

void
queue_ended(int64 id, bool started, bool failed)
{
	PlannedSync *sync = queue_find(plan_current(), id);

	if (sync == NULL)
		return;
	sync->not_before = 0;
	if (!started)
		sync->not_before = GetCurrentTimestamp() + QUEUE_MIN_DELAY;
	else if (failed)
		sync->not_before = GetCurrentTimestamp() + Min(QUEUE_MIN_DELAY << Min(sync->failures, 20), QUEUE_MAX_DELAY);
	if (started)
		sync->failures = failed ? sync->failures + 1 : 0;
}

static PlannedSync *
queue_find(const WorkPlan *plan, int64 id)
{
	ListCell   *lc;

	foreach(lc, plan ? plan->queues : NIL)
		if (((PlannedSync *) lfirst(lc))->id == id)
			return lfirst(lc);
	return NULL;
}

/* Would keys make it due now? */
static bool
queue_waits(const PlannedSync *sync)
{
	return !sync->due && sync->not_before <= GetCurrentTimestamp() && !runners_busy_with(sync->id);
}

static void
queue_look(void *arg)
{
	List	   *queues = plan_current()->queues;
	Datum	   *ids = palloc(sizeof(Datum) * list_length(queues));
	Datum	   *since = palloc(sizeof(Datum) * list_length(queues));
	Oid			types[2] = {INT8ARRAYOID, XID8ARRAYOID};
	Datum		values[2];
	int			n = 0;
	ListCell   *lc;

	foreach(lc, queues)
	{
		PlannedSync *sync = lfirst(lc);

		if (!queue_waits(sync))
			continue;
		ids[n] = Int64GetDatum(sync->id);
		since[n++] = FullTransactionIdGetDatum(sync->empty);
	}
	values[0] = PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(since, n, XID8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	if (SPI_execute_with_args("SELECT sync, queued, until FROM activate._queued($1, $2)",
							  2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for queued keys");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		PlannedSync *sync = queue_find(plan_current(), DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull)));

		if (DatumGetBool(SPI_getbinval(tuple, desc, 2, &isnull)))
		{
			sync->due = true;
			sync->due_since = GetCurrentTimestamp();
		}
		else
			sync->empty = DatumGetFullTransactionId(SPI_getbinval(tuple, desc, 3, &isnull));
	}
}
