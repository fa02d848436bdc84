/*
 * option.c
 *	  The foreign data wrapper of files: handler, validator, and its options
 *	  read for one foreign table.
 *
 * A path on the server may be named by those only who may read files there, and
 * who reads it is asked again at each scan (place.c).
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/copy.h"
#include "commands/defrem.h"
#include "core/compat.h"
#include "file/reader.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "template/path.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* An interval of files is no longer. */
#define MOST_DAYS	INT64CONST(36500)

static const char *const options_server[] = {
	"connector", "path", "url", "endpoint", "region", "settle", "ca_file", "proxy", "http_version", NULL
};
static const char *const options_table[] = {
	"files", "format", "header", "delimiter", "quote", "escape", "null", "encoding", NULL
};
static const char *const options_column[] = {"path", "formerly", "optional", NULL};
static const char *const options_none[] = {NULL};

ACTIVATE_FUNCTION(activate_file_handler);
ACTIVATE_FUNCTION(activate_file_validator);
ACTIVATE_FUNCTION(activate_file_check);

static void check_known(List *options, const char *const *known);
static void server_check(List *options);
static void table_check(List *options);
static void column_check(List *options);
static void table_fill(FileTable *table, List *options);
static List *copy_options(FileTable *table, List *options);

Datum
activate_file_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	file_scan_routine(routine);
	PG_RETURN_POINTER(routine);
}

Datum
activate_file_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);

	if (catalog == UserMappingRelationId)
		connector_check_options(options, catalog);
	else
		check_known(options, catalog == ForeignServerRelationId ? options_server :
					catalog == ForeignTableRelationId ? options_table :
					catalog == AttributeRelationId ? options_column : options_none);
	if (catalog == ForeignServerRelationId)
		server_check(options);
	else if (catalog == ForeignTableRelationId)
		table_check(options);
	else if (catalog == AttributeRelationId)
		column_check(options);
	PG_RETURN_VOID();
}

/* For activate_target(): what can be told of a table without reading it. */
Datum
activate_file_check(PG_FUNCTION_ARGS)
{
	FileTable  *table;
	ConnectorAuth *auth;
	const char *proxy;

	/* anybody may call it */
	if (!file_is_table(PG_GETARG_OID(0)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation %u is no table of files", PG_GETARG_OID(0)),
				 errhint("Tables of files are foreign tables of the wrapper \"activate_file\".")));
	table = file_table_load(PG_GETARG_OID(0), CurrentMemoryContext);
	auth = connector_auth(table->server, GetUserId(), CurrentMemoryContext);
	proxy = auth->transport ? auth->transport->proxy : NULL;
	if (table->place == FILE_AT_URL)
		http_check_url(table->url, proxy);
	else if (table->place == FILE_IN_BUCKET)
		http_check_url(table->endpoint, proxy);
	PG_RETURN_VOID();
}

static const char *
option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return defGetString(lfirst_node(DefElem, cell));
	return NULL;
}

static void
check_known(List *options, const char *const *known)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		const char *name = lfirst_node(DefElem, cell)->defname;
		StringInfoData valid;
		const char *const *one = known;

		initStringInfo(&valid);
		for (; *one && strcmp(*one, name) != 0; one++)
			appendStringInfo(&valid, "%s%s", one > known ? ", " : "", *one);
		if (*one == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("invalid option \"%s\"", name),
					 *known == NULL ? errhint("There are no valid options in this context.")
					 : errhint("Valid options in this context are: %s.", valid.data)));
	}
}

pg_noreturn static void
option_fail(const char *name, const char *value, const char *valid)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value \"%s\" of option \"%s\"", value, name),
			 errhint("Valid values are: %s.", valid)));
}

/* Is one of the path's parts ".."? */
static bool
goes_up(const char *path)
{
	for (const char *p = strstr(path, ".."); p != NULL; p = strstr(p + 1, ".."))
		if ((p == path || p[-1] == '/') && (p[2] == '\0' || p[2] == '/'))
			return true;
	return false;
}

static void
check_path(const char *path)
{
	if (!is_absolute_path(path) || goes_up(path))
		option_fail("path", path, "absolute paths of directories, without \"..\"");
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to name a directory of the server in the option \"path\""),
				 errhint("Only superusers and members of pg_read_server_files may set or keep it.")));
}

static int64
interval_us(const char *text)
{
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
																 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	int64		days = interval->day + interval->month * INT64CONST(30);

	if (llabs(days) > MOST_DAYS || llabs(interval->time) > MOST_DAYS * USECS_PER_DAY)
		option_fail("settle", text, "intervals of up to a hundred years");
	return interval->time + days * USECS_PER_DAY;
}

