/*
 * first.h
 *	  A run into an empty table (internal to the room).
 */
#ifndef ACTIVATE_FIRST_H
#define ACTIVATE_FIRST_H

#include "catalog/sync.h"

/* True: all is loaded and counted; false: nothing was done, there must be a comparison. */
extern bool load_first(const Sync *sync, bool full, const RunChunk *chunk, RunCounts *counts);

#endif							/* ACTIVATE_FIRST_H */
