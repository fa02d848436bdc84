/*
 * undo.c
 *	  activate._undo: what a target held before a message of a run changed it,
 *	  for activate_undo().
 *
 * A message is of the run of its newest intent: what a later change has
 * overtaken before it was sent is not the run's any more.  What it changed is
 * the run's (_sent.run) until something else changes it.  A key that it was the
 * first to send costs no row here, a message of no run nothing.
 */
#include "postgres.h"

#include "deliver/record.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"

/* Columns of activate._undo in the order of src/catalog/10_tables.sql, from 1. */
enum
{
	COL_SYNC = 1, COL_RUN, COL_DIGEST, COL_HASH, COL_BEFORE, COL_DELETED, COL_KEY, COL_IMAGE, COLUMNS = COL_IMAGE
};

/* The columns of activate.run are found by name. */
static bool
run_is_there(int64 run)
{
	OwnTable	table;
	ScanKeyData key;
	bool		found;

	own_table_open(&table, "run", "run_pkey", 0, AccessShareLock);
	own_table_key(&key, 1, run);
	found = own_table_find(&table, &key, 1);
	own_table_close(&table);
	return found;
}

/* One that was so long under way that its run is forgotten is of none. */
static bool
run_is_known(RecordUndo *undo, int64 run)
{
	if (undo->run != run)
	{
		undo->run = run;
		undo->run_there = run_is_there(run);
	}
	return undo->run_there;
}

const OutboxIntent *
deliver_undo_of(const DeliverOutcome *outcome)
{
	const OutboxIntent *newest = deliver_entry_newest(outcome->entry);

	return newest != NULL && newest->undo != UNDO_NONE && newest->undo != UNDO_AGAIN ? newest : NULL;
}

/* The run that what a message did is recorded for; 0: none. */
int64
deliver_undo_run(RecordUndo *undo, const DeliverOutcome *outcome, const RecordSync *sync)
{
	const OutboxIntent *newest = deliver_entry_newest(outcome->entry);

	if (newest == NULL || newest->run == 0 || newest->undo != UNDO_NONE || !sync->there || !sync->undo ||
		sync->epoch != outcome->entry->epoch)
		return 0;
	return run_is_known(undo, newest->run) ? newest->run : 0;
}

static bool
undo_find(RecordUndo *undo, int64 sync, int64 run, const pg_uuid_t *digest)
{
	ScanKeyData keys[3];

	if (!undo->open)
		own_table_open(&undo->table, "_undo", "_undo_pkey", COLUMNS, RowExclusiveLock);
	undo->open = true;
	own_table_key(&keys[0], COL_SYNC, sync);
	own_table_key(&keys[1], COL_RUN, run);
	ScanKeyInit(&keys[2], COL_DIGEST, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(digest));
	return own_table_find(&undo->table, keys, 3);
}

static void
set_column(TupleTableSlot *slot, int column, Datum value, bool isnull)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = isnull;
}

/* Before its first message changed a key; what another one changed in between is the run's to take back. */
void
deliver_undo_keep(RecordUndo *undo, const DeliverOutcome *outcome, int64 run, const SentBefore *before, bool deleted)
{
	const pg_uuid_t *digest = &outcome->entry->place.digest;
	TupleTableSlot *slot;

	if (undo_find(undo, outcome->sync, run, digest))
		return;
	slot = own_table_fresh(&undo->table);
	set_column(slot, COL_SYNC, Int64GetDatum(outcome->sync), false);
	set_column(slot, COL_RUN, Int64GetDatum(run), false);
	set_column(slot, COL_DIGEST, UUIDPGetDatum(digest), false);
	set_column(slot, COL_HASH, Int64GetDatum(before->hash), !before->has_hash);
	set_column(slot, COL_BEFORE, Int64GetDatum(before->run), before->run == 0);
	set_column(slot, COL_DELETED, BoolGetDatum(deleted), false);
	set_column(slot, COL_KEY, JsonbPGetDatum(outcome->key), false);
	set_column(slot, COL_IMAGE, before->image, !before->has_image);
	own_table_insert(&undo->table);
}

/* What a run did with the key is taken back: whose message the target holds again; 0: of none. */
int64
deliver_undo_done(RecordUndo *undo, const DeliverOutcome *outcome, int64 run)
{
	int64		before = 0;
	bool		isnull;

	while (undo_find(undo, outcome->sync, run, &outcome->entry->place.digest))
	{
		before = DatumGetInt64(slot_getattr(undo->table.row, COL_BEFORE, &isnull));
		if (isnull)
			before = 0;
		if (own_table_delete(&undo->table))
			break;
	}
	return before != 0 && run_is_known(undo, before) ? before : 0;
}

void
deliver_undo_close(RecordUndo *undo)
{
	if (undo->open)
		own_table_close(&undo->table);
}

/* --- deciding ---------------------------------------------------------- */

/*
 * What takes back all that is before it: the newest of that is of the run that
 * is undone.  NULL: there is no such; *covered: intents up to it.
 */
const OutboxIntent *
deliver_undo_ahead(const DeliverEntry *entry, int *covered)
{
	const OutboxIntent *newest = NULL;
	dlist_iter	iter;

	*covered = 0;
	dlist_foreach(iter, unconstify(dlist_head *, &entry->intents))
	{
		const OutboxIntent *intent = &dlist_container(DeliverIntent, node, iter.cur)->intent;

		(*covered)++;
		if (intent->undo != UNDO_NONE)
			return newest == NULL || (intent->undo != UNDO_AGAIN && newest->run == intent->run) ? intent : NULL;
		if (intent->body != NULL)
			return NULL;
		newest = intent;
	}
	return NULL;
}

/*
 * The target still holds what the run left there; or may hold it, because a
 * message that is taken back is of unknown outcome (uncertain).  Else something
 * has changed the key since it was asked for, or no message of the run went
 * out: there is nothing to restore.  What was restored is sent again while it is
 * that what the target is known to hold.
 */
bool
deliver_undo_stands(const OutboxIntent *undo, const DeliverKnown *known, bool uncertain)
{
	if (undo->op == OUTBOX_CHANGE)
		return false;
	if (undo->undo == UNDO_AGAIN)
		return known->sent && known->has_hash == undo->has_planned && (!known->has_hash || known->hash == undo->planned);
	if (uncertain)
		return true;
	return undo->undo == UNDO_DELETED ? !known->sent : known->sent && known->run == undo->run;
}
