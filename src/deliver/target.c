/*
 * target.c
 *	  Targets (server and user mapping): may they be called now?  SEMANTICS 9.
 *
 * docs/deliver.md has the diagram.  A target that is not up is probed by one
 * call when next_probe has come; any answer that says the target is alive
 * brings it back.  Each change of state is one line in the log.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "core/clock.h"
#include "deliver/engine.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* SEMANTICS 9: so many failures of at least two keys, and none succeeded since. */
#define FAILURES_TO_BE_DOWN 5

/* Of a target that waits for somebody to change something. */
#define REFUSED_PROBE_US	(60 * USECS_PER_SEC)

/* A Retry-After beyond this is taken for a mistake. */
#define LONGEST_THROTTLE_MS	INT64CONST(86400000)

static const char *const state_names[] = {"up", "down", "unauthorized", "throttled", "misconfigured"};

static bool target_refuses(const DeliverTarget *target);
static void target_change(DeliverTarget *target, SharedTargetState state, const char *reason);
static void target_changed(DeliverTarget *target);
static void target_publish(DeliverTarget *target);
static void targets_withdraw(int code, Datum arg);

DeliverTarget *
deliver_target_get(Oid server, Oid userid, const char *name)
{
	Oid			key[2] = {server, userid};
	DeliverTarget **place;
	bool		found;

	if (engine->targets_by_key == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(key);
		control.entrysize = sizeof(key) + sizeof(void *);
		control.hcxt = engine->context;
		engine->targets_by_key = hash_create("activate targets", 64, &control,
											 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		before_shmem_exit(targets_withdraw, (Datum) 0);
	}
	place = (DeliverTarget **) ((char *) hash_search(engine->targets_by_key, key, HASH_ENTER, &found) + sizeof(key));
	if (!found)
	{
		DeliverTarget *target = MemoryContextAllocZero(engine->context, sizeof(DeliverTarget));

		target->server = server;
		target->userid = userid;
		target->state = TARGET_UP;
		target->since = clock_now();
		target->slot = -1;
		target->earned = DELIVER_FIRST_CALLS;
		target->unpublished = true;
		dlist_init(&target->syncs);
		dlist_push_tail(&engine->targets, &target->node);
		*place = target;
	}
	strlcpy((*place)->name, name, sizeof((*place)->name));
	return *place;
}

/*
 * How many targets share the connections, looked at now and then: those called
 * within the last second, and those that will be as soon as their syncs are
 * loaded.  Else the first after a start takes all while it believes to be alone.
 */
void
deliver_targets_count(TimestampTz now)
{
	dlist_iter	iter;

	if (now < engine->next_count)
		return;
	engine->next_count = now + DELIVER_STALL_US;
	engine->nactive = 0;
	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (target->token != NULL || target->in_flight > 0 || now - target->called_at < USECS_PER_SEC)
			engine->nactive++;
	}
	dlist_foreach(iter, &engine->all_syncs)
	{
		DeliverSync *sync = dlist_container(DeliverSync, all_node, iter.cur);

		if (sync->target == NULL && !sync->broken && !sync->held_back && (sync->more || deliver_fresh_total(sync) > 0))
			engine->nactive++;
	}
}

/* For how long has it answered nothing that it was asked? */
static int64
silence(const DeliverTarget *target, TimestampTz now)
{
	return target->in_flight > 0 ? now - target->heard_at : 0;
}

/* Until when a target that is silent gets no more calls, as connections are getting scarce; 0: it does. */
TimestampTz
deliver_target_patience(const DeliverTarget *target, TimestampTz now)
{
	int64		silent = silence(target, now);

	if (engine->nactive <= 1 || engine->nyoung < deliver_connections / 2 ||
		silent < DELIVER_LATE_US || silent >= DELIVER_STALL_US)
		return 0;
	return target->heard_at + DELIVER_STALL_US;
}

/*
 * Many targets that hang leave room for the others, and for one that comes.
 * Each begins with a few calls and earns one more by each answer (the slow
 * start of RFC 5681), whether or not others are known yet.  One that has
 * answered, but not for a while, gets no more than its share of all
 * connections, unless it is alone.
 */
static bool
has_its_share(const DeliverTarget *target, TimestampTz now)
{
	if (target->in_flight >= target->earned)
		return true;
	if (engine->nactive <= 1 || silence(target, now) < DELIVER_STALL_US)
		return false;
	return target->in_flight >= (deliver_connections + deliver_stalled_connections) / (engine->nactive + 1);
}

/*
 * Should others not wait for that call?  Nothing at all has come from its target
 * since it was sent, or so many answers to others that it is no slow target.
 */
bool
deliver_call_late(const DeliverCall *call, TimestampTz now)
{
	const DeliverTarget *target = call->target;

	if (now - call->sent_at < DELIVER_LATE_US)
		return false;
	if (target->heard_at <= call->sent_at)
		return engine->nactive > 1;
	/* of itself that never leaves the target without calls */
	return target->stalled < DELIVER_STALLED_PER_TARGET - 1 &&
		target->answers - call->answers_before >= (uint64) DELIVER_ROUNDS_LATE * deliver_connections;
}

