/*
 * easy.c
 *	  A libcurl handle: how it is configured, what it calls back, and what
 *	  its end means.
 *
 * Rules for the callbacks: no palloc, no elog at any level, no
 * CHECK_FOR_INTERRUPTS.  A longjmp out of libcurl would leave it believing
 * for ever that it is inside a callback.  They write to the malloc'd transfer
 * and return failure; what happened is judged when libcurl has returned.
 *
 * Whether a byte of the request may have gone out is known exactly: libcurl
 * asks http_on_prerequest() after the connection stands (TLS included) and
 * before it sends.
 */
#include "postgres.h"

#include "http/transfer.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/*
 * Long, because each lookup costs a thread; not longer, because a target that
 * fails over by DNS is an outage to us until we ask again.
 */
#define HTTP_DNS_CACHE_SECONDS	120L

/* What libcurl's own connect timeout leaves to our deadline, which comes first. */
#define HTTP_CONNECT_SLACK_MS	1000L

int			http_timeout = 30000;

static bool easy_set_request(CURL *easy, const HttpRequest *request);
static size_t http_on_body(char *data, size_t size, size_t n, void *client);
static size_t http_on_header(char *data, size_t size, size_t n, void *client);
static curl_socket_t http_on_socket(void *client, curlsocktype purpose,
									struct curl_sockaddr *address);
static int	http_on_prerequest(void *client, char *address, char *local_address,
							   int port, int local_port);
static void keep_connection(HttpTransfer *transfer);
static bool buffer_append(HttpBuffer *buffer, const char *data, size_t len, size_t most);
static bool is_too_large(const HttpTransfer *transfer, CURLcode code);
static bool is_tls_failure(CURLcode code);
static const char *failure_text(HttpTransfer *transfer, CURLcode code);

/* What is the same for every request; NULL when out of memory. */
CURL *
http_easy_create(HttpPool *pool)
{
	CURL	   *easy = curl_easy_init();
	bool		ok;

	if (easy == NULL)
		return NULL;
	ok = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, HTTP_DNS_CACHE_SECONDS) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_USERAGENT, "activate/0.1") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_on_body) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_on_header) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, http_on_socket) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, http_sockets_close) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, pool) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_on_prerequest) == CURLE_OK;
	if (!ok)
	{
		curl_easy_cleanup(easy);
		return NULL;
	}
	return easy;
}

/* What differs from request to request, on transfer->easy. */
bool
http_easy_prepare(HttpTransfer *transfer)
{
	HttpRequest *request = transfer->request;
	CURL	   *easy = transfer->easy;
	long		connect_ms = (long) Min(transfer->timeout_ms, INT_MAX - HTTP_CONNECT_SLACK_MS) +
		HTTP_CONNECT_SLACK_MS;

	transfer->max_body = Min(request->max_body, MaxAllocSize - 1);
	transfer->repeatable = strcmp(request->method, "GET") == 0 ||
		strcmp(request->method, "HEAD") == 0 ||
		strcmp(request->method, "OPTIONS") == 0;

	/* Else libcurl calls every body a form. */
	if (!transfer->has_type)
	{
		struct curl_slist *headers = curl_slist_append(transfer->headers, "Content-Type:");

		if (headers == NULL)
			return false;
		transfer->headers = headers;
	}

	return curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms) == CURLE_OK &&
		easy_set_request(easy, request) &&
		http_easy_attach(easy, transfer);
}

/*
 * Handles are used again and again, so everything that a method sets is set
 * for each; CURLOPT_POSTFIELDS makes it a POST even when it is NULL, so it
 * comes first.  POST, PUT and PATCH without a body say Content-Length: 0.
 */
static bool
easy_set_request(CURL *easy, const HttpRequest *request)
{
	const char *method = request->method;
	bool		head = strcmp(method, "HEAD") == 0;
	curl_off_t	len = request->body ? (curl_off_t) request->body_len : 0;

	if (request->body != NULL || strcmp(method, "POST") == 0 ||
		strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0)
		return curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
			curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, len) == CURLE_OK &&
			curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "") == CURLE_OK &&
			curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;

	return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOBODY, head ? 1L : 0L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, head ? NULL : method) == CURLE_OK;
}

