/*
 * compile.c
 *	  A checked definition into what the other rooms work with.
 *
 * Here are the defaults, and the checks of what only makes sense together.
 * docs/connectors.md lists both; keep the two in step.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/compat.h"

void
definition_fail(const char *subject, const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s: %s", subject, message),
			 errhint("%s", hint)));
}

static void compile_operation(Connector *connector, ConnectorWrite *write, OutboxOp op, const char *name,
							  const char *method, const JsonbValue *whole, const JsonbValue *object, const JsonbValue *operations,
							  const char *subject);

/* Measured at 50 ms latency: 8 give most of what more would (docs/decisions.md), and few APIs mind. */
#define PAGES_IN_FLIGHT	8

char *
definition_column_names(const Connector *connector)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < connector->ncolumns; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", connector->columns[i].name);
	return names.data;
}

void
definition_require_column(const Connector *connector, const char *name, const char *where, const char *subject)
{
	if (definition_column(connector, name) == NULL)
		definition_fail(subject, psprintf("%s names a column \"%s\" that does not exist", where, name),
					 psprintf("The columns are: %s.", definition_column_names(connector)));
}

static void
compile_key(Connector *connector, const JsonbValue *object, const char *subject)
{
	JsonbValue	key;
	List	   *names;
	ListCell   *lc;

	if (!definition_get_in(object, "key", &key))
		return;
	names = definition_key(&key);
	connector->key = palloc(sizeof(char *) * list_length(names));
	foreach(lc, names)
	{
		char	   *name = lfirst(lc);

		definition_require_column(connector, name, "\"key\"", subject);
		for (int i = 0; i < connector->nkeys; i++)
		{
			if (strcmp(connector->key[i], name) == 0)
				definition_fail(subject, psprintf("\"key\" names \"%s\" twice", name),
							 "Name each key column once.");
		}
		connector->key[connector->nkeys++] = name;
	}
}

static void
compile_page(ConnectorRead *read, const JsonbValue *page, const char *subject)
{
	static const struct
	{
		const char *name;
		PageStyle	style;
		const char *param;
		const char *next;
		const char *size_param;
		int			first;
	}			styles[] = {
		{"none", PAGE_NONE, NULL, NULL, NULL, 0},
		{"cursor", PAGE_CURSOR, "cursor", "next_cursor", "limit", 0},
		{"page", PAGE_NUMBER, "page", NULL, "per_page", 1},
		{"offset", PAGE_OFFSET, "offset", NULL, "limit", 0},
		{"next_url", PAGE_NEXT_URL, NULL, "next", "limit", 0},
		{"link", PAGE_LINK, NULL, NULL, "per_page", 0}
	};
	const char *name = definition_text(page, "style");
	int			i = 0;
	char	   *given;

	if (name == NULL)
		definition_fail(subject, "\"read.page\" does not say its \"style\"",
					 "Valid styles are: none, cursor, page, offset, next_url, link.");
	while (strcmp(styles[i].name, name) != 0)
		i++;
	read->style = styles[i].style;
	given = definition_text(page, "param");
	read->param = given ? given : (styles[i].param ? pstrdup(styles[i].param) : NULL);
	given = definition_text(page, "next");
	read->next = given ? given : (styles[i].next ? pstrdup(styles[i].next) : NULL);
	given = definition_text(page, "size_param");
	read->size_param = given ? given : (styles[i].size_param ? pstrdup(styles[i].size_param) : NULL);
	read->size = definition_int(page, "size", 0);
	read->first = definition_int(page, "first", styles[i].first);
	read->in_flight = definition_int(page, "in_flight", PAGES_IN_FLIGHT);
	if ((read->param != NULL && *read->param == '\0') ||
		(read->size_param != NULL && *read->size_param == '\0'))
		definition_fail(subject, "\"read.page\" has an empty parameter name",
					 "Leave \"param\" or \"size_param\" out to have the default.");
}

static void
compile_read(Connector *connector, const JsonbValue *object, const char *subject)
{
	ConnectorRead *read = &connector->read;
	char	   *path = definition_text(object, "path");
	JsonbValue	from;
	JsonbValue	part;

	read->method = pstrdup("GET");
	read->cost = 1;
	if (!definition_get_in(object, "read", &from))
	{
		/* what has a path can be read, unless "read" is false */
		read->possible = (path != NULL);
		read->path = path;
		definition_compile_filters(connector, object, NULL, subject);
		return;
	}
	if (from.type == jbvBool)
		return;
	read->possible = true;
	read->path = definition_text(&from, "path");
	if (read->path == NULL)
		read->path = path;
	if (read->path == NULL)
		definition_fail(subject, "\"read\" needs a path", "Write \"path\" of the object or of \"read\".");
	if (definition_text(&from, "method") != NULL)
		read->method = definition_text(&from, "method");
	read->records = definition_text(&from, "records");
	read->cost = definition_int(&from, "cost", 1);
	if (definition_get_in(&from, "query", &part))
	{
		int			n;
		DefinitionMember *members = definition_members(&part, &n);

		read->query_names = palloc(sizeof(char *) * (n + 1));
		read->query_values = palloc(sizeof(char *) * (n + 1));
		for (int i = 0; i < n; i++)
		{
			if (members[i].value.type == jbvNull)
				continue;
			read->query_names[read->nquery] = members[i].name;
			read->query_values[read->nquery++] = template_scalar_text(&members[i].value);
		}
	}
	if (definition_get_in(&from, "page", &part))
		compile_page(read, &part, subject);
	definition_compile_filters(connector, object, &from, subject);
}

