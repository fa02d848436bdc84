/*
 * rest.h
 *	  The foreign data wrapper "activate": web APIs as foreign tables.
 *
 * Shared by the files of the room, and with the room of files, whose records and
 * tables are much the same.  Others know it through SQL only: a sync sees foreign
 * tables.
 *
 *		option.c	handler and validator
 *		url.c		URLs that an API hands us: resolved, kept on the origin
 *		link.c		Link headers, for the next page
 *		fetch.c		one page: request, budget, waiting
 *		kept.c		pages of before, which may not have changed
 *		refuse.c	everything that an answer can be instead of a page
 *		parse.c		a page's text: its records, and where the next page is
 *		page.c		page after page, record after record
 *		ahead.c		the pages that are asked for before they are needed
 *		value.c		a value of a page as text or jsonb; fast.c: as a datum of a usual type
 *		convert.c	a record to a row
 *		path.c		planning a SELECT
 *		scan.c		executing it
 *		sample.c	ANALYZE, and what the first page holds
 *		ask.c		which conditions of it the API can be asked for
 *		ask_value.c	their values as text
 *		asked.c		the requests that they make; asked_url.c: as URLs
 *		writable.c	what may be written, and planning it
 *		modify.c	INSERT, COPY, UPDATE and DELETE, executed
 *		direct.c	UPDATE and DELETE by key, without reading
 *		intent.c	a row to an intent in the outbox
 *		object.c	objects of a definition as CREATE FOREIGN TABLE
 *		target.c	activate_target(): server and user mapping
 *		tables.c	its schema and foreign tables
 */
#ifndef ACTIVATE_REST_H
#define ACTIVATE_REST_H

#include "access/tupdesc.h"
#include "connector/connector.h"
#include "core/compat.h"
#include "core/identity.h"
#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "nodes/bitmapset.h"
#include "nodes/pathnodes.h"
#include "template/seek.h"
#include "utils/date.h"
#include "utils/jsonb.h"

/* What is read for whom; in every message, secrets nowhere. */
typedef struct RestSource
{
	const Connector *connector;
	ConnectorAuth *auth;
	const char *table;			/* schema.name, for messages */
	struct RestEffort *effort;
	const struct RestAsk *ask;	/* NULL: as the definition says, no more */
} RestSource;

/* What a scan asks for beside what the definition says of every read; see ask.h. */
typedef struct RestAsk
{
	const char *path;			/* with the values that it names */
	int			n;				/* parameters of the query */
	const char **names;
	const char **values;		/* NULL: not known yet, for EXPLAIN ... */
	const char **labels;		/* ... which shows this */
	int			size;			/* rows of a page; 0: as declared */
	int64		requests;		/* that it takes so, pages aside */
} RestAsk;

/* url.c: reference is relative to base; NULL if it is no URL.  shown: without query, userinfo and secret. */
extern char *rest_url_resolve(const char *base, const char *reference);
extern bool rest_url_same_origin(const char *one, const char *other);
extern char *rest_url_shown(const ConnectorAuth *auth, const char *url);

/* From _PG_init; the second under preload only. */
extern void rest_guc_init(void);
extern void rest_init(void);

/* kept.c: a page as it was got before; in context.  NULL: there is none. */
typedef struct RestKept
{
	bool		etag;			/* else a date */
	char	   *validator;
	char	   *headers;
	char	   *body;
	size_t		length;
} RestKept;

extern RestKept *rest_kept_find(const RestSource *source, const char *url, MemoryContext context);
/* Keeps it, if the API says which version it is. */
extern void rest_kept_put(const RestSource *source, const char *url, const HttpRequest *request);

/* fetch.c: a page that is asked for, and what became of it. */
typedef struct RestCall
{
	char	   *url;			/* without secrets */
	char	   *shown;			/* the same for messages */
	int64		position;		/* number or offset of the page */
	bool		early;			/* asked for before it was needed */
	int			tries;			/* answers that asked to wait */
	HttpRequest *request;		/* NULL: not sent */
	RestKept   *kept;			/* what it was before, if it is asked whether that has changed; lives as long as request */
	bool		unchanged;		/* it has not: request is that page */
	int64		ticket;			/* of the account's budget */
	uint64		token;			/* serial of the access token that it was made with; 0: none */
	bool		renewed;		/* it was refused, and is asked for with another */
	bool		looked;			/* at how it ended: ... */
	bool		throttled;		/* asks to wait ... */
	int64		wait_ms;		/* ... so long */
} RestCall;

