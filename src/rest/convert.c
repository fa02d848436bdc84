/*
 * convert.c
 *	  A record of an API to a row of its foreign table.
 *
 * A value stands at the column's path; null and nothing are NULL.  jsonb and
 * json take the part of the document as it is, arrays of PostgreSQL take JSON
 * arrays, everything else is given as text to the type's input function, so
 * a value that a type does not accept is never bent into one that it does.
 * What that function would make of the usual forms of the usual types is made
 * directly (fast.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/errors.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

typedef struct ConvertColumn
{
	int			attnum;			/* from 1 */
	const char *name;
	int			slot;			/* among the values found of a record */
	Oid			type;
	int32		typmod;
	Oid			fast;			/* the type, if fast.c knows it */
	int64		epoch;			/* microseconds of the unit that it is a number of since 1970; 0: it is no such number */
	bool		whole;			/* jsonb: taken as it is */
	bool		json;			/* its text is the value's JSON */
	bool		array;
	bool		json_elements;	/* array of json or jsonb */
	char		delimiter;		/* of an array's text form */
	FmgrInfo	input;
	Oid			ioparam;
} ConvertColumn;

struct RestConverter
{
	const RestSource *source;
	int			natts;
	int			ncolumns;
	ConvertColumn *columns;
	SeekSet    *wanted;
	StringInfoData buffer;		/* of the text of a value */

	/* what is being converted, for the message of a failure */
	ConvertColumn *current;
	const SeekValue *value;
	const char *text;			/* NULL: not made yet, or there is none */
};

static void convert_prepare(ConvertColumn *column, const Connector *connector,
							Form_pg_attribute attribute, SeekSet *wanted, MemoryContext context);
static void convert_columns(RestConverter *converter, const SeekValue *found,
							Datum *values, bool *nulls);
static void convert_array_text(StringInfo out, const JsonbContainer *array,
							   const ConvertColumn *column);
static void convert_failed(RestConverter *converter, int64 row, const ErrorData *error);

RestConverter *
rest_converter_create(const RestSource *source, TupleDesc desc, List *needed,
					  MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	RestConverter *converter = palloc0(sizeof(RestConverter));
	ListCell   *cell;

	converter->source = source;
	converter->natts = desc->natts;
	converter->columns = palloc0(sizeof(ConvertColumn) * (list_length(needed) + 1));
	converter->wanted = rest_wanted_create(context);
	initStringInfo(&converter->buffer);
	foreach(cell, needed)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, lfirst_int(cell) - 1);

		convert_prepare(&converter->columns[converter->ncolumns++], source->connector,
						attribute, converter->wanted, context);
	}
	MemoryContextSwitchTo(old);
	return converter;
}

SeekSet *
rest_converter_wanted(const RestConverter *converter)
{
	return converter->wanted;
}

static bool
convert_is_fast(Oid type, int32 typmod)
{
	switch (type)
	{
		case TEXTOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT8OID:
		case BOOLOID:
		case DATEOID:
			return true;
		case VARCHAROID:
		case TIMESTAMPTZOID:
			return typmod == -1;
		default:
			return false;
	}
}

/* A column that is sent as seconds or milliseconds is read as such. */
static int64
convert_epoch_unit(const TemplateColumn *known, Oid type, int32 typmod)
{
	if (known->change == NULL || typmod != -1 || (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID))
		return 0;
	return known->change->date == DATE_UNIX ? USECS_PER_SEC : known->change->date == DATE_UNIX_MS ? 1000 : 0;
}

