/*
 * page.c
 *	  Page after page of an API's answer, record after record.
 *
 * A page is fetched when the one before it is used up and somebody asks for
 * more, so a LIMIT ends the reading.  Where the next page is:
 *
 *		none		there is none
 *		page		the next number, until a page holds no record
 *		offset		so many records further, until a page holds no record
 *		cursor		read.page.next in the answer, until it is null or missing
 *		next_url	the same, but a URL (possibly relative)
 *		link		rel="next" in the Link header, until there is none
 *
 * A short page does not end anything: servers lower a page size that they
 * find too large, and "page" and "offset" would stop in the middle of the
 * data.  Where read.page.next is given for these two styles it is a flag that
 * says whether more follows.
 *
 * Every page that was asked for is remembered by a hash; asking for one again
 * means that the API leads us in a circle, which is an error and not an end.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "core/errors.h"
#include "rest/link.h"
#include "rest/rest.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

struct RestPager
{
	const RestSource *source;
	MemoryContext context;		/* as long as the pager */
	MemoryContext fetched;		/* the page under way; reset by the next */
	HTAB	   *seen;			/* uint64: hashes of places and, for numbers, of pages */
	char	   *url;			/* of the next page, without secrets; NULL: no more */
	char	   *shown;			/* the same for messages */
	int64		position;		/* number or offset of that page */
	int64		pages;			/* read so far */
	JsonbIterator *records;		/* NULL: no page under way */
	int64		count;			/* records of the page handed out so far */
	JsonbContainer *list;		/* all of them */
	int			list_len;
	Jsonb	   *document;
	HttpRequest *request;
};

static void pager_fetch(RestPager *pager);
static void pager_open(RestPager *pager);
static void pager_advance(RestPager *pager);
static void pager_go(RestPager *pager, const char *url, bool foreign);
static void pager_remember(RestPager *pager, const void *what, int length);
static char *pager_next_text(RestPager *pager);
static char *pager_next_link(RestPager *pager);
static char *pager_built_url(const Connector *connector, const char *value);

RestPager *
rest_pager_create(const RestSource *source, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	RestPager  *pager = palloc0(sizeof(RestPager));

	pager->source = source;
	pager->context = context;
	pager->fetched = AllocSetContextCreate(context, "activate page", ALLOCSET_DEFAULT_SIZES);
	rest_pager_rewind(pager);
	MemoryContextSwitchTo(old);
	return pager;
}

void
rest_pager_rewind(RestPager *pager)
{
	const Connector *connector = pager->source->connector;
	HASHCTL		control = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(uint64),
		.hcxt = pager->context
	};
	MemoryContext old;

	if (pager->seen != NULL)
		hash_destroy(pager->seen);
	MemoryContextReset(pager->fetched);
	old = MemoryContextSwitchTo(pager->fetched);
	pager->seen = hash_create("activate pages seen", 64, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	pager->records = NULL;
	pager->position = connector->read.first;
	if (pager->url != NULL)
		pfree(pager->url);
	pager->url = NULL;
	pager_go(pager, rest_pager_first_url(connector), false);
	MemoryContextSwitchTo(old);
}

int64
rest_pager_pages(const RestPager *pager)
{
	return pager->pages;
}

bool
rest_pager_next(RestPager *pager, JsonbValue *record)
{
	for (;;)
	{
		if (pager->records != NULL)
		{
			JsonbIteratorToken token = JsonbIteratorNext(&pager->records, record, true);

			if (token == WJB_ELEM)
			{
				pager->count++;
				return true;
			}
			pager->records = NULL;
			pager_advance(pager);
		}
		if (pager->url == NULL)
			return false;
		pager_fetch(pager);
	}
}

static void
pager_fetch(RestPager *pager)
{
	MemoryContext old;

	MemoryContextReset(pager->fetched);
	old = MemoryContextSwitchTo(pager->fetched);
	pager_remember(pager, pager->url, (int) strlen(pager->url));
	pager->request = rest_fetch(pager->source, pager->url, pager->shown, pager->fetched);
	pager->document = rest_fetch_document(pager->source, pager->request, pager->shown);
	pager->pages++;
	pager->count = 0;
	if (pager->document != NULL)
		pager_open(pager);
	else
		pager_go(pager, NULL, false);
	MemoryContextSwitchTo(old);
}

/*
 * Finds the list of records in the document.  A null list is an empty one
 * (Go encodes empty slices so); a missing one is an error.
 */
static void
pager_open(RestPager *pager)
{
	const ConnectorRead *read = &pager->source->connector->read;
	JsonbValue	buffer;
	JsonbValue *list = connector_records(read, pager->document, &buffer);
	JsonbIteratorToken token;

	if (list != NULL && list->type == jbvNull)
	{
		pager_advance(pager);
		return;
	}
	if (list == NULL || list->type != jbvBinary || !JsonContainerIsArray(list->val.binary.data) ||
		JsonContainerIsScalar(list->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 read->records == NULL ?
				 errmsg("could not read foreign table \"%s\": the answer holds no array of records",
						pager->source->table) :
				 errmsg("could not read foreign table \"%s\": the answer has no array at \"%s\"",
						pager->source->table, read->records),
				 errdetail("The page was %s.", pager->shown),
				 errhint("Set \"read.records\" of the object to the path of the array of records; \"\" is the whole answer.")));

	pager->list = list->val.binary.data;
	pager->list_len = list->val.binary.len;
	pager->records = JsonbIteratorInit(pager->list);
	token = JsonbIteratorNext(&pager->records, &buffer, false);
	Assert(token == WJB_BEGIN_ARRAY);
	(void) token;
}

