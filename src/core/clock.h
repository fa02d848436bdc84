/*
 * clock.h
 *	  The time as everything in activate sees it.
 *
 * Tests move it by the hidden setting activate.clock_offset, so that nothing
 * has to wait for a real hour to pass.
 */
#ifndef ACTIVATE_CLOCK_H
#define ACTIVATE_CLOCK_H

#include "datatype/timestamp.h"

extern TimestampTz clock_now(void);

#endif							/* ACTIVATE_CLOCK_H */
