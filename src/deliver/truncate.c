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

typedef struct TruncateStep
{
	int64		marker;			/* id of the intent; 0: there is none */
	Datum		keys;			/* jsonb[], to be looked for in the source */
	Jsonb	   *upto;			/* the last of them in activate._sent; NULL: these are the last */
} TruncateStep;

static void next_step(DeliverSync *sync, TruncateStep *step);
static void hold_gone(HeldWork *held, DeliverSync *sync, const TruncateStep *step);

/* In the claim's transaction; if that fails, deliver_truncate_again(). */
void
deliver_truncate_step(HeldWork *held, DeliverSync *sync)
{
	TruncateStep step = {0};

	if (sync->truncated_upto == NULL)
		deliver_queue_unrender(sync);
	next_step(sync, &step);
	if (step.marker != 0)
		hold_gone(held, sync, &step);
	else
		sync->truncated = false;

	if (sync->truncated_upto)
		pfree(sync->truncated_upto);
	sync->truncated_upto = NULL;
	if (step.upto)
		sync->truncated_upto = memcpy(MemoryContextAlloc(sync->context, VARSIZE(step.upto)),
									  step.upto, VARSIZE(step.upto));
}

/* From the beginning: what is held already is not held twice. */
void
deliver_truncate_again(DeliverSync *sync)
{
	if (sync->truncated_upto)
		pfree(sync->truncated_upto);
	sync->truncated_upto = NULL;
}

/* The first time with those keys that the target may hold though activate._sent does not say so. */
static void
next_step(DeliverSync *sync, TruncateStep *step)
{
	IdentityScope scope;
	Oid			types[5] = {INT8OID, JSONBOID, JSONBARRAYOID, INT8OID, INT4OID};
	Datum		values[5];
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext previous;
	bool		isnull;
	Datum		value;

	values[0] = Int64GetDatum(sync->id);
	values[1] = JsonbPGetDatum(sync->truncated_upto);
	values[2] = PointerGetDatum(deliver_queue_busy_keys(sync));
	values[3] = Int64GetDatum(engine->horizon_before);
	values[4] = Int32GetDatum(TRUNCATE_BATCH);
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT marker, keys, upto FROM activate._truncate_step($1, $2, $3, $4, $5)",
						  5, types, values, sync->truncated_upto ? NULL : " n   ", false, 1);
	previous = MemoryContextSwitchTo(caller);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		step->marker = DatumGetInt64(value);
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
		step->keys = PointerGetDatum(DatumGetArrayTypePCopy(value));
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
		step->upto = isnull ? NULL : DatumGetJsonbPCopy(value);
	}
	MemoryContextSwitchTo(previous);
	SPI_finish();
	identity_leave(&scope);
}

static void
hold_gone(HeldWork *held, DeliverSync *sync, const TruncateStep *step)
{
	const Sync *declared = sync->declaration->sync;
	Oid			types[4] = {INT8OID, INT8OID, JSONBARRAYOID, BOOLOID};
	Datum		values[4] = {Int64GetDatum(sync->id), Int64GetDatum(step->marker), (Datum) 0,
	BoolGetDatum(step->upto == NULL)};
	bool		isnull;
	int64		total;
	MemoryContext previous;

	/* declared anew since: what is gone stays */
	if (!deliver_held_applies(sync))
		values[2] = PointerGetDatum(construct_empty_array(JSONBOID));
	else
		values[2] = deliver_held_gone(sync, step->keys);
	total = DatumGetInt64(own_value("SELECT activate._truncate_hold($1, $2, $3, $4)", 4, types, values,
											NULL, &isnull));
	if (step->upto != NULL)
		return;
	held->expanded = true;
	if (total == 0)
		return;
	previous = MemoryContextSwitchTo(engine->turn);
	held->told = lappend(held->told,
						 psprintf("activate: sync \"%s\" holds " INT64_FORMAT " deletes of a TRUNCATE",
								  declared->name, total));
	MemoryContextSwitchTo(previous);
}
