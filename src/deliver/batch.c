/*
 * batch.c
 *	  Ready rows to calls, and calls to the wire.
 *
 * Targets take turns, and the syncs of a target; a call goes out when it is
 * full or nothing more is ready (no linger).  A call unanswered for 250 ms no
 * longer counts as one of activate.connections: SEMANTICS 18.
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"
#include "deliver/job.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static DeliverCall *form_call(DeliverTarget *target, TimestampTz now);
static int	pick_list(const DeliverSync *sync, TimestampTz now);
static void fill_call(DeliverCall *call, int list);
static void build_request(DeliverCall *call);
static void build_rows(DeliverCall *call);
static void unbuildable(DeliverCall *call, const DeliverError *error);
static bool submit_call(DeliverCall *call);

bool
deliver_connection_free(void)
{
	return engine->nyoung < deliver_connections && engine->nstalled <= deliver_stalled_connections;
}

/* Sends all that can be sent now; true if anything was. */
bool
deliver_send(TimestampTz now)
{
	bool		any = false;
	/* asked to stop: what was to be known before it goes may not be */
	bool		progress = engine->enabled && engine->send_rest_until <= now && !deliver_asked_to_stop();

	deliver_targets_count(now);
	deliver_tokens_go(now);
	while (progress && deliver_connection_free())
	{
		dlist_node *last;
		dlist_node *node;

		progress = false;
		if (dlist_is_empty(&engine->targets))
			break;
		last = dlist_tail_node(&engine->targets);
		do
		{
			DeliverTarget *target;
			DeliverCall *call;

			/* whoever had a turn goes to the end */
			node = dlist_pop_head_node(&engine->targets);
			dlist_push_tail(&engine->targets, node);
			target = dlist_container(DeliverTarget, node, node);
			if (!deliver_target_ready(target, now) || (call = form_call(target, now)) == NULL)
				continue;
			if (!submit_call(call))
				return any;
			progress = any = true;
		} while (node != last && deliver_connection_free());
	}
	return any;
}

/* The next call of a target: of the highest class that there is, and of the syncs in turn; NULL: none now. */
static DeliverCall *
form_call(DeliverTarget *target, TimestampTz now)
{
	DeliverSync *sync = NULL;
	int			list = DELIVER_READY_LISTS;
	int64		ticket;
	dlist_iter	iter;
	MemoryContext context;
	DeliverCall *call;

	dlist_foreach(iter, &target->syncs)
	{
		DeliverSync *candidate = dlist_container(DeliverSync, node, iter.cur);
		int			first = -1;

		if (!candidate->broken && !candidate->stale && candidate->declaration != NULL && candidate->declaration->auth != NULL)
			first = pick_list(candidate, now);
		if (first < 0 || first / DELIVER_OPERATIONS >= list / DELIVER_OPERATIONS)
			continue;
		sync = candidate;
		list = first;
		if (list / DELIVER_OPERATIONS == QUOTA_INTERACTIVE)
			break;
	}
	if (sync == NULL || !deliver_token_ready(target, sync->declaration, now) || !deliver_budget_take(sync, list, now, &ticket))
		return NULL;

	context = AllocSetContextCreate(engine->context, "activate call", ALLOCSET_SMALL_SIZES);
	call = MemoryContextAllocZero(context, sizeof(DeliverCall));
	call->context = context;
	call->sync = sync;
	call->target = target;
	call->declaration = sync->declaration;
	call->declaration->references++;
	call->ticket = ticket;
	fill_call(call, list);

	/* its turn is over */
	dlist_delete(&sync->node);
	dlist_push_tail(&target->syncs, &sync->node);
	return call;
}

