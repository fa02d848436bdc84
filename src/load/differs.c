/*
 * differs.c
 *	  Are two rows the same, column by column?
 *
 * To the bit, as record_image_eq() would have it, without making records of
 * the columns first: of a wide row that is most of what a comparison costs.
 */
#include "postgres.h"

#include "core/compat.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

/* Of one pair of arguments; in fn_extra. */
typedef struct PairType
{
	int16		len;
	bool		byval;
} PairType;

ACTIVATE_FUNCTION(activate_differs);

static PairType *
pair_types(FunctionCallInfo fcinfo)
{
	PairType   *types = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(PairType) * (PG_NARGS() / 2 + 1));

	if (PG_NARGS() % 2 != 0 || get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("activate._differs() takes pairs of values")));
	for (int i = 0; i < PG_NARGS(); i += 2)
	{
		Oid			type = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i));

		if (getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i + 1)) != type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("activate._differs(): arguments %d and %d are of different types", i + 1, i + 2)));
		get_typlenbyval(type, &types[i / 2].len, &types[i / 2].byval);
	}
	fcinfo->flinfo->fn_extra = types;
	return types;
}

Datum
activate_differs(PG_FUNCTION_ARGS)
{
	const PairType *types = fcinfo->flinfo->fn_extra ? fcinfo->flinfo->fn_extra : pair_types(fcinfo);

	for (int i = 0; i + 1 < PG_NARGS(); i += 2)
	{
		if (PG_ARGISNULL(i) != PG_ARGISNULL(i + 1))
			PG_RETURN_BOOL(true);
		if (!PG_ARGISNULL(i) &&
			!datum_image_eq(PG_GETARG_DATUM(i), PG_GETARG_DATUM(i + 1), types[i / 2].byval, types[i / 2].len))
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}
