/*
 * key.c
 *	  The key of a row as jsonb, exactly as to_jsonb() gives it in the
 *	  statements of a run: {"column": value, ...} under SEMANTICS 4.
 *
 * A trigger does this for every changed row, so the usual types go straight
 * from their datum to a JsonbValue; the others through to_jsonb() itself,
 * with the settings switched around the call.  It may call a cast that whoever
 * made the type wrote: not as the writer, who knows nothing of it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "capture/change.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

static void push_member(JsonbParseState **state, const KeyColumn *column, JsonbValue *value);
static void key_value(KeyColumn *column, Datum datum, JsonbValue *value);
static void key_value_other(KeyColumn *column, Datum datum, JsonbValue *value);
static void string_value(JsonbValue *value, char *text, int length);

void
capture_key_init(KeyColumn *column, const char *name, AttrNumber attno, Oid type, Oid owner,
				 MemoryContext context)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	Oid			base = getBaseType(type);

	column->name = pstrdup(name);
	column->attno = attno;
	column->owner = owner;
	switch (base)
	{
		case INT2OID:
			column->kind = KEY_INT2;
			break;
		case INT4OID:
			column->kind = KEY_INT4;
			break;
		case INT8OID:
			column->kind = KEY_INT8;
			break;
		case BOOLOID:
			column->kind = KEY_BOOL;
			break;
		case NUMERICOID:
			column->kind = KEY_NUMERIC;
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			column->kind = KEY_TEXT;
			break;
		case UUIDOID:
			column->kind = KEY_UUID;
			break;
		default:
			column->kind = KEY_OTHER;
			column->foreign = base >= FirstNormalObjectId;
			fmgr_info_cxt(F_TO_JSONB, &column->to_jsonb, context);
			/* to_jsonb() asks its call for the argument's type */
			fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID,
													 list_make1(makeNullConst(type, -1, get_typcollation(type))),
													 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
							   &column->to_jsonb);
	}
	MemoryContextSwitchTo(previous);
}

Jsonb *
capture_key(KeyColumn *columns, int n, TupleTableSlot *slot, bool *has_null)
{
	JsonbValue *values = palloc(n * sizeof(JsonbValue));
	Jsonb	   *key;

	*has_null = capture_key_values(columns, n, slot, values);
	key = capture_key_of(columns, n, values);
	pfree(values);
	return key;
}

bool
capture_key_values(KeyColumn *columns, int n, TupleTableSlot *slot, JsonbValue *values)
{
	bool		has_null = false;

	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		datum = slot_getattr(slot, columns[i].attno, &isnull);

		if (isnull)
		{
			has_null = true;
			values[i].type = jbvNull;
		}
		else
			key_value(&columns[i], datum, &values[i]);
	}
	return has_null;
}

Jsonb *
capture_key_of(KeyColumn *columns, int n, JsonbValue *values)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < n; i++)
		push_member(&state, &columns[i], &values[i]);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
push_member(JsonbParseState **state, const KeyColumn *column, JsonbValue *value)
{
	JsonbValue	name;

	string_value(&name, column->name, (int) strlen(column->name));
	(void) pushJsonbValue(state, WJB_KEY, &name);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

static void
key_value(KeyColumn *column, Datum datum, JsonbValue *value)
{
	text	   *string;

	switch (column->kind)
	{
		case KEY_INT2:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt16(datum));
			break;
		case KEY_INT4:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt32(datum));
			break;
		case KEY_INT8:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt64(datum));
			break;
		case KEY_BOOL:
			value->type = jbvBool;
			value->val.boolean = DatumGetBool(datum);
			break;
		case KEY_NUMERIC:
			value->type = jbvNumeric;
			value->val.numeric = DatumGetNumeric(datum);
			/* JSON has no number for these */
			if (numeric_is_nan(value->val.numeric) || numeric_is_inf(value->val.numeric))
			{
				char	   *name = DatumGetCString(DirectFunctionCall1(numeric_out, datum));

				string_value(value, name, (int) strlen(name));
			}
			break;
		case KEY_TEXT:
			string = DatumGetTextPP(datum);
			string_value(value, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
			break;
		case KEY_UUID:
			string_value(value, DatumGetCString(DirectFunctionCall1(uuid_out, datum)), 2 * UUID_LEN + 4);
			break;
		case KEY_OTHER:
			key_value_other(column, datum, value);
			break;
	}
}

static void
key_value_other(KeyColumn *column, Datum datum, JsonbValue *value)
{
	IdentityScope scope;
	Jsonb	   *json;

	if (column->rendering)
		json = DatumGetJsonbP(FunctionCall1(&column->to_jsonb, datum));
	else
	{
		identity_enter_rendering(&scope);
		if (OidIsValid(column->owner))
			SetUserIdAndSecContext(column->owner, scope.sec_context |
								   SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE);
		json = DatumGetJsonbP(FunctionCall1(&column->to_jsonb, datum));
		identity_leave(&scope);
	}
	if (!JsonbExtractScalar(&json->root, value))
	{
		value->type = jbvBinary;
		value->val.binary.data = &json->root;
		value->val.binary.len = VARSIZE(json) - VARHDRSZ;
	}
}

static void
string_value(JsonbValue *value, char *text, int length)
{
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = length;
}
