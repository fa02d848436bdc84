/*
 * job.c
 *	  The requests of a job after its first, and what their answers say.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/errors.h"
#include "core/mem.h"
#include "http/host.h"
#include "utils/memutils.h"

/* What a job is called, and the name of its state. */
#define HANDLE_BYTES	1000
#define STATE_BYTES		100
#define REASON_BYTES	500

/* Results may echo the rows: of the largest batch much longer ones than an answer should have. */
#define RESULT_BYTES	((size_t) 256 * 1024 * 1024)

/* The handle as parts of a path: it may be one itself ("customers/1/jobs/2"). */
static char *
handle_as_path(const char *handle)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *part = handle; part != NULL;)
	{
		const char *slash = strchr(part, '/');
		StringInfoData value;

		initStringInfo(&value);
		appendStringInfoString(&value, "{\"part\": ");
		template_append_string(&value, slash ? pnstrdup(part, slash - part) : part);
		appendStringInfoChar(&value, '}');
		appendStringInfo(&out, "%s%s", part == handle ? "" : "/",
						 template_expand("{part}", definition_parse(value.data, "job_id", true), true));
		part = slash ? slash + 1 : NULL;
	}
	return out.data;
}

/* As the inside of a JSON string. */
static char *
handle_as_json(const char *handle)
{
	StringInfoData out;

	initStringInfo(&out);
	template_append_string(&out, handle);
	out.data[out.len - 1] = '\0';
	return out.data + 1;
}

static char *
with_handle(const char *text, const char *handle)
{
	static const char mark[] = "{job_id}";
	StringInfoData out;
	const char *found;

	initStringInfo(&out);
	while ((found = strstr(text, mark)) != NULL)
	{
		appendBinaryStringInfo(&out, text, found - text);
		appendStringInfoString(&out, handle);
		text = found + strlen(mark);
	}
	appendStringInfoString(&out, text);
	return out.data;
}

static const ConnectorStep *
step_of(const ConnectorJob *job, int number)
{
	if (number < job->nsteps)
		return &job->steps[number];
	return number == job->nsteps ? &job->poll : &job->results[number - job->nsteps - 1].step;
}

/* type: of the rows; NULL: there are none */
static void
set_content_type(HttpRequest *request, const Connector *connector, const ConnectorWrite *write, const char *type)
{
	if (request->body == NULL)
		return;
	if (type != NULL && (write->own_type || !request_header_given(connector, "Content-Type")))
		http_request_header(request, "Content-Type", type);
	else if (!request_header_given(connector, "Content-Type"))
		http_request_header(request, "Content-Type", "application/json");
}

static const char *
declared_type(const Connector *connector)
{
	for (int i = 0; i < connector->nheaders; i++)
		if (pg_strcasecmp(connector->header_names[i], "Content-Type") == 0)
			return template_expand(connector->header_values[i], NULL, false);
	return "application/json";
}

/* The first request, if it does not carry the rows. */
static HttpRequest *
submit_request(const Connector *connector, const ConnectorWrite *write, const ConnectorRow *first, const char *call_key,
			   MemoryContext context)
{
	ConnectorWrite bare = *write;
	ConnectorRow row = *first;
	HttpRequest *request;

	bare.no_body = true;
	row.write = &bare;
	request = connector_request(connector, &row, 1, call_key, context);
	request->body = MemoryContextStrdup(context, write->job->body);
	request->body_len = strlen(request->body);
	/* which headers that are declared did not tell, as there was no body yet */
	http_request_header(request, "Content-Type", declared_type(connector));
	return request;
}

static HttpRequest *
step_request(const Connector *connector, const ConnectorWrite *write, int number, const char *handle, const char *url,
			 const ConnectorRow *rows, int n, const char *call_key, MemoryContext context)
{
	const ConnectorStep *step = step_of(write->job, number);
	const char *to = url ? url : connector_url(connector, with_handle(step->path, handle_as_path(handle)));
	HttpRequest *request = http_request_create(context, step->method, to);
	MemoryContext previous = MemoryContextSwitchTo(context);
	const char *type = NULL;

	if (step->rows)
		type = definition_set_body(request, connector, write, rows, n, context);
	else if (step->body != NULL)
	{
		request->body = with_handle(step->body, handle_as_json(handle));
		request->body_len = strlen(request->body);
	}
	MemoryContextSwitchTo(previous);
	set_content_type(request, connector, write, type);
	if (number < write->job->nsteps)
		http_request_header(request, "Idempotency-Key", psprintf("%s-%d", call_key, number + 1));
	request_add_headers(connector, step->rows ? write : NULL, request, NULL);
	if (number > write->job->nsteps)
		request->max_body = RESULT_BYTES;
	return request;
}

HttpRequest *
connector_job_request(const Connector *connector, const ConnectorWrite *write, int number, const char *handle,
					  const char *url, const ConnectorRow *rows, int n, const char *call_key, MemoryContext context)
{
	MemoryContext scratch;
	MemoryContext previous;
	HttpRequest *request;

	if (number == JOB_SUBMIT && write->job->body == NULL)
		return connector_request(connector, rows, n, call_key, context);
	scratch = AllocSetContextCreate(context, "activate job request", ALLOCSET_SMALL_SIZES);
	previous = MemoryContextSwitchTo(scratch);
	if (number == JOB_SUBMIT)
		request = submit_request(connector, write, rows, call_key, context);
	else
		request = step_request(connector, write, number, handle, url, rows, n, call_key, context);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(scratch);
	return request;
}

static void
close_reader(void *reader)
{
	reader_close(reader);
}

