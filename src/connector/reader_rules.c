/*
 * reader_rules.c
 *	  What a definition says that an answer means: conditions over the answer
 *	  as a whole, or over an element of a list in it.
 *
 * A condition holds if one of the values at its path fulfils all that it asks
 * of a value.  What is not there, or null, is no value: it is neither equal to
 * a text nor unequal to it; only "exists" asks for it.
 */
#include "connector/reader_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What conditions look at. */
typedef struct RuleSubject
{
	json_object *from;			/* NULL: no JSON */
	const Reader *reader;		/* of the answer as a whole; NULL: an element */
	int			status;
	const ReaderContext *context;
} RuleSubject;

/* One condition, and what was found of it. */
typedef struct RuleTest
{
	const AnswerCondition *condition;
	bool		something;
	bool		holds;
	const char *mark;
} RuleTest;

static const char *
text_among(const AnswerTexts *texts, const char *text, size_t len)
{
	for (int i = 0; i < texts->n; i++)
		if (strlen(texts->texts[i]) == len && memcmp(texts->texts[i], text, len) == 0)
			return texts->texts[i];
	return NULL;
}

static const char *
text_within(const AnswerTexts *texts, const char *text, size_t len)
{
	for (int i = 0; i < texts->n; i++)
	{
		size_t		part = strlen(texts->texts[i]);

		for (size_t at = 0; at + part <= len; at++)
			if (strncasecmp(text + at, texts->texts[i], part) == 0)
				return texts->texts[i];
	}
	return NULL;
}

static bool
text_within_bounds(const AnswerCondition *condition, const char *text, size_t len)
{
	char		digits[64];
	char	   *end;
	double		number;

	if (len == 0 || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (strspn(digits, "+-.0123456789eE") != len)
		return false;
	number = strtod(digits, &end);
	return *end == '\0' && isfinite(number) && (!condition->has_min || number >= condition->min) &&
		(!condition->has_max || number <= condition->max);
}

/* All that is asked of a value. */
static bool
text_holds(RuleTest *test, const char *text, size_t len)
{
	const AnswerCondition *condition = test->condition;
	const char *mark = NULL;

	if (condition->not_in.n > 0 && text_among(&condition->not_in, text, len) != NULL)
		return false;
	if ((condition->has_min || condition->has_max) && !text_within_bounds(condition, text, len))
		return false;
	if (condition->is.n > 0 && (mark = text_among(&condition->is, text, len)) == NULL)
		return false;
	if (condition->contains.n > 0)
	{
		const char *part = text_within(&condition->contains, text, len);

		if (part == NULL)
			return false;
		mark = mark ? mark : part;
	}
	test->mark = mark;
	return test->holds = true;
}

static bool
value_holds(json_object *value, const char *name, void *arg)
{
	RuleTest   *test = arg;

	(void) name;
	test->something = test->something || reader_is_something(value);
	if (!test->condition->asks_value)
		return test->something;
	if (json_object_is_type(value, json_type_array) || json_object_is_type(value, json_type_object))
		return false;
	if (json_object_is_type(value, json_type_string))
		return text_holds(test, json_object_get_string(value), (size_t) json_object_get_string_len(value));
	return text_holds(test, json_object_get_string(value), strlen(json_object_get_string(value)));
}

static bool
status_holds(const AnswerCondition *condition, int status)
{
	for (int i = 0; i < condition->nstatuses; i++)
		if (status >= condition->statuses[i].least && status <= condition->statuses[i].most)
			return true;
	return condition->nstatuses == 0;
}

/* Of the answer as a whole: what its body is as text, JSON or not. */
static void
test_text(RuleTest *test, const char *text, size_t len)
{
	test->something = len > 0;
	if (test->condition->asks_value && len > 0)
		(void) text_holds(test, text, len);
}

static bool
condition_holds(const RuleSubject *subject, const AnswerCondition *condition, const char **mark)
{
	RuleTest	test = {.condition = condition};

	if (!status_holds(condition, subject->status))
		return false;
	if (condition->header != NULL)
	{
		const char *value = subject->context ? subject->context->header(subject->context->arg, condition->header) : NULL;

		if (value != NULL)
			test_text(&test, value, strlen(value));
	}
	else if (condition->path == NULL)
		return true;
	else if (*condition->path == '\0' && subject->reader != NULL)
		test_text(&test, subject->reader->text, subject->reader->len);
	else if (subject->from != NULL)
		(void) reader_visit(subject->from, condition->path, value_holds, &test);
	if (condition->asks_exists && test.something != condition->exists)
		return false;
	if (test.holds && *mark == NULL)
		*mark = test.mark;
	return test.holds || !condition->asks_value;
}

static bool
conditions_hold(const RuleSubject *subject, const AnswerCondition *conditions, int n, const char **mark)
{
	for (int i = 0; i < n; i++)
		if (!condition_holds(subject, &conditions[i], mark))
			return false;
	return true;
}

static ReaderMatch
subject_judge(const RuleSubject *subject, const AnswerRules *rules)
{
	ReaderMatch match = {NULL, NULL};

	for (int i = 0; i < rules->n && match.rule == NULL; i++)
	{
		match.mark = NULL;
		if (conditions_hold(subject, rules->rules[i].conditions, rules->rules[i].nconditions, &match.mark))
			match.rule = &rules->rules[i];
	}
	return match;
}

ReaderMatch
reader_judge(const Reader *reader, const AnswerRules *rules, const ReaderContext *context)
{
	RuleSubject subject = {reader->root, reader, context->status, context};

	return subject_judge(&subject, rules);
}

ReaderMatch
reader_judge_element(json_object *element, const AnswerRules *rules, int status)
{
	RuleSubject subject = {element, NULL, status, NULL};

	return subject_judge(&subject, rules);
}

bool
reader_succeeded(const Reader *reader, const ConnectorAnswer *answer, const ReaderContext *context)
{
	RuleSubject subject = {reader->root, reader, context->status, context};
	const char *mark = NULL;

	if (answer->nsuccess == 0 || (answer->optional && reader->len == 0))
		return true;
	return conditions_hold(&subject, answer->success, answer->nsuccess, &mark);
}

bool
reader_fulfils(json_object *element, const AnswerCondition *conditions, int n, int status)
{
	RuleSubject subject = {element, NULL, status, NULL};
	const char *mark = NULL;

	return conditions_hold(&subject, conditions, n, &mark);
}

int64_t
reader_seconds_at(const Reader *reader, const char *path)
{
	json_object *value = reader->root ? reader_at(reader->root, path) : NULL;
	const char *text = reader_key(value);
	char	   *end;
	double		seconds;

	if (text == NULL || text[strspn(text, ".0123456789")] != '\0')
		return -1;
	seconds = strtod(text, &end);
	if (*end != '\0' || !isfinite(seconds))
		return -1;
	return seconds > 86400 ? INT64_C(86400000) : (int64_t) (seconds * 1000);
}
