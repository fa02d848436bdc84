/*
 * loop.c
 *	  The life of a deliverer: notice, claim, send, wait, receive, settle.
 *
 * One pass after another, none of which waits for anything but the network
 * and the latch, together, in http_pool_turn().
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/identity.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "schedule/schedule.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* COMMIT PREPARED and plain DDL wake nobody: we look by ourselves. */
#define POLL_US		(3 * USECS_PER_SEC)
/* SEMANTICS 13: ALTER DATABASE ... SET is seen within a second. */
#define FOLLOW_US	(900 * INT64CONST(1000))
#define REPORT_US	(1 * USECS_PER_SEC)

DeliverEngine *engine = NULL;

static void engine_create(int slot, int deliverers);
static void notice(TimestampTz now);
static void poll_outbox(void);
static long time_to_wait(TimestampTz now);
static void report(TimestampTz now);

void
deliver_main(int slot, int deliverers)
{
	engine_create(slot, deliverers);
	deliver_finish_init();
	deliver_horizon_read();

	for (;;)
	{
		TimestampTz now;
		HttpRequest *request;
		bool		more;

		MemoryContextReset(engine->turn);
		MemoryContextSwitchTo(engine->turn);
		if (deliver_asked_to_stop())
		{
			deliver_finish();
			return;
		}
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			engine->stale = true;
		}

		now = clock_now();
		notice(now);
		if (engine->gone)
			return;
		if (engine->ending)
		{
			deliver_finish();
			return;
		}
		if (!dlist_is_empty(&engine->jobs))
			deliver_jobs_go(now);
		more = deliver_claim(now);
		more |= deliver_send(now) && deliver_claim(now);
		report(now);
		deliver_targets_announce();
		deliver_disk_flush(clock_now());
		(void) http_pool_turn(engine->pool, more ? 0 : time_to_wait(clock_now()));
		while ((request = http_pool_next(engine->pool)) != NULL)
			deliver_received(request);
		now = clock_now();
		deliver_call_stalls(now);
		if (deliver_settle_due(now))
			deliver_settle();
	}
}

static void
engine_create(int slot, int deliverers)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "activate deliverer", ALLOCSET_DEFAULT_SIZES);
	HASHCTL		control = {0};

	engine = MemoryContextAllocZero(context, sizeof(DeliverEngine));
	engine->context = context;
	engine->turn = AllocSetContextCreate(context, "activate turn", ALLOCSET_DEFAULT_SIZES);
	engine->outcome_context = AllocSetContextCreate(context, "activate outcomes", ALLOCSET_DEFAULT_SIZES);
	engine->slot = slot;
	engine->deliverers = Max(deliverers, 1);
	engine->database = shared_database(MyDatabaseId, true);
	engine->stale = true;
	dlist_init(&engine->all_syncs);
	dlist_init(&engine->targets);
	dlist_init(&engine->young);
	dlist_init(&engine->stalled);
	dlist_init(&engine->jobs);
	engine->max_outcomes = 2 * DELIVER_FLUSH;
	engine->outcomes = MemoryContextAlloc(context, sizeof(DeliverOutcome) * engine->max_outcomes);
	control.keysize = sizeof(int64);
	control.entrysize = sizeof(DeliverSync);
	control.hcxt = context;
	engine->syncs = hash_create("activate syncs", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	/* the settings may be raised while we live */
	engine->pool = http_pool_create(context, 2 * DELIVER_MOST_CONNECTIONS);
	MemoryContextSwitchTo(engine->turn);
	deliver_declare_init();
	deliver_render_init();
}

/* A setting that was taken back needs a new process: ours ends in order, the worker starts another. */
static void
follow_settings(void)
{
	switch (schedule_follow_settings())
	{
		case SCHEDULE_SETTINGS_SAME:
			break;
		case SCHEDULE_SETTINGS_CHANGED:
			engine->stale = true;
			break;
		case SCHEDULE_SETTINGS_RESET:
			engine->ending = true;
			break;
	}
	MemoryContextSwitchTo(engine->turn);
}

/* Also when the clock was set back, or that would rest until it has caught up. */
static bool
is_due(TimestampTz *next, TimestampTz now, int64 interval)
{
	if (*next > now && *next <= now + interval)
		return false;
	*next = now + interval;
	return true;
}

