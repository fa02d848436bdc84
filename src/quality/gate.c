/*
 * gate.c
 *	  What passes: rows one by one, by a column of a sync's query; syncs as a
 *	  whole, by activate._gate.
 *
 * A sync reads relations, of which expectations may fail.  Where the relation
 * is its source, each row is judged as it is read, in whatever statement: Q has
 * a column that says why it is kept back.  So are rows on their way into a
 * local table, by what is expected of that.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/errors.h"
#include "core/own.h"
#include "core/shared.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "quality/expect.h"
#include "quality/former.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static bool read_walker(Node *node, void *context);
static Expr *judgement(const Sync *sync, Query *query);
static bool may_run(const Sync *sync, const Expectation *it);
static Node *condition_of(const Sync *sync, Query *query, const Expectation *it);
static bool runs_code(Node *node, void *context);
static bool is_not_builtin(Oid function, void *context);
static char *why_not_judged(const Expectation *it);
static CaseWhen *verdict(const Expectation *it, Node *condition, bool holds, const char *trouble);
static Node *condition_on_values(const Sync *sync, Query *query, const Expectation *it);
static bool gate_decide(int64 sync, const List *relations);
static bool is_any(void);

/* The expectation whose row was the last that raised an error here. */
static int64 tripped = 0;

ACTIVATE_FUNCTION(activate_hold_row);

/* --- rows one by one ------------------------------------------------------ */

char *
quality_query(const Sync *sync, bool *judged, char **reason)
{
	Query	   *query = sync->query_tree ? sync_tree(sync) : NULL;
	Expr	   *misfit;
	Expr	   *judge;

	*judged = false;
	if (query == NULL)
		return sync_query(sync, reason);
	/* first: what is expected of values is then of those that fit */
	misfit = former_judgement(query);
	judge = is_any() ? judgement(sync, query) : NULL;
	if (misfit && judge)
	{
		CoalesceExpr *either = makeNode(CoalesceExpr);

		either->coalescetype = TEXTOID;
		either->coalescecollid = DEFAULT_COLLATION_OID;
		either->args = list_make2(misfit, judge);
		either->location = -1;
		judge = (Expr *) either;
	}
	else if (misfit)
		judge = misfit;
	*judged = judge != NULL;
	if (judge)
		query->targetList = lappend(query->targetList, makeTargetEntry(judge, list_length(query->targetList) + 1, pstrdup("flaw"), false));
	return sync_tree_text(query, reason);
}

char *
quality_fitting_query(const Sync *sync)
{
	Query	   *query = sync->query_tree ? sync_tree(sync) : NULL;
	Expr	   *misfit = query ? former_judgement(query) : NULL;
	NullTest   *fits = makeNode(NullTest);
	char	   *reason;
	char	   *text;

	if (misfit == NULL)
		return sync_query_needed(sync);
	fits->arg = misfit;
	fits->nulltesttype = IS_NULL;
	fits->location = -1;
	query->jointree->quals = make_and_qual(query->jointree->quals, (Node *) fits);
	text = sync_tree_text(query, &reason);
	return text ? text : sync_query_needed(sync);
}

const char *
quality_code(const char *flaw)
{
	return strncmp(flaw, "expectation ", strlen("expectation ")) == 0 ? "expectation" : "former_type";
}

char *
quality_query_needed(const Sync *sync, bool *judged)
{
	char	   *reason;
	char	   *query = quality_query(sync, judged, &reason);

	/* which raises it, if it is about the sync */
	return query ? query : sync_query_needed(sync);
}

