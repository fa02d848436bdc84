/*
 * remote.c
 *	  Files of other machines: the request, waiting out a server that is busy,
 *	  and what an answer can be instead of a file.
 *
 * No message holds a secret, a body, or a query.
 */
#include "postgres.h"

#include "core/errors.h"
#include "file/reader.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Who is busy is asked so often, and waited for so long at most. */
#define REMOTE_TRIES		5
#define REMOTE_MAX_WAIT_MS	60000

/* Of a refusal, what is looked at for its code. */
#define REMOTE_LOOK			4096

static bool is_busy(const HttpRequest *request);
static void wait_ms(int64 ms);
pg_noreturn static void refuse(const FileReader *reader, HttpRequest *request, const char *what, bool stream);
static char *refusal_code(HttpRequest *request, bool stream);
static const char *status_hint(const FileReader *reader, long status);

HttpRequest *
file_request(const FileReader *reader, const char *url, const char *condition, MemoryContext context)
{
	HttpRequest *request = http_request_create(context, "GET", url);

	/* only the very version that was listed */
	if (condition != NULL)
		http_request_header(request, "If-Match", condition);
	connector_authorize(request, reader->auth);
	return request;
}

HttpRequest *
file_perform(const FileReader *reader, FileMakeRequest make, const char *what, const char *condition,
			 bool stream, MemoryContext context)
{
	for (int try = 1;; try++)
	{
		HttpRequest *request = make(reader, what, condition, context);
		int64		ms;

		if (stream)
			http_stream_open(request);
		else
			http_perform(request);
		if (request->outcome == HTTP_ANSWERED && request->status >= 200 && request->status < 300)
			return request;
		if (!is_busy(request) || try == REMOTE_TRIES)
			refuse(reader, request, what, stream);
		ms = connector_retry_after(request);
		if (ms > REMOTE_MAX_WAIT_MS)
			refuse(reader, request, what, stream);
		http_request_free(request);
		wait_ms(ms < 0 ? INT64CONST(250) << try : ms);
	}
}

static bool
is_busy(const HttpRequest *request)
{
	return request->outcome == HTTP_ANSWERED &&
		(request->status == 429 || request->status == 500 || (request->status >= 502 && request->status <= 504));
}

static void
wait_ms(int64 ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	for (;;)
	{
		long		left;

		CHECK_FOR_INTERRUPTS();
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* what: a name without its query. */
static char *
shown(const char *what)
{
	return pnstrdup(what, strcspn(what, "?#"));
}

static void
refuse(const FileReader *reader, HttpRequest *request, const char *what, bool stream)
{
	char	   *code;

	if (request->outcome == HTTP_FORBIDDEN)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_FORBIDDEN_HOST),
				 errmsg("could not read file \"%s\": %s", shown(what), request->reason),
				 errhint("Hosts that may be contacted are listed in \"activate.allowed_hosts\".")));
	if (request->outcome != HTTP_ANSWERED)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_UNREACHABLE),
				 errmsg("could not read file \"%s\": %s", shown(what), request->reason),
				 request->outcome == HTTP_TIMED_OUT ?
				 errhint("The time allowed from one byte to the next is \"activate.http_timeout\".") :
				 errhint("Check the options of the server and whether the other side is up.")));
	if (request->status == 412)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("could not read file \"%s\": it has changed since it was listed", shown(what)),
				 errhint("The next run reads what it is now.")));
	code = refusal_code(request, stream);
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_API_ERROR),
			 errmsg("could not read file \"%s\": the server answered with status %ld", shown(what), request->status),
			 code ? errdetail("It says \"%s\".", connector_redact(reader->auth, code)) : 0,
			 errhint("%s", status_hint(reader, request->status))));
}

/* As object stores put it: <Code>NoSuchKey</Code>; NULL: nothing of that kind. */
static char *
refusal_code(HttpRequest *request, bool stream)
{
	char		body[REMOTE_LOOK + 1];
	size_t		len = 0;
	size_t		more;
	char	   *code;
	size_t		length;

	if (!stream)
	{
		len = Min(request->answer_len, REMOTE_LOOK);
		memcpy(body, request->answer, len);
	}
	else
		while (len < REMOTE_LOOK && (more = http_stream_read(request, body + len, REMOTE_LOOK - len)) > 0)
			len += more;
	body[len] = '\0';
	if ((code = strstr(body, "<Code>")) == NULL)
		return NULL;
	code += strlen("<Code>");
	length = strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");
	return length > 0 && length <= 64 ? pnstrdup(code, length) : NULL;
}

static const char *
status_hint(const FileReader *reader, long status)
{
	if (status == 401 || status == 403)
		return reader->auth->present ? "The secret of the user mapping is not accepted, or may not read this." :
			"No secret was sent: give one with activate_target(..., secret => ...).";
	if (status == 404 || status == 410)
		return "Check \"url\" and \"files\".";
	if (status >= 300 && status < 400)
		return "Redirects are not followed: name the place itself.";
	return status >= 500 || status == 429 ? "The server is busy or failed; try again later." : "Check the options of the server.";
}

/* The whole has been read: did it come to its end? */
void
file_check_ended(const HttpRequest *request)
{
	if (request->outcome != HTTP_ANSWERED)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_UNREACHABLE),
				 errmsg("%s", request->reason),
				 errhint("What the file has before is not loaded either; the next run begins it anew.")));
}
