/*
 * modify.c
 *	  INSERT and COPY into a web API: rows into the outbox.
 *
 * Nothing is contacted here.  Each row becomes an intent of the table's
 * implicit sync ("schema.table", made at the first row) in the transaction
 * that inserts it, rendered at once as to_jsonb() does, with the columns that
 * the statement gives and those that defaults or triggers fill.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/shared.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "rest/rest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Rows that share one switch to the rendering settings. */
#define MODIFY_BATCH	100

/* Some columns of a row, to be rendered as one object. */
typedef struct ModifyShape
{
	int			n;
	AttrNumber *attnums;
	TupleDesc	desc;			/* blessed; NULL where n is 0 */
} ModifyShape;

typedef struct ModifyState
{
	Connector  *connector;
	Oid			relation;
	Oid			owner;			/* of the foreign table */
	int64		sync;			/* 0: not looked up yet */
	OutboxOp	op;
	ModifyShape key;			/* n 0: the table has none */
	ModifyShape row;
	AttrNumber	free_row;		/* webhook: the column that is the row; else 0 */
	FmgrInfo	to_jsonb;
	MemoryContext scratch;		/* reset after each call */
} ModifyState;

static void modify_refuse(Relation relation, const char *verb, const char *hint);
static void modify_shape_add(ModifyShape *shape, Form_pg_attribute attribute);
static void modify_shape_done(ModifyShape *shape, TupleDesc from);
static void modify_append(ModifyState *state, TupleTableSlot *slot);
static int64 modify_implicit_sync(ModifyState *state);

/* What an INSERT becomes: "insert", else "upsert"; false if the object takes neither. */
static bool
modify_operation(const Connector *connector, OutboxOp *op)
{
	*op = connector_write(connector, OUTBOX_INSERT) != NULL ? OUTBOX_INSERT : OUTBOX_UPSERT;
	return connector_write(connector, *op) != NULL;
}

/*
 * Asked for every table by information_schema, which must not fail because one
 * definition is broken: who cannot be written to says so when it is tried.
 */
static int
modify_updatable(Relation relation)
{
	return 1 << CMD_INSERT;
}

static void
modify_refuse(Relation relation, const char *verb, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s foreign table \"%s\"", verb,
					rest_table_name(RelationGetRelid(relation))),
			 errhint("%s", hint)));
}

static List *
modify_plan(PlannerInfo *root, ModifyTable *plan, Index result_relation, int subplan)
{
	RangeTblEntry *rte = planner_rt_fetch(result_relation, root);
	Relation	relation = table_open(rte->relid, NoLock);

	if (plan->operation == CMD_UPDATE)
		modify_refuse(relation, "update",
					  "Declare a sync in mode \"update\" or \"upsert\" with activate_sync(); a foreign table of an API takes INSERT.");
	if (plan->operation == CMD_DELETE)
		modify_refuse(relation, "delete from",
					  "Declare a sync in mode \"mirror\" with activate_sync(); a foreign table of an API takes INSERT.");
	if (plan->onConflictAction != ONCONFLICT_NONE)
		modify_refuse(relation, "use ON CONFLICT on",
					  "What happens to a row that the API has already is decided there; declare a sync in mode \"upsert\" with activate_sync().");
	table_close(relation, NoLock);
	return NIL;
}

static void
modify_shape_add(ModifyShape *shape, Form_pg_attribute attribute)
{
	if (shape->attnums == NULL)
		shape->attnums = palloc(sizeof(AttrNumber) * MaxHeapAttributeNumber);
	shape->attnums[shape->n++] = attribute->attnum;
}

static void
modify_shape_done(ModifyShape *shape, TupleDesc from)
{
	if (shape->n == 0)
		return;
	shape->desc = CreateTemplateTupleDesc(shape->n);
	for (int i = 0; i < shape->n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(from, shape->attnums[i] - 1);

		TupleDescInitEntry(shape->desc, i + 1, NameStr(attribute->attname),
						   attribute->atttypid, attribute->atttypmod, attribute->attndims);
	}
	shape->desc = BlessTupleDesc(shape->desc);
}

/*
 * The columns of a row: those that the statement names, those with a default
 * or a generation expression, and all where a trigger may set any.
 */
static void
modify_shapes(ModifyState *state, ResultRelInfo *rinfo, EState *estate)
{
	TupleDesc	desc = RelationGetDescr(rinfo->ri_RelationDesc);
	Bitmapset  *given = ExecGetInsertedCols(rinfo, estate);
	bool		triggers = rinfo->ri_TrigDesc != NULL && rinfo->ri_TrigDesc->trig_insert_before_row;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped)
			continue;
		if (triggers || attribute->atthasdef ||
			bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber, given))
			modify_shape_add(&state->row, attribute);
		if (state->connector->free_columns && attribute->atttypid == JSONBOID &&
			strcmp(NameStr(attribute->attname), "row") == 0)
			state->free_row = attribute->attnum;
		for (int k = 0; k < state->connector->nkeys; k++)
		{
			if (strcmp(NameStr(attribute->attname), state->connector->key[k]) == 0)
				modify_shape_add(&state->key, attribute);
		}
	}
	modify_shape_done(&state->row, desc);
	modify_shape_done(&state->key, desc);
}

