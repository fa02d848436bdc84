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

/* What is made of the text of a value, in order. */
typedef enum TemplateStepKind
{
	STEP_TRIM, STEP_LOWER, STEP_UPPER, STEP_DIGITS, STEP_E164, STEP_GMAIL, STEP_MD5, STEP_SHA1, STEP_SHA256, STEP_BASE64
} TemplateStepKind;

typedef struct TemplateStep
{
	TemplateStepKind kind;
	const char *country;		/* STEP_E164: of numbers without one; NULL: there are none */
} TemplateStep;

typedef enum TemplateAs
{
	AS_IT_IS, AS_STRING, AS_NUMBER, AS_BOOLEAN, AS_ARRAY, AS_JSON
} TemplateAs;

typedef enum TemplateNull
{
	NULL_SEND, NULL_OMIT, NULL_EMPTY
} TemplateNull;

typedef enum TemplateDate
{
	DATE_AS_IT_IS, DATE_ISO, DATE_DAY, DATE_UNIX, DATE_UNIX_MS, DATE_FORMAT
} TemplateDate;

/* What an API wants to have of a column, other than its value as it is. */
typedef struct TemplateChange
{
	const char *from;			/* the column it is computed from; NULL: its own */
	TemplateDate date;
	const char *date_format;	/* of to_char(), DATE_FORMAT */
	int			nsteps;
	const TemplateStep *steps;
	TemplateAs	as;
	TemplateNull null;
	const char *empty;			/* NULL_EMPTY: what is sent; NULL: "" */
	bool		required;		/* of rows that are made */
	int			max_length;		/* characters; 0: any */
	int			nvalues;		/* 0: any */
	const char *const *values;	/* those that are allowed, as texts */
	Jsonb	   *wrap;			/* an object or array in which the value stands where the text "$" is; NULL: none */
} TemplateChange;

/* A column of a target and where it stands in the API's object. */
typedef struct TemplateColumn
{
	const char *name;
	const char *path;			/* NULL: at the top, under its name */
	bool		skip;			/* read-only: never written */
	const TemplateChange *change;	/* NULL: none */
} TemplateColumn;

/* The step of that name ("e164:49": with a country); false: there is none.  step->country points into name. */
extern bool template_step(const char *name, TemplateStep *step);
/* The names of all, for messages. */
extern const char *template_step_names(void);

/*
 * A flat row with what its columns' changes make of it, computed ones
 * included; errors (22023) name the column.  body false: as templates see it,
 * which is without as, null and wrap.
 */
extern Jsonb *template_change(Jsonb *row, const TemplateColumn *columns, int ncolumns, bool body);

/* Errors (22023) name the column that must be in a row that is made, and is not, or is null. */
extern void template_check_required(Jsonb *row, const TemplateColumn *columns, int ncolumns);

/* What stands at a path in every object, whatever the row. */
typedef struct TemplateConstant
{
	const char *path;
	JsonbValue	value;
} TemplateConstant;

/* How the API's object of a row looks. */
typedef struct TemplateShape
{
	int			ncolumns;
	const TemplateColumn *columns;
	int			nconstants;
	const TemplateConstant *constants;
	const char *at;				/* of columns that are not among these; NULL: at the top */
	const char *trace;			/* where the id of the message goes; NULL: nowhere */
	bool		close_gaps;		/* positions that nothing fills are left out, not null */
} TemplateShape;

/*
 * Appends the API's object for a flat row: columns placed at their paths.
 * A column that the row lacks is left out; NULLs are explicit.  Columns of the
 * row that are not among columns are appended under their own names.  row
 * NULL: constants only.  id: of the message; may be NULL without trace.
 */
extern void template_append_object(StringInfo out, Jsonb *row, const TemplateShape *shape, const char *id);

/* A value as JSON. */
extern void template_append_value(StringInfo out, const JsonbValue *value);

/*
 * Each scalar of the object under its name as forms have it, a[b][0], behind
 * the prefix ("": none).  Null and what is empty is an empty text.
 */
typedef void (*TemplateField) (void *arg, const char *name, const char *value);
extern void template_form(Jsonb *row, const TemplateShape *shape, const char *id, const char *prefix,
						  TemplateField field, void *arg);
/* A path as such a name, behind prefix. */
extern char *template_form_name(const char *prefix, const char *path);
/* application/x-www-form-urlencoded: name=value, UTF-8 and percent-encoded, behind what is there. */
extern void template_append_pair(StringInfo out, const char *name, const char *value);

/* A cell of CSV (RFC 4180); NULL: null, which is nothing, while an empty text is quoted. */
extern void template_append_cell(StringInfo out, const char *value);

/* The text of JSON around the rows, and around the list of columns, which stand at paths beside constants. */
typedef struct TemplateFrame
{
	char	   *before;
	char	   *between;		/* rows and columns; NULL: there is no list of columns */
	char	   *after;
	bool		columns_first;
} TemplateFrame;

/* columns: path; NULL: none */
extern void template_frame(TemplateFrame *frame, const TemplateConstant *constants, int nconstants,
						   const char *rows, const char *columns);

/* A member's name as a path, whatever is in it. */
extern char *template_path_step(const char *name);
/* The same path without quotes that it does not need; as it is, if it is none. */
extern char *template_path_plain(const char *path);
/* The name at its end. */
extern char *template_path_last(const char *path);
/* path behind at; a path that begins with "$." stands where it says; path NULL: the member called name. */
extern char *template_path_join(const char *at, const char *path, const char *name);

/*
 * Expands "{name}" from the members of values, percent-encoded when url.
 * "{{" is a brace.  An absent or null member is an error (22023) naming it;
 * in a header CR, LF and NUL are an error as well.
 */
extern char *template_expand(const char *template, Jsonb *values, bool url);
/* The same as plain text, whatever the values hold. */
extern char *template_expand_text(const char *template, Jsonb *values);

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
