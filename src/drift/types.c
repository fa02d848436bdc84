/*
 * types.c
 *	  Other types of columns, taken: by activate_heal(), and by runs where they are wider.
 *
 * The declaration is analysed anew, so it knows each column as it is: all
 * types that are open are taken together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/own.h"
#include "drift/change.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* Types that are healed together. */
typedef struct Widening
{
	const Sync *sync;
	Datum		drifts;			/* bigint[] */
} Widening;

static int	ids_of(Datum array, Datum **ids);
static int64 first_of(Datum array);
static void heal_types(const Sync *sync, Datum drifts);

void
drift_heal_types(const Sync *sync, int64 id)
{
	Oid			type = INT8OID;
	Datum		value = Int64GetDatum(id);

	heal_types(sync, own_value("SELECT activate._drift_types($1)", 1, &type, &value, NULL, NULL));
}

static void
widen_work(void *arg)
{
	const Widening *it = arg;

	heal_types(it->sync, it->drifts);
}

bool
drift_widen(const Sync *sync)
{
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2] = {Int64GetDatum(sync->id), BoolGetDatum(false)};
	bool		widened = false;

	for (;;)
	{
		Widening	it = {.sync = sync_load(sync->id, CurrentMemoryContext)};
		ErrorData  *error;
		bool		none;

		it.drifts = own_value("SELECT CASE WHEN $2 THEN w[1:1] ELSE w END FROM activate._drift_wider($1) w", 2, types, values, NULL, &none);
		if (none)
			return widened;
		error = attempt(widen_work, &it);
		if (error == NULL)
			widened = true;
		else if (attempt_was_cancelled(error))
			ReThrowError(error);
		else if (DatumGetBool(values[1]))
			drift_mark(first_of(it.drifts), error->message);
		else
			values[1] = BoolGetDatum(true); /* one of them may be in the way of the others */
	}
}

static int
ids_of(Datum array, Datum **ids)
{
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, ids, NULL, &n);
	return n;
}

static int64
first_of(Datum array)
{
	Datum	   *ids;

	return ids_of(array, &ids) > 0 ? DatumGetInt64(ids[0]) : 0;
}

/*
 * Values go to the target as they are now: its columns, if it is a table of the
 * owner's, take the types, and the declaration is analysed anew from its texts.
 */
static void
heal_types(const Sync *sync, Datum drifts)
{
	DriftEdit  *edit = drift_edit(sync);
	Oid			types[2] = {INT8OID, INT8ARRAYOID};
	Datum	   *ids;
	int			n = ids_of(drifts, &ids);
	char	   *command;

	(void) own_value("SELECT activate._drift_types_healed($1)", 1, &types[1], &drifts, NULL, NULL);
	for (int i = 0; i < n; i++)
	{
		Oid			relation = (Oid) own_int64("SELECT to_regclass(relation)::oid::bigint FROM activate.drift WHERE id = $1", 1, types, &ids[i]);

		if (OidIsValid(relation))
			drift_uncast(edit, relation, own_text("SELECT \"column\" FROM activate.drift WHERE id = $1", 1, types, &ids[i]),
						 own_text("SELECT was FROM activate.drift WHERE id = $1", 1, types, &ids[i]));
	}
	drift_rewrite(edit, true);
	drift_apply(edit);
	command = sync->kind == SYNC_TO_LOCAL ? own_text("SELECT activate._drift_widen_sql($1)", 1, &types[1], &drifts) : NULL;
	if (command)
		drift_must(sync, command);
	drift_redeclare(sync);
}
