/*
 * fault.c
 *	  Answers that go wrong, as POST /_control says.
 *
 * Rules are tried in the order they were set; the first that fits a request
 * spoils its answer.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define MAX_FAULTS 32

typedef enum FaultKind
{
	FAULT_STATUS, FAULT_HANG, FAULT_SLOW, FAULT_DRIP, FAULT_RESET, FAULT_CLOSE, FAULT_HALF,
	FAULT_GARBAGE, FAULT_BIGBODY, FAULT_REDIRECT, FAULT_EMPTY200
} FaultKind;

/* applied: the request was carried out all the same, unless the rule says otherwise */
static const struct
{
	const char *name;
	FaultKind	kind;
	bool		applied;
}			fault_kinds[] = {
	{"status", FAULT_STATUS, false},
	{"hang", FAULT_HANG, false},
	{"slow", FAULT_SLOW, true},
	{"drip", FAULT_DRIP, true},
	{"reset", FAULT_RESET, true},
	{"close", FAULT_CLOSE, false},
	{"half", FAULT_HALF, true},
	{"garbage", FAULT_GARBAGE, true},
	{"bigbody", FAULT_BIGBODY, true},
	{"redirect", FAULT_REDIRECT, false},
	{"empty200", FAULT_EMPTY200, true},
};

struct Fault
{
	FaultKind	kind;
	bool		applied;
	int			status;
	int			ms;
	int64_t		bytes;
	int			after;			/* matching requests that pass first */
	int			every;			/* then every k-th is hit */
	int			count;			/* hits left; -1: no end */
	int			matched;
	char	   *path;			/* prefix */
	char	   *query;			/* "name=value", a parameter as it must be; NULL: any */
	char	   *method;
	char	   *body;
	size_t		body_len;
	char	   *content_type;
	char	   *location;
	char	   *retry_after;
	int			retry_after_date;	/* seconds from now, told as a date; 0: not told */
	json_object *headers;
};

static Fault faults[MAX_FAULTS];
static int	nfaults;

static int
int_member(json_object *o, const char *name, int otherwise)
{
	json_object *value = json_member(o, name);

	return value ? json_object_get_int(value) : otherwise;
}

static char *
text_member(json_object *o, const char *name)
{
	const char *value = json_member_text(o, name);

	return value ? strdup(value) : NULL;
}

static const char *const members[] = {
	"fault", "applied", "status", "ms", "bytes", "after", "every", "count", "path", "query", "method", "body",
	"body_hex", "content_type", "location", "retry_after", "retry_after_date", "headers", NULL
};

static const char *
unknown_member(json_object *control)
{
	json_object_object_foreach(control, name, value)
	{
		const char *const *m = members;

		(void) value;
		while (*m && strcmp(*m, name) != 0)
			m++;
		if (*m == NULL)
			return name;
	}
	return NULL;
}

static void
set_body(Fault *f, json_object *control)
{
	const char *hex = json_member_text(control, "body_hex");

	f->body = text_member(control, "body");
	f->body_len = f->body ? strlen(f->body) : 0;
	if (hex)
	{
		free(f->body);
		f->body = calloc(1, strlen(hex) / 2 + 1);
		for (f->body_len = 0; hex[0] && hex[1]; hex += 2)
		{
			unsigned int byte = 0;

			sscanf(hex, "%2x", &byte);
			f->body[f->body_len++] = (char) byte;
		}
	}
}

static void
free_fault(Fault *f)
{
	free(f->path);
	free(f->query);
	free(f->method);
	free(f->body);
	free(f->content_type);
	free(f->location);
	free(f->retry_after);
	json_object_put(f->headers);
}

/* Rules whose count is used up make room. */
static void
drop_spent_faults(void)
{
	int			kept = 0;

	for (int i = 0; i < nfaults; i++)
	{
		if (faults[i].count == 0)
			free_fault(&faults[i]);
		else
			faults[kept++] = faults[i];
	}
	nfaults = kept;
}

static const char *
add_fault(json_object *control, const char *name)
{
	Fault	   *f;
	json_object *applied = json_member(control, "applied");
	size_t		k = 0;
	size_t		n = sizeof(fault_kinds) / sizeof(fault_kinds[0]);

	while (k < n && strcmp(fault_kinds[k].name, name) != 0)
		k++;
	if (k == n)
		return "unknown fault: status, hang, slow, drip, reset, close, half, garbage, bigbody, redirect, empty200, down, none";
	drop_spent_faults();
	f = &faults[nfaults];
	if (nfaults == MAX_FAULTS)
		return "too many faults: send {\"fault\": \"none\"} first";
	memset(f, 0, sizeof(*f));
	f->kind = fault_kinds[k].kind;
	f->applied = applied ? json_object_get_boolean(applied) : fault_kinds[k].applied;
	f->status = int_member(control, "status", f->kind == FAULT_REDIRECT ? 307 : f->kind == FAULT_STATUS ? 503 : 0);
	f->ms = int_member(control, "ms", f->kind == FAULT_DRIP ? 20 : f->kind == FAULT_SLOW ? 1000 : 0);
	f->bytes = int_member(control, "bytes", 10 * 1024 * 1024);
	f->after = int_member(control, "after", 0);
	f->every = int_member(control, "every", 1);
	f->count = int_member(control, "count", -1);
	f->path = text_member(control, "path");
	f->query = text_member(control, "query");
	f->method = text_member(control, "method");
	f->content_type = text_member(control, "content_type");
	f->location = text_member(control, "location");
	f->retry_after = text_member(control, "retry_after");
	f->retry_after_date = int_member(control, "retry_after_date", 0);
	f->headers = json_object_get(json_member(control, "headers"));
	set_body(f, control);
	if (f->every < 1)
		f->every = 1;
	nfaults++;
	return NULL;
}

