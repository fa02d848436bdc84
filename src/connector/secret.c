/*
 * secret.c
 *	  The secret of a user mapping: its shape, where it comes from, where it
 *	  goes.
 *
 * No message here, and none raised from here, holds a value of a secret.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "common/base64.h"
#include "connector/definition.h"
#include "core/compat.h"
#include "http/pool.h"
#include "storage/fd.h"

/* A token or key, not a document. */
#define SECRET_MAX_BYTES	(64 * 1024)

/* Keys of signatures, while they change. */
#define SECRET_MAX_SIGNING	4

/* Shorter ones are no secrets, and stand in too many words. */
#define SECRET_LEAST_BYTES	4
#define SECRET_REDACTED		"***"

static const char secret_hint[] =
"Valid secrets are {\"bearer\": \"...\"}, {\"basic\": \"user:password\"}, {\"header\": {\"X-Api-Key\": \"...\"}} and "
"{\"query\": {\"key\": \"...\"}}, for object stores {\"s3\": {\"access_key\": \"...\", \"secret_key\": \"...\"}}, besides them {\"client_cert\": \"PEM\", \"client_key\": \"PEM\"} and "
"{\"proxy\": \"user:password\"}, to sign with {\"sign\": \"...\"}, to get tokens with {\"oauth2\": {\"client_id\": \"...\", \"client_secret\": \"...\", \"refresh_token\": \"...\"}} and "
"{\"jwt\": {\"issuer\": \"...\", \"subject\": \"...\", \"private_key\": \"PEM\"}}, and of what receives {\"hmac\": \"...\"}; each value may be {\"file\": \"/path\"}.";

pg_noreturn static void
secret_fail(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid secret: %s", what),
			 errhint("%s", secret_hint)));
}

static bool
secret_is_pem(const char *kind, const char *name)
{
	return strcmp(kind, "client_cert") == 0 || strcmp(kind, "client_key") == 0 ||
		(strcmp(kind, "jwt") == 0 && strcmp(name, "private_key") == 0);
}

/* Has members of its own. */
static bool
secret_is_named(const char *kind)
{
	static const char *const kinds[] = {"header", "query", "s3", "oauth2", "jwt"};

	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return true;
	return false;
}

static bool
secret_is_credentials(const char *kind)
{
	return strcmp(kind, "basic") == 0 || strcmp(kind, "proxy") == 0;
}

/* So much can be said without reading it; a key with a password would make OpenSSL ask somebody for it. */
static void
secret_check_pem(const char *kind, const char *text)
{
	if (strcmp(kind, "client_cert") == 0 && strstr(text, "-----BEGIN CERTIFICATE-----") == NULL)
		secret_fail("\"client_cert\" holds no certificate in PEM form");
	if (strcmp(kind, "client_key") == 0 && strstr(text, "PRIVATE KEY-----") == NULL)
		secret_fail("\"client_key\" holds no private key in PEM form");
	if (strcmp(kind, "client_key") == 0 && strstr(text, "ENCRYPTED") != NULL)
		secret_fail("\"client_key\" is locked with a password");
	if (strcmp(kind, "jwt") == 0 && sign_can_rsa() && sign_rsa_problem(text) != NULL)
		secret_fail(psprintf("\"private_key\": %s", sign_rsa_problem(text)));
}

/* Characters of a header, or of a document of many lines. */
static bool
secret_has_control(const char *kind, const char *name, const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (secret_is_pem(kind, name) && (*p == '\n' || *p == '\r' || *p == '\t'))
			continue;
		if ((unsigned char) *p < ' ' || *p == 0x7f)
			return true;
	}
	return false;
}

/* A string, or {"file": "/path"}; *path is NULL for a string. */
static char *
secret_value(const JsonbValue *value, const char *kind, const char *name, char **path)
{
	char	   *text;
	int			n;

	*path = NULL;
	if (value->type == jbvString)
	{
		text = template_scalar_text(value);
		if (secret_has_control(kind, name, text))
			secret_fail(psprintf("the value of \"%s\" contains a control character", name));
		if (*text == '\0')
			secret_fail(psprintf("the value of \"%s\" is empty", name));
		return text;
	}
	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
	{
		(void) definition_members(value, &n);
		*path = definition_text(value, "file");
		if (n == 1 && *path != NULL)
		{
			if (!is_absolute_path(*path))
				secret_fail(psprintf("the file of \"%s\" is not an absolute path", name));
			return NULL;
		}
	}
	secret_fail(psprintf("the value of \"%s\" is neither a string nor {\"file\": \"/path\"}", name));
}

