/*
 * print.c
 *	  Fingerprints of the values of foreign columns, and what is kept of a
 *	  foreign table from one run to the next.
 *
 * A sample of rows, read as the sync's owner.  New columns are read through the
 * foreign table as it would be with them, in a subtransaction of which nothing is left.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/own.h"
#include "drift/remote.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define SAMPLE 1000

typedef struct Sample
{
	const Sync *sync;
	RemoteTable *table;
	List	   *columns;		/* RemoteColumn */
	List	   *names;			/* ours of each */
	bool		new;
	Datum	   *values;			/* text[] of each */
	bool	   *nulls;
	MemoryContext context;
} Sample;

static void sample_work(void *arg);
static void take_prints(Sample *sample);

void
drift_print_known(const Sync *sync, RemoteTable *table)
{
	Sample		sample = {.sync = sync, .table = table};
	int			natts = drift_natts(table->relation);
	char	  **names = drift_remote_names(table->relation);

	for (int attnum = 1; attnum <= natts; attnum++)
	{
		char	   *name = names[attnum - 1];
		RemoteColumn *column = name ? drift_remote_column(table->columns, name) : NULL;

		if (column == NULL)
			continue;
		sample.columns = lappend(sample.columns, column);
		sample.names = lappend(sample.names, drift_column_name(table->relation, attnum));
	}
	take_prints(&sample);
}

void
drift_print_new(const Sync *sync, RemoteTable *table, List *columns)
{
	Sample		sample = {.sync = sync, .table = table, .columns = columns, .new = true};

	for (int i = 0; i < list_length(columns); i++)
		sample.names = lappend(sample.names, drift_remote_knows_names(table->relation) ? psprintf("activate new %d", i) :
							   ((RemoteColumn *) list_nth(columns, i))->name);
	take_prints(&sample);
}

/* What cannot be read has no print. */
static void
take_prints(Sample *sample)
{
	ErrorData  *error;
	ListCell   *cell;
	Oid			type = TEXTARRAYOID;

	if (sample->columns == NIL)
		return;
	sample->context = CurrentMemoryContext;
	sample->values = palloc0(sizeof(Datum) * list_length(sample->columns));
	sample->nulls = palloc0(sizeof(bool) * list_length(sample->columns));
	error = attempt_and_forget(sample_work, sample);
	if (error)
	{
		if (attempt_was_cancelled(error))
			ReThrowError(error);
		return;
	}
	foreach(cell, sample->columns)
	{
		RemoteColumn *column = lfirst(cell);
		int			i = foreach_current_index(cell);

		if (!sample->nulls[i])
			column->print = DatumGetJsonbP(own_value("SELECT activate._drift_print($1)", 1, &type, &sample->values[i], NULL, NULL));
	}
}

static void
sample_work(void *arg)
{
	Sample	   *sample = arg;
	char	   *table = drift_relation_name(sample->table->relation);
	StringInfoData alter;
	StringInfoData outer;
	StringInfoData inner;
	IdentityScope scope;
	ListCell   *name;
	ListCell   *column;

	initStringInfo(&alter);
	initStringInfo(&outer);
	initStringInfo(&inner);
	appendStringInfo(&alter, "ALTER FOREIGN TABLE %s ", table);
	forboth(name, sample->names, column, sample->columns)
	{
		const RemoteColumn *it = lfirst(column);
		const char *quoted = quote_identifier(lfirst(name));
		const char *comma = inner.len > 0 ? ", " : "";

		appendStringInfo(&alter, "%sADD COLUMN %s %s", comma, quoted, it->type);
		if (drift_remote_knows_names(sample->table->relation))
			appendStringInfo(&alter, " OPTIONS (column_name %s)", quote_literal_cstr(it->name));
		appendStringInfo(&outer, "%sarray_agg(s.%s::text)", comma, quoted);
		appendStringInfo(&inner, "%s%s", comma, quoted);
	}
	sync_enter_owner(sample->sync, &scope);
	/* who reads the table just now is not kept waiting for long */
	identity_set_local("lock_timeout", "1s");
	SPI_connect();
	if (sample->new)
		SPI_execute(alter.data, false, 0);
	SPI_execute(psprintf("SELECT %s FROM (SELECT %s FROM %s LIMIT %d) s", outer.data, inner.data, table, SAMPLE), false, 1);
	for (int i = 0; SPI_processed > 0 && i < list_length(sample->columns); i++)
	{
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &sample->nulls[i]);
		MemoryContext previous = MemoryContextSwitchTo(sample->context);

		if (!sample->nulls[i])
			sample->values[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	sync_leave_owner(sample->sync, &scope);
}

void
drift_remember(const Sync *sync, RemoteTable *table)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	ListCell   *cell;
	Oid			types[3] = {INT8OID, OIDOID, JSONBOID};
	Datum		values[3] = {Int64GetDatum(sync->id), ObjectIdGetDatum(table->relation)};

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(cell, table->columns)
	{
		const RemoteColumn *column = lfirst(cell);
		const RemoteColumn *before = drift_remote_column(table->before, column->name);
		const Jsonb *print = column->print ? column->print : before ? before->print : NULL;
		const char *const fields[] = {"name", column->name, "type", column->type};

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i < lengthof(fields); i++)
		{
			value.type = jbvString;
			value.val.string.val = unconstify(char *, fields[i]);
			value.val.string.len = strlen(fields[i]);
			pushJsonbValue(&state, i % 2 ? WJB_VALUE : WJB_KEY, &value);
		}
		if (column->share > 0)
		{
			value.type = jbvString;
			value.val.string.val = "share";
			value.val.string.len = strlen("share");
			pushJsonbValue(&state, WJB_KEY, &value);
			value.type = jbvNumeric;
			value.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(column->share)));
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
		if (print)
		{
			value.type = jbvString;
			value.val.string.val = "print";
			value.val.string.len = strlen("print");
			pushJsonbValue(&state, WJB_KEY, &value);
			value.type = jbvBinary;
			value.val.binary.data = unconstify(JsonbContainer *, &print->root);
			value.val.binary.len = VARSIZE(print) - VARHDRSZ;
			pushJsonbValue(&state, WJB_VALUE, &value);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	values[2] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
	(void) own_value("SELECT activate._drift_remember($1, $2, $3)", 3, types, values, NULL, NULL);
}

void
drift_recall(const Sync *sync, RemoteTable *table)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, OIDOID};
	Datum		values[2] = {Int64GetDatum(sync->id), ObjectIdGetDatum(table->relation)};

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT name, type, print, stale, share FROM activate._drift_recall($1, $2)", 2, types, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;
		Datum		print = SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(context);
		RemoteColumn *column = palloc0(sizeof(RemoteColumn));

		column->name = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
		column->type = SPI_getvalue(row, SPI_tuptable->tupdesc, 2);
		column->print = isnull ? NULL : DatumGetJsonbPCopy(print);
		table->stale = DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 4, &isnull));
		column->share = DatumGetFloat8(SPI_getbinval(row, SPI_tuptable->tupdesc, 5, &isnull));
		table->before = lappend(table->before, column);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);
}
