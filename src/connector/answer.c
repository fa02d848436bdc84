/*
 * answer.c
 *	  A finished request to one outcome per row (SEMANTICS 5 and 9).
 *
 * What arrives is a stranger's: reader.c looks at it, and nothing here throws
 * on account of it.  In doubt a row is ambiguous, which sends it again with the
 * same id: the two wrong answers would be to lose it and to reject it.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/mem.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#define ANSWER_REASON_BYTES	500
#define ANSWER_ID_BYTES		1000

/* What one verdict needs to know besides the status. */
typedef struct AnswerCall
{
	const ConnectorWrite *write;
	const ConnectorAuth *auth;
	const ConnectorRow *rows;
	RowAnswer  *answers;
	int			n;
	bool		throttled;		/* as a whole, in whatever way */
	bool		told_when;		/* and until when */
	bool		own_words;		/* webhook: a receiver of our own protocol */
} AnswerCall;

/*
 * A stranger's text for our tables: no control characters, valid in the
 * database's encoding, at most max bytes.  Where the encoding is not UTF-8,
 * what is not ASCII becomes "?": converting could throw.
 */
static char *
answer_text(const char *text, int max)
{
	char	   *clean = palloc(max + 1);
	int			len = 0;
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	for (const unsigned char *p = (const unsigned char *) text; *p;)
	{
		int			size = pg_encoding_mblen(PG_UTF8, (const char *) p);

		/* the NUL at the end is never skipped: it is no continuation byte */
		if (strnlen((const char *) p, size) < size || !pg_utf8_islegal(p, size))
			size = 1;
		if (len + size > max)
			break;
		if (size == 1 || utf8)
			memcpy(clean + len, p, size);
		if (size == 1 && (*p < ' ' || *p == 0x7f))
			clean[len] = ' ';
		else if ((size == 1 && *p >= 0x80) || (size > 1 && !utf8))
			clean[len] = '?';
		/* C1 controls, U+0080 to U+009F */
		else if (size == 2 && p[0] == 0xc2 && p[1] < 0xa0)
			memcpy(clean + len, "  ", 2);
		len += utf8 ? size : 1;
		p += size;
	}
	clean[len] = '\0';
	return clean;
}

/* The class of a status, of a call or of a row in it. */
static AnswerClass
answer_class(const AnswerCall *call, int status, bool of_row)
{
	if (status >= 200 && status < 300)
		return ANSWER_OK;
	switch (status)
	{
		case 401:
		case 403:
		case 407:
			return ANSWER_AUTH;
		case 408:
		case 425:
			return ANSWER_RETRY;
		case 429:
			return ANSWER_THROTTLED;
		case 400:
		case 413:
		case 422:
			return of_row || call->n == 1 ? ANSWER_REJECTED : ANSWER_SPLIT;
		case 503:
			return call->told_when ? ANSWER_THROTTLED : ANSWER_RETRY;
	}
	return status >= 500 ? ANSWER_RETRY : ANSWER_REJECTED;
}

/* Deleted already is as good as deleted; but a receiver of webhooks means its URL. */
static bool
answer_gone(const AnswerCall *call, const ConnectorRow *row, int status, bool of_row)
{
	return (status == 404 || status == 410) && row->op == OUTBOX_DELETE && !call->own_words &&
		(of_row || (call->n == 1 && strcmp(call->write->method, "DELETE") == 0));
}

static char *
answer_reason(const AnswerCall *call, const char *said, int status, AnswerClass class)
{
	/* what an API says of credentials is about them: it may quote more than what we sent */
	if (said != NULL && class != ANSWER_AUTH)
		return answer_text(connector_redact(call->auth, said), ANSWER_REASON_BYTES);
	if (status >= 300 && status < 400)
		return psprintf("HTTP %d: redirects of writes are never followed", status);
	return status > 0 ? psprintf("HTTP %d", status) : pstrdup("the answer says that it failed");
}

/* All rows alike. */
static AnswerClass
answer_all(const AnswerCall *call, AnswerClass class, int code, const char *reason)
{
	for (int i = 0; i < call->n; i++)
	{
		call->answers[i].class = class;
		call->answers[i].code = code;
		call->answers[i].reason = class == ANSWER_OK ? NULL : pstrdup(reason);
		call->answers[i].remote_id = NULL;
	}
	return class;
}

static AnswerClass
answer_row(const AnswerCall *call, int i, const ReaderRow *said, int http_status)
{
	RowAnswer  *answer = &call->answers[i];
	int			status = said->status ? said->status : http_status;

	answer->class = answer_class(call, status, true);
	answer->code = status;
	answer->reason = NULL;
	answer->remote_id = NULL;
	if (!said->mentioned)
	{
		answer->class = ANSWER_AMBIGUOUS;
		answer->reason = pstrdup("the answer does not mention this row");
		return answer->class;
	}
	if (answer_gone(call, &call->rows[i], status, true))
		answer->class = ANSWER_OK;
	else if (answer->class == ANSWER_OK && said->failed)
		answer->class = ANSWER_REJECTED;
	if (answer->class == ANSWER_OK)
		answer->remote_id = said->id ? answer_text(said->id, ANSWER_ID_BYTES) : NULL;
	else
		answer->reason = answer_reason(call, said->reason, said->status, answer->class);
	return answer->class;
}

