/*
 * record.h
 *	  What those that write outcomes (record.c) share.
 */
#ifndef ACTIVATE_DELIVER_RECORD_H
#define ACTIVATE_DELIVER_RECORD_H

#include "core/table.h"
#include "deliver/engine.h"

/* What is declared now of a sync that outcomes are of. */
typedef struct RecordSync
{
	int64		id;
	bool		there;			/* else it was dropped meanwhile, and nothing is left behind */
	int			epoch;			/* of outcomes of another: its target or key is not the one that they are of */
	bool		deletes;		/* its mode sends deletes */
} RecordSync;

/* From the list, to which it is added; they are few. */
extern const RecordSync *deliver_record_sync(List **syncs, int64 id);

/* sent.c, receipt.c: in the settling transaction. */
extern void deliver_sent_record(const DeliverOutcome *outcomes, int n, List **syncs);
extern void deliver_receipts_write(const DeliverOutcome *outcomes, int n, List **syncs);

#endif							/* ACTIVATE_DELIVER_RECORD_H */
