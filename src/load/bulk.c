/*
 * bulk.c
 *	  Rows of a query into a table, many at a time.
 *
 * As COPY does it: rows are formed in slots, and written a page at a time, with
 * one record of WAL for them; then their index entries are made.  Columns that
 * the query does not fill have their defaults.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "load/bulk.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteHandler.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

/* As for COPY: so many rows, or so many bytes. */
#define BATCH_ROWS	1000
#define BATCH_BYTES 65535

typedef struct BulkWriter
{
	MemoryContext context;
	EState	   *estate;
	ResultRelInfo *target;
	BulkInsertState state;
	CommandId	command;
	int			ndefaults;
	ExprState **defaults;
	AttrNumber *defaulted;
	int			nslots;
	int			nfilled;
	Size		bytes;
	FmgrInfo   *lengths;		/* of each column: what sees to its typmod; fn_oid invalid: nothing need */
	TupleTableSlot *slots[BATCH_ROWS];
	FmgrInfo   *compare;		/* of the cursor */
	Oid			collation;
	int16		typlen;
	bool		typbyval;
} BulkWriter;

static void prepare_defaults(Bulk *bulk);
static void start_up(DestReceiver *self, int operation, TupleDesc desc);
static void check_types(Bulk *bulk, TupleDesc desc);
static void prepare_length(FmgrInfo *length, Oid type);
static void prepare_cursor(Bulk *bulk, Form_pg_attribute column);
static bool receive(TupleTableSlot *row, DestReceiver *self);
static void remember_newest(Bulk *bulk, TupleTableSlot *row);
static void fill_slot(Bulk *bulk, TupleTableSlot *row, TupleTableSlot *slot);
static void write_filled(Bulk *bulk);
static void shut_down(DestReceiver *self);
static void destroy(DestReceiver *self);
pg_noreturn static void impossible(void);

void
bulk_begin(Bulk *bulk)
{
	BulkWriter *writer = palloc0(sizeof(BulkWriter));

	bulk->dest = (DestReceiver) {receive, start_up, shut_down, destroy, DestNone};
	bulk->writer = writer;
	bulk->rows = 0;
	bulk->writing = false;
	bulk->newest_type = InvalidOid;
	writer->context = CurrentMemoryContext;
	writer->estate = CreateExecutorState();
	writer->state = GetBulkInsertState();
	MemoryContextSwitchTo(writer->estate->es_query_cxt);
	writer->target = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->target, bulk->rel, 0, NULL, 0);
	ExecOpenIndices(writer->target, false);
	prepare_defaults(bulk);
	MemoryContextSwitchTo(writer->context);
}

static void
prepare_defaults(Bulk *bulk)
{
	BulkWriter *writer = bulk->writer;
	TupleDesc	desc = RelationGetDescr(bulk->rel);
	Bitmapset  *filled = NULL;

	for (int i = 0; i < bulk->ncolumns; i++)
		filled = bms_add_member(filled, bulk->attributes[i]);
	writer->defaults = palloc(desc->natts * sizeof(ExprState *));
	writer->defaulted = palloc(desc->natts * sizeof(AttrNumber));
	for (AttrNumber i = 1; i <= desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i - 1);
		Expr	   *expression;

		if (attribute->attisdropped || attribute->attgenerated || bms_is_member(i, filled))
			continue;
		expression = (Expr *) build_column_default(bulk->rel, i);
		if (expression == NULL)
			continue;
		writer->defaulted[writer->ndefaults] = i;
		writer->defaults[writer->ndefaults++] = ExecInitExpr(expression_planner(expression), NULL);
	}
}

static void
start_up(DestReceiver *self, int operation, TupleDesc desc)
{
	Bulk	   *bulk = (Bulk *) self;

	check_types(bulk, desc);
	/* that of the query, which so does not see what is written */
	bulk->writer->command = GetCurrentCommandId(true);
	if (bulk->cursor)
		prepare_cursor(bulk, TupleDescAttr(desc, bulk->ncolumns));
}

/* They were the same when the sync was declared; a length may be left to the assignment. */
static void
check_types(Bulk *bulk, TupleDesc desc)
{
	BulkWriter *writer = bulk->writer;

	MemoryContextSwitchTo(writer->estate->es_query_cxt);
	writer->lengths = palloc0(bulk->ncolumns * sizeof(FmgrInfo));
	for (int i = 0; i < bulk->ncolumns; i++)
	{
		Form_pg_attribute from = TupleDescAttr(desc, i);
		Form_pg_attribute to = TupleDescAttr(RelationGetDescr(bulk->rel), bulk->attributes[i] - 1);

		if (from->atttypid != to->atttypid)
			impossible();
		if (to->atttypmod >= 0 && from->atttypmod != to->atttypmod)
			prepare_length(&writer->lengths[i], to->atttypid);
		/* what are equal keys there may be different ones here */
		if (bulk->not_null[i] && OidIsValid(from->attcollation) && !get_collation_isdeterministic(from->attcollation))
			impossible();
	}
	MemoryContextSwitchTo(writer->context);
}

static void
prepare_length(FmgrInfo *length, Oid type)
{
	Oid			function;

	if (find_typmod_coercion_function(type, &function) != COERCION_PATH_FUNC)
		impossible();
	fmgr_info(function, length);
}

static void
prepare_cursor(Bulk *bulk, Form_pg_attribute column)
{
	BulkWriter *writer = bulk->writer;
	TypeCacheEntry *entry = lookup_type_cache(column->atttypid, TYPECACHE_CMP_PROC_FINFO);

	if (!OidIsValid(entry->cmp_proc))
		impossible();
	writer->compare = &entry->cmp_proc_finfo;
	writer->collation = column->attcollation;
	get_typlenbyval(column->atttypid, &writer->typlen, &writer->typbyval);
}

