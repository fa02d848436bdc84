/*
 * pool.c
 *	  The life of a pool, and what enters and leaves it.
 *
 * A transfer is in exactly one list of its pool, the one of its state, from
 * http_pool_submit() until http_pool_next() hands its request out, the request
 * is freed or the pool goes.  The turns that work the lists are in turn.c.
 */
#include "postgres.h"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include "http/transfer.h"
#include "storage/fd.h"
#include "utils/memutils.h"

/* Lookups that nobody waits for any more must not use up the limit. */
#define ORPHAN_CONNECTIONS	8

/* Files that are open besides those of fd.c: logs, sockets, latches. */
#define OTHER_FILES		64
#define LEAST_CONNECTIONS	8

/* Handles at rest that are looked at for one configured as is needed. */
#define IDLE_LOOKS		8

static int	pool_make_room(int max_connections);
static void pool_release(void *arg);
static void pool_global_init(void);
static int	pool_on_timer(CURLM *multi, long timeout_ms, void *client);

HttpPool *
http_pool_create(MemoryContext context, int max_connections)
{
	MemoryContext own;
	HttpPool   *pool;

	pool_global_init();
	max_connections = pool_make_room(Max(max_connections, 1));

	own = AllocSetContextCreate(context, "activate http pool", ALLOCSET_DEFAULT_SIZES);
	pool = MemoryContextAllocZero(own, sizeof(HttpPool));
	pool->context = own;
	pool->max_connections = max_connections;
	pool->timer = -1;
	pool->next_deadline = PG_INT64_MAX;
	pool->idle = MemoryContextAlloc(own, max_connections * sizeof(HttpIdle));
	dlist_init(&pool->queued);
	dlist_init(&pool->active);
	dlist_init(&pool->done);
	dlist_init(&pool->orphans);

	pool->multi = curl_multi_init();
	if (pool->multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory while preparing HTTP connections")));
	pool->callback.func = pool_release;
	pool->callback.arg = pool;
	MemoryContextRegisterResetCallback(own, &pool->callback);

	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, http_sockets_wanted);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, pool_on_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long) max_connections);
	curl_multi_setopt(pool->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
					  (long) max_connections + ORPHAN_CONNECTIONS);
	return pool;
}

/*
 * fd.c may use up max_safe_fds files; what we need beyond that the process may
 * have to be granted first.  Returns how many connections there is room for.
 */
static int
pool_make_room(int max_connections)
{
	struct rlimit limit;
	rlim_t		others = max_safe_fds + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
		limit.rlim_cur >= others + max_connections)
		return max_connections;

	if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= others + max_connections)
		limit.rlim_cur = others + max_connections;
	else
		limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > others)
		return Min(max_connections, (int) (limit.rlim_cur - others));
	return Min(max_connections, LEAST_CONNECTIONS);
}

/*
 * Not in _PG_init(): under preload that is the postmaster, and on some
 * platforms this starts threads.
 */
static void
pool_global_init(void)
{
	static bool done = false;
	sigset_t	saved;
	CURLcode	code;

	if (done)
		return;
	http_block_signals(&saved);
	code = curl_global_init(CURL_GLOBAL_DEFAULT);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	if (code != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize libcurl: %s", curl_easy_strerror(code))));
	done = true;
}

/* The pool's context goes: requests that are still in it are left without one. */
static void
pool_release(void *arg)
{
	HttpPool   *pool = arg;
	dlist_head *lists[] = {&pool->queued, &pool->active, &pool->done, &pool->orphans};

	for (int i = 0; i < lengthof(lists); i++)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, lists[i])
		{
			HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);

			http_pool_take_easy(pool, transfer, false);
			if (transfer->state == TRANSFER_ORPHAN)
			{
				curl_slist_free_all(transfer->headers);
				free(transfer);
				continue;
			}
			if (transfer->state != TRANSFER_DONE)
				http_outcome(transfer, transfer->sent ? HTTP_BROKEN : HTTP_NO_CONNECTION,
							 "the request was given up");
			transfer->state = TRANSFER_ENDED;
			transfer->pool = NULL;
		}
	}
	for (int i = 0; i < pool->n_idle; i++)
		curl_easy_cleanup(pool->idle[i].easy);
	curl_multi_cleanup(pool->multi);
	http_sockets_free(pool);
}

/* CURLMOPT_TIMERFUNCTION */
static int
pool_on_timer(CURLM *multi, long timeout_ms, void *client)
{
	HttpPool   *pool = client;

	pool->timer = timeout_ms < 0 ? -1 : http_now() + timeout_ms * INT64CONST(1000);
	return 0;
}

