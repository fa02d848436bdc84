/*
 * tables.c
 *	  The schema and the foreign tables of a target, made or brought up to date.
 *
 * By SQL statements with the caller's rights: none of them holds a secret, and
 * whoever watches DDL (event triggers, logs) is to see them.  A table follows
 * its object's definition, but no column is taken away from a sync.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/own.h"
#include "executor/spi.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static void
tables_execute(const char *sql)
{
	int			result;

	SPI_connect();
	result = SPI_execute(sql, false, 0);
	if (result != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result %s of DDL", SPI_result_code_string(result));
	SPI_finish();
}

void
rest_check_unused(Oid relation, const char *column, const char *verb)
{
	Oid			types[] = {REGCLASSOID, NAMEOID};
	NameData	name;
	Datum		values[2];
	char	   *users;

	namestrcpy(&name, column);
	values[0] = ObjectIdGetDatum(relation);
	values[1] = NameGetDatum(&name);

	/* All syncs, whoever owns them. */
	users = own_text("SELECT activate._column_users($1, $2)", 2, types, values);
	if (users != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot %s column \"%s\" of foreign table \"%s\"", verb, column,
						rest_table_name(relation)),
				 errdetail("It may be used by sync %s.", users),
				 errhint("Keep the column in the object's definition, or declare the sync without it first.")));
}

static const ConnectorObjectColumn *
tables_find_column(const ConnectorObject *object, const char *name)
{
	for (int i = 0; i < object->ncolumns; i++)
	{
		if (strcmp(object->columns[i].name, name) == 0)
			return &object->columns[i];
	}
	return NULL;
}

/* What the table has and the object has no more, or otherwise.  List of clauses of ALTER FOREIGN TABLE. */
static List *
tables_changed_columns(Oid relation, const ConnectorObject *object)
{
	Relation	table = table_open(relation, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(table);
	List	   *clauses = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		char	   *name = NameStr(attribute->attname);
		const ConnectorObjectColumn *column;
		Oid			type;
		int32		typmod;

		if (attribute->attisdropped)
			continue;
		column = tables_find_column(object, name);
		if (column == NULL)
		{
			rest_check_unused(relation, name, "drop");
			clauses = lappend(clauses, psprintf("DROP COLUMN %s", quote_identifier(name)));
			continue;
		}
		rest_object_type(object, column, &type, &typmod);
		if (type != attribute->atttypid || typmod != attribute->atttypmod)
		{
			rest_check_unused(relation, name, "change the type of");
			clauses = lappend(clauses, psprintf("ALTER COLUMN %s TYPE %s", quote_identifier(name),
												rest_type_text(type, typmod)));
		}
	}
	table_close(table, NoLock);
	return clauses;
}

static List *
tables_new_columns(Oid relation, const ConnectorObject *object)
{
	List	   *clauses = NIL;

	for (int i = 0; i < object->ncolumns; i++)
	{
		const ConnectorObjectColumn *column = &object->columns[i];
		Oid			type;
		int32		typmod;

		if (get_attnum(relation, column->name) != InvalidAttrNumber)
			continue;
		rest_object_type(object, column, &type, &typmod);
		clauses = lappend(clauses, psprintf("ADD COLUMN %s %s", quote_identifier(column->name),
											rest_type_text(type, typmod)));
	}
	return clauses;
}

static bool
tables_has(JsonbContainer *objects, const char *object)
{
	JsonbValue	value;

	return JsonContainerIsObject(objects) &&
		getKeyJsonValueFromContainer(objects, object, strlen(object), &value) != NULL;
}

/* Was the object described in this call?  Else what a DBA changed by hand stays. */
static bool
tables_described(Jsonb *options, const char *object)
{
	JsonbValue	objects;

	return getKeyJsonValueFromContainer(&options->root, "objects", strlen("objects"), &objects) != NULL &&
		objects.type == jbvBinary && tables_has(objects.val.binary.data, object);
}

static void
tables_one(const char *target, Oid server, Oid schema, const ConnectorObject *object)
{
	Oid			relation = get_relname_relid(object->name, schema);
	List	   *clauses;
	ListCell   *cell;
	StringInfoData sql;

	if (!OidIsValid(relation))
	{
		tables_execute(rest_create_table(target, object, target));
		relation = get_relname_relid(object->name, schema);
	}
	else if (connector_server_of(relation) != server)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" exists and does not belong to target \"%s\"",
						rest_table_name(relation), target),
				 errhint("Choose another name for the target, or rename the relation.")));
	else
	{
		clauses = list_concat(tables_changed_columns(relation, object), tables_new_columns(relation, object));
		initStringInfo(&sql);
		foreach(cell, clauses)
			appendStringInfo(&sql, "%s %s", sql.len > 0 ? "," : "", (char *) lfirst(cell));
		if (clauses != NIL)
			tables_execute(psprintf("ALTER FOREIGN TABLE %s%s",
									quote_qualified_identifier(target, object->name), sql.data));
	}
}

/*
 * Is the table of an object that was not described to be left alone?  One that
 * is missing was dropped by hand, unless the connector's definition has it anew.
 */
static bool
tables_leave(Oid relation, Oid server, const ConnectorObject *object, Jsonb *before)
{
	return OidIsValid(relation) ? connector_server_of(relation) == server :
		before != NULL && tables_has(&before->root, object->name);
}

void
rest_target_tables(const char *target, Oid server, Jsonb *options, bool present, Jsonb *before)
{
	List	   *objects = connector_objects(server, NULL, CurrentMemoryContext);
	Oid			schema = get_namespace_oid(target, true);
	/* read once: of an API of a thousand objects it is many megabytes */
	Jsonb	   *definition = connector_definition_of(server);
	MemoryContext old = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(old, "activate table", ALLOCSET_DEFAULT_SIZES);
	ListCell   *cell;

	if (!OidIsValid(schema))
	{
		tables_execute(psprintf("CREATE SCHEMA %s", quote_identifier(target)));
		schema = get_namespace_oid(target, false);
	}
	foreach(cell, objects)
	{
		ConnectorObject *object = lfirst(cell);
		Oid			relation = get_relname_relid(object->name, schema);

		MemoryContextSwitchTo(scratch);
		if (!present || tables_described(options, object->name) || !tables_leave(relation, server, object, before))
			tables_one(target, server, schema, object);

		/* Compiled once, so that what is wrong with it is told now. */
		relation = get_relname_relid(object->name, schema);
		if (OidIsValid(relation))
		{
			Connector  *connector = connector_load_known(relation, definition, scratch);

			http_check_url(connector->base_url, connector->proxy);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
	}
	MemoryContextDelete(scratch);
	if (objects == NIL)
		ereport(NOTICE,
				(errmsg("target \"%s\" has no objects", target),
				 errhint("Name them in the option \"objects\", or use CREATE FOREIGN TABLE ... SERVER %s.",
						 quote_identifier(target))));
}
