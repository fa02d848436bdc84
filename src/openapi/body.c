/*
 * body.c
 *	  The body of a request: in what format, and where in it rows stand.
 *
 * Rows are alone ({"email": …}), in an object of their own ({"contact": {…}}),
 * or many in an array, by itself or beside other members.
 */
#include "postgres.h"

#include "openapi/openapi.h"

/* Rows of a call where the document does not say how many it may hold. */
#define BODY_BATCH	100
#define BODY_MAX_BATCH	10000

/* How good a format is for us: 0 is best, -1 of no use. */
static int
body_rank(const char *media)
{
	char	   *type = pnstrdup(media, strcspn(media, "; "));

	if (pg_strcasecmp(type, "application/json") == 0)
		return 0;
	/* lists of changes, or of lines, are no objects */
	if (strstr(type, "json-patch") || strstr(type, "ndjson") || strstr(type, "jsonl") || strstr(type, "json-seq"))
		return -1;
	if (strstr(type, "json") != NULL)
		return 1;
	if (strcmp(type, "*/*") == 0 || strcmp(type, "application/*") == 0)
		return 2;
	if (pg_strcasecmp(type, "application/x-www-form-urlencoded") == 0)
		return 3;
	if (pg_strcasecmp(type, "multipart/form-data") == 0)
		return 4;
	return -1;
}

static void
body_set_media(OpenapiBody *body, const char *media, int rank)
{
	if (rank == 3)
		body->format = "form";
	else if (rank == 4)
		body->format = "multipart";
	else if (rank == 1 && strchr(media, '/') != NULL)
		body->content_type = pstrdup(media);
}

/* The best media type of "content"; its schema. */
static OpenapiNode
body_of_content(OpenapiDocument *document, const OpenapiNode *content, OpenapiBody *body)
{
	int			n;
	DefinitionMember *media = openapi_members(document, content, &n);
	OpenapiNode schema = {.type = jbvNull};
	int			best = -1;
	int			rank = -1;

	for (int i = 0; i < n; i++)
	{
		int			this = body_rank(media[i].name);

		if (this >= 0 && (best < 0 || this < rank))
		{
			best = i;
			rank = this;
		}
	}
	if (best < 0)
	{
		body->unusable = n > 0 ? psprintf("its body is %s", media[0].name) : "its body has no format";
		return schema;
	}
	body_set_media(body, media[best].name, rank);
	schema = openapi_get(&media[best].value, "schema");
	if (schema.type == jbvNull)
		schema = media[best].value;		/* perhaps there is an example */
	return schema;
}

/* Swagger: what an operation, or the whole document, says to consume. */
static void
body_of_consumes(OpenapiDocument *document, const OpenapiNode *operation, bool form, OpenapiBody *body)
{
	OpenapiNode consumes = openapi_get(operation, "consumes");
	int			n;
	DefinitionMember *media;
	int			best = -1;

	if (!openapi_is_array(&consumes))
		consumes = openapi_get(&document->root, "consumes");
	media = openapi_members(document, &consumes, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name = openapi_scalar(&media[i].value);
		int			rank = name ? body_rank(name) : -1;

		if (rank < 0 || (form && rank < 3) || (best >= 0 && rank >= best))
			continue;
		best = rank;
		body->format = body->content_type = NULL;
		body_set_media(body, name, rank);
	}
	if (form && best < 0)
		body->format = "form";
	else if (!form && n > 0 && best < 0)
		body->unusable = "its body is no JSON";
}

/* Swagger: the parameters in "body", or each of those in "formData". */
static OpenapiNode
body_of_parameters(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared, OpenapiBody *body)
{
	OpenapiNode schema = {.type = jbvNull};
	ListCell   *cell;

	foreach(cell, openapi_parameters(document, operation, shared))
	{
		OpenapiNode *parameter = lfirst(cell);
		char	   *in = openapi_text(parameter, "in");
		char	   *name = openapi_text(parameter, "name");
		OpenapiField *field;

		if (in != NULL && strcmp(in, "body") == 0)
		{
			schema = openapi_get(parameter, "schema");
			body_of_consumes(document, operation, false, body);
			return schema;
		}
		if (in == NULL || name == NULL || *name == '\0' || strcmp(in, "formData") != 0 ||
			(field = openapi_add_field(&body->fields, name)) == NULL)
			continue;
		openapi_type(document, parameter, &field->type);
		field->schema = *parameter;
		field->required = openapi_true(parameter, "required");
		if (body->fields.n == 1)
			body_of_consumes(document, operation, true, body);
		if (field->type.binary)
			body->format = "multipart";
	}
	return schema;
}

/* A file is no value of a row. */
static void
body_drop_files(OpenapiBody *body)
{
	int			kept = 0;

	for (int i = 0; i < body->fields.n; i++)
	{
		OpenapiField *field = &body->fields.fields[i];

		if (field->type.binary && field->required)
			body->unusable = psprintf("its member \"%s\" is a file", field->name);
		if (!field->type.binary)
			body->fields.fields[kept++] = *field;
	}
	body->fields.n = kept;
}

static void
body_set_batch(OpenapiBody *body, int max_items)
{
	body->batch = max_items > 0 ? Min(max_items, BODY_MAX_BATCH) : BODY_BATCH;
	body->guessed = max_items == 0;
}

