/*
 * job_resume.c
 *	  Jobs of the process before us, from activate._job into memory.
 *
 * Before anything of their sync is claimed: what of their messages is still in
 * the outbox is under way again, so that nothing of it is sent a second time and later
 * intents of its keys wait behind it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/identity.h"
#include "deliver/job.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

/* Of the columns of activate._job_read() those that are arrays, in their order. */
enum
{
	ARRAY_KEYS, ARRAY_IDS, ARRAY_SEQS, ARRAY_NONCES, ARRAY_HASHES, ARRAY_BODIES, ARRAY_ATTEMPTS, ARRAY_DOUBTS, ARRAY_COVERED,
	ARRAY_XIDS, ARRAY_INTENTS, ARRAY_INTENT_NONCES, ARRAY_RUNS, ARRAY_UNDOS, ARRAY_THERE, ARRAYS
};
#define FIRST_ARRAY	9			/* column */

typedef struct StoredArray
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} StoredArray;

/* A row of the table, in the memory of a turn. */
typedef struct StoredJob
{
	int64		id;
	OutboxOp	op;
	bool		bulk;
	char	   *handle;
	int			step;
	char	   *state;
	TimestampTz submitted_at;
	TimestampTz deadline;
	StoredArray arrays[ARRAYS];
	DeliverKnown *known;
} StoredJob;

typedef struct ResumeWork
{
	DeliverSync *sync;
	List	   *jobs;			/* StoredJob * */
} ResumeWork;

static Datum
column(HeapTuple tuple, TupleDesc desc, int number)
{
	bool		isnull;

	return SPI_getbinval(tuple, desc, number, &isnull);
}

/* Copied: the row goes with the transaction. */
static StoredArray
read_array(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypePCopy(datum);
	StoredArray result;
	Oid			type = ARR_ELEMTYPE(array);
	bool		varying = type == JSONBOID;
	int16		len = varying ? -1 : type == UUIDOID ? UUID_LEN : type == BOOLOID ? 1 : type == INT4OID ? 4 : 8;
	char		align = type == UUIDOID || type == BOOLOID ? TYPALIGN_CHAR :
		varying || type == INT4OID ? TYPALIGN_INT : TYPALIGN_DOUBLE;

	deconstruct_array(array, type, len, !varying && type != UUIDOID, align, &result.values, &result.nulls, &result.n);
	return result;
}

static void
read_job(ResumeWork *work, HeapTuple tuple, TupleDesc desc)
{
	StoredJob  *job = palloc0(sizeof(StoredJob));
	const StoredArray *keys = &job->arrays[ARRAY_KEYS];
	Jsonb	  **all;

	job->id = DatumGetInt64(column(tuple, desc, 1));
	job->op = (OutboxOp) DatumGetChar(column(tuple, desc, 2));
	job->bulk = DatumGetBool(column(tuple, desc, 3));
	job->handle = TextDatumGetCString(column(tuple, desc, 4));
	job->step = DatumGetInt32(column(tuple, desc, 5));
	job->state = SPI_getvalue(tuple, desc, 6);
	if (job->state)
		job->state = pstrdup(job->state);
	job->submitted_at = DatumGetTimestampTz(column(tuple, desc, 7));
	job->deadline = DatumGetTimestampTz(column(tuple, desc, 8));
	for (int i = 0; i < ARRAYS; i++)
		job->arrays[i] = read_array(column(tuple, desc, FIRST_ARRAY + i));

	all = palloc(sizeof(Jsonb *) * keys->n);
	for (int i = 0; i < keys->n; i++)
		all[i] = DatumGetJsonbP(keys->values[i]);
	job->known = palloc(sizeof(DeliverKnown) * keys->n);
	deliver_known(work->sync->id, all, keys->n, job->known, engine->turn);
	work->jobs = lappend(work->jobs, job);
}

