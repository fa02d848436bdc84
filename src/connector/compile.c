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

pg_noreturn static void
compile_fail(const char *subject, const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s: %s", subject, message),
			 errhint("%s", hint)));
}

/* Measured at 50 ms latency: 8 give most of what more would (docs/decisions.md), and few APIs mind. */
#define PAGES_IN_FLIGHT	8

static bool
compile_has_column(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->ncolumns; i++)
	{
		if (strcmp(connector->columns[i].name, name) == 0)
			return true;
	}
	return false;
}

static char *
compile_column_names(const Connector *connector)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < connector->ncolumns; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", connector->columns[i].name);
	return names.data;
}

static void
compile_require_column(const Connector *connector, const char *name, const char *where, const char *subject)
{
	if (!compile_has_column(connector, name))
		compile_fail(subject, psprintf("%s names a column \"%s\" that does not exist", where, name),
					 psprintf("The columns are: %s.", compile_column_names(connector)));
}

/* Path and readonly of columns, where the foreign table's own options do not say. */
static void
compile_columns(Connector *connector, const JsonbValue *object)
{
	JsonbValue	columns;
	JsonbValue	column;
	StringInfoData row;

	if (definition_get_in(object, "columns", &columns))
	{
		for (int i = 0; i < connector->ncolumns; i++)
		{
			TemplateColumn *known = &connector->columns[i];

			if (!definition_get_in(&columns, known->name, &column))
				continue;
			if (known->path == NULL)
				known->path = definition_text(&column, "path");
			known->skip = known->skip || definition_bool(&column, "readonly", false);
		}
	}

	/* two columns at one place, found by printing a row that has them all */
	initStringInfo(&row);
	appendStringInfoChar(&row, '{');
	for (int i = 0; i < connector->ncolumns; i++)
	{
		appendStringInfoString(&row, i > 0 ? ", " : "");
		template_append_string(&row, connector->columns[i].name);
		appendStringInfoString(&row, ": null");
	}
	appendStringInfoChar(&row, '}');
	template_append_object(&row, definition_parse(pstrdup(row.data), "columns", false),
						   connector->columns, connector->ncolumns);
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

		compile_require_column(connector, name, "\"key\"", subject);
		for (int i = 0; i < connector->nkeys; i++)
		{
			if (strcmp(connector->key[i], name) == 0)
				compile_fail(subject, psprintf("\"key\" names \"%s\" twice", name),
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
		compile_fail(subject, "\"read.page\" does not say its \"style\"",
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
		compile_fail(subject, "\"read.page\" has an empty parameter name",
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
		return;
	}
	if (from.type == jbvBool)
		return;
	read->possible = true;
	read->path = definition_text(&from, "path");
	if (read->path == NULL)
		read->path = path;
	if (read->path == NULL)
		compile_fail(subject, "\"read\" needs a path", "Write \"path\" of the object or of \"read\".");
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
}

/* An operation's own "answer" over the object's, member by member. */
static void
compile_answer(ConnectorWrite *write, const Connector *connector, const JsonbValue *object,
			   const JsonbValue *operation, const char *where, const char *subject)
{
	static const char *const shapes[] = {"status", "array", "errors", "keyed"};
	ConnectorAnswer *answer = &write->answer;
	JsonbValue	common;
	JsonbValue	own;
	const char *shape = NULL;

	if (!definition_get_in(object, "answer", &common))
		common.type = jbvNull;
	if (!definition_get_in(operation, "answer", &own))
		own.type = jbvNull;
#define ANSWER_MEMBER(name) \
	(definition_text(&own, name) ? definition_text(&own, name) : definition_text(&common, name))
	shape = ANSWER_MEMBER("shape");
	answer->shape = ANSWER_STATUS;
	for (int i = 0; shape != NULL && i < lengthof(shapes); i++)
	{
		if (strcmp(shapes[i], shape) == 0)
			answer->shape = (AnswerShape) i;
	}
	answer->path = ANSWER_MEMBER("path");
	answer->status = ANSWER_MEMBER("status");
	answer->ok = ANSWER_MEMBER("ok");
	answer->error = ANSWER_MEMBER("error");
	answer->index = ANSWER_MEMBER("index");
	answer->key = ANSWER_MEMBER("key");
	answer->column = ANSWER_MEMBER("column");
	answer->id = ANSWER_MEMBER("id");
#undef ANSWER_MEMBER
	/* no list of failures: nothing failed */
	answer->optional = definition_bool(&own, "optional",
									   definition_bool(&common, "optional", answer->shape == ANSWER_ERRORS));
	if (answer->shape == ANSWER_ERRORS && answer->index == NULL)
		compile_fail(subject, psprintf("the answer of \"%s\" has the shape \"errors\" but no \"index\"", where),
					 "\"index\" is the path, in an error, of the position of the row that it is about.");
	if (answer->shape == ANSWER_KEYED && answer->key == NULL)
		compile_fail(subject, psprintf("the answer of \"%s\" has the shape \"keyed\" but no \"key\"", where),
					 "\"key\" is the path, in an element, of the value that equals the row's \"column\".");
	if (answer->shape == ANSWER_KEYED && answer->column == NULL)
	{
		if (connector->nkeys != 1)
			compile_fail(subject, psprintf("the answer of \"%s\" has the shape \"keyed\" but no \"column\"", where),
						 "\"column\" is the row's column whose value is echoed; only a key of one column is a default.");
		answer->column = connector->key[0];
	}
	if (answer->column != NULL && !connector->free_columns)
		compile_require_column(connector, answer->column, "\"answer.column\"", subject);
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

static void
compile_write_path(const Connector *connector, ConnectorWrite *write, OutboxOp op,
				   const char *path, const char *where, const char *subject)
{
	ListCell   *lc;
	List	   *names;

	if (write->path == NULL && path == NULL)
		compile_fail(subject, psprintf("\"%s\" needs a path", where),
					 "Write \"path\" of the object or of the operation.");
	if (write->path == NULL && write->batch == 1 && op != OUTBOX_INSERT && !connector->free_columns)
	{
		if (connector->nkeys == 0)
			compile_fail(subject, psprintf("\"%s\" needs a path or a key", where),
						 "Write \"key\" of the object, or \"path\" of the operation, as in \"/contacts/{id}\".");
		write->path = compile_row_path(connector, path);
	}
	if (write->path == NULL)
		write->path = pstrdup(path);
	names = template_names(write->path);
	if (write->batch > 1 && names != NIL)
		compile_fail(subject, psprintf("\"%s\" has a batch, but its path names column \"%s\"",
									   where, (char *) linitial(names)),
					 "A call of many rows has one path: leave the column out, or set \"batch\" to 1.");
	foreach(lc, names)
	{
		char	   *name = lfirst(lc);

		if (strcmp(name, "remote_id") != 0)
			compile_require_column(connector, name, psprintf("the path of \"%s\"", where), subject);
		if (op == OUTBOX_DELETE && strcmp(name, "remote_id") != 0)
		{
			bool		in_key = false;

			for (int i = 0; i < connector->nkeys; i++)
				in_key = in_key || strcmp(connector->key[i], name) == 0;
			if (!in_key)
				compile_fail(subject, psprintf("the path of \"%s\" names column \"%s\", which is not in the key",
											   where, name),
							 "Of a deleted row only its key is known, and \"remote_id\".");
		}
	}
}

static void
compile_operation(Connector *connector, ConnectorWrite *write, OutboxOp op, const char *method,
				  const JsonbValue *object, const JsonbValue *operations, const char *subject)
{
	const char *name = outbox_op_name(op);
	const char *where = psprintf("write.%s", name);
	const char *body;
	JsonbValue	operation;

	if (!definition_get_in(operations, name, &operation))
		return;
	write->possible = true;
	write->method = definition_text(&operation, "method");
	write->batch = definition_int(&operation, "batch", 1);
	if (write->method == NULL)
		write->method = pstrdup(write->batch > 1 ? "POST" : method);
	write->path = definition_text(&operation, "path");
	compile_write_path(connector, write, op, definition_text(object, "path"), where, subject);
	write->envelope = definition_text(&operation, "envelope");
	if (write->envelope != NULL && write->batch == 1)
		compile_fail(subject, psprintf("\"%s\" has an envelope but no batch", where),
					 "\"envelope\" is the path of the array of rows in a call of many; set \"batch\" above 1.");
	if (write->batch > 1 && write->envelope == NULL)
		write->envelope = pstrdup("");
	body = definition_text(&operation, "body");
	write->no_body = body ? strcmp(body, "none") == 0 : op == OUTBOX_DELETE && write->batch == 1;
	if (write->no_body && write->batch > 1)
		compile_fail(subject, psprintf("\"%s\" has a batch but no body", where),
					 "A call of many rows needs a body.");
	write->idempotent = definition_bool(&operation, "idempotent",
										op == OUTBOX_UPSERT || op == OUTBOX_DELETE ||
										strcmp(write->method, "PUT") == 0);
	write->cost = definition_int(&operation, "cost", 1);
	compile_answer(write, connector, object, &operation, where, subject);
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
			if (writes[j]->possible && writes[j]->batch > 1)
				compile_fail(subject, psprintf("header \"%s\" names column \"%s\", but a call may hold many rows",
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
	compile_columns(connector, &from);
	compile_key(connector, &from, subject);
	compile_read(connector, &from, subject);
	if (definition_get_in(&from, "write", &operations))
	{
		compile_operation(connector, &connector->insert, OUTBOX_INSERT, "POST", &from, &operations, subject);
		compile_operation(connector, &connector->update, OUTBOX_UPDATE, "PATCH", &from, &operations, subject);
		compile_operation(connector, &connector->upsert, OUTBOX_UPSERT, "PUT", &from, &operations, subject);
		compile_operation(connector, &connector->delete, OUTBOX_DELETE, "DELETE", &from, &operations, subject);
	}
	compile_headers(connector, definition, subject);
	rate_compile(connector, definition, subject);
}
