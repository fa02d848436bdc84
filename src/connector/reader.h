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
#include <stdint.h>

/* What an answer is declared to mean; the order is that of gravity where several codes are found. */
typedef enum AnswerVerdict
{
	VERDICT_NONE,				/* nothing was declared of it */
	VERDICT_AUTH,
	VERDICT_CONFIG,				/* neither row nor credential is to blame: somebody must act */
	VERDICT_THROTTLED,
	VERDICT_LOCKED,				/* a repeat of fewer rows may pass */
	VERDICT_TRANSIENT,
	VERDICT_INVALID_BATCH,		/* one of the rows is to blame */
	VERDICT_INVALID_ROW,
	VERDICT_SILENT,				/* accepted, but nothing was applied */
	VERDICT_WARNING,			/* accepted */
	VERDICT_OK
} AnswerVerdict;

typedef struct AnswerTexts
{
	int			n;
	char	  **texts;
} AnswerTexts;

typedef struct AnswerRange
{
	int			least;
	int			most;
} AnswerRange;

/* All that is given must hold, of one value at path ("*": of any element there). */
typedef struct AnswerCondition
{
	int			nstatuses;
	AnswerRange *statuses;		/* HTTP's, or that of an element */
	char	   *header;			/* the value is that of a header */
	char	   *path;			/* NULL without header: there is only a status */
	bool		asks_value;		/* by one of these: */
	AnswerTexts is;
	AnswerTexts not_in;
	AnswerTexts contains;		/* in whatever case */
	bool		has_min;
	bool		has_max;
	double		min;
	double		max;
	bool		asks_exists;	/* is there something, or not? */
	bool		exists;
} AnswerCondition;

typedef struct AnswerRule
{
	int			nconditions;	/* all must hold */
	AnswerCondition *conditions;
	AnswerVerdict verdict;
	int64_t		wait_ms;		/* -1: not said */
	char	   *wait_at;		/* path of a number of seconds */
	char	   *reason;			/* the definition's own words */
} AnswerRule;

typedef struct AnswerRules
{
	int			n;
	AnswerRule *rules;			/* the first that holds decides */
} AnswerRules;

/* A list in the answer whose elements name rows: by a value of theirs, or by position. */
typedef struct AnswerList
{
	char	   *path;
	char	   *key;			/* "": the element; "$name": its name; may hold a list of values */
	char	   *column;			/* of the row that has this value; "$id": the message's */
	char	   *index;			/* instead of key and column */
	char	   *error;
	char	   *id;
	AnswerVerdict verdict;
} AnswerList;

/* How the outcome of each row is read from a 2xx (or 207) answer. */
typedef enum AnswerShape
{
	ANSWER_STATUS,				/* the HTTP status says it for all */
	ANSWER_ARRAY,				/* one element per row, in the order sent */
	ANSWER_ERRORS,				/* a list of failures that name an index */
	ANSWER_KEYED,				/* elements that echo a key */
	ANSWER_LISTS,				/* lists of values, one for each kind of outcome */
	ANSWER_COUNTS				/* how many failed, not which */
} AnswerShape;

typedef struct ConnectorAnswer
{
	AnswerShape shape;
	bool		optional;		/* absent list: judged by the HTTP status */
	char	   *path;			/* of the list */
	char	   *status;			/* in an element: a number classed as an HTTP status */
	char	   *ok;				/* in an element: a boolean */
	char	   *error;			/* in an element: reason */
	bool		by_error;		/* something there is a refusal: nothing else says what is one */
	char	   *index;			/* ANSWER_ERRORS: position of the row ... */
	int			first;			/* ... counted from here */
	char	   *key;			/* ANSWER_KEYED: the echoed value ... */
	char	   *column;			/* ... and the row's column that it equals */
	char	   *id;				/* in an element (or single answer): the remote id */
	AnswerRules rules;			/* of the answer as a whole, whatever its status */
	AnswerRules row_rules;		/* of an element */
	int			nsuccess;		/* what a 2xx must fulfil */
	AnswerCondition *success;
	int			nrow_success;	/* what an element must fulfil */
	AnswerCondition *row_success;
	int			nlists;
	AnswerList *lists;
	AnswerVerdict unmentioned;	/* of a row in none of the lists; VERDICT_NONE: ambiguous */
	char	   *failed;			/* paths of numbers of rows */
	char	   *accepted;
} ConnectorAnswer;

/* A rule that holds, and the definition's text that was found in the answer (NULL: none). */
typedef struct ReaderMatch
{
	const AnswerRule *rule;
	const char *mark;
} ReaderMatch;

/* What an answer says of one row.  Texts belong to the reader and are UTF-8. */
typedef struct ReaderRow
{
	bool		mentioned;
	bool		unnamed;		/* by no list, and that says something: it counts as mentioned */
	bool		failed;			/* said so otherwise than by status */
	bool		unsure;			/* some rows failed, and this may be one of them */
	int			status;			/* 0: none was given */
	AnswerVerdict verdict;		/* declared, by rule or list */
	ReaderMatch match;
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
 * Fills rows[n] as answer says.  keys[l][n]: for each list that names rows by
 * a value (ANSWER_KEYED: the only one), what each row's column holds (NULL
 * entries match nothing).
 */
extern ReaderResult reader_rows(const Reader *reader, const ConnectorAnswer *answer,
								const char *const *const *keys, int n, ReaderRow *rows);

/* What rules look at besides the body: the value of a header, or NULL. */
typedef struct ReaderContext
{
	int			status;
	const char *(*header) (void *arg, const char *name);
	void	   *arg;
} ReaderContext;

/* The first rule that the answer as a whole fulfils; rule NULL: none. */
extern ReaderMatch reader_judge(const Reader *reader, const AnswerRules *rules, const ReaderContext *context);

/* Does the answer fulfil what a 2xx must? */
extern bool reader_succeeded(const Reader *reader, const ConnectorAnswer *answer, const ReaderContext *context);

/* Does it begin like JSON, and is none? */
extern bool reader_broken(const Reader *reader);

/* The number of seconds at path, in milliseconds; -1: there is none. */
extern int64_t reader_seconds_at(const Reader *reader, const char *path);

/* How many elements the array at path has; -1: there is none. */
extern int	reader_count(const Reader *reader, const char *path);

/* The scalar at path; NULL: there is none. */
extern const char *reader_text_at(const Reader *reader, const char *path);

/* Why the call as a whole failed: at path, else where APIs usually say it.  NULL: not said. */
extern const char *reader_reason(const Reader *reader, const char *path);

#endif							/* ACTIVATE_READER_H */
