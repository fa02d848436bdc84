/*
 * template.c
 *	  Fuzzes paths, templates and values in URLs: src/template/path.h.
 *
 * An input: a path, a template of a URL's path, a value for its names.
 */
#include "fuzz.h"

#include <curl/curl.h>

#include "template/path.h"

/* A path that is written anew, every step quoted, has the same steps. */
static void
check_path(const char *path)
{
	const char *at = path;
	char	   *written = malloc(4 * strlen(path) + 1);
	char	   *end = written;
	const char *again = written;
	PathStep	step;
	PathStep	twin;

	CHECK(path_valid(path) || *path != '\0');
	while (path_next(&at, &step) == PATH_STEP)
	{
		CHECK(at > path && at <= path + strlen(path));
		if (!path_valid(path))
			continue;
		if (end > written)
			*end++ = '.';
		*end++ = '"';
		for (const char *p = step.name; *p; p++)
		{
			if (*p == '"' || *p == '\\')
				*end++ = '\\';
			*end++ = *p;
		}
		*end++ = '"';
	}
	*end = '\0';
	for (at = path; path_valid(path) && path_next(&at, &step) == PATH_STEP;)
		CHECK(path_next(&again, &twin) == PATH_STEP && strcmp(step.name, twin.name) == 0);
	CHECK(*again == '\0' || !path_valid(path));
	free(written);
}

/* template with its names replaced by value, encoded; NULL: malformed. */
static char *
expand(const char *template, const char *value)
{
	const char *at = template;
	char	   *encoded = malloc(3 * strlen(value) + 1);
	size_t		length = escape_url(value, encoded);
	char	   *out = malloc(strlen(template) * (length + 1) + 1);
	size_t		used = 0;
	TemplatePiece piece;
	PathResult	result;

	CHECK(length == strlen(encoded) && strspn(encoded, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%") == length);
	while ((result = template_next(&at, &piece)) == PATH_STEP)
	{
		CHECK(piece.start >= template && piece.start + piece.len <= at && piece.len > 0);
		memcpy(out + used, piece.is_name ? encoded : piece.start, piece.is_name ? length : piece.len);
		used += piece.is_name ? length : piece.len;
	}
	out[used] = '\0';
	free(encoded);
	if (result == PATH_END)
		return out;
	free(out);
	return NULL;
}

static size_t
count(const char *text, char c)
{
	size_t		n = 0;

	for (; *text; text++)
		n += *text == c;
	return n;
}

/* Whatever the value is, the URL has the host, the segments and the query that the template says. */
static void
check_url(const char *template, const char *value)
{
	char	   *plain = expand(template, "x");
	char	   *path = expand(template, value);
	char	   *text;
	CURLU	   *url = curl_url();
	char	   *part;
	size_t		length;

	CHECK((plain == NULL) == (path == NULL));
	if (path != NULL && *value != '\0' && escape_walking_segment(path, &length) == NULL &&
		escape_walking_segment(plain, &length) == NULL && strpbrk(template, "#\\%") == NULL)
	{
		text = malloc(strlen(path) + 32);
		sprintf(text, "https://h.example.com/%s", path);
		if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
		{
			CHECK(curl_url_get(url, CURLUPART_HOST, &part, 0) == CURLUE_OK && strcmp(part, "h.example.com") == 0);
			curl_free(part);
			CHECK(curl_url_get(url, CURLUPART_PATH, &part, 0) == CURLUE_OK);
			plain[strcspn(plain, "?")] = '\0';
			CHECK(count(part, '/') == count(plain, '/') + 1);
			curl_free(part);
			if (curl_url_get(url, CURLUPART_QUERY, &part, 0) == CURLUE_OK)
			{
				CHECK(strchr(template, '?') != NULL);
				curl_free(part);
			}
		}
		free(text);
	}
	curl_url_cleanup(url);
	free(plain);
	free(path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FuzzInput	input = {(const char *) data, size};
	char	   *path = fuzz_field(&input, false);
	char	   *template = fuzz_field(&input, false);
	char	   *value = fuzz_field(&input, true);

	check_path(path);
	check_url(template, value);
	free(path);
	free(template);
	free(value);
	return 0;
}
