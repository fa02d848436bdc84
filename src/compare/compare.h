/*
 * compare.h
 *	  What a web API holds, beside what we sent it and what the source says.
 *
 * The application is read through its foreign table, as the sync's owner, and
 * compared with activate._sent.image (what we wrote last) and with the rows of
 * Q (what we would write): activate_compare() lists what differs, and before a
 * run options.conflict settles what of it is to be overwritten.
 */
#ifndef ACTIVATE_COMPARE_H
#define ACTIVATE_COMPARE_H

#include "catalog/sync.h"
#include "connector/connector.h"
#include "executor/spi.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* How a sync and what its target holds are compared. */
typedef struct Comparing
{
	const Sync *sync;
	Connector  *connector;
	int			n;				/* columns that are mapped and can be read back as they were sent */
	char	  **columns;
	char	  **types;
	bool	   *silent;			/* their NULL is not sent, or as something else */
	char	  **policies;		/* options.conflict */
	bool		by_key;			/* records are found by the columns that the key is mapped to; else by their id */
	TimestampTz since;			/* when reading began */
	Tuplestorestate *records;	/* of the application */
	TupleDesc	desc;
	int64		nrecords;
} Comparing;

/* application.c.  Errors if there is nothing to compare; verb begins the message: "compare". */
extern void compare_prepare(Comparing *it, const Sync *sync, const char *verb);

/* As the owner, with SPI connected: reads all of the target, and lets statements have it as _application. */
extern void compare_read(Comparing *it);

/*
 * The columns as $1 (names), $2 (types), $3 (silent) and $4 (policies) of a
 * statement; $5: is what was not read not there?  Pages by number shift when
 * something is deleted meanwhile.
 */
#define COMPARE_ARGUMENTS	5
extern void compare_arguments(const Comparing *it, Oid *types, Datum *values);

/* The beginning of a statement, WITH ..., up to "joined": see compare.sql. */
extern char *compare_statement(const Comparing *it, const char *function);

/* Runs it with these arguments over what is there now; what it says goes into result. */
extern void compare_execute(const char *sql, const Oid *types, const Datum *values, Tuplestorestate *result);

/* Does a column of this type come back as it was sent, so that it can be compared? */
extern bool compare_can(const Connector *connector, const char *name, const char *type);

/*
 * conflict.c: before a run of a sync that heeds its application is planned:
 * reads that, and writes down what the run must not overwrite.  whole: what is
 * not in the source is gone.
 */
extern void compare_settle(const Sync *sync, bool whole);

#endif							/* ACTIVATE_COMPARE_H */
