/*
 * json.c
 *	  Reading jsonb by path, and its scalars as text.
 */
#include "postgres.h"

#include "template/path.h"
#include "template/template.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

/* A container's member or element into *value; false if there is none. */
static bool
json_step(JsonbContainer *container, const PathStep *step, JsonbValue *value)
{
	if (JsonContainerIsObject(container))
		return getKeyJsonValueFromContainer(container, step->name, strlen(step->name),
											value) != NULL;
	if (JsonContainerIsArray(container) && step->is_index)
	{
		int64		index = step->index;
		JsonbValue *element;

		if (index < 0)
			index += JsonContainerSize(container);
		if (index < 0 || index >= JsonContainerSize(container))
			return false;
		element = getIthJsonbValueFromContainer(container, (uint32) index);
		*value = *element;
		pfree(element);
		return true;
	}
	return false;
}

JsonbValue *
template_path(Jsonb *document, const char *path, JsonbValue *value)
{
	PathStep	step;
	PathResult	result;

	if (JB_ROOT_IS_SCALAR(document))
	{
		if (*path != '\0')
			return NULL;
		*value = *getIthJsonbValueFromContainer(&document->root, 0);
		return value;
	}
	value->type = jbvBinary;
	value->val.binary.data = &document->root;
	value->val.binary.len = VARSIZE(document) - VARHDRSZ;
	while ((result = path_next(&path, &step)) == PATH_STEP)
	{
		if (value->type != jbvBinary || !json_step(value->val.binary.data, &step, value))
			return NULL;
	}
	return result == PATH_END ? value : NULL;
}

char *
template_scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			return NULL;
	}
}

char *
template_member_text(Jsonb *object, const char *name)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(object) ||
		getKeyJsonValueFromContainer(&object->root, name, strlen(name), &value) == NULL)
		return NULL;
	return template_scalar_text(&value);
}

void
template_append_string(StringInfo out, const char *value)
{
	escape_json(out, value);
}
