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
	const Connector *connector;
	const ConnectorWrite *write;
	const ConnectorAuth *auth;
	const HttpRequest *request;
	const ConnectorRow *rows;
	RowAnswer  *answers;
	int			n;
	int64	   *retry_after_ms;
} AnswerCall;

/*
 * A stranger's text for our tables: no control characters, valid in the
 * database's encoding, at most max bytes.  Where the encoding is not UTF-8,
 * what is not ASCII becomes "?": converting could throw.
 */
char *
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

static void
answer_close(void *reader)
{
	reader_close(reader);
}

Reader *
answer_open(const HttpRequest *request, MemoryContext owner)
{
	Reader	   *reader = reader_open(request->answer, request->answer_len);

	return reader ? mem_adopt(owner, reader, answer_close) : NULL;
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
			return connector_retry_after(call->request) >= 0 ? ANSWER_THROTTLED : ANSWER_RETRY;
	}
	return status >= 500 ? ANSWER_RETRY : ANSWER_REJECTED;
}

/* The class of what the definition says. */
static AnswerClass
answer_by_verdict(const AnswerCall *call, AnswerVerdict verdict)
{
	switch (verdict)
	{
		case VERDICT_AUTH:
			return ANSWER_AUTH;
		case VERDICT_CONFIG:
			return ANSWER_CONFIG;
		case VERDICT_THROTTLED:
			return ANSWER_THROTTLED;
		case VERDICT_LOCKED:
			return ANSWER_LOCKED;
		case VERDICT_TRANSIENT:
			return ANSWER_RETRY;
		case VERDICT_INVALID_BATCH:
			return call->n == 1 ? ANSWER_REJECTED : ANSWER_SPLIT;
		case VERDICT_INVALID_ROW:
		case VERDICT_SILENT:
			return ANSWER_REJECTED;
		case VERDICT_WARNING:
			return ANSWER_WARNED;
		case VERDICT_NONE:
		case VERDICT_OK:
			break;
	}
	return ANSWER_OK;
}

static bool
answer_taken(AnswerClass class)
{
	return class == ANSWER_OK || class == ANSWER_WARNED;
}

/* Deleted already is as good as deleted; but a receiver of webhooks means its URL. */
static bool
answer_gone(const AnswerCall *call, const ConnectorRow *row, int status, bool of_row)
{
	return (status == 404 || status == 410) && row->op == OUTBOX_DELETE && call->connector->format == FORMAT_OBJECT &&
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

/* Of what the definition judged: its own words, the API's, or the text that it knew it by. */
static char *
answer_reason_of(const AnswerCall *call, const ReaderMatch *match, AnswerVerdict verdict, const char *said, int status,
				 AnswerClass class)
{
	if (match->rule != NULL && match->rule->reason != NULL)
		return pstrdup(match->rule->reason);
	if (class == ANSWER_AUTH)
		said = NULL;
	if (said == NULL && match->mark != NULL)
		return psprintf("the answer says: %s", match->mark);
	if (said == NULL && verdict == VERDICT_SILENT)
		return pstrdup("the API accepted the call but says of nothing that it was applied");
	return answer_reason(call, said, status, class);
}

static const char *
answer_mark(const ReaderMatch *match)
{
	return match->rule != NULL && match->rule->reason != NULL ? match->rule->reason : match->mark;
}

/* How long to wait, by a rule or as the API is known to say it: the longest of all rows. */
static void
answer_wait(const AnswerCall *call, const Reader *reader, const AnswerRule *rule, AnswerClass class)
{
	int64		wait_ms = rule ? rule->wait_ms : -1;
	int64		told_ms;

	if (class != ANSWER_THROTTLED && class != ANSWER_LOCKED && class != ANSWER_RETRY)
		return;
	if (rule != NULL && rule->wait_at != NULL && (told_ms = reader_seconds_at(reader, rule->wait_at)) >= 0)
		wait_ms = told_ms;
	if (class == ANSWER_THROTTLED || wait_ms >= 0)
		wait_ms = connector_wait(call->connector, call->request, wait_ms);
	*call->retry_after_ms = Max(*call->retry_after_ms, wait_ms);
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
		call->answers[i].mark = NULL;
		call->answers[i].remote_id = NULL;
	}
	return class;
}

