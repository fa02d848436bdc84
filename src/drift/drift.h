/*
 * drift.h
 *	  What a source has become since its sync was declared, and how the
 *	  declaration follows it (docs/drift.md).
 *
 * What was there at declaration is in the kept query: eref of each relation has
 * the names of its columns by attribute number, each Var its type.  So for
 * local relations nothing else is kept, and a rename is told from a drop with
 * an addition for certain.
 */
#ifndef ACTIVATE_DRIFT_H
#define ACTIVATE_DRIFT_H

#include "catalog/sync.h"

/* At a declaration: what was proposed for the former one means nothing any more. */
extern void drift_declared(const Sync *sync);

/*
 * Before a run, or a part of one (begins: the first): looks at the source, writes down what it finds, and does what
 * options.on_drift says.  Returns the sync to go on with, read again if its
 * declaration changed.  *refused: why it must not run; NULL: it may.
 */
extern const Sync *drift_check(const Sync *sync, bool begins, char **refused);

/* At the end of a run: takes prints of foreign columns by which they are known again. */
extern void drift_ran(const Sync *sync);

#endif							/* ACTIVATE_DRIFT_H */
