/*
 * seek.c
 *	  Fuzzes the reading of pages: src/template/seek.h, against json-c's tree
 *	  and a plain recursive check of what JSON is.
 *
 * An input: the path of the records, of a value of the page, of a value of each record, the text.
 */
#include "fuzz.h"

#include <json-c/json.h>

#include "template/path.h"
#include "template/seek.h"

#define MAX_ROWS	3

/* ---- what is JSON: RFC 8259, and no \u0000, no half of a pair ---- */

typedef struct Plain
{
	const char *at;
	const char *end;
} Plain;

static bool plain_value(Plain *p);

static void
plain_blanks(Plain *p)
{
	while (p->at < p->end && memchr(" \t\r\n", *p->at, 4))
		p->at++;
}

static bool
plain_take(Plain *p, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (p->end - p->at) < len || memcmp(p->at, word, len) != 0)
		return false;
	p->at += len;
	return true;
}

static bool
plain_digits(Plain *p)
{
	const char *start = p->at;

	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	return p->at > start;
}

static bool
plain_number(Plain *p)
{
	plain_take(p, "-");
	if (!plain_take(p, "0") && !plain_digits(p))
		return false;
	if (plain_take(p, ".") && !plain_digits(p))
		return false;
	if (plain_take(p, "e") || plain_take(p, "E"))
	{
		if (!plain_take(p, "+"))
			plain_take(p, "-");
		return plain_digits(p);
	}
	return true;
}

static bool
plain_unit(Plain *p, unsigned *unit)
{
	char		digits[5] = {0};

	if (!plain_take(p, "u") || p->end - p->at < 4)
		return false;
	memcpy(digits, p->at, 4);
	p->at += 4;
	*unit = (unsigned) strtoul(digits, NULL, 16);
	return strspn(digits, "0123456789abcdefABCDEF") == 4 && *unit != 0;
}

static bool
plain_string(Plain *p)
{
	if (!plain_take(p, "\""))
		return false;
	while (p->at < p->end && *p->at != '"')
	{
		unsigned	unit;
		unsigned	low;

		if ((unsigned char) *p->at < 0x20)
			return false;
		if (*p->at++ != '\\')
			continue;
		if (p->at < p->end && memchr("\"\\/bfnrt", *p->at, 8))
		{
			p->at++;
			continue;
		}
		if (!plain_unit(p, &unit))
			return false;
		if (unit >= 0xD800 && unit < 0xDC00 &&
			(!plain_take(p, "\\") || !plain_unit(p, &low) || low < 0xDC00 || low > 0xDFFF))
			return false;
		if (unit >= 0xDC00 && unit <= 0xDFFF)
			return false;
	}
	return plain_take(p, "\"");
}

static bool
plain_list(Plain *p, const char *close, bool named)
{
	plain_blanks(p);
	if (plain_take(p, close))
		return true;
	do
	{
		plain_blanks(p);
		if (named)
		{
			if (!plain_string(p))
				return false;
			plain_blanks(p);
			if (!plain_take(p, ":"))
				return false;
		}
		if (!plain_value(p))
			return false;
		plain_blanks(p);
	} while (plain_take(p, ","));
	return plain_take(p, close);
}

static bool
plain_value(Plain *p)
{
	plain_blanks(p);
	if (plain_take(p, "{"))
		return plain_list(p, "}", true);
	if (plain_take(p, "["))
		return plain_list(p, "]", false);
	if (p->at < p->end && *p->at == '"')
		return plain_string(p);
	return plain_take(p, "true") || plain_take(p, "false") || plain_take(p, "null") || plain_number(p);
}

static bool
plain_is_json(const char *text, size_t len)
{
	Plain		p = {text, text + len};

	if (!plain_value(&p))
		return false;
	plain_blanks(&p);
	return p.at == p.end;
}

/* ---- the same by a tree ---- */

static json_object *
tree_of(const char *text, size_t len)
{
	json_tokener *tokener = json_tokener_new_ex(1000);
	char	   *ended = malloc(len + 1);
	json_object *tree;

	memcpy(ended, text, len);
	ended[len] = '\0';
	tree = json_tokener_parse_ex(tokener, ended, (int) len + 1);
	CHECK(json_tokener_get_error(tokener) == json_tokener_success);
	json_tokener_free(tokener);
	free(ended);
	return tree;
}

/* False: there is nothing there. */
static bool
tree_at(json_object **at, const char *path)
{
	PathStep	step;

	while (path_next(&path, &step) == PATH_STEP)
	{
		if (json_object_is_type(*at, json_type_object))
		{
			if (!json_object_object_get_ex(*at, step.name, at))
				return false;
		}
		else if (json_object_is_type(*at, json_type_array) && step.is_index)
		{
			long		length = (long) json_object_array_length(*at);
			long		index = step.index < 0 ? step.index + length : step.index;

			if (index < 0 || index >= length)
				return false;
			*at = json_object_array_get_idx(*at, (size_t) index);
		}
		else
			return false;
	}
	return true;
}

