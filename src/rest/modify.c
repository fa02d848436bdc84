/*
 * modify.c
 *	  INSERT, COPY, UPDATE and DELETE of a web API's table: rows to intents.
 *
 * UPDATE and DELETE read the rows that they concern through the API; their
 * key travels beside them as junk columns.  Where the WHERE fixes the key
 * nothing needs to be read: direct.c.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "commands/explain.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "rest/rest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"

/* Rows that share one switch to the rendering settings. */
#define MODIFY_BATCH	100

typedef struct ModifyState
{
	RestIntent *intent;
	RestColumns old_key;		/* UPDATE, DELETE: junk columns of the plan's slot */
	AttrNumber	old_row;		/* the same, if the plan has it */
	bool		triggers;		/* BEFORE UPDATE: what they change is sent as well */
	bool		may_change_key;
	Bitmapset  *assigned;
} ModifyState;

static Jsonb *modify_changed(ModifyState *state, TupleTableSlot *slot, TupleTableSlot *plan_slot);

/*
 * The columns of a new row: those that the statement names, those with a
 * default or a generation expression, and all where a trigger may set any, or
 * where an UPDATE moves the row here from another partition.
 */
static Bitmapset *
modify_inserted(ModifyTableState *mtstate, ResultRelInfo *rinfo, EState *estate)
{
	TupleDesc	desc = RelationGetDescr(rinfo->ri_RelationDesc);
	Bitmapset  *given = bms_copy(ExecGetInsertedCols(rinfo, estate));
	bool		all = mtstate->operation == CMD_UPDATE ||
		(rinfo->ri_TrigDesc != NULL && rinfo->ri_TrigDesc->trig_insert_before_row);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (all || attribute->atthasdef)
			given = bms_add_member(given, attribute->attnum - FirstLowInvalidHeapAttributeNumber);
	}
	return given;
}

static void
modify_find_junk(ModifyState *state, List *targets)
{
	RestColumns *key = &state->intent->key;

	state->old_key = *key;
	state->old_key.attnums = palloc(sizeof(AttrNumber) * key->n);
	for (int i = 0; i < key->n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(state->intent->desc, key->attnums[i] - 1);

		state->old_key.attnums[i] = ExecFindJunkAttributeInTlist(targets, rest_junk_name(attribute));
		if (!AttributeNumberIsValid(state->old_key.attnums[i]))
			rest_refuse_key(state->intent->relation);
	}
	state->old_row = ExecFindJunkAttributeInTlist(targets, "wholerow");
}

static Bitmapset *
modify_assigned(List *attnums)
{
	Bitmapset  *assigned = NULL;
	ListCell   *cell;

	foreach(cell, attnums)
		assigned = bms_add_member(assigned, lfirst_int(cell) - FirstLowInvalidHeapAttributeNumber);
	return assigned;
}

static ModifyState *
modify_begin_update(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *assigned)
{
	EState	   *estate = mtstate->ps.state;
	Relation	relation = rinfo->ri_RelationDesc;
	ModifyState *state = palloc0(sizeof(ModifyState));
	Bitmapset  *given;

	state->assigned = modify_assigned(assigned);
	state->triggers = rinfo->ri_TrigDesc != NULL && rinfo->ri_TrigDesc->trig_update_before_row;
	given = bms_copy(state->assigned);
	if (state->triggers)
		given = bms_add_range(given, 1 - FirstLowInvalidHeapAttributeNumber,
							  RelationGetNumberOfAttributes(relation) - FirstLowInvalidHeapAttributeNumber);
	state->intent = rest_intent_create(relation, OUTBOX_UPDATE, given, estate->es_query_cxt);
	rest_check_assigned(relation, state->intent->connector, state->assigned);
	state->may_change_key = state->triggers;
	for (int i = 0; i < state->intent->key.n; i++)
		state->may_change_key |= bms_is_member(state->intent->key.attnums[i] - FirstLowInvalidHeapAttributeNumber,
											   state->assigned);
	return state;
}

/* INSERT, COPY, and rows that come here as to a partition. */
static void
modify_begin_insert(ModifyTableState *mtstate, ResultRelInfo *rinfo)
{
	EState	   *estate = mtstate->ps.state;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	ModifyState *state = palloc0(sizeof(ModifyState));
	const ModifyTable *plan = (ModifyTable *) mtstate->ps.plan;	/* COPY has none */

	if (plan != NULL && plan->onConflictAction != ONCONFLICT_NONE)
		rest_refuse_conflict(rinfo->ri_RelationDesc);
	if (rinfo->ri_FdwState != NULL || rinfo->ri_usesFdwDirectModify)
		rest_refuse_write(rinfo->ri_RelationDesc, "move rows of the same UPDATE into",
					  "Let the UPDATE's WHERE leave this partition out.");
	state->intent = rest_intent_create(rinfo->ri_RelationDesc, OUTBOX_INSERT,
									   modify_inserted(mtstate, rinfo, estate), estate->es_query_cxt);
	state->intent->op = rest_command_op(state->intent->connector, CMD_INSERT);
	rinfo->ri_FdwState = state;
	MemoryContextSwitchTo(old);
}