/* Why a row is kept back, as an expression in its query; NULL: none is. */
static Expr *
judgement(const Sync *sync, Query *query)
{
	List	   *relations = NIL;
	CaseExpr   *result = makeNode(CaseExpr);
	List	   *held = NIL;
	ListCell   *cell;

	if (OidIsValid(sync->source_rel))
		relations = lappend_oid(relations, sync->source_rel);
	if (sync->kind == SYNC_TO_LOCAL)
		relations = lappend_oid(relations, sync->target_rel);
	foreach(cell, expectations_of(sync->id, relations))
	{
		const Expectation *it = lfirst(cell);
		Node	   *condition;
		char	   *trouble;

		if (strcmp(it->kind, "row") != 0 || strcmp(it->on_fail, "warn") == 0)
			continue;
		trouble = why_not_judged(it);
		if (trouble)
			condition = makeBoolConst(false, false);
		else if (!may_run(sync, it) || (condition = condition_of(sync, query, it)) == NULL)
			continue;
		if (strcmp(it->on_fail, "hold") == 0 || trouble)
			held = lappend(held, verdict(it, condition, true, trouble));
		else
			result->args = lappend(result->args, verdict(it, condition, false, NULL));
	}
	/* nothing passes is more than one does not */
	result->args = list_concat(held, result->args);
	if (result->args == NIL)
		return NULL;
	result->casetype = TEXTOID;
	result->casecollid = DEFAULT_COLLATION_OID;
	result->defresult = (Expr *) makeNullConst(TEXTOID, -1, DEFAULT_COLLATION_OID);
	result->location = -1;
	return (Expr *) result;
}

/* The condition in the query; NULL: it asks for what is not there yet. */
static Node *
condition_of(const Sync *sync, Query *query, const Expectation *it)
{
	if (!it->direct)
		return condition_on_values(sync, query, it);
	query->hasSubLinks |= it->tree->hasSubLinks;
	return (Node *) copyObject(linitial_node(TargetEntry, it->tree->targetList)->expr);
}

/* Why it cannot be judged any more, as its next check will find, too; NULL: it can. */
static char *
why_not_judged(const Expectation *it)
{
	char	   *reason = NULL;

	if (it->tree == NULL)
		return "it was declared in another database, or under another PostgreSQL, and waits for activate_adopt()";
	(void) sync_tree_text(copyObject(it->tree), &reason);
	return reason;
}

/*
 * May it be part of the sync's statement, which runs as the sync's owner?  Who
 * owns a table has no code run by reading it: of others' expectations only what
 * runs none of theirs.  By writing to it he has, by triggers.
 */
static bool
may_run(const Sync *sync, const Expectation *it)
{
	if (!it->direct)
		return true;
	if (OidIsValid(it->owner) && OidIsValid(sync->owner) && has_privs_of_role(it->owner, sync->owner))
		return true;
	return expectation_is_harmless(it->tree);
}

bool
expectation_is_harmless(const Query *tree)
{
	return !runs_code((Node *) tree->targetList, NULL);
}

/* Is there anything but immutable functions of PostgreSQL's own? */
static bool
runs_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return IsA(node, SubLink) || IsA(node, CoerceToDomain) || IsA(node, NextValueExpr) || IsA(node, Query) ||
		check_functions_in_node(node, is_not_builtin, NULL) || expression_tree_walker(node, runs_code, context);
}

