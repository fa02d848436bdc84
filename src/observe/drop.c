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
#include "executor/spi.h"

static List *possible_victims(void);

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

	foreach(cell, possible_victims())
	{
		const Sync *sync = lfirst(cell);
		char	   *reason = sync_gone_reason(sync);

		if (reason)
			sync_pause(sync->id, reason);
	}
	PG_RETURN_NULL();
}

static List *
possible_victims(void)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	List	   *syncs = NIL;

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute("SELECT v FROM activate._drop_victims() v", false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext previous;
		Sync	   *sync = sync_load(DatumGetInt64(id), context);

		/* an old snapshot still shows syncs that others have dropped since */
		if (sync == NULL)
			continue;
		previous = MemoryContextSwitchTo(context);
		syncs = lappend(syncs, sync);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	return syncs;
}
