/*
 * records.c
 *	  Where the records of a page are.
 */
#include "postgres.h"

#include "connector/definition.h"

static bool
records_is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data);
}

JsonbValue *
connector_records(const ConnectorRead *read, Jsonb *page, JsonbValue *value)
{
	/* the members that most APIs use; docs/connectors.md */
	static const char *const usual[] = {"", "data", "items", "results", "records"};
	JsonbValue *empty = NULL;

	if (read->records != NULL)
		return template_path(page, read->records, value);
	for (int i = 0; i < lengthof(usual); i++)
	{
		if (template_path(page, usual[i], value) == NULL)
			continue;
		if (records_is_array(value))
			return value;
		/* some write an empty list as null; a list further on is meant first */
		if (value->type == jbvNull)
			empty = value;
	}
	if (empty != NULL)
		value->type = jbvNull;
	return empty;
}
