/*
 * read.c
 *	  How all records of an object are read: the list in the answer, and how the
 *	  next page is asked for, as far as names tell.
 */
#include "postgres.h"

#include "openapi/openapi.h"

/* What stands in the answer beside the records: at what path a member of what (plain) name. */
typedef struct ReadHint
{
	const char *path;
	const char *plain;
	OpenapiKind kind;
	bool		url;			/* said to be one, by format or example */
} ReadHint;

#define READ_HINTS	300
/* Parameters of one object that are told of as perhaps conditions. */
#define READ_OFFERS	20

typedef struct ReadHints
{
	int			n;
	ReadHint	hints[READ_HINTS];
} ReadHints;

static char *
read_within(const char *at, const char *name)
{
	return at ? psprintf("%s.%s", at, openapi_step(name)) : openapi_step(name);
}

static bool
read_is_url(OpenapiDocument *document, const OpenapiNode *node)
{
	OpenapiNode schema = openapi_resolve(document, *node);
	char	   *format = openapi_text(&schema, "format");
	char	   *example = openapi_text(&schema, "example");

	return (format != NULL && (strcmp(format, "uri") == 0 || strcmp(format, "url") == 0)) ||
		(example != NULL && (strncmp(example, "http", 4) == 0 || *example == '/' || *example == '?'));
}

static void
read_collect(OpenapiDocument *document, const OpenapiFields *fields, const char *at, int depth, ReadHints *hints)
{
	for (int i = 0; i < fields->n && hints->n < READ_HINTS; i++)
	{
		OpenapiField *field = &fields->fields[i];
		ReadHint   *hint = &hints->hints[hints->n++];
		OpenapiFields inner;

		hint->path = read_within(at, field->name);
		hint->plain = openapi_plain(hint->path);
		hint->kind = field->type.kind;
		hint->url = read_is_url(document, &field->schema);
		if (depth >= 2 || (field->type.kind != OPENAPI_OBJECT && field->type.kind != OPENAPI_ANY))
			continue;
		openapi_fields(document, &field->schema, &inner);
		read_collect(document, &inner, hint->path, depth + 1, hints);
	}
}

/* Which of the arrays of objects are the records; NULL: none, or it cannot be told. */
static const OpenapiField *
read_list(OpenapiDocument *document, const OpenapiFields *fields, const char *last, OpenapiFields *inner)
{
	static const char *const usual[] = {
		"data", "items", "results", "records", "value", "values", "entries", "list", "objects", "elements", "rows", "content", "resources", "result", "hits", "collection", NULL
	};
	const OpenapiField *best = NULL;
	bool		sure = false;
	char	   *plain = openapi_plain(last);

	for (int i = 0; i < fields->n; i++)
	{
		const OpenapiField *field = &fields->fields[i];
		char	   *name;

		if (field->type.kind != OPENAPI_ARRAY)
			continue;
		name = openapi_plain(field->name);
		if (strcmp(name, plain) == 0 || (!sure && openapi_one_of(name, usual)))
		{
			best = field;
			sure = true;
		}
		else if (!sure)
			best = best == NULL ? field : NULL;
		if (best == NULL)
			break;
	}
	if (best != NULL)
		openapi_fields(document, &best->type.items, inner);
	return best != NULL && inner->n > 0 ? best : NULL;
}

/* The records, at the top, or one object deeper.  The path, NULL: there are none. */
static const char *
read_records(OpenapiDocument *document, const OpenapiNode *schema, const char *last, OpenapiFields *fields,
			 OpenapiFields *rows)
{
	static const char *const wrappers[] = {"data", "_embedded", "response", "result", "results", "d", "body", "payload", NULL};
	OpenapiType type;
	const OpenapiField *list;

	openapi_type(document, schema, &type);
	memset(fields, 0, sizeof(OpenapiFields));
	if (type.kind == OPENAPI_ARRAY)
	{
		openapi_fields(document, &type.items, rows);
		return rows->n > 0 ? "" : NULL;
	}
	openapi_fields(document, schema, fields);
	if ((list = read_list(document, fields, last, rows)) != NULL)
		return openapi_step(list->name);
	for (int i = 0; wrappers[i] != NULL; i++)
	{
		OpenapiField *wrapper = openapi_field(fields, wrappers[i]);
		OpenapiFields inner;

		if (wrapper == NULL || wrapper->type.kind == OPENAPI_ARRAY)
			continue;
		openapi_fields(document, &wrapper->schema, &inner);
		if ((list = read_list(document, &inner, last, rows)) != NULL)
			return read_within(openapi_step(wrapper->name), list->name);
	}
	return NULL;
}

