/*
 * asked.c
 *	  The conditions that go along with a scan, with their values: the requests
 *	  that a scan makes, one after the other.
 *
 * A list of values makes several requests where it is too long for one, or
 * where the API takes one value at a time.  Each has rows of its own values
 * only: an API that does not know the parameter gives all rows each time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "rest/asked.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

static const ConnectorFilter *
asked_filter(const Connector *connector, const char *column)
{
	for (int i = 0; i < connector->read.nfilters; i++)
		if (strcmp(connector->read.filters[i].column, column) == 0)
			return &connector->read.filters[i];
	return NULL;
}

static const TemplateColumn *
asked_column(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->ncolumns; i++)
		if (strcmp(connector->columns[i].name, name) == 0)
			return &connector->columns[i];
	return NULL;
}

/* A definition may have changed since the plan was made: what it does not declare any more is not sent. */
static RestAsked *
asked_make(const RestSource *source, Relation relation, List *conditions, int limit, MemoryContext context)
{
	const Connector *connector = source->connector;
	MemoryContext old = MemoryContextSwitchTo(context);
	RestAsked  *asked = palloc0(sizeof(RestAsked));
	ListCell   *cell;

	asked->source = source;
	asked->limit = limit;
	asked->context = AllocSetContextCreate(context, "activate conditions", ALLOCSET_SMALL_SIZES);
	asked->ones = palloc0(sizeof(AskedOne) * (list_length(conditions) + 1));
	foreach(cell, conditions)
	{
		AskCondition *condition = lfirst(cell);
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), condition->attnum - 1);
		AskedOne   *one = &asked->ones[asked->n++];

		one->condition = condition;
		one->filter = asked_filter(connector, NameStr(attribute->attname));
		one->column = asked_column(connector, NameStr(attribute->attname));
		one->type = lookup_type_cache(getBaseType(attribute->atttypid), TYPECACHE_CMP_PROC_FINFO);
	}
	MemoryContextSwitchTo(old);
	return asked;
}

RestAsked *
asked_create(const RestSource *source, Relation relation, List *conditions, PlanState *parent, int limit,
			 int most_requests, MemoryContext context)
{
	RestAsked  *asked = asked_make(source, relation, conditions, limit, context);

	asked->most_requests = most_requests;
	for (int i = 0; i < asked->n; i++)
		asked->ones[i].state = ExecInitExpr(asked->ones[i].condition->value, parent);
	return asked;
}

static int
asked_compare(const void *a, const void *b, void *arg)
{
	AskedOne   *one = arg;

	return DatumGetInt32(FunctionCall2Coll(&one->type->cmp_proc_finfo, one->condition->collation, *(const Datum *) a, *(const Datum *) b));
}

/* Of an array each value once: two that are equal would bring their rows twice. */
static void
asked_elements(AskedOne *one, Datum array)
{
	TypeCacheEntry *type = one->type;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			kept = 0;

	deconstruct_array(DatumGetArrayTypePCopy(array), type->type_id, type->typlen, type->typbyval, type->typalign,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			elements[kept++] = elements[i];
	qsort_arg(elements, kept, sizeof(Datum), asked_compare, one);
	one->values = elements;
	for (int i = 0; i < kept; i++)
		if (i == 0 || asked_compare(&elements[i], &elements[one->n - 1], one) != 0)
			elements[one->n++] = elements[i];
}

/* False: null, or an empty list. */
static bool
asked_evaluate(AskedOne *one, ExprContext *econtext)
{
	Datum		value;
	bool		isnull;

	one->n = one->at = 0;
	one->unknown = one->state == NULL && !IsA(one->condition->value, Const);
	if (one->unknown)
	{
		one->n = 1;
		return true;
	}
	if (one->state != NULL)
		value = ExecEvalExpr(one->state, econtext, &isnull);
	else
	{
		value = ((Const *) one->condition->value)->constvalue;
		isnull = ((Const *) one->condition->value)->constisnull;
	}
	if (isnull)
		return false;
	if (one->condition->list)
		asked_elements(one, value);
	else
	{
		one->values = palloc(sizeof(Datum));
		one->values[one->n++] = datumCopy(value, one->type->typbyval, one->type->typlen);
	}
	return one->n > 0;
}

/* As the API is asked for them; false: one of them it cannot be. */
static bool
asked_texts(AskedOne *one)
{
	one->texts = palloc0(sizeof(char *) * one->n);
	for (int i = 0; i < one->n && !one->unknown; i++)
	{
		one->texts[i] = ask_text(one->values[i], one->type->type_id, one->column, one->condition->op);
		if (one->texts[i] == NULL)
			return false;
	}
	return true;
}

/* What stands between quotes must not end them: that would be another question. */
static bool
asked_can_quote(const AskedOne *one, const ConnectorParam *param)
{
	for (int i = 0; i < one->n && param->quote != '\0'; i++)
		if (one->texts[i] != NULL && (strchr(one->texts[i], param->quote) != NULL || strchr(one->texts[i], '\\') != NULL))
			return false;
	return true;
}

static bool
asked_can_join(const AskedOne *one, const ConnectorParam *param)
{
	for (int i = 0; i < one->n && !param->repeat; i++)
		if (one->texts[i] != NULL && strstr(one->texts[i], param->separator) != NULL)
			return false;
	return true;
}

/* By which parameter, and how many values at a time. */
static bool
asked_choose(AskedOne *one)
{
	const ConnectorParam *params = one->filter ? one->filter->params : NULL;

	one->param = NULL;
	one->step = 1;
	if (one->filter == NULL || one->column == NULL || !asked_texts(one))
		return false;
	if (one->condition->op > FILTER_IN)
		one->param = &params[one->condition->op];
	else if (one->filter->in_path)
		return true;
	else if (params[FILTER_IN].name != NULL && (one->n > 1 || params[FILTER_EQ].name == NULL) &&
			 asked_can_join(one, &params[FILTER_IN]) && asked_can_quote(one, &params[FILTER_IN]))
	{
		one->param = &params[FILTER_IN];
		one->step = one->param->most;
	}
	else
		one->param = &params[FILTER_EQ];
	return one->param->name != NULL && asked_can_quote(one, one->param);
}

/* A parameter says one thing only. */
static bool
asked_is_taken(const RestAsked *asked, const AskedOne *one)
{
	for (const AskedOne *other = asked->ones; one->param != NULL && other < one; other++)
		if (other->sent && other->param != NULL && strcmp(other->param->name, one->param->name) == 0)
			return true;
	return false;
}

static int64
asked_requests_of(const AskedOne *one)
{
	return one->sent ? (one->n + one->step - 1) / one->step : 1;
}

int64
asked_requests(const RestAsked *asked)
{
	int64		requests = 1;

	for (int i = 0; i < asked->n && requests < PG_INT32_MAX; i++)
		requests *= asked_requests_of(&asked->ones[i]);
	return requests;
}

/* More calls than reading all would take are not worth it. */
static void
asked_spare(RestAsked *asked)
{
	for (int i = 0; i < asked->n; i++)
	{
		AskedOne   *one = &asked->ones[i];

		if (asked_requests(asked) > asked->most_requests && asked_requests_of(one) > 1 && !one->filter->required)
			one->sent = false;
	}
}

static void
asked_check_required(const RestAsked *asked)
{
	const Connector *connector = asked->source->connector;

	for (int f = 0; f < connector->read.nfilters; f++)
	{
		const ConnectorFilter *filter = &connector->read.filters[f];
		bool		sent = !filter->required;

		for (int i = 0; i < asked->n; i++)
			sent = sent || (asked->ones[i].sent && asked->ones[i].filter == filter && asked->ones[i].condition->op <= FILTER_IN);
		if (!sent)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_DYNAMIC_PARAMETER_VALUE_NEEDED),
					 errmsg("could not read foreign table \"%s\": its API has to be told the value of column \"%s\"",
							asked->source->table, filter->column),
					 errhint("Fix it by = or IN in WHERE, or join another table by = on it; a value can be neither empty nor, in a path, \".\" or \"..\".")));
	}
}

