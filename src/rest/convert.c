/*
 * convert.c
 *	  A record of an API to a row of its foreign table.
 *
 * A value stands at the column's path; null and nothing are NULL.  jsonb and
 * json take the part of the document as it is, arrays of PostgreSQL take JSON
 * arrays, everything else is given as text to the type's input function, so
 * a value that a type does not accept is never bent into one that it does.
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
	const char *path;			/* NULL: the member of that name */
	Oid			type;
	int32		typmod;
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
	bool		by_path;		/* some column needs the record as a document */

	/* what is being converted, for the message of a failure */
	ConvertColumn *current;
	const char *text;
};

static void convert_prepare(ConvertColumn *column, const Connector *connector,
							Form_pg_attribute attribute, MemoryContext context);
static void convert_columns(RestConverter *converter, Jsonb *document,
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
	foreach(cell, needed)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, lfirst_int(cell) - 1);

		convert_prepare(&converter->columns[converter->ncolumns++], source->connector,
						attribute, context);
	}
	MemoryContextSwitchTo(old);
	return converter;
}

static void
convert_prepare(ConvertColumn *column, const Connector *connector,
				Form_pg_attribute attribute, MemoryContext context)
{
	Oid			element = get_element_type(getBaseType(attribute->atttypid));
	Oid			function;

	column->attnum = attribute->attnum;
	column->name = pstrdup(NameStr(attribute->attname));
	column->type = attribute->atttypid;
	column->typmod = attribute->atttypmod;
	column->whole = attribute->atttypid == JSONBOID;
	column->json = getBaseType(attribute->atttypid) == JSONOID ||
		getBaseType(attribute->atttypid) == JSONBOID;
	for (int i = 0; i < connector->ncolumns; i++)
	{
		if (strcmp(connector->columns[i].name, column->name) == 0)
			column->path = connector->columns[i].path;
	}
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

/* values live in the current memory context. */
void
rest_convert(RestConverter *converter, const JsonbValue *record, int64 row,
			 Datum *values, bool *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	JsonbValue	copy = *record;
	Jsonb	   *document = JsonbValueToJsonb(&copy);

	memset(nulls, true, sizeof(bool) * converter->natts);
	memset(values, 0, sizeof(Datum) * converter->natts);
	converter->current = NULL;

	PG_TRY();
	{
		convert_columns(converter, document, values, nulls);
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

static void
convert_columns(RestConverter *converter, Jsonb *document, Datum *values, bool *nulls)
{
	for (int i = 0; i < converter->ncolumns; i++)
	{
		ConvertColumn *column = &converter->columns[i];
		JsonbValue	buffer;
		JsonbValue *value;
		char	   *text = NULL;

		if (column->path != NULL)
			value = template_path(document, column->path, &buffer);
		else if (JB_ROOT_IS_OBJECT(document))
			value = getKeyJsonValueFromContainer(&document->root, column->name,
												 strlen(column->name), &buffer);
		else
			value = NULL;

		if (value != NULL && value->type != jbvNull)
		{
			if (column->whole)
			{
				values[column->attnum - 1] = JsonbPGetDatum(JsonbValueToJsonb(value));
				nulls[column->attnum - 1] = false;
				continue;
			}
			if (column->json)
				text = convert_json_text(value);
			else if (column->array && value->type == jbvBinary &&
				JsonContainerIsArray(value->val.binary.data))
			{
				StringInfoData array;

				initStringInfo(&array);
				convert_array_text(&array, value->val.binary.data, column);
				text = array.data;
			}
			else
				text = template_scalar_text(value);
		}

		/* A domain's input function checks NULL too. */
		converter->current = column;
		converter->text = text;
		values[column->attnum - 1] = InputFunctionCall(&column->input, text,
													   column->ioparam, column->typmod);
		nulls[column->attnum - 1] = text == NULL;
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

static void
convert_failed(RestConverter *converter, int64 row, const ErrorData *error)
{
	const ConvertColumn *column = converter->current;

	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_BAD_VALUE),
			 converter->text == NULL ?
			 errmsg("column \"%s\" of foreign table \"%s\" cannot take the missing or null value of row " INT64_FORMAT,
					column->name, converter->source->table, row) :
			 errmsg("column \"%s\" of foreign table \"%s\" cannot take the value \"%s\" of row " INT64_FORMAT,
					column->name, converter->source->table,
					rest_clip(connector_redact(converter->source->auth, converter->text), 100), row),
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
