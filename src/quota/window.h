/*
 * window.h
 *	  One declared limit and what was used of it.  Private to the room.
 */
#ifndef ACTIVATE_QUOTA_WINDOW_H
#define ACTIVATE_QUOTA_WINDOW_H

#include "quota/quota.h"

#define WINDOW_PARTS	16

typedef struct QuotaWindow
{
	QuotaLimit	limit;			/* calls 0: not in use */
	int64		newest;			/* number of the newest part, counted from the epoch */
	int64		used[WINDOW_PARTS + 1]; /* by number modulo their number */
} QuotaWindow;

extern void window_set(QuotaWindow *window, const QuotaLimit *limit);
extern void window_advance(QuotaWindow *window, TimestampTz now);
extern int64 window_used(const QuotaWindow *window);
extern void window_add(QuotaWindow *window, int64 cost);
/* When a call of that cost fits, of what a class may use; 0: now. */
extern TimestampTz window_fits(const QuotaWindow *window, QuotaClass class, int64 cost);
/* When all of it is free again, if nothing more is used; 0: it is. */
extern TimestampTz window_free(const QuotaWindow *window);

#endif							/* ACTIVATE_QUOTA_WINDOW_H */
