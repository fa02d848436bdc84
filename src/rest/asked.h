/*
 * asked.h
 *	  Private to asked.c and asked_url.c: the conditions of a scan with their values.
 */
#ifndef ACTIVATE_REST_ASKED_H
#define ACTIVATE_REST_ASKED_H

#include "rest/ask.h"
#include "utils/typcache.h"

typedef struct AskedOne
{
	const ConnectorFilter *filter;
	const ConnectorParam *param;	/* NULL: the value stands in the path */
	const TemplateColumn *column;
	AskCondition *condition;
	ExprState  *state;			/* NULL: for EXPLAIN */
	TypeCacheEntry *type;

	/* of this execution */
	bool		sent;
	bool		unknown;		/* for EXPLAIN: not before it is executed */
	Datum	   *values;			/* distinct, in order */
	char	  **texts;
	int			n;
	int			step;			/* so many of them in a request */
	int			at;				/* the first of the present one */
} AskedOne;

struct RestAsked
{
	const RestSource *source;
	MemoryContext context;		/* of the values; reset by the next execution */
	int			limit;
	int			most_requests;	/* instead of reading all */
	int			n;
	AskedOne   *ones;
	RestAsk		ask;
};

/* Requests that all of them make. */
extern int64 asked_requests(const RestAsked *asked);
/* The present request. */
extern const RestAsk *asked_build(RestAsked *asked);

#endif							/* ACTIVATE_REST_ASKED_H */
