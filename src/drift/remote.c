/*
 * remote.c
 *	  Foreign sources: what the other server has, compared with what it had.
 *
 * The wrapper of a database is asked what IMPORT FOREIGN SCHEMA would make of the table, and
 * nothing is made of it.  That says names and types, but not which column is
 * which: a column that is gone and one that is new are taken for the same by
 * place, name, type and values (guess.c), with a confidence below 1.  Files and web
 * APIs say what they have in their first records (met.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "core/attempt.h"
#include "core/own.h"
#include "drift/remote.h"
#include "file/file.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

typedef struct Used
{
	const Sync *sync;
	List	   *queries;
	List	   *relations;		/* RemoteTable */
} Used;

static bool find_used(Node *node, Used *used);
static RemoteTable *remote_table(const Sync *sync, Oid relation);
static void ask_work(void *arg);
static void import_work(RemoteTable *table);
static void take_columns(RemoteTable *table, const char *command);
static char *option_of(List *options, const char *name);

/* The foreign tables that a query reads, with the columns of them that it uses. */
List *
drift_remote_tables(const Sync *sync, Query *query)
{
	Used		used = {.sync = sync};

	(void) find_used((Node *) query, &used);
	return used.relations;
}

static bool
find_used(Node *node, Used *used)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		used->queries = lcons(node, used->queries);
		(void) query_tree_walker((Query *) node, find_used, used, QTW_IGNORE_JOINALIASES);
		used->queries = list_delete_first(used->queries);
		return false;
	}
	if (IsA(node, Var) && ((Var *) node)->varattno > 0)
	{
		RangeTblEntry *rte = drift_relation_of((Var *) node, used->queries);
		RemoteTable *table = NULL;
		ListCell   *cell;

		if (rte && get_rel_relkind(rte->relid) == RELKIND_FOREIGN_TABLE)
		{
			foreach(cell, used->relations)
				if (((RemoteTable *) lfirst(cell))->relation == rte->relid)
					table = lfirst(cell);
			if (table == NULL && (table = remote_table(used->sync, rte->relid)) != NULL)
				used->relations = lappend(used->relations, table);
			if (table)
				table->used = bms_add_member(table->used, ((Var *) node)->varattno);
		}
	}
	return expression_tree_walker(node, find_used, used);
}

/* NULL: its wrapper does not say where a table comes from in a way that we know. */
static RemoteTable *
remote_table(const Sync *sync, Oid relation)
{
	ForeignTable *foreign = GetForeignTable(relation);
	ForeignServer *server = GetForeignServer(foreign->serverid);
	char	   *wrapper = GetForeignDataWrapper(server->fdwid)->fdwname;
	bool		postgres = strcmp(wrapper, "postgres_fdw") == 0;
	RemoteTable *table = palloc0(sizeof(RemoteTable));

	table->sync = sync;
	table->relation = relation;
	table->server = server->serverid;
	table->kind = drift_remote_kind(relation);
	if (table->kind == REMOTE_FILE)
		return file_has_names(relation) ? table : NULL;
	if (table->kind == REMOTE_API)
		return rest_has_sample(relation) ? table : NULL;
	if (!postgres && strcmp(wrapper, "mysql_fdw") != 0)
		return NULL;
	table->schema = option_of(foreign->options, postgres ? "schema_name" : "dbname");
	if (table->schema == NULL)
		table->schema = get_namespace_name(get_rel_namespace(relation));
	table->name = option_of(foreign->options, "table_name");
	if (table->name == NULL)
		table->name = get_rel_name(relation);
	return table;
}

RemoteKind
drift_remote_kind(Oid relation)
{
	ForeignServer *server;

	if (file_is_table(relation))
		return REMOTE_FILE;
	server = GetForeignServer(GetForeignServerIdByRelId(relation));
	return server->fdwid == get_foreign_data_wrapper_oid("activate", true) ? REMOTE_API : REMOTE_SERVER;
}

static char *
option_of(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, name) == 0)
			return pstrdup(defGetString(lfirst(cell)));
	return NULL;
}

