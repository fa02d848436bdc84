/*
 * job.h
 *	  Operations that are accepted first and carried out later: part of
 *	  connector.h, which includes it.
 */
#ifndef ACTIVATE_CONNECTOR_JOB_H
#define ACTIVATE_CONNECTOR_JOB_H

/* A request of a job besides its first; path and body may name {job_id}. */
typedef struct ConnectorStep
{
	const char *method;
	const char *path;
	const char *body;			/* JSON; NULL: none, or the rows */
	bool		rows;			/* it carries the rows */
	bool		idempotent;		/* repeating it is harmless */
} ConnectorStep;

/* What a result says of a row that it lists. */
typedef enum JobListed
{
	LISTED_AS_SAID,				/* what its element says */
	LISTED_OK,
	LISTED_REJECTED,
	LISTED_RETRY
} JobListed;

typedef struct ConnectorResult
{
	ConnectorStep step;			/* path NULL: the answer of the last poll */
	bool		csv;
	const char *next;			/* path, in an answer, of the URL of its next page; NULL: there is one page */
	JobListed	listed;
	ConnectorWrite write;		/* of which the answer counts */
} ConnectorResult;

/*
 * An operation that is accepted first and carried out later.  Its requests are
 * numbered: JOB_SUBMIT is the operation's own, then come the steps, then the
 * poll (number nsteps), then the results.
 */
#define JOB_SUBMIT	(-1)

typedef struct ConnectorJob
{
	const char *id;				/* path in the first answer, of what names the job ... */
	const char *id_header;		/* ... or its header (of a URL the last part) */
	const char *body;			/* of the first request instead of the rows; NULL: those */
	int			nsteps;
	ConnectorStep *steps;
	ConnectorStep poll;
	const char *state;			/* path in the answer of a poll */
	const char *error;			/* path, there, of why it failed */
	List	   *done;			/* char *: states */
	List	   *failed;
	int64		every_us;
	int64		timeout_us;
	int			concurrent;		/* of a sync at once */
	int			nresults;
	ConnectorResult *results;
	JobListed	unmentioned;	/* what a row is of which no result of a job that is done tells; LISTED_AS_SAID: ambiguous */
	ConnectorWrite write;		/* how answers to its requests are read */
} ConnectorJob;

/*
 * One of the requests of a job, by its number; handle: what names the job, NULL
 * with JOB_SUBMIT; url: of a further page of a result, else NULL.
 */
extern HttpRequest *connector_job_request(const Connector *connector, const ConnectorWrite *write, int number,
										  const char *handle, const char *url, const ConnectorRow *rows, int n, const char *call_key,
										  MemoryContext context);

/* What names the job that an answer to JOB_SUBMIT has made; NULL: it does not say. */
extern char *connector_job_handle(const ConnectorJob *job, const HttpRequest *request);

typedef enum JobState
{
	JOB_RUNNING, JOB_DONE, JOB_FAILED
} JobState;

/* What an answer (2xx) to a poll says; state and reason (NULL: not said) as texts for people. */
extern JobState connector_job_state(const ConnectorJob *job, const ConnectorAuth *auth, const HttpRequest *request,
									char **state, char **reason);

/*
 * Reads a result (2xx) of a job: answers[] of the rows that it tells of, which
 * are marked in known[]; those that are marked already are left as they are.
 * False: it cannot be read.
 */
extern bool connector_job_result(const Connector *connector, const ConnectorAuth *auth, const ConnectorResult *result,
								 const HttpRequest *request, const ConnectorRow *rows, int n,
								 RowAnswer *answers, bool *known);

/* The URL of the next page of a result, which must be of the same API; NULL: there is none. */
extern char *connector_job_next(const Connector *connector, const ConnectorResult *result, const HttpRequest *request);

#endif							/* ACTIVATE_CONNECTOR_JOB_H */
