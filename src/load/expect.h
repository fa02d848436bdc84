/*
 * expect.h
 *	  How much a run has before it (internal to the room).
 */
#ifndef ACTIVATE_EXPECT_H
#define ACTIVATE_EXPECT_H

#include "catalog/sync.h"

/* How many rows the run reads in all, of which so many are read; -1: nobody knows. */
extern int64 load_expected(const Sync *sync, bool full, int64 read);

#endif							/* ACTIVATE_EXPECT_H */
