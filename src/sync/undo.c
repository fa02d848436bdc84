/*
 * undo.c
 *	  activate_undo(): a web API is given again what it held before a run.
 *
 * The images were kept when messages of the run were settled (deliver/undo.c),
 * and go out like any other message, by the outbox.  Nothing that is newer is
 * lost: keys that something has changed since are left, and a deliverer sends
 * an undo only while the target still holds what the run left there.  Messages
 * of the run that wait are not discarded here, because one may just be under
 * way: the undo of their keys stands behind them, and takes them back, or what
 * became of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "connector/connector.h"
#include "core/compat.h"
#include "core/own.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "outbox/outbox.h"
#include "sync/verbs.h"
#include "utils/builtins.h"

#define UNDO_BATCH	1000

typedef struct Undo
{
	Sync	   *sync;
	int64		run;
	bool		may_delete;		/* what the run was the first to send */
	OutboxOp	restore;		/* 0: the target takes no such rows */
	int64		restored;
	int64		withdrawn;
	int64		changed;
	int64		first;
	int64		unknown;
	int64		held;
} Undo;

static void check_sync(const Sync *sync);
static void check_run(const Sync *sync, int64 run);
static void take_back(Undo *undo);
static void take_back_row(Undo *undo, HeapTuple row, TupleDesc desc);
static void undo_report(const Undo *undo);

ACTIVATE_FUNCTION(activate_undo);

Datum
activate_undo(PG_FUNCTION_ARGS)
{
	Undo		undo = {.sync = verb_sync_locked(fcinfo)};
	Sync	   *sync = undo.sync;
	Connector  *connector;
	OutboxOp	op = sync->mode == SYNC_INSERT ? OUTBOX_UPSERT : outbox_mode_op(sync->mode);

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"run\" may not be NULL")));
	undo.run = PG_GETARG_INT64(1);
	check_sync(sync);
	check_run(sync, undo.run);

	connector = connector_load(sync->target_rel, CurrentMemoryContext);
	if (connector_write(connector, op) != NULL)
		undo.restore = op;

	/*
	 * Where rows are only updated the record is not ours.  Where they are
	 * upserted it may have been there before: that is for the caller to know.
	 */
	undo.may_delete = sync->mode != SYNC_UPDATE && connector_write(connector, OUTBOX_DELETE) != NULL &&
		(PG_ARGISNULL(2) ? sync->mode != SYNC_UPSERT : PG_GETARG_BOOL(2));
	/* what this transaction enqueued is there to be seen */
	outbox_flush();
	take_back(&undo);
	undo_report(&undo);
	PG_RETURN_INT64(undo.restored);
}

static void
check_sync(const Sync *sync)
{
	if (sync->kind != SYNC_TO_API)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot undo a run of sync \"%s\": its target \"%s\" is no table of a web API",
						sync->name, sync->target),
				 errhint("A run into a table is an ordinary transaction: what it replaced is not kept. Correct the source and run the sync again.")));
	if (sync->implicit || sync->mode == SYNC_APPEND || sync->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot undo a run of sync \"%s\"", sync->name),
				 errdetail("What it sends are events, which replace nothing."),
				 errhint("Runs of syncs to web APIs that have a key and another mode than \"append\" can be undone.")));
	if (!sync_keeps_undo(sync))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot undo a run of sync \"%s\": what the target held before is not kept", sync->name),
				 errhint("Runs can be undone that are delivered while neither of the options \"image\" and \"undo\" of the sync is false.")));
	if (!OidIsValid(sync->target_rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot undo a run of sync \"%s\": its target \"%s\" is gone", sync->name, sync->target)));
}

static void
check_run(const Sync *sync, int64 run)
{
	Oid			types[2] = {INT8OID, INT8OID};
	Datum		values[2] = {Int64GetDatum(sync->id), Int64GetDatum(run)};
	char	   *status = own_text("SELECT status FROM activate.run WHERE sync = $1 AND id = $2", 2, types, values);
	char	   *known;

	if (status == NULL)
	{
		known = own_text("SELECT activate._newest_runs($1)", 1, types, values);
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("sync \"%s\" has no run %lld", sync->name, (long long) run),
				 errdetail("Runs are remembered for activate.run_retention, and what they replaced with them."),
				 known ? errhint("Its newest runs are %s; activate.run lists all.", known) :
				 errhint("None of its runs is remembered.")));
	}
	if (strcmp(status, "running") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot undo run %lld of sync \"%s\": it is under way", (long long) run, sync->name),
				 errhint("It ends when it is done, or after its present chunk if you pause the sync: activate_pause(%s).",
						 quote_literal_cstr(sync->name))));
}

