/*
 * buffer.h
 *	  What the files of this room share.  Not for other rooms.
 */
#ifndef ACTIVATE_OUTBOX_BUFFER_H
#define ACTIVATE_OUTBOX_BUFFER_H

#include "access/skey.h"
#include "outbox/outbox.h"

/* Rows written by one multi-insert. */
#define OUTBOX_BATCH	1000

/* An intent that is not in the table yet. */
typedef struct OutboxRow
{
	int64		id;
	int64		sync;
	OutboxOp	op;
	bool		forced;
	bool		held;
	int64		run;			/* 0: none */
	Oid			writer;
	TimestampTz enqueued_at;
	Jsonb	   *key;
	Jsonb	   *body;			/* NULL: none */
	bool		has_planned;
	int64		planned;
	OutboxUndo	undo;
	int			stretch;		/* of one number: no subtransaction appended in between */
} OutboxRow;

/* What a row of the table holds: an intent, or several that share all but key, id and what a run saw. */
typedef struct OutboxPack
{
	int			n;
	int64		id;				/* of the first */
	Datum	   *keys;			/* jsonb */
	Datum	   *steps;			/* smallint, ids from the first; NULL: n is 1 */
	Datum	   *plans;			/* bigint; NULL: none of them has one */
} OutboxPack;

/* Columns of activate._outbox in the order of src/catalog/10_tables.sql. */
enum
{
	OUTBOX_COL_SYNC, OUTBOX_COL_XID, OUTBOX_COL_ID, OUTBOX_COL_NONCE, OUTBOX_COL_OP, OUTBOX_COL_FORCED, OUTBOX_COL_HELD,
	OUTBOX_COL_RUN, OUTBOX_COL_WRITER, OUTBOX_COL_ENQUEUED_AT, OUTBOX_COL_KEY, OUTBOX_COL_BODY, OUTBOX_COL_PLANNED,
	OUTBOX_COL_UNDO, OUTBOX_COL_KEYS, OUTBOX_COL_STEPS, OUTBOX_COL_PLANS,
	OUTBOX_COLUMNS
};

/* Columns of activate._retry. */
enum
{
	RETRY_COL_SYNC, RETRY_COL_ID, RETRY_COL_ATTEMPTS, RETRY_COL_DUE_AT, RETRY_COL_LAST_ERROR,
	RETRY_COL_SEQ, RETRY_COL_NONCE, RETRY_COL_MESSAGE, RETRY_COLUMNS
};

/* append.c */
extern bool outbox_buffered(void);
extern void outbox_touch(int64 sync);	/* intents of it were written by SQL: to be woken for at commit */
extern void outbox_append_init(void);

/* write.c: rows into activate._outbox, in the present subtransaction. */
extern void outbox_write(const OutboxRow *rows, int n);

/*
 * pack.c.  outbox_pack_length(): how many of these, all of one sync and in
 * order of their ids, go into one row of the table.  outbox_pack_read(): of a row
 * that was found; keys may point into it.  outbox_pack_write(): columns of a row
 * with n of them, the others are the caller's.  outbox_pack_position(): -1: it has
 * no such id.
 */
extern int	outbox_pack_length(const OutboxRow *const *rows, int n);
extern OutboxPack outbox_pack_of(const OutboxRow *const *rows, int n);
extern OutboxPack outbox_pack_read(const Datum *values, const bool *isnull);
extern int64 outbox_pack_id(const OutboxPack *pack, int i);
extern int	outbox_pack_position(const OutboxPack *pack, int64 id);
extern void outbox_pack_write(const OutboxPack *pack, int first, int n, Datum *values, bool *isnull);

/* read.c: what a pass has not read yet; "done" may be NULL.  Snapshots as text.  changes: see outbox_claim_changes(). */
extern List *outbox_read(int64 sync, const char *done, const char *pass, uint64 after_xid, int64 after_id, int limit,
						 bool changes);

/* Of activate._outbox, whose first three columns are those of the index; column: OUTBOX_COL_... */
extern void outbox_scan_key(ScanKey key, int column, StrategyNumber strategy, RegProcedure function, uint64 value);

/* hooks.c */
extern void outbox_hooks_init(void);

/* wake.c: after commit; must not fail. */
extern void outbox_wake(const int64 *syncs, int n);

#endif							/* ACTIVATE_OUTBOX_BUFFER_H */
