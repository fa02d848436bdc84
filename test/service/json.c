/*
 * json.c
 *	  What the service needs of json-c, in one place.
 *
 * Numbers with a fraction keep the text they came with; integers beyond 64
 * bits do not (json-c saturates them): for those look at the raw body in /_log.
 */
#include <string.h>

#include "service.h"

json_object *
json_parse(const char *data, size_t len)
{
	static json_tokener *tokener = NULL;
	json_object *o;

	if (tokener == NULL)
	{
		tokener = json_tokener_new_ex(64);
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		json_object_put(json_tokener_parse_ex(tokener, "[\"\xc3\xa9\", 18446744073709551616]", 28));
		/* where json-c is strict, 0.18 takes the first for a control character, and 0.19 the second for none of its numbers */
		if (json_tokener_get_error(tokener) != json_tokener_success)
			json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	}
	json_tokener_reset(tokener);
	o = json_tokener_parse_ex(tokener, data, (int) len);
	if (json_tokener_get_error(tokener) == json_tokener_success)
		return o;
	json_object_put(o);
	return NULL;
}

const char *
json_text(json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

json_object *
json_member(json_object *o, const char *name)
{
	json_object *value = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, name, &value);
	return value;
}

const char *
json_member_text(json_object *o, const char *name)
{
	json_object *value = json_member(o, name);

	return value ? json_object_get_string(value) : NULL;
}

void
json_reply(Reply *reply, int status, json_object *o)
{
	size_t		len;
	const char *text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);

	reply->status = status;
	reply->body.len = 0;
	buffer_append(&reply->body, text, len);
	json_object_put(o);
}

void
json_error(Reply *reply, int status, const char *message)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "error", json_object_new_string(message));
	json_reply(reply, status, o);
}
