/*
 * owner.c
 *	  What runs as the owner of a sync: restricted, read only, in bounded time
 *	  (SEMANTICS 12).
 *
 * The owner's code may catch the cancellation that ends it ("EXCEPTION WHEN
 * query_canceled") and go on.  So every error that is raised after the time is
 * up asks for the next one, which strikes as soon as the handler does anything:
 * nothing is left that could catch it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/owner.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

static bool
out_of_time(const DeliverOwner *owner)
{
	return owner->armed && (clock_now() >= owner->until || deliver_asked_to_stop());
}

/* An error is being raised. */
static void
strike_again(void *arg)
{
	if (out_of_time(arg))
		QueryCancelPending = InterruptPending = true;
}

/*
 * In a subtransaction, whose end undoes it after an error.  timeout_ms 0: none
 * but the session's own.
 */
void
deliver_owner_enter(DeliverOwner *owner, const Sync *sync, int timeout_ms)
{
	/* within a subtransaction it cannot be lifted */
	XactReadOnly = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	identity_enter_owner(&owner->scope, sync->owner, sync->search_path);

	owner->armed = timeout_ms > 0 && !get_timeout_active(STATEMENT_TIMEOUT);
	owner->until = clock_now() + timeout_ms * INT64CONST(1000);
	owner->callback.callback = strike_again;
	owner->callback.arg = owner;
	owner->callback.previous = error_context_stack;
	error_context_stack = &owner->callback;
	if (owner->armed)
		enable_timeout_after(STATEMENT_TIMEOUT, timeout_ms);
}

void
deliver_owner_look_now(SPIPlanPtr plan)
{
	const CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);

	if (cached)
		ReleaseCachedPlan(cached, source->is_saved ? CurrentResourceOwner : NULL);
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
deliver_owner_leave(DeliverOwner *owner)
{
	(void) deliver_owner_timed_out(owner);
	error_context_stack = owner->callback.previous;
	identity_leave_owner(&owner->scope);
	PopActiveSnapshot();
}

/* After an error: was it the time that ended it?  A cancellation that has not struck yet is forgotten. */
bool
deliver_owner_timed_out(DeliverOwner *owner)
{
	bool		late = owner->armed && clock_now() >= owner->until;

	if (owner->armed)
		disable_timeout(STATEMENT_TIMEOUT, false);
	if (late && !deliver_asked_to_stop())
		QueryCancelPending = false;
	owner->armed = false;
	return late;
}

/* Locks of the session that the owner's code took and left behind, pg_advisory_lock() for one. */
void
deliver_owner_cleanup(void)
{
	LockReleaseAll(USER_LOCKMETHOD, true);
}
