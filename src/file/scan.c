/*
 * scan.c
 *	  SELECT from files, one after the other.  Columns that the query does not
 *	  look at are not converted.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "file/reader.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "rest/rest.h"
#include "utils/memutils.h"

/* Rows of a table where nobody knows. */
#define SCAN_DEFAULT_ROWS	100000

typedef struct FileScan
{
	FileReader *reader;
	FileEntry  *running;		/* of a run; NULL: all files are read */
	List	   *needed;
	bool		listed;
	List	   *entries;
	int			next;			/* of them */
	int			read;			/* files, to their end */
	int64		count;			/* rows of the present one */
	FileRows   *rows;			/* NULL: none is open */
	MemoryContext file;
	MemoryContext row;
} FileScan;

static void
scan_rel_size(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	if (baserel->tuples < 0)
		baserel->tuples = SCAN_DEFAULT_ROWS;
	set_baserel_size_estimates(root, baserel);
}

static void
scan_paths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	Cost		startup = 100 + baserel->baserestrictcost.startup;
	Cost		total = startup + baserel->tuples * (10 * cpu_tuple_cost + baserel->baserestrictcost.per_tuple);

	add_path(baserel, (Path *)
			 compat_create_foreignscan_path(root, baserel, baserel->rows, startup, total));
}

static ForeignScan *
scan_plan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
		  ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan)
{
	return make_foreignscan(tlist, extract_actual_clauses(scan_clauses, false), baserel->relid, NIL,
							list_make1(rest_scan_needed(baserel, foreigntableid, NIL)), NIL, NIL, outer_plan);
}

static void
scan_begin(ForeignScanState *node, int eflags)
{
	Oid			relation = RelationGetRelid(node->ss.ss_currentRelation);
	MemoryContext context = node->ss.ps.state->es_query_cxt;
	Oid			check_as = compat_scan_check_as(node);
	FileScan   *scan;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	scan = MemoryContextAllocZero(context, sizeof(FileScan));
	scan->reader = file_reader_create(relation, OidIsValid(check_as) ? check_as : GetUserId(), context);
	scan->needed = linitial(((ForeignScan *) node->ss.ps.plan)->fdw_private);
	scan->running = file_running(relation);
	scan->file = AllocSetContextCreate(context, "activate file", ALLOCSET_DEFAULT_SIZES);
	scan->row = AllocSetContextCreate(context, "activate file row", ALLOCSET_DEFAULT_SIZES);
	node->fdw_state = scan;
}

/* In the context of the query. */
static void
list_files(FileScan *scan)
{
	if (!scan->listed)
		scan->entries = scan->running ? list_make1(scan->running) : file_list(scan->reader);
	scan->listed = true;
	scan->next = 0;
}

static void
open_next(FileScan *scan, Relation relation)
{
	MemoryContext old = MemoryContextSwitchTo(scan->file);
	const FileEntry *entry = list_nth(scan->entries, scan->next++);
	FileRows   *rows = palloc0(sizeof(FileRows));

	rows->reader = scan->reader;
	rows->relation = relation;
	rows->needed = scan->needed;
	rows->context = scan->file;
	rows->spot.name = entry->name;
	scan->rows = rows;
	scan->count = 0;
	PG_TRY();
	{
		rows->stream = file_stream_open(scan->reader, entry, scan->file);
		if (scan->reader->table->format == FILE_BY_COPY)
			file_csv_open(rows);
		else
			file_json_open(rows);
	}
	PG_CATCH();
	{
		file_rethrow(rows, scan->row);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

static void
close_file(FileScan *scan)
{
	if (scan->rows == NULL)
		return;
	scan->rows->close(scan->rows);
	file_stream_close(scan->rows->stream);
	scan->rows = NULL;
	MemoryContextReset(scan->file);
}

static bool
next_row(FileScan *scan, TupleTableSlot *slot)
{
	FileRows   *rows = scan->rows;
	MemoryContext old = MemoryContextSwitchTo(scan->row);
	volatile bool found = false;

	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	PG_TRY();
	{
		found = rows->next(rows, slot->tts_values, slot->tts_isnull);
	}
	PG_CATCH();
	{
		file_rethrow(rows, scan->row);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return found;
}

static TupleTableSlot *
scan_iterate(ForeignScanState *node)
{
	FileScan   *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	ExecClearTuple(slot);
	MemoryContextReset(scan->row);
	if (!scan->listed)
	{
		MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);

		list_files(scan);
		MemoryContextSwitchTo(old);
	}
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->rows == NULL)
		{
			if (scan->next >= list_length(scan->entries))
				return slot;
			open_next(scan, node->ss.ss_currentRelation);
		}
		if (next_row(scan, slot))
		{
			scan->count++;
			return ExecStoreVirtualTuple(slot);
		}
		close_file(scan);
		scan->read++;
		if (scan->running)
			scan->running->rows = scan->count;
	}
}

static void
scan_rescan(ForeignScanState *node)
{
	FileScan   *scan = node->fdw_state;

	close_file(scan);
	scan->next = 0;
}

static void
scan_end(ForeignScanState *node)
{
	if (node->fdw_state != NULL)
		close_file(node->fdw_state);
}

static void
scan_explain(ForeignScanState *node, ExplainState *es)
{
	FileScan   *scan = node->fdw_state;
	FileTable  *table = file_table_load(RelationGetRelid(node->ss.ss_currentRelation), CurrentMemoryContext);

	if (es->verbose)
		ExplainPropertyText("Files", table->place == FILE_IN_DIRECTORY ? psprintf("%s/%s", table->path, table->files) :
							psprintf("%s%s%s", table->url, table->files ? "/" : "", table->files ? table->files : ""), es);
	if (es->analyze && scan != NULL)
		ExplainPropertyInteger("Files Read", NULL, scan->read, es);
}

void
file_scan_routine(FdwRoutine *routine)
{
	routine->GetForeignRelSize = scan_rel_size;
	routine->GetForeignPaths = scan_paths;
	routine->GetForeignPlan = scan_plan;
	routine->BeginForeignScan = scan_begin;
	routine->IterateForeignScan = scan_iterate;
	routine->ReScanForeignScan = scan_rescan;
	routine->EndForeignScan = scan_end;
	routine->ExplainForeignScan = scan_explain;
}
