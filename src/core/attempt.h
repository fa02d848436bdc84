/*
 * attempt.h
 *	  Work that may fail, in a subtransaction.
 */
#ifndef ACTIVATE_ATTEMPT_H
#define ACTIVATE_ATTEMPT_H

typedef void (*AttemptWork) (void *arg);

/*
 * Runs work; NULL if it went well.  After an ERROR nothing of it is left, and
 * the error is returned in the caller's memory context, in which work runs, too:
 * what else it allocated there stays.  Not in a parallel worker.
 */
extern ErrorData *attempt(AttemptWork work, void *arg);

/* The same, but nothing of it is left however it ends. */
extern ErrorData *attempt_and_forget(AttemptWork work, void *arg);

/*
 * Is the error about the statement, not about what was tried: a cancel, a
 * timeout, a shutdown?  Then it is to be thrown on (ReThrowError).
 */
extern bool attempt_was_cancelled(const ErrorData *error);

#endif							/* ACTIVATE_ATTEMPT_H */
