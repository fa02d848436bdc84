/*
 * wait.c
 *	  activate_wait(): until what was committed when it was called is settled.
 *
 * Every look takes a snapshot of its own, also in a REPEATABLE READ
 * transaction, and asks for rows that were visible to the first one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "pgstat.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A message that was settled wakes us; this is for what settles without one. */
#define LONGEST_SLEEP_MS 1000

/*
 * A look may have to go past many rows that are gone, and settling wakes us
 * hundreds of times a second: between two looks we rest several times as long
 * as one took, so that waiting does not take the processor from who delivers.
 */
#define REST_FACTOR		10
#define LONGEST_REST_MS 100

typedef struct Pending
{
	bool		waiting;
	int64		held;			/* counted only if nothing waits */
} Pending;

static void refuse_own_intents(const Sync *sync);
static Pending look(int64 id, char **snapshot);
static bool cannot_settle(int64 id, const Pending *pending);
static bool wait_until(int64 id, char *snapshot, TimestampTz end);

ACTIVATE_FUNCTION(activate_wait);

Datum
activate_wait(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync(fcinfo);
	TimestampTz end;
	char	   *snapshot = NULL;
	Pending		pending;

	if (PG_ARGISNULL(1))
		end = DT_NOEND;
	else
		end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													  TimestampTzGetDatum(GetCurrentTimestamp()),
													  PG_GETARG_DATUM(1)));
	refuse_own_intents(sync);
	pending = look(sync->id, &snapshot);
	if (!pending.waiting && pending.held == 0)
		PG_RETURN_BOOL(true);
	if (cannot_settle(sync->id, &pending))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(wait_until(sync->id, snapshot, end));
}

static void
refuse_own_intents(const Sync *sync)
{
	if (outbox_appended(sync->id))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot wait for sync \"%s\" in the transaction that enqueued for it", sync->name),
				 errhint("Commit first: nothing is sent before.")));
}

static bool
wait_until(int64 id, char *snapshot, TimestampTz end)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext round = AllocSetContextCreate(caller, "activate wait", ALLOCSET_DEFAULT_SIZES);
	bool		done = false;

	if (database)
		ConditionVariablePrepareToSleep(&database->settled);
	for (;;)
	{
		TimestampTz started = GetCurrentTimestamp();
		Pending		pending;
		long		left;
		long		rest;

		MemoryContextReset(round);
		MemoryContextSwitchTo(round);
		pending = look(id, &snapshot);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);

		done = !pending.waiting && pending.held == 0;
		if (done || left <= 0 || cannot_settle(id, &pending))
			break;
		left = Min(left, LONGEST_SLEEP_MS);
		rest = Min((GetCurrentTimestamp() - started) * REST_FACTOR / 1000, Min(left, LONGEST_REST_MS));
		if (rest > 0)
			(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, rest, PG_WAIT_EXTENSION);
		left -= rest;
		CHECK_FOR_INTERRUPTS();
		if (database)
			ConditionVariableTimedSleep(&database->settled, left, PG_WAIT_EXTENSION);
		else
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
	}
	ConditionVariableCancelSleep();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(round);
	return done;
}

/* Nothing will change by waiting: says why. */
static bool
cannot_settle(int64 id, const Pending *pending)
{
	Sync	   *sync = sync_load(id, CurrentMemoryContext);
	char	   *reason;

	if (sync == NULL)
		reason = pstrdup("it was dropped");
	else if (!pending->waiting)
		reason = psprintf("%lld deletes are held; activate_run(..., full => true) or activate_discard() decides",
						  (long long) pending->held);
	else
		reason = sync_undelivered_reason(sync);
	if (reason == NULL)
		return false;
	ereport(NOTICE, (errmsg("not waiting for the sync: %s", reason)));
	return true;
}

/* What is pending of what *snapshot saw; *snapshot NULL: of everything, and it is set. */
static Pending
look(int64 id, char **snapshot)
{
	static SPIPlanPtr plan = NULL;
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum(id), (Datum) 0};
	char		nulls[3] = "  ";
	Pending		result;
	bool		isnull;

	if (*snapshot)
		values[1] = CStringGetTextDatum(*snapshot);
	else
		nulls[1] = 'n';

	identity_enter_extension(&scope);
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT waiting, held, snapshot FROM activate._pending($1, $2)", 2, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the look at what is pending");
	}
	SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot, true, false, 1);
	result.waiting = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	result.held = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (*snapshot == NULL)
		*snapshot = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3));
	SPI_finish();
	identity_leave(&scope);
	return result;
}