const char *
fault_configure(json_object *control)
{
	static char message[200];
	const char *name = json_member_text(control, "fault");
	const char *unknown = unknown_member(control);

	if (unknown)
	{
		snprintf(message, sizeof(message), "unknown member \"%s\" of a fault", unknown);
		return message;
	}
	if (strcmp(name, "none") == 0)
		fault_reset();
	else if (strcmp(name, "down") == 0)
		http_go_down(int_member(control, "ms", 0));
	else
		return add_fault(control, name);
	return NULL;
}

void
fault_reset(void)
{
	for (int i = 0; i < nfaults; i++)
		free_fault(&faults[i]);
	nfaults = 0;
}

static bool
has_param(const Request *request, const char *wanted)
{
	const char *equals = strchr(wanted, '=');
	char	   *name = equals ? strndup(wanted, equals - wanted) : strdup(wanted);
	char	   *value = query_param(request->query, name);
	bool		same = value && (equals == NULL || strcmp(value, equals + 1) == 0);

	free(name);
	free(value);
	return same;
}

Fault *
fault_match(const Request *request)
{
	for (int i = 0; i < nfaults; i++)
	{
		Fault	   *f = &faults[i];

		if (f->count == 0 ||
			(f->path && strncmp(request->path, f->path, strlen(f->path)) != 0) ||
			(f->query && !has_param(request, f->query)) ||
			(f->method && strcmp(request->method, f->method) != 0))
			continue;
		if (f->matched++ < f->after || (f->matched - f->after - 1) % f->every != 0)
			continue;
		if (f->count > 0)
			f->count--;
		stats.faults++;
		return f;
	}
	return NULL;
}

bool
fault_applies_first(const Fault *fault)
{
	return fault->applied;
}

static void
spoil_status(const Fault *f, Reply *reply)
{
	reply->status = f->status;
	reply->body.len = 0;
	if (f->body)
		buffer_append(&reply->body, f->body, f->body_len);
	else if (f->status != 204)
		buffer_printf(&reply->body, "{\"error\":\"fault %d\"}", f->status);
	if (f->content_type)
		reply->content_type = f->content_type;
}

static void
spoil_headers(const Fault *f, Reply *reply)
{
	char		date[40];

	if (f->retry_after)
		buffer_printf(&reply->headers, "Retry-After: %s\r\n", f->retry_after);
	if (f->retry_after_date)
	{
		http_date(now_us() + (int64_t) f->retry_after_date * 1000000, date);
		buffer_printf(&reply->headers, "Retry-After: %s\r\n", date);
	}
	if (f->kind == FAULT_REDIRECT)
		buffer_printf(&reply->headers, "Location: %s\r\n", f->location ? f->location : "/elsewhere");
	if (f->headers)
	{
		json_object_object_foreach(f->headers, name, value)
		{
			buffer_printf(&reply->headers, "%s: %s\r\n", name, json_object_get_string(value));
		}
	}
}

void
fault_spoil(const Fault *fault, Reply *reply, Delivery *delivery)
{
	delivery->delay_ms = fault->ms;
	switch (fault->kind)
	{
		case FAULT_STATUS:
			spoil_status(fault, reply);
			break;
		case FAULT_HANG:
			delivery->how = SEND_NEVER;
			break;
		case FAULT_SLOW:
			break;
		case FAULT_DRIP:
			delivery->how = SEND_DRIP;
			break;
		case FAULT_RESET:
			delivery->how = SEND_RESET;
			break;
		case FAULT_CLOSE:
			delivery->how = SEND_CLOSE;
			break;
		case FAULT_HALF:
			delivery->how = SEND_HALF;
			break;
		case FAULT_GARBAGE:
			reply->status = 200;
			reply->body.len = 0;
			buffer_printf(&reply->body, "{\"data\": [{\"id\": 1, \"resul");
			break;
		case FAULT_BIGBODY:
			reply->status = 200;
			reply->body.len = 0;
			buffer_printf(&reply->body, "{\"data\":\"");
			delivery->filler = fault->bytes;
			break;
		case FAULT_REDIRECT:
			reply->status = fault->status;
			reply->body.len = 0;
			break;
		case FAULT_EMPTY200:
			/* no service says that all is well where it refused a row */
			if (reply->status >= 400 || memmem(reply->body.data, reply->body.len, "\"results\"", 9))
				break;
			reply->status = 200;
			reply->body.len = 0;
			break;
	}
	spoil_headers(fault, reply);
}
