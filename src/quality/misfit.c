/*
 * misfit.c
 *	  Which rows of a sync's query have values that do not fit the type that
 *	  their column had.
 *
 * A flaw must be that of a row of the query.  So of each query, in FROM, too, whose
 * rows are those that it reads, the values that go to the target are looked at,
 * and conditions on one relation: a row that does not fit fulfils them, or
 * it would count as gone.  All else (keys, joins, aggregates, sorting) raises the
 * error of the cast: a NULL there would be another row, or none.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/identity.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "quality/former.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* A query while it is judged. */
typedef struct Judging
{
	Query	   *query;
	Oid			former;			/* activate._former() */
	Oid			or_null;		/* and the others */
	Oid			misfit;
	List	   *free;			/* expressions that may be made quiet */
	List	   *bound;			/* all else */
	AttrNumber **flaws;			/* by entry of FROM and column: the column that has its flaw, 0: none; [0]: of the row */
	List	   *found;			/* Expr: flaws of what is just made quiet */
} Judging;

/* Columns of an entry of FROM that an expression reads, in whatever depth; 0: it as a whole. */
typedef struct Reading
{
	const Query *query;
	int			rtindex;
	int			depth;
	Bitmapset  *columns;
} Reading;

static Oid	function_named(const char *name, Oid fourth);
static bool fits_always(Oid from, Oid type, int32 typmod);
static Node *plain_cast(Node *value, Oid type, int32 typmod);
static Node *plain_node(Node *node, void *context);
static bool has_former(Node *node, void *former);
static List *judge(const Judging *functions, Query *query, const Bitmapset *wanted, AttrNumber **flaws);
static bool rows_are_rows(const Query *query);
static void sort_out(Judging *judging, const Bitmapset *wanted);
static void sort_out_condition(Judging *judging, Node *quals);
static bool stands_alone(const Query *query, int rtindex);
static void judge_below(Judging *judging, int rtindex);
static Node *let_pass(Judging *judging, Node *quals, List **flaws);
static Node *quiet_node(Node *node, Judging *judging);
static Node *quiet_call(FuncExpr *call, Judging *judging);
static char *words(const Judging *judging, FuncExpr *call);
static Bitmapset *columns_read(const Judging *judging, int rtindex, const List *expressions);
static bool read_column(Node *node, Reading *reading);
static bool has_query(Node *node, void *context);
static AttrNumber give(Query *query, List *flaws);
static Expr *first_of(List *flaws);

/* Its third argument is the modifier of the second's type; the one of the misfit has a fourth. */
static Oid
function_named(const char *name, Oid fourth)
{
	Oid			types[4] = {ANYOID, ANYELEMENTOID, INT4OID, fourth};

	return LookupFuncName(list_make2(makeString("activate"), makeString(pstrdup(name))), OidIsValid(fourth) ? 4 : 3, types, false);
}

Node *
former_value(Node *value, Oid type, int32 typmod)
{
	Oid			collation = get_typcollation(type);

	/* a NULL of a domain may be none of its values */
	if (fits_always(exprType(value), type, typmod) || getBaseType(type) != type)
		return plain_cast(value, type, typmod);
	return (Node *) makeFuncExpr(function_named("_former", InvalidOid), type,
								 list_make3(value, makeNullConst(type, -1, collation),
											makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(typmod), false, true)),
								 collation, collation, COERCE_EXPLICIT_CALL);
}

/* What its column was in between does not matter. */
Node *
former_again(Node *node)
{
	const FuncExpr *call = (FuncExpr *) node;
	Oid			former = function_named("_former", InvalidOid);
	Node	   *value = node;
	int32		typmod;

	if (!IsA(node, FuncExpr) || call->funcid != former)
		return node;
	for (;;)
	{
		if (IsA(value, FuncExpr) && (((FuncExpr *) value)->funcformat == COERCE_EXPLICIT_CAST || ((FuncExpr *) value)->funcid == former) &&
			((FuncExpr *) value)->args != NIL)
			value = linitial(((FuncExpr *) value)->args);
		else if (IsA(value, CoerceViaIO))
			value = (Node *) ((CoerceViaIO *) value)->arg;
		else if (IsA(value, RelabelType))
			value = (Node *) ((RelabelType *) value)->arg;
		else
			break;
	}
	if (!IsA(value, Var))
		return node;
	typmod = DatumGetInt32(lthird_node(Const, call->args)->constvalue);
	if (exprType(value) == call->funcresulttype && (typmod < 0 || exprTypmod(value) == typmod))
		return value;
	return former_value(value, call->funcresulttype, typmod);
}

