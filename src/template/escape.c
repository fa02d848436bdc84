/*
 * escape.c
 *	  What a row's value can do to a URL.
 *
 * Everything that is not unreserved in RFC 3986 is percent-encoded, so that no
 * value adds a segment, a query or a fragment; "." and "..", which encoding
 * cannot disarm because clients and servers resolve them, and empty values,
 * which would turn "/contacts/7" into the collection itself, are refused.
 *
 * No postgres.h: see path.h.
 */
#include "template/path.h"

#include <string.h>

static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '.' || c == '_' || c == '~';
}

static char *
escape_byte(char c, char *at)
{
	static const char digits[] = "0123456789ABCDEF";

	*at++ = '%';
	*at++ = digits[(unsigned char) c >> 4];
	*at++ = digits[c & 0xf];
	return at;
}

size_t
escape_url(const char *value, char *out)
{
	char	   *at = out;

	for (; *value; value++)
	{
		if (is_unreserved(*value))
			*at++ = *value;
		else
			at = escape_byte(*value, at);
	}
	*at = '\0';
	return (size_t) (at - out);
}

/* A blank is a plus there, and "~" is none of the bytes that stay. */
size_t
escape_form(const char *value, char *out)
{
	char	   *at = out;

	for (; *value; value++)
	{
		if (*value == ' ')
			*at++ = '+';
		else if (*value == '*' || (is_unreserved(*value) && *value != '~'))
			*at++ = *value;
		else
			at = escape_byte(*value, at);
	}
	*at = '\0';
	return (size_t) (at - out);
}

const char *
escape_walking_segment(const char *url, size_t *len)
{
	while (*url && *url != '?')
	{
		*len = strcspn(url, "/?");
		if ((*len == 1 && url[0] == '.') || (*len == 2 && url[0] == '.' && url[1] == '.'))
			return url;
		url += *len;
		if (*url == '/')
			url++;
	}
	return NULL;
}
