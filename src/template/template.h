/*
 * template.h
 *	  Rows to JSON bodies, URL and header templates, and reading JSON by path.
 *
 * A row is a flat jsonb object {"column": value}.  A path is dotted:
 * "properties.email", "items.0.id", "" is the whole document; a member name
 * that contains a dot is quoted: "\"a.b\".c".
 */
#ifndef ACTIVATE_TEMPLATE_H
#define ACTIVATE_TEMPLATE_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* A column of a target and where it stands in the API's object. */
typedef struct TemplateColumn
{
	const char *name;
	const char *path;			/* NULL: at the top, under its name */
	bool		skip;			/* read-only: never written */
} TemplateColumn;

/*
 * Appends the API's object for a flat row: columns placed at their paths.
 * A column that the row lacks is left out; NULLs are explicit.  Columns of the
 * row that are not among columns are appended under their own names.
 */
extern void template_append_object(StringInfo out, Jsonb *row,
								   const TemplateColumn *columns, int ncolumns);

/*
 * Expands "{name}" from the members of values, percent-encoded when url.
 * "{{" is a brace.  An absent or null member is an error (22023) naming it;
 * in a header CR, LF and NUL are an error as well.
 */
extern char *template_expand(const char *template, Jsonb *values, bool url);

/* The names in braces, for checking at declaration; list of char *. */
extern List *template_names(const char *template);

/* The value at path, or NULL if there is none.  *value is filled otherwise. */
extern JsonbValue *template_path(Jsonb *document, const char *path, JsonbValue *value);

/* A scalar as text as ->> gives it (objects and arrays as JSON text); NULL for null. */
extern char *template_scalar_text(const JsonbValue *value);

/* A member of a flat object as text, NULL if absent or null. */
extern char *template_member_text(Jsonb *object, const char *name);

/* Appends a JSON string literal, quotes included. */
extern void template_append_string(StringInfo out, const char *value);

/* key=value appended to a URL's query, percent-encoded, "?" or "&" as needed. */
extern void template_append_query(StringInfo url, const char *name, const char *value);

#endif							/* ACTIVATE_TEMPLATE_H */
