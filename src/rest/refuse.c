/*
 * refuse.c
 *	  Everything that an answer can be instead of a page of JSON.
 *
 * Reading never turns a refusal into "no rows": whatever is not a whole, well
 * formed answer is an ERROR that names the table and the URL.  No message
 * holds a secret, a query that the server wrote, or a body.
 */
#include "postgres.h"

#include "core/errors.h"
#include "mb/pg_wchar.h"
#include "rest/rest.h"

static const char *refuse_status_hint(const RestSource *source, const HttpRequest *request);
static void refuse_type(const RestSource *source, const HttpRequest *request, const char *shown);
static void refuse_encoding(const RestSource *source, const char *text, size_t length, const char *shown);

/* The page did not come: says why. */
void
rest_refuse_answer(const RestSource *source, const HttpRequest *request, const char *shown)
{
	switch (request->outcome)
	{
		case HTTP_ANSWERED:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_API_ERROR),
					 errmsg("could not read foreign table \"%s\": the API answered with status %ld",
							source->table, request->status),
					 errdetail("The page was %s.", shown),
					 errhint("%s", refuse_status_hint(source, request))));
			break;
		case HTTP_FORBIDDEN:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_FORBIDDEN_HOST),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 errhint("Hosts that may be contacted are listed in \"activate.allowed_hosts\".")));
			break;
		case HTTP_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 errhint("Ask for smaller pages: \"size_param\" and \"size\" of \"read.page\".")));
			break;
		case HTTP_NO_CONNECTION:
		case HTTP_TIMED_OUT:
		case HTTP_BROKEN:
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_UNREACHABLE),
					 errmsg("could not read foreign table \"%s\": %s", source->table, request->reason),
					 errdetail("The page was %s.", shown),
					 request->outcome == HTTP_TIMED_OUT ?
					 errhint("The time allowed is \"activate.http_timeout\".") :
					 errhint("Check \"base_url\" of the server and whether the API is up.")));
			break;
	}
	pg_unreachable();
}

static const char *
refuse_status_hint(const RestSource *source, const HttpRequest *request)
{
	int64		wait_ms;

	if (connector_throttled(source->connector, request, &wait_ms))
		return "The API asks callers to wait; try again later.";
	switch (request->status)
	{
		case 401:
		case 403:
		case 407:
			return source->auth->present ?
				"The secret of the user mapping is not accepted: renew it with activate_target(..., secret => ...)." :
				"No secret was sent: give one with activate_target(..., secret => ...).";
		case 404:
		case 410:
			return "Check \"base_url\" of the server and \"read.path\" of the object.";
		case 503:
			return "The API asks callers to wait; try again later.";
		case 301:
		case 302:
		case 303:
		case 307:
		case 308:
			{
				char	   *location = http_answer_header(request, "Location");

				/* Not followed: the secret would go wherever the answer says. */
				if (location != NULL)
					location = rest_url_resolve(request->url, location);
				return location == NULL ? "Redirects are not followed." :
					psprintf("Redirects are not followed. It points to %s: give that place as \"base_url\".",
							 rest_url_shown(source->auth, location));
			}
		default:
			return request->status >= 500 ? "The API failed; try again later." :
				"Check path, query and paging parameters of the object.";
	}
}

const char *
rest_answer_text(const RestSource *source, const HttpRequest *request, const char *shown, size_t *length)
{
	const char *text = request->answer;

	*length = request->answer_len;
	if (request->status == 204)
		return NULL;
	refuse_type(source, request, shown);

	/* A byte order mark is no JSON, yet some servers send it; RFC 8259 lets us skip it. */
	if (*length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
	{
		text += 3;
		*length -= 3;
	}
	refuse_encoding(source, text, *length, shown);
	return text;
}

/* application/json, text/json and anything+json; nothing at all is given the benefit. */
static void
refuse_type(const RestSource *source, const HttpRequest *request, const char *shown)
{
	char	   *type = http_answer_header(request, "Content-Type");
	size_t		length;

	if (type == NULL)
		return;
	length = strcspn(type, "; \t");
	if ((length == 16 && pg_strncasecmp(type, "application/json", 16) == 0) ||
		(length == 9 && pg_strncasecmp(type, "text/json", 9) == 0) ||
		(length > 5 && pg_strncasecmp(type + length - 5, "+json", 5) == 0))
		return;
	type[length] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
			 errmsg("could not read foreign table \"%s\": the answer has content type \"%s\", not JSON",
					source->table, rest_clip(connector_redact(source->auth, type), 100)),
			 errdetail("The page was %s.", shown),
			 errhint("Check that \"base_url\" and \"read.path\" name the API and not a web page.")));
}

static void
refuse_encoding(const RestSource *source, const char *text, size_t length, const char *shown)
{
	int			valid = pg_encoding_verifymbstr(PG_UTF8, text, (int) length);

	if (valid < (int) length)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the answer is not valid UTF-8 at byte %d",
						source->table, valid + 1),
				 errdetail("The page was %s.", shown),
				 errhint("JSON must be UTF-8: this is to be mended in the API.")));
}
