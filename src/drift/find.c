/*
 * find.c
 *	  What is different in the catalog from what the kept query of a sync has.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "core/identity.h"
#include "drift/change.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

typedef struct Finding
{
	List	   *queries;
	List	   *found;
} Finding;

static bool find_in_node(Node *node, Finding *finding);
static void find_in_relation(const RangeTblEntry *rte, Finding *finding);
static void find_in_column(const RangeTblEntry *rte, Form_pg_attribute attribute, Finding *finding);
static void find_in_var(const Var *var, Finding *finding);
static void add(Finding *finding, DriftKind kind, Oid relation, AttrNumber attnum, const char *name, const char *became, const char *was);

const char *
drift_kind_name(DriftKind kind)
{
	static const char *const names[] = {"rename", "relation", "drop", "add", "type"};

	return names[kind];
}

DriftPolicy
drift_policy(const Sync *sync)
{
	char	   *policy = sync_option_text(sync, "on_drift");

	if (policy == NULL)
		return DRIFT_PROPOSE;
	return policy[0] == 'e' ? DRIFT_EVOLVE : policy[0] == 'f' ? DRIFT_FREEZE : policy[0] == 'd' ? DRIFT_DISCARD : DRIFT_PROPOSE;
}

char *
drift_relation_name(Oid relation)
{
	char	   *name = get_rel_name(relation);

	return name ? quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name) : psprintf("%u", relation);
}

char *
drift_words(const Drift *drift)
{
	char	   *relation = drift_relation_name(drift->relation);

	switch (drift->kind)
	{
		case DRIFT_RENAME:
			return psprintf("column \"%s\" of %s was renamed to \"%s\"", drift->name, relation, drift->became);
		case DRIFT_RELATION:
			return psprintf("relation \"%s\" is called %s now", drift->name, relation);
		case DRIFT_DROP:
			return psprintf("column \"%s\" of %s was dropped", drift->name, relation);
		case DRIFT_ADD:
			return psprintf("column \"%s\" of type %s was added to %s", drift->name, drift->became, relation);
		case DRIFT_TYPE:
			return psprintf("column \"%s\" of %s changed its type from %s to %s", drift->name, relation, drift->was, drift->became);
	}
	return NULL;
}

List *
drift_find(const Sync *sync, Query *query)
{
	Finding		finding = {NIL, NIL};
	IdentityScope scope;
	RangeTblEntry *source = drift_source(query);
	Oid			relation;
	char	   *lost;

	/* types are written down and meant the same later: not by the path of who alters the table */
	identity_enter_extension(&scope);
	(void) find_in_node((Node *) query, &finding);
	identity_leave(&scope);
	if (source && source->rtekind == RTE_SUBQUERY && (lost = drift_lost_name(sync, source, &relation)) != NULL)
		add(&finding, DRIFT_RELATION, relation, 0, lost, drift_relation_name(relation), NULL);
	return finding.found;
}

int
drift_natts(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	int			natts = 0;

	if (HeapTupleIsValid(tuple))
	{
		natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	return natts;
}

char *
drift_column_name(Oid relation, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(attnum));
	char	   *name = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	if (!((Form_pg_attribute) GETSTRUCT(tuple))->attisdropped)
		name = pstrdup(NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname));
	ReleaseSysCache(tuple);
	return name;
}

RangeTblEntry *
drift_relation_of(const Var *var, const List *queries)
{
	Query	   *query;
	RangeTblEntry *rte;

	if (var->varlevelsup >= list_length(queries))
		return NULL;
	query = list_nth_node(Query, queries, var->varlevelsup);
	rte = rt_fetch(var->varno, query->rtable);
	return rte->rtekind == RTE_RELATION ? rte : NULL;
}

RangeTblEntry *
drift_source(Query *query)
{
	RangeTblRef *reference;

	if (list_length(query->jointree->fromlist) != 1 || !IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return NULL;
	reference = linitial_node(RangeTblRef, query->jointree->fromlist);
	return rt_fetch(reference->rtindex, query->rtable);
}

bool
drift_is_named(const RangeTblEntry *rte, int attnum)
{
	return rte->alias == NULL || attnum > list_length(rte->alias->colnames);
}

static bool
find_in_node(Node *node, Finding *finding)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		ListCell   *cell;

		foreach(cell, query->rtable)
			if (lfirst_node(RangeTblEntry, cell)->rtekind == RTE_RELATION)
				find_in_relation(lfirst(cell), finding);
		finding->queries = lcons(query, finding->queries);
		(void) query_tree_walker(query, find_in_node, finding, QTW_IGNORE_JOINALIASES);
		finding->queries = list_delete_first(finding->queries);
		return false;
	}
	if (IsA(node, Var))
		find_in_var((Var *) node, finding);
	return expression_tree_walker(node, find_in_node, finding);
}