static void
check_value(json_object *tree, const char *path, const SeekValue *value)
{
	char	   *text;
	size_t		len;

	if (!tree_at(&tree, path))
	{
		CHECK(value->kind == SEEK_ABSENT);
		return;
	}
	switch (json_object_get_type(tree))
	{
		case json_type_null:
			CHECK(value->kind == SEEK_NULL);
			break;
		case json_type_boolean:
			CHECK(value->kind == (json_object_get_boolean(tree) ? SEEK_TRUE : SEEK_FALSE));
			break;
		case json_type_string:
			CHECK(value->kind == SEEK_STRING);
			text = malloc(value->len + 1);
			len = seek_unescape(value->at, value->len, text);
			CHECK(len <= value->len && (!value->plain || len == value->len));
			CHECK(len == (size_t) json_object_get_string_len(tree) && memcmp(text, json_object_get_string(tree), len) == 0);
			free(text);
			break;
		case json_type_int:
		case json_type_double:
			CHECK(value->kind == SEEK_NUMBER);
			text = strndup(value->at, value->len);
			/* json-c keeps 64 bits of a whole number, and takes -0 for one */
			if (value->len < 15)
				CHECK(strtod(text, NULL) == json_object_get_double(tree));
			if (value->plain)
				CHECK(strpbrk(text, "eE") == NULL && (text[0] != '-' || strtod(text, NULL) != 0 || value->len > 300));
			free(text);
			break;
		default:
			{
				json_object *part = tree_of(value->at, value->len);

				CHECK(value->kind == (json_object_is_type(tree, json_type_array) ? SEEK_ARRAY : SEEK_OBJECT));
				CHECK(strcmp(json_object_to_json_string(part), json_object_to_json_string(tree)) == 0);
				json_object_put(part);
			}
	}
}

static void
check_rows(SeekText *text, SeekRows *rows, json_object *list, const char *path, int slot)
{
	size_t		n = 0;

	CHECK((size_t) rows->count == json_object_array_length(list));
	for (;;)
	{
		CHECK(rows->n <= rows->max);
		for (int i = 0; i < rows->n; i++)
			check_value(json_object_array_get_idx(list, n++), path, &rows->values[i * seek_slots(rows->set) + slot]);
		if (rows->next == NULL)
			break;
		CHECK(rows->n == rows->max);
		CHECK(seek_rows_more(text, rows));
	}
	CHECK(n == json_object_array_length(list));
}

static void
check_text(char **paths, const char *start, size_t len)
{
	SeekSet    *page = seek_create();
	SeekSet    *record = seek_create();
	SeekValue	values[2];
	SeekValue	of_rows[MAX_ROWS];
	SeekText   *text = malloc(sizeof(SeekText));
	SeekRows	rows = {.set = record, .values = of_rows, .max = MAX_ROWS};
	int			list = seek_want_records(page, paths[0]);
	int			other = seek_want(page, paths[1]);
	int			slot = seek_want(record, paths[2]);
	char	   *bytes = malloc(len > 0 ? len : 1);

	/* without a NUL behind it */
	memcpy(bytes, start, len);
	if (list >= 0 && other >= 0 && slot >= 0)
	{
		bool		good = seek_page(text, bytes, len, page, values, &rows);

		CHECK(good == plain_is_json(bytes, len));
		CHECK(good == (text->error == NULL));
		if (good)
		{
			json_object *tree = tree_of(bytes, len);
			json_object *array = tree;

			check_value(tree, paths[0], &values[list]);
			check_value(tree, paths[1], &values[other]);
			if (values[list].kind == SEEK_ARRAY)
			{
				CHECK(tree_at(&array, paths[0]));
				/* unless it was replaced by another of its name */
				if (rows.list == values[list].at)
					check_rows(text, &rows, array, paths[2], slot);
				CHECK(seek_rows_begin(text, &rows, &values[list]));
				check_rows(text, &rows, array, paths[2], slot);
			}
			json_object_put(tree);
		}
	}
	free(bytes);
	free(text);
	seek_free(page);
	seek_free(record);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput	input = {(const char *) data, size};
	char	   *paths[3];
	bool		valid = true;

	for (int i = 0; i < 3; i++)
	{
		paths[i] = fuzz_field(&input, false);
		valid = valid && path_valid(paths[i]);
	}
	if (valid)
		check_text(paths, input.at, input.left);
	for (int i = 0; i < 3; i++)
		free(paths[i]);
	return 0;
}
