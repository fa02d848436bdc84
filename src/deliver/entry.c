/*
 * entry.c
 *	  One key of a sync: its intents, and where its message is (docs/deliver.md
 *	  has the diagram).
 */
#include "postgres.h"

#include "core/clock.h"
#include "deliver/engine.h"

/* Out of whatever list the entry is in. */
static void
entry_detach(DeliverEntry *entry)
{
	DeliverSync *sync = entry->sync;

	switch (entry->state)
	{
		case ENTRY_NEW:
			break;
		case ENTRY_FRESH:
			dlist_delete(&entry->node);
			sync->nfresh[entry->class]--;
			break;
		case ENTRY_READY:
			dlist_delete(&entry->node);
			sync->nready[entry->list]--;
			break;
		case ENTRY_WAITING:
			pairingheap_remove(sync->waiting, &entry->due_node);
			sync->nwaiting--;
			break;
		case ENTRY_FLYING:
		case ENTRY_SETTLING:
			if (--sync->nbusy == 0 && !sync->listed)
				engine->stale = true;	/* now it can be dropped */
			break;
	}
	entry->state = ENTRY_NEW;
}

void
deliver_entry_busy(DeliverEntry *entry, EntryState state)
{
	entry_detach(entry);
	entry->sync->nbusy++;
	entry->state = state;
}

static int64
node_id(dlist_node *node)
{
	return dlist_container(DeliverIntent, node, node)->intent.id;
}

/* Nothing is under way any more: one list in order, with what was put behind it though it is older. */
static void
uncover(DeliverEntry *entry)
{
	dlist_node *begin = &entry->intents.head;
	dlist_node *node = begin;

	for (; entry->covered > 0; entry->covered--)
		node = node->next;
	while (node != begin)
	{
		dlist_node *previous = node->prev;
		dlist_node *after = node;

		while (after->next != begin && node_id(after->next) < node_id(node))
			after = after->next;
		if (after != node)
		{
			dlist_delete(node);
			dlist_insert_after(after, node);
		}
		node = previous;
	}
}

/* Forgets the message, not the intents. */
void
deliver_entry_clear(DeliverEntry *entry)
{
	if (entry->row)
		pfree(entry->row);
	if (entry->text)
		pfree(entry->text);
	if (entry->remote_id)
		pfree(entry->remote_id);
	entry->row = NULL;
	entry->text = NULL;
	entry->remote_id = NULL;
	entry->has_hash = false;
	uncover(entry);
}

static void
intent_free(DeliverIntent *intent)
{
	dlist_delete(&intent->node);
	if (intent->intent.body)
		pfree(intent->intent.body);
	pfree(intent);
}

/* Nothing is left but what was tried. */
static void
entry_empty(DeliverEntry *entry)
{
	entry_detach(entry);
	deliver_entry_clear(entry);
	while (!dlist_is_empty(&entry->intents))
		intent_free(dlist_head_element(DeliverIntent, node, &entry->intents));
}

static void
entry_free(DeliverEntry *entry)
{
	DeliverSync *sync = entry->sync;
	Jsonb	   *key = entry->hash_key.key;

	entry_empty(entry);
	hash_search(sync->entries, &entry->hash_key, HASH_REMOVE, NULL);
	pfree(key);
}

/*
 * Nothing but that it is uncertain is kept: no table tells that again, unless
 * it is an event that is still there.  Another epoch has another target, of
 * which nothing is in doubt.
 */
static void
entry_let_go(DeliverEntry *entry)
{
	if (!entry->uncertain || entry->hash_key.event != 0 || entry->epoch != entry->sync->epoch)
	{
		entry_free(entry);
		return;
	}
	entry_empty(entry);
	entry->attempts = 0;
	entry->limit = 0;
	entry->class = QUOTA_BACKFILL;
}

/* What is under way stays, until it would have to be sent again: see entry_reread(). */
void
deliver_entry_forget(DeliverEntry *entry)
{
	dlist_node *node = entry->intents.head.next;

	if (entry->state != ENTRY_FLYING && entry->state != ENTRY_SETTLING)
	{
		entry_let_go(entry);
		return;
	}
	for (int i = 0; i < entry->covered; i++)
		node = node->next;
	while (node != &entry->intents.head)
	{
		DeliverIntent *intent = dlist_container(DeliverIntent, node, node);

		node = node->next;
		intent_free(intent);
	}
	entry->forgotten = true;
}

/*
 * Was it forgotten while it was under way?  Then its intents may have been
 * discarded, or its sync may be declared otherwise: it does not go on, and what
 * is still there is read again.
 */
static bool
entry_reread(DeliverEntry *entry)
{
	DeliverSync *sync = entry->sync;

	if (!entry->forgotten)
		return false;
	entry->forgotten = false;
	entry_let_go(entry);
	deliver_queue_reread(sync);
	return true;
}

static void
push_fresh(DeliverEntry *entry, bool front)
{
	DeliverSync *sync = entry->sync;

	if (front)
		dlist_push_head(&sync->fresh[entry->class], &entry->node);
	else
		dlist_push_tail(&sync->fresh[entry->class], &entry->node);
	sync->nfresh[entry->class]++;
	entry->state = ENTRY_FRESH;
}

/* An intent of that class is one of the next message. */
void
deliver_entry_raise(DeliverEntry *entry, QuotaClass class)
{
	bool		fresh = entry->state == ENTRY_FRESH;

	if (class >= entry->class)
		return;
	if (fresh)
		entry_detach(entry);
	entry->class = class;
	if (fresh)
		push_fresh(entry, false);
}

void
deliver_entry_fresh(DeliverEntry *entry, bool front)
{
	if (entry_reread(entry))
		return;
	entry_detach(entry);
	deliver_entry_clear(entry);
	push_fresh(entry, front);
}