/* False: the other server does not tell; the run will say what is wrong. */
bool
drift_remote_ask(RemoteTable *table)
{
	ErrorData  *error = attempt(ask_work, table);

	if (error && attempt_was_cancelled(error))
		ReThrowError(error);
	return error == NULL && table->columns != NIL;
}

static void
ask_work(void *arg)
{
	RemoteTable *table = arg;

	table->columns = NIL;
	if (table->kind == REMOTE_SERVER)
		import_work(table);
	else
		drift_met_ask(table);
}

static void
import_work(RemoteTable *table)
{
	FdwRoutine *routine = GetFdwRoutineByServerId(table->server);
	ImportForeignSchemaStmt *statement = makeNode(ImportForeignSchemaStmt);
	IdentityScope scope;
	List	   *commands;
	ListCell   *cell;

	statement->server_name = GetForeignServer(table->server)->servername;
	statement->remote_schema = table->schema;
	statement->local_schema = "public";
	statement->list_type = FDW_IMPORT_SCHEMA_LIMIT_TO;
	statement->table_list = list_make1(makeRangeVar(NULL, table->name, -1));
	if (routine->ImportForeignSchema == NULL)
		return;
	sync_enter_owner(table->sync, &scope);
	commands = routine->ImportForeignSchema(statement, table->server);
	foreach(cell, commands)
		take_columns(table, lfirst(cell));
	sync_leave_owner(table->sync, &scope);
}

/* CREATE FOREIGN TABLE as the wrapper would have it executed. */
static void
take_columns(RemoteTable *table, const char *command)
{
	ListCell   *cell;
	ListCell   *element;

	foreach(cell, raw_parser(command, RAW_PARSE_DEFAULT))
	{
		CreateForeignTableStmt *create = (CreateForeignTableStmt *) lfirst_node(RawStmt, cell)->stmt;

		if (!IsA(create, CreateForeignTableStmt) || strcmp(create->base.relation->relname, table->name) != 0)
			continue;
		foreach(element, create->base.tableElts)
		{
			ColumnDef  *definition = lfirst(element);
			RemoteColumn *column = palloc0(sizeof(RemoteColumn));
			char	   *name = option_of(definition->fdwoptions, "column_name");
			Oid			type;
			int32		typmod;

			if (!IsA(definition, ColumnDef))
				continue;
			column->name = name ? name : pstrdup(definition->colname);
			typenameTypeIdAndMod(NULL, definition->typeName, &type, &typmod);
			column->type = format_type_with_typemod(type, typmod);
			table->columns = lappend(table->columns, column);
		}
	}
}

/* Of mysql_fdw it depends on its version: a column that has its server's name is right for all of them. */
bool
drift_remote_knows_names(Oid relation)
{
	ForeignServer *server = GetForeignServer(GetForeignServerIdByRelId(relation));

	return strcmp(GetForeignDataWrapper(server->fdwid)->fdwname, "mysql_fdw") != 0;
}

/* The name that the other server knows a column by; NULL: it is none any more. */
char *
drift_remote_name(Oid relation, AttrNumber attnum)
{
	char	   *name = drift_column_name(relation, attnum);
	RemoteKind	kind = name ? drift_remote_kind(relation) : REMOTE_SERVER;
	char	   *option;

	if (kind == REMOTE_FILE)
		return file_column_place(relation, attnum, &option);
	if (kind == REMOTE_API)
		return rest_places(relation)[attnum - 1];
	option = name ? option_of(GetForeignColumnOptions(relation, attnum), "column_name") : NULL;
	return option ? option : name;
}

char **
drift_remote_names(Oid relation)
{
	int			natts = drift_natts(relation);
	char	  **names = palloc0(sizeof(char *) * (natts + 1));

	if (drift_remote_kind(relation) == REMOTE_API)
		return rest_places(relation);
	for (int i = 0; i < natts; i++)
		names[i] = drift_remote_name(relation, i + 1);
	return names;
}

RemoteColumn *
drift_remote_column(const List *columns, const char *name)
{
	ListCell   *cell;

	foreach(cell, columns)
		if (strcmp(((RemoteColumn *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	return NULL;
}
