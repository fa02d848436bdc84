/*
 * tables.c
 *	  activate_target() of files: schema and foreign tables, made or brought up
 *	  to date with the caller's rights.
 *
 * Names and types come from JSON that anybody may have written: names are
 * quoted, types are parsed and written out again by PostgreSQL.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "core/compat.h"
#include "core/own.h"
#include "executor/spi.h"
#include "file/reader.h"
#include "foreign/foreign.h"
#include "parser/parse_func.h"
#include "rest/rest.h"
#include "template/template.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

ACTIVATE_FUNCTION(activate_file_tables);

/* A column as an object describes it. */
typedef struct FileColumn
{
	const char *name;
	char	   *type;			/* as SQL has it */
	char	   *path;			/* NULL: none */
	char	   *optional;
} FileColumn;

static void one_table(const char *target, Oid server, const char *name, Jsonb *object);
static List *read_columns(const char *name, Jsonb *object);
static char *create_clauses(List *columns);
static char *alter_clauses(Oid relation, List *columns);
static char *option_clauses(Jsonb *object, List *present, bool alter);

static void
execute(const char *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result of DDL");
	SPI_finish();
}

Datum
activate_file_tables(PG_FUNCTION_ARGS)
{
	char	   *target = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb	   *objects = PG_GETARG_JSONB_P(1);
	Oid			server = GetForeignServerByName(target, false)->serverid;
	JsonbIterator *iterator = JsonbIteratorInit(&objects->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	if (!OidIsValid(get_namespace_oid(target, true)))
		execute(psprintf("CREATE SCHEMA %s", quote_identifier(target)));
	if (!JB_ROOT_IS_OBJECT(objects))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"objects\" of target \"%s\" is no JSON object", target),
				 errhint("For example: '{\"orders\": {\"files\": \"orders-*.csv\", \"columns\": {\"id\": \"bigint\"}}}'.")));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			one_table(target, server, name, value.type == jbvBinary ? JsonbValueToJsonb(&value) : NULL);
	}
	PG_RETURN_VOID();
}

static void
one_table(const char *target, Oid server, const char *name, Jsonb *object)
{
	char	   *qualified = quote_qualified_identifier(target, name);
	Oid			relation = get_relname_relid(name, get_namespace_oid(target, false));
	List	   *columns;
	Datum		id;

	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("object \"%s\" of target \"%s\" is no JSON object", name, target)));
	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("name of object \"%s\" is too long for a table", name),
				 errhint("At most %d bytes are allowed.", NAMEDATALEN - 1)));
	columns = read_columns(name, object);
	if (!OidIsValid(relation))
		execute(psprintf("CREATE FOREIGN TABLE %s (%s) SERVER %s%s", qualified, create_clauses(columns),
						 quote_identifier(target), option_clauses(object, NIL, false)));
	else if (!file_is_table(relation) || GetForeignTable(relation)->serverid != server)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s.%s\" exists and does not belong to target \"%s\"", target, name, target),
				 errhint("Choose another name for the target, or rename the relation.")));
	else
	{
		char	   *clauses = alter_clauses(relation, columns);
		char	   *options = option_clauses(object, GetForeignTable(relation)->options, true);

		if (*clauses || *options)
			execute(psprintf("ALTER FOREIGN TABLE %s %s%s%s", qualified, clauses, *clauses && *options ? "," : "", options));
	}
	relation = get_relname_relid(name, get_namespace_oid(target, false));
	id = ObjectIdGetDatum(relation);
	(void) OidFunctionCall1(LookupFuncName(list_make2(makeString("activate"), makeString("_file_check")), 1,
										   (Oid[]) {REGCLASSOID}, false), id);
}

static List *
add_columns(const char *name, JsonbContainer *members, List *columns)
{
	ConnectorObject owner = {.name = unconstify(char *, name)};
	JsonbIterator *iterator = JsonbIteratorInit(members);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *column_name = NULL;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		FileColumn *column;
		ConnectorObjectColumn described = {0};
		Oid			type;
		int32		typmod;

		if (token == WJB_KEY)
			column_name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		column = palloc0(sizeof(FileColumn));
		described.name = column_name;
		if (value.type == jbvString)
			described.type = template_scalar_text(&value);
		else if (value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data))
		{
			Jsonb	   *more = JsonbValueToJsonb(&value);

			described.type = template_member_text(more, "type");
			column->path = template_member_text(more, "path");
			column->optional = template_member_text(more, "optional");
		}
		if (described.type == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" of object \"%s\" has no type", column_name, name),
					 errhint("Write \"bigint\", or {\"type\": \"bigint\", \"path\": \"its name in the file\"}.")));
		rest_object_type(&owner, &described, &type, &typmod);
		column->name = column_name;
		column->type = rest_type_text(type, typmod);
		columns = lappend(columns, column);
	}
	return columns;
}

