/*
 * file.h
 *	  Files as relations: the foreign data wrapper "activate_file", and the
 *	  ledger of what syncs have loaded.
 *
 * A SELECT reads all matching files in the order of their names.  A run of a
 * sync whose source is such a table, and which adds what it reads (see
 * activate._file_ledger()), takes the files one by one that the ledger
 * activate.file does not have, and writes each down in the transaction that
 * loads it.
 *
 *		option.c	handler, validator, what the options say
 *		place.c		which files there are
 *		s3.c		object stores: signed requests, listing
 *		remote.c	requests, refusals, waiting out throttling
 *		stream.c	the bytes of a file, unpacked
 *		csv.c		CSV, TSV and text, by PostgreSQL's own COPY
 *		json.c		JSON arrays and lines
 *		error.c		what went wrong, with file, line and column
 *		scan.c		SELECT
 *		sample.c	what the newest file is like
 *		ledger.c	what runs have loaded
 */
#ifndef ACTIVATE_FILE_H
#define ACTIVATE_FILE_H

#include "catalog/sync.h"
#include "datatype/timestamp.h"

/* A file as it was listed. */
typedef struct FileEntry
{
	char	   *name;			/* whole path or URL, as the ledger has it */
	int64		size;			/* -1: not told */
	char	   *version;		/* time of change, ETag; NULL: not told */
	TimestampTz modified;		/* 0: not told */
	bool		changed;		/* the ledger has it otherwise */
	int64		rows;			/* of the last complete reading in a run; -1: none */
} FileEntry;

/* Does a run of the sync take one new file after the other? */
extern bool file_by_ledger(const Sync *sync);

/* Those it has not loaded yet (full: all), in the order of their names: list of FileEntry *. */
extern List *file_pending(const Sync *sync, bool full);

/*
 * What is done in between as the sync's source reads this file only; file_end()
 * writes it down, unless nobody has read it to its end.  After an ERROR
 * file_forget() is enough.
 */
extern void file_begin(const Sync *sync, int64 run, FileEntry *entry);
extern void file_end(void);
extern void file_forget(void);

extern bool file_is_table(Oid relation);

/* The first records of a file, as it tells them by names. */
typedef struct FileSample
{
	List	   *names;			/* char *: of the header; NIL: it is JSON, where names are in the records */
	char	   *records;		/* a JSON array of objects; of CSV with strings and nulls */
} FileSample;

/* Is anything in its files called by a name?  There is no such thing in CSV without a header. */
extern bool file_has_names(Oid relation);

/*
 * The name in a header, or the path in a record, of a column; NULL: it is none of the file's.  formerly: those
 * that it had in older files, as the option has them, or NULL.
 */
extern char *file_column_place(Oid relation, AttrNumber attnum, char **formerly);

/* Of a place its last name, as a column may be called. */
extern char *file_short_name(Oid relation, const char *place);

/* Of the file that was written last, of those that a run of the sync would read, as its owner; NULL: there is none. */
extern FileSample *file_sample(const Sync *sync, Oid relation, int most);

#endif							/* ACTIVATE_FILE_H */
