/*
 * claim.c
 *	  From the outbox to messages that are ready to be sent: take in, render,
 *	  look up what was sent, decide (prepare.c).  One short transaction per sync;
 *	  nothing here waits for the network.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/merge.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* A sync's turn. */
typedef struct ClaimWork
{
	DeliverSync *sync;
	bool		claiming;		/* an error now leaves the cursor in doubt */
	bool		target_ready;
	bool		slow;			/* the statement that renders was stopped */
	int			rendered;
	char	   *broken;			/* why the sync cannot work */
	HeldWork	held;
} ClaimWork;

static void claim_work(void *arg);
static void render_fresh(ClaimWork *work);
static bool render_entries(ClaimWork *work, DeliverEntry **entries, int n, Rendered *rendered);
static bool *check_deletes(ClaimWork *work, DeliverEntry **entries, int n, const Rendered *rendered,
						   const DeliverKnown *known);

/* Ready rows that a sync is kept supplied with. */
static int
low_water(const DeliverSync *sync)
{
	OutboxOp	op = outbox_mode_op(sync->declaration->sync->mode);

	return Max(DELIVER_RENDER, 2 * deliver_sync_most(sync, op));
}

/* Can its ready rows of a class, and of those above it, become more without anything else happening? */
bool
deliver_sync_may_grow(const DeliverSync *sync, QuotaClass class, TimestampTz now)
{
	if (sync->broken || sync->rest_until > now)
		return false;
	for (int i = 0; i <= class; i++)
		if (sync->nfresh[i] > 0)
			return true;
	return sync->more && deliver_queue_window(sync) > 0;
}

/* The lowest class that is to be rendered now: each has its supply, whatever there is of lower ones; -1: none. */
static int
renders_upto(const DeliverSync *sync)
{
	int			upto = -1;

	for (int class = 0; class < QUOTA_CLASSES; class++)
		if (sync->nfresh[class] > 0 && deliver_ready_upto(sync, class) < low_water(sync))
			upto = class;
	return upto;
}

/* Before a target that refused the secret is probed, that is read again: it may stand in a file. */
static bool
secret_may_have_changed(const DeliverSync *sync, TimestampTz now)
{
	return sync->target != NULL && sync->target->state == TARGET_AUTH && !sync->target->probing &&
		sync->target->next_probe <= now && sync->loaded_at < sync->target->next_probe;
}

static bool
wants_turn(DeliverSync *sync, TimestampTz now)
{
	if (sync->broken || sync->rest_until > now)
		return false;
	if (sync->truncated || deliver_intake_wanted(sync))
		return true;
	if (deliver_fresh_total(sync) == 0)
		return false;
	if (secret_may_have_changed(sync, now))
		sync->stale = true;
	return sync->stale || sync->declaration == NULL ||
		(deliver_target_ready(sync->target, now) && renders_upto(sync) >= 0);
}

static void
after_error(ClaimWork *work, const DeliverError *error)
{
	if (work->claiming)
		deliver_queue_reread(work->sync);
	if (deliver_error_is_transient(error->sqlstate))
		deliver_sync_rest(work->sync, error);
	else
		deliver_sync_break(work->sync, error->message);
}

/*
 * A statement that takes too long comes again with fewer keys, and the sync
 * rests four times as long as it kept the others waiting.
 */
static void
adapt_render_limit(ClaimWork *work, TimestampTz started)
{
	DeliverSync *sync = work->sync;

	if (work->slow)
	{
		sync->render_limit = Max(1, Min(sync->render_limit, work->rendered) / 8);
		sync->rest_until = clock_now() + 4 * (clock_now() - started);
	}
	else if (work->rendered > 0)
		sync->render_limit = Min(DELIVER_RENDER, sync->render_limit * 2);
}

/* One turn for each sync that has something to claim or render; true: there is more at once. */
bool
deliver_claim(TimestampTz now)
{
	dlist_iter	iter;
	bool		more = false;

	if (!engine->enabled)
		return false;
	dlist_foreach(iter, &engine->all_syncs)
	{
		DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);
		ClaimWork	work = {.sync = sync};
		DeliverError error;
		TimestampTz started;

		if (deliver_asked_to_stop())
			return false;

		(void) deliver_queue_wake_due(sync, now);
		if (!wants_turn(sync, now) || !deliver_declare_load(sync))
			continue;
		work.target_ready = deliver_target_ready(sync->target, now);
		started = clock_now();
		if (!deliver_transaction(claim_work, &work, &error))
			after_error(&work, &error);
		else
		{
			sync->rests = 0;
			deliver_held_done(&work.held, sync);
			if (work.broken && sync->declaration->plan.held)
				deliver_sync_hold(sync, work.broken);
			else if (work.broken)
				deliver_sync_break(sync, work.broken);
			else
				adapt_render_limit(&work, started);
		}
		more |= wants_turn(sync, now);
	}
	return more;
}

