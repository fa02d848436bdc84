/*
 * claim.c
 *	  The deliverer's side: passes over the intents that are new to it (read.c),
 *	  and what is done to many of them at once.
 *
 * The latter is one statement over arrays, run as the extension's owner by a
 * plan that is kept for the life of the process.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/identity.h"
#include "core/own.h"
#include "executor/spi.h"
#include "outbox/buffer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* A statement and its kept plan. */
typedef struct OutboxStatement
{
	const char *sql;
	int			nargs;
	Oid			types[6];
	SPIPlanPtr	plan;
} OutboxStatement;

static OutboxStatement list_syncs = {.sql = "SELECT activate._outbox_syncs()"};
static OutboxStatement delay_rows = {
	.sql = "SELECT activate._outbox_delay($1, $2, $3, $4, $5, $6)",
	.nargs = 6,
	.types = {INT8ARRAYOID, XID8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID}
};
static OutboxStatement release_held = {
	.sql = "SELECT activate._outbox_release($1, $2)",
	.nargs = 2,
	.types = {INT8OID, INT8OID}
};
static OutboxStatement restamp = {.sql = "SELECT sync, rows FROM activate._outbox_restamp()"};

static void statement_begin(IdentityScope *scope);
static void statement_end(IdentityScope *scope);
static void statement_run(OutboxStatement *statement, Datum *values, const char *nulls);
static Datum statement_value(uint64 row, int column, bool *isnull);
static void start_pass(OutboxCursor *cursor, const OutboxCursor *behind);
static ArrayType *array_of(Datum *values, int n, Oid type);

const char *
outbox_op_name(OutboxOp op)
{
	switch (op)
	{
		case OUTBOX_CHANGE:
			return "change";
		case OUTBOX_INSERT:
			return "insert";
		case OUTBOX_UPDATE:
			return "update";
		case OUTBOX_UPSERT:
			return "upsert";
		case OUTBOX_DELETE:
			return "delete";
		case OUTBOX_TRUNCATE:
			return "truncate";
	}
	elog(ERROR, "unknown operation of an intent: %d", (int) op);
}

OutboxOp
outbox_mode_op(SyncMode mode)
{
	switch (mode)
	{
		case SYNC_INSERT:
		case SYNC_APPEND:
			return OUTBOX_INSERT;
		case SYNC_UPDATE:
			return OUTBOX_UPDATE;
		default:
			return OUTBOX_UPSERT;
	}
}

void
outbox_cursor_reset(OutboxCursor *cursor)
{
	if (cursor->done)
		pfree(cursor->done);
	if (cursor->pass)
		pfree(cursor->pass);
	memset(cursor, 0, sizeof(*cursor));
}

static List *
claim(int64 sync, OutboxCursor *cursor, const OutboxCursor *behind, int limit, MemoryContext context)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	List	   *intents;

	/* sees what this transaction has written so far, as a statement would */
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (cursor->pass == NULL)
		start_pass(cursor, behind);
	intents = outbox_read(sync, cursor->done, cursor->pass, cursor->xid, cursor->id, limit, behind != NULL);
	PopActiveSnapshot();
	MemoryContextSwitchTo(previous);

	if (intents != NIL)
	{
		const OutboxIntent *last = llast(intents);

		cursor->xid = last->xid;
		cursor->id = last->id;
	}
	if (list_length(intents) < limit)
	{
		/* the pass is complete: the next one reads what it could not see */
		if (cursor->done)
			pfree(cursor->done);
		cursor->done = cursor->pass;
		cursor->pass = NULL;
	}
	return intents;
}

List *
outbox_claim(int64 sync, OutboxCursor *cursor, int limit, MemoryContext context)
{
	return claim(sync, cursor, NULL, limit, context);
}

List *
outbox_claim_changes(int64 sync, OutboxCursor *ahead, const OutboxCursor *cursor, int limit, MemoryContext context)
{
	return claim(sync, ahead, cursor, limit, context);
}

List *
outbox_pending(int64 sync, int limit, MemoryContext context)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	char	   *all = psprintf("1:" UINT64_FORMAT ":", PG_UINT64_MAX);
	List	   *intents;

	outbox_flush();
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	intents = outbox_read(sync, NULL, all, 0, 0, limit, false);
	PopActiveSnapshot();
	MemoryContextSwitchTo(previous);
	return intents;
}

/* behind: the first pass of a cursor ahead begins where that other one stands. */
static void
start_pass(OutboxCursor *cursor, const OutboxCursor *behind)
{
	Datum		snapshot = OidFunctionCall0(F_PG_CURRENT_SNAPSHOT);

	cursor->pass = MemoryContextStrdup(TopMemoryContext,
									   DatumGetCString(DirectFunctionCall1(pg_snapshot_out, snapshot)));
	cursor->xid = 0;
	cursor->id = 0;
	if (behind == NULL || cursor->done != NULL)
		return;
	if (behind->done)
		cursor->done = MemoryContextStrdup(TopMemoryContext, behind->done);
	cursor->xid = behind->xid;
	cursor->id = behind->id;
}

