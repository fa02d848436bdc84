/*
 * compare.c
 *	  A comparison of the whole source with what was sent, in one pass over
 *	  each: what activate._diff_sql() would find out, in a fraction of its time.
 *
 * First comes what is known (known.c), then Q, a row at a time and never kept: its
 * hash and that of its key say what is to be done.  That is written down, to be
 * done after the last row, when it is clear which keys have more than one row, and
 * how many are gone.  All of it sees one snapshot.
 *
 * Where there are more keys than memory is given to (maintenance_work_mem), the
 * statement does it, which spills to disk.  Both must decide alike: what is
 * said there of pending and rejected keys holds here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/known.h"
#include "capture/plan.h"
#include "catalog/pg_type.h"
#include "catalog/progress.h"
#include "core/guc.h"
#include "core/table.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#define ROWS_BETWEEN	10000
#define SENT_KEY		7		/* column of activate._sent, of so many */
#define SENT_COLUMNS	9

/* Columns of what is written down. */
enum
{
	FOUND_ACTION, FOUND_KEY, FOUND_CONTENT, FOUND_A, FOUND_B, FOUND_COLUMNS
};

/* A row of the source, until it is looked up. */
typedef struct SourceRow
{
	KeyHash		hash;
	int64		content;
	bool		has_null;
	JsonbValue *key;			/* its values, in known->row */
} SourceRow;

typedef struct Comparison
{
	DestReceiver dest;			/* of rows of Q */
	CapturePlan *plan;
	Known	   *known;
	bool		told;			/* a trigger tells of each change */
	KeyColumn  *key;
	RowHash    *hash;
	int			first;			/* column of the row as sent */
	int			nwaiting;
	SourceRow	waiting[KNOWN_BATCH];
	int64		rows;
	bool		full;			/* there is no more room */
	TupleDesc	desc;
	Tuplestorestate *found;
	int64		deletes;
	int64		held;
	OwnTable	sent;
	int			steps;
} Comparison;

static bool is_possible(const CapturePlan *plan);
static SPIPlanPtr prepare_source(const CapturePlan *plan);
static bool read_source(Comparison *it, SPIPlanPtr query);
static void start_up(DestReceiver *self, int operation, TupleDesc desc);
static bool receive(TupleTableSlot *slot, DestReceiver *self);
static void nothing(DestReceiver *self);
static void keep_key(const Comparison *it, JsonbValue *values);
static void take_rows(Comparison *it);
static void take_row(Comparison *it, const SourceRow *row);
static void note_useless(Comparison *it, KnownKey *key, const SourceRow *row);
static char decide_row(const Comparison *it, const KnownKey *key, int64 content);
static char decide_gone(const Comparison *it, const KnownKey *key, const KeyNote *note);
static void write_down(Comparison *it, char action, const SourceRow *row);
static void take_steps(Comparison *it);
static void take_step(Comparison *it, const PlanStep *step);
static void count_gone(KnownKey *key, const KeyNote *note, void *arg);
static void step_of_key(KnownKey *key, const KeyNote *note, void *arg);
static Jsonb *sent_key(Comparison *it, const KnownKey *key);

bool
plan_compare(CapturePlan *plan)
{
	Comparison *it;
	IdentityScope scope;
	SPIPlanPtr	query;
	bool		done;

	if (!is_possible(plan))
		return false;
	it = palloc0(sizeof(Comparison));
	it->dest = (DestReceiver) {receive, start_up, nothing, nothing, DestNone};
	it->plan = plan;
	it->told = plan->sync->capture == CAPTURE_TRIGGER;
	it->known = known_create(plan->sync);

	sync_enter_owner(plan->sync, &scope);
	outbox_flush();
	CommandCounterIncrement();
	SPI_connect();
	/* its locks first: to a snapshot of before a table that was rewritten while we waited looks empty */
	query = prepare_source(plan);
	PushActiveSnapshot(GetTransactionSnapshot());
	done = known_read(it->known, plan->sync, plan->everything) && read_source(it, query);
	SPI_finish();
	if (done)
		take_steps(it);
	PopActiveSnapshot();
	sync_leave_owner(plan->sync, &scope);

	if (it->found)
		tuplestore_end(it->found);
	known_free(it->known);
	pfree(it);
	return done;
}