/* The parameter of the query that has one of these (plain) names. */
static OpenapiNode
read_parameter(List *parameters, const char *const *names, const char **name)
{
	OpenapiNode none = {.type = jbvNull};

	for (int i = 0; names[i] != NULL; i++)
	{
		ListCell   *cell;

		foreach(cell, parameters)
		{
			OpenapiNode *parameter = lfirst(cell);
			char	   *in = openapi_text(parameter, "in");
			char	   *its = openapi_text(parameter, "name");

			if (in == NULL || its == NULL || strcmp(in, "query") != 0 || strcmp(openapi_plain(its), names[i]) != 0)
				continue;
			*name = its;
			return *parameter;
		}
	}
	return none;
}

static const char *
read_hint(const ReadHints *hints, const char *const *ends)
{
	for (int j = 0; ends[j] != NULL; j++)
	{
		size_t		n = strlen(ends[j]);

		for (int i = 0; i < hints->n; i++)
		{
			size_t		length = strlen(hints->hints[i].plain);

			if (hints->hints[i].kind != OPENAPI_ARRAY && hints->hints[i].kind != OPENAPI_OBJECT &&
				hints->hints[i].kind != OPENAPI_BOOLEAN &&
				length >= n && strcmp(hints->hints[i].plain + length - n, ends[j]) == 0)
				return hints->hints[i].path;
		}
	}
	return NULL;
}

static void
read_page_size(OpenapiDocument *document, List *parameters, OpenapiRead *read)
{
	static const char *const names[] = {
		"limit", "perpage", "pagesize", "size", "pagelimit", "count", "top", "maxresults", "maxitems", "resultsperpage", "itemsperpage", "numresults", "rows",
		"first", "max", "take", "maxpagesize", "maxkeys", NULL
	};
	OpenapiNode parameter = read_parameter(parameters, names, &read->size_param);
	OpenapiNode schema;

	if (parameter.type == jbvNull)
		return;
	schema = openapi_resolve(document, openapi_parameter_schema(document, &parameter));
	read->size = openapi_int(&schema, "maximum");
	if (read->size == 0 || read->size > 1000)
		read->size = Max(openapi_int(&schema, "default"), read->size > 1000 ? 1000 : 0);
	if (read->size > 1000)
		read->size = 1000;
	/* without a size its name says nothing */
	if (read->size == 0)
		read->size_param = NULL;
}

/* The number of the first page, where the document says it. */
static int
read_first(OpenapiDocument *document, const OpenapiNode *parameter)
{
	OpenapiNode schema = openapi_resolve(document, openapi_parameter_schema(document, parameter));
	static const char *const members[] = {"default", "minimum", NULL};

	for (int i = 0; members[i] != NULL; i++)
	{
		OpenapiNode value = openapi_get(&schema, members[i]);
		char	   *text = openapi_scalar(&value);

		if (text != NULL && (strcmp(text, "0") == 0 || strcmp(text, "1") == 0))
			return *text - '0';
	}
	return -1;
}

static bool
read_page_token(List *parameters, const ReadHints *hints, const char *records, const OpenapiFields *rows, OpenapiRead *read)
{
	static const char *const names[] = {
		"cursor", "pagecursor", "nextcursor", "startingafter", "after", "pageafter", "pagetoken", "nextpagetoken", "nexttoken", "continuationtoken", "continuation",
		"startafter", "bookmark", "marker", "scrollid", "token", "startkey", "exclusivestartkey", "pagekey", NULL
	};
	static const char *const ends[] = {
		"nextcursor", "cursorsnext", "cursorsafter", "nextpagetoken", "nexttoken", "nextstartingafter", "pagesnextstartingafter", "nextafter", "pagingnextafter", "endcursor", "continuationtoken",
		"continuation", "nextpagecursor", "nextmarker", "scrollid", "bookmark", "lastevaluatedkey", "nextpagekey", "pagenext", "cursor", NULL
	};
	OpenapiNode parameter = read_parameter(parameters, names, &read->param);
	static const char *const more[] = {"hasmore", NULL};
	static const char *const next[] = {"next", "pagingnext", "paginationnext", "pagesnext", "metanext", "metapagingnext", "metapaginationnext", NULL};

	if (parameter.type == jbvNull)
		return false;
	read->next = read_hint(hints, ends);
	if (read->next != NULL)
	{
		read->style = "cursor";
		return true;
	}
	/* where there is a parameter for it, what is just called the next is that, unless it is a URL */
	for (int i = 0; i < hints->n; i++)
	{
		if (hints->hints[i].kind == OPENAPI_STRING && !hints->hints[i].url && openapi_one_of(hints->hints[i].plain, next))
		{
			read->style = "cursor";
			read->next = hints->hints[i].path;
			return true;
		}
	}
	/* the id of the last record stands for what comes after it */
	for (int i = 0; i < hints->n; i++)
	{
		if (strcmp(openapi_plain(read->param), "startingafter") == 0 && openapi_one_of(hints->hints[i].plain, more) &&
			openapi_field(rows, "id") != NULL)
		{
			read->style = "cursor";
			read->next = *records ? psprintf("%s.-1.id", records) : "-1.id";
			return true;
		}
	}
	return false;
}