/* What a reader of secrets does with each of its values. */
typedef void (*SecretVisit) (const char *kind, const char *name, const JsonbValue *value, void *arg);

/* One, or while it is being changed an array of the new and the old. */
static void
secret_walk_signing(const JsonbValue *value, SecretVisit visit, void *arg)
{
	DefinitionMember *elements;
	int			n;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
	{
		visit("hmac", "hmac", value, arg);
		return;
	}
	elements = definition_members(value, &n);
	if (n < 1 || n > SECRET_MAX_SIGNING)
		secret_fail(psprintf("\"hmac\" is an array of none or more than %d", SECRET_MAX_SIGNING));
	for (int i = 0; i < n; i++)
		visit("hmac", "hmac", &elements[i].value, arg);
}

/* Walks a secret of whatever shape; errors if it is none. */
static void
secret_walk(Jsonb *secret, SecretVisit visit, void *arg)
{
	JsonbValue	root = definition_root(secret);
	DefinitionMember *members;
	JsonbValue	other;
	int			n;

	if (!JB_ROOT_IS_OBJECT(secret))
		secret_fail("it is not a JSON object");
	members = definition_members(&root, &n);
	if (n == 0)
		secret_fail("it is empty");
	if (definition_get_in(&root, "bearer", &other) && definition_get_in(&root, "basic", &other))
		secret_fail("\"bearer\" and \"basic\" exclude each other");
	if (definition_get_in(&root, "client_cert", &other) != definition_get_in(&root, "client_key", &other))
		secret_fail("\"client_cert\" and \"client_key\" go together");
	for (int i = 0; i < n; i++)
	{
		const char *kind = members[i].name;
		JsonbValue *value = &members[i].value;

		if (strcmp(kind, "hmac") == 0)
			secret_walk_signing(value, visit, arg);
		else if (strcmp(kind, "bearer") == 0 || strcmp(kind, "sign") == 0 || secret_is_credentials(kind) || secret_is_pem(kind, kind))
			visit(kind, kind, value, arg);
		else if (secret_is_named(kind))
		{
			DefinitionMember *named;
			int			count;

			if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
				secret_fail(psprintf("\"%s\" is not an object", kind));
			named = definition_members(value, &count);
			if (strcmp(kind, "s3") == 0 &&
				(!definition_get_in(value, "access_key", &other) || !definition_get_in(value, "secret_key", &other)))
				secret_fail("\"s3\" needs \"access_key\" and \"secret_key\"");
			if (strcmp(kind, "oauth2") == 0 && !definition_get_in(value, "client_id", &other))
				secret_fail("\"oauth2\" needs \"client_id\"");
			if (strcmp(kind, "jwt") == 0 &&
				(!definition_get_in(value, "issuer", &other) || !definition_get_in(value, "private_key", &other)))
				secret_fail("\"jwt\" needs \"issuer\" and \"private_key\"");
			for (int j = 0; j < count; j++)
				visit(kind, named[j].name, &named[j].value, arg);
		}
		else
			secret_fail(psprintf("unknown member \"%s\"", kind));
	}
}

/* Members that have a place of their own. */
static const struct
{
	const char *kind;
	const char *name;
	size_t		offset;
	bool		open;			/* no secret by itself */
}			secret_places[] = {
	{"s3", "access_key", offsetof(ConnectorAuth, access_key), false},
	{"s3", "secret_key", offsetof(ConnectorAuth, secret_key), false},
	{"s3", "session_token", offsetof(ConnectorAuth, session_token), false},
	{"oauth2", "client_id", offsetof(ConnectorAuth, client_id), true},
	{"oauth2", "client_secret", offsetof(ConnectorAuth, client_secret), false},
	{"oauth2", "refresh_token", offsetof(ConnectorAuth, refresh_token), false},
	{"jwt", "issuer", offsetof(ConnectorAuth, issuer), true},
	{"jwt", "subject", offsetof(ConnectorAuth, subject), true},
	{"jwt", "private_key", offsetof(ConnectorAuth, private_key), true},
	{"jwt", "key_id", offsetof(ConnectorAuth, key_id), true},
	{"sign", "sign", offsetof(ConnectorAuth, sign), false}
};