/* {"id": "bigint", ...} where names are in the files, else [{"id": "bigint"}, ...]: members of an object have no order. */
static List *
read_columns(const char *name, Jsonb *object)
{
	JsonbValue	buffer;
	JsonbValue *members = getKeyJsonValueFromContainer(&object->root, "columns", strlen("columns"), &buffer);
	char	   *format = template_member_text(object, "format");
	char	   *header = template_member_text(object, "header");
	bool		named = (format != NULL && strstr(format, "json") != NULL) || (header != NULL && strcmp(header, "true") == 0);
	JsonbContainer *container = members != NULL && members->type == jbvBinary ? members->val.binary.data : NULL;
	List	   *columns = NIL;

	if (container != NULL && JsonContainerIsObject(container) && (named || JsonContainerSize(container) <= 1))
		columns = add_columns(name, container, NIL);
	else if (container != NULL && JsonContainerIsArray(container))
	{
		for (uint32 i = 0; i < JsonContainerSize(container); i++)
		{
			JsonbValue *element = getIthJsonbValueFromContainer(container, i);

			if (element->type == jbvBinary && JsonContainerIsObject(element->val.binary.data))
				columns = add_columns(name, element->val.binary.data, columns);
		}
	}
	if (columns == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 container != NULL && !named ? errmsg("columns of object \"%s\" have no order", name) :
				 errmsg("object \"%s\" has no \"columns\"", name),
				 errhint("Write \"columns\": [{\"id\": \"bigint\"}, {\"name\": \"text\"}], or with \"header\": true or JSON {\"id\": \"bigint\", \"name\": \"text\"}.")));
	return columns;
}

static char *
path_clause(const FileColumn *column)
{
	char	   *path = column->path ? psprintf("path %s", quote_literal_cstr(column->path)) : "";
	char	   *optional = column->optional ? psprintf("optional %s", quote_literal_cstr(column->optional)) : "";

	return *path || *optional ? psprintf(" OPTIONS (%s%s%s)", path, *path && *optional ? ", " : "", optional) : "";
}

static char *
create_clauses(List *columns)
{
	StringInfoData sql;
	ListCell   *cell;

	initStringInfo(&sql);
	foreach(cell, columns)
	{
		FileColumn *column = lfirst(cell);

		appendStringInfo(&sql, "%s%s %s%s", sql.len > 0 ? ", " : "", quote_identifier(column->name), column->type,
						 path_clause(column));
	}
	return sql.data;
}

/* Columns that stay keep their place; files without a header want new ones last, as they are. */
static char *
alter_clauses(Oid relation, List *columns)
{
	StringInfoData sql;
	Relation	table = table_open(relation, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(table);
	ListCell   *cell;

	initStringInfo(&sql);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		const char *name = NameStr(attribute->attname);
		FileColumn *found = NULL;

		if (attribute->attisdropped)
			continue;
		foreach(cell, columns)
			if (strcmp(((FileColumn *) lfirst(cell))->name, name) == 0)
				found = lfirst(cell);
		if (found != NULL && strcmp(found->type, rest_type_text(attribute->atttypid, attribute->atttypmod)) == 0)
			continue;
		rest_check_unused(relation, name, found ? "change the type of" : "drop");
		appendStringInfo(&sql, found ? "%sALTER COLUMN %s TYPE %s" : "%sDROP COLUMN %s", sql.len > 0 ? ", " : "",
						 quote_identifier(name), found ? found->type : "");
	}
	table_close(table, NoLock);
	foreach(cell, columns)
	{
		FileColumn *column = lfirst(cell);

		if (get_attnum(relation, column->name) == InvalidAttrNumber)
			appendStringInfo(&sql, "%sADD COLUMN %s %s%s", sql.len > 0 ? ", " : "", quote_identifier(column->name),
							 column->type, path_clause(column));
	}
	return sql.data;
}

static bool
has_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return true;
	return false;
}

/* All of an object but its columns; null takes an option away. */
static char *
option_clauses(Jsonb *object, List *present, bool alter)
{
	StringInfoData sql;
	JsonbIterator *iterator = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	initStringInfo(&sql);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *text;
		bool		there;

		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE || strcmp(name, "columns") == 0)
			continue;
		text = template_scalar_text(&value);
		there = has_option(present, name);
		if (text == NULL && !there)
			continue;
		appendStringInfo(&sql, "%s%s%s %s", sql.len > 0 ? ", " : "",
						 text == NULL ? "DROP " : there ? "SET " : alter ? "ADD " : "",
						 quote_identifier(name), text ? quote_literal_cstr(text) : "");
	}
	return sql.len > 0 ? psprintf(" OPTIONS (%s)", sql.data) : "";
}
