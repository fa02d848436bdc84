/*
 * oauth.c
 *	  Access tokens by OAuth 2.0: what the token endpoint is asked, and what it
 *	  says (RFC 6749, 7523).
 *
 * What it says may quote what it was told: of a refusal only the code is kept,
 * and that only if it looks like one.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "connector/form.h"
#include "connector/reader.h"
#include "core/clock.h"
#include "core/digest.h"
#include "core/mem.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define OAUTH_MAX_ANSWER	(64 * 1024)
/* Salesforce takes nothing that is good for longer than three minutes, Google an hour. */
#define OAUTH_JWT_SECONDS	170
#define OAUTH_LONGEST_US	(30 * USECS_PER_DAY)
/* Whoever asks next, after a failure: not at once. */
#define OAUTH_REST_US		USECS_PER_SEC
/* Nor by each session that comes along. */
#define OAUTH_REFUSED_US	(5 * USECS_PER_SEC)

static const char *
grant_name(AuthGrant grant)
{
	switch (grant)
	{
		case GRANT_CLIENT:
			return "client_credentials";
		case GRANT_JWT:
			return "urn:ietf:params:oauth:grant-type:jwt-bearer";
		case GRANT_REFRESH:
			break;
	}
	return "refresh_token";
}

static void
digest_text(const char *text)
{
	digest_add(text ? text : "", text ? strlen(text) : 0);
}

/* Whatever another of which would be another token. */
void
oauth_digest(const ConnectorAuth *auth, TokenDigest *digest)
{
	const ConnectorForm *form = auth->form;

	digest_begin();
	digest_text(grant_name(form->grant));
	digest_text(form->token_url);
	digest_text(form->scope);
	digest_text(form->audience);
	for (int i = 0; i < form->nparameters; i++)
	{
		digest_text(form->parameter_names[i]);
		digest_text(form->parameter_values[i]);
	}
	digest_text(auth->client_id);
	digest_text(auth->client_secret);
	digest_text(auth->refresh_token);
	digest_text(auth->issuer);
	digest_text(auth->subject);
	digest_text(auth->private_key);
	digest_end(digest->bytes);
}

static void
append_claim(StringInfo out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfoChar(out, out->len > 1 ? ',' : '{');
	escape_json(out, name);
	appendStringInfoChar(out, ':');
	escape_json(out, value);
}

