/*
 * object.c
 *	  Objects of a definition as foreign tables: IMPORT FOREIGN SCHEMA, and
 *	  the statements that activate_target() runs.
 *
 * Names and types come from JSON that anybody may have written: names are
 * quoted, types are parsed and written out again by PostgreSQL.
 */
#include "postgres.h"

#include "core/compat.h"
#include "foreign/foreign.h"
#include "parser/parse_type.h"
#include "rest/rest.h"
#include "utils/builtins.h"

#define REST_TYPE_HINT \
	"Any SQL type will do, such as text, bigint, numeric, boolean, timestamptz, text[] or jsonb."

char *
rest_type_text(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/*
 * A type's name, parsed as SQL parses it.  What is no type name at all is told
 * as plainly as one that is unknown.
 */
void
rest_object_type(const ConnectorObject *object, const ConnectorObjectColumn *column,
				 Oid *type, int32 *typmod)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		compat_parse_type(column->type, type, typmod);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) !=
			ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION) &&
			ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION))
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(error->sqlerrcode),
				 errmsg("column \"%s\" of object \"%s\" has an invalid type \"%s\"",
						column->name, object->name, column->type),
				 errdetail("%s.", error->message),
				 errhint(REST_TYPE_HINT)));
	}
	PG_END_TRY();
	if (!OidIsValid(*type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("column \"%s\" of object \"%s\" has an unknown type \"%s\"",
						column->name, object->name, column->type),
				 errhint(REST_TYPE_HINT)));
}

char *
rest_create_table(const char *schema, const ConnectorObject *object, const char *server)
{
	StringInfoData sql;

	if (strlen(object->name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of object \"%s\" is too long for a table", object->name),
				 errhint("At most %d bytes are allowed.", NAMEDATALEN - 1)));

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE FOREIGN TABLE %s (",
					 quote_qualified_identifier(schema, object->name));
	for (int i = 0; i < object->ncolumns; i++)
	{
		Oid			type;
		int32		typmod;

		rest_object_type(object, &object->columns[i], &type, &typmod);
		appendStringInfo(&sql, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(object->columns[i].name), rest_type_text(type, typmod));
	}
	appendStringInfo(&sql, ") SERVER %s OPTIONS (object %s)",
					 quote_identifier(server), quote_literal_cstr(object->name));
	return sql.data;
}

/* The remote schema's name means nothing to an API: any will do. */
List *
rest_import(ImportForeignSchemaStmt *stmt, Oid server)
{
	List	   *commands = NIL;
	ListCell   *cell;

	foreach(cell, connector_objects(server, NULL, CurrentMemoryContext))
		commands = lappend(commands,
						   rest_create_table(stmt->local_schema, lfirst(cell), stmt->server_name));
	return commands;
}
