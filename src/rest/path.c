/*
 * path.c
 *	  Planning a SELECT from a web API.
 *
 * A call is what costs.  What the API can be asked for makes fewer of them, and
 * a join may fix what it has to be told: then there is a path for each set of
 * tables that can tell it (parameterised), and the one without is dear, since
 * all it can do is fail.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "access/table.h"
#include "core/compat.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "rest/ask.h"
#include "utils/array.h"
#include "utils/rel.h"

/* Rows of a table where nobody knows, and what one call costs beside a page of disk. */
#define PATH_DEFAULT_ROWS	1000
#define PATH_ROWS_PER_CALL	100
#define PATH_CALL_COST		1000.0
/* Of what cannot be read without a value that is not known. */
#define PATH_IMPOSSIBLE_COST	1.0e10
/* Values of a list that is not known yet; sets of tables that are tried. */
#define PATH_LIST_LENGTH	10
#define PATH_MOST_OUTER		16

/* Pages of all of it.  ANALYZE cannot tell how many there are. */
static double
path_calls(const RelOptInfo *rel)
{
	const ConnectorRead *read = &((const Connector *) rel->fdw_private)->read;

	return 1 + floor(rel->tuples / (read->size > 0 ? read->size : PATH_ROWS_PER_CALL));
}

/* An API does not say how much it holds; reltuples may be known of an ANALYZE, or set by hand. */
static void
path_rel_size(PlannerInfo *root, RelOptInfo *rel, Oid relation)
{
	rel->fdw_private = connector_load(relation, CurrentMemoryContext);
	if (rel->tuples < 0)
		rel->tuples = PATH_DEFAULT_ROWS;
	set_baserel_size_estimates(root, rel);
}

/* Requests that a list of values makes. */
static double
path_requests(const Connector *connector, const AskCondition *condition, Relation relation)
{
	const char *name = NameStr(TupleDescAttr(RelationGetDescr(relation), condition->attnum - 1)->attname);
	double		values = PATH_LIST_LENGTH;
	int			at_once = 1;

	if (!condition->list)
		return 1;
	for (int i = 0; i < connector->read.nfilters; i++)
	{
		const ConnectorFilter *filter = &connector->read.filters[i];

		if (strcmp(filter->column, name) == 0 && !filter->in_path && filter->params[FILTER_IN].name != NULL)
			at_once = filter->params[FILTER_IN].most;
	}
	if (IsA(condition->value, Const) && !((Const *) condition->value)->constisnull)
	{
		ArrayType  *array = DatumGetArrayTypeP(((Const *) condition->value)->constvalue);

		values = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	}
	return Max(ceil(values / at_once), 1);
}

static void
path_add(PlannerInfo *root, RelOptInfo *rel, Relation relation, List *clauses, List *conditions, Relids outer, double rows)
{
	const Connector *connector = rel->fdw_private;
	double		all = path_calls(rel);
	double		calls = 1;
	Selectivity part;
	List	   *asked = NIL;
	ListCell   *cell;
	Cost		startup = PATH_CALL_COST + rel->baserestrictcost.startup;
	Cost		total;

	foreach(cell, conditions)
	{
		const AskCondition *condition = lfirst(cell);

		asked = lappend(asked, list_nth(clauses, condition->clause));
		calls *= path_requests(connector, condition, relation);
	}
	part = asked == NIL ? 1 : clauselist_selectivity(root, asked, rel->relid, JOIN_INNER, NULL);
	calls = Max(calls - 1 + ceil(all * part), 1);
	total = startup + (calls - 1) * PATH_CALL_COST +
		rel->tuples * part * (10 * cpu_tuple_cost + rel->baserestrictcost.per_tuple);
	if (!ask_is_enough(relation, connector, conditions))
	{
		startup += PATH_IMPOSSIBLE_COST;
		total += PATH_IMPOSSIBLE_COST;
	}
	add_path(rel, (Path *) compat_create_foreignscan_path_for(root, rel, rows, startup, total, outer));
}

typedef struct PathColumn
{
	Index		rti;
	AttrNumber	attnum;
} PathColumn;

static bool
path_is_column(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec, EquivalenceMember *em, void *arg)
{
	const PathColumn *column = arg;
	Node	   *node = (Node *) em->em_expr;

	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node != NULL && IsA(node, Var) && ((Var *) node)->varno == column->rti &&
		((Var *) node)->varattno == column->attnum && ((Var *) node)->varlevelsup == 0;
}

