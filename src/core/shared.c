/*
 * shared.c
 *	  Shared memory of activate's processes: see shared.h.
 *
 * Locks: SharedMemory.lock protects every field that is not atomic.  The
 * functions here take it themselves, and may also be called with it held
 * (exclusively, where they change something); none of them calls back.
 * Latches are set while the lock is held, so that a slot cannot change hands
 * in between; a spurious wake of somebody else would be harmless anyway.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "core/compat.h"
#include "core/shared.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define SHARED_TRANCHE	"activate"

static SharedMemory *shared = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static bool announce_pending = false;

static void shared_request(void);
static void shared_startup(void);
static void shared_reset_database(SharedDatabase *database, Oid dboid);
static bool shared_acquire(LWLockMode mode);
static void shared_release(bool acquired);
static void shared_forget_me(int code, Datum arg);
static void shared_xact_callback(XactEvent event, void *arg);
static void shared_announce(void);

void
shared_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shared_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shared_startup;
}

SharedMemory *
shared_memory(void)
{
	return shared;
}

static void
shared_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedMemory)));
	RequestNamedLWLockTranche(SHARED_TRANCHE, 1);
}

static void
shared_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("activate", sizeof(SharedMemory), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedMemory));
		shared->lock = &GetNamedLWLockTranche(SHARED_TRANCHE)->lock;
		for (int i = 0; i < SHARED_DATABASES; i++)
		{
			SharedDatabase *database = &shared->database[i];

			pg_atomic_init_u64(&database->generation, 0);
			for (int w = 0; w < SHARED_DIRTY_WORDS; w++)
			{
				for (int d = 0; d < SHARED_DELIVERERS; d++)
					pg_atomic_init_u64(&database->dirty[d][w], 0);
				pg_atomic_init_u64(&database->queues[w], 0);
			}
			pg_atomic_init_u64(&database->queued, 0);
			pg_atomic_init_u64(&database->flush, 0);
			ConditionVariableInit(&database->settled);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

SharedDatabase *
shared_database(Oid dboid, bool create)
{
	SharedDatabase *free_slot = NULL;
	SharedDatabase *result = NULL;
	bool		acquired;

	if (shared == NULL || !OidIsValid(dboid))
		return NULL;

	acquired = shared_acquire(create ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < SHARED_DATABASES && result == NULL; i++)
	{
		SharedDatabase *database = &shared->database[i];

		if (database->dboid == dboid)
			result = database;
		else if (!OidIsValid(database->dboid) && free_slot == NULL)
			free_slot = database;
	}
	if (result == NULL && create && free_slot != NULL)
	{
		shared_reset_database(free_slot, dboid);
		result = free_slot;
	}
	shared_release(acquired);
	return result;
}

/* A slot may have served another database before; its condition variable stays. */
static void
shared_reset_database(SharedDatabase *database, Oid dboid)
{
	database->blocked = 0;
	database->wanted = false;
	database->unfit = 0;
	memset(&database->worker, 0, sizeof(database->worker));
	memset(database->deliverer, 0, sizeof(database->deliverer));
	pg_atomic_write_u64(&database->generation, 1);
	for (int w = 0; w < SHARED_DIRTY_WORDS; w++)
	{
		for (int d = 0; d < SHARED_DELIVERERS; d++)
			pg_atomic_write_u64(&database->dirty[d][w], 0);
		pg_atomic_write_u64(&database->queues[w], 0);
	}
	pg_atomic_write_u64(&database->queued, 0);
	pg_atomic_write_u64(&database->flush, 0);
	database->dboid = dboid;
}

void
shared_wake(SharedProcess *process)
{
	bool		acquired;

	if (shared == NULL || process == NULL)
		return;
	acquired = shared_acquire(LW_SHARED);
	if (process->pid != 0)
		SetLatch(&ProcGlobal->allProcs[process->procno].procLatch);
	shared_release(acquired);
}

void
shared_wake_launcher(void)
{
	if (shared != NULL)
		shared_wake(&shared->launcher);
}

