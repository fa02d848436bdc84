/*
 * activate.c
 *	  Entry point of the library: nothing but the initialisers of the rooms.
 */
#include "postgres.h"

#include "core/guc.h"
#include "core/shared.h"
#include "deliver/deliver.h"
#include "http/pool.h"
#include "load/load.h"
#include "miscadmin.h"
#include "outbox/outbox.h"
#include "quota/quota.h"
#include "rest/rest.h"
#include "schedule/schedule.h"
#include "token/token.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	guc_init();
	http_init();
	deliver_init();
	schedule_guc_init();
	outbox_init();
	rest_guc_init();
	load_init();
	MarkGUCPrefixReserved("activate");

	/* Without preload every function works in its session; nothing is delivered. */
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
	{
		shared_init();
		quota_init();
		token_init();
		rest_init();
		schedule_init();
	}
}
