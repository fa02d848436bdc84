/*
 * merge.h
 *	  DML on a foreign table: intents that one message can stand for.
 */
#ifndef ACTIVATE_DELIVER_MERGE_H
#define ACTIVATE_DELIVER_MERGE_H

#include "outbox/outbox.h"

typedef struct DeliverMerge
{
	int			n;				/* intents taken in */
	OutboxOp	op;
	Jsonb	   *body;
	bool		nothing;		/* they cancel each other */
	bool		tried;			/* an attempt may have reached the target */
	bool		alone;
} DeliverMerge;

extern void deliver_merge_begin(DeliverMerge *merge, const OutboxIntent *first, bool uncertain);
extern bool deliver_merge_add(DeliverMerge *merge, const OutboxIntent *next);

#endif							/* ACTIVATE_DELIVER_MERGE_H */
