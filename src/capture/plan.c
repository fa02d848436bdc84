/*
 * plan.c
 *	  A run of a sync to an API: what has to be sent is found out by one
 *	  statement over source, activate._sent and what is pending, and appended
 *	  to the outbox.
 *
 * The statement (plan.sql) runs as the sync's owner, who sees his own rows of
 * our tables by row security; what it says is written as the extension's
 * owner, a batch at a time, between two fetches of its cursor.  Its snapshot
 * is older than anything written here, so it does not see its own outcome.
 */
#include "postgres.h"

#include "capture/plan.h"
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "core/errors.h"
#include "core/own.h"
#include "outbox/outbox.h"
#include "quality/quality.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Columns of the statement, from 1. */
enum
{
	COL_ACTION = 1, COL_KEY, COL_HASH, COL_N, COL_BODY, COL_MARK, COL_VALUE, COL_PLANNED
};

static void plan_init(CapturePlan *plan, bool full);
static char *plan_statement(const CapturePlan *plan);
static void plan_read(CapturePlan *plan);
static void plan_row(CapturePlan *plan, HeapTuple row, TupleDesc desc);
static void plan_total(CapturePlan *plan, char action, HeapTuple row, TupleDesc desc);
static void plan_counts(CapturePlan *plan, int64 sent, bool still);
static void plan_rows(CapturePlan *plan, int64 rows);
static void plan_event(CapturePlan *plan, HeapTuple row, TupleDesc desc);
static void plan_reject(CapturePlan *plan, const PlanStep *step);
static bool plan_holds(const CapturePlan *plan, int64 sent);
static void list_init(PlanList *list, const char *sql, int ncolumns, Oid a, Oid b, Oid c);
static void list_add(PlanList *list, Datum a, Datum b, Datum c);
static void list_write(const CapturePlan *plan, PlanList *list);
static void plan_check(const CapturePlan *plan);

void
capture_plan(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts)
{
	CapturePlan	   *plan = palloc0(sizeof(CapturePlan));

	plan->sync = sync;
	plan->run = run;
	plan->chunk = chunk;
	plan->counts = counts;
	plan_init(plan, full);
	plan->query = quality_query_needed(sync, &plan->judged);
	if (!plan_compare(plan))
		plan_read(plan);
	plan_check(plan);

	if (plan->watermark)
	{
		Oid			types[2] = {INT8OID, TEXTOID};
		Datum		values[2] = {Int64GetDatum(sync->id), CStringGetTextDatum(plan->watermark)};

		(void) own_value("SELECT activate._plan_watermark($1, $2)", 2, types, values, NULL, NULL);
	}
	MemoryContextDelete(plan->batch);
	pfree(plan);
}

static void
plan_init(CapturePlan *plan, bool full)
{
	const Sync *sync = plan->sync;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	bool		first = false;
	int64		released = 0;

	plan->context = CurrentMemoryContext;
	plan->batch = AllocSetContextCreate(CurrentMemoryContext, "activate plan", ALLOCSET_DEFAULT_SIZES);
	list_init(&plan->rejected, "SELECT activate._plan_reject($1, $2, $3, $4)", 3, JSONBOID, TEXTOID, INT8OID);
	list_init(&plan->forgiven, "SELECT activate._plan_forgive($1, $2)", 1, JSONBOID, InvalidOid, InvalidOid);
	list_init(&plan->recorded, "SELECT activate._plan_known($1, $2, $3)", 2, JSONBOID, INT8OID, InvalidOid);
	list_init(&plan->marked, "SELECT activate._plan_marks($1, $2, $3)", 2, TEXTOID, TEXTOID, InvalidOid);
	list_init(&plan->pruned, "SELECT activate._plan_prune($1, $2)", 1, TEXTOID, InvalidOid, InvalidOid);

	/* what goes ahead of the first run is not yet that run */
	if (plan->chunk == NULL || !plan->chunk->ahead)
		first = DatumGetBool(own_value("SELECT activate._plan_begin($1)", 1, &type, &id, NULL, NULL));
	plan->known = first && !full && !sync_option_bool(sync, "backfill", true);
	if (full)
		released = outbox_release(sync->id, plan->run);
	plan->counts->deleted += released;
	plan->released = released > 0;
	plan->asked = full && !plan->released;
	plan->unlimited = full;
	plan->marks = sync->mode == SYNC_APPEND || sync->nkeys == 0;
	plan->everything = plan->asked || sync->mode == SYNC_REPLACE ||
		(sync->capture == CAPTURE_FULL && !plan->marks);
	plan->updates = sync->mode != SYNC_INSERT;
	plan->removes = sync->mode == SYNC_MIRROR || sync->mode == SYNC_REPLACE;
}

