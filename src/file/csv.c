/*
 * csv.c
 *	  CSV, TSV and text: records are told apart and parted into fields by
 *	  PostgreSQL's own COPY, so the grammar is the one of its documentation.
 *
 * Fields become values here rather than there: columns are found by the names
 * of a header, those that nobody asks for are not converted, and it is known
 * which one was refused.
 *
 * COPY asks for bytes by a function without an argument: "source" says whose.
 */
#include "postgres.h"

#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "file/reader.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

enum
{
	FIELD_FILE = -1, FIELD_LINE = -2, FIELD_NONE = -3
};

typedef struct CsvColumn
{
	int			attnum;
	const char *name;
	int			field;			/* of the record, or one of the above */
	FmgrInfo	input;
	Oid			ioparam;
	int32		typmod;
} CsvColumn;

typedef struct Csv
{
	CopyFromState copy;
	List	   *header;			/* char *; where there is one */
	int			nfields;		/* of each record */
	int			ncolumns;
	CsvColumn  *columns;
	int64		begun;			/* line at which the record begins; 0: it has been read */
} Csv;

static FileRows *source;

static int	csv_source(void *buffer, int least, int most);
static bool csv_record(FileRows *rows, char ***fields, int *n);
static bool csv_next(FileRows *rows, Datum *values, bool *nulls);
static void csv_close(FileRows *rows);
static void csv_explain(FileRows *rows, int code);
static int	find_field(const FileRows *rows, int attnum, char **header, int n);
static int	field_of(const char *name, char **header, int n);
static void add_column(FileRows *rows, int attnum, int field);

void
file_csv_open(FileRows *rows)
{
	const FileTable *table = rows->reader->table;
	TupleDesc	desc = RelationGetDescr(rows->relation);
	Csv		   *csv = palloc0(sizeof(Csv));
	char	  **header = NULL;
	int			n = 0;
	int			position = 0;

	rows->state = csv;
	rows->next = csv_next;
	rows->close = csv_close;
	rows->explain = csv_explain;
	csv->columns = palloc0(sizeof(CsvColumn) * (desc->natts + 1));
	source = rows;
	csv->copy = BeginCopyFrom(NULL, rows->relation, NULL, NULL, false, csv_source, NIL, table->copy);

	/* an empty file has no header, and no rows */
	if (table->header && !csv_record(rows, &header, &n))
		return;
	rows->spot.line = table->header ? 1 : 0;
	for (int i = 0; i < n; i++)
		csv->header = lappend(csv->header, pstrdup(header[i] ? header[i] : ""));
	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		const char *name = NameStr(TupleDescAttr(desc, attnum - 1)->attname);
		bool		needed = list_member_int(rows->needed, attnum);
		int			field;

		if (TupleDescAttr(desc, attnum - 1)->attisdropped || TupleDescAttr(desc, attnum - 1)->attgenerated)
			continue;
		/* what a header does not have is no matter of who does not ask for it */
		if (table->header && !needed)
			continue;
		field = strcmp(name, FILE_NAME_COLUMN) == 0 ? FIELD_FILE :
			strcmp(name, FILE_LINE_COLUMN) == 0 ? FIELD_LINE :
			table->header ? find_field(rows, attnum, header, n) : position++;
		if (needed && field != FIELD_NONE)
			add_column(rows, attnum, field);
	}
	csv->nfields = table->header ? n : position;
}

/* Where the header has a column: under its name, or one that it had. */
static int
find_field(const FileRows *rows, int attnum, char **header, int n)
{
	const TemplateColumn *column = &rows->reader->table->columns[attnum - 1];
	const FileColumnOptions *more = &rows->reader->table->more[attnum - 1];
	const char *name = column->path ? column->path : column->name;
	int			found = field_of(name, header, n);
	StringInfoData names;
	ListCell   *cell;

	foreach(cell, more->formerly)
		if (found < 0)
			found = field_of(lfirst(cell), header, n);
	if (found >= 0)
		return found;
	if (more->optional)
		return FIELD_NONE;
	initStringInfo(&names);
	for (int i = 0; i < n; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", header[i] ? header[i] : "");
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("the header has no column \"%s\"", name),
			 errdetail("It has %s.", pnstrdup(names.data, pg_mbcliplen(names.data, names.len, 500))),
			 errhint("A column that has another name in the file: {\"type\": ..., \"path\": \"name in the header\"}.")));
}

static int
field_of(const char *name, char **header, int n)
{
	int			found = -1;

	for (int i = 0; i < n; i++)
	{
		if (header[i] == NULL || strcmp(header[i], name) != 0)
			continue;
		if (found >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the header has column \"%s\" twice", name)));
		found = i;
	}
	return found;
}

static void
add_column(FileRows *rows, int attnum, int field)
{
	Csv		   *csv = rows->state;
	CsvColumn  *column = &csv->columns[csv->ncolumns++];
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rows->relation), attnum - 1);
	Oid			function;

	column->attnum = attnum;
	column->name = NameStr(attribute->attname);
	column->field = field;
	column->typmod = attribute->atttypmod;
	getTypeInputInfo(attribute->atttypid, &function, &column->ioparam);
	fmgr_info_cxt(function, &column->input, rows->context);
}

