/*
 * deliverers.c
 *	  The worker's side of deliverers: keep as many as are wanted.
 *
 * A deliverer is told its place and how many there are, for that decides which
 * targets are its own.  So when the number changes all of them are stopped,
 * and none is started before the last has gone: no target ever has two.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "schedule/spawn.h"
#include "schedule/worker.h"
#include "utils/timestamp.h"

/* One that lived for less is not started again at once. */
#define DELIVERER_SHORT_LIFE_MS	10000
#define DELIVERER_MIN_DELAY_MS	500
#define DELIVERER_MAX_DELAY_MS	60000

typedef struct Deliverer
{
	BackgroundWorkerHandle *handle; /* NULL: none */
	bool		stopping;
	TimestampTz started;
	TimestampTz not_before;
	int			failures;
} Deliverer;

static Deliverer deliverers[SHARED_DELIVERERS];
static int	present = 0;		/* how many each of them was told there are */

static bool deliverer_reap(Deliverer *deliverer, TimestampTz now);
static bool deliverer_lingers(SharedDatabase *slot, int place);
static void deliverer_start(int place, TimestampTz now);

void
deliverers_keep(SharedDatabase *slot, int wanted)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		any = false;

	for (int i = 0; i < SHARED_DELIVERERS; i++)
		any = !deliverer_reap(&deliverers[i], now) || any;

	if (wanted != present)
	{
		deliverers_stop();
		if (any)
			return;
		present = wanted;
	}
	for (int i = 0; i < present; i++)
		if (deliverers[i].handle == NULL && deliverers[i].not_before <= now &&
			!deliverer_lingers(slot, i))
			deliverer_start(i, now);
}

/* Also at the exit of the worker: must not fail. */
void
deliverers_stop(void)
{
	for (int i = 0; i < SHARED_DELIVERERS; i++)
	{
		if (deliverers[i].handle == NULL || deliverers[i].stopping)
			continue;
		deliverers[i].stopping = true;
		TerminateBackgroundWorker(deliverers[i].handle);
	}
}

bool
deliverers_any(void)
{
	for (int i = 0; i < SHARED_DELIVERERS; i++)
		if (deliverers[i].handle != NULL)
			return true;
	return false;
}

/* True if there is none (any more). */
static bool
deliverer_reap(Deliverer *deliverer, TimestampTz now)
{
	if (deliverer->handle == NULL)
		return true;
	if (!spawn_stopped(deliverer->handle))
		return false;

	pfree(deliverer->handle);
	deliverer->handle = NULL;
	if (deliverer->stopping || TimestampDifferenceExceeds(deliverer->started, now, DELIVERER_SHORT_LIFE_MS))
	{
		deliverer->failures = 0;
		deliverer->not_before = now;
	}
	else
	{
		long		delay = DELIVERER_MIN_DELAY_MS << Min(deliverer->failures, 7);

		deliverer->not_before = TimestampTzPlusMilliseconds(now, Min(delay, DELIVERER_MAX_DELAY_MS));
		deliverer->failures++;
	}
	deliverer->stopping = false;
	return true;
}

/* Is one at this place that a worker before us had started? */
static bool
deliverer_lingers(SharedDatabase *slot, int place)
{
	bool		lingers;

	LWLockAcquire(shared_memory()->lock, LW_SHARED);
	lingers = slot->deliverer[place].pid != 0;
	LWLockRelease(shared_memory()->lock);
	return lingers;
}

static void
deliverer_start(int place, TimestampTz now)
{
	int			order[2] = {place, present};
	char		name[BGW_MAXLEN];

	snprintf(name, sizeof(name), SPAWN_DELIVERER " %d for database %u", place, MyDatabaseId);
	deliverers[place].handle = spawn_worker("deliver_worker_main", SPAWN_DELIVERER, name,
											MyDatabaseId, order, sizeof(order));
	deliverers[place].started = now;
	deliverers[place].stopping = false;
	if (deliverers[place].handle == NULL)
		deliverers[place].not_before = TimestampTzPlusMilliseconds(now, 1000);
}
