/*
 * transfer.h
 *	  What the files of the room share with each other and nobody else.
 *
 * allow.c decides who may be contacted, by what host.h knows; easy.c configures
 * a libcurl handle and transport.c what of it is a target's own; judge.c says how
 * a transfer ended, sockets.c keeps the WaitEventSet in step with libcurl's
 * sockets, pool.c and turn.c run the transfers, request.c is their face to the
 * other rooms.
 *
 * Memory: an HttpTransfer is malloc'd, because callbacks of libcurl write to
 * it and may outlive the request (see http_pool_detach()).  The request's
 * memory context owns it through mem_adopt().
 */
#ifndef ACTIVATE_HTTP_TRANSFER_H
#define ACTIVATE_HTTP_TRANSFER_H

#include <curl/curl.h>
#include <signal.h>
#include <sys/socket.h>

#include "http/host.h"
#include "http/pool.h"
#include "lib/ilist.h"
#include "storage/latch.h"

#define HTTP_MAX_HEADERS	65536	/* bytes of response headers accepted */
#define HTTP_MAX_REASON		512
#define HTTP_MAX_BODY		(16 * 1024 * 1024)
/* Of a session's connections, how many may be streams. */
#define HTTP_SESSION_STREAMS		6
#define HTTP_STREAM_AHEAD	(1024 * 1024)	/* of a stream, what may wait for its reader */

/* A growing malloc'd string; data is NULL until something was appended. */
typedef struct HttpBuffer
{
	char	   *data;
	size_t		len;
	size_t		size;
} HttpBuffer;

/* What a handle is configured for besides the single request. */
typedef struct HttpProfile
{
	HttpDigest	digest;			/* of its transport; zeros: libcurl's defaults */
	bool		http2;
	bool		unpack;
} HttpProfile;

typedef enum HttpTransferState
{
	TRANSFER_NEW,				/* not submitted yet */
	TRANSFER_QUEUED,
	TRANSFER_ACTIVE,
	TRANSFER_DONE,
	TRANSFER_ENDED,				/* handed out by http_pool_next(), or given up */
	TRANSFER_ORPHAN				/* nobody waits for it: see http_pool_detach() */
} HttpTransferState;

typedef struct HttpTransfer
{
	dlist_node	node;			/* in the pool's list of its state */
	HttpTransferState state;
	HttpPool   *pool;			/* NULL: in no pool */
	HttpRequest *request;		/* NULL: orphan */
	CURL	   *easy;			/* NULL unless active or orphan */
	struct curl_slist *headers;
	bool		has_type;		/* there is a Content-Type among them */
	const char *parsed;			/* the text that url was read from */
	HttpUrl		url;
	const HttpTransport *transport; /* the request's */
	HttpProfile profile;
	int			timeout_ms;
	int64		submitted_at;	/* microseconds of http_now() */
	int64		deadline;

	/* written by callbacks */
	HttpBuffer	body;
	HttpBuffer	head;
	size_t		max_body;
	bool		stream;			/* read while it comes, see stream.c */
	bool		paused;			/* libcurl holds back what comes next */
	size_t		taken;			/* of the body, by the reader of a stream */
	bool		repeatable;		/* libcurl may send it again on a new connection */
	bool		connecting;		/* the name is resolved, a socket was asked for */
	bool		again;			/* nothing was sent over the connection that libcurl chose */
	bool		fresh;			/* so it was told to open one */
	bool		reused;			/* it went out over a connection that stood before */
	int			opened;			/* how many sockets were opened for it */
	curl_socket_t socket;		/* the last of them */
	bool		sent;
	bool		too_large;
	bool		no_memory;
	const char *forbidden;		/* why the address is not allowed; static text */

	char		error[CURL_ERROR_SIZE];
	char		reason[HTTP_MAX_REASON];
} HttpTransfer;

/* A socket of libcurl, found by its number. */
typedef struct HttpSocket
{
	bool		kept;			/* a standing connection: we are told when it is closed */
	bool		changed;		/* is in HttpPool.changed */
	int			wanted;			/* CURL_POLL_IN | CURL_POLL_OUT; 0: rests */
	int			position;		/* in the WaitEventSet, from 1; 0: not in it */
	uint32		events;			/* as the WaitEventSet has them */
	HttpDigest	opened_for;		/* whose transport has these */
	HttpAddress peer;
	int			local_port;		/* if kept */
} HttpSocket;

