/*
 * lookup.c
 *	  Search before write: the request, and which record its answer names.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "core/mem.h"
#include "mb/pg_wchar.h"
#include "template/path.h"
#include "utils/memutils.h"

/* A search that finds more has not found the row's. */
#define MOST_RECORDS	1000
#define ID_BYTES		1000

char
definition_quote_behind(const char *text, size_t len, char quote)
{
	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (quote != '\0' && c == '\\')
			i++;
		else if (c == quote)
			quote = '\0';
		else if (quote == '\0' && (c == '\'' || c == '"'))
			quote = c;
	}
	return quote;
}

static void
check_value(const char *name, char quote, const Jsonb *values)
{
	char	   *value = values == NULL ? NULL : template_member_text(unconstify(Jsonb *, values), name);

	if (value != NULL && (strchr(value, quote) != NULL || strchr(value, '\\') != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value of \"%s\" cannot be searched for: it has a quote or a backslash", name)));
}

/*
 * A value between quotes that the API's own language knows, next to them or not,
 * must not end them: the row cannot be searched for.  Where templates are the
 * whole text nothing can.
 */
static void
check_quotes(const char *template, const Jsonb *values)
{
	char		quote = '\0';
	TemplatePiece piece;

	while (template_next(&template, &piece) == PATH_STEP)
	{
		if (piece.is_name && quote != '\0')
			check_value(pnstrdup(piece.start, piece.len), quote, values);
		if (!piece.is_name)
			quote = definition_quote_behind(piece.start, piece.len, quote);
	}
}

static char *
search_body(const ConnectorLookup *lookup, Jsonb *values)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&lookup->body->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue *result = NULL;
	Jsonb	   *json;
	char	   *text;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString)
		{
			char	   *template = pnstrdup(value.val.string.val, value.val.string.len);

			check_quotes(template, values);
			value.val.string.val = template_expand_text(template, values);
			value.val.string.len = strlen(value.val.string.val);
		}
		result = pushJsonbValue(&state, token, token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ? &value : NULL);
	}
	json = JsonbValueToJsonb(result);
	text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static HttpRequest *
lookup_request(const Connector *connector, const ConnectorLookup *lookup, const ConnectorRow *row, const char *call_key,
			   MemoryContext context)
{
	ConnectorRow asked = *row;
	Jsonb	   *values = request_values(row, &lookup->write);
	HttpRequest *request;

	check_quotes(lookup->write.path, values);
	for (int i = 0; i < lookup->write.nquery; i++)
		check_quotes(lookup->write.query_values[i], values);
	asked.write = &lookup->write;
	request = connector_request(connector, &asked, 1, call_key, context);
	if (lookup->body == NULL)
		return request;
	request->body = MemoryContextStrdup(context, search_body(lookup, values));
	request->body_len = strlen(request->body);
	http_request_header(request, "Content-Type", lookup->write.content_type);
	return request;
}

HttpRequest *
connector_first_request(const Connector *connector, ConnectorRow *rows, int n, const char *call_key,
						MemoryContext context)
{
	const ConnectorWrite *write = rows[0].write ? rows[0].write : connector_write(connector, rows[0].op);

	if (write != NULL && write->job != NULL)
		return connector_job_request(connector, write, JOB_SUBMIT, NULL, NULL, rows, n, call_key, context);
	if (write != NULL && write->lookup != NULL)
	{
		if (rows[0].remote_id == NULL)
			return lookup_request(connector, write->lookup, &rows[0], call_key, context);
		rows[0].write = write->lookup->found;
	}
	return connector_request(connector, rows, n, call_key, context);
}

/* --- the answer ------------------------------------------------------- */

static void
close_reader(void *reader)
{
	reader_close(reader);
}

/* Does a record have the value that the row's column has? */
static bool
is_meant(const Reader *reader, const ConnectorLookup *lookup, const char *record, Jsonb *values)
{
	const char *said;
	char	   *wanted;

	if (lookup->match == NULL)
		return true;
	said = reader_text_at(reader, psprintf("%s.%s", record, lookup->match));
	wanted = values ? template_member_text(values, lookup->column) : NULL;
	return said != NULL && wanted != NULL &&
		pg_strcasecmp(said, pg_server_to_any(wanted, strlen(wanted), PG_UTF8)) == 0;
}

