/*
 * check.c
 *	  What an API is known to refuse, refused before it is sent: it costs no
 *	  call, and in a batch no other row.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "template/change.h"

static bool
check_is_value(const TemplateChange *change, const char *text)
{
	for (int i = 0; i < change->nvalues; i++)
	{
		if (strcmp(change->values[i], text) == 0)
			return true;
	}
	return change->nvalues == 0;
}

void
change_check(const char *column, const TemplateChange *change, const JsonbValue *value)
{
	char	   *text;

	if (change->nvalues == 0 && change->max_length == 0)
		return;
	if (value->type == jbvBinary)
	{
		if (!JsonContainerIsArray(value->val.binary.data))
			return;
		for (int i = 0; i < JsonContainerSize(value->val.binary.data); i++)
		{
			JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, i);

			if (element->type != jbvBinary)
				change_check(column, change, element);
		}
		return;
	}
	text = value->type == jbvNull ? NULL : template_scalar_text(value);
	if (text == NULL)
		return;
	if (change->max_length > 0 && pg_mbstrlen(text) > change->max_length)
		change_fail(column, psprintf("is longer than %d characters", change->max_length));
	if (!check_is_value(change, text))
		change_fail(column, "is none of those that the API takes");
}

void
template_check_required(Jsonb *row, const TemplateColumn *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		JsonbValue	value;

		if (columns[i].skip || columns[i].change == NULL || !columns[i].change->required)
			continue;
		if (getKeyJsonValueFromContainer(&row->root, columns[i].name, strlen(columns[i].name), &value) == NULL ||
			value.type == jbvNull)
			change_fail(columns[i].name, "is missing, and the API requires it");
	}
}