static char *
assertion(const ConnectorAuth *auth)
{
	const ConnectorForm *form = auth->form;
	int64		now = clock_now() / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	StringInfoData claims;
	uint8		id[16];

	if (!pg_strong_random(id, sizeof(id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not make a random number")));
	initStringInfo(&claims);
	append_claim(&claims, "iss", auth->issuer);
	append_claim(&claims, "sub", auth->subject);
	append_claim(&claims, "aud", form->audience ? form->audience : form->token_url);
	append_claim(&claims, "scope", form->scope);
	append_claim(&claims, "jti", sign_base64url(id, sizeof(id)));
	/* clocks differ */
	appendStringInfo(&claims, ",\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT "}", now - 5, now + OAUTH_JWT_SECONDS);
	return sign_jwt(claims.data, auth->private_key, auth->key_id);
}

static void
append_parameter(StringInfo body, const char *name, const char *value)
{
	if (value != NULL)
		template_append_query(body, name, value);
}

static char *
encoded(const char *text)
{
	StringInfoData query;

	initStringInfo(&query);
	template_append_query(&query, "", text);
	return query.data + strlen("?=");
}

static char *
request_body(const ConnectorAuth *auth)
{
	const ConnectorForm *form = auth->form;
	StringInfoData body;
	char	   *renewal;

	initStringInfo(&body);
	append_parameter(&body, "grant_type", grant_name(form->grant));
	switch (form->grant)
	{
		case GRANT_REFRESH:
			/* of a file that names one that was replaced, the one that replaced it */
			renewal = token_renewal(auth->token->account, &auth->token->digest);
			append_parameter(&body, "refresh_token", renewal ? renewal : auth->refresh_token);
			append_parameter(&body, "scope", form->scope);
			break;
		case GRANT_CLIENT:
			append_parameter(&body, "scope", form->scope);
			break;
		case GRANT_JWT:
			append_parameter(&body, "assertion", assertion(auth));
			break;
	}
	if (form->grant != GRANT_JWT)
		append_parameter(&body, "audience", form->audience);
	if (!form->client_basic)
	{
		append_parameter(&body, "client_id", auth->client_id);
		append_parameter(&body, "client_secret", auth->client_secret);
	}
	for (int i = 0; i < form->nparameters; i++)
		append_parameter(&body, form->parameter_names[i], form->parameter_values[i]);
	/* it began as a query would */
	return body.data + 1;
}

HttpRequest *
connector_token_request(const ConnectorAuth *auth, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	HttpRequest *request = http_request_create(context, "POST", auth->form->token_url);

	request->transport = auth->transport;
	request->max_body = OAUTH_MAX_ANSWER;
	request->body = request_body(auth);
	request->body_len = strlen(request->body);
	http_request_header(request, "Content-Type", "application/x-www-form-urlencoded");
	http_request_header(request, "Accept", "application/json");
	if (auth->form->client_basic)
	{
		char	   *pair = psprintf("%s:%s", encoded(auth->client_id), encoded(auth->client_secret));

		http_request_header(request, "Authorization",
							psprintf("Basic %s", sign_encode(CODE_BASE64, (const uint8 *) pair, strlen(pair))));
	}
	MemoryContextSwitchTo(old);
	return request;
}

static void
grant_fails(ConnectorGrant *grant, TokenFailure failure, int64 wait_us, char *reason)
{
	grant->got = false;
	grant->failure = failure;
	grant->until = clock_now() + wait_us;
	grant->reason = reason;
}

/* "invalid_grant", and no more than such a word; NULL: none. */
static char *
error_code(const ConnectorAuth *auth, const Reader *reader)
{
	const char *code = reader_text_at(reader, "error");

	if (code == NULL || *code == '\0' || strlen(code) > 64 ||
		code[strspn(code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] != '\0' ||
		strcmp(connector_redact(auth, code), code) != 0)
		return NULL;
	return pstrdup(code);
}

static void
read_refusal(const ConnectorAuth *auth, const HttpRequest *request, const Reader *reader, ConnectorGrant *grant)
{
	char	   *code = error_code(auth, reader);
	char	   *reason = psprintf("the token endpoint answered HTTP %ld%s%s", request->status, code ? ", " : "", code ? code : "");
	int64		wait_ms = connector_retry_after(request);

	if (request->status == 429 || (request->status == 503 && wait_ms >= 0))
		grant_fails(grant, TOKEN_THROTTLED, wait_ms >= 0 ? Max(wait_ms * 1000, OAUTH_REST_US) : 10 * OAUTH_REST_US, reason);
	else if (request->status == 408 || request->status == 425 || request->status >= 500)
		grant_fails(grant, TOKEN_UNREACHABLE, OAUTH_REST_US, reason);
	else if (request->status < 300 && code == NULL)
		grant_fails(grant, TOKEN_UNREACHABLE, OAUTH_REST_US, pstrdup("the token endpoint's answer holds no access token"));
	else
		grant_fails(grant, TOKEN_REFUSED, OAUTH_REFUSED_US, reason);
}

static bool
is_header_text(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f)
			return false;
	return *text != '\0';
}

static void
read_grant(const ConnectorAuth *auth, const HttpRequest *request, const Reader *reader, ConnectorGrant *grant)
{
	const char *token = request->status < 300 ? reader_text_at(reader, "access_token") : NULL;
	const char *lifetime = reader_text_at(reader, "expires_in");
	const char *renewal = reader_text_at(reader, "refresh_token");
	double		seconds = lifetime ? strtod(lifetime, NULL) : 0;

	if (token == NULL || !is_header_text(token))
	{
		read_refusal(auth, request, reader, grant);
		return;
	}
	if (strlen(token) > TOKEN_MAX || (renewal != NULL && strlen(renewal) > TOKEN_RENEW_MAX))
	{
		grant_fails(grant, TOKEN_REFUSED, OAUTH_REFUSED_US,
					psprintf("the token endpoint's token is longer than %d bytes", TOKEN_MAX));
		return;
	}
	grant->got = true;
	grant->token = pstrdup(token);
	/* what is no number, or nonsense, is as if it had not been said */
	grant->lifetime_us = seconds >= 1 ? (int64) Min(seconds * USECS_PER_SEC, (double) OAUTH_LONGEST_US) : 0;
	if (auth->form->grant == GRANT_REFRESH && renewal != NULL && *renewal != '\0' && strcmp(renewal, auth->refresh_token) != 0)
		grant->renewal = pstrdup(renewal);
}

static void
oauth_close(void *reader)
{
	reader_close(reader);
}

void
connector_token_answer(const ConnectorAuth *auth, const HttpRequest *request, ConnectorGrant *grant)
{
	MemoryContext owner;
	Reader	   *reader;

	memset(grant, 0, sizeof(*grant));
	if (request->outcome != HTTP_ANSWERED)
	{
		grant_fails(grant, TOKEN_UNREACHABLE, OAUTH_REST_US, psprintf("no access token: %s", request->reason));
		return;
	}
	owner = AllocSetContextCreate(CurrentMemoryContext, "activate token", ALLOCSET_SMALL_SIZES);
	reader = reader_open(request->answer, request->answer_len);
	if (reader == NULL)
		grant_fails(grant, TOKEN_UNREACHABLE, OAUTH_REST_US, pstrdup("no access token: out of memory"));
	else
	{
		mem_adopt(owner, reader, oauth_close);
		read_grant(auth, request, reader, grant);
	}
	MemoryContextDelete(owner);
}
