/*
 * analyze.h
 *	  Parse analysis of what a declaration says: the source, expressions over
 *	  it, and the query Q made of them (see sync.h).
 *
 * Everything is analysed as the current user under the current search_path.
 * No text is ever pasted into another: expressions are parsed alone.
 */
#ifndef ACTIVATE_ANALYZE_H
#define ACTIVATE_ANALYZE_H

#include "nodes/primnodes.h"
#include "parser/parse_node.h"

typedef struct SyncSource
{
	ParseState *pstate;
	Oid			relation;		/* InvalidOid: a query */
	List	   *names;			/* String: its columns */
	List	   *vars;			/* Var: the same */
} SyncSource;

/* source: a relation name, or SELECT, WITH, VALUES, TABLE.  Anything else is an error with a hint. */
extern SyncSource *sync_source_open(const char *source);

/* The column, or NULL. */
extern Var *sync_source_column(const SyncSource *source, const char *name);

/* An expression over the source's columns; what names it in errors, e.g. map of column "email". */
extern Node *sync_source_expression(SyncSource *source, const char *text, const char *what);

/* expression, which text became, assigned to a column of that type; NULL: it cannot be. */
extern Node *sync_source_assign(SyncSource *source, Node *expression, const char *text, const char *what,
								Oid type, int32 typmod);

/* A condition: an expression coerced to boolean. */
extern Node *sync_source_condition(SyncSource *source, const char *text, const char *what);

/* One SQL expression, not analysed yet; the next two analyse one, of which text is what the user wrote. */
extern Node *sync_parse_expression(const char *text, const char *what);
extern Node *sync_source_condition_of(SyncSource *source, Node *parsed, const char *text, const char *what);
extern Node *sync_source_expression_of(SyncSource *source, Node *parsed, const char *text, const char *what);

/*
 * SELECT targets FROM source WHERE condition, checked: no set-returning
 * functions, and the current user may select what it reads.
 */
extern Query *sync_source_query(SyncSource *source, List *targets, Node *condition);

/* The caller's search_path as a declaration keeps it. */
extern char *sync_kept_search_path(void);

/* Names of the primary key's columns of a relation (char *), NIL if there is none. */
extern List *relation_primary_key(Oid relation);

/*
 * Are values of that type that are equal the same, as btree asks before it keeps
 * one copy of them?  Not 1 day and 24:00, nor A and a of citext.
 */
extern bool equal_is_same(Oid type, Oid collation);

/* "a, b, c" of a list of String, for hints. */
extern char *name_list(const List *names);

#endif							/* ACTIVATE_ANALYZE_H */
