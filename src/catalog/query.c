/*
 * query.c
 *	  From the kept node tree of a sync's query back to its text.
 *
 * The tree has no entries in pg_depend, so that a source can be dropped or
 * altered at any time.  Before it is deparsed everything it refers to is
 * looked for, because the deparser, made for views, takes that for granted.
 * Relations are locked first: what was found then stays until the end of the
 * transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "catalog/sync.h"
#include "core/identity.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

typedef struct Search
{
	List	   *queries;		/* enclosing queries, innermost first */
	char	   *missing;		/* what is gone, for people; NULL: nothing so far */
} Search;

static bool find_missing(Node *node, Search *search);
static bool find_missing_relation(Query *query, Search *search);
static bool find_missing_column(Var *var, Search *search);
static bool find_missing_in_expression(Node *node, Search *search);
static bool function_is_missing(Oid function, void *context);

Query *
sync_tree(const Sync *sync)
{
	if (sync->tree_major != SYNC_TREE_MAJOR)
		return NULL;
	return castNode(Query, stringToNode(sync->query_tree));
}

char *
sync_query(const Sync *sync, char **reason)
{
	Query	   *query;

	*reason = NULL;
	if (sync->query_tree == NULL)
	{
		*reason = pstrdup("it has no source");
		return NULL;
	}
	query = sync_tree(sync);
	if (query == NULL)
	{
		*reason = psprintf("it was declared under PostgreSQL %d and waits for activate_adopt()", sync->tree_major);
		return NULL;
	}
	return sync_tree_text(query, reason);
}

char *
sync_tree_text(Query *query, char **reason)
{
	IdentityScope scope;
	Search		search = {NIL, NULL};
	char	   *text;

	*reason = NULL;
	if (find_missing((Node *) query, &search))
	{
		*reason = search.missing;
		return NULL;
	}

	/* nothing but pg_catalog is visible: every other name comes out qualified */
	identity_enter_extension(&scope);
	identity_set_local("search_path", "pg_catalog, pg_temp");
	text = pg_get_querydef(query, false);
	identity_leave(&scope);
	return text;
}

char *
sync_query_needed(const Sync *sync)
{
	char	   *reason;
	char	   *query = sync_query(sync, &reason);

	if (query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sync \"%s\" cannot run: %s", sync->name, reason),
				 errhint("Declare it again with activate_sync() once its source is there.")));
	return query;
}

char *
sync_gone_reason(const Sync *sync)
{
	char	   *reason;

	if (!OidIsValid(sync->owner))
		return psprintf("its owner, role \"%s\", was dropped", sync->owner_name);
	if (!OidIsValid(sync->target_rel))
		return psprintf("its target \"%s\" was dropped", sync->target);
	if (sync->implicit)
		return NULL;
	/* after pg_upgrade that cannot be known yet */
	if (sync->query_tree != NULL && sync_tree(sync) == NULL)
		return NULL;
	(void) sync_query(sync, &reason);
	return reason;
}

/* Stops, and returns true, at the first thing that is gone. */
static bool
find_missing(Node *node, Search *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		bool		missing;

		if (find_missing_relation(query, search))
			return true;
		search->queries = lcons(query, search->queries);
		/* alias lists of joins name every column, used or not */
		missing = query_tree_walker(query, find_missing, search, QTW_IGNORE_JOINALIASES);
		search->queries = list_delete_first(search->queries);
		return missing;
	}
	/* arguments first: asking for the functions of a lost type would fail */
	return expression_tree_walker(node, find_missing, search) ||
		find_missing_in_expression(node, search);
}

static bool
find_missing_relation(Query *query, Search *search)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		if (rte->rtekind != RTE_RELATION)
			continue;
		LockRelationOid(rte->relid, AccessShareLock);
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rte->relid)))
		{
			search->missing = psprintf("relation \"%s\" was dropped", rte->eref->aliasname);
			return true;
		}
	}
	return false;
}

static bool
find_missing_column(Var *var, Search *search)
{
	Query	   *query = list_nth_node(Query, search->queries, var->varlevelsup);
	RangeTblEntry *rte = rt_fetch(var->varno, query->rtable);
	HeapTuple	tuple;
	bool		missing;

	if (rte->rtekind == RTE_JOIN && var->varattno > 0)
	{
		List	   *saved = search->queries;

		/* the alias is an expression at the level of the join */
		search->queries = list_copy_tail(saved, var->varlevelsup);
		missing = find_missing(list_nth(rte->joinaliasvars, var->varattno - 1), search);
		search->queries = saved;
		return missing;
	}
	if (rte->rtekind != RTE_RELATION || var->varattno <= 0)
		return false;

	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(rte->relid), Int16GetDatum(var->varattno));
	missing = !HeapTupleIsValid(tuple) || ((Form_pg_attribute) GETSTRUCT(tuple))->attisdropped;
	if (missing)
		search->missing = psprintf("column \"%s\" of relation \"%s\" was dropped",
								   strVal(list_nth(rte->eref->colnames, var->varattno - 1)),
								   get_rel_name(rte->relid));
	else if (((Form_pg_attribute) GETSTRUCT(tuple))->atttypid != var->vartype)
	{
		missing = true;
		search->missing = psprintf("column \"%s\" of relation \"%s\" has changed its type; declare the sync again",
								   NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname),
								   get_rel_name(rte->relid));
	}
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return missing;
}

static bool
find_missing_in_expression(Node *node, Search *search)
{
	Oid			type = InvalidOid;

	if (IsA(node, Var))
	{
		if (find_missing_column((Var *) node, search))
			return true;
		type = ((Var *) node)->vartype;
	}
	else if (IsA(node, Const))
		type = ((Const *) node)->consttype;
	else if (IsA(node, CoerceViaIO))
		type = ((CoerceViaIO *) node)->resulttype;
	else if (IsA(node, RelabelType))
		type = ((RelabelType *) node)->resulttype;

	if (OidIsValid(type) && !SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
	{
		search->missing = pstrdup("a type that it uses was dropped");
		return true;
	}
	if (check_functions_in_node(node, function_is_missing, NULL))
	{
		search->missing = pstrdup("a function or operator that it uses was dropped");
		return true;
	}
	return false;
}

static bool
function_is_missing(Oid function, void *context)
{
	return !SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function));
}
