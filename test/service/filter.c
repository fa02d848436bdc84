/*
 * filter.c
 *	  Lists of some objects only, by parameters of the query: eq.FIELD, in.FIELD
 *	  (values with commas), any.FIELD (one of those given so), gt., ge., lt., le.
 *
 * Every other parameter means nothing, as to most APIs.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "service.h"

/* Numbers as numbers, everything else as text. */
static int
compare(const char *a, const char *b)
{
	char	   *end_a;
	char	   *end_b;
	double		x = strtod(a, &end_a);
	double		y = strtod(b, &end_b);

	if (*a && *b && *end_a == '\0' && *end_b == '\0')
		return (x > y) - (x < y);
	return strcmp(a, b);
}

static bool
in_list(const char *value, char *list)
{
	char	   *rest = list;
	char	   *one;

	while ((one = strsep(&rest, ",")) != NULL)
		if (compare(value, one) == 0)
			return true;
	return false;
}

/* *any: was one given; *one: does one of these hold. */
static bool
holds(const char *op, const char *value, char *wanted, bool *any, bool *one)
{
	if (strcmp(op, "any") == 0)
	{
		*any = true;
		*one = *one || (value && compare(value, wanted) == 0);
		return true;
	}
	if (value == NULL)
		return false;
	if (strcmp(op, "eq") == 0)
		return compare(value, wanted) == 0;
	if (strcmp(op, "in") == 0)
		return in_list(value, wanted);
	if (strcmp(op, "gt") == 0)
		return compare(value, wanted) > 0;
	if (strcmp(op, "ge") == 0)
		return compare(value, wanted) >= 0;
	if (strcmp(op, "lt") == 0)
		return compare(value, wanted) < 0;
	return compare(value, wanted) <= 0;
}

static bool
is_op(const char *name, size_t len)
{
	static const char *const ops[] = {"eq", "in", "any", "gt", "ge", "lt", "le"};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (strlen(ops[i]) == len && strncmp(ops[i], name, len) == 0)
			return true;
	return false;
}

static bool
matches(json_object *row, const char *query)
{
	char	   *copy = strdup(query);
	char	   *rest = copy;
	char	   *pair;
	bool		any = false;
	bool		one = false;
	bool		good = true;

	while (good && (pair = strsep(&rest, "&")) != NULL)
	{
		char	   *value = strchr(pair, '=');
		char	   *dot;

		if (value == NULL)
			continue;
		*value++ = '\0';
		percent_decode(pair);
		percent_decode(value);
		dot = strchr(pair, '.');
		if (dot == NULL || !is_op(pair, (size_t) (dot - pair)))
			continue;
		*dot = '\0';
		good = holds(pair, json_member_text(row, dot + 1), value, &any, &one);
	}
	free(copy);
	return good && (!any || one);
}

json_object *
filter_rows(json_object *rows, const char *query)
{
	json_object *kept = json_object_new_object();

	json_object_object_foreach(rows, id, row)
	{
		if (matches(row, query))
			json_object_object_add(kept, id, json_object_get(row));
	}
	return kept;
}
