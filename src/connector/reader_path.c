/*
 * reader_path.c
 *	  Paths into an answer, the elements of the lists there, and the positions
 *	  that they name.
 */
#include "connector/reader_parts.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "template/path.h"

/* Each member or element of from, as the rest of a path goes on from there. */
static bool
reader_visit_all(json_object *from, const char *rest, ReaderVisit visit, void *arg)
{
	if (json_object_is_type(from, json_type_object))
	{
		struct json_object_iterator it = json_object_iter_begin(from);
		struct json_object_iterator end = json_object_iter_end(from);

		for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
		{
			json_object *value = json_object_iter_peek_value(&it);

			if (value == NULL)
				continue;
			if (*rest == '\0' ? visit(value, json_object_iter_peek_name(&it), arg)
				: reader_visit(value, rest, visit, arg))
				return true;
		}
	}
	else if (json_object_is_type(from, json_type_array))
		for (size_t i = 0; i < json_object_array_length(from); i++)
		{
			json_object *value = json_object_array_get_idx(from, i);

			if (value != NULL && (*rest == '\0' ? visit(value, NULL, arg) : reader_visit(value, rest, visit, arg)))
				return true;
		}
	return false;
}

/* One step of a path that is no "*"; NULL: there is nothing, or null. */
static inline json_object *
reader_step(json_object *from, const PathStep *step)
{
	if (json_object_is_type(from, json_type_object))
		return json_object_object_get_ex(from, step->name, &from) ? from : NULL;
	if (json_object_is_type(from, json_type_array) && step->is_index)
	{
		long		length = (long) json_object_array_length(from);
		long		index = step->index < 0 ? step->index + length : step->index;

		return index < 0 || index >= length ? NULL : json_object_array_get_idx(from, (size_t) index);
	}
	return NULL;
}

bool
reader_visit(json_object *from, const char *path, ReaderVisit visit, void *arg)
{
	PathStep	step;
	PathResult	result;

	while (from != NULL && (result = path_next(&path, &step)) != PATH_END)
	{
		if (result == PATH_MALFORMED)
			return false;
		if (step.is_any)
			return reader_visit_all(from, path, visit, arg);
		from = reader_step(from, &step);
	}
	return from != NULL && visit(from, NULL, arg);
}

static bool
reader_take(json_object *value, const char *name, void *arg)
{
	(void) name;
	*(json_object **) arg = value;
	return true;
}

/* Once for each path and row: most have no "*", and go straight. */
json_object *
reader_at(json_object *from, const char *path)
{
	json_object *value = NULL;
	PathStep	step;
	PathResult	result = PATH_END;

	while (from != NULL && (result = path_next(&path, &step)) == PATH_STEP)
	{
		if (step.is_any)
		{
			(void) reader_visit_all(from, path, reader_take, &value);
			return value;
		}
		from = reader_step(from, &step);
	}
	return from != NULL && result == PATH_END ? from : NULL;
}

/* A number, its text, or the first number behind one of "[./#" in a text: "rows[3].email", "/data/3". */
int
reader_position(json_object *value, int first, int n)
{
	if (json_object_is_type(value, json_type_boolean) || json_object_is_type(value, json_type_double))
		return -1;
	return reader_position_text(reader_key(value), first, n);
}

int
reader_position_text(const char *text, int first, int n)
{
	char	   *end;
	long		number;

	if (text == NULL)
		return -1;
	if (*text < '0' || *text > '9' || text[strspn(text, "0123456789")] != '\0')
	{
		while (*text != '\0' && !(strchr("[./#", *text) != NULL && text[1] >= '0' && text[1] <= '9'))
			text++;
		if (*text == '\0')
			return -1;
		text++;
	}
	number = strtol(text, &end, 10);
	if (number > INT_MAX || number < first || number - first >= n)
		return -1;
	return (int) (number - first);
}

/* One value at the path of lists. */
typedef struct ElementWalk
{
	bool		whole;			/* the path is "": the document is a list, or none */
	bool		named;
	bool		found;
	ReaderVisit visit;
	void	   *arg;
} ElementWalk;

static bool
reader_elements_of(json_object *list, const char *name, void *arg)
{
	ElementWalk *walk = arg;
	bool		object = json_object_is_type(list, json_type_object);

	(void) name;
	if (json_object_is_type(list, json_type_array) || (object && walk->named))
	{
		walk->found = true;
		return reader_visit_all(list, "", walk->visit, walk->arg);
	}
	/* many APIs write a list of one as its element */
	if (walk->whole || (object && json_object_object_length(list) == 0))
		return false;
	walk->found = true;
	return walk->visit(list, NULL, walk->arg);
}

bool
reader_elements(json_object *root, const char *path, bool named, ReaderVisit visit, void *arg)
{
	ElementWalk walk = {.whole = path == NULL || *path == '\0', .named = named, .visit = visit, .arg = arg};

	(void) reader_visit(root, path ? path : "", reader_elements_of, &walk);
	return walk.found;
}
