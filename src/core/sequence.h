/*
 * sequence.h
 *	  Numbers of a sequence of ours, in the transactions of users.
 *
 * Not by nextval(): lastval() tells an application the number of the row that
 * it has inserted, and would tell ours from then on, or fail because it has no
 * right to ask for that.
 */
#ifndef ACTIVATE_SEQUENCE_H
#define ACTIVATE_SEQUENCE_H

/*
 * The next n numbers (1 or more) of a sequence that counts by one, without CACHE
 * and CYCLE, as nextval() would give them one after the other: the first.  Needs a
 * transaction that may write; no permission is checked.  name: see own_relation().
 */
extern int64 own_sequence_draw(const char *name, int n);

#endif							/* ACTIVATE_SEQUENCE_H */
