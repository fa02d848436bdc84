/*
 * retry.c
 *	  activate_retry() and activate_discard(): dead letters back into the
 *	  outbox, intents out of it.
 *
 * The filter is the caller's SQL, and runs as the caller over relations that
 * show the caller no more than may be seen.  It is parsed alone first: what
 * is not one condition never gets into a statement.
 */
#include "postgres.h"

#include "catalog/analyze.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/own.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "outbox/outbox.h"
#include "sync/verbs.h"
#include "utils/array.h"
#include "utils/builtins.h"

static Datum matching_ids(const Sync *sync, const char *relation, char *filter);
static char *filter_argument(FunctionCallInfo fcinfo);
static int64 append_rejected(const Sync *sync, Datum ids);

ACTIVATE_FUNCTION(activate_retry);
ACTIVATE_FUNCTION(activate_discard);

Datum
activate_retry(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync_kept(fcinfo);
	char	   *reason;
	int64		count;

	if (sync->kind != SYNC_TO_API)
	{
		ereport(NOTICE,
				(errmsg("rejected rows of sync \"%s\" are looked at again by its next run", sync->name)));
		PG_RETURN_INT64(0);
	}
	count = append_rejected(sync, matching_ids(sync, "activate.rejection", filter_argument(fcinfo)));
	reason = sync_undelivered_reason(sync);
	if (count > 0 && reason)
		ereport(NOTICE,
				(errmsg("nothing of sync \"%s\" will be delivered for now: %s", sync->name, reason)));
	PG_RETURN_INT64(count);
}

Datum
activate_discard(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync(fcinfo);
	Oid			types[2] = {INT8OID, INT8ARRAYOID};
	Datum		values[2];
	int64		count;

	/* what this transaction enqueued is there to be seen */
	outbox_flush();
	values[0] = Int64GetDatum(sync->id);
	values[1] = matching_ids(sync, "activate.outbox", filter_argument(fcinfo));

	count = own_int64("SELECT activate._discard($1, $2)", 2, types, values);
	outbox_forget_keys();
	shared_announce_at_commit();
	PG_RETURN_INT64(count);
}

static char *
filter_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
}

/* bigint[] of the rows of relation that are the sync's and match the filter. */
static Datum
matching_ids(const Sync *sync, const char *relation, char *filter)
{
	MemoryContext context = CurrentMemoryContext;
	StringInfoData query;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	Datum		result;
	bool		isnull;

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT coalesce(pg_catalog.array_agg(id), '{}') FROM %s"
					 " WHERE sync OPERATOR(pg_catalog.=) $1", relation);
	if (filter)
	{
		(void) sync_source_condition(sync_source_open(relation), filter, "filter");
		/* the line end closes a comment at the filter's end */
		appendStringInfo(&query, " AND (%s\n)", filter);
	}
	SPI_connect();
	SPI_execute_with_args(query.data, 1, &type, &id, NULL, false, 1);
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	MemoryContextSwitchTo(context);
	result = PointerGetDatum(DatumGetArrayTypePCopy(result));
	SPI_finish();
	MemoryContextSwitchTo(context);
	return result;
}

/*
 * The current row is rendered when it is sent; only events of append, and
 * what was written to a foreign table, are what they were.
 */
static int64
append_rejected(const Sync *sync, Datum ids)
{
	IdentityScope scope;
	Oid			types[2] = {INT8OID, INT8ARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync->id), ids};
	uint64		count;

	SPI_connect();
	identity_enter_extension(&scope);
	SPI_execute_with_args("SELECT key, op, body FROM activate._unreject($1, $2)", 2, types, values, NULL, false, 0);
	identity_leave(&scope);

	/* each with the role that retries as its writer */
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		bool		none;
		Jsonb	   *key = DatumGetJsonbP(SPI_getbinval(tuple, desc, 1, &isnull));
		OutboxOp	op = (OutboxOp) DatumGetChar(SPI_getbinval(tuple, desc, 2, &isnull));
		Datum		body = SPI_getbinval(tuple, desc, 3, &none);

		outbox_append(sync->id, key, op, none ? NULL : DatumGetJsonbP(body), 0, true);
	}
	SPI_finish();
	return count;
}
