/*
 * easy.c
 *	  A libcurl handle: how it is configured, and what it calls back.
 *
 * Rules for the callbacks: no palloc, no elog at any level, no
 * CHECK_FOR_INTERRUPTS.  A longjmp out of libcurl would leave it believing
 * for ever that it is inside a callback.  They write to the malloc'd transfer
 * and return failure; what happened is judged (judge.c) when libcurl has returned.
 *
 * Whether a byte of the request may have gone out is known exactly: libcurl
 * asks http_on_prerequest() after the connection stands (TLS included) and
 * before it sends.
 */
#include "postgres.h"

#include "http/transfer.h"
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
static bool is_own_connection(const HttpTransfer *transfer, const HttpAddress *peer, int local_port);
static void keep_connection(HttpTransfer *transfer, const HttpAddress *peer, int local_port);
static bool buffer_append(HttpBuffer *buffer, const char *data, size_t len, size_t most);

/* A new handle, or one that was reset: what is the same for every request of its profile. */
bool
http_easy_configure(CURL *easy, HttpTransfer *transfer)
{
	return curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
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
		curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->pool) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_on_prerequest) == CURLE_OK &&
		http_transport_configure(easy, transfer);
}

/* What differs from request to request, on transfer->easy. */
bool
http_easy_prepare(HttpTransfer *transfer)
{
	HttpRequest *request = transfer->request;
	CURL	   *easy = transfer->easy;
	long		connect_ms = (long) Min(transfer->timeout_ms, INT_MAX - HTTP_CONNECT_SLACK_MS) +
		HTTP_CONNECT_SLACK_MS;

	transfer->max_body = transfer->stream ? MaxAllocSize - 1 : Min(request->max_body, MaxAllocSize - 1);
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

	if (transfer->stream)
		transfer->pool->streamed = true;
	if (transfer->stream && transfer->body.len - transfer->taken >= HTTP_STREAM_AHEAD)
	{
		transfer->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
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
	transfer->forbidden = http_forbidden_address(http_transfer_peer(transfer), &where);
	if (transfer->forbidden != NULL)
		return CURL_SOCKET_BAD;
	transfer->socket = http_sockets_open(transfer->pool, address, &where, &transfer->profile.digest);
	transfer->opened++;
	return transfer->socket;
}

/*
 * The last look before the request goes out.  The address is looked at again
 * because the connection may be an old one and the allow-list a new one.  A
 * second time means that a kept-alive connection ended without an answer and
 * libcurl would send again: whether a write may be repeated is not for it to
 * decide.  If nothing has left it begins once more, see turn.c.
 */
static int
http_on_prerequest(void *client, char *address, char *local_address, int port, int local_port)
{
	HttpTransfer *transfer = client;
	HttpAddress where = {0};
	bool		is_address = http_address_from_text(address, &where);

	if (transfer->request == NULL)
		return CURL_PREREQFUNC_ABORT;
	/* first of all: an HTTP/2 connection stays when we refuse */
	transfer->reused = transfer->opened == 0;
	if (!transfer->reused)
		keep_connection(transfer, &where, local_port);
	if (transfer->sent && !transfer->repeatable)
	{
		transfer->again = http_wrote_nothing(transfer);
		transfer->sent = !transfer->again;
		return CURL_PREREQFUNC_ABORT;
	}
	if (is_address)
		transfer->forbidden = http_forbidden_address(http_transfer_peer(transfer), &where);
	if (transfer->forbidden != NULL)
		return CURL_PREREQFUNC_ABORT;
	if (transfer->reused && !is_own_connection(transfer, &where, local_port))
	{
		transfer->again = true;
		return CURL_PREREQFUNC_ABORT;
	}
	transfer->sent = true;
	return CURL_PREREQFUNC_OK;
}

/* See transport.c.  That the plain ones do not get another's, libcurl sees to. */
static bool
is_own_connection(const HttpTransfer *transfer, const HttpAddress *peer, int local_port)
{
	return http_digest_is_none(&transfer->profile.digest) ||
		http_sockets_opened_for(transfer->pool, peer, local_port, &transfer->profile.digest);
}

/* Which of the sockets that were opened became the connection. */
static void
keep_connection(HttpTransfer *transfer, const HttpAddress *peer, int local_port)
{
	curl_socket_t fd = transfer->opened > 1 ? http_sockets_between(transfer->pool, peer, local_port) : transfer->socket;

	transfer->opened = 0;
	if (fd != CURL_SOCKET_BAD)
		http_sockets_keep(transfer->pool, fd, local_port);
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
