/*
 * text.c
 *	  The texts of a declaration, written again from its query where they name
 *	  what has another name today.
 *
 * Texts that are still right stay as they were written.  Where the source is a
 * query its columns keep their names, so all that changes is the query.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "core/compat.h"
#include "core/identity.h"
#include "drift/change.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "quality/former.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"

typedef struct Renames
{
	List	   *queries;
	bool		found;
	bool		forget;			/* not looked for: the names of today are written into the query */
} Renames;

static bool has_renames(Node *node, List *queries);
static bool find_renames(Node *node, Renames *renames);
static bool reads_the_same(const Query *a, const Query *b);
static char *source_text(const DriftEdit *edit, const RangeTblEntry *source, bool names);
static void rewrite_map(DriftEdit *edit, const RangeTblEntry *source, bool names);
static void rewrite_key(DriftEdit *edit, const RangeTblEntry *source);
static void rewrite_options(DriftEdit *edit, const RangeTblEntry *source);
static char *value_text(const DriftEdit *edit, const RangeTblEntry *source, Node *value, const char *name, bool names);
static char *map_text(const Sync *sync, const char *name);
static char *expression_text(const RangeTblEntry *source, Node *expression);
static char *column_name(const RangeTblEntry *source, Node *value);

void
drift_rewrite(DriftEdit *edit, bool names)
{
	Query	   *kept = edit->query;
	RangeTblEntry *source;
	IdentityScope scope;
	Renames		forget = {NIL, false, true};

	if (drift_source(kept) == NULL)
		return;
	edit->query = (Query *) former_plain((Node *) kept);
	source = drift_source(edit->query);
	identity_enter_extension(&scope);
	identity_set_local("search_path", "pg_catalog, pg_temp");
	/* literals of a condition mean the same in every session */
	identity_set_local("DateStyle", "ISO");
	identity_set_local("IntervalStyle", "postgres");
	identity_set_local("TimeZone", "UTC");
	edit->source = source_text(edit, source, names);
	if (source->rtekind == RTE_RELATION && names)
	{
		rewrite_key(edit, source);
		rewrite_options(edit, source);
	}
	rewrite_map(edit, source, names);
	identity_leave(&scope);
	edit->query = kept;
	if (names)
		(void) find_renames((Node *) edit->query, &forget);
}

static bool
has_renames(Node *node, List *queries)
{
	Renames		renames = {list_copy(queries), false, false};

	(void) find_renames(node, &renames);
	return renames.found;
}

static bool
find_renames(Node *node, Renames *renames)
{
	if (node == NULL || (renames->found && !renames->forget))
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *cell;

		foreach(cell, query->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);
			char	   *name = rte->rtekind == RTE_RELATION && rte->alias == NULL ? get_rel_name(rte->relid) : NULL;

			if (name == NULL || strcmp(rte->eref->aliasname, name) == 0)
				continue;
			renames->found = true;
			if (renames->forget)
				rte->eref->aliasname = name;
		}
		renames->queries = lcons(query, renames->queries);
		(void) query_tree_walker(query, find_renames, renames, QTW_IGNORE_JOINALIASES);
		renames->queries = list_delete_first(renames->queries);
		return false;
	}
	if (IsA(node, Var))
	{
		const Var  *var = (Var *) node;
		RangeTblEntry *rte = drift_relation_of(var, renames->queries);
		char	   *name;

		if (rte && var->varattno > 0 && var->varattno <= list_length(rte->eref->colnames) &&
			drift_is_named(rte, var->varattno) && (name = drift_column_name(rte->relid, var->varattno)) != NULL &&
			strcmp(strVal(list_nth(rte->eref->colnames, var->varattno - 1)), name) != 0)
		{
			renames->found = true;
			if (renames->forget)
				lfirst(list_nth_cell(rte->eref->colnames, var->varattno - 1)) = makeString(name);
		}
	}
	return expression_tree_walker(node, find_renames, renames);
}

