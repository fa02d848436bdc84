/*
 * rule.h
 *	  Private to the room: which members a JSON object may have and what they
 *	  hold, as tables (vocabulary.c), and their check (rule.c).
 */
#ifndef ACTIVATE_RULE_H
#define ACTIVATE_RULE_H

#include "connector/definition.h"

typedef enum RuleKind
{
	RULE_TEXT,
	RULE_PATH,					/* of JSON */
	RULE_URL_PATH,				/* behind base_url */
	RULE_TEMPLATE,				/* the same with columns in braces */
	RULE_URL,
	RULE_COUNT,					/* 1 to most */
	RULE_NUMBER,				/* 0 to most */
	RULE_BOOL,
	RULE_CHOICE,
	RULE_KEY,
	RULE_HEADERS,
	RULE_HEADER,				/* the name of one that we may set */
	RULE_QUERY,
	RULE_MEMBERS,				/* an object of members */
	RULE_MAP,					/* an object of names of the user's, each of members */
	RULE_COLUMNS,
	RULE_READ,					/* members, or false */
	RULE_LIST,					/* an array of at most so many, each of members */
	RULE_PERIOD,				/* text of an interval */
	RULE_NAME,					/* a text that is not empty */
	RULE_TRANSFORM,				/* an array of steps */
	RULE_WRAP,					/* a boolean, or an object or array with "$" in it */
	RULE_CONTENT_TYPE,
	RULE_FIXED,					/* an object of paths, each of a constant */
	RULE_LINK,					/* a URL for people */
	RULE_PARAMETERS,			/* an object of names of parameters, each of members */
	RULE_VALUE,					/* of a parameter */
	RULE_VALUES,				/* an object of names of parameters, each of a value */
	RULE_PERIODS,				/* an object of names of the user's, each of an interval */
	RULE_TEXTS,					/* an array of strings */
	RULE_STATUSES,				/* an array of HTTP statuses */
	RULE_BODY,					/* a choice, or an object that is sent as it is */
	RULE_CHOICES,				/* an object of names of the user's, each of a choice */
	RULE_SCALARS,				/* a text, a number or a boolean, or an array of them */
	RULE_STATUS_SET,			/* 409, "4xx", or an array of them */
	RULE_DECIMAL,				/* any number */
	RULE_PARAM,					/* the name of a query parameter, or members with it */
	RULE_FILTERS				/* an object of names of columns, each of such a name, or of members */
} RuleKind;

typedef struct Rule
{
	const char *name;
	RuleKind	kind;
	const struct Rule *members;
	const char *const *choices;
	int			most;
} Rule;

/* What is being checked: for the message. */
typedef struct RulePlace
{
	const char *subject;
	char	   *where;
} RulePlace;

/* Errors 22023 naming subject and member, with the valid ones. */
extern void rule_check(const Rule *rule, const JsonbValue *value, RulePlace place);

/* Errors 22023: "subject: where must be expected". */
pg_noreturn extern void rule_fail(RulePlace place, const char *expected, const char *hint);

/* Of an object: its members by rules; those of the user's own names, but for nulls. */
extern RulePlace place_under(RulePlace place, const char *name);
/* A parameter of the query that looks like a secret is an error: 22023. */
extern void rule_refuse_secret(const char *name, RulePlace place);
extern void rule_check_members(const Rule *rules, const JsonbValue *value, RulePlace place);
extern DefinitionMember *rule_map(const JsonbValue *value, RulePlace place, int *n);
/* Of an array; NULL: it is none. */
extern DefinitionMember *rule_elements(const JsonbValue *value, int *n);

/* rule_request.c */
extern void rule_check_request(const Rule *rule, const JsonbValue *value, RulePlace place);
extern bool rule_is_content_type(const char *text);

/* rule_value.c */
/* A value, or those of an array. */
extern DefinitionMember *rule_values(const JsonbValue *value, int *n);
extern void rule_check_scalars(const JsonbValue *value, RulePlace place);
extern void rule_check_status_set(const JsonbValue *value, RulePlace place);
/* 409 or "4xx" as the statuses that it stands for; false: it is neither. */
extern bool rule_status(const JsonbValue *value, int *least, int *most);

#endif							/* ACTIVATE_RULE_H */
