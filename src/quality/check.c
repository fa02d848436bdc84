/*
 * check.c
 *	  Checking what is expected of relations: one pass for all that one role
 *	  expects of one.
 *
 * It is done as the owner of the expectations, in a subtransaction.  An error
 * that is about what is expected (a division by zero, a right that is missing)
 * is the outcome of that expectation, which is found by asking for each alone;
 * what will pass by itself, as a lost connection, is an error of who asks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/attempt.h"
#include "core/compat.h"
#include "core/identity.h"
#include "core/own.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "access/sysattr.h"
#include "quality/expect.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* A pass, or the search for some rows that fail. */
typedef struct Check
{
	List	   *expectations;	/* of one relation and owner */
	char	   *statement;
	MemoryContext context;
	int64		rows;
	int64	   *failed;
	char	  **notes;			/* the newest value of "fresh" */
	Jsonb	   *sample;
} Check;

static List *read_expectations(List *result);
static bool check_together(List *expectations, int64 run);
static char *pass(Check *check);
static char *sample(const Expectation *expectation, Jsonb **out);
static bool record(const Expectation *expectation, int64 run, const Check *check, int i, const char *error);

List *
expectations_of(int64 sync, const List *relations)
{
	IdentityScope scope;
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {INT8OID, OIDARRAYOID};
	Datum		values[2] = {Int64GetDatum(sync)};
	Datum	   *oids = palloc(sizeof(Datum) * Max(list_length(relations), 1));
	int			n = 0;
	List	   *result;
	MemoryContext previous;
	ListCell   *cell;

	foreach(cell, relations)
		oids[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	values[1] = PointerGetDatum(construct_array(oids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));

	identity_enter_extension(&scope);
	SPI_connect();
	SPI_execute_with_args("SELECT id, relation, name, expectation, on_fail, owner, kind, bounds, search_path, tree, tree_major, direct, was"
						  " FROM activate._expected(nullif($1, 0), $2)", 2, types, values, NULL, false, 0);
	previous = MemoryContextSwitchTo(context);
	result = read_expectations(NIL);
	MemoryContextSwitchTo(previous);
	SPI_finish();
	identity_leave(&scope);
	return result;
}

static List *
read_expectations(List *result)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Expectation *it = palloc0(sizeof(Expectation));
		bool		isnull;
		Datum		bounds;

		it->id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		it->relation = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		it->name = SPI_getvalue(row, desc, 3);
		it->text = SPI_getvalue(row, desc, 4);
		it->on_fail = SPI_getvalue(row, desc, 5);
		it->owner_name = SPI_getvalue(row, desc, 6);
		it->owner = get_role_oid(it->owner_name, true);
		it->kind = SPI_getvalue(row, desc, 7);
		bounds = SPI_getbinval(row, desc, 8, &isnull);
		it->bounds = isnull ? NULL : DatumGetJsonbPCopy(bounds);
		it->search_path = SPI_getvalue(row, desc, 9);
		if (DatumGetInt32(SPI_getbinval(row, desc, 11, &isnull)) == SYNC_TREE_MAJOR)
			it->tree = castNode(Query, stringToNode(SPI_getvalue(row, desc, 10)));
		it->direct = DatumGetBool(SPI_getbinval(row, desc, 12, &isnull));
		it->was = SPI_getvalue(row, desc, 13);
		result = lappend(result, it);
	}
	return result;
}

bool
expectations_check(List *expectations, int64 run)
{
	bool		changed = false;
	List	   *group = NIL;
	ListCell   *cell;

	/* they are sorted so */
	foreach(cell, expectations)
	{
		Expectation *it = lfirst(cell);
		const Expectation *first = group ? linitial(group) : NULL;

		if (first && (first->relation != it->relation || first->owner != it->owner ||
					  strcmp(first->search_path, it->search_path) != 0))
		{
			changed |= check_together(group, run);
			group = NIL;
		}
		group = lappend(group, it);
	}
	return group ? check_together(group, run) || changed : changed;
}

static bool
check_together(List *expectations, int64 run)
{
	Check		check = {.expectations = expectations, .context = CurrentMemoryContext};
	char	   *error = pass(&check);
	bool		changed = false;
	ListCell   *cell;

	if (error && list_length(expectations) > 1)
	{
		foreach(cell, expectations)
			changed |= check_together(list_make1(lfirst(cell)), run);
		return changed;
	}
	foreach(cell, expectations)
	{
		const Expectation *it = lfirst(cell);
		int			i = foreach_current_index(cell);

		check.sample = NULL;
		if (error == NULL && check.failed[i] > 0)
			(void) sample(it, &check.sample);
		changed |= record(it, run, &check, i, error);
	}
	return changed;
}