static void
server_check(List *options)
{
	const char *connector = option(options, "connector");
	const char *path = option(options, "path");
	const char *url = option(options, "url");
	const char *endpoint = option(options, "endpoint");
	const char *settle = option(options, "settle");
	FileTable	ignored = {.url = unconstify(char *, url)};

	if (connector != NULL && strcmp(connector, CONNECTOR_OF_FILES) != 0)
		option_fail("connector", connector, CONNECTOR_OF_FILES);
	if ((path == NULL) == (url == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("a server of files needs one of the options \"path\" and \"url\""),
				 errhint("Write path '/directory', url 'https://host/file.csv' or url 's3://bucket/prefix'.")));
	if (path != NULL)
		check_path(path);
	else if (strncmp(url, "s3://", 5) == 0)
		file_bucket_parse(&ignored);
	else
		connector_check_url(url, "option \"url\"", true);
	if (endpoint != NULL)
		connector_check_url(endpoint, "option \"endpoint\"", false);
	if (settle != NULL && interval_us(settle) < 0)
		option_fail("settle", settle, "intervals, such as 30s or 5min");
	if (url != NULL && strncmp(url, "s3://", 5) != 0 && (settle != NULL || endpoint != NULL || option(options, "region") != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" means nothing to a URL of http or https",
						settle != NULL ? "settle" : endpoint != NULL ? "endpoint" : "region"),
				 errhint("\"settle\" is for directories and object stores, \"endpoint\" and \"region\" for object stores.")));
	connector_check_transport(options);
}

static void
table_check(List *options)
{
	FileTable	ignored = {0};

	table_fill(&ignored, options);
}

/* ["name", ...] as a list of char *. */
static List *
names_of(const char *text)
{
	Jsonb	   *array = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	List	   *names = NIL;

	for (uint32 i = 0; JB_ROOT_IS_ARRAY(array) && !JB_ROOT_IS_SCALAR(array) && i < JB_ROOT_COUNT(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&array->root, i);

		if (element->type != jbvString)
			break;
		names = lappend(names, pnstrdup(element->val.string.val, element->val.string.len));
	}
	if (!JB_ROOT_IS_ARRAY(array) || list_length(names) != JB_ROOT_COUNT(array))
		option_fail("formerly", text, "JSON arrays of names, such as [\"CustomerID\", \"customer\"]");
	return names;
}

static void
column_check(List *options)
{
	const char *formerly = option(options, "formerly");
	const char *optional = option(options, "optional");
	bool		ignored;

	if (formerly != NULL)
		(void) names_of(formerly);
	if (optional != NULL && !parse_bool(optional, &ignored))
		option_fail("optional", optional, "true, false");
}

static void
table_fill(FileTable *table, List *options)
{
	const char *format = option(options, "format");
	const char *header = option(options, "header");
	const char *files = option(options, "files");
	const char *encoding = option(options, "encoding");

	if (format == NULL)
		format = "csv";
	if (strcmp(format, "ndjson") == 0)
		table->format = FILE_JSON_LINES;
	else if (strcmp(format, "json") == 0)
		table->format = FILE_JSON;
	else if (strcmp(format, "csv") != 0 && strcmp(format, "tsv") != 0 && strcmp(format, "text") != 0)
		option_fail("format", format, "csv, tsv, text, ndjson, json");
	if (header != NULL && !parse_bool(header, &table->header))
		option_fail("header", header, "true, false");
	if (files != NULL && (*files == '\0' || *files == '/' || goes_up(files)))
		option_fail("files", files, "names and patterns such as \"orders-*.csv.gz\", without \"..\"");
	table->files = files ? pstrdup(files) : NULL;
	table->encoding = encoding ? pg_char_to_encoding(encoding) : PG_UTF8;
	if (table->encoding < 0)
		option_fail("encoding", encoding, "names of encodings, such as UTF8, LATIN1 or WIN1252");
	if (table->format != FILE_BY_COPY)
	{
		static const char *const others[] = {"header", "delimiter", "quote", "escape", "null", "encoding"};

		for (int i = 0; i < lengthof(others); i++)
			if (option(options, others[i]) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
						 errmsg("option \"%s\" means nothing to format \"%s\"", others[i], format),
						 errhint("It is for the formats csv, tsv and text; JSON is UTF-8.")));
	}
	else
		table->copy = copy_options(table, options);
}