/* Sends it, if the budget has room now. */
extern bool rest_call_early(const RestSource *source, RestCall *call, MemoryContext context);
/* Sends it, if it was not sent, when the budget has room. */
extern void rest_call_begin(const RestSource *source, RestCall *call, MemoryContext context);
/* Has it finished?  Then what the answer says of the budget is known to all. */
extern bool rest_call_look(const RestSource *source, RestCall *call);
/* To be sent anew. */
extern void rest_call_drop(RestCall *call);
/* The page, waited for and for as long as the API asks to; anything but a 2xx is an ERROR. */
extern HttpRequest *rest_call_finish(const RestSource *source, RestCall *call, MemoryContext context);

/* refuse.c: the page did not come; its text is no JSON by type or encoding (text NULL: 204, no content). */
pg_noreturn extern void rest_refuse_answer(const RestSource *source, const HttpRequest *request, const char *shown);
extern const char *rest_answer_text(const RestSource *source, const HttpRequest *request,
									const char *shown, size_t *length);

/* ahead.c: the pages under way, in order. */
typedef struct RestAhead RestAhead;

extern RestAhead *rest_ahead_create(const RestSource *source, MemoryContext context);
/* Asks for this page, if it is not under way; all others before it are dropped. */
extern RestCall *rest_ahead_take(RestAhead *ahead, const char *url, const char *shown, int64 position);
/* Behind those that are under way, or as the first. */
extern void rest_ahead_add(RestAhead *ahead, const char *url, const char *shown, int64 position);
extern int	rest_ahead_count(const RestAhead *ahead);
extern int	rest_ahead_wrong(const RestAhead *ahead);	/* how often all were dropped because another page was needed */
extern int64 rest_ahead_last(const RestAhead *ahead);	/* position of the last */
extern void rest_ahead_send(RestAhead *ahead);	/* what was not, as far as the budget has room */
extern void rest_ahead_turn(RestAhead *ahead);
extern void rest_ahead_drop(RestAhead *ahead);	/* all of them */

/* parse.c: what of a page, or a record, is wanted: slots among its values. */
extern SeekSet *rest_wanted_create(MemoryContext context);
extern int	rest_want(SeekSet *wanted, const char *path, bool records);
extern int	rest_want_member(SeekSet *wanted, const char *name);

typedef struct RestPage RestPage;

extern RestPage *rest_page_create(const RestSource *source, SeekSet *records, MemoryContext context);
extern void rest_page_read(RestPage *page, const char *text, size_t length, const char *shown);
extern int64 rest_page_count(const RestPage *page);	/* records of it */
extern const SeekValue *rest_page_list(const RestPage *page);	/* all of them; NULL: none */
extern const SeekValue *rest_page_record(RestPage *page);
extern char *rest_page_next(const RestPage *page);

/* page.c: records one by one; good until the next call.  NULL: no more. */
typedef struct RestPager RestPager;

/* What was done for a scan, rewound or not. */
typedef struct RestEffort
{
	int64		requests;		/* sent */
	int64		pages;			/* read */
	int64		bytes;			/* of these */
	int64		unchanged;		/* of these, that did not come again */
} RestEffort;

/* The first page is that of the source's ask when it is rewound. */
extern RestPager *rest_pager_create(RestSource *source, SeekSet *records, MemoryContext context);
extern const SeekValue *rest_pager_next(RestPager *pager);
extern void rest_pager_rewind(RestPager *pager);
extern void rest_pager_close(RestPager *pager);	/* nothing is under way any more */
extern char *rest_pager_describe(const Connector *connector);	/* paging, for EXPLAIN */
extern char *rest_pager_first_url(const RestSource *source);

/* value.c: of a value of a page; text is that of ->>, NULL for null and nothing */
extern bool rest_value_is_native(void);
extern char *rest_value_text(const SeekValue *value, StringInfo buffer);
extern Jsonb *rest_value_jsonb(const SeekValue *value);

/* fast.c */
extern bool rest_fast_text(const SeekValue *value, Datum *datum);
extern bool rest_fast_int64(const SeekValue *value, int64 least, int64 most, int64 *result);
extern bool rest_fast_float8(const SeekValue *value, float8 *result);
extern bool rest_fast_date(const SeekValue *value, DateADT *result);
extern bool rest_fast_timestamptz(const SeekValue *value, TimestampTz *result);
/* A number, or its text, of units of so many microseconds since 1970, as timestamptz, timestamp or date. */
extern bool rest_fast_epoch(const SeekValue *value, int64 unit, Oid type, Datum *datum);

/* convert.c: needed lists the attribute numbers to fill, the others are NULL. */
typedef struct RestConverter RestConverter;

