/*
 * answer.c
 *	  Fuzzes the reading of answers: src/connector/reader.h.
 *
 * An input: the shape (s, a, e, k, l, c; capital: optional), the paths of the list,
 * of status, ok, error, index or key, and id ("-": not declared), the answer.
 * Where there are a status and an error, a rule looks at the latter.
 */
#include "fuzz.h"

#include "connector/reader.h"

#define ROWS 3

static void
check_text(const char *text)
{
	if (text != NULL)
		CHECK(*text != '\0' && strlen(text) < 8 * 1024 * 1024);
}

static void
check_rows(const ConnectorAnswer *answer, const ReaderRow *rows)
{
	for (int i = 0; i < ROWS; i++)
	{
		CHECK(rows[i].mentioned || answer->unmentioned == VERDICT_NONE);
		CHECK(rows[i].status == 0 || (rows[i].status >= 200 && rows[i].status <= 599));
		CHECK(rows[i].mentioned || (!rows[i].failed && rows[i].status == 0));
		CHECK(!rows[i].unsure || (rows[i].mentioned && rows[i].verdict == VERDICT_NONE));
		check_text(rows[i].reason);
		check_text(rows[i].id);
	}
}

static const char *
no_header(void *arg, const char *name)
{
	(void) arg;
	return *name ? NULL : name;
}

static void
check_rules(const Reader *reader, const ConnectorAnswer *answer)
{
	ReaderContext context = {200, no_header, NULL};
	ReaderMatch match = reader_judge(reader, &answer->row_rules, &context);

	CHECK(match.rule == NULL || answer->row_rules.n > 0);
	(void) reader_succeeded(reader, answer, &context);
	if (answer->error != NULL)
		CHECK(reader_seconds_at(reader, answer->error) <= 86400000);
}

static void
check_answer(const ConnectorAnswer *answer, const char *text, size_t length)
{
	/* without a NUL behind it, as it comes from the network */
	char	   *bytes = malloc(length > 0 ? length : 1);
	static const char *const column[ROWS] = {"1", NULL, "x@example.com"};
	static const char *const *const keys[] = {column, column};
	ReaderRow	rows[ROWS];
	Reader	   *reader;
	ReaderResult result;

	memcpy(bytes, text, length);
	reader = reader_open(bytes, length);
	result = reader_rows(reader, answer, keys, ROWS, rows);
	if (result == READER_DONE)
		check_rows(answer, rows);
	if (result == READER_ABSENT)
		CHECK(answer->optional || answer->shape == ANSWER_STATUS);
	check_text(reader_reason(reader, answer->error));
	check_rules(reader, answer);
	reader_close(reader);
	free(bytes);
}

static void
add_rule(ConnectorAnswer *answer, AnswerRule *rule, AnswerCondition *condition, char **text)
{
	static char wanted[] = "1";

	if (answer->status == NULL || answer->error == NULL)
		return;
	*text = wanted;
	*condition = (AnswerCondition) {.path = answer->error, .asks_value = true, .contains = {1, text},
		.has_max = true, .max = 1e9};
	*rule = (AnswerRule) {.nconditions = 1, .conditions = condition, .verdict = VERDICT_LOCKED, .wait_ms = -1};
	answer->row_rules = (AnswerRules) {1, rule};
	answer->nsuccess = answer->nrow_success = 1;
	answer->success = answer->row_success = condition;
}

/* The list by value, the same by position; counts where the others have a status and ok. */
static void
add_lists(ConnectorAnswer *answer, AnswerList *lists)
{
	if (answer->shape == ANSWER_COUNTS || answer->shape == ANSWER_LISTS)
	{
		answer->failed = answer->status;
		answer->accepted = answer->ok;
	}
	if (answer->shape != ANSWER_LISTS || answer->key == NULL)
		return;
	lists[0] = (AnswerList) {.path = answer->path ? answer->path : answer->key, .key = answer->key,
		.id = answer->id, .verdict = VERDICT_INVALID_ROW};
	lists[1] = lists[0];
	lists[1].index = answer->key;
	lists[1].key = NULL;
	lists[1].verdict = VERDICT_WARNING;
	answer->lists = lists;
	answer->nlists = 2;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char shapes[] = "saeklc";
	FuzzInput	input = {(const char *) data, size};
	char	   *fields[7];
	ConnectorAnswer answer = {0};
	AnswerRule	rule;
	AnswerCondition condition;
	char	   *text;
	AnswerList	lists[2];
	const char *shape;

	for (int i = 0; i < 7; i++)
	{
		fields[i] = fuzz_field(&input, false);
		/* a declaration is checked before it is used */
		if (i > 0 && strcmp(fields[i], "-") == 0)
		{
			free(fields[i]);
			fields[i] = NULL;
		}
	}
	shape = strchr(shapes, fields[0][0] | ' ');
	answer.shape = shape && *shape ? (AnswerShape) (shape - shapes) : ANSWER_STATUS;
	answer.optional = fields[0][0] >= 'A' && fields[0][0] <= 'Z';
	answer.path = fields[1];
	answer.status = fields[2];
	answer.ok = fields[3];
	answer.error = fields[4];
	answer.by_error = fields[4] != NULL && fields[2] == NULL && fields[3] == NULL;
	answer.index = answer.key = fields[5];
	answer.id = fields[6];
	answer.unmentioned = answer.shape == ANSWER_KEYED ? VERDICT_NONE : VERDICT_OK;
	add_rule(&answer, &rule, &condition, &text);
	add_lists(&answer, lists);
	if (fields[5] != NULL || answer.shape == ANSWER_STATUS || answer.shape == ANSWER_ARRAY)
		check_answer(&answer, input.at, input.left);
	for (int i = 0; i < 7; i++)
		free(fields[i]);
	return 0;
}