/* Their trees as one: SELECT what each needs FROM the relation, and keys k1.. where they are asked for. */
static char *
together(List *expectations, const List *keys, char **reason)
{
	Query	   *result = NULL;
	List	   *targets = NIL;
	ListCell   *cell;
	ListCell   *target;

	*reason = NULL;
	foreach(cell, expectations)
	{
		const Expectation *it = lfirst(cell);
		Query	   *tree;

		if (it->tree == NULL)
		{
			*reason = pstrdup("it was declared in another database, or under another PostgreSQL, and waits for activate_adopt()");
			return NULL;
		}
		tree = copyObject(it->tree);
		foreach(target, tree->targetList)
		{
			TargetEntry *entry = lfirst(target);

			entry->resno = list_length(targets) + 1;
			entry->resname = psprintf("e%d_%d", foreach_current_index(cell) + 1, foreach_current_index(target) + 1);
			targets = lappend(targets, entry);
		}
		if (result)
			result->hasSubLinks |= tree->hasSubLinks;
		else
			result = tree;
	}
	foreach(cell, keys)
	{
		AttrNumber	column = lfirst_int(cell);
		Oid			type;
		int32		typmod;
		Oid			collation;

		get_atttypetypmodcoll(((Expectation *) linitial(expectations))->relation, column, &type, &typmod, &collation);
		targets = lappend(targets, makeTargetEntry((Expr *) makeVar(1, column, type, typmod, collation, 0), list_length(targets) + 1,
												   psprintf("k%d", foreach_current_index(cell) + 1), false));
	}
	result->targetList = targets;
	return sync_tree_text(result, reason);
}

static void
pass_work(void *arg)
{
	Check	   *check = arg;
	const Expectation *first = linitial(check->expectations);
	IdentityScope scope;
	bool		isnull;
	Datum	   *values;
	bool	   *nulls;
	int			n;
	HeapTuple	row;
	TupleDesc	desc;
	MemoryContext previous;

	identity_enter_owner(&scope, first->owner, first->search_path);
	SPI_connect();
	SPI_execute(check->statement, false, 1);
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	previous = MemoryContextSwitchTo(check->context);
	n = list_length(check->expectations);
	check->failed = palloc0(sizeof(int64) * n);
	check->notes = palloc0(sizeof(char *) * n);
	check->rows = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, desc, 2, &isnull)), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		check->failed[i] = nulls[i] ? 0 : DatumGetInt64(values[i]);
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, desc, 3, &isnull)), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		check->notes[i] = nulls[i] ? NULL : TextDatumGetCString(values[i]);
	MemoryContextSwitchTo(previous);
	SPI_finish();
	identity_leave_owner(&scope);
}

