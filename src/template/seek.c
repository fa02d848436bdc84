/*
 * seek.c
 *	  Reading a JSON text for some of its values: see seek.h.
 *
 * What is wanted is recursed into, as deep as the longest path; the rest is
 * passed over.  An element at a wanted position is looked at again once the
 * end of its array is known, because positions may count from there.
 */
#include "template/path.h"
#include "template/seek_parts.h"

/* Positions from the end up to here are remembered while an array is read. */
#define LAST_ELEMENTS	8

static bool take_value(SeekText *text, SeekSet *set, SeekNode *node, SeekValue *values, SeekRows *rows);

/* What was found below is of a member that another one of its name replaces. */
static void
forget(const SeekNode *node, SeekValue *values)
{
	if (node->slot >= 0)
		values[node->slot].kind = SEEK_ABSENT;
	for (const SeekNode *child = node->children; child != NULL; child = child->sibling)
		forget(child, values);
}

static SeekNode *
child_named(const SeekNode *node, const SeekValue *name)
{
	char		plain[6 * PATH_NAME_MAX];

	if (name->plain)
		return seek_child(node, name->at, name->len);
	if (name->len > sizeof(plain))
		return NULL;
	return seek_child(node, plain, seek_unescape(name->at, name->len, plain));
}

static bool
take_members(SeekText *text, SeekSet *set, SeekNode *node, SeekValue *values, SeekRows *rows)
{
	char		c;

	if (!seek_open(text, true))
		return false;
	if (seek_next(text) != '}')
	{
		do
		{
			SeekValue	name;
			SeekNode   *child;
			const char *start;

			if (!seek_name(text, &name))
				return false;
			child = child_named(node, &name);
			if (child == NULL && !seek_skip(text))
				return false;
			start = text->at;
			for (; child != NULL; child = child->twin)
			{
				if (child->seen == set->pass)
					forget(child, values);
				child->seen = set->pass;
				text->at = start;
				if (!take_value(text, set, child, values, rows))
					return false;
			}
			c = seek_next(text);
			if (c != ',' && c != '}')
				return seek_fail(text, "neither comma nor brace");
			text->at += c == ',';
		} while (c == ',');
	}
	text->at++;
	text->depth--;
	return true;
}

/* An element: a record, if there is room for one more, or nothing that we want now. */
static bool
take_element(SeekText *text, SeekRows *rows)
{
	SeekSet    *set;
	SeekValue  *values;

	if (rows == NULL)
		return seek_skip(text);
	if (rows->n == rows->max)
	{
		if (rows->next == NULL)
		{
			(void) seek_next(text);
			rows->next = text->at;
		}
		return seek_skip(text);
	}
	set = rows->set;
	values = rows->values + (size_t) rows->n * (size_t) set->slots;
	for (int i = 0; i < set->slots; i++)
		values[i].kind = SEEK_ABSENT;
	set->pass++;
	rows->n++;
	return take_value(text, set, &set->root, values, NULL);
}

/* Where the element at a position begins, once the array is read; NULL: there is none. */
static const char *
element_start(SeekText *text, const SeekNode *child, const char *list, int64_t count, const char *const *last)
{
	int64_t		wanted = count + child->index;

	if (child->index >= 0)
		return child->from;
	if (wanted < 0)
		return NULL;
	if (child->index >= -LAST_ELEMENTS)
		return last[wanted % LAST_ELEMENTS];
	text->at = list + 1;
	for (int64_t i = 0; i < wanted; i++)
	{
		/* read once already, so nothing can fail */
		(void) seek_skip(text);
		(void) seek_next(text);
		text->at++;
	}
	return text->at;
}

static bool
take_positions(SeekText *text, SeekSet *set, SeekNode *node, SeekValue *values,
			   const char *list, int64_t count, const char *const *last)
{
	const char *end = text->at;

	for (SeekNode *child = node->children; child != NULL; child = child->sibling)
	{
		const char *start = child->is_index ? element_start(text, child, list, count, last) : NULL;

		if (start == NULL)
			continue;
		text->at = start;
		if (!take_value(text, set, child, values, NULL))
			return false;
	}
	text->at = end;
	return true;
}

