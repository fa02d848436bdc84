/*
 * version.c
 *	  Answers to GET that say which version they hold, and 304 for who has it.
 */
#include <stdlib.h>
#include <string.h>

#include "service.h"

static char *tag;				/* "etag" or "weak"; NULL: none */
static int64_t changed;			/* microseconds; 0: not told */

void
version_reset(void)
{
	free(tag);
	tag = NULL;
	changed = 0;
}

const char *
version_configure(json_object *value)
{
	version_reset();
	if (json_object_is_type(value, json_type_string))
		tag = strdup(json_object_get_string(value));
	else if (json_object_is_type(value, json_type_int))
		changed = now_us() - json_object_get_int64(value) * 1000000;
	else if (value)
		return "versions: \"etag\", \"weak\", or seconds";
	return NULL;
}

static void
tell(const Request *request, Reply *reply, const char *header, const char *version, const char *asks)
{
	const char *asked = request_header(request, asks);

	buffer_printf(&reply->headers, "%s: %s\r\n", header, version);
	if (asked == NULL || strcmp(asked, version) != 0)
		return;
	reply->status = 304;
	reply->body.len = 0;
}

void
version_tell(const Request *request, Reply *reply)
{
	char		text[80];
	char		hex[65];

	if (strcmp(request->method, "GET") != 0)
	{
		changed = changed ? now_us() : 0;
		return;
	}
	if (reply->status != 0 && reply->status != 200)
		return;
	http_date(now_us(), text);
	buffer_printf(&reply->headers, "Date: %s\r\n", text);
	if (tag)
	{
		sha256_hex(reply->body.data, reply->body.len, hex);
		hex[16] = '\0';
		strcpy(text, strcmp(tag, "weak") == 0 ? "W/\"" : "\"");
		strcat(strcat(text, hex), "\"");
		tell(request, reply, "ETag", text, "if-none-match");
	}
	else if (changed)
	{
		http_date(changed, text);
		tell(request, reply, "Last-Modified", text, "if-modified-since");
	}
}
