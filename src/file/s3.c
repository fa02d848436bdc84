/*
 * s3.c
 *	  Object stores that speak S3: requests signed by AWS Signature Version 4
 *	  (room sign), and which objects there are (ListObjectsV2).
 *
 * Buckets are addressed by path, which every such store understands.  The body
 * of our requests is empty; a key's characters are encoded once, slashes stay.
 */
#include "postgres.h"

#include <time.h>

#include "core/errors.h"
#include "file/reader.h"
#include "sign/sign.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static HttpRequest *signed_request(const FileReader *reader, const char *path, const char *query,
								   const char *condition, MemoryContext context);
static char *list_query(const FileTable *table, const char *token);
static List *read_page(const FileTable *table, const char *xml, List *entries);

/* "s3://bucket/prefix" */
void
file_bucket_parse(FileTable *table)
{
	const char *bucket = table->url + strlen("s3://");
	size_t		len = strcspn(bucket, "/");
	const char *prefix = bucket + len;

	if (len < 3 || len > 63 || strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != len)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"url\" names no bucket: \"%s\"", table->url),
				 errhint("Write url 's3://bucket' or url 's3://bucket/prefix'; the store is named by \"endpoint\" and \"region\".")));
	if (strpbrk(prefix, "?#") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"url\" has a query or fragment, but names of objects are appended to it")));
	table->bucket = pnstrdup(bucket, len);
	prefix += strspn(prefix, "/");
	len = strlen(prefix);
	table->prefix = len == 0 || prefix[len - 1] == '/' ? pstrdup(prefix) : psprintf("%s/", prefix);
}

static void
append_encoded(StringInfo out, const char *text, bool slashes)
{
	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
	{
		if ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			strchr("-._~", *p) != NULL || (slashes && *p == '/'))
			appendStringInfoChar(out, *p);
		else
			appendStringInfo(out, "%%%02X", *p);
	}
}

/* Of an object that was listed: s3://bucket/key. */
HttpRequest *
file_bucket_request(const FileReader *reader, const char *name, const char *condition, MemoryContext context)
{
	StringInfoData path;

	initStringInfo(&path);
	append_encoded(&path, name + strlen("s3:/"), true);
	return signed_request(reader, path.data, "", condition, context);
}

static HttpRequest *
list_request(const FileReader *reader, const char *what, const char *token, MemoryContext context)
{
	return signed_request(reader, psprintf("/%s", reader->table->bucket), list_query(reader->table, token), NULL, context);
}

/* The beginning of the pattern that is none; the parameters in the order of their names. */
static char *
list_query(const FileTable *table, const char *token)
{
	size_t		literal = strcspn(table->files, "*?[\\");
	StringInfoData query;

	initStringInfo(&query);
	if (token != NULL)
	{
		appendStringInfoString(&query, "continuation-token=");
		append_encoded(&query, token, false);
		appendStringInfoChar(&query, '&');
	}
	appendStringInfoString(&query, "encoding-type=url&list-type=2&prefix=");
	append_encoded(&query, psprintf("%s%.*s", table->prefix, (int) literal, table->files), false);
	return query.data;
}

/* path and query are encoded. */
static HttpRequest *
signed_request(const FileReader *reader, const char *path, const char *query, const char *condition, MemoryContext context)
{
	const char *endpoint = reader->table->endpoint;
	size_t		len = strlen(endpoint);
	HttpRequest *request;

	while (len > 0 && endpoint[len - 1] == '/')
		len--;
	endpoint = pnstrdup(endpoint, len);
	request = file_request(reader, psprintf("%s%s%s%s", endpoint, path, *query ? "?" : "", query), condition, context);
	if (reader->auth->access_key != NULL)
	{
		SignAws		aws = {reader->auth->access_key, reader->auth->secret_key, reader->auth->session_token,
		reader->table->region, "s3"};

		sign_aws(request, &aws, (int64) time(NULL));
	}
	return request;
}

List *
file_bucket_list(const FileReader *reader)
{
	List	   *entries = NIL;
	char	   *what = psprintf("s3://%s/%s%s", reader->table->bucket, reader->table->prefix, reader->table->files);
	char	   *token = NULL;
	char	   *before;

	do
	{
		HttpRequest *request = file_perform(reader, list_request, what, token, false, CurrentMemoryContext);
		const char *more;

		if (strstr(request->answer, "<ListBucketResult") == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
					 errmsg("could not read file \"%s\": the answer is no list of objects", what),
					 errhint("Check that \"endpoint\" names an object store that speaks S3.")));
		entries = read_page(reader->table, request->answer, entries);
		before = token;
		token = NULL;
		if ((more = strstr(request->answer, "<NextContinuationToken>")) != NULL)
		{
			more += strlen("<NextContinuationToken>");
			token = pnstrdup(more, strcspn(more, "<"));
			/* else there would be no end of it */
			if (before != NULL && strcmp(before, token) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
						 errmsg("could not read file \"%s\": the list of objects goes on where it began", what)));
		}
		http_request_free(request);
	} while (token != NULL);
	return entries;
}

/* The text of an element in [from, to), with what XML escapes of ETags taken back; NULL: there is none. */
static char *
element(const char *from, const char *to, const char *name)
{
	char	   *open = psprintf("<%s>", name);
	const char *start = strstr(from, open);
	char	   *text;
	char	   *quote;

	if (start == NULL || start >= to)
		return NULL;
	start += strlen(open);
	text = pnstrdup(start, strcspn(start, "<"));
	/* of a quotation mark both forms are in use */
	while ((quote = strstr(text, "&quot;")) != NULL || (quote = strstr(text, "&#34;")) != NULL)
	{
		size_t		len = strcspn(quote, ";") + 1;

		*quote = '"';
		memmove(quote + 1, quote + len, strlen(quote + len) + 1);
	}
	return text;
}

char *
file_decode(const char *text, size_t len)
{
	char	   *result = palloc(len + 1);
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		int			byte;

		if (text[i] == '%' && i + 2 < len && isxdigit((unsigned char) text[i + 1]) && isxdigit((unsigned char) text[i + 2]) &&
			sscanf(text + i + 1, "%2x", (unsigned int *) &byte) == 1 && byte != 0)
		{
			result[n++] = (char) byte;
			i += 2;
		}
		else
			result[n++] = text[i] == '+' ? ' ' : text[i];
	}
	result[n] = '\0';
	return result;
}

static List *
read_page(const FileTable *table, const char *xml, List *entries)
{
	const char *from = xml;

	while ((from = strstr(from, "<Contents>")) != NULL)
	{
		const char *to = strstr(from, "</Contents>");
		char	   *key;
		char	   *size;
		char	   *modified;

		if (to == NULL)
			break;
		key = element(from, to, "Key");
		size = element(from, to, "Size");
		modified = element(from, to, "LastModified");
		if (key != NULL)
		{
			key = file_decode(key, strlen(key));
			if (strncmp(key, table->prefix, strlen(table->prefix)) == 0 &&
				file_name_matches(table, key + strlen(table->prefix)))
				entries = lappend(entries, file_entry(psprintf("s3://%s/%s", table->bucket, key),
													  size ? strtoll(size, NULL, 10) : -1, element(from, to, "ETag"),
													  modified ? DatumGetTimestampTz(DirectFunctionCall3(
																	   timestamptz_in, CStringGetDatum(modified),
																	   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))) : 0));
		}
		from = to;
	}
	return entries;
}
