/*
 * object.c
 *	  A flat row as the API's object: every column at its path.
 *
 * The row's members are hung into a small tree, one node per step, which is
 * then printed as jsonb prints (", " and ": "), numbers untouched.  Steps that
 * are positions make arrays; positions that no column fills are null.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "template/object.h"
#include "template/path.h"
#include "utils/memutils.h"

/* More is no object of any API, and the nulls before it would fill memory. */
#define OBJECT_MAX_INDEX	999
/* What no text of JSON holds: where something else goes. */
#define OBJECT_MARK_ROWS	'\x01'
#define OBJECT_MARK_COLUMNS	'\x02'

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

static ObjectNode *
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
	return node;
}

void
template_append_value(StringInfo out, const JsonbValue *value)
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

	check_stack_depth();
	if (node->raw != NULL)
	{
		appendStringInfoString(out, node->raw);
		return;
	}
	if (node->value != NULL)
	{
		template_append_value(out, node->value);
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

static void
object_place_constants(ObjectNode *root, const TemplateConstant *constants, int n)
{
	for (int i = 0; i < n; i++)
		object_place(root, constants[i].path, psprintf("fixed.%s", constants[i].path),
					 unconstify(JsonbValue *, &constants[i].value));
}

/* Where there is no path: the member of that name, whatever is in it. */
static void
object_place_member(ObjectNode *root, const char *name, JsonbValue *value)
{
	ObjectNode *node = object_child(root, name, -1, name);

	if (node->value != NULL || node->child != NULL)
		object_conflict(name, node->column);
	node->value = value;
}

/* Elements move up to where nothing is. */
static void
object_close_gaps(ObjectNode *node)
{
	int			index = 0;

	check_stack_depth();
	for (ObjectNode *child = node->child; child != NULL; child = child->next)
	{
		if (child->index >= 0)
		{
			child->index = index++;
			child->name = psprintf("%d", child->index);
		}
		object_close_gaps(child);
	}
}

/* Constants, trace and columns at their places. */
static ObjectNode *
object_grow(Jsonb *row, const TemplateShape *shape, const char *id)
{
	ObjectNode *root = palloc0(sizeof(ObjectNode));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;

	root->index = -1;
	if (shape->nconstants > 0)
		object_place_constants(root, shape->constants, shape->nconstants);
	if (shape->trace != NULL)
	{
		JsonbValue *trace = palloc(sizeof(JsonbValue));

		trace->type = jbvString;
		trace->val.string.val = unconstify(char *, id ? id : "");
		trace->val.string.len = strlen(trace->val.string.val);
		object_place(root, shape->trace, "trace", trace);
	}
	if (row == NULL)
		return root;
	it = JsonbIteratorInit(&row->root);
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
		column = object_column(shape->columns, shape->ncolumns, name);
		if (column != NULL && column->skip)
			continue;
		if (column != NULL && column->path != NULL)
			object_place(root, column->path, name, value);
		else if (shape->at != NULL)
			object_place(root, template_path_join(shape->at, NULL, name), name, value);
		else
			object_place_member(root, name, value);
	}
	return root;
}

ObjectNode *
object_tree(Jsonb *row, const TemplateShape *shape, const char *id)
{
	ObjectNode *root = object_grow(row, shape, id);

	if (shape->close_gaps)
		object_close_gaps(root);
	return root;
}

void
template_append_object(StringInfo out, Jsonb *row, const TemplateShape *shape, const char *id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "activate row",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	object_print(out, object_tree(row, shape, id));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static void
object_mark(ObjectNode *root, const char *path, const char *what, const char *mark)
{
	static JsonbValue nothing = {.type = jbvNull};

	if (*path != '\0')
		object_place(root, path, what, &nothing)->raw = mark;
	else if (root->child != NULL)
		object_conflict(what, root->child->column);
	else
		root->raw = mark;
}

void
template_frame(TemplateFrame *frame, const TemplateConstant *constants, int nconstants,
			   const char *rows, const char *columns)
{
	static const char rows_mark[] = {OBJECT_MARK_ROWS, '\0'};
	static const char columns_mark[] = {OBJECT_MARK_COLUMNS, '\0'};
	static const char marks[] = {OBJECT_MARK_ROWS, OBJECT_MARK_COLUMNS, '\0'};
	ObjectNode	root = {.index = -1};
	StringInfoData text;
	char	   *at;

	initStringInfo(&text);
	object_place_constants(&root, constants, nconstants);
	if (columns != NULL)
		object_mark(&root, columns, "columns_at", columns_mark);
	object_mark(&root, rows, "envelope", rows_mark);
	object_print(&text, &root);
	frame->before = text.data;
	frame->between = NULL;
	at = strpbrk(text.data, marks);
	frame->columns_first = *at == OBJECT_MARK_COLUMNS;
	*at++ = '\0';
	if (columns != NULL)
	{
		frame->between = at;
		at = strpbrk(at, marks);
		*at++ = '\0';
	}
	frame->after = at;
}

char *
template_path_step(const char *name)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoChar(&path, '"');
	for (; *name; name++)
	{
		if (*name == '"' || *name == '\\')
			appendStringInfoChar(&path, '\\');
		appendStringInfoChar(&path, *name);
	}
	appendStringInfoChar(&path, '"');
	return path.data;
}

char *
template_path_plain(const char *path)
{
	StringInfoData out;
	const char *at = path;
	PathStep	step;
	PathResult	result;

	initStringInfo(&out);
	while ((result = path_next(&at, &step)) == PATH_STEP)
	{
		bool		special = strpbrk(step.name, ".\"") != NULL || *step.name == '\0' ||
			(!step.is_index && step.name[strspn(step.name, "-0123456789")] == '\0') ||
			(!step.is_any && strcmp(step.name, "*") == 0);

		appendStringInfo(&out, "%s%s", out.len > 0 ? "." : "", special ? template_path_step(step.name) : step.name);
	}
	return result == PATH_END ? out.data : pstrdup(path);
}

char *
template_path_last(const char *path)
{
	PathStep	step = {.name = ""};

	while (path_next(&path, &step) == PATH_STEP)
		;
	return pstrdup(step.name);
}

char *
template_path_join(const char *at, const char *path, const char *name)
{
	if (path != NULL && strncmp(path, "$.", 2) == 0)
		return pstrdup(path + 2);
	if (at == NULL || *at == '\0')
		return path ? pstrdup(path) : NULL;
	return psprintf("%s.%s", at, path ? path : template_path_step(name));
}
