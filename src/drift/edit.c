/*
 * edit.c
 *	  The kept query with a column left out, taken in, or of another type.
 *
 * Done to the tree, so no text of the declaration is parsed and nothing of the
 * owner is executed: it may be done in anybody's ALTER TABLE.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "connector/connector.h"
#include "core/compat.h"
#include "drift/change.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "parser/parsetree.h"
#include "quality/former.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* A column of a relation, looked for or changed. */
typedef struct Search
{
	List	   *queries;
	const Drift *drift;
	Query	   *query;			/* columns of the source query that are to go, by number */
	Bitmapset  *gone;
	Oid			was;			/* type and typmod of casts that are to go */
	int32		was_typmod;
} Search;

static bool mentions(Node *node, Search *search);
static Bitmapset *leave_out_of_source(DriftEdit *edit, Search *search);
static char *needed_by_target(const DriftEdit *edit, const char *column);
static Node *retype_node(Node *node, Search *search);
static Node *uncast_node(Node *node, Search *search);
static bool is_same_in_json(Oid a, Oid b);
static bool target_column(DriftEdit *edit, const char *name, Oid *type, int32 *typmod);
static Var *new_var(DriftEdit *edit, const Drift *drift);

DriftEdit *
drift_edit(const Sync *sync)
{
	DriftEdit  *edit = palloc0(sizeof(DriftEdit));

	edit->sync = sync;
	edit->query = sync->query_tree ? sync_tree(sync) : NULL;
	if (edit->query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the declaration of sync \"%s\" cannot be changed: it was declared under PostgreSQL %d", sync->name, sync->tree_major),
				 errhint("Declare it again by activate_sync().")));
	for (int i = 0; i < sync->ncolumns; i++)
	{
		edit->columns = lappend(edit->columns, sync->columns[i]);
		edit->column_types = lappend(edit->column_types, sync->column_types[i]);
	}
	for (int i = 0; i < sync->nkeys; i++)
		edit->key_types = lappend(edit->key_types, sync->key_types[i]);
	return edit;
}

/* What is gone cannot be read: values that need it are sent no more; what else needs it refuses. */
void
drift_leave_out(DriftEdit *edit, const Drift *drift)
{
	Search		search = {.drift = drift, .query = edit->query};
	List	   *targets = NIL;
	List	   *columns = NIL;
	List	   *types = NIL;
	int			value = 0;
	ListCell   *cell;

	search.queries = list_make1(edit->query);
	search.gone = leave_out_of_source(edit, &search);
	if (edit->refusal)
		return;
	if (mentions(edit->query->jointree->quals, &search))
		edit->refusal = psprintf("the condition of the sync needs column \"%s\"", drift->name);
	foreach(cell, edit->query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		bool		is_value = entry->resname[0] == 'v';
		char	   *name = is_value ? list_nth(edit->columns, value) : NULL;

		if (!mentions((Node *) entry->expr, &search))
		{
			entry->resno = list_length(targets) + 1;
			if (is_value)
			{
				columns = lappend(columns, name);
				types = lappend(types, list_nth(edit->column_types, value));
				entry->resname = psprintf("v%d", list_length(columns));
			}
			targets = lappend(targets, entry);
		}
		else if (!is_value)
			edit->refusal = psprintf("the %s of the sync needs column \"%s\"", entry->resname[0] == 'k' ? "key" :
									 entry->resname[0] == 'c' ? (edit->sync->capture == CAPTURE_CURSOR ? "cursor" : "option \"newest\"") : "option \"deleted\"", drift->name);
		else if (edit->refusal == NULL)
			edit->refusal = needed_by_target(edit, name);
		value += is_value;
	}
	if (edit->refusal == NULL && columns == NIL)
		edit->refusal = pstrdup("nothing would be left to be sent");
	edit->query->targetList = targets;
	edit->columns = columns;
	edit->column_types = types;
}

/*
 * A source that is a query: its column that is no more than the one that is gone
 * becomes a NULL that nobody reads.  The columns of the query that are to go.
 */
static Bitmapset *
leave_out_of_source(DriftEdit *edit, Search *search)
{
	RangeTblEntry *source = drift_source(edit->query);
	Query	   *query;
	Bitmapset  *gone = NULL;
	Search		whole = *search;
	ListCell   *cell;

	if (source == NULL || source->rtekind != RTE_SUBQUERY)
		return NULL;
	query = source->subquery;
	search->queries = lcons(query, search->queries);
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->ressortgroupref != 0 || !mentions((Node *) entry->expr, search))
			continue;
		gone = bms_add_member(gone, entry->resno);
		entry->expr = (Expr *) makeNullConst(exprType((Node *) entry->expr), -1, exprCollation((Node *) entry->expr));
	}
	search->queries = list_delete_first(search->queries);
	if (mentions((Node *) query, &whole))
		edit->refusal = psprintf("the source of the sync needs column \"%s\"", search->drift->name);
	return gone;
}

