/*
 * own.c
 *	  One statement over our own tables: see own.h.
 */
#include "postgres.h"

#include "core/identity.h"
#include "core/own.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"

Datum
own_value(const char *sql, int nargs, const Oid *types, const Datum *values, const char *nulls, bool *isnull)
{
	IdentityScope scope;
	MemoryContext caller = CurrentMemoryContext;
	Datum		result = (Datum) 0;
	bool		none = true;
	int			code;

	identity_enter_extension(&scope);
	SPI_connect();
	code = SPI_execute_with_args(sql, nargs, unconstify(Oid *, types), unconstify(Datum *, values), nulls, false, 0);
	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
	if (SPI_tuptable != NULL && SPI_processed > 0)
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &none);
	if (!none)
	{
		Form_pg_attribute attribute = TupleDescAttr(SPI_tuptable->tupdesc, 0);
		MemoryContext previous = MemoryContextSwitchTo(caller);

		result = datumCopy(result, attribute->attbyval, attribute->attlen);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
	if (isnull)
		*isnull = none;
	return result;
}

int64
own_int64(const char *sql, int nargs, const Oid *types, const Datum *values)
{
	bool		isnull;
	Datum		value = own_value(sql, nargs, types, values, NULL, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

char *
own_text(const char *sql, int nargs, const Oid *types, const Datum *values)
{
	bool		isnull;
	Datum		value = own_value(sql, nargs, types, values, NULL, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}
