/*
 * settle.c
 *	  Outcomes of hundreds of messages, written by one transaction.
 *
 * Until it has committed, the entries stay where they are: if the transaction
 * fails for a reason that will pass, it is repeated; if one of the outcomes
 * cannot be written at all, halving finds it and its sync is paused.  If
 * somebody keeps rows of a sync locked, only the outcomes of that sync wait.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "storage/condition_variable.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

typedef struct SettleRange
{
	DeliverOutcome *outcomes;
	int			n;
} SettleRange;

static void settle_range(SettleRange range);
static void settle_locked(SettleRange range, const DeliverError *error);
static void settle_by_sync(SettleRange range);
static void keep_unsettled(void);
static void settle_work(void *arg);
static void apply_outcome(DeliverOutcome *outcome);

DeliverOutcome *
deliver_outcome(DeliverEntry *entry, OutcomeKind kind)
{
	DeliverOutcome *outcome;

	if (engine->noutcomes == engine->max_outcomes)
	{
		engine->max_outcomes *= 2;
		engine->outcomes = repalloc(engine->outcomes, sizeof(DeliverOutcome) * engine->max_outcomes);
	}
	outcome = &engine->outcomes[engine->noutcomes++];
	memset(outcome, 0, sizeof(*outcome));
	outcome->kind = kind;
	outcome->sync = entry->sync->id;
	outcome->op = entry->op;
	outcome->has_id = true;
	memcpy(outcome->id, kind == OUTCOME_OVERTAKEN ? entry->tried_id : entry->id, DELIVER_ID_LEN);
	if (kind < OUTCOME_NOTED)
	{
		outcome->entry = entry;
		outcome->key = entry->hash_key.key;
	}
	else
	{
		outcome->key = MemoryContextAlloc(engine->outcome_context, VARSIZE(entry->hash_key.key));
		memcpy(outcome->key, entry->hash_key.key, VARSIZE(entry->hash_key.key));
	}
	outcome->at = clock_now();
	outcome->latency_us = -1;
	if (engine->noutcomes == engine->nlocked + 1)
		engine->oldest_outcome = outcome->at;
	return outcome;
}

/*
 * Has it gone under a number above those of its intents, and leaves no row of
 * _sent that tells?  An intent of the key may have been enqueued before that
 * number was drawn, and be committed yet: no key without such a row goes below.
 */
bool
deliver_outcome_raised(const DeliverOutcome *outcome)
{
	return ((outcome->kind == OUTCOME_DELIVERED && outcome->op == OUTBOX_DELETE) || outcome->kind == OUTCOME_REJECTED) &&
		outcome->has_id && outcome->entry->seq > deliver_entry_last_id(outcome->entry);
}

/* code may be "" or NULL; reason is copied. */
void
deliver_outcome_reason(DeliverOutcome *outcome, const char *code, const char *reason)
{
	strlcpy(outcome->code, code ? code : "", sizeof(outcome->code));
	outcome->reason = reason ? MemoryContextStrdup(engine->outcome_context, reason) : NULL;
}

/* Which outcome is the first that may be written now: before it are those that are locked. */
static int
settle_from(TimestampTz now)
{
	return engine->locked_until > now ? engine->nlocked : 0;
}

/* When enough has come together, the oldest waits for too long, or there is nothing to wait for. */
bool
deliver_settle_due(TimestampTz now)
{
	int			n = engine->noutcomes - settle_from(now);

	if (n == 0 || engine->settle_rest_until > now)
		return false;
	return n >= DELIVER_FLUSH || http_pool_in_flight(engine->pool) == 0 ||
		now - engine->oldest_outcome >= DELIVER_FLUSH_US;
}

/* When that will be by itself; 0: there is nothing to write. */
TimestampTz
deliver_settle_next(void)
{
	if (engine->noutcomes == 0)
		return 0;
	return Max(engine->noutcomes > engine->nlocked ? engine->oldest_outcome + DELIVER_FLUSH_US : engine->locked_until,
			   engine->settle_rest_until);
}

void
deliver_settle(void)
{
	SettleRange locked = {engine->outcomes, engine->nlocked};
	SettleRange others = {engine->outcomes + engine->nlocked, engine->noutcomes - engine->nlocked};
	bool		unlocked = settle_from(clock_now()) == 0;

	if (engine->noutcomes == 0)
		return;
	/* whoever sees that something is settled sees what its target is like now */
	deliver_targets_publish();
	if (unlocked && locked.n > 0)
		settle_by_sync(locked);
	if (others.n > 0)
		settle_range(others);
	keep_unsettled();
	ConditionVariableBroadcast(&engine->database->settled);
}

