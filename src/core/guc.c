/*
 * guc.c
 *	  Settings that belong to no room above: see guc.h.
 */
#include "postgres.h"

#include <limits.h>

#include "core/guc.h"
#include "utils/guc.h"

bool		activate_enabled = true;
char	   *activate_identity = NULL;
int			activate_chunk_rows = 500000;
int			activate_clock_offset = 0;
bool		activate_comparison = true;
bool		activate_copy = true;
bool		activate_first_load = true;

void
guc_init(void)
{
	DefineCustomIntVariable("activate.chunk_rows",
							"Rows that a runner reads in one transaction where it works by chunks, for tests.",
							NULL,
							&activate_chunk_rows,
							500000, 1, INT_MAX,
							PGC_SUSET,
							GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							NULL, NULL, NULL);

	DefineCustomIntVariable("activate.clock_offset",
							"Moves the clock of activate, for tests.",
							NULL,
							&activate_clock_offset,
							0, INT_MIN, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_S | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							NULL, NULL, NULL);

	DefineCustomBoolVariable("activate.comparison",
							 "Lets runs to web APIs compare in memory, for tests.",
							 NULL,
							 &activate_comparison,
							 true,
							 PGC_SUSET,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("activate.copy",
							 "Lets runs into tables read other servers by COPY, for tests.",
							 NULL,
							 &activate_copy,
							 true,
							 PGC_SUSET,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("activate.enabled",
							 "Lets syncs run and intents be sent.",
							 "When off nothing runs and nothing is sent; capture goes on.",
							 &activate_enabled,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);

	DefineCustomBoolVariable("activate.first_load",
							 "Lets runs into empty tables do without a comparison, for tests.",
							 NULL,
							 &activate_first_load,
							 true,
							 PGC_SUSET,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);

	/*
	 * SIGHUP, not SUSET: it names the installation, so it must come from a
	 * file that a physical copy of the database does not inherit unnoticed.
	 */
	DefineCustomStringVariable("activate.identity",
							   "Name of this installation.",
							   "When set it must equal the recorded one, or nothing is sent until activate_adopt().",
							   &activate_identity,
							   "",
							   PGC_SIGHUP,
							   0,
							   NULL, NULL, NULL);
}
