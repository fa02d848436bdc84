/*
 * sent.c
 *	  activate._sent: what the target of a sync holds, as far as we know.
 *
 * Read for each message and written for each, so without SQL (core/table.h).
 * A deliverer is the only one who writes what was delivered of a sync; beside it
 * runs note rows as known, and a sync is forgotten: whoever has changed a row
 * since we saw it, it is looked for again.
 */
#include "postgres.h"

#include "catalog/digest.h"
#include "deliver/record.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

/* Columns of activate._sent in the order of src/catalog/10_tables.sql, from 1. */
enum
{
	COL_SYNC = 1, COL_DIGEST, COL_HASH, COL_SEQ, COL_SENT_AT, COL_RUN, COL_KEY, COL_REMOTE_ID, COL_IMAGE,
	COLUMNS = COL_IMAGE
};

static void
sent_open(OwnTable *table, LOCKMODE mode)
{
	own_table_open(table, "_sent", "_sent_pkey", COLUMNS, mode);
}

static bool
sent_find(OwnTable *table, int64 sync, const pg_uuid_t *digest)
{
	ScanKeyData keys[2];

	own_table_key(&keys[0], COL_SYNC, sync);
	ScanKeyInit(&keys[1], COL_DIGEST, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(digest));
	return own_table_find(table, keys, 2);
}

/* Where it was when its message was decided on, or wherever it is now. */
static bool
sent_find_again(OwnTable *table, const DeliverOutcome *outcome, bool *moved)
{
	const SentPlace *place = &outcome->entry->place;
	bool		isnull;

	if (!*moved && own_table_at(table, &place->tid) &&
		DatumGetInt64(slot_getattr(table->row, COL_SYNC, &isnull)) == outcome->sync &&
		memcmp(DatumGetUUIDP(slot_getattr(table->row, COL_DIGEST, &isnull)), &place->digest, sizeof(pg_uuid_t)) == 0)
	{
		*moved = true;			/* if it cannot be written there, it has */
		return true;
	}
	return sent_find(table, outcome->sync, &place->digest);
}

static int
digest_compare(const void *left, const void *right)
{
	const DeliverKnown *const *a = left;
	const DeliverKnown *const *b = right;

	return memcmp(&(*a)->place.digest, &(*b)->place.digest, sizeof(pg_uuid_t));
}

/*
 * In any transaction: what the target holds of these keys; others are left as
 * they are.  Looked for in the order of the index: keys that are neighbours in
 * it then share what the processor has just read.
 */
void
deliver_sent_known(int64 sync, Jsonb **keys, int n, DeliverKnown *out, MemoryContext context)
{
	OwnTable	table;
	MemoryContext previous = MemoryContextSwitchTo(context);
	DeliverKnown **ordered = palloc(sizeof(DeliverKnown *) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		catalog_key_digest(keys[i], out[i].place.digest.data);
		ordered[i] = &out[i];
	}
	qsort(ordered, n, sizeof(DeliverKnown *), digest_compare);
	sent_open(&table, AccessShareLock);
	for (int i = 0; i < n; i++)
	{
		DeliverKnown *known = ordered[i];
		bool		isnull;
		Datum		remote_id;

		if (!sent_find(&table, sync, &known->place.digest))
			continue;
		known->sent = true;
		known->place.tid = table.row->tts_tid;
		known->hash = DatumGetInt64(slot_getattr(table.row, COL_HASH, &isnull));
		known->has_hash = !isnull;
		known->seq = DatumGetInt64(slot_getattr(table.row, COL_SEQ, &isnull));
		known->run = DatumGetInt64(slot_getattr(table.row, COL_RUN, &isnull));
		if (isnull)
			known->run = 0;
		remote_id = slot_getattr(table.row, COL_REMOTE_ID, &isnull);
		if (!isnull)
			known->remote_id = TextDatumGetCString(remote_id);
	}
	own_table_close(&table);
	MemoryContextSwitchTo(previous);
}

