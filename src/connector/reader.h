/*
 * reader.h
 *	  Reading what an API answered: untrusted bytes to one verdict per row.
 *
 * Plain C over json-c, without postgres.h (whose json_object() clashes with
 * json-c's type), so that it cannot throw and can be fuzzed on its own.
 */
#ifndef ACTIVATE_READER_H
#define ACTIVATE_READER_H

#include <stdbool.h>
#include <stddef.h>

/* How the outcome of each row is read from a 2xx (or 207) answer. */
typedef enum AnswerShape
{
	ANSWER_STATUS,				/* the HTTP status says it for all */
	ANSWER_ARRAY,				/* one element per row, in the order sent */
	ANSWER_ERRORS,				/* a list of failures that name an index */
	ANSWER_KEYED				/* elements that echo a key */
} AnswerShape;

typedef struct ConnectorAnswer
{
	AnswerShape shape;
	bool		optional;		/* absent list: judged by the HTTP status */
	char	   *path;			/* of the list */
	char	   *status;			/* in an element: a number classed as an HTTP status */
	char	   *ok;				/* in an element: a boolean */
	char	   *error;			/* in an element: reason */
	char	   *index;			/* ANSWER_ERRORS: position of the row, from 0 */
	char	   *key;			/* ANSWER_KEYED: the echoed value ... */
	char	   *column;			/* ... and the row's column that it equals */
	char	   *id;				/* in an element (or single answer): the remote id */
} ConnectorAnswer;

/* What an answer says of one row.  Texts belong to the reader and are UTF-8. */
typedef struct ReaderRow
{
	bool		mentioned;
	bool		failed;			/* said so otherwise than by status */
	int			status;			/* 0: none was given */
	const char *reason;			/* NULL: none was given */
	const char *id;				/* NULL: none was given */
} ReaderRow;

typedef enum ReaderResult
{
	READER_DONE,				/* rows are filled */
	READER_ABSENT,				/* nothing about rows, and that is allowed */
	READER_NO_JSON,				/* the shape needs JSON and this is none */
	READER_MISMATCH				/* JSON of another shape or length */
} ReaderResult;

typedef struct Reader Reader;

/* Never NULL but for lack of memory; close it whatever is found. */
extern Reader *reader_open(const char *text, size_t len);
extern void reader_close(Reader *reader);

/*
 * Fills rows[n] as answer says.  keys[n]: for ANSWER_KEYED, what each row's
 * column holds (NULL entries match nothing).
 */
extern ReaderResult reader_rows(const Reader *reader, const ConnectorAnswer *answer,
								const char *const *keys, int n, ReaderRow *rows);

/* The scalar at path; NULL: there is none. */
extern const char *reader_text_at(const Reader *reader, const char *path);

/* Why the call as a whole failed: at path, else where APIs usually say it.  NULL: not said. */
extern const char *reader_reason(const Reader *reader, const char *path);

#endif							/* ACTIVATE_READER_H */
