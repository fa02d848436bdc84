/*
 * body.c
 *	  The body of a request: rows in the format of their operation.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static void
body_append_jsonb(StringInfo out, Jsonb *json, const char *text)
{
	if (json == NULL)
		appendStringInfoString(out, "null");
	else if (text != NULL)
		appendStringInfoString(out, text);
	else
		JsonbToCString(out, &json->root, VARSIZE(json));
}

/* SEMANTICS 5, to the byte. */
static void
body_append_change(StringInfo out, const ConnectorRow *row)
{
	char		seq[MAXINT8LEN + 1];

	(void) pg_lltoa(row->seq, seq);
	appendStringInfoString(out, "{\"id\": ");
	template_append_string(out, row->id);
	appendStringInfoString(out, ", \"seq\": ");
	appendStringInfoString(out, seq);
	appendStringInfoString(out, ", \"sync\": ");
	template_append_string(out, row->sync);
	appendStringInfoString(out, ", \"op\": \"");
	appendStringInfoString(out, outbox_op_name(row->op));
	appendStringInfoString(out, "\", \"key\": ");
	body_append_jsonb(out, row->key, row->key_text);
	appendStringInfoString(out, ", \"row\": ");
	body_append_jsonb(out, row->op == OUTBOX_DELETE ? NULL : row->row, row->row_text);
	appendStringInfoChar(out, '}');
}

/*
 * Columns of a row that is not whole (an UPDATE of a foreign table) go with
 * those of its key that the path does not name.
 */
static Jsonb *
body_given(const ConnectorWrite *write, const ConnectorRow *row)
{
	List	   *named;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (row->row == NULL || row->target_key == NULL || row->op != OUTBOX_UPDATE)
		return row->row ? row->row : row->target_key;
	named = template_names(write->path);
	it = JsonbIteratorInit(&row->target_key->root);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		ListCell   *cell;
		bool		there;

		if (token != WJB_KEY)
			continue;
		there = getKeyJsonValueFromContainer(&row->row->root, name.val.string.val, name.val.string.len, &value) != NULL;
		foreach(cell, named)
			there |= strlen(lfirst(cell)) == name.val.string.len &&
				memcmp(lfirst(cell), name.val.string.val, name.val.string.len) == 0;
		if (!there)
			return definition_merge(row->row, row->target_key);
	}
	return row->row;
}

/* As they are sent. */
static Jsonb *
body_values(const ConnectorWrite *write, const ConnectorRow *row)
{
	Jsonb	   *values = body_given(write, row);

	if (values != NULL && write->changes)
	{
		values = template_change(values, write->shape.columns, write->shape.ncolumns, true);
		/* an update holds what is assigned, a delete the key */
		if (row->op == OUTBOX_INSERT || row->op == OUTBOX_UPSERT)
			template_check_required(values, write->shape.columns, write->shape.ncolumns);
	}
	return values;
}

static void
body_append_row(StringInfo out, const Connector *connector, const ConnectorWrite *write, const ConnectorRow *row)
{
	if (connector->format == FORMAT_CHANGE)
		body_append_change(out, row);
	else if (connector->format == FORMAT_ROW)
		body_append_jsonb(out, row->row, row->row_text);
	else
		template_append_object(out, body_values(write, row), &write->shape, row->id);
}

/* Of all rows, as they are sent. */
static Jsonb **
body_all_values(const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	Jsonb	  **values = palloc(sizeof(Jsonb *) * n);

	for (int i = 0; i < n; i++)
		values[i] = body_values(write, &rows[i]);
	return values;
}

static void
body_append_json(StringInfo out, const Connector *connector, const ConnectorWrite *write,
				 const ConnectorRow *rows, int n)
{
	appendStringInfoString(out, write->frame.before);
	if (write->batch > 1)
		appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		body_append_row(out, connector, write, &rows[i]);
	}
	if (write->batch > 1)
		appendStringInfoChar(out, ']');
	appendStringInfoString(out, write->frame.after);
}

static void
body_append_arrays(StringInfo out, const ConnectorWrite *write, const BodyTable *table, int n)
{
	if (write->batch > 1)
		appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		body_table_row(out, table, i);
	}
	if (write->batch > 1)
		appendStringInfoChar(out, ']');
}

