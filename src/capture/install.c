/*
 * install.c
 *	  The triggers of a sync with capture "trigger", on its source and on what
 *	  options.watch names.
 *
 * They are made by the extension's owner, because who declares a sync need not
 * own its source.  That the source is a table, and that the sync's owner might
 * create a trigger on it, was checked at declaration.  ENABLE ALWAYS:
 * rows that a subscription applies count as well (SEMANTICS 6).
 *
 * The row trigger is the source's; PostgreSQL gives partitions clones of it,
 * enabled alike, and takes them away.  For TRUNCATE each leaf has its own, and
 * an event trigger follows what becomes of partitions.
 */
#include "postgres.h"

#include "capture/change.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "core/compat.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

static void follow_command(Node *command);
static void follow(const RangeVar *partition);
static void run_commands(const char *query, int nargs, Oid *types, Datum *values);
static void run_command(const char *command);

void
capture_install(const Sync *sync)
{
	IdentityScope scope;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	if (sync->capture != CAPTURE_TRIGGER)
		return;
	capture_remove(sync);
	identity_enter_extension(&scope);
	SPI_connect();
	run_commands("SELECT activate._capture_install_sql($1)", 1, &type, &id);
	run_commands("SELECT activate._capture_truncate_sql(r) FROM activate._capture_relations($1) r", 1, &type, &id);
	SPI_finish();
	identity_leave(&scope);
}

void
capture_remove(const Sync *sync)
{
	IdentityScope scope;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	identity_enter_extension(&scope);
	SPI_connect();
	run_commands("SELECT activate._capture_remove_sql($1)", 1, &type, &id);
	SPI_finish();
	identity_leave(&scope);
}

/*
 * After CREATE TABLE, ALTER TABLE and CREATE SCHEMA of anybody: nearly always
 * it is enough to look at the command.
 */
ACTIVATE_FUNCTION(activate_capture_follow);
Datum
activate_capture_follow(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("activate._capture_follow() may only be called by its event trigger")));
	follow_command(((EventTriggerData *) fcinfo->context)->parsetree);
	PG_RETURN_NULL();
}

static void
follow_command(Node *command)
{
	ListCell   *cell;

	if (IsA(command, CreateStmt))
	{
		if (((CreateStmt *) command)->partbound != NULL)
			follow(((CreateStmt *) command)->relation);
	}
	else if (IsA(command, CreateSchemaStmt))
	{
		foreach(cell, ((CreateSchemaStmt *) command)->schemaElts)
			follow_command(lfirst(cell));
	}
	else if (IsA(command, AlterTableStmt))
	{
		foreach(cell, ((AlterTableStmt *) command)->cmds)
		{
			AlterTableCmd *action = lfirst_node(AlterTableCmd, cell);

			if (action->subtype == AT_AttachPartition || action->subtype == AT_DetachPartition ||
				action->subtype == AT_DetachPartitionFinalize)
				follow(castNode(PartitionCmd, action->def)->name);
		}
	}
}

/* Its lock is the command's. */
static void
follow(const RangeVar *partition)
{
	IdentityScope scope;
	Oid			type = REGCLASSOID;
	Datum		relation = ObjectIdGetDatum(RangeVarGetRelid(partition, NoLock, true));

	if (!OidIsValid(DatumGetObjectId(relation)) || !OidIsValid(identity_extension()))
		return;
	identity_enter_extension(&scope);
	SPI_connect();
	run_commands("SELECT activate._capture_truncate_sql($1)", 1, &type, &relation);
	SPI_finish();
	identity_leave(&scope);
}

/* What the query says. */
static void
run_commands(const char *query, int nargs, Oid *types, Datum *values)
{
	SPITupleTable *commands;
	uint64		n;

	SPI_execute_with_args(query, nargs, types, values, NULL, false, 0);
	commands = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
		run_command(SPI_getvalue(commands->vals[i], commands->tupdesc, 1));
}

static void
run_command(const char *command)
{
	int			result = SPI_execute(command, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", command, SPI_result_code_string(result));
}
