/*
 * reader_parts.h
 *	  What the files of the reader share.  Plain C over json-c, as reader.h says.
 */
#ifndef ACTIVATE_READER_PARTS_H
#define ACTIVATE_READER_PARTS_H

#include "connector/reader.h"

#include <json-c/json.h>

struct Reader
{
	json_object *root;			/* an object or array, else NULL */
	bool		looks_json;		/* begins like one */
	const char *text;			/* as it came, without white space around it */
	size_t		len;
};

/* Called with a value and, of an element of an object or list, its name (else NULL); true: stop. */
typedef bool (*ReaderVisit) (json_object *value, const char *name, void *arg);

/* reader_parse.c: all of the text as a tree; NULL: it is no JSON, or too deep. */
extern json_object *reader_parse(const char *text, size_t len);

/* reader_path.c */
/* The value at path, not null; of a path with "*" the first that there is. */
extern json_object *reader_at(json_object *from, const char *path);
/* All values at path that are not null, until visit says stop; did it? */
extern bool reader_visit(json_object *from, const char *path, ReaderVisit visit, void *arg);
/* The position of the row that an element names, from 0; -1: none of n. */
extern int	reader_position(json_object *value, int first, int n);
extern int	reader_position_text(const char *text, int first, int n);
/* Calls visit for each element of the lists at path; false: there is no list. */
extern bool reader_elements(json_object *root, const char *path, bool named, ReaderVisit visit, void *arg);

/* reader.c */
/* A scalar as text, not empty; NULL for everything else. */
extern const char *reader_text(json_object *value);
/* The same, NULL also for a text that holds a NUL: it is compared. */
extern const char *reader_key(json_object *value);
/* Is there something: not null, "", [] or {}? */
extern bool reader_is_something(json_object *value);
extern const char *reader_find_reason(json_object *from, const char *path);

/* reader_rules.c */
/* The same as reader_judge() of an element. */
extern ReaderMatch reader_judge_element(json_object *element, const AnswerRules *rules, int status);
extern bool reader_fulfils(json_object *element, const AnswerCondition *conditions, int n, int status);

/* reader_lists.c */
extern ReaderResult reader_lists(json_object *root, const ConnectorAnswer *answer,
								 const char *const *const *keys, int n, ReaderRow *rows);
extern ReaderResult reader_counts(json_object *root, const ConnectorAnswer *answer, int n, ReaderRow *rows);

#endif							/* ACTIVATE_READER_PARTS_H */
