/*
 * answer.c
 *	  What an answer means for the target and for each row: SEMANTICS 9.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A call that has come back. */
typedef struct Answered
{
	DeliverCall *call;
	RowAnswer  *answers;
	AnswerClass class;
	int64		retry_after_ms;
	bool		resting;		/* the target is down: no attempt is used up */
	bool		split;			/* what failed comes again in halves */
	bool		has_outcome;	/* of one of its rows */
} Answered;

static void read_answer(Answered *answered);
static void note_target(Answered *answered);
static const char *target_reason(const Answered *answered);
static void row_outcome(Answered *answered, int i);
static void row_settled(Answered *answered, int i, OutcomeKind kind);
static void row_attempted(Answered *answered, int i, OutcomeKind kind, bool news);
static void row_again(Answered *answered, int i);

void
deliver_receive(HttpRequest *request)
{
	Answered	answered = {.call = request->owner};
	DeliverCall *call = answered.call;
	MemoryContext caller = MemoryContextSwitchTo(call->context);

	answered.answers = palloc0(sizeof(RowAnswer) * call->n);
	answered.retry_after_ms = -1;
	read_answer(&answered);
	if (request->outcome == HTTP_ANSWERED)
		deliver_target_answered(call->target);
	note_target(&answered);
	deliver_budget_answered(call);

	/* from the last to the first, so that what goes back to the front keeps its order */
	for (int i = call->n - 1; i >= 0; i--)
		row_outcome(&answered, i);
	MemoryContextSwitchTo(caller);
	deliver_call_end(call);
}

static void
answer_work(void *arg)
{
	Answered   *answered = arg;
	DeliverCall *call = answered->call;

	answered->class = connector_answer(call->declaration->connector, call->declaration->auth, call->request,
									   call->rows, call->n, answered->answers, &answered->retry_after_ms);
}

/* An answer that cannot even be read leaves the outcome unknown. */
static void
read_answer(Answered *answered)
{
	DeliverError error;

	if (deliver_guarded(answer_work, answered, &error))
		return;
	answered->class = ANSWER_AMBIGUOUS;
	for (int i = 0; i < answered->call->n; i++)
	{
		answered->answers[i].class = ANSWER_AMBIGUOUS;
		answered->answers[i].reason = pstrdup(error.message);
	}
}

/*
 * Why the target is as it is.  What an API says of a row may quote it, and the
 * state of a target is for others than the row's owner: then the status alone.
 */
static const char *
target_reason(const Answered *answered)
{
	const RowAnswer *answer = answered->answers;

	for (int i = 0; i < answered->call->n && answer->reason == NULL; i++)
		answer = &answered->answers[i];
	if (answer->reason && answer->code > 0)
		return psprintf("HTTP %d", answer->code);
	return answer->reason ? answer->reason : "no reason given";
}

/* The same idempotent call failed twice: one of its rows may be the cause. */
static bool
batch_fails_again(const DeliverCall *call)
{
	if (call->n == 1 || !call->write->idempotent)
		return false;
	for (int i = 0; i < call->n; i++)
		if (call->entries[i]->attempts > 0)
			return true;
	return false;
}

static void
note_target(Answered *answered)
{
	DeliverCall *call = answered->call;
	DeliverTarget *target = call->target;
	const char *reason = target_reason(answered);

	switch (answered->class)
	{
		case ANSWER_OK:
		case ANSWER_REJECTED:
		case ANSWER_SPLIT:
			deliver_target_succeeded(target);
			break;
		case ANSWER_AMBIGUOUS:
			/* what answers in a strange way is not down: SEMANTICS 5 ends it by rejection */
			if (call->request->outcome == HTTP_ANSWERED || call->request->outcome == HTTP_TOO_LARGE)
			{
				deliver_target_succeeded(target);
				break;
			}
			/* FALLTHROUGH */
		case ANSWER_RETRY:
			answered->resting = deliver_target_failed(target, call, reason);
			answered->split = answered->class == ANSWER_RETRY && batch_fails_again(call);
			break;
		case ANSWER_THROTTLED:
			deliver_target_throttled(target, answered->retry_after_ms, reason);
			break;
		case ANSWER_AUTH:
			deliver_target_auth(target, reason);
			break;
		case ANSWER_OUTAGE:
			deliver_target_outage(target, call->probe, reason);
			break;
	}
}