static bool
receive(TupleTableSlot *row, DestReceiver *self)
{
	Bulk	   *bulk = (Bulk *) self;
	BulkWriter *writer = bulk->writer;
	ResultRelInfo *target = writer->target;
	TupleConstr *constraints = RelationGetDescr(bulk->rel)->constr;
	TupleTableSlot *slot;
	HeapTuple	tuple;
	bool		copied;

	if (writer->nfilled == writer->nslots)
	{
		MemoryContext previous = MemoryContextSwitchTo(writer->estate->es_query_cxt);

		writer->slots[writer->nslots++] = table_slot_create(bulk->rel, NULL);
		MemoryContextSwitchTo(previous);
	}
	slot = writer->slots[writer->nfilled++];
	slot_getallattrs(row);
	bulk->writing = true;
	if (bulk->cursor)
		remember_newest(bulk, row);

	fill_slot(bulk, row, slot);
	if (constraints && constraints->has_generated_stored)
		ExecComputeStoredGenerated(target, writer->estate, slot, CMD_INSERT);
	if (constraints)
		ExecConstraints(target, slot, writer->estate);
	ExecMaterializeSlot(slot);
	tuple = ExecFetchSlotHeapTuple(slot, false, &copied);
	writer->bytes += tuple->t_len;
	if (copied)
		heap_freetuple(tuple);
	ResetPerTupleExprContext(writer->estate);
	if (writer->nfilled == BATCH_ROWS || writer->bytes > BATCH_BYTES)
		write_filled(bulk);
	bulk->writing = false;
	return true;
}

static void
remember_newest(Bulk *bulk, TupleTableSlot *row)
{
	BulkWriter *writer = bulk->writer;
	Datum		value = row->tts_values[bulk->ncolumns];
	MemoryContext previous;

	if (row->tts_isnull[bulk->ncolumns] ||
		(OidIsValid(bulk->newest_type) &&
		 DatumGetInt32(FunctionCall2Coll(writer->compare, writer->collation, value, bulk->newest)) <= 0))
		return;
	previous = MemoryContextSwitchTo(writer->context);
	if (OidIsValid(bulk->newest_type) && !writer->typbyval)
		pfree(DatumGetPointer(bulk->newest));
	bulk->newest = datumCopy(value, writer->typbyval, writer->typlen);
	bulk->newest_type = TupleDescAttr(row->tts_tupleDescriptor, bulk->ncolumns)->atttypid;
	MemoryContextSwitchTo(previous);
}

/* As assigned: what is too long is an error. */
static Datum
of_length(FmgrInfo *length, Datum value, int32 typmod)
{
	return length->fn_nargs == 2 ? FunctionCall2(length, value, Int32GetDatum(typmod)) :
		FunctionCall3(length, value, Int32GetDatum(typmod), BoolGetDatum(false));
}

static void
fill_slot(Bulk *bulk, TupleTableSlot *row, TupleTableSlot *slot)
{
	BulkWriter *writer = bulk->writer;
	ExprContext *context = GetPerTupleExprContext(writer->estate);
	MemoryContext previous = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (int i = 0; i < bulk->ncolumns; i++)
	{
		int			position = bulk->attributes[i] - 1;

		if (row->tts_isnull[i] && bulk->not_null[i])
			impossible();
		slot->tts_values[position] = row->tts_values[i];
		slot->tts_isnull[position] = row->tts_isnull[i];
		if (!row->tts_isnull[i] && OidIsValid(writer->lengths[i].fn_oid))
			slot->tts_values[position] = of_length(&writer->lengths[i], row->tts_values[i],
												   TupleDescAttr(slot->tts_tupleDescriptor, position)->atttypmod);
	}
	MemoryContextSwitchTo(previous);
	for (int i = 0; i < writer->ndefaults; i++)
	{
		int			position = writer->defaulted[i] - 1;

		slot->tts_values[position] = ExecEvalExprSwitchContext(writer->defaults[i], context, &slot->tts_isnull[position]);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(bulk->rel);
}

static void
write_filled(Bulk *bulk)
{
	BulkWriter *writer = bulk->writer;
	MemoryContext previous = MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));

	if (writer->nfilled > 0)
		table_multi_insert(bulk->rel, writer->slots, writer->nfilled, writer->command, 0, writer->state);
	MemoryContextSwitchTo(previous);
	for (int i = 0; i < writer->nfilled; i++)
	{
		ResetPerTupleExprContext(writer->estate);
		if (writer->target->ri_NumIndices > 0)
			(void) compat_insert_index_tuples(writer->target, writer->slots[i], writer->estate);
		ExecClearTuple(writer->slots[i]);
	}
	ResetPerTupleExprContext(writer->estate);
	bulk->rows += writer->nfilled;
	writer->nfilled = 0;
	writer->bytes = 0;
	bulk->progress(bulk->rows);
	CHECK_FOR_INTERRUPTS();
}

static void
shut_down(DestReceiver *self)
{
	Bulk	   *bulk = (Bulk *) self;

	bulk->writing = true;
	write_filled(bulk);
	bulk->writing = false;
}

static void
destroy(DestReceiver *self)
{
}

void
bulk_end(Bulk *bulk)
{
	BulkWriter *writer = bulk->writer;

	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	FreeBulkInsertState(writer->state);
	table_finish_bulk_insert(bulk->rel, 0);
	ExecCloseIndices(writer->target);
	FreeExecutorState(writer->estate);
}

static void
impossible(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_BULK_IMPOSSIBLE),
			 errmsg("rows cannot be loaded without a comparison")));
}
