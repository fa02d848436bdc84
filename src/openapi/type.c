/*
 * type.c
 *	  A schema as the type of a column: what SQL holds, and what the API takes.
 *
 * A type that is too narrow fails reads and writes that would have worked, so
 * in doubt it is the wider one: text, numeric, jsonb.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "openapi/openapi.h"

/* Schemas in one another that decide on one column. */
#define TYPE_DEPTH	8
/* Lists of values that are longer are documentation. */
#define TYPE_VALUES	200

static void type_of(OpenapiDocument *document, const OpenapiNode *schema, int depth, OpenapiType *type);

static OpenapiKind
type_kind(const char *name)
{
	static const struct
	{
		const char *name;
		OpenapiKind kind;
	}			kinds[] = {
		{"object", OPENAPI_OBJECT}, {"array", OPENAPI_ARRAY}, {"string", OPENAPI_STRING}, {"file", OPENAPI_STRING},
		{"integer", OPENAPI_INTEGER}, {"number", OPENAPI_NUMBER}, {"boolean", OPENAPI_BOOLEAN}
	};

	for (int i = 0; i < lengthof(kinds); i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	}
	return OPENAPI_ANY;
}

static void
type_set_kind(OpenapiDocument *document, const OpenapiNode *schema, OpenapiType *type)
{
	OpenapiNode given = openapi_get(schema, "type");
	OpenapiNode inside;
	int			n = 0;
	int			kinds = 0;

	if (given.type == jbvString)
	{
		char	   *name = template_scalar_text(&given);

		type->kind = type_kind(name);
		type->null = strcmp(name, "null") == 0;
		type->binary = strcmp(name, "file") == 0;
	}
	else if (openapi_is_array(&given))
	{
		DefinitionMember *names = openapi_members(document, &given, &n);

		/* several: whatever comes, as JSON */
		for (int i = 0; i < n; i++)
		{
			char	   *name = openapi_scalar(&names[i].value);

			if (name != NULL && strcmp(name, "null") == 0)
				type->nullable = true;
			else if (name != NULL)
				type->kind = kinds++ == 0 ? type_kind(name) : OPENAPI_ANY;
		}
		type->null = kinds == 0;
	}
	else if (inside = openapi_get(schema, "properties"), openapi_is_object(&inside))
		type->kind = OPENAPI_OBJECT;
	else if (inside = openapi_get(schema, "additionalProperties"), openapi_is_object(&inside))
		type->kind = OPENAPI_OBJECT;
	else if (inside = openapi_get(schema, "items"), openapi_is_object(&inside))
		type->kind = OPENAPI_ARRAY;
	type->nullable |= openapi_true(schema, "nullable") || openapi_true(schema, "x-nullable");
	type->readonly = openapi_true(schema, "readOnly");
}

/* What it may be, if that is told by scalars. */
static void
type_set_values(OpenapiDocument *document, const OpenapiNode *schema, OpenapiType *type)
{
	OpenapiNode list = openapi_get(schema, "enum");
	OpenapiNode constant = openapi_get(schema, "const");
	DefinitionMember *elements;
	int			n = 0;

	if (openapi_scalar(&constant) != NULL && type->kind != OPENAPI_BOOLEAN)
		type->values = list_make1(openapi_scalar(&constant));
	elements = openapi_is_array(&list) ? openapi_members(document, &list, &n) : NULL;
	for (int i = 0; elements != NULL && i < n; i++)
	{
		char	   *text = openapi_scalar(&elements[i].value);

		if (elements[i].value.type == jbvNull)
			type->nullable = true;
		else if (text == NULL || i >= TYPE_VALUES || strlen(text) > 200)
		{
			type->values = NIL;
			break;
		}
		else
			type->values = lappend(type->values, text);
	}
	if (type->kind == OPENAPI_ANY && type->values != NIL)
		type->kind = OPENAPI_STRING;
	/* an empty text beside others is how forms say null */
	if (type->kind == OPENAPI_BOOLEAN || type->kind == OPENAPI_ARRAY || type->kind == OPENAPI_OBJECT)
		type->values = NIL;
}

static bool
type_is_form_null(const OpenapiType *type)
{
	return list_length(type->values) == 1 && *(char *) linitial(type->values) == '\0';
}

static bool
type_same_values(const List *one, const List *other)
{
	if (list_length(one) != list_length(other))
		return false;
	for (int i = 0; i < list_length(one); i++)
	{
		if (strcmp(list_nth(one, i), list_nth(other, i)) != 0)
			return false;
	}
	return true;
}

