/*
 * crm.c
 *	  Collections of objects in memory, as CRMs have them: create, upsert,
 *	  update, delete, read one, list in pages, batches with answers per row.
 *
 * A collection appears when it is first named.  Objects are kept as they were
 * sent; they are listed in the order in which they were first stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define MAX_COLLECTIONS 64
#define DEFAULT_PAGE 100

typedef struct Collection
{
	char	   *name;
	json_object *rows;			/* id as text: object */
	int64_t		next_id;
} Collection;

static Collection collections[MAX_COLLECTIONS];
static int	ncollections;

static Collection *
collection_find(const char *name)
{
	for (int i = 0; i < ncollections; i++)
		if (strcmp(collections[i].name, name) == 0)
			return &collections[i];
	if (ncollections == MAX_COLLECTIONS)
		return NULL;
	collections[ncollections].name = strdup(name);
	collections[ncollections].rows = json_object_new_object();
	collections[ncollections].next_id = 1;
	return &collections[ncollections++];
}

void
crm_reset(void)
{
	for (int i = 0; i < ncollections; i++)
	{
		free(collections[i].name);
		json_object_put(collections[i].rows);
	}
	ncollections = 0;
}

/* ---- one object ---- */

static void
reply_object(Reply *reply, int status, json_object *row)
{
	json_reply(reply, status, json_object_get(row));
}

static bool
refuse_single(json_object *row, Reply *reply)
{
	Refusal		refusal;

	if (!policy_refuses(row, &refusal))
		return false;
	stats.refused++;
	json_error(reply, refusal.status, refusal.reason);
	return true;
}

static void
create(Collection *c, json_object *row, Reply *reply)
{
	const char *id = json_member_text(row, "id");
	char		conflict[200];

	if (!json_object_is_type(row, json_type_object))
	{
		json_error(reply, 400, "a JSON object is required");
		return;
	}
	if (refuse_single(row, reply))
		return;
	if ((id && json_member(c->rows, id)) || search_conflicts(c->name, c->rows, row))
	{
		snprintf(conflict, sizeof(conflict), id ? "id %.100s exists" : "it exists", id);
		json_error(reply, 409, conflict);
		return;
	}
	if (id == NULL)
	{
		json_object_object_add(row, "id", json_object_new_int64(c->next_id++));
		id = json_member_text(row, "id");
	}
	json_object_object_add(c->rows, id, json_object_get(row));
	stats.rows++;
	reply_object(reply, 201, row);
}

static json_object *
id_value(const char *id)
{
	if (*id && strspn(id, "0123456789") == strlen(id) && strlen(id) < 19)
		return json_object_new_int64(atoll(id));
	return json_object_new_string(id);
}

static void
put(Collection *c, const char *id, json_object *row, Reply *reply)
{
	bool		existed = json_member(c->rows, id) != NULL;

	if (!json_object_is_type(row, json_type_object))
	{
		json_error(reply, 400, "a JSON object is required");
		return;
	}
	if (refuse_single(row, reply))
		return;
	if (json_member(row, "id") == NULL)
		json_object_object_add(row, "id", id_value(id));
	json_object_object_add(c->rows, id, json_object_get(row));
	stats.rows++;
	reply_object(reply, existed ? 200 : 201, row);
}

static void
patch(Collection *c, const char *id, json_object *row, Reply *reply)
{
	json_object *old = json_member(c->rows, id);

	if (old == NULL || !json_object_is_type(row, json_type_object))
	{
		json_error(reply, old ? 400 : 404, old ? "a JSON object is required" : "no such object");
		return;
	}
	if (refuse_single(row, reply))
		return;
	json_object_object_foreach(row, name, value)
	{
		json_object_object_add(old, name, json_object_get(value));
	}
	stats.rows++;
	reply_object(reply, 200, old);
}

static void
delete(Collection *c, const char *id, Reply *reply)
{
	if (json_member(c->rows, id) == NULL)
	{
		json_error(reply, 404, "no such object");
		return;
	}
	json_object_object_del(c->rows, id);
	stats.rows++;
	reply->status = 204;
}

/* ---- lists ---- */

typedef struct Page
{
	const char *style;
	int			size;			/* 0: everything */
	int			first;			/* position of the first row */
	int			number;
	struct lh_entry *entry;		/* of the first row */
} Page;

static int
int_param(const Request *request, const char *name, int otherwise)
{
	char	   *value = query_param(request->query, name);
	int			n = value ? atoi(value) : otherwise;

	free(value);
	return n;
}

