/*
 * reader.c
 *	  The answer of an API, read by its declared shape.
 *
 * Everything here works on bytes that a stranger sent.  The document is
 * bounded before it is parsed (READER_MAX_BYTES; its depth in reader_parse.c), parsed
 * strictly, and only looked at; texts are returned as pointers into it.  A
 * list that is not exactly what was declared is a mismatch for all rows: to
 * guess which row an element belongs to would be to lose one.
 */
#include "connector/reader_parts.h"

#include <stdlib.h>
#include <string.h>

/* An element per row of the largest batch stays far below; json-c needs about ten times as much memory. */
#define READER_MAX_BYTES	(8 * 1024 * 1024)

/* Where APIs usually say why, tried in this order. */
static const char *const reader_usual[] = {
	"error.message", "error_description", "message", "detail", "title", "error", "reason",
	"errors.0.message", "errors.0.detail", "errors.0"
};

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
	reader->text = text;
	reader->len = len;
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

bool
reader_broken(const Reader *reader)
{
	return reader->looks_json && reader->root == NULL;
}

const char *
reader_text(json_object *value)
{
	const char *text;

	if (value == NULL || json_object_is_type(value, json_type_array) ||
		json_object_is_type(value, json_type_object))
		return NULL;
	text = json_object_get_string(value);
	return text != NULL && *text != '\0' ? text : NULL;
}

