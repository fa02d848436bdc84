/*
 * shared.h
 *	  What our processes share: who works for which database, who must wake
 *	  whom, and what running runs and targets look like at this moment.
 *
 * Only pids, process numbers, oids, counters and short names live here: no
 * pointer, no handle.  Everything is rebuilt from tables after a crash.
 * Without shared_preload_libraries shared_memory() is NULL and nothing is
 * delivered; every caller must cope with that.
 *
 * Fields are protected by SharedMemory.lock unless they say "atomic".  The
 * functions below take it themselves unless the caller holds it already.
 */
#ifndef ACTIVATE_SHARED_H
#define ACTIVATE_SHARED_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define SHARED_DATABASES	128
#define SHARED_DELIVERERS	8
#define SHARED_DIRTY_WORDS	16	/* 1024 bits: syncs hashed by id */
#define SHARED_RUNS			128
#define SHARED_TARGETS		1024

/* A process that can be woken; pid 0: nobody. */
typedef struct SharedProcess
{
	pid_t		pid;
	int			procno;
} SharedProcess;

typedef struct SharedDatabase
{
	Oid			dboid;			/* InvalidOid: slot free */
	int			blocked;		/* > 0: keep workers out, DDL is under way */
	bool		wanted;			/* launcher: have a worker look at it */
	uint64		unfit;			/* generation at which library and extension were of two versions; 0: never */
	SharedProcess worker;
	SharedProcess deliverer[SHARED_DELIVERERS];
	/* atomic; bumped at commit of each change of a declaration or target */
	pg_atomic_uint64 generation;
	/* atomic; bit (sync % 1024) set at commit of intents for that sync */
	pg_atomic_uint64 dirty[SHARED_DELIVERERS][SHARED_DIRTY_WORDS];
	/* atomic; bits of syncs to tables, whose keys the worker has applied by runners */
	pg_atomic_uint64 queues[SHARED_DIRTY_WORDS];
	/* atomic; 1: keys were queued for one of those */
	pg_atomic_uint64 queued;
	/* atomic; WAL up to there is wanted on the disk: the worker flushes it */
	pg_atomic_uint64 flush;
	/* broadcast whenever intents of this database were settled */
	ConditionVariable settled;
} SharedDatabase;

/* Progress of a running run, behind activate.stat_run.  run 0: slot free. */
typedef struct SharedRun
{
	Oid			dboid;
	int64		run;
	int64		sync;
	pid_t		pid;
	TimestampTz started_at;
	char		phase[32];
	int64		rows_read;
	int64		rows_written;
	int64		rows_expected;	/* to be read by the whole run; -1: unknown */
	int64		bytes_read;		/* from another server; -1: unknown */
} SharedRun;

typedef enum SharedTargetState
{
	TARGET_UP,
	TARGET_DOWN,
	TARGET_AUTH,
	TARGET_THROTTLED,
	TARGET_CONFIG,				/* what it says no retry mends: somebody must change something */
	TARGET_PAUSED
} SharedTargetState;

/* A target (server and user mapping) as its deliverer sees it, behind activate.stat_target. */
typedef struct SharedTarget
{
	Oid			dboid;
	Oid			server;			/* InvalidOid: slot free */
	Oid			userid;			/* of the mapping; InvalidOid: public */
	SharedTargetState state;
	TimestampTz since;
	TimestampTz next_probe;		/* 0: none */
	int			in_flight;
	int64		requests;
	int64		failures;
	char		reason[128];
} SharedTarget;

typedef struct SharedMemory
{
	LWLock	   *lock;
	SharedProcess launcher;
	TimestampTz shortage_logged;	/* when a lack of worker slots was last logged */
	SharedDatabase database[SHARED_DATABASES];
	SharedRun	run[SHARED_RUNS];
	SharedTarget target[SHARED_TARGETS];
} SharedMemory;

/* Installs the request and startup hooks; called from _PG_init under preload only. */
extern void shared_init(void);

/* NULL when the library was not preloaded. */
extern SharedMemory *shared_memory(void);

/* As activate.stat_target says it. */
extern const char *shared_target_state_name(SharedTargetState state);

/* This database's slot; create: take a free one (NULL if none is left). */
extern SharedDatabase *shared_database(Oid dboid, bool create);

/* Waking: no-ops for a process that is not there. */
extern void shared_wake(SharedProcess *process);
extern void shared_wake_launcher(void);
extern void shared_set_process(SharedProcess *process);	/* to the calling process */
extern void shared_clear_process(SharedProcess *process);	/* if it is the calling process */

/* Asks the worker of the database for WAL up to there on the disk, and does not wait; what the worker does about it. */
extern void shared_ask_flush(SharedDatabase *database, XLogRecPtr upto);
extern void shared_flush(SharedDatabase *database);

/*
 * At commit of the present transaction (nothing on abort): bump the
 * database's generation, mark it wanted, wake launcher, worker and deliverers.
 * Call it after every change of a declaration, target or setting of ours.
 */
extern void shared_announce_at_commit(void);

#endif							/* ACTIVATE_SHARED_H */
