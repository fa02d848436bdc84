/*
 * job_answer.c
 *	  What the answers to the requests of a job mean for it: on to the next
 *	  request, the same again, or the end.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A poll whose answer is that there is no such job: it may not be known everywhere yet. */
#define MOST_UNKNOWN	3
/* Of a request that fails: then the outcome counts as unknown. */
#define MOST_FAILURES	8
/* Of a result. */
#define MOST_PAGES		1000
/* What was not done for a reason that passes is done again. */
#define AGAIN_US		(USECS_PER_SEC / 2)

static void submitted(DeliverJob *job);
static void answered(DeliverJob *job);
static void advance(DeliverJob *job);
static void polled(DeliverJob *job);
static bool read_result(DeliverJob *job, const ConnectorResult *result);
static void went_wrong(DeliverJob *job, AnswerClass class, RowAnswer *answers, int64 retry_after_ms);

static const ConnectorJob *
declared(const DeliverJob *job)
{
	return job->call->write->job;
}

/* Of a request that carries out something: what its answer says of all rows alike, it says of the request. */
static AnswerClass
said_of_all(const DeliverJob *job, AnswerClass class, const RowAnswer *answers)
{
	if (class != ANSWER_OK || job->number >= declared(job)->nsteps)
		return class;
	for (int i = 1; i < job->call->n; i++)
		if (answers[i].class != answers[0].class)
			return class;
	return answers[0].class;
}

/*
 * The request of a job has come back; class and answers as for any call.
 * False: the target has not accepted it, and that is the outcome.
 */
bool
deliver_job_received(DeliverCall *call, AnswerClass class, RowAnswer *answers, int64 retry_after_ms)
{
	DeliverJob *job = call->job;

	class = said_of_all(job, class, answers);
	if (class == ANSWER_WARNED)
		class = ANSWER_OK;
	if (job->number == JOB_SUBMIT)
	{
		if (class != ANSWER_OK)
			return false;
		submitted(job);
		if (job->handle == NULL)
		{
			for (int i = 0; i < call->n; i++)
			{
				answers[i].class = ANSWER_AMBIGUOUS;
				answers[i].reason = pstrdup("the answer does not say what the job is called");
			}
			return false;
		}
	}
	else if (class == ANSWER_OK)
		answered(job);
	else
		went_wrong(job, class, answers, retry_after_ms);
	deliver_call_landed(call);
	if (job->phase == JOB_STORING)
		deliver_job_keep(job);
	return true;
}

static void
handle_work(void *arg)
{
	DeliverJob *job = arg;
	char	   *handle = connector_job_handle(declared(job), job->call->request);

	job->handle = handle ? MemoryContextStrdup(job->call->context, handle) : NULL;
}

static void
submitted(DeliverJob *job)
{
	DeliverError error;

	(void) deliver_guarded(handle_work, job, &error);
	if (job->handle == NULL)
		return;
	job->submitted_at = job->call->sent_at;
	job->deadline = clock_now() + declared(job)->timeout_us;
	job->phase = JOB_STORING;
	job->number = 0;
	job->next_at = clock_now();
	if (declared(job)->nsteps == 0)
		job->next_at += job->poll_us;
}

static void
answered(DeliverJob *job)
{
	const ConnectorJob *as = declared(job);

	job->resumed = false;
	if (job->number < as->nsteps)
		advance(job);
	else if (job->number == as->nsteps)
		polled(job);
	else if (read_result(job, &as->results[job->number - as->nsteps - 1]))
	{
		if (job->url == NULL)
			advance(job);
		else
			job->next_at = clock_now();
	}
	else if (++job->failures >= MOST_FAILURES)
		deliver_job_finish(job, ANSWER_AMBIGUOUS, "the result of the job cannot be read");
	else
		job->next_at = clock_now() + deliver_backoff_us(job->failures, false);
}

/* On to the next request; what is said in the answer to the last poll has been read. */
static void
advance(DeliverJob *job)
{
	const ConnectorJob *as = declared(job);

	job->failures = job->pages = 0;
	job->number++;
	while (job->number > as->nsteps && job->number <= as->nsteps + as->nresults &&
		   as->results[job->number - as->nsteps - 1].step.path == NULL)
		job->number++;
	job->next_at = clock_now();
	if (job->number == as->nsteps)
		job->next_at += job->poll_us;
	/* a step is sent only when it is known that it may have been */
	if (job->number <= as->nsteps && !deliver_job_note(job))
		job->phase = JOB_STORING;
	if (job->number > as->nsteps + as->nresults)
	{
		static const AnswerClass classes[] = {
			[LISTED_AS_SAID] = ANSWER_AMBIGUOUS,
			[LISTED_OK] = ANSWER_OK,
			[LISTED_REJECTED] = ANSWER_REJECTED,
			[LISTED_RETRY] = ANSWER_RETRY
		};

		if (job->failed)
			deliver_job_finish(job, ANSWER_RETRY, job->reason ? job->reason : "the job has failed");
		else
			deliver_job_finish(job, classes[as->unmentioned], "no result of the job tells of this row");
	}
}

typedef struct PollWork
{
	DeliverJob *job;
	JobState	said;
	char	   *state;
	char	   *reason;
} PollWork;

static void
poll_work(void *arg)
{
	PollWork   *work = arg;
	DeliverCall *call = work->job->call;

	work->said = connector_job_state(declared(work->job), call->declaration->auth, call->request,
									 &work->state, &work->reason);
}

