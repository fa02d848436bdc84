/*
 * order.c
 *	  The order in which syncs run that are due together: who writes what
 *	  another one reads goes first, whatever lies between the two.
 *
 * Who waits, waits for each of those only until it has ended once: a sync that is
 * always due, or fails for ever, keeps nobody from running.  Syncs in a circle,
 * which a view that was replaced can bring about, do not wait for each other.
 */
#include "postgres.h"

#include "core/clock.h"
#include "executor/spi.h"
#include "schedule/worker.h"

typedef struct Edge
{
	int64		sync;
	int64		upstream;
} Edge;

/* What is upstream of a sync, as far as it was looked for. */
typedef struct Reach
{
	const Edge *edges;			/* by sync */
	int			nedges;
	int64	   *found;
	int			nfound;
} Reach;

static void reach(Reach *reach, int64 sync);
static bool reaches(const Reach *from, int64 sync, int64 wanted);

void
order_read(WorkPlan *plan)
{
	MemoryContext context = CurrentMemoryContext;
	Reach		all = {0};
	Edge	   *edges;
	ListCell   *lc;

	if (SPI_execute("SELECT sync, upstream FROM activate._upstream ORDER BY sync", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the order of the syncs");
	all.edges = edges = palloc(sizeof(Edge) * (SPI_processed + 1));
	all.nedges = SPI_processed;
	for (int i = 0; i < all.nedges; i++)
	{
		bool		isnull;

		edges[i].sync = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		edges[i].upstream = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}

	foreach(lc, plan->syncs)
	{
		PlannedSync *sync = lfirst(lc);
		Reach		up = all;
		bool		circle;

		reach(&up, sync->id);
		if (up.nfound == 0)
			continue;
		circle = reaches(&all, sync->id, sync->id);
		sync->before = MemoryContextAlloc(context, sizeof(int64) * up.nfound);
		for (int i = 0; i < up.nfound; i++)
			if (!circle || !reaches(&all, up.found[i], sync->id))
				sync->before[sync->nbefore++] = up.found[i];
	}
	MemoryContextSwitchTo(context);
}

/* All that is upstream; the sync itself only if it is in a circle. */
static void
reach(Reach *reach, int64 sync)
{
	int			next = -1;

	/* each is the upper end of an edge, once */
	reach->found = palloc(sizeof(int64) * (reach->nedges + 1));
	do
	{
		int64		from = next < 0 ? sync : reach->found[next];
		int			low = 0;
		int			high = reach->nedges;

		while (low < high)
		{
			int			middle = (low + high) / 2;

			if (reach->edges[middle].sync < from)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < reach->nedges && reach->edges[low].sync == from; low++)
		{
			int			known = 0;

			while (known < reach->nfound && reach->found[known] != reach->edges[low].upstream)
				known++;
			if (known == reach->nfound)
				reach->found[reach->nfound++] = reach->edges[low].upstream;
		}
	} while (++next < reach->nfound);
}

static bool
reaches(const Reach *from, int64 sync, int64 wanted)
{
	Reach		up = {from->edges, from->nedges, NULL, 0};
	bool		found = false;

	reach(&up, sync);
	for (int i = 0; i < up.nfound; i++)
		found = found || up.found[i] == wanted;
	pfree(up.found);
	return found;
}

/* Is one upstream due or running that has not ended since this one became due? */
bool
order_waits(const PlannedSync *sync)
{
	const List *lists[] = {plan_current()->syncs, plan_current()->queues};

	for (int l = 0; sync->nbefore > 0 && l < lengthof(lists); l++)
	{
		ListCell   *lc;

		foreach(lc, lists[l])
		{
			const PlannedSync *other = lfirst(lc);
			bool		goes_first = false;

			if ((!other->due && !runners_busy_with(other->id)) || other->ended >= sync->due_since)
				continue;
			for (int i = 0; i < sync->nbefore; i++)
				goes_first = goes_first || sync->before[i] == other->id;
			if (goes_first)
				return true;
		}
	}
	return false;
}

void
order_ended(int64 id)
{
	List	   *lists[] = {plan_current()->syncs, plan_current()->queues};

	for (int l = 0; l < lengthof(lists); l++)
	{
		ListCell   *lc;

		foreach(lc, lists[l])
		{
			PlannedSync *sync = lfirst(lc);

			if (sync->id == id)
				sync->ended = clock_now();
		}
	}
}
