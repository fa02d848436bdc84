/*
 * remote.h
 *	  Foreign tables as their servers have them.  Private to the room.
 */
#ifndef ACTIVATE_DRIFT_REMOTE_H
#define ACTIVATE_DRIFT_REMOTE_H

#include "drift/change.h"
#include "nodes/bitmapset.h"

/* How it is found out what is there. */
typedef enum RemoteKind
{
	REMOTE_SERVER,				/* a database says what it would have imported */
	REMOTE_FILE,				/* the first records of a file are looked at */
	REMOTE_API					/* those of the first page */
} RemoteKind;

typedef struct RemoteColumn
{
	char	   *name;			/* there: of a column, in a header; the path of a JSON record */
	char	   *type;			/* of what is looked at: ours, if the values fit */
	Jsonb	   *print;			/* of its values, activate._drift_print(); NULL: not looked at */
	Datum		sample;			/* text[]: the values, where records are looked at */
	double		share;			/* of the records, that have it; 0: nobody has counted */
} RemoteColumn;

typedef struct RemoteTable
{
	const Sync *sync;
	RemoteKind	kind;
	Oid			relation;		/* ours */
	Oid			server;
	char	   *schema;			/* there */
	char	   *name;
	Bitmapset  *used;			/* columns of ours that the sync reads */
	List	   *columns;		/* RemoteColumn, in their order */
	List	   *before;			/* the same when it was looked at last; NIL: never */
	bool		stale;			/* ... and that is long ago */
	bool		open;			/* records need not have what others have: JSON */
	int64		records;		/* that were looked at */
} RemoteTable;

/* remote.c */
extern List *drift_remote_tables(const Sync *sync, Query *query);
extern bool drift_remote_ask(RemoteTable *table);
extern char *drift_remote_name(Oid relation, AttrNumber attnum);
/* The same of all columns, by attnum - 1. */
extern char **drift_remote_names(Oid relation);
extern RemoteKind drift_remote_kind(Oid relation);
/* May a column be called otherwise here than on its server? */
extern bool drift_remote_knows_names(Oid relation);
extern RemoteColumn *drift_remote_column(const List *columns, const char *name);

/* met.c: what was met in the first records. */
extern void drift_met_ask(RemoteTable *table);
/* What these records do not have by chance is there as it was. */
extern void drift_met_keep(RemoteTable *table);
extern void drift_met_print(RemoteTable *table);
/* Are values of it values of that type? */
extern bool drift_met_fits(const RemoteTable *table, const RemoteColumn *column, const char *type);

/* guess.c: the new column that a column of ours most probably is now, and how probably; NULL: none. */
extern RemoteColumn *drift_guess(const RemoteTable *table, const char *gone, const List *candidates, double *confidence);

/* print.c: fingerprints of the columns that are there under the names of ours, and of new ones. */
extern void drift_print_known(const Sync *sync, RemoteTable *table);
extern void drift_print_new(const Sync *sync, RemoteTable *table, List *columns);
extern void drift_remember(const Sync *sync, RemoteTable *table);
extern void drift_recall(const Sync *sync, RemoteTable *table);

/* far.c: how a foreign table follows its server. */
extern char *drift_rename_sql(const Drift *drift);
extern char *drift_rename_back_sql(const Drift *drift);
/* What a new column is called here. */
extern char *drift_new_name(const Drift *drift);
extern char *drift_type_sql(const Drift *drift);
extern char *drift_add_sql(const Drift *drift);

#endif							/* ACTIVATE_DRIFT_REMOTE_H */
