/*
 * compile_lookup.c
 *	  The member "lookup" of an operation: search before write.
 *
 * An upsert with a lookup has no request of its own: what is found is updated,
 * what is not is inserted.
 */
#include "postgres.h"

#include "connector/definition.h"

static void
check_body(const Connector *connector, const ConnectorWrite *write, OutboxOp op, Jsonb *body, const char *where,
		   const char *subject)
{
	JsonbIterator *it = JsonbIteratorInit(&body->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString)
			definition_check_names(connector, write, op, pnstrdup(value.val.string.val, value.val.string.len), "body",
								   where, subject);
}

static void
compile_conflicts(ConnectorLookup *lookup, const JsonbValue *from)
{
	JsonbValue	list;
	DefinitionMember *elements;

	if (!definition_get_in(from, "conflict", &list))
	{
		lookup->conflicts = palloc(sizeof(int));
		lookup->conflicts[lookup->nconflicts++] = 409;
		return;
	}
	elements = definition_members(&list, &lookup->nconflicts);
	lookup->conflicts = palloc(sizeof(int) * lookup->nconflicts);
	for (int i = 0; i < lookup->nconflicts; i++)
		lookup->conflicts[i] = atoi(template_scalar_text(&elements[i].value));
}

/* The request, which is built like that of an operation. */
static void
compile_search(Connector *connector, ConnectorLookup *lookup, OutboxOp op, const JsonbValue *object,
			   const JsonbValue *from, const char *where, const char *subject)
{
	ConnectorWrite *write = &lookup->write;
	JsonbValue	body;

	write->possible = write->search = write->no_body = write->idempotent = true;
	write->batch = 1;
	write->envelope = pstrdup("");
	write->method = definition_text(from, "method");
	write->path = definition_text(from, "path");
	write->cost = definition_int(from, "cost", 1);
	if (write->path == NULL)
		write->path = definition_text(object, "path");
	if (write->path == NULL || lookup->id == NULL)
		definition_fail(subject, psprintf("\"%s\" needs \"path\" and \"id\"", where),
						"Write {\"path\": \"/contacts\", \"query\": {\"email\": \"{email}\"}, \"records\": \"data\", \"id\": \"id\"}.");
	definition_check_names(connector, write, op, write->path, "path", where, subject);
	definition_compile_shape(connector, write, op, object, from, where, subject);
	if (definition_get_in(from, "body", &body))
	{
		lookup->body = JsonbValueToJsonb(&body);
		check_body(connector, write, op, lookup->body, where, subject);
	}
	if (write->method == NULL)
		write->method = pstrdup(lookup->body ? "POST" : "GET");
}

void
compile_lookup(Connector *connector, ConnectorWrite *write, OutboxOp op, const JsonbValue *whole, const JsonbValue *object,
			   const JsonbValue *operation, const char *where, const char *subject)
{
	ConnectorLookup *lookup = palloc0(sizeof(ConnectorLookup));
	JsonbValue	from;

	(void) definition_get_in(operation, "lookup", &from);
	where = psprintf("%s.lookup", where);
	if (op == OUTBOX_INSERT)
		definition_fail(subject, psprintf("\"%s\" is of no use", where), "An insert makes a new record: write \"upsert\" instead.");
	lookup->records = definition_text(&from, "records");
	lookup->id = definition_text(&from, "id");
	lookup->match = definition_text(&from, "match");
	lookup->column = definition_text(&from, "column");
	if ((lookup->match == NULL) != (lookup->column == NULL) || (lookup->match != NULL && lookup->records == NULL))
		definition_fail(subject, psprintf("\"%s\" has one of \"match\" and \"column\"", where),
						"\"match\" is the path, in a record of \"records\", of what must equal the row's \"column\".");
	if (lookup->column != NULL)
		definition_check_names(connector, &lookup->write, op, psprintf("{%s}", lookup->column), "column", where, subject);
	compile_search(connector, lookup, op, object, &from, where, subject);
	definition_compile_rules(&lookup->write.answer, whole, where, subject);
	compile_conflicts(lookup, &from);
	lookup->found = op == OUTBOX_UPSERT ? &connector->update : write;
	lookup->none = op == OUTBOX_UPSERT ? &connector->insert : NULL;
	write->lookup = lookup;
	if (op != OUTBOX_UPSERT)
		return;
	if (!connector->insert.possible || !connector->update.possible || connector->insert.batch > 1 || connector->update.batch > 1)
		definition_fail(subject, psprintf("\"%s\" needs \"insert\" and \"update\", each of one row", where),
						"What is found is updated, what is not is inserted.");
	write->method = pstrdup(lookup->write.method);
	write->path = lookup->write.path;
	write->batch = 1;
	write->envelope = pstrdup("");
	write->idempotent = true;
	write->cost = lookup->write.cost + Max(connector->insert.cost, connector->update.cost);
}
