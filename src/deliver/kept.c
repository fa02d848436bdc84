/*
 * kept.c
 *	  Columns that an application has changed and that are not to be overwritten
 *	  (options.conflict): activate._kept, which runs write (compare/conflict.c).
 *
 * A row goes out whole, because what is left out of it might be cleared there:
 * with the application's own values in these columns.  What we are known to have
 * written (_sent.image) stays what it was before, so that the next comparison
 * sees whose they are; the hash is that of the source's row, which has been sent.
 */
#include "postgres.h"

#include "core/table.h"
#include "deliver/engine.h"
#include "deliver/record.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

/* Columns of activate._kept in the order of src/catalog/10_tables.sql, from 1. */
enum
{
	COL_SYNC = 1, COL_DIGEST, COL_KEY, COL_COLUMNS, COLUMNS = COL_COLUMNS
};

/* NULL: the application has changed nothing; else a copy. */
static Jsonb *
kept_find(OwnTable *table, int64 sync, const pg_uuid_t *digest)
{
	ScanKeyData keys[2];
	bool		isnull;

	own_table_key(&keys[0], COL_SYNC, sync);
	ScanKeyInit(&keys[1], COL_DIGEST, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(digest));
	if (!own_table_find(table, keys, 2))
		return NULL;
	return DatumGetJsonbPCopy(slot_getattr(table->row, COL_COLUMNS, &isnull));
}

/* The row; of columns that are kept, what others says of them, or nothing (NULL, or it does not). */
static Jsonb *
merge(Jsonb *row, Jsonb *kept, Jsonb *others)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;
	JsonbValue	other;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		JsonbValue *taken = &value;

		if (token == WJB_KEY)
			name = value;
		if (token != WJB_VALUE)
			continue;
		if (getKeyJsonValueFromContainer(&kept->root, name.val.string.val, name.val.string.len, &other) != NULL)
			taken = others == NULL ? NULL :
				getKeyJsonValueFromContainer(&others->root, name.val.string.val, name.val.string.len, &other);
		if (taken == NULL)
			continue;
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, taken);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* A column that is the application's whatever happens here: a delete would take it away. */
static bool
guards(const Sync *sync, Jsonb *kept)
{
	JsonbIterator *iterator = JsonbIteratorInit(&kept->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY &&
			strcmp(sync_conflict_policy(sync->options, pnstrdup(value.val.string.val, value.val.string.len)), "application") == 0)
			return true;
	return false;
}

void
deliver_kept_apply(const Sync *sync, const DeliverKnown *known, Rendered *rendered, int n)
{
	OwnTable	table;

	if (!sync_heeds_application(sync))
		return;
	own_table_open(&table, "_kept", "_kept_pkey", COLUMNS, AccessShareLock);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *kept;

		if (rendered[i].error != NULL || rendered[i].duplicate ||
			(kept = kept_find(&table, sync->id, &known[i].place.digest)) == NULL)
			continue;
		if (rendered[i].row != NULL)
			rendered[i].row = merge(rendered[i].row, kept, kept);
		else
			rendered[i].guarded = guards(sync, kept);
	}
	own_table_close(&table);
}

/* Is that a delete which the application's change forbids (as _conflict_write() does for runs)? */
bool
deliver_kept_refuses(OutboxOp op, const Rendered *rendered, bool forced, bool uncertain)
{
	return op == OUTBOX_DELETE && rendered->guarded && !forced && !uncertain;
}

/* Of what an undo restores: columns that we never wrote are the application's as well. */
Jsonb *
deliver_kept_body(const Sync *sync, const DeliverKnown *known, Jsonb *body)
{
	OwnTable	table;
	Jsonb	   *kept;

	if (body == NULL || !sync_heeds_application(sync))
		return body;
	own_table_open(&table, "_kept", "_kept_pkey", COLUMNS, AccessShareLock);
	kept = kept_find(&table, sync->id, &known->place.digest);
	own_table_close(&table);
	return kept == NULL ? body :
		DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(body), JsonbPGetDatum(kept)));
}

Datum
deliver_kept_image(const DeliverOutcome *outcome, TupleTableSlot *old, AttrNumber image)
{
	Jsonb	   *row = outcome->entry->row;
	OwnTable	table;
	Jsonb	   *kept;
	bool		isnull = true;
	Datum		before = old != NULL ? slot_getattr(old, image, &isnull) : (Datum) 0;

	own_table_open(&table, "_kept", "_kept_pkey", COLUMNS, AccessShareLock);
	kept = kept_find(&table, outcome->sync, &outcome->entry->place.digest);
	own_table_close(&table);
	return JsonbPGetDatum(kept == NULL ? row : merge(row, kept, isnull ? NULL : DatumGetJsonbP(before)));
}
