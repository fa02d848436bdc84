/*
 * answer.c
 *	  What an operation answers: its schema, and what is read of it.
 */
#include "postgres.h"

#include "openapi/openapi.h"

OpenapiNode
openapi_answer_schema(OpenapiDocument *document, const OpenapiNode *operation, OpenapiNode *response)
{
	static const char *const statuses[] = {"200", "201", "202", "2XX", "2xx", "203", "207", "default"};
	OpenapiNode responses = openapi_get(operation, "responses");

	for (int i = 0; i < lengthof(statuses); i++)
	{
		OpenapiNode schema;

		*response = openapi_resolve(document, openapi_get(&responses, statuses[i]));
		schema = openapi_json_schema(document, response);
		if (schema.type != jbvNull)
			return schema;
	}
	*response = (OpenapiNode) {.type = jbvNull};
	return *response;
}

/* Where the id of a record that was made stands. */
static const char *
answer_id(OpenapiDocument *document, const OpenapiFields *fields, const char *within)
{
	static const char *const ids[] = {"id", "gid", "uuid", "guid", "sid", NULL};

	for (int i = 0; ids[i] != NULL; i++)
	{
		OpenapiField *field = openapi_field(fields, ids[i]);

		if (field != NULL && (field->type.kind == OPENAPI_STRING || field->type.kind == OPENAPI_INTEGER ||
							  field->type.kind == OPENAPI_NUMBER))
			return within ? psprintf("%s.%s", within, ids[i]) : ids[i];
	}
	if (within != NULL)
		return NULL;
	for (int i = 0; i < fields->n; i++)
	{
		OpenapiField *field = &fields->fields[i];
		OpenapiFields inner;

		/* in an object that is the only one, or that is called data */
		if (field->type.kind != OPENAPI_OBJECT || (fields->n > 1 && strcmp(field->name, "data") != 0))
			continue;
		openapi_fields(document, &field->schema, &inner);
		return answer_id(document, &inner, openapi_step(field->name));
	}
	return NULL;
}

void
openapi_answer(OpenapiDocument *document, const OpenapiNode *operation, OpenapiOperation *write)
{
	static const char *const oks[] = {"ok", "success", NULL};
	OpenapiNode response;
	OpenapiNode schema = openapi_answer_schema(document, operation, &response);
	OpenapiFields fields;

	if (schema.type == jbvNull)
		return;
	openapi_fields(document, &schema, &fields);
	if (write->body.batch == 0 && strcmp(write->name, "delete") != 0)
		write->id = answer_id(document, &fields, NULL);
	for (int i = 0; oks[i] != NULL && write->ok == NULL; i++)
	{
		OpenapiField *field = openapi_field(&fields, oks[i]);
		OpenapiField *error = openapi_field(&fields, "error");

		if (field == NULL || field->type.kind != OPENAPI_BOOLEAN)
			continue;
		write->ok = oks[i];
		write->error = error != NULL && error->type.kind == OPENAPI_STRING ? "error" : NULL;
	}
}