/* --- settling --------------------------------------------------------- */

static void
set_column(TupleTableSlot *slot, int column, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = false;
}

/* What each row has; the others are NULL. */
static TupleTableSlot *
fill_fresh(OwnTable *table, const DeliverOutcome *outcome)
{
	TupleTableSlot *slot = own_table_fresh(table);

	set_column(slot, COL_SYNC, Int64GetDatum(outcome->sync));
	set_column(slot, COL_DIGEST, UUIDPGetDatum(&outcome->entry->place.digest));
	set_column(slot, COL_SEQ, Int64GetDatum(outcome->entry->seq));
	set_column(slot, COL_SENT_AT, TimestampTzGetDatum(outcome->at));
	set_column(slot, COL_KEY, JsonbPGetDatum(outcome->key));
	return slot;
}

/* Without a hash it was no whole row, but columns written to a foreign table (or what an undo restores). */
static void
fill_image(TupleTableSlot *slot, const DeliverOutcome *outcome, const RecordSync *sync, TupleTableSlot *old)
{
	const DeliverEntry *entry = outcome->entry;
	Datum		image = JsonbPGetDatum(entry->row);
	bool		isnull = true;
	Datum		before = (Datum) 0;

	if (entry->row == NULL || !outcome->image)
		return;
	if (sync->heeds)
		image = deliver_kept_image(outcome, old, COL_IMAGE);
	if (old != NULL && !entry->has_hash && deliver_undo_of(outcome) == NULL)
		before = slot_getattr(old, COL_IMAGE, &isnull);
	set_column(slot, COL_IMAGE, isnull ? image : DirectFunctionCall2(jsonb_concat, before, image));
}

static void
fill_remote_id(TupleTableSlot *slot, const DeliverOutcome *outcome, TupleTableSlot *old)
{
	bool		isnull = true;
	Datum		before = (Datum) 0;

	if (outcome->remote_id != NULL && *outcome->remote_id != '\0')
		set_column(slot, COL_REMOTE_ID, CStringGetTextDatum(outcome->remote_id));
	else if (old != NULL && (before = slot_getattr(old, COL_REMOTE_ID, &isnull), !isnull))
		set_column(slot, COL_REMOTE_ID, before);
}

static SentBefore
sent_before(TupleTableSlot *old)
{
	SentBefore	before = {0};
	bool		isnull;

	before.hash = DatumGetInt64(slot_getattr(old, COL_HASH, &isnull));
	before.has_hash = !isnull;
	before.run = DatumGetInt64(slot_getattr(old, COL_RUN, &isnull));
	if (isnull)
		before.run = 0;
	before.image = slot_getattr(old, COL_IMAGE, &isnull);
	before.has_image = !isnull;
	return before;
}

/* Whose message the target holds, once it is known that this one was taken: what changed nothing is nobody's. */
static int64
run_since(const DeliverOutcome *outcome, int64 run, TupleTableSlot *old)
{
	const DeliverEntry *entry = outcome->entry;
	SentBefore	before;

	if (old == NULL)
		return run;
	before = sent_before(old);
	return before.has_hash && entry->has_hash && before.hash == entry->hash ? before.run : run;
}

/* The row as it was found, which is still to be seen there.  What is the run's already was kept before. */
static void
keep_before(OwnTable *table, RecordUndo *undo, const DeliverOutcome *outcome, int64 run, bool deleted)
{
	SentBefore	before = sent_before(table->row);

	if (before.run != run)
		deliver_undo_keep(undo, outcome, run, &before, deleted);
}