static void
modify_prepare(ModifyTableState *mtstate, ResultRelInfo *rinfo)
{
	EState	   *estate = mtstate->ps.state;
	Relation	relation = rinfo->ri_RelationDesc;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	ModifyState *state = palloc0(sizeof(ModifyState));

	state->relation = RelationGetRelid(relation);
	state->connector = connector_load(state->relation, estate->es_query_cxt);
	state->owner = relation->rd_rel->relowner;
	if (!modify_operation(state->connector, &state->op))
		modify_refuse(relation, "insert into",
					  "Its object has neither \"write.insert\" nor \"write.upsert\": give one in the definition of the target.");
	modify_shapes(state, rinfo, estate);
	fmgr_info_cxt(F_TO_JSONB, &state->to_jsonb, estate->es_query_cxt);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(makeNullConst(RECORDOID, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
					   &state->to_jsonb);
	state->scratch = AllocSetContextCreate(estate->es_query_cxt, "activate insert",
										   ALLOCSET_DEFAULT_SIZES);
	rinfo->ri_FdwState = state;
	MemoryContextSwitchTo(old);
}

static void
modify_begin(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *fdw_private,
			 int subplan, int eflags)
{
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
		modify_prepare(mtstate, rinfo);
}

static TupleTableSlot **
modify_insert_batch(EState *estate, ResultRelInfo *rinfo, TupleTableSlot **slots,
					TupleTableSlot **plan_slots, int *n)
{
	ModifyState *state = rinfo->ri_FdwState;
	MemoryContext old = MemoryContextSwitchTo(state->scratch);
	IdentityScope scope;

	if (state->sync == 0)
		state->sync = modify_implicit_sync(state);
	identity_enter_rendering(&scope);
	for (int i = 0; i < *n; i++)
		modify_append(state, slots[i]);
	identity_leave(&scope);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->scratch);
	return slots;
}

static TupleTableSlot *
modify_insert(EState *estate, ResultRelInfo *rinfo, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	int			n = 1;

	modify_insert_batch(estate, rinfo, &slot, &plan_slot, &n);
	return slot;
}

/* Row by row where somebody looks at each: RETURNING, triggers, check options. */
static int
modify_batch_size(ResultRelInfo *rinfo)
{
	if (rinfo->ri_projectReturning != NULL || rinfo->ri_WithCheckOptions != NIL ||
		(rinfo->ri_TrigDesc != NULL &&
		 (rinfo->ri_TrigDesc->trig_insert_before_row || rinfo->ri_TrigDesc->trig_insert_after_row)))
		return 1;
	return MODIFY_BATCH;
}

static Jsonb *
modify_render(ModifyState *state, const ModifyShape *shape, TupleTableSlot *slot)
{
	Datum	   *values = palloc(sizeof(Datum) * (shape->n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (shape->n + 1));
	HeapTuple	tuple;

	if (shape->n == 0)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	for (int i = 0; i < shape->n; i++)
		values[i] = slot_getattr(slot, shape->attnums[i], &nulls[i]);
	tuple = heap_form_tuple(shape->desc, values, nulls);
	return DatumGetJsonbP(FunctionCall1(&state->to_jsonb, HeapTupleGetDatum(tuple)));
}

/* hook.change: the column's value is the row. */
static Jsonb *
modify_free_row(ModifyState *state, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, state->free_row, &isnull);

	if (isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"row\" of foreign table \"%s\" must be a JSON object",
						rest_table_name(state->relation)),
				 errhint("For example to_jsonb(t) or jsonb_build_object('id', 7).")));
	return DatumGetJsonbP(value);
}

/* A key that is not wholly given will be the API's to choose: no key. */
static Jsonb *
modify_key(ModifyState *state, TupleTableSlot *slot)
{
	static const ModifyShape none = {0};

	for (int i = 0; i < state->key.n; i++)
	{
		bool		isnull;

		(void) slot_getattr(slot, state->key.attnums[i], &isnull);
		if (isnull)
			return modify_render(state, &none, slot);
	}
	return modify_render(state, &state->key, slot);
}

static void
modify_append(ModifyState *state, TupleTableSlot *slot)
{
	Jsonb	   *body = state->free_row != 0 ? modify_free_row(state, slot) :
		modify_render(state, &state->row, slot);

	outbox_append(state->sync, modify_key(state, slot), state->op, body, 0, false);
}

static Datum
modify_key_names(const Connector *connector)
{
	Datum	   *names = palloc(sizeof(Datum) * (connector->nkeys + 1));

	for (int i = 0; i < connector->nkeys; i++)
		names[i] = CStringGetTextDatum(connector->key[i]);
	return PointerGetDatum(construct_array(names, connector->nkeys, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Finds or makes it, as the extension's owner: the inserting role has no right
 * on our tables.  It belongs to the owner of the foreign table, not to who
 * happens to insert first: that role granted INSERT, its mapping is used, and
 * it sees what others wrote.
 */
static int64
modify_implicit_sync(ModifyState *state)
{
	Oid			types[] = {REGCLASSOID, NAMEOID, TEXTARRAYOID};
	Datum		values[3];
	IdentityScope scope;
	bool		isnull;
	bool		created;
	int64		id;
	NameData	owner;

	namestrcpy(&owner, GetUserNameFromId(state->owner, false));
	values[0] = ObjectIdGetDatum(state->relation);
	values[1] = NameGetDatum(&owner);
	values[2] = modify_key_names(state->connector);

	identity_enter_extension(&scope);
	SPI_connect();
	if (SPI_execute_with_args("SELECT id, created FROM activate._implicit_sync($1, $2, $3)",
							  3, types, values, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "activate._implicit_sync() returned nothing");
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	created = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	SPI_finish();
	identity_leave(&scope);
	if (created)
		shared_announce_at_commit();
	return id;
}

void
rest_modify_routine(FdwRoutine *routine)
{
	routine->IsForeignRelUpdatable = modify_updatable;
	routine->PlanForeignModify = modify_plan;
	routine->BeginForeignModify = modify_begin;
	routine->BeginForeignInsert = modify_prepare;
	routine->ExecForeignInsert = modify_insert;
	routine->ExecForeignBatchInsert = modify_insert_batch;
	routine->GetForeignModifyBatchSize = modify_batch_size;
}
