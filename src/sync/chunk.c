/*
 * chunk.c
 *	  Runs by chunks, as runners do them: many rows, a transaction for each so
 *	  many of them, and whoever comes after one that was cut off goes on there.
 *
 * Cut is only where the parts of a run, one after the other, do what the whole
 * would have done:
 *
 * - by cursor, where each chunk is a run of the rows up to some value of the
 *	 cursor; the watermark is committed with it.  A value is never parted, and
 *	 the next chunk reads again what any run would.
 * - the first run of a comparison, into a web API or an empty table: by key,
 *	 each chunk enqueues or writes what is new up to some key, which is kept in
 *	 activate._backfill.  What comes last is an ordinary run, which finds what
 *	 changed meanwhile, what is gone and which keys are useless: chunks save it
 *	 the writing, nothing else.
 *
 * - file by file, where the source is a table of files whose ledger says which
 *	 ones are loaded (file/ledger.c).
 *
 * Chunks of an empty table are loaded by several processes at once
 * (load/worker.c): the run goes on behind the last of them.
 *
 * The end of a chunk must be found without reading all that is left: else it
 * would be read once for each chunk, which for a web API as source would be
 * the whole of its pages.  So a source that cannot be read in that order (by an
 * index, or by another server) is read in one go, as by hand.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/guc.h"
#include "core/own.h"
#include "executor/spi.h"
#include "load/load.h"
#include "file/file.h"
#include "nodes/plannodes.h"
#include "quality/quality.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/plancache.h"

static char *text_of(const char *sql, int nargs, const Oid *types, const Datum *values, const char *nulls);
static RunChunk *next_rows(const Sync *sync, const RunChunk *behind);
static RunChunk *next_file(const Sync *sync);
static bool chunk_possible(const Sync *sync);
static bool find_end(const Sync *sync, const char *statement, RunChunk *chunk);
static bool plan_reads_in_order(SPIPlanPtr plan);
static bool reads_in_order(Plan *plan);

RunChunk *
chunk_next(const Sync *sync)
{
	RunChunk   *chunk;

	if (file_by_ledger(sync))
		return next_file(sync);
	if (!chunk_possible(sync) || (chunk = next_rows(sync, NULL)) == NULL)
		return NULL;
	if (chunk->last)
		chunk->condition = "true";
	return chunk;
}

RunChunk *
chunk_behind(const Sync *sync, const RunChunk *chunk)
{
	return next_rows(sync, chunk);
}

static char *
text_of(const char *sql, int nargs, const Oid *types, const Datum *values, const char *nulls)
{
	return TextDatumGetCString(own_value(sql, nargs, types, values, nulls, NULL));
}

/* The rows after a chunk that is under way; NULL: after what is done. */
static RunChunk *
next_rows(const Sync *sync, const RunChunk *behind)
{
	Oid			types[4] = {INT8OID, TEXTOID, INT8OID, TEXTARRAYOID};
	Datum		values[4] = {Int64GetDatum(sync->id)};
	char		nulls[4] = {' ', ' ', ' ', behind ? ' ' : 'n'};
	RunChunk   *chunk;
	char	   *reason;
	bool		judged;
	char	   *query = quality_query(sync, &judged, &reason);

	if (query == NULL)
		return NULL;
	values[1] = CStringGetTextDatum(query);
	values[2] = Int64GetDatum(activate_chunk_rows);
	values[3] = behind ? behind->end : (Datum) 0;

	chunk = palloc0(sizeof(RunChunk));
	chunk->ahead = sync->capture != CAPTURE_CURSOR;
	if (!find_end(sync, text_of("SELECT activate._chunk_sql($1, $2, $3, $4)", 4, types, values, nulls), chunk) ||
		(chunk->ahead && chunk->last))
		return NULL;
	if (chunk->last)
		return chunk;
	types[1] = types[2] = TEXTARRAYOID;
	values[1] = chunk->end;
	values[2] = values[3];
	nulls[2] = nulls[3];
	chunk->condition = text_of("SELECT activate._chunk_condition($1, $2, $3)", 3, types, values, nulls);
	return chunk;
}

