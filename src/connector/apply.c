/*
 * apply.c
 *	  What a user mapping adds to a request, last of all: headers, parameters,
 *	  signatures.  And which mapping that is.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "connector/definition.h"
#include "connector/form.h"
#include "core/clock.h"
#include "foreign/foreign.h"
#include "template/path.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* The mapping without any check of rights: it is used, not shown. */
List *
mapping_options(Oid server, Oid userid, Oid *found)
{
	HeapTuple	tuple = NULL;
	Datum		options;
	bool		isnull;
	List	   *list = NIL;

	*found = userid;
	if (OidIsValid(userid))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(userid),
								ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
	{
		*found = InvalidOid;
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	}
	if (!HeapTupleIsValid(tuple))
		return NIL;
	options = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		list = untransformRelOptions(options);
	ReleaseSysCache(tuple);
	return list;
}

Oid
connector_mapping(Oid server, Oid userid)
{
	Oid			found;

	(void) mapping_options(server, userid, &found);
	return found;
}

/* What the definition of a server says of "auth"; files and what is received have none. */
static const ConnectorForm *
server_form(ForeignServer *server, const char *subject)
{
	JsonbValue	definition;

	if (definition_option(server->options, "connector") == NULL || connector_is_inbound(server->options))
		return NULL;
	definition = definition_root(definition_server(server, ""));
	return form_compile(&definition, subject);
}

void
connector_check_auth(Oid server, Oid userid)
{
	ForeignServer *from = GetForeignServer(server);
	char	   *subject = psprintf("server \"%s\"", from->servername);
	Oid			found;
	const char *secret = definition_option(mapping_options(server, userid, &found), "secret");

	form_check_secret(server_form(from, subject), secret ? definition_parse(secret, "secret", true) : NULL, subject);
}

static void
start_token(ConnectorAuth *auth, Oid server, MemoryContext context)
{
	auth->token = palloc0(sizeof(ConnectorToken));
	auth->token->context = context;
	auth->token->account = (TokenAccount) {server, auth->userid};
	oauth_digest(auth, &auth->token->digest);
}

ConnectorAuth *
connector_auth(Oid server, Oid userid, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ConnectorAuth *auth = palloc0(sizeof(ConnectorAuth));
	ForeignServer *from = GetForeignServer(server);
	char	   *subject = psprintf("server \"%s\"", from->servername);
	const char *text = definition_option(mapping_options(server, userid, &auth->userid), "secret");
	Jsonb	   *secret = text ? definition_parse(text, "secret", true) : NULL;

	auth->form = server_form(from, subject);
	if (!connector_is_inbound(from->options))
		form_check_secret(auth->form, secret, subject);
	if (secret != NULL)
	{
		auth->present = true;
		secret_load(secret, auth);
	}
	auth->transport = definition_transport(server, auth);
	if (auth->form != NULL && auth->form->form == AUTH_OAUTH2)
		start_token(auth, server, context);
	MemoryContextSwitchTo(old);
	return auth;
}

/* Path and query, as in the request's first line. */
static const char *
request_target(const char *url)
{
	const char *host = strstr(url, "://") + 3;
	const char *path = host + strcspn(host, "/?#");

	return *path == '/' ? path : psprintf("/%s", *path == '?' ? path : "");
}

static bool
piece_is(const TemplatePiece *piece, const char *name)
{
	return piece->is_name && piece->len == strlen(name) && strncmp(piece->start, name, piece->len) == 0;
}

static char *
expand(const char *template, const HttpRequest *request, const char *timestamp, int *len)
{
	StringInfoData text;
	TemplatePiece piece;

	initStringInfo(&text);
	while (template_next(&template, &piece) == PATH_STEP)
	{
		if (!piece.is_name)
			appendBinaryStringInfo(&text, piece.start, piece.len);
		else if (piece_is(&piece, "body") && request->body != NULL)
			appendBinaryStringInfo(&text, request->body, request->body_len);
		else if (piece_is(&piece, "timestamp"))
			appendStringInfoString(&text, timestamp);
		else if (piece_is(&piece, "method"))
			appendStringInfoString(&text, request->method);
		else if (piece_is(&piece, "path"))
			appendStringInfoString(&text, request_target(request->url));
	}
	if (len)
		*len = text.len;
	return text.data;
}