/* As the extension's owner: our tables are looked at, not the source. */
static char *
plan_statement(const CapturePlan *plan)
{
	const Sync *sync = plan->sync;
	Oid			types[9] = {INT8OID, TEXTOID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, BOOLOID};
	Datum		values[9];

	values[0] = Int64GetDatum(sync->id);
	values[1] = CStringGetTextDatum(plan->query);
	values[2] = BoolGetDatum(plan->everything);
	values[3] = BoolGetDatum(plan->marks);
	values[4] = BoolGetDatum(plan->updates);
	values[5] = BoolGetDatum(plan->removes);
	values[6] = BoolGetDatum(plan->asked);
	/* no argument is NULL */
	values[7] = CStringGetTextDatum(plan->chunk ? plan->chunk->condition : "");
	values[8] = BoolGetDatum(plan->judged);
	return own_text("SELECT activate._plan_sql($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), $9)", 9, types, values);
}

static void
plan_read(CapturePlan *plan)
{
	char	   *statement = plan_statement(plan);
	IdentityScope scope;
	Portal		portal;

	sync_enter_owner(plan->sync, &scope);
	/*
	 * The source of a chunk is one that an index reads; what is known of its
	 * keys is joined by hash.  A nested loop that there must be costs so much
	 * then that a chunk would be compiled for longer than it runs.
	 */
	if (plan->chunk)
	{
		identity_set_local("enable_nestloop", "off");
		identity_set_local("jit", "off");
	}
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, statement, 0, NULL, NULL, NULL, false, CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		SPITupleTable *rows;
		uint64		n;
		MemoryContext previous;

		SPI_cursor_fetch(portal, true, PLAN_BATCH);
		rows = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		/* what a row leaves behind goes with the batch */
		previous = MemoryContextSwitchTo(plan->batch);
		for (uint64 i = 0; i < n; i++)
			plan_row(plan, rows->vals[i], rows->tupdesc);
		MemoryContextSwitchTo(previous);
		plan_write(plan);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	sync_leave_owner(plan->sync, &scope);
}

static Datum
row_value(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, column, &isnull);

	if (isnull)
		elog(ERROR, "column %d of a plan is NULL", column);
	return value;
}

static void
plan_row(CapturePlan *plan, HeapTuple row, TupleDesc desc)
{
	PlanStep	step = {.action = *TextDatumGetCString(row_value(row, desc, COL_ACTION))};

	switch (step.action)
	{
		case 'r':
		case 's':
			plan_total(plan, step.action, row, desc);
			return;
		case 'e':
			plan_event(plan, row, desc);
			return;
		case 'p':
			list_add(&plan->pruned, row_value(row, desc, COL_MARK), 0, 0);
			return;
		case 'n':
		case 'u':
			step.hash = DatumGetInt64(row_value(row, desc, COL_HASH));
			step.planned = DatumGetInt64(row_value(row, desc, COL_PLANNED));
			break;
		case 'b':
			step.reason = TextDatumGetCString(row_value(row, desc, COL_MARK));
			/* FALLTHROUGH */
		case 'x':
		case 'y':
			step.n = DatumGetInt64(row_value(row, desc, COL_N));
			break;
	}
	step.key = DatumGetJsonbP(row_value(row, desc, COL_KEY));
	plan_step(plan, &step);
}

void
plan_step(CapturePlan *plan, const PlanStep *step)
{
	RunCounts  *counts = plan->counts;

	switch (step->action)
	{
		case 'f':
			list_add(&plan->forgiven, JsonbPGetDatum(step->key), 0, 0);
			return;
		case 'b':
		case 'x':
		case 'y':
			plan_reject(plan, step);
			return;
	}

	if (!plan->totals)
		elog(ERROR, "a plan does not begin with its totals");
	if (step->action == 'd')
	{
		counts->deleted++;
		if (plan->holds)
			outbox_append_held(plan->sync->id, step->key, plan->run);
		else
			outbox_append(plan->sync->id, step->key, OUTBOX_DELETE, NULL, plan->run, plan->unlimited);
		return;
	}
	if (plan->known)
	{
		list_add(&plan->recorded, JsonbPGetDatum(step->key), Int64GetDatum(step->hash), 0);
		return;
	}
	if (step->action == 'n')
		counts->inserted++;
	else
		counts->updated++;
	outbox_append_planned(plan->sync->id, step->key, plan->run, plan->everything, step->planned);
}

static void
plan_total(CapturePlan *plan, char action, HeapTuple row, TupleDesc desc)
{
	int64		n = DatumGetInt64(row_value(row, desc, COL_N));
	bool		isnull;
	Datum		watermark;

	if (action == 's')
	{
		plan_counts(plan, n, !plan->marks && DatumGetInt64(row_value(row, desc, COL_HASH)) > 0);
		return;
	}
	plan_rows(plan, n);
	watermark = SPI_getbinval(row, desc, COL_MARK, &isnull);
	if (!isnull)
		plan->watermark = MemoryContextStrdup(plan->context, TextDatumGetCString(watermark));
	if (!plan->marks)
		plan->deletes = DatumGetInt64(row_value(row, desc, COL_HASH));
}

void
plan_totals(CapturePlan *plan, int64 rows, int64 sent, int64 deletes, bool still)
{
	plan_rows(plan, rows);
	plan->deletes = deletes;
	plan_counts(plan, sent, still);
}

