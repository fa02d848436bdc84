/*
 * quality.h
 *	  What is expected of relations, and what passes when it is not so.
 */
#ifndef ACTIVATE_QUALITY_H
#define ACTIVATE_QUALITY_H

#include "catalog/sync.h"

/*
 * Q as sync_query() gives it, with a column flaw behind the others where rows are
 * judged one by one: why this one is kept back, NULL: it passes.  That is an expectation with
 * on_fail "quarantine", or a value that does not fit the type that its column had (which Q alone
 * raises an error at).  A row that fails an expectation with on_fail "hold" raises ERRCODE_ACTIVATE_HELD.
 * *judged: is there that column.
 */
extern char *quality_query(const Sync *sync, bool *judged, char **reason);

/* Q without the rows that have a value which does not fit; an ERROR with the reason if there is no Q. */
extern char *quality_fitting_query(const Sync *sync);

/* The code of the rejection of a row with that flaw; activate._flaw_code() in SQL. */
extern const char *quality_code(const char *flaw);

/* The same for who cannot go on without it. */
extern char *quality_query_needed(const Sync *sync, bool *judged);

/* Are there expectations of what the sync reads, or of the table that it writes? */
extern bool quality_applies(const Sync *sync);

/*
 * Checks what a sync reads, for a run of it (0: none), and writes down what
 * was found.  Why nothing of it may pass, palloc'd; NULL: it may.
 */
extern char *quality_admit(const Sync *sync, int64 run);

/*
 * Checks the table that a run has written, before that is committed:
 * ERRCODE_ACTIVATE_HELD if it may not be left so.  And is there anything to check?
 */
extern void quality_result(const Sync *sync, int64 run);
extern bool quality_judges_result(const Sync *sync);

/* Why nothing of it passes, as last checked; NULL: it does. */
extern char *quality_held(int64 sync);
/* Is it held, or a run to be made up for that was? */
extern bool quality_gated(int64 sync);

/* After ERRCODE_ACTIVATE_HELD: what raised it is written down; holds the sync if it was a row of what it reads. */
extern void quality_tripped(const Sync *sync, int64 run, const char *reason);

/* activate_adopt(): expectations are declared anew from their text, by their owners; what cannot be is told by its next check. */
extern void quality_adopt(void);

#endif							/* ACTIVATE_QUALITY_H */
