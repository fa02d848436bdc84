/*
 * expect.c
 *	  How much a run has before it: for who looks at its progress, and for how
 *	  a merge finds what is there.
 *
 * A run that reads all is expected to read what the one before has read.  Else
 * the planner says: by what ANALYZE has counted, or by the size of the table.
 * Of a foreign table that was never analysed it knows nothing but a constant,
 * unless its server is asked (use_remote_estimate); then nothing is expected.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "core/own.h"
#include "executor/spi.h"
#include "file/file.h"
#include "foreign/foreign.h"
#include "load/expect.h"
#include "nodes/plannodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#define MANY	10000.0			/* rows that are scanned sooner than a run is planned otherwise */
#define FEW		4			/* as many times more are there */

static int64 read_last_time(const Sync *sync);
static double planned_rows(const char *statement);
static bool is_guessed(Oid relation);

int64
load_expected(const Sync *sync, bool full)
{
	IdentityScope scope;
	Oid			types[3] = {INT8OID, TEXTOID, BOOLOID};
	Datum		values[3] = {Int64GetDatum(sync->id), (Datum) 0, BoolGetDatum(full)};
	int64		expected = read_last_time(sync);
	char	   *statement;
	double		rows;

	if (expected > 0)
		return expected;
	values[1] = CStringGetTextDatum(sync_query_needed(sync));
	statement = own_text("SELECT activate._expect_sql($1, $2, $3)", 3, types, values);
	sync_enter_owner(sync, &scope);
	rows = planned_rows(statement);
	sync_leave_owner(sync, &scope);
	return rows < 0 || rows > (double) (PG_INT64_MAX / 2) ? -1 : (int64) rows;
}

static double
rows_there(const Sync *sync)
{
	HeapTuple	tuple;
	double		rows;

	if (sync->kind != SYNC_TO_LOCAL || !HeapTupleIsValid(tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(sync->target_rel))))
		return -1;
	rows = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
	ReleaseSysCache(tuple);
	return rows;
}

bool
load_into_many(const Sync *sync)
{
	return rows_there(sync) >= MANY;
}

bool
load_are_few(const Sync *sync, int64 rows)
{
	return rows >= 0 && load_into_many(sync) && rows * FEW <= rows_there(sync);
}

/* 0: there was none, or it says nothing of the next. */
static int64
read_last_time(const Sync *sync)
{
	Oid			type = INT8OID;
	Datum		id = Int64GetDatum(sync->id);

	/* other files than the last time */
	if ((sync->capture != CAPTURE_DIFF && sync->capture != CAPTURE_FULL) || file_by_ledger(sync))
		return 0;
	return own_int64("SELECT r.rows_read FROM activate.run r JOIN activate.sync s ON s.id = r.sync WHERE s.id = $1"
					 " AND r.status IN ('succeeded', 'held') AND r.started_at >= s.declared_at ORDER BY r.id DESC LIMIT 1",
					 1, &type, &id);
}

/* As the owner; -1: it is no more than a constant. */
static double
planned_rows(const char *statement)
{
	SPIPlanPtr	plan;
	CachedPlan *cached;
	double		rows = -1;

	SPI_connect();
	plan = SPI_prepare(statement, 0, NULL);
	cached = plan ? SPI_plan_get_cached_plan(plan) : NULL;
	if (cached)
	{
		PlannedStmt *planned = linitial_node(PlannedStmt, cached->stmt_list);
		ListCell   *cell;

		rows = planned->planTree->plan_rows;
		foreach(cell, planned->rtable)
		{
			RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

			if (entry->rtekind == RTE_RELATION && entry->relkind == RELKIND_FOREIGN_TABLE && is_guessed(entry->relid))
				rows = -1;
		}
		ReleaseCachedPlan(cached, NULL);	/* the plan is not saved: no resource owner counts it */
	}
	SPI_finish();
	return rows;
}

/* May its server be asked? */
static bool
asks_server(List *options, bool otherwise)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "use_remote_estimate") == 0)
			return defGetBoolean(option);
	}
	return otherwise;
}

static bool
is_guessed(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool		analysed = false;
	ForeignTable *table;

	if (HeapTupleIsValid(tuple))
	{
		analysed = ((Form_pg_class) GETSTRUCT(tuple))->reltuples >= 0;
		ReleaseSysCache(tuple);
	}
	if (analysed)
		return false;
	table = GetForeignTable(relation);
	return !asks_server(table->options, asks_server(GetForeignServer(table->serverid)->options, false));
}
