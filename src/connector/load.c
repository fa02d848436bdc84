/*
 * load.c
 *	  From catalogs to a compiled connector: which definition a foreign table
 *	  has, and what a server offers.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "commands/defrem.h"
#include "connector/definition.h"
#include "connector/form.h"
#include "core/identity.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* columns of activate.connector */
#define CONNECTOR_NAME			1
#define CONNECTOR_DEFINITION	2

/*
 * One row, or all, of activate.connector: the definition of that name, or,
 * with name NULL, no definition but the list of all names.
 *
 * Read by a scan of our own: no SQL, hence no search path and no snapshot that
 * the caller must have, whoever the caller is.
 */
static Jsonb *
connector_scan(const char *name, List **names)
{
	Oid			schema = get_namespace_oid("activate", true);
	Oid			table = OidIsValid(schema) ? get_relname_relid("connector", schema) : InvalidOid;
	Jsonb	   *definition = NULL;
	Relation	relation;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!OidIsValid(table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there are no connectors: the extension activate is not created in this database"),
				 errhint("Run CREATE EXTENSION activate.")));
	relation = table_open(table, AccessShareLock);
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 0, NULL);
	while (definition == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		char	   *this = TextDatumGetCString(heap_getattr(tuple, CONNECTOR_NAME,
															RelationGetDescr(relation), &isnull));

		if (name == NULL)
			*names = lappend(*names, this);
		else if (strcmp(this, name) == 0)
			definition = DatumGetJsonbPCopy(heap_getattr(tuple, CONNECTOR_DEFINITION,
														 RelationGetDescr(relation), &isnull));
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return definition;
}

static int
load_compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

Jsonb *
connector_definition(const char *name)
{
	Jsonb	   *definition = connector_scan(name, NULL);
	List	   *names = NIL;
	StringInfoData all;
	ListCell   *lc;

	if (definition != NULL)
		return definition;
	(void) connector_scan(NULL, &names);
	list_sort(names, load_compare_names);
	initStringInfo(&all);
	foreach(lc, names)
		appendStringInfo(&all, "%s%s", foreach_current_index(lc) > 0 ? ", " : "", (char *) lfirst(lc));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("connector \"%s\" does not exist", name),
			 errhint("Connectors are: %s. Others are added by activate_connector().", all.data)));
}

Jsonb *
connector_definition_of(Oid server)
{
	const char *name = definition_option(GetForeignServer(server)->options, "connector");

	return name == NULL ? NULL : connector_definition(name);
}

/*
 * Without all objects but one, and what is for people: what is merged, copied
 * and checked for each table is not to grow with their number.
 */
static Jsonb *
load_narrow(Jsonb *definition, const char *object)
{
	JsonbValue	root = definition_root(definition);
	JsonbParseState *state = NULL;
	int			n;
	DefinitionMember *members = definition_members(&root, &n);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < n; i++)
	{
		bool		objects = strcmp(members[i].name, "objects") == 0 && members[i].value.type == jbvBinary;
		JsonbValue	key = {.type = jbvString};
		JsonbValue	one;

		if (strcmp(members[i].name, "gaps") == 0 || strcmp(members[i].name, "drift") == 0)
			continue;
		key.val.string.val = members[i].name;
		key.val.string.len = (int) strlen(members[i].name);
		pushJsonbValue(&state, WJB_KEY, &key);
		if (!objects)
		{
			pushJsonbValue(&state, WJB_VALUE, &members[i].value);
			continue;
		}
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		if (JsonContainerIsObject(members[i].value.val.binary.data) &&
			getKeyJsonValueFromContainer(members[i].value.val.binary.data, object, strlen(object), &one) != NULL)
		{
			key.val.string.val = unconstify(char *, object);
			key.val.string.len = (int) strlen(object);
			pushJsonbValue(&state, WJB_KEY, &key);
			pushJsonbValue(&state, WJB_VALUE, &one);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* known: the definition of its connector, if that is known already; NULL: it is not. */
static Jsonb *
load_server(ForeignServer *server, Jsonb *known, const char *object)
{
	const char *name = definition_option(server->options, "connector");
	const char *subject = psprintf("server \"%s\"", server->servername);
	DefinitionParameters parameters;
	Jsonb	   *definition;
	Jsonb	   *options;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("server \"%s\" names no connector", server->servername),
				 errhint("ALTER SERVER ... OPTIONS (ADD connector 'rest').")));
	definition = known ? known : connector_definition(name);
	options = definition_of_server(server->options);
	if (object != NULL)
	{
		definition = load_narrow(definition, object);
		options = load_narrow(options, object);
	}
	definition = definition_merge(definition, options);
	definition_parameters(&parameters, definition, server->options, NIL, subject);
	definition = definition_expand(definition, &parameters, true);
	definition_check(definition, DEFINITION_WHOLE, subject, "");
	return definition;
}

