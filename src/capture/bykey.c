/*
 * bykey.c
 *	  Whether a change of a watched row changes the rows of its own keys only.
 *
 * It does where, at each place at which the sync's query reads the table, the
 * watched columns are equal to the key: because they are what the key is, are
 * joined to it by "=", are grouped by it, or are compared with it by a
 * correlated subquery.  A window over all rows, a LIMIT, a total of everything
 * are of all keys, and so whatever is not understood is taken to be: the whole
 * source is compared then, which is right, and slower.
 *
 * An equality of an outer join counts if it is about its nullable side: where
 * that is not NULL, it holds.  Functions are not looked into.
 */
#include "postgres.h"

#include "access/table.h"
#include "capture/bykey_equal.h"
#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "core/own.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* A set of columns of a table that hold the key. */
typedef struct Watched
{
	Oid			relation;
	char	  **names;
} Watched;

typedef struct Search
{
	int			nkeys;
	List	   *watched;		/* Watched */
	char	   *table;			/* where it failed */
} Search;

/* A query at its place: which of its columns are equal to the key, for each column of the key. */
typedef struct Level
{
	struct Level *upper;
	Query	   *query;
	List	  **known;			/* Var, resolved */
	EqualFacts *facts;
	Search	   *search;
} Level;

static void tell_triggers(const Sync *sync, bool by_key);
static List *read_watched(const Sync *sync);
static bool by_key(Query *query, List **outputs, Level *upper, Search *search);
static void know_given(Level *level);
static void know_outputs(Level *level, List **outputs);
static bool keeps_apart(const Query *query, const TargetEntry *output);
static bool is_grouped_by(const Query *query, const List *clauses, const TargetEntry *output);
static bool set_operation_by_key(Level *level, Node *operation, List **outputs);
static bool sources_by_key(Level *level, Node *node);
static bool source_by_key(Level *level, int rtindex);
static bool table_by_key(Level *level, int rtindex, Oid relation);
static bool view_by_key(Level *level, int rtindex, Oid view);
static bool cte_by_key(Level *level, int rtindex);
static bool sublink_fails(Node *node, Level *level);
static List **outputs_of(const Level *level, int rtindex);

bool
capture_by_key(const Sync *sync, char **table)
{
	Search		search = {.nkeys = sync->nkeys};
	List	  **outputs;
	Query	   *query;
	bool		result;

	if (!capture_watches(sync->options) || (query = sync_tree(sync)) == NULL)
		return true;
	search.watched = read_watched(sync);
	outputs = palloc(sizeof(List *) * sync->nkeys);
	for (int i = 0; i < sync->nkeys; i++)
		outputs[i] = list_make1_int(i + 1);
	result = by_key(query, outputs, NULL, &search);
	if (table)
		*table = search.table;
	tell_triggers(sync, result);
	return result;
}

/* A view may mean something else than when it was declared. */
static void
tell_triggers(const Sync *sync, bool by_key)
{
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2] = {Int64GetDatum(sync->id), BoolGetDatum(by_key)};

	if (own_int64("SELECT activate._watch_by_key($1, $2)", 2, types, values) > 0)
		CacheInvalidateRelcacheByRelid(get_relname_relid("sync", get_namespace_oid("activate", false)));
}

/* Under the names that the columns have today; one that is gone has paused the sync. */
static List *
read_watched(const Sync *sync)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	List	   *result = NIL;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT w.relation::oid, n.names FROM activate._watch w, activate._watched(w.sync, ARRAY[w.relation::oid]) n WHERE w.sync = $1",
						  1, &type, &id, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(context);
		Watched    *watched = palloc0(sizeof(Watched));
		Datum	   *names;
		bool	   *nulls;
		bool		isnull;
		int			n;

		watched->relation = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull)),
						  TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
		watched->names = palloc0(sizeof(char *) * sync->nkeys);
		for (int k = 0; k < n && k < sync->nkeys; k++)
			watched->names[k] = nulls[k] ? NULL : TextDatumGetCString(names[k]);
		result = lappend(result, watched);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return result;
}

