/*
 * reader.c
 *	  The answer of an API, read by its declared shape.
 *
 * Everything here works on bytes that a stranger sent.  The document is
 * bounded before it is parsed (READER_MAX_BYTES, READER_MAX_DEPTH), parsed
 * strictly, and only looked at; texts are returned as pointers into it.  A
 * list that is not exactly what was declared is a mismatch for all rows: to
 * guess which row an element belongs to would be to lose one.
 */
#include "connector/reader.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "template/path.h"

/* An element per row of the largest batch stays far below; json-c needs about ten times as much memory. */
#define READER_MAX_BYTES	(8 * 1024 * 1024)
/* Also the limit of json-c's own recursion when it frees a document. */
#define READER_MAX_DEPTH	64

struct Reader
{
	json_object *root;			/* an object or array, else NULL */
	bool		looks_json;		/* begins like one */
};

/* Where APIs usually say why, tried in this order. */
static const char *const reader_usual[] = {
	"error.message", "error_description", "message", "detail", "title", "error", "reason",
	"errors.0.message", "errors.0.detail", "errors.0"
};

static json_object *
reader_parse(const char *text, size_t len)
{
	json_tokener *tokener = json_tokener_new_ex(READER_MAX_DEPTH);
	json_object *root;

	if (tokener == NULL)
		return NULL;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tokener, text, (int) len);
	if (json_tokener_get_error(tokener) != json_tokener_success ||
		json_tokener_get_parse_end(tokener) != len)
	{
		json_object_put(root);
		root = NULL;
	}
	json_tokener_free(tokener);
	return root;
}

Reader *
reader_open(const char *text, size_t len)
{
	Reader	   *reader = calloc(1, sizeof(Reader));

	if (reader == NULL)
		return NULL;
	while (len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0')
		text++, len--;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL && text[len - 1] != '\0')
		len--;
	reader->looks_json = len > 0 && (*text == '{' || *text == '[');
	if (reader->looks_json && len <= READER_MAX_BYTES)
		reader->root = reader_parse(text, len);
	return reader;
}

void
reader_close(Reader *reader)
{
	if (reader != NULL)
	{
		json_object_put(reader->root);
		free(reader);
	}
}

/* The value at path; NULL if there is none or it is null. */
static json_object *
reader_at(json_object *from, const char *path)
{
	PathStep	step;
	PathResult	result;

	while ((result = path_next(&path, &step)) == PATH_STEP)
	{
		if (json_object_is_type(from, json_type_object))
		{
			if (!json_object_object_get_ex(from, step.name, &from))
				return NULL;
		}
		else if (json_object_is_type(from, json_type_array) && step.is_index)
		{
			long		length = (long) json_object_array_length(from);
			long		index = step.index < 0 ? step.index + length : step.index;

			if (index < 0 || index >= length)
				return NULL;
			from = json_object_array_get_idx(from, (size_t) index);
		}
		else
			return NULL;
	}
	return result == PATH_END ? from : NULL;
}

/* A scalar as text, not empty; NULL for everything else. */
static const char *
reader_text(json_object *value)
{
	const char *text;

	if (value == NULL || json_object_is_type(value, json_type_array) ||
		json_object_is_type(value, json_type_object))
		return NULL;
	text = json_object_get_string(value);
	return text != NULL && *text != '\0' ? text : NULL;
}

/* A whole number within bounds. */
static bool
reader_number(json_object *value, int least, int most, int *number)
{
	int64_t		wide;

	if (!json_object_is_type(value, json_type_int))
		return false;
	wide = json_object_get_int64(value);
	if (wide < least || wide > most)
		return false;
	*number = (int) wide;
	return true;
}

/* Does the value say that there is an error?  null, false, "", [] and {} do not. */
static bool
reader_says_error(json_object *value)
{
	switch (json_object_get_type(value))
	{
		case json_type_null:
			return false;
		case json_type_boolean:
			return json_object_get_boolean(value);
		case json_type_string:
			return json_object_get_string_len(value) > 0;
		case json_type_array:
			return json_object_array_length(value) > 0;
		case json_type_object:
			return json_object_object_length(value) > 0;
		default:
			return true;
	}
}

static const char *
reader_find_reason(json_object *from, const char *path)
{
	const char *reason = path ? reader_text(reader_at(from, path)) : NULL;

	for (size_t i = 0; reason == NULL && i < sizeof(reader_usual) / sizeof(*reader_usual); i++)
	{
		json_object *value = reader_at(from, reader_usual[i]);

		if (json_object_is_type(value, json_type_string))
			reason = reader_text(value);
	}
	return reason;
}

const char *
reader_reason(const Reader *reader, const char *path)
{
	return reader->root ? reader_find_reason(reader->root, path) : NULL;
}

/*
 * What an element says of its row; false if it lacks what was declared.  In a
 * list of failures it need say nothing: to stand there is enough.
 */
