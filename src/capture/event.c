/*
 * event.c
 *	  Append mode: the mapped image of a row at the moment of its change.
 *
 * The sync's query is run over exactly that version of the row: a condition on
 * tableoid and ctid is added to its tree.  So the map, options.where and row
 * security mean what they mean in a run, as the owner and read only.  A row
 * whose rendering fails goes to rejection; the user's statement goes on.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "capture/change.h"
#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/own.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "outbox/outbox.h"
#include "parser/parsetree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

/* A row as it is rendered; body NULL: it is filtered, or not there any more. */
typedef struct EventRendering
{
	CaptureEntry *entry;
	Relation	relation;
	TupleTableSlot *slot;
	Jsonb	   *body;
	int64		hash;
} EventRendering;

static Expr *system_column_is(int rtindex, AttrNumber attno, Oid type, int param);
static char *event_query(const Sync *sync);
static char *event_sql(const Sync *sync, const char *query);
static void event_render(void *arg);
static bool event_is_there(Relation relation, TupleTableSlot *slot);
static void event_mark(const Sync *sync, Jsonb *key, int64 hash);

/* Fills entry->event_sql, or entry->reason. */
void
capture_event_prepare(CaptureEntry *entry)
{
	IdentityScope scope;
	char	   *reason;

	if (!OidIsValid(entry->sync->owner) || sync_query(entry->sync, &reason) == NULL)
	{
		entry->reason = MemoryContextStrdup(entry->context,
											OidIsValid(entry->sync->owner) ? reason : "its owner was dropped");
		return;
	}
	identity_enter_extension(&scope);
	identity_set_local("search_path", "pg_catalog, pg_temp");
	SPI_connect();
	entry->event_sql = MemoryContextStrdup(entry->context, event_sql(entry->sync, event_query(entry->sync)));
	SPI_finish();
	identity_leave(&scope);
}

void
capture_event(CaptureEntry *entry, Relation relation, Jsonb *key, TupleTableSlot *slot)
{
	EventRendering it = {.entry = entry, .relation = relation, .slot = slot};
	ErrorData  *error = attempt(event_render, &it);

	if (error != NULL)
	{
		if (attempt_was_cancelled(error))
			ReThrowError(error);
		capture_reject(entry->sync, key, unpack_sql_state(error->sqlerrcode), error->message, false);
		return;
	}
	if (it.body == NULL)
	{
		/* filtered by options.where or by row security, or changed once more by a trigger before ours */
		if (!event_is_there(relation, slot))
			capture_reject(entry->sync, key, "row_changed", "the row was changed or deleted again before it could be rendered", false);
		return;
	}
	outbox_append(entry->sync->id, key, OUTBOX_INSERT, it.body, 0, false);
	/* a run into a table looks into the table */
	if (entry->sync->kind == SYNC_TO_API)
		event_mark(entry->sync, key, it.hash);
}

/* In a database that was restored or upgraded: the row as it will be when it can be rendered. */
void
capture_event_late(const CaptureEntry *entry, Jsonb *key)
{
	outbox_append(entry->sync->id, key, OUTBOX_CHANGE, NULL, 0, false);
	event_mark(entry->sync, key, 0);
}

/* Q over one version of one row: its tableoid = $2 and its ctid = $1. */
static char *
event_query(const Sync *sync)
{
	Query	   *query = sync_tree(sync);
	int			rtindex = 0;
	ListCell   *cell;
	List	   *conditions;

	foreach(cell, query->rtable)
	{
		if (lfirst_node(RangeTblEntry, cell)->relid == sync->source_rel)
			rtindex = foreach_current_index(cell) + 1;
	}
	if (rtindex == 0)
		elog(ERROR, "the query of sync \"%s\" does not read its source", sync->name);
	conditions = list_make2(system_column_is(rtindex, SelfItemPointerAttributeNumber, TIDOID, 1),
							system_column_is(rtindex, TableOidAttributeNumber, OIDOID, 2));
	if (query->jointree->quals)
		conditions = lappend(conditions, query->jointree->quals);
	query->jointree->quals = (Node *) makeBoolExpr(AND_EXPR, conditions, -1);
	return pg_get_querydef(query, false);
}

