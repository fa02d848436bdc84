/*
 * copy.h
 *	  Reading the tables of another PostgreSQL by COPY (internal to the room).
 *
 * copy_plan.c finds the scans of postgres_fdw in the statement of a run and puts
 * scans of ours in their place, copy_remote.c speaks with the other server,
 * copy_column.c says in which form each column comes, copy_scan.c reads.
 * Without libpq (see Makefile) there is none of it.
 */
#ifndef ACTIVATE_COPY_H
#define ACTIVATE_COPY_H

#ifdef ACTIVATE_LIBPQ

#include "fmgr.h"
#include "libpq-fe.h"
#include "nodes/plannodes.h"

/* One connection, owned by the memory context of its remote. */
typedef struct CopyConnection
{
	PGconn	   *conn;
	bool		busy;			/* a COPY is under way */
	const char *sql;			/* that COPY */
	char	   *row;			/* the last row of it, libpq's memory; NULL: none */
} CopyConnection;

/* A server as one user sees it during one statement. */
typedef struct CopyRemote
{
	Oid			serverid;
	Oid			userid;
	char	   *name;
	bool		shared;			/* more than one scan: all of them have the first one's snapshot */
	char	   *snapshot;		/* exported by the first connection */
	List	   *connections;	/* of CopyConnection */
	MemoryContext context;
} CopyRemote;

typedef enum CopyForm
{
	COPY_BOOL, COPY_INT2, COPY_INT4, COPY_INT8, COPY_FLOAT4, COPY_FLOAT8, COPY_TIMESTAMP, COPY_DATE, COPY_UUID, COPY_TEXT,
	COPY_RECEIVE,				/* by the type's receive function */
	COPY_INPUT					/* the text that the type's input function reads */
} CopyForm;

typedef struct CopyColumn
{
	int			position;		/* in the scan's tuple, from 0 */
	char	   *name;
	Oid			type;
	int32		typmod;
	CopyForm	form;
	Oid			ioparam;
	FmgrInfo	function;		/* of the last two forms */
} CopyColumn;

/* What is read by one scan. */
typedef struct CopySource
{
	CopyRemote *remote;
	char	   *sql;			/* COPY (...) TO STDOUT */
	int			ncolumns;
	CopyColumn *columns;
	int			nfields;		/* of each row that comes: one where no column is asked for */
} CopySource;

/* copy_plan.c */
extern void copy_init(void);

/* This statement is that of a run, and executed next. */
extern void copy_arm(const char *statement);

/* copy_remote.c */

/* Connections for so many scans, in the present memory context; NULL: postgres_fdw must read them. */
extern CopyRemote *copy_remote_open(Oid serverid, Oid userid, int nscans);

/* What the query returns, owned by the present memory context. */
extern PGresult *copy_remote_describe(CopyRemote *remote, const char *query);
extern int	copy_remote_version(CopyRemote *remote);
extern CopyConnection *copy_remote_start(CopyRemote *remote, const char *sql);

/* The next message of a COPY, writable with one byte behind it, until the next call; NULL: there is none. */
extern char *copy_remote_next(CopyConnection *connection, int *length);

/* copy_column.c */

/* The forms of its columns, whose names and types are there, and the statement. */
extern void copy_choose_forms(CopySource *source, const char *query);

/* copy_scan.c */
extern CustomScan *copy_scan_make(ForeignScan *foreign, CopySource *source);

#else

static inline void copy_init(void) {}
static inline void copy_arm(const char *statement) {}

#endif							/* ACTIVATE_LIBPQ */

#endif							/* ACTIVATE_COPY_H */