/* The page is used up: where is the next? */
static void
pager_advance(RestPager *pager)
{
	const Connector *connector = pager->source->connector;
	const ConnectorRead *read = &connector->read;
	MemoryContext old = MemoryContextSwitchTo(pager->fetched);
	char	   *next = NULL;
	bool		foreign = false;

	switch (read->style)
	{
		case PAGE_NONE:
			break;
		case PAGE_NUMBER:
		case PAGE_OFFSET:
			if (pager->count == 0 || (read->next != NULL && pager_next_text(pager) == NULL))
				break;

			/* A server that ignores the parameter sends the same records for ever. */
			pager_remember(pager, pager->list, pager->list_len);
			pager->position += read->style == PAGE_NUMBER ? 1 : pager->count;
			next = pager_built_url(connector, psprintf(INT64_FORMAT, pager->position));
			break;
		case PAGE_CURSOR:
			next = pager_next_text(pager);
			if (next != NULL)
				next = pager_built_url(connector, next);
			break;
		case PAGE_NEXT_URL:
			next = pager_next_text(pager);
			foreign = true;
			break;
		case PAGE_LINK:
			next = pager_next_link(pager);
			foreign = true;
			break;
	}
	pager_go(pager, next, foreign);
	MemoryContextSwitchTo(old);
}

/* Sets the page to be read next.  foreign: the API wrote this URL; of a cursor it wrote the query. */
static void
pager_go(RestPager *pager, const char *url, bool foreign)
{
	const Connector *connector = pager->source->connector;
	char	   *here = pager->url;
	bool		theirs = foreign || (here != NULL && connector->read.style == PAGE_CURSOR);

	pager->url = NULL;
	if (url != NULL && foreign)
	{
		char	   *resolved = rest_url_resolve(here, url);

		if (resolved == NULL || !rest_url_same_origin(resolved, connector->base_url))
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
					 errmsg("could not read foreign table \"%s\": the next page is not on the origin of \"base_url\"",
							pager->source->table),
					 errdetail("Page %s points to %s.", pager->shown,
							   resolved ? rest_url_shown(pager->source->auth, resolved) : "a malformed URL"),
					 errhint("The secret of a target is sent to its own origin only.")));
		url = resolved;
	}
	if (url != NULL)
	{
		pager->url = MemoryContextStrdup(pager->context, url);
		if (pager->shown != NULL)
			pfree(pager->shown);
		pager->shown = MemoryContextStrdup(pager->context,
										   theirs ? rest_url_shown(pager->source->auth, url) : rest_clip(url, 200));
	}
	if (here != NULL)
		pfree(here);
}

/* Once more what we have had: the API leads us in a circle. */
static void
pager_remember(RestPager *pager, const void *what, int length)
{
	uint64		hash = hash_bytes_extended(what, length, 0);
	bool		found;

	hash_search(pager->seen, &hash, HASH_ENTER, &found);
	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the API repeats a page",
						pager->source->table),
				 errdetail("After " INT64_FORMAT " pages, %s came again.", pager->pages, pager->shown),
				 errhint("Check \"style\", \"param\" and \"next\" of \"read.page\".")));
}

/* What the answer has at read.page.next; NULL for null, false, "" and nothing. */
static char *
pager_next_text(RestPager *pager)
{
	JsonbValue	buffer;
	JsonbValue *value = template_path(pager->document, pager->source->connector->read.next, &buffer);
	char	   *text;

	if (value == NULL || value->type == jbvNull || (value->type == jbvBool && !value->val.boolean))
		return NULL;
	text = template_scalar_text(value);
	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* The target of rel="next" in the Link headers, or NULL. */
static char *
pager_next_link(RestPager *pager)
{
	size_t		length;
	const char *target = pager->request->headers ? rest_link_next(pager->request->headers, &length) : NULL;

	return target ? pnstrdup(target, length) : NULL;
}

/* base_url, path, fixed query, page size and, if there is one, the place. */
static char *
pager_built_url(const Connector *connector, const char *value)
{
	const ConnectorRead *read = &connector->read;
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, connector_url(connector, read->path));
	for (int i = 0; i < read->nquery; i++)
		template_append_query(&url, read->query_names[i], read->query_values[i]);
	if (read->size_param != NULL && read->size > 0)
		template_append_query(&url, read->size_param, psprintf("%d", read->size));
	if (value != NULL)
		template_append_query(&url, read->param, value);
	return url.data;
}

char *
rest_pager_first_url(const Connector *connector)
{
	const ConnectorRead *read = &connector->read;

	switch (read->style)
	{
		case PAGE_NUMBER:
		case PAGE_OFFSET:
			return pager_built_url(connector, psprintf("%d", read->first));
		default:
			return pager_built_url(connector, NULL);
	}
}

char *
rest_pager_describe(const Connector *connector)
{
	const ConnectorRead *read = &connector->read;
	char	   *size = read->size > 0 ? psprintf(", %d rows a page", read->size) : "";

	switch (read->style)
	{
		case PAGE_NONE:
			return "none";
		case PAGE_CURSOR:
			return psprintf("cursor, \"%s\" from \"%s\"%s", read->param, read->next, size);
		case PAGE_NUMBER:
			return psprintf("page, \"%s\" from %d%s", read->param, read->first, size);
		case PAGE_OFFSET:
			return psprintf("offset, \"%s\" from %d%s", read->param, read->first, size);
		case PAGE_NEXT_URL:
			return psprintf("next_url from \"%s\"%s", read->next, size);
		case PAGE_LINK:
			return psprintf("link%s", size);
	}
	return "";
}