void
http_pool_submit(HttpPool *pool, HttpRequest *request)
{
	HttpTransfer *transfer = request->transfer;

	if (transfer->state != TRANSFER_NEW)
		elog(ERROR, "HTTP request is submitted twice");

	transfer->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : http_timeout;
	transfer->submitted_at = http_now();
	transfer->transport = request->transport;
	http_transport_profile(request, &transfer->profile);
	transfer->pool = pool;
	transfer->state = TRANSFER_QUEUED;
	dlist_push_tail(&pool->queued, &transfer->node);
	pool->n_queued++;
}

HttpRequest *
http_pool_next(HttpPool *pool)
{
	HttpTransfer *transfer;

	if (dlist_is_empty(&pool->done))
		return NULL;
	transfer = dlist_container(HttpTransfer, node, dlist_pop_head_node(&pool->done));
	pool->n_done--;
	transfer->state = TRANSFER_ENDED;
	transfer->pool = NULL;
	return transfer->request;
}

int
http_pool_in_flight(HttpPool *pool)
{
	return pool->n_queued + pool->n_active + pool->n_done;
}

/*
 * A handle for this transfer: one of those at rest, preferably one that is
 * configured for it already, else a new one.  False: out of memory.
 */
bool
http_pool_give_easy(HttpPool *pool, HttpTransfer *transfer)
{
	HttpIdle	given = {NULL};

	for (int i = pool->n_idle - 1; i >= 0 && i >= pool->n_idle - IDLE_LOOKS; i--)
	{
		given = pool->idle[i];
		if (memcmp(&given.profile, &transfer->profile, sizeof(HttpProfile)) == 0)
		{
			pool->idle[i] = pool->idle[--pool->n_idle];
			transfer->easy = given.easy;
			return true;
		}
	}
	if (pool->n_idle > 0)
	{
		given = pool->idle[--pool->n_idle];
		curl_easy_reset(given.easy);
	}
	else
		given.easy = curl_easy_init();
	transfer->easy = given.easy;
	return transfer->easy != NULL && http_easy_configure(transfer->easy, transfer);
}

/* Takes the handle, if there is one, out of libcurl's hands; keep: for the next request. */
void
http_pool_take_easy(HttpPool *pool, HttpTransfer *transfer, bool keep)
{
	CURL	   *easy = transfer->easy;

	if (easy == NULL)
		return;
	transfer->easy = NULL;
	curl_multi_remove_handle(pool->multi, easy);
	if (transfer->profile.http2)
		curl_easy_setopt(easy, CURLOPT_PRIVATE, NULL);	/* for on_debug() */
	if (keep && !transfer->fresh && pool->n_idle < pool->max_connections)
	{
		pool->idle[pool->n_idle].easy = easy;
		pool->idle[pool->n_idle++].profile = transfer->profile;
	}
	else
		curl_easy_cleanup(easy);
}

/*
 * If libcurl may be waiting for a name lookup: leaves handle and headers to an
 * orphan and returns true.  The orphan has no request, which is what the
 * callbacks go by.
 */
bool
http_pool_detach(HttpPool *pool, HttpTransfer *transfer)
{
	HttpTransfer *orphan;

	if (transfer->easy == NULL || transfer->connecting || transfer->sent || transfer->url.literal)
		return false;
	orphan = calloc(1, sizeof(HttpTransfer));
	if (orphan == NULL || !http_easy_attach(transfer->easy, orphan))
	{
		free(orphan);
		return false;
	}
	curl_easy_setopt(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, (long) INT_MAX);
	orphan->state = TRANSFER_ORPHAN;
	orphan->pool = pool;
	orphan->easy = transfer->easy;
	orphan->profile = transfer->profile;
	orphan->headers = transfer->headers;
	transfer->easy = NULL;
	transfer->headers = NULL;
	dlist_push_tail(&pool->orphans, &orphan->node);
	return true;
}

/* The request goes while its transfer is in the pool. */
void
http_pool_forget(HttpTransfer *transfer)
{
	HttpPool   *pool = transfer->pool;

	if (transfer->state == TRANSFER_QUEUED)
		pool->n_queued--;
	else if (transfer->state == TRANSFER_DONE)
		pool->n_done--;
	else
	{
		pool->n_active--;
		if (!http_pool_detach(pool, transfer))
			http_pool_take_easy(pool, transfer, false);
	}
	dlist_delete(&transfer->node);
	transfer->state = TRANSFER_ENDED;
	transfer->pool = NULL;
}
