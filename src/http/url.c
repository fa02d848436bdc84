/*
 * url.c
 *	  Reads a URL for what the allow-list wants to know.
 *
 * libcurl's own parser does it, so that nothing can look like one host to us
 * and like another to the code that connects: it also turns numeric forms
 * such as 0x7f000001 into dotted ones.
 *
 * No postgres.h: see host.h.
 */
#include "http/host.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static bool url_read_part(CURLU *handle, CURLUPart part, unsigned int flags,
						  char *buffer, size_t size);
static bool url_read_host(CURLU *handle, HttpUrl *url);

char
http_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c + ('a' - 'A')) : c;
}

bool
http_ends_in_number(const char *host)
{
	const char *label = strrchr(host, '.');

	label = label ? label + 1 : host;
	return *label >= '0' && *label <= '9' &&
		(strspn(label, "0123456789") == strlen(label) || strncmp(label, "0x", 2) == 0);
}

/* libcurl has undone percent-encoding; bytes above ASCII are international names. */
static bool
url_is_name(const char *host)
{
	for (const char *p = host; *p; p++)
	{
		if (*p == '.' ? p[1] == '.' || p[1] == '\0' :
			!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9') &&
			*p != '-' && *p != '_' && (*p & 0x80) == 0)
			return false;
	}
	return !http_ends_in_number(host);
}

bool
http_url_parse(const char *text, HttpUrl *url, const char **problem, const char **hint)
{
	CURLU	   *handle = curl_url();
	CURLUcode	code;
	char		part[16];

	memset(url, 0, sizeof(HttpUrl));
	*problem = NULL;
	*hint = NULL;
	if (handle == NULL)
	{
		*problem = "out of memory";
		return false;
	}

	code = curl_url_set(handle, CURLUPART_URL, text,
						CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_USER_NOT_ALLOWED)
	{
		*problem = "it contains credentials";
		*hint = "Put credentials into the secret of the target.";
	}
	else if (code != CURLUE_OK)
	{
		*problem = curl_url_strerror(code);
		*hint = "A URL looks like https://host/path; other than plain characters are percent-encoded.";
	}
	else if (!url_read_part(handle, CURLUPART_SCHEME, 0, part, sizeof(part)) ||
			 (strcmp(part, "https") != 0 && strcmp(part, "http") != 0))
	{
		*problem = "its scheme is neither https nor http";
		*hint = "Valid schemes are https and http.";
	}
	else
	{
		url->https = strcmp(part, "https") == 0;
		if (!url_read_host(handle, url))
			*problem = "its host name is empty or too long";
		else if (!url->literal && !url_is_name(url->host))
			*problem = "its host is neither a name nor an address";
		else if (!url_read_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, part, sizeof(part)))
			*problem = "its port is not readable";
		else
			url->port = atoi(part);
	}
	curl_url_cleanup(handle);
	return *problem == NULL;
}

static bool
url_read_part(CURLU *handle, CURLUPart part, unsigned int flags, char *buffer, size_t size)
{
	char	   *value;
	bool		fits;

	if (curl_url_get(handle, part, &value, flags) != CURLUE_OK)
		return false;
	fits = strlen(value) < size;
	if (fits)
		strcpy(buffer, value);
	curl_free(value);
	return fits;
}

static bool
url_read_host(CURLU *handle, HttpUrl *url)
{
	char		host[HTTP_MAX_HOST];
	char	   *start = host;
	size_t		len;

	if (!url_read_part(handle, CURLUPART_HOST, 0, host, sizeof(host)))
		return false;

	len = strlen(host);
	if (len >= 2 && host[0] == '[' && host[len - 1] == ']')
	{
		host[len - 1] = '\0';
		start++;
	}
	else if (len >= 2 && host[len - 1] == '.')
		host[len - 1] = '\0';

	for (size_t i = 0; start[i] != '\0'; i++)
		url->host[i] = http_lower(start[i]);
	url->literal = http_address_from_text(url->host, &url->address);
	return url->host[0] != '\0';
}