/* Is each of its values one of the type? */
static bool
fits_always(Oid from, Oid type, int32 typmod)
{
	if (typmod >= 0)
		return false;
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			return true;
		case INT4OID:
			return from == INT2OID;
		case INT8OID:
			return from == INT2OID || from == INT4OID;
		case NUMERICOID:
			return from == INT2OID || from == INT4OID || from == INT8OID || from == NUMERICOID;
		case FLOAT8OID:
			return from == INT2OID || from == INT4OID || from == FLOAT4OID;
	}
	return IsBinaryCoercible(from, type);
}

static Node *
plain_cast(Node *value, Oid type, int32 typmod)
{
	Oid			from = exprType(value);
	Node	   *cast = coerce_to_target_type(NULL, value, from, type, typmod, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);

	if (cast)
		return cast;
	value = coerce_to_target_type(NULL, value, from, TEXTOID, -1, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
	return coerce_to_target_type(NULL, value, TEXTOID, type, typmod, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
}

Node *
former_plain(Node *tree)
{
	Oid			former = function_named("_former", InvalidOid);

	return plain_node(tree, &former);
}

static Node *
plain_node(Node *node, void *context)
{
	const Oid  *former = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, plain_node, context, QTW_IGNORE_JOINALIASES);
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == *former)
	{
		const FuncExpr *call = (FuncExpr *) node;

		return plain_cast(plain_node(linitial(call->args), context), call->funcresulttype,
						  DatumGetInt32(lthird_node(Const, call->args)->constvalue));
	}
	return expression_tree_mutator(node, plain_node, context);
}

static bool
has_former(Node *node, void *former)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_former, former, QTW_IGNORE_JOINALIASES);
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == *(Oid *) former)
		return true;
	return expression_tree_walker(node, has_former, former);
}

Expr *
former_judgement(Query *query)
{
	Judging		functions = {.former = function_named("_former", InvalidOid)};
	Bitmapset  *wanted = NULL;
	AttrNumber *given;
	List	   *flaws;
	IdentityScope scope;
	ListCell   *cell;

	if (!has_former((Node *) query, &functions.former))
		return NULL;
	functions.or_null = function_named("_former_or_null", InvalidOid);
	functions.misfit = function_named("_former_misfit", TEXTOID);
	foreach(cell, query->targetList)
	{
		const TargetEntry *entry = lfirst(cell);

		if (entry->resname[0] == 'v' || entry->resname[0] == 'd')
			wanted = bms_add_member(wanted, entry->resno);
	}
	/* names of types as everybody would write them */
	identity_enter_extension(&scope);
	flaws = judge(&functions, query, wanted, &given);
	identity_leave(&scope);
	return flaws ? first_of(flaws) : NULL;
}

/* The flaws of its rows; flaws of its wanted columns are columns of it, by number (given, NULL: it is left alone). */
static List *
judge(const Judging *functions, Query *query, const Bitmapset *wanted, AttrNumber **given)
{
	Judging		judging = *functions;
	List	   *flaws = NIL;
	int			ncolumns = list_length(query->targetList);

	*given = NULL;
	if (!rows_are_rows(query))
		return NIL;
	judging.query = query;
	judging.free = judging.bound = NIL;
	judging.flaws = palloc0((list_length(query->rtable) + 1) * sizeof(AttrNumber *));
	sort_out(&judging, wanted);
	for (int rtindex = 1; rtindex <= list_length(query->rtable); rtindex++)
		judge_below(&judging, rtindex);

	*given = palloc0((ncolumns + 1) * sizeof(AttrNumber));
	query->jointree->quals = let_pass(&judging, query->jointree->quals, &flaws);
	for (int rtindex = 1; rtindex <= list_length(query->rtable); rtindex++)
		if (judging.flaws[rtindex] && judging.flaws[rtindex][0] > 0)
			flaws = lappend(flaws, makeVar(rtindex, judging.flaws[rtindex][0], TEXTOID, -1, DEFAULT_COLLATION_OID, 0));
	for (int i = 0; i < ncolumns; i++)
	{
		TargetEntry *entry = list_nth_node(TargetEntry, query->targetList, i);

		if (!list_member_ptr(judging.free, entry->expr))
			continue;
		judging.found = NIL;
		entry->expr = (Expr *) quiet_node((Node *) entry->expr, &judging);
		if (judging.found == NIL)
			continue;
		/* the outermost query has all flaws of a row in one column */
		if (entry->resname && functions->query == NULL && entry->resname[0] == 'd')
			entry->expr = (Expr *) first_of(list_make2(entry->expr, makeBoolConst(false, false)));
		if (functions->query == NULL)
			flaws = list_concat_unique(flaws, judging.found);
		else
			(*given)[entry->resno] = give(query, judging.found);
	}
	if (functions->query != NULL && flaws != NIL)
		(*given)[0] = give(query, flaws);
	return flaws;
}