Jsonb *
definition_server(ForeignServer *server, const char *object)
{
	return load_server(server, NULL, object);
}

/* The object of a foreign table: the definition's, overruled by the table's options. */
static Jsonb *
load_object(Jsonb *definition, const Connector *connector, List *options, ForeignServer *server, const char *subject)
{
	Jsonb	   *own = definition_of_table(options);
	DefinitionParameters parameters;
	Jsonb	   *object = definition_object(definition, connector->object);
	JsonbValue	objects;

	if (object == NULL && definition_option(options, "path") == NULL)
	{
		definition = definition_server(server, NULL);
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s: connector \"%s\" has no object \"%s\"", subject, connector->name,
						connector->object),
				 errhint("Objects are: %s. Name one in the option \"object\", or describe it by \"path\".",
						 definition_get(definition, "objects", &objects) ? definition_names(&objects) : "none")));
	}
	if (object != NULL)
		own = definition_merge(object, own);
	definition_parameters(&parameters, definition, server->options, options, subject);
	parameters.object = connector->object;
	own = definition_expand(own, &parameters, false);
	definition_check(own, DEFINITION_OBJECT, subject, "");
	return own;
}

/* Names, and what the column's own options say. */
static void
load_columns(Connector *connector, Oid foreign_table)
{
	Relation	relation = table_open(foreign_table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(relation);

	connector->columns = palloc0(sizeof(TemplateColumn) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		TemplateColumn *column = &connector->columns[connector->ncolumns];
		List	   *options;
		const char *value;

		if (attribute->attisdropped)
			continue;
		options = GetForeignColumnOptions(foreign_table, attribute->attnum);
		column->name = pstrdup(NameStr(attribute->attname));
		column->path = definition_option(options, "path");
		value = definition_option(options, "readonly");
		if (value != NULL)
			(void) parse_bool(value, &column->skip);
		connector->ncolumns++;
	}
	table_close(relation, NoLock);
}

Connector *
connector_load(Oid foreign_table, MemoryContext context)
{
	return connector_load_known(foreign_table, NULL, context);
}

Connector *
connector_load_known(Oid foreign_table, Jsonb *known, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ForeignTable *table = GetForeignTable(foreign_table);
	ForeignServer *server = GetForeignServer(table->serverid);
	char	   *relation = get_rel_name(foreign_table);
	const char *subject = psprintf("foreign table \"%s\"", relation);
	const char *object = definition_option(table->options, "object");
	const char *proxy;
	Connector  *connector = palloc0(sizeof(Connector));
	Jsonb	   *definition;

	connector->table = foreign_table;
	connector->server = server->serverid;
	connector->name = pstrdup(definition_option(server->options, "connector"));
	connector->compress = definition_option(server->options, "compress") != NULL;
	if ((proxy = definition_option(server->options, "proxy")) != NULL)
		connector->proxy = pstrdup(proxy);
	if (definition_is_webhook(server->options))
	{
		const char *format = definition_option(server->options, "format");

		connector->format = format && strcmp(format, "row") == 0 ? FORMAT_ROW : FORMAT_CHANGE;
		connector->free_columns = true;
	}
	connector->object = pstrdup(object ? object : connector->free_columns ? "change" : relation);
	definition = load_server(server, known, connector->object);
	load_columns(connector, foreign_table);
	definition_compile(connector, definition,
					   load_object(definition, connector, table->options, server, subject), subject);
	/* unlike a base_url it may have a query: nothing is appended to it */
	if (connector->free_columns)
		connector->base_url = pstrdup(definition_option(server->options, "url"));
	if (connector->base_url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("%s: neither server \"%s\" nor its connector \"%s\" has a base_url", subject,
						server->servername, connector->name),
				 errhint("ALTER SERVER %s OPTIONS (ADD base_url 'https://...').",
						 quote_identifier(server->servername))));
	MemoryContextSwitchTo(old);
	return connector;
}

const ConnectorWrite *
connector_write(const Connector *connector, OutboxOp op)
{
	const ConnectorWrite *write = NULL;

	switch (op)
	{
		case OUTBOX_INSERT:
			write = &connector->insert;
			break;
		case OUTBOX_UPDATE:
			write = &connector->update;
			break;
		case OUTBOX_UPSERT:
			write = &connector->upsert;
			break;
		case OUTBOX_DELETE:
			write = &connector->delete;
			break;
		case OUTBOX_CHANGE:
		case OUTBOX_TRUNCATE:
			break;
	}
	return write != NULL && write->possible ? write : NULL;
}

Oid
connector_server_of(Oid relation)
{
	Oid			extension = identity_extension();
	ForeignServer *server;

	if (!OidIsValid(extension) || get_rel_relkind(relation) != RELKIND_FOREIGN_TABLE)
		return InvalidOid;
	server = GetForeignServer(GetForeignServerIdByRelId(relation));
	/* tables of files are ours, too, but nothing of an API */
	if (getExtensionOfObject(ForeignDataWrapperRelationId, server->fdwid) != extension ||
		strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, CONNECTOR_WRAPPER) != 0)
		return InvalidOid;
	return server->serverid;
}