static bool
is_not_builtin(Oid function, void *context)
{
	return function >= FirstGenbkiObjectId || func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static Expr *
text_const(const char *text)
{
	return (Expr *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, CStringGetTextDatum(text), false, false);
}

/* WHEN NOT condition THEN the reason, or an error.  trouble: why the condition cannot be told; NULL: it can. */
static CaseWhen *
verdict(const Expectation *it, Node *condition, bool holds, const char *trouble)
{
	CaseWhen   *result = makeNode(CaseWhen);
	char	   *reason = psprintf("expectation \"%s\" of %s: %s", it->name,
								  quote_qualified_identifier(get_namespace_name(get_rel_namespace(it->relation)), get_rel_name(it->relation)),
								  trouble ? psprintf("could not be checked: %s", trouble) : it->text);
	Oid			types[2] = {INT8OID, TEXTOID};

	result->expr = makeBoolExpr(NOT_EXPR, list_make1(condition), -1);
	result->result = text_const(reason);
	result->location = -1;
	if (holds)
		result->result = (Expr *) makeFuncExpr(LookupFuncName(list_make2(makeString("activate"), makeString("_hold_row")), 2, types, false),
											   TEXTOID, list_make2(makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(it->id), false,
																			 FLOAT8PASSBYVAL), result->result),
											   DEFAULT_COLLATION_OID, DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
	return result;
}

/* What is expected of the target, of the values that go there; NULL: it asks for others as well. */
static Node *
condition_on_values(const Sync *sync, Query *query, const Expectation *it)
{
	List	   *values = NIL;
	Bitmapset  *wanted = NULL;
	Node	   *condition = (Node *) copyObject(linitial_node(TargetEntry, it->tree->targetList)->expr);
	ListCell   *cell;

	foreach(cell, query->targetList)
	{
		const TargetEntry *entry = lfirst(cell);
		int			n;
		AttrNumber	column;

		if (entry->resname[0] != 'v' || (n = atoi(entry->resname + 1)) < 1 || n > sync->ncolumns)
			continue;
		column = get_attnum(it->relation, sync->columns[n - 1]);
		if (column > 0)
			values = lappend(values, makeTargetEntry(copyObject(entry->expr), column, NULL, false));
	}
	pull_varattnos(condition, 1, &wanted);
	for (int column = -1; (column = bms_next_member(wanted, column)) >= 0;)
	{
		bool		found = false;

		foreach(cell, values)
			found |= ((TargetEntry *) lfirst(cell))->resno == column + FirstLowInvalidHeapAttributeNumber;
		if (!found)
			return NULL;
	}
	query->hasSubLinks |= it->tree->hasSubLinks;
	return compat_replace_vars(condition, 1, 0, rt_fetch(1, it->tree->rtable), values, REPLACEVARS_REPORT_ERROR, 1,
							   &query->hasSubLinks);
}

Datum
activate_hold_row(PG_FUNCTION_ARGS)
{
	tripped = PG_GETARG_INT64(0);
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_HELD),
			 errmsg("a row fails %s", text_to_cstring(PG_GETARG_TEXT_PP(1))),
			 errhint("Nothing passes until no row fails it: mend the rows, or declare it with on_fail \"quarantine\" or \"warn\".")));
}

/* --- syncs as a whole --------------------------------------------------------- */

/* Is anything expected of anything?  All else is for who does. */
static bool
is_any(void)
{
	return own_int64("SELECT count(*) FROM (SELECT FROM activate._expectation LIMIT 1) e", 0, NULL, NULL) > 0;
}

List *
relations_read(Query *query)
{
	List	   *relations = NIL;

	(void) read_walker((Node *) query, &relations);
	return relations;
}

static bool
read_walker(Node *node, void *context)
{
	List	  **relations = context;
	ListCell   *cell;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, read_walker, context);
	foreach(cell, ((Query *) node)->rtable)
	{
		const RangeTblEntry *rte = lfirst(cell);
		Relation	rel;

		if (rte->rtekind != RTE_RELATION || list_member_oid(*relations, rte->relid))
			continue;
		rel = try_table_open(rte->relid, AccessShareLock);
		if (rel == NULL)
			continue;
		*relations = lappend_oid(*relations, rte->relid);
		if (rel->rd_rel->relkind == RELKIND_VIEW)
			(void) read_walker((Node *) get_view_query(rel), context);
		table_close(rel, NoLock);
	}
	return query_tree_walker((Query *) node, read_walker, context, 0);
}

