/*
 * rate.c
 *	  How many calls an API allows: as the definition declares it, and as the
 *	  API's own headers tell.  docs/quota.md is for people.
 *
 * Headers are a stranger's: what is no number, or no time to come, is as if it
 * had not been said.
 */
#include "postgres.h"

#include <ctype.h>
#include <curl/curl.h>
#include <math.h>

#include "connector/definition.h"
#include "core/clock.h"
#include "core/compat.h"
#include "schedule/cron.h"
#include "utils/timestamp.h"

/* How long a number holds of which it is not said until when. */
#define RATE_HOLDS_US		USECS_PER_SEC
/* As with Retry-After: who says more is asked again after a day. */
#define RATE_MAX_WAIT_US	USECS_PER_DAY

#define RATE_MAX_PERIOD		(31 * INT64CONST(86400))

/* What most APIs use; the first that is there counts. */
static const ConnectorQuota usual[] = {
	{.remaining = "RateLimit-Remaining", .limit = "RateLimit-Limit", .reset = "RateLimit-Reset"},
	{.remaining = "X-RateLimit-Remaining", .limit = "X-RateLimit-Limit", .reset = "X-RateLimit-Reset"},
	{.remaining = "X-Rate-Limit-Remaining", .limit = "X-Rate-Limit-Limit", .reset = "X-Rate-Limit-Reset"},
	{.remaining = "X-HubSpot-RateLimit-Remaining", .limit = "X-HubSpot-RateLimit-Max", .per_us = 10 * USECS_PER_SEC},
	{.used = "X-Shopify-Shop-Api-Call-Limit"}
};

bool
rate_period(const char *text, int64 *us)
{
	CronError	error;
	int64_t		seconds;

	if (!cron_parse_every(text, &seconds, &error) || seconds > RATE_MAX_PERIOD)
		return false;
	if (us != NULL)
		*us = seconds * USECS_PER_SEC;
	return true;
}

/* 0: it is not there; its form was checked. */
static int64
rate_member_period(const JsonbValue *container)
{
	const char *text = definition_text(container, "per");
	int64		us = 0;

	if (text != NULL)
		(void) rate_period(text, &us);
	return us;
}

pg_noreturn static void
rate_fail(const char *subject, const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s: %s", subject, message),
			 errhint("%s", hint)));
}

static void
rate_compile_limits(QuotaRate *rate, const JsonbValue *list, const char *subject)
{
	int			n;
	DefinitionMember *elements = definition_members(list, &n);

	for (int i = 0; i < n; i++)
	{
		QuotaLimit	limit = {.calls = definition_int(&elements[i].value, "calls", 0),
		.per_us = rate_member_period(&elements[i].value)};

		if (limit.calls == 0 || limit.per_us == 0)
			rate_fail(subject, psprintf("\"rate.%d\" does not say both \"calls\" and \"per\"", i),
					  "Write {\"calls\": 100, \"per\": \"10s\"}.");
		for (int j = 0; j < rate->n; j++)
			if (rate->limits[j].per_us == limit.per_us)
				rate_fail(subject, psprintf("\"rate.%d\" is for the same time as \"rate.%d\"", i, j),
						  "Each element limits the calls of another length of time.");
		rate->limits[rate->n++] = limit;
	}
}

static char *
rate_header_name(const JsonbValue *container, const char *member, const char *subject)
{
	char	   *name = definition_text(container, member);

	if (name != NULL && !http_header_is_name(name))
		rate_fail(subject, psprintf("\"%s\" of \"quota\" is no name of a header: \"%s\"", member, name),
				  "Write the header's name, as in \"X-RateLimit-Remaining\".");
	return name;
}

