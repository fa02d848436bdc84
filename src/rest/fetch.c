/*
 * fetch.c
 *	  One page of an API: the request, its budget, and waiting out throttling.
 *
 * A page may be asked for before it is needed.  What went wrong with it then
 * matters only when it is its turn; if the answer never came it is asked for
 * again, since the query may have left it alone for any time.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/errors.h"
#include "miscadmin.h"
#include "rest/rest.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A throttled page is asked for this often, and a single wait is at most so long. */
#define FETCH_TRIES			5
#define FETCH_MAX_WAIT_MS	60000
#define FETCH_MAX_BODY		((size_t) 16 * 1024 * 1024)

static int64 fetch_budget(const RestSource *source, const char *shown);
static void fetch_wait(int64 wait_ms);

static QuotaAccount
fetch_account(const RestSource *source)
{
	return (QuotaAccount) {source->connector->server, source->auth->userid};
}

/* Has the page changed since it was read last? */
static void
fetch_ask_whether(const RestSource *source, RestCall *call, HttpRequest *request)
{
	call->unchanged = false;
	call->kept = rest_kept_find(source, call->url, GetMemoryChunkContext(request));
	if (call->kept != NULL)
		http_request_header(request, call->kept->etag ? "If-None-Match" : "If-Modified-Since", call->kept->validator);
}

/* What the answer says of the budget has been read: from here on it is the page. */
static void
fetch_take_kept(RestCall *call)
{
	HttpRequest *request = call->request;

	if (call->kept == NULL || request->outcome != HTTP_ANSWERED || request->status != 304 || call->throttled)
		return;
	call->unchanged = true;
	request->status = 200;
	request->headers = call->kept->headers;
	request->answer = call->kept->body;
	request->answer_len = call->kept->length;
}

static void
fetch_send(const RestSource *source, RestCall *call, int64 ticket, MemoryContext context)
{
	const Connector *connector = source->connector;
	HttpRequest *request = http_request_create(context, connector->read.method, call->url);

	request->max_body = FETCH_MAX_BODY;
	request->unpack = true;
	connector_add_headers(connector, request, NULL);
	fetch_ask_whether(source, call, request);
	connector_token_await(source->auth);
	connector_authorize(request, source->auth);
	call->token = source->auth->token ? source->auth->token->serial : 0;
	http_session_submit(request);
	call->request = request;
	call->ticket = ticket;
	call->looked = false;
	call->throttled = false;
	source->effort->requests++;
}

/* What is not needed yet leaves a part of the budget to others. */
bool
rest_call_early(const RestSource *source, RestCall *call, MemoryContext context)
{
	const Connector *connector = source->connector;
	QuotaGrant	grant;

	if (!quota_take(fetch_account(source), &connector->rate, QUOTA_BACKFILL, connector->read.cost, clock_now(), &grant))
		return false;
	call->early = true;
	fetch_send(source, call, grant.ticket, context);
	return true;
}

/* Whoever shares the account waits, too. */
bool
rest_call_look(const RestSource *source, RestCall *call)
{
	const HttpRequest *request = call->request;
	QuotaTold	told[QUOTA_TOLD];

	if (request == NULL || !http_request_finished(request))
		return false;
	if (call->looked)
		return true;
	call->looked = true;
	if (request->outcome != HTTP_ANSWERED)
		return true;
	if (call->token != 0 && source->auth->token->renewed && (request->status < 300 || request->status == 304))
		token_accepted(source->auth->token->account, call->token);
	if (connector_quota(source->connector, request, told))
		quota_learn(fetch_account(source), told, call->ticket, clock_now());
	call->throttled = connector_throttled(source->connector, request, &call->wait_ms);
	if (call->throttled)
	{
		call->tries++;
		if (call->wait_ms < 0)
			call->wait_ms = INT64CONST(500) << call->tries;
		quota_block(fetch_account(source), clock_now() + call->wait_ms * 1000);
	}
	return true;
}

void
rest_call_drop(RestCall *call)
{
	if (call->request != NULL)
		http_request_free(call->request);
	call->request = NULL;
}

static bool
fetch_is_page(const RestCall *call)
{
	const HttpRequest *request = call->request;

	return request->outcome == HTTP_ANSWERED && request->status >= 200 && request->status < 300 && !call->throttled;
}

/* Is an access token to blame that another may take the place of?  Once. */
static bool
fetch_renews(const RestSource *source, RestCall *call)
{
	if (call->token == 0 || call->renewed || call->request->outcome != HTTP_ANSWERED || call->request->status != 401 ||
		!token_refused(source->auth->token->account, call->token, clock_now()))
		return false;
	call->renewed = true;
	return true;
}

/* May it be asked for once more?  A wait that nobody would sit through is reported instead. */
static bool
fetch_again(const RestSource *source, const RestCall *call)
{
	if (call->throttled)
	{
		ereport(DEBUG1,
				(errmsg_internal("page %s of foreign table \"%s\" is throttled, waiting " INT64_FORMAT " ms",
								 call->shown, source->table, call->wait_ms)));
		/* of a page ahead the wait may be over; if not, the budget refuses */
		return call->tries < FETCH_TRIES && (call->early || call->wait_ms <= FETCH_MAX_WAIT_MS);
	}
	switch (call->request->outcome)
	{
		case HTTP_NO_CONNECTION:
		case HTTP_TIMED_OUT:
		case HTTP_BROKEN:
			return call->early;
		default:
			return false;
	}
}

/* Sends it, if it was not sent early. */
void
rest_call_begin(const RestSource *source, RestCall *call, MemoryContext context)
{
	int64		ticket;

	if (call->request != NULL)
		return;
	ticket = fetch_budget(source, call->shown);
	call->early = false;
	fetch_send(source, call, ticket, context);
}

HttpRequest *
rest_call_finish(const RestSource *source, RestCall *call, MemoryContext context)
{
	for (;;)
	{
		rest_call_begin(source, call, context);
		while (!rest_call_look(source, call))
		{
			CHECK_FOR_INTERRUPTS();
			http_session_turn(-1);
		}
		fetch_take_kept(call);
		if (fetch_is_page(call))
			return call->request;
		if (!fetch_renews(source, call) && !fetch_again(source, call))
			rest_refuse_answer(source, call->request, call->shown);
		rest_call_drop(call);
	}
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

/* Pages that are under way go on meanwhile. */
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
		(void) http_session_turn(left);
	}
}
