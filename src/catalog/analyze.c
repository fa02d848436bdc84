/*
 * analyze.c
 *	  Parse analysis of a declaration: see analyze.h.
 *
 * The query is put together as transformSelectStmt() does it, piece by piece,
 * because the pieces come from different texts: each keeps its own error
 * context, and a literal stays untyped until the target's column gives it a
 * type, as in INSERT ... SELECT.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relation.h"
#include "catalog/analyze.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "nodes/bitmapset.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_clause.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parse_target.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

/* What is being parsed, for the error context. */
typedef struct ParsedText
{
	const char *what;
	const char *text;
} ParsedText;

static bool is_query(const char *source);
static RangeVar *source_relation(const char *source, Oid *relation);
static RangeSubselect *source_query(const char *source);
static bool is_star(const Node *node);
static Node *parse_expression(const char *text, const char *what);
static bool check_query_walker(Node *node, void *context);

/* Cursor positions belong to the text parsed here, not to the statement of the client. */
static void
parsed_text_context(void *arg)
{
	ParsedText *parsed = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(parsed->text);
	}
	errcontext("%s", parsed->what);
}

#define PARSED_TEXT_BEGIN(what_, text_) \
	do { \
		ParsedText	parsed_ = {(what_), (text_)}; \
		ErrorContextCallback callback_; \
		callback_.callback = parsed_text_context; \
		callback_.arg = &parsed_; \
		callback_.previous = error_context_stack; \
		error_context_stack = &callback_

#define PARSED_TEXT_END() \
		error_context_stack = callback_.previous; \
	} while (0)

SyncSource *
sync_source_open(const char *source)
{
	SyncSource *result = palloc0(sizeof(SyncSource));
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	Node	   *from;

	/* an untyped literal takes the type of the target's column */
	pstate->p_resolve_unknowns = false;

	PARSED_TEXT_BEGIN("source of the sync", source);
	if (is_query(source))
	{
		pstate->p_sourcetext = source;
		from = (Node *) source_query(source);
	}
	else
		from = (Node *) source_relation(source, &result->relation);
	transformFromClause(pstate, list_make1(from));
	PARSED_TEXT_END();

	item = linitial(pstate->p_namespace);
	compat_expand_rte(item->p_rte, item->p_rtindex, &result->names, &result->vars);
	result->pstate = pstate;
	return result;
}

Var *
sync_source_column(const SyncSource *source, const char *name)
{
	ListCell   *cell;
	ListCell   *var;

	forboth(cell, source->names, var, source->vars)
	{
		if (strcmp(strVal(lfirst(cell)), name) == 0)
		{
			Var		   *column = copyObject(lfirst(var));

			markVarForSelectPriv(source->pstate, column);
			return column;
		}
	}
	return NULL;
}

Node *
sync_source_expression(SyncSource *source, const char *text, const char *what)
{
	return sync_source_expression_of(source, sync_parse_expression(text, what), text, what);
}

/*
 * The cast is kept in explicit form, or the deparsed text would lose it.  A
 * literal is read by its type's input function here, hence the context.
 */
Node *
sync_source_assign(SyncSource *source, Node *expression, const char *text, const char *what,
				   Oid type, int32 typmod)
{
	Node	   *result;

	PARSED_TEXT_BEGIN(what, text);
	source->pstate->p_sourcetext = text;
	result = coerce_to_target_type(source->pstate, copyObject(expression), exprType(expression),
								   type, typmod, COERCION_ASSIGNMENT, COERCE_EXPLICIT_CAST, -1);
	PARSED_TEXT_END();
	return result;
}

Node *
sync_source_condition(SyncSource *source, const char *text, const char *what)
{
	return sync_source_condition_of(source, sync_parse_expression(text, what), text, what);
}

Node *
sync_parse_expression(const char *text, const char *what)
{
	Node	   *result;

	PARSED_TEXT_BEGIN(what, text);
	result = parse_expression(text, what);
	PARSED_TEXT_END();
	return result;
}

Node *
sync_source_condition_of(SyncSource *source, Node *parsed, const char *text, const char *what)
{
	Node	   *result;

	PARSED_TEXT_BEGIN(what, text);
	source->pstate->p_sourcetext = text;
	result = transformWhereClause(source->pstate, parsed, EXPR_KIND_WHERE, what);
	PARSED_TEXT_END();
	return result;
}

Node *
sync_source_expression_of(SyncSource *source, Node *parsed, const char *text, const char *what)
{
	Node	   *result;

	PARSED_TEXT_BEGIN(what, text);
	source->pstate->p_sourcetext = text;
	result = transformExpr(source->pstate, parsed, EXPR_KIND_SELECT_TARGET);
	PARSED_TEXT_END();
	return result;
}

Query *
sync_source_query(SyncSource *source, List *targets, Node *condition)
{
	ParseState *pstate = source->pstate;
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->querySource = QSRC_ORIGINAL;
	query->canSetTag = true;
	query->targetList = targets;
	query->rtable = pstate->p_rtable;
	compat_take_permissions(query, pstate);
	query->jointree = makeFromExpr(pstate->p_joinlist, condition);
	query->hasSubLinks = pstate->p_hasSubLinks;
	query->hasWindowFuncs = pstate->p_hasWindowFuncs;
	query->hasTargetSRFs = pstate->p_hasTargetSRFs;
	query->hasAggs = pstate->p_hasAggs;

	if (query->hasTargetSRFs || query->hasAggs || query->hasWindowFuncs)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a map may not use aggregate, window or set-returning functions"),
				 errhint("Compute it in the source: activate_sync(..., source => 'SELECT ...').")));
	assign_query_collations(pstate, query);
	(void) check_query_walker((Node *) query, NULL);
	if (isQueryUsingTempRelation(query))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the source of a sync may not be a temporary relation"),
				 errhint("A sync outlives the session: use a permanent table.")));
	return query;
}