static void
rate_compile_quotas(Connector *connector, const JsonbValue *list, const char *subject)
{
	int			n;
	DefinitionMember *elements = definition_members(list, &n);

	for (int i = 0; i < n; i++)
	{
		const JsonbValue *element = &elements[i].value;
		ConnectorQuota *quota = &connector->quotas[connector->nquotas++];

		quota->remaining = rate_header_name(element, "remaining", subject);
		quota->used = rate_header_name(element, "used", subject);
		quota->limit = rate_header_name(element, "limit", subject);
		quota->reset = rate_header_name(element, "reset", subject);
		quota->per_us = rate_member_period(element);
		if ((quota->remaining == NULL) == (quota->used == NULL))
			rate_fail(subject, psprintf("\"quota.%d\" must name \"remaining\" or \"used\"", i),
					  "\"remaining\" is the header with the calls that are left; \"used\" one with those that were made, or \"used/limit\".");
	}
}

static void
rate_compile_throttle(ConnectorThrottle *throttle, const JsonbValue *from, const char *subject)
{
	JsonbValue	codes;
	DefinitionMember *members = NULL;
	const char *wait = definition_text(from, "wait");
	int			n = 0;

	throttle->code = definition_text(from, "code");
	if (wait != NULL)
		(void) rate_period(wait, &throttle->wait_us);
	if (definition_get_in(from, "codes", &codes))
		members = definition_members(&codes, &n);
	if ((throttle->code == NULL) != (n == 0))
		rate_fail(subject, "\"throttle\" must have both \"code\" and \"codes\", or neither",
				  "\"code\" is the path of an error code in the answer, \"codes\" says for how long each asks to wait.");
	throttle->codes = palloc(sizeof(char *) * (n + 1));
	throttle->code_us = palloc(sizeof(int64) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		if (members[i].value.type == jbvNull)
			continue;
		throttle->codes[throttle->ncodes] = members[i].name;
		(void) rate_period(template_scalar_text(&members[i].value), &throttle->code_us[throttle->ncodes++]);
	}
}

void
rate_compile(Connector *connector, Jsonb *definition, const char *subject)
{
	JsonbValue	root = definition_root(definition);
	JsonbValue	list;

	connector->concurrent = definition_int(&root, "concurrent", 0);
	if (definition_get(definition, "throttle", &list))
		rate_compile_throttle(&connector->throttle, &list, subject);

	if (definition_get(definition, "rate", &list))
		rate_compile_limits(&connector->rate, &list, subject);
	if (definition_get(definition, "quota", &list))
		rate_compile_quotas(connector, &list, subject);
}

/* --- what headers say -------------------------------------------------- */

/* A number of calls at the beginning of a text; end: behind it.  -1: there is none. */
static int64
rate_number(const char *text, const char **end)
{
	size_t		digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18)
		return -1;
	*end = text + digits;
	return strtoll(text, NULL, 10);
}

static int64
rate_header_number(const HttpRequest *request, const char *name)
{
	char	   *value = name ? http_answer_header(request, name) : NULL;
	const char *end;
	int64		number;

	if (value == NULL)
		return -1;
	number = rate_number(value, &end);
	/* "100, 100;w=60": the first is the one that counts */
	return number >= 0 && *end != '\0' && strchr(",; ", *end) == NULL ? -1 : number;
}

