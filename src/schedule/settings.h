/*
 * settings.h
 *	  The settings that the scheduler obeys.
 */
#ifndef ACTIVATE_SETTINGS_H
#define ACTIVATE_SETTINGS_H

#include "nodes/pg_list.h"
#include "schedule/cron.h"

extern char *schedule_timetable;	/* activate.schedule */
extern char *schedule_timezone; /* activate.timezone */
extern int	schedule_runners;	/* activate.runners */
extern int	schedule_deliverers;	/* activate.deliverers */

typedef struct TimetableEntry
{
	char	   *name;			/* of a sync */
	char	   *schedule;		/* checked; may be "off" */
} TimetableEntry;

/* The entries of a timetable, in order, palloc'd; false: error is filled. */
extern bool settings_read_timetable(const char *text, List **entries, CronError *error);

#endif							/* ACTIVATE_SETTINGS_H */