/* Its index there; -1: it has none. */
static int
secret_place(const char *kind, const char *name)
{
	for (int i = 0; i < lengthof(secret_places); i++)
		if (strcmp(secret_places[i].kind, kind) == 0 && strcmp(secret_places[i].name, name) == 0)
			return i;
	return -1;
}

/* Of kinds whose members all have one. */
static void
secret_check_member(const char *kind, const char *name)
{
	StringInfoData names;

	if (!secret_is_named(kind) || strcmp(kind, "header") == 0 || strcmp(kind, "query") == 0 || secret_place(kind, name) >= 0)
		return;
	initStringInfo(&names);
	for (int i = 0; i < lengthof(secret_places); i++)
		if (strcmp(secret_places[i].kind, kind) == 0)
			appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", secret_places[i].name);
	secret_fail(psprintf("\"%s\" has another member than %s", kind, names.data));
}

static void
secret_check_value(const char *kind, const char *name, const JsonbValue *value, void *arg)
{
	bool		may_read_files = *(bool *) arg;
	char	   *path;
	char	   *text = secret_value(value, kind, name, &path);

	if (strcmp(kind, "header") == 0 &&
		(!http_header_is_name(name) || definition_header_is_ours(name) ||
		 pg_strcasecmp(name, "Proxy-Authorization") == 0))
		secret_fail("\"header\" has a member that is no header's name, or one that activate sets itself");
	if (*name == '\0')
		secret_fail(psprintf("\"%s\" has a member without a name", kind));
	secret_check_member(kind, name);
	if (text != NULL && secret_is_credentials(kind) && strchr(text, ':') == NULL)
		secret_fail(psprintf("the value of \"%s\" is not \"user:password\"", kind));
	if (text != NULL && secret_is_pem(kind, name))
		secret_check_pem(kind, text);
	if (path != NULL && !may_read_files)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to read a secret from a file of the server"),
				 errhint("Only superusers and members of pg_read_server_files may name a file in a secret.")));
}

void
connector_check_secret(Jsonb *secret, bool may_read_files)
{
	secret_walk(secret, secret_check_value, &may_read_files);
}

/* The content of a file without its last line break. */
static char *
secret_read_file(const char *path, const char *kind, const char *name)
{
	FILE	   *file;
	char	   *text = palloc(SECRET_MAX_BYTES + 1);
	size_t		len;
	struct stat st;

	/* a deliverer would wait for the other end of a pipe */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		secret_fail(psprintf("\"%s\" is not a regular file", path));
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\" with the secret \"%s\": %m", path, name)));
	len = fread(text, 1, SECRET_MAX_BYTES + 1, file);
	if (ferror(file))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\" with the secret \"%s\": %m", path, name)));
	FreeFile(file);
	if (len > SECRET_MAX_BYTES)
		secret_fail(psprintf("file \"%s\" is larger than %d bytes", path, SECRET_MAX_BYTES));
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		len--;
	text[len] = '\0';
	if (len == 0)
		secret_fail(psprintf("file \"%s\" is empty", path));
	if (strlen(text) < len || secret_has_control(kind, name, text))
		secret_fail(psprintf("file \"%s\" contains a control character", path));
	if (secret_is_pem(kind, name))
		secret_check_pem(kind, text);
	if (strcmp(kind, "proxy") == 0 && strchr(text, ':') == NULL)
		secret_fail(psprintf("file \"%s\" does not hold \"user:password\"", path));
	return text;
}