/* The id of the record that is meant; NULL: there is none, or it is not clear which, as *result says. */
static const char *
find_record(const Reader *reader, const ConnectorLookup *lookup, Jsonb *values, LookupResult *result)
{
	const char *id = NULL;
	int			n;

	*result = LOOKUP_NONE;
	if (lookup->records == NULL)
	{
		id = reader_text_at(reader, lookup->id);
		/* a page for people, or what went wrong, does not say that there is none */
		*result = id ? LOOKUP_ONE : LOOKUP_FAILED;
		return id;
	}
	n = reader_count(reader, lookup->records);
	if (n < 0)
		*result = LOOKUP_FAILED;
	if (n > MOST_RECORDS)
		*result = LOOKUP_MANY;
	for (int i = 0; *result != LOOKUP_MANY && i < n; i++)
	{
		const char *record = psprintf("%s%s%d", lookup->records, *lookup->records ? "." : "", i);
		const char *this = reader_text_at(reader, *lookup->id ? psprintf("%s.%s", record, lookup->id) : record);

		if (!is_meant(reader, lookup, record, values))
			continue;
		if (this == NULL)
			*result = LOOKUP_FAILED;
		else if (id != NULL && strcmp(id, this) != 0)
			*result = LOOKUP_MANY;
		else if (*result == LOOKUP_NONE)
		{
			id = this;
			*result = LOOKUP_ONE;
		}
	}
	return *result == LOOKUP_ONE ? id : NULL;
}

static LookupResult
read_found(const Connector *connector, const ConnectorLookup *lookup, const HttpRequest *request, const ConnectorRow *row,
		   RowAnswer *answer)
{
	MemoryContext owner = AllocSetContextCreate(CurrentMemoryContext, "activate lookup", ALLOCSET_SMALL_SIZES);
	Reader	   *reader = reader_open(request->answer, request->answer_len);
	LookupResult result = LOOKUP_FAILED;
	const char *id = NULL;

	if (reader != NULL)
		mem_adopt(owner, reader, close_reader);
	if (reader != NULL && request->status == 204)
		result = LOOKUP_NONE;
	else if (reader != NULL)
		id = find_record(reader, lookup, request_values(row, &lookup->write), &result);
	answer->code = 0;
	answer->remote_id = id ? answer_text(id, ID_BYTES) : NULL;
	/* one that cannot be kept as it is would be another record's */
	if (id != NULL && strcmp(answer->remote_id, id) != 0)
		result = LOOKUP_FAILED;
	if (result == LOOKUP_FAILED)
	{
		answer->class = ANSWER_RETRY;
		answer->reason = pstrdup("the answer to the lookup is not what was expected");
	}
	else if (result == LOOKUP_MANY)
	{
		answer->class = ANSWER_REJECTED;
		answer->reason = pstrdup("the lookup finds more than one record");
	}
	MemoryContextDelete(owner);
	return result;
}

LookupResult
connector_lookup_answer(const Connector *connector, const ConnectorAuth *auth, const ConnectorLookup *lookup,
						const HttpRequest *request, const ConnectorRow *row, RowAnswer *answer, AnswerClass *class,
						int64 *retry_after_ms)
{
	ConnectorRow asked = *row;

	asked.write = &lookup->write;
	*class = connector_answer(connector, auth, request, &asked, 1, answer, retry_after_ms);
	if (*class == ANSWER_OK || *class == ANSWER_WARNED)
		return read_found(connector, lookup, request, row, answer);
	/* nothing has been changed */
	if (*class == ANSWER_AMBIGUOUS)
		*class = answer->class = ANSWER_RETRY;
	/* not if the definition knows better: there is no such table, say */
	if (*class != ANSWER_CONFIG && request->outcome == HTTP_ANSWERED && (request->status == 404 || request->status == 410))
	{
		*class = ANSWER_OK;
		return LOOKUP_NONE;
	}
	return LOOKUP_FAILED;
}