/* The statement knows of rows that are judged.  A cursor and a chunk read a part of the source: what is known of the others is not wanted. */
static bool
is_possible(const CapturePlan *plan)
{
	return activate_comparison && !plan->judged && plan->chunk == NULL && !plan->marks && plan->sync->capture != CAPTURE_CURSOR;
}

static SPIPlanPtr
prepare_source(const CapturePlan *plan)
{
	SPIPlanPtr	query = SPI_prepare(plan->query, 0, NULL);

	if (query == NULL)
		elog(ERROR, "could not prepare the query of sync \"%s\": %s", plan->sync->name, SPI_result_code_string(SPI_result));
	return query;
}

/* False: there is no room for its keys. */
static bool
read_source(Comparison *it, SPIPlanPtr query)
{
	SPIExecuteOptions options = {.read_only = true, .dest = &it->dest};

	/* else that there is no room is noticed late, and all is read again */
	it->full = !known_room_for(it->known, known_planned_rows(query));
	if (!it->full && SPI_execute_plan_extended(query, &options) < 0)
		elog(ERROR, "could not execute the query of sync \"%s\"", it->plan->sync->name);
	take_rows(it);
	return !it->full;
}

static void
start_up(DestReceiver *self, int operation, TupleDesc desc)
{
	Comparison *it = (Comparison *) self;
	const Sync *sync = it->plan->sync;
	MemoryContext previous = MemoryContextSwitchTo(it->known->context);

	it->first = sync->nkeys + (sync->has_cursor ? 1 : 0);
	it->hash = capture_hash_prepare(desc, it->first, sync->columns);
	it->key = palloc0(sync->nkeys * sizeof(KeyColumn));
	for (int i = 0; i < sync->nkeys; i++)
	{
		capture_key_init(&it->key[i], sync->key[i], i + 1, TupleDescAttr(desc, i)->atttypid, InvalidOid, CurrentMemoryContext);
		it->key[i].rendering = true;
	}
	for (int i = 0; i < KNOWN_BATCH; i++)
		it->waiting[i].key = palloc0(sync->nkeys * sizeof(JsonbValue));
	it->desc = CreateTemplateTupleDesc(FOUND_COLUMNS);
	TupleDescInitEntry(it->desc, FOUND_ACTION + 1, "action", CHAROID, -1, 0);
	TupleDescInitEntry(it->desc, FOUND_KEY + 1, "key", JSONBOID, -1, 0);
	TupleDescInitEntry(it->desc, FOUND_CONTENT + 1, "content", INT8OID, -1, 0);
	TupleDescInitEntry(it->desc, FOUND_A + 1, "a", INT8OID, -1, 0);
	TupleDescInitEntry(it->desc, FOUND_B + 1, "b", INT8OID, -1, 0);
	/* what it holds in memory is not that of the keys */
	MemoryContextSwitchTo(it->plan->context);
	it->found = tuplestore_begin_heap(false, false, work_mem);
	MemoryContextSwitchTo(previous);
}

static void
nothing(DestReceiver *self)
{
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Comparison *it = (Comparison *) self;
	Known	   *known = it->known;
	SourceRow  *row = &it->waiting[it->nwaiting++];
	MemoryContext previous = MemoryContextSwitchTo(known->row);

	slot_getallattrs(slot);
	row->content = capture_hash(it->hash, slot->tts_values + it->first, slot->tts_isnull + it->first);
	row->has_null = capture_key_values(it->key, known->nkeys, slot, row->key);
	row->hash = known_hash(known, row->key);
	known_expect(known, row->hash);
	keep_key(it, row->key);
	MemoryContextSwitchTo(previous);
	if (it->nwaiting == KNOWN_BATCH)
		take_rows(it);
	if (++it->rows % ROWS_BETWEEN == 0)
		progress_update("planning", it->rows, 0);
	return !it->full;
}

