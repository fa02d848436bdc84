/*
 * intent.c
 *	  A row written to a web API as an intent of the table's implicit sync.
 *
 * Nothing is contacted here.  Each row becomes an intent of "schema.table"
 * (made at the first row) in the transaction that writes it, rendered at once
 * as to_jsonb() does: its key, and the columns that the statement gives.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "core/shared.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rest/rest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static void columns_add(RestColumns *columns, Form_pg_attribute attribute);
static void columns_done(RestColumns *columns, TupleDesc from);
static Datum intent_key_names(const Connector *connector);
static int64 intent_implicit_sync(RestIntent *intent);

static void
columns_add(RestColumns *columns, Form_pg_attribute attribute)
{
	if (columns->attnums == NULL)
		columns->attnums = palloc(sizeof(AttrNumber) * MaxHeapAttributeNumber);
	columns->attnums[columns->n++] = attribute->attnum;
}

static void
columns_done(RestColumns *columns, TupleDesc from)
{
	if (columns->n == 0)
		return;
	columns->desc = CreateTemplateTupleDesc(columns->n);
	for (int i = 0; i < columns->n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(from, columns->attnums[i] - 1);

		TupleDescInitEntry(columns->desc, i + 1, NameStr(attribute->attname),
						   attribute->atttypid, attribute->atttypmod, attribute->attndims);
	}
	columns->desc = BlessTupleDesc(columns->desc);
}

/*
 * A body holds the columns given (numbered as in a column privilege's bitmap),
 * but for those of the key where that stands beside it.
 */
RestIntent *
rest_intent_create(Relation relation, OutboxOp op, Bitmapset *given, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	RestIntent *intent = palloc0(sizeof(RestIntent));
	TupleDesc	desc = RelationGetDescr(relation);

	intent->desc = desc;
	intent->relation = RelationGetRelid(relation);
	intent->connector = connector_load(intent->relation, context);
	intent->owner = relation->rd_rel->relowner;
	intent->op = op;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		is_key;

		if (attribute->attisdropped)
			continue;
		is_key = rest_is_key(intent->connector, NameStr(attribute->attname));
		if (is_key)
			columns_add(&intent->key, attribute);
		if (bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber, given) &&
			!(is_key && op == OUTBOX_UPDATE))
			columns_add(&intent->row, attribute);
		if (intent->connector->free_columns && attribute->atttypid == JSONBOID &&
			strcmp(NameStr(attribute->attname), "row") == 0)
			intent->free_row = attribute->attnum;
	}
	columns_done(&intent->key, desc);
	columns_done(&intent->row, desc);

	fmgr_info_cxt(F_TO_JSONB, &intent->to_jsonb, context);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
											 list_make1(makeNullConst(RECORDOID, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
					   &intent->to_jsonb);
	intent->scratch = AllocSetContextCreate(context, "activate intents", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	return intent;
}

void
rest_intent_enter(RestIntent *intent)
{
	intent->caller = MemoryContextSwitchTo(intent->scratch);
	if (intent->sync == 0)
		intent->sync = intent_implicit_sync(intent);
	identity_enter_rendering(&intent->scope);
}

void
rest_intent_leave(RestIntent *intent)
{
	identity_leave(&intent->scope);
	MemoryContextSwitchTo(intent->caller);
	MemoryContextReset(intent->scratch);
}

Jsonb *
rest_intent_render(RestIntent *intent, const RestColumns *columns, TupleTableSlot *slot)
{
	Datum	   *values = palloc(sizeof(Datum) * (columns->n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (columns->n + 1));
	HeapTuple	tuple;

	if (columns->n == 0)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	for (int i = 0; i < columns->n; i++)
		values[i] = slot_getattr(slot, columns->attnums[i], &nulls[i]);
	tuple = heap_form_tuple(columns->desc, values, nulls);
	return DatumGetJsonbP(FunctionCall1(&intent->to_jsonb, HeapTupleGetDatum(tuple)));
}

/* The name of a column that is NULL in the slot; NULL: there is none. */
const char *
rest_null_column(const RestColumns *columns, TupleTableSlot *slot)
{
	for (int i = 0; i < columns->n; i++)
	{
		bool		isnull;

		(void) slot_getattr(slot, columns->attnums[i], &isnull);
		if (isnull)
			return NameStr(TupleDescAttr(columns->desc, i)->attname);
	}
	return NULL;
}

/* hook.change: the column's value is the row. */
static Jsonb *
intent_free_row(RestIntent *intent, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, intent->free_row, &isnull);

	if (isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"row\" of foreign table \"%s\" must be a JSON object",
						rest_table_name(intent->relation)),
				 errhint("For example to_jsonb(t) or jsonb_build_object('id', 7).")));
	return DatumGetJsonbP(value);
}

/* A new row.  A key that is not wholly given will be the API's to choose: no key. */
void
rest_intent_insert(RestIntent *intent, TupleTableSlot *slot)
{
	static const RestColumns none = {0};
	const RestColumns *key = rest_null_column(&intent->key, slot) ? &none : &intent->key;
	Jsonb	   *body = intent->free_row != 0 ? intent_free_row(intent, slot) :
		rest_intent_render(intent, &intent->row, slot);

	rest_intent_append(intent, rest_intent_render(intent, key, slot), body);
}

void
rest_intent_append(RestIntent *intent, Jsonb *key, Jsonb *body)
{
	outbox_append(intent->sync, key, intent->op, body, 0, false);
}

static Datum
intent_key_names(const Connector *connector)
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
intent_implicit_sync(RestIntent *intent)
{
	Oid			types[] = {REGCLASSOID, NAMEOID, TEXTARRAYOID};
	Datum		values[3];
	IdentityScope scope;
	bool		isnull;
	bool		changed;
	int64		id;
	NameData	owner;

	namestrcpy(&owner, GetUserNameFromId(intent->owner, false));
	values[0] = ObjectIdGetDatum(intent->relation);
	values[1] = NameGetDatum(&owner);
	values[2] = intent_key_names(intent->connector);

	identity_enter_extension(&scope);
	SPI_connect();
	if (SPI_execute_with_args("SELECT id, changed FROM activate._implicit_sync($1, $2, $3)",
							  3, types, values, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "activate._implicit_sync() returned nothing");
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	changed = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	SPI_finish();
	identity_leave(&scope);
	if (changed)
		shared_announce_at_commit();
	return id;
}
