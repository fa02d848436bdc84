/*
 * record.c
 *	  The row of a run in activate.run, and what a person who ran it is told.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/own.h"
#include "sync/verbs.h"
#include "utils/array.h"
#include "utils/builtins.h"

int64
run_start(const Sync *sync)
{
	return verb_count("INSERT INTO activate.run (sync, status, pid) VALUES ($1, 'running', pg_backend_pid())"
					  " RETURNING id", sync->id, NULL);
}

void
run_finish(int64 run, const RunCounts *counts, const char *error)
{
	run_record(run, error ? "failed" : counts->held ? "held" : "succeeded", counts, error ? error : counts->gate);
}

/* What the chunks before this transaction have done. */
void
run_read_counts(int64 run, RunCounts *counts)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(run);
	Datum		array;
	Datum	   *values;
	int			n;

	array = own_value("SELECT ARRAY[rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected]"
					  " FROM activate.run WHERE id = $1", 1, &type, &id, NULL, NULL);
	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &values, NULL, &n);
	counts->read = DatumGetInt64(values[0]);
	counts->inserted = DatumGetInt64(values[1]);
	counts->updated = DatumGetInt64(values[2]);
	counts->deleted = DatumGetInt64(values[3]);
	counts->rejected = DatumGetInt64(values[4]);
}

void
run_record(int64 run, const char *status, const RunCounts *counts, const char *error)
{
	Oid			types[8] = {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID};
	Datum		values[8];
	char		nulls[9] = "        ";

	values[0] = Int64GetDatum(run);
	values[1] = CStringGetTextDatum(status);
	values[2] = Int64GetDatum(counts->read);
	values[3] = Int64GetDatum(counts->inserted);
	values[4] = Int64GetDatum(counts->updated);
	values[5] = Int64GetDatum(counts->deleted);
	values[6] = Int64GetDatum(counts->rejected);
	values[7] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (error == NULL)
		nulls[7] = 'n';
	(void) own_value("SELECT activate._run_record($1, $2, $3, $4, $5, $6, $7, $8)", 8, types, values, nulls, NULL);
}

void
run_report(const Sync *sync, const RunCounts *counts)
{
	char	   *reason = sync->kind == SYNC_TO_API ? sync_undelivered_reason(sync) : NULL;

	if (counts->gate)
		ereport(WARNING,
				(errmsg("sync \"%s\" is held: %s", sync->name, counts->gate),
				 errhint("It goes on when that is mended and checked again: by its next run, or by activate_check().")));
	else if (counts->held)
		ereport(WARNING,
				(errmsg("deletes of sync \"%s\" are held: there are more than it may make at once", sync->name),
				 errhint("Look at what is gone from the source; activate_run(..., full => true) lets them pass.")));
	if (reason && counts->inserted + counts->updated + counts->deleted > 0)
		ereport(NOTICE,
				(errmsg("nothing of sync \"%s\" will be delivered for now: %s", sync->name, reason)));
}
