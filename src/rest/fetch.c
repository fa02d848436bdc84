/*
 * fetch.c
 *	  One page of an API: the request, waiting out throttling, and everything
 *	  that an answer can be instead of a page of JSON.
 *
 * Reading never turns a refusal into "no rows": whatever is not a whole, well
 * formed answer is an ERROR that names the table and the URL.  No message
 * holds a secret, a query that the server wrote, or a body.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/compat.h"
#include "core/errors.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "rest/rest.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* A throttled page is asked for this often, and a single wait is at most so long. */
#define FETCH_TRIES			5
#define FETCH_MAX_WAIT_MS	60000
#define FETCH_MAX_BODY		((size_t) 16 * 1024 * 1024)

static HttpRequest *fetch_once(const RestSource *source, const char *url, const char *shown, MemoryContext context);
static int64 fetch_budget(const RestSource *source, const char *shown);
static void fetch_note(const RestSource *source, const HttpRequest *request, int64 ticket);
static bool fetch_throttled(const RestSource *source, const HttpRequest *request, int try, int64 *wait_ms);
static void fetch_wait(int64 wait_ms);
pg_noreturn static void fetch_report(const RestSource *source, const HttpRequest *request,
									 const char *shown);
static const char *fetch_status_hint(const RestSource *source, const HttpRequest *request);
static void fetch_check_type(const RestSource *source, const HttpRequest *request, const char *shown);
static void fetch_check_encoding(const RestSource *source, const char *text, size_t length,
								 const char *shown);
static Jsonb *fetch_parse(const RestSource *source, const char *text, size_t length,
						  const char *shown);

static QuotaAccount
fetch_account(const RestSource *source)
{
	return (QuotaAccount) {source->connector->server, source->auth->userid};
}

HttpRequest *
rest_fetch(const RestSource *source, const char *url, const char *shown, MemoryContext context)
{
	for (int try = 1;; try++)
	{
		HttpRequest *request = fetch_once(source, url, shown, context);
		int64		wait_ms;

		if (request->outcome == HTTP_ANSWERED && request->status >= 200 && request->status < 300 &&
			!connector_throttled(source->connector, request, &wait_ms))
			return request;
		if (!fetch_throttled(source, request, try, &wait_ms))
			fetch_report(source, request, shown);
		ereport(DEBUG1,
				(errmsg_internal("page %s of foreign table \"%s\" is throttled, waiting " INT64_FORMAT " ms",
								 shown, source->table, wait_ms)));
		http_request_free(request);
	}
}

static HttpRequest *
fetch_once(const RestSource *source, const char *url, const char *shown, MemoryContext context)
{
	const Connector *connector = source->connector;
	int64		ticket = fetch_budget(source, shown);
	HttpRequest *request = http_request_create(context, connector->read.method, url);

	request->max_body = FETCH_MAX_BODY;
	request->unpack = true;
	connector_add_headers(connector, request, NULL);
	connector_authorize(request, source->auth);
	http_perform(request);
	fetch_note(source, request, ticket);
	return request;
}

/*
 * Waits until the account's budget has room for a page.  As long as it takes by
 * the rate that is declared; if the API has told us to wait, as for an answer
 * of our own that does.
 */
static int64
fetch_budget(const RestSource *source, const char *shown)
{
	const Connector *connector = source->connector;

	for (;;)
	{
		QuotaGrant	grant;
		TimestampTz now = clock_now();
		int64		wait_ms;

		if (quota_take(fetch_account(source), &connector->rate, QUOTA_NORMAL, connector->read.cost, now, &grant))
			return grant.ticket;
		wait_ms = (grant.until - now) / 1000 + 1;
		if (grant.told && grant.until - now > FETCH_MAX_WAIT_MS * INT64CONST(1000))
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_API_ERROR),
					 errmsg("could not read foreign table \"%s\": the API has asked to wait for " INT64_FORMAT " seconds",
							source->table, wait_ms / 1000),
					 errdetail("The page was %s.", shown),
					 errhint("All who use the account wait; activate.stat_target shows what is left. Try again later.")));
		fetch_wait(wait_ms);
	}
}

static void
fetch_note(const RestSource *source, const HttpRequest *request, int64 ticket)
{
	QuotaTold	told[QUOTA_TOLD];

	if (request->outcome == HTTP_ANSWERED && connector_quota(source->connector, request, told))
		quota_learn(fetch_account(source), told, ticket, clock_now());
}

/* Whoever shares the account waits, too.  A wait that nobody would sit through is reported instead. */
static bool
fetch_throttled(const RestSource *source, const HttpRequest *request, int try, int64 *wait_ms)
{
	if (request->outcome != HTTP_ANSWERED || !connector_throttled(source->connector, request, wait_ms))
		return false;
	if (*wait_ms < 0)
		*wait_ms = INT64CONST(500) << try;
	quota_block(fetch_account(source), clock_now() + *wait_ms * 1000);
	return try < FETCH_TRIES && *wait_ms <= FETCH_MAX_WAIT_MS;
}