/* Is it no finding: will it pass by itself, or concern the statement and not what is expected? */
static bool
is_no_finding(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_FDW_ERROR:
			return true;
		default:
			return attempt_was_cancelled(error) || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

static char *
attempt_check(AttemptWork work, Check *check)
{
	const Expectation *first = linitial(check->expectations);
	ErrorData  *error;

	if (!OidIsValid(first->owner))
		return psprintf("its owner, role \"%s\", was dropped", first->owner_name);
	error = attempt(work, check);
	if (error == NULL)
		return NULL;
	if (is_no_finding(error))
		ReThrowError(error);
	return error->message;
}

static char *
check_sql(List *expectations, const char *query)
{
	int			n = list_length(expectations);
	Datum	   *kinds = palloc(sizeof(Datum) * n);
	Datum	   *widths = palloc(sizeof(Datum) * n);
	Datum	   *bounds = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc0(sizeof(bool) * n);
	int			dims[1] = {n};
	int			lower[1] = {1};
	Oid			types[4] = {TEXTOID, TEXTARRAYOID, INT4ARRAYOID, JSONBARRAYOID};
	Datum		values[4];
	ListCell   *cell;

	foreach(cell, expectations)
	{
		const Expectation *it = lfirst(cell);
		int			i = foreach_current_index(cell);

		kinds[i] = CStringGetTextDatum(it->kind);
		widths[i] = Int32GetDatum(list_length(it->tree->targetList));
		nulls[i] = it->bounds == NULL;
		bounds[i] = it->bounds ? JsonbPGetDatum(it->bounds) : (Datum) 0;
	}
	values[0] = CStringGetTextDatum(query);
	values[1] = PointerGetDatum(construct_array(kinds, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(widths, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	values[3] = PointerGetDatum(construct_md_array(bounds, nulls, 1, dims, lower, JSONBOID, -1, false, TYPALIGN_INT));
	return own_text("SELECT activate._check_sql($1, $2, $3, $4)", 4, types, values);
}

/* Why it could not be done; NULL: it was. */
static char *
pass(Check *check)
{
	char	   *reason;
	char	   *query = together(check->expectations, NIL, &reason);

	if (query == NULL)
		return reason;
	check->statement = check_sql(check->expectations, query);
	return attempt_check(pass_work, check);
}

static void
sample_work(void *arg)
{
	Check	   *check = arg;
	const Expectation *it = linitial(check->expectations);
	IdentityScope scope;
	bool		isnull;
	Datum		value;

	identity_enter_owner(&scope, it->owner, it->search_path);
	SPI_connect();
	SPI_execute(check->statement, false, 1);
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
	{
		MemoryContext previous = MemoryContextSwitchTo(check->context);

		check->sample = DatumGetJsonbPCopy(value);
		MemoryContextSwitchTo(previous);
	}
	SPI_finish();
	identity_leave_owner(&scope);
}

/* Columns that say which row it is: the primary key, else those that are looked at. */
static List *
telling_columns(const Expectation *it, List **names)
{
	List	   *result = NIL;
	ListCell   *cell;

	*names = relation_primary_key(it->relation);
	foreach(cell, *names)
		result = lappend_int(result, get_attnum(it->relation, lfirst(cell)));
	if (*names == NIL)
	{
		Bitmapset  *columns = NULL;
		int			column = -1;

		pull_varattnos((Node *) it->tree->targetList, 1, &columns);
		while ((column = bms_next_member(columns, column)) >= 0)
		{
			AttrNumber	number = column + FirstLowInvalidHeapAttributeNumber;

			if (number <= 0)
				continue;
			result = lappend_int(result, number);
			*names = lappend(*names, get_attname(it->relation, number, false));
		}
	}
	return result;
}

/* What a "unique" looks at, by name. */
static List *
value_names(const Expectation *it)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, it->tree->targetList)
	{
		const Node *value = (Node *) lfirst_node(TargetEntry, cell)->expr;

		result = lappend(result, IsA(value, Var) ? get_attname(it->relation, ((const Var *) value)->varattno, true) :
						 psprintf("value %d", foreach_current_index(cell) + 1));
	}
	return result;
}

/* Some rows that fail.  To find none is no error: perhaps its owner may not read the key. */
static char *
sample(const Expectation *expectation, Jsonb **out)
{
	Check		check = {.expectations = list_make1(unconstify(Expectation *, expectation)), .context = CurrentMemoryContext};
	bool		row = strcmp(expectation->kind, "row") == 0;
	Oid			types[4] = {TEXTOID, TEXTOID, INT4OID, TEXTARRAYOID};
	Datum		values[4];
	Datum	   *texts;
	List	   *names;
	List	   *columns = NIL;
	char	   *reason = NULL;
	char	   *query;
	int			n = 0;
	ListCell   *cell;

	if (!row && strcmp(expectation->kind, "unique") != 0)
		return NULL;
	if (row)
		columns = telling_columns(expectation, &names);
	else
		names = value_names(expectation);
	if (names == NIL)
		return NULL;
	query = together(check.expectations, columns, &reason);
	if (query == NULL)
		return reason;
	texts = palloc(sizeof(Datum) * list_length(names));
	foreach(cell, names)
		texts[n++] = CStringGetTextDatum((char *) lfirst(cell));
	values[0] = CStringGetTextDatum(query);
	values[1] = CStringGetTextDatum(expectation->kind);
	values[2] = Int32GetDatum(list_length(expectation->tree->targetList));
	values[3] = PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
	check.statement = own_text("SELECT activate._sample_sql($1, $2, $3, $4)", 4, types, values);
	reason = attempt_check(sample_work, &check);
	*out = check.sample;
	return reason;
}

/* Has its state become good or bad by that? */
static bool
record(const Expectation *expectation, int64 run, const Check *check, int i, const char *error)
{
	Oid			types[7] = {INT8OID, INT8OID, INT8OID, INT8OID, JSONBOID, TEXTOID, TEXTOID};
	Datum		values[7];
	char		nulls[8] = "       ";
	char	   *state;
	bool		was_bad = expectation->was && strcmp(expectation->was, "ok") != 0;

	values[0] = Int64GetDatum(expectation->id);
	values[1] = Int64GetDatum(run);
	nulls[1] = run == 0 ? 'n' : ' ';
	values[2] = Int64GetDatum(check->rows);
	values[3] = Int64GetDatum(error ? 0 : check->failed[i]);
	nulls[2] = nulls[3] = error ? 'n' : ' ';
	values[4] = check->sample ? JsonbPGetDatum(check->sample) : (Datum) 0;
	nulls[4] = check->sample ? ' ' : 'n';
	values[5] = error || check->notes[i] == NULL ? (Datum) 0 : CStringGetTextDatum(check->notes[i]);
	nulls[5] = error || check->notes[i] == NULL ? 'n' : ' ';
	values[6] = error ? CStringGetTextDatum(error) : (Datum) 0;
	nulls[6] = error ? ' ' : 'n';
	state = TextDatumGetCString(own_value("SELECT state FROM activate._check_record($1, $2, $3, $4, $5, $6, $7)", 7, types, values, nulls, NULL));
	if (strcmp(state, expectation->was ? expectation->was : "ok") != 0)
		ereport(LOG,
				(errmsg("activate: expectation \"%s\" of %s is %s", expectation->name,
						quote_qualified_identifier(get_namespace_name(get_rel_namespace(expectation->relation)),
												   get_rel_name(expectation->relation)), strcmp(state, "ok") == 0 ? "met" : state)));
	return was_bad != (strcmp(state, "ok") != 0);
}
