/*
 * worker.c
 *	  Both sides of a load worker: see worker.h.
 *
 * They speak through a segment of shared memory, one for each, that goes with
 * whoever of the two ends first: then the other finds out by its latch.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/progress.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/mem.h"
#include "load/load.h"
#include "load/worker.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "schedule/spawn.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#define MAX_WORKERS		16

/* How often who waits looks at what moves without a latch: rows, and the runner's locks. */
#define LOOK_MS			200

/* How long a load worker waits for a lock: its runner may hold up who it waits for. */
#define LOCK_TIMEOUT	"1s"

typedef enum WorkerState
{
	WORKER_WRITES,
	WORKER_READY,				/* all is written and not committed */
	WORKER_COMMITTED,
	WORKER_GONE
} WorkerState;

typedef enum WorkerWord
{
	WORD_NONE,
	WORD_COMMIT,
	WORD_ROLLBACK
} WorkerWord;

/* What both see. */
typedef struct Shared
{
	pg_atomic_uint32 state;		/* the load worker's, WorkerState */
	pg_atomic_uint32 word;		/* who sets it first decides, WorkerWord */
	pg_atomic_uint64 rows;
	pg_atomic_uint64 bytes;
	PGPROC	   *runner;
	Latch	   *latch_of_runner;
	Latch	   *latch_of_worker;	/* NULL: not begun */
	int64		sync;
	int64		inserted;		/* when ready */
	char		condition[FLEXIBLE_ARRAY_MEMBER];
} Shared;

/* In bgw_extra. */
typedef struct WorkerOrder
{
	Oid			dboid;
	Oid			login;			/* role to connect as; InvalidOid: superuser */
	dsm_handle	segment;
} WorkerOrder;

struct LoadWorker
{
	BackgroundWorkerHandle *handle;
	dsm_segment *segment;
	Shared	   *shared;
	int64		told;			/* bytes, counted as the runner's */
};

int			load_workers = 2;

/* Those of this process, for load_worker_rows(). */
static LoadWorker *started[MAX_WORKERS];

/* In a load worker. */
static Shared *mine = NULL;

extern PGDLLEXPORT void load_worker_main(Datum main_arg);

static void runner_is_gone(dsm_segment *segment, Datum worker);
static void worker_is_gone(dsm_segment *segment, Datum shared);
static bool decide(Shared *shared, WorkerWord word);
static WorkerState state_of(LoadWorker *worker);
static void wait_while(LoadWorker *worker, WorkerState state);
static void take(void);
static void write_chunk(void);
static bool may_commit(void);
static void tell(WorkerState state);

void
load_worker_init(void)
{
	DefineCustomIntVariable("activate.load_workers",
							"Processes that load one large table at the same time, when it is empty.",
							"The runner is one of them.",
							&load_workers, 2, 1, MAX_WORKERS,
							PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
free_handle(void *handle)
{
	pfree(handle);
}

LoadWorker *
load_worker_start(const Sync *sync, const RunChunk *chunk)
{
	LoadWorker *worker = palloc0(sizeof(LoadWorker));
	WorkerOrder order = {.dboid = MyDatabaseId};
	Shared	   *shared;
	char		name[BGW_MAXLEN];
	int			slot = 0;

	while (slot < MAX_WORKERS && started[slot] != NULL)
		slot++;
	if (slot == MAX_WORKERS)
		return NULL;
	worker->segment = dsm_create(offsetof(Shared, condition) + strlen(chunk->condition) + 1, DSM_CREATE_NULL_IF_MAXSEGMENTS);
	if (worker->segment == NULL)
		return NULL;
	worker->shared = shared = dsm_segment_address(worker->segment);
	memset(shared, 0, sizeof(Shared));
	pg_atomic_init_u32(&shared->state, WORKER_WRITES);
	pg_atomic_init_u32(&shared->word, WORD_NONE);
	pg_atomic_init_u64(&shared->rows, 0);
	pg_atomic_init_u64(&shared->bytes, 0);
	shared->runner = MyProc;
	shared->latch_of_runner = MyLatch;
	shared->sync = sync->id;
	strcpy(shared->condition, chunk->condition);

	/* as this process, which is a runner: as the owner, or by the superuser where that one may not log in */
	order.login = GetSessionUserId() == sync->owner ? sync->owner : InvalidOid;
	order.segment = dsm_segment_handle(worker->segment);
	snprintf(name, sizeof(name), SPAWN_LOAD_WORKER " for sync " INT64_FORMAT, sync->id);
	worker->handle = spawn_worker("load_worker_main", SPAWN_LOAD_WORKER, name, MyDatabaseId, &order, sizeof(order));
	if (worker->handle == NULL)
	{
		dsm_detach(worker->segment);
		return NULL;
	}
	mem_adopt(CurrentMemoryContext, worker->handle, free_handle);
	started[slot] = worker;
	on_dsm_detach(worker->segment, runner_is_gone, PointerGetDatum(worker));
	return worker;
}

/* It, or its transaction: when all is well, its load workers are, too. */
static void
runner_is_gone(dsm_segment *segment, Datum arg)
{
	LoadWorker *worker = (LoadWorker *) DatumGetPointer(arg);

	for (int i = 0; i < MAX_WORKERS; i++)
		if (started[i] == worker)
			started[i] = NULL;
	/* it may wait for its source, and would look at no word before that has answered */
	if (decide(worker->shared, WORD_ROLLBACK) && state_of(worker) == WORKER_WRITES)
		TerminateBackgroundWorker(worker->handle);
}

/* True: so it is; false: it is decided otherwise. */
static bool
decide(Shared *shared, WorkerWord word)
{
	uint32		before = WORD_NONE;
	Latch	   *latch;
	bool		done = pg_atomic_compare_exchange_u32(&shared->word, &before, word) || before == word;

	pg_memory_barrier();
	latch = shared->latch_of_worker;
	if (latch != NULL)
		SetLatch(latch);
	return done;
}

/* One that could not begin, or that died, says nothing itself. */
static WorkerState
state_of(LoadWorker *worker)
{
	bool		stopped = spawn_stopped(worker->handle);
	WorkerState state;

	pg_memory_barrier();
	state = pg_atomic_read_u32(&worker->shared->state);
	return stopped && state != WORKER_COMMITTED ? WORKER_GONE : state;
}

static void
wait_while(LoadWorker *worker, WorkerState state)
{
	while (state_of(worker) == state)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		load_tell_progress();
	}
}

bool
load_worker_await(LoadWorker *worker)
{
	wait_while(worker, WORKER_WRITES);
	return state_of(worker) == WORKER_READY;
}

void
load_worker_end(LoadWorker *worker)
{
	dsm_detach(worker->segment);
}

bool
load_worker_commit(LoadWorker *worker, RunCounts *counts)
{
	Shared	   *shared = worker->shared;
	bool		done = false;

	if (state_of(worker) == WORKER_READY && decide(shared, WORD_COMMIT))
	{
		wait_while(worker, WORKER_READY);
		done = state_of(worker) == WORKER_COMMITTED;
	}
	if (done)
	{
		counts->read += shared->inserted;
		counts->inserted += shared->inserted;
		progress_bytes(pg_atomic_read_u64(&shared->bytes) - worker->told);
	}
	dsm_detach(worker->segment);
	return done;
}

int64
load_worker_rows(int64 rows)
{
	int64		others = 0;

	if (mine != NULL)
	{
		pg_atomic_write_u64(&mine->rows, rows);
		pg_atomic_write_u64(&mine->bytes, progress_bytes_read());
		if (pg_atomic_read_u32(&mine->word) == WORD_ROLLBACK)
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the run has ended that this load worker works for")));
		return 0;
	}
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		int64		bytes;

		if (started[i] == NULL)
			continue;
		others += pg_atomic_read_u64(&started[i]->shared->rows);
		bytes = pg_atomic_read_u64(&started[i]->shared->bytes);
		if (bytes > started[i]->told)
			progress_bytes(bytes - started[i]->told);
		started[i]->told = bytes;
	}
	return others;
}

