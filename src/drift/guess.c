/*
 * guess.c
 *	  Which of the new columns of another server a column is that is gone there.
 *
 * What speaks for one: it stands where the other stood (between the same
 * columns that stayed), a similar name, the type, and the values.  Where it
 * stands elsewhere, as a column does that was really added, values of few kinds prove
 * nothing.
 */
#include "postgres.h"

#include "drift/remote.h"
#include "catalog/pg_type.h"
#include "core/own.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

/* What is not that probable is a drop and an addition. */
#define LEAST 0.5

static double name_likeness(const char *a, const char *b);
static char *plain(const char *name);
static bool in_same_place(const RemoteTable *table, const char *gone, const RemoteColumn *candidate);
static double value_likeness(const RemoteColumn *a, const RemoteColumn *b, bool others, bool *many);
static bool is_of_other_rows(const RemoteTable *table);

RemoteColumn *
drift_guess(const RemoteTable *table, const char *gone, const List *candidates, double *confidence)
{
	const RemoteColumn *was = drift_remote_column(table->before, gone);
	RemoteColumn *best = NULL;
	bool		others = is_of_other_rows(table);
	ListCell   *cell;

	*confidence = LEAST;
	if (was == NULL)
		return NULL;
	foreach(cell, candidates)
	{
		RemoteColumn *candidate = lfirst(cell);
		bool		place = in_same_place(table, gone, candidate);
		bool		many = false;
		double		name = name_likeness(gone, candidate->name);
		double		values;
		double		guess;

		if (table->kind == REMOTE_SERVER ? strcmp(was->type, candidate->type) != 0 : !drift_met_fits(table, candidate, was->type))
			continue;
		values = value_likeness(was, candidate, others, &many);
		if (values < 0)
			guess = 0.35 + 0.25 * name + 0.25 * place;
		else
			guess = 0.2 + 0.2 * name + 0.2 * place + 0.4 * values;
		/* other values are another column, whatever it is called; few values are those of many columns */
		if (values >= 0 && values < 0.3)
			guess = Min(guess, 0.45);
		if (!place && !many && name < 1)
			guess = Min(guess, 0.7);
		if (guess > *confidence)
		{
			*confidence = guess;
			best = candidate;
		}
	}
	*confidence = Min(*confidence, 0.99);
	return best;
}

/* 1: the same but for case and signs; 0: nothing in common. */
static double
name_likeness(const char *a, const char *b)
{
	char	   *p = plain(a);
	char	   *q = plain(b);
	int			length = Max(strlen(p), strlen(q));
	double		likeness;

	if (strcmp(p, q) == 0)
		return 1;
	if (strlen(p) == 0 || strlen(q) == 0 || length > 255)
		return 0;
	likeness = 1 - varstr_levenshtein(p, strlen(p), q, strlen(q), 1, 1, 1, true) / (double) length;
	if (Min(strlen(p), strlen(q)) >= 3 && (strstr(p, q) || strstr(q, p)))
		likeness = Max(likeness, 0.7);
	return likeness;
}

static char *
plain(const char *name)
{
	char	   *result = pstrdup(name);
	char	   *end = result;

	for (const char *c = name; *c; c++)
		if (IS_HIGHBIT_SET(*c) || isalnum((unsigned char) *c))
			*end++ = pg_tolower((unsigned char) *c);
	*end = '\0';
	return result;
}

/* The nearest column before it that stayed is the same, then and now. */
static bool
in_same_place(const RemoteTable *table, const char *gone, const RemoteColumn *candidate)
{
	const char *before = NULL;
	const char *now = NULL;
	int			behind = 0;
	int			behind_now = 0;
	ListCell   *cell;

	foreach(cell, table->before)
	{
		const RemoteColumn *column = lfirst(cell);

		if (strcmp(column->name, gone) == 0)
			break;
		if (drift_remote_column(table->columns, column->name))
			before = column->name, behind = 0;
		else
			behind++;
	}
	foreach(cell, table->columns)
	{
		const RemoteColumn *column = lfirst(cell);

		if (column == candidate)
			break;
		if (drift_remote_column(table->before, column->name))
			now = column->name, behind_now = 0;
		else
			behind_now++;
	}
	return behind == behind_now && (before && now ? strcmp(before, now) == 0 : before == now);
}

/* 0 to 1; -1: one of them was not looked at.  many: of so many kinds that likeness is no chance. */
static double
value_likeness(const RemoteColumn *a, const RemoteColumn *b, bool others, bool *many)
{
	Oid			types[3] = {JSONBOID, JSONBOID, BOOLOID};
	Datum		values[3];
	bool		isnull;
	double		result;

	if (a->print == NULL || b->print == NULL)
		return -1;
	values[0] = JsonbPGetDatum(a->print);
	values[1] = JsonbPGetDatum(b->print);
	values[2] = BoolGetDatum(others);
	result = DatumGetFloat8(own_value("SELECT activate._drift_likeness($1, $2, $3)", 3, types, values, NULL, &isnull));
	*many = own_int64("SELECT least(($1 ->> 'distinct')::bigint, ($2 ->> 'distinct')::bigint)", 2, types, values) >= 20;
	return isnull ? -1 : result;
}

/* A file may have what came after the last one: then what is unique has no value of before, whatever it is called. */
static bool
is_of_other_rows(const RemoteTable *table)
{
	Oid			types[2] = {JSONBOID, JSONBOID};
	bool		others = false;
	ListCell   *cell;

	foreach(cell, table->kind == REMOTE_SERVER ? NIL : table->columns)
	{
		const RemoteColumn *now = lfirst(cell);
		const RemoteColumn *then = drift_remote_column(table->before, now->name);
		Datum		values[2];
		bool		isnull;
		bool		other;

		if (then == NULL || then->print == NULL || now->print == NULL || then == now)
			continue;
		values[0] = JsonbPGetDatum(then->print);
		values[1] = JsonbPGetDatum(now->print);
		other = DatumGetBool(own_value("SELECT activate._drift_other_rows($1, $2)", 2, types, values, NULL, &isnull));
		if (!isnull && !other)
			return false;
		others |= !isnull;
	}
	return others;
}