static int
csv_source(void *buffer, int least, int most)
{
	const Csv  *csv = source->state;

	if (csv->copy != NULL && csv->copy->line_buf.len > FILE_MAX_RECORD)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record is longer than %d bytes", FILE_MAX_RECORD)));
	return file_stream_read(source->stream, buffer, most);
}

/* The fields of the next record, good until the one after it; false: there is none. */
static bool
csv_record(FileRows *rows, char ***fields, int *n)
{
	Csv		   *csv = rows->state;
	char		byte;

	source = rows;
	csv->begun = rows->spot.line = csv->copy->cur_lineno + 1;
	rows->spot.column = NULL;
	if (NextCopyFromRawFields(csv->copy, fields, n))
	{
		csv->begun = 0;
		return true;
	}

	/* COPY takes "\." for the end of its data; files go on */
	if (csv->copy->raw_buf_len > (csv->copy->raw_buf == csv->copy->input_buf ? csv->copy->input_buf_index : csv->copy->raw_buf_index) ||
		csv->copy->input_buf_len > csv->copy->input_buf_index ||
		file_stream_read(rows->stream, &byte, 1) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("there is more behind the mark \"\\.\", which ends the data for COPY")));
	csv->begun = 0;
	return false;
}

static bool
csv_next(FileRows *rows, Datum *values, bool *nulls)
{
	Csv		   *csv = rows->state;
	char	  **fields;
	int			n;

	/* an empty file, where a header was expected */
	if (csv->nfields == 0 && rows->reader->table->header)
		return false;
	if (!csv_record(rows, &fields, &n))
		return false;
	if (n != csv->nfields)
		ereport(ERROR,
				(errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
				 errmsg("it has %d fields, not %d", n, csv->nfields)));
	for (int i = 0; i < csv->ncolumns; i++)
	{
		CsvColumn  *column = &csv->columns[i];
		char	   *text = column->field == FIELD_FILE ? unconstify(char *, rows->spot.name) :
			column->field == FIELD_LINE ? psprintf(INT64_FORMAT, rows->spot.line) : fields[column->field];

		rows->spot.column = column->name;
		values[column->attnum - 1] = InputFunctionCall(&column->input, text, column->ioparam, column->typmod);
		nulls[column->attnum - 1] = text == NULL;
	}
	rows->spot.column = NULL;
	return true;
}

/* A record of another length is the run's to complain of. */
void
file_csv_sample(FileRows *rows, int most, StringInfo out, List **names)
{
	Csv		   *csv = rows->state;
	char	  **fields;
	int			n;

	*names = csv->header;
	for (int i = 0; i < most && out->len < FILE_SAMPLE && csv->header != NIL && csv_record(rows, &fields, &n); i++)
	{
		appendStringInfoString(out, i > 0 ? ",{" : "{");
		for (int j = 0; j < Min(n, csv->nfields); j++)
		{
			appendStringInfoString(out, j > 0 ? "," : "");
			escape_json(out, list_nth(csv->header, j));
			appendStringInfoChar(out, ':');
			if (fields[j])
				escape_json(out, fields[j]);
			else
				appendStringInfoString(out, "null");
		}
		appendStringInfoChar(out, '}');
	}
}

static void
csv_close(FileRows *rows)
{
	Csv		   *csv = rows->state;

	if (csv->copy != NULL)
		EndCopyFrom(csv->copy);
	csv->copy = NULL;
}

/* The line in which the quote opened that is open at the end of what was read; 0: none is. */
static int64
open_quote(const FileTable *table, const Csv *csv)
{
	const char *p = csv->copy->line_buf.data;
	const char *end = p + csv->copy->line_buf.len;
	int64		line = csv->begun;
	int64		opened = 0;

	for (; p < end; p++)
	{
		if (*p == '\n' || (*p == '\r' && (p + 1 == end || p[1] != '\n')))
			line++;
		else if (opened > 0 && *p == table->escape && p + 1 < end && (p[1] == table->quote || p[1] == table->escape))
			p++;
		else if (*p == table->quote)
			opened = opened > 0 ? 0 : line;
	}
	return opened;
}

static void
csv_explain(FileRows *rows, int code)
{
	const Csv  *csv = rows->state;
	const CopyFromStateData *copy = csv->copy;

	if (copy == NULL || csv->begun == 0)
		return;
	if (code == ERRCODE_CHARACTER_NOT_IN_REPERTOIRE || code == ERRCODE_UNTRANSLATABLE_CHARACTER)
	{
		/* as CopyConversionError() finds it; it is not told for the mark of another Unicode */
		if (copy->input_reached_error)
			rows->spot.offset = file_stream_given(rows->stream) - copy->raw_buf_len + 1 +
				(copy->need_transcoding ? copy->raw_buf_index : copy->input_buf_len);
	}
	else if (rows->reader->table->quote && (code == ERRCODE_BAD_COPY_FILE_FORMAT || code == ERRCODE_PROGRAM_LIMIT_EXCEEDED))
		rows->spot.opened = open_quote(rows->reader->table, csv);
}
