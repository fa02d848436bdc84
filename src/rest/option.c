/*
 * option.c
 *	  Handler and validator of the foreign data wrapper.
 *
 * Which options there are and what they may hold is the connectors' business
 * (connector_check_options); none of it is looked up anywhere, because a dump
 * restores servers before the definitions that they name.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "core/compat.h"
#include "rest/rest.h"

ACTIVATE_FUNCTION(activate_fdw_handler);
ACTIVATE_FUNCTION(activate_fdw_validator);

Datum
activate_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	rest_path_routine(routine);
	rest_scan_routine(routine);
	rest_sample_routine(routine);
	rest_writable_routine(routine);
	rest_modify_routine(routine);
	rest_direct_routine(routine);
	routine->ImportForeignSchema = rest_import;
	PG_RETURN_POINTER(routine);
}

Datum
activate_fdw_validator(PG_FUNCTION_ARGS)
{
	connector_check_options(untransformRelOptions(PG_GETARG_DATUM(0)), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}
