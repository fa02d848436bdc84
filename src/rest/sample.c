/*
 * sample.c
 *	  What a web API's table holds, found out by reading it.
 *
 * Its first page shows which members records have.  ANALYZE: reads all of it, with the mapping of the
 *	  table's owner, and keeps a random sample.
 *
 * An API gives no rows at random, so there is no cheaper way.  How many pages
 * it has is not known beforehand, as ANALYZE would have it; the planner counts
 * calls by rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "commands/vacuum.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "rest/rest.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sampling.h"

typedef struct Sample
{
	HeapTuple  *rows;
	int			target;
	int			n;
	int64		seen;
	double		skip;			/* rows before the next that is taken; -1: not drawn yet */
	ReservoirStateData reservoir;
} Sample;

/* Where the next row goes; -1: it is not taken. */
static int
sample_place(Sample *sample)
{
	int			place;

	sample->seen++;
	if (sample->n < sample->target)
		return sample->n++;
	if (sample->skip < 0)
		sample->skip = reservoir_get_next_S(&sample->reservoir, sample->seen - 1, sample->target);
	if (sample->skip-- > 0)
		return -1;
	sample->skip = -1;
	place = (int) (sample->target * sampler_random_fract(&sample->reservoir.randstate));
	heap_freetuple(sample->rows[place]);
	return place;
}

static List *
sample_columns(TupleDesc desc)
{
	List	   *columns = NIL;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			columns = lappend_int(columns, i + 1);
	return columns;
}

static void
sample_read(Sample *sample, RestPager *pager, RestConverter *converter, TupleDesc desc)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "activate row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	Datum	   *values = palloc0(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);
	const SeekValue *record;

	memset(nulls, true, sizeof(bool) * desc->natts);
	for (;;)
	{
		int			place;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(row);
		MemoryContextSwitchTo(row);
		record = rest_pager_next(pager);
		if (record == NULL)
			break;
		place = sample_place(sample);
		if (place >= 0)
			rest_convert(converter, record, sample->seen, values, nulls);
		MemoryContextSwitchTo(old);
		if (place >= 0)
			sample->rows[place] = heap_form_tuple(desc, values, nulls);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
}

static int
sample_acquire(Relation relation, int elevel, HeapTuple *rows, int target, double *total, double *dead)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "activate sample", ALLOCSET_DEFAULT_SIZES);
	Connector  *connector = connector_load(RelationGetRelid(relation), context);
	RestSource	source = {.connector = connector, .table = rest_table_name(RelationGetRelid(relation))};
	Sample		sample = {.rows = rows, .target = target, .skip = -1};
	RestConverter *converter;
	RestPager  *pager;

	http_check_url(connector->base_url, connector->proxy);
	source.auth = connector_auth(connector->server, relation->rd_rel->relowner, context);
	converter = rest_converter_create(&source, RelationGetDescr(relation), sample_columns(RelationGetDescr(relation)), context);
	pager = rest_pager_create(&source, rest_converter_wanted(converter), context);
	reservoir_init_selection_state(&sample.reservoir, target);
	sample_read(&sample, pager, converter, RelationGetDescr(relation));
	ereport(elevel,
			(errmsg("\"%s\": " INT64_FORMAT " rows on " INT64_FORMAT " pages; %d rows in sample",
					source.table, sample.seen, source.effort->pages, sample.n)));
	rest_pager_close(pager);
	MemoryContextDelete(context);
	*total = (double) sample.seen;
	*dead = 0;
	return sample.n;
}

/* Not what cannot be read, or only for a value at a time. */
static bool
is_read_whole(const Connector *connector)
{
	if (!connector->read.possible)
		return false;
	for (int i = 0; i < connector->read.nfilters; i++)
		if (connector->read.filters[i].required)
			return false;
	return true;
}

/* False, and the server says that it is skipped. */
static bool
sample_analyze(Relation relation, AcquireSampleRowsFunc *acquire, BlockNumber *pages)
{
	*acquire = sample_acquire;
	*pages = 1;
	return is_read_whole(connector_load(RelationGetRelid(relation), CurrentMemoryContext));
}

bool
rest_has_sample(Oid relation)
{
	return is_read_whole(connector_load(relation, CurrentMemoryContext));
}

/* In the context that is left behind. */
static char *
first_page(const RestSource *source, MemoryContext context)
{
	RestCall	call = {.url = rest_pager_first_url(source), .position = source->connector->read.first};
	RestPage   *page = rest_page_create(source, rest_wanted_create(context), context);
	HttpRequest *request;
	const SeekValue *list;
	const char *text;
	size_t		length;

	call.shown = rest_url_shown(source->auth, call.url);
	request = rest_call_finish(source, &call, context);
	text = rest_answer_text(source, request, call.shown, &length);
	if (text == NULL)
		return NULL;
	rest_page_read(page, text, length, call.shown);
	if (!call.unchanged)
		rest_kept_put(source, call.url, request);
	list = rest_page_list(page);
	return list ? pg_any_to_server(pnstrdup(list->at, list->len), list->len, PG_UTF8) : NULL;
}

char *
rest_sample(Oid relation, Oid userid)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "activate page", ALLOCSET_DEFAULT_SIZES);
	char	   *records = NULL;

	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		Connector  *connector = connector_load(relation, context);
		RestSource	source = {.connector = connector, .table = rest_table_name(relation), .effort = palloc0(sizeof(RestEffort))};
		char	   *text;

		http_check_url(connector->base_url, connector->proxy);
		source.auth = connector_auth(connector->server, userid, context);
		text = first_page(&source, context);
		if (text)
			records = MemoryContextStrdup(caller, text);
	}
	PG_FINALLY();
	{
		/* and with it the request */
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
	return records;
}

/* Where what is sent in something would be found is no matter of names alone. */
char **
rest_places(Oid relation)
{
	Connector  *connector = connector_load(relation, CurrentMemoryContext);
	Relation	table = table_open(relation, AccessShareLock);
	int			natts = RelationGetNumberOfAttributes(table);
	char	  **places = palloc0(sizeof(char *) * (natts + 1));

	for (int i = 0; i < natts; i++)
	{
		char	   *name = get_attname(relation, i + 1, true);

		for (int j = 0; name && j < connector->ncolumns; j++)
		{
			const TemplateColumn *column = &connector->columns[j];

			if (strcmp(column->name, name) == 0 && !get_attgenerated(relation, i + 1) && !(column->change && column->change->wrap))
				places[i] = template_path_plain(column->path ? column->path : template_path_step(name));
		}
	}
	table_close(table, NoLock);
	return places;
}

void
rest_sample_routine(FdwRoutine *routine)
{
	routine->AnalyzeForeignTable = sample_analyze;
}
