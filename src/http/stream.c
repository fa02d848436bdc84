/*
 * stream.c
 *	  An answer of any length, read as it comes.
 *
 * Between two reads nobody turns the pool for it: the peer's window fills up
 * and it waits.  But others of the session may turn the pool meanwhile, so a
 * body that nobody takes is paused (easy.c) when so much of it has gathered.
 * How long such a transfer lasts is the reader's affair: the time allowed is
 * that from one read to the next byte.
 */
#include "postgres.h"

#include <signal.h>

#include "http/transfer.h"
#include "miscadmin.h"
#include "utils/memutils.h"

static void stream_refuse_many(HttpPool *pool);
static bool stream_has(const HttpTransfer *transfer);
static void stream_wait(HttpTransfer *transfer);
static void stream_go_on(HttpTransfer *transfer);

void
http_stream_open(HttpRequest *request)
{
	HttpTransfer *transfer = request->transfer;

	stream_refuse_many(http_session_pool());
	transfer->stream = true;
	http_pool_submit(http_session_pool(), request);
	while (!stream_has(transfer))
		stream_wait(transfer);
	if (transfer->state == TRANSFER_ACTIVE)
	{
		/* as http_judge() fills them in at the end */
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &request->status);
		request->headers = MemoryContextStrdup(GetMemoryChunkContext(request),
											   transfer->head.data ? transfer->head.data : "");
		transfer->deadline = PG_INT64_MAX;
	}
}

size_t
http_stream_read(HttpRequest *request, void *buffer, size_t size)
{
	HttpTransfer *transfer = request->transfer;
	size_t		len;

	while (!stream_has(transfer))
		stream_wait(transfer);
	len = Min(size, transfer->body.len - transfer->taken);
	if (len == 0)
		return 0;
	memcpy(buffer, transfer->body.data + transfer->taken, len);
	transfer->taken += len;
	if (transfer->taken == transfer->body.len || transfer->taken >= HTTP_STREAM_AHEAD)
	{
		transfer->body.len -= transfer->taken;
		memmove(transfer->body.data, transfer->body.data + transfer->taken, transfer->body.len);
		transfer->taken = 0;
	}
	if (transfer->state == TRANSFER_ACTIVE)
		transfer->deadline = PG_INT64_MAX;
	return len;
}

bool
http_stream_ended(const HttpRequest *request)
{
	return request->transfer->state == TRANSFER_ENDED;
}

/* One that nobody reads at the moment keeps its connection; others must find some. */
static void
stream_refuse_many(HttpPool *pool)
{
	dlist_iter	iter;
	int			n = 0;

	dlist_foreach(iter, &pool->active)
		n += dlist_container(HttpTransfer, node, iter.cur)->stream;
	if (n >= HTTP_SESSION_STREAMS)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many answers are being read at once"),
				 errdetail("A session reads at most %d files from the network at the same time.", HTTP_SESSION_STREAMS),
				 errhint("Load them into tables first.")));
}

/* A byte of the body, or the end? */
static bool
stream_has(const HttpTransfer *transfer)
{
	return transfer->body.len > transfer->taken || transfer->state == TRANSFER_ENDED;
}

static void
stream_wait(HttpTransfer *transfer)
{
	HttpPool   *pool = http_session_pool();

	CHECK_FOR_INTERRUPTS();
	if (transfer->state == TRANSFER_ACTIVE)
	{
		/* each byte has its own time; the clock begins when somebody begins to wait for it */
		if (transfer->deadline == PG_INT64_MAX)
			transfer->deadline = http_now() + transfer->timeout_ms * INT64CONST(1000);
		pool->next_deadline = Min(pool->next_deadline, transfer->deadline);
		if (transfer->paused)
			stream_go_on(transfer);
	}
	if (!stream_has(transfer))
		http_pool_turn(pool, -1);
	/* those of others know by their state that they ended */
	while (http_pool_next(pool) != NULL)
		;
}

static void
stream_go_on(HttpTransfer *transfer)
{
	sigset_t	saved;

	transfer->paused = false;
	http_block_signals(&saved);
	curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
	sigprocmask(SIG_SETMASK, &saved, NULL);
}
