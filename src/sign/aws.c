/*
 * aws.c
 *	  AWS Signature Version 4: every API of AWS, and object stores that speak S3.
 *
 * Signed are method, path, query, body and of the headers host, Content-Type and
 * x-amz-*.  S3 takes a path as it is in the URL; all others encode it once more
 * after taking "." and ".." out of it, and so must we.
 */
#include "postgres.h"

#include <time.h>

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "nodes/pg_list.h"
#include "sign/sign.h"
#include "utils/memutils.h"

/* A header as it is signed. */
typedef struct AwsHeader
{
	char	   *name;			/* in lower case */
	char	   *value;			/* white space is single spaces */
} AwsHeader;

typedef struct AwsHeaders
{
	int			n;
	AwsHeader  *headers;
	int			size;
} AwsHeaders;

static void
append_encoded(StringInfo out, const char *text, size_t len, const char *also)
{
	for (const unsigned char *p = (const unsigned char *) text; len-- > 0; p++)
	{
		if ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') ||
			strchr("-._~", *p) != NULL || (*also && *p == *also))
			appendStringInfoChar(out, *p);
		else
			appendStringInfo(out, "%%%02X", *p);
	}
}

/* As the request has it: a port that goes without saying is left out. */
static char *
host_of(const char *url)
{
	const char *host = strstr(url, "://") + 3;
	char	   *text = pnstrdup(host, strcspn(host, "/?#"));
	const char *usual = pg_strncasecmp(url, "https:", 6) == 0 ? ":443" : ":80";
	size_t		len = strlen(text);

	if (len > strlen(usual) && strcmp(text + len - strlen(usual), usual) == 0)
		text[len - strlen(usual)] = '\0';
	return text;
}

/* Empty steps and "." go, ".." takes the step before it along; a "/" at the end stays. */
static char *
normal_path(const char *path)
{
	StringInfoData out;
	const char *p = path;

	initStringInfo(&out);
	while (*p)
	{
		size_t		len;

		p += strspn(p, "/");
		len = strcspn(p, "/");
		if (len == 2 && strncmp(p, "..", 2) == 0)
		{
			while (out.len > 0 && out.data[out.len - 1] != '/')
				out.len--;
			if (out.len > 0)
				out.len--;
			out.data[out.len] = '\0';
		}
		else if (len > 0 && !(len == 1 && *p == '.'))
		{
			appendStringInfoChar(&out, '/');
			appendBinaryStringInfo(&out, p, len);
		}
		p += len;
		if (*p == '/' && p[strspn(p, "/")] == '\0')
		{
			appendStringInfoChar(&out, '/');
			break;
		}
	}
	if (out.len == 0)
		appendStringInfoChar(&out, '/');
	return out.data;
}

static void
append_path(StringInfo out, const char *url, bool as_it_is)
{
	const char *path = strstr(url, "://") + 3;
	char	   *text;

	path += strcspn(path, "/?#");
	text = pnstrdup(path, strcspn(path, "?#"));
	if (as_it_is)
		appendStringInfoString(out, *text ? text : "/");
	else
	{
		text = normal_path(text);
		append_encoded(out, text, strlen(text), "/");
	}
}

/* A part of a query in the one way in which it is signed, however the URL writes it. */
static void
append_query_part(StringInfo out, const char *text, size_t len)
{
	StringInfoData plain;

	initStringInfo(&plain);
	for (size_t i = 0; i < len; i++)
	{
		uint8		byte;

		if (text[i] == '%' && i + 2 < len && sign_decode(CODE_HEX, text + i + 1, 2, &byte, 1) == 1)
		{
			appendStringInfoChar(&plain, (char) byte);
			i += 2;
		}
		else
			appendStringInfoChar(&plain, text[i]);
	}
	append_encoded(out, plain.data, plain.len, "");
}

/* By name, then by value. */
static int
compare_parameters(const ListCell *a, const ListCell *b)
{
	const char *one = lfirst(a);
	const char *other = lfirst(b);
	size_t		one_len = strcspn(one, "=");
	size_t		other_len = strcspn(other, "=");
	int			order = memcmp(one, other, Min(one_len, other_len));

	if (order != 0)
		return order;
	return one_len != other_len ? (one_len < other_len ? -1 : 1) : strcmp(one, other);
}

static void
append_query(StringInfo out, const char *url)
{
	const char *query = strchr(url, '?');
	List	   *parameters = NIL;
	ListCell   *lc;

	while (query != NULL && query[0] != '\0' && query[0] != '#')
	{
		size_t		len = strcspn(++query, "&#");
		size_t		name = Min(strcspn(query, "="), len);
		StringInfoData one;

		if (len > 0)
		{
			initStringInfo(&one);
			append_query_part(&one, query, name);
			appendStringInfoChar(&one, '=');
			if (name < len)
				append_query_part(&one, query + name + 1, len - name - 1);
			parameters = lappend(parameters, one.data);
		}
		query += len;
	}
	list_sort(parameters, compare_parameters);
	foreach(lc, parameters)
		appendStringInfo(out, "%s%s", foreach_current_index(lc) > 0 ? "&" : "", (char *) lfirst(lc));
}

