/*
 * schedule.h
 *	  Who works when: launcher, a worker per database, runners and deliverers;
 *	  the cron grammar; keeping workers out of the way of database DDL.
 */
#ifndef ACTIVATE_SCHEDULE_H
#define ACTIVATE_SCHEDULE_H

#include "datatype/timestamp.h"

extern void schedule_guc_init(void);	/* settings; always */
extern void schedule_init(void);		/* launcher and hooks; under preload only */

/*
 * What ALTER DATABASE and ALTER ROLE ... SET say, followed by a process that
 * lives longer than a session: call it about once a second, outside of a
 * transaction.  SCHEDULE_SETTINGS_RESET: one of ours was taken back, which a
 * running process cannot follow: end, and be started anew.
 */
typedef enum ScheduleSettings
{
	SCHEDULE_SETTINGS_SAME,
	SCHEDULE_SETTINGS_CHANGED,
	SCHEDULE_SETTINGS_RESET
} ScheduleSettings;

extern ScheduleSettings schedule_follow_settings(void);

#endif							/* ACTIVATE_SCHEDULE_H */
