/*
 * bykey_equal.c
 *	  What a query says is equal: "=" between columns, in what must be true.
 */
#include "postgres.h"

#include "capture/bykey_equal.h"
#include "nodes/bitmapset.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

/* Where quals stand: what they say of which columns. */
typedef struct Gather
{
	Query	   *query;
	EqualFacts *facts;
} Gather;

static void gather_source(Gather *gather, Node *node);
static void gather_quals(Gather *gather, Node *quals, const Bitmapset *about);
static void gather_equality(Gather *gather, OpExpr *expression, const Bitmapset *about);
static Bitmapset *relations_in(Node *node);
static bool is_equality(const OpExpr *expression);

EqualFacts *
equal_facts(Query *query)
{
	Gather		gather = {.query = query, .facts = palloc0(sizeof(EqualFacts))};

	gather_source(&gather, (Node *) query->jointree);
	return gather.facts;
}

static void
gather_source(Gather *gather, Node *node)
{
	ListCell   *cell;
	JoinExpr   *join;

	if (node == NULL || IsA(node, RangeTblRef))
		return;
	if (IsA(node, FromExpr))
	{
		foreach(cell, ((FromExpr *) node)->fromlist)
			gather_source(gather, lfirst(cell));
		gather_quals(gather, ((FromExpr *) node)->quals, NULL);
		return;
	}
	join = castNode(JoinExpr, node);
	gather_source(gather, join->larg);
	gather_source(gather, join->rarg);
	if (join->jointype == JOIN_INNER)
		gather_quals(gather, join->quals, NULL);
	else if (join->jointype == JOIN_LEFT)
		gather_quals(gather, join->quals, relations_in(join->rarg));
	else if (join->jointype == JOIN_RIGHT)
		gather_quals(gather, join->quals, relations_in(join->larg));
}

/* about: one of the columns must be of these relations; NULL: any. */
static void
gather_quals(Gather *gather, Node *quals, const Bitmapset *about)
{
	ListCell   *cell;

	if (quals == NULL)
		return;
	if (IsA(quals, List))
	{
		foreach(cell, (List *) quals)
			gather_quals(gather, lfirst(cell), about);
	}
	else if (is_andclause(quals))
		gather_quals(gather, (Node *) ((BoolExpr *) quals)->args, about);
	else if (IsA(quals, OpExpr))
		gather_equality(gather, (OpExpr *) quals, about);
	else if (IsA(quals, SubLink) && ((SubLink *) quals)->subLinkType == ANY_SUBLINK && about == NULL)
		gather->facts->any = lappend(gather->facts->any, quals);
}

static void
gather_equality(Gather *gather, OpExpr *expression, const Bitmapset *about)
{
	Var		   *left;
	Var		   *right;
	EqualPair  *pair;

	if (!is_equality(expression))
		return;
	left = equal_resolve(gather->query, linitial(expression->args));
	right = equal_resolve(gather->query, lsecond(expression->args));
	if (left == NULL || right == NULL || (left->varlevelsup > 0 && right->varlevelsup > 0))
		return;
	if (about && !(left->varlevelsup == 0 && bms_is_member(left->varno, about)) &&
		!(right->varlevelsup == 0 && bms_is_member(right->varno, about)))
		return;
	pair = palloc(sizeof(EqualPair));
	pair->left = left->varlevelsup == 0 ? left : right;
	pair->right = left->varlevelsup == 0 ? right : left;
	pair->tells_left = about == NULL || bms_is_member(pair->left->varno, about);
	pair->tells_right = about == NULL || (pair->right->varlevelsup == 0 && bms_is_member(pair->right->varno, about));
	if (pair->right->varlevelsup == 0)
		gather->facts->inner = lappend(gather->facts->inner, pair);
	else
		gather->facts->outer = lappend(gather->facts->outer, pair);
}

/* Of texts that are the same only to a collation another one is queued than the key is. */
static bool
is_equality(const OpExpr *expression)
{
	return list_length(expression->args) == 2 && op_mergejoinable(expression->opno, exprType(linitial(expression->args))) &&
		(!OidIsValid(expression->inputcollid) || get_collation_isdeterministic(expression->inputcollid));
}

static Bitmapset *
relations_in(Node *node)
{
	Bitmapset  *result = NULL;
	ListCell   *cell;

	if (IsA(node, RangeTblRef))
		return bms_make_singleton(((RangeTblRef *) node)->rtindex);
	if (IsA(node, JoinExpr))
		return bms_join(relations_in(((JoinExpr *) node)->larg), relations_in(((JoinExpr *) node)->rarg));
	foreach(cell, castNode(FromExpr, node)->fromlist)
		result = bms_join(result, relations_in(lfirst(cell)));
	return result;
}

Var *
equal_resolve(Query *query, Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	while (node && IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte = rt_fetch(var->varno, query->rtable);

		if (var->varattno <= 0)
			return NULL;
		if (rte->rtekind == RTE_JOIN)
			node = list_nth(rte->joinaliasvars, var->varattno - 1);
#if PG_VERSION_NUM >= 180000
		else if (rte->rtekind == RTE_GROUP)
			node = list_nth(rte->groupexprs, var->varattno - 1);
#endif
		else
			return var;
		while (node && IsA(node, RelabelType))
			node = (Node *) ((RelabelType *) node)->arg;
	}
	return node && IsA(node, Var) && ((Var *) node)->varattno > 0 ? (Var *) node : NULL;
}

bool
equal_has(const List *columns, int rtindex, AttrNumber attno)
{
	ListCell   *cell;

	foreach(cell, columns)
	{
		Var		   *var = lfirst_node(Var, cell);

		if (var->varno == rtindex && var->varattno == attno)
			return true;
	}
	return false;
}

List *
equal_closure(const EqualFacts *facts, List *columns)
{
	bool		grown = true;
	ListCell   *cell;

	while (grown)
	{
		grown = false;
		foreach(cell, facts->inner)
		{
			EqualPair  *pair = lfirst(cell);
			bool		left = equal_has(columns, pair->left->varno, pair->left->varattno);
			bool		right = equal_has(columns, pair->right->varno, pair->right->varattno);

			if (left == right || !(left ? pair->tells_right : pair->tells_left))
				continue;
			columns = lappend(columns, left ? pair->right : pair->left);
			grown = true;
		}
	}
	return columns;
}

List *
equal_sublink_columns(Query *query, const SubLink *link, const List *columns)
{
	List	   *tests = link->testexpr && is_andclause(link->testexpr) ? ((BoolExpr *) link->testexpr)->args : list_make1(link->testexpr);
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, tests)
	{
		OpExpr	   *test = lfirst(cell);
		Var		   *column;
		Node	   *param;

		if (test == NULL || !IsA(test, OpExpr) || !is_equality(test))
			continue;
		column = equal_resolve(query, linitial(test->args));
		param = lsecond(test->args);
		while (IsA(param, RelabelType))
			param = (Node *) ((RelabelType *) param)->arg;
		if (column && column->varlevelsup == 0 && equal_has(columns, column->varno, column->varattno) && IsA(param, Param))
			result = lappend_int(result, ((Param *) param)->paramid);
	}
	return result;
}
