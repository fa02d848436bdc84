/*
 * clock.c
 *	  The time as everything in activate sees it: see clock.h.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/guc.h"
#include "utils/timestamp.h"

TimestampTz
clock_now(void)
{
	return GetCurrentTimestamp() + activate_clock_offset * USECS_PER_SEC;
}
