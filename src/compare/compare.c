/*
 * compare.c
 *	  activate_compare(): what an application holds that we did not write there.
 */
#include "postgres.h"

#include "compare/compare.h"
#include "core/compat.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "outbox/outbox.h"
#include "utils/builtins.h"

ACTIVATE_FUNCTION(activate_compare);

static void list_differences(Comparing *it, Tuplestorestate *result);

Datum
activate_compare(PG_FUNCTION_ARGS)
{
	Comparing	comparing;
	Sync	   *sync;
	IdentityScope scope;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"name\" may not be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	sync = sync_require(text_to_cstring(PG_GETARG_TEXT_PP(0)), CurrentMemoryContext);
	compare_prepare(&comparing, sync, "compare");
	sync_enter_owner(sync, &scope);
	/* what this transaction enqueued is there to be seen */
	outbox_flush();
	list_differences(&comparing, ((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
	sync_leave_owner(sync, &scope);
	return (Datum) 0;
}

static void
list_differences(Comparing *it, Tuplestorestate *result)
{
	Oid			types[COMPARE_ARGUMENTS];
	Datum		values[COMPARE_ARGUMENTS];
	char	   *sql;

	SPI_connect();
	compare_read(it);
	compare_arguments(it, types, values);
	sql = compare_statement(it, "_compare_sql");
	compare_execute(sql, types, values, result);
	tuplestore_end(it->records);
	SPI_finish();
}
