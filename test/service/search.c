/*
 * search.c
 *	  Objects by the value of a field, and fields whose values are unique.
 */
#include <stdlib.h>
#include <string.h>

#include "service.h"

static json_object *unique;		/* collection: field */

void
search_reset(void)
{
	json_object_put(unique);
	unique = NULL;
}

const char *
search_configure(json_object *o)
{
	if (!json_object_is_type(o, json_type_object))
		return "unique is an object of collections, each with a field";
	search_reset();
	unique = json_object_get(o);
	return NULL;
}

static bool
has_value(json_object *row, const char *field, const char *value)
{
	const char *text = field ? json_member_text(row, field) : NULL;

	return text && value && strcmp(text, value) == 0;
}

bool
search_conflicts(const char *collection, json_object *rows, json_object *row)
{
	const char *field = json_member_text(unique, collection);
	const char *value = field ? json_member_text(row, field) : NULL;

	json_object_object_foreach(rows, id, other)
	{
		(void) id;
		if (has_value(other, field, value))
			return true;
	}
	return false;
}

void
search_handle(json_object *rows, const Request *request, json_object *body, Reply *reply)
{
	bool		post = strcmp(request->method, "POST") == 0;
	char	   *field = post ? NULL : query_param(request->query, "field");
	char	   *value = post ? NULL : query_param(request->query, "value");
	json_object *found = json_object_new_array();
	json_object *o = json_object_new_object();

	json_object_object_foreach(rows, id, row)
	{
		(void) id;
		if (has_value(row, post ? json_member_text(body, "field") : field, post ? json_member_text(body, "value") : value))
			json_object_array_add(found, json_object_get(row));
	}
	json_object_object_add(o, "data", found);
	json_reply(reply, 200, o);
	free(field);
	free(value);
}
