/*
 * explain.c
 *	  activate_explain(): what a run would do, found out by doing it and
 *	  taking it back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "connector/connector.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

static void plan_and_forget(const Sync *sync, RunCounts *counts);
static void describe_calls(ReturnSetInfo *result, const Sync *sync, const RunCounts *counts);

ACTIVATE_FUNCTION(activate_explain);

static void
line(ReturnSetInfo *result, char *text)
{
	Datum		value = CStringGetTextDatum(text);
	bool		isnull = false;

	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
}

Datum
activate_explain(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync_locked(fcinfo);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	RunCounts	counts = {0};
	char	   *source = sync->source;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	sync_refuse_copy();
	plan_and_forget(sync, &counts);

	line(result, psprintf("Sync %s: %s -> %s", sync->name, source, sync->target));
	line(result, psprintf("  Rows read: " INT64_FORMAT, counts.read));
	line(result, psprintf("  Changes: " INT64_FORMAT " insert, " INT64_FORMAT " update, " INT64_FORMAT " delete%s",
						  counts.inserted, counts.updated, counts.deleted,
						  counts.held ? " (deletes would be held)" : ""));
	if (counts.rejected > 0)
		line(result, psprintf("  Rows without a usable key: " INT64_FORMAT, counts.rejected));
	if (sync->kind == SYNC_TO_API)
		describe_calls(result, sync, &counts);
	return (Datum) 0;
}

typedef struct PlanWork
{
	const Sync *sync;
	RunCounts  *counts;
} PlanWork;

static void
plan_work(void *arg)
{
	PlanWork   *plan = arg;

	run_execute(plan->sync, 0, false, NULL, plan->counts);
}

static void
plan_and_forget(const Sync *sync, RunCounts *counts)
{
	PlanWork	plan = {sync, counts};
	ErrorData  *error = attempt_and_forget(plan_work, &plan);

	if (error)
		ReThrowError(error);
}

static int64
calls_for(const Connector *connector, OutboxOp op, int64 rows, int batch)
{
	const ConnectorWrite *write = connector_write(connector, op);

	if (write == NULL || rows == 0)
		return 0;
	if (batch == 0)
		batch = write->batch;
	batch = Max(Min(batch, write->batch), 1);
	return (rows + batch - 1) / batch;
}

static void
describe_calls(ReturnSetInfo *result, const Sync *sync, const RunCounts *counts)
{
	Connector  *connector = connector_load(sync->target_rel, CurrentMemoryContext);
	OutboxOp	op = outbox_mode_op(sync->mode);
	const ConnectorWrite *write = connector_write(connector, op);
	int			batch = sync_option_int(sync, "batch", 0);
	int64		rows = counts->inserted + counts->updated;
	int64		calls = connector->format == FORMAT_OBJECT ?
		calls_for(connector, op, rows, batch) + calls_for(connector, OUTBOX_DELETE, counts->deleted, batch) :
		calls_for(connector, op, rows + counts->deleted, batch);
	char	   *reason = sync_undelivered_reason(sync);

	if (write)
		line(result, psprintf("  Batch: %d rows per call", batch > 0 ? Min(batch, write->batch) : write->batch));
	line(result, psprintf("  Calls: " INT64_FORMAT, calls));
	line(result, psprintf("  Pending already: " INT64_FORMAT,
						  verb_count("SELECT count(*) FROM activate._intent WHERE sync = $1", sync->id, NULL)));
	if (reason)
		line(result, psprintf("  Nothing is delivered for now: %s", reason));
}
