/*
 * runners.c
 *	  The worker's side of runners: start them for due syncs, notice their end.
 *
 * At most activate.runners at once.  Runners outlive a worker that is started
 * anew: those that are already there count, and sync_lock() keeps them from
 * overlapping.  Whatever a runner dies of, its sync's run is recorded as
 * failed, and its tick is taken: a sync that cannot start does not spin.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "schedule/settings.h"
#include "schedule/spawn.h"
#include "schedule/worker.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define RUNNERS_MAX		64

/* How soon a sync may start again whose start came to nothing. */
#define RUNNERS_PAUSE	(10 * USECS_PER_SEC)

typedef struct Runner
{
	BackgroundWorkerHandle *handle; /* NULL: slot free */
	int64		sync;
	bool		queued;
	TimestampTz tick;
	TimestampTz spawned;
} Runner;

static Runner runners[RUNNERS_MAX];

/* Runners that an earlier worker of this database had started. */
static bool adopted = false;

/* A runner could not start: its owner may be gone, which tells nobody. */
static bool plan_is_stale = false;

static void runner_settle(void *arg);
static void runner_unsettled(const Runner *runner);
static void runner_not_started(const Runner *runner);
static void fail_leftovers(void *arg);

void
runners_adopt(void)
{
	pid_t		pid;

	adopted = spawn_find(MyDatabaseId, SPAWN_RUNNER, &pid, 1) > 0;
}

int
runners_active(void)
{
	int			active = 0;

	for (int i = 0; i < RUNNERS_MAX; i++)
		if (runners[i].handle != NULL)
			active++;
	return active;
}

bool
runners_busy_with(int64 sync)
{
	for (int i = 0; i < RUNNERS_MAX; i++)
		if (runners[i].handle != NULL && runners[i].sync == sync)
			return true;
	return false;
}

bool
runners_ticked(int64 sync)
{
	for (int i = 0; i < RUNNERS_MAX; i++)
		if (runners[i].handle != NULL && runners[i].sync == sync && !runners[i].queued)
			return true;
	return false;
}

/* False: a sync is due, and there is no slot for its runner. */
bool
runners_start_due(void)
{
	PlannedSync *sync;

	while ((sync = plan_first_due()) != NULL)
	{
		RunnerOrder order;
		Runner	   *runner = NULL;
		char		name[BGW_MAXLEN];
		pid_t		pids[RUNNERS_MAX];

		if (adopted)
		{
			int			there = spawn_find(MyDatabaseId, SPAWN_RUNNER, pids, RUNNERS_MAX);

			adopted = there > runners_active();
			if (there >= schedule_runners)
				return true;
		}
		if (runners_active() >= schedule_runners)
			return true;
		for (int i = 0; i < RUNNERS_MAX && runner == NULL; i++)
			if (runners[i].handle == NULL)
				runner = &runners[i];
		if (runner == NULL)
			return true;

		order.dboid = MyDatabaseId;
		order.login = sync->login ? sync->owner : InvalidOid;
		order.sync = sync->id;
		order.tick = sync->last;
		order.queued = sync->queue;
		snprintf(name, sizeof(name), SPAWN_RUNNER " for sync " INT64_FORMAT, sync->id);
		runner->handle = spawn_worker("schedule_runner_main", SPAWN_RUNNER, name,
									  MyDatabaseId, &order, sizeof(order));
		if (runner->handle == NULL)
			return false;		/* stays due: its turn comes when a slot is free */
		runner->sync = sync->id;
		runner->queued = sync->queue;
		runner->tick = sync->last;
		runner->spawned = GetCurrentTimestamp();
		sync->due = false;
	}
	return true;
}

bool
runners_reap(void)
{
	bool		ended = false;

	for (int i = 0; i < RUNNERS_MAX; i++)
	{
		if (runners[i].handle == NULL || !spawn_stopped(runners[i].handle))
			continue;
		pfree(runners[i].handle);
		runners[i].handle = NULL;
		plan_is_stale = false;
		if (!spawn_transaction(runner_settle, &runners[i]))
			runner_unsettled(&runners[i]);
		if (plan_is_stale)
			(void) plan_load();
		order_ended(runners[i].sync);
		ended = true;
	}
	return ended;
}

/* What a runner left to do: nothing, normally. */
static void
runner_settle(void *arg)
{
	const Runner *runner = arg;
	PlannedSync *sync = plan_find(runner->sync);
	Oid			types[3] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[3] = {Int64GetDatum(runner->sync), TimestampTzGetDatum(runner->tick),
	TimestampTzGetDatum(runner->spawned)};
	bool		isnull;

	fail_leftovers(NULL);
	if (SPI_execute_with_args("SELECT taken, started, failed FROM activate._runner_result($1, $2, $3)",
							  3, types, values, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the result of a runner");
	if (runner->queued)
	{
		bool		started = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));

		queue_ended(runner->sync, started,
					DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull)));
		plan_is_stale = !started;
	}
	else if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		runner_not_started(runner);
	else if (sync != NULL && !DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
		sync->not_before = GetCurrentTimestamp() + RUNNERS_PAUSE;
}

/* Nothing can be recorded (no room on the disk, perhaps): its tick is not taken, and comes again after a pause. */
static void
runner_unsettled(const Runner *runner)
{
	PlannedSync *sync = plan_find(runner->sync);

	if (runner->queued)
		queue_ended(runner->sync, true, true);
	else if (sync != NULL)
		sync->not_before = GetCurrentTimestamp() + RUNNERS_PAUSE;
}

/* It could not connect, or was stopped before its first transaction. */
static void
runner_not_started(const Runner *runner)
{
	Oid			types[2] = {INT8OID, TIMESTAMPTZOID};
	Oid			fail_types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum(runner->sync), TimestampTzGetDatum(runner->tick)};
	Datum		run;
	bool		isnull;

	plan_is_stale = true;
	if (SPI_execute_with_args("SELECT activate._tick_taken($1, $2)",
							  2, types, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_execute_with_args("SELECT activate._run_start($1)",
							  1, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not record a run that did not start");
	run = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		return;
	values[0] = run;
	values[1] = CStringGetTextDatum("the background worker that was to run it could not start; see the server log");
	if (SPI_execute_with_args("SELECT activate._run_failed($1, $2)",
							  2, fail_types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not record a run that did not start");
}

/* Runs whose process is gone. */
void
runners_fail_leftovers(void)
{
	(void) spawn_transaction(fail_leftovers, NULL);
}

static void
fail_leftovers(void *arg)
{
	if (SPI_execute("SELECT activate._run_failed(r, 'the process that ran it is gone')"
					" FROM activate._runs_left_behind() r", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for runs that were left behind");
}
