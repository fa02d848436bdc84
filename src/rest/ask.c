/*
 * ask.c
 *	  Which conditions of a query its API can be asked for: planning.
 *
 * Those that the definition's read.filter declares a parameter for, and those
 * on columns that the path names: column = value, column = ANY (values), and
 * ranges, where the value is known before the rows are.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rest/ask.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* Looking for conditions on one column. */
typedef struct AskColumn
{
	PlannerInfo *root;
	Index		rti;
	Form_pg_attribute attribute;
	Oid			type;			/* behind domains */
	int32		typmod;
	Oid			family;			/* of btree; InvalidOid: none */
	const ConnectorFilter *filter;
} AskColumn;

static bool
ask_has_param(const AskColumn *column, FilterOp op)
{
	return column->filter->params[op].name != NULL;
}

/* What the path names needs no parameter: one request for each value. */
static bool
ask_takes_equal(const AskColumn *column)
{
	return column->filter->in_path || ask_has_param(column, FILTER_EQ) || ask_has_param(column, FILTER_IN);
}

static bool
ask_is_column(const AskColumn *column, Node *node)
{
	Var		   *var;

	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (Var *) node;
	return node != NULL && IsA(node, Var) && var->varno == column->rti && var->varlevelsup == 0 &&
		var->varattno == column->attribute->attnum;
}

/* In the column's type, by what loses nothing; NULL: it is not known before the rows, or of another type. */
static Expr *
ask_value(const AskColumn *column, Node *value, bool list)
{
	Oid			wanted = list ? get_array_type(column->type) : column->type;
	Node	   *coerced;

	if (!OidIsValid(wanted) || contain_volatile_functions(value) || contain_subplans(value) ||
		bms_is_member(column->rti, pull_varnos(column->root, value)))
		return NULL;
	coerced = coerce_to_target_type(NULL, copyObject(value), exprType(value), wanted, -1,
									COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	return coerced == NULL ? NULL : (Expr *) eval_const_expressions(column->root, coerced);
}

static AskCondition *
ask_condition(const AskColumn *column, FilterOp op, Expr *value, int clause)
{
	AskCondition *condition;

	if (value == NULL)
		return NULL;
	condition = palloc0(sizeof(AskCondition));
	condition->attnum = column->attribute->attnum;
	condition->op = op;
	condition->upper = op == FILTER_LT || op == FILTER_LE;
	condition->clause = clause;
	condition->value = value;
	return condition;
}

/* column = value; false: this clause is none. */
static AskCondition *
ask_equal(const AskColumn *column, Node *clause, int place)
{
	List	   *args;
	Node	   *value = NULL;

	/* a column of truth is a condition by itself */
	if (column->type == BOOLOID && ask_is_column(column, clause))
		return ask_condition(column, FILTER_EQ, (Expr *) makeBoolConst(true, false), place);
	if (column->type == BOOLOID && is_notclause(clause) && ask_is_column(column, (Node *) get_notclausearg(clause)))
		return ask_condition(column, FILTER_EQ, (Expr *) makeBoolConst(false, false), place);
	if (!IsA(clause, OpExpr) || list_length(((OpExpr *) clause)->args) != 2 ||
		get_op_opfamily_strategy(((OpExpr *) clause)->opno, column->family) != BTEqualStrategyNumber ||
		!ask_takes(column->type, column->typmod, ((OpExpr *) clause)->inputcollid, false))
		return NULL;
	args = ((OpExpr *) clause)->args;
	if (ask_is_column(column, linitial(args)))
		value = lsecond(args);
	else if (ask_is_column(column, lsecond(args)))
		value = linitial(args);
	return value == NULL ? NULL :
		ask_condition(column, FILTER_EQ, ask_value(column, value, false), place);
}

static AskCondition *
ask_any(const AskColumn *column, Node *clause, int place)
{
	ScalarArrayOpExpr *any = (ScalarArrayOpExpr *) clause;
	AskCondition *condition;

	if (!IsA(clause, ScalarArrayOpExpr) || !any->useOr ||
		get_op_opfamily_strategy(any->opno, column->family) != BTEqualStrategyNumber ||
		!ask_is_column(column, linitial(any->args)) ||
		!ask_takes(column->type, column->typmod, any->inputcollid, false))
		return NULL;
	condition = ask_condition(column, FILTER_IN, ask_value(column, lsecond(any->args), true), place);
	if (condition != NULL)
	{
		condition->list = true;
		condition->collation = any->inputcollid;
	}
	return condition;
}

/* The parameter for a strategy of btree: where only the wider one is declared, that; false: none. */
static bool
ask_range_param(const AskColumn *column, int strategy, FilterOp *op)
{
	switch (strategy)
	{
		case BTLessStrategyNumber:
			*op = ask_has_param(column, FILTER_LT) ? FILTER_LT : FILTER_LE;
			break;
		case BTLessEqualStrategyNumber:
			*op = FILTER_LE;
			break;
		case BTGreaterEqualStrategyNumber:
			*op = FILTER_GE;
			break;
		case BTGreaterStrategyNumber:
			*op = ask_has_param(column, FILTER_GT) ? FILTER_GT : FILTER_GE;
			break;
		default:
			return false;
	}
	return ask_has_param(column, *op);
}

static AskCondition *
ask_range(const AskColumn *column, Node *clause, int place)
{
	OpExpr	   *operation = (OpExpr *) clause;
	Oid			operator;
	FilterOp	op;
	Node	   *value;

	if (!IsA(clause, OpExpr) || list_length(operation->args) != 2 ||
		!ask_takes(column->type, column->typmod, operation->inputcollid, true))
		return NULL;
	operator = operation->opno;
	value = lsecond(operation->args);
	if (!ask_is_column(column, linitial(operation->args)))
	{
		operator = get_commutator(operator);
		value = linitial(operation->args);
		if (!OidIsValid(operator) || !ask_is_column(column, lsecond(operation->args)))
			return NULL;
	}
	if (!ask_range_param(column, get_op_opfamily_strategy(operator, column->family), &op))
		return NULL;
	return ask_condition(column, op, ask_value(column, value, false), place);
}

/* One value goes before a list of them, each bound once: more would say nothing more to an API. */
static List *
ask_of_column(const AskColumn *column, List *clauses)
{
	AskCondition *equal = NULL;
	AskCondition *lower = NULL;
	AskCondition *upper = NULL;
	List	   *found = NIL;
	ListCell   *cell;

	if (ask_takes_equal(column))
	{
		foreach(cell, clauses)
			if (equal == NULL)
				equal = ask_equal(column, lfirst(cell), foreach_current_index(cell));
		foreach(cell, clauses)
			if (equal == NULL)
				equal = ask_any(column, lfirst(cell), foreach_current_index(cell));
	}
	foreach(cell, clauses)
	{
		AskCondition *range = ask_range(column, lfirst(cell), foreach_current_index(cell));

		if (range != NULL && range->upper && upper == NULL)
			upper = range;
		else if (range != NULL && !range->upper && lower == NULL)
			lower = range;
	}
	found = equal != NULL ? lappend(found, equal) : found;
	found = lower != NULL ? lappend(found, lower) : found;
	return upper != NULL ? lappend(found, upper) : found;
}

static Form_pg_attribute
ask_attribute(Relation relation, const char *name)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return attribute;
	}
	return NULL;
}

