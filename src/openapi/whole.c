/*
 * whole.c
 *	  What holds for the whole API: where it is, how it is told who asks, the
 *	  headers that every call needs.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "openapi/openapi.h"

/* Descriptions of documents are books. */
#define WHOLE_TEXT	500

static void
whole_member(StringInfo out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	text = pnstrdup(text, pg_mbcliplen(text, strlen(text), WHOLE_TEXT));
	/* "{$" would be a parameter of the definition */
	if (strstr(text, "{$") == NULL)
		openapi_print_member(out, name, text);
}

/* Is it a URL that paths can be appended to?  Without the slash at its end. */
static char *
whole_url(const char *text)
{
	char	   *url = pstrdup(text);
	char	   *host;

	if (pg_strncasecmp(url, "http://", 7) != 0 && pg_strncasecmp(url, "https://", 8) != 0)
		return NULL;
	host = strstr(url, "://") + 3;
	url[strcspn(url, "?#")] = '\0';
	for (const char *p = url; *p != '\0'; p++)
	{
		if ((unsigned char) *p <= ' ' || *p == 0x7f || *p == '\\' || *p == '}' || *p == '{')
			return NULL;
	}
	if (*host == '\0' || *host == ':' || *host == '/' || memchr(host, '@', strcspn(host, "/")) != NULL)
		return NULL;
	while (strlen(url) > 8 && url[strlen(url) - 1] == '/')
		url[strlen(url) - 1] = '\0';
	return url;
}

/* OpenAPI 3: with the defaults of its variables. */
static char *
whole_server(OpenapiDocument *document, const OpenapiNode *server)
{
	OpenapiNode variables = openapi_get(server, "variables");
	char	   *text = openapi_text(server, "url");
	StringInfoData url;

	if (text == NULL)
		return NULL;
	initStringInfo(&url);
	for (const char *p = text; *p != '\0'; p++)
	{
		const char *end = *p == '{' ? strchr(p, '}') : NULL;
		OpenapiNode variable;
		OpenapiNode value;

		if (end == NULL)
		{
			appendStringInfoChar(&url, *p);
			continue;
		}
		variable = openapi_get(&variables, pnstrdup(p + 1, end - p - 1));
		value = openapi_get(&variable, "default");
		if (openapi_scalar(&value) == NULL)
			return NULL;
		appendStringInfoString(&url, openapi_scalar(&value));
		p = end;
	}
	return whole_url(url.data);
}

static char *
whole_base_url(OpenapiDocument *document)
{
	OpenapiNode servers = openapi_get(&document->root, "servers");
	char	   *host = openapi_text(&document->root, "host");
	char	   *base = openapi_text(&document->root, "basePath");
	int			n;
	DefinitionMember *members;

	if (document->swagger)
	{
		OpenapiNode schemes = openapi_get(&document->root, "schemes");
		bool		secure = !openapi_is_array(&schemes);

		members = definition_members(&schemes, &n);
		for (int i = 0; i < n; i++)
		{
			char	   *scheme = openapi_scalar(&members[i].value);

			secure = secure || (scheme != NULL && strcmp(scheme, "https") == 0);
		}
		return host ? whole_url(psprintf("%s://%s%s%s", secure ? "https" : "http", host,
										 base && *base != '/' ? "/" : "", base ? base : "")) : NULL;
	}
	if (!openapi_is_array(&servers))
		return NULL;
	members = definition_members(&servers, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *url = whole_server(document, &members[i].value);

		if (url != NULL)
			return url;
	}
	return NULL;
}

static void
whole_headers(OpenapiDocument *document, StringInfo out)
{
	StringInfoData headers;

	initStringInfo(&headers);
	appendStringInfoChar(&headers, '{');
	for (int i = 0; i < list_length(document->headers); i += 2)
	{
		const char *name = list_nth(document->headers, i);
		const char *value = list_nth(document->headers, i + 1);

		if (value == NULL || strpbrk(value, "\r\n{}") != NULL || name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] != '\0')
			openapi_gap(document, psprintf("headers.%s", name), psprintf("{\"headers\": {\"%s\": \"...\"}}", openapi_identifier(name)),
						"the header \"%s\", which calls require", name);
		else
			openapi_print_member(&headers, name, value);
	}
	if (headers.len > 1)
		appendStringInfo(out, ", \"headers\": %s}", headers.data);
}

