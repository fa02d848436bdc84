/*
 * seek.h
 *	  Some paths of a JSON text found in one pass, without building a tree.
 *
 * The text is checked as strictly as jsonb's input function does, whether its
 * parts are wanted or not; that it is valid UTF-8 the caller has seen to, and
 * what is to be thought of a number that may not fit into numeric is left to it.
 * Of members of one name the last counts, with all that is below it.  What is
 * found are references into the text.
 *
 * Plain C, no postgres.h: reads what a stranger wrote, allocates for the paths
 * only, throws nothing, and can be fuzzed by itself.
 */
#ifndef ACTIVATE_SEEK_H
#define ACTIVATE_SEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEEK_MAX_DEPTH	8192	/* of arrays and objects in each other */
#define SEEK_MAX_STEPS	256		/* of a path: they are recursed into */

typedef enum SeekKind
{
	SEEK_ABSENT, SEEK_NULL, SEEK_FALSE, SEEK_TRUE, SEEK_NUMBER, SEEK_STRING, SEEK_ARRAY, SEEK_OBJECT
} SeekKind;

/* Where a value stands; of a string what is between the quotes. */
typedef struct SeekValue
{
	const char *at;
	uint32_t	len;
	uint8_t		kind;			/* SeekKind */
	bool		plain;			/* a string without escapes; a number as numeric prints it */
} SeekValue;

/* The paths that are wanted: in one list of values, each at its slot. */
typedef struct SeekSet SeekSet;

extern SeekSet *seek_create(void);	/* NULL: out of memory */
extern void seek_free(SeekSet *set);
extern int	seek_slots(const SeekSet *set);

/* The slot of a path, the same for the same path; -1: out of memory, too many steps, malformed. */
extern int	seek_want(SeekSet *set, const char *path);
/* The same, and it is where a list of records may stand. */
extern int	seek_want_records(SeekSet *set, const char *path);

/* The records of one list, found some at a time. */
typedef struct SeekRows
{
	SeekSet    *set;			/* what is wanted of each */
	SeekValue  *values;			/* of the records found: max times the slots */
	int			max;
	int			n;				/* found */
	const char *list;			/* the array that they are of; NULL: none yet */
	const char *next;			/* the first that was not looked at; NULL: there is none */
	int64_t		count;			/* all of the list */
} SeekRows;

typedef struct SeekText
{
	const char *at;
	const char *end;
	const char *error;			/* what is wrong at that place; static text */
	unsigned	depth;
	bool		large;			/* a number, wanted or not, may be too large for numeric */
	uint64_t	objects[SEEK_MAX_DEPTH / 64];	/* which of what is open are objects */
} SeekText;

/*
 * Reads a whole text: values[seek_slots()], and the first records of the first
 * list in the text (rows may be NULL).  False: text->error.
 */
extern bool seek_page(SeekText *text, const char *start, size_t len, SeekSet *set, SeekValue *values, SeekRows *rows);

/* For another list, an array of a text that was read to its end; the next records of the list. */
extern bool seek_rows_begin(SeekText *text, SeekRows *rows, const SeekValue *list);
extern bool seek_rows_more(SeekText *text, SeekRows *rows);

/* A string's value into out, which has room for len bytes; how long it is. */
extern size_t seek_unescape(const char *at, size_t len, char *out);

#endif							/* ACTIVATE_SEEK_H */
