/*
 * table.h
 *	  Our own tables without SQL: rows are found by an index, inserted, updated
 *	  and deleted one by one, where a statement would cost more than they do.
 *
 *		OwnTable	table;
 *
 *		own_table_open(&table, "_sent", "_sent_pkey", SENT_COLUMNS, RowExclusiveLock);
 *		...
 *		own_table_close(&table);
 *
 * Straight into the table: no permission is checked, no trigger fires (those of
 * ours fire for a subscription only).  Writing waits for whoever has the row,
 * up to lock_timeout, as SQL does.  On ERROR nothing need be done.
 */
#ifndef ACTIVATE_TABLE_H
#define ACTIVATE_TABLE_H

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/snapshot.h"

typedef struct OwnTable
{
	Relation	rel;
	Relation	index;			/* rows are found by it */
	EState	   *estate;
	ResultRelInfo *target;		/* with its indexes open; NULL: only read */
	Snapshot	snapshot;		/* NULL: none taken yet */
	IndexScanDesc scan;
	TupleTableSlot *row;		/* that was found */
	TupleTableSlot *fresh;		/* for own_table_insert() and own_table_update() */
	BlockNumber blocks;			/* that there were at least; 0: not looked yet */
	bool		written;
} OwnTable;

/* Oid of a relation in our schema; the name is a constant: what was found is remembered by its address. */
extern Oid	own_relation(const char *name);

/* natts: how many columns who opens it knows of; 0: they are found by name. */
extern void own_table_open(OwnTable *table, const char *name, const char *index, int natts, LOCKMODE mode);

/* What was written is visible to the statements that follow. */
extern void own_table_close(OwnTable *table);

/*
 * The first and the next row, in the index's order, of which the leading index
 * columns fulfil the conditions; into table->row.  As of one snapshot: the
 * newest when the table was opened for writing, else that of the statement.
 */
extern bool own_table_find(OwnTable *table, ScanKey keys, int nkeys);
extern bool own_table_next(OwnTable *table);

/* The last one of them. */
extern bool own_table_find_last(OwnTable *table, ScanKey keys, int nkeys);

/*
 * The row at a place where one was found before; only if it is still that row,
 * which the caller has to look at: the place may have been given to another.
 */
extern bool own_table_at(OwnTable *table, const ItemPointerData *tid);

/* An equality of an index column, from 1, with a bigint; with others: ScanKeyInit(). */
extern void own_table_key(ScanKey key, AttrNumber column, int64 value);

/* fresh to be filled: all columns are NULL. */
extern TupleTableSlot *own_table_fresh(OwnTable *table);

/* A row of the same key that has been written since the snapshot is ERRCODE_UNIQUE_VIOLATION. */
extern void own_table_insert(OwnTable *table);

/*
 * The row found becomes fresh, or goes.  False: somebody has changed or removed
 * it since; what is there now is to be found again.
 */
extern bool own_table_update(OwnTable *table);
extern bool own_table_delete(OwnTable *table);

#endif							/* ACTIVATE_TABLE_H */