static void
fetch_wait(int64 wait_ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);

	for (;;)
	{
		long		left;

		CHECK_FOR_INTERRUPTS();
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* The page did not come: says why. */
static void
fetch_report(const RestSource *source, const HttpRequest *request, const char *shown)
{
	switch (request->outcome)
	{
		case HTTP_ANSWERED:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_API_ERROR),
					 errmsg("could not read foreign table \"%s\": the API answered with status %ld",
							source->table, request->status),
					 errdetail("The page was %s.", shown),
					 errhint("%s", fetch_status_hint(source, request))));
			break;
		case HTTP_FORBIDDEN:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_FORBIDDEN_HOST),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 errhint("Hosts that may be contacted are listed in \"activate.allowed_hosts\".")));
			break;
		case HTTP_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 errhint("Ask for smaller pages: \"size_param\" and \"size\" of \"read.page\".")));
			break;
		case HTTP_NO_CONNECTION:
		case HTTP_TIMED_OUT:
		case HTTP_BROKEN:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_UNREACHABLE),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 request->outcome == HTTP_TIMED_OUT ?
					 errhint("The time allowed is \"activate.http_timeout\".") :
					 errhint("Check \"base_url\" of the server and whether the API is up.")));
			break;
	}
	pg_unreachable();
}

static const char *
fetch_status_hint(const RestSource *source, const HttpRequest *request)
{
	int64		wait_ms;

	if (connector_throttled(source->connector, request, &wait_ms))
		return "The API asks callers to wait; try again later.";
	switch (request->status)
	{
		case 401:
		case 403:
		case 407:
			return source->auth->present ?
				"The secret of the user mapping is not accepted: renew it with activate_target(..., secret => ...)." :
				"No secret was sent: give one with activate_target(..., secret => ...).";
		case 404:
		case 410:
			return "Check \"base_url\" of the server and \"read.path\" of the object.";
		case 503:
			return "The API asks callers to wait; try again later.";
		case 301:
		case 302:
		case 303:
		case 307:
		case 308:
			{
				char	   *location = http_answer_header(request, "Location");

				/* Not followed: the secret would go wherever the answer says. */
				if (location != NULL)
					location = rest_url_resolve(request->url, location);
				return location == NULL ? "Redirects are not followed." :
					psprintf("Redirects are not followed. It points to %s: give that place as \"base_url\".",
							 rest_url_shown(source->auth, location));
			}
		default:
			return request->status >= 500 ? "The API failed; try again later." :
				"Check path, query and paging parameters of the object.";
	}
}

Jsonb *
rest_fetch_document(const RestSource *source, const HttpRequest *request, const char *shown)
{
	const char *text = request->answer;
	size_t		length = request->answer_len;

	if (request->status == 204)
		return NULL;
	fetch_check_type(source, request, shown);

	/* A byte order mark is no JSON, yet some servers send it; RFC 8259 lets us skip it. */
	if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
	{
		text += 3;
		length -= 3;
	}
	fetch_check_encoding(source, text, length, shown);
	return fetch_parse(source, text, length, shown);
}

/* application/json, text/json and anything+json; nothing at all is given the benefit. */
static void
fetch_check_type(const RestSource *source, const HttpRequest *request, const char *shown)
{
	char	   *type = http_answer_header(request, "Content-Type");
	size_t		length;

	if (type == NULL)
		return;
	length = strcspn(type, "; \t");
	if ((length == 16 && pg_strncasecmp(type, "application/json", 16) == 0) ||
		(length == 9 && pg_strncasecmp(type, "text/json", 9) == 0) ||
		(length > 5 && pg_strncasecmp(type + length - 5, "+json", 5) == 0))
		return;
	type[length] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
			 errmsg("could not read foreign table \"%s\": the answer has content type \"%s\", not JSON",
					source->table, rest_clip(connector_redact(source->auth, type), 100)),
			 errdetail("The page was %s.", shown),
			 errhint("Check that \"base_url\" and \"read.path\" name the API and not a web page.")));
}

static void
fetch_check_encoding(const RestSource *source, const char *text, size_t length, const char *shown)
{
	int			valid = pg_encoding_verifymbstr(PG_UTF8, text, (int) length);

	if (valid < (int) length)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the answer is not valid UTF-8 at byte %d",
						source->table, valid + 1),
				 errdetail("The page was %s.", shown),
				 errhint("JSON must be UTF-8: this is to be mended in the API.")));
}

/*
 * By PostgreSQL's own parser, so that numbers keep every digit.  Its complaint
 * becomes ours; anything else (cancel, out of memory) passes.
 */
static Jsonb *
fetch_parse(const RestSource *source, const char *text, size_t length, const char *shown)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *server_text = pg_any_to_server(text, (int) length, PG_UTF8);
	Datum volatile document = (Datum) 0;

	PG_TRY();
	{
		document = DirectFunctionCall1(jsonb_in, CStringGetDatum(server_text));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
		if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
			category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the answer is not valid JSON",
						source->table),
				 errdetail("The page was %s: %s", shown,
						   rest_clip(error->message, 200)),
				 errhint("Check that \"base_url\" and \"read.path\" name the API.")));
	}
	PG_END_TRY();
	if (server_text != text)
		pfree(server_text);
	return DatumGetJsonbP(document);
}
