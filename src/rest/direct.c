/*
 * direct.c
 *	  UPDATE and DELETE by key: nothing is read.
 *
 * Where the WHERE fixes each column of the key by equality, and no other
 * column is looked at, the plan's scan makes the rows out of the key itself:
 * their other columns are NULL, and the whole WHERE is checked against them.
 * One column may be fixed by = ANY (IN): then there is a row per element.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/analyze.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "rest/rest.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* What fdw_private holds; fdw_exprs are the values of the key, then those assigned. */
enum
{
	DIRECT_KEY,					/* attribute numbers of the key */
	DIRECT_ASSIGNED,			/* of what is assigned */
	DIRECT_ARRAY,				/* place in the key of the value that is an array; -1: none */
	DIRECT_COUNT				/* do the rows count as processed */
};

/* Looking for what fixes the key. */
typedef struct DirectPlan
{
	Index		rti;
	Relation	relation;
	Bitmapset  *key;			/* as pull_varattnos() numbers them */
	List	   *attnums;
	List	   *values;
	int			array;
} DirectPlan;

typedef struct DirectState
{
	RestIntent *intent;
	int			nkeys;
	AttrNumber *key;
	List	   *key_values;		/* ExprState */
	List	   *assigned;		/* attribute numbers */
	List	   *assigned_values;	/* ExprState */
	int			array;
	bool		count;
	bool		started;
	Datum	   *values;			/* of the key */
	bool	   *nulls;
	Datum	   *elements;		/* of the array; without one a single dummy */
	int			nelements;
	int			next;
} DirectState;

static bool direct_find_key(DirectPlan *work, const Connector *connector, List *quals);
static Expr *direct_value(const DirectPlan *work, List *quals, Form_pg_attribute attribute, bool array);
static bool direct_is_equality(Oid operator, Oid type, Oid collation);
static bool direct_assigned(PlannerInfo *root, const DirectPlan *work, List **attnums, List **values);
static void direct_rewrite(ForeignScan *scan);
static void direct_start(DirectState *state, ForeignScanState *node);
static void direct_elements(DirectState *state, ArrayType *array);
static bool direct_row(DirectState *state, ForeignScanState *node);

/* --- planning ------------------------------------------------------------ */

static bool
direct_plan(PlannerInfo *root, ModifyTable *plan, Index result_relation, int subplan)
{
	ForeignScan *scan = (ForeignScan *) outerPlan(plan);
	RangeTblEntry *rte = planner_rt_fetch(result_relation, root);
	DirectPlan	work = {.rti = result_relation, .array = -1};
	List	   *assigned = NIL;
	List	   *values = NIL;
	bool		possible;

	if (plan->operation == CMD_INSERT || result_relation != root->parse->resultRelation ||
		!IsA(scan, ForeignScan) || scan->scan.scanrelid != result_relation)
		return false;
	work.relation = table_open(rte->relid, NoLock);
	possible = direct_find_key(&work, connector_load(rte->relid, CurrentMemoryContext), scan->scan.plan.qual) &&
		(plan->operation == CMD_DELETE || direct_assigned(root, &work, &assigned, &values));
	table_close(work.relation, NoLock);
	if (!possible)
		return false;

	scan->operation = plan->operation;
	scan->resultRelation = result_relation;
	scan->fdw_exprs = list_concat(work.values, values);
	scan->fdw_private = list_make4(work.attnums, assigned, makeInteger(work.array),
								   makeBoolean(plan->canSetTag));
	direct_rewrite(scan);
	return true;
}

/* Do these look at no column but those of the key? */
static bool
direct_only_key(const DirectPlan *work, Node *expression)
{
	Bitmapset  *used = NULL;

	pull_varattnos(expression, work->rti, &used);
	return bms_is_subset(used, work->key);
}

