/*
 * expect.h
 *	  How much a run has before it (internal to the room).
 */
#ifndef ACTIVATE_EXPECT_H
#define ACTIVATE_EXPECT_H

#include "catalog/sync.h"

/* How many rows the run reads from here on; -1: nobody knows. */
extern int64 load_expected(const Sync *sync, bool full);

/* Is the target, by what ANALYZE has counted, so large that it matters whether a run reads few? */
extern bool load_into_many(const Sync *sync);

/* Are so many rows few beside it? */
extern bool load_are_few(const Sync *sync, int64 rows);

#endif							/* ACTIVATE_EXPECT_H */
