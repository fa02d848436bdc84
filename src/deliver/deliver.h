/*
 * deliver.h
 *	  Outbox to HTTP: claim, render, batch, send, read the answer, settle.
 */
#ifndef ACTIVATE_DELIVER_H
#define ACTIVATE_DELIVER_H

#include "catalog/sync.h"
#include "connector/connector.h"

extern void deliver_init(void);		/* GUCs of delivery */

/*
 * A deliverer's life: serves the targets of MyDatabaseId whose server's oid
 * modulo deliverers equals slot, until asked to stop.  Called by the worker's
 * entry point with the database connected.
 */
extern void deliver_main(int slot, int deliverers);

/* A row rendered as it would be sent: SEMANTICS 1 decides op. */
typedef struct Rendered
{
	bool		found;			/* the row is in the source */
	bool		duplicate;		/* more than one row has this key */
	Jsonb	   *row;			/* flat, target names */
	int64		hash;
	char	   *flaw;			/* an expectation keeps the row back: which; NULL otherwise */
	bool		guarded;		/* it is gone, and the application has changed its record: see kept.c */
	char	   *error;			/* rendering this key failed: message; NULL otherwise */
	char		sqlstate[6];
} Rendered;

/*
 * Renders keys of a sync as its owner, read only, within
 * activate.render_timeout; one query for all, bisected on error so that one
 * bad row hurts only itself.  *reason is set, and false returned, if the sync
 * as a whole cannot be rendered (source gone, right revoked).
 */
extern bool deliver_render(const Sync *sync, Jsonb **keys, int n, Rendered *out,
						   char **reason, MemoryContext context);

/*
 * Builds the calls that would be sent of up to that many rows, as
 * activate_preview() does: the rows that there were, and the bytes of their calls.
 */
extern int64 deliver_sample(const Sync *sync, int limit, int64 *bytes);

#endif							/* ACTIVATE_DELIVER_H */
