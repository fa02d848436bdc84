/*
 * listen.c
 *	  listen CONNINFO PORT PATH
 *
 * The baseline of latency: the client that people write themselves.  It waits
 * on LISTEN bench and posts, over one connection that it keeps, what has come:
 * the payload of the notification; or, if that is empty, what it takes from
 * the table queue (payload), in a transaction that ends after the last answer,
 * so that nothing is lost.  Ends when its standard input is closed.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 100
#define TAKE "DELETE FROM queue WHERE id IN (SELECT id FROM queue ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED) RETURNING payload"

static PGconn *db;
static int	http;
static int	port;
static const char *path;

static void
fail(const char *what)
{
	fprintf(stderr, "listen: %s: %s\n", what, PQerrorMessage(db));
	exit(1);
}

static PGresult *
run(const char *sql)
{
	PGresult   *result = PQexec(db, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(sql);
	return result;
}

static int
connect_http(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,.sin_port = htons(port)};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);
	int			on = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *) &addr, sizeof(addr)) != 0)
		fail("could not connect to the service");
	return fd;
}

/* The service answers in one piece. */
static void
post(const char *body)
{
	char		buffer[8192];
	int			len = snprintf(buffer, sizeof(buffer), "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
							   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", path, port, strlen(body), body);

	if (send(http, buffer, len, MSG_NOSIGNAL) != len || recv(http, buffer, sizeof(buffer), 0) < 12 ||
		strncmp(buffer, "HTTP/1.1 200", 12) != 0)
		fail("request failed");
}

static void
empty_queue(void)
{
	int			n;

	do
	{
		PGresult   *rows;

		PQclear(run("BEGIN"));
		rows = run(TAKE);
		n = PQntuples(rows);
		for (int i = 0; i < n; i++)
			post(PQgetvalue(rows, i, 0));
		PQclear(rows);
		PQclear(run("COMMIT"));
	} while (n == MOST);
}

/* One that arrives while the queue is read stands in libpq's list, where poll() does not see it. */
static void
take_notifications(void)
{
	PGnotify   *notification;

	if (!PQconsumeInput(db))
		fail("lost the server");
	while ((notification = PQnotifies(db)) != NULL)
	{
		int			look = *notification->extra == '\0';

		if (!look)
			post(notification->extra);
		PQfreemem(notification);
		if (look)
			empty_queue();
	}
}

int
main(int argc, char **argv)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO,.events = POLLIN}, {.events = POLLIN}};

	if (argc != 4)
	{
		fprintf(stderr, "usage: listen CONNINFO PORT PATH\n");
		return 2;
	}
	port = atoi(argv[2]);
	path = argv[3];
	http = connect_http();
	db = PQconnectdb(argv[1]);
	PQclear(run("LISTEN bench"));
	puts("ready");
	fflush(stdout);
	fds[1].fd = PQsocket(db);
	while (fds[0].revents == 0)
	{
		take_notifications();
		poll(fds, 2, -1);
	}
	return 0;
}
