/*
 * seek_parts.h
 *	  Private to seek.c, which walks through a text, seek_token.c, which knows
 *	  what it is made of, and seek_set.c, which keeps wanted paths as a tree.
 */
#ifndef ACTIVATE_SEEK_PARTS_H
#define ACTIVATE_SEEK_PARTS_H

#include "template/seek.h"

typedef struct SeekNode
{
	char	   *name;
	size_t		name_len;
	bool		is_index;		/* also a position in an array ... */
	int			index;			/* ... this one; negative: from the end */
	int			slot;			/* -1: nothing but a way to others */
	bool		records;
	struct SeekNode *sibling;
	struct SeekNode *twin;		/* of the same name, and one of the two is a position */

	struct SeekNode *children;
	unsigned	nchildren;
	bool		has_indexes;	/* some child is a position */
	struct SeekNode **table;	/* children by name, open addressing; NULL: none */
	unsigned	mask;

	/* while a text is read */
	uint64_t	seen;			/* the last pass that came by */
	const char *from;			/* where the element at this position begins */
} SeekNode;

struct SeekSet
{
	SeekNode	root;
	int			slots;
	uint64_t	pass;			/* counts what is looked at: a page, a record */
};

/* The child of that name, and its twin; NULL: not wanted. */
extern SeekNode *seek_child(const SeekNode *node, const char *name, size_t len);

/* seek_token.c: false, with the error set, if there is no such thing */
extern bool seek_fail(SeekText *text, const char *error);
extern bool seek_open(SeekText *text, bool object);	/* at a brace or bracket */
extern bool seek_scalar(SeekText *text, SeekValue *value);
extern bool seek_name(SeekText *text, SeekValue *name);	/* a member's, and the colon */
extern bool seek_skip(SeekText *text);	/* a value */

/* Behind blanks, the next byte; 0: the end (no text may hold a NUL there). */
static inline char
seek_next(SeekText *text)
{
	while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
		text->at++;
	return text->at < text->end ? *text->at : '\0';
}

#endif							/* ACTIVATE_SEEK_PARTS_H */
