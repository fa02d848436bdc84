/*
 * token.c
 *	  A token endpoint (OAuth 2.0) and whom its tokens admit: POST /token...
 *
 * Set by POST /_control {"tokens": {...}}; then everything but /token wants one
 * of its tokens.  Nothing is checked of a client or an assertion but that there
 * is one: tests look into the log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

static bool active;
static int	issued;
static int	valid_from;				/* tokens of a lower number were revoked */
static int64_t issued_us[10000];	/* by number */
static double lifetime;				/* seconds; 0: not told, for ever */
static bool rotates;
static int	generation;				/* of refresh tokens */
static char first[256];				/* the one of generation 0 */
static char refused[64];			/* every grant is refused with this code; "": none is */

static void
current_renewal(char *out, size_t size)
{
	if (generation == 0)
		snprintf(out, size, "%s", first);
	else
		snprintf(out, size, "HUSHrenewal%dHUSH", generation);
}

const char *
token_configure(json_object *value)
{
	const char *text;

	if (value == NULL)
	{
		token_reset();
		return NULL;
	}
	if (!json_object_is_type(value, json_type_object))
		return "tokens: an object is required";
	active = true;
	if (json_member(value, "lifetime"))
		lifetime = json_object_get_double(json_member(value, "lifetime"));
	if (json_member(value, "rotate"))
		rotates = json_object_get_boolean(json_member(value, "rotate"));
	if ((text = json_member_text(value, "refresh")) != NULL)
	{
		snprintf(first, sizeof(first), "%s", text);
		generation = 0;
	}
	if ((text = json_member_text(value, "refuse")) != NULL)
		snprintf(refused, sizeof(refused), "%s", text);
	if (json_object_get_boolean(json_member(value, "revoke")))
		valid_from = issued + 1;
	return NULL;
}

void
token_reset(void)
{
	active = rotates = false;
	issued = valid_from = generation = 0;
	lifetime = 0;
	first[0] = refused[0] = '\0';
}

static void
grant(Reply *reply)
{
	json_object *o = json_object_new_object();
	char		text[300];

	snprintf(text, sizeof(text), "HUSHaccess%dHUSH", ++issued);
	issued_us[issued % 10000] = now_us();
	json_object_object_add(o, "access_token", json_object_new_string(text));
	json_object_object_add(o, "token_type", json_object_new_string("bearer"));
	if (lifetime > 0)
		json_object_object_add(o, "expires_in", json_object_new_double(lifetime));
	if (rotates)
	{
		generation++;
		current_renewal(text, sizeof(text));
		json_object_object_add(o, "refresh_token", json_object_new_string(text));
	}
	json_reply(reply, 200, o);
}

void
token_handle(const Request *request, Reply *reply)
{
	char	   *body = malloc(request->body_len + 2);
	char	   *type;
	char	   *renewal;
	char		wanted[300];

	body[0] = '?';
	memcpy(body + 1, request->body, request->body_len);
	body[request->body_len + 1] = '\0';
	type = query_param(body + 1, "grant_type");
	renewal = query_param(body + 1, "refresh_token");
	current_renewal(wanted, sizeof(wanted));
	if (refused[0] != '\0')
		json_error(reply, 400, refused);
	else if (type == NULL)
		json_error(reply, 400, "invalid_request");
	else if (strcmp(type, "refresh_token") == 0 && (renewal == NULL || strcmp(renewal, wanted) != 0))
		json_error(reply, 400, "invalid_grant");
	else
		grant(reply);
	free(renewal);
	free(type);
	free(body);
}

bool
token_admits(const Request *request, Reply *reply)
{
	const char *header = request_header(request, "authorization");
	int			number = 0;

	if (!active || strncmp(request->path, "/token", 6) == 0)
		return true;
	if (header != NULL && sscanf(header, "Bearer HUSHaccess%dHUSH", &number) == 1 && number >= valid_from && number <= issued &&
		(lifetime == 0 || now_us() - issued_us[number % 10000] < lifetime * 1e6))
		return true;
	json_error(reply, 401, header ? header : "no token");
	return false;
}

void
token_list(Reply *reply)
{
	json_object *o = json_object_new_object();
	char		renewal[300];

	current_renewal(renewal, sizeof(renewal));
	json_object_object_add(o, "issued", json_object_new_int(issued));
	json_object_object_add(o, "refresh", json_object_new_string(renewal));
	json_reply(reply, 200, o);
}