/* Clauses by which other tables may tell what the API can be asked for; list of RestrictInfo *. */
static List *
path_join_clauses(PlannerInfo *root, RelOptInfo *rel, Relation relation)
{
	const Connector *connector = rel->fdw_private;
	List	   *clauses = NIL;
	ListCell   *cell;

	for (int i = 0; i < connector->read.nfilters && rel->has_eclass_joins; i++)
	{
		PathColumn	column = {.rti = rel->relid};
		TupleDesc	desc = RelationGetDescr(relation);

		for (int a = 0; a < desc->natts; a++)
			if (!TupleDescAttr(desc, a)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, a)->attname), connector->read.filters[i].column) == 0)
				column.attnum = a + 1;
		if (column.attnum != InvalidAttrNumber)
			clauses = list_concat(clauses, generate_implied_equalities_for_column(root, rel, path_is_column, &column,
																				 rel->lateral_referencers));
	}
	foreach(cell, rel->joininfo)
		if (join_clause_is_movable_to(lfirst_node(RestrictInfo, cell), rel))
			clauses = lappend(clauses, lfirst(cell));
	return clauses;
}

static List *
path_add_outer(List *sets, Relids outer)
{
	ListCell   *cell;

	foreach(cell, sets)
		if (bms_equal(lfirst(cell), outer))
			return sets;
	return list_length(sets) < PATH_MOST_OUTER ? lappend(sets, outer) : sets;
}

/* Each set of tables that tells something, and all of them together. */
static List *
path_outer_sets(PlannerInfo *root, RelOptInfo *rel, Relation relation)
{
	List	   *sets = NIL;
	Relids		all = NULL;
	ListCell   *cell;

	foreach(cell, path_join_clauses(root, rel, relation))
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		Relids		outer;

		if (ask_conditions(root, rel->relid, relation, rel->fdw_private, list_make1(info->clause)) == NIL)
			continue;
		outer = bms_union(info->clause_relids, rel->lateral_relids);
		outer = bms_del_member(outer, rel->relid);
		if (bms_is_empty(outer))
			continue;
		sets = path_add_outer(sets, outer);
		all = bms_add_members(all, outer);
	}
	return bms_is_empty(all) ? NIL : path_add_outer(sets, all);
}

static void
path_paths(PlannerInfo *root, RelOptInfo *rel, Oid foreigntable)
{
	Relation	relation = table_open(foreigntable, NoLock);
	List	   *own = extract_actual_clauses(rel->baserestrictinfo, false);
	List	   *conditions = ask_conditions(root, rel->relid, relation, rel->fdw_private, own);
	ListCell   *cell;

	path_add(root, rel, relation, own, conditions, rel->lateral_relids, rel->rows);
	foreach(cell, path_outer_sets(root, rel, relation))
	{
		Relids		outer = lfirst(cell);
		ParamPathInfo *info = get_baserel_parampathinfo(root, rel, outer);
		List	   *clauses = list_concat(list_copy(own), extract_actual_clauses(info->ppi_clauses, false));

		conditions = ask_conditions(root, rel->relid, relation, rel->fdw_private, clauses);
		if (ask_is_enough(relation, rel->fdw_private, conditions))
			path_add(root, rel, relation, clauses, conditions, outer, info->ppi_rows);
	}
	table_close(relation, NoLock);
}

List *
rest_scan_needed(RelOptInfo *rel, Oid foreigntable, List *clauses)
{
	Bitmapset  *used = NULL;
	List	   *needed = NIL;
	Relation	relation = table_open(foreigntable, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);
	ListCell   *cell;
	bool		whole;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &used);
	pull_varattnos((Node *) clauses, rel->relid, &used);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, rel->relid, &used);
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

/* All conditions are checked here, too: an API may read them in another way. */
static ForeignScan *
path_plan(PlannerInfo *root, RelOptInfo *rel, Oid foreigntable,
		  ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan)
{
	Relation	relation = table_open(foreigntable, NoLock);
	List	   *clauses = extract_actual_clauses(scan_clauses, false);
	List	   *conditions = ask_conditions(root, rel->relid, relation, rel->fdw_private, clauses);
	List	   *private;
	List	   *values = NIL;
	ListCell   *cell;

	foreach(cell, conditions)
		values = lappend(values, ((AskCondition *) lfirst(cell))->value);
	private = list_make3(rest_scan_needed(rel, foreigntable, clauses), ask_pack(conditions),
						 list_make2_int(ask_limit(root, rel), (int) Min(path_calls(rel), 1000000)));
	table_close(relation, NoLock);
	return make_foreignscan(tlist, clauses, rel->relid, values, private, NIL, NIL, outer_plan);
}

void
rest_path_routine(FdwRoutine *routine)
{
	routine->GetForeignRelSize = path_rel_size;
	routine->GetForeignPaths = path_paths;
	routine->GetForeignPlan = path_plan;
}
