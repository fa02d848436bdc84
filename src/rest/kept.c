/*
 * kept.c
 *	  Pages that were read lately, for the next one who asks for them.
 *
 * An API that says which version of a page it gives (ETag, Last-Modified) is
 * asked next time whether that has changed; if not (304) the page is taken from
 * here.  So nothing is ever shown that the API has not just vouched for.
 *
 * They are in shared memory, since most readers are runners, which live for one
 * run: a ring of bytes, in which a new page overwrites the oldest ones.  A
 * position counts all bytes ever written; what is further back than the ring is
 * long is gone.  A page belongs to an account: database, server, mapping, and the
 * very credentials that it was got by.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "core/digest.h"
#include "miscadmin.h"
#include "rest/rest.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define KEPT_TRANCHE	"activate pages"
#define KEPT_SETS		512
#define KEPT_WAYS		8		/* slots that a key may have */
#define KEPT_VALIDATOR	1000	/* bytes of one, at most */
/* Of the ring, how much a single page may take. */
#define KEPT_SHARE		4

typedef struct KeptSlot
{
	uint8		key[DIGEST_LEN];
	uint64		start;			/* position */
	uint32		validator;		/* bytes of these three, which follow each other; 0: free */
	uint32		headers;
	uint32		body;
	bool		etag;
} KeptSlot;

typedef struct KeptShared
{
	LWLock	   *lock;
	uint64		size;			/* of the ring */
	uint64		head;			/* where the next page goes */
	KeptSlot	slots[KEPT_SETS][KEPT_WAYS];
	char		ring[FLEXIBLE_ARRAY_MEMBER];
} KeptShared;

static int	kept_size = 8192;	/* kB */
static KeptShared *kept = NULL;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static Size
kept_bytes(void)
{
	return offsetof(KeptShared, ring) + (Size) kept_size * 1024;
}

static void
kept_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	if (kept_size == 0)
		return;
	RequestAddinShmemSpace(kept_bytes());
	RequestNamedLWLockTranche(KEPT_TRANCHE, 1);
}

static void
kept_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	if (kept_size == 0)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	kept = ShmemInitStruct("activate pages", kept_bytes(), &found);
	if (!found)
	{
		memset(kept, 0, offsetof(KeptShared, ring));
		kept->lock = &GetNamedLWLockTranche(KEPT_TRANCHE)->lock;
		kept->size = (uint64) kept_size * 1024;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
rest_guc_init(void)
{
	/* a setting of the server's start can be made then only; without preload it means nothing */
	DefineCustomIntVariable("activate.page_cache",
							"Shared memory for pages of web APIs that tell whether they have changed.",
							"0 keeps none.",
							&kept_size,
							8192, 0, 1024 * 1024,
							process_shared_preload_libraries_in_progress ? PGC_POSTMASTER : PGC_SIGHUP,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
}

void
rest_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = kept_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = kept_startup;
}

static void
kept_add_text(const char *text)
{
	digest_add(text, strlen(text));
}

static void
kept_add_names(char **names, int n)
{
	digest_add(&n, sizeof(n));
	for (int i = 0; i < n; i++)
		kept_add_text(names[i]);
}

/*
 * All that tells an API who asks: not only what is secret of it.  Of a token
 * that is what it is got by, since another scope or subject sees other things.
 */
static void
kept_add_auth(const ConnectorAuth *auth)
{
	ListCell   *cell;

	kept_add_names(auth->header_names, auth->nheaders);
	kept_add_names(auth->query_names, auth->nquery);
	kept_add_text(auth->client_cert ? auth->client_cert : "");
	if (auth->token != NULL)
		digest_add(&auth->token->digest, sizeof(auth->token->digest));
	foreach(cell, auth->secrets)
		kept_add_text(lfirst(cell));
}

/* Whoever has another secret, or asks in another way, asks for another page. */
static void
kept_key(const RestSource *source, const char *url, uint8 *key)
{
	const Connector *connector = source->connector;
	Oid			account[3] = {MyDatabaseId, connector->server, source->auth->userid};

	digest_begin();
	digest_add(account, sizeof(account));
	kept_add_text(url);
	for (int i = 0; i < connector->nheaders; i++)
	{
		kept_add_text(connector->header_names[i]);
		kept_add_text(connector->header_values[i]);
	}
	kept_add_auth(source->auth);
	digest_end(key);
}

static uint64
kept_length(const KeptSlot *slot)
{
	return (uint64) slot->validator + slot->headers + slot->body;
}

static bool
kept_is_there(const KeptSlot *slot)
{
	return slot->validator > 0 && kept->head - slot->start <= kept->size;
}

static KeptSlot *
kept_set(const uint8 *key)
{
	uint16		set;

	memcpy(&set, key, sizeof(set));
	return kept->slots[set % KEPT_SETS];
}

static void
kept_read(uint64 position, char *to, size_t len)
{
	size_t		at = position % kept->size;
	size_t		first = Min(len, kept->size - at);

	memcpy(to, kept->ring + at, first);
	memcpy(to + first, kept->ring, len - first);
}

static void
kept_write(const char *from, size_t len)
{
	size_t		at = kept->head % kept->size;
	size_t		first = Min(len, kept->size - at);

	memcpy(kept->ring + at, from, first);
	memcpy(kept->ring, from + first, len - first);
	kept->head += len;
}

static bool
kept_applies(const RestSource *source)
{
	const ConnectorRead *read = &source->connector->read;

	return kept != NULL && read->conditional && strcmp(read->method, "GET") == 0;
}

static char *
kept_copy(uint64 *position, size_t len, MemoryContext context)
{
	char	   *copy = MemoryContextAlloc(context, len + 1);

	kept_read(*position, copy, len);
	copy[len] = '\0';
	*position += len;
	return copy;
}

RestKept *
rest_kept_find(const RestSource *source, const char *url, MemoryContext context)
{
	uint8		key[DIGEST_LEN];
	RestKept   *page = NULL;
	KeptSlot   *set;

	if (!kept_applies(source))
		return NULL;
	kept_key(source, url, key);
	set = kept_set(key);
	/* out of memory while it is held: the lock goes with the transaction */
	LWLockAcquire(kept->lock, LW_SHARED);
	for (int i = 0; i < KEPT_WAYS && page == NULL; i++)
	{
		uint64		position = set[i].start;

		if (!kept_is_there(&set[i]) || memcmp(set[i].key, key, DIGEST_LEN) != 0)
			continue;
		page = MemoryContextAllocZero(context, sizeof(RestKept));
		page->etag = set[i].etag;
		page->validator = kept_copy(&position, set[i].validator, context);
		page->headers = kept_copy(&position, set[i].headers, context);
		page->body = kept_copy(&position, set[i].body, context);
		page->length = set[i].body;
	}
	LWLockRelease(kept->lock);
	return page;
}

static bool
kept_is_sane(const char *validator)
{
	size_t		len = strlen(validator);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char) validator[i] < ' ' || validator[i] == 0x7f)
			return false;
	return len > 0 && len <= KEPT_VALIDATOR;
}

