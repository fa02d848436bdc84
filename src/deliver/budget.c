/*
 * budget.c
 *	  The deliverer's side of the budget of an account (quota/quota.h): a call
 *	  goes only if the budget has room for one of its class, and whoever has to wait is
 *	  not asked again before there can be any.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"

static QuotaAccount
target_account(const DeliverTarget *target)
{
	return (QuotaAccount) {target->server, target->userid};
}

/* For a call of that class and cost; ticket: the call's, if it may go. */
bool
deliver_budget_take_for(DeliverTarget *target, const Connector *connector, QuotaClass class, int cost,
						TimestampTz now, int64 *ticket)
{
	QuotaGrant	grant;

	/* it is asked again when one of them has come back */
	if (connector->concurrent > 0 && target->in_flight >= connector->concurrent)
		return false;
	if (target->quota_until[class] > now)
		return false;
	if (!quota_take(target_account(target), &connector->rate, class, cost, now, &grant))
	{
		target->quota_until[class] = grant.until;
		return false;
	}
	*ticket = grant.ticket;
	return true;
}

/* The same for a call of the sync that begins with that list. */
bool
deliver_budget_take(const DeliverSync *sync, int list, TimestampTz now, int64 *ticket)
{
	const ConnectorWrite *write = deliver_sync_write(sync, list);

	return deliver_budget_take_for(sync->target, sync->declaration->connector, list / DELIVER_OPERATIONS,
								   write ? write->cost : 1, now, ticket);
}

/* It has answered, and may have said what is left. */
void
deliver_budget_answered(const DeliverCall *call)
{
	QuotaTold	told[QUOTA_TOLD];

	if (!connector_quota(call->declaration->connector, call->request, told))
		return;
	quota_learn(target_account(call->target), told, call->ticket, clock_now());
	deliver_budget_look_again(call->target);
}

/* It asked us to wait: whoever shares the account waits, too. */
void
deliver_budget_block(const DeliverTarget *target, TimestampTz until)
{
	quota_block(target_account(target), until);
}

/* What is known of the budget, or the declared rate, has changed; somebody may have said that it need not wait. */
void
deliver_budget_look_again(DeliverTarget *target)
{
	TimestampTz blocked = quota_blocked(target_account(target));

	if (target->state == TARGET_THROTTLED && target->next_probe > blocked)
	{
		target->next_probe = Max(blocked, clock_now());
		target->unpublished = true;
	}
	memset(target->quota_until, 0, sizeof(target->quota_until));
}

/* Until when the ready entries of a sync wait for the budget, those of the highest class; 0: they do not. */
TimestampTz
deliver_budget_next(const DeliverSync *sync)
{
	for (int i = 0; i < DELIVER_READY_LISTS; i++)
		if (sync->nready[i] > 0)
			return sync->target->quota_until[i / DELIVER_OPERATIONS];
	return 0;
}
