/*
 * column.c
 *	  Columns of a definition: where they stand, what is made of their values,
 *	  and those that are computed and no columns of the foreign table.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "miscadmin.h"

static int
column_choice(const char *given, const char *const *names)
{
	for (int i = 0; given != NULL && names[i] != NULL; i++)
	{
		if (strcmp(names[i], given) == 0)
			return i;
	}
	return -1;
}

/* Checked already: names that are none do not come here. */
static void
column_steps(TemplateChange *change, const JsonbValue *list)
{
	int			n;
	DefinitionMember *elements = definition_members(list, &n);
	TemplateStep *steps = palloc(sizeof(TemplateStep) * (n + 1));

	for (int i = 0; i < n; i++)
	{
		if (template_step(template_scalar_text(&elements[i].value), &steps[change->nsteps]))
			change->nsteps++;
	}
	change->steps = steps;
}

char *
definition_wrap_path(JsonbContainer *wrap)
{
	JsonbIterator *it = JsonbIteratorInit(wrap);
	JsonbIteratorToken token;
	JsonbValue	part;
	char	   *step = NULL;
	int			position = 0;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&it, &part, true)) != WJB_DONE)
	{
		char	   *inner = NULL;

		if (token == WJB_KEY)
			step = template_path_step(pnstrdup(part.val.string.val, part.val.string.len));
		if (token != WJB_VALUE && token != WJB_ELEM)
			continue;
		if (token == WJB_ELEM)
			step = psprintf("%d", position++);
		if (part.type == jbvString && part.val.string.len == 1 && part.val.string.val[0] == '$')
			return step;
		if (part.type == jbvBinary && (inner = definition_wrap_path(part.val.binary.data)) != NULL)
			return psprintf("%s.%s", step, inner);
	}
	return NULL;
}

static Jsonb *
column_wrap(const JsonbValue *column)
{
	JsonbValue	wrap;

	if (!definition_get_in(column, "wrap", &wrap))
		return NULL;
	if (wrap.type == jbvBool)
		return wrap.val.boolean ? definition_parse("[\"$\"]", "wrap", true) : NULL;
	return JsonbValueToJsonb(&wrap);
}

/* What a value must be to be sent. */
static void
column_limits(TemplateChange *change, const JsonbValue *column)
{
	JsonbValue	list;
	DefinitionMember *elements;
	const char **values;

	change->required = definition_bool(column, "required", false);
	change->max_length = definition_int(column, "max_length", 0);
	if (!definition_get_in(column, "values", &list))
		return;
	elements = definition_members(&list, &change->nvalues);
	values = palloc(sizeof(char *) * (change->nvalues + 1));
	for (int i = 0; i < change->nvalues; i++)
		values[i] = template_scalar_text(&elements[i].value);
	change->values = values;
}

/* What a column's members make of its value; NULL: nothing.  object: for its default of "null". */
static TemplateChange *
column_change(const JsonbValue *object, const JsonbValue *column)
{
	/* in the order of the enums of template.h */
	static const char *const as[] = {"string", "number", "boolean", "array", "json", NULL};
	static const char *const nulls[] = {"send", "omit", "empty", NULL};
	static const char *const dates[] = {"iso", "date", "unix", "unix_ms", NULL};
	TemplateChange *change = palloc0(sizeof(TemplateChange));
	const char *null = definition_text(column, "null");
	const char *date = definition_text(column, "date");
	JsonbValue	list;

	change->from = definition_text(column, "from");
	change->as = (TemplateAs) (column_choice(definition_text(column, "as"), as) + 1);
	if (null == NULL)
		null = definition_text(object, "null");
	change->null = (TemplateNull) Max(column_choice(null, nulls), NULL_SEND);
	change->empty = definition_text(column, "empty");
	if (change->empty == NULL)
		change->empty = definition_text(object, "empty");
	change->wrap = column_wrap(column);
	if (date != NULL)
	{
		int			choice = column_choice(date, dates);

		change->date = choice >= 0 ? (TemplateDate) (choice + 1) : DATE_FORMAT;
		change->date_format = date;
	}
	if (definition_get_in(column, "transform", &list))
		column_steps(change, &list);
	column_limits(change, column);
	if (!change->required && change->max_length == 0 && change->nvalues == 0 && change->from == NULL && change->as == AS_IT_IS && change->null == NULL_SEND && change->wrap == NULL &&
		change->date == DATE_AS_IT_IS && change->nsteps == 0)
		return NULL;
	return change;
}

TemplateColumn *
definition_column(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->ncolumns; i++)
	{
		if (strcmp(connector->columns[i].name, name) == 0)
			return &connector->columns[i];
	}
	return NULL;
}

static void
column_compute(Connector *connector, const JsonbValue *object, const DefinitionMember *member, const char *subject)
{
	TemplateColumn *column = &connector->computed[connector->ncomputed++];
	TemplateChange *change = column_change(object, &member->value);

	if (definition_column(connector, change->from) == NULL)
		definition_fail(subject, psprintf("column \"%s\" is computed from a column \"%s\" that does not exist",
										  member->name, change->from),
						psprintf("The columns are: %s.", definition_column_names(connector)));
	column->name = member->name;
	column->path = definition_text(&member->value, "path");
	column->skip = definition_bool(&member->value, "readonly", false);
	column->change = change;
}

/* Where the foreign table's own options do not say. */
void
definition_compile_columns(Connector *connector, const JsonbValue *object, const char *subject)
{
	JsonbValue	columns;
	JsonbValue	nothing = {.type = jbvNull};
	DefinitionMember *members = NULL;
	int			n = 0;

	if (definition_get_in(object, "columns", &columns))
		members = definition_members(&columns, &n);
	connector->computed = palloc0(sizeof(TemplateColumn) * (n + 1));
	for (int i = 0; i < connector->ncolumns; i++)
		connector->columns[i].change = column_change(object, &nothing);
	for (int i = 0; i < n; i++)
	{
		TemplateColumn *known = definition_column(connector, members[i].name);
		const char *from = definition_text(&members[i].value, "from");

		if (known == NULL && from != NULL)
			column_compute(connector, object, &members[i], subject);
		if (known == NULL)
			continue;
		if (from != NULL)
			definition_fail(subject, psprintf("column \"%s\" of the table is computed from \"%s\"", members[i].name, from),
							"A computed column is made when a row is sent: drop it from the foreign table.");
		if (known->path == NULL)
			known->path = definition_text(&members[i].value, "path");
		known->skip = known->skip || definition_bool(&members[i].value, "readonly", false);
		known->change = column_change(object, &members[i].value);
	}
}

const TemplateColumn *
definition_computed(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->ncomputed; i++)
	{
		if (strcmp(connector->computed[i].name, name) == 0)
			return &connector->computed[i];
	}
	return NULL;
}