List *
ask_conditions(PlannerInfo *root, Index rti, Relation relation, const Connector *connector, List *clauses)
{
	List	   *conditions = NIL;

	for (int i = 0; i < connector->read.nfilters; i++)
	{
		AskColumn	column = {.root = root, .rti = rti, .filter = &connector->read.filters[i]};

		column.attribute = ask_attribute(relation, column.filter->column);
		if (column.attribute == NULL)
			continue;
		column.typmod = column.attribute->atttypmod;
		column.type = getBaseTypeAndTypmod(column.attribute->atttypid, &column.typmod);
		column.family = lookup_type_cache(column.type, TYPECACHE_BTREE_OPFAMILY)->btree_opf;
		if (OidIsValid(column.family))
			conditions = list_concat(conditions, ask_of_column(&column, clauses));
	}
	return conditions;
}

bool
ask_is_enough(Relation relation, const Connector *connector, const List *conditions)
{
	for (int i = 0; i < connector->read.nfilters; i++)
	{
		const ConnectorFilter *filter = &connector->read.filters[i];
		Form_pg_attribute attribute = ask_attribute(relation, filter->column);
		bool		known = !filter->required;
		ListCell   *cell;

		foreach(cell, conditions)
		{
			const AskCondition *condition = lfirst(cell);

			known = known || (attribute != NULL && condition->attnum == attribute->attnum &&
							  (condition->op == FILTER_EQ || condition->op == FILTER_IN));
		}
		if (!known)
			return false;
	}
	return true;
}

/*
 * Only where nothing is between the scan and the LIMIT that could drop a row,
 * bring rows in another order, or want one that comes later.
 */
int
ask_limit(PlannerInfo *root, RelOptInfo *rel)
{
	Query	   *query = root->parse;

	if (rel->reloptkind != RELOPT_BASEREL || query->commandType != CMD_SELECT ||
		bms_membership(root->all_baserels) != BMS_SINGLETON || rel->baserestrictinfo != NIL || rel->joininfo != NIL ||
		query->jointree->quals != NULL || query->sortClause != NIL || query->rowMarks != NIL ||
		query->setOperations != NULL || root->hasPseudoConstantQuals)
		return 0;
	/* of grouping, DISTINCT, window functions and sets the planner has none; what is not constant is an estimate */
	if (query->limitCount == NULL || !IsA(query->limitCount, Const) ||
		(query->limitOffset != NULL && !IsA(query->limitOffset, Const)))
		return 0;
	return root->limit_tuples >= 1 && root->limit_tuples <= 1000000 ? (int) root->limit_tuples : 0;
}

List *
ask_pack(const List *conditions)
{
	List	   *packed = NIL;
	ListCell   *cell;

	foreach(cell, conditions)
	{
		const AskCondition *condition = lfirst(cell);
		List	   *one = list_make4_int(condition->attnum, condition->op, condition->list, condition->upper);

		one = lappend_int(one, condition->clause);
		packed = lappend(packed, lappend_int(one, (int) condition->collation));
	}
	return packed;
}

List *
ask_unpack(const List *packed, const List *values)
{
	List	   *conditions = NIL;
	const ListCell *one;
	const ListCell *value;

	forboth(one, packed, value, values)
	{
		const List *from = lfirst(one);
		AskCondition *condition = palloc0(sizeof(AskCondition));

		condition->attnum = linitial_int(from);
		condition->op = lsecond_int(from);
		condition->list = lthird_int(from);
		condition->upper = lfourth_int(from);
		condition->clause = list_nth_int(from, 4);
		condition->collation = (Oid) list_nth_int(from, 5);
		condition->value = lfirst(value);
		conditions = lappend(conditions, condition);
	}
	return conditions;
}
