/*
 * heal.c
 *	  activate_heal() and activate_heal_revert(): here the owner may have
 *	  something executed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/own.h"
#include "drift/remote.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* A row of activate.drift. */
typedef struct Proposal
{
	int64		id;
	const Sync *sync;
	char	   *kind;
	char	   *state;
	char	   *relation;
	char	   *column;
	char	   *was;
	char	   *became;
	bool		remote;
} Proposal;

typedef struct OwnersWork
{
	const Sync *sync;
	const char *command;
	Datum		id;
} OwnersWork;

static Proposal *proposal_required(int64 id);
static Drift *proposal_drift(const Proposal *proposal);
static void heal(const Proposal *proposal);
static void heal_far(const Proposal *proposal);
static Drift *far_difference(const Proposal *proposal);
static void heal_names(const Proposal *proposal);
static void by_owner(void *arg);

/* A declaration of ours, to heal, is no reason to forget what was there before. */
bool		drift_redeclares = false;

ACTIVATE_FUNCTION(activate_heal);
ACTIVATE_FUNCTION(activate_heal_revert);

Datum
activate_heal(PG_FUNCTION_ARGS)
{
	Proposal   *proposal = proposal_required(PG_GETARG_INT64(0));

	if (strcmp(proposal->state, "healed") == 0 || strcmp(proposal->state, "gone") == 0 || strcmp(proposal->state, "superseded") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("drift %lld cannot be healed: it is %s", (long long) proposal->id, proposal->state),
				 errhint("Those that can are in activate.drift with the state proposed, frozen, discarded or reverted.")));
	heal(proposal);
	PG_RETURN_VOID();
}

Datum
activate_heal_revert(PG_FUNCTION_ARGS)
{
	Proposal   *proposal = proposal_required(PG_GETARG_INT64(0));
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(proposal->id);
	char	   *obstacle = own_text("SELECT activate._drift_obstacle($1)", 1, &type, &id);

	if (obstacle)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("drift %lld cannot be reverted: %s", (long long) proposal->id, obstacle),
				 errhint("Healed changes of a sync are reverted one after the other, the newest first.")));
	if (strcmp(proposal->kind, "type") == 0 && proposal->sync->kind == SYNC_TO_LOCAL)
	{
		char	   *command = own_text("SELECT activate._drift_narrow_sql($1)", 1, &type, &id);
		OwnersWork	work = {proposal->sync, command, 0};

		if (command)
			by_owner(&work);
	}
	if (proposal->remote && strcmp(proposal->kind, "rename") == 0)
	{
		const Drift *drift = far_difference(proposal);

		drift_must(proposal->sync, drift_rename_back_sql(drift));
	}
	(void) own_value("SELECT activate._drift_revert($1)", 1, &type, &id, NULL, NULL);
	drift_changed();
	PG_RETURN_VOID();
}

/* Locked against runs; who may not use the sync may not heal it. */
static Proposal *
proposal_required(int64 id)
{
	Proposal   *proposal = palloc0(sizeof(Proposal));
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);
	char	   *name = own_text("SELECT s.name FROM activate.drift d JOIN activate.sync s ON s.id = d.sync WHERE d.id = $1", 1, &type, &value);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("drift %lld does not exist", (long long) id),
				 errhint("The relation activate.drift lists what sources have become.")));
	proposal->id = id;
	proposal->sync = sync_require(name, CurrentMemoryContext);
	(void) sync_lock(proposal->sync->id, true);
	proposal->sync = sync_load(proposal->sync->id, CurrentMemoryContext);

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT kind, state, relation, \"column\", was, became, remote FROM activate.drift WHERE id = $1 FOR UPDATE",
						  1, &type, &value, NULL, false, 1);
	if (SPI_processed > 0 && proposal->sync)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext previous = MemoryContextSwitchTo(context);

		proposal->kind = SPI_getvalue(row, desc, 1);
		proposal->state = SPI_getvalue(row, desc, 2);
		proposal->relation = SPI_getvalue(row, desc, 3);
		proposal->column = SPI_getvalue(row, desc, 4);
		proposal->was = SPI_getvalue(row, desc, 5);
		proposal->became = SPI_getvalue(row, desc, 6);
		proposal->remote = strcmp(SPI_getvalue(row, desc, 7), "t") == 0;
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	if (proposal->kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("drift %lld does not exist any more", (long long) id)));
	return proposal;
}