extern RestConverter *rest_converter_create(const RestSource *source, TupleDesc desc,
											List *needed, MemoryContext context);
extern SeekSet *rest_converter_wanted(const RestConverter *converter);	/* of a record */
extern void rest_convert(RestConverter *converter, const SeekValue *found, int64 row,
						 Datum *values, bool *nulls);
extern char *rest_clip(const char *text, int characters);

/* intent.c: some columns of a slot, to be rendered as one object */
typedef struct RestColumns
{
	int			n;
	AttrNumber *attnums;		/* in the slot */
	TupleDesc	desc;			/* blessed; NULL where n is 0 */
} RestColumns;

/* Writes rows of a foreign table as intents, in one statement. */
typedef struct RestIntent
{
	Connector  *connector;
	Oid			relation;
	TupleDesc	desc;			/* the relation's */
	Oid			owner;			/* of the foreign table */
	int64		sync;			/* 0: not looked up yet */
	OutboxOp	op;
	RestColumns key;			/* n 0: the table has none */
	RestColumns row;			/* the body */
	AttrNumber	free_row;		/* webhook: the column that is the row; else 0 */
	FmgrInfo	to_jsonb;
	MemoryContext scratch;		/* between enter and leave */
	MemoryContext caller;
	IdentityScope scope;
} RestIntent;

extern RestIntent *rest_intent_create(Relation relation, OutboxOp op, Bitmapset *given, MemoryContext context);
/* Around some rows: the settings of rendering, and memory that is gone afterwards. */
extern void rest_intent_enter(RestIntent *intent);
extern void rest_intent_leave(RestIntent *intent);
extern void rest_intent_insert(RestIntent *intent, TupleTableSlot *slot);
extern void rest_intent_append(RestIntent *intent, Jsonb *key, Jsonb *body);
extern Jsonb *rest_intent_render(RestIntent *intent, const RestColumns *columns, TupleTableSlot *slot);
extern const char *rest_null_column(const RestColumns *columns, TupleTableSlot *slot);

/* writable.c */
extern bool rest_is_key(const Connector *connector, const char *column);
extern OutboxOp rest_command_op(const Connector *connector, CmdType command);
extern char *rest_junk_name(Form_pg_attribute attribute);
extern void rest_refuse_write(Relation relation, const char *verb, const char *hint);
extern void rest_refuse_conflict(Relation relation);
extern void rest_refuse_key(Oid relation);	/* not what it was when the statement was planned */
extern void rest_check_assigned(Relation relation, const Connector *connector, const Bitmapset *assigned);
extern void rest_explain_intent(Relation relation, CmdType command, const Bitmapset *assigned, const char *how,
								struct ExplainState *es);

/* Their callbacks into the handler's table */
extern void rest_path_routine(FdwRoutine *routine);
extern void rest_scan_routine(FdwRoutine *routine);
extern void rest_sample_routine(FdwRoutine *routine);
extern void rest_writable_routine(FdwRoutine *routine);
extern void rest_modify_routine(FdwRoutine *routine);
extern void rest_direct_routine(FdwRoutine *routine);
extern List *rest_import(ImportForeignSchemaStmt *stmt, Oid server);
extern char *rest_table_name(Oid relation);	/* schema.name, for messages */

/* sample.c: can a page be read without knowing anything? */
extern bool rest_has_sample(Oid relation);
/* The records of the first page, a JSON array, as that role; NULL: the answer holds none. */
extern char *rest_sample(Oid relation, Oid userid);
/* Where the columns stand in a record, by attnum - 1; NULL: in no way that a name tells. */
extern char **rest_places(Oid relation);

/* Refuses to touch a column that a sync relies on; verb: "drop". */
extern void rest_check_unused(Oid relation, const char *column, const char *verb);

/* Numbers of the columns that the query of a scan looks at, and these clauses. */
extern List *rest_scan_needed(RelOptInfo *baserel, Oid foreigntableid, List *clauses);

/* object.c: an object that a server offers as CREATE FOREIGN TABLE */
extern char *rest_create_table(const char *schema, const ConnectorObject *object, const char *server);
extern char *rest_type_text(Oid type, int32 typmod);	/* qualified, safe in SQL */
extern void rest_object_type(const ConnectorObject *object, const ConnectorObjectColumn *column,
							 Oid *type, int32 *typmod);

/*
 * tables.c: for a target that was just declared or changed by these options;
 * was it present, and with what objects of its own (NULL: none)?
 */
extern void rest_target_tables(const char *target, Oid server, Jsonb *options, bool present, Jsonb *before);

#endif							/* ACTIVATE_REST_H */
