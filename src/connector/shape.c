/*
 * shape.c
 *	  Of an operation, what its requests look like: format, query, and where
 *	  rows and constants stand in the body.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "template/path.h"

static const struct
{
	const char *name;
	ConnectorBody body;
	const char *type;
}			shape_formats[] = {
	{"json", BODY_JSON, "application/json"},
	{"form", BODY_FORM, "application/x-www-form-urlencoded"},
	{"csv", BODY_CSV, "text/csv"},
	{"multipart", BODY_MULTIPART, "multipart/form-data"},
	{"ndjson", BODY_NDJSON, "application/x-ndjson"}
};

static int
shape_find_format(const char *name)
{
	int			i = 0;

	while (strcmp(shape_formats[i].name, name) != 0)
		i++;
	return i;
}

static void
shape_format(ConnectorWrite *write, const JsonbValue *operation)
{
	const char *given = definition_text(operation, "format");
	int			format = shape_find_format(given ? given : "json");

	write->format = shape_formats[format].body;
	write->content_type = definition_text(operation, "content_type");
	write->own_type = write->content_type != NULL || given != NULL;
	if (write->content_type == NULL)
		write->content_type = pstrdup(shape_formats[format].type);
}

/* The rows as a file of a multipart body. */
static void
shape_part(ConnectorWrite *write, const JsonbValue *operation, const char *where, const char *subject)
{
	JsonbValue	part;
	const char *format;
	int			i;

	if (!definition_get_in(operation, "part", &part))
	{
		if (write->format == BODY_MULTIPART && write->batch > 1)
			definition_fail(subject, psprintf("\"%s\" sends many rows as multipart without a part for them", where),
							"Name the file that holds the rows: \"part\": {\"name\": \"file\", \"format\": \"csv\"}.");
		return;
	}
	if (write->format != BODY_MULTIPART)
		definition_fail(subject, psprintf("\"%s\" has a part, but its format is not multipart", where),
						"Set \"format\" to \"multipart\", or leave \"part\" out.");
	format = definition_text(&part, "format");
	i = shape_find_format(format ? format : "csv");
	write->part.name = definition_text(&part, "name");
	write->part.filename = definition_text(&part, "filename");
	write->part.format = shape_formats[i].body;
	write->part.content_type = pstrdup(shape_formats[i].type);
	if (write->part.name == NULL)
		write->part.name = pstrdup("file");
	if (write->part.filename == NULL)
		write->part.filename = psprintf("rows.%s", shape_formats[i].name);
}

/* In what the rows themselves are written. */
static ConnectorBody
shape_rows_format(const ConnectorWrite *write)
{
	return write->part.name != NULL ? write->part.format : write->format;
}

static void
shape_check_rows(ConnectorWrite *write, const JsonbValue *operation, const char *where, const char *subject)
{
	const char *rows = definition_text(operation, "rows");
	ConnectorBody format = shape_rows_format(write);
	JsonbValue	ignored;

	write->arrays = rows != NULL && strcmp(rows, "arrays") == 0;
	if (write->arrays && format != BODY_JSON && format != BODY_NDJSON)
		definition_fail(subject, psprintf("\"%s\" has rows that are arrays, but its format is no JSON", where),
						"Only formats \"json\" and \"ndjson\" have arrays.");
	if (definition_text(operation, "columns_at") != NULL && (!write->arrays || format != BODY_JSON))
		definition_fail(subject, psprintf("\"%s\" has a list of columns, but its rows are no arrays in JSON", where),
						"\"columns_at\" goes with \"rows\": \"arrays\" and \"format\": \"json\".");
	if ((format == BODY_CSV || format == BODY_NDJSON) && *write->envelope != '\0')
		definition_fail(subject, psprintf("\"%s\" has an envelope, but its rows are lines", where),
						"Leave \"envelope\" out: CSV and NDJSON hold nothing but rows.");
	if ((write->format == BODY_CSV || write->format == BODY_NDJSON) && definition_get_in(operation, "fixed", &ignored))
		definition_fail(subject, psprintf("\"%s\" has constants in \"fixed\", but its rows are lines", where),
						"Use \"fixed_row\" for what stands in each row.");
}

static void
shape_query(Connector *connector, ConnectorWrite *write, OutboxOp op, const JsonbValue *operation,
			const char *where, const char *subject)
{
	JsonbValue	query;
	DefinitionMember *members;
	int			n;

	if (!definition_get_in(operation, "query", &query))
		return;
	members = definition_members(&query, &n);
	write->query_names = palloc(sizeof(char *) * (n + 1));
	write->query_values = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		char	   *value;

		if (members[i].value.type == jbvNull)
			continue;
		value = template_scalar_text(&members[i].value);
		definition_check_names(connector, write, op, value,
							   psprintf("query parameter \"%s\"", members[i].name), where, subject);
		write->query_names[write->nquery] = members[i].name;
		write->query_values[write->nquery++] = value;
	}
}

/* {"path": constant} behind row_at; *n of them are added. */
static TemplateConstant *
shape_constants(const JsonbValue *operation, const char *name, const char *at,
				TemplateConstant *constants, int *n)
{
	JsonbValue	given;
	DefinitionMember *members;
	int			count;

	if (!definition_get_in(operation, name, &given))
		return constants;
	members = definition_members(&given, &count);
	constants = constants ? repalloc(constants, sizeof(TemplateConstant) * (*n + count + 1))
		: palloc(sizeof(TemplateConstant) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		if (members[i].value.type == jbvNull)
			continue;
		constants[*n].path = template_path_join(at, members[i].name, NULL);
		constants[(*n)++].value = members[i].value;
	}
	return constants;
}