const char *
reader_key(json_object *value)
{
	if (json_object_is_type(value, json_type_string) &&
		memchr(json_object_get_string(value), '\0', (size_t) json_object_get_string_len(value)) != NULL)
		return NULL;
	return reader_text(value);
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

bool
reader_is_something(json_object *value)
{
	return value != NULL && (json_object_is_type(value, json_type_boolean) || reader_says_error(value));
}

const char *
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

/* By a rule of its own; true: that decides. */
static bool
reader_ruled(json_object *element, const ConnectorAnswer *answer, ReaderRow *row)
{
	if (answer->row_rules.n == 0)
		return false;
	row->match = reader_judge_element(element, &answer->row_rules, row->status);
	if (row->match.rule == NULL)
		return false;
	row->verdict = row->match.rule->verdict;
	row->failed = row->verdict != VERDICT_OK;
	return true;
}

/*
 * What an element says of its row; false if it lacks what was declared.  In a
 * list of failures it need say nothing: to stand there is enough.
 */
static bool
reader_element(json_object *element, const ConnectorAnswer *answer, ReaderRow *row)
{
	bool		failures = (answer->shape == ANSWER_ERRORS);
	bool		has_status = answer->status == NULL ||
		reader_number(reader_at(element, answer->status), 200, 599, &row->status);

	row->mentioned = true;
	if (!reader_ruled(element, answer, row))
	{
		row->failed = failures;
		if (!has_status && !failures)
			return false;
		if (answer->ok != NULL && !failures)
		{
			json_object *ok = reader_at(element, answer->ok);

			if (!json_object_is_type(ok, json_type_boolean))
				return false;
			row->failed = !json_object_get_boolean(ok);
		}
		if (answer->by_error && !failures)
			row->failed = reader_says_error(reader_at(element, answer->error));
		if (!row->failed && answer->nrow_success > 0)
			row->failed = !reader_fulfils(element, answer->row_success, answer->nrow_success, row->status);
	}
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

/* A list that is read. */
typedef struct ListWalk
{
	const ConnectorAnswer *answer;
	const char *const *keys;
	struct lh_table *by_key;
	int			n;
	ReaderRow  *rows;
	int			position;		/* of the next element */
	ReaderResult result;
} ListWalk;

/* The row that an element is about; -1: none. */
static int
reader_row_of(const ListWalk *walk, json_object *element, const char *name, int position)
{
	const ConnectorAnswer *answer = walk->answer;
	const char *key;
	void	   *found;

	if (answer->shape == ANSWER_ARRAY)
		return position < walk->n ? position : -1;
	if (answer->shape == ANSWER_ERRORS && strcmp(answer->index, "$name") == 0)
		return reader_position_text(name, answer->first, walk->n);
	if (answer->shape == ANSWER_ERRORS)
		return reader_position(reader_at(element, answer->index), answer->first, walk->n);

	/* most APIs echo in the order sent: then rows of one key find theirs, too */
	key = strcmp(answer->key, "$name") == 0 ? name : reader_key(reader_at(element, answer->key));
	if (key == NULL)
		return -1;
	if (position < walk->n && walk->keys[position] != NULL && strcmp(walk->keys[position], key) == 0)
		return position;
	return lh_table_lookup_ex(walk->by_key, key, &found) ? (int) ((const char *const *) found - walk->keys) : -1;
}

static bool
reader_list_element(json_object *element, const char *name, void *arg)
{
	ListWalk   *walk = arg;
	int			row = reader_row_of(walk, element, name, walk->position++);

	/* a failure of we do not know which row; an echo of a stranger says nothing */
	if (row < 0 && walk->answer->shape != ANSWER_KEYED)
		walk->result = READER_MISMATCH;
	else if (row >= 0 && !walk->rows[row].mentioned && !reader_element(element, walk->answer, &walk->rows[row]))
		walk->result = READER_MISMATCH;
	return walk->result != READER_DONE;
}

static ReaderResult
reader_list(json_object *root, const ConnectorAnswer *answer, const char *const *keys, int n, ReaderRow *rows)
{
	ListWalk	walk = {.answer = answer, .keys = keys, .n = n, .rows = rows, .result = READER_DONE};
	bool		named;
	bool		found;

	if (answer->shape == ANSWER_KEYED && (walk.by_key = reader_index(keys, n)) == NULL)
		return READER_MISMATCH;
	named = (answer->shape == ANSWER_KEYED && strcmp(answer->key, "$name") == 0) ||
		(answer->shape == ANSWER_ERRORS && strcmp(answer->index, "$name") == 0);
	found = reader_elements(root, answer->path, named, reader_list_element, &walk);
	if (walk.by_key != NULL)
		lh_table_free(walk.by_key);
	if (!found)
		return answer->optional ? READER_ABSENT : READER_MISMATCH;
	if (answer->shape == ANSWER_ARRAY && walk.position != n)
		return READER_MISMATCH;
	return walk.result;
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
			const char *const *const *keys, int n, ReaderRow *rows)
{
	ReaderResult result;

	memset(rows, 0, sizeof(ReaderRow) * (size_t) n);
	if (answer->shape == ANSWER_STATUS)
		return reader_whole(reader, answer, n, rows);

	/* what begins like JSON and is none was cut off or broken: not "absent" */
	if (reader->root == NULL)
		return answer->optional && !reader->looks_json ? READER_ABSENT : READER_NO_JSON;
	if (answer->shape == ANSWER_COUNTS)
		return reader_counts(reader->root, answer, n, rows);
	if (answer->shape == ANSWER_LISTS)
		return reader_lists(reader->root, answer, keys, n, rows);
	result = reader_list(reader->root, answer, keys[0], n, rows);

	/* who is not in a list of failures has succeeded */
	for (int i = 0; result == READER_DONE && i < n; i++)
		if (!rows[i].mentioned && answer->unmentioned != VERDICT_NONE)
		{
			rows[i].mentioned = rows[i].unnamed = true;
			rows[i].verdict = answer->unmentioned;
		}
	return result;
}

const char *
reader_text_at(const Reader *reader, const char *path)
{
	return reader->root ? reader_text(reader_at(reader->root, path)) : NULL;
}

int
reader_count(const Reader *reader, const char *path)
{
	json_object *list = reader->root ? reader_at(reader->root, path) : NULL;

	return json_object_is_type(list, json_type_array) ? (int) json_object_array_length(list) : -1;
}