static char *
secret_basic(const char *text)
{
	int			len = pg_b64_enc_len(strlen(text));
	char	   *encoded = palloc(len + 1);

	len = compat_b64_encode(text, strlen(text), encoded, len);
	encoded[Max(len, 0)] = '\0';
	return psprintf("Basic %s", encoded);
}

static void
secret_append(char ***names, char ***values, int *n, const char *name, char *value)
{
	*names = *n == 0 ? palloc(sizeof(char *)) : repalloc(*names, sizeof(char *) * (*n + 1));
	*values = *n == 0 ? palloc(sizeof(char *)) : repalloc(*values, sizeof(char *) * (*n + 1));
	(*names)[*n] = pstrdup(name);
	(*values)[(*n)++] = value;
}

static char *
secret_encoded(const char *value)
{
	StringInfoData query;

	initStringInfo(&query);
	template_append_query(&query, "", value);
	return query.data + strlen("?=");
}

/* What texts are searched for: as it is, and as a query holds it. */
static void
secret_hide(ConnectorAuth *auth, const char *value)
{
	char	   *encoded = secret_encoded(value);

	auth->secrets = lappend(auth->secrets, pstrdup(value));
	if (strcmp(encoded, value) != 0)
		auth->secrets = lappend(auth->secrets, encoded);
}

static void
secret_load_value(const char *kind, const char *name, const JsonbValue *value, void *arg)
{
	ConnectorAuth *auth = arg;
	char	   *path;
	char	   *text = secret_value(value, kind, name, &path);
	char	   *part;
	int			place;

	if (path != NULL)
		text = secret_read_file(path, kind, name);
	if (strcmp(kind, "hmac") == 0)
	{
		auth->signing = lappend(auth->signing, text);
		return;
	}
	place = secret_place(kind, name);
	if (place >= 0)
	{
		*(char **) ((char *) auth + secret_places[place].offset) = text;
		if (!secret_places[place].open)
			secret_hide(auth, text);
		return;
	}
	if (secret_is_pem(kind, name))
	{
		/* is never sent, so nobody can quote it */
		if (strcmp(kind, "client_cert") == 0)
			auth->client_cert = text;
		else
			auth->client_key = text;
		return;
	}
	/* of "Token x" x alone will do, of "user:password" the password */
	secret_hide(auth, text);
	part = strchr(text, secret_is_credentials(kind) ? ':' : ' ');
	if (part != NULL)
		secret_hide(auth, part + 1);
	if (strcmp(kind, "proxy") == 0)
		auth->proxy = text;
	else if (strcmp(kind, "query") == 0)
		secret_append(&auth->query_names, &auth->query_values, &auth->nquery, name, text);
	else if (strcmp(kind, "header") == 0)
		secret_append(&auth->header_names, &auth->header_values, &auth->nheaders, name, text);
	else
	{
		bool		basic = strcmp(kind, "basic") == 0;
		char	   *header = basic ? secret_basic(text) : psprintf("Bearer %s", text);

		if (basic)
			secret_hide(auth, header + strlen("Basic "));
		secret_append(&auth->header_names, &auth->header_values, &auth->nheaders, "Authorization", header);
	}
}

static const char *
secret_redact(const char *secret, const char *text)
{
	StringInfoData clean;
	const char *found;

	if (secret == NULL || strlen(secret) < SECRET_LEAST_BYTES || strstr(text, secret) == NULL)
		return text;
	initStringInfo(&clean);
	for (; (found = strstr(text, secret)) != NULL; text = found + strlen(secret))
	{
		appendBinaryStringInfo(&clean, text, found - text);
		appendStringInfoString(&clean, SECRET_REDACTED);
	}
	appendStringInfoString(&clean, text);
	return clean.data;
}

const char *
connector_redact(const ConnectorAuth *auth, const char *text)
{
	ListCell   *cell;

	foreach(cell, auth ? auth->secrets : NIL)
		text = secret_redact(lfirst(cell), text);
	if (auth != NULL && auth->token != NULL)
		text = secret_redact(auth->token->before, secret_redact(auth->token->value, text));
	return text;
}

void
secret_load(Jsonb *secret, ConnectorAuth *auth)
{
	secret_walk(secret, secret_load_value, auth);
}
