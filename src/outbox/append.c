/*
 * append.c
 *	  The intents of the present transaction: buffered, told apart, dropped
 *	  with the subtransaction that appended them.
 *
 * Invariants.  rows, syncs and entries are stacks; a level notes where each
 * stood when the subtransaction first appended, so what belongs to a
 * subtransaction is a suffix.  Levels are in order of nesting, and the last
 * one is the present subtransaction or an ancestor of it: a subtransaction
 * that ends gives its suffix to its parent or drops it.
 *
 * Rows are written by the subtransaction that appended them and no other: in
 * a child of it they would carry the child's number and vanish with it.  Ids
 * are drawn for all rows at once, when some are written: who else changes the
 * same row of a source does so before this statement or after this transaction.
 * A parent's rows that wait get theirs with its child's, so ids follow the order
 * of events even if the parent's are written last.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "core/clock.h"
#include "core/sequence.h"
#include "core/table.h"
#include "miscadmin.h"
#include "outbox/buffer.h"
#include "tcop/utility.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Keys remembered of one transaction; what comes twice after that is coalesced by the deliverer. */
#define OUTBOX_KEYS		65536

/* So many are looked through faster than a hash table is made. */
#define OUTBOX_FEW_KEYS 8

typedef struct OutboxKey
{
	int64		sync;
	bool		forced;
	Jsonb	   *key;
} OutboxKey;

typedef struct OutboxLevel
{
	SubTransactionId subid;
	int			first_row;
	int			first_sync;
	int			first_key;
} OutboxLevel;

/* Lives in TopTransactionContext. */
typedef struct OutboxState
{
	Oid			table;			/* _outbox */
	OutboxRow  *rows;
	int			nrows;
	int			nnumbered;		/* have their ids: a prefix, also of those that wait for their subtransaction */
	int			max_rows;
	int			stretch;
	SubTransactionId pushed_by; /* the last one */
	MemoryContext row_context;	/* keys and bodies of rows; reset when there are none */
	int64	   *syncs;			/* each once */
	int			nsyncs;
	int			max_syncs;
	HTAB	   *seen;			/* OutboxKey; NULL: there are only a few keys */
	bool		forced;			/* there was a forced one among them */
	OutboxKey  *keys;			/* those that are known, in order */
	int			nkeys;
	int			max_keys;
	MemoryContext key_context;	/* seen and keys */
	OutboxLevel *levels;
	int			nlevels;
	int			max_levels;
} OutboxState;

static OutboxState *state = NULL;

static void outbox_push(OutboxRow row);
static void outbox_begin(void);
static void outbox_follow_extension(void);
static OutboxLevel *outbox_level(void);
static void outbox_number(void);
static void outbox_drop_rows(int first);
static bool outbox_is_known(const OutboxRow *row);
static bool outbox_key_exists(const OutboxKey *wanted);
static bool outbox_key_add(const OutboxKey *wanted);
static void outbox_keys_create(void);
static void outbox_seen_create(void);
static void outbox_xact_callback(XactEvent event, void *arg);
static void outbox_subxact_callback(SubXactEvent event, SubTransactionId mine,
									SubTransactionId parent, void *arg);

void
outbox_append_init(void)
{
	RegisterXactCallback(outbox_xact_callback, NULL);
	RegisterSubXactCallback(outbox_subxact_callback, NULL);
}

void
outbox_append(int64 sync, Jsonb *key, OutboxOp op, Jsonb *body, int64 run, bool forced)
{
	OutboxRow	row = {.sync = sync, .op = op, .forced = forced, .run = run, .key = key, .body = body};

	outbox_push(row);
}

void
outbox_append_planned(int64 sync, Jsonb *key, int64 run, bool forced, int64 planned)
{
	OutboxRow	row = {.sync = sync, .op = OUTBOX_CHANGE, .forced = forced, .run = run, .key = key,
	.has_planned = true, .planned = planned};

	outbox_push(row);
}

void
outbox_append_undo(int64 sync, Jsonb *key, OutboxOp op, Jsonb *body, int64 run, OutboxUndo undo, const int64 *hash)
{
	OutboxRow	row = {.sync = sync, .op = op, .run = run, .key = key, .body = body, .undo = undo};

	/* asked for, as all of a replay is; of no run, it would else look like a captured change */
	row.forced = undo == UNDO_AGAIN;
	row.has_planned = hash != NULL;
	row.planned = hash ? *hash : 0;
	outbox_push(row);
}

void
outbox_append_held(int64 sync, Jsonb *key, int64 run)
{
	OutboxRow	row = {.sync = sync, .op = OUTBOX_DELETE, .held = true, .run = run, .key = key};

	outbox_push(row);
}

bool
outbox_buffered(void)
{
	return state != NULL && state->nrows > 0;
}

void
outbox_flush(void)
{
	OutboxLevel *level;
	int			first;

	if (!outbox_buffered())
		return;

	/* those of an ancestor wait until we are back in it */
	level = &state->levels[state->nlevels - 1];
	if (level->subid != GetCurrentSubTransactionId())
		return;
	first = level->first_row;
	if (state->nrows > first)
	{
		outbox_number();
		outbox_write(state->rows + first, state->nrows - first);
	}
	outbox_drop_rows(first);
}