static void
find_in_relation(const RangeTblEntry *rte, Finding *finding)
{
	HeapTuple	class = SearchSysCache1(RELOID, ObjectIdGetDatum(rte->relid));
	int			natts;

	/* of one that is gone there is nothing to say but that */
	if (!HeapTupleIsValid(class))
		return;
	natts = ((Form_pg_class) GETSTRUCT(class))->relnatts;
	if (rte->alias == NULL && strcmp(NameStr(((Form_pg_class) GETSTRUCT(class))->relname), rte->eref->aliasname) != 0)
		add(finding, DRIFT_RELATION, rte->relid, 0, rte->eref->aliasname, drift_relation_name(rte->relid), NULL);
	ReleaseSysCache(class);

	for (int attnum = 1; attnum <= natts; attnum++)
	{
		HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(rte->relid), Int16GetDatum(attnum));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (drift_is_named(rte, attnum))
			find_in_column(rte, (Form_pg_attribute) GETSTRUCT(tuple), finding);
		ReleaseSysCache(tuple);
	}
}

/* Of columns that are there, what the query cannot know; the others only matter where it reads them. */
static void
find_in_column(const RangeTblEntry *rte, Form_pg_attribute attribute, Finding *finding)
{
	if (attribute->attisdropped)
		return;
	/* a number that had no name then is that of a column that came later */
	if (attribute->attnum > list_length(rte->eref->colnames) ||
		strVal(list_nth(rte->eref->colnames, attribute->attnum - 1))[0] == '\0')
		add(finding, DRIFT_ADD, rte->relid, attribute->attnum, NameStr(attribute->attname),
			format_type_with_typemod(attribute->atttypid, attribute->atttypmod), NULL);
}

static void
find_in_var(const Var *var, Finding *finding)
{
	RangeTblEntry *rte = drift_relation_of(var, finding->queries);
	HeapTuple	tuple;
	Form_pg_attribute attribute;
	char	   *known;

	if (rte == NULL || var->varattno <= 0 || var->varattno > list_length(rte->eref->colnames))
		return;
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(rte->relid), Int16GetDatum(var->varattno));
	if (!HeapTupleIsValid(tuple))
		return;
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	known = strVal(list_nth(rte->eref->colnames, var->varattno - 1));
	if (attribute->attisdropped)
		add(finding, DRIFT_DROP, rte->relid, var->varattno, known, NULL, NULL);
	else
	{
		if (drift_is_named(rte, var->varattno) && strcmp(known, NameStr(attribute->attname)) != 0)
			add(finding, DRIFT_RENAME, rte->relid, var->varattno, known, NameStr(attribute->attname), NULL);
		if (attribute->atttypid != var->vartype || attribute->atttypmod != var->vartypmod)
			add(finding, DRIFT_TYPE, rte->relid, var->varattno, NameStr(attribute->attname),
				format_type_with_typemod(attribute->atttypid, attribute->atttypmod),
				SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(var->vartype)) ?
				format_type_with_typemod(var->vartype, var->vartypmod) : DRIFT_TYPE_GONE);
	}
	ReleaseSysCache(tuple);
}

/* Once, however often the query reads it. */
static void
add(Finding *finding, DriftKind kind, Oid relation, AttrNumber attnum, const char *name, const char *became, const char *was)
{
	Drift	   *drift;
	ListCell   *cell;

	foreach(cell, finding->found)
	{
		drift = lfirst(cell);
		if (drift->kind == kind && drift->relation == relation && drift->attnum == attnum)
			return;
	}
	drift = palloc0(sizeof(Drift));
	drift->kind = kind;
	drift->relation = relation;
	drift->attnum = attnum;
	drift->name = pstrdup(name);
	drift->became = became ? pstrdup(became) : NULL;
	drift->was = was ? pstrdup(was) : NULL;
	drift->confidence = 1;
	finding->found = lappend(finding->found, drift);
}