/*
 * What tells this version from others; NULL: nothing does.  A time of change
 * has whole seconds: of a page that was changed in the second in which it was
 * given, a later change could have the same.
 */
static char *
kept_validator(const HttpRequest *request, bool *etag)
{
	char	   *control = http_answer_header(request, "Cache-Control");
	char	   *validator = http_answer_header(request, "ETag");
	char	   *date = http_answer_header(request, "Date");

	if (control != NULL && strstr(control, "no-store") != NULL)
		return NULL;
	*etag = validator != NULL;
	if (validator == NULL)
	{
		validator = http_answer_header(request, "Last-Modified");
		if (validator == NULL || date == NULL || curl_getdate(validator, NULL) < 0 ||
			curl_getdate(date, NULL) - curl_getdate(validator, NULL) < 2)
			return NULL;
	}
	return kept_is_sane(validator) ? validator : NULL;
}

/* Its own slot, else a free one, else that of the oldest page. */
static KeptSlot *
kept_slot(const uint8 *key)
{
	KeptSlot   *set = kept_set(key);
	KeptSlot   *best = &set[0];

	for (int i = 0; i < KEPT_WAYS; i++)
		if (set[i].validator > 0 && memcmp(set[i].key, key, DIGEST_LEN) == 0)
			return &set[i];
	for (int i = 0; i < KEPT_WAYS; i++)
	{
		if (!kept_is_there(&set[i]))
			return &set[i];
		if (set[i].start < best->start)
			best = &set[i];
	}
	return best;
}

void
rest_kept_put(const RestSource *source, const char *url, const HttpRequest *request)
{
	KeptSlot	page = {.headers = (uint32) strlen(request->headers), .body = (uint32) request->answer_len};
	char	   *validator;

	if (!kept_applies(source) || request->status != 200)
		return;
	validator = kept_validator(request, &page.etag);
	if (validator == NULL)
		return;
	page.validator = (uint32) strlen(validator);
	if (kept_length(&page) > kept->size / KEPT_SHARE)
		return;
	kept_key(source, url, page.key);
	LWLockAcquire(kept->lock, LW_EXCLUSIVE);
	page.start = kept->head;
	kept_write(validator, page.validator);
	kept_write(request->headers, page.headers);
	kept_write(request->answer, page.body);
	*kept_slot(page.key) = page;
	LWLockRelease(kept->lock);
}
