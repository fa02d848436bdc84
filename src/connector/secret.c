/*
 * secret.c
 *	  The secret of a user mapping: its shape, where it comes from, where it
 *	  goes; and the names by which a secret in the wrong place is known.
 *
 * No message here, and none raised from here, holds a value of a secret.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "common/base64.h"
#include "connector/definition.h"
#include "core/compat.h"
#include "http/pool.h"
#include "storage/fd.h"
#include "utils/formatting.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

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
"{\"proxy\": \"user:password\"}, and of what receives {\"hmac\": \"...\"}; each value may be {\"file\": \"/path\"}.";

bool
connector_header_is_secret(const char *name)
{
	return secret_header_name(name);
}

bool
secret_header_name(const char *name)
{
	static const char *const parts[] = {"key", "token", "secret", "password"};
	char	   *lower;

	if (pg_strcasecmp(name, "Authorization") == 0 || pg_strcasecmp(name, "Cookie") == 0 ||
		pg_strcasecmp(name, "Proxy-Authorization") == 0)
		return true;
	if (pg_strcasecmp(name, "Idempotency-Key") == 0)
		return false;
	lower = asc_tolower(name, strlen(name));
	for (int i = 0; i < lengthof(parts); i++)
	{
		if (strstr(lower, parts[i]) != NULL)
			return true;
	}
	return false;
}

/*
 * Names are compared without case, "-" and "_".  Exact, or by their end:
 * "page_token" and "sort_key" are parameters of innocent reads.
 */
bool
secret_query_name(const char *name, size_t len)
{
	static const char *const exact[] = {
		"key", "token", "auth", "authorization", "secret", "password", "passwd", "pwd",
		"signature", "sig", "hapikey", "credential", "credentials", "jwt", "bearer"
	};
	static const char *const ends[] = {
		"apikey", "accesskey", "secretkey", "privatekey", "authkey", "appkey",
		"accesstoken", "authtoken", "apitoken", "bearertoken", "refreshtoken", "sessiontoken",
		"secret", "password"
	};
	char		plain[64];
	size_t		n = 0;

	for (size_t i = 0; i < len && n < sizeof(plain) - 1; i++)
	{
		if (name[i] != '-' && name[i] != '_')
			plain[n++] = pg_tolower((unsigned char) name[i]);
	}
	plain[n] = '\0';
	for (int i = 0; i < lengthof(exact); i++)
	{
		if (strcmp(plain, exact[i]) == 0)
			return true;
	}
	for (int i = 0; i < lengthof(ends); i++)
	{
		size_t		end = strlen(ends[i]);

		if (n >= end && strcmp(plain + n - end, ends[i]) == 0)
			return true;
	}
	return false;
}

pg_noreturn static void
secret_fail(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid secret: %s", what),
			 errhint("%s", secret_hint)));
}

static bool
secret_is_pem(const char *kind)
{
	return strcmp(kind, "client_cert") == 0 || strcmp(kind, "client_key") == 0;
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
}

/* Characters of a header, or of a document of many lines. */
static bool
secret_has_control(const char *kind, const char *text)
{
	for (const char *p = text; *p; p++)
	{
		if (secret_is_pem(kind) && (*p == '\n' || *p == '\r' || *p == '\t'))
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
		if (secret_has_control(kind, text))
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
		else if (strcmp(kind, "bearer") == 0 || secret_is_credentials(kind) || secret_is_pem(kind))
			visit(kind, kind, value, arg);
		else if (strcmp(kind, "header") == 0 || strcmp(kind, "query") == 0 || strcmp(kind, "s3") == 0)
		{
			DefinitionMember *named;
			int			count;

			if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
				secret_fail(psprintf("\"%s\" is not an object", kind));
			named = definition_members(value, &count);
			if (strcmp(kind, "s3") == 0 &&
				(!definition_get_in(value, "access_key", &other) || !definition_get_in(value, "secret_key", &other)))
				secret_fail("\"s3\" needs \"access_key\" and \"secret_key\"");
			for (int j = 0; j < count; j++)
				visit(kind, named[j].name, &named[j].value, arg);
		}
		else
			secret_fail(psprintf("unknown member \"%s\"", kind));
	}
}

/* Where a member of "s3" is kept; NULL: there is none of that name. */
static char **
secret_s3_member(ConnectorAuth *auth, const char *name)
{
	return strcmp(name, "access_key") == 0 ? &auth->access_key :
		strcmp(name, "secret_key") == 0 ? &auth->secret_key :
		strcmp(name, "session_token") == 0 ? &auth->session_token : NULL;
}

static void
secret_check_value(const char *kind, const char *name, const JsonbValue *value, void *arg)
{
	bool		may_read_files = *(bool *) arg;
	ConnectorAuth ignored;
	char	   *path;
	char	   *text = secret_value(value, kind, name, &path);

	if (strcmp(kind, "header") == 0 &&
		(!http_header_is_name(name) || definition_header_is_ours(name) ||
		 pg_strcasecmp(name, "Proxy-Authorization") == 0))
		secret_fail("\"header\" has a member that is no header's name, or one that activate sets itself");
	if (*name == '\0')
		secret_fail(psprintf("\"%s\" has a member without a name", kind));
	if (strcmp(kind, "s3") == 0 && secret_s3_member(&ignored, name) == NULL)
		secret_fail("\"s3\" has another member than \"access_key\", \"secret_key\" and \"session_token\"");
	if (text != NULL && secret_is_credentials(kind) && strchr(text, ':') == NULL)
		secret_fail(psprintf("the value of \"%s\" is not \"user:password\"", kind));
	if (text != NULL && secret_is_pem(kind))
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
	if (strlen(text) < len || secret_has_control(kind, text))
		secret_fail(psprintf("file \"%s\" contains a control character", path));
	if (secret_is_pem(kind))
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

	if (path != NULL)
		text = secret_read_file(path, kind, name);
	if (strcmp(kind, "hmac") == 0)
	{
		auth->signing = lappend(auth->signing, text);
		return;
	}
	if (secret_is_pem(kind))
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
	else if (strcmp(kind, "s3") == 0)
		*secret_s3_member(auth, name) = text;
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

const char *
connector_redact(const ConnectorAuth *auth, const char *text)
{
	ListCell   *cell;

	foreach(cell, auth ? auth->secrets : NIL)
	{
		const char *secret = lfirst(cell);
		const char *found;
		StringInfoData clean;

		if (strlen(secret) < SECRET_LEAST_BYTES || strstr(text, secret) == NULL)
			continue;
		initStringInfo(&clean);
		for (; (found = strstr(text, secret)) != NULL; text = found + strlen(secret))
		{
			appendBinaryStringInfo(&clean, text, found - text);
			appendStringInfoString(&clean, SECRET_REDACTED);
		}
		appendStringInfoString(&clean, text);
		text = clean.data;
	}
	return text;
}

/* The mapping without any check of rights: it is used, not shown. */
static List *
secret_mapping(Oid server, Oid userid, Oid *found)
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

	(void) secret_mapping(server, userid, &found);
	return found;
}

ConnectorAuth *
connector_auth(Oid server, Oid userid, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ConnectorAuth *auth = palloc0(sizeof(ConnectorAuth));
	const char *secret = definition_option(secret_mapping(server, userid, &auth->userid), "secret");

	if (secret != NULL)
	{
		auth->present = true;
		secret_walk(definition_parse(secret, "secret", true), secret_load_value, auth);
	}
	auth->transport = definition_transport(server, auth);
	MemoryContextSwitchTo(old);
	return auth;
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
}
