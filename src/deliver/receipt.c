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
#include "deliver/engine.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Small enough that a pack is seldom too large for its page.  The sequence of
 * ids counts by it, see 10_tables.sql.
 */
#define RECEIPT_PACK 100

/* One pack while it is filled; what all of its messages have in common first. */
typedef struct ReceiptPack
{
	int64		sync;
	OutboxOp	op;
	const char *outcome;
	const char *code;			/* "": none */
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
static void pack_write(ReceiptPack *pack);
static void pack_count(const Datum *values);

static const char *
receipt_name(OutcomeKind kind)
{
	switch (kind)
	{
		case OUTCOME_DELIVERED:
			return "delivered";
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

/* In the settling transaction, as the extension, within SPI. */
void
deliver_receipts_write(const DeliverOutcome *outcomes, int n)
{
	List	   *packs = NIL;
	ListCell   *cell;

	for (int i = 0; i < n; i++)
	{
		ReceiptPack *pack = find_pack(packs, &outcomes[i]);

		if (pack == NULL)
		{
			pack = palloc(sizeof(ReceiptPack));
			pack->sync = outcomes[i].sync;
			pack->op = outcomes[i].op;
			pack->outcome = receipt_name(outcomes[i].kind);
			pack->code = outcomes[i].code;
			pack->about_earlier = outcomes[i].kind >= OUTCOME_NOTED;
			pack->n = pack->calls = 0;
			packs = lcons(pack, packs);
		}
		pack_add(pack, &outcomes[i]);
	}

	/* of a key, what is said of an earlier message comes before what became of this one */
	foreach(cell, packs)
		if (((ReceiptPack *) lfirst(cell))->about_earlier)
			pack_write(lfirst(cell));
	foreach(cell, packs)
		if (!((ReceiptPack *) lfirst(cell))->about_earlier)
			pack_write(lfirst(cell));
}

/* One with room, the youngest first; there are few. */
static ReceiptPack *
find_pack(List *packs, const DeliverOutcome *outcome)
{
	ListCell   *cell;

	foreach(cell, packs)
	{
		ReceiptPack *pack = lfirst(cell);

		if (pack->n < RECEIPT_PACK && pack->sync == outcome->sync && pack->op == outcome->op &&
			pack->about_earlier == (outcome->kind >= OUTCOME_NOTED) &&
			strcmp(pack->outcome, receipt_name(outcome->kind)) == 0 && strcmp(pack->code, outcome->code) == 0)
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

static void
pack_write(ReceiptPack *pack)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[11];
	char		nulls[] = "           ";

	if (plan == NULL)
	{
		Oid			types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, TIMESTAMPTZOID,
		JSONBARRAYOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID};

		plan = SPI_prepare("INSERT INTO activate._receipt (sync, op, outcome, code, n, calls, newest, keys, ids, times, latencies)"
						   " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11"
						   " WHERE EXISTS (SELECT FROM activate.sync y WHERE y.id = $1)", lengthof(types), types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the writing of receipts");
	}
	values[0] = Int64GetDatum(pack->sync);
	values[1] = CStringGetTextDatum(outbox_op_name(pack->op));
	values[2] = CStringGetTextDatum(pack->outcome);
	values[3] = CStringGetTextDatum(pack->code);
	nulls[3] = *pack->code ? ' ' : 'n';
	values[4] = Int32GetDatum(pack->n);
	values[5] = Int32GetDatum(pack->calls);
	values[6] = TimestampTzGetDatum(pack->newest);
	values[7] = pack_array(pack, pack->keys, NULL, JSONBOID, -1, false, TYPALIGN_INT);
	values[8] = pack_array(pack, pack->ids, pack->no_id, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	values[9] = pack_array(pack, pack->times, NULL, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	values[10] = pack_array(pack, pack->latencies, pack->no_latency, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	SPI_execute_plan(plan, values, nulls, false, 0);
	pack_count(values);
}

/* For activate.stat_sync; values are those of the pack's row. */
static void
pack_count(const Datum *values)
{
	static SPIPlanPtr plan = NULL;
	Datum		counted[4] = {values[0], values[2], values[4], values[5]};

	if (plan == NULL)
	{
		Oid			types[4] = {INT8OID, TEXTOID, INT4OID, INT4OID};

		plan = SPI_prepare("SELECT activate._settle_tally($1, $2, $3, $4)", lengthof(types), types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the counting of receipts");
	}
	SPI_execute_plan(plan, counted, NULL, false, 0);
}
