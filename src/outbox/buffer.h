/*
 * buffer.h
 *	  What the files of this room share.  Not for other rooms.
 */
#ifndef ACTIVATE_OUTBOX_BUFFER_H
#define ACTIVATE_OUTBOX_BUFFER_H

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
} OutboxRow;

/* Columns of activate._outbox in the order of src/catalog/10_tables.sql. */
enum
{
	OUTBOX_COL_SYNC, OUTBOX_COL_XID, OUTBOX_COL_ID, OUTBOX_COL_NONCE, OUTBOX_COL_OP, OUTBOX_COL_FORCED, OUTBOX_COL_HELD,
	OUTBOX_COL_RUN, OUTBOX_COL_WRITER, OUTBOX_COL_ENQUEUED_AT, OUTBOX_COL_KEY, OUTBOX_COL_BODY, OUTBOX_COL_PLANNED,
	OUTBOX_COL_UNDO,
	OUTBOX_COLUMNS
};

/* append.c */
extern bool outbox_buffered(void);
extern void outbox_touch(int64 sync);	/* intents of it were written by SQL: to be woken for at commit */
extern void outbox_append_init(void);

/* write.c: rows into activate._outbox, in the present subtransaction. */
extern void outbox_write(const OutboxRow *rows, int n);

/* read.c: what a pass has not read yet; "done" may be NULL.  Snapshots as text. */
extern List *outbox_read(int64 sync, const char *done, const char *pass, uint64 after_xid, int64 after_id, int limit);

/* hooks.c */
extern void outbox_hooks_init(void);

/* wake.c: after commit; must not fail. */
extern void outbox_wake(const int64 *syncs, int n);

#endif							/* ACTIVATE_OUTBOX_BUFFER_H */
