/*
 * worker.h
 *	  Load workers: processes that load chunks of an empty table beside the
 *	  runner whose run it is.
 *
 * A load worker writes its chunk in a transaction of its own and waits, before it
 * commits, for the word of the runner, who gives it when all of them have
 * written: what is committed is then whole but for a crash within those
 * milliseconds, after which keys are there twice to be, and a comparison
 * follows.  Whatever keeps one from it (an error, a lock that is not to be had,
 * no slot) leaves its chunk to the runner, who then meets the error itself.
 *
 * The lock of the sync (sync_lock) is the runner's; who comes after it finds no
 * load worker that could still commit, or waits for the lock that that one has
 * on the table.
 */
#ifndef ACTIVATE_LOAD_WORKER_H
#define ACTIVATE_LOAD_WORKER_H

#include "catalog/sync.h"

typedef struct LoadWorker LoadWorker;

/* activate.load_workers: processes that load one table, the runner among them. */
extern int	load_workers;
extern void load_worker_init(void);

/* One that begins with this chunk at once; NULL: there is none to be had. */
extern LoadWorker *load_worker_start(const Sync *sync, const RunChunk *chunk);

/* Waits until it has written all: true; false: it cannot. */
extern bool load_worker_await(LoadWorker *worker);

/* Of one that cannot. */
extern void load_worker_end(LoadWorker *worker);

/*
 * Lets it commit, and waits until it has: true, and its rows are in the counts.
 * False: nothing of its chunk is there.
 */
extern bool load_worker_commit(LoadWorker *worker, RunCounts *counts);

/*
 * So many rows of this process's chunk are written.  Returns what the load
 * workers of this process have; in a load worker 0, and an error if the runner
 * has given up.
 */
extern int64 load_worker_rows(int64 rows);

#endif							/* ACTIVATE_LOAD_WORKER_H */
