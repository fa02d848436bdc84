/*
 * http.c
 *	  HTTP/1.1 server: one epoll set, keep-alive, pipelining, bodies with
 *	  Content-Length.
 *
 * A connection answers its requests in the order they came.  While an answer
 * is held back (fault "slow", "drip" or "hang") nothing more of that
 * connection is read; the others go on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service.h"

#define MAX_HEAD (64 * 1024)
#define MAX_BODY (256 * 1024 * 1024)
#define MAX_PENDING_OUT (1024 * 1024)

typedef struct Conn
{
	struct Conn *prev;
	struct Conn *next;
	int			fd;
	uint32_t	events;			/* registered with epoll */
	Buffer		in;
	size_t		in_at;			/* start of the next request */
	size_t		need;			/* bytes from in_at that complete it; 0: unknown */
	Buffer		out;
	size_t		out_at;
	int64_t		filler;			/* bytes to follow out */
	SendHow		how;
	bool		waiting;		/* for due_us, or for ever if that is 0 */
	int64_t		due_us;
	int			drip_ms;
	bool		last;			/* close when out is written */
} Conn;

static const int on = 1;		/* for setsockopt */
static int	epoll_fd = -1;
static int	listen_fd = -1;
static int	listen_port;
static Conn *conns;
static int	naccepted;
static int	nopen;
static int	nwaiting;
static int	nwaiting_most;
static bool going_down;
static bool is_down;
static int64_t up_at_us;
static volatile sig_atomic_t up_signal;

/* ---- listening, going down, coming up ---- */

static void
handle_usr1(int sig)
{
	(void) sig;
	up_signal = 1;
}

int
http_listen(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,.sin_port = htons(port)};
	socklen_t	len = sizeof(addr);
	struct epoll_event ev = {.events = EPOLLIN};

	if (epoll_fd < 0)
	{
		struct sigaction sa = {.sa_handler = handle_usr1};
		sigset_t	usr1;

		/* Delivered while waiting only, so that none is missed. */
		sigemptyset(&usr1);
		sigaddset(&usr1, SIGUSR1);
		sigprocmask(SIG_BLOCK, &usr1, NULL);
		sigaction(SIGUSR1, &sa, NULL);
		epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		signal(SIGPIPE, SIG_IGN);
	}
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listen_fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 ||
		listen(listen_fd, 4096) < 0 ||
		getsockname(listen_fd, (struct sockaddr *) &addr, &len) < 0)
	{
		perror("service: could not listen");
		exit(1);
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &ev);
	listen_port = ntohs(addr.sin_port);
	return listen_port;
}

void
http_go_down(int ms)
{
	going_down = true;
	up_at_us = ms > 0 ? now_us() + (int64_t) ms * 1000 : 0;
}

void
http_connections(int *accepted, int *open)
{
	*accepted = naccepted;
	*open = nopen;
}

int
http_held(void)
{
	return nwaiting;
}

int
http_held_most(bool reset)
{
	int			most = nwaiting_most;

	if (reset)
		nwaiting_most = nwaiting;
	return most;
}

static void
conn_close(Conn *c, bool reset)
{
	if (reset)
	{
		struct linger linger = {.l_onoff = 1,.l_linger = 0};

		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	close(c->fd);
	if (c->prev)
		c->prev->next = c->next;
	else
		conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	nwaiting -= c->waiting;
	nopen--;
	free(c->in.data);
	free(c->out.data);
	free(c);
}

static void
go_down(void)
{
	going_down = false;
	is_down = true;
	close(listen_fd);
	listen_fd = -1;
	while (conns)
		conn_close(conns, false);
}

static void
come_up(void)
{
	is_down = false;
	up_at_us = 0;
	http_listen(listen_port);
}

/* ---- writing ---- */

static void
conn_watch(Conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events,.data.ptr = c};

	if (events == c->events)
		return;
	epoll_ctl(epoll_fd, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev);
	c->events = events;
}

static void
conn_wait(Conn *c, int64_t due_us)
{
	nwaiting += !c->waiting;
	if (nwaiting > nwaiting_most)
		nwaiting_most = nwaiting;
	c->waiting = true;
	c->due_us = due_us;
}

