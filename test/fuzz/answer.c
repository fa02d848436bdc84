/*
 * answer.c
 *	  Fuzzes the reading of answers: src/connector/reader.h.
 *
 * An input: the shape (s, a, e, k; capital: optional), the paths of the list,
 * of status, ok, error, index or key, and id ("-": not declared), the answer.
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
		CHECK(rows[i].mentioned || answer->shape == ANSWER_KEYED);
		CHECK(rows[i].status == 0 || (rows[i].status >= 200 && rows[i].status <= 599));
		CHECK(rows[i].mentioned || (!rows[i].failed && rows[i].status == 0));
		check_text(rows[i].reason);
		check_text(rows[i].id);
	}
}

static void
check_answer(const ConnectorAnswer *answer, const char *text, size_t length)
{
	/* without a NUL behind it, as it comes from the network */
	char	   *bytes = malloc(length > 0 ? length : 1);
	static const char *const keys[ROWS] = {"1", NULL, "x@example.com"};
	ReaderRow	rows[ROWS];
	Reader	   *reader;
	ReaderResult result;

	memcpy(bytes, text, length);
	reader = reader_open(bytes, length);
	free(bytes);
	result = reader_rows(reader, answer, keys, ROWS, rows);
	if (result == READER_DONE)
		check_rows(answer, rows);
	if (result == READER_ABSENT)
		CHECK(answer->optional || answer->shape == ANSWER_STATUS);
	check_text(reader_reason(reader, answer->error));
	reader_close(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char shapes[] = "saek";
	FuzzInput	input = {(const char *) data, size};
	char	   *fields[7];
	ConnectorAnswer answer = {0};
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
	answer.index = answer.key = fields[5];
	answer.id = fields[6];
	if (fields[5] != NULL || answer.shape == ANSWER_STATUS || answer.shape == ANSWER_ARRAY)
		check_answer(&answer, input.at, input.left);
	for (int i = 0; i < 7; i++)
		free(fields[i]);
	return 0;
}
