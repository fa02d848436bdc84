/*
 * run.c
 *	  activate_run() for people and the entry points of runners.
 *
 * Called by a person, a run is part of the person's transaction: an error is
 * raised and nothing recorded.  A runner commits "running" first
 * (_run_start), then works (_run_execute); what it could not finish is made
 * "failed" afterwards (_run_failed).
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/own.h"
#include "load/load.h"
#include "miscadmin.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static int64 run_start(const Sync *sync);
static void run_finish(int64 run, const RunCounts *counts, const char *error);
static bool run_attempt(const Sync *sync, int64 run, bool queued, RunCounts *counts, char **refused);
static void run_report(const Sync *sync, const RunCounts *counts);

ACTIVATE_FUNCTION(activate_run);
ACTIVATE_FUNCTION(activate_run_start);
ACTIVATE_FUNCTION(activate_run_execute);

Datum
activate_run(PG_FUNCTION_ARGS)
{
	Sync	   *sync;
	bool		full = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	RunCounts	counts = {0};
	int64		run;

	sync = verb_sync_locked(fcinfo);
	sync_refuse_copy();
	run = run_start(sync);
	progress_begin(run, sync->id);
	run_execute(sync, run, full, &counts);
	progress_end();
	if (full && sync_set_back(sync))
	{
		verb_count("UPDATE activate.sync SET origin = activate._origin() WHERE id = $1", sync->id, NULL);
		sync_changed();
	}
	run_finish(run, &counts, NULL);
	run_report(sync, &counts);
	PG_RETURN_INT64(run);
}

void
run_execute(const Sync *sync, int64 run, bool full, RunCounts *counts)
{
	char	   *gone = sync_gone_reason(sync);

	if (sync->implicit)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("sync \"%s\" cannot run: it has no source", sync->name),
				 errhint("It sends what is written to its foreign table, without a run; activate_preview() shows what is pending.")));
	if (gone)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sync \"%s\" cannot run: %s", sync->name, gone),
				 errhint("Declare it again by activate_sync().")));
	if (sync->kind == SYNC_TO_API)
		capture_plan(sync, run, full, counts);
	else
		load_run(sync, run, full, counts);
}

/* A row "running", to be committed before the work; NULL: not now (paused, gone, running already). */
Datum
activate_run_start(PG_FUNCTION_ARGS)
{
	Sync	   *sync = sync_load(PG_GETARG_INT64(0), CurrentMemoryContext);

	if (sync == NULL || sync->paused || sync->implicit || !sync_lock(sync->id, false))
		PG_RETURN_NULL();
	sync_refuse_copy();
	PG_RETURN_INT64(run_start(sync));
}

/*
 * The work of a started run: all of it, or only what a trigger has queued for
 * a table.  Errors of the run are the runner's to catch;
 * but what no repetition mends pauses the sync, and that must be committed.
 */
Datum
activate_run_execute(PG_FUNCTION_ARGS)
{
	int64		run = PG_GETARG_INT64(0);
	bool		queued = PG_GETARG_BOOL(1);
	int64		id = verb_count("SELECT sync FROM activate.run WHERE id = $1 AND status = 'running'", run, NULL);
	Sync	   *sync;
	RunCounts	counts = {0};
	char	   *refused = NULL;

	(void) sync_lock(id, true);
	sync = sync_load(id, CurrentMemoryContext);
	if (sync == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run %lld is not running, or its sync was dropped", (long long) run)));

	progress_begin(run, id);
	if (run_attempt(sync, run, queued, &counts, &refused))
		run_finish(run, &counts, NULL);
	else
	{
		sync_pause(id, refused);
		run_finish(run, &counts, refused);
	}
	progress_end();
	PG_RETURN_VOID();
}

typedef struct RunWork
{
	const Sync *sync;
	int64		run;
	bool		queued;
	RunCounts  *counts;
} RunWork;

static void
run_work(void *arg)
{
	RunWork    *work = arg;

	if (work->queued && work->sync->kind != SYNC_TO_API)
		load_queued(work->sync, work->run, work->counts);
	else
		run_execute(work->sync, work->run, false, work->counts);
}

/* False, with the reason, if the sync must be paused: something it needs is gone or forbidden. */
static bool
run_attempt(const Sync *sync, int64 run, bool queued, RunCounts *counts, char **refused)
{
	RunWork		work = {sync, run, queued, counts};
	ErrorData  *error;

	*refused = sync_gone_reason(sync);
	if (*refused)
		return false;
	error = attempt(run_work, &work);
	if (error != NULL && error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE)
		ReThrowError(error);
	if (error != NULL)
		*refused = error->message;
	return error == NULL;
}

static int64
run_start(const Sync *sync)
{
	return verb_count("INSERT INTO activate.run (sync, status, pid) VALUES ($1, 'running', pg_backend_pid())"
					  " RETURNING id", sync->id, NULL);
}

static void
run_finish(int64 run, const RunCounts *counts, const char *error)
{
	Oid			types[8] = {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[8];
	char		nulls[9] = "        ";

	values[0] = Int64GetDatum(run);
	values[1] = CStringGetTextDatum(error ? "failed" : counts->held ? "held" : "succeeded");
	values[2] = Int64GetDatum(counts->read);
	values[3] = Int64GetDatum(counts->inserted);
	values[4] = Int64GetDatum(counts->updated);
	values[5] = Int64GetDatum(counts->deleted);
	values[6] = Int64GetDatum(counts->rejected);
	values[7] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (error == NULL)
		nulls[7] = 'n';
	(void) own_value("SELECT activate._run_finish($1, $2, $3, $4, $5, $6, $7, $8)", 8, types, values, nulls, NULL);
}

static void
run_report(const Sync *sync, const RunCounts *counts)
{
	char	   *reason = sync->kind == SYNC_TO_API ? sync_undelivered_reason(sync) : NULL;

	if (counts->held)
		ereport(WARNING,
				(errmsg("deletes of sync \"%s\" are held: there are more than it may make at once", sync->name),
				 errhint("Look at what is gone from the source; activate_run(..., full => true) lets them pass.")));
	if (reason && counts->inserted + counts->updated + counts->deleted > 0)
		ereport(NOTICE,
				(errmsg("nothing of sync \"%s\" will be delivered for now: %s", sync->name, reason)));
}
