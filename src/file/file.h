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
 *		ledger.c	what runs have loaded
 */
#ifndef ACTIVATE_FILE_H
#define ACTIVATE_FILE_H

#include "catalog/sync.h"

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

#endif							/* ACTIVATE_FILE_H */
