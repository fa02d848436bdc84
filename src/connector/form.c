/*
 * form.c
 *	  The member "auth": how a request says who sends it, where that is more
 *	  than a header, a parameter or a password.
 *
 * Here are the defaults and what only makes sense together; docs/connectors.md
 * lists both.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "connector/definition.h"
#include "connector/form.h"
#include "core/compat.h"

/* Which members belong to a form, besides "form"; and the member of the secret that it works with. */
typedef struct FormMembers
{
	AuthForm	form;
	const char *name;
	const char *secret;
	const char *const *members;
} FormMembers;

static const char *const members_oauth2[] = {
	"grant", "token_url", "scope", "audience", "client", "parameters", "header", "prefix", NULL
};
static const char *const members_hmac[] = {
	"header", "prefix", "signed", "timestamp", "algorithm", "encoding", "key", NULL
};
static const char *const members_aws[] = {"service", "region", NULL};

static const FormMembers forms[] = {
	{AUTH_OAUTH2, "oauth2", "oauth2", members_oauth2},
	{AUTH_HMAC, "hmac", "sign", members_hmac},
	{AUTH_AWS, "aws", "s3", members_aws}
};

pg_noreturn static void
form_fail(const char *subject, const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s: %s", subject, message),
			 errhint("%s", hint)));
}

static char *
form_list(const char *const *names)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; names[i]; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", names[i]);
	return list.data;
}

static const FormMembers *
form_named(const JsonbValue *auth, const char *subject)
{
	const char *name = definition_text(auth, "form");
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(forms); i++)
	{
		if (name != NULL && strcmp(forms[i].name, name) == 0)
			return &forms[i];
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", forms[i].name);
	}
	form_fail(subject, "\"auth\" does not say its \"form\"", psprintf("Valid forms are: %s.", names.data));
}

static void
form_check_members(const FormMembers *form, const JsonbValue *auth, const char *subject)
{
	int			n;
	DefinitionMember *members = definition_members(auth, &n);

	for (int i = 0; i < n; i++)
	{
		bool		known = strcmp(members[i].name, "form") == 0 || members[i].value.type == jbvNull;

		for (int j = 0; form->members[j]; j++)
			known |= strcmp(form->members[j], members[i].name) == 0;
		if (!known)
			form_fail(subject, psprintf("\"auth.%s\" does not belong to the form \"%s\"", members[i].name, form->name),
					  psprintf("Members of this form are: %s.", form_list(form->members)));
	}
}

static char *
form_need(const JsonbValue *auth, const char *name, const char *subject, const char *hint)
{
	char	   *text = definition_text(auth, name);

	if (text == NULL || *text == '\0')
		form_fail(subject, psprintf("\"auth\" does not say \"%s\"", name), hint);
	return text;
}

static const char *
form_text(const JsonbValue *auth, const char *name, const char *fallback)
{
	const char *text = definition_text(auth, name);

	return text ? text : fallback;
}

static void
form_parameters(ConnectorForm *form, const JsonbValue *auth)
{
	JsonbValue	parameters;
	DefinitionMember *members;
	int			n;

	if (!definition_get_in(auth, "parameters", &parameters))
		return;
	members = definition_members(&parameters, &n);
	form->parameter_names = palloc(sizeof(char *) * (n + 1));
	form->parameter_values = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		if (members[i].value.type == jbvNull)
			continue;
		form->parameter_names[form->nparameters] = members[i].name;
		form->parameter_values[form->nparameters++] = template_scalar_text(&members[i].value);
	}
}

static void
form_oauth2(ConnectorForm *form, const JsonbValue *auth, const char *subject)
{
	const char *grant = form_need(auth, "grant", subject, "Valid grants are: refresh_token, client_credentials, jwt.");

	form->grant = strcmp(grant, "jwt") == 0 ? GRANT_JWT : strcmp(grant, "client_credentials") == 0 ? GRANT_CLIENT : GRANT_REFRESH;
	form->token_url = form_need(auth, "token_url", subject, "\"token_url\" is where tokens are got, as in \"https://login.example.com/oauth/token\".");
	form->scope = definition_text(auth, "scope");
	form->audience = definition_text(auth, "audience");
	form->client_basic = strcmp(form_text(auth, "client", "body"), "basic") == 0;
	form->header = form_text(auth, "header", "Authorization");
	form->prefix = form_text(auth, "prefix", pg_strcasecmp(form->header, "Authorization") == 0 ? "Bearer " : "");
	form_parameters(form, auth);
	if (form->grant == GRANT_JWT && !sign_can_rsa())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s: the grant \"jwt\" is not supported by this build", subject),
				 errhint("Build activate where the headers of OpenSSL are (on Debian, libssl-dev).")));
}

static SignCode
form_code(const char *name)
{
	return strcmp(name, "hex") == 0 ? CODE_HEX : strcmp(name, "base64") == 0 ? CODE_BASE64 : CODE_TEXT;
}