/* What is sent in something is found in it. */
static void
compile_unwrap(Connector *connector)
{
	for (int i = 0; i < connector->ncolumns; i++)
	{
		TemplateColumn *column = &connector->columns[i];

		if (column->change != NULL && column->change->wrap != NULL)
			column->path = psprintf("%s.%s", column->path ? column->path : template_path_step(column->name),
									definition_wrap_path(&column->change->wrap->root));
	}
}

/* Where columns are read; operations have their own places. */
static void
compile_row_at(Connector *connector, const JsonbValue *object)
{
	JsonbValue	read;
	char	   *at = definition_text(object, "row_at");

	if (definition_get_in(object, "read", &read) && definition_text(&read, "row_at") != NULL)
		at = definition_text(&read, "row_at");
	connector->columns = definition_columns_at(connector->columns, connector->ncolumns, at);
	compile_unwrap(connector);
	definition_try_shape(&(TemplateShape) {.columns = connector->columns, .ncolumns = connector->ncolumns});
}

/* Where a row of its own lives: the object's path and the key. */
static char *
compile_row_path(const Connector *connector, const char *path)
{
	StringInfoData own;

	initStringInfo(&own);
	appendStringInfoString(&own, path);
	while (own.len > 0 && own.data[own.len - 1] == '/')
		own.data[--own.len] = '\0';
	for (int i = 0; i < connector->nkeys; i++)
		appendStringInfo(&own, "/{%s}", connector->key[i]);
	return own.data;
}

void
definition_check_names(const Connector *connector, const ConnectorWrite *write, OutboxOp op,
					   const char *template, const char *what, const char *where, const char *subject)
{
	List	   *names = template_names(template);
	ListCell   *lc;

	if (write->batch > 1 && names != NIL)
		definition_fail(subject, psprintf("\"%s\" has a batch, but its %s names column \"%s\"",
										  where, what, (char *) linitial(names)),
						"A call of many rows has one path: leave the column out, or set \"batch\" to 1.");
	foreach(lc, names)
	{
		char	   *name = lfirst(lc);
		const TemplateColumn *computed = definition_computed(connector, name);
		const char *stored = computed ? computed->change->from : name;

		if (strcmp(name, "remote_id") != 0)
			definition_require_column(connector, stored, psprintf("the %s of \"%s\"", what, where), subject);
		if (op == OUTBOX_DELETE && strcmp(name, "remote_id") != 0)
		{
			bool		in_key = false;

			for (int i = 0; i < connector->nkeys; i++)
				in_key = in_key || strcmp(connector->key[i], stored) == 0;
			if (!in_key)
				definition_fail(subject, psprintf("the %s of \"%s\" names column \"%s\", which is not in the key",
												  what, where, name),
								"Of a deleted row only its key is known, and \"remote_id\".");
		}
	}
}

static void
compile_write_path(const Connector *connector, ConnectorWrite *write, OutboxOp op,
				   const char *path, const char *where, const char *subject)
{
	if (write->path == NULL && path == NULL)
		definition_fail(subject, psprintf("\"%s\" needs a path", where),
					 "Write \"path\" of the object or of the operation.");
	if (write->path == NULL && write->batch == 1 && op != OUTBOX_INSERT && !connector->free_columns)
	{
		if (connector->nkeys == 0)
			definition_fail(subject, psprintf("\"%s\" needs a path or a key", where),
						 "Write \"key\" of the object, or \"path\" of the operation, as in \"/contacts/{id}\".");
		write->path = compile_row_path(connector, path);
	}
	if (write->path == NULL)
		write->path = pstrdup(path);
	definition_check_names(connector, write, op, write->path, "path", where, subject);
}

/* "choose": another entry of the same operation where many rows are pending. */
static void
compile_choose(Connector *connector, ConnectorWrite *write, OutboxOp op, const char *method,
			   const JsonbValue *whole, const JsonbValue *object, const JsonbValue *operations, const JsonbValue *choose,
			   const char *subject)
{
	const char *where = psprintf("write.%s.choose", outbox_op_name(op));
	const char *name = definition_text(choose, "operation");
	ConnectorWrite *bulk = palloc0(sizeof(ConnectorWrite));

	write->bulk_rows = definition_int(choose, "rows", 0);
	if (name == NULL || write->bulk_rows == 0)
		definition_fail(subject, psprintf("\"%s\" needs \"rows\" and \"operation\"", where),
					 "Write {\"rows\": 2000, \"operation\": \"bulk_upsert\"}.");
	compile_operation(connector, bulk, op, name, method, whole, object, operations, subject);
	if (!bulk->possible)
		definition_fail(subject, psprintf("\"%s\" names an operation \"%s\" that does not exist", where, name),
					 psprintf("Operations are: %s.", definition_names(operations)));
	write->bulk = bulk;
}

