/*
 * object.c
 *	  One object of an API: which operation is which of ours, and what
 *	  identifies a row.
 */
#include "postgres.h"

#include "openapi/openapi.h"

/* Schemas and members that are looked at for one object; vendors' largest need some tens of thousands. */
#define OBJECT_WORK	100000

static OpenapiNode
object_operation(const OpenapiPath *path, const char *method)
{
	OpenapiNode node = {.type = jbvNull};

	if (path != NULL)
		node = openapi_get(&path->node, method);
	return openapi_is_object(&node) ? node : (OpenapiNode) {.type = jbvNull};
}

static bool
object_has(const OpenapiObject *object, const char *name)
{
	for (int i = 0; i < object->noperations; i++)
	{
		if (strcmp(object->operations[i].name, name) == 0)
			return true;
	}
	return false;
}

/* What is said to the path of all. */
static void
object_list_operations(OpenapiDocument *document, OpenapiObject *object)
{
	const OpenapiPath *list = object->list;
	OpenapiNode post = object_operation(list, "post");
	OpenapiNode put = object_operation(list, "put");

	if (post.type != jbvNull && !openapi_only_looks(&post, list->about))
		openapi_write(document, object, list, "POST", openapi_makes_or_changes(&post, list->about) ? "upsert" : "insert");
	/* PUT is the whole, unless it is for one of those that POST makes */
	if (put.type != jbvNull)
		openapi_write(document, object, list, "PUT",
					  object_has(object, "insert") && !openapi_makes_or_changes(&put, list->about) ? "update" : "upsert");
}

/* What is said to the path of one. */
static void
object_item_operations(OpenapiDocument *document, OpenapiObject *object)
{
	const OpenapiPath *item = object->item;
	OpenapiNode put = object_operation(item, "put");
	OpenapiNode post = object_operation(item, "post");
	bool		others = object->list != NULL || object_operation(item, "get").type != jbvNull ||
		object_operation(item, "delete").type != jbvNull;

	openapi_write(document, object, item, "PATCH", "update");
	if (put.type != jbvNull)
	{
		if (openapi_makes_or_changes(&put, item->about) ||
			(object_operation(object->list, "post").type == jbvNull && post.type == jbvNull))
			openapi_write(document, object, item, "PUT", "upsert");
		openapi_write(document, object, item, "PUT", "update");
	}
	if (post.type != jbvNull && !openapi_only_looks(&post, item->about))
		openapi_write(document, object, item, "POST", others ? "update" : "insert");
}

char *
openapi_object_path(OpenapiDocument *document, OpenapiObject *object, const OpenapiPath *path, List **columns)
{
	StringInfoData out;
	List	   *names = openapi_path_parameters(path->path);
	OpenapiNode operation = object_operation(path, "get");
	int			n = 0;

	initStringInfo(&out);
	for (const char *p = path->path; *p != '\0'; p++)
	{
		const char *end = *p == '{' ? strchr(p, '}') : NULL;

		if (end != NULL && end > p + 1)
		{
			char	   *name = list_nth(names, n++);
			OpenapiNode parameter = openapi_parameter(document, &operation, &path->node, "path", name);
			OpenapiColumn *column = openapi_column_of_parameter(document, object, name, &parameter,
																path->item && n == list_length(names));

			if (column == NULL)
				return NULL;
			if (columns != NULL)
				*columns = list_append_unique_ptr(*columns, column);
			appendStringInfo(&out, "{%s}", column->name);
			p = end;
		}
		else if (*p == '{' || *p == '}')
			appendStringInfo(&out, "%c%c", *p, *p);
		else if ((unsigned char) *p <= ' ' || *p == 0x7f || *p == '\\')
			appendStringInfo(&out, "%%%02X", (unsigned char) *p);
		else
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}

/* The values that the path of one names; else "id", or the only one that must be there to make or change. */
static void
object_key(OpenapiDocument *document, OpenapiObject *object)
{
	OpenapiColumn *only = NULL;
	int			n = 0;

	if (object->item != NULL)
	{
		object->item_path = openapi_object_path(document, object, object->item, &object->key);
		return;
	}
	for (int i = 0; i < object->ncolumns; i++)
	{
		OpenapiColumn *column = object->columns[i];

		if (strcmp(column->field, "id") == 0 && column->type.kind != OPENAPI_OBJECT && column->type.kind != OPENAPI_ARRAY)
		{
			object->key = list_make1(column);
			return;
		}
		if (column->required && (column->type.kind == OPENAPI_STRING || column->type.kind == OPENAPI_INTEGER))
		{
			only = column;
			n++;
		}
	}
	if (n == 1 && object_has(object, "upsert"))
		object->key = list_make1(only);
}

static void
object_note_gaps(OpenapiDocument *document, OpenapiObject *object)
{
	const char *at = psprintf("objects.%s", object->name);

	for (int i = 0; i < list_length(object->unusable); i += 2)
		openapi_gap(document, psprintf("%s.write.%s", at, (char *) list_nth(object->unusable, i)), NULL,
					"an operation that was left out: %s", (char *) list_nth(object->unusable, i + 1));
	for (int i = 0; i < object->noperations; i++)
	{
		const OpenapiOperation *operation = &object->operations[i];

		if (operation->body.guessed && operation->body.batch > 0)
		{
			OpenapiGap *gap = openapi_gap(document, psprintf("%s.write.%s.batch", at, operation->name), "{\"batch\": 500}",
										  "how many rows a call may hold");

			if (gap != NULL)
				gap->assumed = MemoryContextStrdup(document->context, psprintf("%d", operation->body.batch));
		}
		if (operation->body.beside != NIL)
			openapi_gap(document, psprintf("%s.write.%s.fixed", at, operation->name),
						psprintf("{\"fixed\": {\"%s\": \"...\"}}", openapi_identifier(linitial(operation->body.beside))),
						"what stands beside the rows, if anything: the body has \"%s\"", (char *) linitial(operation->body.beside));
	}
}

bool
openapi_object(OpenapiDocument *document, OpenapiObject *object)
{
	int			given = Min(OBJECT_WORK, document->left);
	int			kept = 0;

	document->work = given;
	object_list_operations(document, object);
	if (object->item != NULL)
		object_item_operations(document, object);
	if (object->list != NULL)
		openapi_write(document, object, object->list, "PATCH", "update");
	openapi_read(document, object);
	if (object->item != NULL && (object->noperations > 0 || object->read.possible))
		openapi_write(document, object, object->item, "DELETE", "delete");
	object_key(document, object);
	for (int i = 0; i < object->noperations; i++)
	{
		if (openapi_write_place(document, object, &object->operations[i]))
			object->operations[kept++] = object->operations[i];
	}
	object->noperations = kept;
	openapi_read_place(document, object);
	document->left -= given - Max(document->work, 0);
	if (document->work <= 0)
		openapi_gap(document, psprintf("objects.%s.columns.*", object->name), NULL,
					"the whole schema: it is too large, and what is deep in it was left out");
	object_note_gaps(document, object);
	return object->ncolumns > 0 && (object->noperations > 0 || object->read.possible);
}
