/*
 * announce.c
 *	  Changes of a target's state for who listens: NOTIFY on channel "activate".
 *
 * {"target": name, "state": as in activate.stat_target}, and no more, because
 * whoever may connect may listen.  Told after the fact: who needs the present
 * state, or the reason, reads the view.
 */
#include "postgres.h"

#include "commands/async.h"
#include "deliver/engine.h"
#include "utils/json.h"

#define CHANNEL "activate"

static void
announce_target(const DeliverTarget *target)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"target\": ");
	escape_json(&payload, target->name);
	appendStringInfo(&payload, ", \"state\": \"%s\"}",
					 shared_target_state_name(target->paused ? TARGET_PAUSED : target->state));
	Async_Notify(CHANNEL, payload.data);
}

static void
announce_work(void *arg)
{
	dlist_iter	iter;

	dlist_foreach(iter, &engine->targets)
	{
		DeliverTarget *target = dlist_container(DeliverTarget, node, iter.cur);

		if (target->unannounced)
			announce_target(target);
	}
}

/* A queue that is full is no reason to stop: what is not told stands in the view. */
void
deliver_targets_announce(void)
{
	DeliverError error;
	dlist_iter	iter;

	if (!engine->unannounced)
		return;
	if (!deliver_transaction(announce_work, NULL, &error))
		ereport(LOG,
				(errcode(error.sqlstate),
				 errmsg("activate: could not notify who listens to \"%s\": %s", CHANNEL, error.message)));
	engine->unannounced = false;
	dlist_foreach(iter, &engine->targets)
		dlist_container(DeliverTarget, node, iter.cur)->unannounced = false;
}