/* A moment that the API names is one of its own clock, which its Date shows. */
static int64
rate_from_epoch(const HttpRequest *request, double epoch)
{
	char	   *date = http_answer_header(request, "Date");
	time_t		theirs = date ? curl_getdate(date, NULL) : -1;
	TimestampTz now = theirs < 0 ? clock_now() : time_t_to_timestamptz(theirs);

	return (int64) (epoch * USECS_PER_SEC) - (now + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
}

/* Microseconds from now; -1: not said, or long past. */
static int64
rate_header_reset(const HttpRequest *request, const char *name)
{
	char	   *value = name ? http_answer_header(request, name) : NULL;
	char	   *end;
	double		number;
	time_t		date;

	if (value == NULL)
		return -1;
	if (strspn(value, "0123456789.") < strcspn(value, ",; "))
	{
		date = curl_getdate(value, NULL);
		return date < 0 ? -1 : rate_from_epoch(request, (double) date);
	}
	number = strtod(value, &end);
	if (end == value || number > 1e15)
		return -1;
	if (number >= 1e11)
		return rate_from_epoch(request, number / 1000);
	if (number >= 1e9)
		return rate_from_epoch(request, number);
	return (int64) (number * USECS_PER_SEC);
}

static void
rate_say(QuotaTold *told, int64 left, int64 limit, int64 wait_us)
{
	told->said = true;
	told->left = left;
	told->limit = limit;
	told->until = clock_now() + Min(wait_us, RATE_MAX_WAIT_US);
}

static bool
rate_read(const ConnectorQuota *quota, const HttpRequest *request, QuotaTold *told)
{
	int64		left = rate_header_number(request, quota->remaining);
	int64		limit = rate_header_number(request, quota->limit);
	int64		wait_us = rate_header_reset(request, quota->reset);
	char	   *value = quota->used ? http_answer_header(request, quota->used) : NULL;

	if (value != NULL)
	{
		const char *at = value + strcspn(value, "0123456789");
		int64		used = rate_number(at, &at);

		if (used >= 0 && *at == '/')
			limit = rate_number(at + 1, &at);
		if (used >= 0 && limit >= 0)
			left = Max(limit - used, 0);
	}
	if (left < 0)
		return false;
	if (wait_us < 0)
		wait_us = quota->per_us > 0 ? quota->per_us : RATE_HOLDS_US;
	rate_say(told, left, limit, wait_us);
	return true;
}

/* Far from overflow, and cut later. */
static int64
rate_seconds(const char *text)
{
	int64		seconds = rate_number(text, &text);

	return seconds < 0 ? RATE_HOLDS_US : Min(seconds, RATE_MAX_PERIOD) * USECS_PER_SEC;
}

/*
 * RateLimit of the IETF's drafts: "limit=100, remaining=50, reset=5" of one
 * budget in the older ones, a list of "name";r=50;t=5 in the newer.
 */
static bool
rate_read_ietf(const HttpRequest *request, QuotaTold *told)
{
	char	   *value = http_answer_header(request, "RateLimit");
	int64		left = -1;
	int64		limit = -1;
	int64		wait_us = RATE_HOLDS_US;
	int			n = 0;
	char	   *at;
	char	   *token;

	if (value == NULL)
		return false;
	for (token = strtok_r(value, ",;", &at); token != NULL && n < QUOTA_TOLD; token = strtok_r(NULL, ",;", &at))
	{
		const char *name;
		const char *number = strchr(token, '=');
		size_t		length;

		while (isspace((unsigned char) *token))
			token++;
		name = token;
		length = number ? number - name : strlen(name);
		if (number == NULL)
		{
			/* the name of the next one */
			if (left >= 0)
				rate_say(&told[n++], left, limit, wait_us);
			left = limit = -1;
			wait_us = RATE_HOLDS_US;
		}
		else if ((length == 1 && *name == 'r') || (length == 9 && strncmp(name, "remaining", 9) == 0))
			left = rate_number(number + 1, &number);
		else if ((length == 1 && *name == 'q') || (length == 5 && strncmp(name, "limit", 5) == 0))
			limit = rate_number(number + 1, &number);
		else if ((length == 1 && *name == 't') || (length == 5 && strncmp(name, "reset", 5) == 0))
			wait_us = rate_seconds(number + 1);
	}
	if (left >= 0 && n < QUOTA_TOLD)
		rate_say(&told[n++], left, limit, wait_us);
	return n > 0;
}

bool
connector_quota(const Connector *connector, const HttpRequest *request, QuotaTold *told)
{
	bool		any = false;

	memset(told, 0, sizeof(QuotaTold) * QUOTA_TOLD);
	for (int i = 0; i < connector->nquotas; i++)
		any |= rate_read(&connector->quotas[i], request, &told[i]);
	/* most APIs say nothing: one look */
	if (connector->nquotas > 0 || strcasestr(request->headers, "limit") == NULL)
		return any;
	any = rate_read_ietf(request, told);
	for (int i = 0; i < lengthof(usual) && !any; i++)
		any = rate_read(&usual[i], request, &told[0]);
	return any;
}
