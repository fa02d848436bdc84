/*
 * path.h
 *	  The grammars of the room as plain C: dotted paths, templates, and values in URLs.
 *
 * No palloc, no ereport, no postgres.h: what reads untrusted or hand-written
 * text is small, shared by the readers of jsonb and of json-c, and can be
 * fuzzed on its own.
 */
#ifndef ACTIVATE_PATH_H
#define ACTIVATE_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_NAME_MAX	255		/* bytes of one member name */

/* One step of a path. */
typedef struct PathStep
{
	char		name[PATH_NAME_MAX + 1];	/* unquoted */
	bool		is_index;		/* not quoted, [-]digits: also a position in an array */
	int			index;			/* negative: from the end */
	bool		is_any;			/* an unquoted "*": any member or element, where the reader of the path knows it */
} PathStep;

typedef enum PathResult
{
	PATH_END,					/* nothing left */
	PATH_STEP,
	PATH_MALFORMED
} PathResult;

/* Reads the next step and moves *path behind it. */
extern PathResult path_next(const char **path, PathStep *step);

/* Is it a path as a whole ("" is one)? */
extern bool path_valid(const char *path);

/* One piece of a template: literal bytes, or a name that was in braces. */
typedef struct TemplatePiece
{
	const char *start;
	size_t		len;
	bool		is_name;
} TemplatePiece;

/* PATH_STEP: a piece; PATH_MALFORMED: a brace without its pair, an empty name. */
extern PathResult template_next(const char **template, TemplatePiece *piece);

/* escape.c: percent-encodes value; out has room for three times its length and a NUL.  The length written. */
extern size_t escape_url(const char *value, char *out);

/* The same as application/x-www-form-urlencoded has it. */
extern size_t escape_form(const char *value, char *out);

/* The first "." or ".." between the slashes of a URL's path, its length in *len; NULL: there is none. */
extern const char *escape_walking_segment(const char *url, size_t *len);

#endif							/* ACTIVATE_PATH_H */
