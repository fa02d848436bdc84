/*
 * write.c
 *	  An operation that writes: its parameters, its body, its path.
 */
#include "postgres.h"

#include "openapi/openapi.h"
#include "utils/formatting.h"

List *
openapi_parameters(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared)
{
	const OpenapiNode *from[] = {operation, shared};
	List	   *parameters = NIL;

	for (int i = 0; i < lengthof(from); i++)
	{
		OpenapiNode list = openapi_get(from[i], "parameters");
		int			n;
		DefinitionMember *elements = openapi_members(document, &list, &n);

		for (int j = 0; j < n; j++)
		{
			OpenapiNode *parameter = palloc(sizeof(OpenapiNode));

			*parameter = openapi_resolve(document, elements[j].value);
			if (openapi_is_object(parameter))
				parameters = lappend(parameters, parameter);
		}
	}
	return parameters;
}

OpenapiNode
openapi_parameter(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared,
				  const char *in, const char *name)
{
	ListCell   *cell;

	foreach(cell, openapi_parameters(document, operation, shared))
	{
		OpenapiNode *parameter = lfirst(cell);
		char	   *its_in = openapi_text(parameter, "in");
		char	   *its_name = openapi_text(parameter, "name");

		if (its_in != NULL && its_name != NULL && strcmp(its_in, in) == 0 && strcmp(its_name, name) == 0)
			return *parameter;
	}
	return (OpenapiNode) {.type = jbvNull};
}

OpenapiNode
openapi_parameter_schema(OpenapiDocument *document, const OpenapiNode *parameter)
{
	return document->swagger ? *parameter : openapi_get(parameter, "schema");
}

char *
openapi_parameter_constant(OpenapiDocument *document, const OpenapiNode *parameter, bool required)
{
	OpenapiNode schema = openapi_parameter_schema(document, parameter);
	OpenapiNode value;
	OpenapiType type;

	char	   *name = openapi_text(parameter, "name");

	if (!required)
		return NULL;
	/* Microsoft's documents are each of one version, which every call names */
	if (name != NULL && strcmp(name, "api-version") == 0)
	{
		OpenapiNode info = openapi_get(&document->root, "info");

		value = openapi_get(&info, "version");
		if (openapi_scalar(&value) != NULL)
			return openapi_scalar(&value);
	}
	schema = openapi_resolve(document, schema);
	value = openapi_get(&schema, "default");
	if (openapi_scalar(&value) != NULL)
		return openapi_scalar(&value);
	openapi_type(document, &schema, &type);
	return list_length(type.values) == 1 ? linitial(type.values) : NULL;
}

static bool
write_begins(const char *text, const char *const *words)
{
	size_t		n = strcspn(text, "_ -./");

	/* getContacts, get_contacts, Get contacts */
	for (; *words != NULL; words++)
	{
		size_t		length = strlen(*words);

		if (pg_strncasecmp(text, *words, length) == 0 &&
			(n == length || (n > length && text[length] >= 'A' && text[length] <= 'Z')))
			return true;
	}
	return false;
}

/* POST is also how much is asked for that fits into no URL. */
bool
openapi_only_looks(const OpenapiNode *operation, const char *about)
{
	static const char *const verbs[] = {"get", "list", "search", "find", "fetch", "retrieve", "query", "lookup", "count", "describe", NULL};
	static const char *const ends[] = {"search", "query", "find", "lookup", "filter", "list", "count", "get", "read", "fetch", NULL};
	char	   *last = openapi_identifier(openapi_path_last(about));
	char	   *word = strrchr(last, '_');
	char	   *id = openapi_text(operation, "operationId");
	char	   *summary = openapi_text(operation, "summary");

	return openapi_one_of(word ? word + 1 : last, ends) || (id != NULL && write_begins(id, verbs)) ||
		(summary != NULL && write_begins(summary, verbs));
}

/* Does it say that it makes what is not there, and changes what is? */
bool
openapi_makes_or_changes(const OpenapiNode *operation, const char *about)
{
	static const char *const words[] = {
		"upsert", "createorupdate", "createorreplace", "createormodify", "addorupdate", "updateorcreate", "insertorupdate", "createupdate", "createorset", NULL
	};
	const char *texts[] = {openapi_text(operation, "operationId"), openapi_text(operation, "summary"), openapi_path_last(about)};

	for (int i = 0; i < lengthof(texts); i++)
	{
		char	   *plain = texts[i] ? openapi_plain(texts[i]) : NULL;

		for (int j = 0; plain != NULL && words[j] != NULL; j++)
		{
			if (strstr(plain, words[j]) != NULL)
				return true;
		}
	}
	return false;
}

static void
write_unusable(OpenapiObject *object, const OpenapiOperation *operation, const char *why)
{
	object->unusable = lappend(lappend(object->unusable, unconstify(char *, operation->name)),
							   psprintf("%s %s: %s", operation->method, operation->from->path, why));
}

