/*
 * declare.h
 *	  A declaration on its way from the arguments of activate_sync() to a row
 *	  of activate.sync.  Private to the room.
 */
#ifndef ACTIVATE_DECLARE_H
#define ACTIVATE_DECLARE_H

#include "catalog/analyze.h"
#include "catalog/sync.h"
#include "connector/connector.h"

/* A column of the target and what fills it. */
typedef struct DeclaredColumn
{
	char	   *name;
	char	   *text;			/* in the map; NULL: a column of the same name */
	Node	   *expression;
	Oid			type;			/* of the target's column; InvalidOid: takes what comes */
	int32		typmod;
} DeclaredColumn;

typedef struct DeclaredKey
{
	char	   *name;			/* in the source */
	Var		   *column;
	char	   *target;			/* target column that it is mapped to, or NULL */
} DeclaredKey;

/* A table of options.watch, and the columns that hold the key. */
typedef struct DeclaredWatch
{
	Oid			relation;
	List	   *names;			/* char * */
	List	   *attributes;		/* integers: their numbers */
} DeclaredWatch;

typedef struct Declaration
{
	/* the arguments */
	char	   *name;
	char	   *source_text;
	char	   *target;
	char	   *key_text;		/* NULL: default */
	Jsonb	   *map;			/* NULL: same names */
	char	   *mode_text;
	char	   *capture_text;
	char	   *schedule;		/* NULL: none */
	Jsonb	   *options;

	/* what they mean */
	Sync	   *old;			/* the declaration of this name so far, or NULL */
	Oid			owner;
	SyncMode	mode;
	SyncCapture capture;
	SyncKind	kind;
	SyncSource *source;
	Oid			target_rel;		/* InvalidOid until it is created */
	Connector  *connector;		/* API targets */
	List	   *target_columns;	/* DeclaredColumn without expression: what may be mapped; NIL: anything */
	List	   *target_keys;	/* String: what identifies a row in the target */
	List	   *columns;		/* DeclaredColumn */
	char	   *unsent;			/* source columns that go nowhere, for a NOTICE; NULL: none */
	List	   *keys;			/* DeclaredKey */
	Var		   *cursor;			/* options.cursor, or that of options.newest, or NULL */
	List	   *watched;		/* DeclaredWatch */
	Query	   *query;			/* Q */
} Declaration;

/* options.c */
extern void declare_check_options(const Declaration *declaration);
extern char *declare_option(const Declaration *declaration, const char *name);

/* target.c */
extern void declare_open_target(Declaration *declaration);
extern void declare_create_target(Declaration *declaration);
extern void declare_check_target(const Declaration *declaration);

/* view.c: options.materialized */
extern bool declare_is_view(const Declaration *declaration);
extern void declare_check_materialized(const Declaration *declaration);
extern void declare_open_view(Declaration *declaration);
extern void declare_create_view(Declaration *declaration);

/* history.c: options.history */
extern bool declare_keeps_history(const Declaration *declaration);
extern bool declare_is_version_column(const Declaration *declaration, const char *name);
extern void declare_check_history(const Declaration *declaration);

/* conflict.c: options.conflict, options.newest */
extern bool declare_is_conflict(const JsonbValue *value);
extern bool declare_is_newest(const JsonbValue *value);
extern void declare_check_conflict(const Declaration *declaration);
extern Var *declare_newest(const Declaration *declaration);
extern void declare_conflict_changed(const Sync *old, const Sync *new);

/* map.c */
extern void declare_map(Declaration *declaration);
extern void declare_keys(Declaration *declaration);
extern void declare_query(Declaration *declaration);

/* watch.c: options.watch */
extern bool declare_watches(const Declaration *declaration);
extern void declare_watch_implies(Declaration *declaration);
extern bool declare_has_no_triggers(const Declaration *declaration);
extern void declare_watch(Declaration *declaration);
extern void declare_store_watch(const Declaration *declaration, int64 id);

/* store.c */
extern int64 declare_store(const Declaration *declaration);

#endif							/* ACTIVATE_DECLARE_H */
