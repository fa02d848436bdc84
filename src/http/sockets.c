/*
 * sockets.c
 *	  Keeps a WaitEventSet in step with the sockets of libcurl.
 *
 * libcurl takes its interest in a socket back after every answer and states it
 * again with the next request on the same connection.  The set cannot forget
 * a socket, only be built anew; so a standing connection that rests in
 * libcurl's cache stays in the set, waiting to become readable.  Between two
 * requests that costs no system call at all.  When it becomes readable at
 * rest, the peer has closed it: then, and when it is closed by libcurl, the
 * set is built anew before the next wait.
 *
 * Sockets that are still connecting are closed by libcurl without a word
 * (CURLOPT_CLOSESOCKETFUNCTION is called only for connections that stand), and
 * so are those of its resolver: they leave the set as soon as libcurl loses
 * interest in them.
 *
 * What libcurl calls here allocates by malloc() only and never throws.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/compat.h"
#include "http/transfer.h"
#include "miscadmin.h"
#include "storage/fd.h"

/* The set holds the latch and postmaster death besides sockets. */
#define SET_FIXED	2
#define SET_LEAST	32

static bool sockets_grow(HttpPool *pool, curl_socket_t fd);
static void sockets_forget(HttpPool *pool, curl_socket_t fd);
static void sockets_note(HttpPool *pool, curl_socket_t fd);
static uint32 sockets_events(const HttpSocket *sock);
static void sockets_add(HttpPool *pool, int fd);
static void sockets_rebuild(HttpPool *pool);
static void sockets_count_fds(HttpPool *pool);

curl_socket_t
http_sockets_open(HttpPool *pool, const struct curl_sockaddr *address, const HttpAddress *peer,
				  const HttpDigest *opened_for)
{
	int			fd = socket(address->family, address->socktype, address->protocol);

	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || !sockets_grow(pool, fd))
	{
		close(fd);
		return CURL_SOCKET_BAD;
	}

	/* What had this number before is gone, told or not. */
	sockets_forget(pool, fd);
	pool->sockets[fd].peer = *peer;
	pool->sockets[fd].opened_for = *opened_for;
	return fd;
}

/* The connection stands: it may rest in the set. */
void
http_sockets_keep(HttpPool *pool, curl_socket_t fd, int local_port)
{
	if (!pool->sockets[fd].kept)
		pool->kept_sockets++;
	pool->sockets[fd].kept = true;
	pool->sockets[fd].local_port = local_port;
}

static int
local_port_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t	len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &len) != 0)
		return -1;
	return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *) &address)->sin6_port) :
		address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *) &address)->sin_port) : -1;
}

/*
 * Of several that were opened for one connection, the one with these ends.  Not
 * CURLINFO_ACTIVESOCKET: libcurl 8.14 does not know it yet when a request is
 * about to go.
 */
curl_socket_t
http_sockets_between(const HttpPool *pool, const HttpAddress *peer, int local_port)
{
	for (int fd = 0; fd < pool->n_sockets; fd++)
	{
		if (!pool->sockets[fd].kept && memcmp(&pool->sockets[fd].peer, peer, sizeof(HttpAddress)) == 0 &&
			local_port_of(fd) == local_port)
			return fd;
	}
	return CURL_SOCKET_BAD;
}

/*
 * Was the connection with these ends opened for that transport?  Which socket
 * a handle has come to by reuse, libcurl does not tell.
 */
bool
http_sockets_opened_for(const HttpPool *pool, const HttpAddress *peer, int local_port,
						const HttpDigest *opened_for)
{
	for (int fd = 0; fd < pool->n_sockets; fd++)
	{
		const HttpSocket *sock = &pool->sockets[fd];

		if (sock->kept && sock->local_port == local_port &&
			memcmp(&sock->peer, peer, sizeof(HttpAddress)) == 0)
			return memcmp(&sock->opened_for, opened_for, sizeof(HttpDigest)) == 0;
	}
	return false;
}

/* CURLOPT_CLOSESOCKETFUNCTION */
int
http_sockets_close(void *client, curl_socket_t fd)
{
	HttpPool   *pool = client;

	sockets_forget(pool, fd);
	return close(fd);
}

static void
sockets_forget(HttpPool *pool, curl_socket_t fd)
{
	HttpSocket *sock = &pool->sockets[fd];

	if (sock->position > 0)
		pool->dirty = true;
	if (sock->kept)
		pool->kept_sockets--;
	sock->kept = false;
	sock->wanted = 0;
	sock->position = 0;
}

/* CURLMOPT_SOCKETFUNCTION */
int
http_sockets_wanted(CURL *easy, curl_socket_t fd, int what, void *client, void *unused)
{
	HttpPool   *pool = client;

	if (!sockets_grow(pool, fd))
		return -1;
	if (what == CURL_POLL_REMOVE && !pool->sockets[fd].kept)
		sockets_forget(pool, fd);
	pool->sockets[fd].wanted = what == CURL_POLL_REMOVE ? 0 : what;
	sockets_note(pool, fd);
	return 0;
}