TemplateColumn *
definition_columns_at(const TemplateColumn *columns, int n, const char *at)
{
	TemplateColumn *placed = palloc(sizeof(TemplateColumn) * (n + 1));

	for (int i = 0; i < n; i++)
	{
		placed[i] = columns[i];
		placed[i].path = template_path_join(at, columns[i].path, columns[i].name);
	}
	return placed;
}

/* Columns that this operation leaves out of the body.  A foreign table made by hand may lack them. */
static void
shape_omit(TemplateColumn *columns, int n, const JsonbValue *object, const JsonbValue *operation,
		   const char *where, const char *subject)
{
	JsonbValue	omit;
	JsonbValue	defined;
	JsonbValue	ignored;
	ListCell   *lc;

	if (!definition_get_in(operation, "omit", &omit))
		return;
	foreach(lc, definition_key(&omit))
	{
		const char *name = lfirst(lc);
		bool		known = definition_get_in(object, "columns", &defined) && definition_get_in(&defined, name, &ignored);

		for (int i = 0; i < n; i++)
		{
			if (strcmp(columns[i].name, name) != 0)
				continue;
			columns[i].skip = true;
			known = true;
		}
		if (!known)
			definition_fail(subject, psprintf("\"omit\" of \"%s\" names a column \"%s\" that does not exist", where, name),
							"Name columns of the object.");
	}
}

/* The table's and those that are computed. */
static void
shape_columns(const Connector *connector, ConnectorWrite *write, const JsonbValue *object, const JsonbValue *operation,
			  const char *where, const char *subject)
{
	int			n = connector->ncolumns + connector->ncomputed;
	TemplateColumn *columns = palloc(sizeof(TemplateColumn) * (n + 1));

	memcpy(columns, connector->columns, sizeof(TemplateColumn) * connector->ncolumns);
	memcpy(columns + connector->ncolumns, connector->computed, sizeof(TemplateColumn) * connector->ncomputed);
	write->shape.ncolumns = n;
	columns = definition_columns_at(columns, n, write->shape.at);
	shape_omit(columns, n, object, operation, where, subject);
	write->shape.columns = columns;
	for (int i = 0; i < n; i++)
		write->changes = write->changes || columns[i].change != NULL;
}

/* Two columns at one place, found by printing a row that has them all. */
void
definition_try_shape(const TemplateShape *shape)
{
	StringInfoData row;

	initStringInfo(&row);
	appendStringInfoChar(&row, '{');
	for (int i = 0; i < shape->ncolumns; i++)
	{
		appendStringInfoString(&row, i > 0 ? ", " : "");
		template_append_string(&row, shape->columns[i].name);
		appendStringInfoString(&row, ": null");
	}
	appendStringInfoChar(&row, '}');
	template_append_object(&row, definition_parse(pstrdup(row.data), "columns", false), shape, NULL);
}

/* Where the rows, or the row, stand in the body, beside constants. */
static void
shape_frame(const Connector *connector, ConnectorWrite *write, const JsonbValue *operation,
			const char *where, const char *subject)
{
	const char *envelope = write->envelope;
	const char *columns = definition_text(operation, "columns_at");
	bool		json = write->format == BODY_JSON;

	if (json && (write->nfixed > 0 || columns != NULL) && *envelope == '\0')
		definition_fail(subject, psprintf("\"%s\" has constants or a list of columns beside rows that are the whole body", where),
						"Name in \"envelope\" the path of the array of rows, or use \"fixed_row\" for what stands in each row.");
	if (write->format == BODY_FORM && write->batch > 1 && *envelope == '\0')
		definition_fail(subject, psprintf("\"%s\" sends a form of many rows without an envelope", where),
						"Name in \"envelope\" what the rows are called, as in \"envelope\": \"rows\", which sends rows[0][id]=...");
	if (write->batch > 1 && connector->format == FORMAT_CHANGE)
		envelope = "changes";
	template_frame(&write->frame, write->fixed, json ? write->nfixed : 0, envelope, columns);
}

void
definition_compile_shape(Connector *connector, ConnectorWrite *write, OutboxOp op, const JsonbValue *object,
						 const JsonbValue *operation, const char *where, const char *subject)
{
	TemplateShape *shape = &write->shape;
	const char *gaps;
	TemplateConstant *constants;
	char	   *at = definition_text(operation, "row_at");

	if (at == NULL)
		at = definition_text(object, "row_at");
	shape_format(write, operation);
	shape_query(connector, write, op, operation, where, subject);
	shape->at = at != NULL && *at != '\0' ? at : NULL;
	shape->trace = definition_text(operation, "trace");
	gaps = definition_text(operation, "gaps");
	shape->close_gaps = gaps != NULL && strcmp(gaps, "close") == 0;
	write->max_bytes = definition_int(operation, "max_bytes", 0);
	shape_columns(connector, write, object, operation, where, subject);
	shape_part(write, operation, where, subject);
	shape_check_rows(write, operation, where, subject);
	constants = shape_constants(operation, "fixed_row", NULL, NULL, &shape->nconstants);
	/* a single row that is the body itself has its constants among its own */
	if (write->batch == 1 && *write->envelope == '\0' && write->part.name == NULL && !write->arrays)
		constants = shape_constants(operation, "fixed", NULL, constants, &shape->nconstants);
	else
		write->fixed = shape_constants(operation, "fixed", NULL, NULL, &write->nfixed);
	shape->constants = constants;
	shape_frame(connector, write, operation, where, subject);
	definition_try_shape(shape);
}