/*
 * Some rows failed, nobody says which: where a repeat does no harm, halves will
 * tell; else all count as accepted, and their receipts say that nobody knows.
 */
static AnswerClass
answer_unsure(const AnswerCall *call, RowAnswer *answer, const char *said)
{
	answer->class = call->n == 1 ? ANSWER_REJECTED : call->write->idempotent ? ANSWER_SPLIT : ANSWER_WARNED;
	answer->reason = answer->class == ANSWER_WARNED ? pstrdup("accepted, unconfirmed: some rows of the call failed")
		: answer_reason(call, said, 0, answer->class);
	return answer->class;
}

static AnswerClass
answer_row(const AnswerCall *call, const Reader *reader, int i, const ReaderRow *said, int http_status)
{
	RowAnswer  *answer = &call->answers[i];
	int			status = said->status ? said->status : http_status;

	answer->class = said->verdict != VERDICT_NONE ? answer_by_verdict(call, said->verdict)
		: answer_class(call, status, true);
	answer->code = status;
	answer->reason = NULL;
	answer->mark = answer_mark(&said->match);
	answer->unmentioned = said->unnamed || !said->mentioned;
	answer->remote_id = NULL;
	if (!said->mentioned)
	{
		answer->class = ANSWER_AMBIGUOUS;
		answer->reason = pstrdup("the answer does not mention this row");
		return answer->class;
	}
	if (said->unsure)
		return answer_unsure(call, answer, said->reason);
	if (said->verdict == VERDICT_NONE && answer_gone(call, &call->rows[i], status, true))
		answer->class = ANSWER_OK;
	else if (answer->class == ANSWER_OK && said->failed)
		answer->class = ANSWER_REJECTED;
	if (answer_taken(answer->class))
		answer->remote_id = said->id ? answer_text(said->id, ANSWER_ID_BYTES) : NULL;
	if (answer->class != ANSWER_OK)
		answer->reason = answer_reason_of(call, &said->match, said->verdict, said->reason, said->status, answer->class);
	answer_wait(call, reader, said->match.rule, answer->class);
	return answer->class;
}

static bool
answer_stops(AnswerClass class)
{
	return class == ANSWER_AUTH || class == ANSWER_CONFIG;
}

/*
 * A refusal of the credential (401, 403 or 407), or of how things are set up,
 * for some rows: where another row was taken, or refused for its own sake, they
 * evidently work, and such a row is a bad one.
 */
static bool
answer_works(const AnswerCall *call)
{
	bool		works = false;

	for (int i = 0; i < call->n; i++)
		works = works || answer_taken(call->answers[i].class) || call->answers[i].class == ANSWER_REJECTED;
	for (int i = 0; works && i < call->n; i++)
		if (answer_stops(call->answers[i].class))
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
		if (!works && answer_stops(call->answers[i].class))
			return call->answers[i].class;
		throttled = throttled || call->answers[i].class == ANSWER_THROTTLED;
		if (call->answers[i].class != common)
			common = ANSWER_OK;
	}
	return throttled ? ANSWER_THROTTLED :
		common == ANSWER_RETRY || common == ANSWER_AMBIGUOUS ? common : ANSWER_OK;
}

static AnswerClass
answer_accepted(const AnswerCall *call, const Reader *reader, int status)
{
	ReaderRow  *said = palloc0(sizeof(ReaderRow) * call->n);

	switch (reader_rows(reader, &call->write->answer, answer_keys(call->write, call->rows, call->n), call->n, said))
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
		(void) answer_row(call, reader, i, &said[i], status);
	return answer_of_rows(call);
}