void
shared_ask_flush(SharedDatabase *database, XLogRecPtr upto)
{
	uint64		before = pg_atomic_read_u64(&database->flush);

	while (before < upto && !pg_atomic_compare_exchange_u64(&database->flush, &before, upto))
		;
	shared_wake(&database->worker);
}

void
shared_flush(SharedDatabase *database)
{
	XLogFlush(pg_atomic_read_u64(&database->flush));
}

void
shared_set_process(SharedProcess *process)
{
	static bool registered = false;
	bool		acquired;

	if (shared == NULL || process == NULL)
		return;

	/* Before the slot is taken: else an exit in between would leave it behind. */
	if (!registered)
	{
		before_shmem_exit(shared_forget_me, (Datum) 0);
		registered = true;
	}

	acquired = shared_acquire(LW_EXCLUSIVE);
	process->pid = MyProcPid;
	process->procno = compat_my_procno();
	shared_release(acquired);
}

void
shared_clear_process(SharedProcess *process)
{
	bool		acquired;

	if (shared == NULL || process == NULL)
		return;
	acquired = shared_acquire(LW_EXCLUSIVE);
	if (process->pid == MyProcPid)
	{
		process->pid = 0;
		process->procno = 0;
	}
	shared_release(acquired);
}

/*
 * Whatever ends this process, nobody must go on waking or counting on it.  A
 * worker that dies of an ERROR comes here without having released its locks.
 */
static void
shared_forget_me(int code, Datum arg)
{
	LWLockReleaseAll();
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared_clear_process(&shared->launcher);
	for (int i = 0; i < SHARED_DATABASES; i++)
	{
		SharedDatabase *database = &shared->database[i];

		shared_clear_process(&database->worker);
		for (int d = 0; d < SHARED_DELIVERERS; d++)
			shared_clear_process(&database->deliverer[d]);
	}
	for (int i = 0; i < SHARED_RUNS; i++)
		if (shared->run[i].pid == MyProcPid)
			memset(&shared->run[i], 0, sizeof(SharedRun));
	LWLockRelease(shared->lock);
}

/* True if we took the lock; false if the caller holds it already. */
static bool
shared_acquire(LWLockMode mode)
{
	if (LWLockHeldByMe(shared->lock))
	{
		Assert(mode == LW_SHARED || LWLockHeldByMeInMode(shared->lock, LW_EXCLUSIVE));
		return false;
	}
	LWLockAcquire(shared->lock, mode);
	return true;
}

static void
shared_release(bool acquired)
{
	if (acquired)
		LWLockRelease(shared->lock);
}

void
shared_announce_at_commit(void)
{
	static bool registered = false;

	if (shared == NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(shared_xact_callback, NULL);
		registered = true;
	}
	announce_pending = true;
}

/*
 * At PREPARE the flag goes with the session's transaction: the announcement
 * then is early, and nobody announces at COMMIT PREPARED, but who is woken
 * now looks again at its next safety poll.  A subtransaction's abort keeps the
 * flag; a needless look costs less than bookkeeping.
 */
static void
shared_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (announce_pending)
			{
				announce_pending = false;
				shared_announce();
			}
			break;
		case XACT_EVENT_ABORT:
			announce_pending = false;
			break;
		default:
			break;
	}
}

const char *
shared_target_state_name(SharedTargetState state)
{
	static const char *const names[] = {
		[TARGET_UP] = "up",
		[TARGET_DOWN] = "down",
		[TARGET_AUTH] = "auth",
		[TARGET_THROTTLED] = "throttled",
		[TARGET_CONFIG] = "config",
		[TARGET_PAUSED] = "paused",
	};

	return names[state];
}

/* Called when the transaction has committed: must not fail. */
static void
shared_announce(void)
{
	SharedDatabase *database;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	database = shared_database(MyDatabaseId, true);
	if (database != NULL)
	{
		pg_atomic_fetch_add_u64(&database->generation, 1);
		database->wanted = true;
		shared_wake(&database->worker);
		for (int d = 0; d < SHARED_DELIVERERS; d++)
			shared_wake(&database->deliverer[d]);
	}
	shared_wake_launcher();
	LWLockRelease(shared->lock);
}