static void
read_paging(OpenapiDocument *document, List *parameters, const OpenapiNode *response, const ReadHints *hints,
			const OpenapiFields *rows, OpenapiRead *read)
{
	static const char *const urls[] = {
		"nextlink", "nexturl", "nextpageurl", "nextpageuri", "nexturi", "linksnext", "linksnexthref", "pagingnext", "paginationnext", "pagesnext", "nextpagelink", "nexthref", NULL
	};
	static const char *const pages[] = {"page", "pagenumber", "pageno", "pagenum", "pageindex", "currentpage", "p", NULL};
	static const char *const offsets[] = {"offset", "skip", "startat", "startindex", "pageoffset", "start", "firstresult", "from", NULL};
	OpenapiNode headers = openapi_get(response, "headers");
	OpenapiNode parameter;
	bool		token = read_page_token(parameters, hints, read->records, rows, read);

	read_page_size(document, parameters, read);
	if (token)
		return;
	read->param = NULL;
	read->next = read_hint(hints, urls);
	if (read->next == NULL)
	{
		/* a member just called "next", at the top */
		for (int i = 0; i < hints->n && read->next == NULL; i++)
			if (strcmp(hints->hints[i].path, "next") == 0 && hints->hints[i].kind == OPENAPI_STRING)
				read->next = "next";
	}
	if (read->next != NULL)
		read->style = "next_url";
	else if (openapi_get(&headers, "Link").type != jbvNull || openapi_get(&headers, "link").type != jbvNull)
		read->style = "link";
	else if ((parameter = read_parameter(parameters, pages, &read->param)).type != jbvNull)
	{
		read->style = "page";
		read->first = read_first(document, &parameter);
	}
	else if (read_parameter(parameters, offsets, &read->param).type != jbvNull)
		read->style = "offset";
}

/* How a parameter takes several values: OpenAPI's "style" and "explode", Swagger's "collectionFormat". */
static void
read_list_style(OpenapiDocument *document, const OpenapiNode *parameter, const OpenapiType *type, OpenapiFilter *filter)
{
	static const struct
	{
		const char *style;
		const char *separator;
	}			styles[] = {
		{"spaceDelimited", " "}, {"pipeDelimited", "|"}, {"ssv", " "}, {"tsv", "\t"}, {"pipes", "|"}
	};
	char	   *style = openapi_text(parameter, document->swagger ? "collectionFormat" : "style");
	OpenapiNode explode = openapi_get(parameter, "explode");

	filter->list = true;
	filter->separator = ",";
	filter->most = Min(type->max_items, 1000);
	for (int i = 0; style != NULL && i < lengthof(styles); i++)
	{
		if (strcmp(styles[i].style, style) == 0)
			filter->separator = styles[i].separator;
	}
	/* "form" is the usual style, and is exploded where nothing else is said */
	if (document->swagger ? style != NULL && strcmp(style, "multi") == 0 :
		explode.type == jbvBool ? explode.val.boolean : style == NULL || strcmp(style, "form") == 0)
		filter->separator = NULL;
}

/* The column that records have whose values a parameter takes: of its name, or, of a list, its plural. */
static const OpenapiColumn *
read_column(const OpenapiObject *object, const char *name, bool list)
{
	char	   *plain = openapi_plain(name);

	for (int i = 0; i < object->ncolumns; i++)
	{
		const OpenapiColumn *column = object->columns[i];
		char	   *field = openapi_plain(column->field);

		if (column->read && column->type.kind >= OPENAPI_STRING &&
			(strcmp(field, plain) == 0 || (list && strcmp(psprintf("%ss", field), plain) == 0)))
			return column;
	}
	return NULL;
}

/* The values of a column that who reads must fix; false: there is no place for it. */
static bool
read_filter(OpenapiDocument *document, OpenapiObject *object, const OpenapiNode *parameter, const char *name)
{
	OpenapiNode schema = openapi_parameter_schema(document, parameter);
	OpenapiFilter *filter = palloc0(sizeof(OpenapiFilter));
	const OpenapiColumn *column = NULL;
	OpenapiType type;

	filter->param = name;
	openapi_type(document, &schema, &type);
	if (type.kind == OPENAPI_ARRAY && (column = read_column(object, name, true)) != NULL)
		read_list_style(document, parameter, &type, filter);
	if (column == NULL)
		column = openapi_column_of_parameter(document, object, name, parameter, false);
	if (column == NULL)
		return false;
	filter->column = column->name;
	object->read.filter = lappend(object->read.filter, filter);
	return true;
}

