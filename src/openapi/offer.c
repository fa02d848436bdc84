/*
 * offer.c
 *	  What the room's SQL asks of definitions: one by name, and what a server
 *	  offers as tables, for comparing them with those there are.
 */
#include "postgres.h"

#include "core/compat.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "openapi/openapi.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

ACTIVATE_FUNCTION(openapi_sql_definition);
ACTIVATE_FUNCTION(openapi_sql_offer);

Datum
openapi_sql_definition(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(connector_definition(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

static ForeignServer *
offer_server(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, false);
	AclResult	may = compat_server_aclcheck(server->serverid, GetUserId(), ACL_USAGE);

	if (may != ACLCHECK_OK)
		aclcheck_error(may, OBJECT_FOREIGN_SERVER, name);
	if (strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, CONNECTOR_WRAPPER) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is none of the foreign data wrapper \"%s\"", name, CONNECTOR_WRAPPER),
				 errhint("Name the server of a web API, as activate_target() makes them.")));
	return server;
}

/* As format_type() writes it; what is no type as the definition has it. */
static char *
offer_type(const char *text)
{
	Oid			type = InvalidOid;
	int32		typmod = -1;

	compat_parse_type(text, &type, &typmod);
	return OidIsValid(type) ? format_type_with_typemod(type, typmod) : pstrdup(text);
}

Datum
openapi_sql_offer(PG_FUNCTION_ARGS)
{
	ForeignServer *server = offer_server(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	StringInfoData out;
	ListCell   *cell;
	Jsonb	   *definition = connector_definition_of(server->serverid);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"objects\": {");
	foreach(cell, connector_objects(server->serverid, NULL, CurrentMemoryContext))
	{
		const ConnectorObject *object = lfirst(cell);

		openapi_print_name(&out, object->name);
		appendStringInfoChar(&out, '{');
		for (int i = 0; i < object->ncolumns; i++)
			openapi_print_member(&out, object->columns[i].name, offer_type(object->columns[i].type));
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoString(&out, "}, \"drift\": ");
	if (definition != NULL)
	{
		OpenapiNode root = openapi_root(definition);
		OpenapiNode drift = openapi_get(&root, "drift");

		appendStringInfoString(&out, openapi_is_array(&drift) ? JsonbToCString(NULL, drift.val.binary.data, drift.val.binary.len) : "[]");
	}
	else
		appendStringInfoString(&out, "[]");
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
