/*
 * ledger.c
 *	  What runs have loaded: activate.file.
 *
 * A file counts as loaded when its row is written by the transaction that
 * loads its rows: both are there or none.  It is the same file as long as name,
 * size and version (time of change, ETag) are the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "file/reader.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* What a run is doing just now. */
static struct
{
	const Sync *sync;			/* NULL: nothing */
	int64		run;
	FileEntry  *entry;
} running;

static void probe(const FileReader *reader, FileEntry *entry);
static int	look_up(const Sync *sync, List *entries, bool full, Datum **positions);
static bool pass_over(const Sync *sync, FileEntry *entry);
static void write_down(const Sync *sync, int64 run, const FileEntry *entry, const char *note);

bool
file_by_ledger(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	return OidIsValid(sync->source_rel) && file_is_table(sync->source_rel) &&
		own_int64("SELECT activate._file_ledger($1)::int::bigint", 1, &type, &id) != 0;
}

List *
file_pending(const Sync *sync, bool full)
{
	FileReader *reader = file_reader_create(sync->source_rel, sync->owner, CurrentMemoryContext);
	List	   *entries = file_list(reader);
	List	   *pending = NIL;
	ListCell   *cell;
	Datum	   *positions;
	int			n;

	if (reader->table->place == FILE_AT_URL)
		foreach(cell, entries)
			probe(reader, lfirst(cell));
	n = look_up(sync, entries, full, &positions);
	for (int i = 0; i < n; i++)
	{
		int64		position = DatumGetInt64(positions[i]);
		FileEntry  *entry = list_nth(entries, (int) (position < 0 ? -position : position) - 1);

		entry->changed = position < 0;
		if (full || !entry->changed || !pass_over(sync, entry))
			pending = lappend(pending, entry);
	}
	return pending;
}

FileEntry *
file_newest(const Sync *sync, const FileReader *reader)
{
	List	   *entries = file_list(reader);
	FileEntry  *newest = NULL;
	Datum	   *positions;
	int			n = list_length(entries);
	bool		once = reader->table->table == sync->source_rel && file_by_ledger(sync);

	if (once)
		n = look_up(sync, entries, false, &positions);
	for (int i = 0; i < n; i++)
	{
		int64		position = once ? DatumGetInt64(positions[i]) : i + 1;
		FileEntry  *entry = list_nth(entries, (int) llabs(position) - 1);

		if (newest == NULL || entry->modified >= newest->modified)
			newest = entry;
	}
	return newest;
}

/* What a web server says of a file, before it is read. */
static void
probe(const FileReader *reader, FileEntry *entry)
{
	HttpRequest *request = file_perform(reader, file_request, entry->name, NULL, true, CurrentMemoryContext);
	char	   *length = http_answer_header(request, "Content-Length");

	entry->version = http_answer_header(request, "ETag");
	if (entry->version == NULL)
		entry->version = http_answer_header(request, "Last-Modified");
	if (entry->version != NULL && !file_version_is_usable(entry->version))
		entry->version = NULL;
	entry->size = length ? strtoll(length, NULL, 10) : -1;
	http_request_free(request);
}

/* Positions, from 1, of those to be read; negative: the ledger has them otherwise. */
static int
look_up(const Sync *sync, List *entries, bool full, Datum **positions)
{
	int			n = list_length(entries);
	Oid			types[5] = {INT8OID, TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID, BOOLOID};
	Datum		values[5] = {Int64GetDatum(sync->id)};
	Datum	   *names = palloc(sizeof(Datum) * (n + 1));
	Datum	   *sizes = palloc(sizeof(Datum) * (n + 1));
	Datum	   *versions = palloc(sizeof(Datum) * (n + 1));
	Datum		found;
	bool		isnull;

	for (int i = 0; i < n; i++)
	{
		FileEntry  *entry = list_nth(entries, i);

		names[i] = CStringGetTextDatum(entry->name);
		sizes[i] = Int64GetDatum(entry->size);
		versions[i] = CStringGetTextDatum(entry->version ? entry->version : "");
	}
	values[1] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(sizes, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[3] = PointerGetDatum(construct_array(versions, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = BoolGetDatum(full);
	found = own_value("SELECT activate._file_news($1, $2, $3, $4, $5)", 5, types, values, NULL, &isnull);
	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(found), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  positions, NULL, &n);
	return n;
}

/* A file that has changed: rows that have a key are written over, events would be there twice. */
static bool
pass_over(const Sync *sync, FileEntry *entry)
{
	if (sync->mode == SYNC_APPEND)
	{
		write_down(sync, 0, entry, "changed since; not loaded again");
		ereport(WARNING,
				(errmsg("file \"%s\" has changed since sync \"%s\" loaded it, and is not loaded again", entry->name, sync->name),
				 errdetail("Mode \"append\" would add rows that are there already."),
				 errhint("Deliver what is new in files of their own, or use mode \"upsert\" with a key.")));
		return true;
	}
	ereport(MyBackendType == B_BG_WORKER ? LOG : NOTICE,
			(errmsg("file \"%s\" has changed since sync \"%s\" loaded it, and is read again", entry->name, sync->name)));
	return false;
}

void
file_begin(const Sync *sync, int64 run, FileEntry *entry)
{
	if (running.sync != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("files of sync \"%s\" cannot be loaded while those of sync \"%s\" are", sync->name, running.sync->name),
				 errhint("Let it run by a schedule instead of a trigger, for example 'after %s'.", running.sync->name)));
	entry->rows = -1;
	running.sync = sync;
	running.run = run;
	running.entry = entry;
}

void
file_end(void)
{
	const Sync *sync = running.sync;

	file_forget();
	if (running.entry->rows >= 0)
		write_down(sync, running.run, running.entry, NULL);
}

void
file_forget(void)
{
	running.sync = NULL;
}

FileEntry *
file_running(Oid relation)
{
	return running.sync != NULL && running.sync->source_rel == relation ? running.entry : NULL;
}

static void
write_down(const Sync *sync, int64 run, const FileEntry *entry, const char *note)
{
	Oid			types[7] = {INT8OID, TEXTOID, INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID};
	Datum		values[7];
	char		nulls[8] = "       ";

	values[0] = Int64GetDatum(sync->id);
	values[1] = CStringGetTextDatum(entry->name);
	values[2] = Int64GetDatum(entry->size);
	values[3] = CStringGetTextDatum(entry->version ? entry->version : "");
	values[4] = Int64GetDatum(entry->rows);
	values[5] = Int64GetDatum(run);
	values[6] = note ? CStringGetTextDatum(note) : (Datum) 0;
	if (note == NULL)
		nulls[6] = 'n';
	(void) own_value("SELECT activate._file_loaded($1, $2, $3, $4, $5, $6, $7)", 7, types, values, nulls, NULL);
}