/*
 * 401, 403 or 407 of some rows: where another row was taken, or refused for its
 * own sake, the credential evidently works, and such a row is a bad one.
 */
static bool
answer_works(const AnswerCall *call)
{
	bool		works = false;

	for (int i = 0; i < call->n; i++)
		works = works || call->answers[i].class == ANSWER_OK || call->answers[i].class == ANSWER_REJECTED;
	for (int i = 0; works && i < call->n; i++)
		if (call->answers[i].class == ANSWER_AUTH)
			call->answers[i].class = ANSWER_REJECTED;
	return works;
}

/* What rows say of the target: a brake of one concerns all, a refusal of the credential only if none gets by. */
static AnswerClass
answer_of_rows(const AnswerCall *call)
{
	bool		works = answer_works(call);
	AnswerClass common = call->answers[0].class;
	bool		throttled = false;

	for (int i = 0; i < call->n; i++)
	{
		if (!works && call->answers[i].class == ANSWER_AUTH)
			return ANSWER_AUTH;
		throttled = throttled || call->answers[i].class == ANSWER_THROTTLED;
		if (call->answers[i].class != common)
			common = ANSWER_OK;
	}
	return throttled ? ANSWER_THROTTLED :
		common == ANSWER_RETRY || common == ANSWER_AMBIGUOUS ? common : ANSWER_OK;
}

/* For ANSWER_KEYED: what each row's column holds, in UTF-8 as the answer is. */
static const char **
answer_keys(const AnswerCall *call)
{
	const char **keys = palloc0(sizeof(char *) * call->n);
	const char *column = call->write->answer.column;

	if (call->write->answer.shape != ANSWER_KEYED)
		return keys;
	for (int i = 0; i < call->n; i++)
	{
		const ConnectorRow *row = &call->rows[i];
		char	   *text = row->row ? template_member_text(row->row, column) : NULL;

		if (text == NULL && row->target_key != NULL)
			text = template_member_text(row->target_key, column);
		keys[i] = text ? pg_server_to_any(text, strlen(text), PG_UTF8) : NULL;
	}
	return keys;
}

static AnswerClass
answer_accepted(const AnswerCall *call, const Reader *reader, int status)
{
	ReaderRow  *said = palloc0(sizeof(ReaderRow) * call->n);

	switch (reader_rows(reader, &call->write->answer, answer_keys(call), call->n, said))
	{
		case READER_ABSENT:
			return answer_all(call, ANSWER_OK, status, NULL);
		case READER_NO_JSON:
			return answer_all(call, ANSWER_AMBIGUOUS, status, "the answer is not the JSON that was expected");
		case READER_MISMATCH:
			return answer_all(call, ANSWER_AMBIGUOUS, status,
							  "the answer has another length or shape than what was sent");
		case READER_DONE:
			break;
	}
	for (int i = 0; i < call->n; i++)
		(void) answer_row(call, i, &said[i], status);
	return answer_of_rows(call);
}

static void
answer_close(void *reader)
{
	reader_close(reader);
}

/* A whole response. */
static AnswerClass
answer_response(const AnswerCall *call, const HttpRequest *request)
{
	MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "activate answer",
												ALLOCSET_SMALL_SIZES);
	Reader	   *reader = reader_open(request->answer, request->answer_len);
	int			status = (int) request->status;
	AnswerClass class = call->throttled ? ANSWER_THROTTLED : answer_class(call, status, false);

	if (reader == NULL)
		return answer_all(call, ANSWER_AMBIGUOUS, status, "out of memory while reading the answer");
	mem_adopt(owner, reader, answer_close);
	if (answer_gone(call, &call->rows[0], status, false))
		class = answer_all(call, ANSWER_OK, status, NULL);
	else if (class == ANSWER_OK)
		class = answer_accepted(call, reader, status);
	else
		class = answer_all(call, class, status,
						   answer_reason(call, reader_reason(reader, call->write->answer.error), status, class));
	MemoryContextDelete(owner);
	return class;
}

AnswerClass
connector_answer(const Connector *connector, const ConnectorAuth *auth,
				 const HttpRequest *request, const ConnectorRow *rows, int n,
				 RowAnswer *answers, int64 *retry_after_ms)
{
	AnswerCall	call = {
		.write = connector_write(connector, rows[0].op),
		.auth = auth,
		.rows = rows,
		.answers = answers,
		.n = n,
		.own_words = connector->format != FORMAT_OBJECT
	};
	char	   *reason = answer_text(request->reason ? request->reason : "no answer", ANSWER_REASON_BYTES);

	*retry_after_ms = -1;
	switch (request->outcome)
	{
		case HTTP_ANSWERED:
			call.throttled = connector_throttled(connector, request, retry_after_ms);
			call.told_when = *retry_after_ms >= 0;
			return answer_response(&call, request);
		case HTTP_FORBIDDEN:
		case HTTP_NO_CONNECTION:
			break;
		case HTTP_TIMED_OUT:
		case HTTP_BROKEN:
			if (request->sent)
				return answer_all(&call, ANSWER_AMBIGUOUS, 0, reason);
			break;
		case HTTP_TOO_LARGE:
			return answer_all(&call, ANSWER_AMBIGUOUS, 0, reason);
	}
	return answer_all(&call, ANSWER_OUTAGE, 0, reason);
}