/* As COPY has them, and checked by it. */
static List *
copy_options(FileTable *table, List *options)
{
	static const char *const same[] = {"delimiter", "quote", "escape", "null"};
	const char *format = option(options, "format");
	bool		tsv = format != NULL && strcmp(format, "tsv") == 0;
	bool		text = format != NULL && strcmp(format, "text") == 0;
	const char *value;
	List	   *list = list_make2(makeDefElem("format", (Node *) makeString(text ? "text" : "csv"), -1),
								  makeDefElem("encoding", (Node *) makeString(pstrdup(pg_encoding_to_char(table->encoding))), -1));

	for (int i = 0; i < lengthof(same); i++)
		if ((value = option(options, same[i])) != NULL)
			list = lappend(list, makeDefElem(pstrdup(same[i]), (Node *) makeString(pstrdup(value)), -1));
	if (tsv && option(options, "delimiter") == NULL)
		list = lappend(list, makeDefElem("delimiter", (Node *) makeString("\t"), -1));
	ProcessCopyOptions(NULL, NULL, true, list);
	if (!text)
	{
		table->quote = (value = option(options, "quote")) != NULL ? *value : '"';
		table->escape = (value = option(options, "escape")) != NULL ? *value : table->quote;
	}
	return list;
}

static void
server_fill(FileTable *table, List *options)
{
	const char *path = option(options, "path");
	const char *url = option(options, "url");
	const char *settle = option(options, "settle");
	const char *endpoint = option(options, "endpoint");
	const char *region = option(options, "region");

	table->path = path ? pstrdup(path) : NULL;
	table->url = url ? pstrdup(url) : NULL;
	table->settle_us = settle ? interval_us(settle) : 0;
	table->place = path ? FILE_IN_DIRECTORY : strncmp(url, "s3://", 5) == 0 ? FILE_IN_BUCKET : FILE_AT_URL;
	if (table->place == FILE_IN_BUCKET)
	{
		table->region = pstrdup(region ? region : "us-east-1");
		table->endpoint = endpoint ? pstrdup(endpoint) : psprintf("https://s3.%s.amazonaws.com", table->region);
		file_bucket_parse(table);
	}
}

static void
columns_fill(FileTable *table)
{
	Relation	relation = table_open(table->table, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(relation);

	table->ncolumns = desc->natts;
	table->columns = palloc0(sizeof(TemplateColumn) * (desc->natts + 1));
	table->more = palloc0(sizeof(FileColumnOptions) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		List	   *options = GetForeignColumnOptions(table->table, i + 1);
		const char *path = option(options, "path");
		const char *formerly = option(options, "formerly");
		const char *optional = option(options, "optional");

		table->columns[i].name = pstrdup(NameStr(TupleDescAttr(desc, i)->attname));
		table->columns[i].path = path ? pstrdup(path) : NULL;
		table->more[i].formerly = formerly ? names_of(formerly) : NIL;
		if (optional != NULL)
			(void) parse_bool(optional, &table->more[i].optional);
	}
	table_close(relation, NoLock);
}

static void
check_combination(const FileTable *table)
{
	if (table->files == NULL && table->place != FILE_AT_URL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
				 errmsg("foreign table \"%s\" needs the option \"files\"", table->shown),
				 errhint("Name the files, as in files 'orders-*.csv.gz'.")));
	if (table->files != NULL && table->place == FILE_IN_DIRECTORY && strchr(table->files, '/') != NULL)
		option_fail("files", table->files, "names and patterns in the directory itself, without \"/\"");
	if (table->files != NULL && table->place == FILE_AT_URL && strpbrk(table->files, "*?[\\") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"files\" of foreign table \"%s\" is a pattern, but a web server does not list its files",
						table->shown),
				 errhint("Name one file, or use a directory or an object store.")));
}

bool
file_is_table(Oid relation)
{
	ForeignServer *server;

	if (get_rel_relkind(relation) != RELKIND_FOREIGN_TABLE)
		return false;
	server = GetForeignServer(GetForeignServerIdByRelId(relation));
	return server->fdwid == get_foreign_data_wrapper_oid(CONNECTOR_FILE_WRAPPER, true);
}

FileTable *
file_table_load(Oid relation, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FileTable  *table = palloc0(sizeof(FileTable));
	ForeignTable *foreign = GetForeignTable(relation);

	table->table = relation;
	table->server = foreign->serverid;
	table->shown = psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
	server_fill(table, GetForeignServer(foreign->serverid)->options);
	table_fill(table, foreign->options);
	columns_fill(table);
	check_combination(table);
	MemoryContextSwitchTo(old);
	return table;
}

FileReader *
file_reader_create(Oid relation, Oid userid, MemoryContext context)
{
	FileReader *reader = MemoryContextAllocZero(context, sizeof(FileReader));

	reader->table = file_table_load(relation, context);
	reader->userid = userid;
	if (reader->table->place == FILE_IN_DIRECTORY)
	{
		if (!has_privs_of_role(userid, ROLE_PG_READ_SERVER_FILES))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to read files of the server"),
					 errdetail("Foreign table \"%s\" reads them.", reader->table->shown),
					 errhint("Only superusers and members of pg_read_server_files may; others through a view of such a role.")));
	}
	else
		reader->auth = connector_auth(reader->table->server, userid, context);
	return reader;
}