/* A cursor is the id of the last row given. */
static bool
page_find(Page *page, const Request *request, Collection *c)
{
	struct lh_table *table = json_object_get_object(c->rows);
	char	   *cursor = query_param(request->query, "cursor");
	bool		found = true;

	page->size = int_param(request, "limit", int_param(request, "per_page", DEFAULT_PAGE));
	page->number = int_param(request, "page", 1);
	page->first = int_param(request, "offset", (page->number - 1) * page->size);
	page->entry = table->head;
	if (cursor)
	{
		page->entry = lh_table_lookup_entry(table, cursor);
		found = page->entry != NULL;
		page->entry = found ? page->entry->next : NULL;
	}
	else
		for (int i = 0; i < page->first && page->entry; i++)
			page->entry = page->entry->next;
	free(cursor);
	return found;
}

static void
page_url(char *url, size_t size, const Request *request, const Page *page)
{
	const char *host = request_header(request, "host");

	snprintf(url, size, "http://%s%s?style=%s&limit=%d&page=%d", host ? host : "127.0.0.1",
			 request->path, page->style, page->size, page->number + 1);
}

/* What tells the reader how to go on; absent or null at the end. */
static void
add_next(json_object *paging, const Request *request, const Page *page, const char *last_id, bool more, Reply *reply)
{
	char		url[1024];

	page_url(url, sizeof(url), request, page);
	if (strcmp(page->style, "cursor") == 0)
		json_object_object_add(paging, "next", more ? json_object_new_string(last_id) : NULL);
	else if (strcmp(page->style, "next_url") == 0)
		json_object_object_add(paging, "next", more ? json_object_new_string(url) : NULL);
	else if (strcmp(page->style, "page") == 0)
		json_object_object_add(paging, "page", json_object_new_int(page->number));
	else if (strcmp(page->style, "offset") == 0)
		json_object_object_add(paging, "offset", json_object_new_int(page->first));
	else if (strcmp(page->style, "link") == 0 && more)
		buffer_printf(&reply->headers, "Link: <%s>; rel=\"next\"\r\n", url);
}

static void
list(const Collection *all, const Request *request, Reply *reply)
{
	Collection	some = {.rows = filter_rows(all->rows, request->query)};
	Collection *c = &some;
	char	   *style = query_param(request->query, "style");
	Page		page = {.style = style ? style : "cursor"};
	json_object *o;
	json_object *data;
	json_object *paging;
	struct lh_entry *e;
	const char *last_id = "";
	int			n = 0;

	if (!page_find(&page, request, c))
		json_error(reply, 400, "the cursor has expired");
	else
	{
		o = json_object_new_object();
		data = json_object_new_array();
		paging = json_object_new_object();
		for (e = page.entry; e && (page.size == 0 || n < page.size); e = e->next, n++)
		{
			json_object_array_add(data, json_object_get((json_object *) lh_entry_v(e)));
			last_id = lh_entry_k(e);
		}
		json_object_object_add(o, "data", data);
		json_object_object_add(paging, "total", json_object_new_int(json_object_object_length(c->rows)));
		add_next(paging, request, &page, last_id, e != NULL, reply);
		json_object_object_add(o, "paging", paging);
		json_reply(reply, 200, o);
	}
	json_object_put(some.rows);
	free(style);
}

/* ---- batches ---- */

typedef struct BatchAnswer
{
	json_object *list;
	bool		keyed;
	bool		errors;
	int			nrefused;
} BatchAnswer;

static void
batch_note(BatchAnswer *a, int index, json_object *id, int status, const char *error)
{
	json_object *e;

	a->nrefused += error != NULL;
	if (a->errors && error == NULL)
		return;
	e = json_object_new_object();
	if (a->errors)
	{
		json_object_object_add(e, "index", json_object_new_int(index));
		json_object_object_add(e, "message", json_object_new_string(error));
	}
	else if (a->keyed)
	{
		json_object_object_add(e, "key", json_object_get(id));
		json_object_object_add(e, "ok", json_object_new_boolean(error == NULL));
	}
	else
	{
		json_object_object_add(e, "status", json_object_new_int(status));
		json_object_object_add(e, "id", json_object_get(id));
	}
	if (error && !a->errors)
		json_object_object_add(e, "error", json_object_new_string(error));
	json_object_array_add(a->list, e);
}

/* Carries out one element, unless dry; its status, and *error if it is refused. */
static int
batch_element(Collection *c, json_object *row, bool is_delete, bool dry, const char **error)
{
	json_object *id = is_delete && !json_object_is_type(row, json_type_object) ? row : json_member(row, "id");
	const char *key = id ? json_object_get_string(id) : NULL;
	Refusal		refusal;

	*error = NULL;
	if (key == NULL)
		*error = "id is missing";
	else if (is_delete && json_member(c->rows, key) == NULL)
		*error = "no such object";
	else if (policy_refuses(row, &refusal))
	{
		*error = refusal.reason;
		return refusal.status;
	}
	else if (!dry && is_delete)
		json_object_object_del(c->rows, key);
	else if (!dry)
		json_object_object_add(c->rows, key, json_object_get(row));
	if (*error)
		return key ? 404 : 400;
	return 200;
}