/* What points into the row goes with it. */
static void
keep_key(const Comparison *it, JsonbValue *values)
{
	for (int i = 0; i < it->known->nkeys; i++)
	{
		JsonbValue *value = &values[i];

		if (value->type == jbvString && it->key[i].kind == KEY_TEXT)
			value->val.string.val = memcpy(palloc(value->val.string.len + 1), value->val.string.val, value->val.string.len);
		else if (value->type == jbvNumeric && it->key[i].kind == KEY_NUMERIC)
			value->val.numeric = memcpy(palloc(VARSIZE(value->val.numeric)), value->val.numeric, VARSIZE(value->val.numeric));
	}
}

static void
take_rows(Comparison *it)
{
	MemoryContext previous = MemoryContextSwitchTo(it->known->row);

	for (int i = 0; i < it->nwaiting && !it->full; i++)
		take_row(it, &it->waiting[i]);
	it->nwaiting = 0;
	MemoryContextSwitchTo(previous);
	MemoryContextReset(it->known->row);
}

static void
take_row(Comparison *it, const SourceRow *row)
{
	KnownKey   *key = known_key(it->known, row->hash);
	char		action;

	if (key == NULL)
		it->full = true;
	else if (row->has_null || (key->flags & KNOWN_SEEN))
	{
		note_useless(it, key, row);
		it->full = known_is_full(it->known);
	}
	else
	{
		key->flags |= KNOWN_SEEN;
		if ((action = decide_row(it, key, row->content)) != 0)
			write_down(it, action, row);
	}
}

static void
note_useless(Comparison *it, KnownKey *key, const SourceRow *row)
{
	KeyNote    *note = known_note(it->known, key);

	if (!(key->flags & KNOWN_USELESS))
	{
		known_keep(it->known, note, capture_key_of(it->key, it->known->nkeys, row->key));
		note->n = (key->flags & KNOWN_SEEN) ? 1 : 0;
	}
	note->n++;
	if (row->has_null)
		note->flags |= NOTE_NULL;
	key->flags |= KNOWN_SEEN | KNOWN_USELESS;
}

/* Of a row of the source: as "compared" of activate._diff_sql(), in its order.  0: nothing. */
static char
decide_row(const Comparison *it, const KnownKey *key, int64 content)
{
	const CapturePlan *plan = it->plan;
	const KeyNote *note = (key->flags & KNOWN_NOTED) ? known_note(it->known, unconstify(KnownKey *, key)) : NULL;
	int			noted = note ? note->flags : 0;
	bool		sent = (key->flags & KNOWN_SENT) != 0;
	bool		refused = false;

	if ((noted & NOTE_PENDING) && ((noted & NOTE_PLANNED) ? note->planned == content : it->told))
		return 0;
	for (Refusal *r = note ? note->refusals : NULL; r; r = r->next)
	{
		if (r->content != content)
			continue;
		if (r->undone && !plan->asked)
			return 0;
		refused = true;
	}
	if (plan->everything)
		return sent ? 'u' : 'n';
	if (noted & NOTE_PENDING)
		return !sent ? 'n' : plan->updates ? 'u' : 0;
	if (refused)
		return 0;
	if (!sent)
		return 'n';
	if (plan->updates && !((key->flags & KNOWN_HASHED) && key->content == content))
		return 'u';
	return (noted & NOTE_REJECTED) && !(noted & NOTE_WAITING) ? 'f' : 0;
}

/* Of a key that the source has not; h: its delete is held already. */
static char
decide_gone(const Comparison *it, const KnownKey *key, const KeyNote *note)
{
	int			noted = note ? note->flags : 0;

	if (noted & NOTE_PENDING)
		return 0;
	if (it->plan->removes && (key->flags & KNOWN_SENT))
	{
		if ((noted & NOTE_WAITING) || ((noted & NOTE_NO_DELETE) && !it->plan->asked))
			return 0;
		return (noted & NOTE_HELD) ? 'h' : 'd';
	}
	return (noted & NOTE_REJECTED) && !(noted & NOTE_WAITING) ? 'f' : 0;
}