static void
read_work(void *arg)
{
	ResumeWork *work = arg;
	IdentityScope scope;
	Oid			types[2] = {INT8OID, INT4OID};
	Datum		values[2] = {Int64GetDatum(work->sync->id), Int32GetDatum(work->sync->declaration->sync->epoch)};
	MemoryContext caller;
	SPITupleTable *table;
	uint64		n;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT * FROM activate._job_read($1, $2)", 2, types, values, NULL, false, 0);
	table = SPI_tuptable;
	n = SPI_processed;
	caller = MemoryContextSwitchTo(engine->turn);
	for (uint64 i = 0; i < n; i++)
		read_job(work, table->vals[i], table->tupdesc);
	MemoryContextSwitchTo(caller);
	SPI_finish();
	identity_leave(&scope);
}

/* The intents of a message that are still there, of those from "first" on. */
static int
message_intents(const StoredJob *job, const DeliverSync *sync, int message, int first, OutboxIntent *intents)
{
	int			covered = DatumGetInt32(job->arrays[ARRAY_COVERED].values[message]);
	int			n = 0;

	for (int i = first; i < first + covered; i++)
	{
		OutboxIntent *intent = &intents[n];

		if (!DatumGetBool(job->arrays[ARRAY_THERE].values[i]))
			continue;
		memset(intent, 0, sizeof(*intent));
		intent->sync = sync->id;
		intent->xid = U64FromFullTransactionId(DatumGetFullTransactionId(job->arrays[ARRAY_XIDS].values[i]));
		intent->id = DatumGetInt64(job->arrays[ARRAY_INTENTS].values[i]);
		intent->nonce = (uint64) DatumGetInt64(job->arrays[ARRAY_INTENT_NONCES].values[i]);
		intent->op = job->op;
		intent->key = DatumGetJsonbP(job->arrays[ARRAY_KEYS].values[message]);
		intent->run = DatumGetInt64(job->arrays[ARRAY_RUNS].values[i]);
		intent->undo = (OutboxUndo) DatumGetInt32(job->arrays[ARRAY_UNDOS].values[i]);
		ItemPointerSetInvalid(&intent->tid);
		n++;
	}
	return n;
}

static Jsonb *
copy_jsonb(MemoryContext context, const StoredArray *array, int i)
{
	Jsonb	   *value;

	if (array->nulls[i])
		return NULL;
	value = DatumGetJsonbP(array->values[i]);
	return memcpy(MemoryContextAlloc(context, VARSIZE(value)), value, VARSIZE(value));
}

/* The message as it went. */
static void
restore_entry(DeliverEntry *entry, const StoredJob *job, int i)
{
	const StoredArray *arrays = job->arrays;
	DeliverSync *sync = entry->sync;
	const Sync *declared = sync->declaration->sync;

	entry->epoch = declared->epoch;
	entry->op = job->op;
	entry->row = copy_jsonb(sync->context, &arrays[ARRAY_BODIES], i);
	entry->has_hash = !arrays[ARRAY_HASHES].nulls[i];
	entry->hash = entry->has_hash ? DatumGetInt64(arrays[ARRAY_HASHES].values[i]) : 0;
	entry->seq = DatumGetInt64(arrays[ARRAY_SEQS].values[i]);
	entry->nonce = (uint64) DatumGetInt64(arrays[ARRAY_NONCES].values[i]);
	memcpy(entry->id, DatumGetPointer(arrays[ARRAY_IDS].values[i]), DELIVER_ID_LEN);
	entry->attempts = DatumGetInt32(arrays[ARRAY_ATTEMPTS].values[i]);
	entry->uncertain = DatumGetBool(arrays[ARRAY_DOUBTS].values[i]);
	entry->place = job->known[i].place;
	entry->refused = job->known[i].refused && (declared->mode != SYNC_APPEND || declared->implicit);
	if (job->known[i].remote_id)
		entry->remote_id = MemoryContextStrdup(sync->context, job->known[i].remote_id);
}

/* Needed to send the rows, and to find them in the results: also of messages that are settled already. */
static void
restore_row(DeliverCall *call, const StoredJob *job, int i)
{
	ConnectorRow *row = &call->rows[i];

	row->op = job->op;
	row->id = deliver_id_text((const uint8 *) DatumGetPointer(job->arrays[ARRAY_IDS].values[i]), palloc(DELIVER_ID_TEXT));
	row->seq = DatumGetInt64(job->arrays[ARRAY_SEQS].values[i]);
	row->sync = call->declaration->sync->name;
	row->key = copy_jsonb(call->context, &job->arrays[ARRAY_KEYS], i);
	row->target_key = deliver_target_key(call->declaration->sync, row->key);
	row->row = copy_jsonb(call->context, &job->arrays[ARRAY_BODIES], i);
	if (job->known[i].remote_id)
		row->remote_id = pstrdup(job->known[i].remote_id);
}

