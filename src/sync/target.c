/*
 * target.c
 *	  The target of a declaration: what it is, which columns it takes, what
 *	  identifies its rows, whether the caller may write it; and making a local
 *	  one that does not exist yet.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "core/compat.h"
#include "core/own.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "sync/declare.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

static void refuse_misspelt_object(const Declaration *declaration, const RangeVar *name);
static List *writable_columns(const Declaration *declaration);
static void check_operations(const Declaration *declaration);
static void check_privileges(const Declaration *declaration);

void
declare_open_target(Declaration *declaration)
{
	RangeVar   *name = makeRangeVarFromNameList(compat_qualified_name(declaration->target));
	char		relkind;
	Oid			server;
	List	   *keys = NIL;
	ListCell   *cell;

	declaration->target_rel = RangeVarGetRelid(name, AccessShareLock, true);
	if (!OidIsValid(declaration->target_rel))
	{
		refuse_misspelt_object(declaration, name);
		declaration->kind = SYNC_TO_LOCAL;
		return;
	}
	if (declare_is_view(declaration))
	{
		declare_open_view(declaration);
		return;
	}

	relkind = get_rel_relkind(declaration->target_rel);
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE && relkind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s\" is not a table", declaration->target),
				 errhint("The target is a table or a foreign table; a local table that does not exist is created.")));
	if (get_rel_persistence(declaration->target_rel) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the target of a sync may not be a temporary table"),
				 errhint("A sync outlives the session: use a permanent table.")));
	if (declaration->target_rel == declaration->source->relation)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source and target of a sync are the same relation \"%s\"", declaration->target)));

	server = connector_server_of(declaration->target_rel);
	declaration->kind = OidIsValid(server) ? SYNC_TO_API :
		relkind == RELKIND_FOREIGN_TABLE ? SYNC_TO_FOREIGN : SYNC_TO_LOCAL;
	if (declaration->kind != SYNC_TO_LOCAL && declare_option(declaration, "materialized"))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"materialized\" of a sync needs a local table as target"),
				 errhint("It says how a model is kept; \"%s\" is a foreign table.", declaration->target)));
	if (declaration->kind == SYNC_TO_API)
	{
		declaration->connector = connector_load(declaration->target_rel, CurrentMemoryContext);
		for (int i = 0; i < declaration->connector->nkeys; i++)
			declaration->target_keys = lappend(declaration->target_keys,
											   makeString(declaration->connector->key[i]));
	}
	else
	{
		keys = relation_primary_key(declaration->target_rel);
		foreach(cell, keys)
			if (!declare_is_version_column(declaration, lfirst(cell)))
				declaration->target_keys = lappend(declaration->target_keys, makeString(lfirst(cell)));
	}
	if (declaration->connector == NULL || !declaration->connector->free_columns)
		declaration->target_columns = writable_columns(declaration);
}

/* In a schema of API objects a name that does not exist is a slip, not a wish for a table. */
static void
refuse_misspelt_object(const Declaration *declaration, const RangeVar *name)
{
	char	   *objects;
	Oid			schema;
	Oid			type = OIDOID;
	Datum		value;

	if (name->schemaname == NULL)
		return;
	schema = get_namespace_oid(name->schemaname, true);
	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" of target \"%s\" does not exist", name->schemaname, declaration->target),
				 errhint("Web APIs are made known by activate_target(), schemas by CREATE SCHEMA.")));

	value = ObjectIdGetDatum(schema);
	objects = own_text("SELECT activate._objects_of_schema($1)", 1, &type, &value);
	if (objects)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("target \"%s\" does not exist", declaration->target),
				 errhint("Objects of this API are: %s.", objects)));
}

/* Columns that can be given a value: neither generated nor read-only in the API. */
static List *
writable_columns(const Declaration *declaration)
{
	Relation	rel = table_open(declaration->target_rel, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *columns = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		skip = attribute->attisdropped || attribute->attgenerated != '\0' ||
			declare_is_version_column(declaration, NameStr(attribute->attname));
		DeclaredColumn *column;

		for (int c = 0; declaration->connector && c < declaration->connector->ncolumns; c++)
			if (strcmp(declaration->connector->columns[c].name, NameStr(attribute->attname)) == 0)
				skip = skip || declaration->connector->columns[c].skip;
		if (skip)
			continue;
		column = palloc0(sizeof(DeclaredColumn));
		column->name = pstrdup(NameStr(attribute->attname));
		column->type = attribute->atttypid;
		column->typmod = attribute->atttypmod;
		columns = lappend(columns, column);
	}
	table_close(rel, NoLock);
	if (columns == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target \"%s\" has no column that can be written", declaration->target)));
	return columns;
}

/*
 * As the caller.  The primary key is the sync's key, except for append: there
 * a key comes again with every event.
 */