static void
take_back(Undo *undo)
{
	IdentityScope scope;
	Oid			types[4] = {INT8OID, INT8OID, CHAROID, BOOLOID};
	Datum		values[4];
	char		nulls[5] = "    ";
	Portal		portal;

	values[0] = Int64GetDatum(undo->sync->id);
	values[1] = Int64GetDatum(undo->run);
	values[2] = CharGetDatum((char) undo->restore);
	values[3] = BoolGetDatum(undo->may_delete);
	if (undo->restore == 0)
		nulls[2] = 'n';

	SPI_connect();
	identity_enter_extension(&scope);
	undo->held = own_int64("SELECT activate._undo_discard_held($1, $2)", 2, types, values);
	portal = SPI_cursor_open_with_args(NULL, "SELECT action, key, op, body, hash, did FROM activate._take_back($1, $2, $3, $4)",
									   4, types, values, nulls, false, CURSOR_OPT_NO_SCROLL);
	identity_leave(&scope);
	for (;;)
	{
		SPITupleTable *rows;
		uint64		n;

		identity_enter_extension(&scope);
		SPI_cursor_fetch(portal, true, UNDO_BATCH);
		identity_leave(&scope);
		rows = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		/* each with the role that asks for it as its writer */
		for (uint64 i = 0; i < n; i++)
			take_back_row(undo, rows->vals[i], rows->tupdesc);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	if (undo->held > 0)
		shared_announce_at_commit();
}

static void
take_back_row(Undo *undo, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	bool		no_body;
	bool		no_hash;
	char		action = DatumGetChar(SPI_getbinval(row, desc, 1, &isnull));
	Jsonb	   *key = DatumGetJsonbP(SPI_getbinval(row, desc, 2, &isnull));
	OutboxOp	op = (OutboxOp) DatumGetChar(SPI_getbinval(row, desc, 3, &isnull));
	Datum		body = SPI_getbinval(row, desc, 4, &no_body);
	int64		hash = DatumGetInt64(SPI_getbinval(row, desc, 5, &no_hash));
	OutboxUndo	did = (OutboxUndo) DatumGetChar(SPI_getbinval(row, desc, 6, &isnull));

	switch (action)
	{
		case 'c':
			undo->changed++;
			return;
		case 'n':
			undo->first++;
			return;
		case 'x':
			undo->unknown++;
			return;
		case 'w':
			undo->withdrawn++;
			break;
		default:
			undo->restored++;
	}
	outbox_append_undo(undo->sync->id, key, op, no_body || op == OUTBOX_DELETE || op == OUTBOX_CHANGE ? NULL : DatumGetJsonbP(body),
					   undo->run, did, no_hash ? NULL : &hash);
}

static void
undo_report(const Undo *undo)
{
	const char *name = undo->sync->name;
	long long	run = undo->run;
	char	   *reason = sync_undelivered_reason(undo->sync);

	if (undo->restored + undo->withdrawn + undo->held + undo->changed + undo->first + undo->unknown == 0)
		ereport(NOTICE,
				(errmsg("there is nothing of run %lld of sync \"%s\" to undo", run, name)));
	if (undo->withdrawn + undo->held > 0)
		ereport(NOTICE,
				(errmsg("%lld messages of run %lld of sync \"%s\" that wait are taken back",
						(long long) (undo->withdrawn + undo->held), run, name)));
	if (undo->changed > 0)
		ereport(NOTICE,
				(errmsg("%lld keys of sync \"%s\" are left: something has changed them since run %lld",
						(long long) undo->changed, name, run),
				 errhint("If it was a later run, undo that first, and wait until it is delivered.")));
	if (undo->first > 0)
		ereport(NOTICE,
				(errmsg("%lld keys of sync \"%s\" are left: run %lld was the first to send them",
						(long long) undo->first, name, run),
				 undo->sync->mode == SYNC_UPDATE ? errdetail("Records that are only updated are not deleted.") :
				 errhint("If the target had none of them before, activate_undo(..., deletes => true) deletes them, where the target can.")));
	if (undo->unknown > 0)
		ereport(NOTICE,
				(errmsg("%lld keys of sync \"%s\" are left: what the target held before run %lld is not known, or cannot be written",
						(long long) undo->unknown, name, run)));
	if (reason && undo->restored > 0)
		ereport(NOTICE,
				(errmsg("nothing of sync \"%s\" will be delivered for now: %s", name, reason)));
}