void
outbox_forget_keys(void)
{
	if (state != NULL && state->key_context != NULL)
		outbox_keys_create();
}

bool
outbox_appended(int64 sync)
{
	for (int i = 0; state != NULL && i < state->nsyncs; i++)
	{
		if (state->syncs[i] == sync)
			return true;
	}
	return false;
}

void
outbox_touch(int64 sync)
{
	outbox_begin();
	(void) outbox_level();
	if (outbox_appended(sync))
		return;
	if (state->nsyncs == state->max_syncs)
	{
		state->max_syncs *= 2;
		state->syncs = repalloc(state->syncs, state->max_syncs * sizeof(int64));
	}
	state->syncs[state->nsyncs++] = sync;
}

static void
outbox_push(OutboxRow row)
{
	MemoryContext previous;

	if (IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot append to the outbox during a parallel operation"),
				 errhint("Mark the function that does it PARALLEL UNSAFE.")));
	PreventCommandIfReadOnly("append to the outbox");

	outbox_touch(row.sync);
	outbox_follow_extension();
	if ((row.op == OUTBOX_TRUNCATE || (row.op == OUTBOX_CHANGE && row.body == NULL && row.undo == UNDO_NONE)) &&
		outbox_is_known(&row))
		return;

	if (state->nrows - outbox_level()->first_row >= OUTBOX_BATCH)
		outbox_flush();
	if (state->nrows == state->max_rows)
	{
		state->max_rows *= 2;
		state->rows = repalloc_huge(state->rows, state->max_rows * sizeof(OutboxRow));
	}

	if (state->pushed_by != GetCurrentSubTransactionId())
	{
		state->pushed_by = GetCurrentSubTransactionId();
		state->stretch++;
	}
	row.stretch = state->stretch;
	row.writer = GetUserId();
	row.enqueued_at = clock_now();
	previous = MemoryContextSwitchTo(state->row_context);
	row.key = memcpy(palloc(VARSIZE(row.key)), row.key, VARSIZE(row.key));
	if (row.body)
		row.body = memcpy(palloc(VARSIZE(row.body)), row.body, VARSIZE(row.body));
	MemoryContextSwitchTo(previous);
	state->rows[state->nrows++] = row;
}

