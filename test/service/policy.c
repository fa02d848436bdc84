/*
 * policy.c
 *	  Who may call, how often, and which rows are refused: what a real API
 *	  decides for itself, set here by POST /_control.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

static json_object *settings;	/* members as they were set */
static int64_t rate_second;
static int	rate_used;

static const char *const members[] = {
	"require_bearer", "require_header", "require_query", "rate", "reject", "batch_refusal",
	"results", "max_batch", NULL
};

bool
policy_knows(const char *member)
{
	for (const char *const *m = members; *m; m++)
		if (strcmp(*m, member) == 0)
			return true;
	return false;
}

/* A null takes a setting back; "reject" adds a rule each time. */
const char *
policy_configure(const char *member, json_object *value)
{
	const char *text = value ? json_object_get_string(value) : "";

	if (settings == NULL)
		settings = json_object_new_object();
	if (strcmp(member, "batch_refusal") == 0 && value && strcmp(text, "all") != 0 && strcmp(text, "element") != 0)
		return "batch_refusal is \"element\" or \"all\"";
	if (strcmp(member, "results") == 0 && value && strcmp(text, "auto") != 0 && strcmp(text, "always") != 0 &&
		strcmp(text, "short") != 0 && strcmp(text, "wrong") != 0)
		return "results is \"auto\", \"always\", \"short\" or \"wrong\"";
	if (value == NULL)
		json_object_object_del(settings, member);
	else if (strcmp(member, "reject") == 0)
	{
		json_object *rules = json_member(settings, member);

		if (json_member(value, "field") == NULL)
			return "reject needs \"field\", and \"equals\" to refuse one value only";
		if (rules == NULL)
			json_object_object_add(settings, member, rules = json_object_new_array());
		json_object_array_add(rules, json_object_get(value));
	}
	else
		json_object_object_add(settings, member, json_object_get(value));
	return NULL;
}

void
policy_reset(void)
{
	json_object_put(settings);
	settings = NULL;
	rate_second = rate_used = 0;
}

static bool
is_authorized(const Request *request)
{
	const char *bearer = json_member_text(settings, "require_bearer");
	const char *auth = request_header(request, "authorization");
	json_object *required;

	if (bearer && (auth == NULL || strncmp(auth, "Bearer ", 7) != 0 || strcmp(auth + 7, bearer) != 0))
		return false;
	required = json_member(settings, "require_header");
	if (required)
	{
		json_object_object_foreach(required, name, value)
		{
			const char *got = request_header(request, name);

			if (got == NULL || strcmp(got, json_object_get_string(value)) != 0)
				return false;
		}
	}
	required = json_member(settings, "require_query");
	if (required)
	{
		json_object_object_foreach(required, name, value)
		{
			char	   *got = query_param(request->query, name);
			bool		ok = got && strcmp(got, json_object_get_string(value)) == 0;

			free(got);
			if (!ok)
				return false;
		}
	}
	return true;
}

static bool
is_within_rate(const Request *request)
{
	json_object *rate = json_member(settings, "rate");

	if (rate == NULL)
		return true;
	if (rate_second != request->arrived_us / 1000000)
	{
		rate_second = request->arrived_us / 1000000;
		rate_used = 0;
	}
	return ++rate_used <= json_object_get_int(rate);
}

bool
policy_admits(const Request *request, Reply *reply)
{
	if (settings == NULL)
		return true;
	if (!is_authorized(request))
	{
		json_error(reply, 401, "who are you?");
		return false;
	}
	if (!is_within_rate(request))
	{
		json_error(reply, 429, "too many requests in this second");
		buffer_printf(&reply->headers, "Retry-After: 1\r\n");
		return false;
	}
	return true;
}

/* A row with "reject": true, or one that a rule fits. */
bool
policy_refuses(json_object *row, Refusal *refusal)
{
	json_object *rules = json_member(settings, "reject");
	size_t		n = rules ? json_object_array_length(rules) : 0;

	refusal->status = 422;
	refusal->reason = "the row asks to be rejected";
	if (json_object_get_boolean(json_member(row, "reject")))
		return true;
	for (size_t i = 0; i < n; i++)
	{
		json_object *rule = json_object_array_get_idx(rules, i);
		json_object *value = json_member(row, json_member_text(rule, "field"));
		const char *equals = json_member_text(rule, "equals");
		json_object *status = json_member(rule, "status");
		const char *reason = json_member_text(rule, "error");

		if (value == NULL || (equals && strcmp(json_object_get_string(value), equals) != 0))
			continue;
		refusal->status = status ? json_object_get_int(status) : 422;
		refusal->reason = reason ? reason : "a field is not acceptable";
		return true;
	}
	return false;
}

bool
policy_refuses_whole_batch(void)
{
	const char *how = json_member_text(settings, "batch_refusal");

	return how && strcmp(how, "all") == 0;
}

int
policy_max_batch(void)
{
	json_object *max = json_member(settings, "max_batch");

	return max ? json_object_get_int(max) : 0;
}

ResultsMode
policy_results(void)
{
	const char *how = json_member_text(settings, "results");

	if (how == NULL || how[0] == 'a')
		return how && how[1] == 'l' ? RESULTS_ALWAYS : RESULTS_AUTO;
	return how[0] == 's' ? RESULTS_SHORT : RESULTS_WRONG;
}