/* Is each of its rows made of one of what is in FROM? */
static bool
rows_are_rows(const Query *query)
{
	return query->commandType == CMD_SELECT && !query->hasAggs && !query->hasWindowFuncs && !query->hasTargetSRFs &&
		query->groupClause == NIL && query->groupingSets == NIL && query->havingQual == NULL && query->distinctClause == NIL &&
		query->setOperations == NULL && query->limitCount == NULL && query->limitOffset == NULL;
}

static void
sort_out(Judging *judging, const Bitmapset *wanted)
{
	ListCell   *cell;

	foreach(cell, judging->query->targetList)
	{
		const TargetEntry *entry = lfirst(cell);

		if (bms_is_member(entry->resno, wanted) && entry->ressortgroupref == 0 && !has_query((Node *) entry->expr, NULL))
			judging->free = lappend(judging->free, entry->expr);
		else
			judging->bound = lappend(judging->bound, entry->expr);
	}
	judging->bound = lappend(judging->bound, judging->query->jointree->fromlist);
	sort_out_condition(judging, judging->query->jointree->quals);
}

/* A condition that joins is not fulfilled by a row because that does not fit: it would be by all. */
static void
sort_out_condition(Judging *judging, Node *quals)
{
	Bitmapset  *relations;
	int			rtindex;

	if (quals == NULL)
		return;
	if (is_andclause(quals))
	{
		ListCell   *cell;

		foreach(cell, ((BoolExpr *) quals)->args)
			sort_out_condition(judging, lfirst(cell));
		return;
	}
	relations = has_query(quals, NULL) ? NULL : pull_varnos(NULL, quals);
	if (bms_get_singleton_member(relations, &rtindex) && rt_fetch(rtindex, judging->query->rtable)->rtekind != RTE_JOIN)
		judging->free = lappend(judging->free, quals);
	else
		judging->bound = lappend(judging->bound, quals);
}

/*
 * Not within a JOIN: that has a list of the columns of both sides, by whose
 * numbers the server writes a query as text, so none can be added to one of them.
 */
static bool
stands_alone(const Query *query, int rtindex)
{
	ListCell   *cell;

	foreach(cell, query->jointree->fromlist)
		if (IsA(lfirst(cell), RangeTblRef) && lfirst_node(RangeTblRef, cell)->rtindex == rtindex)
			return true;
	return false;
}

/* What is read there for what is free, and for nothing else. */
static void
judge_below(Judging *judging, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, judging->query->rtable);
	Bitmapset  *free;
	Bitmapset  *bound;
	int			before;

	if (rte->rtekind != RTE_SUBQUERY || rte->lateral || !stands_alone(judging->query, rtindex))
		return;
	free = columns_read(judging, rtindex, judging->free);
	bound = columns_read(judging, rtindex, judging->bound);
	/* as a whole it would have more columns than before */
	if (bms_is_member(0, free) || bms_is_member(0, bound))
		return;
	before = list_length(rte->subquery->targetList);
	(void) judge(judging, rte->subquery, bms_difference(free, bound), &judging->flaws[rtindex]);
	for (int i = before; i < list_length(rte->subquery->targetList); i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup("activate flaw")));
}

/* The condition, fulfilled by what does not fit; flaws: that it does not. */
static Node *
let_pass(Judging *judging, Node *quals, List **flaws)
{
	if (quals && is_andclause(quals))
	{
		ListCell   *cell;

		foreach(cell, ((BoolExpr *) quals)->args)
			lfirst(cell) = let_pass(judging, lfirst(cell), flaws);
		return quals;
	}
	if (!list_member_ptr(judging->free, quals))
		return quals;
	judging->found = NIL;
	quals = quiet_node(quals, judging);
	if (judging->found != NIL)
	{
		NullTest   *has_flaw = makeNode(NullTest);

		*flaws = list_concat_unique(*flaws, judging->found);
		has_flaw->arg = first_of(copyObject(judging->found));
		has_flaw->nulltesttype = IS_NOT_NULL;
		has_flaw->location = -1;
		quals = (Node *) makeBoolExpr(OR_EXPR, list_make2(has_flaw, quals), -1);
	}
	return quals;
}