/* outputs: per column of the key the numbers of the columns that are equal to it; NULL: nothing is known of them. */
static bool
by_key(Query *query, List **outputs, Level *upper, Search *search)
{
	Level		level = {.upper = upper, .query = query, .search = search};

	check_stack_depth();
	/* each reference to a CTE is looked at for itself */
	CHECK_FOR_INTERRUPTS();
	level.known = palloc0(sizeof(List *) * search->nkeys);
	level.facts = equal_facts(query);
	if (query->setOperations)
		return set_operation_by_key(&level, query->setOperations, query->limitCount || query->limitOffset || query->hasRecursive ? NULL : outputs) &&
			!sublink_fails(query->limitCount, &level) && !sublink_fails(query->limitOffset, &level);
	know_given(&level);
	if (outputs)
		know_outputs(&level, outputs);
	for (int k = 0; k < search->nkeys; k++)
		level.known[k] = equal_closure(level.facts, level.known[k]);
	return sources_by_key(&level, (Node *) query->jointree) &&
		!query_tree_walker(query, sublink_fails, &level, QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES | QTW_IGNORE_JOINALIASES);
}

/* Columns compared with a column of an enclosing query that is equal to the key: whatever is made of them is of that key. */
static void
know_given(Level *level)
{
	ListCell   *cell;

	foreach(cell, level->facts->outer)
	{
		EqualPair  *pair = lfirst(cell);
		Level	   *upper = level;
		Var		   *var;

		for (Index up = pair->right->varlevelsup; up > 0 && upper; up--)
			upper = upper->upper;
		if (upper == NULL)
			continue;
		var = copyObject(pair->right);
		var->varlevelsup = 0;
		var = equal_resolve(upper->query, (Node *) var);
		for (int k = 0; var && k < level->search->nkeys; k++)
			if (equal_has(upper->known[k], var->varno, var->varattno))
				level->known[k] = lappend(level->known[k], pair->left);
	}
}

static void
know_outputs(Level *level, List **outputs)
{
	ListCell   *cell;

	for (int k = 0; k < level->search->nkeys; k++)
		foreach(cell, outputs[k])
		{
			TargetEntry *entry = get_tle_by_resno(level->query->targetList, lfirst_int(cell));
			Var		   *var = entry && keeps_apart(level->query, entry) ? equal_resolve(level->query, (Node *) entry->expr) : NULL;

			if (var)
				level->known[k] = lappend(level->known[k], var);
		}
}

/*
 * Is each row of the result made only of rows in which that column is what it is
 * there?  Another column that is equal to the key, too, is that only after rows
 * have been taken together.
 */
static bool
keeps_apart(const Query *query, const TargetEntry *output)
{
	ListCell   *cell;

	if (query->limitCount || query->limitOffset || query->groupingSets)
		return false;
	if ((query->groupClause || query->hasAggs || query->havingQual) && !is_grouped_by(query, query->groupClause, output))
		return false;
	if (query->hasDistinctOn && !is_grouped_by(query, query->distinctClause, output))
		return false;
	foreach(cell, query->windowClause)
		if (!is_grouped_by(query, lfirst_node(WindowClause, cell)->partitionClause, output))
			return false;
	return true;
}

static bool
is_grouped_by(const Query *query, const List *clauses, const TargetEntry *output)
{
	ListCell   *cell;

	foreach(cell, clauses)
		if (equal(output->expr, get_sortgroupclause_tle(lfirst_node(SortGroupClause, cell), query->targetList)->expr))
			return true;
	return false;
}

/* Each arm for itself: rows that are equal have equal keys. */
static bool
set_operation_by_key(Level *level, Node *operation, List **outputs)
{
	if (IsA(operation, SetOperationStmt))
		return set_operation_by_key(level, ((SetOperationStmt *) operation)->larg, outputs) &&
			set_operation_by_key(level, ((SetOperationStmt *) operation)->rarg, outputs);
	return by_key(rt_fetch(castNode(RangeTblRef, operation)->rtindex, level->query->rtable)->subquery, outputs, level, level->search);
}

static bool
sources_by_key(Level *level, Node *node)
{
	ListCell   *cell;

	if (IsA(node, RangeTblRef))
		return source_by_key(level, ((RangeTblRef *) node)->rtindex);
	if (IsA(node, JoinExpr))
		return sources_by_key(level, ((JoinExpr *) node)->larg) && sources_by_key(level, ((JoinExpr *) node)->rarg);
	foreach(cell, castNode(FromExpr, node)->fromlist)
		if (!sources_by_key(level, lfirst(cell)))
			return false;
	return true;
}