bool
equal_is_same(Oid type, Oid collation)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);
	Oid			function;

	if (!OidIsValid(entry->btree_opf))
		return false;
	function = get_opfamily_proc(entry->btree_opf, entry->btree_opintype, entry->btree_opintype, BTEQUALIMAGE_PROC);
	return OidIsValid(function) &&
		DatumGetBool(OidFunctionCall1Coll(function, collation, ObjectIdGetDatum(entry->btree_opintype)));
}

List *
relation_primary_key(Oid relation)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	Bitmapset  *columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	List	   *names = NIL;
	int			column = -1;

	while ((column = bms_next_member(columns, column)) >= 0)
		names = lappend(names, get_attname(relation, column + FirstLowInvalidHeapAttributeNumber, false));
	relation_close(rel, AccessShareLock);
	return names;
}

char *
name_list(const List *names)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, names)
		appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "", strVal(lfirst(cell)));
	return out.data;
}

/*
 * The caller's search_path with pg_catalog first and pg_temp last, whatever
 * the caller put where: names of ours that need no schema must not be caught
 * on the way.
 */
char *
sync_kept_search_path(void)
{
	List	   *names;
	ListCell   *cell;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "pg_catalog");
	if (SplitIdentifierString(pstrdup(namespace_search_path), ',', &names))
		foreach(cell, names)
		{
			const char *name = lfirst(cell);

			if (strcmp(name, "pg_catalog") != 0 && strcmp(name, "pg_temp") != 0)
				appendStringInfo(&out, ", %s", quote_identifier(name));
		}
	appendStringInfoString(&out, ", pg_temp");
	return out.data;
}

/* Does it start with a word that only a query starts with?  A relation of such a name is quoted. */
static bool
is_query(const char *source)
{
	static const char *const words[] = {"select", "with", "values", "table"};

	for (;;)
	{
		source += strspn(source, " \t\r\n(");
		if (strncmp(source, "--", 2) == 0)
			source += strcspn(source, "\n");
		else if (strncmp(source, "/*", 2) == 0 && strstr(source, "*/"))
			source = strstr(source, "*/") + 2;
		else
			break;
	}
	for (int i = 0; i < lengthof(words); i++)
	{
		size_t		length = strlen(words[i]);

		if (pg_strncasecmp(source, words[i], length) == 0 &&
			(source[length] == '\0' || strchr(" \t\r\n('\"*-/", source[length])))
			return true;
	}
	return false;
}

static RangeVar *
source_relation(const char *source, Oid *relation)
{
	RangeVar   *name = makeRangeVarFromNameList(compat_qualified_name(source));
	char		relkind;

	*relation = RangeVarGetRelid(name, AccessShareLock, true);
	if (!OidIsValid(*relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("source relation \"%s\" does not exist", source),
				 errhint("The source is the name of a table, view, materialized view or foreign table, or a SELECT.")));
	relkind = get_rel_relkind(*relation);
	if (strchr("rpvmf", relkind) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("source \"%s\" is not a relation that has rows to sync", source),
				 errhint("The source is the name of a table, view, materialized view or foreign table, or a SELECT.")));
	return name;
}

static RangeSubselect *
source_query(const char *source)
{
	List	   *statements = raw_parser(source, RAW_PARSE_DEFAULT);
	RangeSubselect *result = makeNode(RangeSubselect);
	SelectStmt *select;

	if (list_length(statements) != 1 || !IsA(linitial_node(RawStmt, statements)->stmt, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the source of a sync must be one SELECT statement"),
				 errhint("Data-modifying statements and several statements are not possible.")));
	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	for (SelectStmt *leftmost = select; leftmost; leftmost = leftmost->larg)
	{
		if (leftmost->intoClause)
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("the source of a sync may not be SELECT INTO")));
	}
	result->subquery = (Node *) select;
	result->alias = makeAlias("source", NIL);
	return result;
}

/* A bare "*", which the analysis of expressions does not look out for. */
static bool
is_star(const Node *node)
{
	return IsA(node, ColumnRef) && IsA(linitial(((const ColumnRef *) node)->fields), A_Star);
}

static Node *
parse_expression(const char *text, const char *what)
{
	List	   *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, statements)->stmt);
	ResTarget  *target;

	/* that grammar takes the rest of a SELECT as well */
	if (list_length(select->targetList) == 1 && !select->distinctClause && !select->fromClause &&
		!select->whereClause && !select->groupClause && !select->havingClause &&
		!select->windowClause && !select->sortClause && !select->limitOffset &&
		!select->limitCount && !select->lockingClause)
	{
		target = linitial_node(ResTarget, select->targetList);
		if (target->name == NULL && !is_star(target->val))
			return target->val;
	}
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("%s is not an expression", what),
			 errhint("Write one SQL expression over the columns of the source; put parentheses around a SELECT.")));
}

/* Privileges of every level, as the planner would flatten them; no row locks. */
static bool
check_query_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;

		if (query->rowMarks)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the source of a sync may not lock rows"),
					 errhint("Leave FOR UPDATE and FOR SHARE out.")));
		compat_check_select(query);
		return query_tree_walker(query, check_query_walker, context, 0);
	}
	return expression_tree_walker(node, check_query_walker, context);
}
