/*
 * replica.c
 *	  Rows of our tables that a subscription brings are not ours.
 *
 * A publication FOR ALL TABLES cannot leave out a table, so it publishes ours
 * as well.  A subscriber has syncs, intents and an identity of its own, under
 * the same numbers: what arrives is dropped (SEMANTICS 17).
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "core/compat.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"

ACTIVATE_FUNCTION(activate_own_rows_only);

Datum
activate_own_rows_only(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"activate._own_rows_only\" is for the tables of activate")));

	/* one level deeper it is us: a capture trigger that writes what it found in a row that arrived */
	if (IsLogicalWorker() && DatumGetInt32(pg_trigger_depth(fcinfo)) == 1)
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple);
}
