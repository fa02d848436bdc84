/*
 * parse.c
 *	  The head of an HTTP/1.x request.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

const char *
request_header(const Request *request, const char *lower_name)
{
	for (int i = 0; i < request->nheaders; i++)
		if (strcmp(request->names[i], lower_name) == 0)
			return request->values[i];
	return NULL;
}

/* head is NUL-terminated and ends before the empty line. */
bool
http_parse_head(char *head, Request *request)
{
	char	   *line = strsep(&head, "\n");
	char	   *version;
	const char *connection;

	request->nheaders = 0;
	request->method = strsep(&line, " ");
	request->path = strsep(&line, " ");
	version = line;
	if (request->path == NULL || version == NULL || strncmp(version, "HTTP/1.", 7) != 0)
		return false;
	request->query = strchr(request->path, '?');
	if (request->query)
		*request->query++ = '\0';
	else
		request->query = "";
	while ((line = strsep(&head, "\n")) != NULL && request->nheaders < MAX_HEADERS)
	{
		char	   *value = strchr(line, ':');

		if (value == NULL)
			continue;
		*value++ = '\0';
		for (char *p = line; *p; p++)
			*p = (char) tolower((unsigned char) *p);
		value += strspn(value, " \t");
		value[strcspn(value, "\r")] = '\0';
		request->names[request->nheaders] = line;
		request->values[request->nheaders++] = value;
	}
	connection = request_header(request, "connection");
	request->keep_alive = connection ? strcasecmp(connection, "close") != 0 : version[7] != '0';
	return true;
}

int64_t
http_declared_length(const char *head, size_t len)
{
	const char *end = head + len;

	for (const char *line = head; line && line < end; line = memchr(line, '\n', end - line))
	{
		if (*line == '\n')
			line++;
		if (end - line > 15 && strncasecmp(line, "content-length:", 15) == 0)
			return atoll(line + 15);
		if (end - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0)
			return -1;
	}
	return 0;
}