/* ---- in the load worker ---- */

void
load_worker_main(Datum main_arg)
{
	WorkerOrder order;
	dsm_segment *segment;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	spawn_begin(order.dboid, order.login, SPAWN_LOAD_WORKER);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);

	CurrentResourceOwner = ResourceOwnerCreate(NULL, SPAWN_LOAD_WORKER);
	segment = dsm_attach(order.segment);
	if (segment == NULL)
		proc_exit(0);			/* the runner was faster */
	dsm_pin_mapping(segment);
	mine = dsm_segment_address(segment);
	on_dsm_detach(segment, worker_is_gone, PointerGetDatum(mine));
	mine->latch_of_worker = MyLatch;
	pg_memory_barrier();
	take();
	pgstat_report_stat(true);
	proc_exit(0);
}

static void
worker_is_gone(dsm_segment *segment, Datum arg)
{
	Shared	   *shared = (Shared *) DatumGetPointer(arg);

	if (pg_atomic_read_u32(&shared->state) != WORKER_COMMITTED)
		pg_atomic_write_u32(&shared->state, WORKER_GONE);
	pg_memory_barrier();
	SetLatch(shared->latch_of_runner);
}

static void
take(void)
{
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		write_chunk();
		PopActiveSnapshot();
		tell(WORKER_READY);
		if (may_commit())
		{
			CommitTransactionCommand();
			tell(WORKER_COMMITTED);
		}
		else
			AbortCurrentTransaction();
	}
	PG_CATCH();
	{
		/* the runner does it then, and says what is wrong if something is */
		if (message_level_is_interesting(DEBUG1))
			EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
}

static void
write_chunk(void)
{
	RunChunk	chunk = {.condition = mine->condition, .ahead = true, .beside = true};
	RunCounts	counts = {0};
	Sync	   *sync = sync_load(mine->sync, CurrentMemoryContext);

	if (sync == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the sync was dropped that this load worker works for")));
	spawn_report(true, psprintf("loading a chunk of sync \"%s\"", sync->name));
	load_run(sync, 0, false, &chunk, &counts);
	identity_fire_deferred();
	mine->inserted = counts.inserted;
}

/*
 * Waits for the runner.  It may wait itself, for a lock that somebody waits for
 * whom this transaction holds up: no deadlock that anybody would find, so who
 * sees it waiting twice in a row gives way.
 */
static bool
may_commit(void)
{
	bool		waited = false;

	for (;;)
	{
		WorkerWord	word = pg_atomic_read_u32(&mine->word);
		bool		waits = mine->runner->waitLock != NULL;

		if (word != WORD_NONE)
			return word == WORD_COMMIT;
		if (waits && waited && decide(mine, WORD_ROLLBACK))
			return false;
		waited = waits;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
tell(WorkerState state)
{
	pg_memory_barrier();
	pg_atomic_write_u32(&mine->state, state);
	pg_memory_barrier();
	SetLatch(mine->latch_of_runner);
}
