/*
 * seek_set.c
 *	  The paths that are wanted, as a tree: see seek.h.
 *
 * A step that is a position is a member's name as well, as in every path.
 */
#include <stdlib.h>
#include <string.h>

#include "template/path.h"
#include "template/seek_parts.h"

SeekSet *
seek_create(void)
{
	SeekSet    *set = calloc(1, sizeof(SeekSet));

	if (set == NULL)
		return NULL;
	set->root.slot = -1;
	return set;
}

static void
node_free(SeekNode *node)
{
	while (node->children != NULL)
	{
		SeekNode   *child = node->children;

		node->children = child->sibling;
		node_free(child);
		free(child->name);
		free(child);
	}
	free(node->table);
}

void
seek_free(SeekSet *set)
{
	if (set != NULL)
	{
		node_free(&set->root);
		free(set);
	}
}

int
seek_slots(const SeekSet *set)
{
	return set->slots;
}

/* Of most names, length and both ends differ. */
static unsigned
name_hash(const char *name, size_t len)
{
	if (len == 0)
		return 0;
	return (unsigned) len * 0x9E3779B1u ^ (unsigned char) name[0] * 0x85EBCA6Bu ^
		(unsigned char) name[len - 1] * 0xC2B2AE35u ^ (unsigned char) name[len / 2] * 0x27D4EB2Fu;
}

static void
table_add(SeekNode *node, SeekNode *child)
{
	SeekNode   *twin = seek_child(node, child->name, child->name_len);
	unsigned	i = name_hash(child->name, child->name_len) >> 7;

	child->twin = NULL;
	if (twin != NULL)
	{
		twin->twin = child;
		return;
	}
	while (node->table[i & node->mask] != NULL)
		i++;
	node->table[i & node->mask] = child;
}

SeekNode *
seek_child(const SeekNode *node, const char *name, size_t len)
{
	unsigned	i;

	if (node->table == NULL)
		return NULL;
	for (i = name_hash(name, len) >> 7; node->table[i & node->mask] != NULL; i++)
	{
		SeekNode   *child = node->table[i & node->mask];

		if (child->name_len == len && memcmp(child->name, name, len) == 0)
			return child;
	}
	return NULL;
}

/* The table has four places for each child. */
static bool
table_grow(SeekNode *node)
{
	unsigned	size = node->table ? 2 * (node->mask + 1) : 8;
	SeekNode  **table;

	if (node->table != NULL && 4 * node->nchildren <= node->mask + 1)
		return true;
	table = calloc(size, sizeof(SeekNode *));
	if (table == NULL)
		return false;
	free(node->table);
	node->table = table;
	node->mask = size - 1;
	for (SeekNode *child = node->children; child != NULL; child = child->sibling)
		table_add(node, child);
	return true;
}

static SeekNode *
node_add(SeekNode *node, const PathStep *step)
{
	SeekNode   *child = calloc(1, sizeof(SeekNode));

	if (child == NULL || (child->name = strdup(step->name)) == NULL)
	{
		free(child);
		return NULL;
	}
	child->name_len = strlen(step->name);
	child->is_index = step->is_index;
	child->index = step->index;
	child->slot = -1;
	node->nchildren++;
	if (!table_grow(node))
	{
		node->nchildren--;
		free(child->name);
		free(child);
		return NULL;
	}
	child->sibling = node->children;
	node->children = child;
	node->has_indexes |= child->is_index;
	table_add(node, child);
	return child;
}

/* A quoted number is a name only, so it is another step than the position: its twin. */
static SeekNode *
node_find(SeekNode *node, const PathStep *step)
{
	for (SeekNode *child = node->children; child != NULL; child = child->sibling)
		if (child->is_index == step->is_index && strcmp(child->name, step->name) == 0)
			return child;
	return NULL;
}

static SeekNode *
set_node(SeekSet *set, const char *path)
{
	SeekNode   *node = &set->root;
	PathStep	step;
	PathResult	result;
	int			steps = 0;

	while ((result = path_next(&path, &step)) == PATH_STEP)
	{
		SeekNode   *child = node_find(node, &step);

		if (++steps > SEEK_MAX_STEPS)
			return NULL;
		if (child == NULL)
			child = node_add(node, &step);
		if (child == NULL)
			return NULL;
		node = child;
	}
	if (result != PATH_END)
		return NULL;
	if (node->slot < 0)
		node->slot = set->slots++;
	return node;
}

int
seek_want(SeekSet *set, const char *path)
{
	SeekNode   *node = set_node(set, path);

	return node ? node->slot : -1;
}

int
seek_want_records(SeekSet *set, const char *path)
{
	SeekNode   *node = set_node(set, path);

	if (node == NULL)
		return -1;
	node->records = true;
	return node->slot;
}