static void
convert_prepare(ConvertColumn *column, const Connector *connector,
				Form_pg_attribute attribute, SeekSet *wanted, MemoryContext context)
{
	Oid			element = get_element_type(getBaseType(attribute->atttypid));
	const char *path = NULL;
	Oid			function;

	column->attnum = attribute->attnum;
	column->name = pstrdup(NameStr(attribute->attname));
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->fast = convert_is_fast(column->type, column->typmod) ? column->type : InvalidOid;
	column->whole = attribute->atttypid == JSONBOID;
	column->json = getBaseType(attribute->atttypid) == JSONOID ||
		getBaseType(attribute->atttypid) == JSONBOID;
	for (int i = 0; i < connector->ncolumns; i++)
	{
		if (strcmp(connector->columns[i].name, column->name) != 0)
			continue;
		path = connector->columns[i].path;
		column->epoch = convert_epoch_unit(&connector->columns[i], column->type, column->typmod);
	}
	column->slot = path != NULL ? rest_want(wanted, path, false) : rest_want_member(wanted, column->name);
	getTypeInputInfo(attribute->atttypid, &function, &column->ioparam);
	fmgr_info_cxt(function, &column->input, context);
	if (OidIsValid(element))
	{
		int16		length;
		bool		by_value;
		char		align;
		Oid			ioparam;

		get_type_io_data(element, IOFunc_input, &length, &by_value, &align,
						 &column->delimiter, &ioparam, &function);
		column->array = true;
		column->json_elements = element == JSONBOID || element == JSONOID;
	}
}

/* found: what seek.c found of the record; values live in the current memory context. */
void
rest_convert(RestConverter *converter, const SeekValue *found, int64 row,
			 Datum *values, bool *nulls)
{
	MemoryContext context = CurrentMemoryContext;

	memset(nulls, true, sizeof(bool) * converter->natts);
	memset(values, 0, sizeof(Datum) * converter->natts);
	converter->current = NULL;

	PG_TRY();
	{
		convert_columns(converter, found, values, nulls);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

		/* The types' own complaints become ours; cancel and the like pass. */
		if (converter->current == NULL ||
			(category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
			 category != ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION) &&
			 category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED) &&
			 category != ERRCODE_TO_CATEGORY(ERRCODE_FEATURE_NOT_SUPPORTED)))
			PG_RE_THROW();
		FlushErrorState();
		convert_failed(converter, row, error);
	}
	PG_END_TRY();
}

static char *
convert_json_text(JsonbValue *value)
{
	return JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, 0);
}

static bool
convert_fast(Oid type, const SeekValue *value, Datum *datum)
{
	int64		number;
	float8		real;
	TimestampTz moment;
	DateADT		day;

	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
			return rest_fast_text(value, datum);
		case INT8OID:
			if (!rest_fast_int64(value, PG_INT64_MIN, PG_INT64_MAX, &number))
				return false;
			*datum = Int64GetDatum(number);
			return true;
		case INT4OID:
			if (!rest_fast_int64(value, PG_INT32_MIN, PG_INT32_MAX, &number))
				return false;
			*datum = Int32GetDatum((int32) number);
			return true;
		case INT2OID:
			if (!rest_fast_int64(value, PG_INT16_MIN, PG_INT16_MAX, &number))
				return false;
			*datum = Int16GetDatum((int16) number);
			return true;
		case FLOAT8OID:
			if (!rest_fast_float8(value, &real))
				return false;
			*datum = Float8GetDatum(real);
			return true;
		case BOOLOID:
			*datum = BoolGetDatum(value->kind == SEEK_TRUE);
			return value->kind == SEEK_TRUE || value->kind == SEEK_FALSE;
		case DATEOID:
			if (!rest_fast_date(value, &day))
				return false;
			*datum = DateADTGetDatum(day);
			return true;
		case TIMESTAMPTZOID:
			if (!rest_fast_timestamptz(value, &moment))
				return false;
			*datum = TimestampTzGetDatum(moment);
			return true;
		default:
			return false;
	}
}

/* What the type's input function is given; NULL for null and nothing. */
static char *
convert_text(RestConverter *converter, const ConvertColumn *column, const SeekValue *value)
{
	bool		json = column->json && value->kind != SEEK_ABSENT && value->kind != SEEK_NULL;
	Jsonb	   *part;

	if (!json && !(column->array && value->kind == SEEK_ARRAY))
		return rest_value_text(value, &converter->buffer);
	part = rest_value_jsonb(value);
	resetStringInfo(&converter->buffer);
	if (json)
		(void) JsonbToCString(&converter->buffer, &part->root, VARSIZE(part));
	else
		convert_array_text(&converter->buffer, &part->root, column);
	return converter->buffer.data;
}

