/*
 * change.c
 *	  A flat row with the values that an API wants to have: dates in its form,
 *	  texts normalised and hashed, types coerced, columns computed from others.
 *
 * A value that cannot be made what is declared is an error that names the
 * column: it is never bent into something else.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "template/change.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

void
change_set_text(JsonbValue *value, char *text)
{
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = strlen(text);
}

static void
value_set_json(JsonbValue *value, Jsonb *json)
{
	value->type = jbvBinary;
	value->val.binary.data = &json->root;
	value->val.binary.len = VARSIZE(json) - VARHDRSZ;
}

/* Through PostgreSQL's own parser of numbers or of JSON; its complaint, which quotes the value, becomes ours. */
static Datum
value_parse(const char *column, PGFunction parser, const char *text, const char *what)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		result = DirectFunctionCall3(parser, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) &&
			ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED))
			PG_RE_THROW();
		FlushErrorState();
		change_fail(column, what);
	}
	PG_END_TRY();
	return result;
}

static void
value_as_number(const char *column, JsonbValue *value)
{
	static const char failure[] = "cannot be sent as a number";
	Numeric		number;

	if (value->type == jbvNumeric)
		return;
	if (value->type == jbvBool)
		number = int64_to_numeric(value->val.boolean);
	else if (value->type == jbvString)
		number = DatumGetNumeric(value_parse(column, numeric_in, template_scalar_text(value), failure));
	else
		change_fail(column, failure);
	/* JSON has no such numbers */
	if (numeric_is_nan(number) || numeric_is_inf(number))
		change_fail(column, failure);
	value->type = jbvNumeric;
	value->val.numeric = number;
}

static void
value_as_boolean(const char *column, JsonbValue *value)
{
	char	   *text;

	if (value->type == jbvBool)
		return;
	text = value->type == jbvBinary ? NULL : template_scalar_text(value);
	if (text == NULL || !parse_bool(text, &value->val.boolean))
		change_fail(column, "cannot be sent as a boolean");
	value->type = jbvBool;
}

static void
value_as_json(const char *column, JsonbValue *value)
{
	Jsonb	   *json;

	if (value->type != jbvString)
		return;
	json = DatumGetJsonbP(value_parse(column, jsonb_in, template_scalar_text(value), "is no JSON"));
	if (JB_ROOT_IS_SCALAR(json))
		*value = *getIthJsonbValueFromContainer(&json->root, 0);
	else
		value_set_json(value, json);
}

static void
value_in_array(JsonbValue *value)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	if (value->type != jbvNull)
		(void) pushJsonbValue(&state, WJB_ELEM, value);
	value_set_json(value, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* In the object or array that is declared, where "$" is. */
static void
value_wrap(JsonbValue *value, Jsonb *wrap)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&wrap->root);
	JsonbIteratorToken token;
	JsonbValue	part;
	JsonbValue *result = NULL;

	while ((token = JsonbIteratorNext(&it, &part, false)) != WJB_DONE)
	{
		if ((token == WJB_VALUE || token == WJB_ELEM) && part.type == jbvString &&
			part.val.string.len == 1 && part.val.string.val[0] == '$')
			result = pushJsonbValue(&state, token, value);
		else
			result = pushJsonbValue(&state, token, token < WJB_BEGIN_ARRAY ? &part : NULL);
	}
	value_set_json(value, JsonbValueToJsonb(result));
}

static bool
value_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

static void value_change_text(const char *column, const TemplateChange *change, JsonbValue *value);

/* Of an array, each element. */
static void
value_change_elements(const char *column, const TemplateChange *change, JsonbValue *value)
{
	JsonbParseState *state = NULL;
	int			n = JsonContainerSize(value->val.binary.data);

	check_stack_depth();
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, i);

		value_change_text(column, change, element);
		if (element->type != jbvNull || change->null != NULL_OMIT)
			(void) pushJsonbValue(&state, WJB_ELEM, element);
	}
	value_set_json(value, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

/* Date and transform. */
static void
value_change_text(const char *column, const TemplateChange *change, JsonbValue *value)
{
	char	   *text;

	if (value->type == jbvNull || (change->date == DATE_AS_IT_IS && change->nsteps == 0))
		return;
	if (value_is_array(value))
	{
		value_change_elements(column, change, value);
		return;
	}
	if (change->date != DATE_AS_IT_IS)
		change_moment(column, change, value);
	if (change->nsteps == 0)
		return;
	if (value->type == jbvBinary)
		change_fail(column, "is an object, which has no text to transform");
	text = change_steps(column, template_scalar_text(value), change->steps, change->nsteps);
	if (text == NULL)
		value->type = jbvNull;
	else
		change_set_text(value, text);
}

/* False: it is left out. */
static bool
value_change_form(const char *column, const TemplateChange *change, JsonbValue *value)
{
	if (value->type == jbvNull)
	{
		if (change->null == NULL_EMPTY && change->empty == NULL &&
			(change->as == AS_ARRAY || (change->wrap != NULL && JB_ROOT_IS_ARRAY(change->wrap))))
			value_in_array(value);
		else if (change->null == NULL_EMPTY)
			change_set_text(value, pstrdup(change->empty ? change->empty : ""));
		return change->null != NULL_OMIT;
	}
	switch (change->as)
	{
		case AS_IT_IS:
			break;
		case AS_STRING:
			change_set_text(value, template_scalar_text(value));
			break;
		case AS_NUMBER:
			value_as_number(column, value);
			break;
		case AS_BOOLEAN:
			value_as_boolean(column, value);
			break;
		case AS_ARRAY:
			if (!value_is_array(value))
				value_in_array(value);
			break;
		case AS_JSON:
			value_as_json(column, value);
			break;
	}
	change_check(column, change, value);
	if (change->wrap != NULL)
		value_wrap(value, change->wrap);
	return true;
}

static void
change_push(JsonbParseState **state, const TemplateColumn *column, JsonbValue *name, JsonbValue *value, bool body)
{
	if (column != NULL && column->change != NULL)
	{
		value_change_text(column->name, column->change, value);
		if (body && !value_change_form(column->name, column->change, value))
			return;
	}
	(void) pushJsonbValue(state, WJB_KEY, name);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

static const TemplateColumn *
change_column(const TemplateColumn *columns, int n, const JsonbValue *name)
{
	for (int i = 0; i < n; i++)
	{
		if ((columns[i].change == NULL || columns[i].change->from == NULL) &&
			strlen(columns[i].name) == name->val.string.len &&
			memcmp(columns[i].name, name->val.string.val, name->val.string.len) == 0)
			return &columns[i];
	}
	return NULL;
}

Jsonb *
template_change(Jsonb *row, const TemplateColumn *columns, int ncolumns, bool body)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		change_push(&state, change_column(columns, ncolumns, &name), &name, &value, body);
	}
	for (int i = 0; i < ncolumns; i++)
	{
		const char *from = columns[i].change ? columns[i].change->from : NULL;

		if (from == NULL || getKeyJsonValueFromContainer(&row->root, from, strlen(from), &value) == NULL)
			continue;
		change_set_text(&name, unconstify(char *, columns[i].name));
		change_push(&state, &columns[i], &name, &value, body);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