static void
write_down(Comparison *it, char action, const SourceRow *row)
{
	Datum		values[FOUND_COLUMNS];
	bool		isnull[FOUND_COLUMNS] = {false};

	values[FOUND_ACTION] = CharGetDatum(action);
	values[FOUND_KEY] = JsonbPGetDatum(capture_key_of(it->key, it->known->nkeys, row->key));
	values[FOUND_CONTENT] = Int64GetDatum(row->content);
	values[FOUND_A] = UInt64GetDatum(row->hash.a);
	values[FOUND_B] = UInt64GetDatum(row->hash.b);
	tuplestore_putvalues(it->found, it->desc, values, isnull);
}

static void
take_steps(Comparison *it)
{
	TupleTableSlot *row = MakeSingleTupleTableSlot(it->desc, &TTSOpsMinimalTuple);

	known_each(it->known, count_gone, it);
	plan_totals(it->plan, it->rows, it->known->sent, it->deletes, it->held > 0);
	while (tuplestore_gettupleslot(it->found, true, false, row))
	{
		PlanStep	step = {0};
		KeyHash		hash;
		MemoryContext previous;

		CHECK_FOR_INTERRUPTS();

		slot_getallattrs(row);
		hash.a = DatumGetUInt64(row->tts_values[FOUND_A]);
		hash.b = DatumGetUInt64(row->tts_values[FOUND_B]);
		if (known_find(it->known, hash)->flags & KNOWN_USELESS)
			continue;
		step.action = DatumGetChar(row->tts_values[FOUND_ACTION]);
		previous = MemoryContextSwitchTo(it->plan->batch);
		step.key = (Jsonb *) PG_DETOAST_DATUM_COPY(row->tts_values[FOUND_KEY]);
		MemoryContextSwitchTo(previous);
		step.hash = step.planned = DatumGetInt64(row->tts_values[FOUND_CONTENT]);
		take_step(it, &step);
	}
	ExecDropSingleTupleTableSlot(row);

	own_table_open(&it->sent, "_sent", "_sent_pkey", SENT_COLUMNS, AccessShareLock);
	known_each(it->known, step_of_key, it);
	own_table_close(&it->sent);
	plan_write(it->plan);
}

static void
take_step(Comparison *it, const PlanStep *step)
{
	MemoryContext previous = MemoryContextSwitchTo(it->plan->batch);

	plan_step(it->plan, step);
	MemoryContextSwitchTo(previous);
	if (++it->steps % PLAN_BATCH == 0)
		plan_write(it->plan);
}

static void
count_gone(KnownKey *key, const KeyNote *note, void *arg)
{
	Comparison *it = arg;
	char		action = (key->flags & KNOWN_SEEN) ? 0 : decide_gone(it, key, note);

	it->deletes += action == 'd';
	it->held += action == 'h';
}

/* Rows without a usable key, and keys without a row. */
static void
step_of_key(KnownKey *key, const KeyNote *note, void *arg)
{
	Comparison *it = arg;
	PlanStep	step = {0};

	if (key->flags & KNOWN_USELESS)
	{
		step.action = (note->flags & NOTE_NULL) ? 'x' : 'y';
		step.key = note->key;
		step.n = note->n;
	}
	else if (!(key->flags & KNOWN_SEEN))
		step.action = decide_gone(it, key, note);
	switch (step.action)
	{
		case 0:
		case 'h':
			return;
		case 'd':
			step.key = sent_key(it, key);
			break;
		case 'f':
			step.key = note->key;
			break;
	}
	take_step(it, &step);
}

static Jsonb *
sent_key(Comparison *it, const KnownKey *key)
{
	MemoryContext previous;
	Jsonb	   *result;
	bool		isnull;

	if (!own_table_at(&it->sent, &key->place))
		elog(ERROR, "a row of activate._sent is not where it was");
	previous = MemoryContextSwitchTo(it->plan->batch);
	result = DatumGetJsonbPCopy(slot_getattr(it->sent.row, SENT_KEY, &isnull));
	MemoryContextSwitchTo(previous);
	return result;
}
