/*
 * sample.c
 *	  What the files of a table are like now: names and first records of the one
 *	  that was written last.  Older ones are read by what is known of them.
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/defrem.h"
#include "file/reader.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "rest/rest.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static void read_sample(FileRows *rows, const FileEntry *entry, int most, FileSample *sample, MemoryContext result);

bool
file_has_names(Oid relation)
{
	FileTable  *table = file_table_load(relation, CurrentMemoryContext);

	return table->format != FILE_BY_COPY || table->header;
}

char *
file_column_place(Oid relation, AttrNumber attnum, char **formerly)
{
	char	   *name = get_attname(relation, attnum, true);
	char	   *path = NULL;
	ListCell   *cell;

	*formerly = NULL;
	if (name == NULL || get_attgenerated(relation, attnum) || strcmp(name, FILE_NAME_COLUMN) == 0 || strcmp(name, FILE_LINE_COLUMN) == 0)
		return NULL;
	foreach(cell, GetForeignColumnOptions(relation, attnum))
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "path") == 0)
			path = pstrdup(defGetString(option));
		else if (strcmp(option->defname, "formerly") == 0)
			*formerly = pstrdup(defGetString(option));
	}
	if (file_table_load(relation, CurrentMemoryContext)->format == FILE_BY_COPY)
		return path ? path : name;
	return template_path_plain(path ? path : template_path_step(name));
}

char *
file_short_name(Oid relation, const char *place)
{
	return file_table_load(relation, CurrentMemoryContext)->format == FILE_BY_COPY ? pstrdup(place) : template_path_last(place);
}

FileSample *
file_sample(const Sync *sync, Oid relation, int most)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "activate file", ALLOCSET_DEFAULT_SIZES);
	FileSample *sample = palloc0(sizeof(FileSample));
	FileRows	rows = {.context = context};
	FileEntry  *entry = NULL;

	rows.relation = table_open(relation, AccessShareLock);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		rows.reader = file_reader_create(relation, sync->owner, context);
		entry = file_newest(sync, rows.reader);
		if (entry)
			read_sample(&rows, entry, most, sample, caller);
	}
	PG_FINALLY();
	{
		/* and with it the file */
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
	table_close(rows.relation, NoLock);
	return entry ? sample : NULL;
}

static void
read_sample(FileRows *rows, const FileEntry *entry, int most, FileSample *sample, MemoryContext result)
{
	bool		json = rows->reader->table->format != FILE_BY_COPY;
	List	   *names = NIL;
	StringInfoData out;
	char	   *text;
	ListCell   *cell;

	rows->spot.name = entry->name;
	rows->stream = file_stream_open(rows->reader, entry, rows->context);
	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	if (json)
	{
		file_json_open(rows);
		file_json_sample(rows, most, &out);
	}
	else
	{
		file_csv_open(rows);
		file_csv_sample(rows, most, &out, &names);
	}
	appendStringInfoChar(&out, ']');
	text = json ? pg_any_to_server(out.data, out.len, PG_UTF8) : out.data;
	MemoryContextSwitchTo(result);
	sample->records = pstrdup(text);
	foreach(cell, names)
		sample->names = lappend(sample->names, pstrdup(lfirst(cell)));
	MemoryContextSwitchTo(rows->context);
	rows->close(rows);
	file_stream_close(rows->stream);
}
