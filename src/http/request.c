/*
 * request.c
 *	  Requests as the other rooms see them, and the pool of a session.
 *
 * A request lives in its own memory context; the malloc'd transfer behind it
 * is released with that context, in flight or not.
 */
#include "postgres.h"

#include <limits.h>

#include "core/mem.h"
#include "http/transfer.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Longer URLs are read anew each time. */
#define HTTP_LAST_URL	512

static const char *const valid_methods[] = {
	"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"
};

static void request_check_method(const char *method);
static void request_check_header(const char *name, const char *value);
static void transfer_add_line(HttpTransfer *transfer, const char *line);
static void transfer_release(void *object);

void
http_init(void)
{
	http_allow_init();
	DefineCustomIntVariable("activate.http_timeout",
							"How long a request may take from its start to the last byte of its answer.",
							NULL,
							&http_timeout,
							30000, 1, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

/* Most requests of a process go where the one before went; reading a URL costs as much as building the rest. */
static void
request_parse_url(const char *url, HttpUrl *parsed)
{
	static char last[HTTP_LAST_URL];
	static HttpUrl last_parsed;
	const char *problem;
	const char *hint;
	size_t		len = strlen(url);

	if (len > 0 && len < sizeof(last) && strcmp(url, last) == 0)
	{
		*parsed = last_parsed;
		return;
	}
	if (!http_url_parse(url, parsed, &problem, &hint))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of the request is not valid: %s", problem),
				 hint ? errhint("%s", hint) : 0));
	if (len < sizeof(last))
	{
		memcpy(last, url, len + 1);
		last_parsed = *parsed;
	}
}

HttpRequest *
http_request_create(MemoryContext context, const char *method, const char *url)
{
	MemoryContext own;
	HttpRequest *request;
	HttpTransfer *transfer;
	HttpUrl		parsed;

	request_check_method(method);
	request_parse_url(url, &parsed);

	own = AllocSetContextCreate(context, "activate http request", ALLOCSET_SMALL_SIZES);
	request = MemoryContextAllocZero(own, sizeof(HttpRequest));
	request->method = MemoryContextStrdup(own, method);
	request->url = MemoryContextStrdup(own, url);
	request->max_body = HTTP_MAX_BODY;
	request->answer = request->headers = MemoryContextStrdup(own, "");

	transfer = calloc(1, sizeof(HttpTransfer));
	if (transfer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while preparing a request")));
	transfer->request = request;
	transfer->parsed = request->url;
	transfer->url = parsed;
	request->transfer = mem_adopt(own, transfer, transfer_release);

	/* Asks libcurl not to wait for "100 Continue" before a large body. */
	transfer_add_line(transfer, "Expect:");
	return request;
}

static void
request_check_method(const char *method)
{
	for (int i = 0; i < lengthof(valid_methods); i++)
		if (strcmp(method, valid_methods[i]) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("HTTP method of the request is not valid"),
			 errhint("Valid methods are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.")));
}

void
http_request_header(HttpRequest *request, const char *name, const char *value)
{
	size_t		name_len = strlen(name);
	size_t		value_len = strlen(value);
	char	   *line = palloc(name_len + value_len + 3);

	request_check_header(name, value);
	if (pg_strcasecmp(name, "Content-Type") == 0)
		request->transfer->has_type = true;

	/* To libcurl "Name:" means leave it out, "Name;" send it empty. */
	memcpy(line, name, name_len);
	strcpy(line + name_len, value_len > 0 ? ": " : ";");
	if (value_len > 0)
		memcpy(line + name_len + 2, value, value_len + 1);
	transfer_add_line(request->transfer, line);
	pfree(line);
}

const char *
http_request_header_at(const HttpRequest *request, int n)
{
	struct curl_slist *list = request->transfer->headers;

	while (list != NULL && n-- > 0)
		list = list->next;
	return list ? list->data : NULL;
}

static void
transfer_add_line(HttpTransfer *transfer, const char *line)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, line);

	if (list == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while preparing a request")));
	transfer->headers = list;
}

/* The value may be a secret, so it is never shown; the name is, once it is known to be one. */
bool
http_header_is_name(const char *name)
{
	const char *p;

	for (p = name; *p; p++)
	{
		char		letter = *p | 0x20;

		if (!(letter >= 'a' && letter <= 'z') && !(*p >= '0' && *p <= '9') && strchr("!#$%&'*+-.^_`|~", *p) == NULL)
			return false;
	}
	return p > name;
}

bool
http_header_is_reserved(const char *name)
{
	static const char *const reserved[] = {
		"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
		"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"
	};

	/* by the first letter, because every header of every request is looked at */
	for (int i = 0; i < lengthof(reserved); i++)
		if ((*name | 0x20) == *reserved[i] && pg_strcasecmp(name, reserved[i]) == 0)
			return true;
	return false;
}

static void
request_check_header(const char *name, const char *value)
{
	if (!http_header_is_name(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of an HTTP header is not valid"),
				 errhint("Names consist of letters, digits and any of !#$%%&'*+-.^_`|~.")));
	if (http_header_is_reserved(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("HTTP header \"%s\" cannot be set", name),
				 errhint("It is written by activate itself.")));
	for (const char *p = value; *p; p++)
		if (((unsigned char) *p < ' ' && *p != '\t') || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("value of HTTP header \"%s\" contains a line break or another control character",
							name),
					 errhint("Remove it: a header is a single line.")));
}

void
http_request_free(HttpRequest *request)
{
	MemoryContextDelete(GetMemoryChunkContext(request));
}

/* Runs when the request's context goes: no error may leave from here. */
static void
transfer_release(void *object)
{
	HttpTransfer *transfer = object;

	if (transfer->pool != NULL)
		http_pool_forget(transfer);
	curl_slist_free_all(transfer->headers);
	free(transfer->body.data);
	free(transfer->head.data);
	free(transfer);
}

char *
http_answer_header(const HttpRequest *request, const char *name)
{
	size_t		name_len = strlen(name);
	const char *line = request->headers;

	while (*line)
	{
		const char *end = line + strcspn(line, "\r\n");

		if (end - line > name_len && line[name_len] == ':' &&
			pg_strncasecmp(line, name, name_len) == 0)
		{
			const char *value = line + name_len + 1;

			while (value < end && (*value == ' ' || *value == '\t'))
				value++;
			while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
				end--;
			return pnstrdup(value, end - value);
		}
		line = end + strspn(end, "\r\n");
	}
	return NULL;
}

bool
http_request_under_way(const HttpRequest *request)
{
	return request->transfer->sent;
}

HttpPool *
http_session_pool(void)
{
	static HttpPool *pool = NULL;

	if (pool == NULL)
		pool = http_pool_create(TopMemoryContext, HTTP_SESSION_CONNECTIONS);
	return pool;
}

void
http_session_submit(HttpRequest *request)
{
	http_pool_submit(http_session_pool(), request);
}

/* Whose request has finished is not asked: each scan looks at its own. */
bool
http_session_turn(long timeout_ms)
{
	bool		latch = http_pool_turn(http_session_pool(), timeout_ms);

	while (http_pool_next(http_session_pool()) != NULL)
		continue;
	return latch;
}

bool
http_request_finished(const HttpRequest *request)
{
	return request->transfer->state == TRANSFER_ENDED;
}

/*
 * An ERROR (cancel, statement_timeout) leaves the transfer in the pool; it
 * goes when the caller's memory context takes the request with it.
 */
void
http_perform(HttpRequest *request)
{
	http_session_submit(request);
	while (!http_request_finished(request))
	{
		CHECK_FOR_INTERRUPTS();
		http_session_turn(-1);
	}
}