/* Whom the callbacks write to. */
bool
http_easy_attach(CURL *easy, HttpTransfer *transfer)
{
	return curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error) == CURLE_OK;
}

static size_t
http_on_body(char *data, size_t size, size_t n, void *client)
{
	HttpTransfer *transfer = client;
	size_t		len = size * n;

	if (len > transfer->max_body - transfer->body.len)
	{
		transfer->too_large = true;
		return 0;
	}
	if (!buffer_append(&transfer->body, data, len, transfer->max_body))
	{
		transfer->no_memory = true;
		return 0;
	}
	return len;
}

/* Keeps the lines "Name: value" of the last response, not those of a 1xx. */
static size_t
http_on_header(char *data, size_t size, size_t n, void *client)
{
	HttpTransfer *transfer = client;
	size_t		len = size * n;

	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
	{
		transfer->head.len = 0;
		return len;
	}
	if (len > HTTP_MAX_HEADERS - transfer->head.len)
	{
		transfer->too_large = true;
		return 0;
	}
	if (len <= 2)
		return len;				/* the empty line */
	if (!buffer_append(&transfer->head, data, len, HTTP_MAX_HEADERS))
	{
		transfer->no_memory = true;
		return 0;
	}
	return len;
}

static curl_socket_t
http_on_socket(void *client, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = client;
	HttpAddress where;

	if (transfer->request == NULL)
		return CURL_SOCKET_BAD;
	transfer->connecting = true;
	if (!http_address_from_sockaddr(&address->addr, &where))
		return CURL_SOCKET_BAD;
	transfer->forbidden = http_forbidden_address(&transfer->url, &where);
	if (transfer->forbidden != NULL)
		return CURL_SOCKET_BAD;
	transfer->socket = http_sockets_open(transfer->pool, address);
	transfer->opened++;
	return transfer->socket;
}

/*
 * The last look before the request goes out.  The address is looked at again
 * because the connection may be an old one and the allow-list a new one.  A
 * second time means that a kept-alive connection ended without an answer and
 * libcurl would send again: whether a write may be repeated is not for it to
 * decide.
 */
static int
http_on_prerequest(void *client, char *address, char *local_address, int port, int local_port)
{
	HttpTransfer *transfer = client;
	HttpAddress where;

	if (transfer->request == NULL || (transfer->sent && !transfer->repeatable))
		return CURL_PREREQFUNC_ABORT;
	if (http_address_from_text(address, &where))
		transfer->forbidden = http_forbidden_address(&transfer->url, &where);
	if (transfer->forbidden != NULL)
		return CURL_PREREQFUNC_ABORT;
	if (transfer->opened > 0)
		keep_connection(transfer);
	transfer->sent = true;
	return CURL_PREREQFUNC_OK;
}

/* Which of the sockets that were opened became the connection. */
static void
keep_connection(HttpTransfer *transfer)
{
	curl_socket_t fd = transfer->socket;

	if (transfer->opened > 1 &&
		curl_easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK)
		fd = CURL_SOCKET_BAD;
	transfer->opened = 0;
	if (fd != CURL_SOCKET_BAD)
		http_sockets_keep(transfer->pool, fd);
}

/* Room for the final NUL is always there; most: what len may come to. */
static bool
buffer_append(HttpBuffer *buffer, const char *data, size_t len, size_t most)
{
	if (buffer->len + len + 1 > buffer->size)
	{
		size_t		size = Max(1024, buffer->size);
		char	   *grown;

		while (size < buffer->len + len + 1)
			size *= 2;
		size = Min(size, most + 1);
		grown = realloc(buffer->data, size);
		if (grown == NULL)
			return false;
		buffer->data = grown;
		buffer->size = size;
	}
	memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
	return true;
}

