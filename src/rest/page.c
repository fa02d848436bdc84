/*
 * page.c
 *	  Page after page of an API's answer, record after record.
 *
 * A page is parsed when the one before it is used up and somebody asks for
 * more.  Where the next page is:
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
 * The second page that is needed tells that more will be: from then on pages
 * are asked for ahead of their need, the more the more were read.  Of "page"
 * and "offset" the places are guessed, by what the last page held; of the
 * other styles only the next one is known, as soon as a page was parsed.
 *
 * Every page that was read is remembered by a hash; asking for one again
 * means that the API leads us in a circle, which is an error and not an end.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "core/errors.h"
#include "rest/link.h"
#include "rest/rest.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* What pages that are under way, if each is as long as the last, may take at most. */
#define AHEAD_BYTES		(64 * 1024 * 1024)

/* Where pages are of so many lengths that this often was asked for what is none, offsets are not guessed any more. */
#define WRONG_GUESSES	2

/* After so many rows, what is under way has a turn. */
#define AHEAD_ROWS		64

struct RestPager
{
	const RestSource *source;
	MemoryContext context;		/* as long as the pager */
	MemoryContext fetched;		/* the page under way; reset by the next */
	HTAB	   *seen;			/* uint64: hashes of places and, for numbers, of pages */
	char	   *url;			/* of the next page, without secrets; NULL: no more */
	char	   *shown;			/* the same for messages */
	int64		position;		/* number or offset of that page */
	int64		read;			/* pages since the beginning */
	RestPage   *page;
	bool		open;			/* a page is under way */
	HttpRequest *request;		/* that it came by */
	RestAhead  *ahead;
	int			window;			/* pages that are asked for at once */
	int64		step;			/* records on the last page ... */
	int64		full;			/* ... and on the fullest so far */
	bool		uneven;			/* more followed a page that was not full */
	int64		rows;
};

static void pager_fetch(RestPager *pager);
static void pager_ask_ahead(RestPager *pager);
static void pager_ask_next(RestPager *pager);
static char *pager_next_place(RestPager *pager, bool *foreign);
static void pager_advance(RestPager *pager);
static void pager_go(RestPager *pager, const char *url, bool foreign);
static uint64 pager_hash(const void *what, int length);
static void pager_remember(RestPager *pager, const void *what, int length);
static char *pager_next_link(RestPager *pager);
static char *pager_built_url(const RestSource *source, const char *value);

RestPager *
rest_pager_create(RestSource *source, SeekSet *records, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	RestPager  *pager = palloc0(sizeof(RestPager));

	pager->source = source;
	pager->context = context;
	pager->fetched = AllocSetContextCreate(context, "activate page", ALLOCSET_DEFAULT_SIZES);
	pager->page = rest_page_create(source, records, context);
	pager->ahead = rest_ahead_create(source, context);
	source->effort = palloc0(sizeof(RestEffort));
	rest_pager_rewind(pager);
	MemoryContextSwitchTo(old);
	return pager;
}

void
rest_pager_rewind(RestPager *pager)
{
	HASHCTL		control = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(uint64),
		.hcxt = pager->context
	};
	MemoryContext old;

	rest_pager_close(pager);
	if (pager->seen != NULL)
		hash_destroy(pager->seen);
	MemoryContextReset(pager->fetched);
	old = MemoryContextSwitchTo(pager->fetched);
	pager->seen = hash_create("activate pages seen", 64, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	pager->position = pager->source->connector->read.first;
	pager->read = pager->step = pager->full = 0;
	pager->uneven = false;
	pager->window = 1;
	if (pager->url != NULL)
		pfree(pager->url);
	pager->url = NULL;
	pager_go(pager, rest_pager_first_url(pager->source), false);
	MemoryContextSwitchTo(old);
}

void
rest_pager_close(RestPager *pager)
{
	rest_ahead_drop(pager->ahead);
	pager->open = false;
}

const SeekValue *
rest_pager_next(RestPager *pager)
{
	for (;;)
	{
		if (pager->open)
		{
			const SeekValue *record = rest_page_record(pager->page);

			if (record != NULL)
			{
				if (++pager->rows % AHEAD_ROWS == 0)
					rest_ahead_turn(pager->ahead);
				return record;
			}
			pager->open = false;
			pager_advance(pager);
		}
		if (pager->url == NULL)
			return NULL;
		pager_fetch(pager);
	}
}

static bool
pager_is_numbered(const RestPager *pager)
{
	PageStyle	style = pager->source->connector->read.style;

	return style == PAGE_NUMBER || style == PAGE_OFFSET;
}