static void
apply_hmac(HttpRequest *request, const ConnectorAuth *auth, int64 at)
{
	const ConnectorForm *form = auth->form;
	char	   *timestamp = psprintf(INT64_FORMAT, at);
	int			key_size = strlen(auth->sign);
	uint8	   *key = palloc(key_size + 4);
	int			key_len = sign_decode(form->key, auth->sign, key_size, key, key_size + 1);
	uint8		digest[SIGN_MAX_DIGEST];
	int			len;
	char	   *text;

	if (key_len <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("secret \"sign\" is not written in %s", form->key == CODE_HEX ? "hexadecimal" : "base64"),
				 errhint("Give it as it was handed out, or set \"key\" of \"auth\" to \"text\".")));
	text = expand(form->content, request, timestamp, &len);
	sign_hmac(form->algorithm, key, key_len, text, len, digest);
	if (form->timestamp != NULL)
		http_request_header(request, form->timestamp, timestamp);
	http_request_header(request, form->header,
						psprintf("%s%s", expand(form->prefix, request, timestamp, NULL),
								 sign_encode(form->encoding, digest, sign_digest_length(form->algorithm))));
}

TokenState
connector_token_look(const ConnectorAuth *auth, TimestampTz now, TokenLook *look)
{
	ConnectorToken *token = auth->token;

	token_look(token->account, &token->digest, token->serial, now, look);
	if (look->serial == 0)
		return look->state;
	token->renewed = look->renewed;
	if (look->serial != token->serial)
	{
		if (token->before != NULL)
			pfree(token->before);
		token->before = token->value;
		token->value = MemoryContextStrdup(token->context, look->value);
		token->serial = look->serial;
	}
	return look->state;
}

/* If there is none any more the last will do: the API says what is wrong with it. */
static void
apply_token(HttpRequest *request, const ConnectorAuth *auth)
{
	(void) connector_token_look(auth, clock_now(), palloc(sizeof(TokenLook)));
	if (auth->token->value != NULL)
		http_request_header(request, auth->form->header, psprintf("%s%s", auth->form->prefix, auth->token->value));
}

void
form_apply(HttpRequest *request, const ConnectorAuth *auth)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate authorization", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	int64		at = clock_now() / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;

	switch (auth->form->form)
	{
		case AUTH_OAUTH2:
			apply_token(request, auth);
			break;
		case AUTH_HMAC:
			apply_hmac(request, auth, at);
			break;
		case AUTH_AWS:
			{
				SignAws		aws = {auth->access_key, auth->secret_key, auth->session_token,
				auth->form->region, auth->form->service};

				sign_aws(request, &aws, at);
				break;
			}
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

void
connector_authorize(HttpRequest *request, const ConnectorAuth *auth)
{
	request->transport = auth->transport;
	for (int i = 0; i < auth->nheaders; i++)
		http_request_header(request, auth->header_names[i], auth->header_values[i]);
	if (auth->nquery > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(request));
		StringInfoData url;

		initStringInfo(&url);
		appendStringInfoString(&url, request->url);
		for (int i = 0; i < auth->nquery; i++)
			template_append_query(&url, auth->query_names[i], auth->query_values[i]);
		request->url = url.data;
		MemoryContextSwitchTo(old);
	}
	if (auth->form != NULL)
		form_apply(request, auth);
}

const char *
connector_auth_header(const ConnectorAuth *auth, int i)
{
	const char *extra[4];
	int			n = 0;

	if (i < auth->nheaders)
		return auth->header_names[i];
	if (auth->form == NULL)
		return NULL;
	extra[n++] = auth->form->header;
	if (auth->form->timestamp != NULL)
		extra[n++] = auth->form->timestamp;
	if (auth->form->form == AUTH_AWS)
		extra[n++] = "x-amz-date";
	i -= auth->nheaders;
	return i < n ? extra[i] : NULL;
}