static Datum
oid_array(const List *oids)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	ListCell   *cell;

	foreach(cell, oids)
		values[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(values, list_length(oids), OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

static List *
relations_of(const Sync *sync)
{
	Query	   *query = sync->query_tree ? sync_tree(sync) : NULL;

	return query ? relations_read(query) : NIL;
}

/* By what the last checks found.  True: it has been opened or closed. */
static bool
gate_decide(int64 sync, const List *relations)
{
	Oid			types[2] = {INT8OID, OIDARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync), oid_array(relations)};

	if (!DatumGetBool(own_value("SELECT activate._gate_set($1, $2, activate._gate_reason($1, $2))", 2, types, values, NULL, NULL)))
		return false;
	shared_announce_at_commit();
	return true;
}

bool
quality_applies(const Sync *sync)
{
	if (sync->implicit)
		return false;
	return quality_held(sync->id) != NULL || (is_any() && expectations_of(sync->id, relations_of(sync)) != NIL) ||
		quality_judges_result(sync);
}

bool
quality_judges_result(const Sync *sync)
{
	return sync->kind == SYNC_TO_LOCAL && is_any() && expectations_of(sync->id, list_make1_oid(sync->target_rel)) != NIL;
}

void
quality_result(const Sync *sync, int64 run)
{
	List	   *target = list_make1_oid(sync->target_rel);
	Oid			types[2] = {INT8OID, OIDARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync->id)};
	char	   *reason;

	if (!quality_judges_result(sync))
		return;
	if (expectations_check(expectations_of(sync->id, target), run))
		gates_follow(sync->target_rel);
	values[1] = oid_array(target);
	reason = own_text("SELECT activate._gate_reason($1, $2, true)", 2, types, values);
	if (reason == NULL)
		return;
	/* it is taken back: what is in the table is what was there before */
	tripped = 0;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_HELD),
			 errmsg("its rows are not let in by %s", reason)));
}

char *
quality_admit(const Sync *sync, int64 run)
{
	List	   *relations;
	List	   *expectations;
	List	   *changed = NIL;
	ListCell   *cell;

	if (!quality_applies(sync))
		return NULL;
	relations = relations_of(sync);
	expectations = expectations_of(sync->id, relations);
	foreach(cell, relations)
	{
		List	   *of_it = NIL;
		ListCell   *e;

		foreach(e, expectations)
			if (((Expectation *) lfirst(e))->relation == lfirst_oid(cell))
				of_it = lappend(of_it, lfirst(e));
		if (expectations_check(of_it, run))
			changed = lappend_oid(changed, lfirst_oid(cell));
	}
	(void) gate_decide(sync->id, relations);
	foreach(cell, changed)
		gates_follow(lfirst_oid(cell));
	return quality_held(sync->id);
}

char *
quality_held(int64 sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync);

	return own_text("SELECT g.reason FROM activate._gate g WHERE g.sync = $1", 1, &type, &id);
}

bool
quality_gated(int64 sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync);

	return DatumGetBool(own_value("SELECT EXISTS (SELECT FROM activate._gate g WHERE g.sync = $1)", 1, &type, &id, NULL, NULL));
}

/* They are few who read it, but who that is only their queries say. */
void
gates_follow(Oid relation)
{
	ListCell   *cell;

	foreach(cell, sync_load_found("SELECT id FROM activate.sync WHERE query_tree IS NOT NULL ORDER BY id"))
	{
		const Sync *sync = lfirst(cell);
		List	   *relations = relations_of(sync);

		if (list_member_oid(relations, relation))
			(void) gate_decide(sync->id, relations);
	}
}

void
quality_tripped(const Sync *sync, int64 run, const char *reason)
{
	Oid			types[3] = {INT8OID, INT8OID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(tripped), Int64GetDatum(run)};
	ListCell   *cell;

	/* what was not let into a table is not in it; and anybody may raise that error, of whatever expectation */
	foreach(cell, OidIsValid(sync->source_rel) ? expectations_of(sync->id, list_make1_oid(sync->source_rel)) : NIL)
	{
		const Expectation *it = lfirst(cell);
		char	   *error = it->id == tripped ? why_not_judged(it) : NULL;

		if (it->id != tripped)
			continue;
		values[2] = error ? CStringGetTextDatum(error) : (Datum) 0;
		(void) own_value(error ? "SELECT state FROM activate._check_record($1, nullif($2, 0), NULL, NULL, NULL, NULL, $3)" :
						 "SELECT state FROM activate._check_record($1, nullif($2, 0), NULL, 1, NULL, NULL, NULL)", error ? 3 : 2, types, values, NULL, NULL);
		gates_follow(it->relation);
	}
	tripped = 0;
}