/* What has changed since the last turn: declarations, intents. */
static void
notice(TimestampTz now)
{
	uint64		words[SHARED_DIRTY_WORDS];
	bool		any = false;
	dlist_iter	iter;

	deliver_declare_refresh();
	if (engine->gone)
		return;
	if (is_due(&engine->next_follow, now, FOLLOW_US))
		follow_settings();
	outbox_take_dirty(engine->slot, words);
	for (int i = 0; i < SHARED_DIRTY_WORDS; i++)
		any |= words[i] != 0;
	if (any)
	{
		dlist_foreach(iter, &engine->all_syncs)
		{
			DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);

			if (outbox_is_dirty(words, sync->id))
				sync->more = sync->news = true;
		}
	}
	if (is_due(&engine->next_poll, now, POLL_US))
		poll_outbox();
}

static void
poll_work(void *arg)
{
	ListCell   *cell;

	if (!OidIsValid(identity_extension()))
	{
		engine->gone = true;
		return;
	}
	foreach(cell, outbox_syncs())
	{
		DeliverSync *sync = hash_search(engine->syncs, lfirst(cell), HASH_FIND, NULL);

		if (sync)
			sync->more = sync->news = true;
	}
}

static void
poll_outbox(void)
{
	DeliverError error;

	if (!deliver_transaction(poll_work, NULL, &error))
		ereport(LOG,
				(errcode(error.sqlstate),
				 errmsg("activate: could not look into the outbox: %s", error.message)));
}

static void
earlier(TimestampTz *next, TimestampTz candidate)
{
	if (candidate != 0 && candidate < *next)
		*next = candidate;
}

/* Only for what would be done then: a probe that cannot go is due all the time. */
static void
target_next(const DeliverSync *sync, TimestampTz now, TimestampTz *next)
{
	TimestampTz budget = deliver_budget_next(sync);

	TimestampTz heard = deliver_target_patience(sync->target, now);

	budget = Max(budget, sync->target->token_at);
	if (sync->target->state != TARGET_UP)
		earlier(next, Max(budget, sync->target->next_probe));
	else if (budget > now || heard > now)
		earlier(next, Max(budget, heard));
}

/* When a sync has something to do by itself. */
static void
sync_next(DeliverSync *sync, TimestampTz now, TimestampTz *next)
{
	if (sync->broken)
		return;
	earlier(next, deliver_queue_wake_due(sync, now));
	if (sync->rest_until > now)
		earlier(next, sync->rest_until);
	if (sync->target && !sync->target->paused && !sync->target->probing &&
		(deliver_sync_may_grow(sync, QUOTA_BACKFILL, now) || deliver_ready_total(sync) > 0))
		target_next(sync, now, next);
}

/* When one of the calls in flight makes room: the oldest at last, one whose target is silent before. */
static TimestampTz
call_leaves(void)
{
	TimestampTz first = dlist_head_element(DeliverCall, node, &engine->young)->sent_at + DELIVER_STALL_US;
	dlist_iter	iter;

	dlist_foreach(iter, &engine->young)
	{
		const DeliverCall *call = dlist_container(DeliverCall, node, iter.cur);

		if (engine->nactive <= 1 || call->sent_at + DELIVER_LATE_US >= first)
			break;
		if (call->target->heard_at <= call->sent_at)
			return call->sent_at + DELIVER_LATE_US;
	}
	return first;
}

/* Milliseconds until something is to be done that nobody wakes us for. */
static long
time_to_wait(TimestampTz now)
{
	TimestampTz next = Min(engine->next_poll, engine->next_follow);
	dlist_iter	iter;

	if (engine->enabled)
	{
		dlist_foreach(iter, &engine->all_syncs)
			sync_next(dlist_container(DeliverSync, all_node, iter.cur), now, &next);
	}
	earlier(&next, deliver_jobs_next());
	if (engine->send_rest_until > now)
		earlier(&next, engine->send_rest_until);
	earlier(&next, deliver_settle_next());
	earlier(&next, deliver_disk_next());

	/* connections that will be free by being stalled matter only to who waits for one */
	if (engine->nyoung >= deliver_connections && engine->nstalled < deliver_stalled_connections)
		earlier(&next, call_leaves());
	if (next <= now)
		return 0;
	return (long) Min((next - now + 999) / 1000, 60000);
}

/* For pg_stat_activity, stat_target and the cumulative statistics; not each turn. */
static void
report(TimestampTz now)
{
	bool		busy = engine->nyoung + engine->nstalled > 0 || engine->noutcomes > 0;

	if (busy != engine->busy)
	{
		pgstat_report_activity(busy ? STATE_RUNNING : STATE_IDLE,
							   busy ? "activate: delivering" : "activate: waiting for intents");
		engine->busy = busy;
	}
	if (!is_due(&engine->next_report, now, REPORT_US))
		return;
	deliver_targets_publish();
	(void) pgstat_report_stat(!busy);
}
