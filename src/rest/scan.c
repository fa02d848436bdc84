/*
 * scan.c
 *	  Executing a SELECT from a web API.
 *
 * The plan carries the attribute numbers that the query looks at; only those
 * are converted, so a value that nobody asked for fails nobody.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rest/ask.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

typedef struct RestScan
{
	RestSource	source;
	RestPager  *pager;
	RestConverter *converter;
	RestAsked  *asked;
	bool		started;		/* the values of the conditions are known */
	bool		empty;			/* so no row can be meant */
	MemoryContext row;			/* values of the row handed out; reset by the next */
	int64		rows;
} RestScan;

char *
rest_table_name(Oid relation)
{
	return psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)),
					get_rel_name(relation));
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
	List	   *numbers;

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
											 list_nth(plan->fdw_private, SCAN_NEEDED), context);
	numbers = list_nth(plan->fdw_private, SCAN_NUMBERS);
	state->asked = asked_create(&state->source, relation,
								ask_unpack(list_nth(plan->fdw_private, SCAN_ASKED), plan->fdw_exprs),
								&node->ss.ps, linitial_int(numbers), lsecond_int(numbers), context);
	state->pager = rest_pager_create(&state->source, rest_converter_wanted(state->converter), context);
	node->fdw_state = state;
}

/* The pages of the present request, from the first. */
static void
scan_ask(RestScan *state)
{
	state->source.ask = asked_request(state->asked);
	rest_pager_rewind(state->pager);
}

static void
scan_start(RestScan *state, ForeignScanState *node)
{
	state->started = true;
	state->empty = !asked_begin(state->asked, node->ss.ps.ps_ExprContext);
	if (!state->empty)
		scan_ask(state);
}

/* The next record, of whatever request; NULL: no more. */
static const SeekValue *
scan_record(RestScan *state)
{
	const SeekValue *record = state->empty ? NULL : rest_pager_next(state->pager);

	while (record == NULL && !state->empty && asked_next(state->asked))
	{
		scan_ask(state);
		record = rest_pager_next(state->pager);
	}
	/* asked once more, a scan that has ended has ended */
	state->empty = state->empty || record == NULL;
	return record;
}

static TupleTableSlot *
scan_iterate(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	MemoryContext old;
	const SeekValue *record;
	bool		found = false;

	ExecClearTuple(slot);
	if (!state->started)
		scan_start(state, node);
	while (!found)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(state->row);
		old = MemoryContextSwitchTo(state->row);
		record = scan_record(state);
		if (record != NULL)
		{
			rest_convert(state->converter, record, ++state->rows,
						 slot->tts_values, slot->tts_isnull);
			found = asked_row(state->asked, slot);
		}
		MemoryContextSwitchTo(old);
		if (record == NULL)
			return slot;
	}
	ExecStoreVirtualTuple(slot);
	return slot;
}

static void
scan_rescan(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;

	/* Nothing was read yet: where it stands is the beginning. */
	if (node->ss.ps.chgParam == NULL && state->rows == 0 && state->source.effort->pages == 0)
		return;
	state->rows = 0;
	state->started = false;
	rest_pager_close(state->pager);
}

static void
scan_end(ForeignScanState *node)
{
	RestScan   *state = node->fdw_state;

	/* The rest is in the query's context. */
	if (state != NULL)
		rest_pager_close(state->pager);
}

/* Which conditions the API is asked for, and which it is not; all of them are checked here. */
static void
scan_explain_conditions(const ForeignScan *plan, const List *conditions, ExplainState *es)
{
	List	   *context = set_deparse_context_plan(es->deparse_cxt, (Plan *) plan, NIL);
	bool		prefix = list_length(es->rtable) > 1 || es->verbose;
	List	   *sent = NIL;
	List	   *local = NIL;
	ListCell   *cell;

	foreach(cell, plan->scan.plan.qual)
	{
		bool		asked = false;
		ListCell   *one;

		foreach(one, conditions)
		{
			const AskCondition *condition = lfirst(one);

			asked = asked || (condition->sent && condition->clause == foreach_current_index(cell));
		}
		if (asked)
			sent = lappend(sent, lfirst(cell));
		else
			local = lappend(local, lfirst(cell));
	}
	if (sent != NIL)
		ExplainPropertyText("Sent", deparse_expression((Node *) make_ands_explicit(sent), context, prefix, false), es);
	if (local != NIL)
		ExplainPropertyText("Local", deparse_expression((Node *) make_ands_explicit(local), context, prefix, false), es);
}

static void
scan_explain_request(ForeignScanState *node, ExplainState *es)
{
	const ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Relation	relation = node->ss.ss_currentRelation;
	List	   *conditions = ask_unpack(list_nth(plan->fdw_private, SCAN_ASKED), plan->fdw_exprs);
	RestSource	source = {.connector = connector_load(RelationGetRelid(relation), CurrentMemoryContext)};
	const ConnectorRead *read = &source.connector->read;
	List	   *numbers = list_nth(plan->fdw_private, SCAN_NUMBERS);
	char	   *more;

	if (!es->verbose && read->nfilters == 0 && read->limit.name == NULL)
		return;
	scan_require_readable(source.connector, RelationGetRelid(relation));
	source.ask = asked_shown(&source, relation, conditions, linitial_int(numbers), lsecond_int(numbers));
	more = source.ask->requests > 1 ? psprintf(" (the first of " INT64_FORMAT ")", source.ask->requests) : "";
	ExplainPropertyText("Request", psprintf("%s %s%s", read->method, rest_pager_first_url(&source), more), es);
	if (es->verbose)
		ExplainPropertyText("Paging", rest_pager_describe(source.connector), es);
	if (read->nfilters > 0)
		scan_explain_conditions(plan, conditions, es);
}

static void
scan_explain(ForeignScanState *node, ExplainState *es)
{
	RestScan   *state = node->fdw_state;

	scan_explain_request(node, es);
	if (es->analyze && state != NULL)
	{
		ExplainPropertyInteger("Pages", NULL, state->source.effort->pages, es);
		ExplainPropertyInteger("Requests", NULL, state->source.effort->requests, es);
		ExplainPropertyInteger("Bytes", NULL, state->source.effort->bytes, es);
		if (state->source.effort->unchanged > 0)
			ExplainPropertyInteger("Unchanged Pages", NULL, state->source.effort->unchanged, es);
	}
}

void
rest_scan_routine(FdwRoutine *routine)
{
	routine->BeginForeignScan = scan_begin;
	routine->IterateForeignScan = scan_iterate;
	routine->ReScanForeignScan = scan_rescan;
	routine->EndForeignScan = scan_end;
	routine->ExplainForeignScan = scan_explain;
}
