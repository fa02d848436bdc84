/*
 * own.h
 *	  One statement over our own tables, executed as the extension's owner
 *	  whoever is calling (identity_enter_extension()).
 *
 * Only SQL that we wrote; what the caller brings goes in as arguments.
 */
#ifndef ACTIVATE_OWN_H
#define ACTIVATE_OWN_H

/*
 * The first column of the first row, in the caller's memory context; isnull
 * (may be NULL) is also true if there is no row.  nulls as for SPI.
 */
extern Datum own_value(const char *sql, int nargs, const Oid *types, const Datum *values, const char *nulls,
					   bool *isnull);

/* The same for a bigint, 0 if there is none, and for a text, NULL if there is none; no argument is NULL. */
extern int64 own_int64(const char *sql, int nargs, const Oid *types, const Datum *values);
extern char *own_text(const char *sql, int nargs, const Oid *types, const Datum *values);

#endif							/* ACTIVATE_OWN_H */
