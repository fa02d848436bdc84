/*
 * table.c
 *	  Our own tables without SQL: see table.h.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "core/compat.h"
#include "core/table.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Relations that were looked up; names are constants, compared by their address. */
typedef struct OwnName
{
	const char *name;
	Oid			relation;
} OwnName;

static OwnName names[16];
static int	names_known = 0;

static void snapshot_take(OwnTable *table);
static void scan_begin(OwnTable *table, int nkeys);
static void scan_end(OwnTable *table);
static void snapshot_forget(OwnTable *table);
static bool changed_by_others(OwnTable *table, TM_Result result);

/* A change of any relation or schema may be one of these. */
static void
names_forget(Datum arg, int cacheid, uint32 hash)
{
	names_known = 0;
}

/*
 * Looked up for each transaction that writes to the outbox, several times: two
 * caches of the catalog cost a fiftieth of a single-row INSERT.
 */
Oid
own_relation(const char *name)
{
	static bool registered = false;
	Oid			relation;

	for (int i = 0; i < names_known; i++)
		if (names[i].name == name)
			return names[i].relation;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELNAMENSP, names_forget, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACENAME, names_forget, (Datum) 0);
		registered = true;
	}
	relation = get_relname_relid(name, get_namespace_oid("activate", true));
	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"activate.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION activate.")));
	if (names_known < lengthof(names))
		names[names_known++] = (OwnName) {name, relation};
	return relation;
}

void
own_table_open(OwnTable *table, const char *name, const char *index, int natts, LOCKMODE mode)
{
	MemoryContext previous;

	memset(table, 0, sizeof(*table));
	table->rel = table_open(own_relation(name), mode);
	if (natts > 0 && RelationGetDescr(table->rel)->natts != natts)
		elog(ERROR, "activate.%s has an unexpected number of columns", name);
	table->index = index_open(own_relation(index), mode);
	table->estate = CreateExecutorState();
	previous = MemoryContextSwitchTo(table->estate->es_query_cxt);
	table->row = table_slot_create(table->rel, &table->estate->es_tupleTable);
	if (mode >= RowExclusiveLock)
	{
		table->target = makeNode(ResultRelInfo);
		InitResultRelInfo(table->target, table->rel, 0, NULL, 0);
		ExecOpenIndices(table->target, false);
		table->fresh = table_slot_create(table->rel, &table->estate->es_tupleTable);
	}
	MemoryContextSwitchTo(previous);
}

void
own_table_close(OwnTable *table)
{
	snapshot_forget(table);
	if (table->target)
		ExecCloseIndices(table->target);
	ExecResetTupleTable(table->estate->es_tupleTable, false);
	FreeExecutorState(table->estate);
	index_close(table->index, NoLock);
	table_close(table->rel, NoLock);
	if (table->written)
		CommandCounterIncrement();
}

static void
snapshot_take(OwnTable *table)
{
	if (table->snapshot == NULL)
		table->snapshot = RegisterSnapshot(table->target ? GetLatestSnapshot() : GetActiveSnapshot());
}

static void
scan_begin(OwnTable *table, int nkeys)
{
	MemoryContext previous = MemoryContextSwitchTo(table->estate->es_query_cxt);

	snapshot_take(table);
	table->scan = compat_index_beginscan(table->rel, table->index, table->snapshot, nkeys);
	MemoryContextSwitchTo(previous);
}

static void
scan_end(OwnTable *table)
{
	ExecClearTuple(table->row);
	if (table->scan)
		index_endscan(table->scan);
	table->scan = NULL;
}

static void
snapshot_forget(OwnTable *table)
{
	scan_end(table);
	if (table->snapshot)
		UnregisterSnapshot(table->snapshot);
	table->snapshot = NULL;
}

static void
scan_rewind(OwnTable *table, ScanKey keys, int nkeys)
{
	if (table->scan && table->scan->numberOfKeys != nkeys)
		scan_end(table);
	if (table->scan == NULL)
		scan_begin(table, nkeys);
	index_rescan(table->scan, keys, nkeys, NULL, 0);
}

bool
own_table_find(OwnTable *table, ScanKey keys, int nkeys)
{
	scan_rewind(table, keys, nkeys);
	return own_table_next(table);
}

bool
own_table_find_last(OwnTable *table, ScanKey keys, int nkeys)
{
	scan_rewind(table, keys, nkeys);
	return index_getnext_slot(table->scan, BackwardScanDirection, table->row);
}

bool
own_table_next(OwnTable *table)
{
	return index_getnext_slot(table->scan, ForwardScanDirection, table->row);
}

bool
own_table_at(OwnTable *table, const ItemPointerData *tid)
{
	snapshot_take(table);
	/* our lock keeps the table from being cut off behind it */
	if (table->blocks == 0)
		table->blocks = RelationGetNumberOfBlocks(table->rel);
	return ItemPointerIsValid(tid) && ItemPointerGetBlockNumber(tid) < table->blocks &&
		table_tuple_fetch_row_version(table->rel, unconstify(ItemPointerData *, tid), table->snapshot, table->row);
}

void
own_table_key(ScanKey key, AttrNumber column, int64 value)
{
	ScanKeyInit(key, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(value));
}

TupleTableSlot *
own_table_fresh(OwnTable *table)
{
	TupleTableSlot *slot = table->fresh;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	return slot;
}

void
own_table_insert(OwnTable *table)
{
	ExecStoreVirtualTuple(table->fresh);
	table_tuple_insert(table->rel, table->fresh, GetCurrentCommandId(true), 0, NULL);
	(void) compat_insert_index_tuples(table->target, table->fresh, table->estate);
	ResetPerTupleExprContext(table->estate);
	table->written = true;
}

bool
own_table_update(OwnTable *table)
{
	TM_FailureData failure;
	LockTupleMode lock;
	CompatUpdateIndexes indexes;
	TM_Result	result;

	ExecStoreVirtualTuple(table->fresh);
	result = table_tuple_update(table->rel, &table->row->tts_tid, table->fresh, GetCurrentCommandId(true),
								table->snapshot, InvalidSnapshot, true, &failure, &lock, &indexes);
	if (changed_by_others(table, result))
		return false;
	if (compat_index_tuples_wanted(indexes))
		(void) compat_insert_index_tuples(table->target, table->fresh, table->estate);
	ResetPerTupleExprContext(table->estate);
	table->written = true;
	return true;
}

bool
own_table_delete(OwnTable *table)
{
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_delete(table->rel, &table->row->tts_tid, GetCurrentCommandId(true),
								table->snapshot, InvalidSnapshot, true, &failure, false);
	if (changed_by_others(table, result))
		return false;
	table->written = true;
	return true;
}

static bool
changed_by_others(OwnTable *table, TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return false;
		case TM_Updated:
		case TM_Deleted:
			snapshot_forget(table);
			return true;
		default:
			elog(ERROR, "a row of \"%s\" could not be changed: %d", RelationGetRelationName(table->rel), (int) result);
	}
}
