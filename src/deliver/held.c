/*
 * held.c
 *	  Guarantee 8 for captured transactions: a mirror whose changes are
 *	  captured by trigger does not delete what one transaction alone would have
 *	  it delete beyond the limit (SEMANTICS 10).
 *
 * Asked when rendering has found that rows are gone, and before their deletes
 * may be sent.  Every transaction whose work rendering can have seen is judged
 * by then, because its intents are looked for by a later snapshot; each once,
 * and only those with enough changes cost more than an index probe.  What a
 * transaction over the limit would delete becomes held in the outbox.  So does
 * any other intent of a key that is held, for it would delete the same row.
 *
 * After the database was set back to an earlier moment the target may be
 * newer: then every delete of a mirror is held, whoever planned it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/identity.h"
#include "core/own.h"
#include "deliver/engine.h"
#include "deliver/owner.h"
#include "quality/quality.h"
#include "storage/condition_variable.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/xid8.h"

/* Defaults of SEMANTICS 10 and DESIGN 3.8. */
#define MIN_DELETES			10
#define MAX_DELETE_PERCENT	20

/* The longest check is given so many times activate.render_timeout: it keeps the other syncs waiting. */
#define MOST_PATIENCE		8

/* A transaction's keys that the target holds, and a sync's source. */
typedef struct SourceCheck
{
	const Sync *sync;
	int			patience;
	const char *sql;
	Datum		keys;			/* jsonb[] */
	Datum		deleted;		/* jsonb[], of these */
	DeliverOwner owner;
	MemoryContext context;
} SourceCheck;

static char *judge_new(HeldWork *held, DeliverSync *sync);
static void judge_one(HeldWork *held, DeliverSync *sync, Datum xid);
static void check_source(void *arg);
static void hold_with_key(HeldWork *held, DeliverSync *sync, DeliverEntry **entries, int n, bool *waits);
static void hold_entries(DeliverSync *sync, DeliverEntry **entries, int n, const bool *waits);

/* Has what one transaction may delete a limit? */
bool
deliver_held_applies(const DeliverSync *sync)
{
	const Sync *declared = sync->declaration->sync;

	return (declared->mode == SYNC_MIRROR || declared->mode == SYNC_REPLACE) && !declared->implicit &&
		(declared->capture == CAPTURE_TRIGGER || sync->declaration->set_back);
}

/*
 * Rows of these entries are gone.  waits is set for those whose delete must
 * not be sent.  In the claim's transaction; deliver_held_done() after it.
 */
void
deliver_held_check(HeldWork *held, DeliverSync *sync, DeliverEntry **entries, int n, bool *waits)
{
	if (sync->declaration->set_back)
	{
		memset(waits, true, n);
		hold_entries(sync, entries, n, waits);
		held->any = true;
		return;
	}
	held->judged = judge_new(held, sync);
	if (sync->truncated)
		memset(waits, true, sizeof(bool) * n);
	else
		hold_with_key(held, sync, entries, n, waits);
}

/* It is committed: what became held is not in memory any more. */
void
deliver_held_done(HeldWork *held, DeliverSync *sync)
{
	ListCell   *cell;

	if (held->judged != NULL)
	{
		if (sync->judged)
			pfree(sync->judged);
		sync->judged = MemoryContextStrdup(engine->context, held->judged);
	}
	foreach(cell, held->told)
		ereport(LOG,
				(errmsg("%s", (char *) lfirst(cell)),
				 errhint("activate_run(..., full => true) lets them go, activate_discard(..., 'held') drops them.")));
	if (held->any)
		deliver_queue_forget(sync);
	deliver_truncate_done(held, sync);
	if (held->any || (held->truncate != 0 && held->truncate_upto == NULL))
		ConditionVariableBroadcast(&engine->database->settled);
}

static int
min_deletes(const DeliverSync *sync)
{
	return sync_option_int(sync->declaration->sync, "min_deletes", MIN_DELETES);
}

static int
max_delete_percent(const DeliverSync *sync)
{
	return sync_option_int(sync->declaration->sync, "max_delete_percent", MAX_DELETE_PERCENT);
}

/* The transactions that were not judged yet; the snapshot that showed them, NULL: a TRUNCATE is to be worked off first. */
static char *
judge_new(HeldWork *held, DeliverSync *sync)
{
	IdentityScope scope;
	Oid			types[3] = {INT8OID, TEXTOID, INT4OID};
	Datum		values[3] = {Int64GetDatum(sync->id), (Datum) 0, Int32GetDatum(min_deletes(sync))};
	char	   *snapshot;
	ArrayType  *found;
	Datum	   *xids;
	int			n;
	MemoryContext caller = CurrentMemoryContext;

	if (sync->judged)
		values[1] = CStringGetTextDatum(sync->judged);
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT snapshot, xids, truncated FROM activate._captured_large($1, $2::pg_snapshot, $3)",
						  3, types, values, sync->judged ? NULL : " n ", false, 1);
	snapshot = MemoryContextStrdup(engine->turn, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	{
		bool		isnull;
		Datum		array = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(caller);

		found = DatumGetArrayTypePCopy(array);
		MemoryContextSwitchTo(previous);
		sync->truncated = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	}
	SPI_finish();
	identity_leave(&scope);
	if (sync->truncated)
		return NULL;

	deconstruct_array(found, XID8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &xids, NULL, &n);
	for (int i = 0; i < n; i++)
		judge_one(held, sync, xids[i]);
	return snapshot;
}