/* The difference as it is found now; NULL: it is not. */
static Drift *
proposal_drift(const Proposal *proposal)
{
	Query	   *query = sync_tree(proposal->sync);
	ListCell   *cell;

	foreach(cell, query ? drift_find(proposal->sync, query) : NIL)
	{
		Drift	   *drift = lfirst(cell);

		if (strcmp(drift_kind_name(drift->kind), proposal->kind) == 0 && strcmp(drift->name, proposal->column) == 0 &&
			strcmp(drift_relation_name(drift->relation), proposal->relation) == 0)
			return drift;
	}
	return NULL;
}

static void
heal(const Proposal *proposal)
{
	Drift	   *drift;
	DriftEdit  *edit;
	ErrorData  *error;

	if (proposal->remote)
	{
		heal_far(proposal);
		return;
	}
	if (strcmp(proposal->kind, "rename") == 0 || strcmp(proposal->kind, "relation") == 0)
	{
		heal_names(proposal);
		return;
	}
	drift = proposal_drift(proposal);
	if (strcmp(proposal->kind, "type") == 0)
	{
		drift_heal_types(proposal->sync, proposal->id);
		return;
	}
	if (drift == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("drift %lld cannot be healed: the source is not different in that any more", (long long) proposal->id)));
	if (drift->kind == DRIFT_ADD)
	{
		if (!drift_take_column(proposal->sync, drift, proposal->id, &error))
			ReThrowError(error);
		return;
	}
	edit = drift_edit(proposal->sync);
	drift_leave_out(edit, drift);
	if (edit->refusal)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("drift %lld cannot be healed: %s", (long long) proposal->id, edit->refusal),
				 errhint("Declare the sync again by activate_sync().")));
	drift_rewrite(edit, false);
	drift_mark(proposal->id, NULL);
	drift_apply(edit);
}

/* The foreign table is put right; a column that was left out until now comes back. */
static void
heal_far(const Proposal *proposal)
{
	Drift	   *drift = far_difference(proposal);
	DriftEdit  *edit = drift_edit(proposal->sync);
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(proposal->id);
	ErrorData  *error = NULL;

	switch (drift->kind)
	{
		case DRIFT_RENAME:
			drift_must(proposal->sync, drift_rename_sql(drift));
			drift_mark(proposal->id, NULL);
			(void) own_value("SELECT activate._drift_restore($1)", 1, &type, &id, NULL, NULL);
			drift_changed();
			break;
		case DRIFT_DROP:
			drift->name = drift_column_name(drift->relation, drift->attnum);
			drift_leave_out(edit, drift);
			break;
		case DRIFT_TYPE:
			drift_must(proposal->sync, drift_type_sql(drift));
			edit = drift_edit(sync_load(proposal->sync->id, CurrentMemoryContext));
			drift_retype(edit, drift);
			break;
		default:
			drift_must(proposal->sync, drift_add_sql(drift));
			CommandCounterIncrement();
			drift->name = drift_new_name(drift);
			drift->attnum = get_attnum(drift->relation, drift->name);
			if (!drift_take_column(sync_load(proposal->sync->id, CurrentMemoryContext), drift, proposal->id, &error) && error)
				ReThrowError(error);
	}
	if (edit->refusal)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("drift %lld cannot be healed: %s", (long long) proposal->id, edit->refusal),
				 errhint("Declare the sync again by activate_sync().")));
	if (drift->kind == DRIFT_DROP || drift->kind == DRIFT_TYPE)
	{
		if (drift->kind == DRIFT_DROP)
			drift_rewrite(edit, false);
		drift_mark(proposal->id, NULL);
		drift_apply(edit);
	}
	(void) own_value("SELECT activate._drift_look_anew($1)", 1, &type, &id, NULL, NULL);
}