static RunChunk *
next_file(const Sync *sync)
{
	List	   *pending = file_pending(sync, false);
	RunChunk   *chunk;
	ListCell   *cell;

	if (pending == NIL)
		return NULL;
	/* the ledger would not know that it has been loaded, and it would be the next one again */
	foreach(cell, pending)
		if (((const FileEntry *) lfirst(cell))->version == NULL)
			return NULL;
	chunk = palloc0(sizeof(RunChunk));
	chunk->condition = "true";
	chunk->file = linitial(pending);
	chunk->last = list_length(pending) == 1;
	return chunk;
}

void
chunk_done(const Sync *sync, const RunChunk *chunk)
{
	Oid			types[2] = {INT8OID, TEXTARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync->id), chunk->end};

	if (chunk->ahead)
		(void) own_value("SELECT activate._chunk_done($1, $2)", 2, types, values, NULL, NULL);
}

static bool
chunk_possible(const Sync *sync)
{
	bool		first = verb_count("SELECT count(*) FROM activate._watermark WHERE sync = $1", sync->id, NULL) == 0;

	/* what is there at one moment is to count as known; so is what the application holds then */
	if (sync->kind == SYNC_TO_API && ((first && !sync_option_bool(sync, "backfill", true)) || sync_heeds_application(sync)))
		return false;
	if (sync->capture != CAPTURE_CURSOR && sync->kind != SYNC_TO_API)
		return load_by_chunks(sync);
	if (sync->capture != CAPTURE_CURSOR)
		return first && verb_count("SELECT activate._chunk_backfill($1)::int::bigint", sync->id, NULL) != 0;
	/* without a key a table gets as many equal rows as the source has, in whatever chunk */
	return sync->kind == SYNC_TO_API || sync->nkeys > 0 || sync->mode == SYNC_APPEND;
}

/* As the owner, in the form in which the values are compared later.  False: it cannot be found out cheaply. */
static bool
find_end(const Sync *sync, const char *statement, RunChunk *chunk)
{
	IdentityScope scope;
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan;
	bool		possible;

	sync_enter_owner(sync, &scope);
	/* only where there is nothing else to do */
	identity_set_local("enable_sort", "off");
	SPI_connect();
	plan = SPI_prepare(statement, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare a chunk of sync \"%s\": %s", sync->name, SPI_result_code_string(SPI_result));
	possible = plan_reads_in_order(plan);
	if (possible)
	{
		SPI_execute_plan(plan, NULL, NULL, false, 1);
		chunk->last = SPI_processed == 0;
	}
	if (possible && !chunk->last)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(caller);

		chunk->end = datumCopy(value, false, -1);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	sync_leave_owner(sync, &scope);
	return possible;
}

static bool
plan_reads_in_order(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	bool		result;

	if (cached == NULL)
		return false;
	result = reads_in_order(linitial_node(PlannedStmt, cached->stmt_list)->planTree);
	ReleaseCachedPlan(cached, NULL);	/* the plan is not saved: no resource owner counts it */
	return result;
}

/* Does the first row come before all of them are read?  What is not known to do so does not. */
static bool
reads_in_order(Plan *plan)
{
	ListCell   *cell;

	switch (nodeTag(plan))
	{
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_ForeignScan:
			return true;
		case T_Limit:
		case T_GatherMerge:
			return reads_in_order(outerPlan(plan));
		case T_Result:
			return outerPlan(plan) == NULL || reads_in_order(outerPlan(plan));
		case T_SubqueryScan:
			return reads_in_order(((SubqueryScan *) plan)->subplan);
		case T_Append:
			foreach(cell, ((Append *) plan)->appendplans)
				if (!reads_in_order(lfirst(cell)))
					return false;
			return true;
		case T_MergeAppend:
			foreach(cell, ((MergeAppend *) plan)->mergeplans)
				if (!reads_in_order(lfirst(cell)))
					return false;
			return true;
		default:
			return false;
	}
}