static bool
mentions(Node *node, Search *search)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		bool		found;

		search->queries = lcons(node, search->queries);
		found = query_tree_walker((Query *) node, mentions, search, QTW_IGNORE_JOINALIASES);
		search->queries = list_delete_first(search->queries);
		return found;
	}
	if (IsA(node, Var))
	{
		const Var  *var = (Var *) node;
		RangeTblEntry *rte = drift_relation_of(var, search->queries);

		if (rte && rte->relid == search->drift->relation && var->varattno == search->drift->attnum)
			return true;
		if (rte == NULL && search->gone && var->varlevelsup < list_length(search->queries) &&
			list_nth(search->queries, var->varlevelsup) == search->query && bms_is_member(var->varattno, search->gone))
			return true;
	}
	return expression_tree_walker(node, mentions, search);
}

/* Why that column of the target must have a value; NULL: it need not. */
static char *
needed_by_target(const DriftEdit *edit, const char *column)
{
	const Sync *sync = edit->sync;
	HeapTuple	tuple;
	bool		needed = false;

	for (int i = 0; i < sync->nkeys; i++)
		if (sync->target_key[i] && strcmp(sync->target_key[i], column) == 0)
			needed = true;
	if (sync->kind == SYNC_TO_API)
	{
		Connector  *connector = connector_load(sync->target_rel, CurrentMemoryContext);

		for (int i = 0; i < connector->nkeys; i++)
			needed = needed || strcmp(connector->key[i], column) == 0;
	}
	tuple = SearchSysCacheAttName(sync->target_rel, column);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attribute attribute = (Form_pg_attribute) GETSTRUCT(tuple);

		needed = needed || (attribute->attnotnull && !attribute->atthasdef && attribute->attidentity == '\0');
		ReleaseSysCache(tuple);
	}
	return needed ? psprintf("the target needs a value for its column \"%s\"", column) : NULL;
}

/*
 * The query goes on with values of the old type, so everything around them
 * means what it meant.  A key is the same in every message if it reads the same
 * as JSON; then it is left to an index to find it.
 */
void
drift_retype(DriftEdit *edit, const Drift *drift)
{
	Search		search = {.drift = drift, .queries = list_make1(edit->query)};
	int			key = 0;
	ListCell   *cell;

	foreach(cell, edit->query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Oid			type;
		int32		typmod;

		if (entry->resname[0] != 'k')
			continue;
		if (IsA(entry->expr, Var) && mentions((Node *) entry->expr, &search))
		{
			Var		   *var = (Var *) entry->expr;

			get_atttypetypmodcoll(drift->relation, drift->attnum, &type, &typmod, &(Oid){0});
			if (!is_same_in_json(type, var->vartype))
			{
				edit->refusal = psprintf("column \"%s\" is in the key, and its values read otherwise now", drift->name);
				return;
			}
			var->vartype = type;
			var->vartypmod = typmod;
			lfirst(list_nth_cell(edit->key_types, key)) = format_type_with_typemod(type, typmod);
		}
		key++;
	}
	search.queries = NIL;
	edit->query = (Query *) retype_node((Node *) edit->query, &search);
}

static Node *
retype_node(Node *node, Search *search)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query	   *result;

		search->queries = lcons(node, search->queries);
		result = query_tree_mutator((Query *) node, retype_node, search, QTW_IGNORE_JOINALIASES);
		search->queries = list_delete_first(search->queries);
		return (Node *) result;
	}
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte = drift_relation_of(var, search->queries);
		Var		   *now;

		if (rte == NULL || rte->relid != search->drift->relation || var->varattno != search->drift->attnum)
			return (Node *) copyObject(var);
		now = copyObject(var);
		get_atttypetypmodcoll(rte->relid, var->varattno, &now->vartype, &now->vartypmod, &now->varcollid);
		if (now->vartype == var->vartype && (now->vartypmod == var->vartypmod || var->vartypmod < 0))
			return (Node *) now;
		return former_value((Node *) now, var->vartype, var->vartypmod);
	}
	return former_again(expression_tree_mutator(node, retype_node, search));
}