/* The document of an answer, which lives as long as owner; NULL: no memory. */
static Reader *
open_reader(const HttpRequest *request, MemoryContext owner)
{
	Reader	   *reader = reader_open(request->answer, request->answer_len);

	if (reader != NULL)
		mem_adopt(owner, reader, close_reader);
	return reader;
}

char *
connector_job_handle(const ConnectorJob *job, const HttpRequest *request)
{
	MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "activate job", ALLOCSET_SMALL_SIZES);
	const char *found = NULL;
	char	   *handle = NULL;

	if (job->id_header != NULL)
	{
		found = http_answer_header(request, job->id_header);
		if (found != NULL && strstr(found, "://") != NULL && strrchr(found, '/') != NULL)
			found = strrchr(found, '/') + 1;
	}
	else
	{
		Reader	   *reader = open_reader(request, owner);

		found = reader ? reader_text_at(reader, job->id) : NULL;
	}
	if (found != NULL && *found != '\0' && strlen(found) <= HANDLE_BYTES)
		handle = answer_text(found, HANDLE_BYTES);
	MemoryContextDelete(owner);
	return handle;
}

static bool
is_one_of(const List *states, const char *state)
{
	ListCell   *cell;

	foreach(cell, states)
		if (strcmp(lfirst(cell), state) == 0)
			return true;
	return false;
}

JobState
connector_job_state(const ConnectorJob *job, const ConnectorAuth *auth, const HttpRequest *request,
					char **state, char **reason)
{
	MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "activate job", ALLOCSET_SMALL_SIZES);
	Reader	   *reader = open_reader(request, owner);
	const char *said = reader ? reader_text_at(reader, job->state) : NULL;
	JobState	result = JOB_RUNNING;

	*state = said ? answer_text(connector_redact(auth, said), STATE_BYTES) : NULL;
	*reason = NULL;
	if (said != NULL && is_one_of(job->done, said))
		result = JOB_DONE;
	else if (said != NULL && is_one_of(job->failed, said))
	{
		const char *why = reader_reason(reader, job->error);

		result = JOB_FAILED;
		*reason = why ? answer_text(connector_redact(auth, why), REASON_BYTES) : NULL;
	}
	MemoryContextDelete(owner);
	return result;
}

/* A URL of the answer's goes nowhere but to the API: what is sent there has the secret. */
static bool
same_origin(const char *one, const char *other)
{
	HttpUrl		a;
	HttpUrl		b;
	const char *problem;
	const char *hint;

	return http_url_parse(one, &a, &problem, &hint) && http_url_parse(other, &b, &problem, &hint) &&
		a.https == b.https && a.port == b.port && strcmp(a.host, b.host) == 0;
}

char *
connector_job_next(const Connector *connector, const ConnectorResult *result, const HttpRequest *request)
{
	MemoryContext owner;
	Reader	   *reader;
	const char *found;
	char	   *next = NULL;

	if (result->next == NULL)
		return NULL;
	owner = AllocSetContextCreate(CurrentMemoryContext, "activate job", ALLOCSET_SMALL_SIZES);
	reader = open_reader(request, owner);
	found = reader ? reader_text_at(reader, result->next) : NULL;
	if (found != NULL && !same_origin(found, connector->base_url))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("the next page of a job's result is not of the same API")));
	if (found != NULL)
		next = pstrdup(found);
	MemoryContextDelete(owner);
	return next;
}

/* The answer as JSON, whatever it came as. */
static HttpRequest
readable(const ConnectorResult *result, const HttpRequest *request)
{
	const ConnectorAnswer *answer = &result->write.answer;
	const char *wanted[] = {answer->status, answer->ok, answer->error, answer->index, answer->key, answer->id};
	SheetColumns columns = {lengthof(wanted), wanted, answer->ok, {answer->status, answer->index}};
	HttpRequest read = *request;

	/* rules may look at any */
	if (answer->nlists > 0 || answer->rules.n > 0 || answer->row_rules.n > 0 || answer->nrow_success > 0)
		columns.n = 0;
	if (result->csv)
		read.answer = sheet_to_json(request->answer, request->answer_len, &columns, &read.answer_len);
	return read;
}

static void
apply_listed(const ConnectorResult *result, RowAnswer *answer)
{
	switch (result->listed)
	{
		case LISTED_AS_SAID:
			return;
		case LISTED_OK:
			answer->class = ANSWER_OK;
			return;
		case LISTED_REJECTED:
			answer->class = ANSWER_REJECTED;
			break;
		case LISTED_RETRY:
			answer->class = ANSWER_RETRY;
			break;
	}
	if (answer->reason == NULL)
		answer->reason = pstrdup(result->listed == LISTED_RETRY ? "the job did not process it" : "refused without a reason");
}

bool
connector_job_result(const Connector *connector, const ConnectorAuth *auth, const ConnectorResult *result,
					 const HttpRequest *request, const ConnectorRow *rows, int n, RowAnswer *answers, bool *known)
{
	HttpRequest read = readable(result, request);
	ConnectorRow *copies = memcpy(palloc(sizeof(ConnectorRow) * n), rows, sizeof(ConnectorRow) * n);
	RowAnswer  *found = palloc0(sizeof(RowAnswer) * n);
	bool		failures = result->write.answer.shape == ANSWER_ERRORS;
	int64		retry_after_ms;

	copies[0].write = &result->write;
	(void) connector_answer(connector, auth, &read, copies, n, found, &retry_after_ms);
	if (found[0].class == ANSWER_AMBIGUOUS && !found[0].unmentioned)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (known[i] || found[i].unmentioned || (failures && found[i].class == ANSWER_OK))
			continue;
		answers[i] = found[i];
		apply_listed(result, &answers[i]);
		known[i] = true;
	}
	return true;
}
