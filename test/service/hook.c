/*
 * hook.c
 *	  A receiver of webhook calls that remembers what it was told, so that a
 *	  test can compare it with the source row by row.
 *
 * As a good receiver does, it drops a change whose seq is lower than the last
 * one of its key (and counts it), and an id that it has seen (and counts it).
 */
#include <stdlib.h>
#include <string.h>

#include "service.h"

/* hook name -> {"syncs": {sync: {key text: entry}}, "rows": [bare rows], "ids": {id: times}} */
static json_object *hooks;

void
hook_reset(void)
{
	json_object_put(hooks);
	hooks = NULL;
}

static json_object *
child(json_object *o, const char *name, json_object *(*make) (void))
{
	json_object *value = json_member(o, name);

	if (value == NULL)
		json_object_object_add(o, name, value = make());
	return value;
}

static json_object *
hook_find(const char *path)
{
	const char *slash = strchr(path + 1, '/');

	if (hooks == NULL)
		hooks = json_object_new_object();
	return child(hooks, slash ? slash + 1 : "", json_object_new_object);
}

static void
count_up(json_object *o, const char *name)
{
	json_object *n = json_member(o, name);

	if (n)
		json_object_set_int64(n, json_object_get_int64(n) + 1);
	else
		json_object_object_add(o, name, json_object_new_int64(1));
}

static void
keep_bare_row(json_object *hook, json_object *row)
{
	json_object_array_add(child(hook, "rows", json_object_new_array), json_object_get(row));
}

static void
copy_member(json_object *to, json_object *from, const char *name)
{
	json_object_object_add(to, name, json_object_get(json_member(from, name)));
}

static void
keep_change(json_object *hook, json_object *change)
{
	const char *id = json_member_text(change, "id");
	json_object *ids = child(hook, "ids", json_object_new_object);
	json_object *syncs = child(hook, "syncs", json_object_new_object);
	const char *sync = json_member_text(change, "sync");
	json_object *keys = child(syncs, sync ? sync : "", json_object_new_object);
	json_object *entry = child(keys, json_text(json_member(change, "key")), json_object_new_object);
	int64_t		seq = json_object_get_int64(json_member(change, "seq"));

	count_up(entry, "count");
	count_up(ids, id ? id : "");
	if (json_object_get_int64(json_member(ids, id ? id : "")) > 1)
	{
		stats.duplicates++;
		return;
	}
	if (json_member(entry, "seq") && seq < json_object_get_int64(json_member(entry, "seq")))
	{
		count_up(entry, "regressions");
		stats.seq_regressions++;
		return;
	}
	copy_member(entry, change, "op");
	copy_member(entry, change, "seq");
	copy_member(entry, change, "key");
	copy_member(entry, change, "row");
}

static bool
is_change(json_object *o)
{
	return json_member(o, "op") && json_member(o, "key") && json_member(o, "id");
}

static bool
refuses(json_object *o, Refusal *refusal)
{
	return policy_refuses(is_change(o) ? json_member(o, "row") : o, refusal);
}

static void
receive_one(json_object *hook, json_object *o, Reply *reply)
{
	Refusal		refusal;

	if (refuses(o, &refusal))
	{
		stats.refused++;
		json_error(reply, refusal.status, refusal.reason);
		return;
	}
	if (is_change(o))
		keep_change(hook, o);
	else
		keep_bare_row(hook, o);
	stats.rows++;
	buffer_printf(&reply->body, "{}");
}

static json_object *
result(int status, const char *error)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "status", json_object_new_int(status));
	if (error)
		json_object_object_add(o, "error", json_object_new_string(error));
	return o;
}

static void
reply_results(Reply *reply, json_object *results, bool any_refused)
{
	ResultsMode mode = policy_results();
	json_object *o = json_object_new_object();
	size_t		n = json_object_array_length(results);

	if (mode == RESULTS_SHORT && n > 0)
		json_object_array_del_idx(results, n - 1, 1);
	if (mode == RESULTS_WRONG)
		json_object_object_add(o, "results", json_object_new_string("fine"));
	else if (any_refused || mode != RESULTS_AUTO)
		json_object_object_add(o, "results", json_object_get(results));
	json_object_put(results);
	json_reply(reply, 200, o);
}

static void
receive_many(json_object *hook, json_object *list, Reply *reply)
{
	size_t		n = json_object_array_length(list);
	json_object *results = json_object_new_array();
	Refusal		refusal;
	int			nrefused = 0;

	for (size_t i = 0; i < n; i++)
		nrefused += refuses(json_object_array_get_idx(list, i), &refusal);
	stats.refused += nrefused;
	if ((nrefused > 0 && policy_refuses_whole_batch()) || (policy_max_batch() > 0 && (int) n > policy_max_batch()))
	{
		json_object_put(results);
		json_error(reply, nrefused ? 400 : 413, nrefused ? "an element is not acceptable" : "too many elements");
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		json_object *o = json_object_array_get_idx(list, i);

		if (refuses(o, &refusal))
		{
			json_object_array_add(results, result(refusal.status, refusal.reason));
			continue;
		}
		if (is_change(o))
			keep_change(hook, o);
		else
			keep_bare_row(hook, o);
		stats.rows++;
		json_object_array_add(results, result(200, NULL));
	}
	reply_results(reply, results, nrefused > 0);
}

void
hook_receive(const Request *request, Reply *reply)
{
	json_object *body = json_parse(request->body, request->body_len);
	json_object *list = json_object_is_type(body, json_type_array) ? body : json_member(body, "changes");

	if (body == NULL)
		json_error(reply, 400, "the body is not JSON");
	else if (json_object_is_type(list, json_type_array))
		receive_many(hook_find(request->path), list, reply);
	else
		receive_one(hook_find(request->path), body, reply);
	json_object_put(body);
}

void
hook_state(const Request *request, Reply *reply)
{
	json_reply(reply, 200, json_object_get(hook_find(request->path)));
}