/* But for names. */
static bool
reads_the_same(const Query *a, const Query *b)
{
	ListCell   *one;
	ListCell   *other;

	if (!equal(a->targetList, b->targetList) || !equal(a->jointree, b->jointree) || !equal(a->havingQual, b->havingQual) ||
		list_length(a->rtable) != list_length(b->rtable))
		return false;
	forboth(one, a->rtable, other, b->rtable)
	{
		const RangeTblEntry *its = lfirst(one);

		if (its->rtekind == RTE_SUBQUERY && !reads_the_same(its->subquery, lfirst_node(RangeTblEntry, other)->subquery))
			return false;
	}
	return true;
}

/* NULL: as it was written. */
static char *
source_text(const DriftEdit *edit, const RangeTblEntry *source, bool names)
{
	Oid			found;
	IdentityScope scope;

	if (source->rtekind == RTE_SUBQUERY)
	{
		Query	   *query = copyObject(source->subquery);

		if ((!names || (!has_renames((Node *) query, NIL) && drift_lost_name(edit->sync, source, &(Oid){0}) == NULL)) &&
			(reads_the_same(query, drift_source((Query *) former_plain((Node *) sync_tree(edit->sync)))->subquery) ||
			 (edit->uncast && !drift_has_casts(edit->sync->source))))
			return NULL;
		return pg_get_querydef(query, false);
	}
	if (!names)
		return NULL;
	identity_enter_extension(&scope);
	identity_set_local("search_path", edit->sync->search_path);
	found = RangeVarGetRelid(makeRangeVarFromNameList(compat_qualified_name(edit->sync->source)), NoLock, true);
	identity_leave(&scope);
	return found == source->relid ? NULL : drift_relation_name(source->relid);
}

static TargetEntry *
target_named(const DriftEdit *edit, const char *name)
{
	ListCell   *cell;

	foreach(cell, edit->query->targetList)
		if (strcmp(lfirst_node(TargetEntry, cell)->resname, name) == 0)
			return lfirst(cell);
	return NULL;
}

/* A map is needed once the names differ, or a query has a column that is not to be sent. */
static void
rewrite_map(DriftEdit *edit, const RangeTblEntry *source, bool names)
{
	bool		needed = edit->sync->map != NULL || edit->needs_map || edit->target_is || (source->rtekind == RTE_SUBQUERY && list_length(edit->columns) < edit->sync->ncolumns);
	ListCell   *cell;
	int			i = 1;

	foreach(cell, edit->columns)
	{
		char	   *name = lfirst(cell);
		Node	   *value = (Node *) target_named(edit, psprintf("v%d", i++))->expr;
		char	   *text = value_text(edit, source, value, name, names);

		edit->map_names = lappend(edit->map_names, name);
		edit->map_texts = lappend(edit->map_texts, text);
		needed = needed || (names && strcmp(text, quote_identifier(name)) != 0);
	}
	if (!needed)
		edit->map_names = edit->map_texts = NIL;
}

static char *
value_text(const DriftEdit *edit, const RangeTblEntry *source, Node *value, const char *name, bool names)
{
	bool		moved = edit->target_is && strcmp(edit->target_is, name) == 0;
	char	   *before = map_text(edit->sync, moved ? edit->target_was : name);
	char	   *column = column_name(source, value);
	bool		renamed = names && source->rtekind == RTE_RELATION && has_renames(value, list_make1(edit->query));

	if (before && !renamed)
		return before;
	/* no more than a column, then and now: without the cast of its assignment */
	if (column && (before == NULL || strpbrk(before, " (:+-*/|'") == NULL))
		return pstrdup(quote_identifier(column));
	return expression_text(source, value);
}

