/*
 * path.c
 *	  Tokenizers of dotted paths and of templates, in plain C.
 *
 * Deliberately without postgres.h: see path.h.  Every function terminates,
 * moves forward only, and writes nowhere but into its result.
 *
 *		path   := "" | step { "." step }
 *		step   := name | quoted
 *		name   := any bytes but "." and '"', at least one
 *		quoted := '"' any bytes, with \" and \\ escaped '"'
 */
#include "template/path.h"

#include <limits.h>
#include <string.h>

/* [-]digits that fit into an int */
static bool
path_index(const char *name, int *index)
{
	bool		negative = (*name == '-');
	long		value = 0;

	if (negative)
		name++;
	if (*name == '\0')
		return false;
	for (; *name; name++)
	{
		if (*name < '0' || *name > '9')
			return false;
		value = value * 10 + (*name - '0');
		if (value > INT_MAX)
			return false;
	}
	*index = (int) (negative ? -value : value);
	return true;
}

/* The text of a step; p stands behind it afterwards, or NULL is returned. */
static const char *
path_name(const char *p, PathStep *step)
{
	bool		quoted = (*p == '"');
	size_t		len = 0;

	if (quoted)
		p++;
	while (*p != '\0' && (quoted ? *p != '"' : *p != '.'))
	{
		if (*p == '"')
			return NULL;
		if (quoted && *p == '\\')
		{
			p++;
			if (*p != '"' && *p != '\\')
				return NULL;
		}
		if (len == PATH_NAME_MAX)
			return NULL;
		step->name[len++] = *p++;
	}
	step->name[len] = '\0';
	if (quoted)
	{
		if (*p != '"')
			return NULL;
		p++;
	}
	else if (len == 0)
		return NULL;
	step->is_index = !quoted && path_index(step->name, &step->index);
	step->is_any = !quoted && step->name[0] == '*' && step->name[1] == '\0';
	return p;
}

PathResult
path_next(const char **path, PathStep *step)
{
	const char *p = *path;

	if (*p == '\0')
		return PATH_END;
	p = path_name(p, step);
	if (p == NULL)
		return PATH_MALFORMED;
	if (*p == '.')
	{
		/* a dot announces another step */
		if (*++p == '\0')
			return PATH_MALFORMED;
	}
	else if (*p != '\0')
		return PATH_MALFORMED;
	*path = p;
	return PATH_STEP;
}

bool
path_valid(const char *path)
{
	PathStep	step;
	PathResult	result;

	while ((result = path_next(&path, &step)) == PATH_STEP)
		continue;
	return result == PATH_END;
}

PathResult
template_next(const char **template, TemplatePiece *piece)
{
	const char *p = *template;
	const char *end;

	if (*p == '\0')
		return PATH_END;
	piece->is_name = false;
	if ((p[0] == '{' || p[0] == '}') && p[1] == p[0])
	{
		/* doubled: the brace itself */
		piece->start = p;
		piece->len = 1;
		*template = p + 2;
		return PATH_STEP;
	}
	if (*p == '{')
	{
		end = strpbrk(p + 1, "{}");
		if (end == NULL || *end != '}' || end == p + 1)
			return PATH_MALFORMED;
		piece->start = p + 1;
		piece->len = (size_t) (end - piece->start);
		piece->is_name = true;
		*template = end + 1;
		return PATH_STEP;
	}
	/* a single closing brace is literal as well */
	piece->start = p;
	piece->len = 1 + strcspn(p + 1, "{}");
	*template = p + piece->len;
	return PATH_STEP;
}
