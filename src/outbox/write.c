/*
 * write.c
 *	  Buffered intents into activate._outbox by multi-insert.
 *
 * Straight into the table, without permission checks: who may cause an intent
 * was decided by whoever appended it, and ordinary roles have no right to
 * write the table by SQL.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "core/compat.h"
#include "core/table.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "outbox/buffer.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#define NONCES	256

static TupleTableSlot **make_slots(Relation rel, int n);
static void write_batch(Relation rel, ResultRelInfo *target, EState *estate, TupleTableSlot **slots,
						const OutboxRow *rows, int n);
static void fill_slot(TupleTableSlot *slot, const OutboxRow *row, FullTransactionId xid);
static text *writer_name(Oid role);
static uint64 next_nonce(void);

void
outbox_write(const OutboxRow *rows, int n)
{
	Relation	rel = table_open(own_relation("_outbox"), RowExclusiveLock);
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TupleTableSlot **slots;
	bool		snapshot_pushed = false;
	MemoryContext previous;

	if (RelationGetDescr(rel)->natts != OUTBOX_COLUMNS)
		elog(ERROR, "activate._outbox has an unexpected number of columns");

	/* before COMMIT there is none, and storing a large body may ask for it */
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot_pushed = true;
	}

	previous = MemoryContextSwitchTo(estate->es_query_cxt);
	InitResultRelInfo(target, rel, 0, NULL, 0);
	ExecOpenIndices(target, false);
	slots = make_slots(rel, Min(OUTBOX_BATCH, n));
	for (int i = 0; i < n; i += OUTBOX_BATCH)
		write_batch(rel, target, estate, slots, rows + i, Min(OUTBOX_BATCH, n - i));
	ExecCloseIndices(target);
	MemoryContextSwitchTo(previous);

	if (snapshot_pushed)
		PopActiveSnapshot();
	FreeExecutorState(estate);
	table_close(rel, NoLock);
}

/*
 * They end with the memory context.  Of a copy of the descriptor, because each
 * slot of the relation's own would be counted.
 */
static TupleTableSlot **
make_slots(Relation rel, int n)
{
	TupleTableSlot **slots = palloc(n * sizeof(TupleTableSlot *));
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(rel));

	for (int i = 0; i < n; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	return slots;
}

static void
write_batch(Relation rel, ResultRelInfo *target, EState *estate, TupleTableSlot **slots,
			const OutboxRow *rows, int n)
{
	FullTransactionId xid = GetTopFullTransactionId();
	CommandId	command = GetCurrentCommandId(true);

	for (int i = 0; i < n; i++)
		fill_slot(slots[i], &rows[i], xid);
	table_multi_insert(rel, slots, n, command, 0, NULL);
	for (int i = 0; i < n; i++)
	{
		ResetPerTupleExprContext(estate);
		(void) compat_insert_index_tuples(target, slots[i], estate);
	}
	CHECK_FOR_INTERRUPTS();
}

static void
fill_slot(TupleTableSlot *slot, const OutboxRow *row, FullTransactionId xid)
{
	Datum	   *values = slot->tts_values;
	bool	   *isnull = slot->tts_isnull;
	text	   *writer = writer_name(row->writer);

	ExecClearTuple(slot);
	memset(isnull, false, OUTBOX_COLUMNS * sizeof(bool));
	values[OUTBOX_COL_SYNC] = Int64GetDatum(row->sync);
	values[OUTBOX_COL_XID] = FullTransactionIdGetDatum(xid);
	values[OUTBOX_COL_ID] = Int64GetDatum(row->id);
	values[OUTBOX_COL_NONCE] = Int64GetDatum((int64) next_nonce());
	values[OUTBOX_COL_OP] = CharGetDatum(row->op);
	values[OUTBOX_COL_FORCED] = BoolGetDatum(row->forced);
	values[OUTBOX_COL_HELD] = BoolGetDatum(row->held);
	values[OUTBOX_COL_RUN] = Int64GetDatum(row->run);
	isnull[OUTBOX_COL_RUN] = row->run == 0;
	values[OUTBOX_COL_WRITER] = PointerGetDatum(writer);
	isnull[OUTBOX_COL_WRITER] = writer == NULL;
	values[OUTBOX_COL_ENQUEUED_AT] = TimestampTzGetDatum(row->enqueued_at);
	values[OUTBOX_COL_KEY] = JsonbPGetDatum(row->key);
	values[OUTBOX_COL_BODY] = row->body ? JsonbPGetDatum(row->body) : (Datum) 0;
	isnull[OUTBOX_COL_BODY] = row->body == NULL;
	values[OUTBOX_COL_PLANNED] = Int64GetDatum(row->planned);
	isnull[OUTBOX_COL_PLANNED] = !row->has_planned;
	values[OUTBOX_COL_UNDO] = CharGetDatum((char) row->undo);
	isnull[OUTBOX_COL_UNDO] = row->undo == UNDO_NONE;
	ExecStoreVirtualTuple(slot);
}

/* Most rows of a transaction have the same writer. */
static text *
writer_name(Oid role)
{
	static Oid	last = InvalidOid;
	static union
	{
		text		value;
		char		room[VARHDRSZ + NAMEDATALEN];
	}			name;
	static TransactionId when = InvalidTransactionId;
	char	   *found;

	/* a role may be renamed, but not within what we write at once */
	if (role == last && when == GetTopTransactionId())
		return &name.value;
	found = GetUserNameFromId(role, true);
	if (found == NULL)
		return NULL;
	SET_VARSIZE(&name.value, VARHDRSZ + strlen(found));
	memcpy(VARDATA(&name.value), found, strlen(found));
	last = role;
	when = GetTopTransactionId();
	return &name.value;
}

/* From a block, because a call per row would cost more than the row. */
static uint64
next_nonce(void)
{
	static uint64 block[NONCES];
	static int	used = NONCES;

	if (used == NONCES)
	{
		if (!pg_strong_random(block, sizeof(block)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random numbers for the outbox")));
		used = 0;
	}
	return block[used++];
}