void
declare_create_target(Declaration *declaration)
{
	RangeVar   *name = makeRangeVarFromNameList(compat_qualified_name(declaration->target));
	Oid			schema = RangeVarGetCreationNamespace(name);
	char	   *qualified = quote_qualified_identifier(get_namespace_name(schema), name->relname);
	StringInfoData sql;
	StringInfoData key;
	ListCell   *cell;

	initStringInfo(&sql);
	initStringInfo(&key);
	appendStringInfo(&sql, "CREATE TABLE %s (", qualified);
	foreach(cell, declaration->columns)
	{
		DeclaredColumn *column = lfirst(cell);
		Oid			type = exprType(column->expression);

		/* a literal that nothing typed so far */
		if (type == UNKNOWNOID)
			type = TEXTOID;
		appendStringInfo(&sql, "%s%s %s", cell == list_head(declaration->columns) ? "" : ", ",
						 quote_identifier(column->name),
						 format_type_with_typemod(type, exprTypmod(column->expression)));
	}
	if (declaration->mode != SYNC_APPEND)
		foreach(cell, declaration->keys)
			appendStringInfo(&key, "%s%s", key.len > 0 ? ", " : "",
							 quote_identifier(((DeclaredKey *) lfirst(cell))->target));
	if (declare_keeps_history(declaration))
		appendStringInfo(&sql, ", valid_from timestamptz, valid_to timestamptz, PRIMARY KEY (%s, valid_from)", key.data);
	else if (key.len > 0)
		appendStringInfo(&sql, ", PRIMARY KEY (%s)", key.data);
	appendStringInfoChar(&sql, ')');
	/* room on each page for what changes between two VACUUMs: an update in its page writes no index */
	if (key.len > 0 && declaration->mode != SYNC_INSERT)
		appendStringInfoString(&sql, " WITH (fillfactor = 90)");

	SPI_connect();
	SPI_execute(sql.data, false, 0);
	if (declare_keeps_history(declaration))
		SPI_execute(psprintf("CREATE UNIQUE INDEX ON %s (%s) WHERE valid_to IS NULL", qualified, key.data), false, 0);
	if (GetUserId() != declaration->owner)
		SPI_execute(psprintf("ALTER TABLE %s OWNER TO %s", qualified,
							 quote_identifier(GetUserNameFromId(declaration->owner, false))), false, 0);
	SPI_finish();
	CommandCounterIncrement();

	ereport(NOTICE, (errmsg("target table %s was created", qualified)));
	declaration->target_rel = RangeVarGetRelid(name, AccessShareLock, false);
	foreach(cell, declaration->columns)
	{
		DeclaredColumn *column = lfirst(cell);

		get_atttypetypmodcoll(declaration->target_rel,
							  get_attnum(declaration->target_rel, column->name),
							  &column->type, &column->typmod, &(Oid){0});
	}
}

/* Can the target do what the mode asks for, and may the caller have it done? */
void
declare_check_target(const Declaration *declaration)
{
	if (declaration->kind == SYNC_TO_API && declaration->capture == CAPTURE_CURSOR && declaration->mode == SYNC_MIRROR)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("mode \"mirror\" into a web API cannot be captured by cursor"),
				 errhint("What was sent is compared whole: use capture \"diff\", or \"trigger\" for a table; both heed option \"deleted\".")));
	if (declaration->kind == SYNC_TO_API)
		check_operations(declaration);
	if (OidIsValid(declaration->target_rel) && !declare_is_view(declaration))
		check_privileges(declaration);
}

static void
check_operations(const Declaration *declaration)
{
	static const OutboxOp operations[] = {OUTBOX_INSERT, OUTBOX_UPDATE, OUTBOX_UPSERT, OUTBOX_DELETE};
	OutboxOp	write = outbox_mode_op(declaration->mode);
	bool		deletes = declaration->mode == SYNC_MIRROR || declaration->mode == SYNC_REPLACE;
	bool		can_delete = connector_write(declaration->connector, OUTBOX_DELETE) != NULL &&
		declaration->connector->format != FORMAT_ROW;
	StringInfoData possible;

	if (connector_write(declaration->connector, write) != NULL && (!deletes || can_delete))
		return;

	initStringInfo(&possible);
	for (int i = 0; i < lengthof(operations); i++)
		if (operations[i] == OUTBOX_DELETE ? can_delete :
			connector_write(declaration->connector, operations[i]) != NULL)
			appendStringInfo(&possible, "%s%s", possible.len > 0 ? ", " : "", outbox_op_name(operations[i]));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("target \"%s\" cannot do what mode \"%s\" needs: %s", declaration->target,
					declaration->mode_text,
					connector_write(declaration->connector, write) == NULL ? outbox_op_name(write) : "delete"),
			 possible.len > 0 ? errhint("It can: %s.", possible.data) : errhint("It can only be read.")));
}

static void
check_privileges(const Declaration *declaration)
{
	AclMode		wanted = ACL_INSERT;
	Oid			rel = declaration->target_rel;
	AclResult	result;

	if (declaration->kind == SYNC_TO_API)
	{
		Oid			server = GetForeignTable(rel)->serverid;

		result = compat_server_aclcheck(server, GetUserId(), ACL_USAGE);
		if (result != ACLCHECK_OK)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for target \"%s\"", declaration->target),
					 errhint("It needs the privilege USAGE on the foreign server \"%s\".",
							 GetForeignServer(server)->servername)));
	}
	else
	{
		if (declaration->mode == SYNC_UPSERT || declaration->mode == SYNC_UPDATE)
			wanted |= ACL_UPDATE;
		else if (declaration->mode == SYNC_MIRROR || declaration->mode == SYNC_REPLACE)
			wanted |= ACL_UPDATE | ACL_DELETE;
		/* what is there is compared with what comes */
		if (declaration->mode != SYNC_APPEND ||
			declaration->capture == CAPTURE_DIFF || declaration->capture == CAPTURE_TRIGGER)
			wanted |= ACL_SELECT;
	}
	if (pg_class_aclmask(rel, GetUserId(), wanted, ACLMASK_ALL) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for target \"%s\"", declaration->target),
				 errhint("Mode \"%s\" with capture \"%s\" needs on it: %sINSERT%s%s.", declaration->mode_text,
						 declaration->capture_text, wanted & ACL_SELECT ? "SELECT, " : "",
						 wanted & ACL_UPDATE ? ", UPDATE" : "", wanted & ACL_DELETE ? ", DELETE" : "")));
}
