/*
 * connector.h
 *	  What an API wants to be told and how it answers: a definition (JSON),
 *	  compiled for one foreign table.  docs/connectors.md is the vocabulary.
 *
 * Effective definition of a foreign table, later ones overrule: the row of
 * activate.connector named by the server's option "connector"; the server's
 * options; the object's entry in "objects"; the foreign table's own options.
 */
#ifndef ACTIVATE_CONNECTOR_H
#define ACTIVATE_CONNECTOR_H

#include "http/pool.h"
#include "outbox/outbox.h"
#include "template/template.h"

/* Where the secret goes; from the user mapping's option "secret". */
typedef struct ConnectorAuth
{
	Oid			userid;			/* of the mapping found; InvalidOid: public */
	bool		present;
	int			nheaders;
	char	  **header_names;
	char	  **header_values;
	int			nquery;
	char	  **query_names;
	char	  **query_values;
} ConnectorAuth;

typedef enum PageStyle
{
	PAGE_NONE, PAGE_CURSOR, PAGE_NUMBER, PAGE_OFFSET, PAGE_NEXT_URL, PAGE_LINK
} PageStyle;

typedef struct ConnectorRead
{
	bool		possible;
	char	   *method;			/* GET */
	char	   *path;
	int			nquery;			/* fixed query parameters */
	char	  **query_names;
	char	  **query_values;
	char	   *records;		/* path of the array in the answer; "": the root */
	PageStyle	style;
	char	   *param;			/* cursor, page number or offset goes here */
	char	   *next;			/* path of the cursor or next URL in the answer */
	char	   *size_param;
	int			size;			/* rows per page; 0: not told */
	int			first;			/* number of the first page */
} ConnectorRead;

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

typedef struct ConnectorWrite
{
	bool		possible;
	char	   *method;
	char	   *path;			/* template over the row, the key and remote_id */
	int			batch;			/* rows per call; 1: single */
	char	   *envelope;		/* batch > 1: path of the array of rows; "": the bare array */
	bool		no_body;
	bool		idempotent;		/* repeating it is harmless */
	ConnectorAnswer answer;
} ConnectorWrite;

/* Bodies that are not built from columns. */
typedef enum ConnectorFormat
{
	FORMAT_OBJECT,				/* the columns at their paths: every definition */
	FORMAT_CHANGE,				/* webhook: SEMANTICS 5 */
	FORMAT_ROW					/* webhook: the bare row */
} ConnectorFormat;

typedef struct Connector
{
	char	   *name;			/* of the connector */
	char	   *object;
	Oid			table;
	Oid			server;
	char	   *base_url;
	int			nheaders;
	char	  **header_names;
	char	  **header_values;	/* templates */
	ConnectorFormat format;
	bool		free_columns;	/* hook.change: any field may be sent */
	int			ncolumns;
	TemplateColumn *columns;
	int			nkeys;
	char	  **key;			/* target columns */
	ConnectorRead read;
	ConnectorWrite insert;
	ConnectorWrite update;
	ConnectorWrite upsert;
	ConnectorWrite delete;
} Connector;

/* Compiles for a foreign table of ours; errors name option and valid values.  Needs a transaction. */
extern Connector *connector_load(Oid foreign_table, MemoryContext context);

/* The mapping of a role (else public) and its secret; files are read here.  Needs a transaction. */
extern ConnectorAuth *connector_auth(Oid server, Oid userid, MemoryContext context);

/* The operation's entry, or NULL if the object cannot do it. */
extern const ConnectorWrite *connector_write(const Connector *connector, OutboxOp op);

/* One row to be sent. */
typedef struct ConnectorRow
{
	OutboxOp	op;
	const char *id;				/* uuid text, SEMANTICS 3 */
	int64		seq;
	const char *sync;
	Jsonb	   *key;			/* source names */
	Jsonb	   *target_key;		/* target names: for templates of deletes; may be NULL */
	Jsonb	   *row;			/* flat; NULL for delete */
	const char *remote_id;		/* NULL: unknown */
} ConnectorRow;

/*
 * The request for these rows (one operation unless format is change), without
 * secrets; call_key goes into Idempotency-Key.  body is in context.
 */
extern HttpRequest *connector_request(const Connector *connector, const ConnectorRow *rows, int n,
									  const char *call_key, MemoryContext context);
/* Adds the secret: headers and query.  Returns the request to send (the URL may change). */
extern void connector_authorize(HttpRequest *request, const ConnectorAuth *auth);

typedef enum AnswerClass
{
	ANSWER_OK,
	ANSWER_REJECTED,			/* this row, for good */
	ANSWER_RETRY,				/* an attempt was used up */
	ANSWER_THROTTLED,			/* wait retry_after_ms, no attempt */
	ANSWER_AUTH,				/* pause the target, no attempt */
	ANSWER_OUTAGE,				/* no connection: no attempt */
	ANSWER_AMBIGUOUS,			/* may have been applied: an attempt, same id again */
	ANSWER_SPLIT				/* 413, or 400/422 of a batch: bisect at once */
} AnswerClass;

typedef struct RowAnswer
{
	AnswerClass class;
	int			code;			/* HTTP or per-row status; 0: none */
	char	   *reason;			/* palloc'd; NULL if ok; never a body */
	char	   *remote_id;
} RowAnswer;

/*
 * Reads a finished request: fills answers[n]; returns the class of the call
 * as a whole (what concerns the target: OK, RETRY, THROTTLED, AUTH, OUTAGE...).
 * retry_after_ms: -1 if not told (Retry-After in seconds or as a date).
 */
extern AnswerClass connector_answer(const Connector *connector, const HttpRequest *request,
									const ConnectorRow *rows, int n,
									RowAnswer *answers, int64 *retry_after_ms);

/* Is this foreign table one of ours?  Its server, or InvalidOid. */
extern Oid	connector_server_of(Oid relation);

/* Checks a definition (activate_connector, options of a server or table); errors with hints. */
extern void connector_check_definition(Jsonb *definition);

#endif							/* ACTIVATE_CONNECTOR_H */
