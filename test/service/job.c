/*
 * job.c
 *	  Asynchronous jobs: accepted first, carried out later, asked for, read.
 *
 *	POST /jobs {"object": NAME, "operation": "upsert"|"delete"}     201 {"id": "j1", "state": "Open"}
 *	POST /jobs?object=NAME with {"inputs": [...]} or an array       the same, its rows in it: "UploadComplete"
 *	PUT /jobs/ID/batches with rows (JSON as above, or CSV)          201
 *	PATCH /jobs/ID {"state": "UploadComplete"}                      200
 *	GET /jobs/ID                                                    {"id", "state", "error", "rows": [{"id", "ok", "error"}, ...]}
 *	GET /jobs/ID/failed, /jobs/ID/ok [?format=csv]                  rows that failed, or were taken
 *
 * POST /_control {"jobs": {"polls": n, "hold": bool, "fail": bool, "lose": bool, "skip": field}}: a job is done
 * at the nth poll (1), never while held, fails with nothing applied, is unknown from now on; of rows that
 * have the field no result tells; with ?page=0 results are pages of one row, the next at host "foreign" if that is set.  GET /_jobs lists all: id, state, uploads, rows, polls.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

typedef struct Job
{
	struct Job *next;
	int			number;
	char	   *object;
	bool		is_delete;
	const char *state;
	json_object *rows;
	json_object *results;		/* [{"id", "ok", "error"}] */
	int			uploads;
	int			polls;
	bool		lost;
} Job;

static Job *jobs;				/* the newest first */
static int	njobs;
static int	polls_needed = 1;
static bool hold;
static bool fail;
static char *skip;
static char *foreign;

void
job_reset(void)
{
	while (jobs)
	{
		Job		   *next = jobs->next;

		free(jobs->object);
		json_object_put(jobs->rows);
		json_object_put(jobs->results);
		free(jobs);
		jobs = next;
	}
	njobs = 0;
	polls_needed = 1;
	hold = fail = false;
	free(skip);
	free(foreign);
	skip = foreign = NULL;
}

const char *
job_configure(json_object *o)
{
	if (!json_object_is_type(o, json_type_object))
		return "jobs is an object";
	json_object_object_foreach(o, name, value)
	{
		if (strcmp(name, "polls") == 0)
			polls_needed = json_object_get_int(value);
		else if (strcmp(name, "hold") == 0)
			hold = json_object_get_boolean(value);
		else if (strcmp(name, "fail") == 0)
			fail = json_object_get_boolean(value);
		else if (strcmp(name, "skip") == 0)
		{
			free(skip);
			skip = value ? strdup(json_object_get_string(value)) : NULL;
		}
		else if (strcmp(name, "foreign") == 0)
		{
			free(foreign);
			foreign = value ? strdup(json_object_get_string(value)) : NULL;
		}
		else if (strcmp(name, "lose") == 0)
		{
			for (Job *job = jobs; job; job = job->next)
				job->lost = true;
		}
		else
			return "jobs has polls, hold, fail, lose, skip, foreign";
	}
	return NULL;
}

static json_object *
describe(const Job *job)
{
	json_object *o = json_object_new_object();
	char		id[20];

	snprintf(id, sizeof(id), "j%d", job->number);
	json_object_object_add(o, "id", json_object_new_string(id));
	json_object_object_add(o, "state", json_object_new_string(job->state));
	return o;
}

/* A field of CSV, unquoted in place; where the next one begins. */
static char *
csv_field(char *p, char **field, bool *last)
{
	char	   *out = p;
	bool		quoted = *p == '"';

	*field = p;
	if (quoted)
		p++;
	for (; *p && (quoted || (*p != ',' && *p != '\n')); p++)
	{
		if (quoted && *p == '"' && p[1] == '"')
			p++;
		else if (*p == '"' && quoted)
		{
			quoted = false;
			continue;
		}
		if (*p != '\r' || quoted)
			*out++ = *p;
	}
	*last = *p != ',';
	if (*p)
		p++;
	*out = '\0';
	return p;
}

static json_object *
csv_rows(const char *body, size_t len)
{
	char	   *text = strndup(body, len);
	char	   *p = text;
	char	   *names[100];
	int			n = 0;
	bool		last = false;
	json_object *rows = json_object_new_array();

	while (!last && n < 100)
		p = csv_field(p, &names[n++], &last);
	while (*p)
	{
		json_object *row = json_object_new_object();
		char	   *value;

		last = false;
		for (int i = 0; !last; i++)
		{
			p = csv_field(p, &value, &last);
			if (i < n)
				json_object_object_add(row, names[i], json_object_new_string(value));
		}
		json_object_array_add(rows, row);
	}
	free(text);
	return rows;
}

static json_object *
rows_of(const Request *request)
{
	const char *type = request_header(request, "content-type");
	json_object *body;
	json_object *rows;

	if (type && strstr(type, "csv"))
		return csv_rows(request->body, request->body_len);
	body = json_parse(request->body, request->body_len);
	rows = json_object_is_type(body, json_type_array) ? body : json_member(body, "inputs");
	rows = json_object_is_type(rows, json_type_array) ? json_object_get(rows) : NULL;
	json_object_put(body);
	return rows;
}

