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
	/* the entry's own key, when it goes */
	return a->event != 0 || a->key == b->key ? 0 : compareJsonbContainers(&a->key->root, &b->key->root);
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
	for (int i = 0; i < QUOTA_CLASSES; i++)
		dlist_init(&sync->fresh[i]);
	for (int i = 0; i < DELIVER_READY_LISTS; i++)
		dlist_init(&sync->ready[i]);
	sync->render_limit = DELIVER_RENDER;
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
		entry->class = QUOTA_BACKFILL;
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
deliver_queue_add(DeliverSync *sync, const OutboxIntent *intent, QuotaClass class)
{
	DeliverEntry *entry = entry_find(sync, intent);

	if (!deliver_entry_insert(entry, intent, class))
		return;
	entry->attempts = Max(entry->attempts, intent->attempts);
	deliver_entry_doubt(entry, intent);
	if (intent->noted && (!entry->tried || intent->noted_seq > entry->tried_seq) &&
		entry->state != ENTRY_FLYING && entry->state != ENTRY_SETTLING)
		deliver_entry_remember(entry, intent);

	/* what is under way, or another message that is ready, goes on as it is */
	if (entry->state == ENTRY_FLYING || entry->state == ENTRY_SETTLING ||
		(entry->state == ENTRY_READY && !entry_coalesces(entry)))
		return;
	deliver_entry_raise(entry, class);
	if (entry->state == ENTRY_NEW && intent->due_at > clock_now())
		deliver_entry_wait(entry, intent->due_at);
	else if (entry->state == ENTRY_NEW || entry->state == ENTRY_READY)
		deliver_entry_fresh(entry, false);
}

/*
 * An entry whose message, of these intents, is under way since before this
 * process.  What becomes of them otherwise is read from the outbox, so they have
 * no content here.  NULL: the key has a message already.
 */
DeliverEntry *
deliver_queue_lease(DeliverSync *sync, const OutboxIntent *intents, int n)
{
	DeliverEntry *entry = entry_find(sync, &intents[0]);

	if (entry->state != ENTRY_NEW || !dlist_is_empty(&entry->intents))
		return NULL;
	for (int i = 0; i < n; i++)
		if (deliver_entry_insert(entry, &intents[i], QUOTA_NORMAL))
			entry->covered++;
	entry->class = QUOTA_NORMAL;
	entry->uncertain = false;
	entry->forgotten = true;
	deliver_entry_busy(entry, ENTRY_FLYING);
	return entry;
}

/* All that is in the outbox once more; what is in memory is known again. */
void
deliver_queue_reread(DeliverSync *sync)
{
	outbox_cursor_reset(&sync->cursor);
	outbox_cursor_reset(&sync->ahead);
	sync->more = sync->news = true;
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
		deliver_entry_forget(entry);
	deliver_queue_reread(sync);
	if (sync->judged)
		pfree(sync->judged);
	sync->judged = NULL;
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
deliver_fresh_total(const DeliverSync *sync)
{
	int			total = 0;

	for (int i = 0; i < QUOTA_CLASSES; i++)
		total += sync->nfresh[i];
	return total;
}

/* Of that class and those above it. */
int
deliver_ready_upto(const DeliverSync *sync, QuotaClass class)
{
	int			total = 0;

	for (int i = 0; i < (class + 1) * DELIVER_OPERATIONS; i++)
		total += sync->nready[i];
	return total;
}

int
deliver_ready_total(const DeliverSync *sync)
{
	return deliver_ready_upto(sync, QUOTA_BACKFILL);
}

/* How many more entries the sync may take into memory. */
int
deliver_queue_window(const DeliverSync *sync)
{
	int			window = DELIVER_WINDOW;

	if (sync->nwaiting >= DELIVER_WAITING)
		return 0;
	if (sync->declaration)
		window = Max(window, 2 * deliver_sync_most(sync, outbox_mode_op(sync->declaration->sync->mode)));
	return window - deliver_fresh_total(sync) - deliver_ready_total(sync) - (sync->nbusy - sync->job_rows);
}

/* How many more changes, where those before them leave no room. */
int
deliver_queue_window_ahead(const DeliverSync *sync)
{
	return DELIVER_WINDOW - sync->nfresh[QUOTA_INTERACTIVE] - deliver_ready_upto(sync, QUOTA_INTERACTIVE);
}

int
deliver_operation(const DeliverSync *sync, OutboxOp op)
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

/* What is ready for the same calls, of the list's class and those below it. */
int
deliver_ready_behind(const DeliverSync *sync, int list)
{
	int			total = 0;

	for (; list < DELIVER_READY_LISTS; list += DELIVER_OPERATIONS)
		total += sync->nready[list];
	return total;
}

/* How a call that begins with that list goes: by the volume of what is pending, where the object says so. */
const ConnectorWrite *
deliver_sync_write(const DeliverSync *sync, int list)
{
	const DeliverEntry *first = dlist_container(DeliverEntry, node, sync->ready[list].head.next);
	const ConnectorWrite *write = connector_write(sync->declaration->connector, first->op);

	if (write == NULL || write->bulk == NULL || (first->limit > 0 && first->limit < write->bulk_rows))
		return write;
	return deliver_ready_behind(sync, list) + deliver_fresh_total(sync) >= write->bulk_rows ? write->bulk : write;
}

/* Rows of a call at most. */
int
deliver_write_batch(const DeliverSync *sync, const ConnectorWrite *write)
{
	int			batch = write ? Max(write->batch, 1) : 1;

	if (write != NULL && write->fitting > 0)
		batch = Min(batch, write->fitting);
	return sync->declaration->batch > 0 ? Min(batch, sync->declaration->batch) : batch;
}

int
deliver_sync_batch(const DeliverSync *sync, OutboxOp op)
{
	return deliver_write_batch(sync, connector_write(sync->declaration->connector, op));
}

/* Of the largest call that there may be, or what decides that it is one. */
int
deliver_sync_most(const DeliverSync *sync, OutboxOp op)
{
	const ConnectorWrite *write = connector_write(sync->declaration->connector, op);
	int			batch = deliver_write_batch(sync, write);

	if (write == NULL || write->bulk == NULL)
		return batch;
	return Max(batch, Max(deliver_write_batch(sync, write->bulk), write->bulk_rows));
}
