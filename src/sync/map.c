/*
 * map.c
 *	  From map and key of a declaration to the columns and the query Q.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_target.h"
#include "sync/declare.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

static void map_same_names(Declaration *declaration);
static void map_expressions(Declaration *declaration);
static DeclaredColumn *new_column(const Declaration *declaration, const char *name, Node *expression);
static const DeclaredColumn *find_target_column(const Declaration *declaration, const char *name);
static void explicit_keys(Declaration *declaration);
static void default_keys(Declaration *declaration);
static void add_key(Declaration *declaration, const char *name, Var *column);
static char *source_name(const SyncSource *source, const Node *expression);
static char *mapped_target(const Declaration *declaration, const Var *column);
static void check_mapped_keys(Declaration *declaration);
static Node *deleted_condition(const Declaration *declaration, bool is_not);
static Var *cursor_column(const Declaration *declaration, const char *name);
static Node *column_value(const Declaration *declaration, const DeclaredColumn *column);

void
declare_map(Declaration *declaration)
{
	if (declaration->map)
		map_expressions(declaration);
	else
		map_same_names(declaration);
}

/* Without a map: every source column to the target's column of its name. */
static void
map_same_names(Declaration *declaration)
{
	bool		anything = declaration->target_columns == NIL;
	StringInfoData left;
	ListCell   *cell;

	initStringInfo(&left);
	foreach(cell, declaration->source->names)
	{
		char	   *name = strVal(lfirst(cell));

		if (anything || find_target_column(declaration, name))
			declaration->columns = lappend(declaration->columns,
										   new_column(declaration, name,
													  (Node *) sync_source_column(declaration->source, name)));
		else
			appendStringInfo(&left, "%s%s", left.len > 0 ? ", " : "", name);
	}
	if (declaration->columns == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("no column of the source has a name that target \"%s\" knows", declaration->target),
				 errdetail("The source has the columns: %s.", name_list(declaration->source->names)),
				 errhint("Say what goes where: map => '{\"target column\": \"source expression\"}'.")));
	if (left.len > 0)
		declaration->unsent = left.data;
}

static void
map_expressions(Declaration *declaration)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	if (!JB_ROOT_IS_OBJECT(declaration->map) || JB_ROOT_COUNT(declaration->map) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("map of a sync must be a JSON object with at least one column"),
				 errhint("For example '{\"email\": \"lower(mail)\"}'.")));

	iterator = JsonbIteratorInit(&declaration->map->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		DeclaredColumn *column;

		if (token == WJB_KEY)
		{
			name = pnstrdup(value.val.string.val, value.val.string.len);
			continue;
		}
		if (token != WJB_VALUE)
			continue;
		if (value.type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("map of column \"%s\" is not a text", name),
					 errhint("Values of a map are SQL expressions written as JSON strings: \"42\", \"'a text'\", \"lower(mail)\".")));
		/* looked for first: a wrong name is the likelier slip */
		column = new_column(declaration, name, NULL);
		column->text = pnstrdup(value.val.string.val, value.val.string.len);
		column->expression = sync_source_expression(declaration->source, column->text,
													psprintf("map of column \"%s\"", name));
		declaration->columns = lappend(declaration->columns, column);
	}
}

static DeclaredColumn *
new_column(const Declaration *declaration, const char *name, Node *expression)
{
	DeclaredColumn *column = palloc0(sizeof(DeclaredColumn));
	const DeclaredColumn *target;

	column->name = pstrdup(name);
	column->expression = expression;
	column->typmod = -1;
	if (declaration->target_columns == NIL)
		return column;

	target = find_target_column(declaration, name);
	if (target == NULL)
	{
		List	   *names = NIL;
		ListCell   *cell;

		foreach(cell, declaration->target_columns)
			names = lappend(names, makeString(((DeclaredColumn *) lfirst(cell))->name));
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("target \"%s\" has no column \"%s\" that can be written", declaration->target, name),
				 errhint("Columns that can be written are: %s.", name_list(names))));
	}
	column->type = target->type;
	column->typmod = target->typmod;
	return column;
}

static const DeclaredColumn *
find_target_column(const Declaration *declaration, const char *name)
{
	ListCell   *cell;

	foreach(cell, declaration->target_columns)
	{
		const DeclaredColumn *column = lfirst(cell);

		if (strcmp(column->name, name) == 0)
			return column;
	}
	return NULL;
}