void
openapi_type_unite(OpenapiType *type, const OpenapiType *other)
{
	bool		numbers = (type->kind == OPENAPI_INTEGER || type->kind == OPENAPI_NUMBER) &&
		(other->kind == OPENAPI_INTEGER || other->kind == OPENAPI_NUMBER);

	type->nullable |= other->nullable;
	type->readonly &= other->readonly;
	type->binary |= other->binary;
	type->max_length = type->max_length > 0 && other->max_length > 0 ? Max(type->max_length, other->max_length) : 0;
	if (type->values == NIL || other->values == NIL || list_length(type->values) > TYPE_VALUES)
		type->values = NIL;
	else if (!type_same_values(type->values, other->values))
		type->values = list_concat_copy(type->values, other->values);
	if (strcmp(type->sql, other->sql) == 0)
		return;
	type->date = NULL;
	if (type->kind == OPENAPI_STRING && other->kind == OPENAPI_STRING)
		type->sql = "text";
	else if (numbers)
	{
		type->kind = OPENAPI_NUMBER;
		type->sql = "numeric";
	}
	else
	{
		type->kind = OPENAPI_ANY;
		type->sql = "jsonb";
		type->values = NIL;
		type->max_length = 0;
	}
}

/* The parts of allOf together, or what takes each of the alternatives. */
static void
type_combine(OpenapiDocument *document, const OpenapiNode *list, bool all, int depth, OpenapiType *type)
{
	int			n;
	DefinitionMember *parts = openapi_members(document, list, &n);
	bool		nullable = type->nullable;
	bool		readonly = type->readonly;
	bool		found = false;

	for (int i = 0; i < n && document->work > 0; i++)
	{
		OpenapiType part;

		type_of(document, &parts[i].value, depth + 1, &part);
		if (part.null || (!all && type_is_form_null(&part)))
		{
			nullable = true;
			continue;
		}
		if (all && part.kind == OPENAPI_ANY)
			readonly |= part.readonly;
		else if (!found)
			*type = part;
		else if (!all)
			openapi_type_unite(type, &part);
		found |= !(all && part.kind == OPENAPI_ANY);
	}
	type->nullable |= nullable;
	type->readonly |= readonly;
	type->null = !found && nullable && n > 0;
}

static const char *
type_of_items(OpenapiDocument *document, OpenapiType *type, int depth)
{
	OpenapiType item;

	type_of(document, &type->items, depth + 1, &item);
	if (item.kind == OPENAPI_STRING || item.kind == OPENAPI_INTEGER || item.kind == OPENAPI_NUMBER)
		type->values = item.values;
	switch (item.kind)
	{
		case OPENAPI_STRING:
			type->binary = item.binary;
			return "text[]";
		case OPENAPI_INTEGER:
			return "bigint[]";
		case OPENAPI_NUMBER:
			return "numeric[]";
		case OPENAPI_BOOLEAN:
			return "boolean[]";
		default:
			return "jsonb";
	}
}

static void
type_set_sql(OpenapiDocument *document, const OpenapiNode *schema, int depth, OpenapiType *type)
{
	static const char *const seconds[] = {"unixtime", "unixtimestamp", "unixtimeseconds", NULL};
	char	   *format = openapi_text(schema, "format");

	format = format ? openapi_plain(format) : pstrdup("");
	type->sql = "jsonb";
	switch (type->kind)
	{
		case OPENAPI_STRING:
			type->sql = strcmp(format, "datetime") == 0 ? "timestamptz" : strcmp(format, "date") == 0 ? "date" : "text";
			type->binary |= strcmp(format, "binary") == 0;
			type->max_length = openapi_int(schema, "maxLength");
			break;
		case OPENAPI_INTEGER:
			if (openapi_one_of(format, seconds))
			{
				type->sql = "timestamptz";
				type->date = "unix";
			}
			else
				type->sql = strcmp(format, "int32") == 0 ? "integer" : strcmp(format, "uint64") == 0 ? "numeric" : "bigint";
			break;
		case OPENAPI_NUMBER:
			type->sql = strcmp(format, "double") == 0 || strcmp(format, "float") == 0 ? "double precision" : "numeric";
			break;
		case OPENAPI_BOOLEAN:
			type->sql = "boolean";
			break;
		case OPENAPI_ARRAY:
			type->items = openapi_get(schema, "items");
			type->max_items = openapi_int(schema, "maxItems");
			type->sql = type_of_items(document, type, depth);
			break;
		case OPENAPI_OBJECT:
		case OPENAPI_ANY:
			break;
	}
}

static void
type_of(OpenapiDocument *document, const OpenapiNode *schema, int depth, OpenapiType *type)
{
	static const struct
	{
		const char *name;
		bool		all;
	}			combined[] = {{"allOf", true}, {"oneOf", false}, {"anyOf", false}};
	OpenapiNode node;

	check_stack_depth();
	memset(type, 0, sizeof(OpenapiType));
	type->sql = "jsonb";
	type->items.type = jbvNull;
	if (depth > TYPE_DEPTH || !openapi_spend(document))
		return;
	node = openapi_resolve(document, *schema);
	if (!openapi_is_object(&node))
		return;
	type_set_kind(document, &node, type);
	for (int i = 0; i < lengthof(combined) && type->kind == OPENAPI_ANY && !type->null; i++)
	{
		OpenapiNode list = openapi_get(&node, combined[i].name);

		if (!openapi_is_array(&list))
			continue;
		type_combine(document, &list, combined[i].all, depth, type);
		return;
	}
	type_set_values(document, &node, type);
	type_set_sql(document, &node, depth, type);
}

void
openapi_type(OpenapiDocument *document, const OpenapiNode *schema, OpenapiType *type)
{
	type_of(document, schema, 0, type);
}
