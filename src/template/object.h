/*
 * object.h
 *	  Private to the room: a row as a tree, one node per step of its columns' paths.
 */
#ifndef ACTIVATE_OBJECT_H
#define ACTIVATE_OBJECT_H

#include "template/template.h"

typedef struct ObjectNode
{
	const char *name;
	int			index;			/* -1: a member of an object */
	JsonbValue *value;			/* a leaf */
	const char *raw;			/* printed instead of it */
	const char *column;			/* that put the node here first */
	struct ObjectNode *child;
	struct ObjectNode *next;
} ObjectNode;

/* In the current memory context; holds pointers into row and shape. */
extern ObjectNode *object_tree(Jsonb *row, const TemplateShape *shape, const char *id);

#endif							/* ACTIVATE_OBJECT_H */
