/*
 * guc.h
 *	  Settings that belong to no room above.  The others are defined by the
 *	  initialiser of the room that obeys them.
 */
#ifndef ACTIVATE_GUC_H
#define ACTIVATE_GUC_H

extern bool activate_enabled;	/* activate.enabled */
extern char *activate_identity;	/* activate.identity */
extern int	activate_chunk_rows;	/* activate.chunk_rows; for tests, hidden */
extern bool activate_comparison;	/* activate.comparison; for tests, hidden */
extern bool activate_copy;		/* activate.copy; for tests, hidden */
extern int	activate_clock_offset;	/* activate.clock_offset, seconds; for tests, hidden */
extern bool activate_first_load;	/* activate.first_load; for tests, hidden */

extern void guc_init(void);

#endif							/* ACTIVATE_GUC_H */
