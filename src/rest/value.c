/*
 * value.c
 *	  A value of a page, found in its text, as what PostgreSQL works with.
 *
 * The page is UTF-8; what comes out is in the encoding of the database.  Text
 * is that of jsonb's ->>, so a number has the digits that numeric prints.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "rest/rest.h"
#include "utils/fmgrprotos.h"

/* Is the database's text what stands in a page? */
bool
rest_value_is_native(void)
{
	return GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
}

static void
value_to_server(StringInfo buffer)
{
	char	   *converted = rest_value_is_native() ? buffer->data :
		pg_any_to_server(buffer->data, buffer->len, PG_UTF8);

	if (converted == buffer->data)
		return;
	resetStringInfo(buffer);
	appendStringInfoString(buffer, converted);
}

Jsonb *
rest_value_jsonb(const SeekValue *value)
{
	int			quotes = value->kind == SEEK_STRING ? 1 : 0;
	char	   *json = pnstrdup(value->at - quotes, value->len + 2 * quotes);

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(pg_any_to_server(json, (int) strlen(json), PG_UTF8))));
}

static void
value_number(const SeekValue *value, StringInfo buffer)
{
	Datum		number;

	appendBinaryStringInfo(buffer, value->at, value->len);
	if (value->plain)
		return;
	number = DirectFunctionCall3(numeric_in, CStringGetDatum(buffer->data), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	resetStringInfo(buffer);
	appendStringInfoString(buffer, DatumGetCString(DirectFunctionCall1(numeric_out, number)));
}

/* NULL for null and nothing, else the buffer's content. */
char *
rest_value_text(const SeekValue *value, StringInfo buffer)
{
	Jsonb	   *part;

	resetStringInfo(buffer);
	switch ((SeekKind) value->kind)
	{
		case SEEK_ABSENT:
		case SEEK_NULL:
			return NULL;
		case SEEK_FALSE:
			appendStringInfoString(buffer, "false");
			break;
		case SEEK_TRUE:
			appendStringInfoString(buffer, "true");
			break;
		case SEEK_NUMBER:
			value_number(value, buffer);
			break;
		case SEEK_STRING:
			enlargeStringInfo(buffer, (int) value->len);
			buffer->len = (int) seek_unescape(value->at, value->len, buffer->data);
			buffer->data[buffer->len] = '\0';
			value_to_server(buffer);
			break;
		case SEEK_ARRAY:
		case SEEK_OBJECT:
			part = rest_value_jsonb(value);
			(void) JsonbToCString(buffer, &part->root, VARSIZE(part));
			break;
	}
	return buffer->data;
}
