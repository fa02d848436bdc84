/*
 * row_json.c
 *	  activate._row_json(record): what to_jsonb(record) makes of a row, for the
 *	  many rows of one statement.
 *
 * to_jsonb() finds out for each row anew what its columns are, and reads a
 * number from the text that it has written of it.  Columns of the most common
 * types are taken as they are here, all others by to_jsonb() itself.
 */
#include "postgres.h"

#include "capture/change.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

typedef struct JsonColumn
{
	JsonbValue	name;
	bool		dropped;
	Oid			type;			/* below domains */
	FmgrInfo	to_jsonb;		/* of that type */
} JsonColumn;

static JsonColumn *json_columns(FunctionCallInfo fcinfo, const CaptureRecord *row);
static void json_value(JsonColumn *column, Datum value, JsonbValue *out);
static void json_other(JsonColumn *column, Datum value, JsonbValue *out);

ACTIVATE_FUNCTION(activate_row_json);
Datum
activate_row_json(PG_FUNCTION_ARGS)
{
	CaptureRecord *row = capture_record(fcinfo, PG_GETARG_HEAPTUPLEHEADER(0));
	JsonColumn *columns = row->plan ? row->plan : json_columns(fcinfo, row);
	JsonbParseState *state = NULL;
	JsonbValue	value;

	row->plan = columns;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < row->desc->natts; i++)
	{
		JsonColumn *column = &columns[i];

		if (column->dropped)
			continue;
		pushJsonbValue(&state, WJB_KEY, &column->name);
		if (row->isnull[i])
			value.type = jbvNull;
		else
			json_value(column, row->values[i], &value);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static void
json_column_init(JsonColumn *column, Form_pg_attribute attribute)
{
	Oid			type = attribute->atttypid;

	column->dropped = attribute->attisdropped;
	if (column->dropped)
		return;
	column->type = getBaseType(type);
	column->name.type = jbvString;
	column->name.val.string.val = NameStr(attribute->attname);
	column->name.val.string.len = strlen(NameStr(attribute->attname));
	fmgr_info_cxt(F_TO_JSONB, &column->to_jsonb, CurrentMemoryContext);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(makeNullConst(type, -1, InvalidOid)),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL), &column->to_jsonb);
}

static JsonColumn *
json_columns(FunctionCallInfo fcinfo, const CaptureRecord *row)
{
	MemoryContext previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	JsonColumn *columns = palloc0(Max(row->desc->natts, 1) * sizeof(JsonColumn));

	for (int i = 0; i < row->desc->natts; i++)
		json_column_init(&columns[i], TupleDescAttr(row->desc, i));
	MemoryContextSwitchTo(previous);
	return columns;
}

static void
json_value(JsonColumn *column, Datum value, JsonbValue *out)
{
	text	   *plain;

	out->type = jbvNumeric;
	switch (column->type)
	{
		case INT2OID:
			out->val.numeric = int64_to_numeric(DatumGetInt16(value));
			return;
		case INT4OID:
			out->val.numeric = int64_to_numeric(DatumGetInt32(value));
			return;
		case INT8OID:
			out->val.numeric = int64_to_numeric(DatumGetInt64(value));
			return;
		case NUMERICOID:
			out->val.numeric = DatumGetNumeric(value);
			if (numeric_is_nan(out->val.numeric) || numeric_is_inf(out->val.numeric))
				break;
			return;
		case BOOLOID:
			out->type = jbvBool;
			out->val.boolean = DatumGetBool(value);
			return;
		case TEXTOID:
		case VARCHAROID:
			plain = DatumGetTextPP(value);
			out->type = jbvString;
			out->val.string.val = VARDATA_ANY(plain);
			out->val.string.len = VARSIZE_ANY_EXHDR(plain);
			return;
	}
	json_other(column, value, out);
}

static void
json_other(JsonColumn *column, Datum value, JsonbValue *out)
{
	Jsonb	   *json = DatumGetJsonbP(FunctionCall1(&column->to_jsonb, value));

	if (JB_ROOT_IS_SCALAR(json))
		(void) JsonbExtractScalar(&json->root, out);
	else
	{
		out->type = jbvBinary;
		out->val.binary.data = &json->root;
		out->val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
}