/* What could not be settled now has kept its kind; what is locked goes first. */
static void
keep_unsettled(void)
{
	int			n = engine->noutcomes;
	DeliverOutcome *all = memcpy(palloc(sizeof(DeliverOutcome) * n), engine->outcomes, sizeof(DeliverOutcome) * n);

	engine->noutcomes = 0;
	for (int i = 0; i < n; i++)
		if (!all[i].settled && all[i].locked)
			engine->outcomes[engine->noutcomes++] = all[i];
	engine->nlocked = engine->noutcomes;
	for (int i = 0; i < n; i++)
		if (!all[i].settled && !all[i].locked)
			engine->outcomes[engine->noutcomes++] = all[i];
	if (engine->nlocked == 0)
		engine->locked_rests = 0;
	if (engine->noutcomes == 0)
		MemoryContextReset(engine->outcome_context);
	pfree(all);
}

/* Again later: one line in the log, and ever more seldom. */
static void
settle_later(SettleRange range, const DeliverError *error, int *rests, TimestampTz *until)
{
	if ((*rests)++ == 0 && !deliver_asked_to_stop())
		ereport(LOG,
				(errcode(error->sqlstate),
				 errmsg("activate: outcomes of %d messages wait to be written: %s", range.n, error->message)));
	*until = clock_now() + Min(*rests, 30) * USECS_PER_SEC / 3;
}

/* Somebody has written the row of a key since we looked for it (a run that counts it as sent): now it is found. */
static bool
settle_once(SettleRange *range, DeliverError *error)
{
	return deliver_transaction(settle_work, range, error) ||
		(error->sqlstate == ERRCODE_UNIQUE_VIOLATION && deliver_transaction(settle_work, range, error));
}

static void
settle_range(SettleRange range)
{
	DeliverError error;

	if (settle_once(&range, &error))
	{
		for (int i = 0; i < range.n; i++)
			apply_outcome(&range.outcomes[i]);
		engine->settle_rests = 0;
		deliver_disk_settled(clock_now());
	}
	else if (error.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE)
		settle_locked(range, &error);
	else if (deliver_error_is_transient(error.sqlstate))
		settle_later(range, &error, &engine->settle_rests, &engine->settle_rest_until);
	else if (range.n > 1)
	{
		SettleRange first = {range.outcomes, range.n / 2};
		SettleRange second = {range.outcomes + range.n / 2, range.n - range.n / 2};

		settle_range(first);
		if (engine->settle_rest_until <= clock_now())
			settle_range(second);
	}
	else
	{
		DeliverEntry *entry = range.outcomes[0].entry;

		/* its intents stay in the outbox */
		range.outcomes[0].settled = true;
		deliver_job_settled(range.outcomes[0].job);
		if (entry != NULL)
		{
			DeliverSync *sync = entry->sync;

			deliver_entry_fresh(entry, false);
			deliver_sync_break(sync, error.message);
		}
	}
}

/* A transaction left open, after activate_discard() perhaps, is the affair of its sync only. */
static void
settle_locked(SettleRange range, const DeliverError *error)
{
	for (int i = 1; i < range.n; i++)
		if (range.outcomes[i].sync != range.outcomes[0].sync)
		{
			settle_by_sync(range);
			return;
		}
	for (int i = 0; i < range.n; i++)
		range.outcomes[i].locked = true;
	settle_later(range, error, &engine->locked_rests, &engine->locked_until);
}

/* The outcomes of each sync by themselves, in their order. */
static void
settle_by_sync(SettleRange range)
{
	DeliverOutcome *all = memcpy(palloc(sizeof(DeliverOutcome) * range.n), range.outcomes,
								 sizeof(DeliverOutcome) * range.n);
	bool	   *taken = palloc0(sizeof(bool) * range.n);
	int			n = 0;

	for (int i = 0; i < range.n; i++)
	{
		SettleRange part = {range.outcomes + n, 0};

		for (int j = i; j < range.n && !taken[i]; j++)
			if (!taken[j] && all[j].sync == all[i].sync)
			{
				part.outcomes[part.n++] = all[j];
				taken[j] = j > i;
			}
		n += part.n;
		if (part.n > 0 && engine->settle_rest_until <= clock_now())
			settle_range(part);
	}
	pfree(taken);
	pfree(all);
}

static void
settle_work(void *arg)
{
	const SettleRange *range = arg;

	deliver_record(range->outcomes, range->n);
}

/* Committed. */
static void
apply_outcome(DeliverOutcome *outcome)
{
	DeliverEntry *entry = outcome->entry;

	outcome->settled = true;
	deliver_job_settled(outcome->job);
	if (entry == NULL)
		return;
	if (deliver_outcome_raised(outcome))
		entry->sync->least_seq = Max(entry->sync->least_seq, entry->seq);
	if (outcome->kind < OUTCOME_RETRIED)
		deliver_entry_done(entry);
	else
		deliver_entry_wait(entry, outcome->due_at);
}
