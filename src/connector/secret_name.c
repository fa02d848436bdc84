/*
 * secret_name.c
 *	  The names by which a secret in the wrong place is known.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "utils/formatting.h"

bool
connector_header_is_secret(const char *name)
{
	return secret_header_name(name);
}

bool
connector_query_is_secret(const char *name)
{
	return secret_query_name(name, strlen(name));
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
