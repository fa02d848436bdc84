/*
 * job.c
 *	  A call that the target accepts first and carries out later: its requests,
 *	  one after the other, until the outcome of each row is known.
 *
 * Nothing depends on a job before its row is on the disk (JOB_STORING), and
 * none of its rows is sent again before that is gone from there
 * (close_job()).  So at every moment a row of it is either under its
 * handle, or, as any other, "perhaps sent" below the horizon.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A job is asked sooner at first, as many are done at once. */
#define FIRST_POLL_PART	16
/* What cannot go now is looked at again. */
#define AGAIN_US		(USECS_PER_SEC / 2)

static void ask(DeliverJob *job, TimestampTz now);
static void close_job(DeliverJob *job);

static const ConnectorJob *
declared(const DeliverJob *job)
{
	return job->call->write->job;
}

/* Its call is about to be sent. */
void
deliver_job_begin(DeliverCall *call)
{
	DeliverJob *job = MemoryContextAllocZero(call->context, sizeof(DeliverJob));

	job->call = call;
	job->number = JOB_SUBMIT;
	job->poll_us = call->write->job->every_us / FIRST_POLL_PART;
	job->answers = MemoryContextAllocZero(call->context, sizeof(RowAnswer) * call->n);
	job->known = MemoryContextAllocZero(call->context, sizeof(bool) * call->n);
	job->context = AllocSetContextCreate(call->context, "activate job request", ALLOCSET_SMALL_SIZES);
	call->job = job;
	call->sync->njobs++;
	call->sync->job_rows += call->n;
	call->target->njobs++;
	dlist_push_tail(&engine->jobs, &job->node);
}

/* Its call is being freed. */
void
deliver_job_end(DeliverJob *job)
{
	DeliverCall *call = job->call;

	dlist_delete(&job->node);
	call->target->njobs--;
	call->sync->njobs--;
	if (job->phase != JOB_SETTLING)
		call->sync->job_rows -= call->n;
}

/* --- the end ---------------------------------------------------------- */

/* Nothing more is asked.  class, reason: of rows that no result told of. */
void
deliver_job_finish(DeliverJob *job, AnswerClass class, const char *reason)
{
	DeliverCall *call = job->call;

	for (int i = 0; i < call->n; i++)
		if (!job->known[i])
		{
			RowAnswer	answer = {.class = class};

			answer.reason = class == ANSWER_OK ? NULL : MemoryContextStrdup(call->context, reason);
			job->answers[i] = answer;
		}
	job->phase = JOB_SETTLING;
	call->sync->job_rows -= call->n;
	job->next_at = clock_now();
	job->unsettled = deliver_call_outcomes(call, job->answers, true);
}

void
deliver_job_settled(DeliverJob *job)
{
	if (job != NULL)
		job->unsettled--;
}

/* Those of its rows that will be sent again: as many as there are, and the newest of their intents. */
static int
rows_left(const DeliverJob *job, int64 *newest)
{
	int			n = 0;

	*newest = 0;
	for (int i = 0; i < job->call->n; i++)
		if (job->call->entries[i] != NULL)
		{
			*newest = Max(*newest, deliver_entry_last_id(job->call->entries[i]));
			n++;
		}
	return n;
}

/* What was settled is written: its row goes, and then the rest of its messages. */
static void
close_job(DeliverJob *job)
{
	int64		newest;
	bool		any = rows_left(job, &newest) > 0;

	job->next_at = clock_now() + USECS_PER_SEC;
	if ((any && !deliver_horizon_ensure(newest)) || !deliver_job_forget(job, any))
		return;
	engine->sent_up_to = Max(engine->sent_up_to, newest);
	(void) deliver_call_outcomes(job->call, job->answers, false);
	deliver_call_end(job->call);
}

/* Its sync was dropped, or is another deliverer's: entries are let go, as they are forgotten. */
static void
abandon(DeliverJob *job)
{
	DeliverCall *call = job->call;

	for (int i = 0; i < call->n; i++)
		if (call->entries[i] != NULL && call->entries[i]->state == ENTRY_FLYING)
			deliver_entry_fresh(call->entries[i], false);
	deliver_call_end(call);
}

/* --- what is to be done ----------------------------------------------- */

/* The target has it: so has the table from now on, or it is tried again. */
void
deliver_job_keep(DeliverJob *job)
{
	DeliverError error;
	bool		stored = job->id != 0 ? deliver_job_note(job) : deliver_job_store(job, &error);

	if (stored)
	{
		job->phase = JOB_ASKING;
		job->failures = 0;
		return;
	}
	if (job->failures++ == 0 && job->id == 0 && !deliver_asked_to_stop())
		ereport(LOG,
				(errcode(error.sqlstate),
				 errmsg("activate: a job of sync \"%s\" waits to be noted: %s",
						job->call->declaration->sync->name, error.message)));
	job->next_at = clock_now() + USECS_PER_SEC;
}

