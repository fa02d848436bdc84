/*
 * ask.h
 *	  Private to the room: what a query asks an API for, beside what every read
 *	  of the object does.
 *
 * Whatever is asked for, all conditions are checked here again: an API that
 * knows a parameter in another way, or not at all, costs time and no row.
 */
#ifndef ACTIVATE_REST_ASK_H
#define ACTIVATE_REST_ASK_H

#include "executor/execdesc.h"
#include "rest/rest.h"

/* A condition that goes along, in a plan. */
typedef struct AskCondition
{
	AttrNumber	attnum;
	FilterOp	op;				/* the parameter that takes it */
	bool		list;			/* the value is an array ... */
	Oid			collation;		/* ... by which its elements are compared */
	bool		upper;			/* of a range: nothing above; else nothing below */
	int			clause;			/* its place among the conditions of the scan */
	Expr	   *value;			/* of the column's type, or an array of it */
	bool		sent;			/* of asked_shown() */
} AskCondition;

/* ask.c: those of these clauses (nodes) that the API can be asked for; list of AskCondition *. */
extern List *ask_conditions(PlannerInfo *root, Index rti, Relation relation, const Connector *connector, List *clauses);
/* Does it know all that it must know to answer at all? */
extern bool ask_is_enough(Relation relation, const Connector *connector, const List *conditions);
/* Rows that a query wants at most, of which it drops none; 0: not known. */
extern int	ask_limit(PlannerInfo *root, RelOptInfo *rel);
/* As what a plan can hold, without the values; and back. */
extern List *ask_pack(const List *conditions);
extern List *ask_unpack(const List *packed, const List *values);

/* The parts of a plan's fdw_private. */
enum
{
	SCAN_NEEDED,				/* attribute numbers */
	SCAN_ASKED,					/* ask_pack() */
	SCAN_NUMBERS				/* rows wanted at most (0: not known), requests that are worth as much as reading all */
};

/* ask_value.c: can values of that type be asked for so; as text, NULL: this one cannot */
extern bool ask_takes(Oid type, int32 typmod, Oid collation, bool range);
extern char *ask_text(Datum value, Oid type, const TemplateColumn *column, FilterOp op);

/* asked.c: a scan's conditions with their values: one request after the other */
typedef struct RestAsked RestAsked;

extern RestAsked *asked_create(const RestSource *source, Relation relation, List *conditions, PlanState *parent,
							   int limit, int most_requests, MemoryContext context);
/* Looks at the values; false: no row can fulfil the conditions. */
extern bool asked_begin(RestAsked *asked, ExprContext *econtext);
extern const RestAsk *asked_request(RestAsked *asked);	/* the present one */
extern bool asked_next(RestAsked *asked);	/* false: that was the last */
/* A row of it: the columns of the path filled in; false: it belongs to another request. */
extern bool asked_row(RestAsked *asked, TupleTableSlot *slot);
/* For EXPLAIN: as far as the values are known without executing anything. */
extern const RestAsk *asked_shown(const RestSource *source, Relation relation, List *conditions, int limit,
								  int most_requests);

#endif							/* ACTIVATE_REST_ASK_H */
