/*
 * link.c
 *	  Link headers: see link.h.
 *
 *		Link: <https://host/list?page=2>; rel="next", </list>; rel="first"
 *
 * What is not as RFC 8288 describes it is passed over up to the next target: to
 * overlook a page would be to lose rows.
 */
#include "rest/link.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* What is left of one header's value: not NUL-terminated. */
typedef struct Field
{
	const char *at;
	const char *end;
} Field;

static bool
field_is(const Field *field, char c)
{
	return field->at < field->end && *field->at == c;
}

static void
field_skip_blanks(Field *field)
{
	while (field_is(field, ' ') || field_is(field, '\t'))
		field->at++;
}

/* Moves behind c if it is next, blanks around it included. */
static bool
field_take(Field *field, char c)
{
	field_skip_blanks(field);
	if (!field_is(field, c))
		return false;
	field->at++;
	field_skip_blanks(field);
	return true;
}

/* A token, or what a quoted string holds; empty if the quotes do not close. */
static Field
field_word(Field *field)
{
	Field		word;

	if (field_is(field, '"'))
	{
		word.at = word.end = ++field->at;
		while (field->at < field->end && *field->at != '"')
			field->at += *field->at == '\\' && field->end - field->at > 1 ? 2 : 1;
		if (field->at < field->end)
			word.end = field->at++;
		return word;
	}
	word.at = field->at;
	while (field->at < field->end && strchr(" \t=;,\"", *field->at) == NULL)
		field->at++;
	word.end = field->at;
	return word;
}

static bool
word_is(const char *at, size_t length, const char *name)
{
	return length == strlen(name) && strncasecmp(at, name, length) == 0;
}

/* Is "next" among relations separated by blanks? */
static bool
relations_hold_next(Field relations)
{
	while (relations.at < relations.end)
	{
		const char *start;

		field_skip_blanks(&relations);
		start = relations.at;
		while (relations.at < relations.end && *relations.at != ' ' && *relations.at != '\t')
			relations.at++;
		if (word_is(start, (size_t) (relations.at - start), "next"))
			return true;
	}
	return false;
}

/* The parameters behind a target, of which only the first "rel" counts. */
static bool
parameters_say_next(Field *field)
{
	bool		told = false;
	bool		next = false;

	while (field_take(field, ';'))
	{
		Field		name = field_word(field);
		Field		value = {NULL, NULL};

		if (field_take(field, '='))
			value = field_word(field);
		if (!told && word_is(name.at, (size_t) (name.end - name.at), "rel"))
		{
			told = true;
			next = relations_hold_next(value);
		}
	}
	return next;
}

static const char *
field_next(Field field, size_t *length)
{
	const char *target;

	while ((target = memchr(field.at, '<', (size_t) (field.end - field.at))) != NULL)
	{
		const char *close = memchr(target, '>', (size_t) (field.end - target));

		if (close == NULL)
			return NULL;
		field.at = close + 1;
		if (parameters_say_next(&field))
		{
			*length = (size_t) (close - target - 1);
			return target + 1;
		}
	}
	return NULL;
}

const char *
rest_link_next(const char *headers, size_t *length)
{
	while (*headers)
	{
		size_t		size = strcspn(headers, "\r\n");

		if (size > 5 && strncasecmp(headers, "link:", 5) == 0)
		{
			const char *target = field_next((Field) {headers + 5, headers + size}, length);

			if (target != NULL)
				return target;
		}
		headers += size;
		headers += strspn(headers, "\r\n");
	}
	return NULL;
}
