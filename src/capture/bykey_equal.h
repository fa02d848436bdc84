/*
 * bykey_equal.h
 *	  What a query says is equal.  Private to bykey.c.
 */
#ifndef ACTIVATE_BYKEY_EQUAL_H
#define ACTIVATE_BYKEY_EQUAL_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "nodes/primnodes.h"

/*
 * Two columns; the left one is of the query itself, both resolved.  What an outer
 * join compares is equal where its nullable side is not NULL: of that side's
 * column it says all, of the other's nothing where there is no row to it.
 */
typedef struct EqualPair
{
	Var		   *left;
	Var		   *right;
	bool		tells_left;		/* left is NULL, or what right is */
	bool		tells_right;
} EqualPair;

typedef struct EqualFacts
{
	List	   *inner;			/* EqualPair of the query's own columns */
	List	   *outer;			/* EqualPair with a column of an enclosing query, not resolved there */
	List	   *any;			/* SubLink: column IN (SELECT ...) that must be true */
} EqualFacts;

extern EqualFacts *equal_facts(Query *query);

/* The column of a relation that an expression is, whatever joins it comes by; NULL: it is more. */
extern Var *equal_resolve(Query *query, Node *node);

/* With all columns (Var) that are NULL, or equal to one of them. */
extern List *equal_closure(const EqualFacts *facts, List *columns);
extern bool equal_has(const List *columns, int rtindex, AttrNumber attno);

/* Numbers of the subquery's columns that an IN compares with one of these columns. */
extern List *equal_sublink_columns(Query *query, const SubLink *link, const List *columns);

#endif							/* ACTIVATE_BYKEY_EQUAL_H */