/* A rule of the definition holds of the answer as a whole. */
static AnswerClass
answer_ruled(const AnswerCall *call, const Reader *reader, const ReaderMatch *match, int status)
{
	const ConnectorAnswer *answer = &call->write->answer;
	AnswerVerdict verdict = match->rule->verdict;
	AnswerClass class = answer_by_verdict(call, verdict);

	/* as a 2xx: the rows may say more */
	if (verdict == VERDICT_OK && answer->shape != ANSWER_STATUS)
		return answer_accepted(call, reader, status >= 200 && status < 300 ? status : 200);
	answer_wait(call, reader, match->rule, class);
	class = answer_all(call, class, status,
					   answer_reason_of(call, match, verdict, reader_reason(reader, answer->error), status, class));
	for (int i = 0; i < call->n; i++)
		call->answers[i].mark = answer_mark(match);
	if (answer_taken(class) && call->n == 1 && answer->id != NULL)
	{
		const char *id = reader_text_at(reader, answer->id);

		call->answers[0].remote_id = id ? answer_text(id, ANSWER_ID_BYTES) : NULL;
	}
	return class == ANSWER_WARNED ? ANSWER_OK : class;
}

/* The value of a header, for rules. */
static const char *
answer_header(void *request, const char *name)
{
	return http_answer_header(request, name);
}

/* By the status, as far as no rule says otherwise. */
static AnswerClass
answer_by_status(const AnswerCall *call, const Reader *reader, const ReaderContext *context)
{
	int			status = context->status;
	bool		throttled = answer_throttled(call->connector, call->request, reader, call->retry_after_ms);
	AnswerClass class = throttled ? ANSWER_THROTTLED : answer_class(call, status, false);
	const char *said;

	if (answer_gone(call, &call->rows[0], status, false))
		return answer_all(call, ANSWER_OK, status, NULL);
	if (class == ANSWER_OK && reader_succeeded(reader, &call->write->answer, context))
		return answer_accepted(call, reader, status);
	said = reader_reason(reader, call->write->answer.error);
	if (class == ANSWER_OK && reader_broken(reader))
		return answer_all(call, ANSWER_AMBIGUOUS, status, "the answer is not the JSON that was expected");
	if (class == ANSWER_OK)
	{
		class = answer_by_verdict(call, VERDICT_INVALID_BATCH);
		return answer_all(call, class, status, said ? answer_reason(call, said, status, class)
						  : "the answer does not say that it succeeded");
	}
	return answer_all(call, class, status, answer_reason(call, said, status, class));
}

/* A whole response. */
static AnswerClass
answer_response(const AnswerCall *call)
{
	MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "activate answer",
												ALLOCSET_SMALL_SIZES);
	const HttpRequest *request = call->request;
	const AnswerRules *rules = &call->write->answer.rules;
	Reader	   *reader = answer_open(request, owner);
	ReaderContext context = {(int) request->status, answer_header, unconstify(HttpRequest *, request)};
	ReaderMatch match = {NULL, NULL};
	AnswerClass class;

	if (reader == NULL)
		return answer_all(call, ANSWER_AMBIGUOUS, context.status, "out of memory while reading the answer");
	if (rules->n > 0)
		match = reader_judge(reader, rules, &context);
	class = match.rule ? answer_ruled(call, reader, &match, context.status)
		: answer_by_status(call, reader, &context);
	MemoryContextDelete(owner);
	return class;
}

AnswerClass
connector_answer(const Connector *connector, const ConnectorAuth *auth,
				 const HttpRequest *request, const ConnectorRow *rows, int n,
				 RowAnswer *answers, int64 *retry_after_ms)
{
	AnswerCall	call = {
		.connector = connector,
		.write = rows[0].write ? rows[0].write : connector_write(connector, rows[0].op),
		.auth = auth,
		.request = request,
		.rows = rows,
		.answers = answers,
		.n = n,
		.retry_after_ms = retry_after_ms
	};
	char	   *reason = answer_text(request->reason ? request->reason : "no answer", ANSWER_REASON_BYTES);

	*retry_after_ms = -1;
	switch (request->outcome)
	{
		case HTTP_ANSWERED:
			return answer_response(&call);
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
