/*
 * turn.c
 *	  A turn of the pool: start what is queued, let libcurl do what is due,
 *	  bring the WaitEventSet up to date, wait, hand the events to libcurl,
 *	  collect what has ended.
 *
 * Deadlines are ours, not libcurl's.  When one of its timeouts ends a name
 * lookup it waits for the thread that does it, and so would everybody else in
 * the pool; and so would a cancelled session.  Instead such a transfer is
 * detached: its request ends at once, libcurl's handle goes on as an orphan
 * that is never allowed to open a socket or to send, until the lookup is over.
 *
 * Threads that libcurl starts inherit our signal mask, and must not run our
 * signal handlers: so all signals are blocked while libcurl works.
 */
#include "postgres.h"

#include <limits.h>
#include <signal.h>

#include "http/transfer.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"

#define TURN_EVENTS		64

/* Rounds of libcurl's own timer per turn, so that it cannot keep us from the latch. */
#define TURN_ROUNDS		4

typedef struct ReadySocket
{
	int			fd;
	int			mask;
} ReadySocket;

static void turn_work(HttpPool *pool, const ReadySocket *ready, int n_ready);
static void turn_start_queued(HttpPool *pool);
static void turn_start(HttpPool *pool, HttpTransfer *transfer);
static bool turn_check(HttpTransfer *transfer);
static void turn_collect(HttpPool *pool);
static void turn_expire(HttpPool *pool, int64 now);
static long turn_wait_ms(HttpPool *pool, long timeout_ms);
static void turn_finished(HttpPool *pool, HttpTransfer *transfer);

bool
http_pool_turn(HttpPool *pool, long timeout_ms)
{
	WaitEvent	events[TURN_EVENTS];
	ReadySocket ready[TURN_EVENTS];
	int			n_events;
	int			n_ready = 0;
	bool		latch = false;

	pool->streamed = false;
	turn_work(pool, NULL, 0);
	http_sockets_apply(pool);
	n_events = WaitEventSetWait(pool->set, turn_wait_ms(pool, timeout_ms),
								events, lengthof(events), PG_WAIT_EXTENSION);
	for (int i = 0; i < n_events; i++)
	{
		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			latch = true;
		}
		else
		{
			ready[n_ready].fd = (int) (intptr_t) events[i].user_data;
			ready[n_ready].mask = http_sockets_mask(pool, &events[i]);
			if (ready[n_ready].mask != 0)
				n_ready++;
		}
	}
	turn_work(pool, ready, n_ready);
	return latch;
}

/* Everything that calls libcurl during a turn. */
static void
turn_work(HttpPool *pool, const ReadySocket *ready, int n_ready)
{
	sigset_t	saved;
	int			running;

	/* A turn in which nothing is due costs no system call but its wait. */
	if (n_ready > 0 || (pool->n_queued > 0 && pool->n_active < pool->max_connections) ||
		(pool->timer >= 0 && pool->timer <= http_now()))
	{
		http_block_signals(&saved);
		for (int i = 0; i < n_ready; i++)
			if (pool->sockets[ready[i].fd].wanted != 0)
				curl_multi_socket_action(pool->multi, ready[i].fd, ready[i].mask, &running);
		turn_start_queued(pool);
		for (int i = 0; i < TURN_ROUNDS && pool->timer >= 0 && pool->timer <= http_now(); i++)
		{
			/* Called too early, or with more to do, libcurl tells its time again. */
			pool->timer = -1;
			curl_multi_socket_action(pool->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		}
		turn_collect(pool);
		sigprocmask(SIG_SETMASK, &saved, NULL);
	}
	if (pool->next_deadline != PG_INT64_MAX)
		turn_expire(pool, http_now());
}

static void
turn_start_queued(HttpPool *pool)
{
	while (pool->n_queued > 0 && pool->n_active < pool->max_connections)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node,
												 dlist_pop_head_node(&pool->queued));

		pool->n_queued--;
		turn_start(pool, transfer);
	}
}

static void
turn_start(HttpPool *pool, HttpTransfer *transfer)
{
	transfer->state = TRANSFER_ACTIVE;
	dlist_push_tail(&pool->active, &transfer->node);
	pool->n_active++;
	if (!turn_check(transfer))
	{
		turn_finished(pool, transfer);
		return;
	}
	if (!http_pool_give_easy(pool, transfer) || !http_easy_prepare(transfer) ||
		curl_multi_add_handle(pool->multi, transfer->easy) != CURLM_OK)
	{
		http_outcome(transfer, HTTP_NO_CONNECTION, "out of memory while starting a request");
		http_pool_take_easy(pool, transfer, false);
		turn_finished(pool, transfer);
		return;
	}
	transfer->deadline = http_now() + transfer->timeout_ms * INT64CONST(1000);
	pool->next_deadline = Min(pool->next_deadline, transfer->deadline);
}

