/*
 * explain.c
 *	  activate_explain(): what a run would do, found out by doing it and
 *	  taking it back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "sync/explain.h"
#include "sync/verbs.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

static void plan_and_forget(const Sync *sync, RunCounts *counts);

ACTIVATE_FUNCTION(activate_explain);

void
explain_line(ReturnSetInfo *result, char *text)
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

	explain_line(result, psprintf("Sync %s: %s -> %s", sync->name, source, sync->target));
	explain_line(result, psprintf("  Rows read: " INT64_FORMAT, counts.read));
	explain_line(result, psprintf("  Changes: " INT64_FORMAT " insert, " INT64_FORMAT " update, " INT64_FORMAT " delete%s",
								  counts.inserted, counts.updated, counts.deleted,
								  counts.held ? " (deletes would be held)" : ""));
	if (counts.rejected > 0)
		explain_line(result, psprintf("  Rows without a usable key: " INT64_FORMAT, counts.rejected));
	if (sync->kind == SYNC_TO_API)
		explain_delivery(result, sync, &counts);
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
