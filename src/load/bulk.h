/*
 * bulk.h
 *	  Rows of a query into a table, many at a time (internal to the room).
 */
#ifndef ACTIVATE_BULK_H
#define ACTIVATE_BULK_H

#include "tcop/dest.h"
#include "utils/rel.h"

/* Of rows that cannot be loaded so, a class of its own (never shown). */
#define ERRCODE_ACTIVATE_BULK_IMPOSSIBLE	MAKE_SQLSTATE('A','C','B','0','0')

typedef struct Bulk
{
	DestReceiver dest;			/* must be the first */
	Relation	rel;			/* locked */
	int			ncolumns;		/* of the query, from the first; one more if cursor */
	AttrNumber *attributes;		/* what they go to */
	bool	   *not_null;		/* must they have a value? */
	bool		cursor;			/* the column behind them has values that are remembered, not loaded */
	int64		rows;			/* loaded */
	bool		writing;		/* else what fails is the query */
	void		(*progress) (int64 rows);

	/* of the column behind them; in the memory context of bulk_begin() */
	Oid			newest_type;	/* InvalidOid: no row */
	Datum		newest;

	struct BulkWriter *writer;	/* private */
} Bulk;

/*
 * Makes bulk->dest a receiver; the others are set by the caller.  It raises
 * ERRCODE_ACTIVATE_BULK_IMPOSSIBLE if a column that must have a value has none, or
 * is of another type than its column.  Triggers do not fire; constraints,
 * defaults, generated columns and indexes are seen to.
 */
extern void bulk_begin(Bulk *bulk);
extern void bulk_end(Bulk *bulk);

#endif							/* ACTIVATE_BULK_H */
