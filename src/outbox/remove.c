/*
 * remove.c
 *	  Intents removed from activate._outbox by its primary key, without SQL.
 *
 * A row that holds several of them goes; those that stay are written anew, under the same
 * transaction's number, so nobody reads them twice.  What goes bit by bit is
 * not written again each time as a whole: the rest becomes rows of at
 * most half the length, and none reaches over a gap.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/table.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "outbox/buffer.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/xid8.h"

/* Intents that SQL has removed at once: of millions no array could be made. */
#define REMOVE_SLICE	50000

typedef struct OutboxRemoval
{
	OwnTable	outbox;
	OwnTable	retry;
	bool		forget;			/* how often they were tried, too */
	ReturnSetInfo *taken;		/* NULL: nobody asks for what was removed */
} OutboxRemoval;

static void remove_all(OutboxRemoval *removal, const OutboxIntent *const *intents, int n);
static int	remove_from_row(OutboxRemoval *removal, const OutboxIntent *const *intents, int n);
static bool find_row(OwnTable *table, const OutboxIntent *intent, bool in_place, OutboxPack *pack);
static void write_rest(OwnTable *table, const OutboxPack *pack, const bool *gone);
static void give_out(OutboxRemoval *removal, const OutboxPack *pack, int position);

/* One that is not there any more was discarded meanwhile. */
void
outbox_remove(const OutboxIntent *const *intents, int n)
{
	OutboxRemoval removal = {.forget = true};

	remove_all(&removal, intents, n);
}

static int
compare_intents(const void *left, const void *right)
{
	const OutboxIntent *a = *(const OutboxIntent *const *) left;
	const OutboxIntent *b = *(const OutboxIntent *const *) right;

	if (a->sync != b->sync)
		return a->sync < b->sync ? -1 : 1;
	if (a->xid != b->xid)
		return a->xid < b->xid ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static void
forget_tries(OwnTable *table, int64 id)
{
	ScanKeyData key;

	own_table_key(&key, 1, id);
	while (own_table_find(table, &key, 1) && !own_table_delete(table))
		;
}

static void
remove_all(OutboxRemoval *removal, const OutboxIntent *const *intents, int n)
{
	const OutboxIntent **sorted;

	if (n == 0)
		return;
	sorted = palloc(n * sizeof(OutboxIntent *));
	memcpy(sorted, intents, n * sizeof(OutboxIntent *));
	qsort(sorted, n, sizeof(OutboxIntent *), compare_intents);

	own_table_open(&removal->retry, "_retry", "_retry_pkey", RETRY_COLUMNS, RowExclusiveLock);
	own_table_open(&removal->outbox, "_outbox", "_outbox_pkey", OUTBOX_COLUMNS, RowExclusiveLock);
	if (removal->forget && RelationGetNumberOfBlocks(removal->retry.rel) > 0)
		for (int i = 0; i < n; i++)
			forget_tries(&removal->retry, sorted[i]->id);
	for (int i = 0; i < n;)
	{
		CHECK_FOR_INTERRUPTS();
		i += remove_from_row(removal, sorted + i, n - i);
	}
	own_table_close(&removal->outbox);
	own_table_close(&removal->retry);
}

/* How many of the intents, of which the first is wanted, are done with: those that its row held. */
static int
remove_from_row(OutboxRemoval *removal, const OutboxIntent *const *intents, int n)
{
	OwnTable   *table = &removal->outbox;
	const OutboxIntent *first = intents[0];
	OutboxPack	pack;
	bool		in_place = true;
	bool	   *gone;
	int			done = 0;

	do
	{
		if (!find_row(table, first, in_place, &pack))
			return 1;
		in_place = false;
	} while (!own_table_delete(table));

	gone = palloc0(pack.n * sizeof(bool));
	for (; done < n && intents[done]->sync == first->sync && intents[done]->xid == first->xid; done++)
	{
		int			position;

		if (intents[done]->id > outbox_pack_id(&pack, pack.n - 1))
			break;
		position = outbox_pack_position(&pack, intents[done]->id);
		if (position < 0 || gone[position])
			continue;
		gone[position] = true;
		if (removal->taken)
			give_out(removal, &pack, position);
	}
	if (pack.n > 1)
		write_rest(table, &pack, gone);
	return done;
}

/* Is the row that was found of the intent's transaction and sync, and is the intent in it? */
static bool
row_has(OwnTable *table, const OutboxIntent *intent, OutboxPack *pack)
{
	TupleTableSlot *row = table->row;

	slot_getallattrs(row);
	if (DatumGetInt64(row->tts_values[OUTBOX_COL_SYNC]) != intent->sync ||
		U64FromFullTransactionId(DatumGetFullTransactionId(row->tts_values[OUTBOX_COL_XID])) != intent->xid)
		return false;
	*pack = outbox_pack_read(row->tts_values, row->tts_isnull);
	return outbox_pack_position(pack, intent->id) >= 0;
}

/* Rows are never updated: it is where it was read, if it is still there. */
static bool
find_row(OwnTable *table, const OutboxIntent *intent, bool in_place, OutboxPack *pack)
{
	ScanKeyData keys[3];

	if (in_place && own_table_at(table, &intent->tid) && row_has(table, intent, pack))
		return true;
	own_table_key(&keys[0], OUTBOX_COL_SYNC + 1, intent->sync);
	outbox_scan_key(&keys[1], OUTBOX_COL_XID, BTEqualStrategyNumber, F_XID8EQ, intent->xid);
	outbox_scan_key(&keys[2], OUTBOX_COL_ID, BTLessEqualStrategyNumber, F_INT8LE, intent->id);
	return own_table_find_last(table, keys, 3) && row_has(table, intent, pack);
}

/* The row found is gone, but still in its slot. */
static void
write_rest(OwnTable *table, const OutboxPack *pack, const bool *gone)
{
	int			most = Max(pack->n / 2, 1);

	for (int first = 0, n; first < pack->n; first += Max(n, 1))
	{
		TupleTableSlot *fresh;

		for (n = 0; n < most && first + n < pack->n && !gone[first + n];)
			n++;
		if (n == 0)
			continue;
		fresh = own_table_fresh(table);
		memcpy(fresh->tts_values, table->row->tts_values, OUTBOX_COLUMNS * sizeof(Datum));
		memcpy(fresh->tts_isnull, table->row->tts_isnull, OUTBOX_COLUMNS * sizeof(bool));
		outbox_pack_write(pack, first, n, fresh->tts_values, fresh->tts_isnull);
		own_table_insert(table);
	}
}

/* --- the same, for SQL ------------------------------------------------ */

static void
give_out(OutboxRemoval *removal, const OutboxPack *pack, int position)
{
	TupleTableSlot *row = removal->outbox.row;
	Datum		values[OUTBOX_COLUMNS];
	bool		isnull[OUTBOX_COLUMNS];

	memcpy(values, row->tts_values, sizeof(values));
	memcpy(isnull, row->tts_isnull, sizeof(isnull));
	if (pack->n > 1)
		outbox_pack_write(pack, position, 1, values, isnull);
	tuplestore_putvalues(removal->taken->setResult, removal->taken->setDesc, values, isnull);
}

static Datum *
array_argument(FunctionCallInfo fcinfo, int argument, Oid type, int *n)
{
	Datum	   *values;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), type, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, NULL, n);
	return values;
}

