/*
 * receipt.c
 *	  The delivery log, packed: one row of activate._receipt for up to
 *	  RECEIPT_PACK messages of a sync that had the same outcome.
 *
 * A line per message would cost more than everything else that is written when
 * it is settled.  activate.receipt unpacks them, so that nobody notices.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "deliver/record.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Small enough that a pack is seldom too large for its page.  The sequence of
 * ids counts by it, see 10_tables.sql.
 */
#define RECEIPT_PACK 100

/* Columns of activate._receipt and of activate._tally in the order of src/catalog/10_tables.sql. */
enum
{
	COL_ID, COL_SYNC, COL_N, COL_CALLS, COL_NEWEST, COL_OP, COL_OUTCOME, COL_CODE, COL_KEYS, COL_IDS, COL_TIMES,
	COL_LATENCIES, COL_REASON, COLUMNS
};
enum
{
	TALLY_SYNC, TALLY_DELIVERED, TALLY_RETRIED, TALLY_REQUESTS, TALLY_LEAST_SEQ, TALLY_COLUMNS
};

/* One pack while it is filled; what all of its messages have in common first. */
typedef struct ReceiptPack
{
	int64		sync;
	OutboxOp	op;
	OutcomeKind kind;
	const char *code;			/* "": none */
	const char *warning;		/* NULL: none */
	bool		about_earlier;
	int			n;
	int			calls;			/* that these messages are the first of */
	TimestampTz newest;
	Datum		keys[RECEIPT_PACK];
	Datum		ids[RECEIPT_PACK];
	Datum		times[RECEIPT_PACK];
	Datum		latencies[RECEIPT_PACK];
	bool		no_id[RECEIPT_PACK];
	bool		no_latency[RECEIPT_PACK];
} ReceiptPack;

static ReceiptPack *find_pack(List *packs, const DeliverOutcome *outcome);
static void pack_add(ReceiptPack *pack, const DeliverOutcome *outcome);
static List *make_packs(const DeliverOutcome *outcomes, int n, List **syncs);
static void pack_write(OwnTable *table, const ReceiptPack *pack);
static void count_packs(OwnTable *table, List *packs, const RecordSync *sync);

static const char *
receipt_name(const ReceiptPack *pack)
{
	switch (pack->kind)
	{
		case OUTCOME_DELIVERED:
			return pack->warning ? "warned" : "delivered";
		case OUTCOME_REJECTED:
			return "rejected";
		case OUTCOME_SKIPPED:
			return "skipped";
		case OUTCOME_SUPERSEDED:
		case OUTCOME_OVERTAKEN:
			return "superseded";
		case OUTCOME_RETRIED:
			return "retried";
		case OUTCOME_AMBIGUOUS:
		case OUTCOME_NOTED:
			return "ambiguous";
	}
	return NULL;
}

/* Why something that was accepted is "warned"; the reasons of others stand elsewhere. */
static const char *
outcome_warning(const DeliverOutcome *outcome)
{
	if (!outcome->warned)
		return NULL;
	return outcome->reason ? outcome->reason : "";
}

/* In the settling transaction. */
void
deliver_receipts_write(const DeliverOutcome *outcomes, int n, List **syncs)
{
	OwnTable	receipts;
	OwnTable	tally;
	List	   *packs = make_packs(outcomes, n, syncs);
	ListCell   *cell;

	own_table_open(&receipts, "_receipt", "_receipt_pkey", COLUMNS, RowExclusiveLock);
	/* of a key, what is said of an earlier message comes before what became of this one */
	foreach(cell, packs)
		if (((ReceiptPack *) lfirst(cell))->about_earlier)
			pack_write(&receipts, lfirst(cell));
	foreach(cell, packs)
		if (!((ReceiptPack *) lfirst(cell))->about_earlier)
			pack_write(&receipts, lfirst(cell));
	own_table_close(&receipts);

	own_table_open(&tally, "_tally", "_tally_pkey", TALLY_COLUMNS, RowExclusiveLock);
	foreach(cell, *syncs)
	{
		const RecordSync *sync = lfirst(cell);

		if (sync->there)
			count_packs(&tally, packs, sync);
	}
	own_table_close(&tally);
}

/* A sync that was dropped meanwhile leaves nothing behind. */
static List *
make_packs(const DeliverOutcome *outcomes, int n, List **syncs)
{
	List	   *packs = NIL;

	for (int i = 0; i < n; i++)
	{
		ReceiptPack *pack = find_pack(packs, &outcomes[i]);

		if (!deliver_record_sync(syncs, outcomes[i].sync)->there)
			continue;
		if (pack == NULL)
		{
			pack = palloc(sizeof(ReceiptPack));
			pack->sync = outcomes[i].sync;
			pack->op = outcomes[i].op;
			pack->kind = outcomes[i].kind;
			pack->code = outcomes[i].code;
			pack->warning = outcome_warning(&outcomes[i]);
			pack->about_earlier = outcomes[i].kind >= OUTCOME_NOTED;
			pack->n = pack->calls = 0;
			packs = lcons(pack, packs);
		}
		pack_add(pack, &outcomes[i]);
	}
	return packs;
}

