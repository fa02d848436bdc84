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

#endif							/* ACTIVATE_SCHEDULE_H */
