/*
 * reader_lists.c
 *	  Answers that name rows by a value of theirs, in one list for each kind of
 *	  outcome, or that only count them.
 *
 * A failure of which we do not know whose it is concerns one of the rows that
 * are not named otherwise: they are "unsure", and nothing is lost.
 */
#include "connector/reader_parts.h"

#include <stdlib.h>
#include <string.h>

/* What is said of a row outweighs what was said before. */
typedef enum Weight
{
	WEIGHT_NONE, WEIGHT_OK, WEIGHT_WARNING, WEIGHT_FAILED
} Weight;

/* Rows with the same value, from the first on; what all of them were told. */
typedef struct SameKey
{
	int			next;			/* -1: none */
	Weight		told;			/* of the first: in this list */
} SameKey;

/* A list that is read. */
typedef struct ValueWalk
{
	const ConnectorAnswer *answer;
	const AnswerList *list;
	int			n;
	ReaderRow  *rows;
	struct lh_table *by_key;
	SameKey    *same;
	bool		unknown;		/* a failure was of no row that we know */
} ValueWalk;

static Weight
weight_of(AnswerVerdict verdict)
{
	return verdict == VERDICT_NONE ? WEIGHT_NONE : verdict == VERDICT_OK ? WEIGHT_OK :
		verdict == VERDICT_WARNING ? WEIGHT_WARNING : WEIGHT_FAILED;
}

static void
tell_row(const ValueWalk *walk, const ReaderRow *said, int i)
{
	ReaderRow  *row = &walk->rows[i];

	if (weight_of(said->verdict) <= weight_of(row->verdict))
		return;
	*row = *said;
	row->mentioned = true;
}

/* All rows that have this value: which of them is meant cannot be told. */
static bool
tell_key(const ValueWalk *walk, const ReaderRow *said, const char *key)
{
	void	   *found;
	int			first;

	if (key == NULL || !lh_table_lookup_ex(walk->by_key, key, &found))
		return false;
	first = (int) ((SameKey *) found - walk->same);
	/* a stranger decides how often a value is named */
	if (weight_of(said->verdict) <= walk->same[first].told)
		return true;
	walk->same[first].told = weight_of(said->verdict);
	for (int i = first; i >= 0; i = walk->same[i].next)
		tell_row(walk, said, i);
	return true;
}

static bool
tell_by_key(const ValueWalk *walk, json_object *element, const ReaderRow *said, const char *name)
{
	json_object *value;
	bool		any = false;

	if (strcmp(walk->list->key, "$name") == 0)
		return tell_key(walk, said, name);
	value = reader_at(element, walk->list->key);
	if (!json_object_is_type(value, json_type_array))
		return tell_key(walk, said, reader_key(value));
	for (size_t i = 0; i < json_object_array_length(value); i++)
		any = tell_key(walk, said, reader_key(json_object_array_get_idx(value, i))) || any;
	return any;
}

/* What an element of a list says of those that it names. */
static ReaderRow
element_says(const ValueWalk *walk, json_object *element)
{
	const AnswerList *list = walk->list;
	ReaderRow	said = {.verdict = list->verdict};

	said.match = reader_judge_element(element, &walk->answer->row_rules, 0);
	if (said.match.rule != NULL)
		said.verdict = said.match.rule->verdict;
	said.failed = said.verdict != VERDICT_OK;
	if (said.failed)
	{
		said.reason = reader_find_reason(element, list->error ? list->error : walk->answer->error);
		if (said.reason == NULL && (list->key == NULL || *list->key != '\0'))
			said.reason = reader_text(element);
		if (said.match.mark == NULL)
			said.match.mark = list->path;
	}
	if (list->id != NULL)
		said.id = reader_text(reader_at(element, list->id));
	return said;
}

static bool
list_element(json_object *element, const char *name, void *arg)
{
	ValueWalk  *walk = arg;
	const char *index = walk->list->index;
	ReaderRow	said = element_says(walk, element);
	bool		known;

	if (index == NULL)
		known = tell_by_key(walk, element, &said, name);
	else
	{
		int			row = strcmp(index, "$name") == 0 ? reader_position_text(name, walk->answer->first, walk->n) :
			reader_position(reader_at(element, index), walk->answer->first, walk->n);

		known = row >= 0;
		if (known)
			tell_row(walk, &said, row);
	}
	walk->unknown = walk->unknown || (!known && weight_of(said.verdict) == WEIGHT_FAILED);
	return false;
}