/* One with room, the youngest first; there are few. */
static ReceiptPack *
find_pack(List *packs, const DeliverOutcome *outcome)
{
	ListCell   *cell;

	const char *warning = outcome_warning(outcome);

	foreach(cell, packs)
	{
		ReceiptPack *pack = lfirst(cell);

		if ((pack->warning == NULL) != (warning == NULL) || (warning && strcmp(pack->warning, warning) != 0))
			continue;
		if (pack->n < RECEIPT_PACK && pack->sync == outcome->sync && pack->op == outcome->op &&
			pack->kind == outcome->kind && strcmp(pack->code, outcome->code) == 0)
			return pack;
	}
	return NULL;
}

static void
pack_add(ReceiptPack *pack, const DeliverOutcome *outcome)
{
	int			i = pack->n++;

	StaticAssertStmt(DELIVER_ID_LEN == UUID_LEN, "an id is a uuid");
	pack->keys[i] = JsonbPGetDatum(outcome->key);
	pack->ids[i] = PointerGetDatum(outcome->id);
	pack->no_id[i] = !outcome->has_id;
	pack->times[i] = TimestampTzGetDatum(outcome->at);
	pack->latencies[i] = Int64GetDatum(outcome->latency_us);
	pack->no_latency[i] = outcome->latency_us < 0;
	pack->calls += outcome->opens_call;
	pack->newest = i == 0 ? outcome->at : Max(pack->newest, outcome->at);
}

static Datum
pack_array(const ReceiptPack *pack, const Datum *values, const bool *nulls, Oid type, int16 len, bool byval,
		   char align)
{
	int			n = pack->n;
	int			lower = 1;

	return PointerGetDatum(construct_md_array(unconstify(Datum *, values), unconstify(bool *, nulls), 1, &n, &lower,
											  type, len, byval, align));
}

/* All columns; code and reason may be NULL. */
static void
pack_write(OwnTable *table, const ReceiptPack *pack)
{
	TupleTableSlot *slot = own_table_fresh(table);
	Datum	   *values = slot->tts_values;

	memset(slot->tts_isnull, false, COLUMNS * sizeof(bool));
	values[COL_ID] = Int64GetDatum(nextval_internal(own_relation("receipt_id_seq"), false));
	values[COL_SYNC] = Int64GetDatum(pack->sync);
	values[COL_N] = Int32GetDatum(pack->n);
	values[COL_CALLS] = Int32GetDatum(pack->calls);
	values[COL_NEWEST] = TimestampTzGetDatum(pack->newest);
	values[COL_OP] = CStringGetTextDatum(outbox_op_name(pack->op));
	values[COL_OUTCOME] = CStringGetTextDatum(receipt_name(pack));
	values[COL_CODE] = CStringGetTextDatum(pack->code);
	slot->tts_isnull[COL_CODE] = *pack->code == '\0';
	values[COL_KEYS] = pack_array(pack, pack->keys, NULL, JSONBOID, -1, false, TYPALIGN_INT);
	values[COL_IDS] = pack_array(pack, pack->ids, pack->no_id, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	values[COL_TIMES] = pack_array(pack, pack->times, NULL, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	values[COL_LATENCIES] = pack_array(pack, pack->latencies, pack->no_latency, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	slot->tts_isnull[COL_REASON] = pack->warning == NULL;
	values[COL_REASON] = pack->warning ? CStringGetTextDatum(pack->warning) : (Datum) 0;
	own_table_insert(table);
}

/* For activate.stat_sync: what is forgotten with the receipts. */
static void
count_packs(OwnTable *table, List *packs, const RecordSync *sync)
{
	int64		add[TALLY_COLUMNS] = {0};
	ListCell   *cell;
	ScanKeyData key;
	bool		found;

	foreach(cell, packs)
	{
		const ReceiptPack *pack = lfirst(cell);

		if (pack->sync != sync->id)
			continue;
		add[TALLY_DELIVERED] += pack->kind == OUTCOME_DELIVERED ? pack->n : 0;
		add[TALLY_RETRIED] += pack->kind == OUTCOME_RETRIED ? pack->n : 0;
		add[TALLY_REQUESTS] += pack->calls;
	}
	own_table_key(&key, 1, sync->id);
	do
	{
		TupleTableSlot *slot = own_table_fresh(table);

		memset(slot->tts_isnull, false, TALLY_COLUMNS * sizeof(bool));
		if ((found = own_table_find(table, &key, 1)))
			slot_getallattrs(table->row);
		slot->tts_values[TALLY_SYNC] = Int64GetDatum(sync->id);
		for (int i = TALLY_SYNC + 1; i < TALLY_COLUMNS; i++)
		{
			int64		before = found ? DatumGetInt64(table->row->tts_values[i]) : 0;

			slot->tts_values[i] = Int64GetDatum(i == TALLY_LEAST_SEQ ? Max(before, sync->least_seq) : before + add[i]);
		}
	} while (found && !own_table_update(table));
	if (!found)
		own_table_insert(table);
}
