/*
 * tick.h
 *	  When a schedule's next tick comes, in a time zone.
 */
#ifndef ACTIVATE_TICK_H
#define ACTIVATE_TICK_H

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "schedule/cron.h"

/* The zone of that name; NULL if there is none, or one that counts leap seconds. */
extern pg_tz *tick_zone(const char *name);

/* The zone of cron expressions: activate.timezone, else the server's TimeZone. */
extern pg_tz *tick_default_zone(void);

/* The first tick after a time; false: there is none (@reboot, after, end of time). */
extern bool tick_next(const Cron *cron, TimestampTz after, pg_tz *zone, TimestampTz *next);

/* ERROR 22023 with detail and the grammar as hint unless text is a schedule. */
extern void tick_parse(const char *text, Cron *cron);

#endif							/* ACTIVATE_TICK_H */
