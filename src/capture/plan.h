/*
 * plan.h
 *	  A run that is planned, between plan.c, which has it done by a statement,
 *	  and compare.c, which compares by itself.  Not for other rooms.
 */
#ifndef ACTIVATE_CAPTURE_PLAN_H
#define ACTIVATE_CAPTURE_PLAN_H

#include "capture/change.h"

#define PLAN_BATCH	1000

/* Rows of a batch that are to be written to one of our tables. */
typedef struct PlanList
{
	const char *sql;			/* $1: the sync, then what its columns hold */
	int			ncolumns;
	Oid			types[3];		/* of their elements */
	int			n;
	Datum		values[3][PLAN_BATCH];
} PlanList;

typedef struct CapturePlan
{
	const Sync *sync;
	const RunChunk *chunk;		/* NULL: all of it */
	RunCounts  *counts;
	int64		run;
	bool		released;		/* full => true of a held run: its deletes go, nothing else is repeated */
	bool		asked;			/* full => true of another one */
	bool		marks;			/* rows are told apart by activate._seen */
	bool		everything;		/* whatever was sent */
	bool		updates;		/* rows that differ from what was sent are */
	bool		removes;		/* so are deletes of what is gone */
	bool		unlimited;		/* deletes are allowed */
	char	   *query;			/* Q */
	bool		judged;			/* it has a column flaw: quality.h */
	bool		known;			/* options.backfill = false: nothing is sent */
	bool		totals;			/* seen: they come first */
	int64		deletes;		/* as planned */
	bool		holds;			/* and they are too many */
	char	   *watermark;
	MemoryContext context;
	MemoryContext batch;		/* for what is found out since the last plan_write() */
	PlanList	rejected;
	PlanList	forgiven;
	PlanList	recorded;
	PlanList	marked;
	PlanList	pruned;
} CapturePlan;

/* What is to be done with a key; as text in the statements of plan.sql. */
typedef struct PlanStep
{
	char		action;			/* n u d f x y b: see activate._diff_sql() */
	Jsonb	   *key;			/* in plan->batch, or what lives longer */
	int64		hash;			/* n, u: of the row */
	int64		planned;		/* n, u: of the row and its cursor */
	int64		n;				/* x, y, b: rows */
	const char *reason;			/* b: the expectation that it fails */
} PlanStep;

/* Before the first step: so many rows were read, keys sent, deletes found; some are held already. */
extern void plan_totals(CapturePlan *plan, int64 rows, int64 sent, int64 deletes, bool still);

/* No more than PLAN_BATCH before what they say is written. */
extern void plan_step(CapturePlan *plan, const PlanStep *step);
extern void plan_write(CapturePlan *plan);

/* compare.c.  False: nothing is done, it is to be done by a statement. */
extern bool plan_compare(CapturePlan *plan);

#endif							/* ACTIVATE_CAPTURE_PLAN_H */