static void
row_outcome(Answered *answered, int i)
{
	DeliverEntry *entry = answered->call->entries[i];

	/* whatever happens next, a repeat of this content is this message */
	entry->tried = true;
	memcpy(entry->tried_id, entry->id, DELIVER_ID_LEN);
	entry->tried_nonce = entry->nonce;
	entry->tried_seq = entry->seq;

	switch (answered->answers[i].class)
	{
		case ANSWER_OK:
			row_settled(answered, i, OUTCOME_DELIVERED);
			break;
		case ANSWER_REJECTED:
			row_settled(answered, i, OUTCOME_REJECTED);
			break;
		case ANSWER_RETRY:
			row_attempted(answered, i, OUTCOME_RETRIED, deliver_entry_tried(entry));
			break;
		case ANSWER_AMBIGUOUS:
			entry->tried_ambiguous = true;
			row_attempted(answered, i, OUTCOME_AMBIGUOUS, deliver_entry_tried(entry));
			break;
		case ANSWER_SPLIT:
			if (answered->call->n == 1)
				row_settled(answered, i, OUTCOME_REJECTED);
			else
			{
				entry->limit = (answered->call->n + 1) / 2;
				deliver_entry_ready(entry, true);
			}
			break;
		case ANSWER_THROTTLED:
		case ANSWER_AUTH:
		case ANSWER_OUTAGE:
			row_again(answered, i);
			break;
	}
}

static DeliverOutcome *
outcome_of(Answered *answered, int i, OutcomeKind kind)
{
	const RowAnswer *answer = &answered->answers[i];
	DeliverCall *call = answered->call;
	DeliverOutcome *outcome = deliver_outcome(call->entries[i], kind);
	char		code[8] = "";

	if (answer->code != 0)
		snprintf(code, sizeof(code), "%d", answer->code);
	deliver_outcome_reason(outcome, code, kind == OUTCOME_DELIVERED ? NULL : answer->reason);
	if (answer->remote_id)
		outcome->remote_id = MemoryContextStrdup(engine->outcome_context, answer->remote_id);
	outcome->image = call->declaration->image;
	outcome->latency_us = call->request->latency_us;
	outcome->at = call->sent_at;
	outcome->opens_call = !answered->has_outcome;
	answered->has_outcome = true;
	return outcome;
}

static void
row_settled(Answered *answered, int i, OutcomeKind kind)
{
	DeliverEntry *entry = answered->call->entries[i];

	if (kind == OUTCOME_REJECTED)
		entry->attempts++;
	(void) outcome_of(answered, i, kind);
	deliver_entry_busy(entry, ENTRY_SETTLING);
}

/*
 * An attempt, unless the target is down; the last one rejects.  news: after a
 * restart nobody would know that it was tried, so that is written in any case.
 */
static void
row_attempted(Answered *answered, int i, OutcomeKind kind, bool news)
{
	DeliverCall *call = answered->call;
	DeliverEntry *entry = call->entries[i];
	int64		wait = Max(answered->retry_after_ms, 0) * 1000;
	DeliverOutcome *outcome;

	if (!answered->resting && ++entry->attempts >= deliver_max_attempts)
	{
		(void) outcome_of(answered, i, OUTCOME_REJECTED);
		deliver_entry_busy(entry, ENTRY_SETTLING);
		return;
	}
	/* also while the target is down: that may be due to a bad row in each call */
	if (answered->split)
		entry->limit = (call->n + 1) / 2;
	if (answered->resting && kind == OUTCOME_RETRIED && !news)
	{
		deliver_entry_fresh(entry, false);
		return;
	}
	if (!answered->resting)
		wait = Max(wait, deliver_backoff_us(entry->attempts, true));
	outcome = outcome_of(answered, i, kind);
	outcome->due_at = clock_now() + wait;
	deliver_entry_busy(entry, ENTRY_SETTLING);
}

/*
 * The row is not to blame and was not taken: again, when the target allows.
 * If only this row was told to wait (in an answer per row), the target's state
 * does not hold it back, so it waits by itself.
 */
static void
row_again(Answered *answered, int i)
{
	DeliverEntry *entry = answered->call->entries[i];

	if (answered->call->target->state != TARGET_UP)
		deliver_entry_fresh(entry, true);
	else if (answered->retry_after_ms >= 0)
		deliver_entry_wait(entry, clock_now() + answered->retry_after_ms * 1000);
	else
		deliver_entry_wait(entry, clock_now() + deliver_backoff_us(Max(entry->attempts, 1), true));
}