static void
add_header(AwsHeaders *all, const char *name, size_t name_len, const char *value)
{
	StringInfoData text;
	AwsHeader  *header;

	if (all->n == all->size)
	{
		all->size = Max(all->size * 2, 8);
		all->headers = all->headers ? repalloc(all->headers, sizeof(AwsHeader) * all->size)
			: palloc(sizeof(AwsHeader) * all->size);
	}
	header = &all->headers[all->n++];
	header->name = pnstrdup(name, name_len);
	for (char *p = header->name; *p; p++)
		*p = pg_tolower((unsigned char) *p);
	initStringInfo(&text);
	while (*(value += strspn(value, " \t")))
	{
		size_t		len = strcspn(value, " \t");

		appendStringInfo(&text, "%s%.*s", text.len > 0 ? " " : "", (int) len, value);
		value += len;
	}
	header->value = text.data;
}

static int
compare_headers(const void *a, const void *b)
{
	return strcmp(((const AwsHeader *) a)->name, ((const AwsHeader *) b)->name);
}

static AwsHeaders
headers_of(const HttpRequest *request)
{
	AwsHeaders	all = {0};
	const char *line;

	add_header(&all, "host", strlen("host"), host_of(request->url));
	for (int i = 0; (line = http_request_header_at(request, i)) != NULL; i++)
	{
		size_t		len = strcspn(line, ":;");

		if (line[len] != ':' ||
			(pg_strncasecmp(line, "x-amz-", 6) != 0 && !(len == 12 && pg_strncasecmp(line, "Content-Type", 12) == 0)))
			continue;
		add_header(&all, line, len, line + len + 1);
	}
	qsort(all.headers, all.n, sizeof(AwsHeader), compare_headers);
	return all;
}

/* Canonical request; signed: the names of the headers in it. */
static char *
canonical(const HttpRequest *request, bool s3, const char *payload, char **signed_headers)
{
	AwsHeaders	all = headers_of(request);
	StringInfoData out;
	StringInfoData names;

	initStringInfo(&out);
	initStringInfo(&names);
	appendStringInfo(&out, "%s\n", request->method);
	append_path(&out, request->url, s3);
	appendStringInfoChar(&out, '\n');
	append_query(&out, request->url);
	appendStringInfoChar(&out, '\n');
	for (int i = 0; i < all.n; i++)
	{
		/* of a header that is there more than once the values are joined */
		if (i > 0 && strcmp(all.headers[i].name, all.headers[i - 1].name) == 0)
		{
			out.len--;
			appendStringInfo(&out, ",%s\n", all.headers[i].value);
			continue;
		}
		appendStringInfo(&out, "%s:%s\n", all.headers[i].name, all.headers[i].value);
		appendStringInfo(&names, "%s%s", i > 0 ? ";" : "", all.headers[i].name);
	}
	appendStringInfo(&out, "\n%s\n%s", names.data, payload);
	*signed_headers = names.data;
	return out.data;
}

static void
chain(uint8 *key, const char *text)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	sign_hmac(PG_SHA256, key, PG_SHA256_DIGEST_LENGTH, text, strlen(text), digest);
	memcpy(key, digest, sizeof(digest));
}

void
sign_aws(HttpRequest *request, const SignAws *aws, int64 at)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate signature", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	bool		s3 = strcmp(aws->service, "s3") == 0;
	time_t		seconds = (time_t) at;
	struct tm	utc;
	char		stamp[32];
	char		day[16];
	uint8		key[PG_SHA256_DIGEST_LENGTH];
	char	   *payload = sign_sha256_hex(request->body ? request->body : "", request->body ? request->body_len : 0);
	char	   *secret = psprintf("AWS4%s", aws->secret_key);
	char	   *scope;
	char	   *names;
	char	   *text;

	gmtime_r(&seconds, &utc);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
	strftime(day, sizeof(day), "%Y%m%d", &utc);
	scope = psprintf("%s/%s/%s/aws4_request", day, aws->region, aws->service);
	if (s3)
		http_request_header(request, "x-amz-content-sha256", payload);
	http_request_header(request, "x-amz-date", stamp);
	if (aws->session_token)
		http_request_header(request, "x-amz-security-token", aws->session_token);
	text = canonical(request, s3, payload, &names);
	text = psprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, sign_sha256_hex(text, strlen(text)));

	sign_hmac(PG_SHA256, secret, strlen(secret), day, strlen(day), key);
	chain(key, aws->region);
	chain(key, aws->service);
	chain(key, "aws4_request");
	chain(key, text);
	http_request_header(request, "Authorization",
						psprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
								 aws->access_key, scope, names, sign_encode(CODE_HEX, key, sizeof(key))));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}
