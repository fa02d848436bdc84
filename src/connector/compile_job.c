/*
 * compile_job.c
 *	  The member "job" of an operation: what is accepted first and carried out later.
 */
#include "postgres.h"

#include "connector/definition.h"

#define EVERY_US	(5 * USECS_PER_SEC)
#define TIMEOUT_US	(3600 * USECS_PER_SEC)
/* Two, so that one is collected while the other is carried out. */
#define CONCURRENT	2

/* A path, or a body, of a request of a job names nothing but the job. */
static void
require_job_id(const char *path, const char *where, const char *subject)
{
	List	   *names = template_names(path);
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), "job_id") != 0)
			definition_fail(subject, psprintf("the path of \"%s\" names \"%s\"", where, (char *) lfirst(cell)),
						 "Only {job_id} can stand there: what named the job in the first answer.");
}

static char *
json_text(const JsonbValue *from)
{
	Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, from));

	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

static ConnectorStep
compile_step(const JsonbValue *from, const char *method, const char *where, const char *subject)
{
	ConnectorStep step = {0};
	JsonbValue	body;

	step.method = definition_text(from, "method");
	if (step.method == NULL)
		step.method = pstrdup(method);
	step.path = definition_text(from, "path");
	if (step.path != NULL)
		require_job_id(step.path, where, subject);
	if (definition_get_in(from, "body", &body))
	{
		if (body.type == jbvBinary)
			step.body = json_text(&body);
		else
			step.rows = strcmp(template_scalar_text(&body), "rows") == 0;
	}
	step.idempotent = definition_bool(from, "idempotent", strcmp(step.method, "POST") != 0);
	return step;
}

static void
compile_steps(ConnectorJob *job, const JsonbValue *from, const char *where, const char *subject)
{
	JsonbValue	list;
	DefinitionMember *elements;
	bool		rows = job->body == NULL;

	if (definition_get_in(from, "steps", &list))
	{
		elements = definition_members(&list, &job->nsteps);
		job->steps = palloc0(sizeof(ConnectorStep) * Max(job->nsteps, 1));
		for (int i = 0; i < job->nsteps; i++)
		{
			const char *step = psprintf("%s.steps.%d", where, i);

			job->steps[i] = compile_step(&elements[i].value, "POST", step, subject);
			if (job->steps[i].path == NULL)
				definition_fail(subject, psprintf("\"%s\" needs a path", step), "Write it as in \"/jobs/{job_id}/batches\".");
			if (rows && job->steps[i].rows)
				definition_fail(subject, psprintf("\"%s\" would send the rows a second time", step),
							 "They go with the operation's own request, unless \"job.body\" says what that sends; or with one step.");
			rows = rows || job->steps[i].rows;
		}
	}
	if (!rows)
		definition_fail(subject, psprintf("\"%s\" never sends the rows", where),
					 "Give one of its steps \"body\": \"rows\", or leave \"job.body\" out.");
}

static List *
text_list(const JsonbValue *from, const char *name)
{
	JsonbValue	list;
	List	   *texts = NIL;
	DefinitionMember *elements;
	int			n;

	if (!definition_get_in(from, name, &list))
		return NIL;
	elements = definition_members(&list, &n);
	for (int i = 0; i < n; i++)
		texts = lappend(texts, template_scalar_text(&elements[i].value));
	return texts;
}

static int64
period(const JsonbValue *from, const char *name, int64 fallback)
{
	const char *text = definition_text(from, name);
	int64		us;

	return text != NULL && rate_period(text, &us) ? us : fallback;
}

static void
compile_poll(ConnectorJob *job, const JsonbValue *from, const char *where, const char *subject)
{
	JsonbValue	poll;

	where = psprintf("%s.poll", where);
	if (!definition_get_in(from, "poll", &poll))
		definition_fail(subject, psprintf("\"%s\" is missing", where), "It says how a job is asked whether it is done.");
	job->poll = compile_step(&poll, "GET", where, subject);
	job->state = definition_text(&poll, "state");
	job->error = definition_text(&poll, "error");
	job->done = text_list(&poll, "done");
	job->failed = text_list(&poll, "failed");
	job->every_us = period(&poll, "every", EVERY_US);
	job->timeout_us = period(&poll, "timeout", TIMEOUT_US);
	if (job->poll.path == NULL || job->state == NULL || job->done == NIL)
		definition_fail(subject, psprintf("\"%s\" needs \"path\", \"state\" and \"done\"", where),
					 "Write {\"path\": \"/jobs/{job_id}\", \"state\": \"state\", \"done\": [\"JobComplete\"], \"failed\": [\"Failed\"]}.");
}