static bool
source_by_key(Level *level, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, level->query->rtable);

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return rte->relkind == RELKIND_VIEW ? view_by_key(level, rtindex, rte->relid) : table_by_key(level, rtindex, rte->relid);
		case RTE_SUBQUERY:
			return by_key(rte->subquery, outputs_of(level, rtindex), level, level->search);
		case RTE_CTE:
			return cte_by_key(level, rtindex);
		default:
			return true;
	}
}

/* Is the table, or a part of it, or what it is a part of, watched? */
static bool
is_watched(const Watched *watched, Oid relation)
{
	if (watched->relation == relation)
		return true;
	if (get_rel_relispartition(relation) && list_member_oid(get_partition_ancestors(relation), watched->relation))
		return true;
	return has_subclass(relation) && list_member_oid(find_all_inheritors(relation, NoLock, NULL), watched->relation);
}

static bool
table_by_key(Level *level, int rtindex, Oid relation)
{
	bool		found = false;
	bool		proved = false;
	ListCell   *cell;

	foreach(cell, level->search->watched)
	{
		Watched    *watched = lfirst(cell);
		bool		all = true;

		if (!is_watched(watched, relation))
			continue;
		found = true;
		for (int k = 0; k < level->search->nkeys; k++)
			all = all && watched->names[k] && equal_has(level->known[k], rtindex, get_attnum(relation, watched->names[k]));
		proved = proved || all;
	}
	if (found && !proved)
		level->search->table = get_rel_name(relation);
	return !found || proved;
}

static bool
view_by_key(Level *level, int rtindex, Oid view)
{
	Relation	relation = table_open(view, AccessShareLock);
	Query	   *query = copyObject(get_view_query(relation));

	table_close(relation, NoLock);
	return by_key(query, outputs_of(level, rtindex), NULL, level->search);
}

static bool
cte_by_key(Level *level, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, level->query->rtable);
	List	  **outputs = outputs_of(level, rtindex);
	Level	   *owner = level;
	ListCell   *cell;

	/* what it reads is read by the CTE's other part */
	if (rte->self_reference)
		return true;
	for (Index up = rte->ctelevelsup; up > 0 && owner; up--)
		owner = owner->upper;
	if (owner)
		foreach(cell, owner->query->cteList)
		{
			CommonTableExpr *cte = lfirst_node(CommonTableExpr, cell);

			if (strcmp(cte->ctename, rte->ctename) == 0)
				return by_key(castNode(Query, cte->ctequery), cte->cterecursive ? NULL : outputs, owner, level->search);
		}
	return false;
}

/* Subqueries in expressions.  True stops the walk: it was not understood. */
static bool
sublink_fails(Node *node, Level *level)
{
	SubLink    *link;
	List	  **outputs = NULL;

	if (node == NULL || IsA(node, Query))
		return false;
	if (!IsA(node, SubLink))
		return expression_tree_walker(node, sublink_fails, level);
	link = (SubLink *) node;
	/* key IN (SELECT ...): where it must be true */
	if (list_member_ptr(level->facts->any, link))
	{
		outputs = palloc0(sizeof(List *) * level->search->nkeys);
		for (int k = 0; k < level->search->nkeys; k++)
			outputs[k] = equal_sublink_columns(level->query, link, level->known[k]);
	}
	return !by_key(castNode(Query, link->subselect), outputs, level, level->search) ||
		sublink_fails(link->testexpr, level);
}

/* Columns of a relation that are equal to the key; NULL: not to all of the key. */
static List **
outputs_of(const Level *level, int rtindex)
{
	List	  **outputs = palloc0(sizeof(List *) * level->search->nkeys);
	ListCell   *cell;

	for (int k = 0; k < level->search->nkeys; k++)
	{
		foreach(cell, level->known[k])
		{
			Var		   *var = lfirst_node(Var, cell);

			if (var->varno == rtindex)
				outputs[k] = lappend_int(outputs[k], var->varattno);
		}
		if (outputs[k] == NIL)
			return NULL;
	}
	return outputs;
}
