/*
 * worker.h
 *	  Inside the worker of a database: what its files share.
 */
#ifndef ACTIVATE_WORKER_H
#define ACTIVATE_WORKER_H

#include "access/transam.h"
#include "core/shared.h"
#include "nodes/pg_list.h"
#include "schedule/cron.h"

/* A sync that has a schedule at this moment, or a queue. */
typedef struct PlannedSync
{
	int64		id;
	char	   *name;			/* a queue has neither name, schedule nor ticks */
	Oid			owner;			/* InvalidOid: the role is gone */
	bool		login;			/* a runner may connect as the owner */
	char	   *schedule;
	Cron		cron;			/* points into schedule */
	TimestampTz last;			/* last tick that was answered */
	TimestampTz next;			/* CRON_FIELDS and CRON_EVERY; 0: none */
	bool		due;			/* waits for a free runner */
	TimestampTz due_since;
	TimestampTz not_before;		/* of a start that came to nothing: CRON_AFTER, queues */
	bool		model;			/* runs after what its source reads was written */
	bool		ready;			/* CRON_AFTER: it may start */
	int64	   *before;			/* order.c: syncs that go first where both are due */
	int			nbefore;
	TimestampTz ended;			/* when its last runner ended; 0: none */
	bool		queue;			/* keys for a table: see queue.c */
	int			failures;		/* of a queue, one after the other */
	FullTransactionId empty;	/* of a queue: nothing but held deletes is older */
} PlannedSync;

typedef struct WorkPlan
{
	bool		declared;		/* there is something to work for */
	bool		deliver;		/* ... and something to be delivered */
	bool		copy;			/* of another database: nothing may be done */
	List	   *syncs;			/* of PlannedSync */
	List	   *queues;			/* of PlannedSync */
} WorkPlan;

/* plan.c: what is to be run, and when */
extern bool plan_load(void);	/* false: failed (logged), the old one holds */
extern const WorkPlan *plan_current(void);
extern PlannedSync *plan_find(int64 id);	/* NULL: not planned */
extern void plan_find_due(TimestampTz now);
extern bool plan_has_chain(void);	/* is there an "after" at all */
extern void plan_find_chained(void);	/* those that may start now become due */
extern PlannedSync *plan_first_due(void);
extern TimestampTz plan_next_tick(void);	/* 0: none */

/* order.c: of syncs that are due together, who writes what another reads goes first */
extern void order_read(WorkPlan *plan);	/* as the extension, SPI connected */
extern bool order_waits(const PlannedSync *sync);
extern void order_ended(int64 sync);	/* its runner has ended */

/* queue.c: syncs to tables whose changes are captured by trigger */
extern List *queue_read(const WorkPlan *old);	/* as the extension, SPI connected */
extern void queue_find_due(bool look);	/* those that keys wait for become due */
extern void queue_ended(int64 sync, bool started, bool failed);	/* its runner has ended */

/* runners.c: the processes that run syncs */
extern void runners_adopt(void);
extern bool runners_start_due(void);	/* false: no slot for a runner */
extern bool runners_reap(void); /* true: one has ended */
extern bool runners_busy_with(int64 sync);
extern bool runners_ticked(int64 sync); /* ... because of its schedule */
extern int	runners_active(void);
extern void runners_fail_leftovers(void);

/* deliverers.c: the processes that send */
extern void deliverers_keep(SharedDatabase *slot, int wanted);
extern void deliverers_stop(void);
extern bool deliverers_any(void);

#endif							/* ACTIVATE_WORKER_H */