static void
judge_one(HeldWork *held, DeliverSync *sync, Datum xid)
{
	Oid			types[5] = {INT8OID, XID8OID, INT4OID, INT4OID};
	Datum		values[5] = {Int64GetDatum(sync->id), xid,
	Int32GetDatum(min_deletes(sync)), Int32GetDatum(max_delete_percent(sync))};
	bool		isnull;
	Datum		keys = own_value("SELECT activate._captured_keys($1, $2, $3, $4)", 4, types, values, NULL, &isnull);
	int			n;
	MemoryContext previous;

	if (isnull)
		return;
	types[4] = JSONBARRAYOID;
	values[4] = deliver_held_gone(sync, keys);
	n = DatumGetInt32(own_value("SELECT activate._captured_judge($1, $2, $5, $3, $4)", 5, types, values, NULL, &isnull));
	if (n == 0)
		return;
	held->any = true;
	previous = MemoryContextSwitchTo(engine->turn);
	held->told = lappend(held->told,
						 psprintf("activate: sync \"%s\" holds %d deletes of transaction " UINT64_FORMAT
								  ": more than it may delete at once",
								  sync->declaration->sync->name, n, U64FromFullTransactionId(DatumGetFullTransactionId(xid))));
	MemoryContextSwitchTo(previous);
}

/*
 * Those that the source does not have, as its owner sees it.  It must be
 * known, so a check that takes too long comes again with more patience, after
 * a rest.  While it runs, the others wait, too.
 */
Datum
deliver_held_gone(DeliverSync *sync, Datum keys)
{
	SourceCheck check = {.sync = sync->declaration->sync, .keys = keys, .context = CurrentMemoryContext};
	Oid			types[4] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[4];
	DeliverError error;
	char	   *reason;
	bool		judged;
	char	   *query = quality_query(check.sync, &judged, &reason);

	if (query == NULL || !OidIsValid(check.sync->owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s", query ? "its owner does not exist" : reason)));
	values[0] = CStringGetTextDatum(query);
	values[1] = deliver_text_array(check.sync->key, check.sync->nkeys);
	values[2] = deliver_text_array(check.sync->key_types, check.sync->nkeys);
	values[3] = deliver_key_conditions(check.sync);
	check.sql = own_text("SELECT activate._captured_deletes_sql($1, $2, $3, $4)", 4, types, values);
	check.patience = (int) Min((int64) deliver_render_timeout * Min(1 << Min(sync->rests, 30), MOST_PATIENCE), INT_MAX);
	if (!deliver_subtransaction(check_source, &check, &error))
	{
		(void) deliver_owner_timed_out(&check.owner);
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg("could not tell the deletes of a transaction: %s", error.message)));
	}
	return check.deleted;
}

static void
check_source(void *arg)
{
	SourceCheck *check = arg;
	Oid			type = JSONBARRAYOID;
	SPIPlanPtr	plan;
	MemoryContext previous;
	bool		isnull;

	deliver_owner_enter(&check->owner, check->sync, check->patience);
	SPI_connect();
	plan = SPI_prepare(check->sql, 1, &type);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	deliver_owner_look_now(plan);
	SPI_execute_plan(plan, &check->keys, NULL, true, 1);
	previous = MemoryContextSwitchTo(check->context);
	check->deleted = PointerGetDatum(DatumGetArrayTypePCopy(
									  SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
	MemoryContextSwitchTo(previous);
	SPI_finish();
	deliver_owner_leave(&check->owner);
}

/* A delete that is held stands for every delete of its key, whoever asks for it. */
static void
hold_with_key(HeldWork *held, DeliverSync *sync, DeliverEntry **entries, int n, bool *waits)
{
	IdentityScope scope;
	Oid			types[2] = {INT8OID, JSONBARRAYOID};
	Datum		values[2];
	Datum	   *keys = palloc(sizeof(Datum) * n);
	bool		any = false;

	for (int i = 0; i < n; i++)
		keys[i] = JsonbPGetDatum(entries[i]->hash_key.key);
	values[0] = Int64GetDatum(sync->id);
	values[1] = PointerGetDatum(construct_array(keys, n, JSONBOID, -1, false, TYPALIGN_INT));
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT activate._captured_held($1, $2)", 2, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		waits[DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull)) - 1] = true;
		any = true;
	}
	SPI_finish();
	identity_leave(&scope);
	if (any)
		hold_entries(sync, entries, n, waits);
	held->any |= any;
}

static void
hold_entries(DeliverSync *sync, DeliverEntry **entries, int n, const bool *waits)
{
	Oid			types[3] = {INT8OID, XID8ARRAYOID, INT8ARRAYOID};
	Datum		values[3];
	ArrayBuildState *xids = initArrayResult(XID8OID, CurrentMemoryContext, false);
	ArrayBuildState *ids = initArrayResult(INT8OID, CurrentMemoryContext, false);

	for (int i = 0; i < n; i++)
	{
		dlist_iter	iter;

		if (!waits[i])
			continue;
		dlist_foreach(iter, &entries[i]->intents)
		{
			const OutboxIntent *intent = &dlist_container(DeliverIntent, node, iter.cur)->intent;

			accumArrayResult(xids, FullTransactionIdGetDatum(FullTransactionIdFromU64(intent->xid)),
							 false, XID8OID, CurrentMemoryContext);
			accumArrayResult(ids, Int64GetDatum(intent->id), false, INT8OID, CurrentMemoryContext);
		}
	}
	values[0] = Int64GetDatum(sync->id);
	values[1] = makeArrayResult(xids, CurrentMemoryContext);
	values[2] = makeArrayResult(ids, CurrentMemoryContext);
	(void) own_value("SELECT activate._captured_hold($1, $2, $3)", 3, types, values, NULL, NULL);
}