/* The same with rows that are arrays, and perhaps the list of their columns. */
static void
body_append_table(StringInfo out, const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	const TemplateFrame *frame = &write->frame;
	BodyTable  *table = body_table(write, rows, body_all_values(write, rows, n), n, frame->between == NULL);

	appendStringInfoString(out, frame->before);
	if (frame->between != NULL && frame->columns_first)
	{
		body_table_names(out, table);
		appendStringInfoString(out, frame->between);
	}
	body_append_arrays(out, write, table, n);
	if (frame->between != NULL && !frame->columns_first)
	{
		appendStringInfoString(out, frame->between);
		body_table_names(out, table);
	}
	appendStringInfoString(out, frame->after);
}

static void
body_append_lines(StringInfo out, const Connector *connector, const ConnectorWrite *write,
				  const ConnectorRow *rows, int n)
{
	BodyTable  *table = write->arrays ? body_table(write, rows, body_all_values(write, rows, n), n, true) : NULL;

	for (int i = 0; i < n; i++)
	{
		if (table != NULL)
			body_table_row(out, table, i);
		else
			body_append_row(out, connector, write, &rows[i]);
		appendStringInfoChar(out, '\n');
	}
}

static void
body_pair(void *out, const char *name, const char *value)
{
	template_append_pair(out, name, value);
}

static void
body_append_form(StringInfo out, const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	const TemplateShape beside = {.constants = write->fixed, .nconstants = write->nfixed};
	char	   *name = template_form_name("", write->envelope);

	template_form(NULL, &beside, NULL, "", body_pair, out);
	for (int i = 0; i < n; i++)
		template_form(body_values(write, &rows[i]), &write->shape, rows[i].id,
					  write->batch > 1 ? template_form_name(name, psprintf("%d", i)) : name, body_pair, out);
}

static void
body_append(StringInfo out, ConnectorBody format, const Connector *connector, const ConnectorWrite *write,
			const ConnectorRow *rows, int n)
{
	switch (format)
	{
		case BODY_JSON:
			if (write->arrays)
				body_append_table(out, write, rows, n);
			else
				body_append_json(out, connector, write, rows, n);
			break;
		case BODY_FORM:
			body_append_form(out, write, rows, n);
			break;
		case BODY_CSV:
			body_table_csv(out, body_table(write, rows, body_all_values(write, rows, n), n, false));
			break;
		case BODY_NDJSON:
			body_append_lines(out, connector, write, rows, n);
			break;
		case BODY_MULTIPART:
			break;
	}
}

/* Fields, or fields and a file of rows; the boundary is part of the type. */
static const char *
body_append_multipart(StringInfo out, const Connector *connector, const ConnectorWrite *write,
					  const ConnectorRow *rows, int n)
{
	StringInfoData file;
	char	   *boundary;

	initStringInfo(&file);
	if (write->part.name != NULL)
		body_append(&file, write->part.format, connector, write, rows, n);
	boundary = body_multipart(out, write, &rows[0], write->part.name ? NULL : body_values(write, &rows[0]), file.data);
	return psprintf("%s; boundary=%s", write->content_type, boundary);
}

const char *
definition_set_body(HttpRequest *request, const Connector *connector, const ConnectorWrite *write,
					const ConnectorRow *rows, int n, MemoryContext context)
{
	MemoryContext scratch = MemoryContextSwitchTo(context);
	const char *type = write->content_type;
	StringInfoData body;
	char	   *utf8;

	/* it alone outlives the making of it */
	initStringInfo(&body);
	MemoryContextSwitchTo(scratch);
	if (write->format == BODY_MULTIPART)
		type = body_append_multipart(&body, connector, write, rows, n);
	else
		body_append(&body, write->format, connector, write, rows, n);
	MemoryContextSwitchTo(context);
	utf8 = pg_server_to_any(body.data, body.len, PG_UTF8);
	MemoryContextSwitchTo(scratch);
	request->body = utf8;
	request->body_len = utf8 == body.data ? body.len : strlen(utf8);
	return type;
}
