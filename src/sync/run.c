/*
 * run.c
 *	  activate_run() for people and the entry points of runners.
 *
 * Called by a person, a run is part of the person's transaction: an error is
 * raised and nothing recorded.  A runner commits "running" first
 * (_run_start), then works, in one transaction or a chunk at a time
 * (_run_execute); what it could not finish is made "failed" afterwards
 * (_run_failed), with the counts of the chunks that are committed.
 *
 * sync_lock() is held by each transaction, not from one chunk to the next: a
 * declaration, a drop or a run by hand waits for a chunk.  So each of them
 * reads what it must know (declaration, watermark) anew.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/progress.h"
#include "compare/compare.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/errors.h"
#include "core/guc.h"
#include "drift/drift.h"
#include "file/file.h"
#include "load/load.h"
#include "load/worker.h"
#include "miscadmin.h"
#include "quality/quality.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

typedef struct RunPart
{
	const Sync *sync;
	int64		run;
	bool		queued;
	bool		full;
	bool		whole;			/* no chunks */
	RunChunk   *chunk;			/* what was done; NULL: all that was left */
	RunCounts	counts;			/* of the whole run */
} RunPart;

/* A run that began as a look at what holds the sync, and does what that has kept from being done. */
static int64 resumed = 0;

static void run_source(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);
static void run_files(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);
static bool is_under_way(const Sync *sync);
static void run_by_hand(RunPart *part);
static void held_by_row(RunPart *part, const RunCounts *before, const ErrorData *error);
static bool run_look(RunPart *part);
static bool makes_good(const Sync *sync);
static char *stop_reason(const Sync *sync, int64 run);
static const Sync *look_at_source(const Sync *sync, bool begins, char **refused);
static bool run_attempt(RunPart *part, char **refused);
static ErrorData *run_try(RunPart *part);
static void run_together(RunPart *part);

ACTIVATE_FUNCTION(activate_run);
ACTIVATE_FUNCTION(activate_run_start);
ACTIVATE_FUNCTION(activate_run_execute);

Datum
activate_run(PG_FUNCTION_ARGS)
{
	const Sync *sync;
	bool		full = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	RunPart		part = {.full = full, .whole = true};
	int64		run;
	char	   *refused;

	sync = verb_sync_locked(fcinfo);
	sync_refuse_copy();
	sync = look_at_source(sync, true, &refused);
	if (refused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sync \"%s\" cannot run: %s", sync->name, refused),
				 errhint("activate_heal() changes the declaration as activate.drift proposes; or declare it again by activate_sync().")));
	run = run_start(sync);
	progress_begin(run, sync->id);
	part.sync = sync;
	part.run = run;
	run_by_hand(&part);
	drift_ran(part.sync);
	progress_end();
	if (full && sync_set_back(sync))
	{
		verb_count("UPDATE activate.sync SET origin = activate._origin() WHERE id = $1", sync->id, NULL);
		sync_changed();
	}
	run_finish(run, &part.counts, NULL);
	run_report(sync, &part.counts);
	PG_RETURN_INT64(run);
}

static void
by_hand_work(void *arg)
{
	RunPart    *part = arg;

	run_execute(part->sync, part->run, part->full, NULL, &part->counts);
	quality_result(part->sync, part->run);
}

/* What an expectation holds is no error: but what has been done by then must be taken back. */
static void
run_by_hand(RunPart *part)
{
	RunCounts	before = part->counts;
	ErrorData  *error;

	if (!quality_applies(part->sync))
	{
		run_execute(part->sync, part->run, part->full, NULL, &part->counts);
		return;
	}
	part->counts.gate = quality_admit(part->sync, part->run);
	if (part->counts.gate)
	{
		part->counts.held = true;
		return;
	}
	error = attempt(by_hand_work, part);
	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_ACTIVATE_HELD)
		ReThrowError(error);
	held_by_row(part, &before, error);
}

static void
held_by_row(RunPart *part, const RunCounts *before, const ErrorData *error)
{
	part->counts = *before;
	part->counts.held = true;
	part->counts.gate = error->message;
	quality_tripped(part->sync, part->run, error->message);
}

void
run_execute(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
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
	if (sync_is_view(sync))
		return;
	if (file_by_ledger(sync))
		run_files(sync, run, full, chunk, counts);
	else
		run_source(sync, run, full, chunk, counts);
}

