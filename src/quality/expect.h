/*
 * expect.h
 *	  An expectation on its way from text to a query, and back.  Private to the room.
 */
#ifndef ACTIVATE_QUALITY_EXPECT_H
#define ACTIVATE_QUALITY_EXPECT_H

#include "catalog/analyze.h"
#include "quality/quality.h"

/* What a text means, before it is analysed. */
typedef struct ExpectationText
{
	const char *kind;			/* row, unique, fresh, count: see activate._expectation */
	List	   *columns;		/* raw: the condition of row, else the columns; none of count */
	Jsonb	   *bounds;			/* NULL: none */
} ExpectationText;

/* words.c: the grammar.  relation: how an expression refers to it. */
extern ExpectationText *expectation_parse(const char *relation, const char *text, Jsonb *options);

/* A row of activate._expectation. */
typedef struct Expectation
{
	int64		id;
	Oid			relation;
	char	   *name;
	char	   *text;
	char	   *on_fail;
	Oid			owner;			/* InvalidOid: the role is gone */
	char	   *owner_name;
	char	   *kind;
	Jsonb	   *bounds;			/* NULL: none */
	char	   *search_path;
	Query	   *tree;			/* NULL: of another major version */
	bool		direct;			/* a row of the relation is one of the sync */
	char	   *was;			/* state; NULL: was never checked */
} Expectation;

/* check.c: what is expected of these relations, as far as it counts for the sync (0: for anybody). */
extern List *expectations_of(int64 sync, const List *relations);

/* Checks them, which are of one relation or several, and writes it down: has a state changed between good and bad? */
extern bool expectations_check(List *expectations, int64 run);

/* gate.c: is it made of nothing but immutable functions of PostgreSQL's own, so that it may run as anybody? */
extern bool expectation_is_harmless(const Query *tree);

/* Relations that a query reads, through views, too. */
extern List *relations_read(Query *query);

/* Opens and closes the gates of all who read the relation. */
extern void gates_follow(Oid relation);

#endif							/* ACTIVATE_QUALITY_EXPECT_H */
