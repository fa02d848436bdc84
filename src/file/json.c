/*
 * json.c
 *	  JSON: a record a line, or an array of records (or one record after
 *	  another), told apart without reading more than one.
 *
 * What a record becomes is json_convert()'s affair alone.
 */
#include "postgres.h"

#include "file/reader.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

typedef struct Json
{
	char	   *data;			/* what is not yet used up: from at to len */
	size_t		at;
	size_t		len;
	size_t		size;
	bool		ended;
	int64		line;			/* of data[at] */
	bool		lines;			/* a record is a line */
	bool		begun;
	bool		array;
	bool		closed;			/* its bracket */
	bool		some;			/* there was a record */
	bool		comma;			/* one was read since the last record */
	int			file_column;	/* attribute numbers; 0: not asked for */
	int			line_column;
	RestSource	source;
	Connector	connector;
	RestConverter *converter;
	SeekSet    *wanted;
	int			nformer;
	struct
	{
		int			slot;		/* of a column ... */
		int			former;		/* ... and of where it was in older files */
	}		   *former;
} Json;

static bool json_next(FileRows *rows, Datum *values, bool *nulls);
static void json_close(FileRows *rows);
static bool more(FileRows *rows);
static size_t find_line(FileRows *rows);
static size_t find_record(FileRows *rows);
static size_t find_end(FileRows *rows);
static void json_convert(FileRows *rows, const char *text, size_t len, Datum *values, bool *nulls);
static void want_former(Json *json, const FileTable *table, List *needed);
static void json_place(FileRows *rows, int attnum, char *text, Datum *values, bool *nulls);

void
file_json_open(FileRows *rows)
{
	const FileTable *table = rows->reader->table;
	TupleDesc	desc = RelationGetDescr(rows->relation);
	Json	   *json = palloc0(sizeof(Json));
	List	   *needed = NIL;
	ListCell   *cell;

	rows->state = json;
	rows->next = json_next;
	rows->close = json_close;
	json->lines = table->format == FILE_JSON_LINES;
	json->line = 1;
	json->size = 2 * FILE_BLOCK;
	json->data = palloc(json->size);
	foreach(cell, rows->needed)
	{
		const char *name = NameStr(TupleDescAttr(desc, lfirst_int(cell) - 1)->attname);

		if (strcmp(name, FILE_NAME_COLUMN) == 0)
			json->file_column = lfirst_int(cell);
		else if (strcmp(name, FILE_LINE_COLUMN) == 0)
			json->line_column = lfirst_int(cell);
		else
			needed = lappend_int(needed, lfirst_int(cell));
	}
	json->connector.ncolumns = table->ncolumns;
	json->connector.columns = table->columns;
	json->source.connector = &json->connector;
	json->source.table = table->shown;
	json->converter = rest_converter_create(&json->source, desc, needed, rows->context);
	json->wanted = rest_converter_wanted(json->converter);
	want_former(json, table, needed);
}

/* The same path has the same slot. */
static void
want_former(Json *json, const FileTable *table, List *needed)
{
	int			n = 0;
	ListCell   *cell;
	ListCell   *name;

	foreach(cell, needed)
		n += list_length(table->more[lfirst_int(cell) - 1].formerly);
	json->former = palloc0(sizeof(*json->former) * (n + 1));
	foreach(cell, needed)
	{
		const TemplateColumn *column = &table->columns[lfirst_int(cell) - 1];

		foreach(name, table->more[lfirst_int(cell) - 1].formerly)
		{
			json->former[json->nformer].slot = column->path ? rest_want(json->wanted, column->path, false) :
				rest_want_member(json->wanted, column->name);
			json->former[json->nformer++].former = rest_want(json->wanted, lfirst(name), false);
		}
	}
}

static void
json_close(FileRows *rows)
{
}

static bool
json_next(FileRows *rows, Datum *values, bool *nulls)
{
	Json	   *json = rows->state;
	size_t		len = json->lines ? find_line(rows) : find_record(rows);
	const char *text = json->data + json->at;

	if (len == 0)
		return false;
	rows->spot.line = json->line;
	json_convert(rows, text, len, values, nulls);
	json_place(rows, json->file_column, unconstify(char *, rows->spot.name), values, nulls);
	json_place(rows, json->line_column, psprintf(INT64_FORMAT, rows->spot.line), values, nulls);
	for (size_t i = 0; i < len; i++)
		json->line += text[i] == '\n';
	json->at += len;
	return true;
}

/* As they are written, names in their order; the bytes are checked by who makes text of them. */
void
file_json_sample(FileRows *rows, int most, StringInfo out)
{
	Json	   *json = rows->state;
	size_t		len;

	for (int i = 0; i < most && out->len < FILE_SAMPLE && (len = json->lines ? find_line(rows) : find_record(rows)) > 0; i++)
	{
		appendStringInfoString(out, i > 0 ? "," : "");
		appendBinaryStringInfo(out, json->data + json->at, len);
		json->at += len;
	}
}