/* The first intent of a transaction. */
static void
outbox_begin(void)
{
	MemoryContext previous;
	OutboxState *fresh;

	if (state != NULL)
		return;
	previous = MemoryContextSwitchTo(TopTransactionContext);
	fresh = palloc0(sizeof(OutboxState));
	fresh->table = own_relation("_outbox");
	fresh->max_rows = 16;
	fresh->rows = palloc(fresh->max_rows * sizeof(OutboxRow));
	fresh->max_syncs = 8;
	fresh->syncs = palloc(fresh->max_syncs * sizeof(int64));
	fresh->max_levels = 8;
	fresh->levels = palloc(fresh->max_levels * sizeof(OutboxLevel));
	fresh->row_context = AllocSetContextCreate(TopTransactionContext, "activate outbox rows",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(previous);
	state = fresh;
}

/* It may have been dropped and created anew in this transaction: then its syncs are others. */
static void
outbox_follow_extension(void)
{
	Oid			table = own_relation("_outbox");

	if (state->table == table)
		return;
	state->table = table;
	if (state->key_context != NULL)
		outbox_keys_create();
}

/* The level of the present subtransaction. */
static OutboxLevel *
outbox_level(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	OutboxLevel *level;

	if (state->nlevels > 0 && state->levels[state->nlevels - 1].subid == subid)
		return &state->levels[state->nlevels - 1];
	if (state->nlevels == state->max_levels)
	{
		state->max_levels *= 2;
		state->levels = repalloc(state->levels, state->max_levels * sizeof(OutboxLevel));
	}
	level = &state->levels[state->nlevels++];
	level->subid = subid;
	level->first_row = state->nrows;
	level->first_sync = state->nsyncs;
	level->first_key = state->nkeys;
	return level;
}

static void
outbox_number(void)
{
	int			n = state->nrows - state->nnumbered;
	int64		id;

	if (n == 0)
		return;
	id = own_sequence_draw("outbox_id_seq", n);
	while (state->nnumbered < state->nrows)
		state->rows[state->nnumbered++].id = id++;
}

static void
outbox_drop_rows(int first)
{
	state->nrows = first;
	state->nnumbered = Min(state->nnumbered, first);
	if (first == 0)
		MemoryContextReset(state->row_context);
}

static uint32
outbox_key_hash(const void *key, Size size)
{
	const OutboxKey *it = key;

	return hash_combine(hash_bytes((const unsigned char *) VARDATA(it->key), VARSIZE(it->key) - VARHDRSZ),
						murmurhash32((uint32) it->sync) + it->forced);
}

static int
outbox_key_match(const void *left, const void *right, Size size)
{
	const OutboxKey *a = left;
	const OutboxKey *b = right;

	return !(a->sync == b->sync && a->forced == b->forced &&
			 VARSIZE(a->key) == VARSIZE(b->key) &&
			 memcmp(a->key, b->key, VARSIZE(a->key)) == 0);
}

/* Was that key appended before?  Remembers it if not. */
static bool
outbox_is_known(const OutboxRow *row)
{
	OutboxKey	wanted;

	MemSet(&wanted, 0, sizeof(wanted));
	wanted.sync = row->sync;
	wanted.key = row->key;
	if (state->key_context == NULL || state->nkeys >= OUTBOX_KEYS)
		outbox_keys_create();

	/* a forced one says more than a plain one */
	wanted.forced = true;
	if (state->forced && outbox_key_exists(&wanted))
		return true;
	wanted.forced = row->forced;
	return !outbox_key_add(&wanted);
}

static bool
outbox_key_exists(const OutboxKey *wanted)
{
	if (state->seen != NULL)
		return hash_search(state->seen, wanted, HASH_FIND, NULL) != NULL;
	for (int i = 0; i < state->nkeys; i++)
		if (outbox_key_match(&state->keys[i], wanted, sizeof(OutboxKey)) == 0)
			return true;
	return false;
}

/* False: it is there already. */
static bool
outbox_key_add(const OutboxKey *wanted)
{
	OutboxKey  *entry = NULL;
	OutboxKey	added = *wanted;
	bool		found = false;

	if (state->seen != NULL)
		entry = hash_search(state->seen, wanted, HASH_ENTER, &found);
	else
		found = outbox_key_exists(wanted);
	if (found)
		return false;

	state->forced |= wanted->forced;
	added.key = MemoryContextAlloc(state->key_context, VARSIZE(wanted->key));
	memcpy(added.key, wanted->key, VARSIZE(wanted->key));
	if (entry)
		entry->key = added.key;
	if (state->nkeys == state->max_keys)
	{
		state->max_keys *= 2;
		state->keys = repalloc(state->keys, state->max_keys * sizeof(OutboxKey));
	}
	state->keys[state->nkeys++] = added;
	if (state->seen == NULL && state->nkeys == OUTBOX_FEW_KEYS)
		outbox_seen_create();
	return true;
}

/* An empty memory of keys, in place of a full one if there is one. */
static void
outbox_keys_create(void)
{
	if (state->key_context != NULL)
		MemoryContextDelete(state->key_context);
	state->seen = NULL;
	state->key_context = AllocSetContextCreate(TopTransactionContext, "activate outbox keys",
											   ALLOCSET_DEFAULT_SIZES);
	state->nkeys = 0;
	state->max_keys = 2 * OUTBOX_FEW_KEYS;
	state->keys = MemoryContextAlloc(state->key_context, state->max_keys * sizeof(OutboxKey));
	for (int i = 0; i < state->nlevels; i++)
		state->levels[i].first_key = 0;
}

/* For more than a few keys. */
static void
outbox_seen_create(void)
{
	HASHCTL		control;

	control.keysize = control.entrysize = sizeof(OutboxKey);
	control.hash = outbox_key_hash;
	control.match = outbox_key_match;
	control.hcxt = state->key_context;
	state->seen = hash_create("activate outbox keys", 64, &control,
							  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	for (int i = 0; i < state->nkeys; i++)
	{
		OutboxKey  *entry = hash_search(state->seen, &state->keys[i], HASH_ENTER, NULL);

		entry->key = state->keys[i].key;
	}
}

static void
outbox_xact_callback(XactEvent event, void *arg)
{
	OutboxState *ended = state;

	if (ended == NULL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			outbox_flush();
			break;
		case XACT_EVENT_COMMIT:
			state = NULL;
			outbox_wake(ended->syncs, ended->nsyncs);
			break;
		case XACT_EVENT_PREPARE:

			/* nothing tells us of COMMIT PREPARED: the deliverers' safety poll finds the rows */
		case XACT_EVENT_ABORT:
			state = NULL;
			break;
		default:
			break;
	}
}

static void
outbox_subxact_callback(SubXactEvent event, SubTransactionId mine,
						SubTransactionId parent, void *arg)
{
	OutboxLevel *level;

	if (state == NULL || state->nlevels == 0 ||
		(event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB))
		return;
	level = &state->levels[state->nlevels - 1];
	if (level->subid != mine)
		return;

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (state->nlevels > 1 && state->levels[state->nlevels - 2].subid == parent)
			state->nlevels--;
		else
			level->subid = parent;
		return;
	}

	state->nlevels--;
	while (state->nkeys > level->first_key)
	{
		OutboxKey  *key = &state->keys[--state->nkeys];

		if (state->seen != NULL)
			(void) hash_search(state->seen, key, HASH_REMOVE, NULL);
		pfree(key->key);
	}
	state->nsyncs = level->first_sync;
	outbox_drop_rows(level->first_row);
}
