/*
 * load.c
 *	  A run into a table: one statement as the owner, and what it reports
 *	  written on the owner's behalf.
 *
 * The statement (load.sql) changes the target and returns, after its counts,
 * the rows that belong into our own tables, which the owner may not write.
 * They are taken from a portal in batches: the portal runs to its end at the
 * first fetch and spools what is left.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "core/clock.h"
#include "core/errors.h"
#include "core/identity.h"
#include "core/own.h"
#include "executor/spi.h"
#include "load/copy.h"
#include "load/expect.h"
#include "load/first.h"
#include "load/load.h"
#include "load/narrow.h"
#include "load/repeats.h"
#include "load/worker.h"
#include "outbox/outbox.h"
#include "quality/quality.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define BATCH_ROWS 1000

/* Columns of the statement, from 1. */
enum
{
	COL_WHAT = 1, COL_KEY, COL_MARK, COL_READ, COL_INSERTED, COL_UPDATED, COL_DELETED, COL_HELD
};

/* What was queued for a sync, see activate._load_claim(). */
typedef struct Claim
{
	Datum		entries;		/* jsonb[] */
	bool		none;			/* there are no entries */
	bool		whole;			/* all of the source must be compared */
	bool		truncated;		/* ... because it was truncated */
	bool		more;
} Claim;

/* Rows for our own tables, until there are enough of them. */
typedef struct Batch
{
	const Sync *sync;
	int64		run;
	int64		held;
	int			nkeys;
	Datum		keys[BATCH_ROWS];
	Datum		codes[BATCH_ROWS];
	Datum		counts[BATCH_ROWS];
	int			nmended;
	Datum		mended[BATCH_ROWS];
	int			nback;
	Datum		back[BATCH_ROWS];
	int			nmarks;
	Datum		marks[BATCH_ROWS];
} Batch;

static void load_ahead(const Sync *sync, const RunChunk *chunk, RunCounts *counts);
static Claim claim_queued(const Sync *sync, bool everything);
static void apply(const Sync *sync, int64 run, const Claim *claim, RunCounts *counts);
static void compare(const Sync *sync, int64 run, bool full, bool truncated, const RunChunk *chunk, RunCounts *counts);
static void execute(const Sync *sync, int64 run, const char *statement, const Narrow *queued, RunCounts *counts);
static char *statement_text(const Sync *sync, bool full, const Narrow *queued, bool truncated, const RunChunk *chunk, bool few);
static void read_counts(const Sync *sync, HeapTuple tuple, TupleDesc desc, RunCounts *counts);
static void collect_row(Batch *batch, HeapTuple tuple, TupleDesc desc, RunCounts *counts);
static void write_batch(Batch *batch);
static void refuse_useless_source(const Sync *sync, const RunCounts *counts);

void
load_init(void)
{
	copy_init();
	load_worker_init();
}

void
load_run(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
{
	Claim		claim;

	if (chunk && chunk->ahead)
	{
		load_ahead(sync, chunk, counts);
		return;
	}

	/* keys are among what is compared, unless a cursor reads only what is new; events are history: no comparison finds them */
	do
	{
		claim = claim_queued(sync, full);
		if ((sync->mode == SYNC_APPEND || sync->capture == CAPTURE_CURSOR) && !claim.none)
			apply(sync, run, &claim, counts);
	} while (claim.more);
	compare(sync, run, full, claim.truncated, chunk, counts);
}

void
load_queued(const Sync *sync, int64 run, RunCounts *counts)
{
	bool		by_key = capture_by_key(sync, NULL);
	Claim		claim;

	do
	{
		claim = claim_queued(sync, false);
		/* the keys do not say what has changed */
		if (!claim.none && !by_key)
			claim.whole = true;
		if (!claim.none && (sync->mode == SYNC_APPEND || !claim.whole))
			apply(sync, run, &claim, counts);
		if (claim.whole)
			compare(sync, run, false, claim.truncated, NULL, counts);
	} while (claim.more);
}

/*
 * New rows of a first run.  If they are not taken as they are, all that is left
 * is compared at once: it is a constraint that one of them breaks, or the table
 * is not what it was.
 */
static void
load_ahead(const Sync *sync, const RunChunk *chunk, RunCounts *counts)
{
	if (!load_first(sync, false, chunk, counts))
		ereport(ERROR,
				(errcode(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION),
				 errmsg("a chunk of sync \"%s\" could not be loaded without a comparison", sync->name)));
}

static void
compare(const Sync *sync, int64 run, bool full, bool truncated, const RunChunk *chunk, RunCounts *counts)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	int64		expected = -1;

	/* what an earlier comparison found wrong with the source is found again, or mended */
	(void) own_value("SELECT activate._plan_begin($1)", 1, &type, &id, NULL, NULL);
	if (progress_is_shown() || load_into_many(sync))
		expected = load_expected(sync, full);
	if (progress_is_shown())
		progress_expect(expected < 0 ? -1 : counts->read + expected);
	if (!load_first(sync, full, chunk, counts))
		execute(sync, run, statement_text(sync, full, NULL, truncated, chunk, load_are_few(sync, expected)), NULL, counts);
	/* of the whole run, that is known with its last chunk */
	if (chunk == NULL || chunk->last)
		refuse_useless_source(sync, counts);
}