bool
asked_begin(RestAsked *asked, ExprContext *econtext)
{
	MemoryContext old;
	bool		possible = true;

	MemoryContextReset(asked->context);
	old = MemoryContextSwitchTo(asked->context);
	for (int i = 0; i < asked->n; i++)
		asked->ones[i].sent = false;
	for (int i = 0; i < asked->n && possible; i++)
	{
		AskedOne   *one = &asked->ones[i];

		possible = asked_evaluate(one, econtext);
		if (possible)
			one->sent = asked_choose(one) && !asked_is_taken(asked, one);
	}
	if (possible)
	{
		asked_spare(asked);
		asked_check_required(asked);
	}
	MemoryContextSwitchTo(old);
	return possible;
}

const RestAsk *
asked_request(RestAsked *asked)
{
	MemoryContext old = MemoryContextSwitchTo(asked->context);

	(void) asked_build(asked);
	MemoryContextSwitchTo(old);
	return &asked->ask;
}

bool
asked_next(RestAsked *asked)
{
	for (int i = 0; i < asked->n; i++)
	{
		AskedOne   *one = &asked->ones[i];

		if (!one->sent)
			continue;
		one->at += one->step;
		if (one->at < one->n)
			return true;
		one->at = 0;
	}
	return false;
}

static bool
asked_has(AskedOne *one, Datum value)
{
	for (int i = one->at; i < Min(one->at + one->step, one->n); i++)
		if (asked_compare(&one->values[i], &value, one) == 0)
			return true;
	return false;
}

bool
asked_row(RestAsked *asked, TupleTableSlot *slot)
{
	for (int i = 0; i < asked->n; i++)
	{
		AskedOne   *one = &asked->ones[i];
		int			column = one->condition->attnum - 1;

		if (!one->sent)
			continue;
		/* what belongs to a parent need not say to which, nor what is told for one value only: nothing else was asked for */
		if ((one->param == NULL || (one->filter->required && Min(one->step, one->n - one->at) == 1)) && slot->tts_isnull[column])
		{
			slot->tts_values[column] = one->values[one->at];
			slot->tts_isnull[column] = false;
		}
		if (one->n > one->step && (slot->tts_isnull[column] || !asked_has(one, slot->tts_values[column])))
			return false;
	}
	return true;
}

const RestAsk *
asked_shown(const RestSource *source, Relation relation, List *conditions, int limit, int most_requests)
{
	RestAsked  *asked = asked_make(source, relation, conditions, limit, CurrentMemoryContext);

	asked->most_requests = most_requests;
	for (int i = 0; i < asked->n; i++)
	{
		AskedOne   *one = &asked->ones[i];

		one->sent = asked_evaluate(one, NULL) && asked_choose(one) && !asked_is_taken(asked, one);
	}
	asked_spare(asked);
	for (int i = 0; i < asked->n; i++)
		asked->ones[i].condition->sent = asked->ones[i].sent;
	return asked_build(asked);
}
