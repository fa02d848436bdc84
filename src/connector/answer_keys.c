/*
 * answer_keys.c
 *	  By what an answer that names rows by a value of theirs may name them: what
 *	  their columns held as they were sent.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "mb/pg_wchar.h"

/* What was sent of each row, where that is not what it holds; NULL: it is. */
static Jsonb **
sent_values(const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	Jsonb	  **values;

	if (!write->changes)
		return NULL;
	values = palloc(sizeof(Jsonb *) * n);
	for (int i = 0; i < n; i++)
		values[i] = request_values(&rows[i], write);
	return values;
}

/* What each row's column holds as it was sent, in UTF-8 as the answer is. */
static const char *const *
keys_of(const ConnectorRow *rows, int n, Jsonb **sent, const char *column)
{
	const char **keys = palloc0(sizeof(char *) * n);

	for (int i = 0; column != NULL && i < n; i++)
	{
		const ConnectorRow *row = &rows[i];
		char	   *text;

		if (strcmp(column, "$id") == 0)
		{
			keys[i] = row->id;
			continue;
		}
		if (sent != NULL)
			text = sent[i] ? template_member_text(sent[i], column) : NULL;
		else
			text = row->row ? template_member_text(row->row, column) : NULL;
		if (sent == NULL && text == NULL && row->target_key != NULL)
			text = template_member_text(row->target_key, column);
		keys[i] = text ? pg_server_to_any(text, strlen(text), PG_UTF8) : NULL;
	}
	return keys;
}

const char *const *const *
answer_keys(const ConnectorWrite *write, const ConnectorRow *rows, int n)
{
	const ConnectorAnswer *answer = &write->answer;
	const char *const **keys = palloc0(sizeof(char **) * Max(answer->nlists, 1));
	Jsonb	  **sent;

	if (answer->shape != ANSWER_KEYED && answer->shape != ANSWER_LISTS)
		return (const char *const *const *) keys;
	sent = sent_values(write, rows, n);
	keys[0] = answer->shape == ANSWER_KEYED ? keys_of(rows, n, sent, answer->column) : NULL;
	for (int l = 0; answer->shape == ANSWER_LISTS && l < answer->nlists; l++)
		keys[l] = keys_of(rows, n, sent, answer->lists[l].column);
	return (const char *const *const *) keys;
}