static int
pager_most(const Connector *connector)
{
	return connector->concurrent > 0 ? Min(connector->read.in_flight, connector->concurrent) : connector->read.in_flight;
}

/* How many pages to ask for at once, now that another one is needed; bytes: of the last. */
static void
pager_widen(RestPager *pager, size_t bytes)
{
	int64		room = AHEAD_BYTES / Max(bytes, 1);

	pager->window = (int) Min(Min(2 * pager->window, pager_most(pager->source->connector)), Max(room, 1));

	/* behind a page that was not full there is most likely an empty one, unless this API has such pages */
	if (pager->step < pager->full && !pager->uneven)
		pager->window = 1;
}

static void
pager_fetch(RestPager *pager)
{
	const RestSource *source = pager->source;
	MemoryContext old;
	RestCall   *call;
	const char *text;
	size_t		length;

	if (pager->read > 0)
		pager_widen(pager, pager->request->answer_len);
	MemoryContextReset(pager->fetched);
	old = MemoryContextSwitchTo(pager->fetched);
	pager_remember(pager, pager->url, (int) strlen(pager->url));
	call = rest_ahead_take(pager->ahead, pager->url, pager->shown, pager->position);
	rest_call_begin(source, call, pager->context);
	pager_ask_ahead(pager);
	pager->request = rest_call_finish(source, call, pager->context);
	if (call->tries > 0)
		pager->window = 1;
	text = rest_answer_text(source, pager->request, pager->shown, &length);
	pager->read++;
	source->effort->pages++;
	source->effort->bytes += call->unchanged ? 0 : pager->request->answer_len;
	source->effort->unchanged += call->unchanged;
	if (text != NULL)
	{
		rest_page_read(pager->page, text, length, pager->shown);
		if (!call->unchanged)
			rest_kept_put(source, pager->url, pager->request);
		pager->open = true;
		pager_ask_next(pager);
	}
	else
	{
		pager_go(pager, NULL, false);
		rest_pager_close(pager);
	}
	MemoryContextSwitchTo(old);
}

/* Those that are likely to follow a page that is needed now: of numbered ones only. */
static void
pager_ask_ahead(RestPager *pager)
{
	const Connector *connector = pager->source->connector;
	int64		step = connector->read.style == PAGE_NUMBER ? 1 : pager->step;
	int64		position = rest_ahead_count(pager->ahead) > 0 ? rest_ahead_last(pager->ahead) : pager->position;

	if (!pager_is_numbered(pager) || pager->window == 1 || step == 0 || rest_ahead_wrong(pager->ahead) >= WRONG_GUESSES)
		return;
	while (rest_ahead_count(pager->ahead) < pager->window - 1)
	{
		char	   *url;

		position += step;
		url = pager_built_url(pager->source, psprintf(INT64_FORMAT, position));
		rest_ahead_add(pager->ahead, url, rest_clip(url, 200), position);
	}
	rest_ahead_send(pager->ahead);
}

/* The one that a page points to, while its rows are read; what is wrong with it is told when it is its turn. */
static void
pager_ask_next(RestPager *pager)
{
	const Connector *connector = pager->source->connector;
	bool		foreign;
	char	   *next;
	uint64		hash;

	if (pager_is_numbered(pager) || pager->read < 2 || pager_most(connector) == 1)
		return;
	next = pager_next_place(pager, &foreign);
	if (next != NULL && foreign)
		next = rest_url_resolve(pager->url, next);
	if (next == NULL || !rest_url_same_origin(next, connector->base_url))
		return;
	hash = pager_hash(next, (int) strlen(next));
	if (hash_search(pager->seen, &hash, HASH_FIND, NULL) != NULL)
		return;
	rest_ahead_add(pager->ahead, next, rest_url_shown(pager->source->auth, next), 0);
	rest_ahead_send(pager->ahead);
}

/* Where the answer says that the next page is; foreign: by an URL, else by a cursor.  NULL: nowhere. */
static char *
pager_next_place(RestPager *pager, bool *foreign)
{
	const Connector *connector = pager->source->connector;
	char	   *next = NULL;

	*foreign = false;
	switch (connector->read.style)
	{
		case PAGE_NONE:
		case PAGE_NUMBER:
		case PAGE_OFFSET:
			break;
		case PAGE_CURSOR:
			next = rest_page_next(pager->page);
			if (next != NULL)
				next = pager_built_url(pager->source, next);
			break;
		case PAGE_NEXT_URL:
			next = rest_page_next(pager->page);
			*foreign = true;
			break;
		case PAGE_LINK:
			next = pager_next_link(pager);
			*foreign = true;
			break;
	}
	return next;
}