/* How OAuth 2.0 gives tokens here; NULL: not so that a server could get them. */
static const char *
whole_oauth(const OpenapiNode *scheme)
{
	static const struct
	{
		const char *flow;
		const char *grant;
	}			flows[] = {
		{"clientCredentials", "client_credentials"}, {"application", "client_credentials"},
		{"authorizationCode", "refresh_token"}, {"accessCode", "refresh_token"}
	};
	OpenapiNode all = openapi_get(scheme, "flows");

	for (int i = 0; i < lengthof(flows); i++)
	{
		OpenapiNode flow = openapi_get(&all, flows[i].flow);
		char	   *its = openapi_text(scheme, "flow");
		char	   *url;

		if (its != NULL && strcmp(its, flows[i].flow) == 0)
			flow = *scheme;
		url = openapi_text(&flow, "tokenUrl");
		if (url == NULL || whole_url(url) == NULL)
			continue;
		return psprintf("{\"auth\": {\"form\": \"oauth2\", \"grant\": \"%s\", \"token_url\": \"%s\"}}", flows[i].grant, openapi_json_plain(url));
	}
	return NULL;
}

/* The secret that a scheme wants, as the mapping holds it. */
static char *
whole_secret(const OpenapiNode *scheme)
{
	char	   *type = openapi_text(scheme, "type");
	char	   *in = openapi_text(scheme, "in");
	char	   *name = openapi_text(scheme, "name");
	char	   *http = openapi_text(scheme, "scheme");

	if (type == NULL)
		return NULL;
	if (strcmp(type, "basic") == 0 || (http != NULL && pg_strcasecmp(http, "basic") == 0))
		return pstrdup("{\"basic\": \"user:password\"}");
	if (strcmp(type, "apiKey") == 0 && in != NULL && name != NULL && (strcmp(in, "header") == 0 || strcmp(in, "query") == 0))
		return psprintf("{\"%s\": {\"%s\": \"...\"}}", in, openapi_json_plain(name));
	if ((http != NULL && pg_strcasecmp(http, "bearer") == 0) || strcmp(type, "oauth2") == 0 || strcmp(type, "openIdConnect") == 0)
		return pstrdup("{\"bearer\": \"...\"}");
	return NULL;
}

/* No document holds a secret: it is always for the user to give. */
static void
whole_auth(OpenapiDocument *document)
{
	OpenapiNode components = openapi_get(&document->root, "components");
	OpenapiNode schemes = document->swagger ? openapi_get(&document->root, "securityDefinitions") :
		openapi_get(&components, "securitySchemes");
	int			n;
	DefinitionMember *members = definition_members(&schemes, &n);
	List	   *told = NIL;

	for (int i = 0; i < n && i < 20 && openapi_is_object(&schemes); i++)
	{
		OpenapiNode scheme = openapi_resolve(document, members[i].value);
		char	   *secret = whole_secret(&scheme);
		const char *oauth = whole_oauth(&scheme);
		bool		again = false;
		ListCell   *cell;

		foreach(cell, told)
			again |= secret != NULL && strcmp(lfirst(cell), secret) == 0;
		if (secret != NULL && !again)
		{
			told = lappend(told, secret);
			openapi_gap(document, "secret", secret, "the secret of the user mapping, for \"%s\"", members[i].name);
		}
		if (oauth != NULL)
			openapi_gap(document, "auth", oauth, "how access tokens are got, if the secret is none: for \"%s\"", members[i].name);
	}
}

void
openapi_whole(OpenapiDocument *document, StringInfo out, const char *base_url)
{
	OpenapiNode info = openapi_get(&document->root, "info");
	OpenapiNode version = openapi_get(&info, "version");
	char	   *url = base_url ? pstrdup(base_url) : whole_base_url(document);

	whole_member(out, "description", openapi_text(&info, "title"));
	whole_member(out, "version", openapi_scalar(&version));
	if (url != NULL)
		openapi_print_member(out, "base_url", url);
	else
		openapi_gap(document, "base_url", "{\"base_url\": \"https://api.example.com\"}", "where the API is");
	whole_headers(document, out);
	whole_auth(document);
}
