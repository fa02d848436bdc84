/*
 * model.h
 *	  The graph of syncs: each reads relations that others write.
 *
 * Of a sync is kept which relations its query names (activate.sync.reads); all
 * else is found when it is asked for, by SQL (graph.sql): views may be replaced
 * and partitions attached at any time.  What the scheduler needs of it the worker writes into
 * activate._upstream whenever it reads its plan.
 */
#ifndef ACTIVATE_MODEL_H
#define ACTIVATE_MODEL_H

#include "nodes/parsenodes.h"

/* The relations that a query names, at any level: oids. */
extern List *model_reads(Query *query);

/* ERROR if a sync that is declared just now reads what comes of what it writes. */
extern void model_refuse_cycle(int64 sync, const char *name);

#endif							/* ACTIVATE_MODEL_H */
