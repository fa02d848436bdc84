/*
 * route.c
 *	  From a complete request to its reply: control, admission, faults, work.
 */
#include <stdlib.h>
#include <string.h>

#include "service.h"

static json_object *seen_keys;	/* Idempotency-Key: true */

/* Everything is checked by the module that owns it; the first complaint is the answer. */
static void
control(const Request *request, Reply *reply)
{
	json_object *o = json_parse(request->body, request->body_len);
	const char *wrong = NULL;

	if (!json_object_is_type(o, json_type_object))
		wrong = "a JSON object is required";
	else if (json_member(o, "fault"))
		wrong = fault_configure(o);
	else
	{
		json_object_object_foreach(o, name, value)
		{
			if (wrong == NULL && strcmp(name, "jobs") == 0)
				wrong = job_configure(value);
			else if (wrong == NULL && strcmp(name, "tokens") == 0)
				wrong = token_configure(value);
			else if (wrong == NULL && strcmp(name, "versions") == 0)
				wrong = version_configure(value);
			else if (wrong == NULL && strcmp(name, "unique") == 0)
				wrong = search_configure(value);
			else if (wrong == NULL)
				wrong = policy_knows(name) ? policy_configure(name, value) : "unknown setting";
		}
	}
	if (wrong)
		json_error(reply, 400, wrong);
	else
		buffer_printf(&reply->body, "{}");
	json_object_put(o);
}

static void
reset_all(Reply *reply)
{
	crm_reset();
	hook_reset();
	job_reset();
	search_reset();
	version_reset();
	fault_reset();
	policy_reset();
	token_reset();
	log_reset();
	json_object_put(seen_keys);
	seen_keys = NULL;
	buffer_printf(&reply->body, "{}");
}

static void
route_control(const Request *request, Reply *reply)
{
	bool		post = strcmp(request->method, "POST") == 0;

	if (post && strcmp(request->path, "/_control") == 0)
		control(request, reply);
	else if (post && strcmp(request->path, "/_reset") == 0)
		reset_all(reply);
	else if (!post && strcmp(request->path, "/_log") == 0)
		log_list(request, reply);
	else if (!post && strcmp(request->path, "/_stats") == 0)
		log_stats(reply);
	else if (!post && strcmp(request->path, "/_tokens") == 0)
		token_list(reply);
	else if (!post && strcmp(request->path, "/_jobs") == 0)
		job_list(reply);
	else if (!post && strncmp(request->path, "/_hook-state", 12) == 0)
		hook_state(request, reply);
	else if (!post && strncmp(request->path, "/_objects/", 10) == 0)
		crm_handle(request, reply);
	else
		json_error(reply, 404, "POST /_control, POST /_reset, GET /_log, GET /_stats, "
				   "GET /_hook-state[/name], GET /_jobs, GET /_tokens, GET /_objects/name");
}

static void
note_idempotency_key(const Request *request)
{
	const char *key = request_header(request, "idempotency-key");

	if (key == NULL)
		return;
	if (seen_keys == NULL)
		seen_keys = json_object_new_object();
	if (json_object_object_get_ex(seen_keys, key, NULL))
		stats.key_repeats++;
	else
		json_object_object_add(seen_keys, key, NULL);
}

static void
work(const Request *request, Reply *reply)
{
	if (strncmp(request->path, "/objects/", 9) == 0)
		crm_handle(request, reply);
	else if (strncmp(request->path, "/hook", 5) == 0)
		hook_receive(request, reply);
	else if (strncmp(request->path, "/jobs", 5) == 0)
		job_handle(request, reply);
	else if (strncmp(request->path, "/bulk", 5) == 0)
		bulk_handle(request, reply);
	else if (strncmp(request->path, "/token", 6) == 0)
		token_handle(request, reply);
	else if (strncmp(request->path, "/sink", 5) == 0)
		buffer_printf(&reply->body, "{}");
	else
		json_error(reply, 404, "no such path");
}

void
route(const Request *request, Reply *reply, Delivery *delivery)
{
	Fault	   *fault;

	/* Looking and controlling work whatever the faults, and are not logged. */
	if (strncmp(request->path, "/_", 2) == 0)
	{
		route_control(request, reply);
		return;
	}
	stats.requests++;
	stats.last_us = request->arrived_us;
	if (stats.first_us == 0)
		stats.first_us = request->arrived_us;
	note_idempotency_key(request);
	if (token_admits(request, reply) && policy_admits(request, reply))
	{
		fault = fault_match(request);
		if (fault == NULL || fault_applies_first(fault))
		{
			work(request, reply);
			version_tell(request, reply);
		}
		if (fault)
			fault_spoil(fault, reply, delivery);
	}
	log_status(delivery->how == SEND_NEVER || delivery->how == SEND_CLOSE ? 0 : reply->status);
}