static void
record_sent(OwnTable *table, RecordUndo *undo, const DeliverOutcome *outcome, const RecordSync *sync)
{
	const OutboxIntent *taken_back = deliver_undo_of(outcome);
	int64		run = taken_back ? deliver_undo_done(undo, outcome, taken_back->run) : deliver_undo_run(undo, outcome, sync);
	int64		since;
	bool		moved = false;
	bool		found;

	do
	{
		TupleTableSlot *slot = fill_fresh(table, outcome);
		TupleTableSlot *old;

		found = sent_find_again(table, outcome, &moved);
		old = found ? table->row : NULL;
		if (outcome->entry->has_hash)
			set_column(slot, COL_HASH, Int64GetDatum(outcome->entry->hash));
		fill_image(slot, outcome, sync, old);
		fill_remote_id(slot, outcome, old);
		since = taken_back ? run : run_since(outcome, run, old);
		if (since != 0)
			set_column(slot, COL_RUN, Int64GetDatum(since));
	} while (found && !own_table_update(table));
	if (!found)
		own_table_insert(table);
	else if (taken_back == NULL && since != 0 && since == run)
		keep_before(table, undo, outcome, run, false);
}

static void
record_gone(OwnTable *table, RecordUndo *undo, const DeliverOutcome *outcome, const RecordSync *sync)
{
	int64		run = deliver_undo_run(undo, outcome, sync);
	bool		moved = false;

	while (sent_find_again(table, outcome, &moved))
		if (own_table_delete(table))
		{
			if (run != 0)
				keep_before(table, undo, outcome, run, true);
			break;
		}
}

/*
 * Attempts that may have been carried out, and then a rejection: whatever the
 * row is next, it is not what the target is known to hold.  Where deletes are
 * sent, what it was never known to hold is perhaps to be deleted.  Its number may
 * be above those of intents that wait: none of them goes below it.
 */
static void
record_refused(OwnTable *table, const DeliverOutcome *outcome, const RecordSync *sync)
{
	bool		moved = false;

	while (sent_find_again(table, outcome, &moved))
	{
		TupleTableSlot *slot = own_table_fresh(table);

		slot_getallattrs(table->row);
		memcpy(slot->tts_values, table->row->tts_values, sizeof(Datum) * COLUMNS);
		memcpy(slot->tts_isnull, table->row->tts_isnull, sizeof(bool) * COLUMNS);
		if (outcome->entry->uncertain)
			slot->tts_isnull[COL_HASH - 1] = true;
		if (outcome->has_id)
			set_column(slot, COL_SEQ, Int64GetDatum(outcome->entry->seq));
		if (own_table_update(table))
			return;
	}
	if (!outcome->entry->uncertain || !sync->there || sync->epoch != outcome->entry->epoch || !sync->deletes)
		return;
	(void) fill_fresh(table, outcome);
	own_table_insert(table);
}

/*
 * In the settling transaction.  A sync that was dropped meanwhile leaves
 * nothing behind; to one that has another target or key now (epoch) nothing
 * was sent yet.
 */
void
deliver_sent_record(const DeliverOutcome *outcomes, int n, List **syncs)
{
	OwnTable	table;
	RecordUndo	undo = {0};

	sent_open(&table, RowExclusiveLock);
	for (int i = 0; i < n; i++)
	{
		const DeliverOutcome *outcome = &outcomes[i];
		bool		raised = deliver_outcome_raised(outcome);
		bool		refused = outcome->kind == OUTCOME_REJECTED && (outcome->entry->uncertain || raised);
		RecordSync *sync;

		if ((outcome->kind != OUTCOME_DELIVERED && !refused) || outcome->entry->hash_key.event != 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		sync = deliver_record_sync(syncs, outcome->sync);
		if (raised)
			sync->least_seq = Max(sync->least_seq, outcome->entry->seq);
		if (refused)
			record_refused(&table, outcome, sync);
		else if (outcome->op == OUTBOX_DELETE)
			record_gone(&table, &undo, outcome, sync);
		else if (sync->there && sync->epoch == outcome->entry->epoch)
			record_sent(&table, &undo, outcome, sync);
	}
	deliver_undo_close(&undo);
	own_table_close(&table);
}
