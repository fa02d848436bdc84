/*
 * capture.h
 *	  What changed in a source: by trigger, by difference, by cursor.
 */
#ifndef ACTIVATE_CAPTURE_H
#define ACTIVATE_CAPTURE_H

#include "catalog/sync.h"

/*
 * Installs or removes what a sync's capture needs on its source (triggers).
 * Called at declaration, redeclaration and drop, as the extension's owner
 * where rights on the source are not the caller's.
 */
extern void capture_install(const Sync *sync);
extern void capture_remove(const Sync *sync);

/* Is there options.watch among the options of a sync? */
extern bool capture_watches(const Jsonb *options);

/*
 * Do queued keys say all that a change of what is watched (options.watch) has
 * changed?  True of a sync that watches nothing.  False: *table (may be NULL) is
 * a watched table whose rows take part in rows of other keys, too; its triggers
 * queue {} from now on, which is everything.
 */
extern bool capture_by_key(const Sync *sync, char **table);

/*
 * Plans a run of a sync to an API: compares the source with activate._sent
 * (diff, trigger, full) or reads on from the watermark (cursor), appends what
 * differs to the outbox.  In the present transaction; the source is read as
 * the sync's owner.  chunk: only these rows (NULL: all).  Adds to the counts.
 */
extern void capture_plan(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);

#endif							/* ACTIVATE_CAPTURE_H */