/* What the end of transfer->easy means: fills the request's results. */
void
http_easy_judge(HttpTransfer *transfer, CURLcode code)
{
	HttpRequest *request = transfer->request;
	const char *host = transfer->url.host;
	int			port = transfer->url.port;

	if (code == CURLE_OK)
	{
		http_outcome(transfer, HTTP_ANSWERED, NULL);
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &request->status);
		if (transfer->body.len > 0)
			request->answer = transfer->body.data;
		request->answer_len = transfer->body.len;
		if (transfer->head.len > 0)
			request->headers = transfer->head.data;
	}
	else if (transfer->forbidden != NULL && !transfer->sent)
		http_outcome(transfer, HTTP_FORBIDDEN, "host \"%s\" may not be contacted: %s",
					 host, transfer->forbidden);
	else if (transfer->too_large || is_too_large(transfer, code))
		http_outcome(transfer, HTTP_TOO_LARGE,
					 "answer of %s port %d is larger than %zu bytes or its headers than %d",
					 host, port, transfer->max_body, HTTP_MAX_HEADERS);
	else if (transfer->no_memory || code == CURLE_OUT_OF_MEMORY)
		http_outcome(transfer, transfer->sent ? HTTP_BROKEN : HTTP_NO_CONNECTION,
					 "out of memory during a request to %s port %d", host, port);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		http_outcome(transfer, HTTP_TIMED_OUT, "%s port %d %s in time", host, port,
					 transfer->sent ? "did not answer" : "could not be connected to");
	else if (transfer->sent)
		http_outcome(transfer, HTTP_BROKEN, "connection to %s port %d was lost: %s",
					 host, port, failure_text(transfer, code));
	else if (code == CURLE_COULDNT_RESOLVE_HOST)
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not resolve host \"%s\"", host);
	else if (is_tls_failure(code))
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not establish TLS with %s port %d: %s",
					 host, port, failure_text(transfer, code));
	else
		http_outcome(transfer, HTTP_NO_CONNECTION, "could not connect to %s port %d: %s",
					 host, port, failure_text(transfer, code));
}

void
http_outcome(HttpTransfer *transfer, HttpOutcome outcome, const char *format,...)
{
	HttpRequest *request = transfer->request;
	va_list		args;

	request->outcome = outcome;
	request->sent = transfer->sent;
	request->reason = NULL;
	if (format == NULL)
		return;

	va_start(args, format);
	vsnprintf(transfer->reason, sizeof(transfer->reason), format, args);
	va_end(args);

	/* The cut must not go through a character, nor a line end into a log line. */
	transfer->reason[pg_mbcliplen(transfer->reason, strlen(transfer->reason),
								  sizeof(transfer->reason) - 2)] = '\0';
	for (char *p = transfer->reason; *p; p++)
		if ((unsigned char) *p < ' ')
			*p = ' ';
	request->reason = transfer->reason;
}

/* libcurl's own limits for headers; before 8.6 it said "out of memory" for them. */
static bool
is_too_large(const HttpTransfer *transfer, CURLcode code)
{
#if LIBCURL_VERSION_NUM >= 0x080600
	return code == CURLE_TOO_LARGE;
#else
	return code == CURLE_OUT_OF_MEMORY && transfer->sent && !transfer->no_memory;
#endif
}

static bool
is_tls_failure(CURLcode code)
{
	switch (code)
	{
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_SSL_ENGINE_NOTFOUND:
		case CURLE_SSL_ENGINE_SETFAILED:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CRL_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_SSL_CLIENTCERT:
			return true;
		default:
			return false;
	}
}

/*
 * What the system said, else what TLS said, else libcurl's name for it.
 * libcurl's own text is not used elsewhere: it may quote what the peer sent,
 * and holds milliseconds, which makes it another text each time.
 */
static const char *
failure_text(HttpTransfer *transfer, CURLcode code)
{
	long		error_number = 0;

	if (is_tls_failure(code))
		return transfer->error[0] ? transfer->error : curl_easy_strerror(code);
	if (code == CURLE_ABORTED_BY_CALLBACK)
		return "the kept-alive connection ended before an answer";
	curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error_number);
	if ((code == CURLE_COULDNT_CONNECT || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR) &&
		error_number != 0)
		return strerror((int) error_number);
	return curl_easy_strerror(code);
}
