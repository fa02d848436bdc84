/*
 * retry.c
 *	  activate_retry(), activate_replay() and activate_discard(): dead letters
 *	  and what was sent back into the outbox, intents out of it.
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
static int64 append_again(const Sync *sync, const char *sql, int nargs, const Oid *types, const Datum *values);
static void notice_undelivered(const Sync *sync, int64 count);

ACTIVATE_FUNCTION(activate_retry);
ACTIVATE_FUNCTION(activate_replay);
ACTIVATE_FUNCTION(activate_discard);

Datum
activate_retry(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync_kept(fcinfo);
	Oid			types[2] = {INT8OID, INT8ARRAYOID};
	Datum		values[2];
	int64		count;

	if (sync->kind != SYNC_TO_API)
	{
		ereport(NOTICE,
				(errmsg("rejected rows of sync \"%s\" are looked at again by its next run", sync->name)));
		PG_RETURN_INT64(0);
	}
	values[0] = Int64GetDatum(sync->id);
	values[1] = matching_ids(sync, "activate.rejection", filter_argument(fcinfo));
	count = append_again(sync, "SELECT key, op, body, NULL::pg_catalog.int8, false FROM activate._unreject($1, $2)", 2, types, values);
	notice_undelivered(sync, count);
	PG_RETURN_INT64(count);
}

/* To a target that has lost what it was sent, restored from a backup for instance. */
Datum
activate_replay(PG_FUNCTION_ARGS)
{
	Sync	   *sync = verb_sync_kept(fcinfo);
	Oid			types[2] = {INT8OID, TIMESTAMPTZOID};
	Datum		values[2] = {Int64GetDatum(sync->id), PG_GETARG_DATUM(1)};
	int64		count;

	if (sync->kind != SYNC_TO_API || sync->implicit || sync->mode == SYNC_APPEND || sync->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot replay sync \"%s\"", sync->name),
				 errdetail("What it sent is not kept."),
				 errhint("Syncs to web APIs that have a key and another mode than \"append\" can be replayed; activate_run(..., full => true) sends every row of any sync.")));
	count = append_again(sync, "SELECT key, op, body, hash, undone FROM activate._replay($1, $2)", 2, types, values);
	notice_undelivered(sync, count);
	PG_RETURN_INT64(count);
}

static void
notice_undelivered(const Sync *sync, int64 count)
{
	char	   *reason = sync_undelivered_reason(sync);

	if (count > 0 && reason)
		ereport(NOTICE,
				(errmsg("nothing of sync \"%s\" will be delivered for now: %s", sync->name, reason)));
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
 * The current row is rendered when it is sent; only events of append, what
 * was written to a foreign table, and what an undo has restored, are what they were.
 */
static int64
append_again(const Sync *sync, const char *sql, int nargs, const Oid *types, const Datum *values)
{
	IdentityScope scope;
	uint64		count;

	SPI_connect();
	identity_enter_extension(&scope);
	SPI_execute_with_args(sql, nargs, unconstify(Oid *, types), unconstify(Datum *, values), NULL, false, 0);
	identity_leave(&scope);

	/* each with the role that asks for it as its writer */
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		bool		none;
		Jsonb	   *key = DatumGetJsonbP(SPI_getbinval(tuple, desc, 1, &isnull));
		OutboxOp	op = (OutboxOp) DatumGetChar(SPI_getbinval(tuple, desc, 2, &isnull));
		Datum		value = SPI_getbinval(tuple, desc, 3, &none);
		Jsonb	   *body = none ? NULL : DatumGetJsonbP(value);
		int64		hash = DatumGetInt64(SPI_getbinval(tuple, desc, 4, &none));

		if (DatumGetBool(SPI_getbinval(tuple, desc, 5, &isnull)))
			outbox_append_undo(sync->id, key, op, body, 0, UNDO_AGAIN, none ? NULL : &hash);
		else
			outbox_append(sync->id, key, op, body, 0, true);
	}
	SPI_finish();
	return count;
}
