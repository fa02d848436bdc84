/*
 * sequence.c
 *	  Numbers of a sequence of ours: see sequence.h.
 *
 * What nextval_internal() does in commands/sequence.c, less all that it
 * remembers for the session; the WAL record is that of PostgreSQL, so replay
 * and standbys know nothing of us.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "core/compat.h"
#include "core/sequence.h"
#include "core/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

/* Numbers logged ahead, as by nextval(): after a crash as many are left out. */
#define LOGGED_AHEAD	32

static void log_as_drawn(Relation rel, Buffer buffer, HeapTupleData *tuple, int64 upto);

int64
own_sequence_draw(const char *name, int n)
{
	Relation	rel = relation_open(own_relation(name), RowExclusiveLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page = BufferGetPage(buffer);
	HeapTupleData tuple;
	ItemId		item;
	Form_pg_sequence_data sequence;
	int64		first;
	int64		last;
	bool		logging;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	item = PageGetItemId(page, FirstOffsetNumber);
	tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	tuple.t_len = ItemIdGetLength(item);
	sequence = (Form_pg_sequence_data) GETSTRUCT(&tuple);
	first = sequence->last_value + (sequence->is_called ? 1 : 0);
	if (pg_add_s64_overflow(first, n - 1 + LOGGED_AHEAD, &last))
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("sequence \"activate.%s\" has no more numbers", name)));
	last -= LOGGED_AHEAD;

	/* after a checkpoint anew: replay starts behind the record that was written before it */
	logging = !sequence->is_called || sequence->log_cnt < n || PageGetLSN(page) <= GetRedoRecPtr();
	if (logging && RelationNeedsWAL(rel))
		(void) GetTopTransactionId();	/* so that the commit waits for it */

	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (logging && RelationNeedsWAL(rel))
		log_as_drawn(rel, buffer, &tuple, last + LOGGED_AHEAD);
	sequence->log_cnt = logging ? LOGGED_AHEAD : sequence->log_cnt - n;
	sequence->last_value = last;
	sequence->is_called = true;
	END_CRIT_SECTION();

	UnlockReleaseBuffer(buffer);
	relation_close(rel, NoLock);
	return first;
}

/* What stands on the page until the caller says what was really drawn. */
static void
log_as_drawn(Relation rel, Buffer buffer, HeapTupleData *tuple, int64 upto)
{
	Form_pg_sequence_data sequence = (Form_pg_sequence_data) GETSTRUCT(tuple);
	xl_seq_rec	record;
	XLogRecPtr	written;

	sequence->last_value = upto;
	sequence->is_called = true;
	sequence->log_cnt = 0;
	compat_sequence_record(&record, rel);
	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(record));
	XLogRegisterData((char *) tuple->t_data, tuple->t_len);
	written = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(BufferGetPage(buffer), written);
}