static void
set_text(DeliverJob *job, char **place, const char *text)
{
	if (*place != NULL)
		pfree(*place);
	*place = text ? MemoryContextStrdup(job->call->context, text) : NULL;
}

static void
polled(DeliverJob *job)
{
	const ConnectorJob *as = declared(job);
	PollWork	work = {.job = job};
	DeliverError error;

	(void) deliver_guarded(poll_work, &work, &error);
	job->failures = 0;
	if (work.state != NULL && (job->state == NULL || strcmp(job->state, work.state) != 0))
	{
		set_text(job, &job->state, work.state);
		if (work.said == JOB_RUNNING)
			(void) deliver_job_note(job);	/* for people: it need not succeed */
	}
	if (work.said != JOB_RUNNING)
	{
		job->failed = work.said == JOB_FAILED;
		set_text(job, &job->reason, work.reason);
		for (int i = 0; i < as->nresults; i++)
			if (as->results[i].step.path == NULL && !read_result(job, &as->results[i]) && !job->failed)
			{
				deliver_job_finish(job, ANSWER_AMBIGUOUS, "the result of the job cannot be read");
				return;
			}
		advance(job);
		return;
	}
	if (clock_now() >= job->deadline)
	{
		deliver_job_finish(job, ANSWER_AMBIGUOUS, "the job was not done in time");
		return;
	}
	job->poll_us = Min(job->poll_us * 2, as->every_us);
	job->next_at = clock_now() + job->poll_us;
}

typedef struct ResultWork
{
	DeliverJob *job;
	const ConnectorResult *result;
	RowAnswer  *answers;
	bool	   *known;
	char	   *next;			/* URL of the next page */
	bool		read;
} ResultWork;

static void
result_work(void *arg)
{
	ResultWork *work = arg;
	DeliverCall *call = work->job->call;

	work->read = connector_job_result(call->declaration->connector, call->declaration->auth, work->result,
									  call->request, call->rows, call->n, work->answers, work->known);
	if (work->read)
		work->next = connector_job_next(call->declaration->connector, work->result, call->request);
}

/* In the memory of a turn; what it tells is kept. */
static bool
read_result(DeliverJob *job, const ConnectorResult *result)
{
	DeliverCall *call = job->call;
	ResultWork	work = {.job = job, .result = result};
	DeliverError error;

	work.answers = palloc0(sizeof(RowAnswer) * call->n);
	work.known = memcpy(palloc(sizeof(bool) * call->n), job->known, sizeof(bool) * call->n);
	if (!deliver_converting(result_work, &work, &error) || !work.read || (work.next && ++job->pages >= MOST_PAGES))
		return false;
	set_text(job, &job->url, work.next);
	job->failures = 0;
	for (int i = 0; i < call->n; i++)
	{
		RowAnswer  *answer = &job->answers[i];

		if (job->known[i] || !work.known[i])
			continue;
		*answer = work.answers[i];
		/* it says nothing of the target as it is now; without an attempt there would be one job after the other */
		if (answer->class == ANSWER_THROTTLED || answer->class == ANSWER_AUTH || answer->class == ANSWER_CONFIG ||
			answer->class == ANSWER_OUTAGE)
			answer->class = ANSWER_RETRY;
		if (answer->reason != NULL)
			answer->reason = MemoryContextStrdup(call->context, answer->reason);
		if (answer->remote_id != NULL)
			answer->remote_id = MemoryContextStrdup(call->context, answer->remote_id);
		job->known[i] = true;
	}
	return true;
}

/* Did it come to nothing, for certain? */
static bool
was_not_done(AnswerClass class)
{
	return class == ANSWER_THROTTLED || class == ANSWER_AUTH || class == ANSWER_CONFIG || class == ANSWER_OUTAGE;
}

/*
 * A request after the first has failed.  What the target's state tells waits
 * for that; what may be repeated is, until there is no hope; else that is the
 * end of the job.
 */
static void
went_wrong(DeliverJob *job, AnswerClass class, RowAnswer *answers, int64 retry_after_ms)
{
	const ConnectorJob *as = declared(job);
	bool		step = job->number < as->nsteps;
	bool		unknown = job->call->request->status == 404 || job->call->request->status == 410;
	const char *reason = answers[0].reason ? answers[0].reason : "no reason given";

	if (was_not_done(class))
	{
		job->next_at = clock_now() + (retry_after_ms > 0 ? retry_after_ms * 1000 : AGAIN_US);
		return;
	}
	/* while nothing succeeds, a failure says nothing of this request */
	if (job->call->target->state != TARGET_DOWN)
		job->failures++;
	job->next_at = clock_now() + deliver_backoff_us(job->failures, false);
	if (unknown && (step || job->failures >= MOST_UNKNOWN))
		deliver_job_finish(job, step ? ANSWER_RETRY : ANSWER_AMBIGUOUS, "the target does not know the job");
	else if (step && (class == ANSWER_REJECTED || class == ANSWER_SPLIT))
		deliver_job_finish(job, class, reason);
	else if (step && !as->steps[job->number].idempotent)
		deliver_job_finish(job, class, reason);
	else if (job->failures >= MOST_FAILURES && job->number != as->nsteps)
		deliver_job_finish(job, step ? class : ANSWER_AMBIGUOUS, reason);
	else if (clock_now() >= job->deadline)
		deliver_job_finish(job, ANSWER_AMBIGUOUS, "the job was not done in time");
}
