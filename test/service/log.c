/*
 * log.c
 *	  What arrived: the last requests as they were, and counts.
 *
 * An entry is one copy of the raw head and body; it is taken apart only when
 * someone asks, so that logging costs next to nothing at 20,000 requests/s.
 */
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define MAX_LOGGED_BODY (1024 * 1024)
#define MAX_LOGGED (256 * 1024 * 1024)	/* of all entries; the oldest go first */

typedef struct Entry
{
	int64_t		arrived_us;
	int			status;
	size_t		head_len;
	size_t		body_len;
	char		data[];			/* head, NUL, body */
} Entry;

Stats		stats;
static Entry **ring;
static int	ring_size;
static int64_t oldest;			/* requests oldest .. noted - 1 are kept, each at its number % ring_size */
static int64_t noted;
static size_t held;				/* bytes of data */

void
log_init(int entries)
{
	ring_size = entries;
	ring = calloc(entries, sizeof(Entry *));
}

static void
drop_oldest(void)
{
	Entry	  **slot = &ring[oldest++ % ring_size];

	held -= (*slot)->head_len + (*slot)->body_len;
	free(*slot);
	*slot = NULL;
}

void
log_note(const char *head, size_t head_len, const Request *request)
{
	size_t		body_len = request->body_len < MAX_LOGGED_BODY ? request->body_len : MAX_LOGGED_BODY;
	Entry	   *e = malloc(sizeof(Entry) + head_len + 1 + body_len);

	if (e == NULL)
		abort();
	e->arrived_us = request->arrived_us;
	e->status = 0;
	e->head_len = head_len;
	e->body_len = body_len;
	memcpy(e->data, head, head_len);
	e->data[head_len] = '\0';
	if (body_len > 0)
		memcpy(e->data + head_len + 1, request->body, body_len);
	held += head_len + body_len;
	while (oldest < noted && (noted - oldest >= ring_size || held > MAX_LOGGED))
		drop_oldest();
	ring[noted++ % ring_size] = e;
}

void
log_status(int status)
{
	ring[(noted - 1) % ring_size]->status = status;
}

static bool
is_secret(const char *name)
{
	if (strcmp(name, "idempotency-key") == 0)
		return false;
	return strstr(name, "auth") || strstr(name, "key") || strstr(name, "token") ||
		strstr(name, "secret") || strstr(name, "cookie");
}

static json_object *
headers_json(const Request *request)
{
	json_object *headers = json_object_new_object();

	for (int i = 0; i < request->nheaders; i++)
	{
		const char *value = request->values[i];
		char		shown[80] = "sha256:";

		if (is_secret(request->names[i]))
		{
			sha256_hex(value, strlen(value), shown + 7);
			value = shown;
		}
		json_object_object_add(headers, request->names[i], json_object_new_string(value));
	}
	return headers;
}

/* NULL: not asked for (control requests, another path). */
static json_object *
entry_json(const Entry *e, const char *prefix)
{
	Request		request = {0};
	char	   *head = strdup(e->data);
	json_object *o = NULL;

	if (http_parse_head(head, &request) && strncmp(request.path, "/_", 2) != 0 &&
		(prefix == NULL || strncmp(request.path, prefix, strlen(prefix)) == 0))
	{
		o = json_object_new_object();
		json_object_object_add(o, "at_us", json_object_new_int64(e->arrived_us));
		json_object_object_add(o, "method", json_object_new_string(request.method));
		json_object_object_add(o, "path", json_object_new_string(request.path));
		json_object_object_add(o, "query", json_object_new_string(request.query));
		json_object_object_add(o, "headers", headers_json(&request));
		json_object_object_add(o, "body", json_object_new_string_len(e->data + e->head_len + 1, (int) e->body_len));
		json_object_object_add(o, "status", json_object_new_int(e->status));
	}
	free(head);
	return o;
}

void
log_list(const Request *request, Reply *reply)
{
	json_object *list = json_object_new_array();
	char	   *prefix = query_param(request->query, "path");
	char	   *last = query_param(request->query, "last");
	size_t		length;

	for (int64_t i = oldest; i < noted; i++)
	{
		json_object *o = entry_json(ring[i % ring_size], prefix);

		if (o)
			json_object_array_add(list, o);
	}
	length = json_object_array_length(list);
	if (last && length > strtoul(last, NULL, 10))
		json_object_array_del_idx(list, 0, length - strtoul(last, NULL, 10));
	free(prefix);
	free(last);
	json_reply(reply, 200, list);
}

void
log_stats(Reply *reply)
{
	json_object *o = json_object_new_object();
	int			accepted;
	int			open;

	http_connections(&accepted, &open);
	json_object_object_add(o, "requests", json_object_new_int64(stats.requests));
	json_object_object_add(o, "rows", json_object_new_int64(stats.rows));
	json_object_object_add(o, "refused", json_object_new_int64(stats.refused));
	json_object_object_add(o, "faults", json_object_new_int64(stats.faults));
	json_object_object_add(o, "duplicates", json_object_new_int64(stats.duplicates));
	json_object_object_add(o, "seq_regressions", json_object_new_int64(stats.seq_regressions));
	json_object_object_add(o, "key_repeats", json_object_new_int64(stats.key_repeats));
	json_object_object_add(o, "first_us", json_object_new_int64(stats.first_us));
	json_object_object_add(o, "last_us", json_object_new_int64(stats.last_us));
	json_object_object_add(o, "connections", json_object_new_int(accepted));
	json_object_object_add(o, "open", json_object_new_int(open));
	json_object_object_add(o, "held", json_object_new_int(http_held()));
	json_object_object_add(o, "held_most", json_object_new_int(http_held_most(false)));
	json_reply(reply, 200, o);
}

void
log_reset(void)
{
	while (oldest < noted)
		drop_oldest();
	memset(&stats, 0, sizeof(stats));
	http_held_most(true);
}
