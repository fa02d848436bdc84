/*
 * explain.h
 *	  The lines of activate_explain().  Private to the room.
 */
#ifndef ACTIVATE_EXPLAIN_H
#define ACTIVATE_EXPLAIN_H

#include "catalog/sync.h"
#include "nodes/execnodes.h"

extern void explain_line(ReturnSetInfo *result, char *text);

/* estimate.c: what the changes cost at an API */
extern void explain_delivery(ReturnSetInfo *result, const Sync *sync, const RunCounts *counts);

#endif							/* ACTIVATE_EXPLAIN_H */
