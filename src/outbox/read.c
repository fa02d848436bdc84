/*
 * read.c
 *	  Intents read from activate._outbox by its primary key (sync, xid, id) and
 *	  without SQL: what a message costs here and in remove.c is most of what the
 *	  outbox costs.
 *
 * What a pass has to read is what was invisible to the snapshot "done" and is
 * visible to its own.  Transactions that ran at the time of "done" are few and
 * probed one by one, the rest lies beyond its xmax: what was read before is not
 * touched, so a pass without news costs the same whatever the backlog.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "core/compat.h"
#include "core/table.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "outbox/buffer.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/xid8.h"

/* A pg_snapshot: visible is what is below xmax and not running. */
typedef struct PassSnapshot
{
	uint64		xmax;
	int			nrunning;
	uint64	   *running;		/* ascending */
} PassSnapshot;

typedef struct OutboxReader
{
	OwnTable	outbox;
	OwnTable	retry;
	bool		any_retry;
	int64		sync;
	PassSnapshot pass;
	int			limit;
	bool		changes;		/* only those, see outbox_claim_changes() */
	List	   *intents;
} OutboxReader;

static void read_range(OutboxReader *reader, uint64 low, uint64 high, int64 after_id);
static void read_intents(OutboxReader *reader, TupleTableSlot *slot);
static void read_retry(OutboxReader *reader, OutboxIntent *intent);

/* "xmin:xmax:xid,xid,..." */
static PassSnapshot
parse_snapshot(const char *text)
{
	PassSnapshot snapshot = {0};
	char	   *p = (char *) strchr(text, ':');

	snapshot.running = palloc(sizeof(uint64) * (strlen(text) / 2 + 1));
	snapshot.xmax = strtou64(p + 1, &p, 10);
	while (*p != '\0' && p[1] != '\0')
		snapshot.running[snapshot.nrunning++] = strtou64(p + 1, &p, 10);
	return snapshot;
}

static bool
visible_in(const PassSnapshot *snapshot, uint64 xid)
{
	if (xid >= snapshot->xmax)
		return false;
	for (int i = 0; i < snapshot->nrunning && snapshot->running[i] <= xid; i++)
		if (snapshot->running[i] == xid)
			return false;
	return true;
}

/* By the active snapshot; in the present memory context. */
List *
outbox_read(int64 sync, const char *done, const char *pass, uint64 after_xid, int64 after_id, int limit, bool changes)
{
	OutboxReader reader = {.sync = sync, .pass = parse_snapshot(pass), .limit = limit, .changes = changes};
	PassSnapshot before = {0};

	if (done)
		before = parse_snapshot(done);
	own_table_open(&reader.outbox, "_outbox", "_outbox_pkey", OUTBOX_COLUMNS, AccessShareLock);
	own_table_open(&reader.retry, "_retry", "_retry_pkey", RETRY_COLUMNS, AccessShareLock);
	reader.any_retry = RelationGetNumberOfBlocks(reader.retry.rel) > 0;

	if (after_xid > 0 && !visible_in(&before, after_xid))
		read_range(&reader, after_xid, after_xid, after_id);
	for (int i = 0; i < before.nrunning; i++)
		if (before.running[i] > after_xid)
			read_range(&reader, before.running[i], before.running[i], 0);
	read_range(&reader, Max(before.xmax, after_xid + 1), reader.pass.xmax - 1, 0);

	own_table_close(&reader.retry);
	own_table_close(&reader.outbox);
	return reader.intents;
}

void
outbox_scan_key(ScanKey key, int column, StrategyNumber strategy, RegProcedure function, uint64 value)
{
	ScanKeyInit(key, column + 1, strategy, function, Int64GetDatum((int64) value));
}

/* The first row of those transactions.  after_id: of a single one only what is behind that row. */
static bool
find_range(OutboxReader *reader, uint64 low, uint64 high, int64 after_id)
{
	ScanKeyData keys[4];
	int			n = 0;

	own_table_key(&keys[n++], OUTBOX_COL_SYNC + 1, reader->sync);
	outbox_scan_key(&keys[n++], OUTBOX_COL_XID, BTGreaterEqualStrategyNumber, F_XID8GE, low);
	outbox_scan_key(&keys[n++], OUTBOX_COL_XID, BTLessEqualStrategyNumber, F_XID8LE, high);
	if (after_id > 0)
	{
		n = 1;
		outbox_scan_key(&keys[n++], OUTBOX_COL_XID, BTEqualStrategyNumber, F_XID8EQ, low);
		outbox_scan_key(&keys[n++], OUTBOX_COL_ID, BTGreaterStrategyNumber, F_INT8GT, after_id);
	}
	return own_table_find(&reader->outbox, keys, n);
}