static Claim
claim_queued(const Sync *sync, bool everything)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2] = {Int64GetDatum(sync->id), BoolGetDatum(everything)};
	Claim		claim;
	bool		isnull;

	/* this transaction's own are taken, too; what comes after that is queued anew */
	outbox_flush();
	outbox_forget_keys();
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT entries, whole, truncated, more FROM activate._load_claim($1, $2)",
						  2, types, values, NULL, false, 1);
	claim.entries = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &claim.none);
	claim.whole = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	claim.truncated = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	claim.more = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &isnull));
	if (!claim.none)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);

		claim.entries = PointerGetDatum(DatumGetArrayTypePCopy(claim.entries));
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return claim;
}

static void
apply(const Sync *sync, int64 run, const Claim *claim, RunCounts *counts)
{
	Narrow	   *queued = narrow_prepare(sync, claim->entries);

	execute(sync, run, statement_text(sync, false, queued, false, NULL, false), queued, counts);
}

/* queued NULL: the whole source. */
static void
execute(const Sync *sync, int64 run, const char *statement, const Narrow *queued, RunCounts *counts)
{
	IdentityScope scope;
	MemoryContext rows = AllocSetContextCreate(CurrentMemoryContext, "activate load", ALLOCSET_DEFAULT_SIZES);
	Batch	   *batch = palloc0(sizeof(Batch));
	SPIPlanPtr	plan;
	Portal		portal;
	bool		first = true;

	batch->sync = sync;
	batch->run = run;
	sync_enter_owner(sync, &scope);
	SPI_connect();
	progress_update("loading", counts->read, counts->inserted + counts->updated + counts->deleted);
	/* planned for these entries: how many there are decides how to look them up */
	plan = SPI_prepare_cursor(statement, queued ? queued->n : 0, queued ? queued->types : NULL, CURSOR_OPT_CUSTOM_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare the load of sync \"%s\": %s", sync->name, SPI_result_code_string(SPI_result));
	repeats_begin();
	portal = SPI_cursor_open(NULL, plan, queued ? queued->values : NULL, NULL, false);
	copy_arm(statement);
	for (;;)
	{
		SPITupleTable *table;
		MemoryContext previous;

		SPI_cursor_fetch(portal, true, BATCH_ROWS);
		table = SPI_tuptable;
		if (SPI_processed == 0)
			break;

		previous = MemoryContextSwitchTo(rows);
		for (uint64 i = 0; i < table->numvals; i++)
		{
			if (first)
				read_counts(sync, table->vals[i], table->tupdesc, counts);
			else
				collect_row(batch, table->vals[i], table->tupdesc, counts);
			first = false;
		}
		write_batch(batch);
		MemoryContextSwitchTo(previous);
		MemoryContextReset(rows);
		SPI_freetuptable(table);
	}
	SPI_cursor_close(portal);
	repeats_end();
	SPI_finish();
	sync_leave_owner(sync, &scope);
	MemoryContextDelete(rows);
	if (queued && batch->held > 0)
		ereport(LOG,
				(errmsg("activate: sync \"%s\" holds " INT64_FORMAT " deletes: more than it may delete at once",
						sync->name, batch->held),
				 errhint("activate_run(..., full => true) lets them go, activate_discard(..., 'held') drops them.")));
}

static char *
statement_text(const Sync *sync, bool full, const Narrow *queued, bool truncated, const RunChunk *chunk, bool few)
{
	Oid			types[9] = {INT8OID, TEXTOID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID};
	Datum		values[9];
	bool		judged;

	values[0] = Int64GetDatum(sync->id);
	values[1] = CStringGetTextDatum(quality_query_needed(sync, &judged));
	values[2] = BoolGetDatum(full);
	values[3] = BoolGetDatum(queued != NULL);
	values[4] = BoolGetDatum(truncated && !full);
	/* no argument is NULL */
	values[5] = CStringGetTextDatum(chunk ? chunk->condition : "");
	values[6] = CStringGetTextDatum(queued && queued->condition ? queued->condition : "");
	values[7] = BoolGetDatum(judged);
	values[8] = BoolGetDatum(few);
	return own_text("SELECT activate._load_sql($1, $2, $3, $4, $5, nullif($6, ''), nullif($7, ''), $8, $9)", 9, types, values);
}

