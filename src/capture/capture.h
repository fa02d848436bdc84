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

/*
 * Plans a run of a sync to an API: compares the source with activate._sent
 * (diff, trigger, full) or reads on from the watermark (cursor), appends what
 * differs to the outbox.  In the present transaction; the source is read as
 * the sync's owner.  chunk: only these rows (NULL: all).  Adds to the counts.
 */
extern void capture_plan(const Sync *sync, int64 run, bool full, const RunChunk *chunk, RunCounts *counts);

#endif							/* ACTIVATE_CAPTURE_H */
