/*
 * wake.c
 *	  From the commit of an intent to who acts on it: a bit and a latch.
 *
 * A bit stands for all syncs whose id is the same modulo its count: a
 * deliverer that looks in vain loses one index probe.  Every deliverer's bits
 * are set, because which of them serves the sync's target is theirs to know.
 * Keys of syncs to tables are for the worker, who says which syncs those are.
 */
#include "postgres.h"

#include "core/shared.h"
#include "miscadmin.h"
#include "outbox/buffer.h"

#define DIRTY_BITS	(SHARED_DIRTY_WORDS * 64)

static bool wake_worker(SharedDatabase *database, const int64 *syncs, int n);

static inline int
dirty_bit(int64 sync)
{
	return (int) ((uint64) sync % DIRTY_BITS);
}

void
outbox_init(void)
{
	outbox_hooks_init();
	outbox_append_init();
}

void
outbox_wake(const int64 *syncs, int n)
{
	SharedDatabase *database;
	bool		somebody;

	if (n == 0 || ((database = shared_database(MyDatabaseId, false)) == NULL &&
				   (database = shared_database(MyDatabaseId, true)) == NULL))
		return;
	for (int d = 0; d < SHARED_DELIVERERS; d++)
	{
		for (int i = 0; i < n; i++)
		{
			int			bit = dirty_bit(syncs[i]);

			pg_atomic_fetch_or_u64(&database->dirty[d][bit / 64], UINT64CONST(1) << (bit % 64));
		}
	}

	somebody = wake_worker(database, syncs, n);

	/* pids are read without the lock: whoever registers later looks at everything first */
	for (int d = 0; d < SHARED_DELIVERERS; d++)
	{
		if (database->deliverer[d].pid != 0)
		{
			shared_wake(&database->deliverer[d]);
			somebody = true;
		}
	}
	/* a worker that is there starts who is needed; where nothing may be sent, or only for a sync that rests, nobody is */
	if (somebody || (database->worker.pid != 0 && database->dboid == MyDatabaseId))
		return;

	/* found anew, because a slot without a worker may be given to another database */
	LWLockAcquire(shared_memory()->lock, LW_EXCLUSIVE);
	database = shared_database(MyDatabaseId, true);
	if (database != NULL)
		database->wanted = true;
	LWLockRelease(shared_memory()->lock);
	if (database != NULL)
		shared_wake_launcher();
}

/* True if the worker is there, and has at least one of these applied. */
static bool
wake_worker(SharedDatabase *database, const int64 *syncs, int n)
{
	bool		wanted = false;

	for (int i = 0; i < n && !wanted; i++)
	{
		int			bit = dirty_bit(syncs[i]);

		wanted = (pg_atomic_read_u64(&database->queues[bit / 64]) & (UINT64CONST(1) << (bit % 64))) != 0;
	}
	if (!wanted || database->worker.pid == 0)
		return false;
	pg_atomic_write_u64(&database->queued, 1);
	shared_wake(&database->worker);
	return true;
}

void
outbox_serve_queues(const int64 *syncs, int n)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);
	uint64		words[SHARED_DIRTY_WORDS] = {0};

	if (database == NULL)
		return;
	for (int i = 0; i < n; i++)
	{
		int			bit = dirty_bit(syncs[i]);

		words[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
	for (int i = 0; i < SHARED_DIRTY_WORDS; i++)
		pg_atomic_write_u64(&database->queues[i], words[i]);
	/* what was queued before these bits were there told nobody */
	pg_atomic_write_u64(&database->queued, 1);
}

bool
outbox_take_queued(void)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);

	return database != NULL && pg_atomic_exchange_u64(&database->queued, 0) != 0;
}

void
outbox_take_dirty(int deliverer, uint64 *words)
{
	SharedDatabase *database = shared_database(MyDatabaseId, false);

	for (int i = 0; i < SHARED_DIRTY_WORDS; i++)
		words[i] = database == NULL ? 0 : pg_atomic_exchange_u64(&database->dirty[deliverer][i], 0);
}

bool
outbox_is_dirty(const uint64 *words, int64 sync)
{
	int			bit = dirty_bit(sync);

	return (words[bit / 64] & (UINT64CONST(1) << (bit % 64))) != 0;
}