static void
read_counts(const Sync *sync, HeapTuple tuple, TupleDesc desc, RunCounts *counts)
{
	bool		isnull;
	Datum		values[2];
	Oid			types[2] = {INT8OID, TEXTOID};

	counts->read += DatumGetInt64(SPI_getbinval(tuple, desc, COL_READ, &isnull));
	counts->inserted += DatumGetInt64(SPI_getbinval(tuple, desc, COL_INSERTED, &isnull));
	counts->updated += DatumGetInt64(SPI_getbinval(tuple, desc, COL_UPDATED, &isnull));
	counts->deleted += DatumGetInt64(SPI_getbinval(tuple, desc, COL_DELETED, &isnull));
	counts->held |= DatumGetBool(SPI_getbinval(tuple, desc, COL_HELD, &isnull));
	progress_update("recording", counts->read, counts->inserted + counts->updated + counts->deleted);

	values[0] = Int64GetDatum(sync->id);
	values[1] = SPI_getbinval(tuple, desc, COL_MARK, &isnull);
	if (!isnull)
		(void) own_value("SELECT activate._load_marked($1, $2)", 2, types, values, NULL, NULL);
}

static void
collect_row(Batch *batch, HeapTuple tuple, TupleDesc desc, RunCounts *counts)
{
	bool		isnull;
	char	   *what = SPI_getvalue(tuple, desc, COL_WHAT);

	if (strcmp(what, "seen") == 0)
	{
		batch->marks[batch->nmarks++] = SPI_getbinval(tuple, desc, COL_MARK, &isnull);
		return;
	}
	if (strcmp(what, "swept") == 0)
	{
		Oid			types[2] = {INT8OID, TIMESTAMPTZOID};
		Datum		values[2] = {Int64GetDatum(batch->sync->id), TimestampTzGetDatum(clock_now())};

		(void) own_value("SELECT activate._load_swept($1, $2)", 2, types, values, NULL, NULL);
		return;
	}
	if (strcmp(what, "mended") == 0)
	{
		batch->mended[batch->nmended++] = SPI_getbinval(tuple, desc, COL_KEY, &isnull);
		return;
	}
	if (strcmp(what, "back") == 0)
	{
		batch->back[batch->nback++] = SPI_getbinval(tuple, desc, COL_KEY, &isnull);
		return;
	}
	if (strcmp(what, "held") == 0)
	{
		outbox_append_held(batch->sync->id, DatumGetJsonbP(SPI_getbinval(tuple, desc, COL_KEY, &isnull)), batch->run);
		batch->held++;
		return;
	}
	batch->codes[batch->nkeys] = SPI_getbinval(tuple, desc, COL_WHAT, &isnull);
	batch->counts[batch->nkeys] = Int64GetDatum(1);
	batch->keys[batch->nkeys++] = SPI_getbinval(tuple, desc, COL_KEY, &isnull);
	counts->rejected++;
	if (strcmp(what, "null_key") != 0 && strcmp(what, "duplicate_key") != 0)
		counts->quarantined++;
}

static Datum
text_array(Datum *elements, int n)
{
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_batch(Batch *batch)
{
	Oid			types[4] = {INT8OID, JSONBARRAYOID, TEXTARRAYOID, INT8ARRAYOID};
	Oid			mark_types[3] = {INT8OID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[4];

	values[0] = Int64GetDatum(batch->sync->id);
	if (batch->nkeys > 0)
	{
		values[1] = PointerGetDatum(construct_array(batch->keys, batch->nkeys, JSONBOID, -1, false, TYPALIGN_INT));
		values[2] = text_array(batch->codes, batch->nkeys);
		values[3] = PointerGetDatum(construct_array(batch->counts, batch->nkeys, INT8OID,
													sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		(void) own_value("SELECT activate._plan_reject($1, $2, $3, $4)", 4, types, values, NULL, NULL);
	}
	if (batch->nmended > 0)
	{
		values[1] = PointerGetDatum(construct_array(batch->mended, batch->nmended, JSONBOID, -1, false, TYPALIGN_INT));
		(void) own_value("SELECT activate._plan_forgive($1, $2)", 2, types, values, NULL, NULL);
	}
	if (batch->nback > 0)
	{
		values[1] = PointerGetDatum(construct_array(batch->back, batch->nback, JSONBOID, -1, false, TYPALIGN_INT));
		(void) own_value("SELECT activate._load_back($1, $2)", 2, types, values, NULL, NULL);
	}
	if (batch->nmarks > 0)
	{
		/* all of them are written anew by each run: no value to prune by is needed */
		values[1] = values[2] = text_array(batch->marks, batch->nmarks);
		(void) own_value("SELECT activate._plan_marks($1, $2, $3)", 3, mark_types, values, NULL, NULL);
	}
	batch->nkeys = batch->nmended = batch->nback = batch->nmarks = 0;
}

static void
refuse_useless_source(const Sync *sync, const RunCounts *counts)
{
	if (counts->read > 0 && counts->rejected == counts->read && counts->quarantined == 0)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_NO_USABLE_ROW),
				 errmsg("no row of the source of sync \"%s\" has a usable key", sync->name),
				 errdetail("All " INT64_FORMAT " rows have a key that is NULL or occurs more than once.", counts->read),
				 errhint("Declare it with a key that identifies a row: key => 'column, ...'.")));
}