static void
modify_begin(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *fdw_private,
			 int subplan, int eflags)
{
	EState	   *estate = mtstate->ps.state;
	MemoryContext old;
	ModifyState *state;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	if (mtstate->operation == CMD_INSERT)
	{
		modify_begin_insert(mtstate, rinfo);
		return;
	}
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	if (mtstate->operation == CMD_UPDATE)
		state = modify_begin_update(mtstate, rinfo, fdw_private);
	else
	{
		state = palloc0(sizeof(ModifyState));
		state->intent = rest_intent_create(rinfo->ri_RelationDesc, OUTBOX_DELETE, NULL, estate->es_query_cxt);
	}
	modify_find_junk(state, outerPlanState(mtstate)->plan->targetlist);
	rinfo->ri_FdwState = state;
	MemoryContextSwitchTo(old);
}

static TupleTableSlot **
modify_insert_batch(EState *estate, ResultRelInfo *rinfo, TupleTableSlot **slots,
					TupleTableSlot **plan_slots, int *n)
{
	ModifyState *state = rinfo->ri_FdwState;

	rest_intent_enter(state->intent);
	for (int i = 0; i < *n; i++)
		rest_intent_insert(state->intent, slots[i]);
	rest_intent_leave(state->intent);
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

/* The key that the row was read with. */
static Jsonb *
modify_old_key(ModifyState *state, TupleTableSlot *plan_slot)
{
	const char *missing = rest_null_column(&state->old_key, plan_slot);

	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("cannot write a row of foreign table \"%s\" whose key column \"%s\" is NULL",
						rest_table_name(state->intent->relation), missing),
				 errhint("The API gave it without: leave such rows out by \"%s IS NOT NULL\".",
						 quote_identifier(missing))));
	return rest_intent_render(state->intent, &state->old_key, plan_slot);
}

static TupleTableSlot *
modify_update(EState *estate, ResultRelInfo *rinfo, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	ModifyState *state = rinfo->ri_FdwState;
	RestIntent *intent = state->intent;
	Jsonb	   *key;
	Jsonb	   *body;

	rest_intent_enter(intent);
	key = modify_old_key(state, plan_slot);
	if (state->may_change_key &&
		compareJsonbContainers(&key->root, &rest_intent_render(intent, &intent->key, slot)->root) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change the key of a row of foreign table \"%s\"",
						rest_table_name(intent->relation)),
				 errhint("DELETE the row and INSERT one with the other key.")));
	body = state->triggers ? modify_changed(state, slot, plan_slot) :
		rest_intent_render(intent, &intent->row, slot);
	if (JB_ROOT_COUNT(body) > 0)
		rest_intent_append(intent, key, body);
	rest_intent_leave(intent);
	return slot;
}

/* Of a row that triggers have seen: what was assigned, and what they changed. */
static Jsonb *
modify_changed(ModifyState *state, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	RestIntent *intent = state->intent;
	TupleDesc	desc = intent->desc;
	Datum	   *names = palloc(sizeof(Datum) * desc->natts);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	HeapTupleData old = {0};
	bool		isnull;
	int			n = 0;

	old.t_data = DatumGetHeapTupleHeader(ExecGetJunkAttribute(plan_slot, state->old_row, &isnull));
	old.t_len = HeapTupleHeaderGetDatumLength(old.t_data);
	heap_deform_tuple(&old, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Datum		now;

		if (attribute->attisdropped ||
			bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber, state->assigned))
			continue;
		now = slot_getattr(slot, attribute->attnum, &isnull);
		if (isnull == nulls[i] &&
			(isnull || datum_image_eq(now, values[i], attribute->attbyval, attribute->attlen)))
			names[n++] = CStringGetTextDatum(NameStr(attribute->attname));
	}
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete_array,
											  JsonbPGetDatum(rest_intent_render(intent, &intent->row, slot)),
											  PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT))));
}

static TupleTableSlot *
modify_delete(EState *estate, ResultRelInfo *rinfo, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	ModifyState *state = rinfo->ri_FdwState;
	RestIntent *intent = state->intent;
	bool		isnull;

	rest_intent_enter(intent);
	rest_intent_append(intent, modify_old_key(state, plan_slot), NULL);
	rest_intent_leave(intent);

	/* for RETURNING, the row as it was read */
	ExecClearTuple(slot);
	if (AttributeNumberIsValid(state->old_row))
		ExecStoreHeapTupleDatum(ExecGetJunkAttribute(plan_slot, state->old_row, &isnull), slot);
	else
		ExecStoreAllNullTuple(slot);
	return slot;
}

static void
modify_explain(ModifyTableState *mtstate, ResultRelInfo *rinfo, List *fdw_private,
			   int subplan, ExplainState *es)
{
	rest_explain_intent(rinfo->ri_RelationDesc, mtstate->operation, modify_assigned(fdw_private), "", es);
}

void
rest_modify_routine(FdwRoutine *routine)
{
	routine->BeginForeignModify = modify_begin;
	routine->BeginForeignInsert = modify_begin_insert;
	routine->ExecForeignInsert = modify_insert;
	routine->ExecForeignBatchInsert = modify_insert_batch;
	routine->GetForeignModifyBatchSize = modify_batch_size;
	routine->ExecForeignUpdate = modify_update;
	routine->ExecForeignDelete = modify_delete;
	routine->ExplainForeignModify = modify_explain;
}
