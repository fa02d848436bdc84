/*
 * progress.h
 *	  Where a run stands, for who looks at activate.stat_run while it runs.
 *
 * Costs a few stores under a light lock; call it per phase and every few
 * thousand rows, not per row.  Without shared memory all of it does nothing.
 */
#ifndef ACTIVATE_PROGRESS_H
#define ACTIVATE_PROGRESS_H

/*
 * Takes a slot for this process's run, or goes on with the one that it has;
 * given back at the end of the transaction, however it ends.
 */
extern void progress_begin(int64 run, int64 sync);

/* The slot stays, for the next transaction of the run to go on with. */
extern void progress_keep(void);

/* phase NULL: as before. */
extern void progress_update(const char *phase, int64 rows_read, int64 rows_written);
extern void progress_end(void);

/* Does anybody see it?  Else there is no need to find out what to expect. */
extern bool progress_is_shown(void);

/* How many rows the whole run is expected to read; -1: unknown. */
extern void progress_expect(int64 rows);

/* So many bytes have come from another server; per row, it becomes visible with the count of rows. */
extern void progress_bytes(int64 bytes);
extern int64 progress_bytes_read(void);	/* in this process; 0: none */

/*
 * Statements that read a source may count as they go: "WHERE
 * activate._count_row()" is true for every row, and tells every thousandth.
 */

#endif							/* ACTIVATE_PROGRESS_H */