static void
write_columns(OpenapiObject *object, OpenapiOperation *operation)
{
	bool		makes = strcmp(operation->name, "insert") == 0 || strcmp(operation->name, "upsert") == 0;

	for (int i = 0; i < operation->body.fields.n; i++)
	{
		OpenapiField *field = &operation->body.fields.fields[i];
		OpenapiColumn *column = openapi_column(object, field);

		if (column == NULL || field->type.readonly)
			continue;
		if (column->written)
			openapi_type_unite(&column->type, &field->type);
		column->written = true;
		column->type.readonly = false;
		if (makes && field->required)
			column->required = true;
		else if (makes)
			column->optional = true;
		operation->columns = lappend(operation->columns, column);
	}
}

void
openapi_write(OpenapiDocument *document, OpenapiObject *object, const OpenapiPath *path, const char *method, const char *name)
{
	OpenapiOperation *operation = &object->operations[object->noperations];
	OpenapiNode node = openapi_get(&path->node, asc_tolower(method, strlen(method)));

	if (!openapi_is_object(&node) || object->noperations >= OPENAPI_OPERATIONS)
		return;
	for (int i = 0; i < object->noperations; i++)
	{
		if (strcmp(object->operations[i].name, name) == 0)
			return;
	}
	memset(operation, 0, sizeof(OpenapiOperation));
	operation->name = name;
	operation->method = method;
	if (strcmp(name, "delete") == 0)
		operation->body.none = true;
	else
		openapi_body(document, &node, &path->node, object->about, &operation->body);
	if (operation->body.none && strcmp(method, "PUT") != 0 && strcmp(method, "DELETE") != 0)
		operation->body.unusable = "it declares no body";
	/* a call of many rows has one path */
	if (operation->body.batch > 0 && openapi_path_parameters(path->path) != NIL)
	{
		if (operation->body.envelope != NULL)
			operation->body.envelope = psprintf("%s.0", operation->body.envelope);
		else
			operation->body.unusable = "its body is an array of rows, and its path names values of one";
		operation->body.batch = 0;
	}
	operation->from = path;
	if (operation->body.unusable != NULL)
	{
		write_unusable(object, operation, operation->body.unusable);
		return;
	}
	operation->idempotent = openapi_parameter(document, &node, &path->node, "header", "Idempotency-Key").type != jbvNull;
	write_columns(object, operation);
	openapi_answer(document, &node, operation);
	object->noperations++;
}

static char *
write_doubled(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	for (; *text != '\0'; text++)
	{
		if (*text == '{' || *text == '}')
			appendStringInfoChar(&out, *text);
		appendStringInfoChar(&out, *text);
	}
	return out.data;
}

/* A required parameter of the query: a constant, or a column that is nothing else. */
static bool
write_query(OpenapiDocument *document, OpenapiObject *object, OpenapiOperation *operation, const OpenapiNode *parameter,
			const char *name)
{
	char	   *value = openapi_parameter_constant(document, parameter, true);
	OpenapiColumn *column;

	if (connector_query_is_secret(name))
		return true;
	if (value != NULL)
		value = write_doubled(value);
	else if (operation->body.batch > 0)
		return false;
	else
	{
		column = openapi_column_of_parameter(document, object, name, parameter, false);
		if (column == NULL || (strcmp(operation->name, "delete") == 0 && !list_member_ptr(object->key, column)))
			return false;
		value = psprintf("{%s}", column->name);
	}
	operation->query = lappend(lappend(operation->query, unconstify(char *, name)), value);
	return true;
}

/* Headers that every call needs and the document has a value for go into the definition. */
static void
write_header(OpenapiDocument *document, const OpenapiNode *parameter, const char *name)
{
	static const char *const ours[] = {"accept", "contenttype", "idempotencykey", "contentlength", "host", "useragent", "contentencoding", "acceptencoding", NULL};
	char	   *value;
	MemoryContext old;

	if (connector_header_is_secret(name) || openapi_one_of(openapi_plain(name), ours))
		return;
	for (int i = 0; i < list_length(document->headers); i += 2)
	{
		if (pg_strcasecmp(list_nth(document->headers, i), name) == 0)
			return;
	}
	value = openapi_parameter_constant(document, parameter, true);
	old = MemoryContextSwitchTo(document->context);
	document->headers = lappend(lappend(document->headers, pstrdup(name)), value ? write_doubled(value) : NULL);
	MemoryContextSwitchTo(old);
}

bool
openapi_write_place(OpenapiDocument *document, OpenapiObject *object, OpenapiOperation *operation)
{
	const OpenapiPath *path = operation->from;
	char	   *member = asc_tolower(operation->method, strlen(operation->method));
	OpenapiNode node = openapi_get(&path->node, member);
	ListCell   *cell;

	/* the key's columns, whatever has become a column since */
	operation->path = path == object->item ? object->item_path : openapi_object_path(document, object, path, NULL);
	if (operation->path == NULL)
		return false;
	foreach(cell, openapi_parameters(document, &node, &path->node))
	{
		OpenapiNode *parameter = lfirst(cell);
		char	   *in = openapi_text(parameter, "in");
		char	   *name = openapi_text(parameter, "name");

		if (in == NULL || name == NULL || *name == '\0' || !openapi_true(parameter, "required"))
			continue;
		if (strcmp(in, "header") == 0)
			write_header(document, parameter, name);
		else if (strcmp(in, "query") == 0 && !write_query(document, object, operation, parameter, name))
		{
			write_unusable(object, operation, psprintf("its query requires \"%s\"", name));
			return false;
		}
	}
	return true;
}
