/*
 * parse.c
 *	  The text of a page: its records one by one, and where the next page is.
 *
 * One pass (template/seek.h) checks the whole text, and finds of the records
 * what the query needs; of a long list some at a time.
 */
#include "postgres.h"

#include "core/errors.h"
#include "core/mem.h"
#include "mb/pg_wchar.h"
#include "rest/rest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

/* Values found at once: what a processor's cache holds. */
#define PARSE_VALUES	8192
#define PARSE_LISTS		5

struct RestPage
{
	const RestSource *source;
	SeekSet    *wanted;			/* of the page; of the records: rows.set */
	int			nlists;
	int			lists[PARSE_LISTS]; /* where the records may be, the first that is an array */
	int			next;			/* read.page.next; -1: not given */
	SeekValue  *values;
	const SeekValue *list;		/* NULL: an empty page */
	SeekRows	rows;
	int			at;				/* the next of these */
	SeekText	text;
};

static void
wanted_release(void *set)
{
	seek_free(set);
}

SeekSet *
rest_wanted_create(MemoryContext context)
{
	SeekSet    *set = seek_create();

	if (set == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	return mem_adopt(context, set, wanted_release);
}

/* A page is UTF-8, whatever the database is. */
int
rest_want(SeekSet *wanted, const char *path, bool records)
{
	char	   *utf8 = rest_value_is_native() ? unconstify(char *, path) :
		pg_server_to_any(path, (int) strlen(path), PG_UTF8);
	int			slot = records ? seek_want_records(wanted, utf8) : seek_want(wanted, utf8);

	if (slot < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("path \"%s\" cannot be read", rest_clip(path, 100)),
				 errhint("A path has at most %d steps.", SEEK_MAX_STEPS)));
	return slot;
}

/* The member of that name, whatever is in it. */
int
rest_want_member(SeekSet *wanted, const char *name)
{
	return rest_want(wanted, template_path_step(name), false);
}

RestPage *
rest_page_create(const RestSource *source, SeekSet *records, MemoryContext context)
{
	/* the members that most APIs use; docs/connectors.md */
	static const char *const usual[PARSE_LISTS] = {"", "data", "items", "results", "records"};
	const ConnectorRead *read = &source->connector->read;
	MemoryContext old = MemoryContextSwitchTo(context);
	RestPage   *page = palloc0(sizeof(RestPage));
	int			slots = seek_slots(records);

	page->source = source;
	page->wanted = rest_wanted_create(context);
	page->nlists = read->records != NULL ? 1 : PARSE_LISTS;
	for (int i = 0; i < page->nlists; i++)
		page->lists[i] = rest_want(page->wanted, read->records != NULL ? read->records : usual[i], true);
	page->next = read->next != NULL ? rest_want(page->wanted, read->next, false) : -1;
	page->values = palloc0(sizeof(SeekValue) * seek_slots(page->wanted));
	page->rows.set = records;
	page->rows.max = slots > 0 ? Max(PARSE_VALUES / slots, 1) : INT_MAX;
	page->rows.values = palloc(sizeof(SeekValue) * (slots > 0 ? slots * page->rows.max : 1));
	MemoryContextSwitchTo(old);
	return page;
}

/*
 * What is wrong with it PostgreSQL's own parser says best; NULL: nothing.  Its
 * complaint becomes ours; anything else (cancel, out of memory) passes.
 */
static char *
parse_complaint(RestPage *page, const char *start, size_t length)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile complaint = page->text.error ? pstrdup(page->text.error) : NULL;

	PG_TRY();
	{
		char	   *text = pg_any_to_server(start, (int) length, PG_UTF8);

		(void) DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_CATCH();
	{
		ErrorData  *error;
		int			category;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		category = ERRCODE_TO_CATEGORY(error->sqlerrcode);
		if (category != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
			category != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
			PG_RE_THROW();
		FlushErrorState();
		complaint = error->message;
	}
	PG_END_TRY();
	return complaint;
}

/*
 * The list of records.  A null list is an empty one (Go encodes empty slices
 * so); a missing one is an error.  Where it is not declared, a list further on
 * is meant rather than a null.
 */
static void
parse_find_list(RestPage *page, const char *shown)
{
	const char *declared = page->source->connector->read.records;
	bool		empty = false;

	page->list = NULL;
	for (int i = 0; i < page->nlists && page->list == NULL; i++)
	{
		const SeekValue *value = &page->values[page->lists[i]];

		if (value->kind == SEEK_ARRAY)
			page->list = value;
		empty = empty || value->kind == SEEK_NULL;
	}
	if (page->list == NULL && !empty)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 declared == NULL ?
				 errmsg("could not read foreign table \"%s\": the answer holds no array of records",
						page->source->table) :
				 errmsg("could not read foreign table \"%s\": the answer has no array at \"%s\"",
						page->source->table, declared),
				 errdetail("The page was %s.", shown),
				 errhint("Set \"read.records\" of the object to the path of the array of records; \"\" is the whole answer.")));
}

/* The text stays as it is as long as the page is used. */
void
rest_page_read(RestPage *page, const char *text, size_t length, const char *shown)
{
	bool		good = seek_page(&page->text, text, length, page->wanted, page->values, &page->rows);
	char	   *complaint = NULL;

	page->at = 0;
	if (!good || page->text.large)
		complaint = parse_complaint(page, text, length);
	if (complaint != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVATE_BAD_ANSWER),
				 errmsg("could not read foreign table \"%s\": the answer is not valid JSON",
						page->source->table),
				 errdetail("The page was %s: %s", shown, rest_clip(complaint, 200)),
				 errhint("Check that \"base_url\" and \"read.path\" name the API.")));
	parse_find_list(page, shown);
	if (page->list != NULL && page->list->at != page->rows.list)
		(void) seek_rows_begin(&page->text, &page->rows, page->list);
}

int64
rest_page_count(const RestPage *page)
{
	return page->list != NULL ? page->rows.count : 0;
}

const SeekValue *
rest_page_list(const RestPage *page)
{
	return page->list;
}

/* What was found of the next record; NULL: there is none. */
const SeekValue *
rest_page_record(RestPage *page)
{
	if (page->list == NULL)
		return NULL;
	if (page->at == page->rows.n)
	{
		if (page->rows.next == NULL)
			return NULL;
		(void) seek_rows_more(&page->text, &page->rows);
		page->at = 0;
	}
	return page->rows.values + (size_t) page->at++ * seek_slots(page->rows.set);
}

/* What the answer has at read.page.next; NULL for null, false, "" and nothing. */
char *
rest_page_next(const RestPage *page)
{
	const SeekValue *value = page->next >= 0 ? &page->values[page->next] : NULL;
	StringInfoData buffer;
	char	   *text;

	if (value == NULL || value->kind == SEEK_FALSE)
		return NULL;
	initStringInfo(&buffer);
	text = rest_value_text(value, &buffer);
	return text == NULL || text[0] == '\0' ? NULL : text;
}
