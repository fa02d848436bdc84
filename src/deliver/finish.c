/*
 * finish.c
 *	  The end of a deliverer in order: whatever was sent has an outcome.
 *
 * SIGTERM (shutdown, pg_terminate_backend(), DDL that needs us away, another
 * number of deliverers) only asks us to stop.  What runs at that moment is
 * cancelled and caught like any other error, so that we always get here: answers
 * that come soon are waited for, calls without one are noted as ambiguous, all
 * is settled, and the horizon is taken back.  All of it takes less than a second.
 */
#include "postgres.h"

#include <signal.h>

#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "storage/latch.h"

/* Answers that come so soon are waited for. */
#define GRACE_US	(300 * INT64CONST(1000))
/* Rows in flight whose outcomes are written one by one; if they are more, the horizon stands for them. */
#define MOST_NOTED	5000

static volatile sig_atomic_t asked = false;
static volatile sig_atomic_t cancellable = false;
static bool finishing = false;

static void wait_for_answers(void);
static int64 note_unanswered(void);
static int64 note_calls(dlist_head *calls, bool note, int *rows);

/* May come more than once: a shutdown is told by the postmaster and by our worker. */
static void
asked_to_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;

	asked = true;
	if (cancellable)
	{
		QueryCancelPending = true;
		InterruptPending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

void
deliver_finish_init(void)
{
	pqsignal(SIGTERM, asked_to_stop);
}

bool
deliver_asked_to_stop(void)
{
	return asked;
}

/* In a transaction of the loop: it may be cancelled.  Once allowed no more, no cancel is left over. */
void
deliver_cancellable(bool allowed)
{
	cancellable = allowed && !finishing;
	if (!cancellable && asked)
		QueryCancelPending = false;
	else if (cancellable && asked)
		QueryCancelPending = InterruptPending = true;
}

void
deliver_finish(void)
{
	int64		upto;

	finishing = true;
	wait_for_answers();
	deliver_tokens_go(PG_INT64_MAX);
	upto = Max(note_unanswered(), deliver_jobs_leave());
	engine->locked_until = 0;
	deliver_settle();
	if (engine->noutcomes > 0)
		upto = Max(upto, engine->sent_up_to);
	deliver_horizon_leave(upto);
}

static void
wait_for_answers(void)
{
	TimestampTz until = clock_now() + GRACE_US;

	for (;;)
	{
		HttpRequest *request;
		TimestampTz now;

		while ((request = http_pool_next(engine->pool)) != NULL)
			deliver_received(request);
		now = clock_now();
		if (http_pool_in_flight(engine->pool) == 0 || now >= until)
			break;
		(void) http_pool_turn(engine->pool, (until - now) / 1000 + 1);
	}
}

/* 0, or the intent up to which the horizon must tell what is not known. */
static int64
note_unanswered(void)
{
	int			rows = 0;
	int64		newest = Max(note_calls(&engine->young, false, &rows), note_calls(&engine->stalled, false, &rows));

	if (rows > MOST_NOTED)
		return newest;
	(void) note_calls(&engine->young, true, &rows);
	(void) note_calls(&engine->stalled, true, &rows);
	return 0;
}

/* Of calls that may have reached the target: their rows, and the newest intent among them. */
static int64
note_calls(dlist_head *calls, bool note, int *rows)
{
	dlist_iter	iter;
	int64		newest = 0;

	dlist_foreach(iter, calls)
	{
		DeliverCall *call = dlist_container(DeliverCall, node, iter.cur);

		/* of a job that is in the table, whoever comes after us sees how it goes on */
		if (!http_request_under_way(call->request) || call->looking || (call->job != NULL && call->job->id != 0))
			continue;
		*rows += call->n;
		for (int i = 0; i < call->n; i++)
		{
			DeliverEntry *entry = call->entries[i];
			DeliverOutcome *outcome;

			newest = Max(newest, deliver_entry_last_id(entry));
			if (!note)
				continue;
			outcome = deliver_outcome(entry, OUTCOME_AMBIGUOUS);
			deliver_outcome_reason(outcome, NULL, "the deliverer was stopped before the answer came");
			outcome->at = call->sent_at;
			outcome->due_at = clock_now();
			deliver_entry_busy(entry, ENTRY_SETTLING);
		}
	}
	return newest;
}