static Expr *
system_column_is(int rtindex, AttrNumber attno, Oid type, int param)
{
	Var		   *var = makeVar(rtindex, attno, type, -1, InvalidOid, 0);
	Param	   *value = makeNode(Param);
	Oid			operator = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;

	value->paramkind = PARAM_EXTERN;
	value->paramid = param;
	value->paramtype = type;
	value->paramtypmod = -1;
	value->location = -1;
	return make_opclause(operator, BOOLOID, false, (Expr *) var, (Expr *) value, InvalidOid, InvalidOid);
}

static char *
event_sql(const Sync *sync, const char *query)
{
	Oid			types[2] = {TEXTOID, TEXTARRAYOID};
	Datum		values[2];
	Datum	   *columns = palloc(sync->ncolumns * sizeof(Datum));

	for (int i = 0; i < sync->ncolumns; i++)
		columns[i] = CStringGetTextDatum(sync->columns[i]);
	values[0] = CStringGetTextDatum(query);
	values[1] = PointerGetDatum(construct_array(columns, sync->ncolumns, TEXTOID, -1, false, TYPALIGN_INT));
	SPI_execute_with_args("SELECT activate._event_sql($1, $2)", 2, types, values, NULL, true, 1);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}


/* As the owner: reading a literal may run the owner's code already, a domain's check for one. */
static void
event_plan(CaptureEntry *entry)
{
	Oid			types[2] = {TIDOID, OIDOID};
	SPIPlanPtr	plan = SPI_prepare(entry->event_sql, 2, types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare the rendering of sync \"%s\"", entry->sync->name);
	entry->event = plan;
}

/* An attempt, because an error must not become the user's. */
static void
event_render(void *arg)
{
	EventRendering *it = arg;
	CaptureEntry *entry = it->entry;
	MemoryContext context = CurrentMemoryContext;
	IdentityScope scope;
	Datum		values[2] = {PointerGetDatum(&it->slot->tts_tid), ObjectIdGetDatum(RelationGetRelid(it->relation))};
	bool		isnull;

	/*
	 * Not identity_enter_owner(): that fires deferred triggers, and to do so
	 * in the middle of a user's transaction would break it.
	 */
	identity_enter_rendering(&scope);
	SetUserIdAndSecContext(entry->sync->owner,
						   scope.sec_context | SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE);
	identity_set_local("search_path", entry->sync->search_path);
	/* the setting of this name cannot be saved from 16 on; the end of the subtransaction puts it back */
	XactReadOnly = true;
	SPI_connect();
	if (entry->event == NULL)
		event_plan(entry);
	if (SPI_execute_plan(entry->event, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not render a row of sync \"%s\"", entry->sync->name);
	if (SPI_processed > 0)
	{
		Datum		row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(context);

		it->body = DatumGetJsonbPCopy(row);
		MemoryContextSwitchTo(previous);
		it->hash = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();
	identity_leave(&scope);
}

/* Could the rendering see this version of the row? */
static bool
event_is_there(Relation relation, TupleTableSlot *slot)
{
	TupleTableSlot *found = table_slot_create(relation, NULL);
	bool		there;

	PushActiveSnapshot(GetTransactionSnapshot());
	there = table_tuple_fetch_row_version(relation, &slot->tts_tid, GetActiveSnapshot(), found);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(found);
	return there;
}

static void
event_mark(const Sync *sync, Jsonb *key, int64 hash)
{
	Oid			types[3] = {INT8OID, JSONBOID, INT8OID};
	Datum		values[3] = {Int64GetDatum(sync->id), JsonbPGetDatum(key), Int64GetDatum(hash)};

	(void) own_value("SELECT activate._capture_mark($1, $2, $3)", 3, types, values, NULL, NULL);
}