void
declare_keys(Declaration *declaration)
{
	ListCell   *cell;

	if (declaration->key_text)
		explicit_keys(declaration);
	else if (declare_is_view(declaration))
		return;					/* nothing is looked for by it */
	else
		default_keys(declaration);

	foreach(cell, declaration->keys)
	{
		DeclaredKey *key = lfirst(cell);

		if (!OidIsValid(lookup_type_cache(key->column->vartype, TYPECACHE_EQ_OPR)->eq_opr))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of type %s cannot be a key", key->name,
							format_type_be(key->column->vartype)),
					 errhint("Values of that type cannot be compared; choose another column, or cast it in a query as source.")));
	}
	if (declaration->keys == NIL &&
		(declaration->mode == SYNC_UPSERT || declaration->mode == SYNC_UPDATE || declaration->mode == SYNC_MIRROR))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode \"%s\" needs a key, and neither source nor target has one", declaration->mode_text),
				 errhint("Name the columns that identify a row: key => 'column, ...'. The source has: %s.",
						 name_list(declaration->source->names))));
	if (declaration->kind != SYNC_TO_API)
		check_mapped_keys(declaration);
	if (declaration->keys == NIL && declaration->capture == CAPTURE_TRIGGER && declaration->mode != SYNC_APPEND)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("capture \"trigger\" in mode \"%s\" needs a key, and neither source nor target has one",
						declaration->mode_text),
				 errhint("Name the columns that identify a row: key => 'column, ...'; or use mode \"append\" or capture \"diff\".")));
}

static void
explicit_keys(Declaration *declaration)
{
	List	   *names;
	ListCell   *cell;

	if (!SplitIdentifierString(pstrdup(declaration->key_text), ',', &names) || names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" is not a list of column names", declaration->key_text),
				 errhint("Write column names separated by commas, for example 'tenant, id'.")));
	foreach(cell, names)
	{
		char	   *name = lfirst(cell);
		Var		   *column = sync_source_column(declaration->source, name);

		if (column == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("key column \"%s\" does not exist in the source", name),
					 errhint("Columns of the source are: %s.", name_list(declaration->source->names))));
		add_key(declaration, name, column);
	}
}

/* SEMANTICS 4: the source columns mapped to the target's key; else the source's primary key. */
static void
default_keys(Declaration *declaration)
{
	ListCell   *cell;
	ListCell   *other;

	foreach(cell, declaration->target_keys)
	{
		char	   *name = NULL;
		DeclaredColumn *column = NULL;

		foreach(other, declaration->columns)
		{
			column = lfirst(other);
			if (strcmp(column->name, strVal(lfirst(cell))) == 0)
			{
				name = source_name(declaration->source, column->expression);
				break;
			}
		}
		if (name == NULL)
		{
			declaration->keys = NIL;
			break;
		}
		add_key(declaration, name, (Var *) column->expression);
	}
	if (declaration->keys != NIL || !OidIsValid(declaration->source->relation))
		return;

	foreach(cell, relation_primary_key(declaration->source->relation))
		add_key(declaration, lfirst(cell), sync_source_column(declaration->source, lfirst(cell)));
}

/* The column that an expression is, or NULL if it is more than a column. */
static char *
source_name(const SyncSource *source, const Node *expression)
{
	ListCell   *name;
	ListCell   *var;

	if (expression == NULL || !IsA(expression, Var))
		return NULL;
	forboth(name, source->names, var, source->vars)
	{
		if (((Var *) lfirst(var))->varattno == ((const Var *) expression)->varattno)
			return strVal(lfirst(name));
	}
	return NULL;
}

static void
add_key(Declaration *declaration, const char *name, Var *column)
{
	DeclaredKey *key = palloc0(sizeof(DeclaredKey));
	ListCell   *cell;

	key->name = pstrdup(name);
	key->column = column;
	key->target = mapped_target(declaration, column);
	foreach(cell, declaration->keys)
		if (strcmp(((DeclaredKey *) lfirst(cell))->name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("key column \"%s\" is named twice", name)));
	declaration->keys = lappend(declaration->keys, key);
}

/* The target column that just this source column fills; the target's own key first. */
static char *
mapped_target(const Declaration *declaration, const Var *column)
{
	char	   *found = NULL;
	ListCell   *cell;
	ListCell   *other;

	foreach(cell, declaration->columns)
	{
		DeclaredColumn *mapped = lfirst(cell);

		if (!IsA(mapped->expression, Var) || ((Var *) mapped->expression)->varattno != column->varattno)
			continue;
		if (found == NULL)
			found = mapped->name;
		foreach(other, declaration->target_keys)
			if (strcmp(strVal(lfirst(other)), mapped->name) == 0)
				return mapped->name;
	}
	return found;
}

/* Rows of a table are found again by the target's columns: the key must be among them. */
static void
check_mapped_keys(Declaration *declaration)
{
	ListCell   *cell;

	if (declaration->mode == SYNC_APPEND)
		return;
	foreach(cell, declaration->keys)
	{
		DeclaredKey *key = lfirst(cell);

		if (key->target != NULL)
			continue;
		/* a key that nobody asked for is not missed */
		if (declaration->key_text == NULL &&
			(declaration->mode == SYNC_INSERT || declaration->mode == SYNC_REPLACE))
		{
			declaration->keys = NIL;
			return;
		}
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key column \"%s\" is not mapped to a column of target \"%s\"", key->name, declaration->target),
				 errhint("Map it as it is: '{\"target column\": \"%s\"}', or choose another key.",
						 quote_identifier(key->name))));
	}
	if (declaration->keys == NIL && declaration->mode == SYNC_REPLACE && declaration->kind == SYNC_TO_FOREIGN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode \"replace\" into a foreign table needs a key"),
				 errhint("Name the columns that identify a row: key => 'column, ...'.")));
}