static JobListed
listed_as(const char *class)
{
	if (class == NULL || strcmp(class, "ambiguous") == 0)
		return LISTED_AS_SAID;
	if (strcmp(class, "ok") == 0)
		return LISTED_OK;
	return strcmp(class, "transient") == 0 ? LISTED_RETRY : LISTED_REJECTED;
}

static void
compile_results(ConnectorJob *job, const ConnectorWrite *write, const Connector *connector, const JsonbValue *from,
				const char *where, const char *subject)
{
	JsonbValue	list;
	DefinitionMember *elements;

	if (!definition_get_in(from, "results", &list))
		return;
	elements = definition_members(&list, &job->nresults);
	job->results = palloc0(sizeof(ConnectorResult) * Max(job->nresults, 1));
	for (int i = 0; i < job->nresults; i++)
	{
		ConnectorResult *result = &job->results[i];
		const char *place = psprintf("%s.results.%d", where, i);
		const char *format = definition_text(&elements[i].value, "format");

		result->step = compile_step(&elements[i].value, "GET", place, subject);
		result->csv = format != NULL && strcmp(format, "csv") == 0;
		result->next = definition_text(&elements[i].value, "next");
		if (result->next != NULL && (result->csv || result->step.path == NULL))
			definition_fail(subject, psprintf("\"%s\" has \"next\", but is no list of its own in JSON", place),
							"Only a result with a \"path\" of its own can have pages.");
		result->listed = listed_as(definition_text(&elements[i].value, "class"));
		result->write = *write;
		result->write.method = pstrdup(result->step.method);
		definition_compile_answer(&result->write, connector, NULL, NULL, &elements[i].value, place, subject);
	}
}

/* What becomes of rows that no result tells of: of nothing but failures, they were taken. */
static JobListed
unmentioned_by_default(const ConnectorJob *job)
{
	for (int i = 0; i < job->nresults; i++)
		if (job->results[i].write.answer.shape != ANSWER_ERRORS && job->results[i].listed != LISTED_REJECTED &&
			job->results[i].listed != LISTED_RETRY)
			return LISTED_AS_SAID;
	return LISTED_OK;
}

/*
 * How answers to the job's requests are read: they are about it, not about
 * rows, so of what is said for the whole definition only what judges an answer as a whole counts.
 */
static void
compile_own_answer(ConnectorJob *job, const ConnectorWrite *write, const Connector *connector, const JsonbValue *operation,
				   const char *where, const char *subject)
{
	job->write = *write;
	job->write.method = pstrdup("POST");
	definition_compile_answer(&job->write, connector, NULL, NULL, operation, where, subject);
	job->write.answer.shape = ANSWER_STATUS;
	job->write.answer.rules = write->answer.rules;
	job->write.answer.success = write->answer.success;
	job->write.answer.nsuccess = write->answer.nsuccess;
	if (job->write.answer.error == NULL)
		job->write.answer.error = write->answer.error;
}

void
compile_job(ConnectorWrite *write, const Connector *connector, const JsonbValue *whole, const JsonbValue *operation,
			const char *where, const char *subject)
{
	ConnectorJob *job = palloc0(sizeof(ConnectorJob));
	const char *unmentioned;
	JsonbValue	from;
	JsonbValue	body;

	where = psprintf("%s.job", where);
	(void) definition_get_in(operation, "job", &from);
	if (write->batch == 1)
		definition_fail(subject, psprintf("\"%s\" needs a batch", where), "Set \"batch\" of the operation above 1.");
	job->id = definition_text(&from, "id");
	job->id_header = definition_text(&from, "id_header");
	if ((job->id == NULL) == (job->id_header == NULL))
		definition_fail(subject, psprintf("\"%s\" needs \"id\" or \"id_header\"", where),
					 "It is where the first answer says what the job is called: a path, or a header.");
	if (definition_get_in(&from, "body", &body))
		job->body = json_text(&body);
	compile_steps(job, &from, where, subject);
	compile_poll(job, &from, where, subject);
	/* how the API tells of throttling and the like holds for jobs, too; the object's rows are not in their answers */
	definition_compile_answer(write, connector, whole, NULL, operation, where, subject);
	compile_own_answer(job, write, connector, operation, where, subject);
	compile_results(job, write, connector, &from, where, subject);
	job->concurrent = definition_int(&from, "concurrent", CONCURRENT);
	unmentioned = definition_text(&from, "unmentioned");
	job->unmentioned = unmentioned ? listed_as(unmentioned) : unmentioned_by_default(job);
	write->job = job;
}
