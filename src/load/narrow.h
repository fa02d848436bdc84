/*
 * narrow.h
 *	  Queued keys as the parameters of a load's statement.  Private to the room.
 */
#ifndef ACTIVATE_NARROW_H
#define ACTIVATE_NARROW_H

#include "catalog/sync.h"

typedef struct Narrow
{
	int			n;				/* parameters: $1 the keys as they were queued, the others columns of theirs */
	Oid		   *types;
	Datum	   *values;
	char	   *condition;		/* on k1.. of the sync's query by $2..; NULL: none */
} Narrow;

/* entries: jsonb[] */
extern Narrow *narrow_prepare(const Sync *sync, Datum entries);

#endif							/* ACTIVATE_NARROW_H */