/* Arguments 1 and 2 are transactions and ids; syncs: one for each, or a single one for all. */
static void
remove_arguments(FunctionCallInfo fcinfo, OutboxRemoval *removal, const Datum *syncs, int nsyncs)
{
	int			n;
	int			nids;
	Datum	   *xids = array_argument(fcinfo, 1, XID8OID, &n);
	Datum	   *ids = array_argument(fcinfo, 2, INT8OID, &nids);
	OutboxIntent *intents = palloc0(sizeof(OutboxIntent) * REMOVE_SLICE);
	const OutboxIntent **all = palloc(sizeof(OutboxIntent *) * REMOVE_SLICE);

	if (nids != n || (nsyncs != n && nsyncs != 1))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("arrays of different lengths")));
	for (int first = 0; first < n; first += REMOVE_SLICE)
	{
		int			slice = Min(REMOVE_SLICE, n - first);

		for (int i = 0; i < slice; i++)
		{
			intents[i].sync = DatumGetInt64(syncs[nsyncs == 1 ? 0 : first + i]);
			intents[i].xid = U64FromFullTransactionId(DatumGetFullTransactionId(xids[first + i]));
			intents[i].id = DatumGetInt64(ids[first + i]);
			all[i] = &intents[i];
		}
		remove_all(removal, all, slice);
	}
	pfree(intents);
	pfree(all);
}

ACTIVATE_FUNCTION(activate_outbox_remove);

Datum
activate_outbox_remove(PG_FUNCTION_ARGS)
{
	OutboxRemoval removal = {.forget = true};
	int			n;
	Datum	   *syncs = array_argument(fcinfo, 0, INT8OID, &n);

	remove_arguments(fcinfo, &removal, syncs, n);
	PG_RETURN_VOID();
}

ACTIVATE_FUNCTION(activate_outbox_take);

Datum
activate_outbox_take(PG_FUNCTION_ARGS)
{
	OutboxRemoval removal = {.taken = (ReturnSetInfo *) fcinfo->resultinfo};
	Datum		sync = PG_GETARG_DATUM(0);

	InitMaterializedSRF(fcinfo, 0);
	remove_arguments(fcinfo, &removal, &sync, 1);
	return (Datum) 0;
}