/* Is a member called so likely to hold the rows? */
static bool
body_is_rows_name(const char *name, const char *about)
{
	static const char *const usual[] = {
		"inputs", "records", "data", "items", "objects", "entities", "rows", "batch", "elements", "values", "input", "resources", "documents", NULL
	};
	char	   *plain = openapi_plain(name);
	char	   *last = openapi_plain(openapi_path_last(about));
	size_t		n = strlen(plain);

	if (openapi_one_of(plain, usual) || strcmp(plain, last) == 0)
		return true;
	/* contact of contacts, company of companies */
	return n > 2 && strncmp(plain, last, n - 1) == 0 && strlen(last) <= n + 2;
}

/* May all members but one be left out, or do they say always the same? */
static bool
body_is_alone(const OpenapiFields *fields, const OpenapiField *rows)
{
	for (int i = 0; i < fields->n; i++)
	{
		const OpenapiField *field = &fields->fields[i];

		if (field != rows && field->required && !field->type.readonly &&
			!(list_length(field->type.values) == 1 && field->type.kind == OPENAPI_STRING))
			return false;
	}
	return true;
}

static int
body_count(const OpenapiFields *fields)
{
	int			n = 0;

	for (int i = 0; i < fields->n; i++)
		n += !fields->fields[i].type.readonly;
	return n;
}

/* The member that holds the row, or the rows; NULL: the body is the row. */
static OpenapiField *
body_rows(OpenapiDocument *document, const OpenapiBody *body, const char *about, OpenapiFields *inner)
{
	bool		only = body_count(&body->fields) == 1;

	for (int i = 0; i < body->fields.n; i++)
	{
		OpenapiField *field = &body->fields.fields[i];
		bool		array = field->type.kind == OPENAPI_ARRAY;

		if (field->type.readonly || (field->type.kind != OPENAPI_OBJECT && field->type.kind != OPENAPI_ANY && !array) ||
			!(only || (field->required && body_is_rows_name(field->name, about))) || !body_is_alone(&body->fields, field))
			continue;
		/* a form of many rows is understood by few */
		if (array && body->format != NULL)
			continue;
		openapi_fields(document, array ? &field->type.items : &field->schema, inner);
		if (inner->n > 0)
			return field;
	}
	return NULL;
}

static void
body_unwrap(OpenapiDocument *document, const char *about, OpenapiBody *body)
{
	OpenapiFields inner;
	OpenapiField *rows = body_rows(document, body, about, &inner);

	if (rows == NULL)
		return;
	body->envelope = openapi_step(rows->name);
	if (rows->type.kind == OPENAPI_ARRAY && rows->type.max_items == 1)
		body->envelope = psprintf("%s.0", body->envelope);
	else if (rows->type.kind == OPENAPI_ARRAY)
		body_set_batch(body, rows->type.max_items);
	for (int i = 0; i < body->fields.n; i++)
	{
		OpenapiField *field = &body->fields.fields[i];

		if (field == rows || field->type.readonly)
			continue;
		if (field->required)
		{
			body->fixed = lappend(body->fixed, openapi_step(field->name));
			body->fixed = lappend(body->fixed, linitial(field->type.values));
		}
		else
			body->beside = lappend(body->beside, unconstify(char *, field->name));
	}
	body->fields = inner;
}

static void
body_of_schema(OpenapiDocument *document, const OpenapiNode *schema, const char *about, OpenapiBody *body)
{
	OpenapiType type;

	openapi_type(document, schema, &type);
	if (type.kind == OPENAPI_ARRAY)
	{
		openapi_fields(document, &type.items, &body->fields);
		if (body->format != NULL)
			body->unusable = "its body is a form of many rows";
		else if (type.max_items == 1)
			body->unusable = "its body is an array of one";
		body_set_batch(body, type.max_items);
		return;
	}
	if (type.binary || (type.kind != OPENAPI_OBJECT && type.kind != OPENAPI_ANY))
	{
		body->unusable = "its body is no object";
		return;
	}
	openapi_fields(document, schema, &body->fields);
	body_unwrap(document, about, body);
}

void
openapi_body(OpenapiDocument *document, const OpenapiNode *operation, const OpenapiNode *shared,
			 const char *about, OpenapiBody *body)
{
	OpenapiNode request = openapi_get(operation, "requestBody");
	OpenapiNode content;
	OpenapiNode schema = {.type = jbvNull};

	memset(body, 0, sizeof(OpenapiBody));
	if (document->swagger)
		schema = body_of_parameters(document, operation, shared, body);
	else if (request.type != jbvNull)
	{
		request = openapi_resolve(document, request);
		content = openapi_get(&request, "content");
		schema = body_of_content(document, &content, body);
	}
	if (schema.type != jbvNull && body->unusable == NULL)
		body_of_schema(document, &schema, about, body);
	body->none = schema.type == jbvNull && body->fields.n == 0 && body->unusable == NULL;
	body_drop_files(body);
	body->attributes = openapi_attributes(document, &body->fields, &body->type);
	if (!body->none && body->fields.n == 0 && body->unusable == NULL)
		body->unusable = "its body names no members";
}

OpenapiNode
openapi_json_schema(OpenapiDocument *document, const OpenapiNode *from)
{
	OpenapiNode content = openapi_get(from, "content");
	DefinitionMember *media;
	int			n;
	int			best = -1;

	if (document->swagger)
		return openapi_get(from, "schema");
	media = openapi_members(document, &content, &n);
	for (int i = 0; i < n; i++)
	{
		int			rank = body_rank(media[i].name);

		if (rank >= 0 && rank < 3 && (best < 0 || rank < body_rank(media[best].name)))
			best = i;
	}
	return best < 0 ? (OpenapiNode) {.type = jbvNull} : openapi_get(&media[best].value, "schema");
}
