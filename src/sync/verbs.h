/*
 * verbs.h
 *	  What the verbs share.  Private to the room.
 */
#ifndef ACTIVATE_VERBS_H
#define ACTIVATE_VERBS_H

#include "catalog/sync.h"
#include "fmgr.h"

/* A text argument that may not be NULL (22004); the name is for the error. */
extern char *verb_text(FunctionCallInfo fcinfo, int argument, const char *name);
extern Sync *verb_sync(FunctionCallInfo fcinfo);

/* The same, locked until the end of the transaction against runs and other declarations. */
extern Sync *verb_sync_locked(FunctionCallInfo fcinfo);

/* The same for who writes intents of it: it is not dropped before the end of the transaction. */
extern Sync *verb_sync_kept(FunctionCallInfo fcinfo);

/* Tells every session and worker, at commit, that a declaration changed. */
extern void sync_changed(void);

/* Removes what is known of the target and what is pending; how many were pending. */
extern int64 sync_forget(int64 id);

/* One bigint from a query of our own, run as the extension; args are bigint, then text. */
extern int64 verb_count(const char *query, int64 id, const char *text);

/* Is this database a copy of the one that declared its syncs (guarantee 10)?  The other refuses to go on in one. */
extern bool sync_is_copy(void);
extern void sync_refuse_copy(void);

/* Why nothing of this sync is being delivered, for people; NULL: it is. */
extern char *sync_undelivered_reason(const Sync *sync);

/* Runs it, or a chunk of it, as its owner, and adds to the counts; the run's row exists. */
extern void run_execute(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);

/* Its row, by which it is known (record.c): begun; what the transactions before this one have done; how it stands; its end. */
extern int64 run_start(const Sync *sync);
extern void run_read_counts(int64 run, RunCounts *counts);
extern void run_record(int64 run, const char *status, const RunCounts *counts, const char *error);
/* error: why it failed; NULL: it did not, counts say whether it is held */
extern void run_finish(int64 run, const RunCounts *counts, const char *error);
/* To who ran it by hand: what is held, and why nothing will be delivered. */
extern void run_report(const Sync *sync, const RunCounts *counts);

/*
 * The next chunk of a run that a runner does, and that it is done; NULL: all
 * that is left is to be done at once, as by hand.
 */
extern RunChunk *chunk_next(const Sync *sync);

/* The one after a chunk that is not done yet, ahead; NULL: what is left is less than a chunk. */
extern RunChunk *chunk_behind(const Sync *sync, const RunChunk *chunk);
extern void chunk_done(const Sync *sync, const RunChunk *chunk);

#endif							/* ACTIVATE_VERBS_H */