/* The list of a sync from which a call can go now, or -1: of the highest class, the longest. */
static int
pick_list(const DeliverSync *sync, TimestampTz now)
{
	bool		may_grow = false;
	int			best = -1;

	for (int i = 0; i < DELIVER_READY_LISTS; i++)
	{
		const ConnectorWrite *write;
		DeliverEntry *first;
		int			full;

		if (i % DELIVER_OPERATIONS == 0)
		{
			if (best >= 0)
				break;
			may_grow = deliver_sync_may_grow(sync, i / DELIVER_OPERATIONS, now);
		}
		if (sync->nready[i] == 0)
			continue;
		first = dlist_container(DeliverEntry, node, sync->ready[i].head.next);
		write = deliver_sync_write(sync, i);
		if (write != NULL && write->job != NULL && sync->njobs >= write->job->concurrent)
			continue;
		full = deliver_write_batch(sync, write);
		if (first->limit > 0)
			full = Min(full, first->limit);
		if ((!may_grow || deliver_ready_behind(sync, i) >= full) &&
			(best < 0 || sync->nready[i] > sync->nready[best]))
			best = i;
	}
	return best;
}

/* A call that goes anyway takes along what there is of lower classes. */
static void
fill_call(DeliverCall *call, int list)
{
	DeliverSync *sync = call->sync;
	DeliverEntry *entry = dlist_container(DeliverEntry, node, sync->ready[list].head.next);
	int			most;

	call->write = deliver_sync_write(sync, list);
	most = deliver_write_batch(sync, call->write);
	call->entries = MemoryContextAlloc(call->context,
									   sizeof(DeliverEntry *) * Min(most, deliver_ready_behind(sync, list)));
	for (; list < DELIVER_READY_LISTS; list += DELIVER_OPERATIONS)
		while (sync->nready[list] > 0)
		{
			entry = dlist_container(DeliverEntry, node, sync->ready[list].head.next);
			if (entry->limit > 0)
				most = Min(most, entry->limit);
			if (call->n >= most)
				return;
			call->entries[call->n++] = entry;
			deliver_entry_busy(entry, ENTRY_FLYING);
		}
}

/* False: not sent, and nothing more can be at this time. */
static bool
submit_call(DeliverCall *call)
{
	int64		newest = 0;

	for (int i = 0; i < call->n; i++)
		newest = Max(newest, deliver_entry_last_id(call->entries[i]));
	if (!deliver_horizon_ensure(newest))
	{
		for (int i = call->n - 1; i >= 0; i--)
			deliver_entry_ready(call->entries[i], true);
		deliver_call_end(call);
		return false;
	}
	if (!deliver_call_build(call))
		return true;
	for (int i = 0; i < call->n; i++)
	{
		DeliverEntry *entry = call->entries[i];

		if (entry->perhaps_sent)
			deliver_outcome(entry, OUTCOME_NOTED);
		entry->perhaps_sent = false;
	}
	engine->sent_up_to = Max(engine->sent_up_to, newest);
	if (call->write->job != NULL)
		deliver_job_begin(call);
	deliver_call_go(call);
	return true;
}

/* Its request, onto the wire. */
void
deliver_call_go(DeliverCall *call)
{
	call->sent_at = clock_now();
	call->answers_before = call->target->answers;
	call->probe = call->target->state != TARGET_UP;
	call->target->probing |= call->probe;
	deliver_target_called(call->target, call->sent_at);
	dlist_push_tail(&engine->young, &call->node);
	engine->nyoung++;
	http_pool_submit(engine->pool, call->request);
}

static void
build_request(DeliverCall *call)
{
	char		key[DELIVER_ID_TEXT];

	if (call->rows == NULL)
		build_rows(call);
	deliver_call_key(call->rows, call->n, call->write, key);
	call->rows[0].write = call->next ? call->next : call->write;
	call->looking = call->write->lookup != NULL && call->next == NULL && call->rows[0].remote_id == NULL;
	call->request = connector_first_request(call->declaration->connector, call->rows, call->n, key, call->context);
}

/*
 * Rows that make the body longer than the API takes wait for the next call,
 * which begins with as many as this one had, or some more if there was room.
 */
static void
build_within(DeliverCall *call)
{
	const Connector *connector = call->declaration->connector;
	const ConnectorWrite *write = call->rows[0].write;
	int		   *fitting = unconstify(int *, &write->fitting);
	size_t		bytes;
	int			n;

	while ((n = connector_fitting(connector, call->request, call->rows, call->n, &bytes)) < call->n)
	{
		while (call->n > n)
			deliver_entry_ready(call->entries[--call->n], true);
		*fitting = n;
		http_request_free(call->request);
		call->request = NULL;
		build_request(call);
	}
	/* one long row among short ones must not make calls small for long */
	if (*fitting > 0 && call->n >= *fitting)
		*fitting = (int) Max(Min(2 * *fitting, (int64) call->n * write->max_bytes / bytes), 1);
}