static void
run_source(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
{
	if (sync->kind == SYNC_TO_API && sync_heeds_application(sync))
		compare_settle(sync, chunk == NULL);
	if (sync->kind == SYNC_TO_API)
		capture_plan(sync, run, full, chunk, counts);
	else
		load_run(sync, run, full, chunk, counts);
}

/*
 * One file after the other, so that of rows with the same key the later file's
 * wins.  A file is new, so of events all of it is: none is compared with those
 * of before.
 */
static void
run_files(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
{
	List	   *pending = chunk && chunk->file ? list_make1(chunk->file) : file_pending(sync, full);
	ListCell   *cell;

	foreach(cell, pending)
	{
		RunChunk	part = {.condition = "true", .file = lfirst(cell)};

		part.last = chunk ? chunk->last : lnext(pending, cell) == NULL;
		file_begin(sync, run, part.file);
		PG_TRY();
		{
			run_source(sync, run, full || sync->mode == SYNC_APPEND, &part, counts);
		}
		PG_CATCH();
		{
			file_forget();
			PG_RE_THROW();
		}
		PG_END_TRY();
		file_end();
	}
}

/* A row "running", to be committed before the work; NULL: not now (paused, gone, running already). */
Datum
activate_run_start(PG_FUNCTION_ARGS)
{
	Sync	   *sync = sync_load(PG_GETARG_INT64(0), CurrentMemoryContext);

	if (sync == NULL || sync->paused || sync->implicit || !sync_lock(sync->id, false) || is_under_way(sync))
		PG_RETURN_NULL();
	sync_refuse_copy();
	PG_RETURN_INT64(run_start(sync));
}

/* Between two chunks nobody holds the lock. */
static bool
is_under_way(const Sync *sync)
{
	return verb_count("SELECT count(*) FROM activate.run r WHERE r.sync = $1 AND r.status = 'running'"
					  " AND r.id NOT IN (SELECT activate._runs_left_behind())", sync->id, NULL) > 0;
}

/*
 * The work of a started run, or a chunk of it: true, there is more of it to be
 * done in another transaction.  queued: only what a trigger has queued for a
 * table.  Errors of the run are the runner's to catch;
 * but what no repetition mends pauses the sync, and that must be committed.
 */
Datum
activate_run_execute(PG_FUNCTION_ARGS)
{
	RunPart		part = {.run = PG_GETARG_INT64(0), .queued = PG_GETARG_BOOL(1)};
	int64		id = verb_count("SELECT sync FROM activate.run WHERE id = $1 AND status = 'running'", part.run, NULL);
	char	   *stopped;
	char	   *refused = NULL;

	(void) sync_lock(id, true);
	part.queued &= part.run != resumed;
	part.sync = sync_load(id, CurrentMemoryContext);
	if (part.sync == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run %lld is not running, or its sync was dropped", (long long) part.run)));

	run_read_counts(part.run, &part.counts);
	progress_begin(part.run, id);
	if ((stopped = stop_reason(part.sync, part.run)) != NULL)
		run_finish(part.run, &part.counts, stopped);
	else if (run_look(&part))
	{
		progress_keep();
		PG_RETURN_BOOL(true);
	}
	else if (part.counts.gate && part.queued)
		verb_count("DELETE FROM activate.run WHERE id = $1", part.run, NULL);
	else if (part.counts.gate)
		run_finish(part.run, &part.counts, NULL);
	else if (!run_attempt(&part, &refused))
	{
		sync_pause(id, refused);
		run_finish(part.run, &part.counts, refused);
	}
	/* a chunk that is held has not moved the watermark, a file that nobody has read is not written down: the next would be the same */
	else if (part.chunk == NULL || part.chunk->last || part.counts.held || (part.chunk->file && part.chunk->file->rows < 0))
	{
		drift_ran(part.sync);
		run_finish(part.run, &part.counts, NULL);
	}
	else
	{
		run_record(part.run, "running", &part.counts, NULL);
		progress_keep();
		PG_RETURN_BOOL(true);
	}
	progress_end();
	PG_RETURN_BOOL(false);
}

/*
 * Once for each run: may it pass anything on?  True: it may, and what was
 * looked at is to be committed before the rest begins.  What is queued is not
 * worth a look at all that the sync reads, unless it is held already.
 */
static bool
run_look(RunPart *part)
{
	static int64 looked = 0;

	if (looked == part->run)
		return false;
	looked = part->run;
	if (part->queued ? !quality_gated(part->sync->id) : !quality_applies(part->sync))
		return false;
	part->counts.gate = quality_admit(part->sync, part->run);
	part->counts.held |= part->counts.gate != NULL;
	if (part->counts.gate)
		return false;
	if (part->queued && makes_good(part->sync))
	{
		verb_count("UPDATE activate.run SET queued = false WHERE id = $1", part->run, NULL);
		verb_count("DELETE FROM activate._gate WHERE sync = $1", part->sync->id, NULL);
		resumed = part->run;
	}
	return true;
}

/* Was its last run held by an expectation, so that it has done nothing? */
static bool
makes_good(const Sync *sync)
{
	return verb_count("SELECT activate._run_was_held($1)::int::bigint", sync->id, NULL) != 0;
}

/* Why a run is not to go on with its next chunk; NULL: it is, or begins only now. */
static char *
stop_reason(const Sync *sync, int64 run)
{
	static int64 begun = 0;
	static int64 declared = 0;
	int64		now = verb_count("SELECT (extract(epoch FROM declared_at) * 1000000)::bigint FROM activate.sync WHERE id = $1",
								 sync->id, NULL);

	if (begun != run)
	{
		begun = run;
		declared = now;
		return NULL;
	}
	if (now != declared)
		return pstrdup("the sync was declared again while it ran; the next run does what is left");
	if (sync->paused)
		return pstrdup("the sync was paused while it ran; the next run does what is left");
	if (!activate_enabled)
		return pstrdup("activate.enabled was turned off while it ran; the next run does what is left");
	return NULL;
}

/*
 * A view has followed already, as PostgreSQL has it.  Asking whether anything is
 * gone locks the source: who was just altering it has committed then, and the
 * declaration with it.
 */
static const Sync *
look_at_source(const Sync *sync, bool begins, char **refused)
{
	*refused = NULL;
	if (sync_is_view(sync))
		return sync;
	sync = drift_check(sync, begins, refused);
	if (*refused == NULL && sync_gone_reason(sync) != NULL)
		sync = drift_check(sync_load(sync->id, CurrentMemoryContext), begins, refused);
	return sync;
}

/* False, with the reason, if the sync must be paused: something it needs is gone or forbidden. */
static bool
run_attempt(RunPart *part, char **refused)
{
	RunCounts	before = part->counts;
	ErrorData  *error;

	part->sync = look_at_source(part->sync, part->counts.read == 0, refused);
	if (*refused == NULL)
		*refused = sync_gone_reason(part->sync);
	if (*refused)
		return false;

	error = run_try(part);

	/*
	 * A table's constraint may hold only once all is there: a unique value
	 * passes from one row to another, a row refers to one of a later chunk.
	 */
	if (error && part->chunk && !part->chunk->last && part->chunk->file == NULL &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
	{
		FreeErrorData(error);
		part->counts = before;
		part->whole = true;
		error = run_try(part);
	}
	if (error && error->sqlerrcode == ERRCODE_ACTIVATE_HELD)
	{
		held_by_row(part, &before, error);
		return true;
	}
	if (error && error->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE)
		ReThrowError(error);
	if (error)
	{
		part->counts = before;
		*refused = error->message;
	}
	return error == NULL;
}

static void
run_work(void *arg)
{
	RunPart    *part = arg;
	const Sync *sync = part->sync;

	if (part->queued && sync->kind == SYNC_TO_API)
		return;					/* its gate was looked at: there was no more to do */
	if (part->queued)
		load_queued(sync, part->run, &part->counts);
	else
	{
		if (!part->whole && !sync_is_view(sync) && !quality_judges_result(sync))
			part->chunk = chunk_next(sync);
		if (part->chunk && part->chunk->ahead && sync->kind != SYNC_TO_API && load_workers > 1 && load_in_parallel(sync))
			run_together(part);
		else
			run_execute(sync, part->run, false, part->chunk, &part->counts);
		quality_result(sync, part->run);
	}
	if (part->chunk && !part->chunk->last)
	{
		chunk_done(sync, part->chunk);
		identity_fire_deferred();
	}
}

/*
 * The chunk and those behind it, by this process and load workers.  What one of
 * these could not do is done here.
 */
static void
run_together(RunPart *part)
{
	RunChunk   *chunks = palloc0(load_workers * sizeof(RunChunk));
	LoadWorker **workers = palloc0(load_workers * sizeof(LoadWorker *));
	RunChunk   *next = part->chunk;
	int			n = 0;

	do
	{
		chunks[n] = *next;
		chunks[n].beside = n > 0;
		workers[n] = n > 0 ? load_worker_start(part->sync, &chunks[n]) : NULL;
		n++;
	} while (n < load_workers && (n == 1 || workers[n - 1]) && (next = chunk_behind(part->sync, next)) != NULL);
	/* found, but there was nobody to do it */
	if (n > 1 && workers[n - 1] == NULL)
		n--;

	chunks[0].beside = n > 1;
	run_execute(part->sync, part->run, false, &chunks[0], &part->counts);
	/* what is left to do is done before the first of them commits */
	for (int i = 1; i < n; i++)
		if (!load_worker_await(workers[i]))
		{
			run_execute(part->sync, part->run, false, &chunks[i], &part->counts);
			load_worker_end(workers[i]);
			workers[i] = NULL;
		}
	for (int i = 1; i < n; i++)
		if (workers[i] && !load_worker_commit(workers[i], &part->counts))
			run_execute(part->sync, part->run, false, &chunks[i], &part->counts);
	*part->chunk = chunks[n - 1];
}

/* The error, after what was done is taken back; NULL: there was none. */
static ErrorData *
run_try(RunPart *part)
{
	const RunCounts *counts = &part->counts;

	part->chunk = NULL;
	progress_update(NULL, counts->read, counts->inserted + counts->updated + counts->deleted);
	return attempt(run_work, part);
}
