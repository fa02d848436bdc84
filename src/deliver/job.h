/*
 * job.h
 *	  A job: a call that the target accepts first and carries out later.  docs/deliver.md has its life.
 *
 * From the moment that the target has named it until all of its rows are
 * settled a job has a row in activate._job.  Between its requests it is in no
 * list of calls and holds no connection; its entries stay FLYING.
 */
#ifndef ACTIVATE_DELIVER_JOB_H
#define ACTIVATE_DELIVER_JOB_H

#include "deliver/engine.h"

typedef enum JobPhase
{
	JOB_ASKING,					/* a request is in flight, or goes when next_at has come */
	JOB_STORING,				/* the target has it, the table not yet */
	JOB_SETTLING				/* outcomes are being written */
} JobPhase;

/* Belongs to its call, as all that hangs on it. */
typedef struct DeliverJob
{
	dlist_node	node;			/* in engine->jobs */
	DeliverCall *call;
	MemoryContext context;		/* of the request under way */
	JobPhase	phase;
	int64		id;				/* of its row; 0: there is none */
	char	   *handle;
	char	   *state;			/* as told last; NULL: not told */
	int			number;			/* of its request, as connector.h counts */
	bool		resumed;		/* that request may have gone before this process */
	bool		failed;			/* the target says so */
	char	   *reason;
	TimestampTz submitted_at;
	TimestampTz deadline;
	TimestampTz next_at;
	int64		poll_us;		/* until the next poll */
	int			failures;		/* of this request, in a row */
	char	   *url;			/* of the next page of a result; NULL: its first */
	int			pages;			/* of it so far */
	RowAnswer  *answers;		/* of results so far ... */
	bool	   *known;			/* ... for which rows */
	int			unsettled;		/* outcomes that are not written yet */
} DeliverJob;

/* job.c */
extern void deliver_job_begin(DeliverCall *call);
extern void deliver_job_end(DeliverJob *job);
extern void deliver_job_settled(DeliverJob *job);	/* one of its outcomes; NULL: of none */
extern void deliver_job_finish(DeliverJob *job, AnswerClass class, const char *reason);
extern void deliver_jobs_go(TimestampTz now);
extern TimestampTz deliver_jobs_next(void);
extern int64 deliver_jobs_leave(void);
extern void deliver_job_keep(DeliverJob *job);

/* job_answer.c */
extern bool deliver_job_received(DeliverCall *call, AnswerClass class, RowAnswer *answers, int64 retry_after_ms);

/* job_store.c: activate._job */
extern bool deliver_job_store(DeliverJob *job, DeliverError *error);
extern bool deliver_job_note(const DeliverJob *job);
extern bool deliver_job_forget(const DeliverJob *job, bool surely);

/* job_resume.c */
extern bool deliver_jobs_resume(DeliverSync *sync, DeliverError *error);

#endif							/* ACTIVATE_DELIVER_JOB_H */