List *
outbox_syncs(void)
{
	IdentityScope scope;
	MemoryContext caller = CurrentMemoryContext;
	List	   *syncs = NIL;

	statement_begin(&scope);
	statement_run(&list_syncs, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int64	   *sync = MemoryContextAlloc(caller, sizeof(int64));
		MemoryContext previous = MemoryContextSwitchTo(caller);

		*sync = DatumGetInt64(statement_value(i, 1, &isnull));
		syncs = lappend(syncs, sync);
		MemoryContextSwitchTo(previous);
	}
	statement_end(&scope);
	return syncs;
}

void
outbox_note(const OutboxIntent *intent, int64 seq, uint64 nonce, const pg_uuid_t *message)
{
	Oid			types[6] = {INT8OID, XID8OID, INT8OID, INT8OID, INT8OID, UUIDOID};
	Datum		values[6];

	values[0] = Int64GetDatum(intent->sync);
	values[1] = FullTransactionIdGetDatum(FullTransactionIdFromU64(intent->xid));
	values[2] = Int64GetDatum(intent->id);
	values[3] = Int64GetDatum(seq);
	values[4] = Int64GetDatum((int64) nonce);
	values[5] = UUIDPGetDatum(message);
	(void) own_value("SELECT activate._outbox_note($1, $2, $3, $4, $5, $6)", 6, types, values, NULL, NULL);
}

void
outbox_delay(const OutboxDelay *delays, int n)
{
	static const Oid types[6] = {INT8OID, XID8OID, INT8OID, INT4OID, TIMESTAMPTZOID, TEXTOID};
	IdentityScope scope;
	Datum	   *columns[6];
	Datum		values[6];

	if (n == 0)
		return;
	statement_begin(&scope);
	for (int c = 0; c < 6; c++)
		columns[c] = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		const OutboxIntent *intent = delays[i].intent;

		columns[0][i] = Int64GetDatum(intent->sync);
		columns[1][i] = FullTransactionIdGetDatum(FullTransactionIdFromU64(intent->xid));
		columns[2][i] = Int64GetDatum(intent->id);
		columns[3][i] = Int32GetDatum(delays[i].attempts);
		columns[4][i] = TimestampTzGetDatum(delays[i].due_at);
		columns[5][i] = CStringGetTextDatum(delays[i].error ? delays[i].error : "");
	}
	for (int c = 0; c < 6; c++)
		values[c] = PointerGetDatum(array_of(columns[c], n, types[c]));
	statement_run(&delay_rows, values, NULL);
	statement_end(&scope);
}

int64
outbox_release(int64 sync, int64 run)
{
	IdentityScope scope;
	Datum		values[2] = {Int64GetDatum(sync), Int64GetDatum(run)};
	bool		isnull;
	int64		released;

	outbox_flush();
	statement_begin(&scope);
	statement_run(&release_held, values, NULL);
	released = DatumGetInt64(statement_value(0, 1, &isnull));
	statement_end(&scope);
	outbox_forget_keys();
	if (released > 0)
		outbox_touch(sync);
	return released;
}

int64
outbox_restamp(void)
{
	IdentityScope scope;
	int64		total = 0;
	bool		isnull;

	outbox_flush();
	statement_begin(&scope);
	statement_run(&restamp, NULL, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		outbox_touch(DatumGetInt64(statement_value(i, 1, &isnull)));
		total += DatumGetInt64(statement_value(i, 2, &isnull));
	}
	statement_end(&scope);
	return total;
}

static void
statement_begin(IdentityScope *scope)
{
	identity_enter_extension(scope);
	SPI_connect();
}

static void
statement_end(IdentityScope *scope)
{
	SPI_finish();
	identity_leave(scope);
}

static void
statement_run(OutboxStatement *statement, Datum *values, const char *nulls)
{
	int			result;

	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->sql, statement->nargs, statement->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\"", statement->sql);
		statement->plan = plan;
	}
	result = SPI_execute_plan(statement->plan, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql, SPI_result_code_string(result));
}

static Datum
statement_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static ArrayType *
array_of(Datum *values, int n, Oid type)
{
	bool		wide = type == INT8OID || type == XID8OID || type == TIMESTAMPTZOID;

	if (type == TEXTOID)
		return construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT);
	return construct_array(values, n, type, wide ? 8 : 4, wide ? FLOAT8PASSBYVAL : true,
						   wide ? TYPALIGN_DOUBLE : TYPALIGN_INT);
}