/* What the map says now; NULL: it does not. */
static char *
map_text(const Sync *sync, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = sync->map ? getKeyJsonValueFromContainer(&sync->map->root, name, strlen(name), &buffer) : NULL;

	return value && value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

static char *
expression_text(const RangeTblEntry *source, Node *expression)
{
	List	   *context = source->rtekind == RTE_RELATION ? deparse_context_for(source->eref->aliasname, source->relid) : NIL;
	char	   *column = column_name(source, expression);

	if (context == NIL)
		return pstrdup(column ? quote_identifier(column) : "NULL");
	return deparse_expression(expression, context, false, false);
}

/* The column of the source that a value is, but for casts; NULL: it is more. */
static char *
column_name(const RangeTblEntry *source, Node *value)
{
	for (;;)
	{
		if (IsA(value, FuncExpr) && ((FuncExpr *) value)->args != NIL &&
			(((FuncExpr *) value)->funcformat == COERCE_EXPLICIT_CAST || ((FuncExpr *) value)->funcformat == COERCE_IMPLICIT_CAST))
			value = linitial(((FuncExpr *) value)->args);
		else if (IsA(value, RelabelType))
			value = (Node *) ((RelabelType *) value)->arg;
		else if (IsA(value, CoerceViaIO))
			value = (Node *) ((CoerceViaIO *) value)->arg;
		else if (IsA(value, ArrayCoerceExpr))
			value = (Node *) ((ArrayCoerceExpr *) value)->arg;
		else if (IsA(value, CoerceToDomain))
			value = (Node *) ((CoerceToDomain *) value)->arg;
		else
			break;
	}
	if (!IsA(value, Var) || ((Var *) value)->varlevelsup != 0 || ((Var *) value)->varattno <= 0)
		return NULL;
	if (source->rtekind == RTE_RELATION)
		return drift_column_name(source->relid, ((Var *) value)->varattno);
	return strVal(list_nth(source->eref->colnames, ((Var *) value)->varattno - 1));
}

static void
rewrite_key(DriftEdit *edit, const RangeTblEntry *source)
{
	StringInfoData out;

	if (edit->sync->nkeys == 0)
		return;
	initStringInfo(&out);
	for (int i = 1; i <= edit->sync->nkeys; i++)
	{
		TargetEntry *entry = target_named(edit, psprintf("k%d", i));

		appendStringInfo(&out, "%s%s", i > 1 ? ", " : "", quote_identifier(column_name(source, (Node *) entry->expr)));
		/* a key that is found by default is found by it */
		if (has_renames((Node *) entry->expr, list_make1(edit->query)))
			edit->key = out.data;
	}
}

/* Where the condition is two, the second is that of option "deleted". */
static void
rewrite_options(DriftEdit *edit, const RangeTblEntry *source)
{
	Node	   *where = edit->query->jointree->quals;
	TargetEntry *cursor = target_named(edit, "c");
	TargetEntry *gone = target_named(edit, "d");
	Node	   *deleted = gone ? (Node *) gone->expr : NULL;
	struct
	{
		const char *name;
		Node	   *expression;
	}			options[3];

	if (sync_option_text(edit->sync, "deleted") && gone == NULL)
	{
		bool		both = sync_option_text(edit->sync, "where") != NULL;

		deleted = both ? lsecond(((BoolExpr *) where)->args) : where;
		where = both ? linitial(((BoolExpr *) where)->args) : NULL;
	}
	if (deleted && IsA(deleted, BooleanTest))
		deleted = (Node *) ((BooleanTest *) deleted)->arg;
	options[0].name = "where";
	options[0].expression = where;
	options[1].name = "deleted";
	options[1].expression = deleted;
	options[2].name = edit->sync->capture == CAPTURE_CURSOR ? "cursor" : "newest";
	options[2].expression = cursor ? (Node *) cursor->expr : NULL;
	for (int i = 0; i < lengthof(options); i++)
	{
		Node	   *expression = options[i].expression;

		if (expression == NULL || !has_renames(expression, list_make1(edit->query)))
			continue;
		edit->option_names = lappend(edit->option_names, pstrdup(options[i].name));
		edit->option_values = lappend(edit->option_values, i == 2 ? column_name(source, expression) : expression_text(source, expression));
	}
}
