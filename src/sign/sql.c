/*
 * sql.c
 *	  The room's functions of SQL: private, to compare signatures with.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "core/compat.h"
#include "sign/sign.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

ACTIVATE_FUNCTION(sign_sql_hmac);
ACTIVATE_FUNCTION(sign_sql_aws);
ACTIVATE_FUNCTION(sign_sql_jwt);

static int
choice(const char *what, const char *value, const char *const *choices)
{
	for (int i = 0; choices[i]; i++)
		if (strcmp(choices[i], value) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid %s \"%s\"", what, value),
			 errhint("Valid values begin with: %s, %s.", choices[0], choices[1])));
}

Datum
sign_sql_hmac(PG_FUNCTION_ARGS)
{
	static const char *const algorithms[] = {"sha1", "sha256", "sha512", NULL};
	static const int types[] = {PG_SHA1, PG_SHA256, PG_SHA512};
	static const char *const codes[] = {"text", "hex", "base64", NULL};
	bytea	   *data = PG_GETARG_BYTEA_PP(0);
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			algorithm = types[choice("algorithm", text_to_cstring(PG_GETARG_TEXT_PP(2)), algorithms)];
	SignCode	encoding = choice("encoding", text_to_cstring(PG_GETARG_TEXT_PP(3)), codes);
	SignCode	key_encoding = choice("encoding", text_to_cstring(PG_GETARG_TEXT_PP(4)), codes);
	uint8	   *bytes = palloc(strlen(key) + 4);
	int			len = sign_decode(key_encoding, key, strlen(key), bytes, strlen(key) + 1);
	uint8		digest[SIGN_MAX_DIGEST];

	if (len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the key is not written in that encoding"),
				 errhint("Encodings of a key are: text, hex, base64.")));
	sign_hmac(algorithm, bytes, len, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), digest);
	PG_RETURN_TEXT_P(cstring_to_text(sign_encode(encoding, digest, sign_digest_length(algorithm))));
}

/* NULL where the argument is. */
static char *
text_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static char *
jsonb_text(const JsonbValue *value)
{
	return value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : pstrdup("");
}

static void
take_headers(HttpRequest *request, Jsonb *headers)
{
	JsonbIterator *it = JsonbIteratorInit(&headers->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
		if (token == WJB_KEY && JsonbIteratorNext(&it, &value, true) == WJB_VALUE)
			http_request_header(request, jsonb_text(&name), jsonb_text(&value));
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = text;
	value.val.string.len = strlen(text);
	pushJsonbValue(state, token, &value);
}

Datum
sign_sql_aws(PG_FUNCTION_ARGS)
{
	char	   *method = text_argument(fcinfo, 0);
	char	   *url = text_argument(fcinfo, 1);
	SignAws		aws = {text_argument(fcinfo, 4), text_argument(fcinfo, 5), text_argument(fcinfo, 6),
	text_argument(fcinfo, 7), text_argument(fcinfo, 8)};
	HttpRequest *request;
	JsonbParseState *state = NULL;
	Jsonb	   *result;
	const char *line;
	TimestampTz at;

	if (!method || !url || !aws.access_key || !aws.secret_key || !aws.region || !aws.service || PG_ARGISNULL(9))
		PG_RETURN_NULL();
	at = PG_GETARG_TIMESTAMPTZ(9);
	request = http_request_create(CurrentMemoryContext, method, url);
	if (!PG_ARGISNULL(2))
		take_headers(request, PG_GETARG_JSONB_P(2));
	request->body = text_argument(fcinfo, 3);
	request->body_len = request->body ? strlen(request->body) : 0;
	sign_aws(request, &aws, at / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; (line = http_request_header_at(request, i)) != NULL; i++)
	{
		size_t		len = strcspn(line, ":;");

		if (strncmp(line, "Expect:", 7) == 0)
			continue;
		push_text(&state, WJB_KEY, pnstrdup(line, len));
		push_text(&state, WJB_VALUE, pstrdup(line + len + (line[len] == ':' ? 2 : 1)));
	}
	result = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	http_request_free(request);
	PG_RETURN_JSONB_P(result);
}

Datum
sign_sql_jwt(PG_FUNCTION_ARGS)
{
	char	   *claims = text_argument(fcinfo, 0);
	char	   *key = text_argument(fcinfo, 1);

	if (claims == NULL || key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(sign_jwt(claims, key, text_argument(fcinfo, 2))));
}