static bool
direct_find_key(DirectPlan *work, const Connector *connector, List *quals)
{
	TupleDesc	desc = RelationGetDescr(work->relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Expr	   *value;

		if (attribute->attisdropped || !rest_is_key(connector, NameStr(attribute->attname)))
			continue;
		value = direct_value(work, quals, attribute, false);
		if (value == NULL && work->array < 0)
		{
			value = direct_value(work, quals, attribute, true);
			work->array = list_length(work->attnums);
		}
		if (value == NULL)
			return false;
		work->key = bms_add_member(work->key, attribute->attnum - FirstLowInvalidHeapAttributeNumber);
		work->attnums = lappend_int(work->attnums, attribute->attnum);
		work->values = lappend(work->values, value);
	}
	return work->attnums != NIL && direct_only_key(work, (Node *) quals) &&
		!contain_volatile_functions((Node *) quals);
}

static bool
direct_is_column(const DirectPlan *work, Node *node, AttrNumber attnum)
{
	Var		   *var;

	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (Var *) node;
	return node != NULL && IsA(node, Var) && var->varno == work->rti && var->varattno == attnum &&
		var->varlevelsup == 0;
}

/*
 * What a column of the key must be equal to, in the column's type: a constant,
 * parameter or expression of such.  Only implicit casts, which lose nothing.
 */
static Expr *
direct_value(const DirectPlan *work, List *quals, Form_pg_attribute attribute, bool array)
{
	int32		typmod = attribute->atttypmod;
	Oid			type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	Oid			wanted = array ? get_array_type(type) : type;
	ListCell   *cell;

	foreach(cell, quals)
	{
		Node	   *clause = lfirst(cell);
		List	   *args;
		Node	   *value;

		if (!array && IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2 &&
			direct_is_equality(((OpExpr *) clause)->opno, type, ((OpExpr *) clause)->inputcollid))
			args = ((OpExpr *) clause)->args;
		else if (array && IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->useOr &&
				 direct_is_equality(((ScalarArrayOpExpr *) clause)->opno, type,
									((ScalarArrayOpExpr *) clause)->inputcollid))
			args = ((ScalarArrayOpExpr *) clause)->args;
		else
			continue;
		if (direct_is_column(work, linitial(args), attribute->attnum))
			value = lsecond(args);
		else if (!array && direct_is_column(work, lsecond(args), attribute->attnum))
			value = linitial(args);
		else
			continue;
		if (contain_var_clause(value) || !OidIsValid(wanted))
			continue;
		value = coerce_to_target_type(NULL, copyObject(value), exprType(value), wanted, -1,
									  COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
		/* as the column holds it; what is cut off makes the WHERE false */
		if (value != NULL && type == BPCHAROID)
			value = coerce_to_target_type(NULL, value, wanted, wanted, typmod,
										  COERCION_EXPLICIT, COERCE_IMPLICIT_CAST, -1);
		if (value != NULL)
			return (Expr *) value;
	}
	return NULL;
}

/*
 * Of the type's own order, whose equal values are the same.
 * Numbers are one key in JSON, however many zeros follow; characters are padded.
 */
static bool
direct_is_equality(Oid operator, Oid type, Oid collation)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);

	if (!OidIsValid(entry->btree_opf) ||
		get_op_opfamily_strategy(operator, entry->btree_opf) != BTEqualStrategyNumber)
		return false;
	if (type == NUMERICOID)
		return true;
	if (type == BPCHAROID)
		return get_collation_isdeterministic(collation);
	return equal_is_same(type, collation);
}

/* (a, b) = (SELECT ...) is computed by a junk column of the plan. */
static bool
direct_has_multiexpr(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_MULTIEXPR)
		return true;
	return expression_tree_walker(node, direct_has_multiexpr, context);
}

static bool
direct_assigned(PlannerInfo *root, const DirectPlan *work, List **attnums, List **values)
{
	ListCell   *target;
	ListCell   *column;

	forboth(target, root->processed_tlist, column, root->update_colnos)
	{
		Node	   *value = (Node *) lfirst_node(TargetEntry, target)->expr;

		if (list_member_int(work->attnums, lfirst_int(column)) || !direct_only_key(work, value) ||
			direct_has_multiexpr(value, NULL))
			return false;
		*attnums = lappend_int(*attnums, lfirst_int(column));
		*values = lappend(*values, copyObject(value));
	}
	return true;
}