static bool
sockets_grow(HttpPool *pool, curl_socket_t fd)
{
	int			n = Max(fd + 1, 64);
	HttpSocket *sockets;
	int		   *changed;

	if (fd < pool->n_sockets)
		return true;
	n = Max(n, pool->n_sockets * 2);
	sockets = realloc(pool->sockets, n * sizeof(HttpSocket));
	if (sockets == NULL)
		return false;
	pool->sockets = sockets;
	changed = realloc(pool->changed, n * sizeof(int));
	if (changed == NULL)
		return false;
	pool->changed = changed;
	memset(sockets + pool->n_sockets, 0, (n - pool->n_sockets) * sizeof(HttpSocket));
	pool->n_sockets = n;
	return true;
}

static void
sockets_note(HttpPool *pool, curl_socket_t fd)
{
	if (!pool->sockets[fd].changed)
	{
		pool->sockets[fd].changed = true;
		pool->changed[pool->n_changed++] = fd;
	}
}

static uint32
sockets_events(const HttpSocket *sock)
{
	uint32		events = 0;

	if (sock->wanted & CURL_POLL_OUT)
		events |= WL_SOCKET_WRITEABLE;
	if (sock->wanted & CURL_POLL_IN || events == 0)
		events |= WL_SOCKET_READABLE;
	return events;
}

/* Brings the set up to date: call it before each wait. */
void
http_sockets_apply(HttpPool *pool)
{
	sockets_count_fds(pool);
	for (int i = 0; i < pool->n_changed && !pool->dirty; i++)
	{
		HttpSocket *sock = &pool->sockets[pool->changed[i]];
		uint32		events = sockets_events(sock);

		if (sock->position == 0)
		{
			if (sock->wanted == 0)
				continue;
			if (pool->set_used == pool->set_size)
				pool->dirty = true;
			else
				sockets_add(pool, pool->changed[i]);
		}
		else if (sock->events != events)
		{
			ModifyWaitEvent(pool->set, sock->position - 1, events, NULL);
			sock->events = events;
		}
	}

	/* Before the flags go: an error above or in here is made good next time. */
	if (pool->dirty || pool->set == NULL)
		sockets_rebuild(pool);
	for (int i = 0; i < pool->n_changed; i++)
		pool->sockets[pool->changed[i]].changed = false;
	pool->n_changed = 0;
}

static void
sockets_add(HttpPool *pool, int fd)
{
	HttpSocket *sock = &pool->sockets[fd];
	uint32		events = sockets_events(sock);

	sock->position = 1 + AddWaitEventToSet(pool->set, events, fd, NULL,
										   (void *) (intptr_t) fd);
	sock->events = events;
	pool->set_used++;
}

static void
sockets_rebuild(HttpPool *pool)
{
	int			needed = SET_FIXED;

	/* What rests is left out until it is wanted again. */
	for (int fd = 0; fd < pool->n_sockets; fd++)
	{
		pool->sockets[fd].position = 0;
		if (pool->sockets[fd].wanted != 0)
			needed++;
	}

	pool->dirty = true;			/* until it is complete */
	if (pool->set != NULL)
		FreeWaitEventSet(pool->set);
	pool->set = NULL;
	pool->set_size = Max(SET_LEAST, needed * 2);
	pool->set = compat_create_wait_event_set(pool->context, pool->set_size);

	AddWaitEventToSet(pool->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	if (IsUnderPostmaster)
		AddWaitEventToSet(pool->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	pool->set_used = SET_FIXED;
	for (int fd = 0; fd < pool->n_sockets; fd++)
		if (pool->sockets[fd].wanted != 0)
			sockets_add(pool, fd);
	pool->dirty = false;
}

/*
 * What libcurl is to be told of an event, or 0.  An event of a socket at rest
 * means that its peer closed it, one at another position that its number was
 * given to a new socket: either way the set must be built anew.
 */
int
http_sockets_mask(HttpPool *pool, const WaitEvent *event)
{
	HttpSocket *sock = &pool->sockets[(intptr_t) event->user_data];
	int			mask = 0;

	if (sock->position != event->pos + 1)
	{
		pool->dirty = true;
		return 0;
	}
	if (sock->wanted == 0)
	{
		sock->position = 0;
		pool->dirty = true;
		return 0;
	}
	if (event->events & WL_SOCKET_READABLE)
		mask |= CURL_CSELECT_IN;
	if (event->events & WL_SOCKET_WRITEABLE)
		mask |= CURL_CSELECT_OUT;
	return mask;
}

/*
 * Tells fd.c of the files that we hold open, but leaves others half of what it
 * grants to such as us; pool.c has seen to it that there is room for the rest.
 */
static void
sockets_count_fds(HttpPool *pool)
{
	int			wanted = Min(pool->kept_sockets, max_safe_fds / 6);

	for (; pool->reserved_fds < wanted; pool->reserved_fds++)
		ReserveExternalFD();
	for (; pool->reserved_fds > wanted; pool->reserved_fds--)
		ReleaseExternalFD();
}

/* After libcurl has closed everything. */
void
http_sockets_free(HttpPool *pool)
{
	sockets_count_fds(pool);
	if (pool->set != NULL)
		FreeWaitEventSet(pool->set);
	pool->set = NULL;
	free(pool->sockets);
	free(pool->changed);
	pool->sockets = NULL;
	pool->changed = NULL;
	pool->n_sockets = 0;
	pool->n_changed = 0;
}
