/*
 * outbox.h
 *	  Intents: appended with the transaction that caused them, claimed by the
 *	  deliverer in commit order per key, settled in bulk.
 *
 * Rows of activate._outbox are inserted and deleted, never updated; what
 * changes while an intent waits (attempts, due time) is in activate._retry.
 * Intents that a transaction appended one after the other, and that say no more
 * than a key, share a row; of one sync and transaction the ranges of ids of such
 * rows do not overlap, so an intent is in the row with the greatest id that is not
 * beyond its own.  Where some of them go, the rest is written anew, as rows
 * under the same transaction's number: nobody reads them twice.
 * A deliverer finds new rows by what a snapshot can tell: rows whose inserting
 * transaction was not visible to the snapshot of its previous pass.  So a
 * transaction that stays open delays nobody, and one that commits late with
 * low ids is not skipped.
 */
#ifndef ACTIVATE_OUTBOX_H
#define ACTIVATE_OUTBOX_H

#include "access/transam.h"
#include "catalog/sync.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* Operations, as text in every relation and body: insert update upsert delete change. */
typedef enum OutboxOp
{
	OUTBOX_CHANGE = 'c',		/* decided when it is rendered */
	OUTBOX_INSERT = 'i',
	OUTBOX_UPDATE = 'u',
	OUTBOX_UPSERT = 's',
	OUTBOX_DELETE = 'd',
	OUTBOX_TRUNCATE = 't'		/* whatever was sent may be gone; in the outbox only, key {} */
} OutboxOp;

extern const char *outbox_op_name(OutboxOp op);

/* An intent that brings what is to be restored. */
typedef enum OutboxUndo
{
	UNDO_NONE = 0,
	UNDO_SENT = 's',			/* a run has sent the key's row */
	UNDO_DELETED = 'd',			/* a run has deleted it */
	UNDO_AGAIN = 'r'			/* was restored already, and is sent once more */
} OutboxUndo;

/* What a mode does with a row that is there (activate._mode_op() in SQL). */
extern OutboxOp outbox_mode_op(SyncMode mode);

extern void outbox_init(void);

/*
 * Appends an intent to this transaction.  Buffered; flushed at the end of the
 * statement, before COMMIT and PREPARE.  An OUTBOX_CHANGE without body whose
 * key this transaction already appended for that sync (and whose
 * subtransaction lives) is not appended again, nor is OUTBOX_TRUNCATE.  key and
 * body are copied.
 * forced: send even if the content equals what was sent (replace, full => true).
 */
extern void outbox_append(int64 sync, Jsonb *key, OutboxOp op, Jsonb *body, int64 run, bool forced);

/*
 * The same for an OUTBOX_CHANGE that a run found.  planned: a hash of what it
 * saw.  A later run that sees something else enqueues the key again, because
 * this intent may have been rendered in between.
 */
extern void outbox_append_planned(int64 sync, Jsonb *key, int64 run, bool forced, int64 planned);
extern void outbox_flush(void);

/* Intents of this transaction were removed by SQL: a key that comes again is appended again. */
extern void outbox_forget_keys(void);

/*
 * Takes back what messages of a run have done with the key, those that wait
 * included.  body and its hash (NULL: unknown): what the target held before;
 * OUTBOX_DELETE: nothing; OUTBOX_CHANGE without body: only what waits is taken
 * back.  UNDO_AGAIN is of no run, and takes nothing back.
 */
extern void outbox_append_undo(int64 sync, Jsonb *key, OutboxOp op, Jsonb *body, int64 run, OutboxUndo undo,
							   const int64 *hash);

/* A delete over the mirror limit: waits for outbox_release() (or activate_discard). */
extern void outbox_append_held(int64 sync, Jsonb *key, int64 run);

/*
 * The explicit yes: held intents of the sync become ordinary ones of this
 * transaction and run; how many.  OUTBOX_TRUNCATE is removed: who says yes
 * looks for what is gone himself.
 */
extern int64 outbox_release(int64 sync, int64 run);

