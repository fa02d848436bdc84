/*
 * scan.c
 *	  Planning and executing a SELECT from a web API.
 *
 * The plan carries the attribute numbers that the query looks at; only those
 * are converted, so a value that nobody asked for fails nobody.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "access/table.h"
#include "commands/explain.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "rest/rest.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Rows of a table where nobody knows, and what one call costs beside a page of disk. */
#define SCAN_DEFAULT_ROWS	1000
#define SCAN_ROWS_PER_CALL	100
#define SCAN_CALL_COST		1000.0

typedef struct RestScan
{
	RestSource	source;
	RestPager  *pager;
	RestConverter *converter;
	MemoryContext row;			/* values of the row handed out; reset by the next */
	int64		rows;
} RestScan;

char *
rest_table_name(Oid relation)
{
	return psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)),
					get_rel_name(relation));
}

/* An API does not say how much it holds; reltuples may have been set by hand. */
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
	double		calls = 1 + floor(baserel->tuples / SCAN_ROWS_PER_CALL);
	Cost		startup = SCAN_CALL_COST + baserel->baserestrictcost.startup;
	Cost		total = startup + (calls - 1) * SCAN_CALL_COST +
		baserel->tuples * (10 * cpu_tuple_cost + baserel->baserestrictcost.per_tuple);

	add_path(baserel, (Path *)
			 compat_create_foreignscan_path(root, baserel, baserel->rows, startup, total));
}

List *
rest_scan_needed(RelOptInfo *baserel, Oid foreigntableid)
{
	Bitmapset  *used = NULL;
	List	   *needed = NIL;
	Relation	relation = table_open(foreigntableid, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);
	ListCell   *cell;
	bool		whole;

	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &used);
	foreach(cell, baserel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, baserel->relid, &used);
	whole = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, used);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped &&
			(whole || bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber, used)))
			needed = lappend_int(needed, attribute->attnum);
	}
	table_close(relation, NoLock);
	return needed;
}

static ForeignScan *
scan_plan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
		  ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan)
{
	/* Conditions are checked here: an API may read them in another way. */
	return make_foreignscan(tlist, extract_actual_clauses(scan_clauses, false),
							baserel->relid, NIL, list_make1(rest_scan_needed(baserel, foreigntableid)),
							NIL, NIL, outer_plan);
}

static void
scan_require_readable(const Connector *connector, Oid relation)
{
	if (!connector->read.possible)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("foreign table \"%s\" cannot be read", rest_table_name(relation)),
				 errdetail("Object \"%s\" of connector \"%s\" has no \"read\".",
						   connector->object, connector->name),
				 errhint("It takes what is written to it, and syncs; what was sent is in activate.sent.")));
}

static void
scan_begin(ForeignScanState *node, int eflags)
{
	Relation	relation = node->ss.ss_currentRelation;
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	MemoryContext context = node->ss.ps.state->es_query_cxt;
	Oid			check_as = compat_scan_check_as(node);
	RestScan   *state;
	Connector  *connector;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;

	connector = connector_load(RelationGetRelid(relation), context);
	scan_require_readable(connector, RelationGetRelid(relation));
	http_check_url(connector->base_url, connector->proxy);

	state = palloc0(sizeof(RestScan));
	state->source.connector = connector;
	state->source.auth = connector_auth(connector->server,
										OidIsValid(check_as) ? check_as : GetUserId(), context);
	state->source.table = rest_table_name(RelationGetRelid(relation));
	state->row = AllocSetContextCreate(context, "activate row", ALLOCSET_DEFAULT_SIZES);
	state->converter = rest_converter_create(&state->source, RelationGetDescr(relation),
											 linitial(plan->fdw_private), context);
	state->pager = rest_pager_create(&state->source, rest_converter_wanted(state->converter), context);
	node->fdw_state = state;
}

static TupleTableSlot *
scan_iterate(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	MemoryContext old;
	const SeekValue *record;

	CHECK_FOR_INTERRUPTS();
	ExecClearTuple(slot);
	MemoryContextReset(state->row);
	old = MemoryContextSwitchTo(state->row);
	record = rest_pager_next(state->pager);
	if (record != NULL)
	{
		rest_convert(state->converter, record, ++state->rows,
					 slot->tts_values, slot->tts_isnull);
		ExecStoreVirtualTuple(slot);
	}
	MemoryContextSwitchTo(old);
	return slot;
}

static void
scan_rescan(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;

	/* Nothing was read yet: where it stands is the beginning. */
	if (state->rows == 0 && state->source.effort->pages == 0)
		return;
	state->rows = 0;
	rest_pager_rewind(state->pager);
}

static void
scan_end(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;

	/* The rest is in the query's context. */
	if (state != NULL)
		rest_pager_close(state->pager);
}

static void
scan_explain(ForeignScanState *node, ExplainState *es)
{
	RestScan   *state = node->fdw_state;

	if (es->verbose)
	{
		Connector  *connector = state != NULL ? (Connector *) state->source.connector :
			connector_load(RelationGetRelid(node->ss.ss_currentRelation), CurrentMemoryContext);

		scan_require_readable(connector, RelationGetRelid(node->ss.ss_currentRelation));
		ExplainPropertyText("Request",
							psprintf("%s %s", connector->read.method, rest_pager_first_url(connector)), es);
		ExplainPropertyText("Paging", rest_pager_describe(connector), es);
	}
	if (es->analyze && state != NULL)
	{
		ExplainPropertyInteger("Pages", NULL, state->source.effort->pages, es);
		ExplainPropertyInteger("Requests", NULL, state->source.effort->requests, es);
		ExplainPropertyInteger("Bytes", NULL, state->source.effort->bytes, es);
	}
}

void
rest_scan_routine(FdwRoutine *routine)
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