static void
create(const Request *request, Reply *reply)
{
	Job		   *job = calloc(1, sizeof(Job));
	json_object *body = json_parse(request->body, request->body_len);
	const char *operation = json_member_text(body, "operation");

	job->object = query_param(request->query, "object");
	if (job->object == NULL)
		job->object = strdup(json_member_text(body, "object") ? json_member_text(body, "object") : "none");
	job->is_delete = operation && strcmp(operation, "delete") == 0;
	job->rows = rows_of(request);
	job->uploads = job->rows != NULL;
	job->state = job->rows ? "UploadComplete" : "Open";
	job->number = ++njobs;
	job->next = jobs;
	jobs = job;
	json_object_put(body);
	json_reply(reply, 201, describe(job));
}

/* It is carried out now: what each row comes to. */
static void
carry_out(Job *job)
{
	job->results = json_object_new_array();
	job->state = fail ? "Failed" : "JobComplete";
	for (size_t i = 0; job->rows && !fail && i < json_object_array_length(job->rows); i++)
	{
		json_object *row = json_object_array_get_idx(job->rows, i);
		json_object *o = json_object_new_object();
		const char *error = NULL;
		bool		ok;

		if (skip && json_member(row, skip))
			continue;
		json_object_object_add(o, "id", json_object_get(json_member(row, "id")));
		json_object_object_add(o, "index", json_object_new_int((int) i));
		ok = crm_apply(job->object, row, job->is_delete, &error);
		json_object_object_add(o, "ok", json_object_new_boolean(ok));
		if (error)
			json_object_object_add(o, "error", json_object_new_string(error));
		json_object_array_add(job->results, o);
	}
}

static void
poll(Job *job, Reply *reply)
{
	json_object *o;

	job->polls++;
	if (job->results == NULL && strcmp(job->state, "UploadComplete") == 0 && !hold && job->polls >= polls_needed)
		carry_out(job);
	o = describe(job);
	if (strcmp(job->state, "Failed") == 0)
		json_object_object_add(o, "error", json_object_new_string("the job broke"));
	if (job->results)
		json_object_object_add(o, "rows", json_object_get(job->results));
	json_reply(reply, 200, o);
}

static void
results(Job *job, const Request *request, bool ok, Reply *reply)
{
	char	   *format = query_param(request->query, "format");
	char	   *page = query_param(request->query, "page");
	const char *host = request_header(request, "host");
	char		next[300];
	int			n = 0;
	bool		csv = format && strcmp(format, "csv") == 0;
	json_object *list = json_object_new_array();

	if (csv)
		buffer_printf(&reply->body, "\"sf__Id\",\"sf__Error\",\"id\"\n");
	for (size_t i = 0; job->results && i < json_object_array_length(job->results); i++)
	{
		json_object *o = json_object_array_get_idx(job->results, i);

		if (json_object_get_boolean(json_member(o, "ok")) != ok)
			continue;
		if (page && n++ != atoi(page))
			continue;
		if (csv)
			buffer_printf(&reply->body, "\"r%s\",\"%s\",\"%s\"\n", json_member_text(o, "id"),
						  json_member_text(o, "error") ? json_member_text(o, "error") : "", json_member_text(o, "id"));
		else
			json_object_array_add(list, json_object_get(o));
	}
	free(format);
	if (csv)
	{
		reply->content_type = "text/csv";
		json_object_put(list);
	}
	else if (page)
	{
		json_object *o = json_object_new_object();

		snprintf(next, sizeof(next), "http://%.100s%.100s?page=%d", foreign ? foreign : host, request->path, atoi(page) + 1);
		json_object_object_add(o, "data", list);
		json_object_object_add(o, "next", atoi(page) + 1 < n ? json_object_new_string(next) : NULL);
		json_reply(reply, 200, o);
	}
	else
		json_reply(reply, 200, list);
	free(page);
}

static void
of_job(Job *job, const char *rest, const Request *request, Reply *reply)
{
	bool		get = strcmp(request->method, "GET") == 0;

	if (get && *rest == '\0')
		poll(job, reply);
	else if (get && (strcmp(rest, "/ok") == 0 || strcmp(rest, "/failed") == 0))
		results(job, request, strcmp(rest, "/ok") == 0, reply);
	else if (strcmp(request->method, "PUT") == 0 && strcmp(rest, "/batches") == 0)
	{
		json_object_put(job->rows);
		job->rows = rows_of(request);
		job->uploads++;
		json_reply(reply, 201, describe(job));
	}
	else if (strcmp(request->method, "PATCH") == 0 && *rest == '\0')
	{
		if (strcmp(job->state, "Open") == 0)
			job->state = "UploadComplete";
		json_reply(reply, 200, describe(job));
	}
	else
		json_error(reply, 405, "no such request of a job");
}

void
job_handle(const Request *request, Reply *reply)
{
	int			number;
	int			len = 0;

	if (strcmp(request->path, "/jobs") == 0 && strcmp(request->method, "POST") == 0)
	{
		create(request, reply);
		return;
	}
	if (sscanf(request->path, "/jobs/j%d%n", &number, &len) == 1)
		for (Job *job = jobs; job; job = job->next)
			if (job->number == number && !job->lost)
			{
				of_job(job, request->path + len, request, reply);
				return;
			}
	json_error(reply, 404, "no such job");
}

void
job_list(Reply *reply)
{
	json_object *list = json_object_new_array();

	for (Job *job = jobs; job; job = job->next)
	{
		json_object *o = describe(job);

		json_object_object_add(o, "uploads", json_object_new_int(job->uploads));
		json_object_object_add(o, "polls", json_object_new_int(job->polls));
		json_object_object_add(o, "rows", json_object_get(job->rows));
		json_object_array_add(list, o);
	}
	json_reply(reply, 200, list);
}
