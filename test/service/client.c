/*
 * client.c
 *	  The other end, for scripts that have no curl: one call, and a small load
 *	  generator (one thread, one request in flight per connection).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service.h"

static int
connect_to(const char *url)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	const char *colon = strrchr(url, ':');
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int			on = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(colon ? atoi(colon + 1) : 80);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *) &addr, sizeof(addr)) == 0)
		return fd;
	perror("service: could not connect");
	close(fd);
	return -1;
}

static void
build_request(Buffer *out, const char *url, const char *method, const char *path, const char *body, bool close_after)
{
	buffer_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
				  "Content-Length: %zu\r\n%s\r\n%s", method, path,
				  strncmp(url, "http://", 7) == 0 ? url + 7 : url, body ? strlen(body) : 0,
				  close_after ? "Connection: close\r\n" : "", body ? body : "");
}

int
client_call(const char *url, const char *method, const char *path, const char *body)
{
	Buffer		request = {0};
	Buffer		answer = {0};
	char		chunk[65536];
	ssize_t		n;
	int			fd = connect_to(url);
	char	   *payload;

	if (fd < 0)
		return 1;
	build_request(&request, url, method, path, body, true);
	if (send(fd, request.data, request.len, MSG_NOSIGNAL) != (ssize_t) request.len)
		return 1;
	while ((n = recv(fd, chunk, sizeof(chunk), 0)) > 0)
		buffer_append(&answer, chunk, n);
	close(fd);
	payload = answer.len ? memmem(answer.data, answer.len, "\r\n\r\n", 4) : NULL;
	if (payload == NULL)
		return 1;
	printf("%s\n", payload + 4);
	return atoi(answer.data + 9) < 400 ? 0 : 1;
}

/* Assumes what our own service does: an answer comes in one piece. */
int
client_load(const char *url, int seconds, int connections, const char *method,
			const char *path, const char *body)
{
	Buffer		request = {0};
	int			epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[256];
	char		chunk[65536];
	int64_t		start = now_us();
	int64_t		end = start + (int64_t) seconds * 1000000;
	int64_t		done = 0;
	int64_t		failed = 0;

	build_request(&request, url, method, path, body, false);
	for (int i = 0; i < connections; i++)
	{
		struct epoll_event ev = {.events = EPOLLIN,.data.fd = connect_to(url)};

		if (ev.data.fd < 0)
			return 1;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ev.data.fd, &ev);
		send(ev.data.fd, request.data, request.len, MSG_NOSIGNAL);
	}
	while (now_us() < end)
	{
		int			n = epoll_wait(epoll_fd, events, 256, 100);

		for (int i = 0; i < n; i++)
		{
			ssize_t		got = recv(events[i].data.fd, chunk, sizeof(chunk), 0);

			if (got <= 12)
			{
				fprintf(stderr, "service: connection lost\n");
				return 1;
			}
			done++;
			failed += chunk[9] != '2';
			send(events[i].data.fd, request.data, request.len, MSG_NOSIGNAL);
		}
	}
	printf("%.0f requests/s, %lld requests, %lld of them not 2xx\n",
		   done * 1e6 / (now_us() - start), (long long) done, (long long) failed);
	return 0;
}
