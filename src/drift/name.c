/*
 * name.c
 *	  Names of relations in the text of a source query.
 *
 * The kept query has aliases where the text gives some, so whether the text
 * still means the same relations is seen in the text only.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "core/identity.h"
#include "drift/change.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "utils/builtins.h"

typedef struct Names
{
	List	   *queries;
	List	   *relations;		/* oids that the kept query reads */
	List	   *named;			/* RangeVar of the text */
} Names;

static bool
collect_relations(Node *node, Names *names)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		ListCell   *cell;

		foreach(cell, ((Query *) node)->rtable)
			if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_RELATION)
				names->relations = list_append_unique_oid(names->relations, lfirst_node(RangeTblEntry, cell)->relid);
		return query_tree_walker((Query *) node, collect_relations, names, 0);
	}
	return expression_tree_walker(node, collect_relations, names);
}

static bool
collect_names(Node *node, Names *names)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		names->named = lappend(names->named, node);
		return false;
	}
	return raw_expression_tree_walker(node, collect_names, names);
}

static bool
is_cast(Node *node, void *context)
{
	return node != NULL && (IsA(node, TypeCast) || raw_expression_tree_walker(node, is_cast, context));
}

/* Does the text of a source query cast anything? */
bool
drift_has_casts(const char *source)
{
	ListCell   *cell;

	foreach(cell, raw_parser(source, RAW_PARSE_DEFAULT))
		if (is_cast(lfirst_node(RawStmt, cell)->stmt, NULL))
			return true;
	return false;
}

char *
drift_lost_name(const Sync *sync, const RangeTblEntry *source, Oid *relation)
{
	Names		names = {NIL, NIL, NIL};
	IdentityScope scope;
	List	   *statements = raw_parser(sync->source, RAW_PARSE_DEFAULT);
	List	   *left;
	char	   *lost = NULL;
	ListCell   *cell;

	if (list_length(statements) != 1)
		return NULL;
	(void) collect_relations((Node *) source->subquery, &names);
	(void) collect_names(linitial_node(RawStmt, statements)->stmt, &names);
	left = list_copy(names.relations);

	identity_enter_extension(&scope);
	identity_set_local("search_path", sync->search_path);
	foreach(cell, names.named)
	{
		RangeVar   *name = lfirst_node(RangeVar, cell);
		Oid			found = RangeVarGetRelid(name, NoLock, true);

		if (OidIsValid(found) && list_member_oid(names.relations, found))
			left = list_delete_oid(left, found);
		/* a common table expression has such a name, too: then no relation is left over */
		else if (lost == NULL)
			lost = name->schemaname ? quote_qualified_identifier(name->schemaname, name->relname) : pstrdup(quote_identifier(name->relname));
	}
	identity_leave(&scope);
	if (lost == NULL || left == NIL)
		return NULL;
	*relation = linitial_oid(left);
	return lost;
}