/* With shape "status", or when told so, one bad element refuses the whole call. */
static bool
batch_refused(Collection *c, json_object *rows, bool is_delete, bool whole, Reply *reply)
{
	size_t		n = json_object_array_length(rows);
	char		message[300];

	if (policy_max_batch() > 0 && n > (size_t) policy_max_batch())
	{
		json_error(reply, 413, "too many elements");
		return true;
	}
	for (size_t i = 0; whole && i < n; i++)
	{
		const char *error;

		batch_element(c, json_object_array_get_idx(rows, i), is_delete, true, &error);
		if (error)
		{
			snprintf(message, sizeof(message), "element %zu: %.200s", i, error);
			stats.refused++;
			json_error(reply, 400, message);
			return true;
		}
	}
	return false;
}

static void
batch(Collection *c, const Request *request, json_object *body, bool is_delete, Reply *reply)
{
	json_object *rows = json_object_is_type(body, json_type_array) ? body : json_member(body, "inputs");
	char	   *shape = query_param(request->query, "shape");
	bool		status_only = shape == NULL || strcmp(shape, "status") == 0;
	BatchAnswer answer = {0};
	json_object *o;

	answer.errors = shape && strcmp(shape, "errors") == 0;
	answer.keyed = shape && strcmp(shape, "keyed") == 0;
	if (!json_object_is_type(rows, json_type_array))
		json_error(reply, 400, "an array, or {\"inputs\": [...]}, is required");
	else if (!batch_refused(c, rows, is_delete, status_only || policy_refuses_whole_batch(), reply))
	{
		answer.list = json_object_new_array();
		for (size_t i = 0; i < json_object_array_length(rows); i++)
		{
			json_object *row = json_object_array_get_idx(rows, i);
			const char *error;
			int			status = batch_element(c, row, is_delete, false, &error);
			json_object *id = json_object_is_type(row, json_type_object) ? json_member(row, "id") : row;

			batch_note(&answer, (int) i, id, status, error);
		}
		stats.rows += json_object_array_length(rows) - answer.nrefused;
		stats.refused += answer.nrefused;
		if (shape && strcmp(shape, "array") == 0)
			o = json_object_get(answer.list);
		else
		{
			o = json_object_new_object();
			if (!status_only)
				json_object_object_add(o, answer.keyed ? "results" : "errors", json_object_get(answer.list));
		}
		json_object_put(answer.list);
		json_reply(reply, 200, o);
	}
	free(shape);
}

/* ---- paths: /objects/NAME, /objects/NAME/ID, /objects/NAME/batch/upsert|delete ---- */

static void
one(Collection *c, const Request *request, const char *id, json_object *body, Reply *reply)
{
	if (strcmp(request->method, "PUT") == 0)
		put(c, id, body, reply);
	else if (strcmp(request->method, "PATCH") == 0)
		patch(c, id, body, reply);
	else if (strcmp(request->method, "DELETE") == 0)
		delete(c, id, reply);
	else if (strcmp(request->method, "GET") != 0)
		json_error(reply, 405, "GET, PUT, PATCH or DELETE");
	else if (json_member(c->rows, id) == NULL)
		json_error(reply, 404, "no such object");
	else
		reply_object(reply, 200, json_member(c->rows, id));
}

void
crm_handle(const Request *request, Reply *reply)
{
	char	   *path = strdup(strstr(request->path, "objects/") + 8);
	char	   *id = strchr(path, '/');
	json_object *body = request->body_len ? json_parse(request->body, request->body_len) : NULL;
	Collection *c;

	if (id)
		*id++ = '\0';
	percent_decode(path);
	c = collection_find(path);
	if (c == NULL)
		json_error(reply, 400, "too many collections");
	else if (request->body_len && body == NULL)
		json_error(reply, 400, "the body is not JSON");
	else if (id == NULL && strcmp(request->method, "POST") == 0)
		create(c, body, reply);
	else if (id == NULL && strcmp(request->method, "GET") == 0)
		list(c, request, reply);
	else if (id == NULL)
		json_error(reply, 405, "GET or POST");
	else if (strcmp(id, "search") == 0)
		search_handle(c->rows, request, body, reply);
	else if (strcmp(request->method, "POST") == 0 && strcmp(id, "batch/upsert") == 0)
		batch(c, request, body, false, reply);
	else if (strcmp(request->method, "POST") == 0 && strcmp(id, "batch/delete") == 0)
		batch(c, request, body, true, reply);
	else
	{
		percent_decode(id);
		one(c, request, id, body, reply);
	}
	json_object_put(body);
	free(path);
}

/* One row of a job; false with the reason. */
bool
crm_apply(const char *collection, json_object *row, bool is_delete, const char **error)
{
	return batch_element(collection_find(collection), row, is_delete, false, error) < 300;
}