static void
build_work(void *arg)
{
	DeliverCall *call = arg;

	MemoryContextSwitchTo(call->context);
	build_request(call);
	if (call->rows[0].write->max_bytes > 0 && !call->looking)
		build_within(call);
	/* before it may be signed */
	if (call->declaration->connector->compress)
		http_request_compress(call->request);
	connector_authorize(call->request, call->declaration->auth);
	call->token = call->declaration->auth->token ? call->declaration->auth->token->serial : 0;
	call->request->owner = call;
}

bool
deliver_call_build(DeliverCall *call)
{
	DeliverError error;

	if (deliver_converting(build_work, call, &error))
		return true;
	unbuildable(call, &error);
	return false;
}

static void
build_rows(DeliverCall *call)
{
	Sync	   *sync = call->declaration->sync;

	call->rows = palloc0(sizeof(ConnectorRow) * call->n);
	for (int i = 0; i < call->n; i++)
	{
		DeliverEntry *entry = call->entries[i];
		ConnectorRow *row = &call->rows[i];

		row->op = entry->op;
		row->id = deliver_id_text(entry->id, palloc(DELIVER_ID_TEXT));
		row->seq = entry->seq;
		row->sync = sync->name;
		row->key = entry->hash_key.key;
		if (call->declaration->connector->format == FORMAT_OBJECT)
			row->target_key = deliver_target_key(sync, row->key);
		row->row = entry->row;
		row->key_text = entry->text;
		row->row_text = entry->text ? deliver_text_row(entry->text) : NULL;
		row->remote_id = entry->remote_id;
	}
}

/* No request can be made of these rows (a header's template meets a line break ...): alone, the bad one is rejected. */
static void
unbuildable(DeliverCall *call, const DeliverError *error)
{
	for (int i = call->n - 1; i >= 0; i--)
	{
		DeliverEntry *entry = call->entries[i];
		DeliverOutcome *outcome;

		if (call->n > 1)
		{
			entry->limit = call->n / 2;
			deliver_entry_ready(entry, true);
			continue;
		}
		outcome = deliver_outcome(entry, OUTCOME_REJECTED);
		outcome->has_id = false;
		deliver_outcome_reason(outcome, unpack_sql_state(error->sqlstate), error->message);
		deliver_entry_busy(entry, ENTRY_SETTLING);
	}
	deliver_call_end(call);
}

static void
call_stalls(DeliverCall *call)
{
	dlist_delete(&call->node);
	dlist_push_tail(&engine->stalled, &call->node);
	call->stalled = true;
	call->target->stalled++;
	engine->nyoung--;
	engine->nstalled++;
}

/* Calls that are unanswered for long make room for others: sooner if there is none, and it is they that are late. */
void
deliver_call_stalls(TimestampTz now)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &engine->young)
	{
		DeliverCall *call = dlist_container(DeliverCall, node, iter.cur);

		if (now - call->sent_at < DELIVER_LATE_US || engine->nstalled >= deliver_stalled_connections)
			break;
		if (now - call->sent_at >= DELIVER_STALL_US ||
			(engine->nyoung >= deliver_connections && deliver_call_late(call, now)))
			call_stalls(call);
	}
}

/* Its request is in flight no more, and is forgotten. */
void
deliver_call_landed(DeliverCall *call)
{
	if (call->sent_at != 0)
	{
		dlist_delete(&call->node);
		if (call->stalled)
		{
			engine->nstalled--;
			call->target->stalled--;
		}
		else
			engine->nyoung--;
		call->target->in_flight--;
		call->target->unpublished = true;
		if (call->probe)
			call->target->probing = false;
	}
	if (call->request)
		http_request_free(call->request);
	call->request = NULL;
	call->sent_at = 0;
	call->stalled = call->probe = false;
}

/* Frees a call, in flight or not. */
void
deliver_call_end(DeliverCall *call)
{
	deliver_call_landed(call);
	if (call->job != NULL)
		deliver_job_end(call->job);
	deliver_declare_release(call->declaration);
	MemoryContextDelete(call->context);
}