/* The rows by their values, those of one value in a chain; NULL: no memory. */
static struct lh_table *
chain_keys(SameKey *same, const char *const *keys, int n)
{
	struct lh_table *by_key = lh_kchar_table_new(2 * n + 1, NULL);

	for (int i = n - 1; by_key != NULL && i >= 0; i--)
	{
		struct lh_entry *entry;

		same[i].next = -1;
		same[i].told = WEIGHT_NONE;
		if (keys[i] == NULL)
			continue;
		entry = lh_table_lookup_entry(by_key, keys[i]);
		if (entry == NULL)
			lh_table_insert(by_key, keys[i], &same[i]);
		else
		{
			same[i].next = (int) ((SameKey *) lh_entry_v(entry) - same);
			lh_entry_set_val(entry, &same[i]);
		}
	}
	return by_key;
}

/* False: no memory. */
static bool
read_list(ValueWalk *walk, json_object *root, const char *const *keys, bool *found)
{
	const AnswerList *list = walk->list;
	bool		named = strcmp(list->index ? list->index : list->key, "$name") == 0;

	if (list->index == NULL)
	{
		walk->same = calloc((size_t) walk->n, sizeof(SameKey));
		walk->by_key = walk->same ? chain_keys(walk->same, keys, walk->n) : NULL;
		if (walk->by_key == NULL)
		{
			free(walk->same);
			return false;
		}
	}
	if (reader_elements(root, list->path, named, list_element, walk))
		*found = true;
	if (walk->by_key != NULL)
		lh_table_free(walk->by_key);
	free(walk->same);
	walk->by_key = NULL;
	walk->same = NULL;
	return true;
}

/* A number of rows at path; -1: there is none. */
static long
count_at(json_object *root, const char *path)
{
	json_object *value = path ? reader_at(root, path) : NULL;
	const char *text = reader_key(value);

	if (text == NULL || json_object_is_type(value, json_type_boolean) || text[strspn(text, "0123456789")] != '\0')
		return -1;
	return strlen(text) > 9 ? 999999999 : strtol(text, NULL, 10);
}

/* How many rows failed, as far as they are counted; -1: they are not. */
static long
count_failed(json_object *root, const ConnectorAnswer *answer, int n)
{
	long		failed = count_at(root, answer->failed);
	long		accepted = count_at(root, answer->accepted);

	if (accepted >= 0)
	{
		long		rest = accepted < n ? n - accepted : 0;

		/* where both are there, what is in neither was not applied */
		failed = failed > rest ? failed : rest;
	}
	return failed > n ? n : failed;
}

ReaderResult
reader_lists(json_object *root, const ConnectorAnswer *answer,
			 const char *const *const *keys, int n, ReaderRow *rows)
{
	ValueWalk	walk = {.answer = answer, .n = n, .rows = rows};
	long		failed = count_failed(root, answer, n);
	bool		found = failed >= 0;
	long		named = 0;

	for (int l = 0; l < answer->nlists; l++)
	{
		walk.list = &answer->lists[l];
		if (!read_list(&walk, root, keys[l], &found))
			return READER_MISMATCH;
	}
	if (!found && !answer->optional)
		return READER_MISMATCH;
	for (int i = 0; i < n; i++)
		named += rows[i].mentioned && weight_of(rows[i].verdict) == WEIGHT_FAILED;
	for (int i = 0; i < n; i++)
	{
		if (rows[i].mentioned)
			continue;
		rows[i].unsure = (walk.unknown || failed > named) && failed < n;
		rows[i].mentioned = rows[i].unsure || failed == n || answer->unmentioned != VERDICT_NONE;
		rows[i].unnamed = !rows[i].unsure && failed < n;
		rows[i].verdict = rows[i].unsure ? VERDICT_NONE : failed == n ? VERDICT_INVALID_ROW : answer->unmentioned;
	}
	return READER_DONE;
}

ReaderResult
reader_counts(json_object *root, const ConnectorAnswer *answer, int n, ReaderRow *rows)
{
	long		failed = count_failed(root, answer, n);
	const char *reason;

	if (failed < 0)
		return answer->optional ? READER_ABSENT : READER_MISMATCH;
	reason = failed > 0 ? reader_find_reason(root, answer->error) : NULL;
	for (int i = 0; i < n; i++)
	{
		rows[i].mentioned = true;
		rows[i].unsure = failed > 0 && failed < n;
		rows[i].verdict = failed == 0 ? VERDICT_OK : failed == n ? VERDICT_INVALID_ROW : VERDICT_NONE;
		rows[i].reason = reason;
	}
	return READER_DONE;
}
