/*
 * write.c
 *	  Buffered intents into activate._outbox by multi-insert, packed (pack.c).
 *
 * Straight into the table, without permission checks: who may cause an intent
 * was decided by whoever appended it, and ordinary roles have no right to
 * write the table by SQL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
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

typedef struct OutboxWriter
{
	Relation	rel;
	TupleDesc	desc;
	EState	   *estate;
	ResultRelInfo *target;
	TupleTableSlot **slots;		/* OUTBOX_BATCH at most, made when they are needed */
	int			nslots;
	int			nfilled;
} OutboxWriter;

static void open_indexes(OutboxWriter *writer, const OutboxRow *rows, int n);
static const OutboxRow **rows_in_order(const OutboxRow *rows, int n);
static int	pack_length(const OutboxRow *const *rows, int n);
static TupleTableSlot *next_slot(OutboxWriter *writer);
static void fill_slot(TupleTableSlot *slot, const OutboxRow *const *rows, int n, FullTransactionId xid);
static void write_filled(OutboxWriter *writer);
static text *writer_name(Oid role);
static uint64 next_nonce(void);

void
outbox_write(const OutboxRow *rows, int n)
{
	OutboxWriter writer = {.rel = table_open(own_relation("_outbox"), RowExclusiveLock)};
	FullTransactionId xid = GetTopFullTransactionId();
	const OutboxRow **order;
	bool		snapshot_pushed = false;
	MemoryContext previous;
	int			length;

	if (RelationGetDescr(writer.rel)->natts != OUTBOX_COLUMNS)
		elog(ERROR, "activate._outbox has an unexpected number of columns");

	/* before COMMIT there is none, and storing a large body may ask for it */
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot_pushed = true;
	}

	writer.estate = CreateExecutorState();
	previous = MemoryContextSwitchTo(writer.estate->es_query_cxt);
	open_indexes(&writer, rows, n);
	/* a copy, because each slot of the relation's own would be counted */
	writer.desc = CreateTupleDescCopy(RelationGetDescr(writer.rel));
	writer.slots = palloc(Min(n, OUTBOX_BATCH) * sizeof(TupleTableSlot *));
	order = rows_in_order(rows, n);
	for (int i = 0; i < n; i += length)
	{
		length = pack_length(order + i, n - i);
		fill_slot(next_slot(&writer), order + i, length, xid);
	}
	write_filled(&writer);
	ExecCloseIndices(writer.target);
	MemoryContextSwitchTo(previous);

	if (snapshot_pushed)
		PopActiveSnapshot();
	FreeExecutorState(writer.estate);
	table_close(writer.rel, NoLock);
}

/*
 * What ExecOpenIndices() does, less the index of what is held, where nothing of
 * that is among the rows: to open it and evaluate its predicate costs more than a
 * single row's entry in the other.
 */
static void
open_indexes(OutboxWriter *writer, const OutboxRow *rows, int n)
{
	List	   *indexes = RelationGetIndexList(writer->rel);
	ResultRelInfo *target = makeNode(ResultRelInfo);
	Oid			left_out = own_relation("outbox_held_idx");
	ListCell   *cell;

	for (int i = 0; i < n; i++)
		if (rows[i].held || rows[i].op == OUTBOX_TRUNCATE)
			left_out = InvalidOid;
	target->ri_RelationDesc = writer->rel;
	target->ri_IndexRelationDescs = palloc(list_length(indexes) * sizeof(Relation));
	target->ri_IndexRelationInfo = palloc(list_length(indexes) * sizeof(IndexInfo *));
	foreach(cell, indexes)
	{
		Relation	index;

		if (lfirst_oid(cell) == left_out)
			continue;
		index = index_open(lfirst_oid(cell), RowExclusiveLock);
		target->ri_IndexRelationDescs[target->ri_NumIndices] = index;
		target->ri_IndexRelationInfo[target->ri_NumIndices++] = BuildIndexInfo(index);
	}
	writer->target = target;
}

static int
compare_rows(const void *left, const void *right)
{
	const OutboxRow *a = *(const OutboxRow *const *) left;
	const OutboxRow *b = *(const OutboxRow *const *) right;

	if (a->sync != b->sync)
		return a->sync < b->sync ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* By sync; those of one as they were appended. */
static const OutboxRow **
rows_in_order(const OutboxRow *rows, int n)
{
	const OutboxRow **order = palloc(n * sizeof(OutboxRow *));
	bool		sorted = true;

	for (int i = 0; i < n; i++)
	{
		order[i] = &rows[i];
		sorted &= rows[i].sync == rows[0].sync;
	}
	if (!sorted)
		qsort(order, n, sizeof(OutboxRow *), compare_rows);
	return order;
}

static int
pack_length(const OutboxRow *const *rows, int n)
{
	int			same = 1;

	while (same < n && rows[same]->sync == rows[0]->sync)
		same++;
	return outbox_pack_length(rows, same);
}

/* Slots end with the memory context. */
static TupleTableSlot *
next_slot(OutboxWriter *writer)
{
	if (writer->nfilled == OUTBOX_BATCH)
		write_filled(writer);
	if (writer->nfilled == writer->nslots)
		writer->slots[writer->nslots++] = MakeSingleTupleTableSlot(writer->desc, &TTSOpsHeapTuple);
	return writer->slots[writer->nfilled++];
}

static void
fill_slot(TupleTableSlot *slot, const OutboxRow *const *rows, int n, FullTransactionId xid)
{
	const OutboxRow *row = rows[0];
	OutboxPack	pack = outbox_pack_of(rows, n);
	Datum	   *values = slot->tts_values;
	bool	   *isnull = slot->tts_isnull;
	text	   *writer = writer_name(row->writer);

	ExecClearTuple(slot);
	memset(isnull, false, OUTBOX_COLUMNS * sizeof(bool));
	values[OUTBOX_COL_SYNC] = Int64GetDatum(row->sync);
	values[OUTBOX_COL_XID] = FullTransactionIdGetDatum(xid);
	values[OUTBOX_COL_NONCE] = Int64GetDatum((int64) next_nonce());
	values[OUTBOX_COL_OP] = CharGetDatum(row->op);
	values[OUTBOX_COL_FORCED] = BoolGetDatum(row->forced);
	values[OUTBOX_COL_HELD] = BoolGetDatum(row->held);
	values[OUTBOX_COL_RUN] = Int64GetDatum(row->run);
	isnull[OUTBOX_COL_RUN] = row->run == 0;
	values[OUTBOX_COL_WRITER] = PointerGetDatum(writer);
	isnull[OUTBOX_COL_WRITER] = writer == NULL;
	values[OUTBOX_COL_ENQUEUED_AT] = TimestampTzGetDatum(row->enqueued_at);
	values[OUTBOX_COL_BODY] = row->body ? JsonbPGetDatum(row->body) : (Datum) 0;
	isnull[OUTBOX_COL_BODY] = row->body == NULL;
	values[OUTBOX_COL_UNDO] = CharGetDatum((char) row->undo);
	isnull[OUTBOX_COL_UNDO] = row->undo == UNDO_NONE;
	outbox_pack_write(&pack, 0, n, values, isnull);
	ExecStoreVirtualTuple(slot);
}

static void
write_filled(OutboxWriter *writer)
{
	if (writer->nfilled == 0)
		return;
	table_multi_insert(writer->rel, writer->slots, writer->nfilled, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < writer->nfilled; i++)
	{
		ResetPerTupleExprContext(writer->estate);
		(void) compat_insert_index_tuples(writer->target, writer->slots[i], writer->estate);
	}
	writer->nfilled = 0;
	CHECK_FOR_INTERRUPTS();
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
