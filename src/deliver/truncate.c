/*
 * truncate.c
 *	  A TRUNCATE of a captured table is one intent, which names no key.  What it
 *	  would delete at the target, every key that was sent and that the source
 *	  does not have now, becomes held deletes (SEMANTICS 6, 10).
 *
 * Looking at the source, and at that moment, is what keeps the order: a key
 * that was inserted again is there, and a leaf that was truncated alone leaves
 * those of the others.  A part of activate._sent is looked at in each turn, so
 * that a large one keeps nobody waiting.  Meanwhile nothing of the sync is
 * rendered: what was rendered before may be gone.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "core/identity.h"
#include "core/own.h"
#include "deliver/engine.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* Keys looked at in a turn. */
#define TRUNCATE_BATCH	5000

static Datum next_keys(HeldWork *held, DeliverSync *sync);
static void hold_gone(HeldWork *held, DeliverSync *sync, Datum keys);

/* In the claim's transaction; deliver_held_done() after it. */
void
deliver_truncate_step(HeldWork *held, DeliverSync *sync)
{
	Datum		keys;

	deliver_queue_unrender(sync);
	keys = next_keys(held, sync);
	if (held->truncate != 0)
		hold_gone(held, sync, keys);
	else
		sync->truncated = false;
}

/* It is committed. */
void
deliver_truncate_done(const HeldWork *held, DeliverSync *sync)
{
	if (sync->truncated_upto)
		pfree(sync->truncated_upto);
	sync->truncated_upto = NULL;
	sync->truncated_id = held->truncate;
	if (held->truncate_upto)
		sync->truncated_upto = memcpy(MemoryContextAlloc(sync->context, sizeof(pg_uuid_t)),
									  held->truncate_upto, sizeof(pg_uuid_t));
}

/*
 * jsonb[]: keys to be looked for in the source.  The first time with those that
 * the target may hold though activate._sent does not say so.
 */
static Datum
next_keys(HeldWork *held, DeliverSync *sync)
{
	IdentityScope scope;
	Oid			types[6] = {INT8OID, INT8OID, UUIDOID, JSONBARRAYOID, INT8OID, INT4OID};
	Datum		values[6];
	MemoryContext caller = CurrentMemoryContext;
	bool		isnull;
	Datum		marker;
	Datum		keys = (Datum) 0;

	values[0] = Int64GetDatum(sync->id);
	values[1] = Int64GetDatum(sync->truncated_id);
	values[2] = UUIDPGetDatum(sync->truncated_upto);
	values[3] = PointerGetDatum(deliver_queue_busy_keys(sync));
	values[4] = Int64GetDatum(engine->horizon_before);
	values[5] = Int32GetDatum(TRUNCATE_BATCH);
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT marker, keys, upto FROM activate._truncate_step($1, $2, $3, $4, $5, $6)",
						  6, types, values, sync->truncated_upto ? NULL : "  n   ", false, 1);
	marker = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(caller);

		held->truncate = DatumGetInt64(marker);
		keys = PointerGetDatum(DatumGetArrayTypePCopy(value));
		MemoryContextSwitchTo(engine->turn);
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
		held->truncate_upto = isnull ? NULL : memcpy(palloc(sizeof(pg_uuid_t)), DatumGetUUIDP(value), sizeof(pg_uuid_t));
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return keys;
}

/* Those of the keys that the source does not have. */
static void
hold_gone(HeldWork *held, DeliverSync *sync, Datum keys)
{
	Oid			types[4] = {INT8OID, INT8OID, JSONBARRAYOID, BOOLOID};
	Datum		values[4];
	int64		total;
	MemoryContext previous;

	values[0] = Int64GetDatum(sync->id);
	values[1] = Int64GetDatum(held->truncate);
	/* declared anew since: what is gone stays */
	values[2] = deliver_held_applies(sync) ? deliver_held_gone(sync, keys) :
		PointerGetDatum(construct_empty_array(JSONBOID));
	values[3] = BoolGetDatum(held->truncate_upto == NULL);
	total = own_int64("SELECT activate._truncate_hold($1, $2, $3, $4)", 4, types, values);
	if (total == 0)
		return;
	previous = MemoryContextSwitchTo(engine->turn);
	held->told = lappend(held->told,
						 psprintf("activate: sync \"%s\" holds " INT64_FORMAT " deletes of a TRUNCATE",
								  sync->declaration->sync->name, total));
	MemoryContextSwitchTo(previous);
}
