/*
 * known.c
 *	  What is known of the keys of a sync, read into memory: see known.h.
 */
#include "postgres.h"

#include "capture/known.h"
#include "executor/nodeHash.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "utils/plancache.h"

#define SH_PREFIX notes
#define SH_ELEMENT_TYPE KeyNote
#define SH_KEY_TYPE KeyHash
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key).a)
#define SH_EQUAL(table, x, y) ((x).a == (y).a && (x).b == (y).b)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* So far is looked behind the last key before the index is asked. */
#define LOOK_AHEAD		4

/* As many as an index of them has room for. */
#define MAX_KEYS		(PG_INT32_MAX / 2)

/* A row of activate._sent. */
typedef struct SentRow
{
	KeyHash		hash;
	ItemPointerData place;
	bool		hashed;
	int64		content;
} SentRow;

typedef void (*TakeRow) (Known *known, KnownKey *key, const TupleTableSlot *row, Jsonb *json, bool forced);

/* Rows of one of our tables: the key in the first column. */
typedef struct Reading
{
	DestReceiver dest;
	Known	   *known;
	TakeRow		take;			/* NULL: those of activate._sent */
	bool		forced;
	int			n;
	SentRow		sent[KNOWN_BATCH];
	bool		full;			/* there is no more room */
} Reading;

static bool make_room(Known *known, SPIPlanPtr plan);
static bool has_room(const Known *known);
static KnownKey *add_key(Known *known, KeyHash hash);
static void make_index(Known *known);
static KnownSlot *find_slot(const Known *known, KeyHash hash);
static void start_up(DestReceiver *self, int operation, TupleDesc desc);
static bool receive(TupleTableSlot *row, DestReceiver *self);
static bool receive_sent(TupleTableSlot *row, DestReceiver *self);
static void take_sent(Reading *reading);
static void nothing(DestReceiver *self);
static bool read_rows(Known *known, const char *sql, TakeRow take, bool forced);
static void take_intent(Known *known, KnownKey *key, const TupleTableSlot *row, Jsonb *json, bool forced);
static void take_rejection(Known *known, KnownKey *key, const TupleTableSlot *row, Jsonb *json, bool forced);

