/*
 * asked_url.c
 *	  Conditions with their values as the path and the query of a request.
 */
#include "postgres.h"

#include "rest/asked.h"

/* Its values in this request; NULL: not known yet. */
static const char *
asked_join(const AskedOne *one)
{
	StringInfoData text;

	if (one->unknown)
		return NULL;
	initStringInfo(&text);
	for (int i = one->at; i < Min(one->at + one->step, one->n); i++)
		appendStringInfo(&text, "%s%s", i > one->at ? one->param->separator : "", one->texts[i]);
	return text.data;
}

static const char *
asked_wrap(const ConnectorParam *param, const char *text)
{
	JsonbParseState *state = NULL;
	JsonbValue	name = {.type = jbvString, .val.string = {.val = "value", .len = 5}};
	JsonbValue	value = {.type = jbvString};

	if (param->value == NULL || text == NULL)
		return text;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = (int) strlen(text);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &name);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return template_expand_text(param->value, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static void
asked_add(RestAsk *ask, const char *name, const char *value, const char *label)
{
	ask->names[ask->n] = name;
	ask->labels[ask->n] = label;
	ask->values[ask->n++] = value;
}

static void
asked_add_one(RestAsk *ask, const AskedOne *one)
{
	if (!one->param->repeat || one->step == 1 || one->unknown)
		asked_add(ask, one->param->name, asked_wrap(one->param, asked_join(one)), one->filter->column);
	else
		for (int i = one->at; i < Min(one->at + one->step, one->n); i++)
			asked_add(ask, one->param->name, asked_wrap(one->param, one->texts[i]), one->filter->column);
}

/* The path with its values; what is not known yet as it stands. */
static const char *
asked_path(const RestAsked *asked)
{
	const Connector *connector = asked->source->connector;
	JsonbParseState *state = NULL;
	int			missing = 0;

	for (int i = 0; i < connector->read.nfilters; i++)
		missing += connector->read.filters[i].in_path;
	if (missing == 0)
		return connector->read.path;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < asked->n; i++)
	{
		const AskedOne *one = &asked->ones[i];
		JsonbValue	value = {.type = jbvString};

		if (!one->sent || one->unknown || one->param != NULL)
			continue;
		missing--;
		value.val.string.val = unconstify(char *, one->filter->column);
		value.val.string.len = (int) strlen(one->filter->column);
		pushJsonbValue(&state, WJB_KEY, &value);
		value.val.string.val = one->texts[one->at];
		value.val.string.len = (int) strlen(one->texts[one->at]);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (missing > 0)
		return connector->read.path;
	return template_expand(connector->read.path, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)), true);
}

static void
asked_add_limit(RestAsk *ask, const ConnectorRead *read, int limit)
{
	if (limit == 0 || read->limit.name == NULL)
		return;
	if (read->size_param != NULL && strcmp(read->size_param, read->limit.name) == 0)
		ask->size = read->limit.most > 0 ? Min(limit, read->limit.most) : limit;
	else if (read->limit.most == 0 || limit <= read->limit.most)
		asked_add(ask, read->limit.name, asked_wrap(&read->limit, psprintf("%d", limit)), "limit");
}

const RestAsk *
asked_build(RestAsked *asked)
{
	RestAsk    *ask = &asked->ask;
	int			most = 1;

	memset(ask, 0, sizeof(RestAsk));
	for (int i = 0; i < asked->n; i++)
		most += asked->ones[i].sent && asked->ones[i].param != NULL && asked->ones[i].param->repeat ? asked->ones[i].step : 1;
	ask->names = palloc(sizeof(char *) * most);
	ask->values = palloc(sizeof(char *) * most);
	ask->labels = palloc(sizeof(char *) * most);
	for (int i = 0; i < asked->n; i++)
		if (asked->ones[i].sent && asked->ones[i].param != NULL)
			asked_add_one(ask, &asked->ones[i]);
	asked_add_limit(ask, &asked->source->connector->read, asked->limit);
	ask->requests = asked_requests(asked);
	ask->path = asked_path(asked);
	return ask;
}