void
deliver_entry_ready(DeliverEntry *entry, bool front)
{
	DeliverSync *sync = entry->sync;

	if (entry_reread(entry))
		return;
	entry_detach(entry);
	entry->list = entry->class * DELIVER_OPERATIONS + deliver_operation(sync, entry->op);
	if (front)
		dlist_push_head(&sync->ready[entry->list], &entry->node);
	else
		dlist_push_tail(&sync->ready[entry->list], &entry->node);
	sync->nready[entry->list]++;
	entry->state = ENTRY_READY;
}

/* What waits is rendered anew when it is due, so its row is not kept. */
void
deliver_entry_wait(DeliverEntry *entry, TimestampTz due_at)
{
	if (entry_reread(entry))
		return;
	entry_detach(entry);
	deliver_entry_clear(entry);
	entry->due_at = due_at;
	pairingheap_add(entry->sync->waiting, &entry->due_node);
	entry->sync->nwaiting++;
	entry->state = ENTRY_WAITING;
}

/* May a message with this intent have reached the target? */
void
deliver_entry_doubt(DeliverEntry *entry, const OutboxIntent *intent)
{
	if (intent->id <= engine->horizon_before)
		entry->perhaps_sent = true;
	/* due_at: an attempt of it failed, perhaps only in our eyes */
	if (entry->perhaps_sent || intent->due_at != 0)
		entry->uncertain = true;
}

/* The process before us tried this message last. */
void
deliver_entry_remember(DeliverEntry *entry, const OutboxIntent *intent)
{
	entry->tried = true;
	entry->tried_seq = intent->noted_seq;
	entry->tried_nonce = intent->noted_nonce;
	memcpy(entry->tried_id, intent->noted_message.data, DELIVER_ID_LEN);
}

/* The message is settled: on to the intents behind it, if there are any. */
void
deliver_entry_done(DeliverEntry *entry)
{
	dlist_iter	iter;

	for (int i = 0; i < entry->covered; i++)
		intent_free(dlist_head_element(DeliverIntent, node, &entry->intents));
	entry->covered = 0;
	entry->attempts = 0;
	entry->limit = 0;
	entry->forgotten = false;
	entry->perhaps_sent = false;
	entry->uncertain = false;
	entry->tried = false;
	entry->tried_ambiguous = false;
	entry->class = QUOTA_BACKFILL;
	dlist_foreach(iter, &entry->intents)
	{
		const DeliverIntent *left = dlist_container(DeliverIntent, node, iter.cur);

		deliver_entry_doubt(entry, &left->intent);
		entry->class = Min(entry->class, left->class);
	}
	if (dlist_is_empty(&entry->intents))
		entry_free(entry);
	else
		deliver_entry_fresh(entry, false);
}

OutboxIntent *
deliver_entry_head(const DeliverEntry *entry)
{
	return &dlist_container(DeliverIntent, node, entry->intents.head.next)->intent;
}

/* The newest intent that the message stands for; NULL: there is no message. */
const OutboxIntent *
deliver_entry_newest(const DeliverEntry *entry)
{
	dlist_node *node = entry->intents.head.next;
	const OutboxIntent *newest = NULL;

	for (int i = 0; i < entry->covered; i++, node = node->next)
	{
		const OutboxIntent *intent = &dlist_container(DeliverIntent, node, node)->intent;

		if (newest == NULL || intent->id > newest->id)
			newest = intent;
	}
	return newest;
}

int64
deliver_entry_last_id(const DeliverEntry *entry)
{
	const OutboxIntent *newest = deliver_entry_newest(entry);

	return newest ? newest->id : 0;
}

/* Backwards from a node to one whose id is not above, or to where the list of that node begins. */
static dlist_node *
node_upto(dlist_node *node, const dlist_node *begin, int64 id)
{
	while (node != begin && node_id(node) > id)
		node = node->prev;
	return node;
}

/*
 * In order of id, but never before what is under way: those are two lists, each
 * in order.  False if it is there already (the cursor was set back).
 */
bool
deliver_entry_insert(DeliverEntry *entry, const OutboxIntent *intent, QuotaClass class)
{
	DeliverIntent *added;
	dlist_node *begin = &entry->intents.head;
	dlist_node *covered = begin;
	dlist_node *same;
	dlist_node *after;

	for (int i = 0; i < entry->covered; i++)
		covered = covered->next;
	same = node_upto(covered, begin, intent->id);
	after = node_upto(begin->prev, covered, intent->id);
	if ((same != begin && node_id(same) == intent->id) ||
		(after != covered && node_id(after) == intent->id))
		return false;
	added = MemoryContextAlloc(entry->sync->context, sizeof(DeliverIntent));
	added->class = class;
	added->intent = *intent;
	added->intent.key = entry->hash_key.key;
	if (intent->body)
	{
		added->intent.body = MemoryContextAlloc(entry->sync->context, VARSIZE(intent->body));
		memcpy(added->intent.body, intent->body, VARSIZE(intent->body));
	}
	dlist_insert_after(after, &added->node);
	return true;
}

/*
 * The message may have reached the target: until that is known its intents are
 * no other.  True: that is news of one of them, which no table tells yet.
 */
bool
deliver_entry_tried(DeliverEntry *entry)
{
	dlist_node *node = entry->intents.head.next;
	bool		news = false;

	entry->uncertain = true;
	for (int i = 0; i < entry->covered; i++, node = node->next)
	{
		OutboxIntent *intent = &dlist_container(DeliverIntent, node, node)->intent;

		news |= intent->due_at == 0;
		intent->due_at = clock_now();
	}
	return news;
}
