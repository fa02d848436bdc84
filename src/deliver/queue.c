/*
 * queue.c
 *	  The intents of a sync in memory: one entry per key, at most one message
 *	  of a key under way, later intents waiting behind it (guarantee 3).
 *
 * An intent whose content was captured with it (body) is an event: a message
 * of its own, or with its neighbours as merge.c says.  Intents that only name the key are coalesced: one
 * rendering stands for all of them that were claimed before it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/clock.h"
#include "deliver/engine.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* Equal as jsonb, so that the numbers 1 and 1.0 are one key as they are in the source's index. */
static uint32
key_hash(const void *key, Size size)
{
	const DeliverKey *k = key;

	if (k->event != 0)
		return hash_bytes((const unsigned char *) &k->event, sizeof(k->event));
	return DatumGetUInt32(DirectFunctionCall1(jsonb_hash, JsonbPGetDatum(k->key)));
}

static int
key_compare(const void *left, const void *right, Size size)
{
	const DeliverKey *a = left;
	const DeliverKey *b = right;

	if (a->event != b->event)
		return 1;
	return a->event != 0 ? 0 : compareJsonbContainers(&a->key->root, &b->key->root);
}

static int
due_compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz x = pairingheap_const_container(DeliverEntry, due_node, a)->due_at;
	TimestampTz y = pairingheap_const_container(DeliverEntry, due_node, b)->due_at;

	/* the heap keeps the largest first */
	return x < y ? 1 : x > y ? -1 : 0;
}

