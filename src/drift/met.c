/*
 * met.c
 *	  Sources that do not say what they have: it is what their first records
 *	  were met with.
 *
 * A column of ours is of its type as long as the values can be read as such;
 * else, and where it is new, of the narrowest that they all look like.  A
 * single value that does not fit is no other type, but the run's to refuse.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/own.h"
#include "drift/remote.h"
#include "executor/spi.h"
#include "file/file.h"
#include "rest/rest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* Records that are looked at. */
#define RECORDS 1000

/* Of text one in so many must not fit, to be another type. */
#define STRAY 10

/* Where JSON has no member, it is gone if so many records should have had it by chance ... */
#define EXPECTED 10
/* ... or so many, where all of them had it. */
#define EXPECTED_ALL 3

typedef struct Cast
{
	const Sync *sync;
	const char *command;
	Datum		value;
	Oid			type;
} Cast;

static void read_met(RemoteTable *table, const char *records, List *names);
static char *type_of(const RemoteTable *table, AttrNumber attnum, const RemoteColumn *column, const char *looks);
static int	misfits(const RemoteTable *table, const RemoteColumn *column, const char *type, int *n);

void
drift_met_ask(RemoteTable *table)
{
	const Sync *sync = table->sync;
	FileSample	page = {NIL, NULL};
	FileSample *sample = &page;
	IdentityScope scope;

	sync_enter_owner(sync, &scope);
	if (table->kind == REMOTE_API)
		page.records = rest_sample(table->relation, sync->owner);
	else
		sample = file_sample(sync, table->relation, RECORDS);
	sync_leave_owner(sync, &scope);
	if (sample == NULL || sample->records == NULL)
		return;
	table->open = sample->names == NIL;
	read_met(table, sample->records, sample->names);
}

static Datum
text_array(char **texts, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));
	int			some = 0;

	for (int i = 0; i < n; i++)
		if (texts[i])
			values[some++] = CStringGetTextDatum(texts[i]);
	return PointerGetDatum(construct_array(values, some, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
read_met(RemoteTable *table, const char *records, List *names)
{
	char	  **ours = drift_remote_names(table->relation);
	int			natts = drift_natts(table->relation);
	char	  **header = palloc(sizeof(char *) * (list_length(names) + 1));
	MemoryContext context = CurrentMemoryContext;
	IdentityScope scope;
	Oid			types[3] = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[3] = {CStringGetTextDatum(records), text_array(ours, natts)};
	List	   *looks = NIL;
	ListCell   *cell;
	ListCell   *look;

	foreach(cell, names)
		header[foreach_current_index(cell)] = lfirst(cell);
	values[2] = text_array(header, list_length(names));
	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT name, looks, share, sample, records FROM activate._drift_met($1::json, $2, $3)", 3, types, values,
						  table->open ? "  n" : NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Datum		sample = SPI_getbinval(row, desc, 4, &isnull);
		MemoryContext previous = MemoryContextSwitchTo(context);
		RemoteColumn *column = palloc0(sizeof(RemoteColumn));

		column->name = SPI_getvalue(row, desc, 1);
		column->sample = isnull ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(sample));
		column->share = DatumGetFloat8(SPI_getbinval(row, desc, 3, &isnull));
		table->records = DatumGetInt64(SPI_getbinval(row, desc, 5, &isnull));
		table->columns = lappend(table->columns, column);
		looks = lappend(looks, SPI_getvalue(row, desc, 2));
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave(&scope);

	forboth(cell, table->columns, look, looks)
	{
		RemoteColumn *column = lfirst(cell);

		column->type = lfirst(look);
		for (int attnum = 1; attnum <= natts; attnum++)
			if (ours[attnum - 1] && strcmp(ours[attnum - 1], column->name) == 0)
				column->type = type_of(table, attnum, column, lfirst(look));
	}
}

static char *
type_of(const RemoteTable *table, AttrNumber attnum, const RemoteColumn *column, const char *looks)
{
	Oid			type;
	int32		typmod;
	Oid			collation;
	char	   *ours;
	int			wrong;
	int			n;

	get_atttypetypmodcoll(table->relation, attnum, &type, &typmod, &collation);
	ours = format_type_with_typemod(type, typmod);
	if (column->sample == (Datum) 0 || strcmp(looks, ours) == 0)
		return ours;
	/* a time of the day is lost without a word */
	if (getBaseType(type) == DATEOID && strncmp(looks, "timestamp", strlen("timestamp")) == 0)
		return pstrdup(looks);
	if (strcmp(looks, "jsonb") == 0 && (getBaseType(type) == JSONOID || OidIsValid(get_element_type(getBaseType(type)))))
		return ours;
	wrong = misfits(table, column, ours, &n);
	return wrong == 0 || (strcmp(looks, "text") == 0 && wrong * STRAY < n) ? ours : pstrdup(looks);
}

bool
drift_met_fits(const RemoteTable *table, const RemoteColumn *column, const char *type)
{
	int			n;

	return column->sample == (Datum) 0 || misfits(table, column, type, &n) * STRAY <= n;
}

static void
cast_work(void *arg)
{
	Cast	   *cast = arg;
	IdentityScope scope;

	/* a domain's checks are anybody's code */
	sync_enter_owner(cast->sync, &scope);
	SPI_connect();
	SPI_execute_with_args(cast->command, 1, &cast->type, &cast->value, NULL, true, 0);
	SPI_finish();
	sync_leave_owner(cast->sync, &scope);
}

static bool
casts(Cast *cast)
{
	ErrorData  *error = attempt_and_forget(cast_work, cast);

	if (error && attempt_was_cancelled(error))
		ReThrowError(error);
	return error == NULL;
}

/* Values, of n that are none of NULL, which a type does not take. */
static int
misfits(const RemoteTable *table, const RemoteColumn *column, const char *type, int *n)
{
	Cast		all = {table->sync, psprintf("SELECT count(v::%s) FROM unnest($1) v", type), column->sample, TEXTARRAYOID};
	Cast		one = {table->sync, psprintf("SELECT $1::%s", type), (Datum) 0, TEXTOID};
	Datum	   *values;
	bool	   *nulls;
	int			some;
	int			wrong = 0;
	bool		fits = strcmp(type, "text") == 0 || casts(&all);

	*n = 0;
	deconstruct_array(DatumGetArrayTypeP(column->sample), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &some);
	for (int i = 0; i < some; i++)
	{
		if (nulls[i])
			continue;
		(*n)++;
		one.value = values[i];
		if (!fits && !casts(&one))
			wrong++;
	}
	return wrong;
}

void
drift_met_keep(RemoteTable *table)
{
	ListCell   *cell;

	if (!table->open)
		return;
	foreach(cell, table->before)
	{
		RemoteColumn *was = lfirst(cell);
		double		expected = was->share * table->records;

		if (drift_remote_column(table->columns, was->name) == NULL &&
			expected < (was->share >= 1 ? EXPECTED_ALL : EXPECTED))
			table->columns = lappend(table->columns, was);
	}
}

void
drift_met_print(RemoteTable *table)
{
	Oid			type = TEXTARRAYOID;
	ListCell   *cell;

	foreach(cell, table->columns)
	{
		RemoteColumn *column = lfirst(cell);

		if (column->print == NULL && column->sample)
			column->print = DatumGetJsonbP(own_value("SELECT activate._drift_print($1)", 1, &type, &column->sample, NULL, NULL));
	}
}
