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
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/guc.h"
#include "core/own.h"
#include "file/file.h"
#include "load/load.h"
#include "miscadmin.h"
#include "sync/verbs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

typedef struct RunPart
{
	const Sync *sync;
	int64		run;
	bool		queued;
	bool		whole;			/* no chunks */
	RunChunk   *chunk;			/* what was done; NULL: all that was left */
	RunCounts	counts;			/* of the whole run */
} RunPart;

static void run_source(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);
static void run_files(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);
static bool is_under_way(const Sync *sync);
static char *stop_reason(const Sync *sync, int64 run);
static bool run_attempt(RunPart *part, char **refused);
static ErrorData *run_try(RunPart *part);
static int64 run_start(const Sync *sync);
static void read_counts(int64 run, RunCounts *counts);
static void record(int64 run, const char *status, const RunCounts *counts, const char *error);
static void run_finish(int64 run, const RunCounts *counts, const char *error);
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
	run_execute(sync, run, full, NULL, &counts);
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
	if (file_by_ledger(sync))
		run_files(sync, run, full, chunk, counts);
	else
		run_source(sync, run, full, chunk, counts);
}

static void
run_source(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
{
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
	part.sync = sync_load(id, CurrentMemoryContext);
	if (part.sync == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("run %lld is not running, or its sync was dropped", (long long) part.run)));

	read_counts(part.run, &part.counts);
	progress_begin(part.run, id);
	if ((stopped = stop_reason(part.sync, part.run)) != NULL)
		run_finish(part.run, &part.counts, stopped);
	else if (!run_attempt(&part, &refused))
	{
		sync_pause(id, refused);
		run_finish(part.run, &part.counts, refused);
	}
	/* a chunk that is held has not moved the watermark, a file that nobody has read is not written down: the next would be the same */
	else if (part.chunk == NULL || part.chunk->last || part.counts.held || (part.chunk->file && part.chunk->file->rows < 0))
		run_finish(part.run, &part.counts, NULL);
	else
	{
		record(part.run, "running", &part.counts, NULL);
		progress_keep();
		PG_RETURN_BOOL(true);
	}
	progress_end();
	PG_RETURN_BOOL(false);
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

/* False, with the reason, if the sync must be paused: something it needs is gone or forbidden. */
static bool
run_attempt(RunPart *part, char **refused)
{
	RunCounts	before = part->counts;
	ErrorData  *error;

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

	if (part->queued && sync->kind != SYNC_TO_API)
		load_queued(sync, part->run, &part->counts);
	else
	{
		if (!part->whole)
			part->chunk = chunk_next(sync);
		run_execute(sync, part->run, false, part->chunk, &part->counts);
	}
	if (part->chunk && !part->chunk->last)
	{
		chunk_done(sync, part->chunk);
		identity_fire_deferred();
	}
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

static int64
run_start(const Sync *sync)
{
	return verb_count("INSERT INTO activate.run (sync, status, pid) VALUES ($1, 'running', pg_backend_pid())"
					  " RETURNING id", sync->id, NULL);
}

static void
run_finish(int64 run, const RunCounts *counts, const char *error)
{
	record(run, error ? "failed" : counts->held ? "held" : "succeeded", counts, error);
}

/* What the chunks before this transaction have done. */
static void
read_counts(int64 run, RunCounts *counts)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(run);
	Datum		array;
	Datum	   *values;
	int			n;

	array = own_value("SELECT ARRAY[rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected]"
					  " FROM activate.run WHERE id = $1", 1, &type, &id, NULL, NULL);
	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &values, NULL, &n);
	counts->read = DatumGetInt64(values[0]);
	counts->inserted = DatumGetInt64(values[1]);
	counts->updated = DatumGetInt64(values[2]);
	counts->deleted = DatumGetInt64(values[3]);
	counts->rejected = DatumGetInt64(values[4]);
}

static void
record(int64 run, const char *status, const RunCounts *counts, const char *error)
{
	Oid			types[8] = {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[8];
	char		nulls[9] = "        ";

	values[0] = Int64GetDatum(run);
	values[1] = CStringGetTextDatum(status);
	values[2] = Int64GetDatum(counts->read);
	values[3] = Int64GetDatum(counts->inserted);
	values[4] = Int64GetDatum(counts->updated);
	values[5] = Int64GetDatum(counts->deleted);
	values[6] = Int64GetDatum(counts->rejected);
	values[7] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (error == NULL)
		nulls[7] = 'n';
	(void) own_value("SELECT activate._run_record($1, $2, $3, $4, $5, $6, $7, $8)", 8, types, values, nulls, NULL);
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
