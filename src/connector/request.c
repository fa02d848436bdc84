/*
 * request.c
 *	  Rows to the HTTP request that carries them.
 *
 * Everything is built and shown (activate_preview) without the secret;
 * connector_authorize() adds it to the request that is really sent.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/compat.h"
#include "mb/pg_wchar.h"
#include "template/path.h"
#include "utils/memutils.h"

static const char json_type[] = "application/json";

static bool
request_has_templates(const Connector *connector, const ConnectorWrite *write)
{
	bool		has = strchr(write->path, '{') != NULL;

	for (int i = 0; i < connector->nheaders; i++)
		has = has || strchr(connector->header_values[i], '{') != NULL;
	return has;
}

/* What templates of this row may name: its columns, its key, and remote_id. */
static Jsonb *
request_values(const ConnectorRow *row)
{
	Jsonb	   *values = row->row ? row->row : row->target_key;
	StringInfoData remote;

	if (row->row != NULL && row->target_key != NULL)
		values = definition_merge(row->row, row->target_key);
	if (row->remote_id == NULL)
		return values;
	initStringInfo(&remote);
	appendStringInfoString(&remote, "{\"remote_id\": ");
	template_append_string(&remote, row->remote_id);
	appendStringInfoChar(&remote, '}');
	if (values == NULL)
		return definition_parse(remote.data, "remote_id", true);
	return definition_merge(values, definition_parse(remote.data, "remote_id", true));
}

static void
request_append_jsonb(StringInfo out, Jsonb *json)
{
	if (json == NULL)
		appendStringInfoString(out, "null");
	else
		JsonbToCString(out, &json->root, VARSIZE(json));
}

/* SEMANTICS 5, to the byte. */
static void
request_append_change(StringInfo out, const ConnectorRow *row)
{
	appendStringInfoString(out, "{\"id\": ");
	template_append_string(out, row->id);
	appendStringInfo(out, ", \"seq\": " INT64_FORMAT ", \"sync\": ", row->seq);
	template_append_string(out, row->sync);
	appendStringInfo(out, ", \"op\": \"%s\", \"key\": ", outbox_op_name(row->op));
	request_append_jsonb(out, row->key);
	appendStringInfoString(out, ", \"row\": ");
	request_append_jsonb(out, row->op == OUTBOX_DELETE ? NULL : row->row);
	appendStringInfoChar(out, '}');
}

/*
 * Columns of a row that is not whole (an UPDATE of a foreign table) go with
 * those of its key that the path does not name.
 */
static Jsonb *
request_object(const Connector *connector, const ConnectorRow *row)
{
	List	   *named;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (row->row == NULL || row->target_key == NULL || row->op != OUTBOX_UPDATE)
		return row->row ? row->row : row->target_key;
	named = template_names(connector_write(connector, row->op)->path);
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

static void
request_append_row(StringInfo out, const Connector *connector, const ConnectorRow *row)
{
	Jsonb	   *values = request_object(connector, row);

	if (connector->format == FORMAT_CHANGE)
		request_append_change(out, row);
	else if (connector->format == FORMAT_ROW)
		request_append_jsonb(out, row->row);
	else if (values == NULL)
		appendStringInfoString(out, "{}");
	else
		template_append_object(out, values, connector->columns, connector->ncolumns);
}

/* The array of rows at the envelope's path. */
static void
request_append_rows(StringInfo out, const Connector *connector, const char *envelope,
					const ConnectorRow *rows, int n)
{
	PathStep	step;
	int			depth = 0;

	while (path_next(&envelope, &step) == PATH_STEP)
	{
		appendStringInfoChar(out, '{');
		template_append_string(out, step.name);
		appendStringInfoString(out, ": ");
		depth++;
	}
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		request_append_row(out, connector, &rows[i]);
	}
	appendStringInfoChar(out, ']');
	while (depth-- > 0)
		appendStringInfoChar(out, '}');
}

static void
request_set_body(HttpRequest *request, const Connector *connector, const ConnectorWrite *write,
				 const ConnectorRow *rows, int n)
{
	StringInfoData body;
	char	   *utf8;

	initStringInfo(&body);
	if (write->batch > 1)
		request_append_rows(&body, connector,
							connector->format == FORMAT_CHANGE ? "changes" :
							connector->format == FORMAT_ROW ? "" : write->envelope, rows, n);
	else
		request_append_row(&body, connector, rows);
	utf8 = pg_server_to_any(body.data, body.len, PG_UTF8);
	request->body = utf8;
	request->body_len = utf8 == body.data ? body.len : strlen(utf8);
}

static bool
request_header_given(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->nheaders; i++)
	{
		if (pg_strcasecmp(connector->header_names[i], name) == 0)
			return true;
	}
	return false;
}

void
connector_add_headers(const Connector *connector, HttpRequest *request, Jsonb *values)
{
	if (!request_header_given(connector, "Accept"))
		http_request_header(request, "Accept", json_type);
	for (int i = 0; i < connector->nheaders; i++)
	{
		const char *value = connector->header_values[i];

		/* of a body that is not there, or of a row that is not there */
		if (values == NULL && template_names(value) != NIL)
			continue;
		if (pg_strcasecmp(connector->header_names[i], "Content-Type") == 0 && request->body == NULL)
			continue;
		http_request_header(request, connector->header_names[i], template_expand(value, values, false));
	}
}

pg_noreturn static void
request_impossible(const Connector *connector, OutboxOp op)
{
	static const OutboxOp ops[] = {OUTBOX_INSERT, OUTBOX_UPDATE, OUTBOX_UPSERT, OUTBOX_DELETE};
	StringInfoData possible;

	initStringInfo(&possible);
	for (int i = 0; i < lengthof(ops); i++)
	{
		if (connector_write(connector, ops[i]) != NULL)
			appendStringInfo(&possible, "%s%s", possible.len > 0 ? ", " : "", outbox_op_name(ops[i]));
	}
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("object \"%s\" of connector \"%s\" has no operation \"%s\"",
					connector->object, connector->name, outbox_op_name(op)),
			 errhint("Operations are: %s.", possible.len > 0 ? possible.data : "none")));
}

HttpRequest *
connector_request(const Connector *connector, const ConnectorRow *rows, int n,
				  const char *call_key, MemoryContext context)
{
	const ConnectorWrite *write = connector_write(connector, rows[0].op);
	MemoryContext scratch;
	MemoryContext old;
	Jsonb	   *values = NULL;
	char	   *path;
	HttpRequest *request;

	if (write == NULL)
		request_impossible(connector, rows[0].op);
	Assert(n == 1 || write->batch > 1);
	scratch = AllocSetContextCreate(context, "activate request", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scratch);
	if (write->batch == 1 && request_has_templates(connector, write))
		values = request_values(&rows[0]);
	path = template_expand(write->path, values, true);
	request = http_request_create(context, write->method, connector_url(connector, path));
	if (!write->no_body)
	{
		MemoryContextSwitchTo(context);
		request_set_body(request, connector, write, rows, n);
		MemoryContextSwitchTo(scratch);
		if (!request_header_given(connector, "Content-Type"))
			http_request_header(request, "Content-Type", json_type);
	}
	http_request_header(request, "Idempotency-Key", write->batch == 1 ? rows[0].id : call_key);
	connector_add_headers(connector, request, values);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return request;
}