static void
convert_columns(RestConverter *converter, const SeekValue *found, Datum *values, bool *nulls)
{
	for (int i = 0; i < converter->ncolumns; i++)
	{
		ConvertColumn *column = &converter->columns[i];
		const SeekValue *value = &found[column->slot];
		Datum	   *datum = &values[column->attnum - 1];

		if (column->epoch != 0 && rest_fast_epoch(value, column->epoch, column->type, datum))
		{
			nulls[column->attnum - 1] = false;
			continue;
		}
		if (OidIsValid(column->fast) && convert_fast(column->fast, value, datum))
		{
			nulls[column->attnum - 1] = false;
			continue;
		}
		converter->current = column;
		converter->value = value;
		converter->text = NULL;
		if (column->whole && value->kind != SEEK_ABSENT && value->kind != SEEK_NULL)
		{
			*datum = JsonbPGetDatum(rest_value_jsonb(value));
			nulls[column->attnum - 1] = false;
		}
		else
		{
			/* a domain's input function checks NULL too */
			converter->text = convert_text(converter, column, value);
			*datum = InputFunctionCall(&column->input, unconstify(char *, converter->text),
									   column->ioparam, column->typmod);
			nulls[column->attnum - 1] = converter->text == NULL;
		}
		converter->current = NULL;
	}
}

/* A JSON array in the text form of PostgreSQL's; nested ones become dimensions. */
static void
convert_array_text(StringInfo out, const JsonbContainer *array, const ConvertColumn *column)
{
	JsonbIterator *iterator = JsonbIteratorInit(unconstify(JsonbContainer *, array));
	JsonbIteratorToken token;
	JsonbValue	element;
	bool		first = true;

	check_stack_depth();
	appendStringInfoChar(out, '{');
	token = JsonbIteratorNext(&iterator, &element, true);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) == WJB_ELEM)
	{
		char	   *text;

		if (!first)
			appendStringInfoChar(out, column->delimiter);
		first = false;
		if (element.type == jbvBinary && !column->json_elements &&
			JsonContainerIsArray(element.val.binary.data))
		{
			convert_array_text(out, element.val.binary.data, column);
			continue;
		}
		text = element.type == jbvNull ? NULL :
			column->json_elements ? convert_json_text(&element) :
			template_scalar_text(&element);
		if (text == NULL)
		{
			appendStringInfoString(out, "NULL");
			continue;
		}
		appendStringInfoChar(out, '"');
		for (char *c = text; *c != '\0'; c++)
		{
			if (*c == '"' || *c == '\\')
				appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, *c);
		}
		appendStringInfoChar(out, '"');
	}
	appendStringInfoChar(out, '}');
}

/* Where making the value's text has failed, as it stands in the page; NULL: null or nothing. */
static const char *
convert_shown(const RestConverter *converter)
{
	const SeekValue *value = converter->value;

	if (converter->text != NULL || value->kind == SEEK_ABSENT || value->kind == SEEK_NULL)
		return converter->text;
	if (!rest_value_is_native())
		return "...";
	return pnstrdup(value->at, pg_encoding_mbcliplen(PG_UTF8, value->at, (int) value->len, 500));
}

static void
convert_failed(RestConverter *converter, int64 row, const ErrorData *error)
{
	const ConvertColumn *column = converter->current;
	const char *text = convert_shown(converter);

	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_BAD_VALUE),
			 text == NULL ?
			 errmsg("column \"%s\" of foreign table \"%s\" cannot take the missing or null value of row " INT64_FORMAT,
					column->name, converter->source->table, row) :
			 errmsg("column \"%s\" of foreign table \"%s\" cannot take the value \"%s\" of row " INT64_FORMAT,
					column->name, converter->source->table,
					rest_clip(connector_redact(converter->source->auth, text), 100), row),
			 errdetail("As %s: %s.", format_type_with_typemod(column->type, column->typmod),
					   rest_clip(connector_redact(converter->source->auth, error->message), 300)),
			 errhint("Declare the column with a type that takes every value of the API, such as text or jsonb, and cast in SQL.")));
}

/* At most so many characters, "..." where something was cut. */
char *
rest_clip(const char *text, int characters)
{
	int			length = (int) strlen(text);
	int			kept = pg_mbcharcliplen(text, length, characters);

	return kept == length ? pstrdup(text) : psprintf("%.*s...", kept, text);
}
