/*
 * job_store.c
 *	  Jobs in activate._job: written once with all their messages, and then
 *	  no more than the number of the next request.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "deliver/job.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#define ARGUMENTS	22

typedef struct StoreWork
{
	DeliverJob *job;
	int			n;
	Oid			types[ARGUMENTS];
	Datum		values[ARGUMENTS];
} StoreWork;

static void
add(StoreWork *work, Oid type, Datum value)
{
	work->types[work->n] = type;
	work->values[work->n++] = value;
}

static void
put(ArrayBuildState *column, Datum value, bool isnull)
{
	(void) accumArrayResult(column, value, isnull, column->element_type, CurrentMemoryContext);
}

static void
begin_columns(ArrayBuildState **columns, const Oid *types, int n)
{
	for (int i = 0; i < n; i++)
		columns[i] = initArrayResult(types[i], CurrentMemoryContext, false);
}

static void
add_columns(StoreWork *work, ArrayBuildState **columns, int n)
{
	for (int i = 0; i < n; i++)
		add(work, get_array_type(columns[i]->element_type), makeArrayResult(columns[i], CurrentMemoryContext));
}

static void
add_messages(StoreWork *work)
{
	static const Oid types[] = {JSONBOID, UUIDOID, INT8OID, INT8OID, INT8OID, JSONBOID, INT4OID, BOOLOID, INT4OID};
	ArrayBuildState *columns[lengthof(types)];
	DeliverCall *call = work->job->call;

	begin_columns(columns, types, lengthof(types));
	for (int i = 0; i < call->n; i++)
	{
		const DeliverEntry *entry = call->entries[i];

		put(columns[0], JsonbPGetDatum(entry->hash_key.key), false);
		put(columns[1], PointerGetDatum(entry->id), false);
		put(columns[2], Int64GetDatum(entry->seq), false);
		put(columns[3], Int64GetDatum((int64) entry->nonce), false);
		put(columns[4], Int64GetDatum(entry->hash), !entry->has_hash);
		put(columns[5], entry->row ? JsonbPGetDatum(entry->row) : (Datum) 0, entry->row == NULL);
		put(columns[6], Int32GetDatum(entry->attempts), false);
		put(columns[7], BoolGetDatum(entry->uncertain), false);
		put(columns[8], Int32GetDatum(entry->covered), false);
	}
	add_columns(work, columns, lengthof(columns));
}

static void
add_intents(StoreWork *work)
{
	static const Oid types[] = {XID8OID, INT8OID, INT8OID, INT8OID, INT4OID};
	ArrayBuildState *columns[lengthof(types)];
	DeliverCall *call = work->job->call;

	begin_columns(columns, types, lengthof(types));
	for (int i = 0; i < call->n; i++)
	{
		dlist_node *node = call->entries[i]->intents.head.next;

		for (int j = 0; j < call->entries[i]->covered; j++, node = node->next)
		{
			const OutboxIntent *intent = &dlist_container(DeliverIntent, node, node)->intent;

			put(columns[0], FullTransactionIdGetDatum(FullTransactionIdFromU64(intent->xid)), false);
			put(columns[1], Int64GetDatum(intent->id), false);
			put(columns[2], Int64GetDatum((int64) intent->nonce), false);
			put(columns[3], Int64GetDatum(intent->run), false);
			put(columns[4], Int32GetDatum((int32) intent->undo), false);
		}
	}
	add_columns(work, columns, lengthof(columns));
}

static void
store_work(void *arg)
{
	StoreWork  *work = arg;
	DeliverJob *job = work->job;
	DeliverCall *call = job->call;

	add(work, INT8OID, Int64GetDatum(call->sync->id));
	add(work, INT4OID, Int32GetDatum(call->entries[0]->epoch));
	add(work, CHAROID, CharGetDatum((char) call->rows[0].op));
	add(work, BOOLOID, BoolGetDatum(call->write != connector_write(call->declaration->connector, call->rows[0].op)));
	add(work, TEXTOID, CStringGetTextDatum(job->handle));
	add(work, INT4OID, Int32GetDatum(job->number));
	add(work, TIMESTAMPTZOID, TimestampTzGetDatum(job->submitted_at));
	add(work, TIMESTAMPTZOID, TimestampTzGetDatum(job->deadline));
	add_messages(work);
	add_intents(work);
	job->id = DatumGetInt64(own_value("SELECT activate._job_store($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
									  " $14, $15, $16, $17, $18, $19, $20, $21, $22)",
									  work->n, work->types, work->values, NULL, NULL));
	deliver_commit_surely();
}

/* From then on it survives us; false: it could not be written. */
bool
deliver_job_store(DeliverJob *job, DeliverError *error)
{
	StoreWork	work = {.job = job};

	if (deliver_transaction(store_work, &work, error))
		return true;
	job->id = 0;
	return false;
}

static void
note_work(void *arg)
{
	const DeliverJob *job = arg;
	Oid			types[3] = {INT8OID, INT4OID, TEXTOID};
	Datum		values[3] = {Int64GetDatum(job->id), Int32GetDatum(job->number)};
	char		nulls[3] = {' ', ' ', job->state ? ' ' : 'n'};

	if (job->state)
		values[2] = CStringGetTextDatum(job->state);
	(void) own_value("SELECT activate._job_note($1, $2, $3)", 3, types, values, nulls, NULL);
	/* before that request goes */
	if (job->number < job->call->write->job->nsteps)
		deliver_commit_surely();
}

bool
deliver_job_note(const DeliverJob *job)
{
	DeliverError error;

	return deliver_transaction(note_work, unconstify(DeliverJob *, job), &error);
}

typedef struct ForgetWork
{
	int64		id;
	bool		surely;
} ForgetWork;

static void
forget_work(void *arg)
{
	const ForgetWork *work = arg;
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(work->id);

	(void) own_value("SELECT activate._job_forget($1)", 1, &type, &value, NULL, NULL);
	if (work->surely)
		deliver_commit_surely();
}

/* surely: some of its messages go again. */
bool
deliver_job_forget(const DeliverJob *job, bool surely)
{
	ForgetWork	work = {job->id, surely};
	DeliverError error;

	return job->id == 0 || deliver_transaction(forget_work, &work, &error);
}
