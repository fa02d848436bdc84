/*
 * throttle.c
 *	  Does an answer ask us to wait, and for how long?
 *
 * In the ways that APIs have: Retry-After (seconds or a date); a moment in a
 * header of theirs; the name of a policy, or an error code of their own, in the
 * body, whatever the status; nothing but 429.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "connector/definition.h"
#include "core/clock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define THROTTLE_MAX_WAIT_MS	INT64CONST(86400000)

int64
connector_retry_after(const HttpRequest *request)
{
	char	   *value = http_answer_header(request, "Retry-After");
	int64		ms;

	if (value == NULL)
		return -1;
	if (*value != '\0' && strspn(value, "0123456789") == strlen(value))
		ms = strlen(value) > 9 ? THROTTLE_MAX_WAIT_MS : strtol(value, NULL, 10) * INT64CONST(1000);
	else
	{
		time_t		date = curl_getdate(value, NULL);

		if (date < 0)
			ms = -1;
		else
			ms = Max((time_t_to_timestamptz(date) - clock_now()) / 1000, 0);
	}
	pfree(value);
	return Min(ms, THROTTLE_MAX_WAIT_MS);
}

/* The answer names a code that the definition lists: the time that goes with it; -1: it does not. */
static int64
throttle_by_code(const Connector *connector, const Reader *reader)
{
	const char *code = connector->throttle.code && reader ? reader_text_at(reader, connector->throttle.code) : NULL;

	for (int i = 0; code != NULL && i < connector->throttle.ncodes; i++)
		if (strcmp(connector->throttle.codes[i], code) == 0)
			return connector->throttle.code_us[i] / 1000;
	return -1;
}

/* Of the budgets that the answer says are used up, when the last is renewed; -1: none. */
static int64
throttle_by_quota(const Connector *connector, const HttpRequest *request)
{
	QuotaTold	told[QUOTA_TOLD];
	int64		ms = -1;

	if (!connector_quota(connector, request, told))
		return -1;
	for (int i = 0; i < QUOTA_TOLD; i++)
		if (told[i].said && told[i].left <= 0)
			ms = Max(ms, (told[i].until - clock_now()) / 1000);
	return ms;
}

int64
connector_wait(const Connector *connector, const HttpRequest *request, int64 own_ms)
{
	int64		wait_ms = connector_retry_after(request);

	if (wait_ms < 0)
		wait_ms = own_ms;
	if (wait_ms < 0)
		wait_ms = throttle_by_quota(connector, request);
	if (wait_ms < 0 && connector->throttle.wait_us > 0)
		wait_ms = connector->throttle.wait_us / 1000;
	return Min(wait_ms, THROTTLE_MAX_WAIT_MS);
}

bool
answer_throttled(const Connector *connector, const HttpRequest *request, const Reader *reader, int64 *wait_ms)
{
	int64		by_code = throttle_by_code(connector, reader);

	*wait_ms = connector_retry_after(request);
	if (by_code < 0 && request->status != 429 && !(request->status == 503 && *wait_ms >= 0))
		return false;
	*wait_ms = connector_wait(connector, request, by_code);
	return true;
}

bool
connector_throttled(const Connector *connector, const HttpRequest *request, int64 *wait_ms)
{
	MemoryContext owner;
	bool		throttled;

	/* only a code is read from the body, which may be a page of records */
	if (connector->throttle.code == NULL)
		return answer_throttled(connector, request, NULL, wait_ms);
	owner = AllocSetContextCreate(CurrentMemoryContext, "activate code", ALLOCSET_SMALL_SIZES);
	throttled = answer_throttled(connector, request, answer_open(request, owner), wait_ms);
	MemoryContextDelete(owner);
	return throttled;
}
