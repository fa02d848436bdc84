/*
 * reader.h
 *	  What the files of the room share with each other and nobody else.
 */
#ifndef ACTIVATE_FILE_READER_H
#define ACTIVATE_FILE_READER_H

#include <sys/stat.h>

#include "access/tupdesc.h"
#include "connector/connector.h"
#include "core/compat.h"
#include "file/file.h"
#include "foreign/fdwapi.h"
#include "utils/rel.h"

/* A record that is longer is no record: a quote or a bracket that nobody closed. */
#define FILE_MAX_RECORD	(64 * 1024 * 1024)
#define FILE_BLOCK		65536
#define FILE_SAMPLE		(8 * 1024 * 1024)	/* bytes of a sample, at most */

typedef enum FilePlace
{
	FILE_IN_DIRECTORY,
	FILE_AT_URL,
	FILE_IN_BUCKET
} FilePlace;

typedef enum FileFormat
{
	FILE_BY_COPY,				/* csv, tsv, text */
	FILE_JSON_LINES,
	FILE_JSON
} FileFormat;

/* What a column's options say beside its path. */
typedef struct FileColumnOptions
{
	List	   *formerly;		/* char *: names or places it had in older files */
	bool		optional;		/* NULL where a header does not have it */
} FileColumnOptions;

/* The options of a foreign table and its server. */
typedef struct FileTable
{
	Oid			table;
	Oid			server;
	char	   *shown;			/* schema.name, for messages */
	FilePlace	place;
	char	   *path;			/* the directory */
	char	   *url;			/* as given */
	char	   *endpoint;		/* of the object store */
	char	   *region;
	char	   *bucket;
	char	   *prefix;			/* in front of "files": "" or ends in a slash */
	char	   *files;			/* pattern; NULL: the URL is the file */
	int64		settle_us;		/* younger ones are not there yet */
	FileFormat	format;
	bool		header;
	int			encoding;
	char		quote;			/* of CSV; 0: none */
	char		escape;
	List	   *copy;			/* options of COPY: DefElem * */
	int			ncolumns;		/* all attributes, dropped ones included */
	TemplateColumn *columns;	/* by attnum - 1; path: where in the file, NULL: by its name */
	FileColumnOptions *more;	/* by attnum - 1 */
} FileTable;

/* The role whose rights and secret count. */
typedef struct FileReader
{
	const FileTable *table;
	Oid			userid;
	ConnectorAuth *auth;		/* NULL: files of the server */
} FileReader;

/* option.c */
extern FileTable *file_table_load(Oid relation, MemoryContext context);
extern FileReader *file_reader_create(Oid relation, Oid userid, MemoryContext context);

/* place.c: list of FileEntry *, in the order of their names. */
extern List *file_list(const FileReader *reader);
extern bool file_name_matches(const FileTable *table, const char *name);
extern bool file_version_is_usable(const char *version);
extern char *file_version_of(const struct stat *st);	/* of a file of the server */
extern FileEntry *file_entry(const char *name, int64 size, char *version, TimestampTz modified);

/* remote.c: a request that is to be signed (object store) or carries the secret. */
extern HttpRequest *file_request(const FileReader *reader, const char *url, const char *condition, MemoryContext context);
/* Sends it; anything but a 2xx is an ERROR.  stream: its head is there, the body is to be read.  make: again, after a wait. */
typedef HttpRequest *(*FileMakeRequest) (const FileReader *reader, const char *what, const char *condition, MemoryContext context);
extern HttpRequest *file_perform(const FileReader *reader, FileMakeRequest make, const char *what, const char *condition,
								 bool stream, MemoryContext context);
extern void file_check_ended(const HttpRequest *request);

/* s3.c */
extern void file_bucket_parse(FileTable *table);
extern List *file_bucket_list(const FileReader *reader);
extern HttpRequest *file_bucket_request(const FileReader *reader, const char *name, const char *condition, MemoryContext context);
extern char *file_decode(const char *text, size_t len);	/* percent-encoded */

/* stream.c */
typedef struct FileStream FileStream;

extern FileStream *file_stream_open(const FileReader *reader, const FileEntry *entry, MemoryContext context);
/* At most so many bytes; 0: the end. */
extern int	file_stream_read(FileStream *stream, void *buffer, int size);
extern int64 file_stream_given(const FileStream *stream);	/* bytes so far */
extern void file_stream_close(FileStream *stream);

/* What is being read; for messages. */
typedef struct FileSpot
{
	const char *name;
	int64		line;			/* 0: none yet */
	const char *column;			/* NULL: none */
	int64		offset;			/* of a byte that is no character, from 1; 0: unknown */
	int64		opened;			/* line of a quote that is never closed; 0: none */
} FileSpot;

/* Rows of one file.  needed: list of attribute numbers, others are NULL. */
typedef struct FileRows FileRows;
struct FileRows
{
	const FileReader *reader;
	FileStream *stream;
	FileSpot	spot;
	Relation	relation;
	List	   *needed;
	MemoryContext context;		/* as long as the file */
	bool		(*next) (FileRows *rows, Datum *values, bool *nulls);	/* in a memory context for the row */
	void		(*close) (FileRows *rows);
	void		(*explain) (FileRows *rows, int code);	/* completes the spot after an ERROR; may be NULL */
	void	   *state;
};

/* error.c: in PG_CATCH: the error, told as one of the file; what is none (a cancel) is thrown on as it is. */
pg_noreturn extern void file_rethrow(FileRows *rows, MemoryContext context);

/* Columns of every table that says where a row comes from, if it has them. */
#define FILE_NAME_COLUMN	"_file"
#define FILE_LINE_COLUMN	"_line"

extern void file_csv_open(FileRows *rows);
extern void file_json_open(FileRows *rows);

/* Of a file that was opened with no column needed: at most so many records, as members of a JSON array. */
extern void file_csv_sample(FileRows *rows, int most, StringInfo out, List **names);
extern void file_json_sample(FileRows *rows, int most, StringInfo out);

/* ledger.c: what a run wants to be read of this table; NULL: there is no such run. */
extern FileEntry *file_running(Oid relation);
/* The file that was written last, of those that a run of the sync would take; NULL: there is none. */
extern FileEntry *file_newest(const Sync *sync, const FileReader *reader);

/* scan.c */
extern void file_scan_routine(FdwRoutine *routine);

#endif							/* ACTIVATE_FILE_READER_H */