static void
claim_work(void *arg)
{
	ClaimWork  *work = arg;
	DeliverSync *sync = work->sync;

	if (deliver_intake_wanted(sync))
	{
		work->claiming = true;
		deliver_intake(sync);
		work->claiming = false;
		if (deliver_declare_outdated())
			return;
	}
	if (sync->truncated)
		deliver_truncate_step(&work->held, sync);
	else if (work->target_ready && renders_upto(sync) >= 0)
		render_fresh(work);
}

static void
render_fresh(ClaimWork *work)
{
	DeliverSync *sync = work->sync;
	int			n = 0;
	int			most = Min(sync->render_limit, deliver_fresh_total(sync));
	DeliverEntry **entries = palloc(sizeof(DeliverEntry *) * most);
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * most);
	Rendered   *rendered = palloc0(sizeof(Rendered) * most);
	DeliverKnown *known = palloc(sizeof(DeliverKnown) * most);
	bool	   *waits;
	dlist_iter	iter;

	for (int class = 0; class <= renders_upto(sync); class++)
		dlist_foreach(iter, &sync->fresh[class])
		{
			if (n == most)
				break;
			entries[n] = dlist_container(DeliverEntry, node, iter.cur);
			keys[n] = entries[n]->hash_key.key;
			n++;
		}
	if (!render_entries(work, entries, n, rendered))
		return;
	deliver_known(sync->id, keys, n, known, CurrentMemoryContext);
	deliver_kept_apply(sync->declaration->sync, known, rendered, n);
	waits = check_deletes(work, entries, n, rendered, known);
	for (int i = 0; i < n; i++)
		if (waits == NULL || !waits[i])
			deliver_prepare(entries[i], &rendered[i], &known[i]);
}

/* Which of the entries are deletes that are held; NULL: none.  What stays fresh is forgotten after the commit. */
static bool *
check_deletes(ClaimWork *work, DeliverEntry **entries, int n, const Rendered *rendered, const DeliverKnown *known)
{
	DeliverEntry **deletes = palloc(sizeof(DeliverEntry *) * n);
	int		   *places = palloc(sizeof(int) * n);
	bool	   *found = palloc0(sizeof(bool) * n);
	bool	   *waits = palloc0(sizeof(bool) * n);
	int			count = 0;

	if (!deliver_held_applies(work->sync))
		return NULL;
	for (int i = 0; i < n; i++)
		if (!deliver_is_event(entries[i]) && !rendered[i].found && rendered[i].error == NULL &&
			(known[i].sent || entries[i]->uncertain))
		{
			places[count] = i;
			deletes[count++] = entries[i];
		}
	if (count == 0)
		return NULL;
	deliver_held_check(&work->held, work->sync, deletes, count, found);
	for (int i = 0; i < count; i++)
		waits[places[i]] = found[i];
	return waits;
}

/* Those that are no events by one statement, scattered back to their places. */
static bool
render_entries(ClaimWork *work, DeliverEntry **entries, int n, Rendered *rendered)
{
	DeliverDeclaration *declaration = work->sync->declaration;
	char	   *reason;
	Jsonb	  **keys = palloc(sizeof(Jsonb *) * n);
	int		   *places = palloc(sizeof(int) * n);
	Rendered   *out = palloc0(sizeof(Rendered) * n);
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (!deliver_is_event(entries[i]))
		{
			places[count] = i;
			keys[count++] = entries[i]->hash_key.key;
		}
	if (count == 0)
		return true;
	work->rendered = count;
	if (!deliver_render_plan(&declaration->plan, declaration->sync, keys, count, out,
							 &reason, &work->slow, CurrentMemoryContext))
	{
		/* it is told when this transaction is over */
		work->broken = MemoryContextStrdup(engine->turn, reason);
		return false;
	}
	if (work->slow && count > 1)
		return false;
	for (int i = 0; i < count; i++)
		rendered[places[i]] = out[i];
	return true;
}