static bool
form_names(const char *template, const char *name)
{
	ListCell   *lc;

	foreach(lc, template_names(template))
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

static void
form_check_template(const char *template, const char *member, const char *const *names, const char *subject)
{
	ListCell   *lc;

	foreach(lc, template_names(template))
	{
		const char *name = lfirst(lc);
		bool		known = false;

		for (int i = 0; names[i]; i++)
			known |= strcmp(names[i], name) == 0;
		if (!known)
			form_fail(subject, psprintf("\"auth.%s\" names \"{%s}\", which is unknown", member, name),
					  psprintf("Names are: %s.", form_list(names)));
	}
}

static void
form_hmac(ConnectorForm *form, const JsonbValue *auth, const char *subject)
{
	static const char *const names[] = {"timestamp", "method", "path", "body", NULL};
	static const char *const time_names[] = {"timestamp", NULL};
	const char *algorithm = form_text(auth, "algorithm", "sha256");
	bool		timed;

	form->header = form_need(auth, "header", subject, "\"header\" names the header of the signature, as in \"X-Signature\".");
	form->prefix = form_text(auth, "prefix", "");
	form->content = form_text(auth, "signed", "{body}");
	form->timestamp = definition_text(auth, "timestamp");
	form->algorithm = strcmp(algorithm, "sha1") == 0 ? PG_SHA1 : strcmp(algorithm, "sha512") == 0 ? PG_SHA512 : PG_SHA256;
	form->encoding = form_code(form_text(auth, "encoding", "hex"));
	form->key = form_code(form_text(auth, "key", "text"));
	form_check_template(form->content, "signed", names, subject);
	form_check_template(form->prefix, "prefix", time_names, subject);
	if (!form_names(form->content, "body"))
		form_fail(subject, "\"auth.signed\" does not sign the body", "Write {body} into it, as in \"{timestamp}.{body}\".");
	timed = form->timestamp != NULL || form_names(form->prefix, "timestamp");
	if (timed != form_names(form->content, "timestamp"))
		form_fail(subject, "the time is signed and is told, or neither",
				  "\"timestamp\" names the header of the time (or \"prefix\" has {timestamp}), and \"signed\" has {timestamp}.");
}

ConnectorForm *
form_compile(const JsonbValue *definition, const char *subject)
{
	JsonbValue	auth;
	const FormMembers *known;
	ConnectorForm *form;

	if (!definition_get_in(definition, "auth", &auth))
		return NULL;
	known = form_named(&auth, subject);
	form_check_members(known, &auth, subject);
	form = palloc0(sizeof(ConnectorForm));
	form->form = known->form;
	switch (known->form)
	{
		case AUTH_OAUTH2:
			form_oauth2(form, &auth, subject);
			break;
		case AUTH_HMAC:
			form_hmac(form, &auth, subject);
			break;
		case AUTH_AWS:
			form->header = "Authorization";
			form->service = form_need(&auth, "service", subject, "\"service\" is the name in the scope of signatures, as in \"execute-api\".");
			form->region = form_need(&auth, "region", subject, "\"region\" is as in \"eu-central-1\".");
			break;
	}
	return form;
}

static bool
secret_has(Jsonb *secret, const char *member)
{
	JsonbValue	value;

	return secret != NULL && definition_get(secret, member, &value);
}

/* Two values of one header would be sent. */
static bool
secret_sends(Jsonb *secret, const char *header)
{
	JsonbValue	headers;
	DefinitionMember *members;
	int			n;

	if (pg_strcasecmp(header, "Authorization") == 0 && (secret_has(secret, "bearer") || secret_has(secret, "basic")))
		return true;
	if (secret == NULL || !definition_get(secret, "header", &headers))
		return false;
	members = definition_members(&headers, &n);
	for (int i = 0; i < n; i++)
		if (pg_strcasecmp(members[i].name, header) == 0)
			return true;
	return false;
}

/* The member of the secret that a form works with; NULL: none. */
static const char *
form_secret(const ConnectorForm *form)
{
	if (form == NULL)
		return NULL;
	if (form->form == AUTH_OAUTH2 && form->grant == GRANT_JWT)
		return "jwt";
	for (int i = 0; i < lengthof(forms); i++)
		if (forms[i].form == form->form)
			return forms[i].secret;
	return NULL;
}

/* Of "oauth2", what its grant cannot do without. */
static void
form_check_client(const ConnectorForm *form, Jsonb *secret, const char *subject)
{
	const char *needed = form->grant == GRANT_REFRESH ? "refresh_token" : form->grant == GRANT_CLIENT ? "client_secret" : NULL;
	JsonbValue	oauth2;
	JsonbValue	value;
	bool		client = definition_get(secret, "oauth2", &oauth2);

	if (needed != NULL && !definition_get_in(&oauth2, needed, &value))
		form_fail(subject, psprintf("its \"auth\" needs \"%s\" in the member \"oauth2\" of the secret, which is not there", needed),
				  "Give it with activate_target(..., secret => '{\"oauth2\": {...}}') or ALTER USER MAPPING.");
	if (form->client_basic && (!client || !definition_get_in(&oauth2, "client_secret", &value)))
		form_fail(subject, "its \"auth\" has \"client\": \"basic\", and the secret no \"client_secret\"",
				  "Give it in the member \"oauth2\" of the secret, or leave \"client\" out.");
}

void
form_check_secret(const ConnectorForm *form, Jsonb *secret, const char *subject)
{
	static const char *const of_forms[] = {"sign", "oauth2", "jwt"};
	const char *needed = form_secret(form);
	bool		client = form != NULL && form->form == AUTH_OAUTH2;

	if (needed != NULL && !secret_has(secret, needed))
		form_fail(subject, psprintf("its \"auth\" needs the member \"%s\" of the secret, which is not there", needed),
				  psprintf("Give it with activate_target(..., secret => '{\"%s\": ...}') or ALTER USER MAPPING.", needed));
	for (int i = 0; i < lengthof(of_forms); i++)
		if (secret_has(secret, of_forms[i]) && !(client && strcmp(of_forms[i], "oauth2") == 0) && (needed == NULL || strcmp(needed, of_forms[i]) != 0))
			form_fail(subject, psprintf("its secret has the member \"%s\", which nothing uses", of_forms[i]),
					  "The option \"auth\" of the server (or the member of the definition) says what is done with it.");
	if (client)
		form_check_client(form, secret, subject);
	if (form != NULL && secret_sends(secret, form->header))
		form_fail(subject, psprintf("its secret and its \"auth\" both send the header \"%s\"", form->header),
				  "Leave one of them out.");
}
