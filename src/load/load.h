/*
 * load.h
 *	  Rows into tables: local ones and those of other foreign data wrappers,
 *	  set-based, by difference with the table itself (SEMANTICS 11).
 */
#ifndef ACTIVATE_LOAD_H
#define ACTIVATE_LOAD_H

#include "catalog/sync.h"

extern void load_init(void);

/*
 * Runs a sync to a table, as its owner, in the present transaction: compares
 * everything, and forgets what was queued for it.  chunk: only these rows
 * (NULL: all).  Adds to the counts.
 */
extern void load_run(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);

/*
 * May a first run be cut by key?  Chunks are written as they come into a table
 * that was empty when they began; it is for the run after them to compare.
 */
extern bool load_by_chunks(const Sync *sync);

/* May other processes write chunks of it at the same time?  Of one that load_by_chunks() is true for. */
extern bool load_in_parallel(const Sync *sync);

/* What is loaded so far, and what the load workers have, for who looks. */
extern void load_tell_progress(void);

/* Applies what a trigger has queued for a sync to a table, and removes it from the queue. */
extern void load_queued(const Sync *sync, int64 run, RunCounts *counts);

#endif							/* ACTIVATE_LOAD_H */