/*
 * A source query that was written again while its values were cast has the casts in
 * its text.  Who wrote it cannot have cast a column to the type that it had: that is no cast.
 */
void
drift_uncast(DriftEdit *edit, Oid relation, const char *column, const char *was)
{
	Drift		drift = {.relation = relation, .attnum = get_attnum(relation, column)};
	Search		search = {.drift = &drift};
	RangeTblEntry *source = drift_source(edit->query);

	if (drift.attnum <= 0 || source == NULL || source->rtekind != RTE_SUBQUERY || strcmp(was, DRIFT_TYPE_GONE) == 0)
		return;
	compat_parse_type(was, &search.was, &search.was_typmod);
	if (!OidIsValid(search.was) || search.was == get_atttype(relation, drift.attnum))
		return;
	edit->query = (Query *) uncast_node(former_plain((Node *) edit->query), &search);
	edit->uncast = true;
}

/* What a cast is made of; the node itself, if it is none. */
static Node *
without_casts(Node *node)
{
	for (;;)
	{
		if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CAST && ((FuncExpr *) node)->args != NIL)
			node = linitial(((FuncExpr *) node)->args);
		else if (IsA(node, RelabelType))
			node = (Node *) ((RelabelType *) node)->arg;
		else if (IsA(node, CoerceViaIO))
			node = (Node *) ((CoerceViaIO *) node)->arg;
		else
			return node;
	}
}

static Node *
uncast_node(Node *node, Search *search)
{
	Node	   *base;
	RangeTblEntry *rte;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		Query	   *result;

		search->queries = lcons(node, search->queries);
		result = query_tree_mutator((Query *) node, uncast_node, search, QTW_IGNORE_JOINALIASES);
		search->queries = list_delete_first(search->queries);
		return (Node *) result;
	}
	base = without_casts(node);
	if (base != node && IsA(base, Var) && exprType(node) == search->was && exprTypmod(node) == search->was_typmod &&
		(rte = drift_relation_of((Var *) base, search->queries)) != NULL &&
		rte->relid == search->drift->relation && ((Var *) base)->varattno == search->drift->attnum)
		return copyObject(base);
	return expression_tree_mutator(node, uncast_node, search);
}

static bool
is_same_in_json(Oid a, Oid b)
{
#define IS_INTEGER(t) ((t) == INT2OID || (t) == INT4OID || (t) == INT8OID)
#define IS_TEXT(t) ((t) == TEXTOID || (t) == VARCHAROID)
	return a == b || (IS_INTEGER(a) && IS_INTEGER(b)) || (IS_TEXT(a) && IS_TEXT(b));
}

/* Sent under its own name, if the target has a column of that name, takes any, or can get one. */
void
drift_take_in(DriftEdit *edit, const Drift *drift)
{
	Var		   *var;
	Node	   *value;
	Oid			type = InvalidOid;
	int32		typmod = -1;

	if (pg_attribute_aclcheck(drift->relation, drift->attnum, edit->sync->owner, ACL_SELECT) != ACLCHECK_OK &&
		pg_class_aclcheck(drift->relation, edit->sync->owner, ACL_SELECT) != ACLCHECK_OK)
		edit->refusal = psprintf("role \"%s\" may not read it", edit->sync->owner_name);
	else if (!target_column(edit, drift->name, &type, &typmod))
		edit->refusal = psprintf("target \"%s\" has no such column", edit->sync->target);
	else if ((var = new_var(edit, drift)) == NULL)
		edit->refusal = pstrdup("the source query does not take all columns of that relation");
	else
	{
		value = OidIsValid(type) ? coerce_to_target_type(NULL, (Node *) var, var->vartype, type,
														 type == VARCHAROID || type == BPCHAROID ? -1 : typmod,
														 COERCION_ASSIGNMENT, COERCE_EXPLICIT_CAST, -1) : (Node *) var;
		if (value == NULL)
		{
			edit->refusal = psprintf("column \"%s\" of target \"%s\" is of type %s", drift->name, edit->sync->target,
									 format_type_with_typemod(type, typmod));
			return;
		}
		edit->columns = lappend(edit->columns, drift->name);
		edit->column_types = lappend(edit->column_types, OidIsValid(type) ? format_type_with_typemod(type, typmod) :
									 format_type_with_typemod(var->vartype, var->vartypmod));
		edit->query->targetList = lappend(edit->query->targetList,
										  makeTargetEntry((Expr *) value, list_length(edit->query->targetList) + 1,
														  psprintf("v%d", list_length(edit->columns)), false));
	}
}

