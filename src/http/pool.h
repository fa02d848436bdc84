/*
 * pool.h
 *	  Many HTTP requests at once on one WaitEventSet.  Knows nothing of rows.
 *
 * A pool belongs to one process and one memory context; deleting the context
 * closes every connection.  Nothing here needs a transaction.  Callbacks of
 * libcurl never allocate by palloc, never log and never throw: what went
 * wrong is noted in the request and reported by the caller.
 */
#ifndef ACTIVATE_POOL_H
#define ACTIVATE_POOL_H

#include "lib/stringinfo.h"

/* How a request ended, seen from the wire. */
typedef enum HttpOutcome
{
	HTTP_ANSWERED,				/* a whole response: status, headers, body */
	HTTP_FORBIDDEN,				/* host or resolved address not allowed; nothing was sent */
	HTTP_NO_CONNECTION,			/* DNS, connect or TLS failed; nothing was sent */
	HTTP_TIMED_OUT,				/* see request->sent */
	HTTP_BROKEN,				/* connection lost in the middle; see request->sent */
	HTTP_TOO_LARGE				/* response over max_body or max_header bytes */
} HttpOutcome;

typedef struct HttpPool HttpPool;

/*
 * How a target is reached, besides its URL.  Requests that differ in any of
 * it never share a connection.  All of it stays as it is until the last request
 * with it is done.
 */
typedef struct HttpDigest
{
	uint8		bytes[16];
} HttpDigest;

typedef struct HttpTransport
{
	const char *ca_file;		/* PEM, instead of the system's authorities; NULL: those */
	const char *identity;		/* PEM of our certificate and its key; NULL: none */
	const char *proxy;			/* its URL; NULL: directly */
	const char *proxy_user;		/* NULL: none */
	const char *proxy_password;
	bool		http2;			/* where the server offers it */

	const struct HttpUrl *proxy_url;	/* these are of http_transport_seal() */
	HttpDigest	digest;
} HttpTransport;

typedef struct HttpRequest
{
	/* set by http_request_create() and its friends, before submitting */
	const char *method;
	const char *url;
	const char *body;			/* NULL: none; kept by the caller until done */
	size_t		body_len;
	int			timeout_ms;		/* 0: activate.http_timeout */
	size_t		max_body;		/* response bytes accepted; default 16 MB */
	bool		unpack;			/* the answer may come compressed; max_body is of what it unpacks to */
	const HttpTransport *transport; /* NULL: libcurl's defaults */
	void	   *owner;			/* the caller's, untouched */

	/* valid once the request came back from http_pool_next() */
	HttpOutcome outcome;
	long		status;			/* 0 unless HTTP_ANSWERED */
	bool		sent;			/* a byte of the request may have reached the peer */
	const char *reason;			/* one line for people, no secret in it; NULL if answered */
	char	   *answer;			/* NUL-terminated, never NULL; answer_len without it */
	size_t		answer_len;
	char	   *headers;		/* raw header lines "Name: value\r\n"..., NUL-terminated */
	int64		latency_us;		/* from submit to the end */

	struct HttpTransfer *transfer;	/* private */
} HttpRequest;

/* Checks and GUCs of the room (activate.allowed_hosts, activate.http_timeout). */
extern void http_init(void);

/* max_connections: in flight at most (more are queued inside). */
extern HttpPool *http_pool_create(MemoryContext context, int max_connections);

/*
 * A request in its own memory context, child of context.  Fails with an error
 * (22023) if the URL is malformed, of another scheme than http/https, carries
 * userinfo, or contains control characters.
 */
extern HttpRequest *http_request_create(MemoryContext context, const char *method, const char *url);

/* Refuses CR, LF and NUL in name or value (22023). */
extern void http_request_header(HttpRequest *request, const char *name, const char *value);

/*
 * Puts the body into gzip, if that makes it shorter, and says so in a header.
 * Does nothing where the library was built without zlib.
 */
extern void http_request_compress(HttpRequest *request);
extern bool http_can_compress(void);

/* Completes a transport whose other members are filled; 22023 if its proxy is no URL. */
extern void http_transport_seal(HttpTransport *transport);

/* Is it a token of RFC 9110; is it one that frames the message or belongs to the connection, so that only we write it? */
extern bool http_header_is_name(const char *name);
extern bool http_header_is_reserved(const char *name);

/* The nth header set so far, "Name: value" or "Name;" (empty), or NULL: to show a request that is not sent. */
extern const char *http_request_header_at(const HttpRequest *request, int n);

/* Frees request, answer and handle; aborts the transfer if it is in flight. */
extern void http_request_free(HttpRequest *request);

/* Of one in flight: may a byte of it have reached the peer already? */
extern bool http_request_under_way(const HttpRequest *request);

/* A request can be submitted once; the answer lives as long as the request. */
extern void http_pool_submit(HttpPool *pool, HttpRequest *request);

/*
 * One turn: waits until a socket, the process latch or timeout_ms (-1: no
 * limit), lets libcurl work, returns true if the latch was set (it has been
 * reset).  Exits on postmaster death.  CHECK_FOR_INTERRUPTS is the caller's.
 */
extern bool http_pool_turn(HttpPool *pool, long timeout_ms);

/* The next finished request, or NULL. */
extern HttpRequest *http_pool_next(HttpPool *pool);

/* Submitted and not yet handed out by http_pool_next(). */
extern int	http_pool_in_flight(HttpPool *pool);

/*
 * For sessions: their own pool, which lives as long as they do, and in which
 * requests of several scans are on their way.  A turn may finish any of them.
 */
#define HTTP_SESSION_CONNECTIONS	32

extern void http_session_submit(HttpRequest *request);
extern bool http_session_turn(long timeout_ms);
extern bool http_request_finished(const HttpRequest *request);

/*
 * In it: one request, to its end, interruptible (cancel and
 * statement_timeout act at once).
 */
extern void http_perform(HttpRequest *request);

/*
 * The same for an answer of any length: opened when its head is there
 * (request->status and headers, 0 and "" if it ended before that) and read bit
 * by bit; 0: the end, of which request->outcome says whether it is the whole.
 * max_body does not count; the time allowed is that to the next byte.
 */
extern void http_stream_open(HttpRequest *request);
extern size_t http_stream_read(HttpRequest *request, void *buffer, size_t size);
extern bool http_stream_ended(const HttpRequest *request);	/* outcome is known */

/* First header of that name, palloc'd and trimmed; NULL if absent. */
extern char *http_answer_header(const HttpRequest *request, const char *name);

/*
 * May this host be contacted at all by name, and through this proxy (NULL:
 * none)?  Reports an ERROR (ERRCODE_ACTIVATE_FORBIDDEN_HOST) with the hint
 * activate.allowed_hosts if not: for declarations and sessions.  Resolved
 * addresses are checked again at each connect.
 */
extern void http_check_url(const char *url, const char *proxy);

#endif							/* ACTIVATE_POOL_H */
