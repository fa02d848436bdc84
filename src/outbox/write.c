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
#include "catalog/namespace.h"
#include "core/compat.h"
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

/* Columns of activate._outbox in the order of src/catalog/10_tables.sql. */
enum
{
	COL_SYNC, COL_XID, COL_ID, COL_NONCE, COL_OP, COL_FORCED, COL_HELD, COL_RUN, COL_WRITER,
	COL_ENQUEUED_AT, COL_KEY, COL_BODY, COL_PLANNED, COLUMNS
};

static TupleTableSlot **make_slots(Relation rel, int n);
static void write_batch(Relation rel, ResultRelInfo *target, EState *estate, TupleTableSlot **slots,
						const OutboxRow *rows, int n);
static void fill_slot(TupleTableSlot *slot, const OutboxRow *row, FullTransactionId xid);
static text *writer_name(Oid role);
static uint64 next_nonce(void);

Oid
outbox_relation(const char *name)
{
	Oid			relation = get_relname_relid(name, get_namespace_oid("activate", true));

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("cannot append to the outbox: relation \"activate.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION activate.")));
	return relation;
}

void
outbox_write(const OutboxRow *rows, int n)
{
	Relation	rel = table_open(outbox_relation("_outbox"), RowExclusiveLock);
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TupleTableSlot **slots;
	bool		snapshot_pushed = false;
	MemoryContext previous;

	if (RelationGetDescr(rel)->natts != COLUMNS)
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
	memset(isnull, false, COLUMNS * sizeof(bool));
	values[COL_SYNC] = Int64GetDatum(row->sync);
	values[COL_XID] = FullTransactionIdGetDatum(xid);
	values[COL_ID] = Int64GetDatum(row->id);
	values[COL_NONCE] = Int64GetDatum((int64) next_nonce());
	values[COL_OP] = CharGetDatum(row->op);
	values[COL_FORCED] = BoolGetDatum(row->forced);
	values[COL_HELD] = BoolGetDatum(row->held);
	values[COL_RUN] = Int64GetDatum(row->run);
	isnull[COL_RUN] = row->run == 0;
	values[COL_WRITER] = PointerGetDatum(writer);
	isnull[COL_WRITER] = writer == NULL;
	values[COL_ENQUEUED_AT] = TimestampTzGetDatum(row->enqueued_at);
	values[COL_KEY] = JsonbPGetDatum(row->key);
	values[COL_BODY] = row->body ? JsonbPGetDatum(row->body) : (Datum) 0;
	isnull[COL_BODY] = row->body == NULL;
	values[COL_PLANNED] = Int64GetDatum(row->planned);
	isnull[COL_PLANNED] = !row->has_planned;
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