/* What is assigned is computed from fdw_exprs, once; the scan's own list keeps its shape only. */
static void
direct_rewrite(ForeignScan *scan)
{
	ListCell   *cell;

	scan->scan.plan.targetlist = copyObject(scan->scan.plan.targetlist);
	foreach(cell, scan->scan.plan.targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Node	   *value = (Node *) entry->expr;

		if (!entry->resjunk)
			entry->expr = (Expr *) makeNullConst(exprType(value), exprTypmod(value), exprCollation(value));
	}
}

/* --- executing ----------------------------------------------------------- */

static void
direct_check_key(const RestIntent *intent, const DirectState *state)
{
	bool		same = intent->key.n == state->nkeys;

	for (int i = 0; same && i < state->nkeys; i++)
		same = intent->key.attnums[i] == state->key[i];
	if (!same)
		rest_refuse_key(intent->relation);
}

static void
direct_begin(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	EState	   *estate = node->ss.ps.state;
	ResultRelInfo *rinfo = node->resultRelInfo;
	List	   *key = list_nth(plan->fdw_private, DIRECT_KEY);
	DirectState *state;
	List	   *values;
	Bitmapset  *given = NULL;
	ListCell   *cell;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	state = palloc0(sizeof(DirectState));
	state->assigned = list_nth(plan->fdw_private, DIRECT_ASSIGNED);
	foreach(cell, state->assigned)
		given = bms_add_member(given, lfirst_int(cell) - FirstLowInvalidHeapAttributeNumber);
	state->intent = rest_intent_create(rinfo->ri_RelationDesc,
									   plan->operation == CMD_UPDATE ? OUTBOX_UPDATE : OUTBOX_DELETE,
									   given, estate->es_query_cxt);
	rest_check_assigned(rinfo->ri_RelationDesc, state->intent->connector, given);

	state->nkeys = list_length(key);
	state->key = palloc(sizeof(AttrNumber) * state->nkeys);
	foreach(cell, key)
		state->key[foreach_current_index(cell)] = lfirst_int(cell);
	direct_check_key(state->intent, state);
	values = ExecInitExprList(plan->fdw_exprs, &node->ss.ps);
	state->key_values = list_truncate(list_copy(values), state->nkeys);
	state->assigned_values = list_copy_tail(values, state->nkeys);
	state->array = intVal(list_nth(plan->fdw_private, DIRECT_ARRAY));
	state->count = boolVal(list_nth(plan->fdw_private, DIRECT_COUNT));
	node->fdw_state = state;
}

static void
direct_start(DirectState *state, ForeignScanState *node)
{
	ExprContext *context = node->ss.ps.ps_ExprContext;
	MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);
	ListCell   *cell;

	state->started = true;
	state->nelements = 1;
	state->values = palloc(sizeof(Datum) * state->nkeys);
	state->nulls = palloc(sizeof(bool) * state->nkeys);
	foreach(cell, state->key_values)
	{
		int			i = foreach_current_index(cell);

		state->values[i] = ExecEvalExpr(lfirst(cell), context, &state->nulls[i]);
		if (state->nulls[i])
			state->nelements = 0;
	}
	if (state->nelements > 0 && state->array >= 0)
		direct_elements(state, DatumGetArrayTypeP(state->values[state->array]));
	MemoryContextSwitchTo(old);
}

static int
direct_compare(const void *a, const void *b, void *arg)
{
	TypeCacheEntry *type = arg;

	return DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo, type->typcollation,
										   *(const Datum *) a, *(const Datum *) b));
}