static void
conn_wake(Conn *c)
{
	nwaiting -= c->waiting;
	c->waiting = false;
}

/* Writes what there is.  False: the connection is gone. */
static bool
conn_flush(Conn *c)
{
	static char filling[65536];

	for (;;)
	{
		size_t		left = c->out.len - c->out_at;
		ssize_t		n;

		if (left == 0 && c->filler > 0)
		{
			left = c->filler < (int64_t) sizeof(filling) ? (size_t) c->filler : sizeof(filling);
			memset(filling, 'x', left);
			c->out.len = c->out_at = 0;
			buffer_append(&c->out, filling, left);
			c->filler -= left;
		}
		if (left == 0)
			break;
		n = send(c->fd, c->out.data + c->out_at, c->how == SEND_DRIP ? 1 : left, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
		{
			conn_watch(c, EPOLLOUT);
			return true;
		}
		if (n < 0)
		{
			conn_close(c, false);
			return false;
		}
		c->out_at += n;
		if (c->how == SEND_DRIP && c->out_at < c->out.len)
		{
			conn_wait(c, now_us() + (int64_t) c->drip_ms * 1000);
			return true;
		}
	}
	c->out.len = c->out_at = 0;
	if (c->last)
	{
		conn_close(c, c->how == SEND_RESET);
		return false;
	}
	c->how = SEND_ALL;
	conn_watch(c, EPOLLIN);
	return true;
}

static const char *
status_text(int status)
{
	switch (status)
	{
		case 200: return "OK";
		case 201: return "Created";
		case 204: return "No Content";
		case 400: return "Bad Request";
		case 401: return "Unauthorized";
		case 404: return "Not Found";
		case 409: return "Conflict";
		case 413: return "Content Too Large";
		case 422: return "Unprocessable Content";
		case 429: return "Too Many Requests";
		case 500: return "Internal Server Error";
		case 503: return "Service Unavailable";
		default: return "Status";
	}
}

/* Puts a reply into the output as its delivery says. */
static void
conn_reply(Conn *c, const Reply *reply, const Delivery *delivery)
{
	size_t		body_len = reply->body.len;

	c->how = delivery->how;
	if (c->how == SEND_NEVER)
	{
		conn_wait(c, 0);
		return;
	}
	if (c->how == SEND_CLOSE)
	{
		c->last = true;
		return;
	}
	buffer_printf(&c->out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n", reply->status,
				  status_text(reply->status), reply->content_type);
	if (reply->status != 204)
		buffer_printf(&c->out, "Content-Length: %lld\r\n", (long long) (body_len + delivery->filler));
	if (c->last)
		buffer_printf(&c->out, "Connection: close\r\n");
	buffer_append(&c->out, reply->headers.data, reply->headers.len);
	buffer_append(&c->out, "\r\n", 2);
	c->filler = delivery->filler;
	if (c->how == SEND_HALF || c->how == SEND_RESET)
	{
		body_len /= 2;
		c->filler /= 2;
		c->last = true;
	}
	buffer_append(&c->out, reply->body.data, body_len);
	c->drip_ms = delivery->delay_ms;
	if (delivery->delay_ms > 0 && c->how != SEND_DRIP)
		conn_wait(c, now_us() + (int64_t) delivery->delay_ms * 1000);
}

/* ---- reading ---- */

static Reply *
fresh_reply(void)
{
	static Reply reply;

	reply.status = 200;
	reply.content_type = "application/json";
	reply.headers.len = reply.body.len = 0;
	return &reply;
}

static void
conn_refuse(Conn *c, int status, const char *message)
{
	Delivery	delivery = {0};
	Reply	   *reply = fresh_reply();

	json_error(reply, status, message);
	c->last = true;
	conn_reply(c, reply, &delivery);
	c->in_at = c->in.len;
}

/* Takes one request off the input.  False: there is no complete one. */
static bool
conn_take(Conn *c)
{
	char	   *start = c->in.data + c->in_at;
	size_t		have = c->in.len - c->in_at;
	char	   *end;
	size_t		head_len;
	int64_t		body_len;
	Request		request;
	Delivery	delivery = {0};
	Reply	   *reply;

	if (have == 0 || have < c->need)
		return false;
	end = memmem(start, have, "\r\n\r\n", 4);
	if (end == NULL)
	{
		if (have > MAX_HEAD)
			conn_refuse(c, 431, "head too large");
		return false;
	}
	head_len = end - start + 4;
	body_len = http_declared_length(start, head_len);
	request.arrived_us = now_us();
	request.body_len = 0;
	if (body_len < 0 || body_len > MAX_BODY)
	{
		log_note(start, head_len - 4, &request);
		log_status(body_len < 0 ? 411 : 413);
		conn_refuse(c, body_len < 0 ? 411 : 413, "a Content-Length of at most 256 MB is required");
		return true;
	}
	c->need = head_len + body_len;
	if (have < c->need)
		return false;

	request.body = start + head_len;
	request.body_len = body_len;
	log_note(start, head_len - 4, &request);
	*end = '\0';
	if (!http_parse_head(start, &request))
	{
		conn_refuse(c, 400, "not HTTP/1.x");
		return true;
	}
	c->in_at += c->need;
	c->need = 0;
	reply = fresh_reply();
	route(&request, reply, &delivery);
	if (!request.keep_alive)
		c->last = true;
	conn_reply(c, reply, &delivery);
	return true;
}

static void
conn_process(Conn *c)
{
	while (!c->waiting && !c->last && c->how == SEND_ALL &&
		   c->out.len - c->out_at < MAX_PENDING_OUT && conn_take(c))
		;
	if (c->in_at == c->in.len)
		c->in.len = c->in_at = 0;
	else if (c->in_at > 65536)
	{
		memmove(c->in.data, c->in.data + c->in_at, c->in.len - c->in_at);
		c->in.len -= c->in_at;
		c->in_at = 0;
	}
	if (c->waiting)
		conn_watch(c, EPOLLRDHUP);
	else
		conn_flush(c);
}

static void
conn_read(Conn *c)
{
	static char chunk[262144];
	ssize_t		n = recv(c->fd, chunk, sizeof(chunk), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
	{
		conn_close(c, false);
		return;
	}
	buffer_append(&c->in, chunk, n);
	/* Clients that send head and body apart wait for our ACK in between. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	conn_process(c);
}

static void
accept_all(void)
{
	int			fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
	{
		Conn	   *c = calloc(1, sizeof(Conn));

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		c->fd = fd;
		c->next = conns;
		if (conns)
			conns->prev = c;
		conns = c;
		naccepted++;
		nopen++;
		conn_watch(c, EPOLLIN);
	}
}

/* Answers that are due; returns when the next one is, in ms, -1: never. */
static int
serve_waiting(void)
{
	int64_t		now = now_us();
	int64_t		next = is_down ? up_at_us : 0;
	Conn	   *c = nwaiting ? conns : NULL;

	while (c)
	{
		Conn	   *following = c->next;

		if (c->waiting && c->due_us && c->due_us <= now)
		{
			conn_wake(c);
			if (conn_flush(c) && !c->waiting && c->out.len == 0)
				conn_process(c);
		}
		c = following;
	}
	for (c = nwaiting ? conns : NULL; c; c = c->next)
		if (c->waiting && c->due_us && (next == 0 || c->due_us < next))
			next = c->due_us;
	if (next == 0)
		return -1;
	return next > now ? (int) ((next - now + 999) / 1000) : 0;
}

void
http_loop(void)
{
	struct epoll_event events[256];
	sigset_t	nothing;

	sigemptyset(&nothing);
	for (;;)
	{
		int			timeout = serve_waiting();
		int			n = epoll_pwait(epoll_fd, events, 256, timeout, &nothing);

		for (int i = 0; i < n; i++)
		{
			Conn	   *c = events[i].data.ptr;

			if (c == NULL)
				accept_all();
			else if (events[i].events & EPOLLIN)
				conn_read(c);
			else if (events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
				conn_close(c, false);
			else if (conn_flush(c))
				conn_process(c);
		}
		if (going_down)
			go_down();
		if (is_down && (up_signal || (up_at_us && up_at_us <= now_us())))
			come_up();
		up_signal = 0;
	}
}