/*
 * After a restore elsewhere: stamps what the dump carried with the present
 * transaction, because the old cluster's transaction numbers mean nothing here
 * and may lie in the future; how many.
 */
extern int64 outbox_restamp(void);

/* Has the present transaction appended anything (flushed or not) for that sync? */
extern bool outbox_appended(int64 sync);

/* A claimed intent, in the context given to outbox_claim(). */
typedef struct OutboxIntent
{
	int64		sync;
	uint64		xid;
	int64		id;
	uint64		nonce;			/* 8 random bytes, stored at enqueue */
	OutboxOp	op;
	bool		forced;
	Jsonb	   *key;
	Jsonb	   *body;			/* NULL: to be rendered */
	int64		run;			/* 0: none */
	OutboxUndo	undo;
	bool		has_planned;
	int64		planned;
	int			attempts;
	TimestampTz due_at;			/* 0: at once */
	bool		noted;			/* outbox_note() said: */
	int64		noted_seq;
	uint64		noted_nonce;
	pg_uuid_t	noted_message;
	ItemPointerData tid;		/* the row it was found in: it is looked for there first */
} OutboxIntent;

/*
 * Where a deliverer stands in one sync's intents; zero it to begin.  It is
 * advanced by a claim at once: who aborts that transaction starts again with
 * outbox_cursor_reset().
 */
typedef struct OutboxCursor
{
	char	   *done;			/* pg_snapshot as text: all visible to it was read; NULL: nothing */
	char	   *pass;			/* pg_snapshot of the pass under way; NULL: none */
	uint64		xid;			/* last row read in this pass */
	int64		id;
} OutboxCursor;

extern void outbox_cursor_reset(OutboxCursor *cursor);

/*
 * Reads up to limit committed intents of a sync that this cursor has not
 * returned yet, by (xid, id); fewer than limit: there are no more just now.
 * Of one key the order of truth is that of ids: a long transaction's may come
 * before those of one that began later and was done sooner.  Held ones are
 * left out until they are released.
 * Needs a transaction; runs as the extension's owner; takes no row lock.
 * List of OutboxIntent *, in context.
 */
extern List *outbox_claim(int64 sync, OutboxCursor *cursor, int limit, MemoryContext context);

/*
 * The same of changes only, what no run and no retry enqueued, by a cursor that
 * runs ahead of that other one.  Of a transaction the rows from the first of a
 * run on are left to the other, so that a million of them cost one look.
 */
extern List *outbox_claim_changes(int64 sync, OutboxCursor *ahead, const OutboxCursor *cursor, int limit,
								  MemoryContext context);

/*
 * The first of them that the present transaction sees, its own included: what
 * it would leave to a deliverer.  Without those that are held.
 */
extern List *outbox_pending(int64 sync, int limit, MemoryContext context);

/* Syncs of this database that have intents, for recovery and the safety poll; list of int64 *. */
extern List *outbox_syncs(void);

/* Reads and clears the dirty bits of deliverer; true if that sync's was set. */
extern void outbox_take_dirty(int deliverer, uint64 *words);
extern bool outbox_is_dirty(const uint64 *words, int64 sync);

/*
 * Syncs to tables have no deliverer: the worker of the database says for which
 * of them it wants to be woken, and reads and clears whether it was.
 */
extern void outbox_serve_queues(const int64 *syncs, int n);
extern bool outbox_take_queued(void);

/*
 * Under which numbers a message of the intent goes, or may have gone, where
 * the intent alone does not tell: in the present transaction.
 */
extern void outbox_note(const OutboxIntent *intent, int64 seq, uint64 nonce, const pg_uuid_t *message);

/* Settled for good: removes them.  For the others: put off to due_at. */
extern void outbox_remove(const OutboxIntent *const *intents, int n);
typedef struct OutboxDelay
{
	const OutboxIntent *intent;
	int			attempts;
	TimestampTz due_at;
	const char *error;
} OutboxDelay;
extern void outbox_delay(const OutboxDelay *delays, int n);

#endif							/* ACTIVATE_OUTBOX_H */
