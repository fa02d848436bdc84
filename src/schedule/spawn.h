/*
 * spawn.h
 *	  Starting, finding and stopping our background workers.
 */
#ifndef ACTIVATE_SPAWN_H
#define ACTIVATE_SPAWN_H

#include "postmaster/bgworker.h"

/* bgw_type of each, the backend_type in pg_stat_activity. */
#define SPAWN_LAUNCHER	"activate launcher"
#define SPAWN_WORKER	"activate worker"
#define SPAWN_RUNNER	"activate runner"
#define SPAWN_DELIVERER	"activate deliverer"
#define SPAWN_LOAD_WORKER "activate load worker"

/* What all ours begin with. */
#define SPAWN_PREFIX	"activate "

/* What the worker tells a runner, in bgw_extra. */
typedef struct RunnerOrder
{
	Oid			dboid;
	Oid			login;			/* role to connect as; InvalidOid: superuser */
	int64		sync;
	TimestampTz tick;
	bool		queued;			/* what a trigger has queued for a table; there is no tick */
} RunnerOrder;

/*
 * Starts function of our library; the calling process is told (by its latch)
 * when it starts and ends.  NULL: no slot is free, which is logged now and
 * then.  The handle is in TopMemoryContext: pfree() it.
 */
extern BackgroundWorkerHandle *spawn_worker(const char *function, const char *type, const char *name,
											Oid dboid, const void *extra, Size extra_size);

extern bool spawn_stopped(BackgroundWorkerHandle *handle);

/*
 * Pids of our processes in a database whose type begins with prefix, without
 * the calling one; how many, at most max of them are stored.
 */
extern int	spawn_find(Oid dboid, const char *prefix, pid_t *pids, int max);

/* What a database or role may have set must not change how a process of ours works. */
extern void spawn_settings(void);

/* Handlers, connection and settings that every process of this room has in common. */
extern void spawn_begin(Oid dboid, Oid role, const char *type);

/* What pg_stat_activity shows: STATE_RUNNING or STATE_IDLE by running. */
extern void spawn_report(bool running, const char *what);

/*
 * work in a transaction of its own, as the extension, with SPI connected.
 * False: it failed, was rolled back, and the error has been logged.
 */
typedef void (*SpawnWork) (void *arg);
extern bool spawn_transaction(SpawnWork work, void *arg);

#endif							/* ACTIVATE_SPAWN_H */
