/*
 * ask_value.c
 *	  Values of conditions as an API is asked for them.
 *
 * Only of types whose equal values are the same text, and whose order every
 * API has; nothing depends on a setting of the session.  A moment that an API
 * has in coarser units is rounded so that it finds more rows, never fewer: what
 * is too many is dropped here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "datatype/timestamp.h"
#include "rest/ask.h"
#include "template/change.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

bool
ask_takes(Oid type, int32 typmod, Oid collation, bool range)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
			return true;
		case NUMERICOID:
			/* what is read is rounded to a scale: the API has other values */
			return typmod == -1;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return range && typmod == -1;
		case FLOAT8OID:
			/* not float4: what is read is rounded, too */
			return range;
		case BOOLOID:
		case UUIDOID:
			return !range;
		case TEXTOID:
		case VARCHAROID:
			/* an API's order of texts is its own */
			return !range && OidIsValid(collation) && get_collation_isdeterministic(collation);
		default:
			return !range && get_typtype(type) == TYPTYPE_ENUM;
	}
}

static char *
ask_output(Datum value, Oid type)
{
	Oid			function;
	bool		varlena;

	getTypeOutputInfo(type, &function, &varlena);
	return OidOutputFunctionCall(function, value);
}

static char *
ask_numeric(Numeric value)
{
	return numeric_is_nan(value) || numeric_is_inf(value) ? NULL : numeric_normalize(value);
}

/* As short as it can be: 0.1 is 0.1 to an API that has it in decimals, and 0.10000000000000001 is more. */
static char *
ask_float(double value)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(value) || isinf(value))
		return NULL;
	double_to_shortest_decimal_buf(value, text);
	return pstrdup(text);
}

/* Microseconds of what the column has at the API, if it is coarser than ours; 1: it is not. */
static int64
ask_unit(const TemplateColumn *column)
{
	switch (column->change == NULL ? DATE_AS_IT_IS : column->change->date)
	{
		case DATE_UNIX:
			return USECS_PER_SEC;
		case DATE_UNIX_MS:
			return 1000;
		case DATE_DAY:
			return USECS_PER_DAY;
		default:
			return 1;
	}
}

/* In ISO form, as change_moment() reads it; zone: Z, or "". */
static char *
ask_iso(Timestamp moment, const char *zone, bool day)
{
	struct pg_tm tm;
	fsec_t		fraction;
	StringInfoData text;

	if (timestamp2tm(moment, NULL, &tm, &fraction, NULL, NULL) != 0 || tm.tm_year < 1 || tm.tm_year > 9999)
		return NULL;
	initStringInfo(&text);
	appendStringInfo(&text, "%04d-%02d-%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
	if (day)
		return text.data;
	appendStringInfo(&text, "T%02d:%02d:%02d", tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (fraction != 0)
		appendStringInfo(&text, fraction % 1000 == 0 ? ".%03d" : ".%06d", (int) (fraction % 1000 == 0 ? fraction / 1000 : fraction));
	appendStringInfoString(&text, zone);
	return text.data;
}

/*
 * Away from the range.  An API that gives whole seconds may compare what it has
 * in finer ones: of the last second, too, up to its end.
 */
static Timestamp
ask_rounded(Timestamp moment, int64 unit, FilterOp op, bool fine)
{
	int64		rest = (moment % unit + unit) % unit;

	if (op == FILTER_LT)
		return moment + (rest != 0 ? unit - rest : 0);
	if (op == FILTER_LE && unit > 1)
		return moment + (rest != 0 || fine ? unit - rest : 0);
	return moment - rest;
}

static char *
ask_moment(Timestamp moment, Oid type, const TemplateColumn *column, FilterOp op)
{
	TemplateDate form = column->change == NULL ? DATE_AS_IT_IS : column->change->date;
	JsonbValue	value = {.type = jbvString};
	char	   *text;

	if (TIMESTAMP_NOT_FINITE(moment))
		return NULL;
	/* how fine a form is that we do not know, nobody can say; of a date it is fine enough */
	if (form == DATE_FORMAT && type != DATEOID)
		return NULL;
	/* a day is many moments */
	if (type == DATEOID && (form == DATE_ISO || form == DATE_UNIX || form == DATE_UNIX_MS))
	{
		if (op <= FILTER_IN)
			return NULL;
		if (op >= FILTER_LT)
			moment += USECS_PER_DAY;
	}
	moment = ask_rounded(moment, ask_unit(column), op, type != DATEOID);
	text = ask_iso(moment, form == DATE_AS_IT_IS && type != TIMESTAMPTZOID ? "" : "Z",
				   type == DATEOID && form == DATE_AS_IT_IS);
	if (text == NULL || form == DATE_AS_IT_IS)
		return text;
	value.val.string.val = text;
	value.val.string.len = (int) strlen(text);
	change_moment(column->name, column->change, &value);
	return template_scalar_text(&value);
}

char *
ask_text(Datum value, Oid type, const TemplateColumn *column, FilterOp op)
{
	char	   *text;

	switch (type)
	{
		case NUMERICOID:
			return ask_numeric(DatumGetNumeric(value));
		case FLOAT8OID:
			return ask_float(DatumGetFloat8(value));
		case BOOLOID:
			return pstrdup(DatumGetBool(value) ? "true" : "false");
		case DATEOID:
			if (DatumGetDateADT(value) < date2j(1, 1, 1) - POSTGRES_EPOCH_JDATE ||
				DatumGetDateADT(value) > date2j(9999, 12, 31) - POSTGRES_EPOCH_JDATE)
				return NULL;
			return ask_moment((int64) DatumGetDateADT(value) * USECS_PER_DAY, type, column, op);
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return ask_moment(DatumGetTimestamp(value), type, column, op);
		default:
			/* many an API takes an empty parameter for none, or for null */
			text = ask_output(value, type);
			return *text == '\0' ? NULL : text;
	}
}