/* May one more call go out? */
bool
deliver_target_ready(const DeliverTarget *target, TimestampTz now)
{
	if (target->paused)
		return false;
	if (target->state == TARGET_UP)
		return target->stalled < DELIVER_STALLED_PER_TARGET && deliver_target_patience(target, now) == 0 &&
			!has_its_share(target, now);
	return !target->probing && now >= target->next_probe;
}

void
deliver_target_called(DeliverTarget *target, TimestampTz now)
{
	if (target->in_flight == 0)
		target->heard_at = now;
	target->called_at = now;
	target->in_flight++;
	target->requests++;
	target->unpublished = true;
}

/* Whatever it said. */
void
deliver_target_answered(DeliverTarget *target)
{
	target->heard_at = clock_now();
	target->answers++;
	target->earned = Min(target->earned + 1, DELIVER_MOST_CONNECTIONS);
}

/* A call ended without. */
void
deliver_target_unanswered(DeliverTarget *target)
{
	target->earned = Max(target->earned / 2, DELIVER_FIRST_CALLS);
}

/* Microseconds; full jitter: from 0, so that rows that failed together do not come back together. */
int64
deliver_backoff_us(int step, bool full_jitter)
{
	int64		wait = deliver_retry_backoff * INT64CONST(1000);
	int64		most = deliver_retry_backoff_max * INT64CONST(1000);
	double		part = pg_prng_double(&pg_global_prng_state);

	for (int i = 1; i < step && wait < most; i++)
		wait *= 2;
	wait = Min(wait, most);
	return (int64) (wait * (full_jitter ? part : 0.5 + part / 2));
}

/* What answers now was sent while there was a secret still. */
static bool
lacks_secret(const DeliverTarget *target)
{
	dlist_iter	iter;

	if (target->state != TARGET_AUTH)
		return false;
	dlist_foreach(iter, &unconstify(DeliverTarget *, target)->syncs)
	{
		const DeliverDeclaration *declaration = dlist_container(DeliverSync, node, iter.cur)->declaration;

		if (declaration != NULL && declaration->auth == NULL)
			return true;
	}
	return false;
}

void
deliver_target_succeeded(DeliverTarget *target)
{
	target->failed = 0;
	target->failed_keys = false;
	target->backoff = 0;
	if (target->state != TARGET_UP && !lacks_secret(target))
		target_change(target, TARGET_UP, "");
}

static void
note_failed_keys(DeliverTarget *target, const DeliverCall *call)
{
	uint32		hash = DatumGetUInt32(DirectFunctionCall1(jsonb_hash, JsonbPGetDatum(call->rows[0].key)));

	hash ^= (uint32) call->sync->id;
	if (target->failed == 0)
		target->failed_key = hash;
	else if (target->failed_key != hash)
		target->failed_keys = true;
	if (call->n > 1)
		target->failed_keys = true;
	target->failed++;
}

static void
probe_again(DeliverTarget *target)
{
	target->backoff++;
	target->next_probe = clock_now() + deliver_backoff_us(target->backoff, false);
	target->unpublished = true;
}

/* A call ended as 5xx, 408, 425 or without an answer.  True: the target is down, attempts rest. */
bool
deliver_target_failed(DeliverTarget *target, const DeliverCall *call, const char *reason)
{
	target->failures++;
	note_failed_keys(target, call);
	if (target->state == TARGET_DOWN)
	{
		if (call->probe)
			probe_again(target);
		return true;
	}
	if (target_refuses(target))
	{
		if (call->probe)
			target->next_probe = clock_now() + REFUSED_PROBE_US;
		return true;
	}
	if (target->failed < FAILURES_TO_BE_DOWN || !target->failed_keys)
		return false;
	target_change(target, TARGET_DOWN, reason);
	probe_again(target);
	return true;
}

/* No connection: nothing was sent. */
void
deliver_target_outage(DeliverTarget *target, bool probe, const char *reason)
{
	target->failures++;
	if (target->state != TARGET_DOWN)
	{
		target_change(target, TARGET_DOWN, reason);
		probe_again(target);
	}
	else if (probe)
		probe_again(target);
}

void
deliver_target_throttled(DeliverTarget *target, int64 retry_after_ms, const char *reason)
{
	TimestampTz until = clock_now();

	if (target->state == TARGET_DOWN || target_refuses(target))
		target->backoff = 0;	/* it answers */
	/* "at once" (0, or a date that has passed) is no answer to who has just come */
	if (retry_after_ms > 0)
		until += Min(retry_after_ms, LONGEST_THROTTLE_MS) * 1000;
	else
		until += deliver_backoff_us(++target->backoff, false);
	if (target->state != TARGET_THROTTLED)
		target_change(target, TARGET_THROTTLED, reason);
	target->next_probe = Max(target->next_probe, until);
	target->unpublished = true;
	deliver_budget_block(target, until);
}