/* False: it cannot have that column, or fills it already. */
static bool
target_column(DriftEdit *edit, const char *name, Oid *type, int32 *typmod)
{
	const Sync *sync = edit->sync;
	ListCell   *cell;
	AttrNumber	attnum = get_attnum(sync->target_rel, name);

	foreach(cell, edit->columns)
		if (strcmp(lfirst(cell), name) == 0)
			return false;
	if (sync->kind == SYNC_TO_API)
	{
		Connector  *connector = connector_load(sync->target_rel, CurrentMemoryContext);

		if (connector->free_columns)
			return true;
		for (int i = 0; i < connector->ncolumns; i++)
			if (strcmp(connector->columns[i].name, name) == 0 && connector->columns[i].skip)
				return false;
	}
	if (attnum > 0)
	{
		get_atttypetypmodcoll(sync->target_rel, attnum, type, typmod, &(Oid){0});
		return true;
	}
	if (sync->kind == SYNC_TO_LOCAL)
		edit->add_column = pstrdup(name);
	return sync->kind == SYNC_TO_LOCAL;
}

/* Does that query take all columns of that entry of its FROM: SELECT *? */
static bool
takes_all(const Query *query, int rtindex)
{
	const RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	int			taken = 0;
	int			there = 0;
	ListCell   *cell;

	if (query->setOperations || query->groupClause || query->distinctClause || query->hasAggs)
		return false;
	foreach(cell, query->targetList)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (IsA(entry->expr, Var) && ((Var *) entry->expr)->varno == rtindex && ((Var *) entry->expr)->varlevelsup == 0)
			taken++;
	}
	foreach(cell, rte->eref->colnames)
		there += strVal(lfirst(cell))[0] != '\0' && drift_column_name(rte->relid, foreach_current_index(cell) + 1) != NULL;
	return taken >= there;
}

bool
drift_might_take(const Sync *sync, const Drift *drift)
{
	DriftEdit  *edit = drift_edit(sync);
	RangeTblEntry *source = drift_source(edit->query);
	Oid			type;
	int32		typmod;

	if (source == NULL || !target_column(edit, drift->name, &type, &typmod))
		return false;
	if (source->rtekind == RTE_RELATION)
		return source->relid == drift->relation;
	for (int rtindex = 1; rtindex <= list_length(source->subquery->rtable); rtindex++)
		if (rt_fetch(rtindex, source->subquery->rtable)->rtekind == RTE_RELATION &&
			rt_fetch(rtindex, source->subquery->rtable)->relid == drift->relation)
			return takes_all(source->subquery, rtindex);
	return false;
}

/* The column in the source; NULL: the source does not have it. */
static Var *
new_var(DriftEdit *edit, const Drift *drift)
{
	RangeTblEntry *source = drift_source(edit->query);
	RangeTblEntry *rte = NULL;
	Query	   *query = edit->query;
	int			rtindex;
	Var		   *var;

	if (source == NULL)
		return NULL;
	if (source->rtekind == RTE_SUBQUERY)
		query = source->subquery;
	for (rtindex = 1; rtindex <= list_length(query->rtable); rtindex++)
	{
		rte = rt_fetch(rtindex, query->rtable);
		if (rte->rtekind == RTE_RELATION && rte->relid == drift->relation)
			break;
	}
	if (rtindex > list_length(query->rtable) || (source->rtekind == RTE_SUBQUERY && !takes_all(query, rtindex)))
		return NULL;
	while (list_length(rte->eref->colnames) < drift->attnum)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup("")));
	lfirst(list_nth_cell(rte->eref->colnames, drift->attnum - 1)) = makeString(pstrdup(drift->name));
	var = makeVar(rtindex, drift->attnum, InvalidOid, -1, InvalidOid, 0);
	get_atttypetypmodcoll(drift->relation, drift->attnum, &var->vartype, &var->vartypmod, &var->varcollid);
	if (source->rtekind == RTE_RELATION)
		return var;
	query->targetList = lappend(query->targetList, makeTargetEntry((Expr *) var, list_length(query->targetList) + 1,
																   pstrdup(drift->name), false));
	source->eref->colnames = lappend(source->eref->colnames, makeString(pstrdup(drift->name)));
	return makeVar(list_length(edit->query->rtable) == 1 ? 1 : linitial_node(RangeTblRef, edit->query->jointree->fromlist)->rtindex,
				   list_length(query->targetList), var->vartype, var->vartypmod, var->varcollid, 0);
}
