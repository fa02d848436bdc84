/*
 * drop.c
 *	  A sync whose source or target is dropped is paused with the reason, at
 *	  once rather than at its next run (SEMANTICS 16).
 *
 * The event trigger runs in everybody's DROP: it asks one question, and looks
 * closer only at syncs whose kept query names something that went.  Not in a
 * copy, where the oids of kept queries may mean something else: activate_adopt()
 * finds out what is gone.
 */
#include "postgres.h"

#include "catalog/sync.h"
#include "commands/event_trigger.h"
#include "core/compat.h"

ACTIVATE_FUNCTION(activate_on_drop);

Datum
activate_on_drop(PG_FUNCTION_ARGS)
{
	ListCell   *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("activate._on_drop() may only be called by its event trigger")));

	/* DROP EXTENSION: what it would look after is gone */
	if (!OidIsValid(identity_extension()))
		PG_RETURN_NULL();

	foreach(cell, sync_load_found("SELECT v FROM activate._drop_victims() v"))
	{
		const Sync *sync = lfirst(cell);
		char	   *reason = sync_gone_reason(sync);

		if (reason)
			sync_pause(sync->id, reason);
	}
	PG_RETURN_NULL();
}