static bool
reader_element(json_object *element, const ConnectorAnswer *answer, ReaderRow *row)
{
	bool		failures = (answer->shape == ANSWER_ERRORS);

	row->mentioned = true;
	row->failed = failures;
	if (answer->status != NULL &&
		!reader_number(reader_at(element, answer->status), 200, 599, &row->status) && !failures)
		return false;
	if (answer->ok != NULL && !failures)
	{
		json_object *ok = reader_at(element, answer->ok);

		if (!json_object_is_type(ok, json_type_boolean))
			return false;
		row->failed = !json_object_get_boolean(ok);
	}
	if (answer->status == NULL && answer->ok == NULL && answer->error != NULL && !failures)
		row->failed = reader_says_error(reader_at(element, answer->error));
	if (row->failed || row->status >= 300)
		row->reason = reader_find_reason(element, answer->error);
	if (answer->id != NULL)
		row->id = reader_text(reader_at(element, answer->id));
	return true;
}

/* Of each key its first row: a stranger decides how often one is looked for. */
static struct lh_table *
reader_index(const char *const *keys, int n)
{
	struct lh_table *index = lh_kchar_table_new(2 * n + 1, NULL);

	for (int i = 0; index != NULL && i < n; i++)
	{
		if (keys[i] != NULL && lh_table_lookup_entry(index, keys[i]) == NULL)
			lh_table_insert(index, keys[i], &keys[i]);
	}
	return index;
}

/* The row that an element of a list is about; -1: none. */
static int
reader_row_of(json_object *element, int position, const ConnectorAnswer *answer,
			  const char *const *keys, int n, struct lh_table *by_key)
{
	const char *key;
	void	   *found;
	int			index;

	if (answer->shape == ANSWER_ARRAY)
		return position;
	if (answer->shape == ANSWER_ERRORS)
		return reader_number(reader_at(element, answer->index), 0, n - 1, &index) ? index : -1;

	/* most APIs echo in the order sent: then rows of one key find theirs, too */
	key = reader_text(reader_at(element, answer->key));
	if (key == NULL)
		return -1;
	if (position < n && keys[position] != NULL && strcmp(keys[position], key) == 0)
		return position;
	return lh_table_lookup_ex(by_key, key, &found) ? (int) ((const char *const *) found - keys) : -1;
}

static ReaderResult
reader_list(json_object *list, const ConnectorAnswer *answer,
			const char *const *keys, int n, struct lh_table *by_key, ReaderRow *rows)
{
	size_t		length;

	if (!json_object_is_type(list, json_type_array))
		return READER_MISMATCH;
	length = json_object_array_length(list);
	if (answer->shape == ANSWER_ARRAY && length != (size_t) n)
		return READER_MISMATCH;
	for (size_t i = 0; i < length; i++)
	{
		json_object *element = json_object_array_get_idx(list, i);
		int			row = reader_row_of(element, (int) i, answer, keys, n, by_key);

		if (row < 0)
		{
			/* a failure of we do not know which row; an echo of a stranger says nothing */
			if (answer->shape == ANSWER_ERRORS)
				return READER_MISMATCH;
			continue;
		}
		if (rows[row].mentioned)
			continue;
		if (!reader_element(element, answer, &rows[row]))
			return READER_MISMATCH;
	}
	return READER_DONE;
}

/* The document is about all rows alike (and usually about the only one). */
static ReaderResult
reader_whole(const Reader *reader, const ConnectorAnswer *answer, int n, ReaderRow *rows)
{
	bool		needed = answer->status != NULL || answer->ok != NULL;
	json_object *element = reader->root ? reader_at(reader->root, answer->path ? answer->path : "") : NULL;

	if (element == NULL)
	{
		if (!needed)
			return READER_ABSENT;
		return reader->root == NULL ? READER_NO_JSON :
			answer->optional ? READER_ABSENT : READER_MISMATCH;
	}
	for (int i = 0; i < n; i++)
	{
		if (!reader_element(element, answer, &rows[i]))
			return READER_MISMATCH;
		/* the id of one row is not the id of many */
		if (n > 1)
			rows[i].id = NULL;
	}
	return READER_DONE;
}

ReaderResult
reader_rows(const Reader *reader, const ConnectorAnswer *answer,
			const char *const *keys, int n, ReaderRow *rows)
{
	json_object *list;
	struct lh_table *by_key = NULL;
	ReaderResult result;

	memset(rows, 0, sizeof(ReaderRow) * (size_t) n);
	if (answer->shape == ANSWER_STATUS)
		return reader_whole(reader, answer, n, rows);

	/* what begins like JSON and is none was cut off or broken: not "absent" */
	if (reader->root == NULL)
		return answer->optional && !reader->looks_json ? READER_ABSENT : READER_NO_JSON;
	list = reader_at(reader->root, answer->path ? answer->path : "");
	if (list == NULL || (answer->optional && list == reader->root &&
						 !json_object_is_type(list, json_type_array)))
		return answer->optional ? READER_ABSENT : READER_MISMATCH;
	if (answer->shape == ANSWER_KEYED && (by_key = reader_index(keys, n)) == NULL)
		return READER_MISMATCH;
	result = reader_list(list, answer, keys, n, by_key, rows);
	if (by_key != NULL)
		lh_table_free(by_key);

	/* who is not in a list of failures has succeeded */
	for (int i = 0; result == READER_DONE && answer->shape == ANSWER_ERRORS && i < n; i++)
		rows[i].mentioned = true;
	return result;
}

const char *
reader_text_at(const Reader *reader, const char *path)
{
	return reader->root ? reader_text(reader_at(reader->root, path)) : NULL;
}