static void
read_range(OutboxReader *reader, uint64 low, uint64 high, int64 after_id)
{
	bool		found;

	if (low > high || list_length(reader->intents) >= reader->limit)
		return;
	found = find_range(reader, low, high, after_id);
	while (found)
	{
		TupleTableSlot *row = reader->outbox.row;
		uint64		xid;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(row);
		xid = U64FromFullTransactionId(DatumGetFullTransactionId(row->tts_values[OUTBOX_COL_XID]));
		if (reader->changes &&
			(!row->tts_isnull[OUTBOX_COL_RUN] || DatumGetBool(row->tts_values[OUTBOX_COL_FORCED])))
		{
			/* it may be one of a million */
			found = xid < high && find_range(reader, xid + 1, high, 0);
			continue;
		}
		if (!DatumGetBool(row->tts_values[OUTBOX_COL_HELD]) && visible_in(&reader->pass, xid))
		{
			read_intents(reader, row);
			if (list_length(reader->intents) >= reader->limit)
				break;
		}
		found = own_table_next(&reader->outbox);
	}
}

/* Of a row of the table, together: there may be more than were asked for. */
static void
read_intents(OutboxReader *reader, TupleTableSlot *slot)
{
	const Datum *values = slot->tts_values;
	const bool *isnull = slot->tts_isnull;
	OutboxPack	pack = outbox_pack_read(values, isnull);

	for (int i = 0; i < pack.n; i++)
	{
		OutboxIntent *intent = palloc0(sizeof(OutboxIntent));

		intent->sync = DatumGetInt64(values[OUTBOX_COL_SYNC]);
		intent->xid = U64FromFullTransactionId(DatumGetFullTransactionId(values[OUTBOX_COL_XID]));
		intent->id = outbox_pack_id(&pack, i);
		intent->nonce = (uint64) DatumGetInt64(values[OUTBOX_COL_NONCE]);
		intent->op = (OutboxOp) DatumGetChar(values[OUTBOX_COL_OP]);
		intent->forced = DatumGetBool(values[OUTBOX_COL_FORCED]);
		intent->key = DatumGetJsonbPCopy(pack.keys[i]);
		if (!isnull[OUTBOX_COL_BODY])
			intent->body = DatumGetJsonbPCopy(values[OUTBOX_COL_BODY]);
		if (!isnull[OUTBOX_COL_RUN])
			intent->run = DatumGetInt64(values[OUTBOX_COL_RUN]);
		if (!isnull[OUTBOX_COL_UNDO])
			intent->undo = (OutboxUndo) DatumGetChar(values[OUTBOX_COL_UNDO]);
		intent->has_planned = !isnull[OUTBOX_COL_PLANNED];
		if (intent->has_planned)
			intent->planned = DatumGetInt64(values[OUTBOX_COL_PLANNED]);
		intent->tid = slot->tts_tid;
		reader->intents = lappend(reader->intents, intent);
		if (reader->any_retry)
			read_retry(reader, intent);
	}
	pfree(pack.keys);
	if (pack.steps)
		pfree(pack.steps);
	if (pack.plans)
		pfree(pack.plans);
}

static void
read_retry(OutboxReader *reader, OutboxIntent *intent)
{
	TupleTableSlot *row = reader->retry.row;
	ScanKeyData key;

	own_table_key(&key, 1, intent->id);
	if (!own_table_find(&reader->retry, &key, 1))
		return;
	slot_getallattrs(row);
	intent->attempts = DatumGetInt32(row->tts_values[RETRY_COL_ATTEMPTS]);
	intent->due_at = DatumGetTimestampTz(row->tts_values[RETRY_COL_DUE_AT]);
	intent->noted = !row->tts_isnull[RETRY_COL_MESSAGE];
	if (!intent->noted)
		return;
	intent->noted_seq = DatumGetInt64(row->tts_values[RETRY_COL_SEQ]);
	intent->noted_nonce = (uint64) DatumGetInt64(row->tts_values[RETRY_COL_NONCE]);
	intent->noted_message = *DatumGetUUIDP(row->tts_values[RETRY_COL_MESSAGE]);
}

/* --- the same, for SQL ------------------------------------------------ */

static char *
snapshot_argument(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(pg_snapshot_out, value));
}

ACTIVATE_FUNCTION(activate_claim);

Datum
activate_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;
	List	   *intents;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(4) || PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("only the snapshot of the pass before can be NULL")));
	InitMaterializedSRF(fcinfo, 0);
	intents = outbox_read(PG_GETARG_INT64(0), PG_ARGISNULL(1) ? NULL : snapshot_argument(PG_GETARG_DATUM(1)),
						  snapshot_argument(PG_GETARG_DATUM(2)), U64FromFullTransactionId(PG_GETARG_FULLTRANSACTIONID(3)),
						  PG_GETARG_INT64(4), PG_GETARG_INT32(5), false);
	foreach(cell, intents)
	{
		const OutboxIntent *intent = lfirst(cell);
		Datum		values[10];
		bool		nulls[10] = {0};

		values[0] = FullTransactionIdGetDatum(FullTransactionIdFromU64(intent->xid));
		values[1] = Int64GetDatum(intent->id);
		values[2] = Int64GetDatum((int64) intent->nonce);
		values[3] = CharGetDatum(intent->op);
		values[4] = BoolGetDatum(intent->forced);
		values[5] = JsonbPGetDatum(intent->key);
		values[6] = JsonbPGetDatum(intent->body);
		nulls[6] = intent->body == NULL;
		values[7] = Int64GetDatum(intent->run);
		nulls[7] = intent->run == 0;
		values[8] = Int32GetDatum(intent->attempts);
		values[9] = TimestampTzGetDatum(intent->due_at);
		nulls[8] = nulls[9] = intent->due_at == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