/* Q: see catalog/sync.h. */
void
declare_query(Declaration *declaration)
{
	SyncSource *source = declaration->source;
	char	   *cursor = declaration->capture == CAPTURE_CURSOR ? declare_option(declaration, "cursor") : NULL;
	char	   *where = declare_option(declaration, "where");
	Node	   *condition = NULL;
	Node	   *gone = NULL;
	List	   *targets = NIL;
	ListCell   *cell;
	int			i = 1;

	foreach(cell, declaration->keys)
		targets = lappend(targets,
						  makeTargetEntry(copyObject((Expr *) ((DeclaredKey *) lfirst(cell))->column),
										  list_length(targets) + 1, psprintf("k%d", i++), false));
	declaration->cursor = cursor ? cursor_column(declaration, cursor) : declare_newest(declaration);
	if (declaration->cursor)
	{
		targets = lappend(targets, makeTargetEntry(copyObject((Expr *) declaration->cursor),
												   list_length(targets) + 1, pstrdup("c"), false));
	}
	gone = deleted_condition(declaration, cursor == NULL || declaration->mode != SYNC_MIRROR);
	if (gone && cursor && declaration->mode == SYNC_MIRROR)
	{
		targets = lappend(targets, makeTargetEntry((Expr *) gone, list_length(targets) + 1, pstrdup("d"), false));
		gone = NULL;
	}
	i = 1;
	foreach(cell, declaration->columns)
		targets = lappend(targets,
						  makeTargetEntry((Expr *) column_value(declaration, lfirst(cell)),
										  list_length(targets) + 1, psprintf("v%d", i++), false));
	resolveTargetListUnknowns(source->pstate, targets);
	if (where)
		condition = sync_source_condition(source, where, "option \"where\" of the sync");
	if (gone)
		condition = condition ? (Node *) makeBoolExpr(AND_EXPR, list_make2(condition, gone), -1) : gone;
	declaration->query = sync_source_query(source, targets, condition);
}

/* options.deleted: it is true of a row, or it is not; NULL: not given. */
static Node *
deleted_condition(const Declaration *declaration, bool is_not)
{
	char	   *deleted = declare_option(declaration, "deleted");
	BooleanTest *test = makeNode(BooleanTest);

	if (deleted == NULL)
		return NULL;
	test->arg = (Expr *) sync_source_condition(declaration->source, deleted, "option \"deleted\" of the sync");
	test->booltesttype = is_not ? IS_NOT_TRUE : IS_TRUE;
	test->location = -1;
	return (Node *) test;
}

static Var *
cursor_column(const Declaration *declaration, const char *name)
{
	Var		   *column = sync_source_column(declaration->source, name);
	char		category;
	bool		preferred;

	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("cursor column \"%s\" does not exist in the source", name),
				 errhint("Columns of the source are: %s.", name_list(declaration->source->names))));
	get_type_category_preferred(column->vartype, &category, &preferred);
	if (!OidIsValid(lookup_type_cache(column->vartype, TYPECACHE_LT_OPR)->lt_opr) ||
		(declare_option(declaration, "lag") && category != TYPCATEGORY_DATETIME))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be the cursor", name, format_type_be(column->vartype)),
				 errhint("A cursor is a column that grows, such as a timestamp or a sequence; with a lag it is a date or timestamp.")));
	return column;
}

/*
 * The value as it is assigned to the target's column.  Explicit casts to a
 * length, which the deparsed text has, cut silently what an assignment
 * refuses: so the length is left to the assignment itself.
 */
static Node *
column_value(const Declaration *declaration, const DeclaredColumn *column)
{
	int32		typmod = column->typmod;
	Node	   *result;

	if (contain_volatile_functions(column->expression))
		ereport(WARNING,
				(errmsg("map of column \"%s\" uses a volatile function", column->name),
				 errhint("Its value differs each time it is looked at, so the row will be sent again and again.")));
	if (!OidIsValid(column->type))
		return column->expression;

	if (column->type == VARCHAROID || column->type == BPCHAROID || column->type == BITOID || column->type == VARBITOID)
		typmod = -1;
	result = sync_source_assign(declaration->source, column->expression, column->text,
								psprintf("map of column \"%s\"", column->name), column->type, typmod);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of target \"%s\" is of type %s but its map gives %s", column->name,
						declaration->target, format_type_with_typemod(column->type, column->typmod),
						format_type_be(exprType(column->expression))),
				 errhint("Cast the expression in the map: '{\"%s\": \"CAST(... AS %s)\"}'.", column->name,
						 format_type_be(column->type))));
	return result;
}
