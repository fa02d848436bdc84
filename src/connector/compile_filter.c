/*
 * compile_filter.c
 *	  Which conditions of a query an API can be asked for: read.filter, the
 *	  columns that the path names, and read.limit.
 *
 * A column that the foreign table does not have is passed over: a table made
 * by hand may have fewer than its object.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "template/path.h"

static const char *const filter_names[FILTER_OPS] = {"eq", "in", "gt", "ge", "lt", "le"};

static void
filter_check_value(const char *value, const char *where, const char *subject)
{
	List	   *names = template_names(value);
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp(lfirst(lc), "value") != 0)
			definition_fail(subject, psprintf("\"value\" of \"%s\" names \"%s\"", where, (char *) lfirst(lc)),
							"It may name {value} only, as in \"gte.{value}\".");
	if (names == NIL)
		definition_fail(subject, psprintf("\"value\" of \"%s\" does not name {value}", where),
						"Write where the value goes, as in \"gte.{value}\".");
}

/* Between which quotes of the API's language the value stands. */
static char
filter_quote(const char *value)
{
	char		quote = '\0';
	TemplatePiece piece;

	while (template_next(&value, &piece) == PATH_STEP && !piece.is_name)
		quote = definition_quote_behind(piece.start, piece.len, quote);
	return quote;
}

static void
filter_param(ConnectorParam *param, const JsonbValue *from, const char *where, const char *subject)
{
	param->separator = ",";
	param->most = 50;
	if (from->type == jbvString)
	{
		param->name = template_scalar_text(from);
		return;
	}
	param->name = definition_text(from, "param");
	param->value = definition_text(from, "value");
	if (param->value != NULL)
	{
		filter_check_value(param->value, where, subject);
		param->quote = filter_quote(param->value);
	}
	if (definition_text(from, "separator") != NULL)
		param->separator = definition_text(from, "separator");
	param->repeat = definition_bool(from, "repeat", false);
	param->most = definition_int(from, "most", param->most);
}

static void
filter_compile(ConnectorFilter *filter, const JsonbValue *from, const char *where, const char *subject)
{
	bool		any = false;

	if (from->type == jbvString)
	{
		filter_param(&filter->params[FILTER_EQ], from, where, subject);
		return;
	}
	for (int i = 0; i < FILTER_OPS; i++)
	{
		JsonbValue	param;

		if (!definition_get_in(from, filter_names[i], &param))
			continue;
		filter_param(&filter->params[i], &param, psprintf("%s.%s", where, filter_names[i]), subject);
		any = true;
	}
	filter->required = definition_bool(from, "required", false);
	if (filter->required && filter->params[FILTER_EQ].name == NULL && filter->params[FILTER_IN].name == NULL)
		definition_fail(subject, psprintf("\"%s\" is required, and has neither \"eq\" nor \"in\"", where),
						"What is required is a value: write {\"eq\": \"customer\", \"required\": true}.");
	if (!any)
		definition_fail(subject, psprintf("\"%s\" names no parameter", where),
						"Write at least one of eq, in, gt, ge, lt, le, as in {\"ge\": \"updated_since\"}.");
}

/* What the path names has to be known; it may have been filtered by a parameter as well, which then says nothing. */
static void
filter_of_path(Connector *connector, const char *subject)
{
	ConnectorRead *read = &connector->read;
	ListCell   *lc;

	foreach(lc, template_names(read->path))
	{
		char	   *name = lfirst(lc);
		int			i = 0;

		definition_require_column(connector, name, "the path of \"read\"", subject);
		while (i < read->nfilters && strcmp(read->filters[i].column, name) != 0)
			i++;
		if (i == read->nfilters)
			read->filters[read->nfilters++].column = name;
		read->filters[i].in_path = read->filters[i].required = true;
	}
}

static bool
filter_knows_path(const Connector *connector)
{
	ListCell   *lc;

	foreach(lc, template_names(connector->read.path))
		if (definition_column(connector, lfirst(lc)) == NULL)
			return false;
	return true;
}

static void
filter_check_column(const Connector *connector, const JsonbValue *object, const char *name, const char *subject)
{
	JsonbValue	columns;
	JsonbValue	column;

	if (!definition_get_in(object, "columns", &columns) || !definition_get_in(&columns, name, &column))
		definition_require_column(connector, name, "\"read.filter\"", subject);
}

void
definition_compile_filters(Connector *connector, const JsonbValue *object, const JsonbValue *from, const char *subject)
{
	ConnectorRead *read = &connector->read;
	DefinitionMember *members = NULL;
	JsonbValue	part;
	int			n = 0;

	if (!read->possible)
		return;
	/* a path that was meant for writing only */
	if (from == NULL && !filter_knows_path(connector))
	{
		read->possible = false;
		return;
	}
	if (from != NULL && definition_get_in(from, "filter", &part))
		members = definition_members(&part, &n);
	read->filters = palloc0(sizeof(ConnectorFilter) * (n + connector->ncolumns + 1));
	for (int i = 0; i < n; i++)
	{
		if (members[i].value.type == jbvNull)
			continue;
		filter_check_column(connector, object, members[i].name, subject);
		if (definition_column(connector, members[i].name) == NULL)
			continue;
		read->filters[read->nfilters].column = members[i].name;
		filter_compile(&read->filters[read->nfilters++], &members[i].value,
					   psprintf("read.filter.%s", members[i].name), subject);
	}
	filter_of_path(connector, subject);
	read->conditional = from == NULL || definition_bool(from, "conditional", true);
	if (from != NULL && definition_get_in(from, "limit", &part))
	{
		filter_param(&read->limit, &part, "read.limit", subject);
		read->limit.most = part.type == jbvString ? read->size : definition_int(&part, "most", read->size);
	}
}
