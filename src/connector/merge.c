/*
 * merge.c
 *	  Small tools over definitions as jsonb: parse, merge, look up.
 */
#include "postgres.h"

#include "connector/definition.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

JsonbValue
definition_root(Jsonb *json)
{
	JsonbValue	value;

	value.type = jbvBinary;
	value.val.binary.data = &json->root;
	value.val.binary.len = VARSIZE(json) - VARHDRSZ;
	return value;
}

static bool
merge_has(const JsonbValue *container, const char *name, JsonbValue *value)
{
	return container->type == jbvBinary &&
		JsonContainerIsObject(container->val.binary.data) &&
		getKeyJsonValueFromContainer(container->val.binary.data, name, strlen(name), value) != NULL;
}

bool
definition_get_in(const JsonbValue *container, const char *name, JsonbValue *value)
{
	/* null means "not there", as in a merge */
	return merge_has(container, name, value) && value->type != jbvNull;
}

bool
definition_get(Jsonb *json, const char *name, JsonbValue *value)
{
	JsonbValue	root = definition_root(json);

	return definition_get_in(&root, name, value);
}

char *
definition_text(const JsonbValue *container, const char *name)
{
	JsonbValue	value;

	if (!definition_get_in(container, name, &value) || value.type != jbvString)
		return NULL;
	return template_scalar_text(&value);
}

int
definition_int(const JsonbValue *container, const char *name, int fallback)
{
	JsonbValue	value;

	if (!definition_get_in(container, name, &value) || value.type != jbvNumeric)
		return fallback;
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
}

bool
definition_bool(const JsonbValue *container, const char *name, bool fallback)
{
	JsonbValue	value;

	if (!definition_get_in(container, name, &value) || value.type != jbvBool)
		return fallback;
	return value.val.boolean;
}

DefinitionMember *
definition_members(const JsonbValue *container, int *n)
{
	DefinitionMember *members = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *name = NULL;

	*n = 0;
	if (container->type != jbvBinary)
		return NULL;
	members = palloc_extended(sizeof(DefinitionMember) * (JsonContainerSize(container->val.binary.data) + 1), MCXT_ALLOC_HUGE);
	it = JsonbIteratorInit(container->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			members[*n].name = name;
			members[(*n)++].value = value;
			name = NULL;
		}
	}
	return members;
}

char *
definition_names(const JsonbValue *container)
{
	StringInfoData names;
	int			n;
	DefinitionMember *members = definition_members(container, &n);

	initStringInfo(&names);
	for (int i = 0; i < n; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", members[i].name);
	return n > 0 ? names.data : pstrdup("none");
}

List *
definition_key(const JsonbValue *key)
{
	List	   *columns = NIL;

	if (key->type == jbvString)
	{
		char	   *text = pnstrdup(key->val.string.val, key->val.string.len);
		char	   *rest = NULL;

		for (char *name = strtok_r(text, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		{
			name += strspn(name, " \t\n");
			name[strcspn(name, " \t\n")] = '\0';
			columns = lappend(columns, name);
		}
	}
	else
	{
		int			n;
		DefinitionMember *elements = definition_members(key, &n);

		for (int i = 0; i < n; i++)
			columns = lappend(columns, template_scalar_text(&elements[i].value));
	}
	return columns;
}

static bool
merge_is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static void
merge_push_key(JsonbParseState **state, char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = name;
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
}

/* Pushes base overruled by patch; base may be something else than an object. */
static JsonbValue *
merge_push(JsonbParseState **state, const JsonbValue *base, const JsonbValue *patch)
{
	DefinitionMember *members;
	JsonbValue	other;
	int			n = 0;

	check_stack_depth();
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	members = base && merge_is_object(base) ? definition_members(base, &n) : NULL;
	for (int i = 0; i < n; i++)
	{
		if (merge_has(patch, members[i].name, &other))
			continue;
		merge_push_key(state, members[i].name);
		(void) pushJsonbValue(state, WJB_VALUE, &members[i].value);
	}
	members = definition_members(patch, &n);
	for (int i = 0; i < n; i++)
	{
		bool		there = base && definition_get_in(base, members[i].name, &other);

		if (members[i].value.type == jbvNull)
			continue;
		merge_push_key(state, members[i].name);
		if (merge_is_object(&members[i].value))
			(void) merge_push(state, there ? &other : NULL, &members[i].value);
		else
			(void) pushJsonbValue(state, WJB_VALUE, &members[i].value);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
definition_merge(Jsonb *base, Jsonb *patch)
{
	JsonbParseState *state = NULL;
	JsonbValue	from = definition_root(base);
	JsonbValue	with = definition_root(patch);

	return JsonbValueToJsonb(merge_push(&state, &from, &with));
}

Jsonb *
definition_parse(const char *text, const char *option, bool quiet)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum json = (Datum) 0;

	/*
	 * jsonb_in quotes the text that it cannot read, which may be a secret;
	 * whatever it raises, we raise another error in its place.
	 */
	PG_TRY();
	{
		json = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_OUT_OF_MEMORY)
			ReThrowError(error);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not valid JSON", option),
				 !quiet && error->detail ? errdetail_internal("%s", error->detail) : 0));
	}
	PG_END_TRY();
	return DatumGetJsonbP(json);
}