/* It waits for somebody to change something: the secret, or how things are set up. */
static bool
target_refuses(const DeliverTarget *target)
{
	return target->state == TARGET_AUTH || target->state == TARGET_CONFIG;
}

/* TARGET_AUTH or TARGET_CONFIG: nothing goes but a call now and then, to see whether that has been mended. */
void
deliver_target_refused(DeliverTarget *target, SharedTargetState state, const char *reason)
{
	target->failures++;
	if (target->state != state)
		target_change(target, state, reason);
	target->next_probe = clock_now() + REFUSED_PROBE_US;
	target->unpublished = true;
}

/* It is up, but there is something to be said of it. */
void
deliver_target_note(DeliverTarget *target, const char *note)
{
	if (strncmp(target->reason, note, sizeof(target->reason) - 1) == 0)
		return;
	ereport(LOG,
			(errmsg("activate: target \"%s\": %s", target->name, note)));
	if (target->state == TARGET_UP)
		strlcpy(target->reason, note, sizeof(target->reason));
	target->unpublished = true;
}

static void
target_changed(DeliverTarget *target)
{
	target->since = clock_now();
	target->unpublished = true;
	target->unannounced = engine->unannounced = true;
	engine->next_report = 0;
}

/* By an operator; what is in flight finishes. */
void
deliver_target_pause(DeliverTarget *target, bool paused)
{
	if (target->paused == paused)
		return;
	ereport(LOG,
			(errmsg("activate: target \"%s\" is %s", target->name, paused ? "paused" : "resumed")));
	target->paused = paused;
	target_changed(target);
}

/* Its mapping or server has changed: that may have been the cause. */
void
deliver_target_probe_now(DeliverTarget *target)
{
	if (target_refuses(target) || target->state == TARGET_DOWN)
	{
		target->next_probe = clock_now();
		token_try_again((TokenAccount) {target->server, target->userid});
	}
	target->unpublished = true;
}

static void
target_change(DeliverTarget *target, SharedTargetState state, const char *reason)
{
	dlist_iter	iter;

	if (state == TARGET_UP)
		ereport(LOG,
				(errmsg("activate: target \"%s\" is up again", target->name)));
	else
		ereport(LOG,
				(errmsg("activate: target \"%s\" is %s: %s", target->name, state_names[state], reason)));
	target->state = state;
	target->next_probe = 0;
	strlcpy(target->reason, reason, sizeof(target->reason));
	target_changed(target);

	/* it may take long: what was rendered is rendered again then */
	if (state == TARGET_DOWN || target_refuses(target))
		dlist_foreach(iter, &target->syncs)
			deliver_queue_unrender(dlist_container(DeliverSync, node, iter.cur));
}

void
deliver_targets_publish(void)
{
	dlist_iter	iter;
	bool		locked = false;

	if (shared_memory() == NULL)
		return;
	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (!target->unpublished)
			continue;
		if (!locked)
			LWLockAcquire(shared_memory()->lock, LW_EXCLUSIVE);
		locked = true;
		target_publish(target);
		target->unpublished = false;
	}
	if (locked)
		LWLockRelease(shared_memory()->lock);
}

static void
target_publish(DeliverTarget *target)
{
	SharedTarget *all = shared_memory()->target;
	SharedTarget *mine;

	for (int i = 0; target->slot < 0 && i < SHARED_TARGETS; i++)
		if (!OidIsValid(all[i].server))
			target->slot = i;
	if (target->slot < 0)
		return;
	mine = &all[target->slot];
	mine->dboid = MyDatabaseId;
	mine->server = target->server;
	mine->userid = target->userid;
	mine->state = target->paused ? TARGET_PAUSED : target->state;
	mine->since = target->since;
	mine->next_probe = target->next_probe;
	mine->in_flight = target->in_flight;
	mine->requests = target->requests;
	mine->failures = target->failures;
	strlcpy(mine->reason, target->reason, sizeof(mine->reason));
}

/* A server that was dropped and has nothing in flight, nor a token that is being got for all, is forgotten. */
void
deliver_targets_prune(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);
		Oid			key[2] = {target->server, target->userid};

		if (target->in_flight > 0 || target->njobs > 0 || target->token != NULL || !dlist_is_empty(&target->syncs))
			continue;
		if (target->slot >= 0)
		{
			LWLockAcquire(shared_memory()->lock, LW_EXCLUSIVE);
			shared_memory()->target[target->slot].server = InvalidOid;
			LWLockRelease(shared_memory()->lock);
		}
		hash_search(engine->targets_by_key, key, HASH_REMOVE, NULL);
		dlist_delete(&target->node);
		pfree(target);
	}
}

/* At exit: the state of a target nobody serves is not known. */
static void
targets_withdraw(int code, Datum arg)
{
	dlist_iter	iter;

	if (shared_memory() == NULL || engine == NULL)
		return;
	LWLockReleaseAll();
	LWLockAcquire(shared_memory()->lock, LW_EXCLUSIVE);
	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (target->slot >= 0)
			shared_memory()->target[target->slot].server = InvalidOid;
	}
	LWLockRelease(shared_memory()->lock);
}