/* NULL where a value does not fit; judging->found gets why it does not. */
static Node *
quiet_node(Node *node, Judging *judging)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varattno > 0)
	{
		const Var  *var = (Var *) node;
		const AttrNumber *flaws = judging->flaws[var->varno];

		if (flaws && flaws[var->varattno] > 0)
			judging->found = list_append_unique(judging->found, makeVar(var->varno, flaws[var->varattno], TEXTOID, -1, DEFAULT_COLLATION_OID, 0));
		return copyObject(node);
	}
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == judging->former)
		return quiet_call((FuncExpr *) node, judging);
	return expression_tree_mutator(node, quiet_node, judging);
}

static Node *
quiet_call(FuncExpr *call, Judging *judging)
{
	Expr	   *reason = (Expr *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, CStringGetTextDatum(words(judging, call)), false, false);
	FuncExpr   *quiet = copyObject(call);
	List	   *args;

	linitial(quiet->args) = quiet_node(linitial(call->args), judging);
	quiet->funcid = judging->or_null;
	args = lappend(copyObject(quiet->args), reason);
	judging->found = list_append_unique(judging->found, makeFuncExpr(judging->misfit, TEXTOID, args, DEFAULT_COLLATION_OID,
																	 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL));
	return (Node *) quiet;
}

/* Without the value, which is nobody's business who may only see what is rejected. */
static char *
words(const Judging *judging, FuncExpr *call)
{
	List	   *vars = pull_var_clause((Node *) call, 0);
	const Var  *var = vars ? linitial(vars) : NULL;
	const RangeTblEntry *rte = var ? rt_fetch(var->varno, judging->query->rtable) : NULL;
	char	   *type = format_type_with_typemod(call->funcresulttype, DatumGetInt32(lthird_node(Const, call->args)->constvalue));

	if (rte == NULL || rte->rtekind != RTE_RELATION)
		return psprintf("column of the source does not fit its former type %s", type);
	return psprintf("column \"%s\" of %s does not fit its former type %s", get_attname(rte->relid, var->varattno, false),
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(rte->relid)), get_rel_name(rte->relid)), type);
}

static Bitmapset *
columns_read(const Judging *judging, int rtindex, const List *expressions)
{
	Reading		reading = {judging->query, rtindex, 0, NULL};

	(void) read_column((Node *) expressions, &reading);
	/* what others in FROM read of it */
	if (expressions == judging->bound)
		(void) range_table_walker(judging->query->rtable, read_column, &reading, QTW_IGNORE_JOINALIASES);
	return reading.columns;
}

static bool
read_column(Node *node, Reading *reading)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		reading->depth++;
		(void) query_tree_walker((Query *) node, read_column, reading, QTW_IGNORE_JOINALIASES);
		reading->depth--;
		return false;
	}
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == reading->depth)
	{
		const Var  *var = (Var *) node;
		const RangeTblEntry *rte = rt_fetch(var->varno, reading->query->rtable);
		int			depth = reading->depth;

		if (var->varno == reading->rtindex || (rte->rtekind == RTE_JOIN && var->varattno <= 0))
			reading->columns = bms_add_member(reading->columns, Max(var->varattno, 0));
		else if (rte->rtekind == RTE_JOIN)
		{
			reading->depth = 0;
			(void) read_column(list_nth(rte->joinaliasvars, var->varattno - 1), reading);
			reading->depth = depth;
		}
		return false;
	}
	return expression_tree_walker(node, read_column, reading);
}

static bool
has_query(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, Query) || expression_tree_walker(node, has_query, context);
}

/* One more column of the query, that has these flaws. */
static AttrNumber
give(Query *query, List *flaws)
{
	AttrNumber	number = list_length(query->targetList) + 1;

	query->targetList = lappend(query->targetList, makeTargetEntry(first_of(flaws), number, pstrdup("activate flaw"), false));
	return number;
}

static Expr *
first_of(List *values)
{
	CoalesceExpr *result;

	if (list_length(values) == 1)
		return linitial(values);
	result = makeNode(CoalesceExpr);
	result->coalescetype = exprType(linitial(values));
	result->coalescecollid = exprCollation(linitial(values));
	result->args = values;
	result->location = -1;
	return (Expr *) result;
}
