/*
 * pack.c
 *	  Several intents in one row of activate._outbox: what a transaction
 *	  captured in bulk costs a key and two bytes each, not a row and an entry of
 *	  the index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "outbox/buffer.h"
#include "utils/array.h"

/* So that a row is not worth compressing: several fit on a page. */
#define PACK_BYTES		1700
#define PACK_STEP		PG_INT16_MAX

static bool
may_be_packed(const OutboxRow *row)
{
	return row->op == OUTBOX_CHANGE && row->body == NULL && !row->held && row->undo == UNDO_NONE;
}

static bool
are_alike(const OutboxRow *a, const OutboxRow *b)
{
	return a->stretch == b->stretch && a->forced == b->forced && a->run == b->run &&
		a->writer == b->writer && a->has_planned == b->has_planned && b->id - a->id <= PACK_STEP;
}

int
outbox_pack_length(const OutboxRow *const *rows, int n)
{
	Size		bytes = 0;
	int			length = 0;

	if (!may_be_packed(rows[0]))
		return 1;
	while (length < n && may_be_packed(rows[length]) && are_alike(rows[0], rows[length]))
	{
		bytes += INTALIGN(VARSIZE(rows[length]->key)) + sizeof(int16) +
			(rows[0]->has_planned ? sizeof(int64) : 0);
		if (bytes > PACK_BYTES)
			break;
		length++;
	}
	return Max(length, 1);
}

OutboxPack
outbox_pack_of(const OutboxRow *const *rows, int n)
{
	OutboxPack	pack = {.n = n, .id = rows[0]->id};

	pack.keys = palloc(n * sizeof(Datum));
	pack.steps = palloc(n * sizeof(Datum));
	if (rows[0]->has_planned)
		pack.plans = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		pack.keys[i] = JsonbPGetDatum(rows[i]->key);
		pack.steps[i] = Int16GetDatum((int16) (rows[i]->id - pack.id));
		if (pack.plans)
			pack.plans[i] = Int64GetDatum(rows[i]->planned);
	}
	return pack;
}

static Datum *
elements(Datum array, Oid type, int length, bool by_value, char align, int expected)
{
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), type, length, by_value, align, &values, NULL, &n);
	if (n != expected)
		elog(ERROR, "activate._outbox has arrays of different lengths");
	return values;
}

OutboxPack
outbox_pack_read(const Datum *values, const bool *isnull)
{
	OutboxPack	pack = {.n = 1, .id = DatumGetInt64(values[OUTBOX_COL_ID])};

	if (isnull[OUTBOX_COL_KEYS])
	{
		pack.keys = palloc(sizeof(Datum));
		pack.keys[0] = values[OUTBOX_COL_KEY];
		return pack;
	}
	deconstruct_array(DatumGetArrayTypeP(values[OUTBOX_COL_KEYS]), JSONBOID, -1, false, TYPALIGN_INT, &pack.keys, NULL, &pack.n);
	pack.steps = elements(values[OUTBOX_COL_STEPS], INT2OID, 2, true, TYPALIGN_SHORT, pack.n);
	if (!isnull[OUTBOX_COL_PLANS])
		pack.plans = elements(values[OUTBOX_COL_PLANS], INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, pack.n);
	return pack;
}

int64
outbox_pack_id(const OutboxPack *pack, int i)
{
	return pack->id + (pack->steps ? DatumGetInt16(pack->steps[i]) : 0);
}

int
outbox_pack_position(const OutboxPack *pack, int64 id)
{
	int			low = 0;
	int			high = pack->n - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (outbox_pack_id(pack, middle) < id)
			low = middle + 1;
		else
			high = middle;
	}
	return outbox_pack_id(pack, low) == id ? low : -1;
}

void
outbox_pack_write(const OutboxPack *pack, int first, int n, Datum *values, bool *isnull)
{
	Datum	   *steps = palloc(n * sizeof(Datum));

	values[OUTBOX_COL_ID] = Int64GetDatum(outbox_pack_id(pack, first));
	isnull[OUTBOX_COL_KEY] = isnull[OUTBOX_COL_PLANNED] = true;
	isnull[OUTBOX_COL_KEYS] = isnull[OUTBOX_COL_STEPS] = isnull[OUTBOX_COL_PLANS] = true;
	if (n == 1)
	{
		values[OUTBOX_COL_KEY] = pack->keys[first];
		isnull[OUTBOX_COL_KEY] = false;
		if (pack->plans)
			values[OUTBOX_COL_PLANNED] = pack->plans[first];
		isnull[OUTBOX_COL_PLANNED] = pack->plans == NULL;
		return;
	}

	for (int i = 0; i < n; i++)
		steps[i] = Int16GetDatum(DatumGetInt16(pack->steps[first + i]) - DatumGetInt16(pack->steps[first]));
	values[OUTBOX_COL_KEYS] = PointerGetDatum(construct_array(pack->keys + first, n, JSONBOID, -1, false, TYPALIGN_INT));
	values[OUTBOX_COL_STEPS] = PointerGetDatum(construct_array(steps, n, INT2OID, 2, true, TYPALIGN_SHORT));
	isnull[OUTBOX_COL_KEYS] = isnull[OUTBOX_COL_STEPS] = false;
	if (pack->plans)
		values[OUTBOX_COL_PLANS] = PointerGetDatum(construct_array(pack->plans + first, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	isnull[OUTBOX_COL_PLANS] = pack->plans == NULL;
}