/* A handle at rest, and what it is configured for. */
typedef struct HttpIdle
{
	CURL	   *easy;
	HttpProfile profile;
} HttpIdle;

struct HttpPool
{
	MemoryContext context;
	MemoryContextCallback callback;
	CURLM	   *multi;
	int			max_connections;
	dlist_head	queued;
	dlist_head	active;
	dlist_head	done;
	dlist_head	orphans;
	int			n_queued;
	int			n_active;
	int			n_done;
	int64		timer;			/* when libcurl wants to be called; -1: not at all */
	int64		next_deadline;	/* no active transfer's deadline is earlier */
	bool		streamed;		/* this turn something came for the reader of a stream */
	HttpIdle   *idle;			/* handles at rest, at most max_connections */
	int			n_idle;

	/* sockets.c */
	WaitEventSet *set;
	int			set_size;
	int			set_used;
	bool		dirty;			/* the set must be built anew */
	HttpSocket *sockets;		/* malloc'd, indexed by socket */
	int		   *changed;		/* malloc'd, as long as sockets */
	int			n_sockets;
	int			n_changed;
	int			kept_sockets;
	int			reserved_fds;	/* of these, what fd.c knows of */
};

/* allow.c: NULL, or why not as static text.  Safe in callbacks. */
extern void http_allow_init(void);
extern const char *http_forbidden_url(const HttpUrl *url);
extern const char *http_forbidden_address(const HttpUrl *url, const HttpAddress *address);
extern const char *http_forbidden_proxied(const HttpUrl *url);

/* transport.c */
extern void http_transport_profile(const HttpRequest *request, HttpProfile *profile);
extern bool http_transport_configure(CURL *easy, const HttpTransfer *transfer);
extern bool http_digest_is_none(const HttpDigest *digest);
extern const HttpUrl *http_transfer_peer(const HttpTransfer *transfer);
extern const char *http_forbidden_route(const HttpUrl *url, const HttpUrl *proxy, bool *by_proxy);

/* compress.c */
extern bool http_can_unpack(void);

/* easy.c */
extern int	http_timeout;
extern bool http_easy_configure(CURL *easy, HttpTransfer *transfer);
extern bool http_easy_prepare(HttpTransfer *transfer);
extern bool http_easy_attach(CURL *easy, HttpTransfer *transfer);

/* judge.c */
extern bool http_wrote_nothing(const HttpTransfer *transfer);
extern void http_judge(HttpTransfer *transfer, CURLcode code);
extern void http_outcome(HttpTransfer *transfer, HttpOutcome outcome,
						 const char *format,...) pg_attribute_printf(3, 4);

/* sockets.c */
extern curl_socket_t http_sockets_open(HttpPool *pool, const struct curl_sockaddr *address,
									   const HttpAddress *peer, const HttpDigest *opened_for);
extern void http_sockets_keep(HttpPool *pool, curl_socket_t fd, int local_port);
extern curl_socket_t http_sockets_between(const HttpPool *pool, const HttpAddress *peer, int local_port);
extern bool http_sockets_opened_for(const HttpPool *pool, const HttpAddress *peer, int local_port,
									const HttpDigest *opened_for);
extern int	http_sockets_close(void *pool, curl_socket_t fd);
extern int	http_sockets_wanted(CURL *easy, curl_socket_t fd, int what, void *pool, void *unused);
extern void http_sockets_apply(HttpPool *pool);
extern int	http_sockets_mask(HttpPool *pool, const WaitEvent *event);
extern void http_sockets_free(HttpPool *pool);

/* pool.c */
extern bool http_pool_give_easy(HttpPool *pool, HttpTransfer *transfer);
extern void http_pool_take_easy(HttpPool *pool, HttpTransfer *transfer, bool keep);
extern bool http_pool_detach(HttpPool *pool, HttpTransfer *transfer);
extern void http_pool_forget(HttpTransfer *transfer);

/* request.c */
extern HttpPool *http_session_pool(void);

/* turn.c */
extern int64 http_now(void);
extern void http_block_signals(sigset_t *saved);

#endif							/* ACTIVATE_HTTP_TRANSFER_H */