/* One pass over all that are between their requests. */
void
deliver_jobs_go(TimestampTz now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->jobs)
	{
		DeliverJob *job = dlist_container(DeliverJob, node, iter.cur);

		if (job->call->sent_at != 0)
			continue;
		if (!job->call->sync->listed && job->unsettled == 0)
			abandon(job);
		else if (job->next_at > now)
			continue;
		else if (job->phase == JOB_STORING)
			deliver_job_keep(job);
		else if (job->phase == JOB_ASKING)
			ask(job, now);
		else if (job->unsettled == 0)
			close_job(job);
	}
}

/* When that is again; 0: not by itself. */
TimestampTz
deliver_jobs_next(void)
{
	TimestampTz next = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &engine->jobs)
	{
		const DeliverJob *job = dlist_container(DeliverJob, node, iter.cur);

		if (job->call->sent_at != 0 || job->unsettled > 0 || (job->phase == JOB_ASKING && !engine->enabled))
			continue;
		if (next == 0 || job->next_at < next)
			next = job->next_at;
	}
	return next;
}

/* At the end of the process: those that are not in the table; the intent up to which the horizon must tell of them, or 0. */
int64
deliver_jobs_leave(void)
{
	dlist_iter	iter;
	int64		upto = 0;

	dlist_foreach(iter, &engine->jobs)
	{
		DeliverJob *job = dlist_container(DeliverJob, node, iter.cur);
		int64		newest;

		if (job->phase != JOB_STORING || job->id != 0)
			continue;
		deliver_job_keep(job);
		if (job->phase == JOB_STORING && rows_left(job, &newest) > 0)
			upto = Max(upto, newest);
	}
	return upto;
}

/* The declaration may have changed since the last request: another secret, another address. */
static bool
follow_declaration(DeliverJob *job)
{
	DeliverCall *call = job->call;
	DeliverDeclaration *now = call->sync->declaration;
	const ConnectorWrite *write;

	if (now == NULL || now == call->declaration || call->sync->stale || now->sync->epoch != call->declaration->sync->epoch)
		return true;
	write = connector_write(now->connector, call->rows[0].op);
	if (write != NULL && call->write != connector_write(call->declaration->connector, call->rows[0].op))
		write = write->bulk;
	if (write == NULL || write->job == NULL || write->job->nsteps != declared(job)->nsteps ||
		write->job->nresults != declared(job)->nresults)
		return false;
	now->references++;
	deliver_declare_release(call->declaration);
	call->declaration = now;
	call->write = write;
	for (int i = 0; i < call->n; i++)
		call->rows[i].sync = now->sync->name;
	call->target->njobs--;
	call->target = call->sync->target;
	call->target->njobs++;
	return true;
}

/* Rows are sent only where sending is allowed; what was accepted is followed up in any case. */
static bool
may_go(const DeliverJob *job, TimestampTz now)
{
	const DeliverTarget *target = job->call->target;

	if (job->number < declared(job)->nsteps && (target->paused || job->call->sync->broken))
		return false;
	if (job->call->declaration->auth == NULL || !deliver_connection_free())
		return false;
	return target->state == TARGET_UP || (!target->probing && now >= target->next_probe);
}

static void
build_work(void *arg)
{
	DeliverJob *job = arg;
	DeliverCall *call = job->call;
	char		key[DELIVER_ID_TEXT];

	deliver_call_key(call->rows, call->n, call->write, key);
	call->rows[0].write = call->write;
	call->request = connector_job_request(call->declaration->connector, call->write, job->number, job->handle,
										  job->url, call->rows, call->n, key, job->context);
	/* before it may be signed */
	if (call->declaration->connector->compress)
		http_request_compress(call->request);
	connector_authorize(call->request, call->declaration->auth);
	call->token = call->declaration->auth->token ? call->declaration->auth->token->serial : 0;
	call->request->owner = call;
}

static void
ask(DeliverJob *job, TimestampTz now)
{
	DeliverCall *call = job->call;
	DeliverError error;

	if (!engine->enabled || deliver_asked_to_stop())
		return;
	job->next_at = now + AGAIN_US;
	if (!follow_declaration(job))
	{
		deliver_job_finish(job, ANSWER_AMBIGUOUS, "its connector does not know such a job any more");
		return;
	}
	if (job->resumed && job->number < declared(job)->nsteps && !declared(job)->steps[job->number].idempotent)
	{
		deliver_job_finish(job, ANSWER_AMBIGUOUS, "the deliverer was stopped before the answer came");
		return;
	}
	if (!may_go(job, now) || !deliver_token_ready(call->target, call->declaration, now) ||
		!deliver_budget_take_for(call->target, call->declaration->connector, QUOTA_NORMAL, 1, now, &call->ticket))
		return;
	MemoryContextReset(job->context);
	if (deliver_converting(build_work, job, &error))
		deliver_call_go(call);
	else
	{
		call->request = NULL;
		deliver_job_finish(job, ANSWER_AMBIGUOUS, error.message);
	}
}