static void
compile_operation(Connector *connector, ConnectorWrite *write, OutboxOp op, const char *name, const char *method,
				  const JsonbValue *whole, const JsonbValue *object, const JsonbValue *operations, const char *subject)
{
	const char *where = psprintf("write.%s", name);
	const char *body;
	JsonbValue	operation;
	JsonbValue	part;

	if (!definition_get_in(operations, name, &operation))
		return;
	write->possible = true;
	if (definition_get_in(&operation, "lookup", &part))
	{
		compile_lookup(connector, write, op, whole, object, &operation, where, subject);
		if (op == OUTBOX_UPSERT)
		{
			if (definition_get_in(&operation, "choose", &part))
				compile_choose(connector, write, op, method, whole, object, operations, &part, subject);
			return;
		}
	}
	write->method = definition_text(&operation, "method");
	write->batch = definition_int(&operation, "batch", 1);
	if (write->method == NULL)
		write->method = pstrdup(write->batch > 1 ? "POST" : method);
	write->path = definition_text(&operation, "path");
	compile_write_path(connector, write, op, definition_text(object, "path"), where, subject);
	write->envelope = definition_text(&operation, "envelope");
	if (write->envelope == NULL)
		write->envelope = pstrdup("");
	body = definition_text(&operation, "body");
	write->no_body = body ? strcmp(body, "none") == 0 : op == OUTBOX_DELETE && write->batch == 1;
	if (write->lookup != NULL && write->batch > 1)
		definition_fail(subject, psprintf("\"%s\" has a batch and a lookup", where),
						"What is looked for is sent row by row: leave \"batch\" out.");
	if (write->no_body && write->batch > 1)
		definition_fail(subject, psprintf("\"%s\" has a batch but no body", where),
					 "A call of many rows needs a body.");
	write->idempotent = definition_bool(&operation, "idempotent",
										op == OUTBOX_UPSERT || op == OUTBOX_DELETE ||
										strcmp(write->method, "PUT") == 0);
	write->cost = definition_int(&operation, "cost", 1);
	definition_compile_shape(connector, write, op, object, &operation, where, subject);
	if (definition_get_in(&operation, "job", &part))
		compile_job(write, connector, whole, &operation, where, subject);
	else
		definition_compile_answer(write, connector, whole, object, &operation, where, subject);
	if (definition_get_in(&operation, "choose", &part) && strcmp(name, outbox_op_name(op)) == 0)
		compile_choose(connector, write, op, method, whole, object, operations, &part, subject);
}

static void
compile_headers(Connector *connector, Jsonb *definition, const char *subject)
{
	const ConnectorWrite *writes[] = {
		&connector->insert, &connector->update, &connector->upsert, &connector->delete
	};
	JsonbValue	headers;
	DefinitionMember *members;
	int			n;

	if (!definition_get(definition, "headers", &headers))
		return;
	members = definition_members(&headers, &n);
	connector->header_names = palloc(sizeof(char *) * (n + 1));
	connector->header_values = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		char	   *value = template_scalar_text(&members[i].value);
		List	   *names;

		if (value == NULL)
			continue;
		connector->header_names[connector->nheaders] = members[i].name;
		connector->header_values[connector->nheaders++] = value;
		names = template_names(value);
		for (int j = 0; names != NIL && j < lengthof(writes); j++)
		{
			if (writes[j]->possible && (writes[j]->batch > 1 || writes[j]->bulk != NULL))
				definition_fail(subject, psprintf("header \"%s\" names column \"%s\", but a call may hold many rows",
											   members[i].name, (char *) linitial(names)),
							 "Leave the column out, or set \"batch\" to 1.");
		}
	}
}

void
definition_compile(Connector *connector, Jsonb *definition, Jsonb *object, const char *subject)
{
	JsonbValue	whole = definition_root(definition);
	JsonbValue	from = definition_root(object);
	JsonbValue	operations;

	connector->base_url = definition_text(&whole, "base_url");
	definition_compile_columns(connector, &from, subject);
	compile_key(connector, &from, subject);
	compile_read(connector, &from, subject);
	if (definition_get_in(&from, "write", &operations))
	{
		compile_operation(connector, &connector->insert, OUTBOX_INSERT, "insert", "POST", &whole, &from, &operations, subject);
		compile_operation(connector, &connector->update, OUTBOX_UPDATE, "update", "PATCH", &whole, &from, &operations, subject);
		compile_operation(connector, &connector->upsert, OUTBOX_UPSERT, "upsert", "PUT", &whole, &from, &operations, subject);
		compile_operation(connector, &connector->delete, OUTBOX_DELETE, "delete", "DELETE", &whole, &from, &operations, subject);
	}
	compile_row_at(connector, &from);
	compile_headers(connector, definition, subject);
	rate_compile(connector, definition, subject);
}