static DeliverCall *
restore_call(DeliverSync *sync, const StoredJob *job, const ConnectorWrite *write)
{
	MemoryContext context = AllocSetContextCreate(engine->context, "activate call", ALLOCSET_SMALL_SIZES);
	DeliverCall *call = MemoryContextAllocZero(context, sizeof(DeliverCall));
	OutboxIntent *intents = palloc(sizeof(OutboxIntent) * job->arrays[ARRAY_INTENTS].n);
	int			first = 0;

	call->context = context;
	call->sync = sync;
	call->target = sync->target;
	call->declaration = sync->declaration;
	call->declaration->references++;
	call->write = write;
	call->n = job->arrays[ARRAY_KEYS].n;
	MemoryContextSwitchTo(context);
	call->rows = palloc0(sizeof(ConnectorRow) * call->n);
	call->entries = palloc0(sizeof(DeliverEntry *) * call->n);
	for (int i = 0; i < call->n; i++)
		restore_row(call, job, i);
	MemoryContextSwitchTo(engine->turn);
	for (int i = 0; i < call->n; i++)
	{
		int			n = message_intents(job, sync, i, first, intents);

		first += DatumGetInt32(job->arrays[ARRAY_COVERED].values[i]);
		call->entries[i] = n > 0 ? deliver_queue_lease(sync, intents, n) : NULL;
		if (call->entries[i] != NULL)
			restore_entry(call->entries[i], job, i);
	}
	return call;
}

static bool
any_left(const DeliverCall *call)
{
	for (int i = 0; i < call->n; i++)
		if (call->entries[i] != NULL)
			return true;
	return false;
}

/* A declaration that knows no such job cannot ask for it: then what became of its messages is not known. */
static void
restore_job(DeliverSync *sync, const StoredJob *stored)
{
	const ConnectorWrite *write = connector_write(sync->declaration->connector, stored->op);
	DeliverCall *call;
	DeliverJob *job;

	if (write != NULL && stored->bulk)
		write = write->bulk;
	if (write == NULL || write->job == NULL)
	{
		DeliverJob	gone = {.id = stored->id};
		const StoredArray *intents = &stored->arrays[ARRAY_INTENTS];

		for (int i = 0; i < intents->n; i++)
			engine->horizon_before = Max(engine->horizon_before, DatumGetInt64(intents->values[i]));
		(void) deliver_job_forget(&gone, true);
		return;
	}
	call = restore_call(sync, stored, write);
	if (!any_left(call))
	{
		DeliverJob	gone = {.id = stored->id};

		/* settled, discarded, or numbered anew with all that is pending: nothing is to be sent for it */
		(void) deliver_job_forget(&gone, false);
		deliver_call_end(call);
		return;
	}
	deliver_job_begin(call);
	job = call->job;
	job->id = stored->id;
	job->handle = MemoryContextStrdup(call->context, stored->handle);
	job->state = stored->state ? MemoryContextStrdup(call->context, stored->state) : NULL;
	job->number = Min(stored->step, write->job->nsteps);
	job->resumed = true;
	job->submitted_at = stored->submitted_at;
	job->deadline = stored->deadline;
	job->next_at = clock_now();
}

/* Once in the life of a process. */
bool
deliver_jobs_resume(DeliverSync *sync, DeliverError *error)
{
	ResumeWork	work = {.sync = sync};
	ListCell   *cell;

	if (sync->jobs_read || sync->declaration == NULL)
		return true;
	if (!deliver_transaction(read_work, &work, error))
		return false;
	MemoryContextSwitchTo(engine->turn);
	sync->jobs_read = true;
	sync->epoch = sync->declaration->sync->epoch;
	foreach(cell, work.jobs)
		restore_job(sync, lfirst(cell));
	return true;
}