/* May it go where it wants to?  Else it has its outcome. */
static bool
turn_check(HttpTransfer *transfer)
{
	HttpRequest *request = transfer->request;
	const HttpUrl *proxy = transfer->transport ? transfer->transport->proxy_url : NULL;
	const char *problem;
	const char *hint;
	const char *forbidden;
	bool		by_proxy;

	/* The caller may have put another text in place of the one that was checked. */
	if (transfer->parsed != request->url)
	{
		if (!http_url_parse(request->url, &transfer->url, &problem, &hint))
		{
			http_outcome(transfer, HTTP_FORBIDDEN, "URL of the request is not valid: %s", problem);
			return false;
		}
		transfer->parsed = request->url;
	}
	forbidden = http_forbidden_route(&transfer->url, proxy, &by_proxy);
	if (forbidden != NULL)
		http_outcome(transfer, HTTP_FORBIDDEN, "%s \"%s\" may not be contacted: %s", by_proxy ? "proxy" : "host",
					 by_proxy ? proxy->host : transfer->url.host, forbidden);
	return forbidden == NULL;
}

/* Once more over a connection of its own, as nothing was sent: the one it had was dead, or another target's. */
static bool
turn_start_fresh(HttpPool *pool, HttpTransfer *transfer)
{
	if (!transfer->again || transfer->fresh)
		return false;
	transfer->again = false;
	transfer->fresh = true;
	curl_multi_remove_handle(pool->multi, transfer->easy);
	return curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
		curl_multi_add_handle(pool->multi, transfer->easy) == CURLM_OK;
}

static void
turn_collect(HttpPool *pool)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(pool->multi, &left)) != NULL)
	{
		HttpTransfer *transfer;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		if (transfer->state == TRANSFER_ORPHAN)
		{
			http_pool_take_easy(pool, transfer, true);
			dlist_delete(&transfer->node);
			curl_slist_free_all(transfer->headers);
			free(transfer);
			continue;
		}
		if (turn_start_fresh(pool, transfer))
			continue;
		http_judge(transfer, code);
		http_pool_take_easy(pool, transfer, true);
		turn_finished(pool, transfer);
	}
}

/* Ends what is over its time, and finds the next deadline. */
static void
turn_expire(HttpPool *pool, int64 now)
{
	dlist_mutable_iter iter;
	int64		next = PG_INT64_MAX;

	if (now < pool->next_deadline)
		return;
	dlist_foreach_modify(iter, &pool->active)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);

		if (transfer->deadline > now)
		{
			next = Min(next, transfer->deadline);
			continue;
		}
		http_outcome(transfer, HTTP_TIMED_OUT, "%s port %d %s within %d ms",
					 transfer->url.host, transfer->url.port,
					 transfer->sent ? "did not answer" : "could not be connected to",
					 transfer->timeout_ms);
		if (!http_pool_detach(pool, transfer))
			http_pool_take_easy(pool, transfer, true);
		turn_finished(pool, transfer);
	}
	pool->next_deadline = next;
}

static long
turn_wait_ms(HttpPool *pool, long timeout_ms)
{
	int64		until = pool->next_deadline;
	int64		wait_us;

	if (pool->n_done > 0 || pool->streamed)
		return 0;
	if (pool->timer >= 0)
		until = Min(until, pool->timer);
	if (until == PG_INT64_MAX)
		return timeout_ms;
	wait_us = Max(until - http_now(), 0);
	if (timeout_ms >= 0 && timeout_ms <= wait_us / 1000)
		return timeout_ms;
	return (long) Min((wait_us + 999) / 1000, INT_MAX);
}

/* From active to done; the results are filled in. */
static void
turn_finished(HttpPool *pool, HttpTransfer *transfer)
{
	transfer->request->latency_us = http_now() - transfer->submitted_at;
	dlist_delete(&transfer->node);
	pool->n_active--;
	transfer->state = TRANSFER_DONE;
	dlist_push_tail(&pool->done, &transfer->node);
	pool->n_done++;
	if (pool->n_active == 0)
		pool->next_deadline = PG_INT64_MAX;
}

/* Microseconds of a clock that nobody can set. */
int64
http_now(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* For while libcurl may start a thread; saved: what to return to. */
void
http_block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, saved);
}
