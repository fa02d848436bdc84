/*
 * runner.c
 *	  A process that runs one sync once, connected as the sync's owner.
 *
 * "Running" and the answered tick are a transaction; the work is one, or as
 * many as it has chunks; and, if that failed, its error.  An owner that may not
 * log in gets a process of the superuser, and _run_execute() switches to the
 * owner, restricted.  The SQL functions are those of the room sync; the owner
 * may not call them, so the first and last run as the extension, and the work
 * is called directly: it must find the owner as the session's user.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "schedule/schedule.h"
#include "schedule/spawn.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct Running
{
	RunnerOrder order;
	int64		run;			/* 0: not to be run now */
	char	   *name;
	char	   *error;
} Running;

extern PGDLLEXPORT void schedule_runner_main(Datum main_arg);

static void runner_start(void *arg);
static bool runner_execute(Running *running);
static bool runner_transaction(Running *running, bool *more);
static void runner_failed(void *arg);
static void runner_tell_waiting(void);
static void runner_context(void *arg);

void
schedule_runner_main(Datum main_arg)
{
	Running		running;
	ErrorContextCallback context;

	memset(&running, 0, sizeof(running));
	memcpy(&running.order, MyBgworkerEntry->bgw_extra, sizeof(running.order));
	spawn_begin(running.order.dboid, running.order.login, SPAWN_RUNNER);

	context.callback = runner_context;
	context.arg = &running;
	context.previous = error_context_stack;
	error_context_stack = &context;

	if (!spawn_transaction(runner_start, &running))
		proc_exit(1);
	if (running.run == 0)
		proc_exit(0);
	if (!runner_execute(&running))
		(void) spawn_transaction(runner_failed, &running);
	else if (running.order.queued)
		runner_tell_waiting();
	pgstat_report_stat(true);
	proc_exit(0);
}

static void
runner_context(void *arg)
{
	Running    *running = arg;

	if (running->name != NULL)
		errcontext("running sync \"%s\"", running->name);
}

static void
runner_start(void *arg)
{
	Running    *running = arg;
	Oid			types[2] = {INT8OID, TIMESTAMPTZOID};
	Datum		values[2] = {Int64GetDatum(running->order.sync), TimestampTzGetDatum(running->order.tick)};
	char	   *what;
	Datum		run;
	bool		isnull;

	if (SPI_execute_with_args("SELECT name FROM activate.sync WHERE id = $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a sync");
	if (SPI_processed == 0)
		return;
	running->name = MemoryContextStrdup(TopMemoryContext,
										SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	what = psprintf("running sync \"%s\"", running->name);
	spawn_report(true, what);

	if ((!running->order.queued &&
		 SPI_execute_with_args("SELECT activate._tick_taken($1, $2)",
							   2, types, values, NULL, false, 0) != SPI_OK_SELECT) ||
		SPI_execute_with_args("SELECT activate._run_start($1)",
							  1, types, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not start a run");
	run = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	running->run = isnull ? 0 : DatumGetInt64(run);
	if (running->order.queued && !isnull &&
		SPI_execute_with_args("UPDATE activate.run SET queued = true WHERE id = $1",
							  1, types, &run, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not mark a run");
}

/* The work, as whoever we are connected as.  False: failed, rolled back and logged. */
static bool
runner_execute(Running *running)
{
	bool		more = true;

	while (runner_transaction(running, &more))
	{
		if (!more)
			return true;

		/* it may take long: what is set meanwhile holds, and autovacuum hears of it */
		pgstat_report_stat(true);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		(void) schedule_follow_settings();
	}
	return false;
}

static bool
runner_transaction(Running *running, bool *more)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			arguments[2] = {INT8OID, BOOLOID};
	volatile bool done = false;

	PG_TRY();
	{
		Oid			function;

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		function = LookupFuncName(list_make2(makeString("activate"), makeString("_run_execute")),
								  2, arguments, false);
		*more = DatumGetBool(OidFunctionCall2(function, Int64GetDatum(running->run), BoolGetDatum(running->order.queued)));
		PopActiveSnapshot();
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(TopMemoryContext);
		error = CopyErrorData();
		running->error = error->message;
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();	/* also of a subtransaction that the error left */
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return done;
}

/* Who waits for what was queued. */
static void
runner_tell_waiting(void)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);

	if (database != NULL)
		ConditionVariableBroadcast(&database->settled);
}

static void
runner_failed(void *arg)
{
	Running    *running = arg;
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum(running->run),
	CStringGetTextDatum(running->error ? running->error : "unknown error")};

	if (SPI_execute_with_args("SELECT activate._run_failed($1, $2)",
							  2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not record a failed run");
}
