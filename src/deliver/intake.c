/*
 * intake.c
 *	  Intents from the outbox into the queue of their sync, each with the class
 *	  that says who goes first (quota/quota.h).  docs/deliver.md has the cursor
 *	  that runs ahead.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "deliver/engine.h"

/*
 * Changes that have come behind what runs have enqueued need not wait for it.
 * Of append each event counts, in order; where all intents are of one class none
 * is in a hurry.
 */
static bool
claims_ahead(const DeliverSync *sync)
{
	const DeliverDeclaration *declaration = sync->declaration;

	return sync->news && sync->more && declaration != NULL && declaration->sync->capture == CAPTURE_TRIGGER &&
		declaration->sync->mode != SYNC_APPEND && !declaration->has_class && deliver_queue_window_ahead(sync) > 0;
}

static bool
claims_more(const DeliverSync *sync)
{
	return sync->more && deliver_queue_window(sync) > 0;
}

bool
deliver_intake_wanted(const DeliverSync *sync)
{
	return claims_more(sync) || claims_ahead(sync);
}

/* Is it the first run since the declaration?  Looked up once per run. */
static bool
first_run(DeliverSync *sync, int64 run)
{
	Oid			types[2] = {INT8OID, INT8OID};
	Datum		values[2] = {Int64GetDatum(sync->id), Int64GetDatum(run)};

	if (sync->run == run)
		return sync->run_is_first;
	sync->run_is_first = DatumGetBool(own_value(
		"SELECT NOT EXISTS (SELECT FROM activate.run r JOIN activate.sync s ON s.id = r.sync"
		" WHERE r.sync = $1 AND r.id < $2 AND r.status IN ('succeeded', 'held') AND r.finished_at >= s.declared_at)",
		2, types, values, NULL, NULL));
	sync->run = run;
	return sync->run_is_first;
}

/* How urgent it is: what a trigger or a statement did, what a run found, what a run sends all at once. */
static QuotaClass
class_of(DeliverSync *sync, const OutboxIntent *intent)
{
	if (sync->declaration->has_class)
		return sync->declaration->class;
	if (intent->run == 0)
		return intent->forced ? QUOTA_NORMAL : QUOTA_INTERACTIVE;
	return intent->forced || first_run(sync, intent->run) ? QUOTA_BACKFILL : QUOTA_NORMAL;
}

static void
take_intents(DeliverSync *sync, List *intents)
{
	ListCell   *cell;

	foreach(cell, intents)
	{
		OutboxIntent *intent = lfirst(cell);

		if (intent->op == OUTBOX_TRUNCATE)
			sync->truncated = true;
		else
			deliver_queue_add(sync, intent, class_of(sync, intent));
	}
}

static void
claim_intents(DeliverSync *sync)
{
	int			limit = Min(deliver_queue_window(sync), DELIVER_WINDOW);
	List	   *intents = outbox_claim(sync->id, &sync->cursor, limit, CurrentMemoryContext);

	take_intents(sync, intents);
	sync->more = list_length(intents) >= limit;
	if (!sync->more)
	{
		/* nothing to be ahead of */
		sync->news = false;
		outbox_cursor_reset(&sync->ahead);
	}
}

static void
claim_changes(DeliverSync *sync)
{
	int			limit = deliver_queue_window_ahead(sync);
	List	   *intents = outbox_claim_changes(sync->id, &sync->ahead, &sync->cursor, limit, CurrentMemoryContext);

	take_intents(sync, intents);
	sync->news = list_length(intents) >= limit;
}

void
deliver_intake(DeliverSync *sync)
{
	if (claims_more(sync))
		claim_intents(sync);
	if (claims_ahead(sync))
		claim_changes(sync);
}