static bool
read_pages_by(const OpenapiRead *read, const char *name)
{
	return (read->param != NULL && strcmp(read->param, name) == 0) ||
		(read->size_param != NULL && strcmp(read->size_param, name) == 0);
}

/* Parameters that are called like columns: what they do no document says, so it is left to who knows. */
static void
read_note_offers(OpenapiDocument *document, OpenapiObject *object)
{
	StringInfoData names;
	StringInfoData example;
	ListCell   *cell;
	int			n = 0;

	initStringInfo(&names);
	initStringInfo(&example);
	appendStringInfoString(&example, "{\"read\": {\"filter\": {");
	foreach(cell, object->read.parameters)
	{
		OpenapiNode *parameter = lfirst(cell);
		OpenapiNode schema = openapi_parameter_schema(document, parameter);
		char	   *in = openapi_text(parameter, "in");
		char	   *name = openapi_text(parameter, "name");
		OpenapiFilter filter = {.param = name};
		const OpenapiColumn *column;
		OpenapiType type;

		if (in == NULL || name == NULL || strcmp(in, "query") != 0 || openapi_true(parameter, "required") ||
			read_pages_by(&object->read, name) || connector_query_is_secret(name) || n >= READ_OFFERS)
			continue;
		openapi_type(document, &schema, &type);
		column = read_column(object, name, type.kind == OPENAPI_ARRAY);
		if (column == NULL)
			continue;
		if (type.kind == OPENAPI_ARRAY)
			read_list_style(document, parameter, &type, &filter);
		appendStringInfo(&names, "%s\"%s\"", n++ > 0 ? ", " : "", name);
		openapi_print_name(&example, column->name);
		appendStringInfoChar(&example, '{');
		openapi_print_filter(&example, &filter);
		appendStringInfoChar(&example, '}');
	}
	appendStringInfoString(&example, "}}}");
	if (n > 0)
		openapi_gap(document, psprintf("objects.%s.read.filter", object->name), example.data,
					"conditions that the API can be asked for: whether its parameters %s are what they are called like, and leave nothing out", names.data);
}

/* What a query must have: a constant, or the value of a column that who reads must fix.  False: it cannot be given. */
static bool
read_query(OpenapiDocument *document, List *parameters, OpenapiObject *object)
{
	OpenapiRead *read = &object->read;
	ListCell   *cell;

	foreach(cell, parameters)
	{
		OpenapiNode *parameter = lfirst(cell);
		char	   *in = openapi_text(parameter, "in");
		char	   *name = openapi_text(parameter, "name");
		char	   *value;

		if (in == NULL || name == NULL || strcmp(in, "query") != 0 || !openapi_true(parameter, "required"))
			continue;
		if (read_pages_by(read, name) || connector_query_is_secret(name))
			continue;
		value = openapi_parameter_constant(document, parameter, true);
		if (value == NULL)
		{
			if (!read_filter(document, object, parameter, name))
				return false;
			continue;
		}
		read->query = lappend(lappend(read->query, name), value);
	}
	return true;
}

void
openapi_read(OpenapiDocument *document, OpenapiObject *object)
{
	OpenapiRead *read = &object->read;
	OpenapiNode operation;
	OpenapiNode response;
	OpenapiNode schema;
	OpenapiFields fields;
	OpenapiFields rows;
	ReadHints  *hints = palloc0(sizeof(ReadHints));
	List	   *parameters;
	char	   *type;

	read->first = -1;
	if (object->list == NULL)
		return;
	operation = openapi_get(&object->list->node, "get");
	if (!openapi_is_object(&operation))
		return;
	schema = openapi_answer_schema(document, &operation, &response);
	if (schema.type == jbvNull)
		return;
	read->records = read_records(document, &schema, openapi_path_last(object->about), &fields, &rows);
	if (read->records == NULL)
		return;
	read_collect(document, &fields, NULL, 0, hints);
	parameters = openapi_parameters(document, &operation, &object->list->node);
	read_paging(document, parameters, &response, hints, &rows, read);
	read->attributes = openapi_attributes(document, &rows, &type);
	for (int i = 0; i < rows.n; i++)
		openapi_column_read(object, &rows.fields[i]);
	read->possible = true;
	read->parameters = parameters;
}

/* When the columns are known: a part of another object is read for each value that its path names. */
void
openapi_read_place(OpenapiDocument *document, OpenapiObject *object)
{
	OpenapiRead *read = &object->read;

	if (!read->possible)
		return;
	read->path = openapi_object_path(document, object, object->list, NULL);
	read->possible = read->path != NULL && read_query(document, read->parameters, object);
	if (read->possible)
		read_note_offers(document, object);
}