/* As it was written down: the other server is not asked again. */
static Drift *
far_difference(const Proposal *proposal)
{
	static const DriftKind kinds[] = {DRIFT_RENAME, DRIFT_DROP, DRIFT_ADD, DRIFT_TYPE};
	Drift	   *drift = palloc0(sizeof(Drift));
	Oid			type = TEXTOID;
	Datum		relation = CStringGetTextDatum(proposal->relation);
	bool		isnull;

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(drift_kind_name(kinds[i]), proposal->kind) == 0)
			drift->kind = kinds[i];
	drift->relation = DatumGetObjectId(own_value("SELECT to_regclass($1)::oid", 1, &type, &relation, NULL, &isnull));
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("drift %lld cannot be healed: foreign table %s is not there any more", (long long) proposal->id, proposal->relation)));
	drift->name = proposal->column;
	drift->became = proposal->became;
	drift->was = proposal->was;
	drift->confidence = 1;
	for (int attnum = drift_natts(drift->relation); attnum > 0 && drift->attnum == 0; attnum--)
	{
		char	   *name = drift_remote_name(drift->relation, attnum);

		if (name && (strcmp(name, drift->name) == 0 || (drift->kind == DRIFT_RENAME && strcmp(name, drift->became) == 0)))
			drift->attnum = attnum;
	}
	if (drift->attnum == 0 && drift->kind != DRIFT_ADD)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("drift %lld cannot be healed: foreign table %s has no column for \"%s\" any more", (long long) proposal->id,
						proposal->relation, proposal->column)));
	return drift;
}

ErrorData *
drift_by_owner(const Sync *sync, const char *command)
{
	OwnersWork	work = {sync, command, 0};
	ErrorData  *error = attempt(by_owner, &work);

	if (error && attempt_was_cancelled(error))
		ReThrowError(error);
	CommandCounterIncrement();
	return error;
}

void
drift_must(const Sync *sync, const char *command)
{
	ErrorData  *error = drift_by_owner(sync, command);

	if (error)
		ReThrowError(error);
}

static void
heal_names(const Proposal *proposal)
{
	DriftEdit  *edit = drift_edit(proposal->sync);

	drift_rewrite(edit, true);
	drift_mark(proposal->id, NULL);
	drift_apply(edit);
}

bool
drift_take_column(const Sync *sync, const Drift *drift, int64 id, ErrorData **error)
{
	DriftEdit  *edit = drift_edit(sync);
	ErrorData  *failure = NULL;

	if (id == 0)
		return false;
	drift_take_in(edit, drift);
	if (edit->add_column)
	{
		OwnersWork	work = {sync, psprintf("ALTER TABLE %s ADD COLUMN %s %s", drift_relation_name(sync->target_rel),
										   quote_identifier(drift->name), drift->became), 0};

		failure = attempt(by_owner, &work);
		if (failure && attempt_was_cancelled(failure))
			ReThrowError(failure);
		if (error)
			*error = failure;
		if (failure)
		{
			drift_mark(id, failure->message);
			return false;
		}
		CommandCounterIncrement();
		edit = drift_edit(sync);
		drift_take_in(edit, drift);
	}
	if (edit->refusal)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" cannot be sent: %s", drift->name, edit->refusal)));
	drift_rewrite(edit, false);
	drift_mark(id, NULL);
	drift_apply(edit);
	return true;
}

static void
by_owner(void *arg)
{
	OwnersWork *work = arg;
	IdentityScope scope;
	Oid			type = INT8OID;

	sync_enter_owner(work->sync, &scope);
	SPI_connect();
	SPI_execute_with_args(work->command, work->id ? 1 : 0, &type, &work->id, NULL, false, 0);
	SPI_finish();
	sync_leave_owner(work->sync, &scope);
}

/* From its texts, as its owner. */
void
drift_redeclare(const Sync *sync)
{
	OwnersWork	work = {sync, psprintf("SELECT %s.activate_sync(name, source, target, key, map, mode, capture, schedule, options)"
									   " FROM activate.sync WHERE id = $1", quote_identifier(identity_extension_schema())),
	Int64GetDatum(sync->id)};

	drift_redeclares = true;
	PG_TRY();
	{
		by_owner(&work);
	}
	PG_FINALLY();
	{
		drift_redeclares = false;
	}
	PG_END_TRY();
}

void
drift_mark(int64 id, const char *reason)
{
	Oid			types[2] = {INT8OID, TEXTOID};
	Datum		values[2] = {Int64GetDatum(id), reason ? CStringGetTextDatum(reason) : (Datum) 0};

	(void) own_value("SELECT activate._drift_healed($1, $2)", 2, types, values, reason ? "  " : " n", NULL);
}
