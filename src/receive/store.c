/*
 * store.c
 *	  The table of events of a target: made, written, and kept short.
 *
 * It is the user's: an ordinary table "event" in the schema of the target's
 * name, which syncs read, triggers capture and dumps carry.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/own.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "receive/receive.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define EVENT_TABLE	"event"

typedef struct EventTable
{
	char	   *name;			/* quoted, with its schema */
	Oid			oid;
	Oid			owner;
	char	   *search_path;	/* of what its triggers and defaults call */
} EventTable;

/* What is old of one target. */
typedef struct Expiry
{
	Oid			server;
	int			batch;
	bool		more;
} Expiry;

ACTIVATE_FUNCTION(activate_receive_expire);

static Oid
owner_of(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

static char *
table_wrong(Oid table)
{
	Oid			type = REGCLASSOID;
	Datum		value = ObjectIdGetDatum(table);

	return own_text("SELECT activate._receive_wrong($1)", 1, &type, &value);
}

/* Statements with the caller's rights, which whoever watches DDL may see. */
static void
make_table(const char *target)
{
	Oid			owner = GetForeignServerByName(target, false)->owner;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {CStringGetTextDatum(target), CStringGetTextDatum(GetUserNameFromId(owner, false))};
	Datum		array = own_value("SELECT activate._receive_ddl($1, $2)", 2, types, values,
								  owner == GetUserId() ? " n" : NULL, NULL);
	Datum	   *statements;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &statements, NULL, &n);
	SPI_connect();
	for (int i = 0; i < n; i++)
		if (SPI_execute(TextDatumGetCString(statements[i]), false, 0) != SPI_OK_UTILITY)
			elog(ERROR, "could not make the table of target \"%s\"", target);
	SPI_finish();
}

void
receive_declare(const char *target)
{
	Oid			schema = get_namespace_oid(target, true);
	Oid			table = OidIsValid(schema) ? get_relname_relid(EVENT_TABLE, schema) : InvalidOid;
	char	   *wrong;

	if (!OidIsValid(table))
	{
		make_table(target);
		return;
	}
	wrong = table_wrong(table);
	if (wrong == NULL && !has_privs_of_role(GetUserId(), owner_of(table)))
		wrong = "it belongs to another role";
	if (wrong != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("table %s exists, and events of target \"%s\" cannot be written to it: %s",
						quote_qualified_identifier(target, EVENT_TABLE), target, wrong),
				 errhint("Choose another name for the target, or rename the table.  What is needed is: "
						 "id text PRIMARY KEY, received_at timestamptz, payload jsonb, headers jsonb.")));
}

/* False: there is none. */
static bool
find_table(const char *target, EventTable *table)
{
	Oid			schema = get_namespace_oid(target, true);

	table->oid = OidIsValid(schema) ? get_relname_relid(EVENT_TABLE, schema) : InvalidOid;
	if (!OidIsValid(table->oid))
		return false;
	table->name = quote_qualified_identifier(target, EVENT_TABLE);
	table->owner = owner_of(table->oid);
	table->search_path = psprintf("pg_catalog, %s, pg_temp", quote_identifier(target));
	return true;
}

/* As the owner of the table: its triggers are his, and the caller needs no right to it. */
static uint64
execute_as_owner(const EventTable *table, const char *sql, int n, Oid *types, Datum *values, const char *nulls)
{
	IdentityScope scope;
	bool		own = GetUserId() == table->owner;
	uint64		rows;

	if (own)
	{
		identity_enter_rendering(&scope);
		identity_set_local("search_path", table->search_path);
	}
	else
		identity_enter_owner(&scope, table->owner, table->search_path);
	SPI_connect();
	if (SPI_execute_with_args(sql, n, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not execute: %s", sql);
	rows = SPI_processed;
	SPI_finish();
	if (own)
		identity_leave(&scope);
	else
		identity_leave_owner(&scope);
	return rows;
}

bool
receive_store(const ReceivedCall *call, const char *id, Jsonb *payload, Jsonb *headers)
{
	EventTable	table;
	Oid			types[4] = {TEXTOID, TIMESTAMPTZOID, JSONBOID, JSONBOID};
	Datum		values[4] = {CStringGetTextDatum(id), TimestampTzGetDatum(clock_now()), JsonbPGetDatum(payload)};

	if (!find_table(call->server->servername, &table))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("target \"%s\" has no table for its events any more", call->server->servername),
				 errhint("activate_target('%s', 'receive') makes it anew.", call->server->servername)));
	/* the target's owner decides what is written: so that must be a table that he could write */
	if (pg_class_aclcheck(table.oid, call->server->owner, ACL_INSERT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the owner of target \"%s\" may not insert into %s", call->server->servername, table.name),
				 errhint("GRANT INSERT ON %s TO %s.", table.name, quote_identifier(GetUserNameFromId(call->server->owner, false)))));
	values[3] = headers ? JsonbPGetDatum(headers) : (Datum) 0;
	/* one that is just being written is waited for, and counts if it commits */
	return execute_as_owner(&table, psprintf("INSERT INTO %s AS e (id, received_at, payload, headers) VALUES ($1, $2, $3, $4)"
											 " ON CONFLICT (id) DO NOTHING RETURNING 1", table.name),
							4, types, values, headers ? "    " : "   n") > 0;
}

/* In a subtransaction. */
static void
expire(void *arg)
{
	Expiry	   *expiry = arg;
	ForeignServer *server = GetForeignServer(expiry->server);
	const char *retention = connector_inbound(server->options)->retention;
	EventTable	table;
	Oid			types[3] = {TIMESTAMPTZOID, INTERVALOID, INT4OID};
	Datum		values[3] = {TimestampTzGetDatum(clock_now()), (Datum) 0, Int32GetDatum(expiry->batch)};

	if (retention == NULL || !find_table(server->servername, &table) ||
		pg_class_aclcheck(table.oid, server->owner, ACL_DELETE) != ACLCHECK_OK)
		return;
	values[1] = DirectFunctionCall3(interval_in, CStringGetDatum(retention), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	expiry->more = execute_as_owner(&table, psprintf("DELETE FROM %s WHERE id = ANY (ARRAY(SELECT id FROM %s"
													 " WHERE received_at < $1 - $2 ORDER BY received_at LIMIT $3)) RETURNING 1", table.name, table.name),
									3, types, values, NULL) >= expiry->batch;
}

/* Is there perhaps more?  What fails for one target (a trigger of its table, say) is told once, and hurts no other. */
Datum
activate_receive_expire(PG_FUNCTION_ARGS)
{
	static List *failed = NIL;	/* servers, for the life of the process */
	Datum		array = own_value("SELECT activate._receive_keeping()", 0, NULL, NULL, NULL, NULL);
	Datum	   *servers;
	int			n;
	bool		more = false;

	deconstruct_array(DatumGetArrayTypeP(array), OIDOID, sizeof(Oid), true, TYPALIGN_INT, &servers, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		Expiry		expiry = {.server = DatumGetObjectId(servers[i]), .batch = PG_GETARG_INT32(0)};
		ErrorData  *error = attempt(expire, &expiry);

		if (error && attempt_was_cancelled(error))
			ReThrowError(error);
		if (error && !list_member_oid(failed, expiry.server))
		{
			MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);

			failed = lappend_oid(failed, expiry.server);
			MemoryContextSwitchTo(previous);
			ereport(LOG,
					(errmsg("activate: old events of a target could not be removed: %s", error->message)));
		}
		else if (!error)
			failed = list_delete_oid(failed, expiry.server);
		more |= expiry.more;
	}
	PG_RETURN_BOOL(more);
}
