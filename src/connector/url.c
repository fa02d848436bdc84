/*
 * url.c
 *	  URLs in definitions and options: their check and their joining.
 *
 * A URL is shown in error messages, receipts, pg_foreign_server and the
 * target's own logs; a secret has no place in it (SEMANTICS 15).
 */
#include "postgres.h"

#include "connector/definition.h"

static void
url_check_characters(const char *url, const char *subject)
{
	for (const unsigned char *p = (const unsigned char *) url; *p; p++)
	{
		/* not shown: a line break in a log is what is tried here */
		if (*p <= ' ' || *p == 0x7f || *p == '\\')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s is not a URL: it contains a space, a backslash or a control character", subject),
					 errhint("Percent-encode such characters.")));
	}
}

/* Parameters of the query that look like secrets, the fragment included. */
static void
url_check_query(const char *url, const char *subject)
{
	const char *p = strpbrk(url, "?#");

	while (p != NULL && *p != '\0')
	{
		size_t		len = strcspn(++p, "=&;#?");

		if (secret_query_name(p, len))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s carries a secret in its query: parameter \"%.*s\"", subject, (int) len, p),
					 errhint("Put it into the secret of the user mapping: {\"query\": {\"%.*s\": \"...\"}}.", (int) len, p)));
		p += strcspn(p, "&;#?");
	}
}

void
definition_check_url(const char *url, const char *subject, bool may_have_query)
{
	const char *authority;
	size_t		len;

	url_check_characters(url, subject);
	if (pg_strncasecmp(url, "http://", 7) != 0 && pg_strncasecmp(url, "https://", 8) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a URL of http or https", subject),
				 errhint("Write the whole URL, as in \"https://api.example.com/v1\".")));
	authority = strstr(url, "://") + 3;
	len = strcspn(authority, "/?#");
	if (memchr(authority, '@', len) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s carries a user name or password", subject),
				 errhint("Put them into the secret of the user mapping: {\"basic\": \"user:password\"}.")));
	if (len == 0 || *authority == ':')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s names no host", subject),
				 errhint("Write the whole URL, as in \"https://api.example.com/v1\".")));
	url_check_query(url, subject);
	if (!may_have_query && strpbrk(url, "?#") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has a query or fragment, but paths are appended to it", subject),
				 errhint("Write queries into \"path\" or \"read.query\" of an object.")));
}

void
connector_check_url(const char *url, const char *subject, bool may_have_query)
{
	definition_check_url(url, subject, may_have_query);
}

void
definition_check_url_path(const char *path, const char *subject)
{
	url_check_characters(path, subject);
	if (strncmp(path, "//", 2) == 0 || strstr(path, "://") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a path behind base_url", subject),
				 errhint("Write it without scheme and host, as in \"/contacts\".")));
	url_check_query(path, subject);
}

char *
connector_url(const Connector *connector, const char *path)
{
	size_t		len = strlen(connector->base_url);

	if (path == NULL || *path == '\0')
		return pstrdup(connector->base_url);
	if (*path == '?')
		return psprintf("%s%s", connector->base_url, path);
	while (len > 0 && connector->base_url[len - 1] == '/')
		len--;
	return psprintf("%.*s%s%s", (int) len, connector->base_url, *path == '/' ? "" : "/", path);
}
