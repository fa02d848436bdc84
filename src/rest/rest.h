/*
 * rest.h
 *	  The foreign data wrapper "activate": web APIs as foreign tables.
 *
 * Nothing above this room includes it but through SQL: a sync sees foreign
 * tables.  What is here is shared by the files of the room.
 *
 *		option.c	handler and validator
 *		url.c		URLs that an API hands us: resolved, kept on the origin
 *		link.c		Link headers, for the next page
 *		fetch.c		one page: request, waiting, refusals, JSON
 *		page.c		page after page, record after record
 *		convert.c	a record to a row
 *		scan.c		planning and executing a SELECT
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
#include "core/identity.h"
#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "nodes/bitmapset.h"
#include "utils/jsonb.h"

/* What is read for whom; in every message, secrets nowhere. */
typedef struct RestSource
{
	const Connector *connector;
	const ConnectorAuth *auth;
	const char *table;			/* schema.name, for messages */
} RestSource;

/* url.c: reference is relative to base; NULL if it is no URL.  shown: without query, userinfo and secret. */
extern char *rest_url_resolve(const char *base, const char *reference);
extern bool rest_url_same_origin(const char *one, const char *other);
extern char *rest_url_shown(const ConnectorAuth *auth, const char *url);

/*
 * fetch.c: url (without secrets) read into context; waits out throttling;
 * anything but a 2xx is an ERROR.  shown is the URL for messages.
 */
extern HttpRequest *rest_fetch(const RestSource *source, const char *url,
							   const char *shown, MemoryContext context);
/* The document of an answer; NULL for 204 (no content). */
extern Jsonb *rest_fetch_document(const RestSource *source, const HttpRequest *request,
								  const char *shown);

/* page.c: records one by one, the next page only when this one is used up. */
typedef struct RestPager RestPager;

extern RestPager *rest_pager_create(const RestSource *source, MemoryContext context);
extern bool rest_pager_next(RestPager *pager, JsonbValue *record);	/* good until the next call */
extern void rest_pager_rewind(RestPager *pager);
extern int64 rest_pager_pages(const RestPager *pager);	/* read so far, rewound or not */
extern char *rest_pager_describe(const Connector *connector);	/* paging, for EXPLAIN */
extern char *rest_pager_first_url(const Connector *connector);

/* convert.c: needed lists the attribute numbers to fill, the others are NULL. */
typedef struct RestConverter RestConverter;

extern RestConverter *rest_converter_create(const RestSource *source, TupleDesc desc,
											List *needed, MemoryContext context);
extern void rest_convert(RestConverter *converter, const JsonbValue *record, int64 row,
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
extern char *rest_key_text(const Connector *connector);
extern OutboxOp rest_command_op(const Connector *connector, CmdType command);
extern char *rest_junk_name(Form_pg_attribute attribute);
extern void rest_refuse_write(Relation relation, const char *verb, const char *hint);
extern void rest_refuse_conflict(Relation relation);
extern void rest_refuse_key(Oid relation);	/* not what it was when the statement was planned */
extern void rest_check_assigned(Relation relation, const Connector *connector, const Bitmapset *assigned);
extern void rest_explain_intent(Relation relation, CmdType command, const Bitmapset *assigned, const char *how,
								struct ExplainState *es);

/* Their callbacks into the handler's table */
extern void rest_scan_routine(FdwRoutine *routine);
extern void rest_writable_routine(FdwRoutine *routine);
extern void rest_modify_routine(FdwRoutine *routine);
extern void rest_direct_routine(FdwRoutine *routine);
extern List *rest_import(ImportForeignSchemaStmt *stmt, Oid server);
extern char *rest_table_name(Oid relation);	/* schema.name, for messages */

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
