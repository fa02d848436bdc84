/*
 * url.c
 *	  URLs that an API hands us: next pages and Link headers.
 *
 * They are resolved against the page they came with and must stay on the
 * origin of base_url, because the secret goes with every request.  libcurl's
 * own parser reads them, so that we and the transfer never disagree about
 * where a URL leads.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "core/mem.h"
#include "rest/rest.h"
#include "utils/memutils.h"

static CURLU *rest_url_parse(const char *url, MemoryContext context);
static char *rest_url_part(CURLU *handle, CURLUPart part, unsigned int flags);

static void
rest_url_release(void *handle)
{
	curl_url_cleanup(handle);
}

/* NULL if it is no URL.  The handle lives as long as context. */
static CURLU *
rest_url_parse(const char *url, MemoryContext context)
{
	CURLU	   *handle = curl_url();

	if (handle == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	mem_adopt(context, handle, rest_url_release);
	if (curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		return NULL;
	return handle;
}

/* palloc'd in the current context; "" if the URL has no such part. */
static char *
rest_url_part(CURLU *handle, CURLUPart part, unsigned int flags)
{
	char	   *value;
	char	   *copy;

	if (curl_url_get(handle, part, &value, flags) != CURLUE_OK)
		return pstrdup("");
	copy = MemoryContextAllocExtended(CurrentMemoryContext, strlen(value) + 1,
									  MCXT_ALLOC_NO_OOM);
	if (copy != NULL)
		strcpy(copy, value);
	curl_free(value);
	if (copy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return copy;
}

char *
rest_url_resolve(const char *base, const char *reference)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate url",
												  ALLOCSET_SMALL_SIZES);
	CURLU	   *handle = rest_url_parse(base, scratch);
	char	   *result = NULL;

	/* Setting a relative URL over an absolute one resolves it (RFC 3986). */
	if (handle != NULL &&
		curl_url_set(handle, CURLUPART_URL, reference, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
		result = rest_url_part(handle, CURLUPART_URL, 0);
	MemoryContextDelete(scratch);
	return result;
}

/* Scheme, host and port, in one text that can be compared; NULL: no URL. */
static char *
rest_url_origin(CURLU *handle)
{
	if (rest_url_part(handle, CURLUPART_USER, 0)[0] != '\0' || rest_url_part(handle, CURLUPART_PASSWORD, 0)[0] != '\0')
		return NULL;
	return psprintf("%s://%s:%s",
					rest_url_part(handle, CURLUPART_SCHEME, 0),
					rest_url_part(handle, CURLUPART_HOST, 0),
					rest_url_part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

bool
rest_url_same_origin(const char *one, const char *other)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate url",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	CURLU	   *a = rest_url_parse(one, scratch);
	CURLU	   *b = rest_url_parse(other, scratch);
	char	   *origin_a = a ? rest_url_origin(a) : NULL;
	char	   *origin_b = b ? rest_url_origin(b) : NULL;
	bool		same = origin_a != NULL && origin_b != NULL &&
		pg_strcasecmp(origin_a, origin_b) == 0;

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return same;
}

/* For messages: what a server wrote into a query may well be a token. */
char *
rest_url_shown(const ConnectorAuth *auth, const char *url)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "activate url",
												  ALLOCSET_SMALL_SIZES);
	CURLU	   *handle = rest_url_parse(url, scratch);
	char	   *result = pstrdup("(malformed URL)");

	if (handle != NULL)
	{
		bool		query = rest_url_part(handle, CURLUPART_QUERY, 0)[0] != '\0';
		char	   *bare;

		curl_url_set(handle, CURLUPART_QUERY, NULL, 0);
		curl_url_set(handle, CURLUPART_FRAGMENT, NULL, 0);
		curl_url_set(handle, CURLUPART_USER, NULL, 0);
		curl_url_set(handle, CURLUPART_PASSWORD, NULL, 0);
		/* in this order: a part of a secret is not found any more */
		bare = rest_clip(connector_redact(auth, rest_url_part(handle, CURLUPART_URL, 0)), 200);
		result = query ? psprintf("%s?...", bare) : bare;
	}
	MemoryContextDelete(scratch);
	return result;
}