Known *
known_create(const Sync *sync)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "activate comparison", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	Known	   *known = palloc0(sizeof(Known));

	known->context = context;
	known->row = AllocSetContextCreate(context, "activate comparison row", ALLOCSET_DEFAULT_SIZES);
	known->limit = Max(get_hash_memory_limit(), (Size) maintenance_work_mem * 1024);
	known->nkeys = sync->nkeys;
	known->names = sync->key;
	known->lengths = palloc(sync->nkeys * sizeof(int));
	for (int i = 0; i < sync->nkeys; i++)
		known->lengths[i] = (int) strlen(sync->key[i]);
	known->values = palloc0(sync->nkeys * sizeof(JsonbValue));
	if (!pg_strong_random(&known->seed, sizeof(known->seed)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	known->notes = notes_create(context, 128, NULL);
	MemoryContextSwitchTo(previous);
	return known;
}

void
known_free(Known *known)
{
	MemoryContextDelete(known->context);
}

bool
known_read(Known *known, const Sync *sync, bool forced)
{
	IdentityScope scope;
	bool		room;

	identity_enter_extension(&scope);
	/* the order of digests is none: most rows are wanted, so they are read in that of the table */
	identity_set_local("enable_indexscan", "off");
	identity_set_local("max_parallel_workers_per_gather", "0");
	SPI_connect();
	room = read_rows(known, psprintf("SELECT s.key, s.ctid, s.hash FROM activate._sent s WHERE s.sync = " INT64_FORMAT, sync->id),
					 NULL, forced) &&
		read_rows(known, psprintf("SELECT o.key, o.id, o.held, o.undo IS NOT NULL, o.forced, o.planned"
								  " FROM activate._intent o WHERE o.sync = " INT64_FORMAT, sync->id),
				  take_intent, forced) &&
		read_rows(known, psprintf("SELECT j.key, j.op = 'delete', j.code IS NOT DISTINCT FROM 'undone', j.hash"
								  " FROM activate.rejection j WHERE j.sync = " INT64_FORMAT
								  " AND coalesce(j.code NOT IN ('null_key', 'duplicate_key', 'expectation', 'former_type'), true)", sync->id),
				  take_rejection, forced);
	SPI_finish();
	identity_leave(&scope);
	return room;
}

static bool
read_rows(Known *known, const char *sql, TakeRow take, bool forced)
{
	Reading		reading = {.dest = {take ? receive : receive_sent, start_up, nothing, nothing, DestNone}, .known = known,
	.take = take, .forced = forced};
	/* read only: as of the snapshot that is active */
	SPIExecuteOptions options = {.read_only = true, .dest = &reading.dest};
	SPIPlanPtr	plan = SPI_prepare(sql, 0, NULL);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	if (known->keys == NULL && !make_room(known, plan))
		return false;
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	take_sent(&reading);
	MemoryContextReset(known->row);
	return !reading.full;
}

double
known_planned_rows(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	double		rows = cached ? linitial_node(PlannedStmt, cached->stmt_list)->planTree->plan_rows : MAX_KEYS;

	if (cached)
		ReleaseCachedPlan(cached, NULL);	/* no resource owner counts it */
	return rows;
}

/* With an index of them, at most half full. */
bool
known_room_for(const Known *known, double rows)
{
	return rows < MAX_KEYS && rows * (sizeof(KnownKey) + 4 * sizeof(KnownSlot)) <= known->limit;
}

/* What is noted of keys comes on top. */
bool
known_is_full(const Known *known)
{
	return MemoryContextMemAllocated(known->context, true) > known->limit;
}

/* For as many keys as are expected. */
static bool
make_room(Known *known, SPIPlanPtr plan)
{
	double		rows = Max(known_planned_rows(plan) * 1.1, 1024);

	if (!known_room_for(known, rows))
		return false;
	known->room = (uint32) rows;
	known->keys = MemoryContextAllocHuge(known->context, known->room * sizeof(KnownKey));
	return true;
}

static void
start_up(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
nothing(DestReceiver *self)
{
}

/* Columns: key, place, hash. */
static bool
receive_sent(TupleTableSlot *row, DestReceiver *self)
{
	Reading    *reading = (Reading *) self;
	SentRow    *sent = &reading->sent[reading->n++];
	MemoryContext previous = MemoryContextSwitchTo(reading->known->row);

	slot_getallattrs(row);
	sent->hash = known_hash_of(reading->known, DatumGetJsonbP(row->tts_values[0]));
	sent->place = *(ItemPointer) DatumGetPointer(row->tts_values[1]);
	sent->hashed = !row->tts_isnull[2];
	sent->content = sent->hashed ? DatumGetInt64(row->tts_values[2]) : 0;
	MemoryContextSwitchTo(previous);
	if (reading->n == KNOWN_BATCH)
		take_sent(reading);
	return !reading->full;
}

static void
take_sent(Reading *reading)
{
	Known	   *known = reading->known;

	for (int i = 0; i < reading->n && !reading->full; i++)
	{
		const SentRow *sent = &reading->sent[i];
		/* there are no two of one key */
		KnownKey   *key = add_key(known, sent->hash);

		reading->full = key == NULL;
		if (key == NULL)
			break;
		key->flags |= KNOWN_SENT | (sent->hashed ? KNOWN_HASHED : 0);
		key->place = sent->place;
		key->content = sent->content;
		known->sent++;
	}
	reading->n = 0;
	MemoryContextReset(known->row);
}

static bool
receive(TupleTableSlot *row, DestReceiver *self)
{
	Reading    *reading = (Reading *) self;
	Known	   *known = reading->known;
	MemoryContext previous = MemoryContextSwitchTo(known->row);
	KnownKey   *key;
	Jsonb	   *json;

	slot_getallattrs(row);
	json = DatumGetJsonbP(row->tts_values[0]);
	key = known_key(known, known_hash_of(known, json));
	if (key)
		reading->take(known, key, row, json, reading->forced);
	reading->full = key == NULL || known_is_full(known);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(known->row);
	return !reading->full;
}

/* Columns: key, id, held, undo, forced, planned. */
static void
take_intent(Known *known, KnownKey *key, const TupleTableSlot *row, Jsonb *json, bool forced)
{
	KeyNote    *note = known_note(known, key);
	int64		id = DatumGetInt64(row->tts_values[1]);

	if (DatumGetBool(row->tts_values[2]))
	{
		note->flags |= NOTE_HELD;
		return;
	}
	note->flags |= NOTE_WAITING;
	if (DatumGetBool(row->tts_values[3]) || (forced && !DatumGetBool(row->tts_values[4])))
		return;
	if ((note->flags & NOTE_PENDING) && note->newest > id)
		return;
	note->flags |= NOTE_PENDING;
	note->newest = id;
	note->flags &= ~NOTE_PLANNED;
	if (!row->tts_isnull[5])
	{
		note->flags |= NOTE_PLANNED;
		note->planned = DatumGetInt64(row->tts_values[5]);
	}
}

/* Columns: key, of its delete, undone, hash. */
static void
take_rejection(Known *known, KnownKey *key, const TupleTableSlot *row, Jsonb *json, bool forced)
{
	KeyNote    *note = known_note(known, key);

	note->flags |= NOTE_REJECTED;
	known_keep(known, note, json);
	if (DatumGetBool(row->tts_values[1]))
		note->flags |= NOTE_NO_DELETE;
	else if (!row->tts_isnull[3])
	{
		Refusal    *refusal = MemoryContextAlloc(known->context, sizeof(Refusal));

		*refusal = (Refusal) {note->refusals, DatumGetInt64(row->tts_values[3]), DatumGetBool(row->tts_values[2])};
		note->refusals = refusal;
	}
}

static bool
is_same(KeyHash x, KeyHash y)
{
	return x.a == y.a && x.b == y.b;
}

static uint32
tag_of(KeyHash hash)
{
	return (uint32) (hash.a >> 32);
}

KnownKey *
known_key(Known *known, KeyHash hash)
{
	KnownKey   *key = known_find(known, hash);

	return key ? key : add_key(known, hash);
}

KnownKey *
known_find(Known *known, KeyHash hash)
{
	const KnownSlot *slot;
	uint32		end = Min(known->next + LOOK_AHEAD, known->n);

	/* a few may have gone, or moved */
	for (uint32 i = known->next; i < end; i++)
	{
		if (!is_same(known->keys[i].hash, hash))
			continue;
		known->next = i + 1;
		known->astray = false;
		return &known->keys[i];
	}
	known->astray = true;
	if (known->n == 0)
		return NULL;
	if (known->slots == NULL)
		make_index(known);
	slot = find_slot(known, hash);
	if (slot->entry == 0)
		return NULL;
	known->next = slot->entry;
	return &known->keys[slot->entry - 1];
}

void
known_expect(const Known *known, KeyHash hash)
{
#ifdef __GNUC__
	if (known->slots && known->astray)
		__builtin_prefetch(&known->slots[(uint32) hash.a & known->mask], 1);
#endif
}

/* For twice as many keys, and an index of them. */
static bool
has_room(const Known *known)
{
	Size		more = known->room * sizeof(KnownKey) + 4 * (Size) known->room * sizeof(KnownSlot);

	return known->room < MAX_KEYS / 2 && MemoryContextMemAllocated(known->context, true) + more <= known->limit;
}

static KnownKey *
add_key(Known *known, KeyHash hash)
{
	KnownKey   *key;

	if (known->n == known->room)
	{
		if (!has_room(known))
			return NULL;
		known->room *= 2;
		known->keys = repalloc_huge(known->keys, known->room * sizeof(KnownKey));
	}
	key = &known->keys[known->n++];
	*key = (KnownKey) {.hash = hash};
	ItemPointerSetInvalid(&key->place);
	if (known->slots == NULL)
		return key;
	if (known->n > known->mask / 2)
		make_index(known);
	else
		*find_slot(known, hash) = (KnownSlot) {known->n, tag_of(hash)};
	return key;
}

/* At most half full. */
static void
make_index(Known *known)
{
	uint32		size = pg_nextpower2_32(Max(known->n, 512) * 2 + 1);

	if (known->slots)
		pfree(known->slots);
	known->slots = MemoryContextAllocExtended(known->context, size * sizeof(KnownSlot), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	known->mask = size - 1;
	known->astray = true;
	for (uint32 i = 0; i < known->n; i++)
	{
		KeyHash		hash = known->keys[i].hash;

		if (i + KNOWN_BATCH < known->n)
			known_expect(known, known->keys[i + KNOWN_BATCH].hash);
		*find_slot(known, hash) = (KnownSlot) {i + 1, tag_of(hash)};
	}
}

/* Where it is, or where it would be. */
static KnownSlot *
find_slot(const Known *known, KeyHash hash)
{
	for (uint32 at = (uint32) hash.a & known->mask;; at = (at + 1) & known->mask)
	{
		KnownSlot  *slot = &known->slots[at];

		if (slot->entry == 0 || (slot->tag == tag_of(hash) && is_same(known->keys[slot->entry - 1].hash, hash)))
			return slot;
	}
}

KeyNote *
known_note(Known *known, KnownKey *key)
{
	KeyNote    *note;
	bool		found;

	note = notes_insert(known->notes, key->hash, &found);
	if (!found)
	{
		note->newest = note->planned = note->n = 0;
		note->refusals = NULL;
		note->key = NULL;
		note->flags = 0;
		key->flags |= KNOWN_NOTED;
	}
	return note;
}

void
known_keep(Known *known, KeyNote *note, Jsonb *key)
{
	if (note->key == NULL)
		note->key = memcpy(MemoryContextAlloc(known->context, VARSIZE(key)), key, VARSIZE(key));
}

void
known_each(Known *known, void (*visit) (KnownKey *key, const KeyNote *note, void *arg), void *arg)
{
	for (uint32 i = 0; i < known->n; i++)
	{
		KnownKey   *key = &known->keys[i];

		CHECK_FOR_INTERRUPTS();
		visit(key, (key->flags & KNOWN_NOTED) ? notes_lookup(known->notes, key->hash) : NULL, arg);
	}
}
