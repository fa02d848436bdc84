/*
 * conflict.c
 *	  options.conflict: what a run must not overwrite.
 *
 * Before the run is planned the application is read and compared.  Written down are
 *
 * - columns that are the application's (activate._kept): whoever sends a row of
 *	 that key sends the application's value of them;
 * - that nothing else of a row is to be sent: then its hash counts as sent;
 * - that something is to be sent though the row is what was sent last, because
 *	 it was withheld so far: then what was sent counts as unknown;
 * - what both sides hold alike by now: that is what we wrote, as far as the next
 *	 comparison is concerned;
 * - records that are not to be deleted: a rejection of the delete.
 *
 * Then the run is planned as ever.  All is of the run's transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compare/compare.h"
#include "core/own.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define SETTLE_BATCH	1000

/* Columns of the statement. */
#define SETTLE_COLUMNS	8

static const Oid settle_types[SETTLE_COLUMNS] = {JSONBOID, JSONBOID, BOOLOID, JSONBOID, TEXTOID, INT8OID, INT8OID, TEXTOID};

static TupleDesc settle_desc(void);
static void write_down(const Sync *sync, Tuplestorestate *found, TupleDesc desc);
static void write_batch(const Sync *sync, Datum **values, bool **nulls, int n);

void
compare_settle(const Sync *sync, bool whole)
{
	Comparing	it;
	IdentityScope scope;
	TupleDesc	desc = settle_desc();
	Tuplestorestate *found = tuplestore_begin_heap(false, false, work_mem);
	Oid			types[COMPARE_ARGUMENTS];
	Datum		values[COMPARE_ARGUMENTS];

	compare_prepare(&it, sync, "run");
	sync_enter_owner(sync, &scope);
	outbox_flush();
	SPI_connect();
	compare_read(&it);
	compare_arguments(&it, types, values);
	compare_execute(compare_statement(&it, whole ? "_conflict_sql" : "_conflict_part_sql"), types, values, found);
	tuplestore_end(it.records);
	SPI_finish();
	sync_leave_owner(sync, &scope);

	write_down(sync, found, desc);
	tuplestore_end(found);
}

static TupleDesc
settle_desc(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(SETTLE_COLUMNS);

	for (int i = 0; i < SETTLE_COLUMNS; i++)
		TupleDescInitEntry(desc, i + 1, "found", settle_types[i], -1, 0);
	return desc;
}

static void
write_down(const Sync *sync, Tuplestorestate *found, TupleDesc desc)
{
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "activate conflicts", ALLOCSET_DEFAULT_SIZES);
	Datum	   *values[SETTLE_COLUMNS];
	bool	   *nulls[SETTLE_COLUMNS];
	int			n = 0;

	for (int c = 0; c < SETTLE_COLUMNS; c++)
	{
		values[c] = palloc(sizeof(Datum) * SETTLE_BATCH);
		nulls[c] = palloc(sizeof(bool) * SETTLE_BATCH);
	}
	while (tuplestore_gettupleslot(found, true, false, row))
	{
		MemoryContext previous = MemoryContextSwitchTo(batch);

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(row);
		for (int c = 0; c < SETTLE_COLUMNS; c++)
		{
			bool		wide = settle_types[c] == JSONBOID || settle_types[c] == TEXTOID;

			nulls[c][n] = row->tts_isnull[c];
			values[c][n] = nulls[c][n] || !wide ? row->tts_values[c] : PointerGetDatum(PG_DETOAST_DATUM_COPY(row->tts_values[c]));
		}
		if (++n == SETTLE_BATCH)
		{
			write_batch(sync, values, nulls, n);
			n = 0;
			MemoryContextReset(batch);
		}
		MemoryContextSwitchTo(previous);
	}
	write_batch(sync, values, nulls, n);
	ExecDropSingleTupleTableSlot(row);
	MemoryContextDelete(batch);
}

static void
write_batch(const Sync *sync, Datum **values, bool **nulls, int n)
{
	Oid			types[SETTLE_COLUMNS + 1] = {INT8OID};
	Datum		arrays[SETTLE_COLUMNS + 1] = {Int64GetDatum(sync->id)};

	if (n == 0)
		return;
	for (int c = 0; c < SETTLE_COLUMNS; c++)
	{
		int16		len;
		bool		byval;
		char		align;
		int			lower = 1;

		get_typlenbyvalalign(settle_types[c], &len, &byval, &align);
		types[c + 1] = get_array_type(settle_types[c]);
		arrays[c + 1] = PointerGetDatum(construct_md_array(values[c], nulls[c], 1, &n, &lower, settle_types[c], len, byval, align));
	}
	(void) own_value("SELECT activate._conflict_write($1, $2, $3, $4, $5, $6, $7, $8, $9)", SETTLE_COLUMNS + 1, types, arrays, NULL, NULL);
}