/* Each once, however often the array names it. */
static void
direct_elements(DirectState *state, ArrayType *array)
{
	TypeCacheEntry *type = lookup_type_cache(ARR_ELEMTYPE(array), TYPECACHE_CMP_PROC_FINFO);
	bool	   *nulls;
	int			n;
	int			kept = 0;

	deconstruct_array(array, type->type_id, type->typlen, type->typbyval, type->typalign,
					  &state->elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			state->elements[kept++] = state->elements[i];
	qsort_arg(state->elements, kept, sizeof(Datum), direct_compare, type);
	n = kept;
	kept = 0;
	for (int i = 0; i < n; i++)
		if (i == 0 || direct_compare(&state->elements[i], &state->elements[kept - 1], type) != 0)
			state->elements[kept++] = state->elements[i];
	state->nelements = kept;
}

/* Some columns of the scan's slot, all others NULL. */
static void
direct_fill(const DirectState *state, TupleTableSlot *slot, const Datum *assigned, const bool *nulls)
{
	ListCell   *cell;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < state->nkeys; i++)
	{
		slot->tts_values[state->key[i] - 1] = state->values[i];
		slot->tts_isnull[state->key[i] - 1] = false;
	}
	if (assigned != NULL)
		foreach(cell, state->assigned)
		{
			int			i = foreach_current_index(cell);

			slot->tts_values[lfirst_int(cell) - 1] = assigned[i];
			slot->tts_isnull[lfirst_int(cell) - 1] = nulls[i];
		}
	ExecStoreVirtualTuple(slot);
}

/* The next key as a row in the scan's slot, written if the WHERE is true of it. */
static bool
direct_row(DirectState *state, ForeignScanState *node)
{
	ExprContext *context = node->ss.ps.ps_ExprContext;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	RestIntent *intent = state->intent;
	int			n = list_length(state->assigned);
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (n + 1));
	ListCell   *cell;

	if (state->array >= 0)
		state->values[state->array] = state->elements[state->next];
	state->next++;
	direct_fill(state, slot, NULL, NULL);
	context->ecxt_scantuple = slot;
	if (!ExecQual(node->ss.ps.qual, context))
		return false;
	foreach(cell, state->assigned_values)
	{
		int			i = foreach_current_index(cell);

		values[i] = ExecEvalExpr(lfirst(cell), context, &nulls[i]);
	}
	if (n > 0)
		direct_fill(state, slot, values, nulls);

	rest_intent_enter(intent);
	rest_intent_append(intent, rest_intent_render(intent, &intent->key, slot),
					   intent->op == OUTBOX_DELETE ? NULL : rest_intent_render(intent, &intent->row, slot));
	rest_intent_leave(intent);
	return true;
}

/* With RETURNING row by row, else all at once. */
static TupleTableSlot *
direct_iterate(ForeignScanState *node)
{
	DirectState *state = node->fdw_state;
	EState	   *estate = node->ss.ps.state;
	ProjectionInfo *returning = node->resultRelInfo->ri_projectReturning;

	if (!state->started)
		direct_start(state, node);
	while (state->next < state->nelements)
	{
		CHECK_FOR_INTERRUPTS();
		ResetExprContext(node->ss.ps.ps_ExprContext);
		if (!direct_row(state, node))
			continue;
		if (state->count)
			estate->es_processed++;
		if (returning != NULL)
		{
			returning->pi_exprContext->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
			/* up to 17 PostgreSQL does that itself */
			node->ss.ss_ScanTupleSlot->tts_tableOid = RelationGetRelid(node->ss.ss_currentRelation);
			return node->ss.ss_ScanTupleSlot;
		}
		if (node->ss.ps.instrument)
			node->ss.ps.instrument->tuplecount += 1;
	}
	return ExecClearTuple(node->ss.ss_ScanTupleSlot);
}

static void
direct_end(ForeignScanState *node)
{
	/* All is in the query's context. */
}

static void
direct_explain(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Bitmapset  *assigned = NULL;
	ListCell   *cell;

	foreach(cell, (List *) list_nth(plan->fdw_private, DIRECT_ASSIGNED))
		assigned = bms_add_member(assigned, lfirst_int(cell) - FirstLowInvalidHeapAttributeNumber);
	rest_explain_intent(node->ss.ss_currentRelation, plan->operation, assigned,
						", by key: nothing is read", es);
}

void
rest_direct_routine(FdwRoutine *routine)
{
	routine->PlanDirectModify = direct_plan;
	routine->BeginDirectModify = direct_begin;
	routine->IterateDirectModify = direct_iterate;
	routine->EndDirectModify = direct_end;
	routine->ExplainDirectModify = direct_explain;
}
