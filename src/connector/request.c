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
#include "utils/memutils.h"

static const char json_type[] = "application/json";

static bool
request_has_templates(const Connector *connector, const ConnectorWrite *write)
{
	bool		has = strchr(write->path, '{') != NULL;

	for (int i = 0; i < connector->nheaders; i++)
		has = has || strchr(connector->header_values[i], '{') != NULL;
	for (int i = 0; i < write->nquery; i++)
		has = has || strchr(write->query_values[i], '{') != NULL;
	return has;
}

/* What templates of this row may name: its columns, its key, and remote_id. */
static Jsonb *
request_given(const ConnectorRow *row)
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

/* The same, and what is computed of it. */
Jsonb *
request_values(const ConnectorRow *row, const ConnectorWrite *write)
{
	Jsonb	   *values = request_given(row);

	if (values != NULL && write->changes)
		values = template_change(values, write->shape.columns, write->shape.ncolumns, false);
	return values;
}

bool
request_header_given(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->nheaders; i++)
	{
		if (pg_strcasecmp(connector->header_names[i], name) == 0)
			return true;
	}
	return false;
}

/* write: NULL for a read */
void
request_add_headers(const Connector *connector, const ConnectorWrite *write, HttpRequest *request, Jsonb *values)
{
	if (!request_header_given(connector, "Accept"))
		http_request_header(request, "Accept", json_type);
	for (int i = 0; i < connector->nheaders; i++)
	{
		const char *value = connector->header_values[i];

		/* of a body that is not there, or of a row that is not there */
		if (values == NULL && template_names(value) != NIL)
			continue;
		if (pg_strcasecmp(connector->header_names[i], "Content-Type") == 0 &&
			(request->body == NULL || (write != NULL && write->own_type)))
			continue;
		http_request_header(request, connector->header_names[i], template_expand(value, values, false));
	}
}

void
connector_add_headers(const Connector *connector, HttpRequest *request, Jsonb *values)
{
	request_add_headers(connector, NULL, request, values);
}

/* The URL of a call: path and query over the row. */
static char *
request_url(const Connector *connector, const ConnectorWrite *write, Jsonb *values)
{
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, connector_url(connector, template_expand(write->path, values, true)));
	for (int i = 0; i < write->nquery; i++)
		template_append_query(&url, write->query_names[i], template_expand_text(write->query_values[i], values));
	return url.data;
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

/*
 * Of one row its id; but a record that a lookup did not find is made by another
 * request than the one by which the message may have gone before: an API that
 * keeps what it answered to a key must not take the one for the other.
 */
static const char *
request_key(const Connector *connector, const ConnectorWrite *write, const ConnectorRow *row)
{
	const ConnectorWrite *declared = connector_write(connector, row->op);

	if (declared != NULL && declared->lookup != NULL && write == declared->lookup->none)
		return psprintf("%s-new", row->id);
	return row->id;
}

HttpRequest *
connector_request(const Connector *connector, const ConnectorRow *rows, int n,
				  const char *call_key, MemoryContext context)
{
	const ConnectorWrite *write = rows[0].write ? rows[0].write : connector_write(connector, rows[0].op);
	MemoryContext scratch;
	MemoryContext old;
	Jsonb	   *values = NULL;
	HttpRequest *request;
	const char *type;

	if (write == NULL)
		request_impossible(connector, rows[0].op);
	Assert(n == 1 || write->batch > 1);
	scratch = AllocSetContextCreate(context, "activate request", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(scratch);
	if (write->batch == 1 && request_has_templates(connector, write))
		values = request_values(&rows[0], write);
	request = http_request_create(context, write->method, request_url(connector, write, values));
	if (!write->no_body)
	{
		type = definition_set_body(request, connector, write, rows, n, context);
		if (write->own_type || !request_header_given(connector, "Content-Type"))
			http_request_header(request, "Content-Type", type);
	}
	if (!write->search)
		http_request_header(request, "Idempotency-Key", write->batch == 1 ? request_key(connector, write, &rows[0]) : call_key);
	request_add_headers(connector, write, request, values);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return request;
}

/* Of the rows of a job that are carried by another request than its first. */
static size_t
request_rows_bytes(const Connector *connector, const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate rows", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	HttpRequest request = {0};

	(void) definition_set_body(&request, connector, write, rows, n, scratch);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return request.body_len;
}

int
connector_fitting(const Connector *connector, const HttpRequest *request, const ConnectorRow *rows, int n, size_t *bytes)
{
	const ConnectorWrite *write = rows[0].write ? rows[0].write : connector_write(connector, rows[0].op);
	int			fitting;

	*bytes = request->body_len;
	/* it searches for the row first */
	if (write->lookup != NULL && rows[0].remote_id == NULL)
		return n;
	if (write->max_bytes > 0 && write->job != NULL && write->job->body != NULL)
		*bytes = request_rows_bytes(connector, write, rows, n);
	if (write->max_bytes == 0 || *bytes <= write->max_bytes)
		return n;
	if (n == 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the row alone makes a body of %zu bytes, more than \"max_bytes\" (%d)",
						*bytes, write->max_bytes)));
	/* rows differ: a little less than these would be on the average */
	fitting = (int) ((uint64) n * write->max_bytes / *bytes);
	fitting -= fitting / 32;
	return Max(Min(fitting, n - 1), 1);
}
