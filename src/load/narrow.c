/*
 * narrow.c
 *	  What is queued as constants of a load's statement.
 *
 * A join with the queued keys stays above whatever the sync's query groups: it
 * would be evaluated whole.  A comparison with constants goes down, through
 * views, GROUP BY and UNION, to the indexes of the tables; and one with a single
 * constant also to all that the query says is equal to the key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "executor/spi.h"
#include "load/narrow.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

/* More keys than that are looked up by a join: the planner weighs constants one by one. */
#define NARROW_KEYS 10000

static void add_column(Narrow *narrow, int column, SPITupleTable *rows, MemoryContext context);

Narrow *
narrow_prepare(const Sync *sync, Datum entries)
{
	Narrow	   *narrow = palloc0(sizeof(Narrow));
	MemoryContext context = CurrentMemoryContext;
	IdentityScope scope;
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);
	char	   *keys;

	narrow->n = 1;
	narrow->types = palloc(sizeof(Oid) * (sync->nkeys + 1));
	narrow->values = palloc(sizeof(Datum) * (sync->nkeys + 1));
	narrow->types[0] = JSONBARRAYOID;
	narrow->values[0] = entries;
	if (sync->mode == SYNC_APPEND || ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(entries)), ARR_DIMS(DatumGetArrayTypeP(entries))) > NARROW_KEYS)
		return narrow;

	keys = own_text("SELECT activate._load_keys(s, 'u.key', 'unnest($1) u(key)') FROM activate.sync s WHERE s.id = $1", 1, &type, &id);
	sync_enter_owner(sync, &scope);
	SPI_connect();
	if (SPI_execute_with_args(keys, 1, narrow->types, narrow->values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the queued keys of sync \"%s\"", sync->name);
	for (int i = 0; i < sync->nkeys && SPI_processed > 0; i++)
		add_column(narrow, i, SPI_tuptable, context);
	SPI_finish();
	sync_leave_owner(sync, &scope);
	return narrow;
}

static void
add_column(Narrow *narrow, int column, SPITupleTable *rows, MemoryContext context)
{
	Oid			type = SPI_gettypeid(rows->tupdesc, column + 1);
	int64		n = rows->numvals;
	Datum	   *values = palloc(sizeof(Datum) * n);
	int			found = 0;
	int16		length;
	bool		byval;
	char		align;
	MemoryContext previous;

	/* an array of arrays is one of their elements */
	if (OidIsValid(get_element_type(getBaseType(type))) || !OidIsValid(get_array_type(type)))
		return;
	for (int64 i = 0; i < n; i++)
	{
		bool		isnull;

		values[found] = SPI_getbinval(rows->vals[i], rows->tupdesc, column + 1, &isnull);
		if (!isnull)
			found++;
	}
	if (found == 0)
		return;
	get_typlenbyvalalign(type, &length, &byval, &align);
	previous = MemoryContextSwitchTo(context);
	narrow->types[narrow->n] = n == 1 ? type : get_array_type(type);
	narrow->values[narrow->n] = n == 1 ? datumCopy(values[0], byval, length) :
		PointerGetDatum(construct_array(values, found, type, length, byval, align));
	narrow->n++;
	narrow->condition = psprintf("%s%sq.k%d = %s$%d%s", narrow->condition ? narrow->condition : "",
								 narrow->condition ? " AND " : "", column + 1,
								 n == 1 ? "" : "ANY (", narrow->n, n == 1 ? "" : ")");
	MemoryContextSwitchTo(previous);
}