/* Columns of an object of a definition: those of its key first, in its order. */
static ConnectorObject *
load_offer(const char *name, Jsonb *object)
{
	ConnectorObject *offer = palloc0(sizeof(ConnectorObject));
	JsonbValue	value;
	List	   *key = definition_get(object, "key", &value) ? definition_key(&value) : NIL;
	DefinitionMember *members = NULL;
	int			n = 0;

	if (definition_get(object, "columns", &value))
		members = definition_members(&value, &n);
	offer->name = pstrdup(name);
	offer->columns = palloc0(sizeof(ConnectorObjectColumn) * (n + 1));
	for (int rank = 0; rank <= list_length(key); rank++)
	{
		for (int i = 0; i < n; i++)
		{
			ConnectorObjectColumn *column = &offer->columns[offer->ncolumns];
			int			position = 0;
			ListCell   *lc;

			foreach(lc, key)
			{
				if (strcmp(lfirst(lc), members[i].name) == 0)
					break;
				position++;
			}
			if (position != rank || definition_text(&members[i].value, "from") != NULL)
				continue;
			column->name = members[i].name;
			column->type = members[i].value.type == jbvString ? template_scalar_text(&members[i].value)
				: definition_text(&members[i].value, "type");
			if (column->type == NULL)
				column->type = pstrdup("text");
			column->key = rank < list_length(key);
			offer->ncolumns++;
		}
	}
	return offer;
}

List *
connector_objects(Oid server, const char *object, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ForeignServer *from = GetForeignServer(server);
	Jsonb	   *definition = definition_server(from, object);
	List	   *offers = NIL;
	JsonbValue	objects;
	DefinitionMember *members = NULL;
	int			n = 0;
	DefinitionParameters parameters;

	if (definition_get(definition, "objects", &objects))
		members = definition_members(&objects, &n);
	/* a value that is missing still is no error: the tables say so when they are used */
	definition_parameters(&parameters, definition, from->options, NIL, from->servername);
	parameters.declaring = true;
	for (int i = 0; i < n; i++)
	{
		/* null: the option "objects" took it away */
		if (members[i].value.type != jbvNull && (object == NULL || strcmp(object, members[i].name) == 0))
		{
			parameters.object = members[i].name;
			offers = lappend(offers, load_offer(members[i].name,
												definition_expand(definition_object(definition, members[i].name), &parameters, false)));
		}
	}
	if (object != NULL && offers == NIL)
	{
		n = definition_get(definition_server(from, NULL), "objects", &objects) ? JsonContainerSize(objects.val.binary.data) : 0;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" has no object \"%s\"", from->servername, object),
				 errhint("Objects are: %s.", n > 0 ? definition_names(&objects) : "none")));
	}
	MemoryContextSwitchTo(old);
	return offers;
}

/* What a definition says apart from objects: of those that only tables name nothing more is known yet. */
static void
check_whole(Jsonb *definition, const char *subject)
{
	JsonbValue	root = definition_root(definition);
	Connector	connector = {0};
	ConnectorAnswer answer = {0};

	(void) form_compile(&root, subject);
	rate_compile(&connector, definition, subject);
	definition_compile_rules(&answer, &root, "any object", subject);
}

/* Each object compiles as if a foreign table with all its columns existed. */
void
connector_check_definition(Jsonb *definition)
{
	JsonbValue	root = definition_root(definition);
	char	   *name = definition_text(&root, "name");
	char	   *subject = name ? psprintf("connector \"%s\"", name) : pstrdup("definition");
	JsonbValue	objects;
	DefinitionMember *members;
	DefinitionParameters parameters;
	int			n;

	definition_check(definition, DEFINITION_WHOLE, subject, "");
	definition_parameters(&parameters, definition, NIL, NIL, subject);
	parameters.declaring = true;
	definition = definition_expand(definition, &parameters, true);
	check_whole(definition, subject);
	if (!definition_get(definition, "objects", &objects))
		return;
	members = definition_members(&objects, &n);
	for (int i = 0; i < n; i++)
	{
		Connector	connector = {0};
		Jsonb	   *object = definition_object(definition, members[i].name);
		ConnectorObject *offer;

		if (object == NULL)
			continue;
		offer = load_offer(members[i].name, object);
		connector.ncolumns = offer->ncolumns;
		connector.columns = palloc0(sizeof(TemplateColumn) * (offer->ncolumns + 1));
		for (int j = 0; j < offer->ncolumns; j++)
			connector.columns[j].name = offer->columns[j].name;
		parameters.subject = psprintf("%s, object \"%s\"", subject, members[i].name);
		parameters.object = members[i].name;
		definition_compile(&connector, definition, definition_expand(object, &parameters, false), parameters.subject);
	}
}