void
deliver_queue_create(DeliverSync *sync)
{
	HASHCTL		control = {0};

	sync->context = AllocSetContextCreate(engine->context, "activate queue", ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(DeliverKey);
	control.entrysize = sizeof(DeliverEntry);
	control.hash = key_hash;
	control.match = key_compare;
	control.hcxt = sync->context;
	sync->entries = hash_create("activate entries", 256, &control,
								HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	MemoryContextSwitchTo(sync->context);
	sync->waiting = pairingheap_allocate(due_compare, NULL);
	MemoryContextSwitchTo(engine->turn);
	dlist_init(&sync->fresh);
	for (int i = 0; i < DELIVER_READY_LISTS; i++)
		dlist_init(&sync->ready[i]);
	sync->render_limit = DELIVER_RENDER;
}

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
			sync->nfresh--;
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
	if (entry->remote_id)
		pfree(entry->remote_id);
	entry->row = NULL;
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
entry_forget(DeliverEntry *entry)
{
	if (!entry->uncertain || entry->hash_key.event != 0 || entry->epoch != entry->sync->epoch)
	{
		entry_free(entry);
		return;
	}
	entry_empty(entry);
	entry->attempts = 0;
	entry->limit = 0;
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
	entry_forget(entry);
	outbox_cursor_reset(&sync->cursor);
	sync->more = true;
	return true;
}

void
deliver_entry_fresh(DeliverEntry *entry, bool front)
{
	DeliverSync *sync = entry->sync;

	if (entry_reread(entry))
		return;
	entry_detach(entry);
	deliver_entry_clear(entry);
	if (front)
		dlist_push_head(&sync->fresh, &entry->node);
	else
		dlist_push_tail(&sync->fresh, &entry->node);
	sync->nfresh++;
	entry->state = ENTRY_FRESH;
}

void
deliver_entry_ready(DeliverEntry *entry, bool front)
{
	DeliverSync *sync = entry->sync;

	if (entry_reread(entry))
		return;
	entry_detach(entry);
	entry->list = deliver_ready_list(sync, entry->op);
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
static void
entry_doubt(DeliverEntry *entry, const OutboxIntent *intent)
{
	if (intent->id <= engine->horizon_before)
		entry->perhaps_sent = true;
	/* due_at: an attempt of it failed, perhaps only in our eyes */
	if (entry->perhaps_sent || intent->due_at != 0)
		entry->uncertain = true;
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
	dlist_foreach(iter, &entry->intents)
		entry_doubt(entry, &dlist_container(DeliverIntent, node, iter.cur)->intent);
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
static bool
intent_insert(DeliverEntry *entry, const OutboxIntent *intent)
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

static DeliverEntry *
entry_find(DeliverSync *sync, const OutboxIntent *intent)
{
	DeliverKey	key = {intent->key, 0};
	DeliverEntry *entry;
	bool		found;

	if (JB_ROOT_COUNT(intent->key) == 0)
		key.event = intent->id;
	entry = hash_search(sync->entries, &key, HASH_ENTER, &found);
	if (!found)
	{
		Jsonb	   *copy = MemoryContextAlloc(sync->context, VARSIZE(intent->key));

		memset((char *) entry + sizeof(DeliverKey), 0, sizeof(DeliverEntry) - sizeof(DeliverKey));
		memcpy(copy, intent->key, VARSIZE(intent->key));
		entry->hash_key.key = copy;
		entry->sync = sync;
		entry->epoch = sync->epoch;
		entry->state = ENTRY_NEW;
		dlist_init(&entry->intents);
	}
	return entry;
}

/* Would a new intent of the key become part of the message that is ready? */
static bool
entry_coalesces(const DeliverEntry *entry)
{
	return deliver_entry_head(entry)->body == NULL || entry->sync->declaration->sync->implicit;
}

void
deliver_queue_add(DeliverSync *sync, const OutboxIntent *intent)
{
	DeliverEntry *entry = entry_find(sync, intent);

	if (!intent_insert(entry, intent))
		return;
	entry->attempts = Max(entry->attempts, intent->attempts);
	entry_doubt(entry, intent);

	if (entry->state == ENTRY_NEW && intent->due_at > clock_now())
		deliver_entry_wait(entry, intent->due_at);
	else if (entry->state == ENTRY_NEW ||
			 (entry->state == ENTRY_READY && entry_coalesces(entry)))
		deliver_entry_fresh(entry, false);
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

/*
 * Forgets everything that is not under way, and that as soon as it would have
 * to be sent again, and starts reading from the beginning: after a change of
 * the declaration, or of the outbox behind our back (discarded intents).
 */
void
deliver_queue_forget(DeliverSync *sync)
{
	HASH_SEQ_STATUS scan;
	DeliverEntry *entry;

	hash_seq_init(&scan, sync->entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->state == ENTRY_FLYING || entry->state == ENTRY_SETTLING)
		{
			dlist_node *node = entry->intents.head.next;

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
		else
			entry_forget(entry);
	}
	outbox_cursor_reset(&sync->cursor);
	if (sync->judged)
		pfree(sync->judged);
	sync->judged = NULL;
	sync->more = true;
}

/* What was rendered long ago is to be rendered again. */
void
deliver_queue_unrender(DeliverSync *sync)
{
	for (int i = 0; i < DELIVER_READY_LISTS; i++)
		while (!dlist_is_empty(&sync->ready[i]))
			deliver_entry_fresh(dlist_container(DeliverEntry, node, dlist_tail_node(&sync->ready[i])), true);
}

/* jsonb[]: keys whose message is under way, or may have arrived, so that the target may hold what no table says. */
ArrayType *
deliver_queue_busy_keys(DeliverSync *sync)
{
	HASH_SEQ_STATUS scan;
	DeliverEntry *entry;
	Datum	   *keys = palloc(sizeof(Datum) * Max(hash_get_num_entries(sync->entries), 1));
	int			n = 0;

	hash_seq_init(&scan, sync->entries);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->state == ENTRY_FLYING || entry->state == ENTRY_SETTLING || entry->uncertain)
			keys[n++] = JsonbPGetDatum(entry->hash_key.key);
	return construct_array(keys, n, JSONBOID, -1, false, TYPALIGN_INT);
}

/* Moves what is due to fresh; when the next one will be (DT_NOEND: none). */
TimestampTz
deliver_queue_wake_due(DeliverSync *sync, TimestampTz now)
{
	while (!pairingheap_is_empty(sync->waiting))
	{
		DeliverEntry *entry = pairingheap_container(DeliverEntry, due_node, pairingheap_first(sync->waiting));

		if (entry->due_at > now)
			return entry->due_at;
		deliver_entry_fresh(entry, false);
	}
	return DT_NOEND;
}

int
deliver_ready_total(const DeliverSync *sync)
{
	int			total = 0;

	for (int i = 0; i < DELIVER_READY_LISTS; i++)
		total += sync->nready[i];
	return total;
}

/* How many more entries the sync may take into memory. */
int
deliver_queue_window(const DeliverSync *sync)
{
	int			window = DELIVER_WINDOW;

	if (sync->nwaiting >= DELIVER_WAITING)
		return 0;
	if (sync->declaration)
		window = Max(window, 2 * deliver_sync_batch(sync, outbox_mode_op(sync->declaration->sync->mode)));
	return window - sync->nfresh - deliver_ready_total(sync) - sync->nbusy;
}

int
deliver_ready_list(const DeliverSync *sync, OutboxOp op)
{
	if (sync->declaration == NULL || sync->declaration->connector->format == FORMAT_CHANGE)
		return 0;
	switch (op)
	{
		case OUTBOX_INSERT:
			return 0;
		case OUTBOX_UPDATE:
			return 1;
		case OUTBOX_UPSERT:
			return 2;
		default:
			return 3;
	}
}

/* Rows of a call at most. */
int
deliver_sync_batch(const DeliverSync *sync, OutboxOp op)
{
	const DeliverDeclaration *declaration = sync->declaration;
	const ConnectorWrite *write = connector_write(declaration->connector, op);
	int			batch = write ? Max(write->batch, 1) : 1;

	return declaration->batch > 0 ? Min(batch, declaration->batch) : batch;
}
