/*
 * former.h
 *	  Values of another type than a sync was declared with, as the type that
 *	  they had (docs/drift.md).
 *
 * In the kept query such a value is a call of activate._former(), which raises
 * an error where a value does not fit, as a cast does.  quality_query() makes
 * that a NULL and a flaw of the row, wherever a value can be told to be of one
 * row.
 */
#ifndef ACTIVATE_QUALITY_FORMER_H
#define ACTIVATE_QUALITY_FORMER_H

#include "nodes/parsenodes.h"

/* The value as that type; a plain cast where no value can fail to fit. */
extern Node *former_value(Node *value, Oid type, int32 typmod);

/* Such a value of a column that has changed its type once more; alone if it has the former one again.  Other nodes as they are. */
extern Node *former_again(Node *node);

/* former.c: the cast itself. */
extern Node *former_cast(Node *value, Oid from, Oid type, int32 typmod);

/* The tree (copied) with plain casts instead, as people read and write them. */
extern Node *former_plain(Node *tree);

/* Changes the query: why a row of it is to be kept back, NULL where it is not; NULL: none can be. */
extern Expr *former_judgement(Query *query);

#endif							/* ACTIVATE_QUALITY_FORMER_H */
