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
	bool		undo;			/* what its runs change is kept */
	bool		heeds;			/* what its application has changed may be */
	int64		least_seq;		/* raised by what is settled now, or 0 */
} RecordSync;

/* What activate._sent said of a key; Datums as long as its row is looked at. */
typedef struct SentBefore
{
	bool		has_hash;
	int64		hash;
	int64		run;			/* 0: NULL */
	bool		has_image;
	Datum		image;
} SentBefore;

/* activate._undo in a settling; zero it to begin. */
typedef struct RecordUndo
{
	OwnTable	table;
	bool		open;
	int64		run;			/* looked for last */
	bool		run_there;
} RecordUndo;

/* From the list, to which it is added; they are few. */
extern RecordSync *deliver_record_sync(List **syncs, int64 id);

/* sent.c, receipt.c: in the settling transaction. */
extern void deliver_sent_record(const DeliverOutcome *outcomes, int n, List **syncs);
extern void deliver_receipts_write(const DeliverOutcome *outcomes, int n, List **syncs);

/* kept.c: the row that was sent as an image: without what is the application's, for which the image of before stays. */
extern Datum deliver_kept_image(const DeliverOutcome *outcome, TupleTableSlot *old, AttrNumber image);

/* undo.c */
extern const OutboxIntent *deliver_undo_of(const DeliverOutcome *outcome);	/* that its message takes back; or NULL */
extern int64 deliver_undo_run(RecordUndo *undo, const DeliverOutcome *outcome, const RecordSync *sync);
extern void deliver_undo_keep(RecordUndo *undo, const DeliverOutcome *outcome, int64 run, const SentBefore *before,
							  bool deleted);
extern int64 deliver_undo_done(RecordUndo *undo, const DeliverOutcome *outcome, int64 run);
extern void deliver_undo_close(RecordUndo *undo);

#endif							/* ACTIVATE_DELIVER_RECORD_H */