/* The page is used up: where is the next? */
static void
pager_advance(RestPager *pager)
{
	const Connector *connector = pager->source->connector;
	const ConnectorRead *read = &connector->read;
	const SeekValue *list = rest_page_list(pager->page);
	int64		count = rest_page_count(pager->page);
	MemoryContext old = MemoryContextSwitchTo(pager->fetched);
	char	   *next = NULL;
	bool		foreign = false;

	if (!pager_is_numbered(pager))
		next = pager_next_place(pager, &foreign);
	else if (count > 0 && (read->next == NULL || rest_page_next(pager->page) != NULL))
	{
		/* A server that ignores the parameter sends the same records for ever. */
		pager_remember(pager, list->at, (int) list->len);
		pager->position += read->style == PAGE_NUMBER ? 1 : count;
		next = pager_built_url(pager->source, psprintf(INT64_FORMAT, pager->position));
	}
	pager->uneven |= pager->step < pager->full && count > 0;
	pager->step = count;
	pager->full = Max(pager->full, count);
	pager_go(pager, next, foreign);
	if (next == NULL)
		rest_pager_close(pager);
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

static uint64
pager_hash(const void *what, int length)
{
	return hash_bytes_extended(what, length, 0);
}

/* Once more what we have had: the API leads us in a circle. */
static void
pager_remember(RestPager *pager, const void *what, int length)
{
	uint64		hash = pager_hash(what, length);
	bool		found;

	hash_search(pager->seen, &hash, HASH_ENTER, &found);
	if (found)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the API repeats a page",
						pager->source->table),
				 errdetail("After " INT64_FORMAT " pages, %s came again.", pager->read, pager->shown),
				 errhint("Check \"style\", \"param\" and \"next\" of \"read.page\".")));
}

/* The target of rel="next" in the Link headers, or NULL. */
static char *
pager_next_link(RestPager *pager)
{
	size_t		length;
	const char *target = pager->request->headers ? rest_link_next(pager->request->headers, &length) : NULL;

	return target ? pnstrdup(target, length) : NULL;
}

/* Of a query, what a scan asks for stands instead of what is fixed. */
static bool
pager_asks(const RestAsk *ask, const char *name)
{
	for (int i = 0; ask != NULL && i < ask->n; i++)
		if (strcmp(ask->names[i], name) == 0)
			return true;
	return false;
}

static void
pager_append_ask(StringInfo url, const RestAsk *ask)
{
	for (int i = 0; ask != NULL && i < ask->n; i++)
	{
		template_append_query(url, ask->names[i], ask->values[i] ? ask->values[i] : "");
		if (ask->values[i] == NULL)
			appendStringInfo(url, "{%s}", ask->labels[i]);
	}
}

/* base_url, path, query, page size and, if there is one, the place. */
static char *
pager_built_url(const RestSource *source, const char *value)
{
	const ConnectorRead *read = &source->connector->read;
	const RestAsk *ask = source->ask;
	int			size = ask != NULL && ask->size > 0 ? ask->size : read->size;
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfoString(&url, connector_url(source->connector, ask != NULL ? ask->path : read->path));
	for (int i = 0; i < read->nquery; i++)
		if (!pager_asks(ask, read->query_names[i]))
			template_append_query(&url, read->query_names[i], read->query_values[i]);
	pager_append_ask(&url, ask);
	if (read->size_param != NULL && size > 0)
		template_append_query(&url, read->size_param, psprintf("%d", size));
	if (value != NULL)
		template_append_query(&url, read->param, value);
	return url.data;
}

char *
rest_pager_first_url(const RestSource *source)
{
	const ConnectorRead *read = &source->connector->read;

	switch (read->style)
	{
		case PAGE_NUMBER:
		case PAGE_OFFSET:
			return pager_built_url(source, psprintf("%d", read->first));
		default:
			return pager_built_url(source, NULL);
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
			return psprintf("page, \"%s\" from %d%s, %d at once", read->param, read->first, size, pager_most(connector));
		case PAGE_OFFSET:
			return psprintf("offset, \"%s\" from %d%s, %d at once", read->param, read->first, size, pager_most(connector));
		case PAGE_NEXT_URL:
			return psprintf("next_url from \"%s\"%s", read->next, size);
		case PAGE_LINK:
			return psprintf("link%s", size);
	}
	return "";
}