static void
plan_rows(CapturePlan *plan, int64 rows)
{
	/* what went ahead is read again with all the rest */
	if (plan->chunk == NULL && plan->sync->capture != CAPTURE_CURSOR)
		plan->counts->read = 0;
	plan->counts->read += rows;
}

static void
plan_counts(CapturePlan *plan, int64 sent, bool still)
{
	plan->holds = plan_holds(plan, sent);
	plan->counts->held = plan->holds || still;
	plan->totals = true;
}

/* Guarantee 8, with the options of the sync; a target that may be newer than we are loses nothing. */
static bool
plan_holds(const CapturePlan *plan, int64 sent)
{
	int			percent = sync_option_int(plan->sync, "max_delete_percent", 20);
	int			least = sync_option_int(plan->sync, "min_deletes", 10);

	if (plan->unlimited || plan->deletes == 0)
		return false;
	return sync_set_back(plan->sync) || plan->deletes >= sent ||
		(plan->deletes >= least && plan->deletes * 100.0 > (double) sent * percent);
}

/* A row that is sent as it is now: append mode, and rows without a key. */
static void
plan_event(CapturePlan *plan, HeapTuple row, TupleDesc desc)
{
	bool		replace = plan->sync->mode == SYNC_REPLACE;
	bool		no_mark;
	Datum		mark = SPI_getbinval(row, desc, COL_MARK, &no_mark);

	if (!plan->known)
	{
		plan->counts->inserted++;
		outbox_append(plan->sync->id, DatumGetJsonbP(row_value(row, desc, COL_KEY)),
					  replace ? OUTBOX_UPSERT : OUTBOX_INSERT,
					  DatumGetJsonbP(row_value(row, desc, COL_BODY)), plan->run, plan->everything);
	}
	/* what is sent whole each run needs no memory */
	if (!replace && !no_mark)
		list_add(&plan->marked, mark, row_value(row, desc, COL_VALUE), 0);
}

static void
plan_reject(CapturePlan *plan, const PlanStep *step)
{
	/* found again by the run that this goes ahead of */
	if (plan->chunk && plan->chunk->ahead)
		return;
	plan->counts->rejected += step->n;
	if (step->action == 'b')
		plan->counts->quarantined += step->n;
	list_add(&plan->rejected, JsonbPGetDatum(step->key),
			 CStringGetTextDatum(step->action == 'b' ? step->reason : step->action == 'x' ? "null_key" : "duplicate_key"),
			 Int64GetDatum(step->n));
}

void
plan_write(CapturePlan *plan)
{
	MemoryContext previous = MemoryContextSwitchTo(plan->batch);

	list_write(plan, &plan->rejected);
	list_write(plan, &plan->forgiven);
	list_write(plan, &plan->recorded);
	list_write(plan, &plan->marked);
	list_write(plan, &plan->pruned);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(plan->batch);
	progress_update("planning", plan->counts->read,
					plan->counts->inserted + plan->counts->updated + plan->counts->deleted);
}

static void
plan_check(const CapturePlan *plan)
{
	const RunCounts *counts = plan->counts;

	/* of the whole run, that is known with its last chunk */
	if ((plan->chunk && !plan->chunk->last) || counts->read == 0 || counts->rejected < counts->read || counts->quarantined > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_NO_USABLE_ROW),
			 errmsg("no row of the source of sync \"%s\" has a usable key", plan->sync->name),
			 errdetail("All " INT64_FORMAT " rows have a NULL in the key or share it with another row.", counts->read),
			 errhint("Name columns that identify a row: activate_sync(..., key => 'column, ...').")));
}

static void
list_init(PlanList *list, const char *sql, int ncolumns, Oid a, Oid b, Oid c)
{
	list->sql = sql;
	list->ncolumns = ncolumns;
	list->types[0] = a;
	list->types[1] = b;
	list->types[2] = c;
	list->n = 0;
}

/* The values live as long as the batch that was fetched. */
static void
list_add(PlanList *list, Datum a, Datum b, Datum c)
{
	list->values[0][list->n] = a;
	list->values[1][list->n] = b;
	list->values[2][list->n] = c;
	list->n++;
}

static void
list_write(const CapturePlan *plan, PlanList *list)
{
	Oid			types[4] = {INT8OID};
	Datum		values[4] = {Int64GetDatum(plan->sync->id)};

	if (list->n == 0)
		return;
	for (int c = 0; c < list->ncolumns; c++)
	{
		bool		wide = list->types[c] == INT8OID;

		types[c + 1] = get_array_type(list->types[c]);
		values[c + 1] = PointerGetDatum(construct_array(list->values[c], list->n, list->types[c],
														wide ? 8 : -1, wide && FLOAT8PASSBYVAL,
														wide ? TYPALIGN_DOUBLE : TYPALIGN_INT));
	}
	(void) own_value(list->sql, list->ncolumns + 1, types, values, NULL, NULL);
	list->n = 0;
}
