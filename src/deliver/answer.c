/*
 * answer.c
 *	  What an answer means for the target and for each row: SEMANTICS 9.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A call that has come back. */
typedef struct Answered
{
	DeliverCall *call;
	RowAnswer  *answers;
	AnswerClass class;
	int64		retry_after_ms;
	TimestampTz sent_at;
	int64		latency_us;
	DeliverJob *waiting;		/* for the outcomes to be settled */
	bool		renewing;		/* it goes again with another access token */
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

static void
call_received(HttpRequest *request)
{
	Answered	answered = {.call = request->owner, .latency_us = request->latency_us};
	DeliverCall *call = answered.call;
	/* of a call that may go on, what is read of one answer is not kept */
	MemoryContext caller = MemoryContextSwitchTo(call->job || call->write->lookup ? engine->turn : call->context);

	answered.sent_at = call->sent_at;

	answered.answers = palloc0(sizeof(RowAnswer) * call->n);
	answered.retry_after_ms = -1;
	read_answer(&answered);
	if (request->outcome == HTTP_ANSWERED)
		deliver_target_answered(call->target);
	else
		deliver_target_unanswered(call->target);
	note_target(&answered);
	deliver_budget_answered(call);
	if (call->job != NULL && deliver_job_received(call, answered.class, answered.answers, answered.retry_after_ms))
	{
		MemoryContextSwitchTo(caller);
		return;
	}
	if (call->write->lookup != NULL && deliver_lookup_goes_on(call, answered.answers))
	{
		MemoryContextSwitchTo(caller);
		return;
	}

	/* from the last to the first, so that what goes back to the front keeps its order */
	for (int i = call->n - 1; i >= 0; i--)
		row_outcome(&answered, i);
	MemoryContextSwitchTo(caller);
	deliver_call_end(call);
}

void
deliver_received(HttpRequest *request)
{
	if (request->owner != NULL)
		call_received(request);
	else
		deliver_token_received(request);
}

static void
answer_work(void *arg)
{
	Answered   *answered = arg;
	DeliverCall *call = answered->call;

	if (call->looking)
	{
		answered->class = deliver_lookup_read(call, answered->answers, &answered->retry_after_ms);
		return;
	}
	if (call->job != NULL)
		call->rows[0].write = &call->write->job->write;
	answered->class = connector_answer(call->declaration->connector, call->declaration->auth, call->request,
									   call->rows, call->n, answered->answers, &answered->retry_after_ms);
}

/* An answer that cannot even be read leaves the outcome unknown. */
static void
read_answer(Answered *answered)
{
	DeliverError error;

	if (deliver_converting(answer_work, answered, &error))
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
 * state of a target is for others than the row's owner: then the status, and the
 * definition's own text that the answer held.
 */
static const char *
target_reason(const Answered *answered)
{
	const RowAnswer *answer = answered->answers;

	for (int i = 0; i < answered->call->n && answer->reason == NULL; i++)
		answer = &answered->answers[i];
	if (answer->reason && answer->code > 0)
		return answer->mark ? psprintf("HTTP %d, %s", answer->code, answer->mark) : psprintf("HTTP %d", answer->code);
	return answer->reason ? answer->reason : "no reason given";
}

/* The same idempotent call failed twice: one of its rows may be the cause. */
static bool
batch_fails_again(const DeliverCall *call)
{
	if (call->n == 1 || !call->write->idempotent)
		return false;
	for (int i = 0; i < call->n; i++)
		if (call->entries[i] != NULL && call->entries[i]->attempts > 0)
			return true;
	return false;
}

/*
 * By 401 and the like, or in the words that the definition has for it.  What can
 * be had anew (a token) is fetched here, once, before the target is paused; the
 * rows go back to the front of their queue either way (row_again()).
 */
static void
credential_refused(Answered *answered, const char *reason)
{
	answered->renewing = deliver_token_refused(answered->call);
	if (!answered->renewing)
		deliver_target_refused(answered->call->target, TARGET_AUTH, reason);
}

static void
note_target(Answered *answered)
{
	DeliverCall *call = answered->call;
	DeliverTarget *target = call->target;
	const char *reason = target_reason(answered);

	if (answered->class != ANSWER_AUTH)
		deliver_token_accepted(call);
	switch (answered->class)
	{
		case ANSWER_OK:
		case ANSWER_WARNED:
		case ANSWER_REJECTED:
		case ANSWER_SPLIT:
		case ANSWER_LOCKED:
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
			credential_refused(answered, reason);
			break;
		case ANSWER_CONFIG:
			deliver_target_refused(target, TARGET_CONFIG, reason);
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
		case ANSWER_WARNED:
			row_settled(answered, i, OUTCOME_DELIVERED);
			break;
		case ANSWER_REJECTED:
			row_settled(answered, i, OUTCOME_REJECTED);
			break;
		case ANSWER_LOCKED:
			/* others' work on the same things: the fewer rows at once, the sooner it passes */
			entry->limit = (answered->call->n + 1) / 2;
			row_attempted(answered, i, OUTCOME_RETRIED, deliver_entry_tried(entry));
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
				/* what was collected long ago is rendered again */
				if (answered->call->job != NULL)
					deliver_entry_fresh(entry, true);
				else
					deliver_entry_ready(entry, true);
			}
			break;
		case ANSWER_THROTTLED:
		case ANSWER_AUTH:
		case ANSWER_CONFIG:
		case ANSWER_OUTAGE:
			row_again(answered, i);
			break;
	}
}

/* Is it the last word on the row? */
static bool
is_settled(const DeliverCall *call, AnswerClass class)
{
	return class == ANSWER_OK || class == ANSWER_WARNED || class == ANSWER_REJECTED || (class == ANSWER_SPLIT && call->n == 1);
}

/*
 * The outcomes of a job: of rows whose fate is settled, which the job waits
 * for, or of all others, which may be sent again at once.  How many.
 */
int
deliver_call_outcomes(DeliverCall *call, RowAnswer *answers, bool settled)
{
	Answered	answered = {.call = call, .answers = answers, .class = ANSWER_OK, .retry_after_ms = -1};
	int			n = 0;

	answered.sent_at = call->job->submitted_at;
	answered.latency_us = clock_now() - call->job->submitted_at;
	answered.waiting = settled ? call->job : NULL;
	answered.has_outcome = !settled;
	answered.resting = call->target->state == TARGET_DOWN;
	answered.split = !settled && batch_fails_again(call);
	for (int i = call->n - 1; i >= 0; i--)
	{
		if (call->entries[i] == NULL || is_settled(call, answers[i].class) != settled)
			continue;
		row_outcome(&answered, i);
		call->entries[i] = NULL;
		n++;
	}
	return n;
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
	deliver_outcome_reason(outcome, code, answer->class == ANSWER_OK ? NULL : answer->reason);
	outcome->warned = answer->class == ANSWER_WARNED;
	if (answer->remote_id)
		outcome->remote_id = MemoryContextStrdup(engine->outcome_context, answer->remote_id);
	outcome->image = call->declaration->image;
	outcome->latency_us = answered->latency_us;
	outcome->at = answered->sent_at;
	outcome->job = answered->waiting;
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
	else if (answered->renewing)
		deliver_entry_ready(entry, true);
	else if (answered->retry_after_ms >= 0)
		deliver_entry_wait(entry, clock_now() + answered->retry_after_ms * 1000);
	else
		deliver_entry_wait(entry, clock_now() + deliver_backoff_us(Max(entry->attempts, 1), true));
}
