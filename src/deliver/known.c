/*
 * known.c
 *	  What is known of keys before their messages are decided on: what the
 *	  target holds (sent.c), and what it refused last.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/identity.h"
#include "core/table.h"
#include "deliver/engine.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define REJECTION_COLUMNS	10

/* Most syncs have none, and a probe for each key is not free. */
static bool
has_rejections(int64 sync)
{
	OwnTable	table;
	ScanKeyData key;
	bool		found;

	own_table_open(&table, "rejection", "rejection_sync_key_idx", REJECTION_COLUMNS, AccessShareLock);
	own_table_key(&key, 1, sync);
	found = own_table_find(&table, &key, 1);
	own_table_close(&table);
	return found;
}

static void
known_refused(int64 sync, Jsonb **keys, int n, DeliverKnown *out)
{
	static SPIPlanPtr plan = NULL;
	IdentityScope scope;
	Oid			types[2] = {INT8OID, JSONBARRAYOID};
	Datum		values[2];
	Datum	   *elements = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		elements[i] = JsonbPGetDatum(keys[i]);
	values[0] = Int64GetDatum(sync);
	values[1] = PointerGetDatum(construct_array(elements, n, JSONBOID, -1, false, TYPALIGN_INT));

	identity_enter_extension(&scope);
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT ord, hash, op, undone FROM activate._deliver_refused($1, $2)", 2, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the look for rejections");
	}
	SPI_execute_plan(plan, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		DeliverKnown *known = &out[DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull)) - 1];

		known->refused = true;
		known->refused_hash = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		known->has_refused_hash = !isnull;
		known->refused_delete = strcmp(SPI_getvalue(tuple, desc, 3), outbox_op_name(OUTBOX_DELETE)) == 0;
		known->undone = DatumGetBool(SPI_getbinval(tuple, desc, 4, &isnull));
	}
	SPI_finish();
	identity_leave(&scope);
}

void
deliver_known(int64 sync, Jsonb **keys, int n, DeliverKnown *out, MemoryContext context)
{
	memset(out, 0, sizeof(DeliverKnown) * n);
	deliver_sent_known(sync, keys, n, out, context);
	if (has_rejections(sync))
		known_refused(sync, keys, n, out);
}
