/*
 * lookup.c
 *	  Search before write: a call whose first request asks which record of the
 *	  API is the row's, and whose second writes it.
 *
 * An id that is known from activate._sent saves the first.  Where the world has
 * changed in between (the record is gone, or has come into being) it is
 * looked for once more.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "utils/memutils.h"

/* The answer to the search; what the write will be is in call->found. */
AnswerClass
deliver_lookup_read(DeliverCall *call, RowAnswer *answer, int64 *retry_after_ms)
{
	AnswerClass class;

	call->found = LOOKUP_FAILED;
	call->found = connector_lookup_answer(call->declaration->connector, call->declaration->auth, call->write->lookup,
										  call->request, &call->rows[0], answer, &class, retry_after_ms);
	return class;
}

/* The next request of the call, at once: its cost was counted with the first, but for looking again. */
static void
send_next(DeliverCall *call, const ConnectorWrite *next)
{
	if (deliver_asked_to_stop())
	{
		/* nothing has been changed by it: whoever comes after us begins anew */
		deliver_entry_fresh(call->entries[0], false);
		deliver_call_end(call);
		return;
	}
	deliver_call_landed(call);
	call->next = next;
	if (deliver_call_build(call))
		deliver_call_go(call);
}

/* True: there is a write to be sent; else the row's answer is the outcome. */
static bool
after_search(DeliverCall *call, RowAnswer *answer)
{
	const ConnectorLookup *lookup = call->write->lookup;

	switch (call->found)
	{
		case LOOKUP_FAILED:
		case LOOKUP_MANY:
			return false;
		case LOOKUP_ONE:
			call->rows[0].remote_id = MemoryContextStrdup(call->context, answer->remote_id);
			send_next(call, lookup->found);
			return true;
		case LOOKUP_NONE:
			break;
	}
	/* it was said to be there already, and is not to be found */
	if (call->refusal.class == ANSWER_REJECTED && call->refusal.code != 404 && call->refusal.code != 410)
	{
		*answer = call->refusal;
		return false;
	}
	if (lookup->none != NULL)
	{
		send_next(call, lookup->none);
		return true;
	}
	memset(answer, 0, sizeof(*answer));
	answer->class = call->rows[0].op == OUTBOX_DELETE ? ANSWER_OK : ANSWER_REJECTED;
	answer->reason = call->rows[0].op == OUTBOX_DELETE ? NULL : pstrdup("the lookup finds no such record");
	return false;
}

static bool
is_conflict(const ConnectorLookup *lookup, long status)
{
	for (int i = 0; i < lookup->nconflicts; i++)
		if (lookup->conflicts[i] == status)
			return true;
	return false;
}

/* The write has failed: was that because what we know of the record is not true (any more)? */
static bool
worth_looking(const DeliverCall *call)
{
	const ConnectorLookup *lookup = call->write->lookup;
	long		status = call->request->status;

	if (call->looked_again || call->request->outcome != HTTP_ANSWERED)
		return false;
	if (call->next != NULL && call->next == lookup->none)
		return is_conflict(lookup, status);
	return status == 404 || status == 410;
}

/* A request of the call has come back; true: another one is on its way, or the call is over. */
bool
deliver_lookup_goes_on(DeliverCall *call, RowAnswer *answer)
{
	QuotaClass	class = call->entries[0]->class;

	if (call->looking)
		return after_search(call, answer);
	if (answer->class == ANSWER_OK || answer->class == ANSWER_WARNED)
	{
		if (answer->remote_id == NULL && call->rows[0].remote_id != NULL)
			answer->remote_id = pstrdup(call->rows[0].remote_id);
		return false;
	}
	if (!worth_looking(call))
		return false;
	call->looked_again = true;
	call->refusal = *answer;
	if (answer->reason != NULL)
		call->refusal.reason = MemoryContextStrdup(call->context, answer->reason);
	call->rows[0].remote_id = NULL;
	/* in flight no more: else where "concurrent" is reached it would not be counted */
	deliver_call_landed(call);
	/* it goes even if there is no room: a row that waited for that would begin anew, and never get further */
	(void) deliver_budget_take_for(call->target, call->declaration->connector, class, call->write->cost, clock_now(),
								   &call->ticket);
	send_next(call, NULL);
	return true;
}
