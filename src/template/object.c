/*
 * object.c
 *	  A flat row as the API's object: every column at its path.
 *
 * The row's members are hung into a small tree, one node per step, which is
 * then printed as jsonb prints (", " and ": "), numbers untouched.  Steps that
 * are positions make arrays; positions that no column fills are null.
 */
#include "postgres.h"

#include "template/path.h"
#include "template/template.h"
#include "utils/memutils.h"

/* More is no object of any API, and the nulls before it would fill memory. */
#define OBJECT_MAX_INDEX	999

typedef struct ObjectNode
{
	const char *name;
	int			index;			/* -1: a member of an object */
	JsonbValue *value;			/* a leaf */
	const char *column;			/* that put the node here first */
	struct ObjectNode *child;
	struct ObjectNode *next;
} ObjectNode;

static void
object_conflict(const char *column, const char *other)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("columns \"%s\" and \"%s\" want the same place in the object that is sent",
					other, column),
			 errhint("Give one of them another path, or make it readonly.")));
}

/* The child of that step, made if there is none; kept in order of position. */
static ObjectNode *
object_child(ObjectNode *parent, const char *name, int index, const char *column)
{
	ObjectNode *before = NULL;
	ObjectNode *node;

	if (parent->value != NULL ||
		(parent->child != NULL && (parent->child->index >= 0) != (index >= 0)))
		object_conflict(column, parent->value ? parent->column : parent->child->column);
	for (node = parent->child; node != NULL; node = node->next)
	{
		if (index >= 0 ? node->index == index : strcmp(node->name, name) == 0)
			return node;
		if (index < 0 || node->index < index)
			before = node;
	}
	node = palloc0(sizeof(ObjectNode));
	node->name = name;
	node->index = index;
	node->column = column;
	if (before == NULL)
	{
		node->next = parent->child;
		parent->child = node;
	}
	else
	{
		node->next = before->next;
		before->next = node;
	}
	return node;
}

static void
object_place(ObjectNode *root, const char *path, const char *column, JsonbValue *value)
{
	ObjectNode *node = root;
	PathStep	step;
	PathResult	result;
	const char *p = path;

	while ((result = path_next(&p, &step)) == PATH_STEP)
	{
		bool		position = step.is_index && node != root;

		if (position && (step.index < 0 || step.index > OBJECT_MAX_INDEX))
			break;
		node = object_child(node, pstrdup(step.name), position ? step.index : -1, column);
	}
	if (result != PATH_END || node == root)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path \"%s\" of column \"%s\" is no place to write to", path, column),
				 errhint("Write dotted member names and positions from 0 to %d, as in \"properties.email\" or \"emails.0.value\".",
						 OBJECT_MAX_INDEX)));
	if (node->value != NULL || node->child != NULL)
		object_conflict(column, node->column);
	node->value = value;
}

static void
object_print_value(StringInfo out, const JsonbValue *value)
{
	char	   *text = template_scalar_text(value);

	if (text == NULL)
		appendStringInfoString(out, "null");
	else if (value->type == jbvString)
		template_append_string(out, text);
	else
		appendStringInfoString(out, text);
	if (text != NULL)
		pfree(text);
}

static void
object_print(StringInfo out, const ObjectNode *node)
{
	bool		is_array = node->child != NULL && node->child->index >= 0;
	int			printed = 0;

	if (node->value != NULL)
	{
		object_print_value(out, node->value);
		return;
	}
	appendStringInfoChar(out, is_array ? '[' : '{');
	for (const ObjectNode *child = node->child; child != NULL; child = child->next)
	{
		for (; is_array && printed < child->index; printed++)
			appendStringInfoString(out, printed > 0 ? ", null" : "null");
		if (printed++ > 0)
			appendStringInfoString(out, ", ");
		if (!is_array)
		{
			template_append_string(out, child->name);
			appendStringInfoString(out, ": ");
		}
		object_print(out, child);
	}
	appendStringInfoChar(out, is_array ? ']' : '}');
}

static const TemplateColumn *
object_column(const TemplateColumn *columns, int ncolumns, const char *name)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (strcmp(columns[i].name, name) == 0)
			return &columns[i];
	}
	return NULL;
}

void
template_append_object(StringInfo out, Jsonb *row, const TemplateColumn *columns, int ncolumns)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "activate row",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ObjectNode	root = {0};
	JsonbIterator *it = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	key;

	root.index = -1;
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const TemplateColumn *column;
		JsonbValue *value;
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		value = palloc(sizeof(JsonbValue));
		(void) JsonbIteratorNext(&it, value, true);
		column = object_column(columns, ncolumns, name);
		if (column != NULL && column->skip)
			continue;
		if (column != NULL && column->path != NULL)
			object_place(&root, column->path, name, value);
		else
		{
			ObjectNode *node = object_child(&root, name, -1, name);

			if (node->value != NULL || node->child != NULL)
				object_conflict(name, node->column);
			node->value = value;
		}
	}
	object_print(out, &root);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
