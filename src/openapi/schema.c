/*
 * schema.c
 *	  The fields of an object's schema, whatever it is put together from.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "openapi/openapi.h"

/* Schemas in one another that make one object. */
#define SCHEMA_DEPTH	16

OpenapiField *
openapi_field(const OpenapiFields *fields, const char *name)
{
	for (int i = 0; i < fields->n; i++)
	{
		if (strcmp(fields->fields[i].name, name) == 0)
			return &fields->fields[i];
	}
	return NULL;
}

/* NULL: there are too many. */
OpenapiField *
openapi_add_field(OpenapiFields *fields, const char *name)
{
	OpenapiField *field;

	if (fields->n >= OPENAPI_FIELDS)
		return NULL;
	if (fields->n >= fields->size)
	{
		fields->size = fields->size > 0 ? fields->size * 2 : 16;
		fields->fields = fields->fields ? repalloc(fields->fields, sizeof(OpenapiField) * fields->size) :
			palloc(sizeof(OpenapiField) * fields->size);
	}
	field = &fields->fields[fields->n++];
	memset(field, 0, sizeof(OpenapiField));
	field->name = name;
	return field;
}

static void
schema_properties(OpenapiDocument *document, const OpenapiNode *properties, OpenapiFields *fields)
{
	int			n = 0;
	/* of a schema that has more than a table may have nobody misses which of them are of several types */
	DefinitionMember *members = fields->n < OPENAPI_FIELDS ? openapi_members(document, properties, &n) : NULL;

	for (int i = 0; i < n; i++)
	{
		OpenapiField *field = openapi_field(fields, members[i].name);
		OpenapiType type;

		if (document->work <= 0 || members[i].name[0] == '\0')
			continue;
		openapi_type(document, &members[i].value, &type);
		if (type.null && !type.nullable)
			type.nullable = true;
		if (field != NULL)
		{
			if (type.kind != OPENAPI_ANY)
				openapi_type_unite(&field->type, &type);
			continue;
		}
		field = openapi_add_field(fields, members[i].name);
		if (field == NULL)
			break;
		field->type = type;
		field->schema = members[i].value;
	}
}

static void
schema_required(OpenapiDocument *document, const OpenapiNode *schema, OpenapiFields *fields)
{
	OpenapiNode required = openapi_get(schema, "required");
	int			n;
	DefinitionMember *names;

	if (!openapi_is_array(&required))
		return;
	names = openapi_members(document, &required, &n);
	/* each is looked for among the fields */
	openapi_spend_more(document, (int64) n * fields->n / 64);
	for (int i = 0; i < n; i++)
	{
		char	   *name = openapi_scalar(&names[i].value);
		OpenapiField *field = name ? openapi_field(fields, name) : NULL;

		if (field != NULL)
			field->required = true;
	}
}

/* alternative: of several, so what it requires need not be there */
static void
schema_collect(OpenapiDocument *document, const OpenapiNode *schema, int depth, bool alternative, OpenapiFields *fields)
{
	static const char *const combined[] = {"allOf", "oneOf", "anyOf"};
	OpenapiNode node;
	OpenapiNode inside;

	check_stack_depth();
	if (depth > SCHEMA_DEPTH || !openapi_spend(document))
		return;
	node = openapi_resolve(document, *schema);
	if (!openapi_is_object(&node))
		return;
	inside = openapi_get(&node, "properties");
	if (openapi_is_object(&inside))
		schema_properties(document, &inside, fields);
	for (int i = 0; i < lengthof(combined); i++)
	{
		int			n;
		DefinitionMember *parts;

		inside = openapi_get(&node, combined[i]);
		if (!openapi_is_array(&inside))
			continue;
		parts = openapi_members(document, &inside, &n);
		for (int j = 0; j < n; j++)
			schema_collect(document, &parts[j].value, depth + 1, alternative || (i > 0 && n > 1), fields);
	}
	if (!alternative)
		schema_required(document, &node, fields);
}

static void
schema_example_type(const OpenapiNode *value, OpenapiType *type)
{
	memset(type, 0, sizeof(OpenapiType));
	type->items.type = jbvNull;
	type->sql = "jsonb";
	if (value->type == jbvString)
	{
		type->kind = OPENAPI_STRING;
		type->sql = "text";
	}
	else if (value->type == jbvNumeric)
	{
		type->kind = OPENAPI_NUMBER;
		type->sql = "numeric";
	}
	else if (value->type == jbvBool)
	{
		type->kind = OPENAPI_BOOLEAN;
		type->sql = "boolean";
	}
}

/* Some say what an object has by an example only. */
static void
schema_example(OpenapiDocument *document, const OpenapiNode *schema, OpenapiFields *fields)
{
	OpenapiNode node = openapi_resolve(document, *schema);
	OpenapiNode example = openapi_get(&node, "example");
	int			n;
	DefinitionMember *members;

	if (!openapi_is_object(&example))
		return;
	members = openapi_members(document, &example, &n);
	for (int i = 0; i < n && members[i].name[0] != '\0'; i++)
	{
		OpenapiField *field = openapi_add_field(fields, members[i].name);

		if (field == NULL)
			break;
		schema_example_type(&members[i].value, &field->type);
		field->schema.type = jbvNull;
	}
}

void
openapi_fields(OpenapiDocument *document, const OpenapiNode *schema, OpenapiFields *fields)
{
	memset(fields, 0, sizeof(OpenapiFields));
	schema_collect(document, schema, 0, false, fields);
	if (fields->n == 0)
		schema_example(document, schema, fields);
}

bool
openapi_attributes(OpenapiDocument *document, OpenapiFields *fields, char **type)
{
	OpenapiField *attributes = openapi_field(fields, "attributes");
	OpenapiField *kind = openapi_field(fields, "type");
	OpenapiFields inner;

	if (attributes == NULL || kind == NULL || attributes->type.kind == OPENAPI_ARRAY)
		return false;
	openapi_fields(document, &attributes->schema, &inner);
	if (inner.n == 0)
		return false;
	*type = list_length(kind->type.values) == 1 ? linitial(kind->type.values) : NULL;
	for (int i = 0; i < fields->n; i++)
	{
		OpenapiField *outer = &fields->fields[i];
		OpenapiField *field;

		if (outer == attributes || outer == kind || openapi_field(&inner, outer->name) != NULL)
			continue;
		field = openapi_add_field(&inner, outer->name);
		if (field == NULL)
			break;
		*field = *outer;
		field->path = psprintf("$.%s", openapi_step(outer->name));
	}
	*fields = inner;
	return true;
}