/* Where the row comes from, in a column of whatever type. */
static void
json_place(FileRows *rows, int attnum, char *text, Datum *values, bool *nulls)
{
	Form_pg_attribute attribute;
	Oid			function;
	Oid			ioparam;

	if (attnum == 0)
		return;
	attribute = TupleDescAttr(RelationGetDescr(rows->relation), attnum - 1);
	getTypeInputInfo(attribute->atttypid, &function, &ioparam);
	values[attnum - 1] = OidInputFunctionCall(function, text, ioparam, attribute->atttypmod);
	nulls[attnum - 1] = false;
}

/* More bytes behind those that are there; false: there are none. */
static bool
more(FileRows *rows)
{
	Json	   *json = rows->state;
	int			n;

	CHECK_FOR_INTERRUPTS();
	if (json->ended)
		return false;
	if (json->at > 0)
	{
		json->len -= json->at;
		memmove(json->data, json->data + json->at, json->len);
		json->at = 0;
	}
	if (json->len > FILE_MAX_RECORD)
	{
		rows->spot.line = json->line;
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record is longer than %d bytes", FILE_MAX_RECORD)));
	}
	if (json->size - json->len < FILE_BLOCK)
	{
		json->size *= 2;
		json->data = repalloc(json->data, json->size);
	}
	n = file_stream_read(rows->stream, json->data + json->len, FILE_BLOCK);
	json->len += n;
	json->ended = n == 0;
	return n > 0;
}

/* Passes over white space; false: nothing else is left. */
static bool
skip_space(FileRows *rows)
{
	Json	   *json = rows->state;

	while (json->at < json->len || more(rows))
	{
		char		c = json->data[json->at];

		if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
			return true;
		json->line += c == '\n';
		json->at++;
	}
	return false;
}

/* Length of the next line that is not empty; 0: there is none. */
static size_t
find_line(FileRows *rows)
{
	Json	   *json = rows->state;
	size_t		looked = 0;
	char	   *end;

	if (!skip_space(rows))
		return 0;
	while ((end = memchr(json->data + json->at + looked, '\n', json->len - json->at - looked)) == NULL)
	{
		looked = json->len - json->at;
		if (!more(rows))
			return looked;
	}
	return end - (json->data + json->at);
}

pg_noreturn static void
refuse(FileRows *rows, const char *what)
{
	const Json *json = rows->state;

	rows->spot.line = json->line;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_JSON_TEXT),
			 errmsg("%s", what),
			 errhint("Format \"json\" is an array of objects, \"ndjson\" an object a line.")));
}

/* Length of the next record; 0: there is none. */
static size_t
find_record(FileRows *rows)
{
	Json	   *json = rows->state;

	while (skip_space(rows))
	{
		char		c = json->data[json->at];

		if (json->closed)
			refuse(rows, "there is more behind the array");
		if (!json->begun && c == '[')
			json->begun = json->array = true;
		else if (json->array && c == ']' && !json->comma)
			json->closed = true;
		else if (json->array && c == ',' && json->begun && !json->comma && json->some)
			json->comma = true;
		else if (c == '{' && (!json->array || json->comma || !json->some))
		{
			json->begun = true;
			json->comma = false;
			json->some = true;
			return find_end(rows);
		}
		else
			refuse(rows, json->array ? "neither an object, nor a comma between two, nor the end of the array" : "it is neither an array nor an object");
		json->at++;
	}
	if (json->array && !json->closed)
		refuse(rows, "the array is never closed");
	return 0;
}

/* Length of the object that begins here. */
static size_t
find_end(FileRows *rows)
{
	Json	   *json = rows->state;
	int			depth = 0;
	bool		quoted = false;
	size_t		i = 0;

	for (;; i++)
	{
		char		c;

		while (json->at + i >= json->len)
			if (!more(rows))
				refuse(rows, quoted ? "a string is never closed in the object that begins here" : "the object that begins here is never closed");
		c = json->data[json->at + i];
		if (quoted)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
		}
		else if (c == '"')
			quoted = true;
		else if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return i + 1;
	}
}

/* A record, from UTF-8, as a row: the one place that knows how. */
static void
json_convert(FileRows *rows, const char *text, size_t len, Datum *values, bool *nulls)
{
	Json	   *json = rows->state;
	/* a NUL in it is for the verification to find */
	char	   *copy = memcpy(palloc0(len + 1), text, len);
	int			valid = pg_encoding_verifymbstr(PG_UTF8, copy, (int) len);
	SeekText	scan;
	SeekValue  *values_found;

	if (valid < (int) len)
	{
		rows->spot.offset = file_stream_given(rows->stream) - (json->len - json->at) + valid + 1;
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("it is not UTF-8"),
				 errhint("JSON must be UTF-8: have it written so.")));
	}
	if (copy[0] != '{')
		refuse(rows, "the record is no object");
	values_found = palloc0(sizeof(SeekValue) * (seek_slots(json->wanted) + 1));
	if (!seek_page(&scan, copy, len, json->wanted, values_found, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_JSON_TEXT),
				 errmsg("invalid JSON"),
				 errdetail("%s.", scan.error)));
	for (int i = 0; i < json->nformer; i++)
		if (values_found[json->former[i].slot].kind == SEEK_ABSENT)
			values_found[json->former[i].slot] = values_found[json->former[i].former];
	rest_convert(json->converter, values_found, json->line, values, nulls);
}