/* rows: this is the list that they are of. */
static bool
take_elements(SeekText *text, SeekSet *set, SeekNode *node, SeekValue *values, SeekRows *rows)
{
	const char *list = text->at;
	const char *last[LAST_ELEMENTS] = {NULL};
	int64_t		count = 0;
	char		c;

	for (SeekNode *child = node->children; child != NULL; child = child->sibling)
		child->from = NULL;
	if (!seek_open(text, false))
		return false;
	if (seek_next(text) != ']')
	{
		do
		{
			if (node->has_indexes)
			{
				last[count % LAST_ELEMENTS] = text->at;
				for (SeekNode *child = node->children; child != NULL; child = child->sibling)
					if (child->is_index && child->index == count)
						child->from = text->at;
			}
			count++;
			if (!take_element(text, rows))
				return false;
			c = seek_next(text);
			if (c != ',' && c != ']')
				return seek_fail(text, "neither comma nor bracket");
			text->at += c == ',';
		} while (c == ',');
	}
	if (rows != NULL)
		rows->count = count;
	if (node->has_indexes && !take_positions(text, set, node, values, list, count, last))
		return false;
	text->at++;
	text->depth--;
	return true;
}

static void
rows_of(SeekRows *rows, const char *list)
{
	rows->list = list;
	rows->next = NULL;
	rows->n = 0;
	rows->count = 0;
}

static bool
take_value(SeekText *text, SeekSet *set, SeekNode *node, SeekValue *values, SeekRows *rows)
{
	char		c = seek_next(text);
	const char *start = text->at;
	SeekValue	ignored;
	bool		good;

	if (c == '{')
		good = node->table != NULL ? take_members(text, set, node, values, rows) : seek_skip(text);
	else if (c == '[')
	{
		if (!node->records || rows == NULL || rows->list != NULL)
			rows = NULL;
		else
			rows_of(rows, start);
		good = rows != NULL || node->has_indexes ? take_elements(text, set, node, values, rows) : seek_skip(text);
	}
	else
		return seek_scalar(text, node->slot >= 0 ? &values[node->slot] : &ignored);
	if (good && node->slot >= 0)
		values[node->slot] = (SeekValue) {
			start, (uint32_t) (text->at - start), c == '{' ? SEEK_OBJECT : SEEK_ARRAY, false
		};
	return good;
}

/* ---- whole texts ---- */

bool
seek_page(SeekText *text, const char *start, size_t len, SeekSet *set, SeekValue *values, SeekRows *rows)
{
	text->at = start;
	text->end = start + len;
	text->error = NULL;
	text->large = false;
	text->depth = 0;
	for (int i = 0; i < set->slots; i++)
		values[i].kind = SEEK_ABSENT;
	if (rows != NULL)
		rows_of(rows, NULL);
	if (len > UINT32_MAX)
		return seek_fail(text, "too long");
	set->pass++;
	if (!take_value(text, set, &set->root, values, rows))
		return false;
	(void) seek_next(text);
	return text->at == text->end || seek_fail(text, "something behind the end");
}

bool
seek_rows_begin(SeekText *text, SeekRows *rows, const SeekValue *list)
{
	SeekNode	node = {.slot = -1};

	text->at = list->at;
	text->depth = 0;
	rows_of(rows, list->at);
	return take_elements(text, NULL, &node, NULL, rows);
}

bool
seek_rows_more(SeekText *text, SeekRows *rows)
{
	text->at = rows->next;
	text->depth = 0;
	rows->n = 0;
	rows->next = NULL;
	while (rows->n < rows->max)
	{
		if (!take_element(text, rows))
			return false;
		if (seek_next(text) == ']')
			return true;
		text->at++;
	}
	rows->next = text->at;
	return true;
}
