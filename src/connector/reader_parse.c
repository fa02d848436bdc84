/*
 * reader_parse.c
 *	  A text as a tree of json-c, strictly.
 *
 * Versions of json-c differ where they are strict: 0.18 takes every byte beyond
 * ASCII in a string for a control character, 0.19 refuses numbers that do not
 * fit into 64 bits.  So that all read the same, they are given ASCII only, what
 * is beyond it escaped, and need not be strict where there are such numbers.
 */
#include "connector/reader_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Also the limit of json-c's own recursion when it frees a document. */
#define READER_MAX_DEPTH	64
/* What is read in an answer this long may stay in memory. */
#define READER_KEPT_BYTES	(16 * 1024)

/* Are there so many digits that the number may not fit into 64 bits? */
static bool
has_long_number(const char *text, size_t len)
{
	size_t		digits = 0;

	for (size_t i = 0; i < len && digits < 19; i++)
		digits = text[i] >= '0' && text[i] <= '9' ? digits + 1 : 0;
	return digits == 19;
}

/* To make a tokener costs as much as reading a short answer, so it is kept; but not what a long text has made large. */
static json_object *
parse_ascii(const char *text, size_t len)
{
	static json_tokener *tokener = NULL;
	json_object *root;

	if (tokener != NULL)
		json_tokener_reset(tokener);
	else if ((tokener = json_tokener_new_ex(READER_MAX_DEPTH)) == NULL)
		return NULL;
	json_tokener_set_flags(tokener, has_long_number(text, len) ? 0 : JSON_TOKENER_STRICT);
	root = json_tokener_parse_ex(tokener, text, (int) len);
	if (json_tokener_get_error(tokener) != json_tokener_success ||
		json_tokener_get_parse_end(tokener) != len)
	{
		json_object_put(root);
		root = NULL;
	}
	if (len > READER_KEPT_BYTES)
	{
		json_tokener_free(tokener);
		tokener = NULL;
	}
	return root;
}

static bool
is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] >= 0x80)
			return false;
	return true;
}

/* The character of UTF-8 that begins with a byte beyond ASCII, and its length; 0: none does (RFC 3629). */
static size_t
utf8_character(const unsigned char *p, size_t left, unsigned long *character)
{
	static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t		len = *p >= 0xF0 ? 4 : *p >= 0xE0 ? 3 : 2;
	unsigned long c = *p & (0xFF >> (len + 1));

	if (*p < 0xC2 || *p > 0xF4 || left < len)
		return 0;
	for (size_t i = 1; i < len; i++)
	{
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
		return 0;
	*character = c;
	return len;
}

/* malloc'd; NULL: it is not UTF-8, or no JSON (a backslash before such a character), or there is no memory. */
static char *
escape_beyond_ascii(const char *text, size_t len, size_t *escaped_len)
{
	char	   *escaped = malloc(3 * len + 1);	/* two bytes become six, four twelve */
	char	   *to = escaped;
	bool		after_backslash = false;

	for (size_t i = 0; escaped != NULL && i < len;)
	{
		unsigned long c = (unsigned char) text[i];
		size_t		size = 1;

		if (c < 0x80)
		{
			*to++ = text[i];
			after_backslash = c == '\\' && !after_backslash;
		}
		else if (after_backslash || (size = utf8_character((const unsigned char *) text + i, len - i, &c)) == 0)
		{
			free(escaped);
			return NULL;
		}
		else if (c < 0x10000)
			to += sprintf(to, "\\u%04lx", c);
		else
			to += sprintf(to, "\\u%04lx\\u%04lx", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + (c & 0x3FF));
		i += size;
	}
	*escaped_len = (size_t) (to - escaped);
	return escaped;
}

json_object *
reader_parse(const char *text, size_t len)
{
	char	   *escaped;
	size_t		escaped_len;
	json_object *root;

	if (is_ascii(text, len))
		return parse_ascii(text, len);
	escaped = escape_beyond_ascii(text, len, &escaped_len);
	if (escaped == NULL)
		return NULL;
	root = parse_ascii(escaped, escaped_len);
	free(escaped);
	return root;
}
