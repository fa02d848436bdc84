/*
 * replica.c
 *	  Rows of our tables that a subscription brings are not ours.
 *
 * A publication FOR ALL TABLES cannot leave out a table, so it publishes ours
 * as well.  A subscriber has syncs, intents and an identity of its own, under
 * the same numbers: what arrives is undone (SEMANTICS 17).
 *
 * An insert is dropped before it happens.  A BEFORE trigger for UPDATE and
 * DELETE would have every such statement of ours lock its rows first, whether
 * or not the trigger is enabled; so those are put back afterwards.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/compat.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static void put_back(const TriggerData *data);

ACTIVATE_FUNCTION(activate_own_rows_only);

Datum
activate_own_rows_only(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	bool		foreign;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		TRIGGER_FIRED_BEFORE(data->tg_event) != TRIGGER_FIRED_BY_INSERT(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"activate._own_rows_only\" is for the tables of activate")));

	/* one level deeper it is us: a capture trigger that writes what it found in a row that arrived, or put_back() */
	foreign = IsLogicalWorker() && DatumGetInt32(pg_trigger_depth(fcinfo)) == 1;
	if (foreign && !TRIGGER_FIRED_BY_INSERT(data->tg_event))
		put_back(data);
	return PointerGetDatum(foreign ? NULL : data->tg_trigtuple);
}

/* The row as it was; after an update the new version goes first, whose keys it may need. */
static void
put_back(const TriggerData *data)
{
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(data->tg_relation)),
												   RelationGetRelationName(data->tg_relation));
	Oid			types[1] = {TIDOID};
	Datum		values[1];

	SPI_connect();
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		values[0] = PointerGetDatum(&data->tg_newtuple->t_self);
		SPI_execute_with_args(psprintf("DELETE FROM %s WHERE ctid = $1", table), 1, types, values, NULL, false, 0);
	}
	types[0] = desc->tdtypeid;
	values[0] = heap_copy_tuple_as_datum(data->tg_trigtuple, desc);
	SPI_execute_with_args(psprintf("INSERT INTO %s SELECT ($1).*", table), 1, types, values, NULL, false, 0);
	SPI_finish();
}
